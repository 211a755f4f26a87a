/* SPDX-License-Identifier: Apache-2.0 */
/* What a service answers, into values. All of it is the service's to choose, or of whoever stands
 * between: texts are bounded and cut to printable bytes, numbers are checked. */
#include "backend/s3/client.h"

#include <string.h>
#include <strings.h>
#include <time.h>

void grv_s3_text_copy(char *ret_text, size_t size, const char *text, size_t length)
{
    size_t kept = length < size ? length : size - 1;
    for (size_t i = 0; i < kept; i++) {
        bool prints = text[i] >= ' ' && text[i] <= '~';
        ret_text[i] = (char)(prints ? text[i] : '?');
    }
    ret_text[kept] = '\0';
}

void grv_s3_etag_copy(char ret_etag[GRV_S3_ETAG_MAX + 1], const char *text, size_t length)
{
    if (length >= 2 && text[0] == '"' && text[length - 1] == '"') {
        text++;
        length -= 2;
    }
    grv_s3_text_copy(ret_etag, GRV_S3_ETAG_MAX + 1, text, length);
}

bool grv_s3_number_parse(const char *text, uint64_t *ret_number)
{
    uint64_t number = 0;
    if (!*text) {
        return false;
    }
    for (; *text; text++) {
        if (*text < '0' || *text > '9' || __builtin_mul_overflow(number, 10, &number) ||
            __builtin_add_overflow(number, (uint64_t)(*text - '0'), &number)) {
            return false;
        }
    }
    *ret_number = number;
    return true;
}

/* ---- Times ---- */

/* Exactly `count` digits at *text, which moves behind them. */
static bool digits(const char **text, unsigned count, int *ret_number)
{
    int number = 0;
    for (unsigned i = 0; i < count; i++) {
        char c = (*text)[i];
        if (c < '0' || c > '9') {
            return false;
        }
        number = number * 10 + (c - '0');
    }
    *text += count;
    *ret_number = number;
    return true;
}

static bool literal(const char **text, const char *expected)
{
    size_t size = strlen(expected);
    if (strncmp(*text, expected, size) != 0) {
        return false;
    }
    *text += size;
    return true;
}

static bool clock_time(const char **text, struct tm *parts)
{
    return digits(text, 2, &parts->tm_hour) && literal(text, ":") &&
           digits(text, 2, &parts->tm_min) && literal(text, ":") && digits(text, 2, &parts->tm_sec);
}

static bool seconds_of(struct tm *parts, uint64_t *ret_seconds)
{
    /* Beyond 2500 nanoseconds would not fit 64 bits. */
    if (parts->tm_year < 1970 || parts->tm_year > 2500 || parts->tm_mon < 1 || parts->tm_mon > 12 ||
        parts->tm_mday < 1 || parts->tm_mday > 31 || parts->tm_hour > 23 || parts->tm_min > 59 ||
        parts->tm_sec > 60) {
        return false;
    }
    parts->tm_year -= 1900;
    parts->tm_mon -= 1;
    time_t seconds = timegm(parts);
    if (seconds < 0) {
        return false;
    }
    *ret_seconds = (uint64_t)seconds;
    return true;
}

