/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Signatures against values that AWS publishes: its Signature Version 4 test suite (a service named
 * "service") and the examples of the S3 documentation. Keys and secrets are those of the examples.
 */
#include "backend/s3/client.h"
#include "test.h"

#define EMPTY "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
#define TOKEN                                                                                      \
    "AQoDYXdzEPT//////////wEXAMPLEtc764bNrC9SAPBSM22wDOk4x4HIZ8j4FZTwdQWLWsKWHGBuFqwAeMicRXmxfp"   \
    "SPfIeoIYRqTflfKD8YUuwthAx7mSEI/qkPpKPi/kMcGdQrmGdeehM4IC1NtBmUpp2wUE8phUZampKsburEDy0KPkyQ"   \
    "DYwT7WZ0wq5VSXDvp75YU9HFvlRd8Tx6q6fE8YQcHNVXAkiY9q6d+xo0rKwT38xVqr7ZD0u0iPPkUL64lIZbqBAz+s"   \
    "cqKmlzm8FDrypNC9Yjc8fPOLn9FX9KSYvKTr4rvx3iSIlTJabIQwj2ICCR/oLxBA=="

/* One published request. */
typedef struct vector {
    const char *name;
    const char *method;
    const char *path; /* not encoded */
    grv_s3_pair query[3];
    grv_s3_pair headers[6];
    const char *payload;
    const char *signature;
} vector;

static size_t pair_count(const grv_s3_pair pairs[], size_t max)
{
    size_t count = 0;
    while (count < max && pairs[count].name) {
        count++;
    }
    return count;
}

/* The Authorization header of a request, encoded as the client does it. */
static void sign(const vector *v, const char *time, const char *service, const char *key_id,
                 const char *secret, grv_buffer *out)
{
    grv_error error = GRV_ERROR_INIT;
    grv_buffer path;
    grv_buffer query;
    grv_buffer_init(&path, 4096);
    grv_buffer_init(&query, 4096);
    grv_buffer_init(out, 4096);
    assert_grv_ok(grv_s3_encode(v->path, true, &path, &error));
    assert_grv_ok(grv_s3_encode_query(v->query, pair_count(v->query, 3), &query, &error));
    assert_grv_ok(grv_buffer_append(&path, grv_bytes_of("", 1), &error));
    assert_grv_ok(grv_buffer_append(&query, grv_bytes_of("", 1), &error));
    uint8_t key[SHA256_DIGEST_LENGTH];
    assert_grv_ok(grv_s3_signing_key(secret, time, "us-east-1", service, key, &error));
    grv_s3_signing signing = {.method = v->method,
                              .path = (const char *)path.data,
                              .query = (const char *)query.data,
                              .headers = v->headers,
                              .header_count = pair_count(v->headers, 6),
                              .payload = v->payload ? v->payload : EMPTY,
                              .time = time,
                              .region = "us-east-1",
                              .service = service,
                              .key_id = key_id};
    assert_grv_ok(grv_s3_sign(&signing, key, out, &error));
    assert_grv_ok(grv_buffer_append(out, grv_bytes_of("", 1), &error));
    grv_buffer_done(&path);
    grv_buffer_done(&query);
}

static void check(const vector *v, const char *time, const char *service, const char *key_id,
                  const char *secret)
{
    grv_buffer value;
    sign(v, time, service, key_id, secret, &value);
    const char *found = strstr((const char *)value.data, ",Signature=");
    assert_non_null(found);
    if (strcmp(found + strlen(",Signature="), v->signature) != 0) {
        fail_msg("%s: %s", v->name, (const char *)value.data);
    }
    grv_buffer_done(&value);
}

#define SUITE_HOST                                                                                 \
    {"host", "example.amazonaws.com"},                                                             \
    {                                                                                              \
        "x-amz-date", "20150830T123600Z"                                                           \
    }
#define UNRESERVED "-._~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"

