/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Gets: a first request that also tells what the object is, then ranges of it, several of them on
 * their way while the oldest is read. Each has exactly its bytes or has failed, and each names the
 * ETag of the first answer, so that no two versions are mixed.
 */
#include "backend/s3/objects.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ORIGIN GRV_S3_OBJECTS_ORIGIN
/* Times that an object may be replaced by one of another size while it is opened. */
#define OPEN_TRIES 4u

/* A range in memory, or on its way. */
typedef struct get_slot {
    grv_s3_request request;
    grv_s3_pair headers[2];
    char range[64];
    uint8_t *data; /* of get_size bytes, from the first use on */
    size_t size;
} get_slot;

typedef struct s3_source {
    grv_source base;
    grv_s3_objects *store;
    grv_locator locator;
    grv_object_info info;
    char if_match[GRV_OBJECT_TAG_MAX + 3];
    grv_buffer first; /* what the opening has read */
    grv_bytes left;   /* read and not yet given */
    uint64_t asked;   /* up to here ranges are in memory, on their way, or were given */
    uint64_t end;
    grv_status failed;
    bool holds; /* the oldest slot's bytes are being given */
    size_t oldest;
    size_t used; /* slots from the oldest on, in a ring */
    size_t count;
    get_slot slots[];
} s3_source;

/* ---- ranges ---- */

static void slot_submit(const grv_call *call, s3_source *source, get_slot *slot)
{
    slot->headers[0] = (grv_s3_pair){"range", slot->range};
    slot->headers[1] = (grv_s3_pair){"if-match", source->if_match};
    slot->request = (grv_s3_request){
        .method = GRV_S3_GET,
        .bucket = source->locator.bucket,
        .key = source->locator.path,
        .headers = slot->headers,
        .header_count = 2,
        .into = {slot->data, slot->size},
        .allow_missing = true,
        .allow_precondition = true,
    };
    grv_s3_submit(call, source->store->s3, &slot->request);
}

/* Asks for ranges until all slots are in use or all is asked for. They may outlive the call that
 * asked for them, so they have the handle's patience and not its deadline. */
static grv_status source_ask(s3_source *source, grv_error *error)
{
    const size_t size = source->store->tuning.get_size;
    while (source->used < source->count && source->asked < source->end) {
        get_slot *slot = &source->slots[(source->oldest + source->used) % source->count];
        if (!slot->data) {
            slot->data = malloc(size);
        }
        if (!slot->data) {
            if (source->used > 0) {
                return GRV_OK; /* fewer will do */
            }
            return grv_error_set(error, GRV_LIMIT_EXCEEDED, ORIGIN, "no memory for a range");
        }
        uint64_t left = source->end - source->asked;
        slot->size = left < size ? (size_t)left : size;
        snprintf(slot->range, sizeof slot->range, "bytes=%" PRIu64 "-%" PRIu64, source->asked,
                 source->asked + slot->size - 1);
        slot_submit(NULL, source, slot);
        source->asked += slot->size;
        source->used++;
    }
    return GRV_OK;
}

/* What an answer to a range says of the object, when it is not the one that was opened. */
static grv_status slot_check(const s3_source *source, const get_slot *slot, grv_status status,
                             grv_error *error)
{
    const grv_s3_answer *answer = &slot->request.answer;
    if (status == GRV_NOT_FOUND) {
        grv_s3_objects_absent(&source->locator, error);
        grv_error_prefix(error, "removed while it was read");
        return status;
    }
    bool replaced = status == GRV_ALREADY_EXISTS ||
                    (!status && (strcmp(answer->etag, source->info.tag) != 0 ||
                                 answer->object_size != source->info.size_bytes));
    if (replaced) {
        grv_error_set(error, GRV_CONFLICT, ORIGIN, "replaced while it was read");
        return grv_s3_objects_prefix(&source->locator, GRV_CONFLICT, error);
    }
    return status;
}

