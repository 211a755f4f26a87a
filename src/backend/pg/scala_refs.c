/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reading one blob's rows in graviton.blob_block, some at a time, by ordinal. Each row must go on
 * where the one before it has ended, and the last one is known from the start: so what is given out
 * joins up from the first reference to the blob's end, or the cursor fails.
 */
#include "backend/pg/scala.h"
#include "core/manifest.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define ORIGIN "manifests"
/* Rows of the first query and, growing, of the later ones. */
#define ROWS_MIN 64u
#define ROWS_MAX 4096u

typedef struct scala_refs {
    grv_ref_cursor base;
    grv_scala_repo *repo;
    const grv_scala_name *name;
    grv_blob_info info;
    uint64_t from; /* references that end at or before this byte are passed over */
    bool joins;    /* `at` is known: the next row begins there */
    uint64_t at;
    uint64_t ordinal; /* of the next row */
    PGresult *rows;   /* rows from `given` on are still to be given out */
    int given;
    uint32_t ahead; /* rows to ask for next */
} scala_refs;

#define BY_KEY "alg = $1 AND hash_bytes = $2::bytea AND byte_length = $3::int8"

static const grv_pg_statement rows_read = {
    "scala_rows",
    "SELECT ordinal::int8, pg_catalog.substring(block_alg::text, 1, 63), "
    "pg_catalog.substring(block_hash_bytes, 1, 33), block_byte_length::int8, block_offset::int8, "
    "block_length::int8 FROM graviton.blob_block k WHERE " BY_KEY
    " AND ordinal >= $4::int8 ORDER BY k.ordinal LIMIT $5::int8"};

/* The last row that begins at or before byte $5, by halves: of $4 rows. Where one is missing the
 * search ends at an earlier row, and reading on from there comes to the gap. */
static const grv_pg_statement row_find = {
    "scala_find",
    "WITH RECURSIVE search (low, high) AS (SELECT 0::int8, $4::int8 UNION ALL "
    "SELECT CASE WHEN p.first <= $5::int8 THEN s.middle ELSE s.low END, "
    "CASE WHEN p.first <= $5::int8 THEN s.high ELSE s.middle END FROM "
    "(SELECT low, high, (low + high) / 2 AS middle FROM search WHERE high - low > 1) s, LATERAL "
    "(SELECT block_offset::int8 AS first FROM graviton.blob_block WHERE " BY_KEY
    " AND ordinal = s.middle LIMIT 1) p) SELECT low FROM search ORDER BY high - low LIMIT 1"};

/* Finds the row to begin with. */
static grv_status find_first(const grv_call *call, scala_refs *refs, grv_error *error)
{
    if (refs->from == 0 || refs->info.block_count < 2) {
        refs->joins = true;
        return GRV_OK;
    }
    grv_pg_params params = {0};
    PGresult *rows = NULL;
    grv_scala_add_key(&params, refs->name, &refs->info.key);
    grv_pg_add_int64(&params, (int64_t)refs->info.block_count);
    grv_pg_add_int64(&params, (int64_t)refs->from);
    grv_status status = grv_pg_read(call, refs->repo->pg, &row_find, &params, &rows, error);
    int64_t low = 0;
    if (!status) {
        status = grv_pg_cell_int64(rows, 0, 0, &low, error);
    }
    PQclear(rows);
    if (!status) {
        refs->ordinal = (uint64_t)low;
        refs->joins = low == 0;
    }
    return status;
}

/* No row where one should be: the blob was removed meanwhile, or the row is missing. */
static grv_status explain_missing(const grv_call *call, scala_refs *refs, grv_error *error)
{
    grv_blob_info info;
    grv_status status = grv_scala_stat(call, &refs->repo->base, &refs->info.key, &info, error);
    if (status) {
        return status;
    }
    grv_error_set(error, GRV_CORRUPT, ORIGIN, "block %" PRIu64 " of %" PRIu64 " has no row",
                  refs->ordinal, refs->info.block_count);
    grv_manifest_prefix_blob(&refs->info.key, error);
    return GRV_CORRUPT;
}

