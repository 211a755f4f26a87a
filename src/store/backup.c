/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A copy of a store while it is in use.
 *
 * The metadata is copied first, as it is at one moment, and the blocks after it. So no block can
 * be missing: whatever a copied manifest names was durable and in its place before that manifest
 * was committed, and only a collection or a scrub takes blocks away, which this job keeps out.
 * Blocks that later puts bring may come along, and are garbage in the copy.
 *
 * Until all of it is durable the copy is no store: its metadata lies under another name, and its
 * blocks have no superblock. Giving it both, in this order, is the last step.
 */
#include "os/file.h"
#include "store/cas.h"
#include "store/handle.h"
#include "store/walk.h"

#include <errno.h>
#include <graviton/backend/fs.h>
#include <graviton/backend/rocks.h>
#include <graviton/maintain.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The metadata of a copy, and its name before the copy is whole. */
#define META         "meta"
#define META_PARTIAL "meta.partial"
/* Blocks that are read together, at most so many and so many bytes. */
#define ROUND_BLOCKS 256u
#define ROUND_BYTES  ((size_t)GRV_BLOCK_SIZE_MAX)
/* Blocks that are made durable together. */
#define COMMIT_BLOCKS 4096u

typedef struct backup_run {
    const grv_call *call;
    grv_store *store;
    const grv_backup_config *config;
    int dir; /* the copy's directory */
    grv_backup_report report;
    /* Copying blocks. */
    grv_block_store *target;
    grv_block_batch *batch;
    grv_block_walk walk;
    uint8_t *memory; /* ROUND_BYTES */
    grv_block_key keys[ROUND_BLOCKS];
    grv_span spans[ROUND_BLOCKS];
    grv_status statuses[ROUND_BLOCKS];
    bool missing[ROUND_BLOCKS];
    grv_block_result results[COMMIT_BLOCKS];
} backup_run;

static void backup_progress(const backup_run *run)
{
    if (run->config->progress) {
        run->config->progress(run->config->context, &run->report);
    }
}

/* ---- The directory ---- */

static grv_status directory_begin(backup_run *run, grv_error *error)
{
    const char *directory = run->config->directory;
    grv_status status = grv_directory_open(AT_FDCWD, directory, true, &run->dir, error);
    if (status) {
        return status;
    }
    DIR *entries = NULL;
    const char *name = NULL;
    status = grv_directory_entries(run->dir, directory, &entries, error);
    if (!status) {
        status = grv_directory_next(entries, directory, &name, error);
    }
    if (!status && name) {
        status = grv_error_set(error, GRV_ALREADY_EXISTS, "backup",
                               "%s is not empty (\"%.60s\" is in it): name a new directory",
                               directory, name);
    }
    grv_directory_close(entries);
    return status;
}

/* ---- Metadata ---- */

static grv_status copy_meta(backup_run *run, grv_error *error)
{
    char path[GRV_PLACE_PATH_SIZE];
    grv_rocks_checkpoint made;
    int size = snprintf(path, sizeof path, "%s/%s", run->config->directory, META_PARTIAL);
    if (size < 0 || (size_t)size >= sizeof path) {
        return grv_error_set(error, GRV_INVALID_ARGUMENT, "backup", "the path is too long: %.200s…",
                             run->config->directory);
    }
    grv_status status =
        grv_kv_rocks_checkpoint(run->call, run->store->kv, path, run->config->copy, &made, error);
    if (!status) {
        run->report.meta_files = made.files;
        run->report.meta_bytes = made.bytes;
        backup_progress(run);
    }
    return status;
}

/* ---- Blocks, linked ---- */

static void link_progress(void *context, const grv_fs_linked *so_far)
{
    backup_run *run = context;
    run->report.linked_blocks = so_far->blocks;
    run->report.linked_bytes = so_far->bytes;
    backup_progress(run);
}

