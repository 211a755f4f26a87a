/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The block store on files where it differs from others: what it does in which order, what a failed
 * sync leaves, and files that are not as it left them. What every block store does is checked by
 * tests/conformance/block_store.c.
 */
#include "test.h"

#include "backend/fs/fs.h"
#include "fs_calls.h"
#include "temp.h"

static const grv_fs_tuning small = {.group_bytes = 1u << 20, .group_files = 10, .list_window = 7};

typedef struct fixture {
    char dir[256];
    grv_block_store *store;
} fixture;

static grv_block_store *store_open(const char *dir)
{
    grv_error error = GRV_ERROR_INIT;
    grv_block_store *store = NULL;
    grv_fs_config config = {.root = dir, .create = true};
    assert_grv_ok(grv_fs_new(&config, &small, &store, &error));
    return store;
}

static int setup(void **state)
{
    fixture *f = calloc(1, sizeof *f);
    assert_non_null(f);
    test_temp_make(f->dir);
    calls_begin();
    f->store = store_open(f->dir);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    fixture *f = *state;
    grv_block_store_free(f->store);
    calls_end();
    test_temp_remove(f->dir);
    free(f);
    return 0;
}

/* A block of 24 bytes that say which one it is. */
typedef struct made {
    uint8_t data[24];
    grv_block block;
} made;

static void make(made *m, uint64_t number)
{
    grv_error error = GRV_ERROR_INIT;
    test_random_fill(&number, m->data, sizeof m->data);
    m->block = (grv_block){.key.size = sizeof m->data, .bytes = {m->data, sizeof m->data}};
    assert_grv_ok(grv_digest_of(GRV_HASH_BLAKE3, m->block.bytes, &m->block.key.digest, &error));
}

static grv_block_batch *batch_open(grv_block_store *store)
{
    grv_error error = GRV_ERROR_INIT;
    grv_block_batch *batch = NULL;
    assert_grv_ok(grv_block_store_open_batch(NULL, store, &batch, &error));
    return batch;
}

/* Puts the blocks numbered [first, first + count) into a batch. */
static grv_status put_numbers(grv_block_batch *batch, uint64_t first, size_t count,
                              grv_error *error)
{
    for (uint64_t i = first; i < first + count; i++) {
        made m;
        make(&m, i);
        grv_status status = grv_block_batch_put(NULL, batch, &m.block, 1, NULL, error);
        if (status) {
            return status;
        }
    }
    return GRV_OK;
}

static grv_status commit(grv_block_batch *batch, grv_error *error)
{
    static _Thread_local grv_block_result results[256];
    return grv_block_batch_commit(NULL, batch, GRV_DURABLE, results, batch->count, error);
}

/* Puts and commits numbered blocks: the first failure, or GRV_OK. */
static grv_status store_numbers(grv_block_store *store, uint64_t first, size_t count,
                                grv_error *error)
{
    grv_block_batch *batch = batch_open(store);
    grv_status status = put_numbers(batch, first, count, error);
    if (!status) {
        status = commit(batch, error);
    }
    grv_block_batch_free(batch);
    return status;
}

static grv_status get_number(grv_block_store *store, uint64_t number, grv_error *error)
{
    made m;
    make(&m, number);
    uint8_t back[sizeof m.data];
    grv_span span = {back, sizeof back};
    grv_status one = GRV_INTERNAL;
    grv_status status = grv_block_store_get(NULL, store, &m.block.key, &span, 1, &one, error);
    assert_int_equal(status, one);
    if (!status) {
        assert_memory_equal(back, m.data, sizeof back);
    }
    return status;
}

static bool number_is_missing(grv_block_store *store, uint64_t number)
{
    grv_error error = GRV_ERROR_INIT;
    made m;
    make(&m, number);
    bool missing = false;
    assert_grv_ok(grv_block_store_missing(NULL, store, &m.block.key, 1, &missing, &error));
    return missing;
}

/* The path of something in the store; static storage. */
static const char *path_of(const fixture *f, const char *name)
{
    static char path[600];
    snprintf(path, sizeof path, "%s/cas/blocks/%s", f->dir, name);
    return path;
}

