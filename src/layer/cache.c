/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Layer cache: gets are answered from a file on a local disk as far as it has the blocks, by one
 * call to the store below for the rest, which is then written to the file. Everything else goes
 * through. It guards the rule that the cache may be wrong, full, slow to lock or gone, and no call
 * fails for it: whatever goes wrong with the file is counted, and the store below is asked.
 */
#include "layer/cache.h"

#include "layer/cache_file.h"
#include "os/file.h"

#include <stdlib.h>
#include <string.h>

#define ORIGIN "cache"

/* After a write failed (a full disk, most likely) none is tried for this long. */
#define WRITE_PAUSE_NS UINT64_C(1000000000)

typedef struct cache_store {
    grv_block_store base;
    grv_block_store *inner;
    grv_cache_file file;
    grv_cache_figures figures; /* sums, atomic */
    uint64_t pause_ns;         /* no writes before, atomic */
    pthread_mutex_t failure_lock;
    grv_error failure; /* the first one */
} cache_store;

/* A block of one get. */
typedef struct cache_item {
    bool hit;
    bool keep; /* to be written to the cache, for `reason` */
    grv_cache_reason reason;
} cache_item;

static cache_store *cache_of(grv_block_store *store)
{
    return (cache_store *)store;
}

static void figure_add(uint64_t *sum, uint64_t more)
{
    __atomic_fetch_add(sum, more, __ATOMIC_RELAXED);
}

/* ---- Failures ---- */

/* Notes that something failed with the cache's file; the call goes on without. */
static void cache_note(cache_store *store, const grv_error *error)
{
    figure_add(&store->figures.failures, 1);
    pthread_mutex_lock(&store->failure_lock);
    if (!store->failure.status) {
        store->failure = *error;
    }
    pthread_mutex_unlock(&store->failure_lock);
}

/* ---- Reading ---- */

/* Whether the file holds the block that was found at `place` and gives it. */
static bool hit_read(cache_store *store, const grv_cache_place *place, const grv_block_key *key,
                     grv_span buffer)
{
    grv_error error = GRV_ERROR_INIT;
    const grv_cache_file *file = &store->file;
    uint64_t offset = grv_cache_place_offset(&file->shape, place);
    if (grv_cache_file_read(file, offset, buffer.data, key->size, &error)) {
        cache_note(store, &error);
        return false;
    }
    grv_digest digest;
    return grv_digest_of(key->digest.hash, grv_bytes_of(buffer.data, key->size), &digest, NULL) ==
               GRV_OK &&
           grv_digest_compare(&digest, &key->digest) == 0;
}

/* The bytes at `place` are not the block: they were given up meanwhile, or they are bad and the
 * block is dropped. */
static void hit_wrong(cache_store *store, const grv_cache_place *place, const grv_block_key *key)
{
    grv_error error = GRV_ERROR_INIT;
    grv_cache_state now;
    grv_status status = grv_cache_state_read(&store->file, &now, &error);
    if (!status && !grv_cache_place_lives(&now, place)) {
        return;
    }
    figure_add(&store->figures.corrupt, 1);
    if (!status && store->file.writable) {
        status = grv_cache_index_drop(&store->file, key, &error);
    }
    if (status) {
        cache_note(store, &error);
    }
}

/* Tries to answer for one block; sets what is to be written of it. */
static void item_read(cache_store *store, const grv_cache_state *state, const grv_block_key *key,
                      grv_span buffer, cache_item *item)
{
    grv_error error = GRV_ERROR_INIT;
    grv_cache_trace trace = GRV_CACHE_UNKNOWN;
    grv_cache_place place = {0};
    *item = (cache_item){.keep = true, .reason = GRV_CACHE_FRESH};
    if (grv_cache_index_find(&store->file, state, key, &trace, &place, &error)) {
        cache_note(store, &error);
        return;
    }
    if (trace == GRV_CACHE_HERE) {
        item->hit = hit_read(store, &place, key, buffer);
        if (item->hit) {
            item->keep = place.claim < state->queues[place.queue].old;
            item->reason = place.queue == GRV_CACHE_SMALL ? GRV_CACHE_RISE : GRV_CACHE_STAY;
            return;
        }
        hit_wrong(store, &place, key);
    }
    bool again = trace == GRV_CACHE_GONE || (trace == GRV_CACHE_HERE && place.queue);
    item->reason = again ? GRV_CACHE_AGAIN : GRV_CACHE_FRESH;
}

