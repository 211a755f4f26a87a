/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The nth file call fails, under the block store on files and under the opening and making of a
 * whole store. What the system interrupts or does in part is no failure at all.
 */
#include "file_faults.h"
#include "nth.h"
#include "test.h"

#include <errno.h>

static void arm(const void *config, fault_rig *rig, uint64_t n, bool persistent)
{
    (void)rig;
    file_faults_begin(config, n, persistent);
}

static uint64_t disarm(fault_rig *rig)
{
    (void)rig;
    return file_faults_end();
}

static bool allows(const void *config, grv_status status)
{
    return status == grv_status_of_errno(((const file_fault *)config)->errno_value);
}

static bool allows_nothing(const void *config, grv_status status)
{
    (void)config;
    (void)status;
    return false;
}

static void an_input_output_error_fails_the_operation_cleanly(void **state)
{
    (void)state;
    static const file_fault fault = {FILE_ALL, EIO};
    const nth_faults faults = {.name = "EIO",
                               .config = &fault,
                               .arm = arm,
                               .disarm = disarm,
                               .allows = allows,
                               .reopens = true};
    nth_run_all(&faults, RIG_FS);
}

static void a_full_disk_leaves_nothing_behind(void **state)
{
    (void)state;
    static const file_fault fault = {FILE_OPENAT | FILE_WRITE | FILE_SYNC | FILE_RENAME |
                                         FILE_LINK | FILE_MKDIR | FILE_ROOM,
                                     ENOSPC};
    const nth_faults faults = {.name = "ENOSPC",
                               .config = &fault,
                               .arm = arm,
                               .disarm = disarm,
                               .allows = allows,
                               .tidy = true};
    for (size_t i = 0; i < 6; i++) { /* those that put */
        nth_run(&faults, RIG_FS, &nth_operations[i]);
    }
    for (size_t i = 0; i < 3; i++) {
        nth_run(&faults, RIG_FS, &nth_object_operations[i]);
    }
}

static void too_many_open_files_are_a_limit(void **state)
{
    (void)state;
    static const file_fault fault = {FILE_OPENAT, EMFILE};
    const nth_faults faults = {.name = "EMFILE",
                               .config = &fault,
                               .arm = arm,
                               .disarm = disarm,
                               .allows = allows,
                               .tidy = true};
    nth_run_all(&faults, RIG_FS);
}

static void what_is_interrupted_is_tried_again(void **state)
{
    (void)state;
    static const file_fault fault = {FILE_OPENAT | FILE_CLOSE | FILE_READ | FILE_WRITE | FILE_FLOCK,
                                     EINTR};
    const nth_faults faults = {.name = "EINTR",
                               .config = &fault,
                               .arm = arm,
                               .disarm = disarm,
                               .allows = allows_nothing,
                               .tidy = true};
    nth_run_all_once(&faults, RIG_FS);
}

static void reads_and_writes_in_parts_are_completed(void **state)
{
    (void)state;
    static const file_fault fault = {FILE_READ | FILE_WRITE, 0};
    const nth_faults faults = {.name = "short reads and writes",
                               .config = &fault,
                               .arm = arm,
                               .disarm = disarm,
                               .allows = allows_nothing,
                               .tidy = true};
    nth_run_all(&faults, RIG_FS);
}

static grv_status open_whole_store(fault_rig *rig, grv_error *error)
{
    return rig_open(rig, error);
}

/* Opening a store that is there, and making one: what a failed making left is taken up again. */
static void a_store_opens_or_says_why_not(void **state)
{
    (void)state;
    static const nth_operation open_there = {
        .name = "open of a store", .run = open_whole_store, .on_closed = true};
    static const nth_operation make = {
        .name = "making of a store", .run = open_whole_store, .on_closed = true, .on_empty = true};
    static const file_fault fault = {FILE_ALL, EIO};
    static const file_fault full = {FILE_OPENAT | FILE_WRITE | FILE_SYNC | FILE_RENAME | FILE_LINK |
                                        FILE_MKDIR | FILE_ROOM,
                                    ENOSPC};
    nth_faults faults = {.name = "EIO",
                         .config = &fault,
                         .arm = arm,
                         .disarm = disarm,
                         .allows = allows,
                         .reopens = true};
    nth_run(&faults, RIG_STORE, &open_there);
    nth_run(&faults, RIG_STORE, &make);
    faults.config = &full;
    faults.name = "ENOSPC";
    nth_run(&faults, RIG_STORE, &make);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_input_output_error_fails_the_operation_cleanly),
        cmocka_unit_test(a_full_disk_leaves_nothing_behind),
        cmocka_unit_test(too_many_open_files_are_a_limit),
        cmocka_unit_test(what_is_interrupted_is_tried_again),
        cmocka_unit_test(reads_and_writes_in_parts_are_completed),
        cmocka_unit_test(a_store_opens_or_says_why_not),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
