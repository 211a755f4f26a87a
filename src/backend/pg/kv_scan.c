/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Scans of the key-value store: pages, each one statement and so one snapshot. Between pages the
 * cursor holds no connection, only the keys between which the rest lies.
 */
#include "backend/pg/kv.h"

#include <stdlib.h>
#include <string.h>

/* Rows of a page, and bytes of its values: no less than the port promises. */
#define PAGE_ITEMS "512"
#define PAGE_BYTES GRV_KV_PAGE_BYTES
_Static_assert(GRV_KV_PAGE_ITEMS == 512, "PAGE_ITEMS says the same");

/* Keys of the stretch. A row past the budget of bytes is left out, and so are all after it; `found`
 * tells that there were some. */
#define ROWS_OF(columns, order)                                                                    \
    "SELECT " columns " FROM graviton.kv WHERE ns = $1 AND key >= $2 AND key < $3 "                \
    "ORDER BY key" order " LIMIT " PAGE_ITEMS
#define PAGE_OF(order)                                                                             \
    "SELECT key, value, found FROM (SELECT key, value, octet_length(value) AS size, "              \
    "sum(octet_length(value)) OVER (ORDER BY key" order " ROWS UNBOUNDED PRECEDING) AS total, "    \
    "count(*) OVER () AS found FROM (" ROWS_OF(                                                    \
        "key, value", order) ") AS page) AS sums "                                                 \
                             "WHERE total <= $4::int8 OR total = size ORDER BY key" order

static const grv_pg_statement pages[2][2] = {
    {{"kv_scan", PAGE_OF("")}, {"kv_scan_reverse", PAGE_OF(" DESC")}},
    {{"kv_scan_keys", ROWS_OF("key", "")}, {"kv_scan_keys_reverse", ROWS_OF("key", " DESC")}},
};

/* Where a stretch of keys begins or ends. */
typedef struct pg_bound {
    uint8_t bytes[GRV_KV_PG_BOUND_SIZE];
    size_t size;
} pg_bound;

typedef struct kv_pg_cursor {
    grv_kv_cursor base;
    grv_pg *pg;
    int16_t ns;
    bool reverse;
    bool keys_only;
    pg_bound low; /* what is still to come: low <= key < high */
    pg_bound high;
    PGresult *page; /* NULL before the first */
    int row;        /* the next of it */
    bool is_last;   /* nothing comes after the page */
} kv_pg_cursor;

static grv_bytes bound_bytes(const pg_bound *bound)
{
    return grv_bytes_of(bound->bytes, bound->size);
}

static void bound_set(pg_bound *bound, grv_bytes bytes)
{
    if (bytes.size > 0) {
        memcpy(bound->bytes, bytes.data, bytes.size);
    }
    bound->size = bytes.size;
}

/* Right behind a key: a NUL after it makes the next one there can be. */
static void bound_set_after(pg_bound *bound, grv_bytes key)
{
    bound_set(bound, key);
    bound->bytes[bound->size++] = 0;
}

/* ---- Pages ---- */

/* What is left once the page has been read. */
static grv_status note_page(kv_pg_cursor *cursor, PGresult *page, grv_error *error)
{
    int rows = PQntuples(page);
    int64_t found = rows;
    if (rows > 0 && !cursor->keys_only) {
        grv_status status = grv_pg_cell_int64(page, 0, 2, &found, error);
        if (status) {
            return status;
        }
    }
    cursor->is_last = found == rows && found < (int64_t)GRV_KV_PAGE_ITEMS;
    if (rows > 0) {
        grv_bytes last = grv_pg_cell(page, rows - 1, 0);
        if (last.size < 1 || last.size > GRV_KV_KEY_MAX) {
            return grv_error_set(error, GRV_CORRUPT, "pg", "a key of %zu bytes in graviton.kv",
                                 last.size);
        }
        if (cursor->reverse) {
            bound_set(&cursor->high, last);
        } else {
            bound_set_after(&cursor->low, last);
        }
    }
    return GRV_OK;
}

