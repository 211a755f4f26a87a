/* SPDX-License-Identifier: Apache-2.0 */
/* Replica keys, sets of locators, and the stored forms of both against damage. */
#include "core/replica_record.h"
#include "golden.h"
#include "temp.h"
#include "test.h"

#include <graviton/replica.h>
#include <xxhash.h>

static grv_locator locator_of(const char *text)
{
    grv_error error = GRV_ERROR_INIT;
    grv_locator locator;
    assert_grv_ok(grv_locator_parse(grv_bytes_of(text, strlen(text)), &locator, &error));
    return locator;
}

/* One key of each kind, in order. */
static void make_keys(grv_replica_key keys[3])
{
    grv_digest digest = {.hash = GRV_HASH_BLAKE3};
    for (size_t i = 0; i < GRV_DIGEST_SIZE; i++) {
        digest.bytes[i] = (uint8_t)i;
    }
    keys[0] = (grv_replica_key){.kind = GRV_REPLICA_BLOB,
                                .of.blob = {.digest = digest, .size = UINT64_C(0x102030405060708)}};
    keys[1] = (grv_replica_key){.kind = GRV_REPLICA_BLOCK,
                                .of.block = {.digest = digest, .size = 0x10203}};
    keys[2] =
        (grv_replica_key){.kind = GRV_REPLICA_PACK, .of.pack.number = UINT64_C(0xf1f2f3f4f5f6f7f8)};
    memcpy(keys[2].of.pack.session, digest.bytes, GRV_SESSION_ID_SIZE);
}

static void keys_come_back_from_their_bytes_in_order(void **state)
{
    (void)state;
    grv_error error = GRV_ERROR_INIT;
    grv_replica_key keys[3];
    uint8_t bytes[3][GRV_REPLICA_KEY_BYTES_MAX];
    size_t sizes[3];
    make_keys(keys);
    for (size_t i = 0; i < 3; i++) {
        grv_replica_key again;
        sizes[i] = grv_replica_key_encode(&keys[i], bytes[i]);
        assert_grv_ok(grv_replica_key_decode(grv_bytes_of(bytes[i], sizes[i]), &again, &error));
        assert_int_equal(grv_replica_key_compare(&keys[i], &again), 0);
        assert_true(i == 0 || grv_replica_key_compare(&keys[i - 1], &keys[i]) < 0);
        assert_true(grv_replica_key_is_valid(&keys[i]));
        for (size_t size = 0; size < sizes[i]; size++) {
            assert_grv_status(grv_replica_key_decode(grv_bytes_of(bytes[i], size), &again, &error),
                              GRV_CORRUPT);
        }
    }
    assert_int_equal(sizes[0], 42);
    assert_int_equal(sizes[1], 42);
    assert_int_equal(sizes[2], 25);
    grv_replica_key later = keys[2];
    later.of.pack.number++;
    assert_true(grv_replica_key_compare(&keys[2], &later) < 0);
    bytes[2][0] = 4;
    assert_grv_status(grv_replica_key_decode(grv_bytes_of(bytes[2], sizes[2]), &later, &error),
                      GRV_CORRUPT);
    keys[1].of.block.size = 0;
    assert_false(grv_replica_key_is_valid(&keys[1]));
    assert_false(grv_replica_key_is_valid(&(grv_replica_key){0}));
}

static void keys_print_their_kind(void **state)
{
    (void)state;
    grv_replica_key keys[3];
    char text[GRV_REPLICA_KEY_TEXT_SIZE];
    make_keys(keys);
    grv_replica_key_print(&keys[0], text);
    assert_string_equal(text, "blob:blake3:000102030405060708090a0b0c0d0e0f10111213141516171819"
                              "1a1b1c1d1e1f:72623859790382856");
    grv_replica_key_print(&keys[1], text);
    assert_string_equal(text, "block:blake3:000102030405060708090a0b0c0d0e0f1011121314151617181"
                              "91a1b1c1d1e1f:66051");
    grv_replica_key_print(&keys[2], text);
    assert_string_equal(text, "pack:000102030405060708090a0b0c0d0e0f:17434265340928784376");
}

static void sets_are_sorted_and_bounded(void **state)
{
    (void)state;
    grv_error error = GRV_ERROR_INIT;
    grv_locator_set set;
    grv_locator_set_init(&set);
    uint64_t random = 1;
    for (unsigned i = 0; i < GRV_LOCATOR_SET_MAX; i++) {
        grv_locator locator = {.scheme = "fs", .bucket = "b"};
        snprintf(locator.path, sizeof locator.path, "%u-%u", (unsigned)test_random(&random) % 100,
                 i);
        assert_false(grv_locator_set_contains(&set, &locator));
        assert_grv_ok(grv_locator_set_add(&set, &locator, &error));
        assert_grv_ok(grv_locator_set_add(&set, &set.locators[i / 2], &error));
        assert_true(grv_locator_set_contains(&set, &locator));
    }
    assert_int_equal(set.count, GRV_LOCATOR_SET_MAX);
    for (size_t i = 1; i < set.count; i++) {
        assert_true(grv_locator_compare(&set.locators[i - 1], &set.locators[i]) < 0);
    }
    grv_locator more = locator_of("fs://b/more");
    assert_grv_status(grv_locator_set_add(&set, &more, &error), GRV_LIMIT_EXCEEDED);
    grv_locator_set_remove(&set, &more);
    assert_int_equal(set.count, GRV_LOCATOR_SET_MAX);
    grv_locator gone = set.locators[500];
    grv_locator next = set.locators[501];
    grv_locator_set_remove(&set, &gone);
    assert_false(grv_locator_set_contains(&set, &gone));
    assert_int_equal(grv_locator_compare(&set.locators[500], &next), 0);
    assert_grv_ok(grv_locator_set_add(&set, &more, &error));
    grv_locator_set_done(&set);
    assert_int_equal(set.count, 0);
}

