/* SPDX-License-Identifier: Apache-2.0 */
/* manifest: the blocks that a blob is made of. */
#include "cli/cli.h"
#include "cli/text.h"

#include <inttypes.h>

#define MANIFEST_BATCH 256

static grv_status manifest_print(cli_run *cli, const grv_block_ref *ref, grv_error *error)
{
    char key[GRV_KEY_TEXT_SIZE];
    grv_block_key_print(&ref->key, key);
    if (cli->output.json) {
        json_t *object =
            json_pack("{s:I,s:I,s:s}", "offset_bytes", cli_json_integer(ref->offset), //
                      "size_bytes", (json_int_t)ref->key.size, "block", key);
        return cli_output_json(&cli->output, object, error);
    }
    return cli_output_text(&cli->output, error, "%" PRIu64 "\t%" PRIu32 "\t%s\n", ref->offset,
                           ref->key.size, key);
}

static grv_status manifest_blob(cli_run *cli, const grv_blob_key *key, grv_error *error)
{
    grv_ref_cursor *cursor;
    grv_status status = grv_blob_store_open_refs(&cli->call, cli->blobs, key, 0, &cursor, error);
    if (status) {
        return status;
    }
    grv_block_ref refs[MANIFEST_BATCH];
    for (;;) {
        size_t count = 0;
        status = grv_ref_cursor_next(&cli->call, cursor, refs, MANIFEST_BATCH, &count, error);
        for (size_t i = 0; i < count && !status; i++) {
            status = manifest_print(cli, &refs[i], error);
        }
        if (status || count == 0) {
            break;
        }
    }
    grv_ref_cursor_free(cursor);
    return status;
}

static int manifest_execute(cli_run *cli)
{
    return cli_each_id(cli, CLI_READ, manifest_blob);
}

static const char manifest_help[] =
    "usage: graviton manifest ID\n"
    "\n"
    "Lists the blob's blocks in order: offset, size in bytes, and the block's key, with tabs\n"
    "between them. An empty blob has none.\n"
    "\n"
    "examples:\n"
    "  graviton manifest 0a1b2c3d\n"
    "  graviton manifest 0a1b2c3d | cut -f 3 | sort | uniq -d    blocks that repeat\n";

const cli_command cli_command_manifest = {
    .name = "manifest",
    .summary = "list a blob's blocks",
    .help = manifest_help,
    .operands_min = 1,
    .operands_max = 1,
    .run = manifest_execute,
};
