/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The front end of blobs: the routes of docs/http.md below /api/blobs, and /api/store. They hold no
 * storage logic: each turns a request into calls of the blob store, and what comes of those into
 * an answer.
 */
#ifndef GRV_HTTP_API_H
#define GRV_HTTP_API_H

#include "http/http.h"

/* The table (api_store.c). */
extern const http_route http_front_api[];

/* ---- The routes' own functions: see http_route ---- */

/* api_put.c: POST /api/blobs and PUT /api/blobs/ID. */
grv_status http_api_post_begin(http_exchange *exchange, grv_error *error);
grv_status http_api_put_begin(http_exchange *exchange, grv_error *error);
grv_status http_api_put_expect(http_exchange *exchange, grv_error *error);
grv_status http_api_put_open(http_exchange *exchange, grv_sink **ret_sink, grv_error *error);
grv_status http_api_put_piece(http_exchange *exchange, grv_bytes piece, grv_error *error);
grv_status http_api_put_run(http_exchange *exchange, grv_error *error);
void http_api_put_done(http_exchange *exchange);

/* api_get.c: GET and HEAD /api/blobs/ID. */
grv_status http_api_get_run(http_exchange *exchange, grv_error *error);

/* api_list.c: GET /api/blobs, POST /api/blobs:missing. */
grv_status http_api_list_run(http_exchange *exchange, grv_error *error);
grv_status http_api_missing_run(http_exchange *exchange, grv_error *error);

/* api_blob.c: what is below /api/blobs/ID, and DELETE of it. */
grv_status http_api_info_run(http_exchange *exchange, grv_error *error);
grv_status http_api_manifest_run(http_exchange *exchange, grv_error *error);
grv_status http_api_attributes_get_run(http_exchange *exchange, grv_error *error);
grv_status http_api_attributes_put_run(http_exchange *exchange, grv_error *error);
grv_status http_api_delete_run(http_exchange *exchange, grv_error *error);

/* ---- What they share (api_blob.c) ---- */

/* A blob's info as lists and details show it; NULL without memory. */
json_t *http_api_blob_json(const grv_blob_info *info);
/* Returns `status`, of a call about that blob; where it is GRV_NOT_FOUND the error gets words for
 * the client. */
grv_status http_api_blob_failure(const grv_blob_key *key, grv_status status, grv_error *error);
/* Sets one attribute that a client sent; GRV_INVALID_ARGUMENT for a bad name and past a bound. */
grv_status http_api_attribute_set(grv_attributes *attributes, const char *name, grv_bytes value,
                                  grv_error *error);

/* ---- ranges.c ---- */

/* Room for a boundary between the parts of a multipart body, NUL included. */
#define HTTP_BOUNDARY_SIZE 33u

struct http_ranges;

/*
 * Opens a source that gives some ranges of a blob as multipart/byteranges: before each its headers,
 * with `type` (valid for the source's life), at the end the last boundary. *ret_length is what it
 * gives in all. Nothing is opened before the first read; that one reads bytes of the blob already,
 * so that a failure shows before any byte is given. Free with grv_source_free.
 */
grv_status http_ranges_open(grv_blob_store *blobs, const grv_blob_key *key,
                            const struct http_ranges *ranges, const char *type,
                            const char *boundary, grv_source **ret_source, uint64_t *ret_length,
                            grv_error *error);
/* Makes a boundary that no content can foresee. */
grv_status http_boundary_make(char ret_boundary[HTTP_BOUNDARY_SIZE], grv_error *error);

#endif
