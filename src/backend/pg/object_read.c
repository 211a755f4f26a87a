/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reading objects. A source reads the chunks of the content that the object had when it was opened,
 * some a round trip, the first of them with the opening itself, and checks each before it gives a
 * byte of it. A content never changes, so bytes of two puts cannot meet; where it was let go of
 * meanwhile chunks are missing, and the source finds out why.
 */
#include "backend/pg/objects.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define ORIGIN "pg"
/* Most chunks of one round trip, where they are small. */
#define CHUNKS_MAX 64u

static const grv_pg_statement read_object = {
    "object_read", "SELECT o.size, o.tag, o.modified, o.content_id, c.chunk_size "
                   "FROM graviton.object o JOIN graviton.object_content c USING (content_id) "
                   "WHERE o.bucket = $1 AND o.path = $2"};
/* The first chunks of a range: as many as read_chunks will be asked for. */
static const grv_pg_statement read_first = {
    "object_first",
    "SELECT k.number, k.checksum, k.bytes FROM graviton.object o "
    "JOIN graviton.object_content c USING (content_id) "
    "JOIN graviton.object_chunk k USING (content_id) WHERE o.bucket = $1 AND o.path = $2 "
    "AND $3::int8 < least($4::int8, o.size) "
    "AND k.number BETWEEN $3::int8 / c.chunk_size AND least("
    "$3::int8 / c.chunk_size + least(64, greatest(1, 1048576 / c.chunk_size)) - 1, "
    "(least($4::int8, o.size) - 1) / c.chunk_size) ORDER BY k.number"};
static const grv_pg_statement read_chunks = {
    "object_chunks", "SELECT number, checksum, bytes FROM graviton.object_chunk "
                     "WHERE content_id = $1 AND number BETWEEN $2 AND $3 ORDER BY number"};
/* Whether the content is still whole, and whether there is an object of that name. */
static const grv_pg_statement read_fate = {
    "object_fate", "SELECT EXISTS (SELECT FROM graviton.object_content "
                   "WHERE content_id = $3 AND byte_length IS NOT NULL), "
                   "EXISTS (SELECT FROM graviton.object WHERE bucket = $1 AND path = $2)"};

/* ---- head ---- */

grv_status grv_pg_objects_head(const grv_call *call, grv_object_store *base,
                               const grv_locator *locator, grv_object_info *ret_info,
                               grv_error *error)
{
    grv_pg_objects *store = (grv_pg_objects *)base;
    grv_status status = grv_pg_objects_check(call, store, locator, error);
    if (status) {
        return status;
    }
    grv_pg_params params = {0};
    grv_pg_objects_add_locator(&params, locator);
    PGresult *result = NULL;
    status = grv_pg_read(call, store->pg, &read_object, &params, &result, error);
    if (status) {
        return grv_pg_objects_prefix(locator, status, error);
    }
    if (PQntuples(result) == 0) {
        status = grv_pg_objects_absent(locator, error);
    } else {
        status = grv_pg_objects_prefix(locator, grv_pg_objects_info(result, 0, 0, ret_info, error),
                                       error);
    }
    PQclear(result);
    return status;
}

/* ---- the source ---- */

typedef struct pg_source {
    grv_source base;
    grv_pg_objects *store;
    grv_locator locator;
    uint8_t id[GRV_PG_CONTENT_ID_SIZE];
    uint64_t chunk_size;
    uint64_t size;    /* of the object */
    uint64_t at;      /* where the next view begins */
    uint64_t end;     /* of the range */
    PGresult *chunks; /* the last round trip's, NULL: none */
    int row;          /* the next of them to be checked */
    grv_bytes left;   /* checked bytes of the chunk before it, not given yet */
    grv_error failed; /* status GRV_OK while all is well */
} pg_source;

