/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The watch's thread. A connection that is too slow is shut down, not closed: its event thread sees
 * the end of the stream and closes it. The list's lock is held meanwhile, and a connection leaves
 * the list before its socket is closed, so a number is never another's by then.
 */
#include "http/watch.h"

#include "base/wait.h"
#include "http/jobs.h"
#include "http/streams.h"

#include <arpa/inet.h>
#include <linux/tcp.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

#define WATCH_PERIOD_NS UINT64_C(1000000000)
#define WATCH_DRAIN_NS  UINT64_C(100000000)
#define SECOND_NS       UINT64_C(1000000000)

struct http_watch {
    http_server *server;
    pthread_mutex_t lock;
    pthread_cond_t wake;
    http_peer *peers;
    unsigned count;
    http_alarm *alarms; /* in no order: there are few */
    bool hurried;
    bool ended;
    pthread_t thread;
};

/* ---- Connections ---- */

static void peer_name(http_peer *peer, const struct sockaddr *address)
{
    char text[INET6_ADDRSTRLEN] = "";
    peer->is_tcp = true;
    if (address && address->sa_family == AF_INET) {
        const struct sockaddr_in *four = (const struct sockaddr_in *)(const void *)address;
        inet_ntop(AF_INET, &four->sin_addr, text, sizeof text);
        snprintf(peer->client, sizeof peer->client, "%s:%u", text, ntohs(four->sin_port));
        peer->rate_key_size = sizeof four->sin_addr;
        memcpy(peer->rate_key, &four->sin_addr, peer->rate_key_size);
    } else if (address && address->sa_family == AF_INET6) {
        const struct sockaddr_in6 *six = (const struct sockaddr_in6 *)(const void *)address;
        inet_ntop(AF_INET6, &six->sin6_addr, text, sizeof text);
        snprintf(peer->client, sizeof peer->client, "[%s]:%u", text, ntohs(six->sin6_port));
        peer->rate_key_size = IN6_IS_ADDR_V4MAPPED(&six->sin6_addr) ? 16 : 8;
        memcpy(peer->rate_key, &six->sin6_addr, peer->rate_key_size);
    } else {
        peer->is_tcp = false;
        snprintf(peer->client, sizeof peer->client, "unix");
        peer->rate_key_size = 4; /* zeros: all local clients are one */
    }
}

http_peer *http_watch_add(http_watch *watch, struct MHD_Connection *connection)
{
    const union MHD_ConnectionInfo *fd =
        MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD);
    const union MHD_ConnectionInfo *address =
        MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CLIENT_ADDRESS);
    http_peer *peer = calloc(1, sizeof *peer);
    if (!peer) {
        return NULL;
    }
    peer->server = watch->server;
    peer->fd = fd ? fd->connect_fd : -1;
    peer_name(peer, address ? address->client_addr : NULL);
    http_peer_reset(peer, HTTP_PHASE_IDLE);
    pthread_mutex_lock(&watch->lock);
    peer->next = watch->peers;
    peer->link = &watch->peers;
    if (peer->next) {
        peer->next->link = &peer->next;
    }
    watch->peers = peer;
    watch->count++;
    pthread_mutex_unlock(&watch->lock);
    return peer;
}

void http_watch_remove(http_watch *watch, http_peer *peer)
{
    pthread_mutex_lock(&watch->lock);
    *peer->link = peer->next;
    watch->count--;
    if (peer->next) {
        peer->next->link = peer->link;
    }
    pthread_mutex_unlock(&watch->lock);
    free(peer);
}

unsigned http_watch_count(http_watch *watch)
{
    pthread_mutex_lock(&watch->lock);
    unsigned count = watch->count;
    pthread_mutex_unlock(&watch->lock);
    return count;
}