static const char *path_of_number(const fixture *f, uint64_t number)
{
    made m;
    char name[GRV_BLOCK_NAME_SIZE];
    char relative[GRV_BLOCK_NAME_SIZE + 8];
    make(&m, number);
    grv_block_name_print(&m.block.key, name);
    snprintf(relative, sizeof relative, "blake3/%s", name);
    return path_of(f, relative);
}

static void write_file(const char *path, const void *data, size_t size)
{
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(data, 1, size, file), size);
    assert_int_equal(fclose(file), 0);
}

static size_t count_entries(const char *path)
{
    DIR *entries = opendir(path);
    assert_non_null(entries);
    size_t count = 0;
    for (struct dirent *entry; (entry = readdir(entries));) {
        count += strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0;
    }
    closedir(entries);
    return count;
}

static bool number_is_durable(uint64_t number)
{
    made m;
    char name[GRV_BLOCK_NAME_SIZE];
    make(&m, number);
    grv_block_name_print(&m.block.key, name);
    return calls_is_durable(name);
}

/* ---- order ---- */

static void names_come_after_data_and_ok_after_names(void **state)
{
    fixture *f = *state;
    grv_error error = GRV_ERROR_INIT;
    uint64_t next = 0;
    static const size_t counts[] = {1, 4, 5, 10, 11, 35, 2};
    for (size_t i = 0; i < sizeof counts / sizeof counts[0]; i++) {
        assert_grv_ok(store_numbers(f->store, next, counts[i], &error));
        for (size_t k = 0; k < counts[i]; k++) {
            assert_true(number_is_durable(next + k));
        }
        next += counts[i];
    }
    assert_int_equal(calls.early_renames, 0);
    assert_true(calls.counts[CALLS_FDATASYNC] > 0);
    assert_true(calls.counts[CALLS_SYNCFS] > 0);
    assert_int_equal(calls.counts[CALLS_RENAMEAT], next);
    assert_int_equal(count_entries(path_of(f, ".tmp")), 0);
}

typedef struct committer {
    grv_block_store *store;
    pthread_barrier_t *barrier;
    uint64_t first;
    size_t count;
    size_t rounds;
    grv_status status;
    bool durable;
} committer;

static void *committer_run(void *argument)
{
    committer *c = argument;
    c->durable = true;
    if (c->barrier) {
        pthread_barrier_wait(c->barrier);
    }
    for (size_t round = 0; round < c->rounds && !c->status; round++) {
        uint64_t first = c->first + round * c->count;
        c->status = store_numbers(c->store, first, c->count, NULL);
        for (size_t i = 0; i < c->count && !c->status; i++) {
            c->durable &= number_is_durable(first + i);
        }
    }
    return NULL;
}

static void committers_run(committer committers[], size_t count)
{
    pthread_t threads[32];
    for (size_t i = 0; i < count; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, committer_run, &committers[i]), 0);
    }
    for (size_t i = 0; i < count; i++) {
        assert_int_equal(pthread_join(threads[i], NULL), 0);
        assert_grv_status(committers[i].status, GRV_OK);
        assert_true(committers[i].durable);
    }
}

static void order_holds_among_threads(void **state)
{
    fixture *f = *state;
    committer committers[6];
    for (size_t i = 0; i < 6; i++) {
        /* Every second one brings blocks that its neighbour brings too. */
        committers[i] =
            (committer){.store = f->store, .first = i / 2 * 1000, .count = 3 + 5 * i, .rounds = 4};
    }
    committers_run(committers, 6);
    assert_int_equal(calls.early_renames, 0);
}

