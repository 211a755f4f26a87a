/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Port blob_store in memory: whole blobs, in segments of one size, under one lock. What is visible
 * is two sorted arrays of the same entries, by key and by sequence; a blob's bytes are counted
 * references, so that a source goes on when its blob is removed. No lock is held while bytes are
 * copied or hashed: an entry's bytes never change once it is visible.
 */
#include "backend/memory/blob_entry.h"

#include <graviton/backend/memory.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define ORIGIN "memory"

typedef struct memory_store {
    grv_blob_store base;
    grv_hash hash;
    uint64_t size_max;
    pthread_mutex_t lock; /* guards all below */
    uint64_t held;        /* sum of the visible blobs' sizes */
    uint64_t sequence;    /* of the last commit */
    grv_memory_entries by_key;
    grv_memory_entries by_sequence;
} memory_store;

typedef struct memory_sink {
    grv_blob_sink base;
    memory_store *store;
    grv_memory_content content;
    size_t window; /* bytes of the last window */
    grv_hasher hasher;
    bool has_expected;
    grv_blob_key expected;
    bool has_attributes;
    grv_buffer attributes;
    void (*told)(void *context, uint64_t bytes, uint64_t duplicate_bytes); /* or NULL */
    void *told_context;
} memory_sink;

typedef struct memory_source {
    grv_source base;
    memory_store *store;
    grv_memory_entry *entry;
    uint64_t at;
    uint64_t end;
    bool whole; /* reads the whole blob, so its digest is checked */
    grv_hasher hasher;
    grv_digest digest; /* the blob's, as it was asked for */
    grv_status failed;
} memory_source;

typedef struct memory_cursor {
    grv_blob_cursor base;
    memory_store *store;
    grv_list_order order;
    bool has_start;
    bool after_start;
    grv_blob_key start;
    uint64_t below_sequence;
} memory_cursor;

static grv_status no_memory(grv_error *error, const char *what)
{
    return grv_error_set(error, GRV_LIMIT_EXCEEDED, ORIGIN, "no memory for %s", what);
}

static grv_status not_found(grv_error *error, const grv_blob_key *key)
{
    char text[GRV_KEY_TEXT_SIZE];
    grv_blob_key_print(key, text);
    return grv_error_set(error, GRV_NOT_FOUND, ORIGIN, "no blob %s", text);
}

/* Gives one reference back. */
static void entry_release(memory_store *store, grv_memory_entry *entry)
{
    pthread_mutex_lock(&store->lock);
    bool last = --entry->references == 0;
    pthread_mutex_unlock(&store->lock);
    if (last) {
        grv_memory_entry_free(entry);
    }
}

/* The visible entry of that key, or NULL. The lock is held. */
static grv_memory_entry *store_find(const memory_store *store, const grv_blob_key *key)
{
    size_t at = grv_memory_entries_find_key(&store->by_key, key, false);
    if (at == store->by_key.count) {
        return NULL;
    }
    grv_memory_entry *found = store->by_key.entries[at];
    return grv_blob_key_compare(&found->info.key, key) == 0 ? found : NULL;
}

static uint64_t realtime_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return (uint64_t)now.tv_sec * UINT64_C(1000000000) + (uint64_t)now.tv_nsec;
}

static grv_status sink_reserve(const grv_call *call, grv_sink *base, grv_span *ret_window,
                               grv_error *error)
{
    memory_sink *sink = (memory_sink *)base;
    grv_memory_content *content = &sink->content;
    grv_status status = grv_call_check(call, ORIGIN, error);
    if (status) {
        return status;
    }
    if (content->size == (uint64_t)content->count * GRV_MEMORY_SEGMENT_SIZE) {
        status = grv_memory_content_grow(content, error);
        if (status) {
            return status;
        }
    }
    size_t inside = (size_t)(content->size % GRV_MEMORY_SEGMENT_SIZE);
    sink->window = GRV_MEMORY_SEGMENT_SIZE - inside;
    *ret_window = (grv_span){content->segments[content->count - 1] + inside, sink->window};
    return GRV_OK;
}

static grv_status sink_advance(const grv_call *call, grv_sink *base, size_t size, grv_error *error)
{
    memory_sink *sink = (memory_sink *)base;
    grv_memory_content *content = &sink->content;
    grv_status status = grv_call_check(call, ORIGIN, error);
    if (status) {
        return status;
    }
    if (size > sink->window) {
        return grv_error_set(error, GRV_INVALID_ARGUMENT, ORIGIN,
                             "advance by %zu bytes in a window of %zu", size, sink->window);
    }
    sink->window = 0;
    if (size == 0) {
        return GRV_OK;
    }
    if (size > sink->store->size_max - content->size) {
        return grv_error_set(error, GRV_OUT_OF_SPACE, ORIGIN,
                             "the blob is larger than the store's %" PRIu64 " bytes",
                             sink->store->size_max);
    }
    grv_bytes written = grv_memory_content_view(content, content->size, size);
    status = grv_hasher_update(&sink->hasher, written, error);
    if (status) {
        return status;
    }
    content->size += size;
    return GRV_OK;
}

