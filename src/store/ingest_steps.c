/* SPDX-License-Identifier: Apache-2.0 */
/* The four steps of a put, and which of them may go next. */
#include "store/ingest.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

/* ---- Tasks: beginning and ending ---- */

/* Starts a task, with the lock held. */
static void ingest_start(grv_ingest *put, grv_task *task)
{
    put->running++;
    if (!put->in_line) {
        grv_pool_submit(put->cas->pool, task);
        return;
    }
    task->next = NULL;
    *put->in_line_tail = task;
    put->in_line_tail = &task->next;
}

/* Ends a task, with the lock held: keeps the first failure, lets others go on. */
static void ingest_end(grv_ingest *put, grv_status status, const grv_error *error)
{
    if (status && !put->failed) {
        put->failed = status;
        put->error = *error;
    }
    put->running--;
    grv_ingest_pump(put);
    pthread_cond_broadcast(&put->progress);
}

/* Drops one use of a tile, with the lock held; the last one frees its memory for the next. */
static void ingest_release(grv_ingest *put, grv_ingest_tile *tile)
{
    assert(tile->users > 0);
    if (--tile->users == 0) {
        put->free_memory[put->free_count++] = tile->memory;
        tile->memory = NULL;
    }
}

/* ---- Step scan ---- */

/* Brings the unfinished block of the tile before in front of this one's fresh bytes. */
static void scan_take_rest(grv_ingest *put, grv_ingest_tile *tile)
{
    size_t headroom = put->cas->shape.headroom;
    assert(put->rest_size <= headroom);
    if (put->rest_size) {
        memcpy(tile->memory + headroom - put->rest_size, put->rest, put->rest_size);
    }
    tile->carry = put->rest_size;
    if (put->rest_tile) {
        pthread_mutex_lock(&put->lock);
        ingest_release(put, put->rest_tile);
        pthread_mutex_unlock(&put->lock);
        put->rest_tile = NULL;
    }
}

static void scan_run(grv_task *task)
{
    grv_ingest *put = (grv_ingest *)(void *)((char *)task - offsetof(grv_ingest, scan_task));
    grv_ingest_tile *tile = &put->tiles[put->scan_seq % GRV_TILES_MAX];
    grv_ingest_run *run = &put->runs[put->run_new % GRV_INGEST_RUNS];
    if (put->scan_at == 0) {
        scan_take_rest(put, tile);
    }
    const uint8_t *start = tile->memory + put->cas->shape.headroom - tile->carry;
    const uint8_t *data = start + put->scan_at;
    size_t size = tile->carry + tile->fresh - put->scan_at;
    size_t count = 0;
    size_t used = grv_cutter_cut(&put->cutter, data, size, tile->last, run->sizes,
                                 put->cas->shape.run_blocks, &count);
    for (size_t i = 0, at = 0; i < count; i++) {
        run->blocks[i].key.size = run->sizes[i];
        run->blocks[i].bytes = grv_bytes_of(data + at, run->sizes[i]);
        at += run->sizes[i];
    }

    pthread_mutex_lock(&put->lock);
    put->scan_busy = false;
    put->blocks_scanned += count;
    put->scan_at += used;
    if (count > 0) {
        run->tile = tile;
        run->count = count;
        run->hashed = false;
        tile->users++;
        put->run_new++;
        ingest_start(put, &run->task);
    }
    if (count < put->cas->shape.run_blocks) {
        put->rest = data + used;
        put->rest_size = size - used;
        put->scan_at = 0;
        put->scan_seq++;
        if (tile->last) {
            assert(put->rest_size == 0);
            ingest_release(put, tile);
        } else {
            put->rest_tile = tile;
        }
    }
    ingest_end(put, GRV_OK, NULL);
    pthread_mutex_unlock(&put->lock);
}

/* ---- Step hash ---- */

static void hash_run(grv_task *task)
{
    grv_ingest_run *run = (grv_ingest_run *)(void *)task;
    grv_ingest *put = run->put;
    grv_error error = GRV_ERROR_INIT;
    grv_status status = GRV_OK;
    for (size_t i = 0; i < run->count && !status; i++) {
        status = grv_digest_of(put->cas->config.hash, run->blocks[i].bytes,
                               &run->blocks[i].key.digest, &error);
    }
    pthread_mutex_lock(&put->lock);
    run->hashed = status == GRV_OK;
    ingest_end(put, status, &error);
    pthread_mutex_unlock(&put->lock);
}

/* ---- Step whole ---- */

