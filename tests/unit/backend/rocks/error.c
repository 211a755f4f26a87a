/* SPDX-License-Identifier: Apache-2.0 */
/* RocksDB's messages and the statuses they stand for. */
#include "test.h"

#include "backend/rocks/handle.h"

#include <stdlib.h>

static void messages_become_statuses(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        grv_status want;
    } rows[] = {
        {"IO error: No space left on device: While appending to file: /x/1.log: No space left on "
         "device",
         GRV_OUT_OF_SPACE},
        {"IO error: While open a file for appending: /x/1.log: Disk quota exceeded",
         GRV_OUT_OF_SPACE},
        {"IO error: No such file or directory: While open a file: /x/MANIFEST-5: No such file or "
         "directory",
         GRV_CORRUPT},
        {"Corruption: block checksum mismatch: stored = 1, computed = 2", GRV_CORRUPT},
        {"IO error: While lock file: /x/LOCK: Permission denied", GRV_PERMISSION},
        {"IO error: While open a file for appending: /x/LOG: Read-only file system",
         GRV_PERMISSION},
        {"IO error: lock hold by current process, acquire time 1 acquiring thread 2: /x/LOCK",
         GRV_UNAVAILABLE},
        {"IO error: While pread offset 0 len 8: /x/1.sst: Input/output error", GRV_UNAVAILABLE},
        {"IO error: While open: /x/Permission denied/1.sst: Too many open files",
         GRV_LIMIT_EXCEEDED},
        {"Resource busy: ", GRV_UNAVAILABLE},
        {"Operation timed out: ", GRV_TIMEOUT},
        {"Not implemented: x", GRV_UNSUPPORTED},
        {"Invalid argument: x", GRV_INVALID_ARGUMENT},
        {"Merge in progress: ", GRV_INTERNAL},
        {"", GRV_INTERNAL},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        grv_error error = GRV_ERROR_INIT;
        char *text = strdup(rows[i].text);
        assert_non_null(text);
        assert_grv_status(grv_rocks_error(text, "try", &error), rows[i].want);
        assert_int_equal(error.status, rows[i].want);
        assert_non_null(strstr(error.message, rows[i].text));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(messages_become_statuses),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
