/* SPDX-License-Identifier: Apache-2.0 */
/* Range sets against a model with one flag a byte, and the parser of RFC 9110 ranges. */
#include "temp.h"
#include "test.h"

#include <graviton/range.h>

#define MODEL_SIZE 200u

/* One flag a byte: the obvious implementation. */
typedef struct model {
    bool has[MODEL_SIZE];
} model;

static void check_against_model(const grv_range_set *set, const model *want)
{
    model got = {0};
    uint64_t size = 0;
    for (size_t i = 0; i < set->count; i++) {
        grv_range range = set->ranges[i];
        assert_true(range.first < range.end);
        assert_true(range.end <= MODEL_SIZE);
        assert_true(i == 0 || set->ranges[i - 1].end < range.first); /* sorted and coalesced */
        for (uint64_t k = range.first; k < range.end; k++) {
            got.has[k] = true;
            size++;
        }
    }
    assert_memory_equal(&got, want, sizeof got);
    assert_int_equal(grv_range_set_size(set), size);
}

static grv_range random_range(uint64_t *seed)
{
    uint64_t first = test_random(seed) % (MODEL_SIZE + 1);
    uint64_t end = first + test_random(seed) % 24;
    return (grv_range){first, end > MODEL_SIZE ? MODEL_SIZE : end};
}

static void step(grv_range_set *set, grv_range_set *other, model *want, model *other_want,
                 uint64_t *seed)
{
    grv_error error = GRV_ERROR_INIT;
    grv_range range = random_range(seed);
    switch (test_random(seed) % 4) {
    case 0:
        assert_grv_ok(grv_range_set_merge(set, range, NULL, &error));
        break;
    case 1:
        for (uint64_t i = range.first; i < range.end; i++) {
            other_want->has[i] |= !want->has[i];
        }
        assert_grv_ok(grv_range_set_merge(set, range, other, &error));
        break;
    case 2: {
        for (uint64_t i = range.first; i < range.end; i++) {
            other_want->has[i] |= !want->has[i];
        }
        assert_grv_ok(grv_range_set_gaps(set, range, other, &error));
        return;
    }
    default: {
        bool all = true;
        for (uint64_t i = range.first; i < range.end; i++) {
            all = all && want->has[i];
        }
        assert_int_equal(grv_range_set_contains(set, range), all);
        return;
    }
    }
    for (uint64_t i = range.first; i < range.end; i++) {
        want->has[i] = true;
    }
}

static void sets_behave_as_the_model(void **state)
{
    (void)state;
    uint64_t seed = 7;
    for (int round = 0; round < 200; round++) {
        grv_range_set set;
        grv_range_set other;
        grv_range_set_init(&set);
        grv_range_set_init(&other);
        model want = {0};
        model other_want = {0};
        for (int i = 0; i < 60; i++) {
            step(&set, &other, &want, &other_want, &seed);
            check_against_model(&set, &want);
            check_against_model(&other, &other_want);
        }
        grv_range_set_done(&set);
        grv_range_set_done(&other);
    }
}

static void bad_and_extreme_ranges(void **state)
{
    (void)state;
    grv_error error = GRV_ERROR_INIT;
    grv_range_set set;
    grv_range_set gaps;
    grv_range_set_init(&set);
    grv_range_set_init(&gaps);
    assert_grv_status(grv_range_set_merge(&set, (grv_range){2, 1}, NULL, &error),
                      GRV_INVALID_ARGUMENT);
    assert_grv_status(grv_range_set_gaps(&set, (grv_range){2, 1}, &gaps, &error),
                      GRV_INVALID_ARGUMENT);
    assert_grv_ok(grv_range_set_merge(&set, (grv_range){5, 5}, &gaps, &error));
    assert_int_equal(set.count + gaps.count, 0);
    assert_true(grv_range_set_contains(&set, (grv_range){5, 5}));
    assert_false(grv_range_set_contains(&set, (grv_range){5, 6}));
    assert_grv_ok(grv_range_set_merge(&set, GRV_RANGE_ALL, NULL, &error));
    assert_true(grv_range_set_size(&set) == UINT64_MAX);
    assert_grv_ok(grv_range_set_gaps(&set, GRV_RANGE_ALL, &gaps, &error));
    assert_int_equal(gaps.count, 0);
    grv_range_set_done(&set);
    grv_range_set_done(&gaps);
}

