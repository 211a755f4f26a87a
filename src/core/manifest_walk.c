/* SPDX-License-Identifier: Apache-2.0 */
/* From one leaf page to the next by offset alone; that the blocks' numbers follow one another, too,
 * shows that no page was left out. */
#include "core/manifest_walk.h"

void grv_manifest_walk_init(grv_manifest_walk *walk, const grv_manifest_root *root, uint64_t offset,
                            grv_manifest_load load, void *context)
{
    *walk = (grv_manifest_walk){.root = root, .load = load, .context = context, .at = offset};
}

static bool table_holds(const grv_manifest_table *table, uint64_t offset)
{
    return table->count > 0 && offset >= table->first && offset < table->end;
}

/* The table of blocks that holds walk->at, read where it is not the one in memory. */
static grv_status find_leaf(const grv_call *call, grv_manifest_walk *walk,
                            const grv_manifest_table **ret_leaf, grv_error *error)
{
    const grv_manifest_table *table = &walk->root->table;
    while (table->level > 0) {
        grv_manifest_table *page = &walk->pages[table->level - 1];
        if (!table_holds(page, walk->at)) {
            uint32_t index = grv_manifest_table_find(table, walk->at);
            page->count = 0; /* its bytes may go, whatever comes of this */
            grv_status status = walk->load(walk->context, call, table, index, page, error);
            if (status) {
                return status;
            }
        }
        table = page;
    }
    *ret_leaf = table;
    return GRV_OK;
}

grv_status grv_manifest_walk_next(const grv_call *call, grv_manifest_walk *walk,
                                  grv_block_ref out[], size_t capacity, size_t *ret_count,
                                  grv_error *error)
{
    if (walk->at == walk->root->info.key.size) {
        *ret_count = 0;
        return GRV_OK;
    }
    const grv_manifest_table *leaf = NULL;
    grv_status status = find_leaf(call, walk, &leaf, error);
    if (status) {
        return status;
    }
    uint32_t index = grv_manifest_table_find(leaf, walk->at);
    if (walk->started && leaf->base + index != walk->next_block) {
        grv_error_set(error, GRV_CORRUPT, "manifests", "its manifest's pages do not join up");
        grv_manifest_prefix_blob(&walk->root->info.key, error);
        return GRV_CORRUPT;
    }
    size_t count = leaf->count - index;
    count = count < capacity ? count : capacity;
    grv_manifest_table_refs(leaf, index, count, out);
    walk->at = out[count - 1].offset + out[count - 1].key.size;
    walk->started = true;
    walk->next_block = leaf->base + index + count;
    *ret_count = count;
    return GRV_OK;
}
