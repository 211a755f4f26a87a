/* SPDX-License-Identifier: Apache-2.0 */
/* The block_store suite: blocks set aside, and the sweep of what nobody needs any more. */
#include "block_store_suite.h"

/* Sets blocks aside; fails unless each was there exactly where `there` says so. */
static void set_aside(suite *s, const grv_block blocks[], size_t count, bool there)
{
    grv_error error = GRV_ERROR_INIT;
    grv_block_key keys[64];
    bool moved[64];
    assert_in_range(count, 1, 64);
    for (size_t i = 0; i < count; i++) {
        keys[i] = blocks[i].key;
        moved[i] = !there;
    }
    assert_grv_ok(grv_block_store_quarantine(NULL, s->store, keys, count, moved, &error));
    for (size_t i = 0; i < count; i++) {
        assert_int_equal(moved[i], there);
    }
}

static grv_block_sweep sweep(suite *s, bool dry_run)
{
    grv_error error = GRV_ERROR_INIT;
    grv_block_sweep found;
    memset(&found, 0xff, sizeof found);
    assert_grv_ok(grv_block_store_sweep(NULL, s->store, dry_run, &found, &error));
    return found;
}

static void sweep_is(grv_block_sweep got, uint64_t temporary, uint64_t temporary_bytes,
                     uint64_t aside)
{
    assert_int_equal(got.temporary, temporary);
    assert_int_equal(got.temporary_bytes, temporary_bytes);
    assert_int_equal(got.aside, aside);
    assert_int_equal(got.aside_bytes > 0, aside > 0);
}

static void blocks_set_aside_are_missing_and_a_put_heals_them(void **state)
{
    suite *s = *state;
    enum { COUNT = 40 };
    grv_error error = GRV_ERROR_INIT;
    grv_block blocks[COUNT];
    grv_block_result results[COUNT];
    blocks_make(blocks, COUNT, 70);
    store_blocks(s, blocks, COUNT, results);
    set_aside(s, blocks, 15, true);
    suite_turn(s);
    for (size_t i = 0; i < COUNT; i++) {
        assert_int_equal(is_missing(s, &blocks[i].key), i < 15);
        assert_grv_status(read_block(s, &blocks[i], &error), i < 15 ? GRV_NOT_FOUND : GRV_OK);
    }
    grv_block_stats stats;
    assert_grv_ok(grv_block_store_stats(NULL, s->store, &stats, &error));
    assert_int_equal(stats.blocks, COUNT - 15);
    grv_block_cursor *cursor = NULL;
    size_t listed = 0;
    size_t count = 1;
    assert_grv_ok(grv_block_store_open_list(NULL, s->store, NULL, &cursor, &error));
    while (count > 0) {
        grv_block_entry entries[COUNT];
        assert_grv_ok(grv_block_cursor_next(NULL, cursor, entries, COUNT, &count, &error));
        listed += count;
    }
    grv_block_cursor_free(cursor);
    assert_int_equal(listed, COUNT - 15);
    set_aside(s, blocks, 15, false); /* they are not there any more */
    store_blocks(s, blocks, COUNT, results);
    suite_turn(s);
    assert_blocks(s, blocks, COUNT);
    for (size_t i = 0; i < COUNT; i++) {
        assert_int_equal(results[i].outcome, i < 15 ? GRV_BLOCK_FRESH : GRV_BLOCK_DUPLICATE);
    }
    blocks_done(blocks, COUNT);
}

static void a_sweep_takes_copies_of_healed_blocks_alone(void **state)
{
    suite *s = *state;
    enum { COUNT = 10 };
    grv_block blocks[COUNT];
    grv_block_result results[COUNT];
    blocks_make(blocks, COUNT, 71);
    sweep_is(sweep(s, false), 0, 0, 0);
    store_blocks(s, blocks, COUNT, results);
    set_aside(s, blocks, 6, true);
    suite_turn(s);
    sweep_is(sweep(s, true), 0, 0, 0);
    sweep_is(sweep(s, false), 0, 0, 0);
    store_blocks(s, blocks, 4, results); /* two of the six stay missing */
    suite_turn(s);
    sweep_is(sweep(s, true), 0, 0, 4);
    sweep_is(sweep(s, true), 0, 0, 4);
    grv_block_sweep would = sweep(s, true);
    grv_block_sweep did = sweep(s, false);
    sweep_is(did, 0, 0, 4);
    assert_int_equal(did.aside_bytes, would.aside_bytes);
    suite_turn(s);
    sweep_is(sweep(s, false), 0, 0, 0);
    store_blocks(s, &blocks[4], 2, results);
    assert_blocks(s, blocks, COUNT);
    sweep_is(sweep(s, false), 0, 0, 2);
    assert_blocks(s, blocks, COUNT);
    blocks_done(blocks, COUNT);
}

