/* SPDX-License-Identifier: Apache-2.0 */
/* What the block store over S3 does beyond the port's suite: what it remembers and when it forgets,
 * lists of many pages, objects that are not what they should be. */
#include "s3.h"
#include "test.h"

#include <stdlib.h>

#define PREFIX "some/prefix"

static grv_s3 *s3;
static char bucket[TEST_S3_BUCKET_SIZE];
static uint64_t epoch = 7;

static uint64_t epoch_now(void *context)
{
    (void)context;
    return epoch;
}

static int set_up(void **state)
{
    (void)state;
    s3 = test_s3_open();
    test_s3_make_bucket(s3, bucket);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    test_s3_remove_bucket(s3, bucket);
    grv_s3_close(s3);
    return 0;
}

static grv_block_store *store_open(void)
{
    grv_error error = GRV_ERROR_INIT;
    grv_block_store *store = NULL;
    const grv_s3_blocks_config config = {.bucket = bucket, .prefix = PREFIX, .epoch = epoch_now};
    assert_grv_ok(grv_block_store_s3_new(NULL, s3, &config, &store, &error));
    return store;
}

/* The bytes of block `i`, and the block. */
static grv_block block_of(uint32_t i, uint8_t data[8])
{
    grv_error error = GRV_ERROR_INIT;
    for (unsigned k = 0; k < 8; k++) {
        data[k] = (uint8_t)(i >> (8 * (k % 4)));
    }
    grv_block block = {.key.size = 8, .bytes = {data, 8}};
    assert_grv_ok(grv_digest_of(GRV_HASH_BLAKE3, block.bytes, &block.key.digest, &error));
    return block;
}

static void blocks_put(grv_block_store *store, uint32_t first, uint32_t count)
{
    grv_error error = GRV_ERROR_INIT;
    grv_block_batch *batch = NULL;
    grv_block_result *results = calloc(count, sizeof *results);
    assert_non_null(results);
    assert_grv_ok(grv_block_store_open_batch(NULL, store, &batch, &error));
    for (uint32_t i = 0; i < count; i++) {
        uint8_t data[8];
        grv_block block = block_of(first + i, data);
        assert_grv_ok(grv_block_batch_put(NULL, batch, &block, 1, NULL, &error));
    }
    assert_grv_ok(grv_block_batch_commit(NULL, batch, GRV_DURABLE, results, count, &error));
    grv_block_batch_free(batch);
    free(results);
}

static bool is_missing(grv_block_store *store, const grv_block_key *key)
{
    grv_error error = GRV_ERROR_INIT;
    bool missing = false;
    assert_grv_ok(grv_block_store_missing(NULL, store, key, 1, &missing, &error));
    return missing;
}

static void object_name(const grv_block_key *key, const char *folder, char ret_name[512])
{
    char hex[2 * GRV_DIGEST_SIZE + 1];
    grv_digest_hex(&key->digest, hex);
    snprintf(ret_name, 512, PREFIX "/%s%s/%s-%u", folder, grv_hash_name(key->digest.hash), hex,
             key->size);
}

static void object_put(const char *name, const char *text)
{
    grv_error error = GRV_ERROR_INIT;
    grv_s3_request request = {.method = GRV_S3_PUT,
                              .bucket = bucket,
                              .key = name,
                              .body = grv_bytes_of(text, strlen(text))};
    assert_grv_ok(grv_s3_run(NULL, s3, &request, 1, &error));
}

static void object_remove(const char *name)
{
    grv_error error = GRV_ERROR_INIT;
    assert_grv_ok(grv_s3_delete_many(NULL, s3, bucket, &name, 1, &error));
}

/* ---- Tests ---- */

