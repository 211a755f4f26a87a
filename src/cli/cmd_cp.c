/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cp: blobs from one store to another. What is there is found out page by page and left alone; the
 * rest goes through a pool of copies. So a run that was cut short is taken up by another run.
 */
#include "cli/cli.h"
#include "cli/cp_stores.h"
#include "cli/figures.h"
#include "cli/job_pool.h"
#include "cli/text.h"

#include <graviton/maintain.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* Blobs that are asked for at the target together. */
#define CP_PAGE 256u
/* From this size on a copy keeps the cores busy by itself; with two of them one reads on while the
 * other commits, and both fit the stores' memory budgets beside the small ones. */
#define CP_LARGE_BYTES (UINT64_C(4) << 20)
#define CP_LARGE_MAX   2u
#define CP_FIGURES     7

/* What became of a blob. */
typedef enum cp_outcome {
    CP_COPIED = 1,
    CP_PRESENT = 2, /* the target had it */
    CP_ABSENT = 3,  /* dry run: the target does not have it */
    CP_GONE = 4     /* removed from the source since it was listed */
} cp_outcome;

/* What all copies of a run share; read only, but for the progress's counter. */
typedef struct cp_context {
    const grv_call *call;
    grv_blob_store *source;
    grv_blob_store *target;
    cli_progress *progress;
} cp_context;

/* One blob, and what came of it. */
typedef struct cp_job {
    cli_job base;
    grv_blob_key key;
    bool is_listed; /* the target is known to lack it, and it may have been removed meanwhile */
    cp_outcome outcome;
    grv_error error; /* status GRV_OK: outcome and result are valid */
    grv_copy_result result;
    uint64_t duration_ns;
} cp_job;

typedef struct cp_run {
    cli_run *cli;
    grv_blob_store *target;
    grv_hash target_hash;
    cli_job_pool *pool;
    cli_tally tally;
    int stop_code; /* not 0: begin nothing more */
    uint64_t copied;
    uint64_t copied_bytes;
    uint64_t fresh_bytes;
    uint64_t present;
    uint64_t absent;
    uint64_t absent_bytes;
    uint64_t failed;
    uint64_t abandoned;
} cp_run;

/* ---- One blob: on the pool's threads ---- */

static void cp_progress(void *context, uint64_t bytes)
{
    cli_progress_add(context, bytes);
}

static void cp_work(const void *context_data, cli_job *base)
{
    const cp_context *context = context_data;
    cp_job *job = (cp_job *)(void *)base;
    uint64_t begun_ns = grv_now_ns();
    const grv_copy_config config = {
        .absent = job->is_listed, .progress = cp_progress, .context = context->progress};
    grv_error_clear(&job->error);
    grv_status status = grv_blob_copy(context->call, context->source, context->target, &job->key,
                                      &config, &job->result, &job->error);
    job->outcome = job->result.already_there ? CP_PRESENT : CP_COPIED;
    if (status == GRV_NOT_FOUND && job->is_listed && !job->result.target_failed) {
        grv_blob_info info;
        if (grv_blob_store_stat(context->call, context->source, &job->key, &info, NULL) == status) {
            job->outcome = CP_GONE;
            status = GRV_OK;
        }
    }
    job->error.status = status;
    job->duration_ns = grv_now_ns() - begun_ns;
}

/* ---- What came of it: on the main thread ---- */

/* Errors that the next blob would meet too. */
static bool cp_is_over(const cp_job *job)
{
    if (job->error.status == GRV_CANCELLED) {
        return true;
    }
    if (!job->result.target_failed) {
        return false;
    }
    switch (job->error.status) {
    case GRV_OUT_OF_SPACE:
    case GRV_UNAVAILABLE:
    case GRV_TIMEOUT:
    case GRV_PERMISSION:
    case GRV_INTERNAL:
        return true;
    default:
        return false;
    }
}

static void cp_stop(cp_run *run, int code)
{
    if (run->stop_code == CLI_EXIT_OK) {
        run->stop_code = code;
        if (run->pool) {
            cli_job_pool_abandon(run->pool);
        }
    }
}

