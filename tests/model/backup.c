/* SPDX-License-Identifier: Apache-2.0 */
/* Backups: a copy of the store opens as one and shows the same; a copy cut short does not open. */
#include "model.h"

#include <graviton/maintain.h>

/* Where the backup of an operation goes. */
static void backup_path(const model_run *run, size_t op, char path[MODEL_PATH_SIZE])
{
    snprintf(path, MODEL_PATH_SIZE, "%s/copy%zu", run->root, op);
}

static grv_status backup_open(model_run *run, const char *path, bool read_only,
                              grv_store **ret_store, grv_error *error)
{
    char meta[MODEL_PATH_SIZE + 16];
    grv_store_config config = {.read_only = read_only, .threads = 1};
    snprintf(meta, sizeof meta, "rocks:%s/meta", path);
    if (run->world->pair->files) {
        config.directory = path;
    } else {
        config.blocks = "kv:";
        config.meta = meta;
    }
    return grv_store_open(NULL, &config, ret_store, error);
}

/* Compares all that the copy shows, as if it were the store. */
static void backup_check(model_run *run, grv_store *copy, uint64_t *state)
{
    grv_store *store = run->store;
    if (memcmp(grv_store_get_info(copy)->id, grv_store_get_info(store)->id, GRV_STORE_ID_SIZE) !=
        0) {
        model_fail(run, "backup: another store id");
    }
    run->store = copy;
    run->blobs = grv_store_blobs(copy);
    model_check_all(run, state);
    run->store = store;
    run->blobs = grv_store_blobs(store);
    grv_store_close(copy);
}

void model_backup(model_run *run, uint64_t *state)
{
    char path[MODEL_PATH_SIZE];
    grv_error error = GRV_ERROR_INIT;
    grv_backup_report report;
    grv_store *copy;
    backup_path(run, run->shared->current, path);
    const grv_backup_config config = {.directory = path, .copy = model_pick(state, 2)};
    if (!run->world->pair->lasts) {
        grv_status status = grv_store_backup(NULL, run->store, &config, &report, &error);
        model_expect(run, "backup of memory", status, GRV_UNSUPPORTED, &error);
        return;
    }
    run->shared->backup = run->shared->current + 1;
    grv_status status = grv_store_backup(NULL, run->store, &config, &report, &error);
    run->shared->backup = 0;
    model_expect(run, "backup", status, GRV_OK, &error);
    model_note(run, " %llu linked, %llu copied", (unsigned long long)report.linked_blocks,
               (unsigned long long)report.copied_blocks);
    if (report.corrupt_blocks) {
        model_fail(run, "backup: %llu blocks are said to be corrupt",
                   (unsigned long long)report.corrupt_blocks);
    }
    status = backup_open(run, path, model_pick(state, 2), &copy, &error);
    model_expect(run, "open of a backup", status, GRV_OK, &error);
    backup_check(run, copy, state);
    status = grv_store_backup(NULL, run->store, &config, &report, &error);
    model_expect(run, "backup to where there is one", status, GRV_ALREADY_EXISTS, &error);
}

void model_backup_settle(model_run *run, uint64_t *state)
{
    char path[MODEL_PATH_SIZE];
    grv_store *copy;
    if (run->shared->backup == 0) {
        return;
    }
    backup_path(run, run->shared->backup - 1, path);
    run->shared->backup = 0;
    if (backup_open(run, path, true, &copy, NULL) == GRV_OK) {
        backup_check(run, copy, state); /* it was through but for the answer */
    }
}
