/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Puts and copies. A put gathers chunks and sends them, several a round trip, under a content id of
 * its own that no object names; the last round trip finishes the content and names it, in one
 * durable transaction. What fits into one round trip is sent with that alone. A copy names the
 * content of another object once more.
 *
 * Until then the chunks need not be durable: if a crash of the server undoes some, the content
 * cannot be finished, since the schema lets only whole ones be.
 */
#include "backend/pg/objects.h"

#include "base/digits.h"
#include "os/random.h"

#include <stdlib.h>
#include <string.h>

#define ORIGIN "pg"
/* Chunks of one round trip. */
#define CHUNKS (GRV_PG_CHUNKS_BYTES / GRV_PG_CHUNK_SIZE)

static const grv_pg_statement insert_content = {
    "object_content", "INSERT INTO graviton.object_content (content_id, chunk_size) "
                      "VALUES ($1, $2) ON CONFLICT DO NOTHING"};
static const grv_pg_statement renew_content = {"object_renew",
                                               "SELECT graviton.object_content_renew($1)"};
static const grv_pg_statement insert_chunk = {
    "object_chunk", "INSERT INTO graviton.object_chunk (content_id, number, checksum, bytes) "
                    "VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING"};
static const grv_pg_statement put_object = {
    "object_put", "SELECT modified, old_content FROM graviton.object_put($1, $2, $3, $4, $5, $6)"};
static const grv_pg_statement copy_object = {
    "object_copy",
    "SELECT size, modified, old_content FROM graviton.object_copy($1, $2, $3, $4, $5, $6)"};

/* The tag of what an id was drawn for: its hexadecimal digits. */
static void tag_print(const uint8_t id[GRV_PG_CONTENT_ID_SIZE], char *ret_tag)
{
    grv_hex_print(id, GRV_PG_CONTENT_ID_SIZE, ret_tag);
}

/* Takes the time from the answer of a naming, and deletes the content that lost its name by it. */
static grv_status named(const grv_call *call, grv_pg_objects *store, const PGresult *result,
                        int column, uint64_t *ret_modified_ns, grv_error *error)
{
    grv_status status = grv_pg_objects_time(result, 0, column, ret_modified_ns, error);
    if (!status && !grv_pg_is_null(result, 0, column + 1)) {
        grv_pg_objects_drop(call, store, grv_pg_cell(result, 0, column + 1));
    }
    return status;
}

/* ---- the sink ---- */

typedef struct pg_sink {
    grv_object_sink base;
    grv_pg_objects *store;
    grv_locator locator;
    bool if_absent;
    bool begun; /* the content may be in the database */
    bool done;  /* the object has it */
    uint8_t id[GRV_PG_CONTENT_ID_SIZE];
    uint64_t sent; /* bytes, in whole chunks */
    size_t used;   /* of the buffer */
    uint8_t buffer[GRV_PG_CHUNKS_BYTES];
} pg_sink;

/* The steps of one round trip. */
typedef struct pg_trip {
    grv_pg_step steps[CHUNKS + 2];
    grv_pg_params params[CHUNKS + 2];
    size_t count;
} pg_trip;

static grv_pg_params *trip_add(pg_trip *trip, const grv_pg_statement *statement)
{
    grv_pg_params *params = &trip->params[trip->count];
    *params = (grv_pg_params){0};
    trip->steps[trip->count++] = (grv_pg_step){statement, params};
    return params;
}

/* What has gathered in the buffer; its bytes are borrowed. */
static void trip_fill(pg_trip *trip, const pg_sink *sink)
{
    grv_bytes id = grv_bytes_of(sink->id, sizeof sink->id);
    grv_pg_params *params = trip_add(trip, sink->begun ? &renew_content : &insert_content);
    grv_pg_add_bytes(params, id);
    if (!sink->begun) {
        grv_pg_add_int32(params, GRV_PG_CHUNK_SIZE);
    }
    uint32_t number = (uint32_t)(sink->sent / GRV_PG_CHUNK_SIZE);
    for (size_t at = 0; at < sink->used; at += GRV_PG_CHUNK_SIZE, number++) {
        size_t left = sink->used - at;
        grv_bytes bytes =
            grv_bytes_of(sink->buffer + at, left < GRV_PG_CHUNK_SIZE ? left : GRV_PG_CHUNK_SIZE);
        params = trip_add(trip, &insert_chunk);
        grv_pg_add_bytes(params, id);
        grv_pg_add_int32(params, (int32_t)number);
        grv_pg_add_int64(params, (int64_t)grv_pg_chunk_checksum(sink->id, number, bytes));
        grv_pg_add_bytes(params, bytes);
    }
}

