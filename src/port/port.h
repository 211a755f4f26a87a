/* SPDX-License-Identifier: Apache-2.0 */
/* Shared by the ports' dispatchers: the check that an operations table has no empty slot. */
#ifndef GRV_PORT_PORT_H
#define GRV_PORT_PORT_H

#include <graviton/error.h>
#include <stddef.h>

/*
 * GRV_OK if `table`, `size` bytes of pointers, holds no NULL; GRV_INTERNAL naming port and slot
 * number otherwise. A table's first member is its name, so that is checked too.
 */
grv_status grv_port_check_table(const char *port, const void *table, size_t size, grv_error *error);

#endif
