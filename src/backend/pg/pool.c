/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The pool. The lock is held over bookkeeping alone, never over the network: a connection is made,
 * and closed, by whoever needs it, outside.
 */
#include "backend/pg/pool.h"

#include "base/wait.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

uint64_t grv_pg_deadline(const grv_call *call, const grv_pg *pg)
{
    return call && call->deadline_ns ? call->deadline_ns : grv_now_ns() + pg->patience_ns;
}

const char *grv_pg_where(const grv_pg *pg)
{
    return pg->where;
}

/* An idle connection that is young enough, or NULL. The lock is held. Older ones are put on
 * *ret_old, to be closed outside. */
static grv_pg_conn *take_idle(grv_pg *pg, grv_pg_conn *ret_old[], size_t *ret_old_count)
{
    while (pg->idle_count > 0) {
        grv_pg_conn *conn = pg->idle[--pg->idle_count];
        if (conn->generation == pg->generation) {
            return conn;
        }
        pg->open--;
        ret_old[(*ret_old_count)++] = conn;
    }
    return NULL;
}

static void drop(grv_pg *pg)
{
    pthread_mutex_lock(&pg->lock);
    pg->open--;
    pthread_cond_signal(&pg->changed);
    pthread_mutex_unlock(&pg->lock);
}

grv_status grv_pg_take(const grv_call *call, grv_pg *pg, grv_pg_conn **ret_conn, grv_error *error)
{
    uint64_t deadline_ns = grv_pg_deadline(call, pg);
    grv_pg_conn *old[GRV_PG_CONNECTIONS_MAX];
    size_t old_count = 0;
    grv_pg_conn *conn = NULL;
    uint64_t generation = 0;
    bool connects = false;
    grv_status status = GRV_OK;
    pthread_mutex_lock(&pg->lock);
    for (;;) {
        conn = take_idle(pg, old, &old_count);
        connects = !conn && pg->open < pg->connections;
        if (conn || connects) {
            pg->open += connects;
            generation = pg->generation;
            break;
        }
        status = grv_call_check(call, "pg", error);
        if (!status && grv_now_ns() >= deadline_ns) {
            status = grv_error_set(error, GRV_UNAVAILABLE, "pg",
                                   "all %u connections to the database %s are in use",
                                   pg->connections, pg->where);
        }
        if (status) {
            break;
        }
        grv_wait(call, &pg->changed, &pg->lock);
    }
    pthread_mutex_unlock(&pg->lock);
    for (size_t i = 0; i < old_count; i++) {
        grv_pg_disconnect(old[i]);
    }
    if (connects) {
        status = grv_pg_connect(call, pg, deadline_ns, &conn, error);
        if (status) {
            drop(pg);
        } else {
            conn->generation = generation;
        }
    }
    if (status) {
        return status;
    }
    *ret_conn = conn;
    return GRV_OK;
}

void grv_pg_give(grv_pg_conn *conn)
{
    grv_pg *pg = conn->pg;
    bool sound = !conn->broken && PQstatus(conn->native) == CONNECTION_OK &&
                 PQtransactionStatus(conn->native) == PQTRANS_IDLE;
    pthread_mutex_lock(&pg->lock);
    sound = sound && conn->generation == pg->generation;
    if (sound) {
        pg->idle[pg->idle_count++] = conn;
    } else {
        pg->open--;
    }
    pthread_cond_signal(&pg->changed);
    pthread_mutex_unlock(&pg->lock);
    if (!sound) {
        grv_pg_disconnect(conn);
    }
}

void grv_pg_lost(grv_pg *pg, uint64_t generation)
{
    pthread_mutex_lock(&pg->lock);
    if (pg->generation == generation) {
        pg->generation++;
    }
    pthread_mutex_unlock(&pg->lock);
}

grv_status grv_pg_dial(const grv_call *call, grv_pg *pg, grv_pg_conn **ret_conn, grv_error *error)
{
    return grv_pg_connect(call, pg, grv_pg_deadline(call, pg), ret_conn, error);
}

void grv_pg_hang_up(grv_pg_conn *conn)
{
    grv_pg_disconnect(conn);
}

/* ---- Opening ---- */

/* Names the database as the connection has found it. */
static void name_place(grv_pg *pg, const PGconn *native)
{
    const char *host = PQhost(native);
    const char *port = PQport(native);
    const char *database = PQdb(native);
    snprintf(pg->where, sizeof pg->where, "%s:%s/%s", host ? host : "", port ? port : "",
             database ? database : "");
}

/* The first connection: it finds out where the handle leads, and stays in the pool. */
static grv_status first_connection(const grv_call *call, grv_pg *pg, grv_error *error)
{
    grv_pg_conn *conn;
    grv_status status = grv_pg_take(call, pg, &conn, error);
    if (status) {
        return status;
    }
    name_place(pg, conn->native);
    grv_pg_give(conn);
    return grv_pg_check_server(call, pg, error);
}

/* What messages name before anything is connected: never the text itself, which may hold a
 * password. */
static void name_wish(grv_pg *pg)
{
    const char *host = "";
    const char *port = "";
    const char *database = "";
    for (size_t i = 0; pg->keywords[i]; i++) {
        if (strcmp(pg->keywords[i], "host") == 0) {
            host = pg->values[i];
        } else if (strcmp(pg->keywords[i], "port") == 0) {
            port = pg->values[i];
        } else if (strcmp(pg->keywords[i], "dbname") == 0) {
            database = pg->values[i];
        }
    }
    snprintf(pg->where, sizeof pg->where, "%s%s%s/%s", host, *port ? ":" : "", port, database);
}

grv_status grv_pg_open(const grv_call *call, const grv_pg_config *config, grv_pg **ret_pg,
                       grv_error *error)
{
    if (config->connections > GRV_PG_CONNECTIONS_MAX) {
        return grv_error_set(error, GRV_INVALID_ARGUMENT, "pg",
                             "%u connections are too many: at most %u", config->connections,
                             GRV_PG_CONNECTIONS_MAX);
    }
    grv_pg *pg = calloc(1, sizeof *pg);
    if (!pg) {
        return grv_error_set(error, GRV_LIMIT_EXCEEDED, "pg", "no memory for a pool");
    }
    pthread_mutex_init(&pg->lock, NULL);
    grv_wait_init(&pg->changed);
    pg->connections = config->connections ? config->connections : GRV_PG_CONNECTIONS_DEFAULT;
    pg->patience_ns = config->patience_ns ? config->patience_ns : GRV_PG_PATIENCE_DEFAULT;
    pg->allow_unsafe = config->allow_unsafe;
    pg->read_only = config->read_only;
    grv_status status = grv_pg_parameters_set(pg, config->conninfo, error);
    if (!status) {
        name_wish(pg);
        status = first_connection(call, pg, error);
        if (!status && !config->any_schema) {
            status = grv_pg_check_schema(call, pg, error);
        }
        if (status) {
            grv_error_prefix(error, "the database %s", pg->where);
        }
    }
    if (status) {
        grv_pg_close(pg);
        return status;
    }
    *ret_pg = pg;
    return GRV_OK;
}

void grv_pg_close(grv_pg *pg)
{
    if (!pg) {
        return;
    }
    for (size_t i = 0; i < pg->idle_count; i++) {
        grv_pg_disconnect(pg->idle[i]);
    }
    grv_pg_parameters_free(pg);
    pthread_cond_destroy(&pg->changed);
    pthread_mutex_destroy(&pg->lock);
    free(pg);
}
