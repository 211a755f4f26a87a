/* SPDX-License-Identifier: Apache-2.0 */
/* Every blob store there is, for the conformance suite: one entry each. */
#include "blob_store_fixtures.h"

#include <graviton/backend/memory.h>

#define MIB (UINT64_C(1) << 20)

static grv_status memory_open(const blob_store_fixture *fixture, const char *directory,
                              void **ret_context, grv_blob_store **ret_store, grv_error *error)
{
    (void)directory;
    grv_status status = grv_blob_store_memory_new(fixture->hash, UINT64_MAX, ret_store, error);
    if (status) {
        return status;
    }
    *ret_context = *ret_store;
    return GRV_OK;
}

static void memory_close(void *context)
{
    grv_blob_store_free(context);
}

const blob_store_fixture blob_store_fixtures[] = {
    {"memory", false, GRV_HASH_BLAKE3, NULL, 64 * MIB, memory_open, memory_close},
    {"memory-sha256", false, GRV_HASH_SHA256, NULL, 4 * MIB, memory_open, memory_close},
};

const size_t blob_store_fixture_count = sizeof blob_store_fixtures / sizeof blob_store_fixtures[0];
