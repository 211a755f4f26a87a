/* SPDX-License-Identifier: Apache-2.0 */
/* Bytes in, bytes out: sizes, splits, known keys, ranges, deduplication, and large blobs. */
#include "blob_store_suite.h"

#include <stdlib.h>

/* blake3 and sha256 of nothing and of "abc": published test vectors. */
#define BLAKE3_EMPTY "blake3:af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262:0"
#define BLAKE3_ABC   "blake3:6437b3ac38465133ffb63b75273a8db548c558465d79db03fd359c6cd5bd9d85:3"
#define SHA256_EMPTY "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855:0"
#define SHA256_ABC   "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad:3"

static void keys_are_the_published_digests(void **state)
{
    suite_env *env = *state;
    bool blake3 = env->fixture->hash == GRV_HASH_BLAKE3;
    char text[GRV_KEY_TEXT_SIZE];
    grv_put_result result = suite_put(env, grv_bytes_of("", 0));
    grv_blob_key_print(&result.key, text);
    assert_string_equal(text, blake3 ? BLAKE3_EMPTY : SHA256_EMPTY);
    result = suite_put(env, grv_bytes_of("abc", 3));
    grv_blob_key_print(&result.key, text);
    assert_string_equal(text, blake3 ? BLAKE3_ABC : SHA256_ABC);
}

static void every_size_comes_back(void **state)
{
    suite_env *env = *state;
    /* Around the borders of bytes, small blocks, cdc:16K's least and most, and larger windows. */
    static const size_t sizes[] = {
        0,      1,      2,      63,      64,      65,      127,
        128,    129,    4095,   4096,    4097,    16383,   16384,
        16385,  65535,  65536,  65537,   131071,  131072,  131073,
        262143, 262144, 262145, 1048575, 1048576, 1048577, (5u << 20) + 13,
    };
    const size_t count = sizeof sizes / sizeof sizes[0];
    uint8_t *data = suite_random(1, sizes[count - 1]);
    grv_blob_key keys[sizeof sizes / sizeof sizes[0]];
    for (size_t i = 0; i < count; i++) {
        grv_put_result result = suite_put(env, grv_bytes_of(data, sizes[i]));
        assert_false(result.already_stored);
        keys[i] = result.key;
    }
    suite_reopen(env);
    assert_int_equal(suite_count(env), count);
    for (size_t i = 0; i < count; i++) {
        suite_check_blob(env, &keys[i], grv_bytes_of(data, sizes[i]));
    }
    free(data);
}

static void repetitive_bytes_come_back(void **state)
{
    suite_env *env = *state;
    const size_t size = 700001;
    uint8_t *zeros = calloc(1, size);
    uint8_t *lines = suite_lines(2, size);
    assert_non_null(zeros);
    grv_blob_key zeros_key = suite_put(env, grv_bytes_of(zeros, size)).key;
    grv_blob_key lines_key = suite_put(env, grv_bytes_of(lines, size)).key;
    suite_reopen(env);
    suite_check_blob(env, &zeros_key, grv_bytes_of(zeros, size));
    suite_check_blob(env, &lines_key, grv_bytes_of(lines, size));
    free(lines);
    free(zeros);
}

/* Reads up to `capacity` references from the blob's start. */
static size_t read_refs(suite_env *env, const grv_blob_key *key, grv_block_ref refs[],
                        size_t capacity)
{
    grv_error error = GRV_ERROR_INIT;
    grv_ref_cursor *cursor;
    size_t total = 0;
    size_t count = 1;
    assert_grv_ok(grv_blob_store_open_refs(NULL, env->store, key, 0, &cursor, &error));
    while (count > 0 && total < capacity) {
        assert_grv_ok(
            grv_ref_cursor_next(NULL, cursor, refs + total, capacity - total, &count, &error));
        total += count;
    }
    grv_ref_cursor_free(cursor);
    return total;
}

#define SPLIT_REFS 8192

