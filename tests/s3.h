/* SPDX-License-Identifier: Apache-2.0 */
/* Buckets for tests, on the S3 service that tests/service/ceph.py has started for them. */
#ifndef GRV_TESTS_S3_H
#define GRV_TESTS_S3_H

#include "backend/s3/s3.h"
#include "os/clock.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

/* Room for a bucket's name. */
#define TEST_S3_BUCKET_SIZE 64

/* Ends the test program with a skip of all where there is no service. Called first in main. */
static inline void test_s3_need(void)
{
    if (!getenv("GRAVITON_TEST_S3")) {
        puts("1..0 # SKIP no S3 service: run this through tests/service/ceph.py");
        exit(0);
    }
}

/* Ends the process with the error's message: no test can go on. */
static inline void test_s3_must(grv_status status, const char *what, const grv_error *error)
{
    if (status) {
        fprintf(stderr, "%s: %s: %s\n", what, grv_status_name(status), error->message);
        abort();
    }
}

/* A handle on the service, with the credentials of the environment. Aborts on failure. */
static inline grv_s3 *test_s3_open(void)
{
    grv_error error = GRV_ERROR_INIT;
    const grv_s3_config config = {.endpoint = getenv("GRAVITON_TEST_S3")};
    grv_s3 *s3 = NULL;
    test_s3_must(grv_s3_open(&config, &s3, &error), "grv_s3_open", &error);
    return s3;
}

/* Makes an empty bucket of a name that nobody else has. Aborts on failure. */
static inline void test_s3_make_bucket(grv_s3 *s3, char ret_bucket[TEST_S3_BUCKET_SIZE])
{
    grv_error error = GRV_ERROR_INIT;
    unsigned char random[12];
    if (getrandom(random, sizeof random, 0) != (ssize_t)sizeof random) {
        abort();
    }
    size_t used = (size_t)snprintf(ret_bucket, TEST_S3_BUCKET_SIZE, "test-");
    for (size_t i = 0; i < sizeof random; i++) {
        used += (size_t)snprintf(ret_bucket + used, TEST_S3_BUCKET_SIZE - used, "%02x", random[i]);
    }
    grv_s3_request request = {.method = GRV_S3_PUT, .bucket = ret_bucket};
    test_s3_must(grv_s3_run(NULL, s3, &request, 1, &error), "make a bucket", &error);
}

/* Deletes all objects of a bucket. Aborts on failure. */
static inline void test_s3_empty_bucket(grv_s3 *s3, const char *bucket)
{
    grv_error error = GRV_ERROR_INIT;
    for (bool more = true; more;) {
        grv_s3_page page;
        const char *keys[1000];
        test_s3_must(grv_s3_list(NULL, s3, bucket, "", "", 1000, &page, &error), "list", &error);
        for (size_t i = 0; i < page.count; i++) {
            keys[i] = page.entries[i].key;
        }
        if (page.count > 0) {
            test_s3_must(grv_s3_delete_many(NULL, s3, bucket, keys, page.count, &error), "delete",
                         &error);
        }
        more = page.truncated;
        grv_s3_page_done(&page);
    }
}

/* Deletes a bucket with all objects in it, and uploads that were left open. Aborts on failure. */
static inline void test_s3_remove_bucket(grv_s3 *s3, const char *bucket)
{
    grv_error error = GRV_ERROR_INIT;
    test_s3_empty_bucket(s3, bucket);
    /* An upload is no object, but keeps a bucket from being deleted on some services. */
    for (;;) {
        grv_buffer body;
        grv_buffer_init(&body, GRV_S3_XML_MAX);
        const grv_s3_pair query[] = {{"uploads", ""}, {"max-uploads", "1"}};
        grv_s3_request list = {
            .method = GRV_S3_GET, .bucket = bucket, .query = query, .query_count = 2, .out = &body};
        char text[GRV_S3_XML_MAX > 65536 ? 65536 : GRV_S3_XML_MAX];
        test_s3_must(grv_s3_run(NULL, s3, &list, 1, &error), "list uploads", &error);
        size_t size = body.size < sizeof text ? body.size : sizeof text - 1;
        memcpy(text, body.data, size);
        text[size] = '\0';
        grv_buffer_done(&body);
        char *key = strstr(text, "<Upload><Key>");
        char *id = key ? strstr(key, "<UploadId>") : NULL;
        if (!id) {
            break;
        }
        key += strlen("<Upload><Key>");
        key[strcspn(key, "<")] = '\0';
        id += strlen("<UploadId>");
        id[strcspn(id, "<")] = '\0';
        const grv_s3_pair which[] = {{"uploadId", id}};
        grv_s3_request request = {.method = GRV_S3_DELETE,
                                  .bucket = bucket,
                                  .key = key,
                                  .query = which,
                                  .query_count = 1};
        test_s3_must(grv_s3_run(NULL, s3, &request, 1, &error), "abort an upload", &error);
    }
    /* The server may still be at work on a put that its client has given up: its object appears
     * after the list that did not show it. */
    grv_status status = GRV_CONFLICT;
    for (unsigned tries = 0; status == GRV_CONFLICT && tries < 600; tries++) {
        if (tries > 0) {
            grv_clock_sleep(UINT64_C(100000000));
            test_s3_empty_bucket(s3, bucket);
        }
        grv_s3_request request = {.method = GRV_S3_DELETE, .bucket = bucket};
        status = grv_s3_run(NULL, s3, &request, 1, &error);
    }
    test_s3_must(status, "delete a bucket", &error);
}

#endif
