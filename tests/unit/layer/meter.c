/* SPDX-License-Identifier: Apache-2.0 */
/* Layer meter: every slot's figures, failures among them, and that nothing else changes. */
#include "layer/meter.h"
#include "test.h"

#include <graviton/backend/memory.h>
#include <pthread.h>

static grv_block block_of(const char *text)
{
    grv_error error = GRV_ERROR_INIT;
    grv_block block = {.bytes = grv_bytes_of(text, strlen(text))};
    block.key.size = (uint32_t)block.bytes.size;
    assert_grv_ok(grv_digest_of(GRV_HASH_BLAKE3, block.bytes, &block.key.digest, &error));
    return block;
}

static void assert_count(const grv_block_meter *meter, grv_meter_slot slot, uint64_t calls,
                         uint64_t errors, uint64_t blocks, uint64_t bytes)
{
    grv_meter_count count = grv_block_meter_read(meter, slot);
    assert_int_equal(count.calls, calls);
    assert_int_equal(count.errors, errors);
    assert_int_equal(count.blocks, blocks);
    assert_int_equal(count.bytes, bytes);
}

static grv_block_store *store_new(grv_block_meter *meter)
{
    grv_error error = GRV_ERROR_INIT;
    grv_block_store *inner = NULL;
    grv_block_store *store = NULL;
    assert_grv_ok(grv_block_store_memory_new(&inner, &error));
    uint64_t capabilities = inner->capabilities;
    assert_grv_ok(grv_block_store_meter_new(inner, meter, &store, &error));
    assert_int_equal(store->capabilities, capabilities);
    return store;
}

static void puts_and_gets_are_counted(void **state)
{
    (void)state;
    grv_error error = GRV_ERROR_INIT;
    grv_block_meter meter = {0};
    grv_block_store *store = store_new(&meter);
    grv_block blocks[3] = {block_of("one"), block_of("three"), block_of("never stored")};
    grv_block_batch *batch = NULL;
    grv_block_result results[2];
    size_t first = 9;
    assert_grv_ok(grv_block_store_open_batch(NULL, store, &batch, &error));
    assert_grv_ok(grv_block_batch_put(NULL, batch, &blocks[0], 1, NULL, &error));
    assert_grv_ok(grv_block_batch_put(NULL, batch, &blocks[1], 1, &first, &error));
    assert_int_equal(first, 1);
    assert_grv_ok(grv_block_batch_commit(NULL, batch, GRV_DURABLE, results, 2, &error));
    grv_block_batch_free(batch);
    assert_int_equal(results[1].outcome, GRV_BLOCK_FRESH);

    grv_block_key keys[3] = {blocks[0].key, blocks[2].key, blocks[1].key};
    uint8_t data[3][16];
    grv_span spans[3] = {{data[0], 3}, {data[1], 12}, {data[2], 5}};
    grv_status statuses[3];
    bool missing[3];
    assert_grv_status(grv_block_store_get(NULL, store, keys, spans, 3, statuses, &error),
                      GRV_NOT_FOUND);
    assert_memory_equal(data[2], "three", 5);
    assert_grv_ok(grv_block_store_missing(NULL, store, keys, 3, missing, &error));
    assert_true(!missing[0] && missing[1] && !missing[2]);

    assert_count(&meter, GRV_METER_OPEN_BATCH, 1, 0, 0, 0);
    assert_count(&meter, GRV_METER_PUT, 2, 0, 2, 8);
    assert_count(&meter, GRV_METER_COMMIT, 1, 0, 2, 0);
    assert_count(&meter, GRV_METER_GET, 1, 1, 3, 8);
    assert_count(&meter, GRV_METER_MISSING, 1, 0, 3, 0);
    assert_count(&meter, GRV_METER_NOTE, 0, 0, 0, 0);
    assert_true(grv_block_meter_read(&meter, GRV_METER_PUT).ns > 0);
    grv_block_store_free(store);
}

