/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The range_tracker suite: random changes against bitmaps, and many threads at once. The seed is
 * printed; GRV_TEST_SEED runs one again.
 */
#include "range_tracker_fixtures.h"
#include "temp.h"

#include <graviton/key.h>
#include <pthread.h>

#define LOCATORS 4u
#define POINTS   300u /* of a bitmap; each stands for as many bytes as the test says */
#define STEPS    500u
#define THREADS  8u

/* What the tracker should hold at one locator. */
typedef struct tracker_model {
    uint64_t generation;
    bool there[POINTS];
} tracker_model;

static uint64_t suite_seed(void)
{
    const char *given = getenv("GRV_TEST_SEED");
    uint64_t seed = given ? strtoull(given, NULL, 0) : grv_now_ns();
    printf("# GRV_TEST_SEED=%llu\n", (unsigned long long)seed);
    return seed;
}

static grv_locator numbered(unsigned number)
{
    grv_locator locator = {.scheme = "fs", .bucket = "b"};
    snprintf(locator.path, sizeof locator.path, "%u", number);
    return locator;
}

/* Fails the test unless `set` has the points in `bits`, and is coalesced. */
static void check_bits(const grv_range_set *set, const bool bits[POINTS], uint64_t scale)
{
    size_t at = 0;
    for (unsigned p = 0; p < POINTS;) {
        unsigned end = p;
        while (end < POINTS && bits[end]) {
            end++;
        }
        if (end > p) {
            assert_true(at < set->count);
            assert_true(set->ranges[at].first == p * scale && set->ranges[at].end == end * scale);
            at++;
        }
        p = end + 1;
    }
    assert_int_equal(at, set->count);
}

static void check_locator(grv_range_tracker *tracker, unsigned number, const tracker_model *model,
                          uint64_t scale)
{
    grv_error error = GRV_ERROR_INIT;
    grv_locator locator = numbered(number);
    uint64_t generation = UINT64_MAX;
    grv_range_set set;
    grv_range_set_init(&set);
    assert_grv_ok(grv_range_tracker_current(NULL, tracker, &locator, &generation, &set, &error));
    assert_int_equal(generation, model->generation);
    check_bits(&set, model->there, scale);
    grv_range_set_done(&set);
}

static void step_merge(grv_range_tracker *tracker, unsigned number, tracker_model *model,
                       uint64_t scale, uint64_t generation, uint64_t pick)
{
    grv_error error = GRV_ERROR_INIT;
    grv_locator locator = numbered(number);
    uint64_t first = pick % POINTS;
    uint64_t end = first + (pick >> 16) % 20;
    end = end < POINTS ? end : POINTS;
    grv_range_set whole;
    grv_range_set fresh;
    grv_range_set_init(&whole);
    grv_range_set_init(&fresh);
    grv_status status =
        grv_range_tracker_merge(NULL, tracker, &locator, generation,
                                (grv_range){first * scale, end * scale}, &whole, &fresh, &error);
    if (generation < model->generation) {
        assert_int_equal(status, GRV_CONFLICT);
    } else {
        assert_grv_ok(status);
        if (generation > model->generation) {
            *model = (tracker_model){.generation = generation};
        }
        bool added[POINTS] = {false};
        for (uint64_t p = first; p < end; p++) {
            added[p] = !model->there[p];
            model->there[p] = true;
        }
        check_bits(&whole, model->there, scale);
        check_bits(&fresh, added, scale);
    }
    grv_range_set_done(&whole);
    grv_range_set_done(&fresh);
}

static void check_list(grv_range_tracker *tracker, const tracker_model models[LOCATORS],
                       uint64_t scale)
{
    grv_tracked items[LOCATORS + 1];
    size_t count = test_list_tracked(tracker, &(grv_tracked_list){0}, 3, items, LOCATORS + 1);
    size_t at = 0;
    for (unsigned i = 0; i < LOCATORS; i++) {
        if (models[i].generation == 0) {
            continue;
        }
        assert_true(at < count);
        grv_locator locator = numbered(i);
        assert_int_equal(grv_locator_compare(&items[at].locator, &locator), 0);
        assert_int_equal(items[at].generation, models[i].generation);
        uint64_t points = 0;
        for (unsigned p = 0; p < POINTS; p++) {
            points += models[i].there[p];
        }
        assert_int_equal(items[at].size_bytes, points * scale);
        at++;
    }
    assert_int_equal(at, count);
}

static void random_changes_match_bitmaps(void **state)
{
    tracker_case *self = *state;
    grv_error error = GRV_ERROR_INIT;
    uint64_t random = suite_seed();
    const uint64_t scale = test_random(&random) & 1 ? 1 : GRV_BLOB_SIZE_MAX / POINTS;
    tracker_model models[LOCATORS] = {0};
    for (unsigned step = 0; step < STEPS; step++) {
        uint64_t pick = test_random(&random);
        unsigned number = (unsigned)(pick >> 60) % LOCATORS;
        tracker_model *model = &models[number];
        grv_locator locator = numbered(number);
        uint64_t generation = model->generation ? model->generation : 3;
        switch (pick >> 32 & 63) {
        case 0:
            assert_grv_ok(grv_range_tracker_remove(NULL, self->tracker, &locator, &error));
            *model = (tracker_model){0};
            break;
        case 1:
            generation += pick >> 40 & 1;
            assert_grv_ok(
                grv_range_tracker_reset(NULL, self->tracker, &locator, generation, &error));
            *model = (tracker_model){.generation = generation};
            break;
        case 2:
            step_merge(self->tracker, number, model, scale, generation + 1, pick);
            break;
        case 3:
            step_merge(self->tracker, number, model, scale, generation - 1, pick);
            break;
        case 4:
            check_list(self->tracker, models, scale);
            break;
        default:
            step_merge(self->tracker, number, model, scale, generation, pick);
            break;
        }
        check_locator(self->tracker, number, model, scale);
        if (step % 128 == 127) {
            tracker_case_turn(self);
        }
    }
    for (unsigned i = 0; i < LOCATORS; i++) {
        check_locator(self->tracker, i, &models[i], scale);
    }
    check_list(self->tracker, models, scale);
}

