/* SPDX-License-Identifier: Apache-2.0 */
/* The client against answers, and ends of connections, that no real service gives on demand. */
#include "unit/backend/s3/scripted.h"

/* ---- What is tried again ---- */

/* Three at a time: pauses grow from try to try. */
static void check_each_is_retried(const scripted_line faults[], size_t count)
{
    for (size_t i = 0; i < count; i += 3) {
        scripted_line lines[4];
        size_t used = 0;
        while (used < 3 && i + used < count) {
            lines[used] = faults[i + used];
            used++;
        }
        lines[used] = (scripted_line){OK_HELLO, 0, 0};
        fault_rig rig = rig_of(lines, used + 1);
        grv_error error = GRV_ERROR_INIT;
        grv_s3_request request;
        assert_grv_ok(get_hello(NULL, &rig, &request, &error));
        assert_int_equal(scripted_requests(rig.server), used + 1);
        assert_string_equal(request.answer.etag, "e");
        assert_int_equal(request.answer.object_size, 5);
        rig_done(&rig);
    }
}

static void test_retries(void **state)
{
    (void)state;
    static const scripted_line faults[] = {
        {REFUSAL("429 Too Many", "SlowDown", "36"), 0, 0},
        {REFUSAL("500 Error", "InternalError", "41"), 0, 0},
        {"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 6\r\n\r\n<html>", 0, 0},
        {SLOW_DOWN, 0, 0},
        {"HTTP/1.1 504 Gateway Timeout\r\nContent-Length: 0\r\n\r\n", SCRIPTED_CLOSE, 0},
        {REFUSAL("400 Bad Request", "RequestTimeout", "42"), SCRIPTED_CLOSE, 0},
        {REFUSAL("409 Conflict", "OperationAborted", "44"), 0, 0},
    };
    check_each_is_retried(faults, COUNT(faults));
}