static grv_status check_expected(memory_sink *sink, const grv_blob_key *key, grv_error *error)
{
    if (!sink->has_expected || grv_blob_key_compare(key, &sink->expected) == 0) {
        return GRV_OK;
    }
    char got[GRV_KEY_TEXT_SIZE];
    char want[GRV_KEY_TEXT_SIZE];
    grv_blob_key_print(key, got);
    grv_blob_key_print(&sink->expected, want);
    sink->base.result.key = *key;
    return grv_error_set(error, GRV_CONFLICT, ORIGIN, "the bytes are %s, not %s", got, want);
}

/* Makes `fresh` visible unless its key is there; *ret_found is the entry that is there then. The
 * lock is held. */
static grv_status store_adopt(memory_store *store, grv_memory_entry *fresh,
                              grv_memory_entry **ret_found, grv_error *error)
{
    const grv_blob_key *key = &fresh->info.key;
    grv_memory_entry *found = store_find(store, key);
    if (!found) {
        if (key->size > store->size_max - store->held) {
            return grv_error_set(error, GRV_OUT_OF_SPACE, ORIGIN,
                                 "%" PRIu64 " of %" PRIu64 " bytes are taken; no room for %" PRIu64,
                                 store->held, store->size_max, key->size);
        }
        grv_status status = grv_memory_entries_reserve(&store->by_key, error);
        if (!status) {
            status = grv_memory_entries_reserve(&store->by_sequence, error);
        }
        if (status) {
            return status;
        }
        fresh->info.sequence = ++store->sequence;
        fresh->info.created_ns = realtime_ns();
        fresh->references = 1;
        grv_memory_entries_insert(&store->by_key,
                                  grv_memory_entries_find_key(&store->by_key, key, false), fresh);
        grv_memory_entries_insert(&store->by_sequence, store->by_sequence.count, fresh);
        store->held += key->size;
    }
    *ret_found = found;
    return GRV_OK;
}

/* Puts the sink's attributes in the place of an entry's; the sink frees the old ones. The lock is
 * held. */
static void swap_attributes(memory_sink *sink, grv_memory_entry *entry)
{
    grv_buffer old = entry->attributes;
    entry->attributes = sink->attributes;
    sink->attributes = old;
}

static grv_status sink_commit(const grv_call *call, grv_sink *base, grv_error *error)
{
    memory_sink *sink = (memory_sink *)base;
    memory_store *store = sink->store;
    grv_status status = grv_call_check(call, ORIGIN, error);
    if (status) {
        return status;
    }
    grv_blob_key key = {.size = sink->content.size};
    status = grv_hasher_final(&sink->hasher, &key.digest, error);
    if (!status) {
        status = check_expected(sink, &key, error);
    }
    if (status) {
        return status;
    }
    grv_memory_entry *fresh = calloc(1, sizeof *fresh);
    if (!fresh) {
        return no_memory(error, "a blob");
    }
    grv_memory_content_trim(&sink->content);
    fresh->info.key = key;
    fresh->content = sink->content;
    grv_buffer_init(&fresh->attributes, GRV_ATTRIBUTES_BYTES_MAX);

    grv_memory_entry *found = NULL;
    pthread_mutex_lock(&store->lock);
    status = store_adopt(store, fresh, &found, error);
    if (!status && sink->has_attributes) {
        swap_attributes(sink, found ? found : fresh);
    }
    pthread_mutex_unlock(&store->lock);
    if (status || found) {
        free(fresh); /* its bytes are still the sink's */
    } else {
        memset(&sink->content, 0, sizeof sink->content);
    }
    if (status) {
        return status;
    }
    sink->base.result = (grv_put_result){
        .key = key,
        .already_stored = found != NULL,
        .fresh_bytes = found ? 0 : key.size,
        .duplicate_bytes = found ? key.size : 0,
        .stored_bytes = found ? 0 : key.size,
    };
    if (sink->told) {
        sink->told(sink->told_context, key.size, sink->base.result.duplicate_bytes);
    }
    return GRV_OK;
}