static const vector suite[] = {
    {"get-vanilla",
     "GET",
     "/",
     {{0}},
     {SUITE_HOST},
     NULL,
     "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31"},
    {"get-vanilla-query-order-key-case",
     "GET",
     "/",
     {{"Param2", "value2"}, {"Param1", "value1"}},
     {SUITE_HOST},
     NULL,
     "b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500"},
    {"get-vanilla-query-order-value",
     "GET",
     "/",
     {{"Param1", "value2"}, {"Param1", "value1"}},
     {SUITE_HOST},
     NULL,
     "5772eed61e12b33fae39ee5e7012498b51d56abc0abb7c60486157bd471c4694"},
    {"get-vanilla-empty-query-key",
     "GET",
     "/",
     {{"Param1", "value1"}},
     {SUITE_HOST},
     NULL,
     "a67d582fa61cc504c4bae71f336f98b97f1ea3c7a6bfe1b6e45aec72011b9aeb"},
    {"get-vanilla-query-unreserved",
     "GET",
     "/",
     {{UNRESERVED, UNRESERVED}},
     {SUITE_HOST},
     NULL,
     "9c3e54bfcdf0b19771a7f523ee5669cdf59bc7cc0884027167c21bb143a40197"},
    {"get-vanilla-utf8-query",
     "GET",
     "/",
     {{"\xe1\x88\xb4", "bar"}},
     {SUITE_HOST},
     NULL,
     "2cdec8eed098649ff3a119c94853b13c643bcf08f8b0a1d91e12c9027818dd04"},
    {"get-unreserved",
     "GET",
     "/" UNRESERVED,
     {{0}},
     {SUITE_HOST},
     NULL,
     "07ef7494c76fa4850883e2b006601f940f8a34d404d0cfa977f52a65bbf5f24f"},
    {"get-utf8",
     "GET",
     "/\xe1\x88\xb4",
     {{0}},
     {SUITE_HOST},
     NULL,
     "8318018e0b0f223aa2bbf98705b62bb787dc9c0e678f255a891fd03141be5d85"},
    {"get-space",
     "GET",
     "/example space/",
     {{0}},
     {SUITE_HOST},
     NULL,
     "652487583200325589f1fba4c7e578f72c47cb61beeca81406b39ddec1366741"},
    {"get-header-key-duplicate",
     "GET",
     "/",
     {{0}},
     {SUITE_HOST, {"my-header1", "value2"}, {"my-header1", "value2"}, {"my-header1", "value1"}},
     NULL,
     "c9d5ea9f3f72853aea855b47ea873832890dbdd183b4468f858259531a5138ea"},
    {"get-header-value-order",
     "GET",
     "/",
     {{0}},
     {{"my-header1", "value4"},
      {"my-header1", "value1"},
      SUITE_HOST,
      {"my-header1", "value3"},
      {"my-header1", "value2"}},
     NULL,
     "08c7e5a9acfcfeb3ab6b2185e75ce8b1deb5e634ec47601a50643f830c755c01"},
    {"get-header-value-trim",
     "GET",
     "/",
     {{0}},
     {SUITE_HOST, {"my-header1", " value1"}, {"my-header2", " \"a   b   c\" "}},
     NULL,
     "acc3ed3afb60bb290fc8d2dd0098b9911fcaa05412b367055dee359757a9c736"},
    {"post-vanilla",
     "POST",
     "/",
     {{0}},
     {SUITE_HOST},
     NULL,
     "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b"},
    {"post-vanilla-query",
     "POST",
     "/",
     {{"Param1", "value1"}},
     {SUITE_HOST},
     NULL,
     "28038455d6de14eafc1f9222cf5aa6f1a96197d7deb8263271d420d138af7f11"},
    {"post-header-key-sort",
     "POST",
     "/",
     {{0}},
     {{"my-header1", "value1"}, SUITE_HOST},
     NULL,
     "c5410059b04c1ee005303aed430f6e6645f61f4dc9e1461ec8f8916fdf18852c"},
    {"post-sts-header-before",
     "POST",
     "/",
     {{0}},
     {SUITE_HOST, {"x-amz-security-token", TOKEN}},
     NULL,
     "85d96828115b5dc0cfc3bd16ad9e210dd772bbebba041836c64533a82be05ead"},
};

static void test_suite(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof suite / sizeof suite[0]; i++) {
        check(&suite[i], "20150830T123600Z", "service", "AKIDEXAMPLE",
              "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY");
    }
}

#define S3_HOST(payload)                                                                           \
    {"host", "examplebucket.s3.amazonaws.com"}, {"x-amz-content-sha256", payload},                 \
    {                                                                                              \
        "x-amz-date", "20130524T000000Z"                                                           \
    }
