/* SPDX-License-Identifier: Apache-2.0 */
/*
 * token: makes a bearer token for `graviton serve`. The token itself is shown once and kept
 * nowhere; the server's file gets its hash.
 */
#include "cli/cli.h"
#include "http/auth.h"
#include "os/file.h"

#include <errno.h>
#include <libgen.h>
#include <openssl/crypto.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Refuses a file that the server would refuse with the line in it. *ret_lead is what ends its last
 * line where that has no end. */
static grv_status token_check(const char *path, const char *line, const char **ret_lead,
                              grv_error *error)
{
    grv_buffer text;
    http_auth *auth = NULL;
    grv_buffer_init(&text, HTTP_AUTH_FILE_MAX + HTTP_TOKEN_LINE_SIZE);
    grv_status status = grv_file_read_small(AT_FDCWD, path, HTTP_AUTH_FILE_MAX, &text, error);
    status = status == GRV_NOT_FOUND ? GRV_OK : status;
    *ret_lead = text.size > 0 && text.data[text.size - 1] != '\n' ? "\n" : "";
    if (!status) {
        status = grv_buffer_append(&text, grv_bytes_of(*ret_lead, strlen(*ret_lead)), error);
    }
    if (!status) {
        status = grv_buffer_append(&text, grv_bytes_of(line, strlen(line)), error);
    }
    if (!status) {
        status = http_auth_parse(grv_buffer_bytes(&text), path, &auth, error);
    }
    http_auth_free(auth);
    grv_buffer_done(&text);
    return status;
}

/* Makes the file's name durable: it may be new. */
static grv_status folder_sync(const char *path, grv_error *error)
{
    char *copy = strdup(path);
    int fd;
    if (!copy) {
        return grv_error_set(error, GRV_LIMIT_EXCEEDED, "token", "no memory for a name");
    }
    const char *folder = dirname(copy);
    grv_status status = grv_directory_open(AT_FDCWD, folder, false, &fd, error);
    if (!status) {
        status = grv_directory_sync(fd, folder, error);
        grv_status closed = grv_file_close(fd, folder, status ? NULL : error);
        status = status ? status : closed;
    }
    free(copy);
    return status;
}

static grv_status token_append(const char *path, const char *line, grv_error *error)
{
    const char *lead;
    char text[HTTP_TOKEN_LINE_SIZE + 1];
    int fd;
    grv_status status = token_check(path, line, &lead, error);
    if (!status) {
        status = grv_file_open(AT_FDCWD, path, O_WRONLY | O_APPEND | O_CREAT, 0644, &fd, error);
    }
    if (status) {
        return status;
    }
    int size = snprintf(text, sizeof text, "%s%s", lead, line);
    status = grv_file_write_all(fd, grv_bytes_of(text, (size_t)size), path, error);
    if (!status) {
        status = grv_file_sync(fd, path, error);
    }
    grv_status closed = grv_file_close(fd, path, status ? NULL : error);
    status = status ? status : closed;
    return status ? status : folder_sync(path, error);
}

static grv_status token_print(cli_run *cli, const char *token, const char *line, grv_error *error)
{
    if (!cli->output.json) {
        return cli_output_text(&cli->output, error, "%s\n", token);
    }
    return cli_output_json(
        &cli->output,
        json_pack("{s:s,s:s#}", "token", token, "line", line, (int)strcspn(line, "\n")), error);
}

static int token_execute(cli_run *cli)
{
    grv_error error = GRV_ERROR_INIT;
    const char *scope = cli->options.scope;
    const char *append = cli->options.append;
    char token[HTTP_TOKEN_SIZE];
    char line[HTTP_TOKEN_LINE_SIZE];
    unsigned scopes;
    if (!scope) {
        grv_error_set(&error, GRV_INVALID_ARGUMENT, "token",
                      "token wants --scope; see graviton token --help");
        return cli_fail(cli, &error);
    }
    if (http_scopes_parse(grv_bytes_of(scope, strlen(scope)), &scopes, &error) ||
        http_token_make(cli->options.operands[0], scopes, token, line, &error) ||
        (append && token_append(append, line, &error))) {
        return cli_fail(cli, &error);
    }
    grv_status status = token_print(cli, token, line, &error);
    OPENSSL_cleanse(token, sizeof token);
    if (status) {
        return cli_fail(cli, &error);
    }
    if (append) {
        cli_report_note(&cli->output, "added to %s; tell a running server with SIGHUP", append);
    } else if (!cli->output.json) {
        cli_report_note(&cli->output, "shown once; the line for the file of --tokens is");
        fputs(line, stderr);
    }
    return CLI_EXIT_OK;
}

static const cli_option token_options[] = {
    {"scope", 0, CLI_OPTION_TEXT, offsetof(cli_options, scope)},
    {"append", 0, CLI_OPTION_TEXT, offsetof(cli_options, append)},
    {NULL, 0, CLI_OPTION_FLAG, 0},
};

static const char token_help[] =
    "usage: graviton token NAME --scope SCOPE[,SCOPE…] [--append FILE]\n"
    "\n"
    "Makes a token with which clients of graviton serve say who they are. Prints it once; it is\n"
    "kept nowhere. The server has a line with its name, its scopes and its hash, in the file of\n"
    "serve's --tokens: that line is shown on standard error, or appended to FILE.\n"
    "\n"
    "options:\n"
    "  --scope LIST     what it allows: read, write, delete, admin; none includes another\n"
    "  --append FILE    add the line to FILE, which is made where it is missing\n"
    "\n"
    "examples:\n"
    "  graviton token ci --scope read,write --append tokens > ci.token\n"
    "  graviton token root --scope read,write,delete,admin\n";

const cli_command cli_command_token = {
    .name = "token",
    .summary = "make a token for clients of a server",
    .help = token_help,
    .options = token_options,
    .operands_min = 1,
    .operands_max = 1,
    .run = token_execute,
};
