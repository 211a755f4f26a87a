/* SPDX-License-Identifier: Apache-2.0 */
/* File helpers: durable directories, small files, entries. */
#include "test.h"

#include "os/file.h"
#include "os/random.h"
#include "temp.h"

#include <errno.h>

typedef struct fixture {
    char dir[256];
    int fd;
} fixture;

static int setup(void **state)
{
    fixture *f = calloc(1, sizeof *f);
    assert_non_null(f);
    test_temp_make(f->dir);
    f->fd = open(f->dir, O_RDONLY | O_DIRECTORY);
    assert_true(f->fd >= 0);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    fixture *f = *state;
    close(f->fd);
    test_temp_remove(f->dir);
    free(f);
    grv_file_calls_set(NULL);
    return 0;
}

static void assert_contents(int dir, const char *name, const char *want)
{
    grv_error error = GRV_ERROR_INIT;
    grv_buffer out;
    grv_buffer_init(&out, 100);
    assert_grv_ok(grv_buffer_append(&out, grv_bytes_of(">", 1), &error));
    assert_grv_ok(grv_file_read_small(dir, name, 50, &out, &error));
    assert_int_equal(out.size, strlen(want) + 1);
    assert_memory_equal(out.data + 1, want, strlen(want));
    grv_buffer_done(&out);
}

static size_t count_entries(int dir)
{
    grv_error error = GRV_ERROR_INIT;
    DIR *entries = NULL;
    size_t count = 0;
    const char *name;
    assert_grv_ok(grv_directory_entries(dir, "test", &entries, &error));
    for (;;) {
        assert_grv_ok(grv_directory_next(entries, "test", &name, &error));
        if (!name) {
            break;
        }
        count++;
    }
    grv_directory_close(entries);
    return count;
}

static void small_files_are_replaced_whole(void **state)
{
    fixture *f = *state;
    grv_error error = GRV_ERROR_INIT;
    assert_grv_ok(grv_file_write_small(f->fd, "a", grv_bytes_of("one", 3), true, &error));
    assert_contents(f->fd, "a", "one");
    assert_grv_status(grv_file_write_small(f->fd, "a", grv_bytes_of("two", 3), true, &error),
                      GRV_ALREADY_EXISTS);
    assert_contents(f->fd, "a", "one");
    assert_grv_ok(grv_file_write_small(f->fd, "a", grv_bytes_of("second", 6), false, &error));
    assert_contents(f->fd, "a", "second");
    assert_grv_ok(grv_file_write_small(f->fd, "empty", grv_bytes_of("", 0), true, &error));
    assert_contents(f->fd, "empty", "");
    assert_int_equal(count_entries(f->fd), 2);
}

static int failing_fdatasync(int fd)
{
    (void)fd;
    errno = EIO;
    return -1;
}

static void a_small_file_that_cannot_be_synced_changes_nothing(void **state)
{
    fixture *f = *state;
    grv_error error = GRV_ERROR_INIT;
    assert_grv_ok(grv_file_write_small(f->fd, "a", grv_bytes_of("one", 3), false, &error));
    grv_file_ops ops = grv_file_ops_system;
    ops.fdatasync = failing_fdatasync;
    assert_ptr_equal(grv_file_calls_set(&ops), &grv_file_ops_system);
    assert_grv_status(grv_file_write_small(f->fd, "a", grv_bytes_of("two", 3), false, &error),
                      GRV_UNAVAILABLE);
    assert_ptr_equal(grv_file_calls_set(NULL), &ops);
    assert_contents(f->fd, "a", "one");
    assert_int_equal(count_entries(f->fd), 1);
}

static void reading_a_small_file_is_bounded(void **state)
{
    fixture *f = *state;
    grv_error error = GRV_ERROR_INIT;
    assert_grv_ok(grv_file_write_small(f->fd, "a", grv_bytes_of("12345678", 8), true, &error));
    grv_buffer out;
    grv_buffer_init(&out, 100);
    assert_grv_ok(grv_file_read_small(f->fd, "a", 8, &out, &error));
    assert_int_equal(out.size, 8);
    assert_grv_status(grv_file_read_small(f->fd, "a", 7, &out, &error), GRV_CORRUPT);
    assert_grv_status(grv_file_read_small(f->fd, "b", 7, &out, &error), GRV_NOT_FOUND);
    assert_int_equal(out.size, 8);
    grv_buffer_done(&out);
    grv_buffer_init(&out, 7);
    assert_grv_status(grv_file_read_small(f->fd, "a", 8, &out, &error), GRV_CORRUPT);
    grv_buffer_done(&out);
}

static size_t directory_syncs;

static int counting_fsync(int fd)
{
    directory_syncs++;
    return fsync(fd);
}

static void directories_are_made_durably(void **state)
{
    fixture *f = *state;
    grv_error error = GRV_ERROR_INIT;
    int fd = -1;
    assert_grv_status(grv_directory_open(f->fd, "x/y", false, &fd, &error), GRV_NOT_FOUND);
    assert_int_equal(fd, -1);
    assert_int_equal(count_entries(f->fd), 0);
    grv_file_ops ops = grv_file_ops_system;
    ops.fsync = counting_fsync;
    grv_file_calls_set(&ops);
    directory_syncs = 0;
    assert_grv_ok(grv_directory_open(f->fd, "x//y/z/", true, &fd, &error));
    assert_int_equal(directory_syncs, 3);
    close(fd);
    /* Those that are there may have been made by someone who was killed before the sync. */
    assert_grv_ok(grv_directory_open(f->fd, "x/y/new", true, &fd, &error));
    assert_int_equal(directory_syncs, 6);
    close(fd);
    assert_grv_ok(grv_directory_open(f->fd, "x/y/z/../z", false, &fd, &error));
    close(fd);
    char path[300];
    snprintf(path, sizeof path, "%s/x/y", f->dir);
    assert_grv_ok(grv_directory_open(AT_FDCWD, path, false, &fd, &error));
    assert_int_equal(count_entries(fd), 2);
    close(fd);
}

static void a_file_is_no_directory(void **state)
{
    fixture *f = *state;
    grv_error error = GRV_ERROR_INIT;
    int fd = -1;
    assert_grv_ok(grv_file_write_small(f->fd, "a", grv_bytes_of("one", 3), true, &error));
    assert_grv_status(grv_directory_open(f->fd, "a", true, &fd, &error), GRV_INVALID_ARGUMENT);
    assert_grv_status(grv_directory_open(f->fd, "a/b", true, &fd, &error), GRV_INVALID_ARGUMENT);
    assert_int_equal(fd, -1);
}

static void random_bytes_differ(void **state)
{
    (void)state;
    grv_error error = GRV_ERROR_INIT;
    uint8_t a[32] = {0};
    uint8_t b[32] = {0};
    assert_grv_ok(grv_random_fill(a, sizeof a, &error));
    assert_grv_ok(grv_random_fill(b, sizeof b, &error));
    assert_memory_not_equal(a, b, sizeof a);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(small_files_are_replaced_whole),
        TEST(a_small_file_that_cannot_be_synced_changes_nothing),
        TEST(reading_a_small_file_is_bounded),
        TEST(directories_are_made_durably),
        TEST(a_file_is_no_directory),
        cmocka_unit_test(random_bytes_differ),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