static void what_is_there_is_remembered_for_an_epoch(void **state)
{
    (void)state;
    grv_block_store *store = store_open();
    uint8_t data[8];
    char name[512];
    grv_block block = block_of(1, data);
    object_name(&block.key, "", name);
    blocks_put(store, 1, 1);
    assert_false(is_missing(store, &block.key));
    object_remove(name); /* behind the store's back */
    assert_false(is_missing(store, &block.key));
    epoch++;
    assert_true(is_missing(store, &block.key));
    blocks_put(store, 1, 1);
    epoch++;
    assert_false(is_missing(store, &block.key)); /* asked for, and remembered again */
    object_remove(name);
    assert_false(is_missing(store, &block.key));
    bool removed = true;
    grv_error error = GRV_ERROR_INIT;
    assert_grv_ok(grv_block_store_remove(NULL, store, &block.key, 1, &removed, &error));
    assert_false(removed);
    assert_true(is_missing(store, &block.key));
    grv_block_store_free(store);
}

static void an_object_of_another_size_is_no_block_and_a_put_heals_it(void **state)
{
    (void)state;
    grv_error error = GRV_ERROR_INIT;
    grv_block_store *store = store_open();
    static const char *const wrong[] = {"short", "rather too long", ""};
    for (uint32_t i = 0; i < 3; i++) {
        uint8_t data[8];
        uint8_t back[8];
        char name[512];
        grv_block block = block_of(100 + i, data);
        object_name(&block.key, "", name);
        object_put(name, wrong[i]);
        const grv_span span = {back, sizeof back};
        grv_status one = GRV_OK;
        assert_grv_status(grv_block_store_get(NULL, store, &block.key, &span, 1, &one, &error),
                          GRV_CORRUPT);
        assert_int_equal(one, GRV_CORRUPT);
        assert_non_null(strstr(error.message, "block blake3:"));
        assert_true(is_missing(store, &block.key));
        blocks_put(store, 100 + i, 1);
        assert_grv_ok(grv_block_store_get(NULL, store, &block.key, &span, 1, &one, &error));
        assert_memory_equal(back, data, sizeof data);
    }
    grv_block_store_free(store);
}

/* Sizes under one digest come in the order of their digits, and go out in the order of keys; what
 * is no block's name is passed over. */
static void lists_are_in_order_whatever_lies_there(void **state)
{
    (void)state;
    grv_error error = GRV_ERROR_INIT;
    grv_block_store *store = store_open();
    static const uint32_t sizes[] = {100, 20, 3, 1000, 8};
    uint8_t data[8];
    char name[512];
    grv_block block = block_of(200, data);
    for (size_t i = 0; i < 5; i++) {
        grv_block_key key = block.key;
        key.size = sizes[i];
        object_name(&key, "", name);
        object_put(name, "x");
    }
    static const char *const others[] = {"zzz", "0", "-8", "8-", "08", "16777217", "8/8"};
    object_name(&block.key, "", name);
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++) {
        char other[600];
        snprintf(other, sizeof other, "%.*s%s", (int)(strrchr(name, '-') + 1 - name), name,
                 others[i]);
        object_put(other, "x");
    }
    object_put(PREFIX "/blake3/", "x");
    object_put(PREFIX "/blake3/other", "x");
    object_put(PREFIX "/blake3x/other", "x");
    grv_block_cursor *cursor = NULL;
    grv_block_entry entries[10];
    size_t count = 0;
    assert_grv_ok(grv_block_store_open_list(NULL, store, NULL, &cursor, &error));
    assert_grv_ok(grv_block_cursor_next(NULL, cursor, entries, 10, &count, &error));
    static const uint32_t wanted[] = {3, 8, 20, 100, 1000};
    assert_int_equal(count, 5);
    for (size_t i = 0; i < 5; i++) {
        assert_int_equal(entries[i].key.size, wanted[i]);
        assert_int_equal(entries[i].stored_size, 1);
    }
    grv_block_cursor_free(cursor);
    grv_block_store_free(store);
}

