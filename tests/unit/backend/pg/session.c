/* SPDX-License-Identifier: Apache-2.0 */
/* Migration, opening by schema version, and sessions: who keeps whom out. */
#include "backend/pg/session.h"

#include "backend/pg/pool.h"
#include "os/clock.h"
#include "postgres.h"
#include "test.h"

#include <pthread.h>

#define SECOND UINT64_C(1000000000)
#define MS     UINT64_C(1000000)

typedef struct rig {
    char conninfo[512];
    grv_pg *pg;
} rig;

static void migrate(const char *conninfo)
{
    grv_error error = GRV_ERROR_INIT;
    grv_pg_config config = {.conninfo = conninfo, .any_schema = true};
    grv_pg *pg;
    assert_grv_ok(grv_pg_open(NULL, &config, &pg, &error));
    grv_pg_migrate_config plan = {0};
    assert_grv_ok(grv_pg_migrate(NULL, pg, &plan, &error));
    grv_pg_close(pg);
}

static int setup(void **state)
{
    rig *made = calloc(1, sizeof *made);
    grv_error error = GRV_ERROR_INIT;
    test_postgres_make(made->conninfo);
    migrate(made->conninfo);
    grv_pg_config config = {.conninfo = made->conninfo, .connections = 1};
    assert_grv_ok(grv_pg_open(NULL, &config, &made->pg, &error));
    *state = made;
    return 0;
}

static int teardown(void **state)
{
    rig *made = *state;
    grv_pg_close(made->pg);
    test_postgres_remove(made->conninfo);
    free(made);
    return 0;
}

static void count_pending(void *context, unsigned version, const char *name, const char *sql,
                          bool pending)
{
    (void)version;
    assert_true(*name && *sql);
    ((unsigned *)context)[pending]++;
}

static void migration_is_told_and_done_once(void **state)
{
    (void)state;
    grv_error error = GRV_ERROR_INIT;
    char conninfo[512];
    test_postgres_make(conninfo);
    grv_pg_config config = {.conninfo = conninfo, .any_schema = true};
    grv_pg *pg;
    assert_grv_ok(grv_pg_open(NULL, &config, &pg, &error));
    for (int round = 0; round < 4; round++) {
        unsigned counts[2] = {0, 0};
        grv_pg_migrate_config plan = {
            .dry_run = round % 2 == 0, .report = count_pending, .context = counts};
        assert_grv_ok(grv_pg_migrate(NULL, pg, &plan, &error));
        assert_int_equal(counts[round < 2], grv_pg_schema_wanted());
        assert_int_equal(counts[round >= 2], 0);
    }
    grv_pg_close(pg);
    test_postgres_remove(conninfo);
}

static void other_schemas_are_refused(void **state)
{
    rig *made = *state;
    grv_error error = GRV_ERROR_INIT;
    grv_pg *pg = NULL;
    grv_pg_config config = {.conninfo = made->conninfo};
    test_postgres_sql(made->conninfo,
                      "INSERT INTO graviton.schema_migration VALUES (9999, 'n', 'd', 'p')");
    assert_grv_status(grv_pg_open(NULL, &config, &pg, &error), GRV_UNSUPPORTED);
    assert_non_null(strstr(error.message, "newer"));
    config.any_schema = true;
    assert_grv_ok(grv_pg_open(NULL, &config, &pg, &error));
    grv_pg_migrate_config plan = {0};
    assert_grv_status(grv_pg_migrate(NULL, pg, &plan, &error), GRV_UNSUPPORTED);
    grv_pg_close(pg);
    config.any_schema = false;
    test_postgres_sql(made->conninfo, "DELETE FROM graviton.schema_migration WHERE version > 1");
    assert_grv_status(grv_pg_open(NULL, &config, &pg, &error), GRV_CONFLICT);
    assert_non_null(strstr(error.message, "older"));
}

static grv_pg_session *open_session(grv_pg *pg, const char *command)
{
    grv_error error = GRV_ERROR_INIT;
    grv_pg_session *session = NULL;
    assert_grv_ok(grv_pg_session_open(NULL, pg, command, &session, &error));
    return session;
}