static void key_and_cuts_do_not_depend_on_the_writes(void **state)
{
    suite_env *env = *state;
    grv_error error = GRV_ERROR_INIT;
    const grv_bytes bytes = {suite_lines(3, 400009), 400009};
    grv_block_ref *first = calloc(SPLIT_REFS, sizeof *first);
    grv_block_ref *other = calloc(SPLIT_REFS, sizeof *other);
    size_t first_count = 0;
    assert_true(first && other);
    for (int split = 0; split < SUITE_SPLIT_COUNT; split++) {
        grv_put_result result;
        assert_grv_ok(suite_try_put(env, NULL, bytes, (suite_split)split, &result, &error));
        grv_blob_key want = suite_key(env, bytes);
        assert_int_equal(grv_blob_key_compare(&result.key, &want), 0);
        assert_false(result.already_stored);
        assert_int_equal(result.fresh_bytes + result.duplicate_bytes, bytes.size);
        suite_check_blob(env, &result.key, bytes);
        if (env->store->capabilities & GRV_BLOB_CAP_REFS) {
            grv_block_ref *refs = split == 0 ? first : other;
            size_t count = read_refs(env, &result.key, refs, SPLIT_REFS);
            first_count = split == 0 ? count : first_count;
            assert_int_equal(count, first_count);
            for (size_t i = 0; i < count; i++) {
                assert_int_equal(refs[i].offset, first[i].offset);
                assert_int_equal(grv_block_key_compare(&refs[i].key, &first[i].key), 0);
            }
        }
        /* Else the first manifest would stay, and the cuts would not be seen. */
        assert_grv_ok(grv_blob_store_remove(NULL, env->store, &result.key, &error));
    }
    free(first);
    free(other);
    free((void *)(uintptr_t)bytes.data);
}

static void views_are_as_large_as_asked_at_most(void **state)
{
    suite_env *env = *state;
    const size_t size = 70001;
    static const size_t maxima[] = {1, 3, 64, 4096, 65537, SIZE_MAX};
    uint8_t *data = suite_lines(4, size);
    grv_blob_key key = suite_put(env, grv_bytes_of(data, size)).key;
    suite_reopen(env);
    for (size_t i = 0; i < sizeof maxima / sizeof maxima[0]; i++) {
        suite_check_range(env, &key, GRV_RANGE_ALL, grv_bytes_of(data, size), maxima[i]);
    }
    free(data);
}

/* Reads a range by several views at once, and checks them against `want`. */
static void check_gathered(suite_env *env, const grv_blob_key *key, grv_range range,
                           const uint8_t *want, size_t max, size_t capacity)
{
    grv_error error = GRV_ERROR_INIT;
    grv_source *source = NULL;
    grv_bytes views[64];
    size_t at = (size_t)range.first;
    const size_t end = range.end < key->size ? (size_t)range.end : (size_t)key->size;
    assert_grv_ok(grv_blob_store_open_get(NULL, env->store, key, range, &source, &error));
    for (;;) {
        size_t count = 0;
        size_t together = 0;
        assert_grv_ok(grv_source_gather(NULL, source, max, views, capacity, &count, &error));
        if (count == 0) {
            break;
        }
        assert_in_range(count, 1, capacity);
        for (size_t i = 0; i < count; i++) {
            assert_in_range(views[i].size, 1, end - at);
            assert_memory_equal(views[i].data, want + at, views[i].size);
            at += views[i].size;
            together += views[i].size;
        }
        assert_true(together <= max);
    }
    assert_int_equal(at, end);
    grv_source_free(source);
}

static void several_views_are_the_same_bytes(void **state)
{
    suite_env *env = *state;
    const size_t size = 300007;
    uint8_t *data = suite_lines(6, size);
    grv_blob_key key = suite_put(env, grv_bytes_of(data, size)).key;
    suite_reopen(env);
    for (unsigned round = 0; round < 2; round++) {
        check_gathered(env, &key, GRV_RANGE_ALL, data, SIZE_MAX, 64);
        check_gathered(env, &key, GRV_RANGE_ALL, data, 100000, 3);
        check_gathered(env, &key, GRV_RANGE_ALL, data, 977, 64);
        check_gathered(env, &key, (grv_range){12345, 250000}, data, SIZE_MAX, 64);
        check_gathered(env, &key, (grv_range){299999, 300000}, data, 5, 1);
    }
    free(data);
}

