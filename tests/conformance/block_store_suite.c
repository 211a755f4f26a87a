/* SPDX-License-Identifier: Apache-2.0 */
/* Helpers of the block_store suite. */
#include "block_store_suite.h"

static void suite_open(suite *s)
{
    grv_error error = GRV_ERROR_INIT;
    assert_grv_ok(s->fixture->open(s->dir, &s->context, &s->store, &error));
}

void suite_turn(suite *s)
{
    if (s->reopen) {
        s->fixture->close(s->store, &s->context, false);
        s->store = NULL;
        suite_open(s);
    }
}

int suite_setup(void **state)
{
    suite *s = *state;
    s->context = NULL;
    s->store = NULL;
    test_temp_make(s->dir);
    suite_open(s);
    return 0;
}

int suite_teardown(void **state)
{
    suite *s = *state;
    if (s->store) {
        s->fixture->close(s->store, &s->context, true);
    }
    test_temp_remove(s->dir);
    return 0;
}

grv_block block_make(grv_hash hash, pattern how, uint64_t seed, size_t size)
{
    grv_error error = GRV_ERROR_INIT;
    uint8_t *data = calloc(1, size);
    assert_non_null(data);
    uint64_t state = seed;
    if (how == RANDOM) {
        test_random_fill(&state, data, size);
    } else if (how == TEXT) {
        for (size_t i = 0; i < size; i++) {
            data[i] = (uint8_t)("etaoin shrdlu\n,.")[test_random(&state) & 15];
        }
    }
    grv_block block = {.bytes = {data, size}, .key.size = (uint32_t)size};
    assert_grv_ok(grv_digest_of(hash, block.bytes, &block.key.digest, &error));
    return block;
}

void blocks_make(grv_block blocks[], size_t count, uint64_t seed)
{
    for (size_t i = 0; i < count; i++) {
        grv_hash hash = i % 5 == 4 ? GRV_HASH_SHA256 : GRV_HASH_BLAKE3;
        blocks[i] = block_make(hash, i % 2 ? TEXT : RANDOM, seed * 1000003 + i, 90 + i % 64);
    }
}

void blocks_done(grv_block blocks[], size_t count)
{
    for (size_t i = 0; i < count; i++) {
        free((void *)(uintptr_t)blocks[i].bytes.data);
        blocks[i].bytes = (grv_bytes){0};
    }
}

grv_block_batch *batch_open(suite *s)
{
    grv_error error = GRV_ERROR_INIT;
    grv_block_batch *batch = NULL;
    assert_grv_ok(grv_block_store_open_batch(NULL, s->store, &batch, &error));
    return batch;
}

void batch_put(grv_block_batch *batch, const grv_block blocks[], size_t count)
{
    grv_error error = GRV_ERROR_INIT;
    assert_grv_ok(grv_block_batch_put(NULL, batch, blocks, count, NULL, &error));
}

void batch_commit(grv_block_batch *batch, grv_block_result results[], size_t count)
{
    grv_error error = GRV_ERROR_INIT;
    assert_grv_ok(grv_block_batch_commit(NULL, batch, GRV_DURABLE, results, count, &error));
    grv_block_batch_free(batch);
}

void store_blocks(suite *s, const grv_block blocks[], size_t count, grv_block_result results[])
{
    grv_block_batch *batch = batch_open(s);
    batch_put(batch, blocks, count);
    batch_commit(batch, results, count);
}

grv_status read_block(suite *s, const grv_block *block, grv_error *error)
{
    uint8_t *data = malloc(block->key.size);
    assert_non_null(data);
    memset(data, 0x5a, block->key.size);
    grv_span span = {data, block->key.size};
    grv_status one = GRV_INTERNAL;
    grv_status status = grv_block_store_get(NULL, s->store, &block->key, &span, 1, &one, error);
    assert_int_equal(one, status);
    if (!status) {
        assert_memory_equal(data, block->bytes.data, block->key.size);
    }
    free(data);
    return status;
}

void assert_blocks(suite *s, const grv_block blocks[], size_t count)
{
    for (size_t i = 0; i < count; i++) {
        grv_error error = GRV_ERROR_INIT;
        assert_grv_ok(read_block(s, &blocks[i], &error));
    }
}

void assert_names_key(const grv_error *error, const grv_block_key *key)
{
    char text[GRV_KEY_TEXT_SIZE];
    grv_block_key_print(key, text);
    if (!strstr(error->message, text)) {
        fail_msg("\"%s\" does not name %s", error->message, text);
    }
}

bool is_missing(suite *s, const grv_block_key *key)
{
    grv_error error = GRV_ERROR_INIT;
    bool missing = false;
    assert_grv_ok(grv_block_store_missing(NULL, s->store, key, 1, &missing, &error));
    return missing;
}
