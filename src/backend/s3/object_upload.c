/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Multipart uploads, as puts and copies use them: created, filled part by part, completed, and
 * ended in any state.
 *
 * What is open costs its owner money and shows nowhere, so none is left behind: an upload that is
 * not completed is aborted, and object_lost.c finds those whose ids never arrived.
 */
#include "backend/s3/objects.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ORIGIN GRV_S3_OBJECTS_ORIGIN
/* How long an end may take. */
#define END_NS (UINT64_C(10) * 1000000000u)
/* Most bytes of the answers here. */
#define ANSWER_MAX ((size_t)64 << 10)

/* ---- begin ---- */

grv_status grv_s3_upload_begin(const grv_call *call, grv_s3_objects *store,
                               const grv_locator *locator, const char *put_id,
                               grv_s3_upload *upload, grv_error *error)
{
    char id[GRV_S3_UPLOAD_ID_MAX + 1];
    grv_buffer out;
    grv_buffer_init(&out, ANSWER_MAX);
    *upload = (grv_s3_upload){.store = store, .locator = locator, .begun_ns = grv_now_ns()};
    memcpy(upload->put_id, put_id, sizeof upload->put_id);
    const grv_s3_pair query = {"uploads", ""};
    const grv_s3_pair header = {GRV_S3_PUT_ID_HEADER, upload->put_id};
    grv_s3_request request = {
        .method = GRV_S3_POST,
        .bucket = locator->bucket,
        .key = locator->path,
        .query = &query,
        .query_count = 1,
        .headers = &header,
        .header_count = 1,
        .out = &out,
    };
    grv_status status = grv_s3_objects_run_xml(
        call, store, &request, "InitiateMultipartUploadResult", "UploadId", id, sizeof id, error);
    grv_buffer_done(&out);
    upload->made_ns = grv_now_ns();
    upload->lost = request.unsure;
    if (!status && id[0] == '\0') {
        status = grv_error_set(error, GRV_CORRUPT, ORIGIN, "the service's upload has no id");
        grv_s3_objects_prefix(locator, status, error);
    }
    if (!status) {
        upload->id = strdup(id);
        upload->open = upload->id != NULL;
        upload->lost = upload->lost || !upload->open;
        if (!upload->open) {
            status = grv_error_set(error, GRV_LIMIT_EXCEEDED, ORIGIN, "no memory for an upload");
        }
    }
    return status;
}

/* ---- parts ---- */

grv_status grv_s3_upload_part(grv_s3_upload *upload, size_t number, grv_s3_part *part,
                              grv_error *error)
{
    if (number < 1 || number > GRV_S3_PARTS_MAX) {
        grv_error_set(error, GRV_LIMIT_EXCEEDED, ORIGIN,
                      "an upload has at most %u parts: tell the size beforehand", GRV_S3_PARTS_MAX);
        return grv_s3_objects_prefix(upload->locator, GRV_LIMIT_EXCEEDED, error);
    }
    snprintf(part->number_text, sizeof part->number_text, "%zu", number);
    part->number = number;
    part->query[0] = (grv_s3_pair){"partNumber", part->number_text};
    part->query[1] = (grv_s3_pair){"uploadId", upload->id};
    part->request = (grv_s3_request){
        .method = GRV_S3_PUT,
        .bucket = upload->locator->bucket,
        .key = upload->locator->path,
        .query = part->query,
        .query_count = 2,
        .allow_missing = true,
    };
    return GRV_OK;
}

grv_status grv_s3_upload_keep(grv_s3_upload *upload, size_t number, const char *etag,
                              grv_error *error)
{
    if (number > upload->part_capacity) {
        size_t capacity = upload->part_capacity ? 2 * upload->part_capacity : 16;
        char(*etags)[GRV_S3_ETAG_MAX + 1] = reallocarray(upload->etags, capacity, sizeof *etags);
        if (!etags) {
            return grv_error_set(error, GRV_LIMIT_EXCEEDED, ORIGIN, "no memory for a part");
        }
        upload->etags = etags;
        upload->part_capacity = capacity;
    }
    if (etag[0] == '\0' || number != upload->part_count + 1) {
        grv_error_set(error, GRV_CORRUPT, ORIGIN, "the service gives part %zu no ETag", number);
        return grv_s3_objects_prefix(upload->locator, GRV_CORRUPT, error);
    }
    memcpy(upload->etags[number - 1], etag, strlen(etag) + 1);
    upload->part_count = number;
    return GRV_OK;
}

grv_status grv_s3_upload_gone(const grv_s3_upload *upload, grv_error *error)
{
    grv_error_set(error, GRV_CONFLICT, ORIGIN,
                  "its upload is gone: somebody else has aborted it, or a rule of the bucket");
    return grv_s3_objects_prefix(upload->locator, GRV_CONFLICT, error);
}

/* ---- complete ---- */

static grv_status append(grv_buffer *buffer, const char *text, grv_error *error)
{
    return grv_buffer_append(buffer, grv_bytes_of(text, strlen(text)), error);
}