static void read_fills_the_span(void **state)
{
    suite_env *env = *state;
    grv_error error = GRV_ERROR_INIT;
    const size_t size = 300007;
    uint8_t *data = suite_lines(5, size);
    uint8_t *back = malloc(size + 100);
    size_t got = 0;
    grv_source *source;
    assert_non_null(back);
    grv_blob_key key = suite_put(env, grv_bytes_of(data, size)).key;
    suite_reopen(env);
    assert_grv_ok(grv_blob_store_open_get(NULL, env->store, &key, GRV_RANGE_ALL, &source, &error));
    assert_grv_ok(grv_source_read(NULL, source, (grv_span){back, 100000}, &got, &error));
    assert_int_equal(got, 100000);
    assert_grv_ok(
        grv_source_read(NULL, source, (grv_span){back + got, size + 100 - got}, &got, &error));
    assert_int_equal(got, size - 100000);
    assert_memory_equal(back, data, size);
    assert_grv_ok(grv_source_read(NULL, source, (grv_span){back, 10}, &got, &error));
    assert_int_equal(got, 0);
    grv_source_free(source);
    free(back);
    free(data);
}

static void ranges_are_cut_from_the_blob(void **state)
{
    suite_env *env = *state;
    const size_t size = 500009;
    const grv_bytes bytes = {suite_lines(6, size), size};
    uint64_t seed = 6;
    grv_blob_key key = suite_put(env, bytes).key;
    suite_reopen(env);
    const grv_range edges[] = {
        {0, 0},
        {0, 1},
        {size - 1, size},
        {size, size},
        {size / 2, size / 2},
        {0, size},
        {1, size},
        {0, size - 1},
        {size - 1, UINT64_MAX},
        {size, UINT64_MAX},
        {3, UINT64_MAX},
        {1, size - 1},
    };
    for (size_t i = 0; i < sizeof edges / sizeof edges[0]; i++) {
        suite_check_range(env, &key, edges[i], bytes, SIZE_MAX);
    }
    for (int i = 0; i < 120; i++) {
        uint64_t first = test_random(&seed) % (size + 1);
        uint64_t span = test_random(&seed) % (i % 2 ? 300 : size);
        grv_range range = {first, first + span};
        suite_check_range(env, &key, range, bytes, i % 3 ? SIZE_MAX : 1000);
    }
    free((void *)(uintptr_t)bytes.data);
}

static void ranges_around_block_borders(void **state)
{
    suite_env *env = *state;
    if (!(env->store->capabilities & GRV_BLOB_CAP_REFS)) {
        return;
    }
    grv_error error = GRV_ERROR_INIT;
    const size_t size = 300007;
    const grv_bytes bytes = {suite_lines(7, size), size};
    grv_blob_key key = suite_put(env, bytes).key;
    suite_reopen(env);
    grv_ref_cursor *cursor;
    grv_block_ref refs[40];
    size_t count;
    assert_grv_ok(grv_blob_store_open_refs(NULL, env->store, &key, 0, &cursor, &error));
    assert_grv_ok(grv_ref_cursor_next(NULL, cursor, refs, 40, &count, &error));
    grv_ref_cursor_free(cursor);
    for (size_t i = 1; i < count; i++) {
        uint64_t border = refs[i].offset;
        suite_check_range(env, &key, (grv_range){border - 1, border}, bytes, SIZE_MAX);
        suite_check_range(env, &key, (grv_range){border, border + 1}, bytes, SIZE_MAX);
        suite_check_range(env, &key, (grv_range){border - 1, border + 1}, bytes, SIZE_MAX);
        suite_check_range(env, &key, (grv_range){refs[i - 1].offset, border}, bytes, SIZE_MAX);
        suite_check_range(env, &key, (grv_range){size - border, size}, bytes, SIZE_MAX);
    }
    free((void *)(uintptr_t)bytes.data);
}

