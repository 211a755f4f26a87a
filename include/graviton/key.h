/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The names of things: a block key and a blob key, each a digest and a size, and two different
 * types so that the compiler keeps them apart. Text form: `<algo>:<64 hex>:<size>`, lower case
 * when printed, any case when parsed, the size decimal without sign or leading zero.
 */
#ifndef GRAVITON_KEY_H
#define GRAVITON_KEY_H

#include <graviton/digest.h>

#ifdef __cplusplus
extern "C" {
#endif
#pragma GCC visibility push(default)

/* A block has 1 byte to 16 MiB. */
#define GRV_BLOCK_SIZE_MAX (16u << 20)
/* A blob has 0 to 2^63 - 1 bytes. */
#define GRV_BLOB_SIZE_MAX ((uint64_t)INT64_MAX)
/* Room for any key as text, NUL included. */
#define GRV_KEY_TEXT_SIZE 96
/* A key as sortable bytes: algorithm (1), digest (32), size big-endian (8). */
#define GRV_KEY_BYTES_SIZE 41

/* Names a block: the digest of its bytes and their number. */
typedef struct grv_block_key {
    grv_digest digest;
    uint32_t size;
} grv_block_key;

/* Names a blob: the digest of all its bytes and their number. */
typedef struct grv_blob_key {
    grv_digest digest;
    uint64_t size;
} grv_blob_key;

/* Order by algorithm, digest bytes, size; the same as memcmp of the byte forms. */
int grv_block_key_compare(const grv_block_key *a, const grv_block_key *b);
int grv_blob_key_compare(const grv_blob_key *a, const grv_blob_key *b);

/* Prints a key; the result is NUL-terminated. */
void grv_block_key_print(const grv_block_key *key, char ret_text[GRV_KEY_TEXT_SIZE]);
void grv_blob_key_print(const grv_blob_key *key, char ret_text[GRV_KEY_TEXT_SIZE]);

/*
 * Parses a whole key. GRV_INVALID_ARGUMENT says what is wrong with it (algorithm, hex, size or
 * form); *ret_key is unchanged then.
 */
grv_status grv_block_key_parse(grv_bytes text, grv_block_key *ret_key, grv_error *error);
grv_status grv_blob_key_parse(grv_bytes text, grv_blob_key *ret_key, grv_error *error);

/* The sortable byte form and back. Decoding checks algorithm and size: GRV_CORRUPT if wrong. */
void grv_block_key_encode(const grv_block_key *key, uint8_t ret_bytes[GRV_KEY_BYTES_SIZE]);
void grv_blob_key_encode(const grv_blob_key *key, uint8_t ret_bytes[GRV_KEY_BYTES_SIZE]);
grv_status grv_block_key_decode(grv_bytes bytes, grv_block_key *ret_key, grv_error *error);
grv_status grv_blob_key_decode(grv_bytes bytes, grv_blob_key *ret_key, grv_error *error);

/* True for a known algorithm and a size in range: what every port may assume of a key. */
bool grv_block_key_is_valid(const grv_block_key *key);
bool grv_blob_key_is_valid(const grv_blob_key *key);

#pragma GCC visibility pop
#ifdef __cplusplus
}
#endif

#endif
