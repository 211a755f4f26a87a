/* SPDX-License-Identifier: Apache-2.0 */
/* Reading one file into a sink. */
#include "cli/put_file.h"

#include "cli/signals.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <unistd.h>

#define PUT_ORIGIN "put"

/* What names the input in messages. */
static const char *job_name(const cli_put_job *job)
{
    return job->is_stdin ? "standard input" : job->path;
}

static grv_status directory_refuse(const char *name, grv_error *error)
{
    return grv_error_set(error, GRV_INVALID_ARGUMENT, PUT_ORIGIN,
                         "%s is a directory; put -r stores the files in it", name);
}

grv_status cli_put_check(const char *path, grv_error *error)
{
    struct stat info;
    if (strcmp(path, "-") == 0) {
        return GRV_OK;
    }
    if (stat(path, &info) < 0) {
        return grv_error_set_errno(error, errno, PUT_ORIGIN, "cannot open %s", path);
    }
    return S_ISDIR(info.st_mode) ? directory_refuse(path, error) : GRV_OK;
}

static grv_status file_open(const cli_put_job *job, int *ret_fd, struct stat *ret_before,
                            grv_error *error)
{
    int fd = STDIN_FILENO;
    if (!job->is_stdin) {
        /* A file found by a walk may have become a pipe by now; opening that would wait. */
        int guard = job->only_regular ? O_NONBLOCK | O_NOFOLLOW : 0;
        fd = open(job->path, O_RDONLY | O_CLOEXEC | O_NOCTTY | guard);
        if (fd < 0) {
            return grv_error_set_errno(error, errno, PUT_ORIGIN, "cannot open %s", job->path);
        }
    }
    grv_status status = GRV_OK;
    if (fstat(fd, ret_before) < 0) {
        status = grv_error_set_errno(error, errno, PUT_ORIGIN, "cannot look at %s", job_name(job));
    } else if (S_ISDIR(ret_before->st_mode)) {
        status = directory_refuse(job_name(job), error);
    } else if (job->only_regular && !S_ISREG(ret_before->st_mode)) {
        status = grv_error_set(error, GRV_CONFLICT, PUT_ORIGIN, "%s is no regular file any more",
                               job->path);
    }
    if (status) {
        if (!job->is_stdin) {
            close(fd);
        }
        return status;
    }
    *ret_fd = fd;
    return GRV_OK;
}

/* Waits for a pipe or terminal to have something, or for a signal. */
static grv_status input_wait(const grv_call *call, int fd, const char *name, grv_error *error)
{
    struct pollfd waits[] = {{.fd = fd, .events = POLLIN},
                             {.fd = cli_signals_fd(), .events = POLLIN}};
    while (poll(waits, 2, -1) < 0) {
        if (errno != EINTR && errno != EAGAIN) {
            return grv_error_set_errno(error, errno, PUT_ORIGIN, "cannot wait for %s", name);
        }
    }
    return grv_call_check(call, PUT_ORIGIN, error);
}

grv_status cli_file_read(const grv_call *call, int fd, const char *name, bool regular,
                         cli_progress *progress, grv_sink *sink, bool *ret_sink_failed,
                         grv_error *error)
{
    *ret_sink_failed = false;
    for (;;) {
        grv_span window;
        grv_status status = grv_sink_reserve(call, sink, &window, error);
        if (status) {
            *ret_sink_failed = true;
            return status;
        }
        if (!regular) {
            status = input_wait(call, fd, name, error);
            if (status) {
                return status;
            }
        }
        ssize_t got = read(fd, window.data, window.size);
        if (got < 0 && (errno == EINTR || errno == EAGAIN)) {
            status = grv_call_check(call, PUT_ORIGIN, error);
            if (status) {
                return status;
            }
            continue;
        }
        if (got < 0) {
            return grv_error_set_errno(error, errno, PUT_ORIGIN, "cannot read %s", name);
        }
        if (got == 0) {
            return GRV_OK;
        }
        status = grv_sink_advance(call, sink, (size_t)got, error);
        if (status) {
            *ret_sink_failed = true;
            return status;
        }
        cli_progress_add(progress, (uint64_t)got);
    }
}

