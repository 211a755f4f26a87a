/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the conformance suite cannot see of the block store over a key-value store: the rows it
 * writes, damage in them, how many writes a batch costs and how large they are, and what a failing
 * store below leads to.
 */
#include "core/frame.h"
#include "temp.h"
#include "test.h"

#include <graviton/backend/kv.h>
#include <graviton/backend/memory.h>

/* A key-value store that counts what passes to the one in memory, and fails on demand. */
typedef struct spy_kv {
    grv_kv base;
    grv_kv *inner;
    size_t ordered_writes;
    size_t durable_writes;
    size_t flushes;
    size_t largest_write; /* bytes of values */
    size_t fail_write;    /* fail this write, counted from 1; 0: none */
    bool fail_reads;
} spy_kv;

static grv_status spy_fails(grv_error *error)
{
    return grv_error_set(error, GRV_UNAVAILABLE, "spy", "the disk is on fire");
}

static grv_status spy_get(const grv_call *call, grv_kv *kv, unsigned ns, grv_bytes key,
                          grv_value *ret_value, grv_error *error)
{
    return grv_kv_get(call, ((spy_kv *)kv)->inner, ns, key, ret_value, error);
}

static grv_status spy_multi_get(const grv_call *call, grv_kv *kv, unsigned ns,
                                const grv_bytes keys[], size_t count, grv_value ret_values[],
                                grv_status ret_statuses[], grv_error *error)
{
    spy_kv *spy = (spy_kv *)kv;
    return spy->fail_reads ? spy_fails(error)
                           : grv_kv_multi_get(call, spy->inner, ns, keys, count, ret_values,
                                              ret_statuses, error);
}

static grv_status spy_missing(const grv_call *call, grv_kv *kv, unsigned ns, const grv_bytes keys[],
                              size_t count, bool ret_missing[], grv_error *error)
{
    spy_kv *spy = (spy_kv *)kv;
    return spy->fail_reads ? spy_fails(error)
                           : grv_kv_missing(call, spy->inner, ns, keys, count, ret_missing, error);
}

static grv_status spy_write(const grv_call *call, grv_kv *kv, const grv_kv_batch *batch,
                            grv_error *error)
{
    spy_kv *spy = (spy_kv *)kv;
    size_t bytes = 0;
    for (size_t i = 0; i < batch->op_count; i++) {
        bytes += batch->ops[i].value.size;
    }
    spy->largest_write = bytes > spy->largest_write ? bytes : spy->largest_write;
    *(batch->durability == GRV_DURABLE ? &spy->durable_writes : &spy->ordered_writes) += 1;
    if (spy->durable_writes + spy->ordered_writes == spy->fail_write) {
        return spy_fails(error);
    }
    return grv_kv_write(call, spy->inner, batch, error);
}

static grv_status spy_open_scan(const grv_call *call, grv_kv *kv, const grv_kv_scan *scan,
                                grv_kv_cursor **ret_cursor, grv_error *error)
{
    return grv_kv_open_scan(call, ((spy_kv *)kv)->inner, scan, ret_cursor, error);
}

static grv_status spy_flush(const grv_call *call, grv_kv *kv, grv_error *error)
{
    ((spy_kv *)kv)->flushes++;
    return grv_kv_flush(call, ((spy_kv *)kv)->inner, error);
}

static void spy_free(grv_kv *kv)
{
    grv_kv_free(((spy_kv *)kv)->inner);
}

static const grv_kv_ops spy_ops = {
    .name = "spy",
    .get = spy_get,
    .multi_get = spy_multi_get,
    .missing = spy_missing,
    .write = spy_write,
    .open_scan = spy_open_scan,
    .flush = spy_flush,
    .free = spy_free,
};

typedef struct fixture {
    spy_kv kv;
    grv_block_store *store;
} fixture;

static int setup(void **state)
{
    static fixture f;
    grv_error error = GRV_ERROR_INIT;
    f = (fixture){0};
    assert_grv_ok(grv_kv_memory_new(GRV_NS_COUNT, &f.kv.inner, &error));
    assert_grv_ok(grv_kv_init(&f.kv.base, &spy_ops, GRV_NS_COUNT, &error));
    assert_grv_ok(grv_block_store_kv_new(&f.kv.base, &f.store, &error));
    *state = &f;
    return 0;
}

static int teardown(void **state)
{
    fixture *f = *state;
    grv_block_store_free(f->store);
    grv_kv_free(&f->kv.base);
    return 0;
}

static grv_block block_of(const uint8_t *data, size_t size)
{
    grv_error error = GRV_ERROR_INIT;
    grv_block block = {.bytes = {data, size}, .key.size = (uint32_t)size};
    assert_grv_ok(grv_digest_of(GRV_HASH_BLAKE3, block.bytes, &block.key.digest, &error));
    return block;
}

