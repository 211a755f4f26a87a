/* SPDX-License-Identifier: Apache-2.0 */
/* stat: what is known of a blob beside its bytes. */
#include "cli/cli.h"
#include "cli/text.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/* A blob and its attributes, as they are printed. */
typedef struct stat_view {
    const grv_blob_info *info;
    const grv_attributes *attributes;
    char id[GRV_KEY_TEXT_SIZE];
    char chunker[GRV_CHUNKER_TEXT_SIZE];
    char created[CLI_TIME_TEXT_SIZE];
} stat_view;

static grv_status stat_print_text(cli_run *cli, const stat_view *view, grv_error *error)
{
    grv_status status = cli_output_text(
        &cli->output, error,
        "id\t%s\nsize_bytes\t%" PRIu64 "\nblocks\t%" PRIu64 "\nblock_hash\t%s\nchunker\t%s\n"
        "created\t%s\nsequence\t%" PRIu64 "\n",
        view->id, view->info->key.size, view->info->block_count,
        grv_hash_name(view->info->block_hash), view->chunker, view->created, view->info->sequence);
    for (size_t i = 0; !status && i < view->attributes->count; i++) {
        const grv_attribute *pair = &view->attributes->pairs[i];
        char lead[GRV_ATTRIBUTE_NAME_MAX + 16];
        snprintf(lead, sizeof lead, "attribute.%s", pair->name);
        status = cli_output_named_row(&cli->output, lead,
                                      grv_bytes_of(pair->value, pair->value_size), error);
    }
    return status;
}

static grv_status stat_print_json(cli_run *cli, const stat_view *view, grv_error *error)
{
    json_t *attributes = json_object();
    bool whole = attributes != NULL;
    for (size_t i = 0; whole && i < view->attributes->count; i++) {
        const grv_attribute *pair = &view->attributes->pairs[i];
        whole =
            cli_json_set_name(attributes, pair->name, grv_bytes_of(pair->value, pair->value_size));
    }
    if (!whole) {
        json_decref(attributes);
        return cli_output_json(&cli->output, NULL, error);
    }
    json_t *object = json_pack("{s:s,s:I,s:I,s:s,s:s,s:s,s:I,s:o}", //
                               "id", view->id,                      //
                               "size_bytes", cli_json_integer(view->info->key.size), "blocks",
                               cli_json_integer(view->info->block_count),           //
                               "block_hash", grv_hash_name(view->info->block_hash), //
                               "chunker", view->chunker,                            //
                               "created", view->created,                            //
                               "sequence", cli_json_integer(view->info->sequence),  //
                               "attributes", attributes);
    return cli_output_json(&cli->output, object, error);
}

static grv_status stat_blob(cli_run *cli, const grv_blob_key *key, grv_error *error)
{
    grv_blob_info info;
    grv_status status = grv_blob_store_stat(&cli->call, cli->blobs, key, &info, error);
    if (status) {
        return status;
    }
    grv_attributes attributes;
    grv_attributes_init(&attributes);
    status = grv_blob_store_attributes_get(&cli->call, cli->blobs, key, &attributes, error);
    if (!status) {
        stat_view view = {.info = &info, .attributes = &attributes, .chunker = "-"};
        grv_blob_key_print(&info.key, view.id);
        cli_time_print(info.created_ns, view.created);
        if (info.chunker.kind) {
            grv_chunker_spec_print(&info.chunker, view.chunker);
        }
        status = cli->output.json ? stat_print_json(cli, &view, error)
                                  : stat_print_text(cli, &view, error);
    }
    grv_attributes_done(&attributes);
    return status;
}

static int stat_execute(cli_run *cli)
{
    return cli_each_id(cli, CLI_READ, stat_blob);
}

static const char stat_help[] =
    "usage: graviton stat ID…\n"
    "\n"
    "Shows what is known of each blob: a name, a tab and a value a line. ID is a whole id, or at\n"
    "least 8 hex digits of one that fit no other blob.\n"
    "\n"
    "examples:\n"
    "  graviton stat 0a1b2c3d\n"
    "  graviton stat --json 0a1b2c3d\n";

const cli_command cli_command_stat = {
    .name = "stat",
    .summary = "what is known of a blob",
    .help = stat_help,
    .operands_min = 1,
    .operands_max = SIZE_MAX,
    .run = stat_execute,
};
