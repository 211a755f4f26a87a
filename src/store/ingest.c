/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Put: a stream becomes blocks and a manifest.
 *
 * The caller fills tiles. Each tile goes through four steps, as tasks of the store's pool:
 *   scan   in order: finds the cuts; what is left of the last block goes before the next tile
 *   hash   any order: the digests of the blocks of one run (a run is up to some blocks of a tile)
 *   whole  in order: the digest of the whole blob
 *   store  in order: which blocks are new, put those into the batch, append all to the manifest
 * At most one scan, one whole and one store are under way for a put, so their state needs no lock
 * of its own; `lock` guards who may go next (ingest_pump) and is never held over work.
 *
 * Invariants: blocks are committed before the manifest is; the manifest's order is the stream's;
 * a tile's memory is used again only when its runs are stored, it is hashed, and the scan of the
 * next tile has taken its rest.
 */
#include "base/wait.h"
#include "core/chunk.h"
#include "store/cas.h"

#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

typedef struct ingest ingest;

/* A stretch of the stream in memory: [headroom | fresh], the block begun before in the headroom's
 * end. */
typedef struct ingest_tile {
    uint8_t *memory; /* NULL: the slot is free */
    size_t carry;    /* bytes in use before the fresh ones */
    size_t fresh;    /* bytes filled */
    bool last;
    unsigned users; /* steps that still need the memory */
} ingest_tile;

/* Blocks of one tile that go through hash and store together. */
typedef struct ingest_run {
    grv_task task;
    ingest *put;
    ingest_tile *tile;
    size_t count;
    bool hashed;
    uint32_t *sizes;
    grv_block *blocks;
} ingest_run;

/* Runs a put has in flight: enough that hashing never waits for storing while tiles are there. */
#define INGEST_RUNS (2 * GRV_TILES_MAX)

struct ingest {
    grv_blob_sink sink;
    grv_cas *cas;
    const grv_attributes *attributes; /* own copy below, or NULL */
    grv_attributes own_attributes;
    bool has_expected;
    grv_blob_key expected;
    void (*told)(void *context, uint64_t bytes, uint64_t duplicate_bytes); /* or NULL */
    void *told_context;
    grv_cancel cancel; /* what the tasks' calls carry: raised when the put is given up */

    pthread_mutex_t lock;
    pthread_cond_t progress;
    grv_call call;     /* what tasks pass on: the last caller's deadline and trace */
    grv_status failed; /* first failure of a task, described by `error` */
    grv_error error;
    unsigned running;       /* tasks queued or at work */
    bool in_line;           /* tasks run on the caller's thread: a blob of one tile */
    grv_task *in_line_head; /* those that wait for it */
    grv_task **in_line_tail;

    ingest_tile tiles[GRV_TILES_MAX];
    uint8_t *free_memory[GRV_TILES_MAX];
    unsigned free_count;
    unsigned memory_count; /* tiles' memory held, free or not */
    size_t budget_taken;
    uint64_t fill_seq;  /* tile being filled, or next to be */
    uint64_t scan_seq;  /* next to scan; tiles below are scanned to their end */
    uint64_t whole_seq; /* next to hash whole */
    bool filling;       /* tiles[fill_seq] is with the caller */
    bool ended;         /* the last tile was handed over */

    grv_task scan_task;
    bool scan_busy;
    grv_cutter cutter;
    size_t scan_at; /* bytes of the current tile consumed, from its carry's start */
    const uint8_t *rest;
    size_t rest_size; /* the unfinished block at the end of the tile scanned last */
    ingest_tile *rest_tile;

    grv_task whole_task;
    bool whole_busy;
    bool whole_skipped; /* one block at most: its digest is the blob's */
    grv_hasher hasher;
    uint64_t size;

    ingest_run runs[INGEST_RUNS];
    uint64_t run_new;    /* next run to fill */
    uint64_t run_stored; /* next run to store */
    uint64_t blocks_scanned;

