/* SPDX-License-Identifier: Apache-2.0 */
/* Log lines: one line whatever a client sends, no more than a pipe takes, and none that waits. */
#include "http/log.h"

#include "test.h"

#include <fcntl.h>
#include <graviton/call.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

typedef struct log_rig {
    int pipe[2];
    http_log *log;
    http_server server;
    char text[8192];
} log_rig;

static void rig_begin(log_rig *rig, bool json)
{
    grv_error error = GRV_ERROR_INIT;
    memset(rig, 0, sizeof *rig);
    assert_int_equal(pipe(rig->pipe), 0);
    assert_int_equal(fcntl(rig->pipe[0], F_SETFL, O_NONBLOCK), 0);
    assert_grv_ok(http_log_new(json, rig->pipe[1], &rig->log, &error));
    rig->server.log = rig->log;
}

static void rig_end(log_rig *rig)
{
    http_log_free(rig->log);
    close(rig->pipe[0]);
    close(rig->pipe[1]);
}

/* What was written, "" for nothing. */
static const char *rig_read(log_rig *rig)
{
    ssize_t size = read(rig->pipe[0], rig->text, sizeof rig->text - 1);
    rig->text[size > 0 ? size : 0] = '\0';
    return rig->text;
}

static const http_route route = {.method = "GET", .pattern = "/x", .name = "x_get"};

static http_exchange exchange_make(void)
{
    http_exchange exchange = {
        .route = &route,
        .method = "GET",
        .path = "/x/%22y",
        .request_id = "0123456789abcdef",
        .token_name = "alice",
    };
    exchange.call.trace_id[15] = 0xab;
    return exchange;
}

static void a_request_is_a_line(void **state)
{
    (void)state;
    log_rig rig;
    rig_begin(&rig, false);
    http_exchange exchange = exchange_make();
    http_log_request(&rig.server, &exchange, 206, 1, 2, 1234567, "127.0.0.1:99", NULL);
    const char *line = rig_read(&rig);
    assert_memory_equal(line, "time=2", 6);
    assert_non_null(strstr(line, "Z level=info msg=request request_id=0123456789abcdef "
                                 "trace_id=000000000000000000000000000000ab "
                                 "client=127.0.0.1:99 token=alice method=GET path=/x/%22y "
                                 "route=x_get status=206 bytes_in=1 bytes_out=2 "
                                 "duration_ms=1.234\n"));
    exchange = (http_exchange){.method = "G", .path = "", .request_id = "0123456789abcdef"};
    grv_error cause = GRV_ERROR_INIT;
    grv_error_set(&cause, GRV_CORRUPT, "fs", "block \"a\" in /b");
    http_log_request(&rig.server, &exchange, 500, 0, 0, 0, "c", &cause);
    assert_non_null(strstr(rig_read(&rig), " level=error msg=request request_id=0123456789abcdef "
                                           "client=c method=G path=\"\" status=500 bytes_in=0 "
                                           "bytes_out=0 duration_ms=0.000 cause=corrupt origin=fs "
                                           "error=\"block \\\"a\\\" in /b\"\n"));
    /* An answer that was cut is an error whatever its status; a client that went is none. */
    http_log_request(&rig.server, &exchange, 200, 0, 0, 0, "c", &cause);
    assert_non_null(strstr(rig_read(&rig), " level=error "));
    grv_error_set(&cause, GRV_CANCELLED, "http", "gone");
    http_log_request(&rig.server, &exchange, 200, 0, 0, 0, "c", &cause);
    assert_non_null(strstr(rig_read(&rig), " level=info "));
    rig_end(&rig);
}

static void a_request_is_an_object(void **state)
{
    (void)state;
    log_rig rig;
    rig_begin(&rig, true);
    http_exchange exchange = exchange_make();
    exchange.path = "/\x01\xff\xc3\xa9\xc2\x9b";
    http_log_request(&rig.server, &exchange, 503, 1, 2, 5000, "c", NULL);
    json_error_t failure;
    json_t *object = json_loads(rig_read(&rig), 0, &failure);
    if (!object) {
        fail_msg("%s: %s", failure.text, rig.text);
    }
    assert_string_equal(json_string_value(json_object_get(object, "path")),
                        "/\x01\xef\xbf\xbd\xc3\xa9\xc2\x9b");
    assert_non_null(strstr(rig.text, "\\u0001\\ufffd\xc3\xa9\\u009b"));
    assert_string_equal(json_string_value(json_object_get(object, "level")), "warning");
    assert_int_equal(json_integer_value(json_object_get(object, "status")), 503);
    assert_true(json_is_real(json_object_get(object, "duration_ms")));
    json_decref(object);
    rig_end(&rig);
}

