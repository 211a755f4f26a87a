/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Get: a manifest becomes a stream again.
 *
 * The caller's thread walks the block references and makes fetches of them: some consecutive blocks
 * each, read and verified by the store's pool ahead of the caller. The caller gets views of the
 * fetches in order. A read of the whole blob also hashes its bytes, in order, as tasks beside the
 * fetches, and the last fetch is given out only when the blob's digest agrees.
 *
 * That digest guards against a manifest that joins sound blocks wrongly, and against nothing else:
 * each block is hashed at every read from the store. So once a list of blocks was seen to hash to a
 * blob's digest, the same list names the same bytes ever after, and a later read whose manifest has
 * that list, block for block, may leave the whole hash out (store/known.h; nothing need be
 * invalidated: a changed manifest is another list). This holds for blobs whose list is known before
 * the first byte goes, and never in the background: verifying hashes everything.
 *
 * Where the store keeps blocks in memory, those that lie there are neither read nor hashed again,
 * and go out from there; never in the background, which is about the store itself.
 *
 * Invariants: no byte leaves before its block is verified (the block store's verify layer); the
 * clean end is reached only behind the last byte asked for.
 */
#include "base/wait.h"
#include "store/cas.h"
#include "store/fetch.h"

#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>

/* Fetches one source has at most. */
#define FETCHES 8u
/* References taken from the manifest at a time, at most. */
#define READ_REFS 256u

typedef struct reader reader;

/* Some consecutive blocks of the blob, read together. */
typedef struct reader_fetch {
    grv_task task;
    reader *source;
    grv_fetch fetch; /* its buffer, where it has one, has `capacity` */
    size_t capacity; /* taken from the budget */
    bool ready;      /* the task is through; `status` tells how */
    grv_status status;
    grv_error error;
} reader_fetch;

struct reader {
    grv_source base;
    grv_cas *cas;
    grv_memory_cache *memory; /* NULL: blocks are not kept */
    grv_blob_key key;
    grv_range range;
    grv_cancel cancel;
    grv_status failed; /* what every further call answers */
    grv_error error;

    grv_ref_cursor *refs;
    grv_block_ref *pending; /* references read from the manifest, not yet in a fetch */
    size_t pending_max;
    size_t pending_at;
    size_t pending_count;
    bool planned_all; /* every block asked for is in a fetch */
    bool gathered;    /* fetches[fetch_new] has its blocks and waits for a buffer */

    pthread_mutex_t lock;
    pthread_cond_t progress;
    grv_call call; /* what tasks pass on */
    unsigned running;
    bool in_line; /* one small fetch: done on the caller's thread */
    reader_fetch fetches[FETCHES];
    uint64_t fetch_new;  /* next fetch to begin */
    uint64_t fetch_out;  /* the fetch being given out */
    uint64_t fetch_free; /* fetches below are given out and hashed */
    size_t held;         /* bytes of the budget that all fetches have */
    size_t out_at;       /* bytes of it given out, from its own start */
    grv_fetch_cursor out_cursor;
    bool out_ready; /* fetch_out may be given out */

    bool whole;            /* the blob's own digest is being checked */
    bool printed;          /* `print` is that of the blob and all its blocks */
    bool known;            /* and the list is a known one: the blob's digest is left out */
    grv_known_print print; /* becomes known when the digest agrees */
    grv_task whole_task;
    bool whole_busy;
    uint64_t whole_seq; /* next fetch to hash */
    grv_status whole_status;
    grv_error whole_error;
    grv_hasher hasher;
};

/* ---- Tasks ---- */

static void reader_pump(reader *source);

/* Starts a task with the lock held; in line it runs when the caller gets to it. */
static void reader_start(reader *source, grv_task *task)
{
    source->running++;
    if (!source->in_line) {
        grv_pool_submit(source->cas->pool, task);
        return;
    }
    pthread_mutex_unlock(&source->lock);
    task->run(task);
    pthread_mutex_lock(&source->lock);
}

static void reader_end(reader *source)
{
    source->running--;
    reader_pump(source);
    pthread_cond_broadcast(&source->progress);
}

static void fetch_run(grv_task *task)
{
    reader_fetch *fetch = (reader_fetch *)(void *)task;
    reader *source = fetch->source;
    pthread_mutex_lock(&source->lock);
    grv_call call = source->call;
    if (!source->in_line) {
        /* A later call takes this fetch: the caller's wait has the deadline. */
        call.deadline_ns = 0;
        call.no_wait = false;
    }
    pthread_mutex_unlock(&source->lock);
    if (source->cas->memory && !source->memory) {
        grv_memory_cache_bypass(source->cas->memory, fetch->fetch.count);
    }
    grv_status status =
        grv_fetch_get(&call, &fetch->fetch, source->cas->config.blocks, &fetch->error);
    pthread_mutex_lock(&source->lock);
    fetch->status = status;
    fetch->ready = true;
    reader_end(source);
    pthread_mutex_unlock(&source->lock);
}

static void whole_run(grv_task *task)
{
    reader *source = (reader *)(void *)((char *)task - offsetof(reader, whole_task));
    const reader_fetch *fetch = &source->fetches[source->whole_seq % FETCHES];
    grv_error error = GRV_ERROR_INIT;
    grv_status status = GRV_OK;
    grv_fetch_cursor cursor = {0};
    for (size_t at = 0; at < fetch->fetch.size && !status;) {
        grv_bytes view = grv_fetch_view(&fetch->fetch, at, fetch->fetch.size, &cursor);
        status = grv_hasher_update(&source->hasher, view, &error);
        at += view.size;
    }
    pthread_mutex_lock(&source->lock);
    if (status && !source->whole_status) {
        source->whole_status = status;
        source->whole_error = error;
    }
    source->whole_busy = false;
    source->whole_seq++;
    reader_end(source);
    pthread_mutex_unlock(&source->lock);
}

/* Starts hashing the next fetch that is ready. The lock is held. */
static void reader_pump(reader *source)
{
    if (!source->whole || source->whole_busy || source->whole_seq >= source->fetch_new) {
        return;
    }
    const reader_fetch *fetch = &source->fetches[source->whole_seq % FETCHES];
    if (fetch->ready && !fetch->status) {
        source->whole_busy = true;
        reader_start(source, &source->whole_task);
    }
}

/* ---- Planning fetches ---- */

/* Makes sure a reference is pending, or that planned_all is set. */
static grv_status plan_refill(const grv_call *call, reader *source, grv_error *error)
{
    if (source->pending_at == source->pending_count) {
        if (source->known) {
            source->planned_all = true; /* nothing may follow what is known */
            return GRV_OK;
        }
        size_t count = 0;
        grv_status status = grv_ref_cursor_next(call, source->refs, source->pending,
                                                source->pending_max, &count, error);
        if (status) {
            return status;
        }
        source->pending_at = 0;
        source->pending_count = count;
    }
    source->planned_all = source->pending_count == 0 ||
                          source->pending[source->pending_at].offset >= source->range.end;
    return GRV_OK;
}

/* Gives a fetch's buffer back, for the next one to use where it has the usual size. */
static void plan_drop_buffer(reader *source, reader_fetch *fetch)
{
    if (fetch->capacity == 0) {
        return;
    }
    source->held -= fetch->capacity;
    grv_fetch_drop(&fetch->fetch);
    if (fetch->fetch.buffer && fetch->capacity == GRV_BUDGET_SPARE_SIZE) {
        grv_budget_spare_give(&source->cas->budget, fetch->fetch.buffer);
    } else {
        grv_budget_give(&source->cas->budget, fetch->capacity);
        free(fetch->fetch.buffer);
    }
    fetch->fetch.buffer = NULL;
    fetch->capacity = 0;
}

/* Gives back the buffers of fetches that are not in use. */
static void plan_drop_buffers(reader *source)
{
    for (uint64_t seq = source->fetch_new; seq < source->fetch_free + FETCHES; seq++) {
        plan_drop_buffer(source, &source->fetches[seq % FETCHES]);
    }
}

/* The buffer for a fetch: one that may be spare, where not too much of it would be empty. Blocks
 * that are kept in memory need their share of the budget alone. */
static size_t plan_buffer_size(const grv_fetch *fetch)
{
    bool usual = !fetch->memory && fetch->size > GRV_BUDGET_SPARE_SIZE / 2 &&
                 fetch->size <= GRV_BUDGET_SPARE_SIZE;
    return usual ? GRV_BUDGET_SPARE_SIZE : fetch->size;
}

/* Gives a fetch a buffer for its blocks. False where the budget has nothing left now, or the stream
 * holds its share, and the caller has something to go on with; with nothing, this waits. */
static grv_status plan_buffer(const grv_call *call, reader *source, reader_fetch *fetch,
                              bool *ret_got, grv_error *error)
{
    grv_budget *budget = &source->cas->budget;
    *ret_got = fetch->capacity >= fetch->fetch.size;
    if (*ret_got) {
        return GRV_OK;
    }
    plan_drop_buffer(source, fetch);
    bool nothing = source->fetch_new == source->fetch_out;
    if (nothing) {
        plan_drop_buffers(source);
    }
    size_t size = plan_buffer_size(&fetch->fetch);
    if (source->held + size > GRV_STREAM_BYTES_MAX) {
        return GRV_OK; /* those that are out, or still being hashed, make room */
    }
    if (size == GRV_BUDGET_SPARE_SIZE && !source->memory) {
        fetch->fetch.buffer = grv_budget_spare_take(budget);
        if (fetch->fetch.buffer) {
            fetch->capacity = size;
            source->held += size;
            *ret_got = true;
            return GRV_OK;
        }
    }
    /* Whoever waits for the budget holds nothing of it, or readers would wait for one another: what
     * is still being hashed is waited for first. */
    if (!nothing || source->fetch_free < source->fetch_out) {
        if (!grv_budget_try(budget, size)) {
            return GRV_OK;
        }
    } else if (call && call->no_wait) {
        if (!grv_budget_try(budget, size)) {
            return grv_call_would_wait("cas", error);
        }
    } else {
        grv_status status = grv_budget_take(call, budget, size, error);
        if (status) {
            return status;
        }
    }
    fetch->capacity = size;
    source->held += size;
    fetch->fetch.buffer = source->memory ? NULL : malloc(size);
    if (!source->memory && !fetch->fetch.buffer) {
        return grv_error_set(error, GRV_LIMIT_EXCEEDED, "cas", "no memory for %zu bytes", size);
    }
    *ret_got = true;
    return GRV_OK;
}

/* Makes a fetch ready for its first use. There are references pending. */
static grv_status plan_arrays(reader *source, reader_fetch *fetch, grv_error *error)
{
    assert(source->pending_count > 0);
    fetch->source = source;
    fetch->task.run = fetch_run;
    const grv_block_ref *last = &source->pending[source->pending_count - 1];
    bool has_rest = last->offset + last->key.size >= source->range.end;
    return grv_fetch_arrays(&fetch->fetch, source->memory,
                            has_rest ? source->pending_count : GRV_FETCH_BLOCKS, error);
}

/* Takes pending references into `fetch`, as far as they go together. */
static grv_status plan_gather(const grv_call *call, reader *source, reader_fetch *fetch,
                              grv_error *error)
{
    grv_fetch *blocks = &fetch->fetch;
    grv_fetch_begin(blocks, source->pending[source->pending_at].offset);
    while (!source->planned_all && blocks->count < blocks->capacity) {
        const grv_block_key *key = &source->pending[source->pending_at].key;
        if (blocks->count > 0 && blocks->size + key->size > source->cas->shape.fetch) {
            break;
        }
        grv_fetch_add(blocks, key);
        source->pending_at++;
        grv_status status = plan_refill(call, source, error);
        if (status) {
            return status;
        }
    }
    source->gathered = true;
    return GRV_OK;
}

/* Begins the fetch that was gathered. */
static void plan_begin(reader *source, reader_fetch *fetch)
{
    source->gathered = false;
    pthread_mutex_lock(&source->lock);
    fetch->ready = false;
    source->fetch_new++;
    source->in_line = source->fetch_new == 1 && source->planned_all;
    reader_start(source, &fetch->task);
    pthread_mutex_unlock(&source->lock);
}

/* Fetches that were given out and hashed may be used again. */
static void plan_reclaim(reader *source)
{
    pthread_mutex_lock(&source->lock);
    while (source->fetch_free < source->fetch_out &&
           (!source->whole || source->fetch_free < source->whole_seq)) {
        source->fetch_free++;
    }
    pthread_mutex_unlock(&source->lock);
}

/* Begins as many fetches as there is room for. */
static grv_status reader_plan(const grv_call *call, reader *source, grv_error *error)
{
    plan_reclaim(source);
    while ((source->gathered || !source->planned_all) &&
           source->fetch_new - source->fetch_free < FETCHES) {
        reader_fetch *fetch = &source->fetches[source->fetch_new % FETCHES];
        grv_status status = GRV_OK;
        if (!source->gathered) {
            status = plan_arrays(source, fetch, error);
            if (!status) {
                status = plan_gather(call, source, fetch, error);
            }
            if (status) {
                return status;
            }
        }
        if (call && call->no_wait && (source->fetch_new > 0 || !source->planned_all)) {
            return grv_call_would_wait("cas", error); /* for another thread */
        }
        bool got = false;
        status = plan_buffer(call, source, fetch, &got, error);
        if (status || !got) {
            return status;
        }
        plan_begin(source, fetch);
    }
    return GRV_OK;
}

/* ---- Giving out ---- */

/* Describes a fetch that failed, for the caller: which blob, which block, and whether the blob is
 * gone or damaged. */
static grv_status fetch_failure(const grv_call *call, reader *source, const reader_fetch *fetch,
                                grv_error *error)
{
    char blob[GRV_KEY_TEXT_SIZE];
    grv_blob_key_print(&source->key, blob);
    if (error) {
        *error = fetch->error;
    }
    if (fetch->status != GRV_NOT_FOUND) {
        grv_error_prefix(error, "blob %s", blob);
        return fetch->status;
    }
    grv_blob_info info;
    grv_status status =
        grv_manifest_repo_stat(call, source->cas->config.manifests, &source->key, &info, error);
    if (status == GRV_NOT_FOUND) {
        return grv_error_set(error, GRV_NOT_FOUND, "cas", "blob %s was removed while it was read",
                             blob);
    }
    if (status) {
        return status; /* removed or damaged: nobody can tell */
    }
    const grv_fetch *blocks = &fetch->fetch;
    size_t i = 0;
    uint64_t offset = blocks->offset;
    while (i + 1 < blocks->count && blocks->statuses[i] != GRV_NOT_FOUND) {
        offset += blocks->keys[i++].size;
    }
    char block[GRV_KEY_TEXT_SIZE];
    grv_block_key_print(&blocks->keys[i], block);
    return grv_error_set(error, GRV_CORRUPT, "cas",
                         "blob %s: block %s at offset %" PRIu64 " is missing", blob, block, offset);
}

/* Waits, within the call, until fetch_out is read and (`hashed`) the whole hash is past it. */
static grv_status reader_wait(const grv_call *call, reader *source, bool hashed, grv_error *error)
{
    const reader_fetch *fetch = &source->fetches[source->fetch_out % FETCHES];
    grv_status status = GRV_OK;
    pthread_mutex_lock(&source->lock);
    while (!fetch->ready || (hashed && !fetch->status && source->whole_seq <= source->fetch_out)) {
        bool may_wait = !call || !call->no_wait;
        status = may_wait ? grv_call_check(call, "cas", error) : grv_call_would_wait("cas", error);
        if (status) {
            break;
        }
        grv_wait(call, &source->progress, &source->lock);
    }
    pthread_mutex_unlock(&source->lock);
    return status;
}

/* Compares the digest of all bytes with the blob's name. */
static grv_status reader_check_whole(reader *source, grv_error *error)
{
    if (source->whole_status) {
        if (error) {
            *error = source->whole_error;
        }
        return source->whole_status;
    }
    grv_digest digest;
    grv_status status = grv_hasher_final(&source->hasher, &digest, error);
    source->whole = false;
    if (status) {
        return status;
    }
    if (grv_digest_compare(&digest, &source->key.digest) != 0) {
        char blob[GRV_KEY_TEXT_SIZE];
        char hex[2 * GRV_DIGEST_SIZE + 1];
        grv_blob_key_print(&source->key, blob);
        grv_digest_hex(&digest, hex);
        return grv_error_set(error, GRV_CORRUPT, "cas",
                             "blob %s: its blocks are sound, but together their digest is %s: "
                             "the manifest is wrong",
                             blob, hex);
    }
    if (source->printed) {
        grv_known_add(source->cas->known, &source->print);
    }
    return GRV_OK;
}

/* Plans until there is a fetch to give out; *ret_end tells that none is left. Where all are given
 * out but still being hashed, it waits for one. */
static grv_status reader_await_fetch(const grv_call *call, reader *source, bool *ret_end,
                                     grv_error *error)
{
    for (;;) {
        grv_status status = reader_plan(call, source, error);
        if (status || source->fetch_out < source->fetch_new) {
            return status;
        }
        if (source->planned_all && !source->gathered) {
            *ret_end = true;
            return GRV_OK;
        }
        assert(source->whole);
        if (call && call->no_wait) {
            return grv_call_would_wait("cas", error);
        }
        pthread_mutex_lock(&source->lock);
        while (!status && source->whole_seq <= source->fetch_free) {
            grv_wait(call, &source->progress, &source->lock);
            status = grv_call_check(call, "cas", error);
        }
        pthread_mutex_unlock(&source->lock);
        if (status) {
            return status;
        }
    }
}

/* Makes fetch_out ready to be given out; *ret_end tells that nothing is left. */
static grv_status reader_advance(const grv_call *call, reader *source, bool *ret_end,
                                 grv_error *error)
{
    grv_status status = reader_await_fetch(call, source, ret_end, error);
    if (status) {
        return status;
    }
    if (*ret_end) {
        return source->whole ? reader_check_whole(source, error) : GRV_OK;
    }
    reader_fetch *fetch = &source->fetches[source->fetch_out % FETCHES];
    bool last =
        source->planned_all && !source->gathered && source->fetch_out + 1 == source->fetch_new;
    status = reader_wait(call, source, source->whole && last, error);
    if (status) {
        return status;
    }
    if (fetch->status) {
        return fetch_failure(call, source, fetch, error);
    }
    if (source->whole && last) {
        status = reader_check_whole(source, error);
        if (status) {
            return status;
        }
    }
    source->out_at = 0;
    source->out_cursor = (grv_fetch_cursor){0};
    if (source->range.first > fetch->fetch.offset) {
        source->out_at = (size_t)(source->range.first - fetch->fetch.offset);
    }
    source->out_ready = true;
    return GRV_OK;
}

/* Takes what of fetch_out is still to be given out, `max` bytes at most, as far as it lies
 * together; empty where nothing is left. */
static grv_bytes reader_take(reader *source, size_t max)
{
    const grv_fetch *blocks = &source->fetches[source->fetch_out % FETCHES].fetch;
    size_t end = blocks->size;
    if (source->range.end - blocks->offset < end) {
        end = (size_t)(source->range.end - blocks->offset);
    }
    if (source->out_at == end) {
        return (grv_bytes){0};
    }
    end = end - source->out_at < max ? end : source->out_at + max;
    grv_bytes view = grv_fetch_view(blocks, source->out_at, end, &source->out_cursor);
    source->out_at += view.size;
    return view;
}

static grv_status reader_step(const grv_call *call, reader *source, size_t max, grv_bytes *ret_view,
                              grv_error *error)
{
    grv_status status = grv_call_check(call, "cas", error);
    if (status) {
        return status;
    }
    pthread_mutex_lock(&source->lock);
    source->call = call ? *call : (grv_call){0};
    source->call.cancel = &source->cancel;
    pthread_mutex_unlock(&source->lock);
    for (;;) {
        if (source->out_ready) {
            grv_bytes view = reader_take(source, max);
            if (view.size > 0) {
                *ret_view = view;
                return GRV_OK;
            }
            source->fetch_out++;
            source->out_ready = false;
        }
        bool end = false;
        status = reader_advance(call, source, &end, error);
        if (status || end) {
            *ret_view = (grv_bytes){0};
            return status;
        }
    }
}

static grv_status reader_next(const grv_call *call, grv_source *base, size_t max,
                              grv_bytes *ret_view, grv_error *error)
{
    reader *source = (reader *)(void *)base;
    if (!source->failed) {
        source->failed = reader_step(call, source, max, ret_view, &source->error);
    }
    if (source->failed && error) {
        *error = source->error;
    }
    return source->failed;
}

/* All that lies there of one fetch. */
static grv_status reader_gather(const grv_call *call, grv_source *base, size_t max,
                                grv_bytes ret_views[], size_t capacity, size_t *ret_count,
                                grv_error *error)
{
    reader *source = (reader *)(void *)base;
    grv_bytes view = {0};
    grv_status status = reader_next(call, base, max, &view, error);
    size_t count = 0;
    while (!status && view.size > 0) {
        ret_views[count++] = view;
        max -= view.size;
        if (count == capacity || max == 0) {
            break;
        }
        view = reader_take(source, max);
    }
    *ret_count = count;
    return status;
}

static void reader_free(grv_source *base)
{
    reader *source = (reader *)(void *)base;
    grv_cancel_raise(&source->cancel);
    pthread_mutex_lock(&source->lock);
    source->whole = false;
    while (source->running > 0) {
        pthread_cond_wait(&source->progress, &source->lock);
    }
    pthread_mutex_unlock(&source->lock);
    for (unsigned i = 0; i < FETCHES; i++) {
        reader_fetch *fetch = &source->fetches[i];
        plan_drop_buffer(source, fetch);
        grv_fetch_done(&fetch->fetch);
    }
    grv_ref_cursor_free(source->refs);
    free(source->pending);
    grv_hasher_done(&source->hasher);
    pthread_cond_destroy(&source->progress);
    pthread_mutex_destroy(&source->lock);
    free(source);
}

static const grv_source_ops reader_ops = {
    .name = "cas",
    .next = reader_next,
    .gather = reader_gather,
    .free = reader_free,
};

/* ---- Opening ---- */

/* Whether the pending references, one after the other, are the whole blob. */
static bool open_has_all(const reader *source)
{
    uint64_t at = 0;
    for (size_t i = 0; i < source->pending_count; i++) {
        if (source->pending[i].offset != at) {
            return false;
        }
        at += source->pending[i].key.size;
    }
    return at == source->key.size;
}

/*
 * Decides whether the blob's own digest has to be checked beside its blocks': on a full read,
 * unless its only block is the blob under the same name, or the list of its blocks was seen to be
 * right. The references' first lot is pending.
 */
static grv_status open_whole(const grv_call *call, reader *source, grv_error *error)
{
    if (source->range.first > 0 || source->range.end < source->key.size) {
        return GRV_OK;
    }
    if (source->pending_count == 1 && source->pending[0].key.size == source->key.size &&
        grv_digest_compare(&source->pending[0].key.digest, &source->key.digest) == 0) {
        return GRV_OK;
    }
    if (!(call && call->priority == GRV_BACKGROUND) && open_has_all(source)) {
        grv_status status = grv_known_print_of(&source->key, source->pending, source->pending_count,
                                               &source->print, error);
        if (status) {
            return status;
        }
        source->printed = true;
        source->known = grv_known_has(source->cas->known, &source->print);
        if (source->known) {
            return GRV_OK;
        }
    }
    source->whole = true;
    return grv_hasher_init(&source->hasher, source->key.digest.hash, error);
}

static grv_status open_parts(const grv_call *call, reader *source, grv_error *error)
{
    /* The blocks that it can have by the store's chunker, where those are few. */
    uint64_t most = source->key.size / grv_chunker_block_min(&source->cas->config.chunker) + 2;
    source->pending_max = most < READ_REFS ? (size_t)most : READ_REFS;
    source->pending = malloc(source->pending_max * sizeof *source->pending);
    if (!source->pending) {
        return grv_error_set(error, GRV_LIMIT_EXCEEDED, "cas", "no memory for a read");
    }
    grv_status status =
        grv_manifest_repo_open_refs(call, source->cas->config.manifests, &source->key,
                                    source->range.first, &source->refs, error);
    if (status) {
        return status;
    }
    status = plan_refill(call, source, error);
    if (!status) {
        status = open_whole(call, source, error);
    }
    bool is_long = source->whole || !source->memory; /* to hash, or to read */
    return !status && call && call->no_wait && is_long ? grv_call_would_wait("cas", error) : status;
}

grv_status grv_cas_open_get(const grv_call *call, grv_blob_store *store, const grv_blob_key *key,
                            grv_range range, grv_source **ret_source, grv_error *error)
{
    grv_status status = grv_call_check(call, "cas", error);
    if (status) {
        return status;
    }
    reader *source = calloc(1, sizeof *source);
    if (!source) {
        return grv_error_set(error, GRV_LIMIT_EXCEEDED, "cas", "no memory for a read");
    }
    source->base.ops = &reader_ops;
    source->cas = (grv_cas *)(void *)store;
    source->key = *key;
    source->range = range;
    source->memory = call && call->priority == GRV_BACKGROUND ? NULL : source->cas->memory;
    source->whole_task.run = whole_run;
    pthread_mutex_init(&source->lock, NULL);
    grv_wait_init(&source->progress);
    status = open_parts(call, source, error);
    if (status) {
        reader_free(&source->base);
        return status;
    }
    *ret_source = &source->base;
    return GRV_OK;
}
