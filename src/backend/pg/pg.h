/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the files of the PostgreSQL backend share. pool.c hands out connections, connect.c makes
 * them, run.c runs statements, values.c turns parameters and results into bytes, error.c turns
 * SQLSTATEs into statuses.
 *
 * No slot of a port keeps a connection between two calls, so a pool of one serves everything.
 */
#ifndef GRV_BACKEND_PG_PG_H
#define GRV_BACKEND_PG_PG_H

#include <graviton/backend/pg.h>
#include <graviton/bytes.h>
#include <libpq-fe.h>

/* ---- Statements ---- */

/* A statement that is prepared once a connection. The name is unique; both are static. */
typedef struct grv_pg_statement {
    const char *name;
    const char *sql;
} grv_pg_statement;

/* Most parameters of a statement. */
#define GRV_PG_PARAMS_MAX 16u

/*
 * Parameters of a statement, all in binary form. Bytes and texts are borrowed until the statement
 * has run; numbers are kept inside, so the struct stays where it is. Zero-initialise it. Adding
 * more than GRV_PG_PARAMS_MAX, or a value of 1 GiB or more, is a mistake in the program.
 */
typedef struct grv_pg_params {
    int count;
    const char *values[GRV_PG_PARAMS_MAX];
    int lengths[GRV_PG_PARAMS_MAX];
    uint8_t numbers[GRV_PG_PARAMS_MAX][8];
} grv_pg_params;

void grv_pg_add_null(grv_pg_params *params);
void grv_pg_add_bytes(grv_pg_params *params, grv_bytes bytes); /* bytea, uuid, built arrays */
void grv_pg_add_text(grv_pg_params *params, const char *text); /* text, enums */
void grv_pg_add_int64(grv_pg_params *params, int64_t number);  /* int8 */
void grv_pg_add_int32(grv_pg_params *params, int32_t number);  /* int4 */
void grv_pg_add_int16(grv_pg_params *params, int16_t number);  /* int2 */
void grv_pg_add_bool(grv_pg_params *params, bool truth);       /* bool */

/* The element type of an array. Numbers are PostgreSQL's object ids. */
typedef enum grv_pg_type {
    GRV_PG_BOOL = 16,
    GRV_PG_BYTEA = 17,
    GRV_PG_INT8 = 20,
    GRV_PG_INT2 = 21,
    GRV_PG_INT4 = 23,
    GRV_PG_TEXT = 25,
    GRV_PG_TIMESTAMPTZ = 1184,
    GRV_PG_UUID = 2950
} grv_pg_type;

/* A one-dimensional array in binary form, built in a buffer of its own. */
typedef struct grv_pg_array {
    grv_buffer buffer;
    uint32_t count;
} grv_pg_array;

/* Bytes an array may take. */
#define GRV_PG_ARRAY_MAX (512u << 20)

/* An empty array. GRV_LIMIT_EXCEEDED without memory. Ends with grv_pg_array_done, also then. */
grv_status grv_pg_array_init(grv_pg_array *array, grv_pg_type type, grv_error *error);
void grv_pg_array_done(grv_pg_array *array);
/* Adds an element: bytea, text or uuid, copied; or a number. GRV_LIMIT_EXCEEDED past the bound. */
grv_status grv_pg_array_add(grv_pg_array *array, grv_bytes element, grv_error *error);
grv_status grv_pg_array_add_int64(grv_pg_array *array, int64_t number, grv_error *error);
grv_status grv_pg_array_add_int32(grv_pg_array *array, int32_t number, grv_error *error);
grv_status grv_pg_array_add_int16(grv_pg_array *array, int16_t number, grv_error *error);
grv_status grv_pg_array_add_bool(grv_pg_array *array, bool truth, grv_error *error);
/* The array as a parameter; valid until it changes. */
grv_bytes grv_pg_array_bytes(grv_pg_array *array);
/* Adds a NULL. */
grv_status grv_pg_array_add_null(grv_pg_array *array, grv_error *error);

/* Where the bytes that begin with `prefix` end: writes the least bytes greater than all of them and
 * returns their number; where nothing is, `max` bytes of 0xff, greater than anything shorter. The
 * prefix has fewer than `max` bytes, ret_end room for `max`. */
size_t grv_pg_prefix_end(grv_bytes prefix, uint8_t *ret_end, size_t max);

/* ---- Results ---- */

/* Whether a cell is NULL; its bytes, valid until the result is cleared. */
bool grv_pg_is_null(const PGresult *result, int row, int column);
grv_bytes grv_pg_cell(const PGresult *result, int row, int column);
/* A number. GRV_CORRUPT for NULL or a cell of another size: the schema is not what it should be. */
grv_status grv_pg_cell_int64(const PGresult *result, int row, int column, int64_t *ret_number,
                             grv_error *error);
grv_status grv_pg_cell_int32(const PGresult *result, int row, int column, int32_t *ret_number,
                             grv_error *error);
grv_status grv_pg_cell_int16(const PGresult *result, int row, int column, int16_t *ret_number,
                             grv_error *error);
grv_status grv_pg_cell_bool(const PGresult *result, int row, int column, bool *ret_truth,
                            grv_error *error);

