/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Giving way to those who want the store to themselves, in other processes. What guards the store
 * is the session (backend/pg/session.c); here puts of this process are kept from one, so that they
 * wait rather than fail. A store that is lent counts as one that is being looked after: no other
 * job begins, which would want a session too.
 */
#include "store/cas.h"
#include "store/handle.h"

grv_status grv_store_give_way(const grv_call *call, grv_store *store, bool gives_way,
                              grv_error *error)
{
    if (!store->session || !store->gives_way) {
        return GRV_OK;
    }
    return grv_pg_session_give_way(call, store->session, gives_way, error);
}

grv_status grv_store_open_session(const grv_call *call, const grv_store_config *config,
                                  grv_store *store, grv_error *error)
{
    const char *command = config->command ? config->command : "libgraviton";
    store->gives_way = config->gives_way;
    if (!store->gives_way) {
        return grv_pg_session_open(call, store->pg, command, &store->session, error);
    }
    grv_status status = grv_pg_session_open_lent(call, store->pg, command, &store->session, error);
    if (status) {
        return status;
    }
    __atomic_store_n(&store->lent, grv_pg_session_is_lent(store->session), __ATOMIC_RELEASE);
    return grv_store_give_way(call, store, true, error);
}

grv_status grv_store_lend_look(grv_store *store, grv_error *error)
{
    if (!grv_store_is_lent(store)) {
        return GRV_OK;
    }
    grv_status status = grv_cas_maintenance_begin(store->blobs, error);
    return status ? status : grv_cas_puts_exclude(store->blobs, error);
}

bool grv_store_is_lent(const grv_store *store)
{
    return __atomic_load_n(&store->lent, __ATOMIC_ACQUIRE);
}

grv_status grv_store_is_wanted(const grv_call *call, grv_store *store, bool *ret_wanted,
                               grv_error *error)
{
    if (!store->session || grv_cas_is_maintained(store->blobs)) {
        *ret_wanted = false;
        return GRV_OK;
    }
    return grv_pg_session_is_wanted(call, store->session, ret_wanted, error);
}

grv_status grv_store_lend(const grv_call *call, grv_store *store, grv_error *error)
{
    if (!store->session) {
        return grv_error_set(
            error, GRV_UNSUPPORTED, "store",
            "only a store with metadata in PostgreSQL, open to write, can be lent");
    }
    if (grv_store_is_lent(store)) {
        return GRV_OK;
    }
    grv_status status = grv_cas_maintenance_begin(store->blobs, error);
    if (status) {
        return status;
    }
    status = grv_cas_puts_exclude(store->blobs, error);
    if (!status) {
        status = grv_pg_session_lend(call, store->session, error);
        if (status) {
            grv_cas_puts_admit(store->blobs);
        }
    }
    if (status) {
        grv_cas_maintenance_end(store->blobs);
        return status;
    }
    __atomic_store_n(&store->lent, true, __ATOMIC_RELEASE);
    return GRV_OK;
}

grv_status grv_store_reclaim(const grv_call *call, grv_store *store, grv_error *error)
{
    if (!grv_store_is_lent(store)) {
        return GRV_OK;
    }
    grv_status status = grv_pg_session_reclaim(call, store->session, error);
    if (!status) {
        __atomic_store_n(&store->lent, false, __ATOMIC_RELEASE);
        /* The slot comes last: who takes it shuts puts out anew. */
        grv_cas_puts_admit(store->blobs);
        grv_cas_maintenance_end(store->blobs);
    }
    return status;
}
