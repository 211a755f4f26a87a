/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Lists. The service gives keys in byte order, a page of up to a thousand a request, and each page
 * begins after any key one names: so several stretches of the names are read at once, and given out
 * one after another. How wide a stretch is for one page follows from the page before, since digests
 * lie evenly.
 *
 * The service's order is not quite ours: of two blocks with one digest, "…-100" comes before
 * "…-99". So the names of one digest are put in order here, those at a page's end together with the
 * next.
 *
 * Contents: one page; the ring of stretches; the walk over all; the port's list and statistics.
 */
#include "backend/s3/blocks.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Stretches read at once. */
#define SCAN_DEPTH 8u
/* Names of one digest; a digest has one true size. */
#define SCAN_ALIKE 64u
/* Keys that a stretch is made to hold, so that most take one page. */
#define SCAN_KEYS 800u
/* A page with fewer keys than this tells little of how far apart they lie. */
#define SCAN_TELLING 16u

/* A stretch that is being read. */
typedef struct scan_lane {
    grv_s3_stretch stretch;
    uint64_t begun; /* where this page's keys begin, */
    uint64_t seen;  /* and where its last one lies */
    grv_s3_request request;
    grv_s3_pair query[5];
    char folder[GRV_S3_NAME_SIZE];
    char after[GRV_S3_NAME_SIZE];
    grv_buffer out;
    bool asked; /* the request is under way */
    bool ended; /* no page comes after this one */
    grv_block_entry entries[GRV_S3_PAGE_KEYS + SCAN_ALIKE];
    size_t count;
    size_t
        ready; /* entries that may be given out; behind them, those that wait for the next page */
    size_t at;
} scan_lane;

struct grv_s3_scan {
    grv_s3_blocks *blocks;
    bool aside;
    bool (*next)(void *context, grv_s3_stretch *ret_stretch);
    void *context;
    bool no_more; /* `next` has said so */
    uint64_t reached;
    bool drained[GRV_S3_HASHES];  /* no name comes after those that were given out */
    scan_lane *lanes[SCAN_DEPTH]; /* made when first used */
    size_t first;                 /* the one that is given out */
    size_t count;                 /* in use, from it on */
};

/* ---- One page ---- */

/* Asked without the call: a later one may be the one that waits for it. */
static void lane_ask(grv_s3_scan *scan, scan_lane *lane)
{
    lane->query[0] = (grv_s3_pair){"encoding-type", "url"};
    lane->query[1] = (grv_s3_pair){"list-type", "2"};
    lane->query[2] = (grv_s3_pair){"max-keys", "1000"};
    lane->query[3] = (grv_s3_pair){"prefix", lane->folder};
    lane->query[4] = (grv_s3_pair){"start-after", lane->after};
    grv_buffer_init(&lane->out, GRV_S3_XML_MAX);
    lane->request = (grv_s3_request){
        .method = GRV_S3_GET,
        .bucket = scan->blocks->bucket,
        .query = lane->query,
        .query_count = 5,
        .out = &lane->out,
    };
    lane->asked = true;
    grv_s3_submit(NULL, scan->blocks->s3, &lane->request);
}

static void lane_begin(grv_s3_scan *scan, scan_lane *lane, const grv_s3_stretch *stretch)
{
    lane->stretch = *stretch;
    lane->begun = stretch->first;
    lane->ended = false;
    lane->count = lane->ready = lane->at = 0;
    grv_s3_folder_name(scan->blocks, stretch->hash, scan->aside, lane->folder);
    /* Less than every name of a digest that begins so. */
    int size = snprintf(lane->after, sizeof lane->after, "%s", lane->folder);
    if (stretch->first > 0) {
        snprintf(lane->after + size, sizeof lane->after - (size_t)size, "%016" PRIx64,
                 stretch->first);
    }
    lane_ask(scan, lane);
}

/* Notes how far apart keys lie; few keys do not tell. */
static void lane_learn(grv_s3_scan *scan, const scan_lane *lane, size_t keys, bool all)
{
    if (scan->aside || (!all && keys < SCAN_TELLING)) {
        return;
    }
    uint64_t apart = 0;
    if (keys >= SCAN_TELLING) {
        apart = ((all ? UINT64_MAX : lane->seen) - lane->begun) / keys;
        apart = apart ? apart : 1;
    }
    __atomic_store_n(&scan->blocks->span[lane->stretch.hash], apart, __ATOMIC_RELAXED);
}

