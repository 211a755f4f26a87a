/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The object store over PostgreSQL beyond its port: connections that die, chunks that are damaged
 * or gone, who deletes what, and that nothing stays behind. Bytes are told by a formula.
 */
#include "backend/pg/objects.h"

#include "postgres_store.h"
#include "temp.h"

#include <pthread.h>

#define CHUNK ((uint64_t)GRV_PG_CHUNK_SIZE)

typedef struct rig {
    void *context;
    const char *conninfo;
    grv_pg *pg;
    grv_mutable_object_store *store;
} rig;

static grv_mutable_object_store *open_store(rig *made)
{
    static const char *const buckets[] = {"b"};
    grv_error error = GRV_ERROR_INIT;
    grv_mutable_object_store *store = NULL;
    assert_grv_ok(grv_object_store_pg_new(made->pg, buckets, 1, &store, &error));
    return store;
}

static int setup(void **state)
{
    rig *made = calloc(1, sizeof *made);
    grv_error error = GRV_ERROR_INIT;
    assert_grv_ok(test_postgres_store_open(2, &made->context, &made->pg, &error));
    made->conninfo = ((test_postgres_store *)made->context)->conninfo;
    made->store = open_store(made);
    *state = made;
    return 0;
}

static int teardown(void **state)
{
    rig *made = *state;
    grv_mutable_object_store_free(made->store);
    test_postgres_store_close(&made->context, true);
    free(made);
    return 0;
}

/* ---- Objects ---- */

static grv_locator at_path(const char *path)
{
    grv_locator locator = {.scheme = "pg", .bucket = "b"};
    snprintf(locator.path, sizeof locator.path, "%s", path);
    return locator;
}

static uint8_t byte_at(uint64_t seed, uint64_t at)
{
    return (uint8_t)(seed * 41 + at + (at >> 8) * 3 + (at >> 18) * 7);
}

static grv_status write_to(grv_object_sink *sink, uint64_t seed, uint64_t first, uint64_t end,
                           grv_error *error)
{
    grv_status status = GRV_OK;
    while (!status && first < end) {
        grv_span window;
        status = grv_sink_reserve(NULL, &sink->base, &window, error);
        if (!status) {
            size_t size = window.size < end - first ? window.size : (size_t)(end - first);
            for (size_t i = 0; i < size; i++) {
                window.data[i] = byte_at(seed, first + i);
            }
            status = grv_sink_advance(NULL, &sink->base, size, error);
            first += size;
        }
    }
    return status;
}

static grv_object_sink *open_put(rig *made, const char *path)
{
    grv_error error = GRV_ERROR_INIT;
    grv_locator locator = at_path(path);
    grv_object_sink *sink = NULL;
    const grv_object_put put = {0};
    assert_grv_ok(
        grv_mutable_object_store_open_put(NULL, made->store, &locator, &put, &sink, &error));
    return sink;
}

static void put(rig *made, const char *path, uint64_t seed, uint64_t size)
{
    grv_error error = GRV_ERROR_INIT;
    grv_object_sink *sink = open_put(made, path);
    assert_grv_ok(write_to(sink, seed, 0, size, &error));
    assert_grv_ok(grv_sink_commit(NULL, &sink->base, &error));
    grv_sink_free(&sink->base);
}

static grv_source *open_get(rig *made, const char *path, grv_range range)
{
    grv_error error = GRV_ERROR_INIT;
    grv_locator locator = at_path(path);
    grv_source *source = NULL;
    assert_grv_ok(grv_object_store_open_get(NULL, &made->store->base, &locator, range, NULL,
                                            &source, &error));
    return source;
}

/* GRV_OK where the source gives exactly these bytes; GRV_INTERNAL where it gives others. */
static grv_status read_from(grv_source *source, uint64_t seed, uint64_t first, uint64_t end,
                            grv_error *error)
{
    for (;;) {
        grv_bytes view;
        grv_status status = grv_source_next(NULL, source, 100000, &view, error);
        if (status) {
            return status;
        }
        if (view.size == 0) {
            return first == end ? GRV_OK
                                : grv_error_set(error, GRV_INTERNAL, "test", "a short object");
        }
        for (size_t i = 0; i < view.size; i++, first++) {
            if (first == end || view.data[i] != byte_at(seed, first)) {
                return grv_error_set(error, GRV_INTERNAL, "test", "another byte");
            }
        }
    }
}

