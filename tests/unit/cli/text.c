/* SPDX-License-Identifier: Apache-2.0 */
/* Names and texts as the program prints them: UTF-8, escapes, base64, sizes and times. */
#include "cli/text.h"

#include "cli/options.h"
#include "cli/progress.h"
#include "test.h"

#include <string.h>

#define BYTES(text) grv_bytes_of(text, sizeof(text) - 1)

static void assert_lossy(grv_bytes from, const char *wanted)
{
    json_t *string = cli_json_text(from);
    assert_non_null(string);
    assert_string_equal(json_string_value(string), wanted);
    json_decref(string);
}

static void bad_bytes_become_replacement_characters(void **state)
{
    (void)state;
    assert_lossy(BYTES(""), "");
    assert_lossy(BYTES("a\xff"
                       "b"),
                 "a\xEF\xBF\xBD"
                 "b");
    /* A cut character is one replacement; bytes that begin none are one each. */
    assert_lossy(BYTES("\xf0\x90\x80"), "\xEF\xBF\xBD");
    assert_lossy(BYTES("\xed\xa0\x80"), "\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD");
    assert_lossy(BYTES("\xe2\x82\xac"), "\xe2\x82\xac");
}

static void assert_base64(grv_bytes name, const char *wanted)
{
    json_t *object = json_object();
    assert_true(cli_json_set_name(object, "name", name));
    const char *exact = json_string_value(json_object_get(object, "name_base64"));
    if (wanted) {
        assert_non_null(exact);
        assert_string_equal(exact, wanted);
    } else {
        assert_null(exact);
    }
    json_decref(object);
}

static void a_name_that_is_not_utf8_is_kept_exactly(void **state)
{
    (void)state;
    assert_base64(BYTES("plain"), NULL);
    assert_base64(BYTES("\xff"), "/w==");
    assert_base64(BYTES("\xff\xfe"), "//4=");
    assert_base64(BYTES("\xff\xfe\xfd"), "//79");
    assert_base64(BYTES("\xff\xfe\xfd"
                        "a"),
                  "//79YQ==");
}

static void assert_bytes(const grv_buffer *buffer, const char *wanted)
{
    assert_int_equal(buffer->size, strlen(wanted));
    assert_memory_equal(buffer->data, wanted, buffer->size);
}

static void names_and_messages_stay_on_one_line(void **state)
{
    (void)state;
    grv_error error = GRV_ERROR_INIT;
    grv_buffer out;
    assert_false(cli_name_needs_escape(BYTES("a\tb\xff")));
    assert_true(cli_name_needs_escape(BYTES("a\n")));
    assert_true(cli_name_needs_escape(BYTES("\r")));
    assert_true(cli_name_needs_escape(BYTES("\\")));
    grv_buffer_init(&out, 100);
    assert_grv_ok(cli_name_escape(BYTES("a\nb\rc\\d\te"), &out, &error));
    assert_bytes(&out, "a\\nb\\rc\\\\d\te");
    grv_buffer_done(&out);
    grv_buffer_init(&out, 100);
    assert_grv_ok(cli_text_sanitise(BYTES("a\n\x1b[2J\x7f\xc3\xa4"), &out, &error));
    assert_bytes(&out, "a\\n\\x1b[2J\\x7f\xc3\xa4");
    grv_buffer_done(&out);
}

static void assert_size(uint64_t size, const char *wanted)
{
    char text[CLI_SIZE_TEXT_SIZE];
    cli_size_print(size, text);
    assert_string_equal(text, wanted);
}

static void sizes_and_times_read_well_at_their_bounds(void **state)
{
    (void)state;
    char text[CLI_TIME_TEXT_SIZE];
    assert_size(0, "0 B");
    assert_size(1023, "1023 B");
    assert_size(1024, "1.0 KiB");
    assert_size((UINT64_C(1) << 20) - 1, "1.0 MiB");
    assert_size(UINT64_C(3) << 29, "1.5 GiB");
    assert_size(UINT64_MAX, "16.0 EiB");
    cli_time_print(0, text);
    assert_string_equal(text, "1970-01-01T00:00:00.000Z");
    cli_time_print(UINT64_C(951782400123456789), text);
    assert_string_equal(text, "2000-02-29T00:00:00.123Z");
    cli_time_print(UINT64_MAX, text);
    assert_string_equal(text, "2554-07-21T23:34:33.709Z");
}

static void numbers_are_decimal_and_in_range(void **state)
{
    (void)state;
    grv_error error = GRV_ERROR_INIT;
    uint64_t number = 7;
    static const char *const bad[] = {
        "", "-1", "+1", " 1", "1 ", "0x1", "18446744073709551616", "99999999999999999999999"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_int_equal(cli_number_parse(bad[i], "n", 0, UINT64_MAX, &number, &error),
                         GRV_INVALID_ARGUMENT);
    }
    assert_int_equal(cli_number_parse("5", "n", 6, 9, &number, &error), GRV_INVALID_ARGUMENT);
    assert_int_equal(number, 7);
    assert_grv_ok(cli_number_parse("18446744073709551615", "n", 0, UINT64_MAX, &number, &error));
    assert_true(number == UINT64_MAX);
    assert_int_equal(cli_json_integer(number), INT64_MAX);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bad_bytes_become_replacement_characters),
        cmocka_unit_test(a_name_that_is_not_utf8_is_kept_exactly),
        cmocka_unit_test(names_and_messages_stay_on_one_line),
        cmocka_unit_test(numbers_are_decimal_and_in_range),
        cmocka_unit_test(sizes_and_times_read_well_at_their_bounds),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
