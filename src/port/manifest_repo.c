/* SPDX-License-Identifier: Apache-2.0 */
/* Dispatchers of port manifest_repo: keys, sums and capabilities, then the backend's slot. */
#include "port/port.h"

#include <assert.h>
#include <graviton/port/manifest_repo.h>
#include <inttypes.h>
#include <string.h>

grv_status grv_manifest_repo_init(grv_manifest_repo *repo, const grv_manifest_repo_ops *ops,
                                  uint64_t capabilities, grv_error *error)
{
    repo->ops = ops;
    repo->capabilities = capabilities;
    return grv_port_check_table("manifest_repo", ops, sizeof *ops, error);
}

static grv_status check_key(const grv_blob_key *key, grv_error *error)
{
    if (!grv_blob_key_is_valid(key)) {
        return grv_error_set(error, GRV_INVALID_ARGUMENT, "manifests", "not a valid blob key");
    }
    return GRV_OK;
}

grv_status grv_manifest_repo_open_put(const grv_call *call, grv_manifest_repo *repo,
                                      const grv_manifest_plan *plan, grv_manifest_put **ret_put,
                                      grv_error *error)
{
    if (plan->block_hash != GRV_HASH_BLAKE3 && plan->block_hash != GRV_HASH_SHA256) {
        return grv_error_set(error, GRV_INVALID_ARGUMENT, "manifests",
                             "a manifest needs a block hash");
    }
    grv_status status = grv_chunker_spec_check(&plan->chunker, error);
    if (status) {
        return status;
    }
    grv_manifest_put *put = NULL;
    status = repo->ops->open_put(call, repo, plan, &put, error);
    if (status) {
        return status;
    }
    put->plan = *plan;
    put->size = 0;
    put->block_count = 0;
    put->committed = false;
    *ret_put = put;
    return GRV_OK;
}

grv_status grv_manifest_repo_stat(const grv_call *call, grv_manifest_repo *repo,
                                  const grv_blob_key *key, grv_blob_info *ret_info,
                                  grv_error *error)
{
    grv_status status = check_key(key, error);
    if (status) {
        return status;
    }
    return repo->ops->stat(call, repo, key, ret_info, error);
}

grv_status grv_manifest_repo_open_refs(const grv_call *call, grv_manifest_repo *repo,
                                       const grv_blob_key *key, uint64_t offset,
                                       grv_ref_cursor **ret_cursor, grv_error *error)
{
    grv_status status = check_key(key, error);
    if (status) {
        return status;
    }
    if (offset > key->size) {
        return grv_error_set(error, GRV_INVALID_ARGUMENT, "manifests",
                             "offset %" PRIu64 " is past the end of a blob of %" PRIu64 " bytes",
                             offset, key->size);
    }
    return repo->ops->open_refs(call, repo, key, offset, ret_cursor, error);
}

grv_status grv_manifest_repo_remove(const grv_call *call, grv_manifest_repo *repo,
                                    const grv_blob_key *key, grv_error *error)
{
    grv_status status = check_key(key, error);
    if (status) {
        return status;
    }
    return repo->ops->remove(call, repo, key, error);
}

grv_status grv_manifest_repo_open_list(const grv_call *call, grv_manifest_repo *repo,
                                       const grv_blob_list *list, grv_blob_cursor **ret_cursor,
                                       grv_error *error)
{
    if (list->order == GRV_ORDER_NEWEST && !(repo->capabilities & GRV_MANIFEST_CAP_NEWEST)) {
        return grv_error_set(error, GRV_UNSUPPORTED, "manifests",
                             "metadata store \"%s\" cannot list by newest", repo->ops->name);
    }
    if (list->order != GRV_ORDER_KEY && list->order != GRV_ORDER_NEWEST) {
        return grv_error_set(error, GRV_INVALID_ARGUMENT, "manifests", "no list order %d",
                             (int)list->order);
    }
    return repo->ops->open_list(call, repo, list, ret_cursor, error);
}

grv_status grv_manifest_repo_attributes_get(const grv_call *call, grv_manifest_repo *repo,
                                            const grv_blob_key *key, grv_attributes *attributes,
                                            grv_error *error)
{
    grv_status status = check_key(key, error);
    if (status) {
        return status;
    }
    return repo->ops->attributes_get(call, repo, key, attributes, error);
}

grv_status grv_manifest_repo_attributes_set(const grv_call *call, grv_manifest_repo *repo,
                                            const grv_blob_key *key,
                                            const grv_attributes *attributes, grv_error *error)
{
    grv_status status = check_key(key, error);
    if (status) {
        return status;
    }
    return repo->ops->attributes_set(call, repo, key, attributes, error);
}

grv_status grv_manifest_repo_descriptor_get(const grv_call *call, grv_manifest_repo *repo,
                                            grv_buffer *out, grv_error *error)
{
    return repo->ops->descriptor_get(call, repo, out, error);
}