/* Puts an entry in its place: only names of one digest can be out of order. */
static void lane_insert(scan_lane *lane, const grv_block_entry *entry)
{
    size_t i = lane->count++;
    while (i > 0 && grv_block_key_compare(&lane->entries[i - 1].key, &entry->key) > 0) {
        lane->entries[i] = lane->entries[i - 1];
        i--;
    }
    lane->entries[i] = *entry;
}

static bool alike(const grv_block_entry *a, const grv_block_entry *b)
{
    return grv_digest_compare(&a->key.digest, &b->key.digest) == 0;
}

/* Takes one name of a page. Objects whose name is no block's are nobody's. */
static grv_status lane_take(scan_lane *lane, const grv_s3_entry *object, grv_error *error)
{
    size_t folder = strlen(lane->folder);
    if (strncmp(object->key, lane->folder, folder) != 0 || strcmp(object->key, lane->after) <= 0 ||
        strlen(object->key) >= sizeof lane->after) {
        return grv_error_set(error, GRV_CORRUPT, "s3",
                             "the list of \"%.200s\" has \"%.100s\", which is out of order",
                             lane->folder, object->key);
    }
    snprintf(lane->after, sizeof lane->after, "%s", object->key);
    grv_block_entry entry = {.stored_size = object->size};
    if (!grv_block_name_parse(lane->stretch.hash, object->key + folder, &entry.key)) {
        return GRV_OK;
    }
    if (lane->count == sizeof lane->entries / sizeof lane->entries[0]) {
        return grv_error_set(error, GRV_CORRUPT, "s3",
                             "the list of \"%.200s\" has more names in a page than were asked for",
                             lane->folder);
    }
    lane->seen = grv_s3_position(&entry.key);
    if (lane->seen <= lane->stretch.last) {
        lane_insert(lane, &entry);
    } else {
        lane->ended = true;
    }
    return GRV_OK;
}

/* Keeps the names of the last digest back: some of it may come with the next page. */
static grv_status lane_hold_back(scan_lane *lane, grv_error *error)
{
    while (lane->ready > 0 &&
           alike(&lane->entries[lane->ready - 1], &lane->entries[lane->count - 1])) {
        lane->ready--;
    }
    if (lane->count - lane->ready > SCAN_ALIKE) {
        return grv_s3_blame(grv_error_set(error, GRV_CORRUPT, "s3",
                                          "there are objects of more than %u sizes for its digest",
                                          SCAN_ALIKE),
                            &lane->entries[lane->ready].key, error);
    }
    return GRV_OK;
}

/* Ends a stretch that may be cut before the digests at the end of its page. False where these are
 * the whole page. */
static bool lane_cut(grv_s3_scan *scan, scan_lane *lane)
{
    uint64_t last = lane->count ? grv_s3_position(&lane->entries[lane->count - 1].key) : 0;
    if (!lane->stretch.cut || last <= lane->begun) {
        return false;
    }
    while (lane->ready > 0 && grv_s3_position(&lane->entries[lane->ready - 1].key) == last) {
        lane->ready--;
    }
    scan->reached = last - 1;
    lane->count = lane->ready;
    lane->ended = true;
    return true;
}

/* Reads a page that has come. */
static grv_status lane_read(grv_s3_scan *scan, scan_lane *lane, grv_error *error)
{
    grv_s3_page page = {0};
    grv_status status = grv_s3_page_parse(grv_buffer_bytes(&lane->out), &page, error);
    size_t held = lane->count - lane->ready;
    memmove(lane->entries, lane->entries + lane->ready, held * sizeof lane->entries[0]);
    lane->count = held;
    lane->at = 0;
    if (!status && page.truncated && page.count == 0) {
        status = grv_error_set(error, GRV_CORRUPT, "s3",
                               "the list of \"%.200s\" has an empty page that is not the last",
                               lane->folder);
    }
    for (size_t i = 0; !status && i < page.count; i++) {
        status = lane_take(lane, &page.entries[i], error);
    }
    bool all = !page.truncated;
    size_t keys = page.count;
    lane->ready = lane->count;
    lane->ended = lane->ended || all;
    grv_s3_page_done(&page);
    if (status) {
        return status;
    }
    lane_learn(scan, lane, keys, all);
    if (!lane->ended && lane->count > 0) {
        return lane_cut(scan, lane) ? GRV_OK : lane_hold_back(lane, error);
    }
    scan->drained[lane->stretch.hash] = scan->drained[lane->stretch.hash] || all;
    scan->reached = lane->stretch.last;
    return GRV_OK;
}

/* ---- The ring ---- */

