/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reading one manifest: a cursor that holds the root and at most one page of each level. Its place
 * is a byte offset; the page that holds it is found by search, so that going on and seeking are the
 * same step.
 */
#include "backend/kv/manifest_repo.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* A page in memory; no page where table.count is 0. */
typedef struct loaded_page {
    grv_value value;
    grv_manifest_table table;
} loaded_page;

typedef struct kv_refs {
    grv_ref_cursor base;
    grv_manifest_repo_kv *repo;
    grv_value root_value;
    grv_manifest_root root;
    loaded_page pages[2]; /* by level: leaf, index */
    uint64_t at;          /* the next block holds this byte */
    bool started;
    uint64_t next_block; /* number of the next block, once started */
} kv_refs;

static bool table_holds(const grv_manifest_table *table, uint64_t offset)
{
    return table->count > 0 && offset >= table->first && offset < table->end;
}

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

static grv_status load_page(const grv_call *call, kv_refs *refs, const grv_manifest_child *child,
                            grv_error *error)
{
    if (child->number > UINT32_MAX) {
        return grv_error_set(error, GRV_CORRUPT, "manifests", "a manifest of more than 2^32 pages");
    }
    uint8_t key[GRV_PAGE_KEY_SIZE];
    grv_page_key_encode(refs->root.id, child->level, child->number, key);
    grv_value value = {0};
    grv_status status =
        grv_kv_get(call, refs->repo->kv, GRV_NS_PAGE, grv_bytes_of(key, sizeof key), &value, error);
    if (status == GRV_NOT_FOUND) {
        return explain_missing(call, refs, child, error);
    }
    grv_manifest_table table;
    if (!status) {
        status = grv_manifest_page_decode(value.bytes, &refs->root, child, &table, error);
    }
    if (status) {
        grv_value_done(&value);
        char text[GRV_KEY_TEXT_SIZE];
        grv_blob_key_print(&refs->root.info.key, text);
        grv_error_prefix(error, "blob %s: page %" PRIu64 " of level %u", text, child->number,
                         child->level);
        return status;
    }
    loaded_page *page = &refs->pages[child->level];
    grv_value_done(&page->value);
    *page = (loaded_page){value, table};
    return GRV_OK;
}

/* The table of blocks that holds refs->at, read where it is not the one in memory. */
static grv_status find_leaf(const grv_call *call, kv_refs *refs,
                            const grv_manifest_table **ret_leaf, grv_error *error)
{
    const grv_manifest_table *table = &refs->root.table;
    while (table->level > 0) {
        loaded_page *page = &refs->pages[table->level - 1];
        if (!table_holds(&page->table, refs->at)) {
            grv_manifest_child child =
                grv_manifest_table_child(table, grv_manifest_table_find(table, refs->at));
            grv_status status = load_page(call, refs, &child, error);
            if (status) {
                return status;
            }
        }
        table = &page->table;
    }
    *ret_leaf = table;
    return GRV_OK;
}

static grv_status kv_refs_next(const grv_call *call, grv_ref_cursor *base, grv_block_ref out[],
                               size_t capacity, size_t *ret_count, grv_error *error)
{
    kv_refs *refs = (kv_refs *)base;
    if (refs->at == refs->root.info.key.size) {
        *ret_count = 0;
        return GRV_OK;
    }
    const grv_manifest_table *leaf = NULL;
    grv_status status = find_leaf(call, refs, &leaf, error);
    if (status) {
        return status;
    }
    uint32_t index = grv_manifest_table_find(leaf, refs->at);
    if (refs->started && leaf->base + index != refs->next_block) {
        char text[GRV_KEY_TEXT_SIZE];
        grv_blob_key_print(&refs->root.info.key, text);
        return grv_error_set(error, GRV_CORRUPT, "manifests",
                             "blob %s: its manifest's pages do not join up", text);
    }
    size_t count = leaf->count - index;
    count = count < capacity ? count : capacity;
    for (size_t i = 0; i < count; i++) {
        out[i] = grv_manifest_table_ref(leaf, index + (uint32_t)i);
    }
    refs->at = out[count - 1].offset + out[count - 1].key.size;
    refs->started = true;
    refs->next_block = leaf->base + index + count;
    *ret_count = count;
    return GRV_OK;
}

static void kv_refs_free(grv_ref_cursor *base)
{
    kv_refs *refs = (kv_refs *)base;
    grv_value_done(&refs->root_value);
    grv_value_done(&refs->pages[0].value);
    grv_value_done(&refs->pages[1].value);
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
    refs->at = offset;
    grv_status status =
        grv_manifest_repo_kv_root(call, refs->repo, key, &refs->root_value, &refs->root, error);
    if (status) {
        free(refs);
        return status;
    }
    *ret_cursor = &refs->base;
    return GRV_OK;
}
