/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Frames: what decodes unpacks within its stated size or fails. The checksum is also made right,
 * or nothing behind it would ever be reached.
 */
#include "core/frame.h"
#include "fuzz/fuzz.h"

#include <string.h>
#include <xxhash.h>

static void check_frame(const uint8_t *data, size_t size)
{
    grv_error error = GRV_ERROR_INIT;
    grv_frame frame;
    if (grv_frame_decode(grv_bytes_of(data, size), &frame, &error)) {
        return;
    }
    fuzz_check(frame.size <= size && frame.raw_size <= GRV_FRAME_RAW_MAX);
    fuzz_check(frame.payload.data >= data &&
               frame.payload.data + frame.payload.size <= data + frame.size);
    static grv_frame_coder coder;
    uint8_t *raw = malloc(frame.raw_size ? frame.raw_size : 1);
    fuzz_check(raw);
    grv_span span = {raw, frame.raw_size};
    grv_status status = grv_frame_unpack(&coder, &frame, span, &error);
    fuzz_check(status == GRV_OK || status == GRV_CORRUPT);
    free(raw);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    check_frame(data, size);
    if (size < GRV_FRAME_OVERHEAD) {
        return 0;
    }
    uint8_t *copy = malloc(size);
    fuzz_check(copy);
    memcpy(copy, data, size);
    uint64_t sum = XXH3_64bits(copy, size - GRV_FRAME_TRAILER_SIZE);
    for (size_t i = 0; i < GRV_FRAME_TRAILER_SIZE; i++) {
        copy[size - GRV_FRAME_TRAILER_SIZE + i] = (uint8_t)(sum >> (8 * i));
    }
    check_frame(copy, size);
    free(copy);
    return 0;
}
