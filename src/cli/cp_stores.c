/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The two stores of a copy. The source is opened first, and only for reading; the target is made
 * only after everything that rules a copy out has been looked at.
 */
#include "cli/cp_stores.h"

#include <graviton/maintain.h>
#include <string.h>
#include <sys/stat.h>

#define ORIGIN "cp"

/* ---- Which ---- */

static grv_status source_configure(cli_run *cli, grv_error *error)
{
    const cli_options *given = &cli->options;
    const cli_config_level from = {given->from, given->from_blocks, given->from_meta,
                                   "--from",    "--from-blocks",    "--from-meta"};
    cli_options options = *given;
    options.hash = NULL; /* these are about the target */
    options.chunker = NULL;
    options.reserve = NULL;
    if (!cli_config_level_decides(&from)) {
        return cli_config_init(&cli->config, &options, error);
    }
    if (given->store || given->blocks || given->meta) {
        return grv_error_set(error, GRV_INVALID_ARGUMENT, ORIGIN,
                             "the source is named twice, by --from and by --store, --blocks or "
                             "--meta");
    }
    grv_status status = cli_config_init_at(&cli->config, &options, &from, error);
    if (status) {
        grv_error_prefix(error, "source");
    }
    return status;
}

static grv_status target_configure(const cli_run *cli, cli_cp_target *target, grv_error *error)
{
    const cli_options *given = &cli->options;
    const cli_config_level to = {given->to, given->to_blocks, given->to_meta,
                                 "--to",    "--to-blocks",    "--to-meta"};
    if (!cli_config_level_decides(&to)) {
        return grv_error_set(error, GRV_INVALID_ARGUMENT, ORIGIN,
                             "cp wants a target, --to STORE; see graviton cp --help");
    }
    grv_status status = cli_config_init_at(&target->config, given, &to, error);
    if (status) {
        grv_error_prefix(error, "target");
    }
    return status;
}

/* A token goes to one server: to the source, where that is one. */
static grv_status tokens_configure(cli_run *cli, cli_cp_target *target, grv_error *error)
{
    const char *token_file = cli->options.token_file;
    const char *to_token_file = cli->options.to_token_file;
    bool from_server = cli_config_is_server(&cli->config);
    if (token_file && to_token_file && !from_server) {
        return grv_error_set(error, GRV_INVALID_ARGUMENT, ORIGIN,
                             "--token-file is for a source that is a server");
    }
    grv_status status = cli_config_server(&cli->config, from_server ? token_file : NULL, error);
    if (!status) {
        const char *file = to_token_file || from_server ? to_token_file : token_file;
        status = cli_config_server(&target->config, file, error);
    }
    if (!status && from_server && !to_token_file) {
        target->config.store.token = ""; /* not what the environment has */
    }
    return status;
}

/* Refuses a store as its own target: open in one place, it would only seem to be in use. */
static grv_status refuse_one_place(const grv_place *a, const grv_place *b, grv_error *error)
{
    struct stat first;
    struct stat second;
    if (a->meta != GRV_META_ROCKS || b->meta != GRV_META_ROCKS || stat(a->meta_path, &first) < 0 ||
        stat(b->meta_path, &second) < 0 || first.st_dev != second.st_dev ||
        first.st_ino != second.st_ino) {
        return GRV_OK; /* what cannot be looked at is told of when it is opened */
    }
    return grv_error_set(error, GRV_CONFLICT, ORIGIN,
                         "source and target are the same store: the metadata of both is in %s",
                         a->meta_path);
}

grv_status cli_cp_configure(cli_run *cli, cli_cp_target *target, grv_error *error)
{
    grv_status status = target_configure(cli, target, error);
    if (!status) {
        status = source_configure(cli, error);
    }
    if (!status) {
        status = tokens_configure(cli, target, error);
    }
    if (status) {
        return status;
    }
    return refuse_one_place(&cli->config.place, &target->config.place, error);
}

/* ---- Opening ---- */

grv_status cli_cp_open_source(cli_run *cli, grv_error *error)
{
    cli->config.store.read_only = true;
    cli->config.store.command = cli->command;
    grv_status status = grv_store_open(&cli->call, &cli->config.store, &cli->store, error);
    if (status) {
        cli->is_incompatible = status == GRV_UNSUPPORTED;
        grv_error_prefix(error, "source");
        return status;
    }
    cli->blobs = grv_store_blobs(cli->store);
    return GRV_OK;
}

/* Refuses a hash for the target by which the copies would get other ids, before it is made. */
static grv_status check_hash(const cli_run *cli, const cli_cp_target *target, grv_error *error)
{
    grv_hash has = grv_store_get_info(cli->store)->hash;
    grv_hash wanted = target->config.store.hash;
    if (wanted == GRV_HASH_NONE || has == GRV_HASH_NONE || wanted == has) {
        return GRV_OK;
    }
    return grv_error_set(error, GRV_CONFLICT, ORIGIN,
                         "the source names blobs by %s, not %s: the copies would have other ids",
                         grv_hash_name(has), grv_hash_name(wanted));
}

/* Opens the target where there was none. */
static grv_status target_make(cli_run *cli, cli_cp_target *target, grv_error *error)
{
    const grv_store_info *info = grv_store_get_info(cli->store);
    grv_store_config config = target->config.store;
    if (cli->options.dry_run) {
        config = (grv_store_config){.directory = "memory:", .threads = 1, .hash = config.hash};
        target->is_stand_in = true;
    }
    config.create = true;
    config.read_only = false;
    config.hash = info->hash ? info->hash : config.hash;
    if (!config.chunker && target->config.place.blocks != GRV_BLOCKS_S3) {
        config.chunker = &info->chunker;
    }
    return grv_store_open(&cli->call, &config, &target->store, error);
}

grv_status cli_cp_open_target(cli_run *cli, cli_cp_target *target, grv_error *error)
{
    grv_status status = check_hash(cli, target, error);
    if (status) {
        return status;
    }
    /* A dry run would find a target that cannot be written to only as good as any other. */
    bool is_scala = target->config.place.meta == GRV_META_SCALA;
    target->config.store.read_only = cli->options.dry_run && !is_scala;
    target->config.store.command = cli->command;
    status = grv_store_open(&cli->call, &target->config.store, &target->store, error);
    if (status == GRV_NOT_FOUND) {
        status = target_make(cli, target, error);
    }
    if (status) {
        cli->is_incompatible = status == GRV_UNSUPPORTED && !is_scala;
        grv_error_prefix(error, "target");
        return status;
    }
    cli_warn_of_store(cli, target->store);
    return grv_store_copy_check(cli->store, target->store, error);
}

void cli_cp_target_done(cli_cp_target *target)
{
    grv_store_close(target->store);
    cli_config_done(&target->config);
    target->store = NULL;
}