static void sink_free(grv_sink *base)
{
    memory_sink *sink = (memory_sink *)base;
    grv_memory_content_done(&sink->content);
    grv_hasher_done(&sink->hasher);
    grv_buffer_done(&sink->attributes);
    free(sink);
}

static const grv_sink_ops sink_ops = {
    .name = ORIGIN,
    .reserve = sink_reserve,
    .advance = sink_advance,
    .commit = sink_commit,
    .free = sink_free,
};

/*
 * A whole blob is hashed as it is given out, and its last bytes only after the digest agreed:
 * memory can go wrong too, and every blob store promises it.
 */
static grv_status source_check(memory_source *source, grv_bytes view, grv_error *error)
{
    grv_status status = grv_hasher_update(&source->hasher, view, error);
    if (status || source->at + view.size < source->end) {
        return status;
    }
    grv_digest digest;
    status = grv_hasher_final(&source->hasher, &digest, error);
    if (status) {
        return status;
    }
    if (grv_digest_compare(&digest, &source->digest) != 0) {
        char text[GRV_KEY_TEXT_SIZE];
        grv_blob_key_print(&source->entry->info.key, text);
        return grv_error_set(error, GRV_CORRUPT, ORIGIN, "blob %s: its bytes have changed", text);
    }
    return GRV_OK;
}

static grv_status source_step(const grv_call *call, memory_source *source, size_t max,
                              grv_bytes *ret_view, grv_error *error)
{
    grv_status status = grv_call_check(call, ORIGIN, error);
    if (status) {
        return status;
    }
    if (source->at == source->end) {
        *ret_view = (grv_bytes){0};
        return GRV_OK;
    }
    uint64_t left = source->end - source->at;
    grv_bytes view =
        grv_memory_content_view(&source->entry->content, source->at, left < max ? left : max);
    if (source->whole) {
        status = source_check(source, view, error);
        if (status) {
            return status;
        }
    }
    source->at += view.size;
    *ret_view = view;
    return GRV_OK;
}

static grv_status source_next(const grv_call *call, grv_source *base, size_t max,
                              grv_bytes *ret_view, grv_error *error)
{
    memory_source *source = (memory_source *)base;
    if (source->failed) {
        return grv_error_set(error, source->failed, ORIGIN, "this read failed earlier (%s)",
                             grv_status_name(source->failed));
    }
    source->failed = source_step(call, source, max, ret_view, error);
    return source->failed;
}

static void source_free(grv_source *base)
{
    memory_source *source = (memory_source *)base;
    grv_hasher_done(&source->hasher);
    entry_release(source->store, source->entry);
    free(source);
}

static const grv_source_ops source_ops = {
    .name = ORIGIN,
    .next = source_next,
    .free = source_free,
};

static size_t cursor_fill_by_key(memory_cursor *cursor, grv_blob_info infos[], size_t capacity)
{
    const grv_memory_entries *list = &cursor->store->by_key;
    size_t at = cursor->has_start
                    ? grv_memory_entries_find_key(list, &cursor->start, cursor->after_start)
                    : 0;
    size_t count = 0;
    while (count < capacity && at < list->count) {
        infos[count++] = list->entries[at++]->info;
    }
    if (count > 0) {
        cursor->start = infos[count - 1].key;
        cursor->has_start = true;
        cursor->after_start = true;
    }
    return count;
}

static size_t cursor_fill_by_newest(memory_cursor *cursor, grv_blob_info infos[], size_t capacity)
{
    const grv_memory_entries *list = &cursor->store->by_sequence;
    size_t at = grv_memory_entries_find_sequence(list, cursor->below_sequence);
    size_t count = 0;
    while (count < capacity && at > 0) {
        infos[count++] = list->entries[--at]->info;
    }
    if (count > 0) {
        cursor->below_sequence = infos[count - 1].sequence;
    }
    return count;
}

static grv_status cursor_next(const grv_call *call, grv_blob_cursor *base, grv_blob_info infos[],
                              size_t capacity, size_t *ret_count, grv_error *error)
{
    memory_cursor *cursor = (memory_cursor *)base;
    grv_status status = grv_call_check(call, ORIGIN, error);
    if (status) {
        return status;
    }
    pthread_mutex_lock(&cursor->store->lock);
    *ret_count = cursor->order == GRV_ORDER_KEY ? cursor_fill_by_key(cursor, infos, capacity)
                                                : cursor_fill_by_newest(cursor, infos, capacity);
    pthread_mutex_unlock(&cursor->store->lock);
    return GRV_OK;
}

static void cursor_free(grv_blob_cursor *base)
{
    free((memory_cursor *)base);
}

