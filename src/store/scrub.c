/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Scrubbing. It guards the rule that nothing good is set aside: a block whose read failed among
 * others is read again alone, with puts kept out, and only one that is corrupt then is moved. Its
 * place is noted after the blocks before it were dealt with, never ahead of them.
 */
#include "store/scrub.h"

#include "os/clock.h"
#include "store/cas.h"
#include "store/handle.h"
#include "store/walk.h"

#include <stdio.h>
#include <stdlib.h>

/* Blocks and bytes read in one call. */
#define SCRUB_BLOCKS 256u
#define SCRUB_BYTES  ((size_t)8 << 20)
/* Least bytes in one call where there is a rate to keep. */
#define SCRUB_BYTES_MIN ((size_t)64 << 10)
/* How often the place is noted. */
#define SCRUB_NOTE_NS UINT64_C(1000000000)
/* So many blocks in a row that cannot be read are no matter of blocks any more. */
#define SCRUB_UNREADABLE_MAX 64u
/* Longest sleep between two questions whether the call goes on. */
#define SCRUB_NAP_NS UINT64_C(50000000)

/* A scrub's reading part. */
typedef struct scrub_reader {
    grv_scrub_run *run;
    grv_block_walk walk;
    uint8_t *memory; /* GRV_BLOCK_SIZE_MAX bytes */
    size_t batch_bytes;
    uint64_t begun_ns; /* of the pacing */
    uint64_t paced_bytes;
    uint64_t noted_ns;
    unsigned unreadable; /* in a row */
    bool unsure;         /* a block that was to be set aside may yet go */
    bool refused;        /* others have not given way, and are not waited for again */
    size_t count;
    grv_block_key keys[SCRUB_BLOCKS];
    grv_span spans[SCRUB_BLOCKS];
    grv_status statuses[SCRUB_BLOCKS];
} scrub_reader;

static void scrub_progress(const grv_scrub_run *run)
{
    if (run->config->progress) {
        run->config->progress(run->config->context, &run->report);
    }
}

/* ---- Judging one block ---- */

/*
 * Reads a block alone. GRV_OK: it is well. GRV_CORRUPT, with *cause: its bytes are wrong, or it is
 * listed and there are none; no collection takes blocks away while this job runs. Any other:
 * reading failed.
 */
static grv_status judge(scrub_reader *reader, const grv_block_key *key, grv_error *cause)
{
    grv_block_store *blocks = grv_store_blocks(reader->run->store);
    const grv_span span = {reader->memory, key->size};
    grv_status one;
    grv_status status = grv_block_store_get(reader->run->call, blocks, key, &span, 1, &one, cause);
    if (status == GRV_NOT_FOUND) {
        status =
            grv_error_set(cause, GRV_CORRUPT, "scrub", "it is listed, and its bytes are not there");
    }
    return status;
}

/* Moves a corrupt block out of the way. What keeps it from that is added to the message. */
static grv_status set_aside(scrub_reader *reader, const grv_block_key *key, bool excluded,
                            bool *ret_moved, grv_error *cause)
{
    grv_error why = GRV_ERROR_INIT;
    bool moved = false;
    grv_status status = GRV_OK;
    if (!excluded) {
        grv_error_set(&why, GRV_UNAVAILABLE, "scrub", "puts are open");
    } else {
        status = grv_block_store_quarantine(reader->run->call, grv_store_blocks(reader->run->store),
                                            key, 1, &moved, &why);
        reader->unsure = reader->unsure || (status && reader->run->store->s3);
    }
    if (status == GRV_CANCELLED || status == GRV_TIMEOUT) {
        *cause = why;
        return status;
    }
    if (!moved) {
        grv_error both;
        grv_error_set(&both, GRV_CORRUPT, "scrub", "%s; it was not set aside: %s", cause->message,
                      why.status ? why.message : "it is gone");
        *cause = both;
    }
    *ret_moved = moved;
    return GRV_OK;
}

