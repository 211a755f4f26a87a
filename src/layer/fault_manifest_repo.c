/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Layer fault over a manifest repository, its puts, and its cursors over blobs and references. As
 * the port has it, a put whose append failed gives that status at every further call.
 */
#include "layer/fault.h"

#include <stdlib.h>

typedef struct fault_repo {
    grv_manifest_repo base;
    grv_manifest_repo *inner;
    grv_fault_plan *plan;
} fault_repo;

typedef struct fault_put {
    grv_manifest_put base;
    grv_manifest_put *inner;
    grv_fault_plan *plan;
    grv_status failed; /* of an append */
} fault_put;

typedef struct fault_blobs {
    grv_blob_cursor base;
    grv_blob_cursor *inner;
    grv_fault_plan *plan;
    bool ended; /* by a failure made here: the port allows no step after it */
} fault_blobs;

typedef struct fault_refs {
    grv_ref_cursor base;
    grv_ref_cursor *inner;
    grv_fault_plan *plan;
} fault_refs;

static fault_repo *fault_of(grv_manifest_repo *repo)
{
    return (fault_repo *)repo;
}

/* ---- The put ---- */

static grv_status fault_append_once(const grv_call *call, fault_put *put,
                                    const grv_block_key keys[], size_t count, grv_error *error)
{
    grv_status status = GRV_OK;
    grv_fault_action action =
        grv_fault_begin(call, put->plan, "an append to a manifest", &status, error);
    if (action == GRV_FAULT_STOP) {
        return status;
    }
    status = grv_manifest_put_append(call, put->inner, keys, count, error);
    return grv_fault_end(put->plan, action, "an append to a manifest", status, error);
}

static grv_status fault_append(const grv_call *call, grv_manifest_put *base,
                               const grv_block_key keys[], size_t count, grv_error *error)
{
    fault_put *put = (fault_put *)base;
    if (put->failed) {
        return grv_error_set(error, put->failed, "fault", "an append before it was made to fail");
    }
    put->failed = fault_append_once(call, put, keys, count, error);
    return put->failed;
}

static grv_status fault_commit(const grv_call *call, grv_manifest_put *base,
                               const grv_blob_key *key, const grv_attributes *attributes,
                               grv_manifest_commit *ret_commit, grv_error *error)
{
    fault_put *put = (fault_put *)base;
    if (put->failed) {
        return grv_error_set(error, put->failed, "fault", "an append before it was made to fail");
    }
    grv_status status = GRV_OK;
    grv_fault_action action =
        grv_fault_begin(call, put->plan, "the commit of a manifest", &status, error);
    if (action == GRV_FAULT_STOP) {
        return status;
    }
    grv_manifest_commit commit;
    status = grv_manifest_put_commit(call, put->inner, key, attributes, &commit, error);
    if (!status && action == GRV_FAULT_FORGET) {
        return grv_fault_fail(put->plan, "the commit of a manifest", error);
    }
    if (!status) {
        *ret_commit = commit;
    }
    return status;
}

static void fault_put_free(grv_manifest_put *base)
{
    grv_manifest_put_free(((fault_put *)base)->inner);
    free(base);
}

static const grv_manifest_put_ops fault_put_ops = {
    .name = "fault",
    .append = fault_append,
    .commit = fault_commit,
    .free = fault_put_free,
};

/* ---- The cursors ---- */

static grv_status fault_blobs_next(const grv_call *call, grv_blob_cursor *base,
                                   grv_blob_info infos[], size_t capacity, size_t *ret_count,
                                   grv_error *error)
{
    fault_blobs *cursor = (fault_blobs *)base;
    if (cursor->ended) {
        return grv_error_set(error, GRV_INVALID_ARGUMENT, "fault", "the list has failed");
    }
    grv_status status = GRV_OK;
    grv_fault_action action =
        grv_fault_begin(call, cursor->plan, "a step of a list of blobs", &status, error);
    if (action == GRV_FAULT_STOP) {
        cursor->ended = true;
        return status;
    }
    status = grv_blob_cursor_next(call, cursor->inner, infos, capacity, ret_count, error);
    if (!status && action == GRV_FAULT_FORGET) {
        cursor->ended = true;
        return grv_fault_fail(cursor->plan, "a step of a list of blobs", error);
    }
    return status;
}