grv_status grv_s3_scan_new(grv_s3_blocks *blocks, bool aside,
                           bool (*next)(void *context, grv_s3_stretch *ret_stretch), void *context,
                           grv_s3_scan **ret_scan, grv_error *error)
{
    grv_s3_scan *scan = calloc(1, sizeof *scan);
    if (!scan) {
        grv_error_set(error, GRV_LIMIT_EXCEEDED, "s3", "no memory for a list");
        return GRV_LIMIT_EXCEEDED;
    }
    scan->blocks = blocks;
    scan->aside = aside;
    scan->next = next;
    scan->context = context;
    *ret_scan = scan;
    return GRV_OK;
}

static scan_lane *scan_lane_at(const grv_s3_scan *scan, size_t i)
{
    return scan->lanes[(scan->first + i) % SCAN_DEPTH];
}

/* Begins as many stretches as there may be. */
static grv_status scan_fill(grv_s3_scan *scan, grv_error *error)
{
    while (!scan->no_more && scan->count < SCAN_DEPTH) {
        if (scan->count > 0 && scan_lane_at(scan, scan->count - 1)->stretch.cut) {
            break;
        }
        grv_s3_stretch stretch = {0};
        if (!scan->next(scan->context, &stretch)) {
            scan->no_more = true;
            break;
        }
        if (scan->drained[stretch.hash]) {
            scan->reached = stretch.last;
            continue;
        }
        size_t i = (scan->first + scan->count) % SCAN_DEPTH;
        if (!scan->lanes[i]) {
            scan->lanes[i] = calloc(1, sizeof(scan_lane));
        }
        if (!scan->lanes[i]) {
            return grv_error_set(error, GRV_LIMIT_EXCEEDED, "s3", "no memory for a list");
        }
        lane_begin(scan, scan->lanes[i], &stretch);
        scan->count++;
    }
    return GRV_OK;
}

/* Waits for the page of the stretch that is given out. */
static grv_status scan_await(const grv_call *call, grv_s3_scan *scan, scan_lane *lane,
                             grv_error *error)
{
    grv_status status = grv_s3_wait(call, scan->blocks->s3, &lane->request, error);
    lane->asked = false;
    if (!status) {
        grv_s3_bucket_seen(scan->blocks);
        status = lane_read(scan, lane, error);
    }
    grv_buffer_done(&lane->out);
    return status;
}

grv_status grv_s3_scan_next(const grv_call *call, grv_s3_scan *scan,
                            const grv_block_entry **ret_entry, grv_error *error)
{
    for (;;) {
        scan_lane *lane = scan->count ? scan_lane_at(scan, 0) : NULL;
        if (lane && lane->at < lane->ready) {
            *ret_entry = &lane->entries[lane->at++];
            return GRV_OK;
        }
        grv_status status = GRV_OK;
        if (lane && lane->asked) {
            status = scan_await(call, scan, lane, error);
        } else if (lane && !lane->ended) {
            lane->begun =
                lane->count ? grv_s3_position(&lane->entries[lane->count - 1].key) : lane->begun;
            lane_ask(scan, lane);
        } else {
            if (lane) {
                scan->first = (scan->first + 1) % SCAN_DEPTH;
                scan->count--;
            }
            status = scan_fill(scan, error);
            if (!status && scan->count == 0) {
                *ret_entry = NULL;
                return GRV_OK;
            }
        }
        if (status) {
            return status;
        }
    }
}

uint64_t grv_s3_scan_reached(const grv_s3_scan *scan)
{
    return scan->reached;
}

void grv_s3_scan_free(grv_s3_scan *scan)
{
    if (!scan) {
        return;
    }
    for (size_t i = 0; i < SCAN_DEPTH; i++) {
        scan_lane *lane = scan->lanes[i];
        if (lane && lane->asked) {
            grv_s3_cancel(scan->blocks->s3, &lane->request);
            grv_buffer_done(&lane->out);
        }
        free(lane);
    }
    free(scan);
}

uint64_t grv_s3_page_width(const grv_s3_blocks *blocks, grv_hash hash)
{
    uint64_t apart = __atomic_load_n(&blocks->span[hash], __ATOMIC_RELAXED);
    return apart > UINT64_MAX / SCAN_KEYS ? UINT64_MAX : apart * SCAN_KEYS;
}

/* ---- The walk over all ---- */