static void commits_at_once_share_syncs(void **state)
{
    fixture *f = *state;
    enum { THREADS = 16 };
    pthread_barrier_t barrier;
    assert_int_equal(pthread_barrier_init(&barrier, NULL, THREADS), 0);
    committer committers[THREADS];
    for (size_t i = 0; i < THREADS; i++) {
        committers[i] = (committer){
            .store = f->store, .barrier = &barrier, .first = 100 * i, .count = 1, .rounds = 1};
    }
    calls.sync_awaits = THREADS; /* all others have come by the time the first sync ends */
    committers_run(committers, THREADS);
    pthread_barrier_destroy(&barrier);
    assert_int_equal(calls.early_renames, 0);
    /* Without sharing it would be one of each a thread. */
    assert_in_range(calls.counts[CALLS_FDATASYNC] + calls.counts[CALLS_SYNCFS], 1, THREADS / 2);
    assert_in_range(calls.counts[CALLS_FSYNC], 1, THREADS / 2);
}

static void known_blocks_are_settled_before_they_are_relied_on(void **state)
{
    fixture *f = *state;
    grv_error error = GRV_ERROR_INIT;
    made m;
    make(&m, 1);
    assert_grv_ok(store_numbers(f->store, 0, 1, &error));
    /* As another process leaves it that renamed and was killed: visible, perhaps not durable. */
    write_file(path_of_number(f, 1), m.data, sizeof m.data);
    size_t before = calls.counts[CALLS_FSYNC];
    assert_false(number_is_missing(f->store, 1));
    assert_int_equal(calls.counts[CALLS_FSYNC], before);
    assert_grv_ok(store_numbers(f->store, 0, 0, &error)); /* the batch that makes it durable */
    assert_true(calls.counts[CALLS_FSYNC] > before);

    /* Once the directory has been at rest, known blocks cost no sync. */
    usleep(150000);
    assert_grv_ok(store_numbers(f->store, 0, 0, &error));
    before = calls.counts[CALLS_FSYNC];
    assert_grv_ok(store_numbers(f->store, 0, 2, &error));
    assert_int_equal(calls.counts[CALLS_FSYNC], before);

    make(&m, 2);
    write_file(path_of_number(f, 2), m.data, sizeof m.data);
    assert_grv_ok(store_numbers(f->store, 2, 1, &error));
    assert_int_equal(calls.counts[CALLS_FSYNC], before + 1);
    assert_int_equal(calls.counts[CALLS_RENAMEAT], 1);
}

/* Equal stamps say nothing while they are recent: a change in the same clock tick gets the same. */
static void a_directory_that_just_changed_is_settled_every_time(void **state)
{
    fixture *f = *state;
    grv_error error = GRV_ERROR_INIT;
    calls.stamps_ahead = true;
    assert_grv_ok(store_numbers(f->store, 0, 1, &error));
    for (size_t i = 0; i < 3; i++) {
        size_t before = calls.counts[CALLS_FSYNC];
        assert_grv_ok(store_numbers(f->store, 0, 0, &error));
        assert_int_equal(calls.counts[CALLS_FSYNC], before + 1);
    }
}

/* ---- failures ---- */

static void check_failed_sync(fixture *f, calls_kind kind, size_t count)
{
    grv_error error = GRV_ERROR_INIT;
    calls_fail(kind, 1, false, EIO);
    grv_block_batch *batch = batch_open(f->store);
    assert_grv_ok(put_numbers(batch, 0, count, &error));
    size_t before = calls.counts[kind];
    assert_grv_status(commit(batch, &error), GRV_UNAVAILABLE);
    assert_int_equal(error.native_code, EIO);
    assert_int_equal(calls.counts[kind], before + 1); /* never tried again */
    grv_block_batch_free(batch);
    for (size_t i = 0; i < count; i++) {
        assert_true(number_is_missing(f->store, i));
    }
    assert_int_equal(count_entries(path_of(f, "blake3")), 0);
    assert_int_equal(count_entries(path_of(f, ".tmp")), 0);

    assert_grv_ok(store_numbers(f->store, 0, count, &error));
    for (size_t i = 0; i < count; i++) {
        assert_true(number_is_durable(i));
    }
    assert_int_equal(calls.early_renames, 0);
}

static void a_failed_sync_of_a_few_fails_the_commit(void **state)
{
    check_failed_sync(*state, CALLS_FDATASYNC, 3);
}

