/* SPDX-License-Identifier: Apache-2.0 */
/* The statements on the locks of sessions, and who holds them. */
#include "backend/pg/session_locks.h"

#include "os/clock.h"

#include <stdio.h>

/* Class "grvt", objects 1 and 2. */
#define SESSION_LOCK "1735554676, 1"
#define TURNSTILE    "1735554676, 2"

/* Of an advisory lock in this database, in pg_locks. */
#define GRANTED                                                                                    \
    "l.locktype = 'advisory' AND l.classid = 1735554676 AND l.granted AND l.database = (SELECT "   \
    "oid FROM pg_catalog.pg_database WHERE datname = pg_catalog.current_database()) AND l.pid <> " \
    "pg_catalog.pg_backend_pid()"
#define WHO "s.host || ' pid ' || s.pid || ' (' || s.command || ')'"

/* The turnstile is passed by having it for the length of a statement. CASE keeps the order. */
static const grv_pg_statement statements[] = {
    [GRV_PG_LOCK_ENTER] = {"session_enter",
                           "SELECT CASE WHEN pg_catalog.pg_try_advisory_xact_lock_shared(" TURNSTILE
                           ") THEN pg_catalog.pg_try_advisory_lock_shared(" SESSION_LOCK
                           ") ELSE false END"},
    [GRV_PG_LOCK_RESUME] = {"session_lock",
                            "SELECT pg_catalog.pg_try_advisory_lock_shared(" SESSION_LOCK ")"},
    [GRV_PG_LOCK_TURNSTILE] = {"session_turnstile",
                               "SELECT pg_catalog.pg_try_advisory_lock(" TURNSTILE ")"},
    [GRV_PG_LOCK_ALONE] = {"session_exclude",
                           "SELECT pg_catalog.pg_try_advisory_lock(" SESSION_LOCK ")"},
    [GRV_PG_LOCK_ADMIT] = {"session_admit",
                           "SELECT CASE WHEN pg_catalog.pg_advisory_unlock(" SESSION_LOCK
                           ") THEN pg_catalog.pg_advisory_unlock(" TURNSTILE ") ELSE false END"},
    [GRV_PG_LOCK_PASS] = {"session_pass", "SELECT pg_catalog.pg_advisory_unlock(" TURNSTILE ")"},
};
static const grv_pg_statement probe = {
    "session_wanted", "SELECT NOT pg_catalog.pg_try_advisory_xact_lock_shared(" TURNSTILE ")"};

/* A row of a process that died may have the backend_pid of a connection that lives, and a
 * connection that is about to have a row has none yet: so one gives way where any row of it does,
 * and none without. */
static const grv_pg_statement in_way = {
    "session_in_way",
    "SELECT coalesce(s.gives_way, false), coalesce(" WHO
    ", 'another process') FROM pg_catalog.pg_locks l LEFT JOIN LATERAL (SELECT * FROM "
    "graviton.session WHERE backend_pid = l.pid ORDER BY gives_way DESC, started_at DESC LIMIT 1) "
    "s ON true WHERE l.objid = 1 AND " GRANTED
    " ORDER BY 1, s.session_id IS NULL, l.mode, s.started_at LIMIT 1"};
static const grv_pg_statement holders = {
    "session_holders", "SELECT " WHO " FROM graviton.session s JOIN pg_catalog.pg_locks l ON l.pid "
                       "= s.backend_pid WHERE l.objid IN (1, 2) AND " GRANTED
                       " ORDER BY l.mode, s.started_at LIMIT 1"};

grv_status grv_pg_lock_try(const grv_call *call, grv_pg_conn *conn, grv_pg_lock lock,
                           bool *ret_done, grv_error *error)
{
    PGresult *result = NULL;
    const grv_pg_step step = {&statements[lock], NULL};
    grv_status status = grv_pg_send(call, conn, &step, 1, &result, error);
    if (!status) {
        status = grv_pg_cell_bool(result, 0, 0, ret_done, error);
    }
    PQclear(result);
    return status;
}

grv_status grv_pg_lock_wanted(const grv_call *call, grv_pg *pg, bool *ret_wanted, grv_error *error)
{
    PGresult *result = NULL;
    grv_status status = grv_pg_read(call, pg, &probe, NULL, &result, error);
    if (!status) {
        status = grv_pg_cell_bool(result, 0, 0, ret_wanted, error);
    }
    PQclear(result);
    return status;
}

static void copy_who(grv_bytes text, char ret_who[200])
{
    snprintf(ret_who, 200, "%.*s", (int)(text.size < 190 ? text.size : 190),
             (const char *)text.data);
}

grv_status grv_pg_lock_in_way(const grv_call *call, grv_pg_conn *conn, grv_pg_holder *ret_holder,
                              grv_error *error)
{
    grv_pg_holder holder = {.found = false};
    PGresult *result = NULL;
    const grv_pg_step step = {&in_way, NULL};
    grv_status status = grv_pg_send(call, conn, &step, 1, &result, error);
    if (!status && PQntuples(result) > 0) {
        holder.found = true;
        copy_who(grv_pg_cell(result, 0, 1), holder.who);
        status = grv_pg_cell_bool(result, 0, 0, &holder.gives_way, error);
    }
    PQclear(result);
    if (!status) {
        *ret_holder = holder;
    }
    return status;
}

grv_status grv_pg_lock_refuse(const grv_call *call, grv_pg_conn *conn, const char *what,
                              grv_error *error)
{
    char who[200] = "another process";
    PGresult *result = NULL;
    const grv_pg_step step = {&holders, NULL};
    if (!grv_pg_send(call, conn, &step, 1, &result, NULL) && PQntuples(result) > 0) {
        copy_who(grv_pg_cell(result, 0, 0), who);
    }
    PQclear(result);
    return grv_error_set(error, GRV_UNAVAILABLE, "pg", "%s: in use by %s", what, who);
}

grv_status grv_pg_exclude(const grv_call *call, grv_pg_conn *conn, grv_error *error)
{
    bool mine = false;
    grv_status status = grv_pg_lock_try(call, conn, GRV_PG_LOCK_ALONE, &mine, error);
    for (unsigned tries = 0; !status && !mine && tries < GRV_PG_LOCK_TRIES; tries++) {
        grv_clock_sleep(GRV_PG_LOCK_WAIT_NS);
        status = grv_pg_lock_try(call, conn, GRV_PG_LOCK_ALONE, &mine, error);
    }
    if (!status && !mine) {
        status = grv_pg_lock_refuse(call, conn, "the store has other writers", error);
    }
    return status;
}
