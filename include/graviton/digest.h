/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Digests: an algorithm and 32 bytes. Plain hashes without domain separation, so that `b3sum` and
 * `sha256sum` show the same hex. BLAKE3 picks its SIMD code at run time.
 */
#ifndef GRAVITON_DIGEST_H
#define GRAVITON_DIGEST_H

#include <graviton/bytes.h>

#ifdef __cplusplus
extern "C" {
#endif
#pragma GCC visibility push(default)

/* Size of every digest in bytes. */
#define GRV_DIGEST_SIZE 32
/* Longest text of a digest: "blake3:" or "sha256:", 64 hex digits, NUL. */
#define GRV_DIGEST_TEXT_SIZE 72

/* Hash algorithms. The numbers are stored; never reuse one. 0 is "none". */
typedef enum grv_hash { GRV_HASH_NONE = 0, GRV_HASH_BLAKE3 = 1, GRV_HASH_SHA256 = 2 } grv_hash;

/* Lower-case name: "blake3" or "sha256"; "none" for anything else. Static storage. */
const char *grv_hash_name(grv_hash hash);

/*
 * Parses "blake3", "sha256" or "sha-256", in any case. GRV_INVALID_ARGUMENT names the text and
 * the algorithms there are; *ret_hash is unchanged then.
 */
grv_status grv_hash_parse(grv_bytes text, grv_hash *ret_hash, grv_error *error);

/* A digest. Compare with grv_digest_compare, never by memcmp of the struct. */
typedef struct grv_digest {
    grv_hash hash;
    uint8_t bytes[GRV_DIGEST_SIZE];
} grv_digest;

/* Order by algorithm number, then bytes. Returns <0, 0 or >0. */
int grv_digest_compare(const grv_digest *a, const grv_digest *b);

/* Writes the 64 lower-case hex digits of a digest and a NUL. */
void grv_digest_hex(const grv_digest *digest, char ret_hex[2 * GRV_DIGEST_SIZE + 1]);

/* Digest of `data` in one go; thread-safe. `hash` must be a known algorithm. GRV_INTERNAL if the
 * crypto library fails. */
grv_status grv_digest_of(grv_hash hash, grv_bytes data, grv_digest *ret_digest, grv_error *error);

/*
 * An incremental hasher in caller's storage. One thread at a time. Every successful init is paired
 * with a done.
 */
typedef struct grv_hasher {
    grv_hash hash;
    void *sha; /* OpenSSL context, for sha256 */
    _Alignas(16) uint8_t blake3[1920];
} grv_hasher;

/* Starts a hash. GRV_INVALID_ARGUMENT for an unknown algorithm, GRV_LIMIT_EXCEEDED without
 * memory. */
grv_status grv_hasher_init(grv_hasher *hasher, grv_hash hash, grv_error *error);

/* Adds bytes. GRV_INTERNAL if the crypto library fails. */
grv_status grv_hasher_update(grv_hasher *hasher, grv_bytes data, grv_error *error);

/* The digest of all bytes so far; the hasher may not be updated after it. */
grv_status grv_hasher_final(grv_hasher *hasher, grv_digest *ret_digest, grv_error *error);

/* Frees what init took. Harmless on a zeroed hasher. */
void grv_hasher_done(grv_hasher *hasher);

#pragma GCC visibility pop
#ifdef __cplusplus
}
#endif

#endif