/* The service chose the ETag, so it may hold anything printable. */
static grv_status append_escaped(grv_buffer *buffer, const char *text, grv_error *error)
{
    grv_status status = GRV_OK;
    for (; !status && *text; text++) {
        const char one[2] = {*text, '\0'};
        const char *as = *text == '&'   ? "&amp;"
                         : *text == '<' ? "&lt;"
                         : *text == '>' ? "&gt;"
                         : *text == '"' ? "&quot;"
                                        : one;
        status = append(buffer, as, error);
    }
    return status;
}

static grv_status parts_print(const grv_s3_upload *upload, grv_buffer *body, grv_error *error)
{
    grv_status status = append(body, "<CompleteMultipartUpload>", error);
    for (size_t i = 0; !status && i < upload->part_count; i++) {
        char number[64];
        snprintf(number, sizeof number, "<Part><PartNumber>%zu</PartNumber><ETag>\"", i + 1);
        status = append(body, number, error);
        if (!status) {
            status = append_escaped(body, upload->etags[i], error);
        }
        if (!status) {
            status = append(body, "\"</ETag></Part>", error);
        }
    }
    return status ? status : append(body, "</CompleteMultipartUpload>", error);
}

/* Whether the object is the one of this put; false also where that cannot be told. */
static bool is_ours(const grv_call *call, const grv_s3_upload *upload, char *ret_etag)
{
    grv_s3_object_facts facts = {0};
    if (grv_s3_objects_ask(call, upload->store, upload->locator, &facts, NULL) ||
        strcmp(facts.put_id, upload->put_id) != 0) {
        return false;
    }
    memcpy(ret_etag, facts.info.tag, strlen(facts.info.tag) + 1);
    return true;
}

/* Finds out what a completion that failed has done. */
static grv_status complete_settle(const grv_call *call, grv_s3_upload *upload, grv_status status,
                                  bool unsure, char *ret_etag, grv_error *error)
{
    upload->unsure = unsure;
    upload->open = status != GRV_NOT_FOUND;
    if (unsure && !grv_call_check(call, ORIGIN, NULL) && is_ours(call, upload, ret_etag)) {
        upload->open = false;
        return GRV_OK;
    }
    if (status == GRV_ALREADY_EXISTS) {
        return grv_s3_objects_exists(upload->locator, error);
    }
    if (status == GRV_NOT_FOUND && !unsure) {
        return grv_s3_upload_gone(upload, error);
    }
    if (status == GRV_NOT_FOUND) {
        status = grv_error_set(error, GRV_UNAVAILABLE, ORIGIN,
                               "an answer was lost, and since then the object was replaced or its "
                               "upload aborted: whether it had these bytes is not known");
        grv_s3_objects_prefix(upload->locator, status, error);
    }
    return status;
}

grv_status grv_s3_upload_complete(const grv_call *call, grv_s3_upload *upload, bool if_absent,
                                  char ret_etag[GRV_S3_ETAG_MAX + 1], grv_error *error)
{
    char key[GRV_LOCATOR_PATH_MAX + 1];
    grv_buffer body;
    grv_buffer out;
    grv_buffer_init(&body, (size_t)GRV_S3_PARTS_MAX * (128 + 6 * GRV_S3_ETAG_MAX));
    grv_buffer_init(&out, ANSWER_MAX);
    grv_status status = parts_print(upload, &body, error);
    const grv_s3_pair query = {"uploadId", upload->id};
    const grv_s3_pair header = {"if-none-match", "*"};
    grv_s3_request request = {
        .method = GRV_S3_POST,
        .bucket = upload->locator->bucket,
        .key = upload->locator->path,
        .query = &query,
        .query_count = 1,
        .headers = &header,
        .header_count = if_absent ? 1 : 0,
        .body = grv_buffer_bytes(&body),
        .out = &out,
        .allow_missing = true,
        .allow_precondition = if_absent,
    };
    if (!status) {
        status =
            grv_s3_objects_run_xml(call, upload->store, &request, "CompleteMultipartUploadResult",
                                   "Key", key, sizeof key, error);
        if (status) {
            status = complete_settle(call, upload, status, request.unsure, ret_etag, error);
        } else {
            upload->open = false;
            /* Some services leave it empty here: the caller asks for the object. */
            if (grv_s3_xml_text(grv_buffer_bytes(&out), "CompleteMultipartUploadResult", "ETag",
                                ret_etag, GRV_S3_ETAG_MAX + 1, NULL)) {
                ret_etag[0] = '\0';
            }
        }
    }
    grv_buffer_done(&body);
    grv_buffer_done(&out);
    return status;
}

/* ---- end ---- */

/* Aborts an upload: until the service says that there is none, since a part that was under way can
 * land behind the first abortion. */
