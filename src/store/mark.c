/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A hash set of block keys over a moving stretch [low, high) of the key space. When it fills, high
 * moves down to the middle of what it holds and the keys above are dropped: they belong to a later
 * pass.
 *
 * A key's place is its algorithm and the first eight bytes of its digest, so stretches follow the
 * key order that block stores list in.
 */
#include "store/mark.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#define MARK_BLOBS 64u
#define MARK_REFS  1024u

/* A stretch that is too full is cut between two of its keys, so it must hold two. */
#define MARK_KEYS_MIN 2u

/* A position in the key space: algorithm, then digest prefix. Ends: one past the last algorithm. */
typedef struct mark_place {
    uint32_t hash;
    uint64_t prefix;
} mark_place;

typedef struct mark_slot {
    grv_block_key key; /* size 0: the slot is empty */
    bool asked;
} mark_slot;

struct grv_mark {
    grv_manifest_repo *repo;
    size_t keys_max;
    mark_place low;
    mark_place high;
    mark_slot *slots;
    size_t slot_count; /* a power of two, at most half full */
    size_t used;
    bool started;
    grv_mark_totals totals;
    grv_blob_info infos[MARK_BLOBS];
    grv_block_ref refs[MARK_REFS];
};

static const mark_place mark_end = {GRV_HASH_SHA256 + 1, 0};

static mark_place place_of(const grv_block_key *key)
{
    uint64_t prefix = 0;
    for (unsigned i = 0; i < 8; i++) {
        prefix = prefix << 8 | key->digest.bytes[i];
    }
    return (mark_place){(uint32_t)key->digest.hash, prefix};
}

static bool place_before(mark_place a, mark_place b)
{
    return a.hash != b.hash ? a.hash < b.hash : a.prefix < b.prefix;
}

/* The slot that has `key`, or the empty one where it would go. */
static mark_slot *mark_find(mark_slot slots[], size_t slot_count, const grv_block_key *key)
{
    uint64_t hash;
    memcpy(&hash, key->digest.bytes + 8, sizeof hash); /* digests are random: any bytes will do */
    for (size_t at = (size_t)hash & (slot_count - 1);; at = (at + 1) & (slot_count - 1)) {
        mark_slot *slot = &slots[at];
        if (slot->key.size == 0 || grv_block_key_compare(&slot->key, key) == 0) {
            return slot;
        }
    }
}

/* Rebuilds the set with `slot_count` slots, without the keys at or past `high`. */
static grv_status mark_rebuild(grv_mark *mark, size_t slot_count, grv_error *error)
{
    mark_slot *slots = calloc(slot_count, sizeof *slots);
    if (!slots) {
        return grv_error_set(error, GRV_LIMIT_EXCEEDED, "mark", "no memory for %zu keys",
                             slot_count);
    }
    mark->used = 0;
    for (size_t i = 0; i < mark->slot_count; i++) {
        const grv_block_key *key = &mark->slots[i].key;
        if (key->size > 0 && place_before(place_of(key), mark->high)) {
            *mark_find(slots, slot_count, key) = mark->slots[i];
            mark->used++;
        }
    }
    free(mark->slots);
    mark->slots = slots;
    mark->slot_count = slot_count;
    return GRV_OK;
}

static int place_compare(const void *a, const void *b)
{
    const mark_place *x = a;
    const mark_place *y = b;
    return place_before(*x, *y) ? -1 : place_before(*y, *x) ? 1 : 0;
}

/* Moves `high` down to the median of the keys held. */
static grv_status mark_lower(grv_mark *mark, grv_error *error)
{
    mark_place *places = malloc(mark->used * sizeof *places);
    if (!places) {
        return grv_error_set(error, GRV_LIMIT_EXCEEDED, "mark", "no memory for %zu keys",
                             mark->used);
    }
    size_t count = 0;
    for (size_t i = 0; i < mark->slot_count; i++) {
        if (mark->slots[i].key.size > 0) {
            places[count++] = place_of(&mark->slots[i].key);
        }
    }
    qsort(places, count, sizeof *places, place_compare);
    mark_place middle = places[count / 2];
    bool splits = place_before(places[0], middle);
    free(places);
    if (!splits) {
        return grv_error_set(error, GRV_LIMIT_EXCEEDED, "mark",
                             "more than %zu blocks share the first 64 bits of their digest",
                             count / 2);
    }
    mark->high = middle;
    return mark_rebuild(mark, mark->slot_count, error);
}

static grv_status mark_add(grv_mark *mark, const grv_block_key *key, grv_error *error)
{
    mark_place place = place_of(key);
    if (place_before(place, mark->low) || !place_before(place, mark->high)) {
        return GRV_OK;
    }
    mark_slot *slot = mark_find(mark->slots, mark->slot_count, key);
    if (slot->key.size > 0) {
        return GRV_OK;
    }
    slot->key = *key;
    mark->used++;
    if (mark->used >= mark->keys_max) {
        return mark_lower(mark, error);
    }
    if (2 * mark->used > mark->slot_count) {
        return mark_rebuild(mark, 2 * mark->slot_count, error);
    }
    return GRV_OK;
}

