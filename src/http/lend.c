/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Giving way. A server has its store open for months, and whoever wants that to itself, in another
 * process, waits for it. So it looks every second; then it lets the puts that are open end, keeps
 * new ones waiting, lends the store, and takes it back when the other is done.
 *
 * An upload may take longer than anybody waits. So puts are kept out for a few seconds at first,
 * less than they would wait before they are turned away, and for longer only where that was not
 * enough and the store is still wanted.
 */
#include "http/lend.h"

#include "base/wait.h"
#include "http/log.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdlib.h>

#define LEND_LOOK_NS    UINT64_C(1000000000)
#define LEND_RECLAIM_NS UINT64_C(200000000)
/* How long puts that are open may take to end: at first, and at most. */
#define LEND_PAUSE_FIRST_NS UINT64_C(5000000000)
#define LEND_PAUSE_LAST_NS  UINT64_C(20000000000)

struct http_lend {
    http_server *server;
    pthread_t thread;
    pthread_mutex_t lock; /* of the condition alone: nothing but the end is waited for */
    pthread_cond_t ended;
    grv_cancel cancel; /* raised at the end */
    bool was_failure;  /* the last look failed, and was told */
    bool was_lent;     /* at the beginning, so puts are paused already */
};

/* Waits; false where it ended. */
static bool lend_sleep(http_lend *lend, uint64_t duration_ns)
{
    /* Whoever raises the flag signals too: no need to wake up and look at it. */
    const grv_call nap = {.deadline_ns = grv_now_ns() + duration_ns};
    const grv_call life = {.cancel = &lend->cancel};
    pthread_mutex_lock(&lend->lock);
    while (!grv_call_check(&life, "lend", NULL) && !grv_call_check(&nap, "lend", NULL)) {
        grv_wait(&nap, &lend->ended, &lend->lock);
    }
    pthread_mutex_unlock(&lend->lock);
    return !grv_call_check(&life, "lend", NULL);
}

static bool lend_is_wanted(http_lend *lend)
{
    const grv_call call = {.cancel = &lend->cancel};
    grv_error error = GRV_ERROR_INIT;
    bool wanted = false;
    grv_status status = grv_store_is_wanted(&call, lend->server->store, &wanted, &error);
    if (status && status != GRV_CANCELLED && !lend->was_failure) {
        http_log_event(lend->server->log, "warning",
                       "cannot see whether somebody wants the store to himself: %s", error.message);
    }
    lend->was_failure = status != GRV_OK;
    return wanted;
}

/* Keeps puts out while the store is wanted; false where it no longer is. */
static bool lend_pause(http_lend *lend)
{
    uint64_t patience_ns = LEND_PAUSE_FIRST_NS;
    while (lend_is_wanted(lend)) {
        const grv_call call = {.deadline_ns = grv_now_ns() + patience_ns, .cancel = &lend->cancel};
        if (!http_puts_pause(&call, lend->server, NULL)) {
            return true;
        }
        patience_ns = patience_ns < LEND_PAUSE_LAST_NS / 2 ? 2 * patience_ns : LEND_PAUSE_LAST_NS;
    }
    return false;
}

/* Takes the store back, however long that takes; false where it ended before. */
static bool lend_reclaim(http_lend *lend)
{
    const grv_call call = {.cancel = &lend->cancel};
    grv_status before = GRV_UNAVAILABLE;
    for (;;) {
        grv_error error = GRV_ERROR_INIT;
        grv_status status = grv_store_reclaim(&call, lend->server->store, &error);
        if (!status) {
            return true;
        }
        if (status != before && status != GRV_CANCELLED) {
            http_log_event(lend->server->log, "error", "the store cannot be taken back: %s",
                           error.message);
        }
        before = status;
        if (!lend_sleep(lend, LEND_RECLAIM_NS)) {
            return false;
        }
    }
}

/* Waits until the store is back, and lets puts in. */
static void lend_wait(http_lend *lend)
{
    http_server *server = lend->server;
    uint64_t begun_ns = grv_now_ns();
    http_log_event(server->log, "info",
                   "gives way to a process that wants the store to itself: puts wait");
    bool back = lend_reclaim(lend);
    http_puts_resume(server);
    if (back) {
        http_log_event(server->log, "info", "has the store again after %" PRIu64 " ms",
                       (grv_now_ns() - begun_ns) / 1000000);
    }
}

static void lend_once(http_lend *lend)
{
    const grv_call call = {.cancel = &lend->cancel};
    grv_error error = GRV_ERROR_INIT;
    if (grv_store_lend(&call, lend->server->store, &error)) {
        http_puts_resume(lend->server);
        http_log_event(lend->server->log, "warning", "cannot give way: %s", error.message);
        return;
    }
    lend_wait(lend);
}

static void *lend_main(void *context)
{
    http_lend *lend = context;
    if (lend->was_lent) {
        lend_wait(lend);
    }
    while (lend_sleep(lend, LEND_LOOK_NS)) {
        if (lend_pause(lend)) {
            lend_once(lend);
        }
    }
    return NULL;
}

grv_status http_lend_new(http_server *server, http_lend **ret_lend, grv_error *error)
{
    http_lend *lend = calloc(1, sizeof *lend);
    if (!lend) {
        return grv_error_set(error, GRV_LIMIT_EXCEEDED, "lend", "no memory to give way");
    }
    lend->server = server;
    lend->was_lent = grv_store_is_lent(server->store);
    /* Before the first request: there is no put yet to be waited for. */
    grv_status status = lend->was_lent ? http_puts_pause(NULL, server, error) : GRV_OK;
    if (status) {
        free(lend);
        return status;
    }
    pthread_mutex_init(&lend->lock, NULL);
    grv_wait_init(&lend->ended);
    int failed = pthread_create(&lend->thread, NULL, lend_main, lend);
    if (failed) {
        pthread_cond_destroy(&lend->ended);
        pthread_mutex_destroy(&lend->lock);
        free(lend);
        return grv_error_set_errno(error, failed, "lend", "cannot start a thread");
    }
    *ret_lend = lend;
    return GRV_OK;
}

void http_lend_free(http_lend *lend)
{
    if (!lend) {
        return;
    }
    pthread_mutex_lock(&lend->lock);
    grv_cancel_raise(&lend->cancel);
    pthread_cond_broadcast(&lend->ended);
    pthread_mutex_unlock(&lend->lock);
    pthread_join(lend->thread, NULL);
    pthread_cond_destroy(&lend->ended);
    pthread_mutex_destroy(&lend->lock);
    free(lend);
}
