/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sessions: who may write, and who has the store to himself (session_alone.c).
 *
 * Invariants: whoever has the store to himself has first taken the lock, then, in one transaction,
 * left a mark and deleted every other session's row. A commit needs its session's row, so one that
 * was not yet visible when the rows went is refused. The mark goes when the work has ended: should
 * its process lose the lock or its life, no put begins until somebody has finished that work, since
 * nobody can tell which deletes of it are still to come. No clock is asked.
 *
 * Giving way changes none of this: it is the owner's own end of a session, and the beginning of
 * another one. What holds of it:
 *
 *   - Whoever wants the store to himself stands in the turnstile first, and there is room for one.
 *     Nobody new comes past him; only a session whose connection was lost takes its own row up
 *     again, so that puts which are under way can end well.
 *   - He waits only for sessions whose rows say that they give way. Those rows are a promise, not a
 *     right: he goes on when the lock is his, whatever the rows say.
 *   - A session is lent with neither row nor lock, and never takes that row up again: what comes
 *     after it has another id, so a put that was open all the same can't be committed.
 *   - A session that is taken again has a new epoch before it has a row: whatever was remembered of
 *     blocks that were there is forgotten before a put can begin.
 *   - All that is waited for ends with a connection. One who waits and dies leaves nothing; one who
 *     works and dies leaves his mark; one who has lent and dies has left nothing behind; one who
 * has not lent and dies is out of the way. A session that loses its connection while it is lent is
 *     lent still.
 *   - A session may be lent from the beginning, where somebody has the store by then.
 *   - While it is lent the schema may have changed, as under no other session: it is looked at
 * again with the lock in hand, under which it cannot change.
 */
#include "backend/pg/session_state.h"

#include "backend/pg/pool.h"
#include "backend/pg/session_locks.h"
#include "os/random.h"

#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const grv_pg_statement unlock_all = {"session_unlock",
                                            "SELECT pg_catalog.pg_advisory_unlock_all()"};
static const grv_pg_statement insert_row = {
    "session_insert",
    "INSERT INTO graviton.session (session_id, host, pid, command, gives_way, backend_pid) "
    "VALUES ($1, $2, $3, $4, $5, pg_catalog.pg_backend_pid())"};
/* Only a row that is still there is taken up again. */
static const grv_pg_statement resume_row = {
    "session_resume", "UPDATE graviton.session SET backend_pid = pg_catalog.pg_backend_pid(), "
                      "gives_way = $2 WHERE session_id = $1"};
static const grv_pg_statement update_row = {
    "session_gives_way", "UPDATE graviton.session SET gives_way = $2 WHERE session_id = $1"};
static const grv_pg_statement delete_row = {"session_delete",
                                            "DELETE FROM graviton.session WHERE session_id = $1"};
static const grv_pg_statement read_mark = {
    "exclusive_read",
    "SELECT host || ' pid ' || pid || ' (' || command || ')' FROM graviton.exclusive_work"};

/* How a session gets its lock. */
typedef enum session_way {
    WAY_NEW,    /* as one that never was */
    WAY_RESUME, /* by its old row, if that is still there */
    WAY_BACK    /* after it was lent */
} session_way;

/* Runs one statement on a connection of a session. */
static grv_status run_one(const grv_call *call, grv_pg_conn *conn,
                          const grv_pg_statement *statement, const grv_pg_params *params,
                          PGresult **ret_result, grv_error *error)
{
    grv_pg_step step = {statement, params};
    return grv_pg_send(call, conn, &step, 1, ret_result, error);
}

static void add_id(grv_pg_params *params, const grv_pg_session *session)
{
    grv_pg_add_bytes(params, grv_bytes_of(session->id, sizeof session->id));
}

/* ---- The row ---- */

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
    grv_pg_add_bool(&params, session->gives_way);
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
    grv_pg_add_bool(&params, session->gives_way);
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

/* ---- The connection ---- */

