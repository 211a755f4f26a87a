/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Verifying: blobs are read in full, as a get does, so that every block and the whole are checked.
 * Of a blob that fails, each block is then read alone, to name every bad one.
 */
#include "http/jobs_run.h"
#include "os/clock.h"

#include <string.h>

#define VERIFY_BATCH     256
#define VERIFY_VIEW_MAX  ((size_t)GRV_BLOCK_SIZE_MAX)
#define VERIFY_BAD_MAX   10000u /* blocks named of one blob */
#define VERIFY_IN_A_ROW  16u    /* blobs that cannot be read: then it is the store that cannot */
#define VERIFY_MEMORY_NS UINT64_C(1000000000)

typedef struct verify_run {
    http_job *job;
    grv_call call;
    unsigned unreadable; /* in a row */
} verify_run;

/* Adds to the figures. */
static void verify_count(verify_run *run, const http_verify_report *more)
{
    http_job *job = run->job;
    pthread_mutex_lock(&job->jobs->lock);
    job->verify.blobs += more->blobs;
    job->verify.bytes += more->bytes;
    job->verify.corrupt += more->corrupt;
    job->verify.unreadable += more->unreadable;
    job->verify.missing += more->missing;
    job->has_figures = true;
    pthread_mutex_unlock(&job->jobs->lock);
}

/* Opens a blob. The store's memory may be in use by requests, which come first: this waits. */
static grv_status verify_open(verify_run *run, const grv_blob_key *key, grv_range range,
                              grv_source **ret_source, grv_error *error)
{
    for (;;) {
        grv_status status = grv_blob_store_open_get(&run->call, run->job->jobs->server->blobs, key,
                                                    range, ret_source, error);
        if (status != GRV_LIMIT_EXCEEDED) {
            return status;
        }
        grv_clock_sleep(VERIFY_MEMORY_NS);
        status = grv_call_check(&run->call, "verify", error);
        if (status) {
            return status;
        }
    }
}

static grv_status verify_read(verify_run *run, const grv_blob_key *key, grv_range range,
                              bool is_whole, grv_error *error)
{
    grv_source *source;
    grv_status status = verify_open(run, key, range, &source, error);
    if (status) {
        return status;
    }
    for (;;) {
        grv_bytes view;
        status = grv_source_next(&run->call, source, VERIFY_VIEW_MAX, &view, error);
        if (status || view.size == 0) {
            break;
        }
        if (is_whole) {
            verify_count(run, &(http_verify_report){.bytes = view.size});
        }
    }
    grv_source_free(source);
    return status;
}

/* Tells of a blob, and of a block of it unless `ref` is NULL. */
static grv_status verify_tell(verify_run *run, const grv_blob_key *key, const grv_block_ref *ref,
                              const char *what, const char *message, grv_error *error)
{
    http_finding finding = {
        .kind = HTTP_FOUND_BLOB, .status = what, .has_blob = true, .blob = *key};
    if (ref) {
        finding.has_block = true;
        finding.block = ref->key;
        finding.offset = ref->offset;
    }
    return http_job_found(run->job, &finding, message, error);
}

/* Reads the block of `ref` alone and tells of it if it is bad. */
static grv_status bad_probe(verify_run *run, const grv_blob_key *key, const grv_block_ref *ref,
                            size_t *count, grv_error *error)
{
    grv_error cause = GRV_ERROR_INIT;
    grv_range range = {ref->offset, ref->offset + ref->key.size};
    grv_status status = verify_read(run, key, range, false, &cause);
    if (status == GRV_CORRUPT) {
        (*count)++;
        return verify_tell(run, key, ref, "corrupt", cause.message, error);
    }
    if (status && error) {
        *error = cause;
    }
    return status;
}

/* Walks the manifest and probes every block, one that repeats at once only once. */
static grv_status bad_find(verify_run *run, const grv_blob_key *key, size_t *count,
                           grv_error *error)
{
    grv_ref_cursor *cursor;
    grv_status status =
        grv_blob_store_open_refs(&run->call, run->job->jobs->server->blobs, key, 0, &cursor, error);
    if (status) {
        return status;
    }
    grv_block_ref refs[VERIFY_BATCH];
    grv_block_key last = {0};
    size_t got = 1;
    while (!status && got > 0 && *count < VERIFY_BAD_MAX) {
        got = 0;
        status = grv_ref_cursor_next(&run->call, cursor, refs, VERIFY_BATCH, &got, error);
        for (size_t i = 0; i < got && !status && *count < VERIFY_BAD_MAX; i++) {
            if (grv_block_key_compare(&refs[i].key, &last) != 0) {
                status = bad_probe(run, key, &refs[i], count, error);
            }
            last = refs[i].key;
        }
    }
    grv_ref_cursor_free(cursor);
    return status;
}

