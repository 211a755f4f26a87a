/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Block store in memory. Blocks are immutable and counted by reference, so a batch can hold one
 * that the store has without copying it, and its commit needs no memory it might not get: the
 * table is grown first, then every block goes in under one lock. Nothing is visible before that.
 *
 * Contents: counted blocks; the table of blocks; the store's operations; the batch; the list; the
 * tables and the constructor.
 */
#include "layer/verify.h"

#include <graviton/backend/memory.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

/* --- Counted blocks --- */

typedef struct memory_block {
    grv_block_key key;
    unsigned references; /* atomic */
    uint8_t bytes[];
} memory_block;

static memory_block *memory_block_new(const grv_block *from)
{
    memory_block *block = malloc(sizeof *block + from->bytes.size);
    if (block) {
        block->key = from->key;
        block->references = 1;
        memcpy(block->bytes, from->bytes.data, from->bytes.size);
    }
    return block;
}

static memory_block *memory_block_ref(memory_block *block)
{
    __atomic_fetch_add(&block->references, 1, __ATOMIC_RELAXED);
    return block;
}

static void memory_block_unref(memory_block *block)
{
    if (block && __atomic_sub_fetch(&block->references, 1, __ATOMIC_ACQ_REL) == 0) {
        free(block);
    }
}

/* --- The table of blocks: open addressing, at most half full --- */

typedef struct memory_table {
    memory_block **slots;
    size_t capacity; /* a power of two, or 0 */
    size_t count;
} memory_table;

static size_t table_home(const memory_table *table, const grv_block_key *key)
{
    size_t hash;
    memcpy(&hash, key->digest.bytes, sizeof hash);
    return (hash ^ key->size) & (table->capacity - 1);
}

/* The slot that holds `key`, or the empty one where it would go. The table has a slot. */
static size_t table_slot(const memory_table *table, const grv_block_key *key)
{
    size_t i = table_home(table, key);
    while (table->slots[i] && grv_block_key_compare(&table->slots[i]->key, key) != 0) {
        i = (i + 1) & (table->capacity - 1);
    }
    return i;
}

static memory_block *table_find(const memory_table *table, const grv_block_key *key)
{
    return table->capacity ? table->slots[table_slot(table, key)] : NULL;
}

/* Makes room for `more` blocks, so that as many table_insert calls cannot fail. */
static grv_status table_reserve(memory_table *table, size_t more, grv_error *error)
{
    size_t capacity = table->capacity ? table->capacity : 64;
    while (capacity / 2 < table->count + more) {
        capacity *= 2;
    }
    if (capacity == table->capacity) {
        return GRV_OK;
    }
    memory_table grown = {.capacity = capacity, .count = table->count};
    grown.slots = calloc(capacity, sizeof(memory_block *));
    if (!grown.slots) {
        return grv_error_set(error, GRV_LIMIT_EXCEEDED, "memory", "no memory for %zu blocks",
                             table->count + more);
    }
    for (size_t i = 0; i < table->capacity; i++) {
        if (table->slots[i]) {
            grown.slots[table_slot(&grown, &table->slots[i]->key)] = table->slots[i];
        }
    }
    free(table->slots);
    *table = grown;
    return GRV_OK;
}

/* Takes one reference over. False, and nothing taken, where the key is there already. */
static bool table_insert(memory_table *table, memory_block *block)
{
    size_t i = table_slot(table, &block->key);
    if (table->slots[i]) {
        return false;
    }
    table->slots[i] = block;
    table->count++;
    return true;
}

/* Takes `key` out and returns the table's reference to it, or NULL. */
static memory_block *table_remove(memory_table *table, const grv_block_key *key)
{
    memory_block *removed = table_find(table, key);
    if (!removed) {
        return NULL;
    }
    size_t hole = table_slot(table, key);
    table->slots[hole] = NULL;
    table->count--;
    /* Whoever was pushed past the hole by a collision is put in again, so that no probe ends
     * early. */
    for (size_t i = (hole + 1) & (table->capacity - 1); table->slots[i];
         i = (i + 1) & (table->capacity - 1)) {
        memory_block *moved = table->slots[i];
        table->slots[i] = NULL;
        table->slots[table_slot(table, &moved->key)] = moved;
    }
    return removed;
}

static void table_done(memory_table *table)
{
    for (size_t i = 0; i < table->capacity; i++) {
        memory_block_unref(table->slots[i]);
    }
    free(table->slots);
}

/* --- The store --- */

