/* SPDX-License-Identifier: Apache-2.0 */
/*
 * verify: reads blobs in full, as a get does, so that every block and the whole are checked. Of a
 * blob that fails, each block is then read alone, to name every bad one.
 */
#include "cli/cli.h"
#include "cli/text.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define VERIFY_BATCH    256
#define VERIFY_VIEW_MAX ((size_t)GRV_BLOCK_SIZE_MAX)
#define VERIFY_BAD_MAX  100000u /* blocks named of one blob */

typedef struct verify_run {
    cli_run *cli;
    cli_tally tally;
    uint64_t blobs;
    uint64_t bytes;
    uint64_t corrupt;
} verify_run;

static grv_status verify_read(cli_run *cli, const grv_blob_key *key, grv_range range, bool progress,
                              grv_error *error)
{
    grv_source *source;
    grv_status status = grv_blob_store_open_get(&cli->call, cli->blobs, key, range, &source, error);
    if (status) {
        return status;
    }
    for (;;) {
        grv_bytes view;
        status = grv_source_next(&cli->call, source, VERIFY_VIEW_MAX, &view, error);
        if (status || view.size == 0) {
            break;
        }
        if (progress) {
            cli_progress_add(&cli->progress, view.size);
            cli_progress_tick(&cli->progress);
        }
    }
    grv_source_free(source);
    return status;
}

/* One row about a bad block, or about a blob of which no single block could be blamed (NULL). */
static grv_status bad_print(cli_run *cli, const char *id, const grv_block_ref *ref,
                            const grv_error *cause, grv_error *error)
{
    char block[GRV_KEY_TEXT_SIZE] = "-";
    char offset[24] = "-";
    char lead[3 * GRV_KEY_TEXT_SIZE];
    if (ref) {
        grv_block_key_print(&ref->key, block);
        snprintf(offset, sizeof offset, "%" PRIu64, ref->offset);
    }
    snprintf(lead, sizeof lead, "%s\tcorrupt\t%s\t%s", id, block, offset);
    return cli_output_named_row(&cli->output, lead,
                                grv_bytes_of(cause->message, strlen(cause->message)), error);
}

static bool bad_append(json_t *list, const grv_block_ref *ref, const grv_error *cause)
{
    char block[GRV_KEY_TEXT_SIZE];
    grv_block_key_print(&ref->key, block);
    json_t *bad = json_pack("{s:s,s:I,s:I}", "block", block, //
                            "offset_bytes", cli_json_integer(ref->offset), "size_bytes",
                            (json_int_t)ref->key.size);
    if (!bad || json_object_set_new(
                    bad, "message",
                    cli_json_text(grv_bytes_of(cause->message, strlen(cause->message)))) < 0) {
        json_decref(bad);
        return false;
    }
    return json_array_append_new(list, bad) == 0;
}

/* Reads the block of `ref` alone and tells of it if it is bad. */
static grv_status bad_probe(cli_run *cli, const grv_blob_key *key, const char *id,
                            const grv_block_ref *ref, json_t *list, size_t *count, grv_error *error)
{
    grv_error cause = GRV_ERROR_INIT;
    grv_range range = {ref->offset, ref->offset + ref->key.size};
    grv_status status = verify_read(cli, key, range, false, &cause);
    if (status != GRV_CORRUPT) {
        if (status && error) {
            *error = cause;
        }
        return status;
    }
    (*count)++;
    if (!list) {
        return bad_print(cli, id, ref, &cause, error);
    }
    if (!bad_append(list, ref, &cause)) {
        return grv_error_set(error, GRV_LIMIT_EXCEEDED, "verify", "no memory for a list");
    }
    return GRV_OK;
}

/* Walks the manifest and probes every block, one that repeats at once only once. */
static grv_status bad_find(cli_run *cli, const grv_blob_key *key, const char *id, json_t *list,
                           size_t *count, grv_error *error)
{
    grv_ref_cursor *cursor;
    grv_status status = grv_blob_store_open_refs(&cli->call, cli->blobs, key, 0, &cursor, error);
    if (status) {
        return status;
    }
    grv_block_ref refs[VERIFY_BATCH];
    grv_block_key last = {0};
    size_t got = 1;
    while (!status && got > 0 && *count < VERIFY_BAD_MAX) {
        got = 0;
        status = grv_ref_cursor_next(&cli->call, cursor, refs, VERIFY_BATCH, &got, error);
        for (size_t i = 0; i < got && !status && *count < VERIFY_BAD_MAX; i++) {
            if (grv_block_key_compare(&refs[i].key, &last) != 0) {
                status = bad_probe(cli, key, id, &refs[i], list, count, error);
            }
            last = refs[i].key;
        }
    }
    grv_ref_cursor_free(cursor);
    return status;
}

