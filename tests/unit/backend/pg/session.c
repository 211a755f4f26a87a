/* SPDX-License-Identifier: Apache-2.0 */
/* Migration, opening by schema version, and sessions: who keeps whom out. */
#include "backend/pg/session.h"

#include "backend/pg/pool.h"
#include "postgres.h"
#include "test.h"

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
    assert_grv_status(grv_pg_session_exclude(NULL, two, &error), GRV_UNAVAILABLE);
    assert_non_null(strstr(error.message, "one put"));
    grv_pg_session_close(one);
    assert_grv_ok(grv_pg_session_exclude(NULL, two, &error));
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
    assert_grv_ok(grv_pg_session_exclude(NULL, alone, &error));
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
    assert_grv_ok(grv_pg_session_exclude(NULL, dead, &error));
    terminate_all(made);
    assert_grv_status(grv_pg_session_holds(NULL, dead, &error), GRV_UNAVAILABLE);
    grv_pg_session_close(dead);
    grv_pg_session *writer = open_session(made->pg, "writer");
    assert_grv_status(grv_pg_session_current(NULL, writer, id, &error), GRV_UNAVAILABLE);
    assert_non_null(strstr(error.message, "dead gc"));
    grv_pg_session_close(writer);
    grv_pg_session *next = open_session(made->pg, "next gc");
    assert_grv_ok(grv_pg_session_exclude(NULL, next, &error));
    grv_pg_session_admit(next);
    assert_grv_ok(grv_pg_session_current(NULL, next, id, &error));
    grv_pg_session_close(next);
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
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
