/* SPDX-License-Identifier: Apache-2.0 */
/* gc: frees what no blob needs, or tells what that would be. */
#include "cli/cli.h"
#include "cli/figures.h"

#include <graviton/maintain.h>
#include <inttypes.h>

#define GC_FIGURES 13

static void gc_progress(void *context, const grv_collect_report *so_far)
{
    cli_progress *progress = context;
    progress->bytes = so_far->kept_bytes + so_far->freed_bytes;
    progress->things = so_far->kept_blocks + so_far->freed_blocks;
    cli_progress_tick(progress);
}

static grv_status gc_print(cli_run *cli, const grv_collect_report *report, grv_error *error)
{
    const cli_figure figures[GC_FIGURES] = {
        {"blobs", report->blobs},
        {"references", report->references},
        {"kept_blocks", report->kept_blocks},
        {"kept_bytes", report->kept_bytes},
        {"freed_blocks", report->freed_blocks},
        {"freed_bytes", report->freed_bytes},
        {"freed_stored_bytes", report->freed_stored_bytes},
        {"freed_temporary", report->block_sweep.temporary},
        {"freed_temporary_bytes", report->block_sweep.temporary_bytes},
        {"freed_aside", report->block_sweep.aside},
        {"freed_aside_bytes", report->block_sweep.aside_bytes},
        {"freed_pages", report->meta_sweep.pages},
        {"freed_sequences", report->meta_sweep.sequences},
    };
    json_t *object = json_pack("{s:b}", "dry_run", cli->options.dry_run);
    return cli_figures_print(&cli->output, object, figures, GC_FIGURES, error);
}

static int gc_execute(cli_run *cli)
{
    grv_error error = GRV_ERROR_INIT;
    bool dry_run = cli->options.dry_run;
    if (cli_store_open(cli, dry_run ? CLI_READ : CLI_WRITE, &error)) {
        return cli_fail(cli, &error);
    }
    cli_progress_start(&cli->progress, "block", cli->options.quiet);
    const grv_collect_config config = {
        .dry_run = dry_run, .progress = gc_progress, .context = &cli->progress};
    grv_collect_report report;
    grv_status status = grv_store_collect(&cli->call, cli->store, &config, &report, &error);
    cli_progress_clear(&cli->progress);
    if (!status) {
        status = gc_print(cli, &report, &error);
    }
    if (status) {
        return cli_fail(cli, &error);
    }
    if (report.missing_blocks > 0) {
        cli_report_warning(&cli->output,
                           "%" PRIu64 " blocks that blobs name are missing; graviton verify --all "
                           "tells which blobs they belong to",
                           report.missing_blocks);
    }
    return CLI_EXIT_OK;
}

static const cli_option gc_options[] = {
    {"dry-run", 'n', CLI_OPTION_FLAG, offsetof(cli_options, dry_run)},
    {NULL, 0, CLI_OPTION_FLAG, 0},
};

static const char gc_help[] =
    "usage: graviton gc [--dry-run]\n"
    "\n"
    "Frees the blocks that no blob names any more, and what puts that were cut short have left.\n"
    "Prints a name, a tab and a figure a line:\n"
    "  kept_blocks, kept_bytes           blocks that blobs name, and their sizes\n"
    "  freed_blocks, freed_bytes         blocks that none names\n"
    "  freed_stored_bytes                what those took in the store\n"
    "  freed_temporary                   files of puts that never ended\n"
    "  freed_aside                       blocks that scrub set aside and a put has healed since\n"
    "  freed_pages, freed_sequences      metadata that belongs to no blob\n"
    "It may be stopped at any moment: the next gc frees the rest. It needs the store to itself.\n"
    "\n"
    "options:\n"
    "  -n, --dry-run    free nothing; print what would be freed\n"
    "\n"
    "examples:\n"
    "  graviton rm 0a1b2c3d && graviton gc\n"
    "  graviton gc --dry-run --json\n";

const cli_command cli_command_gc = {
    .name = "gc",
    .summary = "free the blocks that no blob names",
    .help = gc_help,
    .options = gc_options,
    .operands_max = 0,
    .run = gc_execute,
};