static grv_status cp_print(cp_run *run, const cp_job *job, grv_error *error)
{
    static const char *const words[] = {
        [CP_COPIED] = "copied", [CP_PRESENT] = "present", [CP_ABSENT] = "absent"};
    cli_output *output = &run->cli->output;
    const grv_put_result *put = &job->result.put;
    char id[GRV_KEY_TEXT_SIZE];
    grv_blob_key_print(&job->key, id);
    if (!output->json) {
        return cli_output_text(output, error, "%s\t%s\n", id, words[job->outcome]);
    }
    json_t *object = json_pack("{s:s,s:s,s:I}", "id", id, "status", words[job->outcome],
                               "size_bytes", cli_json_integer(job->key.size));
    if (job->outcome == CP_COPIED) {
        json_t *rest = json_pack("{s:I,s:I,s:I,s:I,s:I,s:f}",                               //
                                 "blocks", cli_json_integer(put->blocks),                   //
                                 "fresh_blocks", cli_json_integer(put->fresh_blocks),       //
                                 "fresh_bytes", cli_json_integer(put->fresh_bytes),         //
                                 "duplicate_bytes", cli_json_integer(put->duplicate_bytes), //
                                 "stored_bytes", cli_json_integer(put->stored_bytes),       //
                                 "seconds", (double)job->duration_ns / 1e9);
        if (json_object_update(object, rest) < 0) {
            json_decref(object);
            object = NULL;
        }
        json_decref(rest);
    }
    return cli_output_json(output, object, error);
}

static void cp_show_failure(cp_run *run, cp_job *job)
{
    char id[GRV_KEY_TEXT_SIZE];
    bool over = cp_is_over(job);
    int code = cli_exit_of_status(job->error.status);
    grv_blob_key_print(&job->key, id);
    run->failed++;
    cli_tally_failure(&run->tally, code);
    if (!strstr(job->error.message, id)) {
        grv_error_prefix(&job->error, "%s", id);
    }
    if (!over || run->stop_code == CLI_EXIT_OK) {
        cli_report_error(&run->cli->output, &job->error);
    }
    if (over) {
        cp_stop(run, code);
    }
}

static void cp_count(cp_run *run, const cp_job *job)
{
    const grv_put_result *put = &job->result.put;
    cli_tally_success(&run->tally);
    switch (job->outcome) {
    case CP_COPIED:
        run->copied++;
        run->copied_bytes += job->key.size;
        run->fresh_bytes += put->fresh_bytes;
        cli_progress_settle(&run->cli->progress, job->key.size, put->duplicate_bytes);
        cli_progress_done(&run->cli->progress);
        break;
    case CP_PRESENT:
        run->present++;
        cli_progress_done(&run->cli->progress);
        break;
    case CP_ABSENT:
        run->absent++;
        run->absent_bytes += job->key.size;
        break;
    case CP_GONE:
        break;
    }
}

/* Shows what came of a job, and frees it. */
static void cp_show(cp_run *run, cp_job *job)
{
    cli_output *output = &run->cli->output;
    grv_error error = GRV_ERROR_INIT;
    if (job->base.is_abandoned) {
        run->abandoned++;
    } else if (job->error.status) {
        cp_show_failure(run, job);
    } else {
        cp_count(run, job);
        grv_status status = output->failed.status;
        if (!status && job->outcome != CP_GONE) {
            status = cp_print(run, job, &error);
            if (!status && job->outcome == CP_COPIED) {
                status = cli_output_flush(output, &error); /* it is durable: say so */
            }
            if (status) {
                cp_stop(run, cli_fail(run->cli, &error));
            }
        }
    }
    free(job);
}

/* Shows the jobs that are done; waits for all where `all` is set, else for room for one more. */
static void cp_show_done(cp_run *run, bool all)
{
    cli_job *done;
    while ((done = cli_job_pool_take(run->pool, all || cli_job_pool_is_full(run->pool)))) {
        cp_show(run, (cp_job *)(void *)done);
    }
}

/* A failure that belongs to no job: told, and counted; `over` ends the run. */
static void cp_fail(cp_run *run, const grv_error *error, bool over)
{
    int code = cli_fail(run->cli, error);
    run->failed++;
    cli_tally_failure(&run->tally, code);
    if (over) {
        cp_stop(run, code);
    }
}

/* ---- Which blobs ---- */

/* Says of a blob that a copy of it would have another id. A source may have such ones among others.
 */
