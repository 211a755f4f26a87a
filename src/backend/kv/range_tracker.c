/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Range tracker over any key-value store. GRV_NS_RANGE: locator -> record of its generation and all
 * its ranges. A change is worked out from the record that was read and written only if that is
 * still there; else it begins again. So what a merge calls new was new when it was written.
 */
#include "core/range_record.h"

#include <assert.h>
#include <graviton/backend/kv.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

_Static_assert(GRV_TRACKER_RANGES_MAX == GRV_RANGE_RECORD_RANGES_MAX,
               "what the port takes is what a record holds");
_Static_assert(GRV_TRACKER_LOCATOR_MAX <= GRV_KV_KEY_MAX &&
                   GRV_RANGE_RECORD_MAX <= GRV_KV_VALUE_MAX,
               "locators and records fit the store");

/* How often a change that lost a race is tried again before it is GRV_UNAVAILABLE. */
#define TRACKER_ATTEMPTS 1000u

typedef struct range_tracker_kv {
    grv_range_tracker base;
    grv_kv *kv;
} range_tracker_kv;

/* The state at one locator. */
typedef struct tracked {
    grv_value record; /* as it was read; empty where there was none */
    bool there;
    uint64_t generation; /* 0 where there was none */
    grv_range_set set;
} tracked;

/* A merge or, where `reset`, a reset. */
typedef struct change {
    const grv_locator *locator;
    uint64_t generation;
    bool reset;
    grv_range range;
    grv_range_set fresh; /* what was new, once it is done */
    grv_range_set whole; /* the whole set, once it is done */
} change;

/* A locator as key. */
typedef struct locator_key {
    char text[GRV_LOCATOR_TEXT_SIZE];
    grv_bytes bytes; /* in `text` */
} locator_key;

typedef struct kv_list {
    grv_tracked_cursor base;
    grv_kv_cursor *scan;
    grv_status held; /* of a record that failed behind items which had to be given out first */
    grv_error held_error;
    bool failed; /* the scan itself failed: what comes after is not known */
    bool skip;   /* leave out the locator `start` */
    locator_key start;
} kv_list;

static const grv_range_tracker_ops range_tracker_kv_ops;
static const grv_tracked_cursor_ops kv_list_ops;

static range_tracker_kv *range_tracker_kv_of(grv_range_tracker *base)
{
    assert(base->ops == &range_tracker_kv_ops);
    return (range_tracker_kv *)base;
}

static void locator_key_fill(const grv_locator *locator, locator_key *key)
{
    grv_locator_print(locator, key->text);
    key->bytes = grv_bytes_of(key->text, strlen(key->text));
}

static void prefix_locator(grv_bytes text, grv_error *error)
{
    grv_error_prefix(error, "ranges at %.*s", (int)text.size, (const char *)text.data);
}

static void tracked_done(tracked *state)
{
    grv_value_done(&state->record);
    grv_range_set_done(&state->set);
}

/* What is there now. After GRV_CORRUPT and GRV_UNSUPPORTED the record is still given. */
static grv_status tracked_read(const grv_call *call, range_tracker_kv *tracker, grv_bytes key,
                               tracked *ret_state, grv_error *error)
{
    *ret_state = (tracked){0};
    grv_range_set_init(&ret_state->set);
    grv_status status = grv_kv_get(call, tracker->kv, GRV_NS_RANGE, key, &ret_state->record, error);
    if (status == GRV_NOT_FOUND) {
        return GRV_OK;
    }
    if (status) {
        return status;
    }
    ret_state->there = true;
    return grv_range_record_decode(ret_state->record.bytes, &ret_state->generation, &ret_state->set,
                                   error);
}

static void set_replace(grv_range_set *set, grv_range_set *with)
{
    if (set) {
        grv_range_set_done(set);
        *set = *with;
        grv_range_set_init(with);
    }
}

static grv_status range_tracker_kv_current(const grv_call *call, grv_range_tracker *base,
                                           const grv_locator *locator, uint64_t *ret_generation,
                                           grv_range_set *set, grv_error *error)
{
    locator_key key;
    locator_key_fill(locator, &key);
    tracked state;
    grv_status status = tracked_read(call, range_tracker_kv_of(base), key.bytes, &state, error);
    if (status) {
        prefix_locator(key.bytes, error);
    } else {
        *ret_generation = state.generation;
        set_replace(set, &state.set);
    }
    tracked_done(&state);
    return status;
}

/* Changes the set in memory; what was new goes to `wanted->fresh`. */
static grv_status change_apply(change *wanted, tracked *state, grv_error *error)
{
    if (wanted->generation < state->generation) {
        return grv_error_set(error, GRV_CONFLICT, "ranges",
                             "they are of generation %" PRIu64 ", not of the older %" PRIu64,
                             state->generation, wanted->generation);
    }
    if (wanted->reset || wanted->generation > state->generation) {
        grv_range_set_done(&state->set);
    }
    if (wanted->reset) {
        return GRV_OK;
    }
    grv_status status = grv_range_set_merge(&state->set, wanted->range, &wanted->fresh, error);
    if (!status && state->set.count > GRV_TRACKER_RANGES_MAX) {
        status = grv_error_set(error, GRV_LIMIT_EXCEEDED, "ranges", "more than %u of them",
                               GRV_TRACKER_RANGES_MAX);
    }
    return status;
}

