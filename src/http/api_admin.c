/* SPDX-License-Identifier: Apache-2.0 */
/* Jobs over HTTP: beginning, watching and cancelling them. */
#include "http/admin.h"
#include "http/text.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define ADMIN_IDS_MAX         10000u
#define ADMIN_BACKUP_NAME_MAX 128u

/* ---- What is asked for ---- */

static const char *const admin_members[HTTP_JOB_KINDS][3] = {
    [HTTP_JOB_GC] = {"dry_run"},
    [HTTP_JOB_SCRUB] = {"rate_bytes", "restart"},
    [HTTP_JOB_FLUSH] = {NULL},
    [HTTP_JOB_VERIFY] = {"ids", "all"},
    [HTTP_JOB_BACKUP] = {"name", "copy"},
};

static grv_status members_check(http_job_kind kind, json_t *body, grv_error *error)
{
    const char *name;
    json_t *value;
    json_object_foreach(body, name, value)
    {
        bool known = false;
        for (size_t i = 0; admin_members[kind][i]; i++) {
            known = known || strcmp(admin_members[kind][i], name) == 0;
        }
        if (!known) {
            return grv_error_set(error, GRV_INVALID_ARGUMENT, "http", "%s has no member \"%.60s\"",
                                 http_job_kind_name(kind), name);
        }
    }
    return GRV_OK;
}

static grv_status member_bool(json_t *body, const char *name, bool *ret_value, grv_error *error)
{
    const json_t *value = json_object_get(body, name);
    if (value && !json_is_boolean(value)) {
        return grv_error_set(error, GRV_INVALID_ARGUMENT, "http", "%s is true or false", name);
    }
    *ret_value = json_is_true(value);
    return GRV_OK;
}

static grv_status rate_parse(json_t *body, uint64_t *ret_rate, grv_error *error)
{
    const json_t *value = json_object_get(body, "rate_bytes");
    if (value && (!json_is_integer(value) || json_integer_value(value) < 0)) {
        return grv_error_set(error, GRV_INVALID_ARGUMENT, "http",
                             "rate_bytes is a number of bytes, 0 for any");
    }
    *ret_rate = value ? (uint64_t)json_integer_value(value) : 0;
    return GRV_OK;
}

static grv_status ids_parse(json_t *list, http_job_order *order, grv_error *error)
{
    size_t count = json_array_size(list);
    if (!json_is_array(list) || count == 0 || count > ADMIN_IDS_MAX) {
        return grv_error_set(error, GRV_INVALID_ARGUMENT, "http", "ids is a list of 1 to %u ids",
                             ADMIN_IDS_MAX);
    }
    grv_blob_key *ids = calloc(count, sizeof *ids);
    if (!ids) {
        return grv_error_set(error, GRV_LIMIT_EXCEEDED, "admin", "no memory for %zu ids", count);
    }
    for (size_t i = 0; i < count; i++) {
        json_t *id = json_array_get(list, i);
        grv_status status =
            json_is_string(id)
                ? grv_blob_key_parse(grv_bytes_of(json_string_value(id), json_string_length(id)),
                                     &ids[i], error)
                : grv_error_set(error, GRV_INVALID_ARGUMENT, "http", "an id is a string");
        if (status) {
            free(ids);
            return status;
        }
    }
    order->ids = ids;
    order->id_count = count;
    return GRV_OK;
}

static grv_status verify_parse(json_t *body, http_job_order *order, grv_error *error)
{
    json_t *ids = json_object_get(body, "ids");
    bool all = false;
    grv_status status = member_bool(body, "all", &all, error);
    if (status) {
        return status;
    }
    if (all == (ids != NULL)) {
        return grv_error_set(error, GRV_INVALID_ARGUMENT, "http",
                             "verify wants either \"ids\" or \"all\": true");
    }
    return ids ? ids_parse(ids, order, error) : GRV_OK;
}

