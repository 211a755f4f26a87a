/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The key-value store over PostgreSQL where the conformance suite does not look: several handles as
 * several processes have them, connections that die, batches that do not fit one statement, and
 * what reaches the server's log.
 */
#include "postgres_store.h"
#include "temp.h"
#include "test.h"

#include <pthread.h>
#include <unistd.h>

#define HANDLES 3u

typedef struct rig {
    void *stores[HANDLES]; /* of one database */
    grv_pg *pgs[HANDLES];
    grv_kv *kvs[HANDLES];
} rig;

static const char *conninfo_of(const rig *made)
{
    return ((const test_postgres_store *)made->stores[0])->conninfo;
}

static int setup(void **state)
{
    rig *made = calloc(1, sizeof *made);
    grv_error error = GRV_ERROR_INIT;
    for (unsigned i = 0; i < HANDLES; i++) {
        if (i > 0) {
            test_postgres_store *store = calloc(1, sizeof *store);
            snprintf(store->conninfo, sizeof store->conninfo, "%s", conninfo_of(made));
            made->stores[i] = store;
        }
        assert_grv_ok(test_postgres_store_open(2, &made->stores[i], &made->pgs[i], &error));
        assert_grv_ok(grv_kv_pg_new(made->pgs[i], 3, &made->kvs[i], &error));
    }
    *state = made;
    return 0;
}

static int teardown(void **state)
{
    rig *made = *state;
    for (unsigned i = HANDLES; i-- > 0;) {
        grv_kv_free(made->kvs[i]);
        test_postgres_store_close(&made->stores[i], i == 0);
        free(made->stores[i]);
    }
    free(made);
    return 0;
}

static bool is_bounded(void)
{
    return getenv("GRAVITON_TEST_BOUNDED") != NULL;
}

static grv_bytes text(const char *string)
{
    return grv_bytes_of(string, strlen(string));
}

/* One number, or -1 for none, as the server's test user sees it. */
static int64_t ask(const rig *made, const char *sql)
{
    PGconn *native = PQconnectdb(conninfo_of(made));
    PGresult *result = PQexec(native, sql);
    if (PQresultStatus(result) != PGRES_TUPLES_OK) {
        fail_msg("%s: %s", sql, PQerrorMessage(native));
    }
    int64_t number = PQgetisnull(result, 0, 0) ? -1 : strtoll(PQgetvalue(result, 0, 0), NULL, 10);
    PQclear(result);
    PQfinish(native);
    return number;
}

/* ---- Many at once ---- */

#define THREADS 6u

typedef struct worker {
    pthread_t thread;
    grv_kv *kv;
    unsigned number;
    unsigned rounds;
    unsigned won;
    unsigned unknown; /* may have happened or not */
    grv_status wrong;
    grv_error error;
} worker;

static worker workers[THREADS];

static void run_workers(rig *made, unsigned rounds, void *(*run)(void *))
{
    for (unsigned i = 0; i < THREADS; i++) {
        workers[i] = (worker){.kv = made->kvs[i % HANDLES], .number = i, .rounds = rounds};
        assert_int_equal(pthread_create(&workers[i].thread, NULL, run, &workers[i]), 0);
    }
}

static void join_workers(void)
{
    for (unsigned i = 0; i < THREADS; i++) {
        pthread_join(workers[i].thread, NULL);
    }
    for (unsigned i = 0; i < THREADS; i++) {
        if (workers[i].wrong) {
            fail_msg("thread %u: %s: %s", i, grv_status_name(workers[i].wrong),
                     workers[i].error.message);
        }
    }
}

/* Adds one to the counter if it still is what was read. */
static grv_status count_one(worker *self)
{
    uint64_t was = 0;
    grv_value value = {0};
    grv_status status = grv_kv_get(NULL, self->kv, 0, text("counter"), &value, &self->error);
    if (status) {
        return status;
    }
    memcpy(&was, value.bytes.data, sizeof was);
    uint64_t now = was + 1;
    const grv_kv_op op = {
        .kind = GRV_KV_PUT, .key = text("counter"), .value = grv_bytes_of(&now, sizeof now)};
    const grv_kv_guard guard = {
        .kind = GRV_KV_EQUALS, .key = text("counter"), .value = value.bytes};
    const grv_kv_batch batch = {.ops = &op,
                                .op_count = 1,
                                .guards = &guard,
                                .guard_count = 1,
                                .durability = self->won % 2 ? GRV_DURABLE : GRV_ORDERED};
    status = grv_kv_write(NULL, self->kv, &batch, &self->error);
    grv_value_done(&value);
    return status;
}

