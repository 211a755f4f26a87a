/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sessions: who may write, and who has the store to himself.
 *
 * Invariants: whoever has the store to himself has first taken the lock, then, in one transaction,
 * left a mark and deleted every other session's row. A commit needs its session's row, so one that
 * was not yet visible when the rows went is refused. The mark goes when the work has ended: should
 * its process lose the lock or its life, no put begins until somebody has finished that work, since
 * nobody can tell which deletes of it are still to come. No clock is asked.
 */
#include "backend/pg/session.h"

#include "backend/pg/pool.h"
#include "os/clock.h"
#include "os/random.h"

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* How long exclusive work waits for others to go. */
#define EXCLUDE_TRIES   10u
#define EXCLUDE_WAIT_NS UINT64_C(50000000)

/* Class "grvt", object 1. */
#define SESSION_LOCK "1735554676, 1"

static const grv_pg_statement lock_shared = {
    "session_lock", "SELECT pg_catalog.pg_try_advisory_lock_shared(" SESSION_LOCK ")"};
static const grv_pg_statement lock_exclusive = {
    "session_exclude", "SELECT pg_catalog.pg_try_advisory_lock(" SESSION_LOCK ")"};
static const grv_pg_statement unlock_exclusive = {
    "session_admit", "SELECT pg_catalog.pg_advisory_unlock(" SESSION_LOCK ")"};
static const grv_pg_statement unlock_all = {"session_unlock",
                                            "SELECT pg_catalog.pg_advisory_unlock_all()"};
static const grv_pg_statement insert_row = {
    "session_insert", "INSERT INTO graviton.session (session_id, host, pid, command, backend_pid) "
                      "VALUES ($1, $2, $3, $4, pg_catalog.pg_backend_pid())"};
/* Only a row that is still there is taken up again. */
static const grv_pg_statement resume_row = {
    "session_resume",
    "UPDATE graviton.session SET backend_pid = pg_catalog.pg_backend_pid() WHERE session_id = $1"};
static const grv_pg_statement delete_row = {"session_delete",
                                            "DELETE FROM graviton.session WHERE session_id = $1"};
static const grv_pg_statement delete_others = {
    "session_delete_others", "DELETE FROM graviton.session WHERE session_id <> $1"};
/* Those who hold the lock, in any form, other than this connection. */
static const grv_pg_statement holders = {
    "session_holders",
    "SELECT s.host || ' pid ' || s.pid || ' (' || s.command || ')' FROM graviton.session s "
    "JOIN pg_catalog.pg_locks l ON l.pid = s.backend_pid WHERE l.locktype = 'advisory' "
    "AND l.classid = 1735554676 AND l.objid = 1 AND l.granted "
    "AND l.database = (SELECT oid FROM pg_catalog.pg_database "
    "WHERE datname = pg_catalog.current_database()) "
    "AND l.pid <> pg_catalog.pg_backend_pid() ORDER BY l.mode, s.started_at LIMIT 1"};

static const grv_pg_statement set_mark = {
    "exclusive_mark",
    "INSERT INTO graviton.exclusive_work (session_id, host, pid, command) "
    "SELECT session_id, host, pid, command FROM graviton.session WHERE session_id = $1 "
    "ON CONFLICT (only_one) DO UPDATE SET session_id = excluded.session_id, "
    "host = excluded.host, pid = excluded.pid, command = excluded.command, started_at = "
    "pg_catalog.now()"};
static const grv_pg_statement clear_mark = {
    "exclusive_clear", "DELETE FROM graviton.exclusive_work WHERE session_id = $1"};
static const grv_pg_statement read_mark = {
    "exclusive_read",
    "SELECT host || ' pid ' || pid || ' (' || command || ')' FROM graviton.exclusive_work"};

struct grv_pg_session {
    grv_pg *pg;
    char *command;
    pthread_mutex_t lock; /* guards what follows; held over I/O: there is one connection */
    grv_pg_conn *conn;    /* NULL: lost */
    uint8_t id[GRV_PG_SESSION_ID_SIZE];
    bool expired;   /* its row is gone */
    bool blocked;   /* somebody's exclusive work has not ended */
    bool exclusive; /* it took the lock exclusively, */
    bool inherits;  /* and the mark was another's, who has not ended his work */
    uint64_t epoch; /* atomic: ids that it has had */
};

