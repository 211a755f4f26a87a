/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Puts. Each new block is one request, sent as it comes; the commit waits for those that are under
 * way. A block's bytes are the caller's only within its call, so they are copied where the store's
 * bound for copies has room; where it has none the block is sent from the caller's memory, and the
 * call waits for it. Either way the blocks of a call are sent side by side.
 *
 * What a batch that fails has sent stays: whole blocks, garbage that a collection finds. A block
 * that is sent twice, by two batches or by one that gave up and its request did not, is the same
 * bytes under the same name.
 *
 * Contents: sending; put; commit and the rest.
 */
#include "backend/s3/blocks.h"

#include <stdlib.h>
#include <string.h>

/* --- Sending --- */

/* A block on its way. */
typedef struct upload {
    struct upload *next;
    grv_s3_request request;
    grv_block_key key;
    size_t index; /* of its result */
    uint64_t stamp;
    char name[GRV_S3_NAME_SIZE];
    bool copied;
    uint8_t bytes[]; /* where it was copied */
} upload;

typedef struct s3_batch {
    grv_block_batch base;
    grv_s3_blocks *blocks;
    pthread_mutex_t lock; /* guards all below */
    grv_status failed;    /* the first failure: the batch cannot be committed */
    grv_error error;
    grv_key_set keys;
    upload *oldest; /* sent from copies */
    upload **newest;
    grv_block_result *results;
    size_t count;
    size_t capacity;
} s3_batch;

static void upload_free(s3_batch *batch, upload *sent)
{
    if (sent->copied) {
        grv_budget_give(&batch->blocks->copies, sent->key.size);
    }
    free(sent);
}

/* Waits for a block, and notes what became of it. */
static grv_status upload_end(const grv_call *call, s3_batch *batch, upload *sent, grv_error *error)
{
    grv_s3_blocks *blocks = batch->blocks;
    grv_status status = grv_s3_wait(call, blocks->s3, &sent->request, error);
    if (status) {
        grv_s3_blame(status, &sent->key, error);
    } else {
        grv_s3_bucket_seen(blocks);
        grv_s3_present_add(&blocks->present, sent->stamp, &sent->key);
        pthread_mutex_lock(&batch->lock);
        batch->results[sent->index] =
            (grv_block_result){.outcome = GRV_BLOCK_FRESH, .stored_size = sent->key.size};
        pthread_mutex_unlock(&batch->lock);
    }
    upload_free(batch, sent);
    return status;
}

/* Takes the block that was copied longest ago; NULL where none is under way. */
static upload *batch_oldest(s3_batch *batch)
{
    pthread_mutex_lock(&batch->lock);
    upload *sent = batch->oldest;
    if (sent) {
        batch->oldest = sent->next;
        if (!batch->oldest) {
            batch->newest = &batch->oldest;
        }
    }
    pthread_mutex_unlock(&batch->lock);
    return sent;
}

/* Makes room for a copy: true where it was taken. Blocks of this batch that were copied earlier are
 * waited for; those of others are not. */
static grv_status copy_take(const grv_call *call, s3_batch *batch, size_t size, bool *ret_taken,
                            grv_error *error)
{
    while (!grv_budget_try(&batch->blocks->copies, size)) {
        upload *sent = batch_oldest(batch);
        if (!sent) {
            *ret_taken = false;
            return GRV_OK;
        }
        grv_status status = upload_end(call, batch, sent, error);
        if (status) {
            return status;
        }
    }
    *ret_taken = true;
    return GRV_OK;
}

/* Sends a block. *ret_sent is the caller's to wait for where it was sent from his memory, else
 * NULL.
 */
static grv_status upload_begin(const grv_call *call, s3_batch *batch, const grv_block *block,
                               size_t index, uint64_t stamp, upload **ret_sent, grv_error *error)
{
    bool copied = false;
    grv_status status = copy_take(call, batch, block->key.size, &copied, error);
    if (status) {
        return status;
    }
    upload *sent = malloc(sizeof *sent + (copied ? block->key.size : 0));
    if (!sent) {
        if (copied) {
            grv_budget_give(&batch->blocks->copies, block->key.size);
        }
        return grv_error_set(error, GRV_LIMIT_EXCEEDED, "s3", "no memory to send a block");
    }
    sent->next = NULL;
    sent->key = block->key;
    sent->index = index;
    sent->stamp = stamp;
    sent->copied = copied;
    grv_s3_block_name(batch->blocks, &block->key, sent->name);
    if (copied) {
        memcpy(sent->bytes, block->bytes.data, block->key.size);
    }
    sent->request = (grv_s3_request){
        .method = GRV_S3_PUT,
        .bucket = batch->blocks->bucket,
        .key = sent->name,
        .body = copied ? grv_bytes_of(sent->bytes, block->key.size) : block->bytes,
    };
    /* A copy goes on beyond this call. */
    grv_s3_submit(copied ? NULL : call, batch->blocks->s3, &sent->request);
    *ret_sent = sent;
    if (copied) {
        pthread_mutex_lock(&batch->lock);
        *batch->newest = sent;
        batch->newest = &sent->next;
        pthread_mutex_unlock(&batch->lock);
        *ret_sent = NULL;
    }
    return GRV_OK;
}