static void a_full_set_refuses_and_stays_as_it_was(void **state)
{
    (void)state;
    grv_error error = GRV_ERROR_INIT;
    grv_range_set set;
    grv_range_set_init(&set);
    for (uint64_t i = 0; i < GRV_RANGE_SET_MAX; i++) {
        assert_grv_ok(grv_range_set_merge(&set, (grv_range){4 * i, 4 * i + 1}, NULL, &error));
    }
    grv_range_set fresh;
    grv_range_set_init(&fresh);
    assert_grv_status(grv_range_set_merge(&set, (grv_range){2, 3}, &fresh, &error),
                      GRV_LIMIT_EXCEEDED);
    assert_int_equal(set.count, GRV_RANGE_SET_MAX);
    assert_int_equal(fresh.count, 0);
    assert_false(grv_range_set_contains(&set, (grv_range){2, 3}));
    /* What joins two ranges still fits. */
    assert_grv_ok(grv_range_set_merge(&set, (grv_range){1, 4}, &fresh, &error));
    assert_int_equal(set.count, GRV_RANGE_SET_MAX - 1);
    assert_int_equal(fresh.count, 1);
    grv_range_set_done(&set);
    grv_range_set_done(&fresh);
}

static grv_status parse(const char *text, uint64_t size, grv_range *ret_range)
{
    grv_error error = GRV_ERROR_INIT;
    return grv_range_parse(grv_bytes_of(text, strlen(text)), size, ret_range, &error);
}

static void http_ranges_are_inclusive_and_clamped(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        uint64_t size;
        grv_range want;
    } good[] = {
        {"0-0", 10, {0, 1}},
        {"2-5", 10, {2, 6}},
        {"2-", 10, {2, 10}},
        {"9-9", 10, {9, 10}},
        {"2-10", 10, {2, 10}},
        {"0-18446744073709551615", 10, {0, 10}},
        {"0-99999999999999999999999", 10, {0, 10}},
        {"007-0008", 10, {7, 9}},
        {"-1", 10, {9, 10}},
        {"-10", 10, {0, 10}},
        {"-99999999999999999999999", 10, {0, 10}},
        {"-1", 0, {0, 0}},
        {"9223372036854775806-", INT64_MAX, {INT64_MAX - 1, INT64_MAX}},
    };
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        grv_range range;
        assert_grv_status(parse(good[i].text, good[i].size, &range), GRV_OK);
        assert_true(range.first == good[i].want.first && range.end == good[i].want.end);
    }
}

static void malformed_http_ranges_are_refused(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "",
        "-",
        "5",
        "a-b",
        "1-b",
        " 1-2",
        "1-2 ",
        "1 -2",
        "-0",
        "--1",
        "1--2",
        "5-4",
        "10-",
        "10-11",
        "+1-2",
        "0x1-2",
        "1,2",
        "1-2,3-4",
        "99999999999999999999-",
        "1-2-3",
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        grv_range range = {77, 78};
        assert_grv_status(parse(bad[i], 10, &range), GRV_INVALID_ARGUMENT);
        assert_int_equal(range.first, 77);
    }
    grv_range range;
    assert_grv_status(parse("0-", 0, &range), GRV_INVALID_ARGUMENT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sets_behave_as_the_model),
        cmocka_unit_test(bad_and_extreme_ranges),
        cmocka_unit_test(a_full_set_refuses_and_stays_as_it_was),
        cmocka_unit_test(http_ranges_are_inclusive_and_clamped),
        cmocka_unit_test(malformed_http_ranges_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
