/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The cache's index: a hash table in the file, of buckets, each a page. A lookup reads one bucket.
 * Nothing is locked: a slot is written by one small write, and whatever two writers or a power cut
 * make of it, a wrong slot only leads to bytes that do not hash to the key.
 *
 * A slot stays when its block is evicted, until another needs it: so the index also knows what was
 * there not long ago, which eviction goes by.
 */
#include "core/wire.h"
#include "layer/cache_file.h"

#include <string.h>

#define BUCKET_SIZE  GRV_CACHE_BUCKET_SIZE
#define BUCKET_SLOTS GRV_CACHE_BUCKET_SLOTS
/* A slot: tag (8), size of the block (4), claim (4; 0: empty), offset (4), segment (2), queue. */
#define SLOT_SIZE 24u

_Static_assert(BUCKET_SLOTS *SLOT_SIZE <= BUCKET_SIZE, "a bucket holds its slots");
_Static_assert(GRV_CACHE_SEGMENTS_MAX <= UINT16_MAX, "a segment's number has two bytes");

static uint64_t bucket_offset(const grv_cache_shape *shape, const grv_block_key *key)
{
    uint64_t bucket = grv_wire_get_u64(key->digest.bytes) % shape->buckets;
    return shape->index_at + bucket * BUCKET_SIZE;
}

static bool slot_names(const uint8_t *slot, const grv_block_key *key)
{
    return memcmp(slot, key->digest.bytes + 8, 8) == 0 && grv_wire_get_u32(slot + 8) == key->size &&
           grv_wire_get_u32(slot + 12) > 0;
}

static grv_cache_place slot_place(const uint8_t *slot)
{
    return (grv_cache_place){
        .claim = grv_wire_get_u32(slot + 12),
        .offset = grv_wire_get_u32(slot + 16),
        .segment = grv_wire_get_u16(slot + 20),
        .queue = slot[22] == GRV_CACHE_MAIN ? GRV_CACHE_MAIN : GRV_CACHE_SMALL,
    };
}

bool grv_cache_place_lives(const grv_cache_state *state, const grv_cache_place *place)
{
    return place->claim > 0 && place->claim <= state->claims &&
           place->claim >= state->queues[place->queue].tail;
}

grv_status grv_cache_index_find(const grv_cache_file *file, const grv_cache_state *state,
                                const grv_block_key *key, grv_cache_trace *ret_trace,
                                grv_cache_place *ret_place, grv_error *error)
{
    uint8_t bucket[BUCKET_SIZE];
    grv_status status =
        grv_cache_file_read(file, bucket_offset(&file->shape, key), bucket, sizeof bucket, error);
    if (status) {
        return status;
    }
    grv_cache_trace trace = GRV_CACHE_UNKNOWN;
    for (size_t i = 0; i < BUCKET_SLOTS; i++) {
        const uint8_t *slot = bucket + i * SLOT_SIZE;
        if (!slot_names(slot, key)) {
            continue;
        }
        grv_cache_place place = slot_place(slot);
        if (!grv_cache_place_fits(&file->shape, &place, key->size)) {
            continue;
        }
        if (grv_cache_place_lives(state, &place)) {
            trace = GRV_CACHE_HERE;
            *ret_place = place;
            break;
        }
        if (place.claim <= state->claims && state->claims - place.claim <= file->shape.segments) {
            trace = GRV_CACHE_GONE;
        }
    }
    *ret_trace = trace;
    return GRV_OK;
}

/* What a slot is worth: an empty one nothing, else the more the younger it is, and what is gone
 * less than what is there. */
static uint64_t slot_worth(const grv_cache_state *state, const uint8_t *slot)
{
    grv_cache_place place = slot_place(slot);
    if (place.claim == 0 || place.claim > state->claims) {
        return 0;
    }
    uint64_t age = (uint64_t)place.claim << 31 | place.offset >> 1;
    return grv_cache_place_lives(state, &place) ? age | UINT64_C(1) << 63 : age;
}

grv_status grv_cache_index_put(const grv_cache_file *file, const grv_cache_state *state,
                               const grv_block_key *key, const grv_cache_place *place,
                               grv_error *error)
{
    uint8_t bucket[BUCKET_SIZE];
    uint64_t offset = bucket_offset(&file->shape, key);
    grv_status status = grv_cache_file_read(file, offset, bucket, sizeof bucket, error);
    if (status) {
        return status;
    }
    size_t best = 0;
    uint64_t least = UINT64_MAX;
    /* Each key begins elsewhere: of two blocks entered at once, few take the same empty slot. */
    size_t start = key->digest.bytes[16] % BUCKET_SLOTS;
    for (size_t k = 0; k < BUCKET_SLOTS; k++) {
        size_t i = (start + k) % BUCKET_SLOTS;
        const uint8_t *slot = bucket + i * SLOT_SIZE;
        if (slot_names(slot, key)) {
            best = i;
            break;
        }
        uint64_t worth = slot_worth(state, slot);
        if (worth < least) {
            least = worth;
            best = i;
        }
    }
    uint8_t slot[SLOT_SIZE] = {0};
    memcpy(slot, key->digest.bytes + 8, 8);
    grv_wire_put_u32(slot + 8, key->size);
    grv_wire_put_u32(slot + 12, place->claim);
    grv_wire_put_u32(slot + 16, place->offset);
    grv_wire_put_u16(slot + 20, (uint16_t)place->segment);
    slot[22] = (uint8_t)place->queue;
    return grv_cache_file_write(file, offset + best * SLOT_SIZE, slot, sizeof slot, error);
}

grv_status grv_cache_index_drop(const grv_cache_file *file, const grv_block_key *key,
                                grv_error *error)
{
    static const uint8_t empty[SLOT_SIZE];
    uint8_t bucket[BUCKET_SIZE];
    uint64_t offset = bucket_offset(&file->shape, key);
    grv_status status = grv_cache_file_read(file, offset, bucket, sizeof bucket, error);
    for (size_t i = 0; i < BUCKET_SLOTS && !status; i++) {
        if (slot_names(bucket + i * SLOT_SIZE, key)) {
            status = grv_cache_file_write(file, offset + i * SLOT_SIZE, empty, sizeof empty, error);
        }
    }
    return status;
}