/* Runs one statement on a connection of a session. */
static grv_status run_one(const grv_call *call, grv_pg_conn *conn,
                          const grv_pg_statement *statement, const grv_pg_params *params,
                          PGresult **ret_result, grv_error *error)
{
    grv_pg_step step = {statement, params};
    return grv_pg_send(call, conn, &step, 1, ret_result, error);
}

static grv_status try_lock(const grv_call *call, grv_pg_conn *conn,
                           const grv_pg_statement *statement, bool *ret_mine, grv_error *error)
{
    PGresult *result = NULL;
    grv_status status = run_one(call, conn, statement, NULL, &result, error);
    if (!status) {
        status = grv_pg_cell_bool(result, 0, 0, ret_mine, error);
    }
    PQclear(result);
    return status;
}

/* Says who is in the way. */
static grv_status refuse(const grv_call *call, grv_pg_conn *conn, const char *what,
                         grv_error *error)
{
    char who[200] = "another process";
    PGresult *result = NULL;
    if (!run_one(call, conn, &holders, NULL, &result, NULL) && PQntuples(result) > 0) {
        grv_bytes text = grv_pg_cell(result, 0, 0);
        snprintf(who, sizeof who, "%.*s", (int)(text.size < 190 ? text.size : 190),
                 (const char *)text.data);
    }
    PQclear(result);
    return grv_error_set(error, GRV_UNAVAILABLE, "pg", "%s: in use by %s", what, who);
}

grv_status grv_pg_exclude(const grv_call *call, grv_pg_conn *conn, grv_error *error)
{
    bool mine = false;
    grv_status status = try_lock(call, conn, &lock_exclusive, &mine, error);
    /* The server takes a moment to notice that a process has died. */
    for (unsigned tries = 0; !status && !mine && tries < EXCLUDE_TRIES; tries++) {
        grv_clock_sleep(EXCLUDE_WAIT_NS);
        status = try_lock(call, conn, &lock_exclusive, &mine, error);
    }
    if (!status && !mine) {
        status = refuse(call, conn, "the store has other writers", error);
    }
    return status;
}

/* ---- A session's connection ---- */

static void add_id(grv_pg_params *params, const grv_pg_session *session)
{
    grv_pg_add_bytes(params, grv_bytes_of(session->id, sizeof session->id));
}

static grv_status insert_self(const grv_call *call, grv_pg_session *session, grv_pg_conn *conn,
                              grv_error *error)
{
    /* Before anybody can have the new id. */
    __atomic_fetch_add(&session->epoch, 1, __ATOMIC_RELEASE);
    grv_status status = grv_random_fill(session->id, sizeof session->id, error);
    if (status) {
        return status;
    }
    char host[256] = "";
    if (gethostname(host, sizeof host - 1)) {
        host[0] = '\0';
    }
    grv_pg_params params = {0};
    add_id(&params, session);
    grv_pg_add_text(&params, host);
    grv_pg_add_int32(&params, (int32_t)getpid());
    grv_pg_add_text(&params, session->command);
    PGresult *result = NULL;
    status = run_one(call, conn, &insert_row, &params, &result, error);
    PQclear(result);
    session->expired = session->expired && status != GRV_OK;
    return status;
}

/* Takes the old row up again; false in *ret_there where it is gone. */
static grv_status resume_self(const grv_call *call, grv_pg_session *session, grv_pg_conn *conn,
                              bool *ret_there, grv_error *error)
{
    grv_pg_params params = {0};
    add_id(&params, session);
    PGresult *result = NULL;
    grv_status status = run_one(call, conn, &resume_row, &params, &result, error);
    *ret_there = !status && strcmp(PQcmdTuples(result), "1") == 0;
    PQclear(result);
    return status;
}

/* Looks whether exclusive work was left unended; while the lock is held none begins. */
static grv_status look_for_mark(const grv_call *call, grv_pg_session *session, grv_pg_conn *conn,
                                grv_error *error)
{
    PGresult *result = NULL;
    grv_status status = run_one(call, conn, &read_mark, NULL, &result, error);
    if (status) {
        return status;
    }
    session->blocked = PQntuples(result) > 0;
    if (session->blocked) {
        grv_bytes text = grv_pg_cell(result, 0, 0);
        status = grv_error_set(error, GRV_UNAVAILABLE, "pg",
                               "%.*s had the store to itself and has not ended its work: make "
                               "sure that it is gone, then run `graviton gc`, which finishes it",
                               (int)(text.size < 190 ? text.size : 190), (const char *)text.data);
    }
    PQclear(result);
    return status;
}

