/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The remote blob store over a real server: `graviton serve` on an embedded store in the test's
 * directory, at a port of the loopback interface. Closing stops the server, so that opening again
 * is both of them started again.
 */
#include "blob_store_server.h"

#include "os/clock.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <graviton/backend/remote.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define READY_NS UINT64_C(30000000000)
#define NAP_NS   UINT64_C(10000000)
/* How often a server is started. */
#define PORT_TRIES 5

typedef struct served {
    pid_t server;
    grv_remote *remote;
    grv_blob_store *store;
} served;

/* A port that is free now. */
static int port_find(void)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof address;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    bool bound = fd >= 0 && bind(fd, (struct sockaddr *)&address, size) == 0 &&
                 getsockname(fd, (struct sockaddr *)&address, &size) == 0;
    if (fd >= 0) {
        close(fd);
    }
    return bound ? ntohs(address.sin_port) : -1;
}

static grv_status server_start(const blob_store_fixture *fixture, const blob_store_served *what,
                               int port, pid_t *ret_pid, grv_error *error)
{
    char *program = getenv("GRAVITON_PROGRAM");
    char store[600];
    char blocks[256];
    char log[512];
    char listen[32];
    char chunker[64];
    if (!program) {
        return grv_error_set(error, GRV_INTERNAL, "fixture", "GRAVITON_PROGRAM is not set");
    }
    snprintf(store, sizeof store, "%s%s",
             what->meta ? "--meta=" : "--store=", what->meta ? what->meta : what->directory);
    snprintf(blocks, sizeof blocks, "--blocks=%s", what->blocks ? what->blocks : "");
    snprintf(log, sizeof log, "%s.log", what->directory);
    snprintf(listen, sizeof listen, "127.0.0.1:%d", port);
    snprintf(chunker, sizeof chunker, "%s", fixture->blocks);
    char *hash = fixture->hash == GRV_HASH_SHA256 ? "sha256" : "blake3";
    char *const words[] = {program,  "serve", store,       "--listen", listen,
                           "--hash", hash,    "--chunker", chunker,    what->blocks ? blocks : NULL,
                           NULL};
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_addopen(&actions, STDOUT_FILENO, log, O_WRONLY | O_CREAT | O_APPEND,
                                     0600);
    posix_spawn_file_actions_adddup2(&actions, STDOUT_FILENO, STDERR_FILENO);
    int failed = posix_spawn(ret_pid, program, &actions, NULL, words, environ);
    posix_spawn_file_actions_destroy(&actions);
    return failed ? grv_error_set_errno(error, failed, "fixture", "cannot start %s", program)
                  : GRV_OK;
}

/* Opens a client as soon as the server listens; sooner than a client would try again by itself. */
static grv_status client_open(served *it, int port, grv_error *error)
{
    char url[64];
    snprintf(url, sizeof url, "http://127.0.0.1:%d", port);
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons((uint16_t)port),
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    for (uint64_t begun = grv_now_ns(); grv_now_ns() - begun < READY_NS;) {
        int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        bool listens = fd >= 0 && connect(fd, (struct sockaddr *)&address, sizeof address) == 0;
        if (fd >= 0) {
            close(fd);
        }
        int how;
        if (waitpid(it->server, &how, WNOHANG) == it->server) {
            it->server = 0;
            return grv_error_set(error, GRV_INTERNAL, "fixture", "the server has ended");
        }
        if (listens) {
            break;
        }
        grv_clock_sleep(NAP_NS);
    }
    const grv_remote_config config = {.url = url, .token = ""};
    grv_status status = grv_remote_open(NULL, &config, &it->remote, error);
    return status ? status : grv_blob_store_remote_new(it->remote, &it->store, error);
}

void blob_store_server_close(void *context)
{
    served *it = context;
    int how = 0;
    grv_blob_store_free(it->store);
    grv_remote_close(it->remote);
    if (it->server > 0) {
        kill(it->server, SIGTERM);
        while (waitpid(it->server, &how, 0) < 0 && errno == EINTR) {
        }
        if (how != 0) {
            fprintf(stderr, "the server ended with %#x\n", (unsigned)how);
            abort();
        }
    }
    free(it);
}

grv_status blob_store_server_open(const blob_store_fixture *fixture, const blob_store_served *what,
                                  void **ret_context, grv_blob_store **ret_store, grv_error *error)
{
    served *it = calloc(1, sizeof *it);
    if (!it) {
        return grv_error_set(error, GRV_INTERNAL, "fixture", "no memory");
    }
    grv_status status = GRV_OK;
    for (int tries = 0; tries < PORT_TRIES && !it->store && !status; tries++) {
        int port = port_find();
        status = port < 0 ? grv_error_set(error, GRV_INTERNAL, "fixture", "no port")
                          : server_start(fixture, what, port, &it->server, error);
        if (!status) {
            status = client_open(it, port, error);
        }
        if (status && it->server == 0 && tries + 1 < PORT_TRIES) {
            status = GRV_OK; /* it has ended: somebody else may have taken the port meanwhile */
        }
    }
    if (status) {
        blob_store_server_close(it);
        return status;
    }
    *ret_context = it;
    *ret_store = it->store;
    return GRV_OK;
}