/* Writes the set unless the record is another by now, and then *ret_raced is set. Where nothing
 * changes the batch is empty: it still waits until what was read is durable. */
static grv_status change_write(const grv_call *call, range_tracker_kv *tracker, grv_bytes key,
                               const change *wanted, const tracked *state, bool *ret_raced,
                               grv_error *error)
{
    grv_buffer record;
    grv_buffer_init(&record, GRV_RANGE_RECORD_MAX);
    grv_status status = grv_range_record_encode(wanted->generation, &state->set, &record, error);
    if (status) {
        return status;
    }
    const grv_kv_op op = {
        .kind = GRV_KV_PUT, .ns = GRV_NS_RANGE, .key = key, .value = grv_buffer_bytes(&record)};
    const grv_kv_guard guard = {.kind = state->there ? GRV_KV_EQUALS : GRV_KV_ABSENT,
                                .ns = GRV_NS_RANGE,
                                .key = key,
                                .value = state->record.bytes};
    bool same = state->there && grv_bytes_compare(state->record.bytes, op.value) == 0;
    const grv_kv_batch batch = {.ops = &op,
                                .op_count = same ? 0 : 1,
                                .guards = &guard,
                                .guard_count = 1,
                                .durability = GRV_DURABLE,
                                .frees = wanted->reset && state->there};
    status = grv_kv_write(call, tracker->kv, &batch, error);
    grv_buffer_done(&record);
    if (status == GRV_CONFLICT) {
        *ret_raced = true;
        return GRV_OK;
    }
    return status;
}

/* One attempt; *ret_raced where it has to be made again. */
static grv_status change_once(const grv_call *call, range_tracker_kv *tracker, grv_bytes key,
                              change *wanted, bool *ret_raced, grv_error *error)
{
    tracked state;
    *ret_raced = false;
    grv_status status = tracked_read(call, tracker, key, &state, error);
    if (status == GRV_CORRUPT && wanted->reset) {
        status = GRV_OK; /* nothing of it is needed; generation 0 gives way to any */
    }
    if (!status) {
        status = change_apply(wanted, &state, error);
    }
    if (!status) {
        status = change_write(call, tracker, key, wanted, &state, ret_raced, error);
    }
    if (status || *ret_raced) {
        grv_range_set_done(&wanted->fresh);
    } else {
        set_replace(&wanted->whole, &state.set);
    }
    tracked_done(&state);
    return status;
}

static grv_status change_make(const grv_call *call, grv_range_tracker *base, change *wanted,
                              grv_error *error)
{
    locator_key key;
    locator_key_fill(wanted->locator, &key);
    grv_status status = GRV_OK;
    bool raced = true;
    for (unsigned attempt = 0; !status && raced && attempt < TRACKER_ATTEMPTS; attempt++) {
        status = change_once(call, range_tracker_kv_of(base), key.bytes, wanted, &raced, error);
    }
    if (!status && raced) {
        status = grv_error_set(error, GRV_UNAVAILABLE, "ranges", "others change them all the time");
    }
    if (status) {
        prefix_locator(key.bytes, error);
    }
    return status;
}

static grv_status range_tracker_kv_merge(const grv_call *call, grv_range_tracker *base,
                                         const grv_locator *locator, uint64_t generation,
                                         grv_range range, grv_range_set *ret_set,
                                         grv_range_set *ret_new, grv_error *error)
{
    change wanted = {.locator = locator, .generation = generation, .range = range};
    grv_status status = change_make(call, base, &wanted, error);
    if (!status) {
        set_replace(ret_set, &wanted.whole);
        set_replace(ret_new, &wanted.fresh);
    }
    grv_range_set_done(&wanted.whole);
    grv_range_set_done(&wanted.fresh);
    return status;
}

static grv_status range_tracker_kv_reset(const grv_call *call, grv_range_tracker *base,
                                         const grv_locator *locator, uint64_t generation,
                                         grv_error *error)
{
    change wanted = {.locator = locator, .generation = generation, .reset = true};
    grv_status status = change_make(call, base, &wanted, error);
    grv_range_set_done(&wanted.whole);
    return status;
}

static grv_status range_tracker_kv_remove(const grv_call *call, grv_range_tracker *base,
                                          const grv_locator *locator, grv_error *error)
{
    locator_key key;
    locator_key_fill(locator, &key);
    const grv_kv_op op = {.kind = GRV_KV_DELETE, .ns = GRV_NS_RANGE, .key = key.bytes};
    const grv_kv_batch batch = {
        .ops = &op, .op_count = 1, .durability = GRV_DURABLE, .frees = true};
    grv_status status = grv_kv_write(call, range_tracker_kv_of(base)->kv, &batch, error);
    if (status) {
        prefix_locator(key.bytes, error);
    }
    return status;
}

