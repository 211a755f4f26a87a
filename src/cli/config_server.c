/* SPDX-License-Identifier: Apache-2.0 */
/* What only a store behind a server heeds: the token, and how long its silence is borne. */
#include "cli/config.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CONFIG_ORIGIN "config"
#define TOKEN_MAX     4096u
#define PATIENCE_MAX  86400u

/* The first line of a file, without what is blank at its ends. No message repeats any of it. */
static grv_status token_read(const char *path, char **ret_token, grv_error *error)
{
    FILE *file = fopen(path, "re");
    if (!file) {
        return grv_error_set_errno(error, errno, CONFIG_ORIGIN, "cannot open the token file %s",
                                   path);
    }
    char line[TOKEN_MAX + 2];
    bool has_line = fgets(line, sizeof line, file) != NULL;
    int failed = ferror(file) ? errno : 0;
    fclose(file); /* it was only read */
    if (failed) {
        return grv_error_set_errno(error, failed, CONFIG_ORIGIN, "cannot read the token file %s",
                                   path);
    }
    const char *begin = has_line ? line + strspn(line, " \t") : "";
    size_t size = strcspn(begin, " \t\r\n");
    if (size == 0 || size > TOKEN_MAX) {
        explicit_bzero(line, sizeof line);
        return grv_error_set(error, GRV_INVALID_ARGUMENT, CONFIG_ORIGIN,
                             "the token file %s has no token in its first line", path);
    }
    *ret_token = strndup(begin, size);
    explicit_bzero(line, sizeof line);
    return *ret_token
               ? GRV_OK
               : grv_error_set(error, GRV_LIMIT_EXCEEDED, CONFIG_ORIGIN, "no memory for a token");
}

bool cli_config_is_server(const cli_config *config)
{
    return config->place.meta == GRV_META_REMOTE;
}

grv_status cli_config_server(cli_config *config, const char *token_file, grv_error *error)
{
    if (!cli_config_is_server(config)) {
        if (!token_file) {
            return GRV_OK;
        }
        return grv_error_set(error, GRV_INVALID_ARGUMENT, CONFIG_ORIGIN,
                             "a token is for a server, and this store is none: name it with "
                             "--store http://HOST:PORT");
    }
    const char *patience = getenv("GRAVITON_REMOTE_TIMEOUT");
    config->store.patience_ns = 0;
    if (patience && *patience) {
        uint64_t number;
        grv_status status =
            cli_number_parse(patience, "GRAVITON_REMOTE_TIMEOUT", 1, PATIENCE_MAX, &number, error);
        if (status) {
            return status;
        }
        config->store.patience_ns = number * UINT64_C(1000000000);
    }
    if (!token_file) {
        return GRV_OK;
    }
    grv_status status = token_read(token_file, &config->owned_token, error);
    config->store.token = config->owned_token;
    return status;
}
