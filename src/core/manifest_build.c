/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Writing manifests. Blocks gather in one leaf page; a full page is emitted when the next block
 * comes, so that a manifest that fits in its root never emits any. Entries of emitted pages gather
 * for the root, and move into index pages once they are more than a root holds.
 */
#include "core/manifest.h"
#include "core/manifest_layout.h"
#include "core/wire.h"

#include <assert.h>
#include <string.h>
#include <xxhash.h>

const grv_manifest_limits grv_manifest_limits_default = {
    .page = GRV_MANIFEST_PAGE_MAX,
    .inlined = GRV_MANIFEST_INLINE_MAX,
    .children = GRV_MANIFEST_CHILDREN_MAX,
};

void grv_manifest_builder_init(grv_manifest_builder *builder, const grv_manifest_limits *limits,
                               const uint8_t id[GRV_MANIFEST_ID_SIZE], grv_hash block_hash,
                               grv_manifest_emit emit, void *context)
{
    assert(limits->page >= 1 && limits->page <= GRV_MANIFEST_PAGE_MAX);
    assert(limits->inlined >= 1 && limits->inlined <= GRV_MANIFEST_INLINE_MAX);
    assert(limits->inlined <= limits->page);
    assert(limits->children >= 1 && limits->children <= GRV_MANIFEST_CHILDREN_MAX);
    *builder = (grv_manifest_builder){
        .limits = *limits, .block_hash = block_hash, .emit = emit, .context = context};
    memcpy(builder->id, id, GRV_MANIFEST_ID_SIZE);
    grv_buffer_init(&builder->leaf, GRV_MANIFEST_PAGE_BYTES_MAX);
    grv_buffer_init(&builder->children,
                    (size_t)GRV_MANIFEST_CHILDREN_MAX * GRV_MANIFEST_ENTRY_SIZE);
    grv_buffer_init(&builder->indexes, (size_t)GRV_MANIFEST_CHILDREN_MAX * GRV_MANIFEST_ENTRY_SIZE);
}

void grv_manifest_builder_done(grv_manifest_builder *builder)
{
    grv_buffer_done(&builder->leaf);
    grv_buffer_done(&builder->children);
    grv_buffer_done(&builder->indexes);
}

uint64_t grv_manifest_builder_page_count(const grv_manifest_builder *builder)
{
    return builder->leaf_count + builder->index_count;
}

static size_t entry_count(const grv_buffer *entries)
{
    return entries->size / GRV_MANIFEST_ENTRY_SIZE;
}

static grv_status append_entry(grv_buffer *out, uint64_t offset,
                               const uint8_t digest[GRV_DIGEST_SIZE], grv_error *error)
{
    uint8_t entry[GRV_MANIFEST_ENTRY_SIZE];
    grv_wire_put_u64(entry, offset);
    memcpy(entry + 8, digest, GRV_DIGEST_SIZE);
    return grv_buffer_append(out, grv_bytes_of(entry, sizeof entry), error);
}

/* What a page's header says of it. */
struct page_header {
    unsigned level;
    uint64_t number;
    uint64_t first;
    uint64_t end;
    uint64_t base;
};

/* Fills in the header of `page`, emits it, and appends its entry to `up`. */
static grv_status emit_page(grv_manifest_builder *builder, const struct page_header *header,
                            grv_buffer *page, grv_buffer *up, grv_error *error)
{
    size_t count = (page->size - PAGE_HEADER_SIZE) / GRV_MANIFEST_ENTRY_SIZE;
    assert(count >= 1 && count <= GRV_MANIFEST_PAGE_MAX);
    uint8_t *header_bytes = page->data;
    memset(header_bytes, 0, PAGE_HEADER_SIZE);
    memcpy(header_bytes, PAGE_MAGIC, 4);
    grv_wire_put_u16(header_bytes + PAGE_VERSION, MANIFEST_VERSION);
    header_bytes[PAGE_LEVEL] = (uint8_t)header->level;
    header_bytes[PAGE_BLOCK_HASH] = (uint8_t)builder->block_hash;
    grv_wire_put_u32(header_bytes + PAGE_COUNT, (uint32_t)count);
    memcpy(header_bytes + PAGE_ID, builder->id, GRV_MANIFEST_ID_SIZE);
    grv_wire_put_u64(header_bytes + PAGE_NUMBER, header->number);
    grv_wire_put_u64(header_bytes + PAGE_FIRST, header->first);
    grv_wire_put_u64(header_bytes + PAGE_SPAN, header->end - header->first);
    grv_wire_put_u64(header_bytes + PAGE_BASE, header->base);
    grv_digest digest;
    grv_status status = grv_digest_of(GRV_HASH_BLAKE3, grv_buffer_bytes(page), &digest, error);
    if (!status) {
        status = builder->emit(builder->context, header->level, header->number,
                               grv_buffer_bytes(page), error);
    }
    return status ? status : append_entry(up, header->first, digest.bytes, error);
}

