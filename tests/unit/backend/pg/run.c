/* SPDX-License-Identifier: Apache-2.0 */
/* The PostgreSQL handle against a real server: values both ways, transactions, and what becomes of
 * them when connections die. */
#include "backend/pg/pool.h"

#include "postgres.h"
#include "test.h"

#include <dirent.h>
#include <pthread.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

typedef struct rig {
    char conninfo[512];
    grv_pg *pg;
} rig;

static int setup(void **state)
{
    rig *made = calloc(1, sizeof *made);
    grv_error error = GRV_ERROR_INIT;
    test_postgres_make(made->conninfo);
    test_postgres_sql(made->conninfo, "CREATE TABLE public.t (k int8 PRIMARY KEY, v bytea)");
    grv_pg_config config = {.conninfo = made->conninfo, .connections = 2, .any_schema = true};
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

static const grv_pg_statement insert = {"insert", "INSERT INTO public.t VALUES ($1, $2)"};
static const grv_pg_statement upsert = {
    "upsert", "INSERT INTO public.t VALUES ($1, $2) ON CONFLICT (k) DO UPDATE SET v = excluded.v"};
static const grv_pg_statement count_all = {"count", "SELECT count(*) FROM public.t"};

static int64_t count_of(rig *made)
{
    grv_error error = GRV_ERROR_INIT;
    PGresult *result = NULL;
    int64_t count = -1;
    assert_grv_ok(grv_pg_read(NULL, made->pg, &count_all, NULL, &result, &error));
    assert_grv_ok(grv_pg_cell_int64(result, 0, 0, &count, &error));
    PQclear(result);
    return count;
}

/* ---- Values ---- */

static void values_go_both_ways(void **state)
{
    rig *made = *state;
    grv_error error = GRV_ERROR_INIT;
    static const grv_pg_statement echo = {
        "echo", "SELECT $1::int8, $2::int4, $3::int2, $4::bool, $5::bytea, $6::text, $7::int8[], "
                "$8::bytea[], $9::uuid, $10::int8"};
    grv_pg_params params = {0};
    grv_pg_add_int64(&params, INT64_MIN);
    grv_pg_add_int32(&params, -7);
    grv_pg_add_int16(&params, 32767);
    grv_pg_add_bool(&params, true);
    grv_pg_add_bytes(&params, grv_bytes_of("a\0b", 3));
    grv_pg_add_text(&params, "text");
    grv_pg_array numbers;
    grv_pg_array blobs;
    assert_grv_ok(grv_pg_array_init(&numbers, GRV_PG_INT8, &error));
    assert_grv_ok(grv_pg_array_init(&blobs, GRV_PG_BYTEA, &error));
    assert_grv_ok(grv_pg_array_add_int64(&numbers, -1, &error));
    assert_grv_ok(grv_pg_array_add_int64(&numbers, 5, &error));
    grv_pg_add_bytes(&params, grv_pg_array_bytes(&numbers));
    grv_pg_add_bytes(&params, grv_pg_array_bytes(&blobs));
    grv_pg_add_bytes(&params, grv_bytes_of("0123456789abcdef", 16));
    grv_pg_add_null(&params);
    PGresult *result = NULL;
    assert_grv_ok(grv_pg_read(NULL, made->pg, &echo, &params, &result, &error));
    int64_t wide = 0;
    int32_t middle = 0;
    int16_t narrow = 0;
    bool truth = false;
    assert_grv_ok(grv_pg_cell_int64(result, 0, 0, &wide, &error));
    assert_grv_ok(grv_pg_cell_int32(result, 0, 1, &middle, &error));
    assert_grv_ok(grv_pg_cell_int16(result, 0, 2, &narrow, &error));
    assert_grv_ok(grv_pg_cell_bool(result, 0, 3, &truth, &error));
    assert_true(wide == INT64_MIN && middle == -7 && narrow == 32767 && truth);
    assert_int_equal(grv_pg_cell(result, 0, 4).size, 3);
    assert_memory_equal(grv_pg_cell(result, 0, 4).data, "a\0b", 3);
    assert_memory_equal(grv_pg_cell(result, 0, 5).data, "text", 4);
    grv_bytes sent = grv_pg_array_bytes(&numbers);
    assert_int_equal(grv_pg_cell(result, 0, 6).size, sent.size);
    assert_memory_equal(grv_pg_cell(result, 0, 6).data, sent.data, sent.size);
    assert_memory_equal(grv_pg_cell(result, 0, 8).data, "0123456789abcdef", 16);
    assert_true(grv_pg_is_null(result, 0, 9));
    assert_grv_status(grv_pg_cell_int64(result, 0, 9, &wide, NULL), GRV_CORRUPT);
    assert_grv_status(grv_pg_cell_int64(result, 0, 1, &wide, NULL), GRV_CORRUPT);
    PQclear(result);
    grv_pg_array_done(&numbers);
    grv_pg_array_done(&blobs);
}

/* Larger than any socket's buffers, both ways at once. */
static void large_values_do_not_jam(void **state)
{
    rig *made = *state;
    grv_error error = GRV_ERROR_INIT;
    static const grv_pg_statement echo = {"large", "SELECT $1::bytea || '\\x00'::bytea"};
    size_t size = (size_t)24 << 20;
    uint8_t *data = malloc(size);
    memset(data, 0xa5, size);
    grv_pg_params params = {0};
    grv_pg_add_bytes(&params, grv_bytes_of(data, size));
    grv_pg_step steps[3] = {{&echo, &params}, {&echo, &params}, {&echo, &params}};
    grv_pg_work work = {.steps = steps, .count = 3, .reads = true};
    PGresult *results[3];
    assert_grv_ok(grv_pg_run(NULL, made->pg, &work, results, &error));
    for (int i = 0; i < 3; i++) {
        assert_int_equal(grv_pg_cell(results[i], 0, 0).size, size + 1);
        assert_memory_equal(grv_pg_cell(results[i], 0, 0).data, data, size);
    }
    grv_pg_clear(results, 3);
    free(data);
}

/* ---- Transactions ---- */

static void insert_step(grv_pg_params *params, int64_t key)
{
    *params = (grv_pg_params){0};
    grv_pg_add_int64(params, key);
    grv_pg_add_bytes(params, grv_bytes_of("v", 1));
}

static void all_or_nothing(void **state)
{
    rig *made = *state;
    grv_error error = GRV_ERROR_INIT;
    grv_pg_params first;
    grv_pg_params second;
    insert_step(&first, 1);
    insert_step(&second, 2);
    grv_pg_step steps[3] = {{&insert, &first}, {&insert, &second}, {&insert, &first}};
    for (int way = 0; way < 4; way++) {
        grv_pg_work work = {
            .steps = steps, .count = 3, .ordered = way & 1, .repeatable = (way & 2) != 0};
        PGresult *results[3];
        assert_grv_status(grv_pg_run(NULL, made->pg, &work, results, &error), GRV_ALREADY_EXISTS);
        assert_string_equal(error.native_text, "23505");
        assert_int_equal(count_of(made), 0);
        work.count = 2;
        assert_grv_ok(grv_pg_run(NULL, made->pg, &work, results, &error));
        grv_pg_clear(results, 2);
        assert_int_equal(count_of(made), 2);
        test_postgres_sql(made->conninfo, "TRUNCATE public.t");
    }
}

static int32_t backend_pid(grv_pg *pg)
{
    static const grv_pg_statement statement = {"pid", "SELECT pg_catalog.pg_backend_pid()"};
    grv_error error = GRV_ERROR_INIT;
    PGresult *result = NULL;
    int32_t pid = 0;
    assert_grv_ok(grv_pg_read(NULL, pg, &statement, NULL, &result, &error));
    assert_grv_ok(grv_pg_cell_int32(result, 0, 0, &pid, &error));
    PQclear(result);
    return pid;
}

/* Nor is it tried again for a status that another transaction might not get. */
static void a_failed_transaction_keeps_its_connection(void **state)
{
    rig *made = *state;
    grv_error error = GRV_ERROR_INIT;
    grv_pg_config config = {.conninfo = made->conninfo, .connections = 1, .any_schema = true};
    grv_pg *pg = NULL;
    assert_grv_ok(grv_pg_open(NULL, &config, &pg, &error));
    int32_t pid = backend_pid(pg);
    static const grv_pg_statement refusal = {
        "refusal", "DO $$ BEGIN RAISE EXCEPTION 'mine' USING ERRCODE = 'GV004'; END $$"};
    grv_pg_params params;
    insert_step(&params, 1);
    grv_pg_step steps[2] = {{&insert, &params}, {&refusal, NULL}};
    for (int way = 0; way < 4; way++) {
        grv_pg_work work = {
            .steps = steps, .count = 2, .ordered = way & 1, .repeatable = (way & 2) != 0};
        PGresult *results[2];
        uint64_t begun_ns = grv_now_ns();
        assert_grv_status(grv_pg_run(NULL, pg, &work, results, &error), GRV_UNAVAILABLE);
        assert_true(grv_now_ns() - begun_ns < UINT64_C(20000000000));
        assert_int_equal(backend_pid(pg), pid);
    }
    grv_pg_close(pg);
    assert_int_equal(count_of(made), 0);
}

static void ordered_is_for_one_transaction(void **state)
{
    rig *made = *state;
    grv_error error = GRV_ERROR_INIT;
    static const grv_pg_statement setting = {
        "setting", "SELECT current_setting('synchronous_commit') = 'off'"};
    grv_pg_step step = {&setting, NULL};
    for (int i = 0; i < 4; i++) {
        grv_pg_work work = {.steps = &step, .count = 1, .ordered = i % 2 == 0, .repeatable = i < 2};
        PGresult *result;
        bool off = false;
        assert_grv_ok(grv_pg_run(NULL, made->pg, &work, &result, &error));
        assert_grv_ok(grv_pg_cell_bool(result, 0, 0, &off, &error));
        assert_int_equal(off, i % 2 == 0);
        PQclear(result);
    }
}

/* Also on a connection that has to be told a new time limit first. */
static void reads_see_one_snapshot_within_any_deadline(void **state)
{
    rig *made = *state;
    grv_error error = GRV_ERROR_INIT;
    static const grv_pg_statement isolation = {
        "isolation", "SELECT pg_catalog.current_setting('transaction_isolation')"};
    grv_pg_step steps[2] = {{&count_all, NULL}, {&isolation, NULL}};
    grv_pg_work work = {.steps = steps, .count = 2, .reads = true};
    for (uint64_t seconds = 30; seconds < 1000; seconds *= 5) {
        grv_call call = {.deadline_ns = grv_now_ns() + seconds * UINT64_C(1000000000)};
        PGresult *results[2];
        assert_grv_ok(grv_pg_run(&call, made->pg, &work, results, &error));
        grv_bytes level = grv_pg_cell(results[1], 0, 0);
        assert_int_equal(level.size, strlen("repeatable read"));
        assert_memory_equal(level.data, "repeatable read", level.size);
        grv_pg_clear(results, 2);
    }
}

static void statuses(void **state)
{
    rig *made = *state;
    grv_error error = GRV_ERROR_INIT;
    static const struct {
        grv_pg_statement statement;
        grv_status status;
    } cases[] = {
        {{"e1", "SELECT * FROM nowhere.at_all"}, GRV_CONFLICT},
        {{"e2", "SELECT 1 / 0"}, GRV_INVALID_ARGUMENT},
        {{"e3", "SELECT pg_catalog.pg_read_file('/etc/passwd')"}, GRV_PERMISSION},
        {{"e4", "DO $$ BEGIN RAISE EXCEPTION 'mine' USING ERRCODE = 'GV001'; END $$"},
         GRV_CONFLICT},
        {{"e5", "DO $$ BEGIN RAISE EXCEPTION 'mine' USING ERRCODE = 'GV002'; END $$"},
         GRV_NOT_FOUND},
        {{"e6", "DO $$ BEGIN RAISE EXCEPTION 'mine' USING ERRCODE = '53100'; END $$"},
         GRV_OUT_OF_SPACE},
        {{"e7", "INSERT INTO public.t VALUES (NULL, NULL)"}, GRV_INVALID_ARGUMENT},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        PGresult *result = NULL;
        assert_grv_status(grv_pg_write(NULL, made->pg, &cases[i].statement, NULL, &result, &error),
                          cases[i].status);
        assert_null(result);
        assert_int_equal(error.native_kind, GRV_NATIVE_SQLSTATE);
    }
    assert_int_equal(count_of(made), 0);
}

/* ---- Trouble ---- */

static void *deadlock_one(void *argument)
{
    rig *made = ((void **)argument)[0];
    bool swap = ((void **)argument)[1] != NULL;
    static const grv_pg_statement nap = {"nap", "SELECT pg_catalog.pg_sleep(0.3)"};
    grv_pg_params one;
    grv_pg_params two;
    insert_step(&one, swap ? 2 : 1);
    insert_step(&two, swap ? 1 : 2);
    grv_pg_step steps[3] = {{&upsert, &one}, {&nap, NULL}, {&upsert, &two}};
    grv_pg_work work = {.steps = steps, .count = 3};
    PGresult *results[3] = {NULL};
    grv_status status = grv_pg_run(NULL, made->pg, &work, results, NULL);
    grv_pg_clear(results, 3);
    return status ? argument : NULL;
}

static void a_deadlock_is_tried_again(void **state)
{
    rig *made = *state;
    pthread_t threads[2];
    void *arguments[2][2] = {{made, NULL}, {made, made}};
    for (int i = 0; i < 2; i++) {
        pthread_create(&threads[i], NULL, deadlock_one, arguments[i]);
    }
    for (int i = 0; i < 2; i++) {
        void *failed;
        pthread_join(threads[i], &failed);
        assert_null(failed);
    }
    assert_int_equal(count_of(made), 2);
}

static void killed_connections_are_replaced(void **state)
{
    rig *made = *state;
    grv_error error = GRV_ERROR_INIT;
    for (int round = 0; round < 3; round++) {
        test_postgres_sql(made->conninfo,
                          "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE "
                          "datname = current_database() AND pid <> pg_backend_pid()");
        grv_pg_params params;
        insert_step(&params, round);
        grv_pg_step step = {&insert, &params};
        grv_pg_work work = {.steps = &step, .count = 1};
        PGresult *result;
        assert_grv_ok(grv_pg_run(NULL, made->pg, &work, &result, &error));
        PQclear(result);
        assert_int_equal(count_of(made), round + 1);
    }
}

/* Cuts every TCP connection of this process, which has only the pool's. */
static void cut_sockets(void)
{
    DIR *directory = opendir("/proc/self/fd");
    assert_non_null(directory);
    for (struct dirent *entry; (entry = readdir(directory));) {
        int fd = (int)strtol(entry->d_name, NULL, 10);
        struct stat st;
        if (entry->d_name[0] != '.' && fstat(fd, &st) == 0 && S_ISSOCK(st.st_mode)) {
            shutdown(fd, SHUT_RDWR);
        }
    }
    closedir(directory);
}

/* Cuts them in a while, from a child that has them too: a thread would touch descriptors while the
 * library closes them. */
static pid_t cut_soon(void)
{
    pid_t child = fork();
    if (child == 0) {
        usleep(400000);
        cut_sockets();
        _exit(0);
    }
    assert_true(child > 0);
    return child;
}

/* The commit takes a second; its answer is lost half way. It must be found out, not done twice. */
static void a_lost_commit_is_looked_up(void **state)
{
    rig *made = *state;
    grv_error error = GRV_ERROR_INIT;
    test_postgres_sql(made->conninfo,
                      "CREATE FUNCTION public.slow() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
                      "PERFORM pg_catalog.pg_sleep(1); RETURN NULL; END $$;"
                      "CREATE CONSTRAINT TRIGGER slow AFTER INSERT ON public.t DEFERRABLE "
                      "INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION public.slow()");
    static const grv_pg_statement serial = {
        "serial", "INSERT INTO public.t SELECT coalesce(max(k), 0) + 1, NULL FROM public.t "
                  "RETURNING k"};
    grv_pg_step step = {&serial, NULL};
    grv_pg_work work = {.steps = &step, .count = 1};
    PGresult *result;
    pid_t child = cut_soon();
    assert_grv_ok(grv_pg_run(NULL, made->pg, &work, &result, &error));
    int ended = -1;
    assert_int_equal(waitpid(child, &ended, 0), child);
    assert_int_equal(ended, 0);
    int64_t key = 0;
    assert_grv_ok(grv_pg_cell_int64(result, 0, 0, &key, &error));
    PQclear(result);
    assert_int_equal(key, 1);
    assert_int_equal(count_of(made), 1);
}

static void a_deadline_holds(void **state)
{
    rig *made = *state;
    grv_error error = GRV_ERROR_INIT;
    static const grv_pg_statement nap = {"nap_long", "SELECT pg_catalog.pg_sleep(30)"};
    uint64_t begun_ns = grv_now_ns();
    grv_call call = {.deadline_ns = begun_ns + UINT64_C(300000000)};
    PGresult *result;
    assert_grv_status(grv_pg_read(&call, made->pg, &nap, NULL, &result, &error), GRV_TIMEOUT);
    assert_true(grv_now_ns() - begun_ns < UINT64_C(25000000000));
    grv_cancel cancel = {0};
    grv_cancel_raise(&cancel);
    call = (grv_call){.cancel = &cancel};
    assert_grv_status(grv_pg_read(&call, made->pg, &nap, NULL, &result, &error), GRV_CANCELLED);
    assert_int_equal(count_of(made), 0);
}

/* ---- Opening ---- */

static void opening_fails_by_class(void **state)
{
    rig *made = *state;
    grv_error error = GRV_ERROR_INIT;
    grv_pg *pg = NULL;
    char address[512];
    test_postgres_address("no_such_database", address);
    grv_pg_config config = {.conninfo = address, .any_schema = true};
    assert_grv_status(grv_pg_open(NULL, &config, &pg, &error), GRV_NOT_FOUND);
    assert_non_null(strstr(error.message, "no_such_database"));
    config.conninfo = "postgresql://user:sesame@[broken";
    assert_grv_status(grv_pg_open(NULL, &config, &pg, &error), GRV_INVALID_ARGUMENT);
    assert_null(strstr(error.message, "sesame"));
    config.conninfo = "postgresql://user:sesame@127.0.0.1:1/x";
    config.patience_ns = 200000000;
    assert_grv_status(grv_pg_open(NULL, &config, &pg, &error), GRV_UNAVAILABLE);
    assert_null(strstr(error.message, "sesame"));
    config = (grv_pg_config){.conninfo = made->conninfo};
    assert_grv_status(grv_pg_open(NULL, &config, &pg, &error), GRV_CONFLICT);
    assert_non_null(strstr(error.message, "graviton migrate"));
    assert_null(pg);
}

int main(void)
{
    test_postgres_need();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(values_go_both_ways, setup, teardown),
        cmocka_unit_test_setup_teardown(large_values_do_not_jam, setup, teardown),
        cmocka_unit_test_setup_teardown(all_or_nothing, setup, teardown),
        cmocka_unit_test_setup_teardown(a_failed_transaction_keeps_its_connection, setup, teardown),
        cmocka_unit_test_setup_teardown(ordered_is_for_one_transaction, setup, teardown),
        cmocka_unit_test_setup_teardown(reads_see_one_snapshot_within_any_deadline, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(statuses, setup, teardown),
        cmocka_unit_test_setup_teardown(a_deadlock_is_tried_again, setup, teardown),
        cmocka_unit_test_setup_teardown(killed_connections_are_replaced, setup, teardown),
        cmocka_unit_test_setup_teardown(a_lost_commit_is_looked_up, setup, teardown),
        cmocka_unit_test_setup_teardown(a_deadline_holds, setup, teardown),
        cmocka_unit_test_setup_teardown(opening_fails_by_class, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
