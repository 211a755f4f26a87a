/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Key-value store on RocksDB. A batch is one write of RocksDB's, atomic by its log; guards are
 * looked at while the stripes of their keys are held (see stripes.h), so no write is ever tried
 * again. Large values are lent from RocksDB's cache; a cursor is one of its iterators, which is a
 * snapshot by itself. Every slot runs inside the gate (see gate.h).
 */
#include "backend/rocks/handle.h"
#include "backend/rocks/stripes.h"

#include <stdlib.h>
#include <string.h>

/* Keys that one call into RocksDB asks for; between them the caller's deadline is looked at. */
#define GET_GROUP 128u
/* What a scan of a whole namespace reads ahead. */
#define SCAN_READAHEAD (256u << 10)
/* Values up to this are copied. */
#define COPY_MAX (64u << 10)

typedef struct rocks_kv {
    grv_kv base;
    grv_rocks *rocks;
    grv_stripes stripes;
} rocks_kv;

typedef struct rocks_cursor {
    grv_kv_cursor base;
    grv_gate *gate;
    const char *directory; /* the database's, for messages */
    rocksdb_readoptions_t *read;
    rocksdb_iterator_t *iterator;
    bool started;
    bool ended;
    bool reverse;
    bool keys_only;
    grv_bytes prefix; /* these three in `bytes` */
    grv_bytes end;    /* the least key behind all with the prefix; empty: none */
    grv_bytes start;
    uint8_t bytes[];
} rocks_cursor;

static const grv_kv_ops rocks_kv_ops;
static const grv_kv_cursor_ops rocks_cursor_ops;

/* A value of RocksDB's that a caller has. */
typedef struct lent_value {
    rocksdb_pinnableslice_t *slice;
    grv_gate *gate;
} lent_value;

static void give_back(void *owner)
{
    lent_value *lent = owner;
    rocksdb_pinnableslice_destroy(lent->slice);
    grv_gate_give_back(lent->gate);
    free(lent);
}

static grv_bytes slice_bytes(const rocksdb_pinnableslice_t *slice)
{
    size_t size = 0;
    const char *data = rocksdb_pinnableslice_value(slice, &size);
    return grv_bytes_of(data, size);
}

/* Makes a value of a slice, which it takes over: a copy where it is small, so that whoever holds it
 * does not keep the database open; else it is lent, and *lends counted up. */
static grv_status hand_out(grv_rocks *rocks, rocksdb_pinnableslice_t *slice, grv_value *ret_value,
                           size_t *lends, grv_error *error)
{
    grv_bytes bytes = slice_bytes(slice);
    bool copy = bytes.size <= COPY_MAX;
    void *owner = malloc(copy ? bytes.size + 1 : sizeof(lent_value));
    if (!owner) {
        rocksdb_pinnableslice_destroy(slice);
        return grv_error_set(error, GRV_LIMIT_EXCEEDED, "rocks", "no memory for a value");
    }
    if (copy) {
        memcpy(owner, bytes.data, bytes.size);
        rocksdb_pinnableslice_destroy(slice);
        *ret_value = (grv_value){grv_bytes_of(owner, bytes.size), free, owner};
        return GRV_OK;
    }
    *(lent_value *)owner = (lent_value){slice, &rocks->gate};
    *ret_value = (grv_value){bytes, give_back, owner};
    (*lends)++;
    return GRV_OK;
}

/* The pinned value of `key`, NULL where it is absent. */
static grv_status pin(const grv_call *call, grv_rocks *rocks, unsigned ns, grv_bytes key,
                      rocksdb_pinnableslice_t **ret_slice, grv_error *error)
{
    char *failed = NULL;
    bool no_wait = call && call->no_wait;
    rocksdb_pinnableslice_t *slice =
        rocksdb_get_pinned_cf(rocks->db, no_wait ? rocks->read_memory : rocks->read,
                              rocks->families[ns], (const char *)key.data, key.size, &failed);
    if (failed && no_wait) {
        /* Whatever it was: one who may wait will hear of it. */
        rocksdb_free(failed);
        return grv_call_would_wait("rocks", error);
    }
    /* Until 9.1 RocksDB gives an empty value where a table is not open and may not be opened now
     * (its pull request 12443). */
    if (no_wait && slice && slice_bytes(slice).size == 0) {
        rocksdb_pinnableslice_destroy(slice);
        return grv_call_would_wait("rocks", error);
    }
    if (failed) {
        return grv_rocks_read_error(rocks->directory, failed, "read a key", error);
    }
    *ret_slice = slice;
    return GRV_OK;
}

