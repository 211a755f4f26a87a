/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What every object store promises (include/graviton/port/immutable_object_store.h and
 * mutable_object_store.h): objects, paths, ranges. Puts, copies and removals are in
 * object_store_puts.c, lists in object_store_lists.c, threads in object_store_threads.c.
 */
#include "object_store_suite.h"
#include "postgres_store.h"
#include "s3_store.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

static uint64_t wall_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static void objects_of_any_size_come_back(void **state)
{
    object_case *self = *state;
    static const uint64_t sizes[] = {0,      1,      2,      4095,   65535,          65536,  65537,
                                     262143, 262144, 262145, 524288, (1u << 20) + 1, 3000000};
    enum { COUNT = sizeof sizes / sizeof sizes[0] };
    grv_object_info infos[COUNT];
    for (size_t i = 0; i < COUNT; i++) {
        char path[32];
        snprintf(path, sizeof path, "size/%zu", i);
        uint64_t before = wall_ns();
        before -= self->fixture->whole_seconds ? before % 1000000000u : 0;
        infos[i] = object_put(self, path, i, sizes[i]);
        assert_true(infos[i].modified_ns >= before && infos[i].modified_ns <= wall_ns());
    }
    object_case_turn(self);
    for (size_t i = 0; i < COUNT; i++) {
        grv_error error = GRV_ERROR_INIT;
        grv_object_info head;
        char path[32];
        snprintf(path, sizeof path, "size/%zu", i);
        grv_locator locator = object_locator(self->store, OBJECT_BUCKET, path);
        object_check(self, path, i, sizes[i]);
        assert_grv_ok(grv_object_store_head(NULL, &self->store->base, &locator, &head, &error));
        object_check_info(&head, &infos[i]);
    }
}

/* Bytes of memory that the process has now. */
static uint64_t resident_bytes(void)
{
    unsigned long total = 0;
    unsigned long resident = 0;
    FILE *file = fopen("/proc/self/statm", "r");
    assert_non_null(file);
    assert_int_equal(fscanf(file, "%lu %lu", &total, &resident), 2);
    fclose(file);
    return resident * (uint64_t)sysconf(_SC_PAGESIZE);
}

/* Whether it shows by that what a store holds: sanitizers keep what libraries have freed. */
static bool memory_tells(const object_case *self)
{
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
    return !self->fixture->keeps_in_memory && !self->fixture->needs_postgres &&
           !self->fixture->needs_s3;
#else
    return !self->fixture->keeps_in_memory;
#endif
}

/* Much larger than what a put or get may hold, where a store does not keep it in memory. */
static void a_large_object_streams(void **state)
{
    object_case *self = *state;
    grv_error error = GRV_ERROR_INIT;
    const uint64_t step = UINT64_C(4) << 20;
    const uint64_t size = UINT64_C(48) << 20;
    grv_locator locator = object_locator(self->store, OBJECT_BUCKET, "large");
    grv_object_sink *sink = NULL;
    uint64_t most = self->fixture->holds_bytes ? self->fixture->holds_bytes : 8u << 20;
    most = memory_tells(self) ? resident_bytes() + most : UINT64_MAX;
    assert_grv_ok(grv_mutable_object_store_open_put(NULL, self->store, &locator,
                                                    &(grv_object_put){0}, &sink, &error));
    for (uint64_t at = 0; at < size; at += step) {
        assert_grv_ok(object_write(&sink->base, 9, at, at + step, &error));
        assert_true(resident_bytes() <= most);
    }
    assert_grv_ok(grv_sink_commit(NULL, &sink->base, &error));
    grv_sink_free(&sink->base);
    object_case_turn(self);
    grv_source *source = NULL;
    assert_grv_ok(grv_object_store_open_get(NULL, &self->store->base, &locator, GRV_RANGE_ALL, NULL,
                                            &source, &error));
    uint8_t buffer[1000];
    for (uint64_t at = 0; at < size;) {
        size_t got = 0;
        assert_grv_ok(
            grv_source_read(NULL, source, (grv_span){buffer, sizeof buffer}, &got, &error));
        assert_int_equal(got, size - at < sizeof buffer ? size - at : sizeof buffer);
        assert_int_equal(buffer[0], object_byte(9, at));
        assert_int_equal(buffer[got - 1], object_byte(9, at + got - 1));
        at += got;
        assert_true(at % 4000000 || resident_bytes() <= most);
    }
    grv_source_free(source);
}