/* GRV_UNSUPPORTED where linking is not possible, or not wanted. */
static grv_status link_blocks(backup_run *run, const grv_fs_config *target, grv_error *error)
{
    const grv_place *place = &run->store->place;
    if (run->config->copy) {
        return GRV_UNSUPPORTED;
    }
    const grv_fs_config source = {
        .root = place->blocks_path,
        .prefix = *place->blocks_prefix ? place->blocks_prefix : NULL,
    };
    const grv_fs_link link = {
        .source = &source, .target = target, .progress = link_progress, .context = run};
    grv_fs_linked linked;
    grv_status status = grv_block_store_fs_link(run->call, &link, &linked, error);
    link_progress(run, &linked);
    return status;
}

/* ---- Blocks, copied ---- */

/* Lines up the next blocks that the copy lacks; *ret_end once there are no more in the list. */
static grv_status round_fill(backup_run *run, size_t *ret_count, bool *ret_end, grv_error *error)
{
    size_t listed = 0;
    size_t bytes = 0;
    *ret_end = false;
    while (listed < ROUND_BLOCKS) {
        const grv_block_entry *entry = NULL;
        grv_status status = grv_block_walk_peek(run->call, &run->walk, &entry, error);
        if (status) {
            return status;
        }
        *ret_end = !entry;
        if (!entry || bytes + entry->key.size > ROUND_BYTES) {
            break;
        }
        bytes += entry->key.size;
        run->keys[listed++] = entry->key;
        grv_block_walk_step(&run->walk);
    }
    grv_status status =
        grv_block_store_missing(run->call, run->target, run->keys, listed, run->missing, error);
    if (status) {
        return status;
    }
    size_t count = 0;
    uint8_t *at = run->memory;
    for (size_t i = 0; i < listed; i++) {
        if (run->missing[i]) {
            run->keys[count] = run->keys[i];
            run->spans[count++] = (grv_span){at, run->keys[i].size};
            at += run->keys[i].size;
        }
    }
    *ret_count = count;
    return GRV_OK;
}

static grv_status batch_end(backup_run *run, grv_error *error)
{
    if (!run->batch) {
        return GRV_OK;
    }
    grv_status status = grv_block_batch_commit(run->call, run->batch, GRV_DURABLE, run->results,
                                               run->batch->count, error);
    grv_block_batch_free(run->batch);
    run->batch = NULL;
    return status;
}

/* Puts the blocks of a round that could be read; those that are wrong are counted. */
static grv_status round_put(backup_run *run, size_t count, grv_error *error)
{
    grv_block blocks[ROUND_BLOCKS];
    size_t good = 0;
    for (size_t i = 0; i < count; i++) {
        if (run->statuses[i]) {
            run->report.corrupt_blocks++;
            continue;
        }
        blocks[good++] = (grv_block){run->keys[i], {run->spans[i].data, run->spans[i].size}};
        run->report.copied_blocks++;
        run->report.copied_bytes += run->keys[i].size;
    }
    grv_status status = GRV_OK;
    if (run->batch && run->batch->count + good > COMMIT_BLOCKS) {
        status = batch_end(run, error);
    }
    if (!status && !run->batch) {
        status = grv_block_store_open_batch(run->call, run->target, &run->batch, error);
    }
    if (!status) {
        status = grv_block_batch_put(run->call, run->batch, blocks, good, NULL, error);
    }
    backup_progress(run);
    return status;
}

static grv_status round_copy(backup_run *run, size_t count, grv_error *error)
{
    if (count == 0) {
        return GRV_OK;
    }
    grv_block_store *blocks = grv_store_blocks(run->store);
    grv_status status =
        grv_block_store_get(run->call, blocks, run->keys, run->spans, count, run->statuses, error);
    for (size_t i = 0; i < count && status; i++) {
        if (run->statuses[i] && run->statuses[i] != GRV_CORRUPT &&
            run->statuses[i] != GRV_NOT_FOUND) {
            /* Once more, alone: it may go now, and else it is this failure that is told. */
            status = grv_block_store_get(run->call, blocks, &run->keys[i], &run->spans[i], 1,
                                         &run->statuses[i], error);
            if (status && status != GRV_CORRUPT && status != GRV_NOT_FOUND) {
                return status;
            }
        }
    }
    return round_put(run, count, error);
}