/* ---- Writing ---- */

/* Writes blocks to the room they got. */
static grv_status keep_write(cache_store *store, const grv_block_key keys[],
                             const grv_span buffers[], const cache_item items[], size_t count,
                             const grv_cache_wish *wish, grv_error *error)
{
    const grv_cache_file *file = &store->file;
    grv_cache_state state;
    grv_status status = grv_cache_state_read(file, &state, error);
    for (size_t i = 0; i < count && !status; i++) {
        if (!items[i].keep) {
            continue;
        }
        const grv_cache_wish *granted = wish++;
        if (!granted->granted) {
            figure_add(&store->figures.skipped, granted->reason != GRV_CACHE_STAY);
            continue;
        }
        if (!grv_cache_place_lives(&state,
                                   &granted->place)) { /* stopped for long: others have it */
            figure_add(&store->figures.skipped, 1);
            continue;
        }
        status = grv_cache_file_write(file, grv_cache_place_offset(&file->shape, &granted->place),
                                      buffers[i].data, keys[i].size, error);
        if (!status) {
            status = grv_cache_index_put(file, &state, &keys[i], &granted->place, error);
        }
        if (!status) {
            figure_add(&store->figures.kept, 1);
            figure_add(&store->figures.kept_bytes, keys[i].size);
        }
    }
    return status;
}

/* Writes to the cache what is to be kept. */
static void cache_keep(cache_store *store, const grv_block_key keys[], const grv_span buffers[],
                       const cache_item items[], size_t count)
{
    grv_error error = GRV_ERROR_INIT;
    size_t wanted = 0;
    for (size_t i = 0; i < count; i++) {
        wanted += items[i].keep;
    }
    if (wanted == 0 || !store->file.writable) {
        return;
    }
    uint64_t pause = __atomic_load_n(&store->pause_ns, __ATOMIC_RELAXED);
    grv_cache_wish *wishes = NULL;
    if (pause == 0 || grv_now_ns() >= pause) {
        wishes = malloc(wanted * sizeof *wishes);
    }
    if (!wishes) {
        figure_add(&store->figures.skipped, wanted);
        return;
    }
    size_t at = 0;
    for (size_t i = 0; i < count; i++) {
        if (items[i].keep) {
            wishes[at++] = (grv_cache_wish){.size = keys[i].size, .reason = items[i].reason};
        }
    }
    grv_cache_loss loss = {0};
    grv_status status = grv_cache_room_take(&store->file, wishes, wanted, &loss, &error);
    figure_add(&store->figures.evictions, loss.segments);
    figure_add(&store->figures.evicted_bytes, loss.bytes);
    if (status == GRV_UNAVAILABLE) {
        figure_add(&store->figures.skipped, wanted);
        status = GRV_OK;
    } else if (!status) {
        status = keep_write(store, keys, buffers, items, count, wishes, &error);
    }
    if (status) {
        cache_note(store, &error);
        __atomic_store_n(&store->pause_ns, grv_now_ns() + WRITE_PAUSE_NS, __ATOMIC_RELAXED);
    }
    free(wishes);
}

/* ---- The get ---- */

