/* SPDX-License-Identifier: Apache-2.0 */
/* What a handle looks at before it trusts a database: the server's version, whether its commits
 * last, and which schema it has. */
#include "backend/pg/migrations.h"
#include "backend/pg/pool.h"

#include <string.h>

#define VERSION_MIN 150000

static const grv_pg_statement settings = {
    "settings", "SELECT pg_catalog.current_setting('server_version_num')::int4, "
                "pg_catalog.current_setting('fsync')::bool, "
                "pg_catalog.current_setting('full_page_writes')::bool, "
                "pg_catalog.current_setting('synchronous_commit') <> 'off', "
                "pg_catalog.current_setting('server_version')"};

static grv_status check_safety(const grv_pg *pg, const PGresult *result, grv_error *error)
{
    static const char *const names[] = {"fsync", "full_page_writes", "synchronous_commit"};
    for (int i = 0; i < 3; i++) {
        bool on = false;
        grv_status status = grv_pg_cell_bool(result, 0, 1 + i, &on, error);
        if (status) {
            return status;
        }
        if (!on && !pg->allow_unsafe) {
            return grv_error_set(error, GRV_CONFLICT, "pg",
                                 "the server has %s = off: it could lose what it acknowledged; "
                                 "turn it on, or accept the loss with GRAVITON_PG_ALLOW_UNSAFE=1",
                                 names[i]);
        }
    }
    return GRV_OK;
}

grv_status grv_pg_check_server(const grv_call *call, grv_pg *pg, grv_error *error)
{
    PGresult *result = NULL;
    grv_status status = grv_pg_read(call, pg, &settings, NULL, &result, error);
    if (status) {
        return status;
    }
    int32_t version = 0;
    status = grv_pg_cell_int32(result, 0, 0, &version, error);
    if (!status && version < VERSION_MIN) {
        grv_bytes text = grv_pg_cell(result, 0, 4);
        status = grv_error_set(error, GRV_UNSUPPORTED, "pg",
                               "the server is PostgreSQL %.*s: 15 or later is needed",
                               (int)text.size, (const char *)text.data);
    }
    if (!status && !pg->read_only) {
        status = check_safety(pg, result, error);
    }
    PQclear(result);
    return status;
}

/* A name in a schema that the role may not use is an error even to ask about. */
static const grv_pg_statement schema_exists = {
    "schema_exists",
    "SELECT CASE WHEN allowed THEN pg_catalog.to_regclass('graviton.schema_migration') IS NOT NULL "
    "ELSE false END, CASE WHEN allowed THEN pg_catalog.to_regclass('graviton.blob_block') "
    "IS NOT NULL ELSE false END, allowed FROM (SELECT pg_catalog.to_regnamespace('graviton') "
    "IS NULL OR pg_catalog.has_schema_privilege('graviton', 'USAGE')) AS role (allowed)"};
static const grv_pg_statement schema_version = {
    "schema_version",
    "SELECT coalesce(pg_catalog.max(version), 0)::int4 FROM graviton.schema_migration"};

grv_status grv_pg_schema_read(const grv_call *call, grv_pg *pg, unsigned *ret_version,
                              bool *ret_foreign, grv_error *error)
{
    PGresult *result = NULL;
    grv_status status = grv_pg_read(call, pg, &schema_exists, NULL, &result, error);
    if (status) {
        return status;
    }
    bool ours = false;
    bool foreign = false;
    bool allowed = false;
    status = grv_pg_cell_bool(result, 0, 0, &ours, error);
    if (!status) {
        status = grv_pg_cell_bool(result, 0, 1, &foreign, error);
    }
    if (!status) {
        status = grv_pg_cell_bool(result, 0, 2, &allowed, error);
    }
    grv_pg_clear(&result, 1);
    if (!status && !allowed) {
        status = grv_error_set(error, GRV_PERMISSION, "pg",
                               "the role may not use schema graviton: GRANT it USAGE");
    }
    int32_t version = 0;
    if (!status && ours) {
        status = grv_pg_read(call, pg, &schema_version, NULL, &result, error);
    }
    if (!status && ours) {
        status = grv_pg_cell_int32(result, 0, 0, &version, error);
    }
    PQclear(result);
    if (!status) {
        *ret_version = version > 0 ? (unsigned)version : 0;
        *ret_foreign = foreign && !ours;
    }
    return status;
}

unsigned grv_pg_schema_wanted(void)
{
    return grv_pg_migrations[grv_pg_migration_count - 1].version;
}

grv_status grv_pg_check_schema(const grv_call *call, grv_pg *pg, grv_error *error)
{
    unsigned version = 0;
    bool foreign = false;
    grv_status status = grv_pg_schema_read(call, pg, &version, &foreign, error);
    if (status) {
        return status;
    }
    unsigned wanted = grv_pg_schema_wanted();
    if (foreign) {
        return grv_error_set(error, GRV_CONFLICT, "pg",
                             "the schema graviton is the Scala system's: make a database of its "
                             "own for this store, and import the old one with `graviton cp "
                             "--from-meta scala:postgresql://HOST/DATABASE`");
    }
    if (version == 0) {
        return grv_error_set(error, GRV_CONFLICT, "pg",
                             "there is no graviton schema: run `graviton migrate`");
    }
    if (version < wanted) {
        return grv_error_set(error, GRV_CONFLICT, "pg",
                             "the schema is older than this program: version %u, not %u; run "
                             "`graviton migrate`",
                             version, wanted);
    }
    if (version > wanted) {
        return grv_error_set(error, GRV_UNSUPPORTED, "pg",
                             "the schema is newer than this program: version %u, not %u; use a "
                             "newer graviton",
                             version, wanted);
    }
    return GRV_OK;
}
