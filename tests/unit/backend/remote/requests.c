/* SPDX-License-Identifier: Apache-2.0 */
/* The client against answers, and ends of connections, that no real server gives on demand. */
#include "backend/remote/client.h"
#include "scripted_server.h"

#define ID "blake3:6437b3ac38465133ffb63b75273a8db548c558465d79db03fd359c6cd5bd9d85:3"

/* Answers; the body's size is told by closing the connection, or by the caller. */
#define JSON(body)                                                                                 \
    "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\n\r\n" body
#define STORE                                                                                      \
    JSON("{\"version\":1,\"program\":\"0.1.0\",\"id\":\"000102030405060708090a0b0c0d0e0f\","       \
         "\"format_version\":1,\"hash\":\"blake3\",\"chunker\":\"cdc:65536\","                     \
         "\"created\":\"2026-01-02T03:04:05Z\",\"read_only\":false,\"orders\":[\"key\"],"          \
         "\"references\":true}")
#define INFO                                                                                       \
    JSON("{\"id\":\"" ID "\",\"size_bytes\":3,\"blocks\":1,\"block_hash\":\"blake3\","             \
         "\"chunker\":\"cdc:65536\",\"created\":\"2026-01-02T03:04:05Z\",\"sequence\":7}")
#define PROBLEM(status, type, detail)                                                              \
    "HTTP/1.1 " status "\r\nContent-Type: application/problem+json\r\nRequest-Id: r7\r\n"          \
    "Connection: close\r\n\r\n{\"type\":\"urn:graviton:problem:" type "\",\"title\":\"T\","        \
    "\"detail\":\"" detail "\"}"
#define HTML(status)                                                                               \
    "HTTP/1.1 " status "\r\nContent-Type: text/html\r\nConnection: close\r\n\r\n<html>"
#define BYTES(bytes, length)                                                                       \
    "HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\nContent-Length: " length         \
    "\r\nConnection: close\r\n\r\n" bytes
#define PART(bytes, range)                                                                         \
    "HTTP/1.1 206 Partial\r\nContent-Type: application/octet-stream\r\nContent-Range: "            \
    "bytes " range "\r\nConnection: close\r\n\r\n" bytes

#define SAY(text)                                                                                  \
    {                                                                                              \
        text, SCRIPTED_CLOSE, 0                                                                    \
    }
#define HANG_UP                                                                                    \
    {                                                                                              \
        NULL, SCRIPTED_RESET, 0                                                                    \
    }

typedef struct rig {
    scripted *server;
    grv_remote *remote;
    grv_blob_store *store;
    grv_blob_key key;
} rig;

/* The script begins with the answer about the store. */
static rig rig_patient(const scripted_line *lines, size_t count, uint64_t patience_ns)
{
    grv_error error = GRV_ERROR_INIT;
    rig it = {.server = scripted_start(lines, count)};
    char url[64];
    snprintf(url, sizeof url, "http://127.0.0.1:%d", it.server->port);
    const grv_remote_config config = {.url = url, .token = "hush-hush", .patience_ns = patience_ns};
    assert_grv_ok(grv_remote_open(NULL, &config, &it.remote, &error));
    assert_grv_ok(grv_blob_store_remote_new(it.remote, &it.store, &error));
    assert_grv_ok(grv_blob_key_parse(grv_bytes_of(ID, strlen(ID)), &it.key, &error));
    return it;
}

/* With more patience than a test takes: a try that stands still is given up after half of it. */
static rig rig_of(const scripted_line *lines, size_t count)
{
    return rig_patient(lines, count, 120000 * MS);
}

static void rig_done(rig *it)
{
    grv_blob_store_free(it->store);
    grv_remote_close(it->remote);
    scripted_stop(it->server);
}

static void test_who_is_no_server(void **state)
{
    (void)state;
    static const scripted_line others[] = {
        SAY(HTML("200 OK")),
        SAY(HTML("404 Not Found")),
        SAY("HTTP/1.1 301 Moved\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n"),
        SAY(JSON("{}")),
        SAY(JSON("[1,2")),
        SAY(JSON("{\"version\":1}")),
        SAY("SSH-2.0-OpenSSH_9.2\r\n"),
        SAY(PROBLEM("404 Not Found", "not-found", "no such route")),
    };
    for (size_t i = 0; i < COUNT(others); i++) {
        grv_error error = GRV_ERROR_INIT;
        grv_remote *remote = NULL;
        scripted *server = scripted_start(&others[i], 1);
        char url[64];
        snprintf(url, sizeof url, "http://127.0.0.1:%d", server->port);
        const grv_remote_config config = {.url = url, .token = "hush-hush"};
        assert_grv_status(grv_remote_open(NULL, &config, &remote, &error), GRV_UNAVAILABLE);
        assert_null(remote);
        assert_non_null(strstr(error.message, "graviton server"));
        assert_int_equal(scripted_requests(server), 1);
        scripted_stop(server);
    }
}

