/* SPDX-License-Identifier: Apache-2.0 */
/* The set of block keys: each is added once, however many there are. */
#include "core/key_set.h"
#include "test.h"

#include <string.h>

static void each_key_is_added_once(void **state)
{
    (void)state;
    grv_error error = GRV_ERROR_INIT;
    grv_key_set set = {0};
    for (int round = 0; round < 2; round++) {
        for (uint32_t i = 0; i < 1000; i++) {
            /* Some share their first bytes, some all of them: two sizes of one digest are two. */
            grv_block_key key = {.digest.hash = GRV_HASH_BLAKE3, .size = 1 + i % 2};
            const uint32_t half = i / 2;
            memcpy(key.digest.bytes + (half % 3 ? 0 : 8), &half, sizeof half);
            bool added = false;
            assert_grv_ok(grv_key_set_add(&set, &key, &added, &error));
            assert_int_equal(added, round == 0);
        }
    }
    assert_int_equal(set.count, 1000);
    grv_key_set_done(&set);
    assert_int_equal(set.count, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(each_key_is_added_once)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