static void a_failed_sync_of_many_fails_the_commit(void **state)
{
    check_failed_sync(*state, CALLS_SYNCFS, 8);
}

static void a_failed_sync_gives_up_all_that_was_written_before(void **state)
{
    fixture *f = *state;
    grv_error error = GRV_ERROR_INIT;
    grv_block_batch *bystander = batch_open(f->store);
    assert_grv_ok(put_numbers(bystander, 0, 6, &error));
    calls_fail(CALLS_SYNCFS, 1, false, ENOSPC);
    assert_grv_status(store_numbers(f->store, 100, 6, &error), GRV_OUT_OF_SPACE);
    /* The system told the failure once, to the other batch; it may have been about these files. */
    assert_grv_status(commit(bystander, &error), GRV_UNAVAILABLE);
    grv_block_batch_free(bystander);
    assert_int_equal(count_entries(path_of(f, "blake3")), 0);
    assert_grv_ok(store_numbers(f->store, 0, 6, &error));
}

static void an_early_groups_failure_fails_the_commit(void **state)
{
    fixture *f = *state;
    grv_error error = GRV_ERROR_INIT;
    calls_fail(CALLS_SYNCFS, 1, false, EIO);
    assert_grv_status(store_numbers(f->store, 0, 35, &error), GRV_UNAVAILABLE);
    assert_int_equal(count_entries(path_of(f, ".tmp")), 0);
    for (uint64_t i = 0; i < 10; i++) {
        assert_true(number_is_missing(f->store, i));
    }
}

static void a_failed_directory_sync_is_final(void **state)
{
    fixture *f = *state;
    grv_error error = GRV_ERROR_INIT;
    assert_grv_ok(store_numbers(f->store, 0, 1, &error));
    calls_fail(CALLS_FSYNC, 1, false, EIO);
    assert_grv_status(store_numbers(f->store, 1, 1, &error), GRV_UNAVAILABLE);
    size_t before = calls.counts[CALLS_FSYNC];
    assert_grv_status(store_numbers(f->store, 2, 1, &error), GRV_UNAVAILABLE);
    assert_grv_status(store_numbers(f->store, 1, 1, &error), GRV_UNAVAILABLE);
    assert_int_equal(error.native_code, EIO);
    assert_int_equal(calls.counts[CALLS_FSYNC], before);
    assert_grv_ok(get_number(f->store, 0, &error));

    grv_block_store_free(f->store);
    f->store = store_open(f->dir);
    assert_grv_ok(store_numbers(f->store, 1, 2, &error));
}

static void a_failed_write_or_rename_leaves_nothing_behind(void **state)
{
    fixture *f = *state;
    grv_error error = GRV_ERROR_INIT;
    calls_fail(CALLS_WRITE, 3, false, ENOSPC);
    grv_block_batch *batch = batch_open(f->store);
    assert_grv_status(put_numbers(batch, 0, 5, &error), GRV_OUT_OF_SPACE);
    assert_grv_status(put_numbers(batch, 0, 1, &error), GRV_OUT_OF_SPACE);
    assert_grv_status(commit(batch, &error), GRV_OUT_OF_SPACE);
    grv_block_batch_free(batch);
    assert_int_equal(count_entries(path_of(f, ".tmp")), 0);

    calls_fail(CALLS_RENAMEAT, 2, false, EACCES);
    assert_grv_status(store_numbers(f->store, 0, 5, &error), GRV_PERMISSION);
    assert_int_equal(count_entries(path_of(f, ".tmp")), 0);
    assert_grv_ok(store_numbers(f->store, 0, 5, &error));
}

static void pieces_and_interruptions_are_no_failures(void **state)
{
    fixture *f = *state;
    grv_error error = GRV_ERROR_INIT;
    calls.write_in_pieces = true;
    calls_fail(CALLS_PREAD, 1, false, EINTR);
    assert_grv_ok(store_numbers(f->store, 0, 5, &error));
    for (uint64_t i = 0; i < 5; i++) {
        assert_grv_ok(get_number(f->store, i, &error));
    }
}

