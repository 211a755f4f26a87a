/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Blocks set aside. A frame in quarantine is the value of the key `quarantine/` and the block key's
 * byte form in the namespace `meta`, moved there in one batch with the deletion of the block's two
 * rows. A put leaves no leftovers here: what it has written are whole blocks.
 */
#include "backend/kv/block_store.h"

#include <string.h>

static const char aside_lead[] = "quarantine/";
#define ASIDE_LEAD_SIZE (sizeof aside_lead - 1)
#define ASIDE_KEY_SIZE  (ASIDE_LEAD_SIZE + GRV_KEY_BYTES_SIZE)

/* Copies looked at in one round of a sweep. */
#define SWEEP_KEYS 64u

static void aside_key_encode(const grv_block_key *key, uint8_t ret_bytes[ASIDE_KEY_SIZE])
{
    memcpy(ret_bytes, aside_lead, ASIDE_LEAD_SIZE);
    grv_block_key_encode(key, ret_bytes + ASIDE_LEAD_SIZE);
}

/* ---- Quarantine ---- */

/* Moves one block. A frame that the key-value store itself finds damaged cannot be kept. */
static grv_status aside_move(const grv_call *call, grv_kv *kv, const grv_block_key *key,
                             grv_durability durability, bool *ret_moved, grv_error *error)
{
    uint8_t aside[ASIDE_KEY_SIZE];
    aside_key_encode(key, aside);
    const grv_bytes block = {aside + ASIDE_LEAD_SIZE, GRV_KEY_BYTES_SIZE};
    grv_value frame = {0};
    grv_status status = grv_kv_get(call, kv, GRV_NS_BLOCK, block, &frame, error);
    bool kept = status == GRV_OK;
    bool no_info = false;
    if (status == GRV_NOT_FOUND || status == GRV_CORRUPT) {
        bool gone = status == GRV_NOT_FOUND;
        status = grv_kv_missing(call, kv, GRV_NS_BLOCK_INFO, &block, 1, &no_info, error);
        no_info = no_info && gone;
    }
    if (status || no_info) {
        *ret_moved = false;
        return status;
    }
    const grv_kv_op ops[3] = {
        {.kind = GRV_KV_DELETE, .ns = GRV_NS_BLOCK, .key = block},
        {.kind = GRV_KV_DELETE, .ns = GRV_NS_BLOCK_INFO, .key = block},
        {.kind = GRV_KV_PUT,
         .ns = GRV_NS_META,
         .key = grv_bytes_of(aside, sizeof aside),
         .value = frame.bytes},
    };
    const grv_kv_batch batch = {.ops = ops, .op_count = kept ? 3 : 2, .durability = durability};
    status = grv_kv_write(call, kv, &batch, error);
    grv_value_done(&frame);
    if (!status) {
        *ret_moved = true;
    }
    return status;
}

grv_status grv_kv_blocks_quarantine(const grv_call *call, grv_block_store *store,
                                    const grv_block_key keys[], size_t count, bool ret_moved[],
                                    grv_error *error)
{
    grv_kv *kv = ((grv_kv_blocks *)store)->kv;
    for (size_t i = 0; i < count; i++) {
        grv_status status = grv_call_check(call, "kv", error);
        if (!status) {
            status = aside_move(call, kv, &keys[i], GRV_ORDERED, &ret_moved[i], error);
        }
        if (status) {
            char text[GRV_KEY_TEXT_SIZE];
            grv_block_key_print(&keys[i], text);
            grv_error_prefix(error, "block %s", text);
            return status;
        }
    }
    return grv_kv_flush(call, kv, error);
}

/* ---- Sweep ---- */

/* Copies set aside: their keys, and what they take. */
typedef struct sweep_round {
    size_t count;
    uint8_t keys[SWEEP_KEYS][ASIDE_KEY_SIZE];
    uint64_t sizes[SWEEP_KEYS];
} sweep_round;

/* The next copies of the scan. Rows whose key is no block's are nobody's, and stay. */
static grv_status sweep_read(const grv_call *call, grv_kv_cursor *cursor, sweep_round *round,
                             grv_error *error)
{
    round->count = 0;
    while (round->count < SWEEP_KEYS) {
        grv_kv_item item;
        grv_status status = grv_kv_cursor_next(call, cursor, &item, error);
        if (status) {
            return status == GRV_NOT_FOUND ? GRV_OK : status;
        }
        if (item.key.size == ASIDE_KEY_SIZE) {
            memcpy(round->keys[round->count], item.key.data, ASIDE_KEY_SIZE);
            round->sizes[round->count++] = item.value.size;
        }
    }
    return GRV_OK;
}

/* Counts the copies whose block is there again, and removes them. */
static grv_status sweep_healed(const grv_call *call, grv_kv *kv, const sweep_round *round,
                               bool dry_run, grv_block_sweep *sweep, grv_error *error)
{
    grv_bytes blocks[SWEEP_KEYS];
    bool missing[SWEEP_KEYS];
    grv_kv_op ops[SWEEP_KEYS];
    size_t op_count = 0;
    for (size_t i = 0; i < round->count; i++) {
        blocks[i] = grv_bytes_of(round->keys[i] + ASIDE_LEAD_SIZE, GRV_KEY_BYTES_SIZE);
    }
    grv_status status =
        grv_kv_missing(call, kv, GRV_NS_BLOCK_INFO, blocks, round->count, missing, error);
    for (size_t i = 0; i < round->count && !status; i++) {
        if (!missing[i]) {
            sweep->aside++;
            sweep->aside_bytes += round->sizes[i];
            ops[op_count++] = (grv_kv_op){.kind = GRV_KV_DELETE,
                                          .ns = GRV_NS_META,
                                          .key = grv_bytes_of(round->keys[i], ASIDE_KEY_SIZE)};
        }
    }
    if (status || dry_run || op_count == 0) {
        return status;
    }
    const grv_kv_batch batch = {
        .ops = ops, .op_count = op_count, .durability = GRV_DURABLE, .frees = true};
    return grv_kv_write(call, kv, &batch, error);
}

grv_status grv_kv_blocks_sweep(const grv_call *call, grv_block_store *store, bool dry_run,
                               grv_block_sweep *ret_sweep, grv_error *error)
{
    grv_kv *kv = ((grv_kv_blocks *)store)->kv;
    grv_block_sweep sweep = {0};
    grv_kv_cursor *cursor = NULL;
    const grv_kv_scan scan = {.ns = GRV_NS_META,
                              .prefix = grv_bytes_of(aside_lead, ASIDE_LEAD_SIZE)};
    grv_status status = grv_kv_open_scan(call, kv, &scan, &cursor, error);
    sweep_round round = {.count = 1};
    while (!status && round.count > 0) {
        status = sweep_read(call, cursor, &round, error);
        if (!status && round.count > 0) {
            status = sweep_healed(call, kv, &round, dry_run, &sweep, error);
        }
    }
    grv_kv_cursor_free(cursor);
    if (!status) {
        *ret_sweep = sweep;
    }
    return status;
}
