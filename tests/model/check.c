/* SPDX-License-Identifier: Apache-2.0 */
/* Comparing: everything that a store shows against the model. */
#include "model.h"

/* ---- Bytes ---- */

void model_check_read(model_run *run, unsigned slot, grv_range range, uint64_t *state)
{
    const model_content *content = &run->world->contents[slot];
    size_t max = model_pick(state, 2) ? SIZE_MAX : 1 + model_pick(state, content->size + 1);
    size_t end = range.end < content->size ? (size_t)range.end : content->size;
    size_t at = (size_t)range.first;
    grv_error error = GRV_ERROR_INIT;
    grv_source *source;
    grv_bytes view;
    grv_status status =
        grv_blob_store_open_get(NULL, run->blobs, &content->key, range, &source, &error);
    model_expect(run, "open_get", status, GRV_OK, &error);
    do {
        status = grv_source_next(NULL, source, max, &view, &error);
        model_expect(run, "reading", status, GRV_OK, &error);
        if (view.size > max || view.size > end - at ||
            (view.size && memcmp(view.data, content->data + at, view.size) != 0)) {
            model_fail(run, "blob %u: other bytes at %zu of %zu", slot, at, content->size);
        }
        at += view.size;
    } while (view.size > 0);
    if (at != end) {
        model_fail(run, "blob %u: ended at %zu, want %zu", slot, at, end);
    }
    grv_source_free(source);
}

void model_check_absent(model_run *run, unsigned slot)
{
    const grv_blob_key *key = &run->world->contents[slot].key;
    grv_error error = GRV_ERROR_INIT;
    grv_blob_info info;
    grv_source *source;
    grv_ref_cursor *refs;
    grv_attributes attributes;
    model_expect(run, "stat of no blob", grv_blob_store_stat(NULL, run->blobs, key, &info, &error),
                 GRV_NOT_FOUND, &error);
    grv_status status =
        grv_blob_store_open_get(NULL, run->blobs, key, GRV_RANGE_ALL, &source, &error);
    model_expect(run, "get of no blob", status, GRV_NOT_FOUND, &error);
    status = grv_blob_store_open_refs(NULL, run->blobs, key, 0, &refs, &error);
    model_expect(run, "refs of no blob", status, GRV_NOT_FOUND, &error);
    grv_attributes_init(&attributes);
    status = grv_blob_store_attributes_get(NULL, run->blobs, key, &attributes, &error);
    model_expect(run, "attributes of no blob", status, GRV_NOT_FOUND, &error);
    grv_attributes_done(&attributes);
}

/* ---- Records ---- */

void model_check_info(model_run *run, unsigned slot, const grv_blob_info *info)
{
    const model_world *world = run->world;
    const model_content *content = &world->contents[slot];
    const model_blob *blob = &run->shared->blobs[slot];
    if (grv_blob_key_compare(&info->key, &content->key) != 0) {
        model_fail(run, "blob %u: shown under another key", slot);
    }
    if (info->block_count != content->block_count) {
        model_fail(run, "blob %u: %llu blocks, want %zu", slot,
                   (unsigned long long)info->block_count, content->block_count);
    }
    if (info->block_hash != world->hash ||
        !grv_chunker_spec_equal(&info->chunker, &world->chunker)) {
        model_fail(run, "blob %u: another hash or chunker", slot);
    }
    if (info->sequence != blob->sequence || info->created_ns != blob->created_ns) {
        model_fail(run, "blob %u: sequence %llu, want %llu; created %llu, want %llu", slot,
                   (unsigned long long)info->sequence, (unsigned long long)blob->sequence,
                   (unsigned long long)info->created_ns, (unsigned long long)blob->created_ns);
    }
}

void model_check_stat(model_run *run, unsigned slot)
{
    grv_error error = GRV_ERROR_INIT;
    grv_blob_info info;
    grv_blob_key other = run->world->contents[slot].key;
    grv_status status = grv_blob_store_stat(NULL, run->blobs, &other, &info, &error);
    model_expect(run, "stat", status, GRV_OK, &error);
    model_check_info(run, slot, &info);
    other.size++;
    model_expect(run, "stat of the digest with another size",
                 grv_blob_store_stat(NULL, run->blobs, &other, &info, &error), GRV_NOT_FOUND,
                 &error);
}

void model_check_attributes(model_run *run, unsigned slot)
{
    grv_error error = GRV_ERROR_INIT;
    grv_attributes found;
    grv_attributes_init(&found);
    grv_status status = grv_blob_store_attributes_get(
        NULL, run->blobs, &run->world->contents[slot].key, &found, &error);
    model_expect(run, "attributes", status, GRV_OK, &error);
    if (!model_attributes_match(run->shared->blobs[slot].attributes, &found)) {
        model_fail(run, "blob %u: other attributes (%zu pairs)", slot, found.count);
    }
    grv_attributes_done(&found);
}

