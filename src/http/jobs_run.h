/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The inside of jobs: what the parts that keep, run and show them share. A job's fields are written
 * by the jobs' thread and read by whoever shows it, both under the jobs' lock; the order and the
 * number never change.
 */
#ifndef GRV_HTTP_JOBS_RUN_H
#define GRV_HTTP_JOBS_RUN_H

#include "http/jobs.h"

#include <graviton/maintain.h>
#include <pthread.h>

typedef enum http_job_state {
    HTTP_JOB_WAITING = 0,
    HTTP_JOB_RUNNING = 1,
    HTTP_JOB_DONE = 2,
    HTTP_JOB_FAILED = 3,
    HTTP_JOB_CANCELLED = 4
} http_job_state;

/* What a finding is about. */
typedef enum http_finding_kind {
    HTTP_FOUND_BLOCK = 0,  /* scrub: a bad block */
    HTTP_FOUND_DAMAGE = 1, /* scrub: a blob that names one */
    HTTP_FOUND_BLOB = 2    /* verify: a bad block of a blob, or a blob that cannot be checked */
} http_finding_kind;

typedef struct http_finding {
    http_finding_kind kind;
    const char *status; /* static: "corrupt", "missing", … */
    bool set_aside;
    bool has_block;
    bool has_blob;
    grv_block_key block;
    grv_blob_key blob;
    uint64_t offset; /* of the block in the blob */
    char *message;   /* malloc'ed; NULL: none */
} http_finding;

/* What a verification has done. */
typedef struct http_verify_report {
    uint64_t blobs; /* read in full */
    uint64_t bytes;
    uint64_t corrupt;    /* blobs, of those */
    uint64_t unreadable; /* blobs that could not be checked */
    uint64_t missing;    /* blobs asked for that are not there */
} http_verify_report;

typedef struct http_job http_job;
struct http_job {
    http_job *next; /* an older one */
    http_jobs *jobs;
    uint64_t number;
    http_job_order order;
    grv_cancel cancel;
    http_job_state state;
    uint64_t started_ns; /* since 1970 */
    uint64_t ended_ns;   /* 0: it has not */
    bool has_figures;
    grv_collect_report collect;
    grv_scrub_report scrub;
    grv_backup_report backup;
    http_verify_report verify;
    grv_error error; /* what it failed with */
    http_finding *findings;
    size_t finding_count; /* kept */
    size_t finding_capacity;
    uint64_t findings_total;
    bool is_quiet; /* the jobs' thread's own: the scrub has puts paused */
    uint64_t quiet_after_ns;
};

struct http_jobs {
    http_server *server;
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    http_job *newest;  /* the one that waits or runs, if there is one, and those that ended */
    http_job *current; /* NULL: none */
    size_t kept;
    size_t findings_kept;
    uint64_t last_number;
    bool is_ending;
    http_jobs_counts counts;
    _Atomic uint64_t gc_due_ns; /* of automatic runs; 0: never */
    _Atomic uint64_t scrub_due_ns;
};

/* jobs_run.c: does the job, on the jobs' thread. */
grv_status http_job_run(http_job *job, grv_error *error);

/* jobs_verify.c: does a job of kind HTTP_JOB_VERIFY. */
grv_status http_job_verify(http_job *job, grv_error *error);

/* jobs.c: keeps a finding, while there is room, and counts it. Its message is copied, and left to
 * the log where it may hold a path or an address. */
grv_status http_job_found(http_job *job, const http_finding *finding, const char *message,
                          grv_error *error);

/* jobs_show.c: the object of a job; the lock is held. NULL without memory. */
json_t *http_job_json(const http_job *job, uint64_t after);

#endif
