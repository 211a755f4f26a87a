/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Block store over any key-value store. Two rows a block, always written and deleted in one batch:
 * block -> the frame, block_info -> the frame's size. What asks whether a block is there, lists or
 * counts reads the small rows alone. docs/format.md has the bytes. Batches: block_batch.c;
 * quarantine: block_sweep.c.
 *
 * Contents: keys and coders; missing and get; remove; list and stats; the superblock; the table
 * and the constructor.
 */
#include "backend/kv/block_store.h"

#include "layer/verify.h"

#include <stdlib.h>
#include <string.h>

/* Blocks and bytes lent by the key-value store at once in a get. */
#define GET_BLOCKS 32u
#define GET_BYTES  (8u << 20)
/* Blocks removed in one batch. */
#define REMOVE_BLOCKS GRV_KV_BLOCK_ROUND

static const char superblock_key[] = "superblock";

/* --- Keys and coders --- */

void grv_kv_block_keys_fill(grv_kv_block_keys *keys, const grv_block_key *first, size_t stride,
                            size_t count)
{
    size_t i = 0;
    do {
        const void *key = (const uint8_t *)first + i * stride;
        grv_block_key_encode(key, keys->encoded[i]);
        keys->views[i] = grv_bytes_of(keys->encoded[i], GRV_KEY_BYTES_SIZE);
    } while (++i < count);
}

grv_frame_coder grv_kv_blocks_coder_take(grv_kv_blocks *blocks)
{
    grv_frame_coder coder = {0};
    pthread_mutex_lock(&blocks->lock);
    if (blocks->coder_count > 0) {
        coder = blocks->coders[--blocks->coder_count];
    }
    pthread_mutex_unlock(&blocks->lock);
    return coder;
}

void grv_kv_blocks_coder_give(grv_kv_blocks *blocks, grv_frame_coder coder)
{
    pthread_mutex_lock(&blocks->lock);
    if (blocks->coder_count < GRV_KV_BLOCK_CODERS) {
        blocks->coders[blocks->coder_count++] = coder;
        coder = (grv_frame_coder){0};
    }
    pthread_mutex_unlock(&blocks->lock);
    grv_frame_coder_done(&coder);
}

static grv_kv_blocks *blocks_of(grv_block_store *store)
{
    return (grv_kv_blocks *)store;
}

/* --- Missing and get --- */

static grv_status kv_block_missing(const grv_call *call, grv_block_store *store,
                                   const grv_block_key keys[], size_t count, bool ret_missing[],
                                   grv_error *error)
{
    grv_kv_block_keys round;
    for (size_t done = 0; done < count;) {
        size_t n = count - done < GRV_KV_BLOCK_ROUND ? count - done : GRV_KV_BLOCK_ROUND;
        grv_kv_block_keys_fill(&round, &keys[done], sizeof keys[0], n);
        grv_status status = grv_kv_missing(call, blocks_of(store)->kv, GRV_NS_BLOCK_INFO,
                                           round.views, n, ret_missing + done, error);
        if (status) {
            return status;
        }
        done += n;
    }
    return GRV_OK;
}

/* Unpacks the frame that is stored under `key` into `buffer`. */
static grv_status block_unpack(grv_frame_coder *coder, const grv_block_key *key, grv_bytes value,
                               grv_span buffer, grv_error *error)
{
    grv_frame frame;
    grv_status status = grv_frame_decode(value, &frame, error);
    if (!status && (frame.info.kind != GRV_FRAME_BLOCK || frame.raw_size != key->size ||
                    grv_digest_compare(&frame.info.digest, &key->digest) != 0)) {
        status = grv_error_set(error, GRV_CORRUPT, "kv", "its frame holds something else");
    }
    if (!status && frame.size != value.size) {
        status = grv_error_set(error, GRV_CORRUPT, "kv", "bytes after its frame");
    }
    return status ? status : grv_frame_unpack(coder, &frame, buffer, error);
}

/* Puts "block KEY" before the message. */
static grv_status block_blame(grv_status status, const grv_block_key *key, grv_error *error)
{
    char text[GRV_KEY_TEXT_SIZE];
    grv_block_key_print(key, text);
    grv_error_prefix(error, "block %s", text);
    return status;
}

/* One round of a get. Returns the first failure by index; *ret_failed where no value could be
 * asked for at all. */
