/* SPDX-License-Identifier: Apache-2.0 */
/* Ranges, entity tags, media types and trace ids. */
#include "http/fields.h"

#include <assert.h>
#include <string.h>
#include <strings.h>

static const char *skip_space(const char *at)
{
    while (*at == ' ' || *at == '\t') {
        at++;
    }
    return at;
}

/* ---- Ranges ---- */

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* Reads digits; a number that does not fit is UINT64_MAX, which is past the end of anything. */
static bool number_parse(const char **at, uint64_t *ret_number)
{
    uint64_t number = 0;
    if (!is_digit(**at)) {
        return false;
    }
    for (; is_digit(**at); (*at)++) {
        if (__builtin_mul_overflow(number, UINT64_C(10), &number) ||
            __builtin_add_overflow(number, (uint64_t)(**at - '0'), &number)) {
            while (is_digit(**at)) {
                (*at)++;
            }
            number = UINT64_MAX;
            break;
        }
    }
    *ret_number = number;
    return true;
}

/* Reads one range of a list. *ret_there tells whether it can be satisfied; where it cannot, or the
 * thing has no bytes, the range is empty. */
static bool range_parse_one(const char **at, uint64_t size, grv_range *ret_range, bool *ret_there)
{
    uint64_t first = 0;
    uint64_t last = UINT64_MAX;
    if (**at == '-') {
        (*at)++;
        uint64_t suffix;
        if (!number_parse(at, &suffix)) {
            return false;
        }
        *ret_there = suffix > 0;
        *ret_range = (grv_range){suffix < size ? size - suffix : 0, size};
        return true;
    }
    if (!number_parse(at, &first) || **at != '-') {
        return false;
    }
    (*at)++;
    if (is_digit(**at)) {
        number_parse(at, &last);
        if (last < first) {
            return false;
        }
    }
    *ret_there = first < size;
    *ret_range = *ret_there ? (grv_range){first, last < size ? last + 1 : size} : (grv_range){0, 0};
    return true;
}

/* Adds a range, joined with those that it overlaps or touches; it takes the place of the first. */
static void ranges_add(http_ranges *ranges, grv_range range)
{
    unsigned place = ranges->count;
    for (unsigned i = ranges->count; i-- > 0;) {
        grv_range other = ranges->ranges[i];
        if (other.first > range.end || range.first > other.end) {
            continue;
        }
        range.first = other.first < range.first ? other.first : range.first;
        range.end = other.end > range.end ? other.end : range.end;
        memmove(&ranges->ranges[i], &ranges->ranges[i + 1],
                (ranges->count - i - 1) * sizeof ranges->ranges[0]);
        ranges->count--;
        place = i;
    }
    assert(ranges->count < HTTP_RANGES_MAX && place <= ranges->count);
    memmove(&ranges->ranges[place + 1], &ranges->ranges[place],
            (ranges->count - place) * sizeof ranges->ranges[0]);
    ranges->ranges[place] = range;
    ranges->count++;
}

http_range_kind http_range_parse(const char *field, uint64_t size, http_ranges *ret_ranges)
{
    static const char unit[] = "bytes=";
    if (!field || strncasecmp(field, unit, sizeof unit - 1) != 0) {
        return HTTP_RANGE_NONE;
    }
    const char *at = field + sizeof unit - 1;
    http_ranges ranges = {0};
    unsigned named = 0;
    bool any = false;
    for (;;) {
        at = skip_space(at);
        if (*at == ',') { /* an empty element of a list says nothing */
            at++;
            continue;
        }
        if (*at == '\0') {
            break;
        }
        grv_range range;
        bool there;
        if (named == HTTP_RANGES_MAX || !range_parse_one(&at, size, &range, &there)) {
            return HTTP_RANGE_NONE;
        }
        named++;
        any = any || there;
        if (range.first < range.end) {
            ranges_add(&ranges, range);
        }
        at = skip_space(at);
        if (*at != ',' && *at != '\0') {
            return HTTP_RANGE_NONE;
        }
    }
    if (named > 0 && !any) {
        return HTTP_RANGE_UNSATISFIABLE;
    }
    if (ranges.count == 0) { /* the last bytes of nothing are there, but no 206 could say which */
        return HTTP_RANGE_NONE;
    }
    *ret_ranges = ranges;
    return HTTP_RANGE_SOME;
}

/* ---- Entity tags ---- */

