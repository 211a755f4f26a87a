/* SPDX-License-Identifier: Apache-2.0 */
/* Tokens: the file, the check, new ones, and a reload while others check. */
#include "http/auth.h"

#include "temp.h"
#include "test.h"

#include <graviton/digest.h>
#include <pthread.h>

/* SHA-256 of "abc", and of nothing known. */
#define HASH_ABC   "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
#define HASH_ZEROS "sha256:0000000000000000000000000000000000000000000000000000000000000000"

static http_auth *auth_of(const char *text)
{
    grv_error error = GRV_ERROR_INIT;
    http_auth *auth = NULL;
    assert_grv_ok(http_auth_parse(grv_bytes_of(text, strlen(text)), "tokens", &auth, &error));
    return auth;
}

static void a_token_is_known_by_its_hash(void **state)
{
    (void)state;
    const char *name = "x";
    http_auth *auth = auth_of("# comment\n\nalice read,write " HASH_ABC "\r\n"
                              "\tbob\tadmin  " HASH_ZEROS "\n");
    assert_int_equal(http_auth_count(auth), 2);
    assert_int_equal(http_auth_check(auth, NULL, HTTP_SCOPE_READ, &name), HTTP_AUTH_MISSING);
    assert_null(name);
    assert_int_equal(http_auth_check(auth, NULL, HTTP_SCOPE_NONE, &name), HTTP_AUTH_OK);
    assert_int_equal(http_auth_check(auth, "Bearer abc", HTTP_SCOPE_READ, &name), HTTP_AUTH_OK);
    assert_string_equal(name, "alice");
    assert_int_equal(http_auth_check(auth, "bearer  abc ", HTTP_SCOPE_WRITE, &name), HTTP_AUTH_OK);
    assert_int_equal(http_auth_check(auth, "Bearer abc", HTTP_SCOPE_ADMIN, &name),
                     HTTP_AUTH_FORBIDDEN);
    assert_string_equal(name, "alice");
    assert_int_equal(http_auth_check(auth, "Bearer abc", HTTP_SCOPE_NONE, &name), HTTP_AUTH_OK);
    assert_string_equal(name, "alice");
    http_auth_free(auth);
}

static void what_is_no_token_is_unknown(void **state)
{
    (void)state;
    static const char *const headers[] = {
        "Bearer abd", "Bearer abcd", "Bearer ab",      "Bearer ",   "Bearer",     "",
        "Basic abc",  "abc",         "Bearer abc def", "Bearerabc", "Bearer ABC", "Bearer\tabc"};
    const char *name;
    http_auth *auth = auth_of("alice read " HASH_ABC "\n");
    for (size_t i = 0; i < sizeof headers / sizeof *headers; i++) {
        name = "x";
        if (http_auth_check(auth, headers[i], HTTP_SCOPE_READ, &name) != HTTP_AUTH_UNKNOWN) {
            fail_msg("\"%s\" was not unknown", headers[i]);
        }
        assert_null(name);
    }
    char *longest = calloc(1, 70000);
    assert_non_null(longest);
    memset(longest, 'a', 69999);
    memcpy(longest, "Bearer ", 7);
    assert_int_equal(http_auth_check(auth, longest, HTTP_SCOPE_READ, &name), HTTP_AUTH_UNKNOWN);
    free(longest);
    http_auth_free(auth);
}

static void a_wrong_line_is_named_and_not_shown(void **state)
{
    (void)state;
    static const struct {
        const char *line;
        const char *want;
    } lines[] = {
        {"alice read grv_secret", "line 2: a hash is"},
        {"alice grv_secret read", "line 2: scopes are"},
        {"grv_secret/ read " HASH_ZEROS, "line 2: a name is"},
        {"alice read,, " HASH_ZEROS, "line 2: scopes are"},
        {"alice read, " HASH_ZEROS, "line 2: scopes are"},
        {"alice Read " HASH_ZEROS, "line 2: scopes are"},
        {"alice", "line 2: scopes are"},
        {"alice read", "line 2: a hash is"},
        {"alice read " HASH_ZEROS " grv_secret", "line 2: there is something"},
        {"alice read " HASH_ZEROS "0", "line 2: a hash is"},
        {"alice read " HASH_ABC, "line 2: this token is"},
    };
    for (size_t i = 0; i < sizeof lines / sizeof *lines; i++) {
        grv_error error = GRV_ERROR_INIT;
        char text[512];
        http_auth *auth = NULL;
        snprintf(text, sizeof text, "eve read %s\n%s\n", HASH_ABC, lines[i].line);
        assert_grv_status(
            http_auth_parse(grv_bytes_of(text, strlen(text)), "tokens", &auth, &error),
            GRV_INVALID_ARGUMENT);
        assert_null(auth);
        if (!strstr(error.message, lines[i].want)) {
            fail_msg("%s: %s", lines[i].line, error.message);
        }
        assert_null(strstr(error.message, "secret"));
    }
}

static void more_tokens_than_may_be_are_refused(void **state)
{
    (void)state;
    grv_error error = GRV_ERROR_INIT;
    grv_buffer text;
    http_auth *auth = NULL;
    grv_buffer_init(&text, HTTP_AUTH_FILE_MAX);
    for (unsigned i = 0; i <= HTTP_AUTH_TOKENS_MAX; i++) {
        char line[128];
        int size = snprintf(line, sizeof line, "n%u read sha256:%064x\n", i, i);
        if (i == HTTP_AUTH_TOKENS_MAX) {
            assert_grv_ok(http_auth_parse(grv_buffer_bytes(&text), "tokens", &auth, &error));
            http_auth_free(auth);
            auth = NULL;
        }
        assert_grv_ok(grv_buffer_append(&text, grv_bytes_of(line, (size_t)size), &error));
    }
    assert_grv_status(http_auth_parse(grv_buffer_bytes(&text), "tokens", &auth, &error),
                      GRV_LIMIT_EXCEEDED);
    grv_buffer_done(&text);
}

