/* SPDX-License-Identifier: Apache-2.0 */
/* Exit codes: the map from statuses and the sum over operands. */
#include "cli/exit.h"

int cli_exit_of_status(grv_status status)
{
    switch (status) {
    case GRV_OK:
        return CLI_EXIT_OK;
    case GRV_INVALID_ARGUMENT:
        return CLI_EXIT_USAGE;
    case GRV_NOT_FOUND:
        return CLI_EXIT_NOT_FOUND;
    case GRV_CORRUPT:
        return CLI_EXIT_CORRUPT;
    case GRV_UNAVAILABLE:
    case GRV_TIMEOUT:
        return CLI_EXIT_UNAVAILABLE;
    case GRV_OUT_OF_SPACE:
        return CLI_EXIT_FULL;
    case GRV_PERMISSION:
        return CLI_EXIT_PERMISSION;
    case GRV_CONFLICT:
    case GRV_ALREADY_EXISTS:
        return CLI_EXIT_CONFLICT;
    case GRV_LIMIT_EXCEEDED:
    case GRV_UNSUPPORTED:
    case GRV_CANCELLED:
    case GRV_INTERNAL:
        return CLI_EXIT_OTHER;
    }
    return CLI_EXIT_OTHER;
}

void cli_tally_success(cli_tally *tally)
{
    tally->succeeded++;
}

void cli_tally_failure(cli_tally *tally, int code)
{
    if (tally->failed > 0 && tally->code != code) {
        code = CLI_EXIT_OTHER;
    }
    tally->failed++;
    tally->code = code;
}

int cli_tally_code(const cli_tally *tally)
{
    if (tally->failed == 0) {
        return CLI_EXIT_OK;
    }
    return tally->succeeded > 0 ? CLI_EXIT_OTHER : tally->code;
}