    grv_task store_task;
    bool store_busy;
    grv_block_batch *batch;
    uint32_t *batch_sizes; /* of the batch's blocks, by index */
    size_t batch_sizes_capacity;
    uint64_t batch_bytes;      /* the sum of those */
    uint64_t checkpoint_bytes; /* a batch of so many is committed; 0: none is for that reason */
    grv_manifest_put *manifest;
    grv_block_key *keys; /* of the blocks being stored */
    grv_block *fresh;
    bool *missing;
    grv_block_key first_key; /* of the blob's first block */
};

static void ingest_pump(ingest *put);

/* ---- Tasks: beginning and ending ---- */

/* Starts a task, with the lock held. */
static void ingest_start(ingest *put, grv_task *task)
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
static void ingest_end(ingest *put, grv_status status, const grv_error *error)
{
    if (status && !put->failed) {
        put->failed = status;
        put->error = *error;
    }
    put->running--;
    ingest_pump(put);
    pthread_cond_broadcast(&put->progress);
}

/* Drops one use of a tile, with the lock held; the last one frees its memory for the next. */
static void ingest_release(ingest *put, ingest_tile *tile)
{
    assert(tile->users > 0);
    if (--tile->users == 0) {
        put->free_memory[put->free_count++] = tile->memory;
        tile->memory = NULL;
    }
}

/* ---- Step scan ---- */

/* Brings the unfinished block of the tile before in front of this one's fresh bytes. */
static void scan_take_rest(ingest *put, ingest_tile *tile)
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
    ingest *put = (ingest *)(void *)((char *)task - offsetof(ingest, scan_task));
    ingest_tile *tile = &put->tiles[put->scan_seq % GRV_TILES_MAX];
    ingest_run *run = &put->runs[put->run_new % INGEST_RUNS];
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
    ingest_run *run = (ingest_run *)(void *)task;
    ingest *put = run->put;
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
    ingest *put = (ingest *)(void *)((char *)task - offsetof(ingest, whole_task));
    ingest_tile *tile = &put->tiles[put->whole_seq % GRV_TILES_MAX];
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
static void store_tell(const ingest *put, uint64_t bytes, uint64_t duplicate_bytes)
{
    if (put->told) {
        put->told(put->told_context, bytes, duplicate_bytes);
    }
}

