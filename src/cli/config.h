/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which store a command works on. Four levels, and the first that says anything decides alone:
 * flags; GRAVITON_STORE, GRAVITON_BLOCKS, GRAVITON_META; the Scala server's variables, where
 * GRAVITON_BLOB_BACKEND is set; ./graviton-data.
 */
#ifndef GRAVITON_CLI_CONFIG_H
#define GRAVITON_CLI_CONFIG_H

#include "cli/options.h"
#include "store/place.h"

#include <graviton/store.h>

/* A store's configuration together with the memory it borrows from. */
typedef struct cli_config {
    grv_store_config store;
    grv_chunker_spec chunker; /* what store.chunker points at, where it is set */
    grv_place place;          /* where that store is */
    uint64_t reserve_bytes;   /* what store.reserve_bytes points at, where it is set */
    grv_s3_config s3;         /* what store.s3 points at, where it is set */
    char *owned_blocks;
    char *owned_meta;
    char *owned_token;
} cli_config;

/* What one level says, and how it spells that, for messages. */
typedef struct cli_config_level {
    const char *store;
    const char *blocks;
    const char *meta;
    const char *store_name;
    const char *blocks_name;
    const char *meta_name;
} cli_config_level;

/* Whether the level says anything. */
static inline bool cli_config_level_decides(const cli_config_level *level)
{
    return level->store || level->blocks || level->meta;
}

/*
 * Reads options and environment. GRV_INVALID_ARGUMENT for words that contradict each other or are
 * malformed, GRV_UNSUPPORTED for backends that this version does not have. `ret_config` borrows
 * from `options` and the environment, and must not move; cli_config_done frees the rest.
 */
grv_status cli_config_init(cli_config *ret_config, const cli_options *options, grv_error *error);

/* The metadata's URL alone, by the same four levels: for what works on it without a store. Where no
 * level names one, GRV_INVALID_ARGUMENT. *ret_url is borrowed as above; `ret_config` holds what it
 * may borrow from, and ends with cli_config_done. */
grv_status cli_config_meta(cli_config *ret_config, const cli_options *options, const char **ret_url,
                           grv_error *error);

/* Reads how S3 is asked, as the environment says beside what the library reads there itself: sets
 * what it finds. */
grv_status cli_config_s3(grv_s3_config *s3, grv_error *error);

/* As cli_config_init, for a store that `level` alone names, of a command that has several. */
grv_status cli_config_init_at(cli_config *ret_config, const cli_options *options,
                              const cli_config_level *level, grv_error *error);

/* Whether it is a store behind a server. */
bool cli_config_is_server(const cli_config *config);

/* After init: reads what only such a store heeds, the token's file (NULL: the library asks the
 * environment) and GRAVITON_REMOTE_TIMEOUT. GRV_INVALID_ARGUMENT for a token file and another
 * store. Whatever comes of it, cli_config_done frees what it took. */
grv_status cli_config_server(cli_config *config, const char *token_file, grv_error *error);

/* Frees what init took. */
void cli_config_done(cli_config *config);

#endif
