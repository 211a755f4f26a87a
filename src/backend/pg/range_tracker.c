/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Range tracker over PostgreSQL: table graviton.byte_range, a row for each locator with its ranges
 * as one int8multirange. A merge is one statement that waits for the row's other writers and works
 * on what they left: what it calls new goes into the row beside the whole set, because that is the
 * only way for the statement to give it back.
 *
 * A change whose answer was lost is looked up, never made again: then what was new would be lost.
 */
#include "backend/pg/pg.h"

#include <assert.h>
#include <graviton/key.h>
#include <graviton/port/range_tracker.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* Most rows of a page. */
#define PAGE_MAX 1000u
/* Bytes greater than any locator: so many of 0xff. */
#define BOUND_SIZE (GRV_TRACKER_LOCATOR_MAX + 2)

/* An int8range in binary form: its size, flags, and twice the size of a bound and the bound. Only
 * the canonical form "first included, last not" comes. */
#define RANGE_SIZE      29u
#define RANGE_FLAGS_LOW 0x02u

typedef struct range_tracker_pg {
    grv_range_tracker base;
    grv_pg *pg;
} range_tracker_pg;

static const grv_range_tracker_ops range_tracker_pg_ops;

static const grv_pg_statement read_ranges = {
    "range_current", "SELECT generation, ranges FROM graviton.byte_range WHERE locator = $1"};
static const grv_pg_statement merge_range = {
    "range_merge",
    "INSERT INTO graviton.byte_range AS there (locator, generation, ranges, last_added) "
    "VALUES ($1, $2, int8multirange(int8range($3::int8, $4::int8)), "
    "int8multirange(int8range($3::int8, $4::int8))) "
    "ON CONFLICT (locator) DO UPDATE SET generation = excluded.generation, "
    "ranges = CASE WHEN there.generation < excluded.generation THEN excluded.ranges "
    "ELSE there.ranges + excluded.ranges END, "
    "last_added = CASE WHEN there.generation < excluded.generation THEN excluded.ranges "
    "ELSE excluded.ranges - there.ranges END "
    "WHERE there.generation <= excluded.generation "
    "RETURNING CASE WHEN $5::bool THEN ranges END, CASE WHEN $6::bool THEN last_added END"};
static const grv_pg_statement reset_ranges = {
    "range_reset",
    "INSERT INTO graviton.byte_range AS there (locator, generation) VALUES ($1, $2) "
    "ON CONFLICT (locator) DO UPDATE SET generation = excluded.generation, ranges = '{}', "
    "last_added = '{}' WHERE there.generation <= excluded.generation RETURNING 1"};
static const grv_pg_statement remove_ranges = {
    "range_remove", "DELETE FROM graviton.byte_range WHERE locator = $1"};
static const grv_pg_statement list_ranges = {
    "range_list", "SELECT locator, generation, size_bytes, range_count FROM graviton.byte_range "
                  "WHERE locator >= $1 AND locator < $2 ORDER BY locator LIMIT $3"};

static range_tracker_pg *range_tracker_pg_of(grv_range_tracker *base)
{
    assert(base->ops == &range_tracker_pg_ops);
    return (range_tracker_pg *)base;
}

/* A locator as a column, borrowed by parameters. */
typedef struct pg_locator {
    char text[GRV_LOCATOR_TEXT_SIZE];
} pg_locator;

static void add_locator(grv_pg_params *params, pg_locator *column, const grv_locator *locator)
{
    grv_locator_print(locator, column->text);
    grv_pg_add_bytes(params, grv_bytes_of(column->text, strlen(column->text)));
}

static grv_status fail_at(const grv_locator *locator, grv_status status, grv_error *error)
{
    if (status) {
        char text[GRV_LOCATOR_TEXT_SIZE];
        grv_locator_print(locator, text);
        grv_error_prefix(error, "ranges at %s", text);
    }
    return status;
}

/* ---- Multiranges ---- */

static uint64_t read_be(const uint8_t *bytes, size_t size)
{
    uint64_t number = 0;
    for (size_t i = 0; i < size; i++) {
        number = number << 8 | bytes[i];
    }
    return number;
}

static bool decode_range(const uint8_t *at, grv_range *ret_range)
{
    bool sound = read_be(at, 4) == RANGE_SIZE - 4 && at[4] == RANGE_FLAGS_LOW &&
                 read_be(at + 5, 4) == 8 && read_be(at + 17, 4) == 8;
    *ret_range = (grv_range){read_be(at + 9, 8), read_be(at + 21, 8)};
    return sound && ret_range->first < ret_range->end && ret_range->end <= GRV_BLOB_SIZE_MAX;
}

