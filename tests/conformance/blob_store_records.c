/* SPDX-License-Identifier: Apache-2.0 */
/* What is kept beside the bytes: info, attributes, lists, block references, and removal. */
#include "blob_store_suite.h"

#include <graviton/chunker.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

static uint64_t wall_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return (uint64_t)now.tv_sec * UINT64_C(1000000000) + (uint64_t)now.tv_nsec;
}

static void check_info_of_blocks(const suite_env *env, const grv_blob_info *info,
                                 const grv_put_result *result)
{
    grv_error error = GRV_ERROR_INIT;
    assert_int_equal(info->block_count, result->blocks);
    if (env->fixture->blocks) {
        grv_chunker_spec want;
        const char *text = env->fixture->blocks;
        assert_grv_ok(grv_chunker_spec_parse(grv_bytes_of(text, strlen(text)), &want, &error));
        assert_true(grv_chunker_spec_equal(&info->chunker, &want));
        assert_int_equal(info->block_hash, env->fixture->hash);
    } else {
        assert_int_equal(info->chunker.kind, 0);
        assert_int_equal(info->block_hash, GRV_HASH_NONE);
    }
}

static void stat_tells_what_was_stored(void **state)
{
    suite_env *env = *state;
    grv_error error = GRV_ERROR_INIT;
    static const size_t sizes[] = {0, 1, 100000};
    uint8_t *data = suite_random(20, 100000);
    uint64_t before = wall_ns();
    uint64_t sequence = 0;
    grv_put_result results[3];
    for (size_t i = 0; i < 3; i++) {
        results[i] = suite_put(env, grv_bytes_of(data, sizes[i]));
    }
    uint64_t after = wall_ns();
    suite_reopen(env);
    for (size_t i = 0; i < 3; i++) {
        grv_blob_info info;
        grv_blob_info again;
        assert_grv_ok(grv_blob_store_stat(NULL, env->store, &results[i].key, &info, &error));
        assert_int_equal(grv_blob_key_compare(&info.key, &results[i].key), 0);
        assert_true(info.created_ns >= before && info.created_ns <= after);
        assert_true(info.sequence > sequence);
        sequence = info.sequence;
        check_info_of_blocks(env, &info, &results[i]);
        /* A second put leaves the first one's place and time. */
        assert_true(suite_put(env, grv_bytes_of(data, sizes[i])).already_stored);
        assert_grv_ok(grv_blob_store_stat(NULL, env->store, &results[i].key, &again, &error));
        assert_int_equal(again.sequence, info.sequence);
        assert_int_equal(again.created_ns, info.created_ns);
    }
    grv_blob_info info;
    grv_put_result late = suite_put(env, grv_bytes_of("late", 4));
    assert_grv_ok(grv_blob_store_stat(NULL, env->store, &late.key, &info, &error));
    assert_true(info.sequence > sequence);
    free(data);
}

static void unknown_blobs_are_not_found(void **state)
{
    suite_env *env = *state;
    suite_put(env, grv_bytes_of("something", 9));
    grv_blob_key key = suite_key(env, grv_bytes_of("else", 4));
    suite_check_absent(env, &key);
    /* The digest of a blob that is there, with another size, names nothing. */
    key = suite_key(env, grv_bytes_of("something", 9));
    key.size++;
    suite_check_absent(env, &key);
    key.size = 0;
    suite_check_absent(env, &key);
    key.size = GRV_BLOB_SIZE_MAX;
    suite_check_absent(env, &key);
    key.size = 9;
    key.digest.hash = env->fixture->hash == GRV_HASH_BLAKE3 ? GRV_HASH_SHA256 : GRV_HASH_BLAKE3;
    suite_check_absent(env, &key);
}