static void make_set(grv_locator_set *set)
{
    grv_error error = GRV_ERROR_INIT;
    static const char *const texts[] = {"s3://backups/2024/x", "fs://main/cas//x%2f\xff",
                                        "fs://a!/x"};
    grv_locator_set_init(set);
    for (size_t i = 0; i < 3; i++) {
        grv_locator locator = locator_of(texts[i]);
        assert_grv_ok(grv_locator_set_add(set, &locator, &error));
    }
}

static void records_have_the_stored_form(void **state)
{
    (void)state;
    grv_error error = GRV_ERROR_INIT;
    grv_locator_set set;
    make_set(&set);
    grv_buffer record;
    grv_buffer_init(&record, GRV_REPLICA_RECORD_MAX);
    assert_grv_ok(grv_replica_record_encode(&set, &record, &error));
    test_golden_check("replica-v1.hex", grv_buffer_bytes(&record));
    grv_locator_set again;
    grv_locator_set_init(&again);
    assert_grv_ok(grv_locator_set_add(&again, &set.locators[0], &error));
    assert_grv_ok(grv_replica_record_decode(grv_buffer_bytes(&record), &again, &error));
    assert_int_equal(again.count, 3);
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(grv_locator_compare(&again.locators[i], &set.locators[i]), 0);
    }
    grv_locator_set_done(&again);
    grv_locator_set_done(&set);
    grv_buffer_done(&record);
}

static void rows_have_the_stored_form(void **state)
{
    (void)state;
    grv_error error = GRV_ERROR_INIT;
    grv_replica_key keys[3];
    make_keys(keys);
    grv_locator locator = locator_of("s3://backups/x");
    uint8_t rows[3 * GRV_REPLICA_ROW_MAX];
    size_t size = 0;
    for (size_t i = 0; i < 3; i++) {
        size_t row_size = grv_replica_row_encode(&locator, &keys[i], rows + size);
        grv_locator got;
        grv_replica_key key;
        assert_grv_ok(
            grv_replica_row_decode(grv_bytes_of(rows + size, row_size), &got, &key, &error));
        assert_int_equal(grv_locator_compare(&got, &locator), 0);
        assert_int_equal(grv_replica_key_compare(&key, &keys[i]), 0);
        for (size_t cut = 0; cut < row_size; cut++) {
            assert_grv_status(
                grv_replica_row_decode(grv_bytes_of(rows + size, cut), &got, &key, &error),
                GRV_CORRUPT);
        }
        size += row_size;
    }
    test_golden_check("replica-rows-v1.hex", grv_bytes_of(rows, size));
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
    grv_locator_set set;
    grv_locator_set_init(&set);
    grv_status status = grv_replica_record_decode(grv_bytes_of(record, size), &set, NULL);
    assert_true(status == GRV_OK || set.count == 0);
    grv_locator_set_done(&set);
    return status;
}

static void damaged_records_are_corrupt(void **state)
{
    (void)state;
    uint8_t good[512];
    uint8_t bad[513];
    static uint8_t golden[TEST_GOLDEN_MAX];
    size_t size = test_golden_read("replica-v1.hex", golden);
    assert_true(size <= sizeof good);
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
        {4, 0, GRV_CORRUPT},     {6, 2, GRV_CORRUPT}, /* locators */
        {6, 4, GRV_CORRUPT},     {6, 0, GRV_CORRUPT},
        {7, 0x80, GRV_CORRUPT},  {8, 8, GRV_CORRUPT},    /* the first locator's size: 9 */
        {9, 1, GRV_CORRUPT},     {10, 'z', GRV_CORRUPT}, /* its scheme: out of order */
        {10, 'F', GRV_CORRUPT},                          /* not as it is printed */
        {10, '1', GRV_CORRUPT},                          /* no scheme */
        {15, '\0', GRV_CORRUPT},                         /* its bucket */
        {18, '\0', GRV_CORRUPT},                         /* its path */
        {18, 'y', GRV_OK},                               /* another path */
    };
    for (size_t i = 0; i < sizeof changes / sizeof changes[0]; i++) {
        memcpy(bad, good, size);
        bad[changes[i].at] = changes[i].value;
        seal(bad, size);
        assert_grv_status(decode_status(bad, size), changes[i].want);
    }
    memcpy(bad, good, size);
    seal(bad, size + 1); /* a byte more */
    assert_grv_status(decode_status(bad, size + 1), GRV_CORRUPT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(keys_come_back_from_their_bytes_in_order),
        cmocka_unit_test(keys_print_their_kind),
        cmocka_unit_test(sets_are_sorted_and_bounded),
        cmocka_unit_test(records_have_the_stored_form),
        cmocka_unit_test(rows_have_the_stored_form),
        cmocka_unit_test(damaged_records_are_corrupt),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
