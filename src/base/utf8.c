/* SPDX-License-Identifier: Apache-2.0 */
/* The first byte of a character says how many follow, and the range of the next one, which is what
 * keeps overlong forms, surrogates and what is past U+10FFFF out. */
#include "base/utf8.h"

size_t grv_utf8_length(grv_bytes text, size_t *ret_bad)
{
    uint8_t first = text.data[0];
    uint8_t low = first == 0xe0 ? 0xa0 : first == 0xf0 ? 0x90 : 0x80;
    uint8_t high = first == 0xed ? 0x9f : first == 0xf4 ? 0x8f : 0xbf;
    size_t bad = 1;
    size_t length = first < 0x80 ? 1 : first < 0xe0 ? 2 : first < 0xf0 ? 3 : 4;
    if (first >= 0x80 && (first < 0xc2 || first > 0xf4)) {
        length = 0;
    }
    for (size_t i = 1; i < length; i++) {
        if (i == text.size || text.data[i] < low || text.data[i] > high) {
            bad = i;
            length = 0;
        }
        low = 0x80;
        high = 0xbf;
    }
    if (length == 0 && ret_bad) {
        *ret_bad = bad;
    }
    return length;
}

bool grv_utf8_is_valid(grv_bytes text)
{
    while (text.size > 0) {
        size_t length = grv_utf8_length(text, NULL);
        if (length == 0) {
            return false;
        }
        text = (grv_bytes){text.data + length, text.size - length};
    }
    return true;
}
