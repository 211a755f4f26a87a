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

int main(void)
{
    test_s3_need();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trip),
    };
    return cmocka_run_group_tests_name("s3 client", tests, set_up, tear_down);
}
