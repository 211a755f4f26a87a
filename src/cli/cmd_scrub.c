/* SPDX-License-Identifier: Apache-2.0 */
/* scrub: reads and checks every block of the store, and tells of each bad one and its blobs. */
#include "cli/cli.h"
#include "cli/figures.h"
#include "cli/text.h"

#include <graviton/maintain.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define SCRUB_FIGURES 8

static const char *kind_name(grv_scrub_kind kind)
{
    switch (kind) {
    case GRV_SCRUB_CORRUPT:
        return "corrupt";
    case GRV_SCRUB_MISSING:
        return "missing";
    case GRV_SCRUB_UNREADABLE:
        return "unreadable";
    }
    return "unknown";
}

static grv_status scrub_found(void *context, const grv_scrub_finding *finding, grv_error *error)
{
    cli_run *cli = context;
    char block[GRV_KEY_TEXT_SIZE];
    const grv_bytes message = grv_bytes_of(finding->message, strlen(finding->message));
    grv_block_key_print(&finding->key, block);
    grv_status status;
    if (cli->output.json) {
        json_t *object = json_pack("{s:s,s:s,s:b}", "block", block, "status",
                                   kind_name(finding->kind), "set_aside", finding->set_aside);
        if (object && json_object_set_new(object, "message", cli_json_text(message)) < 0) {
            json_decref(object);
            object = NULL;
        }
        status = cli_output_json(&cli->output, object, error);
    } else {
        char lead[2 * GRV_KEY_TEXT_SIZE];
        snprintf(lead, sizeof lead, "%s\t%s\t%s", kind_name(finding->kind), block,
                 finding->set_aside ? "set aside" : "-");
        status = cli_output_named_row(&cli->output, lead, message, error);
    }
    return status ? status : cli_output_flush(&cli->output, error);
}

static grv_status scrub_named(void *context, const grv_blob_key *blob, const grv_block_key *block,
                              uint64_t offset, grv_error *error)
{
    cli_run *cli = context;
    char id[GRV_KEY_TEXT_SIZE];
    char key[GRV_KEY_TEXT_SIZE];
    grv_blob_key_print(blob, id);
    grv_block_key_print(block, key);
    if (!cli->output.json) {
        return cli_output_text(&cli->output, error, "blob\t%s\t%s\t%" PRIu64 "\n", id, key, offset);
    }
    return cli_output_json(&cli->output,
                           json_pack("{s:s,s:s,s:s,s:I}", "id", id, "status", "damaged", "block",
                                     key, "offset_bytes", cli_json_integer(offset)),
                           error);
}

static void scrub_progress(void *context, const grv_scrub_report *so_far)
{
    cli_run *cli = context;
    cli_progress *progress = &cli->progress;
    progress->bytes = so_far->bytes;
    progress->total_bytes = so_far->total_bytes;
    progress->things = so_far->blocks;
    cli_progress_tick(progress);
}

static grv_status scrub_print(cli_run *cli, const grv_scrub_report *report, grv_error *error)
{
    const cli_figure figures[SCRUB_FIGURES] = {
        {"blocks", report->blocks},
        {"bytes", report->bytes},
        {"total_blocks", report->total_blocks},
        {"total_bytes", report->total_bytes},
        {"corrupt", report->corrupt},
        {"set_aside", report->set_aside},
        {"unreadable", report->unreadable},
        {"missing", report->missing},
    };
    char started[CLI_TIME_TEXT_SIZE];
    cli_time_print(report->started_ns, started);
    json_t *object = json_pack("{s:b,s:b,s:s}", "complete", report->complete, "resumed",
                               report->resumed, "started", started);
    return cli_figures_print(&cli->output, object, figures, SCRUB_FIGURES, error);
}

/* The exit code of a round that was completed. */
static int scrub_judge(cli_run *cli, const grv_scrub_report *report)
{
    grv_error error = GRV_ERROR_INIT;
    if (report->corrupt + report->missing > 0) {
        grv_error_set(&error, GRV_CORRUPT, "scrub",
                      "%" PRIu64 " blocks are corrupt and %" PRIu64 " missing; a put of the same "
                      "files heals them",
                      report->corrupt, report->missing);
        return cli_fail(cli, &error);
    }
    if (report->unreadable > 0) {
        grv_error_set(&error, GRV_UNAVAILABLE, "scrub", "%" PRIu64 " blocks could not be read",
                      report->unreadable);
        return cli_fail(cli, &error);
    }
    return CLI_EXIT_OK;
}

static int scrub_execute(cli_run *cli)
{
    grv_error error = GRV_ERROR_INIT;
    grv_scrub_config config = {
        .restart = cli->options.restart,
        .found = scrub_found,
        .named = scrub_named,
        .progress = scrub_progress,
        .context = cli,
    };
    if (cli->options.rate && cli_size_parse(cli->options.rate, "--rate", 1, UINT64_C(1) << 50,
                                            &config.rate_bytes, &error)) {
        return cli_fail(cli, &error);
    }
    if (cli_store_open(cli, CLI_WRITE, &error)) {
        return cli_fail(cli, &error);
    }
    cli_progress_start(&cli->progress, "block", cli->options.quiet);
    grv_scrub_report report = {0};
    grv_status status = grv_store_scrub(&cli->call, cli->store, &config, &report, &error);
    cli_progress_clear(&cli->progress);
    grv_error failed = GRV_ERROR_INIT;
    if (report.started_ns > 0 && !cli->output.failed.status && scrub_print(cli, &report, &failed) &&
        !status) {
        return cli_fail(cli, &failed);
    }
    if (!status) {
        return scrub_judge(cli, &report);
    }
    if (report.blocks > 0 && !cli->options.quiet) {
        cli_report_note(&cli->output,
                        "stopped after %" PRIu64 " of %" PRIu64 " blocks; the next scrub goes on "
                        "from there",
                        report.blocks, report.total_blocks);
    }
    return cli_fail(cli, &error);
}

static const cli_option scrub_options[] = {
    {"rate", 0, CLI_OPTION_TEXT, offsetof(cli_options, rate)},
    {"restart", 0, CLI_OPTION_FLAG, offsetof(cli_options, restart)},
    {NULL, 0, CLI_OPTION_FLAG, 0},
};

static const char scrub_help[] =
    "usage: graviton scrub [--rate BYTES] [--restart]\n"
    "\n"
    "Reads every block of the store, whether a blob names it or not, and compares it with its\n"
    "hash; then looks for blocks that blobs name and that are gone. Prints, with tabs between:\n"
    "  corrupt BLOCK set aside MESSAGE   a bad block; it is out of the way, and the next put of\n"
    "                                    the same bytes stores it anew\n"
    "  missing BLOCK - MESSAGE           one that is not there\n"
    "  unreadable BLOCK - MESSAGE        one whose reading failed\n"
    "  blob ID BLOCK OFFSET              a blob that names a bad block\n"
    "and in the end the figures of the round, a name and a number a line. Exits with 4 where a\n"
    "block is corrupt or missing. Stopped at any moment, the next scrub goes on from there.\n"
    "\n"
    "options:\n"
    "  --rate BYTES    read at most so many bytes a second; K, M and G are 2^10, 2^20 and 2^30\n"
    "  --restart       begin with the first block, wherever the last scrub stopped\n"
    "\n"
    "examples:\n"
    "  graviton scrub\n"
    "  graviton scrub --rate 20M --json > scrub.jsonl\n";

const cli_command cli_command_scrub = {
    .name = "scrub",
    .summary = "read and check every block of the store",
    .help = scrub_help,
    .options = scrub_options,
    .operands_max = 0,
    .run = scrub_execute,
};