static grv_status rocks_kv_get(const grv_call *call, grv_kv *base, unsigned ns, grv_bytes key,
                               grv_value *ret_value, grv_error *error)
{
    grv_rocks *rocks = ((rocks_kv *)base)->rocks;
    grv_status status = grv_rocks_enter(call, rocks, error);
    if (status) {
        return status;
    }
    size_t lends = 0;
    rocksdb_pinnableslice_t *slice = NULL;
    status = pin(call, rocks, ns, key, &slice, error);
    if (!status && !slice) {
        status = grv_error_set(error, GRV_NOT_FOUND, "rocks", "no such key");
    }
    if (!status) {
        status = hand_out(rocks, slice, ret_value, &lends, error);
    }
    grv_gate_leave(&rocks->gate, lends);
    return status;
}

/* Pins up to GET_GROUP values in one round; on failure none is held. */
static grv_status pin_group(grv_rocks *rocks, unsigned ns, const grv_bytes keys[], size_t count,
                            rocksdb_pinnableslice_t *ret_slices[], grv_error *error)
{
    const char *data[GET_GROUP];
    size_t sizes[GET_GROUP];
    char *failed[GET_GROUP] = {0};
    for (size_t i = 0; i < count; i++) {
        data[i] = (const char *)keys[i].data;
        sizes[i] = keys[i].size;
    }
    rocksdb_batched_multi_get_cf(rocks->db, rocks->read, rocks->families[ns], count, data, sizes,
                                 ret_slices, failed, false);
    grv_status status = GRV_OK;
    for (size_t i = 0; i < count; i++) {
        if (failed[i] && !status) {
            status = grv_rocks_read_error(rocks->directory, failed[i], "read keys", error);
        } else if (failed[i]) {
            rocksdb_free(failed[i]);
        }
    }
    for (size_t i = 0; status && i < count; i++) {
        if (ret_slices[i]) {
            rocksdb_pinnableslice_destroy(ret_slices[i]);
        }
    }
    return status;
}

/* Values of one group; on failure those handed out so far are told by *ret_done. */
static grv_status get_group(grv_rocks *rocks, unsigned ns, const grv_bytes keys[], size_t count,
                            grv_value ret_values[], grv_status ret_statuses[], size_t *ret_done,
                            size_t *lends, grv_error *error)
{
    rocksdb_pinnableslice_t *slices[GET_GROUP];
    *ret_done = 0;
    grv_status status = pin_group(rocks, ns, keys, count, slices, error);
    if (status) {
        return status;
    }
    for (size_t i = 0; i < count; i++) {
        ret_values[i] = (grv_value){0};
        ret_statuses[i] = slices[i] ? GRV_OK : GRV_NOT_FOUND;
        if (slices[i] && status) {
            rocksdb_pinnableslice_destroy(slices[i]);
        } else if (slices[i]) {
            status = hand_out(rocks, slices[i], &ret_values[i], lends, error);
        }
    }
    *ret_done = count;
    return status;
}

static grv_status rocks_kv_multi_get(const grv_call *call, grv_kv *base, unsigned ns,
                                     const grv_bytes keys[], size_t count, grv_value ret_values[],
                                     grv_status ret_statuses[], grv_error *error)
{
    grv_rocks *rocks = ((rocks_kv *)base)->rocks;
    grv_status status = grv_rocks_enter(call, rocks, error);
    if (status) {
        return status;
    }
    size_t done = 0;
    size_t lends = 0;
    while (done < count && !status) {
        size_t group = count - done < GET_GROUP ? count - done : GET_GROUP;
        size_t got = 0;
        status = grv_call_check(call, "rocks", error);
        if (!status) {
            status = get_group(rocks, ns, keys + done, group, ret_values + done,
                               ret_statuses + done, &got, &lends, error);
        }
        done += got;
    }
    grv_gate_leave(&rocks->gate, lends);
    while (status && done-- > 0) {
        grv_value_done(&ret_values[done]);
    }
    return status;
}

static grv_status missing_group(grv_rocks *rocks, unsigned ns, const grv_bytes keys[], size_t count,
                                bool ret_missing[], grv_error *error)
{
    rocksdb_pinnableslice_t *slices[GET_GROUP];
    grv_status status = pin_group(rocks, ns, keys, count, slices, error);
    for (size_t i = 0; i < count && !status; i++) {
        ret_missing[i] = !slices[i];
        if (slices[i]) {
            rocksdb_pinnableslice_destroy(slices[i]);
        }
    }
    return status;
}

