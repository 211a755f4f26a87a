/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One file, or standard input, into the store: read straight into the sink's own memory, checked
 * for having changed meanwhile, committed.
 */
#ifndef GRAVITON_CLI_PUT_FILE_H
#define GRAVITON_CLI_PUT_FILE_H

#include "cli/job_pool.h"

#include <graviton/store.h>
#include <sys/stat.h>

/* What all puts of a run share. Read only, but for the progress's counter. */
typedef struct cli_put_context {
    const grv_call *call;
    grv_blob_store *blobs;
    grv_hash hash; /* the store's, where it is distant: regular files are hashed first, and sent
                      only where it lacks them. Else GRV_HASH_NONE */
    const grv_attributes *attributes; /* NULL: none are named */
    cli_progress *progress;
} cli_put_context;

/* One put: what to read, and what came of it. */
typedef struct cli_put_job {
    cli_job base;      /* is_large also where the size is not known */
    char *path;        /* malloc'ed; also the name that is printed */
    bool is_stdin;     /* read descriptor 0 instead of opening path */
    bool only_regular; /* found by a walk: refuse what is no regular file (any more) */
    bool has_key;      /* it was hashed: it has this key, as it was then */
    bool is_asked;     /* whether the store has the blob was asked */
    bool is_present;   /* and it has */
    grv_blob_key key;
    struct stat hashed;
    grv_error error;   /* status GRV_OK: stored, and result is valid */
    bool store_failed; /* the error is the store's, not the file's */
    bool changed;      /* size or time of the file changed while it was read */
    uint64_t duration_ns;
    grv_put_result result;
} cli_put_job;

/*
 * GRV_OK if `path` is there and no directory, or "-"; else the error that its put would end with.
 * Asked before a store is made for nothing.
 */
grv_status cli_put_check(const char *path, grv_error *error);

/*
 * Fills a sink up to the end of an open file; what is no regular file is waited for, so that a
 * signal ends the wait. *ret_sink_failed tells a failure of the sink from one of the file, which
 * `name` names. Any thread.
 */
grv_status cli_file_read(const grv_call *call, int fd, const char *name, bool regular,
                         cli_progress *progress, grv_sink *sink, bool *ret_sink_failed,
                         grv_error *error);

/* Hashes the file of a cli_put_job, given as its `base`, and tells its key, or why not: then the
 * job has failed. What is no regular file gets no key. Any thread. */
void cli_put_hash(const void *put_context, cli_job *base);

/* The result of a put of what the store had; `info` NULL: how many blocks that are is not known. */
grv_put_result cli_put_present(const grv_blob_key *key, const grv_blob_info *info);

/* Runs a cli_put_job, given as its `base`, with a cli_put_context, and fills in what came of it.
 * Any thread. */
void cli_put_file(const void *put_context, cli_job *base);

#endif
