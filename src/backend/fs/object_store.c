/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Port mutable_object_store on files: the store and its buckets, head, get and remove. A file is
 * never written once it has its object's name, so a source that has it open goes on with its bytes
 * whatever becomes of the name.
 */
#include "backend/fs/objects.h"
#include "os/file.h"
#include "os/random.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define ORIGIN GRV_FS_OBJECTS_ORIGIN

grv_status grv_fs_objects_find(const grv_fs_objects *store, const char *name,
                               grv_fs_objects_bucket **ret_bucket, grv_error *error)
{
    size_t index = 0;
    grv_status status = grv_buckets_find(&store->names, name, &index, error);
    if (!status) {
        *ret_bucket = &store->buckets[index];
    }
    return status;
}

static grv_status fs_objects_head(const grv_call *call, grv_object_store *base,
                                  const grv_locator *locator, grv_object_info *ret_info,
                                  grv_error *error)
{
    grv_fs_objects *store = (grv_fs_objects *)base;
    grv_fs_objects_bucket *bucket = NULL;
    grv_fs_place place;
    grv_status status = grv_call_check(call, ORIGIN, error);
    if (!status) {
        status = grv_fs_objects_find(store, locator->bucket, &bucket, error);
    }
    if (!status) {
        status = grv_fs_place_open(store, bucket, locator->path, false, &place, error);
    }
    if (status) {
        return status;
    }
    bool there = false;
    status = grv_fs_place_look(&place, ret_info, &there, error);
    grv_fs_place_close(&place);
    if (!status && !there) {
        status = grv_fs_object_absent(locator, error);
    }
    return status;
}

/* ---- get ---- */

typedef struct fs_source {
    grv_source base;
    int fd;
    uint64_t at;
    uint64_t end;
    grv_error failed; /* status GRV_OK while all is well */
    size_t capacity;
    uint8_t buffer[];
} fs_source;

static grv_status fs_source_next(const grv_call *call, grv_source *base, size_t max,
                                 grv_bytes *ret_view, grv_error *error)
{
    fs_source *source = (fs_source *)base;
    if (source->failed.status) {
        if (error) {
            *error = source->failed;
        }
        return source->failed.status;
    }
    size_t want = max < source->capacity ? max : source->capacity;
    if (want > source->end - source->at) {
        want = (size_t)(source->end - source->at);
    }
    size_t got = 0;
    grv_status status = grv_call_check(call, ORIGIN, &source->failed);
    if (!status && want > 0) {
        status = grv_fs_object_read(source->fd, (grv_span){source->buffer, want}, source->at, &got,
                                    &source->failed);
        if (!status && got == 0) {
            status = grv_error_set(&source->failed, GRV_CORRUPT, ORIGIN,
                                   "an object's file ends at byte %" PRIu64 " and not at %" PRIu64,
                                   source->at, source->end);
        }
    }
    if (status) {
        if (error) {
            *error = source->failed;
        }
        return status;
    }
    source->at += got;
    *ret_view = grv_bytes_of(source->buffer, got);
    return GRV_OK;
}

static void fs_source_free(grv_source *base)
{
    fs_source *source = (fs_source *)base;
    (void)grv_file_close(source->fd, "of an object", NULL); /* it was open to read */
    free(source);
}

static const grv_source_ops fs_source_ops = {
    .name = "fs",
    .next = fs_source_next,
    .free = fs_source_free,
};

static grv_status source_new(int fd, grv_range range, uint64_t size, grv_source **ret_source,
                             grv_error *error)
{
    if (range.first > size) {
        return grv_error_set(error, GRV_INVALID_ARGUMENT, ORIGIN,
                             "byte %" PRIu64 " of an object of %" PRIu64, range.first, size);
    }
    uint64_t end = range.end < size ? range.end : size;
    size_t capacity = GRV_FS_OBJECTS_BUFFER;
    if (end - range.first < capacity) {
        capacity = (size_t)(end - range.first);
    }
    fs_source *source = malloc(sizeof *source + capacity);
    if (!source) {
        return grv_error_set(error, GRV_LIMIT_EXCEEDED, ORIGIN, "no memory for a source");
    }
    *source = (fs_source){
        .base.ops = &fs_source_ops, .fd = fd, .at = range.first, .end = end, .capacity = capacity};
    *ret_source = &source->base;
    return GRV_OK;
}

static grv_status fs_objects_open_get(const grv_call *call, grv_object_store *base,
                                      const grv_locator *locator, grv_range range,
                                      grv_object_info *ret_info, grv_source **ret_source,
                                      grv_error *error)
{
    int fd;
    grv_status status = grv_call_check(call, ORIGIN, error);
    if (!status) {
        status = grv_fs_object_open((grv_fs_objects *)base, locator, &fd, ret_info, error);
    }
    if (status) {
        return status;
    }
    status = source_new(fd, range, ret_info->size_bytes, ret_source, error);
    if (status) {
        (void)grv_file_close(fd, "of an object", NULL); /* it was open to read */
    }
    return status;
}

/* ---- remove ---- */

