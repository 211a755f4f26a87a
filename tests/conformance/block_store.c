/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What include/graviton/port/block_store.h promises, checked over every implementation: each test
 * runs as it is, and over those that persist again with the store closed and opened between its
 * writes and its reads. Here: putting and getting. In block_store_sweep.c: quarantine and
 * sweep. In block_store_index.c: the rest.
 */
#include "block_store_suite.h"

static void blocks_come_back(void **state)
{
    suite *s = *state;
    static const size_t sizes[] = {1, 2, 63, 64, 65, 127, 4095, 4096, 65536, 300001};
    enum { COUNT = 3 * sizeof sizes / sizeof sizes[0] };
    grv_block blocks[COUNT];
    grv_block_result results[COUNT] = {0};
    for (size_t i = 0; i < COUNT; i++) {
        grv_hash hash = i & 1 ? GRV_HASH_SHA256 : GRV_HASH_BLAKE3;
        blocks[i] = block_make(hash, (pattern)(i % 3), i + 1, sizes[i / 3]);
    }
    store_blocks(s, blocks, COUNT, results);
    suite_turn(s);
    assert_blocks(s, blocks, COUNT);
    for (size_t i = 0; i < COUNT; i++) {
        assert_int_equal(results[i].outcome, GRV_BLOCK_FRESH);
        assert_true(results[i].stored_size > 0);
    }
    blocks_done(blocks, COUNT);
}

static void largest_blocks_come_back(void **state)
{
    suite *s = *state;
    grv_block blocks[] = {
        block_make(GRV_HASH_BLAKE3, RANDOM, 7, GRV_BLOCK_SIZE_MAX),
        block_make(GRV_HASH_BLAKE3, ZEROS, 0, GRV_BLOCK_SIZE_MAX),
        block_make(GRV_HASH_BLAKE3, ZEROS, 0, 1),
    };
    grv_block_result results[3];
    store_blocks(s, blocks, 3, results);
    suite_turn(s);
    assert_blocks(s, blocks, 3);
    blocks_done(blocks, 3);
}

static void many_tiny_blocks(void **state)
{
    suite *s = *state;
    enum { MANY = BLOCK_FIXTURE_MANY, SIZE = 8, CALL = 617 };
    const size_t count = s->fixture->many ? s->fixture->many : MANY;
    grv_error error = GRV_ERROR_INIT;
    static uint8_t data[MANY][SIZE];
    static uint8_t back[MANY][SIZE];
    static grv_block blocks[MANY];
    static grv_block_key keys[MANY];
    static grv_span spans[MANY];
    static grv_status statuses[MANY];
    static grv_block_result results[MANY];
    uint64_t random = 99;
    for (size_t i = 0; i < count; i++) {
        test_random_fill(&random, data[i], SIZE);
        blocks[i] = (grv_block){.key.size = SIZE, .bytes = {data[i], SIZE}};
        assert_grv_ok(
            grv_digest_of(GRV_HASH_BLAKE3, blocks[i].bytes, &blocks[i].key.digest, &error));
        keys[i] = blocks[i].key;
        spans[i] = (grv_span){back[i], SIZE};
        statuses[i] = GRV_INTERNAL;
    }
    memset(back, 0, sizeof back);
    grv_block_batch *batch = batch_open(s);
    for (size_t i = 0; i < count; i += CALL) {
        batch_put(batch, blocks + i, count - i < CALL ? count - i : CALL);
    }
    batch_commit(batch, results, count);
    suite_turn(s);
    assert_grv_ok(grv_block_store_get(NULL, s->store, keys, spans, count, statuses, &error));
    assert_memory_equal(back, data, count * SIZE);
    for (size_t i = 0; i < count; i++) {
        assert_int_equal(statuses[i], GRV_OK);
        assert_int_equal(results[i].outcome, GRV_BLOCK_FRESH);
    }
    grv_block_stats stats;
    assert_grv_ok(grv_block_store_stats(NULL, s->store, &stats, &error));
    assert_int_equal(stats.blocks, count);
    assert_int_equal(stats.raw_bytes, count * SIZE);
}