static void an_unreadable_sector_is_not_corruption(void **state)
{
    fixture *f = *state;
    grv_error error = GRV_ERROR_INIT;
    assert_grv_ok(store_numbers(f->store, 0, 1, &error));
    calls_fail(CALLS_PREAD, 1, false, EIO);
    assert_grv_status(get_number(f->store, 0, &error), GRV_UNAVAILABLE);
    assert_int_equal(error.native_code, EIO);
    assert_grv_ok(get_number(f->store, 0, &error));
}

static void a_cancelled_commit_leaves_no_temporary_file(void **state)
{
    fixture *f = *state;
    grv_error error = GRV_ERROR_INIT;
    calls.sync_us = 2000000; /* the deadline is passed while it lasts */
    grv_block_batch *batch = batch_open(f->store);
    assert_grv_ok(put_numbers(batch, 0, 8, &error));
    grv_block_result results[8];
    grv_call call = {.deadline_ns = grv_now_ns() + 10000000};
    assert_grv_status(grv_block_batch_commit(&call, batch, GRV_DURABLE, results, 8, &error),
                      GRV_TIMEOUT);
    grv_block_batch_free(batch);
    assert_int_equal(count_entries(path_of(f, ".tmp")), 0);
    assert_int_equal(count_entries(path_of(f, "blake3")), 0);
}

static void a_batch_freed_early_leaves_no_temporary_file(void **state)
{
    fixture *f = *state;
    grv_error error = GRV_ERROR_INIT;
    calls.sync_us = 20000;
    grv_block_batch *batch = batch_open(f->store);
    assert_grv_ok(put_numbers(batch, 0, 37, &error));
    grv_block_batch_free(batch);
    assert_int_equal(count_entries(path_of(f, ".tmp")), 0);
}

/* ---- files that are not as they were left ---- */

static void check_healed(fixture *f, uint64_t number)
{
    grv_error error = GRV_ERROR_INIT;
    made m;
    make(&m, number);
    char text[GRV_KEY_TEXT_SIZE];
    grv_block_key_print(&m.block.key, text);
    assert_grv_status(get_number(f->store, number, &error), GRV_CORRUPT);
    assert_non_null(strstr(error.message, text));
    assert_true(number_is_missing(f->store, number));
    assert_grv_ok(store_numbers(f->store, number, 1, &error));
    assert_grv_ok(get_number(f->store, number, &error));
    assert_false(number_is_missing(f->store, number));
}

static void a_file_of_another_size_is_corrupt_and_put_heals_it(void **state)
{
    fixture *f = *state;
    grv_error error = GRV_ERROR_INIT;
    assert_grv_ok(store_numbers(f->store, 0, 4, &error));
    assert_int_equal(truncate(path_of_number(f, 0), 23), 0);
    check_healed(f, 0);
    assert_int_equal(truncate(path_of_number(f, 1), 0), 0);
    check_healed(f, 1);
    assert_int_equal(truncate(path_of_number(f, 2), 25), 0);
    check_healed(f, 2);
    const char *path = path_of_number(f, 3);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(symlink("/dev/zero", path), 0);
    check_healed(f, 3);
    assert_int_equal(unlink(path_of_number(f, 3)), 0);
    assert_int_equal(mkfifo(path_of_number(f, 3), 0600), 0);
    check_healed(f, 3);
}

static void a_directory_that_is_none_is_not_an_absent_block(void **state)
{
    fixture *f = *state;
    grv_error error = GRV_ERROR_INIT;
    assert_true(number_is_missing(f->store, 0));
    write_file(path_of(f, "blake3"), "x", 1);
    made m;
    make(&m, 0);
    bool missing = false;
    assert_grv_status(grv_block_store_missing(NULL, f->store, &m.block.key, 1, &missing, &error),
                      GRV_INVALID_ARGUMENT);
    assert_false(missing);
    assert_grv_status(get_number(f->store, 0, &error), GRV_INVALID_ARGUMENT);
    assert_grv_status(store_numbers(f->store, 0, 1, &error), GRV_INVALID_ARGUMENT);
    grv_block_stats stats;
    assert_grv_status(grv_block_store_stats(NULL, f->store, &stats, &error), GRV_INVALID_ARGUMENT);
    assert_int_equal(unlink(path_of(f, "blake3")), 0);
    assert_grv_ok(store_numbers(f->store, 0, 1, &error));
}

