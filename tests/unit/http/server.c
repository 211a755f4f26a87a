/* SPDX-License-Identifier: Apache-2.0 */
/* The server's core over real sockets: bodies of all lengths in both directions, and failures. */
#include "front.h"
#include "test.h"

#include "os/clock.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static http_server *server;

static int server_start(void **state)
{
    (void)state;
    server = front_start(NULL);
    return 0;
}

/* Whatever happened, nothing is left open. */
static int server_end(void **state)
{
    (void)state;
    assert_int_equal(http_server_stop(server, NULL), 0);
    assert_int_equal(atomic_load(&front_open), 0);
    return 0;
}

static void expect_text(const front_answer *answer, unsigned status, const char *text)
{
    assert_int_equal(answer->status, status);
    assert_true(answer->whole);
    assert_int_equal(answer->body_size, strlen(text));
    assert_memory_equal(answer->body, text, strlen(text));
}

static void expect_problem(const front_answer *answer, unsigned status, const char *type)
{
    char text[2048] = "";
    assert_int_equal(answer->status, status);
    assert_string_equal(front_header(answer, "Content-Type"), "application/problem+json");
    memcpy(text, answer->body, answer->body_size < 2047 ? answer->body_size : 2047);
    assert_non_null(strstr(text, type));
    assert_null(strstr(text, "secret"));
}

static void texts_are_answered(void **state)
{
    (void)state;
    front_answer answer = front_ask(server, "GET /text?name=a%20b HTTP/1.1\r\nHost: x\r\n\r\n");
    expect_text(&answer, 200, "hello a b");
    assert_int_equal(strlen(front_header(&answer, "Request-Id")), 16);
    front_done(&answer);
    answer = front_ask(server, "HEAD /text HTTP/1.1\r\nHost: x\r\n\r\n");
    assert_int_equal(answer.status, 200);
    assert_string_equal(front_header(&answer, "Content-Length"), "9");
    front_done(&answer);
    answer = front_ask(server, "GET /text?name=1&name=2 HTTP/1.1\r\nHost: x\r\n\r\n");
    expect_problem(&answer, 400, "bad-request");
    front_done(&answer);
    answer = front_ask(server, "GET /nothing HTTP/1.1\r\nHost: x\r\n\r\n");
    expect_problem(&answer, 404, "not-found");
    front_done(&answer);
    answer = front_ask(server, "PUT /text HTTP/1.1\r\nHost: x\r\n\r\n");
    expect_problem(&answer, 405, "method-not-allowed");
    assert_string_equal(front_header(&answer, "Allow"), "GET, HEAD, OPTIONS");
    front_done(&answer);
    answer = front_ask(server, "OPTIONS /json HTTP/1.1\r\nHost: x\r\n\r\n");
    assert_int_equal(answer.status, 204);
    assert_string_equal(front_header(&answer, "Allow"), "POST, OPTIONS");
    front_done(&answer);
    answer = front_ask(server, "GET http://somewhere/text HTTP/1.1\r\nHost: somewhere\r\n\r\n");
    expect_text(&answer, 200, "hello you");
    front_done(&answer);
}

static void one_connection_serves_many(void **state)
{
    (void)state;
    static const char request[] = "GET /bytes/1000 HTTP/1.1\r\nHost: x\r\n\r\n"
                                  "GET /nothing HTTP/1.1\r\nHost: x\r\n\r\n"
                                  "POST /sum HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\nA"
                                  "GET /text HTTP/1.1\r\nHost: x\r\n\r\n";
    int fd = front_connect(server);
    for (int round = 0; round < 50; round++) {
        assert_true(front_send(fd, request, sizeof request - 1));
        front_answer answer = front_read(fd, false);
        assert_int_equal(answer.body_size, 1000);
        front_done(&answer);
        answer = front_read(fd, false);
        assert_int_equal(answer.status, 404);
        front_done(&answer);
        answer = front_read(fd, false);
        expect_text(&answer, 201, "1 65 1");
        front_done(&answer);
        answer = front_read(fd, false);
        expect_text(&answer, 200, "hello you");
        front_done(&answer);
    }
    close(fd);
}

