/* SPDX-License-Identifier: Apache-2.0 */
/* get: a blob's bytes, or a range of them, to standard output or a file. */
#include "cli/cli.h"
#include "cli/target.h"

#include <string.h>

/* The range asked for; one that does not fit is told apart from a blob that is not there. */
static grv_status get_range(cli_run *cli, const grv_blob_key *key, grv_range *ret_range,
                            grv_error *error)
{
    const char *text = cli->options.range;
    if (!text) {
        *ret_range = GRV_RANGE_ALL;
        return GRV_OK;
    }
    grv_blob_info info;
    grv_status status = grv_blob_store_stat(&cli->call, cli->blobs, key, &info, error);
    if (status) {
        return status;
    }
    status = grv_range_parse(grv_bytes_of(text, strlen(text)), key->size, ret_range, error);
    if (status) {
        grv_error_prefix(error, "--range");
    }
    return status;
}

static grv_status get_blob(cli_run *cli, const grv_blob_key *key, grv_error *error)
{
    grv_range range;
    grv_status status = get_range(cli, key, &range, error);
    if (status) {
        return status;
    }
    grv_source *source;
    status = grv_blob_store_open_get(&cli->call, cli->blobs, key, range, &source, error);
    if (status) {
        return status;
    }
    cli_target target;
    status = cli_target_open(cli->options.output, &target, error);
    if (!status) {
        uint64_t end = range.end < key->size ? range.end : key->size;
        cli_progress_start(&cli->progress, "blob", cli->options.quiet);
        cli->progress.total_bytes = end - range.first;
        status = cli_source_copy(cli, source, &target, error);
        if (!status) {
            status = cli_target_commit(&target, error);
        }
        cli_target_close(&target);
    }
    grv_source_free(source);
    return status;
}

static int get_execute(cli_run *cli)
{
    return cli_each_id(cli, CLI_READ, get_blob);
}

static const cli_option get_options[] = {
    {"output", 'o', CLI_OPTION_TEXT, offsetof(cli_options, output)},
    {"range", 0, CLI_OPTION_TEXT, offsetof(cli_options, range)},
    {NULL, 0, CLI_OPTION_FLAG, 0},
};

static const char get_help[] =
    "usage: graviton get ID [-o FILE] [--range FIRST-LAST|FIRST-|-LAST_N]\n"
    "\n"
    "Writes the blob's bytes, each block checked before it goes out. ID is a whole id, or at\n"
    "least 8 hex digits of one that fit no other blob.\n"
    "\n"
    "options:\n"
    "  -o, --output FILE  write FILE instead of standard output; it appears only when the\n"
    "                     whole read was good (a device or pipe is written directly)\n"
    "  --range RANGE      only these bytes, counted from 0, FIRST and LAST included;\n"
    "                     FIRST- goes to the end, -N is the last N bytes\n"
    "\n"
    "examples:\n"
    "  graviton get blake3:0a1b2c3d -o backup.tar\n"
    "  graviton get 0a1b2c3d | tar x\n"
    "  graviton get --range 0-511 0a1b2c3d | xxd\n"
    "  graviton get --range -100 0a1b2c3d\n";

const cli_command cli_command_get = {
    .name = "get",
    .summary = "write a blob, or a range of it",
    .help = get_help,
    .options = get_options,
    .operands_min = 1,
    .operands_max = 1,
    .run = get_execute,
};
