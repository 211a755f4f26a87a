/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The engine: one thread that drives all transfers of a handle. It alone touches curl; others hand
 * transfers over through an inbox and take them back through a list of cancels. No lock is held
 * while curl works. A transfer is in the inbox, queued, active or resting until its next try, and
 * whatever it is in, its deadline ends it.
 */
#include "backend/s3/client.h"
#include "os/random.h"

#include <assert.h>
#include <errno.h>
#include <linux/sockios.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <unistd.h>

#define MS_NS UINT64_C(1000000)
/* A try is given up where nothing has moved for so long; longer from try to try, since some answers
 * take their time. */
#define STALL_NS     (UINT64_C(15000) * MS_NS)
#define STALL_MAX_NS (UINT64_C(60000) * MS_NS)
/* A pause before another try lies between nothing and this, doubled from try to try. */
#define PAUSE_NS     (UINT64_C(50) * MS_NS)
#define PAUSE_MAX_NS (UINT64_C(5000) * MS_NS)
/* The longest that a service may ask us to wait. */
#define RETRY_AFTER_MAX_S 30u

#define EVENTS 64

/* ---- Chains ---- */

static void chain_add(grv_s3_chain *chain, grv_s3_transfer *transfer)
{
    assert(!transfer->chain);
    transfer->chain = chain;
    transfer->previous = chain->last;
    transfer->next = NULL;
    if (chain->last) {
        chain->last->next = transfer;
    } else {
        chain->first = transfer;
    }
    chain->last = transfer;
    chain->count++;
}

static void chain_add_first(grv_s3_chain *chain, grv_s3_transfer *transfer)
{
    assert(!transfer->chain);
    transfer->chain = chain;
    transfer->previous = NULL;
    transfer->next = chain->first;
    if (chain->first) {
        chain->first->previous = transfer;
    } else {
        chain->last = transfer;
    }
    chain->first = transfer;
    chain->count++;
}

static void chain_remove(grv_s3_transfer *transfer)
{
    grv_s3_chain *chain = transfer->chain;
    if (transfer->previous) {
        transfer->previous->next = transfer->next;
    } else {
        chain->first = transfer->next;
    }
    if (transfer->next) {
        transfer->next->previous = transfer->previous;
    } else {
        chain->last = transfer->previous;
    }
    transfer->chain = NULL;
    chain->count--;
}

/* ---- From other threads ---- */

void grv_s3_engine_wake(grv_s3 *s3)
{
    uint64_t one = 1;
    ssize_t written;
    do {
        written = write(s3->wake_fd, &one, sizeof one);
    } while (written < 0 && errno == EINTR);
    /* It is full at 2^64 - 1 only, and then it is readable all the same. */
}

void grv_s3_engine_add(grv_s3 *s3, grv_s3_transfer *transfer)
{
    pthread_mutex_lock(&s3->lock);
    assert(!s3->stopping);
    transfer->request->transfer = transfer;
    bool first = s3->inbox.count == 0;
    chain_add(&s3->inbox, transfer);
    s3->pending++;
    pthread_mutex_unlock(&s3->lock);
    if (first) {
        grv_s3_engine_wake(s3);
    }
}

/* ---- Ending ---- */

static void look_by(grv_s3 *s3, uint64_t when_ns)
{
    if (when_ns < s3->look_ns) {
        s3->look_ns = when_ns;
    }
}

/* Takes an active transfer's handle back from curl. */
static void release_easy(grv_s3 *s3, grv_s3_transfer *transfer)
{
    CURL *easy = transfer->easy;
    if (easy) {
        (void)curl_multi_remove_handle(s3->multi, easy); /* fails for a handle that is not in it */
        grv_s3_transfer_ended(transfer);
        s3->idle[s3->idle_count++] = easy;
    }
}

/* Takes the transfer off the list of those that are to be cancelled. The lock is held. */
static void forget_cancel(grv_s3 *s3, const grv_s3_transfer *transfer)
{
    for (grv_s3_transfer **at = &s3->cancels; *at; at = &(*at)->cancel_next) {
        if (*at == transfer) {
            *at = transfer->cancel_next;
            return;
        }
    }
}

