/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Range records: what decodes is a set in order and encodes to the same bytes. The checksum is made
 * right first, or nothing behind it would ever be reached.
 */
#include "core/range_record.h"
#include "fuzz/fuzz.h"

#include <graviton/key.h>
#include <string.h>
#include <xxhash.h>

static void fuzz_record(grv_bytes input)
{
    grv_error error = GRV_ERROR_INIT;
    grv_range_set set;
    grv_range_set_init(&set);
    uint64_t generation = 0;
    if (grv_range_record_decode(input, &generation, &set, &error)) {
        fuzz_check(set.count == 0 && generation == 0);
        return;
    }
    for (size_t i = 0; i < set.count; i++) {
        fuzz_check(set.ranges[i].first < set.ranges[i].end);
        fuzz_check(i == 0 || set.ranges[i - 1].end < set.ranges[i].first);
        fuzz_check(set.ranges[i].end <= GRV_BLOB_SIZE_MAX);
    }
    grv_buffer again;
    grv_buffer_init(&again, GRV_RANGE_RECORD_MAX);
    fuzz_check(!grv_range_record_encode(generation, &set, &again, &error));
    fuzz_check(grv_bytes_compare(grv_buffer_bytes(&again), input) == 0);
    grv_buffer_done(&again);
    grv_range_set_done(&set);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    fuzz_record(grv_bytes_of(data, size));
    if (size < 8) {
        return 0;
    }
    uint8_t *copy = malloc(size);
    fuzz_check(copy);
    memcpy(copy, data, size);
    uint64_t sum = XXH3_64bits(copy, size - 8);
    for (size_t i = 0; i < 8; i++) {
        copy[size - 8 + i] = (uint8_t)(sum >> (8 * i));
    }
    fuzz_record(grv_bytes_of(copy, size));
    free(copy);
    return 0;
}
