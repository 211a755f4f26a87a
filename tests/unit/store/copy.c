/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Copies of blobs between stores of different kinds, whole or not at all; what is taken up after a
 * copy that was cut short; and the question which blobs are there, against one stat a blob.
 */
#include "store/handle.h"
#include "store_rig.h"

#include <graviton/backend/kv.h>
#include <pthread.h>

#define LARGE ((size_t)24 << 20)

static const grv_copy_config plain = {0};

/* Opens a store in memory that cuts every `size` bytes. */
static grv_store *open_fixed(uint32_t size, grv_hash hash)
{
    grv_error error = GRV_ERROR_INIT;
    const grv_chunker_spec chunker = {.kind = GRV_CHUNKER_FIXED, .size = size};
    const grv_store_config config = {
        .directory = "memory:", .create = true, .hash = hash, .chunker = &chunker, .threads = 2};
    grv_store *store = NULL;
    assert_grv_ok(grv_store_open(NULL, &config, &store, &error));
    return store;
}

static grv_status copy(grv_store *source, grv_store *target, const grv_blob_key *key,
                       grv_copy_result *result)
{
    grv_error error = GRV_ERROR_INIT;
    return grv_blob_copy(NULL, grv_store_blobs(source), grv_store_blobs(target), key, &plain,
                         result, &error);
}

static void set_name(grv_store *store, const grv_blob_key *key, const char *name)
{
    grv_error error = GRV_ERROR_INIT;
    grv_attributes attributes;
    grv_attributes_init(&attributes);
    assert_grv_ok(grv_attributes_set(&attributes, GRV_ATTRIBUTE_FILE_NAME,
                                     grv_bytes_of(name, strlen(name)), &error));
    assert_grv_ok(
        grv_blob_store_attributes_set(NULL, grv_store_blobs(store), key, &attributes, &error));
    grv_attributes_done(&attributes);
}

static void check_name(grv_store *store, const grv_blob_key *key, const char *name)
{
    grv_error error = GRV_ERROR_INIT;
    grv_attributes attributes;
    grv_attributes_init(&attributes);
    assert_grv_ok(
        grv_blob_store_attributes_get(NULL, grv_store_blobs(store), key, &attributes, &error));
    assert_int_equal(attributes.count, name ? 1 : 0);
    if (name) {
        assert_int_equal(attributes.pairs[0].value_size, strlen(name));
        assert_memory_equal(attributes.pairs[0].value, name, strlen(name));
    }
    grv_attributes_done(&attributes);
}

static uint64_t blocks_in(grv_store *store)
{
    grv_error error = GRV_ERROR_INIT;
    grv_store_stats stats;
    assert_grv_ok(grv_store_count(NULL, store, &stats, &error));
    assert_int_equal(stats.missing_blocks, 0);
    return stats.blocks;
}

static void any_store_to_any(void **state)
{
    (void)state;
    static const size_t sizes[] = {0, 1, 99, 100, 101, 5000, 300000};
    for (int kind = 0; kind < 4; kind++) {
        grv_store *source = rig_open(kind % 2 ? "kv:" : "memory:");
        grv_store *target = kind / 2 ? rig_open("kv:") : open_fixed(64, GRV_HASH_BLAKE3);
        for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
            grv_copy_result result;
            grv_blob_key key = rig_put(source, i, sizes[i]);
            if (i % 2) {
                set_name(source, &key, "theirs");
            }
            assert_grv_status(copy(source, target, &key, &result), GRV_OK);
            assert_false(result.already_there);
            assert_int_equal(grv_blob_key_compare(&result.put.key, &key), 0);
            size_t cut = kind / 2 ? 100 : 64;
            assert_int_equal(result.put.blocks, (sizes[i] + cut - 1) / cut);
            assert_grv_status(rig_read(target, &key, i), GRV_OK);
            check_name(target, &key, i % 2 ? "theirs" : NULL);
            /* Again: it is there, and what was said of it since stays. */
            set_name(target, &key, "ours");
            assert_grv_status(copy(source, target, &key, &result), GRV_OK);
            assert_true(result.already_there);
            check_name(target, &key, "ours");
        }
        grv_store_close(source);
        grv_store_close(target);
    }
}

