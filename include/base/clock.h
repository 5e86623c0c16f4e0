/* Monotonic time, and the request to stop that a signal leaves behind. */
#ifndef BASE_CLOCK_H
#define BASE_CLOCK_H

#include <stdbool.h>

/* Seconds since some fixed moment, never going back. */
double clock_seconds(void);

/* Sleeps for that many seconds (a signal ends the sleep early). */
void clock_sleep(double seconds);

/* Now, as "2026-11-26T04:05:06.789Z", into buf; returns buf. */
enum { CLOCK_TIMESTAMP = 32 };
char *clock_timestamp(char buf[CLOCK_TIMESTAMP]);

/* "1h 02m", "3m 20s", "12s" into buf; returns buf. */
char *clock_format(char buf[32], double seconds);

/* SIGINT, SIGTERM and SIGUSR1 set the request to stop; a second SIGINT ends the process at once, with status
 * 130. SIGBUS, which is how a mapped file that was cut short shows, ends it with one line and status
 * EXIT_RUN. SIGPIPE is ignored: who read our messages or progress may go away. */
void stop_install(void);

/* A line that the first SIGINT or SIGTERM prints at once on standard error, since whoever sends them may not
 * wait for the end of the work (mpirun gives a second). Not printed while process `silent_for` is alive (0:
 * none), who says the same. `text` must stay. */
void stop_announce(const char *text, int silent_for);

/* Has a stop been requested? Long loops ask between pieces of work and give up what is in flight. */
bool stop_requested(void);

/* Called whenever somebody asks: lets MPI answer other ranks in the middle of an image. NULL: nothing. */
void stop_on_ask(void (*hook)(void));

#endif
