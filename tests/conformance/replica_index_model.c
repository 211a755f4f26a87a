/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The replica_index suite: random changes against a table of bits, and many threads at once. The
 * seed is printed; GRV_TEST_SEED runs one again.
 */
#include "replica_index_fixtures.h"
#include "temp.h"

#include <pthread.h>

#define KEYS     9u
#define LOCATORS 24u
#define STEPS    400u
#define THREADS  8u

/* What the index should hold. */
typedef struct replica_model {
    grv_replica_key keys[KEYS];
    grv_locator locators[LOCATORS]; /* in order */
    bool there[KEYS][LOCATORS];
} replica_model;

static uint64_t suite_seed(void)
{
    const char *given = getenv("GRV_TEST_SEED");
    uint64_t seed = given ? strtoull(given, NULL, 0) : grv_now_ns();
    printf("# GRV_TEST_SEED=%llu\n", (unsigned long long)seed);
    return seed;
}

static void model_init(replica_model *model)
{
    memset(model, 0, sizeof *model);
    grv_locator_set set;
    grv_locator_set_init(&set);
    for (unsigned i = 0; i < LOCATORS; i++) {
        static const char *const buckets[] = {"a", "a-", "a0", "b"};
        char text[64];
        snprintf(text, sizeof text, "%s://%s/%0*u", i & 1 ? "s3" : "fs", buckets[i / 2 % 4],
                 (int)(i % 5 + 1), i / 8);
        grv_locator locator = test_locator(text);
        assert_int_equal(grv_locator_set_add(&set, &locator, NULL), GRV_OK);
    }
    assert_int_equal(set.count, LOCATORS);
    memcpy(model->locators, set.locators, sizeof model->locators);
    grv_locator_set_done(&set);
    for (unsigned k = 0; k < KEYS; k++) {
        model->keys[k] = test_replica_key(k);
    }
}

static void step_update(replica_model *model, grv_replica_index *index, unsigned k, uint64_t bits)
{
    grv_error error = GRV_ERROR_INIT;
    grv_locator_set set;
    grv_locator_set_init(&set);
    for (unsigned i = 0; i < LOCATORS; i++) {
        model->there[k][i] = bits >> i & 1;
        if (model->there[k][i]) {
            assert_grv_ok(grv_locator_set_add(&set, &model->locators[i], &error));
        }
    }
    assert_grv_ok(grv_replica_index_update(NULL, index, &model->keys[k], &set, &error));
    grv_locator_set_done(&set);
}

static void check_key(const replica_model *model, grv_replica_index *index, unsigned k)
{
    grv_error error = GRV_ERROR_INIT;
    grv_locator_set set;
    grv_locator_set_init(&set);
    assert_grv_ok(grv_replica_index_replicas(NULL, index, &model->keys[k], &set, &error));
    size_t count = 0;
    for (unsigned i = 0; i < LOCATORS; i++) {
        assert_int_equal(grv_locator_set_contains(&set, &model->locators[i]), model->there[k][i]);
        count += model->there[k][i];
    }
    assert_int_equal(set.count, count);
    grv_locator_set_done(&set);
}

static bool is_wanted(const replica_model *model, const grv_replica_list *list, unsigned i,
                      unsigned k)
{
    char text[GRV_LOCATOR_TEXT_SIZE];
    grv_locator_print(&model->locators[i], text);
    bool begins = strlen(text) >= list->prefix.size &&
                  (!list->prefix.size || memcmp(text, list->prefix.data, list->prefix.size) == 0);
    const grv_replica item = {.locator = model->locators[i], .key = model->keys[k]};
    int order = list->start ? test_replica_compare(&item, list->start) : 1;
    return model->there[k][i] && begins && (order > 0 || (order == 0 && !list->after_start));
}

