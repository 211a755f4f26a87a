/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The block_store suite, second half: missing, remove, list and stats; the superblock; what the
 * dispatchers refuse; threads.
 */
#include "block_store_suite.h"

#include <pthread.h>

/* --- Missing, remove, list, stats --- */

static void missing_tells_each_key(void **state)
{
    suite *s = *state;
    enum { COUNT = 40 };
    grv_error error = GRV_ERROR_INIT;
    grv_block blocks[COUNT];
    grv_block_result results[COUNT];
    grv_block_key keys[COUNT];
    bool missing[COUNT];
    blocks_make(blocks, COUNT, 20);
    grv_block_batch *batch = batch_open(s);
    for (size_t i = 0; i < COUNT; i++) {
        keys[i] = blocks[i].key;
        missing[i] = i % 3 == 0;
        if (i % 3) {
            batch_put(batch, &blocks[i], 1);
        }
    }
    batch_commit(batch, results, COUNT - (COUNT + 2) / 3);
    suite_turn(s);
    for (size_t i = 0; i < COUNT; i++) {
        missing[i] = !missing[i];
    }
    assert_grv_ok(grv_block_store_missing(NULL, s->store, keys, COUNT, missing, &error));
    for (size_t i = 0; i < COUNT; i++) {
        assert_int_equal(missing[i], i % 3 == 0);
    }
    blocks_done(blocks, COUNT);
}

static void keys_differ_by_size_and_algorithm_too(void **state)
{
    suite *s = *state;
    grv_error error = GRV_ERROR_INIT;
    grv_block block = block_make(GRV_HASH_BLAKE3, TEXT, 3, 500);
    grv_block_result result;
    store_blocks(s, &block, 1, &result);
    suite_turn(s);
    grv_block other = block;
    other.key.size = 499;
    assert_true(is_missing(s, &other.key));
    assert_grv_status(read_block(s, &other, &error), GRV_NOT_FOUND);
    other = block;
    other.key.digest.hash = GRV_HASH_SHA256;
    assert_true(is_missing(s, &other.key));
    assert_grv_status(read_block(s, &other, &error), GRV_NOT_FOUND);
    assert_false(is_missing(s, &block.key));
    blocks_done(&block, 1);
}

static void removed_blocks_are_gone(void **state)
{
    suite *s = *state;
    grv_error error = GRV_ERROR_INIT;
    grv_block blocks[7];
    grv_block_result results[7];
    blocks_make(blocks, 7, 21);
    store_blocks(s, blocks, 6, results);
    grv_block_key keys[4] = {blocks[1].key, blocks[6].key, blocks[4].key, blocks[0].key};
    bool removed[4] = {false, true, false, false};
    assert_grv_ok(grv_block_store_remove(NULL, s->store, keys, 4, removed, &error));
    assert_true(removed[0] && !removed[1] && removed[2] && removed[3]);
    suite_turn(s);
    for (size_t i = 0; i < 7; i++) {
        bool gone = i == 0 || i == 1 || i == 4 || i == 6;
        assert_int_equal(is_missing(s, &blocks[i].key), gone);
        assert_grv_status(read_block(s, &blocks[i], &error), gone ? GRV_NOT_FOUND : GRV_OK);
    }
    assert_grv_ok(grv_block_store_remove(NULL, s->store, keys, 4, removed, &error));
    assert_false(removed[0] || removed[1] || removed[2] || removed[3]);
    store_blocks(s, blocks, 7, results);
    for (size_t i = 0; i < 7; i++) {
        bool gone = i == 0 || i == 1 || i == 4 || i == 6;
        assert_int_equal(results[i].outcome, gone ? GRV_BLOCK_FRESH : GRV_BLOCK_DUPLICATE);
    }
    assert_blocks(s, blocks, 7);
    blocks_done(blocks, 7);
}

static int block_order(const void *a, const void *b)
{
    return grv_block_key_compare(&((const grv_block *)a)->key, &((const grv_block *)b)->key);
}

