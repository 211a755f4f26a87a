/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which blocks are there. One question a block costs a request each; a page of a list answers for
 * every asked block of its stretch with one request that costs as much as some twenty. So keys are
 * sorted, and those that lie close enough together are answered by pages, the others one by one.
 * What is asked one by one and found is counted: once as many requests have gone into that as
 * listing everything would have taken, everything is listed, and remembered.
 *
 * Only a 404 means absent; every other failure fails the call.
 */
#include "backend/s3/blocks.h"

#include <stdlib.h>
#include <string.h>

/* A page is worth so many questions for one block. */
#define PAGE_WORTH 20u
/* Found one by one before the rest is learned, at least. */
#define LEARN_HITS 32u

/* One look: the keys in order, each with its place in the caller's arrays. */
typedef struct look_key {
    const grv_block_key *key;
    size_t place;
} look_key;

typedef struct look {
    const grv_call *call;
    grv_s3_blocks *blocks;
    bool any_size;
    bool *there;
    look_key *keys;
    size_t count;
    look_key *single; /* to be asked for one by one */
    size_t single_count;
    bool lost; /* a HEAD answered 404 */
    size_t hits;
    /* The part that is being listed: keys of one algorithm, and the stretches that hold them. */
    grv_s3_stretch *stretches;
    size_t stretch_count;
    size_t stretch_next;
} look;

static int look_order(const void *a, const void *b)
{
    return grv_block_key_compare(((const look_key *)a)->key, ((const look_key *)b)->key);
}

/* ---- One by one ---- */

static void head_prepare(void *context, grv_s3_slot *slot)
{
    const look *run = context;
    grv_s3_block_name(run->blocks, run->single[slot->index].key, slot->name);
    slot->request.method = GRV_S3_HEAD;
    slot->request.allow_missing = true;
}

static grv_status head_settle(void *context, grv_s3_slot *slot, grv_status status, grv_error *error)
{
    look *run = context;
    const look_key *key = &run->single[slot->index];
    if (status == GRV_NOT_FOUND) {
        run->lost = true;
        return GRV_OK;
    }
    if (status) {
        return grv_s3_blame(status, key->key, error);
    }
    grv_s3_bucket_seen(run->blocks);
    run->there[key->place] = run->any_size || slot->request.answer.content_length == key->key->size;
    run->hits++;
    return GRV_OK;
}

static grv_status look_single(look *run, grv_error *error)
{
    const grv_s3_window window = {
        .call = run->call,
        .blocks = run->blocks,
        .count = run->single_count,
        .prepare = head_prepare,
        .settle = head_settle,
        .context = run,
    };
    grv_status status = grv_s3_window_run(&window, NULL, error);
    __atomic_fetch_add(&run->blocks->hits, run->hits, __ATOMIC_RELAXED);
    if (!status && run->lost) {
        status = grv_s3_bucket_sure(run->call, run->blocks, error);
    }
    return status;
}

/* ---- By lists ---- */

static bool look_stretch(void *context, grv_s3_stretch *ret_stretch)
{
    look *run = context;
    if (run->stretch_next == run->stretch_count) {
        return false;
    }
    *ret_stretch = run->stretches[run->stretch_next++];
    return true;
}

/* Lists the stretches, and marks those of the `count` keys from `keys` on that are in them. */
static grv_status look_list(look *run, const look_key *keys, size_t count, uint64_t *ret_reached,
                            grv_error *error)
{
    grv_s3_scan *scan = NULL;
    run->stretch_next = 0;
    grv_status status = grv_s3_scan_new(run->blocks, false, look_stretch, run, &scan, error);
    const grv_block_entry *entry = NULL;
    size_t at = 0;
    while (!status) {
        status = grv_s3_scan_next(run->call, scan, &entry, error);
        if (status || !entry) {
            break;
        }
        while (at < count && grv_block_key_compare(keys[at].key, &entry->key) < 0) {
            at++;
        }
        for (size_t i = at; i < count && grv_block_key_compare(keys[i].key, &entry->key) == 0;
             i++) {
            run->there[keys[i].place] = run->any_size || entry->stored_size == entry->key.size;
        }
    }
    if (!status) {
        *ret_reached = grv_s3_scan_reached(scan);
    }
    grv_s3_scan_free(scan);
    return status;
}