static void second_put_is_a_duplicate(void **state)
{
    suite *s = *state;
    grv_block blocks[6];
    grv_block_result results[6] = {0};
    blocks_make(blocks, 6, 1);
    store_blocks(s, blocks, 3, results);
    suite_turn(s);
    store_blocks(s, blocks, 6, results);
    for (size_t i = 0; i < 6; i++) {
        assert_int_equal(results[i].outcome, i < 3 ? GRV_BLOCK_DUPLICATE : GRV_BLOCK_FRESH);
        assert_int_equal(results[i].stored_size == 0, i < 3);
    }
    assert_blocks(s, blocks, 6);
    blocks_done(blocks, 6);
}

static void twice_in_one_batch_is_once_fresh(void **state)
{
    suite *s = *state;
    grv_block blocks[2];
    blocks_make(blocks, 2, 2);
    grv_block both[3] = {blocks[0], blocks[1], blocks[0]};
    grv_block_result results[5] = {0};
    grv_block_batch *batch = batch_open(s);
    batch_put(batch, both, 3);
    batch_put(batch, &blocks[1], 1);
    batch_put(batch, &blocks[0], 1);
    batch_commit(batch, results, 5);
    static const grv_block_outcome want[5] = {GRV_BLOCK_FRESH, GRV_BLOCK_FRESH, GRV_BLOCK_DUPLICATE,
                                              GRV_BLOCK_DUPLICATE, GRV_BLOCK_DUPLICATE};
    for (size_t i = 0; i < 5; i++) {
        assert_int_equal(results[i].outcome, want[i]);
        assert_int_equal(results[i].stored_size > 0, want[i] == GRV_BLOCK_FRESH);
    }
    suite_turn(s);
    grv_error error = GRV_ERROR_INIT;
    grv_block_stats stats;
    assert_grv_ok(grv_block_store_stats(NULL, s->store, &stats, &error));
    assert_int_equal(stats.blocks, 2);
    assert_blocks(s, blocks, 2);
    blocks_done(blocks, 2);
}

static void indices_follow_the_puts(void **state)
{
    suite *s = *state;
    enum { COUNT = 9 };
    grv_error error = GRV_ERROR_INIT;
    grv_block blocks[COUNT];
    grv_block_result results[COUNT] = {0};
    blocks_make(blocks, COUNT, 3);
    store_blocks(s, &blocks[4], 1, results);
    static const size_t calls[] = {3, 1, 0, 5};
    grv_block_batch *batch = batch_open(s);
    size_t put = 0;
    for (size_t i = 0; i < 4; i++) {
        size_t first = 12345;
        assert_grv_ok(grv_block_batch_put(NULL, batch, blocks + put, calls[i], &first, &error));
        assert_int_equal(first, calls[i] ? put : 12345);
        put += calls[i];
    }
    batch_commit(batch, results, COUNT);
    for (size_t i = 0; i < COUNT; i++) {
        assert_int_equal(results[i].outcome, i == 4 ? GRV_BLOCK_DUPLICATE : GRV_BLOCK_FRESH);
    }
    blocks_done(blocks, COUNT);
}

static void putting_borrows_the_bytes_for_the_call_only(void **state)
{
    suite *s = *state;
    grv_block blocks[4];
    grv_block_result results[4];
    blocks_make(blocks, 4, 4);
    grv_block_batch *batch = batch_open(s);
    for (size_t i = 0; i < 4; i++) {
        uint8_t copy[256];
        memcpy(copy, blocks[i].bytes.data, blocks[i].bytes.size);
        grv_block lent = {blocks[i].key, {copy, blocks[i].bytes.size}};
        batch_put(batch, &lent, 1);
        memset(copy, 0xee, sizeof copy);
    }
    batch_commit(batch, results, 4);
    suite_turn(s);
    assert_blocks(s, blocks, 4);
    blocks_done(blocks, 4);
}

