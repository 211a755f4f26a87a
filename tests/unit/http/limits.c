/* SPDX-License-Identifier: Apache-2.0 */
/* What bounds a server: turns, slow clients, bodies that are too long, rates, tokens; and its end.
 */
#include "front.h"
#include "test.h"

#include "http/auth.h"
#include "http/streams.h"
#include "os/clock.h"
#include "temp.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#define SECOND UINT64_C(1000000000)
#define HOST   "Host: x\r\n"

static bool ask_is(const http_server *server, const char *text, unsigned status)
{
    front_answer answer = front_ask(server, text);
    bool is = answer.status == status;
    if (!is) {
        print_error("%s is answered %u\n", text, answer.status);
    }
    front_done(&answer);
    return is;
}

static int ask_open(const http_server *server, const char *text)
{
    int fd = front_connect(server);
    assert_true(front_send(fd, text, strlen(text)));
    return fd;
}

static bool read_is(int fd, unsigned status)
{
    front_answer answer = front_read(fd, false);
    bool is = answer.status == status && answer.whole;
    if (!is) {
        print_error("answered %u\n", answer.status);
    }
    front_done(&answer);
    close(fd);
    return is;
}

/* Until the server has so many gets, puts and waiting ones. */
static void figures_await(http_server *server, unsigned gets, unsigned puts, unsigned waiting)
{
    struct http_streams_figures figures = {0};
    for (int i = 0; i < 12000; i++) {
        http_streams_figures(server->streams, &figures);
        if (figures.gets == gets && figures.puts == puts && figures.waiting == waiting) {
            return;
        }
        grv_clock_sleep(5000000);
    }
    fail_msg("%u gets, %u puts, %u waiting; want %u, %u, %u", figures.gets, figures.puts,
             figures.waiting, gets, puts, waiting);
}

static void stop(http_server *server)
{
    assert_int_equal(http_server_stop(server, NULL), 0);
    assert_int_equal(atomic_load(&front_open), 0);
}

/* ---- Turns ---- */

static void turns_are_waited_for_in_line(void **state)
{
    (void)state;
    const http_server_config config = {.streams = 1, .queue = 2};
    http_server *server = front_start(&config);
    int fds[3];
    atomic_store(&front_gate, false);
    for (unsigned i = 0; i < 3; i++) {
        fds[i] = ask_open(server, "GET /held HTTP/1.1\r\n" HOST "\r\n");
        figures_await(server, 1, 0, i);
    }
    front_answer answer = front_ask(server, "GET /bytes/10 HTTP/1.1\r\n" HOST "\r\n");
    assert_int_equal(answer.status, 503);
    assert_non_null(front_header(&answer, "Retry-After"));
    front_done(&answer);
    /* What needs no turn goes on. */
    assert_true(ask_is(server, "GET /text HTTP/1.1\r\n" HOST "\r\n", 200));
    atomic_store(&front_gate, true);
    for (unsigned i = 0; i < 3; i++) {
        assert_true(read_is(fds[i], 200));
    }
    stop(server);
}

static void who_waits_too_long_is_refused(void **state)
{
    (void)state;
    grv_error error = GRV_ERROR_INIT;
    http_server *server = front_start(NULL);
    assert_grv_ok(http_puts_pause(NULL, server, &error));
    uint64_t before = grv_now_ns();
    int fd = ask_open(server, "POST /sum HTTP/1.1\r\n" HOST "Content-Length: 1\r\n\r\nx");
    figures_await(server, 0, 0, 1);
    http_streams_tick(server->streams, before + HTTP_PAUSE_PATIENCE - 1, false);
    figures_await(server, 0, 0, 1);
    http_streams_tick(server->streams, grv_now_ns() + HTTP_PAUSE_PATIENCE, false);
    assert_true(read_is(fd, 503));
    http_puts_resume(server);
    stop(server);
}

typedef struct pauser {
    http_server *server;
    atomic_bool paused;
} pauser;

