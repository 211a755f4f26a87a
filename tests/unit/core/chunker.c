/* SPDX-License-Identifier: Apache-2.0 */
/* Chunker specifications: what parses, what it prints, what is refused, and the bounds. */
#include "test.h"

#include <graviton/chunker.h>

#define BYTES_32 "000102030405060708090a0b0c0d0e0f000102030405060708090a0b0c0d0e0f"

static grv_status parse(const char *text, grv_chunker_spec *ret_spec)
{
    grv_error error = GRV_ERROR_INIT;
    grv_status status = grv_chunker_spec_parse(grv_bytes_of(text, strlen(text)), ret_spec, &error);
    if (status) {
        assert_int_equal(error.status, status);
        assert_true(error.message[0] != '\0');
    }
    return status;
}

static void specs_print_canonically(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        const char *canonical;
    } cases[] = {
        {"cdc", "cdc:64K"},
        {"cdc:65536", "cdc:64K"},
        {"CDC:16k", "cdc:16K"},
        {"cdc:4M", "cdc:4M"},
        {"cdc:1024K", "cdc:1M"},
        {"fixed:1", "fixed:1"},
        {"fixed:64", "fixed:64"},
        {"fixed:1025", "fixed:1025"},
        {"fixed:16777216", "fixed:16M"},
        {"fixed:16m", "fixed:16M"},
        {"delimiter:0A", "delimiter:0a,1M"},
        {"delimiter:0a,1", "delimiter:0a,1"},
        {"delimiter:0d0a,16M", "delimiter:0d0a,16M"},
        {"Delimiter:ff00,5k", "delimiter:ff00,5K"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        grv_chunker_spec spec;
        grv_chunker_spec again;
        char text[GRV_CHUNKER_TEXT_SIZE];
        assert_grv_status(parse(cases[i].text, &spec), GRV_OK);
        grv_chunker_spec_print(&spec, text);
        assert_string_equal(text, cases[i].canonical);
        assert_grv_status(parse(text, &again), GRV_OK);
        assert_true(grv_chunker_spec_equal(&spec, &again));
    }
}

static void the_longest_text_fits(void **state)
{
    (void)state;
    grv_chunker_spec spec = {.kind = GRV_CHUNKER_DELIMITER, .size = (16u << 20) - 1};
    spec.delimiter_size = GRV_DELIMITER_MAX;
    memset(spec.delimiter, 0xfe, sizeof spec.delimiter);
    grv_chunker_spec again;
    char text[GRV_CHUNKER_TEXT_SIZE];
    grv_chunker_spec_print(&spec, text);
    assert_int_equal(strlen(text), strlen("delimiter:") + 128 + strlen(",16777215"));
    assert_grv_status(parse(text, &again), GRV_OK);
    assert_true(grv_chunker_spec_equal(&spec, &again));
}

static void malformed_specs_are_refused(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "",
        ":",
        "cd",
        "cdcx",
        "rolling:64K",
        "cdc:",
        "cdc:0",
        "cdc:K",
        "cdc:+65536",
        "cdc:-1",
        "cdc: 64K",
        "cdc:64K ",
        "cdc:064K",
        "cdc:64KB",
        "cdc:64K:1",
        "cdc:0x10000",
        "cdc:8K",
        "cdc:8M",
        "cdc:100000",
        "cdc:65537",
        "cdc:4294967296",
        "cdc:4294967360K",
        "cdc:99999999999999999999",
        "fixed",
        "fixed:",
        "fixed:0",
        "fixed:16777217",
        "fixed:17M",
        "fixed:1G",
        "fixed:4G",
        "fixed:9999999999G",
        "delimiter",
        "delimiter:",
        "delimiter:0",
        "delimiter:0a0",
        "delimiter:0g",
        "delimiter:,1M",
        "delimiter:0a,",
        "delimiter:0a,0",
        "delimiter:0d0a,1",
        "delimiter:0a,17M",
        "delimiter:0a,1M,1",
        ("delimiter:" BYTES_32 BYTES_32 "00"), /* 65 bytes */
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        grv_chunker_spec spec = {.size = 77};
        if (parse(bad[i], &spec) != GRV_INVALID_ARGUMENT) {
            fail_msg("\"%s\" was not refused", bad[i]);
        }
        assert_int_equal(spec.size, 77);
    }
    grv_chunker_spec spec;
    assert_grv_status(grv_chunker_spec_parse((grv_bytes){0}, &spec, NULL), GRV_INVALID_ARGUMENT);
    assert_grv_status(grv_chunker_spec_parse(grv_bytes_of("cdc:64K\0", 8), &spec, NULL),
                      GRV_INVALID_ARGUMENT);
    assert_grv_status(grv_chunker_spec_parse(grv_bytes_of("cdc:\0", 5), &spec, NULL),
                      GRV_INVALID_ARGUMENT);
}

