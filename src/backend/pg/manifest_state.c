/* SPDX-License-Identifier: Apache-2.0 */
/* The store's descriptor (graviton.blob_store) and the small named records (graviton.state). Each
 * is compared and set by one statement, which says by a row that it did. */
#include "backend/pg/manifest_repo.h"

static const grv_pg_statement descriptor_read = {
    "descriptor_get", "SELECT pg_catalog.substring(descriptor, 1, 65537) FROM graviton.blob_store"};
/* Blobs without a descriptor are damage, and giving them one would hide that. */
static const grv_pg_statement descriptor_create = {
    "descriptor_create",
    "INSERT INTO graviton.blob_store (descriptor) SELECT $1::bytea WHERE NOT EXISTS "
    "(SELECT FROM graviton.blob WHERE NOT EXISTS (SELECT FROM graviton.blob_store)) "
    "ON CONFLICT DO NOTHING RETURNING 1"};
static const grv_pg_statement descriptor_change = {
    "descriptor_change",
    "UPDATE graviton.blob_store SET descriptor = $1 WHERE descriptor = $2 RETURNING 1"};
static const grv_pg_statement state_read = {
    "state_get", "SELECT pg_catalog.substring(value, 1, 4097) FROM graviton.state WHERE name = $1"};
static const grv_pg_statement state_create = {
    "state_create", "INSERT INTO graviton.state (name, value) VALUES ($1, $2) "
                    "ON CONFLICT DO NOTHING RETURNING 1"};
static const grv_pg_statement state_change = {
    "state_change",
    "UPDATE graviton.state SET value = $2 WHERE name = $1 AND value = $3 RETURNING 1"};
static const grv_pg_statement state_delete = {
    "state_delete", "DELETE FROM graviton.state WHERE name = $1 AND value = $2 RETURNING 1"};

/* Runs one statement; *ret_there says whether it gave a row. What it changes it changes once: a
 * second time the comparison would fail. */
static grv_status run_step(const grv_call *call, grv_manifest_repo *base, grv_pg_work *work,
                           const grv_pg_statement *statement, const grv_pg_params *params,
                           PGresult **ret_result, bool *ret_there, grv_error *error)
{
    const grv_pg_step step = {statement, params};
    PGresult *result = NULL;
    work->steps = &step;
    work->count = 1;
    grv_status status = grv_pg_run(call, grv_manifest_repo_pg_of(base)->pg, work, &result, error);
    if (status) {
        return status;
    }
    *ret_there = PQntuples(result) > 0;
    if (ret_result) {
        *ret_result = result;
    } else {
        PQclear(result);
    }
    return GRV_OK;
}

static grv_status read_value(const grv_call *call, grv_manifest_repo *base,
                             const grv_pg_statement *statement, const grv_pg_params *params,
                             PGresult **ret_result, bool *ret_there, grv_error *error)
{
    grv_pg_work work = {.reads = true};
    return run_step(call, base, &work, statement, params, ret_result, ret_there, error);
}

static grv_status change_value(const grv_call *call, grv_manifest_repo *base,
                               const grv_pg_statement *statement, const grv_pg_params *params,
                               bool *ret_changed, grv_error *error)
{
    grv_pg_work work = {.reads = false};
    return run_step(call, base, &work, statement, params, NULL, ret_changed, error);
}

grv_status grv_manifest_repo_pg_descriptor_get(const grv_call *call, grv_manifest_repo *base,
                                               grv_buffer *out, grv_error *error)
{
    PGresult *result = NULL;
    bool there = false;
    grv_status status = read_value(call, base, &descriptor_read, NULL, &result, &there, error);
    if (status) {
        return status;
    }
    grv_bytes value = there ? grv_pg_cell(result, 0, 0) : (grv_bytes){0};
    if (!there) {
        status = grv_error_set(error, GRV_NOT_FOUND, "manifests",
                               "the metadata store has no descriptor");
    } else if (value.size < 1 || value.size > GRV_DESCRIPTOR_MAX) {
        status = grv_error_set(error, GRV_CORRUPT, "manifests",
                               "the store's descriptor has %zu bytes, want 1 to %u", value.size,
                               GRV_DESCRIPTOR_MAX);
    } else {
        status = grv_buffer_append(out, value, error);
    }
    PQclear(result);
    return status;
}

grv_status grv_manifest_repo_pg_descriptor_set(const grv_call *call, grv_manifest_repo *base,
                                               const grv_bytes *expected, grv_bytes descriptor,
                                               grv_error *error)
{
    grv_pg_params params = {0};
    grv_pg_add_bytes(&params, descriptor);
    if (expected) {
        grv_pg_add_bytes(&params, *expected);
    }
    bool changed = false;
    grv_status status = change_value(call, base, expected ? &descriptor_change : &descriptor_create,
                                     &params, &changed, error);
    if (status || changed) {
        return status;
    }
    return grv_error_set(error, GRV_CONFLICT, "manifests", "%s",
                         expected ? "the store's descriptor is not the expected one"
                                  : "the metadata store has a descriptor already, or blobs without "
                                    "one");
}

grv_status grv_manifest_repo_pg_state_get(const grv_call *call, grv_manifest_repo *base,
                                          const char *name, grv_buffer *out, grv_error *error)
{
    grv_pg_params params = {0};
    grv_pg_add_text(&params, name);
    PGresult *result = NULL;
    bool there = false;
    grv_status status = read_value(call, base, &state_read, &params, &result, &there, error);
    if (status) {
        return status;
    }
    grv_bytes value = there ? grv_pg_cell(result, 0, 0) : (grv_bytes){0};
    if (!there) {
        status = grv_error_set(error, GRV_NOT_FOUND, "manifests", "no record \"%s\"", name);
    } else if (value.size < 1 || value.size > GRV_STATE_MAX) {
        status = grv_error_set(error, GRV_CORRUPT, "manifests",
                               "the record \"%s\" has %zu bytes, want 1 to %u", name, value.size,
                               GRV_STATE_MAX);
    } else {
        status = grv_buffer_append(out, value, error);
    }
    PQclear(result);
    return status;
}

grv_status grv_manifest_repo_pg_state_set(const grv_call *call, grv_manifest_repo *base,
                                          const char *name, const grv_bytes *expected,
                                          grv_bytes state, grv_error *error)
{
    const grv_pg_statement *statement = &state_create;
    grv_pg_params params = {0};
    grv_pg_add_text(&params, name);
    if (state.size > 0) {
        grv_pg_add_bytes(&params, state);
    }
    if (expected) {
        statement = state.size > 0 ? &state_change : &state_delete;
        grv_pg_add_bytes(&params, *expected);
    }
    bool changed = false;
    grv_status status = change_value(call, base, statement, &params, &changed, error);
    if (status || changed) {
        return status;
    }
    return grv_error_set(error, GRV_CONFLICT, "manifests", "the record \"%s\" is %s", name,
                         expected ? "not the expected one" : "there already");
}