static void fault_blobs_free(grv_blob_cursor *base)
{
    grv_blob_cursor_free(((fault_blobs *)base)->inner);
    free(base);
}

static const grv_blob_cursor_ops fault_blobs_ops = {
    .name = "fault",
    .next = fault_blobs_next,
    .free = fault_blobs_free,
};

static grv_status fault_refs_next(const grv_call *call, grv_ref_cursor *base, grv_block_ref refs[],
                                  size_t capacity, size_t *ret_count, grv_error *error)
{
    fault_refs *cursor = (fault_refs *)base;
    grv_status status = GRV_OK;
    grv_fault_action action =
        grv_fault_begin(call, cursor->plan, "a step of a blob's references", &status, error);
    if (action == GRV_FAULT_STOP) {
        return status;
    }
    status = grv_ref_cursor_next(call, cursor->inner, refs, capacity, ret_count, error);
    return grv_fault_end(cursor->plan, action, "a step of a blob's references", status, error);
}

static void fault_refs_free(grv_ref_cursor *base)
{
    grv_ref_cursor_free(((fault_refs *)base)->inner);
    free(base);
}

static const grv_ref_cursor_ops fault_refs_ops = {
    .name = "fault",
    .next = fault_refs_next,
    .free = fault_refs_free,
};

/* ---- The repository ---- */

static grv_status no_memory(const char *what, grv_error *error)
{
    return grv_error_set(error, GRV_LIMIT_EXCEEDED, "fault", "no memory for %s", what);
}

static grv_status fault_open_put(const grv_call *call, grv_manifest_repo *repo,
                                 const grv_manifest_plan *plan, grv_manifest_put **ret_put,
                                 grv_error *error)
{
    fault_repo *faulty = fault_of(repo);
    grv_status status = GRV_OK;
    grv_fault_action action =
        grv_fault_begin(call, faulty->plan, "opening a manifest", &status, error);
    if (action == GRV_FAULT_STOP) {
        return status;
    }
    fault_put *put = calloc(1, sizeof *put);
    if (!put) {
        return no_memory("a manifest", error);
    }
    status = grv_manifest_repo_open_put(call, faulty->inner, plan, &put->inner, error);
    if (!status && action == GRV_FAULT_FORGET) {
        grv_manifest_put_free(put->inner);
        status = grv_fault_fail(faulty->plan, "opening a manifest", error);
    }
    if (status) {
        free(put);
        return status;
    }
    put->base.ops = &fault_put_ops;
    put->plan = faulty->plan;
    *ret_put = &put->base;
    return GRV_OK;
}

static grv_status fault_stat(const grv_call *call, grv_manifest_repo *repo, const grv_blob_key *key,
                             grv_blob_info *ret_info, grv_error *error)
{
    fault_repo *faulty = fault_of(repo);
    grv_status status = GRV_OK;
    grv_fault_action action =
        grv_fault_begin(call, faulty->plan, "a stat of a blob", &status, error);
    if (action == GRV_FAULT_STOP) {
        return status;
    }
    grv_blob_info info;
    status = grv_manifest_repo_stat(call, faulty->inner, key, &info, error);
    if (!status && action == GRV_FAULT_FORGET) {
        return grv_fault_fail(faulty->plan, "a stat of a blob", error);
    }
    if (!status) {
        *ret_info = info;
    }
    return status;
}

static grv_status fault_open_refs(const grv_call *call, grv_manifest_repo *repo,
                                  const grv_blob_key *key, uint64_t offset,
                                  grv_ref_cursor **ret_cursor, grv_error *error)
{
    fault_repo *faulty = fault_of(repo);
    grv_status status = GRV_OK;
    grv_fault_action action =
        grv_fault_begin(call, faulty->plan, "opening a blob's references", &status, error);
    if (action == GRV_FAULT_STOP) {
        return status;
    }
    fault_refs *cursor = calloc(1, sizeof *cursor);
    if (!cursor) {
        return no_memory("references", error);
    }
    status = grv_manifest_repo_open_refs(call, faulty->inner, key, offset, &cursor->inner, error);
    if (!status && action == GRV_FAULT_FORGET) {
        grv_ref_cursor_free(cursor->inner);
        status = grv_fault_fail(faulty->plan, "opening a blob's references", error);
    }
    if (status) {
        free(cursor);
        return status;
    }
    cursor->base.ops = &fault_refs_ops;
    cursor->plan = faulty->plan;
    *ret_cursor = &cursor->base;
    return GRV_OK;
}

