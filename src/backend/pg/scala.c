/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Manifest repository over the tables of the Scala system, to read only: what concerns whole blobs.
 * It is there so that a deployment of that system can be copied from.
 *
 * A blob's row and the last row of its blocks are looked at together: from these two it is seen
 * whether the blocks come to the blob's size, before the first of them is read.
 */
#include "backend/pg/scala.h"

#include "backend/pg/pool.h"
#include "base/digits.h"
#include "core/manifest.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ORIGIN "manifests"

static const grv_manifest_repo_ops scala_ops;

grv_scala_repo *grv_scala_repo_of(grv_manifest_repo *base)
{
    assert(base->ops == &scala_ops);
    return (grv_scala_repo *)base;
}

/* ---- Algorithms ---- */

/* The names that there are, each found by one look into the index. */
static const grv_pg_statement names_read = {
    "scala_names",
    "WITH RECURSIVE names (alg) AS ((SELECT alg FROM graviton.blob ORDER BY alg LIMIT 1) UNION ALL "
    "SELECT (SELECT b.alg FROM graviton.blob b WHERE b.alg > names.alg ORDER BY b.alg LIMIT 1) "
    "FROM names WHERE names.alg IS NOT NULL) "
    "SELECT alg::text FROM names WHERE alg IS NOT NULL LIMIT 17"};
_Static_assert(GRV_SCALA_NAMES_MAX == 16u, "one more is asked for");

static int name_compare(const void *a, const void *b)
{
    const grv_scala_name *x = a;
    const grv_scala_name *y = b;
    unsigned x_rank = x->hash ? (unsigned)x->hash : UINT32_MAX;
    unsigned y_rank = y->hash ? (unsigned)y->hash : UINT32_MAX;
    return x_rank != y_rank ? (x_rank < y_rank ? -1 : 1) : strcmp(x->text, y->text);
}

static grv_status name_add(grv_scala_repo *repo, grv_bytes text, grv_error *error)
{
    grv_scala_name name = {.hash = GRV_HASH_NONE};
    if (text.size >= sizeof name.text || repo->name_count == GRV_SCALA_NAMES_MAX) {
        return grv_error_set(error, GRV_UNSUPPORTED, ORIGIN,
                             "graviton.blob names an algorithm by %zu characters, or too many of "
                             "them: this is no table of the Scala system",
                             text.size);
    }
    memcpy(name.text, text.data, text.size);
    if (grv_hash_parse(text, &name.hash, NULL)) {
        name.hash = GRV_HASH_NONE; /* its blobs are told of when they are come to */
    }
    const grv_scala_name *other = name.hash ? grv_scala_name_of(repo, name.hash) : NULL;
    if (other) {
        return grv_error_set(error, GRV_UNSUPPORTED, ORIGIN,
                             "graviton.blob spells one algorithm in two ways, \"%s\" and \"%s\"",
                             other->text, name.text);
    }
    repo->names[repo->name_count++] = name;
    return GRV_OK;
}

static grv_status names_load(const grv_call *call, grv_scala_repo *repo, grv_error *error)
{
    PGresult *rows = NULL;
    grv_status status = grv_pg_read(call, repo->pg, &names_read, NULL, &rows, error);
    for (int row = 0; !status && row < PQntuples(rows); row++) {
        status = name_add(repo, grv_pg_cell(rows, row, 0), error);
    }
    PQclear(rows);
    qsort(repo->names, repo->name_count, sizeof *repo->names, name_compare);
    return status;
}

const grv_scala_name *grv_scala_name_of(const grv_scala_repo *repo, grv_hash hash)
{
    for (size_t i = 0; i < repo->name_count; i++) {
        if (repo->names[i].hash == hash) {
            return &repo->names[i];
        }
    }
    return NULL;
}

grv_hash grv_manifest_repo_scala_hash(grv_manifest_repo *repo)
{
    const grv_scala_repo *scala = grv_scala_repo_of(repo);
    grv_hash hash = scala->name_count > 0 ? scala->names[0].hash : GRV_HASH_NONE;
    bool others = scala->name_count > 1 && scala->names[1].hash != GRV_HASH_NONE;
    return others ? GRV_HASH_NONE : hash;
}

