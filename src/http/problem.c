/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Problem documents (RFC 9457): the one table of types that docs/http.md lists, and what a failure
 * becomes. It guards that nothing about the server leaves in an error: what a store says of itself
 * names paths, hosts and keys, so of its errors a client gets a sentence of the status only.
 */
#include "http/http.h"
#include "http/text.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Seconds after which a client may try again what failed for a reason that passes. */
#define PROBLEM_RETRY_AFTER "2"

typedef struct problem_type {
    const char *name;
    const char *title;
    unsigned status;
} problem_type;

static const problem_type problem_types[] = {
    {"bad-request", "Bad request", 400},
    {"digest-mismatch", "Digest mismatch", 400},
    {"unauthorized", "Unauthorized", 401},
    {"forbidden", "Forbidden", 403},
    {"not-found", "Not found", 404},
    {"method-not-allowed", "Method not allowed", 405},
    {"request-timeout", "Request timeout", 408},
    {"already-exists", "Already exists", 409},
    {"conflict", "Conflict", 409},
    {"busy", "Busy", 409},
    {"key-mismatch", "Key mismatch", 409},
    {"precondition-failed", "Precondition failed", 412},
    {"content-too-large", "Content too large", 413},
    {"uri-too-long", "URI too long", 414},
    {"unsupported-media-type", "Unsupported media type", 415},
    {"range-not-satisfiable", "Range not satisfiable", 416},
    {"expectation-failed", "Expectation failed", 417},
    {"too-many-requests", "Too many requests", 429},
    {"headers-too-large", "Headers too large", 431},
    {"internal", "Internal error", 500},
    {"corrupt", "Stored bytes are damaged", 500},
    {"permission", "The store refused access", 500},
    {"unsupported", "Not supported", 501},
    {"limit-exceeded", "Out of capacity", 503},
    {"unavailable", "Unavailable", 503},
    {"cancelled", "Cancelled", 503},
    {"timeout", "Timeout", 504},
    {"out-of-space", "Storage is full", 507},
};

/* What a failure is to a client, by its status. */
static const struct {
    const char *type;
    const char *sentence;
} problem_statuses[GRV_STATUS_COUNT] = {
    [GRV_OK] = {"internal", "the server failed, and did not say why"},
    [GRV_NOT_FOUND] = {"not-found", "what was asked for is not there"},
    [GRV_ALREADY_EXISTS] = {"already-exists", "it is there already"},
    [GRV_INVALID_ARGUMENT] = {"bad-request", "the store does not accept these arguments"},
    [GRV_CORRUPT] = {"corrupt", "stored bytes are not what was stored"},
    [GRV_UNAVAILABLE] = {"unavailable", "the store is not there now"},
    [GRV_TIMEOUT] = {"timeout", "the store did not answer in time"},
    [GRV_PERMISSION] = {"permission", "the server was refused access by its own store"},
    [GRV_OUT_OF_SPACE] = {"out-of-space", "storage is full; reads and deletions go on"},
    [GRV_LIMIT_EXCEEDED] = {"limit-exceeded", "the server has no memory or turn for this now"},
    [GRV_CONFLICT] = {"conflict", "the store is not in the state that this wants"},
    [GRV_UNSUPPORTED] = {"unsupported", "this store cannot do that"},
    [GRV_CANCELLED] = {"cancelled", "the server stopped before this was done"},
    [GRV_INTERNAL] = {"internal", "the server met a defect of its own"},
};

static const problem_type *problem_find(const char *name)
{
    for (size_t i = 0; i < sizeof problem_types / sizeof *problem_types; i++) {
        if (strcmp(problem_types[i].name, name) == 0) {
            return &problem_types[i];
        }
    }
    return NULL;
}

unsigned http_problem_status(const char *type)
{
    const problem_type *found = problem_find(type);
    return found ? found->status : 0;
}

const char *http_problem_of_status(grv_status status)
{
    unsigned index = (unsigned)status < GRV_STATUS_COUNT ? (unsigned)status : GRV_INTERNAL;
    return problem_statuses[index].type;
}

/* A reply that was begun is dropped whole: no header of it may stand beside an error. */
static void reply_drop(http_reply *reply)
{
    grv_source_free(reply->source);
    reply->source = NULL;
    reply->length = 0;
    reply->status = 0;
    reply->text.size = 0;
    reply->event_period_ms = 0;
    reply->make_event = NULL;
    reply->headers.size = 0;
}

/* The document as text, malloc'ed; NULL without memory. */
static char *problem_print(const http_exchange *exchange, const problem_type *type,
                           const char *detail)
{
    char urn[64];
    snprintf(urn, sizeof urn, "urn:graviton:problem:%s", type->name);
    json_t *object = json_object();
    bool whole = http_json_set(object, "type", json_string(urn));
    whole = whole && http_json_set(object, "title", json_string(type->title));
    whole = whole && http_json_set(object, "status", http_json_number(type->status));
    whole = whole &&
            http_json_set(object, "detail", http_json_text(grv_bytes_of(detail, strlen(detail))));
    whole = whole && http_json_set(object, "request_id", json_string(exchange->request_id));
    char *text = whole ? json_dumps(object, JSON_PRESERVE_ORDER) : NULL;
    json_decref(object);
    return text;
}

grv_status http_reply_problem(http_exchange *exchange, const char *type, const char *detail,
                              grv_error *error)
{
    const problem_type *found = problem_find(type);
    if (!found) {
        return grv_error_set(error, GRV_INTERNAL, "problem", "unknown problem type \"%s\"", type);
    }
    reply_drop(&exchange->reply);
    char *text = problem_print(exchange, found, detail);
    if (!text) {
        return grv_error_set(error, GRV_LIMIT_EXCEEDED, "problem", "no memory for a problem");
    }
    grv_status status = http_reply_text(exchange, found->status, "application/problem+json",
                                        grv_bytes_of(text, strlen(text)), error);
    free(text);
    if (!status && found->status == 401) {
        status = http_reply_header(exchange, "WWW-Authenticate", "Bearer", error);
    }
    if (!status && (found->status == 503 || found->status == 504)) {
        status = http_reply_header(exchange, "Retry-After", PROBLEM_RETRY_AFTER, error);
    }
    return status;
}

/* Whether a failure is about what the client sent, so that its words may be shown. Keys and ranges
 * are parsed out of stored bytes too; those failures are never GRV_INVALID_ARGUMENT. */
static bool failure_is_clients(const grv_error *failure)
{
    if (strcmp(failure->origin, "http") == 0) {
        return true;
    }
    return failure->status == GRV_INVALID_ARGUMENT &&
           (strcmp(failure->origin, "key") == 0 || strcmp(failure->origin, "range") == 0);
}

const char *http_problem_detail(const grv_error *failure)
{
    unsigned status = (unsigned)failure->status;
    if (failure_is_clients(failure)) {
        return failure->message;
    }
    return problem_statuses[status < GRV_STATUS_COUNT ? status : GRV_INTERNAL].sentence;
}

grv_status http_reply_failure(http_exchange *exchange, const grv_error *failure, grv_error *error)
{
    return http_reply_problem(exchange, http_problem_of_status(failure->status),
                              http_problem_detail(failure), error);
}