/* Tells of a corrupt blob. `cause` is what the full read said. */
static grv_status bad_report(cli_run *cli, const grv_blob_key *key, const char *id,
                             const grv_error *cause, grv_error *error)
{
    size_t count = 0;
    json_t *list = cli->output.json ? json_array() : NULL;
    grv_status status = bad_find(cli, key, id, list, &count, error);
    if (status == GRV_CORRUPT || status == GRV_UNSUPPORTED) {
        status = GRV_OK; /* the manifest itself is bad, or isn't shown: `cause` has to do */
    }
    if (!status && !cli->output.json && count == 0) {
        status = bad_print(cli, id, NULL, cause, error);
    }
    if (!status && cli->output.json) {
        json_t *object = json_pack("{s:s,s:s,s:I}", "id", id, "status", "corrupt", //
                                   "size_bytes", cli_json_integer(key->size));
        json_t *message = cli_json_text(grv_bytes_of(cause->message, strlen(cause->message)));
        if (json_object_set_new(object, "message", message) < 0 ||
            json_object_set(object, "bad_blocks", list) < 0) {
            json_decref(object);
            object = NULL;
        }
        status = cli_output_json(&cli->output, object, error);
    }
    json_decref(list);
    return status;
}

static grv_status good_print(cli_run *cli, const grv_blob_key *key, const char *id,
                             uint64_t duration_ns, grv_error *error)
{
    if (!cli->output.json) {
        return cli_output_text(&cli->output, error, "%s\tok\n", id);
    }
    json_t *object = json_pack("{s:s,s:s,s:I,s:f}", "id", id, "status", "ok", //
                               "size_bytes", cli_json_integer(key->size),     //
                               "seconds", (double)duration_ns / 1e9);
    return cli_output_json(&cli->output, object, error);
}

/* Checks one blob. GRV_OK also for one that was told to be corrupt; else it can't go on. */
static grv_status verify_blob(verify_run *run, const grv_blob_key *key, grv_error *error)
{
    cli_run *cli = run->cli;
    char id[GRV_KEY_TEXT_SIZE];
    grv_error cause = GRV_ERROR_INIT;
    uint64_t begun_ns = grv_now_ns();
    grv_blob_key_print(key, id);
    grv_status status = verify_read(cli, key, GRV_RANGE_ALL, true, &cause);
    if (status && status != GRV_CORRUPT) {
        if (error) {
            *error = cause;
        }
        return status;
    }
    run->blobs++;
    run->bytes += key->size;
    cli_progress_done(&cli->progress);
    if (status == GRV_CORRUPT) {
        run->corrupt++;
        cli_tally_failure(&run->tally, CLI_EXIT_CORRUPT);
        status = bad_report(cli, key, id, &cause, error);
    } else {
        cli_tally_success(&run->tally);
        status = good_print(cli, key, id, grv_now_ns() - begun_ns, error);
    }
    return status ? status : cli_output_flush(&cli->output, error);
}

/* Tells of a blob that cannot be checked, where that says nothing of the next one: its manifest is
 * damaged or too new, or a block of it cannot be read. False for what ends the walk. */
static bool verify_goes_on(verify_run *run, const grv_error *error)
{
    cli_run *cli = run->cli;
    switch (error->status) {
    case GRV_CORRUPT:
        run->blobs++;
        run->corrupt++;
        break;
    case GRV_UNSUPPORTED:
    case GRV_UNAVAILABLE:
    case GRV_PERMISSION:
        break;
    default:
        return false;
    }
    if (cli->output.failed.status) {
        return false;
    }
    cli_tally_failure(&run->tally, cli_fail(cli, error));
    return true;
}

/* Whether a blob that could not be found has been removed since the list was read. */
static bool verify_was_removed(verify_run *run, const grv_blob_key *key)
{
    grv_blob_info info;
    return grv_blob_store_stat(&run->cli->call, run->cli->blobs, key, &info, NULL) == GRV_NOT_FOUND;
}

static grv_status verify_listed(verify_run *run, const grv_blob_info infos[], size_t count,
                                grv_error *error)
{
    grv_status status = GRV_OK;
    for (size_t i = 0; i < count && !status; i++) {
        status = verify_blob(run, &infos[i].key, error);
        bool removed = status == GRV_NOT_FOUND && verify_was_removed(run, &infos[i].key);
        if (status && (removed || verify_goes_on(run, error))) {
            status = GRV_OK;
        }
    }
    return status;
}