void model_check_refs(model_run *run, unsigned slot, uint64_t *state)
{
    const model_world *world = run->world;
    const model_content *content = &world->contents[slot];
    grv_error error = GRV_ERROR_INIT;
    grv_ref_cursor *cursor;
    grv_block_ref refs[64];
    size_t count;
    uint64_t from = model_pick(state, 2) ? 0 : model_pick(state, content->size + 1);
    size_t next = 0;
    uint64_t at = 0;
    while (next < content->block_count && at + world->blocks[content->blocks[next]].size <= from) {
        at += world->blocks[content->blocks[next++]].size;
    }
    grv_status status =
        grv_blob_store_open_refs(NULL, run->blobs, &content->key, from, &cursor, &error);
    model_expect(run, "open_refs", status, GRV_OK, &error);
    do {
        status = grv_ref_cursor_next(NULL, cursor, refs, 1 + model_pick(state, 64), &count, &error);
        model_expect(run, "refs", status, GRV_OK, &error);
        for (size_t i = 0; i < count; i++, next++) {
            if (next == content->block_count || refs[i].offset != at ||
                grv_block_key_compare(&refs[i].key, &world->blocks[content->blocks[next]]) != 0) {
                model_fail(run, "blob %u: its block %zu of %zu is another", slot, next,
                           content->block_count);
            }
            at += refs[i].key.size;
        }
    } while (count > 0);
    if (next != content->block_count) {
        model_fail(run, "blob %u: %zu blocks shown, want %zu", slot, next, content->block_count);
    }
    grv_ref_cursor_free(cursor);
}

/* ---- Lists ---- */

/* A walk through a list, page by page. */
typedef struct list_walk {
    grv_list_order order;
    grv_blob_cursor *cursor;
    bool started;
    grv_blob_key last;
    uint64_t last_sequence;
    bool shown[MODEL_SLOTS];
    bool owed[MODEL_SLOTS]; /* stored from beginning to end */
} list_walk;

static void list_open(model_run *run, list_walk *walk)
{
    grv_error error = GRV_ERROR_INIT;
    grv_blob_list list = {.order = walk->order};
    if (walk->started && walk->order == GRV_ORDER_KEY) {
        list.start = &walk->last;
        list.after_start = true;
    } else if (walk->started) {
        list.below_sequence = walk->last_sequence;
    }
    grv_status status = grv_blob_store_open_list(NULL, run->blobs, &list, &walk->cursor, &error);
    model_expect(run, "open_list", status, GRV_OK, &error);
}

static void list_item(model_run *run, list_walk *walk, const grv_blob_info *info, bool changing)
{
    unsigned slot = 0;
    while (slot < MODEL_SLOTS &&
           grv_blob_key_compare(&info->key, &run->world->contents[slot].key) != 0) {
        slot++;
    }
    if (slot == MODEL_SLOTS) {
        model_fail(run, "list: a blob that nobody stored");
    }
    if (walk->started &&
        (walk->order == GRV_ORDER_KEY ? grv_blob_key_compare(&walk->last, &info->key) >= 0
                                      : walk->last_sequence <= info->sequence)) {
        model_fail(run, "list: blob %u out of order", slot);
    }
    if (!changing) {
        if (!run->shared->blobs[slot].stored) {
            model_fail(run, "list: blob %u is not stored", slot);
        }
        model_check_info(run, slot, info);
    }
    walk->started = true;
    walk->last = info->key;
    walk->last_sequence = info->sequence;
    walk->shown[slot] = true;
}

void model_check_list(model_run *run, grv_list_order order, uint64_t *state,
                      void (*meanwhile)(model_run *run, uint64_t *state))
{
    list_walk walk = {.order = order};
    grv_error error = GRV_ERROR_INIT;
    grv_blob_info infos[MODEL_SLOTS];
    uint64_t sequences[MODEL_SLOTS];
    size_t count;
    for (unsigned s = 0; s < MODEL_SLOTS; s++) {
        walk.owed[s] = run->shared->blobs[s].stored;
        sequences[s] = run->shared->blobs[s].sequence;
    }
    list_open(run, &walk);
    bool changing = meanwhile != NULL;
    do {
        if (meanwhile && model_pick(state, 2)) {
            meanwhile(run, state);
            meanwhile = NULL;
        }
        if (model_pick(state, 4) == 0) {
            grv_blob_cursor_free(walk.cursor);
            list_open(run, &walk);
        }
        grv_status status = grv_blob_cursor_next(
            NULL, walk.cursor, infos, 1 + model_pick(state, MODEL_SLOTS), &count, &error);
        model_expect(run, "list", status, GRV_OK, &error);
        for (size_t i = 0; i < count; i++) {
            list_item(run, &walk, &infos[i], changing);
        }
    } while (count > 0);
    grv_blob_cursor_free(walk.cursor);
    for (unsigned s = 0; s < MODEL_SLOTS; s++) {
        const model_blob *blob = &run->shared->blobs[s];
        if (walk.owed[s] && blob->stored && blob->sequence == sequences[s] && !walk.shown[s]) {
            model_fail(run, "list by %s: blob %u is left out", order ? "newest" : "key", s);
        }
    }
}