static void cp_refuse(cp_run *run, const grv_blob_key *key)
{
    grv_error error = GRV_ERROR_INIT;
    char id[GRV_KEY_TEXT_SIZE];
    grv_blob_key_print(key, id);
    grv_error_set(&error, GRV_CONFLICT, "cp",
                  "%s: the target names blobs by %s: the copy would have another id", id,
                  grv_hash_name(run->target_hash));
    cp_fail(run, &error, false);
}

/* Queues a blob; shows finished ones meanwhile. */
static void cp_add(cp_run *run, const grv_blob_key *key, bool is_listed, bool is_present)
{
    grv_error error = GRV_ERROR_INIT;
    if (key->digest.hash != run->target_hash) {
        cp_refuse(run, key);
        return;
    }
    bool dry_run = run->cli->options.dry_run;
    cp_show_done(run, false);
    if (run->stop_code) {
        return;
    }
    cp_job *job = calloc(1, sizeof *job);
    if (!job) {
        grv_error_set(&error, GRV_LIMIT_EXCEEDED, "cp", "no memory for a copy");
        cp_fail(run, &error, true);
        return;
    }
    job->key = *key;
    job->is_listed = is_listed;
    job->outcome = is_present ? CP_PRESENT : CP_ABSENT;
    job->base.is_settled = is_present || dry_run;
    job->base.is_large = key->size >= CP_LARGE_BYTES;
    if (cli_job_pool_add(run->pool, &job->base, &error)) {
        free(job);
        cp_fail(run, &error, true);
    }
}

/* Queues a page of ascending keys, after asking the target which of them it has. */
static void cp_add_page(cp_run *run, const grv_blob_key keys[], size_t count)
{
    grv_error error = GRV_ERROR_INIT;
    bool present[CP_PAGE];
    if (grv_blob_store_present(&run->cli->call, run->target, keys, count, present, &error)) {
        grv_error_prefix(&error, "target");
        cp_fail(run, &error, true);
        return;
    }
    for (size_t i = 0; i < count && run->stop_code == CLI_EXIT_OK; i++) {
        cp_add(run, &keys[i], true, present[i]);
    }
}

static void cp_all(cp_run *run)
{
    cli_run *cli = run->cli;
    grv_error error = GRV_ERROR_INIT;
    const grv_blob_list list = {.order = GRV_ORDER_KEY};
    grv_blob_cursor *cursor;
    if (grv_blob_store_open_list(&cli->call, cli->blobs, &list, &cursor, &error)) {
        cp_fail(run, &error, true);
        return;
    }
    grv_blob_info infos[CP_PAGE];
    grv_blob_key keys[CP_PAGE];
    size_t count = 0; /* of the page; a list may give fewer at a time */
    bool ended = false;
    while (!ended && run->stop_code == CLI_EXIT_OK) {
        size_t got = 0;
        grv_status status =
            grv_blob_cursor_next(&cli->call, cursor, infos, CP_PAGE - count, &got, &error);
        if (status == GRV_CORRUPT || status == GRV_UNSUPPORTED) {
            cp_fail(run, &error, false); /* one record: the list has the others */
            continue;
        }
        if (status == GRV_INVALID_ARGUMENT && run->failed > 0) {
            status = grv_error_set(&error, GRV_CORRUPT, "cp",
                                   "the list of blobs cannot go on: there may be more, not copied");
        }
        for (size_t i = 0; i < got; i++) {
            keys[count++] = infos[i].key;
        }
        ended = status || got == 0;
        if (count == CP_PAGE || ended) {
            cp_add_page(run, keys, count);
            count = 0;
        }
        if (status) {
            cp_fail(run, &error, status == GRV_CANCELLED);
        }
    }
    grv_blob_cursor_free(cursor);
}

/* Finds the operands' keys in the source; *ret_count of them are there. */
static void cp_resolve(cp_run *run, const cli_id ids[], grv_blob_key keys[], size_t *ret_count)
{
    cli_run *cli = run->cli;
    size_t count = 0;
    for (size_t i = 0; i < cli->options.operand_count && run->stop_code == CLI_EXIT_OK; i++) {
        grv_error error = GRV_ERROR_INIT;
        grv_blob_info info;
        grv_status status = cli_id_resolve(&cli->call, cli->store, &ids[i], &keys[count], &error);
        if (!status) {
            status = grv_blob_store_stat(&cli->call, cli->blobs, &keys[count], &info, &error);
        }
        if (status) {
            cp_fail(run, &error, status == GRV_CANCELLED);
        } else {
            count++;
        }
    }
    *ret_count = count;
}

