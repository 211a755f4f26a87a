/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Opening a store: both halves, checked against each other before anything is written.
 *
 * Invariant: a half is never adopted. A store is made only where both halves are absent, in an
 * order that a crash cannot spoil: superblock "creating", then the metadata's descriptor, then
 * superblock "ready". While it says "creating" no blob can have been acknowledged, so the making
 * is simply taken up again.
 */
#include "layer/cache.h"
#include "os/clock.h"
#include "os/random.h"
#include "store/descriptor.h"
#include "store/handle.h"

#include <graviton/backend/cas.h>
#include <graviton/backend/fs.h>
#include <graviton/backend/kv.h>
#include <graviton/backend/memory.h>
#include <graviton/backend/pg.h>
#include <graviton/backend/rocks.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The chunker's size for blocks in S3. */
#define S3_CHUNK_SIZE (1u << 20)

/* What opening finds out. */
typedef struct store_opening {
    const grv_call *call;
    const grv_store_config *config;
    grv_store *store;
    bool has_superblock;
    bool has_descriptor;
    grv_descriptor superblock;
    grv_descriptor descriptor;
} store_opening;

/* ---- The halves ---- */

/* Where the halves are, for messages. */
static const char *blocks_where(const grv_store *store)
{
    return *store->place.blocks_path ? store->place.blocks_path
                                     : grv_blocks_kind_name(store->place.blocks);
}

static const char *meta_where(const grv_store *store)
{
    if (store->pg) {
        return grv_pg_where(store->pg);
    }
    return store->place.meta == GRV_META_ROCKS ? store->place.meta_path
                                               : grv_meta_kind_name(store->place.meta);
}

/* How to open the metadata half. */
typedef enum meta_mode { META_READ, META_WRITE, META_CREATE } meta_mode;

/*
 * Opens metadata in PostgreSQL. Opening writes nothing, so the handle serves all modes; what may
 * write has a session from then on, and manifests that are guarded by it.
 */
static grv_status open_pg(const store_opening *opening, meta_mode mode, grv_error *error)
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
    if (!status && mode != META_READ && !store->session) {
        status = grv_store_open_session(opening->call, config, store, error);
    }
    if (!status && !store->manifests) {
        status = grv_manifest_repo_pg_new(store->pg, store->session, &store->manifests, error);
    }
    return status;
}

/* Opens the metadata half; leaves store->kv NULL where it is absent and is not to be made. */
static grv_status open_meta(const store_opening *opening, meta_mode mode, grv_error *error)
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
            .create = mode == META_CREATE,
            .read_only = mode == META_READ,
            .reserve_bytes = mode == META_CREATE ? &reserve_default : NULL,
            .use_reserve = opening->config->use_reserve,
        };
        if (opening->config->reserve_bytes) {
            config.reserve_bytes = opening->config->reserve_bytes;
        } else if (store->place.has_reserve) {
            config.reserve_bytes = &store->place.reserve_bytes;
        }
        status = grv_kv_rocks_new(&config, &store->kv, error);
    }
    if (status == GRV_NOT_FOUND && mode != META_CREATE) {
        return GRV_OK;
    }
    if (status) {
        return status;
    }
    return grv_manifest_repo_kv_new(store->kv, &store->manifests, error);
}

/* Opens the bytes half; leaves store->blocks NULL where it is absent and `create` is false. A
 * bucket is not made, so one that is absent is an error. */
static grv_status open_blocks(const store_opening *opening, bool create, grv_error *error)
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

static grv_status read_superblock(store_opening *opening, grv_error *error)
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
                             blocks_where(opening->store));
        }
    } else if (status == GRV_NOT_FOUND) {
        status = GRV_OK;
    }
    grv_buffer_done(&text);
    return status;
}

static grv_status read_descriptor(store_opening *opening, grv_error *error)
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
                             meta_where(opening->store));
        }
    } else if (status == GRV_NOT_FOUND) {
        status = GRV_OK;
    }
    grv_buffer_done(&text);
    return status;
}

