/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the files of the manifest repository over PostgreSQL share. manifest_repo.c has what
 * concerns whole blobs, manifest_put.c writes manifests, manifest_join.c commits small ones
 * together, manifest_numbers.c draws their sequences, manifest_refs.c reads them, manifest_list.c
 * lists blobs, manifest_sweep.c removes what no root names, manifest_state.c has the descriptor and
 * the small named records.
 *
 * A blob is there exactly when its row in graviton.blob is. Rows hold the very bytes of roots and
 * pages, and these are what is believed: columns only find them. The schema refuses to change them.
 */
#ifndef GRV_BACKEND_PG_MANIFEST_REPO_H
#define GRV_BACKEND_PG_MANIFEST_REPO_H

#include "backend/pg/pg.h"
#include "backend/pg/session.h"
#include "core/manifest.h"

#include <pthread.h>

/* ---- Sequences ---- */

/* Most numbers that wait or are in use at once, and how many of those drawn are remembered. */
#define GRV_PG_NUMBERS_MAX  64u
#define GRV_PG_NUMBERS_PAST 128u

/*
 * Numbers drawn from graviton.blob_sequence ahead of the commits that will use them: each commit
 * brings some for later ones, which so need no round trip for them. Thread-safe.
 */
typedef struct grv_pg_numbers {
    pthread_mutex_t lock;
    int64_t committed; /* the highest of those whose commit has returned */
    int64_t highest;   /* of all that were drawn here */
    unsigned count;
    unsigned taken;
    unsigned asked; /* to be brought by commits under way */
    struct grv_pg_number {
        int64_t number;
        bool taken;
    } all[GRV_PG_NUMBERS_MAX];
    int64_t past[GRV_PG_NUMBERS_PAST]; /* the last that were drawn, in a ring; 0: none */
    unsigned past_next;
} grv_pg_numbers;

/* What a commit took. */
typedef struct grv_pg_ticket {
    int64_t number;  /* 0: there was none */
    unsigned wanted; /* numbers to bring back */
} grv_pg_ticket;

void grv_pg_numbers_init(grv_pg_numbers *numbers);
void grv_pg_numbers_done(grv_pg_numbers *numbers);
/* Takes the lowest that is still of use: higher than any whose commit has returned in this process.
 * Ends with grv_pg_numbers_return. */
grv_pg_ticket grv_pg_numbers_take(grv_pg_numbers *numbers);
/* Adds to an array (int8) the higher numbers that were drawn here: their commits may pass the
 * ticket's, since none of them had returned when it was taken. *ret_highest is the highest number
 * up to which all from the ticket's on were drawn here: where nobody has drawn a higher one, there
 * is no other's commit to look for. */
grv_status grv_pg_numbers_higher(grv_pg_numbers *numbers, const grv_pg_ticket *ticket,
                                 grv_pg_array *array, int64_t *ret_highest, grv_error *error);
/* Whether a number was drawn here, as far as is remembered. */
bool grv_pg_numbers_own(grv_pg_numbers *numbers, int64_t number);
/* Adds numbers that were drawn for the ticket: big-endian, 8 bytes each, ascending. Where it was
 * found too low, or there is none, it becomes the first of these, those below it are forgotten,
 * and `wanted` says how many more to bring. */
void grv_pg_numbers_add(grv_pg_numbers *numbers, grv_pg_ticket *ticket, bool too_low,
                        grv_bytes drawn);
/* The commit of a ticket has ended: `committed` is the number that is visible now, or 0. */
void grv_pg_numbers_return(grv_pg_numbers *numbers, const grv_pg_ticket *ticket, int64_t committed);

/* ---- Commits that run at once ---- */

/* The row of a root, as it is to be inserted; all is borrowed. */
typedef struct grv_pg_root_row {
    const grv_blob_info *info; /* its sequence is the ticket's number */
    const uint8_t *id;         /* of the manifest */
    const uint8_t *session_id; /* NULL: none */
    grv_bytes root;
    unsigned depth;
    grv_pg_ticket *ticket;
    bool ahead; /* the ticket's number was drawn before the commit began */
} grv_pg_root_row;

/* Those that wait for others to end. */
typedef struct grv_pg_joins {
    pthread_mutex_t lock;
    struct grv_pg_joiner *first;
    struct grv_pg_joiner **end; /* where the next one hangs on */
    unsigned waiting;           /* how many these are */
    unsigned last_count;        /* rows of the last statement that was begun */
    bool busy;                  /* one is under way, or about to be */
} grv_pg_joins;

void grv_pg_joins_init(grv_pg_joins *joins);
void grv_pg_joins_done(grv_pg_joins *joins);

/* ---- The repository ---- */