bool http_etag_listed(const char *field, const char *tag, bool weak)
{
    const char *at = skip_space(field);
    size_t length = strlen(tag);
    if (*at == '*') {
        return *skip_space(at + 1) == '\0';
    }
    while (*at) {
        if (*at == ',') {
            at = skip_space(at + 1);
            continue;
        }
        bool is_weak = at[0] == 'W' && at[1] == '/';
        at += is_weak ? 2 : 0;
        const char *end = *at == '"' ? strchr(at + 1, '"') : NULL;
        if (!end) {
            return false;
        }
        end++;
        if ((size_t)(end - at) == length && memcmp(at, tag, length) == 0 && (weak || !is_weak)) {
            return true;
        }
        at = skip_space(end);
        if (*at && *at != ',') {
            return false;
        }
    }
    return false;
}

/* ---- Media types ---- */

/* The end of a token, `at` where there is none. */
static size_t token_end(grv_bytes text, size_t at)
{
    while (at < text.size && http_is_token((char)text.data[at])) {
        at++;
    }
    return at;
}

/* The end of a quoted string that begins at `at`; 0 where it is malformed. Nothing but ASCII: the
 * text is sent back as it is. */
static size_t quoted_end(grv_bytes text, size_t at)
{
    for (at++; at < text.size; at++) {
        uint8_t c = text.data[at];
        if (c == '"') {
            return at + 1;
        }
        if (c == '\\') {
            at++;
            c = at < text.size ? text.data[at] : 0;
        }
        if ((c < ' ' && c != '\t') || c > '~') {
            return 0;
        }
    }
    return 0;
}

static size_t space_end(grv_bytes text, size_t at)
{
    while (at < text.size && (text.data[at] == ' ' || text.data[at] == '\t')) {
        at++;
    }
    return at;
}

/* The end of a parameter's NAME=VALUE at `at`; 0 where it is malformed. */
static size_t parameter_end(grv_bytes text, size_t at)
{
    size_t name = token_end(text, at);
    if (name == at || name == text.size || text.data[name] != '=') {
        return 0;
    }
    at = name + 1;
    if (at < text.size && text.data[at] == '"') {
        return quoted_end(text, at);
    }
    size_t value = token_end(text, at);
    return value > at ? value : 0;
}

bool http_media_type_is_valid(grv_bytes text)
{
    if (text.size == 0 || text.size > HTTP_MEDIA_TYPE_MAX) {
        return false;
    }
    size_t slash = token_end(text, 0);
    if (slash == 0 || slash == text.size || text.data[slash] != '/') {
        return false;
    }
    size_t at = token_end(text, slash + 1);
    if (at == slash + 1) {
        return false;
    }
    for (;;) {
        size_t next = space_end(text, at);
        if (next == text.size) {
            return next == at; /* no space at the end */
        }
        if (text.data[next] != ';') {
            return false;
        }
        at = space_end(text, next + 1);
        if (at < text.size && text.data[at] != ';') {
            at = parameter_end(text, at);
            if (at == 0) {
                return false;
            }
        }
    }
}

bool http_media_type_is(const char *field, const char *type)
{
    size_t length = strlen(type);
    if (strncasecmp(field, type, length) != 0) {
        return false;
    }
    const char *end = skip_space(field + length);
    return *end == '\0' || *end == ';';
}

/* ---- Trace ids ---- */

/* Lower-case hex digits alone, not all of them zero. */
static bool trace_hex(const char *text, size_t digits, uint8_t *ret_bytes)
{
    uint8_t all = 0;
    for (size_t i = 0; i < digits; i++) {
        int value = http_hex_value(text[i]);
        if (value < 0 || (text[i] >= 'A' && text[i] <= 'F')) {
            return false;
        }
        all |= (uint8_t)value;
        if (ret_bytes) {
            uint8_t *byte = &ret_bytes[i / 2];
            *byte = (uint8_t)(i % 2 ? *byte | value : value << 4);
        }
    }
    return all != 0;
}

bool http_traceparent_parse(const char *field, uint8_t ret_trace_id[16])
{
    enum { VERSION = 2, TRACE = 32, PARENT = 16, FLAGS = 2, WHOLE = 55 };
    uint8_t version = 0;
    uint8_t trace[TRACE / 2];
    size_t length = strlen(field);
    if (length < WHOLE || field[2] != '-' || field[35] != '-' || field[52] != '-') {
        return false;
    }
    bool is_zero = field[0] == '0' && field[1] == '0';
    if (!is_zero && (!trace_hex(field, VERSION, &version) || version == 0xff)) {
        return false;
    }
    /* A later version may say more behind; this one has nothing there. */
    if (length > WHOLE && (is_zero || field[WHOLE] != '-')) {
        return false;
    }
    bool no_flags = field[53] == '0' && field[54] == '0';
    if (!trace_hex(field + 3, TRACE, trace) || !trace_hex(field + 36, PARENT, NULL) ||
        (!no_flags && !trace_hex(field + 53, FLAGS, NULL))) {
        return false;
    }
    memcpy(ret_trace_id, trace, sizeof trace);
    return true;
}
