/* SPDX-License-Identifier: Apache-2.0 */
/* The range trackers that tests/conformance/range_tracker.c runs over. */
#include "range_tracker_fixtures.h"

#include "postgres_store.h"

#include <graviton/backend/kv.h>
#include <graviton/backend/memory.h>
#include <graviton/backend/pg.h>
#include <graviton/backend/rocks.h>

/* The key-value store outlives the tracker over it: that is what there is to open again. */
static grv_status open_kv_memory(const char *dir, void **context, grv_range_tracker **ret_tracker,
                                 grv_error *error)
{
    (void)dir;
    if (!*context) {
        grv_kv *kv = NULL;
        grv_status status = grv_kv_memory_new(GRV_NS_COUNT, &kv, error);
        if (status) {
            return status;
        }
        *context = kv;
    }
    return grv_range_tracker_kv_new(*context, ret_tracker, error);
}

static void close_kv_memory(grv_range_tracker *tracker, void **context, bool last)
{
    grv_range_tracker_free(tracker);
    if (last) {
        grv_kv_free(*context);
        *context = NULL;
    }
}

static grv_status open_kv_rocks(const char *dir, void **context, grv_range_tracker **ret_tracker,
                                grv_error *error)
{
    const grv_rocks_config config = {
        .directory = dir,
        .namespaces = grv_kv_namespace_names,
        .namespace_count = GRV_NS_COUNT,
        .create = true,
    };
    grv_kv *kv = NULL;
    grv_status status = grv_kv_rocks_new(&config, &kv, error);
    if (status) {
        return status;
    }
    *context = kv;
    return grv_range_tracker_kv_new(kv, ret_tracker, error);
}

/* The database is closed each time: what is read after that came from its files. */
static void close_kv_rocks(grv_range_tracker *tracker, void **context, bool last)
{
    (void)last;
    grv_range_tracker_free(tracker);
    grv_kv_free(*context);
    *context = NULL;
}

static grv_status open_postgres(unsigned connections, void **context,
                                grv_range_tracker **ret_tracker, grv_error *error)
{
    grv_pg *pg = NULL;
    grv_status status = test_postgres_store_open(connections, context, &pg, error);
    return status ? status : grv_range_tracker_pg_new(pg, ret_tracker, error);
}

static grv_status open_pg(const char *dir, void **context, grv_range_tracker **ret_tracker,
                          grv_error *error)
{
    (void)dir;
    return open_postgres(0, context, ret_tracker, error);
}

static grv_status open_pg_one(const char *dir, void **context, grv_range_tracker **ret_tracker,
                              grv_error *error)
{
    (void)dir;
    return open_postgres(1, context, ret_tracker, error);
}

static void close_pg(grv_range_tracker *tracker, void **context, bool last)
{
    grv_range_tracker_free(tracker);
    test_postgres_store_close(context, last);
}

const tracker_fixture tracker_fixtures[] = {
    {"kv over memory", false, open_kv_memory, close_kv_memory},
    {"kv over rocks", false, open_kv_rocks, close_kv_rocks},
    {"pg", true, open_pg, close_pg},
    {"pg, one connection", true, open_pg_one, close_pg},
};
const size_t tracker_fixture_count = sizeof tracker_fixtures / sizeof tracker_fixtures[0];

void tracker_case_turn(tracker_case *self)
{
    grv_error error = GRV_ERROR_INIT;
    if (!self->reopen) {
        return;
    }
    self->fixture->close(self->tracker, &self->context, false);
    self->tracker = NULL;
    assert_grv_ok(self->fixture->open(self->directory, &self->context, &self->tracker, &error));
}

grv_locator test_locator(const char *text)
{
    grv_error error = GRV_ERROR_INIT;
    grv_locator locator;
    assert_grv_ok(grv_locator_parse(grv_bytes_of(text, strlen(text)), &locator, &error));
    return locator;
}

void test_check_ranges(grv_range_tracker *tracker, const grv_locator *locator, uint64_t generation,
                       const grv_range ranges[], size_t count)
{
    grv_error error = GRV_ERROR_INIT;
    uint64_t got = UINT64_MAX;
    grv_range_set set;
    grv_range_set_init(&set);
    assert_grv_ok(grv_range_tracker_current(NULL, tracker, locator, &got, &set, &error));
    assert_int_equal(got, generation);
    test_check_set(&set, ranges, count);
    grv_range_set_done(&set);
}

void test_check_set(const grv_range_set *set, const grv_range ranges[], size_t count)
{
    assert_int_equal(set->count, count);
    for (size_t i = 0; i < count; i++) {
        assert_int_equal(set->ranges[i].first, ranges[i].first);
        assert_int_equal(set->ranges[i].end, ranges[i].end);
    }
}

size_t test_list_tracked(grv_range_tracker *tracker, const grv_tracked_list *list, size_t capacity,
                         grv_tracked items[], size_t max)
{
    grv_error error = GRV_ERROR_INIT;
    grv_tracked_cursor *cursor = NULL;
    assert_grv_ok(grv_range_tracker_open_list(NULL, tracker, list, &cursor, &error));
    size_t total = 0;
    size_t count = 1;
    while (count > 0) {
        size_t room = capacity < max - total ? capacity : max - total;
        assert_true(room > 0);
        assert_grv_ok(grv_tracked_cursor_next(NULL, cursor, items + total, room, &count, &error));
        total += count;
    }
    grv_tracked after;
    assert_grv_ok(grv_tracked_cursor_next(NULL, cursor, &after, 1, &count, &error));
    assert_int_equal(count, 0);
    grv_tracked_cursor_free(cursor);
    return total;
}