void http_peer_turn_to(http_peer *peer, http_phase phase)
{
    uint64_t now = grv_now_ns();
    unsigned before = atomic_load_explicit(&peer->phase, memory_order_relaxed);
    if (before == HTTP_PHASE_BODY || before == HTTP_PHASE_ANSWER) {
        uint64_t since = atomic_load_explicit(&peer->since_ns, memory_order_relaxed);
        atomic_fetch_add_explicit(&peer->spent_ns, now - since, memory_order_relaxed);
    }
    atomic_store_explicit(&peer->since_ns, now, memory_order_relaxed);
    atomic_store_explicit(&peer->phase, phase, memory_order_relaxed);
}

void http_peer_reset(http_peer *peer, http_phase phase)
{
    atomic_store_explicit(&peer->since_ns, grv_now_ns(), memory_order_relaxed);
    atomic_store_explicit(&peer->spent_ns, 0, memory_order_relaxed);
    atomic_store_explicit(&peer->moved, 0, memory_order_relaxed);
    atomic_fetch_add_explicit(&peer->serial, 1, memory_order_relaxed);
    atomic_store_explicit(&peer->phase, phase, memory_order_relaxed);
}

/* ---- Who is too slow ---- */

/* Bytes that the client's TCP has taken since the answer began. */
static uint64_t peer_taken(http_peer *peer, uint64_t serial)
{
    struct tcp_info info = {0};
    socklen_t size = sizeof info;
    if (getsockopt(peer->fd, IPPROTO_TCP, TCP_INFO, &info, &size) != 0) {
        return 0;
    }
    if (peer->seen_serial != serial) {
        peer->seen_serial = serial;
        peer->acked = info.tcpi_bytes_acked;
    }
    return info.tcpi_bytes_acked - peer->acked;
}

static bool peer_is_slow(const http_watch *watch, http_peer *peer, uint64_t now)
{
    const http_server_config *config = &watch->server->config;
    unsigned phase = atomic_load_explicit(&peer->phase, memory_order_relaxed);
    uint64_t serial = atomic_load_explicit(&peer->serial, memory_order_relaxed);
    uint64_t since = atomic_load_explicit(&peer->since_ns, memory_order_relaxed);
    uint64_t lasted = now > since ? now - since : 0;
    if (phase == HTTP_PHASE_IDLE || phase == HTTP_PHASE_HEADERS) {
        return lasted > config->idle_ns;
    }
    if (phase != HTTP_PHASE_BODY && phase != HTTP_PHASE_ANSWER) {
        return false;
    }
    lasted += atomic_load_explicit(&peer->spent_ns, memory_order_relaxed);
    uint64_t moved = phase == HTTP_PHASE_ANSWER && peer->is_tcp
                         ? peer_taken(peer, serial)
                         : atomic_load_explicit(&peer->moved, memory_order_relaxed);
    return lasted > config->idle_ns &&
           (lasted - config->idle_ns) / SECOND_NS > moved / config->rate_min;
}

/* Whether a client that is waited for has closed its side, and all that it sent was read.
 * libmicrohttpd misses that where the end came together with the last bytes. */
static bool peer_is_gone(http_peer *peer)
{
    unsigned phase = atomic_load_explicit(&peer->phase, memory_order_relaxed);
    char byte;
    return (phase == HTTP_PHASE_IDLE || phase == HTTP_PHASE_HEADERS || phase == HTTP_PHASE_BODY) &&
           recv(peer->fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) == 0;
}

/* Shuts down who is too slow, and, while the server drains, lets go of who has asked for nothing:
 * what such a client may have sent just now is still read. The lock is held. */
static void watch_look(http_watch *watch, uint64_t now)
{
    bool drains = atomic_load(&watch->server->is_draining);
    for (http_peer *peer = watch->peers; peer; peer = peer->next) {
        if (peer->is_shut) {
            continue;
        }
        unsigned phase = atomic_load_explicit(&peer->phase, memory_order_relaxed);
        if (drains && phase == HTTP_PHASE_IDLE) {
            shutdown(peer->fd, SHUT_RD);
            peer->is_shut = true;
        } else if (peer_is_slow(watch, peer, now) || peer_is_gone(peer)) {
            shutdown(peer->fd, SHUT_RDWR);
            peer->is_shut = true;
        }
    }
}

