/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Key-value store over PostgreSQL: table graviton.kv. Reads by key are here, batches in kv_write.c,
 * scans in kv_scan.c.
 *
 * Values are lent out of the results they came in: a result lives as long as any value of it. So
 * that this is bounded, one result brings a bounded number of bytes, and at least one value.
 */
#include "backend/pg/kv.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

/* Bytes of keys that one statement asks for, and of values that one result brings, more only where
 * a single value is longer. */
#define ASK_BYTES    (16u << 20)
#define RESULT_BYTES (16u << 20)

/* How long closing waits for the server to make ordered writes durable, in nanoseconds. */
#define CLOSE_NS UINT64_C(10000000000)

static const grv_kv_ops kv_pg_ops;

static const grv_pg_statement get_one = {
    "kv_get", "SELECT value FROM graviton.kv WHERE ns = $1 AND key = $2"};

/* Values past the budget come back as NULL, to be asked for again. */
static const grv_pg_statement get_many = {
    "kv_multi_get", "SELECT n, CASE WHEN total <= $3::int8 OR total = size THEN value END FROM ("
                    "SELECT asked.n, kv.value, octet_length(kv.value) AS size, "
                    "sum(octet_length(kv.value)) OVER (ROWS UNBOUNDED PRECEDING) AS total "
                    "FROM unnest($2::bytea[]) WITH ORDINALITY AS asked (key, n) "
                    "JOIN graviton.kv ON kv.ns = $1 AND kv.key = asked.key) AS found"};

static const grv_pg_statement find_missing = {
    "kv_missing", "SELECT asked.n FROM unnest($2::bytea[]) WITH ORDINALITY AS asked (key, n) "
                  "WHERE NOT EXISTS (SELECT FROM graviton.kv WHERE kv.ns = $1 AND kv.key = "
                  "asked.key)"};

const grv_pg_statement grv_kv_pg_durable = {
    "kv_durable", "SELECT pg_catalog.pg_logical_emit_message(true, 'graviton', '')"};

grv_kv_pg *grv_kv_pg_of(grv_kv *kv)
{
    assert(kv->ops == &kv_pg_ops);
    return (grv_kv_pg *)kv;
}

/* ---- Values lent out of results ---- */

typedef struct lender {
    PGresult *result;
    size_t users; /* atomic */
} lender;

static void lender_release(void *owner)
{
    lender *self = owner;
    if (__atomic_sub_fetch(&self->users, 1, __ATOMIC_ACQ_REL) == 0) {
        PQclear(self->result);
        free(self);
    }
}

/* A lender with one user, the caller; takes the result over, also on failure. */
static lender *lender_new(PGresult *result, grv_error *error)
{
    lender *self = malloc(sizeof *self);
    if (!self) {
        PQclear(result);
        grv_error_set(error, GRV_LIMIT_EXCEEDED, "pg", "no memory for values");
        return NULL;
    }
    *self = (lender){.result = result, .users = 1};
    return self;
}

/* Counts the users of values that are about to be lent, or were and are not yet given out. */
static void lender_count(lender *self, size_t users)
{
    __atomic_add_fetch(&self->users, users, __ATOMIC_RELAXED);
}

static grv_value lender_lend(lender *self, int row, int column)
{
    return (grv_value){
        .bytes = grv_pg_cell(self->result, row, column), .release = lender_release, .owner = self};
}

static grv_status kv_pg_get(const grv_call *call, grv_kv *kv, unsigned ns, grv_bytes key,
                            grv_value *ret_value, grv_error *error)
{
    grv_status status = grv_call_check(call, "pg", error);
    if (status) {
        return status;
    }
    grv_pg_params params = {0};
    grv_pg_add_int16(&params, (int16_t)ns);
    grv_pg_add_bytes(&params, key);
    PGresult *result = NULL;
    status = grv_pg_read(call, grv_kv_pg_of(kv)->pg, &get_one, &params, &result, error);
    if (status) {
        return status;
    }
    if (PQntuples(result) == 0) {
        PQclear(result);
        return grv_error_set(error, GRV_NOT_FOUND, "pg", "no such key");
    }
    lender *from = lender_new(result, error);
    if (!from) {
        return GRV_LIMIT_EXCEEDED;
    }
    lender_count(from, 1);
    *ret_value = lender_lend(from, 0, 0);
    lender_release(from);
    return GRV_OK;
}

