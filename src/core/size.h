/* SPDX-License-Identifier: Apache-2.0 */
/* Sizes as people write them. Pure. */
#ifndef GRV_CORE_SIZE_H
#define GRV_CORE_SIZE_H

#include <graviton/error.h>
#include <stdint.h>

/* Parses a decimal number without sign or leading zero, then nothing or one of K, M, G (binary),
 * at most `max` bytes. `what` names it in the message. GRV_INVALID_ARGUMENT otherwise. */
grv_status grv_size_parse(const char *text, const char *what, uint64_t max, uint64_t *ret_size,
                          grv_error *error);

#endif
