/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The object store on files, below its port: the names of files, what is no object's file, what a
 * crash leaves, and in which order things become durable.
 */
#include "backend/fs/objects.h"
#include "os/file.h"
#include "temp.h"
#include "test.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/file.h>

typedef struct fs_case {
    char directory[256];
    grv_mutable_object_store *store;
} fs_case;

static void case_open(fs_case *self)
{
    grv_error error = GRV_ERROR_INIT;
    const grv_fs_bucket bucket = {"b", self->directory};
    const grv_fs_objects_config config = {.buckets = &bucket, .bucket_count = 1};
    assert_grv_ok(grv_object_store_fs_new(&config, &self->store, &error));
}

static void case_close(fs_case *self)
{
    grv_mutable_object_store_free(self->store);
    self->store = NULL;
}

static int setup(void **state)
{
    fs_case *self = calloc(1, sizeof *self);
    if (!self) {
        return -1;
    }
    test_temp_make(self->directory);
    *state = self;
    case_open(self);
    return 0;
}

static int teardown(void **state)
{
    fs_case *self = *state;
    grv_file_calls_set(NULL);
    case_close(self);
    test_temp_remove(self->directory);
    free(self);
    return 0;
}

static grv_locator locator_of(const char *path)
{
    grv_locator locator = {.scheme = "fs", .bucket = "b"};
    snprintf(locator.path, sizeof locator.path, "%s", path);
    return locator;
}

static grv_status put(fs_case *self, const char *path, const char *content, bool if_absent,
                      grv_error *error)
{
    grv_locator locator = locator_of(path);
    const grv_object_put plan = {.if_absent = if_absent};
    grv_object_sink *sink = NULL;
    grv_status status =
        grv_mutable_object_store_open_put(NULL, self->store, &locator, &plan, &sink, error);
    if (status) {
        return status;
    }
    status = grv_sink_write(NULL, &sink->base, grv_bytes_of(content, strlen(content)), error);
    if (!status) {
        status = grv_sink_commit(NULL, &sink->base, error);
    }
    grv_sink_free(&sink->base);
    return status;
}

static grv_status get(fs_case *self, const char *path, char ret_content[64], grv_error *error)
{
    grv_locator locator = locator_of(path);
    grv_source *source = NULL;
    grv_status status = grv_object_store_open_get(NULL, &self->store->base, &locator, GRV_RANGE_ALL,
                                                  NULL, &source, error);
    if (status) {
        return status;
    }
    size_t size = 0;
    status = grv_source_read(NULL, source, (grv_span){(uint8_t *)ret_content, 63}, &size, error);
    grv_source_free(source);
    ret_content[size] = '\0';
    return status;
}

static size_t count_list(fs_case *self)
{
    grv_error error = GRV_ERROR_INIT;
    const grv_object_list plan = {.bucket = "b"};
    grv_object_cursor *cursor = NULL;
    grv_object_entry entries[50];
    char last[GRV_LOCATOR_PATH_MAX + 1] = "";
    size_t total = 0;
    size_t count = 1;
    assert_grv_ok(grv_object_store_open_list(NULL, &self->store->base, &plan, &cursor, &error));
    while (count > 0) {
        assert_grv_ok(grv_object_cursor_next(NULL, cursor, entries, 50, &count, &error));
        for (size_t i = 0; i < count; i++) {
            assert_true(strcmp(last, entries[i].path) < 0);
            snprintf(last, sizeof last, "%s", entries[i].path);
        }
        total += count;
    }
    grv_object_cursor_free(cursor);
    return total;
}

static char *path_in(const fs_case *self, const char *name)
{
    static char path[4096];
    snprintf(path, sizeof path, "%s/%s", self->directory, name);
    return path;
}

static void write_raw(const fs_case *self, const char *name)
{
    FILE *file = fopen(path_in(self, name), "w");
    assert_non_null(file);
    assert_int_equal(fputs("raw", file) < 0, 0);
    assert_int_equal(fclose(file), 0);
}

/* ---- names ---- */

#define X10 "xxxxxxxxxx"
#define X40 X10 X10 X10 X10
#define X80 X40 X40