static void ranges_past_the_end_are_refused(void **state)
{
    suite_env *env = *state;
    grv_error error = GRV_ERROR_INIT;
    grv_source *source = NULL;
    grv_blob_key key = suite_put(env, grv_bytes_of("0123456789", 10)).key;
    grv_blob_key empty = suite_put(env, grv_bytes_of("", 0)).key;
    const grv_range bad[] = {{11, 11}, {11, 12}, {UINT64_MAX, UINT64_MAX}, {5, 4}};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        assert_grv_status(grv_blob_store_open_get(NULL, env->store, &key, bad[i], &source, &error),
                          GRV_INVALID_ARGUMENT);
        assert_null(source);
    }
    assert_grv_status(
        grv_blob_store_open_get(NULL, env->store, &empty, (grv_range){1, 2}, &source, &error),
        GRV_INVALID_ARGUMENT);
    suite_check_range(env, &empty, (grv_range){0, 0}, grv_bytes_of("", 0), 1);
    suite_check_range(env, &empty, GRV_RANGE_ALL, grv_bytes_of("", 0), 1);
}

static void a_second_put_stores_nothing(void **state)
{
    suite_env *env = *state;
    static const size_t sizes[] = {0, 1, 64, 100000};
    uint8_t *data = suite_random(8, 100000);
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        const grv_bytes bytes = {data, sizes[i]};
        grv_put_result first = suite_put(env, bytes);
        suite_reopen(env);
        grv_put_result second = suite_put(env, bytes);
        assert_false(first.already_stored);
        assert_true(second.already_stored);
        assert_int_equal(second.fresh_bytes, 0);
        assert_int_equal(second.fresh_blocks, 0);
        assert_int_equal(second.stored_bytes, 0);
        assert_int_equal(second.duplicate_bytes, bytes.size);
        assert_int_equal(second.blocks, first.blocks);
        assert_int_equal(suite_count(env), i + 1);
        suite_check_blob(env, &second.key, bytes);
    }
    free(data);
}

static void blocks_are_stored_once(void **state)
{
    suite_env *env = *state;
    if (!(env->store->capabilities & GRV_BLOB_CAP_REFS)) {
        return;
    }
    const size_t half = 640000; /* a multiple of 64, so that fixed blocks repeat too */
    uint8_t *data = suite_random(9, 2 * half);
    grv_put_result first = suite_put(env, grv_bytes_of(data, half));
    /* Random bytes do not repeat, but blocks of a few bytes do. */
    assert_true(first.fresh_bytes >= half - half / 64);
    assert_true(first.fresh_blocks > 0 && first.stored_bytes > 0);
    suite_reopen(env);
    /* The same bytes and as many again: most of the first half is found. */
    grv_put_result second = suite_put(env, grv_bytes_of(data, 2 * half));
    assert_true(second.duplicate_bytes >= half - (256u << 10));
    assert_true(second.fresh_bytes >= half);
    /* Twice in a row in one blob: the repeats within it count as duplicates too. */
    memcpy(data + half, data, half);
    grv_blob_key key = first.key;
    grv_error error = GRV_ERROR_INIT;
    assert_grv_ok(grv_blob_store_remove(NULL, env->store, &key, &error));
    grv_put_result third = suite_put(env, grv_bytes_of(data, 2 * half));
    assert_true(third.fresh_bytes <= 512u << 10);
    suite_check_blob(env, &third.key, grv_bytes_of(data, 2 * half));
    free(data);
}

static void repeats_within_a_blob_are_duplicates(void **state)
{
    suite_env *env = *state;
    if (!(env->store->capabilities & GRV_BLOB_CAP_REFS)) {
        return;
    }
    const size_t size = 2u << 20;
    uint8_t *zeros = calloc(1, size);
    assert_non_null(zeros);
    grv_put_result result = suite_put(env, grv_bytes_of(zeros, size));
    /* Zeros have no borders but the largest: equal blocks, and one more if the size is no multiple.
     */
    assert_int_equal(result.fresh_blocks, 1);
    assert_int_equal(result.duplicate_bytes, size - size / result.blocks);
    suite_check_blob(env, &result.key, grv_bytes_of(zeros, size));
    free(zeros);
}