static void whole_run(grv_task *task)
{
    grv_ingest *put = (grv_ingest *)(void *)((char *)task - offsetof(grv_ingest, whole_task));
    grv_ingest_tile *tile = &put->tiles[put->whole_seq % GRV_TILES_MAX];
    grv_error error = GRV_ERROR_INIT;
    grv_bytes fresh = {tile->memory + put->cas->shape.headroom, tile->fresh};
    grv_status status = grv_hasher_update(&put->hasher, fresh, &error);
    pthread_mutex_lock(&put->lock);
    put->whole_busy = false;
    put->whole_seq++;
    ingest_release(put, tile);
    ingest_end(put, status, &error);
    pthread_mutex_unlock(&put->lock);
}

/* ---- Step store ---- */

/* Tells whoever wants to know how far the put is. */
static void store_tell(const grv_ingest *put, uint64_t bytes, uint64_t duplicate_bytes)
{
    if (put->told) {
        put->told(put->told_context, bytes, duplicate_bytes);
    }
}

grv_status grv_ingest_commit_batch(const grv_call *call, grv_ingest *put, grv_error *error)
{
    if (!put->batch) {
        return GRV_OK;
    }
    size_t count = put->batch->count;
    grv_block_result *results = calloc(count ? count : 1, sizeof *results);
    if (!results) {
        return grv_error_set(error, GRV_LIMIT_EXCEEDED, "cas", "no memory for %zu results", count);
    }
    grv_durability durability = put->cas->config.ordered_blocks ? GRV_ORDERED : GRV_DURABLE;
    grv_status status = grv_block_batch_commit(call, put->batch, durability, results, count, error);
    uint64_t repeated_bytes = 0;
    for (size_t i = 0; i < count && !status; i++) {
        if (results[i].outcome == GRV_BLOCK_FRESH) {
            put->sink.result.fresh_blocks++;
            put->sink.result.fresh_bytes += put->batch_sizes[i];
            put->sink.result.stored_bytes += results[i].stored_size;
        } else {
            repeated_bytes += put->batch_sizes[i];
        }
    }
    store_tell(put, 0, repeated_bytes);
    free(results);
    grv_block_batch_free(put->batch);
    put->batch = NULL;
    put->batch_bytes = 0;
    return status;
}

/* Notes the sizes of `count` blocks that come next in the batch. */
static grv_status store_note_sizes(grv_ingest *put, const grv_block blocks[], size_t count,
                                   grv_error *error)
{
    size_t need = put->batch->count + count;
    if (need > put->batch_sizes_capacity) {
        size_t capacity = need < 64 ? 64 : 2 * need;
        uint32_t *sizes = realloc(put->batch_sizes, capacity * sizeof *sizes);
        if (!sizes) {
            return grv_error_set(error, GRV_LIMIT_EXCEEDED, "cas", "no memory for %zu sizes",
                                 capacity);
        }
        put->batch_sizes = sizes;
        put->batch_sizes_capacity = capacity;
    }
    for (size_t i = 0; i < count; i++) {
        put->batch_sizes[put->batch->count + i] = blocks[i].key.size;
        put->batch_bytes += blocks[i].key.size;
    }
    return GRV_OK;
}

/* Puts `count` blocks that the store lacks into the batch, in its bounds. */
static grv_status store_put(const grv_call *call, grv_ingest *put, const grv_block blocks[],
                            size_t count, grv_error *error)
{
    bool full = put->batch && put->batch->count + count > GRV_BLOCK_BATCH_MAX;
    bool due = put->checkpoint_bytes > 0 && put->batch_bytes >= put->checkpoint_bytes;
    if (full || due) {
        grv_status status = grv_ingest_commit_batch(call, put, error);
        if (status) {
            return status;
        }
    }
    if (!put->batch) {
        grv_status status =
            grv_block_store_open_batch(call, put->cas->config.blocks, &put->batch, error);
        if (status) {
            return status;
        }
    }
    grv_status status = store_note_sizes(put, blocks, count, error);
    if (status) {
        return status;
    }
    return grv_block_batch_put(call, put->batch, blocks, count, NULL, error);
}

static grv_status store_blocks(const grv_call *call, grv_ingest *put, size_t count,
                               grv_error *error)
{
    grv_status status = grv_block_store_missing(call, put->cas->config.blocks, put->keys, count,
                                                put->missing, error);
    if (status) {
        return status;
    }
    size_t fresh = 0;
    uint64_t bytes = 0;
    uint64_t found_bytes = 0;
    for (size_t i = 0; i < count; i++) {
        bytes += put->keys[i].size;
        if (put->missing[i]) {
            put->fresh[fresh++] = put->fresh[i];
        } else {
            found_bytes += put->keys[i].size;
        }
    }
    store_tell(put, bytes, found_bytes);
    /* With nothing to put the batch is opened all the same: its commit is what makes the blocks
     * that were found as durable as the manifest that will name them. */
    status = store_put(call, put, put->fresh, fresh, error);
    if (status) {
        return status;
    }
    return grv_manifest_put_append(call, put->manifest, put->keys, count, error);
}

