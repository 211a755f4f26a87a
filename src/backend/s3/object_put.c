/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Puts. Bytes gather in memory; what fits there is put by one request, and where more comes it is a
 * multipart upload: the memory is cut into parts, and further parts are filled while others are on
 * their way. A part stays in memory until the service has it, so every request can be tried again.
 * Nothing is seen of either before its last request.
 */
#include "backend/s3/objects.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#define ORIGIN GRV_S3_OBJECTS_ORIGIN
/* Parts grow as an upload gets long, doubling after so many, up to a number of times: a stream of
 * unknown length may get as large as 490 GiB with parts that begin with 8 MiB. */
#define PARTS_A_SIZE  1000u
#define DOUBLINGS_MAX 3u
/* Bytes that the parts in memory should not pass, where there are more than two. */
#define SLOTS_BYTES ((size_t)320 << 20)
/* The smallest put that asks beforehand whether an object is there. */
#define ASK_FROM ((uint64_t)1 << 20)

/* A part in memory. */
typedef struct put_slot {
    grv_s3_part part; /* number 0: not on its way */
    uint8_t *data;
    size_t room;   /* bytes at `data` */
    size_t size;   /* of them filled */
    bool in_block; /* they lie in the sink's first block */
} put_slot;

typedef struct s3_sink {
    grv_object_sink base;
    grv_s3_objects *store;
    grv_locator locator;
    bool if_absent;
    char put_id[GRV_S3_PUT_ID_SIZE + 1];
    size_t part_size; /* of the first parts */
    uint64_t total;
    uint8_t *block; /* the first bytes: a whole put, or the memory of the first slots */
    size_t block_size;
    size_t used;    /* of it, while nothing was sent */
    bool is_upload; /* the rest is meaningful */
    grv_s3_upload upload;
    size_t filling; /* number of the part that is filled next */
    size_t oldest;  /* number of the first part that is on its way */
    size_t slot_count;
    put_slot slots[]; /* part n is in slot (n - 1) % slot_count */
} s3_sink;

/* ---- sizes ---- */

static size_t part_size_of(const s3_sink *sink, size_t number)
{
    size_t doublings = (number - 1) / PARTS_A_SIZE;
    return sink->part_size << (doublings < DOUBLINGS_MAX ? doublings : DOUBLINGS_MAX);
}

/* The size of the first parts with which an object of `hint` bytes can be put. */
static size_t part_size_choose(size_t part_size, uint64_t hint)
{
    for (;;) {
        uint64_t room = 0;
        for (unsigned i = 0; i <= DOUBLINGS_MAX; i++) {
            uint64_t parts =
                i < DOUBLINGS_MAX ? PARTS_A_SIZE : GRV_S3_PARTS_MAX - DOUBLINGS_MAX * PARTS_A_SIZE;
            room += parts * ((uint64_t)part_size << i);
        }
        if (room >= hint || part_size >= (size_t)512 << 20) {
            return part_size;
        }
        part_size *= 2;
    }
}

static put_slot *slot_of(s3_sink *sink, size_t number)
{
    assert(number > 0 && sink->slot_count > 0);
    return &sink->slots[(number - 1) % sink->slot_count];
}

/* Parts that may be in memory at once, the one that is filled included. */
static size_t slots_usable(const s3_sink *sink)
{
    size_t most = SLOTS_BYTES / part_size_of(sink, sink->filling);
    most = most < 2 ? 2 : most;
    return most < sink->slot_count ? most : sink->slot_count;
}

/* ---- the upload ---- */

static grv_status part_send(s3_sink *sink, put_slot *slot, size_t number, grv_error *error)
{
    grv_status status = grv_s3_upload_part(&sink->upload, number, &slot->part, error);
    if (status) {
        slot->part.number = 0;
        return status;
    }
    slot->part.request.body = grv_bytes_of(slot->data, slot->size);
    /* It may outlive the call that filled it, so it has the handle's patience, not its deadline. */
    grv_s3_submit(NULL, sink->store->s3, &slot->part.request);
    return GRV_OK;
}

