/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the files of the object store over PostgreSQL share. An object's row names a content, and a
 * content is a row with its chunks; migrations/0005_objects.sql keeps them whole and says when a
 * content may go.
 */
#ifndef GRV_BACKEND_PG_OBJECTS_H
#define GRV_BACKEND_PG_OBJECTS_H

#include "backend/pg/pg.h"
#include "port/buckets.h"

#define GRV_PG_OBJECTS_SCHEME "pg"
/* Bytes of a new content's chunks but the last. */
#define GRV_PG_CHUNK_SIZE (256u << 10)
/* Most bytes of a chunk that the schema lets in. */
#define GRV_PG_CHUNK_SIZE_MAX (1u << 20)
/* Bytes of whole chunks that go or come in one round trip: a put or get holds about twice that. */
#define GRV_PG_CHUNKS_BYTES (1u << 20)
/* An id of a content, or of a version of an object. */
#define GRV_PG_CONTENT_ID_SIZE 16u

typedef struct grv_pg_objects {
    grv_mutable_object_store base;
    grv_pg *pg;
    grv_buckets buckets;
    uint64_t sweep_ns; /* when the next sweep is due, on the monotonic clock; atomic */
} grv_pg_objects;

/* ---- object_store.c ---- */

/* Whether the call goes on, and the locator's bucket is one of the store's; GRV_INVALID_ARGUMENT
 * naming it where it is not. */
grv_status grv_pg_objects_check(const grv_call *call, const grv_pg_objects *store,
                                const grv_locator *locator, grv_error *error);

/* Adds a locator's bucket and path; they are borrowed. */
void grv_pg_objects_add_locator(grv_pg_params *params, const grv_locator *locator);

/* Puts the locator before an error's message and gives `status` back. */
grv_status grv_pg_objects_prefix(const grv_locator *locator, grv_status status, grv_error *error);

/* GRV_NOT_FOUND, naming the object. */
grv_status grv_pg_objects_absent(const grv_locator *locator, grv_error *error);

/* Checks and takes an object's info from three cells: size, tag, modified. */
grv_status grv_pg_objects_info(const PGresult *result, int row, int column,
                               grv_object_info *ret_info, grv_error *error);

/* Nanoseconds since 1970 of a cell that is a timestamptz; times before that are 0. */
grv_status grv_pg_objects_time(const PGresult *result, int row, int column, uint64_t *ret_ns,
                               grv_error *error);

/* The checksum of a content's chunk, as docs/format.md says. */
uint64_t grv_pg_chunk_checksum(const uint8_t id[GRV_PG_CONTENT_ID_SIZE], uint32_t number,
                               grv_bytes bytes);

/* Deletes a content that has lost its name or never got one. Best effort, and not for long: what it
 * does not manage a later sweep does. */
void grv_pg_objects_drop(const grv_call *call, grv_pg_objects *store, grv_bytes id);

/* Deletes contents that nobody has any more, now and then. Best effort, and not for long. */
void grv_pg_objects_sweep(const grv_call *call, grv_pg_objects *store);

/* ---- slots of the port: object_read.c, object_put.c, object_list.c ---- */

grv_status grv_pg_objects_head(const grv_call *call, grv_object_store *base,
                               const grv_locator *locator, grv_object_info *ret_info,
                               grv_error *error);
grv_status grv_pg_objects_open_get(const grv_call *call, grv_object_store *base,
                                   const grv_locator *locator, grv_range range,
                                   grv_object_info *ret_info, grv_source **ret_source,
                                   grv_error *error);
grv_status grv_pg_objects_open_put(const grv_call *call, grv_mutable_object_store *base,
                                   const grv_locator *locator, const grv_object_put *put,
                                   grv_object_sink **ret_sink, grv_error *error);
grv_status grv_pg_objects_copy(const grv_call *call, grv_mutable_object_store *base,
                               const grv_locator *from, const grv_locator *to, bool if_absent,
                               grv_object_info *ret_info, grv_error *error);
grv_status grv_pg_objects_open_list(const grv_call *call, grv_object_store *base,
                                    const grv_object_list *list, grv_object_cursor **ret_cursor,
                                    grv_error *error);

#endif
