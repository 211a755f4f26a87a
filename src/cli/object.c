/* SPDX-License-Identifier: Apache-2.0 */
/* Locators, stores and rows of the object commands. */
#include "cli/object.h"

#include "cli/roots.h"
#include "cli/text.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define ORIGIN "object"

/* Parses what leads to a whole bucket: a path is put in for the parser's sake. */
static grv_status parse_bucket(const char *text, grv_locator *ret_locator, grv_error *error)
{
    char whole[GRV_LOCATOR_TEXT_SIZE];
    size_t size = strlen(text);
    bool slash = size > 0 && text[size - 1] == '/';
    int used = snprintf(whole, sizeof whole, "%s%sx", text, slash ? "" : "/");
    if (used < 0 || (size_t)used >= sizeof whole) {
        return grv_error_set(error, GRV_INVALID_ARGUMENT, ORIGIN, "bad locator: it is too long");
    }
    grv_locator locator;
    grv_status status = grv_locator_parse(grv_bytes_of(whole, (size_t)used), &locator, error);
    if (status) {
        return status;
    }
    locator.path[0] = '\0';
    *ret_locator = locator;
    return GRV_OK;
}

/* True for "scheme://bucket" and "scheme://bucket/". */
static bool is_bucket(const char *text)
{
    const char *bucket = strstr(text, "://");
    const char *slash = bucket ? strchr(bucket + 3, '/') : NULL;
    return bucket && (!slash || slash[1] == '\0');
}

static bool is_scheme(const grv_locator *locator, const char *scheme)
{
    return strcmp(locator->scheme, scheme) == 0;
}

grv_status cli_object_parse(const char *text, bool prefix, grv_locator *ret_locator,
                            grv_error *error)
{
    grv_locator locator;
    grv_status status = prefix && is_bucket(text)
                            ? parse_bucket(text, &locator, error)
                            : grv_locator_parse(grv_bytes_of(text, strlen(text)), &locator, error);
    if (status) {
        return status;
    }
    if (!is_scheme(&locator, "fs") && !is_scheme(&locator, "pg") && !is_scheme(&locator, "s3")) {
        return grv_error_set(error, GRV_INVALID_ARGUMENT, ORIGIN,
                             "bad locator \"%.120s\": want fs://NAME/PATH, pg://BUCKET/PATH or "
                             "s3://BUCKET/KEY",
                             text);
    }
    *ret_locator = locator;
    return GRV_OK;
}

/* The roots of the locators' buckets, each once. `buckets` has room for `count`. */
static grv_status buckets_gather(const cli_roots *roots, const grv_locator locators[], size_t count,
                                 grv_fs_bucket buckets[], size_t *ret_used, grv_error *error)
{
    size_t used = 0;
    for (size_t i = 0; i < count; i++) {
        if (!is_scheme(&locators[i], "fs")) {
            continue;
        }
        const grv_fs_bucket *root;
        grv_status status = cli_roots_find(roots, locators[i].bucket, &root, error);
        if (status) {
            return status;
        }
        bool known = false;
        for (size_t k = 0; k < used && !known; k++) {
            known = buckets[k].name == root->name;
        }
        if (!known) {
            buckets[used++] = *root;
        }
    }
    *ret_used = used;
    return GRV_OK;
}

static grv_status fs_open(cli_run *cli, const grv_locator locators[], size_t count,
                          grv_mutable_object_store **ret_store, grv_error *error)
{
    cli_roots roots;
    grv_status status = cli_roots_init(&roots, &cli->options, error);
    if (status) {
        return status;
    }
    size_t used = 0;
    grv_fs_bucket *buckets = calloc(count, sizeof *buckets);
    if (!buckets) {
        status = grv_error_set(error, GRV_LIMIT_EXCEEDED, ORIGIN, "no memory for the roots");
    } else {
        status = buckets_gather(&roots, locators, count, buckets, &used, error);
    }
    if (!status) {
        const grv_fs_objects_config config = {.buckets = buckets, .bucket_count = used};
        status = grv_object_store_fs_new(&config, ret_store, error);
    }
    free(buckets);
    cli_roots_done(&roots);
    return status;
}

static const char *environment_get(const char *name)
{
    const char *value = getenv(name);
    return value && *value ? value : NULL;
}

/* Where the objects of pg:// are: beside the metadata, if that is in PostgreSQL; else in a database
 * of their own. NULL: where libpq's variables say. */
static const char *database_address(const cli_options *options)
{
    const char *meta = options->meta ? options->meta : environment_get("GRAVITON_META");
    bool is_database = meta && (strncasecmp(meta, "postgresql://", 13) == 0 ||
                                strncasecmp(meta, "postgres://", 11) == 0);
    return is_database ? meta : environment_get("GRAVITON_PG_URL");
}

/* The buckets of the locators of a scheme, each once: malloc'ed, borrowing their names. */
static grv_status buckets_of(const char *scheme, const grv_locator locators[], size_t count,
                             const char ***ret_buckets, size_t *ret_used, grv_error *error)
{
    const char **buckets = calloc(count, sizeof *buckets);
    if (!buckets) {
        return grv_error_set(error, GRV_LIMIT_EXCEEDED, ORIGIN, "no memory for the buckets");
    }
    size_t used = 0;
    for (size_t i = 0; i < count; i++) {
        bool known = !is_scheme(&locators[i], scheme);
        for (size_t k = 0; k < used && !known; k++) {
            known = strcmp(buckets[k], locators[i].bucket) == 0;
        }
        if (!known) {
            buckets[used++] = locators[i].bucket;
        }
    }
    *ret_buckets = buckets;
    *ret_used = used;
    return GRV_OK;
}

