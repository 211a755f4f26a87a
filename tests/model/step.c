/* SPDX-License-Identifier: Apache-2.0 */
/* The other operations: each is done to the store and to the model, and compared. */
#include "model.h"

static bool is_stored(const model_run *run, unsigned slot)
{
    return run->shared->blobs[slot].stored;
}

/* ---- Changing ---- */

static void step_remove(model_run *run, unsigned slot)
{
    const model_blob before = run->shared->blobs[slot];
    const model_blob after = {0};
    grv_error error = GRV_ERROR_INIT;
    model_note(run, " %u%s", slot, before.stored ? "" : " (absent)");
    model_begin(run, slot, &after);
    grv_status status =
        grv_blob_store_remove(NULL, run->blobs, &run->world->contents[slot].key, &error);
    model_expect(run, "remove", status, before.stored ? GRV_OK : GRV_NOT_FOUND, &error);
    model_happened(run, slot, &after);
}

static void step_attributes_set(model_run *run, unsigned slot, uint64_t *state)
{
    model_blob after = run->shared->blobs[slot];
    grv_error error = GRV_ERROR_INIT;
    grv_attributes attributes;
    bool stored = after.stored;
    model_note(run, " %u%s", slot, stored ? "" : " (absent)");
    if (stored) {
        model_attributes_pick(state, after.attributes);
    }
    model_attributes_make(run, after.attributes, &attributes);
    model_begin(run, slot, &after);
    grv_status status = grv_blob_store_attributes_set(
        NULL, run->blobs, &run->world->contents[slot].key, &attributes, &error);
    model_expect(run, "attributes_set", status, stored ? GRV_OK : GRV_NOT_FOUND, &error);
    model_happened(run, slot, &after);
    grv_attributes_done(&attributes);
}

/* A small change, for the middle of something else. */
static void step_meanwhile(model_run *run, uint64_t *state)
{
    unsigned slot = (unsigned)model_pick(state, MODEL_SLOTS);
    if (model_pick(state, 3) == 0) {
        model_note(run, "; meanwhile collect");
        model_collect(run, state);
        return;
    }
    model_note(run, is_stored(run, slot) ? "; meanwhile remove" : "; meanwhile put");
    if (is_stored(run, slot)) {
        step_remove(run, slot);
    } else {
        model_put_one(run, slot, state);
    }
}

/* ---- Reading ---- */

static void step_get_range(model_run *run, unsigned slot, uint64_t *state)
{
    const model_content *content = &run->world->contents[slot];
    grv_error error = GRV_ERROR_INIT;
    grv_source *source;
    uint64_t first = model_pick(state, content->size + 1);
    uint64_t end = first + model_pick(state, content->size + 100);
    model_note(run, " %u [%llu, %llu) of %zu", slot, (unsigned long long)first,
               (unsigned long long)end, content->size);
    model_check_read(run, slot, (grv_range){first, end}, state);
    grv_range past = {content->size + 1, UINT64_MAX};
    grv_status status =
        grv_blob_store_open_get(NULL, run->blobs, &content->key, past, &source, &error);
    model_expect(run, "get of a range past the end", status, GRV_INVALID_ARGUMENT, &error);
}

/* A read in whose middle something else happens: it goes on, or says that the blob is gone. */
static void step_get_held(model_run *run, unsigned slot, uint64_t *state)
{
    const model_content *content = &run->world->contents[slot];
    grv_error error = GRV_ERROR_INIT;
    grv_source *source;
    grv_bytes view;
    size_t at = 0;
    size_t pause_at = model_pick(state, content->size + 1);
    bool paused = false;
    model_note(run, " %u", slot);
    grv_status status =
        grv_blob_store_open_get(NULL, run->blobs, &content->key, GRV_RANGE_ALL, &source, &error);
    model_expect(run, "open_get", status, GRV_OK, &error);
    do {
        if (!paused && at >= pause_at) {
            paused = true;
            if (model_pick(state, 2)) {
                step_remove(run, slot);
            }
            if (model_pick(state, 2)) {
                step_meanwhile(run, state);
            }
        }
        status =
            grv_source_next(NULL, source, 1 + model_pick(state, content->size + 1), &view, &error);
        if (status == GRV_NOT_FOUND && paused && !is_stored(run, slot)) {
            break;
        }
        model_expect(run, "reading on", status, GRV_OK, &error);
        if (view.size > content->size - at ||
            (view.size && memcmp(view.data, content->data + at, view.size) != 0)) {
            model_fail(run, "blob %u: other bytes at %zu after a pause", slot, at);
        }
        at += view.size;
    } while (view.size > 0);
    if (!status && at != content->size) {
        model_fail(run, "blob %u: ended at %zu of %zu after a pause", slot, at, content->size);
    }
    grv_source_free(source);
}