/* A multirange's binary form as a set: how many there are, then each. */
static grv_status decode_ranges(grv_bytes cell, grv_range_set *ret_set, grv_error *error)
{
    uint64_t count = cell.size >= 4 ? read_be(cell.data, 4) : UINT64_MAX;
    if (count > GRV_TRACKER_RANGES_MAX || cell.size != 4 + count * RANGE_SIZE) {
        return grv_error_set(error, GRV_CORRUPT, "ranges",
                             "graviton.byte_range has %zu bytes that are no ranges", cell.size);
    }
    grv_range_set set;
    grv_range_set_init(&set);
    grv_status status = GRV_OK;
    for (size_t i = 0; !status && i < count; i++) {
        grv_range range;
        if (!decode_range(cell.data + 4 + i * RANGE_SIZE, &range) ||
            (i > 0 && range.first <= set.ranges[set.count - 1].end)) {
            status = grv_error_set(error, GRV_CORRUPT, "ranges",
                                   "range %zu in graviton.byte_range is none", i);
        } else {
            status = grv_range_set_merge(&set, range, NULL, error);
        }
    }
    if (status) {
        grv_range_set_done(&set);
        return status;
    }
    *ret_set = set;
    return GRV_OK;
}

static void set_replace(grv_range_set *set, grv_range_set *with)
{
    if (set) {
        grv_range_set_done(set);
        *set = *with;
        grv_range_set_init(with);
    }
}

/* ---- Slots ---- */

static grv_status range_tracker_pg_current(const grv_call *call, grv_range_tracker *base,
                                           const grv_locator *locator, uint64_t *ret_generation,
                                           grv_range_set *set, grv_error *error)
{
    grv_status status = grv_call_check(call, "pg", error);
    if (status) {
        return fail_at(locator, status, error);
    }
    pg_locator column;
    grv_pg_params params = {0};
    PGresult *result = NULL;
    int64_t generation = 0;
    grv_range_set found;
    grv_range_set_init(&found);
    add_locator(&params, &column, locator);
    status =
        grv_pg_read(call, range_tracker_pg_of(base)->pg, &read_ranges, &params, &result, error);
    if (!status && PQntuples(result) > 0) {
        status = grv_pg_cell_int64(result, 0, 0, &generation, error);
        if (!status && generation < 1) {
            status = grv_error_set(error, GRV_CORRUPT, "ranges", "generation %" PRId64, generation);
        }
        if (!status) {
            status = decode_ranges(grv_pg_cell(result, 0, 1), &found, error);
        }
    }
    PQclear(result);
    if (!status) {
        *ret_generation = (uint64_t)generation;
        set_replace(set, &found);
    }
    grv_range_set_done(&found);
    return fail_at(locator, status, error);
}

/* Runs one change. *ret_result is NULL on failure; no row in it is a newer generation's doing. */
static grv_status change(const grv_call *call, grv_range_tracker *base,
                         const grv_pg_statement *statement, const grv_pg_params *params,
                         PGresult **ret_result, grv_error *error)
{
    grv_status status = grv_call_check(call, "pg", error);
    if (status) {
        return status;
    }
    grv_error mine = GRV_ERROR_INIT;
    const grv_pg_step step = {statement, params};
    const grv_pg_work work = {.steps = &step, .count = 1};
    status = grv_pg_run(call, range_tracker_pg_of(base)->pg, &work, ret_result, &mine);
    if (!status) {
        return GRV_OK;
    }
    if (strcmp(mine.native_text, "23514") == 0 && strstr(mine.message, "byte_range_count")) {
        return grv_error_set(error, GRV_LIMIT_EXCEEDED, "ranges", "more than %u of them",
                             GRV_TRACKER_RANGES_MAX);
    }
    if (error) {
        *error = mine;
    }
    return status;
}

static grv_status refuse_older(uint64_t generation, grv_error *error)
{
    return grv_error_set(error, GRV_CONFLICT, "ranges",
                         "they are of a generation newer than %" PRIu64, generation);
}