static grv_status store_blocks(fixture *f, const grv_block blocks[], size_t count,
                               grv_durability durability, grv_block_result results[])
{
    grv_error error = GRV_ERROR_INIT;
    grv_block_batch *batch = NULL;
    assert_grv_ok(grv_block_store_open_batch(NULL, f->store, &batch, &error));
    grv_status status = grv_block_batch_put(NULL, batch, blocks, count, NULL, &error);
    if (!status) {
        status = grv_block_batch_commit(NULL, batch, durability, results, count, &error);
    }
    grv_block_batch_free(batch);
    return status;
}

static grv_status read_block(fixture *f, const grv_block_key *key, uint8_t *data, grv_error *error)
{
    grv_span span = {data, key->size};
    grv_status one = GRV_INTERNAL;
    grv_status status = grv_block_store_get(NULL, f->store, key, &span, 1, &one, error);
    assert_int_equal(one, status);
    return status;
}

/* Writes a row past the block store. */
static void row_set(fixture *f, unsigned ns, const grv_block_key *key, grv_bytes value)
{
    grv_error error = GRV_ERROR_INIT;
    uint8_t encoded[GRV_KEY_BYTES_SIZE];
    grv_block_key_encode(key, encoded);
    grv_kv_op op = {
        .kind = GRV_KV_PUT, .ns = ns, .key = grv_bytes_of(encoded, sizeof encoded), .value = value};
    grv_kv_batch batch = {.ops = &op, .op_count = 1};
    assert_grv_ok(grv_kv_write(NULL, f->kv.inner, &batch, &error));
}

static grv_value row_get(fixture *f, unsigned ns, const grv_block_key *key)
{
    grv_error error = GRV_ERROR_INIT;
    uint8_t encoded[GRV_KEY_BYTES_SIZE];
    grv_value value = {0};
    grv_block_key_encode(key, encoded);
    assert_grv_ok(
        grv_kv_get(NULL, f->kv.inner, ns, grv_bytes_of(encoded, sizeof encoded), &value, &error));
    return value;
}

static void a_block_is_a_frame_and_its_size(void **state)
{
    fixture *f = *state;
    grv_error error = GRV_ERROR_INIT;
    static uint8_t data[5000];
    memset(data, 'x', sizeof data);
    grv_block block = block_of(data, sizeof data);
    grv_block_result result = {0};
    assert_grv_status(store_blocks(f, &block, 1, GRV_DURABLE, &result), GRV_OK);
    grv_value value = row_get(f, GRV_NS_BLOCK, &block.key);
    grv_value info = row_get(f, GRV_NS_BLOCK_INFO, &block.key);
    grv_frame frame;
    assert_grv_ok(grv_frame_decode(value.bytes, &frame, &error));
    assert_int_equal(frame.size, value.bytes.size);
    assert_int_equal(frame.info.kind, GRV_FRAME_BLOCK);
    assert_int_equal(frame.encoding, GRV_FRAME_ZSTD);
    assert_true(value.bytes.size < sizeof data / 4);
    assert_int_equal(result.stored_size, value.bytes.size);
    assert_int_equal(info.bytes.size, 4);
    assert_int_equal(info.bytes.data[0] | info.bytes.data[1] << 8, value.bytes.size);
    grv_value_done(&value);
    grv_value_done(&info);
}

static void any_damage_to_a_row_is_corrupt(void **state)
{
    fixture *f = *state;
    grv_error error = GRV_ERROR_INIT;
    uint8_t data[200];
    uint64_t random = 5;
    test_random_fill(&random, data, sizeof data);
    grv_block blocks[2] = {block_of(data, 200), block_of(data, 199)};
    grv_block_result results[2];
    assert_grv_status(store_blocks(f, blocks, 2, GRV_DURABLE, results), GRV_OK);
    grv_value value = row_get(f, GRV_NS_BLOCK, &blocks[0].key);
    size_t size = value.bytes.size;
    uint8_t frame[512] = {0};
    uint8_t back[200];
    memcpy(frame, value.bytes.data, size);
    grv_value_done(&value);
    char text[GRV_KEY_TEXT_SIZE];
    grv_block_key_print(&blocks[0].key, text);
    for (size_t at = 0; at < size; at++) {
        frame[at] ^= 0x10;
        row_set(f, GRV_NS_BLOCK, &blocks[0].key, grv_bytes_of(frame, size));
        frame[at] ^= 0x10;
        assert_grv_status(read_block(f, &blocks[0].key, back, &error), GRV_CORRUPT);
        assert_non_null(strstr(error.message, text));
        row_set(f, GRV_NS_BLOCK, &blocks[0].key, grv_bytes_of(frame, at));
        assert_grv_status(read_block(f, &blocks[0].key, back, &error), GRV_CORRUPT);
    }
    row_set(f, GRV_NS_BLOCK, &blocks[0].key, grv_bytes_of(frame, size + 1));
    assert_grv_status(read_block(f, &blocks[0].key, back, &error), GRV_CORRUPT);
    /* A sound frame in another block's place, of another size too. */
    row_set(f, GRV_NS_BLOCK, &blocks[1].key, grv_bytes_of(frame, size));
    assert_grv_status(read_block(f, &blocks[1].key, back, &error), GRV_CORRUPT);
    row_set(f, GRV_NS_BLOCK, &blocks[0].key, grv_bytes_of(frame, size));
    assert_grv_ok(read_block(f, &blocks[0].key, back, &error));
    assert_memory_equal(back, data, sizeof data);
}