typedef struct memory_store {
    grv_block_store base;
    pthread_rwlock_t lock; /* guards all below */
    memory_table blocks;
    memory_table aside; /* blocks in quarantine */
    uint64_t raw_bytes;
    size_t superblock_size;
    uint8_t superblock[GRV_SUPERBLOCK_MAX];
} memory_store;

static memory_store *memory_of(grv_block_store *store)
{
    return (memory_store *)store;
}

static grv_status memory_block_missing(const grv_call *call, grv_block_store *store,
                                       const grv_block_key keys[], size_t count, bool ret_missing[],
                                       grv_error *error)
{
    grv_status status = grv_call_check(call, "memory", error);
    if (status) {
        return status;
    }
    memory_store *memory = memory_of(store);
    pthread_rwlock_rdlock(&memory->lock);
    for (size_t i = 0; i < count; i++) {
        ret_missing[i] = !table_find(&memory->blocks, &keys[i]);
    }
    pthread_rwlock_unlock(&memory->lock);
    return GRV_OK;
}

static grv_status memory_block_get(const grv_call *call, grv_block_store *store,
                                   const grv_block_key keys[], const grv_span buffers[],
                                   size_t count, grv_status ret_statuses[], grv_error *error)
{
    memory_store *memory = memory_of(store);
    grv_status first = GRV_OK;
    for (size_t i = 0; i < count; i++) {
        ret_statuses[i] = grv_call_check(call, "memory", first ? NULL : error);
        if (!ret_statuses[i]) {
            pthread_rwlock_rdlock(&memory->lock);
            memory_block *block = table_find(&memory->blocks, &keys[i]);
            if (block) {
                memcpy(buffers[i].data, block->bytes, keys[i].size);
            }
            pthread_rwlock_unlock(&memory->lock);
            if (!block) {
                char text[GRV_KEY_TEXT_SIZE];
                grv_block_key_print(&keys[i], text);
                ret_statuses[i] = grv_error_set(first ? NULL : error, GRV_NOT_FOUND, "memory",
                                                "block %s: not in the store", text);
            }
        }
        first = first ? first : ret_statuses[i];
    }
    return first;
}

static grv_status memory_block_remove(const grv_call *call, grv_block_store *store,
                                      const grv_block_key keys[], size_t count, bool ret_removed[],
                                      grv_error *error)
{
    grv_status status = grv_call_check(call, "memory", error);
    if (status) {
        return status;
    }
    memory_store *memory = memory_of(store);
    pthread_rwlock_wrlock(&memory->lock);
    for (size_t i = 0; i < count; i++) {
        memory_block *removed = table_remove(&memory->blocks, &keys[i]);
        ret_removed[i] = removed;
        if (removed) {
            memory->raw_bytes -= removed->key.size;
            memory_block_unref(removed);
        }
    }
    pthread_rwlock_unlock(&memory->lock);
    return GRV_OK;
}

static grv_status memory_block_quarantine(const grv_call *call, grv_block_store *store,
                                          const grv_block_key keys[], size_t count,
                                          bool ret_moved[], grv_error *error)
{
    grv_status status = grv_call_check(call, "memory", error);
    if (status) {
        return status;
    }
    memory_store *memory = memory_of(store);
    pthread_rwlock_wrlock(&memory->lock);
    status = table_reserve(&memory->aside, count, error);
    for (size_t i = 0; i < count && !status; i++) {
        memory_block *moved = table_remove(&memory->blocks, &keys[i]);
        ret_moved[i] = moved;
        if (moved) {
            memory->raw_bytes -= moved->key.size;
            memory_block_unref(table_remove(&memory->aside, &keys[i]));
            table_insert(&memory->aside, moved);
        }
    }
    pthread_rwlock_unlock(&memory->lock);
    return status;
}

/* What a put leaves in memory goes with its batch: only copies set aside can be in excess. */
static grv_status memory_block_sweep(const grv_call *call, grv_block_store *store, bool dry_run,
                                     grv_block_sweep *ret_sweep, grv_error *error)
{
    grv_status status = grv_call_check(call, "memory", error);
    if (status) {
        return status;
    }
    memory_store *memory = memory_of(store);
    grv_block_sweep sweep = {0};
    pthread_rwlock_wrlock(&memory->lock);
    size_t i = 0;
    while (i < memory->aside.capacity) {
        memory_block *aside = memory->aside.slots[i];
        if (!aside || !table_find(&memory->blocks, &aside->key)) {
            i++;
            continue;
        }
        sweep.aside++;
        sweep.aside_bytes += aside->key.size;
        if (dry_run) {
            i++;
        } else { /* another block may come to lie in this slot: look at it again */
            memory_block_unref(table_remove(&memory->aside, &aside->key));
        }
    }
    pthread_rwlock_unlock(&memory->lock);
    *ret_sweep = sweep;
    return GRV_OK;
}

