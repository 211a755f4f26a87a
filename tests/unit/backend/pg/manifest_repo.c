/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the conformance suite cannot see of the manifest repository over PostgreSQL: round trips,
 * sessions that were revoked, connections that die, several handles at once, damage in the rows.
 */
#include "backend/pg/manifest_repo.h"

#include "postgres_store.h"
#include "test.h"

#include <dirent.h>
#include <dlfcn.h>
#include <pthread.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define BLOCK_SIZE 10u

/* ---- Counting what goes to the server: these take the place of libpq's ---- */

static unsigned statements;
static unsigned round_trips;

int PQsendQueryPrepared(PGconn *conn, const char *stmtName, int nParams,
                        const char *const *paramValues, const int *paramLengths,
                        const int *paramFormats, int resultFormat)
{
    int (*real)(PGconn *, const char *, int, const char *const *, const int *, const int *, int) =
        NULL;
    *(void **)&real = dlsym(RTLD_NEXT, "PQsendQueryPrepared");
    __atomic_add_fetch(&statements, 1, __ATOMIC_RELAXED);
    return real(conn, stmtName, nParams, paramValues, paramLengths, paramFormats, resultFormat);
}

int PQpipelineSync(PGconn *conn)
{
    int (*real)(PGconn *) = NULL;
    *(void **)&real = dlsym(RTLD_NEXT, "PQpipelineSync");
    __atomic_add_fetch(&round_trips, 1, __ATOMIC_RELAXED);
    return real(conn);
}

/* ---- A store of a test ---- */

/* A handle with its session and repositories. */
typedef struct opened {
    grv_pg *pg;
    grv_pg_session *session;
    grv_manifest_repo *repo; /* with the usual limits */
    grv_manifest_repo *tiny; /* 2 entries a page */
} opened;

typedef struct rig {
    char conninfo[512];
    opened one;
    opened two;
} rig;

static void open_one(const char *conninfo, opened *it)
{
    static const grv_manifest_limits tiny = {.page = 2, .inlined = 1, .children = 5};
    grv_error error = GRV_ERROR_INIT;
    const grv_pg_config config = {.conninfo = conninfo, .connections = 2};
    assert_grv_ok(grv_pg_open(NULL, &config, &it->pg, &error));
    assert_grv_ok(grv_pg_session_open(NULL, it->pg, "test", &it->session, &error));
    assert_grv_ok(grv_manifest_repo_pg_new(it->pg, it->session, &it->repo, &error));
    assert_grv_ok(grv_manifest_repo_pg_new_limited(it->pg, it->session, &tiny, &it->tiny, &error));
}

static void close_one(opened *it)
{
    grv_manifest_repo_free(it->tiny);
    grv_manifest_repo_free(it->repo);
    grv_pg_session_close(it->session);
    grv_pg_close(it->pg);
}

static int setup(void **state)
{
    rig *made = calloc(1, sizeof *made);
    test_postgres_make_store(made->conninfo);
    open_one(made->conninfo, &made->one);
    open_one(made->conninfo, &made->two);
    *state = made;
    return 0;
}

static int teardown(void **state)
{
    rig *made = *state;
    close_one(&made->one);
    close_one(&made->two);
    test_postgres_remove(made->conninfo);
    free(made);
    return 0;
}

/* A number that SQL gives. */
static long number_of(rig *made, const char *sql)
{
    PGconn *native = PQconnectdb(made->conninfo);
    PGresult *result = PQexec(native, sql);
    if (PQresultStatus(result) != PGRES_TUPLES_OK) {
        fail_msg("%s: %s", sql, PQerrorMessage(native));
    }
    long number = strtol(PQgetvalue(result, 0, 0), NULL, 10);
    PQclear(result);
    PQfinish(native);
    return number;
}

static long page_count(rig *made)
{
    return number_of(made, "SELECT count(*) FROM graviton.blob_manifest_page");
}

static grv_blob_key blob_of(uint8_t name, uint64_t blocks)
{
    grv_blob_key key = {.digest = {.hash = GRV_HASH_BLAKE3}, .size = blocks * BLOCK_SIZE};
    memset(key.digest.bytes, name, GRV_DIGEST_SIZE);
    return key;
}