#define WELCOME "44ce7dd67c959e0d3524ffac1771dfbba87d2b6b4b4e99e42034a8b803f8b072"

/* The last one is no published value but computed apart: S3 takes a path as it is. */
static const vector examples[] = {
    {"GET object",
     "GET",
     "/test.txt",
     {{0}},
     {S3_HOST(EMPTY), {"range", "bytes=0-9"}},
     NULL,
     "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41"},
    {"PUT object",
     "PUT",
     "/test$file.text",
     {{0}},
     {{"date", "Fri, 24 May 2013 00:00:00 GMT"},
      S3_HOST(WELCOME),
      {"x-amz-storage-class", "REDUCED_REDUNDANCY"}},
     WELCOME,
     "98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd"},
    {"GET lifecycle",
     "GET",
     "/",
     {{"lifecycle", ""}},
     {S3_HOST(EMPTY)},
     NULL,
     "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543"},
    {"list objects",
     "GET",
     "/",
     {{"prefix", "J"}, {"max-keys", "2"}},
     {S3_HOST(EMPTY)},
     NULL,
     "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7"},
    {"dots and slashes",
     "GET",
     "/a//b/../c",
     {{0}},
     {S3_HOST(GRV_S3_UNSIGNED)},
     GRV_S3_UNSIGNED,
     "f21316ac4c2c003623750e1102e7cc3ed3d78f4877e85cd4520aecfe6ca4e4c5"},
};

static void test_examples(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof examples / sizeof examples[0]; i++) {
        check(&examples[i], "20130524T000000Z", "s3", "AKIAIOSFODNN7EXAMPLE",
              "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY");
    }
}

/* The whole header, as the documentation of S3 shows it. */
static void test_header(void **state)
{
    (void)state;
    grv_buffer value;
    sign(&examples[0], "20130524T000000Z", "s3", "AKIAIOSFODNN7EXAMPLE",
         "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", &value);
    assert_string_equal(
        (const char *)value.data,
        "AWS4-HMAC-SHA256 "
        "Credential=AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/aws4_request,"
        "SignedHeaders=host;range;x-amz-content-sha256;x-amz-date,"
        "Signature=f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41");
    grv_buffer_done(&value);
}

static void test_limits(void **state)
{
    (void)state;
    grv_error error = GRV_ERROR_INIT;
    grv_s3_pair headers[GRV_S3_HEADERS_MAX + 1];
    for (size_t i = 0; i <= GRV_S3_HEADERS_MAX; i++) {
        headers[i] = (grv_s3_pair){"x", "y"};
    }
    grv_s3_signing signing = {.method = "GET",
                              .path = "/",
                              .query = "",
                              .headers = headers,
                              .header_count = GRV_S3_HEADERS_MAX + 1,
                              .payload = EMPTY,
                              .time = "20130524T000000Z",
                              .region = "r",
                              .service = "s3",
                              .key_id = "id"};
    uint8_t key[SHA256_DIGEST_LENGTH] = {0};
    grv_buffer out;
    grv_buffer_init(&out, 4096);
    assert_grv_status(grv_s3_sign(&signing, key, &out, &error), GRV_INTERNAL);
    signing.header_count--;
    assert_grv_ok(grv_s3_sign(&signing, key, &out, &error));
    grv_buffer_done(&out);
    grv_buffer_init(&out, 64);
    assert_grv_status(grv_s3_sign(&signing, key, &out, &error), GRV_LIMIT_EXCEEDED);
    grv_buffer_done(&out);
}

static void test_time(void **state)
{
    (void)state;
    char text[17];
    grv_s3_time_print(0, text);
    assert_string_equal(text, "19700101T000000Z");
    grv_s3_time_print(1369353600, text);
    assert_string_equal(text, "20130524T000000Z");
    grv_s3_time_print(951827696, text);
    assert_string_equal(text, "20000229T123456Z");
    grv_s3_time_print(UINT64_MAX, text);
    assert_int_equal(strlen(text), 16);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_suite),  cmocka_unit_test(test_examples),
        cmocka_unit_test(test_header), cmocka_unit_test(test_limits),
        cmocka_unit_test(test_time),
    };
    return cmocka_run_group_tests_name("s3 sign", tests, NULL, NULL);
}
