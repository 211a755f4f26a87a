/* SPDX-License-Identifier: Apache-2.0 */
/* Fetches of blocks, with blocks kept in memory and without: what they show, what they ask of the
 * store, and what is kept of one that fails. */
#include "store/fetch.h"
#include "layer/fault.h"
#include "layer/verify.h"
#include "temp.h"
#include "test.h"

#include <graviton/backend/memory.h>
#include <stdlib.h>

enum { BLOCKS = 40, MIB = 1 << 20 };

/* A store that may fail, and blocks for it. */
typedef struct rig {
    grv_fault_plan plan; /* its calls are those of the store */
    grv_block_store *store;
    grv_memory_cache *memory;
    grv_block_key keys[BLOCKS];
    uint8_t *data[BLOCKS];
} rig;

static void store_put(rig *it, size_t i, const uint8_t *data)
{
    grv_error error = GRV_ERROR_INIT;
    grv_block_batch *batch = NULL;
    grv_block_result result;
    const grv_block block = {.key = it->keys[i], .bytes = {data, it->keys[i].size}};
    assert_grv_ok(grv_block_store_open_batch(NULL, it->store, &batch, &error));
    assert_grv_ok(grv_block_batch_put(NULL, batch, &block, 1, NULL, &error));
    assert_grv_ok(grv_block_batch_commit(NULL, batch, GRV_DURABLE, &result, 1, &error));
    grv_block_batch_free(batch);
}

static void store_lose(rig *it, size_t i)
{
    grv_error error = GRV_ERROR_INIT;
    bool removed = false;
    assert_grv_ok(grv_block_store_remove(NULL, it->store, &it->keys[i], 1, &removed, &error));
    assert_true(removed);
}

static void store_spoil(rig *it, size_t i)
{
    uint8_t *wrong = malloc(it->keys[i].size);
    assert_non_null(wrong);
    memcpy(wrong, it->data[i], it->keys[i].size);
    wrong[it->keys[i].size - 1] ^= 1;
    store_lose(it, i);
    store_put(it, i, wrong);
    free(wrong);
}

static void rig_begin(rig *it, bool in_memory)
{
    grv_error error = GRV_ERROR_INIT;
    *it = (rig){0};
    assert_grv_ok(grv_block_store_memory_new(&it->store, &error));
    assert_grv_ok(grv_block_store_fault_new(it->store, &it->plan, &it->store, &error));
    assert_grv_ok(grv_block_store_verify_new(it->store, &it->store, &error));
    if (in_memory) {
        assert_grv_ok(grv_memory_cache_new(MIB, &it->memory, &error));
    }
    uint64_t random = 5;
    for (size_t i = 0; i < BLOCKS; i++) {
        const size_t size = 1 + test_random(&random) % (i % 2 ? 5000 : 50);
        it->data[i] = malloc(size);
        assert_non_null(it->data[i]);
        test_random_fill(&random, it->data[i], size);
        it->keys[i].size = (uint32_t)size;
        assert_grv_ok(grv_digest_of(GRV_HASH_BLAKE3, grv_bytes_of(it->data[i], size),
                                    &it->keys[i].digest, &error));
        store_put(it, i, it->data[i]);
    }
}

static void rig_end(rig *it)
{
    for (size_t i = 0; i < BLOCKS; i++) {
        free(it->data[i]);
    }
    grv_memory_cache_free(it->memory);
    grv_block_store_free(it->store);
}

static bool is_kept(rig *it, size_t i)
{
    grv_memory_block *block = grv_memory_cache_find(it->memory, &it->keys[i]);
    grv_memory_block_give(block);
    return block != NULL;
}

/* Reads blocks, which `places` names by their numbers. */
static grv_status fetch_read(rig *it, grv_fetch *fetch, const size_t places[], size_t count,
                             grv_error *error)
{
    assert_grv_status(grv_fetch_arrays(fetch, it->memory, GRV_FETCH_BLOCKS, error), GRV_OK);
    grv_fetch_begin(fetch, 1000);
    for (size_t i = 0; i < count; i++) {
        grv_fetch_add(fetch, &it->keys[places[i]]);
    }
    assert_int_equal(fetch->count, count);
    if (!it->memory) {
        free(fetch->buffer);
        fetch->buffer = malloc(fetch->size);
        assert_non_null(fetch->buffer);
    }
    return grv_fetch_get(NULL, fetch, it->store, error);
}

static void fetch_end(grv_fetch *fetch)
{
    grv_fetch_done(fetch);
    free(fetch->buffer);
}

