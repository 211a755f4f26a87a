/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A full disk under a store that stays open: what is refused before RocksDB sees it, what the
 * reserve is for, and that a database RocksDB gave up is opened again inside the store. The disk
 * is a small tmpfs in a mount namespace of this process's own. A file table that claims there is
 * room lets RocksDB run into the end of the disk.
 */
#include "test.h"

#include "os/file.h"
#include "temp.h"

#include <errno.h>
#include <fcntl.h>
#include <graviton/backend/rocks.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define NAMESPACE_MARKER "GRAVITON_TEST_NAMESPACE"
#define NAMESPACES       2u
#define RESERVE          ((uint64_t)4 << 20)
#define LARGE            (100u << 10)

static const char *const names[NAMESPACES] = {"root", "page"};
static char disk[256];
static char directory[300];
static char filler[300];
static bool claim_room;

/* ---- The disk ---- */

static int claiming_fstatvfs(int fd, struct statvfs *ret_stat)
{
    int failed = fstatvfs(fd, ret_stat);
    if (__atomic_load_n(&claim_room, __ATOMIC_RELAXED)) {
        ret_stat->f_bavail = ret_stat->f_blocks;
    }
    return failed;
}

static uint64_t disk_free(void)
{
    struct statvfs st;
    assert_int_equal(statvfs(disk, &st), 0);
    return (uint64_t)st.f_bavail * st.f_frsize;
}

