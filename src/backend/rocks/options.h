/* SPDX-License-Identifier: Apache-2.0 */
/* How graviton's databases are set up. */
#ifndef GRV_BACKEND_ROCKS_OPTIONS_H
#define GRV_BACKEND_ROCKS_OPTIONS_H

#include <graviton/backend/rocks.h>
#include <rocksdb/c.h>

/* Bytes of block cache and of write buffers where the configuration leaves them to us. */
#define GRV_ROCKS_CACHE_DEFAULT        ((size_t)32 << 20)
#define GRV_ROCKS_WRITE_BUFFER_DEFAULT ((size_t)32 << 20)

/*
 * Options of the whole database for `config`, and of its families that hold small values.
 * `ret_large` is for families whose values are large: they lie apart from their keys, so that
 * compactions move keys alone. Both are destroyed by the caller, after the database is open.
 */
void grv_rocks_options_new(const grv_rocks_config *config, rocksdb_options_t **ret_options,
                           rocksdb_options_t **ret_large);

#endif
