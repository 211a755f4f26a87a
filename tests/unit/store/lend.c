/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Two stores over one database and one directory, as two processes have them: one gives way, the
 * other collects. What was known of blocks before must not be believed after.
 */
#include "store/handle.h"
#include "store_rig.h"

#include "os/clock.h"
#include "postgres_store.h"
#include "s3.h"

#include <pthread.h>

#define SECOND UINT64_C(1000000000)
#define MS     UINT64_C(1000000)

/* Where both stores are. */
typedef struct pair {
    char directory[256];
    char meta[512];
    char blocks[300];
    grv_store *server;
    grv_store *other;
} pair;

static grv_store *pair_open(const pair *it, bool gives_way)
{
    grv_error error = GRV_ERROR_INIT;
    const grv_chunker_spec chunker = {.kind = GRV_CHUNKER_FIXED, .size = 100};
    const grv_s3_config s3 = {.endpoint = getenv("GRAVITON_TEST_S3")};
    const grv_store_config config = {.blocks = it->blocks,
                                     .meta = it->meta,
                                     .create = true,
                                     .chunker = &chunker,
                                     .s3 = s3.endpoint ? &s3 : NULL,
                                     .threads = 2,
                                     .connections = 4,
                                     .command = gives_way ? "serve" : "gc",
                                     .gives_way = gives_way};
    grv_store *store = NULL;
    assert_grv_ok(grv_store_open(NULL, &config, &store, &error));
    return store;
}

static pair *pair_new(void)
{
    pair *it = calloc(1, sizeof *it);
    assert_non_null(it);
    test_temp_make(it->directory);
    test_postgres_make_store(it->meta);
    return it;
}

static int setup(void **state)
{
    pair *it = pair_new();
    snprintf(it->blocks, sizeof it->blocks, "fs:%s", it->directory);
    it->server = pair_open(it, true);
    it->other = pair_open(it, false);
    *state = it;
    return 0;
}

/* The same with blocks in a bucket, which are remembered to be there. */
static int setup_s3(void **state)
{
    pair *it = pair_new();
    char bucket[TEST_S3_BUCKET_SIZE];
    grv_s3 *s3 = test_s3_open();
    test_s3_make_bucket(s3, bucket);
    grv_s3_close(s3);
    snprintf(it->blocks, sizeof it->blocks, "s3://%s/blocks", bucket);
    it->server = pair_open(it, true);
    it->other = pair_open(it, false);
    *state = it;
    return 0;
}

static int teardown(void **state)
{
    pair *it = *state;
    grv_store_close(it->server);
    grv_store_close(it->other);
    test_postgres_remove(it->meta);
    test_temp_remove(it->directory);
    free(it);
    return 0;
}

static bool is_wanted(grv_store *store)
{
    grv_error error = GRV_ERROR_INIT;
    bool wanted = false;
    assert_grv_ok(grv_store_is_wanted(NULL, store, &wanted, &error));
    return wanted;
}

static void remove_blob(grv_store *store, const grv_blob_key *key)
{
    grv_error error = GRV_ERROR_INIT;
    assert_grv_ok(grv_blob_store_remove(NULL, grv_store_blobs(store), key, &error));
}

/* A collection in a thread of its own; it may be held at its first step. */
typedef struct collection {
    grv_store *store;
    grv_status status;
    grv_collect_report report;
    grv_error error;
    pthread_mutex_t lock;
    bool held;
    pthread_t thread;
} collection;

static void hold(void *context, const grv_collect_report *so_far)
{
    collection *it = context;
    (void)so_far;
    pthread_mutex_lock(&it->lock);
    pthread_mutex_unlock(&it->lock);
}

static void *run_collection(void *context)
{
    collection *it = context;
    const grv_collect_config config = {.progress = hold, .context = it};
    it->status = grv_store_collect(NULL, it->store, &config, &it->report, &it->error);
    return NULL;
}

static void collection_start(collection *it, grv_store *store, bool held)
{
    *it = (collection){
        .store = store, .error = GRV_ERROR_INIT, .lock = PTHREAD_MUTEX_INITIALIZER, .held = held};
    if (held) {
        pthread_mutex_lock(&it->lock);
    }
    assert_int_equal(pthread_create(&it->thread, NULL, run_collection, it), 0);
}

static void collection_end(collection *it)
{
    if (it->held) {
        pthread_mutex_unlock(&it->lock);
    }
    assert_int_equal(pthread_join(it->thread, NULL), 0);
    if (it->status) {
        fail_msg("collection: %s", it->error.message);
    }
}

static void until_wanted(grv_store *store)
{
    uint64_t until_ns = grv_now_ns() + 60 * SECOND;
    while (!is_wanted(store)) {
        assert_true(grv_now_ns() < until_ns);
        grv_clock_sleep(5 * MS);
    }
}

