/* SPDX-License-Identifier: Apache-2.0 */
/*
 * AWS Signature Version 4, in the Authorization header. Pure: the same parts give the same
 * signature. S3 takes the path as it is: it is neither normalised nor encoded a second time.
 */
#include "backend/s3/client.h"

#include <graviton/digest.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <string.h>
#include <time.h>

#define ALGORITHM "AWS4-HMAC-SHA256"
/* Most bytes of a canonical request: a URL and the headers, each bounded by those who make them. */
#define CANONICAL_MAX ((size_t)256 << 10)

void grv_s3_time_print(uint64_t seconds, char ret_text[17])
{
    time_t when = (time_t)seconds;
    struct tm parts;
    if (!gmtime_r(&when, &parts) || strftime(ret_text, 17, "%Y%m%dT%H%M%SZ", &parts) != 16) {
        memcpy(ret_text, "19700101T000000Z", 17); /* a clock beyond the year 9999 */
    }
}

static grv_status hmac(const uint8_t *key, size_t key_size, grv_bytes text,
                       uint8_t ret_mac[SHA256_DIGEST_LENGTH], grv_error *error)
{
    unsigned size = SHA256_DIGEST_LENGTH;
    if (!HMAC(EVP_sha256(), key, (int)key_size, text.data, text.size, ret_mac, &size)) {
        return grv_error_set(error, GRV_INTERNAL, "s3", "OpenSSL's HMAC failed");
    }
    return GRV_OK;
}

static grv_bytes bytes_of(const char *text)
{
    return grv_bytes_of(text, strlen(text));
}

grv_status grv_s3_signing_key(const char *secret, const char *time, const char *region,
                              const char *service, uint8_t ret_key[SHA256_DIGEST_LENGTH],
                              grv_error *error)
{
    grv_buffer first;
    grv_buffer_init(&first, 4096);
    uint8_t key[SHA256_DIGEST_LENGTH];
    grv_status status = grv_buffer_reserve(&first, 4 + strlen(secret), error);
    if (!status) {
        status = grv_buffer_append(&first, bytes_of("AWS4"), error);
    }
    if (!status) {
        status = grv_buffer_append(&first, bytes_of(secret), error);
    }
    if (!status) {
        status = hmac(first.data, first.size, grv_bytes_of(time, 8), key, error);
    }
    if (!status) {
        status = hmac(key, sizeof key, bytes_of(region), key, error);
    }
    if (!status) {
        status = hmac(key, sizeof key, bytes_of(service), key, error);
    }
    if (!status) {
        status = hmac(key, sizeof key, bytes_of("aws4_request"), ret_key, error);
    }
    OPENSSL_cleanse(key, sizeof key);
    if (first.data) {
        OPENSSL_cleanse(first.data, first.capacity);
    }
    grv_buffer_done(&first);
    return status;
}

static grv_status append(grv_buffer *out, const char *text, grv_error *error)
{
    return grv_buffer_append(out, bytes_of(text), error);
}

/* A header's value as it is signed: no spaces around it, one where there are several. */
static grv_status append_trimmed(grv_buffer *out, const char *value, grv_error *error)
{
    size_t start = out->size;
    grv_status status = grv_buffer_reserve(out, strlen(value), error);
    for (; !status && *value; value++) {
        bool space = *value == ' ' || *value == '\t';
        bool behind_space = out->size == start || out->data[out->size - 1] == ' ';
        if (!space || !behind_space) {
            out->data[out->size++] = (uint8_t)(space ? ' ' : *value);
        }
    }
    if (!status && out->size > start && out->data[out->size - 1] == ' ') {
        out->size--;
    }
    return status;
}

static void sort_headers(const grv_s3_signing *signing, const grv_s3_pair *ret_sorted[])
{
    for (size_t i = 0; i < signing->header_count; i++) {
        size_t place = i;
        while (place > 0 && strcmp(signing->headers[i].name, ret_sorted[place - 1]->name) < 0) {
            ret_sorted[place] = ret_sorted[place - 1];
            place--;
        }
        ret_sorted[place] = &signing->headers[i];
    }
}

/* The names of the headers, ";" between them. */
static grv_status append_names(grv_buffer *out, const grv_s3_pair *const sorted[], size_t count,
                               grv_error *error)
{
    grv_status status = GRV_OK;
    for (size_t i = 0; i < count && !status; i++) {
        if (i > 0 && strcmp(sorted[i]->name, sorted[i - 1]->name) == 0) {
            continue;
        }
        status = i > 0 ? append(out, ";", error) : GRV_OK;
        if (!status) {
            status = append(out, sorted[i]->name, error);
        }
    }
    return status;
}

