/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reading one manifest: a cursor that holds the root, one index page, and a run of leaf pages. The
 * run is read in one query and grows as the reader goes on, so that a range costs the pages it
 * touches and a whole manifest few round trips. No connection is held in between.
 */
#include "backend/pg/manifest_repo.h"
#include "core/manifest_walk.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* Most leaf pages in one query: 640 KiB. */
#define RUN_MAX 16u

/* Pages of one level that were read together, numbered from `first`. */
typedef struct page_run {
    PGresult *rows;
    uint64_t first;
    uint64_t count; /* those that follow one another without a gap */
} page_run;

typedef struct pg_refs {
    grv_ref_cursor base;
    grv_manifest_repo_pg *repo;
    PGresult *root_row;
    grv_manifest_root root;
    page_run runs[2]; /* by level */
    uint32_t ahead;   /* leaf pages to ask for next */
    grv_manifest_walk walk;
} pg_refs;

/* A page that is longer than any is left out, as if it were missing. */
static const grv_pg_statement read_pages = {
    "page_read",
    "SELECT page_number, bytes FROM graviton.blob_manifest_page WHERE manifest_id = $1 "
    "AND level = $2 AND page_number >= $3 AND page_number < $4 "
    "AND pg_catalog.octet_length(bytes) <= 41024 ORDER BY page_number"};
_Static_assert(GRV_MANIFEST_PAGE_BYTES_MAX == 41024u, "the largest page");

/* A page that is not there: the blob was removed meanwhile, or it is damaged. */
static grv_status explain_missing(const grv_call *call, pg_refs *refs,
                                  const grv_manifest_child *child, grv_error *error)
{
    PGresult *row = NULL;
    grv_manifest_root root;
    const grv_blob_key *key = &refs->root.info.key;
    grv_status status = grv_manifest_repo_pg_root(call, refs->repo, key, &row, &root, error);
    if (status) {
        return status;
    }
    bool same = memcmp(root.id, refs->root.id, GRV_MANIFEST_ID_SIZE) == 0;
    PQclear(row);
    if (same) {
        status = grv_error_set(error, GRV_CORRUPT, "manifests",
                               "manifest page %" PRIu64 " of level %u is missing", child->number,
                               child->level);
    } else {
        status = grv_error_set(error, GRV_NOT_FOUND, "manifests",
                               "it was removed and stored anew while it was read");
    }
    grv_manifest_prefix_blob(key, error);
    return status;
}

/* Reads `count` pages of the level of `child` from it on; fewer, or none, where they are missing.
 */
static grv_status read_run(const grv_call *call, pg_refs *refs, const grv_manifest_child *child,
                           uint32_t count, grv_error *error)
{
    page_run *run = &refs->runs[child->level];
    grv_pg_params params = {0};
    grv_pg_add_bytes(&params, grv_bytes_of(refs->root.id, GRV_MANIFEST_ID_SIZE));
    grv_pg_add_int16(&params, (int16_t)child->level);
    grv_pg_add_int64(&params, (int64_t)child->number);
    grv_pg_add_int64(&params, (int64_t)(child->number + count));
    PQclear(run->rows);
    *run = (page_run){.first = child->number};
    grv_status status = grv_pg_read(call, refs->repo->pg, &read_pages, &params, &run->rows, error);
    for (int row = 0; !status && row < PQntuples(run->rows); row++) {
        int64_t number = -1;
        status = grv_pg_cell_int64(run->rows, row, 0, &number, error);
        if (!status && (uint64_t)number != run->first + run->count) {
            break;
        }
        run->count += status ? 0 : 1;
    }
    if (status) {
        run->count = 0;
        grv_manifest_prefix_blob(&refs->root.info.key, error);
    }
    return status;
}

static grv_status load_page(void *context, const grv_call *call, const grv_manifest_table *parent,
                            uint32_t index, grv_manifest_table *ret_table, grv_error *error)
{
    pg_refs *refs = context;
    const grv_manifest_child child = grv_manifest_table_child(parent, index);
    page_run *run = &refs->runs[child.level];
    if (child.number < run->first || child.number - run->first >= run->count) {
        uint32_t left = parent->count - index;
        uint32_t wanted = child.level == 0 ? refs->ahead : 1;
        grv_status status = read_run(call, refs, &child, wanted < left ? wanted : left, error);
        if (status) {
            return status;
        }
        if (run->count == 0) {
            return explain_missing(call, refs, &child, error);
        }
        if (child.level == 0) {
            refs->ahead = refs->ahead < RUN_MAX / 2 ? 2 * refs->ahead : RUN_MAX;
        }
    }
    grv_bytes bytes = grv_pg_cell(run->rows, (int)(child.number - run->first), 1);
    grv_status status = grv_manifest_page_decode(bytes, &refs->root, &child, ret_table, error);
    if (status) {
        grv_error_prefix(error, "page %" PRIu64 " of level %u", child.number, child.level);
        grv_manifest_prefix_blob(&refs->root.info.key, error);
    }
    return status;
}

static grv_status pg_refs_next(const grv_call *call, grv_ref_cursor *base, grv_block_ref out[],
                               size_t capacity, size_t *ret_count, grv_error *error)
{
    return grv_manifest_walk_next(call, &((pg_refs *)base)->walk, out, capacity, ret_count, error);
}

static void pg_refs_free(grv_ref_cursor *base)
{
    pg_refs *refs = (pg_refs *)base;
    PQclear(refs->root_row);
    PQclear(refs->runs[0].rows);
    PQclear(refs->runs[1].rows);
    free(refs);
}

static const grv_ref_cursor_ops pg_refs_ops = {
    .name = "pg",
    .next = pg_refs_next,
    .free = pg_refs_free,
};

grv_status grv_manifest_repo_pg_open_refs(const grv_call *call, grv_manifest_repo *base,
                                          const grv_blob_key *key, uint64_t offset,
                                          grv_ref_cursor **ret_cursor, grv_error *error)
{
    pg_refs *refs = calloc(1, sizeof *refs);
    if (!refs) {
        return grv_error_set(error, GRV_LIMIT_EXCEEDED, "manifests",
                             "no memory for reading a manifest");
    }
    refs->base.ops = &pg_refs_ops;
    refs->repo = grv_manifest_repo_pg_of(base);
    refs->ahead = 1;
    grv_status status =
        grv_manifest_repo_pg_root(call, refs->repo, key, &refs->root_row, &refs->root, error);
    if (status) {
        free(refs);
        return status;
    }
    grv_manifest_walk_init(&refs->walk, &refs->root, offset, load_page, refs);
    *ret_cursor = &refs->base;
    return GRV_OK;
}
