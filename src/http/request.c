/* SPDX-License-Identifier: Apache-2.0 */
/* What routes ask of a request: its fields, its query, its body as JSON, its parameters as ids. */
#include "http/exchange.h"
#include "http/router.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* Most arguments in a query. */
#define QUERY_MAX 32u

/* ---- Fields ---- */

const char *http_header(http_exchange *exchange, const char *name)
{
    return MHD_lookup_connection_value(exchange->transfer->connection, MHD_HEADER_KIND, name);
}

typedef struct header_join {
    const char *name;
    grv_buffer text;
    bool found;
    grv_status status;
    grv_error *error;
} header_join;

static enum MHD_Result header_join_one(void *context, enum MHD_ValueKind kind, const char *name,
                                       const char *value)
{
    header_join *join = context;
    (void)kind;
    if (strcasecmp(name, join->name) != 0 || !value) {
        return MHD_YES;
    }
    if (join->found) {
        join->status = grv_buffer_append(&join->text, grv_bytes_of(", ", 2), join->error);
    }
    join->found = true;
    if (!join->status) {
        join->status =
            grv_buffer_append(&join->text, grv_bytes_of(value, strlen(value)), join->error);
    }
    return join->status ? MHD_NO : MHD_YES;
}

grv_status http_header_joined(http_exchange *exchange, const char *name, char **ret_value,
                              grv_error *error)
{
    header_join join = {.name = name, .error = error};
    grv_buffer_init(&join.text, SIZE_MAX);
    MHD_get_connection_values(exchange->transfer->connection, MHD_HEADER_KIND, header_join_one,
                              &join);
    if (!join.status && join.found) {
        join.status = grv_buffer_append(&join.text, grv_bytes_of("", 1), error);
    }
    if (join.status) {
        grv_buffer_done(&join.text);
        return join.status;
    }
    *ret_value = (char *)join.text.data;
    return GRV_OK;
}

/* ---- The query ---- */

/* A name or value in place: "+" is a space, escapes are decoded. */
static bool query_decode(char *text)
{
    size_t size = strlen(text);
    for (size_t i = 0; i < size; i++) {
        if (text[i] == '+') {
            text[i] = ' ';
        }
    }
    return http_percent_decode(text, size, &size);
}

/* Takes the query apart, in place, at its first use. */
static grv_status query_parse(http_transfer *transfer, grv_error *error)
{
    if (transfer->query_is_parsed || !transfer->query) {
        return GRV_OK;
    }
    transfer->arguments = calloc(QUERY_MAX, sizeof *transfer->arguments);
    if (!transfer->arguments) {
        return grv_error_set(error, GRV_LIMIT_EXCEEDED, "query", "no memory for a query");
    }
    transfer->query_is_parsed = true;
    char *rest = transfer->query;
    while (rest) {
        char *name = strsep(&rest, "&");
        char *value = strchr(name, '=');
        if (value) {
            *value++ = '\0';
        }
        if (!*name) {
            continue;
        }
        if (transfer->argument_count == QUERY_MAX) {
            return grv_error_set(error, GRV_INVALID_ARGUMENT, "http",
                                 "more than %u arguments in the query", QUERY_MAX);
        }
        if (!query_decode(name) || (value && !query_decode(value))) {
            return grv_error_set(error, GRV_INVALID_ARGUMENT, "http",
                                 "the query has a wrong escape");
        }
        transfer->arguments[transfer->argument_count].name = name;
        transfer->arguments[transfer->argument_count++].value = value ? value : "";
    }
    return GRV_OK;
}

grv_status http_query(http_exchange *exchange, const char *name, const char **ret_value,
                      grv_error *error)
{
    http_transfer *transfer = exchange->transfer;
    grv_status status = query_parse(transfer, error);
    if (status) {
        return status;
    }
    const char *value = NULL;
    for (size_t i = 0; i < transfer->argument_count; i++) {
        const char *found = transfer->arguments[i].name;
        if (!found || strcmp(found, name) != 0) {
            continue;
        }
        if (value) {
            return grv_error_set(error, GRV_INVALID_ARGUMENT, "http", "the query has %s twice",
                                 name);
        }
        value = transfer->arguments[i].value;
    }
    *ret_value = value;
    return GRV_OK;
}

grv_status http_query_number(http_exchange *exchange, const char *name, uint64_t min, uint64_t max,
                             uint64_t fallback, uint64_t *ret_value, grv_error *error)
{
    const char *text = NULL;
    grv_status status = http_query(exchange, name, &text, error);
    if (status) {
        return status;
    }
    uint64_t number = text ? 0 : fallback;
    bool good = !text || *text;
    for (const char *at = text; good && at && *at; at++) {
        good = *at >= '0' && *at <= '9' && !__builtin_mul_overflow(number, 10, &number) &&
               !__builtin_add_overflow(number, (uint64_t)(*at - '0'), &number);
    }
    if (!good || (text && (number < min || number > max))) {
        return grv_error_set(error, GRV_INVALID_ARGUMENT, "http",
                             "%s must be a number from %" PRIu64 " to %" PRIu64, name, min, max);
    }
    *ret_value = number;
    return GRV_OK;
}

/* ---- Body and parameters ---- */

grv_status http_body_json(http_exchange *exchange, json_t **ret_object, grv_error *error)
{
    json_error_t where;
    json_t *object = exchange->body.size == 0
                         ? json_object()
                         : json_loadb((const char *)exchange->body.data, exchange->body.size,
                                      JSON_REJECT_DUPLICATES, &where);
    if (!object && exchange->body.size == 0) {
        return grv_error_set(error, GRV_LIMIT_EXCEEDED, "body", "no memory for a JSON object");
    }
    if (!object) {
        return grv_error_set(error, GRV_INVALID_ARGUMENT, "http",
                             "the body is not JSON: line %d, column %d", where.line, where.column);
    }
    if (!json_is_object(object)) {
        json_decref(object);
        return grv_error_set(error, GRV_INVALID_ARGUMENT, "http", "the body is no JSON object");
    }
    *ret_object = object;
    return GRV_OK;
}

grv_status http_param_blob(http_exchange *exchange, unsigned index, grv_blob_key *ret_key,
                           grv_error *error)
{
    const char *text = exchange->params[index];
    return grv_blob_key_parse(grv_bytes_of(text, strlen(text)), ret_key, error);
}