static grv_status read_page(const grv_call *call, kv_pg_cursor *cursor, grv_error *error)
{
    grv_pg_params params = {0};
    grv_pg_add_int16(&params, cursor->ns);
    grv_pg_add_bytes(&params, bound_bytes(&cursor->low));
    grv_pg_add_bytes(&params, bound_bytes(&cursor->high));
    if (!cursor->keys_only) {
        grv_pg_add_int64(&params, PAGE_BYTES);
    }
    PGresult *page = NULL;
    grv_status status = grv_pg_read(call, cursor->pg, &pages[cursor->keys_only][cursor->reverse],
                                    &params, &page, error);
    if (!status) {
        status = note_page(cursor, page, error);
    }
    if (status) {
        PQclear(page);
        return status;
    }
    PQclear(cursor->page);
    cursor->page = page;
    cursor->row = 0;
    return GRV_OK;
}

static grv_status kv_pg_cursor_next(const grv_call *call, grv_kv_cursor *base,
                                    grv_kv_item *ret_item, grv_error *error)
{
    kv_pg_cursor *cursor = (kv_pg_cursor *)base;
    grv_status status = grv_call_check(call, "pg", error);
    while (!status && cursor->row >= PQntuples(cursor->page)) {
        if (cursor->is_last) {
            return grv_error_set(error, GRV_NOT_FOUND, "pg", "no more keys");
        }
        status = read_page(call, cursor, error);
    }
    if (status) {
        return status;
    }
    int row = cursor->row++;
    *ret_item = (grv_kv_item){
        .key = grv_pg_cell(cursor->page, row, 0),
        .value = cursor->keys_only ? (grv_bytes){0} : grv_pg_cell(cursor->page, row, 1),
    };
    return GRV_OK;
}

static void kv_pg_cursor_free(grv_kv_cursor *base)
{
    kv_pg_cursor *cursor = (kv_pg_cursor *)base;
    PQclear(cursor->page);
    free(cursor);
}

static const grv_kv_cursor_ops kv_pg_cursor_ops = {
    .name = "pg",
    .next = kv_pg_cursor_next,
    .free = kv_pg_cursor_free,
};

/* The stretch of keys that a scan shows. */
static void set_bounds(kv_pg_cursor *cursor, const grv_kv_scan *scan)
{
    bound_set(&cursor->low, scan->prefix);
    cursor->high.size =
        grv_pg_prefix_end(scan->prefix, cursor->high.bytes, sizeof cursor->high.bytes);
    if (scan->start.size == 0) {
        return;
    }
    if (scan->reverse) {
        pg_bound after;
        bound_set_after(&after, scan->start);
        if (grv_bytes_compare(bound_bytes(&after), bound_bytes(&cursor->high)) < 0) {
            cursor->high = after;
        }
    } else if (grv_bytes_compare(scan->start, bound_bytes(&cursor->low)) > 0) {
        bound_set(&cursor->low, scan->start);
    }
}

grv_status grv_kv_pg_open_scan(const grv_call *call, grv_kv *kv, const grv_kv_scan *scan,
                               grv_kv_cursor **ret_cursor, grv_error *error)
{
    grv_status status = grv_call_check(call, "pg", error);
    if (status) {
        return status;
    }
    kv_pg_cursor *cursor = calloc(1, sizeof *cursor);
    if (!cursor) {
        return grv_error_set(error, GRV_LIMIT_EXCEEDED, "pg", "no memory for a scan");
    }
    cursor->base.ops = &kv_pg_cursor_ops;
    cursor->pg = grv_kv_pg_of(kv)->pg;
    cursor->ns = (int16_t)scan->ns;
    cursor->reverse = scan->reverse;
    cursor->keys_only = scan->keys_only;
    set_bounds(cursor, scan);
    status = read_page(call, cursor, error);
    if (status) {
        free(cursor);
        return status;
    }
    *ret_cursor = &cursor->base;
    return GRV_OK;
}