static void *pause_run(void *argument)
{
    pauser *self = argument;
    grv_error error = GRV_ERROR_INIT;
    assert_grv_ok(http_puts_pause(NULL, self->server, &error));
    atomic_store(&self->paused, true);
    return NULL;
}

static void puts_can_be_paused(void **state)
{
    (void)state;
    grv_error error = GRV_ERROR_INIT;
    http_server *server = front_start(NULL);
    pauser self = {.server = server};
    pthread_t thread;
    static char data[300000];
    int first = ask_open(server, "POST /sum HTTP/1.1\r\n" HOST "Content-Length: 900000\r\n\r\n");
    assert_true(front_send(first, data, sizeof data));
    figures_await(server, 0, 1, 0);
    /* A pause that is given up leaves things as they were. */
    grv_call late = {.deadline_ns = grv_now_ns() + 50000000};
    assert_grv_status(http_puts_pause(&late, server, &error), GRV_TIMEOUT);
    assert_true(ask_is(server, "POST /sum HTTP/1.1\r\n" HOST "Content-Length: 1\r\n\r\nx", 201));
    assert_int_equal(pthread_create(&thread, NULL, pause_run, &self), 0);
    struct http_streams_figures figures = {0};
    while (!figures.paused) {
        http_streams_figures(server->streams, &figures);
    }
    int second = ask_open(server, "POST /sum HTTP/1.1\r\n" HOST "Content-Length: 1\r\n\r\nx");
    figures_await(server, 0, 1, 1);
    assert_true(ask_is(server, "GET /bytes/1000 HTTP/1.1\r\n" HOST "\r\n", 200));
    assert_false(atomic_load(&self.paused));
    /* The one that was open may end. */
    assert_true(front_send(first, data, sizeof data));
    assert_true(front_send(first, data, sizeof data));
    assert_true(read_is(first, 201));
    assert_int_equal(pthread_join(thread, NULL), 0);
    figures_await(server, 0, 0, 1);
    http_puts_resume(server);
    assert_true(read_is(second, 201));
    stop(server);
}

/* ---- Slow clients ---- */

/* Whether the server closes within some seconds. */
static bool is_closed(int fd)
{
    char piece[65536];
    struct timeval limit = {.tv_sec = 60};
    ssize_t got;
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    do {
        got = recv(fd, piece, sizeof piece, 0);
    } while (got > 0);
    close(fd);
    return got == 0 || errno == ECONNRESET;
}

static void slow_clients_are_let_go(void **state)
{
    (void)state;
    const http_server_config config = {.idle_ns = SECOND, .rate_min = 1u << 20};
    http_server *server = front_start(&config);
    int patient = ask_open(server, "GET /slow/3500 HTTP/1.1\r\n" HOST "\r\n");
    int silent = front_connect(server);
    int trickling = ask_open(server, "GET /text HTTP/1.1\r\n");
    int uploading =
        ask_open(server, "POST /sum HTTP/1.1\r\n" HOST "Content-Length: 900000\r\n\r\n");
    int gathering = ask_open(server, "POST /json HTTP/1.1\r\n" HOST "Content-Length: 900\r\n\r\n");
    int large = 4096;
    int reading = front_connect(server);
    setsockopt(reading, SOL_SOCKET, SO_RCVBUF, &large, sizeof large);
    static const char request[] = "GET /bytes/50000000 HTTP/1.1\r\n" HOST "\r\n";
    assert_true(front_send(reading, request, sizeof request - 1));
    int whole = front_connect(server);
    setsockopt(whole, SOL_SOCKET, SO_RCVBUF, &large, sizeof large);
    static const char one[] = "GET /bytes/1048576 HTTP/1.1\r\n" HOST "\r\n";
    assert_true(front_send(whole, one, sizeof one - 1));
    for (int i = 0; i < 25; i++) {
        front_send(trickling, "a", 1);
        front_send(uploading, "a", 1);
        front_send(gathering, "a", 1);
        grv_clock_sleep(100000000);
    }
    assert_true(is_closed(silent));
    assert_true(is_closed(trickling));
    assert_true(is_closed(uploading));
    assert_true(is_closed(gathering));
    for (int i = 0; i < 6000 && atomic_load(&front_open) > 0; i++) {
        grv_clock_sleep(10000000);
    }
    assert_int_equal(atomic_load(&front_open), 0);
    close(reading);
    close(whole);
    /* Who waits for us is not slow. */
    assert_true(read_is(patient, 200));
    stop(server);
}