static void test_refusals(void **state)
{
    (void)state;
    static const struct {
        scripted_line line;
        grv_status status;
        const char *says;
    } cases[] = {
        {SAY(PROBLEM("401 Unauthorized", "unauthorized", "no")), GRV_PERMISSION, "--token-file"},
        {SAY(PROBLEM("403 Forbidden", "forbidden", "scope read")), GRV_PERMISSION, "scope read"},
        {SAY(PROBLEM("404 Not Found", "not-found", "there is no blob")), GRV_NOT_FOUND, "no blob"},
        {SAY(PROBLEM("500 Oops", "corrupt", "bad block")), GRV_CORRUPT, "r7"},
        {SAY(PROBLEM("500 Oops", "internal", "defect")), GRV_INTERNAL, "r7"},
        {SAY(PROBLEM("507 Full", "out-of-space", "full")), GRV_OUT_OF_SPACE, "full"},
        {SAY(PROBLEM("501 No", "unsupported", "cannot")), GRV_UNSUPPORTED, "cannot"},
        {SAY(PROBLEM("418 Teapot", "teapot", "tea")), GRV_INVALID_ARGUMENT, "tea"},
        {SAY(HTML("404 Not Found")), GRV_UNAVAILABLE, "no graviton server"},
        {SAY(HTML("200 OK")), GRV_UNAVAILABLE, "no graviton server"},
        {SAY(JSON("{\"id\":7}")), GRV_UNAVAILABLE, "graviton server"},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        const scripted_line lines[] = {SAY(STORE), cases[i].line};
        grv_error error = GRV_ERROR_INIT;
        grv_blob_info info;
        rig it = rig_of(lines, 2);
        assert_grv_status(grv_blob_store_stat(NULL, it.store, &it.key, &info, &error),
                          cases[i].status);
        assert_non_null(strstr(error.message, cases[i].says));
        assert_null(strstr(error.message, "hush"));
        assert_int_equal(scripted_requests(it.server), 2);
        rig_done(&it);
    }
}

static void test_tried_again(void **state)
{
    (void)state;
    static const scripted_line faults[] = {
        HANG_UP,
        SAY("HTTP/1.1 200 OK\r\nContent-Ty"),
        SAY("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 99\r\n\r\n{"),
        SAY(HTML("502 Bad Gateway")),
        SAY(HTML("503 No")),
        SAY(PROBLEM("503 No", "unavailable", "not now")),
        SAY(PROBLEM("504 Late", "timeout", "too late")),
        SAY(PROBLEM("429 Slow", "too-many-requests", "slowly")),
    };
    for (size_t i = 0; i < COUNT(faults); i++) {
        const scripted_line lines[] = {SAY(STORE), faults[i], SAY(INFO)};
        grv_error error = GRV_ERROR_INIT;
        grv_blob_info info;
        rig it = rig_of(lines, 3);
        assert_grv_ok(grv_blob_store_stat(NULL, it.store, &it.key, &info, &error));
        assert_int_equal(info.sequence, 7);
        assert_int_equal(scripted_requests(it.server), 3);
        assert_non_null(strstr(it.server->heads[2], "Authorization: Bearer hush-hush\r\n"));
        rig_done(&it);
    }
}

