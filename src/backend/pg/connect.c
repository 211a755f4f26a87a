/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Making a connection, in non-blocking steps within a deadline. A connection is put into a known
 * state before anybody has it: an empty search path, so that no name means anything but what the
 * SQL says, and pipeline mode, in which it stays.
 */
#include "backend/pg/pool.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* What holds where the user has not said otherwise. A dead host is noticed in about half a minute.
 */
static const struct {
    const char *keyword;
    const char *value;
} defaults[] = {
    {"fallback_application_name", "graviton"},
    {"keepalives_idle", "30"},
    {"keepalives_interval", "5"},
    {"keepalives_count", "3"},
    {"tcp_user_timeout", "30000"},
    {"client_encoding", "UTF8"},
};

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* The look at the cancel flag while waiting, in nanoseconds. */
#define LOOK_NS UINT64_C(100000000)

static grv_status no_memory(grv_error *error)
{
    return grv_error_set(error, GRV_LIMIT_EXCEEDED, "pg", "no memory for a connection");
}

/* ---- Parameters ---- */

void grv_pg_parameters_free(grv_pg *pg)
{
    for (size_t i = 0; pg->keywords && pg->keywords[i]; i++) {
        free(pg->keywords[i]);
    }
    for (size_t i = 0; pg->values && pg->values[i]; i++) {
        free(pg->values[i]);
    }
    free(pg->keywords);
    free(pg->values);
    pg->keywords = NULL;
    pg->values = NULL;
}

static bool parameter_add(grv_pg *pg, size_t *count, const char *keyword, const char *value)
{
    pg->keywords[*count] = strdup(keyword);
    pg->values[*count] = strdup(value);
    (*count)++;
    return pg->keywords[*count - 1] && pg->values[*count - 1];
}

static bool parameters_fill(grv_pg *pg, const PQconninfoOption *options, size_t given)
{
    pg->keywords = calloc(given + COUNT(defaults) + 1, sizeof *pg->keywords);
    pg->values = calloc(given + COUNT(defaults) + 1, sizeof *pg->values);
    if (!pg->keywords || !pg->values) {
        return false;
    }
    size_t count = 0;
    bool added = true;
    for (const PQconninfoOption *option = options; option->keyword && added; option++) {
        if (option->val) {
            added = parameter_add(pg, &count, option->keyword, option->val);
        }
    }
    for (size_t i = 0; i < COUNT(defaults) && added; i++) {
        bool said = false;
        for (size_t j = 0; j < count && !said; j++) {
            said = strcmp(pg->keywords[j], defaults[i].keyword) == 0;
        }
        if (!said) {
            added = parameter_add(pg, &count, defaults[i].keyword, defaults[i].value);
        }
    }
    return added;
}

grv_status grv_pg_parameters_set(grv_pg *pg, const char *conninfo, grv_error *error)
{
    char *message = NULL;
    PQconninfoOption *options = PQconninfoParse(conninfo ? conninfo : "", &message);
    if (!options) {
        /* libpq's message may repeat any part of the text, a password among them. */
        PQfreemem(message);
        return grv_error_set(error, GRV_INVALID_ARGUMENT, "pg",
                             "malformed PostgreSQL address: give "
                             "postgresql://[USER[:PASSWORD]@][HOST][:PORT]/DATABASE[?KEY=VALUE...] "
                             "with libpq's keys, and %%-escapes for special characters");
    }
    size_t given = 0;
    for (const PQconninfoOption *option = options; option->keyword; option++) {
        given += option->val != NULL;
    }
    bool filled = parameters_fill(pg, options, given);
    PQconninfoFree(options);
    if (!filled) {
        grv_pg_parameters_free(pg);
        return no_memory(error);
    }
    return GRV_OK;
}

/* ---- Waiting ---- */

/* Why waiting ends now; GRV_OK while it need not. */
static grv_status over(const grv_call *call, const grv_pg *pg, uint64_t deadline_ns,
                       uint64_t now_ns, grv_error *error)
{
    grv_status status = grv_call_check(call, "pg", error);
    if (status || now_ns < deadline_ns) {
        return status;
    }
    return grv_error_set(error, GRV_UNAVAILABLE, "pg", "the database %s does not answer",
                         pg->where);
}

