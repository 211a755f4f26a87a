/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The object store over S3: its buckets, what its files share, and removal. Puts, copies, gets and
 * lists have files of their own.
 */
#include "backend/s3/objects.h"
#include "os/clock.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ORIGIN    GRV_S3_OBJECTS_ORIGIN
#define SECOND_NS UINT64_C(1000000000)
#define MIB       (UINT64_C(1) << 20)

const grv_s3_objects_tuning grv_s3_objects_defaults = {
    .single_max = 16 * MIB,
    .single_if_absent_max = 64 * MIB,
    .part_size = 8 * MIB,
    .part_slots = 5,
    .get_first = 1 * MIB,
    .get_size = 8 * MIB,
    .get_slots = 5,
    .copy_single_max = 5120 * MIB,
    .copy_part_size = 512 * MIB,
    .copy_slots = 8,
};

/* ---- what the files share ---- */

grv_status grv_s3_objects_check(const grv_call *call, const grv_s3_objects *store,
                                const grv_locator *locator, grv_error *error)
{
    grv_status status = grv_call_check(call, ORIGIN, error);
    if (!status) {
        status = grv_buckets_find(&store->buckets, locator->bucket, NULL, error);
    }
    return status ? status : grv_s3_key_check(locator->path, error);
}

grv_status grv_s3_objects_prefix(const grv_locator *locator, grv_status status, grv_error *error)
{
    if (status) {
        grv_error_prefix(error, "object %s://%s/%.200s", locator->scheme, locator->bucket,
                         locator->path);
    }
    return status;
}

grv_status grv_s3_objects_absent(const grv_locator *locator, grv_error *error)
{
    return grv_error_set(error, GRV_NOT_FOUND, ORIGIN, "no object %s://%s/%.200s", locator->scheme,
                         locator->bucket, locator->path);
}

grv_status grv_s3_objects_exists(const grv_locator *locator, grv_error *error)
{
    return grv_error_set(error, GRV_ALREADY_EXISTS, ORIGIN,
                         "there is an object %s://%s/%.200s already", locator->scheme,
                         locator->bucket, locator->path);
}

grv_status grv_s3_objects_info(const char *etag, uint64_t size, uint64_t modified_ns,
                               grv_object_info *ret_info, grv_error *error)
{
    _Static_assert(GRV_S3_ETAG_MAX <= GRV_OBJECT_TAG_MAX, "an ETag fits into a tag");
    if (etag[0] == '\0') {
        return grv_error_set(error, GRV_UNSUPPORTED, ORIGIN,
                             "the service gives the object no ETag");
    }
    grv_object_info info = {.size_bytes = size,
                            .modified_ns = modified_ns - modified_ns % SECOND_NS};
    memcpy(info.tag, etag, strlen(etag) + 1);
    *ret_info = info;
    return GRV_OK;
}

grv_call grv_s3_objects_own_call(uint64_t length_ns)
{
    return (grv_call){.deadline_ns = grv_now_ns() + length_ns};
}

/* The answer that an object is missing has no words, so it might be the bucket. */
static grv_status absent_or_no_bucket(const grv_call *call, grv_s3_objects *store,
                                      const grv_locator *locator, grv_error *error)
{
    grv_error mine = GRV_ERROR_INIT;
    grv_status status = grv_s3_bucket_check(call, store->s3, locator->bucket, &mine);
    if (!status) {
        return grv_s3_objects_absent(locator, error);
    }
    status = status == GRV_NOT_FOUND ? GRV_CONFLICT : status;
    mine.status = status;
    if (error) {
        *error = mine;
    }
    return status;
}

grv_status grv_s3_objects_ask(const grv_call *call, grv_s3_objects *store,
                              const grv_locator *locator, grv_s3_object_facts *ret_facts,
                              grv_error *error)
{
    grv_s3_request request = {
        .method = GRV_S3_HEAD,
        .bucket = locator->bucket,
        .key = locator->path,
        .allow_missing = true,
    };
    grv_s3_submit(call, store->s3, &request);
    grv_status status = grv_s3_wait(call, store->s3, &request, error);
    if (status == GRV_NOT_FOUND) {
        return absent_or_no_bucket(call, store, locator, error);
    }
    if (status) {
        return status;
    }
    grv_s3_object_facts facts = {0};
    status = grv_s3_objects_info(request.answer.etag, request.answer.content_length,
                                 request.answer.modified_ns, &facts.info, error);
    if (status) {
        return grv_s3_objects_prefix(locator, status, error);
    }
    memcpy(facts.put_id, request.answer.put_id, sizeof facts.put_id);
    *ret_facts = facts;
    return GRV_OK;
}