static void test_patience(void **state)
{
    (void)state;
    const scripted_line lines[] = {SAY(STORE), {NULL, SCRIPTED_STALL, 0}};
    grv_error error = GRV_ERROR_INIT;
    grv_blob_info info;
    rig it = rig_patient(lines, 2, 4000 * MS);
    uint64_t begun_ns = grv_now_ns();
    const grv_call call = {.deadline_ns = begun_ns + 300 * MS};
    assert_grv_status(grv_blob_store_stat(&call, it.store, &it.key, &info, &error), GRV_TIMEOUT);
    grv_cancel cancel = {.raised = 1};
    const grv_call given_up = {.cancel = &cancel};
    assert_grv_status(grv_blob_store_stat(&given_up, it.store, &it.key, &info, &error),
                      GRV_CANCELLED);
    assert_grv_status(grv_blob_store_stat(NULL, it.store, &it.key, &info, &error), GRV_UNAVAILABLE);
    assert_true(grv_now_ns() - begun_ns < 60000 * MS);
    rig_done(&it);
    /* A server that asks for more than there is patience: told at once. */
    const scripted_line later[] = {
        SAY(STORE), SAY("HTTP/1.1 503 No\r\nRetry-After: 3600\r\nContent-Length: 0\r\n\r\n")};
    it = rig_of(later, 2);
    begun_ns = grv_now_ns();
    assert_grv_status(grv_blob_store_stat(NULL, it.store, &it.key, &info, &error), GRV_UNAVAILABLE);
    assert_true(grv_now_ns() - begun_ns < 60000 * MS);
    rig_done(&it);
}

static void test_remove(void **state)
{
    (void)state;
    /* The answer to the first was lost: whatever removed it, it is gone. */
    const scripted_line lost[] = {SAY(STORE), HANG_UP,
                                  SAY(PROBLEM("404 Not Found", "not-found", "there is no blob"))};
    grv_error error = GRV_ERROR_INIT;
    rig it = rig_of(lost, 3);
    assert_grv_ok(grv_blob_store_remove(NULL, it.store, &it.key, &error));
    rig_done(&it);
    /* A refusal leaves no doubt. */
    const scripted_line refused[] = {SAY(STORE), SAY(PROBLEM("429 Slow", "too-many-requests", "x")),
                                     SAY(PROBLEM("404 Not Found", "not-found", "no blob"))};
    it = rig_of(refused, 3);
    assert_grv_status(grv_blob_store_remove(NULL, it.store, &it.key, &error), GRV_NOT_FOUND);
    rig_done(&it);
}

/* Reads all of the rig's blob, which must be well. */
static void read_all(rig *it, uint8_t into[8], size_t *ret_size)
{
    grv_error error = GRV_ERROR_INIT;
    grv_source *source;
    assert_grv_ok(
        grv_blob_store_open_get(NULL, it->store, &it->key, GRV_RANGE_ALL, &source, &error));
    assert_grv_ok(grv_source_read(NULL, source, (grv_span){into, 8}, ret_size, &error));
    grv_source_free(source);
}

static void test_reads(void **state)
{
    (void)state;
    uint8_t into[8];
    size_t size;
    /* Cut in the middle, and taken up there. */
    const scripted_line cut[] = {SAY(STORE), SAY(BYTES("a", "3")), HANG_UP,
                                 SAY(PART("bc", "1-2/3"))};
    rig it = rig_of(cut, 4);
    read_all(&it, into, &size);
    assert_int_equal(size, 3);
    assert_memory_equal(into, "abc", 3);
    assert_non_null(strstr(it.server->heads[2], "Range: bytes=1-2\r\n"));
    assert_non_null(strstr(it.server->heads[3], "Range: bytes=1-2\r\n"));
    rig_done(&it);
}

/* Opens and reads to the end; the status of what fails. */
static grv_status read_status(const scripted_line *lines, size_t count, size_t *ret_size,
                              grv_error *error)
{
    rig it = rig_of(lines, count);
    grv_source *source = NULL;
    grv_status status =
        grv_blob_store_open_get(NULL, it.store, &it.key, GRV_RANGE_ALL, &source, error);
    *ret_size = 0;
    grv_bytes view = {(const uint8_t *)"", 1};
    while (!status && view.size > 0) {
        status = grv_source_next(NULL, source, 1, &view, error);
        *ret_size += status ? 0 : view.size;
    }
    grv_source_free(source);
    rig_done(&it);
    return status;
}