/* ---- Bodies, rates, tokens ---- */

static void long_bodies_are_refused(void **state)
{
    (void)state;
    static char data[400000];
    const http_server_config config = {.body_max = 300000};
    http_server *server = front_start(&config);
    int fd = ask_open(server, "POST /sum HTTP/1.1\r\n" HOST "Content-Length: 300001\r\n\r\n");
    front_send(fd, data, 300001);
    assert_true(read_is(fd, 413));
    fd = ask_open(server, "POST /sum HTTP/1.1\r\n" HOST "Content-Length: 300000\r\n\r\n");
    front_send(fd, data, 300000);
    assert_true(read_is(fd, 201));
    fd = ask_open(server, "POST /sum HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n"
                          "493e1\r\n");
    front_send(fd, data, 300001);
    front_send(fd, "\r\n0\r\n\r\n", 7);
    assert_true(read_is(fd, 413));
    /* More than would ever be read: at once. */
    assert_true(
        ask_is(server, "POST /sum HTTP/1.1\r\n" HOST "Content-Length: 9000000000000\r\n\r\n", 413));
    stop(server);
}

/* Asks so often until enough were refused that, in the time that it took, no more passed than may:
 * `burst` at first and `rate` a second. A busy machine may ask so slowly that all may pass. */
static void rate_is_kept(const http_server_config *config, const char *text, unsigned passed_status,
                         unsigned burst, unsigned rate)
{
    enum { ASKS = 30, ROUNDS = 20 };
    unsigned refused = 0;
    for (int round = 0; round < ROUNDS && refused < 5; round++) {
        http_server *server = front_start(config);
        unsigned passed = 0;
        refused = 0;
        uint64_t begun = grv_now_ns();
        for (int i = 0; i < ASKS; i++) {
            front_answer answer = front_ask(server, text);
            assert_true(answer.status == passed_status || answer.status == 429);
            passed += answer.status == passed_status;
            refused += answer.status == 429;
            assert_true(answer.status != 429 || front_header(&answer, "Retry-After"));
            front_done(&answer);
        }
        uint64_t more = (grv_now_ns() - begun) * rate / SECOND;
        assert_true(passed <= burst + more + 1);
        stop(server);
    }
    assert_true(refused >= 5);
}

static void what_is_refused_counts_too(void **state)
{
    (void)state;
    const http_server_config config = {.client_rate = 2};
    rate_is_kept(&config, "GET /nothing HTTP/1.1\r\n" HOST "\r\n", 404, 4, 2);
}

static void clients_have_a_rate(void **state)
{
    (void)state;
    const http_server_config config = {.client_rate = 5};
    rate_is_kept(&config, "GET /text HTTP/1.1\r\n" HOST "\r\n", 200, 10, 5);
}

/* Whether the server says something, or closes, within some ms. */
static bool is_told(int fd, int wait_ms)
{
    struct pollfd wait = {.fd = fd, .events = POLLIN};
    return poll(&wait, 1, wait_ms) == 1;
}

static void connections_are_limited(void **state)
{
    (void)state;
    const http_server_config config = {.connections = 2};
    http_server *server = front_start(&config);
    const char *text = "GET /text HTTP/1.1\r\n" HOST "\r\n";
    int fds[4];
    for (int i = 0; i < 4; i++) {
        fds[i] = ask_open(server, text);
        assert_int_equal(is_told(fds[i], i < 2 ? 10000 : 100), i < 2);
    }
    /* The next in line gets the place of who leaves. */
    close(fds[0]);
    assert_true(is_told(fds[2], 10000));
    assert_false(is_told(fds[3], 100));
    assert_int_equal(http_server_connections(server), 2);
    /* At the end nobody is left standing: not who waits in line. */
    stop(server);
    for (int i = 1; i < 4; i++) {
        assert_true(read_is(fds[i], 200));
    }
}

