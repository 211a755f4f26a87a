/* SPDX-License-Identifier: Apache-2.0 */
/* The wall clock. */
#include "os/clock.h"

#include <time.h>

uint64_t grv_clock_realtime_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return (uint64_t)now.tv_sec * UINT64_C(1000000000) + (uint64_t)now.tv_nsec;
}