static void what_is_damaged_is_not_copied(void **state)
{
    (void)state;
    for (int lost = 0; lost < 2; lost++) {
        grv_store *source = rig_open("memory:");
        grv_store *target = rig_open("memory:");
        grv_copy_result result;
        grv_blob_key good = rig_put(source, 1, 2000);
        grv_blob_key bad = rig_put(source, 2, 50000);
        grv_block_key block = rig_block(source, &bad, 400);
        if (lost) {
            rig_lose(source, &block);
        } else {
            rig_spoil(source, &block);
        }
        assert_grv_status(copy(source, target, &bad, &result), GRV_CORRUPT);
        assert_false(result.target_failed);
        assert_grv_status(rig_read(target, &bad, 2), GRV_NOT_FOUND);
        assert_int_equal(blocks_in(target), 0);
        assert_grv_status(copy(source, target, &good, &result), GRV_OK);
        assert_grv_status(rig_read(target, &good, 1), GRV_OK);
        grv_blob_key unknown = bad;
        unknown.digest.bytes[0] ^= 1;
        assert_grv_status(copy(source, target, &unknown, &result), GRV_NOT_FOUND);
        assert_false(result.target_failed);
        grv_store_close(source);
        grv_store_close(target);
    }
}

static void ids_never_change(void **state)
{
    (void)state;
    grv_error error = GRV_ERROR_INIT;
    grv_store *source = rig_open("memory:");
    grv_store *same = open_fixed(64, GRV_HASH_BLAKE3);
    grv_store *other = open_fixed(100, GRV_HASH_SHA256);
    assert_grv_ok(grv_store_copy_check(source, same, &error));
    assert_grv_status(grv_store_copy_check(source, source, &error), GRV_CONFLICT);
    assert_grv_status(grv_store_copy_check(source, other, &error), GRV_CONFLICT);
    grv_copy_result result;
    grv_blob_key key = rig_put(source, 1, 2000);
    assert_grv_status(copy(source, other, &key, &result), GRV_CONFLICT);
    assert_true(result.target_failed);
    assert_int_equal(blocks_in(other), 0);
    grv_store_close(source);
    grv_store_close(same);
    grv_store_close(other);
}

/* Gives a copy up after so many bytes. */
typedef struct stopper {
    grv_cancel cancel;
    uint64_t left;
    uint64_t seen;
} stopper;

static void stop_after(void *context, uint64_t bytes)
{
    stopper *self = context;
    self->seen += bytes;
    if (self->seen >= self->left) {
        grv_cancel_raise(&self->cancel);
    }
}

static void a_copy_that_was_cut_short_is_taken_up(void **state)
{
    (void)state;
    grv_error error = GRV_ERROR_INIT;
    grv_store *source = open_fixed(4096, GRV_HASH_BLAKE3);
    grv_store *target = open_fixed(4096, GRV_HASH_BLAKE3);
    grv_blob_key key = rig_put(source, 7, LARGE);
    uint64_t before = 0;
    grv_copy_result result;
    for (int round = 0; round < 3; round++) {
        /* The first round without a checkpoint on its way: nothing is left of it. */
        stopper self = {.left = LARGE - (1u << 20)};
        const grv_call call = {.cancel = &self.cancel};
        const grv_copy_config config = {
            .checkpoint_bytes = round ? 1u << 20 : 0, .progress = stop_after, .context = &self};
        grv_status status = grv_blob_copy(&call, grv_store_blobs(source), grv_store_blobs(target),
                                          &key, &config, &result, &error);
        assert_grv_status(status, GRV_CANCELLED);
        assert_grv_status(rig_read(target, &key, 7), GRV_NOT_FOUND);
        uint64_t blocks = blocks_in(target);
        assert_true(round ? blocks > 0 && blocks >= before : blocks == 0);
        before = blocks;
    }
    assert_grv_status(copy(source, target, &key, &result), GRV_OK);
    assert_int_equal(result.put.fresh_blocks, LARGE / 4096 - before);
    assert_int_equal(result.put.fresh_bytes, LARGE - 4096 * before);
    assert_grv_status(rig_read(target, &key, 7), GRV_OK);
    grv_store_close(source);
    grv_store_close(target);
}