/* Sorts `count` keys of one algorithm into stretches of about a page and single ones. */
static void look_divide(look *run, const look_key *keys, size_t count, uint64_t width)
{
    run->stretch_count = 0;
    for (size_t i = 0; i < count;) {
        uint64_t first = grv_s3_position(keys[i].key);
        uint64_t last = first;
        size_t n = 1;
        while (i + n < count && grv_s3_position(keys[i + n].key) - first < width) {
            last = grv_s3_position(keys[i + n].key);
            n++;
        }
        if (n < PAGE_WORTH) {
            memcpy(run->single + run->single_count, keys + i, n * sizeof *keys);
            run->single_count += n;
        } else {
            run->stretches[run->stretch_count++] =
                (grv_s3_stretch){keys[i].key->digest.hash, first, last, false};
        }
        i += n;
    }
}

/* Answers for keys of one algorithm by lists, or leaves them to be asked for one by one. */
static grv_status look_hash(look *run, const look_key *keys, size_t count, grv_error *error)
{
    uint64_t reached = 0;
    while (count >= PAGE_WORTH) {
        uint64_t width = grv_s3_page_width(run->blocks, keys[0].key->digest.hash);
        grv_status status;
        if (width > 0) {
            look_divide(run, keys, count, width);
            return run->stretch_count ? look_list(run, keys, count, &reached, error) : GRV_OK;
        }
        /* One page tells how far apart keys lie, and answers for those that it covers. */
        run->stretches[0] = (grv_s3_stretch){keys[0].key->digest.hash, grv_s3_position(keys[0].key),
                                             UINT64_MAX, true};
        run->stretch_count = 1;
        status = look_list(run, keys, count, &reached, error);
        if (status) {
            return status;
        }
        while (count > 0 && grv_s3_position(keys[0].key) <= reached) {
            keys++;
            count--;
        }
    }
    memcpy(run->single + run->single_count, keys, count * sizeof *keys);
    run->single_count += count;
    return GRV_OK;
}

static grv_status look_all(look *run, grv_error *error)
{
    for (size_t i = 0; i < run->count;) {
        size_t n = 1;
        while (i + n < run->count &&
               run->keys[i + n].key->digest.hash == run->keys[i].key->digest.hash) {
            n++;
        }
        grv_status status = look_hash(run, run->keys + i, n, error);
        if (status) {
            return status;
        }
        i += n;
    }
    return run->single_count ? look_single(run, error) : GRV_OK;
}

/* Looks for the keys at `places`, all of them where that is NULL. */
static grv_status look_at(const grv_call *call, grv_s3_blocks *blocks, const grv_block_key keys[],
                          const size_t *places, size_t count, bool any_size, bool there[],
                          grv_error *error)
{
    grv_status status = grv_call_check(call, "s3", error);
    if (status || count == 0) {
        return status;
    }
    look run = {.call = call,
                .blocks = blocks,
                .any_size = any_size,
                .there = there,
                .keys = malloc(count * sizeof *run.keys),
                .count = count,
                .single = malloc(count * sizeof *run.single),
                .stretches = malloc((count / PAGE_WORTH + 1) * sizeof *run.stretches)};
    if (!run.keys || !run.single || !run.stretches) {
        status = grv_error_set(error, GRV_LIMIT_EXCEEDED, "s3", "no memory for %zu keys", count);
    } else {
        for (size_t i = 0; i < count; i++) {
            size_t place = places ? places[i] : i;
            run.keys[i] = (look_key){&keys[place], place};
            there[place] = false;
        }
        qsort(run.keys, count, sizeof *run.keys, look_order);
        status = look_all(&run, error);
    }
    free(run.keys);
    free(run.single);
    free(run.stretches);
    return status;
}

grv_status grv_s3_blocks_look(const grv_call *call, grv_s3_blocks *blocks,
                              const grv_block_key keys[], size_t count, bool any_size,
                              bool ret_there[], grv_error *error)
{
    bool *there = malloc(count * sizeof *there);
    if (!there) {
        return grv_error_set(error, GRV_LIMIT_EXCEEDED, "s3", "no memory for %zu keys", count);
    }
    grv_status status = look_at(call, blocks, keys, NULL, count, any_size, there, error);
    if (!status) {
        memcpy(ret_there, there, count * sizeof *there);
    }
    free(there);
    return status;
}

/* ---- With a memory ---- */