/* The directory is synced also where nothing is there: another's removal, which this answer is
 * based on, may not be durable yet. */
static grv_status fs_objects_remove(const grv_call *call, grv_mutable_object_store *base,
                                    const grv_locator *locator, grv_error *error)
{
    grv_fs_objects *store = (grv_fs_objects *)base;
    grv_fs_objects_bucket *bucket = NULL;
    grv_fs_place place;
    grv_status status = grv_call_check(call, ORIGIN, error);
    if (!status) {
        status = grv_fs_objects_find(store, locator->bucket, &bucket, error);
    }
    if (!status) {
        status = grv_fs_place_open(store, bucket, locator->path, false, &place, error);
    }
    if (status) {
        return status;
    }
    grv_object_info info;
    bool there = false;
    status = grv_fs_place_look(&place, &info, &there, error);
    if (!status && there && grv_file_calls()->unlinkat(place.fd, place.name, 0) &&
        errno != ENOENT) {
        status = grv_error_set_errno(error, errno, ORIGIN, "cannot remove object %s://%s/%.200s",
                                     locator->scheme, locator->bucket, locator->path);
    }
    if (!status && place.fd >= 0) {
        status = grv_fs_place_sync(store, &place, error);
    }
    grv_fs_place_close(&place);
    return status;
}

/* ---- the store ---- */

static void fs_objects_free(grv_object_store *base)
{
    grv_fs_objects *store = (grv_fs_objects *)base;
    for (size_t i = 0; i < store->names.count; i++) {
        grv_fs_objects_bucket *bucket = &store->buckets[i];
        if (bucket->temp_fd >= 0) { /* both were open to read */
            (void)grv_file_close(bucket->temp_fd, store->names.names[i], NULL);
        }
        if (bucket->fd >= 0) {
            (void)grv_file_close(bucket->fd, store->names.names[i], NULL);
        }
    }
    grv_buckets_done(&store->names);
    free(store->buckets);
    pthread_mutex_destroy(&store->lock);
    free(store);
}

static const grv_object_store_ops fs_objects_base_ops = {
    .name = "fs",
    .head = fs_objects_head,
    .open_list = grv_fs_objects_open_list,
    .open_get = fs_objects_open_get,
    .free = fs_objects_free,
};

static const grv_mutable_object_store_ops fs_objects_ops = {
    .name = "fs",
    .open_put = grv_fs_objects_open_put,
    .remove = fs_objects_remove,
    .copy = grv_fs_objects_copy,
};

static grv_status bucket_open(grv_fs_objects *store, const grv_fs_bucket *config, bool create,
                              grv_error *error)
{
    grv_fs_objects_bucket *bucket = &store->buckets[store->names.count];
    *bucket = (grv_fs_objects_bucket){.fd = -1, .temp_fd = -1};
    grv_status status = grv_buckets_add(&store->names, config->name, error);
    if (status) {
        return status;
    }
    status = grv_directory_open(AT_FDCWD, config->directory, create, &bucket->fd, error);
    if (status) {
        grv_error_prefix(error, "bucket %s://%s", GRV_FS_OBJECTS_SCHEME, config->name);
    }
    return status;
}

static grv_status store_setup(grv_fs_objects *store, const grv_fs_objects_config *config,
                              grv_error *error)
{
    grv_status status =
        grv_buckets_init(&store->names, ORIGIN, GRV_FS_OBJECTS_SCHEME, config->bucket_count, error);
    if (!status) {
        store->buckets = calloc(config->bucket_count, sizeof *store->buckets);
        status = store->buckets
                     ? grv_random_fill(&store->temp_id, sizeof store->temp_id, error)
                     : grv_error_set(error, GRV_LIMIT_EXCEEDED, ORIGIN, "no memory for a store");
    }
    for (size_t i = 0; !status && i < config->bucket_count; i++) {
        status = bucket_open(store, &config->buckets[i], config->create, error);
    }
    return status;
}

grv_status grv_object_store_fs_new(const grv_fs_objects_config *config,
                                   grv_mutable_object_store **ret_store, grv_error *error)
{
    grv_fs_objects *store = calloc(1, sizeof *store);
    if (!store) {
        return grv_error_set(error, GRV_LIMIT_EXCEEDED, ORIGIN, "no memory for a store");
    }
    grv_status status = grv_mutable_object_store_init(
        &store->base, &fs_objects_base_ops, &fs_objects_ops, GRV_FS_OBJECTS_SCHEME,
        GRV_OBJECT_CAP_IF_ABSENT | GRV_OBJECT_CAP_TAG_PER_PUT | GRV_OBJECT_CAP_ANY_PATH, error);
    int failed = status ? 0 : pthread_mutex_init(&store->lock, NULL);
    if (failed) {
        status = grv_error_set_errno(error, failed, ORIGIN, "cannot make a lock");
    }
    if (status) {
        free(store);
        return status;
    }
    status = store_setup(store, config, error);
    if (status) {
        fs_objects_free(&store->base.base);
        return status;
    }
    *ret_store = &store->base;
    return GRV_OK;
}