static void cp_named(cp_run *run, const grv_blob_key keys[], size_t count)
{
    cli_progress *progress = &run->cli->progress;
    for (size_t i = 0; i < count; i++) {
        progress->total_bytes += keys[i].size;
    }
    for (size_t i = 0; i < count && run->stop_code == CLI_EXIT_OK; i++) {
        bool present = false;
        grv_error error = GRV_ERROR_INIT;
        if (run->cli->options.dry_run &&
            grv_blob_store_present(&run->cli->call, run->target, &keys[i], 1, &present, &error)) {
            grv_error_prefix(&error, "target");
            cp_fail(run, &error, true);
        } else {
            cp_add(run, &keys[i], false, present);
        }
    }
}

/* ---- The whole ---- */

static grv_status cp_summarise(cp_run *run, grv_error *error)
{
    cli_run *cli = run->cli;
    const cli_figure figures[CP_FIGURES] = {
        {"copied", run->copied},           {"copied_bytes", run->copied_bytes},
        {"fresh_bytes", run->fresh_bytes}, {"present", run->present},
        {"absent", run->absent},           {"absent_bytes", run->absent_bytes},
        {"failed", run->failed},
    };
    if (cli->output.json) {
        json_t *object = json_pack("{s:b}", "dry_run", cli->options.dry_run);
        return cli_figures_print(&cli->output, object, figures, CP_FIGURES, error);
    }
    if (!cli->options.quiet) {
        bool dry_run = cli->options.dry_run;
        char bytes[CLI_SIZE_TEXT_SIZE];
        cli_size_print(dry_run ? run->absent_bytes : run->copied_bytes, bytes);
        cli_report_note(&cli->output,
                        "%" PRIu64 " blobs %scopied, %s; %" PRIu64 " were there; %" PRIu64
                        " failed",
                        dry_run ? run->absent : run->copied, dry_run ? "would be " : "", bytes,
                        run->present, run->failed);
    }
    return GRV_OK;
}

static int cp_finish(cp_run *run)
{
    cli_run *cli = run->cli;
    grv_error error = GRV_ERROR_INIT;
    cli_progress_clear(&cli->progress);
    if (!cli->output.failed.status && cp_summarise(run, &error)) {
        cp_stop(run, cli_fail(cli, &error));
    }
    if (run->abandoned > 0) {
        cli_report_note(&cli->output, "stopped; blobs not tried: %" PRIu64 " or more",
                        run->abandoned);
    }
    if (run->stop_code) {
        return run->stop_code;
    }
    int code = cli_tally_code(&run->tally);
    return code && cli->options.all ? CLI_EXIT_OTHER : code;
}

static int cp_stores(cp_run *run, cli_cp_target *target, const cli_id ids[], grv_blob_key keys[])
{
    cli_run *cli = run->cli;
    grv_error error = GRV_ERROR_INIT;
    size_t count = 0;
    if (cli_cp_open_source(cli, &error)) {
        return cli_fail(cli, &error);
    }
    cp_resolve(run, ids, keys, &count);
    if (run->stop_code || (count == 0 && !cli->options.all)) {
        return cp_finish(run); /* and no store is made for nothing */
    }
    if (cli_cp_open_target(cli, target, &error)) {
        return cli_fail(cli, &error);
    }
    run->target = grv_store_blobs(target->store);
    run->target_hash = grv_store_get_info(target->store)->hash;
    const cp_context context = {.call = &cli->call,
                                .source = cli->blobs,
                                .target = run->target,
                                .progress = &cli->progress};
    const cli_job_work work = {
        .run = cp_work, .context = &context, .large_max = CP_LARGE_MAX, .progress = &cli->progress};
    if (cli_job_pool_new(&work, &run->pool, &error)) {
        return cli_fail(cli, &error);
    }
    cli_progress_start(&cli->progress, "blob", cli->options.quiet);
    if (cli->options.all) {
        cp_all(run);
    } else {
        cp_named(run, keys, count);
    }
    cp_show_done(run, true);
    cli_job_pool_free(run->pool);
    return cp_finish(run);
}

