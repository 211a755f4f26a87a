/* SPDX-License-Identifier: Apache-2.0 */
/* The range tracker's record: its stored form, against damage and at its bounds. */
#include "core/range_record.h"
#include "golden.h"
#include "test.h"

#include <graviton/key.h>
#include <stdlib.h>
#include <xxhash.h>

static const grv_range golden_ranges[] = {
    {0, 1}, {2, 0x0102030405060708}, {GRV_BLOB_SIZE_MAX - 1, GRV_BLOB_SIZE_MAX}};

static void make_set(grv_range_set *set)
{
    grv_error error = GRV_ERROR_INIT;
    grv_range_set_init(set);
    for (size_t i = 0; i < 3; i++) {
        assert_grv_ok(grv_range_set_merge(set, golden_ranges[i], NULL, &error));
    }
}

static void records_have_the_stored_form(void **state)
{
    (void)state;
    grv_error error = GRV_ERROR_INIT;
    grv_range_set set;
    make_set(&set);
    grv_buffer record;
    grv_buffer_init(&record, GRV_RANGE_RECORD_MAX);
    assert_grv_ok(grv_range_record_encode(UINT64_C(0x1112131415161718), &set, &record, &error));
    test_golden_check("range-v1.hex", grv_buffer_bytes(&record));
    grv_range_set again;
    grv_range_set_init(&again);
    assert_grv_ok(grv_range_set_merge(&again, (grv_range){5, 6}, NULL, &error));
    uint64_t generation = 0;
    assert_grv_ok(grv_range_record_decode(grv_buffer_bytes(&record), &generation, &again, &error));
    assert_int_equal(generation, UINT64_C(0x1112131415161718));
    assert_int_equal(again.count, 3);
    assert_memory_equal(again.ranges, golden_ranges, sizeof golden_ranges);
    /* What was decoded is a set like any other. */
    assert_grv_ok(grv_range_set_merge(&again, (grv_range){1, 2}, NULL, &error));
    assert_int_equal(again.count, 2);
    grv_range_set_done(&again);
    grv_range_set_done(&set);
    grv_buffer_done(&record);
}

static void empty_and_full_records_come_back(void **state)
{
    (void)state;
    grv_error error = GRV_ERROR_INIT;
    for (size_t count = 0; count <= GRV_RANGE_RECORD_RANGES_MAX;
         count += GRV_RANGE_RECORD_RANGES_MAX) {
        grv_range_set set = {calloc(count + 1, sizeof(grv_range)), count, count + 1};
        assert_non_null(set.ranges);
        for (size_t i = 0; i < count; i++) {
            set.ranges[i] = (grv_range){2 * i, 2 * i + 1};
        }
        grv_buffer record;
        grv_buffer_init(&record, GRV_RANGE_RECORD_MAX);
        assert_grv_ok(grv_range_record_encode(1, &set, &record, &error));
        grv_range_set again;
        grv_range_set_init(&again);
        uint64_t generation = 0;
        assert_grv_ok(
            grv_range_record_decode(grv_buffer_bytes(&record), &generation, &again, &error));
        assert_int_equal(again.count, count);
        assert_true(count == 0 || memcmp(again.ranges, set.ranges, count * sizeof(grv_range)) == 0);
        grv_range_set_done(&again);
        grv_range_set_done(&set);
        grv_buffer_done(&record);
    }
}

/* Makes the checksum right again after a change. */
static void seal(uint8_t *record, size_t size)
{
    uint64_t sum = XXH3_64bits(record, size - 8);
    for (size_t i = 0; i < 8; i++) {
        record[size - 8 + i] = (uint8_t)(sum >> (8 * i));
    }
}

static grv_status decode_status(const uint8_t *record, size_t size)
{
    grv_range_set set;
    grv_range_set_init(&set);
    uint64_t generation = 77;
    grv_status status =
        grv_range_record_decode(grv_bytes_of(record, size), &generation, &set, NULL);
    assert_true(status == GRV_OK || (set.count == 0 && generation == 77));
    grv_range_set_done(&set);
    return status;
}

static void damaged_records_are_corrupt(void **state)
{
    (void)state;
    uint8_t good[256];
    uint8_t bad[257];
    static uint8_t golden[TEST_GOLDEN_MAX];
    size_t size = test_golden_read("range-v1.hex", golden);
    assert_int_equal(size, 20 + 3 * 16 + 8);
    memcpy(good, golden, size);
    assert_grv_status(decode_status(good, size), GRV_OK);
    for (size_t i = 0; i < size; i++) {
        memcpy(bad, good, size);
        bad[i] ^= 1;
        assert_grv_status(decode_status(bad, size), GRV_CORRUPT);
        assert_grv_status(decode_status(good, i), GRV_CORRUPT);
    }
    const struct {
        size_t at;
        uint8_t value;
        grv_status want;
    } changes[] = {
        {4, 2, GRV_UNSUPPORTED},                      /* version */
        {4, 0, GRV_CORRUPT},     {6, 1, GRV_CORRUPT}, /* reserved */
        {15, 0x80, GRV_CORRUPT},                      /* generation past its bound */
        {16, 2, GRV_CORRUPT},                         /* ranges */
        {16, 4, GRV_CORRUPT},    {19, 0x80, GRV_CORRUPT},
        {20, 1, GRV_CORRUPT},                             /* the first is empty */
        {28, 2, GRV_CORRUPT},                             /* it touches the second */
        {36, 1, GRV_CORRUPT},                             /* the second touches the first */
        {36, 3, GRV_OK},         {51, 0xff, GRV_CORRUPT}, /* the second ends behind the third */
        {67, 0x80, GRV_CORRUPT}, /* the third ends past the largest offset */
    };
    for (size_t i = 0; i < sizeof changes / sizeof changes[0]; i++) {
        memcpy(bad, good, size);
        bad[changes[i].at] = changes[i].value;
        seal(bad, size);
        assert_grv_status(decode_status(bad, size), changes[i].want);
    }
    memcpy(bad, good, size);
    memset(bad + 8, 0, 8); /* generation 0 */
    seal(bad, size);
    assert_grv_status(decode_status(bad, size), GRV_CORRUPT);
    memcpy(bad, good, size);
    seal(bad, size + 1); /* a byte more */
    assert_grv_status(decode_status(bad, size + 1), GRV_CORRUPT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(records_have_the_stored_form),
        cmocka_unit_test(empty_and_full_records_come_back),
        cmocka_unit_test(damaged_records_are_corrupt),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
