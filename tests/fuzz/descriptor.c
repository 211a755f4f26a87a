/* SPDX-License-Identifier: Apache-2.0 */
/* Descriptors: what decodes encodes, and decodes again to the same text. */
#include "store/descriptor.h"
#include "fuzz/fuzz.h"

#include <string.h>

static void check_half(grv_bytes text, grv_half half)
{
    grv_error error = GRV_ERROR_INIT;
    grv_descriptor descriptor;
    if (grv_descriptor_decode(text, half, &descriptor, &error)) {
        return;
    }
    grv_buffer one;
    grv_buffer two;
    grv_buffer_init(&one, GRV_DESCRIPTOR_TEXT_MAX);
    grv_buffer_init(&two, GRV_DESCRIPTOR_TEXT_MAX);
    fuzz_check(!grv_descriptor_encode(&descriptor, &one, &error));
    fuzz_check(!grv_descriptor_decode(grv_buffer_bytes(&one), half, &descriptor, &error));
    fuzz_check(!grv_descriptor_encode(&descriptor, &two, &error));
    fuzz_check(one.size == two.size && memcmp(one.data, two.data, one.size) == 0);
    grv_buffer_done(&one);
    grv_buffer_done(&two);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    check_half(grv_bytes_of(data, size), GRV_HALF_BYTES);
    check_half(grv_bytes_of(data, size), GRV_HALF_METADATA);
    return 0;
}