/* The sets that a merge gave back; one that was not asked for is NULL. */
static grv_status take_sets(const PGresult *result, grv_range_set *whole, grv_range_set *fresh,
                            grv_error *error)
{
    grv_status status = GRV_OK;
    if (!grv_pg_is_null(result, 0, 0)) {
        status = decode_ranges(grv_pg_cell(result, 0, 0), whole, error);
    }
    if (!status && !grv_pg_is_null(result, 0, 1)) {
        status = decode_ranges(grv_pg_cell(result, 0, 1), fresh, error);
    }
    return status;
}

static grv_status range_tracker_pg_merge(const grv_call *call, grv_range_tracker *base,
                                         const grv_locator *locator, uint64_t generation,
                                         grv_range range, grv_range_set *ret_set,
                                         grv_range_set *ret_new, grv_error *error)
{
    pg_locator column;
    grv_pg_params params = {0};
    PGresult *result = NULL;
    grv_range_set whole;
    grv_range_set fresh;
    grv_range_set_init(&whole);
    grv_range_set_init(&fresh);
    add_locator(&params, &column, locator);
    grv_pg_add_int64(&params, (int64_t)generation);
    grv_pg_add_int64(&params, (int64_t)range.first);
    grv_pg_add_int64(&params, (int64_t)range.end);
    grv_pg_add_bool(&params, ret_set != NULL);
    grv_pg_add_bool(&params, ret_new != NULL);
    grv_status status = change(call, base, &merge_range, &params, &result, error);
    if (!status && PQntuples(result) == 0) {
        status = refuse_older(generation, error);
    }
    if (!status) {
        status = take_sets(result, &whole, &fresh, error);
    }
    PQclear(result);
    if (!status) {
        set_replace(ret_set, &whole);
        set_replace(ret_new, &fresh);
    }
    grv_range_set_done(&whole);
    grv_range_set_done(&fresh);
    return fail_at(locator, status, error);
}

static grv_status range_tracker_pg_reset(const grv_call *call, grv_range_tracker *base,
                                         const grv_locator *locator, uint64_t generation,
                                         grv_error *error)
{
    pg_locator column;
    grv_pg_params params = {0};
    PGresult *result = NULL;
    add_locator(&params, &column, locator);
    grv_pg_add_int64(&params, (int64_t)generation);
    grv_status status = change(call, base, &reset_ranges, &params, &result, error);
    if (!status && PQntuples(result) == 0) {
        status = refuse_older(generation, error);
    }
    PQclear(result);
    return fail_at(locator, status, error);
}

static grv_status range_tracker_pg_remove(const grv_call *call, grv_range_tracker *base,
                                          const grv_locator *locator, grv_error *error)
{
    pg_locator column;
    grv_pg_params params = {0};
    PGresult *result = NULL;
    add_locator(&params, &column, locator);
    grv_status status = change(call, base, &remove_ranges, &params, &result, error);
    PQclear(result);
    return fail_at(locator, status, error);
}

/* ---- Lists ---- */

typedef struct pg_list {
    grv_tracked_cursor base;
    grv_pg *pg;
    bool failed;
    uint8_t low[BOUND_SIZE]; /* what is still to come: low <= locator < end */
    size_t low_size;
    uint8_t end[BOUND_SIZE];
    size_t end_size;
} pg_list;

/* Goes on at a locator, or behind it: a NUL more makes the next one there could be. False for one
 * that no row may have. */
static bool list_go_to(pg_list *list, grv_bytes locator, bool after)
{
    if (locator.size + 1 > sizeof list->low) {
        return false;
    }
    if (locator.size > 0) {
        memcpy(list->low, locator.data, locator.size);
    }
    list->low_size = locator.size;
    if (after) {
        list->low[list->low_size++] = 0;
    }
    return true;
}

/* False for a text that no locator prints as. */
static bool parse_locator(grv_bytes text, grv_locator *ret_locator)
{
    char printed[GRV_LOCATOR_TEXT_SIZE];
    if (grv_locator_parse(text, ret_locator, NULL)) {
        return false;
    }
    grv_locator_print(ret_locator, printed);
    return grv_bytes_compare(grv_bytes_of(printed, strlen(printed)), text) == 0;
}

