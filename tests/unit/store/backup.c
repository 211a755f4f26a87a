/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Backups of a store that stays open, which the command line cannot show: what was put a moment
 * ago and lies in RocksDB's log alone, puts and removals beside a backup, and the jobs that keep
 * out of each other's way.
 */
#include "store_rig.h"

#include <pthread.h>
#include <sys/stat.h>

static char directory[256];

static int setup(void **state)
{
    (void)state;
    test_temp_make(directory);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    test_temp_remove(directory);
    return 0;
}

/* Opens the store called `name`: blocks in files, or in RocksDB. */
static grv_store *open_named(const char *name, bool in_rocks, bool create, bool read_only)
{
    static const uint64_t no_reserve = 0;
    const grv_chunker_spec chunker = {.kind = GRV_CHUNKER_FIXED, .size = 100};
    char path[400];
    char meta[500];
    snprintf(path, sizeof path, "%s/%s", directory, name);
    snprintf(meta, sizeof meta, "rocks:%s/meta", path);
    const grv_store_config config = {.directory = in_rocks ? NULL : path,
                                     .blocks = in_rocks ? "kv:" : NULL,
                                     .meta = in_rocks ? meta : NULL,
                                     .create = create,
                                     .read_only = read_only,
                                     .chunker = &chunker,
                                     .reserve_bytes = &no_reserve,
                                     .threads = 2};
    grv_error error = GRV_ERROR_INIT;
    grv_store *store = NULL;
    assert_grv_ok(grv_store_open(NULL, &config, &store, &error));
    return store;
}

static grv_status back_up(grv_store *store, const char *name, bool copy, grv_backup_report *report,
                          grv_error *error)
{
    char path[400];
    snprintf(path, sizeof path, "%s/%s", directory, name);
    const grv_backup_config config = {.directory = path, .copy = copy};
    return grv_store_backup(NULL, store, &config, report, error);
}

static void what_was_put_just_now_is_in_it(void **state)
{
    (void)state;
    for (int kind = 0; kind < 4; kind++) {
        bool in_rocks = kind / 2;
        bool copy = kind % 2;
        char name[16];
        char saved[16];
        grv_blob_key keys[30];
        grv_error error = GRV_ERROR_INIT;
        grv_backup_report report;
        snprintf(name, sizeof name, "s%d", kind);
        snprintf(saved, sizeof saved, "b%d", kind);
        grv_store *store = open_named(name, in_rocks, true, false);
        for (uint64_t i = 0; i < 30; i++) {
            keys[i] = rig_put(store, i, 100 * i);
        }
        assert_grv_ok(back_up(store, saved, copy, &report, &error));
        assert_int_equal(report.corrupt_blocks, 0);
        assert_int_equal(report.linked_blocks > 0, !in_rocks && !copy);
        assert_int_equal(report.copied_blocks > 0, !in_rocks && copy);
        grv_blob_key later = rig_put(store, 1000, 500);
        assert_grv_ok(grv_blob_store_remove(NULL, grv_store_blobs(store), &keys[0], &error));
        grv_store_close(store);
        store = open_named(saved, in_rocks, false, kind == 0);
        for (uint64_t i = 0; i < 30; i++) {
            assert_grv_status(rig_read(store, &keys[i], i), GRV_OK);
        }
        assert_grv_status(rig_read(store, &later, 1000), GRV_NOT_FOUND);
        grv_store_close(store);
    }
}

typedef struct putter {
    grv_store *store;
    uint64_t done; /* atomic: seeds below it were put, the even ones removed again */
    bool stop;     /* atomic */
} putter;

static void *put_on(void *context)
{
    putter *self = context;
    for (uint64_t i = 0; !__atomic_load_n(&self->stop, __ATOMIC_RELAXED); i++) {
        grv_blob_key key = rig_put(self->store, i, 2000);
        if (i % 2 == 0) {
            grv_status status =
                grv_blob_store_remove(NULL, grv_store_blobs(self->store), &key, NULL);
            assert_int_equal(status, GRV_OK);
        }
        __atomic_store_n(&self->done, i + 1, __ATOMIC_RELEASE);
    }
    return NULL;
}

/* The key of a blob, by putting it into a store of its own. */
static grv_blob_key key_of(grv_store *other, uint64_t seed)
{
    return rig_put(other, seed, 2000);
}