/* The request has its status; from here on it is the caller's again. */
static void end(grv_s3 *s3, grv_s3_transfer *transfer)
{
    grv_s3_request *request = transfer->request;
    chain_remove(transfer);
    release_easy(s3, transfer);
    pthread_mutex_lock(&s3->lock);
    if (transfer->cancelled) {
        forget_cancel(s3, transfer);
    }
    request->transfer = NULL;
    request->ended = true;
    s3->pending--;
    if (request->waiter) {
        pthread_cond_signal(&request->waiter->ended);
    }
    pthread_mutex_unlock(&s3->lock);
    grv_s3_transfer_free(transfer);
}

/* Ends a request that has not come to an end of its own. */
static void give_up(grv_s3 *s3, grv_s3_transfer *transfer, grv_status status, const char *why)
{
    grv_s3_request *request = transfer->request;
    request->unsure = request->unsure || transfer->went;
    if (transfer->tries > 0 && request->status) {
        request->error.status = status;
        grv_error_prefix(&request->error, "%s after %u tries", why, transfer->tries);
    } else {
        char doing[GRV_S3_DOING_SIZE];
        grv_s3_doing(s3, request, doing);
        grv_error_set(&request->error, status, "s3", "%s: %s", doing, why);
    }
    request->status = status;
    end(s3, transfer);
}

/* ---- Tries ---- */

/* A number from 0 to `bound`: full jitter, so that those who failed together come back apart. */
static uint64_t jitter(grv_s3 *s3, uint64_t bound)
{
    uint64_t z = (s3->random += UINT64_C(0x9e3779b97f4a7c15));
    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return (z ^ z >> 31) % (bound + 1);
}

/* When there is no more time for another try. */
static uint64_t last_moment(const grv_s3_transfer *transfer)
{
    return transfer->deadline_ns ? transfer->deadline_ns : transfer->give_up_ns;
}

/* How long this try may stand still: longer each time, and the first never for so long that no time
 * is left for another. */
static uint64_t stall_of(const grv_s3 *s3, const grv_s3_transfer *transfer, uint64_t now_ns)
{
    unsigned doublings = transfer->tries < 2 ? transfer->tries : 2;
    uint64_t patience_ns = s3->settings.patience_ns;
    uint64_t first_ns = STALL_NS < patience_ns / 4 ? STALL_NS : patience_ns / 4;
    uint64_t stall_ns = first_ns << doublings;
    stall_ns = stall_ns < STALL_MAX_NS ? stall_ns : STALL_MAX_NS;
    if (!transfer->deadline_ns) {
        uint64_t left_ns = transfer->give_up_ns > now_ns ? transfer->give_up_ns - now_ns : 0;
        left_ns = left_ns > first_ns ? left_ns : first_ns;
        stall_ns = stall_ns < left_ns ? stall_ns : left_ns;
    }
    return stall_ns;
}

static CURL *take_easy(grv_s3 *s3)
{
    return s3->idle_count > 0 ? s3->idle[--s3->idle_count] : curl_easy_init();
}

/* Begins a try of the first in the queue. */
static void begin(grv_s3 *s3, grv_s3_transfer *transfer, uint64_t now_ns)
{
    grv_s3_request *request = transfer->request;
    chain_remove(transfer);
    chain_add(&s3->active, transfer);
    if (transfer->give_up_ns == 0) {
        transfer->give_up_ns = now_ns + s3->settings.patience_ns;
    }
    transfer->progress_ns = now_ns;
    transfer->stall_ns = stall_of(s3, transfer, now_ns);
    look_by(s3, now_ns + transfer->stall_ns / 4);
    grv_status status;
    transfer->easy = take_easy(s3);
    if (transfer->easy) {
        status = grv_s3_transfer_prepare(transfer, transfer->easy, &request->error);
        if (!status && curl_multi_add_handle(s3->multi, transfer->easy) != CURLM_OK) {
            status = grv_error_set(&request->error, GRV_INTERNAL, "s3", "curl takes no request");
        }
    } else {
        status =
            grv_error_set(&request->error, GRV_LIMIT_EXCEEDED, "s3", "no memory for a connection");
    }
    if (status) {
        request->status = status;
        end(s3, transfer);
    }
}

