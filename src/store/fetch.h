/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Some consecutive blocks of a blob, read together: into one buffer, or, where the store keeps
 * blocks in memory, found there and read into blocks of their own, which are kept.
 */
#ifndef GRV_STORE_FETCH_H
#define GRV_STORE_FETCH_H

#include "store/memory_cache.h"

#include <graviton/port/block_store.h>

/* Blocks one fetch has at most. */
#define GRV_FETCH_BLOCKS 512u

/* A fetch in its owner's storage. Zero-initialise it. Once it is read, any thread may view it. */
typedef struct grv_fetch {
    grv_memory_cache *memory; /* NULL: there is none, and `buffer` has room for `size` bytes */
    size_t capacity;          /* blocks that it may have */
    grv_block_key *keys;      /* so many of each */
    grv_span *spans;
    grv_status *statuses;
    grv_memory_block **blocks; /* with memory: those that are held */
    size_t held;               /* of them */
    size_t count;
    uint8_t *buffer;
    size_t size;     /* bytes of the blocks together */
    uint64_t offset; /* of the first block in the blob */
} grv_fetch;

/* Where a reader of a fetch is: at this block, which begins at this byte. Zero: at the begin. */
typedef struct grv_fetch_cursor {
    size_t block;
    size_t at;
} grv_fetch_cursor;

/* Makes sure that there are arrays; at the first time they have `capacity` blocks, at most
 * GRV_FETCH_BLOCKS. GRV_LIMIT_EXCEEDED without memory. */
grv_status grv_fetch_arrays(grv_fetch *fetch, grv_memory_cache *memory, size_t capacity,
                            grv_error *error);

/* Begins anew, without blocks, at an offset of the blob; gives up what was held. */
void grv_fetch_begin(grv_fetch *fetch, uint64_t offset);

/* Adds a block; there are fewer than its capacity. */
void grv_fetch_add(grv_fetch *fetch, const grv_block_key *key);

/* Reads the blocks; fetch->statuses and errors as of the port's get. Besides GRV_UNAVAILABLE for a
 * call with `no_wait` where not all of them lie in memory, and GRV_LIMIT_EXCEEDED without memory;
 * then blocks that were not read have that status or GRV_UNAVAILABLE. */
grv_status grv_fetch_get(const grv_call *call, grv_fetch *fetch, grv_block_store *store,
                         grv_error *error);

/* What was read, from byte `at` (< `end` <= size) on, as far as it lies together; valid until the
 * fetch begins anew. `at` never lies before what a cursor was used for. */
grv_bytes grv_fetch_view(const grv_fetch *fetch, size_t at, size_t end, grv_fetch_cursor *cursor);

/* Gives up what is held. The buffer is its owner's. */
void grv_fetch_drop(grv_fetch *fetch);

/* Ends it; the buffer is its owner's. */
void grv_fetch_done(grv_fetch *fetch);

#endif
