/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The cas blob store: constructor, memory of tiles, and the slots that the manifest repository
 * answers alone. Putting is in ingest.c, getting in read.c.
 */
#include "store/cas.h"

#include "base/wait.h"

#include <assert.h>
#include <stdlib.h>

/* Workers that a store with distant blocks has beyond one a core: they wait most of the time. */
#define DISTANT_WAITERS 8u

/* ---- Slots that pass through, and what a read-only store refuses ---- */

static grv_manifest_repo *manifests_of(grv_blob_store *store)
{
    return ((grv_cas *)(void *)store)->config.manifests;
}

/* Every slot that changes something asks first: a half may not know that nothing is to be written,
 * files for one. */
static grv_status check_writable(const grv_cas *cas, grv_error *error)
{
    if (cas->config.read_only) {
        return grv_error_set(error, GRV_UNSUPPORTED, "cas", "the store was opened read-only");
    }
    return GRV_OK;
}

static grv_status cas_open_put(const grv_call *call, grv_blob_store *store,
                               const grv_put_plan *plan, grv_blob_sink **ret_sink, grv_error *error)
{
    grv_status status = check_writable((const grv_cas *)(const void *)store, error);
    return status ? status : grv_cas_open_put(call, store, plan, ret_sink, error);
}

static grv_status cas_stat(const grv_call *call, grv_blob_store *store, const grv_blob_key *key,
                           grv_blob_info *ret_info, grv_error *error)
{
    return grv_manifest_repo_stat(call, manifests_of(store), key, ret_info, error);
}

static grv_status cas_attributes_get(const grv_call *call, grv_blob_store *store,
                                     const grv_blob_key *key, grv_attributes *attributes,
                                     grv_error *error)
{
    return grv_manifest_repo_attributes_get(call, manifests_of(store), key, attributes, error);
}

static grv_status cas_attributes_set(const grv_call *call, grv_blob_store *store,
                                     const grv_blob_key *key, const grv_attributes *attributes,
                                     grv_error *error)
{
    grv_status status = check_writable((const grv_cas *)(const void *)store, error);
    return status ? status
                  : grv_manifest_repo_attributes_set(call, manifests_of(store), key, attributes,
                                                     error);
}

static grv_status cas_remove(const grv_call *call, grv_blob_store *store, const grv_blob_key *key,
                             grv_error *error)
{
    grv_status status = check_writable((const grv_cas *)(const void *)store, error);
    return status ? status : grv_manifest_repo_remove(call, manifests_of(store), key, error);
}

static grv_status cas_open_list(const grv_call *call, grv_blob_store *store,
                                const grv_blob_list *list, grv_blob_cursor **ret_cursor,
                                grv_error *error)
{
    return grv_manifest_repo_open_list(call, manifests_of(store), list, ret_cursor, error);
}

static grv_status cas_open_refs(const grv_call *call, grv_blob_store *store,
                                const grv_blob_key *key, uint64_t offset,
                                grv_ref_cursor **ret_cursor, grv_error *error)
{
    return grv_manifest_repo_open_refs(call, manifests_of(store), key, offset, ret_cursor, error);
}

/* ---- Puts, and the jobs that keep them out ---- */

static grv_cas *cas_of(grv_blob_store *store);

grv_status grv_cas_put_begin(const grv_call *call, grv_cas *cas, grv_error *error)
{
    pthread_mutex_lock(&cas->puts_lock);
    grv_status status = grv_call_check(call, "cas", error);
    while (!status && cas->puts_excluded) {
        grv_wait(call, &cas->puts_admitted, &cas->puts_lock);
        status = grv_call_check(call, "cas", error);
    }
    if (!status && cas->puts_forbidden) {
        status = grv_error_set(error, GRV_UNAVAILABLE, "cas",
                               "a collection or scrub of the store has not ended its work: run "
                               "`graviton gc`, which finishes it");
    }
    if (!status) {
        cas->open_puts++;
    }
    pthread_mutex_unlock(&cas->puts_lock);
    return status;
}

void grv_cas_put_end(grv_cas *cas)
{
    pthread_mutex_lock(&cas->puts_lock);
    cas->open_puts--;
    pthread_mutex_unlock(&cas->puts_lock);
}

grv_status grv_cas_maintenance_begin(grv_blob_store *store, grv_error *error)
{
    grv_cas *cas = cas_of(store);
    pthread_mutex_lock(&cas->puts_lock);
    bool taken = cas->maintained;
    cas->maintained = true;
    pthread_mutex_unlock(&cas->puts_lock);
    if (taken) {
        return grv_error_set(error, GRV_UNAVAILABLE, "store",
                             "the store is being collected, scrubbed, backed up or lent already");
    }
    return GRV_OK;
}