/* Waits for the oldest part that is on its way. */
static grv_status part_wait(const grv_call *call, s3_sink *sink, grv_error *error)
{
    put_slot *slot = slot_of(sink, sink->oldest);
    grv_status status = grv_s3_wait(call, sink->store->s3, &slot->part.request, error);
    slot->part.number = 0;
    slot->size = 0;
    sink->oldest++;
    if (status == GRV_NOT_FOUND) {
        sink->upload.open = false;
        return grv_s3_upload_gone(&sink->upload, error);
    }
    if (!status) {
        status = grv_s3_upload_keep(&sink->upload, sink->oldest - 1, slot->part.request.answer.etag,
                                    error);
    }
    return status;
}

/* Sends the part that was filled. */
static grv_status filled_send(s3_sink *sink, grv_error *error)
{
    grv_status status = part_send(sink, slot_of(sink, sink->filling), sink->filling, error);
    sink->filling += status ? 0 : 1;
    return status;
}

/* Begins an upload with what has gathered. */
static grv_status upload_begin(const grv_call *call, s3_sink *sink, grv_error *error)
{
    grv_status status =
        sink->if_absent ? grv_s3_upload_if_absent_check(call, sink->store, &sink->locator, error)
                        : GRV_OK;
    if (status) {
        return status;
    }
    sink->is_upload = true;
    sink->filling = 1;
    sink->oldest = 1;
    status =
        grv_s3_upload_begin(call, sink->store, &sink->locator, sink->put_id, &sink->upload, error);
    for (size_t at = 0; !status && at < sink->used; at += sink->part_size) {
        put_slot *slot = slot_of(sink, sink->filling);
        size_t left = sink->used - at;
        slot->data = sink->block + at;
        slot->size = left < sink->part_size ? left : sink->part_size;
        slot->room = slot->size;
        slot->in_block = true;
        status = filled_send(sink, error);
    }
    return status;
}

static void slot_free(put_slot *slot)
{
    if (!slot->in_block) {
        free(slot->data);
    }
    slot->in_block = false;
}

/* Makes the slot of the part that is filled next ready: free, and large enough. */
static grv_status slot_ready(const grv_call *call, s3_sink *sink, put_slot **ret_slot,
                             grv_error *error)
{
    while (sink->filling - sink->oldest >= slots_usable(sink)) {
        grv_status status = part_wait(call, sink, error);
        if (status) {
            return status;
        }
    }
    put_slot *slot = slot_of(sink, sink->filling);
    size_t size = part_size_of(sink, sink->filling);
    if (slot->room < size) {
        uint8_t *data = malloc(size);
        if (!data) {
            return grv_error_set(error, GRV_LIMIT_EXCEEDED, ORIGIN, "no memory for a part");
        }
        slot_free(slot);
        slot->data = data;
        slot->room = size;
    }
    *ret_slot = slot;
    return GRV_OK;
}

/* ---- the sink ---- */

static grv_status s3_sink_reserve(const grv_call *call, grv_sink *base, grv_span *ret_window,
                                  grv_error *error)
{
    s3_sink *sink = (s3_sink *)base;
    grv_status status = grv_call_check(call, ORIGIN, error);
    if (!status && !sink->is_upload && sink->used == sink->block_size) {
        status = upload_begin(call, sink, error);
    }
    if (status) {
        return status;
    }
    if (!sink->is_upload) {
        *ret_window = (grv_span){sink->block + sink->used, sink->block_size - sink->used};
        return GRV_OK;
    }
    put_slot *slot = NULL;
    status = slot_ready(call, sink, &slot, error);
    if (status) {
        return status;
    }
    size_t size = part_size_of(sink, sink->filling);
    *ret_window = (grv_span){slot->data + slot->size, size - slot->size};
    return GRV_OK;
}