grv_manifest_page_header grv_manifest_page_header_of(grv_bytes page)
{
    assert(page.size >= PAGE_HEADER_SIZE);
    const uint8_t *data = page.data;
    return (grv_manifest_page_header){
        .level = data[PAGE_LEVEL],
        .number = grv_wire_get_u64(data + PAGE_NUMBER),
        .first = grv_wire_get_u64(data + PAGE_FIRST),
        .size = grv_wire_get_u64(data + PAGE_SPAN),
        .base = grv_wire_get_u64(data + PAGE_BASE),
        .count = grv_wire_get_u32(data + PAGE_COUNT),
    };
}

/* Moves the first `count` entries of `children`, which end at byte `end`, into an index page. */
static grv_status emit_index(grv_manifest_builder *builder, size_t count, uint64_t end,
                             grv_error *error)
{
    if (entry_count(&builder->indexes) == builder->limits.children) {
        return grv_error_set(error, GRV_LIMIT_EXCEEDED, "manifest",
                             "a blob of more blocks than a manifest holds");
    }
    size_t size = count * GRV_MANIFEST_ENTRY_SIZE;
    grv_buffer page;
    grv_buffer_init(&page, PAGE_HEADER_SIZE + size);
    grv_status status = grv_buffer_reserve(&page, PAGE_HEADER_SIZE + size, error);
    if (status) {
        return status;
    }
    memcpy(page.data + PAGE_HEADER_SIZE, builder->children.data, size);
    page.size = PAGE_HEADER_SIZE + size;
    struct page_header header = {
        .level = 1,
        .number = builder->index_count,
        .first = grv_wire_get_u64(builder->children.data),
        .end = end,
        .base = builder->indexed_leaves,
    };
    status = emit_page(builder, &header, &page, &builder->indexes, error);
    grv_buffer_done(&page);
    if (status) {
        return status;
    }
    builder->index_count++;
    builder->indexed_leaves += count;
    builder->children.size -= size;
    memmove(builder->children.data, builder->children.data + size, builder->children.size);
    return GRV_OK;
}

/* Moves `children`, which end at byte `end`, into index pages: full ones, and with `all` the rest.
 */
static grv_status spill_children(grv_manifest_builder *builder, uint64_t end, bool all,
                                 grv_error *error)
{
    while (builder->children.size > 0) {
        size_t left = entry_count(&builder->children);
        if (left < builder->limits.page && !all) {
            return GRV_OK;
        }
        size_t count = left < builder->limits.page ? left : builder->limits.page;
        uint64_t page_end = end;
        if (count < left) {
            page_end = grv_wire_get_u64(builder->children.data + count * GRV_MANIFEST_ENTRY_SIZE);
        }
        grv_status status = emit_index(builder, count, page_end, error);
        if (status) {
            return status;
        }
    }
    return GRV_OK;
}

/* Emits the leaf page in progress, which has at least one block. */
static grv_status emit_leaf(grv_manifest_builder *builder, grv_error *error)
{
    builder->deep = builder->deep || entry_count(&builder->children) == builder->limits.children;
    if (builder->deep) {
        grv_status status = spill_children(builder, builder->leaf_first, false, error);
        if (status) {
            return status;
        }
    }
    size_t count = (builder->leaf.size - PAGE_HEADER_SIZE) / GRV_MANIFEST_ENTRY_SIZE;
    struct page_header header = {
        .level = 0,
        .number = builder->leaf_count,
        .first = builder->leaf_first,
        .end = builder->size,
        .base = builder->block_count - count,
    };
    grv_status status = emit_page(builder, &header, &builder->leaf, &builder->children, error);
    if (status) {
        return status;
    }
    builder->leaf_count++;
    builder->leaf_first = builder->size;
    builder->leaf.size = PAGE_HEADER_SIZE;
    return GRV_OK;
}

static size_t leaf_entries(const grv_manifest_builder *builder)
{
    return builder->leaf.size ? (builder->leaf.size - PAGE_HEADER_SIZE) / GRV_MANIFEST_ENTRY_SIZE
                              : 0;
}

