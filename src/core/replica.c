/* SPDX-License-Identifier: Apache-2.0 */
/* Replica keys, and sets of locators: a sorted array without repeats. */
#include "base/digits.h"
#include "core/wire.h"

#include <assert.h>
#include <graviton/replica.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PACK_BYTES_SIZE (GRV_SESSION_ID_SIZE + 8)

_Static_assert(PACK_BYTES_SIZE <= GRV_KEY_BYTES_SIZE, "a pack's key has room where any other has");

bool grv_replica_key_is_valid(const grv_replica_key *key)
{
    switch (key->kind) {
    case GRV_REPLICA_BLOB:
        return grv_blob_key_is_valid(&key->of.blob);
    case GRV_REPLICA_BLOCK:
        return grv_block_key_is_valid(&key->of.block);
    case GRV_REPLICA_PACK:
        return true;
    }
    return false;
}

int grv_replica_key_compare(const grv_replica_key *a, const grv_replica_key *b)
{
    uint8_t bytes_a[GRV_REPLICA_KEY_BYTES_MAX];
    uint8_t bytes_b[GRV_REPLICA_KEY_BYTES_MAX];
    size_t size_a = grv_replica_key_encode(a, bytes_a);
    size_t size_b = grv_replica_key_encode(b, bytes_b);
    return grv_bytes_compare(grv_bytes_of(bytes_a, size_a), grv_bytes_of(bytes_b, size_b));
}

size_t grv_replica_key_encode(const grv_replica_key *key,
                              uint8_t ret_bytes[GRV_REPLICA_KEY_BYTES_MAX])
{
    assert(grv_replica_key_is_valid(key));
    ret_bytes[0] = (uint8_t)key->kind;
    switch (key->kind) {
    case GRV_REPLICA_BLOB:
        grv_blob_key_encode(&key->of.blob, ret_bytes + 1);
        break;
    case GRV_REPLICA_BLOCK:
        grv_block_key_encode(&key->of.block, ret_bytes + 1);
        break;
    case GRV_REPLICA_PACK:
        memcpy(ret_bytes + 1, key->of.pack.session, GRV_SESSION_ID_SIZE);
        grv_wire_put_u64be(ret_bytes + 1 + GRV_SESSION_ID_SIZE, key->of.pack.number);
        return 1 + PACK_BYTES_SIZE;
    }
    return 1 + GRV_KEY_BYTES_SIZE;
}

grv_status grv_replica_key_decode(grv_bytes bytes, grv_replica_key *ret_key, grv_error *error)
{
    unsigned kind = bytes.size > 0 ? bytes.data[0] : 0;
    if (kind < GRV_REPLICA_BLOB || kind > GRV_REPLICA_PACK) {
        return grv_error_set(error, GRV_CORRUPT, "replica", "a stored replica key of no kind");
    }
    grv_replica_key key = {.kind = (grv_replica_kind)kind};
    const grv_bytes rest = {bytes.data + 1, bytes.size - 1};
    grv_status status = GRV_OK;
    if (key.kind == GRV_REPLICA_BLOB) {
        status = grv_blob_key_decode(rest, &key.of.blob, error);
    } else if (key.kind == GRV_REPLICA_BLOCK) {
        status = grv_block_key_decode(rest, &key.of.block, error);
    } else if (rest.size == PACK_BYTES_SIZE) {
        memcpy(key.of.pack.session, rest.data, GRV_SESSION_ID_SIZE);
        key.of.pack.number = grv_wire_get_u64be(rest.data + GRV_SESSION_ID_SIZE);
    } else {
        status =
            grv_error_set(error, GRV_CORRUPT, "replica", "a stored pack key of %zu bytes, want %d",
                          rest.size, PACK_BYTES_SIZE);
    }
    if (!status) {
        *ret_key = key;
    }
    return status;
}

void grv_replica_key_print(const grv_replica_key *key, char ret_text[GRV_REPLICA_KEY_TEXT_SIZE])
{
    char name[GRV_KEY_TEXT_SIZE];
    if (key->kind == GRV_REPLICA_PACK) {
        char hex[2 * GRV_SESSION_ID_SIZE + 1];
        grv_hex_print(key->of.pack.session, GRV_SESSION_ID_SIZE, hex);
        snprintf(ret_text, GRV_REPLICA_KEY_TEXT_SIZE, "pack:%s:%" PRIu64, hex, key->of.pack.number);
    } else if (key->kind == GRV_REPLICA_BLOB) {
        grv_blob_key_print(&key->of.blob, name);
        snprintf(ret_text, GRV_REPLICA_KEY_TEXT_SIZE, "blob:%s", name);
    } else {
        grv_block_key_print(&key->of.block, name);
        snprintf(ret_text, GRV_REPLICA_KEY_TEXT_SIZE, "block:%s", name);
    }
}

void grv_locator_set_init(grv_locator_set *set)
{
    *set = (grv_locator_set){0};
}

void grv_locator_set_done(grv_locator_set *set)
{
    free(set->locators);
    *set = (grv_locator_set){0};
}

/* Where `locator` is, or where it would go. */
static size_t find_place(const grv_locator_set *set, const grv_locator *locator, bool *ret_found)
{
    size_t low = 0;
    size_t high = set->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        int order = grv_locator_compare(&set->locators[middle], locator);
        if (order == 0) {
            *ret_found = true;
            return middle;
        }
        if (order < 0) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    *ret_found = false;
    return low;
}

grv_status grv_locator_set_add(grv_locator_set *set, const grv_locator *locator, grv_error *error)
{
    bool found = false;
    size_t place = find_place(set, locator, &found);
    if (found) {
        return GRV_OK;
    }
    if (set->count >= GRV_LOCATOR_SET_MAX) {
        return grv_error_set(error, GRV_LIMIT_EXCEEDED, "replica", "more than %u locators in a set",
                             GRV_LOCATOR_SET_MAX);
    }
    grv_locator copy = *locator; /* which may lie in the set, and that moves */
    if (set->count == set->capacity) {
        size_t capacity = set->capacity ? 2 * set->capacity : 2;
        grv_locator *locators = realloc(set->locators, capacity * sizeof *locators);
        if (!locators) {
            return grv_error_set(error, GRV_LIMIT_EXCEEDED, "replica", "no memory for %zu locators",
                                 capacity);
        }
        set->locators = locators;
        set->capacity = capacity;
    }
    grv_locator *at = set->locators + place;
    memmove(at + 1, at, (set->count - place) * sizeof *at);
    *at = copy;
    set->count++;
    return GRV_OK;
}

void grv_locator_set_remove(grv_locator_set *set, const grv_locator *locator)
{
    bool found = false;
    size_t place = find_place(set, locator, &found);
    if (!found) {
        return;
    }
    grv_locator *at = set->locators + place;
    set->count--;
    memmove(at, at + 1, (set->count - place) * sizeof *at);
}

bool grv_locator_set_contains(const grv_locator_set *set, const grv_locator *locator)
{
    bool found = false;
    find_place(set, locator, &found);
    return found;
}
