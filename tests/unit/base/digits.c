/* SPDX-License-Identifier: Apache-2.0 */
/* Digits: what printf would print. */
#include "base/digits.h"
#include "test.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static void hexadecimal(void **state)
{
    (void)state;
    uint8_t bytes[256];
    char text[2 * sizeof bytes + 2];
    for (size_t i = 0; i < sizeof bytes; i++) {
        bytes[i] = (uint8_t)i;
    }
    for (size_t size = 0; size <= sizeof bytes; size += 64) {
        memset(text, '?', sizeof text);
        grv_hex_print(bytes, size, text);
        assert_int_equal(strlen(text), 2 * size);
        assert_int_equal(text[2 * size + 1], '?');
        for (size_t i = 0; i < size; i++) {
            char wanted[3];
            (void)snprintf(wanted, sizeof wanted, "%02x", (unsigned)i);
            assert_memory_equal(text + 2 * i, wanted, 2);
        }
    }
}

static void decimal(void **state)
{
    (void)state;
    uint64_t value = 1;
    for (unsigned i = 0; i < 64; i++, value *= 2) {
        const uint64_t numbers[] = {value - 1, value, value + 1, UINT64_MAX - value};
        for (size_t k = 0; k < sizeof numbers / sizeof numbers[0]; k++) {
            char text[GRV_DECIMAL_SIZE];
            char wanted[GRV_DECIMAL_SIZE];
            int size = snprintf(wanted, sizeof wanted, "%" PRIu64, numbers[k]);
            assert_int_equal(grv_decimal_print(numbers[k], text), size);
            assert_string_equal(text, wanted);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(hexadecimal),
        cmocka_unit_test(decimal),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
