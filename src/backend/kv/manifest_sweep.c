/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What no root names: pages of puts that never ended, of blobs that are gone, and sequences that
 * lead to no blob. Nothing is removed before every root has been read, for one that cannot be read
 * might name anything.
 *
 * Pages come in the order of their manifests' ids, so they are taken a window of ids at a time,
 * and all roots are read for each window: memory is bounded, and most stores need one window.
 */
#include "backend/kv/manifest_repo.h"
#include "core/wire.h"

#include <stdlib.h>
#include <string.h>

/* Manifests with pages in one window: 1.5 MiB of ids. */
#define WINDOW_IDS 65536u
/* Manifests whose pages go in one batch. */
#define DROP_IDS 256u
/* Sequences looked at together. Bounds the roots held at once. */
#define ROUND_SEQUENCES 16u

/* ---- Pages ---- */

/* A manifest that has pages. */
typedef struct window_id {
    uint8_t id[GRV_MANIFEST_ID_SIZE];
    bool named;
    uint64_t pages;
} window_id;

typedef struct page_window {
    grv_manifest_repo_kv *repo;
    window_id *ids; /* in order */
    size_t count;
    bool ended; /* no page comes after this window's */
    bool after_given;
    uint8_t after[GRV_MANIFEST_ID_SIZE]; /* the last id of the window before */
} page_window;

/* Takes one page's key into the window. False where it belongs to the next one. */
static bool window_add(page_window *window, const uint8_t *id)
{
    window_id *last = window->count ? &window->ids[window->count - 1] : NULL;
    if (last && memcmp(last->id, id, GRV_MANIFEST_ID_SIZE) == 0) {
        last->pages++;
        return true;
    }
    if (window->count == WINDOW_IDS) {
        return false;
    }
    last = &window->ids[window->count++];
    *last = (window_id){.pages = 1};
    memcpy(last->id, id, GRV_MANIFEST_ID_SIZE);
    return true;
}

/* Fills the window with the ids that come after `after`. */
static grv_status window_fill(const grv_call *call, page_window *window, grv_error *error)
{
    uint8_t start[GRV_MANIFEST_ID_SIZE + 1];
    grv_kv_scan scan = {.ns = GRV_NS_PAGE, .keys_only = true};
    if (window->after_given) { /* no key of a page has such a level: past all of the id's */
        memcpy(start, window->after, GRV_MANIFEST_ID_SIZE);
        start[GRV_MANIFEST_ID_SIZE] = 0xff;
        scan.start = grv_bytes_of(start, sizeof start);
    }
    grv_kv_cursor *cursor = NULL;
    grv_status status = grv_kv_open_scan(call, window->repo->kv, &scan, &cursor, error);
    window->count = 0;
    bool more = true;
    while (!status && more) {
        grv_kv_item item;
        status = grv_kv_cursor_next(call, cursor, &item, error);
        if (status == GRV_NOT_FOUND) {
            window->ended = true;
            status = GRV_OK;
            break;
        }
        if (!status && item.key.size != GRV_PAGE_KEY_SIZE) {
            status = grv_error_set(error, GRV_CORRUPT, "manifests",
                                   "a stored manifest page has a key of %zu bytes, want %u",
                                   item.key.size, GRV_PAGE_KEY_SIZE);
        }
        if (!status) {
            more = window_add(window, item.key.data);
        }
    }
    grv_kv_cursor_free(cursor);
    if (!status && window->count > 0) {
        memcpy(window->after, window->ids[window->count - 1].id, GRV_MANIFEST_ID_SIZE);
        window->after_given = true;
    }
    return status;
}

static int id_order(const void *key, const void *entry)
{
    return memcmp(key, ((const window_id *)entry)->id, GRV_MANIFEST_ID_SIZE);
}

/* Reads all roots and marks the ids that they name. */
static grv_status window_mark(const grv_call *call, page_window *window, grv_error *error)
{
    const grv_kv_scan scan = {.ns = GRV_NS_ROOT};
    grv_kv_cursor *cursor = NULL;
    grv_status status = grv_kv_open_scan(call, window->repo->kv, &scan, &cursor, error);
    while (!status) {
        grv_kv_item item;
        grv_blob_key key;
        grv_manifest_root root;
        status = grv_kv_cursor_next(call, cursor, &item, error);
        if (status) {
            break;
        }
        status = grv_blob_key_decode(item.key, &key, error);
        if (status) {
            grv_error_prefix(error, "roots of blobs");
        } else {
            status = grv_manifest_root_decode_of(&key, item.value, &root, error);
        }
        if (!status && window->count > 0) {
            window_id *found =
                bsearch(root.id, window->ids, window->count, sizeof *window->ids, id_order);
            if (found) {
                found->named = true;
            }
        }
    }
    grv_kv_cursor_free(cursor);
    return status == GRV_NOT_FOUND ? GRV_OK : status;
}

