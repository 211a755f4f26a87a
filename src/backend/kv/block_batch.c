/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Batches of the block store over a key-value store. Blocks are looked up, encoded and staged as
 * they come; a full stage is written as one `ordered` key-value batch, so that a batch of any size
 * needs memory for one stage, and the commit's write of the last one makes all of them durable.
 * No lock is held while anything is looked up, encoded or written: a thread that finds the stage
 * full takes it away and writes it, while others fill the next.
 *
 * Contents: the stage; put; commit; the table and open.
 */
#include "backend/kv/block_store.h"
#include "core/key_set.h"

#include <stdlib.h>
#include <string.h>

/* A stage is full at this many blocks, or when the next would take it past these bytes. */
#define STAGE_BLOCKS 1000u
#define STAGE_BYTES  (8u << 20)

/* --- The stage --- */

typedef struct staged {
    uint8_t key[GRV_KEY_BYTES_SIZE];
    uint8_t info[GRV_KV_BLOCK_INFO_SIZE];
    grv_span frame; /* owned */
} staged;

typedef struct stage {
    size_t count;
    size_t bytes;
    staged entries[STAGE_BLOCKS];
} stage;

static void stage_free(stage *full)
{
    if (full) {
        for (size_t i = 0; i < full->count; i++) {
            free(full->entries[i].frame.data);
        }
        free(full);
    }
}

/* Writes a stage's two rows a block in one batch, and frees it. */
static grv_status stage_write(const grv_call *call, grv_kv *kv, stage *full,
                              grv_durability durability, grv_error *error)
{
    grv_kv_op *ops = malloc(2 * full->count * sizeof *ops);
    if (!ops) {
        size_t count = full->count;
        stage_free(full);
        return grv_error_set(error, GRV_LIMIT_EXCEEDED, "kv", "no memory for a write of %zu blocks",
                             count);
    }
    for (size_t i = 0; i < full->count; i++) {
        const staged *entry = &full->entries[i];
        grv_bytes key = grv_bytes_of(entry->key, sizeof entry->key);
        ops[2 * i] = (grv_kv_op){.kind = GRV_KV_PUT,
                                 .ns = GRV_NS_BLOCK,
                                 .key = key,
                                 .value = grv_bytes_of(entry->frame.data, entry->frame.size)};
        ops[2 * i + 1] = (grv_kv_op){.kind = GRV_KV_PUT,
                                     .ns = GRV_NS_BLOCK_INFO,
                                     .key = key,
                                     .value = grv_bytes_of(entry->info, sizeof entry->info)};
    }
    grv_kv_batch batch = {.ops = ops, .op_count = 2 * full->count, .durability = durability};
    grv_status status = grv_kv_write(call, kv, &batch, error);
    free(ops);
    stage_free(full);
    return status;
}

/* --- Put --- */

typedef struct kv_batch {
    grv_block_batch base;
    grv_kv_blocks *blocks;
    pthread_mutex_t lock; /* guards all below */
    grv_status failed;    /* of the first put that failed: the batch cannot be committed */
    grv_key_set keys;
    stage *open;
    grv_block_result *results;
    size_t count;
    size_t capacity;
} kv_batch;

/* Takes `count` indices for a put; all are duplicates until a block turns out fresh. */
static grv_status batch_reserve(kv_batch *batch, size_t count, size_t *ret_first, grv_error *error)
{
    if (batch->failed) {
        return grv_error_set(error, batch->failed, "kv", "an earlier put of this batch failed (%s)",
                             grv_status_name(batch->failed));
    }
    if (count > batch->capacity - batch->count) {
        size_t capacity = 2 * batch->capacity;
        capacity = capacity > batch->count + count ? capacity : batch->count + count;
        grv_block_result *results = realloc(batch->results, capacity * sizeof *results);
        if (!results) {
            return grv_error_set(error, GRV_LIMIT_EXCEEDED, "kv",
                                 "no memory for a batch of %zu blocks", capacity);
        }
        batch->results = results;
        batch->capacity = capacity;
    }
    *ret_first = batch->count;
    for (size_t i = 0; i < count; i++) {
        batch->results[batch->count++] = (grv_block_result){.outcome = GRV_BLOCK_DUPLICATE};
    }
    return GRV_OK;
}

