/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A store behind a server: it has no halves here, only blobs. What looks after the whole of it is
 * the server's to do, and asked of it.
 */
#include "store/descriptor.h"
#include "store/handle.h"

#include <graviton/maintain.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Refuses a hash or chunker that was asked for and is not the store's. */
static grv_status check_wishes(const grv_store_config *config, const grv_store *store,
                               grv_error *error)
{
    const grv_store_info *info = &store->info;
    const char *where = grv_remote_where(store->remote);
    if (config->hash != GRV_HASH_NONE && config->hash != info->hash) {
        return grv_error_set(error, GRV_CONFLICT, "store",
                             "the store at %s has hash %s, not %s: leave --hash out, or use "
                             "another store",
                             where, grv_hash_name(info->hash), grv_hash_name(config->hash));
    }
    if (config->chunker && !grv_chunker_spec_equal(config->chunker, &info->chunker)) {
        char has[GRV_CHUNKER_TEXT_SIZE];
        char wants[GRV_CHUNKER_TEXT_SIZE];
        grv_chunker_spec_print(&info->chunker, has);
        grv_chunker_spec_print(config->chunker, wants);
        return grv_error_set(error, GRV_CONFLICT, "store",
                             "the store at %s has chunker %s, not %s: leave --chunker out, or use "
                             "another store",
                             where, has, wants);
    }
    return GRV_OK;
}

static void take_info(grv_store *store)
{
    const grv_remote_info *said = grv_remote_get_info(store->remote);
    _Static_assert(sizeof said->store_id == GRV_STORE_ID_SIZE, "a store's id");
    memcpy(store->info.id, said->store_id, GRV_STORE_ID_SIZE);
    store->info.format_version = said->format_version;
    store->info.hash = said->hash;
    store->info.chunker = said->chunker;
    store->info.created_ns = said->created_ns;
    store->read_only = store->read_only || said->read_only;
    if (grv_remote_shows_token(store->remote)) {
        snprintf(store->warning, sizeof store->warning,
                 "the token goes to %.300s without encryption: use https://",
                 grv_remote_where(store->remote));
    }
}

grv_status grv_store_open_remote(const grv_call *call, const grv_store_config *config,
                                 grv_store *store, grv_error *error)
{
    const grv_remote_config remote = {
        .url = store->place.blocks_path,
        .token = config->token,
        .read_only = config->read_only,
        .patience_ns = config->patience_ns,
    };
    grv_status status = grv_remote_open(call, &remote, &store->remote, error);
    if (!status) {
        take_info(store);
        status = check_wishes(config, store, error);
    }
    return status ? status : grv_blob_store_remote_new(store->remote, &store->blobs, error);
}

/* ---- Figures ---- */

grv_status grv_store_remote_count(const grv_call *call, grv_store *store,
                                  grv_store_stats *ret_stats, grv_error *error)
{
    grv_remote_figures figures;
    grv_status status = grv_remote_count(call, store->remote, &figures, error);
    if (!status) {
        *ret_stats = (grv_store_stats){
            .blobs = grv_remote_figures_get(&figures, "blobs"),
            .logical_bytes = grv_remote_figures_get(&figures, "logical_bytes"),
            .references = grv_remote_figures_get(&figures, "references"),
            .blocks = grv_remote_figures_get(&figures, "blocks"),
            .unique_bytes = grv_remote_figures_get(&figures, "unique_bytes"),
            .stored_bytes = grv_remote_figures_get(&figures, "stored_bytes"),
            .unreferenced_blocks = grv_remote_figures_get(&figures, "unreferenced_blocks"),
            .unreferenced_bytes = grv_remote_figures_get(&figures, "unreferenced_bytes"),
            .missing_blocks = grv_remote_figures_get(&figures, "missing_blocks"),
        };
    }
    return status;
}

/* ---- Collection ---- */

static grv_collect_report collect_report(const grv_remote_figures *figures)
{
    return (grv_collect_report){
        .blobs = grv_remote_figures_get(figures, "blobs"),
        .references = grv_remote_figures_get(figures, "references"),
        .kept_blocks = grv_remote_figures_get(figures, "kept_blocks"),
        .kept_bytes = grv_remote_figures_get(figures, "kept_bytes"),
        .freed_blocks = grv_remote_figures_get(figures, "freed_blocks"),
        .freed_bytes = grv_remote_figures_get(figures, "freed_bytes"),
        .freed_stored_bytes = grv_remote_figures_get(figures, "freed_stored_bytes"),
        .missing_blocks = grv_remote_figures_get(figures, "missing_blocks"),
        .block_sweep = {.temporary = grv_remote_figures_get(figures, "freed_temporary"),
                        .temporary_bytes = grv_remote_figures_get(figures, "freed_temporary_bytes"),
                        .aside = grv_remote_figures_get(figures, "freed_aside"),
                        .aside_bytes = grv_remote_figures_get(figures, "freed_aside_bytes")},
        .meta_sweep = {.pages = grv_remote_figures_get(figures, "freed_pages"),
                       .sequences = grv_remote_figures_get(figures, "freed_sequences")},
    };
}

static void collect_progress(void *context, const grv_remote_figures *so_far)
{
    const grv_collect_config *config = context;
    if (config->progress) {
        const grv_collect_report report = collect_report(so_far);
        config->progress(config->context, &report);
    }
}

