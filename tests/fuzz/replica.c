/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Stored forms of replicas: what decodes encodes to the same bytes. The first byte says whether the
 * rest is a key, a row, or a record; a record's checksum is made right first, or nothing behind it
 * would ever be reached.
 */
#include "core/replica_record.h"
#include "fuzz/fuzz.h"

#include <string.h>
#include <xxhash.h>

static void fuzz_key(grv_bytes input)
{
    grv_replica_key key;
    if (grv_replica_key_decode(input, &key, NULL)) {
        return;
    }
    uint8_t bytes[GRV_REPLICA_KEY_BYTES_MAX];
    char text[GRV_REPLICA_KEY_TEXT_SIZE];
    fuzz_check(grv_replica_key_is_valid(&key));
    fuzz_check(grv_replica_key_encode(&key, bytes) == input.size);
    fuzz_check(memcmp(bytes, input.data, input.size) == 0);
    grv_replica_key_print(&key, text);
    fuzz_check(strlen(text) < sizeof text);
}

static void fuzz_row(grv_bytes input)
{
    grv_locator locator;
    grv_replica_key key;
    if (grv_replica_row_decode(input, &locator, &key, NULL)) {
        return;
    }
    uint8_t bytes[GRV_REPLICA_ROW_MAX];
    fuzz_check(grv_locator_is_valid(&locator) && grv_replica_key_is_valid(&key));
    fuzz_check(grv_replica_row_encode(&locator, &key, bytes) == input.size);
    fuzz_check(memcmp(bytes, input.data, input.size) == 0);
}

static void fuzz_record(grv_bytes input)
{
    grv_error error = GRV_ERROR_INIT;
    grv_locator_set set;
    grv_locator_set_init(&set);
    if (grv_replica_record_decode(input, &set, &error)) {
        fuzz_check(set.count == 0);
        return;
    }
    grv_buffer again;
    grv_buffer_init(&again, GRV_REPLICA_RECORD_MAX);
    fuzz_check(!grv_replica_record_encode(&set, &again, &error));
    fuzz_check(grv_bytes_compare(grv_buffer_bytes(&again), input) == 0);
    grv_buffer_done(&again);
    grv_locator_set_done(&set);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0) {
        return 0;
    }
    const grv_bytes input = {data + 1, size - 1};
    if (data[0] % 3 == 0) {
        fuzz_key(input);
        return 0;
    }
    if (data[0] % 3 == 1) {
        fuzz_row(input);
        return 0;
    }
    fuzz_record(input);
    if (input.size < 8) {
        return 0;
    }
    uint8_t *copy = malloc(input.size);
    fuzz_check(copy);
    memcpy(copy, input.data, input.size);
    uint64_t sum = XXH3_64bits(copy, input.size - 8);
    for (size_t i = 0; i < 8; i++) {
        copy[input.size - 8 + i] = (uint8_t)(sum >> (8 * i));
    }
    fuzz_record(grv_bytes_of(copy, input.size));
    free(copy);
    return 0;
}
