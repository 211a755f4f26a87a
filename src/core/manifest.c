/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reading manifests. A record is checked whole when it is decoded: its checksum or digest first,
 * then every count, offset and size against its neighbours and against what names it. After that
 * the accessors only compute.
 */
#include "core/manifest.h"

#include "core/manifest_layout.h"
#include "core/wire.h"

#include <assert.h>
#include <inttypes.h>
#include <string.h>
#include <xxhash.h>

static grv_status corrupt(const char *what, grv_error *error)
{
    return grv_error_set(error, GRV_CORRUPT, "manifest", "%s", what);
}

static const uint8_t *entry_at(const grv_manifest_table *table, uint32_t index)
{
    return table->entries + (size_t)index * GRV_MANIFEST_ENTRY_SIZE;
}

static uint64_t entry_offset(const grv_manifest_table *table, uint32_t index)
{
    return grv_wire_get_u64(entry_at(table, index));
}

/* Blocks: each entry ends 1 byte to 16 MiB after the one before it, the last at the table's end. */
static grv_status check_blocks(const grv_manifest_table *table, grv_error *error)
{
    uint64_t at = 0;
    for (uint32_t i = 0; i < table->count; i++) {
        uint64_t end = entry_offset(table, i);
        if (end <= at || end - at > GRV_BLOCK_SIZE_MAX) {
            return corrupt("manifest: a block's size is out of bounds", error);
        }
        at = end;
    }
    if (at != table->end - table->first) {
        return corrupt("manifest: the blocks' sizes do not add up", error);
    }
    return GRV_OK;
}

/* Pages: each entry begins after the one before it, the first where the table does. */
static grv_status check_children(const grv_manifest_table *table, grv_error *error)
{
    for (uint32_t i = 0; i < table->count; i++) {
        uint64_t first = entry_offset(table, i);
        bool in_order = i == 0 ? first == table->first : first > entry_offset(table, i - 1);
        if (!in_order || first >= table->end) {
            return corrupt("manifest: the pages' offsets are not in order", error);
        }
    }
    return GRV_OK;
}

static grv_status check_table(const grv_manifest_table *table, grv_error *error)
{
    return table->level == 0 ? check_blocks(table, error) : check_children(table, error);
}

static bool is_zero(const uint8_t *data, size_t size)
{
    for (size_t i = 0; i < size; i++) {
        if (data[i] != 0) {
            return false;
        }
    }
    return true;
}

static grv_status decode_chunker(grv_bytes bytes, grv_chunker_spec *ret_spec, grv_error *error)
{
    const uint8_t *fields = bytes.data + ROOT_CHUNKER;
    unsigned delimiter_size = fields[2];
    if (fields[3] != 0 || delimiter_size > GRV_DELIMITER_MAX ||
        bytes.size < ROOT_HEADER_SIZE + ROOT_CHECKSUM_SIZE + delimiter_size) {
        return corrupt("manifest root: the chunker's delimiter is out of bounds", error);
    }
    if (fields[0] < GRV_CHUNKER_CDC || fields[0] > GRV_CHUNKER_DELIMITER ||
        fields[1] != GRV_CHUNKER_VERSION) {
        return grv_error_set(error, GRV_UNSUPPORTED, "manifest",
                             "manifest root: chunker %u of version %u is not known here", fields[0],
                             fields[1]);
    }
    grv_chunker_spec spec = {
        .kind = (grv_chunker_kind)fields[0],
        .size = grv_wire_get_u32(bytes.data + ROOT_CHUNKER_SIZE),
        .delimiter_size = delimiter_size,
    };
    memcpy(spec.delimiter, bytes.data + ROOT_HEADER_SIZE, delimiter_size);
    if (grv_chunker_spec_check(&spec, NULL)) {
        return corrupt("manifest root: the chunker's parameters are out of bounds", error);
    }
    *ret_spec = spec;
    return GRV_OK;
}

/* The bounds between the counts of entries and blocks and the blob's size. */
static bool counts_are_possible(const grv_manifest_root *root)
{
    const grv_blob_info *info = &root->info;
    uint64_t count = root->table.count;
    if (info->block_count > GRV_BLOB_SIZE_MAX / GRV_BLOCK_SIZE_MAX ||
        info->key.size < info->block_count ||
        info->key.size > info->block_count * GRV_BLOCK_SIZE_MAX) {
        return false;
    }
    if (root->table.level == 0) {
        return count <= GRV_MANIFEST_INLINE_MAX && count == info->block_count;
    }
    uint64_t most = count * GRV_MANIFEST_PAGE_MAX;
    if (root->table.level == 2) {
        most *= GRV_MANIFEST_PAGE_MAX;
    }
    return count >= 1 && count <= GRV_MANIFEST_CHILDREN_MAX && info->block_count >= count &&
           info->block_count <= most;
}

