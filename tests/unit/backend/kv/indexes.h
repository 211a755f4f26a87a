/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A key-value store for tests of what lies over one: it passes everything to the one in memory,
 * remembers the last write, and can let somebody else in just before it or refuse it.
 */
#ifndef GRV_TESTS_UNIT_BACKEND_KV_INDEXES_H
#define GRV_TESTS_UNIT_BACKEND_KV_INDEXES_H

#include "test.h"

#include <graviton/backend/kv.h>
#include <graviton/backend/memory.h>
#include <xxhash.h>

typedef struct watched_kv {
    grv_kv base;
    grv_kv *inner;
    size_t writes;
    size_t op_count; /* of the last write */
    grv_durability durability;
    bool frees;
    void (*before)(void *context); /* called once, before the next write */
    void *context;
    size_t refuse; /* that many next writes are GRV_CONFLICT */
} watched_kv;

static grv_status watched_get(const grv_call *call, grv_kv *kv, unsigned ns, grv_bytes key,
                              grv_value *ret_value, grv_error *error)
{
    return grv_kv_get(call, ((watched_kv *)kv)->inner, ns, key, ret_value, error);
}

static grv_status watched_multi_get(const grv_call *call, grv_kv *kv, unsigned ns,
                                    const grv_bytes keys[], size_t count, grv_value ret_values[],
                                    grv_status ret_statuses[], grv_error *error)
{
    return grv_kv_multi_get(call, ((watched_kv *)kv)->inner, ns, keys, count, ret_values,
                            ret_statuses, error);
}

static grv_status watched_missing(const grv_call *call, grv_kv *kv, unsigned ns,
                                  const grv_bytes keys[], size_t count, bool ret_missing[],
                                  grv_error *error)
{
    return grv_kv_missing(call, ((watched_kv *)kv)->inner, ns, keys, count, ret_missing, error);
}

static grv_status watched_write(const grv_call *call, grv_kv *kv, const grv_kv_batch *batch,
                                grv_error *error)
{
    watched_kv *self = (watched_kv *)kv;
    void (*before)(void *context) = self->before;
    self->before = NULL;
    if (before) {
        before(self->context);
    }
    self->writes++;
    self->op_count = batch->op_count;
    self->durability = batch->durability;
    self->frees = batch->frees;
    if (self->refuse > 0) {
        self->refuse--;
        return grv_error_set(error, GRV_CONFLICT, "watched", "refused");
    }
    return grv_kv_write(call, self->inner, batch, error);
}

static grv_status watched_open_scan(const grv_call *call, grv_kv *kv, const grv_kv_scan *scan,
                                    grv_kv_cursor **ret_cursor, grv_error *error)
{
    return grv_kv_open_scan(call, ((watched_kv *)kv)->inner, scan, ret_cursor, error);
}

static grv_status watched_flush(const grv_call *call, grv_kv *kv, grv_error *error)
{
    return grv_kv_flush(call, ((watched_kv *)kv)->inner, error);
}

static void watched_free(grv_kv *kv)
{
    grv_kv_free(((watched_kv *)kv)->inner);
}

static const grv_kv_ops watched_ops = {
    .name = "watched",
    .get = watched_get,
    .multi_get = watched_multi_get,
    .missing = watched_missing,
    .write = watched_write,
    .open_scan = watched_open_scan,
    .flush = watched_flush,
    .free = watched_free,
};

/* Makes an empty one; grv_kv_free of its base frees what it holds. */
static inline void watched_kv_init(watched_kv *self)
{
    grv_error error = GRV_ERROR_INIT;
    *self = (watched_kv){0};
    assert_grv_ok(grv_kv_memory_new(GRV_NS_COUNT, &self->inner, &error));
    assert_grv_ok(grv_kv_init(&self->base, &watched_ops, GRV_NS_COUNT, &error));
}

/* Writes a row straight into the store. */
static inline void watched_kv_put(watched_kv *self, unsigned ns, grv_bytes key, grv_bytes value)
{
    grv_error error = GRV_ERROR_INIT;
    const grv_kv_op op = {.kind = GRV_KV_PUT, .ns = ns, .key = key, .value = value};
    const grv_kv_batch batch = {.ops = &op, .op_count = 1};
    assert_grv_ok(grv_kv_write(NULL, self->inner, &batch, &error));
}

/* Number of rows in a namespace. */
static inline size_t watched_kv_rows(watched_kv *self, unsigned ns)
{
    grv_error error = GRV_ERROR_INIT;
    const grv_kv_scan scan = {.ns = ns, .keys_only = true};
    grv_kv_cursor *cursor = NULL;
    grv_kv_item item;
    size_t rows = 0;
    assert_grv_ok(grv_kv_open_scan(NULL, self->inner, &scan, &cursor, &error));
    while (!grv_kv_cursor_next(NULL, cursor, &item, &error)) {
        rows++;
    }
    grv_kv_cursor_free(cursor);
    return rows;
}

/* Changes a stored record's version to one that is not known yet, its checksum too. */
static inline void watched_kv_make_newer(watched_kv *self, unsigned ns, grv_bytes key)
{
    grv_error error = GRV_ERROR_INIT;
    grv_value value = {0};
    uint8_t record[256];
    assert_grv_ok(grv_kv_get(NULL, self->inner, ns, key, &value, &error));
    size_t size = value.bytes.size;
    assert_in_range(size, 16, sizeof record);
    memcpy(record, value.bytes.data, size);
    grv_value_done(&value);
    record[4] = 2;
    uint64_t sum = XXH3_64bits(record, size - 8);
    for (size_t i = 0; i < 8; i++) {
        record[size - 8 + i] = (uint8_t)(sum >> (8 * i));
    }
    watched_kv_put(self, ns, key, grv_bytes_of(record, size));
}

/* The locator that `text` says, which must be one. */
static inline grv_locator locator_of(const char *text)
{
    grv_error error = GRV_ERROR_INIT;
    grv_locator locator;
    assert_grv_ok(grv_locator_parse(grv_bytes_of(text, strlen(text)), &locator, &error));
    return locator;
}

#endif
