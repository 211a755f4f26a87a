/* SPDX-License-Identifier: Apache-2.0 */
/* The layer that counts what passes through a block store, for statistics and tests. */
#ifndef GRV_LAYER_METER_H
#define GRV_LAYER_METER_H

#include <graviton/port/block_store.h>

/* What is counted apart. */
typedef enum grv_meter_slot {
    GRV_METER_MISSING,
    GRV_METER_OPEN_BATCH,
    GRV_METER_PUT,
    GRV_METER_NOTE,
    GRV_METER_COMMIT,
    GRV_METER_GET,
    GRV_METER_REMOVE,
    GRV_METER_QUARANTINE,
    GRV_METER_SWEEP,
    GRV_METER_OPEN_LIST,
    GRV_METER_LIST,
    GRV_METER_FLUSH,
    GRV_METER_STATS,
    GRV_METER_SUPERBLOCK_GET,
    GRV_METER_SUPERBLOCK_SET,
    GRV_METER_SLOT_COUNT
} grv_meter_slot;

/* Figures of one slot, each a sum over its calls. Read and written atomically. */
typedef struct grv_meter_count {
    uint64_t calls;
    uint64_t errors; /* calls that did not end with GRV_OK */
    uint64_t blocks; /* keys or blocks named in the calls; of a list, those it showed */
    uint64_t bytes;  /* raw bytes of blocks put, of blocks that a get gave, and of notes */
    uint64_t ns;     /* time spent in the calls; of calls at once, all of it */
} grv_meter_count;

/* The caller's; zero-initialise it. It outlives the layer. Any thread may read it meanwhile. */
typedef struct grv_block_meter {
    grv_meter_count slots[GRV_METER_SLOT_COUNT];
} grv_block_meter;

/* A consistent enough copy of one slot's figures: each is exact, the five not of one moment. */
grv_meter_count grv_block_meter_read(const grv_block_meter *meter, grv_meter_slot slot);

/*
 * Puts the layer on `inner`. Nothing is changed but `meter`. Takes `inner` over: it is freed with
 * the layer, and at once where this fails (GRV_LIMIT_EXCEEDED without memory). Thread-safe.
 */
grv_status grv_block_store_meter_new(grv_block_store *inner, grv_block_meter *meter,
                                     grv_block_store **ret_store, grv_error *error);

#endif
