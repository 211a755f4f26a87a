/* SPDX-License-Identifier: Apache-2.0 */
/* The blob stores that the conformance suite runs over: how to open each, and what it is. */
#ifndef GRV_TESTS_CONFORMANCE_BLOB_STORE_FIXTURES_H
#define GRV_TESTS_CONFORMANCE_BLOB_STORE_FIXTURES_H

#include <graviton/port/blob_store.h>

/* What lies under a cas store: blocks in memory, or in the key-value store of the manifests, or in
 * files, or in S3. Manifests are in RocksDB where the store is persistent, else in memory; or, with
 * blocks in files or S3, in PostgreSQL. */
typedef enum fixture_halves {
    FIXTURE_NONE, /* no cas store */
    FIXTURE_BLOCKS_MEMORY,
    FIXTURE_KV_MEMORY,
    FIXTURE_ROCKS,
    FIXTURE_FILES,
    FIXTURE_S3,
    FIXTURE_PG,
    FIXTURE_S3_PG,
    FIXTURE_SERVED,      /* behind a server: an embedded store, */
    FIXTURE_SERVED_S3_PG /* or what many servers share */
} fixture_halves;

/* One implementation under test. */
typedef struct blob_store_fixture {
    const char *name;
    bool persistent;    /* what was stored is there when it is opened again on its directory */
    grv_hash hash;      /* of blob keys */
    const char *blocks; /* chunker of a store with blocks (GRV_BLOB_CAP_REFS); NULL: it has none */
    uint64_t large;     /* bytes of the largest blob to put: fewer where blocks are tiny */
    fixture_halves halves;
    /* Opens the store on `directory` (empty the first time); *ret_context is for close. */
    grv_status (*open)(const struct blob_store_fixture *fixture, const char *directory,
                       void **ret_context, grv_blob_store **ret_store, grv_error *error);
    void (*close)(void *context);
    /* Removes what the test's store left outside its directory; NULL: nothing. */
    void (*remove)(void);
    bool postgres;               /* it needs a server, */
    bool s3;                     /* it needs a service */
    uint64_t memory_cache_bytes; /* blocks of a cas store kept in memory; 0: none */
} blob_store_fixture;

extern const blob_store_fixture blob_store_fixtures[];
extern const size_t blob_store_fixture_count;

#endif