static void invalid_keys_are_refused(void **state)
{
    suite_env *env = *state;
    grv_error error = GRV_ERROR_INIT;
    grv_blob_key bad = suite_key(env, grv_bytes_of("", 0));
    grv_blob_key large = bad;
    bad.digest.hash = (grv_hash)9;
    large.size = GRV_BLOB_SIZE_MAX + 1;
    const grv_blob_key *const keys[] = {&bad, &large};
    for (size_t i = 0; i < 2; i++) {
        grv_blob_info info;
        grv_source *source;
        grv_blob_sink *sink;
        grv_attributes none = {0};
        const grv_put_plan plan = {.expected = keys[i]};
        assert_grv_status(grv_blob_store_stat(NULL, env->store, keys[i], &info, &error),
                          GRV_INVALID_ARGUMENT);
        assert_grv_status(
            grv_blob_store_open_get(NULL, env->store, keys[i], (grv_range){0, 0}, &source, &error),
            GRV_INVALID_ARGUMENT);
        assert_grv_status(grv_blob_store_open_put(NULL, env->store, &plan, &sink, &error),
                          GRV_INVALID_ARGUMENT);
        assert_grv_status(grv_blob_store_attributes_get(NULL, env->store, keys[i], &none, &error),
                          GRV_INVALID_ARGUMENT);
        assert_grv_status(grv_blob_store_attributes_set(NULL, env->store, keys[i], &none, &error),
                          GRV_INVALID_ARGUMENT);
        assert_grv_status(grv_blob_store_remove(NULL, env->store, keys[i], &error),
                          GRV_INVALID_ARGUMENT);
    }
}

/* Asserts that the blob's only attribute is name=value; with NULL that it has none. */
static void check_attribute(suite_env *env, const grv_blob_key *key, const char *name,
                            const char *value)
{
    grv_error error = GRV_ERROR_INIT;
    grv_attributes attributes;
    grv_attributes_init(&attributes);
    assert_grv_ok(grv_attributes_set(&attributes, "stale", grv_bytes_of("x", 1), &error));
    assert_grv_ok(grv_blob_store_attributes_get(NULL, env->store, key, &attributes, &error));
    assert_int_equal(attributes.count, name ? 1 : 0);
    if (name) {
        const grv_attribute *pair = grv_attributes_get(&attributes, name);
        assert_non_null(pair);
        assert_int_equal(pair->value_size, strlen(value));
        assert_memory_equal(pair->value, value, strlen(value));
    }
    grv_attributes_done(&attributes);
}

static void set_attribute(grv_attributes *attributes, const char *name, const char *value)
{
    grv_error error = GRV_ERROR_INIT;
    assert_grv_ok(grv_attributes_set(attributes, name, grv_bytes_of(value, strlen(value)), &error));
}

static void attributes_are_the_last_writers(void **state)
{
    suite_env *env = *state;
    grv_error error = GRV_ERROR_INIT;
    const grv_bytes bytes = grv_bytes_of("a blob of many names", 20);
    grv_attributes attributes;
    grv_put_result result;
    grv_attributes_init(&attributes);
    grv_blob_key key = suite_put(env, bytes).key;
    check_attribute(env, &key, NULL, NULL);

    set_attribute(&attributes, "file-name", "one");
    assert_grv_ok(grv_blob_store_attributes_set(NULL, env->store, &key, &attributes, &error));
    suite_reopen(env);
    check_attribute(env, &key, "file-name", "one");

    /* A put that names none leaves them. */
    assert_true(suite_put(env, bytes).already_stored);
    check_attribute(env, &key, "file-name", "one");

    /* A put that names some replaces them all, though the blob is there. */
    grv_attributes_unset(&attributes, "file-name");
    set_attribute(&attributes, "content-type", "two");
    const grv_put_plan plan = {.attributes = &attributes};
    assert_grv_ok(suite_try_put(env, &plan, bytes, SUITE_WHOLE, &result, &error));
    assert_true(result.already_stored);
    suite_reopen(env);
    check_attribute(env, &key, "content-type", "two");

    grv_attributes_done(&attributes);
    grv_attributes_init(&attributes);
    assert_grv_ok(grv_blob_store_attributes_set(NULL, env->store, &key, &attributes, &error));
    check_attribute(env, &key, NULL, NULL);
    grv_attributes_done(&attributes);
}