/* Enough blocks for several pages at once; a second store has learned nothing yet. */
static void many_pages(void **state)
{
    (void)state;
    enum { STORED = 3300, ASKED = 5000 };
    grv_error error = GRV_ERROR_INIT;
    grv_block_store *store = store_open();
    grv_block_key *keys = calloc(ASKED, sizeof *keys);
    bool *missing = calloc(ASKED, sizeof *missing);
    assert_true(keys && missing);
    blocks_put(store, 1000, STORED);
    grv_block_store_free(store);
    for (uint32_t i = 0; i < ASKED; i++) {
        uint8_t data[8];
        keys[i] = block_of(1000 + i, data).key;
    }
    static const size_t parts[] = {ASKED, 300, 40, 7};
    for (size_t p = 0; p < 4; p++) {
        store = store_open();
        for (size_t at = 0; at < (p ? 4 * parts[p] : ASKED); at += parts[p]) {
            size_t first = p ? (at * 7919) % (ASKED - parts[p]) : 0;
            assert_grv_ok(grv_block_store_missing(NULL, store, keys + first, parts[p],
                                                  missing + first, &error));
            for (size_t i = first; i < first + parts[p]; i++) {
                assert_int_equal(missing[i], i >= STORED);
            }
        }
        grv_block_cursor *cursor = NULL;
        grv_block_key last = {0};
        size_t listed = 0;
        size_t count = 1;
        assert_grv_ok(grv_block_store_open_list(NULL, store, NULL, &cursor, &error));
        while (count > 0) {
            grv_block_entry entries[97];
            assert_grv_ok(grv_block_cursor_next(NULL, cursor, entries, 97, &count, &error));
            for (size_t i = 0; i < count; i++) {
                assert_true(grv_block_key_compare(&last, &entries[i].key) < 0);
                last = entries[i].key;
            }
            listed += count;
        }
        assert_int_equal(listed, STORED);
        grv_block_cursor_free(cursor);
        grv_block_store_free(store);
    }
    store = store_open();
    bool *removed = missing;
    assert_grv_ok(grv_block_store_remove(NULL, store, keys, ASKED, removed, &error));
    for (size_t i = 0; i < ASKED; i++) {
        assert_int_equal(removed[i], i < STORED);
    }
    grv_block_stats stats;
    assert_grv_ok(grv_block_store_stats(NULL, store, &stats, &error));
    assert_int_equal(stats.blocks, 0);
    grv_block_store_free(store);
    free(keys);
    free(missing);
}

/* A store that is asked for single blocks again and again learns them all. */
static void what_is_asked_for_often_is_learned(void **state)
{
    (void)state;
    enum { STORED = 200 };
    grv_block_store *store = store_open();
    blocks_put(store, 1, STORED);
    grv_block_store_free(store);
    store = store_open();
    for (uint32_t i = 0; i < STORED; i++) {
        uint8_t data[8];
        grv_block block = block_of(1 + i, data);
        if (i == STORED / 2) {
            test_s3_empty_bucket(s3, bucket); /* behind the store's back: only a memory is left */
        }
        assert_false(is_missing(store, &block.key));
    }
    grv_block_store_free(store);
}

static void a_bucket_that_goes_is_no_absent_block(void **state)
{
    (void)state;
    grv_error error = GRV_ERROR_INIT;
    grv_block_store *store = store_open();
    uint8_t data[8];
    uint8_t back[8];
    grv_block block = block_of(300, data);
    const grv_span span = {back, sizeof back};
    grv_status one = GRV_OK;
    test_s3_remove_bucket(s3, bucket);
    assert_grv_status(grv_block_store_get(NULL, store, &block.key, &span, 1, &one, &error),
                      GRV_CONFLICT);
    assert_non_null(strstr(error.message, bucket));
    grv_block_batch *batch = NULL;
    grv_block_result result;
    assert_grv_ok(grv_block_store_open_batch(NULL, store, &batch, &error));
    grv_status put = grv_block_batch_put(NULL, batch, &block, 1, NULL, &error);
    put = put ? put : grv_block_batch_commit(NULL, batch, GRV_DURABLE, &result, 1, &error);
    assert_grv_status(put, GRV_CONFLICT);
    grv_block_batch_free(batch);
    grv_block_store_free(store);
    grv_block_store *other = NULL;
    const grv_s3_blocks_config config = {.bucket = bucket};
    assert_grv_status(grv_block_store_s3_new(NULL, s3, &config, &other, &error), GRV_NOT_FOUND);
    test_s3_make_bucket(s3, bucket);
}