static grv_block_key block_of(uint8_t name, uint64_t index)
{
    grv_block_key key = {.digest = {.hash = GRV_HASH_BLAKE3}, .size = BLOCK_SIZE};
    memset(key.digest.bytes, name, GRV_DIGEST_SIZE);
    memcpy(key.digest.bytes, &index, sizeof index);
    return key;
}

static grv_manifest_put *begin(grv_manifest_repo *repo)
{
    const grv_manifest_plan plan = {.block_hash = GRV_HASH_BLAKE3,
                                    .chunker = grv_chunker_default()};
    grv_error error = GRV_ERROR_INIT;
    grv_manifest_put *put = NULL;
    assert_grv_ok(grv_manifest_repo_open_put(NULL, repo, &plan, &put, &error));
    return put;
}

static void append(grv_manifest_put *put, uint8_t name, uint64_t first, uint64_t end)
{
    grv_error error = GRV_ERROR_INIT;
    grv_block_key keys[512];
    while (first < end) {
        size_t count = end - first < 512 ? (size_t)(end - first) : 512;
        for (size_t i = 0; i < count; i++) {
            keys[i] = block_of(name, first + i);
        }
        assert_grv_ok(grv_manifest_put_append(NULL, put, keys, count, &error));
        first += count;
    }
}

static grv_manifest_commit put_blob(grv_manifest_repo *repo, uint8_t name, uint64_t blocks)
{
    grv_error error = GRV_ERROR_INIT;
    grv_manifest_commit commit = {.already_stored = true};
    const grv_blob_key key = blob_of(name, blocks);
    grv_manifest_put *put = begin(repo);
    append(put, name, 0, blocks);
    assert_grv_ok(grv_manifest_put_commit(NULL, put, &key, NULL, &commit, &error));
    grv_manifest_put_free(put);
    return commit;
}

static grv_status stat_blob(grv_manifest_repo *repo, uint8_t name, uint64_t blocks,
                            grv_error *error)
{
    const grv_blob_key key = blob_of(name, blocks);
    grv_blob_info info;
    return grv_manifest_repo_stat(NULL, repo, &key, &info, error);
}

/* Reads references from block `first` on until the end or a failure; every one is checked. */
static grv_status read_blob(grv_manifest_repo *repo, uint8_t name, uint64_t blocks, uint64_t first,
                            grv_error *error)
{
    const grv_blob_key key = blob_of(name, blocks);
    grv_ref_cursor *cursor = NULL;
    grv_block_ref refs[500];
    size_t count = 1;
    grv_status status =
        grv_manifest_repo_open_refs(NULL, repo, &key, first * BLOCK_SIZE, &cursor, error);
    while (!status && count > 0) {
        status = grv_ref_cursor_next(NULL, cursor, refs, 500, &count, error);
        for (size_t i = 0; !status && i < count; i++, first++) {
            const grv_block_key want = block_of(name, first);
            assert_int_equal(grv_block_key_compare(&refs[i].key, &want), 0);
            assert_int_equal(refs[i].offset, first * BLOCK_SIZE);
        }
    }
    grv_ref_cursor_free(cursor);
    assert_true(status || first == blocks);
    return status;
}

/* ---- Cost ---- */

static void a_small_manifest_is_one_round_trip(void **state)
{
    rig *made = *state;
    put_blob(made->one.repo, 1, 16);
    put_blob(made->one.repo, 2, 16);
    for (uint8_t name = 3; name < 10; name++) {
        round_trips = 0;
        statements = 0;
        assert_false(put_blob(made->one.repo, name, 16).already_stored);
        assert_int_equal(round_trips, 1);
        assert_int_equal(statements, 1);
        assert_true(put_blob(made->one.repo, name, 16).already_stored);
    }
}

static void large_manifests_are_few_queries(void **state)
{
    enum { BLOCKS = 120000, PAGES = (BLOCKS + 1023) / 1024 };
    rig *made = *state;
    grv_error error = GRV_ERROR_INIT;
    put_blob(made->one.repo, 1, 1);
    round_trips = 0;
    put_blob(made->one.repo, 2, BLOCKS);
    assert_true(round_trips <= PAGES / 16 + 2);
    assert_int_equal(page_count(made), PAGES);
    round_trips = 0;
    assert_grv_ok(read_blob(made->one.repo, 2, BLOCKS, 0, &error));
    assert_true(round_trips <= 5 + PAGES / 16 + 1);
}

