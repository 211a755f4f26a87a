/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A server on loopback that says what a test tells it to, byte for byte: for the faults that no
 * real service can be brought to. Each request takes the next line of the script, whoever sends it;
 * the last line serves all that come after.
 */
#ifndef GRV_TESTS_SCRIPTED_SERVER_H
#define GRV_TESTS_SCRIPTED_SERVER_H

#include "test.h"

#include <arpa/inet.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

#define MS           UINT64_C(1000000)
#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

#define SCRIPTED_CONNECTIONS_MAX 64
#define SCRIPTED_REQUESTS_MAX    256
#define SCRIPTED_REQUEST_SIZE    4096

/* What becomes of the connection after a line. */
typedef enum scripted_then {
    SCRIPTED_KEEP = 0,
    SCRIPTED_CLOSE,
    SCRIPTED_RESET, /* the client sees ECONNRESET */
    SCRIPTED_STALL  /* nothing more comes until the server stops */
} scripted_then;

/* One answer. */
typedef struct scripted_line {
    const char *bytes; /* NULL: none */
    scripted_then then;
    unsigned delay_ms;
} scripted_line;

/* One connection. */
typedef struct scripted_connection {
    struct scripted *server;
    pthread_t thread;
    int socket;
} scripted_connection;

/* The server. */
typedef struct scripted {
    const scripted_line *lines;
    size_t line_count;
    int listener;
    int port;
    pthread_t thread;
    pthread_mutex_t lock;
    /* Under the lock. */
    size_t requests;
    unsigned now;     /* requests that are being answered */
    unsigned at_once; /* the most that were */
    size_t connection_count;
    scripted_connection connections[SCRIPTED_CONNECTIONS_MAX];
    char heads[SCRIPTED_REQUESTS_MAX][SCRIPTED_REQUEST_SIZE]; /* request line and headers */
    size_t body_sizes[SCRIPTED_REQUESTS_MAX];
    uint64_t body_sums[SCRIPTED_REQUESTS_MAX];
} scripted;

/* Reads one request; false at the end of the connection. */
static inline bool scripted_read(int socket, char head[SCRIPTED_REQUEST_SIZE], size_t *ret_size,
                                 uint64_t *ret_sum)
{
    size_t size = 0;
    head[0] = '\0';
    while (!strstr(head, "\r\n\r\n")) {
        if (size == SCRIPTED_REQUEST_SIZE - 1 || recv(socket, head + size, 1, 0) != 1) {
            return false;
        }
        head[++size] = '\0';
    }
    const char *length = strcasestr(head, "\r\ncontent-length:");
    unsigned long left = length ? strtoul(length + 17, NULL, 10) : 0;
    *ret_size = left;
    *ret_sum = 0;
    while (left > 0) {
        unsigned char buffer[65536];
        ssize_t got = recv(socket, buffer, left < sizeof buffer ? left : sizeof buffer, 0);
        if (got <= 0) {
            return false;
        }
        for (ssize_t i = 0; i < got; i++) {
            *ret_sum = *ret_sum * 31 + buffer[i];
        }
        left -= (size_t)got;
    }
    return true;
}

/* Says a line; whether the connection goes on. */
static inline bool scripted_say(int socket, const scripted_line *line)
{
    if (line->delay_ms) {
        usleep(line->delay_ms * 1000);
    }
    size_t size = line->bytes ? strlen(line->bytes) : 0;
    for (size_t said = 0; said < size;) {
        ssize_t sent = send(socket, line->bytes + said, size - said, MSG_NOSIGNAL);
        if (sent <= 0) {
            return false;
        }
        said += (size_t)sent;
    }
    if (line->then == SCRIPTED_STALL) {
        char byte;
        while (recv(socket, &byte, 1, 0) == 1) {
        }
    }
    if (line->then == SCRIPTED_RESET) {
        struct linger at_once = {1, 0};
        setsockopt(socket, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
    }
    return line->then == SCRIPTED_KEEP;
}

static inline void *scripted_serve(void *argument)
{
    scripted_connection *connection = argument;
    scripted *server = connection->server;
    char head[SCRIPTED_REQUEST_SIZE];
    size_t size;
    uint64_t sum;
    for (bool more = true; more && scripted_read(connection->socket, head, &size, &sum);) {
        pthread_mutex_lock(&server->lock);
        size_t index = server->requests++;
        size_t last = server->line_count - 1;
        const scripted_line *line = &server->lines[index < last ? index : last];
        if (index < SCRIPTED_REQUESTS_MAX) {
            memcpy(server->heads[index], head, sizeof head);
            server->body_sizes[index] = size;
            server->body_sums[index] = sum;
        }
        server->now++;
        server->at_once = server->now > server->at_once ? server->now : server->at_once;
        pthread_mutex_unlock(&server->lock);
        more = scripted_say(connection->socket, line);
        pthread_mutex_lock(&server->lock);
        server->now--;
        pthread_mutex_unlock(&server->lock);
    }
    pthread_mutex_lock(&server->lock);
    close(connection->socket);
    connection->socket = -1;
    pthread_mutex_unlock(&server->lock);
    return NULL;
}

static inline void *scripted_accept(void *argument)
{
    scripted *server = argument;
    for (;;) {
        int socket = accept(server->listener, NULL, NULL);
        if (socket < 0) {
            return NULL;
        }
        pthread_mutex_lock(&server->lock);
        if (server->connection_count == SCRIPTED_CONNECTIONS_MAX) {
            abort();
        }
        scripted_connection *connection = &server->connections[server->connection_count++];
        *connection = (scripted_connection){.server = server, .socket = socket};
        if (pthread_create(&connection->thread, NULL, scripted_serve, connection)) {
            abort();
        }
        pthread_mutex_unlock(&server->lock);
    }
}

/* Starts a server; ends with scripted_stop. */
static inline scripted *scripted_start(const scripted_line *lines, size_t count)
{
    scripted *server = calloc(1, sizeof *server);
    if (!server) {
        abort();
    }
    server->lines = lines;
    server->line_count = count;
    server->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof address;
    if (bind(server->listener, (struct sockaddr *)&address, size) ||
        listen(server->listener, SCRIPTED_CONNECTIONS_MAX) ||
        getsockname(server->listener, (struct sockaddr *)&address, &size)) {
        abort();
    }
    server->port = ntohs(address.sin_port);
    pthread_mutex_init(&server->lock, NULL);
    if (pthread_create(&server->thread, NULL, scripted_accept, server)) {
        abort();
    }
    return server;
}

/* Requests so far. */
static inline size_t scripted_requests(scripted *server)
{
    pthread_mutex_lock(&server->lock);
    size_t requests = server->requests;
    pthread_mutex_unlock(&server->lock);
    return requests;
}

static inline void scripted_stop(scripted *server)
{
    shutdown(server->listener, SHUT_RDWR);
    pthread_join(server->thread, NULL);
    close(server->listener);
    pthread_mutex_lock(&server->lock);
    for (size_t i = 0; i < server->connection_count; i++) {
        if (server->connections[i].socket >= 0) {
            shutdown(server->connections[i].socket, SHUT_RDWR);
        }
    }
    pthread_mutex_unlock(&server->lock);
    for (size_t i = 0; i < server->connection_count; i++) {
        pthread_join(server->connections[i].thread, NULL);
    }
    pthread_mutex_destroy(&server->lock);
    free(server);
}

#endif
