/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Lists of blobs, some at a time: algorithm by algorithm in the order of keys, whatever order the
 * database has them in, and within one by the table's primary key. A row that is no blob's is one
 * failed item; the list goes on after it.
 */
#include "backend/pg/scala.h"

#include <stdlib.h>
#include <string.h>

#define ORIGIN "manifests"
/* Bytes of a hash that is compared with: one that is read is cut off at the 33rd. */
#define HASH_MAX (GRV_DIGEST_SIZE + 2u)

typedef struct scala_list {
    grv_blob_cursor base;
    grv_scala_repo *repo;
    size_t name; /* number of the algorithm that is listed */
    bool inclusive;
    uint8_t hash[HASH_MAX]; /* what comes next is beyond this hash and size, or is it */
    size_t hash_size;
    int64_t size;
    bool failed;    /* a query failed: what comes after is not known */
    PGresult *rows; /* rows from `given` on are still to be given out */
    int given;
} scala_list;

#define ORDER "hash_bytes, byte_length"
#define LIST(beyond)                                                                               \
    "SELECT " GRV_SCALA_BLOB_COLUMNS                                                               \
    " FROM " GRV_SCALA_BLOB_ROWS("(" ORDER ") " beyond " ($3::bytea, $4::int8) ORDER BY " ORDER    \
                                 " LIMIT 256") " ORDER BY "                                        \
                                               "b.hash_bytes, b.byte_length"

static const grv_pg_statement list_from = {"scala_from", LIST(">=")};
static const grv_pg_statement list_after = {"scala_after", LIST(">")};

static void begin_name(scala_list *list, size_t name)
{
    list->name = name;
    list->inclusive = true;
    list->hash_size = 0;
    list->size = INT64_MIN;
}

static bool at_end(const scala_list *list)
{
    return list->name == list->repo->name_count;
}

/* Remembers the last row as the place to go on from. Where its hash was cut off, all that begin
 * like it are passed over: none of them is a blob's. */
static grv_status remember_last(scala_list *list, grv_error *error)
{
    int last = PQntuples(list->rows) - 1;
    grv_bytes hash = grv_pg_cell(list->rows, last, 0);
    grv_status status = grv_pg_cell_int64(list->rows, last, 1, &list->size, error);
    if (status) {
        return status;
    }
    list->inclusive = hash.size > GRV_DIGEST_SIZE;
    if (list->inclusive) {
        list->hash_size = grv_pg_prefix_end(hash, list->hash, HASH_MAX);
        list->size = INT64_MIN;
    } else {
        memcpy(list->hash, hash.data, hash.size);
        list->hash_size = hash.size;
    }
    return GRV_OK;
}

/* Reads on, from one algorithm to the next, until there are rows or no algorithm is left. */
static grv_status read_more(const grv_call *call, scala_list *list, grv_error *error)
{
    while (!at_end(list)) {
        if (list->hash_size == HASH_MAX) {
            begin_name(list, list->name + 1); /* nothing is beyond it */
            continue;
        }
        const char *name = list->repo->names[list->name].text;
        grv_pg_params params = {0};
        grv_pg_add_text(&params, name);
        grv_pg_add_text(&params, name);
        grv_pg_add_bytes(&params, grv_bytes_of(list->hash, list->hash_size));
        grv_pg_add_int64(&params, list->size);
        PQclear(list->rows);
        list->rows = NULL;
        list->given = 0;
        grv_status status =
            grv_pg_read(call, list->repo->pg, list->inclusive ? &list_from : &list_after, &params,
                        &list->rows, error);
        if (status) {
            return status;
        }
        if (PQntuples(list->rows) > 0) {
            return remember_last(list, error);
        }
        begin_name(list, list->name + 1);
    }
    return GRV_OK;
}

static grv_status scala_list_next(const grv_call *call, grv_blob_cursor *base,
                                  grv_blob_info infos[], size_t capacity, size_t *ret_count,
                                  grv_error *error)
{
    scala_list *list = (scala_list *)base;
    if (list->failed) {
        return grv_error_set(error, GRV_INVALID_ARGUMENT, ORIGIN,
                             "the list of blobs has failed; begin another where it stopped");
    }
    if (!at_end(list) && (!list->rows || list->given == PQntuples(list->rows))) {
        grv_status status = read_more(call, list, error);
        if (status) {
            list->failed = true;
            return status;
        }
    }
    size_t count = 0;
    while (count < capacity && !at_end(list) && list->given < PQntuples(list->rows)) {
        grv_status status =
            grv_scala_blob_read(list->rows, list->given, &list->repo->names[list->name],
                                &infos[count], count ? NULL : error);
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

static void scala_list_free(grv_blob_cursor *base)
{
    scala_list *list = (scala_list *)base;
    PQclear(list->rows);
    free(list);
}

static const grv_blob_cursor_ops scala_list_ops = {
    .name = "scala",
    .next = scala_list_next,
    .free = scala_list_free,
};

/* Begins at a key: with its algorithm, or the next one that there is. */
static void begin_key(scala_list *list, const grv_blob_key *start, bool after)
{
    const grv_scala_repo *repo = list->repo;
    size_t name = 0;
    while (name < repo->name_count && repo->names[name].hash != GRV_HASH_NONE &&
           repo->names[name].hash < start->digest.hash) {
        name++;
    }
    begin_name(list, name);
    if (name < repo->name_count && repo->names[name].hash == start->digest.hash) {
        list->inclusive = !after;
        memcpy(list->hash, start->digest.bytes, GRV_DIGEST_SIZE);
        list->hash_size = GRV_DIGEST_SIZE;
        list->size = (int64_t)start->size;
    }
}

grv_status grv_scala_open_list(const grv_call *call, grv_manifest_repo *base,
                               const grv_blob_list *wanted, grv_blob_cursor **ret_cursor,
                               grv_error *error)
{
    grv_status status = grv_call_check(call, ORIGIN, error);
    if (status) {
        return status;
    }
    scala_list *list = calloc(1, sizeof *list);
    if (!list) {
        return grv_error_set(error, GRV_LIMIT_EXCEEDED, ORIGIN, "no memory for a list");
    }
    list->base.ops = &scala_list_ops;
    list->repo = grv_scala_repo_of(base);
    if (wanted->start) {
        begin_key(list, wanted->start, wanted->after_start);
    } else {
        begin_name(list, 0);
    }
    *ret_cursor = &list->base;
    return GRV_OK;
}
