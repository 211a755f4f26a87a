/* SPDX-License-Identifier: Apache-2.0 */
/* Names of buckets: few, and so in a list. */
#include "port/buckets.h"

#include <graviton/locator.h>
#include <stdlib.h>
#include <string.h>

grv_status grv_buckets_init(grv_buckets *buckets, const char *origin, const char *scheme,
                            size_t capacity, grv_error *error)
{
    *buckets = (grv_buckets){.origin = origin, .scheme = scheme, .capacity = capacity};
    if (capacity == 0) {
        return grv_error_set(error, GRV_INVALID_ARGUMENT, origin, "an object store needs a bucket");
    }
    buckets->names = calloc(capacity, sizeof *buckets->names);
    if (!buckets->names) {
        return grv_error_set(error, GRV_LIMIT_EXCEEDED, origin, "no memory for %zu buckets",
                             capacity);
    }
    return GRV_OK;
}

void grv_buckets_done(grv_buckets *buckets)
{
    for (size_t i = 0; i < buckets->count; i++) {
        free(buckets->names[i]);
    }
    free(buckets->names);
    buckets->names = NULL;
    buckets->count = 0;
}

static bool can_stand_in_locator(const grv_buckets *buckets, const char *name)
{
    grv_locator locator = {.path = "x"};
    size_t scheme_size = strlen(buckets->scheme);
    size_t size = strlen(name);
    if (scheme_size >= sizeof locator.scheme || size >= sizeof locator.bucket) {
        return false;
    }
    memcpy(locator.scheme, buckets->scheme, scheme_size);
    memcpy(locator.bucket, name, size);
    return grv_locator_is_valid(&locator);
}

static bool buckets_have(const grv_buckets *buckets, const char *name, size_t *ret_index)
{
    for (size_t i = 0; i < buckets->count; i++) {
        if (strcmp(buckets->names[i], name) == 0) {
            *ret_index = i;
            return true;
        }
    }
    return false;
}

grv_status grv_buckets_add(grv_buckets *buckets, const char *name, grv_error *error)
{
    size_t index = 0;
    if (!can_stand_in_locator(buckets, name)) {
        return grv_error_set(error, GRV_INVALID_ARGUMENT, buckets->origin,
                             "bad bucket name \"%.60s\": want 1 to %u bytes without \"/\" or "
                             "control characters",
                             name, GRV_LOCATOR_BUCKET_MAX);
    }
    if (buckets_have(buckets, name, &index)) {
        return grv_error_set(error, GRV_INVALID_ARGUMENT, buckets->origin, "two buckets %s", name);
    }
    if (buckets->count == buckets->capacity) {
        return grv_error_set(error, GRV_INTERNAL, buckets->origin, "no room for bucket %s", name);
    }
    char *copy = strdup(name);
    if (!copy) {
        return grv_error_set(error, GRV_LIMIT_EXCEEDED, buckets->origin,
                             "no memory for a bucket's name");
    }
    buckets->names[buckets->count++] = copy;
    return GRV_OK;
}

grv_status grv_buckets_make(grv_buckets *buckets, const char *origin, const char *scheme,
                            const char *const names[], size_t count, grv_error *error)
{
    grv_status status = grv_buckets_init(buckets, origin, scheme, count, error);
    for (size_t i = 0; i < count && !status; i++) {
        status = grv_buckets_add(buckets, names[i], error);
    }
    return status;
}

grv_status grv_buckets_find(const grv_buckets *buckets, const char *name, size_t *ret_index,
                            grv_error *error)
{
    size_t index = 0;
    if (!buckets_have(buckets, name, &index)) {
        return grv_error_set(error, GRV_INVALID_ARGUMENT, buckets->origin,
                             "this store has no bucket %s://%s", buckets->scheme, name);
    }
    if (ret_index) {
        *ret_index = index;
    }
    return GRV_OK;
}
