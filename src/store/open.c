/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Opening a store: both halves, checked against each other before anything is written.
 *
 * Invariant: a half is never adopted. A store is made only where both halves are absent (create.c).
 */
#include "layer/cache.h"
#include "store/cas.h"
#include "store/opening.h"

#include <graviton/backend/cas.h>
#include <graviton/backend/fs.h>
#include <stdlib.h>
#include <string.h>

/* ---- Checking ---- */

/* One half names a store and the other does not. */
static grv_status refuse_half(const grv_opening *opening, grv_error *error)
{
    char id[2 * GRV_STORE_ID_SIZE + 1];
    const grv_store *store = opening->store;
    if (opening->has_superblock) {
        grv_store_id_print(opening->superblock.info.id, id);
        return grv_error_set(error, GRV_CONFLICT, "store",
                             "the blocks in %s belong to store %s, but the metadata in %s is "
                             "missing or empty: name the metadata that belongs to them, or restore "
                             "it from a backup",
                             grv_opening_blocks_where(store), id, grv_opening_meta_where(store));
    }
    grv_store_id_print(opening->descriptor.info.id, id);
    return grv_error_set(error, GRV_CONFLICT, "store",
                         "the metadata in %s belongs to store %s, but the blocks in %s are missing "
                         "or have lost their superblock (%s): name the blocks that belong to it, "
                         "or restore them from a backup",
                         grv_opening_meta_where(store), id, grv_opening_blocks_where(store),
                         GRV_FS_SUPERBLOCK);
}

static grv_status check_pair(const grv_opening *opening, grv_error *error)
{
    const grv_store_info *bytes = &opening->superblock.info;
    const grv_store_info *meta = &opening->descriptor.info;
    if (memcmp(bytes->id, meta->id, GRV_STORE_ID_SIZE) != 0) {
        char bytes_id[2 * GRV_STORE_ID_SIZE + 1];
        char meta_id[2 * GRV_STORE_ID_SIZE + 1];
        grv_store_id_print(bytes->id, bytes_id);
        grv_store_id_print(meta->id, meta_id);
        return grv_error_set(error, GRV_CONFLICT, "store",
                             "the blocks in %s belong to store %s, the metadata in %s to store %s: "
                             "name two halves of one store",
                             grv_opening_blocks_where(opening->store), bytes_id,
                             grv_opening_meta_where(opening->store), meta_id);
    }
    if (bytes->hash != meta->hash || !grv_chunker_spec_equal(&bytes->chunker, &meta->chunker)) {
        return grv_error_set(error, GRV_CORRUPT, "store",
                             "the halves of the store in %s and %s disagree on hash or chunker",
                             grv_opening_blocks_where(opening->store),
                             grv_opening_meta_where(opening->store));
    }
    return GRV_OK;
}

/* Refuses a hash or chunker that was asked for and is not the store's. */
static grv_status check_wishes(const grv_opening *opening, const grv_store_info *info,
                               grv_error *error)
{
    const grv_store_config *config = opening->config;
    if (config->hash != GRV_HASH_NONE && config->hash != info->hash) {
        return grv_error_set(error, GRV_CONFLICT, "store",
                             "the store in %s has hash %s, not %s: leave --hash out, or use "
                             "another store",
                             grv_opening_blocks_where(opening->store), grv_hash_name(info->hash),
                             grv_hash_name(config->hash));
    }
    if (config->chunker && !grv_chunker_spec_equal(config->chunker, &info->chunker)) {
        char has[GRV_CHUNKER_TEXT_SIZE];
        char wants[GRV_CHUNKER_TEXT_SIZE];
        grv_chunker_spec_print(&info->chunker, has);
        grv_chunker_spec_print(config->chunker, wants);
        return grv_error_set(error, GRV_CONFLICT, "store",
                             "the store in %s has chunker %s, not %s: leave --chunker out, or use "
                             "another store",
                             grv_opening_blocks_where(opening->store), has, wants);
    }
    return GRV_OK;
}

/* ---- Deciding ---- */

/*
 * Where others may open the store at the same time, one of them may have made it between the looks
 * at the two halves. The bytes are named before the metadata is, so a second look at them is final.
 */
static grv_status look_again(grv_opening *opening, grv_error *error)
{
    grv_store *store = opening->store;
    if (!opening->has_descriptor || opening->has_superblock || store->place.meta != GRV_META_PG) {
        return GRV_OK;
    }
    grv_status status = GRV_OK;
    if (!store->blocks) {
        status = grv_opening_blocks(opening, false, error);
    }
    return !status && store->blocks ? grv_opening_read_superblock(opening, error) : status;
}

/* Says that the store is made, where whoever began that has not; somebody else may have by now. */
static grv_status finish_superblock(grv_opening *opening, grv_error *error)
{
    grv_status status = grv_opening_write_superblock(opening, false, error);
    if (status == GRV_CONFLICT) {
        status = grv_opening_read_superblock(opening, error);
        if (!status && opening->superblock.creating) {
            status = grv_opening_explain_conflict(opening, error);
        }
        if (!status) {
            status = check_pair(opening, error);
        }
    }
    return status;
}

