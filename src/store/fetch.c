/* SPDX-License-Identifier: Apache-2.0 */
/* Reading the blocks of a fetch. Only a block that the store gave as good is ever kept. */
#include "store/fetch.h"

#include <assert.h>
#include <stdlib.h>

static grv_status no_memory(grv_error *error)
{
    return grv_error_set(error, GRV_LIMIT_EXCEEDED, "cas", "no memory for a read");
}

grv_status grv_fetch_arrays(grv_fetch *fetch, grv_memory_cache *memory, size_t capacity,
                            grv_error *error)
{
    if (fetch->keys) {
        return GRV_OK;
    }
    assert(capacity > 0 && capacity <= GRV_FETCH_BLOCKS);
    fetch->memory = memory;
    fetch->capacity = capacity;
    fetch->spans = malloc(capacity * sizeof *fetch->spans);
    fetch->statuses = malloc(capacity * sizeof *fetch->statuses);
    fetch->blocks = memory ? malloc(capacity * sizeof(grv_memory_block *)) : NULL;
    fetch->keys = malloc(capacity * sizeof *fetch->keys);
    bool good = fetch->spans && fetch->statuses && fetch->keys && (!memory || fetch->blocks);
    return good ? GRV_OK : no_memory(error);
}

void grv_fetch_begin(grv_fetch *fetch, uint64_t offset)
{
    grv_fetch_drop(fetch);
    fetch->count = 0;
    fetch->size = 0;
    fetch->offset = offset;
}

void grv_fetch_add(grv_fetch *fetch, const grv_block_key *key)
{
    assert(fetch->count < fetch->capacity);
    fetch->keys[fetch->count++] = *key;
    fetch->size += key->size;
}

/* ---- Reading ---- */

static grv_status get_together(const grv_call *call, grv_fetch *fetch, grv_block_store *store,
                               grv_error *error)
{
    for (size_t i = 0, at = 0; i < fetch->count; i++) {
        fetch->spans[i] = (grv_span){fetch->buffer + at, fetch->keys[i].size};
        at += fetch->keys[i].size;
    }
    return grv_block_store_get(call, store, fetch->keys, fetch->spans, fetch->count,
                               fetch->statuses, error);
}

/* Blocks that memory did not have, and which of the fetch's they are. */
typedef struct fetch_wanted {
    size_t count;
    grv_block_key *keys;
    grv_status *statuses;
    size_t *places;
} fetch_wanted;

/* Makes blocks for what is wanted. */
static bool wanted_make(grv_fetch *fetch, fetch_wanted *wanted)
{
    wanted->keys = malloc(fetch->count * sizeof *wanted->keys);
    wanted->statuses = malloc(fetch->count * sizeof *wanted->statuses);
    wanted->places = malloc(fetch->count * sizeof *wanted->places);
    bool good = wanted->keys && wanted->statuses && wanted->places;
    for (size_t i = 0; i < fetch->count && good; i++) {
        if (fetch->blocks[i]) {
            continue;
        }
        grv_memory_block *block = grv_memory_block_new(&fetch->keys[i]);
        good = block != NULL;
        if (good) {
            fetch->blocks[i] = block;
            fetch->spans[wanted->count] = (grv_span){block->data, block->key.size};
            wanted->keys[wanted->count] = block->key;
            wanted->statuses[wanted->count] = GRV_INTERNAL; /* until the store has set it */
            wanted->places[wanted->count++] = i;
        }
    }
    return good;
}

static grv_status get_wanted(const grv_call *call, grv_fetch *fetch, grv_block_store *store,
                             grv_error *error)
{
    fetch_wanted wanted = {.count = 0};
    grv_status status = wanted_make(fetch, &wanted) ? GRV_OK : no_memory(error);
    if (!status) {
        grv_memory_cache_miss(fetch->memory, wanted.keys, wanted.count);
        status = grv_block_store_get(call, store, wanted.keys, fetch->spans, wanted.count,
                                     wanted.statuses, error);
        for (size_t i = 0; i < wanted.count; i++) {
            fetch->statuses[wanted.places[i]] = wanted.statuses[i];
            if (!wanted.statuses[i]) {
                grv_memory_cache_keep(fetch->memory, fetch->blocks[wanted.places[i]]);
            }
        }
    }
    free(wanted.keys);
    free(wanted.statuses);
    free(wanted.places);
    return status;
}

/* All of the blocks, or none: what is not given counts for nothing. */
static grv_status get_at_once(grv_fetch *fetch, grv_error *error)
{
    for (size_t i = 0; i < fetch->count; i++) {
        fetch->statuses[i] = GRV_UNAVAILABLE;
    }
    for (size_t i = 0; i < fetch->count; i++) {
        fetch->blocks[i] = grv_memory_cache_try(fetch->memory, &fetch->keys[i]);
        if (!fetch->blocks[i]) {
            return grv_call_would_wait("cas", error);
        }
        fetch->held++;
    }
    for (size_t i = 0; i < fetch->count; i++) {
        grv_memory_cache_hit(fetch->memory, fetch->blocks[i]);
        fetch->statuses[i] = GRV_OK;
    }
    return GRV_OK;
}

grv_status grv_fetch_get(const grv_call *call, grv_fetch *fetch, grv_block_store *store,
                         grv_error *error)
{
    if (!fetch->memory) {
        return get_together(call, fetch, store, error);
    }
    if (call && call->no_wait) {
        return get_at_once(fetch, error);
    }
    bool has_all = true;
    fetch->held = fetch->count;
    for (size_t i = 0; i < fetch->count; i++) {
        fetch->blocks[i] = grv_memory_cache_find(fetch->memory, &fetch->keys[i]);
        fetch->statuses[i] = fetch->blocks[i] ? GRV_OK : GRV_UNAVAILABLE; /* so far */
        has_all &= fetch->blocks[i] != NULL;
    }
    return has_all ? GRV_OK : get_wanted(call, fetch, store, error);
}

/* ---- What was read ---- */

grv_bytes grv_fetch_view(const grv_fetch *fetch, size_t at, size_t end, grv_fetch_cursor *cursor)
{
    assert(at < end && end <= fetch->size && at >= cursor->at);
    if (!fetch->memory) {
        return grv_bytes_of(fetch->buffer + at, end - at);
    }
    while (at - cursor->at >= fetch->keys[cursor->block].size) {
        cursor->at += fetch->keys[cursor->block++].size;
    }
    const grv_memory_block *block = fetch->blocks[cursor->block];
    size_t first = at - cursor->at;
    size_t size = block->key.size - first;
    return grv_bytes_of(block->data + first, size < end - at ? size : end - at);
}

void grv_fetch_drop(grv_fetch *fetch)
{
    while (fetch->held > 0) {
        grv_memory_block_give(fetch->blocks[--fetch->held]);
    }
}

void grv_fetch_done(grv_fetch *fetch)
{
    grv_fetch_drop(fetch);
    free(fetch->keys);
    free(fetch->spans);
    free(fetch->statuses);
    free(fetch->blocks);
}
