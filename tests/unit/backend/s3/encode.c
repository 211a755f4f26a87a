/* SPDX-License-Identifier: Apache-2.0 */
/* Percent-encoding there and back. */
#include "backend/s3/client.h"
#include "test.h"

static void check(const char *text, bool keep_slash, const char *expected)
{
    grv_error error = GRV_ERROR_INIT;
    grv_buffer out;
    grv_buffer_init(&out, 4096);
    assert_grv_ok(grv_s3_encode(text, keep_slash, &out, &error));
    assert_grv_ok(grv_buffer_append(&out, grv_bytes_of("", 1), &error));
    assert_string_equal((const char *)out.data, expected);
    grv_buffer_done(&out);
}

static void test_text(void **state)
{
    (void)state;
    check("", true, "");
    check("AZaz09-_.~", false, "AZaz09-_.~");
    check("a/b//c", true, "a/b//c");
    check("a/b", false, "a%2Fb");
    check("a b+c%2F", true, "a%20b%2Bc%252F");
    check("!\"#$&'()*,:;<=>?@[\\]^`{|}", true,
          "%21%22%23%24%26%27%28%29%2A%2C%3A%3B%3C%3D%3E%3F%40%5B%5C%5D%5E%60%7B%7C%7D");
    check("\x01\r\n\x7f", true, "%01%0D%0A%7F");
    check("gr\xc3\xbc\xc3\x9f", true, "gr%C3%BC%C3%9F");
    check("../.", true, "../.");
}

static void test_all_bytes_come_back(void **state)
{
    (void)state;
    grv_error error = GRV_ERROR_INIT;
    char text[256];
    for (int i = 1; i < 256; i++) {
        text[i - 1] = (char)i;
    }
    text[255] = '\0';
    for (int keep_slash = 0; keep_slash < 2; keep_slash++) {
        grv_buffer out;
        grv_buffer_init(&out, 4096);
        assert_grv_ok(grv_s3_encode(text, keep_slash, &out, &error));
        assert_grv_ok(grv_buffer_append(&out, grv_bytes_of("", 1), &error));
        assert_true(grv_s3_decode((char *)out.data));
        assert_string_equal((const char *)out.data, text);
        grv_buffer_done(&out);
    }
}

static void test_limit(void **state)
{
    (void)state;
    grv_error error = GRV_ERROR_INIT;
    grv_buffer out;
    grv_buffer_init(&out, 8);
    assert_grv_ok(grv_s3_encode("ab", false, &out, &error));
    assert_grv_status(grv_s3_encode("abc", false, &out, &error), GRV_LIMIT_EXCEEDED);
    assert_int_equal(out.size, 2);
    grv_buffer_done(&out);
}

static void check_query(const grv_s3_pair query[], size_t count, const char *expected)
{
    grv_error error = GRV_ERROR_INIT;
    grv_buffer out;
    grv_buffer_init(&out, 4096);
    assert_grv_ok(grv_s3_encode_query(query, count, &out, &error));
    assert_grv_ok(grv_buffer_append(&out, grv_bytes_of("", 1), &error));
    assert_string_equal((const char *)out.data, expected);
    grv_buffer_done(&out);
}

static void test_query(void **state)
{
    (void)state;
    check_query(NULL, 0, "");
    const grv_s3_pair bare[] = {{"uploads", ""}};
    check_query(bare, 1, "uploads=");
    /* By name, then value, as they are encoded: "-" sorts before "=", so "a-b=" would come first
     * if the texts were compared as a whole. */
    const grv_s3_pair order[] = {{"b", "2"}, {"a-b", "1"}, {"a", "z"}, {"a", "y"}, {"B", "0"}};
    check_query(order, 5, "B=0&a=y&a=z&a-b=1&b=2");
    const grv_s3_pair odd[] = {{"prefix", "a/b &=+"}, {"start-after", "\xc3\xa9%"}};
    check_query(odd, 2, "prefix=a%2Fb%20%26%3D%2B&start-after=%C3%A9%25");
    grv_error error = GRV_ERROR_INIT;
    grv_s3_pair many[GRV_S3_QUERY_MAX + 1];
    for (size_t i = 0; i <= GRV_S3_QUERY_MAX; i++) {
        many[i] = (grv_s3_pair){"a", "b"};
    }
    grv_buffer out;
    grv_buffer_init(&out, 4096);
    assert_grv_status(grv_s3_encode_query(many, GRV_S3_QUERY_MAX + 1, &out, &error), GRV_INTERNAL);
    assert_int_equal(out.size, 0);
    grv_buffer_done(&out);
}

