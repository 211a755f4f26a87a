/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the end of a try means. The rule: only an answer that says so makes a request a success, or
 * a key absent; whatever else came, or did not come, is a failure, tried again where another try
 * may help.
 */
#include "backend/s3/client.h"
#include "os/clock.h"

#include <ctype.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* Tries of what probably fails each time: a damaged body, a name that does not resolve. */
#define FEW_TRIES 3u
/* A clock that is off by more is set right where a refusal does not say why. */
#define SKEW_S 240

typedef enum repeat { NEVER = 0, ALWAYS, FEW } repeat;

/* Codes of errors, and for people what to do. Other codes mean what their HTTP status does. */
static const struct {
    const char *code;
    grv_status status;
    repeat again;
    const char *advice;
} codes[] = {
    {"AccessDenied", GRV_PERMISSION, NEVER, "these credentials may not do that"},
    {"AllAccessDisabled", GRV_PERMISSION, NEVER, "access is disabled"},
    {"AccountProblem", GRV_PERMISSION, NEVER, "the account has a problem"},
    {"InvalidAccessKeyId", GRV_PERMISSION, NEVER, "the service does not know the access key id"},
    {"SignatureDoesNotMatch", GRV_PERMISSION, NEVER, "the secret access key is a wrong one"},
    {"UserSuspended", GRV_PERMISSION, NEVER, "the user is suspended"},
    {"ExpiredToken", GRV_PERMISSION, NEVER, "the session token has expired"},
    {"InvalidToken", GRV_PERMISSION, NEVER, "the session token is not valid"},
    {"TokenRefreshRequired", GRV_PERMISSION, NEVER, "the session token has expired"},
    {"RequestTimeTooSkewed", GRV_PERMISSION, NEVER, "this machine's clock is wrong"},
    {"AuthorizationHeaderMalformed", GRV_INVALID_ARGUMENT, NEVER, "is the region right?"},
    {"NoSuchBucket", GRV_CONFLICT, NEVER, "there is no such bucket: make it, or name another"},
    {"InvalidBucketName", GRV_INVALID_ARGUMENT, NEVER, "no bucket can have this name"},
    {"BucketAlreadyExists", GRV_ALREADY_EXISTS, NEVER, "somebody has a bucket of this name"},
    {"BucketAlreadyOwnedByYou", GRV_ALREADY_EXISTS, NEVER, "the bucket is there already"},
    {"BucketNotEmpty", GRV_CONFLICT, NEVER, "the bucket is not empty"},
    {"InvalidObjectState", GRV_CONFLICT, NEVER, "the object is archived: restore it first"},
    {"QuotaExceeded", GRV_OUT_OF_SPACE, NEVER, "the quota is used up"},
    {"XMinioStorageFull", GRV_OUT_OF_SPACE, NEVER, "the service is full"},
    {"EntityTooLarge", GRV_LIMIT_EXCEEDED, NEVER, "larger than the service takes"},
    {"KeyTooLongError", GRV_LIMIT_EXCEEDED, NEVER, "the key is longer than the service takes"},
    {"NotImplemented", GRV_UNSUPPORTED, NEVER, "this service cannot do that"},
    {"MethodNotAllowed", GRV_UNSUPPORTED, NEVER, "this service cannot do that"},
    {"InvalidRange", GRV_INVALID_ARGUMENT, NEVER, "the range lies past the end"},
    {"PreconditionFailed", GRV_CONFLICT, NEVER, "the object is not the one expected"},
    {"SlowDown", GRV_UNAVAILABLE, ALWAYS, "the service asks for fewer requests"},
    {"ServiceUnavailable", GRV_UNAVAILABLE, ALWAYS, "the service is not ready"},
    {"InternalError", GRV_UNAVAILABLE, ALWAYS, "the service has failed"},
    {"RequestTimeout", GRV_UNAVAILABLE, ALWAYS, "the body came too slowly"},
    {"IncompleteBody", GRV_UNAVAILABLE, ALWAYS, "the body did not arrive whole"},
    {"OperationAborted", GRV_UNAVAILABLE, ALWAYS, "another request was in the way"},
    {"ConditionalRequestConflict", GRV_UNAVAILABLE, ALWAYS, "another request was in the way"},
    {"Throttling", GRV_UNAVAILABLE, ALWAYS, "the service asks for fewer requests"},
    {"RequestLimitExceeded", GRV_UNAVAILABLE, ALWAYS, "the service asks for fewer requests"},
    {"BandwidthLimitExceeded", GRV_UNAVAILABLE, ALWAYS, "the service asks for less"},
    {"BadDigest", GRV_UNAVAILABLE, FEW, "the body was changed on its way"},
    {"XAmzContentSHA256Mismatch", GRV_UNAVAILABLE, FEW, "the body was changed on its way"},
};