static void connections_of_a_client_are_limited(void **state)
{
    (void)state;
    const http_server_config config = {.client_connections = 2};
    http_server *server = front_start(&config);
    int fds[3];
    for (int i = 0; i < 3; i++) {
        fds[i] = ask_open(server, "GET /text HTTP/1.1\r\n" HOST "\r\n");
        assert_true(is_told(fds[i], 10000));
    }
    assert_true(read_is(fds[0], 200));
    assert_true(read_is(fds[1], 200));
    front_answer answer = front_read(fds[2], false);
    assert_int_equal(answer.status, 0);
    front_done(&answer);
    close(fds[2]);
    stop(server);
}

static void tokens_are_asked_for(void **state)
{
    (void)state;
    grv_error error = GRV_ERROR_INIT;
    char token[HTTP_TOKEN_SIZE];
    char reader[HTTP_TOKEN_SIZE];
    char line[HTTP_TOKEN_LINE_SIZE];
    char text[300];
    char directory[256];
    test_temp_make(directory);
    char path[300];
    snprintf(path, sizeof path, "%s/tokens", directory);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    assert_grv_ok(http_token_make("boss", HTTP_SCOPE_ADMIN, token, line, &error));
    fputs(line, file);
    assert_grv_ok(http_token_make("reader", HTTP_SCOPE_READ, reader, line, &error));
    fputs(line, file);
    assert_int_equal(fclose(file), 0);
    const http_server_config config = {.tokens = path};
    http_server *server = front_start(&config);
    assert_true(ask_is(server, "GET /text HTTP/1.1\r\n" HOST "\r\n", 200));
    front_answer answer = front_ask(server, "GET /secret HTTP/1.1\r\n" HOST "\r\n");
    assert_int_equal(answer.status, 401);
    assert_string_equal(front_header(&answer, "WWW-Authenticate"), "Bearer");
    front_done(&answer);
    snprintf(text, sizeof text, "GET /secret HTTP/1.1\r\n" HOST "Authorization: Bearer %s\r\n\r\n",
             reader);
    assert_true(ask_is(server, text, 403));
    snprintf(text, sizeof text, "GET /secret HTTP/1.1\r\n" HOST "Authorization: Bearer %s\r\n\r\n",
             token);
    assert_true(ask_is(server, text, 200));
    /* Replaced while it runs. */
    file = fopen(path, "w");
    assert_non_null(file);
    fputs(line, file);
    assert_int_equal(fclose(file), 0);
    http_server_reload(server);
    assert_true(ask_is(server, text, 401));
    stop(server);
    test_temp_remove(directory);
}

static void other_machines_need_tokens(void **state)
{
    (void)state;
    grv_error error = GRV_ERROR_INIT;
    http_server *server = NULL;
    http_server_config config = {.fronts = front_routes, .listen = "0.0.0.0:0", .streams = 2};
    assert_grv_status(http_server_start(&config, &server, &error), GRV_PERMISSION);
    assert_non_null(strstr(error.message, "--tokens"));
    static const char *const wrong[] = {"8081",  "1.2.3.4:", "127.0.0.1:99999", ":80",  "x:y",
                                        "unix:", "::1:80",   "127.0.0.1:8o",    "[]:80"};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        config.listen = wrong[i];
        assert_grv_status(http_server_start(&config, &server, &error), GRV_INVALID_ARGUMENT);
    }
    config.listen = "0.0.0.0:0";
    config.insecure = true;
    assert_grv_ok(http_server_start(&config, &server, &error));
    http_server_config second = config;
    char where[64];
    snprintf(where, sizeof where, "0.0.0.0:%s", strrchr(http_server_where(server), ':') + 1);
    second.listen = where;
    http_server *other = NULL;
    assert_grv_status(http_server_start(&second, &other, &error), GRV_UNAVAILABLE);
    stop(server);
}

