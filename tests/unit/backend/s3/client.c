/* SPDX-License-Identifier: Apache-2.0 */
/* The client against a real service. */
#include "s3.h"
#include "temp.h"
#include "test.h"

#include <pthread.h>
#include <time.h>

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

/* What a service does with a body that does not have the hash that it is signed with: nothing. */
static void test_bodies_are_vouched_for(void **state)
{
    (void)state;
    grv_error error = GRV_ERROR_INIT;
    grv_s3_request wrong = {.method = GRV_S3_PUT,
                            .bucket = bucket,
                            .key = "vouched",
                            .body = grv_bytes_of("body", 4),
                            .body_sha256 = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991"
                                           "b7852b855"};
    assert_grv_status(grv_s3_run(NULL, s3, &wrong, 1, &error), GRV_UNAVAILABLE);
    assert_string_equal(wrong.answer.code, "XAmzContentSHA256Mismatch");
    grv_s3_request look = {
        .method = GRV_S3_HEAD, .bucket = bucket, .key = "vouched", .allow_missing = true};
    assert_grv_ok(grv_s3_run(NULL, s3, &look, 1, &error));
    assert_grv_status(look.status, GRV_NOT_FOUND);
    wrong.body_sha256 = GRV_S3_UNSIGNED;
    wrong.md5 = true;
    assert_grv_ok(grv_s3_run(NULL, s3, &wrong, 1, &error));
    wrong.body_sha256 =
        "230d8358dc8e8890b4c58deeb62912ee2f20357ae92a5cc861b98e68fe31acb5"; /* of "body" */
    assert_grv_ok(grv_s3_run(NULL, s3, &wrong, 1, &error));
}

static void test_conditions(void **state)
{
    (void)state;
    grv_error error = GRV_ERROR_INIT;
    const grv_s3_pair headers[] = {{"if-none-match", "*"},
                                   {"x-amz-meta-graviton-put", "0123456789abcdef0123456789abcdef"}};
    grv_s3_request first = {.method = GRV_S3_PUT,
                            .bucket = bucket,
                            .key = "once",
                            .headers = headers,
                            .header_count = 2,
                            .body = grv_bytes_of("1", 1),
                            .allow_precondition = true};
    assert_grv_ok(grv_s3_run(NULL, s3, &first, 1, &error));
    assert_grv_status(first.status, GRV_OK);
    assert_grv_ok(grv_s3_run(NULL, s3, &first, 1, &error));
    assert_grv_status(first.status, GRV_ALREADY_EXISTS);
    first.allow_precondition = false;
    assert_grv_status(grv_s3_run(NULL, s3, &first, 1, &error), GRV_CONFLICT);
    grv_s3_request look = {.method = GRV_S3_HEAD, .bucket = bucket, .key = "once"};
    uint64_t before_s = (uint64_t)time(NULL);
    assert_grv_ok(grv_s3_run(NULL, s3, &look, 1, &error));
    assert_string_equal(look.answer.put_id, "0123456789abcdef0123456789abcdef");
    assert_in_range(look.answer.date_ns / 1000000000, before_s - 5, (uint64_t)time(NULL) + 5);
}

static void test_ranges(void **state)
{
    (void)state;
    grv_error error = GRV_ERROR_INIT;
    assert_grv_ok(put("range", grv_bytes_of("0123456789", 10), &error));
    const grv_s3_pair middle[] = {{"range", "bytes=3-6"}};
    const grv_s3_pair past[] = {{"range", "bytes=10-"}};
    uint8_t into[4];
    grv_s3_request get = {.method = GRV_S3_GET,
                          .bucket = bucket,
                          .key = "range",
                          .headers = middle,
                          .header_count = 1,
                          .into = {into, sizeof into}};
    assert_grv_ok(grv_s3_run(NULL, s3, &get, 1, &error));
    assert_memory_equal(into, "3456", 4);
    assert_int_equal(get.answer.object_size, 10);
    assert_int_equal(get.answer.content_length, 4);
    get.headers = past;
    assert_grv_status(grv_s3_run(NULL, s3, &get, 1, &error), GRV_INVALID_ARGUMENT);
    /* An object that is shorter than one thinks is no success. */
    uint8_t longer[11];
    get = (grv_s3_request){
        .method = GRV_S3_GET, .bucket = bucket, .key = "range", .into = {longer, sizeof longer}};
    assert_grv_status(grv_s3_run(NULL, s3, &get, 1, &error), GRV_CORRUPT);
}