static void check_list(const replica_model *model, grv_replica_index *index, uint64_t *random)
{
    static grv_replica items[KEYS * LOCATORS + 1];
    uint64_t pick = test_random(random);
    char prefix[GRV_LOCATOR_TEXT_SIZE];
    grv_locator_print(&model->locators[pick % LOCATORS], prefix);
    const grv_replica start = {.locator = model->locators[pick >> 8 & 15],
                               .key = model->keys[(pick >> 16) % KEYS]};
    grv_replica_list list = {.after_start = pick >> 24 & 1};
    if (pick >> 25 & 1) {
        list.prefix = grv_bytes_of(prefix, (pick >> 32) % (strlen(prefix) + 1));
    }
    if (pick >> 26 & 1) {
        list.start = &start;
    }
    size_t count =
        test_list_replicas(index, &list, pick % 40 + 1, items, sizeof items / sizeof items[0]);
    size_t want = 0;
    for (unsigned i = 0; i < LOCATORS; i++) {
        for (unsigned k = 0; k < KEYS; k++) {
            want += is_wanted(model, &list, i, k);
        }
    }
    assert_int_equal(count, want);
    for (size_t n = 0; n < count; n++) {
        assert_true(n == 0 || test_replica_compare(&items[n - 1], &items[n]) < 0);
        bool found = false;
        for (unsigned i = 0; i < LOCATORS && !found; i++) {
            for (unsigned k = 0; k < KEYS && !found; k++) {
                found = is_wanted(model, &list, i, k) &&
                        grv_locator_compare(&items[n].locator, &model->locators[i]) == 0 &&
                        grv_replica_key_compare(&items[n].key, &model->keys[k]) == 0;
            }
        }
        assert_true(found);
    }
}

static void random_changes_match_a_table_of_bits(void **state)
{
    replica_case *self = *state;
    grv_error error = GRV_ERROR_INIT;
    static replica_model model;
    model_init(&model);
    uint64_t random = suite_seed();
    for (unsigned step = 0; step < STEPS; step++) {
        uint64_t pick = test_random(&random);
        unsigned k = (unsigned)(pick % KEYS);
        unsigned i = (unsigned)(pick >> 8) % LOCATORS;
        uint64_t bits = test_random(&random) & test_random(&random);
        switch (pick >> 32 & 7) {
        case 0:
            step_update(&model, self->index, k, pick >> 40 & 3 ? bits : 0);
            break;
        case 1:
        case 2:
            assert_grv_ok(grv_replica_index_remove(NULL, self->index, &model.keys[k],
                                                   &model.locators[i], &error));
            model.there[k][i] = false;
            break;
        case 3:
            check_list(&model, self->index, &random);
            break;
        default:
            assert_grv_ok(grv_replica_index_add(NULL, self->index, &model.keys[k],
                                                &model.locators[i], &error));
            model.there[k][i] = true;
            break;
        }
        check_key(&model, self->index, k);
        if (step % 128 == 127) {
            replica_case_turn(self);
        }
    }
    for (unsigned k = 0; k < KEYS; k++) {
        check_key(&model, self->index, k);
    }
    check_list(&model, self->index, &random);
}

typedef struct worker {
    pthread_t thread;
    unsigned number;
    grv_replica_index *index;
    grv_status status; /* the first that was not expected */
    grv_error error;
} worker;

static void run_workers(grv_replica_index *index, void *(*run)(void *))
{
    static worker workers[THREADS];
    for (unsigned i = 0; i < THREADS; i++) {
        workers[i] = (worker){.number = i, .index = index};
        assert_int_equal(pthread_create(&workers[i].thread, NULL, run, &workers[i]), 0);
    }
    for (unsigned i = 0; i < THREADS; i++) {
        pthread_join(workers[i].thread, NULL);
    }
    for (unsigned i = 0; i < THREADS; i++) {
        if (workers[i].status) {
            fail_msg("thread %u: %s: %s", i, grv_status_name(workers[i].status),
                     workers[i].error.message);
        }
    }
}

#define OWN 12u

static grv_locator own_locator(unsigned owner, unsigned number)
{
    grv_locator locator = {.scheme = "fs", .bucket = "b"};
    snprintf(locator.path, sizeof locator.path, "%u/%u", owner, number);
    return locator;
}

/* Adds locators of its own to one key that all share, and takes every third away again. */
static void *add_own(void *argument)
{
    worker *self = argument;
    const grv_replica_key key = test_replica_key(0);
    for (unsigned i = 0; i < OWN && !self->status; i++) {
        grv_locator locator = own_locator(self->number, i);
        self->status = grv_replica_index_add(NULL, self->index, &key, &locator, &self->error);
        if (!self->status && i % 3 == 2) {
            self->status =
                grv_replica_index_remove(NULL, self->index, &key, &locator, &self->error);
        }
    }
    return NULL;
}

