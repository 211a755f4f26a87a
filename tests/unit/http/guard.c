/* SPDX-License-Identifier: Apache-2.0 */
/* Requests that two programs could read differently, and paths that lead elsewhere: each is refused
 * and the connection closed, and what stands behind it is never taken for a request. */
#include "front.h"
#include "test.h"

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

static int server_end(void **state)
{
    (void)state;
    assert_int_equal(http_server_stop(server, NULL), 0);
    assert_int_equal(atomic_load(&front_open), 0);
    return 0;
}

#define HOST  "Host: x\r\n"
#define NEXT  "GET /text?name=smuggled HTTP/1.1\r\n" HOST "\r\n"
#define CHUNK "0\r\n\r\n"

/* All that the server says to `request`, until it closes. */
static char *converse(const char *request, size_t size)
{
    grv_error error = GRV_ERROR_INIT;
    grv_buffer said;
    char piece[4096];
    ssize_t got;
    grv_buffer_init(&said, SIZE_MAX);
    int fd = front_connect(server);
    front_send(fd, request, size);
    while ((got = recv(fd, piece, sizeof piece, 0)) > 0) {
        assert_grv_ok(grv_buffer_append(&said, grv_bytes_of(piece, (size_t)got), &error));
    }
    assert_grv_ok(grv_buffer_append(&said, grv_bytes_of("", 1), &error));
    close(fd);
    return (char *)said.data;
}

static void ambiguous_requests_are_refused(void **state)
{
    (void)state;
    static const char *const requests[] = {
        "POST /sum HTTP/1.1\r\n" HOST
        "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n" CHUNK NEXT,
        "POST /sum HTTP/1.1\r\n" HOST
        "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n" CHUNK NEXT,
        "POST /sum HTTP/1.1\r\n" HOST "Content-Length: 1\r\nContent-Length: 1\r\n\r\nx" NEXT,
        "POST /sum HTTP/1.1\r\n" HOST "Content-Length: 1\r\ncontent-length: 2\r\n\r\nxx" NEXT,
        "POST /sum HTTP/1.1\r\n" HOST "Content-Length: 1, 1\r\n\r\nx" NEXT,
        "POST /sum HTTP/1.1\r\n" HOST "Content-Length: +1\r\n\r\nx" NEXT,
        "POST /sum HTTP/1.1\r\n" HOST "Content-Length: 0x1\r\n\r\nx" NEXT,
        "POST /sum HTTP/1.1\r\n" HOST "Content-Length: 1 \r\n\r\nx" NEXT,
        "POST /sum HTTP/1.1\r\n" HOST "Content-Length: \r\n\r\nx" NEXT,
        "POST /sum HTTP/1.1\r\n" HOST "Content-Length: -1\r\n\r\nx" NEXT,
        "POST /sum HTTP/1.1\r\n" HOST "Content-Length : 1\r\n\r\nx" NEXT,
        "POST /sum HTTP/1.1\r\n" HOST "Content-Length\t: 1\r\n\r\nx" NEXT,
        "POST /sum HTTP/1.1\r\n" HOST "Content-Length: 1\r\n 0\r\n\r\nx" NEXT,
        "POST /sum HTTP/1.1\r\n" HOST "X: y\r\n Content-Length: 1\r\n\r\nx" NEXT,
        "POST /sum HTTP/1.1\r\n" HOST "X: y\r\n\tContent-Length: 1\r\nZ: z\r\n\r\nx" NEXT,
        "POST /sum HTTP/1.1\r\n" HOST "X: y\nContent-Length: 1\r\n\r\nx" NEXT,
        "POST /sum HTTP/1.1\r\n" HOST "X: y\rContent-Length: 1\r\n\r\nx" NEXT,
        "POST /sum HTTP/1.1\r\n" HOST "Transfer-Encoding : chunked\r\n\r\n" CHUNK NEXT,
        "POST /sum HTTP/1.1\r\n" HOST "Transfer-Encoding: xchunked\r\n\r\n" CHUNK NEXT,
        "POST /sum HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked, identity\r\n\r\n" CHUNK NEXT,
        "POST /sum HTTP/1.1\r\n" HOST "Transfer-Encoding: gzip, chunked\r\n\r\n" CHUNK NEXT,
        "POST /sum HTTP/1.1\r\n" HOST
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n" CHUNK NEXT,
        "POST /sum HTTP/1.1\r\n" HOST "Transfer-Encoding: \"chunked\"\r\n\r\n" CHUNK NEXT,
        "POST /sum HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n" CHUNK NEXT,
        "GET /text HTTP/1.1\r\n" HOST HOST "\r\n" NEXT,
        "GET /text HTTP/1.1\r\n\r\n" NEXT,
        "GET /text HTTP/1.1\r\n" HOST "X(y): z\r\n\r\n" NEXT,
        "GET /text HTTP/1.1\r\n" HOST ": z\r\n\r\n" NEXT,
        "GET /text HTTP/1.1\r\n" HOST "nothing\r\n\r\n" NEXT,
        "GET /text HTTP/1.1\r\n" HOST "X: \x01\r\n\r\n" NEXT,
        "GET /text HTTP/1.1\n" HOST "\r\n" NEXT,
        "GET /text HTTP/1.1\r\n" HOST "\n" NEXT,
        "GET /text HTTP/1.1\r\n " HOST "\r\n" NEXT,
        "GET  /text HTTP/1.1\r\n" HOST "\r\n" NEXT,
        "GET /text  HTTP/1.1\r\n" HOST "\r\n" NEXT,
        "POST /sum HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n+1\r\nx\r\n" CHUNK NEXT,
        "POST /sum HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n0x1\r\nx\r\n" CHUNK NEXT,
        "POST /sum HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n-1\r\nx\r\n" CHUNK NEXT,
        "POST /sum HTTP/1.1\r\n" HOST
        "Transfer-Encoding: chunked\r\n\r\nffffffffffffffffff\r\nx\r\n" CHUNK NEXT,
        "POST /sum HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n1\r\nxy\r\n" CHUNK NEXT,
    };
    for (size_t i = 0; i < sizeof requests / sizeof *requests; i++) {
        char *said = converse(requests[i], strlen(requests[i]));
        /* libmicrohttpd closes without a word on a request line that is none. */
        if (*said && strncmp(said, "HTTP/1.1 400", 12) != 0 &&
            strncmp(said, "HTTP/1.1 413", 12) != 0) {
            fail_msg("request %zu:\n%s\nis answered:\n%s", i, requests[i], said);
        }
        if (strstr(said, "smuggled")) {
            fail_msg("request %zu:\n%s\nsmuggles:\n%s", i, requests[i], said);
        }
        free(said);
    }
}

