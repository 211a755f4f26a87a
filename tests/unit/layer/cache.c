/* SPDX-License-Identifier: Apache-2.0 */
/* Layer cache: what is served from where, and that damage of the cache's file, other processes and
 * other people's files never show in what a get gives. */
#include "cache_rig.h"

#include <errno.h>
#include <unistd.h>

/* ---- Hits and misses ---- */

static void a_block_is_read_below_once(void **state)
{
    (void)state;
    static const uint32_t sizes[] = {1, 100, 4096, 4097, 60000};
    cache_rig rig;
    rig_begin(&rig);
    for (size_t i = 0; i < 5; i++) {
        rig_store(&rig, i, sizes[i]);
        assert_false(rig_hits(&rig, i, sizes[i]));
        assert_true(rig_hits(&rig, i, sizes[i]));
    }
    rig_reopen(&rig);
    for (size_t i = 0; i < 5; i++) {
        assert_true(rig_hits(&rig, i, sizes[i]));
    }
    grv_cache_figures figures = rig_figures(&rig);
    assert_int_equal(figures.hits, 5);
    assert_int_equal(figures.hit_bytes, 1 + 100 + 4096 + 4097 + 60000);
    assert_int_equal(figures.misses + figures.corrupt + figures.failures + figures.kept, 0);
    assert_int_equal(figures.size_bytes, RIG_SIZE);
    assert_in_range(figures.disk_bytes, 68294, RIG_SIZE);
    rig_assert_bound(&rig, RIG_SIZE);
    rig_end(&rig);
}

static void hits_and_misses_of_one_call_keep_their_places(void **state)
{
    (void)state;
    enum { COUNT = 9, SIZE = 500 };
    cache_rig rig;
    grv_error error = GRV_ERROR_INIT;
    grv_block_key keys[COUNT];
    grv_span spans[COUNT];
    grv_status statuses[COUNT];
    static uint8_t data[COUNT][SIZE];
    uint8_t wanted[SIZE];
    rig_begin(&rig);
    for (size_t i = 0; i < COUNT; i++) {
        keys[i] = rig_key(i, SIZE);
        spans[i] = (grv_span){data[i], SIZE};
        if (i != 4 && i != 7) { /* these two are nowhere */
            rig_store(&rig, i, SIZE);
        }
    }
    rig_read(&rig, 1, SIZE);
    rig_read(&rig, 6, SIZE);
    for (int round = 0; round < 2; round++) {
        uint64_t before = rig_below(&rig);
        memset(data, 0, sizeof data);
        memset(statuses, 0xff, sizeof statuses);
        assert_grv_status(
            grv_block_store_get(NULL, rig.store, keys, spans, COUNT, statuses, &error),
            GRV_NOT_FOUND);
        char text[GRV_KEY_TEXT_SIZE];
        grv_block_key_print(&keys[4], text);
        assert_non_null(strstr(error.message, text));
        for (size_t i = 0; i < COUNT; i++) {
            bool there = i != 4 && i != 7;
            assert_int_equal(statuses[i], there ? GRV_OK : GRV_NOT_FOUND);
            rig_bytes(i, wanted, SIZE);
            assert_int_equal(memcmp(data[i], wanted, SIZE) == 0, there);
        }
        assert_int_equal(rig_below(&rig) - before, round == 0 ? COUNT - 2 : 2);
    }
    rig_end(&rig);
}

static void one_block_many_times_in_a_call_is_kept_once(void **state)
{
    (void)state;
    enum { COUNT = 5, SIZE = 500 };
    cache_rig rig;
    grv_error error = GRV_ERROR_INIT;
    grv_block_key keys[COUNT];
    grv_span spans[COUNT];
    grv_status statuses[COUNT];
    static uint8_t data[COUNT][SIZE];
    rig_begin(&rig);
    rig_store(&rig, 1, SIZE);
    for (size_t i = 0; i < COUNT; i++) {
        keys[i] = rig_key(1, SIZE);
        spans[i] = (grv_span){data[i], SIZE};
    }
    assert_grv_ok(grv_block_store_get(NULL, rig.store, keys, spans, COUNT, statuses, &error));
    assert_int_equal(rig_figures(&rig).kept, 1);
    assert_memory_equal(data[0], data[COUNT - 1], SIZE);
    rig_end(&rig);
}