static void check_decode(const char *text, const char *expected)
{
    char copy[64];
    snprintf(copy, sizeof copy, "%s", text);
    bool decoded = grv_s3_decode(copy);
    assert_int_equal(decoded, expected != NULL);
    if (expected) {
        assert_string_equal(copy, expected);
    }
}

static void test_decode(void **state)
{
    (void)state;
    check_decode("", "");
    check_decode("a+b%20c", "a b c");
    check_decode("%2b%2B", "++");
    check_decode("%e1%88%b4", "\xe1\x88\xb4");
    check_decode("%252F", "%2F");
    check_decode("%", NULL);
    check_decode("%4", NULL);
    check_decode("%4g", NULL);
    check_decode("%g4", NULL);
    check_decode("a%00b", NULL);
}

static void test_source(void **state)
{
    (void)state;
    grv_error error = GRV_ERROR_INIT;
    char text[GRV_S3_SOURCE_SIZE];
    assert_grv_ok(grv_s3_encode_source("bucket", "/a b/\xc3\xa9+", text, sizeof text, &error));
    assert_string_equal(text, "bucket//a%20b/%C3%A9%2B");
    char key[GRV_S3_KEY_MAX + 1];
    memset(key, '\xff', GRV_S3_KEY_MAX);
    key[GRV_S3_KEY_MAX] = '\0';
    char bucket[64];
    memset(bucket, 'b', 63);
    bucket[63] = '\0';
    assert_grv_ok(grv_s3_encode_source(bucket, key, text, sizeof text, &error));
    assert_int_equal(strlen(text), 63 + 1 + 3 * GRV_S3_KEY_MAX);
    char small[9] = "before";
    assert_grv_ok(grv_s3_encode_source("abcd", "efg", small, sizeof small, &error));
    assert_string_equal(small, "abcd/efg");
    assert_grv_status(grv_s3_encode_source("abcd", "efgh", small, sizeof small, &error),
                      GRV_INTERNAL);
    assert_string_equal(small, "abcd/efg");
}

static void test_key_check(void **state)
{
    (void)state;
    grv_error error = GRV_ERROR_INIT;
    char longest[GRV_S3_KEY_MAX + 2];
    memset(longest, 'k', sizeof longest);
    longest[GRV_S3_KEY_MAX] = '\0';
    const char *good[] = {"a",
                          "\x01",
                          "/",
                          "a//b/../c",
                          "\xc3\xa9",
                          "\x7f",
                          "\xe1\x88\xb4",
                          "\xf0\x9f\x98\x80",
                          "\xf4\x8f\xbf\xbf",
                          longest};
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        assert_grv_ok(grv_s3_key_check(good[i], &error));
    }
    longest[GRV_S3_KEY_MAX] = 'k';
    longest[GRV_S3_KEY_MAX + 1] = '\0';
    const char *bad[] = {"",
                         longest,
                         "\x80",             /* goes on with nothing */
                         "\xc3",             /* cut */
                         "\xe1\x88",         /* cut */
                         "\xc3(",            /* not gone on with */
                         "\xc0\xaf",         /* longer than need be */
                         "\xe0\x9f\xbf",     /* longer than need be */
                         "\xed\xa0\x80",     /* half of a pair */
                         "\xf4\x90\x80\x80", /* past the last */
                         "\xff"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        assert_grv_status(grv_s3_key_check(bad[i], &error), GRV_UNSUPPORTED);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_text),      cmocka_unit_test(test_all_bytes_come_back),
        cmocka_unit_test(test_limit),     cmocka_unit_test(test_query),
        cmocka_unit_test(test_decode),    cmocka_unit_test(test_source),
        cmocka_unit_test(test_key_check),
    };
    return cmocka_run_group_tests_name("s3 encode", tests, NULL, NULL);
}
