/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The table of known lists: one slot a fingerprint, the newer takes the older's place. A slot is
 * two words, each atomic by itself. Two threads that fill it at once may leave a half of each: that
 * matches neither list, and any other one only as likely as two fingerprints are the same.
 */
#include "store/known.h"

#include "core/wire.h"

#include <string.h>

/* A key as it is hashed: algorithm, digest, size. */
enum { KEY_BYTES = 1 + GRV_DIGEST_SIZE + 8 };
/* Keys hashed in one go. */
enum { KEYS_AT_ONCE = 32 };

static void put_key(uint8_t out[KEY_BYTES], const grv_digest *digest, uint64_t size)
{
    out[0] = (uint8_t)digest->hash;
    memcpy(out + 1, digest->bytes, GRV_DIGEST_SIZE);
    grv_wire_put_u64(out + 1 + GRV_DIGEST_SIZE, size);
}

grv_status grv_known_print_of(const grv_blob_key *blob, const grv_block_ref refs[], size_t count,
                              grv_known_print *ret_print, grv_error *error)
{
    grv_hasher hasher;
    grv_status status = grv_hasher_init(&hasher, GRV_HASH_BLAKE3, error);
    if (status) {
        return status;
    }
    uint8_t bytes[KEYS_AT_ONCE * KEY_BYTES];
    put_key(bytes, &blob->digest, blob->size);
    size_t filled = 1;
    for (size_t i = 0; i < count && !status; i++) {
        if (filled == KEYS_AT_ONCE) {
            status = grv_hasher_update(&hasher, grv_bytes_of(bytes, sizeof bytes), error);
            filled = 0;
        }
        put_key(bytes + filled++ * KEY_BYTES, &refs[i].key.digest, refs[i].key.size);
    }
    grv_digest digest;
    if (!status) {
        status = grv_hasher_update(&hasher, grv_bytes_of(bytes, filled * KEY_BYTES), error);
    }
    if (!status) {
        status = grv_hasher_final(&hasher, &digest, error);
    }
    grv_hasher_done(&hasher);
    if (!status) {
        *ret_print =
            (grv_known_print){{grv_wire_get_u64(digest.bytes), grv_wire_get_u64(digest.bytes + 8)}};
    }
    return status;
}

bool grv_known_has(grv_known *known, const grv_known_print *print)
{
    _Atomic uint64_t *slot = known->slots[print->words[0] % GRV_KNOWN_SLOTS];
    return atomic_load_explicit(&slot[0], memory_order_relaxed) == print->words[0] &&
           atomic_load_explicit(&slot[1], memory_order_relaxed) == print->words[1];
}

void grv_known_add(grv_known *known, const grv_known_print *print)
{
    _Atomic uint64_t *slot = known->slots[print->words[0] % GRV_KNOWN_SLOTS];
    atomic_store_explicit(&slot[0], print->words[0], memory_order_relaxed);
    atomic_store_explicit(&slot[1], print->words[1], memory_order_relaxed);
}