/* Specifications also come out of stores, so every field may hold anything. */
static void out_of_bounds_specs_fail_the_check(void **state)
{
    (void)state;
    static const grv_chunker_spec bad[] = {
        {.kind = 0, .size = 65536},
        {.kind = (grv_chunker_kind)4, .size = 65536},
        {.kind = (grv_chunker_kind)-1, .size = 65536},
        {.kind = GRV_CHUNKER_CDC, .size = 0},
        {.kind = GRV_CHUNKER_CDC, .size = 8192},
        {.kind = GRV_CHUNKER_CDC, .size = 65535},
        {.kind = GRV_CHUNKER_CDC, .size = 1u << 31},
        {.kind = GRV_CHUNKER_CDC, .size = 65536, .delimiter_size = 1},
        {.kind = GRV_CHUNKER_FIXED, .size = 0},
        {.kind = GRV_CHUNKER_FIXED, .size = (16u << 20) + 1},
        {.kind = GRV_CHUNKER_DELIMITER, .size = 10},
        {.kind = GRV_CHUNKER_DELIMITER, .size = 100, .delimiter_size = 65},
        {.kind = GRV_CHUNKER_DELIMITER, .size = 3, .delimiter_size = 4},
        {.kind = GRV_CHUNKER_DELIMITER, .size = UINT32_MAX, .delimiter_size = 4},
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        grv_error error = GRV_ERROR_INIT;
        assert_grv_status(grv_chunker_spec_check(&bad[i], &error), GRV_INVALID_ARGUMENT);
        assert_true(error.message[0] != '\0');
    }
    grv_error error = GRV_ERROR_INIT;
    grv_chunker_spec spec = grv_chunker_default();
    assert_grv_ok(grv_chunker_spec_check(&spec, &error));
}

static void block_bounds_follow_the_kind(void **state)
{
    (void)state;
    grv_chunker_spec spec = grv_chunker_default();
    assert_int_equal(grv_chunker_block_min(&spec), 16 << 10);
    assert_int_equal(grv_chunker_block_max(&spec), 256 << 10);
    assert_grv_status(parse("cdc:4M", &spec), GRV_OK);
    assert_int_equal(grv_chunker_block_max(&spec), GRV_BLOCK_SIZE_MAX);
    assert_grv_status(parse("fixed:1000", &spec), GRV_OK);
    assert_int_equal(grv_chunker_block_min(&spec), 1000);
    assert_int_equal(grv_chunker_block_max(&spec), 1000);
    assert_grv_status(parse("delimiter:0d0a,9000", &spec), GRV_OK);
    assert_int_equal(grv_chunker_block_min(&spec), 2);
    assert_int_equal(grv_chunker_block_max(&spec), 9000);
}

static void equality_is_of_what_cuts(void **state)
{
    (void)state;
    static const char *const different[] = {
        "cdc",          "cdc:128K",     "fixed:64K",      "fixed:128K",
        "delimiter:0a", "delimiter:0b", "delimiter:0a00", "delimiter:0a,64K"};
    size_t count = sizeof different / sizeof different[0];
    for (size_t i = 0; i < count; i++) {
        for (size_t k = 0; k < count; k++) {
            grv_chunker_spec a;
            grv_chunker_spec b;
            assert_grv_status(parse(different[i], &a), GRV_OK);
            assert_grv_status(parse(different[k], &b), GRV_OK);
            assert_int_equal(grv_chunker_spec_equal(&a, &b), i == k);
        }
    }
    grv_chunker_spec a;
    assert_grv_status(parse("delimiter:0a", &a), GRV_OK);
    grv_chunker_spec b = a;
    b.delimiter[5] = 9; /* past the delimiter's end */
    assert_true(grv_chunker_spec_equal(&a, &b));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(specs_print_canonically),
        cmocka_unit_test(the_longest_text_fits),
        cmocka_unit_test(malformed_specs_are_refused),
        cmocka_unit_test(out_of_bounds_specs_fail_the_check),
        cmocka_unit_test(block_bounds_follow_the_kind),
        cmocka_unit_test(equality_is_of_what_cuts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