/* ---- Alarms ---- */

/* Takes out those that are due, and lowers *until to the next of the others. The lock is held. */
static http_alarm *watch_due(http_watch *watch, uint64_t now, uint64_t *until)
{
    bool all = atomic_load(&watch->server->is_draining);
    http_alarm *due = NULL;
    http_alarm **link = &watch->alarms;
    while (*link) {
        http_alarm *alarm = *link;
        if (all || alarm->due_ns <= now) {
            *link = alarm->next;
            alarm->next = due;
            due = alarm;
        } else {
            *until = alarm->due_ns < *until ? alarm->due_ns : *until;
            link = &alarm->next;
        }
    }
    return due;
}

void http_watch_alarm(http_watch *watch, http_alarm *alarm)
{
    pthread_mutex_lock(&watch->lock);
    alarm->next = watch->alarms;
    watch->alarms = alarm;
    watch->hurried = true;
    pthread_cond_signal(&watch->wake);
    pthread_mutex_unlock(&watch->lock);
}

void http_watch_hurry(http_watch *watch)
{
    pthread_mutex_lock(&watch->lock);
    watch->hurried = true;
    pthread_cond_signal(&watch->wake);
    pthread_mutex_unlock(&watch->lock);
}

/* ---- The thread ---- */

static void *watch_run(void *argument)
{
    http_watch *watch = argument;
    const grv_call call = {.cancel = &watch->server->cancel};
    uint64_t look_ns = 0;
    pthread_mutex_lock(&watch->lock);
    while (!watch->ended) {
        bool drains = atomic_load(&watch->server->is_draining);
        uint64_t now = grv_now_ns();
        uint64_t period = drains ? WATCH_DRAIN_NS : WATCH_PERIOD_NS;
        bool looks = drains || now >= look_ns;
        if (looks) {
            watch_look(watch, now);
            look_ns = now + period;
        }
        uint64_t until = look_ns;
        watch->hurried = false;
        http_alarm *due = watch_due(watch, now, &until);
        pthread_mutex_unlock(&watch->lock);
        while (due) {
            http_alarm *alarm = due;
            due = alarm->next;
            alarm->wake(alarm);
        }
        if (looks) {
            http_streams_tick(watch->server->streams, now,
                              grv_call_check(&call, "watch", NULL) != GRV_OK);
        }
        if (looks && watch->server->jobs) {
            http_jobs_tick(watch->server->jobs, now);
        }
        pthread_mutex_lock(&watch->lock);
        struct timespec limit = {(time_t)(until / SECOND_NS), (long)(until % SECOND_NS)};
        while (!watch->ended && !watch->hurried &&
               pthread_cond_timedwait(&watch->wake, &watch->lock, &limit) == 0) {
        }
    }
    pthread_mutex_unlock(&watch->lock);
    return NULL;
}

grv_status http_watch_new(http_server *server, http_watch **ret_watch, grv_error *error)
{
    http_watch *watch = calloc(1, sizeof *watch);
    if (!watch) {
        return grv_error_set(error, GRV_LIMIT_EXCEEDED, "watch", "no memory for the watch");
    }
    watch->server = server;
    pthread_mutex_init(&watch->lock, NULL);
    grv_wait_init(&watch->wake);
    int failed = pthread_create(&watch->thread, NULL, watch_run, watch);
    if (failed) {
        pthread_cond_destroy(&watch->wake);
        pthread_mutex_destroy(&watch->lock);
        free(watch);
        return grv_error_set_errno(error, failed, "watch", "cannot start a thread");
    }
    *ret_watch = watch;
    return GRV_OK;
}

void http_watch_free(http_watch *watch)
{
    if (!watch) {
        return;
    }
    pthread_mutex_lock(&watch->lock);
    watch->ended = true;
    pthread_cond_signal(&watch->wake);
    pthread_mutex_unlock(&watch->lock);
    pthread_join(watch->thread, NULL);
    pthread_cond_destroy(&watch->wake);
    pthread_mutex_destroy(&watch->lock);
    free(watch);
}
