/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the files of the object_store suite share: one test's store, and contents told by a formula,
 * so that a test knows every byte without keeping any.
 */
#ifndef GRV_TESTS_OBJECT_STORE_SUITE_H
#define GRV_TESTS_OBJECT_STORE_SUITE_H

#include "object_store_fixtures.h"
#include "test.h"

/* One test's store, its cmocka state. */
typedef struct object_case {
    const object_fixture *fixture;
    bool reopen;
    grv_mutable_object_store *store;
    void *context;
    char directory[256];
    char name[128];
} object_case;

typedef struct object_test {
    const char *name;
    void (*run)(void **state);
} object_test;

#define OBJECT_TEST(function)                                                                      \
    {                                                                                              \
#function, function                                                                        \
    }

/* The suite's parts, each a file of its own. */
extern const object_test object_put_tests[];
extern const size_t object_put_test_count;
extern const object_test object_list_tests[];
extern const size_t object_list_test_count;
extern const object_test object_thread_tests[];
extern const size_t object_thread_test_count;

/* Sets up and tears down a case. */
int object_case_setup(void **state);
int object_case_teardown(void **state);

/* In a reopened case closes the store and opens it again; in a fresh one does nothing. */
void object_case_turn(object_case *self);

/* The locator of a path in a bucket of the store's scheme. */
grv_locator object_locator(const grv_mutable_object_store *store, const char *bucket,
                           const char *path);

/* Whether the store takes the path: any, or those that are UTF-8. */
bool object_path_fits(const object_case *self, const char *path);

/* Byte `at` of the content of `seed`; never the same for two seeds at all places. */
uint8_t object_byte(uint64_t seed, uint64_t at);

/* Writes bytes [first, end) of a content into a sink. */
grv_status object_write(grv_sink *sink, uint64_t seed, uint64_t first, uint64_t end,
                        grv_error *error);

/* Puts `size` bytes of a content at a path of OBJECT_BUCKET. ret_info: NULL is allowed. */
grv_status object_try_put(grv_mutable_object_store *store, const char *path, uint64_t seed,
                          uint64_t size, bool if_absent, grv_object_info *ret_info,
                          grv_error *error);

/* As object_try_put, replacing; fails the test where that fails. */
grv_object_info object_put(object_case *self, const char *path, uint64_t seed, uint64_t size);

/* Reads a source to its end: GRV_OK if it gives exactly bytes [first, end) of a content;
 * GRV_INTERNAL where it gives others; else the source's failure. */
grv_status object_read(grv_source *source, uint64_t seed, uint64_t first, uint64_t end,
                       grv_error *error);

/* Fails the test unless the object has exactly these bytes, by get and by head. */
void object_check_in(object_case *self, const char *bucket, const char *path, uint64_t seed,
                     uint64_t size);
void object_check(object_case *self, const char *path, uint64_t seed, uint64_t size);

/* Fails the test unless there is no such object, by head and get. */
void object_check_absent(object_case *self, const char *path);

/* Fails the test unless the two say the same. */
void object_check_info(const grv_object_info *got, const grv_object_info *want);

/* A list as an array: strings are malloc'ed. */
typedef struct object_paths {
    char **paths;
    grv_object_info *infos;
    size_t count;
} object_paths;

/* A whole list of a bucket, read `capacity` (at most 100) at a time. Fails the test where the list
 * fails or is not in order. */
object_paths object_list_in(object_case *self, const char *bucket, grv_bytes prefix,
                            grv_bytes after, size_t capacity);
object_paths object_list_all(object_case *self);
void object_paths_free(object_paths *list);

#endif
