/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Random operations against a store and against a plain model of one; after each step both must
 * say the same. The seed is printed; GRV_SEED=N runs that one again.
 */
#include "blob_store_suite.h"

#include <stdio.h>
#include <stdlib.h>

#define STEPS     150
#define SLOTS     24
#define POOL_SIZE (1u << 20)

/* What the model knows of one blob: a slice of the pool. */
typedef struct model_slot {
    bool stored;
    grv_bytes bytes;
    grv_blob_key key;
    uint64_t order;     /* when it was stored, counted in puts */
    char attribute[24]; /* value of its only attribute; empty: none */
} model_slot;

typedef struct model {
    suite_env *env;
    uint64_t seed;
    uint8_t *pool;
    model_slot slots[SLOTS];
    uint64_t puts;
} model;

static size_t pick(model *it, size_t bound)
{
    return (size_t)(test_random(&it->seed) % bound);
}

/* Slices overlap, so that blobs share blocks; no two slots have the same bytes. */
static void model_init(model *it, suite_env *env, uint64_t seed)
{
    it->env = env;
    it->seed = seed;
    it->pool = suite_lines(seed, POOL_SIZE);
    for (size_t i = 0; i < SLOTS; i++) {
        static const size_t bounds[] = {4, 300, 20000, 300000};
        size_t size = i == 0 ? 0 : SLOTS * pick(it, bounds[i % 4]) + i;
        size = size < POOL_SIZE / 2 ? size : POOL_SIZE / 4 + i;
        it->slots[i].bytes = grv_bytes_of(it->pool + pick(it, POOL_SIZE - size), size);
        it->slots[i].key = suite_key(env, it->slots[i].bytes);
    }
}

static void step_put(model *it, model_slot *slot)
{
    grv_error error = GRV_ERROR_INIT;
    grv_put_result result;
    grv_attributes attributes;
    grv_put_plan plan = {0};
    grv_attributes_init(&attributes);
    if (pick(it, 3) == 0) {
        snprintf(slot->attribute, sizeof slot->attribute, "%zu", pick(it, 1000));
        assert_grv_ok(grv_attributes_set(&attributes, "file-name",
                                         grv_bytes_of(slot->attribute, strlen(slot->attribute)),
                                         &error));
        plan.attributes = &attributes;
    }
    if (pick(it, 3) == 0) {
        plan.expected = &slot->key;
    }
    suite_split split = pick(it, 2) ? SUITE_ODD : SUITE_WINDOWS;
    assert_grv_ok(suite_try_put(it->env, &plan, slot->bytes, split, &result, &error));
    grv_attributes_done(&attributes);
    assert_int_equal(grv_blob_key_compare(&result.key, &slot->key), 0);
    assert_int_equal(result.already_stored, slot->stored);
    assert_int_equal(result.fresh_bytes + result.duplicate_bytes, slot->bytes.size);
    if (!slot->stored) {
        slot->stored = true;
        slot->order = ++it->puts;
    }
}

static void step_abandon(model *it, const model_slot *slot)
{
    grv_error error = GRV_ERROR_INIT;
    const grv_put_plan plan = {0};
    grv_blob_sink *sink;
    assert_grv_ok(grv_blob_store_open_put(NULL, it->env->store, &plan, &sink, &error));
    assert_grv_ok(grv_sink_write(NULL, &sink->base, slot->bytes, &error));
    grv_sink_free(&sink->base);
}

static void step_read(model *it, const model_slot *slot)
{
    if (!slot->stored) {
        suite_check_absent(it->env, &slot->key);
        return;
    }
    uint64_t first = pick(it, slot->bytes.size + 1);
    uint64_t end = first + pick(it, slot->bytes.size + 1);
    size_t max = pick(it, 2) ? SIZE_MAX : 1 + pick(it, 10000);
    suite_check_range(it->env, &slot->key, (grv_range){first, end}, slot->bytes, max);
    suite_check_blob(it->env, &slot->key, slot->bytes);
}

static void step_remove(model *it, model_slot *slot)
{
    grv_error error = GRV_ERROR_INIT;
    grv_status status = grv_blob_store_remove(NULL, it->env->store, &slot->key, &error);
    assert_grv_status(status, slot->stored ? GRV_OK : GRV_NOT_FOUND);
    slot->stored = false;
    slot->attribute[0] = '\0';
}

