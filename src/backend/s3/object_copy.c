/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Copies. The service copies by itself: by one request, or where the object is too large for that
 * as the parts of an upload. A copy that must not replace goes through us, since services that heed
 * a condition on a put ignore it on a copy.
 *
 * Services may ignore, too, that a part is to be copied only from the version that was meant; so
 * the source is asked for once more when all parts are there.
 */
#include "backend/s3/client.h"
#include "backend/s3/objects.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ORIGIN GRV_S3_OBJECTS_ORIGIN
/* Most bytes of an answer here. */
#define ANSWER_MAX ((size_t)64 << 10)
/* Most bytes of a copy through us in one step. */
#define VIEW_MAX ((size_t)1 << 20)

typedef struct copy_run {
    grv_s3_objects *store;
    const grv_locator *from;
    const grv_locator *to;
    grv_s3_object_facts source;
    char if_match[GRV_OBJECT_TAG_MAX + 3];
    char path[GRV_S3_SOURCE_SIZE]; /* of the source, as the header wants it */
    char put_id[GRV_S3_PUT_ID_SIZE + 1];
} copy_run;

/* A part that is being copied. */
typedef struct copy_slot {
    grv_s3_part part;
    grv_s3_pair headers[3];
    char range[64];
    grv_buffer out;
} copy_slot;

static grv_status source_absent(const copy_run *run, grv_error *error)
{
    return grv_s3_objects_absent(run->from, error);
}

static grv_status source_replaced(const copy_run *run, grv_error *error)
{
    grv_error_set(error, GRV_CONFLICT, ORIGIN, "replaced while it was copied");
    return grv_s3_objects_prefix(run->from, GRV_CONFLICT, error);
}

/* ---- one request ---- */

/* The copy is of the version that the source had at the moment, which services that ignore the
 * condition do not say: so its size is asked for, too. */
static grv_status single_made(const grv_call *call, const copy_run *run, const char *etag,
                              grv_object_info *ret_info, grv_error *error)
{
    grv_s3_object_facts facts = {0};
    if (strcmp(etag, run->source.info.tag) == 0) {
        return grv_s3_objects_made(call, run->store, run->to, run->put_id,
                                   run->source.info.size_bytes, etag, ret_info, error);
    }
    grv_status status = grv_s3_objects_ask(call, run->store, run->to, &facts, error);
    if (status && status != GRV_NOT_FOUND) {
        return status;
    }
    if (status || strcmp(facts.put_id, run->put_id) != 0) {
        return source_replaced(run, error);
    }
    *ret_info = facts.info;
    return GRV_OK;
}

static grv_status copy_single(const grv_call *call, const copy_run *run, grv_object_info *ret_info,
                              grv_error *error)
{
    char etag[GRV_S3_ETAG_MAX + 1] = "";
    grv_buffer out;
    grv_buffer_init(&out, ANSWER_MAX);
    const grv_s3_pair headers[] = {
        {"x-amz-copy-source", run->path},
        {"x-amz-copy-source-if-match", run->if_match},
        {"x-amz-metadata-directive", "REPLACE"},
        {GRV_S3_PUT_ID_HEADER, run->put_id},
    };
    grv_s3_request request = {
        .method = GRV_S3_PUT,
        .bucket = run->to->bucket,
        .key = run->to->path,
        .headers = headers,
        .header_count = 4,
        .out = &out,
        .allow_missing = true,
        .allow_precondition = true,
    };
    grv_status status = grv_s3_objects_run_xml(call, run->store, &request, "CopyObjectResult",
                                               "ETag", etag, sizeof etag, error);
    grv_buffer_done(&out);
    if (status == GRV_NOT_FOUND) {
        return source_absent(run, error);
    }
    if (status == GRV_ALREADY_EXISTS) {
        return source_replaced(run, error);
    }
    if (status) {
        return status;
    }
    char plain[GRV_S3_ETAG_MAX + 1];
    grv_s3_etag_copy(plain, etag, strlen(etag));
    return single_made(call, run, plain, ret_info, error);
}

/* ---- in parts ---- */

static uint64_t part_size_choose(const copy_run *run)
{
    uint64_t size = run->store->tuning.copy_part_size;
    while (run->source.info.size_bytes / size >= GRV_S3_PARTS_MAX) {
        size *= 2;
    }
    return size;
}

