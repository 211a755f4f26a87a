/* SPDX-License-Identifier: Apache-2.0 */
/* Values as JSON answers and log lines write them. Pure. */
#ifndef GRV_HTTP_TEXT_H
#define GRV_HTTP_TEXT_H

#include <graviton/bytes.h>
#include <jansson.h>
#include <stdbool.h>

/* Room for a time as text. */
#define HTTP_TIME_TEXT_SIZE 40u

/* Prints nanoseconds since 1970 as RFC 3339 in UTC, with all nine digits. */
void http_time_print(uint64_t time_ns, char ret_text[HTTP_TIME_TEXT_SIZE]);

/* The same as a JSON string; null for 0, which is "not yet". NULL without memory. */
json_t *http_json_time(uint64_t time_ns);

/* A JSON string of any bytes: those that are no UTF-8 become "?". NULL without memory. */
json_t *http_json_text(grv_bytes text);

/* An integer for JSON; jansson's are signed, so more than 2^63 - 1 becomes that. NULL without
 * memory. */
json_t *http_json_number(uint64_t number);

/* Sets `name` to `value`, which is taken; false where that, or `object`, is NULL, or memory is
 * short. */
bool http_json_set(json_t *object, const char *name, json_t *value);

#endif
