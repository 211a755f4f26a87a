/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Removal, quarantine and sweep. Each key's deletion is confirmed by the service before a call
 * returns GRV_OK; after any other return some may still be on their way, and land later.
 */
#include "backend/s3/blocks.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

/* Keys that are handed over together. */
#define DELETE_KEYS (8 * GRV_S3_PAGE_KEYS)

/* ---- Removal ---- */

/* Deletes the objects of blocks, or their copies in quarantine. */
static grv_status delete_all(const grv_call *call, grv_s3_blocks *blocks,
                             const grv_block_key keys[], size_t count, bool aside, grv_error *error)
{
    char(*names)[GRV_S3_NAME_SIZE] = malloc(DELETE_KEYS * sizeof *names);
    const char **views = malloc(DELETE_KEYS * sizeof *views);
    if (!names || !views) {
        free(names);
        free(views);
        return grv_error_set(error, GRV_LIMIT_EXCEEDED, "s3", "no memory to remove blocks");
    }
    grv_status status = GRV_OK;
    for (size_t done = 0; done < count && !status;) {
        size_t n = count - done < DELETE_KEYS ? count - done : DELETE_KEYS;
        for (size_t i = 0; i < n; i++) {
            (aside ? grv_s3_aside_name : grv_s3_block_name)(blocks, &keys[done + i], names[i]);
            views[i] = names[i];
        }
        status = grv_s3_delete_many(call, blocks->s3, blocks->bucket, views, n, error);
        done += n;
    }
    free(names);
    free(views);
    return status;
}

grv_status grv_s3_blocks_remove(const grv_call *call, grv_block_store *store,
                                const grv_block_key keys[], size_t count, bool ret_removed[],
                                grv_error *error)
{
    grv_s3_blocks *blocks = (grv_s3_blocks *)store;
    bool *there = malloc(count * sizeof *there);
    if (!there) {
        return grv_error_set(error, GRV_LIMIT_EXCEEDED, "s3", "no memory for %zu keys", count);
    }
    grv_status status = grv_s3_blocks_look(call, blocks, keys, count, true, there, error);
    if (!status) {
        /* Also those that are not there: an earlier deletion that was given up may have hidden
         * them, and is confirmed only by this one. */
        grv_s3_present_forget_all(&blocks->present);
        status = delete_all(call, blocks, keys, count, false, error);
        grv_s3_present_forget_all(&blocks->present);
    }
    if (!status) {
        memcpy(ret_removed, there, count * sizeof *there);
    }
    free(there);
    return status;
}

/* ---- Quarantine ---- */

typedef struct aside_run {
    grv_s3_blocks *blocks;
    const grv_block_key *keys;
    bool *moved; /* what was copied; then what was deleted too */
    size_t *places;
} aside_run;

static void copy_prepare(void *context, grv_s3_slot *slot)
{
    const aside_run *run = context;
    char source[GRV_S3_NAME_SIZE];
    const grv_block_key *key = &run->keys[slot->index];
    grv_s3_block_name(run->blocks, key, source);
    grv_s3_aside_name(run->blocks, key, slot->name);
    grv_status encoded =
        grv_s3_encode_source(run->blocks->bucket, source, slot->value, sizeof slot->value, NULL);
    assert(!encoded); /* there is room for any */
    (void)encoded;
    slot->headers[0] = (grv_s3_pair){"x-amz-copy-source", slot->value};
    grv_buffer_init(&slot->out, GRV_S3_XML_MAX);
    slot->request.method = GRV_S3_PUT;
    slot->request.headers = slot->headers;
    slot->request.header_count = 1;
    slot->request.out = &slot->out;
    slot->request.allow_missing = true;
}

static grv_status copy_settle(void *context, grv_s3_slot *slot, grv_status status, grv_error *error)
{
    const aside_run *run = context;
    const grv_block_key *key = &run->keys[slot->index];
    run->moved[slot->index] = status == GRV_OK;
    if (status == GRV_NOT_FOUND) {
        return GRV_OK;
    }
    if (!status) {
        /* A success is one only once its body says so. */
        char etag[GRV_S3_ETAG_MAX + 1];
        status = grv_s3_xml_text(grv_buffer_bytes(&slot->out), "CopyObjectResult", "ETag", etag,
                                 sizeof etag, error);
        status = status == GRV_NOT_FOUND ? GRV_CORRUPT : status;
    }
    return status ? grv_s3_blame(status, key, error) : GRV_OK;
}

static void drop_prepare(void *context, grv_s3_slot *slot)
{
    const aside_run *run = context;
    grv_s3_block_name(run->blocks, &run->keys[run->places[slot->index]], slot->name);
    slot->request.method = GRV_S3_DELETE;
    slot->request.allow_missing = true;
}

static grv_status drop_settle(void *context, grv_s3_slot *slot, grv_status status, grv_error *error)
{
    const aside_run *run = context;
    if (!status || status == GRV_NOT_FOUND) {
        return GRV_OK;
    }
    return grv_s3_blame(status, &run->keys[run->places[slot->index]], error);
}

/*
 * A block that the service lists and cannot give: its data was lost below, its name was not. Such a
 * name counts as present, and some services leave it when it is deleted. So nothing is put in its
 * place first, which no block is, and that can be deleted. *ret_lost: whether it was one.
 */