static const grv_blob_cursor_ops cursor_ops = {
    .name = ORIGIN,
    .next = cursor_next,
    .free = cursor_free,
};

static grv_status sink_init(memory_sink *sink, memory_store *store, const grv_put_plan *plan,
                            grv_error *error)
{
    sink->base.base.ops = &sink_ops;
    sink->store = store;
    sink->told = plan->progress;
    sink->told_context = plan->progress_context;
    grv_buffer_init(&sink->attributes, GRV_ATTRIBUTES_BYTES_MAX);
    if (plan->expected) {
        sink->has_expected = true;
        sink->expected = *plan->expected;
    }
    if (plan->attributes) {
        sink->has_attributes = true;
        grv_status status = grv_attributes_encode(plan->attributes, &sink->attributes, error);
        if (status) {
            return status;
        }
    }
    return grv_hasher_init(&sink->hasher, store->hash, error);
}

static grv_status store_open_put(const grv_call *call, grv_blob_store *base,
                                 const grv_put_plan *plan, grv_blob_sink **ret_sink,
                                 grv_error *error)
{
    grv_status status = grv_call_check(call, ORIGIN, error);
    if (status) {
        return status;
    }
    memory_sink *sink = calloc(1, sizeof *sink);
    if (!sink) {
        return no_memory(error, "a put");
    }
    status = sink_init(sink, (memory_store *)base, plan, error);
    if (status) {
        sink_free(&sink->base.base);
        return status;
    }
    *ret_sink = &sink->base;
    return GRV_OK;
}

static grv_status store_open_get(const grv_call *call, grv_blob_store *base,
                                 const grv_blob_key *key, grv_range range, grv_source **ret_source,
                                 grv_error *error)
{
    memory_store *store = (memory_store *)base;
    grv_status status = grv_call_check(call, ORIGIN, error);
    if (status) {
        return status;
    }
    memory_source *source = calloc(1, sizeof *source);
    if (!source) {
        return no_memory(error, "a read");
    }
    source->base.ops = &source_ops;
    source->store = store;
    source->at = range.first;
    source->end = range.end;
    source->whole = range.first == 0 && range.end == key->size;
    source->digest = key->digest;
    if (source->whole) {
        status = grv_hasher_init(&source->hasher, key->digest.hash, error);
        if (status) {
            free(source);
            return status;
        }
    }
    pthread_mutex_lock(&store->lock);
    source->entry = store_find(store, key);
    if (source->entry) {
        source->entry->references++;
    }
    pthread_mutex_unlock(&store->lock);
    if (!source->entry) {
        grv_hasher_done(&source->hasher);
        free(source);
        return not_found(error, key);
    }
    *ret_source = &source->base;
    return GRV_OK;
}

static grv_status store_stat(const grv_call *call, grv_blob_store *base, const grv_blob_key *key,
                             grv_blob_info *ret_info, grv_error *error)
{
    memory_store *store = (memory_store *)base;
    grv_status status = grv_call_check(call, ORIGIN, error);
    if (status) {
        return status;
    }
    pthread_mutex_lock(&store->lock);
    const grv_memory_entry *found = store_find(store, key);
    if (found) {
        *ret_info = found->info;
    }
    pthread_mutex_unlock(&store->lock);
    return found ? GRV_OK : not_found(error, key);
}

static grv_status store_attributes_get(const grv_call *call, grv_blob_store *base,
                                       const grv_blob_key *key, grv_attributes *attributes,
                                       grv_error *error)
{
    memory_store *store = (memory_store *)base;
    grv_status status = grv_call_check(call, ORIGIN, error);
    if (status) {
        return status;
    }
    pthread_mutex_lock(&store->lock);
    const grv_memory_entry *found = store_find(store, key);
    if (found && found->attributes.size > 0) {
        status = grv_attributes_decode(grv_buffer_bytes(&found->attributes), attributes, error);
    } else if (found) {
        grv_attributes_done(attributes);
        grv_attributes_init(attributes);
    }
    pthread_mutex_unlock(&store->lock);
    return found ? status : not_found(error, key);
}

static grv_status store_attributes_set(const grv_call *call, grv_blob_store *base,
                                       const grv_blob_key *key, const grv_attributes *attributes,
                                       grv_error *error)
{
    memory_store *store = (memory_store *)base;
    grv_status status = grv_call_check(call, ORIGIN, error);
    if (status) {
        return status;
    }
    grv_buffer encoded;
    grv_buffer_init(&encoded, GRV_ATTRIBUTES_BYTES_MAX);
    status = grv_attributes_encode(attributes, &encoded, error);
    if (status) {
        grv_buffer_done(&encoded);
        return status;
    }
    pthread_mutex_lock(&store->lock);
    grv_memory_entry *found = store_find(store, key);
    if (found) {
        grv_buffer old = found->attributes;
        found->attributes = encoded;
        encoded = old;
    }
    pthread_mutex_unlock(&store->lock);
    grv_buffer_done(&encoded);
    return found ? GRV_OK : not_found(error, key);
}