static void the_other_slots_are_counted(void **state)
{
    (void)state;
    grv_error error = GRV_ERROR_INIT;
    grv_block_meter meter = {0};
    grv_block_store *store = store_new(&meter);
    grv_bytes name = grv_bytes_of("name", 4);
    grv_buffer out;
    grv_buffer_init(&out, 100);
    assert_grv_status(grv_block_store_superblock_get(NULL, store, &out, &error), GRV_NOT_FOUND);
    assert_grv_ok(grv_block_store_superblock_set(NULL, store, NULL, name, &error));
    assert_grv_status(grv_block_store_superblock_set(NULL, store, NULL, name, &error),
                      GRV_CONFLICT);
    grv_block block = block_of("one");
    grv_block_batch *batch = NULL;
    grv_block_result result;
    assert_grv_ok(grv_block_store_open_batch(NULL, store, &batch, &error));
    assert_grv_ok(grv_block_batch_put(NULL, batch, &block, 1, NULL, &error));
    assert_grv_ok(grv_block_batch_commit(NULL, batch, GRV_DURABLE, &result, 1, &error));
    grv_block_batch_free(batch);

    grv_block_cursor *cursor = NULL;
    grv_block_entry entries[4];
    size_t count = 0;
    assert_grv_ok(grv_block_store_open_list(NULL, store, NULL, &cursor, &error));
    assert_grv_ok(grv_block_cursor_next(NULL, cursor, entries, 4, &count, &error));
    assert_int_equal(count, 1);
    assert_grv_ok(grv_block_cursor_next(NULL, cursor, entries, 4, &count, &error));
    assert_int_equal(count, 0);
    grv_block_cursor_free(cursor);
    grv_block_stats stats;
    bool removed = false;
    assert_grv_ok(grv_block_store_stats(NULL, store, &stats, &error));
    assert_int_equal(stats.blocks, 1);
    assert_grv_ok(grv_block_store_remove(NULL, store, &block.key, 1, &removed, &error));
    assert_true(removed);
    grv_block_sweep sweep;
    assert_grv_ok(grv_block_store_quarantine(NULL, store, &block.key, 1, &removed, &error));
    assert_false(removed);
    assert_grv_ok(grv_block_store_sweep(NULL, store, true, &sweep, &error));
    assert_grv_ok(grv_block_store_flush(NULL, store, &error));

    assert_count(&meter, GRV_METER_SUPERBLOCK_GET, 1, 1, 0, 0);
    assert_count(&meter, GRV_METER_SUPERBLOCK_SET, 2, 1, 0, 0);
    assert_count(&meter, GRV_METER_OPEN_LIST, 1, 0, 0, 0);
    assert_count(&meter, GRV_METER_LIST, 2, 0, 1, 0);
    assert_count(&meter, GRV_METER_STATS, 1, 0, 0, 0);
    assert_count(&meter, GRV_METER_REMOVE, 1, 0, 1, 0);
    assert_count(&meter, GRV_METER_QUARANTINE, 1, 0, 1, 0);
    assert_count(&meter, GRV_METER_SWEEP, 1, 0, 0, 0);
    assert_count(&meter, GRV_METER_FLUSH, 1, 0, 0, 0);
    grv_buffer_done(&out);
    grv_block_store_free(store);
}

static void *ask_a_thousand_times(void *store)
{
    grv_block_key key = {.digest.hash = GRV_HASH_BLAKE3, .size = 1};
    for (int i = 0; i < 1000; i++) {
        bool missing = false;
        if (grv_block_store_missing(NULL, store, &key, 1, &missing, NULL) || !missing) {
            return store;
        }
    }
    return NULL;
}

static void no_call_is_lost_between_threads(void **state)
{
    (void)state;
    grv_block_meter meter = {0};
    grv_block_store *store = store_new(&meter);
    pthread_t threads[4];
    for (size_t i = 0; i < 4; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, ask_a_thousand_times, store), 0);
    }
    for (size_t i = 0; i < 4; i++) {
        void *failed = NULL;
        pthread_join(threads[i], &failed);
        assert_null(failed);
    }
    assert_count(&meter, GRV_METER_MISSING, 4000, 0, 4000, 0);
    grv_block_store_free(store);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(puts_and_gets_are_counted),
        cmocka_unit_test(the_other_slots_are_counted),
        cmocka_unit_test(no_call_is_lost_between_threads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