/* How many runs, from the next on, are hashed and fit one call. The lock is held. */
static size_t store_ready(const grv_ingest *put)
{
    size_t runs = 0;
    size_t blocks = 0;
    while (put->run_stored + runs < put->run_new) {
        const grv_ingest_run *run = &put->runs[(put->run_stored + runs) % GRV_INGEST_RUNS];
        if (!run->hashed || blocks + run->count > GRV_RUN_BLOCKS_MAX) {
            break;
        }
        blocks += run->count;
        runs++;
    }
    return runs;
}

/* Lines the blocks of the next `runs` runs up; returns their number. */
static size_t store_gather(grv_ingest *put, size_t runs)
{
    size_t blocks = 0;
    for (size_t r = 0; r < runs; r++) {
        const grv_ingest_run *run = &put->runs[(put->run_stored + r) % GRV_INGEST_RUNS];
        for (size_t i = 0; i < run->count; i++) {
            put->keys[blocks] = run->blocks[i].key;
            put->fresh[blocks++] = run->blocks[i];
        }
    }
    return blocks;
}

static void store_run(grv_task *task)
{
    grv_ingest *put = (grv_ingest *)(void *)((char *)task - offsetof(grv_ingest, store_task));
    grv_error error = GRV_ERROR_INIT;
    pthread_mutex_lock(&put->lock);
    grv_call call = put->call;
    if (!put->in_line) {
        call.deadline_ns = 0; /* later calls find what this does: their waits have the deadlines */
    }
    size_t runs = store_ready(put);
    pthread_mutex_unlock(&put->lock);

    size_t blocks = store_gather(put, runs);
    if (put->run_stored == 0) {
        put->first_key = put->keys[0];
    }
    grv_status status = store_blocks(&call, put, blocks, &error);

    pthread_mutex_lock(&put->lock);
    put->store_busy = false;
    for (size_t i = 0; i < runs; i++) {
        ingest_release(put, put->runs[(put->run_stored + i) % GRV_INGEST_RUNS].tile);
    }
    put->run_stored += runs;
    ingest_end(put, status, &error);
    pthread_mutex_unlock(&put->lock);
}

/* ---- Who goes next ---- */

/* True when the whole blob need not be hashed: it is one tile of at most one block. */
static bool ingest_is_one_block(const grv_ingest *put)
{
    return put->ended && put->fill_seq == 1 && put->blocks_scanned <= 1;
}

void grv_ingest_pump(grv_ingest *put)
{
    if (put->failed) {
        return;
    }
    if (!put->scan_busy && put->scan_seq < put->fill_seq &&
        put->run_new - put->run_stored < GRV_INGEST_RUNS) {
        put->scan_busy = true;
        ingest_start(put, &put->scan_task);
    }
    if (!put->whole_busy && put->whole_seq < put->fill_seq && put->scan_seq > 0) {
        if (ingest_is_one_block(put)) {
            put->whole_skipped = true;
            ingest_release(put, &put->tiles[0]);
            put->whole_seq++;
        } else {
            put->whole_busy = true;
            ingest_start(put, &put->whole_task);
        }
    }
    if (!put->store_busy && put->run_stored < put->run_new &&
        put->runs[put->run_stored % GRV_INGEST_RUNS].hashed) {
        put->store_busy = true;
        ingest_start(put, &put->store_task);
    }
}

bool grv_ingest_is_done(const grv_ingest *put)
{
    return put->ended && put->scan_seq == put->fill_seq && put->whole_seq == put->fill_seq &&
           put->run_stored == put->run_new;
}

grv_status grv_ingest_failure(const grv_ingest *put, grv_error *error)
{
    if (put->failed && error) {
        *error = put->error;
    }
    return put->failed;
}

void grv_ingest_adopt(grv_ingest *put, const grv_call *call)
{
    put->call = call ? *call : (grv_call){0};
    put->call.cancel = &put->cancel;
}

void grv_ingest_tasks_init(grv_ingest *put)
{
    put->in_line_tail = &put->in_line_head;
    put->scan_task.run = scan_run;
    put->whole_task.run = whole_run;
    put->store_task.run = store_run;
    for (unsigned i = 0; i < GRV_INGEST_RUNS; i++) {
        put->runs[i].put = put;
        put->runs[i].task.run = hash_run;
    }
}