static grv_status read_range(object_case *self, const char *path, grv_range range, uint64_t seed,
                             uint64_t size, grv_error *error)
{
    grv_locator locator = object_locator(self->store, OBJECT_BUCKET, path);
    grv_source *source = NULL;
    grv_object_info info = {0};
    grv_status status =
        grv_object_store_open_get(NULL, &self->store->base, &locator, range, &info, &source, error);
    if (status) {
        return status;
    }
    assert_int_equal(info.size_bytes, size);
    status = object_read(source, seed, range.first, range.end < size ? range.end : size, error);
    grv_source_free(source);
    return status;
}

static void ranges_are_cut_to_the_object(void **state)
{
    object_case *self = *state;
    grv_error error = GRV_ERROR_INIT;
    const uint64_t size = 700001;
    object_put(self, "r", 3, size);
    object_put(self, "empty", 3, 0);
    object_case_turn(self);
    const grv_range good[] = {
        {0, 0},
        {0, 1},
        {0, size},
        {size - 1, size},
        {size, size},
        {size, size + 5},
        {1, UINT64_MAX},
        {65535, 65537},
        {262143, 600001},
        {5, 5},
        {262144, 262145},
        {0, UINT64_MAX},
        {size - 1, UINT64_MAX},
    };
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        assert_grv_ok(read_range(self, "r", good[i], 3, size, &error));
    }
    assert_grv_ok(read_range(self, "empty", (grv_range){0, 9}, 3, 0, &error));
    const grv_range bad[] = {{size + 1, size + 2}, {UINT64_MAX, UINT64_MAX}, {2, 1}};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        assert_grv_status(read_range(self, "r", bad[i], 3, size, &error), GRV_INVALID_ARGUMENT);
    }
    assert_grv_status(read_range(self, "empty", (grv_range){1, 2}, 3, 0, &error),
                      GRV_INVALID_ARGUMENT);
    assert_grv_status(read_range(self, "none", (grv_range){0, 1}, 3, 0, &error), GRV_NOT_FOUND);
}

/* Paths that file systems, URLs and shells read as something else. The last ones are made below. */
static const char *const odd_paths[] = {
    "a",         "a/b",
    "a/b/c",     "a/",
    "a//",       "a//b",
    "/",         "//",
    "/a",        "//a",
    "a/.",       "a/..",
    ".",         "..",
    "../x",      "../../etc/passwd",
    "./a",       ".tmp",
    ".tmp/a",    ".hidden",
    "a/.hidden", "%2F",
    "%2f",       "a%2Fb",
    "%",         "%%",
    "%00",       "a+",
    "a+/b",      "a~",
    "a=",        "=",
    "+",         "~",
    "+/=",       "a b",
    " ",         " a ",
    "\t",        "\n",
    "a\nb",      "\x01",
    "\x7f",      "\xff",
    "\xff/\xfe", "\xc3\xa9t\xc3\xa9",
    "e\xcc\x81", "\xf0\x9f\x98\x80",
    "A",         "a.b",
    "a-b",       "a0",
    "a,b",       "a:b",
    "a*b?c[d]",  "\\",
    "a\\b",      "\"'`$()",
    "CON",       "a.",
    "x.tmp",     "graviton.json",
    "lock",
};

/* One segment, two halves, all slashes, one-byte segments; and around the lengths where names are
 * split. */
static size_t long_paths(char *ret_paths[], size_t capacity)
{
    static const size_t lengths[] = {79,  80,  81,  159, 160, 161,  240, 241,
                                     254, 255, 256, 512, 800, 1023, 1024};
    size_t count = 0;
    for (size_t i = 0; i < sizeof lengths / sizeof lengths[0]; i++) {
        for (size_t kind = 0; kind < 5 && count < capacity; kind++, count++) {
            size_t size = lengths[i];
            char *path = malloc(size + 1);
            if (!path) {
                abort();
            }
            for (size_t k = 0; k < size; k++) {
                const char bytes[] = {'x', '\xfe', '/', k % 2 ? '/' : 'y', k == 80 ? '/' : 'z'};
                path[k] = bytes[kind];
            }
            path[size] = '\0';
            ret_paths[count] = path;
        }
    }
    return count;
}

