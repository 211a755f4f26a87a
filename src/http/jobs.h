/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Jobs that look after the store while it is in use: collection, scrubbing, flushing, verifying,
 * backup. One runs at a time, on a thread of its own; it can be watched and cancelled, and the last
 * ones that ended are kept with what they found. Functions are thread-safe.
 */
#ifndef GRV_HTTP_JOBS_H
#define GRV_HTTP_JOBS_H

#include "http/http.h"

#define HTTP_JOBS_KEPT 32u /* that have ended */
#define HTTP_JOB_FINDINGS_MAX                                                                      \
    100000u                 /* kept, of all jobs together: older jobs lose theirs first            \
                             */
#define HTTP_JOB_PAGE 1000u /* findings shown at once */

typedef enum http_job_kind {
    HTTP_JOB_GC = 0,
    HTTP_JOB_SCRUB = 1,
    HTTP_JOB_FLUSH = 2,
    HTTP_JOB_VERIFY = 3,
    HTTP_JOB_BACKUP = 4
} http_job_kind;

#define HTTP_JOB_KINDS 5u

/* What a job is to do. Zero-initialise, then set. */
typedef struct http_job_order {
    http_job_kind kind;
    bool is_automatic;
    bool dry_run;        /* gc */
    bool restart;        /* scrub */
    uint64_t rate_bytes; /* scrub: a second; 0: any */
    grv_blob_key *ids;   /* verify: malloc'ed; NULL: all blobs */
    size_t id_count;
    bool copy;       /* backup */
    char *directory; /* backup: malloc'ed */
} http_job_order;

/* Frees what an order owns. */
void http_job_order_done(http_job_order *order);

/* "gc", "scrub", … */
const char *http_job_kind_name(http_job_kind kind);

/* Starts the jobs' thread. `server` has its store, configuration and log; they outlive the jobs. */
grv_status http_jobs_new(http_server *server, http_jobs **ret_jobs, grv_error *error);

/* Cancels the job that runs, waits for it, and frees. NULL is allowed. */
void http_jobs_free(http_jobs *jobs);

/* Begins an automatic run that is due at `now_ns` (grv_now_ns). For the watch: waits for nothing.
 */
void http_jobs_tick(http_jobs *jobs, uint64_t now_ns);

/* Begins a job, and takes the order over unless it fails. GRV_CONFLICT where another one runs. */
grv_status http_jobs_begin(http_jobs *jobs, http_job_order *order, uint64_t *ret_number,
                           grv_error *error);

/* Asks a job to stop; harmless where it has ended. GRV_NOT_FOUND where there is none. */
grv_status http_jobs_cancel(http_jobs *jobs, uint64_t number, grv_error *error);

/* A job as docs/http.md shows it, with findings numbered above `after`, at most HTTP_JOB_PAGE, or
 * none where `after` is UINT64_MAX. GRV_NOT_FOUND where there is none. */
grv_status http_jobs_show(http_jobs *jobs, uint64_t number, uint64_t after, json_t **ret_object,
                          grv_error *error);

/* All that are kept, newest first, without their findings. */
grv_status http_jobs_list(http_jobs *jobs, json_t **ret_array, grv_error *error);

/* Sums since the start. */
typedef struct http_jobs_counts {
    uint64_t done;
    uint64_t failed;
    uint64_t cancelled;
    uint64_t findings;
    unsigned running; /* 0 or 1 */
} http_jobs_counts;

void http_jobs_figures(http_jobs *jobs, http_jobs_counts *ret_counts);

#endif