grv_status grv_pg_wait(const grv_call *call, const grv_pg *pg, const PGconn *native, bool reads,
                       bool writes, uint64_t deadline_ns, grv_error *error)
{
    struct pollfd watched = {
        .fd = PQsocket(native),
        .events = (short)((reads ? POLLIN : 0) | (writes ? POLLOUT : 0)),
    };
    for (;;) {
        uint64_t now_ns = grv_now_ns();
        grv_status status = over(call, pg, deadline_ns, now_ns, error);
        if (status) {
            return status;
        }
        uint64_t left_ns = deadline_ns - now_ns;
        if (call && call->cancel && left_ns > LOOK_NS) {
            left_ns = LOOK_NS;
        }
        uint64_t left_ms = left_ns / 1000000 + 1;
        int ready = poll(&watched, 1, left_ms > 60000 ? 60000 : (int)left_ms);
        if (ready > 0) {
            return GRV_OK;
        }
        if (ready < 0 && errno != EINTR) {
            return grv_error_set_errno(error, errno, "pg", "cannot wait for the database %s",
                                       pg->where);
        }
    }
}

/* ---- Connecting ---- */

static grv_status establish(const grv_call *call, grv_pg *pg, PGconn *native, uint64_t deadline_ns,
                            grv_error *error)
{
    PostgresPollingStatusType next = PGRES_POLLING_WRITING;
    while (next != PGRES_POLLING_OK) {
        if (next == PGRES_POLLING_FAILED) {
            return grv_pg_conn_error(native, "connect", error);
        }
        grv_status status = grv_pg_wait(call, pg, native, next == PGRES_POLLING_READING,
                                        next == PGRES_POLLING_WRITING, deadline_ns, error);
        if (status) {
            grv_error_prefix(error, "cannot connect");
            return status;
        }
        next = PQconnectPoll(native);
    }
    if (PQsetnonblocking(native, 1)) {
        return grv_pg_conn_error(native, "connect", error);
    }
    return GRV_OK;
}

/* Notices of the server are no affair of the program's users. */
static void ignore_notice(void *context, const PGresult *result)
{
    (void)context;
    (void)result;
}

/*
 * What every connection is set to, whatever the server's defaults are. A statement behind another
 * that waited for a lock has to see what the lock's last owner did, hence the isolation. Every
 * statement looks rows up or walks along an index and stops at a limit; but plans are kept, and one
 * that was made while its table was small would go on reading all of it once it has grown, or, with
 * a bitmap, read and sort a long stretch that was short. Forbidding those makes plans look costly
 * where there is no other, which must not bring in the compiler. And since no plan depends on what
 * its parameters are, none is made anew for them, as would be done for arrays that look short.
 */
#define SETTINGS                                                                                   \
    "SET search_path = ''; SET bytea_output = hex; "                                               \
    "SET default_transaction_isolation = 'read committed'; "                                       \
    "SET enable_seqscan = off; SET enable_bitmapscan = off; SET jit = off; "                       \
    "SET plan_cache_mode = force_generic_plan"
static const char set_up[] = SETTINGS;
static const char set_up_to_read[] = SETTINGS "; SET default_transaction_read_only = on";

grv_status grv_pg_connect(const grv_call *call, grv_pg *pg, uint64_t deadline_ns,
                          grv_pg_conn **ret_conn, grv_error *error)
{
    grv_pg_conn *conn = calloc(1, sizeof *conn);
    if (!conn) {
        return no_memory(error);
    }
    uint64_t until_ns = grv_now_ns() + GRV_PG_CONNECT_NS;
    conn->pg = pg;
    conn->timeout_ms = -1;
    conn->native =
        PQconnectStartParams((const char *const *)pg->keywords, (const char *const *)pg->values, 0);
    if (!conn->native) {
        free(conn);
        return no_memory(error);
    }
    PQsetNoticeReceiver(conn->native, ignore_notice, NULL);
    grv_status status = PQstatus(conn->native) == CONNECTION_BAD
                            ? grv_pg_conn_error(conn->native, "connect", error)
                            : establish(call, pg, conn->native,
                                        until_ns < deadline_ns ? until_ns : deadline_ns, error);
    if (!status) {
        status = grv_pg_execute(call, conn, pg->read_only ? set_up_to_read : set_up, error);
    }
    if (status) {
        grv_pg_disconnect(conn);
        return status;
    }
    *ret_conn = conn;
    return GRV_OK;
}

void grv_pg_disconnect(grv_pg_conn *conn)
{
    if (conn) {
        PQfinish(conn->native);
        free(conn->prepared);
        free(conn);
    }
}