static void bytes_behind_a_nul_are_seen(void **state)
{
    (void)state;
    static const char value[] = "POST /sum HTTP/1.1\r\n" HOST "Content-Length: 1\0"
                                "0\r\n\r\nx" NEXT;
    static const char name[] =
        "POST /sum HTTP/1.1\r\n" HOST "X\0: y\r\nContent-Length: 1\r\n\r\nx" NEXT;
    static const char middle[] =
        "POST /sum HTTP/1.1\r\n" HOST "X: y\0z\r\nContent-Length: 1\r\n\r\nx" NEXT;
    const struct {
        const char *text;
        size_t size;
    } requests[] = {
        {value, sizeof value - 1}, {name, sizeof name - 1}, {middle, sizeof middle - 1}};
    for (size_t i = 0; i < 3; i++) {
        char *said = converse(requests[i].text, requests[i].size);
        assert_true(!*said || strncmp(said, "HTTP/1.1 400", 12) == 0);
        assert_null(strstr(said, "smuggled"));
        free(said);
    }
}

static void sound_requests_are_answered(void **state)
{
    (void)state;
    static const char *const requests[] = {
        "GET /text HTTP/1.1\r\nHost:x\r\n\r\n",
        "GET /text HTTP/1.1\r\nHost: \t x\r\n\r\n",
        "GET /text HTTP/1.1\r\n" HOST "Empty:\r\n\r\n",
        "GET /text HTTP/1.1\r\n" HOST "Cookie: a=b; c=d\r\nX: y  \r\n\r\n",
        "GET /text?a=b&c=d&=&e HTTP/1.1\r\n" HOST "\r\n",
        "\r\nGET /text HTTP/1.1\r\n" HOST "\r\n",
        "GET /%74ext HTTP/1.1\r\n" HOST "Content-Length: 0\r\n\r\n",
        "GET /text HTTP/1.0\r\n\r\n",
        "GET /text HTTP/1.0\r\nConnection: keep-alive\r\nUser-Agent: x\r\n\r\n",
        "POST /sum HTTP/1.1\r\n" HOST
        "transfer-encoding: Chunked\r\n\r\n1;a=\"b\"\r\nx\r\n0\r\nT: y\r\n\r\n",
        "POST /sum HTTP/1.1\r\n" HOST "content-length: 00001\r\n\r\nx",
    };
    for (size_t i = 0; i < sizeof requests / sizeof *requests; i++) {
        front_answer answer = front_ask(server, requests[i]);
        if (answer.status / 100 != 2 || !answer.whole) {
            fail_msg("request %zu:\n%s\nis answered %u", i, requests[i], answer.status);
        }
        front_done(&answer);
    }
}

