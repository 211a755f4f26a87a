/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the files of the blob_store suite share: a store under test that can be closed and opened
 * again between writing and reading, and the puts and reads that every test makes. The helpers
 * assert; they are for the main thread alone.
 */
#ifndef GRV_TESTS_CONFORMANCE_BLOB_STORE_SUITE_H
#define GRV_TESTS_CONFORMANCE_BLOB_STORE_SUITE_H

#include "blob_store_fixtures.h"
#include "temp.h"
#include "test.h"

/* A store under test. */
typedef struct suite_env {
    const blob_store_fixture *fixture;
    bool reopens; /* suite_reopen really does */
    char directory[256];
    void *context;
    grv_blob_store *store;
} suite_env;

/* A test, run fresh and, where the store is persistent and it calls suite_reopen, reopened. */
typedef struct suite_test {
    const char *name;
    CMUnitTestFunction run;
    bool reopens;
} suite_test;

#define SUITE_FRESH(test)                                                                          \
    {                                                                                              \
#test, test, false                                                                         \
    }
#define SUITE_REOPEN(test)                                                                         \
    {                                                                                              \
#test, test, true                                                                          \
    }

/* The tests of each file. */
extern const suite_test suite_bytes_tests[];
extern const size_t suite_bytes_test_count;
extern const suite_test suite_record_tests[];
extern const size_t suite_record_test_count;
extern const suite_test suite_list_tests[];
extern const size_t suite_list_test_count;
extern const suite_test suite_failure_tests[];
extern const size_t suite_failure_test_count;
extern const suite_test suite_mixed_tests[];
extern const size_t suite_mixed_test_count;
extern const suite_test suite_model_tests[];
extern const size_t suite_model_test_count;

/* Closes the store and opens it again on its directory, in the runs that do; all streams and
 * cursors have been freed. */
void suite_reopen(suite_env *env);

/* How a put's bytes come in pieces. */
typedef enum suite_split {
    SUITE_WHOLE,   /* one write */
    SUITE_ONES,    /* one byte a write */
    SUITE_ODD,     /* writes of odd sizes, empty ones among them */
    SUITE_WINDOWS, /* windows filled in part, some given back empty */
    SUITE_SPLIT_COUNT
} suite_split;

/* Writes `bytes` to a sink in such pieces. */
grv_status suite_write(grv_sink *sink, grv_bytes bytes, suite_split split, grv_error *error);

/* Puts and commits; the outcome of the first call that failed. plan may be NULL. */
grv_status suite_try_put(suite_env *env, const grv_put_plan *plan, grv_bytes bytes,
                         suite_split split, grv_put_result *ret_result, grv_error *error);

/* Puts without attributes and asserts what every put promises of its result and on its way. */
grv_put_result suite_put(suite_env *env, grv_bytes bytes);

/* The key that `bytes` have in this store. */
grv_blob_key suite_key(const suite_env *env, grv_bytes bytes);

/* Reads `range` in views of at most `max` bytes and asserts that they are `want`, cut to it, and
 * that the end stays the end. */
void suite_check_range(suite_env *env, const grv_blob_key *key, grv_range range, grv_bytes want,
                       size_t max);

/* Reads the whole blob and asserts that it is `want`. */
void suite_check_blob(suite_env *env, const grv_blob_key *key, grv_bytes want);

/* Asserts that no slot finds a blob of that key. */
void suite_check_absent(suite_env *env, const grv_blob_key *key);

/* Number of blobs that a list by key shows. */
size_t suite_count(suite_env *env);

/* `size` random bytes from `seed`; to be freed. */
uint8_t *suite_random(uint64_t seed, size_t size);

/* Bytes with repeats and newlines at irregular distances: what deduplication and every chunker can
 * work on; to be freed. */
uint8_t *suite_lines(uint64_t seed, size_t size);

#endif