/* ---- Many keys at once ---- */

/* Fills `array` with the keys that todo[0], todo[1], ... name, or with the first ones where todo
 * is NULL; *ret_count is how many. */
static grv_status ask_for(const grv_bytes keys[], const size_t todo[], size_t count,
                          grv_pg_array *array, size_t *ret_count, grv_error *error)
{
    size_t bytes = 0;
    size_t used = 0;
    grv_status status = grv_pg_array_init(array, GRV_PG_BYTEA, error);
    while (!status && used < count && bytes < ASK_BYTES) {
        grv_bytes key = keys[todo ? todo[used] : used];
        status = grv_pg_array_add(array, key, error);
        bytes += key.size;
        used++;
    }
    *ret_count = used;
    return status;
}

/* The number of a key in a row, 1 and up in SQL. */
static grv_status row_number(const PGresult *result, int row, size_t asked, size_t *ret_index,
                             grv_error *error)
{
    int64_t number = 0;
    grv_status status = grv_pg_cell_int64(result, row, 0, &number, error);
    if (!status && (number < 1 || (uint64_t)number > asked)) {
        status = grv_error_set(error, GRV_INTERNAL, "pg", "an answer about a key not asked for");
    }
    if (!status) {
        *ret_index = (size_t)number - 1;
    }
    return status;
}

/* Takes what a result brought of the keys that `todo` names. Those whose values are still to come
 * are moved to the end of todo; *ret_later is how many. */
static grv_status take_values(lender *from, size_t todo[], size_t asked, grv_value values[],
                              size_t *ret_later, grv_error *error)
{
    bool *is_late = calloc(asked, sizeof *is_late);
    if (!is_late) {
        return grv_error_set(error, GRV_LIMIT_EXCEEDED, "pg", "no memory for values");
    }
    grv_status status = GRV_OK;
    size_t lent = 0;
    int rows = PQntuples(from->result);
    for (int row = 0; !status && row < rows; row++) {
        size_t index = 0;
        status = row_number(from->result, row, asked, &index, error);
        if (!status && grv_pg_is_null(from->result, row, 1)) {
            is_late[index] = true;
        } else if (!status && !values[todo[index]].release) {
            values[todo[index]] = lender_lend(from, row, 1);
            lent++;
        }
    }
    lender_count(from, lent);
    size_t later = 0;
    for (size_t i = asked; i-- > 0;) {
        if (is_late[i]) {
            later++;
            todo[asked - later] = todo[i];
        }
    }
    free(is_late);
    *ret_later = later;
    return status;
}

static grv_status ask_values(const grv_call *call, grv_kv_pg *kv, unsigned ns,
                             const grv_bytes keys[], size_t todo[], size_t count,
                             grv_value values[], grv_error *error)
{
    grv_status status = GRV_OK;
    for (size_t at = 0; !status && at < count;) {
        grv_pg_array array;
        size_t asked = 0;
        size_t later = 0;
        PGresult *result = NULL;
        status = ask_for(keys, todo + at, count - at, &array, &asked, error);
        if (!status) {
            grv_pg_params params = {0};
            grv_pg_add_int16(&params, (int16_t)ns);
            grv_pg_add_bytes(&params, grv_pg_array_bytes(&array));
            grv_pg_add_int64(&params, RESULT_BYTES);
            status = grv_pg_read(call, kv->pg, &get_many, &params, &result, error);
        }
        grv_pg_array_done(&array);
        if (!status) {
            lender *from = lender_new(result, error);
            if (!from) {
                return GRV_LIMIT_EXCEEDED;
            }
            status = take_values(from, todo + at, asked, values, &later, error);
            lender_release(from);
        }
        at += asked - later;
    }
    return status;
}

