/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Manifest repository over PostgreSQL: what concerns whole blobs. A blob appears and disappears
 * with its row in graviton.blob, in one transaction with its attributes; pages go with it.
 */
#include "backend/pg/manifest_repo.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

static const grv_manifest_repo_ops manifest_repo_pg_ops;

grv_manifest_repo_pg *grv_manifest_repo_pg_of(grv_manifest_repo *base)
{
    assert(base->ops == &manifest_repo_pg_ops);
    return (grv_manifest_repo_pg *)base;
}

/* ---- Keys ---- */

void grv_pg_add_hash(grv_pg_params *params, grv_hash hash)
{
    grv_pg_add_text(params, hash == GRV_HASH_BLAKE3 ? "blake3" : "sha256");
}

void grv_pg_add_blob(grv_pg_params *params, const grv_blob_key *key)
{
    grv_pg_add_hash(params, key->digest.hash);
    grv_pg_add_bytes(params, grv_bytes_of(key->digest.bytes, GRV_DIGEST_SIZE));
    grv_pg_add_int64(params, (int64_t)key->size);
}

grv_status grv_pg_cell_blob(const PGresult *result, int row, int column, grv_blob_key *ret_key,
                            grv_error *error)
{
    grv_bytes alg = grv_pg_cell(result, row, column);
    grv_bytes digest = grv_pg_cell(result, row, column + 1);
    grv_blob_key key = {.digest.hash = GRV_HASH_NONE};
    int64_t size = -1;
    grv_status status = grv_pg_cell_int64(result, row, column + 2, &size, error);
    if (status) {
        return status;
    }
    if (alg.size == 6 && memcmp(alg.data, "blake3", 6) == 0) {
        key.digest.hash = GRV_HASH_BLAKE3;
    } else if (alg.size == 6 && memcmp(alg.data, "sha256", 6) == 0) {
        key.digest.hash = GRV_HASH_SHA256;
    }
    if (digest.size == GRV_DIGEST_SIZE && size >= 0) {
        memcpy(key.digest.bytes, digest.data, GRV_DIGEST_SIZE);
        key.size = (uint64_t)size;
    }
    if (digest.size != GRV_DIGEST_SIZE || size < 0 || !grv_blob_key_is_valid(&key)) {
        return grv_error_set(error, GRV_CORRUPT, "manifests", "a row of graviton.blob has no key");
    }
    *ret_key = key;
    return GRV_OK;
}

static grv_status no_such_blob(const grv_blob_key *key, grv_error *error)
{
    char text[GRV_KEY_TEXT_SIZE];
    grv_blob_key_print(key, text);
    return grv_error_set(error, GRV_NOT_FOUND, "manifests", "no blob %s", text);
}

/* ---- Roots ---- */

#define BY_KEY "WHERE alg = $1 AND hash_bytes = $2 AND byte_length = $3"

static const grv_pg_statement root_get = {"root_get", "SELECT " GRV_PG_ROOT_COLUMN
                                                      " FROM graviton.blob " BY_KEY};

grv_status grv_manifest_repo_pg_root(const grv_call *call, grv_manifest_repo_pg *repo,
                                     const grv_blob_key *key, PGresult **ret_result,
                                     grv_manifest_root *ret_root, grv_error *error)
{
    grv_pg_params params = {0};
    PGresult *result = NULL;
    grv_pg_add_blob(&params, key);
    grv_status status = grv_pg_read(call, repo->pg, &root_get, &params, &result, error);
    if (status) {
        grv_manifest_prefix_blob(key, error);
        return status;
    }
    status = PQntuples(result) < 1
                 ? no_such_blob(key, error)
                 : grv_manifest_root_decode_of(key, grv_pg_cell(result, 0, 0), ret_root, error);
    if (status) {
        PQclear(result);
        return status;
    }
    *ret_result = result;
    return GRV_OK;
}

static grv_status manifest_repo_pg_stat(const grv_call *call, grv_manifest_repo *base,
                                        const grv_blob_key *key, grv_blob_info *ret_info,
                                        grv_error *error)
{
    PGresult *result = NULL;
    grv_manifest_root root;
    grv_status status =
        grv_manifest_repo_pg_root(call, grv_manifest_repo_pg_of(base), key, &result, &root, error);
    if (status) {
        return status;
    }
    *ret_info = root.info;
    PQclear(result);
    return GRV_OK;
}

/* Attributes go with the row that they hang on. */
static const grv_pg_statement blob_delete = {
    "blob_delete", "WITH gone AS (DELETE FROM graviton.blob " BY_KEY " RETURNING manifest_id), "
                   "pages AS (DELETE FROM graviton.blob_manifest_page p USING gone "
                   "WHERE p.manifest_id = gone.manifest_id) SELECT FROM gone"};

static grv_status manifest_repo_pg_remove(const grv_call *call, grv_manifest_repo *base,
                                          const grv_blob_key *key, grv_error *error)
{
    grv_pg_params params = {0};
    grv_pg_add_blob(&params, key);
    const grv_pg_step step = {&blob_delete, &params};
    /* A second time finds nothing, which is another answer. */
    const grv_pg_work work = {.steps = &step, .count = 1};
    PGresult *result = NULL;
    grv_status status = grv_pg_run(call, grv_manifest_repo_pg_of(base)->pg, &work, &result, error);
    if (status) {
        grv_manifest_prefix_blob(key, error);
        return status;
    }
    status = PQntuples(result) < 1 ? no_such_blob(key, error) : GRV_OK;
    PQclear(result);
    return status;
}

