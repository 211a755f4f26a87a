/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Collection. It guards the rule that no block goes that a blob needs: puts are kept out from
 * before the first manifest is read until the last block is gone, and the first pass reads every
 * manifest to its end before anything is freed. Each step frees what is garbage by itself, so a
 * collection may stop anywhere and nothing about it has to be remembered.
 */
#include "store/cas.h"
#include "store/handle.h"
#include "store/mark.h"
#include "store/walk.h"

#include <graviton/maintain.h>
#include <stdlib.h>

/* Blocks freed in one call. */
#define COLLECT_BLOCKS 4096u

typedef struct collect_run {
    const grv_call *call; /* in the background */
    grv_store *store;
    const grv_collect_config *config;
    grv_collect_report report;
    grv_mark *mark;
    grv_block_walk walk;
    bool unsure;  /* what was asked to be freed may yet go, later */
    size_t count; /* of blocks gathered to be freed */
    grv_block_entry gathered[COLLECT_BLOCKS];
    grv_block_key keys[COLLECT_BLOCKS];
    bool removed[COLLECT_BLOCKS];
} collect_run;

static void collect_progress(const collect_run *run)
{
    if (run->config->progress) {
        run->config->progress(run->config->context, &run->report);
    }
}

/* Frees what was gathered. A block that went meanwhile is not counted. */
static grv_status collect_free(collect_run *run, grv_error *error)
{
    for (size_t i = 0; i < run->count; i++) {
        run->keys[i] = run->gathered[i].key;
        run->removed[i] = true;
    }
    grv_status status = GRV_OK;
    if (!run->config->dry_run && run->count > 0 && run->store->session) {
        status = grv_pg_session_holds(run->call, run->store->session, error);
    }
    if (!run->config->dry_run && !status) {
        status = grv_block_store_remove(run->call, grv_store_blocks(run->store), run->keys,
                                        run->count, run->removed, error);
        run->unsure = status && run->store->s3;
    }
    for (size_t i = 0; i < run->count && !status; i++) {
        if (run->removed[i]) {
            run->report.freed_blocks++;
            run->report.freed_bytes += run->gathered[i].key.size;
            run->report.freed_stored_bytes += run->gathered[i].stored_size;
        }
    }
    run->count = 0;
    if (!status) {
        collect_progress(run);
    }
    return status;
}

/* Goes over the blocks of the mark's present stretch. */
static grv_status collect_stretch(collect_run *run, grv_error *error)
{
    for (;;) {
        const grv_block_entry *entry;
        grv_status status = grv_block_walk_peek(run->call, &run->walk, &entry, error);
        if (status) {
            return status;
        }
        if (!entry || grv_mark_is_past(run->mark, &entry->key)) {
            break;
        }
        if (grv_mark_test(run->mark, &entry->key)) {
            run->report.kept_blocks++;
            run->report.kept_bytes += entry->key.size;
        } else {
            run->gathered[run->count++] = *entry;
        }
        grv_block_walk_step(&run->walk);
        if (run->count == COLLECT_BLOCKS) {
            status = collect_free(run, error);
        }
        if (status) {
            return status;
        }
    }
    run->report.missing_blocks += grv_mark_unasked(run->mark);
    return collect_free(run, error);
}

/* What goes without a mark. First, because it gives room and needs none. */
static grv_status collect_leftovers(collect_run *run, grv_error *error)
{
    grv_mark_totals totals = grv_mark_get_totals(run->mark);
    run->report.blobs = totals.blobs;
    run->report.references = totals.references;
    grv_status status =
        grv_block_store_sweep(run->call, grv_store_blocks(run->store), run->config->dry_run,
                              &run->report.block_sweep, error);
    if (!status) {
        collect_progress(run);
    }
    return status;
}

static grv_status collect_all(collect_run *run, grv_error *error)
{
    bool first = true;
    for (;;) {
        bool end = false;
        grv_status status = grv_mark_pass(run->call, run->mark, &end, error);
        if (!status && end) {
            break;
        }
        if (!status && first) {
            status = collect_leftovers(run, error);
            first = false;
        }
        if (!status) {
            status = collect_stretch(run, error);
        }
        if (status) {
            return status;
        }
    }
    return grv_manifest_repo_sweep(run->call, grv_store_manifests(run->store), run->config->dry_run,
                                   &run->report.meta_sweep, error);
}

/* The whole of it, with the store to itself. */
static grv_status collect_exclusive(const grv_call *call, grv_store *store,
                                    const grv_collect_config *config,
                                    grv_collect_report *ret_report, bool *ret_unsure,
                                    grv_error *error)
{
    collect_run *run = calloc(1, sizeof *run);
    if (!run) {
        return grv_error_set(error, GRV_LIMIT_EXCEEDED, "store", "no memory for a collection");
    }
    run->call = call;
    run->store = store;
    run->config = config;
    grv_status status =
        grv_mark_new(grv_store_manifests(store), config->keys_max, &run->mark, error);
    if (!status) {
        status = grv_block_store_open_list(call, grv_store_blocks(store), NULL, &run->walk.cursor,
                                           error);
    }
    if (!status) {
        status = collect_all(run, error);
    }
    if (!status) {
        *ret_report = run->report;
    }
    *ret_unsure = run->unsure;
    grv_block_cursor_free(run->walk.cursor);
    grv_mark_free(run->mark);
    free(run);
    return status;
}

/* The same where other processes may have the store open: not while this runs. Nor after it, where
 * a block may yet go that a put would find there: until another collection has freed what it left.
 */
static grv_status collect_alone(const grv_call *call, grv_store *store,
                                const grv_collect_config *config, grv_collect_report *ret_report,
                                grv_error *error)
{
    bool unsure = false;
    if (config->dry_run && !store->session) {
        return collect_exclusive(call, store, config, ret_report, &unsure, error);
    }
    grv_status status = grv_store_alone_begin(call, store, GRV_ALONE_COLLECT_NS, error);
    if (!status) {
        status = collect_exclusive(call, store, config, ret_report, &unsure, error);
        unsure = unsure || ((status || config->dry_run) && grv_store_alone_inherits(store));
        grv_store_alone_end(store, unsure);
    }
    return status;
}

grv_status grv_store_collect(const grv_call *call, grv_store *store,
                             const grv_collect_config *config, grv_collect_report *ret_report,
                             grv_error *error)
{
    grv_blob_store *blobs = grv_store_blobs(store);
    if (!config->dry_run && grv_store_is_read_only(store)) {
        return grv_error_set(error, GRV_UNSUPPORTED, "store",
                             "the store is open to read only: only a dry run is possible");
    }
    if (store->remote) {
        return grv_store_remote_collect(call, store, config, ret_report, error);
    }
    grv_call background = call ? *call : (grv_call){0};
    background.priority = GRV_BACKGROUND;
    grv_status status = grv_cas_maintenance_begin(blobs, error);
    if (status) {
        return status;
    }
    status = grv_cas_puts_exclude(blobs, error);
    if (!status) {
        status = collect_alone(&background, store, config, ret_report, error);
        grv_cas_puts_admit(blobs);
    }
    grv_cas_maintenance_end(blobs);
    return status;
}
