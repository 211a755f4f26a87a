/* SPDX-License-Identifier: Apache-2.0 */
/* migrate: brings a PostgreSQL database's schema to this version, or tells what that would be. */
#include "cli/cli.h"

#include <string.h>
#include <strings.h>

/* What the rows go to, and the first that could not be printed. */
typedef struct migrate_rows {
    cli_run *cli;
    grv_error error;
    unsigned pending;
} migrate_rows;

static void migrate_row(void *context, unsigned version, const char *name, const char *sql,
                        bool pending)
{
    migrate_rows *rows = context;
    cli_output *output = &rows->cli->output;
    const cli_options *options = &rows->cli->options;
    rows->pending += pending;
    if (rows->error.status) {
        return;
    }
    const char *state = !pending                              ? "there"
                        : options->dry_run || options->status ? "pending"
                                                              : "applied";
    grv_status status = GRV_OK;
    if (output->json) {
        json_t *object =
            json_pack("{s:i,s:s,s:s}", "version", (int)version, "name", name, "state", state);
        if (object && options->dry_run && pending) {
            json_object_set_new(object, "sql", json_string(sql));
        }
        status = cli_output_json(output, object, &rows->error);
    } else {
        status = cli_output_text(output, &rows->error, "%u\t%s\t%s\n", version, name, state);
        if (!status && options->dry_run && pending) {
            status = cli_output_write(output, grv_bytes_of(sql, strlen(sql)), &rows->error);
        }
    }
    if (!status) {
        status = cli_output_flush(output, &rows->error);
    }
    rows->error.status = status;
}

static bool is_postgresql(const char *url)
{
    return strncasecmp(url, "postgresql://", 13) == 0 || strncasecmp(url, "postgres://", 11) == 0;
}

/* What the schema is like is told by a role that may only read, too. */
static grv_status migrate_run(cli_run *cli, const char *url, migrate_rows *rows, grv_error *error)
{
    if (!is_postgresql(url)) {
        return grv_error_set(error, GRV_INVALID_ARGUMENT, "migrate",
                             "only metadata in PostgreSQL has a schema to migrate: name it with "
                             "--meta postgresql://HOST/DATABASE");
    }
    bool only_tells = cli->options.dry_run || cli->options.status;
    grv_pg_config config = {
        .conninfo = url,
        .connections = 1,
        .allow_unsafe = cli->config.store.allow_unsafe,
        .patience_ns = cli->config.store.patience_ns,
        .read_only = only_tells,
        .any_schema = true,
    };
    grv_pg *pg;
    grv_status status = grv_pg_open(&cli->call, &config, &pg, error);
    if (status) {
        return status;
    }
    grv_pg_migrate_config plan = {.dry_run = only_tells, .report = migrate_row, .context = rows};
    status = grv_pg_migrate(&cli->call, pg, &plan, error);
    grv_pg_close(pg);
    return status;
}

static int migrate_execute(cli_run *cli)
{
    grv_error error = GRV_ERROR_INIT;
    migrate_rows rows = {.cli = cli};
    const char *url;
    grv_status status = cli_config_meta(&cli->config, &cli->options, &url, &error);
    if (!status) {
        status = migrate_run(cli, url, &rows, &error);
        cli->is_incompatible = status == GRV_UNSUPPORTED;
    }
    if (!status && rows.error.status) {
        error = rows.error;
        status = rows.error.status;
    }
    if (status) {
        return cli_fail(cli, &error);
    }
    return cli->options.status && rows.pending > 0 ? CLI_EXIT_CONFLICT : CLI_EXIT_OK;
}

static const cli_option migrate_options[] = {
    {"dry-run", 'n', CLI_OPTION_FLAG, offsetof(cli_options, dry_run)},
    {"status", 0, CLI_OPTION_FLAG, offsetof(cli_options, status)},
    {NULL, 0, CLI_OPTION_FLAG, 0},
};

static const char migrate_help[] =
    "usage: graviton migrate [--dry-run | --status] --meta postgresql://HOST/DATABASE\n"
    "\n"
    "Makes the schema that graviton keeps its metadata in, or brings an older one to this\n"
    "version, each step in a transaction of its own. Nothing else changes the schema: a store is\n"
    "opened only on the version that the program knows. Prints for each step its version, its\n"
    "name, and \"applied\" or \"there\", tab-separated. Safe to run again, and from several\n"
    "machines at once: one does it, the others are told. Writers must have ended.\n"
    "\n"
    "options:\n"
    "  -n, --dry-run    change nothing; print the steps that are pending, and their SQL\n"
    "  --status         change nothing; print the steps; exit with 8 where some are pending\n"
    "\n"
    "The password is better in PGPASSWORD, a passfile or GRAVITON_META than in an argument.\n"
    "\n"
    "examples:\n"
    "  graviton migrate --meta postgresql://graviton@db.example/graviton\n";

const cli_command cli_command_migrate = {
    .name = "migrate",
    .summary = "make or update the schema of metadata in PostgreSQL",
    .help = migrate_help,
    .options = migrate_options,
    .operands_min = 0,
    .operands_max = 0,
    .run = migrate_execute,
};
