/* SPDX-License-Identifier: Apache-2.0 */
/* Collection: what it frees, what it must never free, and what it stays away from. */
#include "store/handle.h"
#include "store_rig.h"

#include <graviton/backend/kv.h>
#include <pthread.h>

static grv_collect_report collect(grv_store *store, bool dry_run, size_t keys_max)
{
    grv_error error = GRV_ERROR_INIT;
    const grv_collect_config config = {.dry_run = dry_run, .keys_max = keys_max};
    grv_collect_report report;
    memset(&report, 0xff, sizeof report);
    assert_grv_ok(grv_store_collect(NULL, store, &config, &report, &error));
    return report;
}

static void remove_blob(grv_store *store, const grv_blob_key *key)
{
    grv_error error = GRV_ERROR_INIT;
    assert_grv_ok(grv_blob_store_remove(NULL, grv_store_blobs(store), key, &error));
}

enum { BLOBS = 30 };

/* Blobs of which every third is removed; the last two share all their blocks but one. */
static void fill(grv_store *store, grv_blob_key keys[BLOBS], uint64_t *ret_kept,
                 uint64_t *ret_freed)
{
    *ret_kept = 0;
    *ret_freed = 0;
    for (size_t i = 0; i < BLOBS; i++) {
        keys[i] = rig_put(store, i == BLOBS - 1 ? BLOBS - 2 : i, i * 137);
    }
    for (size_t i = 0; i < BLOBS - 2; i++) {
        *(i % 3 ? ret_kept : ret_freed) += (i * 137 + 99) / 100;
    }
    for (size_t i = 0; i < BLOBS; i += 3) {
        remove_blob(store, &keys[i]);
    }
    remove_blob(store, &keys[BLOBS - 2]);
    *ret_kept += ((BLOBS - 1) * 137 + 99) / 100;
    *ret_freed += 1; /* the end of the last but one, which the last goes past */
}

static void check_collected(const char *blocks, size_t keys_max)
{
    grv_store *store = rig_open(blocks);
    grv_blob_key keys[BLOBS];
    uint64_t kept = 0;
    uint64_t freed = 0;
    fill(store, keys, &kept, &freed);
    grv_collect_report would = collect(store, true, keys_max);
    grv_collect_report again = collect(store, true, 0);
    assert_memory_equal(&would, &again, sizeof would);
    grv_collect_report did = collect(store, false, keys_max);
    assert_memory_equal(&would, &did, sizeof would);
    assert_int_equal(did.kept_blocks, kept);
    assert_int_equal(did.freed_blocks, freed);
    assert_int_equal(did.missing_blocks, 0);
    assert_true(did.freed_stored_bytes >= did.freed_bytes);
    for (size_t i = 0; i < BLOBS; i++) {
        bool there = i % 3 && i != BLOBS - 2;
        uint64_t seed = i == BLOBS - 1 ? BLOBS - 2 : i;
        assert_int_equal(rig_read(store, &keys[i], seed), there ? GRV_OK : GRV_NOT_FOUND);
    }
    did = collect(store, false, keys_max);
    assert_int_equal(did.freed_blocks, 0);
    assert_int_equal(did.kept_blocks, kept);
    rig_put(store, 3, 3 * 137);
    assert_int_equal(rig_read(store, &keys[3], 3), GRV_OK);
    grv_store_close(store);
}

static void a_collection_frees_what_it_said_and_nothing_else(void **state)
{
    (void)state;
    check_collected("memory:", 0);
    check_collected("memory:", 10); /* many passes */
    check_collected("kv:", 0);
    check_collected("kv:", 25);
}

static void an_empty_store_is_collected(void **state)
{
    (void)state;
    grv_store *store = rig_open("memory:");
    grv_collect_report report = collect(store, false, 0);
    static const grv_collect_report nothing = {0};
    assert_memory_equal(&report, &nothing, sizeof report);
    grv_store_close(store);
}

static void missing_blocks_are_counted(void **state)
{
    (void)state;
    grv_store *store = rig_open("memory:");
    grv_blob_key key = rig_put(store, 1, 1000);
    grv_block_key block = rig_block(store, &key, 4);
    rig_lose(store, &block);
    assert_int_equal(collect(store, false, 0).missing_blocks, 1);
    assert_int_equal(collect(store, false, 0).kept_blocks, 9);
    grv_store_close(store);
}

