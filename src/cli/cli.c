/* SPDX-License-Identifier: Apache-2.0 */
/* What commands share: opening the store, walking over ids, telling what failed. */
#include "cli/cli.h"

#include <stdlib.h>
#include <string.h>

/* Memory of a store that serves: blocks in S3 are larger, and many are on their way at once. */
#define SERVE_BUDGET    ((size_t)128 << 20)
#define SERVE_BUDGET_S3 ((size_t)256 << 20)

grv_status cli_store_open(cli_run *cli, cli_access access, grv_error *error)
{
    grv_status status = cli_config_init(&cli->config, &cli->options, error);
    if (!status) {
        status = cli_config_server(&cli->config, cli->options.token_file, error);
    }
    if (status) {
        return status;
    }
    if (access == CLI_SERVE && cli_config_is_server(&cli->config)) {
        return grv_error_set(error, GRV_UNSUPPORTED, "cli",
                             "serve wants a store of its own, and %.200s is another server's",
                             cli->config.place.blocks_path);
    }
    cli->config.store.create = access == CLI_CREATE || access == CLI_SERVE;
    cli->config.store.read_only = access == CLI_READ;
    cli->config.store.use_reserve = access == CLI_WRITE || access == CLI_SERVE;
    cli->config.store.gives_way = access == CLI_SERVE;
    if (access == CLI_SERVE) {
        size_t suits = cli->config.place.blocks == GRV_BLOCKS_S3 ? SERVE_BUDGET_S3 : SERVE_BUDGET;
        cli->config.store.budget_bytes = cli->budget_bytes ? cli->budget_bytes : suits;
    }
    cli->config.store.command = cli->command;
    status = grv_store_open(&cli->call, &cli->config.store, &cli->store, error);
    /* What the configuration alone rules out was refused before; that the Scala system's store is
     * not written to is no matter of this program's version. */
    bool is_scala = cli->config.place.meta == GRV_META_SCALA;
    cli->is_incompatible = status == GRV_UNSUPPORTED && !(is_scala && access != CLI_READ);
    /* What is missing may be a database or a bucket, which a put does not make. */
    bool is_served = is_scala || cli->config.place.meta == GRV_META_PG ||
                     cli->config.place.blocks == GRV_BLOCKS_S3;
    if (status == GRV_NOT_FOUND && !is_served && error && !strstr(error->message, "graviton put")) {
        size_t used = strlen(error->message);
        snprintf(error->message + used, sizeof error->message - used,
                 "; graviton put makes a store, --store names another one");
    }
    if (status) {
        return status;
    }
    cli->blobs = grv_store_blobs(cli->store);
    cli_warn_of_store(cli, cli->store);
    return GRV_OK;
}

void cli_warn_of_store(cli_run *cli, const grv_store *store)
{
    const char *warning = grv_store_warning(store);
    if (warning) {
        cli_report_warning(&cli->output, "%s", warning);
    }
}

int cli_fail(cli_run *cli, const grv_error *error)
{
    if (cli_error_is_broken_pipe(error)) {
        return CLI_EXIT_SIGNAL + 13; /* as if SIGPIPE had ended us, but in order */
    }
    cli_report_error(&cli->output, error);
    if (cli->is_incompatible && error->status == GRV_UNSUPPORTED) {
        return CLI_EXIT_CONFLICT;
    }
    return cli_exit_of_status(error->status);
}

/* Most bytes of one view: a block is at most that. */
#define VIEW_MAX ((size_t)GRV_BLOCK_SIZE_MAX)

grv_status cli_source_copy(cli_run *cli, grv_source *source, cli_target *target, grv_error *error)
{
    for (;;) {
        grv_bytes view;
        grv_status status = grv_source_next(&cli->call, source, VIEW_MAX, &view, error);
        if (status || view.size == 0) {
            return status;
        }
        status = cli_target_write(&cli->call, target, view, error);
        if (status) {
            return status;
        }
        cli_progress_add(&cli->progress, view.size);
        cli_progress_tick(&cli->progress);
    }
}

grv_status cli_ids_parse(const cli_run *cli, cli_id **ret_ids, grv_error *error)
{
    size_t count = cli->options.operand_count;
    cli_id *ids = calloc(count > 0 ? count : 1, sizeof *ids);
    if (!ids) {
        return grv_error_set(error, GRV_LIMIT_EXCEEDED, "cli", "no memory for %zu ids", count);
    }
    for (size_t i = 0; i < count; i++) {
        grv_status status = cli_id_parse(cli->options.operands[i], &ids[i], error);
        if (status) {
            free(ids);
            return status;
        }
    }
    *ret_ids = ids;
    return GRV_OK;
}

int cli_each_id(cli_run *cli, cli_access access,
                grv_status (*each)(cli_run *cli, const grv_blob_key *key, grv_error *error))
{
    grv_error error = GRV_ERROR_INIT;
    cli_tally tally = {0};
    cli_id *ids = NULL;
    if (cli_ids_parse(cli, &ids, &error)) {
        return cli_fail(cli, &error);
    }
    if (cli_store_open(cli, access, &error)) {
        free(ids);
        return cli_fail(cli, &error);
    }
    for (size_t i = 0; i < cli->options.operand_count; i++) {
        grv_blob_key key;
        grv_status status = cli_id_resolve(&cli->call, cli->store, &ids[i], &key, &error);
        if (!status) {
            status = each(cli, &key, &error);
        }
        if (!status) {
            cli_tally_success(&tally);
            continue;
        }
        cli_tally_failure(&tally, cli_fail(cli, &error));
        if (status == GRV_CANCELLED || cli->output.failed.status) {
            break;
        }
    }
    free(ids);
    return cli_tally_code(&tally);
}
