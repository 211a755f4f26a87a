/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The object store over PostgreSQL: its buckets, what its files share, removal, and who deletes
 * what no object names any more.
 *
 * A put and a removal delete the content that they have replaced, once they are committed. What is
 * left of those that died is found by a sweep, at the first put of a store and hourly after that:
 * finished contents without a name at once, unfinished ones after a day without a sign of life. The
 * database's locks decide what may go, and its clock only when.
 */
#include "backend/pg/objects.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#define ORIGIN "pg"

/* From 1970 to 2000, where PostgreSQL's time begins, in microseconds. */
#define TIME_BASE_US INT64_C(946684800000000)
/* How long deleting may hold up whoever has put or removed, and a sweep a put. */
#define DROP_NS  (UINT64_C(5) * 1000000000u)
#define SWEEP_NS (UINT64_C(2) * 1000000000u)
/* When the next sweep is due after one that came to its end, and one that did not. */
#define SWEEP_EVERY_NS (UINT64_C(3600) * 1000000000u)
#define SWEEP_AGAIN_NS (UINT64_C(60) * 1000000000u)
/* Chunks deleted in one transaction. */
#define DROP_CHUNKS 256

/* ---- what the files share ---- */

grv_status grv_pg_objects_check(const grv_call *call, const grv_pg_objects *store,
                                const grv_locator *locator, grv_error *error)
{
    grv_status status = grv_call_check(call, ORIGIN, error);
    return status ? status : grv_buckets_find(&store->buckets, locator->bucket, NULL, error);
}

void grv_pg_objects_add_locator(grv_pg_params *params, const grv_locator *locator)
{
    grv_pg_add_bytes(params, grv_bytes_of(locator->bucket, strlen(locator->bucket)));
    grv_pg_add_bytes(params, grv_bytes_of(locator->path, strlen(locator->path)));
}

grv_status grv_pg_objects_prefix(const grv_locator *locator, grv_status status, grv_error *error)
{
    if (status) {
        grv_error_prefix(error, "object %s://%s/%.200s", locator->scheme, locator->bucket,
                         locator->path);
    }
    return status;
}

grv_status grv_pg_objects_absent(const grv_locator *locator, grv_error *error)
{
    return grv_error_set(error, GRV_NOT_FOUND, ORIGIN, "no object %s://%s/%.200s", locator->scheme,
                         locator->bucket, locator->path);
}

grv_status grv_pg_objects_time(const PGresult *result, int row, int column, uint64_t *ret_ns,
                               grv_error *error)
{
    int64_t time_us = 0;
    grv_status status = grv_pg_cell_int64(result, row, column, &time_us, error);
    if (status) {
        return status;
    }
    if (time_us > INT64_MAX / 1000 - TIME_BASE_US) {
        return grv_error_set(error, GRV_CORRUPT, ORIGIN, "an object's time is past the year 2260");
    }
    *ret_ns = time_us < -TIME_BASE_US ? 0 : (uint64_t)(time_us + TIME_BASE_US) * 1000;
    return GRV_OK;
}

grv_status grv_pg_objects_info(const PGresult *result, int row, int column,
                               grv_object_info *ret_info, grv_error *error)
{
    int64_t size = 0;
    grv_object_info info = {0};
    grv_status status = grv_pg_cell_int64(result, row, column, &size, error);
    if (!status) {
        status = grv_pg_objects_time(result, row, column + 2, &info.modified_ns, error);
    }
    if (status) {
        return status;
    }
    grv_bytes tag = grv_pg_cell(result, row, column + 1);
    if (size < 0 || tag.size == 0 || tag.size > GRV_OBJECT_TAG_MAX ||
        memchr(tag.data, '\0', tag.size)) {
        return grv_error_set(error, GRV_CORRUPT, ORIGIN,
                             "an object's row has a size of %" PRId64 " and a tag of %zu bytes",
                             size, tag.size);
    }
    info.size_bytes = (uint64_t)size;
    memcpy(info.tag, tag.data, tag.size);
    *ret_info = info;
    return GRV_OK;
}

uint64_t grv_pg_chunk_checksum(const uint8_t id[GRV_PG_CONTENT_ID_SIZE], uint32_t number,
                               grv_bytes bytes)
{
    uint8_t place[GRV_PG_CONTENT_ID_SIZE + 4];
    memcpy(place, id, GRV_PG_CONTENT_ID_SIZE);
    for (size_t i = 0; i < 4; i++) {
        place[GRV_PG_CONTENT_ID_SIZE + i] = (uint8_t)(number >> 8 * i);
    }
    return XXH3_64bits_withSeed(bytes.data, bytes.size, XXH3_64bits(place, sizeof place));
}

/* ---- garbage ---- */

static const grv_pg_statement drop_content = {"object_drop",
                                              "SELECT graviton.object_content_drop($1, $2)"};
static const grv_pg_statement sweep_step = {"object_sweep", "SELECT graviton.object_sweep($1)"};

/* The caller's call, but shorter. */
static grv_call shorten(const grv_call *call, uint64_t most_ns)
{
    grv_call mine = call ? *call : (grv_call){0};
    uint64_t deadline_ns = grv_now_ns() + most_ns;
    if (mine.deadline_ns == 0 || mine.deadline_ns > deadline_ns) {
        mine.deadline_ns = deadline_ns;
    }
    return mine;
}