static void step_list(model_run *run, uint64_t *state)
{
    grv_list_order order = model_pick(state, 2) ? GRV_ORDER_NEWEST : GRV_ORDER_KEY;
    bool changing = model_pick(state, 3) == 0;
    model_note(run, " by %s", order ? "newest" : "key");
    model_check_list(run, order, state, changing ? step_meanwhile : NULL);
}

/* ---- Opening ---- */

grv_store_config model_config(const model_run *run, char paths[2][MODEL_PATH_SIZE])
{
    const model_world *world = run->world;
    const model_pair *pair = world->pair;
    grv_store_config config = {
        .threads = world->threads,
        .reserve_bytes = pair->rocks ? &world->reserve_bytes : NULL,
    };
    if (pair->files && pair->rocks && !world->apart) {
        snprintf(paths[0], MODEL_PATH_SIZE, "%s/store", run->root);
        config.directory = paths[0];
        return config;
    }
    if (!pair->files && !pair->rocks && !pair->framed && !world->apart) {
        config.directory = "memory:";
        return config;
    }
    snprintf(paths[0], MODEL_PATH_SIZE, "fs:%s/blocks%s", run->root,
             world->apart ? "?prefix=other/place" : "");
    snprintf(paths[1], MODEL_PATH_SIZE, "rocks:%s/meta", run->root);
    config.blocks = pair->files ? paths[0] : pair->framed ? "kv:" : "memory:";
    config.meta = pair->rocks ? paths[1] : "memory:";
    return config;
}

void model_open(model_run *run, bool create)
{
    char paths[2][MODEL_PATH_SIZE];
    grv_error error = GRV_ERROR_INIT;
    char cache[MODEL_PATH_SIZE];
    grv_store_config config = model_config(run, paths);
    config.create = create;
    snprintf(cache, sizeof cache, "%s/cache?size=1M", run->root);
    config.cache = run->world->pair->cached ? cache : NULL;
    if (create) {
        config.hash = run->world->hash;
        config.chunker = &run->world->chunker;
    }
    grv_status status = grv_store_open(NULL, &config, &run->store, &error);
    model_expect(run, "open", status, GRV_OK, &error);
    run->blobs = grv_store_blobs(run->store);
    const grv_store_info *info = grv_store_get_info(run->store);
    if (info->hash != run->world->hash ||
        !grv_chunker_spec_equal(&info->chunker, &run->world->chunker)) {
        model_fail(run, "open: another hash or chunker");
    }
    run->shared->made = true;
}

void model_close(model_run *run)
{
    grv_store_close(run->store);
    run->store = NULL;
    run->blobs = NULL;
}

/* Tries to open what must be refused. */
static void expect_refusal(model_run *run, const char *what, const grv_store_config *config,
                           grv_status want)
{
    grv_error error = GRV_ERROR_INIT;
    grv_store *store = NULL;
    model_expect(run, what, grv_store_open(NULL, config, &store, &error), want, &error);
}

static void step_reopen(model_run *run)
{
    char paths[2][MODEL_PATH_SIZE];
    model_close(run);
    if (run->world->pair->lasts) {
        model_open(run, false);
        return;
    }
    const grv_store_config config = model_config(run, paths);
    expect_refusal(run, "open of what is gone", &config, GRV_NOT_FOUND);
    model_forget(run);
    model_open(run, true);
}

/* Opened read-only, all is there, and every change is refused. */
static void step_reopen_read_only(model_run *run, unsigned slot, uint64_t *state)
{
    char paths[2][MODEL_PATH_SIZE];
    grv_error error = GRV_ERROR_INIT;
    const grv_put_plan plan = {0};
    grv_blob_sink *sink;
    const grv_blob_key *key = &run->world->contents[slot].key;
    if (!run->world->pair->lasts) {
        return;
    }
    model_close(run);
    grv_store_config config = model_config(run, paths);
    config.read_only = true;
    model_expect(run, "read-only open", grv_store_open(NULL, &config, &run->store, &error), GRV_OK,
                 &error);
    run->blobs = grv_store_blobs(run->store);
    model_check_all(run, state);
    grv_status status = grv_blob_store_remove(NULL, run->blobs, key, &error);
    model_expect(run, "read-only remove", status, GRV_UNSUPPORTED, &error);
    status = grv_blob_store_open_put(NULL, run->blobs, &plan, &sink, &error);
    model_expect(run, "read-only put", status, GRV_UNSUPPORTED, &error);
    model_close(run);
    model_open(run, false);
}

