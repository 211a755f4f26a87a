/* SPDX-License-Identifier: Apache-2.0 */
/* Jobs as docs/http.md shows them: figures as the command line's commands print them with --json.
 */
#include "http/jobs_run.h"
#include "http/text.h"

#include <string.h>

typedef struct job_figure {
    const char *name;
    uint64_t value;
} job_figure;

static bool figures_set(json_t *object, const job_figure figures[], size_t count)
{
    bool whole = object != NULL;
    for (size_t i = 0; i < count && whole; i++) {
        whole = http_json_set(object, figures[i].name, http_json_number(figures[i].value));
    }
    return whole;
}

#define FIGURES_SET(object, figures)                                                               \
    figures_set(object, figures, sizeof(figures) / sizeof(figures)[0])

static bool gc_figures(json_t *object, const http_job *job)
{
    const grv_collect_report *report = &job->collect;
    const job_figure figures[] = {
        {"blobs", report->blobs},
        {"references", report->references},
        {"kept_blocks", report->kept_blocks},
        {"kept_bytes", report->kept_bytes},
        {"freed_blocks", report->freed_blocks},
        {"freed_bytes", report->freed_bytes},
        {"freed_stored_bytes", report->freed_stored_bytes},
        {"freed_temporary", report->block_sweep.temporary},
        {"freed_temporary_bytes", report->block_sweep.temporary_bytes},
        {"freed_aside", report->block_sweep.aside},
        {"freed_aside_bytes", report->block_sweep.aside_bytes},
        {"freed_pages", report->meta_sweep.pages},
        {"freed_sequences", report->meta_sweep.sequences},
        {"missing_blocks", report->missing_blocks},
    };
    return http_json_set(object, "dry_run", json_boolean(job->order.dry_run)) &&
           FIGURES_SET(object, figures);
}

static bool scrub_figures(json_t *object, const http_job *job)
{
    const grv_scrub_report *report = &job->scrub;
    const job_figure figures[] = {
        {"blocks", report->blocks},
        {"bytes", report->bytes},
        {"total_blocks", report->total_blocks},
        {"total_bytes", report->total_bytes},
        {"corrupt", report->corrupt},
        {"set_aside", report->set_aside},
        {"unreadable", report->unreadable},
        {"missing", report->missing},
    };
    return http_json_set(object, "complete", json_boolean(report->complete)) &&
           http_json_set(object, "resumed", json_boolean(report->resumed)) &&
           http_json_set(object, "started", http_json_time(report->started_ns)) &&
           FIGURES_SET(object, figures);
}

static bool verify_figures(json_t *object, const http_job *job)
{
    const http_verify_report *report = &job->verify;
    const job_figure figures[] = {
        {"blobs", report->blobs},     {"bytes", report->bytes},
        {"corrupt", report->corrupt}, {"unreadable", report->unreadable},
        {"missing", report->missing},
    };
    return FIGURES_SET(object, figures);
}

static bool backup_figures(json_t *object, const http_job *job)
{
    const grv_backup_report *report = &job->backup;
    const job_figure figures[] = {
        {"linked_blocks", report->linked_blocks},   {"linked_bytes", report->linked_bytes},
        {"copied_blocks", report->copied_blocks},   {"copied_bytes", report->copied_bytes},
        {"corrupt_blocks", report->corrupt_blocks}, {"meta_files", report->meta_files},
        {"meta_bytes", report->meta_bytes},
    };
    return FIGURES_SET(object, figures);
}

/* What the job has done so far; null before there is anything to tell. */
static json_t *job_figures(const http_job *job)
{
    if (!job->has_figures) {
        return json_null();
    }
    json_t *object = json_object();
    bool whole = object != NULL;
    switch (job->order.kind) {
    case HTTP_JOB_GC:
        whole = whole && gc_figures(object, job);
        break;
    case HTTP_JOB_SCRUB:
        whole = whole && scrub_figures(object, job);
        break;
    case HTTP_JOB_VERIFY:
        whole = whole && verify_figures(object, job);
        break;
    case HTTP_JOB_BACKUP:
        whole = whole && backup_figures(object, job);
        break;
    case HTTP_JOB_FLUSH:
        break;
    }
    if (!whole) {
        json_decref(object);
        return NULL;
    }
    return object;
}