/* A range in the middle: the root, and one page of each level. */
static void a_range_reads_its_pages_alone(void **state)
{
    static const uint64_t blocks[] = {1, 6, 18};
    rig *made = *state;
    grv_error error = GRV_ERROR_INIT;
    for (unsigned depth = 0; depth < 3; depth++) {
        const grv_blob_key key = blob_of((uint8_t)(1 + depth), blocks[depth]);
        put_blob(made->one.tiny, (uint8_t)(1 + depth), blocks[depth]);
        grv_ref_cursor *cursor = NULL;
        grv_block_ref ref;
        size_t count = 0;
        statements = 0;
        assert_grv_ok(
            grv_manifest_repo_open_refs(NULL, made->one.tiny, &key, key.size / 2, &cursor, &error));
        assert_grv_ok(grv_ref_cursor_next(NULL, cursor, &ref, 1, &count, &error));
        grv_ref_cursor_free(cursor);
        assert_int_equal(count, 1);
        assert_int_equal(ref.offset, key.size / 2 / BLOCK_SIZE * BLOCK_SIZE);
        assert_int_equal(statements, 1 + depth);
    }
}

/* ---- Several at once ---- */

/* Numbers that were drawn ahead do not put a later commit before an earlier one. */
static void sequences_follow_the_order_of_commits(void **state)
{
    rig *made = *state;
    uint64_t last = 0;
    for (uint8_t name = 0; name < 60; name++) {
        opened *it = name % 7 < 3 ? &made->one : &made->two;
        uint64_t sequence = put_blob(it->repo, name, 1).info.sequence;
        assert_true(sequence > last);
        last = sequence;
    }
}

typedef struct racer {
    grv_manifest_repo *repo;
    pthread_barrier_t *start;
    unsigned stored;
    grv_status status;
} racer;

#define RACES 20u

static void *race(void *argument)
{
    racer *self = argument;
    const grv_manifest_plan plan = {.block_hash = GRV_HASH_BLAKE3,
                                    .chunker = grv_chunker_default()};
    for (unsigned i = 0; i < RACES; i++) {
        const uint64_t blocks = i % 2 ? 9 : 1;
        const grv_blob_key key = blob_of((uint8_t)i, blocks);
        grv_manifest_put *put = NULL;
        grv_manifest_commit commit = {.already_stored = true};
        grv_status status = grv_manifest_repo_open_put(NULL, self->repo, &plan, &put, NULL);
        for (uint64_t b = 0; b < blocks && !status; b++) {
            const grv_block_key block = block_of((uint8_t)i, b);
            status = grv_manifest_put_append(NULL, put, &block, 1, NULL);
        }
        pthread_barrier_wait(self->start);
        if (!status) {
            status = grv_manifest_put_commit(NULL, put, &key, NULL, &commit, NULL);
        }
        grv_manifest_put_free(put);
        self->stored += !commit.already_stored;
        self->status = self->status ? self->status : status;
    }
    return NULL;
}

static void of_two_commits_one_stores(void **state)
{
    rig *made = *state;
    grv_error error = GRV_ERROR_INIT;
    pthread_barrier_t start;
    pthread_barrier_init(&start, NULL, 2);
    racer racers[2] = {{.repo = made->one.tiny, .start = &start},
                       {.repo = made->two.tiny, .start = &start}};
    pthread_t threads[2];
    for (int i = 0; i < 2; i++) {
        pthread_create(&threads[i], NULL, race, &racers[i]);
    }
    for (int i = 0; i < 2; i++) {
        pthread_join(threads[i], NULL);
        assert_grv_status(racers[i].status, GRV_OK);
    }
    pthread_barrier_destroy(&start);
    assert_int_equal(racers[0].stored + racers[1].stored, RACES);
    assert_int_equal(number_of(made, "SELECT count(*) FROM graviton.blob"), RACES);
    assert_int_equal(page_count(made), RACES / 2 * 5);
    for (unsigned i = 0; i < RACES; i++) {
        assert_grv_ok(read_blob(made->one.repo, (uint8_t)i, i % 2 ? 9 : 1, 0, &error));
    }
}

