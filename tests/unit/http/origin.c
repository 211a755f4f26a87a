/* SPDX-License-Identifier: Apache-2.0 */
/* Which requests a server without tokens takes for a stranger's web page. */
#include "test.h"

#include "http/origin.h"

static void names_that_anybody_can_make_are_refused(void **state)
{
    (void)state;
    static const char *const good[] = {
        "localhost", "LOCALHOST:8081", "127.0.0.1:8081",  "127.0.0.1",      "[::1]:8081",
        "[::1]",     "graviton:8081",  "store.localhost", "a.LocalHost:80", "192.168.1.20:80",
        "",          "10.0.0.1"};
    static const char *const bad[] = {
        "evil.example",      "evil.example:8081", "127.0.0.1.evil.example",
        "1.2.3.x",           "xlocalhost.com",    "evillocalhost.example:1",
        "localhost.example", "a.notlocalhost",    "127.0.0.1x"};
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        assert_null(http_origin_fault(good[i], NULL, NULL));
    }
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_non_null(http_origin_fault(bad[i], NULL, NULL));
    }
    assert_null(http_origin_fault(NULL, NULL, NULL)); /* HTTP/1.0 needs none */
}

static void pages_of_other_sites_are_refused(void **state)
{
    (void)state;
    static const struct {
        const char *site;
        const char *origin;
        bool refused;
    } cases[] = {
        {"same-origin", NULL, false},
        {"same-origin", "https://public.example", false}, /* behind a proxy: the browser knows */
        {"none", NULL, false},
        {"Same-Origin", NULL, false},
        {"cross-site", NULL, true},
        {"cross-site", "http://localhost:8081", true},
        {"same-site", NULL, true},
        {"", NULL, true},
        {NULL, "http://localhost:8081", false},
        {NULL, "http://LOCALHOST:8081", false},
        {NULL, "http://localhost", true},
        {NULL, "http://evil.example", true},
        {NULL, "null", true},
        {NULL, "", true},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const char *fault = http_origin_fault("localhost:8081", cases[i].site, cases[i].origin);
        assert_int_equal(fault != NULL, cases[i].refused);
    }
    assert_non_null(http_origin_fault(NULL, NULL, "http://localhost"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_that_anybody_can_make_are_refused),
        cmocka_unit_test(pages_of_other_sites_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
