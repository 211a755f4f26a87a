/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Replica index over any key-value store. A change reads the key's record, works out the new one
 * and the rows that come and go, and writes all of it in one batch that holds only if the record is
 * still the one that was read; else it begins again. So the record is the truth, and the rows never
 * say anything else.
 */
#include "backend/kv/replica_index.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

_Static_assert(GRV_REPLICA_LOCATOR_MAX == GRV_REPLICA_RECORD_LOCATOR_MAX,
               "what the port takes is what a record holds");
_Static_assert(GRV_REPLICA_ROW_MAX <= GRV_KV_KEY_MAX && GRV_REPLICA_RECORD_MAX <= GRV_KV_VALUE_MAX,
               "rows and records fit the store");

static const grv_replica_index_ops replica_index_kv_ops;

/* What is to change. */
typedef enum change_kind { CHANGE_UPDATE, CHANGE_ADD, CHANGE_REMOVE } change_kind;

typedef struct change {
    change_kind kind;
    const grv_replica_key *key;
    const grv_locator_set *set; /* CHANGE_UPDATE */
    const grv_locator *locator; /* CHANGE_ADD, CHANGE_REMOVE */
    uint8_t bytes[GRV_REPLICA_KEY_BYTES_MAX];
    grv_bytes key_bytes; /* the key, in `bytes` */
} change;

/* One batch in the making. */
typedef struct change_plan {
    grv_kv_op *ops;
    size_t op_count;
    uint8_t *rows; /* room for the keys of the rows, GRV_REPLICA_ROW_MAX each */
    grv_buffer record;
} change_plan;

grv_replica_index_kv *grv_replica_index_kv_of(grv_replica_index *base)
{
    assert(base->ops == &replica_index_kv_ops);
    return (grv_replica_index_kv *)base;
}

static void prefix_key(const grv_replica_key *key, grv_error *error)
{
    char text[GRV_REPLICA_KEY_TEXT_SIZE];
    grv_replica_key_print(key, text);
    grv_error_prefix(error, "replicas of %s", text);
}

static grv_status replica_index_kv_replicas(const grv_call *call, grv_replica_index *base,
                                            const grv_replica_key *key, grv_locator_set *set,
                                            grv_error *error)
{
    uint8_t bytes[GRV_REPLICA_KEY_BYTES_MAX];
    const grv_bytes key_bytes = {bytes, grv_replica_key_encode(key, bytes)};
    grv_value value = {0};
    grv_status status = grv_kv_get(call, grv_replica_index_kv_of(base)->kv, GRV_NS_REPLICA,
                                   key_bytes, &value, error);
    if (status == GRV_NOT_FOUND) {
        grv_locator_set_done(set);
        return GRV_OK;
    }
    if (!status) {
        status = grv_replica_record_decode(value.bytes, set, error);
        grv_value_done(&value);
    }
    if (status) {
        prefix_key(key, error);
    }
    return status;
}

/* Adds to `set` the locators of all rows of a key, wherever they are: what its record said. Reads
 * every row there is, so it is for a record that is lost. */
static grv_status collect_rows(const grv_call *call, grv_replica_index_kv *index,
                               const change *wanted, grv_locator_set *set, grv_error *error)
{
    const grv_kv_scan scan = {.ns = GRV_NS_LOCATED, .keys_only = true};
    grv_kv_cursor *cursor = NULL;
    grv_status status = grv_kv_open_scan(call, index->kv, &scan, &cursor, error);
    while (!status) {
        grv_kv_item item;
        status = grv_kv_cursor_next(call, cursor, &item, error);
        if (status) {
            break;
        }
        grv_locator locator;
        grv_replica_key key;
        if (!grv_replica_row_decode(item.key, &locator, &key, NULL) &&
            grv_replica_key_compare(&key, wanted->key) == 0) {
            status = grv_locator_set_add(set, &locator, error);
        }
    }
    grv_kv_cursor_free(cursor);
    return status == GRV_NOT_FOUND ? GRV_OK : status;
}

static grv_status plan_init(change_plan *plan, size_t rows_max, grv_error *error)
{
    grv_buffer_init(&plan->record, GRV_REPLICA_RECORD_MAX);
    plan->op_count = 0;
    plan->ops = malloc((rows_max + 1) * sizeof *plan->ops);
    plan->rows = malloc(rows_max * GRV_REPLICA_ROW_MAX + 1);
    if (!plan->ops || !plan->rows) {
        return grv_error_set(error, GRV_LIMIT_EXCEEDED, "replicas", "no memory for a change");
    }
    return GRV_OK;
}

