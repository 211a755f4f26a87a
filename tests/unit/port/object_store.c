/* SPDX-License-Identifier: Apache-2.0 */
/* The dispatchers of the object store ports, over a backend that can do next to nothing. */
#include "test.h"

#include <graviton/port/mutable_object_store.h>

static unsigned calls;

static grv_status stub_head(const grv_call *call, grv_object_store *store,
                            const grv_locator *locator, grv_object_info *ret_info, grv_error *error)
{
    (void)call;
    (void)store;
    (void)locator;
    (void)ret_info;
    calls++;
    return grv_error_set(error, GRV_NOT_FOUND, "stub", "nothing");
}

static grv_status stub_open_list(const grv_call *call, grv_object_store *store,
                                 const grv_object_list *list, grv_object_cursor **ret_cursor,
                                 grv_error *error)
{
    (void)list;
    (void)ret_cursor;
    return stub_head(call, store, NULL, NULL, error);
}

static grv_status stub_open_get(const grv_call *call, grv_object_store *store,
                                const grv_locator *locator, grv_range range,
                                grv_object_info *ret_info, grv_source **ret_source,
                                grv_error *error)
{
    (void)range;
    (void)ret_source;
    return stub_head(call, store, locator, ret_info, error);
}

static void stub_free(grv_object_store *store)
{
    (void)store;
    calls++;
}

static grv_status stub_open_put(const grv_call *call, grv_mutable_object_store *store,
                                const grv_locator *locator, const grv_object_put *put,
                                grv_object_sink **ret_sink, grv_error *error)
{
    (void)put;
    (void)ret_sink;
    return stub_head(call, &store->base, locator, NULL, error);
}

static grv_status stub_remove(const grv_call *call, grv_mutable_object_store *store,
                              const grv_locator *locator, grv_error *error)
{
    return stub_head(call, &store->base, locator, NULL, error);
}

static grv_status stub_copy(const grv_call *call, grv_mutable_object_store *store,
                            const grv_locator *from, const grv_locator *to, bool if_absent,
                            grv_object_info *ret_info, grv_error *error)
{
    (void)to;
    (void)if_absent;
    return stub_head(call, &store->base, from, ret_info, error);
}

static const grv_object_store_ops base_ops = {
    .name = "stub",
    .head = stub_head,
    .open_list = stub_open_list,
    .open_get = stub_open_get,
    .free = stub_free,
};

static const grv_mutable_object_store_ops ops = {
    .name = "stub",
    .open_put = stub_open_put,
    .remove = stub_remove,
    .copy = stub_copy,
};

static void tables_with_an_empty_slot_are_refused(void **state)
{
    (void)state;
    grv_error error = GRV_ERROR_INIT;
    grv_mutable_object_store store;
    grv_object_store_ops no_list = base_ops;
    no_list.open_list = NULL;
    grv_mutable_object_store_ops no_copy = ops;
    no_copy.copy = NULL;
    assert_grv_ok(grv_mutable_object_store_init(&store, &base_ops, &ops, "stub", 0, &error));
    assert_grv_status(grv_mutable_object_store_init(&store, &no_list, &ops, "stub", 0, &error),
                      GRV_INTERNAL);
    assert_grv_status(grv_mutable_object_store_init(&store, &base_ops, &no_copy, "stub", 0, &error),
                      GRV_INTERNAL);
}

static void what_a_store_cannot_do_does_not_reach_it(void **state)
{
    (void)state;
    grv_error error = GRV_ERROR_INIT;
    grv_mutable_object_store store;
    const grv_locator a = {.scheme = "stub", .bucket = "b", .path = "a"};
    const grv_locator b = {.scheme = "stub", .bucket = "b", .path = "b"};
    grv_object_sink *sink = NULL;
    assert_grv_ok(grv_mutable_object_store_init(&store, &base_ops, &ops, "stub", 0, &error));
    calls = 0;
    const grv_object_put if_absent = {.if_absent = true};
    assert_grv_status(
        grv_mutable_object_store_open_put(NULL, &store, &a, &if_absent, &sink, &error),
        GRV_UNSUPPORTED);
    assert_non_null(strstr(error.message, "stub"));
    assert_grv_status(grv_mutable_object_store_copy(NULL, &store, &a, &b, true, NULL, &error),
                      GRV_UNSUPPORTED);
    assert_int_equal(calls, 0);
    const grv_object_put plain = {0};
    assert_grv_status(grv_mutable_object_store_open_put(NULL, &store, &a, &plain, &sink, &error),
                      GRV_NOT_FOUND);
    assert_grv_status(grv_mutable_object_store_copy(NULL, &store, &a, &b, false, NULL, &error),
                      GRV_NOT_FOUND);
    assert_int_equal(calls, 2);
    store.capabilities = GRV_OBJECT_CAP_IF_ABSENT;
    assert_grv_status(
        grv_mutable_object_store_open_put(NULL, &store, &a, &if_absent, &sink, &error),
        GRV_NOT_FOUND);
    assert_int_equal(calls, 3);
}

static void locators_that_no_parser_made_do_not_reach_it(void **state)
{
    (void)state;
    grv_mutable_object_store store;
    grv_object_info info;
    grv_locator wrong[6];
    grv_error error = GRV_ERROR_INIT;
    const grv_locator good = {.scheme = "stub", .bucket = "b", .path = "a"};
    for (size_t i = 0; i < 6; i++) {
        wrong[i] = good;
    }
    wrong[0].path[0] = '\0';
    wrong[1].bucket[0] = '\0';
    wrong[2].scheme[0] = 'S';
    memcpy(wrong[3].bucket, "b/c", 4);
    memset(wrong[4].bucket, 'b', sizeof wrong[4].bucket);
    memset(wrong[5].path, 'p', sizeof wrong[5].path);
    assert_grv_ok(grv_mutable_object_store_init(&store, &base_ops, &ops, "stub", 0, &error));
    calls = 0;
    for (size_t i = 0; i < 6; i++) {
        assert_grv_status(grv_object_store_head(NULL, &store.base, &wrong[i], &info, &error),
                          GRV_INVALID_ARGUMENT);
    }
    assert_int_equal(calls, 0);
    grv_mutable_object_store_free(NULL);
    grv_mutable_object_store_free(&store);
    assert_int_equal(calls, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tables_with_an_empty_slot_are_refused),
        cmocka_unit_test(what_a_store_cannot_do_does_not_reach_it),
        cmocka_unit_test(locators_that_no_parser_made_do_not_reach_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
