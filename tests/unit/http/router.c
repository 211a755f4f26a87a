/* SPDX-License-Identifier: Apache-2.0 */
/* The router alone: tables that contradict themselves, patterns, parameters, Allow. */
#include "http/router.h"
#include "test.h"

#include <stdio.h>

static grv_status nothing(http_exchange *exchange, grv_error *error)
{
    (void)exchange;
    (void)error;
    return GRV_OK;
}

static grv_status no_sink(http_exchange *exchange, grv_sink **ret_sink, grv_error *error)
{
    (void)exchange;
    (void)ret_sink;
    (void)error;
    return GRV_OK;
}

static const http_route first[] = {
    {.method = "GET", .pattern = "/a", .name = "a_get", .run = nothing},
    {.method = "POST", .pattern = "/a", .name = "a_post", .run = nothing},
    {.method = "GET", .pattern = "/a/{}", .name = "one", .run = nothing},
    {.method = "DELETE", .pattern = "/a/{}/b/{}", .name = "two", .run = nothing},
    {.method = NULL},
};
static const http_route second[] = {
    {.method = "GET", .pattern = "/c:d", .name = "colon", .run = nothing},
    {.method = "PUT", .pattern = "/a/{}", .name = "put", .run = nothing},
    {.method = NULL},
};

static void paths_find_their_routes(void **state)
{
    (void)state;
    static const struct {
        const char *method;
        const char *path;
        http_found found;
        const char *name;
        const char *params[2];
        const char *allow;
    } cases[] = {
        {"GET", "/a", HTTP_FOUND, "a_get", {NULL, NULL}, NULL},
        {"HEAD", "/a", HTTP_FOUND, "a_get", {NULL, NULL}, NULL},
        {"POST", "/%61", HTTP_FOUND, "a_post", {NULL, NULL}, NULL},
        {"PATCH", "/a", HTTP_FOUND_METHODS, NULL, {NULL, NULL}, "GET, HEAD, POST, OPTIONS"},
        {"get", "/a", HTTP_FOUND_METHODS, NULL, {NULL, NULL}, NULL},
        {"GET", "/a/x%3Ay", HTTP_FOUND, "one", {"x:y", NULL}, NULL},
        {"POST", "/a/x", HTTP_FOUND_METHODS, NULL, {NULL, NULL}, "GET, HEAD, PUT, OPTIONS"},
        {"PUT", "/a/x", HTTP_FOUND, "put", {"x", NULL}, NULL},
        {"DELETE", "/a/1/b/%C3%A4", HTTP_FOUND, "two", {"1", "\xc3\xa4"}, NULL},
        {"HEAD", "/a/1/b/2", HTTP_FOUND_METHODS, NULL, {NULL, NULL}, "DELETE, OPTIONS"},
        {"GET", "/c:d", HTTP_FOUND, "colon", {NULL, NULL}, NULL},
        {"GET", "/c%3ad", HTTP_FOUND, "colon", {NULL, NULL}, NULL},
        {"GET", "/c", HTTP_FOUND_NOTHING, NULL, {NULL, NULL}, NULL},
        {"GET", "/a/{}/c", HTTP_FOUND_NOTHING, NULL, {NULL, NULL}, NULL},
        {"GET", "/1/2/3/4/5/6/7/8", HTTP_FOUND_NOTHING, NULL, {NULL, NULL}, NULL},
        {"GET", "/1/2/3/4/5/6/7/8/9", HTTP_FOUND_TOO_DEEP, NULL, {NULL, NULL}, NULL},
        {"GET", "/1/2/3/4/5/6/7/8/9/..", HTTP_FOUND_BAD_PATH, NULL, {NULL, NULL}, NULL},
        {"GET", "", HTTP_FOUND_BAD_PATH, NULL, {NULL, NULL}, NULL},
        {"GET", "/", HTTP_FOUND_BAD_PATH, NULL, {NULL, NULL}, NULL},
        {"GET", "/a/", HTTP_FOUND_BAD_PATH, NULL, {NULL, NULL}, NULL},
        {"GET", "/a/.%2e", HTTP_FOUND_BAD_PATH, NULL, {NULL, NULL}, NULL},
        {"GET", "/a/...", HTTP_FOUND, "one", {"...", NULL}, NULL},
        {"GET", "/a/x%00", HTTP_FOUND_BAD_PATH, NULL, {NULL, NULL}, NULL},
        {"GET", "/a%2fb", HTTP_FOUND_BAD_PATH, NULL, {NULL, NULL}, NULL},
        {"GET", "/a/%", HTTP_FOUND_BAD_PATH, NULL, {NULL, NULL}, NULL},
        {"GET", "/a/%a", HTTP_FOUND_BAD_PATH, NULL, {NULL, NULL}, NULL},
        {"GET", "/a/%ag", HTTP_FOUND_BAD_PATH, NULL, {NULL, NULL}, NULL},
        {"GET", "/a/%252f", HTTP_FOUND, "one", {"%2f", NULL}, NULL},
    };
    static const http_route *const fronts[] = {first, second, NULL};
    grv_error error = GRV_ERROR_INIT;
    http_router *router = NULL;
    assert_grv_ok(http_router_new(fronts, &router, &error));
    assert_int_equal(http_router_count(router), 6);
    assert_string_equal(http_router_at(router, 5)->name, "put");
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char path[64];
        char allow[HTTP_ALLOW_SIZE] = "";
        char *params[HTTP_PARAMS_MAX] = {NULL, NULL};
        const http_route *route = NULL;
        snprintf(path, sizeof path, "%s", cases[i].path);
        http_found found = http_router_find(router, cases[i].method, path, &route, params, allow);
        if (found != cases[i].found) {
            fail_msg("%s %s: %d, want %d", cases[i].method, cases[i].path, found, cases[i].found);
        }
        if (cases[i].name) {
            assert_non_null(route);
            assert_string_equal(route->name, cases[i].name);
        } else {
            assert_null(route);
        }
        for (size_t k = 0; k < 2; k++) {
            assert_true(!params[k] == !cases[i].params[k]);
            if (params[k]) {
                assert_string_equal(params[k], cases[i].params[k]);
            }
        }
        if (cases[i].allow) {
            assert_string_equal(allow, cases[i].allow);
        }
    }
    http_router_free(router);
}

