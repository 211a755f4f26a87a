/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The conformance suite of port blob_store: every test over every fixture, fresh and, where the
 * store is persistent, opened again between writing and reading. With the word "served" it runs
 * those behind a server alone, with "direct" the others. GRV_ONLY=TEXT runs only the tests whose
 * name holds TEXT.
 */
#include "blob_store_suite.h"
#include "postgres_store.h"

#include <stdio.h>

typedef struct suite_case {
    const blob_store_fixture *fixture;
    const suite_test *test;
    bool reopens;
    char name[128];
} suite_case;

static void env_open(suite_env *env)
{
    grv_error error = GRV_ERROR_INIT;
    assert_grv_ok(
        env->fixture->open(env->fixture, env->directory, &env->context, &env->store, &error));
}

static void env_close(suite_env *env)
{
    if (env->context) {
        env->fixture->close(env->context);
        env->context = NULL;
        env->store = NULL;
    }
}

void suite_reopen(suite_env *env)
{
    if (env->reopens) {
        env_close(env);
        env_open(env);
    }
}

static int set_up(void **state)
{
    const suite_case *it = *state;
    suite_env *env = calloc(1, sizeof *env);
    if (!env) {
        return -1;
    }
    env->fixture = it->fixture;
    env->reopens = it->reopens;
    test_temp_make(env->directory);
    env_open(env);
    *state = env;
    return 0;
}

static int tear_down(void **state)
{
    suite_env *env = *state;
    env_close(env);
    if (env->fixture->remove) {
        env->fixture->remove();
    }
    test_temp_remove(env->directory);
    free(env);
    return 0;
}

/* Adds a test over a fixture to the two lists, unless it was not asked for. */
static void add_case(suite_case *it, struct CMUnitTest *unit, size_t *count,
                     const blob_store_fixture *fixture, const suite_test *test, bool reopens)
{
    suite_case *place = &it[*count];
    place->fixture = fixture;
    place->test = test;
    place->reopens = reopens;
    snprintf(place->name, sizeof place->name, "%s/%s/%s", fixture->name,
             reopens ? "reopened" : "fresh", test->name);
    const char *only = getenv("GRV_ONLY");
    if (only && !strstr(place->name, only)) {
        return;
    }
    unit[*count] = (struct CMUnitTest){place->name, test->run, set_up, tear_down, place};
    if (fixture->postgres) {
        test_postgres_unit(&unit[*count]);
    }
    if (fixture->s3 && !getenv("GRAVITON_TEST_S3")) {
        unit[*count] = (struct CMUnitTest){place->name, test_postgres_skip, NULL, NULL, NULL};
    }
    ++*count;
}

static bool is_served(const blob_store_fixture *fixture)
{
    return fixture->halves == FIXTURE_SERVED || fixture->halves == FIXTURE_SERVED_S3_PG;
}

int main(int argc, char **argv)
{
    const char *part = argc > 1 ? argv[1] : NULL;
    const struct {
        const suite_test *tests;
        size_t count;
    } groups[] = {
        {suite_bytes_tests, suite_bytes_test_count},
        {suite_record_tests, suite_record_test_count},
        {suite_list_tests, suite_list_test_count},
        {suite_failure_tests, suite_failure_test_count},
        {suite_mixed_tests, suite_mixed_test_count},
        {suite_model_tests, suite_model_test_count},
    };
    size_t capacity = 0;
    for (size_t g = 0; g < sizeof groups / sizeof groups[0]; g++) {
        capacity += 2 * groups[g].count * blob_store_fixture_count;
    }
    suite_case *cases = calloc(capacity, sizeof *cases);
    struct CMUnitTest *units = calloc(capacity, sizeof *units);
    if (!cases || !units) {
        return 1;
    }
    size_t count = 0;
    for (size_t f = 0; f < blob_store_fixture_count; f++) {
        const blob_store_fixture *fixture = &blob_store_fixtures[f];
        if (part && strcmp(part, is_served(fixture) ? "served" : "direct") != 0) {
            continue;
        }
        for (size_t g = 0; g < sizeof groups / sizeof groups[0]; g++) {
            for (size_t t = 0; t < groups[g].count; t++) {
                const suite_test *test = &groups[g].tests[t];
                add_case(cases, units, &count, fixture, test, false);
                if (fixture->persistent && test->reopens) {
                    add_case(cases, units, &count, fixture, test, true);
                }
            }
        }
    }
    int failed = _cmocka_run_group_tests("blob_store", units, count, NULL, NULL);
    free(units);
    free(cases);
    return failed;
}