/* Lists everything after `after` in pages of `page`; returns how many, at most `max`. */
static size_t list_all(suite *s, const grv_block_key *after, size_t page, grv_block_entry entries[],
                       size_t max)
{
    grv_error error = GRV_ERROR_INIT;
    grv_block_cursor *cursor = NULL;
    assert_grv_ok(grv_block_store_open_list(NULL, s->store, after, &cursor, &error));
    size_t count = 0;
    size_t got = 1;
    while (got > 0) {
        grv_block_entry some[64];
        assert_true(page <= 64);
        assert_grv_ok(grv_block_cursor_next(NULL, cursor, some, page, &got, &error));
        assert_true(got <= page && count + got <= max);
        if (got) {
            memcpy(entries + count, some, got * sizeof some[0]);
        }
        count += got;
    }
    grv_block_entry one;
    got = 7;
    assert_grv_ok(grv_block_cursor_next(NULL, cursor, &one, 1, &got, &error));
    assert_int_equal(got, 0);
    grv_block_cursor_free(cursor);
    return count;
}

static void lists_are_in_key_order_from_anywhere(void **state)
{
    suite *s = *state;
    enum { COUNT = 150 };
    grv_block blocks[COUNT];
    grv_block_result results[COUNT];
    grv_block_entry entries[COUNT];
    assert_int_equal(list_all(s, NULL, 3, entries, COUNT), 0);
    blocks_make(blocks, COUNT, 22);
    store_blocks(s, blocks, COUNT, results);
    uint64_t stored = 0;
    for (size_t i = 0; i < COUNT; i++) {
        stored += results[i].stored_size;
    }
    suite_turn(s);
    qsort(blocks, COUNT, sizeof blocks[0], block_order);
    static const size_t pages[] = {1, 7, 64};
    for (size_t k = 0; k < 3; k++) {
        assert_int_equal(list_all(s, NULL, pages[k], entries, COUNT), COUNT);
        uint64_t listed = 0;
        for (size_t i = 0; i < COUNT; i++) {
            assert_int_equal(grv_block_key_compare(&entries[i].key, &blocks[i].key), 0);
            listed += entries[i].stored_size;
        }
        assert_int_equal(listed, stored);
    }
    for (size_t i = 0; i < COUNT; i += 29) {
        size_t count = list_all(s, &blocks[i].key, 64, entries, COUNT);
        assert_int_equal(count, COUNT - 1 - i);
        assert_int_equal(grv_block_key_compare(&entries[0].key, &blocks[i + 1].key), 0);
        /* A key that isn't there, just below this one: the list begins with this one. */
        grv_block_key below = blocks[i].key;
        below.size--;
        count = list_all(s, &below, 64, entries, COUNT);
        assert_int_equal(count, COUNT - i);
        assert_int_equal(grv_block_key_compare(&entries[0].key, &blocks[i].key), 0);
    }
    assert_int_equal(list_all(s, &blocks[COUNT - 1].key, 64, entries, COUNT), 0);
    blocks_done(blocks, COUNT);
}

static void a_list_shows_what_stays_once_while_others_come_and_go(void **state)
{
    suite *s = *state;
    enum { STAY = 60, GO = 20, COME = 20, ALL = STAY + GO + COME };
    grv_error error = GRV_ERROR_INIT;
    grv_block blocks[ALL];
    grv_block_result results[ALL];
    unsigned seen[ALL] = {0};
    blocks_make(blocks, ALL, 23);
    store_blocks(s, blocks, STAY + GO, results);
    grv_block_cursor *cursor = NULL;
    assert_grv_ok(grv_block_store_open_list(NULL, s->store, NULL, &cursor, &error));
    size_t got = 0;
    for (size_t page = 0; page == 0 || got > 0; page++) {
        grv_block_entry entries[10];
        assert_grv_ok(grv_block_cursor_next(NULL, cursor, entries, 10, &got, &error));
        for (size_t i = 0; i < got; i++) {
            size_t k = 0;
            while (k < ALL && grv_block_key_compare(&entries[i].key, &blocks[k].key) != 0) {
                k++;
            }
            assert_in_range(k, 0, ALL - 1);
            seen[k]++;
        }
        if (page < GO) {
            bool removed = false;
            const grv_block_key *key = &blocks[STAY + page].key;
            assert_grv_ok(grv_block_store_remove(NULL, s->store, key, 1, &removed, &error));
            assert_true(removed);
            store_blocks(s, &blocks[STAY + GO + page], 1, results);
        }
    }
    grv_block_cursor_free(cursor);
    for (size_t k = 0; k < ALL; k++) {
        assert_in_range(seen[k], k < STAY ? 1 : 0, 1);
    }
    blocks_done(blocks, ALL);
}