/* Makes what is stored of a block. */
static grv_status block_encode(grv_frame_coder *coder, const grv_block *block, staged *ret_entry,
                               grv_error *error)
{
    size_t room = block->bytes.size + GRV_FRAME_OVERHEAD;
    uint8_t *data = malloc(room);
    if (!data) {
        return grv_error_set(error, GRV_LIMIT_EXCEEDED, "kv", "no memory for a block of %u bytes",
                             block->key.size);
    }
    grv_frame_info info = {.kind = GRV_FRAME_BLOCK, .digest = block->key.digest};
    size_t size = 0;
    grv_status status =
        grv_frame_encode(coder, &info, block->bytes, (grv_span){data, room}, &size, error);
    if (status) {
        free(data);
        return status;
    }
    if (size < room) {
        uint8_t *smaller = realloc(data, size);
        data = smaller ? smaller : data;
    }
    ret_entry->frame = (grv_span){data, size};
    grv_block_key_encode(&block->key, ret_entry->key);
    for (unsigned i = 0; i < GRV_KV_BLOCK_INFO_SIZE; i++) {
        ret_entry->info[i] = (uint8_t)(size >> (8 * i));
    }
    return GRV_OK;
}

/* Stages an entry, which it takes over, and writes the stage before it where that was full. */
static grv_status batch_stage(const grv_call *call, kv_batch *batch, staged *entry, size_t index,
                              grv_error *error)
{
    stage *full = NULL;
    pthread_mutex_lock(&batch->lock);
    if (batch->open && (batch->open->count == STAGE_BLOCKS ||
                        batch->open->bytes + entry->frame.size > STAGE_BYTES)) {
        full = batch->open;
        batch->open = NULL;
    }
    if (!batch->open) {
        batch->open = malloc(sizeof *batch->open);
        if (batch->open) {
            batch->open->count = 0;
            batch->open->bytes = 0;
        }
    }
    bool staged_it = batch->open;
    if (staged_it) {
        batch->open->entries[batch->open->count++] = *entry;
        batch->open->bytes += entry->frame.size;
        batch->results[index] = (grv_block_result){.outcome = GRV_BLOCK_FRESH,
                                                   .stored_size = (uint32_t)entry->frame.size};
    }
    pthread_mutex_unlock(&batch->lock);
    if (!staged_it) {
        free(entry->frame.data);
        stage_free(full);
        return grv_error_set(error, GRV_LIMIT_EXCEEDED, "kv", "no memory for a stage of blocks");
    }
    return full ? stage_write(call, batch->blocks->kv, full, GRV_ORDERED, error) : GRV_OK;
}

/* Puts up to a round of blocks whose indices begin at `first`. */
static grv_status put_round(const grv_call *call, kv_batch *batch, grv_frame_coder *coder,
                            const grv_block blocks[], size_t count, size_t first, grv_error *error)
{
    grv_kv_block_keys round;
    bool missing[GRV_KV_BLOCK_ROUND];
    grv_kv_block_keys_fill(&round, &blocks[0].key, sizeof blocks[0], count);
    grv_status status = grv_kv_missing(call, batch->blocks->kv, GRV_NS_BLOCK_INFO, round.views,
                                       count, missing, error);
    for (size_t i = 0; !status && i < count; i++) {
        if (!missing[i]) {
            continue;
        }
        /* Claimed before it is encoded, so that of two threads with one block one does the work. */
        bool claimed = false;
        pthread_mutex_lock(&batch->lock);
        status = grv_key_set_add(&batch->keys, &blocks[i].key, &claimed, error);
        pthread_mutex_unlock(&batch->lock);
        staged entry;
        if (!status && claimed) {
            status = block_encode(coder, &blocks[i], &entry, error);
            if (!status) {
                status = batch_stage(call, batch, &entry, first + i, error);
            }
        }
    }
    return status;
}

