/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Manifests. The first byte says what the rest is: a root, or a page under a root of one or two
 * levels. Checksum and digest are made right first, or nothing behind them would ever be reached.
 */
#include "core/manifest.h"
#include "fuzz/fuzz.h"

#include <string.h>
#include <xxhash.h>

/* Walks all entries of a table that decoded: they join up, in bounds. */
static void check_table(const grv_manifest_table *table)
{
    uint64_t at = table->first;
    for (uint32_t i = 0; i < table->count; i++) {
        if (table->level == 0) {
            grv_block_ref ref = grv_manifest_table_ref(table, i);
            fuzz_check(ref.offset == at && grv_block_key_is_valid(&ref.key));
            at += ref.key.size;
        } else {
            grv_manifest_child child = grv_manifest_table_child(table, i);
            fuzz_check(child.first == at && child.end > child.first);
            at = child.end;
        }
        fuzz_check(grv_manifest_table_find(table, at - 1) == i);
    }
    fuzz_check(at == table->end);
}

static void fuzz_root(const uint8_t *data, size_t size)
{
    grv_error error = GRV_ERROR_INIT;
    grv_manifest_root root;
    if (!grv_manifest_root_decode(grv_bytes_of(data, size), &root, &error)) {
        check_table(&root.table);
    }
    if (size < 8) {
        return;
    }
    uint8_t *copy = malloc(size);
    fuzz_check(copy);
    memcpy(copy, data, size);
    uint64_t sum = XXH3_64bits(copy, size - 8);
    for (size_t i = 0; i < 8; i++) {
        copy[size - 8 + i] = (uint8_t)(sum >> (8 * i));
    }
    if (!grv_manifest_root_decode(grv_bytes_of(copy, size), &root, &error)) {
        check_table(&root.table);
    }
    free(copy);
}

static void fuzz_page(const uint8_t *data, size_t size, unsigned level)
{
    if (size < 16) {
        return;
    }
    grv_error error = GRV_ERROR_INIT;
    grv_manifest_root root = {.table.block_hash = GRV_HASH_BLAKE3};
    root.info.block_hash = GRV_HASH_BLAKE3;
    memcpy(root.id, data, sizeof root.id);
    data += 16;
    size -= 16;
    grv_digest digest;
    fuzz_check(!grv_digest_of(GRV_HASH_BLAKE3, grv_bytes_of(data, size), &digest, &error));
    grv_manifest_child child = {.level = level, .first = 0, .end = 1000};
    for (size_t i = 0; i < 8 && i < size; i++) {
        child.end = child.end << 4 ^ data[size - 1 - i];
    }
    child.end &= (uint64_t)INT64_MAX;
    memcpy(child.digest, digest.bytes, GRV_DIGEST_SIZE);
    grv_manifest_table table;
    if (!grv_manifest_page_decode(grv_bytes_of(data, size), &root, &child, &table, &error)) {
        check_table(&table);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0) {
        return 0;
    }
    if (data[0] % 3 == 0) {
        fuzz_root(data + 1, size - 1);
    } else {
        fuzz_page(data + 1, size - 1, data[0] % 3 - 1u);
    }
    return 0;
}
