/* SPDX-License-Identifier: Apache-2.0 */
/* Layer cache: what stays when there is no room for all. */
#include "cache_rig.h"

enum { SIZE = 4096, ROOM = 240 }; /* blocks of 4 KiB that the smallest cache surely has room for */

/* The segments of the smallest cache hold 16 blocks each. */
static void the_oldest_goes_first(void **state)
{
    (void)state;
    cache_rig rig;
    rig_begin(&rig);
    for (uint64_t i = 0; i < ROOM - 16; i++) {
        rig_store(&rig, i, SIZE);
        rig_read(&rig, i, SIZE);
    }
    assert_int_equal(rig_figures(&rig).evictions, 0);
    for (uint64_t i = 0; i < ROOM - 16; i++) { /* all of it is there while there is room */
        assert_true(rig_hits(&rig, i, SIZE));
    }
    for (uint64_t i = ROOM - 16; i < ROOM + 64; i++) {
        rig_store(&rig, i, SIZE);
        rig_read(&rig, i, SIZE);
    }
    grv_cache_figures figures = rig_figures(&rig);
    assert_true(figures.evictions > 0);
    assert_int_equal(figures.evicted_bytes, figures.evictions * 16 * SIZE);
    uint64_t gone = figures.evictions * 16;
    assert_in_range(gone, 64, 128);
    for (uint64_t i = ROOM + 64; i-- > 200;) { /* the younger half: reading it changes nothing */
        if (!rig_hits(&rig, i, SIZE)) {
            fail_msg("block %d is gone", (int)i);
        }
    }
    assert_false(rig_hits(&rig, 0, SIZE));
    rig_assert_bound(&rig, RIG_SIZE);
    rig_end(&rig);
}

/* How many of `count` blocks from `first` on are hits; they are read. */
static size_t count_hits(cache_rig *rig, uint64_t first, size_t count)
{
    size_t hits = 0;
    for (uint64_t i = 0; i < count; i++) {
        hits += rig_hits(rig, first + i, SIZE);
    }
    return hits;
}

static void a_scan_leaves_what_is_wanted_again(void **state)
{
    (void)state;
    enum { HOT = 120, SCAN = 4000, FAR = 100000 };
    cache_rig rig;
    rig_begin(&rig);
    for (uint64_t i = 0; i < HOT; i++) {
        rig_store(&rig, i, SIZE);
    }
    for (uint64_t i = 0; i < 2 * (uint64_t)SCAN; i++) {
        rig_store(&rig, FAR + i, SIZE);
    }
    /* Wanted again and again beside other reads, they come to stay. */
    for (uint64_t i = 0; i < SCAN; i++) {
        rig_read(&rig, i % HOT, SIZE);
        rig_read(&rig, FAR + i, SIZE);
    }
    assert_true(count_hits(&rig, 0, HOT) >= HOT * 9 / 10);
    /* A scan of sixteen times the cache, in which nothing of it is read: still there. */
    for (uint64_t i = SCAN; i < 2 * (uint64_t)SCAN; i++) {
        assert_false(rig_hits(&rig, FAR + i, SIZE));
    }
    assert_true(count_hits(&rig, 0, HOT) >= HOT * 9 / 10);
    rig_assert_bound(&rig, RIG_SIZE);
    rig_end(&rig);
}

/* What was popular gives way to what is. */
static void a_new_set_takes_the_place_of_an_old_one(void **state)
{
    (void)state;
    enum { SET = 150 };
    cache_rig rig;
    rig_begin(&rig);
    for (uint64_t i = 0; i < 4 * (uint64_t)SET; i++) {
        rig_store(&rig, i, SIZE);
    }
    for (uint64_t set = 0; set < 4; set++) {
        for (int round = 0; round < 12; round++) {
            count_hits(&rig, set * SET, SET);
        }
        assert_true(count_hits(&rig, set * SET, SET) >= SET * 9 / 10);
    }
    assert_true(count_hits(&rig, 0, SET) < SET / 2);
    rig_end(&rig);
}

/* A loop over more than there is room for keeps a part of it, where a plain queue has no hit. */
static void pure_hits_write_nothing(void **state)
{
    (void)state;
    cache_rig rig;
    rig_begin(&rig);
    for (uint64_t i = 0; i < ROOM + 100; i++) {
        rig_store(&rig, i, SIZE);
        rig_read(&rig, i, SIZE);
    }
    for (int round = 0; round < 20; round++) {
        count_hits(&rig, 150, 150);
    }
    uint64_t kept = rig_figures(&rig).kept;
    for (int round = 0; round < 20; round++) {
        assert_int_equal(count_hits(&rig, 150, 150), 150);
    }
    assert_int_equal(rig_figures(&rig).kept, kept);
    rig_end(&rig);
}

/* Blocks so small that the index is full before the segments are. */
static void tiny_blocks_fill_the_index_only(void **state)
{
    (void)state;
    enum { TINY = 64, COUNT = 5000 };
    cache_rig rig;
    size_t hits = 0;
    rig_begin(&rig);
    for (uint64_t i = 0; i < COUNT; i++) {
        rig_store(&rig, i, TINY);
        rig_read(&rig, i, TINY);
    }
    for (uint64_t i = COUNT; i-- > COUNT - 100;) {
        hits += rig_hits(&rig, i, TINY);
    }
    assert_in_range(hits, 80, 100);
    assert_int_equal(rig_figures(&rig).corrupt, 0);
    rig_assert_bound(&rig, RIG_SIZE);
    rig_end(&rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_oldest_goes_first),
        cmocka_unit_test(a_scan_leaves_what_is_wanted_again),
        cmocka_unit_test(a_new_set_takes_the_place_of_an_old_one),
        cmocka_unit_test(pure_hits_write_nothing),
        cmocka_unit_test(tiny_blocks_fill_the_index_only),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