static grv_status copy_blocks(backup_run *run, const grv_fs_config *target, grv_error *error)
{
    run->memory = malloc(ROUND_BYTES);
    if (!run->memory) {
        return grv_error_set(error, GRV_LIMIT_EXCEEDED, "backup", "no memory for copying blocks");
    }
    grv_status status = grv_block_store_fs_new(target, &run->target, error);
    if (!status) {
        status = grv_block_store_open_list(run->call, grv_store_blocks(run->store), NULL,
                                           &run->walk.cursor, error);
    }
    bool end = false;
    while (!status && !end) {
        size_t count = 0;
        status = round_fill(run, &count, &end, error);
        if (!status) {
            status = round_copy(run, count, error);
        }
    }
    return status ? status : batch_end(run, error);
}

/* ---- The whole ---- */

/* Names the metadata, and then the blocks: now it is a store. */
static grv_status copy_finish(backup_run *run, grv_error *error)
{
    if (grv_file_calls()->renameat(run->dir, META_PARTIAL, run->dir, META)) {
        return grv_error_set_errno(error, errno, "backup", "cannot rename %s to %s", META_PARTIAL,
                                   META);
    }
    grv_status status = grv_directory_sync(run->dir, run->config->directory, error);
    if (status || run->store->place.blocks != GRV_BLOCKS_FS) {
        return status;
    }
    grv_buffer superblock;
    grv_buffer_init(&superblock, GRV_SUPERBLOCK_MAX);
    status =
        grv_block_store_superblock_get(run->call, grv_store_blocks(run->store), &superblock, error);
    if (!status) {
        status = grv_file_write_small(run->dir, GRV_FS_SUPERBLOCK, grv_buffer_bytes(&superblock),
                                      true, error);
    }
    grv_buffer_done(&superblock);
    return status;
}

static grv_status copy_all(backup_run *run, grv_error *error)
{
    grv_status status = copy_meta(run, error);
    if (!status && run->store->place.blocks == GRV_BLOCKS_FS) {
        const grv_fs_config target = {.root = run->config->directory, .create = true};
        status = link_blocks(run, &target, error);
        if (status == GRV_UNSUPPORTED) {
            status = copy_blocks(run, &target, error);
        }
    }
    if (!status) {
        status = copy_finish(run, error);
    }
    if (status) {
        grv_error_prefix(error, "the backup in %s is not whole and is no store; remove it",
                         run->config->directory);
    }
    return status;
}

static void run_free(backup_run *run)
{
    grv_block_cursor_free(run->walk.cursor);
    grv_block_batch_free(run->batch);
    grv_block_store_free(run->target);
    if (run->dir >= 0) {
        (void)grv_file_close(run->dir, "directory", NULL); /* open to read: nothing to lose */
    }
    free(run->memory);
    free(run);
}

grv_status grv_store_backup(const grv_call *call, grv_store *store, const grv_backup_config *config,
                            grv_backup_report *ret_report, grv_error *error)
{
    const grv_place *place = &store->place;
    if (store->remote) {
        return grv_store_remote_backup(call, store, config, ret_report, error);
    }
    if (place->meta != GRV_META_ROCKS || place->blocks == GRV_BLOCKS_MEMORY ||
        place->blocks == GRV_BLOCKS_S3) {
        return grv_error_set(error, GRV_UNSUPPORTED, "backup",
                             "only a store of files and RocksDB can be backed up");
    }
    if (grv_store_is_read_only(store)) {
        return grv_error_set(error, GRV_UNSUPPORTED, "backup",
                             "a store open to read only cannot be backed up");
    }
    backup_run *run = calloc(1, sizeof *run);
    if (!run) {
        return grv_error_set(error, GRV_LIMIT_EXCEEDED, "backup", "no memory for a backup");
    }
    grv_call background = call ? *call : (grv_call){0};
    background.priority = GRV_BACKGROUND;
    *run = (backup_run){.call = &background, .store = store, .config = config, .dir = -1};
    grv_status status = grv_cas_maintenance_begin(grv_store_blobs(store), error);
    if (!status) {
        status = directory_begin(run, error);
        if (!status) {
            status = copy_all(run, error);
        }
        grv_cas_maintenance_end(grv_store_blobs(store));
    }
    if (!status) {
        *ret_report = run->report;
    }
    run_free(run);
    return status;
}