grv_status grv_manifest_repo_descriptor_set(const grv_call *call, grv_manifest_repo *repo,
                                            const grv_bytes *expected, grv_bytes descriptor,
                                            grv_error *error)
{
    if (descriptor.size < 1 || descriptor.size > GRV_DESCRIPTOR_MAX) {
        return grv_error_set(error, GRV_INVALID_ARGUMENT, "manifests",
                             "a descriptor of %zu bytes, want 1 to %u", descriptor.size,
                             GRV_DESCRIPTOR_MAX);
    }
    return repo->ops->descriptor_set(call, repo, expected, descriptor, error);
}

static grv_status check_state_name(const char *name, grv_error *error)
{
    static const char allowed[] = "abcdefghijklmnopqrstuvwxyz0123456789-";
    size_t size = strlen(name);
    if (size < 1 || size > GRV_STATE_NAME_MAX || strspn(name, allowed) != size) {
        return grv_error_set(error, GRV_INVALID_ARGUMENT, "manifests",
                             "bad name of a state: want 1 to %u lower-case letters, digits and "
                             "\"-\"",
                             GRV_STATE_NAME_MAX);
    }
    return GRV_OK;
}

grv_status grv_manifest_repo_state_get(const grv_call *call, grv_manifest_repo *repo,
                                       const char *name, grv_buffer *out, grv_error *error)
{
    grv_status status = check_state_name(name, error);
    if (status) {
        return status;
    }
    return repo->ops->state_get(call, repo, name, out, error);
}

grv_status grv_manifest_repo_state_set(const grv_call *call, grv_manifest_repo *repo,
                                       const char *name, const grv_bytes *expected, grv_bytes state,
                                       grv_error *error)
{
    grv_status status = check_state_name(name, error);
    if (status) {
        return status;
    }
    if (state.size > GRV_STATE_MAX || (!expected && state.size == 0)) {
        return grv_error_set(error, GRV_INVALID_ARGUMENT, "manifests",
                             "a state of %zu bytes, want at most %u, and some of a new one",
                             state.size, GRV_STATE_MAX);
    }
    return repo->ops->state_set(call, repo, name, expected, state, error);
}

grv_status grv_manifest_repo_sweep(const grv_call *call, grv_manifest_repo *repo, bool dry_run,
                                   grv_manifest_sweep *ret_sweep, grv_error *error)
{
    return repo->ops->sweep(call, repo, dry_run, ret_sweep, error);
}

void grv_manifest_repo_free(grv_manifest_repo *repo)
{
    if (repo) {
        repo->ops->free(repo);
    }
}

grv_status grv_manifest_put_append(const grv_call *call, grv_manifest_put *put,
                                   const grv_block_key keys[], size_t count, grv_error *error)
{
    if (put->committed || count > GRV_MANIFEST_APPEND_MAX) {
        return grv_error_set(error, GRV_INVALID_ARGUMENT, "manifests",
                             "an append of %zu blocks, want at most %u before the commit", count,
                             GRV_MANIFEST_APPEND_MAX);
    }
    uint64_t added = 0;
    for (size_t i = 0; i < count; i++) {
        if (!grv_block_key_is_valid(&keys[i]) || keys[i].digest.hash != put->plan.block_hash) {
            return grv_error_set(error, GRV_INVALID_ARGUMENT, "manifests",
                                 "block %zu of %zu has an invalid key or another algorithm", i,
                                 count);
        }
        added += keys[i].size;
    }
    if (count > GRV_MANIFEST_BLOCKS_MAX - put->block_count ||
        added > GRV_BLOB_SIZE_MAX - put->size) {
        return grv_error_set(error, GRV_LIMIT_EXCEEDED, "manifests",
                             "a blob of more than %" PRIu64 " blocks or %" PRIu64 " bytes",
                             (uint64_t)GRV_MANIFEST_BLOCKS_MAX, (uint64_t)GRV_BLOB_SIZE_MAX);
    }
    if (count == 0) {
        return GRV_OK;
    }
    grv_status status = put->ops->append(call, put, keys, count, error);
    if (status) {
        return status;
    }
    put->size += added;
    put->block_count += count;
    return GRV_OK;
}

grv_status grv_manifest_put_commit(const grv_call *call, grv_manifest_put *put,
                                   const grv_blob_key *key, const grv_attributes *attributes,
                                   grv_manifest_commit *ret_commit, grv_error *error)
{
    grv_status status = check_key(key, error);
    if (status) {
        return status;
    }
    if (put->committed) {
        return grv_error_set(error, GRV_INVALID_ARGUMENT, "manifests",
                             "the manifest is committed already");
    }
    if (put->size != key->size) {
        return grv_error_set(error, GRV_INVALID_ARGUMENT, "manifests",
                             "blocks of %" PRIu64 " bytes for a blob of %" PRIu64, put->size,
                             key->size);
    }
    put->committed = true;
    status = put->ops->commit(call, put, key, attributes, ret_commit, error);
    assert(status || grv_blob_key_compare(&ret_commit->info.key, key) == 0);
    return status;
}

void grv_manifest_put_free(grv_manifest_put *put)
{
    if (put) {
        put->ops->free(put);
    }
}