/* ---- Attributes ---- */

static const grv_pg_statement attributes_read = {
    "attributes_get", "SELECT attributes FROM graviton.blob LEFT JOIN graviton.blob_attributes "
                      "USING (alg, hash_bytes, byte_length) " BY_KEY};
/* The blob cannot go while its row is locked; a commit that is under way locks it first, too. */
static const grv_pg_statement attributes_write = {
    "attributes_set",
    "WITH blob AS MATERIALIZED (SELECT alg, hash_bytes, byte_length FROM graviton.blob " BY_KEY
    " FOR KEY SHARE) INSERT INTO graviton.blob_attributes (alg, hash_bytes, byte_length, "
    "attributes) SELECT alg, hash_bytes, byte_length, $4 FROM blob ON CONFLICT (alg, hash_bytes, "
    "byte_length) DO UPDATE SET attributes = excluded.attributes RETURNING 1"};

static grv_status manifest_repo_pg_attributes_get(const grv_call *call, grv_manifest_repo *base,
                                                  const grv_blob_key *key,
                                                  grv_attributes *attributes, grv_error *error)
{
    grv_pg_params params = {0};
    PGresult *result = NULL;
    grv_pg_add_blob(&params, key);
    grv_status status = grv_pg_read(call, grv_manifest_repo_pg_of(base)->pg, &attributes_read,
                                    &params, &result, error);
    if (!status && PQntuples(result) < 1) {
        PQclear(result);
        return no_such_blob(key, error);
    }
    if (!status && grv_pg_is_null(result, 0, 0)) {
        grv_attributes_done(attributes);
    } else if (!status) {
        status = grv_attributes_decode(grv_pg_cell(result, 0, 0), attributes, error);
    }
    PQclear(result);
    if (status) {
        grv_manifest_prefix_blob(key, error);
    }
    return status;
}

static grv_status manifest_repo_pg_attributes_set(const grv_call *call, grv_manifest_repo *base,
                                                  const grv_blob_key *key,
                                                  const grv_attributes *attributes,
                                                  grv_error *error)
{
    grv_buffer record;
    grv_buffer_init(&record, GRV_ATTRIBUTES_BYTES_MAX);
    grv_status status = grv_attributes_encode(attributes, &record, error);
    if (status) {
        grv_buffer_done(&record);
        return status;
    }
    grv_pg_params params = {0};
    PGresult *result = NULL;
    grv_pg_add_blob(&params, key);
    grv_pg_add_bytes(&params, grv_buffer_bytes(&record));
    status = grv_pg_write(call, grv_manifest_repo_pg_of(base)->pg, &attributes_write, &params,
                          &result, error);
    grv_buffer_done(&record);
    if (status) {
        grv_manifest_prefix_blob(key, error);
        return status;
    }
    status = PQntuples(result) < 1 ? no_such_blob(key, error) : GRV_OK;
    PQclear(result);
    return status;
}

/* ---- The repository itself ---- */

static void manifest_repo_pg_free(grv_manifest_repo *base)
{
    grv_manifest_repo_pg *repo = grv_manifest_repo_pg_of(base);
    grv_pg_joins_done(&repo->joins);
    grv_pg_numbers_done(&repo->numbers);
    free(repo);
}

static const grv_manifest_repo_ops manifest_repo_pg_ops = {
    .name = "pg",
    .open_put = grv_manifest_repo_pg_open_put,
    .stat = manifest_repo_pg_stat,
    .open_refs = grv_manifest_repo_pg_open_refs,
    .remove = manifest_repo_pg_remove,
    .open_list = grv_manifest_repo_pg_open_list,
    .attributes_get = manifest_repo_pg_attributes_get,
    .attributes_set = manifest_repo_pg_attributes_set,
    .descriptor_get = grv_manifest_repo_pg_descriptor_get,
    .descriptor_set = grv_manifest_repo_pg_descriptor_set,
    .state_get = grv_manifest_repo_pg_state_get,
    .state_set = grv_manifest_repo_pg_state_set,
    .sweep = grv_manifest_repo_pg_sweep,
    .free = manifest_repo_pg_free,
};

grv_status grv_manifest_repo_pg_new_limited(grv_pg *pg, grv_pg_session *session,
                                            const grv_manifest_limits *limits,
                                            grv_manifest_repo **ret_repo, grv_error *error)
{
    grv_manifest_repo_pg *repo = calloc(1, sizeof *repo);
    if (!repo) {
        return grv_error_set(error, GRV_LIMIT_EXCEEDED, "manifests",
                             "no memory for a manifest repository");
    }
    repo->pg = pg;
    repo->session = session;
    repo->limits = *limits;
    grv_pg_numbers_init(&repo->numbers);
    grv_pg_joins_init(&repo->joins);
    grv_status status =
        grv_manifest_repo_init(&repo->base, &manifest_repo_pg_ops, GRV_MANIFEST_CAP_NEWEST, error);
    if (status) {
        grv_pg_joins_done(&repo->joins);
        grv_pg_numbers_done(&repo->numbers);
        free(repo);
        return status;
    }
    *ret_repo = &repo->base;
    return GRV_OK;
}

grv_status grv_manifest_repo_pg_new(grv_pg *pg, grv_pg_session *session,
                                    grv_manifest_repo **ret_repo, grv_error *error)
{
    return grv_manifest_repo_pg_new_limited(pg, session, &grv_manifest_limits_default, ret_repo,
                                            error);
}