/* Removes the pages of the window's manifests that no root names. */
static grv_status window_drop(const grv_call *call, const page_window *window, grv_error *error)
{
    grv_kv_op ops[DROP_IDS];
    uint8_t ends[DROP_IDS][GRV_MANIFEST_ID_SIZE + 1];
    size_t count = 0;
    grv_status status = GRV_OK;
    for (size_t i = 0; i < window->count && !status; i++) {
        const window_id *entry = &window->ids[i];
        if (!entry->named) {
            memcpy(ends[count], entry->id, GRV_MANIFEST_ID_SIZE);
            ends[count][GRV_MANIFEST_ID_SIZE] = 0xff;
            ops[count] = (grv_kv_op){
                .kind = GRV_KV_DELETE_RANGE,
                .ns = GRV_NS_PAGE,
                .key = {entry->id, GRV_MANIFEST_ID_SIZE},
                .end = grv_bytes_of(ends[count], sizeof ends[count]),
            };
            count++;
        }
        if (count == DROP_IDS || (count > 0 && i + 1 == window->count)) {
            const grv_kv_batch batch = {
                .ops = ops, .op_count = count, .durability = GRV_DURABLE, .frees = true};
            status = grv_kv_write(call, window->repo->kv, &batch, error);
            count = 0;
        }
    }
    return status;
}

static grv_status sweep_pages(const grv_call *call, grv_manifest_repo_kv *repo, bool dry_run,
                              uint64_t *ret_pages, grv_error *error)
{
    page_window window = {.repo = repo, .ids = calloc(WINDOW_IDS, sizeof(window_id))};
    if (!window.ids) {
        return grv_error_set(error, GRV_LIMIT_EXCEEDED, "manifests", "no memory for a sweep");
    }
    uint64_t pages = 0;
    grv_status status = GRV_OK;
    while (!status && !window.ended) {
        status = window_fill(call, &window, error);
        if (!status) {
            status = window_mark(call, &window, error);
        }
        for (size_t i = 0; i < window.count && !status; i++) {
            pages += window.ids[i].named ? 0 : window.ids[i].pages;
        }
        if (!status && !dry_run) {
            status = window_drop(call, &window, error);
        }
    }
    free(window.ids);
    if (!status) {
        *ret_pages = pages;
    }
    return status;
}

/* ---- Sequences ---- */

/* Entries of the order of commits. */
typedef struct sequence_round {
    bool ended;
    size_t count;
    uint64_t sequences[ROUND_SEQUENCES];
    uint8_t numbers[ROUND_SEQUENCES][GRV_SEQUENCE_KEY_SIZE];
    uint8_t blobs[ROUND_SEQUENCES][GRV_KEY_BYTES_SIZE];
    grv_blob_key keys[ROUND_SEQUENCES];
    bool stale[ROUND_SEQUENCES];
} sequence_round;

/* The next entries. One that is damaged may belong to a blob that is there: it stays, for lists to
 * tell of it. */
static grv_status round_read(const grv_call *call, grv_kv_cursor *cursor, sequence_round *round,
                             grv_error *error)
{
    round->count = 0;
    while (round->count < ROUND_SEQUENCES) {
        grv_kv_item item;
        grv_status status = grv_kv_cursor_next(call, cursor, &item, error);
        if (status) {
            round->ended = true;
            return status == GRV_NOT_FOUND ? GRV_OK : status;
        }
        size_t at = round->count;
        uint64_t sequence =
            item.key.size == GRV_SEQUENCE_KEY_SIZE ? grv_wire_get_u64be(item.key.data) : 0;
        if (sequence >= 1 && sequence <= GRV_SEQUENCE_MAX &&
            grv_blob_key_decode(item.value, &round->keys[at], NULL) == GRV_OK) {
            memcpy(round->numbers[at], item.key.data, GRV_SEQUENCE_KEY_SIZE);
            memcpy(round->blobs[at], item.value.data, GRV_KEY_BYTES_SIZE);
            round->sequences[at] = sequence;
            round->count++;
        }
    }
    return GRV_OK;
}