/* Names that last: docs/format.md says the same. */
static void names_are_as_documented(void **state)
{
    fs_case *self = *state;
    static const struct {
        const char *path;
        const char *file;
    } names[] = {
        {"photos/2024/a.jpg", "photos+/2024+/a.jpg"},
        {"a", "a"},
        {"a/b", "a+/b"},
        {"a/", "a+/="},
        {"/", "+/="},
        {"//a", "+/+/a"},
        {"..", "%2E."},
        {"../.x/.", "%2E.+/%2Ex+/%2E"},
        {"a.b-c_D9", "a.b-c_D9"},
        {"a b%+~=\n\xff", "a%20b%25%2B%7E%3D%0A%FF"},
        {"=", "%3D"},
        {X40 X10 "/y", X40 X10 "+/y"},
        {X80, X80 "~/="},
        {X80 "/y", X80 "~/+/y"},
        {X80 X80 "z", X80 "~/" X80 "~/z"},
        {X80 ".", X80 "~/%2E"},
    };
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        grv_error error = GRV_ERROR_INIT;
        assert_grv_ok(put(self, names[i].path, "content", false, &error));
        struct stat st;
        if (lstat(path_in(self, names[i].file), &st) || !S_ISREG(st.st_mode)) {
            fail_msg("%s is not at %s", names[i].path, names[i].file);
        }
        assert_int_equal(st.st_size, 7);
    }
}

static void names_that_are_no_pieces_are_refused(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "",    ".",    "..", ".tmp", ".a",  "%2e", "%",   "%2",    "%2G",   "%00",   "%2F",
        "%41", "a=",   "==", "a b",  "a+b", "~",   "a~",  X80,     X80 "+", X80 "=", X80 "x~",
        "+a",  "\xff", "a,", "%2",   "a%",  "%+",  "%2+", "%2E+=", ".+",
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        grv_fs_piece piece;
        if (grv_fs_piece_parse(bad[i], &piece)) {
            fail_msg("\"%s\" reads as a piece", bad[i]);
        }
    }
}

static void every_byte_and_length_comes_back_from_its_name(void **state)
{
    (void)state;
    uint64_t random = 4;
    for (int round = 0; round < 3000; round++) {
        char path[200];
        size_t size = 1 + test_random(&random) % 199;
        test_random_fill(&random, (uint8_t *)path, size);
        path[size] = '\0';
        size = strlen(path);
        size_t at = 0;
        char back[200];
        size_t used = 0;
        grv_fs_piece piece = {0};
        while (piece.kind != GRV_FS_PIECE_FILE) {
            char name[GRV_FS_PIECE_NAME_SIZE];
            grv_fs_piece read;
            piece = grv_fs_piece_next(path, &at);
            grv_fs_piece_print(&piece, name);
            assert_true(strlen(name) > 0 && strlen(name) <= 255);
            assert_true(grv_fs_piece_parse(name, &read));
            assert_int_equal(read.kind, piece.kind);
            memcpy(back + used, read.bytes, read.size);
            used += read.size;
        }
        assert_int_equal(used, size);
        assert_memory_equal(back, path, size);
    }
}

/* ---- strangers ---- */

