/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Chunker specifications: text, bounds, equality. A specification that passed the check is all a
 * cutter needs to know, so everything about parameters that may be wrong is said here.
 */
#include "base/digits.h"

#include <graviton/chunker.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

grv_chunker_spec grv_chunker_default(void)
{
    return (grv_chunker_spec){.kind = GRV_CHUNKER_CDC, .size = GRV_CDC_SIZE_DEFAULT};
}

static grv_status size_refuse(const char *kind, uint32_t size, uint32_t min, uint32_t max,
                              grv_error *error)
{
    return grv_error_set(error, GRV_INVALID_ARGUMENT, "chunker",
                         "chunker %s: size %u is not within %u to %u bytes", kind, size, min, max);
}

grv_status grv_chunker_spec_check(const grv_chunker_spec *spec, grv_error *error)
{
    uint32_t size = spec->size;
    if (spec->kind != GRV_CHUNKER_DELIMITER && spec->delimiter_size != 0) {
        return grv_error_set(error, GRV_INVALID_ARGUMENT, "chunker",
                             "chunker kind %d takes no delimiter", (int)spec->kind);
    }
    switch (spec->kind) {
    case GRV_CHUNKER_CDC:
        if (size < GRV_CDC_SIZE_MIN || size > GRV_CDC_SIZE_MAX) {
            return size_refuse("cdc", size, GRV_CDC_SIZE_MIN, GRV_CDC_SIZE_MAX, error);
        }
        if ((size & (size - 1)) != 0) {
            return grv_error_set(error, GRV_INVALID_ARGUMENT, "chunker",
                                 "chunker cdc: size %u is not a power of two", size);
        }
        return GRV_OK;
    case GRV_CHUNKER_FIXED:
        if (size < 1 || size > GRV_BLOCK_SIZE_MAX) {
            return size_refuse("fixed", size, 1, GRV_BLOCK_SIZE_MAX, error);
        }
        return GRV_OK;
    case GRV_CHUNKER_DELIMITER:
        if (spec->delimiter_size < 1 || spec->delimiter_size > GRV_DELIMITER_MAX) {
            return grv_error_set(error, GRV_INVALID_ARGUMENT, "chunker",
                                 "a delimiter has 1 to %u bytes, not %u", GRV_DELIMITER_MAX,
                                 spec->delimiter_size);
        }
        if (size < spec->delimiter_size || size > GRV_BLOCK_SIZE_MAX) {
            return size_refuse("delimiter", size, spec->delimiter_size, GRV_BLOCK_SIZE_MAX, error);
        }
        return GRV_OK;
    }
    return grv_error_set(error, GRV_INVALID_ARGUMENT, "chunker", "unknown chunker kind %d",
                         (int)spec->kind);
}

static grv_status text_refuse(grv_bytes text, const char *why, grv_error *error)
{
    int shown = text.size < 160 ? (int)text.size : 160;
    return grv_error_set(error, GRV_INVALID_ARGUMENT, "chunker", "bad chunker \"%.*s\": %s", shown,
                         text.size ? (const char *)text.data : "", why);
}

/* Decimal without sign or leading zero, then nothing or one of K, M, G; at most 2^32-1. */
static bool size_parse(grv_bytes text, uint32_t *ret_size)
{
    static const char units[] = "KkMmGg";
    unsigned shift = 0;
    const char *unit = text.size ? strchr(units, text.data[text.size - 1]) : NULL;
    if (unit && *unit) {
        shift = 10 * (unsigned)((unit - units) / 2 + 1);
        text.size--;
    }
    if (text.size < 1 || text.size > 10 || (text.size > 1 && text.data[0] == '0')) {
        return false;
    }
    uint64_t size = 0;
    for (size_t i = 0; i < text.size; i++) {
        if (text.data[i] < '0' || text.data[i] > '9') {
            return false;
        }
        size = size * 10 + (uint64_t)(text.data[i] - '0');
    }
    size <<= shift; /* 10 digits and 30 bits fit 64 */
    if (size > UINT32_MAX) {
        return false;
    }
    *ret_size = (uint32_t)size;
    return true;
}

static int hex_value(uint8_t c)
{
    if (c >= '0' && c <= '9') {
        return c - '0';
    }
    if (c >= 'a' && c <= 'f') {
        return c - 'a' + 10;
    }
    if (c >= 'A' && c <= 'F') {
        return c - 'A' + 10;
    }
    return -1;
}

static bool hex_parse(grv_bytes hex, grv_chunker_spec *spec)
{
    if (hex.size < 2 || hex.size > 2 * GRV_DELIMITER_MAX || hex.size % 2 != 0) {
        return false;
    }
    for (size_t i = 0; i < hex.size / 2; i++) {
        int high = hex_value(hex.data[2 * i]);
        int low = hex_value(hex.data[2 * i + 1]);
        if (high < 0 || low < 0) {
            return false;
        }
        spec->delimiter[i] = (uint8_t)(high << 4 | low);
    }
    spec->delimiter_size = (uint32_t)(hex.size / 2);
    return true;
}

