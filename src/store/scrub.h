/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The inside of a scrub: scrub.c reads and judges blocks, scrub_note.c keeps its place,
 * scrub_names.c finds what is missing and which blobs name what is bad.
 */
#ifndef GRV_STORE_SCRUB_H
#define GRV_STORE_SCRUB_H

#include <graviton/maintain.h>

/* The name of the note about a scrub's place. */
#define GRV_SCRUB_NOTE "scrub"
/* Bad blocks kept until the blobs that name them are looked for. */
#define GRV_SCRUB_BAD_MAX 65536u

/* A bad block, and the last blob that was told to name it (0: none), by a count of blobs. */
typedef struct grv_scrub_bad {
    grv_block_key key;
    uint64_t blob;
} grv_scrub_bad;

/* One run. */
typedef struct grv_scrub_run {
    const grv_call *call; /* in the background */
    grv_store *store;
    const grv_scrub_config *config;
    grv_scrub_report report;
    bool has_after;
    grv_block_key after; /* the last block read */
    bool read_all;       /* every block was read: what is missing is next */
    grv_buffer note;     /* as it is stored; empty: there is none */
    grv_scrub_bad *bad;
    size_t bad_count;
    size_t bad_sorted; /* the first so many are in order */
    size_t bad_capacity;
} grv_scrub_run;

/* ---- scrub_note.c ---- */

/* Takes the run to where an earlier one stopped; leaves it as it is where there is no note, or it
 * is not to count. GRV_CORRUPT for one that makes no sense. */
grv_status grv_scrub_note_load(grv_scrub_run *run, grv_error *error);

/* Notes where the run is; with `done`, that there is nothing to go on with. Never given up midway:
 * it goes without the run's call. GRV_CONFLICT where another scrub has changed the note. */
grv_status grv_scrub_note_save(grv_scrub_run *run, bool done, grv_error *error);

/* ---- scrub_names.c ---- */

/* Tells of a bad block, and keeps it until its blobs are looked for. */
grv_status grv_scrub_tell(grv_scrub_run *run, const grv_scrub_finding *finding, grv_error *error);

/* Tells which blobs name the blocks kept, and forgets those. */
grv_status grv_scrub_tell_names(grv_scrub_run *run, grv_error *error);

/* Tells which blocks are named and not there, apart from those that are kept already. */
grv_status grv_scrub_find_missing(grv_scrub_run *run, grv_error *error);

#endif