static void wrong_prefixes_are_refused(void **state)
{
    (void)state;
    grv_error error = GRV_ERROR_INIT;
    static const char *const wrong[] = {"/", "a/", "/a", "a//b", ".", "a/..", "a/./b", "\xff"};
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        grv_block_store *store = NULL;
        const grv_s3_blocks_config config = {.bucket = bucket, .prefix = wrong[i]};
        grv_status status = grv_block_store_s3_new(NULL, s3, &config, &store, &error);
        assert_true(status == GRV_INVALID_ARGUMENT || status == GRV_UNSUPPORTED);
    }
}

/* ---- Lifecycle rules ---- */

static bool lifecycle_expires(const char *rules, const char *prefix,
                              char ret_rule[GRV_S3_RULE_SIZE])
{
    grv_error error = GRV_ERROR_INIT;
    char text[2000];
    static const grv_s3_pair query = {"lifecycle", ""};
    snprintf(text, sizeof text, "<LifecycleConfiguration>%s</LifecycleConfiguration>", rules);
    grv_s3_request request = {.method = GRV_S3_PUT,
                              .bucket = bucket,
                              .query = &query,
                              .query_count = 1,
                              .body = grv_bytes_of(text, strlen(text)),
                              .md5 = true};
    assert_grv_ok(grv_s3_run(NULL, s3, &request, 1, &error));
    bool expires = false;
    assert_grv_ok(grv_s3_lifecycle_check(NULL, s3, bucket, prefix, &expires, ret_rule, &error));
    return expires;
}

static void lifecycle_rules_that_meet_a_prefix_are_told(void **state)
{
    (void)state;
    grv_error error = GRV_ERROR_INIT;
    char rule[GRV_S3_RULE_SIZE] = "none";
    bool expires = true;
    assert_grv_ok(grv_s3_lifecycle_check(NULL, s3, bucket, "p/", &expires, rule, &error));
    assert_false(expires);
#define RULE(id, status, filter, what)                                                             \
    "<Rule><ID>" id "</ID><Status>" status "</Status><Filter>" filter "</Filter>" what "</Rule>"
#define DAYS "<Expiration><Days>30</Days></Expiration>"
    static const char other[] = RULE("other", "Enabled", "<Prefix>logs/</Prefix>", DAYS);
    assert_false(lifecycle_expires(other, "p/", rule));
    assert_true(lifecycle_expires(other, "", rule));
    assert_string_equal(rule, "other");
    assert_true(lifecycle_expires(other, "logs/blocks/", rule));
    assert_false(lifecycle_expires(RULE("off", "Disabled", "<Prefix></Prefix>", DAYS), "p/", rule));
    assert_true(lifecycle_expires(RULE("all", "Enabled", "<Prefix></Prefix>", DAYS), "p/", rule));
    assert_string_equal(rule, "all");
    static const char uploads[] = "<AbortIncompleteMultipartUpload><DaysAfterInitiation>7"
                                  "</DaysAfterInitiation></AbortIncompleteMultipartUpload>";
    char two[1000];
    snprintf(two, sizeof two,
             RULE("uploads", "Enabled", "<Prefix></Prefix>", "%s") RULE(
                 "tagged", "Enabled",
                 "<And><Prefix>p/</Prefix><Tag><Key>a</Key><Value>b</Value></Tag></And>", DAYS),
             uploads);
    assert_false(lifecycle_expires(two, "p/", rule));
}

int main(void)
{
    test_s3_need();
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(what_is_there_is_remembered_for_an_epoch),
        TEST(an_object_of_another_size_is_no_block_and_a_put_heals_it),
        TEST(lists_are_in_order_whatever_lies_there),
        TEST(many_pages),
        TEST(what_is_asked_for_often_is_learned),
        TEST(a_bucket_that_goes_is_no_absent_block),
        TEST(wrong_prefixes_are_refused),
        TEST(lifecycle_rules_that_meet_a_prefix_are_told),
    };
    return cmocka_run_group_tests_name("s3_blocks", tests, NULL, NULL);
}
