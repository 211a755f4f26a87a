/* SPDX-License-Identifier: Apache-2.0 */
/* Values as JSON answers and log lines write them. */
#include "http/text.h"
#include "base/utf8.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

void http_time_print(uint64_t time_ns, char ret_text[HTTP_TIME_TEXT_SIZE])
{
    /* Times that are printed are mostly of the same second as the one before. */
    static _Thread_local time_t known;
    static _Thread_local char date[24] = "1970-01-01T00:00:00";
    time_t seconds = (time_t)(time_ns / UINT64_C(1000000000));
    uint64_t rest = time_ns % UINT64_C(1000000000);
    if (seconds != known) {
        struct tm parts;
        /* 2^64 ns end in the year 2554, so neither call can fail. */
        gmtime_r(&seconds, &parts);
        strftime(date, sizeof date, "%Y-%m-%dT%H:%M:%S", &parts);
        known = seconds;
    }
    size_t size = strlen(date);
    memcpy(ret_text, date, size);
    ret_text[size] = '.';
    for (size_t digit = 9; digit > 0; digit--, rest /= 10) {
        ret_text[size + digit] = (char)('0' + rest % 10);
    }
    memcpy(ret_text + size + 10, "Z", 2);
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
    char *clean = malloc(text.size + 1);
    if (!clean) {
        return NULL;
    }
    size_t used = 0;
    while (text.size > 0) {
        size_t length = grv_utf8_length(text, NULL);
        size_t taken = length > 0 ? length : 1;
        memcpy(clean + used, length > 0 ? (const char *)text.data : "?", taken);
        used += taken;
        text = (grv_bytes){text.data + taken, text.size - taken};
    }
    json_t *string = json_stringn(clean, used);
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
