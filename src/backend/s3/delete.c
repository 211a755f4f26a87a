/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Many deletes in one request, and some of those at once. The service names every key that it has
 * deleted: one that it does not name is not known to be gone. A key that XML cannot hold is deleted
 * by a request of its own.
 */
#include "backend/s3/client.h"

#include <stdlib.h>
#include <string.h>

/* Requests that many keys are spread over, and least keys of each. */
#define DELETE_AT_ONCE  8u
#define DELETE_KEYS_MIN 64u

static grv_status append(grv_buffer *out, const char *text, grv_error *error)
{
    return grv_buffer_append(out, grv_bytes_of(text, strlen(text)), error);
}

/* XML 1.0 has no way to write most control characters, nor U+FFFE and U+FFFF; and what comes of a
 * line end is the parser's choice. */
static bool fits_xml(const char *key)
{
    for (const char *c = key; *c; c++) {
        unsigned char u = (unsigned char)*c;
        if (u < ' ' || u == 0x7f || (u == 0xef && (unsigned char)c[1] == 0xbf)) {
            return false;
        }
    }
    return true;
}

static grv_status append_key(grv_buffer *out, const char *key, grv_error *error)
{
    grv_status status = append(out, "<Object><Key>", error);
    for (; *key && !status; key++) {
        const char *entity = *key == '&'   ? "&amp;"
                             : *key == '<' ? "&lt;"
                             : *key == '>' ? "&gt;"
                             : *key == '"' ? "&quot;"
                                           : NULL;
        status = entity ? append(out, entity, error)
                        : grv_buffer_append(out, grv_bytes_of(key, 1), error);
    }
    return status ? status : append(out, "</Key></Object>", error);
}

/* What a service says of the first key that it could not delete. */
typedef struct verdict {
    bool is_result;
    size_t gone; /* keys that it names as deleted, or as not there */
    bool has_failed;
    bool is_done; /* the first failure is complete */
    char key[GRV_S3_KEY_MAX + 1];
    char code[GRV_S3_CODE_MAX + 1];
    char message[128];
} verdict;

static grv_status verdict_begin(void *context, const char *const names[], unsigned depth,
                                grv_error *error)
{
    (void)error;
    verdict *found = context;
    if (depth == 1) {
        found->is_result = strcmp(names[0], "DeleteResult") == 0;
    } else if (depth == 2 && strcmp(names[1], "Error") == 0) {
        found->has_failed = true;
    }
    return GRV_OK;
}

static grv_status verdict_end(void *context, const char *const names[], unsigned depth, char *text,
                              grv_error *error)
{
    (void)error;
    verdict *found = context;
    if (depth == 2 && strcmp(names[1], "Deleted") == 0) {
        found->gone++;
    }
    if (found->is_done || depth < 2 || strcmp(names[1], "Error") != 0) {
        return GRV_OK;
    }
    if (depth == 2) {
        /* That it was not there is what was wanted. */
        bool absent = strcmp(found->code, "NoSuchKey") == 0;
        found->gone += absent;
        found->has_failed = !absent;
        found->is_done = !absent;
    } else if (depth == 3 && strcmp(names[2], "Key") == 0) {
        grv_s3_text_copy(found->key, sizeof found->key, text, strlen(text));
    } else if (depth == 3 && strcmp(names[2], "Code") == 0) {
        grv_s3_text_copy(found->code, sizeof found->code, text, strlen(text));
    } else if (depth == 3 && strcmp(names[2], "Message") == 0) {
        grv_s3_text_copy(found->message, sizeof found->message, text, strlen(text));
    }
    return GRV_OK;
}

static grv_status check_answer(const grv_s3 *s3, const char *bucket, grv_bytes xml, size_t listed,
                               grv_error *error)
{
    verdict found = {0};
    grv_s3_xml_walk walk = {&found, verdict_begin, verdict_end};
    grv_status status = grv_s3_xml_walk_run(&walk, xml, error);
    if (!status && !found.is_result) {
        status = grv_error_set(error, GRV_CORRUPT, "s3", "the answer is no <DeleteResult>");
    }
    if (status) {
        grv_error_prefix(error, "cannot remove objects of s3://%.63s at %.80s", bucket,
                         grv_s3_where(s3));
        return status;
    }
    if (found.has_failed) {
        return grv_error_set(error, grv_s3_status_of_code(found.code, GRV_UNAVAILABLE), "s3",
                             "cannot remove s3://%.63s/%.120s at %.80s: %s%s%s", bucket, found.key,
                             grv_s3_where(s3), found.code, found.message[0] ? ": " : "",
                             found.message);
    }
    if (found.gone != listed) {
        return grv_error_set(error, GRV_UNAVAILABLE, "s3",
                             "cannot remove objects of s3://%.63s at %.80s: the answer names %zu "
                             "of %zu as gone",
                             bucket, grv_s3_where(s3), found.gone, listed);
    }
    return GRV_OK;
}