static void begin_queued(grv_s3 *s3)
{
    uint64_t now_ns = s3->queue.first ? grv_now_ns() : 0;
    while (s3->queue.first && s3->active.count < s3->settings.connections) {
        begin(s3, s3->queue.first, now_ns);
    }
}

/* Rests until another try, or is given up where the time is over. Near the end the tries come
 * closer together, so that none of the patience is given away. */
static void rest(grv_s3 *s3, grv_s3_transfer *transfer)
{
    uint64_t now_ns = grv_now_ns();
    uint64_t last_ns = last_moment(transfer);
    unsigned doublings = transfer->tries < 8 ? transfer->tries - 1 : 7;
    uint64_t bound_ns = PAUSE_NS << doublings;
    bound_ns = bound_ns < PAUSE_MAX_NS ? bound_ns : PAUSE_MAX_NS;
    uint64_t left_ns = last_ns > now_ns ? last_ns - now_ns : 0;
    uint64_t pause_ns = jitter(s3, bound_ns < left_ns / 2 ? bound_ns : left_ns / 2);
    uint64_t asked_s = transfer->head.retry_after_s;
    asked_s = asked_s < RETRY_AFTER_MAX_S ? asked_s : RETRY_AFTER_MAX_S;
    if (pause_ns < asked_s * 1000 * MS_NS) {
        pause_ns = asked_s * 1000 * MS_NS + jitter(s3, PAUSE_NS);
    }
    if (!transfer->deadline_ns && (left_ns < PAUSE_NS || pause_ns >= left_ns)) {
        give_up(s3, transfer, GRV_UNAVAILABLE, "given up");
        return;
    }
    chain_remove(transfer);
    release_easy(s3, transfer);
    chain_add(&s3->resting, transfer);
    transfer->due_ns = now_ns + pause_ns;
    look_by(s3, transfer->due_ns);
}

/* A try has ended. */
static void judge(grv_s3 *s3, grv_s3_transfer *transfer, CURLcode result)
{
    grv_s3_verdict verdict = grv_s3_judge(transfer, result);
    transfer->tries++;
    if (verdict == GRV_S3_END) {
        end(s3, transfer);
    } else if (verdict == GRV_S3_AT_ONCE) {
        chain_remove(transfer);
        release_easy(s3, transfer);
        chain_add_first(&s3->queue, transfer);
    } else {
        rest(s3, transfer);
    }
}

static void collect(grv_s3 *s3)
{
    int left = 0;
    for (CURLMsg *message; (message = curl_multi_info_read(s3->multi, &left));) {
        if (message->msg == CURLMSG_DONE) {
            char *transfer = NULL;
            CURLcode result = message->data.result;
            (void)curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, &transfer);
            judge(s3, (grv_s3_transfer *)(void *)transfer, result);
        }
    }
}

/* ---- Sockets that curl has ---- */

/* Notes whether curl wants to hear of a socket; false without memory. */
static bool watch(grv_s3 *s3, curl_socket_t socket, bool wanted)
{
    size_t place = (size_t)socket;
    if (place >= s3->watched_count) {
        if (!wanted) {
            return true;
        }
        size_t count = 2 * place + 64;
        bool *watched = realloc(s3->watched, count * sizeof *watched);
        if (!watched) {
            errno = ENOMEM;
            return false;
        }
        memset(watched + s3->watched_count, 0, (count - s3->watched_count) * sizeof *watched);
        s3->watched = watched;
        s3->watched_count = count;
    }
    s3->watched[place] = wanted;
    return true;
}

/* Only such a socket is known to be open, and curl's. */
static bool is_watched(const grv_s3 *s3, int socket)
{
    return (size_t)socket < s3->watched_count && s3->watched[socket];
}

/* ---- Looking after deadlines ---- */

/* Whether anything has moved since the last look: bytes through curl, or out of the socket's own
 * buffer, which on a slow line holds many seconds' worth. */
