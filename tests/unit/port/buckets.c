/* SPDX-License-Identifier: Apache-2.0 */
/* The names of an object store's buckets. */
#include "port/buckets.h"
#include "test.h"

#include <graviton/locator.h>
#include <string.h>

static void names_are_found(void **state)
{
    (void)state;
    static const char *const names[] = {"one", "two", "Drei ü"};
    grv_error error = GRV_ERROR_INIT;
    grv_buckets buckets;
    size_t index = 9;
    assert_grv_ok(grv_buckets_make(&buckets, "here", "s3", names, 3, &error));
    for (size_t i = 0; i < 3; i++) {
        assert_grv_ok(grv_buckets_find(&buckets, names[i], &index, &error));
        assert_int_equal(index, i);
    }
    assert_grv_ok(grv_buckets_find(&buckets, "two", NULL, &error));
    assert_int_equal(grv_buckets_find(&buckets, "three", &index, &error), GRV_INVALID_ARGUMENT);
    assert_string_equal(error.message, "this store has no bucket s3://three");
    assert_string_equal(error.origin, "here");
    assert_int_equal(grv_buckets_add(&buckets, "four", &error), GRV_INTERNAL);
    grv_buckets_done(&buckets);
}

static void bad_names_are_refused(void **state)
{
    (void)state;
    char longest[GRV_LOCATOR_BUCKET_MAX + 2];
    grv_error error = GRV_ERROR_INIT;
    grv_buckets buckets;
    memset(longest, 'a', sizeof longest);
    longest[sizeof longest - 1] = '\0';
    const char *const bad[] = {"", "a/b", "a\nb", "\x7f", longest, "a"};
    assert_int_equal(grv_buckets_init(&buckets, "here", "s3", 0, &error), GRV_INVALID_ARGUMENT);
    grv_buckets_done(&buckets);
    assert_grv_ok(grv_buckets_init(&buckets, "here", "s3", 3, &error));
    assert_grv_ok(grv_buckets_add(&buckets, "a", &error));
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) { /* the last: there already */
        assert_int_equal(grv_buckets_add(&buckets, bad[i], &error), GRV_INVALID_ARGUMENT);
    }
    longest[sizeof longest - 2] = '\0';
    assert_grv_ok(grv_buckets_add(&buckets, longest, &error));
    assert_int_equal(buckets.count, 2);
    grv_buckets_done(&buckets);
    const char *const twice[] = {"a", "b", "a"};
    assert_int_equal(grv_buckets_make(&buckets, "here", "s3", twice, 3, &error),
                     GRV_INVALID_ARGUMENT);
    assert_string_equal(error.message, "two buckets a");
    grv_buckets_done(&buckets);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_are_found),
        cmocka_unit_test(bad_names_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