static grv_status check_schema(const grv_call *call, grv_pg *pg, grv_error *error)
{
    unsigned version = 0;
    bool foreign = false;
    grv_status status = grv_pg_schema_read(call, pg, &version, &foreign, error);
    if (!status && (foreign || version != grv_pg_schema_wanted())) {
        status = grv_error_set(error, GRV_UNSUPPORTED, "pg",
                               "the schema was changed while this process had given way: restart "
                               "it, in the version that knows schema %u",
                               version);
    }
    return status;
}

static grv_status refuse(const grv_call *call, grv_pg_conn *conn, grv_error *error)
{
    return grv_pg_lock_refuse(call, conn, "somebody has the store to himself, or waits to", error);
}

/*
 * Takes the lock on a connection, then makes sure of the row. *ret_refused: somebody else has the
 * store, or wants it; then the connection holds nothing.
 */
static grv_status session_enter(const grv_call *call, grv_pg_session *session, grv_pg_conn *conn,
                                session_way way, bool *ret_refused, grv_error *error)
{
    bool mine = false;
    bool there = false;
    grv_status status = grv_pg_lock_try(
        call, conn, way == WAY_RESUME ? GRV_PG_LOCK_RESUME : GRV_PG_LOCK_ENTER, &mine, error);
    if (!status && !mine) {
        *ret_refused = true;
        return refuse(call, conn, error);
    }
    if (!status && way == WAY_RESUME) {
        status = resume_self(call, session, conn, &there, error);
        /* Without its row it is a new one, and comes as those do. */
        if (!status && !there) {
            status = grv_pg_lock_try(call, conn, GRV_PG_LOCK_ENTER, &mine, error);
        }
        if (!status && !mine) {
            status = refuse(call, conn, error);
        }
    }
    if (!status && way == WAY_BACK) {
        status = check_schema(call, session->pg, error);
    }
    if (!status && !there) {
        status = insert_self(call, session, conn, error);
    }
    if (!status) {
        session->blocked = true; /* until it was looked at */
    }
    return status;
}

