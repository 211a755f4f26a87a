/* SPDX-License-Identifier: Apache-2.0 */
/* Ranges that are removed, and scans of a database with a damaged table deep in it. */
#include "test.h"

#include "backend/rocks/handle.h"
#include "temp.h"

#include <fcntl.h>
#include <graviton/backend/rocks.h>

static const char *const names[] = {"meta", "root"};

static grv_kv *open_kv(const char *directory)
{
    const grv_rocks_config config = {
        .directory = directory, .namespaces = names, .namespace_count = 2, .create = true};
    grv_kv *kv = NULL;
    grv_error error = GRV_ERROR_INIT;
    assert_grv_ok(grv_kv_rocks_new(&config, &kv, &error));
    return kv;
}

static grv_bytes text(const char *string)
{
    return grv_bytes_of(string, strlen(string));
}

static void put(grv_kv *kv, const char *key)
{
    const grv_kv_op op = {.kind = GRV_KV_PUT, .ns = 1, .key = text(key), .value = text(key)};
    const grv_kv_batch batch = {.ops = &op, .op_count = 1, .durability = GRV_DURABLE};
    grv_error error = GRV_ERROR_INIT;
    assert_grv_ok(grv_kv_write(NULL, kv, &batch, &error));
}

/* Makes a table of what is in memory, in the deepest level. */
static void settle(grv_kv *kv)
{
    grv_rocks *rocks = grv_rocks_of_kv(kv);
    char *failed = NULL;
    rocksdb_flushoptions_t *options = rocksdb_flushoptions_create();
    rocksdb_flush_cf(rocks->db, options, rocks->families[1], &failed);
    assert_null(failed);
    rocksdb_flushoptions_destroy(options);
    rocksdb_compact_range_cf(rocks->db, rocks->families[1], NULL, 0, NULL, 0);
}

/* How a scan ends; *ret_count is the number of keys before. */
static grv_status scan(grv_kv *kv, bool reverse, size_t *ret_count)
{
    const grv_kv_scan scan = {.ns = 1, .reverse = reverse};
    grv_kv_cursor *cursor = NULL;
    grv_error error = GRV_ERROR_INIT;
    assert_grv_ok(grv_kv_open_scan(NULL, kv, &scan, &cursor, &error));
    grv_kv_item item = {0};
    grv_status status = GRV_OK;
    for (*ret_count = 0; !(status = grv_kv_cursor_next(NULL, cursor, &item, &error));) {
        ++*ret_count;
    }
    grv_kv_cursor_free(cursor);
    return status;
}

/* Changes the first byte of the table that holds `key`, and nothing else. */
static void damage(const char *directory, grv_rocks *rocks, const char *key)
{
    const rocksdb_livefiles_t *files = rocksdb_livefiles(rocks->db);
    char path[512] = "";
    for (int i = 0; i < rocksdb_livefiles_count(files); i++) {
        size_t size = 0;
        const char *smallest = rocksdb_livefiles_smallestkey(files, i, &size);
        if (size == strlen(key) && memcmp(smallest, key, size) == 0) {
            assert_true(rocksdb_livefiles_level(files, i) > 0);
            snprintf(path, sizeof path, "%s%s", directory, rocksdb_livefiles_name(files, i));
        }
    }
    rocksdb_livefiles_destroy(files);
    int fd = open(path, O_RDWR | O_CLOEXEC);
    uint8_t byte = 0;
    assert_true(fd >= 0);
    assert_int_equal(pread(fd, &byte, 1, 0), 1);
    byte ^= 0x40;
    assert_int_equal(pwrite(fd, &byte, 1, 0), 1);
    close(fd);
}

/* RocksDB's iterator leaves out what lies in a table whose first block is bad, unless it is told
 * not to look for range deletes. */
static void damaged_table_ends_scans(void **state)
{
    (void)state;
    char directory[256];
    test_temp_make(directory);
    static const char *const keys[] = {"a", "b", "c", "d"};
    grv_kv *kv = open_kv(directory);
    for (size_t i = 0; i < 4; i++) {
        put(kv, keys[i]);
        settle(kv);
    }
    damage(directory, grv_rocks_of_kv(kv), "b");
    damage(directory, grv_rocks_of_kv(kv), "d");
    grv_kv_free(kv);
    kv = open_kv(directory);
    size_t count = 0;
    assert_int_equal(scan(kv, false, &count), GRV_CORRUPT);
    assert_true(count <= 1);
    assert_int_equal(scan(kv, true, &count), GRV_CORRUPT);
    assert_int_equal(count, 0);
    grv_kv_free(kv);
    test_temp_remove(directory);
}

/* A range takes keys of tables, of memory and of its own batch, in order. */
static void range_sees_earlier_operations(void **state)
{
    (void)state;
    char directory[256];
    test_temp_make(directory);
    grv_kv *kv = open_kv(directory);
    put(kv, "b");
    settle(kv);
    put(kv, "c");
    put(kv, "x");
    const grv_kv_op ops[] = {
        {.kind = GRV_KV_PUT, .ns = 1, .key = text("bb"), .value = text("before")},
        {.kind = GRV_KV_PUT, .ns = 1, .key = text("w"), .value = text("outside")},
        {.kind = GRV_KV_DELETE_RANGE, .ns = 1, .key = text("b"), .end = text("d")},
        {.kind = GRV_KV_PUT, .ns = 1, .key = text("cc"), .value = text("after")},
        {.kind = GRV_KV_DELETE_RANGE, .ns = 1, .key = text("z"), .end = text("a")},
    };
    const grv_kv_batch batch = {.ops = ops, .op_count = 5, .durability = GRV_DURABLE};
    grv_error error = GRV_ERROR_INIT;
    assert_grv_ok(grv_kv_write(NULL, kv, &batch, &error));
    bool missing[6];
    const grv_bytes asked[6] = {text("b"), text("bb"), text("c"), text("cc"), text("w"), text("x")};
    assert_grv_ok(grv_kv_missing(NULL, kv, 1, asked, 6, missing, &error));
    static const bool want[6] = {true, true, true, false, false, false};
    assert_memory_equal(missing, want, sizeof want);
    size_t count = 0;
    assert_int_equal(scan(kv, false, &count), GRV_NOT_FOUND);
    assert_int_equal(count, 3);
    grv_kv_free(kv);
    test_temp_remove(directory);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(damaged_table_ends_scans),
        cmocka_unit_test(range_sees_earlier_operations),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