/* The stream of a large blob: window by window, never all of it in memory. */
static void write_large(grv_sink *sink, uint64_t size)
{
    grv_error error = GRV_ERROR_INIT;
    uint64_t seed = size;
    uint8_t data[8192];
    for (uint64_t at = 0; at < size;) {
        test_random_fill(&seed, data, sizeof data);
        uint64_t take = size - at < sizeof data ? size - at : sizeof data;
        assert_grv_ok(grv_sink_write(NULL, sink, grv_bytes_of(data, (size_t)take), &error));
        at += take;
    }
}

static void a_large_blob_streams_through(void **state)
{
    suite_env *env = *state;
    grv_error error = GRV_ERROR_INIT;
    const uint64_t size = env->fixture->large;
    const grv_put_plan plan = {.has_size_hint = true, .size_hint = size};
    grv_blob_sink *sink;
    assert_grv_ok(grv_blob_store_open_put(NULL, env->store, &plan, &sink, &error));
    write_large(&sink->base, size);
    assert_grv_ok(grv_sink_commit(NULL, &sink->base, &error));
    grv_blob_key key = sink->result.key;
    assert_int_equal(key.size, size);
    assert_int_equal(sink->result.fresh_bytes + sink->result.duplicate_bytes, size);
    grv_sink_free(&sink->base);
    suite_reopen(env);

    grv_source *source;
    uint64_t seed = size;
    uint8_t want[8192];
    uint8_t got[8192];
    size_t count = 0;
    assert_grv_ok(grv_blob_store_open_get(NULL, env->store, &key, GRV_RANGE_ALL, &source, &error));
    for (uint64_t at = 0; at < size; at += count) {
        test_random_fill(&seed, want, sizeof want);
        assert_grv_ok(grv_source_read(NULL, source, (grv_span){got, sizeof got}, &count, &error));
        assert_int_equal(count, size - at < sizeof got ? size - at : sizeof got);
        assert_memory_equal(got, want, count);
    }
    assert_grv_ok(grv_source_read(NULL, source, (grv_span){got, 1}, &count, &error));
    assert_int_equal(count, 0);
    grv_source_free(source);
}

static void a_wrong_size_hint_is_harmless(void **state)
{
    suite_env *env = *state;
    grv_error error = GRV_ERROR_INIT;
    static const uint64_t hints[] = {0, 1, 1000, UINT64_MAX};
    uint8_t *data = suite_random(11, 50000);
    for (size_t i = 0; i < sizeof hints / sizeof hints[0]; i++) {
        const grv_put_plan plan = {.has_size_hint = true, .size_hint = hints[i]};
        const grv_bytes bytes = {data, 50000 - i};
        grv_put_result result;
        assert_grv_ok(suite_try_put(env, &plan, bytes, SUITE_ODD, &result, &error));
        suite_check_blob(env, &result.key, bytes);
    }
    free(data);
}

const suite_test suite_bytes_tests[] = {
    SUITE_FRESH(keys_are_the_published_digests),
    SUITE_REOPEN(every_size_comes_back),
    SUITE_REOPEN(repetitive_bytes_come_back),
    SUITE_FRESH(key_and_cuts_do_not_depend_on_the_writes),
    SUITE_REOPEN(views_are_as_large_as_asked_at_most),
    SUITE_REOPEN(several_views_are_the_same_bytes),
    SUITE_REOPEN(read_fills_the_span),
    SUITE_REOPEN(ranges_are_cut_from_the_blob),
    SUITE_REOPEN(ranges_around_block_borders),
    SUITE_FRESH(ranges_past_the_end_are_refused),
    SUITE_REOPEN(a_second_put_stores_nothing),
    SUITE_REOPEN(blocks_are_stored_once),
    SUITE_FRESH(repeats_within_a_blob_are_duplicates),
    SUITE_REOPEN(a_large_blob_streams_through),
    SUITE_FRESH(a_wrong_size_hint_is_harmless),
};
const size_t suite_bytes_test_count = sizeof suite_bytes_tests / sizeof suite_bytes_tests[0];