/* ---- The end ---- */

typedef struct stopper {
    http_server *server;
    unsigned given_up;
} stopper;

static void *stop_run(void *argument)
{
    stopper *self = argument;
    self->given_up = http_server_stop(self->server, NULL);
    return NULL;
}

static void a_stop_waits_for_what_is_in_flight(void **state)
{
    (void)state;
    static char data[500000];
    stopper self = {.server = front_start(NULL)};
    pthread_t thread;
    int idle = ask_open(self.server, "GET /text HTTP/1.1\r\n" HOST "\r\n");
    front_answer answer = front_read(idle, false);
    front_done(&answer);
    int fresh = front_connect(self.server);
    atomic_store(&front_gate, false);
    int slow = ask_open(self.server, "GET /held HTTP/1.1\r\n" HOST "\r\n");
    int events = ask_open(self.server, "GET /events HTTP/1.1\r\n" HOST "\r\n");
    int upload =
        ask_open(self.server, "POST /sum HTTP/1.1\r\n" HOST "Content-Length: 900000\r\n\r\n");
    assert_true(front_send(upload, data, 400000));
    figures_await(self.server, 1, 1, 0);
    assert_int_equal(pthread_create(&thread, NULL, stop_run, &self), 0);
    assert_true(is_closed(idle));
    assert_true(is_closed(fresh));
    atomic_store(&front_gate, true);
    assert_true(front_send(upload, data, 500000));
    answer = front_read(upload, false);
    assert_int_equal(answer.status, 201);
    assert_string_equal(front_header(&answer, "Connection"), "close");
    front_done(&answer);
    close(upload);
    answer = front_read(events, false);
    assert_true(answer.whole);
    front_done(&answer);
    close(events);
    assert_true(read_is(slow, 200));
    assert_int_equal(pthread_join(thread, NULL), 0);
    assert_int_equal(self.given_up, 0);
    assert_int_equal(atomic_load(&front_open), 0);
}

static void a_stop_has_an_end(void **state)
{
    (void)state;
    static char data[300000];
    const http_server_config config = {.drain_ns = SECOND / 4, .streams = 3};
    http_server *server = front_start(&config);
    int slow = ask_open(server, "GET /slow/60000 HTTP/1.1\r\n" HOST "\r\n");
    int upload = ask_open(server, "POST /sum HTTP/1.1\r\n" HOST "Content-Length: 900000\r\n\r\n");
    assert_true(front_send(upload, data, sizeof data));
    int reading = ask_open(server, "GET /bytes/500000000 HTTP/1.1\r\n" HOST "\r\n");
    figures_await(server, 2, 1, 0);
    int waiting = ask_open(server, "GET /bytes/5 HTTP/1.1\r\n" HOST "\r\n");
    int half = ask_open(server, "GET /text HTTP/1.1\r\n");
    figures_await(server, 2, 1, 1);
    uint64_t before = grv_now_ns();
    assert_true(http_server_stop(server, NULL) >= 4);
    assert_true(grv_now_ns() - before < 50 * SECOND); /* what is slow would take 60 */
    assert_int_equal(atomic_load(&front_open), 0);
    const int fds[] = {slow, upload, reading, waiting, half};
    for (size_t i = 0; i < sizeof fds / sizeof *fds; i++) {
        assert_true(is_closed(fds[i]));
    }
}

static void a_stop_can_be_hurried(void **state)
{
    (void)state;
    http_server *server = front_start(NULL);
    int slow = ask_open(server, "GET /slow/60000 HTTP/1.1\r\n" HOST "\r\n");
    figures_await(server, 1, 0, 0);
    grv_cancel hurry = {0};
    grv_cancel_raise(&hurry);
    assert_int_equal(http_server_stop(server, &hurry), 1);
    close(slow);
}