/* ---- Sessions ---- */

static void a_commit_of_a_revoked_session_is_refused(void **state)
{
    rig *made = *state;
    grv_error error = GRV_ERROR_INIT;
    for (unsigned pages = 0; pages < 2; pages++) {
        const uint64_t blocks = pages ? 40000 : 1;
        const grv_blob_key key = blob_of(1, blocks);
        grv_manifest_commit commit;
        grv_manifest_put *put = begin(made->one.repo);
        append(put, 1, 0, blocks);
        test_postgres_sql(made->conninfo, "DELETE FROM graviton.session");
        assert_grv_status(grv_manifest_put_commit(NULL, put, &key, NULL, &commit, &error),
                          GRV_CONFLICT);
        assert_non_null(strstr(error.message, "collection"));
        assert_non_null(strstr(error.message, "put it again"));
        grv_manifest_put_free(put);
        assert_grv_status(stat_blob(made->one.repo, 1, blocks, &error), GRV_NOT_FOUND);
        assert_int_equal(page_count(made), 0);
        /* The next put has a new session. */
        assert_false(put_blob(made->one.repo, 1, blocks).already_stored);
        assert_grv_ok(read_blob(made->one.repo, 1, blocks, 0, &error));
        assert_grv_ok(grv_manifest_repo_remove(NULL, made->one.repo, &key, &error));
    }
}

/* ---- Connections that die ---- */

static void kill_connections(rig *made)
{
    test_postgres_sql(made->conninfo,
                      "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE "
                      "datname = current_database() AND pid <> pg_backend_pid()");
}

static void a_put_outlives_its_connections(void **state)
{
    enum { BLOCKS = 60000 };
    rig *made = *state;
    grv_error error = GRV_ERROR_INIT;
    const grv_blob_key key = blob_of(1, BLOCKS);
    grv_manifest_commit commit;
    grv_manifest_put *put = begin(made->one.repo);
    append(put, 1, 0, BLOCKS / 2);
    kill_connections(made);
    append(put, 1, BLOCKS / 2, BLOCKS);
    kill_connections(made);
    assert_grv_ok(grv_manifest_put_commit(NULL, put, &key, NULL, &commit, &error));
    grv_manifest_put_free(put);
    assert_false(commit.already_stored);
    kill_connections(made);
    assert_grv_ok(read_blob(made->one.repo, 1, BLOCKS, 0, &error));
}

/* Cuts every connection of this process after a while. From a child, which shares them: what it
 * does to them is no race in this process. */
static pid_t cut_soon(void)
{
    pid_t child = fork();
    if (child != 0) {
        return child;
    }
    usleep(400000);
    DIR *directory = opendir("/proc/self/fd");
    for (struct dirent *entry; directory && (entry = readdir(directory));) {
        int fd = (int)strtol(entry->d_name, NULL, 10);
        struct stat st;
        if (entry->d_name[0] != '.' && fstat(fd, &st) == 0 && S_ISSOCK(st.st_mode)) {
            shutdown(fd, SHUT_RDWR);
        }
    }
    _exit(0);
}

/* The commit takes a second, and its answer is lost half way: it is found to be this put's own. */
static void a_commit_without_an_answer_is_found(void **state)
{
    rig *made = *state;
    grv_error error = GRV_ERROR_INIT;
    put_blob(made->one.repo, 9, 1);
    test_postgres_sql(made->conninfo,
                      "CREATE FUNCTION public.slow() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
                      "PERFORM pg_catalog.pg_sleep(1); RETURN NULL; END $$;"
                      "CREATE CONSTRAINT TRIGGER slow AFTER INSERT ON graviton.blob DEFERRABLE "
                      "INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION public.slow()");
    const uint64_t sizes[] = {1, 2000};
    for (unsigned i = 0; i < 2; i++) {
        pid_t child = cut_soon();
        assert_true(child > 0);
        grv_manifest_commit commit = put_blob(made->one.repo, 1, sizes[i]);
        assert_int_equal(waitpid(child, NULL, 0), child);
        assert_false(commit.already_stored);
        assert_grv_ok(read_blob(made->one.repo, 1, sizes[i], 0, &error));
    }
    assert_int_equal(number_of(made, "SELECT count(*) FROM graviton.blob"), 3);
    assert_int_equal(page_count(made), 2);
}