/* Connects, takes the lock, then makes sure of the row. The lock is held. */
static grv_status session_connect(const grv_call *call, grv_pg_session *session, bool resumes,
                                  grv_error *error)
{
    grv_pg_conn *conn;
    grv_status status = grv_pg_dial(call, session->pg, &conn, error);
    if (status) {
        return status;
    }
    bool mine = false;
    bool there = false;
    status = try_lock(call, conn, &lock_shared, &mine, error);
    if (!status && !mine) {
        status = refuse(call, conn, "somebody has the store to himself", error);
    }
    if (!status && resumes) {
        status = resume_self(call, session, conn, &there, error);
    }
    if (!status && !there) {
        status = insert_self(call, session, conn, error);
    }
    if (status) {
        grv_pg_hang_up(conn);
        return status;
    }
    session->conn = conn;
    session->blocked = true; /* until it was looked at */
    return GRV_OK;
}

/* Whether the connection has ended, as far as this side can tell without asking. */
static bool has_ended(grv_pg_conn *conn)
{
    struct pollfd watched = {.fd = PQsocket(conn->native), .events = POLLIN};
    if (conn->broken || PQstatus(conn->native) != CONNECTION_OK) {
        return true;
    }
    return poll(&watched, 1, 0) > 0 &&
           (!PQconsumeInput(conn->native) || PQstatus(conn->native) != CONNECTION_OK);
}

static void drop_connection(grv_pg_session *session)
{
    if (session->conn) {
        grv_pg_hang_up(session->conn);
        session->conn = NULL;
        session->exclusive = false;
    }
}

/* ---- Public ---- */

grv_status grv_pg_session_open(const grv_call *call, grv_pg *pg, const char *command,
                               grv_pg_session **ret_session, grv_error *error)
{
    grv_pg_session *session = calloc(1, sizeof *session);
    if (session) {
        session->command = strdup(command);
    }
    if (!session || !session->command) {
        free(session);
        return grv_error_set(error, GRV_LIMIT_EXCEEDED, "pg", "no memory for a session");
    }
    session->pg = pg;
    pthread_mutex_init(&session->lock, NULL);
    grv_status status = session_connect(call, session, false, error);
    if (status) {
        grv_pg_session_close(session);
        return status;
    }
    *ret_session = session;
    return GRV_OK;
}

grv_status grv_pg_session_current(const grv_call *call, grv_pg_session *session,
                                  uint8_t ret_id[GRV_PG_SESSION_ID_SIZE], grv_error *error)
{
    grv_status status = GRV_OK;
    pthread_mutex_lock(&session->lock);
    if (session->conn && has_ended(session->conn)) {
        drop_connection(session);
    }
    if (!session->conn) {
        status = session_connect(call, session, !session->expired, error);
    } else if (session->expired) {
        /* The row went while the connection lived: a collection that did not see its lock. */
        status = insert_self(call, session, session->conn, error);
    }
    if (!status && session->blocked) {
        status = look_for_mark(call, session, session->conn, error);
    }
    memcpy(ret_id, session->id, sizeof session->id);
    pthread_mutex_unlock(&session->lock);
    return status;
}

void grv_pg_session_expire(grv_pg_session *session, const uint8_t id[GRV_PG_SESSION_ID_SIZE])
{
    pthread_mutex_lock(&session->lock);
    if (memcmp(session->id, id, sizeof session->id) == 0) {
        session->expired = true;
        /* Its lock, too, must have been lost. */
        drop_connection(session);
    }
    pthread_mutex_unlock(&session->lock);
}

static bool session_is_blocked(grv_pg_session *session)
{
    pthread_mutex_lock(&session->lock);
    bool blocked = session->conn && session->blocked;
    pthread_mutex_unlock(&session->lock);
    return blocked;
}

/* The mark and the others' rows, in one transaction. */
static grv_status begin_exclusive(const grv_call *call, grv_pg_session *session, grv_error *error)
{
    static const grv_pg_statement begin = {"begin", "BEGIN"};
    static const grv_pg_statement commit = {"commit", "COMMIT"};
    grv_pg_params params = {0};
    add_id(&params, session);
    const grv_pg_step steps[] = {
        {&begin, NULL}, {&set_mark, &params}, {&delete_others, &params}, {&commit, NULL}};
    PGresult *results[4];
    grv_status status = grv_pg_send(call, session->conn, steps, 4, results, error);
    if (!status && strcmp(PQcmdTuples(results[1]), "1") != 0) {
        status = grv_error_set(error, GRV_UNAVAILABLE, "pg", "the session's row was deleted");
    }
    grv_pg_clear(results, 4);
    return status;
}