/* Checks the views of a part of a fetch, taken `step` bytes at a time. */
static void check_part(const rig *it, const grv_fetch *fetch, const size_t places[], size_t from,
                       size_t to, size_t step)
{
    uint8_t *wanted = malloc(fetch->size);
    assert_non_null(wanted);
    for (size_t i = 0, at = 0; i < fetch->count; i++) {
        memcpy(wanted + at, it->data[places[i]], fetch->keys[i].size);
        at += fetch->keys[i].size;
    }
    grv_fetch_cursor cursor = {0};
    size_t views = 0;
    for (size_t at = from; at < to;) {
        const size_t end = to - at < step ? to : at + step;
        const grv_bytes view = grv_fetch_view(fetch, at, end, &cursor);
        assert_in_range(view.size, 1, end - at);
        assert_memory_equal(view.data, wanted + at, view.size);
        at += view.size;
        views++;
    }
    if (step >= fetch->size && from == 0 && to == fetch->size) {
        assert_int_equal(views, fetch->memory ? fetch->count : 1);
    }
    free(wanted);
}

static void check_all(const rig *it, const grv_fetch *fetch, const size_t places[])
{
    static const size_t steps[] = {1, 7, 1000, SIZE_MAX};
    uint64_t random = 3;
    assert_int_equal(fetch->offset, 1000);
    for (size_t s = 0; s < sizeof steps / sizeof steps[0]; s++) {
        check_part(it, fetch, places, 0, fetch->size, steps[s]);
        check_part(it, fetch, places, fetch->size - 1, fetch->size, steps[s]);
        for (unsigned i = 0; i < 20; i++) {
            size_t from = test_random(&random) % fetch->size;
            size_t to = from + 1 + test_random(&random) % (fetch->size - from);
            check_part(it, fetch, places, from, to, steps[s]);
        }
    }
}

static void list_all(size_t ret_places[BLOCKS])
{
    for (size_t i = 0; i < BLOCKS; i++) {
        ret_places[i] = i;
    }
}

static void check_views(bool in_memory)
{
    rig it;
    grv_error error = GRV_ERROR_INIT;
    grv_fetch fetch = {0};
    size_t places[BLOCKS];
    rig_begin(&it, in_memory);
    list_all(places);
    for (unsigned round = 0; round < 3; round++) {
        const uint64_t calls = it.plan.calls;
        assert_grv_ok(fetch_read(&it, &fetch, places, BLOCKS, &error));
        assert_int_equal(it.plan.calls - calls, round == 0 || !in_memory ? 1 : 0);
        for (size_t i = 0; i < BLOCKS; i++) {
            assert_int_equal(fetch.statuses[i], GRV_OK);
        }
        check_all(&it, &fetch, places);
    }
    static const size_t few[] = {17};
    assert_grv_ok(fetch_read(&it, &fetch, few, 1, &error));
    check_all(&it, &fetch, few);
    fetch_end(&fetch);
    rig_end(&it);
}

static void views_show_the_blocks_in_order(void **state)
{
    (void)state;
    check_views(false);
}

static void with_memory_they_are_read_once(void **state)
{
    (void)state;
    check_views(true);
}

static void only_what_is_not_kept_is_read(void **state)
{
    (void)state;
    rig it;
    grv_error error = GRV_ERROR_INIT;
    grv_fetch fetch = {0};
    static const size_t some[] = {1, 4, 5, 9, 39};
    size_t places[BLOCKS];
    rig_begin(&it, true);
    assert_grv_ok(fetch_read(&it, &fetch, some, 5, &error));
    for (size_t i = 0; i < 5; i++) {
        store_lose(&it, some[i]); /* what is in memory is not asked for */
    }
    list_all(places);
    assert_grv_ok(fetch_read(&it, &fetch, places, BLOCKS, &error));
    check_all(&it, &fetch, places);
    fetch_end(&fetch);
    grv_cache_figures figures;
    grv_memory_cache_read(it.memory, &figures);
    assert_int_equal(figures.hits, 5);
    assert_int_equal(figures.misses, BLOCKS);
    assert_int_equal(figures.kept, BLOCKS);
    rig_end(&it);
}

static void a_block_may_come_several_times(void **state)
{
    (void)state;
    rig it;
    grv_error error = GRV_ERROR_INIT;
    grv_fetch fetch = {0};
    static const size_t places[] = {3, 3, 7, 3, 8, 7, 3, 3};
    enum { COUNT = sizeof places / sizeof places[0] };
    for (unsigned in_memory = 0; in_memory < 2; in_memory++) {
        rig_begin(&it, in_memory == 1);
        for (unsigned round = 0; round < 2; round++) {
            assert_grv_ok(fetch_read(&it, &fetch, places, COUNT, &error));
            check_all(&it, &fetch, places);
        }
        if (in_memory) {
            grv_cache_figures figures;
            grv_memory_cache_read(it.memory, &figures);
            assert_int_equal(figures.kept, 3);
            assert_int_equal(figures.hits, COUNT);
            assert_int_equal(figures.misses, COUNT);
        }
        fetch_end(&fetch);
        fetch = (grv_fetch){0};
        rig_end(&it);
    }
}

