/* SPDX-License-Identifier: Apache-2.0 */
/* object: the objects under locators, as they are: ls, head, get, put, rm, cp. */
#include "cli/object.h"
#include "cli/put_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define ORIGIN   "object"
#define LS_BATCH 64
/* Most bytes of one step of a copy from one store to another. */
#define CP_VIEW_MAX ((size_t)1 << 20)
/* Times that an object may be replaced between the question for its size and its opening. */
#define GET_ATTEMPTS 8

/* A run of one of the verbs. */
typedef struct object_run {
    cli_run *cli;
    grv_locator *locators; /* the operands that are locators */
    size_t count;
    const char *file; /* put: what to read */
    cli_object_stores stores;
} object_run;

/* The store of one of the locators. */
static grv_mutable_object_store *store_of(const object_run *run, const grv_locator *locator)
{
    return cli_object_store_of(&run->stores, locator);
}

/* One verb. */
typedef struct object_verb {
    const char *name;
    size_t operands_min; /* behind the verb */
    size_t operands_max;
    bool is_prefix;  /* a locator may be a bucket's alone */
    bool takes_file; /* the second operand is a file */
    bool writes;     /* the last of its locators, or all of them */
    bool takes_output, takes_range, takes_if_absent, takes_listing;
    int (*run)(object_run *run); /* returns the exit code; has shown what failed */
} object_verb;

/* ---- ls, head ---- */

static grv_status ls_list(object_run *run, uint64_t limit, grv_error *error)
{
    cli_run *cli = run->cli;
    grv_locator locator = run->locators[0];
    const char *after = cli->options.after;
    const grv_object_list list = {
        .bucket = run->locators[0].bucket,
        .prefix = grv_bytes_of(run->locators[0].path, strlen(run->locators[0].path)),
        .after = after ? grv_bytes_of(after, strlen(after)) : (grv_bytes){0},
    };
    grv_object_cursor *cursor;
    grv_status status = grv_object_store_open_list(
        &cli->call, &store_of(run, &run->locators[0])->base, &list, &cursor, error);
    if (status) {
        return status;
    }
    while (!status && limit > 0) {
        grv_object_entry entries[LS_BATCH];
        size_t want = limit < LS_BATCH ? (size_t)limit : LS_BATCH;
        size_t count = 0;
        status = grv_object_cursor_next(&cli->call, cursor, entries, want, &count, error);
        if (status || count == 0) {
            break;
        }
        limit -= count;
        for (size_t i = 0; i < count && !status; i++) {
            memcpy(locator.path, entries[i].path, strlen(entries[i].path) + 1);
            status = cli_object_print(cli, &locator, &entries[i].info, error);
        }
    }
    grv_object_cursor_free(cursor);
    return status;
}

static int ls_run(object_run *run)
{
    grv_error error = GRV_ERROR_INIT;
    const char *text = run->cli->options.limit;
    uint64_t limit = UINT64_MAX;
    if ((text && cli_number_parse(text, "--limit", 0, UINT64_MAX, &limit, &error)) ||
        ls_list(run, limit, &error)) {
        return cli_fail(run->cli, &error);
    }
    return CLI_EXIT_OK;
}

/* Runs `each` for every locator, going on after a failure. */
static int each_object(object_run *run,
                       grv_status (*each)(object_run *run, const grv_locator *locator,
                                          grv_error *error))
{
    cli_tally tally = {0};
    for (size_t i = 0; i < run->count; i++) {
        grv_error error = GRV_ERROR_INIT;
        grv_status status = each(run, &run->locators[i], &error);
        if (!status) {
            cli_tally_success(&tally);
            continue;
        }
        cli_tally_failure(&tally, cli_fail(run->cli, &error));
        if (status == GRV_CANCELLED || run->cli->output.failed.status) {
            break;
        }
    }
    return cli_tally_code(&tally);
}

static grv_status head_object(object_run *run, const grv_locator *locator, grv_error *error)
{
    grv_object_info info;
    grv_status status = grv_object_store_head(&run->cli->call, &store_of(run, locator)->base,
                                              locator, &info, error);
    return status ? status : cli_object_print_all(run->cli, locator, &info, error);
}

static int head_run(object_run *run)
{
    return each_object(run, head_object);
}

/* ---- get ---- */

