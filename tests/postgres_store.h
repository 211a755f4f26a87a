/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fixtures over PostgreSQL: a database of a test's own with the schema in it, copied from one that
 * this process has migrated once. A suite that was not started through tests/service/postgres.py
 * skips the tests of these fixtures, each by name.
 */
#ifndef GRV_TESTS_POSTGRES_STORE_H
#define GRV_TESTS_POSTGRES_STORE_H

#include "postgres.h"
#include "test.h"

#include <graviton/backend/pg.h>

/* What a fixture keeps between the opens of one test. */
typedef struct test_postgres_store {
    char conninfo[512];
    grv_pg *pg; /* NULL while closed */
} test_postgres_store;

static inline void test_postgres_skip(void **state)
{
    (void)state;
    skip();
}

/* Makes a test over PostgreSQL a skipped one where there is no server. */
static inline void test_postgres_unit(struct CMUnitTest *unit)
{
    if (!getenv("GRAVITON_TEST_POSTGRES")) {
        *unit = (struct CMUnitTest){unit->name, test_postgres_skip, NULL, NULL, NULL};
    }
}

/* The migrated database that all others are copies of; made when first asked for. */
static inline const char *test_postgres_template(void)
{
    static char conninfo[512];
    static char name[64];
    if (!*conninfo) {
        grv_error error = GRV_ERROR_INIT;
        grv_pg *pg = NULL;
        test_postgres_make(conninfo);
        const grv_pg_config config = {
            .conninfo = conninfo, .connections = 1, .any_schema = true, .allow_unsafe = true};
        const grv_pg_migrate_config all = {0};
        if (grv_pg_open(NULL, &config, &pg, &error) || grv_pg_migrate(NULL, pg, &all, &error)) {
            fprintf(stderr, "cannot migrate: %s\n", error.message);
            abort();
        }
        grv_pg_close(pg);
        const char *base = strrchr(conninfo, '/') + 1;
        snprintf(name, sizeof name, "%.*s", (int)strcspn(base, "?"), base);
    }
    return name;
}

/* Makes a database with the schema and nothing else; ends with test_postgres_remove. */
static inline void test_postgres_make_store(char ret_conninfo[512])
{
    static unsigned made;
    char name[64];
    char sql[256];
    snprintf(name, sizeof name, "store_%ld_%u", (long)getpid(), ++made);
    snprintf(sql, sizeof sql, "CREATE DATABASE %s TEMPLATE %s", name, test_postgres_template());
    test_postgres_sql(getenv("GRAVITON_TEST_POSTGRES"), sql);
    test_postgres_address(name, ret_conninfo);
}

/*
 * Opens a handle of that many connections. *context is NULL at the first open of a test, which
 * makes the database; later ones find it again.
 */
static inline grv_status test_postgres_store_open(unsigned connections, void **context,
                                                  grv_pg **ret_pg, grv_error *error)
{
    test_postgres_store *store = *context;
    if (!store) {
        store = calloc(1, sizeof *store);
        if (!store) {
            abort();
        }
        test_postgres_make_store(store->conninfo);
        *context = store;
    }
    const grv_pg_config config = {.conninfo = store->conninfo, .connections = connections};
    grv_status status = grv_pg_open(NULL, &config, &store->pg, error);
    if (!status) {
        *ret_pg = store->pg;
    }
    return status;
}

/* Closes the handle; at the `last` close the database goes too, and *context with it. */
static inline void test_postgres_store_close(void **context, bool last)
{
    test_postgres_store *store = *context;
    if (!store) {
        return;
    }
    grv_pg_close(store->pg);
    store->pg = NULL;
    if (last) {
        test_postgres_remove(store->conninfo);
        free(store);
        *context = NULL;
    }
}

#endif