static int cp_execute(cli_run *cli)
{
    grv_error error = GRV_ERROR_INIT;
    cp_run run = {.cli = cli};
    size_t count = cli->options.operand_count;
    if (cli->options.all == (count > 0)) {
        grv_error_set(&error, GRV_INVALID_ARGUMENT, "cp",
                      "cp wants either ids or --all; see graviton cp --help");
        return cli_fail(cli, &error);
    }
    cli_id *ids = NULL;
    if (cli_ids_parse(cli, &ids, &error)) {
        return cli_fail(cli, &error);
    }
    cli_cp_target target = {0};
    grv_blob_key *keys = calloc(count + 1, sizeof *keys);
    int code;
    if (!keys) {
        grv_error_set(&error, GRV_LIMIT_EXCEEDED, "cp", "no memory for %zu keys", count);
        code = cli_fail(cli, &error);
    } else if (cli_cp_configure(cli, &target, &error)) {
        code = cli_fail(cli, &error);
    } else {
        code = cp_stores(&run, &target, ids, keys);
    }
    cli_cp_target_done(&target);
    free(keys);
    free(ids);
    return code;
}

static const cli_option cp_options[] = {
    {"from", 0, CLI_OPTION_TEXT, offsetof(cli_options, from)},
    {"from-blocks", 0, CLI_OPTION_TEXT, offsetof(cli_options, from_blocks)},
    {"from-meta", 0, CLI_OPTION_TEXT, offsetof(cli_options, from_meta)},
    {"to", 0, CLI_OPTION_TEXT, offsetof(cli_options, to)},
    {"to-blocks", 0, CLI_OPTION_TEXT, offsetof(cli_options, to_blocks)},
    {"to-meta", 0, CLI_OPTION_TEXT, offsetof(cli_options, to_meta)},
    {"to-token-file", 0, CLI_OPTION_TEXT, offsetof(cli_options, to_token_file)},
    {"all", 'a', CLI_OPTION_FLAG, offsetof(cli_options, all)},
    {"dry-run", 'n', CLI_OPTION_FLAG, offsetof(cli_options, dry_run)},
    {NULL, 0, CLI_OPTION_FLAG, 0},
};

static const char cp_help[] =
    "usage: graviton cp [--from STORE] --to STORE [--dry-run] ID…|--all\n"
    "\n"
    "Copies blobs and their attributes to another store, which is made where there is none, with\n"
    "the source's hash and chunker. Prints a line a blob: its id and what became of it,\n"
    "  copied     it is durable at the target\n"
    "  present    the target had it; its attributes there stay as they are\n"
    "  absent     with --dry-run: it would be copied\n"
    "Every byte is checked on the way. Ids do not change: a target with another hash is refused,\n"
    "one with another chunker cuts anew. Goes on after a blob that fails, and then exits with 1.\n"
    "Stopped at any moment, by kill too, it is taken up by running it again.\n"
    "\n"
    "options:\n"
    "  --from STORE         where to copy from: as --store, which names the source otherwise\n"
    "  --from-blocks URL    or its two halves: as --blocks\n"
    "  --from-meta URL      and --meta\n"
    "  --to STORE           where to copy to\n"
    "  --to-blocks URL      or its two halves\n"
    "  --to-meta URL\n"
    "  --to-token-file FILE the target's token, where source and target are servers: --token-file\n"
    "                       and GRAVITON_TOKEN are the source's then\n"
    "  -a, --all            every blob of the source\n"
    "  -n, --dry-run        copy nothing; print what would be copied\n"
    "--hash, --chunker and --reserve are about the target here.\n"
    "\n"
    "A deployment of the Scala system is a source too: --from-blocks fs:DIR with its block files,\n"
    "or s3://BUCKET/PREFIX with its objects, and\n"
    "--from-meta scala:postgresql://HOST/DATABASE with its tables. It is only read. Of blobs with\n"
    "two hashes, those that the target does not have (--hash of a new one) are told, and fail.\n"
    "\n"
    "examples:\n"
    "  graviton cp --to /mnt/other-disk/graviton --all\n"
    "  graviton cp --from /srv/g --to-blocks kv: --to-meta rocks:/srv/small 0a1b2c3d\n"
    "  graviton cp --from old --to new --all --dry-run | grep absent\n"
    "  graviton cp --from-blocks fs:/srv/scala --from-meta scala:postgresql://db/scala \\\n"
    "    --to new --hash sha256 --all\n";

const cli_command cli_command_cp = {
    .name = "cp",
    .summary = "copy blobs to another store",
    .help = cp_help,
    .options = cp_options,
    .operands_max = SIZE_MAX,
    .run = cp_execute,
};