static grv_status get(rig *made, const char *path, uint64_t seed, uint64_t first, uint64_t end,
                      grv_error *error)
{
    grv_source *source = open_get(made, path, (grv_range){first, end});
    grv_status status = read_from(source, seed, first, end, error);
    grv_source_free(source);
    return status;
}

static void remove_at(rig *made, const char *path)
{
    grv_error error = GRV_ERROR_INIT;
    grv_locator locator = at_path(path);
    assert_grv_ok(grv_mutable_object_store_remove(NULL, made->store, &locator, &error));
}

static void copy_at(rig *made, const char *from_path, const char *to_path)
{
    grv_error error = GRV_ERROR_INIT;
    grv_locator from = at_path(from_path);
    grv_locator to = at_path(to_path);
    assert_grv_ok(
        grv_mutable_object_store_copy(NULL, made->store, &from, &to, false, NULL, &error));
}

/* ---- The database ---- */

static void sql(rig *made, const char *text)
{
    test_postgres_sql(made->conninfo, text);
}

/* As its owner who takes the guards away. */
static void damage(rig *made, const char *text)
{
    sql(made, "ALTER TABLE graviton.object_chunk DISABLE TRIGGER USER");
    sql(made, text);
    sql(made, "ALTER TABLE graviton.object_chunk ENABLE TRIGGER USER");
}

/* Fails the test unless there are that many contents and chunks. */
static void check_rows(rig *made, int contents, int chunks)
{
    char text[256];
    snprintf(text, sizeof text,
             "SELECT 1 / (count(*) = %d)::int, 1 / ((SELECT count(*) FROM graviton.object_chunk) = "
             "%d)::int FROM graviton.object_content",
             contents, chunks);
    sql(made, text);
}

static void terminate_all(rig *made)
{
    sql(made, "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE "
              "datname = current_database() AND pid <> pg_backend_pid()");
}

/* ---- Connections that die ---- */

static void puts_and_gets_outlive_connections(void **state)
{
    rig *made = *state;
    grv_error error = GRV_ERROR_INIT;
    const uint64_t size = 5 * (uint64_t)GRV_PG_CHUNKS_BYTES + 7;
    grv_object_sink *sink = open_put(made, "a");
    for (uint64_t at = 0; at < size; at += CHUNK) {
        assert_grv_ok(write_to(sink, 1, at, at + CHUNK < size ? at + CHUNK : size, &error));
        terminate_all(made);
    }
    assert_grv_ok(grv_sink_commit(NULL, &sink->base, &error));
    grv_sink_free(&sink->base);
    grv_source *source = open_get(made, "a", GRV_RANGE_ALL);
    for (uint64_t at = 0; at < size;) {
        grv_bytes view;
        terminate_all(made);
        assert_grv_ok(grv_source_next(NULL, source, SIZE_MAX, &view, &error));
        assert_true(view.size > 0 && view.data[0] == byte_at(1, at));
        at += view.size;
    }
    grv_source_free(source);
    assert_grv_ok(get(made, "a", 1, 0, size, &error));
    check_rows(made, 1, 21);
}

typedef struct killer {
    pthread_t thread;
    rig *made;
    int stop; /* atomic */
} killer;

static void *kill_on_and_on(void *argument)
{
    killer *self = argument;
    while (!__atomic_load_n(&self->stop, __ATOMIC_ACQUIRE)) {
        sql(self->made, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE "
                        "datname = current_database() AND pid <> pg_backend_pid()");
        usleep(30000);
    }
    return NULL;
}

