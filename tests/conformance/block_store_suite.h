/* SPDX-License-Identifier: Apache-2.0 */
/* Shared by the files of the block_store suite: one test's store, and helpers over it. The helpers
 * fail the running test where something is not as it must be. */
#ifndef GRV_TESTS_BLOCK_STORE_SUITE_H
#define GRV_TESTS_BLOCK_STORE_SUITE_H

#include "block_store_fixtures.h"
#include "temp.h"
#include "test.h"

typedef struct suite {
    const block_fixture *fixture;
    bool reopen; /* close and open the store between writes and reads */
    char dir[256];
    void *context;
    grv_block_store *store;
} suite;

/* A test and its name; it gets the suite as cmocka's state. */
typedef struct suite_test {
    const char *name;
    void (*run)(void **state);
} suite_test;

#define SUITE_TEST(function)                                                                       \
    {                                                                                              \
#function, function                                                                        \
    }

/* The tests of block_store_index.c. */
extern const suite_test suite_index_tests[];
extern const size_t suite_index_test_count;

/* The tests of block_store_sweep.c. */
extern const suite_test suite_sweep_tests[];
extern const size_t suite_sweep_test_count;

/* Opens and closes the store around each test. */
int suite_setup(void **state);
int suite_teardown(void **state);

/* Stands between a test's writes and its reads: closes and opens where `reopen` is set. */
void suite_turn(suite *s);

/* How a made block looks inside: chosen so that stores that compress meet all kinds. */
typedef enum pattern { RANDOM, TEXT, ZEROS } pattern;

/* A block of `size` bytes drawn from `seed`; its bytes are freed by blocks_done. */
grv_block block_make(grv_hash hash, pattern how, uint64_t seed, size_t size);
/* `count` different blocks of some 100 bytes, every fifth named by sha256. */
void blocks_make(grv_block blocks[], size_t count, uint64_t seed);
void blocks_done(grv_block blocks[], size_t count);

grv_block_batch *batch_open(suite *s);
void batch_put(grv_block_batch *batch, const grv_block blocks[], size_t count);
/* Commits durably and frees. */
void batch_commit(grv_block_batch *batch, grv_block_result results[], size_t count);

/* Stores blocks in a batch of their own, durably. */
void store_blocks(suite *s, const grv_block blocks[], size_t count, grv_block_result results[]);
/* Reads one block: its status, after checking its bytes where it is GRV_OK. */
grv_status read_block(suite *s, const grv_block *block, grv_error *error);
/* Fails unless every block reads back. */
void assert_blocks(suite *s, const grv_block blocks[], size_t count);
/* Fails unless the message names the key. */
void assert_names_key(const grv_error *error, const grv_block_key *key);
bool is_missing(suite *s, const grv_block_key *key);

#endif
