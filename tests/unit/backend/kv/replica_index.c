/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the conformance suite cannot see of the replica index over a key-value store: where things
 * lie, what one change writes, races, and damage.
 */
#include "backend/kv/replica_index.h"

#include "indexes.h"

typedef struct fixture {
    watched_kv kv;
    grv_replica_index *index;
    grv_replica_key key; /* a pack's */
    uint8_t key_bytes[GRV_REPLICA_KEY_BYTES_MAX];
    grv_bytes key_view;
    grv_locator a;
    grv_locator b;
} fixture;

static int setup(void **state)
{
    static fixture f;
    grv_error error = GRV_ERROR_INIT;
    f = (fixture){.key = {.kind = GRV_REPLICA_PACK, .of.pack = {{1, 2, 3}, 4}}};
    watched_kv_init(&f.kv);
    assert_grv_ok(grv_replica_index_kv_new(&f.kv.base, &f.index, &error));
    f.key_view = grv_bytes_of(f.key_bytes, grv_replica_key_encode(&f.key, f.key_bytes));
    f.a = locator_of("s3://b/a");
    f.b = locator_of("s3://b/b");
    *state = &f;
    return 0;
}

static int teardown(void **state)
{
    fixture *f = *state;
    grv_replica_index_free(f->index);
    grv_kv_free(&f->kv.base);
    return 0;
}

static size_t count_replicas(fixture *f)
{
    grv_error error = GRV_ERROR_INIT;
    grv_locator_set set;
    grv_locator_set_init(&set);
    assert_grv_ok(grv_replica_index_replicas(NULL, f->index, &f->key, &set, &error));
    size_t count = set.count;
    grv_locator_set_done(&set);
    return count;
}

static void a_change_is_one_durable_write_in_both_directions(void **state)
{
    fixture *f = *state;
    grv_error error = GRV_ERROR_INIT;
    assert_grv_ok(grv_replica_index_add(NULL, f->index, &f->key, &f->a, &error));
    assert_int_equal(f->kv.writes, 1);
    assert_int_equal(f->kv.op_count, 2);
    assert_int_equal(f->kv.durability, GRV_DURABLE);
    uint8_t row[GRV_REPLICA_ROW_MAX];
    grv_value value = {0};
    size_t size = grv_replica_row_encode(&f->a, &f->key, row);
    assert_grv_ok(
        grv_kv_get(NULL, f->kv.inner, GRV_NS_LOCATED, grv_bytes_of(row, size), &value, &error));
    assert_int_equal(value.bytes.size, 0);
    grv_value_done(&value);
    assert_grv_ok(grv_kv_get(NULL, f->kv.inner, GRV_NS_REPLICA, f->key_view, &value, &error));
    grv_value_done(&value);
    assert_grv_ok(grv_replica_index_add(NULL, f->index, &f->key, &f->b, &error));
    assert_int_equal(watched_kv_rows(&f->kv, GRV_NS_REPLICA), 1);
    assert_int_equal(watched_kv_rows(&f->kv, GRV_NS_LOCATED), 2);
    /* Nothing to change: still one write, which waits until what was read is durable. */
    f->kv.writes = 0;
    assert_grv_ok(grv_replica_index_add(NULL, f->index, &f->key, &f->b, &error));
    assert_int_equal(f->kv.writes, 1);
    assert_int_equal(f->kv.op_count, 0);
    assert_int_equal(f->kv.durability, GRV_DURABLE);
    grv_locator_set none = {0};
    assert_grv_ok(grv_replica_index_update(NULL, f->index, &f->key, &none, &error));
    assert_int_equal(f->kv.writes, 2);
    assert_int_equal(f->kv.op_count, 3);
    assert_int_equal(watched_kv_rows(&f->kv, GRV_NS_REPLICA), 0);
    assert_int_equal(watched_kv_rows(&f->kv, GRV_NS_LOCATED), 0);
}

/* On a full disk what makes room must work. */
static void only_changes_that_make_room_may_use_the_reserve(void **state)
{
    fixture *f = *state;
    grv_error error = GRV_ERROR_INIT;
    grv_locator_set set;
    grv_locator_set_init(&set);
    assert_grv_ok(grv_replica_index_add(NULL, f->index, &f->key, &f->a, &error));
    assert_false(f->kv.frees);
    assert_grv_ok(grv_locator_set_add(&set, &f->b, &error));
    assert_grv_ok(grv_replica_index_update(NULL, f->index, &f->key, &set, &error));
    assert_false(f->kv.frees);
    assert_grv_ok(grv_replica_index_remove(NULL, f->index, &f->key, &f->b, &error));
    assert_true(f->kv.frees);
    assert_grv_ok(grv_replica_index_update(NULL, f->index, &f->key, &set, &error));
    grv_locator_set_done(&set);
    assert_grv_ok(grv_replica_index_update(NULL, f->index, &f->key, &set, &error));
    assert_true(f->kv.frees);
}

