/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The nth call of any port fails: before it is done, after it was done, and with data cut short.
 * The caller must get exactly the status that was made up below: nobody replaces a cause.
 */
#include "nth.h"
#include "test.h"

typedef struct port_fault {
    grv_fault_kind kind;
    grv_status status;
} port_fault;

static void arm(const void *config, fault_rig *rig, uint64_t n, bool persistent)
{
    const port_fault *fault = config;
    rig->plan = (grv_fault_plan){
        .countdown = n, .persistent = persistent, .kind = fault->kind, .status = fault->status};
}

static uint64_t disarm(fault_rig *rig)
{
    uint64_t fired = grv_fault_fired(&rig->plan);
    rig->plan = (grv_fault_plan){0};
    return fired;
}

static bool allows(const void *config, grv_status status)
{
    return status == ((const port_fault *)config)->status;
}

/* What is cut short is found out, or was of no account. A removal replaces what is there, corrupt
 * or not, only while it is what was read: it gives up where that never agrees. */
static bool allows_cut(const void *config, grv_status status)
{
    (void)config;
    return status == GRV_CORRUPT || status == GRV_UNAVAILABLE;
}

static const rig_kind kinds[] = {RIG_MEMORY, RIG_CACHED, RIG_KV};

static void a_refused_call_fails_the_operation_cleanly(void **state)
{
    (void)state;
    static const port_fault refuse = {GRV_FAULT_REFUSE, GRV_UNAVAILABLE};
    const nth_faults faults = {.name = "a call refused",
                               .config = &refuse,
                               .arm = arm,
                               .disarm = disarm,
                               .allows = allows};
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        nth_run_all(&faults, kinds[i]);
    }
}

static void a_full_disk_is_told_as_such(void **state)
{
    (void)state;
    static const port_fault refuse = {GRV_FAULT_REFUSE, GRV_OUT_OF_SPACE};
    const nth_faults faults = {
        .name = "no space", .config = &refuse, .arm = arm, .disarm = disarm, .allows = allows};
    for (size_t i = 0; i < 6; i++) { /* those that put */
        nth_run(&faults, RIG_KV, &nth_operations[i]);
    }
}

static void a_call_whose_answer_is_lost_may_have_been_done(void **state)
{
    (void)state;
    static const port_fault lose = {GRV_FAULT_LOSE, GRV_TIMEOUT};
    const nth_faults faults = {
        .name = "an answer lost", .config = &lose, .arm = arm, .disarm = disarm, .allows = allows};
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        nth_run_all(&faults, kinds[i]);
    }
}

static void data_that_come_short_are_never_believed(void **state)
{
    (void)state;
    static const port_fault cut = {GRV_FAULT_CUT, GRV_OK};
    const nth_faults faults = {.name = "data cut short",
                               .config = &cut,
                               .arm = arm,
                               .disarm = disarm,
                               .allows = allows_cut};
    for (size_t i = 0; i < nth_operation_count - 2; i++) { /* not the last two: free text */
        nth_run(&faults, RIG_KV, &nth_operations[i]);
    }
    nth_run_once(&faults, RIG_KV, &nth_scrub);
    for (size_t i = 0; i < nth_index_operation_count; i++) {
        nth_run(&faults, RIG_KV, &nth_index_operations[i]);
    }
}

