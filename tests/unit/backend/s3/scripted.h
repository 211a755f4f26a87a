/* SPDX-License-Identifier: Apache-2.0 */
/* A client of S3 over a server that says what a test tells it to. */
#ifndef GRV_TESTS_UNIT_BACKEND_S3_SCRIPTED_H
#define GRV_TESTS_UNIT_BACKEND_S3_SCRIPTED_H

#include "backend/s3/client.h"
#include "scripted_server.h"

/* Answers, with sizes that fit. */
#define OK_HELLO "HTTP/1.1 200 OK\r\nETag: \"e\"\r\nContent-Length: 5\r\n\r\nhello"
#define OK_EMPTY "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
#define REFUSAL(status, code, size)                                                                \
    "HTTP/1.1 " status "\r\nContent-Type: application/xml\r\nx-amz-request-id: tx9\r\n"            \
    "Content-Length: " size "\r\n\r\n<Error><Code>" code "</Code></Error>"
#define SLOW_DOWN REFUSAL("503 Slow Down", "SlowDown", "36")

/* Takes out of the environment what would change requests. */
static inline void scripted_environment(void)
{
    static const char *const names[] = {"http_proxy", "https_proxy",   "all_proxy",
                                        "ALL_PROXY",  "no_proxy",      "NO_PROXY",
                                        "AWS_REGION", "AWS_CA_BUNDLE", "AWS_SESSION_TOKEN"};
    for (size_t i = 0; i < COUNT(names); i++) {
        unsetenv(names[i]);
    }
}

/* A server with a script and a client of it. */
typedef struct fault_rig {
    scripted *server;
    grv_s3 *s3;
} fault_rig;

static inline fault_rig rig_with(const scripted_line *lines, size_t count, grv_s3_config config)
{
    fault_rig rig = {.server = scripted_start(lines, count)};
    grv_error error = GRV_ERROR_INIT;
    char endpoint[64];
    snprintf(endpoint, sizeof endpoint, "http://127.0.0.1:%d", rig.server->port);
    config.endpoint = config.endpoint ? config.endpoint : endpoint;
    config.key_id = "id";
    config.secret = "hushhush";
    config.patience_ns = config.patience_ns ? config.patience_ns : 120000 * MS;
    assert_grv_ok(grv_s3_open(&config, &rig.s3, &error));
    return rig;
}

static inline fault_rig rig_of(const scripted_line *lines, size_t count)
{
    return rig_with(lines, count, (grv_s3_config){0});
}

static inline void rig_done(fault_rig *rig)
{
    grv_s3_close(rig->s3);
    scripted_stop(rig->server);
}

/* A GET of five bytes, "hello". */
static inline grv_status get_hello(const grv_call *call, fault_rig *rig,
                                   grv_s3_request *ret_request, grv_error *error)
{
    static uint8_t into[5];
    memset(into, 0, sizeof into);
    *ret_request = (grv_s3_request){
        .method = GRV_S3_GET, .bucket = "bucket", .key = "key", .into = {into, sizeof into}};
    grv_status status = grv_s3_run(call, rig->s3, ret_request, 1, error);
    assert_true(ret_request->ended);
    if (!status) {
        assert_memory_equal(into, "hello", 5);
    }
    return status;
}

#endif