static void no_change_of_many_threads_is_lost(void **state)
{
    replica_case *self = *state;
    grv_error error = GRV_ERROR_INIT;
    run_workers(self->index, add_own);
    replica_case_turn(self);
    grv_locator_set set;
    grv_locator_set_init(&set);
    const grv_replica_key key = test_replica_key(0);
    assert_grv_ok(grv_replica_index_replicas(NULL, self->index, &key, &set, &error));
    for (unsigned w = 0; w < THREADS; w++) {
        for (unsigned i = 0; i < OWN; i++) {
            grv_locator locator = own_locator(w, i);
            assert_int_equal(grv_locator_set_contains(&set, &locator), i % 3 != 2);
        }
    }
    static grv_replica items[THREADS * OWN + 1];
    size_t count =
        test_list_replicas(self->index, &(grv_replica_list){0}, 64, items, THREADS * OWN + 1);
    assert_int_equal(count, set.count);
    for (size_t i = 0; i < count; i++) {
        assert_int_equal(grv_locator_compare(&items[i].locator, &set.locators[i]), 0);
    }
    grv_locator_set_done(&set);
}

static grv_status update_some(worker *self, const grv_replica_key *key, uint64_t pick)
{
    grv_locator_set set;
    grv_locator_set_init(&set);
    grv_status status = GRV_OK;
    for (unsigned i = 0; i < 5 && !status; i++) {
        grv_locator locator = own_locator(0, (unsigned)(pick >> (4 * i)) % OWN);
        status = grv_locator_set_add(&set, &locator, &self->error);
    }
    if (!status) {
        status = grv_replica_index_update(NULL, self->index, key, &set, &self->error);
    }
    grv_locator_set_done(&set);
    return status;
}

static void *do_anything(void *argument)
{
    worker *self = argument;
    uint64_t random = self->number;
    for (unsigned i = 0; i < 40 && !self->status; i++) {
        uint64_t pick = test_random(&random);
        const grv_replica_key key = test_replica_key((unsigned)(pick % 3));
        const grv_locator locator = own_locator(0, (unsigned)(pick >> 8) % OWN);
        switch (pick >> 32 & 3) {
        case 0:
            self->status = update_some(self, &key, pick >> 34);
            break;
        case 1:
            self->status =
                grv_replica_index_remove(NULL, self->index, &key, &locator, &self->error);
            break;
        default:
            self->status = grv_replica_index_add(NULL, self->index, &key, &locator, &self->error);
            break;
        }
    }
    return NULL;
}

/* Whatever the order was, both directions say the same in the end. */
static void both_directions_agree_after_many_threads(void **state)
{
    replica_case *self = *state;
    grv_error error = GRV_ERROR_INIT;
    run_workers(self->index, do_anything);
    replica_case_turn(self);
    static grv_replica items[3 * OWN + 1];
    size_t count = test_list_replicas(self->index, &(grv_replica_list){0}, 5, items, 3 * OWN + 1);
    for (unsigned k = 0; k < 3; k++) {
        const grv_replica_key key = test_replica_key(k);
        grv_locator_set set;
        grv_locator_set_init(&set);
        assert_grv_ok(grv_replica_index_replicas(NULL, self->index, &key, &set, &error));
        for (size_t i = 0; i < set.count; i++) {
            const grv_replica want = {.locator = set.locators[i], .key = key};
            size_t found = 0;
            for (size_t n = 0; n < count; n++) {
                found += test_replica_compare(&items[n], &want) == 0;
            }
            assert_int_equal(found, 1);
        }
        for (size_t n = 0; n < count; n++) {
            assert_true(grv_replica_key_compare(&items[n].key, &key) != 0 ||
                        grv_locator_set_contains(&set, &items[n].locator));
        }
        grv_locator_set_done(&set);
    }
}

const replica_test replica_model_tests[] = {
    REPLICA_TEST(random_changes_match_a_table_of_bits),
    REPLICA_TEST(no_change_of_many_threads_is_lost),
    REPLICA_TEST(both_directions_agree_after_many_threads),
};
const size_t replica_model_test_count = sizeof replica_model_tests / sizeof replica_model_tests[0];
