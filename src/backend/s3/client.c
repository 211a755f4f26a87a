/* SPDX-License-Identifier: Apache-2.0 */
/* The client as the ports see it: opening and closing, submitting requests and waiting for them. */
#include "backend/s3/client.h"
#include "base/digits.h"
#include "base/utf8.h"
#include "base/wait.h"
#include "os/random.h"

#include <libxml/parser.h>
#include <openssl/crypto.h>
#include <stdlib.h>
#include <string.h>

static pthread_once_t libraries_once = PTHREAD_ONCE_INIT;
static bool libraries_ready;

/* Once a process, and never undone: others may use them too. */
static void libraries_start(void)
{
    xmlInitParser();
    libraries_ready = curl_global_init(CURL_GLOBAL_DEFAULT) == CURLE_OK;
}

grv_status grv_s3_open(const grv_s3_config *config, grv_s3 **ret_s3, grv_error *error)
{
    pthread_once(&libraries_once, libraries_start);
    if (!libraries_ready) {
        return grv_error_set(error, GRV_INTERNAL, "s3", "libcurl does not start");
    }
    grv_s3 *s3 = calloc(1, sizeof *s3);
    if (!s3) {
        return grv_error_set(error, GRV_LIMIT_EXCEEDED, "s3", "no memory for a client");
    }
    grv_status status = grv_s3_settings_init(&s3->settings, config, error);
    if (status) {
        free(s3);
        return status;
    }
    pthread_mutex_init(&s3->lock, NULL);
    status = grv_s3_engine_start(s3, error);
    if (status) {
        pthread_mutex_destroy(&s3->lock);
        grv_s3_settings_done(&s3->settings);
        free(s3);
        return status;
    }
    *ret_s3 = s3;
    return GRV_OK;
}

void grv_s3_close(grv_s3 *s3)
{
    if (s3) {
        grv_s3_engine_stop(s3);
        pthread_mutex_destroy(&s3->lock);
        grv_s3_settings_done(&s3->settings);
        OPENSSL_cleanse(s3->key, sizeof s3->key);
        free(s3);
    }
}

const char *grv_s3_where(const grv_s3 *s3)
{
    return s3->settings.where;
}

unsigned grv_s3_connections(const grv_s3 *s3)
{
    return s3->settings.connections;
}

/* ---- Requests ---- */

void grv_s3_submit(const grv_call *call, grv_s3 *s3, grv_s3_request *request)
{
    request->status = GRV_OK;
    request->ended = false;
    request->unsure = false;
    request->waiter = NULL;
    request->transfer = NULL;
    request->answer = (grv_s3_answer){0};
    grv_s3_transfer *transfer = NULL;
    grv_status status = grv_s3_transfer_new(s3, request, &transfer, &request->error);
    if (status) {
        request->status = status;
        request->ended = true;
        return;
    }
    transfer->deadline_ns = call ? call->deadline_ns : 0;
    grv_s3_engine_add(s3, transfer);
}

/* Asks the engine to end the request, as GRV_CANCELLED or GRV_TIMEOUT. The lock is held. */
static void ask_to_end(grv_s3 *s3, grv_s3_request *request, grv_status status)
{
    grv_s3_transfer *transfer = request->transfer;
    if (!request->ended && !transfer->cancelled) {
        transfer->cancelled = status;
        transfer->cancel_next = s3->cancels;
        s3->cancels = transfer;
        grv_s3_engine_wake(s3);
    }
}

grv_status grv_s3_wait(const grv_call *call, grv_s3 *s3, grv_s3_request *request, grv_error *error)
{
    struct grv_s3_waiter waiter;
    grv_status given_up = GRV_OK;
    grv_wait_init(&waiter.ended);
    pthread_mutex_lock(&s3->lock);
    request->waiter = &waiter;
    while (!request->ended) {
        if (!given_up) {
            given_up = grv_call_check(call, "s3", error);
            if (given_up) {
                ask_to_end(s3, request, given_up);
            }
        }
        grv_wait(given_up ? NULL : call, &waiter.ended, &s3->lock);
    }
    request->waiter = NULL;
    pthread_mutex_unlock(&s3->lock);
    pthread_cond_destroy(&waiter.ended);
    if (error && request->status) {
        *error = request->error;
    }
    return request->status;
}

