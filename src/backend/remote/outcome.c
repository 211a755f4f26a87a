/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a try means. The rule: only a graviton server's own word makes a request a success, or a
 * blob absent; whatever else came, or did not come, is a failure, and tried again where another try
 * may help.
 */
#include "backend/remote/client.h"

#include <stdio.h>
#include <string.h>

static grv_status fail(const grv_remote *remote, grv_status status, const char *doing,
                       const char *why, grv_error *error)
{
    return grv_error_set(error, status, GRV_REMOTE_ORIGIN, "%s at %s: %s", doing,
                         remote->settings.where, why);
}

grv_status grv_remote_no_server(const grv_remote *remote, const char *doing, const char *why,
                                grv_error *error)
{
    return grv_error_set(error, GRV_UNAVAILABLE, GRV_REMOTE_ORIGIN,
                         "%s: %s answers, but is no graviton server (%s)", doing,
                         remote->settings.where, why);
}

/* curl could not end it. */
static grv_status judge_broken(const grv_remote_transfer *transfer, const char *doing,
                               bool *ret_again, grv_error *error)
{
    const grv_remote *remote = transfer->remote;
    const char *why =
        *transfer->curl_text ? transfer->curl_text : curl_easy_strerror(transfer->result);
    char text[CURL_ERROR_SIZE + 160];
    grv_remote_text_copy(text, sizeof text, why, strlen(why));
    switch (transfer->result) {
    case CURLE_OUT_OF_MEMORY:
        return fail(remote, GRV_LIMIT_EXCEEDED, doing, "no memory for a request", error);
    case CURLE_PEER_FAILED_VERIFICATION:
    case CURLE_SSL_CACERT_BADFILE:
    case CURLE_SSL_ISSUER_ERROR:
        snprintf(text, sizeof text,
                 "%.200s; GRAVITON_CA_BUNDLE names a file of the certificates to trust", why);
        return fail(remote, GRV_PERMISSION, doing, text, error);
    case CURLE_SSL_CONNECT_ERROR: /* often: one side speaks TLS and the other does not */
    case CURLE_UNSUPPORTED_PROTOCOL:
    case CURLE_WEIRD_SERVER_REPLY:
    case CURLE_BAD_CONTENT_ENCODING:
        return grv_remote_no_server(remote, doing, text, error);
    default:
        *ret_again = true;
        return fail(remote, GRV_UNAVAILABLE, doing, text, error);
    }
}

/* Answers after which another try may help. */
static bool is_passing(int http)
{
    return http == 408 || http == 429 || http == 502 || http == 503 || http == 504;
}

/* The word of something that is not graviton, a proxy perhaps. */
static grv_status judge_foreign(const grv_remote_transfer *transfer, const char *doing,
                                grv_error *error)
{
    int http = transfer->head.http;
    char text[96];
    if (is_passing(http)) {
        snprintf(text, sizeof text, "HTTP %d, from something before the server", http);
        return fail(transfer->remote, GRV_UNAVAILABLE, doing, text, error);
    }
    snprintf(text, sizeof text, "HTTP %d%s", http,
             http >= 300 && http < 400 ? ", a redirect: name the place that it leads to" : "");
    return grv_remote_no_server(transfer->remote, doing, text, error);
}

/* The status of a problem whose type is newer than this program. */
static grv_status status_of_http(int http)
{
    switch (http) {
    case 401:
    case 403:
        return GRV_PERMISSION;
    case 404:
        return GRV_NOT_FOUND;
    case 405:
    case 501:
        return GRV_UNSUPPORTED;
    case 409:
    case 412:
        return GRV_CONFLICT;
    case 413:
        return GRV_LIMIT_EXCEEDED;
    case 507:
        return GRV_OUT_OF_SPACE;
    default:
        return http >= 300 && http < 500 ? GRV_INVALID_ARGUMENT : GRV_UNAVAILABLE;
    }
}

static grv_status judge_refusal(const grv_remote_transfer *transfer, const char *doing,
                                bool *ret_again, grv_error *error)
{
    const grv_remote *remote = transfer->remote;
    const grv_remote_head *head = &transfer->head;
    grv_remote_problem problem;
    *ret_again = is_passing(head->http);
    if (!head->is_problem ||
        !grv_remote_decode_problem(grv_buffer_bytes(&transfer->refusal), &problem)) {
        return judge_foreign(transfer, doing, error);
    }
    grv_status status = problem.is_known ? problem.status : status_of_http(head->http);
    char text[480];
    if (strcmp(problem.type, "unauthorized") == 0) {
        snprintf(text, sizeof text, "%s",
                 remote->settings.token
                     ? "the server does not know this token; --token-file or GRAVITON_TOKEN names "
                       "another one"
                     : "the server wants a token; --token-file or GRAVITON_TOKEN names one");
    } else if (strcmp(problem.type, "forbidden") == 0) {
        snprintf(text, sizeof text,
                 "this token does not allow it (%.200s); --token-file or GRAVITON_TOKEN names "
                 "another one",
                 problem.detail);
    } else if (head->http >= 500 && *head->request_id) {
        snprintf(text, sizeof text, "%.319s (request %s in the server's log)", problem.detail,
                 head->request_id);
    } else {
        snprintf(text, sizeof text, "%s", problem.detail);
    }
    grv_status set = fail(remote, status, doing, text, error);
    if (error) {
        error->native_kind = GRV_NATIVE_HTTP;
        error->native_code = head->http;
    }
    return set;
}

grv_status grv_remote_judge(const grv_remote_transfer *transfer, const char *doing, bool *ret_again,
                            grv_error *error)
{
    const grv_remote *remote = transfer->remote;
    char text[96];
    *ret_again = false;
    switch (transfer->stop) {
    case GRV_REMOTE_STOP_EARLY:
        return GRV_OK;
    case GRV_REMOTE_STOP_LONG:
        return grv_remote_no_server(remote, doing, "the answer is larger than any", error);
    case GRV_REMOTE_STOP_STALL:
        *ret_again = true;
        snprintf(text, sizeof text, "no answer for %llu seconds",
                 (unsigned long long)(transfer->stall_ns / UINT64_C(1000000000)));
        return fail(remote, GRV_UNAVAILABLE, doing, text, error);
    case GRV_REMOTE_STOP_NONE:
        break;
    }
    if (transfer->result != CURLE_OK) {
        return judge_broken(transfer, doing, ret_again, error);
    }
    if (!transfer->head.is_whole) {
        /* curl takes the end of the connection for the end of the headers. */
        *ret_again = true;
        return fail(remote, GRV_UNAVAILABLE, doing, "the answer ended too early", error);
    }
    if (transfer->head.http >= 200 && transfer->head.http < 300) {
        return GRV_OK;
    }
    return judge_refusal(transfer, doing, ret_again, error);
}
