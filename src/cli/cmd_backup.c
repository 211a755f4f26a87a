/* SPDX-License-Identifier: Apache-2.0 */
/* backup: a copy of the store that opens as a store. */
#include "cli/cli.h"
#include "cli/figures.h"
#include "cli/text.h"

#include <graviton/maintain.h>
#include <inttypes.h>
#include <string.h>

#define BACKUP_FIGURES 7

static void backup_progress(void *context, const grv_backup_report *so_far)
{
    cli_progress *progress = context;
    progress->bytes = so_far->linked_bytes + so_far->copied_bytes;
    progress->things = so_far->linked_blocks + so_far->copied_blocks;
    cli_progress_tick(progress);
}

static grv_status backup_print(cli_run *cli, const grv_backup_report *report, grv_error *error)
{
    const char *directory = cli->options.operands[0];
    const cli_figure figures[BACKUP_FIGURES] = {
        {"linked_blocks", report->linked_blocks},   {"linked_bytes", report->linked_bytes},
        {"copied_blocks", report->copied_blocks},   {"copied_bytes", report->copied_bytes},
        {"corrupt_blocks", report->corrupt_blocks}, {"meta_files", report->meta_files},
        {"meta_bytes", report->meta_bytes},
    };
    json_t *object = json_object();
    if (!cli_json_set_name(object, "directory", grv_bytes_of(directory, strlen(directory)))) {
        json_decref(object);
        object = NULL;
    }
    return cli_figures_print(&cli->output, object, figures, BACKUP_FIGURES, error);
}

static int backup_execute(cli_run *cli)
{
    grv_error error = GRV_ERROR_INIT;
    if (cli_store_open(cli, CLI_WRITE, &error)) {
        return cli_fail(cli, &error);
    }
    cli_progress_start(&cli->progress, "block", cli->options.quiet);
    const grv_backup_config config = {
        .directory = cli->options.operands[0],
        .copy = cli->options.copy,
        .progress = backup_progress,
        .context = &cli->progress,
    };
    grv_backup_report report;
    grv_status status = grv_store_backup(&cli->call, cli->store, &config, &report, &error);
    cli_progress_clear(&cli->progress);
    if (!status) {
        status = backup_print(cli, &report, &error);
    }
    if (!status && report.corrupt_blocks > 0) {
        status = grv_error_set(&error, GRV_CORRUPT, "backup",
                               "%" PRIu64 " blocks are wrong and not in the copy, which is whole "
                               "otherwise; graviton verify --all tells which blobs they belong to",
                               report.corrupt_blocks);
    }
    return status ? cli_fail(cli, &error) : CLI_EXIT_OK;
}

static const cli_option backup_options[] = {
    {"copy", 0, CLI_OPTION_FLAG, offsetof(cli_options, copy)},
    {NULL, 0, CLI_OPTION_FLAG, 0},
};

static const char backup_help[] =
    "usage: graviton backup [--copy] DIR\n"
    "\n"
    "Makes a copy of the store in DIR, which must be empty or not be there. The copy is a store:\n"
    "use it with --store DIR, or where the blocks are in RocksDB with --blocks kv: --meta\n"
    "rocks:DIR/meta. On the same file system files are linked, which takes hardly any space or\n"
    "time, and guards against lost files but not against a lost disk; elsewhere they are copied\n"
    "and checked. A backup that was cut short does not open as a store.\n"
    "Of a store behind a server, DIR is a name: the copy is made at the server, below the "
    "directory\n"
    "that its --backup-dir names.\n"
    "Prints a name, a tab and a figure a line:\n"
    "  linked_blocks, linked_bytes    block files that the copy shares with the store\n"
    "  copied_blocks, copied_bytes    block files that were read, checked and written\n"
    "  corrupt_blocks                 blocks found wrong and left out: exit code 4\n"
    "  meta_files, meta_bytes         files of the metadata, and the space that they take\n"
    "\n"
    "options:\n"
    "  --copy           copy files where they could be linked, too\n"
    "\n"
    "examples:\n"
    "  graviton backup /mnt/other-disk/graviton-$(date +%F)\n"
    "  graviton backup snapshot && graviton verify --all --store snapshot\n";

const cli_command cli_command_backup = {
    .name = "backup",
    .summary = "copy the store, so that the copy is one",
    .help = backup_help,
    .options = backup_options,
    .operands_min = 1,
    .operands_max = 1,
    .run = backup_execute,
};