static grv_status memory_block_flush(const grv_call *call, grv_block_store *store, grv_error *error)
{
    (void)store;
    return grv_call_check(call, "memory", error);
}

static grv_status memory_block_stats(const grv_call *call, grv_block_store *store,
                                     grv_block_stats *ret_stats, grv_error *error)
{
    grv_status status = grv_call_check(call, "memory", error);
    if (status) {
        return status;
    }
    memory_store *memory = memory_of(store);
    pthread_rwlock_rdlock(&memory->lock);
    *ret_stats = (grv_block_stats){.blocks = memory->blocks.count,
                                   .raw_bytes = memory->raw_bytes,
                                   .stored_bytes = memory->raw_bytes};
    pthread_rwlock_unlock(&memory->lock);
    return GRV_OK;
}

static grv_status memory_superblock_get(const grv_call *call, grv_block_store *store,
                                        grv_buffer *out, grv_error *error)
{
    grv_status status = grv_call_check(call, "memory", error);
    if (status) {
        return status;
    }
    memory_store *memory = memory_of(store);
    pthread_rwlock_rdlock(&memory->lock);
    if (memory->superblock_size == 0) {
        status = grv_error_set(error, GRV_NOT_FOUND, "memory", "the store has no superblock");
    } else {
        status = grv_buffer_append(out, grv_bytes_of(memory->superblock, memory->superblock_size),
                                   error);
    }
    pthread_rwlock_unlock(&memory->lock);
    return status;
}

/* Whether the superblock may be replaced. The lock is held. */
static grv_status superblock_check(const memory_store *memory, const grv_bytes *expected,
                                   grv_error *error)
{
    if (!expected && (memory->superblock_size > 0 || memory->blocks.count > 0)) {
        return grv_error_set(error, GRV_CONFLICT, "memory",
                             memory->superblock_size > 0
                                 ? "the store has a superblock already"
                                 : "the store has blocks but no superblock");
    }
    if (expected &&
        grv_bytes_compare(*expected, grv_bytes_of(memory->superblock, memory->superblock_size))) {
        return grv_error_set(error, GRV_CONFLICT, "memory",
                             "the store's superblock is not the one expected");
    }
    return GRV_OK;
}

static grv_status memory_superblock_set(const grv_call *call, grv_block_store *store,
                                        const grv_bytes *expected, grv_bytes superblock,
                                        grv_error *error)
{
    grv_status status = grv_call_check(call, "memory", error);
    if (status) {
        return status;
    }
    memory_store *memory = memory_of(store);
    pthread_rwlock_wrlock(&memory->lock);
    status = superblock_check(memory, expected, error);
    if (!status) {
        memcpy(memory->superblock, superblock.data, superblock.size);
        memory->superblock_size = superblock.size;
    }
    pthread_rwlock_unlock(&memory->lock);
    return status;
}

static void memory_block_free(grv_block_store *store)
{
    memory_store *memory = memory_of(store);
    table_done(&memory->blocks);
    table_done(&memory->aside);
    pthread_rwlock_destroy(&memory->lock);
    free(memory);
}

/* --- The batch --- */

typedef struct memory_batch {
    grv_block_batch base;
    memory_store *store;
    pthread_mutex_t lock; /* guards all below */
    memory_table own;     /* the batch's distinct blocks; entries point into it */
    memory_block **entries;
    size_t count;
    size_t capacity;
} memory_batch;

/* A reference to the block of each: the store's own where it has it, else a copy. */
static grv_status memory_batch_hold(memory_batch *batch, const grv_block blocks[], size_t count,
                                    memory_block *held[], grv_error *error)
{
    memory_store *memory = batch->store;
    for (size_t i = 0; i < count; i++) {
        pthread_rwlock_rdlock(&memory->lock);
        memory_block *block = table_find(&memory->blocks, &blocks[i].key);
        held[i] = block ? memory_block_ref(block) : NULL;
        pthread_rwlock_unlock(&memory->lock);
        if (!held[i]) {
            held[i] = memory_block_new(&blocks[i]);
        }
        if (!held[i]) {
            return grv_error_set(error, GRV_LIMIT_EXCEEDED, "memory",
                                 "no memory for a block of %u bytes", blocks[i].key.size);
        }
    }
    return GRV_OK;
}