/* ---- Bodies that come ---- */

static void upload(const char *target, size_t size, bool chunked, front_answer *ret_answer)
{
    char head[256];
    uint8_t *data = malloc(size + 1);
    assert_non_null(data);
    for (size_t i = 0; i < size; i++) {
        data[i] = front_byte(i);
    }
    int fd = front_connect(server);
    snprintf(head, sizeof head, "POST %s HTTP/1.1\r\nHost: x\r\n", target);
    assert_true(front_send(fd, head, strlen(head)));
    if (chunked) {
        assert_true(front_send(fd, "Transfer-Encoding: chunked\r\n\r\n", 30));
        for (size_t at = 0, step = 1; at < size; at += step, step = step * 3 + 1) {
            step = size - at < step ? size - at : step;
            snprintf(head, sizeof head, "%zx;x=y\r\n", step);
            assert_true(front_send(fd, head, strlen(head)));
            assert_true(front_send(fd, data + at, step));
            assert_true(front_send(fd, "\r\n", 2));
        }
        assert_true(front_send(fd, "0\r\n\r\n", 5));
    } else {
        snprintf(head, sizeof head, "Content-Length: %zu\r\n\r\n", size);
        assert_true(front_send(fd, head, strlen(head)));
        assert_true(front_send(fd, data, size));
    }
    *ret_answer = front_read(fd, false);
    free(data);
    close(fd);
}

static void uploads_of_all_lengths_arrive(void **state)
{
    (void)state;
    static const size_t sizes[] = {0,      1,      65535,  65536,   65537,    262143,
                                   262144, 262145, 300000, 1048576, 5u << 20, (5u << 20) + 77};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        uint64_t sum = 0;
        char want[96];
        for (size_t at = 0; at < sizes[i]; at++) {
            sum += (uint64_t)front_byte(at) * (at % 1000 + 1);
        }
        snprintf(want, sizeof want, "%zu %llu %zu", sizes[i], (unsigned long long)sum, sizes[i]);
        for (int chunked = 0; chunked < 2; chunked++) {
            front_answer answer;
            upload("/sum", sizes[i], chunked != 0, &answer);
            expect_text(&answer, 201, want);
            front_done(&answer);
        }
    }
}

static void uploads_that_fail_are_told_so(void **state)
{
    (void)state;
    static const struct {
        const char *target;
        unsigned status;
        const char *type;
    } cases[] = {
        {"/full", 507, "out-of-space"},    {"/spoiled", 507, "out-of-space"},
        {"/refused", 409, "not this one"}, {"/ended", 409, "enough of it"},
        {"/missing", 404, "not-found"},
    };
    static const size_t sizes[] = {1, 300000, 3u << 20};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        for (size_t k = 0; k < 6; k++) {
            front_answer answer;
            size_t size = sizes[k / 2];
            bool passes = size < 350000 && (i == 1 || i == 3);
            upload(cases[i].target, size, k % 2 != 0, &answer);
            if (passes) {
                assert_int_equal(answer.status, 201);
            } else {
                expect_problem(&answer, cases[i].status, cases[i].type);
            }
            front_done(&answer);
        }
    }
}

static void an_expected_body_is_asked_for(void **state)
{
    (void)state;
    char line[64] = "";
    int fd = front_connect(server);
    static const char head[] = "POST /sum HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\n"
                               "Content-Length: 3\r\n\r\n";
    assert_true(front_send(fd, head, sizeof head - 1));
    assert_int_equal(recv(fd, line, 25, MSG_WAITALL), 25);
    assert_string_equal(line, "HTTP/1.1 100 Continue\r\n\r\n");
    assert_true(front_send(fd, "abc", 3));
    front_answer answer = front_read(fd, false);
    assert_int_equal(answer.status, 201);
    front_done(&answer);
    close(fd);
    answer = front_ask(server, "POST /wanted HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\n"
                               "Content-Length: 3\r\n\r\n");
    expect_text(&answer, 200, "have it");
    front_done(&answer);
    answer = front_ask(server, "POST /sum HTTP/1.1\r\nHost: x\r\nExpect: coffee\r\n"
                               "Content-Length: 3\r\n\r\n");
    expect_problem(&answer, 417, "expectation-failed");
    front_done(&answer);
}

