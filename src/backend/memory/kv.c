/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Key-value store in memory: a persistent map a namespace. A reader takes a reference to the
 * version it finds and then needs no lock; one writer at a time builds new versions beside the old
 * ones and publishes those of a whole batch at once. So no lock is held while anything is searched
 * or freed, and a cursor is a snapshot for as long as it lives.
 */
#include "backend/memory/tree.h"

#include <graviton/backend/memory.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

typedef struct memory_kv {
    grv_kv base;
    pthread_mutex_t writer; /* serialises batches; guards `edits` and `random` */
    pthread_mutex_t lock;   /* guards `roots`; held for pointer work only */
    uint64_t edits;
    uint64_t random;
    grv_tree_node *roots[GRV_KV_NAMESPACE_MAX];
} memory_kv;

typedef struct memory_cursor {
    grv_kv_cursor base;
    grv_tree_node *root; /* the snapshot */
    const grv_tree_entry *last;
    bool reverse;
    bool keys_only;
    bool ended;
    grv_bytes prefix; /* in `bytes` */
    grv_bytes start;
    uint8_t bytes[];
} memory_cursor;

static const grv_kv_ops memory_kv_ops;
static const grv_kv_cursor_ops memory_cursor_ops;

static grv_tree_node *snapshot(memory_kv *kv, unsigned ns)
{
    pthread_mutex_lock(&kv->lock);
    grv_tree_node *root = grv_tree_ref(kv->roots[ns]);
    pthread_mutex_unlock(&kv->lock);
    return root;
}

static void release_entry(void *owner)
{
    grv_tree_entry_unref(owner);
}

static grv_value lend(grv_tree_entry *entry)
{
    return (grv_value){.bytes = grv_tree_entry_value(entry),
                       .release = release_entry,
                       .owner = grv_tree_entry_ref(entry)};
}

static grv_status memory_kv_get(const grv_call *call, grv_kv *base, unsigned ns, grv_bytes key,
                                grv_value *ret_value, grv_error *error)
{
    grv_status status = grv_call_check(call, "memory", error);
    if (status) {
        return status;
    }
    grv_tree_node *root = snapshot((memory_kv *)base, ns);
    grv_tree_entry *entry = grv_tree_find(root, key);
    if (entry) {
        *ret_value = lend(entry);
    } else {
        status = grv_error_set(error, GRV_NOT_FOUND, "memory", "no such key");
    }
    grv_tree_unref(root);
    return status;
}

static grv_status memory_kv_multi_get(const grv_call *call, grv_kv *base, unsigned ns,
                                      const grv_bytes keys[], size_t count, grv_value ret_values[],
                                      grv_status ret_statuses[], grv_error *error)
{
    grv_status status = grv_call_check(call, "memory", error);
    if (status) {
        return status;
    }
    grv_tree_node *root = snapshot((memory_kv *)base, ns);
    for (size_t i = 0; i < count; i++) {
        grv_tree_entry *entry = grv_tree_find(root, keys[i]);
        ret_values[i] = entry ? lend(entry) : (grv_value){0};
        ret_statuses[i] = entry ? GRV_OK : GRV_NOT_FOUND;
    }
    grv_tree_unref(root);
    return GRV_OK;
}

static grv_status memory_kv_missing(const grv_call *call, grv_kv *base, unsigned ns,
                                    const grv_bytes keys[], size_t count, bool ret_missing[],
                                    grv_error *error)
{
    grv_status status = grv_call_check(call, "memory", error);
    if (status) {
        return status;
    }
    grv_tree_node *root = snapshot((memory_kv *)base, ns);
    for (size_t i = 0; i < count; i++) {
        ret_missing[i] = !grv_tree_find(root, keys[i]);
    }
    grv_tree_unref(root);
    return GRV_OK;
}

static bool guard_holds(grv_tree_node *const roots[], const grv_kv_guard *guard)
{
    const grv_tree_entry *entry = grv_tree_find(roots[guard->ns], guard->key);
    switch (guard->kind) {
    case GRV_KV_ABSENT:
        return !entry;
    case GRV_KV_PRESENT:
        return entry;
    case GRV_KV_EQUALS:
        return entry && grv_bytes_compare(grv_tree_entry_value(entry), guard->value) == 0;
    }
    return false;
}

