/* SPDX-License-Identifier: Apache-2.0 */
/* Requests that end with an answer held in memory, tried again where that may help. */
#include "backend/remote/client.h"
#include "os/clock.h"

#include <string.h>

#define MS              UINT64_C(1000000)
#define SECOND          UINT64_C(1000000000)
#define PAUSE_FIRST_NS  (100 * MS)
#define PAUSE_MAX_NS    (5 * SECOND)
#define PAUSE_LOOK_NS   (100 * MS)
#define RETRY_AFTER_MAX UINT64_C(3600)
/* Tries of a server that nobody has heard of yet. */
#define FIRST_TRIES 4u
/* What a server may take to answer that has much to do: so many times the patience. */
#define LONG_TIMES 10u

void grv_remote_tries_begin(grv_remote_tries *tries)
{
    tries->begun_ns = grv_now_ns();
    tries->count = 0;
}

/* A number from half of `ns` to all of it. */
static uint64_t jitter(grv_remote *remote, uint64_t ns)
{
    /* splitmix64: clients that were refused at once must not come back at once. */
    uint64_t x =
        __atomic_add_fetch(&remote->random, UINT64_C(0x9e3779b97f4a7c15), __ATOMIC_RELAXED);
    x = (x ^ x >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    x = (x ^ x >> 27) * UINT64_C(0x94d049bb133111eb);
    x ^= x >> 31;
    return ns / 2 + x % (ns / 2 + 1);
}

grv_status grv_remote_tries_wait(const grv_call *call, grv_remote *remote, grv_remote_tries *tries,
                                 uint64_t retry_after_s, bool *ret_goes_on, grv_error *error)
{
    unsigned shift = tries->count < 6 ? tries->count : 6;
    uint64_t pause = PAUSE_FIRST_NS << shift;
    pause = jitter(remote, pause < PAUSE_MAX_NS ? pause : PAUSE_MAX_NS);
    if (retry_after_s > 0) {
        uint64_t said =
            (retry_after_s < RETRY_AFTER_MAX ? retry_after_s : RETRY_AFTER_MAX) * SECOND;
        pause = said > pause ? said : pause;
    }
    uint64_t now = grv_now_ns();
    bool has_deadline = call && call->deadline_ns > 0;
    uint64_t end =
        has_deadline ? call->deadline_ns : tries->begun_ns + remote->settings.patience_ns;
    tries->count++;
    *ret_goes_on = (tries->max == 0 || tries->count < tries->max) && now + pause < end;
    if (!*ret_goes_on) {
        return GRV_OK;
    }
    for (uint64_t until = now + pause; now < until; now = grv_now_ns()) {
        grv_status status = grv_call_check(call, GRV_REMOTE_ORIGIN, error);
        if (status) {
            return status;
        }
        grv_clock_sleep(until - now < PAUSE_LOOK_NS ? until - now : PAUSE_LOOK_NS);
    }
    return grv_call_check(call, GRV_REMOTE_ORIGIN, error);
}

/* One try: what came of it is in the answer. */
static grv_status try_once(const grv_call *call, grv_remote *remote, const grv_remote_ask *ask,
                           grv_remote_answer *answer, bool *ret_again, grv_error *error)
{
    grv_remote_transfer transfer = {.into = &answer->body};
    answer->head = (grv_remote_head){0};
    answer->body.size = 0;
    *ret_again = false;
    grv_status status = grv_remote_transfer_begin(call, remote, &ask->request, &transfer, error);
    if (status) {
        return status;
    }
    if (ask->is_long) {
        transfer.stall_ns = remote->settings.patience_ns * LONG_TIMES;
    }
    status = grv_remote_transfer_drive(call, &transfer, NULL, error);
    if (!status) {
        status = grv_remote_judge(&transfer, ask->doing, ret_again, error);
        answer->head = transfer.head;
    }
    bool answered = transfer.done && transfer.result == CURLE_OK && transfer.head.is_whole;
    bool refused = answered && (transfer.head.http == 429 || transfer.head.http == 503);
    bool maybe_served = transfer.went && status && (!answered || *ret_again) && !refused;
    answer->unsure = answer->unsure || transfer.unsure || maybe_served;
    if (ask->once && maybe_served) {
        *ret_again = false;
    }
    grv_remote_transfer_end(&transfer);
    return status;
}

grv_status grv_remote_ask_for(const grv_call *call, grv_remote *remote, const grv_remote_ask *ask,
                              grv_remote_answer *answer, grv_error *error)
{
    grv_remote_tries tries = {0};
    grv_buffer_init(&answer->body, ask->answer_max ? ask->answer_max : GRV_REMOTE_JSON_MAX);
    answer->unsure = false;
    grv_remote_tries_begin(&tries);
    for (;;) {
        bool again;
        grv_status status = try_once(call, remote, ask, answer, &again, error);
        if (!status || !again) {
            return status;
        }
        tries.max = ask->is_first && !answer->head.is_whole ? FIRST_TRIES : 0;
        bool goes_on;
        grv_error given_up = GRV_ERROR_INIT;
        grv_status stopped = grv_remote_tries_wait(call, remote, &tries, answer->head.retry_after_s,
                                                   &goes_on, &given_up);
        if (stopped && error) {
            *error = given_up;
        }
        if (stopped || !goes_on) {
            return stopped ? stopped : status;
        }
    }
}

void grv_remote_answer_done(grv_remote_answer *answer)
{
    grv_buffer_done(&answer->body);
}

grv_status grv_remote_ask_json(const grv_call *call, grv_remote *remote, const grv_remote_ask *ask,
                               json_t **ret_json, grv_error *error)
{
    grv_remote_answer answer = {0};
    grv_status status = grv_remote_ask_for(call, remote, ask, &answer, error);
    if (!status && !answer.head.is_json) {
        status = grv_remote_no_server(remote, ask->doing, "it is no JSON that it sends", error);
    } else if (!status) {
        status = grv_remote_json_parse(grv_buffer_bytes(&answer.body), ret_json, error);
        if (status) {
            grv_error_prefix(error, "%s at %s", ask->doing, remote->settings.where);
        }
    }
    grv_remote_answer_done(&answer);
    return status;
}
