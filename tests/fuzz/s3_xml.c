/* SPDX-License-Identifier: Apache-2.0 */
/* Bodies that an S3 service answers with: a page of a list, an error, one text. What is understood
 * keeps to its bounds. */
#include "backend/s3/client.h"
#include "fuzz/fuzz.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    grv_error error = GRV_ERROR_INIT;
    grv_bytes xml = grv_bytes_of(data, size);
    grv_s3_page page;
    if (grv_s3_page_parse(xml, &page, &error) == GRV_OK) {
        fuzz_check(page.count <= GRV_S3_PAGE_MAX);
        for (size_t i = 0; i < page.count; i++) {
            fuzz_check(page.entries[i].key[0] != '\0');
            fuzz_check(page.entries[i].size <= INT64_MAX);
            fuzz_check(strlen(page.entries[i].etag) <= GRV_S3_ETAG_MAX);
        }
        grv_s3_page_done(&page);
    }
    grv_s3_answer answer = {0};
    char text[40];
    if (grv_s3_refusal_parse(xml, &answer, text, sizeof text)) {
        fuzz_check(strlen(answer.code) <= GRV_S3_CODE_MAX);
        fuzz_check(strlen(answer.request_id) <= GRV_S3_ID_MAX);
        fuzz_check(strlen(text) < sizeof text);
    }
    grv_status status = grv_s3_xml_text(xml, "InitiateMultipartUploadResult", "UploadId", text,
                                        sizeof text, &error);
    fuzz_check(status == GRV_OK || status == GRV_NOT_FOUND || status == GRV_CORRUPT);
    fuzz_check(status || strlen(text) < sizeof text);
    return 0;
}