static void plan_done(change_plan *plan)
{
    grv_buffer_done(&plan->record);
    free(plan->rows);
    free(plan->ops);
}

static void plan_row(change_plan *plan, grv_kv_op_kind kind, const grv_locator *locator,
                     const grv_replica_key *key)
{
    uint8_t *row = plan->rows + plan->op_count * GRV_REPLICA_ROW_MAX;
    size_t size = grv_replica_row_encode(locator, key, row);
    plan->ops[plan->op_count++] =
        (grv_kv_op){.kind = kind, .ns = GRV_NS_LOCATED, .key = grv_bytes_of(row, size)};
}

/* Rows that make `before` into `after`. */
static void plan_difference(change_plan *plan, const grv_replica_key *key,
                            const grv_locator_set *before, const grv_locator_set *after)
{
    size_t i = 0;
    size_t k = 0;
    while (i < before->count || k < after->count) {
        int order = 0;
        if (i == before->count) {
            order = 1;
        } else if (k == after->count) {
            order = -1;
        } else {
            order = grv_locator_compare(&before->locators[i], &after->locators[k]);
        }
        if (order < 0) {
            plan_row(plan, GRV_KV_DELETE, &before->locators[i++], key);
        } else if (order > 0) {
            plan_row(plan, GRV_KV_PUT, &after->locators[k++], key);
        } else {
            i++;
            k++;
        }
    }
}

static grv_status plan_record(change_plan *plan, const change *wanted, const grv_locator_set *set,
                              grv_error *error)
{
    grv_kv_op *op = &plan->ops[plan->op_count++];
    *op = (grv_kv_op){.kind = GRV_KV_DELETE, .ns = GRV_NS_REPLICA, .key = wanted->key_bytes};
    if (set->count == 0) {
        return GRV_OK;
    }
    grv_status status = grv_replica_record_encode(set, &plan->record, error);
    op->kind = GRV_KV_PUT;
    op->value = grv_buffer_bytes(&plan->record);
    return status;
}

/* The batch that does what is wanted, `set` being what the record says; it is changed too. The
 * record is written where the rows change, or `rewrite`. */
static grv_status plan_fill(change_plan *plan, const change *wanted, grv_locator_set *set,
                            bool rewrite, grv_error *error)
{
    grv_status status = GRV_OK;
    const grv_locator_set *after = set;
    if (wanted->kind == CHANGE_UPDATE) {
        plan_difference(plan, wanted->key, set, wanted->set);
        after = wanted->set;
    } else if (wanted->kind == CHANGE_ADD && !grv_locator_set_contains(set, wanted->locator)) {
        plan_row(plan, GRV_KV_PUT, wanted->locator, wanted->key);
        status = grv_locator_set_add(set, wanted->locator, error);
    } else if (wanted->kind == CHANGE_REMOVE && grv_locator_set_contains(set, wanted->locator)) {
        plan_row(plan, GRV_KV_DELETE, wanted->locator, wanted->key);
        grv_locator_set_remove(set, wanted->locator);
    }
    if (!status && (plan->op_count > 0 || rewrite)) {
        status = plan_record(plan, wanted, after, error);
    }
    return status;
}

/* Where nothing changes the batch is empty: it still waits until what was read is durable. */
static grv_status plan_write(const grv_call *call, grv_replica_index_kv *index,
                             const change_plan *plan, const change *wanted, const grv_bytes *record,
                             grv_error *error)
{
    grv_kv_guard guard = {.kind = GRV_KV_ABSENT, .ns = GRV_NS_REPLICA, .key = wanted->key_bytes};
    if (record) {
        guard.kind = GRV_KV_EQUALS;
        guard.value = *record;
    }
    bool empties = wanted->kind == CHANGE_UPDATE && wanted->set->count == 0;
    const grv_kv_batch batch = {.ops = plan->ops,
                                .op_count = plan->op_count,
                                .guards = &guard,
                                .guard_count = 1,
                                .durability = GRV_DURABLE,
                                .frees = empties || wanted->kind == CHANGE_REMOVE};
    return grv_kv_write(call, index->kv, &batch, error);
}

/* One attempt, from the record as it was read, NULL where there was none. GRV_CONFLICT where it
 * changed meanwhile. */
