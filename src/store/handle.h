/* SPDX-License-Identifier: Apache-2.0 */
/* The inside of an opened store: for open.c, which makes it, and for tests, which damage it. */
#ifndef GRV_STORE_HANDLE_H
#define GRV_STORE_HANDLE_H

#include "store/place.h"

#include <graviton/backend/pg.h>
#include <graviton/store.h>

/* Room for a warning, NUL included. */
#define GRV_STORE_WARNING_SIZE 512u

struct grv_store {
    grv_place place;
    bool read_only;
    grv_store_info info;
    char warning[GRV_STORE_WARNING_SIZE];
    grv_s3 *s3;              /* under the blocks, where those are in S3 */
    grv_pg *pg;              /* under the metadata, where that is PostgreSQL */
    grv_pg_session *session; /* where it is, and the store may be written to */
    grv_kv *kv;              /* under the metadata, and under the blocks where they are `kv:` */
    grv_block_store *blocks; /* the cache, where there is one, over the blocks themselves */
    grv_manifest_repo *manifests;
    grv_blob_store *blobs;
    bool has_mark; /* see alone.c */
    bool inherits;
};

/*
 * alone.c: begins work that has the store to itself, in all processes; GRV_UNAVAILABLE while others
 * write. Puts of this process are kept out by grv_cas_puts_exclude. It ends with
 * grv_store_alone_end; `unsure`: something that was asked for may yet happen, so that no put may
 * begin until a collection has ended well. That of earlier work, where this inherits it, only such
 * a collection makes sure.
 */
grv_status grv_store_alone_begin(const grv_call *call, grv_store *store, grv_error *error);
bool grv_store_alone_inherits(const grv_store *store);
void grv_store_alone_end(grv_store *store, bool unsure);
/* For opening: looks whether such work was left unended. */
grv_status grv_store_alone_look(const grv_call *call, grv_store *store, grv_error *error);

/*
 * Opens the blocks in the bucket that the store's place names, and asks whether that lets objects
 * expire. store->session, which may come later, is asked whether others may have removed blocks.
 */
grv_status grv_store_open_s3(const grv_call *call, const grv_store_config *config, grv_store *store,
                             grv_error *error);

/*
 * Opens the halves of a deployment of the Scala system, for grv_store_open: `store` has its place,
 * and gets blocks, manifests and info. There is neither descriptor nor superblock, so what the
 * store is said to be is made up: an id of zeros, the default chunker, and a hash if there is only
 * one. GRV_UNSUPPORTED unless it is opened to read only.
 */
grv_status grv_store_open_scala(const grv_call *call, const grv_store_config *config,
                                grv_store *store, grv_error *error);

#endif