static grv_status s3_sink_advance(const grv_call *call, grv_sink *base, size_t size,
                                  grv_error *error)
{
    s3_sink *sink = (s3_sink *)base;
    grv_status status = grv_call_check(call, ORIGIN, error);
    if (status) {
        return status;
    }
    put_slot *slot = sink->is_upload ? slot_of(sink, sink->filling) : NULL;
    size_t window =
        slot ? part_size_of(sink, sink->filling) - slot->size : sink->block_size - sink->used;
    if (size > window || (slot && (slot->part.number || !slot->data))) {
        return grv_error_set(error, GRV_INVALID_ARGUMENT, ORIGIN,
                             "advance by %zu bytes in a window of %zu", size, window);
    }
    sink->total += size;
    if (!slot) {
        sink->used += size;
        return GRV_OK;
    }
    slot->size += size;
    return size == window ? filled_send(sink, error) : GRV_OK;
}

/* Puts all there is by one request. */
static grv_status single_put(const grv_call *call, s3_sink *sink, grv_object_info *ret_info,
                             grv_error *error)
{
    const grv_s3_pair headers[] = {{GRV_S3_PUT_ID_HEADER, sink->put_id}, {"if-none-match", "*"}};
    grv_s3_request request = {
        .method = GRV_S3_PUT,
        .bucket = sink->locator.bucket,
        .key = sink->locator.path,
        .headers = headers,
        .header_count = sink->if_absent ? 2 : 1,
        .body = grv_bytes_of(sink->block, sink->used),
        .allow_precondition = sink->if_absent,
    };
    grv_s3_submit(call, sink->store->s3, &request);
    grv_status status = grv_s3_wait(call, sink->store->s3, &request, error);
    if (status == GRV_ALREADY_EXISTS && !request.unsure) {
        return grv_s3_objects_exists(&sink->locator, error);
    }
    if (status == GRV_ALREADY_EXISTS) {
        grv_s3_object_facts facts = {0};
        status = grv_s3_objects_ask(call, sink->store, &sink->locator, &facts, error);
        if (status == GRV_NOT_FOUND) {
            status = grv_error_set(error, GRV_UNAVAILABLE, ORIGIN,
                                   "an answer was lost, and the object was removed since: whether "
                                   "it had these bytes is not known");
            return grv_s3_objects_prefix(&sink->locator, status, error);
        }
        if (status) {
            return status;
        }
        if (strcmp(facts.put_id, sink->put_id) != 0) {
            return grv_s3_objects_exists(&sink->locator, error);
        }
    } else if (status) {
        return status;
    }
    return grv_s3_objects_made(call, sink->store, &sink->locator, sink->put_id, sink->total,
                               request.answer.etag, ret_info, error);
}

static grv_status upload_finish(const grv_call *call, s3_sink *sink, grv_object_info *ret_info,
                                grv_error *error)
{
    char etag[GRV_S3_ETAG_MAX + 1] = "";
    grv_status status = GRV_OK;
    put_slot *slot = slot_of(sink, sink->filling);
    if (sink->filling - sink->oldest < sink->slot_count && slot->size > 0) {
        status = filled_send(sink, error);
    }
    while (!status && sink->oldest < sink->filling) {
        status = part_wait(call, sink, error);
    }
    if (!status) {
        status = grv_s3_upload_complete(call, &sink->upload, sink->if_absent, etag, error);
    }
    if (status) {
        return status;
    }
    return grv_s3_objects_made(call, sink->store, &sink->locator, sink->put_id, sink->total, etag,
                               ret_info, error);
}

static grv_status s3_sink_commit(const grv_call *call, grv_sink *base, grv_error *error)
{
    s3_sink *sink = (s3_sink *)base;
    grv_object_info info = {0};
    grv_status status = grv_call_check(call, ORIGIN, error);
    if (!status) {
        status = sink->is_upload ? upload_finish(call, sink, &info, error)
                                 : single_put(call, sink, &info, error);
    }
    if (!status) {
        sink->base.info = info;
    }
    return status;
}

