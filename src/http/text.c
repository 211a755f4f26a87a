/* SPDX-License-Identifier: Apache-2.0 */
/* Values as JSON answers and log lines write them. */
#include "http/text.h"

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

size_t http_utf8_length(grv_bytes text)
{
    /* By the first byte: how many follow, and the range of the next one, which is what keeps
     * overlong forms, surrogates and what is past U+10FFFF out. */
    uint8_t c = text.data[0];
    uint8_t low = c == 0xe0 ? 0xa0 : c == 0xf0 ? 0x90 : 0x80;
    uint8_t high = c == 0xed ? 0x9f : c == 0xf4 ? 0x8f : 0xbf;
    if (c < 0x80) {
        return 1;
    }
    if (c < 0xc2 || c > 0xf4) {
        return 0;
    }
    size_t length = c < 0xe0 ? 2 : c < 0xf0 ? 3 : 4;
    if (text.size < length || text.data[1] < low || text.data[1] > high) {
        return 0;
    }
    for (size_t i = 2; i < length; i++) {
        if ((text.data[i] & 0xc0) != 0x80) {
            return 0;
        }
    }
    return length;
}

json_t *http_json_text(grv_bytes text)
{
    char *clean = malloc(text.size + 1);
    if (!clean) {
        return NULL;
    }
    size_t used = 0;
    while (text.size > 0) {
        size_t length = http_utf8_length(text);
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
