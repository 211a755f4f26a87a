/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Puts and copies: bytes go to a temporary file of the bucket, which is synced, gets the object's
 * name in one step, and then the directory is synced. No lock of ours is held meanwhile.
 *
 * A temporary file is locked (flock) for as long as its put lives. What a killed process left is
 * therefore known by being unlocked, and goes when the next process begins to put.
 */
#include "backend/fs/objects.h"
#include "os/clock.h"
#include "os/file.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>

#define ORIGIN    GRV_FS_OBJECTS_ORIGIN
#define TEMP_SIZE 40
/* Times that a sweep of another process may take a new file away before its lock. */
#define TEMP_ATTEMPTS 16

/* A file on its way to be an object. */
typedef struct upload {
    grv_fs_objects *store;
    grv_fs_objects_bucket *bucket;
    int fd; /* -1: none, or an object by now */
    char temp[TEMP_SIZE];
    bool if_absent;
    grv_locator locator;
} upload;

/* ---- temporary files ---- */

/* Removes an unlocked file; a locked one is a put's that is under way. */
static grv_status temp_sweep_one(int dir, const char *name, grv_error *error)
{
    int fd = -1;
    grv_status status = grv_file_open(dir, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK, 0, &fd, error);
    if (status) {
        return status == GRV_NOT_FOUND ? GRV_OK : status; /* its put has ended */
    }
    if (grv_file_calls()->flock(fd, LOCK_EX | LOCK_NB) == 0) {
        if (grv_file_calls()->unlinkat(dir, name, 0) && errno != ENOENT) {
            status = grv_error_set_errno(error, errno, ORIGIN, "cannot remove %s", name);
        }
    } else if (errno != EWOULDBLOCK && errno != EINTR) {
        status = grv_error_set_errno(error, errno, ORIGIN, "cannot lock %s", name);
    }
    (void)grv_file_close(fd, name, NULL); /* it was open to read */
    return status;
}

static bool is_temp_name(const char *name)
{
    size_t digits = strspn(name, "0123456789abcdef");
    return digits == 16 && name[digits] == '-' &&
           name[digits + 1 + strspn(name + digits + 1, "0123456789")] == '\0';
}

/* Removes what dead processes left. */
static grv_status temp_sweep(int dir, grv_error *error)
{
    DIR *entries;
    grv_status status = grv_directory_entries(dir, GRV_FS_OBJECTS_TEMP, &entries, error);
    while (!status) {
        const char *name;
        status = grv_directory_next(entries, GRV_FS_OBJECTS_TEMP, &name, error);
        if (status || !name) {
            break;
        }
        if (is_temp_name(name)) {
            status = temp_sweep_one(dir, name, error);
        }
    }
    grv_directory_close(entries);
    return status;
}

/* The directory of temporary files as it is open now; -1 before the first call that made it. */
static int temp_fd_of(const grv_fs_objects_bucket *bucket)
{
    return __atomic_load_n(&bucket->temp_fd, __ATOMIC_ACQUIRE);
}

/* The directory of temporary files, made and swept at the first call. */
static grv_status temp_directory(grv_fs_objects_bucket *bucket, int *ret_fd, grv_error *error)
{
    int fd = temp_fd_of(bucket);
    if (fd >= 0) {
        *ret_fd = fd;
        return GRV_OK;
    }
    if (grv_file_calls()->mkdirat(bucket->fd, GRV_FS_OBJECTS_TEMP, 0777) && errno != EEXIST) {
        return grv_error_set_errno(error, errno, ORIGIN, "cannot make directory %s",
                                   GRV_FS_OBJECTS_TEMP);
    }
    grv_status status = grv_fs_objects_open_directory(bucket->fd, GRV_FS_OBJECTS_TEMP, &fd, error);
    if (!status && fd < 0) {
        status =
            grv_error_set(error, GRV_CONFLICT, ORIGIN,
                          "something that is no directory has the name %s", GRV_FS_OBJECTS_TEMP);
    }
    if (!status) {
        status = temp_sweep(fd, error);
    }
    int before = -1;
    if (status || !__atomic_compare_exchange_n(&bucket->temp_fd, &before, fd, false,
                                               __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE)) {
        if (fd >= 0) {
            (void)grv_file_close(fd, GRV_FS_OBJECTS_TEMP, NULL); /* it was open to read */
        }
        fd = before;
    }
    if (status) {
        return status;
    }
    *ret_fd = fd;
    return GRV_OK;
}

