/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Names: `<prefix>/<algo>/<hex>-<size>`. A key has exactly one name, so that a name read from a
 * directory can be trusted to lead back to its file.
 */
#include "backend/fs/fs.h"

#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

grv_status grv_fs_prefix_check(const char *prefix, grv_error *error)
{
    const char *at = prefix;
    for (;;) {
        size_t length = strcspn(at, "/");
        if (length == 0 || length > NAME_MAX || (length == 1 && at[0] == '.') ||
            (length == 2 && at[0] == '.' && at[1] == '.')) {
            return grv_error_set(error, GRV_INVALID_ARGUMENT, "fs",
                                 "bad block prefix \"%.200s\": want a relative path without "
                                 "empty segments, \".\" or \"..\"",
                                 prefix);
        }
        if (at[length] == '\0') {
            return GRV_OK;
        }
        at += length + 1;
    }
}

void grv_fs_temp_print(const grv_fs_store *store, uint64_t number, char ret_name[GRV_FS_TEMP_SIZE])
{
    snprintf(ret_name, GRV_FS_TEMP_SIZE, "%016" PRIx64 "-%" PRIu64, store->temp_id, number);
}