/* Appends the held blocks to the batch, which takes their references. The batch is locked. */
static grv_status memory_batch_append(memory_batch *batch, memory_block *held[], size_t count,
                                      size_t *ret_first, grv_error *error)
{
    grv_status status = table_reserve(&batch->own, count, error);
    if (status) {
        return status;
    }
    if (count > batch->capacity - batch->count) {
        size_t capacity =
            batch->capacity * 2 > batch->count + count ? batch->capacity * 2 : batch->count + count;
        memory_block **entries = realloc(batch->entries, capacity * sizeof(memory_block *));
        if (!entries) {
            return grv_error_set(error, GRV_LIMIT_EXCEEDED, "memory",
                                 "no memory for a batch of %zu blocks", capacity);
        }
        batch->entries = entries;
        batch->capacity = capacity;
    }
    *ret_first = batch->count;
    for (size_t i = 0; i < count; i++) {
        if (!table_insert(&batch->own, held[i])) {
            memory_block *twin = table_find(&batch->own, &held[i]->key);
            memory_block_unref(held[i]);
            held[i] = twin;
        }
        batch->entries[batch->count++] = held[i];
    }
    return GRV_OK;
}

static grv_status memory_batch_put(const grv_call *call, grv_block_batch *base,
                                   const grv_block blocks[], size_t count, size_t *ret_first,
                                   grv_error *error)
{
    grv_status status = grv_call_check(call, "memory", error);
    if (status) {
        return status;
    }
    memory_batch *batch = (memory_batch *)base;
    memory_block **held = calloc(count, sizeof(memory_block *));
    if (!held) {
        return grv_error_set(error, GRV_LIMIT_EXCEEDED, "memory", "no memory for %zu blocks",
                             count);
    }
    status = memory_batch_hold(batch, blocks, count, held, error);
    if (!status) {
        pthread_mutex_lock(&batch->lock);
        status = memory_batch_append(batch, held, count, ret_first, error);
        pthread_mutex_unlock(&batch->lock);
    }
    if (status) {
        for (size_t i = 0; i < count; i++) {
            memory_block_unref(held[i]);
        }
    }
    free(held);
    return status;
}

static grv_status memory_batch_note(const grv_call *call, grv_block_batch *base, grv_bytes record,
                                    grv_error *error)
{
    (void)call;
    (void)base;
    (void)record;
    return grv_error_set(error, GRV_UNSUPPORTED, "memory", "no recovery records in memory");
}

static grv_status memory_batch_commit(const grv_call *call, grv_block_batch *base,
                                      grv_durability durability, grv_block_result ret_results[],
                                      size_t count, grv_error *error)
{
    (void)durability;
    grv_status status = grv_call_check(call, "memory", error);
    if (status) {
        return status;
    }
    memory_batch *batch = (memory_batch *)base;
    memory_store *memory = batch->store;
    pthread_rwlock_wrlock(&memory->lock);
    status = table_reserve(&memory->blocks, batch->own.count, error);
    for (size_t i = 0; !status && i < count; i++) {
        memory_block *block = batch->entries[i];
        bool fresh = table_insert(&memory->blocks, block);
        if (fresh) {
            memory_block_ref(block);
            memory->raw_bytes += block->key.size;
        }
        ret_results[i] = (grv_block_result){
            .outcome = fresh ? GRV_BLOCK_FRESH : GRV_BLOCK_DUPLICATE,
            .stored_size = fresh ? block->key.size : 0,
        };
    }
    pthread_rwlock_unlock(&memory->lock);
    return status;
}

static void memory_batch_free(grv_block_batch *base)
{
    memory_batch *batch = (memory_batch *)base;
    table_done(&batch->own);
    free(batch->entries);
    pthread_mutex_destroy(&batch->lock);
    free(batch);
}

static const grv_block_batch_ops memory_batch_ops = {
    .name = "memory",
    .put = memory_batch_put,
    .note = memory_batch_note,
    .commit = memory_batch_commit,
    .free = memory_batch_free,
};