/* Locks a new file; *ret_mine is false where a sweep was quicker. */
static grv_status temp_claim(int fd, const char *name, bool *ret_mine, grv_error *error)
{
    struct stat st;
    int locked;
    do {
        locked = grv_file_calls()->flock(fd, LOCK_EX | LOCK_NB);
    } while (locked && errno == EINTR);
    *ret_mine = locked == 0;
    if (!*ret_mine) {
        return errno == EWOULDBLOCK
                   ? GRV_OK
                   : grv_error_set_errno(error, errno, ORIGIN, "cannot lock %s", name);
    }
    if (grv_file_calls()->fstat(fd, &st)) {
        return grv_error_set_errno(error, errno, ORIGIN, "cannot look at %s", name);
    }
    *ret_mine = st.st_nlink > 0;
    return GRV_OK;
}

static grv_status temp_open(upload *self, grv_error *error)
{
    int dir = -1;
    grv_status status = temp_directory(self->bucket, &dir, error);
    for (int attempt = 0; !status && attempt < TEMP_ATTEMPTS; attempt++) {
        int fd = -1;
        bool mine = false;
        snprintf(self->temp, sizeof self->temp, "%016" PRIx64 "-%" PRIu64, self->store->temp_id,
                 __atomic_add_fetch(&self->store->temp_number, 1, __ATOMIC_RELAXED));
        status = grv_file_open(dir, self->temp, O_WRONLY | O_CREAT | O_EXCL, 0666, &fd, error);
        if (!status) {
            status = temp_claim(fd, self->temp, &mine, error);
        }
        if (!status && mine) {
            self->fd = fd;
            return GRV_OK;
        }
        if (fd >= 0) {
            (void)grv_file_calls()->unlinkat(dir, self->temp, 0); /* or the next sweep does */
            (void)grv_file_close(fd, self->temp, NULL);
        }
    }
    return status ? status
                  : grv_error_set(error, GRV_UNAVAILABLE, ORIGIN,
                                  "temporary files are taken away by another process");
}

/* ---- uploads ---- */

/* Gives up what was not committed. A file that cannot be removed now goes with a later sweep. */
static void upload_done(upload *self)
{
    if (self->fd >= 0) {
        (void)grv_file_calls()->unlinkat(temp_fd_of(self->bucket), self->temp, 0);
        (void)grv_file_close(self->fd, self->temp, NULL);
        self->fd = -1;
    }
}

/*
 * GRV_ALREADY_EXISTS once the object that is in `place` is durable: the caller will rely on it.
 * GRV_OK where none is there.
 */
static grv_status refuse_existing(grv_fs_objects *store, const grv_fs_place *place,
                                  const grv_locator *locator, grv_error *error)
{
    grv_object_info info;
    bool there = false;
    grv_status status = grv_fs_place_look(place, &info, &there, error);
    if (status || !there) {
        return status;
    }
    if (__atomic_load_n(&store->sync_failed, __ATOMIC_ACQUIRE)) {
        /* A later sync that succeeds says nothing of what an earlier one lost. */
        return grv_error_set(error, GRV_UNAVAILABLE, ORIGIN,
                             "a directory could not be synced: %s://%s/%.200s may not be durable; "
                             "open the store again",
                             locator->scheme, locator->bucket, locator->path);
    }
    status = grv_fs_place_sync(store, place, error);
    return status ? status
                  : grv_error_set(error, GRV_ALREADY_EXISTS, ORIGIN,
                                  "there is an object %s://%s/%.200s already", locator->scheme,
                                  locator->bucket, locator->path);
}

static grv_status upload_begin(grv_fs_objects *store, const grv_locator *locator, bool if_absent,
                               upload *self, grv_error *error)
{
    *self = (upload){.store = store, .fd = -1, .if_absent = if_absent, .locator = *locator};
    grv_status status = grv_fs_objects_find(store, locator->bucket, &self->bucket, error);
    if (!status && if_absent) { /* before all bytes were sent for nothing */
        grv_fs_place place;
        status = grv_fs_place_open(store, self->bucket, locator->path, false, &place, error);
        if (!status) {
            status = refuse_existing(store, &place, locator, error);
            grv_fs_place_close(&place);
        }
    }
    if (!status) {
        status = temp_open(self, error);
    }
    return status;
}

/* A time that no other file of this store has: it tells apart objects that have the same inode one
 * after another within a tick of the file system's clock. */
static struct timespec next_stamp(grv_fs_objects *store)
{
    uint64_t now = grv_clock_realtime_ns();
    uint64_t last = __atomic_load_n(&store->stamp_ns, __ATOMIC_RELAXED);
    uint64_t stamp;
    do {
        stamp = now > last ? now : last + 1;
    } while (!__atomic_compare_exchange_n(&store->stamp_ns, &last, stamp, true, __ATOMIC_RELAXED,
                                          __ATOMIC_RELAXED));
    return (struct timespec){.tv_sec = (time_t)(stamp / UINT64_C(1000000000)),
                             .tv_nsec = (long)(stamp % UINT64_C(1000000000))};
}

