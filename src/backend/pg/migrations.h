/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The schema's migrations, embedded at build from src/backend/pg/migrations/NNNN_NAME.sql. Each is
 * a script for one transaction. One that was released never changes: what a database has applied
 * is compared by its digest.
 */
#ifndef GRV_BACKEND_PG_MIGRATIONS_H
#define GRV_BACKEND_PG_MIGRATIONS_H

#include <stddef.h>

/* One migration. All strings are NUL-terminated and static. */
typedef struct grv_pg_migration {
    unsigned version; /* NNNN */
    const char *name;
    const char *sql;
    const char *digest; /* SHA-256 of the script, 64 lower-case hex digits */
} grv_pg_migration;

/* All of them, of versions 1 to grv_pg_migration_count in this order. */
extern const grv_pg_migration grv_pg_migrations[];
extern const size_t grv_pg_migration_count;

#endif
