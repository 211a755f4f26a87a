/* SPDX-License-Identifier: Apache-2.0 */
/* UTF-8: the borders of its table, from both sides; every character, whole and cut. */
#include "base/utf8.h"
#include "test.h"

#include <string.h>

static void utf8_is_told_from_what_only_looks_like_it(void **state)
{
    (void)state;
    static const char *const good[] = {"",
                                       "a",
                                       "\x7f",
                                       "\xc2\x80",
                                       "\xdf\xbf",
                                       "\xe0\xa0\x80",
                                       "\xed\x9f\xbf",
                                       "\xee\x80\x80",
                                       "\xf0\x90\x80\x80",
                                       "\xf4\x8f\xbf\xbf"};
    static const char *const bad[] = {"\x80",
                                      "\xbf",
                                      "\xc0\x80",
                                      "\xc1\xbf",
                                      "\xc2",
                                      "\xc2z",
                                      "\xe0\x9f\xbf",
                                      "\xe0\xa0",
                                      "\xed\xa0\x80",
                                      "\xf0\x8f\xbf\xbf",
                                      "\xf4\x90\x80\x80",
                                      "\xf5\x80\x80\x80",
                                      "\xff",
                                      "a\xfe"};
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        assert_true(grv_utf8_is_valid(grv_bytes_of(good[i], strlen(good[i]))));
    }
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_false(grv_utf8_is_valid(grv_bytes_of(bad[i], strlen(bad[i]))));
    }
}

static size_t print(uint32_t point, uint8_t ret_text[4])
{
    static const uint8_t firsts[] = {0x00, 0xc0, 0xe0, 0xf0};
    size_t more = point < 0x80 ? 0 : point < 0x800 ? 1 : point < 0x10000 ? 2 : 3;
    for (size_t i = more; i > 0; i--) {
        ret_text[i] = (uint8_t)(0x80 | (point & 0x3f));
        point >>= 6;
    }
    ret_text[0] = (uint8_t)(firsts[more] | point);
    return more + 1;
}

static void every_character(void **state)
{
    (void)state;
    uint8_t text[4];
    for (uint32_t point = 0; point <= 0x10ffff; point++) {
        size_t size = print(point, text);
        bool is_surrogate = point >= 0xd800 && point <= 0xdfff;
        size_t length = grv_utf8_length((grv_bytes){text, size}, NULL);
        if (length != (is_surrogate ? 0 : size)) {
            fail_msg("U+%04X: %zu", point, length);
        }
        size_t bad = 0;
        for (size_t cut = 1; cut < size && !is_surrogate; cut++) {
            if (grv_utf8_length((grv_bytes){text, cut}, &bad) != 0 || bad != cut) {
                fail_msg("U+%04X: cut to %zu of %zu bytes, %zu are bad", point, cut, size, bad);
            }
        }
    }
}

static void bad_bytes_count_as_one(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        size_t bad;
    } cases[] = {{"\x80", 1},
                 {"\xc0\x80", 1},
                 {"\xe0\x80\x80", 1},
                 {"\xed\xa0\x80", 1},
                 {"\xe2\x82"
                  "a",
                  2},
                 {"\xf0\x9f\x98"
                  "a",
                  3},
                 {"\xf4\x90\x80", 1},
                 {"\xf5\x80\x80\x80", 1}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        size_t bad = 0;
        grv_bytes text = grv_bytes_of(cases[i].text, strlen(cases[i].text));
        assert_int_equal(grv_utf8_length(text, &bad), 0);
        assert_int_equal(bad, cases[i].bad);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(utf8_is_told_from_what_only_looks_like_it),
        cmocka_unit_test(every_character),
        cmocka_unit_test(bad_bytes_count_as_one),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