grv_status grv_pg_session_exclude(const grv_call *call, grv_pg_session *session, grv_error *error)
{
    uint8_t id[GRV_PG_SESSION_ID_SIZE];
    grv_status status = grv_pg_session_current(call, session, id, error);
    /* Work that somebody has left is what this is to finish. */
    bool inherits = status == GRV_UNAVAILABLE && session_is_blocked(session);
    if (status && !inherits) {
        return status;
    }
    pthread_mutex_lock(&session->lock);
    if (!session->conn) {
        status = grv_error_set(error, GRV_UNAVAILABLE, "pg", "the session's connection was lost");
    } else {
        status = grv_pg_exclude(call, session->conn, error);
    }
    if (!status) {
        session->exclusive = true;
        session->inherits = inherits;
        status = begin_exclusive(call, session, error);
    }
    pthread_mutex_unlock(&session->lock);
    if (status) {
        grv_pg_session_admit(session);
    }
    return status;
}

grv_status grv_pg_session_holds(const grv_call *call, grv_pg_session *session, grv_error *error)
{
    pthread_mutex_lock(&session->lock);
    grv_status status = GRV_OK;
    PGresult *result = NULL;
    static const grv_pg_statement still = {"session_still", "SELECT 1"};
    if (!session->conn || !session->exclusive) {
        status = grv_error_set(error, GRV_UNAVAILABLE, "pg",
                               "the connection that had the store to itself was lost");
    } else {
        status = run_one(call, session->conn, &still, NULL, &result, error);
    }
    PQclear(result);
    pthread_mutex_unlock(&session->lock);
    return status;
}

void grv_pg_session_admit(grv_pg_session *session)
{
    pthread_mutex_lock(&session->lock);
    if (session->exclusive) {
        bool unlocked = false;
        grv_pg_params params = {0};
        PGresult *result = NULL;
        add_id(&params, session);
        grv_status status = run_one(NULL, session->conn, &clear_mark, &params, &result, NULL);
        PQclear(result);
        if (!status) {
            status = try_lock(NULL, session->conn, &unlock_exclusive, &unlocked, NULL);
        }
        /* Another's mark may be there still, where this work did not get as far as its own. */
        session->blocked = true;
        if (status || !unlocked) {
            /* Hanging up lets go of the lock in any case. */
            drop_connection(session);
        }
    }
    session->exclusive = false;
    pthread_mutex_unlock(&session->lock);
}

void grv_pg_session_abandon(grv_pg_session *session)
{
    pthread_mutex_lock(&session->lock);
    if (session->exclusive) {
        bool unlocked = false;
        /* In words, since a connection that is hung up holds the lock a moment longer. */
        grv_status status = try_lock(NULL, session->conn, &unlock_exclusive, &unlocked, NULL);
        session->blocked = true;
        if (status || !unlocked) {
            drop_connection(session);
        }
    }
    session->exclusive = false;
    pthread_mutex_unlock(&session->lock);
}

bool grv_pg_session_inherits(grv_pg_session *session)
{
    pthread_mutex_lock(&session->lock);
    bool inherits = session->exclusive && session->inherits;
    pthread_mutex_unlock(&session->lock);
    return inherits;
}

uint64_t grv_pg_session_epoch(const grv_pg_session *session)
{
    return __atomic_load_n(&session->epoch, __ATOMIC_ACQUIRE);
}

void grv_pg_session_close(grv_pg_session *session)
{
    if (!session) {
        return;
    }
    if (session->conn && !session->conn->broken) {
        grv_pg_params params = {0};
        PGresult *results[2];
        add_id(&params, session);
        /* The lock is given back in words: a connection that is hung up holds it a moment longer. A
         * row that stays is deleted by the next who has the store to himself. */
        grv_pg_step steps[] = {{&delete_row, &params}, {&unlock_all, NULL}};
        if (!grv_pg_send(NULL, session->conn, steps, 2, results, NULL)) {
            grv_pg_clear(results, 2);
        }
    }
    drop_connection(session);
    pthread_mutex_destroy(&session->lock);
    free(session->command);
    free(session);
}