/* Decides by what both halves say: a whole store, one to be made, or none. */
static grv_status settle(grv_opening *opening, grv_error *error)
{
    bool half_made = opening->has_superblock && opening->superblock.creating;
    if (opening->has_superblock && opening->has_descriptor) {
        grv_status status = check_pair(opening, error);
        if (!status) {
            status = check_wishes(opening, &opening->descriptor.info, error);
        }
        if (!status && !opening->config->read_only) {
            status = grv_opening_to_write(opening, error);
            if (!status && half_made) {
                status = finish_superblock(opening, error);
            }
        }
        return status;
    }
    if (opening->has_descriptor || (opening->has_superblock && !half_made)) {
        return refuse_half(opening, error);
    }
    if (!opening->config->create) {
        return grv_error_set(error, GRV_NOT_FOUND, "store",
                             "no store in %s: `graviton put` makes one",
                             grv_opening_blocks_where(opening->store));
    }
    if (half_made) {
        grv_status status = check_wishes(opening, &opening->superblock.info, error);
        if (status) {
            return status;
        }
    }
    return grv_opening_create(opening, error);
}

/* Finds the store, or makes it. */
static grv_status open_store(grv_opening *opening, grv_error *error)
{
    grv_status status = grv_opening_halves(opening, error);
    if (!status) {
        status = look_again(opening, error);
    }
    if (!status) {
        status = settle(opening, error);
    }
    if (!status) {
        opening->store->info = opening->descriptor.info;
    }
    return status;
}

/* ---- Public ---- */

static grv_status open_blobs(const grv_store_config *config, grv_store *store, grv_error *error)
{
    grv_cas_config cas = {
        .blocks = store->blocks,
        .manifests = store->manifests,
        .hash = store->info.hash ? store->info.hash : GRV_HASH_BLAKE3, /* nobody puts there */
        .chunker = store->info.chunker,
        .threads = config->threads,
        .budget_bytes = config->budget_bytes,
        .memory_cache_bytes = store->place.cache_in_memory ? store->place.cache_bytes : 0,
        .manifests_no_wait = store->place.meta == GRV_META_ROCKS,
        .read_only = config->read_only,
        .ordered_blocks = store->place.blocks == GRV_BLOCKS_KV,
        .distant_blocks = store->place.blocks == GRV_BLOCKS_S3,
        .blocks_hold = store->place.blocks == GRV_BLOCKS_S3 ? GRV_S3_BLOCKS_HOLD : 0,
    };
    return grv_blob_store_cas_new(&cas, &store->blobs, error);
}

/* Puts the cache on the blocks. Last, for halves may be opened several times before. */
static grv_status open_cache(grv_store *store, grv_error *error)
{
    const grv_block_cache_config config = {.directory = store->place.cache_path,
                                           .size_bytes = store->place.cache_bytes};
    if (!*config.directory) {
        return GRV_OK;
    }
    grv_block_store *inner = store->blocks;
    store->blocks = NULL;
    return grv_block_store_cache_new(inner, &config, &store->blocks, error);
}

/* Opens what the place names, in this process. */
static grv_status open_here(grv_opening *opening, grv_error *error)
{
    const grv_store_config *config = opening->config;
    grv_store *store = opening->store;
    grv_status status = store->place.meta == GRV_META_SCALA
                            ? grv_store_open_scala(opening->call, config, store, error)
                            : open_store(opening, error);
    if (!status) {
        status = open_cache(store, error);
    }
    if (!status) {
        status = open_blobs(config, store, error);
    }
    if (!status) {
        status = grv_store_alone_look(opening->call, store, error);
    }
    return status ? status : grv_store_lend_look(store, error);
}

grv_status grv_store_open(const grv_call *call, const grv_store_config *config,
                          grv_store **ret_store, grv_error *error)
{
    grv_store *store = calloc(1, sizeof *store);
    if (!store) {
        return grv_error_set(error, GRV_LIMIT_EXCEEDED, "store", "no memory for a store");
    }
    grv_opening opening = {.call = call, .config = config, .store = store};
    store->read_only = config->read_only;
    grv_status status = grv_place_parse(config, &store->place, error);
    if (!status && config->create && config->read_only) {
        status = grv_error_set(error, GRV_INVALID_ARGUMENT, "store",
                               "a store cannot be made and be read-only");
    }
    if (!status) {
        status = store->place.meta == GRV_META_REMOTE
                     ? grv_store_open_remote(call, config, store, error)
                     : open_here(&opening, error);
    }
    if (status) {
        grv_store_close(store);
        return status;
    }
    *ret_store = store;
    return GRV_OK;
}

grv_blob_store *grv_store_blobs(grv_store *store)
{
    return store->blobs;
}

grv_block_store *grv_store_blocks(grv_store *store)
{
    return store->blocks;
}

grv_manifest_repo *grv_store_manifests(grv_store *store)
{
    return store->manifests;
}

const char *grv_store_warning(const grv_store *store)
{
    return *store->warning ? store->warning : NULL;
}

bool grv_store_is_read_only(const grv_store *store)
{
    return store->read_only;
}

const grv_store_info *grv_store_get_info(const grv_store *store)
{
    return &store->info;
}

bool grv_store_cache(grv_store *store, grv_cache_figures *ret_figures, grv_error *ret_failure)
{
    if (store->place.cache_in_memory) {
        return grv_cas_memory_read(store->blobs, ret_figures);
    }
    bool has = *store->place.cache_path != '\0';
    if (has) {
        grv_block_store_cache_read(store->blocks, ret_figures, ret_failure);
    }
    return has;
}

void grv_store_close(grv_store *store)
{
    if (!store) {
        return;
    }
    grv_blob_store_free(store->blobs);
    grv_remote_close(store->remote);
    grv_block_store_free(store->blocks);
    grv_manifest_repo_free(store->manifests);
    grv_kv_free(store->kv);
    grv_s3_close(store->s3);
    grv_pg_session_close(store->session);
    grv_pg_close(store->pg);
    free(store);
}
