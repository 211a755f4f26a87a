/* SPDX-License-Identifier: Apache-2.0 */
/*
 * graviton: the command line program. Reads the command line, runs one command, and turns what
 * came of it into an exit code.
 */
#include "cli/cli.h"
#include "cli/signals.h"
#include "http/fields.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const cli_command *const commands[] = {
    &cli_command_put,      &cli_command_get,     &cli_command_stat,       &cli_command_ls,
    &cli_command_manifest, &cli_command_rm,      &cli_command_verify,     &cli_command_stats,
    &cli_command_gc,       &cli_command_scrub,   &cli_command_backup,     &cli_command_cp,
    &cli_command_migrate,  &cli_command_object,  &cli_command_serve,      &cli_command_token,
    &cli_command_help,     &cli_command_version, &cli_command_completion,
};

/* Commands of the design that this version does not have. */
static const char *const commands_later[] = {"flush", "repair"};

const cli_command *cli_command_find(const char *name)
{
    for (size_t i = 0; i < sizeof commands / sizeof *commands; i++) {
        if (strcmp(commands[i]->name, name) == 0) {
            return commands[i];
        }
    }
    return NULL;
}

static const cli_option *command_options(const char *name)
{
    const cli_command *command = cli_command_find(name);
    return command ? command->options : NULL;
}

static const char help_head[] =
    "graviton stores binary data once: it cuts files into blocks where their content\n"
    "says so, keeps each distinct block, and names every file by the hash of its bytes.\n"
    "\n"
    "usage: graviton COMMAND [OPTION…] [OPERAND…]\n"
    "\n"
    "commands:\n";

static const char help_tail[] =
    "\n"
    "examples:\n"
    "  graviton put photo.jpg             store a file; prints its id and name\n"
    "  graviton get blake3:0a1b2c3d > f   the bytes back, checked (8 digits of an id will do)\n"
    "  graviton verify --all              read everything and check it\n"
    "\n"
    "graviton COMMAND --help tells more of each; the manual is graviton(1).\n";

const char cli_help_common[] =
    "\n"
    "options of every command:\n"
    "  --store DIR      the store: bytes and metadata under DIR (default ./graviton-data); or\n"
    "                   http://HOST:PORT or https://… of a graviton serve\n"
    "  --blocks URL     or its two halves: the bytes in fs:DIR, s3://BUCKET/PREFIX, kv: or\n"
    "                   memory:,\n"
    "  --meta URL       and the metadata in rocks:DIR, postgresql://HOST/DATABASE or memory:\n"
    "  --hash ALG       blake3 or sha256; of an existing store: refuse any other\n"
    "  --chunker SPEC   cdc:SIZE, fixed:SIZE or delimiter:HEX[,MAX]; likewise\n"
    "  --threads N      worker threads (default: one a core)\n"
    "  --reserve SIZE   disk space kept so that rm works on a full disk (default 64M; 0: none)\n"
    "  --cache DIR      keep blocks that were read in DIR; DIR?size=SIZE for other than 1G;\n"
    "                   or in memory: memory:?size=SIZE (256M)\n"
    "  --token-file F   the token for such a server is the first line of F\n"
    "  --json           one JSON object a line, errors too\n"
    "  -q, --quiet      no progress line\n"
    "  -h, --help       this text\n"
    "  --version        the program's version\n"
    "\n"
    "Without those the environment is asked: GRAVITON_STORE, or GRAVITON_BLOCKS and\n"
    "GRAVITON_META. Also GRAVITON_RESERVE and GRAVITON_CACHE; and for PostgreSQL\n"
    "GRAVITON_PG_CONNECTIONS (8), GRAVITON_PG_TIMEOUT (60 seconds without an answer) and\n"
    "GRAVITON_PG_ALLOW_UNSAFE; for S3 AWS_ENDPOINT_URL, AWS_REGION, AWS_ACCESS_KEY_ID,\n"
    "AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN, AWS_CA_BUNDLE, GRAVITON_S3_CONNECTIONS (32) and\n"
    "GRAVITON_S3_TIMEOUT (60 seconds without an answer); for a server GRAVITON_TOKEN,\n"
    "GRAVITON_CA_BUNDLE and GRAVITON_REMOTE_TIMEOUT (60 seconds without an answer).\n";

grv_status cli_help_print(cli_run *cli, const cli_command *command, grv_error *error)
{
    cli_output *output = &cli->output;
    if (command) {
        grv_status status =
            cli_output_write(output, grv_bytes_of(command->help, strlen(command->help)), error);
        if (status) {
            return status;
        }
        return cli_output_write(output, grv_bytes_of(cli_help_common, strlen(cli_help_common)),
                                error);
    }
    grv_status status = cli_output_write(output, grv_bytes_of(help_head, strlen(help_head)), error);
    for (size_t i = 0; !status && i < sizeof commands / sizeof *commands; i++) {
        status =
            cli_output_text(output, error, "  %-12s %s\n", commands[i]->name, commands[i]->summary);
    }
    if (!status) {
        status =
            cli_output_write(output, grv_bytes_of(cli_help_common, strlen(cli_help_common)), error);
    }
    if (!status) {
        status = cli_output_write(output, grv_bytes_of(help_tail, strlen(help_tail)), error);
    }
    return status;
}

/*
 * A descriptor from 0 to 2 that came closed would be given to the next file opened, and what is
 * meant for the user would land in a store. Each gets a stand-in that fails in its direction.
 */
static int standard_files_guard(void)
{
    static const int modes[] = {O_WRONLY, O_RDONLY, O_RDWR};
    for (int fd = 0; fd < 3; fd++) {
        if (fcntl(fd, F_GETFD) < 0 && errno == EBADF && open("/dev/null", modes[fd]) != fd) {
            return -1;
        }
    }
    return 0;
}

