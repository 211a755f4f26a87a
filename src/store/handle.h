/* SPDX-License-Identifier: Apache-2.0 */
/* The inside of an opened store: for those that open it (opening.h), and for tests, which damage
 * it. */
#ifndef GRV_STORE_HANDLE_H
#define GRV_STORE_HANDLE_H

#include "store/place.h"

#include <graviton/backend/pg.h>
#include <graviton/backend/remote.h>
#include <graviton/maintain.h>

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
    grv_remote *remote; /* under the blobs, where they are a server's: then there are no halves */
    grv_blob_store *blobs;
    bool has_mark; /* see alone.c */
    bool inherits;
    bool gives_way; /* see lend.c */
    bool lent;      /* atomic */
};

/*
 * alone.c: begins work that has the store to itself, in all processes. Others that write are waited
 * for while they give way, `patience_ns` at most; GRV_UNAVAILABLE where they do not. Puts of this
 * process are kept out by grv_cas_puts_exclude. It ends with grv_store_alone_end; `unsure`:
 * something that was asked for may yet happen, so that no put may begin until a collection has
 * ended well. That of earlier work, where this inherits it, only such a collection makes sure.
 */
grv_status grv_store_alone_begin(const grv_call *call, grv_store *store, uint64_t patience_ns,
                                 grv_error *error);
bool grv_store_alone_inherits(const grv_store *store);
void grv_store_alone_end(grv_store *store, bool unsure);
/* How long a collection waits for others to give way, and a scrub. */
#define GRV_ALONE_COLLECT_NS (UINT64_C(60) * 1000000000u)
#define GRV_ALONE_SCRUB_NS   (UINT64_C(10) * 1000000000u)
/* For opening: looks whether such work was left unended. */
grv_status grv_store_alone_look(const grv_call *call, grv_store *store, grv_error *error);

/* lend.c: for work that others must not come into: whether this process gives way, where it was
 * opened so. */
grv_status grv_store_give_way(const grv_call *call, grv_store *store, bool gives_way,
                              grv_error *error);

/* lend.c: opens the session of a store that may be written to. Where that is lent already, the
 * second one keeps puts out, once there is a blob store. */
grv_status grv_store_open_session(const grv_call *call, const grv_store_config *config,
                                  grv_store *store, grv_error *error);
grv_status grv_store_lend_look(grv_store *store, grv_error *error);

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

/* remote.c: opens a server's store, for grv_store_open: `store` has its place, and gets blobs and
 * info. */
grv_status grv_store_open_remote(const grv_call *call, const grv_store_config *config,
                                 grv_store *store, grv_error *error);

/* remote.c: the functions of store.h and maintain.h for a store with store->remote: the server does
 * it. */
grv_status grv_store_remote_count(const grv_call *call, grv_store *store,
                                  grv_store_stats *ret_stats, grv_error *error);
grv_status grv_store_remote_collect(const grv_call *call, grv_store *store,
                                    const grv_collect_config *config,
                                    grv_collect_report *ret_report, grv_error *error);
grv_status grv_store_remote_backup(const grv_call *call, grv_store *store,
                                   const grv_backup_config *config, grv_backup_report *ret_report,
                                   grv_error *error);
grv_status grv_store_remote_scrub(const grv_call *call, grv_store *store,
                                  const grv_scrub_config *config, grv_scrub_report *ret_report,
                                  grv_error *error);

#endif