static void a_damaged_size_row_fails_lists_and_counts(void **state)
{
    fixture *f = *state;
    grv_error error = GRV_ERROR_INIT;
    grv_block block = block_of((const uint8_t *)"abc", 3);
    grv_block_result result;
    assert_grv_status(store_blocks(f, &block, 1, GRV_DURABLE, &result), GRV_OK);
    static const char *const bad[] = {"", "\x63\0\0", "\x63\0\0\0\0", "\x60\0\0\0",
                                      "\xff\xff\xff\xff"};
    static const size_t sizes[] = {0, 3, 5, 4, 4};
    for (size_t i = 0; i < 5; i++) {
        grv_block_stats stats = {.blocks = 77};
        row_set(f, GRV_NS_BLOCK_INFO, &block.key, grv_bytes_of(bad[i], sizes[i]));
        assert_grv_status(grv_block_store_stats(NULL, f->store, &stats, &error), GRV_CORRUPT);
        assert_int_equal(stats.blocks, 77);
    }
    row_set(f, GRV_NS_BLOCK_INFO, &block.key, grv_bytes_of("\x63\0\0\0", 4));
    grv_block_stats stats;
    assert_grv_ok(grv_block_store_stats(NULL, f->store, &stats, &error));
    assert_int_equal(stats.stored_bytes, 0x63);
}

static void a_small_batch_costs_one_write(void **state)
{
    fixture *f = *state;
    grv_block blocks[3] = {block_of((const uint8_t *)"abc", 1), block_of((const uint8_t *)"abc", 2),
                           block_of((const uint8_t *)"abc", 3)};
    grv_block_result results[3];
    assert_grv_status(store_blocks(f, blocks, 2, GRV_DURABLE, results), GRV_OK);
    assert_int_equal(f->kv.durable_writes, 1);
    assert_int_equal(f->kv.ordered_writes + f->kv.flushes, 0);
    assert_grv_status(store_blocks(f, blocks + 2, 1, GRV_ORDERED, results), GRV_OK);
    assert_int_equal(f->kv.durable_writes, 1);
    assert_int_equal(f->kv.ordered_writes, 1);
    assert_int_equal(f->kv.flushes, 0);
    /* Nothing but duplicates: they may be only ordered so far. */
    assert_grv_status(store_blocks(f, blocks, 3, GRV_ORDERED, results), GRV_OK);
    assert_int_equal(f->kv.flushes, 0);
    assert_grv_status(store_blocks(f, blocks, 3, GRV_DURABLE, results), GRV_OK);
    assert_int_equal(f->kv.flushes, 1);
    assert_int_equal(f->kv.durable_writes + f->kv.ordered_writes, 2);
}

/* `count` random blocks of `size` bytes that share one buffer, freed by the caller. */
static uint8_t *random_blocks(grv_block blocks[], size_t count, size_t size)
{
    uint8_t *data = malloc(count * size);
    assert_non_null(data);
    uint64_t random = size;
    test_random_fill(&random, data, count * size);
    for (size_t i = 0; i < count; i++) {
        blocks[i] = block_of(data + i * size, size);
    }
    return data;
}

static void a_large_batch_is_written_in_bounded_stages(void **state)
{
    fixture *f = *state;
    enum { LARGE = 24, SMALL = 2500 };
    static grv_block blocks[SMALL];
    static grv_block_result results[SMALL];
    uint8_t *data = random_blocks(blocks, LARGE, 1u << 20);
    assert_grv_status(store_blocks(f, blocks, LARGE, GRV_DURABLE, results), GRV_OK);
    assert_int_equal(f->kv.durable_writes, 1);
    assert_in_range(f->kv.ordered_writes, 2, 4);
    assert_in_range(f->kv.largest_write, 1u << 20, (8u << 20) + 4096);
    free(data);
    f->kv.ordered_writes = 0;
    data = random_blocks(blocks, SMALL, 16);
    assert_grv_status(store_blocks(f, blocks, SMALL, GRV_DURABLE, results), GRV_OK);
    assert_int_equal(f->kv.ordered_writes, 2);
    assert_int_equal(f->kv.durable_writes, 2);
    free(data);
}

