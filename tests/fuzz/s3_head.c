/* SPDX-License-Identifier: Apache-2.0 */
/* Headers that an S3 service answers with, line by line, and percent-encoding: texts stay within
 * their bounds and printable, and what is encoded comes back. */
#include "backend/s3/client.h"
#include "fuzz/fuzz.h"

#include <string.h>

static void check_text(const char *text, size_t max)
{
    fuzz_check(strlen(text) <= max);
    for (; *text; text++) {
        fuzz_check(*text >= ' ' && *text <= '~');
    }
}

static void check_head(const uint8_t *data, size_t size)
{
    grv_s3_head head = {0};
    while (size > 0) {
        const uint8_t *end = memchr(data, '\n', size);
        size_t line = end ? (size_t)(end - data) + 1 : size;
        grv_s3_head_line(&head, grv_bytes_of(data, line));
        data += line;
        size -= line;
    }
    check_text(head.answer.etag, GRV_S3_ETAG_MAX);
    check_text(head.answer.request_id, GRV_S3_ID_MAX);
    check_text(head.answer.put_id, GRV_S3_PUT_ID_SIZE);
    check_text(head.bucket_region, sizeof head.bucket_region - 1);
    fuzz_check(head.answer.http >= 0 && head.answer.http <= 999);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    check_head(data, size);
    char text[4096];
    size_t length = size < sizeof text ? size : sizeof text - 1;
    if (length > 0) {
        memcpy(text, data, length);
    }
    text[length] = '\0';
    uint64_t number;
    (void)grv_s3_time_parse_iso(text, &number);
    (void)grv_s3_time_parse_http(text, &number);
    (void)grv_s3_key_check(text, NULL);
    grv_buffer out;
    grv_buffer_init(&out, 3 * sizeof text);
    fuzz_check(!grv_s3_encode(text, size % 2, &out, NULL));
    fuzz_check(!grv_buffer_append(&out, grv_bytes_of("", 1), NULL));
    fuzz_check(grv_s3_decode((char *)out.data));
    fuzz_check(strcmp((const char *)out.data, text) == 0);
    grv_buffer_done(&out);
    (void)grv_s3_decode(text);
    return 0;
}
