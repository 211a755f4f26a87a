/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Blocks that were read, kept in memory and given out without a copy.
 *
 * What it promises: a block is only ever found under the key that its bytes were verified against,
 * and its bytes never change from then on, so nothing has to be invalidated. Whether a block is in
 * the store is not asked here: a manifest decides who asks for what. The bound holds for what the
 * cache keeps; a block that somebody still reads when it is evicted lives on until he gives it
 * back, as a part of that reader's own share of memory.
 */
#ifndef GRV_STORE_MEMORY_CACHE_H
#define GRV_STORE_MEMORY_CACHE_H

#include <graviton/cache.h>
#include <graviton/error.h>
#include <graviton/key.h>
#include <stdatomic.h>

/* Bounds of a cache's size in bytes. */
#define GRV_MEMORY_CACHE_MIN (UINT64_C(1) << 20)
#define GRV_MEMORY_CACHE_MAX (UINT64_C(1) << 43)

typedef struct grv_memory_cache grv_memory_cache;

/* A block in memory. Whoever holds it reads `key` and `data`; the rest is the cache's. */
typedef struct grv_memory_block {
    grv_block_key key;
    _Atomic uint32_t holders;
    uint8_t wanted; /* how often since it came to its place in the queue, 3 at most */
    struct grv_memory_block *chained; /* next in the table */
    struct grv_memory_block *newer;   /* next in the queue */
    uint8_t data[];                   /* key.size bytes */
} grv_memory_block;

/* Makes a cache of `size_bytes` at most, the blocks' own overhead counted. GRV_INVALID_ARGUMENT for
 * a size out of bounds, GRV_LIMIT_EXCEEDED without memory. */
grv_status grv_memory_cache_new(uint64_t size_bytes, grv_memory_cache **ret_cache,
                                grv_error *error);

/* Nobody uses the cache any more; blocks that are held stay. NULL is allowed. */
void grv_memory_cache_free(grv_memory_cache *cache);

/* The block of that key, held for the caller and counted as wanted; NULL where it is not kept.
 * Thread-safe. */
grv_memory_block *grv_memory_cache_find(grv_memory_cache *cache, const grv_block_key *key);

/* The same without counting, and NULL also where the caller would have to wait for others. */
grv_memory_block *grv_memory_cache_try(grv_memory_cache *cache, const grv_block_key *key);

/* Counts a block that was so found as wanted. Thread-safe. */
void grv_memory_cache_hit(grv_memory_cache *cache, grv_memory_block *block);

/* A block of that key for the caller to fill: held by him, and by nobody to be found yet. NULL
 * without memory. */
grv_memory_block *grv_memory_block_new(const grv_block_key *key);

/* Keeps a block whose bytes were verified, unless one of its key is kept, or it is too large. The
 * caller holds it as before, and nobody changes its bytes any more. Thread-safe. */
void grv_memory_cache_keep(grv_memory_cache *cache, grv_memory_block *block);

/* Ends the caller's hold. NULL is allowed. Thread-safe. */
void grv_memory_block_give(grv_memory_block *block);

/* Counts blocks that were not found and are asked of the store. Thread-safe. */
void grv_memory_cache_miss(grv_memory_cache *cache, const grv_block_key keys[], size_t count);

/* Counts blocks that were asked of the store itself. Thread-safe. */
void grv_memory_cache_bypass(grv_memory_cache *cache, size_t count);

/* The figures, each exact, not all of one moment. Thread-safe. */
void grv_memory_cache_read(grv_memory_cache *cache, grv_cache_figures *ret_figures);

#endif