static bool name_is(grv_bytes text, const char *name)
{
    return text.size == strlen(name) && strncasecmp((const char *)text.data, name, text.size) == 0;
}

/* What follows "delimiter:". */
static grv_status delimiter_parse(grv_bytes text, grv_bytes rest, grv_chunker_spec *spec,
                                  grv_error *error)
{
    grv_bytes hex = rest;
    const uint8_t *comma = rest.size ? memchr(rest.data, ',', rest.size) : NULL;
    spec->size = GRV_DELIMITER_BLOCK_DEFAULT;
    if (comma) {
        hex.size = (size_t)(comma - rest.data);
        grv_bytes size = {comma + 1, rest.size - hex.size - 1};
        if (!size_parse(size, &spec->size)) {
            return text_refuse(text, "the largest block is not a size such as 1M", error);
        }
    }
    if (!hex_parse(hex, spec)) {
        return text_refuse(text, "the delimiter is not 1 to 64 bytes in hex, such as 0d0a", error);
    }
    return GRV_OK;
}

grv_status grv_chunker_spec_parse(grv_bytes text, grv_chunker_spec *ret_spec, grv_error *error)
{
    const uint8_t *colon = text.size ? memchr(text.data, ':', text.size) : NULL;
    grv_bytes name = {text.data, colon ? (size_t)(colon - text.data) : text.size};
    grv_bytes rest = {colon ? colon + 1 : NULL, colon ? text.size - name.size - 1 : 0};
    grv_chunker_spec spec = {0};
    if (name_is(name, "cdc")) {
        spec = grv_chunker_default();
    } else if (name_is(name, "fixed")) {
        spec.kind = GRV_CHUNKER_FIXED;
    } else if (name_is(name, "delimiter")) {
        spec.kind = GRV_CHUNKER_DELIMITER;
    } else {
        return text_refuse(text, "use cdc[:SIZE], fixed:SIZE or delimiter:HEX[,MAX]", error);
    }
    if (spec.kind == GRV_CHUNKER_DELIMITER) {
        grv_status status = delimiter_parse(text, rest, &spec, error);
        if (status) {
            return status;
        }
    } else if ((colon || spec.kind != GRV_CHUNKER_CDC) && !size_parse(rest, &spec.size)) {
        return text_refuse(text, "want a size after the colon, such as 64K", error);
    }
    grv_status status = grv_chunker_spec_check(&spec, error);
    if (status) {
        return status;
    }
    *ret_spec = spec;
    return GRV_OK;
}

/* The shortest form of a size: the largest unit that divides it. */
static void size_print(uint32_t size, char ret_text[16])
{
    static const char units[] = {'G', 'M', 'K'};
    for (unsigned i = 0; i < sizeof units; i++) {
        uint32_t unit = 1u << (30 - 10 * i);
        if (size != 0 && size % unit == 0) {
            snprintf(ret_text, 16, "%u%c", size / unit, units[i]);
            return;
        }
    }
    snprintf(ret_text, 16, "%u", size);
}

void grv_chunker_spec_print(const grv_chunker_spec *spec, char ret_text[GRV_CHUNKER_TEXT_SIZE])
{
    char size[16];
    char hex[2 * GRV_DELIMITER_MAX + 1] = "";
    size_print(spec->size, size);
    switch (spec->kind) {
    case GRV_CHUNKER_CDC:
        snprintf(ret_text, GRV_CHUNKER_TEXT_SIZE, "cdc:%s", size);
        return;
    case GRV_CHUNKER_FIXED:
        snprintf(ret_text, GRV_CHUNKER_TEXT_SIZE, "fixed:%s", size);
        return;
    case GRV_CHUNKER_DELIMITER:
        grv_hex_print(spec->delimiter,
                      spec->delimiter_size < GRV_DELIMITER_MAX ? spec->delimiter_size
                                                               : GRV_DELIMITER_MAX,
                      hex);
        snprintf(ret_text, GRV_CHUNKER_TEXT_SIZE, "delimiter:%s,%s", hex, size);
        return;
    }
    snprintf(ret_text, GRV_CHUNKER_TEXT_SIZE, "none");
}

bool grv_chunker_spec_equal(const grv_chunker_spec *a, const grv_chunker_spec *b)
{
    if (a->kind != b->kind || a->size != b->size || a->delimiter_size != b->delimiter_size) {
        return false;
    }
    size_t size = a->delimiter_size < GRV_DELIMITER_MAX ? a->delimiter_size : GRV_DELIMITER_MAX;
    return memcmp(a->delimiter, b->delimiter, size) == 0;
}

uint32_t grv_chunker_block_min(const grv_chunker_spec *spec)
{
    switch (spec->kind) {
    case GRV_CHUNKER_CDC:
        return spec->size / 4;
    case GRV_CHUNKER_FIXED:
        return spec->size;
    case GRV_CHUNKER_DELIMITER:
        return spec->delimiter_size;
    }
    return 0;
}

uint32_t grv_chunker_block_max(const grv_chunker_spec *spec)
{
    return spec->kind == GRV_CHUNKER_CDC ? spec->size * 4 : spec->size;
}