static void paths_do_not_lead_elsewhere(void **state)
{
    (void)state;
    static const struct {
        const char *path;
        unsigned status;
    } paths[] = {
        {"/..", 400},
        {"/bytes/../text", 400},
        {"/%2e%2e/text", 400},
        {"/./text", 400},
        {"/%2E/text", 400},
        {"//text", 400},
        {"/text/", 400},
        {"/text%00", 400},
        {"/bytes%2f5", 400},
        {"/bytes/%2F", 400},
        {"/%", 400},
        {"/%4", 400},
        {"/%zz", 400},
        {"/", 400},
        {"text", 400},
        {"*", 400},
        {"/1/2/3/4/5/6/7/8/9", 404},
        {"/texts", 404},
        {"/tex", 404},
        {"/Text", 404},
        {"/text/x", 404},
        {"/bytes", 404},
        {"/bytes/1", 200},
        {"/text;x", 404},
    };
    for (size_t i = 0; i < sizeof paths / sizeof *paths; i++) {
        char text[256];
        snprintf(text, sizeof text, "GET %s HTTP/1.1\r\n" HOST "\r\n", paths[i].path);
        front_answer answer = front_ask(server, text);
        if (answer.status != paths[i].status) {
            fail_msg("%s is answered %u", paths[i].path, answer.status);
        }
        front_done(&answer);
    }
}

/* Headers and targets of all lengths up to what is too long. */
static void long_headers_are_read_or_refused(void **state)
{
    (void)state;
    static char text[200000];
    static const size_t sizes[] = {10, 1000, 2000, 5000, 15000, 30000, 50000, 100000};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        int head = snprintf(text, sizeof text, "GET /text HTTP/1.1\r\n" HOST "X: ");
        memset(text + head, 'a', sizes[i]);
        snprintf(text + head + sizes[i], 100, "\r\nY: z\r\nCookie: k=v\r\n\r\n");
        front_answer answer = front_ask(server, text);
        assert_int_equal(answer.status, sizes[i] > 60000 ? 431 : 200);
        front_done(&answer);
        head = snprintf(text, sizeof text, "GET /text?x=");
        memset(text + head, 'a', sizes[i]);
        snprintf(text + head + sizes[i], 100, " HTTP/1.1\r\n" HOST "\r\n");
        answer = front_ask(server, text);
        assert_int_equal(answer.status, sizes[i] > 60000 ? 414 : 200);
        front_done(&answer);
        /* In many lines, and in pieces. */
        int fd = front_connect(server);
        assert_true(front_send(fd, "GET /text HTTP/1.1\r\n" HOST, 29));
        for (size_t at = 0; at < sizes[i]; at += 50) {
            head = snprintf(text, sizeof text, "Field-%zu: %030d\r\n", at, 0);
            front_send(fd, text, (size_t)head);
        }
        front_send(fd, "\r\n", 2);
        answer = front_read(fd, false);
        if (sizes[i] < 20000) {
            assert_int_equal(answer.status, 200);
        } else {
            assert_true(answer.status == 200 || answer.status == 431 || answer.status == 0);
        }
        front_done(&answer);
        close(fd);
    }
}

/* Bytes without sense: nothing but refusals, and the server lives on. */
static void noise_is_survived(void **state)
{
    (void)state;
    uint64_t seed = 20261123;
    for (int i = 0; i < 200; i++) {
        char text[400];
        int head = snprintf(text, sizeof text, "%s",
                            i % 3 == 0   ? ""
                            : i % 3 == 1 ? "POST /sum HTTP/1.1\r\n" HOST
                                         : "POST /sum HTTP/1.1\r\n" HOST
                                           "Transfer-Encoding: chunked\r\n\r\n");
        for (size_t at = (size_t)head; at < sizeof text; at++) {
            static const char alphabet[] = "\r\n\r\n\r\n: ;,=0123456789abcdefGET/%\t\0\xff";
            seed = seed * UINT64_C(6364136223846793005) + 1442695040888963407u;
            text[at] = alphabet[(seed >> 33) % (sizeof alphabet - 1)];
        }
        int fd = front_connect(server);
        front_send(fd, text, sizeof text);
        shutdown(fd, SHUT_WR);
        char piece[4096];
        while (recv(fd, piece, sizeof piece, 0) > 0) {
        }
        close(fd);
    }
    front_answer answer = front_ask(server, "GET /text HTTP/1.1\r\n" HOST "\r\n");
    assert_int_equal(answer.status, 200);
    front_done(&answer);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(ambiguous_requests_are_refused, server_start, server_end),
        cmocka_unit_test_setup_teardown(bytes_behind_a_nul_are_seen, server_start, server_end),
        cmocka_unit_test_setup_teardown(sound_requests_are_answered, server_start, server_end),
        cmocka_unit_test_setup_teardown(paths_do_not_lead_elsewhere, server_start, server_end),
        cmocka_unit_test_setup_teardown(long_headers_are_read_or_refused, server_start, server_end),
        cmocka_unit_test_setup_teardown(noise_is_survived, server_start, server_end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