/* Opens the blocks where they are there, unless they are open, and reads their superblock. */
static grv_status look_at_blocks(store_opening *opening, grv_error *error)
{
    grv_store *store = opening->store;
    grv_status status = store->blocks ? GRV_OK : open_blocks(opening, false, error);
    return !status && store->blocks ? read_superblock(opening, error) : status;
}

/*
 * A database without blocks that have a superblock belongs to other blocks: a store is named in
 * its bytes first. Refused before the database is opened, because opening one writes to it.
 */
static grv_status refuse_lone_database(store_opening *opening, grv_error *error)
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
                         store->place.meta_path, blocks_where(store), GRV_FS_SUPERBLOCK);
}

/* The metadata half is opened for reading first, so that nothing is written to a half that turns
 * out to be the wrong one; this opens it again to write. */
static grv_status reopen_to_write(store_opening *opening, grv_error *error)
{
    grv_store *store = opening->store;
    if (store->place.meta == GRV_META_PG) {
        grv_manifest_repo_free(store->manifests);
        store->manifests = NULL;
        return open_meta(opening, META_WRITE, error);
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
    grv_status status = open_meta(opening, META_WRITE, error);
    if (!status && over_meta) {
        status = open_blocks(opening, false, error);
    }
    return status;
}

/* Opens what is there of both halves and reads their records. Blocks over the metadata's key-value
 * store come after it, all others before. */
static grv_status open_halves(store_opening *opening, grv_error *error)
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
        status = open_meta(opening, META_READ, error);
    }
    if (!status && over_meta) {
        status = look_at_blocks(opening, error);
    }
    if (!status && store->manifests) {
        status = read_descriptor(opening, error);
    }
    return status;
}

/* ---- Checking ---- */

/* One half names a store and the other does not. */
static grv_status refuse_half(const store_opening *opening, grv_error *error)
{
    char id[2 * GRV_STORE_ID_SIZE + 1];
    const grv_store *store = opening->store;
    if (opening->has_superblock) {
        grv_store_id_print(opening->superblock.info.id, id);
        return grv_error_set(error, GRV_CONFLICT, "store",
                             "the blocks in %s belong to store %s, but the metadata in %s is "
                             "missing or empty: name the metadata that belongs to them, or restore "
                             "it from a backup",
                             blocks_where(store), id, meta_where(store));
    }
    grv_store_id_print(opening->descriptor.info.id, id);
    return grv_error_set(error, GRV_CONFLICT, "store",
                         "the metadata in %s belongs to store %s, but the blocks in %s are missing "
                         "or have lost their superblock (%s): name the blocks that belong to it, "
                         "or restore them from a backup",
                         meta_where(store), id, blocks_where(store), GRV_FS_SUPERBLOCK);
}

static grv_status check_pair(const store_opening *opening, grv_error *error)
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
                             blocks_where(opening->store), bytes_id, meta_where(opening->store),
                             meta_id);
    }
    if (bytes->hash != meta->hash || !grv_chunker_spec_equal(&bytes->chunker, &meta->chunker)) {
        return grv_error_set(error, GRV_CORRUPT, "store",
                             "the halves of the store in %s and %s disagree on hash or chunker",
                             blocks_where(opening->store), meta_where(opening->store));
    }
    return GRV_OK;
}

/* Refuses a hash or chunker that was asked for and is not the store's. */
static grv_status check_wishes(const store_opening *opening, const grv_store_info *info,
                               grv_error *error)
{
    const grv_store_config *config = opening->config;
    if (config->hash != GRV_HASH_NONE && config->hash != info->hash) {
        return grv_error_set(error, GRV_CONFLICT, "store",
                             "the store in %s has hash %s, not %s: leave --hash out, or use "
                             "another store",
                             blocks_where(opening->store), grv_hash_name(info->hash),
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
                             blocks_where(opening->store), has, wants);
    }
    return GRV_OK;
}

/* ---- Making a store ---- */