static grv_status hollow_name(const grv_call *call, grv_s3_blocks *blocks, const grv_block_key *key,
                              bool *ret_lost, grv_error *error)
{
    char name[GRV_S3_NAME_SIZE];
    grv_s3_block_name(blocks, key, name);
    grv_s3_page page = {0};
    grv_status status = grv_s3_list(call, blocks->s3, blocks->bucket, name, NULL, 1, &page, error);
    if (status) {
        return status;
    }
    bool listed = page.count > 0 && strcmp(page.entries[0].key, name) == 0;
    grv_s3_page_done(&page);
    if (listed) {
        grv_s3_request request = {.method = GRV_S3_PUT, .bucket = blocks->bucket, .key = name};
        status = grv_s3_run(call, blocks->s3, &request, 1, error);
    }
    *ret_lost = listed && !status;
    return status ? grv_s3_blame(status, key, error) : GRV_OK;
}

/* Copies all that there are, then deletes those that were copied, and names without bytes. */
static grv_status aside_all(const grv_call *call, aside_run *run, size_t count, grv_error *error)
{
    grv_s3_window window = {
        .call = call,
        .blocks = run->blocks,
        .count = count,
        .prepare = copy_prepare,
        .settle = copy_settle,
        .context = run,
    };
    grv_status status = grv_s3_window_run(&window, NULL, error);
    if (status) {
        return status;
    }
    size_t copied = 0;
    for (size_t i = 0; i < count; i++) {
        if (!run->moved[i]) {
            status = hollow_name(call, run->blocks, &run->keys[i], &run->moved[i], error);
            if (status) {
                return status;
            }
        }
        if (run->moved[i]) {
            run->places[copied++] = i;
        }
    }
    if (copied == 0) {
        return GRV_OK;
    }
    window.count = copied;
    window.prepare = drop_prepare;
    window.settle = drop_settle;
    grv_s3_present_forget_all(&run->blocks->present);
    status = grv_s3_window_run(&window, NULL, error);
    grv_s3_present_forget_all(&run->blocks->present);
    return status;
}

grv_status grv_s3_blocks_quarantine(const grv_call *call, grv_block_store *store,
                                    const grv_block_key keys[], size_t count, bool ret_moved[],
                                    grv_error *error)
{
    aside_run run = {.blocks = (grv_s3_blocks *)store,
                     .keys = keys,
                     .moved = calloc(count, sizeof *run.moved),
                     .places = malloc(count * sizeof *run.places)};
    if (!run.moved || !run.places) {
        free(run.moved);
        free(run.places);
        return grv_error_set(error, GRV_LIMIT_EXCEEDED, "s3", "no memory for %zu keys", count);
    }
    grv_status status = aside_all(call, &run, count, error);
    if (!status) {
        memcpy(ret_moved, run.moved, count * sizeof *run.moved);
    }
    free(run.moved);
    free(run.places);
    return status;
}

/* ---- Sweep ---- */

typedef struct sweep_round {
    size_t count;
    grv_block_key keys[GRV_S3_PAGE_KEYS];
    uint64_t sizes[GRV_S3_PAGE_KEYS];
    bool there[GRV_S3_PAGE_KEYS];
} sweep_round;

static grv_status sweep_read(const grv_call *call, grv_s3_walk *walk, sweep_round *round,
                             grv_error *error)
{
    round->count = 0;
    while (round->count < GRV_S3_PAGE_KEYS) {
        const grv_block_entry *entry = NULL;
        grv_status status = grv_s3_walk_next(call, walk, &entry, error);
        if (status || !entry) {
            return status;
        }
        round->keys[round->count] = entry->key;
        round->sizes[round->count++] = entry->stored_size;
    }
    return GRV_OK;
}

/* Counts the copies whose block is there again, and removes them. */
static grv_status sweep_healed(const grv_call *call, grv_s3_blocks *blocks, sweep_round *round,
                               bool dry_run, grv_block_sweep *sweep, grv_error *error)
{
    grv_status status =
        grv_s3_blocks_look(call, blocks, round->keys, round->count, false, round->there, error);
    size_t healed = 0;
    for (size_t i = 0; i < round->count && !status; i++) {
        if (round->there[i]) {
            sweep->aside++;
            sweep->aside_bytes += round->sizes[i];
            round->keys[healed++] = round->keys[i];
        }
    }
    if (status || dry_run || healed == 0) {
        return status;
    }
    return delete_all(call, blocks, round->keys, healed, true, error);
}

grv_status grv_s3_blocks_sweep(const grv_call *call, grv_block_store *store, bool dry_run,
                               grv_block_sweep *ret_sweep, grv_error *error)
{
    grv_s3_blocks *blocks = (grv_s3_blocks *)store;
    grv_block_sweep sweep = {0};
    grv_s3_walk walk;
    grv_status status = grv_call_check(call, "s3", error);
    if (status) {
        return status;
    }
    sweep_round *round = calloc(1, sizeof *round);
    if (!round) {
        return grv_error_set(error, GRV_LIMIT_EXCEEDED, "s3", "no memory for a sweep");
    }
    status = grv_s3_walk_init(&walk, blocks, true, NULL, error);
    round->count = 1;
    while (!status && round->count > 0) {
        status = sweep_read(call, &walk, round, error);
        if (!status && round->count > 0) {
            status = sweep_healed(call, blocks, round, dry_run, &sweep, error);
        }
    }
    grv_s3_walk_done(&walk);
    free(round);
    if (!status) {
        *ret_sweep = sweep;
    }
    return status;
}