static void stats_are_counted(void **state)
{
    suite *s = *state;
    enum { COUNT = 30 };
    grv_error error = GRV_ERROR_INIT;
    grv_block blocks[COUNT];
    grv_block_result results[COUNT];
    grv_block_stats stats = {1, 1, 1};
    assert_grv_ok(grv_block_store_stats(NULL, s->store, &stats, &error));
    assert_true(stats.blocks == 0 && stats.raw_bytes == 0 && stats.stored_bytes == 0);
    blocks_make(blocks, COUNT, 24);
    store_blocks(s, blocks, COUNT, results);
    uint64_t raw = 0;
    uint64_t stored = 0;
    for (size_t i = 0; i < COUNT; i++) {
        raw += blocks[i].key.size;
        stored += results[i].stored_size;
    }
    store_blocks(s, blocks, COUNT, results);
    suite_turn(s);
    assert_grv_ok(grv_block_store_stats(NULL, s->store, &stats, &error));
    assert_int_equal(stats.blocks, COUNT);
    assert_int_equal(stats.raw_bytes, raw);
    assert_int_equal(stats.stored_bytes, stored);
    bool removed = false;
    assert_grv_ok(grv_block_store_remove(NULL, s->store, &blocks[9].key, 1, &removed, &error));
    assert_grv_ok(grv_block_store_stats(NULL, s->store, &stats, &error));
    assert_int_equal(stats.blocks, COUNT - 1);
    assert_int_equal(stats.raw_bytes, raw - blocks[9].key.size);
    assert_true(stats.stored_bytes < stored);
    blocks_done(blocks, COUNT);
}

/* --- The superblock --- */

static grv_status superblock_set(suite *s, const char *expected, const char *superblock)
{
    grv_error error = GRV_ERROR_INIT;
    grv_bytes want = grv_bytes_of(expected, expected ? strlen(expected) : 0);
    return grv_block_store_superblock_set(NULL, s->store, expected ? &want : NULL,
                                          grv_bytes_of(superblock, strlen(superblock)), &error);
}

static void assert_superblock(suite *s, const char *want)
{
    grv_error error = GRV_ERROR_INIT;
    grv_buffer out;
    grv_buffer_init(&out, GRV_SUPERBLOCK_MAX + 2);
    assert_grv_ok(grv_buffer_append(&out, grv_bytes_of("> ", 2), &error));
    if (want) {
        assert_grv_ok(grv_block_store_superblock_get(NULL, s->store, &out, &error));
        assert_int_equal(out.size, 2 + strlen(want));
        assert_memory_equal(out.data + 2, want, strlen(want));
    } else {
        assert_grv_status(grv_block_store_superblock_get(NULL, s->store, &out, &error),
                          GRV_NOT_FOUND);
        assert_int_equal(out.size, 2);
    }
    assert_memory_equal(out.data, "> ", 2);
    grv_buffer_done(&out);
}

static void the_superblock_is_compared_and_set(void **state)
{
    suite *s = *state;
    assert_superblock(s, NULL);
    assert_grv_status(superblock_set(s, "{1}", "{2}"), GRV_CONFLICT);
    assert_superblock(s, NULL);
    assert_grv_status(superblock_set(s, NULL, "{1}"), GRV_OK);
    suite_turn(s);
    assert_superblock(s, "{1}");
    assert_grv_status(superblock_set(s, NULL, "{2}"), GRV_CONFLICT);
    assert_grv_status(superblock_set(s, "{2}", "{3}"), GRV_CONFLICT);
    assert_grv_status(superblock_set(s, "{1", "{3}"), GRV_CONFLICT);
    assert_grv_status(superblock_set(s, "{1} ", "{3}"), GRV_CONFLICT);
    suite_turn(s);
    assert_superblock(s, "{1}");
    assert_grv_status(superblock_set(s, "{1}", "{a longer one}"), GRV_OK);
    suite_turn(s);
    assert_superblock(s, "{a longer one}");
    assert_grv_status(superblock_set(s, "{a longer one}", "{4}"), GRV_OK);
    suite_turn(s);
    assert_superblock(s, "{4}");
    grv_error error = GRV_ERROR_INIT;
    grv_block_stats stats;
    assert_grv_ok(grv_block_store_stats(NULL, s->store, &stats, &error));
    assert_int_equal(stats.blocks, 0);
}

