/* SPDX-License-Identifier: Apache-2.0 */
/* Values as JSON answers and log lines write them. */
#include "http/text.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

void http_time_print(uint64_t time_ns, char ret_text[HTTP_TIME_TEXT_SIZE])
{
    time_t seconds = (time_t)(time_ns / UINT64_C(1000000000));
    struct tm parts;
    char date[24];
    /* 2^64 ns end in the year 2554, so neither call can fail. */
    gmtime_r(&seconds, &parts);
    strftime(date, sizeof date, "%Y-%m-%dT%H:%M:%S", &parts);
    snprintf(ret_text, HTTP_TIME_TEXT_SIZE, "%s.%09" PRIu64 "Z", date,
             time_ns % UINT64_C(1000000000));
}

json_t *http_json_time(uint64_t time_ns)
{
    char text[HTTP_TIME_TEXT_SIZE];
    if (time_ns == 0) {
        return json_null();
    }
    http_time_print(time_ns, text);
    return json_string(text);
}

json_t *http_json_text(grv_bytes text)
{
    if (text.size == 0) {
        return json_string("");
    }
    json_t *string = json_stringn((const char *)text.data, text.size);
    if (string) {
        return string;
    }
    char *clean = malloc(text.size);
    if (!clean) {
        return NULL;
    }
    for (size_t i = 0; i < text.size; i++) {
        clean[i] = text.data[i] < 0x80 ? (char)text.data[i] : '?';
    }
    string = json_stringn(clean, text.size);
    free(clean);
    return string;
}

json_t *http_json_number(uint64_t number)
{
    return json_integer(number > (uint64_t)INT64_MAX ? INT64_MAX : (json_int_t)number);
}

bool http_json_set(json_t *object, const char *name, json_t *value)
{
    return json_object_set_new(object, name, value) == 0;
}