static bool has_moved(const grv_s3 *s3, grv_s3_transfer *transfer)
{
    curl_socket_t socket = CURL_SOCKET_BAD;
    int unsent = 0;
    if (curl_easy_getinfo(transfer->easy, CURLINFO_ACTIVESOCKET, &socket) != CURLE_OK ||
        socket == CURL_SOCKET_BAD || !is_watched(s3, socket) || ioctl(socket, SIOCOUTQ, &unsent)) {
        unsent = 0;
    }
    bool moved = transfer->moved != transfer->moved_seen || unsent < transfer->unsent_seen;
    transfer->moved_seen = transfer->moved;
    transfer->unsent_seen = unsent;
    return moved;
}

static void look_at_active(grv_s3 *s3, uint64_t now_ns)
{
    for (grv_s3_transfer *transfer = s3->active.first; transfer;) {
        grv_s3_transfer *next = transfer->next;
        if (has_moved(s3, transfer)) {
            transfer->progress_ns = now_ns;
        }
        if (transfer->deadline_ns && now_ns >= transfer->deadline_ns) {
            give_up(s3, transfer, GRV_TIMEOUT, "the deadline has passed");
        } else if (transfer->stop == GRV_S3_STOP_LOCAL) {
            judge(s3, transfer, CURLE_ABORTED_BY_CALLBACK);
        } else if (now_ns - transfer->progress_ns >= transfer->stall_ns) {
            transfer->stop = GRV_S3_STOP_STALL;
            judge(s3, transfer, CURLE_OPERATION_TIMEDOUT);
        } else {
            uint64_t due_ns = now_ns + transfer->stall_ns / 4;
            uint64_t stall_due_ns = transfer->progress_ns + transfer->stall_ns;
            look_by(s3, due_ns < stall_due_ns ? due_ns : stall_due_ns);
            look_by(s3, transfer->deadline_ns ? transfer->deadline_ns : UINT64_MAX);
        }
        transfer = next;
    }
}

static void look_at_waiting(grv_s3 *s3, grv_s3_chain *chain, uint64_t now_ns)
{
    for (grv_s3_transfer *transfer = chain->first; transfer;) {
        grv_s3_transfer *next = transfer->next;
        uint64_t deadline_ns = transfer->deadline_ns ? transfer->deadline_ns : UINT64_MAX;
        if (now_ns >= deadline_ns) {
            give_up(s3, transfer, GRV_TIMEOUT, "the deadline has passed");
        } else {
            look_by(s3, deadline_ns);
            if (chain == &s3->resting && now_ns >= transfer->due_ns) {
                chain_remove(transfer);
                chain_add_first(&s3->queue, transfer);
            } else if (chain == &s3->resting) {
                look_by(s3, transfer->due_ns);
            }
        }
        transfer = next;
    }
}

static void look(grv_s3 *s3)
{
    uint64_t now_ns = grv_now_ns();
    if (now_ns >= s3->look_ns) {
        s3->look_ns = UINT64_MAX;
        look_at_active(s3, now_ns);
        look_at_waiting(s3, &s3->resting, now_ns);
        look_at_waiting(s3, &s3->queue, now_ns);
    }
}

/* ---- The thread ---- */

/* Takes what others have left; false where there is nothing more to do, ever. */
static bool take_work(grv_s3 *s3)
{
    pthread_mutex_lock(&s3->lock);
    while (s3->inbox.first) {
        grv_s3_transfer *transfer = s3->inbox.first;
        chain_remove(transfer);
        chain_add(&s3->queue, transfer);
        look_by(s3, transfer->deadline_ns ? transfer->deadline_ns : UINT64_MAX);
    }
    bool goes_on = !s3->stopping;
    grv_s3_transfer *cancelled = s3->cancels;
    grv_status status = cancelled ? cancelled->cancelled : GRV_OK;
    pthread_mutex_unlock(&s3->lock);
    while (cancelled) {
        give_up(s3, cancelled, status,
                status == GRV_TIMEOUT ? "the deadline has passed" : "cancelled");
        pthread_mutex_lock(&s3->lock);
        cancelled = s3->cancels;
        status = cancelled ? cancelled->cancelled : GRV_OK;
        pthread_mutex_unlock(&s3->lock);
    }
    return goes_on;
}