static grv_status get_range(cli_run *cli, uint64_t size, grv_range *ret_range, grv_error *error)
{
    const char *text = cli->options.range;
    grv_status status = grv_range_parse(grv_bytes_of(text, strlen(text)), size, ret_range, error);
    if (status) {
        grv_error_prefix(error, "--range");
    }
    return status;
}

/* Opens the bytes asked for. A range counts in the object it is read from, so one that is replaced
 * after its size was asked is asked again. */
static grv_status get_open(object_run *run, grv_range *ret_range, grv_source **ret_source,
                           grv_error *error)
{
    cli_run *cli = run->cli;
    const grv_locator *locator = &run->locators[0];
    grv_object_store *store = &store_of(run, locator)->base;
    grv_object_info info;
    if (!cli->options.range) {
        grv_status status = grv_object_store_open_get(&cli->call, store, locator, GRV_RANGE_ALL,
                                                      &info, ret_source, error);
        *ret_range = (grv_range){0, status ? 0 : info.size_bytes};
        return status;
    }
    for (int attempt = 0; attempt < GET_ATTEMPTS; attempt++) {
        grv_object_info opened;
        grv_status status = grv_object_store_head(&cli->call, store, locator, &info, error);
        if (!status) {
            status = get_range(cli, info.size_bytes, ret_range, error);
        }
        if (!status) {
            status = grv_object_store_open_get(&cli->call, store, locator, *ret_range, &opened,
                                               ret_source, error);
        }
        if (status || strcmp(info.tag, opened.tag) == 0) {
            return status;
        }
        grv_source_free(*ret_source);
    }
    return grv_error_set(error, GRV_CONFLICT, ORIGIN,
                         "the object is replaced all the time; try again");
}

static int get_run(object_run *run)
{
    cli_run *cli = run->cli;
    grv_error error = GRV_ERROR_INIT;
    grv_range range;
    grv_source *source;
    if (get_open(run, &range, &source, &error)) {
        return cli_fail(cli, &error);
    }
    cli_target target;
    grv_status status = cli_target_open(cli->options.output, &target, &error);
    if (!status) {
        cli_progress_start(&cli->progress, "object", cli->options.quiet);
        cli->progress.total_bytes = range.end - range.first;
        status = cli_source_copy(cli, source, &target, &error);
        if (!status) {
            status = cli_target_commit(&target, &error);
        }
        cli_target_close(&target);
    }
    grv_source_free(source);
    return status ? cli_fail(cli, &error) : CLI_EXIT_OK;
}

/* ---- put ---- */

static grv_status put_open_file(const char *file, int *ret_fd, struct stat *ret_st,
                                grv_error *error)
{
    bool is_stdin = strcmp(file, "-") == 0;
    int fd = is_stdin ? STDIN_FILENO : open(file, O_RDONLY | O_CLOEXEC | O_NOCTTY);
    if (fd < 0) {
        return grv_error_set_errno(error, errno, ORIGIN, "cannot open %s", file);
    }
    grv_status status = GRV_OK;
    if (fstat(fd, ret_st) < 0) {
        status = grv_error_set_errno(error, errno, ORIGIN, "cannot look at %s", file);
    } else if (S_ISDIR(ret_st->st_mode)) {
        status = grv_error_set(error, GRV_INVALID_ARGUMENT, ORIGIN, "%s is a directory", file);
    }
    if (status && !is_stdin) {
        close(fd);
    }
    *ret_fd = fd;
    return status;
}

/* Puts an open file. *ret_changed tells that it changed while it was read. */
static grv_status put_object(object_run *run, int fd, const struct stat *before,
                             grv_object_info *ret_info, bool *ret_changed, grv_error *error)
{
    cli_run *cli = run->cli;
    bool regular = S_ISREG(before->st_mode);
    const grv_object_put put = {
        .if_absent = cli->options.if_absent,
        .has_size_hint = regular,
        .size_hint = regular ? (uint64_t)before->st_size : 0,
    };
    grv_object_sink *sink;
    const grv_locator *locator = &run->locators[0];
    grv_status status = grv_mutable_object_store_open_put(&cli->call, store_of(run, locator),
                                                          locator, &put, &sink, error);
    if (status) {
        return status;
    }
    bool sink_failed;
    const char *name = fd == STDIN_FILENO ? "standard input" : run->file;
    cli_progress_start(&cli->progress, "object", cli->options.quiet);
    cli->progress.total_bytes = put.size_hint;
    status = cli_file_read(&cli->call, fd, name, regular, &cli->progress, &sink->base, &sink_failed,
                           error);
    struct stat after = *before;
    if (!status && regular && fstat(fd, &after) < 0) {
        status = grv_error_set_errno(error, errno, ORIGIN, "cannot look at %s", name);
    }
    if (!status) {
        status = grv_sink_commit(&cli->call, &sink->base, error);
    }
    *ret_info = sink->info;
    *ret_changed = after.st_size != before->st_size ||
                   after.st_mtim.tv_sec != before->st_mtim.tv_sec ||
                   after.st_mtim.tv_nsec != before->st_mtim.tv_nsec;
    grv_sink_free(&sink->base);
    return status;
}

