/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Header fields that clients write: what they give stays within its bounds, and what is printed
 * from it has nothing that could end a header line. The first byte picks the field.
 */
#include "http/fields.h"

#include "base/utf8.h"
#include "fuzz/fuzz.h"

#include <string.h>

static void check_ranges(const char *field, uint64_t size)
{
    http_ranges ranges;
    if (http_range_parse(field, size, &ranges) != HTTP_RANGE_SOME) {
        return;
    }
    fuzz_check(ranges.count >= 1 && ranges.count <= HTTP_RANGES_MAX);
    for (unsigned i = 0; i < ranges.count; i++) {
        fuzz_check(ranges.ranges[i].first < ranges.ranges[i].end && ranges.ranges[i].end <= size);
        for (unsigned j = 0; j < i; j++) {
            fuzz_check(ranges.ranges[i].end < ranges.ranges[j].first ||
                       ranges.ranges[j].end < ranges.ranges[i].first);
        }
    }
}

/* What is printed of any name is one line of printable ASCII, and reads back as a last component
 * without control characters. */
static void check_print(grv_bytes name)
{
    char text[HTTP_DISPOSITION_SIZE];
    memset(text, 0x7f, sizeof text);
    http_disposition_print(name, text);
    size_t length = strnlen(text, sizeof text);
    fuzz_check(length < sizeof text);
    for (size_t i = 0; i < length; i++) {
        fuzz_check(text[i] >= ' ' && text[i] <= '~');
    }
    grv_buffer back;
    grv_buffer_init(&back, 4096);
    fuzz_check(http_disposition_parse(text, &back, NULL) == GRV_OK);
    for (size_t i = 0; i < back.size; i++) {
        fuzz_check(back.data[i] >= ' ' && back.data[i] != '/' && back.data[i] != '\\');
    }
    grv_buffer_done(&back);
}

static void check_disposition(const char *field)
{
    grv_buffer name;
    grv_buffer_init(&name, 2 * strlen(field) + 2);
    if (http_disposition_parse(field, &name, NULL) == GRV_OK && name.size > 0) {
        fuzz_check(grv_utf8_is_valid(grv_buffer_bytes(&name)));
        fuzz_check(!memchr(name.data, '/', name.size) && !memchr(name.data, '\0', name.size));
        check_print(grv_buffer_bytes(&name));
    }
    grv_buffer_done(&name);
}

static void check_base64(const uint8_t *data, size_t size)
{
    for (int url = 0; url < 2; url++) {
        grv_buffer text;
        grv_buffer back;
        grv_buffer_init(&text, 2 * size + 8);
        grv_buffer_init(&back, 2 * size + 8);
        fuzz_check(!http_base64_encode(grv_bytes_of(data, size), url, &text, NULL));
        fuzz_check(!http_base64_decode(grv_buffer_bytes(&text), url, &back, NULL));
        fuzz_check(back.size == size && (size == 0 || memcmp(back.data, data, size) == 0));
        back.size = 0;
        (void)http_base64_decode(grv_bytes_of(data, size), url, &back, NULL);
        grv_buffer_done(&text);
        grv_buffer_done(&back);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0) {
        return 0;
    }
    uint8_t which = data[0];
    data++;
    size--;
    char *field = malloc(size + 1);
    if (!field) {
        abort();
    }
    memcpy(field, data, size);
    field[size] = '\0';
    http_digests digests;
    uint8_t trace[16];
    switch (which % 8) {
    case 0:
        check_ranges(field, 0);
        check_ranges(field, 1000);
        check_ranges(field, INT64_MAX);
        break;
    case 1:
        fuzz_check(!http_etag_listed(field, "\"a\"", false) ||
                   http_etag_listed(field, "\"a\"", true));
        break;
    case 2:
        (void)http_digests_parse("Repr-Digest", field, &digests, NULL);
        break;
    case 3:
        check_disposition(field);
        break;
    case 4:
        check_print(grv_bytes_of(data, size));
        break;
    case 5:
        (void)http_media_type_is_valid(grv_bytes_of(data, size));
        (void)http_media_type_is(field, "text/plain");
        break;
    case 6:
        (void)http_traceparent_parse(field, trace);
        break;
    default:
        check_base64(data, size);
        break;
    }
    free(field);
    return 0;
}