static void nothing_is_freed_while_a_put_is_open(void **state)
{
    (void)state;
    grv_error error = GRV_ERROR_INIT;
    grv_store *store = rig_open("memory:");
    const grv_collect_config config = {0};
    grv_collect_report report = {.blobs = 77};
    grv_blob_sink *sink = rig_begin(store, 5, 5000);
    assert_grv_status(grv_store_collect(NULL, store, &config, &report, &error), GRV_UNAVAILABLE);
    assert_int_equal(report.blobs, 77);
    assert_non_null(strstr(error.message, "1 put"));
    assert_grv_ok(grv_sink_commit(NULL, &sink->base, &error));
    grv_blob_key key = sink->result.key;
    assert_grv_status(grv_store_collect(NULL, store, &config, &report, &error), GRV_UNAVAILABLE);
    grv_sink_free(&sink->base);
    assert_int_equal(collect(store, false, 0).kept_blocks, 50);
    assert_int_equal(rig_read(store, &key, 5), GRV_OK);
    /* One that is given up leaves nothing that counts as open. */
    grv_sink_free(&rig_begin(store, 6, 5000)->base);
    assert_int_equal(collect(store, false, 0).kept_blocks, 50);
    grv_store_close(store);
}

/* A collection in a thread of its own, held at its first step. */
typedef struct held {
    grv_store *store;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool reached;
    bool go;
    bool put_done;
    grv_status status;
} held;

static void hold(void *context, const grv_collect_report *so_far)
{
    held *h = context;
    (void)so_far;
    pthread_mutex_lock(&h->lock);
    h->reached = true;
    pthread_cond_broadcast(&h->changed);
    while (!h->go) {
        pthread_cond_wait(&h->changed, &h->lock);
    }
    pthread_mutex_unlock(&h->lock);
}

static void *collect_held(void *context)
{
    held *h = context;
    const grv_collect_config config = {.progress = hold, .context = h};
    grv_collect_report report;
    h->status = grv_store_collect(NULL, h->store, &config, &report, NULL);
    return NULL;
}

static void *put_meanwhile(void *context)
{
    held *h = context;
    rig_put(h->store, 9, 900);
    pthread_mutex_lock(&h->lock);
    h->put_done = true;
    pthread_mutex_unlock(&h->lock);
    return NULL;
}

static void puts_wait_for_a_collection_and_another_is_refused(void **state)
{
    (void)state;
    grv_error error = GRV_ERROR_INIT;
    held h = {.store = rig_open("memory:"),
              .lock = PTHREAD_MUTEX_INITIALIZER,
              .changed = PTHREAD_COND_INITIALIZER};
    grv_blob_key key = rig_put(h.store, 8, 800);
    pthread_t collector;
    pthread_t putter;
    assert_int_equal(pthread_create(&collector, NULL, collect_held, &h), 0);
    pthread_mutex_lock(&h.lock);
    while (!h.reached) {
        pthread_cond_wait(&h.changed, &h.lock);
    }
    pthread_mutex_unlock(&h.lock);
    const grv_collect_config config = {.dry_run = true};
    grv_collect_report report;
    assert_grv_status(grv_store_collect(NULL, h.store, &config, &report, &error), GRV_UNAVAILABLE);
    const grv_call impatient = {.deadline_ns = grv_now_ns() + 20000000};
    const grv_put_plan plan = {0};
    grv_blob_sink *sink = NULL;
    assert_grv_status(
        grv_blob_store_open_put(&impatient, grv_store_blobs(h.store), &plan, &sink, &error),
        GRV_TIMEOUT);
    assert_int_equal(pthread_create(&putter, NULL, put_meanwhile, &h), 0);
    assert_int_equal(rig_read(h.store, &key, 8), GRV_OK); /* reading goes on */
    pthread_mutex_lock(&h.lock);
    assert_false(h.put_done);
    h.go = true;
    pthread_cond_broadcast(&h.changed);
    pthread_mutex_unlock(&h.lock);
    pthread_join(collector, NULL);
    pthread_join(putter, NULL);
    assert_int_equal(h.status, GRV_OK);
    assert_true(h.put_done);
    assert_int_equal(collect(h.store, false, 0).kept_blocks, 17);
    grv_store_close(h.store);
}