/* Runs a step, durable when anything later is, until it says that nothing is left to do. False
 * where that was not reached. */
static bool repeat_step(const grv_call *call, grv_pg_objects *store,
                        const grv_pg_statement *statement, const grv_pg_params *params)
{
    grv_pg_step step = {statement, params};
    grv_pg_work work = {.steps = &step, .count = 1, .ordered = true, .repeatable = true};
    bool more = true;
    while (more) {
        PGresult *result = NULL;
        grv_status status = grv_pg_run(call, store->pg, &work, &result, NULL);
        if (!status) {
            status = grv_pg_cell_bool(result, 0, 0, &more, NULL);
        }
        PQclear(result);
        if (status) {
            return false;
        }
    }
    return true;
}

void grv_pg_objects_drop(const grv_call *call, grv_pg_objects *store, grv_bytes id)
{
    grv_call mine = shorten(call, DROP_NS);
    grv_pg_params params = {0};
    grv_pg_add_bytes(&params, id);
    grv_pg_add_int32(&params, DROP_CHUNKS);
    (void)repeat_step(&mine, store, &drop_content, &params); /* or a sweep does */
}

void grv_pg_objects_sweep(const grv_call *call, grv_pg_objects *store)
{
    uint64_t due_ns = __atomic_load_n(&store->sweep_ns, __ATOMIC_RELAXED);
    uint64_t now_ns = grv_now_ns();
    if (now_ns < due_ns ||
        !__atomic_compare_exchange_n(&store->sweep_ns, &due_ns, now_ns + SWEEP_AGAIN_NS, false,
                                     __ATOMIC_RELAXED, __ATOMIC_RELAXED)) {
        return;
    }
    grv_call mine = shorten(call, SWEEP_NS);
    grv_pg_params params = {0};
    grv_pg_add_int32(&params, DROP_CHUNKS);
    if (repeat_step(&mine, store, &sweep_step, &params)) {
        __atomic_store_n(&store->sweep_ns, now_ns + SWEEP_EVERY_NS, __ATOMIC_RELAXED);
    }
}

/* ---- remove ---- */

static const grv_pg_statement remove_object = {
    "object_remove",
    "DELETE FROM graviton.object WHERE bucket = $1 AND path = $2 RETURNING content_id"};

static grv_status pg_objects_remove(const grv_call *call, grv_mutable_object_store *base,
                                    const grv_locator *locator, grv_error *error)
{
    grv_pg_objects *store = (grv_pg_objects *)base;
    grv_status status = grv_pg_objects_check(call, store, locator, error);
    if (status) {
        return status;
    }
    grv_pg_params params = {0};
    grv_pg_objects_add_locator(&params, locator);
    grv_pg_step step = {&remove_object, &params};
    /* Not repeatable: a second time it might remove what was put since. */
    grv_pg_work work = {.steps = &step, .count = 1};
    PGresult *result = NULL;
    status = grv_pg_run(call, store->pg, &work, &result, error);
    if (status) {
        return grv_pg_objects_prefix(locator, status, error);
    }
    if (PQntuples(result) > 0) {
        grv_pg_objects_drop(call, store, grv_pg_cell(result, 0, 0));
    }
    PQclear(result);
    return GRV_OK;
}

/* ---- the store ---- */

static void pg_objects_free(grv_object_store *base)
{
    grv_pg_objects *store = (grv_pg_objects *)base;
    grv_buckets_done(&store->buckets);
    free(store);
}

static const grv_object_store_ops pg_objects_base_ops = {
    .name = "pg",
    .head = grv_pg_objects_head,
    .open_list = grv_pg_objects_open_list,
    .open_get = grv_pg_objects_open_get,
    .free = pg_objects_free,
};

static const grv_mutable_object_store_ops pg_objects_ops = {
    .name = "pg",
    .open_put = grv_pg_objects_open_put,
    .remove = pg_objects_remove,
    .copy = grv_pg_objects_copy,
};

grv_status grv_object_store_pg_new(grv_pg *pg, const char *const buckets[], size_t bucket_count,
                                   grv_mutable_object_store **ret_store, grv_error *error)
{
    grv_pg_objects *store = calloc(1, sizeof *store);
    if (!store) {
        return grv_error_set(error, GRV_LIMIT_EXCEEDED, ORIGIN, "no memory for a store");
    }
    store->pg = pg;
    grv_status status = grv_mutable_object_store_init(
        &store->base, &pg_objects_base_ops, &pg_objects_ops, GRV_PG_OBJECTS_SCHEME,
        GRV_OBJECT_CAP_IF_ABSENT | GRV_OBJECT_CAP_TAG_PER_PUT | GRV_OBJECT_CAP_ANY_PATH, error);
    if (!status) {
        status = grv_buckets_make(&store->buckets, ORIGIN, GRV_PG_OBJECTS_SCHEME, buckets,
                                  bucket_count, error);
    }
    if (status) {
        pg_objects_free(&store->base.base);
        return status;
    }
    *ret_store = &store->base;
    return GRV_OK;
}
