/* SPDX-License-Identifier: Apache-2.0 */
/* Attribute records: what decodes encodes to the very bytes it came from. */
#include "fuzz/fuzz.h"

#include <graviton/attributes.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    grv_error error = GRV_ERROR_INIT;
    grv_attributes attributes;
    grv_attributes_init(&attributes);
    if (grv_attributes_decode(grv_bytes_of(data, size), &attributes, &error) == GRV_OK) {
        grv_buffer out;
        grv_buffer_init(&out, GRV_ATTRIBUTES_BYTES_MAX);
        fuzz_check(attributes.count <= GRV_ATTRIBUTES_MAX);
        fuzz_check(!grv_attributes_encode(&attributes, &out, &error));
        fuzz_check(out.size == size && (size == 0 || memcmp(out.data, data, size) == 0));
        grv_buffer_done(&out);
    }
    grv_attributes_done(&attributes);
    return 0;
}