/* Clears results and sets them to NULL; NULL ones are allowed. */
void grv_pg_clear(PGresult *results[], size_t count);

/* ---- Running ---- */

/* A statement with its parameters; NULL for none. */
typedef struct grv_pg_step {
    const grv_pg_statement *statement;
    const grv_pg_params *params;
} grv_pg_step;

/* Most steps of one piece of work. */
#define GRV_PG_STEPS_MAX 64u

/*
 * A piece of work: steps in one transaction, sent together. One step alone is its own transaction.
 */
typedef struct grv_pg_work {
    const grv_pg_step *steps;
    size_t count; /* 1 to GRV_PG_STEPS_MAX */
    bool reads;   /* it changes nothing: run again whenever the connection is lost; several steps
                     see one snapshot */
    bool ordered; /* durable no later than any later work that isn't */
    /* Running it again after it was committed does no harm, and the caller can read the results of
     * the second time. Else a commit whose answer was lost is looked up, which costs a round trip
     * more each time. */
    bool repeatable;
    /* Further steps of a transaction that is too large to be held at once. They are asked for after
     * `steps` are done, one by one, until the step's statement is NULL; `first` begins anew, as
     * every try does. What a step borrows is left alone until the next is asked for; results are
     * dropped. NULL: there are none. */
    grv_status (*more)(void *context, bool first, grv_pg_step *ret_step, grv_error *error);
    void *context;
} grv_pg_work;

/*
 * Runs the work, again where a deadlock, a serialization failure or a lost connection made it
 * fail and time is left: until the call's deadline, or the handle's patience. On GRV_OK
 * ret_results[i] is the result of step i, to be cleared by the caller; on failure none is held and
 * nothing was changed, except for GRV_UNAVAILABLE and GRV_TIMEOUT of work that isn't `reads`: then
 * it may have been committed if the message says so. SQLSTATEs become statuses by
 * grv_pg_status_of; the schema's functions use class GV: GV001 GRV_CONFLICT, GV002 GRV_NOT_FOUND,
 * GV003 GRV_ALREADY_EXISTS, GV004 GRV_UNAVAILABLE.
 */
grv_status grv_pg_run(const grv_call *call, grv_pg *pg, const grv_pg_work *work,
                      PGresult *ret_results[], grv_error *error);

/* grv_pg_run of one step that reads. */
grv_status grv_pg_read(const grv_call *call, grv_pg *pg, const grv_pg_statement *statement,
                       const grv_pg_params *params, PGresult **ret_result, grv_error *error);

/* grv_pg_run of one repeatable step that writes, durably. */
grv_status grv_pg_write(const grv_call *call, grv_pg *pg, const grv_pg_statement *statement,
                        const grv_pg_params *params, PGresult **ret_result, grv_error *error);

/* ---- Connections, for what needs one of its own (sessions, migration, COPY) ---- */

typedef struct grv_pg_conn {
    grv_pg *pg;
    PGconn *native;
    uint64_t generation; /* of the pool when it was made */
    const grv_pg_statement **prepared;
    size_t prepared_count;
    size_t prepared_capacity;
    int64_t timeout_ms; /* the statement_timeout it has */
    bool broken;        /* its state is not known: to be closed */
} grv_pg_conn;

/* A connection of the pool; waits for one within the call's deadline. Give it back. */
grv_status grv_pg_take(const grv_call *call, grv_pg *pg, grv_pg_conn **ret_conn, grv_error *error);
void grv_pg_give(grv_pg_conn *conn);

/* A connection beside the pool, that does not count to its bound; ends with grv_pg_hang_up. */
grv_status grv_pg_dial(const grv_call *call, grv_pg *pg, grv_pg_conn **ret_conn, grv_error *error);
void grv_pg_hang_up(grv_pg_conn *conn);

/* Runs steps once on a connection, in a pipeline, without any transaction of its own: each result
 * is at ret_results. On failure the first error is set and a transaction that was open is rolled
 * back. */
grv_status grv_pg_send(const grv_call *call, grv_pg_conn *conn, const grv_pg_step *steps,
                       size_t count, PGresult *ret_results[], grv_error *error);

/* Runs SQL text of one or more commands once, without parameters; no result is kept. */
grv_status grv_pg_execute(const grv_call *call, grv_pg_conn *conn, const char *sql,
                          grv_error *error);

/* When work of this call must end: its deadline, or now and the handle's patience. */
uint64_t grv_pg_deadline(const grv_call *call, const grv_pg *pg);

/* ---- Errors ---- */

/* What an SQLSTATE means; GRV_INTERNAL for one that is not known. NULL or empty, as a lost
 * connection has: GRV_UNAVAILABLE. */
grv_status grv_pg_status_of(const char *sqlstate);

/* Whether work that failed so may be run again at once: it was rolled back. */
bool grv_pg_is_transient(const char *sqlstate);

/* Sets the error of a failed result; `doing` says what was tried. */
grv_status grv_pg_result_error(const PGresult *result, const char *doing, grv_error *error);

/* The same for a connection that failed or is lost. */
grv_status grv_pg_conn_error(const PGconn *native, const char *doing, grv_error *error);

#endif
