/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Finds block boundaries. One cutter serves one stream: it is shown the stream piece by piece and
 * says where blocks end. The cuts depend on the stream's bytes and the specification alone, never
 * on how the stream was split into pieces.
 */
#ifndef GRV_CORE_CHUNK_H
#define GRV_CORE_CHUNK_H

#include <graviton/chunker.h>

/* A cutter in the caller's storage; owns no memory. One thread at a time. */
typedef struct grv_cutter {
    grv_chunker_spec spec;
    uint32_t block_min;
    uint32_t block_max;
    size_t scanned; /* bytes of the block in progress that are known to hold no cut */
    const struct grv_cdc_scanner *scanner; /* cdc: the CPU's fastest; tests put another */
} grv_cutter;

/* Starts a stream. `spec` has passed grv_chunker_spec_check. */
void grv_cutter_init(grv_cutter *cutter, const grv_chunker_spec *spec);

/*
 * Cuts data[0, size), where data[0] is the first byte of a block. Writes the sizes of the blocks
 * that end in it to ret_sizes, in order, at most `capacity` of them, and their number to
 * *ret_count; returns the bytes they have together. With `at_end` the stream ends at `size`, and
 * what is left is the last block (none if nothing is left).
 *
 * The next call begins with the bytes that were not consumed, at least one more than this time
 * unless `capacity` was reached or `at_end` comes now. Fewer than block_max bytes are ever left
 * over when `capacity` was not reached.
 */
size_t grv_cutter_cut(grv_cutter *cutter, const uint8_t *data, size_t size, bool at_end,
                      uint32_t ret_sizes[], size_t capacity, size_t *ret_count);

#endif
