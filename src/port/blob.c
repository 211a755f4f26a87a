/* SPDX-License-Identifier: Apache-2.0 */
/* Dispatchers of the cursors that several ports share, and the table check. */
#include "port/port.h"

#include <assert.h>
#include <graviton/blob.h>
#include <string.h>

grv_status grv_port_check_table(const char *port, const void *table, size_t size, grv_error *error)
{
    for (size_t at = 0; at < size; at += sizeof(void *)) {
        void *slot;
        memcpy(&slot, (const char *)table + at, sizeof slot);
        if (!slot) {
            return grv_error_set(error, GRV_INTERNAL, "port", "slot %zu of a %s backend is missing",
                                 at / sizeof(void *), port);
        }
    }
    return GRV_OK;
}

grv_status grv_blob_cursor_next(const grv_call *call, grv_blob_cursor *cursor,
                                grv_blob_info infos[], size_t capacity, size_t *ret_count,
                                grv_error *error)
{
    assert(capacity > 0);
    size_t count = 0;
    grv_status status = cursor->ops->next(call, cursor, infos, capacity, &count, error);
    if (status) {
        return status;
    }
    assert(count <= capacity);
    *ret_count = count;
    return GRV_OK;
}

void grv_blob_cursor_free(grv_blob_cursor *cursor)
{
    if (cursor) {
        cursor->ops->free(cursor);
    }
}

grv_status grv_ref_cursor_next(const grv_call *call, grv_ref_cursor *cursor, grv_block_ref refs[],
                               size_t capacity, size_t *ret_count, grv_error *error)
{
    assert(capacity > 0);
    size_t count = 0;
    grv_status status = cursor->ops->next(call, cursor, refs, capacity, &count, error);
    if (status) {
        return status;
    }
    assert(count <= capacity);
    *ret_count = count;
    return GRV_OK;
}

void grv_ref_cursor_free(grv_ref_cursor *cursor)
{
    if (cursor) {
        cursor->ops->free(cursor);
    }
}