static grv_status command_choose(const cli_run *cli, const char *name,
                                 const cli_command **ret_command, grv_error *error)
{
    if (!name) {
        return grv_error_set(error, GRV_INVALID_ARGUMENT, "cli",
                             "no command given; see graviton --help");
    }
    const cli_command *command = cli_command_find(name);
    for (size_t i = 0; !command && i < sizeof commands_later / sizeof *commands_later; i++) {
        if (strcmp(name, commands_later[i]) == 0) {
            return grv_error_set(error, GRV_UNSUPPORTED, "cli", "unsupported yet: the command %s",
                                 name);
        }
    }
    if (!command) {
        return grv_error_set(error, GRV_INVALID_ARGUMENT, "cli",
                             "unknown command \"%.60s\"; see graviton --help", name);
    }
    size_t count = cli->options.operand_count;
    if (!cli->options.help && count < command->operands_min) {
        return grv_error_set(error, GRV_INVALID_ARGUMENT, "cli",
                             "%s needs an operand; see graviton %s --help", name, name);
    }
    if (!cli->options.help && count > command->operands_max) {
        return grv_error_set(error, GRV_INVALID_ARGUMENT, "cli",
                             "too many operands: \"%.120s\"; see graviton %s --help",
                             cli->options.operands[command->operands_max], name);
    }
    *ret_command = command;
    return GRV_OK;
}

static int program_run(cli_run *cli, int argc, char **argv)
{
    grv_error error = GRV_ERROR_INIT;
    const char *name = NULL;
    const cli_command *command = NULL;
    if (cli_signals_init(&error) ||
        cli_options_parse(argc, argv, command_options, &cli->options, &name, &error)) {
        return cli_fail(cli, &error);
    }
    if (cli->options.version && !cli->options.help) {
        return cli_command_version.run(cli);
    }
    if (cli->options.help && !name) {
        return cli_help_print(cli, NULL, &error) ? cli_fail(cli, &error) : CLI_EXIT_OK;
    }
    if (command_choose(cli, name, &command, &error)) {
        return cli_fail(cli, &error);
    }
    if (cli->options.help) {
        return cli_help_print(cli, command, &error) ? cli_fail(cli, &error) : CLI_EXIT_OK;
    }
    cli->command = command->name;
    return command->run(cli);
}

/*
 * An argument that is a URL with a password is copied, and the password in the original is hidden,
 * so that a list of processes does not show it for longer than it takes to get here. Without memory
 * it stays as it is. The copies live as long as the program.
 */
static void passwords_hide(int argc, char **argv)
{
    for (int i = 1; i < argc; i++) {
        char *host = strstr(argv[i], "://");
        char *at = host ? strrchr(host, '@') : NULL;
        char *password = at ? memchr(host + 3, ':', (size_t)(at - host - 3)) : NULL;
        char *copy = password ? strdup(argv[i]) : NULL;
        if (copy) {
            memset(password + 1, 'x', (size_t)(at - password - 1));
            argv[i] = copy;
        }
    }
}

/* Writes out what is left to print; a failure that was not told yet is told. */
static int output_finish(cli_run *cli, int code)
{
    grv_error error = GRV_ERROR_INIT;
    bool told = cli->output.failed.status != GRV_OK;
    grv_status status = cli_output_flush(&cli->output, &error);
    if (!status) {
        return code;
    }
    int failed = told ? cli_exit_of_status(status) : cli_fail(cli, &error);
    return code == CLI_EXIT_OK ? failed : code;
}

/* Closes stdout, after the store, so that no file of it takes the descriptor: some file systems
 * tell of a lost write only now. */
static int output_close(cli_run *cli, int code)
{
    grv_error error = GRV_ERROR_INIT;
    if (close(STDOUT_FILENO) == 0) {
        return code;
    }
    grv_error_set_errno(&error, errno, "output", "cannot close standard output");
    int failed = cli_fail(cli, &error);
    return code == CLI_EXIT_OK ? failed : code;
}

/* A cache that does not work fails nothing; somebody should know that it is of no use. */
static void cache_warn(cli_run *run)
{
    grv_cache_figures figures;
    grv_error failure = GRV_ERROR_INIT;
    if (run->store && grv_store_cache(run->store, &figures, &failure) && failure.status) {
        cli_report_warning(&run->output, "the cache %s: %s",
                           figures.size_bytes > 0 ? "failed" : "is not used", failure.message);
    }
}

int main(int argc, char **argv)
{
    if (standard_files_guard() < 0) {
        return CLI_EXIT_OTHER;
    }
    passwords_hide(argc, argv);
    cli_run *run = calloc(1, sizeof *run);
    if (!run) {
        return CLI_EXIT_OTHER;
    }
    run->output.json = cli_options_ask_json(argc, argv);
    run->output.progress = &run->progress;
    run->output.call = &run->call;
    run->call.cancel = cli_signals_cancel();
    const char *trace = getenv("TRACEPARENT");
    if (trace) { /* one that is malformed is none, as in a request */
        (void)http_traceparent_parse(trace, run->call.trace_id);
    }
    int code = program_run(run, argc, argv);
    cli_progress_clear(&run->progress);
    cache_warn(run);
    code = output_finish(run, code);
    grv_store_close(run->store);
    code = output_close(run, code);
    if (code != CLI_EXIT_OK && cli_signals_raised()) {
        code = CLI_EXIT_SIGNAL + cli_signals_raised();
    }
    cli_config_done(&run->config);
    cli_options_done(&run->options);
    free(run);
    return code;
}
