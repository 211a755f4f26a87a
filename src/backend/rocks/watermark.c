/* SPDX-License-Identifier: Apache-2.0 */
/* The watermark's file: eight bytes of sequence number and eight of XXH3 over them, both little
 * endian. */
#include "backend/rocks/watermark.h"

#include "os/file.h"

#include <errno.h>
#include <unistd.h>
#include <xxhash.h>

#define WATERMARK_SIZE 16

static void put_le64(uint8_t *out, uint64_t value)
{
    for (int i = 0; i < 8; i++) {
        out[i] = (uint8_t)(value >> (8 * i));
    }
}

static uint64_t get_le64(const uint8_t *in)
{
    uint64_t value = 0;
    for (int i = 0; i < 8; i++) {
        value |= (uint64_t)in[i] << (8 * i);
    }
    return value;
}

grv_status grv_watermark_open(int dir, bool read_only, grv_watermark *ret_watermark,
                              grv_error *error)
{
    int fd = -1;
    int flags = read_only ? O_RDONLY | O_NOFOLLOW : O_RDWR | O_CREAT | O_NOFOLLOW;
    grv_status status = grv_file_open(dir, GRV_WATERMARK_FILE, flags, 0666, &fd, error);
    if (status == GRV_NOT_FOUND && read_only) {
        *ret_watermark = (grv_watermark){-1, 0};
        return GRV_OK;
    }
    if (status) {
        return status;
    }
    uint8_t bytes[WATERMARK_SIZE];
    size_t size = 0;
    status =
        grv_file_read_all(fd, (grv_span){bytes, sizeof bytes}, &size, GRV_WATERMARK_FILE, error);
    if (status) {
        grv_file_calls()->close(fd);
        return status;
    }
    bool valid = size == sizeof bytes && get_le64(bytes + 8) == XXH3_64bits(bytes, 8);
    *ret_watermark = (grv_watermark){fd, valid ? get_le64(bytes) : 0};
    return GRV_OK;
}

void grv_watermark_raise(grv_watermark *watermark, uint64_t sequence)
{
    uint64_t noted = __atomic_load_n(&watermark->sequence, __ATOMIC_RELAXED);
    do {
        if (sequence <= noted) {
            return;
        }
    } while (!__atomic_compare_exchange_n(&watermark->sequence, &noted, sequence, true,
                                          __ATOMIC_RELAXED, __ATOMIC_RELAXED));
    /* Two raises at once may land in either order; the smaller number is true as well. */
    uint8_t bytes[WATERMARK_SIZE];
    put_le64(bytes, sequence);
    put_le64(bytes + 8, XXH3_64bits(bytes, 8));
    ssize_t written;
    do {
        written = pwrite(watermark->fd, bytes, sizeof bytes, 0);
    } while (written < 0 && errno == EINTR);
}

uint64_t grv_watermark_noted(const grv_watermark *watermark)
{
    return __atomic_load_n(&watermark->sequence, __ATOMIC_RELAXED);
}

void grv_watermark_close(grv_watermark *watermark)
{
    /* Never synced, so nothing is promised that a failed close could break. */
    grv_file_calls()->close(watermark->fd);
    watermark->fd = -1;
}
