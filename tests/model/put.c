/* SPDX-License-Identifier: Apache-2.0 */
/* Puts: alone, two in turns, several at once; committed, given up, or expecting another key. */
#include "model.h"

#define JOBS 4u
/* From so many blocks on, a key-value store gets some of them before the commit. */
#define KV_STAGE_BLOCKS 1000u

typedef enum put_ending {
    PUT_COMMIT,
    PUT_COMMIT_EXPECTED,
    PUT_COMMIT_WRONG, /* another key is expected */
    PUT_ABANDON,
    PUT_CANCEL,  /* the cancel flag is raised on the way */
    PUT_TOO_LATE /* the deadline passes on the way */
} put_ending;

/* A put on its way. */
typedef struct put {
    model_run *run;
    unsigned slot;
    uint64_t *state;
    put_ending ending;
    bool has_attributes;
    const struct put *beside; /* another that is open too */
    grv_cancel cancel;
    grv_call call;
    model_blob after;
    grv_blob_sink *sink;
    size_t at;
    size_t stop_at; /* bytes after which it is given up */
    grv_status stopped;
} put;

static const char *const ending_names[] = {
    "", " expected", " wrong-key", " abandoned", " cancelled", " too-late",
};

static put_ending pick_ending(uint64_t *state)
{
    static const put_ending often[] = {
        PUT_COMMIT,          PUT_COMMIT,       PUT_COMMIT,  PUT_COMMIT, PUT_COMMIT,  PUT_COMMIT,
        PUT_COMMIT_EXPECTED, PUT_COMMIT_WRONG, PUT_ABANDON, PUT_CANCEL, PUT_TOO_LATE};
    return often[model_pick(state, sizeof often / sizeof often[0])];
}

static void put_open(put *it, model_run *run, unsigned slot, uint64_t *state)
{
    const model_content *content = &run->world->contents[slot];
    grv_error error = GRV_ERROR_INIT;
    grv_put_plan plan = {0};
    grv_attributes attributes;
    grv_blob_key wrong = run->world->contents[(slot + 1) % MODEL_SLOTS].key;
    *it = (put){.run = run, .slot = slot, .state = state, .ending = pick_ending(state)};
    it->after.stored = true;
    grv_attributes_init(&attributes);
    it->has_attributes = model_pick(state, 3) == 0;
    if (it->has_attributes) {
        model_attributes_pick(state, it->after.attributes);
        model_attributes_make(run, it->after.attributes, &attributes);
        plan.attributes = &attributes;
    }
    if (it->ending == PUT_COMMIT_EXPECTED || it->ending == PUT_COMMIT_WRONG) {
        plan.expected = it->ending == PUT_COMMIT_WRONG ? &wrong : &content->key;
    }
    it->stop_at = model_pick(state, content->size + 1);
    it->call.cancel = &it->cancel;
    plan.has_size_hint = model_pick(state, 2) == 0;
    plan.size_hint = model_pick(state, 3) ? content->size : model_pick(state, 3u << 20);
    model_note(run, " %u (%zu bytes, %zu blocks)%s%s", slot, content->size, content->block_count,
               it->has_attributes ? " attributes" : "", ending_names[it->ending]);
    grv_status status = grv_blob_store_open_put(&it->call, run->blobs, &plan, &it->sink, &error);
    model_expect(run, "open_put", status, GRV_OK, &error);
    grv_attributes_done(&attributes);
}

/* Writes a piece through the sink's window. */
static grv_status put_window(put *it, grv_bytes piece, grv_error *error)
{
    grv_span window;
    grv_status status = grv_sink_reserve(&it->call, &it->sink->base, &window, error);
    if (status) {
        return status;
    }
    size_t size = piece.size < window.size ? piece.size : window.size;
    if (size > 0) {
        memcpy(window.data, piece.data, size);
    }
    status = grv_sink_advance(&it->call, &it->sink->base, size, error);
    it->at += status ? 0 : size;
    return status;
}

