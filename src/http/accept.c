/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Accepting, in a thread of our own: MHD_quiesce_daemon of libmicrohttpd 0.9.75 takes the listening
 * socket out of the event threads' epoll sets while they may do the same, and aborts the process
 * when they were first. A daemon without a listening socket has nothing to quiesce, and what waits
 * in the backlog at a stop can still be served.
 */
#include "http/accept.h"

#include "http/listen.h"
#include "http/log.h"
#include "http/watch.h"
#include "os/clock.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#define ACCEPT_FULL_MS     5   /* how often to look whether a connection has ended */
#define ACCEPT_REFUSED_MS  100 /* after an accept that the system refused */
#define ACCEPT_COMPLAIN_NS UINT64_C(10000000000)
#define ACCEPT_LOST_NS     UINT64_C(1000000000)
#define ACCEPT_LAST        HTTP_LISTEN_BACKLOG

struct http_accept {
    http_server *server;
    int wake_fd;
    uint64_t complained_ns;
    uint64_t accepted_ns; /* the last one was handed over */
    unsigned last_count;  /* accepted since the server drains */
    pthread_t thread;
};

/* How many connections were handed over and are in no list yet. One that libmicrohttpd had no
 * memory for never comes there. */
static uint64_t arriving(http_accept *accept)
{
    struct http_daemon *daemon = accept->server->daemon;
    uint64_t arrived = atomic_load(&daemon->arrived);
    uint64_t accepted = atomic_load(&daemon->accepted);
    if (accepted < arrived || grv_now_ns() - accept->accepted_ns > ACCEPT_LOST_NS) {
        accepted = arrived;
        atomic_store(&daemon->accepted, accepted);
    }
    return accepted - arrived;
}

/* A server that ends lets in who still waits, since nobody else will answer them; but no more than
 * can have been there. */
static bool is_full(http_accept *accept)
{
    http_server *server = accept->server;
    if (atomic_load(&server->is_draining)) {
        return accept->last_count++ >= ACCEPT_LAST;
    }
    return arriving(accept) + http_watch_count(server->watch) >= server->config.connections;
}

/* Said once in a while only: it comes back for each connection. */
static void complain(http_accept *accept, int failed)
{
    uint64_t now = grv_now_ns();
    if (accept->complained_ns == 0 || now - accept->complained_ns >= ACCEPT_COMPLAIN_NS) {
        char text[128];
        accept->complained_ns = now;
        http_log_event(accept->server->log, "error", "cannot accept a connection: %s",
                       strerror_r(failed, text, sizeof text));
    }
}

/* Accepts what waits, up to the limit; how many ms to leave the socket alone, or -1 for none. */
static int accept_all(http_accept *accept)
{
    struct http_daemon *daemon = accept->server->daemon;
    for (;;) {
        struct sockaddr_storage address;
        socklen_t size = sizeof address;
        if (is_full(accept)) {
            return ACCEPT_FULL_MS;
        }
        int fd = accept4(daemon->listen_fd, (struct sockaddr *)&address, &size,
                         SOCK_CLOEXEC | SOCK_NONBLOCK);
        if (fd < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) {
            return -1;
        }
        if (fd < 0 && (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM ||
                       errno == EINVAL || errno == EBADF)) {
            complain(accept, errno);
            return ACCEPT_REFUSED_MS;
        }
        /* Other errors are of a connection that ended in the backlog. What libmicrohttpd does not
         * take, it has closed. */
        if (fd >= 0 && MHD_add_connection(daemon->mhd, fd, (struct sockaddr *)&address, size)) {
            atomic_fetch_add(&daemon->accepted, 1);
            accept->accepted_ns = grv_now_ns();
        }
    }
}

static void *accept_run(void *argument)
{
    http_accept *accept = argument;
    struct pollfd wait[2] = {{.fd = accept->wake_fd, .events = POLLIN},
                             {.fd = accept->server->daemon->listen_fd, .events = POLLIN}};
    int pause_ms = -1;
    while (!(wait[0].revents & POLLIN)) {
        nfds_t count = pause_ms < 0 ? 2 : 1;
        if (poll(wait, count, pause_ms) < 0 && errno != EINTR) {
            complain(accept, errno);
        }
        pause_ms = accept_all(accept);
    }
    return NULL;
}

grv_status http_accept_new(http_server *server, http_accept **ret_accept, grv_error *error)
{
    http_accept *accept = calloc(1, sizeof *accept);
    if (!accept) {
        return grv_error_set(error, GRV_LIMIT_EXCEEDED, "accept", "no memory for a thread");
    }
    accept->server = server;
    accept->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    int failed = accept->wake_fd < 0 ? errno : 0;
    if (!failed) {
        failed = pthread_create(&accept->thread, NULL, accept_run, accept);
    }
    if (failed) {
        if (accept->wake_fd >= 0) {
            close(accept->wake_fd);
        }
        free(accept);
        return grv_error_set_errno(error, failed, "accept", "cannot start a thread");
    }
    *ret_accept = accept;
    return GRV_OK;
}

void http_accept_free(http_accept *accept)
{
    if (!accept) {
        return;
    }
    /* Adding 1 to a fresh counter neither blocks nor fails. */
    (void)eventfd_write(accept->wake_fd, 1);
    pthread_join(accept->thread, NULL);
    close(accept->wake_fd);
    free(accept);
}
