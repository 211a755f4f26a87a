/* SPDX-License-Identifier: Apache-2.0 */
/* Shared by the dispatchers of the two object store ports. */
#ifndef GRV_PORT_OBJECT_STORE_H
#define GRV_PORT_OBJECT_STORE_H

#include <graviton/port/immutable_object_store.h>

/* GRV_OK if `locator` is valid and of the store's scheme; GRV_INVALID_ARGUMENT otherwise. */
grv_status grv_object_locator_check(const grv_object_store *store, const grv_locator *locator,
                                    grv_error *error);

#endif