/* Waits for the oldest range. One that failed before anybody waited for it is tried once more. */
static grv_status source_wait(const grv_call *call, s3_source *source, grv_error *error)
{
    get_slot *slot = &source->slots[source->oldest];
    grv_status status = grv_s3_wait(call, source->store->s3, &slot->request, error);
    if (grv_status_is_retryable(status) && !grv_call_check(call, ORIGIN, NULL)) {
        slot_submit(call, source, slot);
        status = grv_s3_wait(call, source->store->s3, &slot->request, error);
    }
    status = slot_check(source, slot, status, error);
    if (!status) {
        source->left = grv_bytes_of(slot->data, slot->size);
        source->holds = true;
    }
    return status;
}

static grv_status source_more(const grv_call *call, s3_source *source, grv_error *error)
{
    if (source->holds) {
        source->holds = false;
        source->oldest = (source->oldest + 1) % source->count;
        source->used--;
    } else {
        grv_buffer_done(&source->first);
    }
    grv_status status = source_ask(source, error);
    if (status || source->used == 0) {
        return status;
    }
    return source_wait(call, source, error);
}

static grv_status s3_source_next(const grv_call *call, grv_source *base, size_t max,
                                 grv_bytes *ret_view, grv_error *error)
{
    s3_source *source = (s3_source *)base;
    if (source->failed) {
        grv_error_set(error, source->failed, ORIGIN, "this get failed earlier (%s)",
                      grv_status_name(source->failed));
        return grv_s3_objects_prefix(&source->locator, source->failed, error);
    }
    source->failed = grv_call_check(call, ORIGIN, error);
    /* The others come while the first bytes are read. */
    if (!source->failed && source->used == 0) {
        source->failed = source_ask(source, error);
    }
    if (!source->failed && source->left.size == 0) {
        source->failed = source_more(call, source, error);
    }
    if (source->failed) {
        return source->failed;
    }
    size_t size = max < source->left.size ? max : source->left.size;
    *ret_view = grv_bytes_of(source->left.data, size);
    if (size > 0) {
        source->left = grv_bytes_of(source->left.data + size, source->left.size - size);
    }
    return GRV_OK;
}

static void s3_source_free(grv_source *base)
{
    s3_source *source = (s3_source *)base;
    for (size_t i = source->holds ? 1 : 0; i < source->used; i++) {
        get_slot *slot = &source->slots[(source->oldest + i) % source->count];
        grv_s3_cancel(source->store->s3, &slot->request);
    }
    for (size_t i = 0; i < source->count; i++) {
        free(source->slots[i].data);
    }
    grv_buffer_done(&source->first);
    free(source);
}

static const grv_source_ops s3_source_ops = {
    .name = "s3",
    .next = s3_source_next,
    .free = s3_source_free,
};

/* ---- opening ---- */

/* A source of bytes from `at` to `end`, of which `first` has the beginning; it is taken. */
static grv_status source_new(grv_s3_objects *store, const grv_locator *locator,
                             const grv_object_info *info, uint64_t at, uint64_t end,
                             grv_buffer *first, grv_source **ret_source, grv_error *error)
{
    size_t count = store->tuning.get_slots;
    s3_source *source = calloc(1, sizeof *source + count * sizeof source->slots[0]);
    if (!source) {
        return grv_error_set(error, GRV_LIMIT_EXCEEDED, ORIGIN, "no memory for a source");
    }
    source->base.ops = &s3_source_ops;
    source->store = store;
    source->locator = *locator;
    source->info = *info;
    snprintf(source->if_match, sizeof source->if_match, "\"%s\"", info->tag);
    source->first = *first;
    *first = (grv_buffer){0};
    source->left = grv_buffer_bytes(&source->first);
    source->asked = at + source->first.size;
    source->end = end;
    source->count = count;
    *ret_source = &source->base;
    return GRV_OK;
}

/* Opens a source without any bytes, which only a question for the object can tell. *ret_again where
 * the range has some by now. */