static void attributes_come_with_the_put(void **state)
{
    suite_env *env = *state;
    grv_error error = GRV_ERROR_INIT;
    grv_attributes attributes;
    grv_attributes_init(&attributes);
    set_attribute(&attributes, "file-name", "with the put");
    const grv_put_plan plan = {.attributes = &attributes};
    const grv_put_plan none = {0};
    grv_blob_sink *sink;
    assert_grv_ok(grv_blob_store_open_put(NULL, env->store, &plan, &sink, &error));
    /* The plan is borrowed for the opening alone. */
    set_attribute(&attributes, "file-name", "changed since");
    assert_grv_ok(grv_sink_write(NULL, &sink->base, grv_bytes_of("xyz", 3), &error));
    assert_grv_ok(grv_sink_commit(NULL, &sink->base, &error));
    grv_blob_key key = sink->result.key;
    grv_sink_free(&sink->base);
    suite_reopen(env);
    check_attribute(env, &key, "file-name", "with the put");

    /* A put that was given up changes nothing. */
    assert_grv_ok(grv_blob_store_open_put(NULL, env->store, &plan, &sink, &error));
    assert_grv_ok(grv_sink_write(NULL, &sink->base, grv_bytes_of("xyz", 3), &error));
    grv_sink_free(&sink->base);
    check_attribute(env, &key, "file-name", "with the put");

    /* They go with the blob. */
    grv_put_result result;
    assert_grv_ok(grv_blob_store_remove(NULL, env->store, &key, &error));
    assert_grv_ok(suite_try_put(env, &none, grv_bytes_of("xyz", 3), SUITE_WHOLE, &result, &error));
    check_attribute(env, &key, NULL, NULL);
    grv_attributes_done(&attributes);
}

static void the_largest_attributes_are_kept(void **state)
{
    suite_env *env = *state;
    grv_error error = GRV_ERROR_INIT;
    grv_attributes attributes;
    grv_attributes back;
    char name[32];
    uint8_t *value = suite_random(21, GRV_ATTRIBUTE_VALUE_MAX);
    grv_attributes_init(&attributes);
    grv_attributes_init(&back);
    for (int i = 0; i < 7; i++) {
        snprintf(name, sizeof name, "name-%d", i);
        size_t size = i == 0 ? 0 : GRV_ATTRIBUTE_VALUE_MAX;
        assert_grv_ok(grv_attributes_set(&attributes, name, grv_bytes_of(value, size), &error));
    }
    grv_blob_key key = suite_put(env, grv_bytes_of("v", 1)).key;
    assert_grv_ok(grv_blob_store_attributes_set(NULL, env->store, &key, &attributes, &error));
    suite_reopen(env);
    assert_grv_ok(grv_blob_store_attributes_get(NULL, env->store, &key, &back, &error));
    assert_int_equal(back.count, attributes.count);
    for (size_t i = 0; i < back.count; i++) {
        assert_string_equal(back.pairs[i].name, attributes.pairs[i].name);
        assert_int_equal(back.pairs[i].value_size, attributes.pairs[i].value_size);
        assert_memory_equal(back.pairs[i].value, value, back.pairs[i].value_size);
    }
    grv_attributes_done(&back);
    grv_attributes_done(&attributes);
    free(value);
}

static void removed_blobs_are_gone(void **state)
{
    suite_env *env = *state;
    grv_error error = GRV_ERROR_INIT;
    static const size_t sizes[] = {0, 1, 300000};
    uint8_t *data = suite_random(22, 300000);
    grv_blob_key stays = suite_put(env, grv_bytes_of(data, 200000)).key;
    for (size_t i = 0; i < 3; i++) {
        const grv_bytes bytes = {data, sizes[i]};
        grv_blob_info info;
        grv_blob_key key = suite_put(env, bytes).key;
        assert_grv_ok(grv_blob_store_stat(NULL, env->store, &key, &info, &error));
        assert_grv_ok(grv_blob_store_remove(NULL, env->store, &key, &error));
        suite_check_absent(env, &key);
        suite_reopen(env);
        suite_check_absent(env, &key);
        assert_int_equal(suite_count(env), i + 1);
        /* It can be stored anew, as a new blob. */
        uint64_t sequence = info.sequence;
        assert_false(suite_put(env, bytes).already_stored);
        suite_reopen(env);
        suite_check_blob(env, &key, bytes);
        assert_grv_ok(grv_blob_store_stat(NULL, env->store, &key, &info, &error));
        assert_true(info.sequence > sequence);
    }
    suite_check_blob(env, &stays, grv_bytes_of(data, 200000));
    free(data);
}

