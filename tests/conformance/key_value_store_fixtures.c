/* SPDX-License-Identifier: Apache-2.0 */
/* The key-value stores under test, and what their suites share. */
#include "key_value_store_fixtures.h"

#include "postgres_store.h"
#include "temp.h"

#include <graviton/backend/memory.h>
#include <graviton/backend/pg.h>
#include <graviton/backend/rocks.h>

static grv_status open_memory(const char *directory, void **context, grv_kv **ret_kv,
                              grv_error *error)
{
    (void)directory;
    (void)context;
    return grv_kv_memory_new(KV_NAMESPACES, ret_kv, error);
}

static grv_status open_rocks(const char *directory, void **context, grv_kv **ret_kv,
                             grv_error *error)
{
    (void)context;
    static const char *const names[KV_NAMESPACES] = {"meta", "root", "block"};
    const grv_rocks_config config = {
        .directory = directory,
        .namespaces = names,
        .namespace_count = KV_NAMESPACES,
        .create = true,
    };
    return grv_kv_rocks_new(&config, ret_kv, error);
}

static void close_embedded(grv_kv *kv, void **context, bool last)
{
    (void)context;
    (void)last;
    grv_kv_free(kv);
}

static grv_status open_postgres(unsigned connections, void **context, grv_kv **ret_kv,
                                grv_error *error)
{
    grv_pg *pg = NULL;
    grv_status status = test_postgres_store_open(connections, context, &pg, error);
    return status ? status : grv_kv_pg_new(pg, KV_NAMESPACES, ret_kv, error);
}

static grv_status open_pg(const char *directory, void **context, grv_kv **ret_kv, grv_error *error)
{
    (void)directory;
    return open_postgres(0, context, ret_kv, error);
}

static grv_status open_pg_one(const char *directory, void **context, grv_kv **ret_kv,
                              grv_error *error)
{
    (void)directory;
    return open_postgres(1, context, ret_kv, error);
}

static void close_pg(grv_kv *kv, void **context, bool last)
{
    grv_kv_free(kv);
    test_postgres_store_close(context, last);
}

static const kv_fixture fixtures[] = {
    {.name = "memory", .open = open_memory, .close = close_embedded},
    {.name = "rocks", .persistent = true, .open = open_rocks, .close = close_embedded},
    {.name = "pg", .persistent = true, .postgres = true, .open = open_pg, .close = close_pg},
    {.name = "pg, one connection",
     .persistent = true,
     .postgres = true,
     .open = open_pg_one,
     .close = close_pg},
};

#define FIXTURE_COUNT (sizeof fixtures / sizeof fixtures[0])

static int case_setup(void **state)
{
    kv_case *self = *state;
    grv_error error = GRV_ERROR_INIT;
    test_temp_make(self->directory);
    if (self->fixture->open(self->directory, &self->context, &self->kv, &error)) {
        print_error("%s: %s\n", self->name, error.message);
        return -1;
    }
    return 0;
}

static int case_teardown(void **state)
{
    kv_case *self = *state;
    self->fixture->close(self->kv, &self->context, true);
    self->kv = NULL;
    test_temp_remove(self->directory);
    return 0;
}

void kv_case_turn(kv_case *self)
{
    grv_error error = GRV_ERROR_INIT;
    if (self->reopen) {
        self->fixture->close(self->kv, &self->context, false);
        self->kv = NULL;
        assert_grv_ok(self->fixture->open(self->directory, &self->context, &self->kv, &error));
    }
}

int kv_suite_run(const char *suite, const kv_test tests[], size_t count)
{
    struct CMUnitTest *units = calloc(2 * FIXTURE_COUNT * count, sizeof *units);
    kv_case *cases = calloc(2 * FIXTURE_COUNT * count, sizeof *cases);
    if (!units || !cases) {
        abort();
    }
    size_t used = 0;
    for (size_t f = 0; f < FIXTURE_COUNT; f++) {
        for (int reopen = 0; reopen <= (fixtures[f].persistent ? 1 : 0); reopen++) {
            for (size_t i = 0; i < count; i++, used++) {
                kv_case *self = &cases[used];
                self->fixture = &fixtures[f];
                self->reopen = reopen;
                snprintf(self->name, sizeof self->name, "%s, %s: %s", fixtures[f].name,
                         reopen ? "reopened" : "fresh", tests[i].name);
                units[used] =
                    (struct CMUnitTest){self->name, tests[i].run, case_setup, case_teardown, self};
                if (fixtures[f].postgres) {
                    test_postgres_unit(&units[used]);
                }
            }
        }
    }
    int failed = _cmocka_run_group_tests(suite, units, used, NULL, NULL);
    free(cases);
    free(units);
    return failed;
}

uint64_t kv_suite_seed(void)
{
    const char *given = getenv("GRV_TEST_SEED");
    uint64_t seed = given ? strtoull(given, NULL, 0) : grv_now_ns();
    printf("# GRV_TEST_SEED=%llu\n", (unsigned long long)seed);
    return seed;
}

static void write_one(grv_kv *kv, const grv_kv_op *op)
{
    grv_error error = GRV_ERROR_INIT;
    const grv_kv_batch batch = {.ops = op, .op_count = 1, .durability = GRV_ORDERED};
    assert_grv_ok(grv_kv_write(NULL, kv, &batch, &error));
}

void kv_put(grv_kv *kv, unsigned ns, grv_bytes key, grv_bytes value)
{
    write_one(kv, &(grv_kv_op){.kind = GRV_KV_PUT, .ns = ns, .key = key, .value = value});
}

void kv_delete(grv_kv *kv, unsigned ns, grv_bytes key)
{
    write_one(kv, &(grv_kv_op){.kind = GRV_KV_DELETE, .ns = ns, .key = key});
}

void kv_delete_range(grv_kv *kv, unsigned ns, grv_bytes start, grv_bytes end)
{
    write_one(kv, &(grv_kv_op){.kind = GRV_KV_DELETE_RANGE, .ns = ns, .key = start, .end = end});
}

void kv_assert_value(grv_kv *kv, unsigned ns, grv_bytes key, grv_bytes value)
{
    grv_error error = GRV_ERROR_INIT;
    grv_value got = {0};
    assert_grv_ok(grv_kv_get(NULL, kv, ns, key, &got, &error));
    bool same = grv_bytes_compare(got.bytes, value) == 0;
    grv_value_done(&got);
    assert_true(same);
}

void kv_assert_absent(grv_kv *kv, unsigned ns, grv_bytes key)
{
    grv_error error = GRV_ERROR_INIT;
    grv_value untouched = {.bytes = {NULL, 77}};
    assert_grv_status(grv_kv_get(NULL, kv, ns, key, &untouched, &error), GRV_NOT_FOUND);
    assert_int_equal(untouched.bytes.size, 77);
    assert_null(untouched.release);
}
