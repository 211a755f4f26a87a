/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The front end of those who watch the server: health, readiness, metrics, statistics and the
 * dashboard. Every figure was counted or asked for; what is not known yet is null.
 */
#ifndef GRV_HTTP_STATUS_H
#define GRV_HTTP_STATUS_H

#include "http/census.h"

/* The table (api_status.c). */
extern const http_route http_front_status[];

/* status_json.c: parts of statistics, set in `object`; false without memory. */
bool http_status_store(json_t *object, const http_count *count);
bool http_status_server(json_t *object, http_server *server);

#endif
