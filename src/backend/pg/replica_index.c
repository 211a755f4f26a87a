/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Replica index over PostgreSQL: table graviton.location, a row for each key and locator. Both
 * directions are indexes of the one table, so they cannot disagree.
 *
 * Every change is one statement: a function that first locks the key, so that the number of its
 * locators stays within GRV_LOCATOR_SET_MAX however many add at once. A list is a statement a page,
 * from behind the last row seen.
 */
#include "backend/pg/pg.h"

#include <assert.h>
#include <graviton/port/replica_index.h>
#include <stdlib.h>
#include <string.h>

/* Most rows of a page. */
#define PAGE_MAX 1000u
/* Bytes greater than any locator: so many of 0xff. A key's are one more with the NUL behind it. */
#define BOUND_SIZE (GRV_REPLICA_LOCATOR_MAX + 1)

typedef struct replica_index_pg {
    grv_replica_index base;
    grv_pg *pg;
} replica_index_pg;

static const grv_replica_index_ops replica_index_pg_ops;

static const grv_pg_statement read_locators = {
    "location_of", "SELECT locator FROM graviton.location WHERE kind = $1 AND key = $2 "
                   "ORDER BY locator LIMIT $3"};
static const grv_pg_statement set_locators = {
    "location_set", "SELECT graviton.location_set($1::int2, $2::bytea, $3::bytea[])"};
static const grv_pg_statement add_locator = {
    "location_add", "SELECT graviton.location_add($1::int2, $2::bytea, $3::bytea, $4::int4)"};
static const grv_pg_statement remove_locator = {
    "location_remove", "SELECT graviton.location_remove($1::int2, $2::bytea, $3::bytea)"};
static const grv_pg_statement list_locations = {
    "location_list", "SELECT locator, kind, key FROM graviton.location "
                     "WHERE (locator, kind, key) >= ($1::bytea, $2::int2, $3::bytea) "
                     "AND locator < $4::bytea ORDER BY locator, kind, key LIMIT $5"};

static replica_index_pg *replica_index_pg_of(grv_replica_index *base)
{
    assert(base->ops == &replica_index_pg_ops);
    return (replica_index_pg *)base;
}

static grv_status fail_of(const grv_replica_key *key, grv_status status, grv_error *error)
{
    if (status) {
        char text[GRV_REPLICA_KEY_TEXT_SIZE];
        grv_replica_key_print(key, text);
        grv_error_prefix(error, "replicas of %s", text);
    }
    return status;
}

/* ---- Keys and locators as columns ---- */

/* A key's columns, borrowed by parameters. */
typedef struct pg_key {
    uint8_t bytes[GRV_REPLICA_KEY_BYTES_MAX];
    size_t size;
} pg_key;

static void add_key(grv_pg_params *params, pg_key *columns, const grv_replica_key *key)
{
    columns->size = grv_replica_key_encode(key, columns->bytes);
    grv_pg_add_int16(params, columns->bytes[0]);
    grv_pg_add_bytes(params, grv_bytes_of(columns->bytes + 1, columns->size - 1));
}

static grv_bytes print_locator(const grv_locator *locator, char text[GRV_LOCATOR_TEXT_SIZE])
{
    grv_locator_print(locator, text);
    return grv_bytes_of(text, strlen(text));
}

static grv_status parse_locator(grv_bytes text, grv_locator *ret_locator, grv_error *error)
{
    grv_locator locator;
    char printed[GRV_LOCATOR_TEXT_SIZE];
    if (text.size > GRV_REPLICA_LOCATOR_MAX || grv_locator_parse(text, &locator, NULL) ||
        grv_bytes_compare(print_locator(&locator, printed), text) != 0) {
        return grv_error_set(error, GRV_CORRUPT, "replicas",
                             "a locator in graviton.location that is none");
    }
    *ret_locator = locator;
    return GRV_OK;
}