static void writers_and_one_alone(void **state)
{
    rig *made = *state;
    grv_error error = GRV_ERROR_INIT;
    uint8_t id[GRV_PG_SESSION_ID_SIZE];
    grv_pg_session *one = open_session(made->pg, "one put");
    grv_pg_session *two = open_session(made->pg, "two gc");
    assert_grv_ok(grv_pg_session_current(NULL, one, id, &error));
    assert_grv_status(grv_pg_session_exclude(NULL, two, 0, &error), GRV_UNAVAILABLE);
    assert_non_null(strstr(error.message, "one put"));
    grv_pg_session_close(one);
    assert_grv_ok(grv_pg_session_exclude(NULL, two, 0, &error));
    assert_grv_ok(grv_pg_session_holds(NULL, two, &error));
    assert_grv_status(grv_pg_session_open(NULL, made->pg, "late", &one, &error), GRV_UNAVAILABLE);
    assert_non_null(strstr(error.message, "two gc"));
    grv_pg_session_admit(two);
    assert_grv_status(grv_pg_session_holds(NULL, two, &error), GRV_UNAVAILABLE);
    one = open_session(made->pg, "again");
    assert_grv_ok(grv_pg_session_current(NULL, one, id, &error));
    grv_pg_session_close(one);
    grv_pg_session_close(two);
}

/* A schema that has steps to go is left alone while somebody writes. */
static void migration_waits_for_writers(void **state)
{
    rig *made = *state;
    grv_error error = GRV_ERROR_INIT;
    grv_pg_session *writer = open_session(made->pg, "writer");
    test_postgres_sql(made->conninfo, "DELETE FROM graviton.schema_migration WHERE version = "
                                      "(SELECT max(version) FROM graviton.schema_migration)");
    grv_pg_config config = {.conninfo = made->conninfo, .any_schema = true};
    grv_pg *pg;
    assert_grv_ok(grv_pg_open(NULL, &config, &pg, &error));
    grv_pg_migrate_config plan = {0};
    assert_grv_status(grv_pg_migrate(NULL, pg, &plan, &error), GRV_UNAVAILABLE);
    assert_non_null(strstr(error.message, "(writer)"));
    grv_pg_session_close(writer);
    grv_pg_close(pg);
}

static void terminate_all(rig *made)
{
    test_postgres_sql(made->conninfo,
                      "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE "
                      "datname = current_database() AND pid <> pg_backend_pid()");
}

/* The connection of one session. */
static void terminate(rig *made, const char *command)
{
    char sql[200];
    snprintf(sql, sizeof sql,
             "SELECT pg_terminate_backend(backend_pid, 5000) FROM graviton.session WHERE "
             "command = '%s'",
             command);
    test_postgres_sql(made->conninfo, sql);
}

/* A session whose connection died goes on under its name, unless somebody was alone meanwhile. */
static void a_lost_connection(void **state)
{
    rig *made = *state;
    grv_error error = GRV_ERROR_INIT;
    uint8_t first[GRV_PG_SESSION_ID_SIZE];
    uint8_t second[GRV_PG_SESSION_ID_SIZE];
    grv_pg_session *writer = open_session(made->pg, "writer");
    assert_grv_ok(grv_pg_session_current(NULL, writer, first, &error));
    terminate_all(made);
    assert_grv_ok(grv_pg_session_current(NULL, writer, second, &error));
    assert_memory_equal(first, second, sizeof first);
    terminate_all(made);
    grv_pg_session *alone = open_session(made->pg, "gc");
    assert_grv_ok(grv_pg_session_exclude(NULL, alone, 0, &error));
    assert_grv_status(grv_pg_session_current(NULL, writer, second, &error), GRV_UNAVAILABLE);
    grv_pg_session_admit(alone);
    assert_grv_ok(grv_pg_session_current(NULL, writer, second, &error));
    assert_memory_not_equal(first, second, sizeof first);
    grv_pg_session_close(writer);
    grv_pg_session_close(alone);
}

