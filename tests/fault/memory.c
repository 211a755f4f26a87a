/* SPDX-License-Identifier: Apache-2.0 */
/* The nth allocation fails. The one answer to that is "limit exceeded", or "unavailable" where it
 * was a thread; never a crash, never damage that is not there. */
#include "alloc.h"
#include "nth.h"
#include "test.h"

static void arm(const void *config, fault_rig *rig, uint64_t n, bool persistent)
{
    (void)config;
    (void)rig;
    alloc_faults_begin(n, persistent);
}

static uint64_t disarm(fault_rig *rig)
{
    (void)rig;
    return alloc_faults_end();
}

static bool allows(const void *config, grv_status status)
{
    (void)config;
    return status == GRV_LIMIT_EXCEEDED || status == GRV_UNAVAILABLE;
}

static const nth_faults faults = {
    .name = "no memory", .arm = arm, .disarm = disarm, .allows = allows, .tidy = true};

static void blocks_in_memory(void **state)
{
    (void)state;
    nth_run_all(&faults, RIG_MEMORY);
}

static void blocks_in_memory_and_a_cache(void **state)
{
    (void)state;
    nth_run_all(&faults, RIG_CACHED);
}

static void blocks_in_a_key_value_store(void **state)
{
    (void)state;
    nth_run_all(&faults, RIG_KV);
}

static void blocks_in_files(void **state)
{
    (void)state;
    nth_run_all(&faults, RIG_FS);
}

static grv_status open_whole_store(fault_rig *rig, grv_error *error)
{
    return rig_open(rig, error);
}

static void opening_and_making_a_store(void **state)
{
    (void)state;
    static const nth_operation open_there = {
        .name = "open of a store", .run = open_whole_store, .on_closed = true};
    static const nth_operation make = {
        .name = "making of a store", .run = open_whole_store, .on_closed = true, .on_empty = true};
    nth_run(&faults, RIG_STORE, &open_there);
    nth_run(&faults, RIG_STORE, &make);
}

static grv_status count_store(fault_rig *rig, grv_error *error)
{
    grv_store_stats stats;
    grv_status status = grv_store_count(NULL, rig->store, &stats, error);
    if (!status && (stats.blobs != 2 || stats.blocks != RIG_FIRST_BLOCKS + RIG_GONE_BLOCKS)) {
        rig_fail(rig, "the store is counted wrong");
    }
    return status;
}

static void counting_a_store(void **state)
{
    (void)state;
    static const nth_operation count = {.name = "count", .run = count_store};
    nth_run(&faults, RIG_STORE, &count);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(blocks_in_memory),
        cmocka_unit_test(blocks_in_memory_and_a_cache),
        cmocka_unit_test(blocks_in_a_key_value_store),
        cmocka_unit_test(blocks_in_files),
        cmocka_unit_test(opening_and_making_a_store),
        cmocka_unit_test(counting_a_store),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
