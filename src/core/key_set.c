/* SPDX-License-Identifier: Apache-2.0 */
/* Open addressing with linear probing; a digest's first bytes are its place. */
#include "core/key_set.h"

#include <stdlib.h>
#include <string.h>

static grv_block_key *slot_of(const grv_key_set *set, const grv_block_key *key)
{
    size_t i;
    memcpy(&i, key->digest.bytes, sizeof i);
    for (i &= set->capacity - 1; set->slots[i].digest.hash; i = (i + 1) & (set->capacity - 1)) {
        if (grv_block_key_compare(&set->slots[i], key) == 0) {
            break;
        }
    }
    return &set->slots[i];
}

static grv_status grow(grv_key_set *set, grv_error *error)
{
    grv_key_set grown = {.capacity = set->capacity ? 2 * set->capacity : 64, .count = set->count};
    grown.slots = calloc(grown.capacity, sizeof(grv_block_key));
    if (!grown.slots) {
        return grv_error_set(error, GRV_LIMIT_EXCEEDED, "key_set",
                             "no memory for %zu more block keys", grown.capacity / 2);
    }
    for (size_t i = 0; i < set->capacity; i++) {
        if (set->slots[i].digest.hash) {
            *slot_of(&grown, &set->slots[i]) = set->slots[i];
        }
    }
    free(set->slots);
    *set = grown;
    return GRV_OK;
}

grv_status grv_key_set_add(grv_key_set *set, const grv_block_key *key, bool *ret_added,
                           grv_error *error)
{
    if (2 * (set->count + 1) > set->capacity) {
        grv_status status = grow(set, error);
        if (status) {
            return status;
        }
    }
    grv_block_key *slot = slot_of(set, key);
    *ret_added = slot->digest.hash == GRV_HASH_NONE;
    if (*ret_added) {
        *slot = *key;
        set->count++;
    }
    return GRV_OK;
}

void grv_key_set_done(grv_key_set *set)
{
    free(set->slots);
    *set = (grv_key_set){0};
}
