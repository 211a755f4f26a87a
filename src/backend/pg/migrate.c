/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Applying the migrations: each in a transaction of its own with the row that records it, all under
 * an advisory lock that only one process has. A server that is killed in between leaves the schema
 * at one version or the next.
 */
#include "backend/pg/migrations.h"
#include "backend/pg/pool.h"
#include "backend/pg/session_locks.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MIGRATION_LOCK "1735554676, 0" /* class "grvt", object 0 */

static const grv_pg_statement take_lock = {
    "migration_lock", "SELECT pg_catalog.pg_try_advisory_lock(" MIGRATION_LOCK ")"};
static const grv_pg_statement let_go = {"migration_unlock",
                                        "SELECT pg_catalog.pg_advisory_unlock(" MIGRATION_LOCK ")"};
static const grv_pg_statement applied = {
    "migrations_applied",
    "SELECT version::int4, digest, applied_at::text FROM graviton.schema_migration "
    "ORDER BY version"};

/* What is applied already must be what this program would have applied. */
static grv_status check_applied(const grv_call *call, grv_pg *pg, unsigned version,
                                grv_error *error)
{
    PGresult *result = NULL;
    if (version == 0) {
        return GRV_OK;
    }
    grv_status status = grv_pg_read(call, pg, &applied, NULL, &result, error);
    for (int row = 0; !status && row < PQntuples(result); row++) {
        int32_t number = 0;
        status = grv_pg_cell_int32(result, row, 0, &number, error);
        const grv_pg_migration *known = NULL;
        for (size_t i = 0; i < grv_pg_migration_count; i++) {
            if (number > 0 && grv_pg_migrations[i].version == (unsigned)number) {
                known = &grv_pg_migrations[i];
            }
        }
        grv_bytes digest = grv_pg_cell(result, row, 1);
        if (!status && known &&
            (digest.size != strlen(known->digest) ||
             memcmp(digest.data, known->digest, digest.size) != 0)) {
            status = grv_error_set(error, GRV_CONFLICT, "pg",
                                   "migration %u was applied with another text than this "
                                   "program's: the schema comes from an unreleased version",
                                   known->version);
        }
    }
    PQclear(result);
    return status;
}

/* The SQL of one migration with its transaction and its record. The caller frees it. */
static char *compose(const grv_pg_migration *migration)
{
    static const char first[] =
        "CREATE SCHEMA IF NOT EXISTS graviton;\n"
        "CREATE TABLE graviton.schema_migration (version int4 PRIMARY KEY CHECK (version > 0), "
        "name text NOT NULL, digest text NOT NULL, program text NOT NULL, "
        "applied_at timestamptz NOT NULL DEFAULT pg_catalog.now());\n";
    char *text = NULL;
    int size = asprintf(&text,
                        "BEGIN;\n%s%s\n"
                        "INSERT INTO graviton.schema_migration (version, name, digest, program) "
                        "VALUES (%u, '%s', '%s', 'graviton " GRV_VERSION "');\nCOMMIT;\n",
                        migration->version == 1 ? first : "", migration->sql, migration->version,
                        migration->name, migration->digest);
    return size < 0 ? NULL : text;
}

static grv_status apply(const grv_call *call, grv_pg_conn *conn, const grv_pg_migration *migration,
                        grv_error *error)
{
    char *sql = compose(migration);
    if (!sql) {
        return grv_error_set(error, GRV_LIMIT_EXCEEDED, "pg", "no memory for a migration");
    }
    grv_status status = grv_pg_execute(call, conn, sql, error);
    free(sql);
    if (status) {
        grv_error_prefix(error, "migration %u (%s)", migration->version, migration->name);
        /* A command of several statements that fails leaves the transaction open. */
        if (!conn->broken) {
            grv_pg_execute(NULL, conn, "ROLLBACK", NULL);
        }
    }
    return status;
}

static grv_status locked(const grv_call *call, grv_pg *pg, grv_pg_conn *conn,
                         const grv_pg_migrate_config *config, grv_error *error)
{
    unsigned version = 0;
    bool foreign = false;
    grv_status status = grv_pg_schema_read(call, pg, &version, &foreign, error);
    if (!status && foreign) {
        status = grv_error_set(error, GRV_CONFLICT, "pg",
                               "the schema graviton is the Scala system's: make a database of its "
                               "own for this store, and import the old one with `graviton cp "
                               "--from-meta scala:postgresql://HOST/DATABASE`");
    }
    if (!status && version > grv_pg_schema_wanted()) {
        status = grv_error_set(error, GRV_UNSUPPORTED, "pg",
                               "the schema is newer than this program: version %u, not %u", version,
                               grv_pg_schema_wanted());
    }
    if (!status) {
        status = check_applied(call, pg, version, error);
    }
    /* A schema does not change under those who write by it; before the first there are none. */
    if (!status && !config->dry_run && version > 0 && version < grv_pg_schema_wanted()) {
        status = grv_pg_exclude(call, conn, error);
    }
    for (size_t i = 0; i < grv_pg_migration_count && !status; i++) {
        const grv_pg_migration *migration = &grv_pg_migrations[i];
        bool pending = migration->version > version;
        if (pending && !config->dry_run) {
            status = apply(call, conn, migration, error);
        }
        if (!status && config->report) {
            config->report(config->context, migration->version, migration->name, migration->sql,
                           pending);
        }
    }
    return status;
}

grv_status grv_pg_migrate(const grv_call *call, grv_pg *pg, const grv_pg_migrate_config *config,
                          grv_error *error)
{
    /* Only looking takes no lock: it changes nothing, and a role that may only read can do it. */
    if (config->dry_run) {
        return locked(call, pg, NULL, config, error);
    }
    grv_pg_conn *conn;
    grv_status status = grv_pg_dial(call, pg, &conn, error);
    if (status) {
        return status;
    }
    PGresult *result = NULL;
    grv_pg_step step = {&take_lock, NULL};
    bool mine = false;
    status = grv_pg_send(call, conn, &step, 1, &result, error);
    if (!status) {
        status = grv_pg_cell_bool(result, 0, 0, &mine, error);
    }
    grv_pg_clear(&result, 1);
    if (!status && !mine) {
        status = grv_error_set(error, GRV_UNAVAILABLE, "pg",
                               "another process is migrating the database %s: try again",
                               grv_pg_where(pg));
    }
    if (!status) {
        status = locked(call, pg, conn, config, error);
        step.statement = &let_go;
        if (!conn->broken && !grv_pg_send(NULL, conn, &step, 1, &result, NULL)) {
            PQclear(result);
        }
    }
    /* Hanging up lets go of the lock in any case. */
    grv_pg_hang_up(conn);
    return status;
}
