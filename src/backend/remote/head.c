/* SPDX-License-Identifier: Apache-2.0 */
/* The headers of an answer, a line at a time. Whatever stands between may have written them, so
 * only what is exactly in its form counts. */
#include "backend/remote/client.h"

#include <string.h>
#include <strings.h>

bool grv_remote_number_parse(const char *text, size_t size, uint64_t *ret_number)
{
    uint64_t number = 0;
    if (size == 0) {
        return false;
    }
    for (size_t i = 0; i < size; i++) {
        if (text[i] < '0' || text[i] > '9' || __builtin_mul_overflow(number, 10, &number) ||
            __builtin_add_overflow(number, (uint64_t)(text[i] - '0'), &number)) {
            return false;
        }
    }
    if (number > (uint64_t)INT64_MAX) {
        return false;
    }
    *ret_number = number;
    return true;
}

void grv_remote_text_copy(char *ret_text, size_t size, const char *text, size_t length)
{
    size_t count = 0;
    for (; count < length && count + 1 < size && text[count]; count++) {
        bool prints = text[count] >= ' ' && text[count] <= '~';
        if (prints) {
            ret_text[count] = text[count];
        } else {
            ret_text[count] = '?';
        }
    }
    ret_text[count] = '\0';
}

static bool is_space(char c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

/* HTTP/1.1 200 OK */
static bool take_status(grv_remote_head *head, const char *line, size_t size)
{
    if (size < 12 || strncasecmp(line, "HTTP/", 5) != 0) {
        return false;
    }
    *head = (grv_remote_head){0};
    const char *space = memchr(line, ' ', size);
    uint64_t http;
    if (space && line + size - space >= 4 && grv_remote_number_parse(space + 1, 3, &http)) {
        head->http = (int)http;
    }
    return true;
}

/* bytes FIRST-LAST/SIZE */
static void take_range(grv_remote_head *head, const char *value, size_t size)
{
    static const char unit[] = "bytes ";
    const char *end = value + size;
    const char *dash = memchr(value, '-', size);
    const char *slash = memchr(value, '/', size);
    if (size < sizeof unit || strncasecmp(value, unit, sizeof unit - 1) != 0 || !dash || !slash ||
        dash > slash) {
        return;
    }
    const char *first = value + sizeof unit - 1;
    head->has_range =
        dash > first &&
        grv_remote_number_parse(first, (size_t)(dash - first), &head->range_first) &&
        grv_remote_number_parse(dash + 1, (size_t)(slash - dash - 1), &head->range_last) &&
        grv_remote_number_parse(slash + 1, (size_t)(end - slash - 1), &head->range_total) &&
        head->range_first <= head->range_last && head->range_last < head->range_total;
}

static void take_type(grv_remote_head *head, const char *value, size_t size)
{
    static const char json[] = "application/json";
    static const char problem[] = "application/problem+json";
    size_t type = 0;
    while (type < size && value[type] != ';' && !is_space(value[type])) {
        type++;
    }
    head->is_json = type == sizeof json - 1 && strncasecmp(value, json, type) == 0;
    head->is_problem = type == sizeof problem - 1 && strncasecmp(value, problem, type) == 0;
}

/* One member of Graviton-Put: "name=value". */
static void take_put_member(grv_put_result *put, const char *member, size_t size)
{
    const struct {
        const char *name;
        uint64_t *value;
    } numbers[] = {
        {"blocks", &put->blocks},
        {"fresh-blocks", &put->fresh_blocks},
        {"fresh-bytes", &put->fresh_bytes},
        {"duplicate-bytes", &put->duplicate_bytes},
        {"stored-bytes", &put->stored_bytes},
    };
    const char *equals = memchr(member, '=', size);
    if (!equals) {
        return;
    }
    size_t name = (size_t)(equals - member);
    const char *value = equals + 1;
    size_t value_size = size - name - 1;
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++) {
        if (strlen(numbers[i].name) == name && memcmp(member, numbers[i].name, name) == 0) {
            (void)grv_remote_number_parse(value, value_size, numbers[i].value);
        }
    }
    static const char already[] = "already-stored";
    if (name == sizeof already - 1 && memcmp(member, already, name) == 0) {
        put->already_stored = value_size == 2 && memcmp(value, "?1", 2) == 0;
    }
}

/* blocks=1, fresh-blocks=1, …, already-stored=?0 */
static void take_put(grv_remote_head *head, const char *value, size_t size)
{
    head->has_put = true;
    head->put = (grv_put_result){0};
    while (size > 0) {
        const char *comma = memchr(value, ',', size);
        size_t member = comma ? (size_t)(comma - value) : size;
        size_t begin = 0;
        size_t end = member;
        while (begin < end && is_space(value[begin])) {
            begin++;
        }
        while (end > begin && is_space(value[end - 1])) {
            end--;
        }
        take_put_member(&head->put, value + begin, end - begin);
        size_t step = comma ? member + 1 : member;
        value += step;
        size -= step;
    }
}

static void take_field(grv_remote_head *head, const char *name, size_t name_size, const char *value,
                       size_t size)
{
    static const char *const names[] = {"content-length", "content-range", "content-type",
                                        "retry-after",    "graviton-put",  "request-id"};
    size_t which = 0;
    const size_t count = sizeof names / sizeof names[0];
    while (which < count &&
           (strlen(names[which]) != name_size || strncasecmp(name, names[which], name_size) != 0)) {
        which++;
    }
    switch (which) {
    case 0:
        head->has_length = grv_remote_number_parse(value, size, &head->length);
        break;
    case 1:
        take_range(head, value, size);
        break;
    case 2:
        take_type(head, value, size);
        break;
    case 3:
        (void)grv_remote_number_parse(value, size, &head->retry_after_s);
        break;
    case 4:
        take_put(head, value, size);
        break;
    case 5:
        grv_remote_text_copy(head->request_id, sizeof head->request_id, value, size);
        break;
    default:
        break;
    }
}

void grv_remote_head_line(grv_remote_head *head, grv_bytes line)
{
    const char *text = (const char *)line.data;
    size_t size = line.size;
    while (size > 0 && is_space(text[size - 1])) {
        size--;
    }
    if (size == 0) {
        head->is_whole = head->http >= 200;
        return;
    }
    if (take_status(head, text, size)) {
        return;
    }
    const char *colon = memchr(text, ':', size);
    if (!colon) {
        return;
    }
    const char *value = colon + 1;
    while (value < text + size && is_space(*value)) {
        value++;
    }
    take_field(head, text, (size_t)(colon - text), value, (size_t)(text + size - value));
}
