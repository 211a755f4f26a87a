/* SPDX-License-Identifier: Apache-2.0 */
/* Attributes: set, order, bounds, and the stored form against damage. */
#include "golden.h"
#include "temp.h"
#include "test.h"

#include <graviton/attributes.h>
#include <xxhash.h>

static grv_bytes text(const char *string)
{
    return grv_bytes_of(string, strlen(string));
}

static void pairs_are_sorted_and_replaced(void **state)
{
    (void)state;
    grv_error error = GRV_ERROR_INIT;
    grv_attributes attributes;
    grv_attributes_init(&attributes);
    assert_grv_ok(grv_attributes_set(&attributes, "b", text("two"), &error));
    assert_grv_ok(grv_attributes_set(&attributes, "c", text(""), &error));
    assert_grv_ok(grv_attributes_set(&attributes, "a", text("one"), &error));
    assert_grv_ok(grv_attributes_set(&attributes, "b", text("more"), &error));
    assert_int_equal(attributes.count, 3);
    assert_string_equal(attributes.pairs[0].name, "a");
    assert_string_equal(attributes.pairs[1].name, "b");
    assert_string_equal(attributes.pairs[2].name, "c");
    const grv_attribute *b = grv_attributes_get(&attributes, "b");
    assert_int_equal(b->value_size, 4);
    assert_memory_equal(b->value, "more", 4);
    /* A value may come from the record itself. */
    grv_bytes own = {b->value, b->value_size};
    assert_grv_ok(grv_attributes_set(&attributes, "b", own, &error));
    assert_memory_equal(grv_attributes_get(&attributes, "b")->value, "more", 4);
    grv_attributes_unset(&attributes, "b");
    grv_attributes_unset(&attributes, "b");
    assert_null(grv_attributes_get(&attributes, "b"));
    assert_int_equal(attributes.count, 2);
    assert_string_equal(attributes.pairs[1].name, "c");
    grv_attributes_done(&attributes);
    assert_int_equal(attributes.count, 0);
}

static void names_values_and_sums_are_bounded(void **state)
{
    (void)state;
    static const char *const bad[] = {"", "A", "a b", "a/b", "\xc3\xa9", "a\n"};
    grv_error error = GRV_ERROR_INIT;
    grv_attributes attributes;
    grv_attributes_init(&attributes);
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        assert_grv_status(grv_attributes_set(&attributes, bad[i], text("x"), &error),
                          GRV_INVALID_ARGUMENT);
    }
    char name[GRV_ATTRIBUTE_NAME_MAX + 2];
    memset(name, 'n', sizeof name);
    name[GRV_ATTRIBUTE_NAME_MAX + 1] = '\0';
    assert_grv_status(grv_attributes_set(&attributes, name, text("x"), &error),
                      GRV_INVALID_ARGUMENT);
    name[GRV_ATTRIBUTE_NAME_MAX] = '\0';
    assert_grv_ok(grv_attributes_set(&attributes, name, text("x"), &error));
    grv_attributes_unset(&attributes, name);

    static uint8_t value[GRV_ATTRIBUTE_VALUE_MAX + 1];
    assert_grv_status(
        grv_attributes_set(&attributes, "v", grv_bytes_of(value, sizeof value), &error),
        GRV_LIMIT_EXCEEDED);
    /* Seven largest values fit in the record's bound, eight do not. */
    for (int i = 0; i < 8; i++) {
        char small[] = {'v', (char)('0' + i), '\0'};
        assert_grv_status(grv_attributes_set(&attributes, small,
                                             grv_bytes_of(value, GRV_ATTRIBUTE_VALUE_MAX), &error),
                          i < 7 ? GRV_OK : GRV_LIMIT_EXCEEDED);
    }
    assert_int_equal(attributes.count, 7);
    grv_attributes_done(&attributes);
    for (unsigned i = 0; i <= GRV_ATTRIBUTES_MAX; i++) {
        char small[16];
        snprintf(small, sizeof small, "n%u", i);
        assert_grv_status(grv_attributes_set(&attributes, small, text("x"), &error),
                          i < GRV_ATTRIBUTES_MAX ? GRV_OK : GRV_LIMIT_EXCEEDED);
    }
    grv_attributes_done(&attributes);
}

static void fill(grv_attributes *attributes)
{
    grv_error error = GRV_ERROR_INIT;
    static const uint8_t odd[] = {0, 0xff, '\n', 0x80};
    grv_attributes_init(attributes);
    assert_grv_ok(grv_attributes_set(attributes, GRV_ATTRIBUTE_FILE_NAME, text("a b.txt"), &error));
    assert_grv_ok(
        grv_attributes_set(attributes, GRV_ATTRIBUTE_CONTENT_TYPE, text("text/plain"), &error));
    assert_grv_ok(grv_attributes_set(attributes, "empty", text(""), &error));
    assert_grv_ok(grv_attributes_set(attributes, "odd", grv_bytes_of(odd, sizeof odd), &error));
}

