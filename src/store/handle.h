/* SPDX-License-Identifier: Apache-2.0 */
/* The inside of an opened store: for open.c, which makes it, and for tests, which damage it. */
#ifndef GRV_STORE_HANDLE_H
#define GRV_STORE_HANDLE_H

#include "store/place.h"

#include <graviton/backend/pg.h>
#include <graviton/store.h>

struct grv_store {
    grv_place place;
    bool read_only;
    grv_store_info info;
    grv_pg *pg;              /* under the metadata, where that is PostgreSQL */
    grv_pg_session *session; /* where it is, and the store may be written to */
    grv_kv *kv;              /* under the metadata, and under the blocks where they are `kv:` */
    grv_block_store *blocks;
    grv_manifest_repo *manifests;
    grv_blob_store *blobs;
};

#endif
