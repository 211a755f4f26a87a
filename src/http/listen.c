/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Listening: on an address, on a unix socket, or on what systemd opened beforehand. It guards that
 * a server without tokens is not reached from elsewhere by mistake.
 */
#include "http/listen.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define LISTEN_PASSED 3 /* the first descriptor that systemd passes */

typedef union listen_address {
    struct sockaddr any;
    struct sockaddr_in four;
    struct sockaddr_in6 six;
    struct sockaddr_un local;
    struct sockaddr_storage room;
} listen_address;

static bool is_loopback(const listen_address *address)
{
    switch (address->any.sa_family) {
    case AF_INET:
        return (ntohl(address->four.sin_addr.s_addr) >> 24) == 127;
    case AF_INET6:
        return IN6_IS_ADDR_LOOPBACK(&address->six.sin6_addr);
    default:
        return address->any.sa_family == AF_UNIX;
    }
}

/* What to call it. */
static void listen_name(const listen_address *address, bool is_tls, struct http_daemon *daemon)
{
    const char *scheme = is_tls ? "https" : "http";
    char text[INET6_ADDRSTRLEN] = "";
    if (address->any.sa_family == AF_INET) {
        inet_ntop(AF_INET, &address->four.sin_addr, text, sizeof text);
        snprintf(daemon->where, sizeof daemon->where, "%s://%s:%u", scheme, text,
                 ntohs(address->four.sin_port));
    } else if (address->any.sa_family == AF_INET6) {
        inet_ntop(AF_INET6, &address->six.sin6_addr, text, sizeof text);
        snprintf(daemon->where, sizeof daemon->where, "%s://[%s]:%u", scheme, text,
                 ntohs(address->six.sin6_port));
    } else {
        snprintf(daemon->where, sizeof daemon->where, "unix:%s", address->local.sun_path);
    }
}

/* Whether nobody needs a token, and everybody could come. */
static grv_status listen_check(const http_server_config *config, const listen_address *address,
                               grv_error *error)
{
    if (config->tokens || config->insecure || is_loopback(address)) {
        return GRV_OK;
    }
    return grv_error_set(error, GRV_PERMISSION, "listen",
                         "anybody who reaches %s could read and change the store: name a file of "
                         "tokens (--tokens), or say --insecure if that is meant",
                         config->listen ? config->listen : "the socket that was passed");
}

/* ---- Addresses ---- */

static grv_status address_resolve(const char *listen, listen_address *ret_address,
                                  socklen_t *ret_size, grv_error *error)
{
    char host[256];
    const char *colon = strrchr(listen, ':');
    size_t size = colon ? (size_t)(colon - listen) : 0;
    bool bracketed = size > 1 && listen[0] == '[' && listen[size - 1] == ']';
    const char *begin = bracketed ? listen + 1 : listen;
    size -= bracketed ? 2 : 0;
    char *end = NULL;
    errno = 0;
    unsigned long port = colon && colon[1] >= '0' && colon[1] <= '9' ? strtoul(colon + 1, &end, 10)
                                                                     : UINT16_MAX + 1ul;
    if (size == 0 || size >= sizeof host || port > UINT16_MAX || *end ||
        (!bracketed && memchr(begin, ':', size))) {
        return grv_error_set(error, GRV_INVALID_ARGUMENT, "listen",
                             "cannot listen on \"%s\": want ADDRESS:PORT, [ADDRESS]:PORT or "
                             "unix:PATH",
                             listen);
    }
    memcpy(host, begin, size);
    host[size] = '\0';
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE};
    struct addrinfo *found = NULL;
    int failed = getaddrinfo(host, colon + 1, &hints, &found);
    if (failed) {
        return grv_error_set(error, GRV_INVALID_ARGUMENT, "listen", "cannot listen on \"%s\": %s",
                             listen, gai_strerror(failed));
    }
    memcpy(&ret_address->room, found->ai_addr, found->ai_addrlen);
    *ret_size = found->ai_addrlen;
    freeaddrinfo(found);
    return GRV_OK;
}

static grv_status address_local(const char *path, listen_address *ret_address, socklen_t *ret_size,
                                grv_error *error)
{
    listen_address address = {.local.sun_family = AF_UNIX};
    size_t size = strlen(path);
    if (size == 0 || size >= sizeof address.local.sun_path) {
        return grv_error_set(error, GRV_INVALID_ARGUMENT, "listen",
                             "a unix socket's path has 1 to %zu bytes: \"%s\"",
                             sizeof address.local.sun_path - 1, path);
    }
    memcpy(address.local.sun_path, path, size + 1);
    *ret_address = address;
    *ret_size = (socklen_t)sizeof address.local;
    return GRV_OK;
}

