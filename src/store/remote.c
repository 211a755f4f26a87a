/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A store behind a server: it has no halves here, only blobs. What looks after the whole of it is
 * the server's to do, and asked of it.
 */
#include "store/descriptor.h"
#include "store/handle.h"

#include <stdio.h>
#include <string.h>

/* Refuses a hash or chunker that was asked for and is not the store's. */
static grv_status check_wishes(const grv_store_config *config, const grv_store *store,
                               grv_error *error)
{
    const grv_store_info *info = &store->info;
    const char *where = grv_remote_where(store->remote);
    if (config->hash != GRV_HASH_NONE && config->hash != info->hash) {
        return grv_error_set(error, GRV_CONFLICT, "store",
                             "the store at %s has hash %s, not %s: leave --hash out, or use "
                             "another store",
                             where, grv_hash_name(info->hash), grv_hash_name(config->hash));
    }
    if (config->chunker && !grv_chunker_spec_equal(config->chunker, &info->chunker)) {
        char has[GRV_CHUNKER_TEXT_SIZE];
        char wants[GRV_CHUNKER_TEXT_SIZE];
        grv_chunker_spec_print(&info->chunker, has);
        grv_chunker_spec_print(config->chunker, wants);
        return grv_error_set(error, GRV_CONFLICT, "store",
                             "the store at %s has chunker %s, not %s: leave --chunker out, or use "
                             "another store",
                             where, has, wants);
    }
    return GRV_OK;
}

static void take_info(grv_store *store)
{
    const grv_remote_info *said = grv_remote_get_info(store->remote);
    _Static_assert(sizeof said->store_id == GRV_STORE_ID_SIZE, "a store's id");
    memcpy(store->info.id, said->store_id, GRV_STORE_ID_SIZE);
    store->info.format_version = said->format_version;
    store->info.hash = said->hash;
    store->info.chunker = said->chunker;
    store->info.created_ns = said->created_ns;
    store->read_only = store->read_only || said->read_only;
    if (grv_remote_shows_token(store->remote)) {
        snprintf(store->warning, sizeof store->warning,
                 "the token goes to %.300s without encryption: use https://",
                 grv_remote_where(store->remote));
    }
}

grv_status grv_store_open_remote(const grv_call *call, const grv_store_config *config,
                                 grv_store *store, grv_error *error)
{
    const grv_remote_config remote = {
        .url = store->place.blocks_path,
        .token = config->token,
        .read_only = config->read_only,
        .patience_ns = config->patience_ns,
    };
    grv_status status = grv_remote_open(call, &remote, &store->remote, error);
    if (!status) {
        take_info(store);
        status = check_wishes(config, store, error);
    }
    return status ? status : grv_blob_store_remote_new(store->remote, &store->blobs, error);
}
