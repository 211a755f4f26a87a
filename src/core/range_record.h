/* SPDX-License-Identifier: Apache-2.0 */
/* The stored form of a range tracker's record in a key-value store (docs/format.md). */
#ifndef GRV_CORE_RANGE_RECORD_H
#define GRV_CORE_RANGE_RECORD_H

#include <graviton/range.h>

/* Most ranges of a record. */
#define GRV_RANGE_RECORD_RANGES_MAX 65536u
/* Bytes of the largest record. */
#define GRV_RANGE_RECORD_MAX (28u + 16u * GRV_RANGE_RECORD_RANGES_MAX)

/* Appends the record of `set`, whose ranges are few enough, under `generation`, 1 to 2^63 - 1.
 * Fails for want of memory alone. */
grv_status grv_range_record_encode(uint64_t generation, const grv_range_set *set, grv_buffer *out,
                                   grv_error *error);

/* Replaces `set` (initialised) by a record's ranges. GRV_CORRUPT or, of a newer version,
 * GRV_UNSUPPORTED; both outputs are unchanged then. */
grv_status grv_range_record_decode(grv_bytes bytes, uint64_t *ret_generation, grv_range_set *set,
                                   grv_error *error);

#endif
