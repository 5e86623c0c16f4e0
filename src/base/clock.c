#include "base/clock.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static volatile sig_atomic_t g_stop;
static void (*g_hook)(void);

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

static void on_signal(int sig)
{
	if (sig == SIGINT && g_stop)
		_exit(130);
	g_stop = 1;
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
