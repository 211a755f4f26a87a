/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Port immutable_object_store: reads bytes under locators, whatever they are. This header is the
 * contract; tests/conformance/object_store.c checks it over every implementation.
 *
 * A store serves one scheme and one or more buckets, both fixed when it is constructed; a locator
 * of another scheme or bucket is GRV_INVALID_ARGUMENT, naming it. A path is a name and no more:
 * two objects are the same only if their paths are the same bytes, and "a" and "a/b" can both be
 * one at the same time. Any path that is UTF-8 can be an object's; any other valid one, too, or the
 * store refuses it always, as GRV_UNSUPPORTED (a mutable store says which by its capabilities).
 *
 * All slots are thread-safe; a source or cursor belongs to one thread at a time.
 */
#ifndef GRAVITON_PORT_IMMUTABLE_OBJECT_STORE_H
#define GRAVITON_PORT_IMMUTABLE_OBJECT_STORE_H

#include <graviton/call.h>
#include <graviton/locator.h>
#include <graviton/range.h>
#include <graviton/stream.h>

#ifdef __cplusplus
extern "C" {
#endif
#pragma GCC visibility push(default)

/* Most bytes of a tag. */
#define GRV_OBJECT_TAG_MAX 127u

typedef struct grv_object_store grv_object_store;
typedef struct grv_object_cursor grv_object_cursor;

/* What is known of an object beside its bytes. */
typedef struct grv_object_info {
    uint64_t size_bytes;
    uint64_t modified_ns; /* when it got these bytes; nanoseconds since 1970, UTC, by the clock of
                             whoever keeps it, perhaps in whole seconds */
    /* Opaque printable text, NUL-terminated, 1 byte or more. Two answers about one locator that
     * have the same tag speak of the same bytes. */
    char tag[GRV_OBJECT_TAG_MAX + 1];
} grv_object_info;

/* Which objects a list shows. Borrowed for the call that opens it. */
typedef struct grv_object_list {
    const char *bucket; /* NUL-terminated; one of the store's */
    grv_bytes prefix;   /* only paths that begin with these bytes; empty: all */
    grv_bytes after;    /* only paths greater than these bytes; empty: from the first. Pass the
                           last path seen to resume */
} grv_object_list;

/* One object as a list shows it. */
typedef struct grv_object_entry {
    const char *path; /* NUL-terminated; valid until the next call on the cursor */
    grv_object_info info;
} grv_object_entry;

/* Operations of a store. No slot is NULL. */
typedef struct grv_object_store_ops {
    const char *name;
    /* The object's info, or GRV_NOT_FOUND. Never "not found" because of a failure. */
    grv_status (*head)(const grv_call *call, grv_object_store *store, const grv_locator *locator,
                       grv_object_info *ret_info, grv_error *error);
    /*
     * Opens a list in bytewise path order. It takes no snapshot: objects that come or go meanwhile
     * may or may not be shown; every other one that fits is shown exactly once, in order, with an
     * info that was true at some moment of the list.
     */
    grv_status (*open_list)(const grv_call *call, grv_object_store *store,
                            const grv_object_list *list, grv_object_cursor **ret_cursor,
                            grv_error *error);
    /*
     * Opens a source over `range` of the object, clamped to its size. *ret_info is the info of the
     * very bytes that the source gives. GRV_NOT_FOUND where there is no object;
     * GRV_INVALID_ARGUMENT for a range that begins past the end. All bytes of a source belong to
     * the info's tag: where the object is replaced or removed meanwhile, the source goes on with
     * the old bytes or ends with GRV_CONFLICT (replaced) or GRV_NOT_FOUND (removed); never with
     * some of the old and some of the new, never early with a clean end.
     */
    grv_status (*open_get)(const grv_call *call, grv_object_store *store,
                           const grv_locator *locator, grv_range range, grv_object_info *ret_info,
                           grv_source **ret_source, grv_error *error);
    /* Closes. All sources, sinks and cursors have been freed. */
    void (*free)(grv_object_store *store);
} grv_object_store_ops;

/* Base of every object store; embed it as the first member. */
struct grv_object_store {
    const grv_object_store_ops *ops;
    const char *scheme; /* static storage */
};

/* Operations of a list cursor. No slot is NULL. */
typedef struct grv_object_cursor_ops {
    const char *name;
    /* Up to `capacity` (> 0) next entries, perhaps fewer; *ret_count 0 at the end, and again after
     * it. After a failure the same call may be tried again; nothing is left out. */
    grv_status (*next)(const grv_call *call, grv_object_cursor *cursor, grv_object_entry entries[],
                       size_t capacity, size_t *ret_count, grv_error *error);
    void (*free)(grv_object_cursor *cursor);
} grv_object_cursor_ops;

/* Base of every list cursor; embed it as the first member. */
struct grv_object_cursor {
    const grv_object_cursor_ops *ops;
};

/* Constructors call this: sets the base up after checking that no slot is missing. GRV_INTERNAL
 * otherwise. */
grv_status grv_object_store_init(grv_object_store *store, const grv_object_store_ops *ops,
                                 const char *scheme, grv_error *error);

/* Dispatchers: check locators, ranges and lists, then the slot of the same name. */
grv_status grv_object_store_head(const grv_call *call, grv_object_store *store,
                                 const grv_locator *locator, grv_object_info *ret_info,
                                 grv_error *error);
grv_status grv_object_store_open_list(const grv_call *call, grv_object_store *store,
                                      const grv_object_list *list, grv_object_cursor **ret_cursor,
                                      grv_error *error);
grv_status grv_object_store_open_get(const grv_call *call, grv_object_store *store,
                                     const grv_locator *locator, grv_range range,
                                     grv_object_info *ret_info, grv_source **ret_source,
                                     grv_error *error); /* ret_info: NULL is allowed */
void grv_object_store_free(grv_object_store *store);    /* NULL is allowed */

/* Dispatchers of a cursor. */
grv_status grv_object_cursor_next(const grv_call *call, grv_object_cursor *cursor,
                                  grv_object_entry entries[], size_t capacity, size_t *ret_count,
                                  grv_error *error);
void grv_object_cursor_free(grv_object_cursor *cursor); /* NULL is allowed */

#pragma GCC visibility pop
#ifdef __cplusplus
}
#endif

#endif
