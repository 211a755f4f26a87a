/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Room for new blocks, and eviction. The data is cut into segments; a block is appended to the open
 * segment of a queue, and when that is full another is claimed: one never used, else the oldest of
 * the small queue while that has more than its share (an eighth), else the oldest of the main one.
 * A claim makes all blocks that were in the segment unknown at once.
 *
 * This is S3-FIFO by segments. What was wanted once goes through the small queue, so a scan pushes
 * out an eighth of the cache at most. What is wanted again shortly after it left goes to the main
 * queue; and what is wanted while it nears its queue's end is written to the main queue's end, when
 * it is wanted (its bytes are at hand then) and not when it is evicted. Moves within the main queue
 * are rationed by what comes into it from outside: without new blocks nothing needs to be saved.
 *
 * State page and table of segments are written under the lock alone, a block's bytes without it:
 * nobody else has that room, unless its owner is stopped for so long that the segment is claimed
 * anew; then two blocks share it, and neither hashes to its key.
 */
#include "core/wire.h"
#include "layer/cache_file.h"
#include "os/file.h"

#include <errno.h>
#include <graviton/call.h>
#include <stdlib.h>
#include <string.h>

#define ORIGIN "cache"

#define STATE_SIZE 64u
#define ENTRY_SIZE 16u /* of the table: claim, queue, fill */

/* The small queue's share of the segments, and the least it has. */
#define SMALL_SHARE 8u
#define SMALL_LEAST 2u
/* Bytes that may be moved within the main queue for each that comes into it; and at most. */
#define CREDIT_RATIO 4u
#define CREDIT_PARTS 4u /* of the cache's size */
/* How long to wait for other processes, and how long not to try after that was in vain. */
#define LOCK_PATIENCE_NS UINT64_C(10000000)
#define LOCK_RETRY_NS    UINT64_C(100000000)

/* ---- The state page ---- */

grv_status grv_cache_state_read(const grv_cache_file *file, grv_cache_state *ret_state,
                                grv_error *error)
{
    uint8_t page[STATE_SIZE];
    grv_status status = grv_cache_file_read(file, GRV_CACHE_PAGE, page, sizeof page, error);
    if (status) {
        return status;
    }
    grv_cache_state state = {.claims = grv_wire_get_u32(page),
                             .credit = grv_wire_get_u64(page + 8)};
    for (size_t q = 0; q < GRV_CACHE_QUEUES; q++) {
        const uint8_t *at = page + 16 + 20 * q;
        state.queues[q].open = grv_wire_get_u32(at);
        state.queues[q].claim = grv_wire_get_u32(at + 4);
        state.queues[q].fill = grv_wire_get_u32(at + 8);
        state.queues[q].tail = grv_wire_get_u32(at + 12);
        state.queues[q].old = grv_wire_get_u32(at + 16);
        if (state.queues[q].open > file->shape.segments ||
            state.queues[q].fill > file->shape.segment_size ||
            state.queues[q].claim > state.claims || state.queues[q].claim < state.queues[q].tail) {
            state.queues[q].open = 0;
        }
    }
    *ret_state = state;
    return GRV_OK;
}

static grv_status state_write(const grv_cache_file *file, const grv_cache_state *state,
                              grv_error *error)
{
    uint8_t page[STATE_SIZE] = {0};
    grv_wire_put_u32(page, state->claims);
    grv_wire_put_u64(page + 8, state->credit);
    for (size_t q = 0; q < GRV_CACHE_QUEUES; q++) {
        uint8_t *at = page + 16 + 20 * q;
        grv_wire_put_u32(at, state->queues[q].open);
        grv_wire_put_u32(at + 4, state->queues[q].claim);
        grv_wire_put_u32(at + 8, state->queues[q].fill);
        grv_wire_put_u32(at + 12, state->queues[q].tail);
        grv_wire_put_u32(at + 16, state->queues[q].old);
    }
    return grv_cache_file_write(file, GRV_CACHE_PAGE, page, sizeof page, error);
}

/* ---- The table of segments ---- */

/* What the table says of one queue. */
typedef struct room_census {
    uint32_t count;
    uint32_t oldest; /* segment */
    uint32_t first;  /* claims of the oldest and the newest */
    uint32_t last;
} room_census;

static uint32_t entry_claim(const grv_cache_file *file, uint32_t segment)
{
    return grv_wire_get_u32(file->table + (size_t)segment * ENTRY_SIZE);
}

static grv_cache_queue entry_queue(const grv_cache_file *file, uint32_t segment)
{
    return file->table[(size_t)segment * ENTRY_SIZE + 4] == GRV_CACHE_MAIN ? GRV_CACHE_MAIN
                                                                           : GRV_CACHE_SMALL;
}