#define MERGES 40u
#define BYTES  2000u

typedef struct worker {
    pthread_t thread;
    unsigned number;
    grv_range_tracker *tracker;
    uint64_t generation; /* of all its merges; 0: 1 or 2 at random */
    grv_status status;   /* the first that was not expected */
    grv_error error;
    unsigned claimed[3][BYTES]; /* by generation: how often a byte was called new */
    bool merged[3][BYTES];      /* by generation: bytes of all merges that were OK */
} worker;

static void count_new(worker *self, uint64_t generation, grv_range range,
                      const grv_range_set *fresh)
{
    for (uint64_t p = range.first; p < range.end; p++) {
        self->merged[generation][p] = true;
    }
    for (size_t i = 0; i < fresh->count; i++) {
        for (uint64_t p = fresh->ranges[i].first; p < fresh->ranges[i].end; p++) {
            self->claimed[generation][p]++;
        }
    }
}

static void *merge_at_random(void *argument)
{
    worker *self = argument;
    uint64_t random = self->number;
    const grv_locator locator = numbered(0);
    for (unsigned i = 0; i < MERGES && !self->status; i++) {
        uint64_t pick = test_random(&random);
        uint64_t generation = self->generation ? self->generation : (i * 4 > MERGES ? 2 : 1);
        grv_range range = {pick % (BYTES - 100), 0};
        range.end = range.first + (pick >> 32) % 100;
        grv_range_set whole;
        grv_range_set fresh;
        grv_range_set_init(&whole);
        grv_range_set_init(&fresh);
        self->status = grv_range_tracker_merge(NULL, self->tracker, &locator, generation, range,
                                               &whole, &fresh, &self->error);
        if (self->status == GRV_CONFLICT && generation == 1) {
            self->status = GRV_OK;
        } else if (!self->status) {
            count_new(self, generation, range, &fresh);
            if (!grv_range_set_contains(&whole, range)) {
                self->status = grv_error_set(&self->error, GRV_INTERNAL, "test", "not merged");
            }
        }
        grv_range_set_done(&whole);
        grv_range_set_done(&fresh);
    }
    return NULL;
}

static worker workers[THREADS];

static void run_workers(grv_range_tracker *tracker, uint64_t generation)
{
    for (unsigned i = 0; i < THREADS; i++) {
        workers[i] = (worker){.number = i, .tracker = tracker, .generation = generation};
        assert_int_equal(pthread_create(&workers[i].thread, NULL, merge_at_random, &workers[i]), 0);
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

/* Each byte that any merge of a generation brought was called new exactly once, no other ever. */
static void check_partition(uint64_t generation, bool ret_union[BYTES])
{
    for (unsigned p = 0; p < BYTES; p++) {
        unsigned claims = 0;
        bool merged = false;
        for (unsigned i = 0; i < THREADS; i++) {
            claims += workers[i].claimed[generation][p];
            merged = merged || workers[i].merged[generation][p];
        }
        assert_int_equal(claims, merged);
        ret_union[p] = merged;
    }
}

static void check_union(grv_range_tracker *tracker, uint64_t generation, const bool bytes[BYTES])
{
    grv_error error = GRV_ERROR_INIT;
    const grv_locator locator = numbered(0);
    uint64_t got = 0;
    grv_range_set set;
    grv_range_set_init(&set);
    assert_grv_ok(grv_range_tracker_current(NULL, tracker, &locator, &got, &set, &error));
    assert_int_equal(got, generation);
    for (unsigned p = 0; p < BYTES; p++) {
        assert_int_equal(grv_range_set_contains(&set, (grv_range){p, p + 1}), bytes[p]);
    }
    assert_true(set.count == 0 || set.ranges[set.count - 1].end <= BYTES);
    grv_range_set_done(&set);
}

static void what_threads_call_new_partitions_the_union(void **state)
{
    tracker_case *self = *state;
    static bool bytes[BYTES];
    run_workers(self->tracker, 1);
    tracker_case_turn(self);
    check_partition(1, bytes);
    check_union(self->tracker, 1, bytes);
}

/* Threads go over to a newer generation at moments of their own: the older one's ranges end up
 * nowhere, and each generation is partitioned for itself. */
static void threads_of_two_generations_do_not_mix(void **state)
{
    tracker_case *self = *state;
    static bool bytes[BYTES];
    run_workers(self->tracker, 0);
    tracker_case_turn(self);
    check_partition(1, bytes);
    check_partition(2, bytes);
    check_union(self->tracker, 2, bytes);
}

const tracker_test tracker_model_tests[] = {
    TRACKER_TEST(random_changes_match_bitmaps),
    TRACKER_TEST(what_threads_call_new_partitions_the_union),
    TRACKER_TEST(threads_of_two_generations_do_not_mix),
};
const size_t tracker_model_test_count = sizeof tracker_model_tests / sizeof tracker_model_tests[0];
