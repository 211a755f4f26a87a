/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The stored form of a range tracker's record: exactly one for a generation and a set, the ranges
 * in order with gaps between them.
 */
#include "core/range_record.h"

#include "core/wire.h"

#include <assert.h>
#include <graviton/key.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#define RECORD_VERSION       1u
#define RECORD_HEADER_SIZE   20u
#define RECORD_ENTRY_SIZE    16u
#define RECORD_CHECKSUM_SIZE 8u

static const uint8_t record_magic[4] = {'G', 'R', 'V', 'T'};

_Static_assert(GRV_RANGE_RECORD_MAX == RECORD_HEADER_SIZE + RECORD_CHECKSUM_SIZE +
                                           RECORD_ENTRY_SIZE * GRV_RANGE_RECORD_RANGES_MAX,
               "the largest record is a full one");

grv_status grv_range_record_encode(uint64_t generation, const grv_range_set *set, grv_buffer *out,
                                   grv_error *error)
{
    assert(generation >= 1 && generation <= (uint64_t)INT64_MAX);
    assert(set->count <= GRV_RANGE_RECORD_RANGES_MAX);
    size_t body = RECORD_HEADER_SIZE + set->count * RECORD_ENTRY_SIZE;
    grv_status status = grv_buffer_reserve(out, body + RECORD_CHECKSUM_SIZE, error);
    if (status) {
        return status;
    }
    uint8_t *at = out->data + out->size;
    memcpy(at, record_magic, sizeof record_magic);
    grv_wire_put_u16(at + 4, RECORD_VERSION);
    grv_wire_put_u16(at + 6, 0);
    grv_wire_put_u64(at + 8, generation);
    grv_wire_put_u32(at + 16, (uint32_t)set->count);
    for (size_t i = 0; i < set->count; i++) {
        uint8_t *entry = at + RECORD_HEADER_SIZE + i * RECORD_ENTRY_SIZE;
        grv_wire_put_u64(entry, set->ranges[i].first);
        grv_wire_put_u64(entry + 8, set->ranges[i].end);
    }
    grv_wire_put_u64(at + body, XXH3_64bits(at, body));
    out->size += body + RECORD_CHECKSUM_SIZE;
    return GRV_OK;
}

static grv_status corrupt(const char *what, grv_error *error)
{
    return grv_error_set(error, GRV_CORRUPT, "range", "range record: %s", what);
}

/* Everything but the ranges. */
static grv_status check_envelope(grv_bytes bytes, uint64_t *ret_generation, size_t *ret_count,
                                 grv_error *error)
{
    if (bytes.size < RECORD_HEADER_SIZE + RECORD_CHECKSUM_SIZE ||
        bytes.size > GRV_RANGE_RECORD_MAX) {
        return corrupt("its size is out of bounds", error);
    }
    size_t body = bytes.size - RECORD_CHECKSUM_SIZE;
    if (memcmp(bytes.data, record_magic, sizeof record_magic) != 0) {
        return corrupt("no magic number", error);
    }
    if (grv_wire_get_u64(bytes.data + body) != XXH3_64bits(bytes.data, body)) {
        return corrupt("the checksum does not match", error);
    }
    unsigned version = grv_wire_get_u16(bytes.data + 4);
    if (version > RECORD_VERSION) {
        return grv_error_set(error, GRV_UNSUPPORTED, "range",
                             "range record of version %u: this graviton reads up to %u", version,
                             RECORD_VERSION);
    }
    uint64_t generation = grv_wire_get_u64(bytes.data + 8);
    size_t count = grv_wire_get_u32(bytes.data + 16);
    if (version < 1 || grv_wire_get_u16(bytes.data + 6) != 0 || generation < 1 ||
        generation > (uint64_t)INT64_MAX) {
        return corrupt("its version or generation is out of bounds", error);
    }
    if (count > GRV_RANGE_RECORD_RANGES_MAX ||
        body != RECORD_HEADER_SIZE + count * RECORD_ENTRY_SIZE) {
        return corrupt("its size is not that of its ranges", error);
    }
    *ret_generation = generation;
    *ret_count = count;
    return GRV_OK;
}

grv_status grv_range_record_decode(grv_bytes bytes, uint64_t *ret_generation, grv_range_set *set,
                                   grv_error *error)
{
    uint64_t generation = 0;
    size_t count = 0;
    grv_status status = check_envelope(bytes, &generation, &count, error);
    if (status) {
        return status;
    }
    grv_range_set decoded = {NULL, count, count};
    if (count > 0) {
        decoded.ranges = malloc(count * sizeof(grv_range));
        if (!decoded.ranges) {
            return grv_error_set(error, GRV_LIMIT_EXCEEDED, "range", "no memory for %zu ranges",
                                 count);
        }
    }
    for (size_t i = 0; i < count; i++) {
        const uint8_t *entry = bytes.data + RECORD_HEADER_SIZE + i * RECORD_ENTRY_SIZE;
        grv_range range = {grv_wire_get_u64(entry), grv_wire_get_u64(entry + 8)};
        bool apart = i == 0 || range.first > decoded.ranges[i - 1].end;
        if (!apart || range.end <= range.first || range.end > GRV_BLOB_SIZE_MAX) {
            grv_range_set_done(&decoded);
            return corrupt("its ranges are not in order", error);
        }
        decoded.ranges[i] = range;
    }
    grv_range_set_done(set);
    *set = decoded;
    *ret_generation = generation;
    return GRV_OK;
}
