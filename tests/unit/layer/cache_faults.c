/* SPDX-License-Identifier: Apache-2.0 */
/* Layer cache: whatever call on its files fails, a get gives the right bytes. */
#include "cache_rig.h"
#include "os/file.h"

#include <errno.h>
#include <unistd.h>

/* ---- A table of calls of which one fails ---- */

static struct {
    uint64_t left; /* 0: none fails any more */
    bool ever;     /* and all after it */
    int errno_value;
    uint64_t fired;
    bool read_only; /* nothing may be opened to write, as EACCES or EROFS has it */
    uint64_t room;  /* bytes that may yet be written, with `full` */
    bool full;
} plan;

static bool fails(void)
{
    if (plan.left == 0 || (plan.left > 1 && --plan.left > 0)) {
        return false;
    }
    plan.left = plan.ever ? 1 : 0;
    plan.fired++;
    errno = plan.errno_value;
    return true;
}

static int plan_openat(int dir, const char *path, int flags, mode_t mode)
{
    if (plan.read_only && (flags & (O_RDWR | O_WRONLY | O_CREAT))) {
        errno = plan.errno_value;
        return -1;
    }
    return fails() ? -1 : grv_file_ops_system.openat(dir, path, flags, mode);
}

static int plan_close(int fd)
{
    bool failed = fails();
    int closed = grv_file_ops_system.close(fd);
    return failed ? -1 : closed;
}

static ssize_t plan_pread(int fd, void *data, size_t size, off_t offset)
{
    return fails() ? -1 : grv_file_ops_system.pread(fd, data, size, offset);
}

static ssize_t plan_pwrite(int fd, const void *data, size_t size, off_t offset)
{
    if (plan.full && size > plan.room) {
        errno = ENOSPC;
        return -1;
    }
    plan.room -= plan.full ? size : 0;
    return fails() ? -1 : grv_file_ops_system.pwrite(fd, data, size, offset);
}

static int plan_fsync(int fd)
{
    return fails() ? -1 : grv_file_ops_system.fsync(fd);
}

static int plan_renameat(int old_dir, const char *old_path, int new_dir, const char *new_path)
{
    return fails() ? -1 : grv_file_ops_system.renameat(old_dir, old_path, new_dir, new_path);
}

static int plan_unlinkat(int dir, const char *path, int flags)
{
    return fails() ? -1 : grv_file_ops_system.unlinkat(dir, path, flags);
}

static int plan_mkdirat(int dir, const char *path, mode_t mode)
{
    return fails() ? -1 : grv_file_ops_system.mkdirat(dir, path, mode);
}

static int plan_fstat(int fd, struct stat *ret_stat)
{
    return fails() ? -1 : grv_file_ops_system.fstat(fd, ret_stat);
}

static int plan_flock(int fd, int operation)
{
    return fails() ? -1 : grv_file_ops_system.flock(fd, operation);
}

static int plan_fallocate(int fd, int mode, off_t offset, off_t size)
{
    return fails() ? -1 : grv_file_ops_system.fallocate(fd, mode, offset, size);
}

static int plan_ftruncate(int fd, off_t size)
{
    return fails() ? -1 : grv_file_ops_system.ftruncate(fd, size);
}

static void plan_begin(uint64_t n, bool ever, int errno_value)
{
    static grv_file_ops ops;
    ops = grv_file_ops_system;
    ops.openat = plan_openat;
    ops.close = plan_close;
    ops.pread = plan_pread;
    ops.pwrite = plan_pwrite;
    ops.fsync = plan_fsync;
    ops.renameat = plan_renameat;
    ops.unlinkat = plan_unlinkat;
    ops.mkdirat = plan_mkdirat;
    ops.fstat = plan_fstat;
    ops.flock = plan_flock;
    ops.fallocate = plan_fallocate;
    ops.ftruncate = plan_ftruncate;
    memset(&plan, 0, sizeof plan);
    plan.left = n;
    plan.ever = ever;
    plan.errno_value = errno_value;
    grv_file_calls_set(&ops);
}

static uint64_t plan_end(void)
{
    grv_file_calls_set(NULL);
    return plan.fired;
}

/* ---- Tests ---- */

/* Opens the cache, makes it evict, and reads from it; every get is right. Returns what was told. */
static uint64_t use(cache_rig *rig)
{
    enum { BLOCKS = 22, SIZE = 60000 };
    rig_open(rig);
    for (uint64_t i = 0; i < BLOCKS; i++) {
        rig_read(rig, i, SIZE);
    }
    for (uint64_t i = BLOCKS; i-- > 0;) {
        rig_read(rig, i, SIZE);
    }
    uint64_t failures = rig_figures(rig).failures;
    rig_close(rig);
    return failures;
}