static void a_collection_that_is_given_up_is_finished_by_the_next(void **state)
{
    (void)state;
    grv_error error = GRV_ERROR_INIT;
    grv_store *store = rig_open("kv:");
    grv_blob_key keys[BLOBS];
    uint64_t kept = 0;
    uint64_t freed = 0;
    fill(store, keys, &kept, &freed);
    grv_cancel cancel = {0};
    grv_cancel_raise(&cancel);
    const grv_call call = {.cancel = &cancel};
    const grv_collect_config config = {0};
    grv_collect_report report;
    assert_grv_status(grv_store_collect(&call, store, &config, &report, &error), GRV_CANCELLED);
    grv_collect_report did = collect(store, false, 0);
    assert_int_equal(did.freed_blocks, freed);
    assert_int_equal(did.kept_blocks, kept);
    grv_store_close(store);
}

/* Spoils the record of a blob's manifest. */
static void spoil_root(grv_store *store, const grv_blob_key *key)
{
    grv_error error = GRV_ERROR_INIT;
    uint8_t bytes[GRV_KEY_BYTES_SIZE];
    grv_blob_key_encode(key, bytes);
    const grv_kv_op op = {.kind = GRV_KV_PUT,
                          .ns = GRV_NS_ROOT,
                          .key = grv_bytes_of(bytes, sizeof bytes),
                          .value = grv_bytes_of("spoilt", 6)};
    const grv_kv_batch batch = {.ops = &op, .op_count = 1};
    assert_grv_ok(grv_kv_write(NULL, store->kv, &batch, &error));
}

static void a_manifest_that_cannot_be_read_stops_everything(void **state)
{
    (void)state;
    grv_error error = GRV_ERROR_INIT;
    grv_store *store = rig_open("memory:");
    grv_blob_key keys[20];
    for (size_t i = 0; i < 20; i++) {
        keys[i] = rig_put(store, i, 1000);
    }
    remove_blob(store, &keys[0]);
    spoil_root(store, &keys[7]);
    grv_block_stats before;
    grv_block_stats after;
    assert_grv_ok(grv_block_store_stats(NULL, grv_store_blocks(store), &before, &error));
    for (int dry_run = 0; dry_run < 2; dry_run++) {
        for (size_t keys_max = 0; keys_max < 60; keys_max += 30) {
            const grv_collect_config config = {.dry_run = dry_run, .keys_max = keys_max};
            grv_collect_report report = {.blobs = 77};
            char text[GRV_KEY_TEXT_SIZE];
            grv_blob_key_print(&keys[7], text);
            assert_grv_status(grv_store_collect(NULL, store, &config, &report, &error),
                              GRV_CORRUPT);
            assert_non_null(strstr(error.message, text));
            assert_int_equal(report.blobs, 77);
        }
    }
    assert_grv_ok(grv_block_store_stats(NULL, grv_store_blocks(store), &after, &error));
    assert_memory_equal(&before, &after, sizeof before);
    /* Removing that blob mends it; its blocks and its entry in the order of commits go too. */
    remove_blob(store, &keys[7]);
    grv_collect_report did = collect(store, false, 0);
    assert_int_equal(did.freed_blocks, 20);
    assert_int_equal(did.kept_blocks, 180);
    assert_int_equal(did.meta_sweep.sequences, 1);
    grv_store_close(store);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_collection_frees_what_it_said_and_nothing_else),
        cmocka_unit_test(an_empty_store_is_collected),
        cmocka_unit_test(missing_blocks_are_counted),
        cmocka_unit_test(nothing_is_freed_while_a_put_is_open),
        cmocka_unit_test(puts_wait_for_a_collection_and_another_is_refused),
        cmocka_unit_test(a_collection_that_is_given_up_is_finished_by_the_next),
        cmocka_unit_test(a_manifest_that_cannot_be_read_stops_everything),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
