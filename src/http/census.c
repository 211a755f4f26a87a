/* SPDX-License-Identifier: Apache-2.0 */
/* What the server knows of its store by asking now and then. */
#include "http/census.h"
#include "base/wait.h"
#include "http/log.h"
#include "os/clock.h"

#include <graviton/port/block_store.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

struct http_census {
    http_server *server;
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    grv_cancel cancel;
    bool is_ending;
    /* Counting. */
    bool is_wanted;
    bool is_running;
    bool is_known;
    uint64_t begun; /* counts that were, and that ended */
    uint64_t ended;
    uint64_t counted_ns; /* of the last that ended well: when it began, since 1970 */
    uint64_t known_ns;   /* the same on grv_now_ns */
    uint64_t duration_ns;
    grv_store_stats stats;
    uint64_t tried_ns; /* when the last one ended, grv_now_ns; 0: none did */
    uint64_t tried_duration_ns;
    grv_error failure; /* of the last one */
    /* Readiness. */
    bool is_checking;
    uint64_t checked_ns; /* 0: never */
    grv_error unready;   /* status GRV_OK: it answers */
};

/* ---- Counting ---- */

static void count_once(http_census *census)
{
    grv_store_stats stats = {0};
    grv_error failure = GRV_ERROR_INIT;
    const grv_call call = {.cancel = &census->cancel, .priority = GRV_BACKGROUND};
    uint64_t counted_ns = grv_clock_realtime_ns();
    uint64_t begun_ns = grv_now_ns();
    grv_status status = grv_store_count(&call, census->server->store, &stats, &failure);
    uint64_t ended_ns = grv_now_ns();
    if (status && status != GRV_CANCELLED) {
        http_log_event(census->server->log, "error", "the store cannot be counted: %s",
                       failure.message);
    }
    pthread_mutex_lock(&census->lock);
    census->is_running = false;
    census->ended = census->begun;
    census->tried_ns = ended_ns;
    census->tried_duration_ns = ended_ns - begun_ns;
    census->failure = failure;
    census->failure.status = status;
    if (!status) {
        census->is_known = true;
        census->stats = stats;
        census->counted_ns = counted_ns;
        census->known_ns = begun_ns;
        census->duration_ns = ended_ns - begun_ns;
    }
    pthread_cond_broadcast(&census->changed);
    pthread_mutex_unlock(&census->lock);
}

static void *census_main(void *context)
{
    http_census *census = context;
    pthread_mutex_lock(&census->lock);
    while (!census->is_ending) {
        if (!census->is_wanted) {
            pthread_cond_wait(&census->changed, &census->lock);
            continue;
        }
        census->is_wanted = false;
        census->is_running = true;
        census->begun++;
        pthread_mutex_unlock(&census->lock);
        count_once(census);
        pthread_mutex_lock(&census->lock);
    }
    pthread_mutex_unlock(&census->lock);
    return NULL;
}

/* The lock is held. */
static void count_fill(const http_census *census, http_count *ret_count)
{
    uint64_t now_ns = grv_now_ns();
    *ret_count = (http_count){
        .is_known = census->is_known,
        .is_running = census->is_running || census->is_wanted,
        .stats = census->stats,
        .counted_ns = census->counted_ns,
        .age_ns = census->is_known ? now_ns - census->known_ns : 0,
        .duration_ns = census->duration_ns,
    };
}

static bool count_is_old(const http_census *census)
{
    uint64_t period_ns = 20 * census->tried_duration_ns;
    period_ns = period_ns > HTTP_CENSUS_PERIOD ? period_ns : HTTP_CENSUS_PERIOD;
    return census->tried_ns == 0 || grv_now_ns() - census->tried_ns >= period_ns;
}

void http_census_ask(http_census *census, http_count *ret_count)
{
    pthread_mutex_lock(&census->lock);
    if (!census->is_running && !census->is_wanted && count_is_old(census)) {
        census->is_wanted = true;
        pthread_cond_broadcast(&census->changed);
    }
    count_fill(census, ret_count);
    pthread_mutex_unlock(&census->lock);
}

