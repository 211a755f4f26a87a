/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Header fields of HTTP: their text to values and back. Pure: no I/O, and nothing of libmicrohttpd.
 * Everything parsed here was written by a client: every length is
 * bounded, and what is printed has no byte that could end a header line.
 */
#ifndef GRV_HTTP_FIELDS_H
#define GRV_HTTP_FIELDS_H

#include <graviton/key.h>
#include <graviton/range.h>

/* ---- Range (RFC 9110, section 14) ---- */

/* Most ranges that a field may name. */
#define HTTP_RANGES_MAX 16u

/* Disjoint ranges that do not touch either, none empty, in the order asked for. */
typedef struct http_ranges {
    unsigned count;
    grv_range ranges[HTTP_RANGES_MAX];
} http_ranges;

/* What a Range field asks for. */
typedef enum http_range_kind {
    HTTP_RANGE_NONE = 0,         /* nothing that is to be heeded: the whole */
    HTTP_RANGE_SOME = 1,         /* these ranges */
    HTTP_RANGE_UNSATISFIABLE = 2 /* none of them is there */
} http_range_kind;

/* Reads a Range field for a thing of `size` bytes. NULL, another unit, malformed text and more than
 * HTTP_RANGES_MAX ranges are HTTP_RANGE_NONE; *ret_ranges is filled for HTTP_RANGE_SOME alone. */
http_range_kind http_range_parse(const char *field, uint64_t size, http_ranges *ret_ranges);

/* ---- Entity tags ---- */

/*
 * Whether a list of entity tags (If-Match, If-None-Match) is "*" or has `tag`, which is strong and
 * has its quotes. `weak`: a weak tag of the list compares equal too. What is malformed ends the
 * list.
 */
bool http_etag_listed(const char *field, const char *tag, bool weak);

/* ---- Digests (RFC 9530) ---- */

#define HTTP_SHA512_SIZE 64u
/* Room for a digest as a dictionary's member, NUL included. */
#define HTTP_DIGEST_TEXT_SIZE 64u

/* The digests that a field named, of the algorithms that are known. */
typedef struct http_digests {
    bool has_sha256;
    bool has_sha512;
    bool has_blake3;
    uint8_t sha256[GRV_DIGEST_SIZE];
    uint8_t sha512[HTTP_SHA512_SIZE];
    uint8_t blake3[GRV_DIGEST_SIZE];
} http_digests;

/* Reads the dictionary of a Repr-Digest or Content-Digest field, `name` for the message.
 * GRV_INVALID_ARGUMENT where it is malformed or a known algorithm's digest has the wrong form. */
grv_status http_digests_parse(const char *name, const char *field, http_digests *ret_digests,
                              grv_error *error);
/* Prints a member: "blake3=:…:" or "sha-256=:…:". */
void http_digest_print(const grv_digest *digest, char ret_text[HTTP_DIGEST_TEXT_SIZE]);

/* ---- Content-Disposition (RFC 6266, RFC 8187) ---- */

/* Longest file name that is printed, in bytes; a longer one is cut. */
#define HTTP_FILE_NAME_MAX 255u
/* Room for a Content-Disposition, NUL included. */
#define HTTP_DISPOSITION_SIZE (sizeof "attachment; filename=\"\"; filename*=UTF-8''" + 5u * 256u)

/*
 * Appends the file name that a Content-Disposition gives, filename* before filename, only what is
 * after the last "/" or "\"; UTF-8. Nothing where it gives none that could be a file's ("", ".",
 * ".."). GRV_INVALID_ARGUMENT where the field is malformed.
 */
grv_status http_disposition_parse(const char *field, grv_buffer *out, grv_error *error);
/*
 * Prints "attachment" with a stored file name, or without where it is none. Control characters
 * become "_"; a name that is not plain ASCII has a filename* beside a filename that is.
 */
void http_disposition_print(grv_bytes name, char ret_text[HTTP_DISPOSITION_SIZE]);

/* ---- Others ---- */

/* Longest media type that counts as one. */
#define HTTP_MEDIA_TYPE_MAX 512u

/* Whether the text is a media type with its parameters (RFC 9110, 8.3.1), and nothing else. */
bool http_media_type_is_valid(grv_bytes text);
/* Whether a media type is `type` ("text/plain"), whatever its parameters. */
bool http_media_type_is(const char *field, const char *type);

/* Reads a traceparent (W3C); false where it is none, and then the id is unchanged. */
bool http_traceparent_parse(const char *field, uint8_t ret_trace_id[16]);

/* ---- Text (fields_text.c) ---- */

/* Appends base64, with "=" at its end, or in the alphabet of URLs and without. */
grv_status http_base64_encode(grv_bytes bytes, bool url, grv_buffer *out, grv_error *error);
/* Appends what base64 stands for; "=" at the end may be missing. GRV_INVALID_ARGUMENT for anything
 * else, and then `out` may have grown. */
grv_status http_base64_decode(grv_bytes text, bool url, grv_buffer *out, grv_error *error);
/* The value of a hex digit, or -1. */
int http_hex_value(char digit);
/* True for a character of a token (RFC 9110, 5.6.2). */
bool http_is_token(char c);

#endif
