/* SPDX-License-Identifier: Apache-2.0 */
/* Jobs: beginning, cancelling and keeping them, and the thread that runs one after the other. */
#include "http/jobs_run.h"
#include "http/log.h"
#include "os/clock.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define JOB_MESSAGE_MAX  400u /* bytes of a finding's message that are kept */
#define JOB_LOGGED_MAX   100u /* findings of a job that the log tells of */
#define JOB_FINDINGS_MIN 64u  /* room for findings at first */

static const char *const job_kinds[HTTP_JOB_KINDS] = {
    [HTTP_JOB_GC] = "gc",         [HTTP_JOB_SCRUB] = "scrub",   [HTTP_JOB_FLUSH] = "flush",
    [HTTP_JOB_VERIFY] = "verify", [HTTP_JOB_BACKUP] = "backup",
};

const char *http_job_kind_name(http_job_kind kind)
{
    return job_kinds[kind];
}

void http_job_order_done(http_job_order *order)
{
    free(order->ids);
    free(order->directory);
    *order = (http_job_order){.kind = order->kind};
}

/* ---- Findings ---- */

static void findings_free(http_job *job)
{
    for (size_t i = 0; i < job->finding_count; i++) {
        free(job->findings[i].message);
    }
    job->jobs->findings_kept -= job->finding_count;
    free(job->findings);
    job->findings = NULL;
    job->finding_count = 0;
    job->finding_capacity = 0;
}

/* Room for one more finding, at the cost of older jobs' if need be; false where there is none. */
static bool findings_make_room(http_jobs *jobs, const http_job *job)
{
    while (jobs->findings_kept >= HTTP_JOB_FINDINGS_MAX) {
        http_job *oldest = NULL;
        for (http_job *other = jobs->newest; other; other = other->next) {
            oldest = other != job && other->finding_count > 0 ? other : oldest;
        }
        if (!oldest) {
            return false;
        }
        findings_free(oldest);
    }
    return true;
}

static grv_status findings_grow(http_job *job, grv_error *error)
{
    if (job->finding_count < job->finding_capacity) {
        return GRV_OK;
    }
    size_t capacity = job->finding_capacity ? 2 * job->finding_capacity : JOB_FINDINGS_MIN;
    http_finding *findings = realloc(job->findings, capacity * sizeof *findings);
    if (!findings) {
        return grv_error_set(error, GRV_LIMIT_EXCEEDED, "jobs", "no memory for %zu findings",
                             capacity);
    }
    job->findings = findings;
    job->finding_capacity = capacity;
    return GRV_OK;
}

static grv_status finding_keep(http_job *job, const http_finding *finding, const char *message,
                               grv_error *error)
{
    if (!findings_make_room(job->jobs, job)) {
        return GRV_OK;
    }
    grv_status status = findings_grow(job, error);
    if (status) {
        return status;
    }
    char *copy = NULL;
    /* Only names of files and addresses have a slash: keys have none. What could not be reached may
     * be named without one. */
    if (message && !strchr(message, '/') && strcmp(finding->status, "unreadable") != 0) {
        copy = strndup(message, JOB_MESSAGE_MAX);
    } else if (message) {
        copy = strdup("the server's log tells");
    }
    if (message && !copy) {
        return grv_error_set(error, GRV_LIMIT_EXCEEDED, "jobs", "no memory for a finding");
    }
    http_finding *kept = &job->findings[job->finding_count++];
    *kept = *finding;
    kept->message = copy;
    job->jobs->findings_kept++;
    return GRV_OK;
}

static void finding_log(const http_job *job, const http_finding *finding, const char *message)
{
    char block[GRV_KEY_TEXT_SIZE] = "-";
    char blob[GRV_KEY_TEXT_SIZE] = "-";
    if (finding->has_block) {
        grv_block_key_print(&finding->block, block);
    }
    if (finding->has_blob) {
        grv_blob_key_print(&finding->blob, blob);
    }
    http_log_event(job->jobs->server->log, "error", "job %" PRIu64 ": %s: block %s, blob %s: %s",
                   job->number, finding->status, block, blob,
                   message ? message : "names the block");
}

grv_status http_job_found(http_job *job, const http_finding *finding, const char *message,
                          grv_error *error)
{
    http_jobs *jobs = job->jobs;
    pthread_mutex_lock(&jobs->lock);
    grv_status status = finding_keep(job, finding, message, error);
    uint64_t total = ++job->findings_total;
    jobs->counts.findings++;
    pthread_mutex_unlock(&jobs->lock);
    if (total <= JOB_LOGGED_MAX) {
        finding_log(job, finding, message);
    }
    return status;
}

/* ---- Keeping ---- */

static void job_free(http_job *job)
{
    if (job) {
        findings_free(job);
        http_job_order_done(&job->order);
        free(job);
    }
}

static http_job *job_find(const http_jobs *jobs, uint64_t number)
{
    http_job *job = jobs->newest;
    while (job && job->number != number) {
        job = job->next;
    }
    return job;
}