/* Magic, checksum, version and features: whether the rest may be read at all. */
static grv_status check_root_frame(grv_bytes bytes, grv_error *error)
{
    if (bytes.size < ROOT_HEADER_SIZE + ROOT_CHECKSUM_SIZE ||
        bytes.size > GRV_MANIFEST_ROOT_BYTES_MAX) {
        return corrupt("manifest root: its size is out of bounds", error);
    }
    if (memcmp(bytes.data, ROOT_MAGIC, 4) != 0) {
        return corrupt("manifest root: no magic number", error);
    }
    size_t body = bytes.size - ROOT_CHECKSUM_SIZE;
    if (grv_wire_get_u64(bytes.data + body) != XXH3_64bits(bytes.data, body)) {
        return corrupt("manifest root: the checksum does not match", error);
    }
    unsigned version = grv_wire_get_u16(bytes.data + ROOT_VERSION);
    if (version > MANIFEST_VERSION) {
        return grv_error_set(error, GRV_UNSUPPORTED, "manifest",
                             "manifest root of version %u: this graviton reads up to %u", version,
                             MANIFEST_VERSION);
    }
    if (version < 1) {
        return corrupt("manifest root: version 0", error);
    }
    uint32_t required = grv_wire_get_u32(bytes.data + ROOT_REQUIRED);
    if (required != 0) {
        return grv_error_set(error, GRV_UNSUPPORTED, "manifest",
                             "manifest root needs features 0x%" PRIx32 ", not known here",
                             required);
    }
    return GRV_OK;
}

grv_status grv_manifest_root_decode(grv_bytes bytes, grv_manifest_root *ret_root, grv_error *error)
{
    grv_status status = check_root_frame(bytes, error);
    if (status) {
        return status;
    }
    const uint8_t *data = bytes.data;
    grv_manifest_root root = {0};
    status = decode_chunker(bytes, &root.info.chunker, error);
    if (!status) {
        status = grv_blob_key_decode(grv_bytes_of(data + ROOT_KEY, GRV_KEY_BYTES_SIZE),
                                     &root.info.key, error);
    }
    if (status) {
        return status;
    }
    unsigned hash = data[ROOT_BLOCK_HASH];
    unsigned depth = data[ROOT_DEPTH];
    if ((hash != GRV_HASH_BLAKE3 && hash != GRV_HASH_SHA256) || depth > 2 ||
        !is_zero(data + ROOT_ZERO, ROOT_COUNT - ROOT_ZERO)) {
        return corrupt("manifest root: hash, depth or reserved bytes are wrong", error);
    }
    memcpy(root.id, data + ROOT_ID, GRV_MANIFEST_ID_SIZE);
    root.info.block_hash = (grv_hash)hash;
    root.info.block_count = grv_wire_get_u64(data + ROOT_BLOCK_COUNT);
    root.info.created_ns = grv_wire_get_u64(data + ROOT_CREATED);
    root.info.sequence = grv_wire_get_u64(data + ROOT_SEQUENCE);
    size_t before = ROOT_HEADER_SIZE + root.info.chunker.delimiter_size;
    root.table = (grv_manifest_table){
        .entries = data + before,
        .count = grv_wire_get_u32(data + ROOT_COUNT),
        .level = depth,
        .block_hash = root.info.block_hash,
        .end = root.info.key.size,
    };
    size_t entries_size = bytes.size - ROOT_CHECKSUM_SIZE - before;
    if (!counts_are_possible(&root) ||
        entries_size != (size_t)root.table.count * GRV_MANIFEST_ENTRY_SIZE) {
        return corrupt("manifest root: its counts and sizes do not agree", error);
    }
    status = check_table(&root.table, error);
    if (!status) {
        *ret_root = root;
    }
    return status;
}

void grv_manifest_prefix_blob(const grv_blob_key *key, grv_error *error)
{
    char text[GRV_KEY_TEXT_SIZE];
    grv_blob_key_print(key, text);
    grv_error_prefix(error, "blob %s", text);
}

grv_status grv_manifest_root_decode_of(const grv_blob_key *key, grv_bytes bytes,
                                       grv_manifest_root *ret_root, grv_error *error)
{
    grv_manifest_root root = {0};
    grv_status status = grv_manifest_root_decode(bytes, &root, error);
    if (!status && grv_blob_key_compare(&root.info.key, key) != 0) {
        status = grv_error_set(error, GRV_CORRUPT, "manifests", "its root is another blob's");
    }
    if (!status && (root.info.sequence < 1 || root.info.sequence > GRV_SEQUENCE_MAX)) {
        status = grv_error_set(error, GRV_CORRUPT, "manifests", "its sequence is out of bounds");
    }
    if (status) {
        grv_manifest_prefix_blob(key, error);
        return status;
    }
    *ret_root = root;
    return GRV_OK;
}

/* Whether a page's header is the one that its manifest and its parent promise. */
static bool page_is_expected(const uint8_t *data, const grv_manifest_root *root,
                             const grv_manifest_child *child)
{
    return memcmp(data, PAGE_MAGIC, 4) == 0 && data[PAGE_LEVEL] == child->level &&
           data[PAGE_BLOCK_HASH] == root->info.block_hash &&
           grv_wire_get_u32(data + PAGE_ZERO) == 0 &&
           memcmp(data + PAGE_ID, root->id, GRV_MANIFEST_ID_SIZE) == 0 &&
           grv_wire_get_u64(data + PAGE_NUMBER) == child->number &&
           grv_wire_get_u64(data + PAGE_FIRST) == child->first &&
           grv_wire_get_u64(data + PAGE_SPAN) == child->end - child->first;
}

