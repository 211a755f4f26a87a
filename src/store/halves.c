/* SPDX-License-Identifier: Apache-2.0 */
/* Opening the two halves of a store, and reading the record by which each names it. */
#include "store/opening.h"

#include <graviton/backend/fs.h>
#include <graviton/backend/kv.h>
#include <graviton/backend/memory.h>
#include <graviton/backend/pg.h>
#include <graviton/backend/rocks.h>

const char *grv_opening_blocks_where(const grv_store *store)
{
    return *store->place.blocks_path ? store->place.blocks_path
                                     : grv_blocks_kind_name(store->place.blocks);
}

const char *grv_opening_meta_where(const grv_store *store)
{
    if (store->pg) {
        return grv_pg_where(store->pg);
    }
    return store->place.meta == GRV_META_ROCKS ? store->place.meta_path
                                               : grv_meta_kind_name(store->place.meta);
}

/*
 * Opens metadata in PostgreSQL. Opening writes nothing, so the handle serves all modes; what may
 * write has a session from then on, and manifests that are guarded by it.
 */
static grv_status open_pg(const grv_opening *opening, grv_meta_mode mode, grv_error *error)
{
    grv_store *store = opening->store;
    const grv_store_config *config = opening->config;
    grv_status status = GRV_OK;
    if (!store->pg) {
        grv_pg_config pg = {
            .conninfo = store->place.meta_path,
            .connections = config->connections,
            .allow_unsafe = config->allow_unsafe,
            .patience_ns = config->patience_ns,
            .read_only = config->read_only,
        };
        status = grv_pg_open(opening->call, &pg, &store->pg, error);
    }
    if (!status && store->place.blocks == GRV_BLOCKS_KV && !store->kv) {
        status = grv_kv_pg_new(store->pg, GRV_NS_COUNT, &store->kv, error);
    }
    if (!status && mode != GRV_META_MODE_READ && !store->session) {
        status = grv_store_open_session(opening->call, config, store, error);
    }
    if (!status && !store->manifests) {
        status = grv_manifest_repo_pg_new(store->pg, store->session, &store->manifests, error);
    }
    return status;
}

grv_status grv_opening_meta(const grv_opening *opening, grv_meta_mode mode, grv_error *error)
{
    static const uint64_t reserve_default = GRV_ROCKS_RESERVE_DEFAULT;
    grv_store *store = opening->store;
    grv_status status = GRV_OK;
    if (store->place.meta == GRV_META_PG) {
        return open_pg(opening, mode, error);
    }
    if (store->place.meta == GRV_META_MEMORY) {
        status = grv_kv_memory_new(GRV_NS_COUNT, &store->kv, error);
    } else {
        grv_rocks_config config = {
            .directory = store->place.meta_path,
            .namespaces = grv_kv_namespace_names,
            .namespace_count = GRV_NS_COUNT,
            .create = mode == GRV_META_MODE_CREATE,
            .read_only = mode == GRV_META_MODE_READ,
            .reserve_bytes = mode == GRV_META_MODE_CREATE ? &reserve_default : NULL,
            .use_reserve = opening->config->use_reserve,
        };
        if (opening->config->reserve_bytes) {
            config.reserve_bytes = opening->config->reserve_bytes;
        } else if (store->place.has_reserve) {
            config.reserve_bytes = &store->place.reserve_bytes;
        }
        status = grv_kv_rocks_new(&config, &store->kv, error);
    }
    if (status == GRV_NOT_FOUND && mode != GRV_META_MODE_CREATE) {
        return GRV_OK;
    }
    if (status) {
        return status;
    }
    return grv_manifest_repo_kv_new(store->kv, &store->manifests, error);
}

grv_status grv_opening_blocks(const grv_opening *opening, bool create, grv_error *error)
{
    grv_store *store = opening->store;
    grv_status status = GRV_OK;
    switch (store->place.blocks) {
    case GRV_BLOCKS_FS: {
        const char *prefix = store->place.blocks_prefix;
        grv_fs_config config = {
            .root = store->place.blocks_path,
            .prefix = *prefix ? prefix : NULL,
            .create = create,
        };
        status = grv_block_store_fs_new(&config, &store->blocks, error);
        break;
    }
    case GRV_BLOCKS_KV:
        status =
            store->kv ? grv_block_store_kv_new(store->kv, &store->blocks, error) : GRV_NOT_FOUND;
        break;
    case GRV_BLOCKS_MEMORY:
        status = grv_block_store_memory_new(&store->blocks, error);
        break;
    case GRV_BLOCKS_S3:
        return grv_store_open_s3(opening->call, opening->config, store, error);
    case GRV_BLOCKS_REMOTE:
        break; /* has no halves */
    }
    return status == GRV_NOT_FOUND && !create ? GRV_OK : status;
}

