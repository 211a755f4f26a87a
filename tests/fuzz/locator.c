/* SPDX-License-Identifier: Apache-2.0 */
/* Locators: what parses prints, and parses again to the same. */
#include "fuzz/fuzz.h"

#include <graviton/locator.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    grv_error error = GRV_ERROR_INIT;
    static grv_locator locator;
    static grv_locator again;
    char text[GRV_LOCATOR_TEXT_SIZE];
    if (grv_locator_parse(grv_bytes_of(data, size), &locator, &error) == GRV_OK) {
        grv_locator_print(&locator, text);
        fuzz_check(!grv_locator_parse(grv_bytes_of(text, strlen(text)), &again, &error));
        fuzz_check(grv_locator_compare(&locator, &again) == 0);
    }
    return 0;
}
