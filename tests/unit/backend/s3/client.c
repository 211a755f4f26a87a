/* SPDX-License-Identifier: Apache-2.0 */
/* The client against a real service. */
#include "s3.h"
#include "temp.h"
#include "test.h"

static grv_s3 *s3;
static char bucket[TEST_S3_BUCKET_SIZE];

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

static grv_status put(const char *key, grv_bytes body, grv_error *error)
{
    grv_s3_request request = {.method = GRV_S3_PUT,
                              .bucket = bucket,
                              .key = key,
                              .body = body,
                              .allow_precondition = true};
    return grv_s3_run(NULL, s3, &request, 1, error);
}

static void test_round_trip(void **state)
{
    (void)state;
    grv_error error = GRV_ERROR_INIT;
    static const size_t sizes[] = {0, 1, 4096, 300000, 5u << 20};
    uint64_t seed = 1;
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        uint8_t *body = malloc(sizes[i] + 1);
        uint8_t *back = malloc(sizes[i] + 1);
        test_random_fill(&seed, body, sizes[i]);
        assert_grv_ok(put("round trip", grv_bytes_of(body, sizes[i]), &error));
        grv_s3_request requests[] = {
            {.method = GRV_S3_HEAD, .bucket = bucket, .key = "round trip"},
            {.method = GRV_S3_GET, .bucket = bucket, .key = "round trip", .into = {back, sizes[i]}},
        };
        assert_grv_ok(grv_s3_run(NULL, s3, requests, 2, &error));
        assert_int_equal(requests[0].answer.object_size, sizes[i]);
        assert_int_equal(requests[1].answer.object_size, sizes[i]);
        assert_string_equal(requests[0].answer.etag, requests[1].answer.etag);
        assert_int_equal(strlen(requests[0].answer.etag), 32);
        assert_true(requests[0].answer.modified_ns > UINT64_C(1600000000000000000));
        assert_memory_equal(body, back, sizes[i]);
        free(body);
        free(back);
    }
}

/* Keys that somebody on the way might change, in the order of their bytes. */
static const char *const odd_keys[] = {
    "\x01",
    " ",
    "%",
    "%2F",
    "+",
    "-_.~!*'();:@&=+$,[]",
    ".",
    "..",
    "../x",
    "./x",
    "/",
    "//",
    "/a",
    "<&>\"'",
    "?a=b#c",
    "\\",
    "a",
    "a\tb",
    "a\nb",
    "a\rb",
    "a b",
    "a%2fb",
    "a+b",
    "a/",
    "a//b",
    "a/./b",
    "a/b",
    "\x7f",
    "gr\xc3\xbc\xc3\x9f",
    "\xe1\x88\xb4",
    "\xef\xbf\xbd",
    "\xef\xbf\xbf",
    "\xf0\x9f\x98\x80",
};
#define ODD_KEYS (sizeof odd_keys / sizeof odd_keys[0])

static int compare_keys(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static void check_list(const char *const keys[], size_t count, unsigned most)
{
    grv_error error = GRV_ERROR_INIT;
    char after[GRV_S3_KEY_MAX + 1] = "";
    size_t seen = 0;
    for (bool more = true; more;) {
        grv_s3_page page;
        assert_grv_ok(grv_s3_list(NULL, s3, bucket, "", after, most, &page, &error));
        for (size_t i = 0; i < page.count; i++) {
            assert_true(seen < count);
            assert_string_equal(page.entries[i].key, keys[seen]);
            assert_int_equal(page.entries[i].size, strlen(keys[seen]));
            assert_int_equal(strlen(page.entries[i].etag), 32);
            assert_true(page.entries[i].modified_ns > UINT64_C(1600000000000000000));
            snprintf(after, sizeof after, "%s", keys[seen++]);
        }
        more = page.truncated;
        grv_s3_page_done(&page);
    }
    assert_int_equal(seen, count);
}

static void test_odd_keys(void **state)
{
    (void)state;
    grv_error error = GRV_ERROR_INIT;
    const char *keys[ODD_KEYS + 1];
    char longest[GRV_S3_KEY_MAX + 1];
    memset(longest, 'k', sizeof longest);
    longest[GRV_S3_KEY_MAX] = '\0';
    memcpy(keys, odd_keys, sizeof odd_keys);
    keys[ODD_KEYS] = longest;
    qsort(keys, ODD_KEYS + 1, sizeof keys[0], compare_keys);
    test_s3_empty_bucket(s3, bucket);
    for (size_t i = 0; i <= ODD_KEYS; i++) {
        if (put(keys[i], grv_bytes_of(keys[i], strlen(keys[i])), &error)) {
            fail_msg("%s: %s", keys[i], error.message);
        }
    }
    for (size_t i = 0; i <= ODD_KEYS; i++) {
        uint8_t back[GRV_S3_KEY_MAX];
        size_t size = strlen(keys[i]);
        grv_s3_request get = {
            .method = GRV_S3_GET, .bucket = bucket, .key = keys[i], .into = {back, size}};
        assert_grv_ok(grv_s3_run(NULL, s3, &get, 1, &error));
        assert_memory_equal(back, keys[i], size);
    }
    check_list(keys, ODD_KEYS + 1, 1000);
    check_list(keys, ODD_KEYS + 1, 1);
    check_list(keys, ODD_KEYS + 1, 7);
    grv_s3_page page;
    assert_grv_ok(grv_s3_list(NULL, s3, bucket, "a/", "a/./b", 1000, &page, &error));
    assert_int_equal(page.count, 2);
    assert_string_equal(page.entries[0].key, "a//b");
    assert_string_equal(page.entries[1].key, "a/b");
    grv_s3_page_done(&page);
    assert_grv_ok(grv_s3_delete_many(NULL, s3, bucket, keys, ODD_KEYS + 1, &error));
    check_list(NULL, 0, 1000);
    assert_grv_ok(grv_s3_delete_many(NULL, s3, bucket, keys, ODD_KEYS + 1, &error));
}

int main(void)
{
    test_s3_need();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trip),
        cmocka_unit_test(test_odd_keys),
    };
    return cmocka_run_group_tests_name("s3 client", tests, set_up, tear_down);
}
