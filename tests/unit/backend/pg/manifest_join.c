/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Commits of several threads in one statement: that they are, and that what befalls one put is no
 * other's affair. A lock on the table holds statements up for as long as a test needs.
 */
#include "backend/pg/manifest_repo.h"

#include "os/clock.h"
#include "postgres_store.h"
#include "test.h"

#include <dlfcn.h>
#include <pthread.h>
#include <sys/socket.h>

#define PUTS 8u

/* ---- What goes to the server: this takes the place of libpq's ---- */

static unsigned joints;  /* statements that have several roots */
static unsigned singles; /* and one */
static int joint_socket;

int PQsendQueryPrepared(PGconn *conn, const char *stmtName, int nParams,
                        const char *const *paramValues, const int *paramLengths,
                        const int *paramFormats, int resultFormat)
{
    int (*real)(PGconn *, const char *, int, const char *const *, const int *, const int *, int) =
        NULL;
    *(void **)&real = dlsym(RTLD_NEXT, "PQsendQueryPrepared");
    if (strcmp(stmtName, "roots_put") == 0) {
        __atomic_store_n(&joint_socket, PQsocket(conn), __ATOMIC_RELEASE);
        __atomic_add_fetch(&joints, 1, __ATOMIC_ACQ_REL);
    } else if (strcmp(stmtName, "root_put_quick") == 0) {
        __atomic_add_fetch(&singles, 1, __ATOMIC_ACQ_REL);
    }
    return real(conn, stmtName, nParams, paramValues, paramLengths, paramFormats, resultFormat);
}

/* ---- A store, and puts that run at once ---- */

typedef struct one_put {
    pthread_t thread;
    grv_manifest_repo *repo;
    grv_cancel cancel;
    grv_call call;
    grv_blob_key key;
    grv_manifest_commit commit;
    grv_status status;
    grv_error error;
} one_put;

typedef struct rig {
    test_postgres_store store;
    grv_manifest_repo *repo;
    PGconn *holder; /* has the lock */
    one_put puts[PUTS];
} rig;

static void hold_sql(rig *self, const char *sql)
{
    PGresult *result = PQexec(self->holder, sql);
    assert_int_equal(PQresultStatus(result), PGRES_COMMAND_OK);
    PQclear(result);
}

static int setup(void **state)
{
    grv_error error = GRV_ERROR_INIT;
    rig *self = calloc(1, sizeof *self);
    test_postgres_make_store(self->store.conninfo);
    const grv_pg_config config = {.conninfo = self->store.conninfo, .connections = 4};
    assert_grv_ok(grv_pg_open(NULL, &config, &self->store.pg, &error));
    assert_grv_ok(grv_manifest_repo_pg_new(self->store.pg, NULL, &self->repo, &error));
    self->holder = PQconnectdb(self->store.conninfo);
    hold_sql(self, "BEGIN; LOCK TABLE graviton.blob IN EXCLUSIVE MODE");
    joints = 0;
    *state = self;
    return 0;
}

static int teardown(void **state)
{
    rig *self = *state;
    PQfinish(self->holder);
    grv_manifest_repo_free(self->repo);
    grv_pg_close(self->store.pg);
    test_postgres_remove(self->store.conninfo);
    free(self);
    return 0;
}

static void *run_put(void *argument)
{
    one_put *self = argument;
    const grv_manifest_plan plan = {.block_hash = GRV_HASH_BLAKE3,
                                    .chunker = grv_chunker_default()};
    const grv_block_key block = {.digest = self->key.digest, .size = (uint32_t)self->key.size};
    grv_manifest_put *put = NULL;
    self->status = grv_manifest_repo_open_put(NULL, self->repo, &plan, &put, &self->error);
    if (!self->status) {
        self->status = grv_manifest_put_append(NULL, put, &block, 1, &self->error);
    }
    if (!self->status) {
        self->status = grv_manifest_put_commit(&self->call, put, &self->key, NULL, &self->commit,
                                               &self->error);
    }
    grv_manifest_put_free(put);
    return NULL;
}

/* Lets threads come so far that they wait, each behind the one before it. */
static void settle(void)
{
    grv_clock_sleep(UINT64_C(150000000));
}

/* How far puts have come: statements that were sent, and those that wait for the end of one. */
static unsigned progress(const rig *self)
{
    grv_pg_joins *joins = &((grv_manifest_repo_pg *)(void *)self->repo)->joins;
    pthread_mutex_lock(&joins->lock);
    unsigned waiting = joins->waiting;
    pthread_mutex_unlock(&joins->lock);
    return waiting + __atomic_load_n(&joints, __ATOMIC_ACQUIRE) +
           __atomic_load_n(&singles, __ATOMIC_ACQUIRE);
}

static void start_put(rig *self, unsigned index, uint8_t name)
{
    one_put *put = &self->puts[index];
    unsigned before = progress(self);
    *put = (one_put){.repo = self->repo, .call = {.cancel = &put->cancel}};
    put->key = (grv_blob_key){.digest = {.hash = GRV_HASH_BLAKE3}, .size = 10};
    memset(put->key.digest.bytes, name, GRV_DIGEST_SIZE);
    assert_int_equal(pthread_create(&put->thread, NULL, run_put, put), 0);
    for (int i = 0; i < 6000 && progress(self) == before; i++) {
        grv_clock_sleep(UINT64_C(10000000));
    }
    assert_int_equal(progress(self), before + 1);
}

static void end_puts(rig *self, unsigned first, unsigned end)
{
    for (unsigned i = first; i < end; i++) {
        pthread_join(self->puts[i].thread, NULL);
    }
}