/* An object's own reader must know how long it is: the layer shows it an end that comes early. */
static void an_object_that_comes_short_ends_early(void **state)
{
    (void)state;
    fault_rig rig = {.doing = "get of an object, cut short", .turn = 1};
    rig_init(&rig, RIG_MEMORY);
    static const port_fault cut = {GRV_FAULT_CUT, GRV_OK};
    const grv_locator locator = rig_locator(&rig, RIG_FIRST);
    uint64_t short_ones = 0;
    for (uint64_t fired = 1; fired > 0; rig.turn++) {
        grv_error error = GRV_ERROR_INIT;
        grv_object_info info;
        grv_source *source = NULL;
        arm(&cut, &rig, rig.turn, false);
        assert_grv_ok(grv_object_store_open_get(NULL, &rig.objects->base, &locator, GRV_RANGE_ALL,
                                                &info, &source, &error));
        uint64_t size = 0;
        grv_bytes view = {.size = 1};
        while (view.size > 0) {
            assert_grv_ok(grv_source_next(NULL, source, 70000, &view, &error));
            size += view.size;
        }
        grv_source_free(source);
        fired = disarm(&rig);
        assert_true(size <= info.size_bytes);
        short_ones += size < info.size_bytes;
    }
    /* The first call opened it and the last one saw its end; each of the others gave bytes. */
    assert_int_equal(short_ones, rig.turn - 4);
    assert_true(short_ones > 2);
    rig_done(&rig);
}

/* A block is missing; whether its blob was removed meanwhile cannot be asked: that is no damage. */
static void a_missing_block_is_damage_only_where_the_blob_is_there(void **state)
{
    (void)state;
    fault_rig rig = {.doing = "get of a blob that lacks a block", .turn = 1};
    rig_init(&rig, RIG_MEMORY);
    grv_error error = GRV_ERROR_INIT;
    const rig_blob *blob = &rig.items[RIG_MEDIUM];
    grv_block_key key = {.size = 64u << 10};
    bool removed = false;
    assert_grv_ok(grv_digest_of(GRV_HASH_BLAKE3, grv_bytes_of(blob->data + key.size, key.size),
                                &key.digest, &error));
    assert_grv_ok(grv_block_store_remove(NULL, rig.blocks, &key, 1, &removed, &error));
    assert_true(removed);
    static const port_fault refuse = {GRV_FAULT_REFUSE, GRV_UNAVAILABLE};
    for (uint64_t fired = 1; fired > 0; rig.turn++) {
        arm(&refuse, &rig, rig.turn, false);
        grv_status status = rig_get(&rig, RIG_MEDIUM, GRV_RANGE_ALL, &error);
        fired = disarm(&rig);
        if (status != (fired ? GRV_UNAVAILABLE : GRV_CORRUPT)) {
            rig_fail(&rig, "it ended with %s: %s", grv_status_name(status), error.message);
        }
    }
    assert_true(rig.turn > 4);
    rig_done(&rig);
}

static void a_slow_call_ends_at_its_deadline(void **state)
{
    (void)state;
    grv_error error = GRV_ERROR_INIT;
    fault_rig rig = {.doing = "a slow port"};
    rig_init(&rig, RIG_MEMORY);
    rig.plan =
        (grv_fault_plan){.countdown = 1, .persistent = true, .delay_ns = UINT64_C(60000000000)};
    uint64_t start = grv_now_ns();
    grv_call call = {.deadline_ns = start + UINT64_C(50000000)};
    grv_blob_info info;
    assert_grv_status(
        grv_blob_store_stat(&call, rig.blobs, &rig.items[RIG_SMALL].key, &info, &error),
        GRV_TIMEOUT);
    grv_put_plan plan = {0};
    grv_blob_sink *sink = NULL;
    call.deadline_ns = grv_now_ns() + UINT64_C(50000000);
    assert_grv_status(grv_blob_store_open_put(&call, rig.blobs, &plan, &sink, &error), GRV_TIMEOUT);
    assert_true(grv_now_ns() - start < UINT64_C(50000000000));
    rig.plan = (grv_fault_plan){0};
    rig_check(&rig, false);
    rig_done(&rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_refused_call_fails_the_operation_cleanly),
        cmocka_unit_test(a_full_disk_is_told_as_such),
        cmocka_unit_test(a_call_whose_answer_is_lost_may_have_been_done),
        cmocka_unit_test(data_that_come_short_are_never_believed),
        cmocka_unit_test(an_object_that_comes_short_ends_early),
        cmocka_unit_test(a_missing_block_is_damage_only_where_the_blob_is_there),
        cmocka_unit_test(a_slow_call_ends_at_its_deadline),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
