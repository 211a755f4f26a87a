/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The replica index and the range tracker over PostgreSQL where their conformance suites do not
 * look: limits under concurrency, connections that die, and rows that somebody else has damaged.
 */
#include "postgres_store.h"
#include "temp.h"
#include "test.h"

#include <pthread.h>
#include <unistd.h>

#define HANDLES 2u
#define THREADS 6u

typedef struct rig {
    char conninfo[512];
    grv_pg *pgs[HANDLES];
    grv_replica_index *indexes[HANDLES];
    grv_range_tracker *trackers[HANDLES];
} rig;

static int setup(void **state)
{
    rig *made = calloc(1, sizeof *made);
    grv_error error = GRV_ERROR_INIT;
    test_postgres_make_store(made->conninfo);
    for (unsigned i = 0; i < HANDLES; i++) {
        const grv_pg_config config = {.conninfo = made->conninfo, .connections = 2};
        assert_grv_ok(grv_pg_open(NULL, &config, &made->pgs[i], &error));
        assert_grv_ok(grv_replica_index_pg_new(made->pgs[i], &made->indexes[i], &error));
        assert_grv_ok(grv_range_tracker_pg_new(made->pgs[i], &made->trackers[i], &error));
    }
    *state = made;
    return 0;
}

static int teardown(void **state)
{
    rig *made = *state;
    for (unsigned i = 0; i < HANDLES; i++) {
        grv_replica_index_free(made->indexes[i]);
        grv_range_tracker_free(made->trackers[i]);
        grv_pg_close(made->pgs[i]);
    }
    test_postgres_remove(made->conninfo);
    free(made);
    return 0;
}

static grv_locator numbered(unsigned number)
{
    grv_locator locator = {.scheme = "fs", .bucket = "b"};
    snprintf(locator.path, sizeof locator.path, "%05u", number);
    return locator;
}

static const grv_replica_key pack = {.kind = GRV_REPLICA_PACK, .of.pack = {.number = 7}};

typedef struct worker {
    pthread_t thread;
    grv_replica_index *index;
    grv_range_tracker *tracker;
    unsigned number;
    unsigned won;
    unsigned refused;
    grv_status wrong;
    grv_error error;
    grv_range_set claimed; /* what merges called new */
    grv_range_set asked;   /* ranges of all merges, those in doubt too */
} worker;

static worker workers[THREADS];