/* Whoever was alone and died leaves a mark: no put until another has finished the work. */
static void work_left_unended(void **state)
{
    rig *made = *state;
    grv_error error = GRV_ERROR_INIT;
    uint8_t id[GRV_PG_SESSION_ID_SIZE];
    grv_pg_session *dead = open_session(made->pg, "dead gc");
    assert_grv_ok(grv_pg_session_exclude(NULL, dead, 0, &error));
    terminate_all(made);
    assert_grv_status(grv_pg_session_holds(NULL, dead, &error), GRV_UNAVAILABLE);
    grv_pg_session_close(dead);
    grv_pg_session *writer = open_session(made->pg, "writer");
    assert_grv_status(grv_pg_session_current(NULL, writer, id, &error), GRV_UNAVAILABLE);
    assert_non_null(strstr(error.message, "dead gc"));
    grv_pg_session_close(writer);
    grv_pg_session *next = open_session(made->pg, "next gc");
    assert_grv_ok(grv_pg_session_exclude(NULL, next, 0, &error));
    grv_pg_session_admit(next);
    assert_grv_ok(grv_pg_session_current(NULL, next, id, &error));
    grv_pg_session_close(next);
}

/* ---- Giving way ---- */

/* A collector in a thread of its own. */
typedef struct waiter {
    grv_pg_session *session;
    grv_call call;
    uint64_t patience_ns;
    grv_status status;
    grv_error error;
    pthread_t thread;
} waiter;

static void *wait_alone(void *context)
{
    waiter *it = context;
    it->status = grv_pg_session_exclude(&it->call, it->session, it->patience_ns, &it->error);
    return NULL;
}

static void waiter_start(waiter *it, grv_pg_session *session, uint64_t patience_ns)
{
    *it = (waiter){.session = session, .patience_ns = patience_ns, .error = GRV_ERROR_INIT};
    assert_int_equal(pthread_create(&it->thread, NULL, wait_alone, it), 0);
}

static grv_status waiter_end(waiter *it)
{
    assert_int_equal(pthread_join(it->thread, NULL), 0);
    return it->status;
}

static grv_pg_session *open_server(grv_pg *pg, const char *command)
{
    grv_error error = GRV_ERROR_INIT;
    grv_pg_session *session = open_session(pg, command);
    assert_grv_ok(grv_pg_session_give_way(NULL, session, true, &error));
    return session;
}

static bool is_wanted(grv_pg_session *session)
{
    grv_error error = GRV_ERROR_INIT;
    bool wanted = false;
    assert_grv_ok(grv_pg_session_is_wanted(NULL, session, &wanted, &error));
    return wanted;
}

static void until_wanted(grv_pg_session *session, bool wanted)
{
    uint64_t until_ns = grv_now_ns() + 60 * SECOND;
    while (is_wanted(session) != wanted) {
        assert_true(grv_now_ns() < until_ns);
        grv_clock_sleep(5 * MS);
    }
}

static int count_rows(rig *made, const char *sql)
{
    PGconn *native = PQconnectdb(made->conninfo);
    PGresult *result = PQexec(native, sql);
    int count = (int)strtol(PQgetvalue(result, 0, 0), NULL, 10);
    PQclear(result);
    PQfinish(native);
    return count;
}

