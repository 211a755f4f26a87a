/* SPDX-License-Identifier: Apache-2.0 */
/* The four levels of configuration, and the values of --hash, --chunker, --threads, --reserve. */
#include "cli/config.h"

#include "core/size.h"

#include <graviton/backend/pg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define DIRECTORY_DEFAULT "./graviton-data"
#define FS_ROOT_DEFAULT   "./.graviton" /* as the Scala server has it */
#define FS_PREFIX_DEFAULT "cas/blocks"
#define S3_BUCKET_DEFAULT "graviton-blocks" /* these two as well */
#define S3_PREFIX_DEFAULT "cas/blocks"
#define THREADS_MAX       1024u
#define PATIENCE_MAX      86400u
#define CONFIG_ORIGIN     "config"

/* An environment variable; one that is empty counts as not set. */
static const char *environment_get(const char *name)
{
    const char *value = getenv(name);
    return value && *value ? value : NULL;
}

static grv_status level_take(const cli_config_level *level, cli_config *config, grv_error *error)
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

/* A value as part of a URL's query: what is not plain is %-escaped. The caller frees it. */
static char *query_escape(const char *text)
{
    static const char digits[] = "0123456789ABCDEF";
    char *escaped = malloc(3 * strlen(text) + 1);
    char *out = escaped;
    for (const char *c = text; escaped && *c; c++) {
        bool plain = (*c >= '0' && *c <= '9') || (*c >= 'A' && *c <= 'Z') ||
                     (*c >= 'a' && *c <= 'z') || strchr("-._~", *c);
        if (plain) {
            *out++ = *c;
        } else {
            *out++ = '%';
            *out++ = digits[(unsigned char)*c >> 4];
            *out++ = digits[(unsigned char)*c & 15];
        }
    }
    if (escaped) {
        *out = '\0';
    }
    return escaped;
}

/* Adds KEY=VALUE to a URL that it owns. False without memory. */
static bool query_add(char **url, const char *key, const char *value)
{
    if (!value) {
        return true;
    }
    char *escaped = query_escape(value);
    char *longer = NULL;
    int size = -1;
    if (escaped) {
        size = asprintf(&longer, "%s%c%s=%s", *url, strchr(*url, '?') ? '&' : '?', key, escaped);
    }
    free(escaped);
    if (size < 0) {
        return false;
    }
    free(*url);
    *url = longer;
    return true;
}

/* PG_JDBC_URL, PG_USERNAME and PG_PASSWORD become a URL of libpq's in owned_meta. */
static grv_status scala_meta(const char *jdbc, cli_config *config, grv_error *error)
{
    static const char scheme[] = "jdbc:postgresql:";
    if (strncmp(jdbc, scheme, sizeof scheme - 1) != 0) {
        return grv_error_set(error, GRV_INVALID_ARGUMENT, CONFIG_ORIGIN,
                             "PG_JDBC_URL must be jdbc:postgresql://HOST[:PORT]/DATABASE");
    }
    config->owned_meta = strdup(jdbc + strlen("jdbc:"));
    if (!config->owned_meta ||
        !query_add(&config->owned_meta, "user", environment_get("PG_USERNAME")) ||
        !query_add(&config->owned_meta, "password", environment_get("PG_PASSWORD"))) {
        return grv_error_set(error, GRV_LIMIT_EXCEEDED, CONFIG_ORIGIN,
                             "no memory for the configuration");
    }
    return GRV_OK;
}

/* The Scala server's variables of a bucket. Where it names no MinIO, the service is the one that
 * AWS's own variables name. */