/* ---- One blob ---- */

void grv_scala_add_key(grv_pg_params *params, const grv_scala_name *name, const grv_blob_key *key)
{
    grv_pg_add_text(params, name->text);
    grv_pg_add_bytes(params, grv_bytes_of(key->digest.bytes, GRV_DIGEST_SIZE));
    grv_pg_add_int64(params, (int64_t)key->size);
}

static const grv_pg_statement blob_read = {
    "scala_blob", "SELECT " GRV_SCALA_BLOB_COLUMNS " FROM " GRV_SCALA_BLOB_ROWS(
                      "hash_bytes = $3::bytea AND byte_length = $4::int8 LIMIT 1")};

static grv_status no_such_blob(const grv_blob_key *key, grv_error *error)
{
    char text[GRV_KEY_TEXT_SIZE];
    grv_blob_key_print(key, text);
    return grv_error_set(error, GRV_NOT_FOUND, ORIGIN, "no blob %s", text);
}

/* Says which blob has no valid key, by what its row has. */
static grv_status refuse_key(grv_status status, const grv_scala_name *name, grv_bytes hash,
                             int64_t size, const char *why, grv_error *error)
{
    char hex[2 * (GRV_DIGEST_SIZE + 1) + 1];
    size_t shown = hash.size <= GRV_DIGEST_SIZE ? hash.size : GRV_DIGEST_SIZE;
    grv_hex_print(hash.data, shown, hex);
    return grv_error_set(error, status, ORIGIN, "blob %s:%s%s:%" PRId64 ": %s", name->text, hex,
                         hash.size > shown ? "…" : "", size, why);
}

static grv_status key_read(const PGresult *rows, int row, const grv_scala_name *name,
                           grv_blob_key *ret_key, grv_error *error)
{
    grv_blob_key key = {.digest.hash = name->hash};
    grv_bytes hash = grv_pg_cell(rows, row, 0);
    int64_t size = 0;
    grv_status status = grv_pg_cell_int64(rows, row, 1, &size, error);
    if (status) {
        return refuse_key(status, name, hash, 0, "its row has no size", error);
    }
    if (name->hash == GRV_HASH_NONE) {
        return refuse_key(GRV_UNSUPPORTED, name, hash, size,
                          "its algorithm is not known here: blake3 and sha256 are", error);
    }
    if (hash.size != GRV_DIGEST_SIZE) {
        char why[80];
        snprintf(why, sizeof why, "its hash has %s%zu bytes, not %d",
                 hash.size > GRV_DIGEST_SIZE ? "at least " : "", hash.size, GRV_DIGEST_SIZE);
        return refuse_key(GRV_CORRUPT, name, hash, size, why, error);
    }
    if (size < 0) {
        return refuse_key(GRV_CORRUPT, name, hash, size, "a size below 0", error);
    }
    memcpy(key.digest.bytes, hash.data, GRV_DIGEST_SIZE);
    key.size = (uint64_t)size;
    *ret_key = key;
    return GRV_OK;
}

/* What the row of a blob without blocks says. */
static grv_status check_no_blocks(const grv_blob_info *info, grv_error *error)
{
    if (info->key.size > 0) {
        return grv_error_set(error, GRV_CORRUPT, ORIGIN, "graviton.blob_block has no row of it");
    }
    return GRV_OK;
}

/* What the row of the last block says. */
static grv_status last_read(const PGresult *rows, int row, grv_blob_info *info, grv_error *error)
{
    int64_t ordinal = -1;
    int64_t offset = -1;
    int64_t length = -1;
    grv_status status = grv_pg_cell_int64(rows, row, 4, &ordinal, error);
    if (!status) {
        status = grv_pg_cell_int64(rows, row, 6, &offset, error);
    }
    if (!status) {
        status = grv_pg_cell_int64(rows, row, 7, &length, error);
    }
    if (status) {
        return status;
    }
    if (ordinal < 0 || (uint64_t)ordinal >= GRV_MANIFEST_BLOCKS_MAX) {
        return grv_error_set(error, GRV_CORRUPT, ORIGIN, "its last block has ordinal %" PRId64,
                             ordinal);
    }
    if (offset < 0 || length < 1 || (uint64_t)offset + (uint64_t)length != info->key.size) {
        return grv_error_set(error, GRV_CORRUPT, ORIGIN,
                             "its last block has %" PRId64 " bytes from byte %" PRId64
                             " on, and should end at %" PRIu64,
                             length, offset, info->key.size);
    }
    info->block_count = (uint64_t)ordinal + 1;
    grv_bytes alg = grv_pg_cell(rows, row, 5);
    if (grv_hash_parse(alg, &info->block_hash, NULL)) {
        return grv_error_set(error, GRV_UNSUPPORTED, ORIGIN,
                             "its last block has an algorithm that is not known here, \"%.*s\"",
                             (int)alg.size, (const char *)alg.data);
    }
    return GRV_OK;
}