static grv_status apply_op(grv_tree_edit *edit, grv_tree_node *roots[], const grv_kv_op *op,
                           grv_error *error)
{
    switch (op->kind) {
    case GRV_KV_PUT:
        return grv_tree_put(edit, &roots[op->ns], op->key, op->value, error);
    case GRV_KV_DELETE:
        return grv_tree_remove(edit, &roots[op->ns], op->key, error);
    case GRV_KV_DELETE_RANGE:
        return grv_tree_remove_range(edit, &roots[op->ns], op->key, op->end, error);
    }
    return grv_error_set(error, GRV_INTERNAL, "memory", "no operation %d", (int)op->kind);
}

/* Guards, then operations, on versions of the writer's own. */
static grv_status apply_batch(memory_kv *kv, const grv_kv_batch *batch, grv_tree_node *roots[],
                              grv_error *error)
{
    for (size_t i = 0; i < batch->guard_count; i++) {
        if (!guard_holds(roots, &batch->guards[i])) {
            return grv_error_set(error, GRV_CONFLICT, "memory", "guard %zu of %zu does not hold",
                                 i + 1, batch->guard_count);
        }
    }
    grv_tree_edit edit = {.id = ++kv->edits, .random = &kv->random};
    for (size_t i = 0; i < batch->op_count; i++) {
        grv_status status = apply_op(&edit, roots, &batch->ops[i], error);
        if (status) {
            return status;
        }
    }
    return GRV_OK;
}

static grv_status memory_kv_write(const grv_call *call, grv_kv *base, const grv_kv_batch *batch,
                                  grv_error *error)
{
    memory_kv *kv = (memory_kv *)base;
    grv_status status = grv_call_check(call, "memory", error);
    if (status) {
        return status;
    }
    unsigned count = base->namespace_count;
    grv_tree_node *roots[GRV_KV_NAMESPACE_MAX];
    pthread_mutex_lock(&kv->writer);
    for (unsigned ns = 0; ns < count; ns++) {
        roots[ns] = snapshot(kv, ns); /* one batch's versions: only a writer changes them */
    }
    status = apply_batch(kv, batch, roots, error);
    if (!status) {
        pthread_mutex_lock(&kv->lock);
        for (unsigned ns = 0; ns < count; ns++) {
            grv_tree_node *old = kv->roots[ns];
            kv->roots[ns] = roots[ns];
            roots[ns] = old;
        }
        pthread_mutex_unlock(&kv->lock);
    }
    pthread_mutex_unlock(&kv->writer);
    for (unsigned ns = 0; ns < count; ns++) {
        grv_tree_unref(roots[ns]);
    }
    return status;
}

static grv_status memory_kv_open_scan(const grv_call *call, grv_kv *base, const grv_kv_scan *scan,
                                      grv_kv_cursor **ret_cursor, grv_error *error)
{
    grv_status status = grv_call_check(call, "memory", error);
    if (status) {
        return status;
    }
    memory_cursor *cursor = malloc(sizeof *cursor + scan->prefix.size + scan->start.size);
    if (!cursor) {
        return grv_error_set(error, GRV_LIMIT_EXCEEDED, "memory", "no memory for a cursor");
    }
    *cursor = (memory_cursor){
        .base.ops = &memory_cursor_ops,
        .root = snapshot((memory_kv *)base, scan->ns),
        .reverse = scan->reverse,
        .keys_only = scan->keys_only,
        .prefix = {cursor->bytes, scan->prefix.size},
        .start = {cursor->bytes + scan->prefix.size, scan->start.size},
    };
    if (scan->prefix.size) {
        memcpy(cursor->bytes, scan->prefix.data, scan->prefix.size);
    }
    if (scan->start.size) {
        memcpy(cursor->bytes + scan->prefix.size, scan->start.data, scan->start.size);
    }
    *ret_cursor = &cursor->base;
    return GRV_OK;
}

static grv_status memory_kv_flush(const grv_call *call, grv_kv *base, grv_error *error)
{
    (void)base;
    return grv_call_check(call, "memory", error);
}