static grv_status parse_key(const PGresult *result, int row, grv_replica_key *ret_key,
                            grv_error *error)
{
    int16_t kind = 0;
    uint8_t bytes[GRV_REPLICA_KEY_BYTES_MAX];
    grv_bytes key = grv_pg_cell(result, row, 2);
    grv_status status = grv_pg_cell_int16(result, row, 1, &kind, error);
    if (status) {
        return status;
    }
    if (kind < 0 || kind > UINT8_MAX || key.size >= sizeof bytes) {
        return grv_error_set(error, GRV_CORRUPT, "replicas",
                             "a key in graviton.location that is none");
    }
    bytes[0] = (uint8_t)kind;
    memcpy(bytes + 1, key.data, key.size);
    return grv_replica_key_decode(grv_bytes_of(bytes, 1 + key.size), ret_key, error);
}

/* ---- The locators of a key ---- */

static grv_status take_locators(const PGresult *result, grv_locator_set *set, grv_error *error)
{
    if (PQntuples(result) > (int)GRV_LOCATOR_SET_MAX) {
        return grv_error_set(error, GRV_CORRUPT, "replicas", "more than %u of them",
                             GRV_LOCATOR_SET_MAX);
    }
    grv_status status = GRV_OK;
    for (int row = 0; !status && row < PQntuples(result); row++) {
        grv_locator locator;
        status = parse_locator(grv_pg_cell(result, row, 0), &locator, error);
        if (!status) {
            status = grv_locator_set_add(set, &locator, error);
        }
    }
    return status;
}

static grv_status replica_index_pg_replicas(const grv_call *call, grv_replica_index *base,
                                            const grv_replica_key *key, grv_locator_set *set,
                                            grv_error *error)
{
    grv_status status = grv_call_check(call, "pg", error);
    if (status) {
        return fail_of(key, status, error);
    }
    pg_key columns;
    grv_pg_params params = {0};
    PGresult *result = NULL;
    grv_locator_set found;
    grv_locator_set_init(&found);
    add_key(&params, &columns, key);
    grv_pg_add_int64(&params, GRV_LOCATOR_SET_MAX + 1);
    status =
        grv_pg_read(call, replica_index_pg_of(base)->pg, &read_locators, &params, &result, error);
    if (!status) {
        status = take_locators(result, &found, error);
    }
    PQclear(result);
    if (status) {
        grv_locator_set_done(&found);
        return fail_of(key, status, error);
    }
    grv_locator_set_done(set);
    *set = found;
    return GRV_OK;
}

/* ---- Changes ---- */

static grv_status replica_index_pg_update(const grv_call *call, grv_replica_index *base,
                                          const grv_replica_key *key, const grv_locator_set *set,
                                          grv_error *error)
{
    grv_pg_array locators;
    grv_status status = grv_pg_array_init(&locators, GRV_PG_BYTEA, error);
    for (size_t i = 0; !status && i < set->count; i++) {
        char text[GRV_LOCATOR_TEXT_SIZE];
        status = grv_pg_array_add(&locators, print_locator(&set->locators[i], text), error);
    }
    if (!status) {
        status = grv_call_check(call, "pg", error);
    }
    if (!status) {
        pg_key columns;
        grv_pg_params params = {0};
        PGresult *result = NULL;
        add_key(&params, &columns, key);
        grv_pg_add_bytes(&params, grv_pg_array_bytes(&locators));
        status = grv_pg_write(call, replica_index_pg_of(base)->pg, &set_locators, &params, &result,
                              error);
        PQclear(result);
    }
    grv_pg_array_done(&locators);
    return fail_of(key, status, error);
}