static void background_calls_read_the_store_itself(void **state)
{
    (void)state;
    const grv_call background = {.priority = GRV_BACKGROUND};
    cache_rig rig;
    rig_begin(&rig);
    rig_store(&rig, 1, 1000);
    rig_store(&rig, 2, 1000);
    assert_true(rig_reads(&rig, &background, 1, 1000));
    assert_int_equal(rig_figures(&rig).kept, 0);
    rig_read(&rig, 2, 1000);
    uint64_t before = rig_below(&rig);
    assert_true(rig_reads(&rig, &background, 2, 1000));
    assert_int_equal(rig_below(&rig), before + 1);
    grv_cache_figures figures = rig_figures(&rig);
    assert_int_equal(figures.bypassed, 2);
    assert_int_equal(figures.misses, 1);
    assert_int_equal(figures.hits, 0);
    rig_end(&rig);
}

static void what_is_removed_or_set_aside_is_dropped(void **state)
{
    (void)state;
    cache_rig rig;
    grv_error error = GRV_ERROR_INIT;
    rig_begin(&rig);
    for (uint64_t i = 0; i < 2; i++) {
        grv_block_key key = rig_key(i, 1000);
        bool was = false;
        bool missing = false;
        rig_store(&rig, i, 1000);
        rig_read(&rig, i, 1000);
        assert_true(rig_hits(&rig, i, 1000));
        assert_grv_ok(i == 0 ? grv_block_store_remove(NULL, rig.store, &key, 1, &was, &error)
                             : grv_block_store_quarantine(NULL, rig.store, &key, 1, &was, &error));
        assert_true(was);
        assert_false(rig_reads(&rig, NULL, i, 1000));
        assert_grv_ok(grv_block_store_missing(NULL, rig.store, &key, 1, &missing, &error));
        assert_true(missing);
    }
    rig_end(&rig);
}

static void what_is_missing_below_stays_missing(void **state)
{
    (void)state;
    cache_rig rig;
    grv_error error = GRV_ERROR_INIT;
    grv_block_key key = rig_key(1, 1000);
    bool missing = false;
    rig_begin(&rig);
    rig_store(&rig, 1, 1000);
    rig_read(&rig, 1, 1000);
    rig_close(&rig);
    grv_kv_free(rig.kv);
    rig.kv = NULL;
    rig_open(&rig); /* over another store, an empty one */
    assert_grv_ok(grv_block_store_missing(NULL, rig.store, &key, 1, &missing, &error));
    assert_true(missing);
    assert_true(rig_hits(&rig, 1, 1000)); /* the bytes are right, whoever asks for them */
    rig_end(&rig);
}

static void what_the_store_refuses_is_not_kept(void **state)
{
    (void)state;
    cache_rig rig;
    grv_error error = GRV_ERROR_INIT;
    grv_block_batch *batch = NULL;
    grv_block_result result;
    uint8_t data[1000] = {0};
    const grv_block lie = {.key = rig_key(1, sizeof data), .bytes = {data, sizeof data}};
    rig_begin(&rig);
    assert_grv_ok(grv_block_store_open_batch(NULL, rig.store, &batch, &error));
    assert_grv_ok(grv_block_batch_put(NULL, batch, &lie, 1, NULL, &error));
    assert_grv_ok(grv_block_batch_commit(NULL, batch, GRV_DURABLE, &result, 1, &error));
    grv_block_batch_free(batch);
    for (int i = 0; i < 2; i++) {
        grv_span span = {data, sizeof data};
        grv_status one = GRV_OK;
        assert_grv_status(grv_block_store_get(NULL, rig.store, &lie.key, &span, 1, &one, &error),
                          GRV_CORRUPT);
        assert_int_equal(one, GRV_CORRUPT);
    }
    assert_int_equal(rig_figures(&rig).kept, 0);
    assert_int_equal(rig_figures(&rig).corrupt, 0);
    rig_end(&rig);
}

static void a_block_larger_than_a_segment_goes_by(void **state)
{
    (void)state;
    cache_rig rig;
    rig_begin(&rig);
    rig_store(&rig, 1, 65536);
    rig_store(&rig, 2, 65537);
    rig_read(&rig, 1, 65536);
    assert_true(rig_hits(&rig, 1, 65536));
    rig_read(&rig, 2, 65537);
    assert_false(rig_hits(&rig, 2, 65537));
    assert_int_equal(rig_figures(&rig).skipped, 2);
    rig_end(&rig);
}