static grv_status read_more(const grv_call *call, scala_refs *refs, grv_error *error)
{
    grv_pg_params params = {0};
    grv_scala_add_key(&params, refs->name, &refs->info.key);
    grv_pg_add_int64(&params, (int64_t)refs->ordinal);
    grv_pg_add_int64(&params, refs->ahead);
    PQclear(refs->rows);
    refs->rows = NULL;
    refs->given = 0;
    grv_status status = grv_pg_read(call, refs->repo->pg, &rows_read, &params, &refs->rows, error);
    if (status) {
        grv_manifest_prefix_blob(&refs->info.key, error);
        return status;
    }
    refs->ahead = refs->ahead < ROWS_MAX / 2 ? 2 * refs->ahead : ROWS_MAX;
    return PQntuples(refs->rows) < 1 ? explain_missing(call, refs, error) : GRV_OK;
}

/* A row's numbers. */
typedef struct row_numbers {
    int64_t ordinal;
    int64_t size; /* of the whole block */
    int64_t offset;
    int64_t length; /* of the blob's bytes in it */
} row_numbers;

static grv_status numbers_read(const PGresult *rows, int row, row_numbers *ret, grv_error *error)
{
    grv_status status = grv_pg_cell_int64(rows, row, 0, &ret->ordinal, error);
    if (!status) {
        status = grv_pg_cell_int64(rows, row, 3, &ret->size, error);
    }
    if (!status) {
        status = grv_pg_cell_int64(rows, row, 4, &ret->offset, error);
    }
    return status ? status : grv_pg_cell_int64(rows, row, 5, &ret->length, error);
}

static grv_status check_place(const scala_refs *refs, const row_numbers *row, grv_error *error)
{
    uint64_t size = refs->info.key.size;
    if (row->ordinal < 0 || (uint64_t)row->ordinal != refs->ordinal) {
        return grv_error_set(error, GRV_CORRUPT, ORIGIN, "block %" PRIu64 " has no row",
                             refs->ordinal);
    }
    if (refs->joins && (row->offset < 0 || (uint64_t)row->offset != refs->at)) {
        return grv_error_set(error, GRV_CORRUPT, ORIGIN,
                             "block %" PRId64 " begins at byte %" PRId64 ", not at %" PRIu64,
                             row->ordinal, row->offset, refs->at);
    }
    if (row->offset < 0 || row->length < 1 || (uint64_t)row->offset >= size ||
        (uint64_t)row->length > size - (uint64_t)row->offset ||
        (!refs->joins && (uint64_t)row->offset > refs->from)) {
        return grv_error_set(error, GRV_CORRUPT, ORIGIN,
                             "block %" PRId64 " has %" PRId64 " bytes from byte %" PRId64
                             " on, in a blob of %" PRIu64,
                             row->ordinal, row->length, row->offset, size);
    }
    return GRV_OK;
}

static grv_status check_part(const row_numbers *row, grv_error *error)
{
    if (row->size < row->length) {
        return grv_error_set(error, GRV_CORRUPT, ORIGIN,
                             "block %" PRId64 " has %" PRId64 " bytes, and %" PRId64
                             " of them are named",
                             row->ordinal, row->size, row->length);
    }
    if (row->size > row->length) {
        return grv_error_set(error, GRV_UNSUPPORTED, ORIGIN,
                             "block %" PRId64 " is named in part, %" PRId64 " of %" PRId64
                             " bytes: only whole blocks can be read",
                             row->ordinal, row->length, row->size);
    }
    if (row->size > GRV_BLOCK_SIZE_MAX) {
        return grv_error_set(error, GRV_UNSUPPORTED, ORIGIN,
                             "block %" PRId64 " has %" PRId64 " bytes, more than %u", row->ordinal,
                             row->size, GRV_BLOCK_SIZE_MAX);
    }
    return GRV_OK;
}