static void a_superblock_has_bounds(void **state)
{
    suite *s = *state;
    grv_error error = GRV_ERROR_INIT;
    static char text[GRV_SUPERBLOCK_MAX + 2];
    memset(text, 'x', sizeof text - 1);
    assert_grv_status(superblock_set(s, NULL, ""), GRV_INVALID_ARGUMENT);
    assert_grv_status(superblock_set(s, NULL, text), GRV_INVALID_ARGUMENT);
    text[GRV_SUPERBLOCK_MAX] = '\0';
    assert_grv_status(superblock_set(s, NULL, text), GRV_OK);
    suite_turn(s);
    assert_superblock(s, text);
    grv_buffer small;
    grv_buffer_init(&small, GRV_SUPERBLOCK_MAX - 1);
    assert_grv_status(grv_block_store_superblock_get(NULL, s->store, &small, &error),
                      GRV_LIMIT_EXCEEDED);
    assert_int_equal(small.size, 0);
    grv_buffer_done(&small);
}

static void blocks_without_a_superblock_are_never_adopted(void **state)
{
    suite *s = *state;
    grv_error error = GRV_ERROR_INIT;
    grv_block block = block_make(GRV_HASH_BLAKE3, TEXT, 25, 100);
    grv_block_result result;
    store_blocks(s, &block, 1, &result);
    suite_turn(s);
    assert_grv_status(superblock_set(s, NULL, "{1}"), GRV_CONFLICT);
    assert_superblock(s, NULL);
    bool removed = false;
    assert_grv_ok(grv_block_store_remove(NULL, s->store, &block.key, 1, &removed, &error));
    assert_true(removed);
    assert_grv_status(superblock_set(s, NULL, "{1}"), GRV_OK);
    store_blocks(s, &block, 1, &result);
    suite_turn(s);
    assert_superblock(s, "{1}");
    assert_grv_status(superblock_set(s, "{1}", "{2}"), GRV_OK);
    assert_blocks(s, &block, 1);
    blocks_done(&block, 1);
}

/* --- What is refused --- */

static void a_batch_is_bounded(void **state)
{
    suite *s = *state;
    enum { CALL = 4096 };
    grv_error error = GRV_ERROR_INIT;
    grv_block block = block_make(GRV_HASH_BLAKE3, TEXT, 26, 10);
    grv_block more = block_make(GRV_HASH_BLAKE3, TEXT, 27, 10);
    static grv_block blocks[CALL];
    static grv_block_result results[GRV_BLOCK_BATCH_MAX];
    for (size_t i = 0; i < CALL; i++) {
        blocks[i] = block;
    }
    grv_block_batch *batch = batch_open(s);
    for (size_t i = 0; i < GRV_BLOCK_BATCH_MAX / CALL - 1; i++) {
        batch_put(batch, blocks, CALL);
    }
    batch_put(batch, blocks, CALL - 1);
    grv_block two[2] = {more, more};
    size_t first = 5;
    assert_grv_status(grv_block_batch_put(NULL, batch, two, 2, &first, &error), GRV_LIMIT_EXCEEDED);
    assert_int_equal(first, 5);
    batch_put(batch, &block, 1);
    assert_grv_status(grv_block_batch_put(NULL, batch, &more, 1, NULL, &error), GRV_LIMIT_EXCEEDED);
    batch_commit(batch, results, GRV_BLOCK_BATCH_MAX);
    for (size_t i = 0; i < GRV_BLOCK_BATCH_MAX; i++) {
        assert_int_equal(results[i].outcome, i ? GRV_BLOCK_DUPLICATE : GRV_BLOCK_FRESH);
    }
    suite_turn(s);
    assert_blocks(s, &block, 1);
    assert_true(is_missing(s, &more.key));
    blocks_done(&block, 1);
    blocks_done(&more, 1);
}

static void a_batch_commits_once(void **state)
{
    suite *s = *state;
    grv_error error = GRV_ERROR_INIT;
    grv_block block = block_make(GRV_HASH_BLAKE3, TEXT, 28, 10);
    grv_block_result results[2];
    grv_block_batch *batch = batch_open(s);
    batch_put(batch, &block, 1);
    assert_grv_status(grv_block_batch_commit(NULL, batch, GRV_DURABLE, results, 2, &error),
                      GRV_INVALID_ARGUMENT);
    assert_grv_ok(grv_block_batch_commit(NULL, batch, GRV_DURABLE, results, 1, &error));
    assert_grv_status(grv_block_batch_commit(NULL, batch, GRV_DURABLE, results, 1, &error),
                      GRV_INVALID_ARGUMENT);
    assert_grv_status(grv_block_batch_put(NULL, batch, &block, 1, NULL, &error),
                      GRV_INVALID_ARGUMENT);
    grv_block_batch_free(batch);
    blocks_done(&block, 1);
}