/* Makes the file's bytes durable; *ret_info is what the object's will be. */
static grv_status upload_sync(upload *self, grv_object_info *ret_info, grv_error *error)
{
    struct timespec stamp = next_stamp(self->store);
    const struct timespec times[2] = {stamp, stamp};
    if (grv_file_calls()->futimens(self->fd, times)) {
        return grv_error_set_errno(error, errno, ORIGIN, "cannot set the time of %s", self->temp);
    }
    grv_status status = grv_file_sync(self->fd, self->temp, error);
    if (status) {
        return status;
    }
    struct stat st;
    if (grv_file_calls()->fstat(self->fd, &st)) {
        return grv_error_set_errno(error, errno, ORIGIN, "cannot look at %s", self->temp);
    }
    *ret_info = grv_fs_object_info(&st);
    return GRV_OK;
}

/* link refuses where the name is taken, atomically; rename replaces. The temporary name that a link
 * leaves where it cannot be removed is garbage that a sweep takes. */
static grv_status upload_place(upload *self, const grv_fs_place *place, grv_error *error)
{
    const grv_file_ops *calls = grv_file_calls();
    int temp_fd = temp_fd_of(self->bucket);
    if (!self->if_absent) {
        if (calls->renameat(temp_fd, self->temp, place->fd, place->name)) {
            return grv_error_set_errno(error, errno, ORIGIN, "cannot rename %s to %s", self->temp,
                                       place->name);
        }
        return GRV_OK;
    }
    if (calls->linkat(temp_fd, self->temp, place->fd, place->name, 0) == 0) {
        (void)calls->unlinkat(temp_fd, self->temp, 0);
        return GRV_OK;
    }
    if (errno != EEXIST) {
        return grv_error_set_errno(error, errno, ORIGIN, "cannot link %s as %s", self->temp,
                                   place->name);
    }
    grv_status status = refuse_existing(self->store, place, &self->locator, error);
    return status ? status
                  : grv_error_set(error, GRV_CONFLICT, ORIGIN,
                                  "something that is no object has the name %s, or had it until "
                                  "just now",
                                  place->name);
}

static grv_status upload_commit(upload *self, grv_object_info *ret_info, grv_error *error)
{
    grv_object_info info;
    grv_fs_place place;
    grv_status status = upload_sync(self, &info, error);
    if (!status) {
        status =
            grv_fs_place_open(self->store, self->bucket, self->locator.path, true, &place, error);
    }
    if (status) {
        return status;
    }
    status = upload_place(self, &place, error);
    if (!status) {
        /* It is no temporary file any more; its bytes are durable, so closing loses nothing. */
        (void)grv_file_close(self->fd, self->temp, NULL);
        self->fd = -1;
        status = grv_fs_place_sync(self->store, &place, error);
    }
    grv_fs_place_close(&place);
    if (!status) {
        *ret_info = info;
    }
    return status;
}

static grv_status prefix_locator(const grv_locator *locator, grv_status status, grv_error *error)
{
    if (status && status != GRV_NOT_FOUND && status != GRV_ALREADY_EXISTS) {
        grv_error_prefix(error, "object %s://%s/%.200s", locator->scheme, locator->bucket,
                         locator->path);
    }
    return status;
}

/* ---- the sink ---- */

typedef struct fs_sink {
    grv_object_sink base;
    upload upload;
    size_t used; /* of the buffer */
    size_t capacity;
    uint8_t buffer[];
} fs_sink;

static grv_status sink_flush(fs_sink *sink, grv_error *error)
{
    grv_status status = grv_file_write_all(sink->upload.fd, grv_bytes_of(sink->buffer, sink->used),
                                           sink->upload.temp, error);
    sink->used = 0;
    return prefix_locator(&sink->upload.locator, status, error);
}

static grv_status fs_sink_reserve(const grv_call *call, grv_sink *base, grv_span *ret_window,
                                  grv_error *error)
{
    fs_sink *sink = (fs_sink *)base;
    grv_status status = grv_call_check(call, ORIGIN, error);
    if (status) {
        return status;
    }
    *ret_window = (grv_span){sink->buffer + sink->used, sink->capacity - sink->used};
    return GRV_OK;
}

static grv_status fs_sink_advance(const grv_call *call, grv_sink *base, size_t size,
                                  grv_error *error)
{
    fs_sink *sink = (fs_sink *)base;
    grv_status status = grv_call_check(call, ORIGIN, error);
    if (status) {
        return status;
    }
    if (size > sink->capacity - sink->used) {
        return grv_error_set(error, GRV_INVALID_ARGUMENT, ORIGIN,
                             "advance by %zu bytes in a window of %zu", size,
                             sink->capacity - sink->used);
    }
    sink->used += size;
    return sink->used == sink->capacity ? sink_flush(sink, error) : GRV_OK;
}