static void disk_fill(void)
{
    static const uint8_t zeros[65536];
    int fd = open(filler, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
    assert_true(fd >= 0);
    while (write(fd, zeros, sizeof zeros) > 0) {
    }
    assert_int_equal(errno, ENOSPC);
    close(fd);
}

static void disk_empty(void)
{
    assert_int_equal(unlink(filler), 0);
}

static uint64_t reserve_held(void)
{
    char path[320];
    struct stat st;
    snprintf(path, sizeof path, "%s/reserve", directory);
    assert_int_equal(stat(path, &st), 0);
    return (uint64_t)st.st_blocks * 512;
}

static int setup(void **state)
{
    (void)state;
    test_temp_make(disk);
    assert_int_equal(mount("none", disk, "tmpfs", 0, "size=64m"), 0);
    snprintf(directory, sizeof directory, "%s/meta", disk);
    snprintf(filler, sizeof filler, "%s/filler", disk);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    __atomic_store_n(&claim_room, false, __ATOMIC_RELAXED);
    umount2(disk, MNT_DETACH);
    test_temp_remove(disk);
    return 0;
}

/* ---- The store ---- */

static grv_kv *open_store(bool create, bool use_reserve, grv_status want)
{
    static const uint64_t reserve = RESERVE;
    const grv_rocks_config config = {.directory = directory,
                                     .namespaces = names,
                                     .namespace_count = NAMESPACES,
                                     .create = create,
                                     .reserve_bytes = create ? &reserve : NULL,
                                     .use_reserve = use_reserve,
                                     .write_buffer_bytes = 1 << 20};
    grv_error error = GRV_ERROR_INIT;
    grv_kv *kv = NULL;
    grv_status status = grv_kv_rocks_new(&config, &kv, &error);
    if (status != want) {
        fail_msg("open: %s, %s", grv_status_name(status), error.message);
    }
    return kv;
}

static grv_status put_number(grv_kv *kv, uint32_t number, size_t size, grv_error *error)
{
    static uint8_t value[LARGE];
    uint64_t seed = number;
    test_random_fill(&seed, value, size);
    const uint8_t key[4] = {(uint8_t)(number >> 24), (uint8_t)(number >> 16),
                            (uint8_t)(number >> 8), (uint8_t)number};
    const grv_kv_op op = {.kind = GRV_KV_PUT, .ns = 1, .key = {key, 4}, .value = {value, size}};
    const grv_kv_batch batch = {
        .ops = &op, .op_count = 1, .durability = number % 3 ? GRV_ORDERED : GRV_DURABLE};
    return grv_kv_write(NULL, kv, &batch, error);
}

static grv_status remove_number(grv_kv *kv, uint32_t number, grv_error *error)
{
    const uint8_t key[4] = {(uint8_t)(number >> 24), (uint8_t)(number >> 16),
                            (uint8_t)(number >> 8), (uint8_t)number};
    const grv_kv_op op = {.kind = GRV_KV_DELETE, .ns = 1, .key = {key, 4}};
    const grv_kv_guard guard = {.kind = GRV_KV_PRESENT, .ns = 1, .key = {key, 4}};
    const grv_kv_batch batch = {.ops = &op,
                                .op_count = 1,
                                .guards = &guard,
                                .guard_count = 1,
                                .durability = GRV_DURABLE,
                                .frees = true};
    return grv_kv_write(NULL, kv, &batch, error);
}

static bool has_number(grv_kv *kv, uint32_t number, size_t size)
{
    static _Thread_local uint8_t want[LARGE];
    uint64_t seed = number;
    test_random_fill(&seed, want, size);
    const uint8_t key[4] = {(uint8_t)(number >> 24), (uint8_t)(number >> 16),
                            (uint8_t)(number >> 8), (uint8_t)number};
    grv_value value = {0};
    grv_error error = GRV_ERROR_INIT;
    grv_status status = grv_kv_get(NULL, kv, 1, grv_bytes_of(key, 4), &value, &error);
    if (status == GRV_NOT_FOUND) {
        return false;
    }
    if (status) {
        fail_msg("get %u: %s", number, error.message);
    }
    assert_int_equal(grv_bytes_compare(value.bytes, grv_bytes_of(want, size)), 0);
    grv_value_done(&value);
    return true;
}

/* Writes while RocksDB believes in room, until it finds none. The numbers written are `*next` up to
 * its new value. */
static void run_into_the_end(grv_kv *kv, uint32_t *next)
{
    grv_error error = GRV_ERROR_INIT;
    grv_status status = GRV_OK;
    __atomic_store_n(&claim_room, true, __ATOMIC_RELAXED);
    while (!status) {
        status = put_number(kv, *next, LARGE, &error);
        *next += status == GRV_OK;
    }
    __atomic_store_n(&claim_room, false, __ATOMIC_RELAXED);
    assert_int_equal(status, GRV_OUT_OF_SPACE);
    assert_non_null(strstr(error.message, "RocksDB"));
}

/* ---- Tests ---- */

static void adding_is_refused_and_the_store_stays_good(void **state)
{
    (void)state;
    grv_error error = GRV_ERROR_INIT;
    grv_kv *kv = open_store(true, false, GRV_OK);
    assert_true(reserve_held() == RESERVE);
    assert_grv_ok(put_number(kv, 1, LARGE, &error));
    disk_fill();
    assert_grv_status(put_number(kv, 2, 10, &error), GRV_OUT_OF_SPACE);
    const grv_kv_batch nothing = {.durability = GRV_ORDERED};
    assert_grv_status(grv_kv_write(NULL, kv, &nothing, &error), GRV_OUT_OF_SPACE);
    assert_true(reserve_held() == RESERVE);
    assert_true(has_number(kv, 1, LARGE));
    disk_empty();
    assert_grv_ok(put_number(kv, 2, 10, &error));
    assert_grv_ok(grv_kv_write(NULL, kv, &nothing, &error));
    grv_kv_free(kv);
}

static void removing_uses_the_reserve_and_adding_waits_for_it(void **state)
{
    (void)state;
    grv_error error = GRV_ERROR_INIT;
    grv_kv *kv = open_store(true, false, GRV_OK);
    assert_grv_ok(put_number(kv, 1, LARGE, &error));
    disk_fill();
    assert_grv_ok(remove_number(kv, 1, &error));
    assert_int_equal(reserve_held(), 0);
    assert_true(disk_free() > RESERVE / 2);
    assert_grv_status(put_number(kv, 2, 10, &error), GRV_OUT_OF_SPACE);
    assert_non_null(strstr(error.message, "its reserve holds 0 of"));
    disk_empty();
    assert_grv_ok(put_number(kv, 2, 10, &error));
    assert_true(reserve_held() == RESERVE);
    grv_kv_free(kv);
}

static void opening_on_a_full_disk(void **state)
{
    (void)state;
    grv_error error = GRV_ERROR_INIT;
    grv_kv *kv = open_store(true, false, GRV_OK);
    assert_grv_ok(put_number(kv, 1, LARGE, &error));
    assert_grv_ok(put_number(kv, 2, 10, &error));
    grv_kv_free(kv);
    disk_fill();
    assert_null(open_store(false, false, GRV_OUT_OF_SPACE));
    assert_true(reserve_held() == RESERVE);
    kv = open_store(false, true, GRV_OK);
    assert_grv_ok(remove_number(kv, 1, &error));
    assert_grv_status(put_number(kv, 3, 10, &error), GRV_OUT_OF_SPACE);
    grv_kv_free(kv);
    /* Most of what it gave is taken back at once, so that nobody else takes it. */
    assert_true(reserve_held() > RESERVE / 2);
    assert_null(open_store(false, false, GRV_OUT_OF_SPACE));
    disk_empty();
    kv = open_store(false, false, GRV_OK);
    assert_true(reserve_held() == RESERVE);
    assert_false(has_number(kv, 1, LARGE));
    assert_true(has_number(kv, 2, 10));
    grv_kv_free(kv);
}

static void a_database_given_up_is_opened_again(void **state)
{
    (void)state;
    grv_error error = GRV_ERROR_INIT;
    grv_kv *kv = open_store(true, false, GRV_OK);
    uint32_t count = 0;
    run_into_the_end(kv, &count);
    assert_true(count > 100);
    disk_fill();
    for (uint32_t number = 0; number < count; number++) {
        assert_true(has_number(kv, number, LARGE));
    }
    assert_grv_status(put_number(kv, count, 10, &error), GRV_OUT_OF_SPACE);
    /* A removal opens it again, with the reserve. */
    assert_grv_ok(remove_number(kv, 0, &error));
    for (uint32_t number = 0; number < count; number++) {
        assert_int_equal(has_number(kv, number, LARGE), number > 0);
    }
    /* It left much behind, which a thread of its own removes in its time. */
    grv_status full = GRV_OK;
    for (unsigned tries = 0; full == GRV_OK && tries < 100; tries++) {
        disk_fill();
        full = put_number(kv, count, 10, &error);
    }
    assert_int_equal(full, GRV_OUT_OF_SPACE);
    disk_empty();
    /* RocksDB's own files fill most of the disk still; without them all is as before. */
    for (uint32_t number = 1; number < count; number++) {
        assert_grv_ok(remove_number(kv, number, &error));
    }
    grv_kv_free(kv);
    kv = open_store(false, true, GRV_OK);
    for (uint32_t number = 0; number < count; number++) {
        assert_false(has_number(kv, number, LARGE));
    }
    grv_kv_free(kv);
}

static void what_is_lent_keeps_the_database_open(void **state)
{
    (void)state;
    static const uint8_t key[4] = {0, 0, 0, 0};
    grv_error error = GRV_ERROR_INIT;
    grv_kv *kv = open_store(true, false, GRV_OK);
    char other[320];
    snprintf(other, sizeof other, "%s/other", disk);
    int fd = open(other, O_WRONLY | O_CREAT | O_CLOEXEC, 0666);
    assert_true(fd >= 0);
    assert_int_equal(posix_fallocate(fd, 0, 40 << 20), 0);
    close(fd);
    uint32_t count = 0;
    run_into_the_end(kv, &count);
    grv_value value = {0};
    const grv_kv_scan scan = {.ns = 1};
    grv_kv_cursor *cursor = NULL;
    grv_kv_item item;
    assert_grv_ok(grv_kv_get(NULL, kv, 1, grv_bytes_of(key, 4), &value, &error));
    assert_grv_ok(grv_kv_open_scan(NULL, kv, &scan, &cursor, &error));
    assert_int_equal(unlink(other), 0);
    assert_grv_status(put_number(kv, count, 10, &error), GRV_OUT_OF_SPACE);
    assert_grv_ok(grv_kv_cursor_next(NULL, cursor, &item, &error));
    assert_int_equal(item.value.size, LARGE);
    grv_kv_cursor_free(cursor);
    assert_grv_status(put_number(kv, count, 10, &error), GRV_OUT_OF_SPACE);
    assert_int_equal(value.bytes.size, LARGE);
    grv_value_done(&value);
    assert_grv_ok(put_number(kv, count, 10, &error));
    for (uint32_t number = 0; number < count; number++) {
        assert_true(has_number(kv, number, LARGE));
    }
    assert_true(has_number(kv, count, 10));
    grv_kv_free(kv);
}

typedef struct reader {
    grv_kv *kv;
    uint32_t count;
    bool stop; /* atomic */
} reader;

static void *read_on(void *context)
{
    reader *self = context;
    for (uint32_t i = 0; !__atomic_load_n(&self->stop, __ATOMIC_RELAXED); i++) {
        grv_kv_cursor *cursor = NULL;
        const grv_kv_scan scan = {.ns = 1, .keys_only = true};
        assert_true(has_number(self->kv, i % self->count, LARGE));
        if (i % 8 == 0) {
            assert_grv_status(grv_kv_open_scan(NULL, self->kv, &scan, &cursor, NULL), GRV_OK);
            grv_kv_cursor_free(cursor);
        }
    }
    return NULL;
}

static void readers_go_on_while_it_is_opened_again(void **state)
{
    (void)state;
    grv_error error = GRV_ERROR_INIT;
    grv_kv *kv = open_store(true, false, GRV_OK);
    for (uint32_t number = 0; number < 20; number++) {
        assert_grv_ok(put_number(kv, number, LARGE, &error));
    }
    reader readers = {.kv = kv, .count = 20};
    pthread_t threads[3];
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, read_on, &readers), 0);
    }
    uint32_t next = 1000;
    for (int round = 0; round < 2; round++) {
        uint32_t first = next;
        run_into_the_end(kv, &next);
        disk_fill();
        grv_status status = GRV_OUT_OF_SPACE;
        for (uint32_t tries = 0; status == GRV_OUT_OF_SPACE && tries < 10000; tries++) {
            status = remove_number(kv, first, &error); /* a reader's cursor may be in the way */
        }
        assert_grv_status(status, GRV_OK);
        disk_empty();
        while (++first < next) {
            status = GRV_OUT_OF_SPACE;
            for (uint32_t tries = 0; status == GRV_OUT_OF_SPACE && tries < 10000; tries++) {
                status = remove_number(kv, first, &error);
            }
            assert_grv_status(status, GRV_OK);
        }
    }
    __atomic_store_n(&readers.stop, true, __ATOMIC_RELAXED);
    for (size_t i = 0; i < 3; i++) {
        pthread_join(threads[i], NULL);
    }
    grv_kv_free(kv);
}

