/* SPDX-License-Identifier: Apache-2.0 */
/* rm: removes blobs. */
#include "cli/cli.h"

static grv_status rm_blob(cli_run *cli, const grv_blob_key *key, grv_error *error)
{
    return grv_blob_store_remove(&cli->call, cli->blobs, key, error);
}

static int rm_execute(cli_run *cli)
{
    return cli_each_id(cli, CLI_WRITE, rm_blob);
}

static const char rm_help[] =
    "usage: graviton rm ID…\n"
    "\n"
    "Removes blobs. Blocks that nothing names any more stay until a gc; stats shows them\n"
    "as unreferenced. Goes on after an id that is not there, and then exits with 1, or with 3\n"
    "where nothing was removed.\n"
    "\n"
    "examples:\n"
    "  graviton rm 0a1b2c3d\n"
    "  graviton ls --newest --limit 5 | cut -f 1 | xargs graviton rm\n";

const cli_command cli_command_rm = {
    .name = "rm",
    .summary = "remove blobs",
    .help = rm_help,
    .operands_min = 1,
    .operands_max = SIZE_MAX,
    .run = rm_execute,
};