/* Deals with a block that could not be read among others. */
static grv_status settle_block(scrub_reader *reader, const grv_block_key *key, bool excluded,
                               grv_error *error)
{
    grv_scrub_run *run = reader->run;
    grv_error cause = GRV_ERROR_INIT;
    grv_status status = judge(reader, key, &cause);
    grv_status given_up = grv_call_check(run->call, "scrub", error);
    if (given_up || !status) {
        reader->unreadable = 0;
        return given_up;
    }
    grv_scrub_finding finding = {.kind = GRV_SCRUB_CORRUPT, .key = *key, .message = cause.message};
    if (status == GRV_CORRUPT) {
        reader->unreadable = 0;
        status = set_aside(reader, key, excluded, &finding.set_aside, &cause);
        if (status) {
            if (error) {
                *error = cause;
            }
            return status;
        }
        run->report.corrupt++;
        run->report.set_aside += finding.set_aside;
    } else if (++reader->unreadable >= SCRUB_UNREADABLE_MAX) {
        if (error) {
            *error = cause;
        }
        grv_error_prefix(error, "%u blocks in a row cannot be read", reader->unreadable);
        return status;
    } else {
        finding.kind = GRV_SCRUB_UNREADABLE;
        run->report.unreadable++;
    }
    return grv_scrub_tell(run, &finding, error);
}

/* Keeps puts out, of other processes too; false where some are open. */
static bool puts_exclude(scrub_reader *reader)
{
    grv_store *store = reader->run->store;
    if (grv_cas_puts_exclude(grv_store_blobs(store), NULL)) {
        return false;
    }
    reader->refused = grv_store_alone_begin(reader->run->call, store,
                                            reader->refused ? 0 : GRV_ALONE_SCRUB_NS, NULL);
    if (reader->refused) {
        grv_cas_puts_admit(grv_store_blobs(store));
        return false;
    }
    return true;
}

static void puts_admit(const scrub_reader *reader)
{
    grv_store *store = reader->run->store;
    grv_store_alone_end(store, reader->unsure || grv_store_alone_inherits(store));
    grv_cas_puts_admit(grv_store_blobs(store));
}

/* Deals with those of the batch that could not be read. */
static grv_status settle_batch(scrub_reader *reader, grv_error *error)
{
    const grv_scrub_config *config = reader->run->config;
    if (config->quiet) {
        config->quiet(config->context, true);
    }
    bool excluded = puts_exclude(reader);
    grv_status status = GRV_OK;
    for (size_t i = 0; i < reader->count && !status; i++) {
        if (reader->statuses[i]) {
            status = settle_block(reader, &reader->keys[i], excluded, error);
        } else {
            reader->unreadable = 0;
        }
    }
    if (excluded) {
        puts_admit(reader);
    }
    if (config->quiet) {
        config->quiet(config->context, false);
    }
    return status;
}

/* ---- Reading all ---- */

/* Takes the next blocks of the list, as many as go in one call. */
static grv_status fill_batch(scrub_reader *reader, size_t *ret_bytes, grv_error *error)
{
    size_t bytes = 0;
    reader->count = 0;
    while (reader->count < SCRUB_BLOCKS) {
        const grv_block_entry *entry;
        grv_status status = grv_block_walk_peek(reader->run->call, &reader->walk, &entry, error);
        if (status) {
            return status;
        }
        if (!entry || (reader->count > 0 && bytes + entry->key.size > reader->batch_bytes)) {
            break;
        }
        reader->keys[reader->count] = entry->key;
        reader->spans[reader->count] = (grv_span){reader->memory + bytes, entry->key.size};
        reader->count++;
        bytes += entry->key.size;
        grv_block_walk_step(&reader->walk);
    }
    *ret_bytes = bytes;
    return GRV_OK;
}

/* Sleeps until the bytes read so far are not too many for the time since the run began. */
static grv_status keep_pace(scrub_reader *reader, size_t bytes, grv_error *error)
{
    uint64_t rate = reader->run->config->rate_bytes;
    grv_status status = grv_call_check(reader->run->call, "scrub", error);
    if (rate == 0 || status) {
        return status;
    }
    reader->paced_bytes += bytes;
    double wanted = (double)reader->paced_bytes / (double)rate * 1e9;
    while (!status) {
        double left = wanted - (double)(grv_now_ns() - reader->begun_ns);
        if (left <= 0) {
            break;
        }
        grv_clock_sleep(left < (double)SCRUB_NAP_NS ? (uint64_t)left + 1 : SCRUB_NAP_NS);
        status = grv_call_check(reader->run->call, "scrub", error);
    }
    return status;
}

/* Reads one batch. *ret_end where no block is left. */
static grv_status read_batch(scrub_reader *reader, bool *ret_end, grv_error *error)
{
    grv_scrub_run *run = reader->run;
    size_t bytes = 0;
    grv_status status = fill_batch(reader, &bytes, error);
    if (status || reader->count == 0) {
        *ret_end = !status;
        return status;
    }
    status = grv_block_store_get(run->call, grv_store_blocks(run->store), reader->keys,
                                 reader->spans, reader->count, reader->statuses, NULL);
    if (status) {
        status = settle_batch(reader, error);
        if (status) {
            return status;
        }
    } else {
        reader->unreadable = 0;
    }
    run->after = reader->keys[reader->count - 1];
    run->has_after = true;
    run->report.blocks += reader->count;
    run->report.bytes += bytes;
    scrub_progress(run);
    if (grv_now_ns() - reader->noted_ns >= SCRUB_NOTE_NS) {
        status = grv_scrub_note_save(run, false, error);
        reader->noted_ns = grv_now_ns();
    }
    return status ? status : keep_pace(reader, bytes, error);
}

