/* SPDX-License-Identifier: Apache-2.0 */
/* Chunker specifications: what parses is in bounds, prints, and parses again to the same. */
#include "fuzz/fuzz.h"

#include <graviton/chunker.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    grv_error error = GRV_ERROR_INIT;
    grv_chunker_spec spec;
    grv_chunker_spec again;
    char text[GRV_CHUNKER_TEXT_SIZE];
    if (grv_chunker_spec_parse(grv_bytes_of(data, size), &spec, &error) == GRV_OK) {
        fuzz_check(!grv_chunker_spec_check(&spec, &error));
        grv_chunker_spec_print(&spec, text);
        fuzz_check(!grv_chunker_spec_parse(grv_bytes_of(text, strlen(text)), &again, &error));
        fuzz_check(grv_chunker_spec_equal(&spec, &again));
        fuzz_check(grv_chunker_block_max(&spec) <= GRV_BLOCK_SIZE_MAX);
    }
    return 0;
}
