/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The reserve's file. Space is taken with fallocate where the file system has it; elsewhere it is
 * written, with random bytes, because zeros take no space on a file system that compresses. How
 * much it holds is asked from the file system (blocks of the file), not remembered.
 */
#include "backend/rocks/reserve.h"

#include "os/file.h"
#include "os/random.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <unistd.h>

/* What stays free, and at most this share of a small file system. */
#define MARGIN_BYTES (UINT64_C(1) << 20)
#define MARGIN_SHARE 64
/* The reserve takes at most this share of the file system. */
#define RESERVE_SHARE 8
/* Sizes are multiples of this, the largest unit that file systems hand space out in. */
#define UNIT UINT64_C(65536)

/* Bytes that the file system has, all and free for us; false where it does not tell. */
static bool space_ask(int dir, uint64_t *ret_total, uint64_t *ret_free)
{
    struct statvfs st;
    int failed;
    do {
        failed = grv_file_calls()->fstatvfs(dir, &st);
    } while (failed && errno == EINTR);
    if (failed || st.f_blocks == 0) {
        return false;
    }
    *ret_total = (uint64_t)st.f_blocks * st.f_frsize;
    *ret_free = (uint64_t)st.f_bavail * st.f_frsize;
    return true;
}

/* Bytes that the file holds now. */
static grv_status held_ask(const grv_reserve *reserve, uint64_t *ret_held, grv_error *error)
{
    struct stat st;
    if (grv_file_calls()->fstat(reserve->fd, &st)) {
        return grv_error_set_errno(error, errno, "rocks", "cannot look at the reserve");
    }
    *ret_held = (uint64_t)st.st_blocks * 512;
    return GRV_OK;
}

static void whole_set(grv_reserve *reserve, bool whole)
{
    __atomic_store_n(&reserve->whole, whole, __ATOMIC_RELEASE);
}

static grv_status reserve_resize(grv_reserve *reserve, uint64_t size, grv_error *error)
{
    if (grv_file_calls()->ftruncate(reserve->fd, (off_t)size)) {
        return grv_error_set_errno(error, errno, "rocks", "cannot set the reserve to %" PRIu64,
                                   size);
    }
    reserve->size = size;
    return GRV_OK;
}

/* Opens the file, which is made where one is wanted and there is none. */
static grv_status reserve_find(grv_reserve *reserve, uint64_t total, const uint64_t *size_bytes,
                               grv_error *error)
{
    uint64_t limit = total ? total / RESERVE_SHARE : UINT64_MAX;
    uint64_t wanted = size_bytes ? (*size_bytes < limit ? *size_bytes : limit) / UNIT * UNIT : 0;
    int flags = O_RDWR | O_NOFOLLOW | (wanted ? O_CREAT : 0);
    grv_status status =
        grv_file_open(reserve->dir, GRV_RESERVE_FILE, flags, 0666, &reserve->fd, error);
    if (status == GRV_NOT_FOUND) {
        return GRV_OK;
    }
    if (status) {
        grv_error_prefix(error, "the reserve");
        return status;
    }
    struct stat st;
    if (grv_file_calls()->fstat(reserve->fd, &st)) {
        return grv_error_set_errno(error, errno, "rocks", "cannot look at the reserve");
    }
    reserve->size = st.st_size > 0 ? (uint64_t)st.st_size : 0;
    if (size_bytes && reserve->size != wanted) {
        status = reserve_resize(reserve, wanted, error);
    }
    if (!status && size_bytes && wanted == 0 &&
        grv_file_calls()->unlinkat(reserve->dir, GRV_RESERVE_FILE, 0)) {
        status = grv_error_set_errno(error, errno, "rocks", "cannot remove the reserve");
    }
    return status;
}

grv_status grv_reserve_open(int dir, const uint64_t *size_bytes, grv_reserve *ret_reserve,
                            grv_error *error)
{
    *ret_reserve = (grv_reserve){.dir = dir, .fd = -1};
    int failed = pthread_mutex_init(&ret_reserve->lock, NULL);
    if (failed) {
        ret_reserve->dir = -1;
        return grv_error_set_errno(error, failed, "rocks", "cannot make a lock");
    }
    uint64_t total = 0;
    uint64_t available = 0;
    bool told = space_ask(dir, &total, &available);
    uint64_t share = total / MARGIN_SHARE;
    ret_reserve->margin = !told || share > MARGIN_BYTES ? MARGIN_BYTES : share;
    grv_status status = reserve_find(ret_reserve, total, size_bytes, error);
    uint64_t held = 0;
    if (!status && ret_reserve->fd >= 0) {
        status = held_ask(ret_reserve, &held, error);
    }
    whole_set(ret_reserve, held >= ret_reserve->size);
    return status;
}

bool grv_reserve_room(grv_reserve *reserve, uint64_t need)
{
    uint64_t total;
    uint64_t available;
    return !space_ask(reserve->dir, &total, &available) ||
           (available >= reserve->margin && available - reserve->margin >= need);
}

bool grv_reserve_is_whole(const grv_reserve *reserve)
{
    return __atomic_load_n(&reserve->whole, __ATOMIC_ACQUIRE);
}