static grv_status entry_write(const grv_cache_file *file, uint32_t segment, uint32_t claim,
                              grv_cache_queue queue, uint32_t fill, grv_error *error)
{
    uint8_t *entry = file->table + (size_t)segment * ENTRY_SIZE;
    memset(entry, 0, ENTRY_SIZE);
    grv_wire_put_u32(entry, claim);
    entry[4] = (uint8_t)queue;
    grv_wire_put_u32(entry + 8, fill);
    return grv_cache_file_write(file, file->shape.table_at + (uint64_t)segment * ENTRY_SIZE, entry,
                                ENTRY_SIZE, error);
}

/* Counts the queues; *ret_free is a segment never used, or their number. An open segment is in its
 * queue, but never the oldest to evict while it is the other queue's. */
static void room_count(const grv_cache_file *file, room_census census[GRV_CACHE_QUEUES],
                       uint32_t *ret_free)
{
    *ret_free = file->shape.segments;
    memset(census, 0, GRV_CACHE_QUEUES * sizeof *census);
    for (uint32_t i = 0; i < file->shape.segments; i++) {
        uint32_t claim = entry_claim(file, i);
        room_census *queue = &census[entry_queue(file, i)];
        if (claim == 0) {
            *ret_free = *ret_free == file->shape.segments ? i : *ret_free;
            continue;
        }
        if (queue->count == 0 || claim < queue->first) {
            queue->first = claim;
            queue->oldest = i;
        }
        queue->last = claim > queue->last ? claim : queue->last;
        queue->count++;
    }
}

/* ---- Claims ---- */

static uint32_t small_share(const grv_cache_file *file)
{
    uint32_t share = file->shape.segments / SMALL_SHARE;
    return share < SMALL_LEAST ? SMALL_LEAST : share;
}

/* Sets what readers go by: where the queues end, and from where on blocks are to be saved. */
static void room_mark(const grv_cache_file *file, grv_cache_state *state)
{
    room_census census[GRV_CACHE_QUEUES];
    uint32_t unused;
    room_count(file, census, &unused);
    for (size_t q = 0; q < GRV_CACHE_QUEUES; q++) {
        const room_census *queue = &census[q];
        uint32_t part = (queue->last - queue->first + 1) / (q == GRV_CACHE_SMALL ? 2 : 4);
        bool evicts = unused == file->shape.segments &&
                      (q == GRV_CACHE_SMALL || census[GRV_CACHE_SMALL].count <= small_share(file));
        state->queues[q].tail = queue->first;
        state->queues[q].old = evicts ? queue->first + part : 0;
    }
}

/* The claims have run out of numbers, or the table holds nonsense: all begins anew. Blocks that the
 * index knows of by their old numbers hash to nothing. */
static grv_status room_reset(const grv_cache_file *file, grv_cache_state *state, grv_error *error)
{
    size_t size = (size_t)file->shape.segments * ENTRY_SIZE;
    memset(file->table, 0, size);
    *state = (grv_cache_state){0};
    return grv_cache_file_write(file, file->shape.table_at, file->table, size, error);
}

/* The segment to claim for `queue`: a free one, or a victim. */
static uint32_t room_choose(const grv_cache_file *file, grv_cache_state *state,
                            grv_cache_queue queue)
{
    room_census census[GRV_CACHE_QUEUES];
    uint32_t unused;
    room_count(file, census, &unused);
    for (size_t q = 0; q < GRV_CACHE_QUEUES; q++) {
        state->claims = census[q].last > state->claims ? census[q].last : state->claims;
    }
    if (unused < file->shape.segments) {
        return unused;
    }
    grv_cache_queue from =
        census[GRV_CACHE_SMALL].count > small_share(file) || census[GRV_CACHE_MAIN].count == 0
            ? GRV_CACHE_SMALL
            : GRV_CACHE_MAIN;
    if (from != queue && census[from].count == 1) {
        from = queue; /* the only one the other has is open */
    }
    return census[from].oldest;
}

/* Gives what a segment takes on disk back, so that new blocks need not be read-modified-written
 * into old pages. Where the file system cannot do that, they are. */
static void room_punch(const grv_cache_file *file, uint32_t segment)
{
    const grv_cache_place place = {.segment = segment};
    (void)grv_file_calls()->fallocate(file->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
                                      (off_t)grv_cache_place_offset(&file->shape, &place),
                                      file->shape.segment_size);
}

/*
 * Claims a segment for `queue` and makes it the open one. Everybody can see that what was in it is
 * gone before a byte of it changes, so that a reader who comes upon a change knows why.
 */
