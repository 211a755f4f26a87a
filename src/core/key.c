/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Block and blob keys: text and sortable bytes. Both kinds share one internal form, so that the
 * two public types cannot drift apart.
 */
#include "base/digits.h"

#include <graviton/key.h>
#include <inttypes.h>
#include <string.h>

static int key_compare(const grv_digest *a, uint64_t a_size, const grv_digest *b, uint64_t b_size)
{
    int order = grv_digest_compare(a, b);
    return order ? order : (a_size > b_size) - (a_size < b_size);
}

int grv_block_key_compare(const grv_block_key *a, const grv_block_key *b)
{
    return key_compare(&a->digest, a->size, &b->digest, b->size);
}

int grv_blob_key_compare(const grv_blob_key *a, const grv_blob_key *b)
{
    return key_compare(&a->digest, a->size, &b->digest, b->size);
}

static void key_print(const grv_digest *digest, uint64_t size, char ret_text[GRV_KEY_TEXT_SIZE])
{
    const char *name = grv_hash_name(digest->hash);
    size_t used = strlen(name);
    memcpy(ret_text, name, used);
    ret_text[used++] = ':';
    grv_digest_hex(digest, ret_text + used);
    used += 2 * GRV_DIGEST_SIZE;
    ret_text[used++] = ':';
    grv_decimal_print(size, ret_text + used);
}

void grv_block_key_print(const grv_block_key *key, char ret_text[GRV_KEY_TEXT_SIZE])
{
    key_print(&key->digest, key->size, ret_text);
}

