/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Work that has the store to itself, beyond this process. It leaves a mark before its first step,
 * and takes it away once all that it has asked for is over. Where it cannot tell, or dies, the mark
 * stays, and no put begins: a block that a put finds there might still go, by a deletion that is on
 * its way. The next collection inherits the mark, and takes it away if it ends well.
 *
 * With PostgreSQL the session keeps that mark, and keeps other processes out. Other metadata is one
 * process's at a time; there it is a state beside the manifests, and only blocks in S3 need it:
 * deletions elsewhere are over when their calls are.
 */
#include "store/cas.h"
#include "store/handle.h"

#include <string.h>

#define MARK_STATE "exclusive"
#define MARK_TEXT  "{\"version\":1}"

static bool needs_mark(const grv_store *store)
{
    return store->s3 && !store->session && !store->read_only;
}

grv_status grv_store_alone_begin(const grv_call *call, grv_store *store, uint64_t patience_ns,
                                 grv_error *error)
{
    if (store->session) {
        return grv_pg_session_exclude(call, store->session, patience_ns, error);
    }
    store->inherits = store->has_mark;
    if (!needs_mark(store) || store->has_mark) {
        return GRV_OK;
    }
    grv_status status =
        grv_manifest_repo_state_set(call, store->manifests, MARK_STATE, NULL,
                                    grv_bytes_of(MARK_TEXT, strlen(MARK_TEXT)), error);
    store->has_mark = status == GRV_OK;
    return status;
}

bool grv_store_alone_inherits(const grv_store *store)
{
    return store->session ? grv_pg_session_inherits(store->session) : store->inherits;
}

void grv_store_alone_end(grv_store *store, bool unsure)
{
    if (store->session && unsure) {
        grv_pg_session_abandon(store->session);
    } else if (store->session) {
        grv_pg_session_admit(store->session);
    } else if (needs_mark(store)) {
        const grv_bytes mark = grv_bytes_of(MARK_TEXT, strlen(MARK_TEXT));
        if (!unsure && !grv_manifest_repo_state_set(NULL, store->manifests, MARK_STATE, &mark,
                                                    (grv_bytes){0}, NULL)) {
            store->has_mark = false;
        }
        grv_cas_puts_forbid(store->blobs, store->has_mark);
    }
}

grv_status grv_store_alone_look(const grv_call *call, grv_store *store, grv_error *error)
{
    if (!needs_mark(store)) {
        return GRV_OK;
    }
    grv_buffer mark;
    grv_buffer_init(&mark, GRV_STATE_MAX);
    grv_status status =
        grv_manifest_repo_state_get(call, store->manifests, MARK_STATE, &mark, error);
    store->has_mark = status == GRV_OK;
    grv_buffer_done(&mark);
    grv_cas_puts_forbid(store->blobs, store->has_mark);
    return status == GRV_NOT_FOUND ? GRV_OK : status;
}