static grv_status get_round(const grv_call *call, grv_kv_blocks *blocks, grv_frame_coder *coder,
                            const grv_block_key keys[], const grv_span buffers[], size_t count,
                            grv_status ret_statuses[], bool *ret_failed, grv_error *error)
{
    grv_kv_block_keys round;
    grv_value values[GET_BLOCKS] = {0};
    grv_kv_block_keys_fill(&round, keys, sizeof keys[0], count);
    grv_status first = grv_kv_multi_get(call, blocks->kv, GRV_NS_BLOCK, round.views, count, values,
                                        ret_statuses, error);
    *ret_failed = first;
    if (first) {
        return block_blame(first, &keys[0], error);
    }
    for (size_t i = 0; i < count; i++) {
        grv_error *where = first ? NULL : error;
        if (ret_statuses[i]) {
            grv_error_set(where, ret_statuses[i], "kv", "not in the store");
        } else {
            ret_statuses[i] = block_unpack(coder, &keys[i], values[i].bytes, buffers[i], where);
        }
        grv_value_done(&values[i]);
        if (ret_statuses[i] && !first) {
            first = block_blame(ret_statuses[i], &keys[i], error);
        }
    }
    return first;
}

static grv_status kv_block_get(const grv_call *call, grv_block_store *store,
                               const grv_block_key keys[], const grv_span buffers[], size_t count,
                               grv_status ret_statuses[], grv_error *error)
{
    grv_kv_blocks *blocks = blocks_of(store);
    grv_frame_coder coder = grv_kv_blocks_coder_take(blocks);
    grv_status first = GRV_OK;
    bool failed = false;
    for (size_t done = 0; done < count;) {
        size_t n = 0;
        size_t bytes = 0;
        while (n < GET_BLOCKS && done + n < count && (n == 0 || bytes < GET_BYTES)) {
            bytes += keys[done + n++].size;
        }
        grv_status status = get_round(call, blocks, &coder, keys + done, buffers + done, n,
                                      ret_statuses + done, &failed, first ? NULL : error);
        /* Where the store itself failed the later rounds would too. */
        for (size_t i = done; failed && i < count; i++) {
            ret_statuses[i] = status;
        }
        first = first ? first : status;
        done = failed ? count : done + n;
    }
    grv_kv_blocks_coder_give(blocks, coder);
    return first;
}

/* --- Remove --- */

static grv_status remove_round(const grv_call *call, grv_kv_blocks *blocks,
                               const grv_block_key keys[], size_t count, bool ret_removed[],
                               grv_durability durability, grv_error *error)
{
    grv_kv_block_keys round;
    grv_kv_op ops[2 * REMOVE_BLOCKS];
    grv_kv_block_keys_fill(&round, keys, sizeof keys[0], count);
    for (size_t i = 0; i < count; i++) {
        ops[2 * i] = (grv_kv_op){.kind = GRV_KV_DELETE, .ns = GRV_NS_BLOCK, .key = round.views[i]};
        ops[2 * i + 1] =
            (grv_kv_op){.kind = GRV_KV_DELETE, .ns = GRV_NS_BLOCK_INFO, .key = round.views[i]};
    }
    bool missing[REMOVE_BLOCKS];
    grv_status status =
        grv_kv_missing(call, blocks->kv, GRV_NS_BLOCK_INFO, round.views, count, missing, error);
    if (status) {
        return status;
    }
    grv_kv_batch batch = {
        .ops = ops, .op_count = 2 * count, .durability = durability, .frees = true};
    status = grv_kv_write(call, blocks->kv, &batch, error);
    for (size_t i = 0; !status && i < count; i++) {
        ret_removed[i] = !missing[i];
    }
    return status;
}

static grv_status kv_block_remove(const grv_call *call, grv_block_store *store,
                                  const grv_block_key keys[], size_t count, bool ret_removed[],
                                  grv_error *error)
{
    for (size_t done = 0; done < count;) {
        size_t n = count - done < REMOVE_BLOCKS ? count - done : REMOVE_BLOCKS;
        /* The last one's sync covers the ones before it. */
        grv_durability durability = done + n == count ? GRV_DURABLE : GRV_ORDERED;
        grv_status status = remove_round(call, blocks_of(store), keys + done, n, ret_removed + done,
                                         durability, error);
        if (status) {
            return status;
        }
        done += n;
    }
    return GRV_OK;
}

/* --- List and stats --- */

typedef struct kv_block_cursor {
    grv_block_cursor base;
    grv_kv_cursor *scan;
    bool after_given;
    grv_block_key after;
} kv_block_cursor;