static bool readdir_fails;

static struct dirent *failing_readdir(DIR *entries)
{
    if (readdir_fails) {
        errno = EIO;
        return NULL;
    }
    return readdir(entries);
}

/* Its second window cannot be read: what follows is unknown, and must not look like the end. */
static void a_list_that_failed_never_ends_cleanly(void **state)
{
    fixture *f = *state;
    grv_error error = GRV_ERROR_INIT;
    assert_grv_ok(store_numbers(f->store, 0, 20, &error));
    calls_ops.readdir = failing_readdir;
    grv_block_cursor *cursor = NULL;
    grv_block_entry entries[7];
    size_t count = 0;
    assert_grv_ok(grv_block_store_open_list(NULL, f->store, NULL, &cursor, &error));
    assert_grv_ok(grv_block_cursor_next(NULL, cursor, entries, 7, &count, &error));
    assert_int_equal(count, 7);
    readdir_fails = true;
    assert_grv_status(grv_block_cursor_next(NULL, cursor, entries, 7, &count, &error),
                      GRV_UNAVAILABLE);
    readdir_fails = false;
    assert_grv_status(grv_block_cursor_next(NULL, cursor, entries, 7, &count, &error),
                      GRV_UNAVAILABLE);
    grv_block_cursor_free(cursor);
}

static void lists_pass_over_foreign_names_in_small_windows(void **state)
{
    fixture *f = *state;
    enum { COUNT = 40 };
    grv_error error = GRV_ERROR_INIT;
    assert_grv_ok(store_numbers(f->store, 0, COUNT, &error));
#define HEX62 "00112233445566778899aabbccddeeff00112233445566778899aabbccddee"
    static const char *const foreign[] = {
        "blake3/README",
        "blake3/" HEX62 "ff-0",
        "blake3/" HEX62 "ff-016",
        "blake3/" HEX62 "FF-1",
        "blake3/" HEX62 "ff",
        "blake3/" HEX62 "ff-16777217",
        "blake3/" HEX62 "f-1",
        "blake3/" HEX62 "ff-1.tmp",
        "blake3/" HEX62 "ff-4294967297",
        "blake3/.x",
        "blake3/" HEX62 "ff-1 ",
        "blake3/-1",
        "md5",
        "blake3/" HEX62 "fff-1",
        "blake3/" HEX62 "ff--1",
    };
    for (size_t i = 0; i < sizeof foreign / sizeof foreign[0]; i++) {
        write_file(path_of(f, foreign[i]), "?", 1);
    }
    grv_block_cursor *cursor = NULL;
    assert_grv_ok(grv_block_store_open_list(NULL, f->store, NULL, &cursor, &error));
    grv_block_entry all[COUNT + 5];
    size_t total = 0;
    size_t count = 1;
    while (count > 0) {
        assert_true(total <= COUNT);
        assert_grv_ok(grv_block_cursor_next(NULL, cursor, all + total, 5, &count, &error));
        total += count;
    }
    grv_block_cursor_free(cursor);
    assert_int_equal(total, COUNT);
    for (size_t i = 0; i < COUNT; i++) {
        assert_int_equal(all[i].stored_size, 24);
        assert_true(i == 0 || grv_block_key_compare(&all[i - 1].key, &all[i].key) < 0);
    }
    grv_block_entry rest[COUNT];
    assert_grv_ok(grv_block_store_open_list(NULL, f->store, &all[30].key, &cursor, &error));
    assert_grv_ok(grv_block_cursor_next(NULL, cursor, rest, 3, &count, &error));
    assert_int_equal(count, 3);
    assert_int_equal(grv_block_key_compare(&rest[0].key, &all[31].key), 0);
    grv_block_cursor_free(cursor);
    grv_block_stats stats;
    assert_grv_ok(grv_block_store_stats(NULL, f->store, &stats, &error));
    assert_int_equal(stats.blocks, COUNT);
    assert_int_equal(stats.stored_bytes, COUNT * 24);
}

