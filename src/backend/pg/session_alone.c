/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Having the store to oneself: the turnstile, then the lock, then the mark; session.c says what
 * holds. The session's mutex is given up between two tries, for others ask the session things
 * meanwhile; a connection that was lost in between takes the turnstile with it, and `wants`.
 */
#include "backend/pg/session_locks.h"
#include "backend/pg/session_state.h"
#include "os/clock.h"

#include <string.h>

static const grv_pg_statement delete_others = {
    "session_delete_others", "DELETE FROM graviton.session WHERE session_id <> $1"};
static const grv_pg_statement set_mark = {
    "exclusive_mark",
    "INSERT INTO graviton.exclusive_work (session_id, host, pid, command) "
    "SELECT session_id, host, pid, command FROM graviton.session WHERE session_id = $1 "
    "ON CONFLICT (only_one) DO UPDATE SET session_id = excluded.session_id, "
    "host = excluded.host, pid = excluded.pid, command = excluded.command, started_at = "
    "pg_catalog.now()"};
static const grv_pg_statement clear_mark = {
    "exclusive_clear", "DELETE FROM graviton.exclusive_work WHERE session_id = $1"};

static void add_id(grv_pg_params *params, const grv_pg_session *session)
{
    grv_pg_add_bytes(params, grv_bytes_of(session->id, sizeof session->id));
}