static void run_workers(rig *made, void *(*run)(void *))
{
    for (unsigned i = 0; i < THREADS; i++) {
        workers[i] = (worker){.index = made->indexes[i % HANDLES],
                              .tracker = made->trackers[i % HANDLES],
                              .number = i};
        grv_range_set_init(&workers[i].claimed);
        grv_range_set_init(&workers[i].asked);
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

/* ---- Replicas ---- */

#define FREE 5u

static void *add_eight(void *argument)
{
    worker *self = argument;
    for (unsigned i = 0; i < 8 && !self->wrong; i++) {
        grv_locator locator = numbered(5000 + 8 * self->number + i);
        grv_status status = grv_replica_index_add(NULL, self->index, &pack, &locator, &self->error);
        self->won += status == GRV_OK;
        self->refused += status == GRV_LIMIT_EXCEEDED;
        self->wrong = status == GRV_LIMIT_EXCEEDED ? GRV_OK : status;
    }
    return NULL;
}

static void a_key_never_has_too_many_locators(void **state)
{
    rig *made = *state;
    grv_error error = GRV_ERROR_INIT;
    grv_locator_set set;
    grv_locator_set_init(&set);
    for (unsigned i = 0; i < GRV_LOCATOR_SET_MAX - FREE; i++) {
        grv_locator locator = numbered(i);
        assert_grv_ok(grv_locator_set_add(&set, &locator, &error));
    }
    assert_grv_ok(grv_replica_index_update(NULL, made->indexes[0], &pack, &set, &error));
    /* Whoever does not wait for others has counted before they commit. */
    test_postgres_sql(made->conninfo,
                      "CREATE FUNCTION public.slow() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
                      "PERFORM pg_catalog.pg_sleep(0.03); RETURN NULL; END $$;"
                      "CREATE TRIGGER slow AFTER INSERT ON graviton.location FOR EACH ROW "
                      "EXECUTE FUNCTION public.slow()");
    run_workers(made, add_eight);
    join_workers();
    unsigned won = 0;
    unsigned refused = 0;
    for (unsigned i = 0; i < THREADS; i++) {
        won += workers[i].won;
        refused += workers[i].refused;
    }
    assert_int_equal(won, FREE);
    assert_int_equal(refused, 8 * THREADS - FREE);
    assert_grv_ok(grv_replica_index_replicas(NULL, made->indexes[1], &pack, &set, &error));
    assert_int_equal(set.count, GRV_LOCATOR_SET_MAX);
    grv_locator_set_done(&set);
}

/* Puts rows in that the schema would refuse. */
static void damage(rig *made, const char *rows)
{
    char sql[1024];
    snprintf(sql, sizeof sql,
             "ALTER DOMAIN core.locator DROP CONSTRAINT IF EXISTS locator_form;"
             "ALTER TABLE graviton.location DROP CONSTRAINT IF EXISTS location_key_form;%s",
             rows);
    test_postgres_sql(made->conninfo, sql);
}

static void lists_go_on_behind_damaged_rows(void **state)
{
    rig *made = *state;
    grv_error error = GRV_ERROR_INIT;
    for (unsigned i = 0; i < 3; i++) {
        grv_locator locator = numbered(i);
        assert_grv_ok(grv_replica_index_add(NULL, made->indexes[0], &pack, &locator, &error));
    }
    damage(made, "INSERT INTO graviton.location (kind, key, locator) VALUES"
                 "(2, '\\x010203', 'fs://b/00001'), (3, '\\x', 'fs://b/00000x'),"
                 "(3, decode(repeat('00', 24), 'hex'), 'FS://b/1')");
    for (size_t capacity = 1; capacity <= 10; capacity += 3) {
        grv_replica_cursor *cursor = NULL;
        grv_replica items[10];
        size_t count = 1;
        unsigned sound = 0;
        unsigned corrupt = 0;
        assert_grv_ok(grv_replica_index_open_list(NULL, made->indexes[0], &(grv_replica_list){0},
                                                  &cursor, &error));
        while (count > 0) {
            grv_status status =
                grv_replica_cursor_next(NULL, cursor, items, capacity, &count, &error);
            assert_true(status == GRV_OK || status == GRV_CORRUPT);
            corrupt += status == GRV_CORRUPT;
            for (size_t i = 0; status == GRV_OK && i < count; i++) {
                grv_locator locator = numbered(sound++);
                assert_int_equal(grv_locator_compare(&items[i].locator, &locator), 0);
            }
        }
        grv_replica_cursor_free(cursor);
        assert_int_equal(sound, 3);
        assert_int_equal(corrupt, 3);
    }
    /* The other way round, and mended by an update. */
    const grv_replica_key zero = {.kind = GRV_REPLICA_PACK};
    grv_locator_set set;
    grv_locator_set_init(&set);
    assert_grv_status(grv_replica_index_replicas(NULL, made->indexes[0], &zero, &set, &error),
                      GRV_CORRUPT);
    assert_grv_ok(grv_replica_index_update(NULL, made->indexes[0], &zero, &set, &error));
    assert_grv_ok(grv_replica_index_replicas(NULL, made->indexes[0], &zero, &set, &error));
    assert_int_equal(set.count, 0);
}

/* ---- Ranges ---- */

#define BYTES 4000u

static void *merge_at_random(void *argument)
{
    worker *self = argument;
    uint64_t seed = self->number;
    const grv_locator locator = numbered(0);
    grv_range_set fresh;
    grv_range_set_init(&fresh);
    for (unsigned i = 0; i < 60 && !self->wrong; i++) {
        uint64_t pick = test_random(&seed);
        grv_range range = {pick % BYTES, pick % BYTES + (pick >> 32) % 40};
        grv_status status = grv_range_tracker_merge(NULL, self->tracker, &locator, 1, range, NULL,
                                                    &fresh, &self->error);
        self->wrong = grv_range_set_merge(&self->asked, range, NULL, &self->error);
        self->refused += status == GRV_UNAVAILABLE;
        for (size_t k = 0; status == GRV_OK && k < fresh.count && !self->wrong; k++) {
            grv_range_set again;
            grv_range_set_init(&again);
            self->wrong =
                grv_range_set_merge(&self->claimed, fresh.ranges[k], &again, &self->error);
            if (grv_range_set_size(&again) != fresh.ranges[k].end - fresh.ranges[k].first) {
                self->wrong = grv_error_set(&self->error, GRV_INTERNAL, "test", "new twice");
            }
            grv_range_set_done(&again);
        }
        self->wrong = status && status != GRV_UNAVAILABLE ? status : self->wrong;
    }
    grv_range_set_done(&fresh);
    return NULL;
}

/* What is called new is so once, whatever dies; and nothing that was merged is lost. */
static void merges_survive_their_connections(void **state)
{
    rig *made = *state;
    grv_error error = GRV_ERROR_INIT;
    run_workers(made, merge_at_random);
    for (unsigned i = 0; i < 8; i++) {
        usleep(40000);
        test_postgres_sql(made->conninfo,
                          "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE "
                          "datname = current_database() AND pid <> pg_backend_pid()");
    }
    join_workers();
    grv_range_set whole;
    grv_range_set claimed;
    grv_range_set asked;
    grv_range_set_init(&whole);
    grv_range_set_init(&claimed);
    grv_range_set_init(&asked);
    uint64_t generation = 0;
    const grv_locator locator = numbered(0);
    assert_grv_ok(
        grv_range_tracker_current(NULL, made->trackers[0], &locator, &generation, &whole, &error));
    unsigned unknown = 0;
    uint64_t claims = 0;
    for (unsigned i = 0; i < THREADS; i++) {
        unknown += workers[i].refused;
        claims += grv_range_set_size(&workers[i].claimed);
        for (size_t k = 0; k < workers[i].claimed.count; k++) {
            assert_true(grv_range_set_contains(&whole, workers[i].claimed.ranges[k]));
            assert_grv_ok(
                grv_range_set_merge(&claimed, workers[i].claimed.ranges[k], NULL, &error));
        }
        for (size_t k = 0; k < workers[i].asked.count; k++) {
            assert_grv_ok(grv_range_set_merge(&asked, workers[i].asked.ranges[k], NULL, &error));
        }
        grv_range_set_done(&workers[i].claimed);
        grv_range_set_done(&workers[i].asked);
    }
    assert_int_equal(claims, grv_range_set_size(&claimed)); /* nothing twice */
    for (size_t k = 0; k < whole.count; k++) {
        assert_true(grv_range_set_contains(&asked, whole.ranges[k]));
    }
    if (unknown == 0) {
        assert_int_equal(claims, grv_range_set_size(&whole));
        assert_int_equal(grv_range_set_size(&asked), grv_range_set_size(&whole));
    }
    grv_range_set_done(&whole);
    grv_range_set_done(&claimed);
    grv_range_set_done(&asked);
}

static void there_are_never_too_many_ranges(void **state)
{
    rig *made = *state;
    grv_error error = GRV_ERROR_INIT;
    grv_range_tracker *tracker = made->trackers[0];
    const grv_locator locator = numbered(1);
    const uint64_t most = GRV_TRACKER_RANGES_MAX;
    grv_range_set whole;
    grv_range_set fresh;
    grv_range_set_init(&whole);
    grv_range_set_init(&fresh);
    test_postgres_sql(made->conninfo,
                      "INSERT INTO graviton.byte_range (locator, generation, ranges)"
                      "SELECT 'fs://b/00001', 1, range_agg(int8range(10 * i, 10 * i + 5))"
                      "FROM generate_series(1, 65535) i");
    assert_grv_ok(grv_range_tracker_merge(NULL, tracker, &locator, 1, (grv_range){0, 1}, &whole,
                                          &fresh, &error));
    assert_int_equal(whole.count, most);
    assert_grv_status(grv_range_tracker_merge(NULL, tracker, &locator, 1, (grv_range){2, 3}, &whole,
                                              &fresh, &error),
                      GRV_LIMIT_EXCEEDED);
    assert_int_equal(whole.count, most); /* unchanged */
    assert_int_equal(fresh.count, 1);
    /* What joins them all finds all gaps new. */
    assert_grv_ok(grv_range_tracker_merge(NULL, tracker, &locator, 1, (grv_range){1, 10 * most - 5},
                                          &whole, &fresh, &error));
    assert_int_equal(whole.count, 1);
    assert_int_equal(whole.ranges[0].end, 10 * most - 5);
    assert_int_equal(fresh.count, most - 1);
    grv_range_set_done(&whole);
    grv_range_set_done(&fresh);
}

int main(void)
{
    test_postgres_need();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_key_never_has_too_many_locators, setup, teardown),
        cmocka_unit_test_setup_teardown(lists_go_on_behind_damaged_rows, setup, teardown),
        cmocka_unit_test_setup_teardown(merges_survive_their_connections, setup, teardown),
        cmocka_unit_test_setup_teardown(there_are_never_too_many_ranges, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