static grv_status read_all(grv_scrub_run *run, grv_error *error)
{
    scrub_reader *reader = calloc(1, sizeof *reader);
    uint8_t *memory = malloc(GRV_BLOCK_SIZE_MAX);
    if (!reader || !memory) {
        free(reader);
        free(memory);
        return grv_error_set(error, GRV_LIMIT_EXCEEDED, "scrub", "no memory for a scrub");
    }
    reader->run = run;
    reader->memory = memory;
    reader->begun_ns = grv_now_ns();
    reader->noted_ns = reader->begun_ns;
    reader->batch_bytes = SCRUB_BYTES;
    if (run->config->rate_bytes > 0 && run->config->rate_bytes / 4 < SCRUB_BYTES) {
        size_t quarter = (size_t)(run->config->rate_bytes / 4);
        reader->batch_bytes = quarter > SCRUB_BYTES_MIN ? quarter : SCRUB_BYTES_MIN;
    }
    grv_status status =
        grv_block_store_open_list(run->call, grv_store_blocks(run->store),
                                  run->has_after ? &run->after : NULL, &reader->walk.cursor, error);
    bool end = false;
    while (!status && !end) {
        status = read_batch(reader, &end, error);
    }
    grv_block_cursor_free(reader->walk.cursor);
    free(memory);
    free(reader);
    return status;
}

/* ---- The run ---- */

/* Begins a round, or goes on with one. */
static grv_status begin(grv_scrub_run *run, grv_error *error)
{
    run->report.started_ns = grv_clock_realtime_ns();
    grv_status status = grv_scrub_note_load(run, error);
    grv_block_stats stats;
    if (!status) {
        status = grv_block_store_stats(run->call, grv_store_blocks(run->store), &stats, error);
    }
    if (!status) {
        run->report.total_blocks = stats.blocks + run->report.set_aside;
        run->report.total_bytes = stats.raw_bytes;
        scrub_progress(run);
    }
    return status;
}

static grv_status scrub_run(grv_scrub_run *run, grv_error *error)
{
    grv_status status = begin(run, error);
    if (status) {
        return status;
    }
    if (!run->read_all) {
        status = read_all(run, error);
        run->read_all = !status;
    }
    if (!status) {
        status = grv_scrub_find_missing(run, error);
    }
    if (!status) {
        status = grv_scrub_tell_names(run, error);
    }
    if (!status) {
        run->report.complete = true;
        return grv_scrub_note_save(run, true, error);
    }
    grv_error later = GRV_ERROR_INIT;
    if (grv_scrub_note_save(run, false, &later)) {
        grv_error_prefix(error, "%s; and", later.message);
    }
    return status;
}

grv_status grv_store_scrub(const grv_call *call, grv_store *store, const grv_scrub_config *config,
                           grv_scrub_report *ret_report, grv_error *error)
{
    grv_blob_store *blobs = grv_store_blobs(store);
    if (grv_store_is_read_only(store)) {
        return grv_error_set(error, GRV_UNSUPPORTED, "scrub",
                             "the store is open to read only: a scrub notes its place in it");
    }
    if (store->remote) {
        return grv_store_remote_scrub(call, store, config, ret_report, error);
    }
    grv_status status = grv_cas_maintenance_begin(blobs, error);
    if (status) {
        return status;
    }
    grv_call background = call ? *call : (grv_call){0};
    background.priority = GRV_BACKGROUND;
    grv_scrub_run run = {.call = &background, .store = store, .config = config};
    grv_buffer_init(&run.note, GRV_STATE_MAX);
    /* What is listed and then missing is a finding, which somebody else's collection would make. */
    status = grv_store_give_way(call, store, false, error);
    if (!status) {
        status = scrub_run(&run, error);
    }
    /* Also where it could not be said before. Where this fails, the next connection says it. */
    (void)grv_store_give_way(NULL, store, true, NULL);
    grv_cas_maintenance_end(blobs);
    *ret_report = run.report;
    grv_buffer_done(&run.note);
    free(run.bad);
    return status;
}