typedef struct grv_manifest_repo_pg {
    grv_manifest_repo base;
    grv_pg *pg;
    grv_pg_session *session; /* NULL: none */
    grv_manifest_limits limits;
    grv_pg_numbers numbers;
    grv_pg_joins joins;
} grv_manifest_repo_pg;

/*
 * Stores a root where nothing is in the way, durably, perhaps in one statement with those of other
 * threads. Where *ret_stored is false something is, or it is not known; whether this row is there
 * all the same is to be looked up. A failure is of this row's own call, or of all: the root may be
 * there nevertheless.
 */
grv_status grv_pg_join(const grv_call *call, grv_manifest_repo_pg *repo, const grv_pg_root_row *row,
                       bool *ret_stored, grv_error *error);

/* Adds the row and what guards it as 14 parameters: the key (1 to 3), the other columns (4 to 9),
 * the session (10), what guards a number that was drawn ahead (11: it was; 12: higher numbers that
 * do not count), how many more to draw (13), and the highest number that was drawn by this process
 * (14). `others` backs one of them; it ends with grv_pg_array_done, also after a failure. */
grv_status grv_pg_add_root(grv_pg_params *params, grv_manifest_repo_pg *repo,
                           const grv_pg_root_row *row, grv_pg_array *others, grv_error *error);

/* As grv_manifest_repo_pg_new, with other limits for what is written. For tests. */
grv_status grv_manifest_repo_pg_new_limited(grv_pg *pg, grv_pg_session *session,
                                            const grv_manifest_limits *limits,
                                            grv_manifest_repo **ret_repo, grv_error *error);

/* The repository of a base; it must be one of these. */
grv_manifest_repo_pg *grv_manifest_repo_pg_of(grv_manifest_repo *base);

/* Adds an algorithm as a parameter. */
void grv_pg_add_hash(grv_pg_params *params, grv_hash hash);

/* A time as PostgreSQL counts it, from nanoseconds since 1970. */
int64_t grv_pg_timestamp_of(uint64_t time_ns);

/* Adds a blob's key as three parameters: alg, hash_bytes, byte_length. */
void grv_pg_add_blob(grv_pg_params *params, const grv_blob_key *key);

/* The key in three columns of a row, from `column` on. GRV_CORRUPT for what is none. */
grv_status grv_pg_cell_blob(const PGresult *result, int row, int column, grv_blob_key *ret_key,
                            grv_error *error);

/* What reads a root asks for at most so many of its bytes: more are too many. */
#define GRV_PG_ROOT_COLUMN "pg_catalog.substring(root, 1, 655545)"
_Static_assert(GRV_MANIFEST_ROOT_BYTES_MAX == 655544u, "the largest root");

/* Reads and decodes a blob's root, which borrows *ret_result; the caller clears that. GRV_NOT_FOUND
 * and any other failure names the blob. */
grv_status grv_manifest_repo_pg_root(const grv_call *call, grv_manifest_repo_pg *repo,
                                     const grv_blob_key *key, PGresult **ret_result,
                                     grv_manifest_root *ret_root, grv_error *error);

/* Slots of the repository that have files of their own. */
grv_status grv_manifest_repo_pg_open_put(const grv_call *call, grv_manifest_repo *base,
                                         const grv_manifest_plan *plan, grv_manifest_put **ret_put,
                                         grv_error *error);
grv_status grv_manifest_repo_pg_open_refs(const grv_call *call, grv_manifest_repo *base,
                                          const grv_blob_key *key, uint64_t offset,
                                          grv_ref_cursor **ret_cursor, grv_error *error);
grv_status grv_manifest_repo_pg_open_list(const grv_call *call, grv_manifest_repo *base,
                                          const grv_blob_list *wanted, grv_blob_cursor **ret_cursor,
                                          grv_error *error);
grv_status grv_manifest_repo_pg_descriptor_get(const grv_call *call, grv_manifest_repo *base,
                                               grv_buffer *out, grv_error *error);
grv_status grv_manifest_repo_pg_descriptor_set(const grv_call *call, grv_manifest_repo *base,
                                               const grv_bytes *expected, grv_bytes descriptor,
                                               grv_error *error);
grv_status grv_manifest_repo_pg_state_get(const grv_call *call, grv_manifest_repo *base,
                                          const char *name, grv_buffer *out, grv_error *error);
grv_status grv_manifest_repo_pg_state_set(const grv_call *call, grv_manifest_repo *base,
                                          const char *name, const grv_bytes *expected,
                                          grv_bytes state, grv_error *error);
grv_status grv_manifest_repo_pg_sweep(const grv_call *call, grv_manifest_repo *base, bool dry_run,
                                      grv_manifest_sweep *ret_sweep, grv_error *error);

#endif