/*
 * curl's wishes. A socket that it no longer wants stays where it is: curl may have closed it
 * already, and its number be another's; or it waits for the next request, which then costs no call.
 * One that tells of something in between goes when it does (turn).
 */
static int on_socket(CURL *easy, curl_socket_t socket, int what, void *context, void *known)
{
    grv_s3 *s3 = context;
    if (what == CURL_POLL_REMOVE) {
        (void)watch(s3, socket, false);
        (void)curl_multi_assign(s3->multi, socket, NULL);
        return 0;
    }
    struct epoll_event event = {.data.fd = socket};
    event.events = (what & CURL_POLL_IN ? EPOLLIN : 0u) | (what & CURL_POLL_OUT ? EPOLLOUT : 0u);
    int failed = watch(s3, socket, true) ? 0 : -1;
    if (!failed) {
        failed = epoll_ctl(s3->epoll_fd, known ? EPOLL_CTL_MOD : EPOLL_CTL_ADD, socket, &event);
        if (failed && (errno == ENOENT || errno == EEXIST)) {
            failed = epoll_ctl(s3->epoll_fd, known ? EPOLL_CTL_ADD : EPOLL_CTL_MOD, socket, &event);
        }
    }
    char *transfer = NULL;
    if (failed && curl_easy_getinfo(easy, CURLINFO_PRIVATE, &transfer) == CURLE_OK && transfer) {
        grv_s3_transfer *stuck = (grv_s3_transfer *)(void *)transfer;
        stuck->stop = GRV_S3_STOP_LOCAL;
        stuck->stop_errno = errno;
        s3->look_ns = 0;
    }
    (void)curl_multi_assign(s3->multi, socket, s3);
    return 0;
}

static int on_timer(CURLM *multi, long timeout_ms, void *context)
{
    (void)multi;
    grv_s3 *s3 = context;
    s3->timer_ns = timeout_ms < 0 ? UINT64_MAX : grv_now_ns() + (uint64_t)timeout_ms * MS_NS;
    return 0;
}

/* Milliseconds until the next thing that has a time. */
static int wait_ms(const grv_s3 *s3)
{
    uint64_t next_ns = s3->timer_ns < s3->look_ns ? s3->timer_ns : s3->look_ns;
    if (next_ns == UINT64_MAX) {
        return -1;
    }
    uint64_t now_ns = grv_now_ns();
    if (next_ns <= now_ns) {
        return 0;
    }
    uint64_t wait_ms = (next_ns - now_ns + MS_NS - 1) / MS_NS;
    return wait_ms < 60000 ? (int)wait_ms : 60000;
}

/* Waits for sockets, times and other threads, and lets curl work. */
static void turn(grv_s3 *s3)
{
    struct epoll_event events[EVENTS];
    int running = 0;
    int count = epoll_wait(s3->epoll_fd, events, EVENTS, wait_ms(s3));
    for (int i = 0; i < count; i++) {
        if (events[i].data.fd == s3->wake_fd) {
            uint64_t wakes;
            (void)!read(s3->wake_fd, &wakes, sizeof wakes); /* empty: somebody's wake was seen */
            continue;
        }
        if (!is_watched(s3, events[i].data.fd)) {
            /* It may have closed since; then it is off already. */
            (void)epoll_ctl(s3->epoll_fd, EPOLL_CTL_DEL, events[i].data.fd, NULL);
            continue;
        }
        uint32_t found = events[i].events;
        int what = (found & EPOLLIN ? CURL_CSELECT_IN : 0) |
                   (found & EPOLLOUT ? CURL_CSELECT_OUT : 0) |
                   (found & (EPOLLERR | EPOLLHUP) ? CURL_CSELECT_IN | CURL_CSELECT_ERR : 0);
        (void)curl_multi_socket_action(s3->multi, events[i].data.fd, what, &running);
    }
    if (s3->timer_ns != UINT64_MAX && grv_now_ns() >= s3->timer_ns) {
        s3->timer_ns = UINT64_MAX;
        (void)curl_multi_socket_action(s3->multi, CURL_SOCKET_TIMEOUT, 0, &running);
    }
}

