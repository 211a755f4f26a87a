/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Opening blocks in S3. What is remembered there about which blocks are present holds while nobody
 * else may remove any: as long as this process's session lasts, or, with metadata that one process
 * has at a time, always.
 */
#include "store/handle.h"

#include <stdio.h>

static uint64_t session_epoch(void *context)
{
    const grv_store *store = context;
    return store->session ? grv_pg_session_epoch(store->session) : 0;
}

/* What the address says goes before what the program was configured with. */
static grv_s3_config settings(const grv_store_config *config, const grv_place_s3 *place)
{
    grv_s3_config s3 = config->s3 ? *config->s3 : (grv_s3_config){0};
    s3.endpoint = *place->endpoint ? place->endpoint : s3.endpoint;
    s3.region = *place->region ? place->region : s3.region;
    s3.style = place->style ? place->style : s3.style;
    s3.connections = place->connections ? place->connections : s3.connections;
    return s3;
}

/* A bucket whose lifecycle cannot be asked for is none to warn of: many services have none, and the
 * right to ask is not one that a store needs. */
static void look_for_lifecycle(const grv_call *call, grv_store *store)
{
    const grv_place *place = &store->place;
    char prefix[sizeof place->blocks_prefix + 1];
    char rule[GRV_S3_RULE_SIZE];
    bool expires = false;
    snprintf(prefix, sizeof prefix, "%s%s", place->blocks_prefix, *place->blocks_prefix ? "/" : "");
    if (grv_s3_lifecycle_check(call, store->s3, place->s3.bucket, prefix, &expires, rule, NULL) ||
        !expires) {
        return;
    }
    snprintf(store->warning, sizeof store->warning,
             "lifecycle rule \"%s\" of bucket %s removes objects of this store after a time, and "
             "blobs with them: disable it, or limit it to another prefix",
             rule, place->s3.bucket);
}

grv_status grv_store_open_s3(const grv_call *call, const grv_store_config *config, grv_store *store,
                             grv_error *error)
{
    const grv_place *place = &store->place;
    grv_status status = GRV_OK;
    if (!store->s3) {
        const grv_s3_config s3 = settings(config, &place->s3);
        status = grv_s3_open(&s3, &store->s3, error);
    }
    if (status) {
        return status;
    }
    const grv_s3_blocks_config blocks = {
        .bucket = place->s3.bucket,
        .prefix = place->blocks_prefix,
        .epoch = session_epoch,
        .context = store,
    };
    status = grv_block_store_s3_new(call, store->s3, &blocks, &store->blocks, error);
    if (!status && !config->read_only && !*store->warning) {
        look_for_lifecycle(call, store);
    }
    return status;
}