void grv_s3_upload_abort(const grv_call *call, const grv_s3_upload *upload, const char *id)
{
    const grv_s3_pair query = {"uploadId", id};
    for (int i = 0; i < 2; i++) {
        grv_s3_request request = {
            .method = GRV_S3_DELETE,
            .bucket = upload->locator->bucket,
            .key = upload->locator->path,
            .query = &query,
            .query_count = 1,
            .allow_missing = true,
        };
        if (grv_s3_run(call, upload->store->s3, &request, 1, NULL)) {
            return;
        }
        if (request.status) {
            return;
        }
    }
}

void grv_s3_upload_end(grv_s3_upload *upload)
{
    char etag[GRV_S3_ETAG_MAX + 1];
    grv_call call = grv_s3_objects_own_call(END_NS);
    if (upload->open && upload->unsure) {
        upload->open = !is_ours(&call, upload, etag);
    }
    if (upload->open) {
        grv_s3_upload_abort(&call, upload, upload->id);
    }
    if (upload->lost) {
        grv_s3_upload_find_lost(&call, upload);
    }
    free(upload->id);
    free(upload->etags);
    *upload = (grv_s3_upload){0};
}

/* ---- what the service can do ---- */

/* Uploads one byte onto an object, only where none is: it must be refused. */
static grv_status probe_upload(const grv_call *call, grv_s3_objects *store,
                               const grv_locator *locator, const char *put_id,
                               grv_s3_ability *ret_ability, grv_error *error)
{
    char etag[GRV_S3_ETAG_MAX + 1] = "";
    grv_s3_upload upload;
    grv_s3_part part;
    grv_status status = grv_s3_upload_begin(call, store, locator, put_id, &upload, error);
    if (!status) {
        status = grv_s3_upload_part(&upload, 1, &part, error);
    }
    if (!status) {
        part.request.body = grv_bytes_of("x", 1);
        status = grv_s3_run(call, store->s3, &part.request, 1, error);
    }
    if (!status && part.request.status) {
        status = grv_s3_upload_gone(&upload, error);
    }
    if (!status) {
        status = grv_s3_upload_keep(&upload, 1, part.request.answer.etag, error);
    }
    if (!status) {
        status = grv_s3_upload_complete(call, &upload, true, etag, error);
        *ret_ability = status == GRV_ALREADY_EXISTS ? GRV_S3_ABILITY_YES : GRV_S3_ABILITY_NO;
        status = status == GRV_ALREADY_EXISTS ? GRV_OK : status;
    }
    grv_s3_upload_end(&upload);
    return status;
}

static grv_status probe(const grv_call *call, grv_s3_objects *store, const char *bucket,
                        grv_s3_ability *ret_ability, grv_error *error)
{
    char put_id[GRV_S3_PUT_ID_SIZE + 1];
    grv_status status = grv_s3_put_id_draw(put_id, error);
    if (status) {
        return status;
    }
    grv_locator locator = {.scheme = GRV_S3_OBJECTS_SCHEME};
    snprintf(locator.bucket, sizeof locator.bucket, "%s", bucket);
    snprintf(locator.path, sizeof locator.path, ".graviton-probe-%s", put_id);
    grv_s3_request put = {
        .method = GRV_S3_PUT,
        .bucket = locator.bucket,
        .key = locator.path,
        .body = grv_bytes_of("x", 1),
    };
    status = grv_s3_run(call, store->s3, &put, 1, error);
    if (!status) {
        status = probe_upload(call, store, &locator, put_id, ret_ability, error);
    }
    grv_call mine = grv_s3_objects_own_call(END_NS);
    grv_s3_request removal = {
        .method = GRV_S3_DELETE,
        .bucket = locator.bucket,
        .key = locator.path,
        .allow_missing = true,
    };
    grv_error failed = GRV_ERROR_INIT;
    grv_status removed = grv_s3_run(&mine, store->s3, &removal, 1, &failed);
    if (removed && !status) {
        status = removed;
        if (error) {
            *error = failed;
        }
    }
    return status;
}

grv_status grv_s3_upload_if_absent_check(const grv_call *call, grv_s3_objects *store,
                                         const grv_locator *locator, grv_error *error)
{
    grv_s3_ability ability =
        (grv_s3_ability)__atomic_load_n(&store->upload_if_absent, __ATOMIC_RELAXED);
    if (ability == GRV_S3_ABILITY_UNKNOWN) {
        grv_status status = probe(call, store, locator->bucket, &ability, error);
        if (status) {
            grv_error_prefix(error, "asking whether uploads heed if_absent");
            return status;
        }
        __atomic_store_n(&store->upload_if_absent, (int)ability, __ATOMIC_RELAXED);
    }
    if (ability == GRV_S3_ABILITY_YES) {
        return GRV_OK;
    }
    grv_error_set(error, GRV_UNSUPPORTED, ORIGIN,
                  "this service can put only where nothing is for objects of at most %zu MiB: "
                  "its multipart uploads ignore If-None-Match",
                  store->tuning.single_if_absent_max >> 20);
    return grv_s3_objects_prefix(locator, GRV_UNSUPPORTED, error);
}