static grv_status replica_index_pg_add(const grv_call *call, grv_replica_index *base,
                                       const grv_replica_key *key, const grv_locator *locator,
                                       grv_error *error)
{
    grv_status status = grv_call_check(call, "pg", error);
    if (status) {
        return fail_of(key, status, error);
    }
    char text[GRV_LOCATOR_TEXT_SIZE];
    pg_key columns;
    grv_pg_params params = {0};
    PGresult *result = NULL;
    bool added = false;
    add_key(&params, &columns, key);
    grv_pg_add_bytes(&params, print_locator(locator, text));
    grv_pg_add_int32(&params, GRV_LOCATOR_SET_MAX);
    status =
        grv_pg_write(call, replica_index_pg_of(base)->pg, &add_locator, &params, &result, error);
    if (!status) {
        status = grv_pg_cell_bool(result, 0, 0, &added, error);
    }
    PQclear(result);
    if (!status && !added) {
        status = grv_error_set(error, GRV_LIMIT_EXCEEDED, "replicas", "there are %u already",
                               GRV_LOCATOR_SET_MAX);
    }
    return fail_of(key, status, error);
}

static grv_status replica_index_pg_remove(const grv_call *call, grv_replica_index *base,
                                          const grv_replica_key *key, const grv_locator *locator,
                                          grv_error *error)
{
    grv_status status = grv_call_check(call, "pg", error);
    if (status) {
        return fail_of(key, status, error);
    }
    char text[GRV_LOCATOR_TEXT_SIZE];
    pg_key columns;
    grv_pg_params params = {0};
    PGresult *result = NULL;
    add_key(&params, &columns, key);
    grv_pg_add_bytes(&params, print_locator(locator, text));
    status =
        grv_pg_write(call, replica_index_pg_of(base)->pg, &remove_locator, &params, &result, error);
    PQclear(result);
    return fail_of(key, status, error);
}

/* ---- Lists ---- */

typedef struct pg_list {
    grv_replica_cursor base;
    grv_pg *pg;
    bool failed;
    uint8_t locator[BOUND_SIZE]; /* the first row that is still to come is at or behind these */
    size_t locator_size;
    int16_t kind;
    uint8_t key[GRV_REPLICA_KEY_BYTES_MAX + 1];
    size_t key_size;
    uint8_t end[BOUND_SIZE]; /* and its locator before this */
    size_t end_size;
} pg_list;

/* Goes on at this row, or behind it: a NUL more makes the next key there can be. False for columns
 * that no row may have. */
static bool list_go_to(pg_list *list, grv_bytes locator, int16_t kind, grv_bytes key, bool after)
{
    if (locator.size >= sizeof list->locator || key.size >= sizeof list->key) {
        return false;
    }
    memcpy(list->locator, locator.data, locator.size);
    list->locator_size = locator.size;
    list->kind = kind;
    memcpy(list->key, key.data, key.size);
    list->key_size = key.size;
    if (after) {
        list->key[list->key_size++] = 0;
    }
    return true;
}

static grv_status list_page(const grv_call *call, pg_list *list, size_t rows, PGresult **ret_result,
                            grv_error *error)
{
    grv_pg_params params = {0};
    grv_pg_add_bytes(&params, grv_bytes_of(list->locator, list->locator_size));
    grv_pg_add_int16(&params, list->kind);
    grv_pg_add_bytes(&params, grv_bytes_of(list->key, list->key_size));
    grv_pg_add_bytes(&params, grv_bytes_of(list->end, list->end_size));
    grv_pg_add_int64(&params, (int64_t)rows);
    return grv_pg_read(call, list->pg, &list_locations, &params, ret_result, error);
}

/* A row as an item. The list goes on behind it, whatever it holds; where even that cannot be said
 * the list has failed. */
static grv_status take_row(pg_list *list, const PGresult *result, int row, grv_replica *ret_item,
                           grv_error *error)
{
    grv_bytes locator = grv_pg_cell(result, row, 0);
    grv_bytes key = grv_pg_cell(result, row, 2);
    int16_t kind = 0;
    grv_status status = grv_pg_cell_int16(result, row, 1, &kind, error);
    if (status || !list_go_to(list, locator, kind, key, true)) {
        list->failed = true;
        return grv_error_set(error, GRV_CORRUPT, "replicas", "a row of graviton.location is none");
    }
    status = parse_locator(locator, &ret_item->locator, error);
    if (!status) {
        status = parse_key(result, row, &ret_item->key, error);
    }
    return status;
}