/* Two servers lend, the collector has the store, and both come back under other names. */
static void those_who_give_way(void **state)
{
    rig *made = *state;
    grv_error error = GRV_ERROR_INIT;
    uint8_t before[GRV_PG_SESSION_ID_SIZE];
    uint8_t after[GRV_PG_SESSION_ID_SIZE];
    grv_pg_session *one = open_server(made->pg, "one serve");
    grv_pg_session *two = open_server(made->pg, "two serve");
    grv_pg_session *late = NULL;
    assert_grv_ok(grv_pg_session_current(NULL, one, before, &error));
    uint64_t epoch = grv_pg_session_epoch(one);
    assert_false(is_wanted(one));
    assert_grv_ok(grv_pg_session_reclaim(NULL, one, &error)); /* nothing is lent */
    assert_true(grv_pg_session_epoch(one) == epoch);

    waiter gc;
    waiter_start(&gc, open_session(made->pg, "gc"), 60 * SECOND);
    until_wanted(one, true);
    assert_true(is_wanted(two));
    /* Nobody new comes in, whoever was in goes on. */
    assert_grv_status(grv_pg_session_open(NULL, made->pg, "late", &late, &error), GRV_UNAVAILABLE);
    assert_non_null(strstr(error.message, "(gc)"));
    assert_grv_ok(grv_pg_session_current(NULL, one, after, &error));
    assert_memory_equal(before, after, sizeof before);

    assert_grv_ok(grv_pg_session_lend(NULL, one, &error));
    assert_grv_ok(grv_pg_session_lend(NULL, one, &error));
    assert_false(is_wanted(one));
    assert_grv_status(grv_pg_session_current(NULL, one, after, &error), GRV_UNAVAILABLE);
    assert_non_null(strstr(error.message, "given way"));
    assert_grv_status(grv_pg_session_reclaim(NULL, one, &error), GRV_UNAVAILABLE);
    assert_non_null(strstr(error.message, "(gc)"));
    assert_int_equal(count_rows(made, "SELECT count(*) FROM graviton.session"), 2);
    assert_grv_ok(grv_pg_session_open_lent(NULL, made->pg, "late", &late, &error));
    assert_true(grv_pg_session_is_lent(late));
    assert_grv_status(grv_pg_session_reclaim(NULL, late, &error), GRV_UNAVAILABLE);
    assert_grv_status(grv_pg_session_current(NULL, late, after, &error), GRV_UNAVAILABLE);
    assert_grv_ok(grv_pg_session_lend(NULL, two, &error));
    assert_grv_ok(waiter_end(&gc));
    assert_grv_status(grv_pg_session_reclaim(NULL, one, &error), GRV_UNAVAILABLE);
    assert_grv_status(grv_pg_session_lend(NULL, gc.session, &error), GRV_UNAVAILABLE);
    assert_false(is_wanted(gc.session));

    grv_pg_session_admit(gc.session);
    assert_grv_ok(grv_pg_session_reclaim(NULL, one, &error));
    assert_grv_ok(grv_pg_session_reclaim(NULL, two, &error));
    assert_grv_ok(grv_pg_session_reclaim(NULL, late, &error));
    assert_false(grv_pg_session_is_lent(late));
    grv_pg_session_close(late);
    assert_true(grv_pg_session_epoch(one) > epoch);
    assert_grv_ok(grv_pg_session_current(NULL, one, after, &error));
    assert_memory_not_equal(before, after, sizeof before);
    assert_false(is_wanted(one));
    /* They still keep others out, and still give way. */
    assert_grv_status(grv_pg_session_exclude(NULL, gc.session, 0, &error), GRV_UNAVAILABLE);
    assert_int_equal(count_rows(made, "SELECT count(*) FROM graviton.session WHERE gives_way"), 2);
    grv_pg_session_close(gc.session);
    grv_pg_session_close(one);
    grv_pg_session_close(two);
    assert_int_equal(count_rows(made, "SELECT count(*) FROM graviton.session"), 0);
}

/* One who gives no way is not waited for, nor one who does and is not asked for any longer. */
static void those_who_do_not(void **state)
{
    rig *made = *state;
    grv_error error = GRV_ERROR_INIT;
    grv_pg_session *server = open_server(made->pg, "serve");
    grv_pg_session *writer = open_session(made->pg, "put");
    grv_pg_session *gc = open_session(made->pg, "gc");
    uint64_t begun_ns = grv_now_ns();
    assert_grv_status(grv_pg_session_exclude(NULL, gc, 60 * SECOND, &error), GRV_UNAVAILABLE);
    assert_true(grv_now_ns() - begun_ns < 45 * SECOND); /* and not its patience */
    assert_non_null(strstr(error.message, "(put)"));
    assert_false(is_wanted(server));
    grv_pg_session_close(writer);

    assert_grv_status(grv_pg_session_exclude(NULL, gc, 3 * SECOND, &error), GRV_UNAVAILABLE);
    assert_non_null(strstr(error.message, "(serve) has not given way"));
    grv_call call = {.deadline_ns = grv_now_ns() + 3 * SECOND};
    assert_grv_status(grv_pg_session_exclude(&call, gc, 60 * SECOND, &error), GRV_TIMEOUT);
    assert_non_null(strstr(error.message, "(serve)"));
    until_wanted(server, false);

    /* A server that scrubs gives no way for a while. */
    assert_grv_ok(grv_pg_session_give_way(NULL, server, false, &error));
    begun_ns = grv_now_ns();
    assert_grv_status(grv_pg_session_exclude(NULL, gc, 60 * SECOND, &error), GRV_UNAVAILABLE);
    assert_true(grv_now_ns() - begun_ns < 45 * SECOND); /* and not its patience */
    assert_non_null(strstr(error.message, "(serve)"));
    grv_pg_session_close(server);
    assert_grv_ok(grv_pg_session_exclude(NULL, gc, 0, &error));
    grv_pg_session_admit(gc);
    grv_pg_session_close(gc);
}

