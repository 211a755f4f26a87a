/* SPDX-License-Identifier: Apache-2.0 */
/* What a server says of its jobs, and of figures. */
#include "backend/remote/client.h"

#include <string.h>

static grv_status odd(const char *what, grv_error *error)
{
    return grv_error_set(error, GRV_UNAVAILABLE, GRV_REMOTE_ORIGIN,
                         "the answer is not one of a graviton server: %s", what);
}

/* A member as a figure; false for one that is none. */
static bool figure_of(const json_t *value, uint64_t *ret_value)
{
    if (json_is_boolean(value)) {
        *ret_value = json_is_true(value);
        return true;
    }
    if (json_is_string(value)) {
        return grv_remote_time_parse(json_string_value(value), ret_value);
    }
    if (!json_is_integer(value) || json_integer_value(value) < 0) {
        return false;
    }
    *ret_value = (uint64_t)json_integer_value(value);
    return true;
}

grv_status grv_remote_decode_figures(const json_t *json, grv_remote_figures *ret_figures,
                                     grv_error *error)
{
    grv_remote_figures figures = {0};
    const char *name;
    json_t *value;
    if (json_is_null(json)) {
        *ret_figures = figures;
        return GRV_OK;
    }
    if (!json_is_object(json)) {
        return odd("figures that are none", error);
    }
    json_object_foreach((json_t *)(uintptr_t)json, name, value)
    {
        uint64_t number;
        size_t size = strlen(name);
        /* What is no figure is something newer, and too many are as well. */
        if (figures.count < GRV_REMOTE_FIGURES_MAX && size < sizeof figures.items[0].name &&
            figure_of(value, &number)) {
            memcpy(figures.items[figures.count].name, name, size + 1);
            figures.items[figures.count++].value = number;
        }
    }
    *ret_figures = figures;
    return GRV_OK;
}

uint64_t grv_remote_figures_get(const grv_remote_figures *figures, const char *name)
{
    for (size_t i = 0; i < figures->count; i++) {
        if (strcmp(figures->items[i].name, name) == 0) {
            return figures->items[i].value;
        }
    }
    return 0;
}

/* What a job failed with: {"type": …, "detail": …} */
static bool take_error(const json_t *json, grv_remote_problem *problem)
{
    static const char scheme[] = "urn:graviton:problem:";
    const char *type = grv_remote_string_of(json, "type");
    grv_bytes detail;
    if (!type || !grv_remote_text_of(json, "detail", &detail)) {
        return false;
    }
    type += strncmp(type, scheme, sizeof scheme - 1) == 0 ? sizeof scheme - 1 : 0;
    grv_remote_text_copy(problem->type, sizeof problem->type, type, strlen(type));
    grv_remote_text_copy(problem->detail, sizeof problem->detail, (const char *)detail.data,
                         detail.size);
    problem->is_known = grv_remote_problem_status(problem->type, &problem->status);
    problem->status = problem->is_known ? problem->status : GRV_UNAVAILABLE;
    return true;
}

grv_status grv_remote_decode_job(const json_t *json, grv_remote_job_view *ret_view,
                                 grv_error *error)
{
    grv_remote_job_view view = {0};
    const char *state = grv_remote_string_of(json, "state");
    if (!state || !grv_remote_number_of(json, "job", &view.number)) {
        return odd("a job without number or state", error);
    }
    view.is_done = strcmp(state, "done") == 0;
    view.was_cancelled = strcmp(state, "cancelled") == 0;
    view.has_ended = view.is_done || view.was_cancelled || strcmp(state, "failed") == 0;
    view.findings = json_object_get(json, "findings");
    grv_status status =
        grv_remote_decode_figures(json_object_get(json, "figures"), &view.figures, error);
    if (!status && view.has_ended && !view.is_done && !view.was_cancelled &&
        !take_error(json_object_get(json, "error"), &view.error)) {
        status = odd("a job that failed without a word", error);
    }
    if (!status && view.findings && !json_is_array(view.findings)) {
        status = odd("what a job found", error);
    }
    if (!status) {
        *ret_view = view;
    }
    return status;
}

grv_status grv_remote_decode_finding(const json_t *json, uint64_t *ret_number,
                                     grv_remote_finding *ret_finding, grv_error *error)
{
    grv_remote_finding finding = {0};
    grv_bytes id;
    grv_bytes block;
    grv_bytes message;
    const char *state = grv_remote_string_of(json, "status");
    uint64_t number;
    if (!state || !grv_remote_number_of(json, "number", &number)) {
        return odd("a finding without number or status", error);
    }
    finding.has_blob = grv_remote_text_of(json, "id", &id);
    finding.has_block = grv_remote_text_of(json, "block", &block);
    if ((finding.has_blob && grv_blob_key_parse(id, &finding.blob, NULL)) ||
        (finding.has_block && grv_block_key_parse(block, &finding.block, NULL))) {
        return odd("a finding about nothing that has a key", error);
    }
    finding.set_aside = json_is_true(json_object_get(json, "set_aside"));
    (void)grv_remote_number_of(json, "offset_bytes", &finding.offset);
    grv_remote_text_copy(finding.status, sizeof finding.status, state, strlen(state));
    if (grv_remote_text_of(json, "message", &message)) {
        grv_remote_text_copy(finding.message, sizeof finding.message, (const char *)message.data,
                             message.size);
    }
    *ret_number = number;
    *ret_finding = finding;
    return GRV_OK;
}