/* Somebody else's change, through an index of its own. */
static void add_b(void *context)
{
    fixture *f = context;
    grv_error error = GRV_ERROR_INIT;
    grv_replica_index *other = NULL;
    assert_grv_ok(grv_replica_index_kv_new(f->kv.inner, &other, &error));
    assert_grv_ok(grv_replica_index_add(NULL, other, &f->key, &f->b, &error));
    grv_replica_index_free(other);
}

static void a_change_that_lost_a_race_is_made_again(void **state)
{
    fixture *f = *state;
    grv_error error = GRV_ERROR_INIT;
    f->kv.before = add_b; /* before there is any record */
    f->kv.context = f;
    assert_grv_ok(grv_replica_index_add(NULL, f->index, &f->key, &f->a, &error));
    assert_int_equal(f->kv.writes, 2);
    assert_int_equal(count_replicas(f), 2);
    assert_grv_ok(grv_replica_index_remove(NULL, f->index, &f->key, &f->b, &error));
    f->kv.before = add_b; /* ... and where there is one */
    grv_locator_set none = {0};
    assert_grv_ok(grv_replica_index_update(NULL, f->index, &f->key, &none, &error));
    assert_int_equal(count_replicas(f), 0);
    assert_int_equal(watched_kv_rows(&f->kv, GRV_NS_LOCATED), 0);
}

static void a_race_that_is_never_won_ends(void **state)
{
    fixture *f = *state;
    grv_error error = GRV_ERROR_INIT;
    f->kv.refuse = SIZE_MAX;
    assert_grv_status(grv_replica_index_add(NULL, f->index, &f->key, &f->a, &error),
                      GRV_UNAVAILABLE);
    assert_int_equal(f->kv.writes, GRV_REPLICA_ATTEMPTS);
    assert_non_null(strstr(error.message, "replicas of pack:"));
    f->kv.refuse = 0;
    assert_int_equal(count_replicas(f), 0);
}

static void a_damaged_record_is_told_and_an_update_mends_it(void **state)
{
    fixture *f = *state;
    grv_error error = GRV_ERROR_INIT;
    grv_replica_key other = f->key;
    other.of.pack.number++;
    assert_grv_ok(grv_replica_index_add(NULL, f->index, &f->key, &f->a, &error));
    assert_grv_ok(grv_replica_index_add(NULL, f->index, &f->key, &f->b, &error));
    assert_grv_ok(grv_replica_index_add(NULL, f->index, &other, &f->a, &error));
    watched_kv_put(&f->kv, GRV_NS_REPLICA, f->key_view, grv_bytes_of("junk", 4));
    grv_locator_set set;
    grv_locator_set_init(&set);
    assert_grv_ok(grv_locator_set_add(&set, &f->b, &error));
    assert_grv_status(grv_replica_index_replicas(NULL, f->index, &f->key, &set, &error),
                      GRV_CORRUPT);
    assert_non_null(strstr(error.message, "replicas of pack:"));
    assert_int_equal(set.count, 1); /* unchanged */
    assert_grv_status(grv_replica_index_add(NULL, f->index, &f->key, &f->a, &error), GRV_CORRUPT);
    assert_grv_status(grv_replica_index_remove(NULL, f->index, &f->key, &f->a, &error),
                      GRV_CORRUPT);
    assert_grv_ok(grv_replica_index_update(NULL, f->index, &f->key, &set, &error));
    assert_int_equal(count_replicas(f), 1);
    assert_int_equal(watched_kv_rows(&f->kv, GRV_NS_LOCATED), 2); /* b's, and the other key's */
    /* Also where the rows are right already, and where nothing is to stay. */
    watched_kv_put(&f->kv, GRV_NS_REPLICA, f->key_view, grv_bytes_of("junk", 4));
    assert_grv_ok(grv_replica_index_update(NULL, f->index, &f->key, &set, &error));
    assert_int_equal(count_replicas(f), 1);
    grv_locator_set_done(&set);
    watched_kv_put(&f->kv, GRV_NS_REPLICA, f->key_view, grv_bytes_of("junk", 4));
    assert_grv_ok(grv_replica_index_update(NULL, f->index, &f->key, &set, &error));
    assert_int_equal(watched_kv_rows(&f->kv, GRV_NS_REPLICA), 1);
    assert_int_equal(watched_kv_rows(&f->kv, GRV_NS_LOCATED), 1);
}

