/* SPDX-License-Identifier: Apache-2.0 */
/* Shared by the ports' dispatchers: checks of operations tables, and of locators. */
#ifndef GRV_PORT_PORT_H
#define GRV_PORT_PORT_H

#include <graviton/error.h>
#include <graviton/locator.h>
#include <stddef.h>

/*
 * GRV_OK if `table`, `size` bytes of pointers, holds no NULL; GRV_INTERNAL naming port and slot
 * number otherwise. A table's first member is its name, so that is checked too.
 */
grv_status grv_port_check_table(const char *port, const void *table, size_t size, grv_error *error);

/* GRV_OK for a valid locator of at most `max` bytes as text; GRV_INVALID_ARGUMENT where it is not
 * valid, GRV_LIMIT_EXCEEDED where it is longer. `origin` is for the error. */
grv_status grv_port_check_locator(const char *origin, const grv_locator *locator, size_t max,
                                  grv_error *error);

/* GRV_OK for a prefix of at most `max` bytes, GRV_INVALID_ARGUMENT otherwise. */
grv_status grv_port_check_prefix(const char *origin, grv_bytes prefix, size_t max,
                                 grv_error *error);

#endif
