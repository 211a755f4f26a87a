/* SPDX-License-Identifier: Apache-2.0 */
/*
 * POST /api/blobs and PUT /api/blobs/ID. What the headers say is read, and refused, before a byte
 * of the body is asked for. The digests that a client names are checked in one of three ways: the
 * one that is a PUT's id, against the id; the one by which the store names blobs, where the length
 * is known, by the store itself; others here, over the pieces as they go by. Nothing is committed
 * unless all agree.
 */
#include "http/api.h"
#include "http/fields.h"
#include "http/metrics.h"

#include <inttypes.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A route's state; exchange->front. */
typedef struct put_state {
    bool is_put;       /* `expected` is the id of a PUT */
    bool has_expected; /* the store is to take these bytes alone */
    grv_blob_key expected;
    bool has_attributes;
    grv_attributes attributes;
    http_digests wanted; /* to be checked here, over the pieces */
    grv_hasher sha256;
    grv_hasher blake3;
    EVP_MD_CTX *sha512;
    uint64_t received;
    grv_blob_sink *sink; /* the core's */
} put_state;

/* ---- Headers ---- */

/* Refuses what can't be stored whatever the bytes are. */
static grv_status begin_check(http_exchange *exchange, grv_error *error)
{
    if (http_header(exchange, "Content-Range")) {
        return grv_error_set(error, GRV_INVALID_ARGUMENT, "http",
                             "a blob is sent whole, without Content-Range");
    }
    if (grv_store_is_read_only(exchange->server->store)) {
        return grv_error_set(error, GRV_UNSUPPORTED, "http", "this store can only be read");
    }
    return GRV_OK;
}

/* Attributes given as a record. */
static grv_status record_read(const char *field, put_state *put, grv_error *error)
{
    grv_buffer record;
    grv_buffer_init(&record, GRV_ATTRIBUTES_BYTES_MAX + 3);
    grv_status status =
        http_base64_decode(grv_bytes_of(field, strlen(field)), false, &record, error);
    if (!status) {
        status = grv_attributes_decode(grv_buffer_bytes(&record), &put->attributes, error);
    }
    grv_buffer_done(&record);
    if (status == GRV_CORRUPT || status == GRV_INVALID_ARGUMENT) {
        return grv_error_set(error, GRV_INVALID_ARGUMENT, "http",
                             "Graviton-Attributes is no base64 of an attributes record");
    }
    put->has_attributes = !status;
    return status;
}

static grv_status type_read(const char *field, put_state *put, grv_error *error)
{
    if (*field == '\0' || http_media_type_is(field, "application/x-www-form-urlencoded")) {
        return GRV_OK;
    }
    grv_bytes type = grv_bytes_of(field, strlen(field));
    if (!http_media_type_is_valid(type)) {
        return grv_error_set(error, GRV_INVALID_ARGUMENT, "http",
                             "Content-Type is no media type of at most %u characters",
                             HTTP_MEDIA_TYPE_MAX);
    }
    put->has_attributes = true;
    return http_api_attribute_set(&put->attributes, GRV_ATTRIBUTE_CONTENT_TYPE, type, error);
}

static grv_status disposition_read(const char *field, put_state *put, grv_error *error)
{
    grv_buffer name;
    grv_buffer_init(&name, 2 * strlen(field) + 1);
    grv_status status = http_disposition_parse(field, &name, error);
    if (!status && name.size > 0) {
        put->has_attributes = true;
        status = http_api_attribute_set(&put->attributes, GRV_ATTRIBUTE_FILE_NAME,
                                        grv_buffer_bytes(&name), error);
    }
    grv_buffer_done(&name);
    return status;
}

static grv_status attributes_read(http_exchange *exchange, put_state *put, grv_error *error)
{
    const char *record = http_header(exchange, "Graviton-Attributes");
    const char *type = http_header(exchange, "Content-Type");
    const char *disposition = http_header(exchange, "Content-Disposition");
    if (record) {
        return record_read(record, put, error);
    }
    grv_status status = type ? type_read(type, put, error) : GRV_OK;
    return status || !disposition ? status : disposition_read(disposition, put, error);
}

/* ---- Digests ---- */

static grv_status reply_digest_mismatch(http_exchange *exchange, grv_error *error)
{
    return http_reply_problem(exchange, "digest-mismatch",
                              "the bytes are not those that a digest field names; nothing was "
                              "stored",
                              error);
}