grv_status http_census_wait(const grv_call *call, http_census *census, http_count *ret_count,
                            grv_error *error)
{
    grv_status status = GRV_OK;
    pthread_mutex_lock(&census->lock);
    /* One that runs already has not seen what came since it began: the next one does. */
    uint64_t wanted = census->begun + 1;
    census->is_wanted = true;
    pthread_cond_broadcast(&census->changed);
    while (!status && census->ended < wanted) {
        status = census->is_ending
                     ? grv_error_set(error, GRV_CANCELLED, "census", "the server is stopping")
                     : grv_call_check(call, "census", error);
        if (!status) {
            grv_wait(call, &census->changed, &census->lock);
        }
    }
    if (!status && census->failure.status) {
        status = census->failure.status;
        if (error) {
            *error = census->failure;
        }
    }
    if (!status) {
        count_fill(census, ret_count);
    }
    pthread_mutex_unlock(&census->lock);
    return status;
}

/* ---- Readiness ---- */

/* Asks each half for something that isn't there: the cheapest question that reaches it. */
static grv_status store_ask(http_census *census, grv_error *error)
{
    grv_store *store = census->server->store;
    const grv_call call = {.deadline_ns = grv_now_ns() + HTTP_READY_PATIENCE,
                           .cancel = &census->cancel};
    grv_hash hash = grv_store_get_info(store)->hash;
    grv_digest digest = {.hash = hash == GRV_HASH_NONE ? GRV_HASH_BLAKE3 : hash};
    uint8_t byte;
    grv_block_key block = {.digest = digest, .size = 1};
    grv_blob_key blob = {.digest = digest, .size = 1};
    grv_blob_info info;
    grv_span span = {&byte, 1};
    grv_status one = GRV_OK;
    grv_status status = grv_blob_store_stat(&call, census->server->blobs, &blob, &info, error);
    if (!status || status == GRV_NOT_FOUND) {
        status = grv_block_store_get(&call, grv_store_blocks(store), &block, &span, 1, &one, error);
    }
    return status == GRV_NOT_FOUND ? GRV_OK : status;
}

/* Tells the log where readiness changes. The lock is held, which only those who ask for it want. */
static void ready_tell(const http_census *census, const grv_error *now)
{
    if (now->status && !census->unready.status) {
        http_log_event(census->server->log, "error", "the store does not answer: %s", now->message);
    } else if (!now->status && census->unready.status) {
        http_log_event(census->server->log, "info", "the store answers again");
    }
}

grv_status http_census_ready(http_census *census, grv_error *error)
{
    grv_error failure = GRV_ERROR_INIT;
    pthread_mutex_lock(&census->lock);
    bool is_old = census->checked_ns == 0 || grv_now_ns() - census->checked_ns >= HTTP_READY_PERIOD;
    if (is_old && !census->is_checking) {
        census->is_checking = true;
        pthread_mutex_unlock(&census->lock);
        grv_status status = store_ask(census, &failure);
        failure.status = status;
        pthread_mutex_lock(&census->lock);
        census->is_checking = false;
        census->checked_ns = grv_now_ns();
        ready_tell(census, &failure);
        census->unready = failure;
    }
    if (census->checked_ns == 0) {
        grv_error_set(&failure, GRV_UNAVAILABLE, "http", "the store has not answered yet");
    } else {
        failure = census->unready;
    }
    pthread_mutex_unlock(&census->lock);
    if (failure.status && error) {
        *error = failure;
    }
    return failure.status;
}

/* ---- Beginning and end ---- */

grv_status http_census_new(http_server *server, http_census **ret_census, grv_error *error)
{
    http_census *census = calloc(1, sizeof *census);
    if (!census) {
        return grv_error_set(error, GRV_LIMIT_EXCEEDED, "census", "no memory for a census");
    }
    census->server = server;
    pthread_mutex_init(&census->lock, NULL);
    grv_wait_init(&census->changed);
    int failed = pthread_create(&census->thread, NULL, census_main, census);
    if (failed) {
        pthread_mutex_destroy(&census->lock);
        pthread_cond_destroy(&census->changed);
        free(census);
        return grv_error_set_errno(error, failed, "census", "cannot start a thread for the census");
    }
    *ret_census = census;
    return GRV_OK;
}

void http_census_free(http_census *census)
{
    if (!census) {
        return;
    }
    pthread_mutex_lock(&census->lock);
    census->is_ending = true;
    grv_cancel_raise(&census->cancel);
    pthread_cond_broadcast(&census->changed);
    pthread_mutex_unlock(&census->lock);
    pthread_join(census->thread, NULL);
    pthread_mutex_destroy(&census->lock);
    pthread_cond_destroy(&census->changed);
    free(census);
}