/* Of two who want the store to themselves one has it, and the other is told soon. */
static void one_at_a_time(void **state)
{
    rig *made = *state;
    grv_error error = GRV_ERROR_INIT;
    grv_pg_session *server = open_server(made->pg, "serve");
    grv_pg_session *other = open_server(made->pg, "other serve");
    waiter gc;
    waiter_start(&gc, open_session(made->pg, "gc"), 60 * SECOND);
    until_wanted(server, true);
    assert_grv_status(grv_pg_session_exclude(NULL, other, 60 * SECOND, &error), GRV_UNAVAILABLE);
    assert_non_null(strstr(error.message, "(gc)"));
    assert_true(is_wanted(other));
    assert_grv_ok(grv_pg_session_lend(NULL, other, &error));
    assert_grv_ok(grv_pg_session_lend(NULL, server, &error));
    assert_grv_ok(waiter_end(&gc));
    grv_pg_session_close(
        gc.session); /* as a process that ends without another word: its mark stays */
    uint8_t id[GRV_PG_SESSION_ID_SIZE];
    assert_grv_ok(grv_pg_session_reclaim(NULL, server, &error));
    assert_grv_status(grv_pg_session_current(NULL, server, id, &error), GRV_UNAVAILABLE);
    assert_non_null(strstr(error.message, "had the store to itself"));
    /* It may finish that work by itself. */
    assert_grv_ok(grv_pg_session_exclude(NULL, server, SECOND, &error));
    assert_true(grv_pg_session_inherits(server));
    grv_pg_session_admit(server);
    assert_grv_ok(grv_pg_session_current(NULL, server, id, &error));
    grv_pg_session_close(server);
    grv_pg_session_close(other); /* lent */
}

/* One who waits and is cancelled, or dies, leaves the turnstile. */
static void one_who_stops_waiting(void **state)
{
    rig *made = *state;
    grv_error error = GRV_ERROR_INIT;
    grv_cancel cancel = {0};
    grv_pg_session *server = open_server(made->pg, "serve");
    waiter gc = {.session = open_session(made->pg, "gc"),
                 .call = {.cancel = &cancel},
                 .patience_ns = 60 * SECOND,
                 .error = GRV_ERROR_INIT};
    assert_int_equal(pthread_create(&gc.thread, NULL, wait_alone, &gc), 0);
    until_wanted(server, true);
    grv_cancel_raise(&cancel);
    assert_grv_status(waiter_end(&gc), GRV_CANCELLED);
    until_wanted(server, false);

    waiter_start(&gc, gc.session, 60 * SECOND);
    until_wanted(server, true);
    assert_grv_ok(grv_pg_session_lend(NULL, server, &error));
    assert_grv_ok(waiter_end(&gc));
    grv_pg_session_admit(gc.session);
    assert_grv_ok(grv_pg_session_reclaim(NULL, server, &error));

    waiter_start(&gc, gc.session, 60 * SECOND);
    until_wanted(server, true);
    terminate(made, "gc");
    assert_grv_status(waiter_end(&gc), GRV_UNAVAILABLE);
    until_wanted(server, false);
    uint8_t id[GRV_PG_SESSION_ID_SIZE];
    assert_grv_ok(grv_pg_session_current(NULL, server, id, &error));
    grv_pg_session_close(gc.session);
    grv_pg_session_close(server);
}