static void memory_kv_free(grv_kv *base)
{
    memory_kv *kv = (memory_kv *)base;
    for (unsigned ns = 0; ns < base->namespace_count; ns++) {
        grv_tree_unref(kv->roots[ns]);
    }
    pthread_mutex_destroy(&kv->lock);
    pthread_mutex_destroy(&kv->writer);
    free(kv);
}

/* Where `key` lies against the keys that begin with `prefix`: before <0, among 0, behind >0. */
static int compare_prefix(grv_bytes key, grv_bytes prefix)
{
    if (key.size > prefix.size) {
        key.size = prefix.size;
    }
    return grv_bytes_compare(key, prefix);
}

/* True from the first key that a forward scan has yet to show. */
static bool forward_test(grv_bytes key, const void *context)
{
    const memory_cursor *cursor = context;
    if (cursor->last) {
        return grv_bytes_compare(key, grv_tree_entry_key(cursor->last)) > 0;
    }
    return compare_prefix(key, cursor->prefix) >= 0 && grv_bytes_compare(key, cursor->start) >= 0;
}

/* True up to the first key that a reverse scan has yet to show. */
static bool reverse_test(grv_bytes key, const void *context)
{
    const memory_cursor *cursor = context;
    if (cursor->last) {
        return grv_bytes_compare(key, grv_tree_entry_key(cursor->last)) < 0;
    }
    return compare_prefix(key, cursor->prefix) <= 0 &&
           (cursor->start.size == 0 || grv_bytes_compare(key, cursor->start) <= 0);
}

static grv_status memory_cursor_next(const grv_call *call, grv_kv_cursor *base,
                                     grv_kv_item *ret_item, grv_error *error)
{
    memory_cursor *cursor = (memory_cursor *)base;
    grv_status status = grv_call_check(call, "memory", error);
    if (status) {
        return status;
    }
    const grv_tree_entry *entry = NULL;
    if (!cursor->ended) {
        entry = cursor->reverse ? grv_tree_last(cursor->root, reverse_test, cursor)
                                : grv_tree_first(cursor->root, forward_test, cursor);
    }
    if (!entry || compare_prefix(grv_tree_entry_key(entry), cursor->prefix) != 0) {
        cursor->ended = true;
        return grv_error_set(error, GRV_NOT_FOUND, "memory", "end of the scan");
    }
    cursor->last = entry;
    ret_item->key = grv_tree_entry_key(entry);
    ret_item->value = cursor->keys_only ? (grv_bytes){0} : grv_tree_entry_value(entry);
    return GRV_OK;
}

static void memory_cursor_free(grv_kv_cursor *base)
{
    memory_cursor *cursor = (memory_cursor *)base;
    grv_tree_unref(cursor->root);
    free(cursor);
}

static const grv_kv_ops memory_kv_ops = {
    .name = "memory",
    .get = memory_kv_get,
    .multi_get = memory_kv_multi_get,
    .missing = memory_kv_missing,
    .write = memory_kv_write,
    .open_scan = memory_kv_open_scan,
    .flush = memory_kv_flush,
    .free = memory_kv_free,
};

static const grv_kv_cursor_ops memory_cursor_ops = {
    .name = "memory",
    .next = memory_cursor_next,
    .free = memory_cursor_free,
};

grv_status grv_kv_memory_new(unsigned namespace_count, grv_kv **ret_kv, grv_error *error)
{
    memory_kv *kv = calloc(1, sizeof *kv);
    if (!kv) {
        return grv_error_set(error, GRV_LIMIT_EXCEEDED, "memory", "no memory for a store");
    }
    grv_status status = grv_kv_init(&kv->base, &memory_kv_ops, namespace_count, error);
    if (status) {
        free(kv);
        return status;
    }
    int failed = pthread_mutex_init(&kv->writer, NULL);
    if (failed) {
        free(kv);
        return grv_error_set_errno(error, failed, "memory", "cannot make a lock");
    }
    failed = pthread_mutex_init(&kv->lock, NULL);
    if (failed) {
        pthread_mutex_destroy(&kv->writer);
        free(kv);
        return grv_error_set_errno(error, failed, "memory", "cannot make a lock");
    }
    kv->base.whole_scans = true;
    *ret_kv = &kv->base;
    return GRV_OK;
}