bool grv_s3_time_parse_http(const char *text, uint64_t *ret_seconds)
{
    static const char months[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
    struct tm parts = {0};
    if (strlen(text) != 29 || text[3] != ',' || text[4] != ' ') {
        return false;
    }
    text += 5;
    if (!digits(&text, 2, &parts.tm_mday) || !literal(&text, " ")) {
        return false;
    }
    for (int i = 0; i < 12 && !parts.tm_mon; i++) {
        parts.tm_mon = strncmp(text, months + (size_t)i * 3, 3) == 0 ? i + 1 : 0;
    }
    text += 3;
    return literal(&text, " ") && digits(&text, 4, &parts.tm_year) && literal(&text, " ") &&
           clock_time(&text, &parts) && literal(&text, " GMT") && seconds_of(&parts, ret_seconds);
}

bool grv_s3_time_parse_iso(const char *text, uint64_t *ret_seconds)
{
    struct tm parts = {0};
    if (!digits(&text, 4, &parts.tm_year) || !literal(&text, "-") ||
        !digits(&text, 2, &parts.tm_mon) || !literal(&text, "-") ||
        !digits(&text, 2, &parts.tm_mday) || !literal(&text, "T") || !clock_time(&text, &parts)) {
        return false;
    }
    if (*text == '.') {
        text += 1 + strspn(text + 1, "0123456789");
    }
    return strcmp(text, "Z") == 0 && seconds_of(&parts, ret_seconds);
}

/* ---- Headers ---- */

/* "bytes 0-9/100"; an asterisk in a place of a number is no number. */
static void take_range(grv_s3_head *head, char *value)
{
    uint64_t first;
    uint64_t last;
    uint64_t total;
    char *dash = strchr(value, '-');
    char *slash = strchr(value, '/');
    if (strncasecmp(value, "bytes ", 6) == 0 && dash && slash && dash < slash) {
        *dash = '\0';
        *slash = '\0';
        head->has_range = grv_s3_number_parse(value + 6, &first) &&
                          grv_s3_number_parse(dash + 1, &last) &&
                          grv_s3_number_parse(slash + 1, &total) && first <= last && last < total;
        if (head->has_range) {
            head->range_first = first;
            head->range_size = last - first + 1;
            head->total = total;
        }
    }
}

static void take_text(grv_s3_head *head, const char *name, const char *value, size_t size)
{
    grv_s3_answer *answer = &head->answer;
    if (strcasecmp(name, "etag") == 0) {
        grv_s3_etag_copy(answer->etag, value, size);
    } else if (strcasecmp(name, "x-amz-request-id") == 0) {
        grv_s3_text_copy(answer->request_id, sizeof answer->request_id, value, size);
    } else if (strcasecmp(name, "x-amz-meta-graviton-put") == 0) {
        bool fits = size == GRV_S3_PUT_ID_SIZE;
        grv_s3_text_copy(answer->put_id, sizeof answer->put_id, value, fits ? size : 0);
    } else if (strcasecmp(name, "x-amz-bucket-region") == 0) {
        grv_s3_text_copy(head->bucket_region, sizeof head->bucket_region, value, size);
    }
}

static void take_number(grv_s3_head *head, const char *name, char *value)
{
    uint64_t number = 0;
    if (strcasecmp(name, "content-length") == 0) {
        if (grv_s3_number_parse(value, &number)) {
            head->answer.content_length = number;
            head->has_length = true;
        }
    } else if (strcasecmp(name, "content-range") == 0) {
        take_range(head, value);
    } else if (strcasecmp(name, "retry-after") == 0) {
        head->retry_after_s = grv_s3_number_parse(value, &number) ? number : 0;
    } else if (strcasecmp(name, "last-modified") == 0) {
        if (grv_s3_time_parse_http(value, &number)) {
            head->answer.modified_ns = number * UINT64_C(1000000000);
        }
    } else if (strcasecmp(name, "date") == 0) {
        if (grv_s3_time_parse_http(value, &number)) {
            head->answer.date_ns = number * UINT64_C(1000000000);
        }
    }
}

/* "HTTP/1.1 200 OK": an answer begins, perhaps after one that only said to go on. */
static void take_status(grv_s3_head *head, grv_bytes line)
{
    *head = (grv_s3_head){0};
    const uint8_t *space = memchr(line.data, ' ', line.size);
    size_t rest = space ? line.size - (size_t)(space - line.data) : 0;
    int number = 0;
    for (size_t i = 1; i <= 3 && rest >= 4; i++) {
        if (space[i] < '0' || space[i] > '9') {
            return;
        }
        number = number * 10 + (space[i] - '0');
    }
    head->answer.http = number;
}

void grv_s3_head_line(grv_s3_head *head, grv_bytes line)
{
    char text[1024];
    if (line.size >= 5 && memcmp(line.data, "HTTP/", 5) == 0) {
        take_status(head, line);
        return;
    }
    /* None of the values of use is longer. */
    if (line.size >= sizeof text || line.size == 0 || memchr(line.data, '\0', line.size)) {
        return;
    }
    memcpy(text, line.data, line.size);
    size_t size = line.size;
    while (size > 0 && strchr(" \t\r\n", text[size - 1])) {
        size--;
    }
    text[size] = '\0';
    head->is_whole = head->is_whole || (size == 0 && text[line.size - 1] == '\n');
    char *colon = strchr(text, ':');
    if (!colon) {
        return;
    }
    *colon = '\0';
    char *value = colon + 1;
    value += strspn(value, " \t");
    take_text(head, text, value, strlen(value));
    take_number(head, text, value);
}

/* ---- Bodies ---- */

typedef struct refusal {
    grv_s3_answer *answer;
    char *message;
    size_t size;
    bool is_error;
} refusal;

static grv_status refusal_begin(void *context, const char *const names[], unsigned depth,
                                grv_error *error)
{
    (void)error;
    refusal *found = context;
    if (depth == 1) {
        found->is_error = strcmp(names[0], "Error") == 0;
    }
    return GRV_OK;
}

static grv_status refusal_end(void *context, const char *const names[], unsigned depth, char *text,
                              grv_error *error)
{
    (void)error;
    refusal *found = context;
    if (depth != 2 || !found->is_error) {
        return GRV_OK;
    }
    grv_s3_answer *answer = found->answer;
    if (strcmp(names[1], "Code") == 0) {
        grv_s3_text_copy(answer->code, sizeof answer->code, text, strlen(text));
    } else if (strcmp(names[1], "Message") == 0) {
        grv_s3_text_copy(found->message, found->size, text, strlen(text));
    } else if (strcmp(names[1], "RequestId") == 0 && !answer->request_id[0]) {
        grv_s3_text_copy(answer->request_id, sizeof answer->request_id, text, strlen(text));
    }
    return GRV_OK;
}

bool grv_s3_refusal_parse(grv_bytes xml, grv_s3_answer *answer, char *ret_message, size_t size)
{
    ret_message[0] = '\0';
    refusal found = {.answer = answer, .message = ret_message, .size = size};
    grv_s3_xml_walk walk = {&found, refusal_begin, refusal_end};
    grv_status status = grv_s3_xml_walk_run(&walk, xml, NULL);
    return !status && found.is_error;
}

/* One text of a document. */
typedef struct wanted {
    const char *root;
    const char *name;
    char *text;
    size_t size;
    bool is_there;
} wanted;

static grv_status wanted_end(void *context, const char *const names[], unsigned depth, char *text,
                             grv_error *error)
{
    wanted *found = context;
    if (depth != 2 || found->is_there || strcmp(names[0], found->root) != 0 ||
        strcmp(names[1], found->name) != 0) {
        return GRV_OK;
    }
    size_t length = strlen(text);
    if (length >= found->size) {
        return grv_error_set(error, GRV_CORRUPT, "s3",
                             "the answer's <%s> has %zu bytes instead of at most %zu", found->name,
                             length, found->size - 1);
    }
    memcpy(found->text, text, length + 1);
    found->is_there = true;
    return GRV_OK;
}

grv_status grv_s3_xml_text(grv_bytes xml, const char *root, const char *name, char *ret_text,
                           size_t size, grv_error *error)
{
    char text[GRV_S3_XML_TEXT_MAX];
    wanted found = {
        .root = root, .name = name, .text = text, .size = size < sizeof text ? size : sizeof text};
    grv_s3_xml_walk walk = {&found, NULL, wanted_end};
    grv_status status = grv_s3_xml_walk_run(&walk, xml, error);
    if (status) {
        return status;
    }
    if (!found.is_there) {
        return grv_error_set(error, GRV_NOT_FOUND, "s3", "the answer is no <%s> with a <%s>", root,
                             name);
    }
    memcpy(ret_text, text, strlen(text) + 1);
    return GRV_OK;
}
