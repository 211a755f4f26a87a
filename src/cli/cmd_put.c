/* SPDX-License-Identifier: Apache-2.0 */
/* put: files, directories and standard input into the store. */
#include "cli/cli.h"
#include "cli/put_file.h"
#include "cli/put_walk.h"
#include "cli/text.h"

#include <graviton/maintain.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

/* From this size on a put keeps the cores busy by itself, so one of them at once is enough. */
#define PUT_LARGE_BYTES (UINT64_C(4) << 20)
#define PUT_LARGE_MAX   1u

/* Files whose keys are asked for at once, where the store is distant. */
#define PUT_PAGE 512u

typedef struct put_run {
    cli_run *cli;
    cli_job_pool *pool;
    const cli_put_context *context;
    size_t gathered_count;
    cli_put_job *gathered[PUT_PAGE]; /* found by a walk, and not yet asked for */
    cli_tally tally;
    int stop_code; /* not 0: begin nothing more */
    uint64_t abandoned;
} put_run;

/* Errors that the next file would meet too. */
static bool put_is_over(const cli_put_job *job)
{
    if (job->error.status == GRV_CANCELLED) {
        return true;
    }
    if (!job->store_failed) {
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

static void put_stop(put_run *run, int code)
{
    if (run->stop_code == CLI_EXIT_OK) {
        run->stop_code = code;
        cli_job_pool_abandon(run->pool);
    }
}

static grv_status put_print_json(put_run *run, const cli_put_job *job, const char *id,
                                 grv_error *error)
{
    const grv_put_result *result = &job->result;
    json_t *object = json_pack("{s:s}", "id", id);
    json_t *rest = json_pack("{s:I,s:I,s:I,s:I,s:I,s:I,s:b,s:f}",              //
                             "size_bytes", cli_json_integer(result->key.size), //
                             "blocks", cli_json_integer(result->blocks),       //
                             "fresh_blocks", cli_json_integer(result->fresh_blocks), "fresh_bytes",
                             cli_json_integer(result->fresh_bytes), "duplicate_bytes",
                             cli_json_integer(result->duplicate_bytes), "stored_bytes",
                             cli_json_integer(result->stored_bytes), "already_stored",
                             result->already_stored ? 1 : 0, //
                             "seconds", (double)job->duration_ns / 1e9);
    bool whole = cli_json_set_name(object, "name", grv_bytes_of(job->path, strlen(job->path))) &&
                 json_object_update(object, rest) == 0;
    json_decref(rest);
    if (!whole) {
        json_decref(object);
        object = NULL;
    }
    return cli_output_json(&run->cli->output, object, error);
}

static void job_free(cli_put_job *job)
{
    free(job->path);
    free(job);
}

/* Shows what came of a job, and frees it. */
static void put_show(put_run *run, cli_put_job *job)
{
    cli_output *output = &run->cli->output;
    grv_error error = GRV_ERROR_INIT;
    if (job->base.is_abandoned) {
        run->abandoned++;
    } else if (job->error.status) {
        bool over = put_is_over(job);
        int code = cli_exit_of_status(job->error.status);
        cli_tally_failure(&run->tally, code);
        if (!over || run->stop_code == CLI_EXIT_OK) {
            cli_report_error(output, &job->error);
        }
        if (over) {
            put_stop(run, code);
        }
    } else if (!output->failed.status) {
        char id[GRV_KEY_TEXT_SIZE];
        grv_blob_key_print(&job->result.key, id);
        cli_progress_done(&run->cli->progress);
        grv_status status =
            output->json ? put_print_json(run, job, id, &error)
                         : cli_output_named_row(output, id,
                                                grv_bytes_of(job->path, strlen(job->path)), &error);
        if (!status) {
            status = cli_output_flush(output, &error);
        }
        if (status) {
            put_stop(run, cli_fail(run->cli, &error));
        } else if (job->changed) {
            cli_report_warning(output, "%s changed while it was read; what was read is stored",
                               job->path);
            cli_tally_failure(&run->tally, CLI_EXIT_OTHER);
        }
        cli_tally_success(&run->tally);
    }
    job_free(job);
}

/* Shows the jobs that are done; waits for all where `all` is set, else for room for one more. */
static void put_show_done(put_run *run, bool all)
{
    cli_job *done;
    while ((done = cli_job_pool_take(run->pool, all || cli_job_pool_is_full(run->pool)))) {
        put_show(run, (cli_put_job *)(void *)done);
    }
}

/* Queues a job, which is taken over; shows finished ones meanwhile. */
static void put_queue(put_run *run, cli_put_job *job)
{
    grv_error error = GRV_ERROR_INIT;
    put_show_done(run, false);
    if (run->stop_code) {
        job_free(job);
        return;
    }
    if (cli_job_pool_add(run->pool, &job->base, &error)) {
        job_free(job);
        put_stop(run, cli_fail(run->cli, &error));
    }
}

/* ---- Pages of files, over a distant store ---- */

/* Hashes the gathered files side by side. */
static bool page_hash(put_run *run)
{
    grv_error error = GRV_ERROR_INIT;
    const cli_job_work work = {.run = cli_put_hash,
                               .context = run->context,
                               .large_max = PUT_LARGE_MAX,
                               .progress = &run->cli->progress};
    cli_job_pool *pool;
    if (cli_job_pool_new(&work, &pool, &error)) {
        put_stop(run, cli_fail(run->cli, &error));
        return false;
    }
    for (size_t i = 0; i < run->gathered_count && run->stop_code == CLI_EXIT_OK; i++) {
        while (cli_job_pool_is_full(pool)) {
            (void)cli_job_pool_take(pool, true); /* `gathered` has it still */
        }
        if (cli_job_pool_add(pool, &run->gathered[i]->base, &error)) {
            put_stop(run, cli_fail(run->cli, &error));
        }
    }
    while (cli_job_pool_take(pool, true)) {
    }
    cli_job_pool_free(pool);
    return run->stop_code == CLI_EXIT_OK;
}

static int page_compare(const void *a, const void *b)
{
    const cli_put_job *const *first = a;
    const cli_put_job *const *second = b;
    return grv_blob_key_compare(&(*first)->key, &(*second)->key);
}

/* Asks which of the gathered files the store has, in one go. */
static bool page_ask(put_run *run)
{
    grv_error error = GRV_ERROR_INIT;
    cli_put_job *sorted[PUT_PAGE];
    grv_blob_key keys[PUT_PAGE];
    bool present[PUT_PAGE];
    size_t count = 0;
    for (size_t i = 0; i < run->gathered_count; i++) {
        if (run->gathered[i]->has_key) {
            sorted[count++] = run->gathered[i];
        }
    }
    qsort(sorted, count, sizeof sorted[0], page_compare);
    for (size_t i = 0; i < count; i++) {
        keys[i] = sorted[i]->key;
    }
    if (count > 0 &&
        grv_blob_store_present(&run->cli->call, run->cli->blobs, keys, count, present, &error)) {
        put_stop(run, cli_fail(run->cli, &error));
        return false;
    }
    for (size_t i = 0; i < count; i++) {
        sorted[i]->is_asked = true;
        sorted[i]->is_present = present[i];
    }
    return true;
}

/* Queues what was gathered, in its order. */
static void page_queue(put_run *run)
{
    if (run->gathered_count == 0) {
        return;
    }
    bool is_known = page_hash(run) && page_ask(run);
    for (size_t i = 0; i < run->gathered_count; i++) {
        cli_put_job *job = run->gathered[i];
        /* Nothing is left to do, unless somebody wants to know of how many blocks it is. */
        bool is_over = job->is_present && !run->context->attributes && !run->cli->output.json;
        if (is_over) {
            job->result = cli_put_present(&job->key, NULL);
            cli_progress_add(&run->cli->progress, job->key.size);
            cli_progress_settle(&run->cli->progress, job->key.size, job->key.size);
        }
        job->base.is_settled = job->error.status || is_over;
        if (is_known) {
            put_queue(run, job);
        } else {
            run->abandoned++;
            job_free(job);
        }
    }
    run->gathered_count = 0;
}

/* Gathers a file, or queues it where it is not to be asked for together with others. */
static void put_gather(put_run *run, cli_put_job *job)
{
    if (run->context->hash == GRV_HASH_NONE || !job->only_regular) {
        put_queue(run, job);
        return;
    }
    run->gathered[run->gathered_count++] = job;
    if (run->gathered_count == PUT_PAGE) {
        page_queue(run);
    }
}

/* Queues a copy of `wanted` for a file. */
static void put_add(put_run *run, const char *path, const cli_put_job *wanted)
{
    grv_error error = GRV_ERROR_INIT;
    cli_put_job *job = malloc(sizeof *job);
    char *name = strdup(path);
    if (!job || !name) {
        free(job);
        free(name);
        grv_error_set(&error, GRV_LIMIT_EXCEEDED, "put", "no memory for a file's name");
        put_stop(run, cli_fail(run->cli, &error));
        return;
    }
    *job = *wanted;
    job->path = name;
    put_gather(run, job);
}

static void put_walk_item(put_run *run, const cli_walk_item *item)
{
    grv_error error = GRV_ERROR_INIT;
    if (item->kind == CLI_WALK_FILE) {
        const cli_put_job job = {.base = {.is_large = item->size_bytes >= PUT_LARGE_BYTES},
                                 .only_regular = true};
        put_add(run, item->path, &job);
    } else if (item->kind == CLI_WALK_SKIPPED) {
        cli_report_warning(&run->cli->output, "%s left out: %s", item->path, item->why);
    } else {
        grv_error_set_errno(&error, item->errno_value, "put", "cannot read %s", item->path);
        cli_tally_failure(&run->tally, cli_fail(run->cli, &error));
    }
}

static void put_tree(put_run *run, const char *root)
{
    grv_error error = GRV_ERROR_INIT;
    cli_walk *walk;
    if (cli_walk_open(root, &run->cli->config.place, &walk, &error)) {
        cli_tally_failure(&run->tally, cli_fail(run->cli, &error));
        return;
    }
    cli_walk_item item = {.kind = CLI_WALK_FILE};
    while (run->stop_code == CLI_EXIT_OK) {
        if (grv_call_check(&run->cli->call, "put", &error) || cli_walk_next(walk, &item, &error)) {
            put_stop(run, cli_fail(run->cli, &error));
        } else if (item.kind == CLI_WALK_END) {
            break;
        } else {
            put_walk_item(run, &item);
        }
    }
    cli_walk_close(walk);
    page_queue(run);
}

static void put_operand(put_run *run, const char *operand)
{
    struct stat info;
    bool is_stdin = strcmp(operand, "-") == 0;
    bool known = !is_stdin && stat(operand, &info) == 0;
    if (known && S_ISDIR(info.st_mode) && run->cli->options.recursive) {
        put_tree(run, operand);
        return;
    }
    bool small = known && S_ISREG(info.st_mode) && (uint64_t)info.st_size < PUT_LARGE_BYTES;
    const cli_put_job job = {.base = {.is_large = !small}, .is_stdin = is_stdin};
    put_add(run, operand, &job);
}

/* Sum of the operands' sizes, or 0 where it can't be known beforehand. */
static uint64_t operands_size(const cli_options *options)
{
    uint64_t total = 0;
    for (size_t i = 0; i < options->operand_count; i++) {
        struct stat info;
        if (strcmp(options->operands[i], "-") == 0 || stat(options->operands[i], &info) < 0 ||
            !S_ISREG(info.st_mode)) {
            return 0;
        }
        total += (uint64_t)info.st_size;
    }
    return total;
}

static int put_operands(cli_run *cli, const grv_attributes *attributes)
{
    grv_error error = GRV_ERROR_INIT;
    cli_put_context context = {.call = &cli->call,
                               .blobs = cli->blobs,
                               .hash = cli->blobs->capabilities & GRV_BLOB_CAP_DISTANT
                                           ? grv_store_get_info(cli->store)->hash
                                           : GRV_HASH_NONE,
                               .attributes = attributes,
                               .progress = &cli->progress};
    const cli_job_work work = {.run = cli_put_file,
                               .context = &context,
                               .large_max = PUT_LARGE_MAX,
                               .progress = &cli->progress};
    put_run run = {.cli = cli, .context = &context};
    if (cli_job_pool_new(&work, &run.pool, &error)) {
        return cli_fail(cli, &error);
    }
    cli_progress_start(&cli->progress, "file", cli->options.quiet);
    cli->progress.total_bytes = operands_size(&cli->options);
    for (size_t i = 0; i < cli->options.operand_count && run.stop_code == CLI_EXIT_OK; i++) {
        put_operand(&run, cli->options.operands[i]);
    }
    put_show_done(&run, true);
    cli_job_pool_free(run.pool);
    cli_progress_clear(&cli->progress);
    if (run.abandoned > 0) {
        cli_report_note(&cli->output, "stopped; files not tried: %llu or more",
                        (unsigned long long)run.abandoned);
    }
    if (run.stop_code) {
        return run.stop_code;
    }
    int code = cli_tally_code(&run.tally);
    return code && cli->options.recursive ? CLI_EXIT_OTHER : code;
}

static grv_status put_attributes(const cli_options *options, grv_attributes *attributes,
                                 grv_error *error)
{
    grv_status status = GRV_OK;
    if (options->name) {
        status = grv_attributes_set(attributes, GRV_ATTRIBUTE_FILE_NAME,
                                    grv_bytes_of(options->name, strlen(options->name)), error);
    }
    if (!status && options->type) {
        status = grv_attributes_set(attributes, GRV_ATTRIBUTE_CONTENT_TYPE,
                                    grv_bytes_of(options->type, strlen(options->type)), error);
    }
    return status;
}

static grv_status put_check(const cli_options *options, grv_error *error)
{
    size_t inputs = 0;
    for (size_t i = 0; i < options->operand_count; i++) {
        inputs += strcmp(options->operands[i], "-") == 0;
    }
    if (inputs > 1) {
        return grv_error_set(error, GRV_INVALID_ARGUMENT, "put",
                             "standard input (-) can be stored only once");
    }
    if (options->name && (options->operand_count != 1 || options->recursive)) {
        return grv_error_set(error, GRV_INVALID_ARGUMENT, "put", "--name is for a single FILE");
    }
    return GRV_OK;
}

/* Shows why no operand can be stored, or returns CLI_EXIT_OK where one may be. */
static int put_hopeless(cli_run *cli)
{
    grv_error error = GRV_ERROR_INIT;
    const cli_options *options = &cli->options;
    for (size_t i = 0; i < options->operand_count; i++) {
        struct stat info;
        const char *operand = options->operands[i];
        bool tree = options->recursive && stat(operand, &info) == 0 && S_ISDIR(info.st_mode);
        if (tree || !cli_put_check(operand, NULL)) {
            return CLI_EXIT_OK;
        }
    }
    cli_tally tally = {0};
    for (size_t i = 0; i < options->operand_count; i++) {
        if (cli_put_check(options->operands[i], &error)) {
            cli_tally_failure(&tally, cli_fail(cli, &error));
        }
    }
    return cli_tally_code(&tally);
}

static int put_execute(cli_run *cli)
{
    grv_error error = GRV_ERROR_INIT;
    grv_attributes attributes;
    grv_attributes_init(&attributes);
    bool named = cli->options.name || cli->options.type;
    int code = CLI_EXIT_OK;
    if (put_check(&cli->options, &error) || put_attributes(&cli->options, &attributes, &error)) {
        code = cli_fail(cli, &error);
    }
    if (code == CLI_EXIT_OK) {
        code = put_hopeless(cli);
    }
    if (code == CLI_EXIT_OK && cli_store_open(cli, CLI_CREATE, &error)) {
        code = cli_fail(cli, &error);
    } else if (code == CLI_EXIT_OK) {
        code = put_operands(cli, named ? &attributes : NULL);
    }
    grv_attributes_done(&attributes);
    return code;
}

static const cli_option put_options[] = {
    {"recursive", 'r', CLI_OPTION_FLAG, offsetof(cli_options, recursive)},
    {"name", 0, CLI_OPTION_TEXT, offsetof(cli_options, name)},
    {"type", 0, CLI_OPTION_TEXT, offsetof(cli_options, type)},
    {NULL, 0, CLI_OPTION_FLAG, 0},
};

static const char put_help[] =
    "usage: graviton put [-r] [--name NAME] [--type TYPE] FILE…|-\n"
    "\n"
    "Stores each FILE, or standard input (-), and prints its id, a tab and its name. What the\n"
    "store has already is not stored again. Makes the store where there is none.\n"
    "The id holds the hash of the whole file: it is what b3sum (or sha256sum) shows.\n"
    "Names are escaped as sha256sum does: a line that begins with \\ has \\n, \\r or \\\\ in it.\n"
    "\n"
    "options:\n"
    "  -r, --recursive  store the regular files under each directory, in the order of their\n"
    "                   paths; tells of links and special files, goes on after an error, and\n"
    "                   then exits with 1\n"
    "  --name NAME      remember NAME as the blob's attribute file-name\n"
    "  --type TYPE      remember TYPE as its content-type (either replaces its attributes)\n"
    "\n"
    "examples:\n"
    "  graviton put backup.tar\n"
    "  tar c /etc | graviton put --name etc.tar -\n"
    "  graviton put -r --json photos > photos.jsonl\n"
    "  graviton put --store /srv/g --hash sha256 --chunker cdc:1M disk.img\n";

const cli_command cli_command_put = {
    .name = "put",
    .summary = "store files or standard input",
    .help = put_help,
    .options = put_options,
    .operands_min = 1,
    .operands_max = SIZE_MAX,
    .run = put_execute,
};