static grv_status verify_all(verify_run *run, grv_error *error)
{
    cli_run *cli = run->cli;
    grv_blob_list list = {.order = GRV_ORDER_KEY};
    grv_blob_cursor *cursor;
    grv_status status = grv_blob_store_open_list(&cli->call, cli->blobs, &list, &cursor, error);
    if (status) {
        return status;
    }
    grv_blob_info infos[VERIFY_BATCH];
    for (;;) {
        size_t count = 0;
        status = grv_blob_cursor_next(&cli->call, cursor, infos, VERIFY_BATCH, &count, error);
        if ((status == GRV_CORRUPT || status == GRV_UNSUPPORTED) && verify_goes_on(run, error)) {
            continue; /* one record that cannot be read: the list has the others */
        }
        if (status == GRV_INVALID_ARGUMENT && run->tally.failed > 0) {
            status = grv_error_set(error, GRV_CORRUPT, "verify",
                                   "the list of blobs cannot go on: there may be more, unchecked");
        }
        if (!status && count > 0) {
            status = verify_listed(run, infos, count, error);
        }
        if (status || count == 0) {
            break;
        }
    }
    grv_blob_cursor_free(cursor);
    return status;
}

/* The blobs named on the command line, going on after one that is not there. */
static grv_status verify_named(verify_run *run, const cli_id *ids, grv_error *error)
{
    cli_run *cli = run->cli;
    for (size_t i = 0; i < cli->options.operand_count; i++) {
        grv_blob_key key;
        grv_status status = cli_id_resolve(&cli->call, cli->store, &ids[i], &key, error);
        if (!status) {
            status = verify_blob(run, &key, error);
        }
        if (status == GRV_NOT_FOUND || status == GRV_INVALID_ARGUMENT) {
            cli_tally_failure(&run->tally, cli_fail(cli, error));
        } else if (status && !verify_goes_on(run, error)) {
            return status;
        }
    }
    return GRV_OK;
}

static int verify_finish(verify_run *run)
{
    char bytes[CLI_SIZE_TEXT_SIZE];
    cli_run *cli = run->cli;
    cli_progress_clear(&cli->progress);
    cli_size_print(run->bytes, bytes);
    if (run->corrupt > 0) {
        grv_error error = GRV_ERROR_INIT;
        grv_error_set(&error, GRV_CORRUPT, "verify", "%" PRIu64 " of %" PRIu64 " blobs are corrupt",
                      run->corrupt, run->blobs);
        return cli_fail(cli, &error);
    }
    if (!cli->options.quiet) {
        cli_report_note(&cli->output, "%" PRIu64 " blobs read and good, %s", run->blobs, bytes);
    }
    return cli_tally_code(&run->tally);
}

static int verify_execute(cli_run *cli)
{
    grv_error error = GRV_ERROR_INIT;
    bool all = cli->options.all;
    cli_id *ids = NULL;
    if (all == (cli->options.operand_count > 0)) {
        grv_error_set(&error, GRV_INVALID_ARGUMENT, "verify",
                      "verify wants either ids or --all; see graviton verify --help");
        return cli_fail(cli, &error);
    }
    if (cli_ids_parse(cli, &ids, &error)) {
        return cli_fail(cli, &error);
    }
    int code;
    cli->call.priority = GRV_BACKGROUND; /* of the store itself, not of a cache on this machine */
    if (cli_store_open(cli, CLI_READ, &error)) {
        code = cli_fail(cli, &error);
    } else {
        verify_run run = {.cli = cli};
        cli_progress_start(&cli->progress, "blob", cli->options.quiet);
        grv_status status = all ? verify_all(&run, &error) : verify_named(&run, ids, &error);
        code = status ? cli_fail(cli, &error) : verify_finish(&run);
        if (run.corrupt > 0) {
            code = CLI_EXIT_CORRUPT;
        }
    }
    free(ids);
    return code;
}

static const cli_option verify_options[] = {
    {"all", 'a', CLI_OPTION_FLAG, offsetof(cli_options, all)},
    {NULL, 0, CLI_OPTION_FLAG, 0},
};

static const char verify_help[] =
    "usage: graviton verify ID…|--all\n"
    "\n"
    "Reads every block of the blobs, and compares each block and each whole with its hash.\n"
    "Prints a line a good blob (id, ok) and a line a bad block (id, corrupt, block, offset, what\n"
    "is wrong), with tabs between them. Goes on after a bad blob, and then exits with 4.\n"
    "\n"
    "options:\n"
    "  -a, --all    every blob of the store\n"
    "\n"
    "examples:\n"
    "  graviton verify --all\n"
    "  graviton verify --all | grep -v '\tok$'\n"
    "  graviton verify --json 0a1b2c3d\n";

const cli_command cli_command_verify = {
    .name = "verify",
    .summary = "read blobs in full and check them",
    .help = verify_help,
    .options = verify_options,
    .operands_max = SIZE_MAX,
    .run = verify_execute,
};