/* Asks the store below for the blocks that are no hits; those that it cannot give are not kept. */
static grv_status get_misses(const grv_call *call, cache_store *store, const grv_block_key keys[],
                             const grv_span buffers[], cache_item items[], size_t count,
                             size_t misses, grv_status ret_statuses[], grv_error *error)
{
    if (misses == count) {
        grv_status first =
            grv_block_store_get(call, store->inner, keys, buffers, count, ret_statuses, error);
        for (size_t i = 0; i < count; i++) {
            items[i].keep = items[i].keep && ret_statuses[i] == GRV_OK;
        }
        return first;
    }
    grv_block_key *some_keys = malloc(misses * sizeof *some_keys);
    grv_span *some_buffers = malloc(misses * sizeof *some_buffers);
    grv_status *some_statuses = malloc(misses * sizeof *some_statuses);
    grv_status first;
    if (!some_keys || !some_buffers || !some_statuses) {
        first =
            grv_error_set(error, GRV_LIMIT_EXCEEDED, ORIGIN, "no memory for %zu blocks", misses);
        for (size_t i = 0; i < count; i++) {
            ret_statuses[i] = items[i].hit ? GRV_OK : first;
            items[i].keep = false;
        }
    } else {
        size_t at = 0;
        for (size_t i = 0; i < count; i++) {
            if (!items[i].hit) {
                some_keys[at] = keys[i];
                some_buffers[at++] = buffers[i];
            }
        }
        first = grv_block_store_get(call, store->inner, some_keys, some_buffers, misses,
                                    some_statuses, error);
        at = 0;
        for (size_t i = 0; i < count; i++) {
            ret_statuses[i] = items[i].hit ? GRV_OK : some_statuses[at++];
            items[i].keep = items[i].keep && ret_statuses[i] == GRV_OK;
        }
    }
    free(some_keys);
    free(some_buffers);
    free(some_statuses);
    return first;
}

/* Reads what the file has into `items`; returns how many blocks are to be asked for below. */
static size_t get_hits(const grv_call *call, cache_store *store, const grv_block_key keys[],
                       const grv_span buffers[], cache_item items[], size_t count)
{
    grv_error error = GRV_ERROR_INIT;
    grv_cache_state state;
    uint64_t hit_bytes = 0;
    uint64_t miss_bytes = 0;
    size_t hits = 0;
    if (grv_cache_state_read(&store->file, &state, &error)) {
        cache_note(store, &error);
        memset(items, 0, count * sizeof *items);
        return count;
    }
    for (size_t i = 0; i < count; i++) {
        if (grv_call_check(call, ORIGIN, NULL)) { /* the store below tells of it */
            items[i] = (cache_item){0};
        } else {
            item_read(store, &state, &keys[i], buffers[i], &items[i]);
        }
        /* One block many times in a row, as zeros are, is written once. */
        if (i > 0 && !items[i].hit && grv_block_key_compare(&keys[i], &keys[i - 1]) == 0) {
            items[i].keep = false;
        }
        hits += items[i].hit;
        *(items[i].hit ? &hit_bytes : &miss_bytes) += keys[i].size;
    }
    figure_add(&store->figures.hits, hits);
    figure_add(&store->figures.hit_bytes, hit_bytes);
    figure_add(&store->figures.misses, count - hits);
    figure_add(&store->figures.miss_bytes, miss_bytes);
    return count - hits;
}

static grv_status cache_get(const grv_call *call, grv_block_store *base, const grv_block_key keys[],
                            const grv_span buffers[], size_t count, grv_status ret_statuses[],
                            grv_error *error)
{
    cache_store *store = cache_of(base);
    bool background = call && call->priority == GRV_BACKGROUND;
    cache_item *items = NULL;
    if (background) {
        figure_add(&store->figures.bypassed, count);
    } else if (store->file.fd >= 0 && count > 0) {
        items = malloc(count * sizeof *items);
    }
    if (!items) {
        return grv_block_store_get(call, store->inner, keys, buffers, count, ret_statuses, error);
    }
    grv_status first = GRV_OK;
    size_t misses = get_hits(call, store, keys, buffers, items, count);
    if (misses > 0) {
        first = get_misses(call, store, keys, buffers, items, count, misses, ret_statuses, error);
    } else {
        memset(ret_statuses, 0, count * sizeof *ret_statuses);
    }
    cache_keep(store, keys, buffers, items, count);
    free(items);
    return first;
}