static grv_status take_row(pg_list *list, const PGresult *result, int row, grv_tracked *ret_item,
                           grv_error *error)
{
    grv_bytes text = grv_pg_cell(result, row, 0);
    int64_t generation = 0;
    int64_t size = 0;
    int32_t count = 0;
    if (!list_go_to(list, text, true)) {
        list->failed = true;
    }
    if (list->failed || !parse_locator(text, &ret_item->locator)) {
        return grv_error_set(error, GRV_CORRUPT, "ranges", "they are of a locator that is none");
    }
    grv_status status = grv_pg_cell_int64(result, row, 1, &generation, error);
    if (!status) {
        status = grv_pg_cell_int64(result, row, 2, &size, error);
    }
    if (!status) {
        status = grv_pg_cell_int32(result, row, 3, &count, error);
    }
    if (!status && (generation < 1 || size < 0 || count < 0)) {
        status = grv_error_set(error, GRV_CORRUPT, "ranges", "impossible numbers");
    }
    ret_item->generation = (uint64_t)generation;
    ret_item->size_bytes = (uint64_t)size;
    ret_item->range_count = (uint32_t)count;
    return fail_at(&ret_item->locator, status, error);
}

static grv_status list_page(const grv_call *call, pg_list *list, size_t rows, PGresult **ret_result,
                            grv_error *error)
{
    grv_pg_params params = {0};
    grv_status status = grv_call_check(call, "pg", error);
    if (status) {
        return status;
    }
    grv_pg_add_bytes(&params, grv_bytes_of(list->low, list->low_size));
    grv_pg_add_bytes(&params, grv_bytes_of(list->end, list->end_size));
    grv_pg_add_int64(&params, (int64_t)rows);
    return grv_pg_read(call, list->pg, &list_ranges, &params, ret_result, error);
}

static grv_status pg_list_next(const grv_call *call, grv_tracked_cursor *base, grv_tracked items[],
                               size_t capacity, size_t *ret_count, grv_error *error)
{
    pg_list *list = (pg_list *)base;
    if (list->failed) {
        return grv_error_set(error, GRV_INVALID_ARGUMENT, "ranges",
                             "the list of ranges has failed; begin another where it stopped");
    }
    PGresult *result = NULL;
    grv_status status =
        list_page(call, list, capacity < PAGE_MAX ? capacity : PAGE_MAX, &result, error);
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
            grv_error_prefix(error, "list of ranges");
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

static void pg_list_free(grv_tracked_cursor *base)
{
    free(base);
}

static const grv_tracked_cursor_ops pg_list_ops = {
    .name = "pg",
    .next = pg_list_next,
    .free = pg_list_free,
};

static grv_status range_tracker_pg_open_list(const grv_call *call, grv_range_tracker *base,
                                             const grv_tracked_list *wanted,
                                             grv_tracked_cursor **ret_cursor, grv_error *error)
{
    grv_status status = grv_call_check(call, "pg", error);
    if (status) {
        return status;
    }
    pg_list *list = calloc(1, sizeof *list);
    if (!list) {
        return grv_error_set(error, GRV_LIMIT_EXCEEDED, "ranges", "no memory for a list");
    }
    list->base.ops = &pg_list_ops;
    list->pg = range_tracker_pg_of(base)->pg;
    list->end_size = grv_pg_prefix_end(wanted->prefix, list->end, sizeof list->end);
    list_go_to(list, wanted->prefix, false);
    if (wanted->start) {
        char text[GRV_LOCATOR_TEXT_SIZE];
        grv_locator_print(wanted->start, text);
        grv_bytes start = grv_bytes_of(text, strlen(text));
        if (grv_bytes_compare(start, wanted->prefix) >= 0) {
            list_go_to(list, start, wanted->after_start);
        }
    }
    *ret_cursor = &list->base;
    return GRV_OK;
}

/* ---- The table ---- */

static void range_tracker_pg_free(grv_range_tracker *base)
{
    free(range_tracker_pg_of(base));
}

static const grv_range_tracker_ops range_tracker_pg_ops = {
    .name = "pg",
    .current = range_tracker_pg_current,
    .merge = range_tracker_pg_merge,
    .reset = range_tracker_pg_reset,
    .remove = range_tracker_pg_remove,
    .open_list = range_tracker_pg_open_list,
    .free = range_tracker_pg_free,
};

grv_status grv_range_tracker_pg_new(grv_pg *pg, grv_range_tracker **ret_tracker, grv_error *error)
{
    range_tracker_pg *tracker = calloc(1, sizeof *tracker);
    if (!tracker) {
        return grv_error_set(error, GRV_LIMIT_EXCEEDED, "ranges", "no memory for a tracker");
    }
    grv_status status = grv_range_tracker_init(&tracker->base, &range_tracker_pg_ops, error);
    if (status) {
        free(tracker);
        return status;
    }
    tracker->pg = pg;
    *ret_tracker = &tracker->base;
    return GRV_OK;
}