/* A row as an item; the row may hold anything. */
static grv_status decode_row(const grv_kv_item *row, grv_tracked *ret_item, grv_error *error)
{
    grv_locator locator;
    if (grv_locator_parse(row->key, &locator, NULL)) {
        return grv_error_set(error, GRV_CORRUPT, "ranges",
                             "list of ranges: they are of a locator that is none");
    }
    grv_range_set set;
    grv_range_set_init(&set);
    uint64_t generation = 0;
    grv_status status = grv_range_record_decode(row->value, &generation, &set, error);
    if (status) {
        prefix_locator(row->key, error);
        return status;
    }
    *ret_item = (grv_tracked){.locator = locator,
                              .generation = generation,
                              .size_bytes = grv_range_set_size(&set),
                              .range_count = (uint32_t)set.count};
    grv_range_set_done(&set);
    return GRV_OK;
}

/* The next row that is not to be left out; GRV_NOT_FOUND at the end. */
static grv_status next_row(const grv_call *call, kv_list *list, grv_kv_item *ret_row,
                           grv_error *error)
{
    grv_status status = GRV_OK;
    do {
        status = grv_kv_cursor_next(call, list->scan, ret_row, error);
        if (status) {
            list->failed = status != GRV_NOT_FOUND;
            return status;
        }
    } while (list->skip && grv_bytes_compare(ret_row->key, list->start.bytes) == 0);
    return GRV_OK;
}

static grv_status kv_list_next(const grv_call *call, grv_tracked_cursor *base, grv_tracked items[],
                               size_t capacity, size_t *ret_count, grv_error *error)
{
    kv_list *list = (kv_list *)base;
    if (list->failed) {
        return grv_error_set(error, GRV_INVALID_ARGUMENT, "ranges",
                             "the list of ranges has failed; begin another where it stopped");
    }
    size_t count = 0;
    while (count < capacity && !list->held) {
        grv_kv_item row;
        grv_status status = next_row(call, list, &row, error);
        if (status == GRV_NOT_FOUND) {
            break;
        }
        if (status) {
            return status;
        }
        list->held = decode_row(&row, &items[count], &list->held_error);
        count += list->held ? 0 : 1;
    }
    if (count == 0 && list->held) {
        grv_status status = list->held;
        list->held = GRV_OK;
        if (error) {
            *error = list->held_error;
        }
        return status;
    }
    *ret_count = count;
    return GRV_OK;
}

static void kv_list_free(grv_tracked_cursor *base)
{
    kv_list *list = (kv_list *)base;
    grv_kv_cursor_free(list->scan);
    free(list);
}

static grv_status range_tracker_kv_open_list(const grv_call *call, grv_range_tracker *base,
                                             const grv_tracked_list *wanted,
                                             grv_tracked_cursor **ret_cursor, grv_error *error)
{
    kv_list *list = calloc(1, sizeof *list);
    if (!list) {
        return grv_error_set(error, GRV_LIMIT_EXCEEDED, "ranges", "no memory for a list");
    }
    list->base.ops = &kv_list_ops;
    grv_kv_scan scan = {.ns = GRV_NS_RANGE, .prefix = wanted->prefix};
    if (wanted->start) {
        locator_key_fill(wanted->start, &list->start);
        scan.start = list->start.bytes;
        list->skip = wanted->after_start;
    }
    grv_status status =
        grv_kv_open_scan(call, range_tracker_kv_of(base)->kv, &scan, &list->scan, error);
    if (status) {
        free(list);
        return status;
    }
    *ret_cursor = &list->base;
    return GRV_OK;
}

static void range_tracker_kv_free(grv_range_tracker *base)
{
    free(range_tracker_kv_of(base));
}

static const grv_tracked_cursor_ops kv_list_ops = {
    .name = "kv",
    .next = kv_list_next,
    .free = kv_list_free,
};

static const grv_range_tracker_ops range_tracker_kv_ops = {
    .name = "kv",
    .current = range_tracker_kv_current,
    .merge = range_tracker_kv_merge,
    .reset = range_tracker_kv_reset,
    .remove = range_tracker_kv_remove,
    .open_list = range_tracker_kv_open_list,
    .free = range_tracker_kv_free,
};

grv_status grv_range_tracker_kv_new(grv_kv *kv, grv_range_tracker **ret_tracker, grv_error *error)
{
    if (kv->namespace_count < GRV_NS_COUNT) {
        return grv_error_set(error, GRV_INVALID_ARGUMENT, "ranges",
                             "a key-value store of %u namespaces, want %d", kv->namespace_count,
                             (int)GRV_NS_COUNT);
    }
    range_tracker_kv *tracker = calloc(1, sizeof *tracker);
    if (!tracker) {
        return grv_error_set(error, GRV_LIMIT_EXCEEDED, "ranges", "no memory for a tracker");
    }
    tracker->kv = kv;
    grv_status status = grv_range_tracker_init(&tracker->base, &range_tracker_kv_ops, error);
    if (status) {
        free(tracker);
        return status;
    }
    *ret_tracker = &tracker->base;
    return GRV_OK;
}