/* --- Put --- */

/* What a put has to do. */
typedef struct put_work {
    size_t *fresh; /* places of blocks that this batch has not seen before */
    size_t fresh_count;
    grv_block_key *keys; /* of those that must be asked for, and their places */
    size_t *asked;
    bool *missing;
    upload **lent; /* sent from the caller's memory */
    size_t lent_count;
} put_work;

static grv_status work_init(put_work *work, size_t count, grv_error *error)
{
    *work = (put_work){.fresh = malloc(count * sizeof *work->fresh),
                       .keys = malloc(count * sizeof *work->keys),
                       .asked = malloc(count * sizeof *work->asked),
                       .missing = malloc(count * sizeof *work->missing),
                       .lent = malloc(count * sizeof *work->lent)};
    if (!work->fresh || !work->keys || !work->asked || !work->missing || !work->lent) {
        return grv_error_set(error, GRV_LIMIT_EXCEEDED, "s3", "no memory for a put of %zu blocks",
                             count);
    }
    return GRV_OK;
}

static void work_done(put_work *work)
{
    free(work->fresh);
    free(work->keys);
    free(work->asked);
    free(work->missing);
    free(work->lent);
}

/* The first failure of the batch, for a later call. The lock is held. */
static grv_status batch_failure(const s3_batch *batch, grv_error *error)
{
    if (batch->failed && error) {
        *error = batch->error;
        grv_error_prefix(error, "an earlier put of this batch failed");
    }
    return batch->failed;
}

/* Takes `count` indices for a put; all are duplicates until a block turns out fresh. The lock is
 * held. */