/* Tells of a corrupt blob. `cause` is what the full read said. */
static grv_status bad_report(verify_run *run, const grv_blob_key *key, const grv_error *cause,
                             grv_error *error)
{
    size_t count = 0;
    verify_count(run, &(http_verify_report){.corrupt = 1});
    grv_status status = bad_find(run, key, &count, error);
    if (status == GRV_CORRUPT || status == GRV_UNSUPPORTED) {
        status = GRV_OK; /* the manifest itself is bad, or isn't shown: `cause` has to do */
    }
    if (!status && count == 0) {
        status = verify_tell(run, key, NULL, "corrupt", cause->message, error);
    }
    return status;
}

/* Whether the walk goes on after a failure that says nothing of the next blob; it is told of. */
static bool verify_goes_on(verify_run *run, const grv_error *cause)
{
    switch (cause->status) {
    case GRV_CORRUPT:
        return true;
    case GRV_UNSUPPORTED:
    case GRV_UNAVAILABLE:
    case GRV_PERMISSION:
        return ++run->unreadable < VERIFY_IN_A_ROW;
    default:
        return false;
    }
}

/* Checks one blob. GRV_OK also where it was told of; else it can't go on. */
static grv_status verify_blob(verify_run *run, const grv_blob_key *key, grv_error *error)
{
    grv_error cause = GRV_ERROR_INIT;
    grv_status status = verify_read(run, key, GRV_RANGE_ALL, true, &cause);
    if (!status) {
        run->unreadable = 0;
        verify_count(run, &(http_verify_report){.blobs = 1});
        return GRV_OK;
    }
    if (status == GRV_CORRUPT) {
        run->unreadable = 0;
        verify_count(run, &(http_verify_report){.blobs = 1});
        return bad_report(run, key, &cause, error);
    }
    if (verify_goes_on(run, &cause)) {
        verify_count(run, &(http_verify_report){.unreadable = 1});
        return verify_tell(run, key, NULL, "unreadable", cause.message, error);
    }
    if (error) {
        *error = cause;
    }
    return status;
}

static grv_status verify_listed(verify_run *run, const grv_blob_info infos[], size_t count,
                                grv_error *error)
{
    grv_status status = GRV_OK;
    for (size_t i = 0; i < count && !status; i++) {
        status = verify_blob(run, &infos[i].key, error);
        if (status == GRV_NOT_FOUND) {
            status = GRV_OK; /* removed since the list was read */
        }
    }
    return status;
}

/* A record of the list that cannot be read: its name is in the message alone. */
static grv_status verify_unlisted(verify_run *run, const grv_error *cause, grv_error *error)
{
    const http_finding finding = {.kind = HTTP_FOUND_BLOB, .status = "corrupt"};
    verify_count(run, &(http_verify_report){.blobs = 1, .corrupt = 1});
    return http_job_found(run->job, &finding, cause->message, error);
}

static grv_status verify_all(verify_run *run, grv_error *error)
{
    const grv_blob_list list = {.order = GRV_ORDER_KEY};
    grv_blob_cursor *cursor;
    grv_status status =
        grv_blob_store_open_list(&run->call, run->job->jobs->server->blobs, &list, &cursor, error);
    if (status) {
        return status;
    }
    grv_blob_info infos[VERIFY_BATCH];
    grv_error broken = GRV_ERROR_INIT; /* the last call's, of a record or of the list itself */
    size_t count = 1;
    while (!status && count > 0) {
        grv_error cause = GRV_ERROR_INIT;
        count = 0;
        status = grv_blob_cursor_next(&run->call, cursor, infos, VERIFY_BATCH, &count, &cause);
        if (status == GRV_CORRUPT || status == GRV_UNSUPPORTED) {
            count = 1; /* the list goes on after it */
            broken = cause;
            status = verify_unlisted(run, &cause, error);
        } else if (status) {
            /* A cursor that was broken, and not just a record, takes no more calls. */
            const grv_error *told =
                status == GRV_INVALID_ARGUMENT && broken.status ? &broken : &cause;
            status = told->status;
            if (error) {
                *error = *told;
            }
        } else {
            broken.status = GRV_OK;
            status = verify_listed(run, infos, count, error);
        }
    }
    grv_blob_cursor_free(cursor);
    return status;
}

static grv_status verify_named(verify_run *run, grv_error *error)
{
    const http_job_order *order = &run->job->order;
    grv_status status = GRV_OK;
    for (size_t i = 0; i < order->id_count && !status; i++) {
        status = verify_blob(run, &order->ids[i], error);
        if (status == GRV_NOT_FOUND) {
            verify_count(run, &(http_verify_report){.missing = 1});
            status =
                verify_tell(run, &order->ids[i], NULL, "missing", "there is no such blob", error);
        }
    }
    return status;
}

grv_status http_job_verify(http_job *job, grv_error *error)
{
    verify_run run = {.job = job, .call = {.cancel = &job->cancel, .priority = GRV_BACKGROUND}};
    verify_count(&run, &(http_verify_report){0});
    return job->order.ids ? verify_named(&run, error) : verify_all(&run, error);
}