static void what_is_no_objects_file_is_ignored(void **state)
{
    fs_case *self = *state;
    grv_error error = GRV_ERROR_INIT;
    char content[64];
    assert_grv_ok(put(self, "a/b", "mine", false, &error));
    write_raw(self, ".hidden");
    write_raw(self, "has space");
    write_raw(self, "a+/%2e");
    write_raw(self, "file+");
    assert_int_equal(mkdir(path_in(self, "lost.found"), 0777), 0);
    write_raw(self, "lost.found/x");
    assert_int_equal(mkdir(path_in(self, "a+/dir"), 0777), 0);
    assert_int_equal(mkfifo(path_in(self, "pipe"), 0666), 0);
    assert_int_equal(count_list(self), 1);
    static const char *const absent[] = {"lost.found", "lost.found/x", "a/dir", "pipe", "file/x"};
    for (size_t i = 0; i < sizeof absent / sizeof absent[0]; i++) {
        grv_locator locator = locator_of(absent[i]);
        grv_object_info info;
        assert_grv_status(grv_object_store_head(NULL, &self->store->base, &locator, &info, &error),
                          GRV_NOT_FOUND);
        assert_grv_status(get(self, absent[i], content, &error), GRV_NOT_FOUND);
        assert_grv_ok(grv_mutable_object_store_remove(NULL, self->store, &locator, &error));
    }
    assert_int_equal(access(path_in(self, "pipe"), F_OK), 0);
    assert_grv_status(put(self, "file/x", "new", false, &error), GRV_CONFLICT);
    assert_grv_status(put(self, "pipe", "new", true, &error), GRV_CONFLICT);
    assert_true(put(self, "a/dir", "new", false, &error) != GRV_OK);
    assert_int_equal(count_list(self), 1);
    /* A file with an object's name is one, whoever made it. */
    write_raw(self, "raw");
    assert_grv_ok(get(self, "raw", content, &error));
    assert_string_equal(content, "raw");
    assert_int_equal(count_list(self), 2);
}

static void links_are_not_followed(void **state)
{
    fs_case *self = *state;
    grv_error error = GRV_ERROR_INIT;
    char outside[256];
    char content[64];
    test_temp_make(outside);
    char file[300];
    snprintf(file, sizeof file, "%s/secret", outside);
    FILE *made = fopen(file, "w");
    assert_non_null(made);
    assert_int_equal(fclose(made), 0);
    assert_int_equal(symlink(outside, path_in(self, "dir+")), 0);
    assert_int_equal(symlink(file, path_in(self, "link")), 0);
    assert_int_equal(symlink("nowhere", path_in(self, "dangling")), 0);
    assert_grv_status(get(self, "dir/secret", content, &error), GRV_NOT_FOUND);
    assert_grv_status(get(self, "link", content, &error), GRV_NOT_FOUND);
    assert_int_equal(count_list(self), 0);
    assert_grv_status(put(self, "dir/new", "x", false, &error), GRV_CONFLICT);
    assert_grv_status(put(self, "dangling", "x", true, &error), GRV_CONFLICT);
    assert_grv_ok(put(self, "link", "mine", false, &error)); /* replaces the link itself */
    assert_grv_ok(get(self, "link", content, &error));
    assert_string_equal(content, "mine");
    struct stat st;
    assert_int_equal(stat(file, &st), 0);
    assert_int_equal(st.st_size, 0);
    snprintf(file, sizeof file, "%s/new", outside);
    assert_int_equal(access(file, F_OK), -1);
    test_temp_remove(outside);
}

/* More names than a list keeps at a time, in three directories. */
static void a_wide_directory_is_listed_whole(void **state)
{
    fs_case *self = *state;
    grv_error error = GRV_ERROR_INIT;
    assert_grv_ok(put(self, "d/x", "", false, &error));
    assert_grv_ok(put(self, "d/e/x", "", false, &error));
    for (unsigned i = 0; i < 2500; i++) {
        static const char *const places[] = {"", "d+/", "d+/e+/"};
        char name[64];
        snprintf(name, sizeof name, "%s%u", places[i % 3 > 0 ? i % 3 : i % 2], i * 7919 % 100003);
        write_raw(self, name);
    }
    for (unsigned i = 0; i < 1500; i++) {
        char name[64];
        snprintf(name, sizeof name, "s%u+", i);
        assert_int_equal(mkdir(path_in(self, name), 0777), 0);
        snprintf(name, sizeof name, "s%u+/x", i);
        write_raw(self, name);
    }
    assert_int_equal(count_list(self), 2 + 2500 + 1500);
}

/* ---- crashes ---- */

static size_t count_temporaries(const fs_case *self)
{
    grv_error error = GRV_ERROR_INIT;
    int fd;
    DIR *entries;
    size_t count = 0;
    if (grv_directory_open(AT_FDCWD, path_in(self, ".tmp"), false, &fd, &error)) {
        return 0;
    }
    assert_grv_ok(grv_directory_entries(fd, "temp", &entries, &error));
    const char *name = "";
    while (name) {
        assert_grv_ok(grv_directory_next(entries, "temp", &name, &error));
        count += name != NULL;
    }
    grv_directory_close(entries);
    close(fd);
    return count;
}

