/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Uploads that nobody knows: the answer to a creation was lost, so one may be open whose id never
 * arrived. A list of uploads shows no mark of ours, so a lost one is known by what it is: an upload
 * of the same key, begun while ours was being created, and without a part.
 *
 * Somebody else may be uploading to the same key, begun in the same seconds. His has a part soon,
 * so whatever looks lost is looked at again a moment later. If that was too soon, his put fails and
 * says so; it never stores wrong bytes.
 */
#include "backend/s3/client.h"
#include "backend/s3/objects.h"
#include "os/clock.h"

#include <stdlib.h>
#include <string.h>

/* Uploads aborted at one time, at most, and pages read to find them. */
#define FOUND_MAX 64u
#define PAGES_MAX 100u
/* Seconds by which begin and end of a creation may seem wrong: clocks with whole seconds, and the
 * time of a request. */
#define SLACK_S 2u
/* How long an upload must have been without a part. */
#define MOMENT_NS (UINT64_C(2) * 1000000000u)

/* An upload as a list shows it. */
typedef struct lost_entry {
    bool is_key;
    bool has_time;
    uint64_t begun_s;
    char id[GRV_S3_UPLOAD_ID_MAX + 1];
} lost_entry;

/* A walk through lists of uploads. */
typedef struct lost_walk {
    const grv_s3_upload *upload;
    uint64_t from_s; /* begun in these seconds, by the service's clock */
    uint64_t to_s;
    lost_entry entry;
    bool truncated;
    bool next_is_key; /* the next page still has uploads of this key */
    char next_id[GRV_S3_UPLOAD_ID_MAX + 1];
    size_t count;
    char ids[FOUND_MAX][GRV_S3_UPLOAD_ID_MAX + 1];
} lost_walk;

static void take_id(char ret_id[GRV_S3_UPLOAD_ID_MAX + 1], const char *text)
{
    size_t size = strlen(text);
    ret_id[0] = '\0';
    if (size <= GRV_S3_UPLOAD_ID_MAX) {
        memcpy(ret_id, text, size + 1);
    }
}

/* Services encode keys where they are asked to, or do not. */
static bool is_key_of(const lost_walk *walk, char *text)
{
    const char *key = walk->upload->locator->path;
    return strcmp(text, key) == 0 || (grv_s3_decode(text) && strcmp(text, key) == 0);
}

static grv_status walk_begin(void *context, const char *const names[], unsigned depth,
                             grv_error *error)
{
    lost_walk *walk = context;
    (void)error;
    if (depth == 2 && strcmp(names[1], "Upload") == 0) {
        walk->entry = (lost_entry){.begun_s = 0};
    }
    return GRV_OK;
}

static void walk_entry(lost_walk *walk)
{
    const lost_entry *entry = &walk->entry;
    const char *ours = walk->upload->id;
    if (entry->is_key && entry->has_time && entry->id[0] &&
        !(ours && strcmp(entry->id, ours) == 0) && entry->begun_s >= walk->from_s &&
        entry->begun_s <= walk->to_s && walk->count < FOUND_MAX) {
        memcpy(walk->ids[walk->count++], entry->id, sizeof entry->id);
    }
}

static grv_status walk_end(void *context, const char *const names[], unsigned depth, char *text,
                           grv_error *error)
{
    lost_walk *walk = context;
    const char *name = names[depth - 1];
    (void)error;
    if (depth == 3 && strcmp(names[1], "Upload") == 0) {
        if (strcmp(name, "Key") == 0) {
            walk->entry.is_key = is_key_of(walk, text);
        } else if (strcmp(name, "UploadId") == 0) {
            take_id(walk->entry.id, text);
        } else if (strcmp(name, "Initiated") == 0) {
            walk->entry.has_time = grv_s3_time_parse_iso(text, &walk->entry.begun_s);
        }
    } else if (depth == 2) {
        if (strcmp(name, "Upload") == 0) {
            walk_entry(walk);
        } else if (strcmp(name, "IsTruncated") == 0) {
            walk->truncated = strcmp(text, "true") == 0;
        } else if (strcmp(name, "NextKeyMarker") == 0) {
            walk->next_is_key = is_key_of(walk, text);
        } else if (strcmp(name, "NextUploadIdMarker") == 0) {
            take_id(walk->next_id, text);
        }
    }
    return GRV_OK;
}