static void pages_that_were_lost_are_told_of(void **state)
{
    rig *made = *state;
    grv_error error = GRV_ERROR_INIT;
    const grv_blob_key key = blob_of(1, 40000);
    grv_manifest_commit commit;
    grv_manifest_put *put = begin(made->one.repo);
    append(put, 1, 0, 40000);
    assert_true(page_count(made) > 0);
    test_postgres_sql(made->conninfo,
                      "DELETE FROM graviton.blob_manifest_page WHERE page_number = 3");
    assert_grv_status(grv_manifest_put_commit(NULL, put, &key, NULL, &commit, &error),
                      GRV_UNAVAILABLE);
    assert_non_null(strstr(error.message, "put it again"));
    grv_manifest_put_free(put);
    assert_int_equal(page_count(made), 0);
    assert_false(put_blob(made->one.repo, 1, 40000).already_stored);
}

/* ---- What is left and what goes ---- */

static void an_abandoned_put_leaves_nothing(void **state)
{
    rig *made = *state;
    grv_manifest_put *put = begin(made->one.repo);
    append(put, 1, 0, 40000);
    assert_true(page_count(made) > 0);
    grv_manifest_put_free(put);
    assert_int_equal(page_count(made), 0);
}

static void a_reader_sees_that_its_blob_has_gone(void **state)
{
    enum { BLOCKS = 30000 };
    rig *made = *state;
    grv_error error = GRV_ERROR_INIT;
    const grv_blob_key key = blob_of(1, BLOCKS);
    for (unsigned anew = 0; anew < 2; anew++) {
        static grv_block_ref refs[1024];
        grv_ref_cursor *cursor = NULL;
        size_t count = 0;
        put_blob(made->one.repo, 1, BLOCKS);
        assert_grv_ok(grv_manifest_repo_open_refs(NULL, made->one.repo, &key, 0, &cursor, &error));
        assert_grv_ok(grv_ref_cursor_next(NULL, cursor, refs, 1024, &count, &error));
        assert_grv_ok(grv_manifest_repo_remove(NULL, made->two.repo, &key, &error));
        assert_int_equal(page_count(made), 0);
        if (anew) {
            put_blob(made->two.repo, 1, BLOCKS);
        }
        grv_status status = GRV_OK;
        while (!status && count > 0) {
            status = grv_ref_cursor_next(NULL, cursor, refs, 1024, &count, &error);
        }
        assert_grv_status(status, GRV_NOT_FOUND);
        grv_ref_cursor_free(cursor);
    }
}

/* ---- Damage ---- */

static const char flip_pages[] =
    "ALTER TABLE graviton.blob_manifest_page DISABLE TRIGGER USER;"
    "UPDATE graviton.blob_manifest_page SET bytes = set_byte(bytes, 80, get_byte(bytes, 80) # 1);"
    "ALTER TABLE graviton.blob_manifest_page ENABLE TRIGGER USER";
static const char drop_page[] = "ALTER TABLE graviton.blob_manifest_page DISABLE TRIGGER USER;"
                                "DELETE FROM graviton.blob_manifest_page WHERE page_number = 2;"
                                "ALTER TABLE graviton.blob_manifest_page ENABLE TRIGGER USER";
static const char flip_roots[] =
    "ALTER TABLE graviton.blob DISABLE TRIGGER USER;"
    "UPDATE graviton.blob SET root = set_byte(root, 125, get_byte(root, 125) # 1) "
    "WHERE byte_length = 20;"
    "ALTER TABLE graviton.blob ENABLE TRIGGER USER";