static grv_status sink_flush(const grv_call *call, pg_sink *sink, grv_error *error)
{
    pg_trip trip = {.count = 0};
    PGresult *results[CHUNKS + 2];
    trip_fill(&trip, sink);
    sink->begun = true;
    grv_pg_work work = {
        .steps = trip.steps, .count = trip.count, .ordered = true, .repeatable = true};
    grv_status status = grv_pg_run(call, sink->store->pg, &work, results, error);
    if (status) {
        return grv_pg_objects_prefix(&sink->locator, status, error);
    }
    grv_pg_clear(results, trip.count);
    sink->sent += sink->used;
    sink->used = 0;
    return GRV_OK;
}

static grv_status pg_sink_reserve(const grv_call *call, grv_sink *base, grv_span *ret_window,
                                  grv_error *error)
{
    pg_sink *sink = (pg_sink *)base;
    grv_status status = grv_call_check(call, ORIGIN, error);
    if (status) {
        return status;
    }
    if (sink->sent / GRV_PG_CHUNK_SIZE > INT32_MAX - CHUNKS) {
        status = grv_error_set(error, GRV_LIMIT_EXCEEDED, ORIGIN,
                               "an object has at most %d chunks of %u bytes", INT32_MAX,
                               GRV_PG_CHUNK_SIZE);
        return grv_pg_objects_prefix(&sink->locator, status, error);
    }
    *ret_window = (grv_span){sink->buffer + sink->used, sizeof sink->buffer - sink->used};
    return GRV_OK;
}

/* The buffer is sent when more is to come, so that a put of just its size needs one round trip. */
static grv_status pg_sink_advance(const grv_call *call, grv_sink *base, size_t size,
                                  grv_error *error)
{
    pg_sink *sink = (pg_sink *)base;
    grv_status status = grv_call_check(call, ORIGIN, error);
    if (status) {
        return status;
    }
    if (size > sizeof sink->buffer - sink->used) {
        return grv_error_set(error, GRV_INVALID_ARGUMENT, ORIGIN,
                             "advance by %zu bytes in a window of %zu", size,
                             sizeof sink->buffer - sink->used);
    }
    sink->used += size;
    return sink->used == sizeof sink->buffer ? sink_flush(call, sink, error) : GRV_OK;
}

static grv_status pg_sink_commit(const grv_call *call, grv_sink *base, grv_error *error)
{
    pg_sink *sink = (pg_sink *)base;
    grv_status status = grv_call_check(call, ORIGIN, error);
    if (status) {
        return status;
    }
    grv_object_info info = {.size_bytes = sink->sent + sink->used};
    pg_trip trip = {.count = 0};
    PGresult *results[CHUNKS + 2];
    trip_fill(&trip, sink);
    tag_print(sink->id, info.tag);
    grv_pg_params *params = trip_add(&trip, &put_object);
    grv_pg_objects_add_locator(params, &sink->locator);
    grv_pg_add_bytes(params, grv_bytes_of(sink->id, sizeof sink->id));
    grv_pg_add_int64(params, (int64_t)info.size_bytes);
    grv_pg_add_text(params, info.tag);
    grv_pg_add_bool(params, sink->if_absent);
    sink->begun = true;
    grv_pg_work work = {.steps = trip.steps, .count = trip.count};
    status = grv_pg_run(call, sink->store->pg, &work, results, error);
    if (status) {
        return grv_pg_objects_prefix(&sink->locator, status, error);
    }
    sink->done = true;
    status = named(call, sink->store, results[trip.count - 1], 0, &info.modified_ns, error);
    grv_pg_clear(results, trip.count);
    if (!status) {
        sink->base.info = info;
    }
    return status;
}

/* Where the server cannot be reached a sweep has to do it. */
static void pg_sink_free(grv_sink *base)
{
    pg_sink *sink = (pg_sink *)base;
    if (sink->begun && !sink->done && base->failed != GRV_UNAVAILABLE) {
        grv_pg_objects_drop(NULL, sink->store, grv_bytes_of(sink->id, sizeof sink->id));
    }
    free(sink);
}