static void the_stored_form_is_pinned_and_read_back(void **state)
{
    (void)state;
    grv_error error = GRV_ERROR_INIT;
    grv_attributes attributes;
    fill(&attributes);
    grv_buffer out;
    grv_buffer_init(&out, GRV_ATTRIBUTES_BYTES_MAX);
    assert_grv_ok(grv_attributes_encode(&attributes, &out, &error));
    test_golden_check("attributes-v1.hex", grv_buffer_bytes(&out));
    grv_attributes back;
    grv_attributes_init(&back);
    assert_grv_ok(grv_attributes_set(&back, "old", text("goes"), &error));
    assert_grv_ok(grv_attributes_decode(grv_buffer_bytes(&out), &back, &error));
    assert_int_equal(back.count, attributes.count);
    for (size_t i = 0; i < back.count; i++) {
        assert_string_equal(back.pairs[i].name, attributes.pairs[i].name);
        assert_int_equal(back.pairs[i].value_size, attributes.pairs[i].value_size);
        assert_memory_equal(back.pairs[i].value, attributes.pairs[i].value,
                            back.pairs[i].value_size);
    }
    grv_attributes_done(&back);
    grv_attributes_done(&attributes);
    grv_buffer_done(&out);
}

static void damage_is_found_and_changes_nothing(void **state)
{
    (void)state;
    grv_error error = GRV_ERROR_INIT;
    grv_attributes attributes;
    fill(&attributes);
    grv_buffer out;
    grv_buffer_init(&out, GRV_ATTRIBUTES_BYTES_MAX);
    assert_grv_ok(grv_attributes_encode(&attributes, &out, &error));
    for (size_t i = 0; i < out.size; i++) {
        out.data[i] ^= 0x10;
        assert_grv_status(grv_attributes_decode(grv_buffer_bytes(&out), &attributes, &error),
                          GRV_CORRUPT);
        out.data[i] ^= 0x10;
        assert_grv_status(grv_attributes_decode(grv_bytes_of(out.data, i), &attributes, &error),
                          GRV_CORRUPT);
    }
    assert_int_equal(attributes.count, 4);
    assert_grv_ok(grv_attributes_decode(grv_buffer_bytes(&out), &attributes, &error));
    grv_attributes_done(&attributes);
    grv_buffer_done(&out);
}

/* Decodes `body` (at most 64 bytes) with a right checksum after it. */
static grv_status decode_sealed(const char *body, size_t size)
{
    grv_error error = GRV_ERROR_INIT;
    uint8_t bytes[64 + 8];
    memcpy(bytes, body, size);
    XXH64_hash_t sum = XXH3_64bits(body, size);
    for (unsigned i = 0; i < 8; i++) {
        bytes[size + i] = (uint8_t)(sum >> (8 * i));
    }
    grv_attributes attributes;
    grv_attributes_init(&attributes);
    grv_status status = grv_attributes_decode(grv_bytes_of(bytes, size + 8), &attributes, &error);
    grv_attributes_done(&attributes);
    return status;
}

#define SEALED(body) decode_sealed(body, sizeof body - 1)

static void a_right_checksum_does_not_excuse_wrong_contents(void **state)
{
    (void)state;
    assert_grv_status(SEALED("GRVA\1\0\0\0"), GRV_OK);
    assert_grv_status(SEALED("GRVA\1\0\2\0\1\0\0a\1\0\0b"), GRV_OK);
    assert_grv_status(SEALED("GRVA\2\0\0\0"), GRV_UNSUPPORTED);
    assert_grv_status(SEALED("GRVA\0\0\0\0"), GRV_CORRUPT);
    assert_grv_status(SEALED("GRVA\1\0\101\0"), GRV_CORRUPT);
    assert_grv_status(SEALED("GRVA\1\0\2\0\1\0\0b\1\0\0a"), GRV_CORRUPT);
    assert_grv_status(SEALED("GRVA\1\0\2\0\1\0\0a\1\0\0a"), GRV_CORRUPT);
    assert_grv_status(SEALED("GRVA\1\0\1\0\0\0\0"), GRV_CORRUPT);
    assert_grv_status(SEALED("GRVA\1\0\1\0\2\0\0a\0"), GRV_CORRUPT);
    assert_grv_status(SEALED("GRVA\1\0\1\0\1\2\0ax"), GRV_CORRUPT);
    assert_grv_status(SEALED("GRVA\1\0\1\0\1\0\0ax"), GRV_CORRUPT);
    assert_grv_status(SEALED("GRVA\1\0\1\0\1\0"), GRV_CORRUPT);
    assert_grv_status(SEALED("GRVA\1\0\0\0\1\0\0a"), GRV_CORRUPT);
    assert_grv_status(SEALED("GRVB\1\0\0\0"), GRV_CORRUPT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pairs_are_sorted_and_replaced),
        cmocka_unit_test(names_values_and_sums_are_bounded),
        cmocka_unit_test(the_stored_form_is_pinned_and_read_back),
        cmocka_unit_test(damage_is_found_and_changes_nothing),
        cmocka_unit_test(a_right_checksum_does_not_excuse_wrong_contents),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