/* Commits the open batch, if there is one, and counts what became of its blocks. */
static grv_status store_commit_batch(const grv_call *call, ingest *put, grv_error *error)
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
static grv_status store_note_sizes(ingest *put, const grv_block blocks[], size_t count,
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
static grv_status store_put(const grv_call *call, ingest *put, const grv_block blocks[],
                            size_t count, grv_error *error)
{
    bool full = put->batch && put->batch->count + count > GRV_BLOCK_BATCH_MAX;
    bool due = put->checkpoint_bytes > 0 && put->batch_bytes >= put->checkpoint_bytes;
    if (full || due) {
        grv_status status = store_commit_batch(call, put, error);
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

static grv_status store_blocks(const grv_call *call, ingest *put, size_t count, grv_error *error)
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
static size_t store_ready(const ingest *put)
{
    size_t runs = 0;
    size_t blocks = 0;
    while (put->run_stored + runs < put->run_new) {
        const ingest_run *run = &put->runs[(put->run_stored + runs) % INGEST_RUNS];
        if (!run->hashed || blocks + run->count > GRV_RUN_BLOCKS_MAX) {
            break;
        }
        blocks += run->count;
        runs++;
    }
    return runs;
}

/* Lines the blocks of the next `runs` runs up; returns their number. */
static size_t store_gather(ingest *put, size_t runs)
{
    size_t blocks = 0;
    for (size_t r = 0; r < runs; r++) {
        const ingest_run *run = &put->runs[(put->run_stored + r) % INGEST_RUNS];
        for (size_t i = 0; i < run->count; i++) {
            put->keys[blocks] = run->blocks[i].key;
            put->fresh[blocks++] = run->blocks[i];
        }
    }
    return blocks;
}

static void store_run(grv_task *task)
{
    ingest *put = (ingest *)(void *)((char *)task - offsetof(ingest, store_task));
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
        ingest_release(put, put->runs[(put->run_stored + i) % INGEST_RUNS].tile);
    }
    put->run_stored += runs;
    ingest_end(put, status, &error);
    pthread_mutex_unlock(&put->lock);
}

/* ---- Who goes next ---- */

/* True when the whole blob need not be hashed: it is one tile of at most one block. */
static bool ingest_is_one_block(const ingest *put)
{
    return put->ended && put->fill_seq == 1 && put->blocks_scanned <= 1;
}

/* Starts every step that can go on. The lock is held. */
static void ingest_pump(ingest *put)
{
    if (put->failed) {
        return;
    }
    if (!put->scan_busy && put->scan_seq < put->fill_seq &&
        put->run_new - put->run_stored < INGEST_RUNS) {
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
        put->runs[put->run_stored % INGEST_RUNS].hashed) {
        put->store_busy = true;
        ingest_start(put, &put->store_task);
    }
}

static bool ingest_is_done(const ingest *put)
{
    return put->ended && put->scan_seq == put->fill_seq && put->whole_seq == put->fill_seq &&
           put->run_stored == put->run_new;
}

/* The first failure, for the caller. The lock is held. */
static grv_status ingest_failure(const ingest *put, grv_error *error)
{
    if (put->failed && error) {
        *error = put->error;
    }
    return put->failed;
}

/* Takes over what the caller's call says for the tasks that start from now on. */
static void ingest_adopt(ingest *put, const grv_call *call)
{
    put->call = call ? *call : (grv_call){0};
    put->call.cancel = &put->cancel;
}

/* ---- The sink ---- */

/* Memory for the next tile, if some is free or may be added. The lock is held. */
static bool fill_memory(ingest *put, uint8_t **ret_memory)
{
    if (put->free_count > 0) {
        *ret_memory = put->free_memory[--put->free_count];
        return true;
    }
    size_t bytes = put->cas->shape.headroom + put->cas->shape.fresh;
    if (put->memory_count == put->cas->shape.tiles) {
        return false;
    }
    bool paid = put->memory_count * bytes < put->budget_taken;
    if (!paid && !grv_budget_try(&put->cas->budget, bytes)) {
        return false;
    }
    put->budget_taken += paid ? 0 : bytes;
    uint8_t *memory = grv_cas_tile_new(put->cas);
    if (!memory) {
        return false;
    }
    put->memory_count++;
    *ret_memory = memory;
    return true;
}

/* A put whose size hint was wrong has one tile and needs a second: waits for its share. The lock is
 * held, and let go meanwhile; no task is running. */
static grv_status fill_more_budget(const grv_call *call, ingest *put, grv_error *error)
{
    size_t bytes = put->cas->shape.headroom + put->cas->shape.fresh;
    if (put->memory_count * bytes < put->budget_taken || put->memory_count >= GRV_TILES_MIN) {
        return grv_error_set(error, GRV_LIMIT_EXCEEDED, "cas", "no memory for a tile of a put");
    }
    pthread_mutex_unlock(&put->lock);
    grv_status status = grv_budget_take(call, &put->cas->budget, bytes, error);
    pthread_mutex_lock(&put->lock);
    if (!status) {
        put->budget_taken += bytes;
    }
    return status;
}

/* Makes tiles[fill_seq] ready to be filled, waiting for memory. The lock is held. */
static grv_status fill_begin(const grv_call *call, ingest *put, grv_error *error)
{
    ingest_tile *tile = &put->tiles[put->fill_seq % GRV_TILES_MAX];
    uint8_t *memory = NULL;
    while (tile->memory || !fill_memory(put, &memory)) {
        if (put->failed) {
            return ingest_failure(put, error);
        }
        grv_status status = grv_call_check(call, "cas", error);
        if (!status && put->running == 0) {
            status = fill_more_budget(call, put, error);
            if (!status) {
                continue;
            }
        }
        if (status) {
            return status;
        }
        grv_wait(call, &put->progress, &put->lock);
    }
    *tile = (ingest_tile){.memory = memory, .users = 2}; /* scan and whole */
    put->filling = true;
    return GRV_OK;
}

static grv_status ingest_reserve(const grv_call *call, grv_sink *sink, grv_span *ret_window,
                                 grv_error *error)
{
    ingest *put = (ingest *)(void *)sink;
    pthread_mutex_lock(&put->lock);
    ingest_adopt(put, call);
    grv_status status = ingest_failure(put, error);
    if (!status) {
        status = grv_call_check(call, "cas", error);
    }
    if (!status && !put->filling) {
        status = fill_begin(call, put, error);
    }
    pthread_mutex_unlock(&put->lock);
    if (status) {
        return status;
    }
    const ingest_tile *tile = &put->tiles[put->fill_seq % GRV_TILES_MAX];
    const grv_tile_shape *shape = &put->cas->shape;
    *ret_window =
        (grv_span){tile->memory + shape->headroom + tile->fresh, shape->fresh - tile->fresh};
    return GRV_OK;
}

/* Hands the tile being filled over to the steps. The lock is held. */
static void fill_end(ingest *put, bool last)
{
    put->tiles[put->fill_seq % GRV_TILES_MAX].last = last;
    put->filling = false;
    put->ended = last;
    put->fill_seq++;
    ingest_pump(put);
}

static grv_status ingest_advance(const grv_call *call, grv_sink *sink, size_t size,
                                 grv_error *error)
{
    ingest *put = (ingest *)(void *)sink;
    grv_status status = grv_call_check(call, "cas", error);
    if (status || size == 0) {
        return status;
    }
    ingest_tile *tile = &put->tiles[put->fill_seq % GRV_TILES_MAX];
    if (!put->filling || size > put->cas->shape.fresh - tile->fresh) {
        return grv_error_set(error, GRV_INVALID_ARGUMENT, "cas",
                             "advance by %zu bytes past the window", size);
    }
    tile->fresh += size;
    put->size += size;
    if (tile->fresh < put->cas->shape.fresh) {
        return GRV_OK;
    }
    pthread_mutex_lock(&put->lock);
    ingest_adopt(put, call);
    fill_end(put, false);
    status = ingest_failure(put, error);
    pthread_mutex_unlock(&put->lock);
    return status;
}

/* Runs the tasks that wait for the caller's thread. The lock is held, and let go for each. */
static void ingest_work_in_line(ingest *put)
{
    while (put->in_line_head) {
        grv_task *task = put->in_line_head;
        put->in_line_head = task->next;
        if (!put->in_line_head) {
            put->in_line_tail = &put->in_line_head;
        }
        pthread_mutex_unlock(&put->lock);
        task->run(task);
        pthread_mutex_lock(&put->lock);
    }
}

/* Hands the last tile over and waits until all steps are through. */
static grv_status commit_steps(const grv_call *call, ingest *put, grv_error *error)
{
    pthread_mutex_lock(&put->lock);
    ingest_adopt(put, call);
    grv_status status = ingest_failure(put, error);
    if (!status) {
        status = grv_call_check(call, "cas", error);
    }
    if (!status && !put->filling) {
        status = fill_begin(call, put, error);
    }
    if (!status) {
        put->in_line = put->fill_seq == 0;
        fill_end(put, true);
        ingest_work_in_line(put);
    }
    while (!status && !ingest_is_done(put)) {
        status = ingest_failure(put, error);
        if (!status) {
            status = grv_call_check(call, "cas", error);
        }
        if (!status) {
            grv_wait(call, &put->progress, &put->lock);
        }
    }
    if (!status) {
        status = ingest_failure(put, error); /* of the last steps: they are through, not well */
    }
    pthread_mutex_unlock(&put->lock);
    return status;
}

/* The blob's key, once all steps are through. */
static grv_status commit_key(ingest *put, grv_blob_key *ret_key, grv_error *error)
{
    grv_blob_key key = {.size = put->size};
    if (put->whole_skipped && put->blocks_scanned == 1) {
        assert(put->first_key.size == put->size);
        key.digest = put->first_key.digest;
    } else {
        grv_status status = grv_hasher_final(&put->hasher, &key.digest, error);
        if (status) {
            return status;
        }
    }
    if (put->has_expected && grv_blob_key_compare(&key, &put->expected) != 0) {
        char want[GRV_KEY_TEXT_SIZE];
        char got[GRV_KEY_TEXT_SIZE];
        grv_blob_key_print(&put->expected, want);
        grv_blob_key_print(&key, got);
        put->sink.result.key = key;
        return grv_error_set(error, GRV_CONFLICT, "cas", "the bytes are %s, not %s", got, want);
    }
    *ret_key = key;
    return GRV_OK;
}

static grv_status ingest_commit(const grv_call *call, grv_sink *sink, grv_error *error)
{
    ingest *put = (ingest *)(void *)sink;
    grv_blob_key key;
    grv_manifest_commit commit;
    grv_status status = commit_steps(call, put, error);
    if (status) {
        return status;
    }
    status = commit_key(put, &key, error);
    if (status) {
        return status;
    }
    status = store_commit_batch(call, put, error);
    if (status) {
        return status;
    }
    uint64_t blocks = put->manifest->block_count;
    status = grv_manifest_put_commit(call, put->manifest, &key, put->attributes, &commit, error);
    if (status) {
        return status;
    }
    if (commit.already_stored && put->cas->config.ordered_blocks) {
        /* No manifest was written that would have made the blocks durable, and a block of a stored
         * blob may have come only now: in the place of one that a scrub had set aside. */
        status = grv_block_store_flush(call, put->cas->config.blocks, error);
        if (status) {
            return status;
        }
    }
    grv_put_result *result = &put->sink.result;
    result->key = key;
    result->already_stored = commit.already_stored;
    result->blocks = blocks;
    result->duplicate_bytes = key.size - result->fresh_bytes;
    return GRV_OK;
}

static void ingest_free(grv_sink *sink)
{
    ingest *put = (ingest *)(void *)sink;
    pthread_mutex_lock(&put->lock);
    grv_cancel_raise(&put->cancel);
    if (!put->failed) {
        put->failed = GRV_CANCELLED;
    }
    while (put->running > 0) {
        pthread_cond_wait(&put->progress, &put->lock);
    }
    pthread_mutex_unlock(&put->lock);
    grv_block_batch_free(put->batch);
    grv_manifest_put_free(put->manifest);
    for (unsigned i = 0; i < GRV_TILES_MAX; i++) {
        if (put->tiles[i].memory) {
            grv_cas_tile_free(put->cas, put->tiles[i].memory);
        }
    }
    while (put->free_count > 0) {
        grv_cas_tile_free(put->cas, put->free_memory[--put->free_count]);
    }
    for (unsigned i = 0; i < INGEST_RUNS; i++) {
        free(put->runs[i].sizes);
        free(put->runs[i].blocks);
    }
    free(put->keys);
    free(put->fresh);
    free(put->missing);
    free(put->batch_sizes);
    grv_budget_give(&put->cas->budget, put->budget_taken);
    grv_attributes_done(&put->own_attributes);
    grv_hasher_done(&put->hasher);
    pthread_cond_destroy(&put->progress);
    pthread_mutex_destroy(&put->lock);
    grv_cas_put_end(put->cas);
    free(put);
}

static const grv_sink_ops ingest_ops = {
    .name = "cas",
    .reserve = ingest_reserve,
    .advance = ingest_advance,
    .commit = ingest_commit,
    .free = ingest_free,
};

/* ---- Opening ---- */

static grv_status copy_attributes(ingest *put, const grv_attributes *attributes, grv_error *error)
{
    for (size_t i = 0; i < attributes->count; i++) {
        const grv_attribute *pair = &attributes->pairs[i];
        grv_status status = grv_attributes_set(&put->own_attributes, pair->name,
                                               grv_bytes_of(pair->value, pair->value_size), error);
        if (status) {
            return status;
        }
    }
    put->attributes = &put->own_attributes;
    return GRV_OK;
}

static bool allocate_runs(ingest *put)
{
    size_t blocks = put->cas->shape.run_blocks;
    for (unsigned i = 0; i < INGEST_RUNS; i++) {
        ingest_run *run = &put->runs[i];
        run->put = put;
        run->task.run = hash_run;
        run->sizes = malloc(blocks * sizeof *run->sizes);
        run->blocks = malloc(blocks * sizeof *run->blocks);
        if (!run->sizes || !run->blocks) {
            return false;
        }
    }
    put->keys = malloc(GRV_RUN_BLOCKS_MAX * sizeof *put->keys);
    put->fresh = malloc(GRV_RUN_BLOCKS_MAX * sizeof *put->fresh);
    put->missing = malloc(GRV_RUN_BLOCKS_MAX * sizeof *put->missing);
    return put->keys && put->fresh && put->missing;
}

/* Takes the least share of the budget that a put can work with. */
static grv_status take_budget(const grv_call *call, ingest *put, const grv_put_plan *plan,
                              grv_error *error)
{
    const grv_tile_shape *shape = &put->cas->shape;
    bool one_tile = plan->has_size_hint && plan->size_hint < shape->fresh;
    size_t bytes = (one_tile ? 1 : GRV_TILES_MIN) * (shape->headroom + shape->fresh);
    grv_status status = grv_budget_take(call, &put->cas->budget, bytes, error);
    if (!status) {
        put->budget_taken = bytes;
    }
    return status;
}

static grv_status open_parts(const grv_call *call, ingest *put, const grv_put_plan *plan,
                             grv_error *error)
{
    const grv_cas_config *config = &put->cas->config;
    grv_status status = take_budget(call, put, plan, error);
    if (status) {
        return status;
    }
    if (!allocate_runs(put)) {
        return grv_error_set(error, GRV_LIMIT_EXCEEDED, "cas", "no memory for a put");
    }
    if (plan->attributes) {
        status = copy_attributes(put, plan->attributes, error);
        if (status) {
            return status;
        }
    }
    status = grv_hasher_init(&put->hasher, config->hash, error);
    if (status) {
        return status;
    }
    grv_manifest_plan manifest = {.block_hash = config->hash, .chunker = config->chunker};
    return grv_manifest_repo_open_put(call, config->manifests, &manifest, &put->manifest, error);
}

grv_status grv_cas_open_put(const grv_call *call, grv_blob_store *store, const grv_put_plan *plan,
                            grv_blob_sink **ret_sink, grv_error *error)
{
    grv_cas *cas = (grv_cas *)(void *)store;
    grv_status status = grv_cas_put_begin(call, cas, error);
    if (status) {
        return status;
    }
    ingest *put = calloc(1, sizeof *put);
    if (!put) {
        grv_cas_put_end(cas);
        return grv_error_set(error, GRV_LIMIT_EXCEEDED, "cas", "no memory for a put");
    }
    put->sink.base.ops = &ingest_ops;
    put->cas = cas;
    put->in_line_tail = &put->in_line_head;
    put->scan_task.run = scan_run;
    put->whole_task.run = whole_run;
    put->store_task.run = store_run;
    grv_attributes_init(&put->own_attributes);
    put->checkpoint_bytes = plan->checkpoint_bytes;
    put->told = plan->progress;
    put->told_context = plan->progress_context;
    if (plan->expected) {
        put->has_expected = true;
        put->expected = *plan->expected;
    }
    pthread_mutex_init(&put->lock, NULL);
    grv_wait_init(&put->progress);
    grv_cutter_init(&put->cutter, &put->cas->config.chunker);
    status = open_parts(call, put, plan, error);
    if (status) {
        ingest_free(&put->sink.base);
        return status;
    }
    *ret_sink = &put->sink;
    return GRV_OK;
}
