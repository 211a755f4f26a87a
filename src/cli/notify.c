/* SPDX-License-Identifier: Apache-2.0 */
/* One datagram to a unix socket, whose name may be an abstract one ("@" for its first byte). */
#include "cli/notify.h"

#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

grv_status cli_notify(const char *state, grv_error *error)
{
    const char *name = getenv("NOTIFY_SOCKET");
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    size_t size = name ? strlen(name) : 0;
    if (size == 0) {
        return GRV_OK;
    }
    if (size >= sizeof address.sun_path) {
        return grv_error_set(error, GRV_INVALID_ARGUMENT, "notify", "NOTIFY_SOCKET is too long");
    }
    memcpy(address.sun_path, name, size);
    if (name[0] == '@') {
        address.sun_path[0] = '\0';
    }
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    socklen_t length = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + size);
    ssize_t sent = fd < 0 ? -1
                          : sendto(fd, state, strlen(state), MSG_NOSIGNAL,
                                   (const struct sockaddr *)(const void *)&address, length);
    int saved = errno;
    if (fd >= 0) {
        close(fd);
    }
    if (sent < 0) {
        return grv_error_set_errno(error, saved, "notify", "cannot tell NOTIFY_SOCKET %s", state);
    }
    return GRV_OK;
}