void grv_s3_cancel(grv_s3 *s3, grv_s3_request *request)
{
    struct grv_s3_waiter waiter;
    grv_wait_init(&waiter.ended);
    pthread_mutex_lock(&s3->lock);
    ask_to_end(s3, request, GRV_CANCELLED);
    request->waiter = &waiter;
    while (!request->ended) {
        grv_wait(NULL, &waiter.ended, &s3->lock);
    }
    request->waiter = NULL;
    pthread_mutex_unlock(&s3->lock);
    pthread_cond_destroy(&waiter.ended);
}

/* Whether the request came to an answer that its sender has said is none of a failure. */
static bool is_allowed(const grv_s3_request *request)
{
    return (request->allow_missing && request->status == GRV_NOT_FOUND) ||
           (request->allow_precondition && request->status == GRV_ALREADY_EXISTS);
}

grv_status grv_s3_run(const grv_call *call, grv_s3 *s3, grv_s3_request requests[], size_t count,
                      grv_error *error)
{
    grv_status status = GRV_OK;
    for (size_t i = 0; i < count; i++) {
        grv_s3_submit(call, s3, &requests[i]);
    }
    for (size_t i = 0; i < count; i++) {
        grv_error failure = GRV_ERROR_INIT;
        grv_status one = grv_s3_wait(call, s3, &requests[i], &failure);
        if (one && !is_allowed(&requests[i]) && !status) {
            status = one;
            if (error) {
                *error = failure;
            }
        }
    }
    return status;
}

/* ---- Checks ---- */

grv_status grv_s3_bucket_check(const grv_call *call, grv_s3 *s3, const char *bucket,
                               grv_error *error)
{
    /* A list of one key, and not a HEAD: its refusal says why, and its answer shows that this is
     * S3. */
    grv_error failure = GRV_ERROR_INIT;
    grv_buffer body;
    grv_buffer_init(&body, GRV_S3_XML_MAX);
    const grv_s3_pair query[] = {{"list-type", "2"}, {"max-keys", "1"}};
    grv_s3_request request = {.method = GRV_S3_GET,
                              .bucket = bucket,
                              .query = query,
                              .query_count = sizeof query / sizeof query[0],
                              .out = &body};
    grv_status status = grv_s3_run(call, s3, &request, 1, &failure);
    if (status && strcmp(request.answer.code, "NoSuchBucket") == 0) {
        status = grv_error_set(&failure, GRV_NOT_FOUND, "s3",
                               "there is no bucket %.63s at %s: make it, or name another", bucket,
                               grv_s3_where(s3));
    }
    if (!status) {
        char name[256];
        status = grv_s3_xml_text(grv_buffer_bytes(&body), "ListBucketResult", "Name", name,
                                 sizeof name, &failure);
        if (status) {
            status = grv_error_set(&failure, GRV_UNAVAILABLE, "s3",
                                   "what answers at %s is no S3 service", grv_s3_where(s3));
        }
    }
    grv_buffer_done(&body);
    if (status && error) {
        *error = failure;
    }
    return status;
}

grv_status grv_s3_key_check(const char *path, grv_error *error)
{
    size_t size = strlen(path);
    if (size == 0 || size > GRV_S3_KEY_MAX) {
        return grv_error_set(error, GRV_UNSUPPORTED, "s3",
                             "a path of %zu bytes: S3 has keys of 1 to %u bytes", size,
                             GRV_S3_KEY_MAX);
    }
    if (!grv_utf8_is_valid(grv_bytes_of(path, size))) {
        return grv_error_set(error, GRV_UNSUPPORTED, "s3",
                             "the path is not UTF-8, as S3 wants keys to be");
    }
    return GRV_OK;
}

grv_status grv_s3_put_id_draw(char ret_id[GRV_S3_PUT_ID_SIZE + 1], grv_error *error)
{
    uint8_t bytes[GRV_S3_PUT_ID_SIZE / 2];
    grv_status status = grv_random_fill(bytes, sizeof bytes, error);
    if (!status) {
        grv_hex_print(bytes, sizeof bytes, ret_id);
    }
    return status;
}