/* One DeleteObjects. */
typedef struct deletion {
    grv_s3_request request;
    grv_buffer body;
    grv_buffer answer;
    size_t listed;
} deletion;

static const grv_s3_pair delete_query = {"delete", ""};

/* Lists those of the keys that XML can hold. */
static grv_status deletion_fill(deletion *one, const char *bucket, const char *const keys[],
                                size_t count, grv_error *error)
{
    grv_status status = append(&one->body, "<Delete>", error);
    for (size_t i = 0; i < count && !status; i++) {
        if (fits_xml(keys[i])) {
            status = append_key(&one->body, keys[i], error);
            one->listed++;
        }
    }
    if (!status) {
        status = append(&one->body, "</Delete>", error);
    }
    one->request = (grv_s3_request){.method = GRV_S3_POST,
                                    .bucket = bucket,
                                    .query = &delete_query,
                                    .query_count = 1,
                                    .body = grv_buffer_bytes(&one->body),
                                    .md5 = true,
                                    .out = &one->answer};
    return status;
}

/* Sends all, and waits for all. */
static grv_status deletions_run(const grv_call *call, grv_s3 *s3, const char *bucket,
                                deletion all[], size_t count, grv_error *error)
{
    grv_status status = GRV_OK;
    for (size_t i = 0; i < count; i++) {
        if (all[i].listed > 0) {
            grv_s3_submit(call, s3, &all[i].request);
        }
    }
    for (size_t i = 0; i < count; i++) {
        grv_error one = GRV_ERROR_INIT;
        grv_status failed = GRV_OK;
        if (all[i].listed > 0) {
            failed = grv_s3_wait(call, s3, &all[i].request, &one);
        }
        if (all[i].listed > 0 && !failed) {
            failed =
                check_answer(s3, bucket, grv_buffer_bytes(&all[i].answer), all[i].listed, &one);
        }
        if (failed && !status) {
            status = failed;
            if (error) {
                *error = one;
            }
        }
    }
    return status;
}

/* The keys that XML can hold. Some requests at once, since a service deletes the keys of one after
 * another. */
static grv_status delete_listed(const grv_call *call, grv_s3 *s3, const char *bucket,
                                const char *const keys[], size_t count, grv_error *error)
{
    size_t part = (count + DELETE_AT_ONCE - 1) / DELETE_AT_ONCE;
    part = part < DELETE_KEYS_MIN ? DELETE_KEYS_MIN : part;
    part = part > GRV_S3_PAGE_MAX ? GRV_S3_PAGE_MAX : part;
    size_t parts = (count + part - 1) / part;
    deletion *all = calloc(parts ? parts : 1, sizeof *all);
    if (!all) {
        return grv_error_set(error, GRV_LIMIT_EXCEEDED, "s3", "no memory for %zu requests", parts);
    }
    grv_status status = GRV_OK;
    for (size_t i = 0; i < parts && !status; i++) {
        size_t left = count - i * part;
        grv_buffer_init(&all[i].body, (size_t)16 << 20);
        grv_buffer_init(&all[i].answer, GRV_S3_XML_MAX);
        status = deletion_fill(&all[i], bucket, keys + i * part, left < part ? left : part, error);
    }
    if (!status) {
        status = deletions_run(call, s3, bucket, all, parts, error);
    }
    for (size_t i = 0; i < parts; i++) {
        grv_buffer_done(&all[i].answer);
        grv_buffer_done(&all[i].body);
    }
    free(all);
    return status;
}

/* The others, each by itself. */
static grv_status delete_others(const grv_call *call, grv_s3 *s3, const char *bucket,
                                const char *const keys[], size_t count, grv_error *error)
{
    grv_s3_request *requests = calloc(count, sizeof *requests);
    if (!requests) {
        return grv_error_set(error, GRV_LIMIT_EXCEEDED, "s3", "no memory for %zu requests", count);
    }
    size_t used = 0;
    for (size_t i = 0; i < count; i++) {
        if (!fits_xml(keys[i])) {
            requests[used++] = (grv_s3_request){
                .method = GRV_S3_DELETE, .bucket = bucket, .key = keys[i], .allow_missing = true};
        }
    }
    grv_status status = grv_s3_run(call, s3, requests, used, error);
    free(requests);
    return status;
}

grv_status grv_s3_delete_many(const grv_call *call, grv_s3 *s3, const char *bucket,
                              const char *const keys[], size_t count, grv_error *error)
{
    bool all_fit = true;
    for (size_t i = 0; i < count; i++) {
        all_fit = all_fit && fits_xml(keys[i]);
    }
    grv_status status = delete_listed(call, s3, bucket, keys, count, error);
    if (!status && !all_fit) {
        status = delete_others(call, s3, bucket, keys, count, error);
    }
    return status;
}