static void a_new_token_is_accepted_by_its_own_line(void **state)
{
    (void)state;
    grv_error error = GRV_ERROR_INIT;
    char token[HTTP_TOKEN_SIZE];
    char line[HTTP_TOKEN_LINE_SIZE];
    char header[80];
    const char *name;
    assert_grv_ok(http_token_make("ci", HTTP_SCOPE_READ | HTTP_SCOPE_DELETE, token, line, &error));
    assert_int_equal(strlen(token), 47);
    assert_memory_equal(token, "grv_", 4);
    assert_int_equal(strspn(token + 4, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
                                       "0123456789-_"),
                     43);
    assert_memory_equal(line, "ci read,delete sha256:", 22);
    assert_int_equal(line[strlen(line) - 1], '\n');
    assert_null(strstr(line, token + 4));
    http_auth *auth = auth_of(line);
    snprintf(header, sizeof header, "Bearer %s", token);
    assert_int_equal(http_auth_check(auth, header, HTTP_SCOPE_DELETE, &name), HTTP_AUTH_OK);
    assert_int_equal(http_auth_check(auth, header, HTTP_SCOPE_WRITE, &name), HTTP_AUTH_FORBIDDEN);
    header[20] = header[20] == 'A' ? 'B' : 'A';
    assert_int_equal(http_auth_check(auth, header, HTTP_SCOPE_READ, &name), HTTP_AUTH_UNKNOWN);
    http_auth_free(auth);
    char other[HTTP_TOKEN_SIZE];
    assert_grv_ok(http_token_make("ci", HTTP_SCOPE_READ, other, line, &error));
    assert_string_not_equal(token, other);
    assert_grv_status(http_token_make("a b", HTTP_SCOPE_READ, token, line, &error),
                      GRV_INVALID_ARGUMENT);
}

static void file_write(const char *path, const char *text)
{
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    assert_true(fputs(text, file) >= 0);
    assert_int_equal(fclose(file), 0);
}

typedef struct checker {
    http_auth *auth;
    atomic_bool stop;
    unsigned wrong;
} checker;

/* One token is in every version of the file: whoever checks it never finds it gone. */
static void *checker_run(void *context)
{
    checker *mine = context;
    while (!atomic_load(&mine->stop)) {
        const char *name;
        http_auth_outcome outcome =
            http_auth_check(mine->auth, "Bearer abc", HTTP_SCOPE_READ, &name);
        mine->wrong += outcome != HTTP_AUTH_OK || strcmp(name, "alice") != 0;
    }
    return NULL;
}

static void a_reload_is_all_at_once_and_a_bad_one_changes_nothing(void **state)
{
    (void)state;
    grv_error error = GRV_ERROR_INIT;
    char directory[256];
    char path[300];
    const char *name;
    pthread_t threads[2];
    checker mine = {0};
    test_temp_make(directory);
    snprintf(path, sizeof path, "%s/tokens", directory);
    assert_grv_status(http_auth_load(path, &mine.auth, &error), GRV_NOT_FOUND);
    file_write(path, "alice read " HASH_ABC "\n");
    assert_grv_ok(http_auth_load(path, &mine.auth, &error));
    checker others[2] = {{.auth = mine.auth}, {.auth = mine.auth}};
    for (int i = 0; i < 2; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, checker_run, &others[i]), 0);
    }
    for (int i = 0; i < 50; i++) {
        file_write(path, i % 2 ? "alice read " HASH_ABC "\n"
                               : "bob write " HASH_ZEROS "\nalice read,write " HASH_ABC "\n");
        assert_grv_ok(http_auth_reload(mine.auth, path, &error));
        assert_int_equal(http_auth_check(mine.auth, "Bearer abc", HTTP_SCOPE_WRITE, &name),
                         i % 2 ? HTTP_AUTH_FORBIDDEN : HTTP_AUTH_OK);
    }
    file_write(path, "alice\n");
    assert_grv_status(http_auth_reload(mine.auth, path, &error), GRV_INVALID_ARGUMENT);
    assert_int_equal(http_auth_check(mine.auth, "Bearer abc", HTTP_SCOPE_READ, &name),
                     HTTP_AUTH_OK);
    for (int i = 0; i < 2; i++) {
        atomic_store(&others[i].stop, true);
        pthread_join(threads[i], NULL);
        assert_int_equal(others[i].wrong, 0);
    }
    file_write(path, "# nobody\n");
    assert_grv_ok(http_auth_reload(mine.auth, path, &error));
    assert_int_equal(http_auth_count(mine.auth), 0);
    assert_string_equal(name, "alice"); /* handed out before: it lives on */
    http_auth_free(mine.auth);
    test_temp_remove(directory);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_token_is_known_by_its_hash),
        cmocka_unit_test(what_is_no_token_is_unknown),
        cmocka_unit_test(a_wrong_line_is_named_and_not_shown),
        cmocka_unit_test(more_tokens_than_may_be_are_refused),
        cmocka_unit_test(a_new_token_is_accepted_by_its_own_line),
        cmocka_unit_test(a_reload_is_all_at_once_and_a_bad_one_changes_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