static grv_status scala_bucket(const char *backend, cli_config *config, grv_error *error)
{
    const char *bucket = environment_get("GRAVITON_S3_BLOCK_BUCKET");
    const char *prefix = environment_get("GRAVITON_S3_BLOCK_PREFIX");
    const char *jdbc = environment_get("PG_JDBC_URL");
    if (!jdbc) {
        return grv_error_set(error, GRV_INVALID_ARGUMENT, CONFIG_ORIGIN,
                             "GRAVITON_BLOB_BACKEND=%s needs PG_JDBC_URL beside it: a store is "
                             "bytes and metadata",
                             backend);
    }
    if (asprintf(&config->owned_blocks, "s3://%s/%s", bucket ? bucket : S3_BUCKET_DEFAULT,
                 prefix ? prefix : S3_PREFIX_DEFAULT) < 0) {
        config->owned_blocks = NULL;
        return grv_error_set(error, GRV_LIMIT_EXCEEDED, CONFIG_ORIGIN,
                             "no memory for the configuration");
    }
    config->s3 = (grv_s3_config){
        .endpoint = environment_get("QUASAR_MINIO_URL"),
        .region = environment_get("GRAVITON_S3_REGION"),
        .key_id = environment_get("MINIO_ROOT_USER"),
        .secret = environment_get("MINIO_ROOT_PASSWORD"),
    };
    config->store.s3 = &config->s3;
    config->store.blocks = config->owned_blocks;
    grv_status status = scala_meta(jdbc, config, error);
    config->store.meta = config->owned_meta;
    return status;
}

