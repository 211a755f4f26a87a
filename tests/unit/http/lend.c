/* SPDX-License-Identifier: Apache-2.0 */
/* A server that gives way to a collection of another process, and what becomes of its uploads. */
#include "front.h"
#include "http/api.h"
#include "http/streams.h"
#include "os/clock.h"
#include "postgres_store.h"
#include "temp.h"

#include <graviton/maintain.h>
#include <pthread.h>
#include <unistd.h>

#define SECOND UINT64_C(1000000000)

enum { UPLOAD = 600000, UPLOAD_FIRST = 400000 };

typedef struct rig {
    char directory[256];
    char meta[512];
    char blocks[300];
    grv_store *store; /* the server's */
    grv_store *other;
    http_server *server;
} rig;

static grv_store *rig_open(const rig *it, bool gives_way)
{
    grv_error error = GRV_ERROR_INIT;
    const grv_store_config config = {.blocks = it->blocks,
                                     .meta = it->meta,
                                     .create = true,
                                     .threads = 2,
                                     .connections = 4,
                                     .command = gives_way ? "serve" : "gc",
                                     .gives_way = gives_way};
    grv_store *store = NULL;
    assert_grv_ok(grv_store_open(NULL, &config, &store, &error));
    return store;
}

static void server_start(rig *it)
{
    static const http_route *const fronts[] = {http_front_api, NULL};
    grv_error error = GRV_ERROR_INIT;
    const http_server_config config = {.store = it->store,
                                       .fronts = fronts,
                                       .listen = "127.0.0.1:0",
                                       .event_threads = 2,
                                       .streams = 8};
    assert_grv_ok(http_server_start(&config, &it->server, &error));
}

static int setup(void **state)
{
    rig *it = calloc(1, sizeof *it);
    assert_non_null(it);
    test_temp_make(it->directory);
    test_postgres_make_store(it->meta);
    snprintf(it->blocks, sizeof it->blocks, "fs:%s", it->directory);
    it->store = rig_open(it, true);
    it->other = rig_open(it, false);
    server_start(it);
    *state = it;
    return 0;
}

static int teardown(void **state)
{
    rig *it = *state;
    if (it->server) {
        assert_int_equal(http_server_stop(it->server, NULL), 0);
    }
    grv_store_close(it->store);
    grv_store_close(it->other);
    test_postgres_remove(it->meta);
    test_temp_remove(it->directory);
    free(it);
    return 0;
}

/* A collection by the other store, which may be held at its first step. */
typedef struct collection {
    grv_store *store;
    grv_status status;
    grv_error error;
    pthread_mutex_t lock;
    bool held;
    atomic_bool begun; /* it has the store to itself */
    pthread_t thread;
} collection;

static void hold(void *context, const grv_collect_report *so_far)
{
    collection *it = context;
    (void)so_far;
    atomic_store(&it->begun, true);
    pthread_mutex_lock(&it->lock);
    pthread_mutex_unlock(&it->lock);
}

static void *run_collection(void *context)
{
    collection *it = context;
    const grv_collect_config config = {.progress = hold, .context = it};
    grv_collect_report report;
    it->status = grv_store_collect(NULL, it->store, &config, &report, &it->error);
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

static void until_begun(collection *it)
{
    uint64_t until_ns = grv_now_ns() + 60 * SECOND;
    while (!atomic_load(&it->begun)) {
        assert_true(grv_now_ns() < until_ns);
        grv_clock_sleep(SECOND / 100);
    }
}

/* Until the server has so many uploads under way. */
static void until_uploading(http_server *server, unsigned puts)
{
    struct http_streams_figures figures = {0};
    uint64_t until_ns = grv_now_ns() + 60 * SECOND;
    for (;;) {
        http_streams_figures(server->streams, &figures);
        if (figures.puts == puts) {
            return;
        }
        assert_true(grv_now_ns() < until_ns);
        grv_clock_sleep(SECOND / 100);
    }
}

/* Sends the head of an upload and some of it. */
static int upload_begin(const rig *it, const char *body)
{
    char head[200];
    int fd = front_connect(it->server);
    snprintf(head, sizeof head, "POST /api/blobs HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n",
             UPLOAD);
    assert_true(front_send(fd, head, strlen(head)));
    assert_true(front_send(fd, body, UPLOAD_FIRST));
    return fd;
}

static void expect_created(int fd)
{
    front_answer answer = front_read(fd, false);
    assert_int_equal(answer.status, 201);
    front_done(&answer);
    close(fd);
}

/* An upload that is under way ends well before the collection begins; one that comes while it runs
 * waits for it; a read does not. */
static void uploads_and_a_collection(void **state)
{
    rig *it = *state;
    static char body[UPLOAD];
    memset(body, 'a', sizeof body);
    int first = upload_begin(it, body);
    until_uploading(it->server, 1);
    collection gc;
    collection_start(&gc, it->other, true);
    grv_clock_sleep(2 * SECOND);
    assert_false(atomic_load(&gc.begun));
    assert_true(front_send(first, body + UPLOAD_FIRST, UPLOAD - UPLOAD_FIRST));
    expect_created(first);
    until_begun(&gc);

    static const char small[] =
        "POST /api/blobs HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello";
    int second = front_connect(it->server);
    assert_true(front_send(second, small, sizeof small - 1));
    front_answer answer = front_ask(it->server, "GET /api/store HTTP/1.1\r\nHost: x\r\n\r\n");
    assert_int_equal(answer.status, 200);
    front_done(&answer);
    collection_end(&gc);
    expect_created(second);
}

/* A collection that lasts turns uploads away with a word when to come again; a stop of the server
 * does not wait for it. */
static void a_long_collection(void **state)
{
    rig *it = *state;
    collection gc;
    collection_start(&gc, it->other, true);
    until_begun(&gc);
    front_answer answer = front_ask(
        it->server, "POST /api/blobs HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello");
    assert_int_equal(answer.status, 503);
    assert_non_null(front_header(&answer, "Retry-After"));
    front_done(&answer);
    assert_int_equal(http_server_stop(it->server, NULL), 0);
    it->server = NULL;
    /* One that is started now reads, and lets puts wait. */
    grv_store_close(it->store);
    it->store = rig_open(it, true);
    server_start(it);
    answer = front_ask(it->server, "GET /api/blobs HTTP/1.1\r\nHost: x\r\n\r\n");
    assert_int_equal(answer.status, 200);
    front_done(&answer);
    static const char small[] =
        "POST /api/blobs HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello";
    int late = front_connect(it->server);
    assert_true(front_send(late, small, sizeof small - 1));
    grv_clock_sleep(SECOND / 2);
    collection_end(&gc);
    expect_created(late);
}

int main(void)
{
    test_postgres_need();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(uploads_and_a_collection, setup, teardown),
        cmocka_unit_test_setup_teardown(a_long_collection, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
