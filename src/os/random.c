/* SPDX-License-Identifier: Apache-2.0 */
/* Random bytes: getrandom, which for up to 256 bytes is whole or fails. */
#include "os/random.h"

#include <assert.h>
#include <errno.h>
#include <sys/random.h>

grv_status grv_random_fill(void *ret_bytes, size_t size, grv_error *error)
{
    assert(size <= 256);
    ssize_t got;
    do {
        got = getrandom(ret_bytes, size, 0);
    } while (got < 0 && errno == EINTR);
    if (got < 0) {
        return grv_error_set_errno(error, errno, "os", "no random bytes");
    }
    if ((size_t)got != size) {
        return grv_error_set(error, GRV_INTERNAL, "os", "%zd random bytes of %zu", got, size);
    }
    return GRV_OK;
}
