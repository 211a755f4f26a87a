/* SPDX-License-Identifier: Apache-2.0 */
/* The buckets of an object store: names that it was opened with, for all backends alike. */
#ifndef GRV_PORT_BUCKETS_H
#define GRV_PORT_BUCKETS_H

#include <graviton/error.h>
#include <stddef.h>

typedef struct grv_buckets {
    const char *origin; /* of errors; lives longer */
    const char *scheme; /* of the store's locators; lives longer */
    size_t count;
    size_t capacity;
    char **names;
} grv_buckets;

/* An empty list with room for `capacity` names: GRV_INVALID_ARGUMENT for 0, since a store without a
 * bucket is of no use. Also after a failure the list may be ended. */
grv_status grv_buckets_init(grv_buckets *buckets, const char *origin, const char *scheme,
                            size_t capacity, grv_error *error);

/* Ends it. */
void grv_buckets_done(grv_buckets *buckets);

/* Adds a name; there is room. GRV_INVALID_ARGUMENT for one that is there already or that cannot
 * stand in a locator. */
grv_status grv_buckets_add(grv_buckets *buckets, const char *name, grv_error *error);

/* As init and add, for names that are known at once. */
grv_status grv_buckets_make(grv_buckets *buckets, const char *origin, const char *scheme,
                            const char *const names[], size_t count, grv_error *error);

/* The index of a name (`ret_index` may be NULL). GRV_INVALID_ARGUMENT, naming it, where there is
 * none. */
grv_status grv_buckets_find(const grv_buckets *buckets, const char *name, size_t *ret_index,
                            grv_error *error);

#endif