static grv_status room_claim(const grv_cache_file *file, grv_cache_state *state,
                             grv_cache_queue queue, grv_cache_loss *loss, grv_error *error)
{
    grv_status status = grv_cache_file_read(file, file->shape.table_at, file->table,
                                            (size_t)file->shape.segments * ENTRY_SIZE, error);
    uint32_t segment = status ? 0 : room_choose(file, state, queue);
    if (!status && state->claims >= UINT32_MAX - 1) {
        status = room_reset(file, state, error);
        segment = 0;
    }
    uint32_t before = state->queues[queue].open;
    if (!status && before > 0 && before - 1 != segment) { /* note what it holds, for the figures */
        status = entry_write(file, before - 1, entry_claim(file, before - 1), queue,
                             state->queues[queue].fill, error);
    }
    if (status) {
        return status;
    }
    bool used = entry_claim(file, segment) > 0;
    if (used) {
        uint32_t fill = grv_wire_get_u32(file->table + (size_t)segment * ENTRY_SIZE + 8);
        loss->segments++;
        loss->bytes += fill > file->shape.segment_size ? 0 : fill;
    }
    for (size_t q = 0; q < GRV_CACHE_QUEUES; q++) {
        if (state->queues[q].open == segment + 1) {
            state->queues[q].open = 0;
        }
    }
    state->claims++;
    status = entry_write(file, segment, state->claims, queue, 0, error);
    if (!status) {
        state->queues[queue].open = segment + 1;
        state->queues[queue].claim = state->claims;
        state->queues[queue].fill = 0;
        room_mark(file, state);
        status = state_write(file, state, error);
    }
    if (!status && used) {
        room_punch(file, segment);
    }
    return status;
}

/* ---- Wishes ---- */

/* Whether the main queue's credit allows for a move; accounts for it. */
static bool credit_allows(const grv_cache_file *file, grv_cache_state *state,
                          const grv_cache_wish *wish)
{
    uint64_t most = file->shape.size / CREDIT_PARTS;
    switch (wish->reason) {
    case GRV_CACHE_STAY:
        if (state->credit < wish->size) {
            return false;
        }
        state->credit -= wish->size;
        return true;
    case GRV_CACHE_AGAIN:
    case GRV_CACHE_RISE:
        state->credit += (uint64_t)wish->size * CREDIT_RATIO;
        state->credit = state->credit > most ? most : state->credit;
        return true;
    case GRV_CACHE_FRESH:
        break;
    }
    return true;
}

static grv_status wish_grant(const grv_cache_file *file, grv_cache_state *state,
                             grv_cache_wish *wish, grv_cache_loss *loss, grv_error *error)
{
    wish->granted = false;
    if (wish->size > file->shape.segment_size || !credit_allows(file, state, wish)) {
        return GRV_OK;
    }
    grv_cache_queue queue = wish->reason == GRV_CACHE_FRESH ? GRV_CACHE_SMALL : GRV_CACHE_MAIN;
    if (state->queues[queue].open == 0 ||
        wish->size > file->shape.segment_size - state->queues[queue].fill) {
        grv_status status = room_claim(file, state, queue, loss, error);
        if (status) {
            return status;
        }
    }
    uint32_t segment = state->queues[queue].open - 1;
    wish->place = (grv_cache_place){.claim = state->queues[queue].claim,
                                    .segment = segment,
                                    .offset = state->queues[queue].fill,
                                    .queue = queue};
    wish->granted = true;
    state->queues[queue].fill += wish->size;
    return GRV_OK;
}

static grv_status room_take_locked(grv_cache_file *file, grv_cache_wish wishes[], size_t count,
                                   grv_cache_loss *loss, grv_error *error)
{
    grv_cache_state state;
    grv_status status = grv_cache_state_read(file, &state, error);
    for (size_t i = 0; i < count && !status; i++) {
        status = wish_grant(file, &state, &wishes[i], loss, error);
    }
    return status ? status : state_write(file, &state, error);
}

grv_status grv_cache_room_take(grv_cache_file *file, grv_cache_wish wishes[], size_t count,
                               grv_cache_loss *ret_loss, grv_error *error)
{
    grv_cache_loss loss = {0};
    pthread_mutex_lock(&file->lock);
    grv_status status = GRV_OK;
    if (file->retry_ns > 0 && grv_now_ns() < file->retry_ns) {
        status = grv_error_set(error, GRV_UNAVAILABLE, ORIGIN, "%s was held by somebody",
                               GRV_CACHE_LOCK);
    } else {
        status = grv_cache_file_lock(file, LOCK_PATIENCE_NS, error);
        file->retry_ns = status ? grv_now_ns() + LOCK_RETRY_NS : 0;
        if (!status) {
            status = room_take_locked(file, wishes, count, &loss, error);
            grv_cache_file_unlock(file);
        }
    }
    pthread_mutex_unlock(&file->lock);
    *ret_loss = loss;
    return status;
}