static void step_attributes(model *it, model_slot *slot)
{
    grv_error error = GRV_ERROR_INIT;
    grv_attributes attributes;
    if (!slot->stored) {
        return;
    }
    grv_attributes_init(&attributes);
    assert_grv_ok(
        grv_blob_store_attributes_get(NULL, it->env->store, &slot->key, &attributes, &error));
    const grv_attribute *pair = grv_attributes_get(&attributes, "file-name");
    size_t size = strlen(slot->attribute);
    assert_int_equal(attributes.count, size > 0);
    assert_true(size == 0 || (pair && pair->value_size == size &&
                              memcmp(pair->value, slot->attribute, size) == 0));
    snprintf(slot->attribute, sizeof slot->attribute, "set %zu", pick(it, 1000));
    assert_grv_ok(grv_attributes_set(
        &attributes, "file-name", grv_bytes_of(slot->attribute, strlen(slot->attribute)), &error));
    assert_grv_ok(
        grv_blob_store_attributes_set(NULL, it->env->store, &slot->key, &attributes, &error));
    grv_attributes_done(&attributes);
}

/* True if `a` is listed before `b`. */
static bool listed_before(const model_slot *a, const model_slot *b, grv_list_order order)
{
    return order == GRV_ORDER_KEY ? grv_blob_key_compare(&a->key, &b->key) < 0
                                  : a->order > b->order;
}

/* The stored slot that is listed first after `last` (NULL: first of all), or NULL. */
static const model_slot *model_next(const model *it, const model_slot *last, grv_list_order order)
{
    const model_slot *next = NULL;
    for (size_t i = 0; i < SLOTS; i++) {
        const model_slot *one = &it->slots[i];
        if (one->stored && (!last || listed_before(last, one, order)) &&
            (!next || listed_before(one, next, order))) {
            next = one;
        }
    }
    return next;
}

static void step_list(model *it, grv_list_order order)
{
    grv_error error = GRV_ERROR_INIT;
    const grv_blob_list list = {.order = order};
    const model_slot *last = NULL;
    grv_blob_cursor *cursor;
    grv_blob_info infos[SLOTS];
    size_t count;
    if (order == GRV_ORDER_NEWEST && !(it->env->store->capabilities & GRV_BLOB_CAP_NEWEST)) {
        return;
    }
    assert_grv_ok(grv_blob_store_open_list(NULL, it->env->store, &list, &cursor, &error));
    do {
        assert_grv_ok(
            grv_blob_cursor_next(NULL, cursor, infos, 1 + pick(it, SLOTS), &count, &error));
        for (size_t i = 0; i < count; i++) {
            const model_slot *want = model_next(it, last, order);
            assert_non_null(want);
            assert_int_equal(grv_blob_key_compare(&infos[i].key, &want->key), 0);
            last = want;
        }
    } while (count > 0);
    assert_null(model_next(it, last, order));
    grv_blob_cursor_free(cursor);
}

static void model_step(model *it)
{
    model_slot *slot = &it->slots[pick(it, SLOTS)];
    size_t dice = pick(it, 100);
    if (dice < 30) {
        step_put(it, slot);
    } else if (dice < 55) {
        step_read(it, slot);
    } else if (dice < 70) {
        step_remove(it, slot);
    } else if (dice < 80) {
        step_attributes(it, slot);
    } else if (dice < 85) {
        step_abandon(it, slot);
    } else if (dice < 98) {
        step_list(it, dice % 2 ? GRV_ORDER_KEY : GRV_ORDER_NEWEST);
    } else {
        suite_reopen(it->env);
    }
}

static void random_operations_match_a_model(void **state)
{
    suite_env *env = *state;
    const char *given = getenv("GRV_SEED");
    uint64_t seed = given ? strtoull(given, NULL, 0) : grv_now_ns() ^ (uint64_t)getpid() << 32;
    printf("# seed of %s: GRV_SEED=%llu\n", env->fixture->name, (unsigned long long)seed);
    fflush(stdout);
    model it = {0};
    model_init(&it, env, seed);
    for (int i = 0; i < STEPS; i++) {
        model_step(&it);
    }
    suite_reopen(env);
    for (size_t i = 0; i < SLOTS; i++) {
        step_read(&it, &it.slots[i]);
        step_attributes(&it, &it.slots[i]);
    }
    step_list(&it, GRV_ORDER_KEY);
    step_list(&it, GRV_ORDER_NEWEST);
    free(it.pool);
}

const suite_test suite_model_tests[] = {
    SUITE_REOPEN(random_operations_match_a_model),
};
const size_t suite_model_test_count = sizeof suite_model_tests / sizeof suite_model_tests[0];