/* Sets the seconds of the creation, from what the service's clock says now. */
static void window_set(lost_walk *walk, uint64_t now_s)
{
    uint64_t now_ns = grv_now_ns();
    uint64_t begun_ago_s = (now_ns - walk->upload->begun_ns) / 1000000000u + SLACK_S;
    uint64_t made_ago_s = (now_ns - walk->upload->made_ns) / 1000000000u;
    walk->from_s = now_s > begun_ago_s ? now_s - begun_ago_s : 0;
    walk->to_s = (now_s > made_ago_s ? now_s - made_ago_s : 0) + SLACK_S;
}

/* Reads the page of uploads behind `walk->next_id`, or the first. */
static grv_status walk_page(const grv_call *call, lost_walk *walk)
{
    const grv_locator *locator = walk->upload->locator;
    char marker[GRV_S3_UPLOAD_ID_MAX + 1];
    memcpy(marker, walk->next_id, sizeof marker);
    const grv_s3_pair query[] = {
        {"uploads", ""},
        {"prefix", locator->path},
        {"encoding-type", "url"},
        {"key-marker", locator->path},
        {"upload-id-marker", marker},
    };
    grv_buffer out;
    grv_buffer_init(&out, GRV_S3_XML_MAX);
    grv_s3_request request = {
        .method = GRV_S3_GET,
        .bucket = locator->bucket,
        .query = query,
        .query_count = marker[0] ? 5 : 3,
        .out = &out,
    };
    grv_status status = grv_s3_run(call, walk->upload->store->s3, &request, 1, NULL);
    if (!status) {
        window_set(walk, request.answer.date_ns / 1000000000u);
        walk->truncated = false;
        walk->next_is_key = false;
        walk->next_id[0] = '\0';
        const grv_s3_xml_walk functions = {.context = walk, .begin = walk_begin, .end = walk_end};
        status = grv_s3_xml_walk_run(&functions, grv_buffer_bytes(&out), NULL);
    }
    grv_buffer_done(&out);
    return status;
}

static grv_status parts_begin(void *context, const char *const names[], unsigned depth,
                              grv_error *error)
{
    bool *has_parts = context;
    (void)error;
    *has_parts = *has_parts || (depth == 2 && strcmp(names[1], "Part") == 0);
    return GRV_OK;
}

static grv_status parts_end(void *context, const char *const names[], unsigned depth, char *text,
                            grv_error *error)
{
    (void)context;
    (void)names;
    (void)depth;
    (void)text;
    (void)error;
    return GRV_OK;
}

/* True only for an upload that is there and has no part. */
static bool is_empty(const grv_call *call, const grv_s3_upload *upload, const char *id)
{
    const grv_s3_pair query[] = {{"uploadId", id}, {"max-parts", "1"}};
    grv_buffer out;
    grv_buffer_init(&out, GRV_S3_XML_MAX);
    grv_s3_request request = {
        .method = GRV_S3_GET,
        .bucket = upload->locator->bucket,
        .key = upload->locator->path,
        .query = query,
        .query_count = 2,
        .out = &out,
        .allow_missing = true,
    };
    bool has_parts = false;
    const grv_s3_xml_walk functions = {
        .context = &has_parts, .begin = parts_begin, .end = parts_end};
    bool known = grv_s3_run(call, upload->store->s3, &request, 1, NULL) == GRV_OK &&
                 request.status == GRV_OK &&
                 grv_s3_xml_walk_run(&functions, grv_buffer_bytes(&out), NULL) == GRV_OK;
    grv_buffer_done(&out);
    return known && !has_parts;
}

void grv_s3_upload_find_lost(const grv_call *call, const grv_s3_upload *upload)
{
    lost_walk *walk = calloc(1, sizeof *walk);
    if (!walk) {
        return;
    }
    walk->upload = upload;
    bool more = true;
    for (size_t i = 0; more && i < PAGES_MAX; i++) {
        more = walk_page(call, walk) == GRV_OK && walk->truncated && walk->next_is_key &&
               walk->next_id[0];
    }
    size_t count = 0;
    for (size_t i = 0; i < walk->count; i++) {
        if (is_empty(call, upload, walk->ids[i])) {
            memmove(walk->ids[count++], walk->ids[i], sizeof walk->ids[i]);
        }
    }
    uint64_t due_ns = grv_now_ns() + MOMENT_NS;
    while (count > 0 && grv_now_ns() < due_ns) {
        grv_clock_sleep(due_ns - grv_now_ns());
    }
    for (size_t i = 0; i < count; i++) {
        if (is_empty(call, upload, walk->ids[i])) {
            grv_s3_upload_abort(call, upload, walk->ids[i]);
        }
    }
    free(walk);
}