static grv_status job_missing(uint64_t number, grv_error *error)
{
    return grv_error_set(error, GRV_NOT_FOUND, "http", "there is no job %" PRIu64, number);
}

/* Forgets the oldest ones. The lock is held. */
static void jobs_trim(http_jobs *jobs)
{
    while (jobs->kept > HTTP_JOBS_KEPT + (jobs->current ? 1 : 0)) {
        http_job **link = &jobs->newest;
        while (*link && (*link)->next) {
            link = &(*link)->next;
        }
        http_job *oldest = *link;
        *link = NULL;
        job_free(oldest);
        jobs->kept--;
    }
}

/* Whether a job may begin. The lock is held. */
static grv_status jobs_are_free(const http_jobs *jobs, grv_error *error)
{
    if (jobs->is_ending) {
        return grv_error_set(error, GRV_UNAVAILABLE, "http", "the server is stopping");
    }
    if (jobs->current) {
        return grv_error_set(error, GRV_CONFLICT, "http", "job %" PRIu64 " (%s) runs",
                             jobs->current->number, job_kinds[jobs->current->order.kind]);
    }
    return GRV_OK;
}

grv_status http_jobs_begin(http_jobs *jobs, http_job_order *order, uint64_t *ret_number,
                           grv_error *error)
{
    http_job *job = calloc(1, sizeof *job);
    if (!job) {
        return grv_error_set(error, GRV_LIMIT_EXCEEDED, "jobs", "no memory for a job");
    }
    pthread_mutex_lock(&jobs->lock);
    grv_status status = jobs_are_free(jobs, error);
    if (status) {
        pthread_mutex_unlock(&jobs->lock);
        free(job);
        return status;
    }
    *job = (http_job){
        .next = jobs->newest,
        .jobs = jobs,
        .number = ++jobs->last_number,
        .order = *order,
        .state = order->kind == HTTP_JOB_GC ? HTTP_JOB_WAITING : HTTP_JOB_RUNNING,
        .started_ns = grv_clock_realtime_ns(),
    };
    *order = (http_job_order){.kind = order->kind};
    jobs->newest = job;
    jobs->current = job;
    jobs->kept++;
    *ret_number = jobs->last_number;
    jobs_trim(jobs);
    pthread_cond_signal(&jobs->changed);
    pthread_mutex_unlock(&jobs->lock);
    return GRV_OK;
}

grv_status http_jobs_cancel(http_jobs *jobs, uint64_t number, grv_error *error)
{
    pthread_mutex_lock(&jobs->lock);
    http_job *job = job_find(jobs, number);
    if (job) {
        grv_cancel_raise(&job->cancel);
    }
    pthread_mutex_unlock(&jobs->lock);
    return job ? GRV_OK : job_missing(number, error);
}

static grv_status no_memory(grv_error *error)
{
    return grv_error_set(error, GRV_LIMIT_EXCEEDED, "jobs", "no memory to show a job");
}

grv_status http_jobs_show(http_jobs *jobs, uint64_t number, uint64_t after, json_t **ret_object,
                          grv_error *error)
{
    pthread_mutex_lock(&jobs->lock);
    const http_job *job = job_find(jobs, number);
    json_t *object = job ? http_job_json(job, after) : NULL;
    pthread_mutex_unlock(&jobs->lock);
    if (!job) {
        return job_missing(number, error);
    }
    if (!object) {
        return no_memory(error);
    }
    *ret_object = object;
    return GRV_OK;
}

grv_status http_jobs_list(http_jobs *jobs, json_t **ret_array, grv_error *error)
{
    json_t *array = json_array();
    bool whole = array != NULL;
    pthread_mutex_lock(&jobs->lock);
    for (const http_job *job = jobs->newest; job && whole; job = job->next) {
        whole = json_array_append_new(array, http_job_json(job, UINT64_MAX)) == 0;
    }
    pthread_mutex_unlock(&jobs->lock);
    if (!whole) {
        json_decref(array);
        return no_memory(error);
    }
    *ret_array = array;
    return GRV_OK;
}

void http_jobs_figures(http_jobs *jobs, http_jobs_counts *ret_counts)
{
    pthread_mutex_lock(&jobs->lock);
    *ret_counts = jobs->counts;
    ret_counts->running = jobs->current ? 1 : 0;
    pthread_mutex_unlock(&jobs->lock);
}

/* ---- Running ---- */

/* Puts down how a job ended. The lock is held. */
static void job_settle(http_jobs *jobs, http_job *job, grv_status status, const grv_error *failure)
{
    if (!status) {
        job->state = HTTP_JOB_DONE;
        jobs->counts.done++;
    } else if (status == GRV_CANCELLED) {
        job->state = HTTP_JOB_CANCELLED;
        jobs->counts.cancelled++;
    } else {
        job->state = HTTP_JOB_FAILED;
        job->error = *failure;
        jobs->counts.failed++;
    }
    job->ended_ns = grv_clock_realtime_ns();
    /* What it was to do is needed no more, and may be large. */
    free(job->order.ids);
    job->order.ids = NULL;
    jobs->current = NULL;
    jobs_trim(jobs);
}