static void small_bodies_are_gathered(void **state)
{
    (void)state;
    front_answer answer = front_ask(server, "POST /json HTTP/1.1\r\nHost: x\r\n"
                                            "Content-Length: 14\r\n\r\n{\"a\":1,\"b\":2}\n");
    expect_text(&answer, 200, "{\"members\":2}");
    front_done(&answer);
    answer = front_ask(server, "POST /json HTTP/1.1\r\nHost: x\r\n\r\n");
    expect_text(&answer, 200, "{\"members\":0}");
    front_done(&answer);
    answer = front_ask(server, "POST /json HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\n[1]");
    expect_problem(&answer, 400, "bad-request");
    front_done(&answer);
    answer = front_ask(server, "POST /json HTTP/1.1\r\nHost: x\r\nContent-Type: text/html\r\n"
                               "Content-Length: 2\r\n\r\n{}");
    expect_problem(&answer, 415, "unsupported-media-type");
    front_done(&answer);
    upload("/json", HTTP_JSON_MAX + 1, false, &answer);
    expect_problem(&answer, 413, "content-too-large");
    front_done(&answer);
    upload("/json", HTTP_JSON_MAX + 1, true, &answer);
    expect_problem(&answer, 413, "content-too-large");
    front_done(&answer);
    answer = front_ask(server, "GET /text HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\nx");
    expect_problem(&answer, 400, "bad-request");
    front_done(&answer);
}

static void a_client_that_goes_leaves_nothing(void **state)
{
    (void)state;
    static char data[400000];
    for (int i = 0; i < 20; i++) {
        char head[128];
        int fd = front_connect(server);
        snprintf(head, sizeof head,
                 "POST /sum HTTP/1.1\r\nHost: x\r\nContent-Length: 900000\r\n\r\n");
        assert_true(front_send(fd, head, strlen(head)));
        assert_true(front_send(fd, data, (size_t)i * 20000));
        close(fd);
        fd = front_connect(server);
        snprintf(head, sizeof head, "GET /bytes/50000000 HTTP/1.1\r\nHost: x\r\n\r\n");
        assert_true(front_send(fd, head, strlen(head)));
        if (i % 2) {
            assert_true(recv(fd, head, sizeof head, 0) > 0);
        }
        close(fd);
    }
    for (int i = 0; i < 1000 && atomic_load(&front_open) > 0; i++) {
        grv_clock_sleep(10000000);
    }
    assert_int_equal(atomic_load(&front_open), 0);
}

/* ---- Bodies that go ---- */

static void downloads_of_all_lengths_arrive(void **state)
{
    (void)state;
    static const size_t sizes[] = {0,       1,       4096,           262144,   262145,
                                   1048575, 1048576, (1u << 20) + 1, 5u << 20, 5000001};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        char text[128];
        snprintf(text, sizeof text, "GET /bytes/%zu HTTP/1.1\r\nHost: x\r\n\r\n", sizes[i]);
        front_answer answer = front_ask(server, text);
        assert_int_equal(answer.status, 200);
        assert_true(answer.whole);
        assert_int_equal(answer.body_size, sizes[i]);
        for (size_t at = 0; at < sizes[i]; at++) {
            if (answer.body[at] != front_byte(at)) {
                fail_msg("byte %zu of %zu is wrong", at, sizes[i]);
            }
        }
        assert_string_equal(front_header(&answer, "ETag"), "\"x\"");
        front_done(&answer);
        snprintf(text, sizeof text, "HEAD /bytes/%zu HTTP/1.1\r\nHost: x\r\n\r\n", sizes[i]);
        answer = front_ask(server, text);
        assert_int_equal(answer.status, 200);
        assert_int_equal(strtoull(front_header(&answer, "Content-Length"), NULL, 10), sizes[i]);
        front_done(&answer);
    }
}