static void get_sets_every_status(void **state)
{
    suite *s = *state;
    enum { COUNT = 6 };
    grv_error error = GRV_ERROR_INIT;
    grv_block blocks[COUNT];
    grv_block_result results[COUNT];
    blocks_make(blocks, COUNT, 5);
    grv_block stored[3] = {blocks[0], blocks[2], blocks[5]};
    store_blocks(s, stored, 3, results);
    suite_turn(s);
    uint8_t data[COUNT][256];
    grv_block_key keys[COUNT];
    grv_span spans[COUNT];
    grv_status statuses[COUNT];
    for (size_t i = 0; i < COUNT; i++) {
        keys[i] = blocks[i].key;
        spans[i] = (grv_span){data[i], keys[i].size};
        statuses[i] = GRV_INTERNAL;
    }
    assert_grv_status(grv_block_store_get(NULL, s->store, keys, spans, COUNT, statuses, &error),
                      GRV_NOT_FOUND);
    assert_names_key(&error, &keys[1]);
    for (size_t i = 0; i < COUNT; i++) {
        bool there = i == 0 || i == 2 || i == 5;
        assert_int_equal(statuses[i], there ? GRV_OK : GRV_NOT_FOUND);
        if (there) {
            assert_memory_equal(data[i], blocks[i].bytes.data, keys[i].size);
        }
    }
    blocks_done(blocks, COUNT);
}

static void a_block_under_a_wrong_key_is_corrupt(void **state)
{
    suite *s = *state;
    grv_error error = GRV_ERROR_INIT;
    grv_block blocks[4];
    grv_block_result results[2];
    blocks_make(blocks, 4, 6);
    blocks[1].key.digest.bytes[31] ^= 1;
    grv_block stored[2] = {blocks[0], blocks[1]};
    store_blocks(s, stored, 2, results);
    suite_turn(s);
    assert_grv_status(read_block(s, &blocks[1], &error), GRV_CORRUPT);
    assert_names_key(&error, &blocks[1].key);

    /* Among others the first failure by index is the one described, whichever kind it is. */
    uint8_t data[3][256];
    grv_status statuses[3];
    const size_t orders[2][3] = {{0, 1, 2}, {2, 0, 1}};
    for (size_t k = 0; k < 2; k++) {
        grv_block_key keys[3];
        grv_span spans[3];
        for (size_t i = 0; i < 3; i++) {
            keys[i] = blocks[orders[k][i]].key;
            spans[i] = (grv_span){data[i], keys[i].size};
        }
        assert_grv_status(grv_block_store_get(NULL, s->store, keys, spans, 3, statuses, &error),
                          k ? GRV_NOT_FOUND : GRV_CORRUPT);
        assert_names_key(&error, &keys[k ? 0 : 1]);
        for (size_t i = 0; i < 3; i++) {
            static const grv_status want[] = {GRV_OK, GRV_CORRUPT, GRV_NOT_FOUND};
            assert_int_equal(statuses[i], want[orders[k][i]]);
        }
    }
    blocks_done(blocks, 4);
}

static void a_batch_freed_without_commit_leaves_whole_blocks_or_none(void **state)
{
    suite *s = *state;
    grv_error error = GRV_ERROR_INIT;
    grv_block blocks[50];
    grv_block_result results[50] = {0};
    blocks_make(blocks, 50, 7);
    grv_block_batch *batch = batch_open(s);
    batch_put(batch, blocks, 50);
    grv_block_batch_free(batch);
    suite_turn(s);
    for (size_t i = 0; i < 50; i++) {
        /* What was on its way to a service may arrive between the two. */
        bool missing = is_missing(s, &blocks[i].key);
        grv_status status = read_block(s, &blocks[i], &error);
        assert_true(status == GRV_OK || (missing && status == GRV_NOT_FOUND));
    }
    store_blocks(s, blocks, 50, results);
    assert_blocks(s, blocks, 50);
    blocks_done(blocks, 50);
}