static void s3_sink_free(grv_sink *base)
{
    s3_sink *sink = (s3_sink *)base;
    for (size_t i = 0; i < sink->slot_count; i++) {
        if (sink->slots[i].part.number) {
            grv_s3_cancel(sink->store->s3, &sink->slots[i].part.request);
        }
    }
    if (sink->is_upload) {
        grv_s3_upload_end(&sink->upload);
    }
    for (size_t i = 0; i < sink->slot_count; i++) {
        slot_free(&sink->slots[i]);
    }
    free(sink->block);
    free(sink);
}

static const grv_sink_ops s3_sink_ops = {
    .name = "s3",
    .reserve = s3_sink_reserve,
    .advance = s3_sink_advance,
    .commit = s3_sink_commit,
    .free = s3_sink_free,
};

/* ---- opening ---- */

/* Refuses before much is sent for nothing. */
static grv_status refuse_early(const grv_call *call, grv_s3_objects *store,
                               const grv_locator *locator, const grv_object_put *put,
                               grv_error *error)
{
    if (put->has_size_hint && put->size_hint < ASK_FROM) {
        return GRV_OK;
    }
    grv_s3_object_facts facts = {0};
    grv_error mine = GRV_ERROR_INIT;
    grv_status status = grv_s3_objects_ask(call, store, locator, &facts, &mine);
    if (!status) {
        return grv_s3_objects_exists(locator, error);
    }
    if (status != GRV_NOT_FOUND) {
        if (error) {
            *error = mine;
        }
        return status;
    }
    if (put->has_size_hint && put->size_hint > store->tuning.single_if_absent_max) {
        return grv_s3_upload_if_absent_check(call, store, locator, error);
    }
    return GRV_OK;
}

static s3_sink *sink_new(grv_s3_objects *store, const grv_object_put *put)
{
    const grv_s3_objects_tuning *tuning = &store->tuning;
    size_t block_size = put->if_absent ? tuning->single_if_absent_max : tuning->single_max;
    size_t part_size = part_size_choose(tuning->part_size, put->has_size_hint ? put->size_hint : 0);
    size_t first_parts = (block_size + part_size - 1) / part_size;
    size_t slots = first_parts < tuning->part_slots ? tuning->part_slots : first_parts;
    s3_sink *sink = calloc(1, sizeof *sink + slots * sizeof sink->slots[0]);
    if (!sink) {
        return NULL;
    }
    sink->block = malloc(block_size);
    if (!sink->block) {
        free(sink);
        return NULL;
    }
    sink->block_size = block_size;
    sink->part_size = part_size;
    sink->slot_count = slots;
    return sink;
}

grv_status grv_s3_objects_open_put(const grv_call *call, grv_mutable_object_store *base,
                                   const grv_locator *locator, const grv_object_put *put,
                                   grv_object_sink **ret_sink, grv_error *error)
{
    grv_s3_objects *store = (grv_s3_objects *)base;
    grv_status status = grv_s3_objects_check(call, store, locator, error);
    if (!status && put->if_absent) {
        status = refuse_early(call, store, locator, put, error);
    }
    if (status) {
        return status;
    }
    s3_sink *sink = sink_new(store, put);
    if (!sink) {
        return grv_error_set(error, GRV_LIMIT_EXCEEDED, ORIGIN, "no memory for a sink");
    }
    sink->base.base.ops = &s3_sink_ops;
    sink->store = store;
    sink->locator = *locator;
    sink->if_absent = put->if_absent;
    status = grv_s3_put_id_draw(sink->put_id, error);
    if (status) {
        free(sink->block);
        free(sink);
        return status;
    }
    *ret_sink = &sink->base;
    return GRV_OK;
}