/* Adds the digests of one field to those wanted. *ret_agree false: two fields contradict. */
static bool digests_join(http_digests *into, const http_digests *more)
{
    bool agree = (!into->has_sha256 || !more->has_sha256 ||
                  memcmp(into->sha256, more->sha256, sizeof into->sha256) == 0) &&
                 (!into->has_sha512 || !more->has_sha512 ||
                  memcmp(into->sha512, more->sha512, sizeof into->sha512) == 0) &&
                 (!into->has_blake3 || !more->has_blake3 ||
                  memcmp(into->blake3, more->blake3, sizeof into->blake3) == 0);
    if (more->has_sha256) {
        memcpy(into->sha256, more->sha256, sizeof into->sha256);
    }
    if (more->has_sha512) {
        memcpy(into->sha512, more->sha512, sizeof into->sha512);
    }
    if (more->has_blake3) {
        memcpy(into->blake3, more->blake3, sizeof into->blake3);
    }
    into->has_sha256 = into->has_sha256 || more->has_sha256;
    into->has_sha512 = into->has_sha512 || more->has_sha512;
    into->has_blake3 = into->has_blake3 || more->has_blake3;
    return agree;
}

static grv_status digests_read(http_exchange *exchange, put_state *put, bool *ret_agree,
                               grv_error *error)
{
    static const char *const names[] = {"Repr-Digest", "Content-Digest"};
    *ret_agree = true;
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        char *field = NULL;
        http_digests digests;
        grv_status status = http_header_joined(exchange, names[i], &field, error);
        if (status) {
            return status;
        }
        if (!field) {
            continue;
        }
        status = http_digests_parse(names[i], field, &digests, error);
        free(field);
        if (status) {
            return status;
        }
        *ret_agree = digests_join(&put->wanted, &digests) && *ret_agree;
    }
    return GRV_OK;
}

/* Leaves to the store what the store checks anyway: the digest by which it names blobs. False where
 * that one is not the id's. */
static bool digests_hand_over(http_exchange *exchange, put_state *put)
{
    const grv_store_info *info = grv_store_get_info(exchange->server->store);
    bool *has = info->hash == GRV_HASH_BLAKE3   ? &put->wanted.has_blake3
                : info->hash == GRV_HASH_SHA256 ? &put->wanted.has_sha256
                                                : NULL;
    const uint8_t *bytes = info->hash == GRV_HASH_BLAKE3 ? put->wanted.blake3 : put->wanted.sha256;
    if (!has || !*has || (!put->is_put && !exchange->has_length)) {
        return true;
    }
    *has = false;
    if (put->is_put) {
        return memcmp(put->expected.digest.bytes, bytes, GRV_DIGEST_SIZE) == 0;
    }
    put->has_expected = true;
    put->expected = (grv_blob_key){.digest.hash = info->hash, .size = exchange->length};
    memcpy(put->expected.digest.bytes, bytes, GRV_DIGEST_SIZE);
    return true;
}

/* ---- Beginning ---- */

/* Headers that POST and PUT have in common. */
static grv_status headers_read(http_exchange *exchange, put_state *put, grv_error *error)
{
    bool agree = true;
    grv_status status = attributes_read(exchange, put, error);
    if (!status) {
        status = digests_read(exchange, put, &agree, error);
    }
    if (status) {
        return status;
    }
    if (!agree || !digests_hand_over(exchange, put)) {
        return reply_digest_mismatch(exchange, error);
    }
    return GRV_OK;
}

/* NULL without memory. */
static put_state *state_new(http_exchange *exchange)
{
    put_state *put = calloc(1, sizeof *put);
    if (put) {
        grv_attributes_init(&put->attributes);
        exchange->front = put;
    }
    return put;
}

static grv_status no_memory(grv_error *error)
{
    return grv_error_set(error, GRV_LIMIT_EXCEEDED, "api", "no memory for a put");
}

void http_api_put_done(http_exchange *exchange)
{
    put_state *put = exchange->front;
    if (put) {
        grv_attributes_done(&put->attributes);
        grv_hasher_done(&put->sha256);
        grv_hasher_done(&put->blake3);
        EVP_MD_CTX_free(put->sha512);
        free(put);
        exchange->front = NULL;
    }
}

grv_status http_api_post_begin(http_exchange *exchange, grv_error *error)
{
    grv_status status = begin_check(exchange, error);
    if (status) {
        return status;
    }
    put_state *put = state_new(exchange);
    return put ? headers_read(exchange, put, error) : no_memory(error);
}