static void reclaim(grv_store *store)
{
    grv_error error = GRV_ERROR_INIT;
    uint64_t until_ns = grv_now_ns() + 60 * SECOND;
    while (grv_store_reclaim(NULL, store, &error)) {
        assert_int_equal(error.status, GRV_UNAVAILABLE);
        assert_true(grv_now_ns() < until_ns);
        grv_clock_sleep(5 * MS);
    }
}

/* What was removed and freed meanwhile is stored anew by the next put of it. */
static void blocks_that_went_meanwhile(void **state)
{
    pair *it = *state;
    grv_error error = GRV_ERROR_INIT;
    grv_blob_key kept = rig_put(it->server, 1, 5000);
    grv_blob_key gone = rig_put(it->server, 2, 5000);
    rig_put(it->server, 2, 5000); /* known to be there */
    remove_blob(it->server, &gone);
    collection gc;
    collection_start(&gc, it->other, false);
    until_wanted(it->server);
    assert_grv_ok(grv_store_lend(NULL, it->server, &error));
    assert_grv_ok(grv_store_lend(NULL, it->server, &error));
    assert_int_equal(rig_read(it->server, &kept, 1), GRV_OK);
    collection_end(&gc);
    assert_int_equal(gc.report.freed_blocks, 50);
    assert_int_equal(gc.report.kept_blocks, 50);
    reclaim(it->server);
    assert_grv_ok(grv_store_reclaim(NULL, it->server, &error));
    gone = rig_put(it->server, 2, 5000);
    assert_int_equal(rig_read(it->server, &gone, 2), GRV_OK);
    assert_int_equal(rig_read(it->other, &gone, 2), GRV_OK);
    assert_int_equal(rig_read(it->server, &kept, 1), GRV_OK);
}

/* What must not be begun, and what must wait. */
static void what_is_refused(void **state)
{
    pair *it = *state;
    grv_error error = GRV_ERROR_INIT;
    const grv_collect_config config = {0};
    grv_collect_report report;
    assert_false(is_wanted(it->server));
    grv_blob_sink *open = rig_begin(it->server, 3, 5000);
    collection gc;
    collection_start(&gc, it->other, true);
    until_wanted(it->server);
    assert_grv_status(grv_store_lend(NULL, it->server, &error), GRV_UNAVAILABLE);
    assert_non_null(strstr(error.message, "1 put"));
    /* It is waited for, and ends well. */
    assert_grv_ok(grv_sink_commit(NULL, &open->base, &error));
    grv_blob_key key = open->result.key;
    grv_sink_free(&open->base);
    assert_grv_ok(grv_store_lend(NULL, it->server, &error));
    assert_false(is_wanted(it->server));

    const grv_call impatient = {.deadline_ns = grv_now_ns() + 20 * MS};
    const grv_put_plan plan = {0};
    assert_grv_status(
        grv_blob_store_open_put(&impatient, grv_store_blobs(it->server), &plan, &open, &error),
        GRV_TIMEOUT);
    assert_grv_status(grv_store_collect(NULL, it->server, &config, &report, &error),
                      GRV_UNAVAILABLE);
    assert_grv_status(grv_store_reclaim(NULL, it->server, &error), GRV_UNAVAILABLE);
    /* One that comes now can read. */
    grv_store *late = pair_open(it, true);
    assert_true(grv_store_is_lent(late));
    assert_int_equal(rig_read(late, &key, 3), GRV_OK);
    assert_grv_status(
        grv_blob_store_open_put(&impatient, grv_store_blobs(late), &plan, &open, &error),
        GRV_TIMEOUT);
    collection_end(&gc);
    reclaim(late);
    assert_false(grv_store_is_lent(late));
    rig_put(late, 4, 500);
    grv_store_close(late);
    reclaim(it->server);
    assert_int_equal(rig_read(it->server, &key, 3), GRV_OK);
    rig_put(it->server, 4, 500);
    /* It may collect itself; the other, which gives no way, keeps it from that. */
    assert_grv_status(grv_store_collect(NULL, it->server, &config, &report, &error),
                      GRV_UNAVAILABLE);
    assert_non_null(strstr(error.message, "(gc)"));
    grv_store_close(it->other);
    it->other = NULL;
    assert_grv_ok(grv_store_collect(NULL, it->server, &config, &report, &error));
    assert_int_equal(report.kept_blocks, 55);
}

/* Others are not let in to take away what a scrub has listed. */
static void hold_scrub(void *context, const grv_scrub_report *so_far)
{
    pair *it = context;
    grv_error error = GRV_ERROR_INIT;
    (void)so_far;
    if (*it->blocks) {
        const grv_collect_config config = {0};
        grv_collect_report report;
        uint64_t begun_ns = grv_now_ns();
        *it->blocks = '\0'; /* once is enough */
        assert_grv_status(grv_store_collect(NULL, it->other, &config, &report, &error),
                          GRV_UNAVAILABLE);
        assert_non_null(strstr(error.message, "(serve)"));
        assert_true(grv_now_ns() - begun_ns < 45 * SECOND);
        assert_grv_status(grv_store_lend(NULL, it->server, &error), GRV_UNAVAILABLE);
        assert_false(is_wanted(it->server));
    }
}

