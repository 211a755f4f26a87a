/* SPDX-License-Identifier: Apache-2.0 */
/* A manifest whose last records have damaged lengths, and one that a crash has cut short. */
#include "test.h"

#include "backend/rocks/handle.h"
#include "temp.h"

#include <fcntl.h>
#include <graviton/backend/rocks.h>

static const char *const names[] = {"meta", "root"};

static grv_status open_kv(const char *directory, bool create, grv_kv **ret_kv, grv_error *error)
{
    const grv_rocks_config config = {
        .directory = directory, .namespaces = names, .namespace_count = 2, .create = create};
    return grv_kv_rocks_new(&config, ret_kv, error);
}

static void make_database(const char *directory, char ret_path[512])
{
    grv_error error = GRV_ERROR_INIT;
    char name[64] = "";
    char path[300];
    grv_kv *kv = NULL;
    assert_grv_ok(open_kv(directory, true, &kv, &error));
    grv_kv_free(kv);
    snprintf(path, sizeof path, "%s/CURRENT", directory);
    FILE *file = fopen(path, "r");
    assert_non_null(file);
    assert_non_null(fgets(name, sizeof name, file));
    fclose(file);
    name[strcspn(name, "\n")] = '\0';
    snprintf(ret_path, 512, "%s/%s", directory, name);
}

static grv_status check(const char *directory, grv_error *error)
{
    int dir = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    assert_true(dir >= 0);
    grv_status status = grv_rocks_check_manifest(dir, directory, error);
    close(dir);
    return status;
}

/* The high byte of a length is told for every record, and opening tells it; nothing else is. */
static void damaged_lengths_are_told(void **state)
{
    (void)state;
    char directory[256];
    char path[512];
    grv_error error = GRV_ERROR_INIT;
    test_temp_make(directory);
    make_database(directory, path);
    assert_grv_ok(check(directory, &error));
    int fd = open(path, O_RDWR | O_CLOEXEC);
    uint8_t bytes[8192];
    ssize_t size = pread(fd, bytes, sizeof bytes, 0);
    assert_true(size > 7 && size < (ssize_t)sizeof bytes);
    unsigned records = 0;
    for (ssize_t at = 0; at < size; at += 7 + bytes[at + 4] + 256 * bytes[at + 5]) {
        uint8_t changed = bytes[at + 5] ^ 0x80;
        assert_int_equal(pwrite(fd, &changed, 1, at + 5), 1);
        assert_grv_status(check(directory, &error), GRV_CORRUPT);
        assert_non_null(strstr(error.message, path));
        grv_kv *kv = NULL;
        assert_grv_status(open_kv(directory, false, &kv, &error), GRV_CORRUPT);
        assert_int_equal(pwrite(fd, &bytes[at + 5], 1, at + 5), 1);
        records++;
    }
    assert_true(records > 2);
    close(fd);
    test_temp_remove(directory);
}

/* Cut short anywhere: that is no damage. */
static void a_cut_end_is_no_damage(void **state)
{
    (void)state;
    char directory[256];
    char path[512];
    grv_error error = GRV_ERROR_INIT;
    test_temp_make(directory);
    make_database(directory, path);
    int fd = open(path, O_RDWR | O_CLOEXEC);
    for (off_t size = lseek(fd, 0, SEEK_END); size-- > 0;) {
        assert_int_equal(ftruncate(fd, size), 0);
        assert_grv_ok(check(directory, &error));
    }
    close(fd);
    assert_int_equal(remove(path), 0);
    assert_grv_ok(check(directory, &error));
    test_temp_remove(directory);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(damaged_lengths_are_told),
        cmocka_unit_test(a_cut_end_is_no_damage),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