static void *count_up(void *argument)
{
    worker *self = argument;
    while (self->won < self->rounds && !self->wrong) {
        grv_status status = count_one(self);
        self->won += status == GRV_OK;
        self->unknown += status == GRV_UNAVAILABLE;
        self->wrong = status == GRV_CONFLICT || status == GRV_UNAVAILABLE ? GRV_OK : status;
    }
    return NULL;
}

static void put_counter(rig *made)
{
    grv_error error = GRV_ERROR_INIT;
    const uint64_t zero = 0;
    const grv_kv_op op = {
        .kind = GRV_KV_PUT, .key = text("counter"), .value = grv_bytes_of(&zero, sizeof zero)};
    const grv_kv_batch batch = {.ops = &op, .op_count = 1};
    assert_grv_ok(grv_kv_write(NULL, made->kvs[0], &batch, &error));
}

static uint64_t counted(rig *made)
{
    grv_error error = GRV_ERROR_INIT;
    grv_value value = {0};
    uint64_t number = 0;
    assert_grv_ok(grv_kv_get(NULL, made->kvs[0], 0, text("counter"), &value, &error));
    assert_int_equal(value.bytes.size, sizeof number);
    memcpy(&number, value.bytes.data, sizeof number);
    grv_value_done(&value);
    return number;
}

static void guards_hold_between_handles(void **state)
{
    rig *made = *state;
    put_counter(made);
    run_workers(made, 30, count_up);
    join_workers();
    assert_int_equal(counted(made), THREADS * 30);
}

/* Whatever dies under them, batches happen once or not at all. */
static void batches_survive_their_connections(void **state)
{
    rig *made = *state;
    put_counter(made);
    run_workers(made, is_bounded() ? 10 : 40, count_up);
    for (unsigned i = 0; i < 12; i++) {
        usleep(50000);
        test_postgres_sql(conninfo_of(made),
                          "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE "
                          "datname = current_database() AND pid <> pg_backend_pid()");
    }
    join_workers();
    uint64_t won = 0;
    uint64_t unknown = 0;
    for (unsigned i = 0; i < THREADS; i++) {
        won += workers[i].won;
        unknown += workers[i].unknown;
    }
    assert_in_range(counted(made), won, won + unknown);
}

/* Puts and deletes of the same few keys, in any order, with ranges and guards among them. */
static void *write_anything(void *argument)
{
    worker *self = argument;
    uint64_t seed = self->number;
    for (unsigned round = 0; round < self->rounds && !self->wrong; round++) {
        grv_kv_op ops[24];
        uint8_t keys[24];
        uint64_t kind = test_random(&seed) % 8;
        size_t count = 0;
        for (; count < 24; count++) {
            uint64_t pick = test_random(&seed);
            keys[count] = (uint8_t)(pick % 30);
            ops[count] = (grv_kv_op){.kind = pick >> 8 & 3 && kind ? GRV_KV_PUT : GRV_KV_DELETE,
                                     .ns = pick >> 16 & 1,
                                     .key = grv_bytes_of(&keys[count], 1),
                                     .value = text("v")};
        }
        if (kind == 1) {
            ops[5].kind = GRV_KV_DELETE_RANGE;
            ops[5].end = grv_bytes_of(&keys[6], 1);
        }
        const grv_kv_guard guard = {.kind = GRV_KV_ABSENT, .ns = 2, .key = ops[0].key};
        const grv_kv_batch batch = {.ops = ops,
                                    .op_count = count,
                                    .guards = &guard,
                                    .guard_count = kind == 2,
                                    .durability = GRV_ORDERED};
        self->wrong = grv_kv_write(NULL, self->kv, &batch, &self->error);
    }
    return NULL;
}

static void batches_never_wait_in_a_circle(void **state)
{
    rig *made = *state;
    run_workers(made, is_bounded() ? 60 : 300, write_anything);
    join_workers();
    /* Connections tell their counts when they end. */
    for (unsigned i = 0; i < HANDLES; i++) {
        grv_kv_free(made->kvs[i]);
        made->kvs[i] = NULL;
        test_postgres_store_close(&made->stores[i], false);
    }
    usleep(100000);
    assert_int_equal(
        ask(made, "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()"), 0);
}

/* ---- Batches of all sizes ---- */