static void job_do(http_jobs *jobs, http_job *job)
{
    grv_error failure = GRV_ERROR_INIT;
    http_log *log = jobs->server->log;
    const char *kind = job_kinds[job->order.kind];
    uint64_t number = job->number;
    const char *by = job->order.is_automatic ? ", by itself" : "";
    http_log_event(log, "info", "job %" PRIu64 " (%s) begins%s", number, kind, by);
    grv_status status = http_job_run(job, &failure);
    pthread_mutex_lock(&jobs->lock);
    uint64_t findings = job->findings_total;
    job_settle(jobs, job, status, &failure);
    pthread_mutex_unlock(&jobs->lock);
    if (!status || status == GRV_CANCELLED) {
        http_log_event(log, findings ? "error" : "info",
                       "job %" PRIu64 " (%s) %s, %" PRIu64 " findings", number, kind,
                       status ? "was cancelled" : "is done", findings);
    } else {
        http_log_event(log, "error", "job %" PRIu64 " (%s) failed: %s: %s", number, kind,
                       grv_status_name(status), failure.message);
    }
}

static void *jobs_main(void *context)
{
    http_jobs *jobs = context;
    pthread_mutex_lock(&jobs->lock);
    for (;;) {
        while (!jobs->current && !jobs->is_ending) {
            pthread_cond_wait(&jobs->changed, &jobs->lock);
        }
        http_job *job = jobs->current;
        if (!job) {
            break;
        }
        pthread_mutex_unlock(&jobs->lock);
        job_do(jobs, job);
        pthread_mutex_lock(&jobs->lock);
    }
    pthread_mutex_unlock(&jobs->lock);
    return NULL;
}

grv_status http_jobs_new(http_server *server, http_jobs **ret_jobs, grv_error *error)
{
    http_jobs *jobs = calloc(1, sizeof *jobs);
    if (!jobs) {
        return grv_error_set(error, GRV_LIMIT_EXCEEDED, "jobs", "no memory for jobs");
    }
    const http_server_config *config = &server->config;
    uint64_t now_ns = grv_now_ns();
    bool may_write = !grv_store_is_read_only(server->store);
    jobs->server = server;
    jobs->gc_due_ns = may_write && config->gc_period_ns ? now_ns + config->gc_period_ns : 0;
    jobs->scrub_due_ns =
        may_write && config->scrub_period_ns ? now_ns + config->scrub_period_ns : 0;
    pthread_mutex_init(&jobs->lock, NULL);
    pthread_cond_init(&jobs->changed, NULL);
    int failed = pthread_create(&jobs->thread, NULL, jobs_main, jobs);
    if (failed) {
        pthread_mutex_destroy(&jobs->lock);
        pthread_cond_destroy(&jobs->changed);
        free(jobs);
        return grv_error_set_errno(error, failed, "jobs", "cannot start a thread for jobs");
    }
    *ret_jobs = jobs;
    return GRV_OK;
}

void http_jobs_free(http_jobs *jobs)
{
    if (!jobs) {
        return;
    }
    pthread_mutex_lock(&jobs->lock);
    jobs->is_ending = true;
    if (jobs->current) {
        grv_cancel_raise(&jobs->current->cancel);
    }
    pthread_cond_signal(&jobs->changed);
    pthread_mutex_unlock(&jobs->lock);
    pthread_join(jobs->thread, NULL);
    while (jobs->newest) {
        http_job *job = jobs->newest;
        jobs->newest = job->next;
        job_free(job);
    }
    pthread_mutex_destroy(&jobs->lock);
    pthread_cond_destroy(&jobs->changed);
    free(jobs);
}

/* Begins what is due, and sets when it will be again. Where another job runs it stays due. */
static void tick_kind(http_jobs *jobs, _Atomic uint64_t *due_ns, uint64_t period_ns,
                      http_job_order *order, uint64_t now_ns)
{
    uint64_t number;
    if (*due_ns == 0 || now_ns < *due_ns) {
        return;
    }
    if (!http_jobs_begin(jobs, order, &number, NULL)) {
        *due_ns = now_ns + period_ns;
    }
}

void http_jobs_tick(http_jobs *jobs, uint64_t now_ns)
{
    const http_server_config *config = &jobs->server->config;
    if (atomic_load(&jobs->server->is_draining)) {
        return;
    }
    http_job_order gc = {.kind = HTTP_JOB_GC, .is_automatic = true};
    http_job_order scrub = {
        .kind = HTTP_JOB_SCRUB, .is_automatic = true, .rate_bytes = config->scrub_rate_bytes};
    /* What has been due for longer comes first, so that neither keeps the other out. */
    bool scrub_first = jobs->scrub_due_ns < jobs->gc_due_ns;
    for (int i = 0; i < 2; i++) {
        if (scrub_first == (i == 0)) {
            tick_kind(jobs, &jobs->scrub_due_ns, config->scrub_period_ns, &scrub, now_ns);
        } else {
            tick_kind(jobs, &jobs->gc_due_ns, config->gc_period_ns, &gc, now_ns);
        }
    }
}
