/* SPDX-License-Identifier: Apache-2.0 */
/* What a read cache, on disk or in memory, has done: figures for statistics. */
#ifndef GRAVITON_CACHE_H
#define GRAVITON_CACHE_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/*
 * Figures of one opened cache; but for the last three, sums since it was opened, of this handle
 * alone: other processes that share the directory count for themselves.
 */
typedef struct grv_cache_figures {
    uint64_t hits; /* blocks served from the cache, and their bytes */
    uint64_t hit_bytes;
    uint64_t misses; /* blocks asked of the store below, and their bytes */
    uint64_t miss_bytes;
    uint64_t bypassed; /* blocks of background calls, which read the store itself */
    uint64_t kept;     /* blocks written to the cache, those moved up in it among them */
    uint64_t kept_bytes;
    uint64_t evictions;     /* segments, in memory blocks, given up for newer blocks */
    uint64_t evicted_bytes; /* what was in them */
    uint64_t corrupt;       /* cached blocks that were wrong or unreadable: read from below again */
    uint64_t skipped;       /* blocks not written: too large, no turn at the lock, a pause */
    uint64_t failures;      /* calls on the cache's files that failed */
    uint64_t disk_bytes;    /* what the cache's file takes now, all processes' blocks */
    uint64_t memory_bytes;  /* what a cache in memory takes now */
    uint64_t size_bytes;    /* the bound of that in use; 0: there is no cache file */
} grv_cache_figures;

#ifdef __cplusplus
}
#endif

#endif
