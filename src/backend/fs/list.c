/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Scans, lists and statistics. A directory comes in no order and may have any number of entries,
 * so a list keeps the smallest keys past its place, up to a window of them, in a heap, hands them
 * out, and reads the directory again for the next window. File names alone are looked at.
 */
#include "backend/fs/fs.h"

#include "os/file.h"

#include <stdlib.h>

static const grv_hash hashes[] = {GRV_HASH_BLAKE3, GRV_HASH_SHA256}; /* in key order */
#define HASH_COUNT (sizeof hashes / sizeof hashes[0])

/* Entries between two questions whether the call goes on. */
#define CHECK_EVERY 1024

grv_status grv_fs_scan(const grv_call *call, grv_fs_store *store, grv_hash hash,
                       bool (*visit)(void *context, const grv_block_key *key), void *context,
                       grv_error *error)
{
    grv_fs_directory *directory = grv_fs_directory_of(store, hash);
    int fd;
    grv_status status = grv_fs_directory_open(directory, false, &fd, error);
    if (status || fd < 0) {
        return status;
    }
    DIR *entries;
    status = grv_directory_entries(fd, directory->name, &entries, error);
    if (status) {
        return status;
    }
    bool more = true;
    for (size_t seen = 0; !status && more; seen++) {
        if (seen % CHECK_EVERY == 0) {
            status = grv_call_check(call, "fs", error);
        }
        const char *name = NULL;
        if (!status) {
            status = grv_directory_next(entries, directory->name, &name, error);
        }
        grv_block_key key;
        if (status || !name) {
            break;
        }
        if (grv_block_name_parse(hash, name, &key)) {
            more = visit(context, &key);
        }
    }
    grv_directory_close(entries);
    return status;
}

/* ---- list ---- */

typedef struct fs_cursor {
    grv_block_cursor base;
    grv_fs_store *store;
    size_t hash_index; /* whose directory the window is of; HASH_COUNT: all is done */
    bool has_after;
    grv_block_key after; /* the last key handed out, or where the list was to start */
    bool loaded;         /* a window was read since `hash_index` last changed */
    bool overflowed;     /* the directory has keys past the window */
    bool no_memory;      /* the window could not grow */
    grv_block_key *keys; /* while loading a heap with the largest first, then sorted */
    size_t count;
    size_t capacity;
    size_t next;
} fs_cursor;

static void keys_swap(grv_block_key *a, grv_block_key *b)
{
    grv_block_key kept = *a;
    *a = *b;
    *b = kept;
}

static void heap_up(grv_block_key keys[], size_t at)
{
    while (at > 0 && grv_block_key_compare(&keys[(at - 1) / 2], &keys[at]) < 0) {
        keys_swap(&keys[(at - 1) / 2], &keys[at]);
        at = (at - 1) / 2;
    }
}

static void heap_down(grv_block_key keys[], size_t count)
{
    size_t at = 0;
    for (;;) {
        size_t child = 2 * at + 1;
        if (child >= count) {
            return;
        }
        if (child + 1 < count && grv_block_key_compare(&keys[child], &keys[child + 1]) < 0) {
            child++;
        }
        if (grv_block_key_compare(&keys[at], &keys[child]) >= 0) {
            return;
        }
        keys_swap(&keys[at], &keys[child]);
        at = child;
    }
}

static bool cursor_grow(fs_cursor *cursor)
{
    size_t window = cursor->store->tuning.list_window;
    size_t capacity = cursor->capacity ? 2 * cursor->capacity : 1024;
    capacity = capacity < window ? capacity : window;
    grv_block_key *keys = realloc(cursor->keys, capacity * sizeof *keys);
    if (keys) {
        cursor->keys = keys;
        cursor->capacity = capacity;
    }
    return keys != NULL;
}

static bool cursor_visit(void *context, const grv_block_key *key)
{
    fs_cursor *cursor = context;
    if (cursor->has_after && grv_block_key_compare(key, &cursor->after) <= 0) {
        return true;
    }
    if (cursor->count == cursor->store->tuning.list_window) {
        cursor->overflowed = true;
        if (grv_block_key_compare(key, &cursor->keys[0]) < 0) {
            cursor->keys[0] = *key;
            heap_down(cursor->keys, cursor->count);
        }
        return true;
    }
    if (cursor->count == cursor->capacity && !cursor_grow(cursor)) {
        cursor->no_memory = true;
        return false;
    }
    cursor->keys[cursor->count] = *key;
    heap_up(cursor->keys, cursor->count++);
    return true;
}

static int keys_order(const void *a, const void *b)
{
    return grv_block_key_compare(a, b);
}