static grv_status rocks_kv_missing(const grv_call *call, grv_kv *base, unsigned ns,
                                   const grv_bytes keys[], size_t count, bool ret_missing[],
                                   grv_error *error)
{
    grv_rocks *rocks = ((rocks_kv *)base)->rocks;
    grv_status status = grv_rocks_enter(call, rocks, error);
    if (status) {
        return status;
    }
    for (size_t done = 0; done < count && !status;) {
        size_t group = count - done < GET_GROUP ? count - done : GET_GROUP;
        status = grv_call_check(call, "rocks", error);
        if (!status) {
            status = missing_group(rocks, ns, keys + done, group, ret_missing + done, error);
        }
        done += group;
    }
    grv_gate_leave(&rocks->gate, 0);
    return status;
}

static grv_status check_guard(grv_rocks *rocks, const grv_kv_guard *guard, bool *ret_holds,
                              grv_error *error)
{
    rocksdb_pinnableslice_t *slice = NULL;
    grv_status status = pin(NULL, rocks, guard->ns, guard->key, &slice, error);
    if (status) {
        return status;
    }
    switch (guard->kind) {
    case GRV_KV_ABSENT:
        *ret_holds = !slice;
        break;
    case GRV_KV_PRESENT:
        *ret_holds = slice;
        break;
    case GRV_KV_EQUALS:
        *ret_holds = slice && grv_bytes_compare(slice_bytes(slice), guard->value) == 0;
        break;
    }
    if (slice) {
        rocksdb_pinnableslice_destroy(slice);
    }
    return GRV_OK;
}

static grv_status check_guards(const grv_call *call, grv_rocks *rocks, const grv_kv_batch *batch,
                               grv_error *error)
{
    for (size_t i = 0; i < batch->guard_count; i++) {
        grv_status status = grv_call_check(call, "rocks", error);
        if (status) {
            return status;
        }
        bool holds = false;
        status = check_guard(rocks, &batch->guards[i], &holds, error);
        if (status) {
            return status;
        }
        if (!holds) {
            return grv_error_set(error, GRV_CONFLICT, "rocks", "guard %zu of %zu does not hold",
                                 i + 1, batch->guard_count);
        }
    }
    return GRV_OK;
}

/* Writes what the guards allowed. */
static grv_status write_batch(grv_rocks *rocks, rocksdb_writebatch_t *writes,
                              grv_durability durability, grv_error *error)
{
    int count = rocksdb_writebatch_count(writes);
    if (count == 0) {
        return durability == GRV_DURABLE ? grv_rocks_sync(rocks, error) : GRV_OK;
    }
    grv_status status = grv_rocks_writable(rocks, error);
    if (status) {
        return status;
    }
    bool durable = durability == GRV_DURABLE;
    /* Writes take consecutive numbers from here or later: so ours reach `before + count`, and all
     * up to there is in the log when it is synced. */
    uint64_t before = rocksdb_get_latest_sequence_number(rocks->db);
    char *failed = NULL;
    rocksdb_write(rocks->db, durable ? rocks->durable : rocks->ordered, writes, &failed);
    if (failed) {
        return grv_rocks_stop(rocks, failed, "write a batch", error);
    }
    if (durable) {
        grv_watermark_raise(&rocks->watermark, before + (uint64_t)count);
    }
    return GRV_OK;
}

/* About what a batch takes in the log. */
static uint64_t batch_size(const grv_kv_batch *batch)
{
    uint64_t size = 0;
    for (size_t i = 0; i < batch->op_count; i++) {
        const grv_kv_op *op = &batch->ops[i];
        size += op->key.size + op->value.size + op->end.size;
    }
    return size;
}

static bool has_ranges(const grv_kv_batch *batch)
{
    for (size_t i = 0; i < batch->op_count; i++) {
        if (batch->ops[i].kind == GRV_KV_DELETE_RANGE) {
            return true;
        }
    }
    return false;
}

/* One attempt at a batch, from inside. What ranges hold is looked up while they are locked. */
static grv_status write_inside(const grv_call *call, rocks_kv *kv, const grv_kv_batch *batch,
                               grv_error *error)
{
    grv_status status = grv_rocks_admit(kv->rocks, batch_size(batch), batch->frees, error);
    if (status) {
        return status;
    }
    rocksdb_writebatch_t *writes = rocksdb_writebatch_create();
    bool ranges = has_ranges(batch);
    if (!ranges) {
        status = grv_rocks_add_operations(call, kv->rocks, batch, writes, error);
    }
    grv_stripes_claim claim;
    grv_stripes_lock(&kv->stripes, batch, &claim);
    if (!status) {
        status = check_guards(call, kv->rocks, batch, error);
    }
    if (!status && ranges) {
        status = grv_rocks_add_operations(call, kv->rocks, batch, writes, error);
    }
    if (!status) {
        status = write_batch(kv->rocks, writes, batch->durability, error);
    }
    grv_stripes_unlock(&kv->stripes, &claim);
    rocksdb_writebatch_destroy(writes);
    return status;
}