/* Runs this program again where it may mount; false where the system forbids that. */
static bool enter_namespace(char **argv)
{
    if (getenv(NAMESPACE_MARKER)) {
        return true;
    }
    int status = 0;
    pid_t child = fork();
    if (child == 0) {
        execlp("unshare", "unshare", "--user", "--map-root-user", "--mount", "true", (char *)NULL);
        _exit(127);
    }
    if (child < 0 || waitpid(child, &status, 0) != child || status != 0) {
        return false;
    }
    setenv(NAMESPACE_MARKER, "1", 1);
    execlp("unshare", "unshare", "--user", "--map-root-user", "--mount", argv[0], (char *)NULL);
    return false;
}

int main(int argc, char **argv)
{
    (void)argc;
    if (!enter_namespace(argv)) {
        printf("1..0 # SKIP no mount namespace for us here\n");
        return 0;
    }
    static grv_file_ops calls;
    calls = grv_file_ops_system;
    calls.fstatvfs = claiming_fstatvfs;
    grv_file_calls_set(&calls);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(adding_is_refused_and_the_store_stays_good, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(removing_uses_the_reserve_and_adding_waits_for_it, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(opening_on_a_full_disk, setup, teardown),
        cmocka_unit_test_setup_teardown(a_database_given_up_is_opened_again, setup, teardown),
        cmocka_unit_test_setup_teardown(what_is_lent_keeps_the_database_open, setup, teardown),
        cmocka_unit_test_setup_teardown(readers_go_on_while_it_is_opened_again, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
