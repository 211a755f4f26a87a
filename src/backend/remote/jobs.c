/* SPDX-License-Identifier: Apache-2.0 */
/* Jobs that the server does: begun, watched until they end, and stopped with the call. */
#include "backend/remote/client.h"
#include "os/clock.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define MS UINT64_C(1000000)
/* Between two looks at a job; each is twice as long as the one before. */
#define LOOK_FIRST_NS (20 * MS)
#define LOOK_MAX_NS   (1000 * MS)
#define NAP_NS        (50 * MS)
/* How long a job that was asked to stop is waited for. */
#define STOP_NS (10000 * MS)

typedef struct job_run {
    grv_remote *remote;
    const grv_remote_job *job;
    grv_remote_figures *figures;
    uint64_t number;
    uint64_t found; /* number of the last finding that was told */
    char doing[64];
} job_run;

grv_status grv_remote_count(const grv_call *call, grv_remote *remote,
                            grv_remote_figures *ret_figures, grv_error *error)
{
    const grv_remote_ask ask = {
        .doing = "cannot count the store",
        .request = {.method = "GET", .path = "/api/stats?exact=true"},
        .is_long = true,
    };
    json_t *json;
    grv_status status = grv_remote_ask_json(call, remote, &ask, &json, error);
    if (status) {
        return status;
    }
    const json_t *store = json_object_get(json, "store");
    status = json_is_object(store)
                 ? grv_remote_decode_figures(store, ret_figures, error)
                 : grv_remote_no_server(remote, ask.doing, "there are no figures", error);
    json_decref(json);
    return status;
}

static grv_status job_begin(const grv_call *call, job_run *run, grv_error *error)
{
    char path[64];
    const char *order = run->job->order ? run->job->order : "{}";
    snprintf(path, sizeof path, "/api/admin/%s", run->job->kind);
    const grv_remote_ask ask = {
        .doing = run->doing,
        .request = {.method = "POST",
                    .path = path,
                    .has_body = true,
                    .body = grv_bytes_of(order, strlen(order)),
                    .type = "application/json"},
        .once = true,
    };
    json_t *json;
    grv_remote_job_view view;
    grv_status status = grv_remote_ask_json(call, run->remote, &ask, &json, error);
    if (status) {
        return status;
    }
    status = grv_remote_decode_job(json, &view, error);
    json_decref(json);
    if (!status) {
        run->number = view.number;
    }
    return status;
}

static grv_status tell_findings(job_run *run, const json_t *findings, grv_error *error)
{
    for (size_t i = 0; i < json_array_size(findings); i++) {
        grv_remote_finding finding;
        uint64_t number;
        grv_status status =
            grv_remote_decode_finding(json_array_get(findings, i), &number, &finding, error);
        if (!status && number <= run->found) {
            status = grv_remote_no_server(run->remote, run->doing, "findings out of order", error);
        }
        if (status) {
            return status;
        }
        run->found = number;
        if (run->job->found) {
            status = run->job->found(run->job->context, &finding, error);
        }
        if (status) {
            return status;
        }
    }
    return GRV_OK;
}

/* One look: tells what is new, and whether that is all there is. */
static grv_status job_look(const grv_call *call, job_run *run, grv_remote_job_view *ret_view,
                           bool *ret_over, grv_error *error)
{
    char path[96];
    json_t *json;
    snprintf(path, sizeof path, "/api/admin/jobs/%" PRIu64 "?after=%" PRIu64, run->number,
             run->found);
    const grv_remote_ask ask = {.doing = run->doing, .request = {.method = "GET", .path = path}};
    grv_status status = grv_remote_ask_json(call, run->remote, &ask, &json, error);
    if (status == GRV_NOT_FOUND) {
        return grv_error_set(error, GRV_UNAVAILABLE, GRV_REMOTE_ORIGIN,
                             "%s at %s: the server was started again meanwhile, and the job ended",
                             run->doing, run->remote->settings.where);
    }
    if (status) {
        return status;
    }
    status = grv_remote_decode_job(json, ret_view, error);
    if (!status && ret_view->figures.count > 0) {
        *run->figures = ret_view->figures;
        if (run->job->progress) {
            run->job->progress(run->job->context, run->figures);
        }
    }
    size_t found = status ? 0 : json_array_size(ret_view->findings);
    if (!status) {
        status = tell_findings(run, ret_view->findings, error);
    }
    *ret_over = ret_view->has_ended && found == 0;
    ret_view->findings = NULL;
    json_decref(json);
    return status;
}

static grv_status job_wait(const grv_call *call, job_run *run, grv_remote_job_view *view,
                           grv_error *error)
{
    uint64_t pause = LOOK_FIRST_NS;
    for (;;) {
        bool over = false;
        grv_status status = job_look(call, run, view, &over, error);
        if (status || over) {
            return status;
        }
        uint64_t until = grv_now_ns() + (view->has_ended ? 0 : pause);
        for (uint64_t now = grv_now_ns(); now < until; now = grv_now_ns()) {
            status = grv_call_check(call, GRV_REMOTE_ORIGIN, error);
            if (status) {
                return status;
            }
            grv_clock_sleep(until - now < NAP_NS ? until - now : NAP_NS);
        }
        pause = 2 * pause < LOOK_MAX_NS ? 2 * pause : LOOK_MAX_NS;
    }
}

/* Asks the job to stop, for a call that does not wait for it any longer, and takes its last word.
 */
static void job_stop(job_run *run)
{
    char path[64];
    grv_remote_answer answer = {0};
    grv_remote_job_view view = {0};
    const grv_call call = {.deadline_ns = grv_now_ns() + STOP_NS};
    snprintf(path, sizeof path, "/api/admin/jobs/%" PRIu64, run->number);
    const grv_remote_ask ask = {.doing = run->doing, .request = {.method = "DELETE", .path = path}};
    /* Why the call ended is what is told; that the job could not be stopped adds nothing to it. */
    if (!grv_remote_ask_for(&call, run->remote, &ask, &answer, NULL)) {
        (void)job_wait(&call, run, &view, NULL);
    }
    grv_remote_answer_done(&answer);
}

grv_status grv_remote_run_job(const grv_call *call, grv_remote *remote, const grv_remote_job *job,
                              grv_remote_figures *ret_figures, grv_error *error)
{
    job_run run = {.remote = remote, .job = job, .figures = ret_figures};
    grv_remote_job_view view = {0};
    *ret_figures = (grv_remote_figures){0};
    snprintf(run.doing, sizeof run.doing, "cannot do %s", job->kind);
    grv_status status = job_begin(call, &run, error);
    if (status) {
        return status;
    }
    status = job_wait(call, &run, &view, error);
    if (status) {
        if (!view.has_ended) {
            job_stop(&run);
        }
        return status;
    }
    if (view.was_cancelled) {
        return grv_error_set(error, GRV_CANCELLED, GRV_REMOTE_ORIGIN,
                             "%s at %s: somebody has stopped it there", run.doing,
                             remote->settings.where);
    }
    if (!view.is_done) {
        return grv_error_set(error, view.error.status, GRV_REMOTE_ORIGIN, "%s at %s: %s", run.doing,
                             remote->settings.where, view.error.detail);
    }
    return GRV_OK;
}
