/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Opening a store, in three files: halves.c opens what is there of its halves, create.c makes
 * what is not, and open.c decides by what both halves say which of these it is to be.
 */
#ifndef GRV_STORE_OPENING_H
#define GRV_STORE_OPENING_H

#include "store/descriptor.h"
#include "store/handle.h"

/* What opening finds out. */
typedef struct grv_opening {
    const grv_call *call;
    const grv_store_config *config;
    grv_store *store;
    bool has_superblock;
    bool has_descriptor;
    grv_descriptor superblock;
    grv_descriptor descriptor;
} grv_opening;

/* How to open the metadata half. */
typedef enum grv_meta_mode {
    GRV_META_MODE_READ,
    GRV_META_MODE_WRITE,
    GRV_META_MODE_CREATE
} grv_meta_mode;

/* ---- halves.c ---- */

/* Where the halves are, for messages. */
const char *grv_opening_blocks_where(const grv_store *store);
const char *grv_opening_meta_where(const grv_store *store);

/* Opens the metadata half: its key-value store, where it has one, and its manifests. They stay NULL
 * where nothing is there, unless it is to be made. */
grv_status grv_opening_meta(const grv_opening *opening, grv_meta_mode mode, grv_error *error);

/* Opens the blocks; they stay NULL where none are there, unless `create`. A bucket is not made, so
 * one that is absent is an error. */
grv_status grv_opening_blocks(const grv_opening *opening, bool create, grv_error *error);

/* Reads the record of the blocks, where they have one. */
grv_status grv_opening_read_superblock(grv_opening *opening, grv_error *error);

/* Opens what is there of both halves, to read, and reads their records. */
grv_status grv_opening_halves(grv_opening *opening, grv_error *error);

/* Opens the metadata half again, to write. */
grv_status grv_opening_to_write(grv_opening *opening, grv_error *error);

/* ---- create.c ---- */

/* Makes the store, or ends its making where that was begun. GRV_UNAVAILABLE where another process
 * makes it at the same time. */
grv_status grv_opening_create(grv_opening *opening, grv_error *error);

/* Names the blocks as those of a store that is being made, or is ready. GRV_CONFLICT where somebody
 * else has named them meanwhile. */
grv_status grv_opening_write_superblock(grv_opening *opening, bool creating, grv_error *error);

/* What stood in the way of making the store was not there when this opening looked. With a
 * superblock, it is another process that makes the store: GRV_UNAVAILABLE; anything else is
 * GRV_CONFLICT and keeps its error. */
grv_status grv_opening_explain_conflict(grv_opening *opening, grv_error *error);

#endif
