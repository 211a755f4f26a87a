/* SPDX-License-Identifier: Apache-2.0 */
/* The block stores that the suite runs over. A new one is one entry in block_fixtures. */
#ifndef GRV_TESTS_BLOCK_STORE_FIXTURES_H
#define GRV_TESTS_BLOCK_STORE_FIXTURES_H

#include <graviton/port/block_store.h>

#define BLOCK_FIXTURE_MANY 10000

/* An implementation under test. */
typedef struct block_fixture {
    const char *name;
    bool persistent; /* what was stored is there after close and open */
    /*
     * Opens the store that lies in directory `dir` (empty at first). *context is NULL at the first
     * open of a test and kept by the suite between opens.
     */
    grv_status (*open)(const char *dir, void **context, grv_block_store **ret_store,
                       grv_error *error);
    /* Closes the store; at the `last` close of a test *context is freed too. */
    void (*close)(grv_block_store *store, void **context, bool last);
    /* Blocks of the test with very many, at most BLOCK_FIXTURE_MANY; 0: that many. Fewer where each
     * is a file: some disks take milliseconds to remove one. */
    size_t many;
    /* Leaves behind what a put leaves that is killed, and adds it to `found`. NULL: whatever that
     * is, it goes with the store or counts as blocks. */
    grv_status (*leave)(const char *dir, grv_block_sweep *found, grv_error *error);
    bool s3; /* it needs a service */
} block_fixture;

extern const block_fixture block_fixtures[];
extern const size_t block_fixture_count;

#endif