/* A name that an ended server left behind is taken away; one that somebody answers at is not. */
static void local_clear(const listen_address *address, socklen_t size)
{
    struct stat status;
    if (lstat(address->local.sun_path, &status) != 0 || !S_ISSOCK(status.st_mode)) {
        return;
    }
    int probe = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (probe < 0) {
        return;
    }
    if (connect(probe, &address->any, size) != 0 && errno == ECONNREFUSED) {
        unlink(address->local.sun_path);
    }
    close(probe);
}

/* ---- Sockets ---- */

static grv_status socket_open(const char *listen_text, const listen_address *address,
                              socklen_t size, int *ret_fd, grv_error *error)
{
    int one = 1;
    int fd = socket(address->any.sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    bool is_local = address->any.sa_family == AF_UNIX;
    bool good = fd >= 0;
    good = good && (is_local || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one) == 0);
    good = good && bind(fd, &address->any, size) == 0 && listen(fd, HTTP_LISTEN_BACKLOG) == 0;
    if (good) {
        *ret_fd = fd;
        return GRV_OK;
    }
    int saved = errno;
    if (fd >= 0) {
        close(fd);
    }
    if (saved == EADDRINUSE) {
        return grv_error_set(error, GRV_UNAVAILABLE, "listen",
                             "cannot listen on %s: another program does", listen_text);
    }
    return grv_error_set_errno(error, saved, "listen", "cannot listen on %s", listen_text);
}

/* The socket that systemd passed, if it passed one. */
static grv_status socket_passed(int *ret_fd, grv_error *error)
{
    const char *pid = getenv("LISTEN_PID");
    const char *count = getenv("LISTEN_FDS");
    int value = 0;
    socklen_t size = sizeof value;
    if (!count || strcmp(count, "1") != 0 || (pid && strtol(pid, NULL, 10) != getpid())) {
        return grv_error_set(error, GRV_INVALID_ARGUMENT, "listen",
                             "no socket was passed (LISTEN_FDS is to be 1)");
    }
    if (getsockopt(LISTEN_PASSED, SOL_SOCKET, SO_ACCEPTCONN, &value, &size) != 0 || !value) {
        return grv_error_set(error, GRV_INVALID_ARGUMENT, "listen",
                             "what was passed is no socket that listens");
    }
    int flags = fcntl(LISTEN_PASSED, F_GETFL);
    if (flags < 0 || fcntl(LISTEN_PASSED, F_SETFL, flags | O_NONBLOCK) < 0 ||
        fcntl(LISTEN_PASSED, F_SETFD, FD_CLOEXEC) < 0) {
        return grv_error_set_errno(error, errno, "listen", "cannot set up the socket passed");
    }
    *ret_fd = LISTEN_PASSED;
    return GRV_OK;
}

grv_status http_listen_open(const http_server_config *config, struct http_daemon *daemon,
                            grv_error *error)
{
    listen_address address = {0};
    socklen_t size = 0;
    int fd = -1;
    grv_status status;
    if (!config->listen) {
        status = socket_passed(&fd, error);
    } else if (strncmp(config->listen, "unix:", 5) == 0) {
        status = address_local(config->listen + 5, &address, &size, error);
    } else {
        status = address_resolve(config->listen, &address, &size, error);
    }
    if (!status && config->listen) {
        status = listen_check(config, &address, error);
    }
    if (!status && config->listen) {
        if (address.any.sa_family == AF_UNIX) {
            local_clear(&address, size);
        }
        status = socket_open(config->listen, &address, size, &fd, error);
    }
    if (status) {
        return status;
    }
    bool is_local = config->listen && address.any.sa_family == AF_UNIX;
    daemon->listen_fd = fd;
    snprintf(daemon->unix_path, sizeof daemon->unix_path, "%s",
             is_local ? address.local.sun_path : "");
    socklen_t room = sizeof address;
    if (getsockname(fd, &address.any, &room) != 0) {
        status = grv_error_set_errno(error, errno, "listen", "cannot ask for the socket's name");
    }
    if (!status && !config->listen) {
        status = listen_check(config, &address, error);
    }
    if (status) {
        http_listen_close(daemon);
        return status;
    }
    listen_name(&address, config->tls_cert != NULL, daemon);
    return GRV_OK;
}

void http_listen_close(struct http_daemon *daemon)
{
    if (daemon->listen_fd < 0) {
        return;
    }
    if (daemon->unix_path[0]) {
        unlink(daemon->unix_path);
        daemon->unix_path[0] = '\0';
    }
    close(daemon->listen_fd);
    daemon->listen_fd = -1;
}
