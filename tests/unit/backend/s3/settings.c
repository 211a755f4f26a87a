/* SPDX-License-Identifier: Apache-2.0 */
/* Endpoint, region and credentials, from a configuration and the environment. */
#include "backend/s3/client.h"
#include "test.h"

#include <stdlib.h>

static int clear_environment(void **state)
{
    (void)state;
    static const char *const names[] = {
        "AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL",      "AWS_REGION",        "AWS_DEFAULT_REGION",
        "AWS_ACCESS_KEY_ID",   "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_CA_BUNDLE"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        unsetenv(names[i]);
    }
    return 0;
}

static void test_environment(void **state)
{
    (void)state;
    grv_error error = GRV_ERROR_INIT;
    grv_s3_settings settings;
    setenv("AWS_ACCESS_KEY_ID", "id", 1);
    setenv("AWS_SECRET_ACCESS_KEY", "secret", 1);
    assert_grv_ok(grv_s3_settings_init(&settings, NULL, &error));
    assert_string_equal(settings.where, "https://s3.us-east-1.amazonaws.com");
    assert_string_equal(settings.region, "us-east-1");
    assert_int_equal(settings.style, GRV_S3_STYLE_VIRTUAL);
    assert_int_equal(settings.connections, GRV_S3_CONNECTIONS_DEFAULT);
    assert_int_equal(settings.patience_ns, GRV_S3_PATIENCE_DEFAULT);
    assert_true(settings.tls);
    assert_null(settings.token);
    assert_null(settings.ca_bundle);
    grv_s3_settings_done(&settings);

    setenv("AWS_ENDPOINT_URL", "http://second.example:9000", 1);
    setenv("AWS_DEFAULT_REGION", "second", 1);
    setenv("AWS_SESSION_TOKEN", "token", 1);
    setenv("AWS_CA_BUNDLE", "/ca.pem", 1);
    assert_grv_ok(grv_s3_settings_init(&settings, NULL, &error));
    assert_string_equal(settings.where, "http://second.example:9000");
    assert_string_equal(settings.region, "second");
    assert_string_equal(settings.token, "token");
    assert_string_equal(settings.ca_bundle, "/ca.pem");
    assert_int_equal(settings.style, GRV_S3_STYLE_PATH);
    grv_s3_settings_done(&settings);

    setenv("AWS_ENDPOINT_URL_S3", "http://first.example", 1);
    setenv("AWS_REGION", "first", 1);
    assert_grv_ok(grv_s3_settings_init(&settings, NULL, &error));
    assert_string_equal(settings.where, "http://first.example");
    assert_string_equal(settings.region, "first");
    grv_s3_settings_done(&settings);

    /* What is said wins; and the token of the environment is not that of another key id. */
    const grv_s3_config config = {.endpoint = "http://said.example",
                                  .region = "said",
                                  .key_id = "my-id",
                                  .secret = "my-secret",
                                  .ca_bundle = "/my.pem",
                                  .connections = 7,
                                  .patience_ns = 9};
    assert_grv_ok(grv_s3_settings_init(&settings, &config, &error));
    assert_string_equal(settings.where, "http://said.example");
    assert_string_equal(settings.region, "said");
    assert_string_equal(settings.key_id, "my-id");
    assert_string_equal(settings.secret, "my-secret");
    assert_string_equal(settings.ca_bundle, "/my.pem");
    assert_null(settings.token);
    assert_int_equal(settings.connections, 7);
    assert_int_equal(settings.patience_ns, 9);
    grv_s3_settings_done(&settings);
}

static void test_regions_of_china(void **state)
{
    (void)state;
    grv_error error = GRV_ERROR_INIT;
    grv_s3_settings settings;
    const grv_s3_config config = {.region = "cn-north-1", .key_id = "id", .secret = "secret"};
    assert_grv_ok(grv_s3_settings_init(&settings, &config, &error));
    assert_string_equal(settings.where, "https://s3.cn-north-1.amazonaws.com.cn");
    grv_s3_settings_done(&settings);
}

static void test_endpoints(void **state)
{
    (void)state;
    static const struct {
        const char *endpoint;
        const char *where; /* NULL: refused */
        const char *authority;
    } cases[] = {
        {"http://127.0.0.1:7480", "http://127.0.0.1:7480", "127.0.0.1:7480"},
        {"http://Host.Example/", "http://host.example", "host.example"},
        {"HTTP://host:80", "http://host", "host"},
        {"https://host:443", "https://host", "host"},
        {"https://host:80", "https://host:80", "host:80"},
        {"http://[::1]:9000", "http://[::1]:9000", "[::1]:9000"},
        {"http://[fe80::1:2]", "http://[fe80::1:2]", "[fe80::1:2]"},
        {"", "https://s3.us-east-1.amazonaws.com", "s3.us-east-1.amazonaws.com"},
        {"host:9000", NULL, NULL},
        {"ftp://host", NULL, NULL},
        {"http://", NULL, NULL},
        {"http:///", NULL, NULL},
        {"http://:80", NULL, NULL},
        {"http://host/path", NULL, NULL},
        {"http://host//", NULL, NULL},
        {"http://host?query", NULL, NULL},
        {"http://host#part", NULL, NULL},
        {"http://host:", NULL, NULL},
        {"http://host:0", NULL, NULL},
        {"http://host:65536", NULL, NULL},
        {"http://host:1x", NULL, NULL},
        {"http://host:+1", NULL, NULL},
        {"http://a:b:1", NULL, NULL},
        {"http://ho st", NULL, NULL},
        {"http://host\r\nx: y", NULL, NULL},
        {"http://[::1", NULL, NULL},
        {"http://[::1]x", NULL, NULL},
        {"http://[]", NULL, NULL},
        {"http://[fe80::1%25eth0]", NULL, NULL},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        grv_error error = GRV_ERROR_INIT;
        grv_s3_settings settings;
        const grv_s3_config config = {
            .endpoint = cases[i].endpoint, .key_id = "id", .secret = "secret"};
        grv_status status = grv_s3_settings_init(&settings, &config, &error);
        if (!cases[i].where) {
            if (status != GRV_INVALID_ARGUMENT) {
                fail_msg("%s: %s", cases[i].endpoint, grv_status_name(status));
            }
            continue;
        }
        assert_grv_ok(status);
        assert_string_equal(settings.where, cases[i].where);
        assert_string_equal(settings.authority, cases[i].authority);
        grv_s3_settings_done(&settings);
    }
}

