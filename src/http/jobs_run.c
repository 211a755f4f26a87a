/* SPDX-License-Identifier: Apache-2.0 */
/* Each kind of job: a call of maintain.h or a port, whose reports are copied where they are shown.
 */
#include "http/jobs_run.h"

#include <string.h>

/* How long puts in flight may take to end before a collection gives up. Those that come meanwhile
 * are refused after HTTP_PAUSE_PATIENCE, so it is not long. */
#define JOB_PAUSE_PATIENCE (UINT64_C(30) * 1000000000u)

/* The same for a scrub that has found a bad block; and how long it lets puts be after that failed.
 */
#define JOB_QUIET_PATIENCE (UINT64_C(5) * 1000000000u)
#define JOB_QUIET_PERIOD   (UINT64_C(120) * 1000000000u)

static grv_call job_call(const http_job *job)
{
    return (grv_call){.cancel = &job->cancel, .priority = GRV_BACKGROUND};
}

/* ---- gc ---- */

static void gc_progress(void *context, const grv_collect_report *so_far)
{
    http_job *job = context;
    pthread_mutex_lock(&job->jobs->lock);
    job->collect = *so_far;
    job->has_figures = true;
    pthread_mutex_unlock(&job->jobs->lock);
}

static void job_is_running(http_job *job)
{
    pthread_mutex_lock(&job->jobs->lock);
    job->state = HTTP_JOB_RUNNING;
    pthread_mutex_unlock(&job->jobs->lock);
}

static grv_status gc_run(http_job *job, grv_error *error)
{
    http_server *server = job->jobs->server;
    const grv_call call = job_call(job);
    grv_call patience = call;
    patience.deadline_ns = grv_now_ns() + JOB_PAUSE_PATIENCE;
    grv_status status = http_puts_pause(&patience, server, error);
    if (status) {
        return status;
    }
    job_is_running(job);
    const grv_collect_config config = {
        .dry_run = job->order.dry_run, .progress = gc_progress, .context = job};
    grv_collect_report report = {0};
    status = grv_store_collect(&call, server->store, &config, &report, error);
    http_puts_resume(server);
    if (!status) {
        gc_progress(job, &report);
    }
    return status;
}

/* ---- scrub ---- */

static void scrub_progress(void *context, const grv_scrub_report *so_far)
{
    http_job *job = context;
    pthread_mutex_lock(&job->jobs->lock);
    job->scrub = *so_far;
    job->has_figures = true;
    pthread_mutex_unlock(&job->jobs->lock);
}

static const char *scrub_status(grv_scrub_kind kind)
{
    switch (kind) {
    case GRV_SCRUB_CORRUPT:
        return "corrupt";
    case GRV_SCRUB_MISSING:
        return "missing";
    case GRV_SCRUB_UNREADABLE:
        break;
    }
    return "unreadable";
}

static grv_status scrub_found(void *context, const grv_scrub_finding *found, grv_error *error)
{
    const http_finding finding = {
        .kind = HTTP_FOUND_BLOCK,
        .status = scrub_status(found->kind),
        .set_aside = found->set_aside,
        .has_block = true,
        .block = found->key,
    };
    return http_job_found(context, &finding, found->message, error);
}

static grv_status scrub_named(void *context, const grv_blob_key *blob, const grv_block_key *block,
                              uint64_t offset, grv_error *error)
{
    const http_finding finding = {
        .kind = HTTP_FOUND_DAMAGE,
        .status = "damaged",
        .has_block = true,
        .has_blob = true,
        .block = *block,
        .blob = *blob,
        .offset = offset,
    };
    return http_job_found(context, &finding, NULL, error);
}

/*
 * A bad block is set aside while no put is open. On a server in use some nearly always is, so puts
 * are paused for that moment; where they take too long to end, none is disturbed for a while.
 */
static void scrub_quiet(void *context, bool begin)
{
    http_job *job = context;
    http_server *server = job->jobs->server;
    if (!begin) {
        if (job->is_quiet) {
            http_puts_resume(server);
        }
        job->is_quiet = false;
        return;
    }
    uint64_t now_ns = grv_now_ns();
    if (now_ns < job->quiet_after_ns) {
        return;
    }
    grv_call patience = job_call(job);
    patience.deadline_ns = now_ns + JOB_QUIET_PATIENCE;
    job->is_quiet = http_puts_pause(&patience, server, NULL) == GRV_OK;
    job->quiet_after_ns = job->is_quiet ? 0 : grv_now_ns() + JOB_QUIET_PERIOD;
}

static grv_status scrub_run(http_job *job, grv_error *error)
{
    const grv_call call = job_call(job);
    const grv_scrub_config config = {
        .rate_bytes = job->order.rate_bytes,
        .restart = job->order.restart,
        .found = scrub_found,
        .named = scrub_named,
        .quiet = scrub_quiet,
        .progress = scrub_progress,
        .context = job,
    };
    grv_scrub_report report = {0};
    grv_status status = grv_store_scrub(&call, job->jobs->server->store, &config, &report, error);
    if (report.started_ns > 0) {
        scrub_progress(job, &report);
    }
    return status;
}

/* ---- backup ---- */

static void backup_progress(void *context, const grv_backup_report *so_far)
{
    http_job *job = context;
    pthread_mutex_lock(&job->jobs->lock);
    job->backup = *so_far;
    job->has_figures = true;
    pthread_mutex_unlock(&job->jobs->lock);
}

static grv_status backup_run(http_job *job, grv_error *error)
{
    const grv_call call = job_call(job);
    const grv_backup_config config = {
        .directory = job->order.directory,
        .copy = job->order.copy,
        .progress = backup_progress,
        .context = job,
    };
    grv_backup_report report = {0};
    grv_status status = grv_store_backup(&call, job->jobs->server->store, &config, &report, error);
    if (!status) {
        backup_progress(job, &report);
    }
    return status;
}

/* ---- flush ---- */

static grv_status flush_run(http_job *job, grv_error *error)
{
    const grv_call call = job_call(job);
    grv_status status =
        grv_block_store_flush(&call, grv_store_blocks(job->jobs->server->store), error);
    if (!status) {
        pthread_mutex_lock(&job->jobs->lock);
        job->has_figures = true;
        pthread_mutex_unlock(&job->jobs->lock);
    }
    return status;
}

grv_status http_job_run(http_job *job, grv_error *error)
{
    switch (job->order.kind) {
    case HTTP_JOB_GC:
        return gc_run(job, error);
    case HTTP_JOB_SCRUB:
        return scrub_run(job, error);
    case HTTP_JOB_FLUSH:
        return flush_run(job, error);
    case HTTP_JOB_VERIFY:
        return http_job_verify(job, error);
    case HTTP_JOB_BACKUP:
        return backup_run(job, error);
    }
    return grv_error_set(error, GRV_INTERNAL, "jobs", "unknown kind of job %d",
                         (int)job->order.kind);
}