static int put_run(object_run *run)
{
    cli_run *cli = run->cli;
    grv_error error = GRV_ERROR_INIT;
    int fd = -1;
    struct stat before;
    grv_object_info info;
    bool changed = false;
    if (put_open_file(run->file, &fd, &before, &error)) {
        return cli_fail(cli, &error);
    }
    grv_status status = put_object(run, fd, &before, &info, &changed, &error);
    if (fd != STDIN_FILENO) {
        close(fd);
    }
    cli_progress_clear(&cli->progress);
    if (!status) {
        status = cli_object_print(cli, &run->locators[0], &info, &error);
    }
    if (status) {
        return cli_fail(cli, &error);
    }
    if (changed) {
        cli_report_warning(&cli->output, "%s changed while it was read", run->file);
        return CLI_EXIT_OTHER;
    }
    return CLI_EXIT_OK;
}

/* ---- rm, cp ---- */

/* The port's removal does not say whether anything was there. */
static grv_status rm_object(object_run *run, const grv_locator *locator, grv_error *error)
{
    grv_object_info info;
    const grv_call *call = &run->cli->call;
    grv_mutable_object_store *store = store_of(run, locator);
    grv_status status = grv_object_store_head(call, &store->base, locator, &info, error);
    if (status && status != GRV_NOT_FOUND) {
        return status;
    }
    /* Also where none is there: that it is gone may be another's removal that is not yet durable.
     */
    grv_error failed = GRV_ERROR_INIT;
    grv_status removed = grv_mutable_object_store_remove(call, store, locator, &failed);
    if (removed) {
        *error = failed;
    }
    return removed ? removed : status;
}

static int rm_run(object_run *run)
{
    return each_object(run, rm_object);
}

/* Copies what is left of a source into a sink. */
static grv_status cp_bytes(cli_run *cli, grv_source *source, grv_sink *sink, grv_error *error)
{
    for (;;) {
        grv_bytes view;
        grv_status status = grv_source_next(&cli->call, source, CP_VIEW_MAX, &view, error);
        if (status || view.size == 0) {
            return status;
        }
        status = grv_sink_write(&cli->call, sink, view, error);
        if (status) {
            return status;
        }
        cli_progress_add(&cli->progress, view.size);
        cli_progress_tick(&cli->progress);
    }
}

/* From one store to another: what neither can do alone. */
static grv_status cp_across(object_run *run, grv_object_info *ret_info, grv_error *error)
{
    cli_run *cli = run->cli;
    const grv_locator *from = &run->locators[0];
    const grv_locator *to = &run->locators[1];
    grv_object_info info;
    grv_source *source;
    grv_status status = grv_object_store_open_get(&cli->call, &store_of(run, from)->base, from,
                                                  GRV_RANGE_ALL, &info, &source, error);
    if (status) {
        return status;
    }
    const grv_object_put put = {
        .if_absent = cli->options.if_absent, .has_size_hint = true, .size_hint = info.size_bytes};
    grv_object_sink *sink = NULL;
    status =
        grv_mutable_object_store_open_put(&cli->call, store_of(run, to), to, &put, &sink, error);
    if (!status) {
        cli_progress_start(&cli->progress, "object", cli->options.quiet);
        cli->progress.total_bytes = info.size_bytes;
        status = cp_bytes(cli, source, &sink->base, error);
        if (!status) {
            status = grv_sink_commit(&cli->call, &sink->base, error);
        }
        if (!status) {
            *ret_info = sink->info;
        }
        grv_sink_free(&sink->base);
        cli_progress_clear(&cli->progress);
    }
    grv_source_free(source);
    return status;
}