grv_status grv_store_remote_collect(const grv_call *call, grv_store *store,
                                    const grv_collect_config *config,
                                    grv_collect_report *ret_report, grv_error *error)
{
    grv_collect_config copy = *config;
    grv_remote_figures figures;
    const grv_remote_job job = {
        .kind = "gc",
        .order = config->dry_run ? "{\"dry_run\":true}" : "{}",
        .progress = collect_progress,
        .context = &copy,
    };
    grv_status status = grv_remote_run_job(call, store->remote, &job, &figures, error);
    if (!status) {
        *ret_report = collect_report(&figures);
    }
    return status;
}

/* ---- Backups ---- */

static grv_backup_report backup_report(const grv_remote_figures *figures)
{
    return (grv_backup_report){
        .linked_blocks = grv_remote_figures_get(figures, "linked_blocks"),
        .linked_bytes = grv_remote_figures_get(figures, "linked_bytes"),
        .copied_blocks = grv_remote_figures_get(figures, "copied_blocks"),
        .copied_bytes = grv_remote_figures_get(figures, "copied_bytes"),
        .corrupt_blocks = grv_remote_figures_get(figures, "corrupt_blocks"),
        .meta_files = grv_remote_figures_get(figures, "meta_files"),
        .meta_bytes = grv_remote_figures_get(figures, "meta_bytes"),
    };
}

static void backup_progress(void *context, const grv_remote_figures *so_far)
{
    const grv_backup_config *config = context;
    if (config->progress) {
        const grv_backup_report report = backup_report(so_far);
        config->progress(config->context, &report);
    }
}

grv_status grv_store_remote_backup(const grv_call *call, grv_store *store,
                                   const grv_backup_config *config, grv_backup_report *ret_report,
                                   grv_error *error)
{
    grv_backup_config copy = *config;
    grv_remote_figures figures;
    json_t *order = json_pack("{s:s,s:b}", "name", config->directory, "copy", config->copy);
    char *text = order ? json_dumps(order, JSON_COMPACT) : NULL;
    json_decref(order);
    if (!text) {
        return grv_error_set(error, GRV_INVALID_ARGUMENT, "backup",
                             "the name of a backup at a server is UTF-8");
    }
    const grv_remote_job job = {
        .kind = "backup", .order = text, .progress = backup_progress, .context = &copy};
    grv_status status = grv_remote_run_job(call, store->remote, &job, &figures, error);
    free(text);
    if (!status) {
        *ret_report = backup_report(&figures);
    }
    return status;
}

/* ---- Scrubbing ---- */

static grv_scrub_report scrub_report(const grv_remote_figures *figures)
{
    return (grv_scrub_report){
        .complete = grv_remote_figures_get(figures, "complete") > 0,
        .resumed = grv_remote_figures_get(figures, "resumed") > 0,
        .started_ns = grv_remote_figures_get(figures, "started"),
        .blocks = grv_remote_figures_get(figures, "blocks"),
        .bytes = grv_remote_figures_get(figures, "bytes"),
        .total_blocks = grv_remote_figures_get(figures, "total_blocks"),
        .total_bytes = grv_remote_figures_get(figures, "total_bytes"),
        .corrupt = grv_remote_figures_get(figures, "corrupt"),
        .set_aside = grv_remote_figures_get(figures, "set_aside"),
        .unreadable = grv_remote_figures_get(figures, "unreadable"),
        .missing = grv_remote_figures_get(figures, "missing"),
    };
}

static void scrub_progress(void *context, const grv_remote_figures *so_far)
{
    const grv_scrub_config *config = context;
    if (config->progress) {
        const grv_scrub_report report = scrub_report(so_far);
        config->progress(config->context, &report);
    }
}

static grv_status scrub_found(void *context, const grv_remote_finding *found, grv_error *error)
{
    const grv_scrub_config *config = context;
    if (found->has_blob && found->has_block) {
        return config->named ? config->named(config->context, &found->blob, &found->block,
                                             found->offset, error)
                             : GRV_OK;
    }
    grv_scrub_finding finding = {
        .kind = GRV_SCRUB_UNREADABLE,
        .key = found->block,
        .set_aside = found->set_aside,
        .message = found->message,
    };
    if (strcmp(found->status, "corrupt") == 0) {
        finding.kind = GRV_SCRUB_CORRUPT;
    } else if (strcmp(found->status, "missing") == 0) {
        finding.kind = GRV_SCRUB_MISSING;
    }
    bool is_block = found->has_block && config->found;
    return is_block ? config->found(config->context, &finding, error) : GRV_OK;
}

grv_status grv_store_remote_scrub(const grv_call *call, grv_store *store,
                                  const grv_scrub_config *config, grv_scrub_report *ret_report,
                                  grv_error *error)
{
    grv_scrub_config copy = *config;
    grv_remote_figures figures = {0};
    char order[96];
    snprintf(order, sizeof order, "{\"rate_bytes\":%llu,\"restart\":%s}",
             (unsigned long long)config->rate_bytes, config->restart ? "true" : "false");
    const grv_remote_job job = {
        .kind = "scrub",
        .order = order,
        .progress = scrub_progress,
        .found = scrub_found,
        .context = &copy,
    };
    grv_status status = grv_remote_run_job(call, store->remote, &job, &figures, error);
    *ret_report = scrub_report(&figures);
    return status;
}