/* Writes the next piece; false where nothing is left to write. */
static bool put_write(put *it)
{
    const model_content *content = &it->run->world->contents[it->slot];
    bool stops =
        it->ending == PUT_ABANDON || it->ending == PUT_CANCEL || it->ending == PUT_TOO_LATE;
    size_t end = stops ? it->stop_at : content->size;
    if (it->at == end) {
        return false;
    }
    grv_error error = GRV_ERROR_INIT;
    size_t most = end - it->at;
    size_t size = 1 + model_pick(it->state, model_pick(it->state, 4) ? most : 1 + most / 50);
    grv_bytes piece = grv_bytes_of(content->data + it->at, size);
    grv_status status = GRV_OK;
    if (model_pick(it->state, 2)) {
        status = put_window(it, piece, &error);
    } else {
        status = grv_sink_write(&it->call, &it->sink->base, piece, &error);
        it->at += size;
    }
    model_expect(it->run, "write", status, GRV_OK, &error);
    return true;
}

/* ---- Endings ---- */

/* Number and bytes of the blob's distinct blocks that it surely or perhaps is the one to store.
 * Those that a put beside it has too either may store, or both. */
static void put_expect_fresh(const put *it, uint64_t ret_least[2], uint64_t ret_most[2])
{
    const model_world *world = it->run->world;
    const model_content *content = &world->contents[it->slot];
    const model_content *beside = it->beside ? &world->contents[it->beside->slot] : NULL;
    bool *seen = calloc(world->block_count + 1, sizeof *seen);
    bool *shared = calloc(world->block_count + 1, sizeof *shared);
    for (size_t i = 0; beside && i < beside->block_count; i++) {
        shared[beside->blocks[i]] = true;
    }
    for (size_t i = 0; i < content->block_count; i++) {
        uint32_t block = content->blocks[i];
        uint8_t state = shared[block] ? MODEL_MAYBE : it->run->shared->block_states[block];
        if (!seen[block] && state != MODEL_PRESENT) {
            ret_least[0] += state == MODEL_ABSENT;
            ret_least[1] += state == MODEL_ABSENT ? world->blocks[block].size : 0;
            ret_most[0]++;
            ret_most[1] += world->blocks[block].size;
        }
        seen[block] = true;
    }
    free(seen);
    free(shared);
}

static void put_check_result(const put *it, const uint64_t least[2], const uint64_t most[2])
{
    model_run *run = it->run;
    const model_content *content = &run->world->contents[it->slot];
    const grv_put_result *result = &it->sink->result;
    if (grv_blob_key_compare(&result->key, &content->key) != 0) {
        model_fail(run, "put: another key than the digest of the bytes");
    }
    if (result->already_stored != run->shared->blobs[it->slot].stored) {
        model_fail(run, "put: already_stored is %d", result->already_stored);
    }
    if (result->blocks != content->block_count ||
        result->fresh_bytes + result->duplicate_bytes != content->size) {
        model_fail(run, "put: %llu blocks of %llu + %llu bytes, want %zu of %zu",
                   (unsigned long long)result->blocks, (unsigned long long)result->fresh_bytes,
                   (unsigned long long)result->duplicate_bytes, content->block_count,
                   content->size);
    }
    if (result->fresh_blocks < least[0] || result->fresh_blocks > most[0] ||
        result->fresh_bytes < least[1] || result->fresh_bytes > most[1]) {
        model_fail(run, "put: %llu fresh blocks of %llu bytes, want %llu to %llu of %llu to %llu",
                   (unsigned long long)result->fresh_blocks,
                   (unsigned long long)result->fresh_bytes, (unsigned long long)least[0],
                   (unsigned long long)most[0], (unsigned long long)least[1],
                   (unsigned long long)most[1]);
    }
    if (result->stored_bytes > result->fresh_bytes + 96 * result->fresh_blocks) {
        model_fail(run, "put: %llu bytes stored for %llu fresh ones",
                   (unsigned long long)result->stored_bytes,
                   (unsigned long long)result->fresh_bytes);
    }
}

/* Learns what the store chose: sequence and time of a blob that is new. */
static void learn_info(model_run *run, unsigned slot, model_blob *after)
{
    grv_error error = GRV_ERROR_INIT;
    grv_blob_info info;
    grv_status status =
        grv_blob_store_stat(NULL, run->blobs, &run->world->contents[slot].key, &info, &error);
    model_expect(run, "stat after a put", status, GRV_OK, &error);
    after->sequence = info.sequence;
    after->created_ns = info.created_ns;
}