/* Checks references from `offset`, read `page` at a time, against the blob's bytes. */
static void check_refs(suite_env *env, const grv_blob_key *key, grv_bytes bytes, uint64_t offset,
                       size_t page)
{
    grv_error error = GRV_ERROR_INIT;
    grv_ref_cursor *cursor;
    grv_block_ref refs[64];
    size_t count;
    bool first = true;
    uint64_t at = offset;
    assert_grv_ok(grv_blob_store_open_refs(NULL, env->store, key, offset, &cursor, &error));
    do {
        assert_grv_ok(grv_ref_cursor_next(NULL, cursor, refs, page, &count, &error));
        for (size_t i = 0; i < count; i++) {
            if (first) {
                assert_true(refs[i].offset <= offset && offset < refs[i].offset + refs[i].key.size);
                at = refs[i].offset;
                first = false;
            }
            grv_digest digest;
            assert_int_equal(refs[i].offset, at);
            assert_true(refs[i].key.size <= bytes.size - at);
            assert_grv_ok(grv_digest_of(refs[i].key.digest.hash,
                                        grv_bytes_of(bytes.data + at, refs[i].key.size), &digest,
                                        &error));
            assert_int_equal(grv_digest_compare(&digest, &refs[i].key.digest), 0);
            at += refs[i].key.size;
        }
    } while (count > 0);
    assert_int_equal(at, bytes.size);
    assert_int_equal(first, offset == bytes.size);
    assert_grv_ok(grv_ref_cursor_next(NULL, cursor, refs, page, &count, &error));
    assert_int_equal(count, 0);
    grv_ref_cursor_free(cursor);
}

static void references_cover_the_blob(void **state)
{
    suite_env *env = *state;
    grv_error error = GRV_ERROR_INIT;
    const size_t size = 400003;
    const grv_bytes bytes = {suite_lines(23, size), size};
    const grv_bytes empty = {bytes.data, 0};
    grv_blob_key key = suite_put(env, bytes).key;
    grv_blob_key empty_key = suite_put(env, empty).key;
    grv_ref_cursor *cursor = NULL;
    if (!env->fixture->blocks) {
        assert_grv_status(grv_blob_store_open_refs(NULL, env->store, &key, 0, &cursor, &error),
                          GRV_UNSUPPORTED);
        assert_null(cursor);
        free((void *)(uintptr_t)bytes.data);
        return;
    }
    suite_reopen(env);
    uint64_t seed = 23;
    check_refs(env, &key, bytes, 0, 64);
    check_refs(env, &key, bytes, 0, 1);
    check_refs(env, &key, bytes, size, 64);
    check_refs(env, &key, bytes, size - 1, 64);
    check_refs(env, &empty_key, empty, 0, 1);
    for (int i = 0; i < 30; i++) {
        check_refs(env, &key, bytes, test_random(&seed) % size, 1 + (size_t)i);
    }
    assert_grv_status(grv_blob_store_open_refs(NULL, env->store, &key, size + 1, &cursor, &error),
                      GRV_INVALID_ARGUMENT);
    assert_null(cursor);
    free((void *)(uintptr_t)bytes.data);
}

const suite_test suite_record_tests[] = {
    SUITE_REOPEN(stat_tells_what_was_stored),   SUITE_FRESH(unknown_blobs_are_not_found),
    SUITE_FRESH(invalid_keys_are_refused),      SUITE_REOPEN(attributes_are_the_last_writers),
    SUITE_REOPEN(attributes_come_with_the_put), SUITE_REOPEN(the_largest_attributes_are_kept),
    SUITE_REOPEN(removed_blobs_are_gone),       SUITE_REOPEN(references_cover_the_blob),
};
const size_t suite_record_test_count = sizeof suite_record_tests / sizeof suite_record_tests[0];