static grv_status fault_remove(const grv_call *call, grv_manifest_repo *repo,
                               const grv_blob_key *key, grv_error *error)
{
    fault_repo *faulty = fault_of(repo);
    grv_status status = GRV_OK;
    grv_fault_action action =
        grv_fault_begin(call, faulty->plan, "the removal of a blob", &status, error);
    if (action == GRV_FAULT_STOP) {
        return status;
    }
    status = grv_manifest_repo_remove(call, faulty->inner, key, error);
    return grv_fault_end(faulty->plan, action, "the removal of a blob", status, error);
}

static grv_status fault_open_list(const grv_call *call, grv_manifest_repo *repo,
                                  const grv_blob_list *list, grv_blob_cursor **ret_cursor,
                                  grv_error *error)
{
    fault_repo *faulty = fault_of(repo);
    grv_status status = GRV_OK;
    grv_fault_action action =
        grv_fault_begin(call, faulty->plan, "opening a list of blobs", &status, error);
    if (action == GRV_FAULT_STOP) {
        return status;
    }
    fault_blobs *cursor = calloc(1, sizeof *cursor);
    if (!cursor) {
        return no_memory("a list", error);
    }
    status = grv_manifest_repo_open_list(call, faulty->inner, list, &cursor->inner, error);
    if (!status && action == GRV_FAULT_FORGET) {
        grv_blob_cursor_free(cursor->inner);
        status = grv_fault_fail(faulty->plan, "opening a list of blobs", error);
    }
    if (status) {
        free(cursor);
        return status;
    }
    cursor->base.ops = &fault_blobs_ops;
    cursor->plan = faulty->plan;
    *ret_cursor = &cursor->base;
    return GRV_OK;
}

static grv_status fault_attributes_get(const grv_call *call, grv_manifest_repo *repo,
                                       const grv_blob_key *key, grv_attributes *attributes,
                                       grv_error *error)
{
    fault_repo *faulty = fault_of(repo);
    grv_status status = GRV_OK;
    grv_fault_action action =
        grv_fault_begin(call, faulty->plan, "reading a blob's attributes", &status, error);
    if (action == GRV_FAULT_STOP) {
        return status;
    }
    grv_attributes read;
    grv_attributes_init(&read);
    status = grv_manifest_repo_attributes_get(call, faulty->inner, key, &read, error);
    if (!status && action == GRV_FAULT_FORGET) {
        status = grv_fault_fail(faulty->plan, "reading a blob's attributes", error);
    }
    if (status) {
        grv_attributes_done(&read);
        return status;
    }
    grv_attributes_done(attributes);
    *attributes = read;
    return GRV_OK;
}

static grv_status fault_attributes_set(const grv_call *call, grv_manifest_repo *repo,
                                       const grv_blob_key *key, const grv_attributes *attributes,
                                       grv_error *error)
{
    fault_repo *faulty = fault_of(repo);
    grv_status status = GRV_OK;
    grv_fault_action action =
        grv_fault_begin(call, faulty->plan, "writing a blob's attributes", &status, error);
    if (action == GRV_FAULT_STOP) {
        return status;
    }
    status = grv_manifest_repo_attributes_set(call, faulty->inner, key, attributes, error);
    return grv_fault_end(faulty->plan, action, "writing a blob's attributes", status, error);
}

static grv_status fault_descriptor_get(const grv_call *call, grv_manifest_repo *repo,
                                       grv_buffer *out, grv_error *error)
{
    fault_repo *faulty = fault_of(repo);
    grv_status status = GRV_OK;
    grv_fault_action action =
        grv_fault_begin(call, faulty->plan, "reading the descriptor", &status, error);
    if (action == GRV_FAULT_STOP) {
        return status;
    }
    size_t before = out->size;
    status = grv_manifest_repo_descriptor_get(call, faulty->inner, out, error);
    if (!status && action == GRV_FAULT_FORGET) {
        out->size = before;
        return grv_fault_fail(faulty->plan, "reading the descriptor", error);
    }
    if (!status && action == GRV_FAULT_SPOIL) {
        out->size = before + (out->size - before) / 2;
    }
    return status;
}

