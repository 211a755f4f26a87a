/* SPDX-License-Identifier: Apache-2.0 */
/* The manifest repositories that tests/conformance/manifest_repo.c runs over. */
#include "manifest_repo_fixtures.h"

#include "backend/kv/manifest_repo.h"

#include <graviton/backend/memory.h>
#include <graviton/backend/rocks.h>

/* The key-value store outlives the repository over it: that is what there is to open again. */
static grv_status keep_memory(void **context, grv_error *error)
{
    if (*context) {
        return GRV_OK;
    }
    grv_kv *kv = NULL;
    grv_status status = grv_kv_memory_new(GRV_NS_COUNT, &kv, error);
    if (!status) {
        *context = kv;
    }
    return status;
}

static grv_status open_kv_memory(const char *dir, void **context, grv_manifest_repo **ret_repo,
                                 grv_error *error)
{
    (void)dir;
    grv_status status = keep_memory(context, error);
    return status ? status : grv_manifest_repo_kv_new(*context, ret_repo, error);
}

/* Pages so small that 500 blocks make a manifest of two levels; 70 * 7 * 7 are all it holds. */
static grv_status open_kv_tiny(const char *dir, void **context, grv_manifest_repo **ret_repo,
                               grv_error *error)
{
    static const grv_manifest_limits tiny = {.page = 7, .inlined = 3, .children = 70};
    (void)dir;
    grv_status status = keep_memory(context, error);
    return status ? status : grv_manifest_repo_kv_new_limited(*context, &tiny, ret_repo, error);
}

static void close_kv_memory(grv_manifest_repo *repo, void **context, bool last)
{
    grv_manifest_repo_free(repo);
    if (last) {
        grv_kv_free(*context);
        *context = NULL;
    }
}

static grv_status open_kv_rocks(const char *dir, void **context, grv_manifest_repo **ret_repo,
                                grv_error *error)
{
    const grv_rocks_config config = {
        .directory = dir,
        .namespaces = grv_kv_namespace_names,
        .namespace_count = GRV_NS_COUNT,
        .create = true,
    };
    grv_kv *kv = NULL;
    grv_status status = grv_kv_rocks_new(&config, &kv, error);
    if (status) {
        return status;
    }
    status = grv_manifest_repo_kv_new(kv, ret_repo, error);
    if (status) {
        grv_kv_free(kv);
        return status;
    }
    *context = kv;
    return GRV_OK;
}

/* The database is closed each time: what is read after that came from its files. */
static void close_kv_rocks(grv_manifest_repo *repo, void **context, bool last)
{
    (void)last;
    grv_manifest_repo_free(repo);
    grv_kv_free(*context);
    *context = NULL;
}

const manifest_fixture manifest_fixtures[] = {
    {"kv over memory", 100000, open_kv_memory, close_kv_memory},
    {"kv over memory, tiny pages", 3430, open_kv_tiny, close_kv_memory},
    {"kv over rocks", 100000, open_kv_rocks, close_kv_rocks},
};
const size_t manifest_fixture_count = sizeof manifest_fixtures / sizeof manifest_fixtures[0];
