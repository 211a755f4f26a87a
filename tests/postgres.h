/* SPDX-License-Identifier: Apache-2.0 */
/* Databases for tests, on the server that tests/service/postgres.py has started for them. */
#ifndef GRV_TESTS_POSTGRES_H
#define GRV_TESTS_POSTGRES_H

#include <libpq-fe.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Ends the test program with a skip of all where there is no server. Called first in main. */
static inline void test_postgres_need(void)
{
    if (!getenv("GRAVITON_TEST_POSTGRES")) {
        puts("1..0 # SKIP no PostgreSQL server: run this through tests/service/postgres.py");
        exit(0);
    }
}

/* Runs SQL as the server's test user in the database that `conninfo` names. Aborts on failure. */
static inline void test_postgres_sql(const char *conninfo, const char *sql)
{
    PGconn *native = PQconnectdb(conninfo);
    PGresult *result = PQexec(native, sql);
    ExecStatusType kind = PQresultStatus(result);
    if (kind != PGRES_COMMAND_OK && kind != PGRES_TUPLES_OK) {
        fprintf(stderr, "%s: %s\n", sql, PQerrorMessage(native));
        abort();
    }
    PQclear(result);
    PQfinish(native);
}

/* The server's address with another database; `ret_conninfo` has room for 512 bytes. */
static inline void test_postgres_address(const char *database, char ret_conninfo[512])
{
    const char *server = getenv("GRAVITON_TEST_POSTGRES");
    const char *slash = strrchr(server, '/');
    const char *query = strchr(slash, '?');
    snprintf(ret_conninfo, 512, "%.*s/%s%s", (int)(slash - server), server, database,
             query ? query : "");
}

/* Makes an empty database of this process's own. */
static inline void test_postgres_make(char ret_conninfo[512])
{
    static unsigned made;
    char name[64];
    char sql[128];
    snprintf(name, sizeof name, "test_%ld_%u", (long)getpid(), ++made);
    snprintf(sql, sizeof sql, "CREATE DATABASE %s", name);
    test_postgres_sql(getenv("GRAVITON_TEST_POSTGRES"), sql);
    test_postgres_address(name, ret_conninfo);
}

/* Removes a database that test_postgres_make made, whoever uses it. WITH (FORCE) would not do: it
 * is refused while the server's own vacuum is there, which a plain DROP sends away. */
static inline void test_postgres_remove(const char *conninfo)
{
    const char *server = getenv("GRAVITON_TEST_POSTGRES");
    const char *name = strrchr(conninfo, '/') + 1;
    int size = (int)strcspn(name, "?");
    char sql[256];
    snprintf(sql, sizeof sql,
             "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity "
             "WHERE datname = '%.*s' AND usename = current_user",
             size, name);
    test_postgres_sql(server, sql);
    snprintf(sql, sizeof sql, "DROP DATABASE %.*s", size, name);
    test_postgres_sql(server, sql);
}

#endif