static grv_status batch_reserve(s3_batch *batch, size_t count, size_t *ret_first, grv_error *error)
{
    grv_status status = batch_failure(batch, error);
    if (status) {
        return status;
    }
    if (count > batch->capacity - batch->count) {
        size_t capacity = 2 * batch->capacity;
        capacity = capacity > batch->count + count ? capacity : batch->count + count;
        grv_block_result *results = realloc(batch->results, capacity * sizeof *results);
        if (!results) {
            return grv_error_set(error, GRV_LIMIT_EXCEEDED, "s3",
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

/* Takes indices, and finds the blocks that are new to the batch. */
static grv_status put_claim(s3_batch *batch, const grv_block blocks[], size_t count, put_work *work,
                            size_t *ret_first, grv_error *error)
{
    pthread_mutex_lock(&batch->lock);
    grv_status status = batch_reserve(batch, count, ret_first, error);
    for (size_t i = 0; i < count && !status; i++) {
        bool added = false;
        status = grv_key_set_add(&batch->keys, &blocks[i].key, &added, error);
        if (!status && added) {
            work->fresh[work->fresh_count++] = i;
        }
    }
    pthread_mutex_unlock(&batch->lock);
    return status;
}

/* Leaves those of the fresh blocks that the service lacks. Most were asked for a moment ago. */
static grv_status put_ask(const grv_call *call, s3_batch *batch, const grv_block blocks[],
                          put_work *work, grv_error *error)
{
    size_t left = 0;
    size_t count = 0;
    for (size_t i = 0; i < work->fresh_count; i++) {
        size_t place = work->fresh[i];
        if (grv_s3_absent_take(&batch->blocks->present, &blocks[place].key)) {
            work->fresh[left++] = place;
        } else {
            work->keys[count] = blocks[place].key;
            work->asked[count++] = place;
        }
    }
    grv_status status = GRV_OK;
    if (count > 0) {
        status = grv_s3_blocks_missing(call, &batch->blocks->base, work->keys, count, work->missing,
                                       error);
    }
    for (size_t i = 0; i < count && !status; i++) {
        if (work->missing[i]) {
            grv_s3_absent_take(&batch->blocks->present, &work->keys[i]);
            work->fresh[left++] = work->asked[i];
        }
    }
    work->fresh_count = left;
    return status;
}

/* Sends what is left. All that was sent from the caller's memory has ended at the return. */
static grv_status put_send(const grv_call *call, s3_batch *batch, const grv_block blocks[],
                           put_work *work, size_t first, uint64_t stamp, grv_error *error)
{
    grv_status status = GRV_OK;
    for (size_t i = 0; i < work->fresh_count && !status; i++) {
        size_t place = work->fresh[i];
        upload *sent = NULL;
        status = upload_begin(call, batch, &blocks[place], first + place, stamp, &sent, error);
        if (sent) {
            work->lent[work->lent_count++] = sent;
        }
    }
    for (size_t i = 0; i < work->lent_count; i++) {
        grv_error one = GRV_ERROR_INIT;
        grv_status failed = upload_end(call, batch, work->lent[i], &one);
        if (failed && !status) {
            status = failed;
            if (error) {
                *error = one;
            }
        }
    }
    return status;
}

/* Keeps the first failure: keys are claimed and indices taken, so nothing after it could be true.
 */
static grv_status batch_fail(s3_batch *batch, grv_status status, const grv_error *cause,
                             grv_error *error)
{
    pthread_mutex_lock(&batch->lock);
    if (!batch->failed) {
        batch->failed = status;
        batch->error = *cause;
    }
    pthread_mutex_unlock(&batch->lock);
    if (error) {
        *error = *cause;
    }
    return status;
}

static grv_status s3_batch_put(const grv_call *call, grv_block_batch *base,
                               const grv_block blocks[], size_t count, size_t *ret_first,
                               grv_error *error)
{
    s3_batch *batch = (s3_batch *)base;
    grv_error cause = GRV_ERROR_INIT;
    size_t first = 0;
    uint64_t stamp = grv_s3_present_stamp(&batch->blocks->present);
    put_work work;
    grv_status status = work_init(&work, count, &cause);
    if (!status) {
        status = put_claim(batch, blocks, count, &work, &first, &cause);
    }
    if (!status) {
        status = put_ask(call, batch, blocks, &work, &cause);
    }
    if (!status) {
        status = put_send(call, batch, blocks, &work, first, stamp, &cause);
    }
    work_done(&work);
    if (status) {
        return batch_fail(batch, status, &cause, error);
    }
    *ret_first = first;
    return GRV_OK;
}

static grv_status s3_batch_note(const grv_call *call, grv_block_batch *base, grv_bytes record,
                                grv_error *error)
{
    (void)call;
    (void)base;
    (void)record;
    return grv_error_set(error, GRV_UNSUPPORTED, "s3", "no recovery records here");
}

/* --- Commit and the rest --- */

static grv_status s3_batch_commit(const grv_call *call, grv_block_batch *base,
                                  grv_durability durability, grv_block_result ret_results[],
                                  size_t count, grv_error *error)
{
    (void)durability;
    s3_batch *batch = (s3_batch *)base;
    pthread_mutex_lock(&batch->lock);
    grv_status status = batch_failure(batch, error);
    pthread_mutex_unlock(&batch->lock);
    upload *sent = NULL;
    while (!status && (sent = batch_oldest(batch))) {
        status = upload_end(call, batch, sent, error);
    }
    if (!status && count) {
        memcpy(ret_results, batch->results, count * sizeof *ret_results);
    }
    return status;
}

static void s3_batch_free(grv_block_batch *base)
{
    s3_batch *batch = (s3_batch *)base;
    upload *sent;
    while ((sent = batch_oldest(batch))) {
        grv_s3_cancel(batch->blocks->s3, &sent->request);
        upload_free(batch, sent);
    }
    grv_key_set_done(&batch->keys);
    free(batch->results);
    pthread_mutex_destroy(&batch->lock);
    free(batch);
}

static const grv_block_batch_ops s3_batch_ops = {
    .name = "s3",
    .put = s3_batch_put,
    .note = s3_batch_note,
    .commit = s3_batch_commit,
    .free = s3_batch_free,
};

grv_status grv_s3_blocks_open_batch(const grv_call *call, grv_block_store *store,
                                    grv_block_batch **ret_batch, grv_error *error)
{
    grv_status status = grv_call_check(call, "s3", error);
    if (status) {
        return status;
    }
    s3_batch *batch = calloc(1, sizeof *batch);
    if (!batch) {
        return grv_error_set(error, GRV_LIMIT_EXCEEDED, "s3", "no memory for a batch");
    }
    int failed = pthread_mutex_init(&batch->lock, NULL);
    if (failed) {
        free(batch);
        return grv_error_set_errno(error, failed, "s3", "cannot make a lock");
    }
    batch->base.ops = &s3_batch_ops;
    batch->blocks = (grv_s3_blocks *)store;
    batch->newest = &batch->oldest;
    *ret_batch = &batch->base;
    return GRV_OK;
}
