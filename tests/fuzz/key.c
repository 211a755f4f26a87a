/* SPDX-License-Identifier: Apache-2.0 */
/* Keys: what parses prints canonically and parses again to the same; so for the byte forms. */
#include "fuzz/fuzz.h"

#include <graviton/key.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    grv_error error = GRV_ERROR_INIT;
    grv_bytes input = {data, size};
    grv_blob_key blob;
    grv_block_key block;
    char text[GRV_KEY_TEXT_SIZE];
    if (grv_blob_key_parse(input, &blob, &error) == GRV_OK) {
        grv_blob_key again;
        grv_blob_key_print(&blob, text);
        fuzz_check(!grv_blob_key_parse(grv_bytes_of(text, strlen(text)), &again, &error));
        fuzz_check(grv_blob_key_compare(&blob, &again) == 0 && grv_blob_key_is_valid(&blob));
    }
    if (grv_block_key_parse(input, &block, &error) == GRV_OK) {
        grv_block_key again;
        grv_block_key_print(&block, text);
        fuzz_check(!grv_block_key_parse(grv_bytes_of(text, strlen(text)), &again, &error));
        fuzz_check(grv_block_key_compare(&block, &again) == 0 && grv_block_key_is_valid(&block));
    }
    uint8_t bytes[GRV_KEY_BYTES_SIZE];
    if (grv_blob_key_decode(input, &blob, &error) == GRV_OK) {
        grv_blob_key_encode(&blob, bytes);
        fuzz_check(size == sizeof bytes && memcmp(bytes, data, size) == 0);
    }
    if (grv_block_key_decode(input, &block, &error) == GRV_OK) {
        grv_block_key_encode(&block, bytes);
        fuzz_check(size == sizeof bytes && memcmp(bytes, data, size) == 0);
    }
    return 0;
}
