/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Blob ids as people type them: the whole id, or the first hex digits of its digest (at least 8),
 * with or without the algorithm in front. A prefix must fit exactly one blob of the store.
 */
#ifndef GRAVITON_CLI_ID_H
#define GRAVITON_CLI_ID_H

#include <graviton/store.h>

/* Fewest digits of a prefix. */
#define CLI_ID_DIGITS_MIN 8

/* A parsed id, before the store was asked. */
typedef struct cli_id {
    bool whole;       /* key is the blob's; else `digits` of its digest are known */
    unsigned digits;  /* hex digits; the rest of the digest is zero */
    grv_blob_key key; /* hash is GRV_HASH_NONE in a prefix without algorithm */
} cli_id;

/* Parses what was typed. GRV_INVALID_ARGUMENT says what is wrong with it. */
grv_status cli_id_parse(const char *text, cli_id *ret_id, grv_error *error);

/*
 * The key of an id in a store. A whole id is not looked up. GRV_NOT_FOUND where no blob begins so,
 * GRV_INVALID_ARGUMENT where several do; the message lists them.
 */
grv_status cli_id_resolve(const grv_call *call, grv_store *store, const cli_id *id,
                          grv_blob_key *ret_key, grv_error *error);

#endif
