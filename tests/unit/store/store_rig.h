/* SPDX-License-Identifier: Apache-2.0 */
/* A whole store in memory for tests of the jobs that look after one, and blobs in it whose bytes
 * follow from a seed. */
#ifndef GRV_TESTS_STORE_RIG_H
#define GRV_TESTS_STORE_RIG_H

#include "temp.h"
#include "test.h"

#include <graviton/maintain.h>

/* Opens a store that cuts every 100 bytes; `blocks` is "memory:" or "kv:". */
static inline grv_store *rig_open(const char *blocks)
{
    grv_error error = GRV_ERROR_INIT;
    const grv_chunker_spec chunker = {.kind = GRV_CHUNKER_FIXED, .size = 100};
    const grv_store_config config = {
        .blocks = blocks, .meta = "memory:", .create = true, .chunker = &chunker, .threads = 2};
    grv_store *store = NULL;
    assert_grv_ok(grv_store_open(NULL, &config, &store, &error));
    return store;
}

/* Opens a put and writes `size` bytes drawn from `seed`. */
static inline grv_blob_sink *rig_begin(grv_store *store, uint64_t seed, size_t size)
{
    grv_error error = GRV_ERROR_INIT;
    const grv_put_plan plan = {0};
    grv_blob_sink *sink = NULL;
    uint8_t *data = malloc(size + 1);
    assert_non_null(data);
    test_random_fill(&seed, data, size);
    assert_grv_ok(grv_blob_store_open_put(NULL, grv_store_blobs(store), &plan, &sink, &error));
    assert_grv_ok(grv_sink_write(NULL, &sink->base, grv_bytes_of(data, size), &error));
    free(data);
    return sink;
}

static inline grv_blob_key rig_put(grv_store *store, uint64_t seed, size_t size)
{
    grv_error error = GRV_ERROR_INIT;
    grv_blob_sink *sink = rig_begin(store, seed, size);
    assert_grv_ok(grv_sink_commit(NULL, &sink->base, &error));
    grv_blob_key key = sink->result.key;
    grv_sink_free(&sink->base);
    return key;
}

/* Reads the blob to its end: what came of it. Bytes are checked against `seed` where it is well. */
static inline grv_status rig_read(grv_store *store, const grv_blob_key *key, uint64_t seed)
{
    grv_error error = GRV_ERROR_INIT;
    grv_source *source = NULL;
    grv_status status =
        grv_blob_store_open_get(NULL, grv_store_blobs(store), key, GRV_RANGE_ALL, &source, &error);
    uint8_t *data = malloc((size_t)key->size + 1);
    assert_non_null(data);
    test_random_fill(&seed, data, (size_t)key->size);
    size_t size = 0;
    while (!status) {
        grv_bytes view;
        status = grv_source_next(NULL, source, 100000, &view, &error);
        if (status || view.size == 0) {
            break;
        }
        assert_memory_equal(view.data, data + size, view.size);
        size += view.size;
    }
    assert_true(status || size == key->size);
    grv_source_free(source);
    free(data);
    return status;
}

/* The key of block `index` of a blob. */
static inline grv_block_key rig_block(grv_store *store, const grv_blob_key *key, uint64_t index)
{
    grv_error error = GRV_ERROR_INIT;
    grv_ref_cursor *cursor = NULL;
    grv_block_ref ref;
    size_t count = 0;
    assert_grv_ok(grv_manifest_repo_open_refs(NULL, grv_store_manifests(store), key, index * 100,
                                              &cursor, &error));
    assert_grv_ok(grv_ref_cursor_next(NULL, cursor, &ref, 1, &count, &error));
    assert_int_equal(count, 1);
    grv_ref_cursor_free(cursor);
    return ref.key;
}

static inline void rig_lose(grv_store *store, const grv_block_key *key)
{
    grv_error error = GRV_ERROR_INIT;
    bool removed = false;
    assert_grv_ok(grv_block_store_remove(NULL, grv_store_blocks(store), key, 1, &removed, &error));
    assert_true(removed);
}

/* Makes the stored bytes of a block wrong. */
static inline void rig_spoil(grv_store *store, const grv_block_key *key)
{
    grv_error error = GRV_ERROR_INIT;
    grv_block_batch *batch = NULL;
    grv_block_result result;
    static uint8_t zeros[GRV_BLOCK_SIZE_MAX];
    const grv_block block = {.key = *key, .bytes = {zeros, key->size}};
    rig_lose(store, key);
    assert_grv_ok(grv_block_store_open_batch(NULL, grv_store_blocks(store), &batch, &error));
    assert_grv_ok(grv_block_batch_put(NULL, batch, &block, 1, NULL, &error));
    assert_grv_ok(grv_block_batch_commit(NULL, batch, GRV_DURABLE, &result, 1, &error));
    grv_block_batch_free(batch);
}

#endif