static void damaged_pages_are_corrupt_and_name_the_blob(void **state)
{
    rig *made = *state;
    grv_error error = GRV_ERROR_INIT;
    char text[GRV_KEY_TEXT_SIZE];
    const grv_blob_key key = blob_of(1, 10);
    grv_blob_key_print(&key, text);
    put_blob(made->one.tiny, 1, 10);
    test_postgres_sql(made->conninfo, drop_page);
    assert_grv_status(read_blob(made->one.repo, 1, 10, 0, &error), GRV_CORRUPT);
    assert_non_null(strstr(error.message, text));
    assert_non_null(strstr(error.message, "missing"));
    test_postgres_sql(made->conninfo, flip_pages);
    assert_grv_status(read_blob(made->one.repo, 1, 10, 0, &error), GRV_CORRUPT);
    assert_non_null(strstr(error.message, text));
    /* It can be removed and put again. */
    assert_grv_ok(grv_manifest_repo_remove(NULL, made->one.repo, &key, &error));
    assert_int_equal(page_count(made), 0);
    put_blob(made->one.tiny, 1, 10);
    assert_grv_ok(read_blob(made->one.repo, 1, 10, 0, &error));
}

static void a_damaged_root_hides_no_other_blob(void **state)
{
    rig *made = *state;
    grv_error error = GRV_ERROR_INIT;
    char text[GRV_KEY_TEXT_SIZE];
    const grv_blob_key key = blob_of(2, 2);
    grv_blob_key_print(&key, text);
    for (uint8_t name = 1; name < 4; name++) {
        put_blob(made->one.repo, name, name);
    }
    test_postgres_sql(made->conninfo, flip_roots);
    assert_grv_status(stat_blob(made->one.repo, 2, 2, &error), GRV_CORRUPT);
    assert_non_null(strstr(error.message, text));
    for (int order = 0; order < 2; order++) {
        const grv_blob_list list = {.order = order ? GRV_ORDER_NEWEST : GRV_ORDER_KEY};
        grv_blob_cursor *cursor = NULL;
        grv_blob_info infos[4];
        size_t count = 0;
        assert_grv_ok(grv_manifest_repo_open_list(NULL, made->one.repo, &list, &cursor, &error));
        assert_grv_ok(grv_blob_cursor_next(NULL, cursor, infos, 4, &count, &error));
        assert_int_equal(count, 1);
        assert_grv_status(grv_blob_cursor_next(NULL, cursor, infos, 4, &count, &error),
                          GRV_CORRUPT);
        assert_non_null(strstr(error.message, text));
        assert_grv_ok(grv_blob_cursor_next(NULL, cursor, infos, 4, &count, &error));
        assert_int_equal(count, 1);
        assert_grv_ok(grv_blob_cursor_next(NULL, cursor, infos, 4, &count, &error));
        assert_int_equal(count, 0);
        grv_blob_cursor_free(cursor);
    }
    grv_manifest_sweep sweep;
    assert_grv_status(grv_manifest_repo_sweep(NULL, made->one.repo, false, &sweep, &error),
                      GRV_CORRUPT);
    assert_grv_ok(grv_manifest_repo_remove(NULL, made->one.repo, &key, &error));
    assert_grv_ok(grv_manifest_repo_sweep(NULL, made->one.repo, false, &sweep, &error));
}

int main(void)
{
    test_postgres_need();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_small_manifest_is_one_round_trip, setup, teardown),
        cmocka_unit_test_setup_teardown(large_manifests_are_few_queries, setup, teardown),
        cmocka_unit_test_setup_teardown(a_range_reads_its_pages_alone, setup, teardown),
        cmocka_unit_test_setup_teardown(sequences_follow_the_order_of_commits, setup, teardown),
        cmocka_unit_test_setup_teardown(of_two_commits_one_stores, setup, teardown),
        cmocka_unit_test_setup_teardown(a_commit_of_a_revoked_session_is_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(a_put_outlives_its_connections, setup, teardown),
        cmocka_unit_test_setup_teardown(a_commit_without_an_answer_is_found, setup, teardown),
        cmocka_unit_test_setup_teardown(pages_that_were_lost_are_told_of, setup, teardown),
        cmocka_unit_test_setup_teardown(an_abandoned_put_leaves_nothing, setup, teardown),
        cmocka_unit_test_setup_teardown(a_reader_sees_that_its_blob_has_gone, setup, teardown),
        cmocka_unit_test_setup_teardown(damaged_pages_are_corrupt_and_name_the_blob, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(a_damaged_root_hides_no_other_blob, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