/* Which block is bad, in a fetch of all of which some lie in memory already. */
static void check_bad(size_t corrupt, size_t missing, bool warm)
{
    rig it;
    grv_error error = GRV_ERROR_INIT;
    grv_fetch fetch = {0};
    static const size_t some[] = {0, 2, 11, 30};
    size_t places[BLOCKS];
    rig_begin(&it, true);
    list_all(places);
    if (warm) {
        assert_grv_ok(fetch_read(&it, &fetch, some, 4, &error));
    }
    store_spoil(&it, corrupt);
    store_lose(&it, missing);
    const grv_status first = corrupt < missing ? GRV_CORRUPT : GRV_NOT_FOUND;
    char text[GRV_KEY_TEXT_SIZE];
    grv_block_key_print(&it.keys[corrupt < missing ? corrupt : missing], text);
    for (unsigned round = 0; round < 2; round++) {
        assert_grv_status(fetch_read(&it, &fetch, places, BLOCKS, &error), first);
        assert_int_equal(error.status, first);
        assert_non_null(strstr(error.message, text));
        for (size_t i = 0; i < BLOCKS; i++) {
            const grv_status wanted = i == corrupt   ? GRV_CORRUPT
                                      : i == missing ? GRV_NOT_FOUND
                                                     : GRV_OK;
            assert_grv_status(fetch.statuses[i], wanted);
            assert_int_equal(is_kept(&it, i), wanted == GRV_OK);
        }
    }
    /* Healed, they are read; what was kept of the others is right. */
    store_lose(&it, corrupt);
    store_put(&it, corrupt, it.data[corrupt]);
    store_put(&it, missing, it.data[missing]);
    assert_grv_ok(fetch_read(&it, &fetch, places, BLOCKS, &error));
    check_all(&it, &fetch, places);
    fetch_end(&fetch);
    rig_end(&it);
}

static void what_is_bad_is_told_and_never_kept(void **state)
{
    (void)state;
    check_bad(1, 39, false);
    check_bad(20, 3, false);
    check_bad(12, 31, true);
    check_bad(29, 1, true);
}

static void of_a_call_that_fails_nothing_is_kept(void **state)
{
    (void)state;
    static const grv_fault_kind kinds[] = {GRV_FAULT_REFUSE, GRV_FAULT_LOSE};
    for (size_t k = 0; k < sizeof kinds / sizeof kinds[0]; k++) {
        rig it;
        grv_error error = GRV_ERROR_INIT;
        grv_fetch fetch = {0};
        size_t places[BLOCKS];
        rig_begin(&it, true);
        list_all(places);
        it.plan.countdown = 1;
        it.plan.kind = kinds[k];
        it.plan.status = GRV_UNAVAILABLE;
        assert_grv_status(fetch_read(&it, &fetch, places, BLOCKS, &error), GRV_UNAVAILABLE);
        for (size_t i = 0; i < BLOCKS; i++) {
            assert_grv_status(fetch.statuses[i], GRV_UNAVAILABLE);
            assert_false(is_kept(&it, i));
        }
        assert_grv_ok(fetch_read(&it, &fetch, places, BLOCKS, &error));
        check_all(&it, &fetch, places);
        fetch_end(&fetch);
        rig_end(&it);
    }
}

static void what_a_fetch_holds_stays_until_it_begins_anew(void **state)
{
    (void)state;
    rig it;
    grv_error error = GRV_ERROR_INIT;
    grv_fetch fetch = {0};
    size_t places[BLOCKS];
    rig_begin(&it, true);
    list_all(places);
    assert_grv_ok(fetch_read(&it, &fetch, places, BLOCKS, &error));
    assert_grv_ok(fetch_read(&it, &fetch, places, BLOCKS, &error));
    for (size_t i = 0; i < 1000; i++) { /* others push them out */
        grv_block_key key = {.digest.hash = GRV_HASH_BLAKE3, .size = 4096};
        memcpy(key.digest.bytes, &i, sizeof i);
        grv_memory_block *block = grv_memory_block_new(&key);
        assert_non_null(block);
        grv_memory_cache_keep(it.memory, block);
        grv_memory_block_give(block);
    }
    for (size_t i = 0; i < BLOCKS; i++) {
        assert_false(is_kept(&it, i));
        assert_int_equal(atomic_load(&fetch.blocks[i]->holders), 1);
    }
    check_all(&it, &fetch, places);
    grv_fetch_drop(&fetch);
    assert_int_equal(fetch.held, 0);
    grv_fetch_drop(&fetch);
    fetch_end(&fetch);
    rig_end(&it);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(views_show_the_blocks_in_order),
        cmocka_unit_test(with_memory_they_are_read_once),
        cmocka_unit_test(only_what_is_not_kept_is_read),
        cmocka_unit_test(a_block_may_come_several_times),
        cmocka_unit_test(what_is_bad_is_told_and_never_kept),
        cmocka_unit_test(of_a_call_that_fails_nothing_is_kept),
        cmocka_unit_test(what_a_fetch_holds_stays_until_it_begins_anew),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