static grv_status kv_batch_put(const grv_call *call, grv_block_batch *base,
                               const grv_block blocks[], size_t count, size_t *ret_first,
                               grv_error *error)
{
    kv_batch *batch = (kv_batch *)base;
    size_t first = 0;
    pthread_mutex_lock(&batch->lock);
    grv_status status = batch_reserve(batch, count, &first, error);
    pthread_mutex_unlock(&batch->lock);
    if (status) {
        return status;
    }
    grv_frame_coder coder = grv_kv_blocks_coder_take(batch->blocks);
    for (size_t done = 0; !status && done < count;) {
        size_t n = count - done < GRV_KV_BLOCK_ROUND ? count - done : GRV_KV_BLOCK_ROUND;
        status = put_round(call, batch, &coder, blocks + done, n, first + done, error);
        done += n;
    }
    grv_kv_blocks_coder_give(batch->blocks, coder);
    if (status) {
        /* Its keys are claimed and its indices taken: nothing after it could be true. */
        pthread_mutex_lock(&batch->lock);
        batch->failed = batch->failed ? batch->failed : status;
        pthread_mutex_unlock(&batch->lock);
        return status;
    }
    *ret_first = first;
    return GRV_OK;
}

static grv_status kv_batch_note(const grv_call *call, grv_block_batch *base, grv_bytes record,
                                grv_error *error)
{
    (void)call;
    (void)base;
    (void)record;
    return grv_error_set(error, GRV_UNSUPPORTED, "kv", "no recovery records here");
}

/* --- Commit --- */

static grv_status kv_batch_commit(const grv_call *call, grv_block_batch *base,
                                  grv_durability durability, grv_block_result ret_results[],
                                  size_t count, grv_error *error)
{
    kv_batch *batch = (kv_batch *)base;
    size_t none = 0;
    grv_status status = batch_reserve(batch, 0, &none, error);
    if (status) {
        return status;
    }
    stage *last = batch->open;
    batch->open = NULL;
    if (last) {
        status = stage_write(call, batch->blocks->kv, last, durability, error);
    } else if (durability == GRV_DURABLE) {
        /* Duplicates may be another batch's ordered writes: they too must be durable now. */
        status = grv_kv_flush(call, batch->blocks->kv, error);
    }
    if (status) {
        return status;
    }
    if (count) {
        memcpy(ret_results, batch->results, count * sizeof *ret_results);
    }
    return GRV_OK;
}

/* --- The table and open --- */

static void kv_batch_free(grv_block_batch *base)
{
    kv_batch *batch = (kv_batch *)base;
    stage_free(batch->open);
    grv_key_set_done(&batch->keys);
    free(batch->results);
    pthread_mutex_destroy(&batch->lock);
    free(batch);
}

static const grv_block_batch_ops kv_batch_ops = {
    .name = "kv",
    .put = kv_batch_put,
    .note = kv_batch_note,
    .commit = kv_batch_commit,
    .free = kv_batch_free,
};

grv_status grv_kv_blocks_open_batch(const grv_call *call, grv_block_store *store,
                                    grv_block_batch **ret_batch, grv_error *error)
{
    grv_status status = grv_call_check(call, "kv", error);
    if (status) {
        return status;
    }
    kv_batch *batch = calloc(1, sizeof *batch);
    if (!batch) {
        return grv_error_set(error, GRV_LIMIT_EXCEEDED, "kv", "no memory for a batch");
    }
    int failed = pthread_mutex_init(&batch->lock, NULL);
    if (failed) {
        free(batch);
        return grv_error_set_errno(error, failed, "kv", "cannot make a lock");
    }
    batch->base.ops = &kv_batch_ops;
    batch->blocks = (grv_kv_blocks *)store;
    *ret_batch = &batch->base;
    return GRV_OK;
}
