/* SPDX-License-Identifier: Apache-2.0 */
/* Many requests at once. They are begun in order and settled in order, a ring of them in memory;
 * as many as there are connections are with the service, as many again wait to follow at once. */
#include "backend/s3/blocks.h"

#include <stdlib.h>

/* How long the bucket is taken to be there after it was seen. */
#define SEEN_NS UINT64_C(5000000000)

static void slot_begin(const grv_s3_window *window, grv_s3_slot *slot, size_t index)
{
    *slot = (grv_s3_slot){.index = index};
    slot->request.bucket = window->blocks->bucket;
    slot->request.key = slot->name;
    window->prepare(window->context, slot);
    grv_s3_submit(window->call, window->blocks->s3, &slot->request);
}

/* Ends a request. After a failure of the run only its memory matters. */
static grv_status slot_end(const grv_s3_window *window, grv_s3_slot *slot, grv_error *error)
{
    grv_status status = grv_s3_wait(window->call, window->blocks->s3, &slot->request, error);
    status = window->settle(window->context, slot, status, error);
    grv_buffer_done(&slot->out);
    return status;
}

grv_status grv_s3_window_run(const grv_s3_window *window, size_t *ret_settled, grv_error *error)
{
    size_t room = 2 * (size_t)grv_s3_connections(window->blocks->s3);
    room = room < window->count ? room : window->count;
    grv_status status = grv_call_check(window->call, "s3", error);
    if (status || window->count == 0) {
        return status;
    }
    grv_s3_slot *slots = calloc(room, sizeof *slots);
    if (!slots) {
        return grv_error_set(error, GRV_LIMIT_EXCEEDED, "s3", "no memory for %zu requests", room);
    }
    size_t begun = 0;
    size_t ended = 0;
    while (ended < begun || (begun < window->count && !status)) {
        while (!status && begun < window->count && begun - ended < room) {
            slot_begin(window, &slots[begun % room], begun);
            begun++;
        }
        grv_error one = GRV_ERROR_INIT;
        grv_status failed = slot_end(window, &slots[ended % room], &one);
        ended++;
        if (failed && !status) {
            status = failed;
            if (error) {
                *error = one;
            }
        }
    }
    free(slots);
    if (ret_settled) {
        *ret_settled = ended;
    }
    return status;
}

void grv_s3_bucket_seen(grv_s3_blocks *blocks)
{
    __atomic_store_n(&blocks->seen_ns, grv_now_ns(), __ATOMIC_RELAXED);
}

grv_status grv_s3_bucket_sure(const grv_call *call, grv_s3_blocks *blocks, grv_error *error)
{
    uint64_t seen_ns = __atomic_load_n(&blocks->seen_ns, __ATOMIC_RELAXED);
    if (grv_now_ns() - seen_ns < SEEN_NS) {
        return GRV_OK;
    }
    grv_status status = grv_s3_bucket_check(call, blocks->s3, blocks->bucket, error);
    if (!status) {
        grv_s3_bucket_seen(blocks);
    }
    /* Nobody may take this for a block that is absent. */
    return status == GRV_NOT_FOUND ? GRV_CONFLICT : status;
}
