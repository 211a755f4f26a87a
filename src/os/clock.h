/* SPDX-License-Identifier: Apache-2.0 */
/* The wall clock, for what people read. Nothing decides safety by it. */
#ifndef GRV_OS_CLOCK_H
#define GRV_OS_CLOCK_H

#include <stdint.h>

/* Now, in nanoseconds since 1970, UTC. Thread-safe. */
uint64_t grv_clock_realtime_ns(void);

#endif
