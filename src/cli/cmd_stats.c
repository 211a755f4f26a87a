/* SPDX-License-Identifier: Apache-2.0 */
/* stats: what the store holds and what it takes, counted. */
#include "base/digits.h"
#include "cli/cli.h"
#include "cli/text.h"

#include <inttypes.h>

typedef struct stats_figure {
    const char *name;
    uint64_t value;
} stats_figure;

#define STATS_FIGURES 9

static void stats_list(const grv_store_stats *stats, stats_figure ret_figures[STATS_FIGURES])
{
    const stats_figure figures[STATS_FIGURES] = {
        {"blobs", stats->blobs},
        {"logical_bytes", stats->logical_bytes},
        {"references", stats->references},
        {"blocks", stats->blocks},
        {"unique_bytes", stats->unique_bytes},
        {"stored_bytes", stats->stored_bytes},
        {"unreferenced_blocks", stats->unreferenced_blocks},
        {"unreferenced_bytes", stats->unreferenced_bytes},
        {"missing_blocks", stats->missing_blocks},
    };
    for (size_t i = 0; i < STATS_FIGURES; i++) {
        ret_figures[i] = figures[i];
    }
}

static grv_status stats_print_ratio(cli_run *cli, const char *name, uint64_t above, uint64_t below,
                                    grv_error *error)
{
    if (below == 0) {
        return cli_output_text(&cli->output, error, "%s\t-\n", name);
    }
    return cli_output_text(&cli->output, error, "%s\t%.4f\n", name, (double)above / (double)below);
}

static grv_status stats_print_text(cli_run *cli, const grv_store_stats *stats, const char *store_id,
                                   const char *chunker, grv_error *error)
{
    const grv_store_info *info = grv_store_get_info(cli->store);
    stats_figure figures[STATS_FIGURES];
    stats_list(stats, figures);
    grv_status status = cli_output_text(
        &cli->output, error, "store_id\t%s\nformat_version\t%" PRIu32 "\nhash\t%s\nchunker\t%s\n",
        store_id, info->format_version, grv_hash_name(info->hash), chunker);
    for (size_t i = 0; i < STATS_FIGURES && !status; i++) {
        status = cli_output_text(&cli->output, error, "%s\t%" PRIu64 "\n", figures[i].name,
                                 figures[i].value);
    }
    if (!status) {
        status =
            stats_print_ratio(cli, "dedup_ratio", stats->logical_bytes, stats->unique_bytes, error);
    }
    if (!status) {
        status = stats_print_ratio(cli, "compression_ratio", stats->unique_bytes,
                                   stats->stored_bytes, error);
    }
    return status;
}

static json_t *stats_json_ratio(uint64_t above, uint64_t below)
{
    return below == 0 ? json_null() : json_real((double)above / (double)below);
}

static grv_status stats_print_json(cli_run *cli, const grv_store_stats *stats, const char *store_id,
                                   const char *chunker, grv_error *error)
{
    const grv_store_info *info = grv_store_get_info(cli->store);
    stats_figure figures[STATS_FIGURES];
    stats_list(stats, figures);
    json_t *object = json_pack("{s:s,s:I,s:s,s:s}", "store_id", store_id,          //
                               "format_version", (json_int_t)info->format_version, //
                               "hash", grv_hash_name(info->hash), "chunker", chunker);
    bool whole = object != NULL;
    for (size_t i = 0; i < STATS_FIGURES && whole; i++) {
        whole = json_object_set_new(object, figures[i].name,
                                    json_integer(cli_json_integer(figures[i].value))) == 0;
    }
    whole = whole &&
            json_object_set_new(object, "dedup_ratio",
                                stats_json_ratio(stats->logical_bytes, stats->unique_bytes)) == 0 &&
            json_object_set_new(object, "compression_ratio",
                                stats_json_ratio(stats->unique_bytes, stats->stored_bytes)) == 0;
    if (!whole) {
        json_decref(object);
        object = NULL;
    }
    return cli_output_json(&cli->output, object, error);
}

static int stats_execute(cli_run *cli)
{
    grv_error error = GRV_ERROR_INIT;
    grv_store_stats stats = {0};
    if (cli_store_open(cli, CLI_READ, &error) ||
        grv_store_count(&cli->call, cli->store, &stats, &error)) {
        return cli_fail(cli, &error);
    }
    const grv_store_info *info = grv_store_get_info(cli->store);
    char store_id[2 * GRV_STORE_ID_SIZE + 1];
    char chunker[GRV_CHUNKER_TEXT_SIZE];
    grv_hex_print(info->id, GRV_STORE_ID_SIZE, store_id);
    grv_chunker_spec_print(&info->chunker, chunker);
    grv_status status = cli->output.json ? stats_print_json(cli, &stats, store_id, chunker, &error)
                                         : stats_print_text(cli, &stats, store_id, chunker, &error);
    if (!status && stats.missing_blocks > 0) {
        grv_error_set(&error, GRV_CORRUPT, "stats",
                      "%" PRIu64 " blocks are missing; graviton verify --all tells which blobs "
                      "they belong to",
                      stats.missing_blocks);
        status = GRV_CORRUPT;
    }
    return status ? cli_fail(cli, &error) : CLI_EXIT_OK;
}

static const char stats_help[] =
    "usage: graviton stats\n"
    "\n"
    "Counts the whole store: a name, a tab and a figure a line.\n"
    "  logical_bytes       sum of the blobs' sizes\n"
    "  references          blocks in all manifests, repeats counted\n"
    "  blocks              distinct blocks, and unique_bytes their sizes\n"
    "  stored_bytes        what they take in the store\n"
    "  unreferenced_…      blocks that no blob names: garbage\n"
    "  missing_blocks      blocks that a blob names and that are gone: damage, exit code 4\n"
    "  dedup_ratio         logical_bytes / unique_bytes\n"
    "  compression_ratio   unique_bytes / stored_bytes\n"
    "\n"
    "examples:\n"
    "  graviton stats\n"
    "  graviton stats --json | python3 -m json.tool\n";

const cli_command cli_command_stats = {
    .name = "stats",
    .summary = "count what the store holds and takes",
    .help = stats_help,
    .operands_max = 0,
    .run = stats_execute,
};
