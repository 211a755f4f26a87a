/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The two advisory locks that sessions go by. Safety lies in the first alone; the second decides
 * who gets there, and when.
 *
 *   the session lock   shared: may write; exclusive: has the store to himself
 *   the turnstile      exclusive: wants the session lock exclusively, or has it. Whoever comes anew
 *                      goes through it, so that none come after one who waits
 *
 * Both end with their connection.
 */
#ifndef GRV_BACKEND_PG_SESSION_LOCKS_H
#define GRV_BACKEND_PG_SESSION_LOCKS_H

#include "backend/pg/pg.h"

/* How often, and how far apart, what ought to be over in a moment is tried: the server takes a
 * while to notice that a process has died. */
#define GRV_PG_LOCK_TRIES   10u
#define GRV_PG_LOCK_WAIT_NS UINT64_C(50000000)

/* What can be done about the locks, at once or not at all. */
typedef enum grv_pg_lock {
    GRV_PG_LOCK_ENTER = 0,     /* the session lock, shared, through the turnstile */
    GRV_PG_LOCK_RESUME = 1,    /* the same, past the turnstile */
    GRV_PG_LOCK_TURNSTILE = 2, /* the turnstile */
    GRV_PG_LOCK_ALONE = 3,     /* the session lock, exclusively */
    GRV_PG_LOCK_ADMIT = 4,     /* both exclusive ones are given back */
    GRV_PG_LOCK_PASS = 5       /* the turnstile is given back */
} grv_pg_lock;

/* Runs it on a connection: *ret_done says whether it was done. */
grv_status grv_pg_lock_try(const grv_call *call, grv_pg_conn *conn, grv_pg_lock lock,
                           bool *ret_done, grv_error *error);

/* Whether somebody else stands in the turnstile. On any connection, for a moment. */
grv_status grv_pg_lock_wanted(const grv_call *call, grv_pg *pg, bool *ret_wanted, grv_error *error);

/* Somebody who holds a lock. */
typedef struct grv_pg_holder {
    bool found;
    bool gives_way;
    char who[200]; /* "HOST pid N (COMMAND)" */
} grv_pg_holder;

/* Who is in the way of having the store to oneself: one who gives no way, if there is any. */
grv_status grv_pg_lock_in_way(const grv_call *call, grv_pg_conn *conn, grv_pg_holder *ret_holder,
                              grv_error *error);

/* GRV_UNAVAILABLE: `what`, and who has the store to himself or wants it, or else who writes. */
grv_status grv_pg_lock_refuse(const grv_call *call, grv_pg_conn *conn, const char *what,
                              grv_error *error);

/* Takes the session lock exclusively on a connection, for its lifetime, without asking anybody to
 * give way. GRV_UNAVAILABLE names those in the way. For migrations. */
grv_status grv_pg_exclude(const grv_call *call, grv_pg_conn *conn, grv_error *error);

#endif