/* ---- What is there ---- */

static unsigned asked;
static grv_blob_store_ops counting;
static const grv_blob_store_ops *counted;

static grv_status count_stat(const grv_call *call, grv_blob_store *store, const grv_blob_key *key,
                             grv_blob_info *ret_info, grv_error *error)
{
    asked++;
    return counted->stat(call, store, key, ret_info, error);
}

static grv_status count_list(const grv_call *call, grv_blob_store *store, const grv_blob_list *list,
                             grv_blob_cursor **ret_cursor, grv_error *error)
{
    asked++;
    return counted->open_list(call, store, list, ret_cursor, error);
}

static void count_calls(grv_store *store)
{
    grv_blob_store *blobs = grv_store_blobs(store);
    counted = blobs->ops;
    counting = *counted;
    counting.stat = count_stat;
    counting.open_list = count_list;
    blobs->ops = &counting;
}

static int by_key(const void *a, const void *b)
{
    return grv_blob_key_compare(a, b);
}

/* Asks about `count` keys, and compares the answer with a stat of each. Returns how often the
 * store was asked. */
static unsigned check_present(grv_store *store, const grv_blob_key keys[], size_t count)
{
    grv_error error = GRV_ERROR_INIT;
    grv_blob_store *blobs = grv_store_blobs(store);
    bool present[600];
    memset(present, 2, sizeof present);
    asked = 0;
    assert_grv_ok(grv_blob_store_present(NULL, blobs, keys, count, present, &error));
    unsigned calls = asked;
    for (size_t i = 0; i < count; i++) {
        grv_blob_info info;
        grv_status status = grv_blob_store_stat(NULL, blobs, &keys[i], &info, &error);
        assert_int_equal(present[i], status == GRV_OK);
    }
    return calls;
}

static void what_is_there_takes_few_questions(void **state)
{
    (void)state;
    grv_store *store = rig_open("memory:");
    grv_store *other = rig_open("memory:");
    static grv_blob_key all[600]; /* the first 500 are there */
    grv_blob_key some[600];
    for (size_t i = 0; i < 600; i++) {
        all[i] = rig_put(i < 500 ? store : other, i, 10 + i);
    }
    qsort(all, 600, sizeof all[0], by_key);
    count_calls(store);
    assert_int_equal(check_present(store, all, 0), 0);
    assert_int_equal(check_present(store, all, 1), 1);
    assert_true(check_present(store, all, 600) <= 3);
    /* Every so many, from all that are there to two: never more questions than keys. */
    for (size_t step = 2; step < 300; step++) {
        size_t count = 0;
        for (size_t i = step - 1; i < 600; i += step) {
            some[count++] = all[i];
        }
        assert_true(check_present(store, some, count) <= count);
    }
    /* Past the end, and twice the same. */
    grv_blob_key past = all[599];
    memset(past.digest.bytes, 255, sizeof past.digest.bytes);
    grv_blob_key last[] = {all[0], all[0], past, past};
    assert_true(check_present(store, last, 4) <= 4);
    grv_error error = GRV_ERROR_INIT;
    bool present[2];
    grv_blob_key wrong[] = {all[1], all[0]};
    assert_grv_status(
        grv_blob_store_present(NULL, grv_store_blobs(store), wrong, 2, present, &error),
        GRV_INVALID_ARGUMENT);
    grv_store_blobs(store)->ops = counted;
    grv_store_close(store);
    grv_store_close(other);
}

