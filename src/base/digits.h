/* SPDX-License-Identifier: Apache-2.0 */
/* Digits of bytes and numbers, without a format to be read first: keys and names are printed for
 * every block and every request. */
#ifndef GRV_BASE_DIGITS_H
#define GRV_BASE_DIGITS_H

#include <stddef.h>
#include <stdint.h>

/* Room for a number's digits and NUL. */
#define GRV_DECIMAL_SIZE 21

/* Two lower-case hexadecimal digits a byte, and NUL: 2 * `size` + 1 characters. */
void grv_hex_print(const uint8_t *bytes, size_t size, char *ret_text);

/* A number's decimal digits and NUL; how many they are. */
size_t grv_decimal_print(uint64_t value, char ret_text[GRV_DECIMAL_SIZE]);

#endif
