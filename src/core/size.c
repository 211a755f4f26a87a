/* SPDX-License-Identifier: Apache-2.0 */
/* Sizes as people write them: digits and a unit. */
#include "core/size.h"

#include <inttypes.h>
#include <stdbool.h>

static unsigned unit_shift(char unit)
{
    switch (unit) {
    case 'K':
    case 'k':
        return 10;
    case 'M':
    case 'm':
        return 20;
    case 'G':
    case 'g':
        return 30;
    default:
        return 0;
    }
}

grv_status grv_size_parse(const char *text, const char *what, uint64_t max, uint64_t *ret_size,
                          grv_error *error)
{
    uint64_t size = 0;
    const char *at = text;
    bool good = *at >= '0' && *at <= '9' && (at[0] != '0' || at[1] < '0' || at[1] > '9');
    while (good && *at >= '0' && *at <= '9') {
        good = !__builtin_mul_overflow(size, UINT64_C(10), &size) &&
               !__builtin_add_overflow(size, (uint64_t)(*at - '0'), &size);
        at++;
    }
    unsigned shift = unit_shift(*at);
    if (shift) {
        good = good && size <= UINT64_MAX >> shift;
        size <<= shift;
        at++;
    }
    if (!good || *at || size > max) {
        return grv_error_set(error, GRV_INVALID_ARGUMENT, "size",
                             "bad %s \"%.60s\": want a size of at most %" PRIu64
                             " bytes, such as 64M",
                             what, text, max);
    }
    *ret_size = size;
    return GRV_OK;
}
