/* SPDX-License-Identifier: Apache-2.0 */
/* Shared by the parts of the block store over a key-value store: store, batch and sweep. */
#ifndef GRV_BACKEND_KV_BLOCK_STORE_H
#define GRV_BACKEND_KV_BLOCK_STORE_H

#include "core/frame.h"

#include <graviton/backend/kv.h>
#include <pthread.h>

/* Keys asked for in one round. */
#define GRV_KV_BLOCK_ROUND 128u
/* Bytes of a block_info value: the frame's size, little-endian. */
#define GRV_KV_BLOCK_INFO_SIZE 4u
/* Coders kept for the next call; more are in use only while more threads are. */
#define GRV_KV_BLOCK_CODERS 16u

typedef struct grv_kv_blocks {
    grv_block_store base;
    grv_kv *kv; /* borrowed */
    pthread_mutex_t lock;
    grv_frame_coder coders[GRV_KV_BLOCK_CODERS]; /* idle ones, under the lock */
    size_t coder_count;
} grv_kv_blocks;

/* Keys of one round in the form the key-value store takes. */
typedef struct grv_kv_block_keys {
    uint8_t encoded[GRV_KV_BLOCK_ROUND][GRV_KEY_BYTES_SIZE];
    grv_bytes views[GRV_KV_BLOCK_ROUND];
} grv_kv_block_keys;

/*
 * Encodes `count` keys, 1 to GRV_KV_BLOCK_ROUND, that lie `stride` bytes apart. The struct stays
 * where it is: views point into it.
 */
void grv_kv_block_keys_fill(grv_kv_block_keys *keys, const grv_block_key *first, size_t stride,
                            size_t count);

/* A coder for one thread's use, idle or new, and back again. */
grv_frame_coder grv_kv_blocks_coder_take(grv_kv_blocks *blocks);
void grv_kv_blocks_coder_give(grv_kv_blocks *blocks, grv_frame_coder coder);

/* Slots that have files of their own. GRV_LIMIT_EXCEEDED without memory. */
grv_status grv_kv_blocks_open_batch(const grv_call *call, grv_block_store *store,
                                    grv_block_batch **ret_batch, grv_error *error);
grv_status grv_kv_blocks_quarantine(const grv_call *call, grv_block_store *store,
                                    const grv_block_key keys[], size_t count, bool ret_moved[],
                                    grv_error *error);
grv_status grv_kv_blocks_sweep(const grv_call *call, grv_block_store *store, bool dry_run,
                               grv_block_sweep *ret_sweep, grv_error *error);

#endif