static grv_status change_from(const grv_call *call, grv_replica_index_kv *index,
                              const change *wanted, const grv_bytes *record, grv_error *error)
{
    grv_locator_set set;
    grv_locator_set_init(&set);
    grv_status status = GRV_OK;
    bool lost = false;
    if (record) {
        status = grv_replica_record_decode(*record, &set, error);
        lost = status == GRV_CORRUPT;
    }
    if (lost && wanted->kind == CHANGE_UPDATE) {
        status = collect_rows(call, index, wanted, &set, error);
    }
    change_plan plan = {0};
    if (!status) {
        size_t rows_max = wanted->kind == CHANGE_UPDATE ? set.count + wanted->set->count : 1;
        status = plan_init(&plan, rows_max, error);
    }
    if (!status) {
        status = plan_fill(&plan, wanted, &set, lost, error);
    }
    if (!status) {
        status = plan_write(call, index, &plan, wanted, record, error);
    }
    plan_done(&plan);
    grv_locator_set_done(&set);
    return status;
}

static grv_status change_make(const grv_call *call, grv_replica_index *base, change *wanted,
                              grv_error *error)
{
    grv_replica_index_kv *index = grv_replica_index_kv_of(base);
    wanted->key_bytes =
        grv_bytes_of(wanted->bytes, grv_replica_key_encode(wanted->key, wanted->bytes));
    grv_status status = GRV_CONFLICT;
    for (unsigned attempt = 0; status == GRV_CONFLICT && attempt < GRV_REPLICA_ATTEMPTS;
         attempt++) {
        grv_value value = {0};
        status = grv_kv_get(call, index->kv, GRV_NS_REPLICA, wanted->key_bytes, &value, error);
        if (!status) {
            status = change_from(call, index, wanted, &value.bytes, error);
            grv_value_done(&value);
        } else if (status == GRV_NOT_FOUND) {
            status = change_from(call, index, wanted, NULL, error);
        }
    }
    if (status == GRV_CONFLICT) {
        status =
            grv_error_set(error, GRV_UNAVAILABLE, "replicas", "others change them all the time");
    }
    if (status) {
        prefix_key(wanted->key, error);
    }
    return status;
}

static grv_status replica_index_kv_update(const grv_call *call, grv_replica_index *base,
                                          const grv_replica_key *key, const grv_locator_set *set,
                                          grv_error *error)
{
    change wanted = {.kind = CHANGE_UPDATE, .key = key, .set = set};
    return change_make(call, base, &wanted, error);
}

static grv_status replica_index_kv_add(const grv_call *call, grv_replica_index *base,
                                       const grv_replica_key *key, const grv_locator *locator,
                                       grv_error *error)
{
    change wanted = {.kind = CHANGE_ADD, .key = key, .locator = locator};
    return change_make(call, base, &wanted, error);
}

static grv_status replica_index_kv_remove(const grv_call *call, grv_replica_index *base,
                                          const grv_replica_key *key, const grv_locator *locator,
                                          grv_error *error)
{
    change wanted = {.kind = CHANGE_REMOVE, .key = key, .locator = locator};
    return change_make(call, base, &wanted, error);
}

static void replica_index_kv_free(grv_replica_index *base)
{
    free(grv_replica_index_kv_of(base));
}

static const grv_replica_index_ops replica_index_kv_ops = {
    .name = "kv",
    .replicas = replica_index_kv_replicas,
    .update = replica_index_kv_update,
    .add = replica_index_kv_add,
    .remove = replica_index_kv_remove,
    .open_list = grv_replica_index_kv_open_list,
    .free = replica_index_kv_free,
};

grv_status grv_replica_index_kv_new(grv_kv *kv, grv_replica_index **ret_index, grv_error *error)
{
    if (kv->namespace_count < GRV_NS_COUNT) {
        return grv_error_set(error, GRV_INVALID_ARGUMENT, "replicas",
                             "a key-value store of %u namespaces, want %d", kv->namespace_count,
                             (int)GRV_NS_COUNT);
    }
    grv_replica_index_kv *index = calloc(1, sizeof *index);
    if (!index) {
        return grv_error_set(error, GRV_LIMIT_EXCEEDED, "replicas", "no memory for an index");
    }
    index->kv = kv;
    grv_status status = grv_replica_index_init(&index->base, &replica_index_kv_ops, error);
    if (status) {
        free(index);
        return status;
    }
    *ret_index = &index->base;
    return GRV_OK;
}