void grv_cas_maintenance_end(grv_blob_store *store)
{
    grv_cas *cas = cas_of(store);
    pthread_mutex_lock(&cas->puts_lock);
    cas->maintained = false;
    pthread_mutex_unlock(&cas->puts_lock);
}

bool grv_cas_is_maintained(grv_blob_store *store)
{
    grv_cas *cas = cas_of(store);
    pthread_mutex_lock(&cas->puts_lock);
    bool maintained = cas->maintained;
    pthread_mutex_unlock(&cas->puts_lock);
    return maintained;
}

grv_status grv_cas_puts_exclude(grv_blob_store *store, grv_error *error)
{
    grv_cas *cas = cas_of(store);
    pthread_mutex_lock(&cas->puts_lock);
    unsigned open = cas->open_puts;
    cas->puts_excluded = open == 0;
    pthread_mutex_unlock(&cas->puts_lock);
    if (open > 0) {
        return grv_error_set(error, GRV_UNAVAILABLE, "store",
                             "%u puts are open on the store: try again when they have ended", open);
    }
    return GRV_OK;
}

void grv_cas_puts_admit(grv_blob_store *store)
{
    grv_cas *cas = cas_of(store);
    pthread_mutex_lock(&cas->puts_lock);
    cas->puts_excluded = false;
    pthread_cond_broadcast(&cas->puts_admitted);
    pthread_mutex_unlock(&cas->puts_lock);
}

void grv_cas_puts_forbid(grv_blob_store *store, bool forbidden)
{
    grv_cas *cas = cas_of(store);
    pthread_mutex_lock(&cas->puts_lock);
    cas->puts_forbidden = forbidden;
    pthread_mutex_unlock(&cas->puts_lock);
}

/* ---- Memory of tiles ---- */

uint8_t *grv_cas_tile_new(grv_cas *cas)
{
    uint8_t *memory = NULL;
    pthread_mutex_lock(&cas->cache_lock);
    if (cas->spare_count > 0) {
        memory = cas->spare[--cas->spare_count];
    }
    pthread_mutex_unlock(&cas->cache_lock);
    return memory ? memory : malloc(cas->shape.headroom + cas->shape.fresh);
}

void grv_cas_tile_free(grv_cas *cas, uint8_t *memory)
{
    pthread_mutex_lock(&cas->cache_lock);
    if (cas->spare_count < cas->shape.tiles) {
        cas->spare[cas->spare_count++] = memory;
        memory = NULL;
    }
    pthread_mutex_unlock(&cas->cache_lock);
    free(memory);
}

/*
 * Chooses how a put lays its stream out. A tile takes about 1 MiB of new bytes, more where blocks
 * are larger (or moving their unfinished part would cost more than the scan), less where blocks can
 * be so small that their keys would outweigh the bytes. Distant blocks are asked for by many.
 */
static grv_tile_shape shape_of(const grv_cas_config *config)
{
    const grv_chunker_spec *chunker = &config->chunker;
    grv_tile_shape shape = {
        .headroom = grv_chunker_block_max(chunker),
        .fresh = config->distant_blocks ? GRV_TILE_FRESH_DISTANT : GRV_TILE_FRESH,
        .fetch = config->distant_blocks ? GRV_FETCH_BYTES_DISTANT : GRV_FETCH_BYTES,
    };
    if (shape.headroom / 4 > shape.fresh) {
        shape.fresh = shape.headroom / 4;
    }
    shape.run_blocks = (shape.headroom + shape.fresh) / grv_chunker_block_min(chunker) + 2;
    if (shape.run_blocks > GRV_RUN_BLOCKS_MAX) {
        shape.run_blocks = GRV_RUN_BLOCKS_MAX;
    }
    size_t hold = config->blocks_hold < GRV_STREAM_BYTES_MAX ? config->blocks_hold : 0;
    size_t tiles = (GRV_STREAM_BYTES_MAX - hold) / (shape.headroom + shape.fresh);
    shape.tiles = tiles > GRV_TILES_MAX ? GRV_TILES_MAX : (unsigned)tiles;
    if (shape.tiles < GRV_TILES_MIN) {
        shape.tiles = GRV_TILES_MIN;
    }
    return shape;
}

/* ---- Constructor ---- */