static grv_status pg_open(cli_run *cli, const grv_locator locators[], size_t count, bool writes,
                          cli_object_stores *stores, grv_error *error)
{
    const char *allow_unsafe = environment_get("GRAVITON_PG_ALLOW_UNSAFE");
    const grv_pg_config config = {
        .conninfo = database_address(&cli->options),
        .connections = 1,
        .allow_unsafe = allow_unsafe && strcmp(allow_unsafe, "1") == 0,
        .read_only = !writes,
    };
    grv_status status = grv_pg_open(&cli->call, &config, &stores->database, error);
    if (status) {
        return status;
    }
    const char **buckets;
    size_t used;
    status = buckets_of("pg", locators, count, &buckets, &used, error);
    if (!status) {
        status = grv_object_store_pg_new(stores->database, buckets, used, &stores->pg, error);
        free(buckets);
    }
    return status;
}

/* Where the service is and who asks it, the environment says. */
static grv_status s3_open(cli_run *cli, const grv_locator locators[], size_t count,
                          cli_object_stores *stores, grv_error *error)
{
    const char **buckets;
    size_t used;
    grv_s3_config config = {0};
    grv_status status = cli_config_s3(&config, error);
    if (!status) {
        status = grv_s3_open(&config, &stores->service, error);
    }
    if (!status) {
        status = buckets_of("s3", locators, count, &buckets, &used, error);
    }
    if (!status) {
        status =
            grv_object_store_s3_new(&cli->call, stores->service, buckets, used, &stores->s3, error);
        free(buckets);
    }
    return status;
}

grv_status cli_object_stores_open(cli_run *cli, const grv_locator locators[], size_t count,
                                  bool writes, cli_object_stores *stores, grv_error *error)
{
    bool fs = false;
    bool pg = false;
    bool s3 = false;
    for (size_t i = 0; i < count; i++) {
        fs = fs || is_scheme(&locators[i], "fs");
        pg = pg || is_scheme(&locators[i], "pg");
        s3 = s3 || is_scheme(&locators[i], "s3");
    }
    grv_status status = fs ? fs_open(cli, locators, count, &stores->fs, error) : GRV_OK;
    if (!status && pg) {
        status = pg_open(cli, locators, count, writes, stores, error);
    }
    if (!status && s3) {
        status = s3_open(cli, locators, count, stores, error);
    }
    return status;
}

void cli_object_stores_close(cli_object_stores *stores)
{
    grv_mutable_object_store_free(stores->fs);
    grv_mutable_object_store_free(stores->pg);
    grv_mutable_object_store_free(stores->s3);
    grv_pg_close(stores->database);
    grv_s3_close(stores->service);
    *stores = (cli_object_stores){0};
}

grv_mutable_object_store *cli_object_store_of(const cli_object_stores *stores,
                                              const grv_locator *locator)
{
    if (is_scheme(locator, "s3")) {
        return stores->s3;
    }
    return is_scheme(locator, "pg") ? stores->pg : stores->fs;
}

static grv_status print_json(cli_run *cli, const char *text, const grv_object_info *info,
                             const char *modified, grv_error *error)
{
    json_t *object = json_object();
    json_t *more = json_pack("{s:I,s:s,s:s}", "size_bytes", cli_json_integer(info->size_bytes),
                             "modified", modified, "tag", info->tag);
    bool whole = cli_json_set_name(object, "locator", grv_bytes_of(text, strlen(text))) &&
                 json_object_update(object, more) == 0;
    json_decref(more);
    if (!whole) {
        json_decref(object);
        object = NULL;
    }
    return cli_output_json(&cli->output, object, error);
}

grv_status cli_object_print(cli_run *cli, const grv_locator *locator, const grv_object_info *info,
                            grv_error *error)
{
    char text[GRV_LOCATOR_TEXT_SIZE];
    char modified[CLI_TIME_TEXT_SIZE];
    char lead[CLI_TIME_TEXT_SIZE + 32];
    grv_locator_print(locator, text);
    cli_time_print(info->modified_ns, modified);
    if (cli->output.json) {
        return print_json(cli, text, info, modified, error);
    }
    snprintf(lead, sizeof lead, "%" PRIu64 "\t%s", info->size_bytes, modified);
    return cli_output_named_row(&cli->output, lead, grv_bytes_of(text, strlen(text)), error);
}

grv_status cli_object_print_all(cli_run *cli, const grv_locator *locator,
                                const grv_object_info *info, grv_error *error)
{
    char text[GRV_LOCATOR_TEXT_SIZE];
    char modified[CLI_TIME_TEXT_SIZE];
    grv_locator_print(locator, text);
    cli_time_print(info->modified_ns, modified);
    if (cli->output.json) {
        return print_json(cli, text, info, modified, error);
    }
    grv_status status =
        cli_output_named_row(&cli->output, "locator", grv_bytes_of(text, strlen(text)), error);
    if (status) {
        return status;
    }
    return cli_output_text(&cli->output, error, "size_bytes\t%" PRIu64 "\nmodified\t%s\ntag\t%s\n",
                           info->size_bytes, modified, info->tag);
}