static void test_secrets_are_not_told(void **state)
{
    (void)state;
    grv_error error = GRV_ERROR_INIT;
    grv_s3_settings settings;
    const grv_s3_config configs[] = {
        {.endpoint = "http://user:hushhush@host", .key_id = "id", .secret = "secret"},
        {.endpoint = "http://host", .key_id = "hush hush", .secret = "secret"},
        {.endpoint = "http://host", .key_id = "id", .secret = "hush\nhush"},
        {.endpoint = "http://host", .key_id = "id", .secret = "s", .token = "hush hush"},
    };
    for (size_t i = 0; i < sizeof configs / sizeof configs[0]; i++) {
        assert_grv_status(grv_s3_settings_init(&settings, &configs[i], &error),
                          GRV_INVALID_ARGUMENT);
        assert_null(strstr(error.message, "hush"));
    }
}

static void test_refusals(void **state)
{
    (void)state;
    grv_error error = GRV_ERROR_INIT;
    grv_s3_settings settings;
    const grv_s3_config no_id = {.secret = "secret"};
    const grv_s3_config no_secret = {.key_id = "id"};
    assert_grv_status(grv_s3_settings_init(&settings, NULL, &error), GRV_PERMISSION);
    assert_grv_status(grv_s3_settings_init(&settings, &no_id, &error), GRV_PERMISSION);
    assert_grv_status(grv_s3_settings_init(&settings, &no_secret, &error), GRV_PERMISSION);
    assert_non_null(strstr(error.message, "AWS_SECRET_ACCESS_KEY"));
    const grv_s3_config wrong[] = {
        {.key_id = "id", .secret = "s", .region = "us east"},
        {.key_id = "id", .secret = "s", .region = "a/b"},
        {.key_id = "i/d", .secret = "s"},
        {.key_id = "id", .secret = "s", .connections = GRV_S3_CONNECTIONS_MAX + 1},
        {.key_id = "id", .secret = "s", .style = (grv_s3_style)3},
        {.key_id = "id",
         .secret = "s",
         .style = GRV_S3_STYLE_VIRTUAL,
         .endpoint = "http://127.0.0.1"},
        {.key_id = "id", .secret = "s", .style = GRV_S3_STYLE_VIRTUAL, .endpoint = "http://[::1]"},
    };
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        assert_grv_status(grv_s3_settings_init(&settings, &wrong[i], &error), GRV_INVALID_ARGUMENT);
    }
}

static void test_virtual(void **state)
{
    (void)state;
    grv_error error = GRV_ERROR_INIT;
    grv_s3_settings settings;
    const grv_s3_config aws = {.key_id = "id", .secret = "s"};
    assert_grv_ok(grv_s3_settings_init(&settings, &aws, &error));
    assert_true(grv_s3_is_virtual(&settings, "my-bucket"));
    assert_false(grv_s3_is_virtual(&settings, "my.bucket")); /* no certificate covers it */
    assert_false(grv_s3_is_virtual(&settings, "My_Bucket"));
    assert_false(grv_s3_is_virtual(&settings, "ab"));
    assert_false(grv_s3_is_virtual(&settings, "a/b"));
    grv_s3_settings_done(&settings);
    const grv_s3_config plain = {
        .key_id = "id", .secret = "s", .endpoint = "http://host", .style = GRV_S3_STYLE_VIRTUAL};
    assert_grv_ok(grv_s3_settings_init(&settings, &plain, &error));
    assert_true(grv_s3_is_virtual(&settings, "my.bucket"));
    grv_s3_settings_done(&settings);
    const grv_s3_config path = {.key_id = "id", .secret = "s", .endpoint = "http://host"};
    assert_grv_ok(grv_s3_settings_init(&settings, &path, &error));
    assert_false(grv_s3_is_virtual(&settings, "my-bucket"));
    grv_s3_settings_done(&settings);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_environment, clear_environment),
        cmocka_unit_test_setup(test_regions_of_china, clear_environment),
        cmocka_unit_test_setup(test_endpoints, clear_environment),
        cmocka_unit_test_setup(test_secrets_are_not_told, clear_environment),
        cmocka_unit_test_setup(test_refusals, clear_environment),
        cmocka_unit_test_setup(test_virtual, clear_environment),
    };
    return cmocka_run_group_tests_name("s3 settings", tests, NULL, NULL);
}
