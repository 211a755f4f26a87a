/* SPDX-License-Identifier: Apache-2.0 */
/* Locators: what parses, what does not, and that paths are kept byte for byte. */
#include "test.h"

#include <graviton/locator.h>
#include <stdio.h>

static grv_status parse(const char *text, grv_locator *ret_locator)
{
    grv_error error = GRV_ERROR_INIT;
    return grv_locator_parse(grv_bytes_of(text, strlen(text)), ret_locator, &error);
}

static void locators_print_what_they_parse(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        const char *scheme;
        const char *bucket;
        const char *path;
        const char *printed;
    } good[] = {
        {"s3://photos/2024/a.jpg", "s3", "photos", "2024/a.jpg", "s3://photos/2024/a.jpg"},
        {"FILE://data//x/../y%2F", "file", "data", "/x/../y%2F", "file://data//x/../y%2F"},
        {"a+b-c.d://B/p://q", "a+b-c.d", "B", "p://q", "a+b-c.d://B/p://q"},
        {"m://\xff/\n", "m", "\xff", "\n", "m://\xff/\n"},
    };
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        grv_locator locator;
        char text[GRV_LOCATOR_TEXT_SIZE];
        assert_grv_status(parse(good[i].text, &locator), GRV_OK);
        assert_string_equal(locator.scheme, good[i].scheme);
        assert_string_equal(locator.bucket, good[i].bucket);
        assert_string_equal(locator.path, good[i].path);
        grv_locator_print(&locator, text);
        assert_string_equal(text, good[i].printed);
        grv_locator again;
        assert_grv_status(parse(text, &again), GRV_OK);
        assert_int_equal(grv_locator_compare(&locator, &again), 0);
    }
}

static void malformed_locators_are_refused(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "",
        "s3",
        "s3:/b/p",
        "://b/p",
        "3s://b/p",
        "s_3://b/p",
        "s3://",
        "s3:///p",
        "s3://b",
        "s3://b/",
        "s3://b\x01/p",
        "s3://b\x7f/p",
        "abcdefghijklmnopq://b/p",
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        grv_locator locator = {.scheme = "kept"};
        assert_grv_status(parse(bad[i], &locator), GRV_INVALID_ARGUMENT);
        assert_string_equal(locator.scheme, "kept");
    }
    grv_locator locator;
    grv_error error = GRV_ERROR_INIT;
    assert_grv_status(grv_locator_parse(grv_bytes_of("s3://b/p\0q", 10), &locator, &error),
                      GRV_INVALID_ARGUMENT);
    assert_grv_status(grv_locator_parse(grv_bytes_of("s3://b\0/p", 9), &locator, &error),
                      GRV_INVALID_ARGUMENT);
}

static void parts_at_their_bounds_are_taken_and_no_longer_ones(void **state)
{
    (void)state;
    grv_locator locator;
    char text[2 * GRV_LOCATOR_TEXT_SIZE];
    for (int more = 0; more < 2; more++) {
        grv_status want = more ? GRV_INVALID_ARGUMENT : GRV_OK;
        snprintf(text, sizeof text, "s3://%0*d/p", (int)GRV_LOCATOR_BUCKET_MAX + more, 0);
        assert_grv_status(parse(text, &locator), want);
        snprintf(text, sizeof text, "s3://b/%0*d", (int)GRV_LOCATOR_PATH_MAX + more, 0);
        assert_grv_status(parse(text, &locator), want);
    }
    snprintf(text, sizeof text, "abcdefghijklmnop://%0*d/%0*d", (int)GRV_LOCATOR_BUCKET_MAX, 0,
             (int)GRV_LOCATOR_PATH_MAX, 0);
    char printed[GRV_LOCATOR_TEXT_SIZE];
    assert_grv_status(parse(text, &locator), GRV_OK);
    grv_locator_print(&locator, printed);
    assert_string_equal(printed, text);
}

static void order_is_that_of_the_texts(void **state)
{
    (void)state;
    static const char *const sorted[] = {
        "a+b://a/a", "a://z!/a", "a://z-y/a",  "a://z/a",  "a://z/a!",
        "a://z/z",   "b://a/b",  "b://a/\xff", "b://aa/a", "c://a/a",
    };
    for (size_t i = 0; i < sizeof sorted / sizeof sorted[0]; i++) {
        for (size_t k = 0; k < sizeof sorted / sizeof sorted[0]; k++) {
            grv_locator a;
            grv_locator b;
            assert_grv_status(parse(sorted[i], &a), GRV_OK);
            assert_grv_status(parse(sorted[k], &b), GRV_OK);
            int order = grv_locator_compare(&a, &b);
            assert_int_equal((order > 0) - (order < 0), (i > k) - (i < k));
            int texts = strcmp(sorted[i], sorted[k]);
            assert_int_equal((order > 0) - (order < 0), (texts > 0) - (texts < 0));
        }
    }
}

static void only_what_parses_is_valid(void **state)
{
    (void)state;
    static const grv_locator bad[] = {
        {.scheme = "", .bucket = "b", .path = "p"},
        {.scheme = "S3", .bucket = "b", .path = "p"},
        {.scheme = "s:", .bucket = "b", .path = "p"},
        {.scheme = "s3", .bucket = "", .path = "p"},
        {.scheme = "s3", .bucket = "b/", .path = "p"},
        {.scheme = "s3", .bucket = "b/c", .path = "p"},
        {.scheme = "s3", .bucket = "b", .path = ""},
        {.scheme = "s3", .bucket = "\n", .path = "p"},
    };
    grv_locator good = {.scheme = "s3", .bucket = "b", .path = "/p//"};
    assert_true(grv_locator_is_valid(&good));
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        assert_false(grv_locator_is_valid(&bad[i]));
    }
    memset(good.path, 'p', sizeof good.path); /* no end */
    assert_false(grv_locator_is_valid(&good));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(locators_print_what_they_parse),
        cmocka_unit_test(malformed_locators_are_refused),
        cmocka_unit_test(parts_at_their_bounds_are_taken_and_no_longer_ones),
        cmocka_unit_test(order_is_that_of_the_texts),
        cmocka_unit_test(only_what_parses_is_valid),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