static grv_status rocks_kv_write(const grv_call *call, grv_kv *base, const grv_kv_batch *batch,
                                 grv_error *error)
{
    rocks_kv *kv = (rocks_kv *)base;
    grv_status status = grv_rocks_enter(call, kv->rocks, error);
    if (status) {
        return status;
    }
    status = write_inside(call, kv, batch, error);
    if (status == GRV_OUT_OF_SPACE && batch->frees) {
        /* The disk filled up between the look and the write: now the reserve gives way. */
        status = write_inside(call, kv, batch, error);
    }
    for (size_t i = 0; i < batch->op_count && batch->frees && !status; i++) {
        grv_rocks_note_removed(kv->rocks, batch->ops[i].ns);
    }
    grv_gate_leave(&kv->rocks->gate, 0);
    return status;
}

/* The size of the least byte string behind all that begin with `prefix`, whose bytes are changed
 * to it; 0 where there is none. */
static size_t make_end(uint8_t *prefix, size_t size)
{
    while (size > 0 && prefix[size - 1] == 0xff) {
        size--;
    }
    if (size > 0) {
        prefix[size - 1]++;
    }
    return size;
}

static void cursor_set_bounds(rocks_cursor *cursor, const grv_kv_scan *scan)
{
    uint8_t *prefix = cursor->bytes;
    uint8_t *end = prefix + scan->prefix.size;
    uint8_t *start = end + scan->prefix.size;
    if (scan->prefix.size) {
        memcpy(prefix, scan->prefix.data, scan->prefix.size);
        memcpy(end, scan->prefix.data, scan->prefix.size);
    }
    if (scan->start.size) {
        memcpy(start, scan->start.data, scan->start.size);
    }
    cursor->prefix = grv_bytes_of(prefix, scan->prefix.size);
    cursor->end = grv_bytes_of(end, make_end(end, scan->prefix.size));
    cursor->start = grv_bytes_of(start, scan->start.size);
}

static grv_status rocks_kv_open_scan(const grv_call *call, grv_kv *base, const grv_kv_scan *scan,
                                     grv_kv_cursor **ret_cursor, grv_error *error)
{
    grv_rocks *rocks = ((rocks_kv *)base)->rocks;
    grv_status status = grv_rocks_enter(call, rocks, error);
    if (status) {
        return status;
    }
    rocks_cursor *cursor = calloc(1, sizeof *cursor + 2 * scan->prefix.size + scan->start.size);
    if (!cursor) {
        grv_gate_leave(&rocks->gate, 0);
        return grv_error_set(error, GRV_LIMIT_EXCEEDED, "rocks", "no memory for a cursor");
    }
    cursor->base.ops = &rocks_cursor_ops;
    cursor->gate = &rocks->gate;
    cursor->directory = rocks->directory;
    cursor->reverse = scan->reverse;
    cursor->keys_only = scan->keys_only;
    cursor_set_bounds(cursor, scan);
    cursor->read = rocksdb_readoptions_create();
    rocksdb_readoptions_set_total_order_seek(cursor->read, 1);
    rocksdb_readoptions_set_ignore_range_deletions(cursor->read, 1); /* see batch.c */
    if (cursor->prefix.size) {
        rocksdb_readoptions_set_iterate_lower_bound(cursor->read, (const char *)cursor->prefix.data,
                                                    cursor->prefix.size);
    } else {
        /* A walk over everything reads ahead, and leaves the cache to others. */
        rocksdb_readoptions_set_readahead_size(cursor->read, SCAN_READAHEAD);
        rocksdb_readoptions_set_fill_cache(cursor->read, 0);
    }
    if (cursor->end.size) {
        rocksdb_readoptions_set_iterate_upper_bound(cursor->read, (const char *)cursor->end.data,
                                                    cursor->end.size);
    }
    cursor->iterator =
        rocksdb_create_iterator_cf(rocks->db, cursor->read, rocks->families[scan->ns]);
    grv_gate_leave(&rocks->gate, 1);
    *ret_cursor = &cursor->base;
    return GRV_OK;
}