static int cp_run(object_run *run)
{
    cli_run *cli = run->cli;
    grv_error error = GRV_ERROR_INIT;
    grv_object_info info;
    grv_mutable_object_store *store = store_of(run, &run->locators[1]);
    grv_status status =
        store_of(run, &run->locators[0]) == store
            ? grv_mutable_object_store_copy(&cli->call, store, &run->locators[0], &run->locators[1],
                                            cli->options.if_absent, &info, &error)
            : cp_across(run, &info, &error);
    if (!status) {
        status = cli_object_print(cli, &run->locators[1], &info, &error);
    }
    return status ? cli_fail(cli, &error) : CLI_EXIT_OK;
}

/* ---- the command ---- */

static const object_verb verbs[] = {
    {.name = "ls",
     .operands_min = 1,
     .operands_max = 1,
     .is_prefix = true,
     .takes_listing = true,
     .run = ls_run},
    {.name = "head", .operands_min = 1, .operands_max = SIZE_MAX, .run = head_run},
    {.name = "get",
     .operands_min = 1,
     .operands_max = 1,
     .takes_output = true,
     .takes_range = true,
     .run = get_run},
    {.name = "put",
     .operands_min = 1,
     .operands_max = 2,
     .writes = true,
     .takes_file = true,
     .takes_if_absent = true,
     .run = put_run},
    {.name = "rm", .operands_min = 1, .operands_max = SIZE_MAX, .writes = true, .run = rm_run},
    {.name = "cp",
     .operands_min = 2,
     .operands_max = 2,
     .writes = true,
     .takes_if_absent = true,
     .run = cp_run},
};

static grv_status verb_check(const object_verb *verb, const cli_options *options, grv_error *error)
{
    const char *stranger = NULL;
    stranger = options->output && !verb->takes_output ? "output" : stranger;
    stranger = options->range && !verb->takes_range ? "range" : stranger;
    stranger = options->limit && !verb->takes_listing ? "limit" : stranger;
    stranger = options->after && !verb->takes_listing ? "after" : stranger;
    stranger = options->if_absent && !verb->takes_if_absent ? "if-absent" : stranger;
    if (stranger) {
        return grv_error_set(error, GRV_INVALID_ARGUMENT, ORIGIN,
                             "--%s does not go with object %s; see graviton object --help",
                             stranger, verb->name);
    }
    size_t count = options->operand_count - 1;
    if (count < verb->operands_min || count > verb->operands_max) {
        return grv_error_set(error, GRV_INVALID_ARGUMENT, ORIGIN,
                             "object %s: %zu operands are too %s; see graviton object --help",
                             verb->name, count, count < verb->operands_min ? "few" : "many");
    }
    return GRV_OK;
}

static grv_status verb_find(const cli_options *options, const object_verb **ret_verb,
                            grv_error *error)
{
    const char *name = options->operands[0];
    for (size_t i = 0; i < sizeof verbs / sizeof *verbs; i++) {
        if (strcmp(verbs[i].name, name) == 0) {
            *ret_verb = &verbs[i];
            return verb_check(&verbs[i], options, error);
        }
    }
    return grv_error_set(error, GRV_INVALID_ARGUMENT, ORIGIN,
                         "unknown command \"object %.60s\"; see graviton object --help", name);
}

/* Parses all operands before anything is opened, so that a malformed one costs nothing. */
static grv_status run_begin(object_run *run, const object_verb *verb, grv_error *error)
{
    const cli_options *options = &run->cli->options;
    run->file = "-";
    run->count = options->operand_count - 1;
    if (verb->takes_file && run->count == 2) {
        run->file = options->operands[2];
        run->count = 1;
    }
    run->locators = calloc(run->count, sizeof *run->locators);
    if (!run->locators) {
        return grv_error_set(error, GRV_LIMIT_EXCEEDED, ORIGIN, "no memory for %zu locators",
                             run->count);
    }
    for (size_t i = 0; i < run->count; i++) {
        grv_status status =
            cli_object_parse(options->operands[1 + i], verb->is_prefix, &run->locators[i], error);
        if (status) {
            return status;
        }
    }
    /* A copy only reads its first. */
    bool writes =
        verb->writes && (verb->run != cp_run || strcmp(run->locators[1].scheme, "pg") == 0);
    return cli_object_stores_open(run->cli, run->locators, run->count, writes, &run->stores, error);
}

