/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Half-open byte ranges and sets of them: sorted, disjoint, coalesced (ranges that touch are one).
 */
#ifndef GRAVITON_RANGE_H
#define GRAVITON_RANGE_H

#include <graviton/bytes.h>

#ifdef __cplusplus
extern "C" {
#endif
#pragma GCC visibility push(default)

/* Most ranges one set holds; more is GRV_LIMIT_EXCEEDED. */
#define GRV_RANGE_SET_MAX (1u << 20)

/* Bytes first <= i < end. Empty where first == end. Offsets are at most GRV_BLOB_SIZE_MAX. */
typedef struct grv_range {
    uint64_t first;
    uint64_t end;
} grv_range;

/* All bytes of any blob; a get clamps it to the blob's size. */
#define GRV_RANGE_ALL ((grv_range){0, UINT64_MAX})

/* A set of ranges in the caller's storage. Not thread-safe. */
typedef struct grv_range_set {
    grv_range *ranges;
    size_t count;
    size_t capacity;
} grv_range_set;

/* The empty set; allocates nothing. */
void grv_range_set_init(grv_range_set *set);
/* Frees the set's memory; it may be initialised again. */
void grv_range_set_done(grv_range_set *set);

/*
 * Adds `range`, joining what overlaps or touches. Where `ret_new` is not NULL it is an initialised
 * set that receives (is merged with) the parts of `range` that were not in the set before. An empty
 * range changes nothing. GRV_INVALID_ARGUMENT for first > end; GRV_LIMIT_EXCEEDED past
 * GRV_RANGE_SET_MAX or without memory, and then both sets are as before.
 */
grv_status grv_range_set_merge(grv_range_set *set, grv_range range, grv_range_set *ret_new,
                               grv_error *error);

/* True if every byte of `range` is in the set. An empty range is contained in any set. */
bool grv_range_set_contains(const grv_range_set *set, grv_range range);

/* Merges into `ret_gaps` the parts of `within` that are not in the set. Errors as merge. */
grv_status grv_range_set_gaps(const grv_range_set *set, grv_range within, grv_range_set *ret_gaps,
                              grv_error *error);

/* Number of bytes in the set, saturating at UINT64_MAX. */
uint64_t grv_range_set_size(const grv_range_set *set);

/*
 * Parses one RFC 9110 range without its unit, for a thing of `size` bytes: "FIRST-LAST"
 * (inclusive), "FIRST-", "-SUFFIX". LAST is clamped to the size. GRV_INVALID_ARGUMENT for bad
 * syntax, FIRST > LAST, FIRST at or past `size`, or a suffix of 0; *ret_range unchanged then.
 */
grv_status grv_range_parse(grv_bytes text, uint64_t size, grv_range *ret_range, grv_error *error);

#pragma GCC visibility pop
#ifdef __cplusplus
}
#endif

#endif