static grv_status part_begin(const grv_call *call, const copy_run *run, grv_s3_upload *upload,
                             copy_slot *slot, size_t number, uint64_t part_size, grv_error *error)
{
    grv_status status = grv_s3_upload_part(upload, number, &slot->part, error);
    if (status) {
        slot->part.number = 0;
        return status;
    }
    uint64_t first = (number - 1) * part_size;
    uint64_t left = run->source.info.size_bytes - first;
    snprintf(slot->range, sizeof slot->range, "bytes=%" PRIu64 "-%" PRIu64, first,
             first + (left < part_size ? left : part_size) - 1);
    slot->headers[0] = (grv_s3_pair){"x-amz-copy-source", run->path};
    slot->headers[1] = (grv_s3_pair){"x-amz-copy-source-if-match", run->if_match};
    slot->headers[2] = (grv_s3_pair){"x-amz-copy-source-range", slot->range};
    slot->out.size = 0;
    slot->part.request.headers = slot->headers;
    slot->part.request.header_count = 3;
    slot->part.request.out = &slot->out;
    slot->part.request.allow_precondition = true;
    grv_s3_submit(call, run->store->s3, &slot->part.request);
    return GRV_OK;
}

/* Waits for a part and keeps its ETag. */
static grv_status part_end(const grv_call *call, const copy_run *run, grv_s3_upload *upload,
                           copy_slot *slot, grv_error *error)
{
    char etag[GRV_S3_ETAG_MAX + 1] = "";
    size_t number = slot->part.number;
    grv_status status = grv_s3_wait(call, run->store->s3, &slot->part.request, error);
    slot->part.number = 0;
    bool gone = strcmp(slot->part.request.answer.code, "NoSuchUpload") == 0;
    if (!status) {
        status = grv_s3_objects_xml(&slot->part.request, "CopyPartResult", "ETag", etag,
                                    sizeof etag, error);
    } else if (status == GRV_NOT_FOUND && gone) {
        upload->open = false;
        return grv_s3_upload_gone(upload, error);
    }
    if (status == GRV_NOT_FOUND) {
        return source_absent(run, error);
    }
    /* A range past the end: it has become smaller. */
    if (status == GRV_ALREADY_EXISTS || slot->part.request.answer.http == 416) {
        return source_replaced(run, error);
    }
    if (!status) {
        char plain[GRV_S3_ETAG_MAX + 1];
        grv_s3_etag_copy(plain, etag, strlen(etag));
        status = grv_s3_upload_keep(upload, number, plain, error);
    }
    return status;
}

static grv_status parts_copy(const grv_call *call, const copy_run *run, grv_s3_upload *upload,
                             copy_slot slots[], size_t slot_count, grv_error *error)
{
    uint64_t part_size = part_size_choose(run);
    size_t count = (size_t)((run->source.info.size_bytes + part_size - 1) / part_size);
    grv_status status = GRV_OK;
    for (size_t number = 1; !status && number <= count + slot_count; number++) {
        copy_slot *slot = &slots[number % slot_count];
        if (slot->part.number) {
            status = part_end(call, run, upload, slot, error);
        }
        if (!status && number <= count) {
            status = part_begin(call, run, upload, slot, number, part_size, error);
        }
    }
    for (size_t i = 0; i < slot_count; i++) {
        if (slots[i].part.number) {
            grv_s3_cancel(run->store->s3, &slots[i].part.request);
        }
        grv_buffer_done(&slots[i].out);
    }
    return status;
}

/* GRV_OK while the source is what it was when the copy began. */
static grv_status source_check(const grv_call *call, const copy_run *run, grv_error *error)
{
    grv_s3_object_facts now = {0};
    const grv_s3_object_facts *then = &run->source;
    grv_status status = grv_s3_objects_ask(call, run->store, run->from, &now, error);
    if (status) {
        return status;
    }
    if (strcmp(now.info.tag, then->info.tag) != 0 || now.info.size_bytes != then->info.size_bytes ||
        now.info.modified_ns != then->info.modified_ns || strcmp(now.put_id, then->put_id) != 0) {
        return source_replaced(run, error);
    }
    return GRV_OK;
}