static void a_unix_socket_is_served(void **state)
{
    (void)state;
    grv_error error = GRV_ERROR_INIT;
    char directory[256];
    test_temp_make(directory);
    char listen[200];
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    snprintf(listen, sizeof listen, "unix:%.90s/socket", directory);
    snprintf(address.sun_path, sizeof address.sun_path, "%.90s/socket", directory);
    const http_server_config config = {.fronts = front_routes, .listen = listen, .streams = 2};
    http_server *server = NULL;
    http_server *other = NULL;
    for (int round = 0; round < 2; round++) {
        assert_grv_ok(http_server_start(&config, &server, &error));
        assert_string_equal(http_server_where(server), listen);
        assert_grv_status(http_server_start(&config, &other, &error), GRV_UNAVAILABLE);
        int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
        assert_int_equal(connect(fd, (struct sockaddr *)(void *)&address, sizeof address), 0);
        assert_true(front_send(fd, "GET /text HTTP/1.1\r\n" HOST "\r\n", 31));
        assert_true(read_is(fd, 200));
        stop(server);
        assert_int_not_equal(access(address.sun_path, F_OK), 0);
        /* What a killed server leaves behind is in nobody's way. */
        fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
        assert_int_equal(bind(fd, (struct sockaddr *)(void *)&address, sizeof address), 0);
        close(fd);
    }
    test_temp_remove(directory);
}

static void local_clients_are_let_go_if_they_stand(void **state)
{
    (void)state;
    enum { SIZE = 12000000, STEP = 200000 };
    static const char request[] =
        "GET /bytes/12000000 HTTP/1.1\r\n" HOST "Connection: close\r\n\r\n";
    static uint8_t data[STEP];
    grv_error error = GRV_ERROR_INIT;
    char directory[256];
    test_temp_make(directory);
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    snprintf(address.sun_path, sizeof address.sun_path, "%.90s/socket", directory);
    char listen[128];
    snprintf(listen, sizeof listen, "unix:%s", address.sun_path);
    const http_server_config config = {
        .fronts = front_routes, .listen = listen, .idle_ns = SECOND, .rate_min = 64u << 10};
    http_server *server = NULL;
    assert_grv_ok(http_server_start(&config, &server, &error));
    int fds[2];
    for (int i = 0; i < 2; i++) {
        fds[i] = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
        assert_int_equal(connect(fds[i], (struct sockaddr *)(void *)&address, sizeof address), 0);
        assert_true(front_send(fds[i], request, sizeof request - 1));
    }
    /* One reads for three times as long as a client may stand, the other does not read. */
    size_t total = 0;
    ssize_t got = 1;
    while (got > 0) {
        got = recv(fds[0], data, STEP, MSG_WAITALL);
        assert_true(got >= 0);
        total += (size_t)got;
        grv_clock_sleep(50000000);
    }
    assert_true(total > SIZE);
    for (int i = 0; i < 6000 && atomic_load(&front_open) > 0; i++) {
        grv_clock_sleep(10000000);
    }
    assert_int_equal(atomic_load(&front_open), 0);
    close(fds[0]);
    close(fds[1]);
    stop(server);
    test_temp_remove(directory);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(turns_are_waited_for_in_line),
        cmocka_unit_test(who_waits_too_long_is_refused),
        cmocka_unit_test(puts_can_be_paused),
        cmocka_unit_test(slow_clients_are_let_go),
        cmocka_unit_test(long_bodies_are_refused),
        cmocka_unit_test(clients_have_a_rate),
        cmocka_unit_test(what_is_refused_counts_too),
        cmocka_unit_test(connections_are_limited),
        cmocka_unit_test(connections_of_a_client_are_limited),
        cmocka_unit_test(tokens_are_asked_for),
        cmocka_unit_test(other_machines_need_tokens),
        cmocka_unit_test(a_stop_waits_for_what_is_in_flight),
        cmocka_unit_test(a_stop_has_an_end),
        cmocka_unit_test(a_stop_can_be_hurried),
        cmocka_unit_test(a_unix_socket_is_served),
        cmocka_unit_test(local_clients_are_let_go_if_they_stand),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
