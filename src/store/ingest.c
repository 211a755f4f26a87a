/* SPDX-License-Identifier: Apache-2.0 */
/* Put, as its caller sees it: the sink that lends tiles to be filled, its commit, and its opening.
 */
#include "store/ingest.h"

#include "base/wait.h"

#include <assert.h>
#include <stdlib.h>

/* ---- The sink ---- */

/* Memory for the next tile, if some is free or may be added. The lock is held. */
static bool fill_memory(grv_ingest *put, uint8_t **ret_memory)
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
static grv_status fill_more_budget(const grv_call *call, grv_ingest *put, grv_error *error)
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
static grv_status fill_begin(const grv_call *call, grv_ingest *put, grv_error *error)
{
    grv_ingest_tile *tile = &put->tiles[put->fill_seq % GRV_TILES_MAX];
    uint8_t *memory = NULL;
    while (tile->memory || !fill_memory(put, &memory)) {
        if (put->failed) {
            return grv_ingest_failure(put, error);
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
    *tile = (grv_ingest_tile){.memory = memory, .users = 2}; /* scan and whole */
    put->filling = true;
    return GRV_OK;
}

static grv_status ingest_reserve(const grv_call *call, grv_sink *sink, grv_span *ret_window,
                                 grv_error *error)
{
    grv_ingest *put = (grv_ingest *)(void *)sink;
    pthread_mutex_lock(&put->lock);
    grv_ingest_adopt(put, call);
    grv_status status = grv_ingest_failure(put, error);
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
    const grv_ingest_tile *tile = &put->tiles[put->fill_seq % GRV_TILES_MAX];
    const grv_tile_shape *shape = &put->cas->shape;
    *ret_window =
        (grv_span){tile->memory + shape->headroom + tile->fresh, shape->fresh - tile->fresh};
    return GRV_OK;
}

/* Hands the tile being filled over to the steps. The lock is held. */
static void fill_end(grv_ingest *put, bool last)
{
    put->tiles[put->fill_seq % GRV_TILES_MAX].last = last;
    put->filling = false;
    put->ended = last;
    put->fill_seq++;
    grv_ingest_pump(put);
}

static grv_status ingest_advance(const grv_call *call, grv_sink *sink, size_t size,
                                 grv_error *error)
{
    grv_ingest *put = (grv_ingest *)(void *)sink;
    grv_status status = grv_call_check(call, "cas", error);
    if (status || size == 0) {
        return status;
    }
    grv_ingest_tile *tile = &put->tiles[put->fill_seq % GRV_TILES_MAX];
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
    grv_ingest_adopt(put, call);
    fill_end(put, false);
    status = grv_ingest_failure(put, error);
    pthread_mutex_unlock(&put->lock);
    return status;
}

/* Runs the tasks that wait for the caller's thread. The lock is held, and let go for each. */
static void ingest_work_in_line(grv_ingest *put)
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
static grv_status commit_steps(const grv_call *call, grv_ingest *put, grv_error *error)
{
    pthread_mutex_lock(&put->lock);
    grv_ingest_adopt(put, call);
    grv_status status = grv_ingest_failure(put, error);
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
    while (!status && !grv_ingest_is_done(put)) {
        status = grv_ingest_failure(put, error);
        if (!status) {
            status = grv_call_check(call, "cas", error);
        }
        if (!status) {
            grv_wait(call, &put->progress, &put->lock);
        }
    }
    if (!status) {
        status = grv_ingest_failure(put, error); /* of the last steps: they are through, not well */
    }
    pthread_mutex_unlock(&put->lock);
    return status;
}

/* The blob's key, once all steps are through. */
static grv_status commit_key(grv_ingest *put, grv_blob_key *ret_key, grv_error *error)
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
    grv_ingest *put = (grv_ingest *)(void *)sink;
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
    status = grv_ingest_commit_batch(call, put, error);
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
    grv_ingest *put = (grv_ingest *)(void *)sink;
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
    for (unsigned i = 0; i < GRV_INGEST_RUNS; i++) {
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

static grv_status copy_attributes(grv_ingest *put, const grv_attributes *attributes,
                                  grv_error *error)
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

static bool allocate_runs(grv_ingest *put)
{
    size_t blocks = put->cas->shape.run_blocks;
    for (unsigned i = 0; i < GRV_INGEST_RUNS; i++) {
        grv_ingest_run *run = &put->runs[i];
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
static grv_status take_budget(const grv_call *call, grv_ingest *put, const grv_put_plan *plan,
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

static grv_status open_parts(const grv_call *call, grv_ingest *put, const grv_put_plan *plan,
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
    grv_ingest *put = calloc(1, sizeof *put);
    if (!put) {
        grv_cas_put_end(cas);
        return grv_error_set(error, GRV_LIMIT_EXCEEDED, "cas", "no memory for a put");
    }
    put->sink.base.ops = &ingest_ops;
    put->cas = cas;
    grv_ingest_tasks_init(put);
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
