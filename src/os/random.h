/* SPDX-License-Identifier: Apache-2.0 */
/* Random bytes from the system, for names that must not meet another process's. */
#ifndef GRV_OS_RANDOM_H
#define GRV_OS_RANDOM_H

#include <graviton/error.h>
#include <stddef.h>

/* Fills `size` bytes, at most 256, from the system's generator. Thread-safe. errno's status where
 * the system has none. */
grv_status grv_random_fill(void *ret_bytes, size_t size, grv_error *error);

#endif