static const grv_sink_ops pg_sink_ops = {
    .name = "pg",
    .reserve = pg_sink_reserve,
    .advance = pg_sink_advance,
    .commit = pg_sink_commit,
    .free = pg_sink_free,
};

/* Before all bytes were sent for nothing. */
static grv_status refuse_existing(const grv_call *call, grv_pg_objects *store,
                                  const grv_locator *locator, grv_error *error)
{
    grv_object_info info;
    grv_error mine = GRV_ERROR_INIT;
    grv_status status = grv_pg_objects_head(call, &store->base.base, locator, &info, &mine);
    if (status == GRV_NOT_FOUND) {
        return GRV_OK;
    }
    if (!status) {
        return grv_error_set(error, GRV_ALREADY_EXISTS, ORIGIN,
                             "there is an object %s://%s/%.200s already", locator->scheme,
                             locator->bucket, locator->path);
    }
    if (error) {
        *error = mine;
    }
    return status;
}

grv_status grv_pg_objects_open_put(const grv_call *call, grv_mutable_object_store *base,
                                   const grv_locator *locator, const grv_object_put *put,
                                   grv_object_sink **ret_sink, grv_error *error)
{
    grv_pg_objects *store = (grv_pg_objects *)base;
    grv_status status = grv_pg_objects_check(call, store, locator, error);
    if (!status && put->if_absent) {
        status = refuse_existing(call, store, locator, error);
    }
    if (status) {
        return status;
    }
    pg_sink *sink = malloc(sizeof *sink);
    if (!sink) {
        return grv_error_set(error, GRV_LIMIT_EXCEEDED, ORIGIN, "no memory for a sink");
    }
    /* The buffer is left as it is, untouched memory. */
    memset(sink, 0, offsetof(pg_sink, buffer));
    sink->base.base.ops = &pg_sink_ops;
    sink->store = store;
    sink->locator = *locator;
    sink->if_absent = put->if_absent;
    status = grv_random_fill(sink->id, sizeof sink->id, error);
    if (status) {
        free(sink);
        return status;
    }
    grv_pg_objects_sweep(call, store);
    *ret_sink = &sink->base;
    return GRV_OK;
}

/* ---- copy ---- */

/* Reads the answer of a copy. */
static grv_status copied(const grv_call *call, grv_pg_objects *store, const grv_locator *from,
                         const PGresult *result, grv_object_info *info, grv_error *error)
{
    if (grv_pg_is_null(result, 0, 0)) {
        return grv_pg_objects_absent(from, error);
    }
    int64_t size = 0;
    grv_status status = grv_pg_cell_int64(result, 0, 0, &size, error);
    if (!status) {
        info->size_bytes = (uint64_t)size;
        status = named(call, store, result, 1, &info->modified_ns, error);
    }
    return status;
}

grv_status grv_pg_objects_copy(const grv_call *call, grv_mutable_object_store *base,
                               const grv_locator *from, const grv_locator *to, bool if_absent,
                               grv_object_info *ret_info, grv_error *error)
{
    grv_pg_objects *store = (grv_pg_objects *)base;
    uint8_t id[GRV_PG_CONTENT_ID_SIZE];
    grv_object_info info = {0};
    grv_status status = grv_pg_objects_check(call, store, from, error);
    if (!status) {
        status = grv_pg_objects_check(call, store, to, error);
    }
    if (!status) {
        status = grv_random_fill(id, sizeof id, error);
    }
    if (status) {
        return status;
    }
    tag_print(id, info.tag);
    grv_pg_params params = {0};
    grv_pg_objects_add_locator(&params, from);
    grv_pg_objects_add_locator(&params, to);
    grv_pg_add_text(&params, info.tag);
    grv_pg_add_bool(&params, if_absent);
    grv_pg_step step = {&copy_object, &params};
    grv_pg_work work = {.steps = &step, .count = 1};
    PGresult *result = NULL;
    status = grv_pg_run(call, store->pg, &work, &result, error);
    if (status) {
        return grv_pg_objects_prefix(to, status, error);
    }
    status = copied(call, store, from, result, &info, error);
    PQclear(result);
    if (!status) {
        *ret_info = info;
    }
    return status;
}
