/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Preloaded into a process it makes the time of day wrong by GRAVITON_TEST_SKEW seconds, for all
 * who ask the C library. Clocks that only measure how long something takes stay right.
 */
#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static time_t clock_skew(void)
{
    const char *text = getenv("GRAVITON_TEST_SKEW");
    return text ? (time_t)strtoll(text, NULL, 10) : 0;
}

/* Their names in the C library's headers are reserved ones.
 * NOLINTBEGIN(readability-inconsistent-declaration-parameter-name) */
#pragma GCC visibility push(default)

int clock_gettime(clockid_t clock, struct timespec *ret_time)
{
    int failed = (int)syscall(SYS_clock_gettime, clock, ret_time);
    if (!failed && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE)) {
        ret_time->tv_sec += clock_skew();
    }
    return failed;
}

int gettimeofday(struct timeval *restrict ret_time, void *restrict zone)
{
    struct timespec now;
    (void)zone;
    if (clock_gettime(CLOCK_REALTIME, &now)) {
        return -1;
    }
    ret_time->tv_sec = now.tv_sec;
    ret_time->tv_usec = now.tv_nsec / 1000;
    return 0;
}

time_t time(time_t *ret_time)
{
    struct timespec now;
    if (clock_gettime(CLOCK_REALTIME, &now)) {
        return (time_t)-1;
    }
    if (ret_time) {
        *ret_time = now.tv_sec;
    }
    return now.tv_sec;
}

#pragma GCC visibility pop
/* NOLINTEND(readability-inconsistent-declaration-parameter-name) */
