/* SPDX-License-Identifier: Apache-2.0 */
/* Hexadecimal and decimal digits. */
#include "base/digits.h"

#include <string.h>

void grv_hex_print(const uint8_t *bytes, size_t size, char *ret_text)
{
    static const char digits[] = "0123456789abcdef";
    for (size_t i = 0; i < size; i++) {
        ret_text[2 * i] = digits[bytes[i] >> 4];
        ret_text[2 * i + 1] = digits[bytes[i] & 15];
    }
    ret_text[2 * size] = '\0';
}

size_t grv_decimal_print(uint64_t value, char ret_text[GRV_DECIMAL_SIZE])
{
    char text[GRV_DECIMAL_SIZE];
    size_t at = sizeof text - 1;
    text[at] = '\0';
    do {
        text[--at] = (char)('0' + value % 10);
        value /= 10;
    } while (value > 0);
    memcpy(ret_text, text + at, sizeof text - at);
    return sizeof text - 1 - at;
}