/* ---- Removing ---- */

/* Forgets blocks that the store below was told to remove, whatever came of that. */
static void cache_drop(cache_store *store, const grv_block_key keys[], size_t count)
{
    grv_error error = GRV_ERROR_INIT;
    for (size_t i = 0; i < count && store->file.writable; i++) {
        if (grv_cache_index_drop(&store->file, &keys[i], &error)) {
            cache_note(store, &error);
        }
    }
}

static grv_status cache_remove(const grv_call *call, grv_block_store *base,
                               const grv_block_key keys[], size_t count, bool ret_removed[],
                               grv_error *error)
{
    cache_store *store = cache_of(base);
    grv_status status = grv_block_store_remove(call, store->inner, keys, count, ret_removed, error);
    cache_drop(store, keys, count);
    return status;
}

static grv_status cache_quarantine(const grv_call *call, grv_block_store *base,
                                   const grv_block_key keys[], size_t count, bool ret_moved[],
                                   grv_error *error)
{
    cache_store *store = cache_of(base);
    grv_status status =
        grv_block_store_quarantine(call, store->inner, keys, count, ret_moved, error);
    cache_drop(store, keys, count);
    return status;
}

/* ---- What goes through ---- */

static grv_status cache_missing(const grv_call *call, grv_block_store *store,
                                const grv_block_key keys[], size_t count, bool ret_missing[],
                                grv_error *error)
{
    return grv_block_store_missing(call, cache_of(store)->inner, keys, count, ret_missing, error);
}

static grv_status cache_open_batch(const grv_call *call, grv_block_store *store,
                                   grv_block_batch **ret_batch, grv_error *error)
{
    return grv_block_store_open_batch(call, cache_of(store)->inner, ret_batch, error);
}

static grv_status cache_sweep(const grv_call *call, grv_block_store *store, bool dry_run,
                              grv_block_sweep *ret_sweep, grv_error *error)
{
    return grv_block_store_sweep(call, cache_of(store)->inner, dry_run, ret_sweep, error);
}

static grv_status cache_open_list(const grv_call *call, grv_block_store *store,
                                  const grv_block_key *after, grv_block_cursor **ret_cursor,
                                  grv_error *error)
{
    return grv_block_store_open_list(call, cache_of(store)->inner, after, ret_cursor, error);
}

static grv_status cache_flush(const grv_call *call, grv_block_store *store, grv_error *error)
{
    return grv_block_store_flush(call, cache_of(store)->inner, error);
}

static grv_status cache_stats(const grv_call *call, grv_block_store *store,
                              grv_block_stats *ret_stats, grv_error *error)
{
    return grv_block_store_stats(call, cache_of(store)->inner, ret_stats, error);
}

static grv_status cache_superblock_get(const grv_call *call, grv_block_store *store,
                                       grv_buffer *out, grv_error *error)
{
    return grv_block_store_superblock_get(call, cache_of(store)->inner, out, error);
}

static grv_status cache_superblock_set(const grv_call *call, grv_block_store *store,
                                       const grv_bytes *expected, grv_bytes superblock,
                                       grv_error *error)
{
    return grv_block_store_superblock_set(call, cache_of(store)->inner, expected, superblock,
                                          error);
}

static void cache_free(grv_block_store *base)
{
    cache_store *store = cache_of(base);
    grv_block_store_free(store->inner);
    grv_cache_file_done(&store->file);
    pthread_mutex_destroy(&store->failure_lock);
    free(store);
}

