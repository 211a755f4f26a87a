/* SPDX-License-Identifier: Apache-2.0 */
/* Names of blocks: one a key, and nothing else is read as one. */
#include "core/block_name.h"
#include "test.h"

#include <stdio.h>
#include <string.h>

static grv_block_key key_of(uint8_t first, uint32_t size)
{
    grv_block_key key = {.digest.hash = GRV_HASH_SHA256, .size = size};
    for (size_t i = 0; i < GRV_DIGEST_SIZE; i++) {
        key.digest.bytes[i] = (uint8_t)(first + i);
    }
    return key;
}

static void names_lead_back(void **state)
{
    (void)state;
    static const uint32_t sizes[] = {1, 9, 10, 65537, GRV_BLOCK_SIZE_MAX};
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        char name[GRV_BLOCK_NAME_SIZE];
        grv_block_key key = key_of((uint8_t)(0xe0 + i), sizes[i]);
        grv_block_key back = {0};
        grv_block_name_print(&key, name);
        assert_true(grv_block_name_parse(GRV_HASH_SHA256, name, &back));
        assert_int_equal(grv_block_key_compare(&key, &back), 0);
    }
    char name[GRV_BLOCK_NAME_SIZE];
    grv_block_key key = key_of(0, 77);
    grv_block_name_print(&key, name);
    assert_string_equal(name,
                        "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f-77");
}

static void other_spellings_are_none(void **state)
{
    (void)state;
    static const char *const ends[] = {"",          "-",         "-0",          "-01", "- 1", "-1 ",
                                       "-16777217", "-99999999", "-4294967297", "-1a", "1"};
    char hex[2 * GRV_DIGEST_SIZE + 1];
    grv_block_key key = key_of(0xa0, 1);
    grv_block_key back = {0};
    char name[GRV_BLOCK_NAME_SIZE];
    grv_digest_hex(&key.digest, hex);
    for (size_t i = 0; i < sizeof ends / sizeof ends[0]; i++) {
        (void)snprintf(name, sizeof name, "%s%s", hex, ends[i]);
        assert_false(grv_block_name_parse(GRV_HASH_SHA256, name, &back));
    }
    hex[0] = 'A';
    (void)snprintf(name, sizeof name, "%s-1", hex);
    assert_false(grv_block_name_parse(GRV_HASH_SHA256, name, &back));
    hex[0] = 'g';
    (void)snprintf(name, sizeof name, "%s-1", hex);
    assert_false(grv_block_name_parse(GRV_HASH_SHA256, name, &back));
    assert_false(grv_block_name_parse(GRV_HASH_SHA256, "abc", &back));
    assert_int_equal(back.size, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_lead_back),
        cmocka_unit_test(other_spellings_are_none),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
