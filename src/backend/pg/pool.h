/* SPDX-License-Identifier: Apache-2.0 */
/* The inside of a handle: the pool's state, what new connections are made of, and waiting. */
#ifndef GRV_BACKEND_PG_POOL_H
#define GRV_BACKEND_PG_POOL_H

#include "backend/pg/pg.h"

#include <pthread.h>

/* Longest text of grv_pg_where, NUL included. */
#define GRV_PG_WHERE_SIZE 512u
/* Longest attempt at one connection, in nanoseconds. */
#define GRV_PG_CONNECT_NS (UINT64_C(10) * 1000000000u)

struct grv_pg {
    char **keywords; /* NULL-terminated, with their values beside them: libpq's parameters */
    char **values;
    unsigned connections;
    uint64_t patience_ns;
    bool allow_unsafe;
    bool read_only;
    char where[GRV_PG_WHERE_SIZE];
    pthread_mutex_t lock;   /* guards what follows */
    pthread_cond_t changed; /* a connection came back or went */
    unsigned open;          /* connections out, idle or being made */
    size_t idle_count;
    grv_pg_conn *idle[GRV_PG_CONNECTIONS_MAX];
    uint64_t generation; /* grows when a connection was lost: older idle ones are not trusted */
};

/* Sets the parameters of new connections from the configuration. */
grv_status grv_pg_parameters_set(grv_pg *pg, const char *conninfo, grv_error *error);
void grv_pg_parameters_free(grv_pg *pg);

/* Connects until `deadline_ns`, once. */
grv_status grv_pg_connect(const grv_call *call, grv_pg *pg, uint64_t deadline_ns,
                          grv_pg_conn **ret_conn, grv_error *error);
void grv_pg_disconnect(grv_pg_conn *conn);

/* Notes that a connection was lost, so that idle ones of its age are closed before use. */
void grv_pg_lost(grv_pg *pg, uint64_t generation);

/*
 * Waits until the connection's socket can be read, or written where `writes`, until `deadline_ns`.
 * GRV_TIMEOUT or GRV_CANCELLED where the call is over, GRV_UNAVAILABLE where only the patience is.
 */
grv_status grv_pg_wait(const grv_call *call, const grv_pg *pg, const PGconn *native, bool reads,
                       bool writes, uint64_t deadline_ns, grv_error *error);

/* Looks at the server and the schema, as grv_pg_open says. */
grv_status grv_pg_check_server(const grv_call *call, grv_pg *pg, grv_error *error);
grv_status grv_pg_check_schema(const grv_call *call, grv_pg *pg, grv_error *error);

/* The schema's version, 0 for none, and whether its name is taken by the Scala system. */
grv_status grv_pg_schema_read(const grv_call *call, grv_pg *pg, unsigned *ret_version,
                              bool *ret_foreign, grv_error *error);
/* The version that this program needs. */
unsigned grv_pg_schema_wanted(void);

#endif