/* The Scala server's variables: its directory is ours when the prefix is the usual one. */
static grv_status scala_take(const char *backend, cli_config *config, grv_error *error)
{
    if (strcasecmp(backend, "s3") == 0 || strcasecmp(backend, "minio") == 0) {
        return scala_bucket(backend, config, error);
    }
    if (strcasecmp(backend, "fs") != 0) {
        return grv_error_set(error, GRV_INVALID_ARGUMENT, CONFIG_ORIGIN,
                             "unknown GRAVITON_BLOB_BACKEND \"%s\": use fs, s3 or minio", backend);
    }
    const char *root = environment_get("GRAVITON_FS_ROOT");
    const char *prefix = environment_get("GRAVITON_FS_BLOCK_PREFIX");
    const char *jdbc = environment_get("PG_JDBC_URL");
    root = root ? root : FS_ROOT_DEFAULT;
    if (!jdbc && (!prefix || strcmp(prefix, FS_PREFIX_DEFAULT) == 0)) {
        config->store.directory = root;
        return GRV_OK;
    }
    if (asprintf(&config->owned_blocks, "fs:%s?prefix=%s", root,
                 prefix ? prefix : FS_PREFIX_DEFAULT) < 0) {
        config->owned_blocks = NULL;
    }
    if (jdbc) {
        grv_status status = scala_meta(jdbc, config, error);
        if (status) {
            return status;
        }
    } else if (asprintf(&config->owned_meta, "rocks:%s/meta", root) < 0) {
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
    cli_config_level flags = {options->store, options->blocks, options->meta,
                              "--store",      "--blocks",      "--meta"};
    if (cli_config_level_decides(&flags)) {
        return level_take(&flags, config, error);
    }
    cli_config_level variables = {.store = environment_get("GRAVITON_STORE"),
                                  .blocks = environment_get("GRAVITON_BLOCKS"),
                                  .meta = environment_get("GRAVITON_META"),
                                  .store_name = "GRAVITON_STORE",
                                  .blocks_name = "GRAVITON_BLOCKS",
                                  .meta_name = "GRAVITON_META"};
    if (cli_config_level_decides(&variables)) {
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

/* What only metadata in PostgreSQL heeds. */
static grv_status pg_parse(cli_config *config, grv_error *error)
{
    const char *connections = environment_get("GRAVITON_PG_CONNECTIONS");
    const char *unsafe = environment_get("GRAVITON_PG_ALLOW_UNSAFE");
    const char *patience = environment_get("GRAVITON_PG_TIMEOUT");
    config->store.allow_unsafe = unsafe && strcmp(unsafe, "1") == 0;
    uint64_t number;
    grv_status status = GRV_OK;
    if (connections) {
        status = cli_number_parse(connections, "GRAVITON_PG_CONNECTIONS", 1, GRV_PG_CONNECTIONS_MAX,
                                  &number, error);
    }
    if (connections && !status) {
        config->store.connections = (unsigned)number;
    }
    if (patience && !status) {
        status = cli_number_parse(patience, "GRAVITON_PG_TIMEOUT", 1, PATIENCE_MAX, &number, error);
    }
    if (patience && !status) {
        config->store.patience_ns = number * UINT64_C(1000000000);
    }
    return status;
}

grv_status cli_config_s3(grv_s3_config *s3, grv_error *error)
{
    const char *connections = environment_get("GRAVITON_S3_CONNECTIONS");
    const char *patience = environment_get("GRAVITON_S3_TIMEOUT");
    uint64_t number;
    grv_status status = GRV_OK;
    if (connections) {
        status = cli_number_parse(connections, "GRAVITON_S3_CONNECTIONS", 1, GRV_S3_CONNECTIONS_MAX,
                                  &number, error);
    }
    if (connections && !status) {
        s3->connections = (unsigned)number;
    }
    if (patience && !status) {
        status = cli_number_parse(patience, "GRAVITON_S3_TIMEOUT", 1, PATIENCE_MAX, &number, error);
    }
    if (patience && !status) {
        s3->patience_ns = number * UINT64_C(1000000000);
    }
    return status;
}

/* What only blocks in S3 heed. */
static grv_status s3_parse(cli_config *config, grv_error *error)
{
    if (config->place.blocks != GRV_BLOCKS_S3) {
        return GRV_OK;
    }
    config->store.s3 = &config->s3;
    return cli_config_s3(&config->s3, error);
}

/* The rest, once it is known which store is meant; after a failure everything is freed. */
static grv_status config_complete(cli_config *config, const cli_options *options, grv_status status,
                                  grv_error *error)
{
    if (!status) {
        status = values_parse(options, config, error);
    }
    config->store.cache = options->cache;
    if (!status) {
        status = grv_place_parse(&config->store, &config->place, error);
    }
    /* What the environment says of caches is for the stores that can have one. */
    if (!status && !options->cache && !cli_config_is_server(config)) {
        config->store.cache = environment_get("GRAVITON_CACHE");
        status = grv_place_parse(&config->store, &config->place, error);
    }
    if (!status) {
        status = reserve_parse(options, config, error);
    }
    if (!status) {
        status = pg_parse(config, error);
    }
    if (!status) {
        status = s3_parse(config, error);
    }
    if (status) {
        cli_config_done(config);
    }
    return status;
}

grv_status cli_config_meta(cli_config *ret_config, const cli_options *options, const char **ret_url,
                           grv_error *error)
{
    *ret_config = (cli_config){0};
    const char *url = options->meta ? options->meta : environment_get("GRAVITON_META");
    const char *jdbc = environment_get("PG_JDBC_URL");
    grv_status status = pg_parse(ret_config, error);
    if (!status && !url && jdbc && environment_get("GRAVITON_BLOB_BACKEND")) {
        status = scala_meta(jdbc, ret_config, error);
        url = ret_config->owned_meta;
    }
    if (!status && !url) {
        status = grv_error_set(error, GRV_INVALID_ARGUMENT, CONFIG_ORIGIN,
                               "which database? Name it with --meta postgresql://HOST/DATABASE "
                               "or GRAVITON_META");
    }
    if (status) {
        cli_config_done(ret_config);
        return status;
    }
    *ret_url = url;
    return GRV_OK;
}

grv_status cli_config_init(cli_config *ret_config, const cli_options *options, grv_error *error)
{
    *ret_config = (cli_config){0};
    grv_status status = place_choose(options, ret_config, error);
    return config_complete(ret_config, options, status, error);
}

grv_status cli_config_init_at(cli_config *ret_config, const cli_options *options,
                              const cli_config_level *level, grv_error *error)
{
    *ret_config = (cli_config){0};
    grv_status status = level_take(level, ret_config, error);
    return config_complete(ret_config, options, status, error);
}

void cli_config_done(cli_config *config)
{
    free(config->owned_blocks);
    free(config->owned_meta);
    if (config->owned_token) {
        explicit_bzero(config->owned_token, strlen(config->owned_token));
        free(config->owned_token);
    }
    config->owned_blocks = NULL;
    config->owned_meta = NULL;
    config->owned_token = NULL;
}