/* The next stretch of a walk: one to learn from, then as wide as a page. */
static bool walk_stretch(void *context, grv_s3_stretch *ret_stretch)
{
    grv_s3_walk *walk = context;
    if (walk->was_cut) {
        /* It said where it ended. */
        uint64_t reached = grv_s3_scan_reached(walk->scan);
        walk->was_cut = false;
        if (reached == UINT64_MAX) {
            walk->hash++;
        }
        walk->at = reached + 1;
    }
    if (walk->hash > GRV_HASH_SHA256) {
        return false;
    }
    /* How far apart copies in quarantine lie is not known. */
    uint64_t width = walk->aside ? 0 : grv_s3_page_width(walk->blocks, walk->hash);
    *ret_stretch = (grv_s3_stretch){.hash = walk->hash, .first = walk->at, .last = UINT64_MAX};
    if (width == 0) {
        ret_stretch->cut = true;
        walk->was_cut = true;
    } else if (UINT64_MAX - walk->at >= width) {
        ret_stretch->last = walk->at + width - 1;
        walk->at += width;
    } else {
        walk->hash++;
        walk->at = 0;
    }
    return true;
}

grv_status grv_s3_walk_init(grv_s3_walk *walk, grv_s3_blocks *blocks, bool aside,
                            const grv_block_key *after, grv_error *error)
{
    *walk = (grv_s3_walk){.blocks = blocks, .aside = aside, .hash = GRV_HASH_BLAKE3};
    if (after) {
        walk->own_after = *after;
        walk->after = &walk->own_after;
        walk->hash = after->digest.hash;
        walk->at = grv_s3_position(after);
    }
    return grv_s3_scan_new(blocks, aside, walk_stretch, walk, &walk->scan, error);
}

grv_status grv_s3_walk_next(const grv_call *call, grv_s3_walk *walk,
                            const grv_block_entry **ret_entry, grv_error *error)
{
    for (;;) {
        grv_status status = grv_s3_scan_next(call, walk->scan, ret_entry, error);
        if (status || !*ret_entry || !walk->after ||
            grv_block_key_compare(&(*ret_entry)->key, walk->after) > 0) {
            return status;
        }
    }
}

void grv_s3_walk_done(grv_s3_walk *walk)
{
    grv_s3_scan_free(walk->scan);
    walk->scan = NULL;
}

/* ---- The port's list and statistics ---- */

typedef struct s3_cursor {
    grv_block_cursor base;
    grv_s3_walk walk;
} s3_cursor;

static grv_status s3_cursor_next(const grv_call *call, grv_block_cursor *base,
                                 grv_block_entry entries[], size_t capacity, size_t *ret_count,
                                 grv_error *error)
{
    s3_cursor *cursor = (s3_cursor *)base;
    grv_status status = grv_call_check(call, "s3", error);
    size_t count = 0;
    while (!status && count < capacity) {
        const grv_block_entry *entry = NULL;
        status = grv_s3_walk_next(call, &cursor->walk, &entry, error);
        if (status || !entry) {
            break;
        }
        entries[count++] = *entry;
    }
    if (status) {
        return status;
    }
    *ret_count = count;
    return GRV_OK;
}

static void s3_cursor_free(grv_block_cursor *base)
{
    s3_cursor *cursor = (s3_cursor *)base;
    grv_s3_walk_done(&cursor->walk);
    free(cursor);
}

static const grv_block_cursor_ops s3_cursor_ops = {
    .name = "s3",
    .next = s3_cursor_next,
    .free = s3_cursor_free,
};

grv_status grv_s3_blocks_open_list(const grv_call *call, grv_block_store *store,
                                   const grv_block_key *after, grv_block_cursor **ret_cursor,
                                   grv_error *error)
{
    grv_status status = grv_call_check(call, "s3", error);
    if (status) {
        return status;
    }
    s3_cursor *cursor = calloc(1, sizeof *cursor);
    if (!cursor) {
        return grv_error_set(error, GRV_LIMIT_EXCEEDED, "s3", "no memory for a list");
    }
    cursor->base.ops = &s3_cursor_ops;
    status = grv_s3_walk_init(&cursor->walk, (grv_s3_blocks *)store, false, after, error);
    if (status) {
        free(cursor);
        return status;
    }
    *ret_cursor = &cursor->base;
    return GRV_OK;
}

grv_status grv_s3_blocks_stats(const grv_call *call, grv_block_store *store,
                               grv_block_stats *ret_stats, grv_error *error)
{
    grv_s3_walk walk;
    grv_block_stats stats = {0};
    grv_status status = grv_s3_walk_init(&walk, (grv_s3_blocks *)store, false, NULL, error);
    while (!status) {
        const grv_block_entry *entry = NULL;
        status = grv_s3_walk_next(call, &walk, &entry, error);
        if (status || !entry) {
            break;
        }
        stats.blocks++;
        stats.raw_bytes += entry->key.size;
        stats.stored_bytes += entry->stored_size;
    }
    grv_s3_walk_done(&walk);
    if (!status) {
        *ret_stats = stats;
    }
    return status;
}