static void test_broken_answers(void **state)
{
    (void)state;
    static const scripted_line faults[] = {
        {NULL, SCRIPTED_CLOSE, 0},
        {NULL, SCRIPTED_RESET, 0},
        {"HTTP/1.1 200 OK\r\nContent-Le", SCRIPTED_CLOSE, 0},
        {"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhel", SCRIPTED_CLOSE, 0},
        {"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhel", SCRIPTED_RESET, 0},
        {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nhel\r\n", SCRIPTED_CLOSE, 0},
        {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nx\r\n", SCRIPTED_CLOSE, 0},
        {"no HTTP at all\r\n\r\n", SCRIPTED_CLOSE, 0},
        {"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\nhello", SCRIPTED_CLOSE, 0},
    };
    check_each_is_retried(faults, COUNT(faults));
}

/* A body that ends early with a length that fits: the object, or somebody on the way. */
static void test_short_bodies(void **state)
{
    (void)state;
    static const char *const bodies[] = {
        "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nhel",
        "HTTP/1.1 200 OK\r\n\r\nhel",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nhel\r\n0\r\n\r\n",
        "HTTP/1.1 204 No Content\r\n\r\n",
    };
    for (size_t i = 0; i < COUNT(bodies); i++) {
        const scripted_line once[] = {{bodies[i], SCRIPTED_CLOSE, 0}, {OK_HELLO, 0, 0}};
        const scripted_line always[] = {{bodies[i], SCRIPTED_CLOSE, 0}};
        grv_error error = GRV_ERROR_INIT;
        grv_s3_request request;
        fault_rig rig = rig_of(once, 2);
        assert_grv_ok(get_hello(NULL, &rig, &request, &error));
        rig_done(&rig);
        rig = rig_of(always, 1);
        assert_grv_status(get_hello(NULL, &rig, &request, &error), GRV_CORRUPT);
        assert_int_equal(scripted_requests(rig.server), 3);
        assert_non_null(strstr(error.message, "s3://bucket/key"));
        rig_done(&rig);
    }
}

static void test_long_bodies(void **state)
{
    (void)state;
    static const scripted_line lines[] = {
        {"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nhello!", 0, 0}};
    fault_rig rig = rig_of(lines, 1);
    grv_error error = GRV_ERROR_INIT;
    grv_s3_request request;
    assert_grv_status(get_hello(NULL, &rig, &request, &error), GRV_CORRUPT);
    assert_int_equal(scripted_requests(rig.server), 1);
    grv_buffer out;
    grv_buffer_init(&out, 5);
    request = (grv_s3_request){.method = GRV_S3_GET, .bucket = "bucket", .key = "k", .out = &out};
    assert_grv_status(grv_s3_run(NULL, rig.s3, &request, 1, &error), GRV_LIMIT_EXCEEDED);
    grv_buffer_done(&out);
    grv_buffer_init(&out, 6);
    assert_grv_ok(grv_s3_run(NULL, rig.s3, &request, 1, &error));
    assert_int_equal(out.size, 6);
    grv_buffer_done(&out);
    rig_done(&rig);
}

/* What a failed try left in `out` is gone, what the caller had in it before is not. */
static void test_out_begins_anew(void **state)
{
    (void)state;
    static const scripted_line lines[] = {
        {"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nxxx", SCRIPTED_CLOSE, 0}, {OK_HELLO, 0, 0}};
    fault_rig rig = rig_of(lines, COUNT(lines));
    grv_error error = GRV_ERROR_INIT;
    grv_buffer out;
    grv_buffer_init(&out, 100);
    assert_grv_ok(grv_buffer_append(&out, grv_bytes_of("I say ", 6), &error));
    grv_s3_request request = {.method = GRV_S3_GET, .bucket = "bucket", .key = "key", .out = &out};
    assert_grv_ok(grv_s3_run(NULL, rig.s3, &request, 1, &error));
    assert_int_equal(out.size, 11);
    assert_memory_equal(out.data, "I say hello", 11);
    grv_buffer_done(&out);
    rig_done(&rig);
}

static void test_ranges(void **state)
{
    (void)state;
    static const char *const others[] = {
        OK_HELLO,
        "HTTP/1.1 206 Part\r\nContent-Range: bytes 0-4/100\r\nContent-Length: 5\r\n\r\nhello",
        "HTTP/1.1 206 Part\r\nContent-Length: 5\r\n\r\nhello",
    };
    const grv_s3_pair headers[] = {{"range", "bytes=10-14"}};
    uint8_t into[5];
    for (size_t i = 0; i < COUNT(others); i++) {
        const scripted_line lines[] = {{others[i], 0, 0},
                                       {"HTTP/1.1 206 Part\r\nContent-Range: bytes "
                                        "10-14/100\r\nContent-Length: 5\r\n\r\nhello",
                                        0, 0}};
        grv_error error = GRV_ERROR_INIT;
        grv_s3_request request = {.method = GRV_S3_GET,
                                  .bucket = "bucket",
                                  .key = "key",
                                  .headers = headers,
                                  .header_count = 1,
                                  .into = {into, 5}};
        fault_rig rig = rig_of(lines, 2);
        assert_grv_ok(grv_s3_run(NULL, rig.s3, &request, 1, &error));
        assert_int_equal(scripted_requests(rig.server), 2);
        assert_int_equal(request.answer.object_size, 100);
        assert_int_equal(request.answer.content_length, 5);
        rig_done(&rig);
        rig = rig_of(lines, 1);
        assert_grv_status(grv_s3_run(NULL, rig.s3, &request, 1, &error), GRV_CORRUPT);
        rig_done(&rig);
    }
}

/* A success that is none: of a copy, or of the end of a multipart upload. */
static void test_error_in_success(void **state)
{
    (void)state;
    static const scripted_line lines[] = {
        {REFUSAL("200 OK", "InternalError", "41"), 0, 0},
        {"HTTP/1.1 200 OK\r\nContent-Length: 12\r\n\r\n\r\n <Result/>\n", 0, 0},
        {REFUSAL("200 OK", "AccessDenied", "40"), 0, 0}};
    fault_rig rig = rig_of(lines, COUNT(lines));
    grv_error error = GRV_ERROR_INIT;
    grv_buffer out;
    grv_buffer_init(&out, 1000);
    grv_s3_request request = {.method = GRV_S3_POST, .bucket = "bucket", .key = "key", .out = &out};
    assert_grv_ok(grv_s3_run(NULL, rig.s3, &request, 1, &error));
    assert_true(request.unsure);
    assert_int_equal(scripted_requests(rig.server), 2);
    assert_grv_status(grv_s3_run(NULL, rig.s3, &request, 1, &error), GRV_PERMISSION);
    assert_int_equal(scripted_requests(rig.server), 3);
    grv_buffer_done(&out);
    rig_done(&rig);
}

/* ---- What is not ---- */

static void test_statuses(void **state)
{
    (void)state;
    static const struct {
        const char *answer;
        grv_status status;
        const char *says;
        bool allow;
    } cases[] = {
        {REFUSAL("403 No", "AccessDenied", "40"), GRV_PERMISSION, "may not do that", false},
        {REFUSAL("403 No", "InvalidAccessKeyId", "46"), GRV_PERMISSION, "does not know", false},
        {REFUSAL("403 No", "SignatureDoesNotMatch", "49"), GRV_PERMISSION, "secret access key",
         false},
        {REFUSAL("403 No", "UserSuspended", "41"), GRV_PERMISSION, "suspended", false},
        {REFUSAL("403 No", "QuotaExceeded", "41"), GRV_OUT_OF_SPACE, "quota", false},
        {REFUSAL("400 No", "ExpiredToken", "40"), GRV_PERMISSION, "token", false},
        {REFUSAL("400 No", "EntityTooLarge", "42"), GRV_LIMIT_EXCEEDED, "larger", false},
        {REFUSAL("400 No", "Whatever", "36"), GRV_INVALID_ARGUMENT, "Whatever", false},
        {REFUSAL("404 No", "NoSuchKey", "37"), GRV_NOT_FOUND, "request tx9", false},
        {REFUSAL("404 No", "NoSuchKey", "37"), GRV_NOT_FOUND, NULL, true},
        {REFUSAL("404 No", "NoSuchUpload", "40"), GRV_NOT_FOUND, NULL, true},
        {REFUSAL("404 No", "NoSuchBucket", "40"), GRV_CONFLICT, "no such bucket", true},
        {REFUSAL("405 No", "MethodNotAllowed", "44"), GRV_UNSUPPORTED, "cannot", false},
        {REFUSAL("412 No", "PreconditionFailed", "46"), GRV_CONFLICT, "not the one", false},
        {REFUSAL("412 No", "PreconditionFailed", "46"), GRV_ALREADY_EXISTS, NULL, true},
        {REFUSAL("416 No", "InvalidRange", "40"), GRV_INVALID_ARGUMENT, "range", false},
        {REFUSAL("501 No", "NotImplemented", "42"), GRV_UNSUPPORTED, "cannot", false},
        {REFUSAL("507 No", "XMinioStorageFull", "45"), GRV_OUT_OF_SPACE, "full", false},
        {"HTTP/1.1 507 No\r\nContent-Length: 0\r\n\r\n", GRV_OUT_OF_SPACE, "HTTP 507", false},
        {"HTTP/1.1 301 Moved\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n"
         "x-amz-bucket-region: eu-west-1\r\n\r\n",
         GRV_INVALID_ARGUMENT, "eu-west-1", false},
        {"HTTP/1.1 407 Proxy\r\nContent-Length: 0\r\n\r\n", GRV_PERMISSION, "HTTP 407", false},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        const scripted_line line = {cases[i].answer, SCRIPTED_CLOSE, 0};
        fault_rig rig = rig_of(&line, 1);
        grv_error error = GRV_ERROR_INIT;
        uint8_t into[5];
        grv_s3_request request = {.method = GRV_S3_GET,
                                  .bucket = "bucket",
                                  .key = "key",
                                  .into = {into, 5},
                                  .allow_missing = cases[i].allow,
                                  .allow_precondition = cases[i].allow};
        bool allowed = cases[i].allow && cases[i].status != GRV_CONFLICT;
        assert_grv_status(grv_s3_run(NULL, rig.s3, &request, 1, &error),
                          allowed ? GRV_OK : cases[i].status);
        assert_grv_status(request.status, cases[i].status);
        assert_int_equal(scripted_requests(rig.server), 1);
        if (!allowed) {
            if (!strstr(error.message, cases[i].says)) {
                fail_msg("\"%s\" does not say \"%s\"", error.message, cases[i].says);
            }
            assert_non_null(strstr(error.message, "cannot read s3://bucket/key at http://127.0."));
            assert_null(strstr(error.message, "hush"));
            assert_int_equal(error.native_kind, GRV_NATIVE_HTTP);
        }
        rig_done(&rig);
    }
}

/* An answer that is not this service's never says that a key is absent. */
static void test_other_servers(void **state)
{
    (void)state;
    static const scripted_line lines[] = {
        {"HTTP/1.1 404 Not Found\r\nContent-Length: 16\r\n\r\n<html>404</html>", 0, 0}};
    fault_rig rig = rig_of(lines, 1);
    grv_error error = GRV_ERROR_INIT;
    uint8_t into[5];
    grv_s3_request request = {.method = GRV_S3_GET,
                              .bucket = "bucket",
                              .key = "key",
                              .into = {into, 5},
                              .allow_missing = true};
    assert_grv_status(grv_s3_run(NULL, rig.s3, &request, 1, &error), GRV_UNAVAILABLE);
    assert_int_equal(scripted_requests(rig.server), 3);
    request = (grv_s3_request){.method = GRV_S3_HEAD, .bucket = "b", .key = "k"};
    assert_grv_status(grv_s3_run(NULL, rig.s3, &request, 1, &error), GRV_NOT_FOUND);
    assert_grv_status(grv_s3_bucket_check(NULL, rig.s3, "bucket", &error), GRV_UNAVAILABLE);
    rig_done(&rig);
    static const scripted_line page[] = {
        {"HTTP/1.1 200 OK\r\nContent-Length: 17\r\n\r\n<html>Hi!</html>\n", 0, 0}};
    rig = rig_of(page, 1);
    assert_grv_status(grv_s3_bucket_check(NULL, rig.s3, "bucket", &error), GRV_UNAVAILABLE);
    rig_done(&rig);
}

static void test_refused_requests(void **state)
{
    (void)state;
    static const scripted_line lines[] = {{OK_EMPTY, 0, 0}};
    fault_rig rig = rig_of(lines, 1);
    const grv_s3_pair split[] = {{"x-amz-meta-a", "b\r\nx-evil: yes"}};
    const grv_s3_pair beyond[] = {{"x-amz-meta-a", "\xc3\xa9"}};
    const grv_s3_pair name[] = {{"X-Amz-Meta-A: b", "c"}};
    const grv_s3_request requests[] = {
        {.method = GRV_S3_DELETE, .bucket = "bucket", .key = ""},
        {.method = GRV_S3_DELETE, .bucket = "", .key = "key"},
        {.method = GRV_S3_DELETE, .bucket = NULL, .key = "key"},
        {.method = GRV_S3_PUT, .bucket = "b", .key = "k", .headers = split, .header_count = 1},
        {.method = GRV_S3_PUT, .bucket = "b", .key = "k", .headers = beyond, .header_count = 1},
        {.method = GRV_S3_PUT, .bucket = "b", .key = "k", .headers = name, .header_count = 1},
    };
    for (size_t i = 0; i < COUNT(requests); i++) {
        grv_error error = GRV_ERROR_INIT;
        grv_s3_request request = requests[i];
        assert_grv_status(grv_s3_run(NULL, rig.s3, &request, 1, &error), GRV_INVALID_ARGUMENT);
    }
    assert_int_equal(scripted_requests(rig.server), 0);
    rig_done(&rig);
}

/* ---- What may have taken effect ---- */

static void test_unsure(void **state)
{
    (void)state;
    static const struct {
        scripted_line first;
        bool unsure;
    } cases[] = {
        {{NULL, SCRIPTED_RESET, 0}, true},
        {{"HTTP/1.1 200 OK\r\nCont", SCRIPTED_CLOSE, 0}, true},
        {{"HTTP/1.1 500 Error\r\nContent-Length: 0\r\n\r\n", 0, 0}, true},
        {{REFUSAL("400 Bad", "IncompleteBody", "42"), 0, 0}, false},
    };
    const grv_s3_pair headers[] = {{"if-none-match", "*"}};
    for (size_t i = 0; i < COUNT(cases); i++) {
        const scripted_line lines[] = {cases[i].first,
                                       {REFUSAL("412 No", "PreconditionFailed", "46"), 0, 0}};
        fault_rig rig = rig_of(lines, 2);
        grv_error error = GRV_ERROR_INIT;
        grv_s3_request request = {.method = GRV_S3_PUT,
                                  .bucket = "bucket",
                                  .key = "key",
                                  .headers = headers,
                                  .header_count = 1,
                                  .body = grv_bytes_of("body", 4),
                                  .allow_precondition = true};
        assert_grv_ok(grv_s3_run(NULL, rig.s3, &request, 1, &error));
        assert_grv_status(request.status, GRV_ALREADY_EXISTS);
        assert_int_equal(request.unsure, cases[i].unsure);
        rig_done(&rig);
    }
}

/* curl sends a request again by itself where a connection that was kept turns out to be closed;
 * that too is a request whose answer was lost. */
static void test_unsure_of_a_kept_connection(void **state)
{
    (void)state;
    static const scripted_line lines[] = {
        {OK_EMPTY, 0, 0}, {NULL, SCRIPTED_CLOSE, 0}, {OK_EMPTY, 0, 0}};
    fault_rig rig = rig_of(lines, COUNT(lines));
    grv_error error = GRV_ERROR_INIT;
    static uint8_t body[300000];
    memset(body, 'x', sizeof body);
    grv_s3_request request = {.method = GRV_S3_PUT,
                              .bucket = "bucket",
                              .key = "key",
                              .body = grv_bytes_of(body, sizeof body)};
    assert_grv_ok(grv_s3_run(NULL, rig.s3, &request, 1, &error));
    assert_false(request.unsure);
    assert_grv_ok(grv_s3_run(NULL, rig.s3, &request, 1, &error));
    assert_true(request.unsure);
    assert_int_equal(scripted_requests(rig.server), 3);
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(rig.server->body_sizes[i], sizeof body);
        assert_int_equal(rig.server->body_sums[i], rig.server->body_sums[0]);
    }
    rig_done(&rig);
}

int main(void)
{
    scripted_environment();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_retries),          cmocka_unit_test(test_broken_answers),
        cmocka_unit_test(test_short_bodies),     cmocka_unit_test(test_long_bodies),
        cmocka_unit_test(test_out_begins_anew),  cmocka_unit_test(test_ranges),
        cmocka_unit_test(test_error_in_success), cmocka_unit_test(test_statuses),
        cmocka_unit_test(test_other_servers),    cmocka_unit_test(test_refused_requests),
        cmocka_unit_test(test_unsure),           cmocka_unit_test(test_unsure_of_a_kept_connection),
    };
    return cmocka_run_group_tests_name("s3 faults", tests, NULL, NULL);
}