static void put_commit(put *it)
{
    model_run *run = it->run;
    const model_blob before = run->shared->blobs[it->slot];
    grv_error error = GRV_ERROR_INIT;
    uint64_t least[2] = {0, 0};
    uint64_t most[2] = {0, 0};
    put_expect_fresh(it, least, most);
    if (before.stored) {
        it->after.sequence = before.sequence;
        it->after.created_ns = before.created_ns;
        if (!it->has_attributes) {
            it->after = before;
        }
    }
    model_begin(run, it->slot, &it->after);
    grv_status status = grv_sink_commit(&it->call, &it->sink->base, &error);
    if (it->ending == PUT_COMMIT_WRONG) {
        model_expect(run, "commit of other bytes than expected", status, GRV_CONFLICT, &error);
        model_given_up(run, it->slot);
        return;
    }
    model_expect(run, "commit", status, GRV_OK, &error);
    put_check_result(it, least, most);
    if (!before.stored) {
        learn_info(run, it->slot, &it->after);
        if (it->after.sequence <= run->shared->last_sequence) {
            model_fail(run, "put: sequence %llu, but %llu was given out before",
                       (unsigned long long)it->after.sequence,
                       (unsigned long long)run->shared->last_sequence);
        }
    }
    model_blocks_stored(run, it->slot);
    model_happened(run, it->slot, &it->after);
    status = grv_sink_commit(&it->call, &it->sink->base, &error);
    model_expect(run, "second commit", status, GRV_INVALID_ARGUMENT, &error);
}

/* Ends a put that does not reach its commit, or is refused there. */
static void put_break_off(put *it)
{
    static const uint8_t byte = 0;
    grv_error error = GRV_ERROR_INIT;
    grv_status want = GRV_CANCELLED;
    if (it->ending == PUT_ABANDON) {
        return;
    }
    if (it->ending == PUT_CANCEL) {
        grv_cancel_raise(&it->cancel);
    } else {
        it->call.deadline_ns = 1;
        want = GRV_TIMEOUT;
    }
    if (model_pick(it->state, 2)) {
        grv_status status =
            grv_sink_write(&it->call, &it->sink->base, grv_bytes_of(&byte, 1), &error);
        model_expect(it->run, "write of a put given up", status, want, &error);
    }
    grv_status status = grv_sink_commit(&it->call, &it->sink->base, &error);
    model_expect(it->run, "commit of a put given up", status, want, &error);
}

static void put_end(put *it)
{
    if (it->ending == PUT_ABANDON || it->ending == PUT_CANCEL || it->ending == PUT_TOO_LATE) {
        put_break_off(it);
    } else {
        put_commit(it);
    }
    grv_sink_free(&it->sink->base);
    if (it->run->world->pair->framed &&
        it->run->world->contents[it->slot].block_count >= KV_STAGE_BLOCKS) {
        model_blocks_perhaps(it->run, it->slot); /* what is not committed is garbage at most */
    }
}

/* ---- Public ---- */

void model_put_one(model_run *run, unsigned slot, uint64_t *state)
{
    put it;
    put_open(&it, run, slot, state);
    while (put_write(&it)) {
    }
    put_end(&it);
}

void model_put_two(model_run *run, unsigned slot, uint64_t *state)
{
    put puts[2];
    put_open(&puts[0], run, slot, state);
    put_open(&puts[1], run, (unsigned)model_pick(state, MODEL_SLOTS), state);
    puts[0].beside = &puts[1];
    puts[1].beside = &puts[0];
    bool more[2] = {true, true};
    while (more[0] || more[1]) {
        size_t which = model_pick(state, 2);
        more[which] = put_write(&puts[which]);
    }
    size_t first = model_pick(state, 2);
    put_end(&puts[first]);
    put_end(&puts[1 - first]);
}

/* ---- At once ---- */

