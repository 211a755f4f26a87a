/* SPDX-License-Identifier: Apache-2.0 */
/* Percent-encoding, as signatures want it: what is not encoded here the service would encode
 * otherwise, and refuse the signature. */
#include "backend/s3/client.h"

#include <stdlib.h>
#include <string.h>

static bool is_plain(unsigned char c)
{
    return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' ||
           c == '_' || c == '.' || c == '~';
}

grv_status grv_s3_encode(const char *text, bool keep_slash, grv_buffer *out, grv_error *error)
{
    static const char digits[] = "0123456789ABCDEF";
    size_t size = strlen(text);
    grv_status status = grv_buffer_reserve(out, 3 * size, error);
    if (status) {
        return status;
    }
    for (size_t i = 0; i < size; i++) {
        unsigned char c = (unsigned char)text[i];
        if (is_plain(c) || (keep_slash && c == '/')) {
            out->data[out->size++] = c;
        } else {
            out->data[out->size++] = '%';
            out->data[out->size++] = (uint8_t)digits[c >> 4];
            out->data[out->size++] = (uint8_t)digits[c & 15];
        }
    }
    return GRV_OK;
}

/* An encoded pair, by its places in a buffer that may still move. */
typedef struct encoded {
    size_t name;
    size_t name_size;
    size_t value_size; /* right after the name */
} encoded;

static int encoded_compare(const grv_buffer *text, const encoded *a, const encoded *b)
{
    int order = grv_bytes_compare(grv_bytes_of(text->data + a->name, a->name_size),
                                  grv_bytes_of(text->data + b->name, b->name_size));
    if (order) {
        return order;
    }
    return grv_bytes_compare(grv_bytes_of(text->data + a->name + a->name_size, a->value_size),
                             grv_bytes_of(text->data + b->name + b->name_size, b->value_size));
}

static grv_status append_pairs(const grv_buffer *text, const encoded pairs[], size_t count,
                               grv_buffer *out, grv_error *error)
{
    grv_status status = GRV_OK;
    for (size_t i = 0; i < count && !status; i++) {
        const encoded *pair = &pairs[i];
        status = grv_buffer_append(out, grv_bytes_of("&", i > 0), error);
        if (!status) {
            status = grv_buffer_append(out, grv_bytes_of(text->data + pair->name, pair->name_size),
                                       error);
        }
        if (!status) {
            status = grv_buffer_append(out, grv_bytes_of("=", 1), error);
        }
        if (!status) {
            const uint8_t *value = text->data + pair->name + pair->name_size;
            status = grv_buffer_append(out, grv_bytes_of(value, pair->value_size), error);
        }
    }
    return status;
}

grv_status grv_s3_encode_query(const grv_s3_pair query[], size_t count, grv_buffer *out,
                               grv_error *error)
{
    if (count > GRV_S3_QUERY_MAX) {
        return grv_error_set(error, GRV_INTERNAL, "s3", "a query of %zu pairs, more than %u", count,
                             GRV_S3_QUERY_MAX);
    }
    encoded pairs[GRV_S3_QUERY_MAX];
    grv_buffer text;
    grv_buffer_init(&text, out->max);
    grv_status status = GRV_OK;
    for (size_t i = 0; i < count && !status; i++) {
        encoded pair = {.name = text.size};
        status = grv_s3_encode(query[i].name, false, &text, error);
        pair.name_size = text.size - pair.name;
        if (!status) {
            status = grv_s3_encode(query[i].value, false, &text, error);
        }
        pair.value_size = text.size - pair.name - pair.name_size;
        size_t place = i;
        while (place > 0 && !status && encoded_compare(&text, &pair, &pairs[place - 1]) < 0) {
            pairs[place] = pairs[place - 1];
            place--;
        }
        pairs[place] = pair;
    }
    if (!status) {
        status = append_pairs(&text, pairs, count, out, error);
    }
    grv_buffer_done(&text);
    return status;
}

grv_status grv_s3_encode_source(const char *bucket, const char *key, char *ret_text, size_t size,
                                grv_error *error)
{
    grv_buffer text;
    grv_buffer_init(&text, GRV_S3_SOURCE_SIZE);
    grv_status status = grv_s3_encode(bucket, false, &text, error);
    if (!status) {
        status = grv_buffer_append(&text, grv_bytes_of("/", 1), error);
    }
    if (!status) {
        status = grv_s3_encode(key, true, &text, error);
    }
    if (!status && text.size >= size) {
        status = grv_error_set(error, GRV_INTERNAL, "s3", "no room for %zu bytes", text.size + 1);
    }
    if (!status) {
        memcpy(ret_text, text.data, text.size);
        ret_text[text.size] = '\0';
    }
    grv_buffer_done(&text);
    return status;
}

static int digit_value(char c)
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

bool grv_s3_decode(char *text)
{
    char *out = text;
    for (const char *in = text; *in; in++) {
        if (*in == '+') {
            *out++ = ' ';
        } else if (*in != '%') {
            *out++ = *in;
        } else {
            int high = digit_value(in[1]);
            int low = high < 0 ? -1 : digit_value(in[2]);
            if (low < 0 || (high == 0 && low == 0)) {
                return false;
            }
            *out++ = (char)(high << 4 | low);
            in += 2;
        }
    }
    *out = '\0';
    return true;
}
