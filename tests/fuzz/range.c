/* SPDX-License-Identifier: Apache-2.0 */
/* Byte ranges: what parses lies within the size it was parsed for. */
#include "fuzz/fuzz.h"

#include <graviton/range.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    grv_error error = GRV_ERROR_INIT;
    static const uint64_t sizes[] = {0, 1, 2, 1000, INT64_MAX};
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        grv_range range = {7, 3};
        if (grv_range_parse(grv_bytes_of(data, size), sizes[i], &range, &error) == GRV_OK) {
            fuzz_check(range.first <= range.end && range.end <= sizes[i]);
        } else {
            fuzz_check(range.first == 7 && range.end == 3);
        }
    }
    return 0;
}