static void a_newer_record_is_left_alone(void **state)
{
    fixture *f = *state;
    grv_error error = GRV_ERROR_INIT;
    grv_locator_set set;
    grv_locator_set_init(&set);
    assert_grv_ok(grv_replica_index_add(NULL, f->index, &f->key, &f->a, &error));
    watched_kv_make_newer(&f->kv, GRV_NS_REPLICA, f->key_view);
    f->kv.writes = 0;
    assert_grv_status(grv_replica_index_replicas(NULL, f->index, &f->key, &set, &error),
                      GRV_UNSUPPORTED);
    assert_grv_status(grv_replica_index_update(NULL, f->index, &f->key, &set, &error),
                      GRV_UNSUPPORTED);
    assert_grv_status(grv_replica_index_add(NULL, f->index, &f->key, &f->b, &error),
                      GRV_UNSUPPORTED);
    assert_int_equal(f->kv.writes, 0);
}

static void a_damaged_row_does_not_hide_the_others(void **state)
{
    fixture *f = *state;
    grv_error error = GRV_ERROR_INIT;
    assert_grv_ok(grv_replica_index_add(NULL, f->index, &f->key, &f->a, &error));
    assert_grv_ok(grv_replica_index_add(NULL, f->index, &f->key, &f->b, &error));
    watched_kv_put(&f->kv, GRV_NS_LOCATED, grv_bytes_of("s3://b/aa", 9), (grv_bytes){0});
    for (size_t capacity = 1; capacity <= 3; capacity++) {
        grv_replica_cursor *cursor = NULL;
        grv_replica items[3];
        size_t count = 77;
        assert_grv_ok(
            grv_replica_index_open_list(NULL, f->index, &(grv_replica_list){0}, &cursor, &error));
        assert_grv_ok(grv_replica_cursor_next(NULL, cursor, items, capacity, &count, &error));
        assert_int_equal(count, 1);
        assert_int_equal(grv_locator_compare(&items[0].locator, &f->a), 0);
        assert_grv_status(grv_replica_cursor_next(NULL, cursor, items, capacity, &count, &error),
                          GRV_CORRUPT);
        assert_non_null(strstr(error.message, "list of replicas"));
        assert_grv_ok(grv_replica_cursor_next(NULL, cursor, items, capacity, &count, &error));
        assert_int_equal(count, 1);
        assert_int_equal(grv_locator_compare(&items[0].locator, &f->b), 0);
        assert_grv_ok(grv_replica_cursor_next(NULL, cursor, items, capacity, &count, &error));
        assert_int_equal(count, 0);
        grv_replica_cursor_free(cursor);
    }
}

static void a_list_that_failed_stays_failed(void **state)
{
    fixture *f = *state;
    grv_error error = GRV_ERROR_INIT;
    grv_cancel cancel = {0};
    grv_cancel_raise(&cancel);
    const grv_call call = {.cancel = &cancel};
    grv_replica_cursor *cursor = NULL;
    grv_replica item;
    size_t count = 77;
    assert_grv_ok(grv_replica_index_add(NULL, f->index, &f->key, &f->a, &error));
    assert_grv_ok(
        grv_replica_index_open_list(NULL, f->index, &(grv_replica_list){0}, &cursor, &error));
    assert_grv_status(grv_replica_cursor_next(&call, cursor, &item, 1, &count, &error),
                      GRV_CANCELLED);
    assert_grv_status(grv_replica_cursor_next(NULL, cursor, &item, 1, &count, &error),
                      GRV_INVALID_ARGUMENT);
    assert_int_equal(count, 77);
    grv_replica_cursor_free(cursor);
}

static void a_store_without_the_namespaces_is_refused(void **state)
{
    (void)state;
    grv_error error = GRV_ERROR_INIT;
    grv_kv *kv = NULL;
    grv_replica_index *index = NULL;
    assert_grv_ok(grv_kv_memory_new(GRV_NS_LOCATED, &kv, &error));
    assert_grv_status(grv_replica_index_kv_new(kv, &index, &error), GRV_INVALID_ARGUMENT);
    assert_null(index);
    grv_kv_free(kv);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_change_is_one_durable_write_in_both_directions),
        TEST(only_changes_that_make_room_may_use_the_reserve),
        TEST(a_change_that_lost_a_race_is_made_again),
        TEST(a_race_that_is_never_won_ends),
        TEST(a_damaged_record_is_told_and_an_update_mends_it),
        TEST(a_newer_record_is_left_alone),
        TEST(a_damaged_row_does_not_hide_the_others),
        TEST(a_list_that_failed_stays_failed),
        TEST(a_store_without_the_namespaces_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
