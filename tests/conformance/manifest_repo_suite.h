/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the files of the manifest_repo suite share: one test's repository, and blobs whose blocks
 * are told by a formula, so that a test knows every reference without keeping any.
 */
#ifndef GRV_TESTS_MANIFEST_REPO_SUITE_H
#define GRV_TESTS_MANIFEST_REPO_SUITE_H

#include "manifest_repo_fixtures.h"
#include "test.h"

#include <graviton/port/manifest_repo.h>

/* One test's repository, its cmocka state. */
typedef struct manifest_case {
    const manifest_fixture *fixture;
    bool reopen;
    grv_manifest_repo *repo;
    void *context;
    char directory[256];
    char name[128];
} manifest_case;

typedef struct manifest_test {
    const char *name;
    void (*run)(void **state);
} manifest_test;

#define MANIFEST_TEST(function)                                                                    \
    {                                                                                              \
#function, function                                                                        \
    }

/* The suite's parts, each a file of its own. */
extern const manifest_test manifest_list_tests[];
extern const size_t manifest_list_test_count;
extern const manifest_test manifest_sweep_tests[];
extern const size_t manifest_sweep_test_count;
extern const manifest_test manifest_thread_tests[];
extern const size_t manifest_thread_test_count;

/* Sets up and tears down a case. */
int manifest_case_setup(void **state);
int manifest_case_teardown(void **state);

/* In a reopened case closes the repository and opens it again; in a fresh one does nothing. */
void manifest_case_turn(manifest_case *self);

/* A blob of the suite: `blocks` blocks by the formula of `seed`, named by `seed` too. */
typedef struct test_blob {
    uint64_t seed;
    uint64_t blocks;
    grv_blob_key key;
} test_blob;

/* The plan of every put here. */
grv_manifest_plan test_plan(void);

/* Its key's size is the sum of its blocks'. */
test_blob test_blob_make(uint64_t seed, uint64_t blocks);

/* Block `index` of the blob of `seed`, and how many bytes `count` first blocks have. */
grv_block_key test_block(uint64_t seed, uint64_t index);
uint64_t test_blocks_size(uint64_t seed, uint64_t count);

/* Appends the blob's blocks from `first` up to `end`, in pieces of odd sizes. */
grv_status test_append(grv_manifest_put *put, const test_blob *blob, uint64_t first, uint64_t end,
                       grv_error *error);

/* Puts a blob. */
grv_status test_put(grv_manifest_repo *repo, const test_blob *blob,
                    const grv_attributes *attributes, grv_manifest_commit *ret_commit,
                    grv_error *error);

/* Puts a blob, which must be new. */
grv_blob_info test_put_new(grv_manifest_repo *repo, const test_blob *blob);

/*
 * Reads references from `offset` and checks each against the formula; block `want` is the first.
 * Returns the first failure of the cursor, after which nothing more is checked; GRV_OK means that
 * all came up to the blob's end. `capacity` (1 to 512) references are asked for at a time.
 */
grv_status test_read_refs(grv_manifest_repo *repo, const test_blob *blob, uint64_t offset,
                          uint64_t want, size_t capacity, grv_error *error);

/* Fails the test unless the whole blob can be read by its references. */
void test_check_whole(grv_manifest_repo *repo, const test_blob *blob);

/* Fails the test unless the two say the same. */
void test_check_info(const grv_blob_info *got, const grv_blob_info *want);

/* Fails the test unless there is no such blob, by stat, references and attributes. */
void test_check_absent(grv_manifest_repo *repo, const grv_blob_key *key);

/* Blobs of a whole list, read `capacity` at a time; fails the test past `max`. */
size_t test_list(grv_manifest_repo *repo, const grv_blob_list *list, size_t capacity,
                 grv_blob_info infos[], size_t max);

#endif