/* Asked for with another hash or chunker, the store is refused and stays as it is. */
static void step_reopen_other(model_run *run)
{
    char paths[2][MODEL_PATH_SIZE];
    if (!run->world->pair->lasts) {
        return;
    }
    model_close(run);
    grv_store_config config = model_config(run, paths);
    config.hash = run->world->hash == GRV_HASH_BLAKE3 ? GRV_HASH_SHA256 : GRV_HASH_BLAKE3;
    config.create = true;
    expect_refusal(run, "open with another hash", &config, GRV_CONFLICT);
    const grv_chunker_spec other = {.kind = GRV_CHUNKER_FIXED, .size = 12345};
    config.hash = GRV_HASH_NONE;
    config.chunker = &other;
    expect_refusal(run, "open with another chunker", &config, GRV_CONFLICT);
    model_open(run, true);
}

static void step_open_twice(model_run *run)
{
    char paths[2][MODEL_PATH_SIZE];
    grv_store_config config = model_config(run, paths);
    if (run->world->pair->lasts) {
        expect_refusal(run, "open while open", &config, GRV_UNAVAILABLE);
        config.read_only = true;
        expect_refusal(run, "read-only open while open", &config, GRV_UNAVAILABLE);
    }
}

/* From here on the process is killed at some call, or at once without closing; or the next one is
 * while it opens. */
static void step_crash(model_run *run, uint64_t *state)
{
    uint64_t nth = 1 + model_pick(state, (size_t)1 << model_pick(state, 9));
    size_t way = model_pick(state, 6);
    if (!run->world->pair->lasts) {
        return;
    }
    if (way < 4) {
        model_note(run, " at call %llu%s", (unsigned long long)nth, way < 2 ? ", torn" : "");
        model_kill_arm(run, nth, way < 2);
        return;
    }
    model_note(run, way == 4 ? " now" : " now, then when opening at call %llu",
               (unsigned long long)nth);
    run->shared->kill_at_open = way == 4 ? 0 : nth;
    _exit(MODEL_EXIT_UNCLOSED);
}

/* ---- Public ---- */

/* Operations on a blob that is there; on one that is not, each says so. */
static void step_one_blob(model_run *run, const model_op *op, uint64_t *state)
{
    if (!is_stored(run, op->slot)) {
        model_note(run, " %u (absent)", op->slot);
        model_check_absent(run, op->slot);
        return;
    }
    if (op->kind == MODEL_GET_RANGE) {
        step_get_range(run, op->slot, state);
        return;
    }
    if (op->kind == MODEL_GET_HELD) {
        step_get_held(run, op->slot, state);
        return;
    }
    model_note(run, " %u", op->slot);
    if (op->kind == MODEL_GET) {
        model_check_read(run, op->slot, GRV_RANGE_ALL, state);
    } else if (op->kind == MODEL_STAT) {
        model_check_stat(run, op->slot);
    } else if (op->kind == MODEL_REFS) {
        model_check_refs(run, op->slot, state);
    } else {
        model_check_attributes(run, op->slot);
    }
}

void model_step(model_run *run, const model_op *op)
{
    uint64_t state = op->seed;
    switch (op->kind) {
    case MODEL_PUT:
        model_put_one(run, op->slot, &state);
        break;
    case MODEL_PUT_TWO:
        model_put_two(run, op->slot, &state);
        break;
    case MODEL_PUT_PARALLEL:
        model_put_parallel(run, op->slot, &state);
        break;
    case MODEL_LIST:
        step_list(run, &state);
        break;
    case MODEL_ATTRIBUTES_SET:
        step_attributes_set(run, op->slot, &state);
        break;
    case MODEL_REMOVE:
        step_remove(run, op->slot);
        break;
    case MODEL_COUNT:
        model_check_count(run);
        break;
    case MODEL_COLLECT:
        model_collect(run, &state);
        break;
    case MODEL_BACKUP:
        model_backup(run, &state);
        break;
    case MODEL_SCRUB:
        model_scrub(run, op->slot, &state);
        break;
    case MODEL_REOPEN:
        step_reopen(run);
        break;
    case MODEL_REOPEN_READ_ONLY:
        step_reopen_read_only(run, op->slot, &state);
        break;
    case MODEL_REOPEN_OTHER:
        step_reopen_other(run);
        break;
    case MODEL_OPEN_TWICE:
        step_open_twice(run);
        break;
    case MODEL_CRASH:
        step_crash(run, &state);
        break;
    default:
        step_one_blob(run, op, &state);
        break;
    }
}