static void assert_stored(const one_put *put, bool already)
{
    grv_blob_info info;
    grv_error error = put->error;
    assert_grv_ok(put->status);
    assert_int_equal(put->commit.already_stored, already);
    assert_grv_ok(grv_manifest_repo_stat(NULL, put->repo, &put->key, &info, &error));
    assert_int_equal(info.sequence, put->commit.info.sequence);
}

/* ---- Tests ---- */

static void all_that_wait_go_together(void **state)
{
    rig *self = *state;
    for (unsigned i = 0; i < PUTS; i++) {
        start_put(self, i, (uint8_t)i);
    }
    hold_sql(self, "COMMIT");
    end_puts(self, 0, PUTS);
    assert_int_equal(joints, 1);
    for (unsigned i = 0; i < PUTS; i++) {
        assert_stored(&self->puts[i], false);
        for (unsigned k = 0; k < i; k++) {
            assert_int_not_equal(self->puts[i].commit.info.sequence,
                                 self->puts[k].commit.info.sequence);
        }
    }
}

static void equal_blobs_are_stored_once(void **state)
{
    rig *self = *state;
    for (unsigned i = 0; i < PUTS; i++) {
        start_put(self, i, (uint8_t)(i % 3));
    }
    hold_sql(self, "COMMIT");
    end_puts(self, 0, PUTS);
    unsigned stored = 0;
    for (unsigned i = 0; i < PUTS; i++) {
        assert_stored(&self->puts[i], self->puts[i].commit.already_stored);
        stored += !self->puts[i].commit.already_stored;
    }
    assert_int_equal(stored, 3);
}

static void a_refused_row_is_its_own_affair(void **state)
{
    rig *self = *state;
    hold_sql(self, "COMMIT");
    hold_sql(self, "CREATE FUNCTION public.no() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
                   "RAISE EXCEPTION 'not this one' USING ERRCODE = 'check_violation'; END $$;"
                   "CREATE TRIGGER no BEFORE INSERT ON graviton.blob FOR EACH ROW WHEN "
                   "(get_byte(NEW.hash_bytes, 0) = 5) EXECUTE FUNCTION public.no();"
                   "BEGIN; LOCK TABLE graviton.blob IN EXCLUSIVE MODE");
    for (unsigned i = 0; i < PUTS; i++) {
        start_put(self, i, (uint8_t)i);
    }
    hold_sql(self, "COMMIT");
    end_puts(self, 0, PUTS);
    assert_true(joints >= 1);
    for (unsigned i = 0; i < PUTS; i++) {
        if (i == 5) {
            assert_grv_status(self->puts[i].status, GRV_INVALID_ARGUMENT);
            assert_non_null(strstr(self->puts[i].error.message, "not this one"));
        } else {
            assert_stored(&self->puts[i], false);
        }
    }
}

/* Gives a put up, and waits for its thread. */
static void give_up(rig *self, unsigned index)
{
    grv_cancel_raise(&self->puts[index].cancel);
    end_puts(self, index, index + 1);
    assert_grv_status(self->puts[index].status, GRV_CANCELLED);
}

/* Puts of which the first is given up, so that the others are in a statement that the lock holds.
 */
static void start_joint(rig *self, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        start_put(self, i, (uint8_t)i);
    }
    give_up(self, 0);
    for (unsigned i = 0; i < 400 && !__atomic_load_n(&joints, __ATOMIC_ACQUIRE); i++) {
        settle();
    }
    settle();
    assert_int_equal(__atomic_load_n(&joints, __ATOMIC_ACQUIRE), 1);
}

/* One that waits, one that leads, and one in the statement. */
static void each_put_has_its_own_call(void **state)
{
    rig *self = *state;
    start_put(self, 4, 4);
    start_put(self, 5, 5);
    give_up(self, 5);
    give_up(self, 4);
    start_joint(self, 4);
    give_up(self, 2);
    assert_non_null(strstr(self->puts[2].error.message, "not known"));
    hold_sql(self, "COMMIT");
    end_puts(self, 1, 2);
    end_puts(self, 3, 4);
    assert_stored(&self->puts[1], false);
    assert_stored(&self->puts[3], false);
}

/* Who leads is given up: the others are tried again. */
static void a_joint_outlives_its_leader(void **state)
{
    rig *self = *state;
    start_joint(self, 5);
    give_up(self, 1);
    hold_sql(self, "COMMIT");
    end_puts(self, 2, 5);
    for (unsigned i = 2; i < 5; i++) {
        assert_stored(&self->puts[i], false);
    }
}

static void an_answer_that_is_lost_is_found_for_each(void **state)
{
    rig *self = *state;
    start_joint(self, 5);
    assert_int_equal(shutdown(__atomic_load_n(&joint_socket, __ATOMIC_ACQUIRE), SHUT_RDWR), 0);
    settle();
    hold_sql(self, "COMMIT");
    end_puts(self, 1, 5);
    for (unsigned i = 1; i < 5; i++) {
        assert_stored(&self->puts[i], false);
    }
}

int main(void)
{
    test_postgres_need();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(all_that_wait_go_together, setup, teardown),
        cmocka_unit_test_setup_teardown(equal_blobs_are_stored_once, setup, teardown),
        cmocka_unit_test_setup_teardown(a_refused_row_is_its_own_affair, setup, teardown),
        cmocka_unit_test_setup_teardown(each_put_has_its_own_call, setup, teardown),
        cmocka_unit_test_setup_teardown(a_joint_outlives_its_leader, setup, teardown),
        cmocka_unit_test_setup_teardown(an_answer_that_is_lost_is_found_for_each, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