static void test_reads_that_fail(void **state)
{
    (void)state;
    grv_error error = GRV_ERROR_INIT;
    size_t size;
    const scripted_line wrong[] = {SAY(STORE), SAY(BYTES("abd", "3"))};
    assert_grv_status(read_status(wrong, 2, &size, &error), GRV_CORRUPT);
    assert_int_equal(size, 0);
    const scripted_line longer[] = {SAY(STORE), SAY(BYTES("abcd", "4"))};
    assert_grv_status(read_status(longer, 2, &size, &error), GRV_UNAVAILABLE);
    const scripted_line html[] = {SAY(STORE), SAY(HTML("200 OK"))};
    assert_grv_status(read_status(html, 2, &size, &error), GRV_UNAVAILABLE);
    const scripted_line corrupt[] = {SAY(STORE), SAY(BYTES("a", "3")),
                                     SAY(PROBLEM("500 Bad", "corrupt", "block 2 is bad"))};
    assert_grv_status(read_status(corrupt, 3, &size, &error), GRV_CORRUPT);
    assert_int_equal(size, 1);
    assert_non_null(strstr(error.message, "block 2 is bad"));
    const scripted_line other_part[] = {SAY(STORE), SAY(BYTES("a", "3")), SAY(PART("ab", "0-1/3"))};
    assert_grv_status(read_status(other_part, 3, &size, &error), GRV_UNAVAILABLE);
    const scripted_line gone[] = {SAY(STORE), SAY(BYTES("ab", "3")),
                                  SAY(PROBLEM("404 Not Found", "not-found", "gone"))};
    assert_grv_status(read_status(gone, 3, &size, &error), GRV_NOT_FOUND);
}

static grv_status put_abc(rig *it, const grv_put_plan *plan, grv_put_result *ret_result,
                          grv_error *error)
{
    grv_blob_sink *sink;
    grv_status status = grv_blob_store_open_put(NULL, it->store, plan, &sink, error);
    if (status) {
        return status;
    }
    status = grv_sink_write(NULL, &sink->base, grv_bytes_of("abc", 3), error);
    if (!status) {
        status = grv_sink_commit(NULL, &sink->base, error);
    }
    *ret_result = sink->result;
    grv_sink_free(&sink->base);
    return status;
}

#define ABSENT PROBLEM("404 Not Found", "not-found", "there is no blob")
#define STORED(id)                                                                                 \
    "HTTP/1.1 201 Created\r\nContent-Type: application/json\r\nGraviton-Put: blocks=1, "           \
    "fresh-blocks=1, fresh-bytes=3, duplicate-bytes=0, stored-bytes=3, already-stored=?0\r\n"      \
    "Connection: close\r\n\r\n\"" id "\""

static void test_puts(void **state)
{
    (void)state;
    grv_error error = GRV_ERROR_INIT;
    grv_put_result result;
    const grv_put_plan plan = {0};
    /* There already: asked for, and not sent. */
    const scripted_line there[] = {SAY(STORE), SAY(INFO)};
    rig it = rig_of(there, 2);
    assert_grv_ok(put_abc(&it, &plan, &result, &error));
    assert_true(result.already_stored && result.duplicate_bytes == 3 && result.blocks == 1);
    assert_int_equal(grv_blob_key_compare(&result.key, &it.key), 0);
    assert_int_equal(scripted_requests(it.server), 2);
    rig_done(&it);
    /* The answer was lost: sent again. */
    const scripted_line lost[] = {SAY(STORE), SAY(ABSENT), HANG_UP, SAY(STORED(ID))};
    it = rig_of(lost, 4);
    assert_grv_ok(put_abc(&it, &plan, &result, &error));
    assert_true(!result.already_stored && result.fresh_bytes == 3);
    assert_int_equal(it.server->body_sizes[3], 3);
    rig_done(&it);
    /* Something else arrived. */
    const scripted_line other[] = {
        SAY(STORE), SAY(ABSENT),
        SAY(STORED("blake3:af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262:0"))};
    it = rig_of(other, 3);
    assert_grv_status(put_abc(&it, &plan, &result, &error), GRV_CORRUPT);
    rig_done(&it);
    const scripted_line html[] = {SAY(STORE), SAY(ABSENT), SAY(HTML("200 OK"))};
    it = rig_of(html, 3);
    assert_grv_status(put_abc(&it, &plan, &result, &error), GRV_UNAVAILABLE);
    rig_done(&it);
}

int main(void)
{
    unsetenv("http_proxy");
    unsetenv("all_proxy");
    unsetenv("GRAVITON_TOKEN");
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_who_is_no_server), cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_tried_again),      cmocka_unit_test(test_patience),
        cmocka_unit_test(test_remove),           cmocka_unit_test(test_reads),
        cmocka_unit_test(test_reads_that_fail),  cmocka_unit_test(test_puts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
