/* SPDX-License-Identifier: Apache-2.0 */
/* The loop over faults. GRAVITON_TEST_BOUNDED=1 leaves most of them out, for runs under
 * sanitizers; the first of each operation are always tried one by one. */
#include "nth.h"

#include "test.h"

#include <stdio.h>
#include <stdlib.h>

/* The fault after `n`: one by one at first, then in growing steps; larger ones over RocksDB, which
 * takes its time to open. */
static uint64_t next_turn(rig_kind kind, uint64_t n)
{
    const char *bounded = getenv("GRAVITON_TEST_BOUNDED");
    if (bounded && *bounded == '1') {
        return n + 1 + n / 6;
    }
    return n + 1 + n / (kind == RIG_STORE ? 20 : 60);
}

/* An operation that failed says so in full. */
static void check_error(const nth_faults *faults, const fault_rig *rig, grv_status status,
                        const grv_error *error)
{
    if (!status) {
        return;
    }
    if (!faults->allows(faults->config, status)) {
        rig_fail(rig, "it ended with %s: %s", grv_status_name(status), error->message);
    }
    if (error->status != status || !error->message[0]) {
        rig_fail(rig, "it ended with %s, and the error says %s: \"%s\"", grv_status_name(status),
                 grv_status_name(error->status), error->message);
    }
}

/* Tries the operation again, without faults. */
static void try_again(const nth_faults *faults, fault_rig *rig, const nth_operation *operation)
{
    grv_error error = GRV_ERROR_INIT;
    grv_status status = GRV_OK;
    if (operation->on_closed && rig->blobs) {
        return;
    }
    if (faults->reopens && !operation->on_closed) {
        rig_close(rig);
        status = rig_open(rig, &error);
    }
    if (!status) {
        status = operation->run(rig, &error);
    }
    if (status) {
        rig_fail(rig, "tried again it ended with %s: %s", grv_status_name(status), error.message);
    }
}

/* One run; how many faults happened in it. */
static uint64_t run_once(const nth_faults *faults, fault_rig *rig, rig_kind kind,
                         const nth_operation *operation, bool persistent)
{
    grv_error error = GRV_ERROR_INIT;
    size_t descriptors = rig_descriptors();
    if (operation->on_empty) {
        rig_init_empty(rig, kind);
    } else {
        rig_init(rig, kind);
    }
    if (operation->on_closed) {
        rig_close(rig);
    }
    faults->arm(faults->config, rig, rig->turn, persistent);
    grv_status status = operation->run(rig, &error);
    uint64_t fired = faults->disarm(rig);
    check_error(faults, rig, status, &error);
    if (fired == 0 && status) {
        rig_fail(rig, "it failed without a fault: %s", error.message);
    }
    if (rig->blobs && !faults->reopens) {
        rig_check(rig, faults->tidy);
    }
    try_again(faults, rig, operation);
    rig_close(rig);
    if (rig_open(rig, &error)) {
        rig_fail(rig, "it cannot be opened again: %s", error.message);
    }
    rig_check(rig, false);
    rig_done(rig);
    if (rig_descriptors() != descriptors) {
        rig_fail(rig, "%zu descriptors are open, %zu were before", rig_descriptors(), descriptors);
    }
    return fired;
}

static void run_operation(const nth_faults *faults, rig_kind kind, const nth_operation *operation,
                          bool persistent)
{
    char doing[128];
    snprintf(doing, sizeof doing, "%s, %s, %s", operation->name, faults->name,
             persistent ? "for good" : "once");
    fault_rig rig = {.doing = doing, .turn = 1};
    while (run_once(faults, &rig, kind, operation, persistent) > 0) {
        rig.turn = next_turn(kind, rig.turn);
    }
    if (getenv("GRAVITON_TEST_VERBOSE")) {
        fprintf(stderr, "# %s: %llu faults\n", doing, (unsigned long long)rig.turn - 1);
    }
}

void nth_run(const nth_faults *faults, rig_kind kind, const nth_operation *operation)
{
    run_operation(faults, kind, operation, false);
    run_operation(faults, kind, operation, true);
}

void nth_run_once(const nth_faults *faults, rig_kind kind, const nth_operation *operation)
{
    run_operation(faults, kind, operation, false);
}

/* All operations; with faults for good too where `both`. */
static void run_all(const nth_faults *faults, rig_kind kind, bool both)
{
    void (*run)(const nth_faults *, rig_kind, const nth_operation *) =
        both ? nth_run : nth_run_once;
    run(faults, kind, &nth_open);
    run(faults, kind, &nth_scrub);
    for (size_t i = 0; i < nth_operation_count; i++) {
        run(faults, kind, &nth_operations[i]);
    }
    for (size_t i = 0; i < nth_object_operation_count && kind != RIG_KV; i++) {
        run(faults, kind, &nth_object_operations[i]);
    }
    for (size_t i = 0; i < nth_index_operation_count && kind == RIG_KV; i++) {
        run(faults, kind, &nth_index_operations[i]);
    }
}

void nth_run_all(const nth_faults *faults, rig_kind kind)
{
    run_all(faults, kind, true);
}

void nth_run_all_once(const nth_faults *faults, rig_kind kind)
{
    run_all(faults, kind, false);
}