static void what_a_crash_left_goes_and_what_lives_stays(void **state)
{
    fs_case *self = *state;
    grv_error error = GRV_ERROR_INIT;
    grv_locator locator = locator_of("a");
    grv_object_sink *sink = NULL;
    assert_grv_ok(grv_mutable_object_store_open_put(NULL, self->store, &locator,
                                                    &(grv_object_put){0}, &sink, &error));
    assert_grv_ok(grv_sink_write(NULL, &sink->base, grv_bytes_of("living", 6), &error));
    write_raw(self, ".tmp/0123456789abcdef-7");
    write_raw(self, ".tmp/somebody's");
    assert_int_equal(count_temporaries(self), 3);
    fs_case other = *self;
    case_open(&other);
    assert_grv_ok(put(&other, "b", "other", false, &error));
    assert_int_equal(count_temporaries(self), 2);
    assert_int_equal(access(path_in(self, ".tmp/somebody's"), F_OK), 0);
    case_close(&other);
    assert_grv_ok(grv_sink_commit(NULL, &sink->base, &error));
    grv_sink_free(&sink->base);
    assert_int_equal(count_temporaries(self), 1);
    char content[64];
    assert_grv_ok(get(self, "a", content, &error));
    assert_string_equal(content, "living");
}

static void nothing_of_a_put_stays_in_the_way(void **state)
{
    fs_case *self = *state;
    grv_error error = GRV_ERROR_INIT;
    assert_grv_ok(put(self, "a", "1", true, &error));
    assert_grv_ok(put(self, "a", "2", false, &error));
    assert_grv_status(put(self, "a", "3", true, &error), GRV_ALREADY_EXISTS);
    grv_locator locator = locator_of("x/y");
    grv_object_sink *sink = NULL;
    assert_grv_ok(grv_mutable_object_store_open_put(NULL, self->store, &locator,
                                                    &(grv_object_put){0}, &sink, &error));
    assert_grv_ok(grv_sink_write(NULL, &sink->base, grv_bytes_of("x", 1), &error));
    grv_sink_free(&sink->base);
    assert_int_equal(count_temporaries(self), 0);
    assert_int_equal(access(path_in(self, "x+"), F_OK), -1);
}

static void a_file_that_was_cut_is_corrupt(void **state)
{
    fs_case *self = *state;
    grv_error error = GRV_ERROR_INIT;
    grv_locator locator = locator_of("a");
    grv_source *source = NULL;
    grv_bytes view;
    assert_grv_ok(put(self, "a", "0123456789", false, &error));
    assert_grv_ok(grv_object_store_open_get(NULL, &self->store->base, &locator, GRV_RANGE_ALL, NULL,
                                            &source, &error));
    assert_int_equal(truncate(path_in(self, "a"), 4), 0);
    assert_grv_ok(grv_source_next(NULL, source, 100, &view, &error));
    assert_int_equal(view.size, 4);
    assert_grv_status(grv_source_next(NULL, source, 100, &view, &error), GRV_CORRUPT);
    assert_grv_status(grv_source_next(NULL, source, 100, &view, &error), GRV_CORRUPT);
    grv_source_free(source);
}

/* ---- the order of calls, and calls that fail ---- */

static struct {
    char steps[512]; /* one letter a call */
    size_t used;
    size_t fail_at; /* the call that fails, from 1; 0: none */
    size_t count;
    bool failed;
} log_of;

/* Notes a call; true where it is to fail. */
static bool step(char letter)
{
    if (log_of.used + 1 < sizeof log_of.steps) {
        log_of.steps[log_of.used++] = letter;
        log_of.steps[log_of.used] = '\0';
    }
    if (++log_of.count == log_of.fail_at) {
        log_of.failed = true;
        errno = EIO;
        return true;
    }
    return false;
}

static ssize_t log_write(int fd, const void *data, size_t size)
{
    return step('w') ? -1 : write(fd, data, size);
}