static void puts_and_gets_under_fire(void **state)
{
    rig *made = *state;
    grv_error error = GRV_ERROR_INIT;
    killer self = {.made = made};
    assert_int_equal(pthread_create(&self.thread, NULL, kill_on_and_on, &self), 0);
    grv_status status = GRV_OK;
    for (uint64_t round = 0; !status && round < 12; round++) {
        grv_object_sink *sink = open_put(made, "a");
        uint64_t size = round % 3 * 3000000 + round;
        status = write_to(sink, round, 0, size, &error);
        status = status ? status : grv_sink_commit(NULL, &sink->base, &error);
        grv_sink_free(&sink->base);
        status = status ? status : get(made, "a", round, 0, size, &error);
    }
    __atomic_store_n(&self.stop, 1, __ATOMIC_RELEASE);
    pthread_join(self.thread, NULL);
    assert_grv_ok(status);
}

/* ---- Readers ---- */

static void readers_keep_a_content_or_are_told(void **state)
{
    rig *made = *state;
    grv_error error = GRV_ERROR_INIT;
    const uint64_t size = 3 * (uint64_t)GRV_PG_CHUNKS_BYTES;
    put(made, "a", 1, size);
    copy_at(made, "a", "copy");
    grv_source *source = open_get(made, "a", GRV_RANGE_ALL);
    put(made, "a", 2, 10);
    assert_grv_ok(read_from(source, 1, 0, size, &error));
    grv_source_free(source);
    source = open_get(made, "copy", GRV_RANGE_ALL);
    put(made, "copy", 3, size);
    assert_grv_status(read_from(source, 1, 0, size, &error), GRV_CONFLICT);
    assert_grv_status(read_from(source, 1, 0, size, &error), GRV_CONFLICT);
    grv_source_free(source);
    source = open_get(made, "copy", GRV_RANGE_ALL);
    remove_at(made, "copy");
    assert_grv_status(read_from(source, 3, 0, size, &error), GRV_NOT_FOUND);
    assert_non_null(strstr(error.message, "pg://b/copy"));
    grv_source_free(source);
    check_rows(made, 1, 1);
}

/* A content that is being deleted has lost some of its chunks and kept others. */
static void half_a_content_is_never_the_end(void **state)
{
    rig *made = *state;
    grv_error error = GRV_ERROR_INIT;
    const uint64_t size = 12 * CHUNK;
    put(made, "a", 1, size);
    grv_source *source = open_get(made, "a", GRV_RANGE_ALL);
    sql(made, "DELETE FROM graviton.object");
    sql(made, "SELECT 1 / graviton.object_content_drop(content_id, 6)::int "
              "FROM graviton.object_content");
    check_rows(made, 1, 6);
    assert_grv_status(read_from(source, 1, 0, size, &error), GRV_NOT_FOUND);
    grv_source_free(source);
    grv_mutable_object_store_free(made->store);
    made->store = open_store(made);
    put(made, "b", 1, 1);
    check_rows(made, 1, 1);
}

/* ---- Damage ---- */

static void damaged_chunks_are_found(void **state)
{
    rig *made = *state;
    grv_error error = GRV_ERROR_INIT;
    const uint64_t size = 6 * CHUNK + 100;
    static const char *const damages[] = {
        "UPDATE graviton.object_chunk SET bytes = set_byte(bytes, 77, get_byte(bytes, 77) # 4) "
        "WHERE number = 5",
        "UPDATE graviton.object_chunk SET checksum = checksum # 4096 WHERE number = 5",
        "UPDATE graviton.object_chunk SET bytes = substr(bytes, 2) WHERE number = 5",
        "UPDATE graviton.object_chunk SET bytes = bytes || '\\x00' WHERE number = 5",
        "DELETE FROM graviton.object_chunk WHERE number = 5",
        "UPDATE graviton.object_chunk k SET bytes = o.bytes, checksum = o.checksum "
        "FROM graviton.object_chunk o WHERE k.number = 5 AND o.number = 3",
    };
    for (size_t i = 0; i < sizeof damages / sizeof damages[0]; i++) {
        put(made, "a", i, size);
        damage(made, damages[i]);
        assert_grv_status(get(made, "a", i, 0, size, &error), GRV_CORRUPT);
        assert_non_null(strstr(error.message, "chunk 5"));
        assert_non_null(strstr(error.message, "pg://b/a"));
        assert_grv_status(get(made, "a", i, 5 * CHUNK, 5 * CHUNK + 1, &error), GRV_CORRUPT);
        /* A range that has none of it does not read it. */
        assert_grv_ok(get(made, "a", i, 0, 5 * CHUNK, &error));
        assert_grv_ok(get(made, "a", i, 6 * CHUNK, size, &error));
    }
    put(made, "a", 1, size);
    damage(made, "DELETE FROM graviton.object_chunk WHERE number = 6");
    assert_grv_status(get(made, "a", 1, 0, size, &error), GRV_CORRUPT);
}

