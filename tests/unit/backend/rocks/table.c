/* SPDX-License-Identifier: Apache-2.0 */
/* Tables whose damage would end the process inside RocksDB. */
#include "test.h"

#include "backend/rocks/handle.h"
#include "temp.h"

#include <dirent.h>
#include <fcntl.h>
#include <graviton/backend/rocks.h>

static const char *const names[] = {"meta", "root"};

static grv_status open_kv(const char *directory, bool create, grv_kv **ret_kv, grv_error *error)
{
    const grv_rocks_config config = {
        .directory = directory, .namespaces = names, .namespace_count = 2, .create = create};
    return grv_kv_rocks_new(&config, ret_kv, error);
}

/* A database with one table; the table's name. */
static void make_table(const char *directory, char ret_path[512])
{
    const grv_kv_op op = {.kind = GRV_KV_PUT,
                          .ns = 1,
                          .key = grv_bytes_of("key", 3),
                          .value = grv_bytes_of("value", 5)};
    const grv_kv_batch batch = {.ops = &op, .op_count = 1, .durability = GRV_DURABLE};
    grv_error error = GRV_ERROR_INIT;
    grv_kv *kv = NULL;
    assert_grv_ok(open_kv(directory, true, &kv, &error));
    assert_grv_ok(grv_kv_write(NULL, kv, &batch, &error));
    grv_kv_free(kv);
    assert_grv_ok(open_kv(directory, false, &kv, &error)); /* writes a table of the log */
    grv_rocks *rocks = grv_rocks_of_kv(kv);
    const rocksdb_livefiles_t *files = rocksdb_livefiles(rocks->db);
    assert_int_equal(rocksdb_livefiles_count(files), 1);
    snprintf(ret_path, 512, "%s%s", directory, rocksdb_livefiles_name(files, 0));
    rocksdb_livefiles_destroy(files);
    grv_kv_free(kv);
}

static grv_status check(const char *directory, grv_error *error)
{
    int dir = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    assert_true(dir >= 0);
    grv_status status = grv_rocks_check_tables(dir, directory, error);
    close(dir);
    return status;
}

static void change(int fd, off_t offset, uint8_t mask)
{
    uint8_t byte = 0;
    assert_int_equal(pread(fd, &byte, 1, offset), 1);
    byte ^= mask;
    assert_int_equal(pwrite(fd, &byte, 1, offset), 1);
}

/* One bit of the whole table is told, whatever the others are; opening tells it as well. Where the
 * way to that bit is damaged too, nothing is told here. */
static void the_bit_that_aborts_is_told(void **state)
{
    (void)state;
    char directory[256];
    char path[512];
    grv_error error = GRV_ERROR_INIT;
    test_temp_make(directory);
    make_table(directory, path);
    assert_grv_ok(check(directory, &error));
    int fd = open(path, O_RDWR | O_CLOEXEC);
    off_t size = lseek(fd, 0, SEEK_END);
    assert_true(size > 0);
    unsigned told = 0;
    off_t place = 0;
    for (off_t i = 0; i < size; i++) {
        change(fd, i, 0x80);
        if (check(directory, &error)) {
            assert_int_equal(error.status, GRV_CORRUPT);
            assert_non_null(strstr(error.message, path));
            told++;
            place = i;
        }
        change(fd, i, 0x80);
    }
    assert_int_equal(told, 1);
    change(fd, place, 0x80);
    grv_kv *kv = NULL;
    assert_grv_status(open_kv(directory, false, &kv, &error), GRV_CORRUPT);
    assert_int_equal(ftruncate(fd, size - 1), 0);
    assert_grv_ok(check(directory, &error));
    assert_int_equal(ftruncate(fd, 0), 0);
    assert_grv_ok(check(directory, &error));
    close(fd);
    test_temp_remove(directory);
}

/* Whatever a table's end says, nothing is read out of bounds; the sanitizers watch. */
static void random_damage_is_survived(void **state)
{
    (void)state;
    char directory[256];
    char path[512];
    test_temp_make(directory);
    make_table(directory, path);
    int fd = open(path, O_RDWR | O_CLOEXEC);
    off_t size = lseek(fd, 0, SEEK_END);
    uint64_t seed = 1;
    for (unsigned i = 0; i < 3000; i++) {
        off_t offset = size - 1 - (off_t)(test_random(&seed) % (i % 2 ? 45 : 200));
        /* The magic stays, so that what is before it is looked at. */
        change(fd, offset < size - 8 ? offset : size - 20, (uint8_t)(1 + test_random(&seed) % 255));
        grv_error error = GRV_ERROR_INIT;
        grv_status status = check(directory, &error);
        assert_true(status == GRV_OK || status == GRV_CORRUPT);
    }
    close(fd);
    test_temp_remove(directory);
}

/* Any compression in the header of a file of large values is told; what is no such header is not.
 */
static void compression_of_values_is_told(void **state)
{
    (void)state;
    char directory[256];
    char path[300];
    grv_error error = GRV_ERROR_INIT;
    uint8_t header[30] = {0x37, 0x8f, 0x24, 0x00, 1};
    test_temp_make(directory);
    snprintf(path, sizeof path, "%s/000007.blob", directory);
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    assert_grv_ok(check(directory, &error));
    for (unsigned compression = 0; compression < 256; compression++) {
        header[13] = (uint8_t)compression;
        assert_int_equal(pwrite(fd, header, sizeof header, 0), sizeof header);
        assert_grv_status(check(directory, &error), compression ? GRV_CORRUPT : GRV_OK);
    }
    assert_non_null(strstr(error.message, path));
    header[0] ^= 1;
    assert_int_equal(pwrite(fd, header, sizeof header, 0), sizeof header);
    assert_grv_ok(check(directory, &error));
    close(fd);
    test_temp_remove(directory);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(compression_of_values_is_told),
        cmocka_unit_test(the_bit_that_aborts_is_told),
        cmocka_unit_test(random_damage_is_survived),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
