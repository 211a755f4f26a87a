/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The layer that keeps blocks that were read on a local disk, for stores whose blocks are far away.
 *
 * What it promises:
 * - Only a get is ever answered from the cache, and only with bytes that hash to the key they were
 *   asked by. Bytes that do not are dropped, counted, and read from below again. Whether a block is
 *   there, and what there is, is always the store's to say.
 * - A get in the background (GRV_BACKGROUND: scrubbing, verifying, backup) neither reads from the
 *   cache nor writes to it: it is about the store itself.
 * - Only blocks that the store below gave as good are kept. Removing a block or setting it aside
 *   drops it from the cache too. A block that another process removed may still be served: a
 *   manifest decides whether anybody asks for it, and its bytes cannot be wrong.
 * - Nothing that happens to the cache fails a call: a full disk, a directory that cannot be written
 *   or read, an I/O error. The store below answers, and the figures tell.
 * - The cache is one file of a size that is fixed when it is made, so the bound holds at every
 *   moment and for all processes together. It is made with holes and grows as blocks come.
 *   Beside it lie a lock file (empty) and, after a crash while the file was made, a temporary one,
 *   which the next to open the cache removes.
 * - Nothing is synced. What a power cut tears fails its hash later; what a killed process leaves
 *   half done is never seen, because a block's index entry is written after the block.
 * - Memory: 64 KiB at most for each opened cache, and per call some bytes for each key.
 * - Any number of processes share a directory; caches of several stores may too, since a key names
 *   the same bytes everywhere. All use the size that the file has: one that asks for another size
 *   gets it only while no other has the cache open, and the cache is empty then.
 *
 * Eviction is by segments, in the manner of S3-FIFO (Yang, Zhang, Qiu, Yue, Vigfusson: "FIFO queues
 * are all you need for cache eviction", SOSP 2023): see cache_room.c.
 */
#ifndef GRV_LAYER_CACHE_H
#define GRV_LAYER_CACHE_H

#include <graviton/cache.h>
#include <graviton/port/block_store.h>

/* Bounds of a cache's size in bytes, and what it is where nobody says. */
#define GRV_CACHE_SIZE_MIN     (UINT64_C(1) << 20)
#define GRV_CACHE_SIZE_MAX     (UINT64_C(1) << 43)
#define GRV_CACHE_SIZE_DEFAULT (UINT64_C(1) << 30)

/* Which cache. The directory is borrowed for the call; it is made where it is missing. */
typedef struct grv_block_cache_config {
    const char *directory;
    uint64_t size_bytes; /* 0: GRV_CACHE_SIZE_DEFAULT */
} grv_block_cache_config;

/*
 * Puts the layer on `inner`, whose gets give verified bytes. A directory that cannot be used is no
 * failure: the layer then passes everything on. GRV_INVALID_ARGUMENT for a size out of bounds or an
 * empty name, GRV_LIMIT_EXCEEDED without memory. Takes `inner` over: it is freed with the layer,
 * and at once where this fails. Thread-safe as `inner` is.
 */
grv_status grv_block_store_cache_new(grv_block_store *inner, const grv_block_cache_config *config,
                                     grv_block_store **ret_store, grv_error *error);

/* The figures of a cache, each exact, not all of one moment; `cache` is what new gave. Fills
 * `ret_failure` (NULL allowed) with the first failure of its files; status GRV_OK: none. */
void grv_block_store_cache_read(grv_block_store *cache, grv_cache_figures *ret_figures,
                                grv_error *ret_failure);

#endif
