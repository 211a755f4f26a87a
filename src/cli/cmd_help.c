/* SPDX-License-Identifier: Apache-2.0 */
/* help and version. */
#include "cli/cli.h"

static int help_execute(cli_run *cli)
{
    grv_error error = GRV_ERROR_INIT;
    const cli_command *command = NULL;
    if (cli->options.operand_count > 0) {
        command = cli_command_find(cli->options.operands[0]);
        if (!command) {
            grv_error_set(&error, GRV_INVALID_ARGUMENT, "help",
                          "unknown command \"%.60s\"; see graviton --help",
                          cli->options.operands[0]);
            return cli_fail(cli, &error);
        }
    }
    return cli_help_print(cli, command, &error) ? cli_fail(cli, &error) : CLI_EXIT_OK;
}

const cli_command cli_command_help = {
    .name = "help",
    .summary = "this text, or that of a command",
    .help = "usage: graviton help [COMMAND]\n"
            "\n"
            "examples:\n"
            "  graviton help put\n",
    .operands_max = 1,
    .run = help_execute,
};

static int version_execute(cli_run *cli)
{
    grv_error error = GRV_ERROR_INIT;
    grv_status status;
    if (cli->output.json) {
        status =
            cli_output_json(&cli->output, json_pack("{s:s}", "version", grv_version()), &error);
    } else {
        status = cli_output_text(&cli->output, &error, "graviton %s\n", grv_version());
    }
    return status ? cli_fail(cli, &error) : CLI_EXIT_OK;
}

const cli_command cli_command_version = {
    .name = "version",
    .summary = "the program's version",
    .help = "usage: graviton version\n",
    .operands_max = 0,
    .run = version_execute,
};
