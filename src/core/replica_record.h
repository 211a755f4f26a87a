/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Stored forms of a replica index in a key-value store (docs/format.md): a key's record, which
 * lists its locators, and the row a locator has for each thing that lies there.
 */
#ifndef GRV_CORE_REPLICA_RECORD_H
#define GRV_CORE_REPLICA_RECORD_H

#include <graviton/replica.h>

/* Bytes of the longest locator, as text, in either form. */
#define GRV_REPLICA_RECORD_LOCATOR_MAX 960u
/* Bytes of the largest record. */
#define GRV_REPLICA_RECORD_MAX (16u + GRV_LOCATOR_SET_MAX * (2u + GRV_REPLICA_RECORD_LOCATOR_MAX))
/* Bytes of the longest row: locator, NUL, key. */
#define GRV_REPLICA_ROW_MAX (GRV_REPLICA_RECORD_LOCATOR_MAX + 1u + GRV_REPLICA_KEY_BYTES_MAX)

/* Appends the record of `set`, which is in order and not empty, its locators short enough. Fails
 * for want of memory alone. */
grv_status grv_replica_record_encode(const grv_locator_set *set, grv_buffer *out, grv_error *error);

/* Replaces `set` (initialised) by a record's locators. GRV_CORRUPT or, of a newer version,
 * GRV_UNSUPPORTED; `set` is unchanged then. */
grv_status grv_replica_record_decode(grv_bytes bytes, grv_locator_set *set, grv_error *error);

/* The row of a replica, and how many bytes it has; rows sort by locator, then key. The locator is
 * short enough. */
size_t grv_replica_row_encode(const grv_locator *locator, const grv_replica_key *key,
                              uint8_t ret_bytes[GRV_REPLICA_ROW_MAX]);

/* GRV_CORRUPT where `bytes` is no row. */
grv_status grv_replica_row_decode(grv_bytes bytes, grv_locator *ret_locator,
                                  grv_replica_key *ret_key, grv_error *error);

#endif
