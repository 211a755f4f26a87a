/* SPDX-License-Identifier: Apache-2.0 */
/* The four levels of configuration, and the values of --hash, --chunker, --threads, --reserve. */
#include "cli/config.h"

#include "core/size.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define DIRECTORY_DEFAULT "./graviton-data"
#define FS_ROOT_DEFAULT   "./.graviton" /* as the Scala server has it */
#define FS_PREFIX_DEFAULT "cas/blocks"
#define THREADS_MAX       1024u
#define CONFIG_ORIGIN     "config"

/* What one level says. */
typedef struct config_level {
    const char *store;
    const char *blocks;
    const char *meta;
    const char *store_name; /* how the level spells them, for messages */
    const char *blocks_name;
    const char *meta_name;
} config_level;

/* An environment variable; one that is empty counts as not set. */
static const char *environment_get(const char *name)
{
    const char *value = getenv(name);
    return value && *value ? value : NULL;
}

static grv_status level_take(const config_level *level, cli_config *config, grv_error *error)
{
    if (level->store && (level->blocks || level->meta)) {
        return grv_error_set(error, GRV_INVALID_ARGUMENT, CONFIG_ORIGIN,
                             "%s names a whole store; give it, or %s and %s, not both",
                             level->store_name, level->blocks_name, level->meta_name);
    }
    if (!level->store && (!level->blocks || !level->meta)) {
        return grv_error_set(error, GRV_INVALID_ARGUMENT, CONFIG_ORIGIN,
                             "%s needs %s beside it: a store is bytes and metadata",
                             level->blocks ? level->blocks_name : level->meta_name,
                             level->blocks ? level->meta_name : level->blocks_name);
    }
    config->store.directory = level->store;
    config->store.blocks = level->blocks;
    config->store.meta = level->meta;
    return GRV_OK;
}

/* The Scala server's variables: its directory is ours when the prefix is the usual one. */
static grv_status scala_take(const char *backend, cli_config *config, grv_error *error)
{
    if (strcasecmp(backend, "s3") == 0 || strcasecmp(backend, "minio") == 0) {
        return grv_error_set(error, GRV_UNSUPPORTED, CONFIG_ORIGIN,
                             "unsupported yet: GRAVITON_BLOB_BACKEND=%s (this version has fs)",
                             backend);
    }
    if (strcasecmp(backend, "fs") != 0) {
        return grv_error_set(error, GRV_INVALID_ARGUMENT, CONFIG_ORIGIN,
                             "unknown GRAVITON_BLOB_BACKEND \"%s\": use fs", backend);
    }
    const char *root = environment_get("GRAVITON_FS_ROOT");
    const char *prefix = environment_get("GRAVITON_FS_BLOCK_PREFIX");
    root = root ? root : FS_ROOT_DEFAULT;
    if (!prefix || strcmp(prefix, FS_PREFIX_DEFAULT) == 0) {
        config->store.directory = root;
        return GRV_OK;
    }
    if (asprintf(&config->owned_blocks, "fs:%s?prefix=%s", root, prefix) < 0) {
        config->owned_blocks = NULL;
    }
    if (asprintf(&config->owned_meta, "rocks:%s/meta", root) < 0) {
        config->owned_meta = NULL;
    }
    if (!config->owned_blocks || !config->owned_meta) {
        return grv_error_set(error, GRV_LIMIT_EXCEEDED, CONFIG_ORIGIN,
                             "no memory for the configuration");
    }
    config->store.blocks = config->owned_blocks;
    config->store.meta = config->owned_meta;
    return GRV_OK;
}

static grv_status place_choose(const cli_options *options, cli_config *config, grv_error *error)
{
    config_level flags = {options->store, options->blocks, options->meta,
                          "--store",      "--blocks",      "--meta"};
    if (flags.store || flags.blocks || flags.meta) {
        return level_take(&flags, config, error);
    }
    config_level variables = {.store = environment_get("GRAVITON_STORE"),
                              .blocks = environment_get("GRAVITON_BLOCKS"),
                              .meta = environment_get("GRAVITON_META"),
                              .store_name = "GRAVITON_STORE",
                              .blocks_name = "GRAVITON_BLOCKS",
                              .meta_name = "GRAVITON_META"};
    if (variables.store || variables.blocks || variables.meta) {
        return level_take(&variables, config, error);
    }
    const char *backend = environment_get("GRAVITON_BLOB_BACKEND");
    if (backend) {
        return scala_take(backend, config, error);
    }
    config->store.directory = DIRECTORY_DEFAULT;
    return GRV_OK;
}

static grv_status values_parse(const cli_options *options, cli_config *config, grv_error *error)
{
    if (options->hash) {
        grv_bytes text = grv_bytes_of(options->hash, strlen(options->hash));
        grv_status status = grv_hash_parse(text, &config->store.hash, error);
        if (status) {
            grv_error_prefix(error, "--hash");
            return status;
        }
    }
    if (options->chunker) {
        grv_bytes text = grv_bytes_of(options->chunker, strlen(options->chunker));
        grv_status status = grv_chunker_spec_parse(text, &config->chunker, error);
        if (status) {
            grv_error_prefix(error, "--chunker");
            return status;
        }
        config->store.chunker = &config->chunker;
    }
    if (options->threads) {
        uint64_t threads;
        grv_status status =
            cli_number_parse(options->threads, "--threads", 1, THREADS_MAX, &threads, error);
        if (status) {
            return status;
        }
        config->store.threads = (unsigned)threads;
    }
    return GRV_OK;
}

/* The reserve's size: from its option, or the metadata's URL, or the environment. */
static grv_status reserve_parse(const cli_options *options, cli_config *config, grv_error *error)
{
    const char *text = options->reserve;
    const char *what = "--reserve";
    if (!text && !config->place.has_reserve) {
        text = environment_get("GRAVITON_RESERVE");
        what = "GRAVITON_RESERVE";
    }
    if (!text) {
        return GRV_OK;
    }
    config->store.reserve_bytes = &config->reserve_bytes;
    return grv_size_parse(text, what, GRV_PLACE_RESERVE_MAX, &config->reserve_bytes, error);
}

grv_status cli_config_init(cli_config *ret_config, const cli_options *options, grv_error *error)
{
    *ret_config = (cli_config){0};
    grv_status status = place_choose(options, ret_config, error);
    if (!status) {
        status = values_parse(options, ret_config, error);
    }
    if (!status) {
        status = grv_place_parse(&ret_config->store, &ret_config->place, error);
    }
    if (!status) {
        status = reserve_parse(options, ret_config, error);
    }
    if (status) {
        cli_config_done(ret_config);
    }
    return status;
}

void cli_config_done(cli_config *config)
{
    free(config->owned_blocks);
    free(config->owned_meta);
    config->owned_blocks = NULL;
    config->owned_meta = NULL;
}
