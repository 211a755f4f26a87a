/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fixtures over S3: buckets of given names, made and emptied on the service of the test program's
 * own. A suite that was not started through tests/service/ceph.py skips the tests of these
 * fixtures, each by name. A test that leaves an upload open has failed.
 */
#ifndef GRV_TESTS_S3_STORE_H
#define GRV_TESTS_S3_STORE_H

#include "s3.h"
#include "test.h"

/* What a fixture keeps between the opens of one test. */
typedef struct test_s3_store {
    const char *const *buckets;
    size_t bucket_count;
    grv_s3 *s3; /* NULL while closed */
} test_s3_store;

static inline void test_s3_skip(void **state)
{
    (void)state;
    skip();
}

/* Makes a test over S3 a skipped one where there is no service. */
static inline void test_s3_unit(struct CMUnitTest *unit)
{
    if (!getenv("GRAVITON_TEST_S3")) {
        *unit = (struct CMUnitTest){unit->name, test_s3_skip, NULL, NULL, NULL};
    }
}

/* Opens a handle. *context is NULL at the first open of a test, which makes the buckets. */
static inline grv_status test_s3_store_open(const char *const buckets[], size_t bucket_count,
                                            void **context, grv_s3 **ret_s3, grv_error *error)
{
    test_s3_store *store = *context;
    const grv_s3_config config = {.endpoint = getenv("GRAVITON_TEST_S3")};
    if (!store) {
        store = calloc(1, sizeof *store);
        if (!store) {
            abort();
        }
        store->buckets = buckets;
        store->bucket_count = bucket_count;
        grv_s3 *s3 = test_s3_open();
        for (size_t i = 0; i < bucket_count; i++) {
            grv_s3_request request = {.method = GRV_S3_PUT, .bucket = buckets[i]};
            test_s3_must(grv_s3_run(NULL, s3, &request, 1, error), "make a bucket", error);
        }
        grv_s3_close(s3);
        *context = store;
    }
    grv_status status = grv_s3_open(&config, &store->s3, error);
    if (!status) {
        *ret_s3 = store->s3;
    }
    return status;
}

/* Counts what the list of a bucket's uploads shows. */
static inline size_t test_s3_count_uploads(grv_s3 *s3, const char *bucket)
{
    grv_error error = GRV_ERROR_INIT;
    grv_buffer body;
    grv_buffer_init(&body, GRV_S3_XML_MAX);
    const grv_s3_pair query = {"uploads", ""};
    grv_s3_request list = {
        .method = GRV_S3_GET, .bucket = bucket, .query = &query, .query_count = 1, .out = &body};
    test_s3_must(grv_s3_run(NULL, s3, &list, 1, &error), "list uploads", &error);
    test_s3_must(grv_buffer_append(&body, grv_bytes_of("", 1), &error), "keep a list", &error);
    size_t count = 0;
    for (const char *at = (const char *)body.data; (at = strstr(at, "<Upload>")); at++) {
        count++;
    }
    grv_buffer_done(&body);
    return count;
}

/* Deletes all objects, one by one: their keys may be such that no XML can hold them. */
static inline void test_s3_delete_all(grv_s3 *s3, const char *bucket)
{
    grv_error error = GRV_ERROR_INIT;
    for (bool more = true; more;) {
        grv_s3_page page;
        test_s3_must(grv_s3_list(NULL, s3, bucket, "", "", 100, &page, &error), "list", &error);
        grv_s3_request requests[100];
        for (size_t i = 0; i < page.count; i++) {
            requests[i] = (grv_s3_request){
                .method = GRV_S3_DELETE, .bucket = bucket, .key = page.entries[i].key};
        }
        test_s3_must(grv_s3_run(NULL, s3, requests, page.count, &error), "delete", &error);
        more = page.truncated;
        grv_s3_page_done(&page);
    }
}

/* Closes the handle; at the `last` close the buckets are emptied, and *context is freed. */
static inline void test_s3_store_close(void **context, bool last)
{
    test_s3_store *store = *context;
    if (!store) {
        return;
    }
    for (size_t i = 0; last && store->s3 && i < store->bucket_count; i++) {
        size_t open = test_s3_count_uploads(store->s3, store->buckets[i]);
        if (open > 0) {
            fprintf(stderr, "%zu uploads are open in bucket %s\n", open, store->buckets[i]);
            abort();
        }
        test_s3_delete_all(store->s3, store->buckets[i]);
    }
    grv_s3_close(store->s3);
    store->s3 = NULL;
    if (last) {
        free(store);
        *context = NULL;
    }
}

#endif