bool http_backup_name_is_good(const char *name)
{
    size_t size = strlen(name);
    return size > 0 && size <= ADMIN_BACKUP_NAME_MAX && name[0] != '.' &&
           strspn(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-") ==
               size;
}

static grv_status backup_parse(json_t *body, http_job_order *order, char **ret_name,
                               grv_error *error)
{
    json_t *value = json_object_get(body, "name");
    const char *name = json_string_value(value);
    grv_status status = member_bool(body, "copy", &order->copy, error);
    if (status) {
        return status;
    }
    if (!name || json_string_length(value) != strlen(name) || !http_backup_name_is_good(name)) {
        return grv_error_set(error, GRV_INVALID_ARGUMENT, "http",
                             "a backup's name is 1 to %u of A-Z a-z 0-9 . _ -, with no dot first",
                             ADMIN_BACKUP_NAME_MAX);
    }
    *ret_name = strdup(name);
    return *ret_name ? GRV_OK
                     : grv_error_set(error, GRV_LIMIT_EXCEEDED, "admin", "no memory for a name");
}

grv_status http_job_order_parse(http_job_kind kind, json_t *body, http_job_order *ret_order,
                                char **ret_name, grv_error *error)
{
    http_job_order order = {.kind = kind};
    char *name = NULL;
    grv_status status = members_check(kind, body, error);
    if (!status && kind == HTTP_JOB_GC) {
        status = member_bool(body, "dry_run", &order.dry_run, error);
    }
    if (!status && kind == HTTP_JOB_SCRUB) {
        status = member_bool(body, "restart", &order.restart, error);
    }
    if (!status && kind == HTTP_JOB_SCRUB) {
        status = rate_parse(body, &order.rate_bytes, error);
    }
    if (!status && kind == HTTP_JOB_VERIFY) {
        status = verify_parse(body, &order, error);
    }
    if (!status && kind == HTTP_JOB_BACKUP) {
        status = backup_parse(body, &order, &name, error);
    }
    if (!status) {
        *ret_order = order;
        *ret_name = name;
    }
    return status;
}

/* ---- Beginning ---- */

/* The backup's directory, below the one that the server was given. Where it cannot be, the reply
 * is made and order->directory stays NULL. */
static grv_status backup_place(http_exchange *exchange, const char *name, http_job_order *order,
                               grv_error *error)
{
    const char *below = exchange->server->config.backup_directory;
    struct stat st;
    char *directory;
    if (!below) {
        return http_reply_problem(exchange, "unsupported",
                                  "this server was given no directory for backups", error);
    }
    if (asprintf(&directory, "%s/%s", below, name) < 0) {
        return grv_error_set(error, GRV_LIMIT_EXCEEDED, "admin", "no memory for a name");
    }
    if (lstat(directory, &st) == 0) {
        free(directory);
        return http_reply_problem(exchange, "already-exists", "there is a backup of that name",
                                  error);
    }
    if (errno != ENOENT) {
        grv_status status = grv_error_set_errno(error, errno, "admin", "cannot use %s", directory);
        free(directory);
        return status;
    }
    order->directory = directory;
    return GRV_OK;
}

static grv_status job_reply(http_exchange *exchange, unsigned code, uint64_t number, uint64_t after,
                            grv_error *error)
{
    json_t *object;
    grv_status status = http_jobs_show(exchange->server->jobs, number, after, &object, error);
    return status ? status : http_reply_json(exchange, code, object, error);
}

static grv_status order_begin(http_exchange *exchange, http_job_order *order, grv_error *error)
{
    grv_error failure = GRV_ERROR_INIT;
    char location[64];
    uint64_t number = 0;
    grv_status status = http_jobs_begin(exchange->server->jobs, order, &number, &failure);
    if (status == GRV_CONFLICT) {
        return http_reply_problem(exchange, "busy", failure.message, error);
    }
    if (status) {
        return http_reply_failure(exchange, &failure, error);
    }
    status = job_reply(exchange, 202, number, UINT64_MAX, error);
    if (status) {
        return status;
    }
    snprintf(location, sizeof location, "/api/admin/jobs/%" PRIu64, number);
    return http_reply_header(exchange, "Location", location, error);
}

static grv_status admin_begin(http_exchange *exchange, http_job_kind kind, grv_error *error)
{
    json_t *body;
    http_job_order order = {.kind = kind};
    char *name = NULL;
    grv_status status = http_body_json(exchange, &body, error);
    if (status) {
        return status;
    }
    status = http_job_order_parse(kind, body, &order, &name, error);
    json_decref(body);
    bool writes = kind == HTTP_JOB_SCRUB || kind == HTTP_JOB_BACKUP || kind == HTTP_JOB_FLUSH ||
                  (kind == HTTP_JOB_GC && !order.dry_run);
    if (!status && writes && grv_store_is_read_only(exchange->server->store)) {
        status =
            http_reply_problem(exchange, "unsupported", "the store was opened to read only", error);
    } else {
        if (!status && kind == HTTP_JOB_BACKUP) {
            status = backup_place(exchange, name, &order, error);
        }
        if (!status && exchange->reply.status == 0) {
            status = order_begin(exchange, &order, error);
        }
    }
    http_job_order_done(&order);
    free(name);
    return status;
}

static grv_status gc_begin(http_exchange *exchange, grv_error *error)
{
    return admin_begin(exchange, HTTP_JOB_GC, error);
}

static grv_status scrub_begin(http_exchange *exchange, grv_error *error)
{
    return admin_begin(exchange, HTTP_JOB_SCRUB, error);
}

static grv_status flush_begin(http_exchange *exchange, grv_error *error)
{
    return admin_begin(exchange, HTTP_JOB_FLUSH, error);
}

static grv_status verify_begin(http_exchange *exchange, grv_error *error)
{
    return admin_begin(exchange, HTTP_JOB_VERIFY, error);
}

static grv_status backup_begin(http_exchange *exchange, grv_error *error)
{
    return admin_begin(exchange, HTTP_JOB_BACKUP, error);
}

/* ---- Watching and cancelling ---- */

static grv_status list_run(http_exchange *exchange, grv_error *error)
{
    json_t *array;
    grv_status status = http_jobs_list(exchange->server->jobs, &array, error);
    return status ? status
                  : http_reply_json(exchange, 200, json_pack("{s:o}", "jobs", array), error);
}

static grv_status number_parse(const http_exchange *exchange, uint64_t *ret_number,
                               grv_error *error)
{
    const char *text = exchange->params[0];
    uint64_t number = 0;
    bool good = *text >= '1' && *text <= '9' && strlen(text) <= 18;
    for (const char *c = text; good && *c; c++) {
        good = *c >= '0' && *c <= '9';
        number = 10 * number + (good ? (uint64_t)(*c - '0') : 0);
    }
    if (!good) {
        return grv_error_set(error, GRV_INVALID_ARGUMENT, "http", "a job's number has digits only");
    }
    *ret_number = number;
    return GRV_OK;
}

static grv_status show_run(http_exchange *exchange, grv_error *error)
{
    uint64_t number = 0;
    uint64_t after = 0;
    grv_status status = number_parse(exchange, &number, error);
    if (!status) {
        status = http_query_number(exchange, "after", 0, INT64_MAX, 0, &after, error);
    }
    return status ? status : job_reply(exchange, 200, number, after, error);
}

static grv_status cancel_run(http_exchange *exchange, grv_error *error)
{
    uint64_t number = 0;
    grv_status status = number_parse(exchange, &number, error);
    if (!status) {
        status = http_jobs_cancel(exchange->server->jobs, number, error);
    }
    return status ? status : job_reply(exchange, 202, number, UINT64_MAX, error);
}

#define ADMIN_BEGIN(kind)                                                                          \
    {                                                                                              \
        .method = "POST", .pattern = "/api/admin/" #kind, .name = "admin_" #kind,                  \
        .scope = HTTP_SCOPE_ADMIN, .body = HTTP_BODY_SMALL, .run = kind##_begin                    \
    }

const http_route http_front_admin[] = {
    ADMIN_BEGIN(gc),
    ADMIN_BEGIN(scrub),
    ADMIN_BEGIN(flush),
    ADMIN_BEGIN(verify),
    ADMIN_BEGIN(backup),
    {
        .method = "GET",
        .pattern = "/api/admin/jobs",
        .name = "jobs_list",
        .scope = HTTP_SCOPE_ADMIN,
        .run = list_run,
    },
    {
        .method = "GET",
        .pattern = "/api/admin/jobs/{}",
        .name = "job_get",
        .scope = HTTP_SCOPE_ADMIN,
        .run = show_run,
    },
    {
        .method = "DELETE",
        .pattern = "/api/admin/jobs/{}",
        .name = "job_cancel",
        .scope = HTTP_SCOPE_ADMIN,
        .run = cancel_run,
    },
    {.method = NULL},
};