static void a_failed_put_fails_the_batch(void **state)
{
    fixture *f = *state;
    enum { COUNT = 2500 };
    grv_error error = GRV_ERROR_INIT;
    static grv_block blocks[COUNT];
    static grv_block_result results[COUNT];
    uint8_t *data = random_blocks(blocks, COUNT, 16);
    /* 2500 blocks are three writes; the second try leaves the first thousand in the store, so the
     * third has two writes, the last of them its commit's. */
    static const struct {
        size_t fail_write;
        bool in_put;
    } tries[] = {{1, true}, {2, true}, {2, false}};
    for (size_t i = 0; i < 3; i++) {
        f->kv.ordered_writes = 0;
        f->kv.durable_writes = 0;
        f->kv.fail_write = tries[i].fail_write;
        grv_block_batch *batch = NULL;
        assert_grv_ok(grv_block_store_open_batch(NULL, f->store, &batch, &error));
        assert_grv_status(grv_block_batch_put(NULL, batch, blocks, COUNT, NULL, &error),
                          tries[i].in_put ? GRV_UNAVAILABLE : GRV_OK);
        if (tries[i].in_put) {
            assert_grv_status(grv_block_batch_put(NULL, batch, blocks, 1, NULL, &error),
                              GRV_UNAVAILABLE);
        }
        assert_grv_status(grv_block_batch_commit(NULL, batch, GRV_DURABLE, results,
                                                 tries[i].in_put ? 0 : COUNT, &error),
                          GRV_UNAVAILABLE);
        grv_block_batch_free(batch);
    }
    f->kv.fail_write = 0;
    assert_grv_status(store_blocks(f, blocks, COUNT, GRV_DURABLE, results), GRV_OK);
    for (size_t i = 0; i < COUNT; i++) {
        uint8_t back[16];
        assert_grv_ok(read_block(f, &blocks[i].key, back, &error));
        assert_memory_equal(back, blocks[i].bytes.data, 16);
    }
    free(data);
}

static void failed_reads_are_failures_not_absence(void **state)
{
    fixture *f = *state;
    enum { COUNT = 100 };
    grv_error error = GRV_ERROR_INIT;
    grv_block blocks[COUNT];
    grv_block_result results[COUNT];
    grv_block_key keys[COUNT];
    grv_span spans[COUNT];
    grv_status statuses[COUNT];
    bool missing[COUNT];
    uint8_t back[16];
    uint8_t *data = random_blocks(blocks, COUNT, 16);
    assert_grv_status(store_blocks(f, blocks, COUNT, GRV_DURABLE, results), GRV_OK);
    for (size_t i = 0; i < COUNT; i++) {
        keys[i] = blocks[i].key;
        spans[i] = (grv_span){back, 16};
        statuses[i] = GRV_INTERNAL;
    }
    f->kv.fail_reads = true;
    assert_grv_status(grv_block_store_get(NULL, f->store, keys, spans, COUNT, statuses, &error),
                      GRV_UNAVAILABLE);
    for (size_t i = 0; i < COUNT; i++) {
        assert_int_equal(statuses[i], GRV_UNAVAILABLE);
    }
    assert_grv_status(grv_block_store_missing(NULL, f->store, keys, COUNT, missing, &error),
                      GRV_UNAVAILABLE);
    assert_grv_status(store_blocks(f, blocks, COUNT, GRV_DURABLE, results), GRV_UNAVAILABLE);
    free(data);
}

static void a_store_without_the_namespaces_is_refused(void **state)
{
    (void)state;
    grv_error error = GRV_ERROR_INIT;
    grv_kv *kv = NULL;
    grv_block_store *store = NULL;
    assert_grv_ok(grv_kv_memory_new(GRV_NS_BLOCK_INFO, &kv, &error));
    assert_grv_status(grv_block_store_kv_new(kv, &store, &error), GRV_INVALID_ARGUMENT);
    assert_null(store);
    grv_kv_free(kv);
    for (size_t i = 0; i < GRV_NS_COUNT; i++) {
        assert_non_null(grv_kv_namespace_names[i]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_block_is_a_frame_and_its_size, setup, teardown),
        cmocka_unit_test_setup_teardown(any_damage_to_a_row_is_corrupt, setup, teardown),
        cmocka_unit_test_setup_teardown(a_damaged_size_row_fails_lists_and_counts, setup, teardown),
        cmocka_unit_test_setup_teardown(a_small_batch_costs_one_write, setup, teardown),
        cmocka_unit_test_setup_teardown(a_large_batch_is_written_in_bounded_stages, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(a_failed_put_fails_the_batch, setup, teardown),
        cmocka_unit_test_setup_teardown(failed_reads_are_failures_not_absence, setup, teardown),
        cmocka_unit_test(a_store_without_the_namespaces_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