static int log_futimens(int fd, const struct timespec times[2])
{
    return step('t') ? -1 : futimens(fd, times);
}

static int log_fdatasync(int fd)
{
    return step('s') ? -1 : fdatasync(fd);
}

static int log_fsync(int fd)
{
    return step('S') ? -1 : fsync(fd);
}

static int log_mkdirat(int dir, const char *path, mode_t mode)
{
    return step('m') ? -1 : mkdirat(dir, path, mode);
}

static int log_renameat(int old_dir, const char *old_path, int new_dir, const char *new_path)
{
    return step('r') ? -1 : renameat(old_dir, old_path, new_dir, new_path);
}

static int log_linkat(int old_dir, const char *old_path, int new_dir, const char *new_path,
                      int flags)
{
    return step('l') ? -1 : linkat(old_dir, old_path, new_dir, new_path, flags);
}

static int log_unlinkat(int dir, const char *path, int flags)
{
    return step('u') ? -1 : unlinkat(dir, path, flags);
}

static int log_flock(int fd, int operation)
{
    return step('f') ? -1 : flock(fd, operation);
}

static void log_begin(size_t fail_at)
{
    static grv_file_ops ops;
    ops = grv_file_ops_system;
    ops.write = log_write;
    ops.futimens = log_futimens;
    ops.fdatasync = log_fdatasync;
    ops.fsync = log_fsync;
    ops.mkdirat = log_mkdirat;
    ops.renameat = log_renameat;
    ops.linkat = log_linkat;
    ops.unlinkat = log_unlinkat;
    ops.flock = log_flock;
    memset(&log_of, 0, sizeof log_of);
    log_of.fail_at = fail_at;
    grv_file_calls_set(&ops);
}

static void check_steps(const char *want)
{
    grv_file_calls_set(NULL);
    assert_string_equal(log_of.steps, want);
}

/* m mkdir, f flock, w write, t time, s sync of the file, S of a directory, r rename, l link,
 * u unlink. */
static void what_is_named_is_durable_and_then_its_name(void **state)
{
    fs_case *self = *state;
    grv_error error = GRV_ERROR_INIT;
    grv_locator locator = locator_of("x/y/a");
    log_begin(0);
    assert_grv_ok(put(self, "x/y/a", "1", false, &error));
    check_steps("mfwts" /* .tmp and the file */ "mSmS" /* x, y, each in its parent */ "rS");
    log_begin(0);
    assert_grv_ok(put(self, "x/y/b", "1", true, &error));
    check_steps("fwtsluS");
    log_begin(0);
    assert_grv_status(put(self, "x/y/b", "2", true, &error), GRV_ALREADY_EXISTS);
    check_steps("S");
    log_begin(0);
    assert_grv_ok(grv_mutable_object_store_remove(NULL, self->store, &locator, &error));
    check_steps("uS");
    log_begin(0);
    assert_grv_ok(grv_mutable_object_store_remove(NULL, self->store, &locator, &error));
    check_steps("S");
    /* Another process cannot know that the directories it finds are durable. */
    case_close(self);
    case_open(self);
    log_begin(0);
    assert_grv_ok(put(self, "x/y/c", "1", false, &error));
    check_steps("mfwtsSSrS");
}

/* Whichever call fails, the object has the old bytes or the new, and the next try succeeds. */
static void any_call_that_fails_leaves_old_or_new(void **state)
{
    fs_case *self = *state;
    grv_error error = GRV_ERROR_INIT;
    for (int if_absent = 0; if_absent < 2; if_absent++) {
        bool fired = true;
        for (size_t at = 1; fired; at++) {
            char path[64];
            char content[64] = "";
            snprintf(path, sizeof path, "%d/%zu/a", if_absent, at);
            if (!if_absent) {
                assert_grv_ok(put(self, path, "old", false, &error));
            }
            case_close(self);
            case_open(self);
            log_begin(at);
            grv_status status = put(self, path, "new", if_absent, &error);
            grv_file_calls_set(NULL);
            fired = log_of.failed;
            grv_error ignored;
            grv_status seen = get(self, path, content, &ignored);
            if (!status) {
                assert_grv_status(seen, GRV_OK);
                assert_string_equal(content, "new");
            } else if (seen) {
                assert_true(if_absent);
                assert_grv_status(seen, GRV_NOT_FOUND);
            } else {
                assert_true(strcmp(content, if_absent ? "new" : "old") == 0 ||
                            strcmp(content, "new") == 0);
            }
            assert_true(!status || error.message[0] != '\0');
            assert_grv_ok(put(self, path, "again", false, &error));
            assert_grv_ok(get(self, path, content, &error));
            assert_string_equal(content, "again");
        }
        case_close(self);
        case_open(self);
        assert_grv_ok(put(self, "sweep", "", false, &error));
        assert_int_equal(count_temporaries(self), 0);
    }
}