/* Finds the entries whose blob is gone, or has another sequence. */
static grv_status round_test(const grv_call *call, grv_manifest_repo_kv *repo,
                             sequence_round *round, uint64_t *stale, grv_error *error)
{
    grv_bytes views[ROUND_SEQUENCES];
    grv_value values[ROUND_SEQUENCES] = {0};
    grv_status statuses[ROUND_SEQUENCES];
    for (size_t i = 0; i < round->count; i++) {
        views[i] = grv_bytes_of(round->blobs[i], GRV_KEY_BYTES_SIZE);
    }
    grv_status status =
        grv_kv_multi_get(call, repo->kv, GRV_NS_ROOT, views, round->count, values, statuses, error);
    if (status) {
        return status;
    }
    for (size_t i = 0; i < round->count; i++) {
        grv_manifest_root root;
        bool there = statuses[i] == GRV_OK;
        if (there && !status) {
            status = grv_manifest_root_decode_of(&round->keys[i], values[i].bytes, &root, error);
        }
        round->stale[i] = !status && (!there || root.info.sequence != round->sequences[i]);
        *stale += round->stale[i];
        grv_value_done(&values[i]);
    }
    return status;
}

/* One attempt to remove the stale entries; GRV_CONFLICT where the floor changed meanwhile. */
static grv_status round_drop_once(const grv_call *call, grv_manifest_repo_kv *repo,
                                  const sequence_round *round, grv_error *error)
{
    grv_kv_op ops[ROUND_SEQUENCES + 1];
    grv_kv_guard guard;
    grv_kv_batch batch = {.ops = ops, .durability = GRV_DURABLE};
    size_t last = 0;
    for (size_t i = 0; i < round->count; i++) {
        if (round->stale[i]) {
            ops[batch.op_count++] =
                (grv_kv_op){.kind = GRV_KV_DELETE,
                            .ns = GRV_NS_SEQUENCE,
                            .key = grv_bytes_of(round->numbers[i], GRV_SEQUENCE_KEY_SIZE)};
            last = i;
        }
    }
    if (batch.op_count == 0) {
        return GRV_OK;
    }
    grv_value value = {0};
    uint64_t floor = 0;
    grv_status status = grv_manifest_repo_kv_floor(call, repo, &value, &floor, error);
    if (status) {
        return status;
    }
    if (round->sequences[last] > floor) { /* entries come in order: the last is the highest */
        grv_manifest_repo_kv_raise(floor, value.bytes,
                                   grv_bytes_of(round->numbers[last], GRV_SEQUENCE_KEY_SIZE),
                                   &ops[batch.op_count++], &guard);
        batch.guards = &guard;
        batch.guard_count = 1;
    }
    batch.frees = true;
    status = grv_kv_write(call, repo->kv, &batch, error);
    grv_value_done(&value);
    return status;
}

static grv_status round_drop(const grv_call *call, grv_manifest_repo_kv *repo,
                             const sequence_round *round, grv_error *error)
{
    grv_status status = GRV_CONFLICT;
    for (unsigned i = 0; i < GRV_MANIFEST_ATTEMPTS && status == GRV_CONFLICT; i++) {
        status = round_drop_once(call, repo, round, error);
    }
    if (status == GRV_CONFLICT) {
        return grv_error_set(error, GRV_UNAVAILABLE, "manifests",
                             "a sweep lost every race for the highest sequence");
    }
    return status;
}

static grv_status sweep_sequences(const grv_call *call, grv_manifest_repo_kv *repo, bool dry_run,
                                  uint64_t *ret_sequences, grv_error *error)
{
    const grv_kv_scan scan = {.ns = GRV_NS_SEQUENCE};
    grv_kv_cursor *cursor = NULL;
    sequence_round round = {0};
    uint64_t stale = 0;
    grv_status status = grv_kv_open_scan(call, repo->kv, &scan, &cursor, error);
    while (!status && !round.ended) {
        status = round_read(call, cursor, &round, error);
        if (!status && round.count > 0) {
            status = round_test(call, repo, &round, &stale, error);
        }
        if (!status && round.count > 0 && !dry_run) {
            status = round_drop(call, repo, &round, error);
        }
    }
    grv_kv_cursor_free(cursor);
    if (!status) {
        *ret_sequences = stale;
    }
    return status;
}

grv_status grv_manifest_repo_kv_sweep(const grv_call *call, grv_manifest_repo *base, bool dry_run,
                                      grv_manifest_sweep *ret_sweep, grv_error *error)
{
    grv_manifest_repo_kv *repo = grv_manifest_repo_kv_of(base);
    grv_manifest_sweep sweep = {0};
    grv_status status = sweep_pages(call, repo, dry_run, &sweep.pages, error);
    if (!status) {
        status = sweep_sequences(call, repo, dry_run, &sweep.sequences, error);
    }
    if (!status) {
        *ret_sweep = sweep;
    }
    return status;
}