void grv_blob_key_print(const grv_blob_key *key, char ret_text[GRV_KEY_TEXT_SIZE])
{
    key_print(&key->digest, key->size, ret_text);
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

static grv_status key_refuse(grv_bytes text, const char *why, grv_error *error)
{
    int shown = text.size < 120 ? (int)text.size : 120;
    return grv_error_set(error, GRV_INVALID_ARGUMENT, "key", "bad id \"%.*s\": %s", shown,
                         text.size ? (const char *)text.data : "", why);
}

/* Decimal without sign or leading zero, min <= size <= max. */
static bool size_parse(grv_bytes text, uint64_t min, uint64_t max, uint64_t *ret_size)
{
    if (text.size == 0 || text.size > 19 || (text.size > 1 && text.data[0] == '0')) {
        return false;
    }
    uint64_t size = 0;
    for (size_t i = 0; i < text.size; i++) {
        if (text.data[i] < '0' || text.data[i] > '9') {
            return false;
        }
        size = size * 10 + (uint64_t)(text.data[i] - '0'); /* 19 digits fit 64 bits */
    }
    if (size < min || size > max) {
        return false;
    }
    *ret_size = size;
    return true;
}

static grv_status key_parse(grv_bytes text, uint64_t min, uint64_t max, grv_digest *ret_digest,
                            uint64_t *ret_size, grv_error *error)
{
    const uint8_t *colon = text.size ? memchr(text.data, ':', text.size) : NULL;
    if (!colon) {
        return key_refuse(text, "want ALGORITHM:64 HEX DIGITS:SIZE", error);
    }
    size_t name_size = (size_t)(colon - text.data);
    grv_digest digest = {0};
    grv_status status = grv_hash_parse(grv_bytes_of(text.data, name_size), &digest.hash, error);
    if (status) {
        return key_refuse(text, "unknown algorithm, use blake3 or sha256", error);
    }
    const uint8_t *hex = colon + 1;
    size_t rest = text.size - name_size - 1;
    if (rest < 2 * GRV_DIGEST_SIZE + 2 || hex[2 * GRV_DIGEST_SIZE] != ':') {
        return key_refuse(text, "want 64 hex digits, then \":\" and the size", error);
    }
    for (size_t i = 0; i < GRV_DIGEST_SIZE; i++) {
        int high = hex_value(hex[2 * i]);
        int low = hex_value(hex[2 * i + 1]);
        if (high < 0 || low < 0) {
            return key_refuse(text, "the digest is not 64 hex digits", error);
        }
        digest.bytes[i] = (uint8_t)(high << 4 | low);
    }
    uint64_t size = 0;
    grv_bytes digits = {hex + 2 * GRV_DIGEST_SIZE + 1, rest - 2 * GRV_DIGEST_SIZE - 1};
    if (!size_parse(digits, min, max, &size)) {
        return key_refuse(text, "the size is not a decimal number in range", error);
    }
    *ret_digest = digest;
    *ret_size = size;
    return GRV_OK;
}

grv_status grv_block_key_parse(grv_bytes text, grv_block_key *ret_key, grv_error *error)
{
    grv_digest digest;
    uint64_t size = 0;
    grv_status status = key_parse(text, 1, GRV_BLOCK_SIZE_MAX, &digest, &size, error);
    if (status) {
        return status;
    }
    *ret_key = (grv_block_key){.digest = digest, .size = (uint32_t)size};
    return GRV_OK;
}

grv_status grv_blob_key_parse(grv_bytes text, grv_blob_key *ret_key, grv_error *error)
{
    grv_digest digest;
    uint64_t size = 0;
    grv_status status = key_parse(text, 0, GRV_BLOB_SIZE_MAX, &digest, &size, error);
    if (status) {
        return status;
    }
    *ret_key = (grv_blob_key){.digest = digest, .size = size};
    return GRV_OK;
}

static void key_encode(const grv_digest *digest, uint64_t size,
                       uint8_t ret_bytes[GRV_KEY_BYTES_SIZE])
{
    ret_bytes[0] = (uint8_t)digest->hash;
    memcpy(ret_bytes + 1, digest->bytes, GRV_DIGEST_SIZE);
    for (unsigned i = 0; i < 8; i++) {
        ret_bytes[1 + GRV_DIGEST_SIZE + i] = (uint8_t)(size >> (56 - 8 * i));
    }
}

void grv_block_key_encode(const grv_block_key *key, uint8_t ret_bytes[GRV_KEY_BYTES_SIZE])
{
    key_encode(&key->digest, key->size, ret_bytes);
}

void grv_blob_key_encode(const grv_blob_key *key, uint8_t ret_bytes[GRV_KEY_BYTES_SIZE])
{
    key_encode(&key->digest, key->size, ret_bytes);
}

static grv_status key_decode(grv_bytes bytes, uint64_t min, uint64_t max, grv_digest *ret_digest,
                             uint64_t *ret_size, grv_error *error)
{
    if (bytes.size != GRV_KEY_BYTES_SIZE) {
        return grv_error_set(error, GRV_CORRUPT, "key", "a stored key has %zu bytes instead of %d",
                             bytes.size, GRV_KEY_BYTES_SIZE);
    }
    uint64_t size = 0;
    for (unsigned i = 0; i < 8; i++) {
        size = size << 8 | bytes.data[1 + GRV_DIGEST_SIZE + i];
    }
    if (bytes.data[0] != GRV_HASH_BLAKE3 && bytes.data[0] != GRV_HASH_SHA256) {
        return grv_error_set(error, GRV_CORRUPT, "key", "a stored key has unknown algorithm %u",
                             bytes.data[0]);
    }
    if (size < min || size > max) {
        return grv_error_set(error, GRV_CORRUPT, "key",
                             "a stored key has size %" PRIu64 ", out of range", size);
    }
    ret_digest->hash = (grv_hash)bytes.data[0];
    memcpy(ret_digest->bytes, bytes.data + 1, GRV_DIGEST_SIZE);
    *ret_size = size;
    return GRV_OK;
}

grv_status grv_block_key_decode(grv_bytes bytes, grv_block_key *ret_key, grv_error *error)
{
    grv_digest digest;
    uint64_t size = 0;
    grv_status status = key_decode(bytes, 1, GRV_BLOCK_SIZE_MAX, &digest, &size, error);
    if (status) {
        return status;
    }
    *ret_key = (grv_block_key){.digest = digest, .size = (uint32_t)size};
    return GRV_OK;
}

grv_status grv_blob_key_decode(grv_bytes bytes, grv_blob_key *ret_key, grv_error *error)
{
    grv_digest digest;
    uint64_t size = 0;
    grv_status status = key_decode(bytes, 0, GRV_BLOB_SIZE_MAX, &digest, &size, error);
    if (status) {
        return status;
    }
    *ret_key = (grv_blob_key){.digest = digest, .size = size};
    return GRV_OK;
}

static bool hash_is_known(grv_hash hash)
{
    return hash == GRV_HASH_BLAKE3 || hash == GRV_HASH_SHA256;
}

bool grv_block_key_is_valid(const grv_block_key *key)
{
    return hash_is_known(key->digest.hash) && key->size >= 1 && key->size <= GRV_BLOCK_SIZE_MAX;
}

bool grv_blob_key_is_valid(const grv_blob_key *key)
{
    return hash_is_known(key->digest.hash) && key->size <= GRV_BLOB_SIZE_MAX;
}
