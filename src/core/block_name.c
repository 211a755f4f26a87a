/* SPDX-License-Identifier: Apache-2.0 */
/* Names of blocks; docs/format.md has them. */
#include "core/block_name.h"
#include "base/digits.h"

#include <string.h>

void grv_block_name_print(const grv_block_key *key, char ret_name[GRV_BLOCK_NAME_SIZE])
{
    char size[GRV_DECIMAL_SIZE];
    size_t digits = grv_decimal_print(key->size, size);
    grv_digest_hex(&key->digest, ret_name);
    ret_name[2 * GRV_DIGEST_SIZE] = '-';
    memcpy(ret_name + 2 * GRV_DIGEST_SIZE + 1, size, digits + 1);
}

/* Lower case alone: a block's name is never written otherwise. */
static int hex_value(char c)
{
    if (c >= '0' && c <= '9') {
        return c - '0';
    }
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

bool grv_block_name_parse(grv_hash hash, const char *name, grv_block_key *ret_key)
{
    grv_block_key key = {.digest.hash = hash};
    for (size_t i = 0; i < GRV_DIGEST_SIZE; i++) {
        int high = hex_value(name[2 * i]);
        int low = high < 0 ? -1 : hex_value(name[2 * i + 1]);
        if (low < 0) {
            return false;
        }
        key.digest.bytes[i] = (uint8_t)(high << 4 | low);
    }
    const char *at = name + 2 * GRV_DIGEST_SIZE;
    if (at[0] != '-' || at[1] < '1' || at[1] > '9') {
        return false;
    }
    for (at++; *at; at++) {
        if (*at < '0' || *at > '9') {
            return false;
        }
        key.size = key.size * 10 + (uint32_t)(*at - '0');
        if (key.size > GRV_BLOCK_SIZE_MAX) {
            return false;
        }
    }
    *ret_key = key;
    return true;
}