/* Connections that die before lending, while it is lent, and of who has the store meanwhile. */
static void connections_lost_on_the_way(void **state)
{
    rig *made = *state;
    grv_error error = GRV_ERROR_INIT;
    uint8_t before[GRV_PG_SESSION_ID_SIZE];
    uint8_t after[GRV_PG_SESSION_ID_SIZE];
    grv_pg_session *server = open_server(made->pg, "serve");
    assert_grv_ok(grv_pg_session_current(NULL, server, before, &error));
    terminate_all(made);
    assert_grv_ok(grv_pg_session_lend(NULL, server, &error));
    assert_grv_status(grv_pg_session_current(NULL, server, after, &error), GRV_UNAVAILABLE);
    assert_grv_ok(grv_pg_session_reclaim(NULL, server, &error));
    /* Its row was there still, and is not taken up. */
    assert_grv_ok(grv_pg_session_current(NULL, server, after, &error));
    assert_memory_not_equal(before, after, sizeof before);

    assert_grv_ok(grv_pg_session_lend(NULL, server, &error));
    terminate_all(made);
    grv_pg_session *gc = open_session(made->pg, "gc");
    assert_grv_ok(grv_pg_session_exclude(NULL, gc, 0, &error));
    assert_grv_status(grv_pg_session_reclaim(NULL, server, &error), GRV_UNAVAILABLE);
    terminate_all(made);
    assert_grv_status(grv_pg_session_holds(NULL, gc, &error), GRV_UNAVAILABLE);
    grv_pg_session_close(gc);
    assert_grv_ok(grv_pg_session_reclaim(NULL, server, &error));
    assert_grv_status(grv_pg_session_current(NULL, server, after, &error), GRV_UNAVAILABLE);
    assert_int_equal(count_rows(made, "SELECT count(*) FROM graviton.session WHERE gives_way"), 1);
    grv_pg_session_close(server);
}

/* A put of a server that lost its connection may end well while somebody waits for it. */
static void a_lost_connection_while_wanted(void **state)
{
    rig *made = *state;
    grv_error error = GRV_ERROR_INIT;
    uint8_t before[GRV_PG_SESSION_ID_SIZE];
    uint8_t after[GRV_PG_SESSION_ID_SIZE];
    grv_pg_session *server = open_server(made->pg, "serve");
    grv_pg_session *other = open_server(made->pg, "other serve");
    assert_grv_ok(grv_pg_session_current(NULL, server, before, &error));
    waiter gc;
    waiter_start(&gc, open_session(made->pg, "gc"), 60 * SECOND);
    until_wanted(server, true);
    terminate(made, "serve");
    assert_grv_ok(grv_pg_session_current(NULL, server, after, &error));
    assert_memory_equal(before, after, sizeof before);
    assert_grv_ok(grv_pg_session_lend(NULL, other, &error));
    grv_clock_sleep(200 * MS);
    assert_true(is_wanted(server)); /* it is still waited for */
    assert_grv_ok(grv_pg_session_lend(NULL, server, &error));
    assert_grv_ok(waiter_end(&gc));
    grv_pg_session_close(server);
    grv_pg_session_close(other);
    grv_pg_session_admit(gc.session);
    grv_pg_session_close(gc.session);
}

/* A migration may come before the server is back: it doesn't write by a schema it doesn't know. */
static void a_schema_changed_meanwhile(void **state)
{
    rig *made = *state;
    grv_error error = GRV_ERROR_INIT;
    grv_pg_session *server = open_server(made->pg, "serve");
    assert_grv_ok(grv_pg_session_lend(NULL, server, &error));
    test_postgres_sql(made->conninfo,
                      "INSERT INTO graviton.schema_migration VALUES (9999, 'n', 'd', 'p')");
    assert_grv_status(grv_pg_session_reclaim(NULL, server, &error), GRV_UNSUPPORTED);
    test_postgres_sql(made->conninfo, "DELETE FROM graviton.schema_migration WHERE version = 9999");
    assert_grv_ok(grv_pg_session_reclaim(NULL, server, &error));
    grv_pg_session_close(server);
}

int main(void)
{
    test_postgres_need();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(migration_is_told_and_done_once),
        cmocka_unit_test_setup_teardown(other_schemas_are_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(writers_and_one_alone, setup, teardown),
        cmocka_unit_test_setup_teardown(migration_waits_for_writers, setup, teardown),
        cmocka_unit_test_setup_teardown(a_lost_connection, setup, teardown),
        cmocka_unit_test_setup_teardown(work_left_unended, setup, teardown),
        cmocka_unit_test_setup_teardown(those_who_give_way, setup, teardown),
        cmocka_unit_test_setup_teardown(those_who_do_not, setup, teardown),
        cmocka_unit_test_setup_teardown(one_at_a_time, setup, teardown),
        cmocka_unit_test_setup_teardown(one_who_stops_waiting, setup, teardown),
        cmocka_unit_test_setup_teardown(connections_lost_on_the_way, setup, teardown),
        cmocka_unit_test_setup_teardown(a_lost_connection_while_wanted, setup, teardown),
        cmocka_unit_test_setup_teardown(a_schema_changed_meanwhile, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
