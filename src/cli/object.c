/* SPDX-License-Identifier: Apache-2.0 */
/* Locators, stores and rows of the object commands. */
#include "cli/object.h"

#include "cli/roots.h"
#include "cli/text.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

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

grv_status cli_object_parse(const char *text, bool prefix, grv_locator *ret_locator,
                            grv_error *error)
{
    static const char *const later[] = {"s3", "pg"};
    grv_locator locator;
    grv_status status = prefix && is_bucket(text)
                            ? parse_bucket(text, &locator, error)
                            : grv_locator_parse(grv_bytes_of(text, strlen(text)), &locator, error);
    if (status) {
        return status;
    }
    for (size_t i = 0; i < sizeof later / sizeof *later; i++) {
        if (strcmp(locator.scheme, later[i]) == 0) {
            return grv_error_set(error, GRV_UNSUPPORTED, ORIGIN,
                                 "unsupported yet: objects in %s://", locator.scheme);
        }
    }
    if (strcmp(locator.scheme, "fs") != 0) {
        return grv_error_set(error, GRV_INVALID_ARGUMENT, ORIGIN,
                             "bad locator \"%.120s\": want fs://NAME/PATH", text);
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

grv_status cli_object_store_open(cli_run *cli, const grv_locator locators[], size_t count,
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
