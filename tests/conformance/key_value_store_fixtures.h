/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The implementations of port key_value_store that its suites run over, and one test's store. In
 * a reopened test kv_case_turn closes the store and opens it again, so what is read after it came
 * from where the store keeps things; in a fresh one it does nothing.
 */
#ifndef GRV_TESTS_CONFORMANCE_KEY_VALUE_STORE_FIXTURES_H
#define GRV_TESTS_CONFORMANCE_KEY_VALUE_STORE_FIXTURES_H

#include "test.h"

#include <graviton/port/key_value_store.h>

/* Namespaces of every store under test. */
#define KV_NAMESPACES 3u

typedef struct kv_fixture {
    const char *name;
    bool persistent; /* what was written is there when it is opened again */
    bool postgres;   /* it needs a server */
    /* Opens the store that lies in `directory` (empty at first). *context is NULL at the first open
     * of a test and kept by the suite between opens. */
    grv_status (*open)(const char *directory, void **context, grv_kv **ret_kv, grv_error *error);
    /* Closes the store; at the `last` close of a test *context is freed too. */
    void (*close)(grv_kv *kv, void **context, bool last);
} kv_fixture;

/* One test's store, its cmocka state. */
typedef struct kv_case {
    const kv_fixture *fixture;
    bool reopen;
    grv_kv *kv;
    void *context;
    char directory[256];
    char name[96];
} kv_case;

/* A test of a suite. */
typedef struct kv_test {
    const char *name;
    void (*run)(void **state);
} kv_test;

/* Closes and opens the store of a reopened case. */
void kv_case_turn(kv_case *self);

/* Runs `count` tests over every fixture, fresh and, where it is persistent, reopened. Returns
 * what main shall. */
int kv_suite_run(const char *suite, const kv_test tests[], size_t count);

/* A seed for random tests: GRV_TEST_SEED or the clock; printed, so that a failure can be rerun. */
uint64_t kv_suite_seed(void);

/* A view of a string literal or NUL-terminated text. */
static inline grv_bytes text(const char *string)
{
    return grv_bytes_of(string, strlen(string));
}

/* Writes of one operation, which must succeed. */
void kv_put(grv_kv *kv, unsigned ns, grv_bytes key, grv_bytes value);
void kv_delete(grv_kv *kv, unsigned ns, grv_bytes key);
void kv_delete_range(grv_kv *kv, unsigned ns, grv_bytes start, grv_bytes end);

/* Fails the test unless `key` has exactly `value`. */
void kv_assert_value(grv_kv *kv, unsigned ns, grv_bytes key, grv_bytes value);

/* Fails the test unless `key` is absent. */
void kv_assert_absent(grv_kv *kv, unsigned ns, grv_bytes key);

#endif