/* ---- Damage ---- */

static int file_open(const cache_rig *rig)
{
    char path[512];
    rig_path(rig, GRV_CACHE_FILE, path);
    int fd = open(path, O_RDWR | O_CLOEXEC);
    assert_true(fd >= 0);
    return fd;
}

static void flip(const cache_rig *rig, off_t offset, uint8_t with)
{
    uint8_t byte = 0;
    int fd = file_open(rig);
    assert_int_equal(pread(fd, &byte, 1, offset), 1);
    byte ^= with;
    assert_int_equal(pwrite(fd, &byte, 1, offset), 1);
    close(fd);
}

/* Every byte that is in use in the file: those that are not zero, and some beside them. */
static size_t bytes_in_use(const cache_rig *rig, bool used[RIG_SIZE])
{
    static uint8_t data[RIG_SIZE];
    size_t count = 0;
    int fd = file_open(rig);
    assert_int_equal(pread(fd, data, sizeof data, 0), sizeof data);
    close(fd);
    for (size_t i = 0; i < RIG_SIZE; i++) {
        used[i] = false;
        for (size_t k = i < 8 ? 0 : i - 8; k < i + 8 && k < RIG_SIZE && !used[i]; k++) {
            used[i] = data[k] != 0;
        }
        count += used[i];
    }
    return count;
}

static void any_byte_may_flip(void **state)
{
    (void)state;
    static bool used[RIG_SIZE];
    cache_rig rig;
    rig_begin(&rig);
    rig_store(&rig, 1, 200);
    rig_store(&rig, 2, 100);
    rig_read(&rig, 1, 200);
    rig_read(&rig, 2, 100);
    assert_in_range(bytes_in_use(&rig, used), 500, 2000);
    for (size_t i = 0; i < RIG_SIZE; i++) {
        if (!used[i]) {
            continue;
        }
        for (int open_again = 0; open_again < 2; open_again++) {
            flip(&rig, (off_t)i, open_again ? 0x81 : 0xff);
            if (open_again) {
                rig_reopen(&rig);
            }
            rig_read(&rig, 1, 200);
            rig_read(&rig, 2, 100);
            if (!rig_hits(&rig, 1, 200) || !rig_hits(&rig, 2, 100)) {
                fail_msg("byte %zu was not healed", i);
            }
            assert_int_equal(rig_figures(&rig).failures, 0);
            if (open_again) {
                rig_reopen(&rig);
            }
        }
    }
    rig_assert_bound(&rig, RIG_SIZE);
    rig_end(&rig);
}

/* Where in the file the bytes of a block are. */
static off_t bytes_find(const cache_rig *rig, uint64_t number, uint32_t size)
{
    static uint8_t data[RIG_SIZE];
    uint8_t wanted[4096];
    assert_in_range(size, 1, sizeof wanted);
    rig_bytes(number, wanted, size);
    int fd = file_open(rig);
    assert_int_equal(pread(fd, data, sizeof data, 0), sizeof data);
    close(fd);
    const uint8_t *found = memmem(data, sizeof data, wanted, size);
    assert_non_null(found);
    return found - data;
}

static void a_wrong_block_is_read_below_and_healed(void **state)
{
    (void)state;
    enum { SIZE = 300 };
    cache_rig rig;
    rig_begin(&rig);
    rig_store(&rig, 1, SIZE);
    rig_read(&rig, 1, SIZE);
    for (uint32_t i = 0; i < 8 * SIZE; i++) {
        flip(&rig, bytes_find(&rig, 1, SIZE) + i / 8, (uint8_t)(1u << (i % 8)));
        assert_false(rig_hits(&rig, 1, SIZE));
        assert_true(rig_hits(&rig, 1, SIZE));
        assert_int_equal(rig_figures(&rig).corrupt, i + 1);
    }
    rig_end(&rig);
}