static void a_scrub_gives_no_way(void **state)
{
    pair *it = *state;
    grv_error error = GRV_ERROR_INIT;
    rig_put(it->server, 5, 5000);
    const grv_scrub_config config = {.progress = hold_scrub, .context = it};
    grv_scrub_report report;
    assert_grv_ok(grv_store_scrub(NULL, it->server, &config, &report, &error));
    assert_int_equal(*it->blocks, '\0');
    collection gc;
    collection_start(&gc, it->other, false);
    until_wanted(it->server);
    assert_grv_ok(grv_store_lend(NULL, it->server, &error));
    collection_end(&gc);
    reclaim(it->server);
}

/* A server and its puts while the other collects again and again. */
typedef struct traffic {
    grv_store *store;
    bool stop;     /* atomic */
    unsigned puts; /* atomic */
    unsigned lent;
} traffic;

static void *keep_putting(void *context)
{
    traffic *it = context;
    for (uint64_t i = 0; !__atomic_load_n(&it->stop, __ATOMIC_ACQUIRE); i++) {
        /* Few different ones, so that they find blocks that may just be going. */
        uint64_t seed = i % 7;
        grv_blob_key key = rig_put(it->store, seed, 3000 + seed);
        assert_int_equal(rig_read(it->store, &key, seed), GRV_OK);
        if (i % 3 == 0) {
            remove_blob(it->store, &key);
        }
        __atomic_add_fetch(&it->puts, 1, __ATOMIC_RELEASE);
    }
    return NULL;
}

static void *keep_lending(void *context)
{
    traffic *it = context;
    while (!__atomic_load_n(&it->stop, __ATOMIC_ACQUIRE)) {
        if (is_wanted(it->store) && !grv_store_lend(NULL, it->store, NULL)) {
            it->lent++;
            reclaim(it->store);
        }
        grv_clock_sleep(MS);
    }
    return NULL;
}

static void collections_beside_puts(void **state)
{
    pair *it = *state;
    traffic run = {.store = it->server};
    pthread_t putter;
    pthread_t lender;
    uint64_t freed = 0;
    assert_int_equal(pthread_create(&putter, NULL, keep_putting, &run), 0);
    assert_int_equal(pthread_create(&lender, NULL, keep_lending, &run), 0);
    for (int round = 0; round < 12; round++) {
        collection gc;
        collection_start(&gc, it->other, false);
        collection_end(&gc);
        freed += gc.report.freed_blocks;
        assert_int_equal(gc.report.missing_blocks, 0);
        /* The next one comes once the server has its store again, and has put. */
        unsigned before = __atomic_load_n(&run.puts, __ATOMIC_ACQUIRE);
        for (int i = 0; i < 60000 && __atomic_load_n(&run.puts, __ATOMIC_ACQUIRE) < before + 2;
             i++) {
            grv_clock_sleep(MS);
        }
        assert_true(__atomic_load_n(&run.puts, __ATOMIC_ACQUIRE) >= before + 2);
    }
    __atomic_store_n(&run.stop, true, __ATOMIC_RELEASE);
    assert_int_equal(pthread_join(putter, NULL), 0);
    assert_int_equal(pthread_join(lender, NULL), 0);
    assert_true(run.lent >= 12);
    assert_true(freed > 0);
}

static void stores_that_have_no_session(void **state)
{
    (void)state;
    grv_error error = GRV_ERROR_INIT;
    grv_store *store = rig_open("memory:");
    assert_false(is_wanted(store));
    assert_grv_status(grv_store_lend(NULL, store, &error), GRV_UNSUPPORTED);
    assert_grv_ok(grv_store_reclaim(NULL, store, &error));
    grv_store_close(store);
}

static void skipped(void **state)
{
    (void)state;
    skip();
}

int main(void)
{
    test_postgres_need();
    struct CMUnitTest tests[] = {
        cmocka_unit_test(stores_that_have_no_session),
        cmocka_unit_test_setup_teardown(blocks_that_went_meanwhile, setup, teardown),
        {"blocks_that_went_meanwhile_s3", blocks_that_went_meanwhile, setup_s3, teardown, NULL},
        cmocka_unit_test_setup_teardown(what_is_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(a_scrub_gives_no_way, setup, teardown),
        cmocka_unit_test_setup_teardown(collections_beside_puts, setup, teardown),
    };
    if (!getenv("GRAVITON_TEST_S3")) {
        tests[2] = (struct CMUnitTest){tests[2].name, skipped, NULL, NULL, NULL};
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