static void tables_with_mistakes_are_refused(void **state)
{
    (void)state;
    static const http_route wrong[] = {
        {.method = "GET", .pattern = "a", .name = "x", .run = nothing},
        {.method = "GET", .pattern = NULL, .name = "x", .run = nothing},
        {.method = "GET", .pattern = "/a", .name = NULL, .run = nothing},
        {.method = "GET", .pattern = "/a", .name = "x"},
        {.method = "GET", .pattern = "/a//b", .name = "x", .run = nothing},
        {.method = "GET", .pattern = "/a/", .name = "x", .run = nothing},
        {.method = "GET", .pattern = "/{}/{}/{}", .name = "x", .run = nothing},
        {.method = "GET", .pattern = "/1/2/3/4/5/6/7/8/9", .name = "x", .run = nothing},
        {.method = "HEAD", .pattern = "/a", .name = "x", .run = nothing},
        {.method = "OPTIONS", .pattern = "/a", .name = "x", .run = nothing},
        {.method = "POST", .pattern = "/a", .name = "x", .body = HTTP_BODY_STREAM, .run = nothing},
        {.method = "POST",
         .pattern = "/a",
         .name = "x",
         .body = HTTP_BODY_STREAM,
         .open = no_sink,
         .run = nothing},
        {.method = "POST", .pattern = "/a", .name = "x", .open = no_sink, .run = nothing},
        {.method = "POST", .pattern = "/a", .name = "x", .begin = nothing, .run = nothing},
    };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        grv_error error = GRV_ERROR_INIT;
        http_router *router = NULL;
        const http_route table[] = {wrong[i], {.method = NULL}};
        const http_route *const fronts[] = {first, table, NULL};
        if (http_router_new(fronts, &router, &error) != GRV_INTERNAL) {
            fail_msg("table %zu is taken", i);
        }
        assert_null(router);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(paths_find_their_routes),
        cmocka_unit_test(tables_with_mistakes_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