/* The same block twice: the second copy takes the first one's place. */
static void a_block_can_be_set_aside_again(void **state)
{
    suite *s = *state;
    grv_block block = block_make(GRV_HASH_SHA256, RANDOM, 72, 3000);
    grv_block_result result;
    for (int i = 0; i < 3; i++) {
        store_blocks(s, &block, 1, &result);
        assert_int_equal(result.outcome, GRV_BLOCK_FRESH);
        suite_turn(s);
        set_aside(s, &block, 1, true);
        suite_turn(s);
        assert_true(is_missing(s, &block.key));
    }
    store_blocks(s, &block, 1, &result);
    sweep_is(sweep(s, false), 0, 0, 1);
    blocks_done(&block, 1);
}

static void a_block_under_a_wrong_key_is_set_aside_and_healed(void **state)
{
    suite *s = *state;
    grv_error error = GRV_ERROR_INIT;
    grv_block right = block_make(GRV_HASH_BLAKE3, RANDOM, 73, 5000);
    grv_block wrong = block_make(GRV_HASH_BLAKE3, RANDOM, 74, 5000);
    grv_block planted = {.key = right.key, .bytes = wrong.bytes};
    grv_block_result result;
    store_blocks(s, &planted, 1, &result);
    suite_turn(s);
    assert_grv_status(read_block(s, &right, &error), GRV_CORRUPT);
    set_aside(s, &right, 1, true);
    store_blocks(s, &right, 1, &result);
    assert_int_equal(result.outcome, GRV_BLOCK_FRESH);
    suite_turn(s);
    assert_blocks(s, &right, 1);
    sweep_is(sweep(s, false), 0, 0, 1);
    blocks_done(&right, 1);
    blocks_done(&wrong, 1);
}

static void a_sweep_takes_what_killed_puts_left(void **state)
{
    suite *s = *state;
    grv_error error = GRV_ERROR_INIT;
    grv_block blocks[5];
    grv_block_result results[5];
    grv_block_sweep left = {0};
    blocks_make(blocks, 5, 75);
    store_blocks(s, blocks, 5, results);
    if (s->fixture->leave) {
        assert_grv_ok(s->fixture->leave(s->dir, &left, &error));
        assert_true(left.temporary > 0);
    }
    suite_turn(s);
    sweep_is(sweep(s, true), left.temporary, left.temporary_bytes, 0);
    sweep_is(sweep(s, false), left.temporary, left.temporary_bytes, 0);
    sweep_is(sweep(s, false), 0, 0, 0);
    suite_turn(s);
    assert_blocks(s, blocks, 5);
    store_blocks(s, blocks, 5, results); /* and puts go on */
    assert_int_equal(results[4].outcome, GRV_BLOCK_DUPLICATE);
    blocks_done(blocks, 5);
}

static void malformed_and_given_up_calls_move_nothing(void **state)
{
    suite *s = *state;
    grv_error error = GRV_ERROR_INIT;
    grv_block block = block_make(GRV_HASH_BLAKE3, TEXT, 76, 700);
    grv_block_result result;
    store_blocks(s, &block, 1, &result);
    grv_block_key bad = block.key;
    bad.size = 0;
    bool moved = true;
    assert_grv_status(grv_block_store_quarantine(NULL, s->store, &bad, 1, &moved, &error),
                      GRV_INVALID_ARGUMENT);
    assert_grv_ok(grv_block_store_quarantine(NULL, s->store, &bad, 0, &moved, &error));
    assert_grv_status(grv_block_store_quarantine(NULL, s->store, &block.key, GRV_BLOCK_CALL_MAX + 1,
                                                 &moved, &error),
                      GRV_INVALID_ARGUMENT);
    grv_cancel cancel = {0};
    grv_cancel_raise(&cancel);
    const grv_call call = {.cancel = &cancel};
    grv_block_sweep found = {.aside = 77};
    assert_grv_status(grv_block_store_quarantine(&call, s->store, &block.key, 1, &moved, &error),
                      GRV_CANCELLED);
    assert_grv_status(grv_block_store_sweep(&call, s->store, false, &found, &error), GRV_CANCELLED);
    assert_int_equal(found.aside, 77);
    suite_turn(s);
    assert_blocks(s, &block, 1);
    blocks_done(&block, 1);
}

const suite_test suite_sweep_tests[] = {
    SUITE_TEST(blocks_set_aside_are_missing_and_a_put_heals_them),
    SUITE_TEST(a_sweep_takes_copies_of_healed_blocks_alone),
    SUITE_TEST(a_block_can_be_set_aside_again),
    SUITE_TEST(a_block_under_a_wrong_key_is_set_aside_and_healed),
    SUITE_TEST(a_sweep_takes_what_killed_puts_left),
    SUITE_TEST(malformed_and_given_up_calls_move_nothing),
};
const size_t suite_sweep_test_count = sizeof suite_sweep_tests / sizeof suite_sweep_tests[0];