static grv_status entry_decode(const grv_kv_item *item, grv_block_entry *ret_entry,
                               grv_error *error)
{
    grv_block_entry entry;
    grv_status status = grv_block_key_decode(item->key, &entry.key, error);
    if (status) {
        grv_error_prefix(error, "namespace block_info");
        return status;
    }
    const uint8_t *data = item->value.data;
    if (item->value.size != GRV_KV_BLOCK_INFO_SIZE) {
        status = grv_error_set(error, GRV_CORRUPT, "kv", "its block_info has %zu bytes, want %u",
                               item->value.size, GRV_KV_BLOCK_INFO_SIZE);
        return block_blame(status, &entry.key, error);
    }
    entry.stored_size = (uint64_t)data[0] | (uint64_t)data[1] << 8 | (uint64_t)data[2] << 16 |
                        (uint64_t)data[3] << 24;
    if (entry.stored_size <= GRV_FRAME_OVERHEAD || entry.stored_size > GRV_FRAME_SIZE_MAX) {
        status = grv_error_set(error, GRV_CORRUPT, "kv", "its block_info has a size out of range");
        return block_blame(status, &entry.key, error);
    }
    *ret_entry = entry;
    return GRV_OK;
}

static grv_status kv_cursor_next(const grv_call *call, grv_block_cursor *base,
                                 grv_block_entry entries[], size_t capacity, size_t *ret_count,
                                 grv_error *error)
{
    kv_block_cursor *cursor = (kv_block_cursor *)base;
    size_t count = 0;
    while (count < capacity) {
        grv_kv_item item;
        grv_status status = grv_kv_cursor_next(call, cursor->scan, &item, error);
        if (status == GRV_NOT_FOUND) {
            break;
        }
        if (!status) {
            status = entry_decode(&item, &entries[count], error);
        }
        if (status) {
            return status;
        }
        if (!cursor->after_given ||
            grv_block_key_compare(&entries[count].key, &cursor->after) > 0) {
            count++;
        }
    }
    *ret_count = count;
    return GRV_OK;
}

static void kv_cursor_free(grv_block_cursor *base)
{
    kv_block_cursor *cursor = (kv_block_cursor *)base;
    grv_kv_cursor_free(cursor->scan);
    free(cursor);
}

static const grv_block_cursor_ops kv_cursor_ops = {
    .name = "kv",
    .next = kv_cursor_next,
    .free = kv_cursor_free,
};

static grv_status kv_block_open_list(const grv_call *call, grv_block_store *store,
                                     const grv_block_key *after, grv_block_cursor **ret_cursor,
                                     grv_error *error)
{
    kv_block_cursor *cursor = calloc(1, sizeof *cursor);
    if (!cursor) {
        return grv_error_set(error, GRV_LIMIT_EXCEEDED, "kv", "no memory for a list");
    }
    cursor->base.ops = &kv_cursor_ops;
    uint8_t start[GRV_KEY_BYTES_SIZE];
    grv_kv_scan scan = {.ns = GRV_NS_BLOCK_INFO};
    if (after) {
        cursor->after_given = true;
        cursor->after = *after;
        grv_block_key_encode(after, start);
        scan.start = grv_bytes_of(start, sizeof start);
    }
    grv_status status = grv_kv_open_scan(call, blocks_of(store)->kv, &scan, &cursor->scan, error);
    if (status) {
        free(cursor);
        return status;
    }
    *ret_cursor = &cursor->base;
    return GRV_OK;
}

static grv_status kv_block_stats(const grv_call *call, grv_block_store *store,
                                 grv_block_stats *ret_stats, grv_error *error)
{
    grv_block_cursor *cursor = NULL;
    grv_status status = kv_block_open_list(call, store, NULL, &cursor, error);
    if (status) {
        return status;
    }
    grv_block_stats stats = {0};
    size_t got = 1;
    while (!status && got > 0) {
        grv_block_entry entries[64];
        status = grv_block_cursor_next(call, cursor, entries, 64, &got, error);
        for (size_t i = 0; !status && i < got; i++) {
            stats.blocks++;
            stats.raw_bytes += entries[i].key.size;
            stats.stored_bytes += entries[i].stored_size;
        }
    }
    grv_block_cursor_free(cursor);
    if (!status) {
        *ret_stats = stats;
    }
    return status;
}

static grv_status kv_block_flush(const grv_call *call, grv_block_store *store, grv_error *error)
{
    return grv_kv_flush(call, blocks_of(store)->kv, error);
}

/* --- The superblock --- */

static grv_status kv_superblock_get(const grv_call *call, grv_block_store *store, grv_buffer *out,
                                    grv_error *error)
{
    grv_value value = {0};
    grv_bytes key = grv_bytes_of(superblock_key, sizeof superblock_key - 1);
    grv_status status = grv_kv_get(call, blocks_of(store)->kv, GRV_NS_META, key, &value, error);
    if (status) {
        return status == GRV_NOT_FOUND
                   ? grv_error_set(error, status, "kv", "the block store has no superblock")
                   : status;
    }
    if (value.bytes.size < 1 || value.bytes.size > GRV_SUPERBLOCK_MAX) {
        status = grv_error_set(error, GRV_CORRUPT, "kv",
                               "the block store's superblock has %zu bytes, want 1 to %u",
                               value.bytes.size, GRV_SUPERBLOCK_MAX);
    } else {
        status = grv_buffer_append(out, value.bytes, error);
    }
    grv_value_done(&value);
    return status;
}