static grv_status fault_descriptor_set(const grv_call *call, grv_manifest_repo *repo,
                                       const grv_bytes *expected, grv_bytes descriptor,
                                       grv_error *error)
{
    fault_repo *faulty = fault_of(repo);
    grv_status status = GRV_OK;
    grv_fault_action action =
        grv_fault_begin(call, faulty->plan, "writing the descriptor", &status, error);
    if (action == GRV_FAULT_STOP) {
        return status;
    }
    status = grv_manifest_repo_descriptor_set(call, faulty->inner, expected, descriptor, error);
    return grv_fault_end(faulty->plan, action, "writing the descriptor", status, error);
}

static grv_status fault_state_get(const grv_call *call, grv_manifest_repo *repo, const char *name,
                                  grv_buffer *out, grv_error *error)
{
    fault_repo *faulty = fault_of(repo);
    grv_status status = GRV_OK;
    grv_fault_action action =
        grv_fault_begin(call, faulty->plan, "reading a named record", &status, error);
    if (action == GRV_FAULT_STOP) {
        return status;
    }
    size_t before = out->size;
    status = grv_manifest_repo_state_get(call, faulty->inner, name, out, error);
    if (!status && action == GRV_FAULT_FORGET) {
        out->size = before;
        return grv_fault_fail(faulty->plan, "reading a named record", error);
    }
    if (!status && action == GRV_FAULT_SPOIL) {
        out->size = before + (out->size - before) / 2;
    }
    return status;
}

static grv_status fault_state_set(const grv_call *call, grv_manifest_repo *repo, const char *name,
                                  const grv_bytes *expected, grv_bytes state, grv_error *error)
{
    fault_repo *faulty = fault_of(repo);
    grv_status status = GRV_OK;
    grv_fault_action action =
        grv_fault_begin(call, faulty->plan, "writing a named record", &status, error);
    if (action == GRV_FAULT_STOP) {
        return status;
    }
    status = grv_manifest_repo_state_set(call, faulty->inner, name, expected, state, error);
    return grv_fault_end(faulty->plan, action, "writing a named record", status, error);
}

static grv_status fault_sweep(const grv_call *call, grv_manifest_repo *repo, bool dry_run,
                              grv_manifest_sweep *ret_sweep, grv_error *error)
{
    fault_repo *faulty = fault_of(repo);
    grv_status status = GRV_OK;
    grv_fault_action action =
        grv_fault_begin(call, faulty->plan, "a sweep of manifests", &status, error);
    if (action == GRV_FAULT_STOP) {
        return status;
    }
    status = grv_manifest_repo_sweep(call, faulty->inner, dry_run, ret_sweep, error);
    return grv_fault_end(faulty->plan, action, "a sweep of manifests", status, error);
}

static void fault_free(grv_manifest_repo *repo)
{
    grv_manifest_repo_free(fault_of(repo)->inner);
    free(repo);
}

static const grv_manifest_repo_ops fault_ops = {
    .name = "fault",
    .open_put = fault_open_put,
    .stat = fault_stat,
    .open_refs = fault_open_refs,
    .remove = fault_remove,
    .open_list = fault_open_list,
    .attributes_get = fault_attributes_get,
    .attributes_set = fault_attributes_set,
    .descriptor_get = fault_descriptor_get,
    .descriptor_set = fault_descriptor_set,
    .state_get = fault_state_get,
    .state_set = fault_state_set,
    .sweep = fault_sweep,
    .free = fault_free,
};

grv_status grv_manifest_repo_fault_new(grv_manifest_repo *inner, grv_fault_plan *plan,
                                       grv_manifest_repo **ret_repo, grv_error *error)
{
    fault_repo *faulty = calloc(1, sizeof *faulty);
    if (!faulty) {
        grv_manifest_repo_free(inner);
        return no_memory("the layer", error);
    }
    grv_status status =
        grv_manifest_repo_init(&faulty->base, &fault_ops, inner->capabilities, error);
    if (status) {
        grv_manifest_repo_free(inner);
        free(faulty);
        return status;
    }
    faulty->inner = inner;
    faulty->plan = plan;
    *ret_repo = &faulty->base;
    return GRV_OK;
}
