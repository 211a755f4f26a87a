/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Several ranges of a blob as one body, multipart/byteranges (RFC 9110, 14.6). The length is known
 * before anything is read: the texts between the ranges are made when the source is, and a range
 * that gives fewer bytes than it has, or more, ends the body with an error, never cleanly.
 */
#include "base/digits.h"
#include "http/api.h"
#include "http/fields.h"
#include "os/random.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Room for the text before a part, but for its type. */
#define PART_TEXT_SIZE 256u

typedef struct ranges_source {
    grv_source base;
    grv_blob_store *blobs;
    grv_blob_key key;
    http_ranges ranges;
    grv_buffer text;                       /* of all parts, and the end's, one behind the other */
    size_t text_ends[HTTP_RANGES_MAX + 1]; /* where each of them ends */
    unsigned part;                         /* being given; ranges.count: the end's text */
    size_t text_at;                        /* bytes of `text` given */
    grv_source *bytes;                     /* of the part, once it is open */
    grv_bytes view;                        /* read from it and not yet given */
    uint64_t left;                         /* of the part's bytes, `view` included */
    grv_status failed;
    grv_error error;
} ranges_source;

/* ---- Reading ---- */

/* Reads the part's next bytes into `view`; at its end makes sure that it is one. */
static grv_status part_read(const grv_call *call, ranges_source *source, size_t max,
                            grv_error *error)
{
    if (!source->bytes) {
        grv_status status =
            grv_blob_store_open_get(call, source->blobs, &source->key,
                                    source->ranges.ranges[source->part], &source->bytes, error);
        if (status) {
            return status;
        }
    }
    grv_status status = grv_source_next(call, source->bytes, max, &source->view, error);
    if (status) {
        return status;
    }
    if (source->view.size > source->left || (source->view.size == 0 && source->left > 0)) {
        return grv_error_set(error, GRV_CORRUPT, "ranges",
                             "a range of a blob has other than its number of bytes");
    }
    return GRV_OK;
}

/* Goes on to the next part, behind the clean end of this one. */
static grv_status part_end(const grv_call *call, ranges_source *source, grv_error *error)
{
    grv_status status = part_read(call, source, 1, error);
    if (status) {
        return status;
    }
    grv_source_free(source->bytes);
    source->bytes = NULL;
    source->part++;
    if (source->part < source->ranges.count) {
        grv_range next = source->ranges.ranges[source->part];
        source->left = next.end - next.first;
    }
    return GRV_OK;
}

/* The next bytes: of the text before the part, or of the part. */
static grv_status source_step(const grv_call *call, ranges_source *source, size_t max,
                              grv_bytes *ret_view, grv_error *error)
{
    bool is_range = source->part < source->ranges.count;
    if (is_range && source->left == 0) {
        grv_status status = part_end(call, source, error);
        if (status) {
            return status;
        }
        is_range = source->part < source->ranges.count;
    }
    /* Before its headers go out, the first bytes of a part are there. */
    if (is_range && source->view.size == 0) {
        grv_status status = part_read(call, source, max, error);
        if (status) {
            return status;
        }
    }
    size_t text_end = source->text_ends[source->part];
    if (source->text_at < text_end) {
        size_t size = text_end - source->text_at < max ? text_end - source->text_at : max;
        *ret_view = grv_bytes_of(source->text.data + source->text_at, size);
        source->text_at += size;
        return GRV_OK;
    }
    size_t size = source->view.size < max ? source->view.size : max;
    *ret_view = (grv_bytes){source->view.data, size}; /* empty behind the last text */
    source->view = (grv_bytes){source->view.data + size, source->view.size - size};
    source->left -= size;
    return GRV_OK;
}

static grv_status ranges_next(const grv_call *call, grv_source *base, size_t max,
                              grv_bytes *ret_view, grv_error *error)
{
    ranges_source *source = (ranges_source *)(void *)base;
    if (!source->failed) {
        source->failed = source_step(call, source, max, ret_view, &source->error);
    }
    if (source->failed && error) {
        *error = source->error;
    }
    return source->failed;
}

static void ranges_free(grv_source *base)
{
    ranges_source *source = (ranges_source *)(void *)base;
    grv_source_free(source->bytes);
    grv_buffer_done(&source->text);
    free(source);
}

static const grv_source_ops ranges_ops = {
    .name = "ranges",
    .next = ranges_next,
    .free = ranges_free,
};

/* ---- Opening ---- */

grv_status http_boundary_make(char ret_boundary[HTTP_BOUNDARY_SIZE], grv_error *error)
{
    uint8_t bytes[(HTTP_BOUNDARY_SIZE - 1) / 2];
    grv_status status = grv_random_fill(bytes, sizeof bytes, error);
    if (!status) {
        grv_hex_print(bytes, sizeof bytes, ret_boundary);
    }
    return status;
}

static grv_status text_append(grv_buffer *out, const char *text, grv_error *error)
{
    return grv_buffer_append(out, grv_bytes_of(text, strlen(text)), error);
}

/* Makes the texts before the parts and behind the last. */
static grv_status texts_make(ranges_source *source, const char *type, const char *boundary,
                             grv_error *error)
{
    char line[PART_TEXT_SIZE];
    grv_status status = GRV_OK;
    for (unsigned i = 0; i < source->ranges.count && !status; i++) {
        grv_range range = source->ranges.ranges[i];
        snprintf(line, sizeof line, "%s--%s\r\nContent-Type: ", i ? "\r\n" : "", boundary);
        status = text_append(&source->text, line, error);
        if (!status) {
            status = text_append(&source->text, type, error);
        }
        snprintf(line, sizeof line,
                 "\r\nContent-Range: bytes %" PRIu64 "-%" PRIu64 "/%" PRIu64 "\r\n\r\n",
                 range.first, range.end - 1, source->key.size);
        if (!status) {
            status = text_append(&source->text, line, error);
        }
        source->text_ends[i] = source->text.size;
    }
    snprintf(line, sizeof line, "\r\n--%s--\r\n", boundary);
    if (!status) {
        status = text_append(&source->text, line, error);
    }
    source->text_ends[source->ranges.count] = source->text.size;
    return status;
}

grv_status http_ranges_open(grv_blob_store *blobs, const grv_blob_key *key,
                            const http_ranges *ranges, const char *type, const char *boundary,
                            grv_source **ret_source, uint64_t *ret_length, grv_error *error)
{
    ranges_source *source = calloc(1, sizeof *source);
    if (!source) {
        return grv_error_set(error, GRV_LIMIT_EXCEEDED, "ranges", "no memory for ranges");
    }
    source->base.ops = &ranges_ops;
    source->blobs = blobs;
    source->key = *key;
    source->ranges = *ranges;
    source->left = ranges->ranges[0].end - ranges->ranges[0].first;
    grv_buffer_init(&source->text,
                    (HTTP_RANGES_MAX + 1) * (2 * PART_TEXT_SIZE + HTTP_MEDIA_TYPE_MAX));
    grv_status status = texts_make(source, type, boundary, error);
    if (status) {
        ranges_free(&source->base);
        return status;
    }
    /* The ranges are disjoint and within 2^63 bytes, so the sum is in bounds. */
    uint64_t length = source->text.size;
    for (unsigned i = 0; i < ranges->count; i++) {
        length += ranges->ranges[i].end - ranges->ranges[i].first;
    }
    *ret_source = &source->base;
    *ret_length = length;
    return GRV_OK;
}