/*
 * Where a page's entries lie among all of their level: every page before it holds at least one,
 * and at the blob's end the blocks are as many as the root says.
 */
static bool base_is_possible(const grv_manifest_root *root, const grv_manifest_child *child,
                             const grv_manifest_table *table)
{
    uint64_t blocks = root->info.block_count;
    if (table->base < child->number || (child->number == 0 && table->base != 0) ||
        table->base > blocks || table->count > blocks - table->base) {
        return false;
    }
    bool last = child->end == root->info.key.size;
    return child->level != 0 || !last || table->base + table->count == blocks;
}

grv_status grv_manifest_page_decode(grv_bytes bytes, const grv_manifest_root *root,
                                    const grv_manifest_child *child, grv_manifest_table *ret_table,
                                    grv_error *error)
{
    if (bytes.size < PAGE_HEADER_SIZE || bytes.size > GRV_MANIFEST_PAGE_BYTES_MAX) {
        return corrupt("manifest page: its size is out of bounds", error);
    }
    grv_digest digest;
    grv_status status = grv_digest_of(GRV_HASH_BLAKE3, bytes, &digest, error);
    if (status) {
        return status;
    }
    if (memcmp(digest.bytes, child->digest, GRV_DIGEST_SIZE) != 0) {
        return corrupt("manifest page: it does not hash to its digest", error);
    }
    const uint8_t *data = bytes.data;
    unsigned version = grv_wire_get_u16(data + PAGE_VERSION);
    if (version > MANIFEST_VERSION) {
        return grv_error_set(error, GRV_UNSUPPORTED, "manifest",
                             "manifest page of version %u: this graviton reads up to %u", version,
                             MANIFEST_VERSION);
    }
    grv_manifest_table table = {
        .entries = data + PAGE_HEADER_SIZE,
        .count = grv_wire_get_u32(data + PAGE_COUNT),
        .level = child->level,
        .block_hash = root->info.block_hash,
        .first = child->first,
        .end = child->end,
        .base = grv_wire_get_u64(data + PAGE_BASE),
    };
    if (version < 1 || !page_is_expected(data, root, child) || table.count < 1 ||
        table.count > GRV_MANIFEST_PAGE_MAX ||
        bytes.size - PAGE_HEADER_SIZE != (size_t)table.count * GRV_MANIFEST_ENTRY_SIZE ||
        !base_is_possible(root, child, &table)) {
        return corrupt("manifest page: its header does not agree with the root", error);
    }
    status = check_table(&table, error);
    if (!status) {
        *ret_table = table;
    }
    return status;
}

uint32_t grv_manifest_table_find(const grv_manifest_table *table, uint64_t offset)
{
    assert(offset >= table->first && offset < table->end);
    /* The least index whose entry ends after `offset`: that of a block is stored, and a page ends
     * where the next begins. */
    uint32_t low = 0;
    uint32_t high = table->count - 1;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        uint64_t end = table->level == 0 ? table->first + entry_offset(table, middle)
                                         : entry_offset(table, middle + 1);
        if (end > offset) {
            high = middle;
        } else {
            low = middle + 1;
        }
    }
    return low;
}

/* Written in place, field by field: a copy of each reference would wait for its parts. */
void grv_manifest_table_refs(const grv_manifest_table *table, uint32_t index, size_t count,
                             grv_block_ref out[])
{
    assert(table->level == 0 && count > 0 && index < table->count && count <= table->count - index);
    const uint8_t *entry = entry_at(table, index);
    uint64_t begin = index ? entry_offset(table, index - 1) : 0;
    for (size_t i = 0; i < count; i++) {
        uint64_t end = grv_wire_get_u64(entry);
        out[i].key.digest.hash = table->block_hash;
        memcpy(out[i].key.digest.bytes, entry + 8, GRV_DIGEST_SIZE);
        out[i].key.size = (uint32_t)(end - begin);
        out[i].offset = table->first + begin;
        begin = end;
        entry += GRV_MANIFEST_ENTRY_SIZE;
    }
}

grv_block_ref grv_manifest_table_ref(const grv_manifest_table *table, uint32_t index)
{
    grv_block_ref ref = {.offset = 0};
    grv_manifest_table_refs(table, index, 1, &ref);
    return ref;
}

grv_manifest_child grv_manifest_table_child(const grv_manifest_table *table, uint32_t index)
{
    assert(table->level > 0 && index < table->count);
    grv_manifest_child child = {
        .level = table->level - 1,
        .number = table->base + index,
        .first = entry_offset(table, index),
        .end = index + 1 < table->count ? entry_offset(table, index + 1) : table->end,
    };
    memcpy(child.digest, entry_at(table, index) + 8, GRV_DIGEST_SIZE);
    return child;
}