/* Reads the next window. A name that a changing directory shows twice is kept once. */
static grv_status cursor_load(const grv_call *call, fs_cursor *cursor, grv_error *error)
{
    cursor->count = 0;
    cursor->next = 0;
    cursor->overflowed = false;
    cursor->no_memory = false;
    grv_status status =
        grv_fs_scan(call, cursor->store, hashes[cursor->hash_index], cursor_visit, cursor, error);
    if (!status && cursor->no_memory) {
        status = grv_error_set(error, GRV_LIMIT_EXCEEDED, "fs", "no memory for a list of %zu keys",
                               cursor->count);
    }
    if (status) {
        cursor->count = 0;
        return status;
    }
    if (cursor->count > 0) {
        qsort(cursor->keys, cursor->count, sizeof *cursor->keys, keys_order);
    }
    size_t kept = 0;
    for (size_t i = 0; i < cursor->count; i++) {
        if (kept == 0 || grv_block_key_compare(&cursor->keys[kept - 1], &cursor->keys[i]) != 0) {
            cursor->keys[kept++] = cursor->keys[i];
        }
    }
    cursor->count = kept;
    cursor->loaded = true;
    return GRV_OK;
}

static grv_status cursor_next(const grv_call *call, grv_block_cursor *base,
                              grv_block_entry entries[], size_t capacity, size_t *ret_count,
                              grv_error *error)
{
    fs_cursor *cursor = (fs_cursor *)base;
    while (cursor->next == cursor->count && cursor->hash_index < HASH_COUNT) {
        if (cursor->loaded && !cursor->overflowed) {
            cursor->hash_index++;
            cursor->loaded = false;
            continue;
        }
        grv_status status = cursor_load(call, cursor, error);
        if (status) {
            return status;
        }
    }
    size_t count = 0;
    while (count < capacity && cursor->next < cursor->count) {
        const grv_block_key *key = &cursor->keys[cursor->next++];
        entries[count++] = (grv_block_entry){.key = *key, .stored_size = key->size};
    }
    if (count > 0) {
        cursor->after = entries[count - 1].key;
        cursor->has_after = true;
    }
    *ret_count = count;
    return GRV_OK;
}

static void cursor_free(grv_block_cursor *base)
{
    fs_cursor *cursor = (fs_cursor *)base;
    free(cursor->keys);
    free(cursor);
}

static const grv_block_cursor_ops cursor_ops = {
    .name = "fs",
    .next = cursor_next,
    .free = cursor_free,
};

grv_status grv_fs_list_open(const grv_call *call, grv_block_store *store,
                            const grv_block_key *after, grv_block_cursor **ret_cursor,
                            grv_error *error)
{
    (void)call;
    fs_cursor *cursor = calloc(1, sizeof *cursor);
    if (!cursor) {
        return grv_error_set(error, GRV_LIMIT_EXCEEDED, "fs", "no memory for a list");
    }
    cursor->base.ops = &cursor_ops;
    cursor->store = (grv_fs_store *)store;
    if (after) {
        cursor->after = *after;
        cursor->has_after = true;
        while (cursor->hash_index < HASH_COUNT && hashes[cursor->hash_index] < after->digest.hash) {
            cursor->hash_index++;
        }
    }
    *ret_cursor = &cursor->base;
    return GRV_OK;
}

/* ---- statistics ---- */

static bool stats_visit(void *context, const grv_block_key *key)
{
    grv_block_stats *stats = context;
    stats->blocks++;
    stats->raw_bytes += key->size;
    stats->stored_bytes += key->size;
    return true;
}

grv_status grv_fs_stats(const grv_call *call, grv_block_store *store, grv_block_stats *ret_stats,
                        grv_error *error)
{
    grv_block_stats stats = {0};
    for (size_t i = 0; i < HASH_COUNT; i++) {
        grv_status status =
            grv_fs_scan(call, (grv_fs_store *)store, hashes[i], stats_visit, &stats, error);
        if (status) {
            return status;
        }
    }
    *ret_stats = stats;
    return GRV_OK;
}

static bool any_visit(void *context, const grv_block_key *key)
{
    (void)key;
    *(bool *)context = true;
    return false;
}

grv_status grv_fs_any(const grv_call *call, grv_fs_store *store, bool *ret_any, grv_error *error)
{
    bool any = false;
    for (size_t i = 0; i < HASH_COUNT && !any; i++) {
        grv_status status = grv_fs_scan(call, store, hashes[i], any_visit, &any, error);
        if (status) {
            return status;
        }
    }
    *ret_any = any;
    return GRV_OK;
}