static grv_status reply_key_mismatch(http_exchange *exchange, const put_state *put,
                                     const grv_blob_key *got, grv_error *error)
{
    char want_id[GRV_KEY_TEXT_SIZE];
    char got_id[GRV_KEY_TEXT_SIZE];
    char detail[2 * GRV_KEY_TEXT_SIZE + 64];
    grv_blob_key_print(&put->expected, want_id);
    if (got) {
        grv_blob_key_print(got, got_id);
        snprintf(detail, sizeof detail, "the bytes are %s, not %s; nothing was stored", got_id,
                 want_id);
    } else {
        snprintf(detail, sizeof detail, "there are more or fewer bytes than %s has", want_id);
    }
    return http_reply_problem(exchange, "key-mismatch", detail, error);
}

grv_status http_api_put_begin(http_exchange *exchange, grv_error *error)
{
    grv_blob_key key;
    grv_status status = http_param_blob(exchange, 0, &key, error);
    if (!status) {
        status = begin_check(exchange, error);
    }
    if (status) {
        return status;
    }
    put_state *put = state_new(exchange);
    if (!put) {
        return no_memory(error);
    }
    put->is_put = true;
    put->has_expected = true;
    put->expected = key;
    const grv_store_info *info = grv_store_get_info(exchange->server->store);
    if (info->hash != GRV_HASH_NONE && info->hash != key.digest.hash) {
        char detail[64];
        snprintf(detail, sizeof detail, "this store names blobs by %s", grv_hash_name(info->hash));
        return http_reply_problem(exchange, "key-mismatch", detail, error);
    }
    if (exchange->has_length && exchange->length != key.size) {
        return reply_key_mismatch(exchange, put, NULL, error);
    }
    return headers_read(exchange, put, error);
}

/* ---- The answer ---- */

static grv_status reply_stored(http_exchange *exchange, const grv_put_result *result,
                               unsigned status_code, grv_error *error)
{
    char id[GRV_KEY_TEXT_SIZE];
    char quoted[GRV_KEY_TEXT_SIZE + 2];
    char location[GRV_KEY_TEXT_SIZE + 16];
    char digest[HTTP_DIGEST_TEXT_SIZE];
    char figures[256];
    grv_blob_key_print(&result->key, id);
    snprintf(quoted, sizeof quoted, "\"%s\"", id);
    snprintf(location, sizeof location, "/api/blobs/%s", id);
    http_digest_print(&result->key.digest, digest);
    snprintf(figures, sizeof figures,
             "blocks=%" PRIu64 ", fresh-blocks=%" PRIu64 ", fresh-bytes=%" PRIu64
             ", duplicate-bytes=%" PRIu64 ", stored-bytes=%" PRIu64 ", already-stored=?%d",
             result->blocks, result->fresh_blocks, result->fresh_bytes, result->duplicate_bytes,
             result->stored_bytes, result->already_stored);
    const char *const lines[][2] = {
        {"Location", location},
        {"ETag", quoted},
        {"Repr-Digest", digest},
        {"Graviton-Put", figures},
    };
    grv_status status = http_reply_text(exchange, status_code, "application/json",
                                        grv_bytes_of(quoted, strlen(quoted)), error);
    for (size_t i = 0; i < sizeof lines / sizeof lines[0] && !status; i++) {
        status = http_reply_header(exchange, lines[i][0], lines[i][1], error);
    }
    return status;
}

/* Where the blob is there already, nothing need be sent: unless a digest asks for the bytes. */
grv_status http_api_put_expect(http_exchange *exchange, grv_error *error)
{
    const put_state *put = exchange->front;
    const grv_call *call = &exchange->call;
    grv_blob_store *blobs = exchange->server->blobs;
    grv_blob_info info;
    if (put->wanted.has_sha256 || put->wanted.has_sha512 || put->wanted.has_blake3) {
        return GRV_OK;
    }
    grv_status status = grv_blob_store_stat(call, blobs, &put->expected, &info, error);
    if (!status && put->has_attributes) {
        status =
            grv_blob_store_attributes_set(call, blobs, &put->expected, &put->attributes, error);
    }
    if (status) { /* not there, or not sound: the put heals it, or says why not */
        return status == GRV_NOT_FOUND || status == GRV_CORRUPT ? GRV_OK : status;
    }
    const grv_put_result result = {
        .key = info.key,
        .already_stored = true,
        .blocks = info.block_count,
        .duplicate_bytes = info.key.size,
    };
    http_metrics_put(exchange->server->metrics, &result);
    return reply_stored(exchange, &result, 200, error);
}

