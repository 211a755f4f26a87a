/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A batch as RocksDB's. A range is removed key by key, and RocksDB's own range deletes are never
 * used: an iterator that looks for them takes a table whose first block is damaged for one that
 * ends there, in the levels below the first, and goes on behind it without a word (RocksDB 7.8;
 * mended in 8.7). Told to ignore them, it fails as it should.
 */
#include "backend/rocks/handle.h"

/* Keys between two looks at the caller's deadline. */
#define CHECK_INTERVAL 1024u

static bool in_range(grv_bytes key, const grv_kv_op *range)
{
    return grv_bytes_compare(key, range->key) >= 0 &&
           (range->end.size == 0 || grv_bytes_compare(key, range->end) < 0);
}

static grv_status add_found(const grv_call *call, rocksdb_iterator_t *iterator,
                            rocksdb_column_family_handle_t *family, rocksdb_writebatch_t *writes,
                            grv_error *error)
{
    for (unsigned count = 1; rocksdb_iter_valid(iterator); count++) {
        size_t size = 0;
        const char *key = rocksdb_iter_key(iterator, &size);
        rocksdb_writebatch_delete_cf(writes, family, key, size);
        if (count % CHECK_INTERVAL == 0) {
            grv_status status = grv_call_check(call, "rocks", error);
            if (status) {
                return status;
            }
        }
        rocksdb_iter_next(iterator);
    }
    char *failed = NULL;
    rocksdb_iter_get_error(iterator, &failed);
    return failed ? grv_rocks_error(failed, "look up a range to remove", error) : GRV_OK;
}

/* Removes the keys of a range that are there, and those that earlier operations put there. */
static grv_status add_range(const grv_call *call, grv_rocks *rocks, const grv_kv_batch *batch,
                            size_t index, rocksdb_writebatch_t *writes, grv_error *error)
{
    const grv_kv_op *range = &batch->ops[index];
    rocksdb_column_family_handle_t *family = rocks->families[range->ns];
    if (range->end.size && grv_bytes_compare(range->key, range->end) >= 0) {
        return GRV_OK; /* RocksDB wants no range the wrong way round */
    }
    for (size_t i = 0; i < index; i++) {
        const grv_kv_op *op = &batch->ops[i];
        if (op->kind == GRV_KV_PUT && op->ns == range->ns && in_range(op->key, range)) {
            rocksdb_writebatch_delete_cf(writes, family, (const char *)op->key.data, op->key.size);
        }
    }
    rocksdb_readoptions_t *read = rocksdb_readoptions_create();
    rocksdb_readoptions_set_total_order_seek(read, 1);
    rocksdb_readoptions_set_ignore_range_deletions(read, 1);
    rocksdb_readoptions_set_fill_cache(read, 0);
    if (range->end.size) {
        rocksdb_readoptions_set_iterate_upper_bound(read, (const char *)range->end.data,
                                                    range->end.size);
    }
    rocksdb_iterator_t *iterator = rocksdb_create_iterator_cf(rocks->db, read, family);
    rocksdb_iter_seek(iterator, (const char *)range->key.data, range->key.size);
    grv_status status = add_found(call, iterator, family, writes, error);
    rocksdb_iter_destroy(iterator);
    rocksdb_readoptions_destroy(read);
    return status;
}

grv_status grv_rocks_add_operations(const grv_call *call, grv_rocks *rocks,
                                    const grv_kv_batch *batch, rocksdb_writebatch_t *writes,
                                    grv_error *error)
{
    grv_status status = GRV_OK;
    for (size_t i = 0; i < batch->op_count && !status; i++) {
        const grv_kv_op *op = &batch->ops[i];
        rocksdb_column_family_handle_t *family = rocks->families[op->ns];
        switch (op->kind) {
        case GRV_KV_PUT:
            rocksdb_writebatch_put_cf(writes, family, (const char *)op->key.data, op->key.size,
                                      op->value.size ? (const char *)op->value.data : "",
                                      op->value.size);
            break;
        case GRV_KV_DELETE:
            rocksdb_writebatch_delete_cf(writes, family, (const char *)op->key.data, op->key.size);
            break;
        case GRV_KV_DELETE_RANGE:
            status = add_range(call, rocks, batch, i, writes, error);
            break;
        }
    }
    return status;
}