static void a_superblock_too_large_is_corrupt(void **state)
{
    fixture *f = *state;
    grv_error error = GRV_ERROR_INIT;
    char path[300];
    snprintf(path, sizeof path, "%s/graviton.json", f->dir);
    static uint8_t large[GRV_SUPERBLOCK_MAX + 1];
    write_file(path, large, sizeof large);
    grv_buffer out;
    grv_buffer_init(&out, 1u << 20);
    assert_grv_status(grv_block_store_superblock_get(NULL, f->store, &out, &error), GRV_CORRUPT);
    assert_int_equal(out.size, 0);
    grv_buffer_done(&out);
}

/* ---- opening ---- */

static void opening_without_create_makes_nothing(void **state)
{
    fixture *f = *state;
    grv_error error = GRV_ERROR_INIT;
    char root[300];
    snprintf(root, sizeof root, "%s/none/such", f->dir);
    grv_fs_config config = {.root = root};
    grv_block_store *store = NULL;
    size_t before = count_entries(f->dir);
    assert_grv_status(grv_block_store_fs_new(&config, &store, &error), GRV_NOT_FOUND);
    assert_non_null(strstr(error.message, root));
    config = (grv_fs_config){.root = f->dir, .prefix = "other"};
    assert_grv_status(grv_block_store_fs_new(&config, &store, &error), GRV_NOT_FOUND);
    assert_int_equal(count_entries(f->dir), before);
    assert_null(store);
    config = (grv_fs_config){.root = root, .prefix = "a/b", .create = true};
    assert_grv_ok(grv_block_store_fs_new(&config, &store, &error));
    grv_block_store_free(store);
    config.create = false;
    assert_grv_ok(grv_block_store_fs_new(&config, &store, &error));
    grv_block_store_free(store);
}

static void bad_prefixes_are_refused(void **state)
{
    fixture *f = *state;
    grv_error error = GRV_ERROR_INIT;
    static const char *const bad[] = {"", "/", "/a", "a/", "a//b", "..", "a/../b", ".", "a/."};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        grv_fs_config config = {.root = f->dir, .prefix = bad[i], .create = true};
        grv_block_store *store = NULL;
        assert_grv_status(grv_block_store_fs_new(&config, &store, &error), GRV_INVALID_ARGUMENT);
        assert_null(store);
    }
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(names_come_after_data_and_ok_after_names),
        TEST(order_holds_among_threads),
        TEST(commits_at_once_share_syncs),
        TEST(known_blocks_are_settled_before_they_are_relied_on),
        TEST(a_directory_that_just_changed_is_settled_every_time),
        TEST(a_failed_sync_of_a_few_fails_the_commit),
        TEST(a_failed_sync_of_many_fails_the_commit),
        TEST(a_failed_sync_gives_up_all_that_was_written_before),
        TEST(an_early_groups_failure_fails_the_commit),
        TEST(a_failed_directory_sync_is_final),
        TEST(a_failed_write_or_rename_leaves_nothing_behind),
        TEST(pieces_and_interruptions_are_no_failures),
        TEST(an_unreadable_sector_is_not_corruption),
        TEST(a_cancelled_commit_leaves_no_temporary_file),
        TEST(a_batch_freed_early_leaves_no_temporary_file),
        TEST(a_file_of_another_size_is_corrupt_and_put_heals_it),
        TEST(a_directory_that_is_none_is_not_an_absent_block),
        TEST(lists_pass_over_foreign_names_in_small_windows),
        TEST(a_list_that_failed_never_ends_cleanly),
        TEST(a_superblock_too_large_is_corrupt),
        TEST(opening_without_create_makes_nothing),
        TEST(bad_prefixes_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