static void an_ordered_commit_is_visible_at_once_and_flush_keeps_it(void **state)
{
    suite *s = *state;
    grv_error error = GRV_ERROR_INIT;
    grv_block blocks[3];
    grv_block_result results[3];
    blocks_make(blocks, 3, 8);
    grv_block_batch *batch = batch_open(s);
    batch_put(batch, blocks, 3);
    assert_grv_ok(grv_block_batch_commit(NULL, batch, GRV_ORDERED, results, 3, &error));
    grv_block_batch_free(batch);
    assert_blocks(s, blocks, 3);
    assert_grv_ok(grv_block_store_flush(NULL, s->store, &error));
    suite_turn(s);
    assert_blocks(s, blocks, 3);
    blocks_done(blocks, 3);
}

static void an_empty_batch_commits(void **state)
{
    suite *s = *state;
    grv_error error = GRV_ERROR_INIT;
    batch_commit(batch_open(s), NULL, 0);
    grv_block_stats stats;
    assert_grv_ok(grv_block_store_stats(NULL, s->store, &stats, &error));
    assert_int_equal(stats.blocks, 0);
}

static const suite_test put_tests[] = {
    SUITE_TEST(blocks_come_back),
    SUITE_TEST(largest_blocks_come_back),
    SUITE_TEST(many_tiny_blocks),
    SUITE_TEST(second_put_is_a_duplicate),
    SUITE_TEST(twice_in_one_batch_is_once_fresh),
    SUITE_TEST(indices_follow_the_puts),
    SUITE_TEST(putting_borrows_the_bytes_for_the_call_only),
    SUITE_TEST(get_sets_every_status),
    SUITE_TEST(a_block_under_a_wrong_key_is_corrupt),
    SUITE_TEST(a_batch_freed_without_commit_leaves_whole_blocks_or_none),
    SUITE_TEST(an_ordered_commit_is_visible_at_once_and_flush_keeps_it),
    SUITE_TEST(an_empty_batch_commits),
};

/* One run of a test: its name for the report, and its suite. */
typedef struct suite_run {
    char name[160];
    suite suite;
} suite_run;

static void skip_it(void **state)
{
    (void)state;
    skip();
}

static void add_tests(const suite_test tests[], size_t count, const block_fixture *fixture,
                      bool reopen, struct CMUnitTest **next, suite_run **run)
{
    for (size_t i = 0; i < count; i++) {
        snprintf((*run)->name, sizeof(*run)->name, "%s%s: %s", fixture->name,
                 reopen ? ", reopened" : "", tests[i].name);
        (*run)->suite = (suite){.fixture = fixture, .reopen = reopen};
        **next = (struct CMUnitTest){(*run)->name, tests[i].run, suite_setup, suite_teardown,
                                     &(*run)->suite};
        if (fixture->s3 && !getenv("GRAVITON_TEST_S3")) {
            **next = (struct CMUnitTest){(*run)->name, skip_it, NULL, NULL, NULL};
        }
        (*next)++;
        (*run)++;
    }
}

int main(void)
{
    size_t put_count = sizeof put_tests / sizeof put_tests[0];
    size_t max =
        2 * block_fixture_count * (put_count + suite_index_test_count + suite_sweep_test_count);
    struct CMUnitTest *tests = calloc(max, sizeof *tests);
    suite_run *runs = calloc(max, sizeof *runs);
    if (!tests || !runs) {
        free(tests);
        free(runs);
        return 1;
    }
    struct CMUnitTest *next = tests;
    suite_run *run = runs;
    for (size_t i = 0; i < block_fixture_count; i++) {
        const block_fixture *fixture = &block_fixtures[i];
        for (int reopen = 0; reopen <= (fixture->persistent ? 1 : 0); reopen++) {
            add_tests(put_tests, put_count, fixture, reopen, &next, &run);
            add_tests(suite_index_tests, suite_index_test_count, fixture, reopen, &next, &run);
            add_tests(suite_sweep_tests, suite_sweep_test_count, fixture, reopen, &next, &run);
        }
    }
    int failed = _cmocka_run_group_tests("block_store", tests, (size_t)(next - tests), NULL, NULL);
    free(tests);
    free(runs);
    return failed;
}
