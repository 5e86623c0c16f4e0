/* Monotonic time, and the request to stop that a signal leaves behind. */
#ifndef BASE_CLOCK_H
#define BASE_CLOCK_H

#include <stdbool.h>

/* Seconds since some fixed moment, never going back. */
double clock_seconds(void);

/* Sleeps for that many seconds (a signal ends the sleep early). */
void clock_sleep(double seconds);

/* "1h 02m", "3m 20s", "12s" into buf; returns buf. */
char *clock_format(char buf[32], double seconds);

/* SIGINT, SIGTERM and SIGUSR1 set the request to stop; a second SIGINT ends the process at once. */
void stop_install(void);

/* Has a stop been requested? Long loops ask between pieces of work and give up what is in flight. */
bool stop_requested(void);

/* Called whenever somebody asks: lets MPI answer other ranks in the middle of an image. NULL: nothing. */
void stop_on_ask(void (*hook)(void));

#endif
