/* SPDX-License-Identifier: Apache-2.0 */
/* The layer that keeps a block store's promise to hand out verified bytes only. */
#ifndef GRV_LAYER_VERIFY_H
#define GRV_LAYER_VERIFY_H

#include <graviton/port/block_store.h>

/*
 * Puts the verify layer on `inner`: a block read whose bytes do not give its digest becomes
 * GRV_CORRUPT, "block KEY: ...". Everything else goes through, capabilities too. Takes `inner`
 * over: it is freed with the layer, and at once where this fails (GRV_LIMIT_EXCEEDED without
 * memory). Every constructor of a block store ends with this call. Thread-safe as `inner` is.
 */
grv_status grv_block_store_verify_new(grv_block_store *inner, grv_block_store **ret_store,
                                      grv_error *error);

#endif