/* Chunks of another size, as another version may write them. */
static void other_chunk_sizes_are_read(void **state)
{
    rig *made = *state;
    grv_error error = GRV_ERROR_INIT;
    enum { CHUNKS = 100, SIZE = 7 };
    uint8_t id[GRV_PG_CONTENT_ID_SIZE] = {0};
    char text[256];
    sql(made, "INSERT INTO graviton.object_content (content_id, chunk_size) "
              "VALUES ('00000000-0000-0000-0000-000000000000', 7)");
    for (uint32_t number = 0; number < CHUNKS; number++) {
        uint8_t bytes[SIZE];
        char hex[2 * SIZE + 1];
        for (size_t i = 0; i < SIZE; i++) {
            bytes[i] = byte_at(9, number * SIZE + i);
            snprintf(hex + 2 * i, 3, "%02x", bytes[i]);
        }
        snprintf(text, sizeof text,
                 "INSERT INTO graviton.object_chunk VALUES "
                 "('00000000-0000-0000-0000-000000000000', %u, %lld, '\\x%s')",
                 number, (long long)grv_pg_chunk_checksum(id, number, grv_bytes_of(bytes, SIZE)),
                 hex);
        sql(made, text);
    }
    sql(made, "SELECT graviton.object_put('b', 'a', '00000000-0000-0000-0000-000000000000', 700, "
              "'tag', false)");
    assert_grv_ok(get(made, "a", 9, 0, 700, &error));
    assert_grv_ok(get(made, "a", 9, 699, 700, &error));
    assert_grv_ok(get(made, "a", 9, 13, 14, &error));
    assert_grv_ok(get(made, "a", 9, 14, 699, &error));
}

/* ---- What stays, and what goes ---- */

static void nothing_stays_behind(void **state)
{
    rig *made = *state;
    grv_error error = GRV_ERROR_INIT;
    grv_object_sink *sink = open_put(made, "a");
    assert_grv_ok(write_to(sink, 1, 0, 10 * CHUNK, &error));
    check_rows(made, 1, 8);
    grv_sink_free(&sink->base);
    check_rows(made, 0, 0);
    put(made, "a", 1, 9 * CHUNK + 1);
    put(made, "a", 2, 3);
    check_rows(made, 1, 1);
    copy_at(made, "a", "b");
    copy_at(made, "a", "b");
    check_rows(made, 1, 1);
    remove_at(made, "a");
    check_rows(made, 1, 1);
    assert_grv_ok(get(made, "b", 2, 0, 3, &error));
    put(made, "c", 3, 0);
    copy_at(made, "c", "b");
    check_rows(made, 1, 0);
    remove_at(made, "b");
    remove_at(made, "c");
    check_rows(made, 0, 0);
}

