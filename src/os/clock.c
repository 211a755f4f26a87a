/* SPDX-License-Identifier: Apache-2.0 */
/* The wall clock, and sleeping. */
#include "os/clock.h"

#include <time.h>

uint64_t grv_clock_realtime_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return (uint64_t)now.tv_sec * UINT64_C(1000000000) + (uint64_t)now.tv_nsec;
}

void grv_clock_sleep(uint64_t duration_ns)
{
    const struct timespec duration = {
        .tv_sec = (time_t)(duration_ns / UINT64_C(1000000000)),
        .tv_nsec = (long)(duration_ns % UINT64_C(1000000000)),
    };
    (void)nanosleep(&duration, NULL); /* the caller looks at the time itself */
}