static void malformed_calls_are_refused(void **state)
{
    suite *s = *state;
    grv_error error = GRV_ERROR_INIT;
    grv_block block = block_make(GRV_HASH_BLAKE3, TEXT, 29, 10);
    uint8_t data[10];
    grv_span span = {data, 9};
    grv_status status;
    assert_grv_status(grv_block_store_get(NULL, s->store, &block.key, &span, 1, &status, &error),
                      GRV_INVALID_ARGUMENT);
    grv_block_key key = block.key;
    key.size = 0;
    bool missing;
    assert_grv_status(grv_block_store_missing(NULL, s->store, &key, 1, &missing, &error),
                      GRV_INVALID_ARGUMENT);
    static grv_block_key keys[GRV_BLOCK_CALL_MAX + 1];
    assert_grv_status(
        grv_block_store_missing(NULL, s->store, keys, GRV_BLOCK_CALL_MAX + 1, &missing, &error),
        GRV_INVALID_ARGUMENT);
    grv_block_batch *batch = batch_open(s);
    grv_block shorter = {block.key, {block.bytes.data, 9}};
    assert_grv_status(grv_block_batch_put(NULL, batch, &shorter, 1, NULL, &error),
                      GRV_INVALID_ARGUMENT);
    if (!(s->store->capabilities & GRV_BLOCK_CAP_NOTES)) {
        assert_grv_status(grv_block_batch_note(NULL, batch, block.bytes, &error), GRV_UNSUPPORTED);
    }
    grv_block_batch_free(batch);
    blocks_done(&block, 1);
}

/* --- Threads --- */

enum { THREADS = 8, SHARED = 120, WINDOW = 60, ROUNDS = 3 };

typedef struct worker {
    suite *suite;
    const grv_block *blocks; /* SHARED of them */
    grv_block_batch *batch;  /* one for all, or NULL: each its own */
    size_t number;
    size_t firsts[ROUNDS];
    unsigned *fresh; /* per block, atomic: how often a commit called it fresh */
    grv_status status;
    grv_error error;
} worker;

/* The blocks a worker puts overlap half with the next worker's. */
static size_t worker_block(const worker *w, size_t i)
{
    return (w->number * (WINDOW / 2) + i) % SHARED;
}

static grv_status worker_put(worker *w, grv_block_batch *batch, size_t round)
{
    grv_block some[WINDOW / ROUNDS];
    for (size_t i = 0; i < WINDOW / ROUNDS; i++) {
        some[i] = w->blocks[worker_block(w, round * (WINDOW / ROUNDS) + i)];
    }
    return grv_block_batch_put(NULL, batch, some, WINDOW / ROUNDS, &w->firsts[round], &w->error);
}

static grv_status worker_check(worker *w)
{
    for (size_t i = 0; i < WINDOW; i++) {
        const grv_block *block = &w->blocks[worker_block(w, i)];
        uint8_t data[256];
        grv_span span = {data, block->key.size};
        grv_status one;
        grv_status status =
            grv_block_store_get(NULL, w->suite->store, &block->key, &span, 1, &one, &w->error);
        if (status) {
            return status;
        }
        bool missing = true;
        status =
            grv_block_store_missing(NULL, w->suite->store, &block->key, 1, &missing, &w->error);
        if (status || missing || memcmp(data, block->bytes.data, block->key.size) != 0) {
            return status ? status : GRV_INTERNAL;
        }
    }
    return GRV_OK;
}

/* A worker with a batch of its own: put, commit, and read what it committed. */
static grv_status worker_own_batch(worker *w)
{
    grv_block_batch *batch = NULL;
    grv_block_result results[WINDOW];
    grv_status status = grv_block_store_open_batch(NULL, w->suite->store, &batch, &w->error);
    for (size_t round = 0; !status && round < ROUNDS; round++) {
        status = worker_put(w, batch, round);
    }
    if (!status) {
        status = grv_block_batch_commit(NULL, batch, GRV_DURABLE, results, WINDOW, &w->error);
    }
    grv_block_batch_free(batch);
    for (size_t i = 0; !status && i < WINDOW; i++) {
        if (results[i].outcome == GRV_BLOCK_FRESH) {
            __atomic_fetch_add(&w->fresh[worker_block(w, i)], 1, __ATOMIC_RELAXED);
        }
    }
    return status ? status : worker_check(w);
}