static int object_execute(cli_run *cli)
{
    grv_error error = GRV_ERROR_INIT;
    const object_verb *verb = NULL;
    object_run run = {.cli = cli};
    if (verb_find(&cli->options, &verb, &error)) {
        return cli_fail(cli, &error);
    }
    int code = run_begin(&run, verb, &error) ? cli_fail(cli, &error) : verb->run(&run);
    cli_object_stores_close(&run.stores);
    free(run.locators);
    return code;
}

static const cli_option object_options[] = {
    {"root", 0, CLI_OPTION_TEXTS, offsetof(cli_options, roots)},
    {"output", 'o', CLI_OPTION_TEXT, offsetof(cli_options, output)},
    {"range", 0, CLI_OPTION_TEXT, offsetof(cli_options, range)},
    {"if-absent", 0, CLI_OPTION_FLAG, offsetof(cli_options, if_absent)},
    {"limit", 0, CLI_OPTION_TEXT, offsetof(cli_options, limit)},
    {"after", 0, CLI_OPTION_TEXT, offsetof(cli_options, after)},
    {NULL, 0, CLI_OPTION_FLAG, 0},
};

static const char object_help[] =
    "usage: graviton object ls LOCATOR [--limit N] [--after PATH]\n"
    "       graviton object head LOCATOR…\n"
    "       graviton object get LOCATOR [-o FILE] [--range FIRST-LAST|FIRST-|-LAST_N]\n"
    "       graviton object put LOCATOR [FILE|-] [--if-absent]\n"
    "       graviton object rm LOCATOR…\n"
    "       graviton object cp FROM TO [--if-absent]\n"
    "\n"
    "Works on the objects that lie under locators, as they are: no blobs, no blocks, no store. A\n"
    "locator is one of\n"
    "  fs://NAME/PATH    in files: --root or GRAVITON_ROOTS=NAME=DIR:NAME=DIR says which "
    "directory\n"
    "                    NAME is\n"
    "  pg://BUCKET/PATH  in PostgreSQL: in the database of --meta or GRAVITON_META, if that is\n"
    "                    postgresql://..., else of GRAVITON_PG_URL, else of libpq's own variables\n"
    "                    (PGHOST and so on); BUCKET is any name\n"
    "  s3://BUCKET/PATH  in a bucket that is there, of AWS in the region AWS_REGION or of the\n"
    "                    service that AWS_ENDPOINT_URL names, as AWS_ACCESS_KEY_ID with\n"
    "                    AWS_SECRET_ACCESS_KEY; PATH is UTF-8\n"
    "PATH is any 1 to 1024 bytes, kept exactly. ls takes the beginning of a PATH, or none, and\n"
    "prints size, time and locator of each object; so do put and cp of the new one. A put or copy\n"
    "appears whole or not at all, and is durable once it is printed.\n"
    "\n"
    "options:\n"
    "  --root NAME=DIR    the directory of fs://NAME/; may be given several times\n"
    "  -o, --output FILE  get: write FILE instead of standard output\n"
    "  --range RANGE      get: only these bytes, counted from 0, as in graviton get\n"
    "  --if-absent        put, cp: fail where an object is there already (exit code 8)\n"
    "  --limit N          ls: at most N objects\n"
    "  --after PATH       ls: only what comes after PATH in byte order\n"
    "\n"
    "examples:\n"
    "  export GRAVITON_ROOTS=media=/srv/media:old=/mnt/old\n"
    "  graviton object put fs://media/2024/a.jpg a.jpg\n"
    "  tar c /etc | graviton object put fs://media/etc.tar\n"
    "  graviton object ls fs://media/2024/\n"
    "  graviton object get fs://media/etc.tar --range 0-511 | xxd\n"
    "  graviton object cp fs://media/etc.tar fs://old/etc.tar --if-absent\n"
    "  GRAVITON_PG_URL=postgresql://db/graviton graviton object cp fs://media/a pg://media/a\n"
    "  tar c /etc | graviton object put s3://backup/etc.tar\n";

const cli_command cli_command_object = {
    .name = "object",
    .summary = "objects under locators: ls, head, get, put, rm, cp",
    .help = object_help,
    .options = object_options,
    .operands_min = 1,
    .operands_max = SIZE_MAX,
    .run = object_execute,
};
