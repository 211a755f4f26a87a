/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of the key-value store over PostgreSQL share. */
#ifndef GRV_BACKEND_PG_KV_H
#define GRV_BACKEND_PG_KV_H

#include "backend/pg/pg.h"

#include <graviton/port/key_value_store.h>

/* Bytes greater than any key there can be: so many of 0xff. */
#define GRV_KV_PG_BOUND_SIZE (GRV_KV_KEY_MAX + 2)

typedef struct grv_kv_pg {
    grv_kv base;
    grv_pg *pg;
    int ordered; /* atomic: an ordered write was made, and nothing durable by us since */
} grv_kv_pg;

/* The store behind the port. */
grv_kv_pg *grv_kv_pg_of(grv_kv *kv);

/* A statement that changes nothing and makes its transaction's commit wait for the log: all that
 * was committed before is durable then. */
extern const grv_pg_statement grv_kv_pg_durable;

/* Slots of the port. */
grv_status grv_kv_pg_write(const grv_call *call, grv_kv *kv, const grv_kv_batch *batch,
                           grv_error *error);
grv_status grv_kv_pg_open_scan(const grv_call *call, grv_kv *kv, const grv_kv_scan *scan,
                               grv_kv_cursor **ret_cursor, grv_error *error);

#endif