static grv_status kv_pg_multi_get(const grv_call *call, grv_kv *kv, unsigned ns,
                                  const grv_bytes keys[], size_t count, grv_value ret_values[],
                                  grv_status ret_statuses[], grv_error *error)
{
    grv_status status = grv_call_check(call, "pg", error);
    if (status) {
        return status;
    }
    grv_value *values = calloc(count, sizeof *values);
    size_t *todo = malloc(count * sizeof *todo);
    if (!values || !todo) {
        free(values);
        free(todo);
        return grv_error_set(error, GRV_LIMIT_EXCEEDED, "pg", "no memory for %zu keys", count);
    }
    for (size_t i = 0; i < count; i++) {
        todo[i] = i;
    }
    status = ask_values(call, grv_kv_pg_of(kv), ns, keys, todo, count, values, error);
    for (size_t i = 0; i < count; i++) {
        if (status) {
            grv_value_done(&values[i]);
        } else {
            ret_values[i] = values[i];
            ret_statuses[i] = values[i].release ? GRV_OK : GRV_NOT_FOUND;
        }
    }
    free(values);
    free(todo);
    return status;
}

static grv_status kv_pg_missing(const grv_call *call, grv_kv *kv, unsigned ns,
                                const grv_bytes keys[], size_t count, bool ret_missing[],
                                grv_error *error)
{
    grv_status status = grv_call_check(call, "pg", error);
    if (status) {
        return status;
    }
    bool *missing = calloc(count, sizeof *missing);
    if (!missing) {
        return grv_error_set(error, GRV_LIMIT_EXCEEDED, "pg", "no memory for %zu keys", count);
    }
    for (size_t at = 0; !status && at < count;) {
        grv_pg_array array;
        size_t asked = 0;
        PGresult *result = NULL;
        status = ask_for(keys + at, NULL, count - at, &array, &asked, error);
        if (!status) {
            grv_pg_params params = {0};
            grv_pg_add_int16(&params, (int16_t)ns);
            grv_pg_add_bytes(&params, grv_pg_array_bytes(&array));
            status =
                grv_pg_read(call, grv_kv_pg_of(kv)->pg, &find_missing, &params, &result, error);
        }
        grv_pg_array_done(&array);
        for (int row = 0; !status && row < PQntuples(result); row++) {
            size_t index = 0;
            status = row_number(result, row, asked, &index, error);
            missing[at + index] = missing[at + index] || !status;
        }
        PQclear(result);
        at += asked;
    }
    if (!status) {
        memcpy(ret_missing, missing, count * sizeof *missing);
    }
    free(missing);
    return status;
}

/* ---- The rest ---- */

static grv_status kv_pg_flush(const grv_call *call, grv_kv *base, grv_error *error)
{
    grv_kv_pg *kv = grv_kv_pg_of(base);
    PGresult *result = NULL;
    grv_status status = grv_call_check(call, "pg", error);
    if (status) {
        return status;
    }
    /* What is written from here on is not promised. */
    __atomic_store_n(&kv->ordered, 0, __ATOMIC_RELEASE);
    status = grv_pg_write(call, kv->pg, &grv_kv_pg_durable, NULL, &result, error);
    if (status) {
        __atomic_store_n(&kv->ordered, 1, __ATOMIC_RELEASE);
        grv_error_prefix(error, "make writes durable");
        return status;
    }
    PQclear(result);
    return GRV_OK;
}

static void kv_pg_free(grv_kv *base)
{
    grv_kv_pg *kv = grv_kv_pg_of(base);
    if (__atomic_load_n(&kv->ordered, __ATOMIC_ACQUIRE)) {
        const grv_call call = {.deadline_ns = grv_now_ns() + CLOSE_NS};
        /* The server writes its log within a second by itself, so there is nothing more to do. */
        (void)kv_pg_flush(&call, base, NULL);
    }
    free(kv);
}

static const grv_kv_ops kv_pg_ops = {
    .name = "pg",
    .get = kv_pg_get,
    .multi_get = kv_pg_multi_get,
    .missing = kv_pg_missing,
    .write = grv_kv_pg_write,
    .open_scan = grv_kv_pg_open_scan,
    .flush = kv_pg_flush,
    .free = kv_pg_free,
};

grv_status grv_kv_pg_new(grv_pg *pg, unsigned namespace_count, grv_kv **ret_kv, grv_error *error)
{
    grv_kv_pg *kv = calloc(1, sizeof *kv);
    if (!kv) {
        return grv_error_set(error, GRV_LIMIT_EXCEEDED, "pg", "no memory for a store");
    }
    grv_status status = grv_kv_init(&kv->base, &kv_pg_ops, namespace_count, error);
    if (status) {
        free(kv);
        return status;
    }
    kv->pg = pg;
    *ret_kv = &kv->base;
    return GRV_OK;
}