static grv_status write_superblock(store_opening *opening, bool creating, grv_error *error)
{
    grv_buffer before;
    grv_buffer after;
    grv_buffer_init(&before, GRV_SUPERBLOCK_MAX);
    grv_buffer_init(&after, GRV_SUPERBLOCK_MAX);
    grv_status status = GRV_OK;
    if (opening->has_superblock) {
        status =
            grv_block_store_superblock_get(opening->call, opening->store->blocks, &before, error);
    }
    opening->superblock.creating = creating;
    if (!status) {
        status = grv_descriptor_encode(&opening->superblock, &after, error);
    }
    if (!status) {
        grv_bytes expected = grv_buffer_bytes(&before);
        status = grv_block_store_superblock_set(opening->call, opening->store->blocks,
                                                opening->has_superblock ? &expected : NULL,
                                                grv_buffer_bytes(&after), error);
    }
    if (status == GRV_CONFLICT && !opening->has_superblock) {
        grv_error_prefix(error,
                         "no store can be made in %s: name an empty place, or put back the "
                         "superblock of the store whose blocks these are",
                         blocks_where(opening->store));
    } else if (status) {
        grv_error_prefix(error, "cannot name the blocks in %s", blocks_where(opening->store));
    }
    opening->has_superblock = opening->has_superblock || status == GRV_OK;
    grv_buffer_done(&before);
    grv_buffer_done(&after);
    return status;
}

static grv_status write_descriptor(store_opening *opening, grv_error *error)
{
    grv_buffer text;
    grv_buffer_init(&text, GRV_DESCRIPTOR_MAX);
    opening->descriptor = opening->superblock;
    opening->descriptor.half = GRV_HALF_METADATA;
    opening->descriptor.creating = false;
    grv_status status = grv_descriptor_encode(&opening->descriptor, &text, error);
    if (!status) {
        status = grv_manifest_repo_descriptor_set(opening->call, opening->store->manifests, NULL,
                                                  grv_buffer_bytes(&text), error);
    }
    if (status) {
        grv_error_prefix(error, "cannot name the metadata in %s", meta_where(opening->store));
    }
    opening->has_descriptor = status == GRV_OK;
    grv_buffer_done(&text);
    return status;
}

/* Each block of a bucket is an object of its own: larger ones make fewer requests. */
static grv_chunker_spec new_chunker(const store_opening *opening)
{
    grv_chunker_spec chunker = grv_chunker_default();
    if (opening->store->place.blocks == GRV_BLOCKS_S3) {
        chunker.size = S3_CHUNK_SIZE;
    }
    return chunker;
}

/* What a new store will be: what was asked for, defaults for the rest, a fresh id. */
static grv_status new_info(store_opening *opening, grv_error *error)
{
    const grv_store_config *config = opening->config;
    grv_descriptor *superblock = &opening->superblock;
    *superblock = (grv_descriptor){.half = GRV_HALF_BYTES, .creating = true};
    superblock->info = (grv_store_info){
        .format_version = GRV_STORE_FORMAT,
        .hash = config->hash ? config->hash : GRV_HASH_BLAKE3,
        .chunker = config->chunker ? *config->chunker : new_chunker(opening),
        .created_ns = grv_clock_realtime_ns(),
    };
    snprintf(superblock->blocks, sizeof superblock->blocks, "%s",
             grv_blocks_kind_name(opening->store->place.blocks));
    snprintf(superblock->meta, sizeof superblock->meta, "%s",
             grv_meta_kind_name(opening->store->place.meta));
    grv_status status = grv_chunker_spec_check(&superblock->info.chunker, error);
    if (status) {
        return status;
    }
    return grv_random_fill(superblock->info.id, GRV_STORE_ID_SIZE, error);
}

/* Opens the halves that are missing, making them. A block store over the metadata's key-value store
 * comes after it. */
static grv_status create_halves(const store_opening *opening, grv_error *error)
{
    grv_store *store = opening->store;
    bool blocks_first = store->place.blocks != GRV_BLOCKS_KV;
    grv_status status = GRV_OK;
    if (!store->blocks && blocks_first) {
        status = open_blocks(opening, true, error);
    }
    if (!status && !store->manifests) {
        status = open_meta(opening, META_CREATE, error);
    }
    if (!status && !store->blocks) {
        status = open_blocks(opening, true, error);
    }
    return status;
}

