/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Making a store, where both halves are absent, in an order that a crash cannot spoil: superblock
 * "creating", then the metadata's descriptor, then superblock "ready". While it says "creating" no
 * blob can have been acknowledged, so the making is simply taken up again.
 */
#include "os/clock.h"
#include "os/random.h"
#include "store/opening.h"

#include <stdio.h>

/* The chunker's size for blocks in S3. */
#define S3_CHUNK_SIZE (1u << 20)

grv_status grv_opening_write_superblock(grv_opening *opening, bool creating, grv_error *error)
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
                         grv_opening_blocks_where(opening->store));
    } else if (status) {
        grv_error_prefix(error, "cannot name the blocks in %s",
                         grv_opening_blocks_where(opening->store));
    }
    opening->has_superblock = opening->has_superblock || status == GRV_OK;
    grv_buffer_done(&before);
    grv_buffer_done(&after);
    return status;
}

static grv_status write_descriptor(grv_opening *opening, grv_error *error)
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
        grv_error_prefix(error, "cannot name the metadata in %s",
                         grv_opening_meta_where(opening->store));
    }
    opening->has_descriptor = status == GRV_OK;
    grv_buffer_done(&text);
    return status;
}

/* Each block of a bucket is an object of its own: larger ones make fewer requests. */
static grv_chunker_spec new_chunker(const grv_opening *opening)
{
    grv_chunker_spec chunker = grv_chunker_default();
    if (opening->store->place.blocks == GRV_BLOCKS_S3) {
        chunker.size = S3_CHUNK_SIZE;
    }
    return chunker;
}

/* What a new store will be: what was asked for, defaults for the rest, a fresh id. */
static grv_status new_info(grv_opening *opening, grv_error *error)
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
static grv_status create_halves(const grv_opening *opening, grv_error *error)
{
    grv_store *store = opening->store;
    bool blocks_first = store->place.blocks != GRV_BLOCKS_KV;
    grv_status status = GRV_OK;
    if (!store->blocks && blocks_first) {
        status = grv_opening_blocks(opening, true, error);
    }
    if (!status && !store->manifests) {
        status = grv_opening_meta(opening, GRV_META_MODE_CREATE, error);
    }
    if (!status && !store->blocks) {
        status = grv_opening_blocks(opening, true, error);
    }
    return status;
}

/*
 * Names the bytes half as one that is being made. Where a killed process has begun that, neither
 * the directories it made nor the superblock it wrote need be durable, although they can be seen:
 * so the directories are opened as ones to be made, and the superblock is written again.
 */
static grv_status begin_blocks(grv_opening *opening, grv_error *error)
{
    grv_store *store = opening->store;
    grv_status status = GRV_OK;
    if (!opening->has_superblock) {
        status = new_info(opening, error);
        if (!status && store->place.blocks != GRV_BLOCKS_KV) {
            grv_block_store_free(store->blocks);
            store->blocks = NULL;
            status = grv_opening_blocks(opening, true, error);
        }
    }
    return !status && store->blocks ? grv_opening_write_superblock(opening, true, error) : status;
}

grv_status grv_opening_explain_conflict(grv_opening *opening, grv_error *error)
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
                         grv_opening_blocks_where(opening->store));
}

grv_status grv_opening_create(grv_opening *opening, grv_error *error)
{
    grv_status status = grv_opening_to_write(opening, error);
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
        status = grv_opening_write_superblock(opening, true, error);
    }
    if (!status) {
        status = write_descriptor(opening, error);
    }
    if (!status) {
        status = grv_opening_write_superblock(opening, false, error);
    }
    return status == GRV_CONFLICT ? grv_opening_explain_conflict(opening, error) : status;
}