static grv_status key_read(const PGresult *rows, int row, const row_numbers *numbers,
                           grv_block_key *ret_key, grv_error *error)
{
    grv_bytes alg = grv_pg_cell(rows, row, 1);
    grv_bytes hash = grv_pg_cell(rows, row, 2);
    grv_block_key key = {.size = (uint32_t)numbers->size};
    if (grv_hash_parse(alg, &key.digest.hash, NULL)) {
        return grv_error_set(error, GRV_UNSUPPORTED, ORIGIN,
                             "block %" PRId64 " has an algorithm that is not known here, \"%.*s\"",
                             numbers->ordinal, (int)alg.size, (const char *)alg.data);
    }
    if (hash.size != GRV_DIGEST_SIZE) {
        return grv_error_set(error, GRV_CORRUPT, ORIGIN,
                             "block %" PRId64 " has a hash of %s%zu bytes, not %d",
                             numbers->ordinal, hash.size > GRV_DIGEST_SIZE ? "at least " : "",
                             hash.size, GRV_DIGEST_SIZE);
    }
    memcpy(key.digest.bytes, hash.data, GRV_DIGEST_SIZE);
    *ret_key = key;
    return GRV_OK;
}

/* Decodes and checks the next row; moves on behind it. */
static grv_status row_take(scala_refs *refs, grv_block_ref *ret_ref, grv_error *error)
{
    row_numbers numbers = {0};
    grv_block_key key = {.size = 0};
    grv_status status = numbers_read(refs->rows, refs->given, &numbers, error);
    if (!status) {
        status = check_place(refs, &numbers, error);
    }
    if (!status) {
        status = check_part(&numbers, error);
    }
    if (!status) {
        status = key_read(refs->rows, refs->given, &numbers, &key, error);
    }
    if (status) {
        grv_manifest_prefix_blob(&refs->info.key, error);
        return status;
    }
    *ret_ref = (grv_block_ref){.key = key, .offset = (uint64_t)numbers.offset};
    refs->at = (uint64_t)numbers.offset + key.size;
    refs->joins = true;
    refs->ordinal++;
    refs->given++;
    return GRV_OK;
}

static grv_status scala_refs_next(const grv_call *call, grv_ref_cursor *base, grv_block_ref out[],
                                  size_t capacity, size_t *ret_count, grv_error *error)
{
    scala_refs *refs = (scala_refs *)base;
    size_t count = 0;
    while (count < capacity && refs->at < refs->info.key.size) {
        bool empty = !refs->rows || refs->given == PQntuples(refs->rows);
        if (empty && count > 0) {
            break;
        }
        grv_status status = empty ? read_more(call, refs, error) : GRV_OK;
        if (!status) {
            status = row_take(refs, &out[count], count ? NULL : error);
        }
        if (status && count > 0) {
            break; /* the next call tells of it */
        }
        if (status) {
            return status;
        }
        count += refs->at > refs->from;
    }
    if (count == 0 && refs->ordinal != refs->info.block_count) {
        grv_error_set(error, GRV_CORRUPT, ORIGIN,
                      "block %" PRIu64 " is one too many: the blob has ended", refs->ordinal);
        grv_manifest_prefix_blob(&refs->info.key, error);
        return GRV_CORRUPT;
    }
    *ret_count = count;
    return GRV_OK;
}

static void scala_refs_free(grv_ref_cursor *base)
{
    scala_refs *refs = (scala_refs *)base;
    PQclear(refs->rows);
    free(refs);
}

static const grv_ref_cursor_ops scala_refs_ops = {
    .name = "scala",
    .next = scala_refs_next,
    .free = scala_refs_free,
};

grv_status grv_scala_open_refs(const grv_call *call, grv_manifest_repo *base,
                               const grv_blob_key *key, uint64_t offset,
                               grv_ref_cursor **ret_cursor, grv_error *error)
{
    scala_refs *refs = calloc(1, sizeof *refs);
    if (!refs) {
        return grv_error_set(error, GRV_LIMIT_EXCEEDED, ORIGIN, "no memory for reading a manifest");
    }
    refs->base.ops = &scala_refs_ops;
    refs->repo = grv_scala_repo_of(base);
    refs->name = grv_scala_name_of(refs->repo, key->digest.hash);
    refs->from = offset;
    refs->ahead = ROWS_MIN;
    grv_status status = grv_scala_stat(call, base, key, &refs->info, error);
    if (!status && offset < key->size) {
        status = find_first(call, refs, error);
    } else if (!status) {
        refs->at = key->size;
        refs->ordinal = refs->info.block_count;
    }
    if (status) {
        free(refs);
        return status;
    }
    *ret_cursor = &refs->base;
    return GRV_OK;
}