/* GRV_CONFLICT where the namespace has any key. */
static grv_status namespace_must_be_empty(const grv_call *call, grv_kv *kv, unsigned ns,
                                          grv_error *error)
{
    grv_kv_cursor *cursor = NULL;
    grv_kv_scan scan = {.ns = ns, .keys_only = true};
    grv_status status = grv_kv_open_scan(call, kv, &scan, &cursor, error);
    if (status) {
        return status;
    }
    grv_kv_item item;
    status = grv_kv_cursor_next(call, cursor, &item, error);
    grv_kv_cursor_free(cursor);
    if (status == GRV_NOT_FOUND) {
        return GRV_OK;
    }
    return status ? status
                  : grv_error_set(error, GRV_CONFLICT, "kv",
                                  "the block store has blocks but no superblock");
}

static grv_status kv_superblock_set(const grv_call *call, grv_block_store *store,
                                    const grv_bytes *expected, grv_bytes superblock,
                                    grv_error *error)
{
    grv_kv *kv = blocks_of(store)->kv;
    grv_bytes key = grv_bytes_of(superblock_key, sizeof superblock_key - 1);
    grv_kv_op op = {.kind = GRV_KV_PUT, .ns = GRV_NS_META, .key = key, .value = superblock};
    grv_kv_guard guard = {.kind = GRV_KV_ABSENT, .ns = GRV_NS_META, .key = key};
    grv_status status = GRV_OK;
    if (expected) {
        guard.kind = GRV_KV_EQUALS;
        guard.value = *expected;
    } else {
        status = namespace_must_be_empty(call, kv, GRV_NS_BLOCK_INFO, error);
        if (!status) {
            status = namespace_must_be_empty(call, kv, GRV_NS_BLOCK, error);
        }
    }
    if (status) {
        return status;
    }
    grv_kv_batch batch = {
        .ops = &op, .op_count = 1, .guards = &guard, .guard_count = 1, .durability = GRV_DURABLE};
    status = grv_kv_write(call, kv, &batch, error);
    if (status == GRV_CONFLICT) {
        grv_error_prefix(error, expected ? "the block store's superblock is not the one expected"
                                         : "the block store has a superblock already");
    }
    return status;
}

/* --- The table and the constructor --- */

static void kv_block_free(grv_block_store *store)
{
    grv_kv_blocks *blocks = blocks_of(store);
    for (size_t i = 0; i < blocks->coder_count; i++) {
        grv_frame_coder_done(&blocks->coders[i]);
    }
    pthread_mutex_destroy(&blocks->lock);
    free(blocks);
}

static const grv_block_store_ops kv_block_ops = {
    .name = "kv",
    .missing = kv_block_missing,
    .open_batch = grv_kv_blocks_open_batch,
    .get = kv_block_get,
    .remove = kv_block_remove,
    .quarantine = grv_kv_blocks_quarantine,
    .sweep = grv_kv_blocks_sweep,
    .open_list = kv_block_open_list,
    .flush = kv_block_flush,
    .stats = kv_block_stats,
    .superblock_get = kv_superblock_get,
    .superblock_set = kv_superblock_set,
    .free = kv_block_free,
};

grv_status grv_block_store_kv_new(grv_kv *kv, grv_block_store **ret_store, grv_error *error)
{
    if (kv->namespace_count <= GRV_NS_BLOCK_INFO) {
        return grv_error_set(error, GRV_INVALID_ARGUMENT, "kv",
                             "a key-value store of %u namespaces, a block store needs %d",
                             kv->namespace_count, GRV_NS_BLOCK_INFO + 1);
    }
    grv_kv_blocks *blocks = calloc(1, sizeof *blocks);
    if (!blocks) {
        return grv_error_set(error, GRV_LIMIT_EXCEEDED, "kv", "no memory for a block store");
    }
    grv_status status =
        grv_block_store_init(&blocks->base, &kv_block_ops, GRV_BLOCK_CAP_ORDERED, error);
    int failed = status ? 0 : pthread_mutex_init(&blocks->lock, NULL);
    if (failed) {
        status = grv_error_set_errno(error, failed, "kv", "cannot make a lock");
    }
    if (status) {
        free(blocks);
        return status;
    }
    blocks->kv = kv;
    return grv_block_store_verify_new(&blocks->base, ret_store, error);
}