static grv_status store_remove(const grv_call *call, grv_blob_store *base, const grv_blob_key *key,
                               grv_error *error)
{
    memory_store *store = (memory_store *)base;
    grv_status status = grv_call_check(call, ORIGIN, error);
    if (status) {
        return status;
    }
    pthread_mutex_lock(&store->lock);
    grv_memory_entry *found = store_find(store, key);
    if (found) {
        grv_memory_entries_remove(&store->by_key,
                                  grv_memory_entries_find_key(&store->by_key, key, false));
        grv_memory_entries_remove(
            &store->by_sequence,
            grv_memory_entries_find_sequence(&store->by_sequence, found->info.sequence));
        store->held -= key->size;
    }
    pthread_mutex_unlock(&store->lock);
    if (!found) {
        return not_found(error, key);
    }
    entry_release(store, found);
    return GRV_OK;
}

static grv_status store_open_list(const grv_call *call, grv_blob_store *base,
                                  const grv_blob_list *list, grv_blob_cursor **ret_cursor,
                                  grv_error *error)
{
    grv_status status = grv_call_check(call, ORIGIN, error);
    if (status) {
        return status;
    }
    memory_cursor *cursor = calloc(1, sizeof *cursor);
    if (!cursor) {
        return no_memory(error, "a list");
    }
    cursor->base.ops = &cursor_ops;
    cursor->store = (memory_store *)base;
    cursor->order = list->order;
    cursor->below_sequence = list->below_sequence ? list->below_sequence : UINT64_MAX;
    if (list->start) {
        cursor->has_start = true;
        cursor->after_start = list->after_start;
        cursor->start = *list->start;
    }
    *ret_cursor = &cursor->base;
    return GRV_OK;
}

/* Never reached through the dispatcher: the store lacks GRV_BLOB_CAP_REFS. */
static grv_status store_open_refs(const grv_call *call, grv_blob_store *base,
                                  const grv_blob_key *key, uint64_t offset,
                                  grv_ref_cursor **ret_cursor, grv_error *error)
{
    (void)call;
    (void)base;
    (void)key;
    (void)offset;
    (void)ret_cursor;
    return grv_error_set(error, GRV_UNSUPPORTED, ORIGIN, "blobs in memory have no blocks");
}

static void store_free(grv_blob_store *base)
{
    memory_store *store = (memory_store *)base;
    for (size_t i = 0; i < store->by_key.count; i++) {
        grv_memory_entry_free(store->by_key.entries[i]);
    }
    free(store->by_key.entries);
    free(store->by_sequence.entries);
    pthread_mutex_destroy(&store->lock);
    free(store);
}

static const grv_blob_store_ops store_ops = {
    .name = ORIGIN,
    .open_put = store_open_put,
    .open_get = store_open_get,
    .stat = store_stat,
    .attributes_get = store_attributes_get,
    .attributes_set = store_attributes_set,
    .remove = store_remove,
    .open_list = store_open_list,
    .open_refs = store_open_refs,
    .free = store_free,
};

grv_status grv_blob_store_memory_new(grv_hash hash, uint64_t size_max, grv_blob_store **ret_store,
                                     grv_error *error)
{
    if (hash != GRV_HASH_BLAKE3 && hash != GRV_HASH_SHA256) {
        return grv_error_set(error, GRV_INVALID_ARGUMENT, ORIGIN, "no hash algorithm %d",
                             (int)hash);
    }
    memory_store *store = calloc(1, sizeof *store);
    if (!store) {
        return no_memory(error, "a blob store");
    }
    store->hash = hash;
    store->size_max = size_max < GRV_BLOB_SIZE_MAX ? size_max : GRV_BLOB_SIZE_MAX;
    int code = pthread_mutex_init(&store->lock, NULL);
    if (code) {
        free(store);
        return grv_error_set_errno(error, code, ORIGIN, "cannot make a lock");
    }
    grv_status status = grv_blob_store_init(&store->base, &store_ops, GRV_BLOB_CAP_NEWEST, error);
    if (status) {
        store_free(&store->base);
        return status;
    }
    *ret_store = &store->base;
    return GRV_OK;
}
