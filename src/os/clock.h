/* SPDX-License-Identifier: Apache-2.0 */
/* The wall clock, for what people read: nothing decides safety by it. And sleeping. */
#ifndef GRV_OS_CLOCK_H
#define GRV_OS_CLOCK_H

#include <stdint.h>

/* Now, in nanoseconds since 1970, UTC. Thread-safe. */
uint64_t grv_clock_realtime_ns(void);

/* Sleeps for about that long; a signal may end it early. */
void grv_clock_sleep(uint64_t duration_ns);

#endif