static grv_status info_read(const PGresult *rows, int row, grv_blob_info *info, grv_error *error)
{
    grv_status status = grv_pg_is_null(rows, row, 4) ? check_no_blocks(info, error)
                                                     : last_read(rows, row, info, error);
    int64_t claimed = (int64_t)info->block_count;
    if (!status && !grv_pg_is_null(rows, row, 3)) {
        status = grv_pg_cell_int64(rows, row, 3, &claimed, error);
    }
    if (!status && claimed != (int64_t)info->block_count) {
        status = grv_error_set(error, GRV_CORRUPT, ORIGIN,
                               "its row counts %" PRId64 " blocks, but there are %" PRIu64, claimed,
                               info->block_count);
    }
    int64_t created_us = 0;
    if (!status && !grv_pg_is_null(rows, row, 2)) {
        status = grv_pg_cell_int64(rows, row, 2, &created_us, error);
    }
    info->created_ns = (uint64_t)created_us * 1000;
    return status;
}

grv_status grv_scala_blob_read(const PGresult *rows, int row, const grv_scala_name *name,
                               grv_blob_info *ret_info, grv_error *error)
{
    grv_blob_info info = {.block_hash = name->hash};
    grv_status status = key_read(rows, row, name, &info.key, error);
    if (status) {
        return status;
    }
    status = info_read(rows, row, &info, error);
    if (status) {
        grv_manifest_prefix_blob(&info.key, error);
        return status;
    }
    *ret_info = info;
    return GRV_OK;
}

grv_status grv_scala_stat(const grv_call *call, grv_manifest_repo *base, const grv_blob_key *key,
                          grv_blob_info *ret_info, grv_error *error)
{
    const grv_scala_repo *repo = grv_scala_repo_of(base);
    const grv_scala_name *name = grv_scala_name_of(repo, key->digest.hash);
    if (!name) {
        return no_such_blob(key, error);
    }
    grv_pg_params params = {0};
    PGresult *rows = NULL;
    grv_pg_add_text(&params, name->text);
    grv_scala_add_key(&params, name, key);
    grv_status status = grv_pg_read(call, repo->pg, &blob_read, &params, &rows, error);
    if (status) {
        grv_manifest_prefix_blob(key, error);
        return status;
    }
    status = PQntuples(rows) < 1 ? no_such_blob(key, error)
                                 : grv_scala_blob_read(rows, 0, name, ret_info, error);
    PQclear(rows);
    return status;
}

/* The Scala system's attributes of a blob are no blob's in the sense of this one: they are left. */
static grv_status scala_attributes_get(const grv_call *call, grv_manifest_repo *base,
                                       const grv_blob_key *key, grv_attributes *attributes,
                                       grv_error *error)
{
    grv_blob_info info;
    grv_status status = grv_scala_stat(call, base, key, &info, error);
    if (!status) {
        grv_attributes_done(attributes);
    }
    return status;
}

/* ---- What is not there, and what is not done ---- */

static grv_status refuse(grv_error *error)
{
    return grv_error_set(error, GRV_UNSUPPORTED, ORIGIN,
                         "the tables of the Scala system can only be read: import them with "
                         "`graviton cp`");
}

static grv_status scala_open_put(const grv_call *call, grv_manifest_repo *repo,
                                 const grv_manifest_plan *plan, grv_manifest_put **ret_put,
                                 grv_error *error)
{
    (void)call, (void)repo, (void)plan, (void)ret_put;
    return refuse(error);
}

