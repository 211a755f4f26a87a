/* SPDX-License-Identifier: Apache-2.0 */
/* Reading one manifest: a cursor that holds the root and at most one page of each level. */
#include "backend/kv/manifest_repo.h"
#include "core/manifest_walk.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

typedef struct kv_refs {
    grv_ref_cursor base;
    grv_manifest_repo_kv *repo;
    grv_value root_value;
    grv_manifest_root root;
    grv_value pages[2]; /* the walk's pages, by level */
    grv_manifest_walk walk;
} kv_refs;

/* A page that is not there: the blob was removed meanwhile, or it is damaged. */
static grv_status explain_missing(const grv_call *call, kv_refs *refs,
                                  const grv_manifest_child *child, grv_error *error)
{
    char text[GRV_KEY_TEXT_SIZE];
    grv_blob_key_print(&refs->root.info.key, text);
    grv_value value = {0};
    grv_manifest_root root;
    grv_status status =
        grv_manifest_repo_kv_root(call, refs->repo, &refs->root.info.key, &value, &root, error);
    if (status) {
        return status;
    }
    grv_value_done(&value);
    if (memcmp(root.id, refs->root.id, GRV_MANIFEST_ID_SIZE) != 0) {
        return grv_error_set(error, GRV_NOT_FOUND, "manifests",
                             "blob %s was removed and stored anew while it was read", text);
    }
    return grv_error_set(error, GRV_CORRUPT, "manifests",
                         "blob %s: manifest page %" PRIu64 " of level %u is missing", text,
                         child->number, child->level);
}

static grv_status load_page(void *context, const grv_call *call, const grv_manifest_table *parent,
                            uint32_t index, grv_manifest_table *ret_table, grv_error *error)
{
    kv_refs *refs = context;
    const grv_manifest_child child = grv_manifest_table_child(parent, index);
    if (child.number > UINT32_MAX) {
        return grv_error_set(error, GRV_CORRUPT, "manifests", "a manifest of more than 2^32 pages");
    }
    uint8_t key[GRV_PAGE_KEY_SIZE];
    grv_page_key_encode(refs->root.id, child.level, child.number, key);
    grv_value value = {0};
    grv_status status =
        grv_kv_get(call, refs->repo->kv, GRV_NS_PAGE, grv_bytes_of(key, sizeof key), &value, error);
    if (status == GRV_NOT_FOUND) {
        return explain_missing(call, refs, &child, error);
    }
    if (!status) {
        status = grv_manifest_page_decode(value.bytes, &refs->root, &child, ret_table, error);
    }
    if (status) {
        grv_value_done(&value);
        grv_error_prefix(error, "page %" PRIu64 " of level %u", child.number, child.level);
        grv_manifest_prefix_blob(&refs->root.info.key, error);
        return status;
    }
    grv_value_done(&refs->pages[child.level]);
    refs->pages[child.level] = value;
    return GRV_OK;
}

static grv_status kv_refs_next(const grv_call *call, grv_ref_cursor *base, grv_block_ref out[],
                               size_t capacity, size_t *ret_count, grv_error *error)
{
    return grv_manifest_walk_next(call, &((kv_refs *)base)->walk, out, capacity, ret_count, error);
}

static void kv_refs_free(grv_ref_cursor *base)
{
    kv_refs *refs = (kv_refs *)base;
    grv_value_done(&refs->root_value);
    grv_value_done(&refs->pages[0]);
    grv_value_done(&refs->pages[1]);
    free(refs);
}

static const grv_ref_cursor_ops kv_refs_ops = {
    .name = "kv",
    .next = kv_refs_next,
    .free = kv_refs_free,
};

grv_status grv_manifest_repo_kv_open_refs(const grv_call *call, grv_manifest_repo *base,
                                          const grv_blob_key *key, uint64_t offset,
                                          grv_ref_cursor **ret_cursor, grv_error *error)
{
    kv_refs *refs = calloc(1, sizeof *refs);
    if (!refs) {
        return grv_error_set(error, GRV_LIMIT_EXCEEDED, "manifests",
                             "no memory for reading a manifest");
    }
    refs->base.ops = &kv_refs_ops;
    refs->repo = grv_manifest_repo_kv_of(base);
    grv_status status =
        grv_manifest_repo_kv_root(call, refs->repo, key, &refs->root_value, &refs->root, error);
    if (status) {
        free(refs);
        return status;
    }
    grv_manifest_walk_init(&refs->walk, &refs->root, offset, load_page, refs);
    *ret_cursor = &refs->base;
    return GRV_OK;
}