static void a_source_that_fails_cuts_the_answer(void **state)
{
    (void)state;
    front_answer answer = front_ask(server, "GET /broken/3000000 HTTP/1.1\r\nHost: x\r\n\r\n");
    assert_int_equal(answer.status, 200);
    assert_false(answer.whole);
    assert_true(answer.body_size <= 1u << 20);
    front_done(&answer);
    answer = front_ask(server, "GET /early HTTP/1.1\r\nHost: x\r\n\r\n");
    expect_problem(&answer, 500, "corrupt");
    assert_null(front_header(&answer, "ETag"));
    front_done(&answer);
}

static void events_come_again_and_again(void **state)
{
    (void)state;
    char text[4096] = "";
    size_t size = 0;
    int fd = front_connect(server);
    assert_true(front_send(fd, "GET /events HTTP/1.1\r\nHost: x\r\n\r\n", 34));
    while (size < sizeof text - 1) {
        ssize_t got = recv(fd, text + size, sizeof text - 1 - size, 0);
        assert_true(got > 0);
        size += (size_t)got;
        const char *first = strstr(text, "data: x");
        const char *second = first ? strstr(first + 1, "data: x") : NULL;
        if (second && strstr(second + 1, "data: x")) {
            close(fd);
            return;
        }
    }
    fail_msg("no events");
}

static void a_quick_route_needs_no_worker(void **state)
{
    (void)state;
    enum { WORKERS = 16, CLIENTS = 20 };
    int slow[CLIENTS];
    const char text[] = "GET /parked HTTP/1.1\r\nHost: x\r\n\r\n";
    atomic_store(&front_gate, false);
    for (size_t i = 0; i < CLIENTS; i++) {
        slow[i] = front_connect(server);
        assert_true(front_send(slow[i], text, sizeof text - 1));
    }
    for (int i = 0; i < 60000 && atomic_load(&front_held) < WORKERS; i++) {
        grv_clock_sleep(1000000);
    }
    assert_int_equal(atomic_load(&front_held), WORKERS);
    front_answer answer = front_ask(server, "GET /quick HTTP/1.1\r\nHost: x\r\n\r\n");
    expect_text(&answer, 200, "quick");
    front_done(&answer);
    answer = front_ask(server, "HEAD /quick HTTP/1.1\r\nHost: x\r\n\r\n");
    assert_string_equal(front_header(&answer, "Content-Length"), "5");
    front_done(&answer);
    assert_int_equal(atomic_load(&front_held), WORKERS);
    atomic_store(&front_gate, true);
    for (size_t i = 0; i < CLIENTS; i++) {
        answer = front_read(slow[i], false);
        expect_text(&answer, 200, "held");
        front_done(&answer);
        close(slow[i]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(texts_are_answered, server_start, server_end),
        cmocka_unit_test_setup_teardown(one_connection_serves_many, server_start, server_end),
        cmocka_unit_test_setup_teardown(uploads_of_all_lengths_arrive, server_start, server_end),
        cmocka_unit_test_setup_teardown(uploads_that_fail_are_told_so, server_start, server_end),
        cmocka_unit_test_setup_teardown(an_expected_body_is_asked_for, server_start, server_end),
        cmocka_unit_test_setup_teardown(small_bodies_are_gathered, server_start, server_end),
        cmocka_unit_test_setup_teardown(a_client_that_goes_leaves_nothing, server_start,
                                        server_end),
        cmocka_unit_test_setup_teardown(downloads_of_all_lengths_arrive, server_start, server_end),
        cmocka_unit_test_setup_teardown(a_source_that_fails_cuts_the_answer, server_start,
                                        server_end),
        cmocka_unit_test_setup_teardown(events_come_again_and_again, server_start, server_end),
        cmocka_unit_test_setup_teardown(a_quick_route_needs_no_worker, server_start, server_end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
