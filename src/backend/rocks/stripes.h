/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Key locks that make guards atomic with the writes they decide on. A key belongs to one of 64
 * stripes of its namespace. A batch holds the stripes of its guards alone and those of its writes
 * shared, and those of a namespace in which it removes a range alone: so no guarded key changes
 * between the look and the write, batches without guards never wait for each other, and guarded
 * ones on different keys share a sync of the log. Stripes are held over that sync, because the
 * answer to a guard must hold until the write is done.
 *
 * RocksDB's own optimistic transactions are not used: they cost 58 MiB for a million mutexes at
 * each open, and exclude range deletes.
 */
#ifndef GRV_BACKEND_ROCKS_STRIPES_H
#define GRV_BACKEND_ROCKS_STRIPES_H

#include <graviton/port/key_value_store.h>
#include <pthread.h>

/* What one batch holds or waits for, a bit a stripe; in the caller's storage until it is unlocked.
 */
typedef struct grv_stripes_claim {
    struct grv_stripes_claim *before;
    struct grv_stripes_claim *after;
    uint64_t shared[GRV_KV_NAMESPACE_MAX];
    uint64_t alone[GRV_KV_NAMESPACE_MAX];
} grv_stripes_claim;

typedef struct grv_stripes {
    unsigned count; /* namespaces */
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    grv_stripes_claim *last; /* all claims, held and waiting, in the order they came */
} grv_stripes;

/* Locks for `namespace_count` namespaces; ends with grv_stripes_done. */
grv_status grv_stripes_init(grv_stripes *stripes, unsigned namespace_count, grv_error *error);

void grv_stripes_done(grv_stripes *stripes);

/* Waits until no batch that came earlier stands in the way of `batch`. In that order there is
 * neither deadlock nor starvation. */
void grv_stripes_lock(grv_stripes *stripes, const grv_kv_batch *batch,
                      grv_stripes_claim *ret_claim);

void grv_stripes_unlock(grv_stripes *stripes, grv_stripes_claim *claim);

#endif