static void *run(void *argument)
{
    grv_s3 *s3 = argument;
    while (take_work(s3)) {
        look(s3);
        begin_queued(s3);
        turn(s3);
        collect(s3);
    }
    return NULL;
}

/* ---- Starting and stopping ---- */

static grv_status open_descriptors(grv_s3 *s3, grv_error *error)
{
    s3->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (s3->epoll_fd < 0) {
        return grv_error_set_errno(error, errno, "s3", "cannot wait for sockets");
    }
    s3->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (s3->wake_fd < 0) {
        return grv_error_set_errno(error, errno, "s3", "cannot wait for other threads");
    }
    struct epoll_event event = {.events = EPOLLIN, .data.fd = s3->wake_fd};
    if (epoll_ctl(s3->epoll_fd, EPOLL_CTL_ADD, s3->wake_fd, &event)) {
        return grv_error_set_errno(error, errno, "s3", "cannot wait for other threads");
    }
    return GRV_OK;
}

static grv_status open_multi(grv_s3 *s3, grv_error *error)
{
    s3->multi = curl_multi_init();
    if (!s3->multi) {
        return grv_error_set(error, GRV_LIMIT_EXCEEDED, "s3", "no memory for connections");
    }
    int failed = (int)curl_multi_setopt(s3->multi, CURLMOPT_SOCKETFUNCTION, on_socket);
    failed |= (int)curl_multi_setopt(s3->multi, CURLMOPT_SOCKETDATA, (void *)s3);
    failed |= (int)curl_multi_setopt(s3->multi, CURLMOPT_TIMERFUNCTION, on_timer);
    failed |= (int)curl_multi_setopt(s3->multi, CURLMOPT_TIMERDATA, (void *)s3);
    failed |= (int)curl_multi_setopt(s3->multi, CURLMOPT_PIPELINING, (long)CURLPIPE_NOTHING);
    failed |=
        (int)curl_multi_setopt(s3->multi, CURLMOPT_MAXCONNECTS, (long)s3->settings.connections);
    return failed ? grv_error_set(error, GRV_INTERNAL, "s3", "curl does not take an option")
                  : GRV_OK;
}

static void close_all(grv_s3 *s3)
{
    while (s3->idle_count > 0) {
        curl_easy_cleanup(s3->idle[--s3->idle_count]);
    }
    if (s3->multi) {
        (void)curl_multi_cleanup(s3->multi);
    }
    free(s3->watched);
    if (s3->wake_fd >= 0) {
        close(s3->wake_fd);
    }
    if (s3->epoll_fd >= 0) {
        close(s3->epoll_fd);
    }
}

grv_status grv_s3_engine_start(grv_s3 *s3, grv_error *error)
{
    s3->epoll_fd = -1;
    s3->wake_fd = -1;
    s3->timer_ns = UINT64_MAX;
    s3->look_ns = UINT64_MAX;
    grv_status status = grv_random_fill(&s3->random, sizeof s3->random, error);
    if (!status) {
        status = open_descriptors(s3, error);
    }
    if (!status) {
        status = open_multi(s3, error);
    }
    if (!status) {
        /* Signals are the program's affair: its handlers never run on this thread. */
        sigset_t all;
        sigset_t before;
        sigfillset(&all);
        pthread_sigmask(SIG_SETMASK, &all, &before);
        int failed = pthread_create(&s3->thread, NULL, run, s3);
        pthread_sigmask(SIG_SETMASK, &before, NULL);
        if (failed) {
            status = grv_error_set_errno(error, failed, "s3", "cannot start the engine's thread");
        }
    }
    if (status) {
        close_all(s3);
    }
    return status;
}

void grv_s3_engine_stop(grv_s3 *s3)
{
    pthread_mutex_lock(&s3->lock);
    assert(s3->pending == 0); /* whoever submits waits */
    s3->stopping = true;
    pthread_mutex_unlock(&s3->lock);
    grv_s3_engine_wake(s3);
    pthread_join(s3->thread, NULL);
    close_all(s3);
}