/* Headers by name; values of one name, in the order they came, on one line. */
static grv_status append_headers(grv_buffer *out, const grv_s3_pair *const sorted[], size_t count,
                                 grv_error *error)
{
    grv_status status = GRV_OK;
    for (size_t i = 0; i < count && !status; i++) {
        bool more = i > 0 && strcmp(sorted[i]->name, sorted[i - 1]->name) == 0;
        if (more) {
            status = append(out, ",", error);
        } else {
            status = append(out, i > 0 ? "\n" : "", error);
            if (!status) {
                status = append(out, sorted[i]->name, error);
            }
            if (!status) {
                status = append(out, ":", error);
            }
        }
        if (!status) {
            status = append_trimmed(out, sorted[i]->value, error);
        }
    }
    return status ? status : append(out, "\n\n", error);
}

/* The canonical request. */
static grv_status append_canonical(grv_buffer *out, const grv_s3_signing *signing,
                                   const grv_s3_pair *const sorted[], grv_error *error)
{
    const char *first[] = {signing->method, "\n", signing->path, "\n", signing->query, "\n"};
    grv_status status = GRV_OK;
    for (size_t i = 0; i < sizeof first / sizeof first[0] && !status; i++) {
        status = append(out, first[i], error);
    }
    if (!status) {
        status = append_headers(out, sorted, signing->header_count, error);
    }
    if (!status) {
        status = append_names(out, sorted, signing->header_count, error);
    }
    if (!status) {
        status = append(out, "\n", error);
    }
    return status ? status : append(out, signing->payload, error);
}

static grv_status append_scope(grv_buffer *out, const grv_s3_signing *signing, grv_error *error)
{
    const char *parts[] = {"/", signing->region, "/", signing->service, "/aws4_request"};
    grv_status status = grv_buffer_append(out, grv_bytes_of(signing->time, 8), error);
    for (size_t i = 0; i < sizeof parts / sizeof parts[0] && !status; i++) {
        status = append(out, parts[i], error);
    }
    return status;
}

/* The signature's digits, from the canonical request. */
static grv_status signature_of(const grv_s3_signing *signing, const uint8_t *key,
                               grv_bytes canonical, char ret_digits[GRV_S3_HASH_DIGITS + 1],
                               grv_error *error)
{
    grv_digest digest;
    grv_status status = grv_digest_of(GRV_HASH_SHA256, canonical, &digest, error);
    if (status) {
        return status;
    }
    char digits[GRV_S3_HASH_DIGITS + 1];
    grv_digest_hex(&digest, digits);
    grv_buffer text;
    grv_buffer_init(&text, 4096);
    const char *first[] = {ALGORITHM "\n", signing->time, "\n"};
    for (size_t i = 0; i < sizeof first / sizeof first[0] && !status; i++) {
        status = append(&text, first[i], error);
    }
    if (!status) {
        status = append_scope(&text, signing, error);
    }
    if (!status) {
        status = append(&text, "\n", error);
    }
    if (!status) {
        status = append(&text, digits, error);
    }
    if (!status) {
        status = hmac(key, SHA256_DIGEST_LENGTH, grv_buffer_bytes(&text), digest.bytes, error);
    }
    if (!status) {
        grv_digest_hex(&digest, ret_digits);
    }
    grv_buffer_done(&text);
    return status;
}

grv_status grv_s3_sign(const grv_s3_signing *signing, const uint8_t key[SHA256_DIGEST_LENGTH],
                       grv_buffer *out, grv_error *error)
{
    const grv_s3_pair *sorted[GRV_S3_HEADERS_MAX];
    char digits[GRV_S3_HASH_DIGITS + 1];
    if (signing->header_count > GRV_S3_HEADERS_MAX) {
        return grv_error_set(error, GRV_INTERNAL, "s3", "%zu headers, more than %u",
                             signing->header_count, GRV_S3_HEADERS_MAX);
    }
    sort_headers(signing, sorted);
    grv_buffer canonical;
    grv_buffer_init(&canonical, CANONICAL_MAX);
    grv_status status = append_canonical(&canonical, signing, sorted, error);
    if (!status) {
        status = signature_of(signing, key, grv_buffer_bytes(&canonical), digits, error);
    }
    grv_buffer_done(&canonical);
    const char *first[] = {ALGORITHM " Credential=", signing->key_id, "/"};
    for (size_t i = 0; i < sizeof first / sizeof first[0] && !status; i++) {
        status = append(out, first[i], error);
    }
    if (!status) {
        status = append_scope(out, signing, error);
    }
    if (!status) {
        status = append(out, ",SignedHeaders=", error);
    }
    if (!status) {
        status = append_names(out, sorted, signing->header_count, error);
    }
    if (!status) {
        status = append(out, ",Signature=", error);
    }
    return status ? status : append(out, digits, error);
}
