/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Bad blocks and blobs. Bad blocks gather in memory, up to a bound; then, and at the end, one pass
 * over all manifests tells which blobs name them.
 */
#include "store/mark.h"
#include "store/scrub.h"
#include "store/walk.h"

#include <stdlib.h>
#include <string.h>

#define NAMES_BLOBS 64u
#define NAMES_REFS  1024u

/* ---- Keeping and telling ---- */

static grv_status bad_keep(grv_scrub_run *run, const grv_block_key *key, grv_error *error)
{
    if (run->bad_count == run->bad_capacity) {
        size_t capacity = run->bad_capacity ? 2 * run->bad_capacity : 64;
        grv_scrub_bad *bad = realloc(run->bad, capacity * sizeof *bad);
        if (!bad) {
            return grv_error_set(error, GRV_LIMIT_EXCEEDED, "scrub", "no memory for %zu bad blocks",
                                 capacity);
        }
        run->bad = bad;
        run->bad_capacity = capacity;
    }
    run->bad[run->bad_count++] = (grv_scrub_bad){.key = *key};
    return GRV_OK;
}

grv_status grv_scrub_tell(grv_scrub_run *run, const grv_scrub_finding *finding, grv_error *error)
{
    grv_status status = GRV_OK;
    if (run->bad_count == GRV_SCRUB_BAD_MAX) {
        status = grv_scrub_tell_names(run, error);
    }
    if (!status) {
        status = bad_keep(run, &finding->key, error);
    }
    if (!status && run->config->found) {
        status = run->config->found(run->config->context, finding, error);
    }
    return status;
}

static int bad_order(const void *a, const void *b)
{
    return grv_block_key_compare(&((const grv_scrub_bad *)a)->key,
                                 &((const grv_scrub_bad *)b)->key);
}

/* The kept block of that key, or NULL, among those that the last sort has seen. */
static grv_scrub_bad *bad_find(const grv_scrub_run *run, const grv_block_key *key)
{
    const grv_scrub_bad wanted = {.key = *key};
    if (run->bad_sorted == 0) {
        return NULL;
    }
    return bsearch(&wanted, run->bad, run->bad_sorted, sizeof *run->bad, bad_order);
}

static void bad_sort(grv_scrub_run *run)
{
    if (run->bad_count > 0) {
        qsort(run->bad, run->bad_count, sizeof *run->bad, bad_order);
    }
    run->bad_sorted = run->bad_count;
}

static void bad_forget(grv_scrub_run *run)
{
    run->bad_count = 0;
    run->bad_sorted = 0;
}

/* ---- The blobs that name them ---- */

/* Tells of the kept blocks that one blob names; `number` tells this blob from the others. */
static grv_status names_of_blob(grv_scrub_run *run, const grv_blob_key *blob, uint64_t number,
                                grv_error *error)
{
    grv_ref_cursor *cursor = NULL;
    grv_status status = grv_manifest_repo_open_refs(run->call, grv_store_manifests(run->store),
                                                    blob, 0, &cursor, error);
    size_t count = 1;
    while (!status && count > 0) {
        grv_block_ref refs[NAMES_REFS];
        status = grv_ref_cursor_next(run->call, cursor, refs, NAMES_REFS, &count, error);
        for (size_t i = 0; i < count && !status; i++) {
            grv_scrub_bad *bad = bad_find(run, &refs[i].key);
            if (bad && bad->blob != number) {
                bad->blob = number;
                status = run->config->named(run->config->context, blob, &bad->key, refs[i].offset,
                                            error);
            }
        }
    }
    grv_ref_cursor_free(cursor);
    if (status == GRV_NOT_FOUND) {
        return GRV_OK; /* removed since it was listed */
    }
    if (status == GRV_CORRUPT || status == GRV_UNSUPPORTED) {
        char text[GRV_KEY_TEXT_SIZE];
        grv_blob_key_print(blob, text);
        grv_error_prefix(error, "manifest of %s", text);
    }
    return status;
}

grv_status grv_scrub_tell_names(grv_scrub_run *run, grv_error *error)
{
    if (run->bad_count == 0 || !run->config->named) {
        bad_forget(run);
        return GRV_OK;
    }
    bad_sort(run);
    const grv_blob_list list = {.order = GRV_ORDER_KEY};
    grv_blob_cursor *cursor = NULL;
    grv_status status = grv_manifest_repo_open_list(run->call, grv_store_manifests(run->store),
                                                    &list, &cursor, error);
    uint64_t number = 0;
    size_t count = 1;
    while (!status && count > 0) {
        grv_blob_info infos[NAMES_BLOBS];
        status = grv_blob_cursor_next(run->call, cursor, infos, NAMES_BLOBS, &count, error);
        for (size_t i = 0; i < count && !status; i++) {
            status = names_of_blob(run, &infos[i].key, ++number, error);
        }
    }
    grv_blob_cursor_free(cursor);
    if (!status) {
        bad_forget(run);
    }
    return status;
}

/* ---- What is missing ---- */

static grv_status missing_visit(void *context, const grv_block_key *key, grv_error *error)
{
    grv_scrub_run *run = context;
    if (bad_find(run, key)) {
        return GRV_OK; /* told of already, and missing because it was set aside */
    }
    /* The list may be older than the manifest, or of the time before a put healed the block. */
    bool missing = false;
    grv_status status =
        grv_block_store_missing(run->call, grv_store_blocks(run->store), key, 1, &missing, error);
    if (status || !missing) {
        return status;
    }
    run->report.missing++;
    const grv_scrub_finding finding = {
        .kind = GRV_SCRUB_MISSING, .key = *key, .message = "it is not in the store"};
    return grv_scrub_tell(run, &finding, error);
}

/* Goes past the blocks of the mark's present stretch; those named and not met are missing. */
static grv_status missing_stretch(grv_scrub_run *run, grv_mark *mark, grv_block_walk *walk,
                                  grv_error *error)
{
    for (;;) {
        const grv_block_entry *entry;
        grv_status status = grv_block_walk_peek(run->call, walk, &entry, error);
        if (status) {
            return status;
        }
        if (!entry || grv_mark_is_past(mark, &entry->key)) {
            return grv_mark_each_unasked(mark, missing_visit, run, error);
        }
        (void)grv_mark_test(mark, &entry->key);
        grv_block_walk_step(walk);
    }
}

grv_status grv_scrub_find_missing(grv_scrub_run *run, grv_error *error)
{
    grv_block_walk *walk = calloc(1, sizeof *walk);
    if (!walk) {
        return grv_error_set(error, GRV_LIMIT_EXCEEDED, "scrub", "no memory for a walk");
    }
    bad_sort(run);
    grv_mark *mark = NULL;
    bool end = false;
    grv_status status =
        grv_mark_new(grv_store_manifests(run->store), run->config->keys_max, &mark, error);
    while (!status && !end) {
        status = grv_mark_pass(run->call, mark, &end, error);
        if (!status && !end && !walk->cursor) {
            /* After the manifests: what a put has stored meanwhile is there then. */
            status = grv_block_store_open_list(run->call, grv_store_blocks(run->store), NULL,
                                               &walk->cursor, error);
        }
        if (!status && !end) {
            status = missing_stretch(run, mark, walk, error);
        }
    }
    grv_block_cursor_free(walk->cursor);
    grv_mark_free(mark);
    free(walk);
    return status;
}