static void a_file_may_be_cut_short(void **state)
{
    (void)state;
    static const off_t sizes[] = {0, 1, 63, 64, 4096, 4100, 8192, 9000, 20000, RIG_SIZE - 1};
    cache_rig rig;
    rig_begin(&rig);
    for (uint64_t k = 0; k < 20; k++) {
        rig_store(&rig, k, 3000);
    }
    for (size_t i = 0; i < 2 * sizeof sizes / sizeof sizes[0]; i++) {
        int fd = file_open(&rig);
        assert_int_equal(ftruncate(fd, sizes[i / 2]), 0);
        close(fd);
        if (i & 1) {
            rig_reopen(&rig);
        }
        for (int round = 0; round < 2; round++) {
            for (uint64_t k = 0; k < 20; k++) {
                rig_read(&rig, k, 3000);
            }
        }
        rig_reopen(&rig); /* one without a header is made anew */
        for (uint64_t k = 0; k < 20; k++) {
            assert_int_equal(rig_hits(&rig, k, 3000), i & 1 || sizes[i / 2] >= 64);
        }
        rig_assert_bound(&rig, RIG_SIZE);
    }
    rig_end(&rig);
}

static void a_file_of_random_bytes_is_survived(void **state)
{
    (void)state;
    cache_rig rig;
    static uint8_t noise[RIG_SIZE];
    rig_begin(&rig);
    for (uint64_t k = 0; k < 20; k++) {
        rig_store(&rig, k, 3000);
    }
    for (uint64_t seed = 0; seed < 8; seed++) {
        uint64_t random = seed;
        test_random_fill(&random, noise, sizeof noise);
        int fd = file_open(&rig);
        size_t keep = seed & 1 ? 4096 : 0; /* with its header, it is used as it is */
        assert_int_equal(pwrite(fd, noise, sizeof noise - keep, (off_t)keep), sizeof noise - keep);
        close(fd);
        if (seed & 2) {
            rig_reopen(&rig);
        }
        for (int round = 0; round < 3; round++) {
            for (uint64_t k = 0; k < 20; k++) {
                rig_read(&rig, k, 3000);
            }
        }
        rig_reopen(&rig);
        assert_int_equal(rig_figures(&rig).size_bytes, RIG_SIZE);
    }
    assert_true(rig_hits(&rig, 0, 3000));
    rig_end(&rig);
}

/* ---- Sizes ---- */

static void a_cache_in_use_keeps_its_size(void **state)
{
    (void)state;
    cache_rig rig;
    cache_rig other = {0};
    rig_begin(&rig);
    rig_store(&rig, 1, 1000);
    rig_read(&rig, 1, 1000);
    memcpy(other.dir, rig.dir, sizeof other.dir);
    rig_open_sized(&other, 4 * RIG_SIZE);
    assert_int_equal(rig_figures(&other).size_bytes, RIG_SIZE);
    assert_true(rig_hits(&other, 1, 1000));
    rig_close(&other);
    rig_close(&rig);
    rig_open_sized(&other, 4 * RIG_SIZE); /* nobody else has it now */
    assert_int_equal(rig_figures(&other).size_bytes, 4 * RIG_SIZE);
    rig_open(&rig);
    assert_int_equal(rig_figures(&rig).size_bytes, 4 * RIG_SIZE);
    assert_false(rig_hits(&rig, 1, 1000));
    assert_true(rig_hits(&other, 1, 1000));
    rig_assert_bound(&rig, 4 * RIG_SIZE);
    rig_close(&other);
    grv_kv_free(other.kv);
    rig_end(&rig);
}

static void a_size_out_of_bounds_is_refused(void **state)
{
    (void)state;
    grv_error error = GRV_ERROR_INIT;
    static const struct {
        const char *directory;
        uint64_t size;
    } bad[] = {{"", 0}, {NULL, 0}, {"x", GRV_CACHE_SIZE_MIN - 1}, {"x", GRV_CACHE_SIZE_MAX + 1}};
    for (size_t i = 0; i < 4; i++) {
        grv_block_store *store = NULL;
        const grv_block_cache_config config = {bad[i].directory, bad[i].size};
        assert_grv_ok(grv_block_store_memory_new(&store, &error));
        assert_grv_status(grv_block_store_cache_new(store, &config, &store, &error),
                          GRV_INVALID_ARGUMENT);
    }
}

/* ---- Other people's files ---- */

static void put_text(const char *path, const char *text)
{
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    assert_true(fputs(text, file) >= 0);
    assert_int_equal(fclose(file), 0);
}