static grv_status pg_list_next(const grv_call *call, grv_replica_cursor *base, grv_replica items[],
                               size_t capacity, size_t *ret_count, grv_error *error)
{
    pg_list *list = (pg_list *)base;
    if (list->failed) {
        return grv_error_set(error, GRV_INVALID_ARGUMENT, "replicas",
                             "the list of replicas has failed; begin another where it stopped");
    }
    PGresult *result = NULL;
    grv_status status = grv_call_check(call, "pg", error);
    if (!status) {
        status = list_page(call, list, capacity < PAGE_MAX ? capacity : PAGE_MAX, &result, error);
    }
    if (status) {
        list->failed = true;
        return status;
    }
    size_t count = 0;
    for (int row = 0; row < PQntuples(result) && (size_t)row < capacity; row++) {
        pg_list before = *list;
        status = take_row(list, result, row, &items[count], error);
        if (status && count > 0) {
            /* What is sound is given out first. */
            *list = before;
            status = GRV_OK;
            break;
        }
        if (status) {
            grv_error_prefix(error, "list of replicas");
            break;
        }
        count++;
    }
    PQclear(result);
    if (!status) {
        *ret_count = count;
    }
    return status;
}

static void pg_list_free(grv_replica_cursor *base)
{
    free(base);
}

static const grv_replica_cursor_ops pg_list_ops = {
    .name = "pg",
    .next = pg_list_next,
    .free = pg_list_free,
};

static grv_status replica_index_pg_open_list(const grv_call *call, grv_replica_index *base,
                                             const grv_replica_list *wanted,
                                             grv_replica_cursor **ret_cursor, grv_error *error)
{
    grv_status status = grv_call_check(call, "pg", error);
    if (status) {
        return status;
    }
    pg_list *list = calloc(1, sizeof *list);
    if (!list) {
        return grv_error_set(error, GRV_LIMIT_EXCEEDED, "replicas", "no memory for a list");
    }
    list->base.ops = &pg_list_ops;
    list->pg = replica_index_pg_of(base)->pg;
    list->end_size = grv_pg_prefix_end(wanted->prefix, list->end, sizeof list->end);
    grv_bytes none = grv_bytes_of("", 0);
    list_go_to(list, wanted->prefix.size > 0 ? wanted->prefix : none, 0, none, false);
    if (wanted->start) {
        char text[GRV_LOCATOR_TEXT_SIZE];
        uint8_t key[GRV_REPLICA_KEY_BYTES_MAX];
        size_t size = grv_replica_key_encode(&wanted->start->key, key);
        grv_bytes locator = print_locator(&wanted->start->locator, text);
        if (grv_bytes_compare(locator, wanted->prefix) >= 0) {
            list_go_to(list, locator, key[0], grv_bytes_of(key + 1, size - 1), wanted->after_start);
        }
    }
    *ret_cursor = &list->base;
    return GRV_OK;
}

/* ---- The table ---- */

static void replica_index_pg_free(grv_replica_index *base)
{
    free(replica_index_pg_of(base));
}

static const grv_replica_index_ops replica_index_pg_ops = {
    .name = "pg",
    .replicas = replica_index_pg_replicas,
    .update = replica_index_pg_update,
    .add = replica_index_pg_add,
    .remove = replica_index_pg_remove,
    .open_list = replica_index_pg_open_list,
    .free = replica_index_pg_free,
};

grv_status grv_replica_index_pg_new(grv_pg *pg, grv_replica_index **ret_index, grv_error *error)
{
    replica_index_pg *index = calloc(1, sizeof *index);
    if (!index) {
        return grv_error_set(error, GRV_LIMIT_EXCEEDED, "replicas", "no memory for an index");
    }
    grv_status status = grv_replica_index_init(&index->base, &replica_index_pg_ops, error);
    if (status) {
        free(index);
        return status;
    }
    index->pg = pg;
    *ret_index = &index->base;
    return GRV_OK;
}