/* ---- The body ---- */

static grv_status hash_failed(grv_error *error)
{
    return grv_error_set(error, GRV_INTERNAL, "api", "SHA-512 failed");
}

static grv_status hashers_init(put_state *put, grv_error *error)
{
    grv_status status = GRV_OK;
    if (put->wanted.has_sha256) {
        status = grv_hasher_init(&put->sha256, GRV_HASH_SHA256, error);
    }
    if (!status && put->wanted.has_blake3) {
        status = grv_hasher_init(&put->blake3, GRV_HASH_BLAKE3, error);
    }
    if (!status && put->wanted.has_sha512) {
        put->sha512 = EVP_MD_CTX_new();
        if (!put->sha512 || !EVP_DigestInit_ex(put->sha512, EVP_sha512(), NULL)) {
            return hash_failed(error);
        }
    }
    return status;
}

grv_status http_api_put_open(http_exchange *exchange, grv_sink **ret_sink, grv_error *error)
{
    put_state *put = exchange->front;
    grv_status status = hashers_init(put, error);
    if (status) {
        return status;
    }
    const grv_put_plan plan = {
        .attributes = put->has_attributes ? &put->attributes : NULL,
        .expected = put->has_expected ? &put->expected : NULL,
        .has_size_hint = exchange->has_length || put->is_put,
        .size_hint = put->is_put ? put->expected.size : exchange->length,
    };
    status =
        grv_blob_store_open_put(&exchange->call, exchange->server->blobs, &plan, &put->sink, error);
    if (!status) {
        *ret_sink = &put->sink->base;
    }
    return status;
}

grv_status http_api_put_piece(http_exchange *exchange, grv_bytes piece, grv_error *error)
{
    put_state *put = exchange->front;
    put->received += piece.size;
    if (put->has_expected && put->received > put->expected.size) {
        return put->is_put ? reply_key_mismatch(exchange, put, NULL, error)
                           : reply_digest_mismatch(exchange, error);
    }
    grv_status status = GRV_OK;
    if (put->wanted.has_sha256) {
        status = grv_hasher_update(&put->sha256, piece, error);
    }
    if (!status && put->wanted.has_blake3) {
        status = grv_hasher_update(&put->blake3, piece, error);
    }
    if (!status && put->wanted.has_sha512 &&
        !EVP_DigestUpdate(put->sha512, piece.data, piece.size)) {
        return hash_failed(error);
    }
    return status;
}

/* Whether the digests that are checked here agree. */
static grv_status digests_check(put_state *put, bool *ret_agree, grv_error *error)
{
    grv_digest digest;
    bool agree = true;
    if (put->wanted.has_sha256) {
        grv_status status = grv_hasher_final(&put->sha256, &digest, error);
        if (status) {
            return status;
        }
        agree = memcmp(digest.bytes, put->wanted.sha256, GRV_DIGEST_SIZE) == 0;
    }
    if (put->wanted.has_blake3) {
        grv_status status = grv_hasher_final(&put->blake3, &digest, error);
        if (status) {
            return status;
        }
        agree = agree && memcmp(digest.bytes, put->wanted.blake3, GRV_DIGEST_SIZE) == 0;
    }
    if (put->wanted.has_sha512) {
        uint8_t bytes[HTTP_SHA512_SIZE];
        unsigned size = sizeof bytes;
        if (!EVP_DigestFinal_ex(put->sha512, bytes, &size) || size != sizeof bytes) {
            return hash_failed(error);
        }
        agree = agree && memcmp(bytes, put->wanted.sha512, sizeof bytes) == 0;
    }
    *ret_agree = agree;
    return GRV_OK;
}

grv_status http_api_put_run(http_exchange *exchange, grv_error *error)
{
    put_state *put = exchange->front;
    bool agree = false;
    grv_status status = digests_check(put, &agree, error);
    if (status) {
        return status;
    }
    if (!agree) {
        return reply_digest_mismatch(exchange, error);
    }
    status = grv_sink_commit(&exchange->call, &put->sink->base, error);
    const grv_put_result *result = &put->sink->result;
    if (status == GRV_CONFLICT && result->key.digest.hash != GRV_HASH_NONE) {
        return put->is_put ? reply_key_mismatch(exchange, put, &result->key, error)
                           : reply_digest_mismatch(exchange, error);
    }
    if (status) {
        return status;
    }
    http_metrics_put(exchange->server->metrics, result);
    return reply_stored(exchange, result, put->is_put && result->already_stored ? 200 : 201, error);
}