static void a_sweep_takes_what_the_dead_have_left(void **state)
{
    rig *made = *state;
    grv_error error = GRV_ERROR_INIT;
    put(made, "kept", 1, 5);
    put(made, "lost", 2, 5 * CHUNK);
    grv_object_sink *old = open_put(made, "old");
    grv_object_sink *young = open_put(made, "young");
    assert_grv_ok(write_to(old, 3, 0, 4 * CHUNK, &error));
    sql(made, "UPDATE graviton.object_content SET unnamed_since = now() - interval '25 hours' "
              "WHERE byte_length IS NULL");
    assert_grv_ok(write_to(young, 4, 0, 4 * CHUNK, &error));
    sql(made, "UPDATE graviton.object_content SET unnamed_since = now() - interval '23 hours' "
              "WHERE byte_length IS NULL AND unnamed_since > now() - interval '1 hour'");
    sql(made, "UPDATE graviton.object_content SET unnamed_since = now() WHERE byte_length = 5");
    sql(made, "DELETE FROM graviton.object WHERE path = 'lost'");
    check_rows(made, 4, 14);
    grv_mutable_object_store *other = open_store(made);
    grv_mutable_object_store *first = made->store;
    made->store = other;
    put(made, "new", 5, 1);
    check_rows(made, 3, 6);
    sql(made, "SELECT 1 / (count(*) = 1)::int FROM graviton.object_content "
              "WHERE unnamed_since IS NOT NULL");
    /* One that goes on has shown a sign of life; one whose content is gone fails. */
    assert_grv_ok(write_to(young, 4, 4 * CHUNK, 9 * CHUNK, &error));
    sql(made, "SELECT 1 / (unnamed_since > now() - interval '1 minute')::int "
              "FROM graviton.object_content WHERE byte_length IS NULL");
    assert_grv_ok(grv_sink_commit(NULL, &young->base, &error));
    assert_grv_ok(write_to(old, 3, 4 * CHUNK, 5 * CHUNK, &error));
    assert_grv_status(grv_sink_commit(NULL, &old->base, &error), GRV_UNAVAILABLE);
    assert_non_null(strstr(error.message, "pg://b/old"));
    grv_sink_free(&old->base);
    grv_sink_free(&young->base);
    grv_mutable_object_store_free(other);
    made->store = first;
    assert_grv_ok(get(made, "young", 4, 0, 9 * CHUNK, &error));
    assert_grv_ok(get(made, "kept", 1, 0, 5, &error));
    check_rows(made, 3, 11);
}

/* As when the server crashed: what was sent last is undone. */
static void lost_chunks_make_no_object(void **state)
{
    rig *made = *state;
    grv_error error = GRV_ERROR_INIT;
    put(made, "a", 1, 10);
    grv_object_sink *sink = open_put(made, "a");
    assert_grv_ok(write_to(sink, 2, 0, 8 * CHUNK + 1, &error));
    sql(made, "DELETE FROM graviton.object_chunk WHERE number = 7");
    assert_grv_status(grv_sink_commit(NULL, &sink->base, &error), GRV_UNAVAILABLE);
    assert_non_null(strstr(error.message, "restarted"));
    grv_sink_free(&sink->base);
    assert_grv_ok(get(made, "a", 1, 0, 10, &error));
    sink = open_put(made, "a");
    assert_grv_ok(write_to(sink, 2, 0, 4 * CHUNK, &error));
    sql(made, "DELETE FROM graviton.object_content WHERE byte_length IS NULL");
    assert_grv_status(write_to(sink, 2, 4 * CHUNK, 8 * CHUNK, &error), GRV_UNAVAILABLE);
    grv_sink_free(&sink->base);
    assert_grv_ok(get(made, "a", 1, 0, 10, &error));
}

typedef struct worker {
    pthread_t thread;
    grv_mutable_object_store *store;
    pthread_barrier_t *barrier;
    unsigned number;
    grv_status status;
    grv_error error;
} worker;

