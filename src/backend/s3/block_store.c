/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Block store on S3: get, the table and the constructor. blocks.h says what is where. Objects are
 * the blocks' raw bytes; the verify layer on top tells whether they still are.
 */
#include "backend/s3/blocks.h"

#include "layer/verify.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define REMEMBER_DEFAULT ((size_t)1 << 20)

/* ---- Get ---- */

typedef struct get_run {
    grv_s3_blocks *blocks;
    const grv_block_key *keys;
    const grv_span *buffers;
    grv_status *statuses;
    grv_status first; /* the first failure by index, which `error` describes */
    grv_error error;
} get_run;

static void get_prepare(void *context, grv_s3_slot *slot)
{
    const get_run *run = context;
    grv_s3_block_name(run->blocks, &run->keys[slot->index], slot->name);
    slot->request.method = GRV_S3_GET;
    slot->request.into = run->buffers[slot->index];
    slot->request.allow_missing = true;
}

/* Blocks that are missing or wrong are answers; other failures end the run, since further blocks
 * would fare no better. */
static grv_status get_settle(void *context, grv_s3_slot *slot, grv_status status, grv_error *error)
{
    get_run *run = context;
    const grv_block_key *key = &run->keys[slot->index];
    const grv_s3_answer *answer = &slot->request.answer;
    grv_error *cause = run->first ? NULL : &run->error;
    bool other_size = answer->http == 200 && answer->content_length != key->size;
    if (status == GRV_NOT_FOUND) {
        grv_error_set(cause, status, "s3", "not in the store");
    } else if (status && status != GRV_CANCELLED && status != GRV_TIMEOUT && other_size) {
        status = grv_error_set(cause, GRV_CORRUPT, "s3", "its object has %llu bytes",
                               (unsigned long long)answer->content_length);
    } else if (status && cause) {
        *cause = *error;
    }
    run->statuses[slot->index] = status;
    if (status && !run->first) {
        run->first = grv_s3_blame(status, key, &run->error);
    }
    return status == GRV_NOT_FOUND || status == GRV_CORRUPT ? GRV_OK : status;
}

static grv_status s3_block_get(const grv_call *call, grv_block_store *store,
                               const grv_block_key keys[], const grv_span buffers[], size_t count,
                               grv_status ret_statuses[], grv_error *error)
{
    get_run run = {
        .blocks = (grv_s3_blocks *)store,
        .keys = keys,
        .buffers = buffers,
        .statuses = ret_statuses,
    };
    const grv_s3_window window = {
        .call = call,
        .blocks = run.blocks,
        .count = count,
        .prepare = get_prepare,
        .settle = get_settle,
        .context = &run,
    };
    size_t settled = 0;
    grv_error cause = GRV_ERROR_INIT;
    grv_status status = grv_s3_window_run(&window, &settled, &cause);
    for (size_t i = settled; i < count; i++) {
        ret_statuses[i] = status;
    }
    if (run.first) {
        if (error) {
            *error = run.error;
        }
        return run.first;
    }
    if (status && error) {
        *error = cause;
        grv_s3_blame(status, &keys[0], error);
    }
    return status;
}

/* What a commit has waited for is durable. */
static grv_status s3_block_flush(const grv_call *call, grv_block_store *store, grv_error *error)
{
    (void)store;
    return grv_call_check(call, "s3", error);
}

/* ---- The table and the constructor ---- */

static void s3_block_free(grv_block_store *store)
{
    grv_s3_blocks *blocks = (grv_s3_blocks *)store;
    grv_s3_present_done(&blocks->present);
    grv_budget_done(&blocks->copies);
    free(blocks->bucket);
    free(blocks->prefix);
    free(blocks);
}

static const grv_block_store_ops s3_block_ops = {
    .name = "s3",
    .missing = grv_s3_blocks_missing,
    .open_batch = grv_s3_blocks_open_batch,
    .get = s3_block_get,
    .remove = grv_s3_blocks_remove,
    .quarantine = grv_s3_blocks_quarantine,
    .sweep = grv_s3_blocks_sweep,
    .open_list = grv_s3_blocks_open_list,
    .flush = s3_block_flush,
    .stats = grv_s3_blocks_stats,
    .superblock_get = grv_s3_blocks_superblock_get,
    .superblock_set = grv_s3_blocks_superblock_set,
    .free = s3_block_free,
};

static grv_status blocks_init(grv_s3_blocks *blocks, const grv_s3_blocks_config *config,
                              grv_error *error)
{
    const char *prefix = config->prefix ? config->prefix : "";
    blocks->present.epoch = config->epoch;
    blocks->present.context = config->context;
    blocks->bucket = strdup(config->bucket);
    if (asprintf(&blocks->prefix, "%s%s", prefix, *prefix ? "/" : "") < 0) {
        blocks->prefix = NULL;
    }
    if (!blocks->bucket || !blocks->prefix) {
        return grv_error_set(error, GRV_LIMIT_EXCEEDED, "s3", "no memory for a block store");
    }
    return grv_s3_present_init(&blocks->present,
                               config->remember ? config->remember : REMEMBER_DEFAULT, error);
}

grv_status grv_block_store_s3_new(const grv_call *call, grv_s3 *s3,
                                  const grv_s3_blocks_config *config, grv_block_store **ret_store,
                                  grv_error *error)
{
    if (!config->bucket || !*config->bucket || strchr(config->bucket, '/')) {
        return grv_error_set(error, GRV_INVALID_ARGUMENT, "s3", "a block store needs a bucket");
    }
    grv_status status = grv_s3_prefix_check(config->prefix ? config->prefix : "", error);
    if (!status) {
        status = grv_s3_bucket_check(call, s3, config->bucket, error);
    }
    if (status) {
        return status;
    }
    grv_s3_blocks *blocks = calloc(1, sizeof *blocks);
    if (!blocks) {
        return grv_error_set(error, GRV_LIMIT_EXCEEDED, "s3", "no memory for a block store");
    }
    blocks->s3 = s3;
    grv_budget_init(&blocks->copies, GRV_S3_BLOCKS_HOLD);
    grv_s3_bucket_seen(blocks);
    status = blocks_init(blocks, config, error);
    if (!status) {
        status = grv_block_store_init(&blocks->base, &s3_block_ops, 0, error);
    }
    if (status) {
        s3_block_free(&blocks->base);
        return status;
    }
    return grv_block_store_verify_new(&blocks->base, ret_store, error);
}