static grv_status lost(grv_error *error)
{
    return grv_error_set(error, GRV_UNAVAILABLE, "pg", "the session's connection was lost");
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

/* Gives the mutex back. What a connection that is no more good holds is not known, and may be one
 * of the locks: nobody else would get it while that connection is there. */
static void unlock(grv_pg_session *session)
{
    if (session->conn && session->conn->broken) {
        grv_pg_session_drop(session);
    }
    pthread_mutex_unlock(&session->lock);
}

/* ---- The turnstile ---- */

static grv_status try_turnstile(const grv_call *call, grv_pg_session *session, bool is_last,
                                bool *ret_mine, grv_error *error)
{
    grv_status status = GRV_OK;
    bool mine = false;
    pthread_mutex_lock(&session->lock);
    if (!session->conn) {
        status = lost(error);
    } else if (session->wants) {
        status = grv_error_set(error, GRV_UNAVAILABLE, "pg",
                               "this process itself has the store to itself, or waits to");
    } else {
        status = grv_pg_lock_try(call, session->conn, GRV_PG_LOCK_TURNSTILE, &mine, error);
        session->wants = mine;
    }
    if (!status && !mine && is_last) {
        status = grv_pg_lock_refuse(call, session->conn, "somebody else wants the store to himself",
                                    error);
    }
    unlock(session);
    *ret_mine = mine;
    return status;
}

/* One who stands there may be about to leave, or may be passing by. */
static grv_status take_turnstile(const grv_call *call, grv_pg_session *session, grv_error *error)
{
    bool mine = false;
    grv_status status = grv_call_check(call, "pg", error);
    for (unsigned tries = 1; !status; tries++) {
        status = try_turnstile(call, session, tries == GRV_PG_LOCK_TRIES / 2, &mine, error);
        if (status || mine) {
            break;
        }
        grv_clock_sleep(GRV_PG_LOCK_WAIT_NS);
        status = grv_call_check(call, "pg", error);
    }
    return status;
}

/* For one who has no more than that. */
static void leave_turnstile(grv_pg_session *session)
{
    pthread_mutex_lock(&session->lock);
    if (session->wants && !session->exclusive) {
        bool passed = false;
        if (grv_pg_lock_try(NULL, session->conn, GRV_PG_LOCK_PASS, &passed, NULL) || !passed) {
            grv_pg_session_drop(session);
        }
        session->wants = false;
    }
    pthread_mutex_unlock(&session->lock);
}

/* ---- The lock ---- */

/* One try: the lock and all that belongs to it, or who is in the way. */
static grv_status try_alone(const grv_call *call, grv_pg_session *session, bool inherits,
                            grv_pg_holder *ret_holder, bool *ret_mine, grv_error *error)
{
    grv_status status = GRV_OK;
    bool mine = false;
    pthread_mutex_lock(&session->lock);
    if (!session->wants) {
        status = lost(error);
    } else {
        status = grv_pg_lock_try(call, session->conn, GRV_PG_LOCK_ALONE, &mine, error);
    }
    if (!status && mine) {
        session->exclusive = true;
        session->inherits = inherits;
        status = begin_exclusive(call, session, error);
    } else if (!status) {
        status = grv_pg_lock_in_way(call, session->conn, ret_holder, error);
    }
    unlock(session);
    *ret_mine = mine;
    return status;
}

static const char *name_of(const grv_pg_holder *holder)
{
    return holder->found ? holder->who : "another process";
}

/* Waits until everybody has given way. One who does not is in the way for a moment at most. */
static grv_status wait_alone(const grv_call *call, grv_pg_session *session, bool inherits,
                             uint64_t patience_ns, grv_error *error)
{
    const uint64_t begun_ns = grv_now_ns();
    grv_pg_holder holder = {.found = false};
    unsigned stubborn = 0;
    for (bool mine = false;;) {
        grv_status status = try_alone(call, session, inherits, &holder, &mine, error);
        if (!status && !mine) {
            grv_clock_sleep(GRV_PG_LOCK_WAIT_NS);
            status = grv_call_check(call, "pg", error);
        }
        if (status == GRV_TIMEOUT || status == GRV_CANCELLED) {
            grv_error_prefix(error, "waiting for %s to give way", name_of(&holder));
        }
        if (status || mine) {
            return status;
        }
        uint64_t waited_ns = grv_now_ns() - begun_ns;
        bool waits = holder.gives_way && patience_ns > 0;
        stubborn = waits ? 0 : stubborn + 1;
        if (stubborn > GRV_PG_LOCK_TRIES) {
            return grv_error_set(error, GRV_UNAVAILABLE, "pg",
                                 "the store has other writers: in use by %s", name_of(&holder));
        }
        if (waits && waited_ns >= patience_ns) {
            return grv_error_set(error, GRV_UNAVAILABLE, "pg",
                                 "the store has other writers: %s has not given way in %u seconds",
                                 holder.who, (unsigned)(waited_ns / 1000000000u));
        }
    }
}

/* ---- Public ---- */

grv_status grv_pg_session_exclude(const grv_call *call, grv_pg_session *session,
                                  uint64_t patience_ns, grv_error *error)
{
    uint8_t id[GRV_PG_SESSION_ID_SIZE];
    grv_status status = grv_pg_session_current(call, session, id, error);
    /* Work that somebody has left is what this is to finish. */
    bool inherits = status == GRV_UNAVAILABLE && session_is_blocked(session);
    if (status && !inherits) {
        return status;
    }
    status = take_turnstile(call, session, error);
    if (!status) {
        status = wait_alone(call, session, inherits, patience_ns, error);
    }
    if (status) {
        grv_pg_session_admit(session);
        leave_turnstile(session);
    }
    return status;
}

grv_status grv_pg_session_holds(const grv_call *call, grv_pg_session *session, grv_error *error)
{
    pthread_mutex_lock(&session->lock);
    grv_status status = GRV_OK;
    PGresult *result = NULL;
    static const grv_pg_statement still = {"session_still", "SELECT 1"};
    const grv_pg_step step = {&still, NULL};
    if (!session->conn || !session->exclusive) {
        status = grv_error_set(error, GRV_UNAVAILABLE, "pg",
                               "the connection that had the store to itself was lost");
    } else {
        status = grv_pg_send(call, session->conn, &step, 1, &result, error);
    }
    PQclear(result);
    unlock(session);
    return status;
}

/* Lets others in again; the mark goes first where the work has ended. */
static void let_in(grv_pg_session *session, bool ended)
{
    pthread_mutex_lock(&session->lock);
    if (session->exclusive) {
        grv_status status = GRV_OK;
        bool unlocked = false;
        if (ended) {
            grv_pg_params params = {0};
            PGresult *result = NULL;
            add_id(&params, session);
            const grv_pg_step step = {&clear_mark, &params};
            status = grv_pg_send(NULL, session->conn, &step, 1, &result, NULL);
            PQclear(result);
        }
        /* In words, since a connection that is hung up holds the locks a moment longer. */
        if (!status) {
            status = grv_pg_lock_try(NULL, session->conn, GRV_PG_LOCK_ADMIT, &unlocked, NULL);
        }
        /* A mark may be there still: this one's, or another's where this work did not get as far
         * as its own. */
        session->blocked = true;
        if (status || !unlocked) {
            grv_pg_session_drop(session);
        }
        session->exclusive = false;
        session->wants = false;
    }
    pthread_mutex_unlock(&session->lock);
}

void grv_pg_session_admit(grv_pg_session *session)
{
    let_in(session, true);
}

void grv_pg_session_abandon(grv_pg_session *session)
{
    let_in(session, false);
}

bool grv_pg_session_inherits(grv_pg_session *session)
{
    pthread_mutex_lock(&session->lock);
    bool inherits = session->exclusive && session->inherits;
    pthread_mutex_unlock(&session->lock);
    return inherits;
}
