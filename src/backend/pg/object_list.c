/* SPDX-License-Identifier: Apache-2.0 */
/* Lists of the object store over PostgreSQL: pages by key, each a query of its own. */
#include "backend/pg/objects.h"

#include <stdlib.h>
#include <string.h>

#define ORIGIN "pg"
/* Most entries of a page. */
#define PAGE_MAX 256u

static const grv_pg_statement list_from = {
    "object_list", "SELECT path, size, tag, modified FROM graviton.object "
                   "WHERE bucket = $1 AND path >= $2 ORDER BY path LIMIT $3"};
static const grv_pg_statement list_between = {
    "object_list_prefix", "SELECT path, size, tag, modified FROM graviton.object "
                          "WHERE bucket = $1 AND path >= $2 AND path < $4 ORDER BY path LIMIT $3"};

typedef struct pg_cursor {
    grv_object_cursor base;
    grv_pg_objects *store;
    char bucket[GRV_LOCATOR_BUCKET_MAX + 1];
    bool ended;
    bool has_stop;
    size_t start_size;
    size_t stop_size;
    uint8_t start[GRV_LOCATOR_PATH_MAX + 1]; /* the next path is this or greater */
    uint8_t stop[GRV_LOCATOR_PATH_MAX];      /* and less than this */
    PGresult *page;                          /* has the paths that were given last */
} pg_cursor;

/* The next path is greater than this one: no path has a NUL, so none lies between. */
static void start_behind(pg_cursor *cursor, grv_bytes path)
{
    memcpy(cursor->start, path.data, path.size);
    cursor->start[path.size] = '\0';
    cursor->start_size = path.size + 1;
}

/* All that begin with `prefix` are less than it with its last byte increased, where that can be. */
static void stop_behind(pg_cursor *cursor, grv_bytes prefix)
{
    size_t size = prefix.size;
    while (size > 0 && prefix.data[size - 1] == 0xff) {
        size--;
    }
    cursor->has_stop = size > 0;
    cursor->stop_size = size;
    if (size > 0) {
        memcpy(cursor->stop, prefix.data, size);
        cursor->stop[size - 1]++;
    }
}

static grv_status entry_read(const PGresult *page, int row, grv_object_entry *ret_entry,
                             grv_error *error)
{
    grv_bytes path = grv_pg_cell(page, row, 0);
    if (path.size == 0 || path.size > GRV_LOCATOR_PATH_MAX || memchr(path.data, '\0', path.size)) {
        return grv_error_set(error, GRV_CORRUPT, ORIGIN, "an object's row has a path of %zu bytes",
                             path.size);
    }
    ret_entry->path = (const char *)path.data; /* libpq puts a NUL behind each cell */
    return grv_pg_objects_info(page, row, 1, &ret_entry->info, error);
}

static grv_status cursor_fetch(const grv_call *call, pg_cursor *cursor, size_t count,
                               PGresult **ret_page, grv_error *error)
{
    grv_pg_params params = {0};
    grv_pg_add_bytes(&params, grv_bytes_of(cursor->bucket, strlen(cursor->bucket)));
    grv_pg_add_bytes(&params, grv_bytes_of(cursor->start, cursor->start_size));
    grv_pg_add_int64(&params, (int64_t)count);
    if (cursor->has_stop) {
        grv_pg_add_bytes(&params, grv_bytes_of(cursor->stop, cursor->stop_size));
    }
    return grv_pg_read(call, cursor->store->pg, cursor->has_stop ? &list_between : &list_from,
                       &params, ret_page, error);
}

static grv_status pg_cursor_next(const grv_call *call, grv_object_cursor *base,
                                 grv_object_entry entries[], size_t capacity, size_t *ret_count,
                                 grv_error *error)
{
    pg_cursor *cursor = (pg_cursor *)base;
    PGresult *page = NULL;
    grv_status status = grv_call_check(call, ORIGIN, error);
    if (status) {
        return status;
    }
    if (cursor->ended) {
        *ret_count = 0;
        return GRV_OK;
    }
    status = cursor_fetch(call, cursor, capacity < PAGE_MAX ? capacity : PAGE_MAX, &page, error);
    if (status) {
        return status;
    }
    int count = PQntuples(page);
    for (int i = 0; !status && i < count; i++) {
        status = entry_read(page, i, &entries[i], error);
    }
    if (status) {
        PQclear(page);
        return status;
    }
    cursor->ended = count == 0;
    if (count > 0) {
        start_behind(cursor, grv_pg_cell(page, count - 1, 0));
    }
    PQclear(cursor->page);
    cursor->page = page;
    *ret_count = (size_t)count;
    return GRV_OK;
}

static void pg_cursor_free(grv_object_cursor *base)
{
    pg_cursor *cursor = (pg_cursor *)base;
    PQclear(cursor->page);
    free(cursor);
}

static const grv_object_cursor_ops pg_cursor_ops = {
    .name = "pg",
    .next = pg_cursor_next,
    .free = pg_cursor_free,
};

grv_status grv_pg_objects_open_list(const grv_call *call, grv_object_store *base,
                                    const grv_object_list *list, grv_object_cursor **ret_cursor,
                                    grv_error *error)
{
    grv_pg_objects *store = (grv_pg_objects *)base;
    grv_locator locator = {.scheme = GRV_PG_OBJECTS_SCHEME};
    size_t size = strlen(list->bucket);
    if (size <= GRV_LOCATOR_BUCKET_MAX) {
        memcpy(locator.bucket, list->bucket, size);
    }
    grv_status status = grv_pg_objects_check(call, store, &locator, error);
    if (status) {
        return status;
    }
    pg_cursor *cursor = calloc(1, sizeof *cursor);
    if (!cursor) {
        return grv_error_set(error, GRV_LIMIT_EXCEEDED, ORIGIN, "no memory for a list");
    }
    cursor->base.ops = &pg_cursor_ops;
    cursor->store = store;
    memcpy(cursor->bucket, locator.bucket, sizeof cursor->bucket);
    stop_behind(cursor, list->prefix);
    if (grv_bytes_compare(list->after, list->prefix) >= 0 && list->after.size > 0) {
        start_behind(cursor, list->after);
    } else if (list->prefix.size > 0) {
        memcpy(cursor->start, list->prefix.data, list->prefix.size);
        cursor->start_size = list->prefix.size;
    }
    *ret_cursor = &cursor->base;
    return GRV_OK;
}
