/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Cutters: the cuts of a stream do not depend on how it is split. The input's head chooses the
 * chunker and the splits; its tail, repeated and stirred, is the stream.
 */
#include "core/chunk.h"
#include "fuzz/fuzz.h"
#include "temp.h"

#define STREAM_SIZE ((size_t)200000)
#define CUTS_MAX    ((size_t)200001)

static grv_chunker_spec choose(const uint8_t *data)
{
    grv_chunker_spec spec = {.kind = GRV_CHUNKER_CDC, .size = 16384};
    if (data[0] % 3 == 1) {
        spec.kind = GRV_CHUNKER_FIXED;
        spec.size = 1 + data[1] * 97u;
    } else if (data[0] % 3 == 2) {
        spec.kind = GRV_CHUNKER_DELIMITER;
        spec.delimiter_size = 1 + data[1] % 4;
        memcpy(spec.delimiter, data + 2, spec.delimiter_size);
        spec.size = spec.delimiter_size + data[6] * 256u;
    }
    return spec;
}

/* Cuts the stream, showing it in pieces that grow by what *seed gives (0: whole). */
static size_t cut_all(const grv_chunker_spec *spec, const uint8_t *stream, uint64_t seed,
                      uint32_t sizes[])
{
    grv_cutter cutter;
    grv_cutter_init(&cutter, spec);
    size_t start = 0;
    size_t shown = seed ? 0 : STREAM_SIZE;
    size_t count = 0;
    for (;;) {
        bool at_end = shown == STREAM_SIZE;
        size_t got = 0;
        size_t capacity = 1 + (seed ? (size_t)(test_random(&seed) % 40) : CUTS_MAX - 1);
        if (capacity > CUTS_MAX - count) {
            capacity = CUTS_MAX - count;
        }
        size_t used = grv_cutter_cut(&cutter, stream + start, shown - start, at_end, sizes + count,
                                     capacity, &got);
        fuzz_check(got <= capacity && used <= shown - start);
        count += got;
        start += used;
        if (at_end && start == STREAM_SIZE) {
            return count;
        }
        fuzz_check(!at_end || got > 0);
        if (got < capacity) {
            fuzz_check(shown - start < grv_chunker_block_max(spec));
            shown += (size_t)(test_random(&seed) % 30000) + 1;
            shown = shown > STREAM_SIZE ? STREAM_SIZE : shown;
        }
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static uint8_t stream[STREAM_SIZE];
    static uint32_t whole[CUTS_MAX];
    static uint32_t split[CUTS_MAX];
    if (size < 9) {
        return 0;
    }
    grv_chunker_spec spec = choose(data);
    if (grv_chunker_spec_check(&spec, NULL)) {
        return 0;
    }
    uint64_t seed = data[7] + 1u;
    uint8_t stir = data[8] & 1 ? 0xff : 0;
    for (size_t i = 0; i < STREAM_SIZE; i++) {
        stream[i] = (uint8_t)(data[8 + i % (size - 8)] ^ (stir & (test_random(&seed) >> 32)));
    }
    size_t count = cut_all(&spec, stream, 0, whole);
    uint64_t split_seed = data[7] + 1000u;
    fuzz_check(cut_all(&spec, stream, split_seed, split) == count);
    fuzz_check(memcmp(whole, split, count * sizeof whole[0]) == 0);
    size_t sum = 0;
    for (size_t i = 0; i < count; i++) {
        fuzz_check(whole[i] >= 1 && whole[i] <= grv_chunker_block_max(&spec));
        fuzz_check(i + 1 == count || whole[i] >= grv_chunker_block_min(&spec));
        sum += whole[i];
    }
    fuzz_check(sum == STREAM_SIZE);
    return 0;
}