/* Every kind of operation, several times to a key: what is left is what a table says. */
static void the_largest_batch_does_what_its_operations_say(void **state)
{
    rig *made = *state;
    grv_error error = GRV_ERROR_INIT;
    static const uint8_t filler[200];
    const size_t count = GRV_KV_BATCH_MAX;
    const size_t key_count = 20000;
    grv_kv_op *ops = calloc(count, sizeof *ops);
    uint8_t(*keys)[3] = calloc(key_count, sizeof *keys);
    size_t *owners = calloc(key_count, sizeof *owners); /* operation of the value, and 1 */
    uint64_t seed = 11;
    for (size_t i = 0; i < key_count; i++) {
        memcpy(keys[i], (uint8_t[3]){(uint8_t)(i >> 16), (uint8_t)(i >> 8), (uint8_t)i}, 3);
    }
    for (size_t i = 0; i < count; i++) {
        uint64_t pick = test_random(&seed);
        size_t key = pick % key_count;
        ops[i] = (grv_kv_op){.kind = GRV_KV_PUT, .ns = 1, .key = grv_bytes_of(keys[key], 3)};
        if ((pick >> 32 & 0xff) == 0) {
            size_t end = key + (pick >> 40) % 100;
            ops[i].kind = GRV_KV_DELETE_RANGE;
            ops[i].end = end < key_count ? grv_bytes_of(keys[end], 3) : (grv_bytes){0};
            for (size_t k = key; k < key_count && k < end; k++) {
                owners[k] = 0;
            }
        } else if ((pick >> 32 & 3) == 0) {
            ops[i].kind = GRV_KV_DELETE;
            owners[key] = 0;
        } else {
            ops[i].value = grv_bytes_of(filler, i % 200); /* told apart by their lengths */
            owners[key] = i + 1;
        }
    }
    const grv_kv_batch batch = {.ops = ops, .op_count = count};
    for (int turn = 0; turn < 2; turn++) { /* the second time over what the first has left */
        assert_grv_ok(grv_kv_write(NULL, made->kvs[turn], &batch, &error));
        const grv_kv_scan scan = {.ns = 1};
        grv_kv_cursor *cursor = NULL;
        grv_kv_item item;
        assert_grv_ok(grv_kv_open_scan(NULL, made->kvs[2], &scan, &cursor, &error));
        for (size_t k = 0; k < key_count; k++) {
            if (owners[k] > 0) {
                assert_grv_ok(grv_kv_cursor_next(NULL, cursor, &item, &error));
                assert_memory_equal(item.key.data, keys[k], 3);
                assert_int_equal(item.value.size, (owners[k] - 1) % 200);
            }
        }
        assert_grv_status(grv_kv_cursor_next(NULL, cursor, &item, &error), GRV_NOT_FOUND);
        grv_kv_cursor_free(cursor);
    }
    free(owners);
    free(keys);
    free(ops);
}

/* Writes `count` keys of the longest value, together with a short one at each end. */
static grv_status write_long(grv_kv *kv, uint8_t *value, size_t count, const grv_kv_guard *guard)
{
    grv_kv_op ops[34];
    uint8_t keys[34];
    assert_true(count + 2 <= 34);
    for (size_t i = 0; i < count + 2; i++) {
        keys[i] = (uint8_t)i;
        size_t size = i > 0 && i <= count ? GRV_KV_VALUE_MAX : 1;
        ops[i] = (grv_kv_op){.kind = GRV_KV_PUT,
                             .key = grv_bytes_of(&keys[i], 1),
                             .value = grv_bytes_of(value, size)};
    }
    const grv_kv_batch batch = {
        .ops = ops, .op_count = count + 2, .guards = guard, .guard_count = guard != NULL};
    return grv_kv_write(NULL, kv, &batch, NULL);
}

static void long_values_go_and_come_together(void **state)
{
    rig *made = *state;
    grv_error error = GRV_ERROR_INIT;
    const char *wanted = getenv("GRV_TEST_LONG_VALUES"); /* 17 are more than half a GiB */
    const size_t count = wanted ? strtoul(wanted, NULL, 10) : 3;
    uint8_t *value = malloc(GRV_KV_VALUE_MAX);
    uint64_t seed = 3;
    test_random_fill(&seed, value, GRV_KV_VALUE_MAX);
    const grv_kv_guard absent = {.kind = GRV_KV_ABSENT, .key = grv_bytes_of("\x01", 1)};
    assert_int_equal(write_long(made->kvs[0], value, count, &absent), GRV_OK);
    /* The same again must not hold, and leaves what is there. */
    value[0]++;
    assert_int_equal(write_long(made->kvs[1], value, count, &absent), GRV_CONFLICT);
    value[0]--;
    const grv_kv_guard equal = {.kind = GRV_KV_EQUALS,
                                .key = grv_bytes_of("\x02", 1),
                                .value = grv_bytes_of(value, GRV_KV_VALUE_MAX)};
    assert_int_equal(write_long(made->kvs[2], value, 1, &equal), GRV_OK);
    uint8_t keys[36];
    grv_bytes asked[36];
    grv_value values[36];
    grv_status statuses[36];
    for (size_t i = 0; i < count + 4; i++) {
        keys[i] = (uint8_t)i;
        asked[i] = grv_bytes_of(&keys[i], 1);
    }
    assert_grv_ok(
        grv_kv_multi_get(NULL, made->kvs[1], 0, asked, count + 4, values, statuses, &error));
    for (size_t i = 0; i < count + 4; i++) {
        assert_int_equal(statuses[i], i < count + 2 ? GRV_OK : GRV_NOT_FOUND);
        bool is_long = i > 0 && i <= count && i != 2; /* the last batch made the second short */
        size_t size = is_long ? GRV_KV_VALUE_MAX : i < count + 2;
        assert_int_equal(values[i].bytes.size, size);
        assert_true(size == 0 || memcmp(values[i].bytes.data, value, size) == 0);
        grv_value_done(&values[i]);
    }
    free(value);
}