static int strings_order(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static void check_refused(object_case *self, const char *path)
{
    grv_error error = GRV_ERROR_INIT;
    grv_object_info info;
    grv_source *source = NULL;
    grv_locator bad = object_locator(self->store, OBJECT_BUCKET, path);
    grv_locator good = object_locator(self->store, OBJECT_BUCKET, "good");
    assert_grv_status(object_try_put(self->store, path, 1, 1, false, NULL, &error),
                      GRV_UNSUPPORTED);
    assert_grv_status(grv_object_store_head(NULL, &self->store->base, &bad, &info, &error),
                      GRV_UNSUPPORTED);
    assert_grv_status(grv_object_store_open_get(NULL, &self->store->base, &bad, GRV_RANGE_ALL, NULL,
                                                &source, &error),
                      GRV_UNSUPPORTED);
    assert_grv_status(grv_mutable_object_store_remove(NULL, self->store, &bad, &error),
                      GRV_UNSUPPORTED);
    assert_grv_status(
        grv_mutable_object_store_copy(NULL, self->store, &good, &bad, false, NULL, &error),
        GRV_UNSUPPORTED);
    assert_grv_status(
        grv_mutable_object_store_copy(NULL, self->store, &bad, &good, false, NULL, &error),
        GRV_UNSUPPORTED);
}

/* Drops and frees the paths that the store refuses, after checking that it does. */
static size_t keep_those_that_fit(object_case *self, char *paths[], size_t count)
{
    size_t kept = 0;
    for (size_t i = 0; i < count; i++) {
        if (object_path_fits(self, paths[i])) {
            paths[kept++] = paths[i];
        } else {
            check_refused(self, paths[i]);
            free(paths[i]);
        }
    }
    return kept;
}

/* All at the same time: no two get in each other's way. */
static void any_path_is_a_name_of_its_own(void **state)
{
    object_case *self = *state;
    enum { ODD = sizeof odd_paths / sizeof odd_paths[0], MOST = ODD + 80 };
    char *paths[MOST];
    size_t count = 0;
    for (; count < ODD; count++) {
        paths[count] = strdup(odd_paths[count]);
    }
    count += long_paths(paths + count, MOST - count);
    count = keep_those_that_fit(self, paths, count);
    for (size_t i = 0; i < count; i++) {
        object_check_absent(self, paths[i]);
        object_put(self, paths[i], i, i % 7);
    }
    object_case_turn(self);
    for (size_t i = 0; i < count; i++) {
        object_check(self, paths[i], i, i % 7);
    }
    object_paths list = object_list_all(self);
    qsort(paths, count, sizeof *paths, strings_order);
    assert_int_equal(list.count, count);
    for (size_t i = 0; i < count; i++) {
        assert_string_equal(list.paths[i], paths[i]);
    }
    object_paths_free(&list);
    grv_error error = GRV_ERROR_INIT;
    for (size_t i = 0; i < count; i++) {
        grv_locator locator = object_locator(self->store, OBJECT_BUCKET, paths[i]);
        assert_grv_ok(grv_mutable_object_store_remove(NULL, self->store, &locator, &error));
        object_check_absent(self, paths[i]);
        free(paths[i]);
    }
    list = object_list_all(self);
    assert_int_equal(list.count, 0);
    object_paths_free(&list);
}

static void locators_of_others_are_refused_by_name(void **state)
{
    object_case *self = *state;
    grv_object_store *reader = &self->store->base;
    for (int other = 0; other < 3; other++) {
        grv_error error = GRV_ERROR_INIT;
        grv_locator good = object_locator(self->store, OBJECT_BUCKET, "a");
        grv_locator bad = good;
        const char *named = "nobucket";
        if (other == 0) {
            memcpy(bad.bucket, named, sizeof "nobucket");
        } else if (other == 1) {
            named = "noscheme";
            memcpy(bad.scheme, named, sizeof "noscheme");
        } else {
            named = "locator";
            bad.path[0] = '\0';
        }
        grv_object_info info;
        grv_source *source = NULL;
        grv_object_sink *sink = NULL;
        const grv_object_put put = {0};
        assert_grv_status(grv_object_store_head(NULL, reader, &bad, &info, &error),
                          GRV_INVALID_ARGUMENT);
        assert_non_null(strstr(error.message, named));
        assert_grv_status(
            grv_object_store_open_get(NULL, reader, &bad, GRV_RANGE_ALL, NULL, &source, &error),
            GRV_INVALID_ARGUMENT);
        assert_non_null(strstr(error.message, named));
        assert_grv_status(
            grv_mutable_object_store_open_put(NULL, self->store, &bad, &put, &sink, &error),
            GRV_INVALID_ARGUMENT);
        assert_non_null(strstr(error.message, named));
        assert_grv_status(grv_mutable_object_store_remove(NULL, self->store, &bad, &error),
                          GRV_INVALID_ARGUMENT);
        assert_non_null(strstr(error.message, named));
        object_put(self, "a", 1, 1);
        assert_grv_status(
            grv_mutable_object_store_copy(NULL, self->store, &good, &bad, false, NULL, &error),
            GRV_INVALID_ARGUMENT);
        assert_non_null(strstr(error.message, named));
        assert_grv_status(
            grv_mutable_object_store_copy(NULL, self->store, &bad, &good, false, NULL, &error),
            GRV_INVALID_ARGUMENT);
        assert_non_null(strstr(error.message, named));
        object_check(self, "a", 1, 1);
    }
}

static void a_path_without_an_end_is_refused(void **state)
{
    object_case *self = *state;
    grv_error error = GRV_ERROR_INIT;
    grv_object_info info;
    grv_locator locator = object_locator(self->store, OBJECT_BUCKET, "a");
    memset(locator.path, 'a', sizeof locator.path);
    assert_grv_status(grv_object_store_head(NULL, &self->store->base, &locator, &info, &error),
                      GRV_INVALID_ARGUMENT);
}

static void buckets_do_not_meet(void **state)
{
    object_case *self = *state;
    grv_error error = GRV_ERROR_INIT;
    object_put(self, "same", 1, 10);
    object_paths other =
        object_list_in(self, OBJECT_BUCKET_OTHER, (grv_bytes){0}, (grv_bytes){0}, 10);
    assert_int_equal(other.count, 0);
    object_paths_free(&other);
    grv_locator locator = object_locator(self->store, OBJECT_BUCKET_OTHER, "same");
    grv_object_info info;
    assert_grv_status(grv_object_store_head(NULL, &self->store->base, &locator, &info, &error),
                      GRV_NOT_FOUND);
    assert_grv_ok(grv_mutable_object_store_remove(NULL, self->store, &locator, &error));
    object_case_turn(self);
    object_check(self, "same", 1, 10);
}

static const object_test object_tests[] = {
    OBJECT_TEST(objects_of_any_size_come_back),
    OBJECT_TEST(a_large_object_streams),
    OBJECT_TEST(ranges_are_cut_to_the_object),
    OBJECT_TEST(any_path_is_a_name_of_its_own),
    OBJECT_TEST(locators_of_others_are_refused_by_name),
    OBJECT_TEST(a_path_without_an_end_is_refused),
    OBJECT_TEST(buckets_do_not_meet),
};

/* Every test of the suite's parts in one list. */
static size_t gather(const object_test *all[], size_t capacity)
{
    const struct {
        const object_test *tests;
        size_t count;
    } parts[] = {
        {object_tests, sizeof object_tests / sizeof object_tests[0]},
        {object_put_tests, object_put_test_count},
        {object_list_tests, object_list_test_count},
        {object_thread_tests, object_thread_test_count},
    };
    size_t total = 0;
    for (size_t p = 0; p < sizeof parts / sizeof parts[0]; p++) {
        for (size_t i = 0; i < parts[p].count && total < capacity; i++) {
            all[total++] = &parts[p].tests[i];
        }
    }
    return total;
}

int main(void)
{
    const object_test *all[64];
    size_t per_fixture = gather(all, 64);
    size_t total = 2 * object_fixture_count * per_fixture;
    struct CMUnitTest *units = calloc(total, sizeof *units);
    object_case *cases = calloc(total, sizeof *cases);
    if (!units || !cases) {
        abort();
    }
    for (size_t n = 0; n < total; n++) {
        const object_fixture *fixture = &object_fixtures[n / (2 * per_fixture)];
        const object_test *test = all[n % per_fixture];
        cases[n].fixture = fixture;
        cases[n].reopen = n / per_fixture % 2;
        snprintf(cases[n].name, sizeof cases[n].name, "%s, %s: %s", fixture->name,
                 cases[n].reopen ? "reopened" : "fresh", test->name);
        units[n] = (struct CMUnitTest){cases[n].name, test->run, object_case_setup,
                                       object_case_teardown, &cases[n]};
        if (fixture->needs_postgres) {
            test_postgres_unit(&units[n]);
        } else if (fixture->needs_s3) {
            test_s3_unit(&units[n]);
        }
    }
    int failed = _cmocka_run_group_tests("object_store", units, total, NULL, NULL);
    free(cases);
    free(units);
    return failed;
}