/* Reads the chunks from the one that has byte `at`. */
static grv_status source_fetch(const grv_call *call, pg_source *source, grv_error *error)
{
    uint64_t count = GRV_PG_CHUNKS_BYTES / source->chunk_size;
    count = count == 0 ? 1 : count;
    count = count < CHUNKS_MAX ? count : CHUNKS_MAX;
    uint64_t first = source->at / source->chunk_size;
    uint64_t last = (source->end - 1) / source->chunk_size;
    last = last - first < count ? last : first + count - 1;
    if (last > INT32_MAX) {
        return grv_error_set(error, GRV_CORRUPT, ORIGIN, "an object of %" PRIu64 " bytes",
                             source->size);
    }
    grv_pg_params params = {0};
    grv_pg_add_bytes(&params, grv_bytes_of(source->id, sizeof source->id));
    grv_pg_add_int32(&params, (int32_t)first);
    grv_pg_add_int32(&params, (int32_t)last);
    grv_pg_clear(&source->chunks, 1);
    source->row = 0;
    return grv_pg_read(call, source->store->pg, &read_chunks, &params, &source->chunks, error);
}

/* Why a chunk is missing. Looking afterwards is enough: a content that is whole now always was. */
static grv_status source_missing(const grv_call *call, pg_source *source, uint64_t number,
                                 grv_error *error)
{
    grv_pg_params params = {0};
    grv_pg_objects_add_locator(&params, &source->locator);
    grv_pg_add_bytes(&params, grv_bytes_of(source->id, sizeof source->id));
    PGresult *result = NULL;
    bool whole = false;
    bool named = false;
    grv_status status = grv_pg_read(call, source->store->pg, &read_fate, &params, &result, error);
    if (!status) {
        status = grv_pg_cell_bool(result, 0, 0, &whole, error);
    }
    if (!status) {
        status = grv_pg_cell_bool(result, 0, 1, &named, error);
    }
    PQclear(result);
    if (status) {
        return status;
    }
    if (whole) {
        return grv_error_set(error, GRV_CORRUPT, ORIGIN, "chunk %" PRIu64 " is missing", number);
    }
    return grv_error_set(error, named ? GRV_CONFLICT : GRV_NOT_FOUND, ORIGIN,
                         "it was %s while it was read", named ? "replaced" : "removed");
}

/* Checks the next chunk of the round trip, and takes what the range has of it. */
static grv_status source_take(pg_source *source, uint64_t number, grv_error *error)
{
    int64_t sum = 0;
    grv_status status = grv_pg_cell_int64(source->chunks, source->row, 1, &sum, error);
    if (status) {
        return status;
    }
    grv_bytes bytes = grv_pg_cell(source->chunks, source->row, 2);
    uint64_t start = number * source->chunk_size;
    uint64_t want = source->size - start;
    want = want < source->chunk_size ? want : source->chunk_size;
    if (bytes.size != want ||
        (uint64_t)sum != grv_pg_chunk_checksum(source->id, (uint32_t)number, bytes)) {
        return grv_error_set(error, GRV_CORRUPT, ORIGIN, "chunk %" PRIu64 " is damaged: %s", number,
                             bytes.size != want ? "it is not as long as it should be"
                                                : "its checksum does not match");
    }
    uint64_t stop = start + want < source->end ? start + want : source->end;
    source->left = grv_bytes_of(bytes.data + (source->at - start), (size_t)(stop - source->at));
    source->row++;
    return GRV_OK;
}

/* Makes sure that there are bytes to give. */
static grv_status source_load(const grv_call *call, pg_source *source, grv_error *error)
{
    grv_status status = GRV_OK;
    if (!source->chunks || source->row == PQntuples(source->chunks)) {
        status = source_fetch(call, source, error);
    }
    uint64_t number = source->at / source->chunk_size;
    int32_t got = -1;
    if (!status && source->row < PQntuples(source->chunks)) {
        status = grv_pg_cell_int32(source->chunks, source->row, 0, &got, error);
    }
    if (!status) {
        status = got >= 0 && (uint64_t)got == number ? source_take(source, number, error)
                                                     : source_missing(call, source, number, error);
    }
    return grv_pg_objects_prefix(&source->locator, status, error);
}

