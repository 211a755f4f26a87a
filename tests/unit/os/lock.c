/* SPDX-License-Identifier: Apache-2.0 */
/* Lock files: one holder, named; what a dead one left is no obstacle and no danger. */
#include "os/lock.h"

#include "os/file.h"
#include "temp.h"
#include "test.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/file.h>

typedef struct place {
    char path[256];
    int dir;
} place;

static int setup(void **state)
{
    static place self;
    test_temp_make(self.path);
    self.dir = open(self.path, O_RDONLY | O_DIRECTORY);
    *state = &self;
    return self.dir < 0;
}

static int teardown(void **state)
{
    place *self = *state;
    close(self->dir);
    test_temp_remove(self->path);
    return 0;
}

static void put_file(int dir, const char *text)
{
    int fd = openat(dir, "lock", O_WRONLY | O_CREAT | O_TRUNC, 0666);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), strlen(text));
    close(fd);
}

static void a_second_holder_is_told_of_the_first(void **state)
{
    place *self = *state;
    grv_error error = GRV_ERROR_INIT;
    grv_lock lock;
    grv_lock second = {.fd = 77};
    char want[128];
    put_file(self->dir, "a longer text of someone who was here long ago and died\nand more\n");
    assert_grv_ok(grv_lock_open(self->dir, "lock", "store x", false, &lock, &error));
    assert_grv_status(grv_lock_open(self->dir, "lock", "store x", false, &second, &error),
                      GRV_UNAVAILABLE);
    assert_int_equal(second.fd, 77);
    snprintf(want, sizeof want, "store x is in use by pid %ld (%s)", (long)getpid(),
             program_invocation_short_name);
    assert_string_equal(error.message, want);
    grv_lock_close(&lock);
    assert_grv_ok(grv_lock_open(self->dir, "lock", "store x", false, &second, &error));
    grv_lock_close(&second);
}

/* Pids end below 2^22. */
#define GONE "s is in use by another process; the last one to leave its name was pid "

static void odd_contents_only_change_the_message(void **state)
{
    place *self = *state;
    grv_error error = GRV_ERROR_INIT;
    grv_lock lock;
    static const struct {
        const char *text;
        const char *want;
    } rows[] = {
        {"", "s is in use by another process"},
        {"12", "s is in use by another process"},
        {" x", "s is in use by another process"},
        {"1 a\x1b[2Jb\n13 c\n", "s is in use by pid 1 (a?[2Jb)"},
        {"99999999 gone\n", GONE "99999999 (gone)"},
        {"-1 x\n", GONE "-1 (x)"},
        {"1x y\n", GONE "1x (y)"},
        {"18446744073709551617 y\n", GONE "18446744073709551617 (y)"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        put_file(self->dir, rows[i].text);
        int holder = openat(self->dir, "lock", O_RDONLY);
        assert_int_equal(flock(holder, LOCK_EX), 0);
        assert_grv_status(grv_lock_open(self->dir, "lock", "s", false, &lock, &error),
                          GRV_UNAVAILABLE);
        assert_string_equal(error.message, rows[i].want);
        close(holder);
    }
}

static void a_link_is_not_followed(void **state)
{
    place *self = *state;
    grv_error error = GRV_ERROR_INIT;
    grv_lock lock = {.fd = 77};
    assert_int_equal(symlinkat("elsewhere", self->dir, "lock"), 0);
    assert_grv_status(grv_lock_open(self->dir, "lock", "s", false, &lock, &error),
                      GRV_INVALID_ARGUMENT);
    assert_int_equal(lock.fd, 77);
    assert_int_equal(faccessat(self->dir, "elsewhere", F_OK, 0), -1);
}

/* openat as a read-only file system has it. */
static int read_only_openat(int dir, const char *path, int flags, mode_t mode)
{
    if ((flags & O_ACCMODE) != O_RDONLY) {
        errno = EROFS;
        return -1;
    }
    return grv_file_ops_system.openat(dir, path, flags, mode);
}

static void a_reader_needs_no_file_it_can_write(void **state)
{
    place *self = *state;
    grv_error error = GRV_ERROR_INIT;
    grv_lock lock = {.fd = 77};
    grv_lock second = {.fd = 77};
    grv_file_ops ops = grv_file_ops_system;
    ops.openat = read_only_openat;
    grv_file_calls_set(&ops);
    assert_grv_status(grv_lock_open(self->dir, "lock2", "s", true, &lock, &error), GRV_PERMISSION);
    put_file(self->dir, "99999999 someone\n");
    assert_grv_status(grv_lock_open(self->dir, "lock", "s", false, &lock, &error), GRV_PERMISSION);
    assert_int_equal(lock.fd, 77);
    assert_grv_ok(grv_lock_open(self->dir, "lock", "s", true, &lock, &error));
    assert_grv_status(grv_lock_open(self->dir, "lock", "s", true, &second, &error),
                      GRV_UNAVAILABLE);
    assert_string_equal(error.message, GONE "99999999 (someone)");
    grv_file_calls_set(NULL);
    grv_lock_close(&lock);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_second_holder_is_told_of_the_first, setup, teardown),
        cmocka_unit_test_setup_teardown(odd_contents_only_change_the_message, setup, teardown),
        cmocka_unit_test_setup_teardown(a_link_is_not_followed, setup, teardown),
        cmocka_unit_test_setup_teardown(a_reader_needs_no_file_it_can_write, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
