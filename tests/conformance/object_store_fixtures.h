/* SPDX-License-Identifier: Apache-2.0 */
/* The object stores that the suite runs over. A new one is one entry in the table. */
#ifndef GRV_TESTS_OBJECT_STORE_FIXTURES_H
#define GRV_TESTS_OBJECT_STORE_FIXTURES_H

#include <graviton/port/mutable_object_store.h>

/* The buckets of every store under test. */
#define OBJECT_BUCKET       "one"
#define OBJECT_BUCKET_OTHER "two"

/* An implementation under test. */
typedef struct object_fixture {
    const char *name;
    bool keeps_in_memory; /* an object takes memory of this process */
    bool needs_postgres;  /* its tests are skipped where there is no server */
    bool needs_s3;        /* likewise, of the S3 service */
    bool whole_seconds;   /* of an object's time */
    size_t holds_bytes;   /* what a put or get may hold; 0: 8 MiB */
    /* Opens the store that lies in directory `dir` (empty at first). *context is NULL at the first
     * open of a test and kept by the suite between opens. */
    grv_status (*open)(const char *dir, void **context, grv_mutable_object_store **ret_store,
                       grv_error *error);
    /* Closes the store; at the `last` close of a test *context is freed too. */
    void (*close)(grv_mutable_object_store *store, void **context, bool last);
} object_fixture;

extern const object_fixture object_fixtures[];
extern const size_t object_fixture_count;

#endif
