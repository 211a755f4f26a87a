/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A second name for every block file of a store, in another directory: a copy that takes no space
 * and little time. Block files never change once they are named, so two stores may share them.
 */
#include "backend/fs/fs.h"

#include "os/file.h"

#include <errno.h>

/* Links between two words about how far it is. */
#define PROGRESS_EVERY 1024

typedef struct link_run {
    const grv_fs_link *link;
    int from;
    int to;
    grv_fs_linked *linked;
    grv_status status;
    grv_error *error;
} link_run;

static bool link_one(void *context, const grv_block_key *key)
{
    link_run *run = context;
    char name[GRV_BLOCK_NAME_SIZE];
    grv_block_name_print(key, name);
    if (grv_file_calls()->linkat(run->from, name, run->to, name, 0)) {
        bool cannot = errno == EXDEV || errno == EPERM || errno == EOPNOTSUPP || errno == EMLINK;
        run->status =
            grv_error_set_errno(run->error, errno, "fs", "cannot link block file %s", name);
        run->status = cannot ? GRV_UNSUPPORTED : run->status;
        return false;
    }
    run->linked->blocks++;
    run->linked->bytes += key->size;
    if (run->link->progress && run->linked->blocks % PROGRESS_EVERY == 0) {
        run->link->progress(run->link->context, run->linked);
    }
    return true;
}

static grv_status link_hash(const grv_call *call, const grv_fs_link *link, grv_fs_store *source,
                            grv_fs_store *target, grv_hash hash, grv_fs_linked *linked,
                            grv_error *error)
{
    grv_fs_directory *to = grv_fs_directory_of(target, hash);
    link_run run = {.link = link, .linked = linked, .error = error};
    grv_status status =
        grv_fs_directory_open(grv_fs_directory_of(source, hash), false, &run.from, error);
    if (status || run.from < 0) {
        return status;
    }
    status = grv_fs_directory_open(to, true, &run.to, error);
    if (!status) {
        status = grv_fs_scan(call, source, hash, link_one, &run, error);
    }
    if (!status) {
        status = run.status;
    }
    if (!status) {
        grv_fs_directory_changed(to);
        status = grv_fs_directory_settle(call, to, error);
    }
    return status;
}

grv_status grv_block_store_fs_link(const grv_call *call, const grv_fs_link *link,
                                   grv_fs_linked *ret_linked, grv_error *error)
{
    static const grv_hash hashes[] = {GRV_HASH_BLAKE3, GRV_HASH_SHA256};
    grv_block_store *source = NULL;
    grv_block_store *target = NULL;
    *ret_linked = (grv_fs_linked){0};
    grv_status status = grv_fs_new(link->source, NULL, &source, error);
    if (!status) {
        status = grv_fs_new(link->target, NULL, &target, error);
    }
    for (size_t i = 0; i < sizeof hashes / sizeof hashes[0] && !status; i++) {
        status = link_hash(call, link, (grv_fs_store *)source, (grv_fs_store *)target, hashes[i],
                           ret_linked, error);
    }
    grv_block_store_free(target);
    grv_block_store_free(source);
    return status;
}