grv_status grv_s3_objects_made(const grv_call *call, grv_s3_objects *store,
                               const grv_locator *locator, const char *put_id, uint64_t size,
                               const char *etag, grv_object_info *ret_info, grv_error *error)
{
    grv_s3_object_facts facts = {0};
    grv_status status = grv_s3_objects_ask(call, store, locator, &facts, error);
    bool ours = !status && strcmp(facts.put_id, put_id) == 0;
    if (ours && facts.info.size_bytes != size) {
        return grv_error_set(
            error, GRV_CORRUPT, ORIGIN,
            "object %s://%s/%.200s has %" PRIu64 " bytes where %" PRIu64 " were put",
            locator->scheme, locator->bucket, locator->path, facts.info.size_bytes, size);
    }
    if (ours || (!status && strcmp(facts.info.tag, etag) == 0)) {
        *ret_info = facts.info;
        return GRV_OK;
    }
    if (status && status != GRV_NOT_FOUND) {
        return status;
    }
    /* No answer about the object will have the put's own name as its tag. */
    return grv_s3_objects_info(etag[0] ? etag : put_id, size, grv_clock_realtime_ns(), ret_info,
                               error);
}

grv_status grv_s3_objects_run_xml(const grv_call *call, grv_s3_objects *store,
                                  grv_s3_request *request, const char *root, const char *name,
                                  char *ret_text, size_t size, grv_error *error)
{
    grv_s3_submit(call, store->s3, request);
    grv_status status = grv_s3_wait(call, store->s3, request, error);
    return status ? status : grv_s3_objects_xml(request, root, name, ret_text, size, error);
}

grv_status grv_s3_objects_xml(const grv_s3_request *request, const char *root, const char *name,
                              char *ret_text, size_t size, grv_error *error)
{
    grv_status status =
        grv_s3_xml_text(grv_buffer_bytes(request->out), root, name, ret_text, size, error);
    if (status == GRV_NOT_FOUND) {
        status = grv_error_set(error, GRV_CORRUPT, ORIGIN,
                               "the service's answer of success for %s://%s/%.200s is no %s with "
                               "%s",
                               GRV_S3_OBJECTS_SCHEME, request->bucket, request->key, root, name);
    }
    return status;
}

/* ---- head, remove ---- */

static grv_status s3_objects_head(const grv_call *call, grv_object_store *base,
                                  const grv_locator *locator, grv_object_info *ret_info,
                                  grv_error *error)
{
    grv_s3_objects *store = (grv_s3_objects *)base;
    grv_s3_object_facts facts = {0};
    grv_status status = grv_s3_objects_check(call, store, locator, error);
    if (!status) {
        status = grv_s3_objects_ask(call, store, locator, &facts, error);
    }
    if (!status) {
        *ret_info = facts.info;
    }
    return status;
}

static grv_status s3_objects_remove(const grv_call *call, grv_mutable_object_store *base,
                                    const grv_locator *locator, grv_error *error)
{
    grv_s3_objects *store = (grv_s3_objects *)base;
    grv_status status = grv_s3_objects_check(call, store, locator, error);
    if (status) {
        return status;
    }
    grv_s3_request request = {
        .method = GRV_S3_DELETE,
        .bucket = locator->bucket,
        .key = locator->path,
        .allow_missing = true,
    };
    grv_s3_submit(call, store->s3, &request);
    status = grv_s3_wait(call, store->s3, &request, error);
    return status == GRV_NOT_FOUND ? GRV_OK : status;
}

/* ---- the store ---- */

static void s3_objects_free(grv_object_store *base)
{
    grv_s3_objects *store = (grv_s3_objects *)base;
    grv_buckets_done(&store->buckets);
    free(store);
}

static const grv_object_store_ops s3_objects_base_ops = {
    .name = "s3",
    .head = s3_objects_head,
    .open_list = grv_s3_objects_open_list,
    .open_get = grv_s3_objects_open_get,
    .free = s3_objects_free,
};

static const grv_mutable_object_store_ops s3_objects_ops = {
    .name = "s3",
    .open_put = grv_s3_objects_open_put,
    .remove = s3_objects_remove,
    .copy = grv_s3_objects_copy,
};

grv_status grv_object_store_s3_new_tuned(const grv_call *call, grv_s3 *s3,
                                         const char *const buckets[], size_t bucket_count,
                                         const grv_s3_objects_tuning *tuning,
                                         grv_mutable_object_store **ret_store, grv_error *error)
{
    grv_s3_objects *store = calloc(1, sizeof *store);
    if (!store) {
        return grv_error_set(error, GRV_LIMIT_EXCEEDED, ORIGIN, "no memory for a store");
    }
    store->s3 = s3;
    store->tuning = *tuning;
    grv_status status =
        grv_mutable_object_store_init(&store->base, &s3_objects_base_ops, &s3_objects_ops,
                                      GRV_S3_OBJECTS_SCHEME, GRV_OBJECT_CAP_IF_ABSENT, error);
    if (!status) {
        status = grv_buckets_make(&store->buckets, ORIGIN, GRV_S3_OBJECTS_SCHEME, buckets,
                                  bucket_count, error);
    }
    for (size_t i = 0; !status && i < bucket_count; i++) {
        status = grv_s3_bucket_check(call, s3, buckets[i], error);
    }
    if (status) {
        s3_objects_free(&store->base.base);
        return status;
    }
    *ret_store = &store->base;
    return GRV_OK;
}

grv_status grv_object_store_s3_new(const grv_call *call, grv_s3 *s3, const char *const buckets[],
                                   size_t bucket_count, grv_mutable_object_store **ret_store,
                                   grv_error *error)
{
    return grv_object_store_s3_new_tuned(call, s3, buckets, bucket_count, &grv_s3_objects_defaults,
                                         ret_store, error);
}