static const grv_block_store_ops cache_ops = {
    .name = "cache",
    .missing = cache_missing,
    .open_batch = cache_open_batch,
    .get = cache_get,
    .remove = cache_remove,
    .quarantine = cache_quarantine,
    .sweep = cache_sweep,
    .open_list = cache_open_list,
    .flush = cache_flush,
    .stats = cache_stats,
    .superblock_get = cache_superblock_get,
    .superblock_set = cache_superblock_set,
    .free = cache_free,
};

/* ---- Public ---- */

static grv_status config_check(const grv_block_cache_config *config, grv_error *error)
{
    if (!config->directory || !*config->directory) {
        return grv_error_set(error, GRV_INVALID_ARGUMENT, ORIGIN, "no directory given");
    }
    if (config->size_bytes > 0 &&
        (config->size_bytes < GRV_CACHE_SIZE_MIN || config->size_bytes > GRV_CACHE_SIZE_MAX)) {
        return grv_error_set(error, GRV_INVALID_ARGUMENT, ORIGIN,
                             "a cache has 1M to 8192G, not %llu bytes",
                             (unsigned long long)config->size_bytes);
    }
    return GRV_OK;
}

grv_status grv_block_store_cache_new(grv_block_store *inner, const grv_block_cache_config *config,
                                     grv_block_store **ret_store, grv_error *error)
{
    cache_store *store = NULL;
    grv_status status = config_check(config, error);
    if (!status) {
        store = calloc(1, sizeof *store);
        status = store
                     ? grv_block_store_init(&store->base, &cache_ops, inner->capabilities, error)
                     : grv_error_set(error, GRV_LIMIT_EXCEEDED, ORIGIN, "no memory for the layer");
    }
    int failed = status ? 0 : pthread_mutex_init(&store->failure_lock, NULL);
    if (failed) {
        status = grv_error_set_errno(error, failed, ORIGIN, "no mutex");
    }
    if (status) {
        grv_block_store_free(inner);
        free(store);
        return status;
    }
    grv_error cause = GRV_ERROR_INIT;
    uint64_t size = config->size_bytes ? config->size_bytes : GRV_CACHE_SIZE_DEFAULT;
    store->inner = inner;
    if (grv_cache_file_init(&store->file, config->directory, size, &cause)) {
        cache_note(store, &cause);
    }
    *ret_store = &store->base;
    return GRV_OK;
}

static uint64_t figure_read(const uint64_t *sum)
{
    return __atomic_load_n(sum, __ATOMIC_RELAXED);
}

void grv_block_store_cache_read(grv_block_store *cache, grv_cache_figures *ret_figures,
                                grv_error *ret_failure)
{
    cache_store *store = cache_of(cache);
    const grv_cache_figures *sums = &store->figures;
    *ret_figures = (grv_cache_figures){
        .hits = figure_read(&sums->hits),
        .hit_bytes = figure_read(&sums->hit_bytes),
        .misses = figure_read(&sums->misses),
        .miss_bytes = figure_read(&sums->miss_bytes),
        .bypassed = figure_read(&sums->bypassed),
        .kept = figure_read(&sums->kept),
        .kept_bytes = figure_read(&sums->kept_bytes),
        .evictions = figure_read(&sums->evictions),
        .evicted_bytes = figure_read(&sums->evicted_bytes),
        .corrupt = figure_read(&sums->corrupt),
        .skipped = figure_read(&sums->skipped),
        .failures = figure_read(&sums->failures),
    };
    struct stat info;
    if (store->file.fd >= 0 && grv_file_calls()->fstat(store->file.fd, &info) == 0) {
        ret_figures->disk_bytes = (uint64_t)info.st_blocks * 512;
        ret_figures->size_bytes = store->file.shape.size;
    }
    if (ret_failure) {
        pthread_mutex_lock(&store->failure_lock);
        *ret_failure = store->failure;
        pthread_mutex_unlock(&store->failure_lock);
    }
}
