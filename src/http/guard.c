/* SPDX-License-Identifier: Apache-2.0 */
/*
 * libmicrohttpd 0.9.75 takes folded lines, bytes after a NUL, bare line feeds, and several framing
 * fields at once without a word. Its fields lie in the order of their lines in the buffer that was
 * received, and point into it: where one does not begin exactly behind the line before, something
 * was left out or glued together.
 */
#include "http/guard.h"

#include "http/fields.h"

#include <string.h>
#include <strings.h>

typedef struct guard {
    http_framing framing;
    const char *fault;
    const char *end; /* of the line before, its CR LF included */
    unsigned lengths;
    unsigned encodings;
    unsigned hosts;
    unsigned expects;
} guard;

static bool is_token(const char *text, size_t size)
{
    bool good = size > 0;
    for (size_t i = 0; good && i < size; i++) {
        good = http_is_token(text[i]);
    }
    return good;
}

static bool is_named(const char *name, size_t size, const char *wanted)
{
    return size == strlen(wanted) && strncasecmp(name, wanted, size) == 0;
}

/* Spaces and tabs at the end are no part of a value. */
static size_t value_trim(const char *value, size_t size)
{
    while (size > 0 && (value[size - 1] == ' ' || value[size - 1] == '\t')) {
        size--;
    }
    return size;
}

static const char *length_parse(guard *state, const char *value, size_t size)
{
    uint64_t length = 0;
    bool good = size > 0;
    for (size_t i = 0; good && i < size; i++) {
        good = value[i] >= '0' && value[i] <= '9' && !__builtin_mul_overflow(length, 10, &length) &&
               !__builtin_add_overflow(length, (uint64_t)(value[i] - '0'), &length);
    }
    /* What libmicrohttpd made of "5 " need not be 5. */
    if (!good || length > INT64_MAX) {
        return "Content-Length is not a number";
    }
    state->framing.has_length = true;
    state->framing.length = length;
    return state->lengths++ > 0 ? "Content-Length stands there twice" : NULL;
}

static const char *field_check(guard *state, const char *name, size_t name_size, const char *value,
                               size_t size)
{
    if (!is_token(name, name_size)) {
        return "the name of a header field is not a token";
    }
    for (size_t i = 0; i < size; i++) {
        unsigned char byte = (unsigned char)value[i];
        if ((byte < 0x20 && byte != '\t') || byte == 0x7f) {
            return "a header field has a control character";
        }
    }
    if (is_named(name, name_size, "content-length")) {
        return length_parse(state, value, size);
    }
    size_t trimmed = value_trim(value, size);
    if (is_named(name, name_size, "transfer-encoding")) {
        state->framing.is_chunked = true;
        if (!is_named(value, size, "chunked")) {
            return "a Transfer-Encoding other than chunked";
        }
        return state->encodings++ > 0 ? "Transfer-Encoding stands there twice" : NULL;
    }
    if (is_named(name, name_size, "host")) {
        return state->hosts++ > 0 ? "Host stands there twice" : NULL;
    }
    if (is_named(name, name_size, "expect")) {
        state->framing.expect = value;
        return state->expects++ > 0 || trimmed != size ? "a malformed Expect" : NULL;
    }
    return NULL;
}

static enum MHD_Result guard_field(void *context, enum MHD_ValueKind kind, const char *name,
                                   size_t name_size, const char *value, size_t size)
{
    guard *state = context;
    (void)kind;
    const char *at = name + name_size + 1;
    bool adjoins = name == state->end && value;
    while (adjoins && at < value && (*at == ' ' || *at == '\t')) {
        at++;
    }
    if (!adjoins || at != value) {
        state->fault = "a header line that is continued, has a NUL or ends without CR LF";
        return MHD_NO;
    }
    state->end = value + size + 2;
    state->fault = field_check(state, name, name_size, value, size);
    return state->fault ? MHD_NO : MHD_YES;
}

const char *http_guard_check(struct MHD_Connection *connection, const char *method, const char *url,
                             const char *version, http_framing *ret_framing)
{
    guard state = {.end = version + strlen(version) + 2};
    MHD_get_connection_values_n(connection, MHD_HEADER_KIND, guard_field, &state);
    if (state.fault) {
        return state.fault;
    }
    const union MHD_ConnectionInfo *size =
        MHD_get_connection_info(connection, MHD_CONNECTION_INFO_REQUEST_HEADER_SIZE);
    if (!size || method + size->header_size != state.end + 2) {
        return "a header line that is continued, has a NUL or ends without CR LF";
    }
    if (url != method + strlen(method) + 1) {
        return "more than one space in the request line";
    }
    if (strcmp(version, "HTTP/1.1") != 0 && strcmp(version, "HTTP/1.0") != 0) {
        return "a version other than HTTP/1.1 and HTTP/1.0";
    }
    if (state.encodings > 0 && state.lengths > 0) {
        return "Content-Length beside Transfer-Encoding";
    }
    if (state.encodings > 0 && strcmp(version, "HTTP/1.0") == 0) {
        return "Transfer-Encoding with HTTP/1.0";
    }
    *ret_framing = state.framing;
    return NULL;
}
