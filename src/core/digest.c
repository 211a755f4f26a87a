/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Digests over two libraries: BLAKE3's own C code and OpenSSL's SHA-256. What is here is only the
 * choice between them and the text forms.
 */
#include "base/digits.h"

#include <blake3.h>
#include <graviton/digest.h>
#include <openssl/evp.h>
#include <string.h>
#include <strings.h>

_Static_assert(sizeof(blake3_hasher) <= sizeof(((grv_hasher *)0)->blake3),
               "grv_hasher holds a blake3_hasher");
_Static_assert(BLAKE3_OUT_LEN == GRV_DIGEST_SIZE, "digest size");

static EVP_MD *sha256_method;

/*
 * BLAKE3 looks the CPU's features up at first use and keeps them in a plain variable; doing that
 * here, before there are threads, keeps it from being a race. OpenSSL's algorithm is fetched once
 * for the same reason and because fetching is slow.
 */
__attribute__((constructor)) static void digest_start(void)
{
    blake3_hasher hasher;
    uint8_t out[BLAKE3_OUT_LEN];
    blake3_hasher_init(&hasher);
    blake3_hasher_update(&hasher, "", 0);
    blake3_hasher_finalize(&hasher, out, sizeof out);
    sha256_method = EVP_MD_fetch(NULL, "SHA256", NULL);
}

const char *grv_hash_name(grv_hash hash)
{
    switch (hash) {
    case GRV_HASH_BLAKE3:
        return "blake3";
    case GRV_HASH_SHA256:
        return "sha256";
    case GRV_HASH_NONE:
        break;
    }
    return "none";
}

grv_status grv_hash_parse(grv_bytes text, grv_hash *ret_hash, grv_error *error)
{
    static const struct {
        const char *name;
        grv_hash hash;
    } names[] = {
        {"blake3", GRV_HASH_BLAKE3},
        {"sha256", GRV_HASH_SHA256},
        {"sha-256", GRV_HASH_SHA256},
    };
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        if (text.size == strlen(names[i].name) &&
            strncasecmp((const char *)text.data, names[i].name, text.size) == 0) {
            *ret_hash = names[i].hash;
            return GRV_OK;
        }
    }
    int shown = text.size < 32 ? (int)text.size : 32;
    return grv_error_set(error, GRV_INVALID_ARGUMENT, "digest",
                         "unknown hash algorithm \"%.*s\": use blake3 or sha256", shown,
                         text.size ? (const char *)text.data : "");
}

int grv_digest_compare(const grv_digest *a, const grv_digest *b)
{
    if (a->hash != b->hash) {
        return a->hash < b->hash ? -1 : 1;
    }
    return memcmp(a->bytes, b->bytes, GRV_DIGEST_SIZE);
}

void grv_digest_hex(const grv_digest *digest, char ret_hex[2 * GRV_DIGEST_SIZE + 1])
{
    grv_hex_print(digest->bytes, GRV_DIGEST_SIZE, ret_hex);
}

static grv_status sha_failed(grv_error *error)
{
    return grv_error_set(error, GRV_INTERNAL, "digest", "OpenSSL's SHA-256 failed");
}

grv_status grv_digest_of(grv_hash hash, grv_bytes data, grv_digest *ret_digest, grv_error *error)
{
    if (hash == GRV_HASH_BLAKE3) {
        blake3_hasher hasher;
        blake3_hasher_init(&hasher);
        blake3_hasher_update(&hasher, data.data, data.size);
        blake3_hasher_finalize(&hasher, ret_digest->bytes, GRV_DIGEST_SIZE);
        ret_digest->hash = hash;
        return GRV_OK;
    }
    grv_hasher hasher;
    grv_status status = grv_hasher_init(&hasher, hash, error);
    if (status) {
        return status;
    }
    status = grv_hasher_update(&hasher, data, error);
    if (!status) {
        status = grv_hasher_final(&hasher, ret_digest, error);
    }
    grv_hasher_done(&hasher);
    return status;
}

grv_status grv_hasher_init(grv_hasher *hasher, grv_hash hash, grv_error *error)
{
    hasher->hash = hash;
    hasher->sha = NULL;
    if (hash == GRV_HASH_BLAKE3) {
        blake3_hasher_init((blake3_hasher *)(void *)hasher->blake3);
        return GRV_OK;
    }
    if (hash != GRV_HASH_SHA256) {
        return grv_error_set(error, GRV_INVALID_ARGUMENT, "digest", "unknown hash algorithm %d",
                             (int)hash);
    }
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    if (!context) {
        return grv_error_set(error, GRV_LIMIT_EXCEEDED, "digest", "no memory for a hash context");
    }
    if (!sha256_method || EVP_DigestInit_ex2(context, sha256_method, NULL) != 1) {
        EVP_MD_CTX_free(context);
        return sha_failed(error);
    }
    hasher->sha = context;
    return GRV_OK;
}

grv_status grv_hasher_update(grv_hasher *hasher, grv_bytes data, grv_error *error)
{
    if (hasher->hash == GRV_HASH_BLAKE3) {
        blake3_hasher_update((blake3_hasher *)(void *)hasher->blake3, data.data, data.size);
        return GRV_OK;
    }
    if (EVP_DigestUpdate(hasher->sha, data.data, data.size) != 1) {
        return sha_failed(error);
    }
    return GRV_OK;
}

grv_status grv_hasher_final(grv_hasher *hasher, grv_digest *ret_digest, grv_error *error)
{
    if (hasher->hash == GRV_HASH_BLAKE3) {
        blake3_hasher_finalize((blake3_hasher *)(void *)hasher->blake3, ret_digest->bytes,
                               GRV_DIGEST_SIZE);
    } else if (EVP_DigestFinal_ex(hasher->sha, ret_digest->bytes, NULL) != 1) {
        return sha_failed(error);
    }
    ret_digest->hash = hasher->hash;
    return GRV_OK;
}

void grv_hasher_done(grv_hasher *hasher)
{
    EVP_MD_CTX_free(hasher->sha);
    hasher->sha = NULL;
    hasher->hash = GRV_HASH_NONE;
}
