/* SPDX-License-Identifier: Apache-2.0 */
/* Checks of locators and their prefixes, for the ports that are keyed by them. */
#include "port/port.h"

#include <string.h>

grv_status grv_port_check_locator(const char *origin, const grv_locator *locator, size_t max,
                                  grv_error *error)
{
    if (!grv_locator_is_valid(locator)) {
        return grv_error_set(error, GRV_INVALID_ARGUMENT, origin, "not a valid locator");
    }
    char text[GRV_LOCATOR_TEXT_SIZE];
    grv_locator_print(locator, text);
    if (strlen(text) > max) {
        return grv_error_set(error, GRV_LIMIT_EXCEEDED, origin,
                             "a locator of %zu bytes, want at most %zu: %s", strlen(text), max,
                             text);
    }
    return GRV_OK;
}

grv_status grv_port_check_prefix(const char *origin, grv_bytes prefix, size_t max, grv_error *error)
{
    if (prefix.size > max) {
        return grv_error_set(error, GRV_INVALID_ARGUMENT, origin,
                             "a prefix of %zu bytes, want at most %zu", prefix.size, max);
    }
    return GRV_OK;
}
