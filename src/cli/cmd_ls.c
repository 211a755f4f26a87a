/* SPDX-License-Identifier: Apache-2.0 */
/* ls: the blobs of a store, in key order or newest first. */
#include "cli/cli.h"
#include "cli/text.h"

#include <inttypes.h>
#include <stdio.h>

#define LS_BATCH 256

static grv_status ls_print_text(cli_run *cli, const grv_blob_info *info, grv_bytes name,
                                grv_error *error)
{
    char id[GRV_KEY_TEXT_SIZE];
    char created[CLI_TIME_TEXT_SIZE];
    grv_blob_key_print(&info->key, id);
    cli_time_print(info->created_ns, created);
    if (!cli->options.detailed) {
        return cli_output_text(&cli->output, error, "%s\t%" PRIu64 "\t%s\n", id, info->key.size,
                               created);
    }
    char lead[2 * GRV_KEY_TEXT_SIZE + CLI_TIME_TEXT_SIZE];
    snprintf(lead, sizeof lead, "%s\t%" PRIu64 "\t%s\t%" PRIu64 "\t%" PRIu64, id, info->key.size,
             created, info->block_count, info->sequence);
    return cli_output_named_row(&cli->output, lead, name, error);
}

static grv_status ls_print_json(cli_run *cli, const grv_blob_info *info, const grv_attribute *name,
                                grv_error *error)
{
    char id[GRV_KEY_TEXT_SIZE];
    char created[CLI_TIME_TEXT_SIZE];
    grv_blob_key_print(&info->key, id);
    cli_time_print(info->created_ns, created);
    json_t *object = json_pack("{s:s,s:I,s:s}", "id", id, //
                               "size_bytes", cli_json_integer(info->key.size), "created", created);
    bool whole = object != NULL;
    if (cli->options.detailed) {
        json_t *more = json_pack("{s:I,s:I}", "blocks", cli_json_integer(info->block_count),
                                 "sequence", cli_json_integer(info->sequence));
        whole = json_object_update(object, more) == 0;
        json_decref(more);
        if (whole && name) {
            whole = cli_json_set_name(object, "name", grv_bytes_of(name->value, name->value_size));
        }
    }
    if (!whole) {
        json_decref(object);
        object = NULL;
    }
    return cli_output_json(&cli->output, object, error);
}

static grv_status ls_print(cli_run *cli, const grv_blob_info *info, grv_error *error)
{
    grv_attributes attributes;
    grv_attributes_init(&attributes);
    grv_status status = GRV_OK;
    if (cli->options.detailed) {
        status =
            grv_blob_store_attributes_get(&cli->call, cli->blobs, &info->key, &attributes, error);
        if (status == GRV_NOT_FOUND) { /* removed since the list was read */
            grv_attributes_done(&attributes);
            return GRV_OK;
        }
    }
    if (!status) {
        const grv_attribute *name = grv_attributes_get(&attributes, GRV_ATTRIBUTE_FILE_NAME);
        grv_bytes text = name ? grv_bytes_of(name->value, name->value_size) : grv_bytes_of("", 0);
        status = cli->output.json ? ls_print_json(cli, info, name, error)
                                  : ls_print_text(cli, info, text, error);
    }
    grv_attributes_done(&attributes);
    return status;
}

/* A record that cannot be read is told of in `tally`; the list goes on behind it. */
static grv_status ls_list(cli_run *cli, uint64_t limit, cli_tally *tally, grv_error *error)
{
    grv_blob_list list = {.order = cli->options.newest ? GRV_ORDER_NEWEST : GRV_ORDER_KEY};
    grv_blob_cursor *cursor;
    grv_status status = grv_blob_store_open_list(&cli->call, cli->blobs, &list, &cursor, error);
    if (status) {
        return status;
    }
    grv_blob_info infos[LS_BATCH];
    while (!status && limit > 0) {
        size_t want = limit < LS_BATCH ? (size_t)limit : LS_BATCH;
        size_t count = 0;
        status = grv_blob_cursor_next(&cli->call, cursor, infos, want, &count, error);
        if (status == GRV_CORRUPT || status == GRV_UNSUPPORTED) {
            cli_tally_failure(tally, cli_fail(cli, error));
            status = GRV_OK;
            continue;
        }
        if (status == GRV_INVALID_ARGUMENT && tally->failed > 0) {
            /* What was told ends the list, being no single record's. */
            status = grv_error_set(error, GRV_CORRUPT, "ls",
                                   "the list of blobs cannot go on: there may be more");
        }
        if (status || count == 0) {
            break;
        }
        limit -= count;
        for (size_t i = 0; i < count && !status; i++) {
            status = ls_print(cli, &infos[i], error);
        }
    }
    grv_blob_cursor_free(cursor);
    return status;
}

static int ls_execute(cli_run *cli)
{
    grv_error error = GRV_ERROR_INIT;
    cli_tally tally = {0};
    uint64_t limit = UINT64_MAX;
    if ((cli->options.limit &&
         cli_number_parse(cli->options.limit, "--limit", 0, UINT64_MAX, &limit, &error)) ||
        cli_store_open(cli, CLI_READ, &error) || ls_list(cli, limit, &tally, &error)) {
        return cli_fail(cli, &error);
    }
    return cli_tally_code(&tally);
}

static const cli_option ls_options[] = {
    {"newest", 0, CLI_OPTION_FLAG, offsetof(cli_options, newest)},
    {"long", 'l', CLI_OPTION_FLAG, offsetof(cli_options, detailed)},
    {"limit", 0, CLI_OPTION_TEXT, offsetof(cli_options, limit)},
    {NULL, 0, CLI_OPTION_FLAG, 0},
};

static const char ls_help[] =
    "usage: graviton ls [-l] [--newest] [--limit N]\n"
    "\n"
    "Lists the blobs in the order of their ids: id, size in bytes, time of the first put, with\n"
    "tabs between them.\n"
    "\n"
    "options:\n"
    "  -l, --long   also the number of blocks, the sequence number, and the file-name\n"
    "  --newest     the newest first\n"
    "  --limit N    at most N blobs\n"
    "\n"
    "examples:\n"
    "  graviton ls --newest --limit 10\n"
    "  graviton ls | sort -t '\t' -k 2n | tail\n";

const cli_command cli_command_ls = {
    .name = "ls",
    .summary = "list the blobs",
    .help = ls_help,
    .options = ls_options,
    .operands_max = 0,
    .run = ls_execute,
};