static void cas_free(grv_blob_store *store)
{
    grv_cas *cas = (grv_cas *)(void *)store;
    grv_pool_free(cas->pool);
    while (cas->spare_count > 0) {
        free(cas->spare[--cas->spare_count]);
    }
    free(cas->known);
    grv_memory_cache_free(cas->memory);
    grv_budget_done(&cas->budget);
    pthread_mutex_destroy(&cas->cache_lock);
    pthread_cond_destroy(&cas->puts_admitted);
    pthread_mutex_destroy(&cas->puts_lock);
    free(cas);
}

static const grv_blob_store_ops cas_ops = {
    .name = "cas",
    .open_put = cas_open_put,
    .open_get = grv_cas_open_get,
    .stat = cas_stat,
    .attributes_get = cas_attributes_get,
    .attributes_set = cas_attributes_set,
    .remove = cas_remove,
    .open_list = cas_open_list,
    .open_refs = cas_open_refs,
    .free = cas_free,
};

static grv_cas *cas_of(grv_blob_store *store)
{
    assert(store->ops == &cas_ops);
    return (grv_cas *)(void *)store;
}

static grv_status config_check(const grv_cas_config *config, grv_error *error)
{
    if (!config->blocks || !config->manifests) {
        return grv_error_set(error, GRV_INVALID_ARGUMENT, "cas",
                             "a blob store needs a block store and a manifest repository");
    }
    if (config->hash != GRV_HASH_BLAKE3 && config->hash != GRV_HASH_SHA256) {
        return grv_error_set(error, GRV_INVALID_ARGUMENT, "cas", "a blob store needs a hash");
    }
    if (config->blocks_hold > GRV_CAS_BUDGET_MIN / 2) {
        return grv_error_set(error, GRV_INVALID_ARGUMENT, "cas",
                             "a block store that holds %zu bytes, at most %zu", config->blocks_hold,
                             GRV_CAS_BUDGET_MIN / 2);
    }
    if (config->budget_bytes && config->budget_bytes < GRV_CAS_BUDGET_MIN) {
        return grv_error_set(error, GRV_INVALID_ARGUMENT, "cas",
                             "a memory budget of %zu bytes, want at least %zu",
                             config->budget_bytes, GRV_CAS_BUDGET_MIN);
    }
    return grv_chunker_spec_check(&config->chunker, error);
}

grv_status grv_blob_store_cas_new(const grv_cas_config *config, grv_blob_store **ret_store,
                                  grv_error *error)
{
    grv_status status = config_check(config, error);
    if (status) {
        return status;
    }
    grv_cas *cas = calloc(1, sizeof *cas);
    grv_known *known = cas ? calloc(1, sizeof *known) : NULL; /* its pages come with their use */
    if (!known) {
        free(cas);
        return grv_error_set(error, GRV_LIMIT_EXCEEDED, "cas", "no memory for a blob store");
    }
    cas->known = known;
    cas->config = *config;
    cas->shape = shape_of(config);
    size_t budget = config->budget_bytes ? config->budget_bytes : GRV_CAS_BUDGET_DEFAULT;
    grv_budget_init(&cas->budget, budget - config->blocks_hold);
    pthread_mutex_init(&cas->cache_lock, NULL);
    pthread_mutex_init(&cas->puts_lock, NULL);
    grv_wait_init(&cas->puts_admitted);
    uint64_t capabilities = GRV_BLOB_CAP_REFS;
    if (config->manifests->capabilities & GRV_MANIFEST_CAP_NEWEST) {
        capabilities |= GRV_BLOB_CAP_NEWEST;
    }
    if (config->memory_cache_bytes > 0 && config->manifests_no_wait) {
        capabilities |= GRV_BLOB_CAP_NO_WAIT;
    }
    status = grv_blob_store_init(&cas->base, &cas_ops, capabilities, error);
    if (!status) {
        unsigned threads = config->threads;
        if (threads == 0 && config->distant_blocks) {
            threads = grv_pool_threads_default() + DISTANT_WAITERS;
        }
        status = grv_pool_new(threads, &cas->pool, error);
    }
    if (!status && config->memory_cache_bytes > 0) {
        status = grv_memory_cache_new(config->memory_cache_bytes, &cas->memory, error);
    }
    if (status) {
        cas_free(&cas->base);
        return status;
    }
    *ret_store = &cas->base;
    return GRV_OK;
}

bool grv_cas_memory_read(grv_blob_store *store, grv_cache_figures *ret_figures)
{
    const grv_cas *cas = (const grv_cas *)(const void *)store;
    if (cas->memory) {
        grv_memory_cache_read(cas->memory, ret_figures);
    }
    return cas->memory != NULL;
}
