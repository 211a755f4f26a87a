/* SPDX-License-Identifier: Apache-2.0 */
/* The replica indexes that the suite runs over (a new one is one entry in the table), and what the
 * suite's files share. */
#ifndef GRV_TESTS_REPLICA_INDEX_FIXTURES_H
#define GRV_TESTS_REPLICA_INDEX_FIXTURES_H

#include "test.h"

#include <graviton/port/replica_index.h>

/* An implementation under test. */
typedef struct replica_fixture {
    const char *name;
    bool postgres; /* it needs a server */
    /*
     * Opens the index that lies in directory `dir` (empty at first). *context is NULL at the first
     * open of a test and kept by the suite between opens.
     */
    grv_status (*open)(const char *dir, void **context, grv_replica_index **ret_index,
                       grv_error *error);
    /* Closes the index; at the `last` close of a test *context is freed too. */
    void (*close)(grv_replica_index *index, void **context, bool last);
} replica_fixture;

extern const replica_fixture replica_fixtures[];
extern const size_t replica_fixture_count;

/* One test's index, its cmocka state. */
typedef struct replica_case {
    const replica_fixture *fixture;
    bool reopen;
    grv_replica_index *index;
    void *context;
    char directory[256];
    char name[128];
} replica_case;

typedef struct replica_test {
    const char *name;
    void (*run)(void **state);
} replica_test;

#define REPLICA_TEST(function)                                                                     \
    {                                                                                              \
#function, function                                                                        \
    }

/* The suite's second part, a file of its own. */
extern const replica_test replica_model_tests[];
extern const size_t replica_model_test_count;

/* In a reopened case closes the index and opens it again; in a fresh one does nothing. */
void replica_case_turn(replica_case *self);

/* The locator that `text` says, which must be one. */
grv_locator test_locator(const char *text);

/* Keys told by a number: kinds in turn. */
grv_replica_key test_replica_key(unsigned number);

/* Fails the test unless the replicas of `key` are just these texts, in their order. */
void test_check_replicas(grv_replica_index *index, const grv_replica_key *key,
                         const char *const texts[], size_t count);

/* All items of a list, `capacity` at a time; at most `max`. */
size_t test_list_replicas(grv_replica_index *index, const grv_replica_list *list, size_t capacity,
                          grv_replica items[], size_t max);

/* Order of items: by locator, then key. */
int test_replica_compare(const grv_replica *a, const grv_replica *b);

#endif