/* One thread's blob, to put or to read; or it collects. */
typedef struct job {
    model_run *run;
    pthread_t thread;
    unsigned slot;
    bool puts;
    bool collects;
    uint64_t seed;
    bool already_stored;
} job;

static void *job_run(void *argument)
{
    job *it = argument;
    model_run *run = it->run;
    const model_content *content = &run->world->contents[it->slot];
    if (it->collects) {
        model_collect_beside(run);
        return NULL;
    }
    if (!it->puts) {
        model_check_read(run, it->slot, GRV_RANGE_ALL, &it->seed);
        return NULL;
    }
    grv_error error = GRV_ERROR_INIT;
    const grv_put_plan plan = {0};
    grv_blob_sink *sink;
    grv_status status = grv_blob_store_open_put(NULL, run->blobs, &plan, &sink, &error);
    model_expect(run, "open_put in a thread", status, GRV_OK, &error);
    size_t first = model_pick(&it->seed, content->size + 1);
    status = grv_sink_write(NULL, &sink->base, grv_bytes_of(content->data, first), &error);
    if (!status) {
        status = grv_sink_write(NULL, &sink->base,
                                grv_bytes_of(content->data + first, content->size - first), &error);
    }
    if (!status) {
        status = grv_sink_commit(NULL, &sink->base, &error);
    }
    model_expect(run, "put in a thread", status, GRV_OK, &error);
    if (grv_blob_key_compare(&sink->result.key, &content->key) != 0) {
        model_fail(run, "put in a thread: another key");
    }
    it->already_stored = sink->result.already_stored;
    grv_sink_free(&sink->base);
    return NULL;
}

/* Tells the model of what the threads did. */
static void jobs_account(model_run *run, const job jobs[], size_t count)
{
    uint64_t before = run->shared->last_sequence;
    for (size_t i = 0; i < count; i++) {
        unsigned slot = jobs[i].slot;
        model_blob after = run->shared->blobs[slot];
        if (!jobs[i].puts) {
            continue;
        }
        if (!after.stored) {
            size_t firsts = 0;
            for (size_t k = 0; k < count; k++) {
                firsts += jobs[k].slot == slot && jobs[k].puts && !jobs[k].already_stored;
            }
            if (firsts != 1) {
                model_fail(run, "blob %u put at once: %zu say that it was new", slot, firsts);
            }
            after.stored = true;
            learn_info(run, slot, &after);
            if (after.sequence <= before) {
                model_fail(run, "put at once: sequence %llu, but %llu was given out before",
                           (unsigned long long)after.sequence, (unsigned long long)before);
            }
        }
        model_blocks_stored(run, slot);
        model_happened(run, slot, &after);
    }
}

void model_put_parallel(model_run *run, unsigned slot, uint64_t *state)
{
    job jobs[JOBS];
    size_t count = 2 + model_pick(state, JOBS - 1);
    size_t collector = model_pick(state, 2 * JOBS);
    for (size_t i = 0; i < count; i++) {
        unsigned other = (unsigned)model_pick(state, MODEL_SLOTS);
        jobs[i] = (job){.run = run, .slot = i == 0 ? slot : other, .seed = test_random(state)};
        jobs[i].collects = i > 0 && i == collector;
        jobs[i].puts =
            !jobs[i].collects && !(run->shared->blobs[jobs[i].slot].stored && model_pick(state, 2));
        model_note(run,
                   jobs[i].collects ? " collect"
                   : jobs[i].puts   ? " put %u"
                                    : " get %u",
                   jobs[i].slot);
        if (jobs[i].puts) {
            model_blob after = run->shared->blobs[jobs[i].slot];
            after.stored = true;
            model_begin(run, jobs[i].slot, &after);
        }
    }
    run->shared->collecting = collector > 0 && collector < count;
    for (size_t i = 0; i < count; i++) {
        if (pthread_create(&jobs[i].thread, NULL, job_run, &jobs[i])) {
            model_fail(run, "no thread");
        }
    }
    for (size_t i = 0; i < count; i++) {
        pthread_join(jobs[i].thread, NULL);
    }
    jobs_account(run, jobs, count);
    if (run->shared->collecting) {
        model_collected(run, false);
        run->shared->collecting = false;
    }
}