static void no_failing_call_fails_a_get(void **state)
{
    (void)state;
    static const int errnos[] = {EIO, ENOSPC, EACCES};
    cache_rig rig;
    rig_begin(&rig);
    for (uint64_t i = 0; i < 22; i++) {
        rig_store(&rig, i, 60000);
    }
    rig_close(&rig);
    char top[256];
    memcpy(top, rig.dir, sizeof top);
    for (size_t k = 0; k < 6; k++) {
        uint64_t fired = 1;
        uint64_t told = 0;
        for (uint64_t n = 1; fired > 0; n += 1 + n / 8) {
            snprintf(rig.dir, sizeof rig.dir, "%.200s/new-%zu-%d", top, k, (int)n);
            plan_begin(n, k & 1, errnos[k / 2]);
            told += use(&rig);
            fired = plan_end();
            use(&rig); /* and afterwards it works */
            rig_open(&rig);
            assert_true(rig_hits(&rig, 0, 60000));
            assert_int_equal(rig_figures(&rig).failures, 0);
            rig_close(&rig);
            rig_assert_bound(&rig, RIG_SIZE);
            test_temp_remove(rig.dir);
        }
        assert_true(told > 0);
    }
    memcpy(rig.dir, top, sizeof top);
    rig_end(&rig);
}

/* As on a full disk: what fits is kept, the rest isn't; after a pause it is tried again. */
static void a_full_disk_is_told_of_and_survived(void **state)
{
    (void)state;
    cache_rig rig;
    grv_cache_figures figures;
    grv_error failure = GRV_ERROR_INIT;
    rig_begin(&rig);
    for (uint64_t i = 0; i < 10; i++) {
        rig_store(&rig, i, 30000);
    }
    plan_begin(0, false, 0);
    plan.full = true;
    plan.room = 100000;
    for (uint64_t i = 0; i < 10; i++) {
        rig_read(&rig, i, 30000);
    }
    plan_end();
    grv_block_store_cache_read(rig.store, &figures, &failure);
    assert_int_equal(failure.status, GRV_OUT_OF_SPACE);
    assert_int_equal(figures.kept, 3);
    /* After a failure none is tried for a second. */
    assert_true(figures.failures >= 1);
    assert_int_equal(figures.failures + figures.skipped, 7);
    for (uint64_t i = 0; i < 3; i++) {
        assert_true(rig_hits(&rig, i, 30000));
    }
    rig_reopen(&rig);
    rig_read(&rig, 9, 30000);
    assert_true(rig_hits(&rig, 9, 30000));
    rig_end(&rig);
}

static void what_cannot_be_written_is_read(void **state)
{
    (void)state;
    static const int errnos[] = {EACCES, EROFS};
    cache_rig rig;
    rig_begin(&rig);
    rig_store(&rig, 1, 1000);
    rig_store(&rig, 2, 1000);
    rig_read(&rig, 1, 1000);
    for (size_t i = 0; i < 2; i++) {
        rig_close(&rig);
        plan_begin(0, false, errnos[i]);
        plan.read_only = true;
        rig_open(&rig);
        assert_true(rig_hits(&rig, 1, 1000));
        assert_false(rig_hits(&rig, 2, 1000));
        assert_false(rig_hits(&rig, 2, 1000));
        assert_int_equal(rig_figures(&rig).kept, 0);
        assert_int_equal(rig_figures(&rig).failures, 0);
        plan_end();
    }
    rig_end(&rig);
}

/* Somebody who holds the lock and does not go on keeps nobody from reading. */
static void a_lock_that_is_held_is_not_waited_for(void **state)
{
    (void)state;
    cache_rig rig;
    char path[512];
    rig_begin(&rig);
    rig_store(&rig, 1, 1000);
    rig_store(&rig, 2, 1000);
    rig_read(&rig, 1, 1000);
    rig_path(&rig, GRV_CACHE_LOCK, path);
    int fd = open(path, O_RDWR | O_CLOEXEC);
    assert_true(fd >= 0);
    assert_int_equal(grv_file_ops_system.flock(fd, 2 /* LOCK_EX */), 0);
    uint64_t start = grv_now_ns();
    assert_true(rig_hits(&rig, 1, 1000));
    for (int i = 0; i < 20; i++) {
        assert_false(rig_hits(&rig, 2, 1000));
    }
    assert_true(grv_now_ns() - start < UINT64_C(30000000000)); /* it is never let go */
    assert_int_equal(rig_figures(&rig).skipped, 20);
    assert_int_equal(rig_figures(&rig).failures, 0);
    close(fd);
    rig_reopen(&rig);
    rig_read(&rig, 2, 1000);
    assert_true(rig_hits(&rig, 2, 1000));
    rig_end(&rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(no_failing_call_fails_a_get),
        cmocka_unit_test(a_full_disk_is_told_of_and_survived),
        cmocka_unit_test(what_cannot_be_written_is_read),
        cmocka_unit_test(a_lock_that_is_held_is_not_waited_for),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
