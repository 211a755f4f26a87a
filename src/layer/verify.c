/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Layer verify: hashes every block that the store below hands out. It guards the rule that no
 * byte leaves a block store unless it hashes to the key it was asked by. Batches and cursors are
 * those of the store below: they carry no block bytes outward.
 */
#include "layer/verify.h"

#include <stdlib.h>

typedef struct verify_store {
    grv_block_store base;
    grv_block_store *inner;
} verify_store;

static grv_block_store *verify_inner(grv_block_store *store)
{
    return ((verify_store *)store)->inner;
}

static grv_status verify_missing(const grv_call *call, grv_block_store *store,
                                 const grv_block_key keys[], size_t count, bool ret_missing[],
                                 grv_error *error)
{
    return grv_block_store_missing(call, verify_inner(store), keys, count, ret_missing, error);
}

static grv_status verify_open_batch(const grv_call *call, grv_block_store *store,
                                    grv_block_batch **ret_batch, grv_error *error)
{
    return grv_block_store_open_batch(call, verify_inner(store), ret_batch, error);
}

/* GRV_OK if `bytes` are the block `key` names. */
static grv_status verify_block(const grv_block_key *key, grv_bytes bytes, grv_error *error)
{
    grv_digest digest;
    grv_status status = grv_digest_of(key->digest.hash, bytes, &digest, error);
    if (status) {
        return status;
    }
    if (grv_digest_compare(&digest, &key->digest) == 0) {
        return GRV_OK;
    }
    char text[GRV_KEY_TEXT_SIZE];
    char hex[2 * GRV_DIGEST_SIZE + 1];
    grv_block_key_print(key, text);
    grv_digest_hex(&digest, hex);
    return grv_error_set(error, GRV_CORRUPT, "verify", "block %s: its stored bytes hash to %s",
                         text, hex);
}

static grv_status verify_get(const grv_call *call, grv_block_store *store,
                             const grv_block_key keys[], const grv_span buffers[], size_t count,
                             grv_status ret_statuses[], grv_error *error)
{
    grv_status first =
        grv_block_store_get(call, verify_inner(store), keys, buffers, count, ret_statuses, error);
    /* `error` describes the first failure by index: one found here takes its place only where it
     * comes before the one from below. */
    bool first_seen = false;
    for (size_t i = 0; i < count; i++) {
        if (ret_statuses[i]) {
            first_seen = true;
            continue;
        }
        grv_bytes bytes = {buffers[i].data, buffers[i].size};
        ret_statuses[i] = verify_block(&keys[i], bytes, first_seen ? NULL : error);
        if (ret_statuses[i] && !first_seen) {
            first_seen = true;
            first = ret_statuses[i];
        }
    }
    return first;
}

static grv_status verify_remove(const grv_call *call, grv_block_store *store,
                                const grv_block_key keys[], size_t count, bool ret_removed[],
                                grv_error *error)
{
    return grv_block_store_remove(call, verify_inner(store), keys, count, ret_removed, error);
}

static grv_status verify_quarantine(const grv_call *call, grv_block_store *store,
                                    const grv_block_key keys[], size_t count, bool ret_moved[],
                                    grv_error *error)
{
    return grv_block_store_quarantine(call, verify_inner(store), keys, count, ret_moved, error);
}

static grv_status verify_sweep(const grv_call *call, grv_block_store *store, bool dry_run,
                               grv_block_sweep *ret_sweep, grv_error *error)
{
    return grv_block_store_sweep(call, verify_inner(store), dry_run, ret_sweep, error);
}

static grv_status verify_open_list(const grv_call *call, grv_block_store *store,
                                   const grv_block_key *after, grv_block_cursor **ret_cursor,
                                   grv_error *error)
{
    return grv_block_store_open_list(call, verify_inner(store), after, ret_cursor, error);
}

static grv_status verify_flush(const grv_call *call, grv_block_store *store, grv_error *error)
{
    return grv_block_store_flush(call, verify_inner(store), error);
}

static grv_status verify_stats(const grv_call *call, grv_block_store *store,
                               grv_block_stats *ret_stats, grv_error *error)
{
    return grv_block_store_stats(call, verify_inner(store), ret_stats, error);
}

static grv_status verify_superblock_get(const grv_call *call, grv_block_store *store,
                                        grv_buffer *out, grv_error *error)
{
    return grv_block_store_superblock_get(call, verify_inner(store), out, error);
}

static grv_status verify_superblock_set(const grv_call *call, grv_block_store *store,
                                        const grv_bytes *expected, grv_bytes superblock,
                                        grv_error *error)
{
    return grv_block_store_superblock_set(call, verify_inner(store), expected, superblock, error);
}

static void verify_free(grv_block_store *store)
{
    grv_block_store_free(verify_inner(store));
    free(store);
}

static const grv_block_store_ops verify_ops = {
    .name = "verify",
    .missing = verify_missing,
    .open_batch = verify_open_batch,
    .get = verify_get,
    .remove = verify_remove,
    .quarantine = verify_quarantine,
    .sweep = verify_sweep,
    .open_list = verify_open_list,
    .flush = verify_flush,
    .stats = verify_stats,
    .superblock_get = verify_superblock_get,
    .superblock_set = verify_superblock_set,
    .free = verify_free,
};

grv_status grv_block_store_verify_new(grv_block_store *inner, grv_block_store **ret_store,
                                      grv_error *error)
{
    verify_store *store = calloc(1, sizeof *store);
    if (!store) {
        grv_block_store_free(inner);
        return grv_error_set(error, GRV_LIMIT_EXCEEDED, "verify", "no memory for the layer");
    }
    grv_status status = grv_block_store_init(&store->base, &verify_ops, inner->capabilities, error);
    if (status) {
        grv_block_store_free(inner);
        free(store);
        return status;
    }
    store->inner = inner;
    *ret_store = &store->base;
    return GRV_OK;
}