static grv_status scala_remove(const grv_call *call, grv_manifest_repo *repo,
                               const grv_blob_key *key, grv_error *error)
{
    (void)call, (void)repo, (void)key;
    return refuse(error);
}

static grv_status scala_attributes_set(const grv_call *call, grv_manifest_repo *repo,
                                       const grv_blob_key *key, const grv_attributes *attributes,
                                       grv_error *error)
{
    (void)call, (void)repo, (void)key, (void)attributes;
    return refuse(error);
}

static grv_status scala_descriptor_get(const grv_call *call, grv_manifest_repo *repo,
                                       grv_buffer *out, grv_error *error)
{
    (void)call, (void)repo, (void)out;
    return grv_error_set(error, GRV_NOT_FOUND, ORIGIN, "the Scala system has no descriptor");
}

static grv_status scala_descriptor_set(const grv_call *call, grv_manifest_repo *repo,
                                       const grv_bytes *expected, grv_bytes descriptor,
                                       grv_error *error)
{
    (void)call, (void)repo, (void)expected, (void)descriptor;
    return refuse(error);
}

static grv_status scala_state_get(const grv_call *call, grv_manifest_repo *repo, const char *name,
                                  grv_buffer *out, grv_error *error)
{
    (void)call, (void)repo, (void)out;
    return grv_error_set(error, GRV_NOT_FOUND, ORIGIN, "the Scala system has no record \"%s\"",
                         name);
}

static grv_status scala_state_set(const grv_call *call, grv_manifest_repo *repo, const char *name,
                                  const grv_bytes *expected, grv_bytes state, grv_error *error)
{
    (void)call, (void)repo, (void)name, (void)expected, (void)state;
    return refuse(error);
}

static grv_status scala_sweep(const grv_call *call, grv_manifest_repo *repo, bool dry_run,
                              grv_manifest_sweep *ret_sweep, grv_error *error)
{
    (void)call, (void)repo, (void)dry_run, (void)ret_sweep;
    return refuse(error);
}

/* ---- The repository itself ---- */

static void scala_free(grv_manifest_repo *base)
{
    free(grv_scala_repo_of(base));
}

static const grv_manifest_repo_ops scala_ops = {
    .name = "scala",
    .open_put = scala_open_put,
    .stat = grv_scala_stat,
    .open_refs = grv_scala_open_refs,
    .remove = scala_remove,
    .open_list = grv_scala_open_list,
    .attributes_get = scala_attributes_get,
    .attributes_set = scala_attributes_set,
    .descriptor_get = scala_descriptor_get,
    .descriptor_set = scala_descriptor_set,
    .state_get = scala_state_get,
    .state_set = scala_state_set,
    .sweep = scala_sweep,
    .free = scala_free,
};

static grv_status check_tables(const grv_call *call, grv_pg *pg, grv_error *error)
{
    unsigned version = 0;
    bool foreign = false;
    grv_status status = grv_pg_schema_read(call, pg, &version, &foreign, error);
    if (status || foreign) {
        return status;
    }
    if (version > 0) {
        return grv_error_set(error, GRV_CONFLICT, "pg",
                             "the schema graviton is this program's own, not the Scala system's: "
                             "name the metadata without \"scala:\"");
    }
    return grv_error_set(error, GRV_CONFLICT, "pg",
                         "there is no table graviton.blob_block: this is no database of the Scala "
                         "system");
}

grv_status grv_manifest_repo_scala_new(const grv_call *call, grv_pg *pg,
                                       grv_manifest_repo **ret_repo, grv_error *error)
{
    grv_scala_repo *repo = calloc(1, sizeof *repo);
    if (!repo) {
        return grv_error_set(error, GRV_LIMIT_EXCEEDED, ORIGIN,
                             "no memory for a manifest repository");
    }
    repo->pg = pg;
    grv_status status = grv_manifest_repo_init(&repo->base, &scala_ops, 0, error);
    if (!status) {
        status = check_tables(call, pg, error);
    }
    if (!status) {
        status = names_load(call, repo, error);
    }
    if (status) {
        grv_error_prefix(error, "the database %s", grv_pg_where(pg));
        free(repo);
        return status;
    }
    *ret_repo = &repo->base;
    return GRV_OK;
}