/* Takes the space of bytes [0, size) by writing it; 0 or errno. */
static int reserve_write(grv_reserve *reserve, uint64_t size)
{
    uint8_t bytes[1u << 16];
    if (lseek(reserve->fd, 0, SEEK_SET) < 0) {
        return errno;
    }
    for (uint64_t done = 0; done < size;) {
        size_t part = size - done < sizeof bytes ? (size_t)(size - done) : sizeof bytes;
        grv_error error = GRV_ERROR_INIT;
        grv_status status = grv_random_fill(bytes, part, &error);
        if (!status) {
            status = grv_file_write_all(reserve->fd, grv_bytes_of(bytes, part), GRV_RESERVE_FILE,
                                        &error);
        }
        if (status) {
            return error.native_code ? (int)error.native_code : EIO;
        }
        done += part;
    }
    return grv_file_calls()->fdatasync(reserve->fd) ? errno : 0;
}

/* Takes the space of bytes [0, size); 0 or errno. */
static int reserve_take(grv_reserve *reserve, uint64_t size)
{
    int failed;
    do {
        failed = grv_file_calls()->fallocate(reserve->fd, 0, 0, (off_t)size) ? errno : 0;
    } while (failed == EINTR);
    if (failed == EOPNOTSUPP || failed == ENOSYS) {
        return size == reserve->size ? reserve_write(reserve, size) : failed;
    }
    return failed;
}

bool grv_reserve_fill(grv_reserve *reserve)
{
    if (grv_reserve_is_whole(reserve)) {
        return true;
    }
    pthread_mutex_lock(&reserve->lock);
    uint64_t held = 0;
    bool whole = grv_reserve_is_whole(reserve);
    if (!whole) {
        grv_error error = GRV_ERROR_INIT;
        if (held_ask(reserve, &held, &error)) {
            reserve->failed = error.native_code;
        } else if (grv_reserve_room(reserve, held < reserve->size ? reserve->size - held : 0)) {
            reserve->failed = reserve_take(reserve, reserve->size);
            whole = reserve->failed == 0;
            whole_set(reserve, whole);
        } else {
            reserve->failed = ENOSPC;
        }
    }
    pthread_mutex_unlock(&reserve->lock);
    return whole;
}

void grv_reserve_fill_rest(grv_reserve *reserve)
{
    if (grv_reserve_fill(reserve)) {
        return;
    }
    uint64_t total;
    uint64_t available;
    uint64_t held;
    pthread_mutex_lock(&reserve->lock);
    if (held_ask(reserve, &held, NULL) == GRV_OK && space_ask(reserve->dir, &total, &available) &&
        held < reserve->size) {
        uint64_t size = (held + available) / UNIT * UNIT;
        /* A best effort: what cannot be taken is taken by the next that finds room. */
        (void)reserve_take(reserve, size < reserve->size ? size : reserve->size);
    }
    pthread_mutex_unlock(&reserve->lock);
}

grv_status grv_reserve_release(grv_reserve *reserve, bool *ret_released, grv_error *error)
{
    pthread_mutex_lock(&reserve->lock);
    uint64_t held = 0;
    grv_status status = reserve->fd >= 0 ? held_ask(reserve, &held, error) : GRV_OK;
    if (!status && held > 0) {
        whole_set(reserve, false);
        int mode = FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE;
        uint64_t size = reserve->size;
        if (grv_file_calls()->fallocate(reserve->fd, mode, 0, (off_t)size)) {
            status = reserve_resize(reserve, 0, error);
            if (!status) {
                status = reserve_resize(reserve, size, error);
            }
        }
        /* Some file systems hand freed space out only once the freeing is durable. */
        if (!status) {
            status = grv_file_sync(reserve->fd, GRV_RESERVE_FILE, error);
        }
    }
    pthread_mutex_unlock(&reserve->lock);
    *ret_released = held > 0 && !status;
    return status;
}

grv_status grv_reserve_refuse(grv_reserve *reserve, grv_error *error)
{
    uint64_t total = 0;
    uint64_t available = 0;
    uint64_t held = 0;
    space_ask(reserve->dir, &total, &available);
    pthread_mutex_lock(&reserve->lock);
    int failed = reserve->failed;
    uint64_t size = reserve->size;
    if (reserve->fd >= 0) {
        (void)held_ask(reserve, &held, NULL);
    }
    pthread_mutex_unlock(&reserve->lock);
    if (grv_reserve_is_whole(reserve)) {
        return grv_error_set(error, GRV_OUT_OF_SPACE, "rocks",
                             "the disk of the metadata is full: %" PRIu64
                             " bytes are free beside the reserve of %" PRIu64
                             "; remove blobs and collect, or make room",
                             available, size);
    }
    if (failed && grv_status_of_errno(failed) != GRV_OUT_OF_SPACE) {
        return grv_error_set_errno(
            error, failed, "rocks",
            "cannot fill the reserve, which holds %" PRIu64 " of %" PRIu64 " bytes", held, size);
    }
    return grv_error_set(error, GRV_OUT_OF_SPACE, "rocks",
                         "the disk of the metadata is full: its reserve holds %" PRIu64
                         " of %" PRIu64 " bytes and %" PRIu64
                         " are free; remove blobs and collect, or make room",
                         held, size, available);
}

void grv_reserve_close(grv_reserve *reserve)
{
    if (reserve->dir < 0) {
        return;
    }
    if (reserve->fd >= 0) {
        (void)grv_file_close(reserve->fd, GRV_RESERVE_FILE, NULL); /* no bytes that matter */
    }
    pthread_mutex_destroy(&reserve->lock);
    reserve->dir = -1;
}
