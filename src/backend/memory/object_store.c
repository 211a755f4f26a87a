/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Port mutable_object_store in memory: one array of objects, sorted by bucket and path, under one
 * lock. An object never changes once it is in the array; a put, copy or removal exchanges a
 * pointer. Its bytes are counted references, so that a source goes on with what it began and a copy
 * copies none. No lock is held while bytes are.
 */
#include "backend/memory/blob_content.h"
#include "os/clock.h"
#include "port/buckets.h"

#include <graviton/backend/memory.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ORIGIN    "memory"
#define SCHEME    "memory"
#define PATH_SIZE (GRV_LOCATOR_PATH_MAX + 1)

/* Bytes that objects and sources share. */
typedef struct memory_bytes {
    unsigned references; /* under the store's lock */
    grv_memory_content content;
} memory_bytes;

typedef struct memory_object {
    size_t bucket;
    grv_object_info info;
    memory_bytes *bytes; /* one reference */
    char path[];
} memory_object;

typedef struct memory_store {
    grv_mutable_object_store base;
    grv_buckets buckets;
    uint64_t size_max;
    pthread_mutex_t lock; /* guards all below */
    uint64_t held;        /* bytes of objects, and of sinks and sources under way */
    uint64_t changes;     /* makes tags */
    memory_object **objects;
    size_t count;
    size_t capacity;
} memory_store;

typedef struct memory_sink {
    grv_object_sink base;
    memory_store *store;
    memory_object *object; /* what a commit makes visible; NULL after it */
    bool if_absent;
    size_t window; /* bytes of the last window */
} memory_sink;

typedef struct memory_source {
    grv_source base;
    memory_store *store;
    memory_bytes *bytes;
    uint64_t at;
    uint64_t end;
    grv_error failed; /* status GRV_OK while all is well */
} memory_source;

/* Entries of one call are copied, since their objects may go at any time. */
#define CURSOR_BATCH 64

typedef struct memory_cursor {
    grv_object_cursor base;
    memory_store *store;
    size_t bucket;
    size_t prefix_size;
    char prefix[PATH_SIZE];
    char after[PATH_SIZE];
    char paths[CURSOR_BATCH][PATH_SIZE];
} memory_cursor;

static grv_status no_memory(grv_error *error, const char *what)
{
    return grv_error_set(error, GRV_LIMIT_EXCEEDED, ORIGIN, "no memory for %s", what);
}

static grv_status not_found(const grv_locator *locator, grv_error *error)
{
    return grv_error_set(error, GRV_NOT_FOUND, ORIGIN, "no object %s://%s/%.200s", locator->scheme,
                         locator->bucket, locator->path);
}

static grv_status already_exists(const memory_store *store, const memory_object *object,
                                 grv_error *error)
{
    return grv_error_set(error, GRV_ALREADY_EXISTS, ORIGIN,
                         "there is an object " SCHEME "://%s/%.200s already",
                         store->buckets.names[object->bucket], object->path);
}

/* ---- bytes ---- */

/* Gives back a reference; NULL is allowed. */
static void bytes_release(memory_store *store, memory_bytes *bytes)
{
    if (!bytes) {
        return;
    }
    pthread_mutex_lock(&store->lock);
    bool last = --bytes->references == 0;
    if (last) {
        store->held -= bytes->content.size;
    }
    pthread_mutex_unlock(&store->lock);
    if (last) {
        grv_memory_content_done(&bytes->content);
        free(bytes);
    }
}

static void object_free(memory_store *store, memory_object *object)
{
    if (object) {
        bytes_release(store, object->bytes);
        free(object);
    }
}

/* An object without bytes, not visible yet. */
static grv_status object_new(const memory_store *store, const grv_locator *locator,
                             memory_object **ret_object, grv_error *error)
{
    size_t bucket = 0;
    grv_status status = grv_buckets_find(&store->buckets, locator->bucket, &bucket, error);
    if (status) {
        return status;
    }
    size_t path_size = strlen(locator->path) + 1;
    memory_object *object = calloc(1, sizeof *object + path_size);
    if (!object) {
        return no_memory(error, "an object");
    }
    object->bucket = bucket;
    memcpy(object->path, locator->path, path_size);
    *ret_object = object;
    return GRV_OK;
}

