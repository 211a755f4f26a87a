/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Port replica_index: where blobs, blocks and packs lie, both ways round: the locators of a key,
 * and what lies under locators. It records what it is told and looks at no bytes. This header is
 * the contract; tests/conformance/replica_index.c checks it over every implementation.
 *
 * Every change is atomic, in both directions at once, and durable on OK; the same change again does
 * no harm. Changes of one key at the same time take effect one after another, none is lost. A key
 * without replicas and a key never heard of are the same.
 *
 * All slots are thread-safe; a cursor belongs to one thread at a time.
 */
#ifndef GRAVITON_PORT_REPLICA_INDEX_H
#define GRAVITON_PORT_REPLICA_INDEX_H

#include <graviton/call.h>
#include <graviton/replica.h>

#ifdef __cplusplus
extern "C" {
#endif
#pragma GCC visibility push(default)

/* Bytes of the longest locator, as text, that an index takes: one with its key behind it has to fit
 * the key of a key-value store. */
#define GRV_REPLICA_LOCATOR_MAX 960u

typedef struct grv_replica_index grv_replica_index;
typedef struct grv_replica_cursor grv_replica_cursor;

/* One item of a list: `key` has a replica at `locator`. */
typedef struct grv_replica {
    grv_locator locator;
    grv_replica_key key;
} grv_replica;

/*
 * Which replicas a list shows, in the order of locators and then keys. It resumes after the last
 * item seen: pass that as `start`. A replica added or removed meanwhile may or may not be shown;
 * every other one is shown exactly once.
 */
typedef struct grv_replica_list {
    grv_bytes prefix;         /* only locators whose text begins so; empty: all. Borrowed for the
                                 call that opens the list */
    const grv_replica *start; /* first item >= this; NULL: the first */
    bool after_start;         /* leave `start` itself out */
} grv_replica_list;

/* Operations of an index. No slot is NULL. */
typedef struct grv_replica_index_ops {
    const char *name;
    /* Replaces `set` (initialised) by the locators of `key`; empty where there are none. */
    grv_status (*replicas)(const grv_call *call, grv_replica_index *index,
                           const grv_replica_key *key, grv_locator_set *set, grv_error *error);
    /* Makes `set` the locators of `key`; an empty set removes them all. Also mends a key whose
     * record is GRV_CORRUPT for the other slots. */
    grv_status (*update)(const grv_call *call, grv_replica_index *index, const grv_replica_key *key,
                         const grv_locator_set *set, grv_error *error);
    /* Adds one locator to those of `key`. GRV_LIMIT_EXCEEDED where it has GRV_LOCATOR_SET_MAX
     * others; nothing is changed then. */
    grv_status (*add)(const grv_call *call, grv_replica_index *index, const grv_replica_key *key,
                      const grv_locator *locator, grv_error *error);
    /* Takes one locator from those of `key`; harmless where it is not among them. */
    grv_status (*remove)(const grv_call *call, grv_replica_index *index, const grv_replica_key *key,
                         const grv_locator *locator, grv_error *error);
    /* Opens a list of replicas; see grv_replica_list. */
    grv_status (*open_list)(const grv_call *call, grv_replica_index *index,
                            const grv_replica_list *list, grv_replica_cursor **ret_cursor,
                            grv_error *error);
    /* Closes. All cursors have been freed. */
    void (*free)(grv_replica_index *index);
} grv_replica_index_ops;

/* Base of every index; embed it as the first member. */
struct grv_replica_index {
    const grv_replica_index_ops *ops;
};

/* Operations of a cursor. No slot is NULL. */
typedef struct grv_replica_cursor_ops {
    const char *name;
    /* Up to `capacity` (> 0) next items; *ret_count 0 at the end, and again after it. An entry that
     * is GRV_CORRUPT fails the call that comes to it; the next call goes on after it. Any other
     * failure ends the list: a call after it is GRV_INVALID_ARGUMENT. */
    grv_status (*next)(const grv_call *call, grv_replica_cursor *cursor, grv_replica items[],
                       size_t capacity, size_t *ret_count, grv_error *error);
    void (*free)(grv_replica_cursor *cursor);
} grv_replica_cursor_ops;

/* Base of every cursor; embed it as the first member. */
struct grv_replica_cursor {
    const grv_replica_cursor_ops *ops;
};

/* Constructors call this: sets the base up after checking that no slot is missing. GRV_INTERNAL
 * otherwise. */
grv_status grv_replica_index_init(grv_replica_index *index, const grv_replica_index_ops *ops,
                                  grv_error *error);

/*
 * Dispatchers, each for the slot of the same name. A key or locator that is not valid, a set that
 * is out of order and a prefix longer than GRV_REPLICA_LOCATOR_MAX are GRV_INVALID_ARGUMENT; a
 * longer locator and a larger set are GRV_LIMIT_EXCEEDED.
 */
grv_status grv_replica_index_replicas(const grv_call *call, grv_replica_index *index,
                                      const grv_replica_key *key, grv_locator_set *set,
                                      grv_error *error);
grv_status grv_replica_index_update(const grv_call *call, grv_replica_index *index,
                                    const grv_replica_key *key, const grv_locator_set *set,
                                    grv_error *error);
grv_status grv_replica_index_add(const grv_call *call, grv_replica_index *index,
                                 const grv_replica_key *key, const grv_locator *locator,
                                 grv_error *error);
grv_status grv_replica_index_remove(const grv_call *call, grv_replica_index *index,
                                    const grv_replica_key *key, const grv_locator *locator,
                                    grv_error *error);
grv_status grv_replica_index_open_list(const grv_call *call, grv_replica_index *index,
                                       const grv_replica_list *list,
                                       grv_replica_cursor **ret_cursor, grv_error *error);
void grv_replica_index_free(grv_replica_index *index); /* NULL is allowed */

/* Dispatchers of a cursor. */
grv_status grv_replica_cursor_next(const grv_call *call, grv_replica_cursor *cursor,
                                   grv_replica items[], size_t capacity, size_t *ret_count,
                                   grv_error *error);
void grv_replica_cursor_free(grv_replica_cursor *cursor); /* NULL is allowed */

#pragma GCC visibility pop
#ifdef __cplusplus
}
#endif

#endif