static void nothing_makes_two_lines_or_a_long_one(void **state)
{
    (void)state;
    for (int json = 0; json < 2; json++) {
        log_rig rig;
        rig_begin(&rig, json);
        char huge[9000];
        memset(huge, '\n', sizeof huge - 1);
        huge[sizeof huge - 1] = '\0';
        http_exchange exchange = exchange_make();
        exchange.path = huge;
        exchange.method = huge;
        exchange.token_name = huge;
        grv_error cause = GRV_ERROR_INIT;
        grv_error_set(&cause, GRV_INTERNAL, "x", "%s", huge);
        http_log_request(&rig.server, &exchange, 200, INT64_MAX, INT64_MAX, UINT64_MAX, huge,
                         &cause);
        size_t size = strlen(rig_read(&rig));
        assert_in_range(size, 1000, 4096);
        assert_ptr_equal(strchr(rig.text, '\n'), rig.text + size - 1);
        if (json) {
            json_t *object = json_loads(rig.text, 0, NULL);
            assert_non_null(object);
            json_decref(object);
        }
        rig_end(&rig);
    }
}

static void where_nobody_reads_lines_are_dropped_and_told_of(void **state)
{
    (void)state;
    log_rig rig;
    rig_begin(&rig, false);
    char filler[4096];
    memset(filler, 'x', sizeof filler);
    assert_int_equal(fcntl(rig.pipe[1], F_SETFL, O_NONBLOCK), 0);
    while (write(rig.pipe[1], filler, sizeof filler) > 0) {
    }
    assert_int_equal(fcntl(rig.pipe[1], F_SETFL, 0), 0);
    uint64_t begun_ns = grv_now_ns();
    for (int i = 0; i < 1000; i++) {
        http_log_event(rig.log, "info", "number %d", i);
    }
    assert_true(grv_now_ns() - begun_ns < UINT64_C(5000000000));
    while (read(rig.pipe[0], rig.text, sizeof rig.text) > 0) {
    }
    http_log_event(rig.log, "info", "there");
    assert_non_null(strstr(rig_read(&rig), "msg=there lines_dropped=1000\n"));
    http_log_event(rig.log, "info", "there");
    assert_non_null(strstr(rig_read(&rig), "msg=there\n"));
    rig_end(&rig);
}

static void the_journal_gets_priorities(void **state)
{
    (void)state;
    grv_error error = GRV_ERROR_INIT;
    log_rig rig;
    struct stat st;
    char name[64];
    rig_begin(&rig, false);
    http_log_free(rig.log);
    assert_int_equal(fstat(rig.pipe[1], &st), 0);
    snprintf(name, sizeof name, "%ju:%ju", (uintmax_t)st.st_dev, (uintmax_t)st.st_ino);
    setenv("JOURNAL_STREAM", name, 1);
    assert_grv_ok(http_log_new(false, rig.pipe[1], &rig.log, &error));
    http_log_event(rig.log, "error", "a");
    assert_memory_equal(rig_read(&rig), "<3>time=", 8);
    http_log_event(rig.log, "info", "a b");
    assert_memory_equal(rig_read(&rig), "<6>time=", 8);
    assert_non_null(strstr(rig.text, " level=info msg=\"a b\"\n"));
    http_log_event(rig.log, "debug", "a");
    assert_string_equal(rig_read(&rig), "");
    http_log_free(rig.log);
    setenv("JOURNAL_STREAM", "1:1", 1);
    setenv("GRAVITON_DEBUG", "1", 1);
    assert_grv_ok(http_log_new(false, rig.pipe[1], &rig.log, &error));
    http_log_event(rig.log, "debug", "a");
    assert_memory_equal(rig_read(&rig), "time=", 5);
    unsetenv("GRAVITON_DEBUG");
    unsetenv("JOURNAL_STREAM");
    rig_end(&rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_request_is_a_line),
        cmocka_unit_test(a_request_is_an_object),
        cmocka_unit_test(nothing_makes_two_lines_or_a_long_one),
        cmocka_unit_test(where_nobody_reads_lines_are_dropped_and_told_of),
        cmocka_unit_test(the_journal_gets_priorities),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