static grv_status fs_sink_commit(const grv_call *call, grv_sink *base, grv_error *error)
{
    fs_sink *sink = (fs_sink *)base;
    grv_status status = grv_call_check(call, ORIGIN, error);
    if (!status) {
        status = sink_flush(sink, error);
    }
    if (status) {
        return status;
    }
    status = upload_commit(&sink->upload, &sink->base.info, error);
    return prefix_locator(&sink->upload.locator, status, error);
}

static void fs_sink_free(grv_sink *base)
{
    fs_sink *sink = (fs_sink *)base;
    upload_done(&sink->upload);
    free(sink);
}

static const grv_sink_ops fs_sink_ops = {
    .name = "fs",
    .reserve = fs_sink_reserve,
    .advance = fs_sink_advance,
    .commit = fs_sink_commit,
    .free = fs_sink_free,
};

grv_status grv_fs_objects_open_put(const grv_call *call, grv_mutable_object_store *base,
                                   const grv_locator *locator, const grv_object_put *put,
                                   grv_object_sink **ret_sink, grv_error *error)
{
    grv_status status = grv_call_check(call, ORIGIN, error);
    if (status) {
        return status;
    }
    size_t capacity = GRV_FS_OBJECTS_BUFFER;
    if (put->has_size_hint && put->size_hint < capacity) {
        capacity = (size_t)put->size_hint + 1; /* so that an empty window never is one too small */
    }
    fs_sink *sink = malloc(sizeof *sink + capacity);
    if (!sink) {
        return grv_error_set(error, GRV_LIMIT_EXCEEDED, ORIGIN, "no memory for a put");
    }
    *sink = (fs_sink){.base.base.ops = &fs_sink_ops, .capacity = capacity};
    status = upload_begin((grv_fs_objects *)base, locator, put->if_absent, &sink->upload, error);
    if (status) {
        free(sink);
        return prefix_locator(locator, status, error);
    }
    *ret_sink = &sink->base;
    return GRV_OK;
}

/* ---- copy ---- */

/* Copies all of an open file; its size is known and cannot change but by a stranger's hand. */
static grv_status copy_bytes(const grv_call *call, int from, uint64_t size, const upload *to,
                             grv_span buffer, grv_error *error)
{
    uint64_t at = 0;
    while (at < size) {
        size_t got = 0;
        grv_status status = grv_call_check(call, ORIGIN, error);
        if (!status) {
            status = grv_fs_object_read(from, buffer, at, &got, error);
        }
        if (!status && got == 0) {
            status = grv_error_set(error, GRV_CORRUPT, ORIGIN,
                                   "the file to copy ends at %" PRIu64 " of %" PRIu64 " bytes", at,
                                   size);
        }
        if (!status) {
            status = grv_file_write_all(to->fd, grv_bytes_of(buffer.data, got), to->temp, error);
        }
        if (status) {
            return status;
        }
        at += got;
    }
    return GRV_OK;
}

static grv_status copy_open(const grv_call *call, upload *self, int from, uint64_t size,
                            grv_object_info *ret_info, grv_error *error)
{
    grv_span buffer = {malloc(GRV_FS_OBJECTS_BUFFER), GRV_FS_OBJECTS_BUFFER};
    if (!buffer.data) {
        return grv_error_set(error, GRV_LIMIT_EXCEEDED, ORIGIN, "no memory for a copy");
    }
    grv_status status = copy_bytes(call, from, size, self, buffer, error);
    free(buffer.data);
    return status ? status : upload_commit(self, ret_info, error);
}

grv_status grv_fs_objects_copy(const grv_call *call, grv_mutable_object_store *base,
                               const grv_locator *from, const grv_locator *to, bool if_absent,
                               grv_object_info *ret_info, grv_error *error)
{
    grv_fs_objects *store = (grv_fs_objects *)base;
    grv_object_info info;
    int fd;
    grv_status status = grv_call_check(call, ORIGIN, error);
    if (!status) {
        status = grv_fs_object_open(store, from, &fd, &info, error);
    }
    if (status) {
        return status;
    }
    upload self;
    status = upload_begin(store, to, if_absent, &self, error);
    if (!status) {
        status = copy_open(call, &self, fd, info.size_bytes, ret_info, error);
        upload_done(&self);
    }
    (void)grv_file_close(fd, "of an object", NULL); /* it was open to read */
    return prefix_locator(to, status, error);
}