static void *worker_run(void *argument)
{
    worker *w = argument;
    if (!w->batch) {
        w->status = worker_own_batch(w);
        return NULL;
    }
    for (size_t round = 0; !w->status && round < ROUNDS; round++) {
        w->status = worker_put(w, w->batch, round);
    }
    return NULL;
}

static void workers_run(suite *s, worker workers[THREADS], const grv_block blocks[],
                        grv_block_batch *batch, unsigned fresh[])
{
    pthread_t threads[THREADS];
    for (size_t i = 0; i < THREADS; i++) {
        workers[i] =
            (worker){.suite = s, .blocks = blocks, .batch = batch, .number = i, .fresh = fresh};
        assert_int_equal(pthread_create(&threads[i], NULL, worker_run, &workers[i]), 0);
    }
    for (size_t i = 0; i < THREADS; i++) {
        pthread_join(threads[i], NULL);
    }
    for (size_t i = 0; i < THREADS; i++) {
        grv_error error = workers[i].error;
        assert_grv_ok(workers[i].status);
    }
}

static void batches_at_once_agree(void **state)
{
    suite *s = *state;
    grv_error error = GRV_ERROR_INIT;
    grv_block blocks[SHARED];
    unsigned fresh[SHARED] = {0};
    worker workers[THREADS];
    blocks_make(blocks, SHARED, 30);
    workers_run(s, workers, blocks, NULL, fresh);
    suite_turn(s);
    assert_blocks(s, blocks, SHARED);
    grv_block_stats stats;
    assert_grv_ok(grv_block_store_stats(NULL, s->store, &stats, &error));
    assert_int_equal(stats.blocks, SHARED);
    for (size_t i = 0; i < SHARED; i++) {
        assert_true(fresh[i] >= 1);
    }
    blocks_done(blocks, SHARED);
}

static void threads_share_a_batch(void **state)
{
    suite *s = *state;
    enum { COUNT = THREADS * WINDOW };
    grv_block blocks[SHARED];
    unsigned fresh[SHARED] = {0};
    grv_block_result results[COUNT];
    unsigned taken[COUNT] = {0};
    worker workers[THREADS];
    blocks_make(blocks, SHARED, 31);
    grv_block_batch *batch = batch_open(s);
    workers_run(s, workers, blocks, batch, fresh);
    batch_commit(batch, results, COUNT);
    for (size_t t = 0; t < THREADS; t++) {
        for (size_t i = 0; i < WINDOW; i++) {
            size_t index = workers[t].firsts[i / (WINDOW / ROUNDS)] + i % (WINDOW / ROUNDS);
            assert_in_range(index, 0, COUNT - 1);
            taken[index]++;
            if (results[index].outcome == GRV_BLOCK_FRESH) {
                fresh[worker_block(&workers[t], i)]++;
            }
        }
    }
    for (size_t i = 0; i < COUNT; i++) {
        assert_int_equal(taken[i], 1);
    }
    for (size_t i = 0; i < SHARED; i++) {
        assert_int_equal(fresh[i], 1);
    }
    suite_turn(s);
    assert_blocks(s, blocks, SHARED);
    blocks_done(blocks, SHARED);
}

const suite_test suite_index_tests[] = {
    SUITE_TEST(missing_tells_each_key),
    SUITE_TEST(keys_differ_by_size_and_algorithm_too),
    SUITE_TEST(removed_blocks_are_gone),
    SUITE_TEST(lists_are_in_key_order_from_anywhere),
    SUITE_TEST(a_list_shows_what_stays_once_while_others_come_and_go),
    SUITE_TEST(stats_are_counted),
    SUITE_TEST(the_superblock_is_compared_and_set),
    SUITE_TEST(a_superblock_has_bounds),
    SUITE_TEST(blocks_without_a_superblock_are_never_adopted),
    SUITE_TEST(a_batch_is_bounded),
    SUITE_TEST(a_batch_commits_once),
    SUITE_TEST(malformed_calls_are_refused),
    SUITE_TEST(batches_at_once_agree),
    SUITE_TEST(threads_share_a_batch),
};
const size_t suite_index_test_count = sizeof suite_index_tests / sizeof suite_index_tests[0];
