/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the files of the replica index over a key-value store share. replica_index.c reads and
 * changes the replicas of a key, replica_list.c lists them by locator.
 *
 * Where things are: GRV_NS_REPLICA: replica key -> record of its locators, absent where there are
 * none. GRV_NS_LOCATED: locator, NUL, replica key -> nothing, a row for each locator in a
 * record. Both change in one batch, guarded by the record.
 */
#ifndef GRV_BACKEND_KV_REPLICA_INDEX_H
#define GRV_BACKEND_KV_REPLICA_INDEX_H

#include "core/replica_record.h"

#include <graviton/backend/kv.h>

/* How often a change that lost a race is tried again before it is GRV_UNAVAILABLE. */
#define GRV_REPLICA_ATTEMPTS 1000u

/* The index. */
typedef struct grv_replica_index_kv {
    grv_replica_index base;
    grv_kv *kv;
} grv_replica_index_kv;

/* The index of a base; it must be one of these. */
grv_replica_index_kv *grv_replica_index_kv_of(grv_replica_index *base);

/* The slot open_list. */
grv_status grv_replica_index_kv_open_list(const grv_call *call, grv_replica_index *base,
                                          const grv_replica_list *wanted,
                                          grv_replica_cursor **ret_cursor, grv_error *error);

#endif