static json_t *finding_json(const http_finding *finding, uint64_t number)
{
    char text[GRV_KEY_TEXT_SIZE];
    json_t *object = json_object();
    bool whole = http_json_set(object, "number", http_json_number(number));
    if (finding->has_blob) {
        grv_blob_key_print(&finding->blob, text);
        whole = whole && http_json_set(object, "id", json_string(text));
    }
    whole = whole && http_json_set(object, "status", json_string(finding->status));
    if (finding->has_block) {
        grv_block_key_print(&finding->block, text);
        whole = whole && http_json_set(object, "block", json_string(text));
    }
    if (finding->has_block && finding->has_blob) {
        whole = whole && http_json_set(object, "offset_bytes", http_json_number(finding->offset));
    }
    if (finding->kind == HTTP_FOUND_BLOCK) {
        whole = whole && http_json_set(object, "set_aside", json_boolean(finding->set_aside));
    }
    if (finding->message) {
        const grv_bytes message = grv_bytes_of(finding->message, strlen(finding->message));
        whole = whole && http_json_set(object, "message", http_json_text(message));
    }
    if (!whole) {
        json_decref(object);
        return NULL;
    }
    return object;
}

static json_t *job_findings(const http_job *job, uint64_t after)
{
    json_t *array = json_array();
    bool whole = array != NULL;
    size_t begin = after < job->finding_count ? (size_t)after : job->finding_count;
    size_t left = job->finding_count - begin;
    size_t end = begin + (left < HTTP_JOB_PAGE ? left : HTTP_JOB_PAGE);
    for (size_t i = begin; i < end && whole; i++) {
        whole = json_array_append_new(array, finding_json(&job->findings[i], i + 1)) == 0;
    }
    if (!whole) {
        json_decref(array);
        return NULL;
    }
    return array;
}

/* What it failed with: a type and a sentence, as in a problem document. */
static json_t *job_error(const http_job *job)
{
    if (job->state != HTTP_JOB_FAILED) {
        return json_null();
    }
    const char *detail = http_problem_detail(&job->error);
    return json_pack("{s:s,s:o}", "type", http_problem_of_status(job->error.status), //
                     "detail", http_json_text(grv_bytes_of(detail, strlen(detail))));
}

json_t *http_job_json(const http_job *job, uint64_t after)
{
    static const char *const states[] = {
        [HTTP_JOB_WAITING] = "waiting",     [HTTP_JOB_RUNNING] = "running",
        [HTTP_JOB_DONE] = "done",           [HTTP_JOB_FAILED] = "failed",
        [HTTP_JOB_CANCELLED] = "cancelled",
    };
    json_t *object = json_object();
    bool whole = http_json_set(object, "job", http_json_number(job->number));
    whole = whole &&
            http_json_set(object, "kind", json_string(http_job_kind_name(job->order.kind))) &&
            http_json_set(object, "state", json_string(states[job->state])) &&
            http_json_set(object, "automatic", json_boolean(job->order.is_automatic)) &&
            http_json_set(object, "started", http_json_time(job->started_ns)) &&
            http_json_set(object, "ended", http_json_time(job->ended_ns)) &&
            http_json_set(object, "figures", job_figures(job)) &&
            http_json_set(object, "findings", job_findings(job, after)) &&
            http_json_set(object, "findings_total", http_json_number(job->findings_total)) &&
            http_json_set(object, "error", job_error(job));
    if (!whole) {
        json_decref(object);
        return NULL;
    }
    return object;
}
