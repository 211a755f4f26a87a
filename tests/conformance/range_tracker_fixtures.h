/* SPDX-License-Identifier: Apache-2.0 */
/* The range trackers that the suite runs over (a new one is one entry in the table), and what the
 * suite's files share. */
#ifndef GRV_TESTS_RANGE_TRACKER_FIXTURES_H
#define GRV_TESTS_RANGE_TRACKER_FIXTURES_H

#include "test.h"

#include <graviton/port/range_tracker.h>

/* An implementation under test. */
typedef struct tracker_fixture {
    const char *name;
    bool postgres; /* it needs a server */
    /*
     * Opens the tracker that lies in directory `dir` (empty at first). *context is NULL at the
     * first open of a test and kept by the suite between opens.
     */
    grv_status (*open)(const char *dir, void **context, grv_range_tracker **ret_tracker,
                       grv_error *error);
    /* Closes the tracker; at the `last` close of a test *context is freed too. */
    void (*close)(grv_range_tracker *tracker, void **context, bool last);
} tracker_fixture;

extern const tracker_fixture tracker_fixtures[];
extern const size_t tracker_fixture_count;

/* One test's tracker, its cmocka state. */
typedef struct tracker_case {
    const tracker_fixture *fixture;
    bool reopen;
    grv_range_tracker *tracker;
    void *context;
    char directory[256];
    char name[128];
} tracker_case;

typedef struct tracker_test {
    const char *name;
    void (*run)(void **state);
} tracker_test;

#define TRACKER_TEST(function)                                                                     \
    {                                                                                              \
#function, function                                                                        \
    }

/* The suite's second part, a file of its own. */
extern const tracker_test tracker_model_tests[];
extern const size_t tracker_model_test_count;

/* In a reopened case closes the tracker and opens it again; in a fresh one does nothing. */
void tracker_case_turn(tracker_case *self);

/* The locator that `text` says, which must be one. */
grv_locator test_locator(const char *text);

/* Fails the test unless the ranges at `locator` are just these, of that generation. */
void test_check_ranges(grv_range_tracker *tracker, const grv_locator *locator, uint64_t generation,
                       const grv_range ranges[], size_t count);

/* Fails the test unless `set` is just these ranges. */
void test_check_set(const grv_range_set *set, const grv_range ranges[], size_t count);

/* All items of a list, `capacity` at a time; at most `max`. */
size_t test_list_tracked(grv_range_tracker *tracker, const grv_tracked_list *list, size_t capacity,
                         grv_tracked items[], size_t max);

#endif