/* What stands in the cache's place but is no file of its own is neither used nor touched. */
static void what_is_no_file_of_ours_is_left_alone(void **state)
{
    (void)state;
    static const char *const names[] = {GRV_CACHE_FILE, GRV_CACHE_LOCK, GRV_CACHE_TEMPORARY};
    cache_rig rig;
    char path[512];
    char victim[512];
    rig_begin(&rig);
    rig_store(&rig, 1, 1000);
    rig_path(&rig, "victim", victim);
    for (size_t i = 0; i < 9; i++) {
        struct stat before;
        struct stat after;
        rig_close(&rig);
        rig_path(&rig, GRV_CACHE_FILE, path);
        unlink(path);
        rig_path(&rig, names[i / 3], path);
        unlink(path);
        put_text(victim, "not yours");
        assert_int_equal(i % 3 == 0   ? symlink("victim", path)
                         : i % 3 == 1 ? mkfifo(path, 0600)
                                      : mkdir(path, 0700),
                         0);
        assert_int_equal(lstat(path, &before), 0);
        rig_open(&rig);
        rig_read(&rig, 1, 1000);
        rig_read(&rig, 1, 1000);
        bool swept = i / 3 == 2 && i % 3 != 2; /* a temporary one is removed, whatever it is */
        assert_int_equal(rig_figures(&rig).size_bytes > 0, swept);
        assert_int_equal(rig_figures(&rig).failures > 0, !swept);
        assert_int_equal(lstat(path, &after) == 0, !swept);
        assert_true(swept || before.st_ino == after.st_ino);
        assert_int_equal(stat(victim, &after), 0);
        assert_int_equal(after.st_size, 9);
        (void)remove(path);
    }
    rig_end(&rig);
}

static void a_directory_that_cannot_be_is_told_of(void **state)
{
    (void)state;
    cache_rig rig;
    char path[512];
    grv_error failure = GRV_ERROR_INIT;
    grv_cache_figures figures;
    rig_begin(&rig);
    rig_path(&rig, "file", path);
    put_text(path, "in the way");
    rig_close(&rig);
    char dir[256];
    memcpy(dir, rig.dir, sizeof dir);
    snprintf(rig.dir, sizeof rig.dir, "%.200s/file/cache", dir);
    rig_open(&rig);
    rig_store(&rig, 1, 1000);
    rig_read(&rig, 1, 1000);
    grv_block_store_cache_read(rig.store, &figures, &failure);
    assert_int_equal(figures.failures, 1);
    assert_int_equal(figures.size_bytes, 0);
    assert_int_equal(failure.status, GRV_INVALID_ARGUMENT);
    assert_non_null(strstr(failure.message, "file"));
    memcpy(rig.dir, dir, sizeof dir);
    rig_end(&rig);
}

static void leftovers_of_making_the_file_are_swept(void **state)
{
    (void)state;
    cache_rig rig;
    char path[512];
    rig_begin(&rig);
    rig_close(&rig);
    rig_path(&rig, GRV_CACHE_TEMPORARY, path);
    put_text(path, "half a cache");
    rig_open(&rig);
    rig_assert_bound(&rig, RIG_SIZE);
    rig_end(&rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_block_is_read_below_once),
        cmocka_unit_test(hits_and_misses_of_one_call_keep_their_places),
        cmocka_unit_test(one_block_many_times_in_a_call_is_kept_once),
        cmocka_unit_test(background_calls_read_the_store_itself),
        cmocka_unit_test(what_is_removed_or_set_aside_is_dropped),
        cmocka_unit_test(what_is_missing_below_stays_missing),
        cmocka_unit_test(what_the_store_refuses_is_not_kept),
        cmocka_unit_test(a_block_larger_than_a_segment_goes_by),
        cmocka_unit_test(any_byte_may_flip),
        cmocka_unit_test(a_wrong_block_is_read_below_and_healed),
        cmocka_unit_test(a_file_may_be_cut_short),
        cmocka_unit_test(a_file_of_random_bytes_is_survived),
        cmocka_unit_test(a_cache_in_use_keeps_its_size),
        cmocka_unit_test(a_size_out_of_bounds_is_refused),
        cmocka_unit_test(what_is_no_file_of_ours_is_left_alone),
        cmocka_unit_test(a_directory_that_cannot_be_is_told_of),
        cmocka_unit_test(leftovers_of_making_the_file_are_swept),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
