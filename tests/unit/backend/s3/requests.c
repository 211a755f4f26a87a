/* SPDX-License-Identifier: Apache-2.0 */
/* What the client sends, where to, and over how many connections. */
#include "unit/backend/s3/scripted.h"

static void test_request(void **state)
{
    (void)state;
    static const scripted_line lines[] = {{SLOW_DOWN, 0, 0}, {OK_EMPTY, 0, 0}};
    fault_rig rig = rig_of(lines, COUNT(lines));
    grv_error error = GRV_ERROR_INIT;
    const grv_s3_pair query[] = {{"uploadId", "a b"}, {"partNumber", "1"}};
    const grv_s3_pair headers[] = {{"if-none-match", "*"}, {"x-amz-meta-empty", ""}};
    static uint8_t body[2000000];
    uint64_t sum = 0;
    for (size_t i = 0; i < sizeof body; i++) {
        body[i] = (uint8_t)(i * 7 >> 3);
        sum = sum * 31 + body[i];
    }
    grv_s3_request request = {.method = GRV_S3_PUT,
                              .bucket = "bucket",
                              .key = "a/../ b\x01+",
                              .query = query,
                              .query_count = 2,
                              .headers = headers,
                              .header_count = 2,
                              .body = grv_bytes_of(body, sizeof body)};
    assert_grv_ok(grv_s3_run(NULL, rig.s3, &request, 1, &error));
    assert_int_equal(scripted_requests(rig.server), 2);
    for (size_t i = 0; i < 2; i++) {
        const char *head = rig.server->heads[i];
        char host[64];
        snprintf(host, sizeof host, "\r\nhost: 127.0.0.1:%d\r\n", rig.server->port);
        assert_ptr_equal(
            strstr(head, "PUT /bucket/a/../%20b%01%2B?partNumber=1&uploadId=a%20b HTTP/1.1\r\n"),
            head);
        assert_non_null(strcasestr(head, host));
        assert_non_null(strcasestr(head, "\r\ncontent-length: 2000000\r\n"));
        assert_non_null(strcasestr(head, "\r\nif-none-match: *\r\n"));
        assert_non_null(strcasestr(head, "\r\nx-amz-meta-empty:"));
        assert_non_null(strstr(head, "SignedHeaders=host;if-none-match;x-amz-content-sha256;"
                                     "x-amz-date;x-amz-meta-empty,"));
        assert_null(strcasestr(head, "\r\nexpect:"));
        assert_null(strcasestr(head, "\r\ncontent-type:"));
        assert_null(strcasestr(head, "\r\ntransfer-encoding:"));
        assert_int_equal(rig.server->body_sizes[i], sizeof body);
        assert_int_equal(rig.server->body_sums[i], sum);
    }
    rig_done(&rig);
}

static void test_token_is_signed(void **state)
{
    (void)state;
    static const scripted_line lines[] = {{OK_HELLO, 0, 0}};
    fault_rig rig = rig_with(lines, 1, (grv_s3_config){.token = "my-token"});
    grv_error error = GRV_ERROR_INIT;
    grv_s3_request request;
    assert_grv_ok(get_hello(NULL, &rig, &request, &error));
    const char *head = rig.server->heads[0];
    assert_non_null(strcasestr(head, "\r\nx-amz-security-token: my-token\r\n"));
    assert_non_null(strstr(head, ";x-amz-security-token,"));
    rig_done(&rig);
}

/* localhost and all below it is this machine, says curl. */
static void test_virtual_host(void **state)
{
    (void)state;
    static const scripted_line lines[] = {{OK_HELLO, 0, 0}};
    scripted *server = scripted_start(lines, 1);
    char endpoint[64];
    snprintf(endpoint, sizeof endpoint, "http://localhost:%d", server->port);
    const grv_s3_config config = {
        .endpoint = endpoint, .style = GRV_S3_STYLE_VIRTUAL, .key_id = "id", .secret = "secret"};
    grv_error error = GRV_ERROR_INIT;
    fault_rig rig = {.server = server};
    assert_grv_ok(grv_s3_open(&config, &rig.s3, &error));
    grv_s3_request request;
    assert_grv_ok(get_hello(NULL, &rig, &request, &error));
    char host[64];
    snprintf(host, sizeof host, "\r\nhost: bucket.localhost:%d\r\n", server->port);
    assert_ptr_equal(strstr(server->heads[0], "GET /key HTTP/1.1\r\n"), server->heads[0]);
    assert_non_null(strcasestr(server->heads[0], host));
    rig_done(&rig);
}

static void test_proxy(void **state)
{
    (void)state;
    static const scripted_line lines[] = {{OK_HELLO, 0, 0}};
    scripted *server = scripted_start(lines, 1);
    char proxy[64];
    snprintf(proxy, sizeof proxy, "http://127.0.0.1:%d", server->port);
    setenv("http_proxy", proxy, 1);
    const grv_s3_config config = {
        .endpoint = "http://s3.invalid:9000", .key_id = "id", .secret = "secret"};
    grv_error error = GRV_ERROR_INIT;
    fault_rig rig = {.server = server};
    assert_grv_ok(grv_s3_open(&config, &rig.s3, &error));
    grv_s3_request request;
    assert_grv_ok(get_hello(NULL, &rig, &request, &error));
    assert_ptr_equal(strstr(server->heads[0], "GET http://s3.invalid:9000/bucket/key HTTP/1.1\r\n"),
                     server->heads[0]);
    assert_non_null(strcasestr(server->heads[0], "\r\nhost: s3.invalid:9000\r\n"));
    rig_done(&rig);
    unsetenv("http_proxy");
}

static void test_connections(void **state)
{
    (void)state;
    static const scripted_line lines[] = {{OK_HELLO, 0, 20}};
    fault_rig rig = rig_with(lines, 1, (grv_s3_config){.connections = 3});
    grv_error error = GRV_ERROR_INIT;
    static grv_s3_request requests[30];
    static uint8_t into[COUNT(requests)][5];
    for (size_t i = 0; i < COUNT(requests); i++) {
        requests[i] =
            (grv_s3_request){.method = GRV_S3_GET, .bucket = "b", .key = "k", .into = {into[i], 5}};
    }
    assert_grv_ok(grv_s3_run(NULL, rig.s3, requests, COUNT(requests), &error));
    assert_int_equal(rig.server->at_once, 3);
    assert_int_equal(rig.server->connection_count, 3); /* each was used again and again */
    assert_int_equal(grv_s3_connections(rig.s3), 3);
    rig_done(&rig);
}

int main(void)
{
    scripted_environment();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_request),      cmocka_unit_test(test_token_is_signed),
        cmocka_unit_test(test_virtual_host), cmocka_unit_test(test_proxy),
        cmocka_unit_test(test_connections),
    };
    return cmocka_run_group_tests_name("s3 requests", tests, NULL, NULL);
}
