/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A copy of an open database. RocksDB makes it (tables linked, the log copied, nothing written to
 * the original); here every file is synced once more, because nothing says that RocksDB does so on
 * every path, and a copy that a power loss takes apart is none.
 */
#include "backend/rocks/handle.h"
#include "os/file.h"

#include <errno.h>

/* A log of any length is copied rather than its content written to tables: those would take space
 * in the original, whose disk may be full. */
#define LOG_FLUSH_NEVER UINT64_MAX
/* Bytes copied at once, and the name of a file that is being copied. */
#define COPY_BYTES (64u << 10)
#define COPY_TEMP  "copy.tmp"

static grv_status checkpoint_create(grv_rocks *rocks, const char *directory, grv_error *error)
{
    char *failed = NULL;
    rocksdb_checkpoint_t *checkpoint = rocksdb_checkpoint_object_create(rocks->db, &failed);
    if (failed) {
        return grv_rocks_error(failed, "begin a copy of the database", error);
    }
    rocksdb_checkpoint_create(checkpoint, directory, LOG_FLUSH_NEVER, &failed);
    rocksdb_checkpoint_object_destroy(checkpoint);
    return failed ? grv_rocks_error(failed, "copy the database", error) : GRV_OK;
}

/* The copy's reserve, as long as the original's and without its space. */
static grv_status reserve_announce(grv_rocks *rocks, int dir, grv_error *error)
{
    uint64_t size = rocks->reserve.size;
    if (rocks->reserve.fd < 0 || size == 0) {
        return GRV_OK;
    }
    int fd = -1;
    grv_status status =
        grv_file_open(dir, GRV_RESERVE_FILE, O_WRONLY | O_CREAT | O_EXCL, 0666, &fd, error);
    if (status) {
        return status;
    }
    if (grv_file_calls()->ftruncate(fd, (off_t)size)) {
        status = grv_error_set_errno(error, errno, "rocks", "cannot size the copy's reserve");
    }
    grv_status closed = grv_file_close(fd, GRV_RESERVE_FILE, status ? NULL : error);
    return status ? status : closed;
}

/* Copies what is open at `from` to the new file `to`. */
static grv_status bytes_copy(int from, int to, const char *name, grv_error *error)
{
    uint8_t bytes[COPY_BYTES];
    for (;;) {
        ssize_t got = grv_file_calls()->read(from, bytes, sizeof bytes);
        if (got < 0 && errno == EINTR) {
            continue;
        }
        if (got < 0) {
            return grv_error_set_errno(error, errno, "rocks", "cannot read %s", name);
        }
        if (got == 0) {
            return GRV_OK;
        }
        grv_status status = grv_file_write_all(to, grv_bytes_of(bytes, (size_t)got), name, error);
        if (status) {
            return status;
        }
    }
}

/* Puts a file with the same bytes in the place of one that has other names too. */
static grv_status file_unshare(int dir, int fd, const char *name, grv_error *error)
{
    int copy = -1;
    grv_status status =
        grv_file_open(dir, COPY_TEMP, O_WRONLY | O_CREAT | O_TRUNC, 0666, &copy, error);
    if (status) {
        return status;
    }
    status = bytes_copy(fd, copy, name, error);
    grv_status closed = grv_file_close(copy, name, status ? NULL : error);
    status = status ? status : closed;
    if (!status && grv_file_calls()->renameat(dir, COPY_TEMP, dir, name)) {
        status = grv_error_set_errno(error, errno, "rocks", "cannot rename the copy of %s", name);
    }
    return status;
}

typedef struct visit_context {
    int dir;
    grv_rocks_checkpoint made;
} visit_context;

static grv_status visit_unshare(visit_context *context, int fd, const struct stat *st,
                                const char *name, grv_error *error)
{
    return st->st_nlink > 1 ? file_unshare(context->dir, fd, name, error) : GRV_OK;
}

static grv_status visit_settle(visit_context *context, int fd, const struct stat *st,
                               const char *name, grv_error *error)
{
    context->made.files++;
    context->made.bytes += (uint64_t)st->st_blocks * 512;
    return grv_file_sync(fd, name, error);
}

typedef grv_status (*file_visit)(visit_context *context, int fd, const struct stat *st,
                                 const char *name, grv_error *error);

static grv_status file_visit_one(visit_context *context, const char *name, file_visit visit,
                                 grv_error *error)
{
    int fd = -1;
    grv_status status = grv_file_open(context->dir, name, O_RDONLY | O_NOFOLLOW, 0, &fd, error);
    if (status) {
        return status;
    }
    struct stat st;
    if (grv_file_calls()->fstat(fd, &st)) {
        status = grv_error_set_errno(error, errno, "rocks", "cannot look at %s", name);
    } else {
        status = visit(context, fd, &st, name, error);
    }
    grv_status closed = grv_file_close(fd, name, status ? NULL : error);
    return status ? status : closed;
}

static grv_status files_visit(const grv_call *call, visit_context *context, const char *directory,
                              file_visit visit, grv_error *error)
{
    DIR *entries = NULL;
    grv_status status = grv_directory_entries(context->dir, directory, &entries, error);
    while (!status) {
        const char *name = NULL;
        status = grv_call_check(call, "rocks", error);
        if (!status) {
            status = grv_directory_next(entries, directory, &name, error);
        }
        if (status || !name) {
            break;
        }
        status = file_visit_one(context, name, visit, error);
    }
    grv_directory_close(entries);
    return status;
}

/* Makes the copy's own what is not, and all of it durable. */
static grv_status checkpoint_settle(const grv_call *call, grv_rocks *rocks, const char *directory,
                                    bool copy, grv_rocks_checkpoint *ret_made, grv_error *error)
{
    visit_context context = {.dir = -1};
    grv_status status = grv_directory_open(AT_FDCWD, directory, false, &context.dir, error);
    if (status) {
        return status;
    }
    if (copy) {
        status = files_visit(call, &context, directory, visit_unshare, error);
    }
    if (!status) {
        status = reserve_announce(rocks, context.dir, error);
    }
    if (!status) {
        status = files_visit(call, &context, directory, visit_settle, error);
    }
    if (!status) {
        status = grv_directory_sync(context.dir, directory, error);
    }
    (void)grv_file_close(context.dir, directory, NULL); /* open to read: nothing to lose */
    *ret_made = context.made;
    return status;
}

grv_status grv_kv_rocks_checkpoint(const grv_call *call, grv_kv *kv, const char *directory,
                                   bool copy, grv_rocks_checkpoint *ret_checkpoint,
                                   grv_error *error)
{
    grv_rocks *rocks = grv_rocks_of_kv(kv);
    if (!rocks || rocks->read_only) {
        return grv_error_set(error, GRV_UNSUPPORTED, "rocks",
                             rocks ? "a database open for reading only cannot be copied"
                                   : "the key-value store is not on RocksDB");
    }
    grv_status status = grv_rocks_enter(call, rocks, error);
    if (status) {
        return status;
    }
    grv_rocks_checkpoint made = {0};
    status = checkpoint_create(rocks, directory, error);
    if (!status) {
        status = checkpoint_settle(call, rocks, directory, copy, &made, error);
    }
    grv_gate_leave(&rocks->gate, 0);
    if (!status) {
        *ret_checkpoint = made;
    }
    return status;
}