/* Whether asking one by one has cost what listing everything would, and that can be remembered. */
static bool learning_is_worth(const grv_s3_blocks *blocks)
{
    double hits = (double)__atomic_load_n(&blocks->hits, __ATOMIC_RELAXED);
    double pages = 1;
    double room = (double)blocks->present.shard_max * GRV_S3_SHARDS / 2;
    for (grv_hash hash = GRV_HASH_BLAKE3; hash <= GRV_HASH_SHA256; hash++) {
        uint64_t apart = __atomic_load_n(&blocks->span[hash], __ATOMIC_RELAXED);
        double keys = apart ? (double)UINT64_MAX / (double)apart : 0;
        pages += keys / GRV_S3_PAGE_KEYS;
        room -= keys;
    }
    return hits >= LEARN_HITS && hits >= pages * PAGE_WORTH && room > 0;
}

/* Lists everything, and remembers it. The first page may tell that there is more than was thought.
 */
static grv_status learn_all(const grv_call *call, grv_s3_blocks *blocks, grv_error *error)
{
    uint64_t stamp = grv_s3_present_stamp(&blocks->present);
    grv_s3_walk walk;
    grv_status status = grv_s3_walk_init(&walk, blocks, false, NULL, error);
    for (size_t i = 0; !status; i++) {
        const grv_block_entry *entry = NULL;
        status = grv_s3_walk_next(call, &walk, &entry, error);
        if (status || (i % GRV_S3_PAGE_KEYS == 0 && !learning_is_worth(blocks))) {
            break;
        }
        if (!entry) {
            __atomic_store_n(&blocks->hits, 0, __ATOMIC_RELAXED);
            break;
        }
        if (entry->stored_size == entry->key.size) {
            grv_s3_present_add(&blocks->present, stamp, &entry->key);
        }
    }
    grv_s3_walk_done(&walk);
    return status;
}

static grv_status learn(const grv_call *call, grv_s3_blocks *blocks, grv_error *error)
{
    grv_status status = GRV_OK;
    if (learning_is_worth(blocks) &&
        !__atomic_exchange_n(&blocks->learning, true, __ATOMIC_ACQUIRE)) {
        status = learn_all(call, blocks, error);
        __atomic_store_n(&blocks->learning, false, __ATOMIC_RELEASE);
    }
    return status;
}

/* The places of keys that are not remembered. */
static size_t unknown(grv_s3_blocks *blocks, uint64_t stamp, const grv_block_key keys[],
                      const size_t *places, size_t count, size_t ret_places[])
{
    size_t left = 0;
    for (size_t i = 0; i < count; i++) {
        size_t place = places ? places[i] : i;
        if (!grv_s3_present_has(&blocks->present, stamp, &keys[place])) {
            ret_places[left++] = place;
        }
    }
    return left;
}

/* Asks for those that are not remembered, and remembers what was found. `places` has room for all.
 */
static grv_status missing_ask(const grv_call *call, grv_s3_blocks *blocks,
                              const grv_block_key keys[], size_t count, size_t places[],
                              bool there[], grv_error *error)
{
    uint64_t stamp = grv_s3_present_stamp(&blocks->present);
    size_t left = unknown(blocks, stamp, keys, NULL, count, places);
    grv_status status = GRV_OK;
    if (left > 0) {
        status = learn(call, blocks, error);
        left = unknown(blocks, stamp, keys, places, left, places);
    }
    if (!status) {
        status = look_at(call, blocks, keys, places, left, false, there, error);
    }
    for (size_t i = 0; i < left && !status; i++) {
        if (there[places[i]]) {
            grv_s3_present_add(&blocks->present, stamp, &keys[places[i]]);
        } else {
            grv_s3_absent_note(&blocks->present, &keys[places[i]]);
        }
    }
    return status;
}

grv_status grv_s3_blocks_missing(const grv_call *call, grv_block_store *store,
                                 const grv_block_key keys[], size_t count, bool ret_missing[],
                                 grv_error *error)
{
    size_t *places = calloc(count, sizeof *places);
    bool *there = malloc(count * sizeof *there);
    if (!places || !there) {
        free(places);
        free(there);
        return grv_error_set(error, GRV_LIMIT_EXCEEDED, "s3", "no memory for %zu keys", count);
    }
    memset(there, 1, count * sizeof *there);
    grv_status status =
        missing_ask(call, (grv_s3_blocks *)store, keys, count, places, there, error);
    for (size_t i = 0; i < count && !status; i++) {
        ret_missing[i] = !there[i];
    }
    free(places);
    free(there);
    return status;
}