static size_t code_find(const char *code)
{
    size_t i = 0;
    while (i < COUNT(codes) && strcmp(codes[i].code, code) != 0) {
        i++;
    }
    return i;
}

grv_status grv_s3_status_of_code(const char *code, grv_status fallback)
{
    size_t found = code_find(code);
    if (found < COUNT(codes)) {
        return codes[found].status;
    }
    return strncmp(code, "NoSuch", 6) == 0 ? GRV_NOT_FOUND : fallback;
}

static grv_status status_of_http(int http)
{
    switch (http) {
    case 401:
    case 403:
    case 407:
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

static repeat repeat_of_http(int http)
{
    return http == 429 || http == 500 || http == 502 || http == 503 || http == 504 ? ALWAYS : NEVER;
}

static const char *verb_of(grv_s3_method method)
{
    switch (method) {
    case GRV_S3_GET:
        return "read";
    case GRV_S3_HEAD:
        return "look at";
    case GRV_S3_PUT:
        return "write";
    case GRV_S3_DELETE:
        return "remove";
    case GRV_S3_POST:
        break;
    }
    return "change";
}

void grv_s3_doing(const grv_s3 *s3, const grv_s3_request *request, char ret_text[GRV_S3_DOING_SIZE])
{
    const char *key = request->key ? request->key : "";
    size_t shown = strlen(key);
    bool whole = shown <= 120;
    shown = whole ? shown : 120;
    while (!whole && shown > 0 && ((unsigned char)key[shown] & 0xc0) == 0x80) {
        shown--; /* not in the middle of a character */
    }
    int size = snprintf(ret_text, GRV_S3_DOING_SIZE, "cannot %s s3://%.63s%s%.*s%s at %.80s",
                        verb_of(request->method), request->bucket, request->key ? "/" : "",
                        (int)shown, key, whole ? "" : "...", s3->settings.where);
    for (int i = 0; i < size && i < (int)GRV_S3_DOING_SIZE - 1; i++) {
        unsigned char c = (unsigned char)ret_text[i];
        ret_text[i] = (char)(c < ' ' || c == 0x7f ? '?' : c);
    }
}

/* Ends the request with a failure; `again` says whether another try may help. */
static grv_s3_verdict fail(grv_s3_transfer *transfer, grv_status status, repeat again,
                           const char *what)
{
    grv_s3_request *request = transfer->request;
    char doing[GRV_S3_DOING_SIZE];
    grv_s3_doing(transfer->s3, request, doing);
    request->status = grv_error_set(&request->error, status, "s3", "%s: %s", doing, what);
    if (request->answer.http) {
        request->error.native_kind = GRV_NATIVE_HTTP;
        request->error.native_code = request->answer.http;
    }
    transfer->few_tries += again == FEW;
    return again == ALWAYS || (again == FEW && transfer->few_tries < FEW_TRIES) ? GRV_S3_AGAIN
                                                                                : GRV_S3_END;
}

/* ---- No answer, or not all of one ---- */

static grv_s3_verdict judge_stop(grv_s3_transfer *transfer)
{
    grv_s3_request *request = transfer->request;
    char text[128];
    switch (transfer->stop) {
    case GRV_S3_STOP_LONG:
        return fail(transfer, GRV_CORRUPT, NEVER,
                    "the service sent more bytes than were asked for");
    case GRV_S3_STOP_BUFFER:
        snprintf(text, sizeof text, "the answer is larger than the %zu bytes it may have",
                 request->out->max);
        return fail(transfer, GRV_LIMIT_EXCEEDED, NEVER, text);
    case GRV_S3_STOP_STALL:
        request->unsure = request->unsure || transfer->went;
        snprintf(text, sizeof text, "nothing has moved for %.1f s",
                 (double)transfer->stall_ns / 1e9);
        return fail(transfer, GRV_UNAVAILABLE, ALWAYS, text);
    case GRV_S3_STOP_LOCAL:
    case GRV_S3_STOP_NONE:
        break;
    }
    request->unsure = request->unsure || transfer->went;
    char reason[64];
    snprintf(text, sizeof text, "cannot wait for the connection: %s",
             strerror_r(transfer->stop_errno, reason, sizeof reason));
    return fail(transfer, GRV_UNAVAILABLE, ALWAYS, text);
}

static grv_s3_verdict judge_broken(grv_s3_transfer *transfer, CURLcode result)
{
    grv_s3_request *request = transfer->request;
    const char *said = transfer->curl_text[0] ? transfer->curl_text : curl_easy_strerror(result);
    char text[CURL_ERROR_SIZE];
    grv_s3_text_copy(text, sizeof text, said, strnlen(said, CURL_ERROR_SIZE - 1));
    switch (result) {
    case CURLE_OUT_OF_MEMORY:
        return fail(transfer, GRV_LIMIT_EXCEEDED, NEVER, "no memory");
    case CURLE_PEER_FAILED_VERIFICATION:
        return fail(transfer, GRV_PERMISSION, NEVER, text);
    case CURLE_URL_MALFORMAT:
    case CURLE_SSL_CACERT_BADFILE:
        return fail(transfer, GRV_INVALID_ARGUMENT, NEVER, text);
    case CURLE_COULDNT_RESOLVE_HOST:
    case CURLE_COULDNT_RESOLVE_PROXY:
    case CURLE_UNSUPPORTED_PROTOCOL: /* what answers does not speak HTTP */
        return fail(transfer, GRV_UNAVAILABLE, FEW, text);
    default:
        request->unsure = request->unsure || transfer->went;
        return fail(transfer, GRV_UNAVAILABLE, ALWAYS, text);
    }
}

/* ---- Answers that refuse ---- */

/* Sets the handle's clock right by the answer's date, once a request. */
static bool correct_clock(grv_s3_transfer *transfer)
{
    uint64_t date_ns = transfer->head.answer.date_ns;
    const char *code = transfer->request->answer.code;
    if (transfer->corrected || date_ns == 0) {
        return false;
    }
    int64_t skew_s = (int64_t)(date_ns / UINT64_C(1000000000)) -
                     (int64_t)(grv_clock_realtime_ns() / UINT64_C(1000000000));
    int64_t change_s = skew_s - transfer->s3->skew_s;
    bool off = change_s > SKEW_S || change_s < -SKEW_S;
    bool said = strcmp(code, "RequestTimeTooSkewed") == 0;
    bool silent = transfer->head.answer.http == 403 && !*code; /* of a HEAD */
    if (!said && !(silent && off)) {
        return false;
    }
    transfer->corrected = true;
    transfer->s3->skew_s = skew_s;
    return true;
}

/* A key, an upload or a setting that is not there; never a bucket, and never an answer that is not
 * this service's. */
static bool is_missing(const grv_s3_request *request)
{
    const grv_s3_answer *answer = &request->answer;
    if (answer->http != 404 || strcmp(answer->code, "NoSuchBucket") == 0) {
        return false;
    }
    return answer->code[0] ? strncmp(answer->code, "NoSuch", 6) == 0
                           : request->method == GRV_S3_HEAD;
}

/* In words: the status, the service's code and message, what to do, and the request's id. */
static void print_refusal(const grv_s3_transfer *transfer, const char *message, char *ret_text,
                          size_t size)
{
    const grv_s3_answer *answer = &transfer->request->answer;
    size_t found = code_find(answer->code);
    const char *advice = found < COUNT(codes) ? codes[found].advice : message;
    char redirect[160] = "";
    if (answer->http >= 300 && answer->http < 400) {
        snprintf(redirect, sizeof redirect, ": the bucket is elsewhere%s%s, name that",
                 transfer->head.bucket_region[0] ? ", in region " : "",
                 transfer->head.bucket_region);
        advice = "";
    }
    snprintf(ret_text, size, "HTTP %d%s%s%s%.120s%s%s%s%s", answer->http,
             answer->code[0] ? " " : "", answer->code, *advice ? ": " : "", advice, redirect,
             answer->request_id[0] ? " (request " : "", answer->request_id,
             answer->request_id[0] ? ")" : "");
}

static grv_s3_verdict judge_refusal(grv_s3_transfer *transfer, int http)
{
    grv_s3_request *request = transfer->request;
    char message[128] = "";
    if (request->method != GRV_S3_HEAD && transfer->refusal.size > 0) {
        (void)grv_s3_refusal_parse(grv_buffer_bytes(&transfer->refusal), &request->answer, message,
                                   sizeof message);
    }
    char text[400];
    print_refusal(transfer, message, text, sizeof text);
    if (correct_clock(transfer)) {
        (void)fail(transfer, GRV_PERMISSION, NEVER, text);
        return GRV_S3_AT_ONCE;
    }
    if (http == 412 && request->allow_precondition) {
        (void)fail(transfer, GRV_ALREADY_EXISTS, NEVER, text);
        return GRV_S3_END;
    }
    if (http == 404 && !request->answer.code[0] && request->method != GRV_S3_HEAD) {
        return fail(transfer, GRV_UNAVAILABLE, FEW,
                    "HTTP 404, which is no answer of S3: is there "
                    "another service at this address?");
    }
    if (is_missing(request)) {
        return fail(transfer, GRV_NOT_FOUND, NEVER, text);
    }
    const char *code = request->answer.code;
    size_t found = code_find(code);
    repeat again = found < COUNT(codes) ? codes[found].again : repeat_of_http(http);
    if (again && http >= 500) {
        request->unsure = true;
    }
    return fail(transfer, grv_s3_status_of_code(code, status_of_http(http)), again, text);
}

/* ---- Answers of success ---- */

/* Whether what begins as XML also ends with its root element. A service that sends no length cannot
 * tell an answer that breaks off from one that ends; a parser can, but not that another try may
 * help. */
static bool breaks_off(grv_bytes xml)
{
    const char *text = (const char *)xml.data;
    size_t first = 0;
    while (first + 1 < xml.size &&
           !(text[first] == '<' && isalpha((unsigned char)text[first + 1]))) {
        first++;
    }
    size_t name = 1;
    while (first + name < xml.size && isalnum((unsigned char)text[first + name])) {
        name++;
    }
    size_t end = xml.size;
    while (end > 0 && isspace((unsigned char)text[end - 1])) {
        end--;
    }
    /* "</NAME>", or "/>" of a root without anything in it. */
    if (end < name + 2 || text[end - 1] != '>') {
        return true;
    }
    return text[end - 2] != '/' && memcmp(text + end - name, text + first + 1, name - 1) != 0;
}

static grv_s3_verdict judge_success(grv_s3_transfer *transfer)
{
    grv_s3_request *request = transfer->request;
    grv_s3_answer *answer = &request->answer;
    const grv_s3_head *head = &transfer->head;
    char text[160];
    if (request->method == GRV_S3_HEAD && request->key && !head->has_length) {
        return fail(transfer, GRV_UNAVAILABLE, FEW, "the answer does not say how large it is");
    }
    if (!head->has_length) {
        answer->content_length = transfer->received;
    }
    answer->object_size = head->has_range ? head->total : answer->content_length;
    bool is_part = answer->http == 206 && head->has_range;
    if (transfer->is_ranged &&
        (is_part ? head->range_first != transfer->range_first : transfer->range_first > 0)) {
        return fail(transfer, GRV_CORRUPT, FEW, "the answer is another part than was asked for");
    }
    if (is_part && transfer->received != head->range_size) {
        snprintf(text, sizeof text, "%" PRIu64 " bytes were told of and %" PRIu64 " came",
                 head->range_size, transfer->received);
        return fail(transfer, GRV_CORRUPT, FEW, text);
    }
    if (transfer->received < request->into.size) {
        snprintf(text, sizeof text, "%zu bytes were asked for and %zu came", request->into.size,
                 (size_t)transfer->received);
        return fail(transfer, GRV_CORRUPT, FEW, text);
    }
    if (request->method == GRV_S3_GET && !request->key && request->out &&
        breaks_off(grv_bytes_of(request->out->data + transfer->out_start,
                                request->out->size - transfer->out_start))) {
        return fail(transfer, GRV_UNAVAILABLE, FEW, "the answer breaks off");
    }
    /* A copy, or the end of a multipart upload, may begin as a success before it is one. */
    bool writes = request->method == GRV_S3_PUT || request->method == GRV_S3_POST;
    if (writes && request->out) {
        grv_bytes body = grv_bytes_of(request->out->data + transfer->out_start,
                                      request->out->size - transfer->out_start);
        char message[128];
        if (body.size > 0 && grv_s3_refusal_parse(body, answer, message, sizeof message)) {
            repeat again = ALWAYS;
            size_t found = code_find(answer->code);
            again = found < COUNT(codes) ? codes[found].again : again;
            print_refusal(transfer, message, text, sizeof text);
            request->unsure = request->unsure || again;
            return fail(transfer, grv_s3_status_of_code(answer->code, GRV_UNAVAILABLE), again,
                        text);
        }
    }
    request->status = GRV_OK;
    return GRV_S3_END;
}

grv_s3_verdict grv_s3_judge(grv_s3_transfer *transfer, CURLcode result)
{
    grv_s3_request *request = transfer->request;
    request->answer = transfer->head.answer;
    int http = request->answer.http;
    if (transfer->stop) {
        return judge_stop(transfer);
    }
    if (result == CURLE_OK && !transfer->head.is_whole) {
        /* curl takes the end of the connection for the end of the headers. */
        snprintf(transfer->curl_text, sizeof transfer->curl_text, "the answer ended too early");
        result = CURLE_PARTIAL_FILE;
    }
    if (result != CURLE_OK) {
        return judge_broken(transfer, result);
    }
    if (http >= 200 && http < 300) {
        return judge_success(transfer);
    }
    return judge_refusal(transfer, http);
}