/* ---- Figures ---- */

/* Marks the blocks that stored blobs name. */
static void count_named(const model_run *run, bool named[], grv_store_stats *want)
{
    for (unsigned s = 0; s < MODEL_SLOTS; s++) {
        const model_content *content = &run->world->contents[s];
        if (!run->shared->blobs[s].stored) {
            continue;
        }
        want->blobs++;
        want->logical_bytes += content->size;
        want->references += content->block_count;
        for (size_t i = 0; i < content->block_count; i++) {
            named[content->blocks[i]] = true;
        }
    }
}

void model_check_count(model_run *run)
{
    const model_world *world = run->world;
    bool *named = calloc(world->block_count + 1, sizeof *named);
    grv_store_stats want = {0};
    grv_store_stats most = {0};
    grv_store_stats is;
    grv_error error = GRV_ERROR_INIT;
    count_named(run, named, &want);
    for (size_t i = 0; i < world->block_count; i++) {
        uint8_t state = run->shared->block_states[i];
        uint64_t size = world->blocks[i].size;
        want.blocks += state == MODEL_PRESENT;
        want.unique_bytes += state == MODEL_PRESENT ? size : 0;
        want.unreferenced_blocks += state == MODEL_PRESENT && !named[i];
        want.unreferenced_bytes += state == MODEL_PRESENT && !named[i] ? size : 0;
        most.blocks += state == MODEL_MAYBE;
        most.unique_bytes += state == MODEL_MAYBE ? size : 0;
    }
    free(named);
    model_expect(run, "count", grv_store_count(NULL, run->store, &is, &error), GRV_OK, &error);
    if (is.blobs != want.blobs || is.logical_bytes != want.logical_bytes ||
        is.references != want.references || is.missing_blocks != 0) {
        model_fail(run,
                   "count: %llu blobs of %llu bytes with %llu references, %llu blocks missing; "
                   "want %llu, %llu, %llu",
                   (unsigned long long)is.blobs, (unsigned long long)is.logical_bytes,
                   (unsigned long long)is.references, (unsigned long long)is.missing_blocks,
                   (unsigned long long)want.blobs, (unsigned long long)want.logical_bytes,
                   (unsigned long long)want.references);
    }
    uint64_t more = is.blocks - want.blocks;
    uint64_t more_bytes = is.unique_bytes - want.unique_bytes;
    if (is.blocks < want.blocks || more > most.blocks || more_bytes > most.unique_bytes ||
        is.unreferenced_blocks != want.unreferenced_blocks + more ||
        is.unreferenced_bytes != want.unreferenced_bytes + more_bytes) {
        model_fail(
            run,
            "count: %llu blocks of %llu bytes, %llu of %llu unreferenced; want %llu to "
            "%llu of %llu bytes, %llu of %llu unreferenced",
            (unsigned long long)is.blocks, (unsigned long long)is.unique_bytes,
            (unsigned long long)is.unreferenced_blocks, (unsigned long long)is.unreferenced_bytes,
            (unsigned long long)want.blocks, (unsigned long long)want.blocks + most.blocks,
            (unsigned long long)want.unique_bytes, (unsigned long long)want.unreferenced_blocks,
            (unsigned long long)want.unreferenced_bytes);
    }
    uint64_t frames = world->pair->framed ? 96 * is.blocks : 0;
    if (is.stored_bytes > is.unique_bytes + frames ||
        (!world->pair->framed && is.stored_bytes != is.unique_bytes)) {
        model_fail(run, "count: %llu bytes stored of %llu", (unsigned long long)is.stored_bytes,
                   (unsigned long long)is.unique_bytes);
    }
}

void model_check_all(model_run *run, uint64_t *state)
{
    for (unsigned s = 0; s < MODEL_SLOTS; s++) {
        if (run->shared->blobs[s].stored) {
            model_check_stat(run, s);
            model_check_read(run, s, GRV_RANGE_ALL, state);
            model_check_attributes(run, s);
            model_check_refs(run, s, state);
        } else {
            model_check_absent(run, s);
        }
    }
    model_check_list(run, GRV_ORDER_KEY, state, NULL);
    model_check_list(run, GRV_ORDER_NEWEST, state, NULL);
    model_check_count(run);
}