/* ---- the array; the lock is held ---- */

/* Index of the first object at or after bucket and path; with `after`, after. */
static size_t objects_find(const memory_store *store, size_t bucket, const char *path, bool after)
{
    size_t low = 0;
    size_t high = store->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        const memory_object *object = store->objects[middle];
        int order = object->bucket == bucket ? strcmp(object->path, path)
                                             : (object->bucket < bucket ? -1 : 1);
        if (order < 0 || (after && order == 0)) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

static bool objects_has(const memory_store *store, size_t at, size_t bucket, const char *path)
{
    return at < store->count && store->objects[at]->bucket == bucket &&
           strcmp(store->objects[at]->path, path) == 0;
}

static memory_object *objects_get(const memory_store *store, size_t bucket, const char *path)
{
    size_t at = objects_find(store, bucket, path, false);
    return objects_has(store, at, bucket, path) ? store->objects[at] : NULL;
}

static grv_status objects_reserve(memory_store *store, grv_error *error)
{
    if (store->count < store->capacity) {
        return GRV_OK;
    }
    size_t capacity = store->capacity ? 2 * store->capacity : 64;
    memory_object **objects = reallocarray(store->objects, capacity, sizeof(memory_object *));
    if (!objects) {
        return no_memory(error, "the list of objects");
    }
    store->objects = objects;
    store->capacity = capacity;
    return GRV_OK;
}

/* Makes `object` visible with a new tag; *ret_old is the one it replaces, or NULL. */
static grv_status objects_adopt(memory_store *store, memory_object *object, bool if_absent,
                                memory_object **ret_old, grv_error *error)
{
    size_t at = objects_find(store, object->bucket, object->path, false);
    bool there = objects_has(store, at, object->bucket, object->path);
    if (there && if_absent) {
        return already_exists(store, object, error);
    }
    if (!there) {
        grv_status status = objects_reserve(store, error);
        if (status) {
            return status;
        }
        memmove(store->objects + at + 1, store->objects + at,
                (store->count - at) * sizeof(memory_object *));
        store->count++;
    }
    object->info.size_bytes = object->bytes->content.size;
    object->info.modified_ns = grv_clock_realtime_ns();
    snprintf(object->info.tag, sizeof object->info.tag, "%016" PRIx64, ++store->changes);
    *ret_old = there ? store->objects[at] : NULL;
    store->objects[at] = object;
    return GRV_OK;
}

/* ---- put ---- */

static grv_status memory_sink_reserve(const grv_call *call, grv_sink *base, grv_span *ret_window,
                                      grv_error *error)
{
    memory_sink *sink = (memory_sink *)base;
    grv_memory_content *content = &sink->object->bytes->content;
    grv_status status = grv_call_check(call, ORIGIN, error);
    if (!status && content->size == (uint64_t)content->count * GRV_MEMORY_SEGMENT_SIZE) {
        status = grv_memory_content_grow(content, error);
    }
    if (status) {
        return status;
    }
    size_t inside = (size_t)(content->size % GRV_MEMORY_SEGMENT_SIZE);
    sink->window = GRV_MEMORY_SEGMENT_SIZE - inside;
    *ret_window = (grv_span){content->segments[content->count - 1] + inside, sink->window};
    return GRV_OK;
}

static grv_status memory_sink_advance(const grv_call *call, grv_sink *base, size_t size,
                                      grv_error *error)
{
    memory_sink *sink = (memory_sink *)base;
    memory_store *store = sink->store;
    grv_status status = grv_call_check(call, ORIGIN, error);
    if (status) {
        return status;
    }
    if (size > sink->window) {
        return grv_error_set(error, GRV_INVALID_ARGUMENT, ORIGIN,
                             "advance by %zu bytes in a window of %zu", size, sink->window);
    }
    sink->window = 0;
    pthread_mutex_lock(&store->lock);
    bool fits = size <= store->size_max - store->held;
    if (fits) {
        store->held += size;
        sink->object->bytes->content.size += size;
    }
    pthread_mutex_unlock(&store->lock);
    if (!fits) {
        return grv_error_set(error, GRV_OUT_OF_SPACE, ORIGIN,
                             "the store's %" PRIu64 " bytes are all taken", store->size_max);
    }
    return GRV_OK;
}

static grv_status memory_sink_commit(const grv_call *call, grv_sink *base, grv_error *error)
{
    memory_sink *sink = (memory_sink *)base;
    memory_store *store = sink->store;
    grv_status status = grv_call_check(call, ORIGIN, error);
    if (status) {
        return status;
    }
    grv_memory_content_trim(&sink->object->bytes->content);
    memory_object *old = NULL;
    pthread_mutex_lock(&store->lock);
    status = objects_adopt(store, sink->object, sink->if_absent, &old, error);
    if (!status) {
        sink->base.info = sink->object->info;
        sink->object = NULL;
    }
    pthread_mutex_unlock(&store->lock);
    object_free(store, old);
    return status;
}

static void memory_sink_free(grv_sink *base)
{
    memory_sink *sink = (memory_sink *)base;
    object_free(sink->store, sink->object);
    free(sink);
}

static const grv_sink_ops memory_sink_ops = {
    .name = "memory",
    .reserve = memory_sink_reserve,
    .advance = memory_sink_advance,
    .commit = memory_sink_commit,
    .free = memory_sink_free,
};

static grv_status memory_objects_open_put(const grv_call *call, grv_mutable_object_store *base,
                                          const grv_locator *locator, const grv_object_put *put,
                                          grv_object_sink **ret_sink, grv_error *error)
{
    memory_store *store = (memory_store *)base;
    grv_status status = grv_call_check(call, ORIGIN, error);
    memory_object *object = NULL;
    if (!status) {
        status = object_new(store, locator, &object, error);
    }
    if (status) {
        return status;
    }
    memory_sink *sink = calloc(1, sizeof *sink);
    object->bytes = calloc(1, sizeof *object->bytes);
    if (!sink || !object->bytes) {
        free(object->bytes);
        free(object);
        free(sink);
        return no_memory(error, "a put");
    }
    object->bytes->references = 1;
    sink->base.base.ops = &memory_sink_ops;
    sink->store = store;
    sink->object = object;
    sink->if_absent = put->if_absent;
    *ret_sink = &sink->base;
    return GRV_OK;
}

/* ---- get ---- */

static grv_status memory_source_next(const grv_call *call, grv_source *base, size_t max,
                                     grv_bytes *ret_view, grv_error *error)
{
    memory_source *source = (memory_source *)base;
    if (!source->failed.status) {
        (void)grv_call_check(call, ORIGIN, &source->failed);
    }
    if (source->failed.status) {
        if (error) {
            *error = source->failed;
        }
        return source->failed.status;
    }
    if (source->at == source->end) {
        *ret_view = (grv_bytes){0};
        return GRV_OK;
    }
    uint64_t left = source->end - source->at;
    *ret_view = grv_memory_content_view(&source->bytes->content, source->at,
                                        left < max ? left : (uint64_t)max);
    source->at += ret_view->size;
    return GRV_OK;
}

static void memory_source_free(grv_source *base)
{
    memory_source *source = (memory_source *)base;
    bytes_release(source->store, source->bytes);
    free(source);
}

static const grv_source_ops memory_source_ops = {
    .name = "memory",
    .next = memory_source_next,
    .free = memory_source_free,
};

/* Info and bytes of an object at one moment; `ret_bytes`, if not NULL, gets a reference. */
static grv_status take(const grv_call *call, memory_store *store, const grv_locator *locator,
                       grv_object_info *ret_info, memory_bytes **ret_bytes, grv_error *error)
{
    size_t bucket = 0;
    grv_status status = grv_call_check(call, ORIGIN, error);
    if (!status) {
        status = grv_buckets_find(&store->buckets, locator->bucket, &bucket, error);
    }
    if (status) {
        return status;
    }
    pthread_mutex_lock(&store->lock);
    memory_object *object = objects_get(store, bucket, locator->path);
    if (object) {
        *ret_info = object->info;
        if (ret_bytes) {
            object->bytes->references++;
            *ret_bytes = object->bytes;
        }
    }
    pthread_mutex_unlock(&store->lock);
    return object ? GRV_OK : not_found(locator, error);
}

static grv_status memory_objects_open_get(const grv_call *call, grv_object_store *base,
                                          const grv_locator *locator, grv_range range,
                                          grv_object_info *ret_info, grv_source **ret_source,
                                          grv_error *error)
{
    memory_store *store = (memory_store *)base;
    memory_bytes *bytes = NULL;
    grv_status status = take(call, store, locator, ret_info, &bytes, error);
    if (status) {
        return status;
    }
    uint64_t size = ret_info->size_bytes;
    if (range.first > size) {
        bytes_release(store, bytes);
        return grv_error_set(error, GRV_INVALID_ARGUMENT, ORIGIN,
                             "byte %" PRIu64 " of an object of %" PRIu64, range.first, size);
    }
    memory_source *source = calloc(1, sizeof *source);
    if (!source) {
        bytes_release(store, bytes);
        return no_memory(error, "a source");
    }
    source->base.ops = &memory_source_ops;
    source->store = store;
    source->bytes = bytes;
    source->at = range.first;
    source->end = range.end < size ? range.end : size;
    *ret_source = &source->base;
    return GRV_OK;
}

static grv_status memory_objects_head(const grv_call *call, grv_object_store *base,
                                      const grv_locator *locator, grv_object_info *ret_info,
                                      grv_error *error)
{
    grv_object_info info;
    grv_status status = take(call, (memory_store *)base, locator, &info, NULL, error);
    if (!status) {
        *ret_info = info;
    }
    return status;
}

/* ---- remove, copy ---- */

static grv_status memory_objects_remove(const grv_call *call, grv_mutable_object_store *base,
                                        const grv_locator *locator, grv_error *error)
{
    memory_store *store = (memory_store *)base;
    size_t bucket = 0;
    grv_status status = grv_call_check(call, ORIGIN, error);
    if (!status) {
        status = grv_buckets_find(&store->buckets, locator->bucket, &bucket, error);
    }
    if (status) {
        return status;
    }
    memory_object *object = NULL;
    pthread_mutex_lock(&store->lock);
    size_t at = objects_find(store, bucket, locator->path, false);
    if (objects_has(store, at, bucket, locator->path)) {
        object = store->objects[at];
        store->count--;
        memmove(store->objects + at, store->objects + at + 1,
                (store->count - at) * sizeof(memory_object *));
    }
    pthread_mutex_unlock(&store->lock);
    object_free(store, object);
    return GRV_OK;
}

static grv_status memory_objects_copy(const grv_call *call, grv_mutable_object_store *base,
                                      const grv_locator *from, const grv_locator *to,
                                      bool if_absent, grv_object_info *ret_info, grv_error *error)
{
    memory_store *store = (memory_store *)base;
    memory_object *object = NULL;
    grv_object_info info;
    memory_bytes *bytes = NULL;
    grv_status status = object_new(store, to, &object, error);
    if (!status) {
        status = take(call, store, from, &info, &bytes, error);
    }
    if (status) {
        object_free(store, object);
        return status;
    }
    object->bytes = bytes;
    memory_object *old = NULL;
    pthread_mutex_lock(&store->lock);
    status = objects_adopt(store, object, if_absent, &old, error);
    if (!status) {
        *ret_info = object->info;
        object = NULL;
    }
    pthread_mutex_unlock(&store->lock);
    object_free(store, old);
    object_free(store, object);
    return status;
}

/* ---- list ---- */

static grv_status memory_cursor_next(const grv_call *call, grv_object_cursor *base,
                                     grv_object_entry entries[], size_t capacity, size_t *ret_count,
                                     grv_error *error)
{
    memory_cursor *cursor = (memory_cursor *)base;
    memory_store *store = cursor->store;
    grv_status status = grv_call_check(call, ORIGIN, error);
    if (status) {
        return status;
    }
    capacity = capacity < CURSOR_BATCH ? capacity : CURSOR_BATCH;
    bool from_prefix = strcmp(cursor->after, cursor->prefix) < 0;
    size_t count = 0;
    pthread_mutex_lock(&store->lock);
    size_t at = objects_find(store, cursor->bucket, from_prefix ? cursor->prefix : cursor->after,
                             !from_prefix);
    for (; at < store->count && count < capacity; at++, count++) {
        const memory_object *object = store->objects[at];
        if (object->bucket != cursor->bucket ||
            strncmp(object->path, cursor->prefix, cursor->prefix_size) != 0) {
            break;
        }
        memcpy(cursor->paths[count], object->path, strlen(object->path) + 1);
        entries[count] = (grv_object_entry){.path = cursor->paths[count], .info = object->info};
    }
    pthread_mutex_unlock(&store->lock);
    if (count > 0) {
        memcpy(cursor->after, cursor->paths[count - 1], PATH_SIZE);
    }
    *ret_count = count;
    return GRV_OK;
}

static void memory_cursor_free(grv_object_cursor *base)
{
    free(base);
}

static const grv_object_cursor_ops memory_cursor_ops = {
    .name = "memory",
    .next = memory_cursor_next,
    .free = memory_cursor_free,
};

static grv_status memory_objects_open_list(const grv_call *call, grv_object_store *base,
                                           const grv_object_list *list,
                                           grv_object_cursor **ret_cursor, grv_error *error)
{
    memory_store *store = (memory_store *)base;
    size_t bucket = 0;
    grv_status status = grv_call_check(call, ORIGIN, error);
    if (!status) {
        status = grv_buckets_find(&store->buckets, list->bucket, &bucket, error);
    }
    if (status) {
        return status;
    }
    memory_cursor *cursor = calloc(1, sizeof *cursor);
    if (!cursor) {
        return no_memory(error, "a list");
    }
    cursor->base.ops = &memory_cursor_ops;
    cursor->store = store;
    cursor->bucket = bucket;
    cursor->prefix_size = list->prefix.size;
    if (list->prefix.size > 0) {
        memcpy(cursor->prefix, list->prefix.data, list->prefix.size);
    }
    if (list->after.size > 0) {
        memcpy(cursor->after, list->after.data, list->after.size);
    }
    *ret_cursor = &cursor->base;
    return GRV_OK;
}

/* ---- the store ---- */

static void memory_objects_free(grv_object_store *base)
{
    memory_store *store = (memory_store *)base;
    for (size_t i = 0; i < store->count; i++) {
        object_free(store, store->objects[i]);
    }
    free(store->objects);
    grv_buckets_done(&store->buckets);
    pthread_mutex_destroy(&store->lock);
    free(store);
}

static const grv_object_store_ops memory_objects_base_ops = {
    .name = "memory",
    .head = memory_objects_head,
    .open_list = memory_objects_open_list,
    .open_get = memory_objects_open_get,
    .free = memory_objects_free,
};

static const grv_mutable_object_store_ops memory_objects_ops = {
    .name = "memory",
    .open_put = memory_objects_open_put,
    .remove = memory_objects_remove,
    .copy = memory_objects_copy,
};

grv_status grv_object_store_memory_new(const char *const buckets[], size_t bucket_count,
                                       uint64_t size_max, grv_mutable_object_store **ret_store,
                                       grv_error *error)
{
    memory_store *store = calloc(1, sizeof *store);
    if (!store) {
        return no_memory(error, "a store");
    }
    grv_status status = grv_mutable_object_store_init(
        &store->base, &memory_objects_base_ops, &memory_objects_ops, SCHEME,
        GRV_OBJECT_CAP_IF_ABSENT | GRV_OBJECT_CAP_TAG_PER_PUT | GRV_OBJECT_CAP_ANY_PATH, error);
    int failed = status ? 0 : pthread_mutex_init(&store->lock, NULL);
    if (failed) {
        status = grv_error_set_errno(error, failed, ORIGIN, "cannot make a lock");
    }
    if (status) {
        free(store);
        return status;
    }
    store->size_max = size_max;
    status = grv_buckets_make(&store->buckets, ORIGIN, SCHEME, buckets, bucket_count, error);
    if (status) {
        memory_objects_free(&store->base.base);
        return status;
    }
    *ret_store = &store->base;
    return GRV_OK;
}
