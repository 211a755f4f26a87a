/* SPDX-License-Identifier: Apache-2.0 */
/* The front end of those who look after the store: /api/admin. */
#ifndef GRV_HTTP_ADMIN_H
#define GRV_HTTP_ADMIN_H

#include "http/jobs.h"

/* The table (api_admin.c). */
extern const http_route http_front_admin[];

/* Parses the body of POST /api/admin/KIND into an order, whose directory is left out: that of a
 * backup goes to *ret_name, malloc'ed, NULL for other kinds. GRV_INVALID_ARGUMENT for a member that
 * is unknown or has the wrong type: a misspelt "dry_run" must not collect. Pure. */
grv_status http_job_order_parse(http_job_kind kind, json_t *body, http_job_order *ret_order,
                                char **ret_name, grv_error *error);

/* Whether a backup may have that name: one component of a path, 1 to 128 of A-Z a-z 0-9 . _ - with
 * no dot at its beginning. */
bool http_backup_name_is_good(const char *name);

#endif
