/* SPDX-License-Identifier: Apache-2.0 */
/* Sizes as text. */
#include "core/size.h"

#include "test.h"

static void sizes_with_and_without_units(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        uint64_t size;
    } good[] = {
        {"0", 0},
        {"1", 1},
        {"1000", 1000},
        {"4K", 4096},
        {"64M", UINT64_C(64) << 20},
        {"3g", UINT64_C(3) << 30},
        {"18446744073709551615", UINT64_MAX},
    };
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        grv_error error = GRV_ERROR_INIT;
        uint64_t size = 77;
        assert_grv_ok(grv_size_parse(good[i].text, "it", UINT64_MAX, &size, &error));
        assert_int_equal(size, good[i].size);
    }
}

static void other_words_are_refused(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "",
        "K",
        "-1",
        "+1",
        " 1",
        "1 ",
        "01",
        "1T",
        "1KB",
        "1.5M",
        "0x10",
        "18446744073709551616",
        "17179869184G",
        "1025",
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        grv_error error = GRV_ERROR_INIT;
        uint64_t size = 77;
        uint64_t max = i + 1 < sizeof bad / sizeof bad[0] ? UINT64_MAX : 1024;
        assert_grv_status(grv_size_parse(bad[i], "it", max, &size, &error), GRV_INVALID_ARGUMENT);
        assert_int_equal(size, 77);
        assert_non_null(strstr(error.message, "bad it"));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sizes_with_and_without_units),
        cmocka_unit_test(other_words_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