static grv_status memory_open_batch(const grv_call *call, grv_block_store *store,
                                    grv_block_batch **ret_batch, grv_error *error)
{
    grv_status status = grv_call_check(call, "memory", error);
    if (status) {
        return status;
    }
    memory_batch *batch = calloc(1, sizeof *batch);
    if (!batch) {
        return grv_error_set(error, GRV_LIMIT_EXCEEDED, "memory", "no memory for a batch");
    }
    int failed = pthread_mutex_init(&batch->lock, NULL);
    if (failed) {
        free(batch);
        return grv_error_set_errno(error, failed, "memory", "cannot make a lock");
    }
    batch->base.ops = &memory_batch_ops;
    batch->store = memory_of(store);
    *ret_batch = &batch->base;
    return GRV_OK;
}

/* --- The list: the keys there were when it was opened, sorted --- */

typedef struct memory_cursor {
    grv_block_cursor base;
    size_t next;
    size_t count;
    grv_block_key keys[];
} memory_cursor;

static int key_order(const void *a, const void *b)
{
    return grv_block_key_compare(a, b);
}

static grv_status memory_cursor_next(const grv_call *call, grv_block_cursor *base,
                                     grv_block_entry entries[], size_t capacity, size_t *ret_count,
                                     grv_error *error)
{
    grv_status status = grv_call_check(call, "memory", error);
    if (status) {
        return status;
    }
    memory_cursor *cursor = (memory_cursor *)base;
    size_t left = cursor->count - cursor->next;
    size_t count = left < capacity ? left : capacity;
    for (size_t i = 0; i < count; i++) {
        const grv_block_key *key = &cursor->keys[cursor->next++];
        entries[i] = (grv_block_entry){.key = *key, .stored_size = key->size};
    }
    *ret_count = count;
    return GRV_OK;
}

static void memory_cursor_free(grv_block_cursor *cursor)
{
    free(cursor);
}

static const grv_block_cursor_ops memory_cursor_ops = {
    .name = "memory",
    .next = memory_cursor_next,
    .free = memory_cursor_free,
};

static grv_status memory_open_list(const grv_call *call, grv_block_store *store,
                                   const grv_block_key *after, grv_block_cursor **ret_cursor,
                                   grv_error *error)
{
    grv_status status = grv_call_check(call, "memory", error);
    if (status) {
        return status;
    }
    memory_store *memory = memory_of(store);
    pthread_rwlock_rdlock(&memory->lock);
    memory_cursor *cursor = malloc(sizeof *cursor + memory->blocks.count * sizeof(grv_block_key));
    if (!cursor) {
        status = grv_error_set(error, GRV_LIMIT_EXCEEDED, "memory",
                               "no memory for a list of %zu blocks", memory->blocks.count);
        pthread_rwlock_unlock(&memory->lock);
        return status;
    }
    *cursor = (memory_cursor){.base.ops = &memory_cursor_ops};
    for (size_t i = 0; i < memory->blocks.capacity; i++) {
        const memory_block *block = memory->blocks.slots[i];
        if (block && (!after || grv_block_key_compare(&block->key, after) > 0)) {
            cursor->keys[cursor->count++] = block->key;
        }
    }
    pthread_rwlock_unlock(&memory->lock);
    qsort(cursor->keys, cursor->count, sizeof(grv_block_key), key_order);
    *ret_cursor = &cursor->base;
    return GRV_OK;
}

/* --- The table and the constructor --- */

static const grv_block_store_ops memory_block_ops = {
    .name = "memory",
    .missing = memory_block_missing,
    .open_batch = memory_open_batch,
    .get = memory_block_get,
    .remove = memory_block_remove,
    .quarantine = memory_block_quarantine,
    .sweep = memory_block_sweep,
    .open_list = memory_open_list,
    .flush = memory_block_flush,
    .stats = memory_block_stats,
    .superblock_get = memory_superblock_get,
    .superblock_set = memory_superblock_set,
    .free = memory_block_free,
};

grv_status grv_block_store_memory_new(grv_block_store **ret_store, grv_error *error)
{
    memory_store *memory = calloc(1, sizeof *memory);
    if (!memory) {
        return grv_error_set(error, GRV_LIMIT_EXCEEDED, "memory", "no memory for a block store");
    }
    grv_status status =
        grv_block_store_init(&memory->base, &memory_block_ops, GRV_BLOCK_CAP_ORDERED, error);
    int failed = status ? 0 : pthread_rwlock_init(&memory->lock, NULL);
    if (failed) {
        status = grv_error_set_errno(error, failed, "memory", "cannot make a lock");
    }
    if (status) {
        free(memory);
        return status;
    }
    return grv_block_store_verify_new(&memory->base, ret_store, error);
}
