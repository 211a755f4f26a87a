/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Lists of blobs, some at a time: each query begins where the last one ended, by key or by
 * sequence. A root that cannot be read is one failed item; the list goes on after it, so that one
 * damaged blob does not hide the others.
 */
#include "backend/pg/manifest_repo.h"

#include <stdlib.h>

typedef struct pg_list {
    grv_blob_cursor base;
    grv_manifest_repo_pg *repo;
    grv_list_order order;
    bool inclusive;     /* order key: `after` itself belongs to the list */
    grv_blob_key after; /* order key: what comes next is beyond this */
    int64_t below;      /* order newest: what comes next is below this */
    bool ended;
    bool failed;    /* a query failed: what comes after is not known */
    PGresult *rows; /* rows from `given` on are still to be given out */
    int given;
} pg_list;

/* As many rows as have a MiB of roots together, at least one and at most 512. */
#define ROWS(beyond, order)                                                                        \
    "SELECT alg, hash_bytes, byte_length, sequence, " GRV_PG_ROOT_COLUMN                           \
    " FROM (SELECT *, pg_catalog.sum(pg_catalog.octet_length(root)) OVER (ORDER BY " order         \
    " ROWS UNBOUNDED PRECEDING) - pg_catalog.octet_length(root) AS before FROM "                   \
    "(SELECT alg, hash_bytes, byte_length, sequence, root FROM graviton.blob WHERE " beyond        \
    " ORDER BY " order " LIMIT 512) listed) counted WHERE before < 1048576 ORDER BY " order
#define KEY_ORDER  "alg, hash_bytes, byte_length"
#define KEY_PARAMS "($1::core.hash_alg, $2::bytea, $3::int8)"

static const grv_pg_statement list_from = {"list_from",
                                           ROWS("(" KEY_ORDER ") >= " KEY_PARAMS, KEY_ORDER)};
static const grv_pg_statement list_after = {"list_after",
                                            ROWS("(" KEY_ORDER ") > " KEY_PARAMS, KEY_ORDER)};
static const grv_pg_statement list_below = {"list_below", ROWS("sequence < $1", "sequence DESC")};

static grv_status read_more(const grv_call *call, pg_list *list, grv_error *error)
{
    grv_pg_params params = {0};
    const grv_pg_statement *statement = &list_below;
    if (list->order == GRV_ORDER_KEY) {
        statement = list->inclusive ? &list_from : &list_after;
        grv_pg_add_blob(&params, &list->after);
    } else {
        grv_pg_add_int64(&params, list->below);
    }
    PQclear(list->rows);
    list->rows = NULL;
    list->given = 0;
    grv_status status = grv_pg_read(call, list->repo->pg, statement, &params, &list->rows, error);
    if (!status && PQntuples(list->rows) == 0) {
        list->ended = true;
    }
    if (status || list->ended) {
        return status;
    }
    int last = PQntuples(list->rows) - 1;
    status = grv_pg_cell_int64(list->rows, last, 3, &list->below, error);
    if (!status) {
        status = grv_pg_cell_blob(list->rows, last, 0, &list->after, error);
    }
    list->inclusive = false;
    return status;
}

/* The next row's blob, or why there is none. */
static grv_status read_row(pg_list *list, grv_blob_info *ret_info, grv_error *error)
{
    int row = list->given;
    grv_blob_key key;
    int64_t sequence = 0;
    grv_manifest_root root;
    grv_status status = grv_pg_cell_blob(list->rows, row, 0, &key, error);
    if (!status) {
        status = grv_pg_cell_int64(list->rows, row, 3, &sequence, error);
    }
    if (status) {
        return status;
    }
    status = grv_manifest_root_decode_of(&key, grv_pg_cell(list->rows, row, 4), &root, error);
    if (!status && root.info.sequence != (uint64_t)sequence) {
        status = grv_error_set(error, GRV_CORRUPT, "manifests", "its root has another sequence");
        grv_manifest_prefix_blob(&key, error);
    }
    if (!status) {
        *ret_info = root.info;
    }
    return status;
}

static grv_status pg_list_next(const grv_call *call, grv_blob_cursor *base, grv_blob_info infos[],
                               size_t capacity, size_t *ret_count, grv_error *error)
{
    pg_list *list = (pg_list *)base;
    if (list->failed) {
        return grv_error_set(error, GRV_INVALID_ARGUMENT, "manifests",
                             "the list of blobs has failed; begin another where it stopped");
    }
    if (!list->ended && (!list->rows || list->given == PQntuples(list->rows))) {
        grv_status status = read_more(call, list, error);
        if (status) {
            list->failed = true;
            return status;
        }
    }
    size_t count = 0;
    while (count < capacity && !list->ended && list->given < PQntuples(list->rows)) {
        grv_status status = read_row(list, &infos[count], count ? NULL : error);
        if (status && count > 0) {
            break; /* the next call tells of it */
        }
        list->given++;
        if (status) {
            return status;
        }
        count++;
    }
    *ret_count = count;
    return GRV_OK;
}

static void pg_list_free(grv_blob_cursor *base)
{
    pg_list *list = (pg_list *)base;
    PQclear(list->rows);
    free(list);
}

static const grv_blob_cursor_ops pg_list_ops = {
    .name = "pg",
    .next = pg_list_next,
    .free = pg_list_free,
};

grv_status grv_manifest_repo_pg_open_list(const grv_call *call, grv_manifest_repo *base,
                                          const grv_blob_list *wanted, grv_blob_cursor **ret_cursor,
                                          grv_error *error)
{
    grv_status status = grv_call_check(call, "manifests", error);
    if (status) {
        return status;
    }
    pg_list *list = calloc(1, sizeof *list);
    if (!list) {
        return grv_error_set(error, GRV_LIMIT_EXCEEDED, "manifests", "no memory for a list");
    }
    list->base.ops = &pg_list_ops;
    list->repo = grv_manifest_repo_pg_of(base);
    list->order = wanted->order;
    list->inclusive = true;
    list->after.digest.hash = GRV_HASH_BLAKE3; /* the first key there is */
    if (wanted->start) {
        list->after = *wanted->start;
        list->inclusive = !wanted->after_start;
    }
    list->below = INT64_MAX;
    if (wanted->below_sequence > 0 && wanted->below_sequence < INT64_MAX) {
        list->below = (int64_t)wanted->below_sequence;
    }
    *ret_cursor = &list->base;
    return GRV_OK;
}
