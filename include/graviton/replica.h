/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a replica index is about: keys of things that lie somewhere (blobs, blocks, packs), and sets
 * of the locators where they lie.
 */
#ifndef GRAVITON_REPLICA_H
#define GRAVITON_REPLICA_H

#include <graviton/key.h>
#include <graviton/locator.h>

#ifdef __cplusplus
extern "C" {
#endif
#pragma GCC visibility push(default)

/* Bytes of a session's id. */
#define GRV_SESSION_ID_SIZE 16
/* Most locators of one set. */
#define GRV_LOCATOR_SET_MAX 1024u
/* A replica key as sortable bytes: its kind (1), then what it names, at most as long as a key. */
#define GRV_REPLICA_KEY_BYTES_MAX (1 + GRV_KEY_BYTES_SIZE)
/* Room for any replica key as text, NUL included. */
#define GRV_REPLICA_KEY_TEXT_SIZE (GRV_KEY_TEXT_SIZE + 8)

/* What a replica key names. The numbers are stored. */
typedef enum grv_replica_kind {
    GRV_REPLICA_BLOB = 1,
    GRV_REPLICA_BLOCK = 2,
    GRV_REPLICA_PACK = 3
} grv_replica_kind;

/* Names a pack: the session that wrote it and its number there. */
typedef struct grv_pack_key {
    uint8_t session[GRV_SESSION_ID_SIZE];
    uint64_t number;
} grv_pack_key;

/* Names something that lies somewhere. `kind` says which member counts. */
typedef struct grv_replica_key {
    grv_replica_kind kind;
    union {
        grv_blob_key blob;
        grv_block_key block;
        grv_pack_key pack;
    } of;
} grv_replica_key;

/* True for a known kind and a valid key of it. */
bool grv_replica_key_is_valid(const grv_replica_key *key);

/* Order by kind, then as the keys of that kind (packs: session, number); the same as that of the
 * byte forms. */
int grv_replica_key_compare(const grv_replica_key *a, const grv_replica_key *b);

/* The sortable byte form, and how many bytes it has. Decoding wants all of `bytes`: GRV_CORRUPT if
 * wrong. */
size_t grv_replica_key_encode(const grv_replica_key *key,
                              uint8_t ret_bytes[GRV_REPLICA_KEY_BYTES_MAX]);
grv_status grv_replica_key_decode(grv_bytes bytes, grv_replica_key *ret_key, grv_error *error);

/* For people: `blob:` or `block:` and the key, or `pack:<32 hex>:<number>`. NUL-terminated. */
void grv_replica_key_print(const grv_replica_key *key, char ret_text[GRV_REPLICA_KEY_TEXT_SIZE]);

/* Locators in the caller's storage, in the order of grv_locator_compare, each once. Not
 * thread-safe. */
typedef struct grv_locator_set {
    grv_locator *locators;
    size_t count;
    size_t capacity;
} grv_locator_set;

/* The empty set; allocates nothing. */
void grv_locator_set_init(grv_locator_set *set);
/* Frees the set's memory; it may be initialised again. */
void grv_locator_set_done(grv_locator_set *set);

/* Puts a copy of `locator` into the set; harmless where it is there. GRV_LIMIT_EXCEEDED past
 * GRV_LOCATOR_SET_MAX or without memory, and then the set is as before. */
grv_status grv_locator_set_add(grv_locator_set *set, const grv_locator *locator, grv_error *error);

/* Takes `locator` out; harmless where it is not there. */
void grv_locator_set_remove(grv_locator_set *set, const grv_locator *locator);

/* True where `locator` is in the set. */
bool grv_locator_set_contains(const grv_locator_set *set, const grv_locator *locator);

#pragma GCC visibility pop
#ifdef __cplusplus
}
#endif

#endif
