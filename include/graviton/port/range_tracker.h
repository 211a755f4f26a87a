/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Port range_tracker: which byte ranges of the thing under a locator are there already, for
 * transfers in pieces, by several workers, that outlive a process. It records what it is told and
 * looks at no bytes. This header is the contract; tests/conformance/range_tracker.c checks it over
 * every implementation.
 *
 * A generation is the caller's number for one content of that thing, at least 1 and greater for
 * each newer content: ranges of an older one say nothing about it. Whoever is first with a newer
 * generation starts it with an empty set, and from then on the older one is GRV_CONFLICT.
 *
 * Every change is atomic and durable on OK. Changes at one locator at the same time take effect one
 * after another: what merges call new never overlaps, and together is the whole set. A locator
 * never heard of and a removed one are the same: generation 0 and the empty set.
 *
 * All slots are thread-safe; a cursor belongs to one thread at a time.
 */
#ifndef GRAVITON_PORT_RANGE_TRACKER_H
#define GRAVITON_PORT_RANGE_TRACKER_H

#include <graviton/call.h>
#include <graviton/locator.h>
#include <graviton/range.h>

#ifdef __cplusplus
extern "C" {
#endif
#pragma GCC visibility push(default)

/* Bytes of the longest locator, as text, that a tracker takes. */
#define GRV_TRACKER_LOCATOR_MAX 960u
/* Most ranges at one locator: a merge may rewrite them all. */
#define GRV_TRACKER_RANGES_MAX 65536u
/* The greatest generation. */
#define GRV_TRACKER_GENERATION_MAX ((uint64_t)INT64_MAX)

typedef struct grv_range_tracker grv_range_tracker;
typedef struct grv_tracked_cursor grv_tracked_cursor;

/* One item of a list. */
typedef struct grv_tracked {
    grv_locator locator;
    uint64_t generation;
    uint64_t size_bytes; /* in all its ranges */
    uint32_t range_count;
} grv_tracked;

/*
 * Which locators a list shows, in the order of grv_locator_compare. It resumes after the last one
 * seen: pass that as `start`. A locator begun or removed meanwhile may or may not be shown; every
 * other one is shown exactly once.
 */
typedef struct grv_tracked_list {
    grv_bytes prefix;         /* only locators whose text begins so; empty: all. Borrowed for the
                                 call that opens the list */
    const grv_locator *start; /* first locator >= this; NULL: the first */
    bool after_start;         /* leave `start` itself out */
} grv_tracked_list;

/* Operations of a tracker. No slot is NULL. */
typedef struct grv_range_tracker_ops {
    const char *name;
    /* Replaces `set` (initialised) by the ranges at `locator`, and says of which generation. */
    grv_status (*current)(const grv_call *call, grv_range_tracker *tracker,
                          const grv_locator *locator, uint64_t *ret_generation, grv_range_set *set,
                          grv_error *error);
    /*
     * Adds `range`. Replaces `ret_set` by the whole set and `ret_new` by the parts of `range` that
     * were not in it before (both initialised; each may be NULL). A newer `generation` than the one
     * there drops the ranges there first; an older one is GRV_CONFLICT. An empty range adds nothing
     * but still starts a newer generation. GRV_LIMIT_EXCEEDED past GRV_TRACKER_RANGES_MAX. A
     * failure changes neither the ranges nor the sets. The same merge again is OK, with nothing
     * new: after a failure that leaves open whether it happened, what was new is not known.
     */
    grv_status (*merge)(const grv_call *call, grv_range_tracker *tracker,
                        const grv_locator *locator, uint64_t generation, grv_range range,
                        grv_range_set *ret_set, grv_range_set *ret_new, grv_error *error);
    /* Empties the set, under `generation`: the one there or a newer one; an older one is
     * GRV_CONFLICT. Also mends a record that is GRV_CORRUPT for the slots above. */
    grv_status (*reset)(const grv_call *call, grv_range_tracker *tracker,
                        const grv_locator *locator, uint64_t generation, grv_error *error);
    /* Forgets the locator, its generation included; harmless where it is not known. */
    grv_status (*remove)(const grv_call *call, grv_range_tracker *tracker,
                         const grv_locator *locator, grv_error *error);
    /* Opens a list of locators; see grv_tracked_list. */
    grv_status (*open_list)(const grv_call *call, grv_range_tracker *tracker,
                            const grv_tracked_list *list, grv_tracked_cursor **ret_cursor,
                            grv_error *error);
    /* Closes. All cursors have been freed. */
    void (*free)(grv_range_tracker *tracker);
} grv_range_tracker_ops;

/* Base of every tracker; embed it as the first member. */
struct grv_range_tracker {
    const grv_range_tracker_ops *ops;
};

/* Operations of a cursor. No slot is NULL. */
typedef struct grv_tracked_cursor_ops {
    const char *name;
    /* Up to `capacity` (> 0) next items; *ret_count 0 at the end, and again after it. A record that
     * is GRV_CORRUPT or GRV_UNSUPPORTED fails the call that comes to it, named in the message; the
     * next call goes on after it. Any other failure ends the list: a call after it is
     * GRV_INVALID_ARGUMENT. */
    grv_status (*next)(const grv_call *call, grv_tracked_cursor *cursor, grv_tracked items[],
                       size_t capacity, size_t *ret_count, grv_error *error);
    void (*free)(grv_tracked_cursor *cursor);
} grv_tracked_cursor_ops;

/* Base of every cursor; embed it as the first member. */
struct grv_tracked_cursor {
    const grv_tracked_cursor_ops *ops;
};

/* Constructors call this: sets the base up after checking that no slot is missing. GRV_INTERNAL
 * otherwise. */
grv_status grv_range_tracker_init(grv_range_tracker *tracker, const grv_range_tracker_ops *ops,
                                  grv_error *error);

/*
 * Dispatchers, each for the slot of the same name. A locator that is not valid, a generation that
 * is 0 or past GRV_TRACKER_GENERATION_MAX, a range that ends before it begins or past
 * GRV_BLOB_SIZE_MAX and a prefix longer than GRV_TRACKER_LOCATOR_MAX are GRV_INVALID_ARGUMENT; a
 * longer locator is GRV_LIMIT_EXCEEDED.
 */
grv_status grv_range_tracker_current(const grv_call *call, grv_range_tracker *tracker,
                                     const grv_locator *locator, uint64_t *ret_generation,
                                     grv_range_set *set, grv_error *error);
grv_status grv_range_tracker_merge(const grv_call *call, grv_range_tracker *tracker,
                                   const grv_locator *locator, uint64_t generation, grv_range range,
                                   grv_range_set *ret_set, grv_range_set *ret_new,
                                   grv_error *error);
grv_status grv_range_tracker_reset(const grv_call *call, grv_range_tracker *tracker,
                                   const grv_locator *locator, uint64_t generation,
                                   grv_error *error);
grv_status grv_range_tracker_remove(const grv_call *call, grv_range_tracker *tracker,
                                    const grv_locator *locator, grv_error *error);
grv_status grv_range_tracker_open_list(const grv_call *call, grv_range_tracker *tracker,
                                       const grv_tracked_list *list,
                                       grv_tracked_cursor **ret_cursor, grv_error *error);
void grv_range_tracker_free(grv_range_tracker *tracker); /* NULL is allowed */

/* Dispatchers of a cursor. */
grv_status grv_tracked_cursor_next(const grv_call *call, grv_tracked_cursor *cursor,
                                   grv_tracked items[], size_t capacity, size_t *ret_count,
                                   grv_error *error);
void grv_tracked_cursor_free(grv_tracked_cursor *cursor); /* NULL is allowed */

#pragma GCC visibility pop
#ifdef __cplusplus
}
#endif

#endif
