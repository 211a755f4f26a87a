/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Opening a deployment of the Scala system as a store to copy from. Its two halves do not say to
 * whom they belong, so nothing is compared here: blocks that are not the metadata's are missing
 * when they are read.
 */
#include "store/descriptor.h"
#include "store/handle.h"

#include <graviton/backend/fs.h>

#define ORIGIN "store"

static grv_status open_manifests(const grv_call *call, const grv_store_config *config,
                                 grv_store *store, grv_error *error)
{
    const grv_pg_config pg = {
        .conninfo = store->place.meta_path,
        .connections = config->connections,
        .patience_ns = config->patience_ns,
        .allow_unsafe = config->allow_unsafe,
        .read_only = true,
        .any_schema = true,
    };
    grv_status status = grv_pg_open(call, &pg, &store->pg, error);
    return status ? status : grv_manifest_repo_scala_new(call, store->pg, &store->manifests, error);
}

static grv_status open_files(grv_store *store, grv_error *error)
{
    const char *prefix = store->place.blocks_prefix;
    const grv_fs_config fs = {
        .root = store->place.blocks_path,
        .prefix = *prefix ? prefix : NULL,
    };
    grv_status status = grv_block_store_fs_new(&fs, &store->blocks, error);
    if (status == GRV_NOT_FOUND) {
        return grv_error_set(error, status, ORIGIN, "no blocks in %s, directory %s", fs.root,
                             fs.prefix ? fs.prefix : GRV_FS_PREFIX_DEFAULT);
    }
    return status;
}

grv_status grv_store_open_scala(const grv_call *call, const grv_store_config *config,
                                grv_store *store, grv_error *error)
{
    if (!config->read_only) {
        return grv_error_set(error, GRV_UNSUPPORTED, ORIGIN,
                             "a store of the Scala system can only be read: import it with "
                             "`graviton cp`");
    }
    grv_status status = store->place.blocks == GRV_BLOCKS_S3
                            ? grv_store_open_s3(call, config, store, error)
                            : open_files(store, error);
    if (!status) {
        status = open_manifests(call, config, store, error);
    }
    if (status) {
        return status;
    }
    store->info = (grv_store_info){
        .format_version = GRV_STORE_FORMAT,
        .hash = grv_manifest_repo_scala_hash(store->manifests),
        .chunker = grv_chunker_default(),
    };
    if (config->hash != GRV_HASH_NONE && store->info.hash != GRV_HASH_NONE &&
        config->hash != store->info.hash) {
        return grv_error_set(
            error, GRV_CONFLICT, ORIGIN, "the Scala system's store in %s has hash %s, not %s",
            grv_pg_where(store->pg), grv_hash_name(store->info.hash), grv_hash_name(config->hash));
    }
    return GRV_OK;
}