static bool stat_differs(const struct stat *a, const struct stat *b)
{
    return a->st_size != b->st_size || a->st_mtim.tv_sec != b->st_mtim.tv_sec ||
           a->st_mtim.tv_nsec != b->st_mtim.tv_nsec;
}

static void show_settled(void *progress, uint64_t bytes, uint64_t duplicate_bytes)
{
    cli_progress_settle(progress, bytes, duplicate_bytes);
}

/* Puts what the file has from its present place on; NULL: whatever key that has. */
static grv_status file_store(const cli_put_context *context, cli_put_job *job, int fd,
                             const struct stat *before, const grv_blob_key *expected,
                             grv_error *error)
{
    bool regular = S_ISREG(before->st_mode);
    grv_put_plan plan = {.attributes = context->attributes,
                         .expected = expected,
                         .is_absent = expected != NULL,
                         .progress = show_settled,
                         .progress_context = context->progress};
    if (regular) {
        plan.has_size_hint = true;
        plan.size_hint = (uint64_t)before->st_size;
        /* Only advice: what it returns changes nothing. */
        (void)posix_fadvise(fd, 0, 0, POSIX_FADV_SEQUENTIAL);
    }
    grv_blob_sink *sink;
    grv_status status = grv_blob_store_open_put(context->call, context->blobs, &plan, &sink, error);
    if (status) {
        job->store_failed = true;
        return status;
    }
    status = cli_file_read(context->call, fd, job_name(job), regular, context->progress,
                           &sink->base, &job->store_failed, error);
    if (!status && regular) {
        struct stat after;
        if (fstat(fd, &after) < 0) {
            status =
                grv_error_set_errno(error, errno, PUT_ORIGIN, "cannot look at %s", job_name(job));
        } else {
            job->changed = job->changed || stat_differs(before, &after);
        }
    }
    if (!status) {
        status = grv_sink_commit(context->call, &sink->base, error);
        job->store_failed = status != GRV_OK;
    }
    /* Of a put that failed its key: other bytes than expected have another one. */
    job->result = sink->result;
    grv_sink_free(&sink->base);
    return status;
}

/* ---- Over a distant store ---- */

static grv_status file_rewind(const cli_put_job *job, int fd, grv_error *error)
{
    if (lseek(fd, 0, SEEK_SET) == 0) {
        return GRV_OK;
    }
    return grv_error_set_errno(error, errno, PUT_ORIGIN, "cannot read %s again", job_name(job));
}

static grv_status file_hash(const grv_call *call, cli_put_job *job, int fd, grv_hasher *hasher,
                            grv_error *error)
{
    uint8_t buffer[1u << 16];
    uint64_t size = 0;
    for (;;) {
        grv_status status = grv_call_check(call, PUT_ORIGIN, error);
        if (status) {
            return status;
        }
        ssize_t got = read(fd, buffer, sizeof buffer);
        if (got < 0 && errno == EINTR) {
            continue;
        }
        if (got < 0) {
            return grv_error_set_errno(error, errno, PUT_ORIGIN, "cannot read %s", job_name(job));
        }
        if (got == 0) {
            break;
        }
        status = grv_hasher_update(hasher, grv_bytes_of(buffer, (size_t)got), error);
        if (status) {
            return status;
        }
        size += (uint64_t)got;
    }
    job->key.size = size;
    return grv_hasher_final(hasher, &job->key.digest, error);
}

/* The key of an open regular file, which is read from its start. */
static grv_status file_key(const cli_put_context *context, cli_put_job *job, int fd,
                           const struct stat *before, grv_error *error)
{
    grv_hasher hasher;
    grv_status status = grv_hasher_init(&hasher, context->hash, error);
    if (!status) {
        status = file_hash(context->call, job, fd, &hasher, error);
        grv_hasher_done(&hasher);
    }
    if (!status) {
        status = file_rewind(job, fd, error);
    }
    job->has_key = status == GRV_OK;
    job->is_asked = false;
    job->hashed = *before;
    return status;
}

grv_put_result cli_put_present(const grv_blob_key *key, const grv_blob_info *info)
{
    return (grv_put_result){
        .key = *key,
        .already_stored = true,
        .blocks = info ? info->block_count : 0,
        .duplicate_bytes = key->size,
    };
}