/* Connects and enters. The lock is held. */
static grv_status session_connect(const grv_call *call, grv_pg_session *session, session_way way,
                                  bool *ret_refused, grv_error *error)
{
    grv_pg_conn *conn;
    grv_status status = grv_pg_dial(call, session->pg, &conn, error);
    if (status) {
        return status;
    }
    status = session_enter(call, session, conn, way, ret_refused, error);
    if (status) {
        grv_pg_hang_up(conn);
        return status;
    }
    session->conn = conn;
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

void grv_pg_session_drop(grv_pg_session *session)
{
    if (session->conn) {
        grv_pg_hang_up(session->conn);
        session->conn = NULL;
    }
    session->wants = false;
    session->exclusive = false;
}

/* Ends the row and gives the locks back, in words, since a connection that is hung up holds them a
 * moment longer. A row that stays is deleted by the next who has the store to himself. */
static grv_status session_leave(const grv_call *call, grv_pg_session *session)
{
    grv_pg_params params = {0};
    PGresult *results[2];
    add_id(&params, session);
    grv_pg_step steps[] = {{&delete_row, &params}, {&unlock_all, NULL}};
    grv_status status = grv_pg_send(call, session->conn, steps, 2, results, NULL);
    if (!status) {
        grv_pg_clear(results, 2);
    }
    return status;
}

/* ---- Public ---- */

static grv_status session_open(const grv_call *call, grv_pg *pg, const char *command, bool may_lend,
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
    bool refused = false;
    grv_status status = session_connect(call, session, WAY_NEW, &refused, error);
    if (status && !(refused && may_lend)) {
        grv_pg_session_close(session);
        return status;
    }
    session->lent = status != GRV_OK;
    session->expired = session->lent;
    *ret_session = session;
    return GRV_OK;
}

grv_status grv_pg_session_open(const grv_call *call, grv_pg *pg, const char *command,
                               grv_pg_session **ret_session, grv_error *error)
{
    return session_open(call, pg, command, false, ret_session, error);
}

grv_status grv_pg_session_open_lent(const grv_call *call, grv_pg *pg, const char *command,
                                    grv_pg_session **ret_session, grv_error *error)
{
    return session_open(call, pg, command, true, ret_session, error);
}

grv_status grv_pg_session_current(const grv_call *call, grv_pg_session *session,
                                  uint8_t ret_id[GRV_PG_SESSION_ID_SIZE], grv_error *error)
{
    grv_status status = GRV_OK;
    bool refused = false;
    pthread_mutex_lock(&session->lock);
    if (session->conn && has_ended(session->conn)) {
        grv_pg_session_drop(session);
    }
    if (session->lent) {
        status = grv_error_set(error, GRV_UNAVAILABLE, "pg",
                               "this process has given way to one that has the store to itself");
    } else if (!session->conn) {
        status = session_connect(call, session, session->expired ? WAY_NEW : WAY_RESUME, &refused,
                                 error);
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
        grv_pg_session_drop(session);
    }
    pthread_mutex_unlock(&session->lock);
}

/* ---- Giving way ---- */

grv_status grv_pg_session_give_way(const grv_call *call, grv_pg_session *session, bool gives_way,
                                   grv_error *error)
{
    grv_status status = GRV_OK;
    pthread_mutex_lock(&session->lock);
    /* A new connection writes it anyway. */
    bool tells = session->gives_way != gives_way && !session->lent && session->conn &&
                 !has_ended(session->conn);
    session->gives_way = gives_way;
    if (tells) {
        grv_pg_params params = {0};
        PGresult *result = NULL;
        add_id(&params, session);
        grv_pg_add_bool(&params, gives_way);
        status = run_one(call, session->conn, &update_row, &params, &result, error);
        PQclear(result);
        if (status) {
            grv_pg_session_drop(session); /* the next connection writes what holds by then */
        }
    }
    pthread_mutex_unlock(&session->lock);
    return status;
}

grv_status grv_pg_session_is_wanted(const grv_call *call, grv_pg_session *session, bool *ret_wanted,
                                    grv_error *error)
{
    pthread_mutex_lock(&session->lock);
    bool asks = !session->lent && !session->wants;
    pthread_mutex_unlock(&session->lock);
    bool wanted = false;
    grv_status status = GRV_OK;
    if (asks) {
        /* Not on the session's connection: a question that takes too long costs a connection. */
        status = grv_pg_lock_wanted(call, session->pg, &wanted, error);
    }
    if (!status) {
        *ret_wanted = wanted;
    }
    return status;
}

grv_status grv_pg_session_lend(const grv_call *call, grv_pg_session *session, grv_error *error)
{
    grv_status status = GRV_OK;
    pthread_mutex_lock(&session->lock);
    if (session->wants) {
        status = grv_error_set(error, GRV_UNAVAILABLE, "pg",
                               "this process itself has the store to itself, or waits to");
    } else if (!session->lent) {
        session->expired = true;
        session->lent = true;
        if (session->conn && (has_ended(session->conn) || session_leave(call, session))) {
            grv_pg_session_drop(session);
        }
    }
    pthread_mutex_unlock(&session->lock);
    return status;
}

bool grv_pg_session_is_lent(grv_pg_session *session)
{
    pthread_mutex_lock(&session->lock);
    bool lent = session->lent;
    pthread_mutex_unlock(&session->lock);
    return lent;
}

grv_status grv_pg_session_reclaim(const grv_call *call, grv_pg_session *session, grv_error *error)
{
    grv_status status = GRV_OK;
    pthread_mutex_lock(&session->lock);
    if (session->lent) {
        bool refused = false;
        if (session->conn && has_ended(session->conn)) {
            grv_pg_session_drop(session);
        }
        if (session->conn) {
            status = session_enter(call, session, session->conn, WAY_BACK, &refused, error);
        } else {
            status = session_connect(call, session, WAY_BACK, &refused, error);
        }
        if (status && !refused) {
            grv_pg_session_drop(session);
        }
        session->lent = status != GRV_OK;
    }
    pthread_mutex_unlock(&session->lock);
    return status;
}

/* ---- Telling and ending ---- */

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
        (void)session_leave(NULL, session); /* hanging up does the same, a little later */
    }
    grv_pg_session_drop(session);
    pthread_mutex_destroy(&session->lock);
    free(session->command);
    free(session);
}