static grv_status open_nothing(const grv_call *call, grv_s3_objects *store,
                               const grv_locator *locator, grv_range range,
                               grv_object_info *ret_info, grv_source **ret_source, bool *ret_again,
                               grv_error *error)
{
    grv_s3_object_facts facts = {0};
    grv_buffer none = {0};
    grv_status status = grv_s3_objects_ask(call, store, locator, &facts, error);
    if (status) {
        return status;
    }
    if (range.first > facts.info.size_bytes) {
        grv_error_set(error, GRV_INVALID_ARGUMENT, ORIGIN,
                      "byte %" PRIu64 " of an object of %" PRIu64, range.first,
                      facts.info.size_bytes);
        return grv_s3_objects_prefix(locator, GRV_INVALID_ARGUMENT, error);
    }
    *ret_again = range.first < facts.info.size_bytes && range.first < range.end;
    if (*ret_again) {
        return GRV_OK;
    }
    *ret_info = facts.info;
    return source_new(store, locator, &facts.info, range.first, range.first, &none, ret_source,
                      error);
}

/* Reads the first bytes, and with them what the object is. */
static grv_status open_first(const grv_call *call, grv_s3_objects *store,
                             const grv_locator *locator, grv_range range, grv_buffer *first,
                             grv_object_info *ret_info, bool *ret_nothing, grv_error *error)
{
    char text[64];
    uint64_t size = range.end - range.first;
    size = size < store->tuning.get_first ? size : store->tuning.get_first;
    snprintf(text, sizeof text, "bytes=%" PRIu64 "-%" PRIu64, range.first, range.first + size - 1);
    const grv_s3_pair header = {"range", text};
    grv_s3_request request = {
        .method = GRV_S3_GET,
        .bucket = locator->bucket,
        .key = locator->path,
        .headers = &header,
        .header_count = 1,
        .out = first,
        .allow_missing = true,
    };
    grv_s3_submit(call, store->s3, &request);
    grv_status status = grv_s3_wait(call, store->s3, &request, error);
    const grv_s3_answer *answer = &request.answer;
    *ret_nothing = status == GRV_INVALID_ARGUMENT && answer->http == 416;
    if (*ret_nothing) {
        return GRV_OK;
    }
    if (status == GRV_NOT_FOUND) {
        return grv_s3_objects_absent(locator, error);
    }
    if (status) {
        return status;
    }
    grv_object_info info = {0};
    status =
        grv_s3_objects_info(answer->etag, answer->object_size, answer->modified_ns, &info, error);
    if (!status) {
        uint64_t want = info.size_bytes < range.first ? 0 : info.size_bytes - range.first;
        want = want < size ? want : size;
        if (want == 0 || first->size != want) {
            status = grv_error_set(error, GRV_CORRUPT, ORIGIN,
                                   "the service answers %s of %" PRIu64 " bytes with %zu", text,
                                   info.size_bytes, first->size);
        }
    }
    if (status) {
        return grv_s3_objects_prefix(locator, status, error);
    }
    *ret_info = info;
    return GRV_OK;
}

grv_status grv_s3_objects_open_get(const grv_call *call, grv_object_store *base,
                                   const grv_locator *locator, grv_range range,
                                   grv_object_info *ret_info, grv_source **ret_source,
                                   grv_error *error)
{
    grv_s3_objects *store = (grv_s3_objects *)base;
    grv_object_info info = {0};
    grv_buffer first;
    grv_buffer_init(&first, store->tuning.get_first);
    grv_status status = grv_s3_objects_check(call, store, locator, error);
    bool nothing = range.first == range.end;
    for (unsigned i = 0; !status && i < OPEN_TRIES; i++) {
        if (!nothing) {
            first.size = 0;
            status = open_first(call, store, locator, range, &first, &info, &nothing, error);
        }
        if (!status && nothing) {
            bool again = false;
            status = open_nothing(call, store, locator, range, ret_info, ret_source, &again, error);
            if (!status && again) {
                nothing = false;
                continue;
            }
            grv_buffer_done(&first);
            return status;
        }
        if (!status) {
            uint64_t end = range.end < info.size_bytes ? range.end : info.size_bytes;
            status = source_new(store, locator, &info, range.first, end, &first, ret_source, error);
        }
        if (!status) {
            *ret_info = info;
            return GRV_OK;
        }
    }
    grv_buffer_done(&first);
    if (!status) {
        status = grv_error_set(error, GRV_CONFLICT, ORIGIN,
                               "object %s://%s/%.200s is replaced all the time; try again",
                               locator->scheme, locator->bucket, locator->path);
    }
    return status;
}
