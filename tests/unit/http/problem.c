/* SPDX-License-Identifier: Apache-2.0 */
/* Problem documents: the whole table, and that a store's own words stay inside. */
#include "http/http.h"

#include "test.h"

#include <stdio.h>

/* The two makers of a reply that problems need, recording what they are given. */
static char reply_body[4096];
static char reply_headers[512];

grv_status http_reply_text(http_exchange *exchange, unsigned status, const char *type,
                           grv_bytes text, grv_error *error)
{
    (void)error;
    assert_string_equal(type, "application/problem+json");
    assert_true(text.size < sizeof reply_body);
    memcpy(reply_body, text.data, text.size);
    reply_body[text.size] = '\0';
    reply_headers[0] = '\0';
    exchange->reply.status = status;
    return GRV_OK;
}

grv_status http_reply_header(http_exchange *exchange, const char *name, const char *value,
                             grv_error *error)
{
    (void)exchange;
    (void)error;
    size_t used = strlen(reply_headers);
    snprintf(reply_headers + used, sizeof reply_headers - used, "%s: %s\n", name, value);
    return GRV_OK;
}

/* The member of the document that was made last. */
static const char *member(json_t *object, const char *name)
{
    const char *text = json_string_value(json_object_get(object, name));
    return text ? text : "";
}

static void every_type_has_its_status(void **state)
{
    (void)state;
    static const struct {
        const char *type;
        unsigned status;
    } types[] = {
        {"bad-request", 400},
        {"digest-mismatch", 400},
        {"unauthorized", 401},
        {"forbidden", 403},
        {"not-found", 404},
        {"method-not-allowed", 405},
        {"request-timeout", 408},
        {"already-exists", 409},
        {"conflict", 409},
        {"busy", 409},
        {"key-mismatch", 409},
        {"precondition-failed", 412},
        {"content-too-large", 413},
        {"uri-too-long", 414},
        {"unsupported-media-type", 415},
        {"range-not-satisfiable", 416},
        {"expectation-failed", 417},
        {"too-many-requests", 429},
        {"headers-too-large", 431},
        {"internal", 500},
        {"corrupt", 500},
        {"permission", 500},
        {"unsupported", 501},
        {"limit-exceeded", 503},
        {"unavailable", 503},
        {"cancelled", 503},
        {"timeout", 504},
        {"out-of-space", 507},
    };
    for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
        grv_error error = GRV_ERROR_INIT;
        char urn[64];
        http_exchange exchange = {.request_id = "0123456789abcdef"};
        assert_int_equal(http_problem_status(types[i].type), types[i].status);
        assert_grv_ok(http_reply_problem(&exchange, types[i].type, "so \"it\" is\n", &error));
        assert_int_equal(exchange.reply.status, types[i].status);
        json_t *object = json_loads(reply_body, 0, NULL);
        assert_non_null(object);
        snprintf(urn, sizeof urn, "urn:graviton:problem:%s", types[i].type);
        assert_string_equal(member(object, "type"), urn);
        assert_true(strlen(member(object, "title")) > 0);
        assert_int_equal(json_integer_value(json_object_get(object, "status")), types[i].status);
        assert_string_equal(member(object, "detail"), "so \"it\" is\n");
        assert_string_equal(member(object, "request_id"), "0123456789abcdef");
        json_decref(object);
        bool again = types[i].status == 503 || types[i].status == 504;
        const char *headers = types[i].status == 401 ? "WWW-Authenticate: Bearer\n"
                              : again                ? "Retry-After: 2\n"
                                                     : "";
        assert_string_equal(reply_headers, headers);
    }
    grv_error error = GRV_ERROR_INIT;
    http_exchange exchange = {0};
    assert_int_equal(http_problem_status("teapot"), 0);
    assert_grv_status(http_reply_problem(&exchange, "teapot", "", &error), GRV_INTERNAL);
}

static void bytes_that_are_no_text_do_no_harm(void **state)
{
    (void)state;
    grv_error error = GRV_ERROR_INIT;
    http_exchange exchange = {.request_id = "0123456789abcdef"};
    assert_grv_ok(http_reply_problem(&exchange, "bad-request", "a\xff\xc3\xa9\xc3", &error));
    json_t *object = json_loads(reply_body, 0, NULL);
    assert_string_equal(member(object, "detail"), "a?\xc3\xa9?");
    json_decref(object);
}

static void what_a_store_says_stays_inside(void **state)
{
    (void)state;
    for (unsigned i = 0; i <= GRV_STATUS_COUNT; i++) {
        static const char *const origins[] = {"fs", "rocks", "pg", "key", "s3", ""};
        grv_status status = i ? (grv_status)i : GRV_INTERNAL;
        for (size_t k = 0; k < sizeof origins / sizeof *origins; k++) {
            grv_error error = GRV_ERROR_INIT;
            grv_error failure = GRV_ERROR_INIT;
            http_exchange exchange = {0};
            failure.status = status;
            snprintf(failure.message, sizeof failure.message, "/srv/secret at db.example");
            snprintf(failure.origin, sizeof failure.origin, "%s", origins[k]);
            bool shown = strcmp(origins[k], "key") == 0 && status == GRV_INVALID_ARGUMENT;
            assert_grv_ok(http_reply_failure(&exchange, &failure, &error));
            assert_int_equal(strstr(reply_body, "secret") != NULL, shown);
            assert_int_equal(exchange.reply.status,
                             http_problem_status(http_problem_of_status(status)));
            assert_true(exchange.reply.status >= 400);
        }
    }
}

static void what_is_about_the_request_is_told(void **state)
{
    (void)state;
    grv_error error = GRV_ERROR_INIT;
    grv_error failure = GRV_ERROR_INIT;
    http_exchange exchange = {0};
    grv_error_set(&failure, GRV_NOT_FOUND, "http", "there is no job 7");
    assert_grv_ok(http_reply_failure(&exchange, &failure, &error));
    assert_int_equal(exchange.reply.status, 404);
    assert_non_null(strstr(reply_body, "there is no job 7"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_type_has_its_status),
        cmocka_unit_test(bytes_that_are_no_text_do_no_harm),
        cmocka_unit_test(what_a_store_says_stays_inside),
        cmocka_unit_test(what_is_about_the_request_is_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