static void puts_go_on_beside_it(void **state)
{
    (void)state;
    grv_error error = GRV_ERROR_INIT;
    grv_store *store = open_named("s", false, true, false);
    grv_store *other = rig_open("memory:");
    putter self = {.store = store};
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, put_on, &self), 0);
    uint64_t before[3];
    for (int round = 0; round < 3; round++) {
        char name[16];
        grv_backup_report report;
        snprintf(name, sizeof name, "b%d", round);
        while (__atomic_load_n(&self.done, __ATOMIC_ACQUIRE) < 5u * (unsigned)(round + 1)) {
        }
        before[round] = __atomic_load_n(&self.done, __ATOMIC_ACQUIRE);
        assert_grv_ok(back_up(store, name, round == 1, &report, &error));
    }
    __atomic_store_n(&self.stop, true, __ATOMIC_RELAXED);
    pthread_join(thread, NULL);
    grv_store_close(store);
    for (int round = 0; round < 3; round++) {
        char name[16];
        snprintf(name, sizeof name, "b%d", round);
        store = open_named(name, false, false, true);
        for (uint64_t i = 0; i < before[round]; i++) {
            grv_blob_key key = key_of(other, i);
            assert_grv_status(rig_read(store, &key, i), i % 2 ? GRV_OK : GRV_NOT_FOUND);
        }
        grv_store_stats stats;
        assert_grv_ok(grv_store_count(NULL, store, &stats, &error));
        assert_int_equal(stats.missing_blocks, 0);
        grv_store_close(store);
    }
    grv_store_close(other);
}

/* Tries other jobs from inside of one. */
static void others_are_refused(void *context, const grv_backup_report *so_far)
{
    grv_store *store = context;
    grv_error error = GRV_ERROR_INIT;
    grv_collect_report collected;
    grv_backup_report report;
    const grv_collect_config config = {.dry_run = false};
    (void)so_far;
    assert_grv_status(grv_store_collect(NULL, store, &config, &collected, &error), GRV_UNAVAILABLE);
    assert_grv_status(back_up(store, "other", false, &report, &error), GRV_UNAVAILABLE);
}

static void one_job_at_a_time(void **state)
{
    (void)state;
    grv_error error = GRV_ERROR_INIT;
    grv_store *store = open_named("s", false, true, false);
    grv_backup_report report;
    char path[400];
    snprintf(path, sizeof path, "%s/b", directory);
    const grv_backup_config config = {
        .directory = path, .progress = others_are_refused, .context = store};
    rig_put(store, 1, 1000);
    assert_grv_ok(grv_store_backup(NULL, store, &config, &report, &error));
    assert_int_equal(report.linked_blocks, 10);
    assert_int_equal(report.linked_bytes, 1000);
    /* And afterwards they may. */
    const grv_collect_config collect = {.dry_run = false};
    grv_collect_report collected;
    assert_grv_ok(grv_store_collect(NULL, store, &collect, &collected, &error));
    grv_store_close(store);
}

static void what_cannot_be_backed_up(void **state)
{
    (void)state;
    grv_error error = GRV_ERROR_INIT;
    grv_backup_report report;
    grv_store *store = rig_open("kv:");
    assert_grv_status(back_up(store, "b", false, &report, &error), GRV_UNSUPPORTED);
    grv_store_close(store);
    grv_store_close(open_named("s", false, true, false));
    store = open_named("s", false, false, true);
    assert_grv_status(back_up(store, "b", false, &report, &error), GRV_UNSUPPORTED);
    grv_store_close(store);
    struct stat st;
    char path[400];
    snprintf(path, sizeof path, "%s/b", directory);
    assert_int_equal(stat(path, &st), -1);
    store = open_named("s", false, false, false);
    grv_cancel cancel = {0};
    grv_cancel_raise(&cancel);
    const grv_call call = {.cancel = &cancel};
    const grv_backup_config config = {.directory = path};
    assert_grv_status(grv_store_backup(&call, store, &config, &report, &error), GRV_CANCELLED);
    grv_store_close(store);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(what_was_put_just_now_is_in_it, setup, teardown),
        cmocka_unit_test_setup_teardown(puts_go_on_beside_it, setup, teardown),
        cmocka_unit_test_setup_teardown(one_job_at_a_time, setup, teardown),
        cmocka_unit_test_setup_teardown(what_cannot_be_backed_up, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
