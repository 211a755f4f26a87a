/* SPDX-License-Identifier: Apache-2.0 */
/* Roots: NAME=DIR from flags or the environment. */
#include "cli/roots.h"

#include <stdlib.h>
#include <string.h>

#define ORIGIN "roots"

/* Adds one NAME=DIR, which is cut in two in place. */
static grv_status roots_add(cli_roots *roots, char *text, const char *what, grv_error *error)
{
    char *equals = strchr(text, '=');
    if (!equals || equals == text || equals[1] == '\0') {
        return grv_error_set(error, GRV_INVALID_ARGUMENT, ORIGIN,
                             "bad %s \"%.200s\": want NAME=DIR", what, text);
    }
    *equals = '\0';
    for (size_t i = 0; i < roots->count; i++) {
        if (strcmp(roots->buckets[i].name, text) == 0) {
            return grv_error_set(error, GRV_INVALID_ARGUMENT, ORIGIN, "%s names \"%.200s\" twice",
                                 what, text);
        }
    }
    roots->buckets[roots->count++] = (grv_fs_bucket){.name = text, .directory = equals + 1};
    return GRV_OK;
}

/* Room for `count` roots whose texts have `size` bytes, NULs included. */
static grv_status roots_reserve(cli_roots *roots, size_t count, size_t size, grv_error *error)
{
    roots->buckets = calloc(count, sizeof *roots->buckets);
    roots->text = malloc(size);
    if (!roots->buckets || !roots->text) {
        return grv_error_set(error, GRV_LIMIT_EXCEEDED, ORIGIN, "no memory for the roots");
    }
    return GRV_OK;
}

static grv_status roots_of_flags(cli_roots *roots, const cli_texts *flags, grv_error *error)
{
    size_t size = 0;
    for (size_t i = 0; i < flags->count; i++) {
        size += strlen(flags->items[i]) + 1;
    }
    grv_status status = roots_reserve(roots, flags->count, size, error);
    char *at = roots->text;
    for (size_t i = 0; !status && i < flags->count; i++) {
        size_t one = strlen(flags->items[i]) + 1;
        memcpy(at, flags->items[i], one);
        status = roots_add(roots, at, "--root", error);
        at += one;
    }
    return status;
}

static grv_status roots_of_variable(cli_roots *roots, const char *value, grv_error *error)
{
    size_t count = 1;
    for (const char *at = value; *at; at++) {
        count += *at == ':';
    }
    grv_status status = roots_reserve(roots, count, strlen(value) + 1, error);
    if (status) {
        return status;
    }
    memcpy(roots->text, value, strlen(value) + 1);
    for (char *at = roots->text; !status && at;) {
        char *colon = strchr(at, ':');
        if (colon) {
            *colon = '\0';
        }
        status = roots_add(roots, at, "GRAVITON_ROOTS", error);
        at = colon ? colon + 1 : NULL;
    }
    return status;
}

grv_status cli_roots_init(cli_roots *ret_roots, const cli_options *options, grv_error *error)
{
    cli_roots roots = {0};
    const char *value = getenv("GRAVITON_ROOTS");
    grv_status status = GRV_OK;
    if (options->roots.count > 0) {
        status = roots_of_flags(&roots, &options->roots, error);
    } else if (value && *value) {
        status = roots_of_variable(&roots, value, error);
    }
    if (status) {
        cli_roots_done(&roots);
        return status;
    }
    *ret_roots = roots;
    return GRV_OK;
}

void cli_roots_done(cli_roots *roots)
{
    free(roots->buckets);
    free(roots->text);
    *roots = (cli_roots){0};
}

grv_status cli_roots_find(const cli_roots *roots, const char *name, const grv_fs_bucket **ret_root,
                          grv_error *error)
{
    for (size_t i = 0; i < roots->count; i++) {
        if (strcmp(roots->buckets[i].name, name) == 0) {
            *ret_root = &roots->buckets[i];
            return GRV_OK;
        }
    }
    return grv_error_set(error, GRV_INVALID_ARGUMENT, ORIGIN,
                         "no directory is known for fs://%.60s: --root NAME=DIR or GRAVITON_ROOTS "
                         "says which one it is",
                         name);
}
