/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What no root names: pages of puts that never ended. Nothing is removed before every root has been
 * read, for one that cannot be read might name anything. Pages are taken in the order of their
 * primary key, a window at a time, and compared with the roots inside the database; the schema
 * refuses to delete a page that a root names. There is no order of commits apart from the roots',
 * so no entry of it can be left over.
 */
#include "backend/pg/manifest_repo.h"

#include <string.h>

/* The pages of one window: `seen` bounds what a query reads, whatever of it is garbage. */
#define SEEN                                                                                       \
    "WITH seen AS MATERIALIZED (SELECT manifest_id, level, page_number FROM "                      \
    "graviton.blob_manifest_page WHERE (manifest_id, level, page_number) > ($1::uuid, $2::int2, "  \
    "$3::int8) ORDER BY manifest_id, level, page_number LIMIT 16384), "                            \
    "garbage AS MATERIALIZED (SELECT * FROM seen WHERE NOT EXISTS (SELECT FROM graviton.blob b "   \
    "WHERE b.manifest_id = seen.manifest_id)), "
#define LAST                                                                                       \
    "last.manifest_id, last.level, last.page_number FROM (SELECT * FROM seen ORDER BY "            \
    "manifest_id DESC, level DESC, page_number DESC LIMIT 1) last"

static const grv_pg_statement count_garbage = {
    "sweep_count", SEEN "gone AS (SELECT FROM garbage) "
                        "SELECT (SELECT pg_catalog.count(*) FROM gone), " LAST};
static const grv_pg_statement delete_garbage = {
    "sweep_delete",
    SEEN "gone AS (DELETE FROM graviton.blob_manifest_page p USING garbage g WHERE (p.manifest_id, "
         "p.level, p.page_number) = (g.manifest_id, g.level, g.page_number) RETURNING 1) "
         "SELECT (SELECT pg_catalog.count(*) FROM gone), " LAST};

/* Reads every root: the list does. */
static grv_status check_roots(const grv_call *call, grv_manifest_repo *base, grv_error *error)
{
    const grv_blob_list all = {.order = GRV_ORDER_KEY};
    grv_blob_cursor *cursor = NULL;
    grv_status status = grv_manifest_repo_pg_open_list(call, base, &all, &cursor, error);
    size_t count = status ? 0 : 1;
    while (count > 0 && !status) {
        grv_blob_info infos[64];
        status = grv_blob_cursor_next(call, cursor, infos, 64, &count, error);
    }
    grv_blob_cursor_free(cursor);
    return status;
}

/* Where a window ended. */
typedef struct sweep_place {
    uint8_t id[GRV_MANIFEST_ID_SIZE];
    int16_t level;
    int64_t number;
} sweep_place;

static grv_status read_place(const PGresult *result, sweep_place *place, grv_error *error)
{
    grv_bytes id = grv_pg_cell(result, 0, 1);
    if (id.size != sizeof place->id) {
        return grv_error_set(error, GRV_CORRUPT, "manifests", "a manifest page without an id");
    }
    memcpy(place->id, id.data, sizeof place->id);
    grv_status status = grv_pg_cell_int16(result, 0, 2, &place->level, error);
    return status ? status : grv_pg_cell_int64(result, 0, 3, &place->number, error);
}

/* One window; *ret_more is false where there was none. */
static grv_status sweep_window(const grv_call *call, grv_manifest_repo_pg *repo, bool dry_run,
                               sweep_place *place, uint64_t *pages, bool *ret_more,
                               grv_error *error)
{
    grv_pg_params params = {0};
    grv_pg_add_bytes(&params, grv_bytes_of(place->id, sizeof place->id));
    grv_pg_add_int16(&params, place->level);
    grv_pg_add_int64(&params, place->number);
    const grv_pg_step step = {dry_run ? &count_garbage : &delete_garbage, &params};
    const grv_pg_work work = {.steps = &step, .count = 1, .reads = dry_run};
    PGresult *result = NULL;
    grv_status status = grv_pg_run(call, repo->pg, &work, &result, error);
    if (status) {
        return status;
    }
    int64_t count = 0;
    *ret_more = PQntuples(result) > 0;
    if (*ret_more) {
        status = grv_pg_cell_int64(result, 0, 0, &count, error);
    }
    if (*ret_more && !status) {
        status = read_place(result, place, error);
    }
    PQclear(result);
    *pages += (uint64_t)count;
    return status;
}

grv_status grv_manifest_repo_pg_sweep(const grv_call *call, grv_manifest_repo *base, bool dry_run,
                                      grv_manifest_sweep *ret_sweep, grv_error *error)
{
    grv_manifest_sweep sweep = {0};
    sweep_place place = {.level = -1};
    grv_status status = check_roots(call, base, error);
    bool more = true;
    while (!status && more) {
        status = sweep_window(call, grv_manifest_repo_pg_of(base), dry_run, &place, &sweep.pages,
                              &more, error);
    }
    if (!status) {
        *ret_sweep = sweep;
    }
    return status;
}
