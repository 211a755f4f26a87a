/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Put: a stream becomes blocks and a manifest.
 *
 * The caller fills tiles. Each tile goes through four steps, as tasks of the store's pool:
 *   scan   in order: finds the cuts; what is left of the last block goes before the next tile
 *   hash   any order: the digests of the blocks of one run (a run is up to some blocks of a tile)
 *   whole  in order: the digest of the whole blob
 *   store  in order: which blocks are new, put those into the batch, append all to the manifest
 * At most one scan, one whole and one store are under way for a put, so their state needs no lock
 * of its own; `lock` guards who may go next (grv_ingest_pump) and is never held over work.
 *
 * Invariants: blocks are committed before the manifest is; the manifest's order is the stream's;
 * a tile's memory is used again only when its runs are stored, it is hashed, and the scan of the
 * next tile has taken its rest.
 */
#ifndef GRV_STORE_INGEST_H
#define GRV_STORE_INGEST_H

#include "core/chunk.h"
#include "store/cas.h"

typedef struct grv_ingest grv_ingest;

/* A stretch of the stream in memory: [headroom | fresh], the block begun before in the headroom's
 * end. */
typedef struct grv_ingest_tile {
    uint8_t *memory; /* NULL: the slot is free */
    size_t carry;    /* bytes in use before the fresh ones */
    size_t fresh;    /* bytes filled */
    bool last;
    unsigned users; /* steps that still need the memory */
} grv_ingest_tile;

/* Blocks of one tile that go through hash and store together. */
typedef struct grv_ingest_run {
    grv_task task;
    grv_ingest *put;
    grv_ingest_tile *tile;
    size_t count;
    bool hashed;
    uint32_t *sizes;
    grv_block *blocks;
} grv_ingest_run;

/* Runs a put has in flight: enough that hashing never waits for storing while tiles are there. */
#define GRV_INGEST_RUNS (2 * GRV_TILES_MAX)

struct grv_ingest {
    grv_blob_sink sink;
    grv_cas *cas;
    const grv_attributes *attributes; /* own copy below, or NULL */
    grv_attributes own_attributes;
    bool has_expected;
    grv_blob_key expected;
    void (*told)(void *context, uint64_t bytes, uint64_t duplicate_bytes); /* or NULL */
    void *told_context;
    grv_cancel cancel; /* what the tasks' calls carry: raised when the put is given up */

    pthread_mutex_t lock;
    pthread_cond_t progress;
    grv_call call;     /* what tasks pass on: the last caller's deadline and trace */
    grv_status failed; /* first failure of a task, described by `error` */
    grv_error error;
    unsigned running;       /* tasks queued or at work */
    bool in_line;           /* tasks run on the caller's thread: a blob of one tile */
    grv_task *in_line_head; /* those that wait for it */
    grv_task **in_line_tail;

    grv_ingest_tile tiles[GRV_TILES_MAX];
    uint8_t *free_memory[GRV_TILES_MAX];
    unsigned free_count;
    unsigned memory_count; /* tiles' memory held, free or not */
    size_t budget_taken;
    uint64_t fill_seq;  /* tile being filled, or next to be */
    uint64_t scan_seq;  /* next to scan; tiles below are scanned to their end */
    uint64_t whole_seq; /* next to hash whole */
    bool filling;       /* tiles[fill_seq] is with the caller */
    bool ended;         /* the last tile was handed over */

    grv_task scan_task;
    bool scan_busy;
    grv_cutter cutter;
    size_t scan_at; /* bytes of the current tile consumed, from its carry's start */
    const uint8_t *rest;
    size_t rest_size; /* the unfinished block at the end of the tile scanned last */
    grv_ingest_tile *rest_tile;

    grv_task whole_task;
    bool whole_busy;
    bool whole_skipped; /* one block at most: its digest is the blob's */
    grv_hasher hasher;
    uint64_t size;

    grv_ingest_run runs[GRV_INGEST_RUNS];
    uint64_t run_new;    /* next run to fill */
    uint64_t run_stored; /* next run to store */
    uint64_t blocks_scanned;

    grv_task store_task;
    bool store_busy;
    grv_block_batch *batch;
    uint32_t *batch_sizes; /* of the batch's blocks, by index */
    size_t batch_sizes_capacity;
    uint64_t batch_bytes;      /* the sum of those */
    uint64_t checkpoint_bytes; /* a batch of so many is committed; 0: none is for that reason */
    grv_manifest_put *manifest;
    grv_block_key *keys; /* of the blocks being stored */
    grv_block *fresh;
    bool *missing;
    grv_block_key first_key; /* of the blob's first block */
};

/* ---- ingest_steps.c ---- */

/* Sets the tasks up, of a put that is zero otherwise. */
void grv_ingest_tasks_init(grv_ingest *put);

/* Starts every step that can go on. The lock is held. */
void grv_ingest_pump(grv_ingest *put);

/* Whether all steps are through with the whole stream. The lock is held. */
bool grv_ingest_is_done(const grv_ingest *put);

/* The first failure, for the caller. The lock is held. */
grv_status grv_ingest_failure(const grv_ingest *put, grv_error *error);

/* Takes over what the caller's call says for the tasks that start from now on. The lock is held. */
void grv_ingest_adopt(grv_ingest *put, const grv_call *call);

/* Commits the open batch, if there is one, and counts what became of its blocks. No store step is
 * under way, or it is the caller. */
grv_status grv_ingest_commit_batch(const grv_call *call, grv_ingest *put, grv_error *error);

#endif