/* ---- Details ---- */

static void every_byte_sorts_as_it_should(void **state)
{
    rig *made = *state;
    grv_error error = GRV_ERROR_INIT;
    static uint8_t keys[512][2];
    static grv_kv_op ops[512];
    for (size_t i = 0; i < 512; i++) { /* b, then b and something, for each byte b */
        keys[i][0] = (uint8_t)(i / 2);
        keys[i][1] = (uint8_t)(i * 37);
        ops[i * 259 % 512] = (grv_kv_op){.kind = GRV_KV_PUT,
                                         .ns = 2,
                                         .key = grv_bytes_of(keys[i], 1 + i % 2),
                                         .value = grv_bytes_of(keys[i], 2)};
    }
    const grv_kv_batch batch = {.ops = ops, .op_count = 512};
    assert_grv_ok(grv_kv_write(NULL, made->kvs[0], &batch, &error));
    for (int reverse = 0; reverse < 2; reverse++) {
        const grv_kv_scan scan = {.ns = 2, .reverse = reverse};
        grv_kv_cursor *cursor = NULL;
        grv_kv_item item;
        assert_grv_ok(grv_kv_open_scan(NULL, made->kvs[0], &scan, &cursor, &error));
        for (size_t n = 0; n < 512; n++) {
            size_t i = reverse ? 511 - n : n;
            assert_grv_ok(grv_kv_cursor_next(NULL, cursor, &item, &error));
            assert_int_equal(item.key.size, 1 + i % 2);
            assert_memory_equal(item.key.data, keys[i], item.key.size);
            assert_memory_equal(item.value.data, keys[i], 2);
        }
        assert_grv_status(grv_kv_cursor_next(NULL, cursor, &item, &error), GRV_NOT_FOUND);
        grv_kv_cursor_free(cursor);
    }
}

/* Ordered writes wait for nothing; what comes after them takes them along, even if it itself
 * changes nothing. */
static void durable_batches_take_ordered_ones_along(void **state)
{
    rig *made = *state;
    grv_error error = GRV_ERROR_INIT;
    const grv_kv_op put = {.kind = GRV_KV_PUT, .key = text("k"), .value = text("v")};
    const grv_kv_op none = {.kind = GRV_KV_DELETE, .key = text("never there")};
    const grv_kv_guard guard = {.kind = GRV_KV_PRESENT, .key = text("k")};
    for (unsigned way = 0; way < 8; way++) {
        const grv_kv_batch ordered = {.ops = &put, .op_count = 1, .durability = GRV_ORDERED};
        char sql[160];
        assert_grv_ok(grv_kv_write(NULL, made->kvs[0], &ordered, &error));
        int64_t end = ask(made, "SELECT pg_current_wal_insert_lsn() - '0/0'::pg_lsn");
        grv_kv_batch durable = {.ops = &none, .guards = &guard};
        durable.op_count = way % 4 < 2;
        durable.guard_count = way % 2;
        if (way % 4 == 3) {
            assert_grv_ok(grv_kv_flush(NULL, made->kvs[0], &error));
        } else {
            assert_grv_ok(grv_kv_write(NULL, made->kvs[0], &durable, &error));
        }
        snprintf(sql, sizeof sql,
                 "SELECT (pg_current_wal_flush_lsn() - '0/0'::pg_lsn >= %lld)::int",
                 (long long)end);
        assert_int_equal(ask(made, sql), 1);
    }
}

int main(void)
{
    test_postgres_need();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(guards_hold_between_handles, setup, teardown),
        cmocka_unit_test_setup_teardown(batches_survive_their_connections, setup, teardown),
        cmocka_unit_test_setup_teardown(batches_never_wait_in_a_circle, setup, teardown),
        cmocka_unit_test_setup_teardown(the_largest_batch_does_what_its_operations_say, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(long_values_go_and_come_together, setup, teardown),
        cmocka_unit_test_setup_teardown(every_byte_sorts_as_it_should, setup, teardown),
        cmocka_unit_test_setup_teardown(durable_batches_take_ordered_ones_along, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