/* Two names of one content; each worker removes or replaces one, or copies one to the other. */
static void *let_go(void *argument)
{
    worker *self = argument;
    for (unsigned round = 0; round < 40 && !self->status; round++) {
        grv_locator mine = at_path(self->number % 2 ? "x" : "y");
        grv_locator other = at_path(self->number % 2 ? "y" : "x");
        if (round % 4 < 2) {
            self->status = grv_mutable_object_store_remove(NULL, self->store, &mine, &self->error);
        } else {
            self->status = grv_mutable_object_store_copy(NULL, self->store, &mine, &other, false,
                                                         NULL, &self->error);
            self->status = self->status == GRV_NOT_FOUND ? GRV_OK : self->status;
        }
        if (!self->status && self->number == 0 && round % 2) {
            const grv_object_put plan = {0};
            grv_object_sink *sink = NULL;
            self->status = grv_mutable_object_store_open_put(NULL, self->store, &mine, &plan, &sink,
                                                             &self->error);
            if (!self->status) {
                self->status = write_to(sink, round, 0, 1000, &self->error);
            }
            if (!self->status) {
                self->status = grv_sink_commit(NULL, &sink->base, &self->error);
            }
            grv_sink_free(sink ? &sink->base : NULL);
        }
        /* So that they meet: each round begins for all at once. */
        pthread_barrier_wait(self->barrier);
    }
    return NULL;
}

static void shared_contents_go_with_their_last_name(void **state)
{
    rig *made = *state;
    enum { WORKERS = 4 };
    worker workers[WORKERS];
    pthread_barrier_t barrier;
    put(made, "x", 1, 1000);
    assert_int_equal(pthread_barrier_init(&barrier, NULL, WORKERS), 0);
    for (unsigned i = 0; i < WORKERS; i++) {
        workers[i] = (worker){.store = made->store, .barrier = &barrier, .number = i};
        assert_int_equal(pthread_create(&workers[i].thread, NULL, let_go, &workers[i]), 0);
    }
    for (unsigned i = 0; i < WORKERS; i++) {
        pthread_join(workers[i].thread, NULL);
    }
    pthread_barrier_destroy(&barrier);
    for (unsigned i = 0; i < WORKERS; i++) {
        if (workers[i].status) {
            fail_msg("worker %u: %s", i, workers[i].error.message);
        }
    }
    remove_at(made, "x");
    remove_at(made, "y");
    /* What two left to one another is marked, and a sweep finds it. */
    sql(made, "SELECT 1 / (count(*) = 0)::int FROM graviton.object_content "
              "WHERE unnamed_since IS NULL");
    grv_mutable_object_store_free(made->store);
    made->store = open_store(made);
    put(made, "z", 1, 1);
    check_rows(made, 1, 1);
}

static void buckets_are_names(void **state)
{
    rig *made = *state;
    grv_error error = GRV_ERROR_INIT;
    grv_mutable_object_store *store = NULL;
    static const char *const bad[][2] = {{"a", "a"}, {"a/b", "c"}, {"", "c"}, {"c", "\n"}};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        assert_grv_status(grv_object_store_pg_new(made->pg, bad[i], 2, &store, &error),
                          GRV_INVALID_ARGUMENT);
    }
    assert_grv_status(grv_object_store_pg_new(made->pg, bad[0], 0, &store, &error),
                      GRV_INVALID_ARGUMENT);
    assert_null(store);
}

int main(void)
{
    test_postgres_need();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(puts_and_gets_outlive_connections, setup, teardown),
        cmocka_unit_test_setup_teardown(puts_and_gets_under_fire, setup, teardown),
        cmocka_unit_test_setup_teardown(readers_keep_a_content_or_are_told, setup, teardown),
        cmocka_unit_test_setup_teardown(half_a_content_is_never_the_end, setup, teardown),
        cmocka_unit_test_setup_teardown(damaged_chunks_are_found, setup, teardown),
        cmocka_unit_test_setup_teardown(other_chunk_sizes_are_read, setup, teardown),
        cmocka_unit_test_setup_teardown(nothing_stays_behind, setup, teardown),
        cmocka_unit_test_setup_teardown(a_sweep_takes_what_the_dead_have_left, setup, teardown),
        cmocka_unit_test_setup_teardown(lost_chunks_make_no_object, setup, teardown),
        cmocka_unit_test_setup_teardown(shared_contents_go_with_their_last_name, setup, teardown),
        cmocka_unit_test_setup_teardown(buckets_are_names, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
