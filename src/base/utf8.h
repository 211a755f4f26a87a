/* SPDX-License-Identifier: Apache-2.0 */
/* Well-formed UTF-8 (Unicode, table 3-7): no surrogates, no overlong forms, nothing past
 * U+10FFFF. */
#ifndef GRV_BASE_UTF8_H
#define GRV_BASE_UTF8_H

#include <graviton/bytes.h>

/* Bytes of the well-formed character that `text` (not empty) begins with; 0: none. Then *ret_bad
 * (NULL allowed) is how many bytes one replacement character stands for (Unicode's "maximal
 * subpart"). */
size_t grv_utf8_length(grv_bytes text, size_t *ret_bad);

/* True if all of `text` is well-formed; so is none at all. */
bool grv_utf8_is_valid(grv_bytes text);

#endif