/* The name is there, but nobody knows whether it would survive: no answer may rely on it. */
static void after_a_failed_directory_sync_absence_is_not_denied(void **state)
{
    fs_case *self = *state;
    grv_error error = GRV_ERROR_INIT;
    assert_grv_ok(put(self, "a", "1", false, &error));
    log_begin(7); /* fwtsluS */
    assert_grv_status(put(self, "b", "1", true, &error), GRV_UNAVAILABLE);
    check_steps("fwtsluS");
    assert_grv_status(put(self, "b", "1", true, &error), GRV_UNAVAILABLE);
    assert_non_null(strstr(error.message, "open the store again"));
    assert_grv_ok(put(self, "b", "2", false, &error));
}

static void wrong_configurations_are_refused(void **state)
{
    fs_case *self = *state;
    grv_error error = GRV_ERROR_INIT;
    char long_name[300];
    memset(long_name, 'n', sizeof long_name);
    long_name[GRV_LOCATOR_BUCKET_MAX + 1] = '\0';
    const grv_fs_bucket wrong[][2] = {
        {{"", self->directory}, {"x", self->directory}},
        {{"a/b", self->directory}, {"x", self->directory}},
        {{"a\n", self->directory}, {"x", self->directory}},
        {{long_name, self->directory}, {"x", self->directory}},
        {{"x", self->directory}, {"x", self->directory}},
    };
    grv_mutable_object_store *store = NULL;
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        const grv_fs_objects_config config = {.buckets = wrong[i], .bucket_count = 2};
        assert_grv_status(grv_object_store_fs_new(&config, &store, &error), GRV_INVALID_ARGUMENT);
    }
    assert_grv_status(grv_object_store_fs_new(&(grv_fs_objects_config){0}, &store, &error),
                      GRV_INVALID_ARGUMENT);
    const grv_fs_bucket missing = {"m", path_in(self, "missing")};
    grv_fs_objects_config config = {.buckets = &missing, .bucket_count = 1};
    assert_grv_status(grv_object_store_fs_new(&config, &store, &error), GRV_NOT_FOUND);
    assert_non_null(strstr(error.message, "fs://m"));
    config.create = true;
    assert_grv_ok(grv_object_store_fs_new(&config, &store, &error));
    grv_mutable_object_store_free(store);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(names_are_as_documented, setup, teardown),
        cmocka_unit_test(names_that_are_no_pieces_are_refused),
        cmocka_unit_test(every_byte_and_length_comes_back_from_its_name),
        cmocka_unit_test_setup_teardown(what_is_no_objects_file_is_ignored, setup, teardown),
        cmocka_unit_test_setup_teardown(links_are_not_followed, setup, teardown),
        cmocka_unit_test_setup_teardown(a_wide_directory_is_listed_whole, setup, teardown),
        cmocka_unit_test_setup_teardown(what_a_crash_left_goes_and_what_lives_stays, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(nothing_of_a_put_stays_in_the_way, setup, teardown),
        cmocka_unit_test_setup_teardown(a_file_that_was_cut_is_corrupt, setup, teardown),
        cmocka_unit_test_setup_teardown(what_is_named_is_durable_and_then_its_name, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(any_call_that_fails_leaves_old_or_new, setup, teardown),
        cmocka_unit_test_setup_teardown(after_a_failed_directory_sync_absence_is_not_denied, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(wrong_configurations_are_refused, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