/* Adds the blocks of one blob. */
static grv_status mark_blob(const grv_call *call, grv_mark *mark, const grv_blob_key *key,
                            uint64_t *ret_references, grv_error *error)
{
    grv_ref_cursor *cursor = NULL;
    grv_status status = grv_manifest_repo_open_refs(call, mark->repo, key, 0, &cursor, error);
    uint64_t references = 0;
    size_t count = 1;
    while (!status && count > 0) {
        status = grv_ref_cursor_next(call, cursor, mark->refs, MARK_REFS, &count, error);
        for (size_t i = 0; i < count && !status; i++) {
            status = mark_add(mark, &mark->refs[i].key, error);
        }
        references += status ? 0 : count;
    }
    grv_ref_cursor_free(cursor);
    if (status == GRV_NOT_FOUND) {
        return GRV_OK; /* removed since it was listed */
    }
    if (status) {
        char text[GRV_KEY_TEXT_SIZE];
        grv_blob_key_print(key, text);
        grv_error_prefix(error, "manifest of %s", text);
        return status;
    }
    *ret_references = references;
    return GRV_OK;
}

static grv_status mark_all(const grv_call *call, grv_mark *mark, grv_mark_totals *ret_totals,
                           grv_error *error)
{
    grv_mark_totals totals = {0};
    grv_blob_list list = {.order = GRV_ORDER_KEY};
    grv_blob_cursor *cursor = NULL;
    grv_status status = grv_manifest_repo_open_list(call, mark->repo, &list, &cursor, error);
    size_t count = 1;
    while (!status && count > 0) {
        status = grv_blob_cursor_next(call, cursor, mark->infos, MARK_BLOBS, &count, error);
        for (size_t i = 0; i < count && !status; i++) {
            uint64_t references = 0;
            status = mark_blob(call, mark, &mark->infos[i].key, &references, error);
            totals.blobs++;
            totals.logical_bytes += mark->infos[i].key.size;
            totals.references += references;
        }
    }
    grv_blob_cursor_free(cursor);
    if (!status) {
        *ret_totals = totals;
    }
    return status;
}

grv_status grv_mark_new(grv_manifest_repo *repo, size_t keys_max, grv_mark **ret_mark,
                        grv_error *error)
{
    grv_mark *mark = calloc(1, sizeof *mark);
    if (!mark) {
        return grv_error_set(error, GRV_LIMIT_EXCEEDED, "mark", "no memory for a mark");
    }
    mark->repo = repo;
    mark->keys_max = keys_max ? keys_max : GRV_MARK_KEYS_MAX;
    if (mark->keys_max < MARK_KEYS_MIN) {
        mark->keys_max = MARK_KEYS_MIN;
    }
    *ret_mark = mark;
    return GRV_OK;
}

grv_status grv_mark_pass(const grv_call *call, grv_mark *mark, bool *ret_end, grv_error *error)
{
    if (mark->started && !place_before(mark->high, mark_end)) {
        *ret_end = true;
        return GRV_OK;
    }
    mark->low = mark->high;
    mark->high = mark_end;
    free(mark->slots);
    mark->slots = NULL;
    mark->slot_count = 0;
    grv_status status = mark_rebuild(mark, 1024, error);
    if (status) {
        return status;
    }
    grv_mark_totals totals;
    status = mark_all(call, mark, &totals, error);
    if (status) {
        return status;
    }
    if (!mark->started) {
        mark->totals = totals;
        mark->started = true;
    }
    *ret_end = false;
    return GRV_OK;
}

bool grv_mark_is_past(const grv_mark *mark, const grv_block_key *key)
{
    return !place_before(place_of(key), mark->high);
}

bool grv_mark_test(grv_mark *mark, const grv_block_key *key)
{
    assert(!place_before(place_of(key), mark->low) && !grv_mark_is_past(mark, key));
    mark_slot *slot = mark_find(mark->slots, mark->slot_count, key);
    if (slot->key.size == 0) {
        return false;
    }
    slot->asked = true;
    return true;
}

uint64_t grv_mark_unasked(const grv_mark *mark)
{
    uint64_t unasked = 0;
    for (size_t i = 0; i < mark->slot_count; i++) {
        unasked += mark->slots[i].key.size > 0 && !mark->slots[i].asked;
    }
    return unasked;
}

grv_status grv_mark_each_unasked(const grv_mark *mark,
                                 grv_status (*visit)(void *context, const grv_block_key *key,
                                                     grv_error *error),
                                 void *context, grv_error *error)
{
    grv_status status = GRV_OK;
    for (size_t i = 0; i < mark->slot_count && !status; i++) {
        if (mark->slots[i].key.size > 0 && !mark->slots[i].asked) {
            status = visit(context, &mark->slots[i].key, error);
        }
    }
    return status;
}

grv_mark_totals grv_mark_get_totals(const grv_mark *mark)
{
    return mark->totals;
}

void grv_mark_free(grv_mark *mark)
{
    if (mark) {
        free(mark->slots);
        free(mark);
    }
}