static grv_status pg_source_next(const grv_call *call, grv_source *base, size_t max,
                                 grv_bytes *ret_view, grv_error *error)
{
    pg_source *source = (pg_source *)base;
    grv_status status = source->failed.status;
    if (!status) {
        status = grv_call_check(call, ORIGIN, &source->failed);
    }
    if (!status && source->left.size == 0 && source->at < source->end) {
        status = source_load(call, source, &source->failed);
    }
    if (status) {
        if (error) {
            *error = source->failed;
        }
        return status;
    }
    size_t size = max < source->left.size ? max : source->left.size;
    *ret_view = grv_bytes_of(source->left.data, size);
    source->left = grv_bytes_of(source->left.data + size, source->left.size - size);
    source->at += size;
    return GRV_OK;
}

static void pg_source_free(grv_source *base)
{
    pg_source *source = (pg_source *)base;
    PQclear(source->chunks);
    free(source);
}

static const grv_source_ops pg_source_ops = {
    .name = "pg",
    .next = pg_source_next,
    .free = pg_source_free,
};

/* Makes a source of what the opening has read; on GRV_OK it has taken the chunks. */
static grv_status source_new(grv_pg_objects *store, const grv_locator *locator, grv_range range,
                             PGresult *results[2], grv_object_info *ret_info,
                             grv_source **ret_source, grv_error *error)
{
    grv_object_info info;
    int32_t chunk_size = 0;
    grv_status status = grv_pg_objects_info(results[0], 0, 0, &info, error);
    if (!status) {
        status = grv_pg_cell_int32(results[0], 0, 4, &chunk_size, error);
    }
    if (status) {
        return status;
    }
    grv_bytes id = grv_pg_cell(results[0], 0, 3);
    if (id.size != GRV_PG_CONTENT_ID_SIZE || chunk_size < 1 ||
        (uint32_t)chunk_size > GRV_PG_CHUNK_SIZE_MAX) {
        return grv_error_set(error, GRV_CORRUPT, ORIGIN,
                             "its content has chunks of %" PRId32 " bytes", chunk_size);
    }
    if (range.first > info.size_bytes) {
        return grv_error_set(error, GRV_INVALID_ARGUMENT, ORIGIN,
                             "byte %" PRIu64 " of an object of %" PRIu64, range.first,
                             info.size_bytes);
    }
    pg_source *source = calloc(1, sizeof *source);
    if (!source) {
        return grv_error_set(error, GRV_LIMIT_EXCEEDED, ORIGIN, "no memory for a source");
    }
    source->base.ops = &pg_source_ops;
    source->store = store;
    source->locator = *locator;
    memcpy(source->id, id.data, id.size);
    source->chunk_size = (uint64_t)chunk_size;
    source->size = info.size_bytes;
    source->at = range.first;
    source->end = range.end < info.size_bytes ? range.end : info.size_bytes;
    source->chunks = results[1];
    results[1] = NULL;
    *ret_info = info;
    *ret_source = &source->base;
    return GRV_OK;
}

static int64_t clamp(uint64_t offset)
{
    return offset < INT64_MAX ? (int64_t)offset : INT64_MAX;
}

grv_status grv_pg_objects_open_get(const grv_call *call, grv_object_store *base,
                                   const grv_locator *locator, grv_range range,
                                   grv_object_info *ret_info, grv_source **ret_source,
                                   grv_error *error)
{
    grv_pg_objects *store = (grv_pg_objects *)base;
    grv_status status = grv_pg_objects_check(call, store, locator, error);
    if (status) {
        return status;
    }
    grv_pg_params params[2] = {{0}, {0}};
    grv_pg_objects_add_locator(&params[0], locator);
    grv_pg_objects_add_locator(&params[1], locator);
    grv_pg_add_int64(&params[1], clamp(range.first));
    grv_pg_add_int64(&params[1], clamp(range.end));
    grv_pg_step steps[2] = {{&read_object, &params[0]}, {&read_first, &params[1]}};
    grv_pg_work work = {.steps = steps, .count = range.first < range.end ? 2 : 1, .reads = true};
    PGresult *results[2] = {NULL, NULL};
    status = grv_pg_run(call, store->pg, &work, results, error);
    if (!status && PQntuples(results[0]) == 0) {
        status = grv_pg_objects_absent(locator, error);
        grv_pg_clear(results, 2);
        return status;
    }
    if (!status) {
        status = source_new(store, locator, range, results, ret_info, ret_source, error);
    }
    grv_pg_clear(results, 2);
    return grv_pg_objects_prefix(locator, status, error);
}