/* The store has the blob: what is left of the put. GRV_NOT_FOUND where it has been removed since.
 */
static grv_status file_present(const cli_put_context *context, cli_put_job *job, grv_error *error)
{
    grv_blob_info info;
    grv_status status = grv_blob_store_stat(context->call, context->blobs, &job->key, &info, error);
    if (!status && context->attributes) {
        status = grv_blob_store_attributes_set(context->call, context->blobs, &job->key,
                                               context->attributes, error);
    }
    if (!status) {
        job->result = cli_put_present(&job->key, &info);
        cli_progress_add(context->progress, job->key.size);
        cli_progress_settle(context->progress, job->key.size, job->key.size);
    }
    job->store_failed = status != GRV_OK;
    return status;
}

/* Tries of a file that a connection failed in the middle of. */
#define DISTANT_TRIES 3

/* Sends the file. It may have changed since it was hashed: then it is stored as it is now. */
static grv_status file_send(const cli_put_context *context, cli_put_job *job, int fd,
                            const struct stat *before, grv_error *error)
{
    const grv_blob_key *expected = &job->key;
    for (int tries = 1;; tries++) {
        job->store_failed = false;
        job->result = (grv_put_result){0};
        grv_status status = file_store(context, job, fd, before, expected, error);
        bool refused = status == GRV_CONFLICT && job->store_failed;
        bool changed = refused && expected && job->result.key.digest.hash != GRV_HASH_NONE;
        bool cut = ((refused && !changed) || status == GRV_UNAVAILABLE) && job->store_failed &&
                   tries < DISTANT_TRIES;
        if (!changed && !cut) {
            return status;
        }
        if (changed) {
            expected = NULL;
            job->changed = true;
        }
        status = file_rewind(job, fd, error);
        if (status) {
            job->store_failed = false;
            return status;
        }
    }
}

static grv_status file_put_distant(const cli_put_context *context, cli_put_job *job, int fd,
                                   const struct stat *before, grv_error *error)
{
    grv_status status = GRV_OK;
    if (!job->has_key || stat_differs(before, &job->hashed)) {
        status = file_key(context, job, fd, before, error);
    }
    if (status) {
        return status;
    }
    if (!job->is_asked || job->is_present) {
        status = file_present(context, job, error);
        if (status != GRV_NOT_FOUND) {
            return status;
        }
    }
    return file_send(context, job, fd, before, error);
}

static grv_status file_put(const cli_put_context *context, cli_put_job *job, int fd,
                           const struct stat *before, grv_error *error)
{
    return context->hash != GRV_HASH_NONE && S_ISREG(before->st_mode) && !job->is_stdin
               ? file_put_distant(context, job, fd, before, error)
               : file_store(context, job, fd, before, NULL, error);
}

void cli_put_hash(const void *put_context, cli_job *base)
{
    const cli_put_context *context = put_context;
    cli_put_job *job = (cli_put_job *)(void *)base;
    struct stat before;
    int fd = -1;
    grv_error_clear(&job->error);
    grv_status status = grv_call_check(context->call, PUT_ORIGIN, &job->error);
    if (!status && !job->is_stdin) {
        status = file_open(job, &fd, &before, &job->error);
    }
    if (!status && fd >= 0) {
        if (S_ISREG(before.st_mode)) {
            status = file_key(context, job, fd, &before, &job->error);
        }
        close(fd);
    }
    job->error.status = status;
}

void cli_put_file(const void *put_context, cli_job *base)
{
    const cli_put_context *context = put_context;
    cli_put_job *job = (cli_put_job *)(void *)base;
    uint64_t begun_ns = grv_now_ns();
    struct stat before;
    int fd = -1;
    grv_error *error = &job->error;
    grv_error_clear(error);
    grv_status status = grv_call_check(context->call, PUT_ORIGIN, error);
    if (!status) {
        status = file_open(job, &fd, &before, error);
        if (!status) {
            status = file_put(context, job, fd, &before, error);
            if (!job->is_stdin) {
                close(fd);
            }
        }
    }
    if (status && job->store_failed) {
        grv_error_prefix(error, "%s", job_name(job));
    }
    error->status = status;
    job->duration_ns = grv_now_ns() - begun_ns;
}