static void a_record_that_cannot_be_read_hides_no_other(void **state)
{
    (void)state;
    grv_error error = GRV_ERROR_INIT;
    grv_store *source = rig_open("kv:");
    grv_store *target = rig_open("kv:");
    grv_blob_key keys[20];
    bool present[20];
    for (size_t i = 0; i < 20; i++) {
        keys[i] = rig_put(source, i, 1000 + i);
        rig_put(target, i, 1000 + i);
    }
    qsort(keys, 20, sizeof keys[0], by_key);
    uint8_t key_bytes[GRV_KEY_BYTES_SIZE];
    grv_blob_key_encode(&keys[9], key_bytes);
    const grv_kv_op op = {.kind = GRV_KV_PUT,
                          .ns = GRV_NS_ROOT,
                          .key = grv_bytes_of(key_bytes, sizeof key_bytes),
                          .value = grv_bytes_of("spoilt", 6)};
    const grv_kv_batch batch = {.ops = &op, .op_count = 1};
    assert_grv_ok(grv_kv_write(NULL, target->kv, &batch, &error));
    grv_blob_store *blobs = grv_store_blobs(target);
    assert_grv_ok(grv_blob_store_present(NULL, blobs, keys, 20, present, &error));
    for (size_t i = 0; i < 20; i++) {
        assert_int_equal(present[i], i != 9);
    }
    assert_grv_ok(grv_blob_store_present(NULL, blobs, &keys[9], 1, present, &error));
    assert_false(present[0]);
    /* Copying it says what is wrong, asked before or not. */
    for (int absent = 0; absent < 2; absent++) {
        const grv_copy_config config = {.absent = absent};
        grv_copy_result result;
        assert_grv_status(
            grv_blob_copy(NULL, grv_store_blobs(source), blobs, &keys[9], &config, &result, &error),
            GRV_CORRUPT);
        assert_true(result.target_failed);
    }
    grv_store_close(source);
    grv_store_close(target);
}

/* ---- Threads ---- */

typedef struct copier {
    grv_store *source;
    grv_store *target;
    const grv_blob_key *keys;
    size_t count;
    size_t next; /* atomic */
} copier;

static void *copy_on(void *context)
{
    copier *self = context;
    for (;;) {
        grv_copy_result result;
        size_t i = __atomic_fetch_add(&self->next, 1, __ATOMIC_RELAXED);
        if (i >= self->count * 2) {
            return NULL;
        }
        assert_int_equal(copy(self->source, self->target, &self->keys[i / 2], &result), GRV_OK);
    }
}

/* Each blob by two of them at nearly the same time. */
static void several_threads_copy(void **state)
{
    (void)state;
    grv_store *source = rig_open("memory:");
    grv_store *target = rig_open("kv:");
    grv_blob_key keys[60];
    for (size_t i = 0; i < 60; i++) {
        keys[i] = rig_put(source, i, 137 * i);
    }
    copier self = {.source = source, .target = target, .keys = keys, .count = 60};
    pthread_t threads[4];
    for (size_t i = 0; i < 4; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, copy_on, &self), 0);
    }
    for (size_t i = 0; i < 4; i++) {
        pthread_join(threads[i], NULL);
    }
    for (size_t i = 0; i < 60; i++) {
        assert_grv_status(rig_read(target, &keys[i], i), GRV_OK);
    }
    assert_int_equal(blocks_in(target), blocks_in(source));
    grv_store_close(source);
    grv_store_close(target);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(any_store_to_any),
        cmocka_unit_test(what_is_damaged_is_not_copied),
        cmocka_unit_test(ids_never_change),
        cmocka_unit_test(a_copy_that_was_cut_short_is_taken_up),
        cmocka_unit_test(what_is_there_takes_few_questions),
        cmocka_unit_test(a_record_that_cannot_be_read_hides_no_other),
        cmocka_unit_test(several_threads_copy),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