static grv_status copy_parts(const grv_call *call, const copy_run *run, grv_object_info *ret_info,
                             grv_error *error)
{
    char etag[GRV_S3_ETAG_MAX + 1] = "";
    grv_s3_upload upload;
    size_t slot_count = run->store->tuning.copy_slots;
    copy_slot *slots = calloc(slot_count, sizeof *slots);
    if (!slots) {
        return grv_error_set(error, GRV_LIMIT_EXCEEDED, ORIGIN, "no memory for a copy");
    }
    for (size_t i = 0; i < slot_count; i++) {
        grv_buffer_init(&slots[i].out, ANSWER_MAX);
    }
    grv_status status = grv_s3_upload_begin(call, run->store, run->to, run->put_id, &upload, error);
    if (!status) {
        status = parts_copy(call, run, &upload, slots, slot_count, error);
    }
    if (!status) {
        status = source_check(call, run, error);
    }
    if (!status) {
        status = grv_s3_upload_complete(call, &upload, false, etag, error);
    }
    grv_s3_upload_end(&upload);
    free(slots);
    if (status) {
        return status;
    }
    return grv_s3_objects_made(call, run->store, run->to, run->put_id, run->source.info.size_bytes,
                               etag, ret_info, error);
}

/* ---- through us ---- */

static grv_status copy_bytes(const grv_call *call, grv_source *source, grv_sink *sink,
                             grv_error *error)
{
    for (;;) {
        grv_bytes view;
        grv_status status = grv_source_next(call, source, VIEW_MAX, &view, error);
        if (status || view.size == 0) {
            return status ? status : grv_sink_commit(call, sink, error);
        }
        status = grv_sink_write(call, sink, view, error);
        if (status) {
            return status;
        }
    }
}

static grv_status copy_if_absent(const grv_call *call, grv_s3_objects *store,
                                 const grv_locator *from, const grv_locator *to,
                                 grv_object_info *ret_info, grv_error *error)
{
    grv_object_info info = {0};
    grv_source *source;
    grv_object_sink *sink = NULL;
    grv_status status = grv_s3_objects_open_get(call, &store->base.base, from, GRV_RANGE_ALL, &info,
                                                &source, error);
    if (status) {
        return status;
    }
    const grv_object_put put = {
        .if_absent = true, .has_size_hint = true, .size_hint = info.size_bytes};
    status = grv_mutable_object_store_open_put(call, &store->base, to, &put, &sink, error);
    if (!status) {
        status = copy_bytes(call, source, &sink->base, error);
        if (!status) {
            *ret_info = sink->info;
        }
        grv_sink_free(&sink->base);
    }
    grv_source_free(source);
    return status;
}

/* ---- the slot ---- */

static grv_status run_begin(const grv_call *call, copy_run *run, grv_error *error)
{
    grv_status status = grv_s3_objects_ask(call, run->store, run->from, &run->source, error);
    if (!status) {
        status = grv_s3_put_id_draw(run->put_id, error);
    }
    if (!status) {
        status = grv_s3_encode_source(run->from->bucket, run->from->path, run->path,
                                      sizeof run->path, error);
    }
    if (!status) {
        snprintf(run->if_match, sizeof run->if_match, "\"%s\"", run->source.info.tag);
    }
    return status;
}

grv_status grv_s3_objects_copy(const grv_call *call, grv_mutable_object_store *base,
                               const grv_locator *from, const grv_locator *to, bool if_absent,
                               grv_object_info *ret_info, grv_error *error)
{
    grv_s3_objects *store = (grv_s3_objects *)base;
    grv_status status = grv_s3_objects_check(call, store, from, error);
    if (!status) {
        status = grv_s3_objects_check(call, store, to, error);
    }
    if (status) {
        return status;
    }
    if (if_absent) {
        return copy_if_absent(call, store, from, to, ret_info, error);
    }
    copy_run run = {.store = store, .from = from, .to = to};
    status = run_begin(call, &run, error);
    if (!status) {
        status = run.source.info.size_bytes > store->tuning.copy_single_max
                     ? copy_parts(call, &run, ret_info, error)
                     : copy_single(call, &run, ret_info, error);
    }
    return status;
}
