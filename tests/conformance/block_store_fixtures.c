/* SPDX-License-Identifier: Apache-2.0 */
/* The block stores that tests/conformance/block_store.c runs over. */
#include "block_store_fixtures.h"

#include <graviton/backend/memory.h>

static void close_plain(grv_block_store *store, void **context, bool last)
{
    (void)context;
    (void)last;
    grv_block_store_free(store);
}

static grv_status open_memory(const char *dir, void **context, grv_block_store **ret_store,
                              grv_error *error)
{
    (void)dir;
    (void)context;
    return grv_block_store_memory_new(ret_store, error);
}

const block_fixture block_fixtures[] = {
    {"memory", false, open_memory, close_plain},
};
const size_t block_fixture_count = sizeof block_fixtures / sizeof block_fixtures[0];
