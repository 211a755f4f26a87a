/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Lists of blocks that this process has seen hash to a blob's digest. A fixed table of fingerprints
 * that forgets; what it holds of a list stays true whatever becomes of the blob or its blocks.
 */
#ifndef GRV_STORE_KNOWN_H
#define GRV_STORE_KNOWN_H

#include <graviton/blob.h>
#include <stdatomic.h>

/* Fingerprints that a table holds: 1 MiB of them. */
#define GRV_KNOWN_SLOTS 65536u

/* The fingerprint of a blob and the list of its blocks. */
typedef struct grv_known_print {
    uint64_t words[2];
} grv_known_print;

/* The table; all zero is an empty one. */
typedef struct grv_known {
    _Atomic uint64_t slots[GRV_KNOWN_SLOTS][2];
} grv_known;

/* Hashes the blob's key and its blocks' keys, in order. Fails as grv_hasher_update does. */
grv_status grv_known_print_of(const grv_blob_key *blob, const grv_block_ref refs[], size_t count,
                              grv_known_print *ret_print, grv_error *error);

/* Whether the list was added, and not forgotten since. Thread-safe. */
bool grv_known_has(grv_known *known, const grv_known_print *print);

/* Adds a list whose bytes were hashed. Thread-safe. */
void grv_known_add(grv_known *known, const grv_known_print *print);

#endif