static void test_refusals(void **state)
{
    (void)state;
    grv_error error = GRV_ERROR_INIT;
    assert_grv_ok(grv_s3_bucket_check(NULL, s3, bucket, &error));
    assert_grv_status(grv_s3_bucket_check(NULL, s3, "test-no-such-bucket", &error), GRV_NOT_FOUND);
    assert_non_null(strstr(error.message, "test-no-such-bucket"));
    grv_s3_request get = {
        .method = GRV_S3_GET, .bucket = "test-no-such-bucket", .key = "key", .allow_missing = true};
    assert_grv_status(grv_s3_run(NULL, s3, &get, 1, &error), GRV_CONFLICT);
    const char *const keys[] = {"a"};
    assert_grv_status(grv_s3_delete_many(NULL, s3, "test-no-such-bucket", keys, 1, &error),
                      GRV_CONFLICT);
    const grv_s3_config configs[] = {
        {.endpoint = getenv("GRAVITON_TEST_S3"), .secret = "hushhushhush"},
        {.endpoint = getenv("GRAVITON_TEST_S3"), .key_id = "hushnobody", .secret = "hushhushhush"},
    };
    for (size_t i = 0; i < 2; i++) {
        grv_s3 *other;
        assert_grv_ok(grv_s3_open(&configs[i], &other, &error));
        assert_grv_status(grv_s3_bucket_check(NULL, other, bucket, &error), GRV_PERMISSION);
        assert_null(strstr(error.message, "hush"));
        assert_non_null(
            strstr(error.message, i == 0 ? "SignatureDoesNotMatch" : "InvalidAccessKey"));
        grv_s3_close(other);
    }
}

/* Many at once from several threads, over fewer connections. */
#define THREADS 4u
#define EACH    500u

static void *look_at_many(void *argument)
{
    grv_error error = GRV_ERROR_INIT;
    grv_s3_request *requests = calloc(EACH, sizeof *requests);
    uintptr_t failed = !requests;
    for (size_t i = 0; i < EACH && requests; i++) {
        requests[i] = (grv_s3_request){.method = GRV_S3_HEAD,
                                       .bucket = bucket,
                                       .key = i % 2 ? "there" : "not there",
                                       .allow_missing = true};
    }
    failed = failed || grv_s3_run(NULL, s3, requests, EACH, &error);
    for (size_t i = 0; i < EACH && !failed; i++) {
        failed = requests[i].status != (i % 2 ? GRV_OK : GRV_NOT_FOUND) ||
                 requests[i].answer.object_size != (i % 2 ? 5 : 0);
    }
    free(requests);
    (void)argument;
    return (void *)failed;
}

static void test_many_threads(void **state)
{
    (void)state;
    grv_error error = GRV_ERROR_INIT;
    assert_grv_ok(put("there", grv_bytes_of("there", 5), &error));
    pthread_t threads[THREADS];
    for (size_t i = 0; i < THREADS; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, look_at_many, NULL), 0);
    }
    for (size_t i = 0; i < THREADS; i++) {
        void *failed;
        pthread_join(threads[i], &failed);
        assert_null(failed);
    }
}

int main(void)
{
    test_s3_need();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trip),
        cmocka_unit_test(test_odd_keys),
        cmocka_unit_test(test_bodies_are_vouched_for),
        cmocka_unit_test(test_conditions),
        cmocka_unit_test(test_ranges),
        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_many_threads),
    };
    return cmocka_run_group_tests_name("s3 client", tests, set_up, tear_down);
}