static grv_status rocks_kv_flush(const grv_call *call, grv_kv *base, grv_error *error)
{
    grv_rocks *rocks = ((rocks_kv *)base)->rocks;
    grv_status status = grv_rocks_enter(call, rocks, error);
    if (status) {
        return status;
    }
    status = grv_rocks_sync(rocks, error);
    grv_gate_leave(&rocks->gate, 0);
    return status;
}

static void rocks_kv_free(grv_kv *base)
{
    rocks_kv *kv = (rocks_kv *)base;
    grv_rocks_close(kv->rocks);
    grv_stripes_done(&kv->stripes);
    free(kv);
}

static void cursor_first(rocks_cursor *cursor)
{
    rocksdb_iterator_t *iterator = cursor->iterator;
    grv_bytes start = cursor->start;
    if (!cursor->reverse) {
        grv_bytes from = grv_bytes_compare(start, cursor->prefix) > 0 ? start : cursor->prefix;
        if (from.size) {
            rocksdb_iter_seek(iterator, (const char *)from.data, from.size);
        } else {
            rocksdb_iter_seek_to_first(iterator);
        }
        return;
    }
    bool within = !cursor->end.size || grv_bytes_compare(start, cursor->end) < 0;
    if (start.size && within) {
        rocksdb_iter_seek_for_prev(iterator, (const char *)start.data, start.size);
    } else {
        rocksdb_iter_seek_to_last(iterator);
    }
}

static grv_status rocks_cursor_next(const grv_call *call, grv_kv_cursor *base,
                                    grv_kv_item *ret_item, grv_error *error)
{
    rocks_cursor *cursor = (rocks_cursor *)base;
    grv_status status = grv_call_check(call, "rocks", error);
    if (status) {
        return status;
    }
    if (!cursor->ended) {
        if (!cursor->started) {
            cursor_first(cursor);
        } else if (cursor->reverse) {
            rocksdb_iter_prev(cursor->iterator);
        } else {
            rocksdb_iter_next(cursor->iterator);
        }
        cursor->started = true;
        cursor->ended = !rocksdb_iter_valid(cursor->iterator);
    }
    if (cursor->ended) {
        char *failed = NULL;
        rocksdb_iter_get_error(cursor->iterator, &failed);
        if (failed) {
            return grv_rocks_read_error(cursor->directory, failed, "go on with a scan", error);
        }
        return grv_error_set(error, GRV_NOT_FOUND, "rocks", "end of the scan");
    }
    size_t size = 0;
    const char *data = rocksdb_iter_key(cursor->iterator, &size);
    ret_item->key = grv_bytes_of(data, size);
    ret_item->value = (grv_bytes){0};
    if (!cursor->keys_only) {
        data = rocksdb_iter_value(cursor->iterator, &size);
        ret_item->value = grv_bytes_of(data, size);
    }
    return GRV_OK;
}

static void rocks_cursor_free(grv_kv_cursor *base)
{
    rocks_cursor *cursor = (rocks_cursor *)base;
    rocksdb_iter_destroy(cursor->iterator);
    rocksdb_readoptions_destroy(cursor->read);
    grv_gate_give_back(cursor->gate);
    free(cursor);
}

static const grv_kv_ops rocks_kv_ops = {
    .name = "rocks",
    .get = rocks_kv_get,
    .multi_get = rocks_kv_multi_get,
    .missing = rocks_kv_missing,
    .write = rocks_kv_write,
    .open_scan = rocks_kv_open_scan,
    .flush = rocks_kv_flush,
    .free = rocks_kv_free,
};

static const grv_kv_cursor_ops rocks_cursor_ops = {
    .name = "rocks",
    .next = rocks_cursor_next,
    .free = rocks_cursor_free,
};

grv_rocks *grv_rocks_of_kv(grv_kv *kv)
{
    return kv->ops == &rocks_kv_ops ? ((rocks_kv *)kv)->rocks : NULL;
}

grv_status grv_kv_rocks_new(const grv_rocks_config *config, grv_kv **ret_kv, grv_error *error)
{
    rocks_kv *kv = calloc(1, sizeof *kv);
    if (!kv) {
        return grv_error_set(error, GRV_LIMIT_EXCEEDED, "rocks", "no memory for a store");
    }
    grv_status status = grv_kv_init(&kv->base, &rocks_kv_ops, config->namespace_count, error);
    if (!status) {
        status = grv_stripes_init(&kv->stripes, config->namespace_count, error);
    }
    if (!status) {
        status = grv_rocks_open(config, &kv->rocks, error);
        if (status) {
            grv_stripes_done(&kv->stripes);
        }
    }
    if (status) {
        free(kv);
        return status;
    }
    kv->base.whole_scans = true;
    *ret_kv = &kv->base;
    return GRV_OK;
}