grv_status grv_opening_read_superblock(grv_opening *opening, grv_error *error)
{
    grv_buffer text;
    grv_buffer_init(&text, GRV_SUPERBLOCK_MAX);
    grv_status status =
        grv_block_store_superblock_get(opening->call, opening->store->blocks, &text, error);
    if (!status) {
        status = grv_descriptor_decode(grv_buffer_bytes(&text), GRV_HALF_BYTES,
                                       &opening->superblock, error);
        opening->has_superblock = status == GRV_OK;
        if (status) {
            grv_error_prefix(error, "the superblock of the blocks in %s",
                             grv_opening_blocks_where(opening->store));
        }
    } else if (status == GRV_NOT_FOUND) {
        status = GRV_OK;
    }
    grv_buffer_done(&text);
    return status;
}

static grv_status read_descriptor(grv_opening *opening, grv_error *error)
{
    grv_buffer text;
    grv_buffer_init(&text, GRV_DESCRIPTOR_MAX);
    grv_status status =
        grv_manifest_repo_descriptor_get(opening->call, opening->store->manifests, &text, error);
    if (!status) {
        status = grv_descriptor_decode(grv_buffer_bytes(&text), GRV_HALF_METADATA,
                                       &opening->descriptor, error);
        opening->has_descriptor = status == GRV_OK;
        if (status) {
            grv_error_prefix(error, "the descriptor of the metadata in %s",
                             grv_opening_meta_where(opening->store));
        }
    } else if (status == GRV_NOT_FOUND) {
        status = GRV_OK;
    }
    grv_buffer_done(&text);
    return status;
}

/* Opens the blocks where they are there, unless they are open, and reads their superblock. */
static grv_status look_at_blocks(grv_opening *opening, grv_error *error)
{
    grv_store *store = opening->store;
    grv_status status = store->blocks ? GRV_OK : grv_opening_blocks(opening, false, error);
    return !status && store->blocks ? grv_opening_read_superblock(opening, error) : status;
}

/*
 * A database without blocks that have a superblock belongs to other blocks: a store is named in
 * its bytes first. Refused before the database is opened, because opening one writes to it.
 */
static grv_status refuse_lone_database(grv_opening *opening, grv_error *error)
{
    const grv_store *store = opening->store;
    if (opening->has_superblock || store->place.meta != GRV_META_ROCKS) {
        return GRV_OK;
    }
    bool exists = false;
    grv_status status = grv_rocks_exists(store->place.meta_path, &exists, error);
    if (!status && exists) {
        /* Another process may have made the store since the blocks were looked at. */
        status = look_at_blocks(opening, error);
    }
    if (status || !exists || opening->has_superblock) {
        return status;
    }
    return grv_error_set(error, GRV_CONFLICT, "store",
                         "there is metadata in %s, but the blocks in %s are missing or have lost "
                         "their superblock (%s): name the blocks that belong to it, or restore "
                         "them from a backup",
                         store->place.meta_path, grv_opening_blocks_where(store),
                         GRV_FS_SUPERBLOCK);
}

/* The metadata half is opened for reading first, so that nothing is written to a half that turns
 * out to be the wrong one; this opens it again to write. */
grv_status grv_opening_to_write(grv_opening *opening, grv_error *error)
{
    grv_store *store = opening->store;
    if (store->place.meta == GRV_META_PG) {
        grv_manifest_repo_free(store->manifests);
        store->manifests = NULL;
        return grv_opening_meta(opening, GRV_META_MODE_WRITE, error);
    }
    if (!store->kv || store->place.meta == GRV_META_MEMORY) {
        return GRV_OK;
    }
    bool over_meta = store->place.blocks == GRV_BLOCKS_KV;
    if (over_meta) {
        grv_block_store_free(store->blocks);
        store->blocks = NULL;
    }
    grv_manifest_repo_free(store->manifests);
    store->manifests = NULL;
    grv_kv_free(store->kv);
    store->kv = NULL;
    grv_status status = grv_opening_meta(opening, GRV_META_MODE_WRITE, error);
    if (!status && over_meta) {
        status = grv_opening_blocks(opening, false, error);
    }
    return status;
}

/* Opens what is there of both halves and reads their records. Blocks over the metadata's key-value
 * store come after it, all others before. */
grv_status grv_opening_halves(grv_opening *opening, grv_error *error)
{
    grv_store *store = opening->store;
    bool over_meta = store->place.blocks == GRV_BLOCKS_KV;
    grv_status status = GRV_OK;
    if (!over_meta) {
        status = look_at_blocks(opening, error);
        if (!status) {
            status = refuse_lone_database(opening, error);
        }
    }
    if (!status) {
        status = grv_opening_meta(opening, GRV_META_MODE_READ, error);
    }
    if (!status && over_meta) {
        status = look_at_blocks(opening, error);
    }
    if (!status && store->manifests) {
        status = read_descriptor(opening, error);
    }
    return status;
}