grv_status grv_manifest_builder_append(grv_manifest_builder *builder, const grv_block_key keys[],
                                       size_t count, grv_error *error)
{
    assert(!builder->finished);
    if (count > 0 && builder->leaf.size == 0) {
        static const uint8_t header[PAGE_HEADER_SIZE];
        grv_status status =
            grv_buffer_append(&builder->leaf, grv_bytes_of(header, sizeof header), error);
        if (status) {
            return status;
        }
    }
    for (size_t i = 0; i < count; i++) {
        assert(keys[i].digest.hash == builder->block_hash);
        grv_status status = GRV_OK;
        if (leaf_entries(builder) == builder->limits.page) {
            status = emit_leaf(builder, error);
        }
        if (!status) {
            uint64_t end = builder->size + keys[i].size;
            status = append_entry(&builder->leaf, end - builder->leaf_first, keys[i].digest.bytes,
                                  error);
        }
        if (status) {
            return status;
        }
        builder->size += keys[i].size;
        builder->block_count++;
    }
    return GRV_OK;
}

grv_status grv_manifest_builder_finish(grv_manifest_builder *builder, grv_error *error)
{
    assert(!builder->finished);
    builder->finished = true;
    size_t count = leaf_entries(builder);
    if (builder->leaf_count == 0 && count <= builder->limits.inlined) {
        return GRV_OK;
    }
    grv_status status = count > 0 ? emit_leaf(builder, error) : GRV_OK;
    if (!status && builder->deep) {
        status = spill_children(builder, builder->size, true, error);
    }
    return status;
}

unsigned grv_manifest_builder_depth(const grv_manifest_builder *builder)
{
    assert(builder->finished);
    return builder->deep ? 2 : builder->leaf_count > 0;
}

/* The table that goes into the root. */
static grv_bytes root_entries(const grv_manifest_builder *builder)
{
    if (builder->deep) {
        return grv_buffer_bytes(&builder->indexes);
    }
    if (builder->leaf_count > 0) {
        return grv_buffer_bytes(&builder->children);
    }
    if (builder->leaf.size == 0) {
        return (grv_bytes){0};
    }
    return grv_bytes_of(builder->leaf.data + PAGE_HEADER_SIZE,
                        builder->leaf.size - PAGE_HEADER_SIZE);
}

grv_status grv_manifest_builder_encode_root(const grv_manifest_builder *builder,
                                            const grv_blob_info *info, grv_buffer *out,
                                            grv_error *error)
{
    assert(builder->finished && info->key.size == builder->size);
    assert(info->block_count == builder->block_count && info->block_hash == builder->block_hash);
    assert(info->chunker.delimiter_size <= GRV_DELIMITER_MAX);
    grv_bytes entries = root_entries(builder);
    const grv_chunker_spec *chunker = &info->chunker;
    size_t size = ROOT_HEADER_SIZE + chunker->delimiter_size + entries.size + ROOT_CHECKSUM_SIZE;
    grv_status status = grv_buffer_reserve(out, size, error);
    if (status) {
        return status;
    }
    uint8_t *data = out->data + out->size;
    memset(data, 0, ROOT_HEADER_SIZE);
    memcpy(data, ROOT_MAGIC, 4);
    grv_wire_put_u16(data + ROOT_VERSION, MANIFEST_VERSION);
    data[ROOT_DEPTH] = (uint8_t)grv_manifest_builder_depth(builder);
    data[ROOT_BLOCK_HASH] = (uint8_t)info->block_hash;
    memcpy(data + ROOT_ID, builder->id, GRV_MANIFEST_ID_SIZE);
    grv_blob_key_encode(&info->key, data + ROOT_KEY);
    grv_wire_put_u32(data + ROOT_COUNT, (uint32_t)(entries.size / GRV_MANIFEST_ENTRY_SIZE));
    grv_wire_put_u64(data + ROOT_BLOCK_COUNT, info->block_count);
    grv_wire_put_u64(data + ROOT_CREATED, info->created_ns);
    grv_wire_put_u64(data + ROOT_SEQUENCE, info->sequence);
    data[ROOT_CHUNKER] = (uint8_t)chunker->kind;
    data[ROOT_CHUNKER + 1] = GRV_CHUNKER_VERSION;
    data[ROOT_CHUNKER + 2] = (uint8_t)chunker->delimiter_size;
    grv_wire_put_u32(data + ROOT_CHUNKER_SIZE, chunker->size);
    memcpy(data + ROOT_HEADER_SIZE, chunker->delimiter, chunker->delimiter_size);
    if (entries.size) {
        memcpy(data + ROOT_HEADER_SIZE + chunker->delimiter_size, entries.data, entries.size);
    }
    size_t body = size - ROOT_CHECKSUM_SIZE;
    grv_wire_put_u64(data + body, XXH3_64bits(data, body));
    out->size += size;
    return GRV_OK;
}
