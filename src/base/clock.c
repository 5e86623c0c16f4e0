#include "base/clock.h"

#include "base/err.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static volatile sig_atomic_t g_stop;
static void (*g_hook)(void);
static const char *g_announcement;
static pid_t g_silent_for;

double clock_seconds(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

void clock_sleep(double seconds)
{
	struct timespec t = {(time_t)seconds, (long)(1e9 * (seconds - (double)(time_t)seconds))};

	nanosleep(&t, NULL);
}

char *clock_format(char buf[32], double seconds)
{
	int s = seconds > 0 && seconds < 1e9 ? (int)(seconds + 0.5) : 0;

	if (s >= 3600)
		snprintf(buf, 32, "%dh %02dm", s / 3600, s / 60 % 60);
	else if (s >= 60)
		snprintf(buf, 32, "%dm %02ds", s / 60, s % 60);
	else
		snprintf(buf, 32, "%ds", s);
	return buf;
}

char *clock_timestamp(char buf[CLOCK_TIMESTAMP])
{
	struct timespec t;
	struct tm utc;

	clock_gettime(CLOCK_REALTIME, &t);
	gmtime_r(&t.tv_sec, &utc);
	size_t n = strftime(buf, CLOCK_TIMESTAMP, "%Y-%m-%dT%H:%M:%S", &utc);
	snprintf(buf + n, CLOCK_TIMESTAMP - n, ".%03dZ", (int)(t.tv_nsec / 1000000));
	return buf;
}

/* What a signal handler may do of printing. */
static void say(const char *text)
{
	ssize_t written = write(STDERR_FILENO, text, strlen(text));

	(void)written;
}

static void on_signal(int sig)
{
	int saved = errno;

	if (sig == SIGINT && g_stop)
		_exit(130);
	if (sig != SIGUSR1 && !g_stop && g_announcement && !(g_silent_for && !kill(g_silent_for, 0)))
		say(g_announcement);
	g_stop = 1;
	errno = saved;
}

static void on_bus_error(int sig)
{
	(void)sig;
	say("error: a file in use was cut short (the checkpoint?): finished rows are safe; put it back, then "
	    "run again with --resume\n");
	_exit(EXIT_RUN);
}

void stop_install(void)
{
	struct sigaction sa;

	memset(&sa, 0, sizeof(sa));
	sa.sa_handler = on_signal;
	sigemptyset(&sa.sa_mask);
	sa.sa_flags = SA_RESTART;
	sigaction(SIGINT, &sa, NULL);
	sigaction(SIGTERM, &sa, NULL);
	sigaction(SIGUSR1, &sa, NULL);
	sa.sa_handler = SIG_IGN;
	sigaction(SIGPIPE, &sa, NULL);
	sa.sa_handler = on_bus_error;
	sigaction(SIGBUS, &sa, NULL);
}

void stop_announce(const char *text, int silent_for)
{
	g_silent_for = silent_for;
	g_announcement = text;
}

void stop_on_ask(void (*hook)(void))
{
	g_hook = hook;
}

bool stop_requested(void)
{
	if (g_hook)
		g_hook();
	return g_stop;
}