/*
 * Names the bytes half as one that is being made. Where a killed process has begun that, neither
 * the directories it made nor the superblock it wrote need be durable, although they can be seen:
 * so the directories are opened as ones to be made, and the superblock is written again.
 */
static grv_status begin_blocks(store_opening *opening, grv_error *error)
{
    grv_store *store = opening->store;
    grv_status status = GRV_OK;
    if (!opening->has_superblock) {
        status = new_info(opening, error);
        if (!status && store->place.blocks != GRV_BLOCKS_KV) {
            grv_block_store_free(store->blocks);
            store->blocks = NULL;
            status = open_blocks(opening, true, error);
        }
    }
    return !status && store->blocks ? write_superblock(opening, true, error) : status;
}

/* What stood in the way of making the store was not there when this opening looked. With a
 * superblock, it is another process that makes the store; anything else keeps its error. */
static grv_status explain_conflict(store_opening *opening, grv_error *error)
{
    grv_buffer text;
    grv_buffer_init(&text, GRV_SUPERBLOCK_MAX);
    grv_status status =
        grv_block_store_superblock_get(opening->call, opening->store->blocks, &text, NULL);
    grv_buffer_done(&text);
    if (status) {
        return GRV_CONFLICT;
    }
    return grv_error_set(error, GRV_UNAVAILABLE, "store",
                         "another process is making a store in %s: try again",
                         blocks_where(opening->store));
}

static grv_status create_store(store_opening *opening, grv_error *error)
{
    grv_status status = reopen_to_write(opening, error);
    if (!status && opening->store->lent) {
        status = grv_error_set(error, GRV_UNAVAILABLE, "store",
                               "another process has the store to itself: nothing is made now");
    }
    if (!status) {
        status = begin_blocks(opening, error);
    }
    if (!status) {
        status = create_halves(opening, error);
    }
    if (!status && !opening->has_superblock) {
        status = write_superblock(opening, true, error);
    }
    if (!status) {
        status = write_descriptor(opening, error);
    }
    if (!status) {
        status = write_superblock(opening, false, error);
    }
    return status == GRV_CONFLICT ? explain_conflict(opening, error) : status;
}

/*
 * Where others may open the store at the same time, one of them may have made it between the looks
 * at the two halves. The bytes are named before the metadata is, so a second look at them is final.
 */
static grv_status look_again(store_opening *opening, grv_error *error)
{
    grv_store *store = opening->store;
    if (!opening->has_descriptor || opening->has_superblock || store->place.meta != GRV_META_PG) {
        return GRV_OK;
    }
    grv_status status = GRV_OK;
    if (!store->blocks) {
        status = open_blocks(opening, false, error);
    }
    return !status && store->blocks ? read_superblock(opening, error) : status;
}

/* Says that the store is made, where whoever began that has not; somebody else may have by now. */
static grv_status finish_superblock(store_opening *opening, grv_error *error)
{
    grv_status status = write_superblock(opening, false, error);
    if (status == GRV_CONFLICT) {
        status = read_superblock(opening, error);
        if (!status && opening->superblock.creating) {
            status = explain_conflict(opening, error);
        }
        if (!status) {
            status = check_pair(opening, error);
        }
    }
    return status;
}

/* Decides by what both halves say: a whole store, one to be made, or none. */
static grv_status settle(store_opening *opening, grv_error *error)
{
    bool half_made = opening->has_superblock && opening->superblock.creating;
    if (opening->has_superblock && opening->has_descriptor) {
        grv_status status = check_pair(opening, error);
        if (!status) {
            status = check_wishes(opening, &opening->descriptor.info, error);
        }
        if (!status && !opening->config->read_only) {
            status = reopen_to_write(opening, error);
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
                             blocks_where(opening->store));
    }
    if (half_made) {
        grv_status status = check_wishes(opening, &opening->superblock.info, error);
        if (status) {
            return status;
        }
    }
    return create_store(opening, error);
}

/* Finds the store, or makes it. */
static grv_status open_store(store_opening *opening, grv_error *error)
{
    grv_status status = open_halves(opening, error);
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
static grv_status open_here(store_opening *opening, grv_error *error)
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
    store_opening opening = {.call = call, .config = config, .store = store};
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
