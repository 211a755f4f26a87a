/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What only a store on a disk can get wrong: holders, kills, a full disk, and damage. Whatever is
 * to die or to run out of space runs in a process of its own: this program again, with a role.
 */
#include "test.h"

#include "temp.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <graviton/backend/rocks.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>

#define NAMESPACES 3u
static const char *const names[NAMESPACES] = {"meta", "root", "block"};

static grv_status open_store(const char *directory, bool create, grv_kv **ret_kv, grv_error *error)
{
    const grv_rocks_config config = {.directory = directory,
                                     .namespaces = names,
                                     .namespace_count = NAMESPACES,
                                     .create = create};
    return grv_kv_rocks_new(&config, ret_kv, error);
}

/* Batch `number` of the children's: small in "root", now and then large in "block". Every third is
 * durable. */
static grv_status write_number(grv_kv *kv, uint32_t number, grv_durability durability,
                               grv_error *error)
{
    static uint8_t value[50000];
    uint64_t seed = number;
    size_t size = number % 4 ? 20 : sizeof value;
    test_random_fill(&seed, value, size);
    const uint8_t key[4] = {(uint8_t)(number >> 24), (uint8_t)(number >> 16),
                            (uint8_t)(number >> 8), (uint8_t)number};
    const grv_kv_op ops[] = {
        {.kind = GRV_KV_PUT, .ns = 1, .key = {key, 4}, .value = {key, 4}},
        {.kind = GRV_KV_PUT, .ns = 2, .key = {key, 4}, .value = {value, size}},
    };
    const grv_kv_batch batch = {.ops = ops, .op_count = 2, .durability = durability};
    return grv_kv_write(NULL, kv, &batch, error);
}

/* Whether batch `number` is there: wholly, or not at all; half of one fails the test. */
static bool has_number(grv_kv *kv, uint32_t number)
{
    static uint8_t want[50000];
    uint64_t seed = number;
    size_t size = number % 4 ? 20 : sizeof want;
    test_random_fill(&seed, want, size);
    const uint8_t key[4] = {(uint8_t)(number >> 24), (uint8_t)(number >> 16),
                            (uint8_t)(number >> 8), (uint8_t)number};
    grv_value small = {0};
    grv_value large = {0};
    grv_status first = grv_kv_get(NULL, kv, 1, grv_bytes_of(key, 4), &small, NULL);
    grv_status second = grv_kv_get(NULL, kv, 2, grv_bytes_of(key, 4), &large, NULL);
    assert_int_equal(first, second);
    bool there = first == GRV_OK;
    if (there) {
        assert_int_equal(grv_bytes_compare(large.bytes, grv_bytes_of(want, size)), 0);
    } else {
        assert_int_equal(first, GRV_NOT_FOUND);
    }
    grv_value_done(&small);
    grv_value_done(&large);
    return there;
}

/* The children's roles. Each prints what it has done to the pipe that is its standard output. */
static int say(uint32_t number)
{
    return write(STDOUT_FILENO, &number, sizeof number) == (ssize_t)sizeof number ? 0 : 1;
}

static int role_hold(void)
{
    int failed = say(0);
    while (!failed) {
        failed = pause() == 0;
    }
    return failed;
}

/* Ten batches, the last as durable as it is told, and then nothing more. */
static int role_tail(grv_kv *kv, uint32_t last)
{
    for (uint32_t number = 0; number < 10; number++) {
        if (write_number(kv, number, number < 9 ? GRV_DURABLE : (grv_durability)last, NULL)) {
            return 1;
        }
    }
    return role_hold();
}

static int role_write(grv_kv *kv, uint32_t first)
{
    for (uint32_t number = first;; number++) {
        grv_error error = GRV_ERROR_INIT;
        if (write_number(kv, number, number % 3 ? GRV_ORDERED : GRV_DURABLE, &error) ||
            say(number)) {
            fprintf(stderr, "write %u: %s\n", number, error.message);
            return 1;
        }
    }
}

/* Writes until files may not grow, which stands for a full disk, and then on: what was written
 * can be read, and nothing more can be written. 0 if all that is so. */
static int role_fill(grv_kv *kv)
{
    grv_error error = GRV_ERROR_INIT;
    const struct rlimit limit = {1 << 20, 1 << 20};
    signal(SIGXFSZ, SIG_IGN);
    if (setrlimit(RLIMIT_FSIZE, &limit) != 0) {
        return 2;
    }
    uint32_t number = 0;
    while (number < 1000 && write_number(kv, number, GRV_ORDERED, &error) == GRV_OK) {
        say(number++);
    }
    if (error.status != GRV_LIMIT_EXCEEDED || !has_number(kv, 0) || has_number(kv, number)) {
        fprintf(stderr, "after %u: %s\n", number, error.message);
        return 3;
    }
    grv_status again = write_number(kv, number + 1, GRV_DURABLE, &error);
    if (again != GRV_LIMIT_EXCEEDED || !strstr(error.message, "opened again")) {
        fprintf(stderr, "again: %s\n", error.message);
        return 4;
    }
    if (grv_kv_flush(NULL, kv, &error) != GRV_LIMIT_EXCEEDED || !has_number(kv, number - 1)) {
        return 5;
    }
    grv_kv_free(kv);
    return 0;
}

static int run_role(const char *role, const char *directory, const char *first)
{
    grv_error error = GRV_ERROR_INIT;
    grv_kv *kv = NULL;
    if (open_store(directory, true, &kv, &error)) {
        fprintf(stderr, "%s: %s\n", role, error.message);
        return 1;
    }
    if (strcmp(role, "hold") == 0) {
        return role_hold();
    }
    if (strcmp(role, "fill") == 0) {
        return role_fill(kv);
    }
    uint32_t number = (uint32_t)strtoul(first, NULL, 10);
    return strcmp(role, "tail") == 0 ? role_tail(kv, number) : role_write(kv, number);
}

/* A child at work. */
typedef struct worker {
    pid_t pid;
    int output;
} worker;

static worker start(const char *role, const char *directory, uint32_t first)
{
    char number[16];
    snprintf(number, sizeof number, "%u", first);
    int ends[2];
    assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        dup2(ends[1], STDOUT_FILENO);
        execl("/proc/self/exe", "rocks-child", role, directory, number, (char *)NULL);
        _exit(127);
    }
    close(ends[1]);
    return (worker){pid, ends[0]};
}

/* The next number a child has said; false at its end. */
static bool hear(const worker *child, uint32_t *ret_number)
{
    uint32_t number;
    ssize_t got = read(child->output, &number, sizeof number);
    if (got == (ssize_t)sizeof number) {
        *ret_number = number;
        return true;
    }
    assert_int_equal(got, 0);
    return false;
}

static int end(worker *child, bool kill_it)
{
    int status = 0;
    if (kill_it) {
        kill(child->pid, SIGKILL);
    }
    uint32_t rest;
    while (hear(child, &rest)) {
    }
    close(child->output);
    assert_int_equal(waitpid(child->pid, &status, 0), child->pid);
    return kill_it ? WTERMSIG(status) : WEXITSTATUS(status);
}

static int setup(void **state)
{
    static char directory[256];
    test_temp_make(directory);
    *state = directory;
    return 0;
}

static int teardown(void **state)
{
    test_temp_remove(*state);
    return 0;
}

static void a_second_process_is_refused_by_name(void **state)
{
    const char *directory = *state;
    grv_error error = GRV_ERROR_INIT;
    grv_kv *kv = NULL;
    char want[64];
    uint32_t ready;
    worker holder = start("hold", directory, 0);
    assert_true(hear(&holder, &ready));
    assert_grv_status(open_store(directory, true, &kv, &error), GRV_UNAVAILABLE);
    snprintf(want, sizeof want, "is in use by pid %ld (rocks-child)", (long)holder.pid);
    assert_non_null(strstr(error.message, want));
    assert_non_null(strstr(error.message, directory));
    assert_null(kv);
    assert_int_equal(end(&holder, true), SIGKILL);
    /* The dead holder's file is still there and is no obstacle. */
    assert_grv_ok(open_store(directory, false, &kv, &error));
    grv_kv *second = NULL;
    assert_grv_status(open_store(directory, false, &second, &error), GRV_UNAVAILABLE);
    snprintf(want, sizeof want, "in use by pid %ld (", (long)getpid());
    assert_non_null(strstr(error.message, want));
    grv_kv_free(kv);
}

static void a_kill_loses_nothing_acknowledged(void **state)
{
    const char *directory = *state;
    grv_error error = GRV_ERROR_INIT;
    uint64_t seed = grv_now_ns();
    printf("# seed %llu\n", (unsigned long long)seed);
    uint32_t next = 0;
    for (int round = 0; round < 6; round++) {
        worker writer = start("write", directory, next);
        uint32_t acknowledged = 0;
        uint32_t stop_at = next + (uint32_t)(test_random(&seed) % 150);
        while (hear(&writer, &acknowledged) && acknowledged < stop_at) {
        }
        kill(writer.pid, SIGKILL);
        while (hear(&writer, &acknowledged)) {
        }
        assert_int_equal(end(&writer, true), SIGKILL);
        assert_true(acknowledged >= stop_at);
        grv_kv *kv = NULL;
        assert_grv_ok(open_store(directory, false, &kv, &error));
        for (uint32_t number = 0; number <= acknowledged; number++) {
            assert_true(has_number(kv, number));
        }
        next = acknowledged + 1 + has_number(kv, acknowledged + 1);
        assert_false(has_number(kv, next));
        grv_kv_free(kv);
    }
}

static void a_full_disk_stops_writing_and_loses_nothing(void **state)
{
    const char *directory = *state;
    grv_error error = GRV_ERROR_INIT;
    worker filler = start("fill", directory, 0);
    uint32_t acknowledged = 0;
    while (hear(&filler, &acknowledged)) {
    }
    assert_int_equal(end(&filler, false), 0);
    assert_true(acknowledged > 10);
    grv_kv *kv = NULL;
    assert_grv_ok(open_store(directory, false, &kv, &error));
    for (uint32_t number = 0; number <= acknowledged; number++) {
        assert_true(has_number(kv, number));
    }
    assert_grv_ok(write_number(kv, acknowledged + 1, GRV_DURABLE, &error));
    grv_kv_free(kv);
}

static size_t count_files(const char *directory)
{
    size_t count = 0;
    DIR *entries = opendir(directory);
    assert_non_null(entries);
    for (const struct dirent *entry; (entry = readdir(entries));) {
        count += entry->d_name[0] != '.';
    }
    closedir(entries);
    return count;
}

static void nothing_is_made_where_nothing_is(void **state)
{
    const char *directory = *state;
    grv_error error = GRV_ERROR_INIT;
    grv_kv *kv = NULL;
    char deeper[300];
    bool exists = true;
    snprintf(deeper, sizeof deeper, "%s/a/b", directory);
    assert_grv_status(open_store(deeper, false, &kv, &error), GRV_NOT_FOUND);
    assert_grv_ok(grv_rocks_exists(deeper, &exists, &error));
    assert_false(exists);
    assert_grv_status(open_store(directory, false, &kv, &error), GRV_NOT_FOUND);
    assert_int_equal(count_files(directory), 0);
    assert_grv_ok(grv_rocks_exists(directory, &exists, &error));
    assert_false(exists);
    assert_grv_ok(open_store(deeper, true, &kv, &error));
    grv_kv_free(kv);
    assert_grv_ok(grv_rocks_exists(deeper, &exists, &error));
    assert_true(exists);
    assert_grv_ok(open_store(deeper, false, &kv, &error));
    grv_kv_free(kv);
}

/* Path of the one file in `directory` whose name ends so. */
static void find_file(const char *directory, const char *suffix, char ret_path[600])
{
    DIR *entries = opendir(directory);
    int found = 0;
    assert_non_null(entries);
    for (const struct dirent *entry; (entry = readdir(entries));) {
        size_t size = strlen(entry->d_name);
        if (size >= strlen(suffix) && strcmp(entry->d_name + size - strlen(suffix), suffix) == 0) {
            snprintf(ret_path, 600, "%s/%s", directory, entry->d_name);
            found++;
        }
    }
    closedir(entries);
    assert_int_equal(found, 1);
}

/* Leaves a store as a kill does, with all it wrote in its log; returns the log's path and size. The
 * last of its ten batches is of the given kind, those before it are durable. */
static off_t make_killed(const char *directory, grv_durability last, char ret_log[600])
{
    worker writer = start("tail", directory, last);
    uint32_t number;
    assert_true(hear(&writer, &number));
    assert_int_equal(end(&writer, true), SIGKILL);
    find_file(directory, ".log", ret_log);
    struct stat st;
    assert_int_equal(stat(ret_log, &st), 0);
    return st.st_size;
}

static void flip_byte(const char *path, off_t offset)
{
    uint8_t byte;
    int fd = open(path, O_RDWR);
    assert_true(fd >= 0);
    assert_int_equal(pread(fd, &byte, 1, offset), 1);
    byte ^= 0x40;
    assert_int_equal(pwrite(fd, &byte, 1, offset), 1);
    close(fd);
}

static void write_file(const char *directory, const char *name, const char *text)
{
    char path[600];
    snprintf(path, sizeof path, "%s/%s", directory, name);
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0666);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), strlen(text));
    close(fd);
}

static void a_log_damaged_before_durable_writes_is_told(void **state)
{
    const char *directory = *state;
    grv_error error = GRV_ERROR_INIT;
    grv_kv *kv = NULL;
    char log[600];
    flip_byte(log, make_killed(directory, GRV_DURABLE, log) / 2);
    for (int i = 0; i < 2; i++) { /* and told again, though RocksDB itself is content by then */
        assert_grv_status(open_store(directory, false, &kv, &error), GRV_CORRUPT);
        assert_non_null(strstr(error.message, "acknowledged"));
    }
    char path[600];
    snprintf(path, sizeof path, "%s/durable", directory);
    assert_int_equal(unlink(path), 0);
    assert_grv_ok(open_store(directory, false, &kv, &error));
    assert_true(has_number(kv, 0));
    assert_false(has_number(kv, 9));
    assert_grv_ok(write_number(kv, 9, GRV_DURABLE, &error));
    grv_kv_free(kv);
    assert_grv_ok(open_store(directory, false, &kv, &error));
    grv_kv_free(kv);
}

/* Damage to the very last write is told if that was durable; an ordered one may be gone. */
static void the_end_of_the_log_is_held_to_its_word(void **state)
{
    const char *directory = *state;
    grv_error error = GRV_ERROR_INIT;
    grv_kv *kv = NULL;
    char log[600];
    char other[300];
    flip_byte(log, make_killed(directory, GRV_DURABLE, log) - 1);
    assert_grv_status(open_store(directory, false, &kv, &error), GRV_CORRUPT);
    snprintf(other, sizeof other, "%s/other", directory);
    flip_byte(log, make_killed(other, GRV_ORDERED, log) - 1);
    assert_grv_ok(open_store(other, false, &kv, &error));
    for (uint32_t number = 0; number < 9; number++) {
        assert_true(has_number(kv, number));
    }
    assert_false(has_number(kv, 9));
    grv_kv_free(kv);
}

static void a_damaged_root_file_is_no_empty_store(void **state)
{
    const char *directory = *state;
    grv_error error = GRV_ERROR_INIT;
    grv_kv *kv = NULL;
    char log[600];
    char current[600];
    char saved[600];
    make_killed(directory, GRV_DURABLE, log);
    snprintf(current, sizeof current, "%s/CURRENT", directory);
    snprintf(saved, sizeof saved, "%s/saved", directory);
    assert_int_equal(rename(current, saved), 0);
    static const char *const contents[] = {"", "nonsense", "MANIFEST-009999\n", "../../x\n", NULL};
    for (size_t i = 0; i < sizeof contents / sizeof contents[0]; i++) {
        if (contents[i]) {
            write_file(directory, "CURRENT", contents[i]);
        } else {
            assert_int_equal(unlink(current), 0);
        }
        for (int create = 0; create < 2; create++) {
            assert_grv_status(open_store(directory, create, &kv, &error), GRV_CORRUPT);
        }
    }
    bool exists;
    assert_grv_status(grv_rocks_exists(directory, &exists, &error), GRV_CORRUPT);
    assert_int_equal(rename(saved, current), 0);
    assert_grv_ok(open_store(directory, true, &kv, &error));
    assert_true(has_number(kv, 9));
    grv_kv_free(kv);
}

static void directories_out_of_reach_are_told_apart(void **state)
{
    const char *directory = *state;
    grv_error error = GRV_ERROR_INIT;
    grv_kv *kv = NULL;
    char path[600];
    bool exists;
    write_file(directory, "file", "x");
    snprintf(path, sizeof path, "%s/file", directory);
    assert_grv_status(open_store(path, true, &kv, &error), GRV_INVALID_ARGUMENT);
    assert_grv_status(grv_rocks_exists(path, &exists, &error), GRV_INVALID_ARGUMENT);
    /* Root may write anywhere, so it is nobody for a moment. */
    bool root = geteuid() == 0;
    assert_int_equal(chmod(directory, 0555), 0);
    assert_true(!root || seteuid(65534) == 0);
    grv_status made = open_store(directory, true, &kv, &error);
    snprintf(path, sizeof path, "%s/new", directory);
    grv_status deeper = open_store(path, true, &kv, &error);
    assert_true(!root || seteuid(0) == 0);
    assert_int_equal(chmod(directory, 0755), 0);
    assert_grv_status(made, GRV_PERMISSION);
    assert_grv_status(deeper, GRV_PERMISSION);
    assert_int_equal(count_files(directory), 1);
}

static void namespaces_come_and_go_without_loss(void **state)
{
    const char *directory = *state;
    grv_error error = GRV_ERROR_INIT;
    grv_kv *kv = NULL;
    static const char *const fewer[] = {"meta"};
    static const char *const more[] = {"newer", "block", "root", "meta"};
    static const char *const twice[] = {"meta", "meta"};
    static const char *const taken[] = {"default"};
    grv_rocks_config config = {.directory = directory, .create = true};
    assert_grv_ok(open_store(directory, true, &kv, &error));
    assert_grv_ok(write_number(kv, 4, GRV_DURABLE, &error));
    grv_kv_free(kv);
    config.namespaces = fewer;
    config.namespace_count = 1;
    assert_grv_ok(grv_kv_rocks_new(&config, &kv, &error));
    grv_kv_free(kv);
    config.namespaces = more;
    config.namespace_count = 4;
    assert_grv_ok(grv_kv_rocks_new(&config, &kv, &error));
    const uint8_t key[4] = {0, 0, 0, 4};
    grv_value value = {0};
    assert_grv_status(grv_kv_get(NULL, kv, 0, grv_bytes_of(key, 4), &value, &error), GRV_NOT_FOUND);
    assert_grv_ok(grv_kv_get(NULL, kv, 1, grv_bytes_of(key, 4), &value, &error));
    assert_int_equal(value.bytes.size, 50000);
    grv_value_done(&value);
    grv_kv_free(kv);
    assert_grv_ok(open_store(directory, false, &kv, &error));
    assert_true(has_number(kv, 4));
    grv_kv_free(kv);
    config.namespaces = twice;
    config.namespace_count = 2;
    assert_grv_status(grv_kv_rocks_new(&config, &kv, &error), GRV_INVALID_ARGUMENT);
    config.namespaces = taken;
    config.namespace_count = 1;
    assert_grv_status(grv_kv_rocks_new(&config, &kv, &error), GRV_INVALID_ARGUMENT);
    config.namespace_count = 0;
    assert_grv_status(grv_kv_rocks_new(&config, &kv, &error), GRV_INTERNAL);
}

static void names_of_files(const char *directory, char ret_names[4096])
{
    struct dirent **entries = NULL;
    int count = scandir(directory, &entries, NULL, alphasort);
    size_t used = 0;
    assert_true(count > 0);
    for (int i = 0; i < count; i++) {
        struct stat st;
        char path[600];
        snprintf(path, sizeof path, "%s/%s", directory, entries[i]->d_name);
        assert_int_equal(stat(path, &st), 0);
        used += (size_t)snprintf(ret_names + used, 4096 - used, "%s %lld\n", entries[i]->d_name,
                                 S_ISREG(st.st_mode) ? (long long)st.st_size : 0);
        assert_true(used < 4096);
        free(entries[i]);
    }
    free(entries);
}

/* A database that an older version wrote has fewer namespaces: to a reader the others are empty. */
static void a_reader_finds_newer_namespaces_empty(void **state)
{
    const char *directory = *state;
    grv_error error = GRV_ERROR_INIT;
    grv_kv *kv = NULL;
    static const char *const more[] = {"newer", "root", "newest", "block"};
    const grv_rocks_config config = {
        .directory = directory, .namespaces = more, .namespace_count = 4, .read_only = true};
    assert_grv_ok(open_store(directory, true, &kv, &error));
    assert_grv_ok(write_number(kv, 4, GRV_DURABLE, &error));
    grv_kv_free(kv);
    static char before[4096];
    static char after[4096];
    names_of_files(directory, before);
    assert_grv_ok(grv_kv_rocks_new(&config, &kv, &error));
    static const uint8_t key[4] = {0, 0, 0, 4};
    const grv_bytes keys[] = {{key, 4}, {key, 3}};
    for (unsigned ns = 0; ns < 4; ns++) {
        bool there = ns % 2;
        grv_value values[2] = {0};
        grv_status statuses[2] = {GRV_OK, GRV_OK};
        bool missing[2] = {false, false};
        grv_kv_cursor *cursor = NULL;
        grv_kv_item item;
        const grv_kv_scan forward = {.ns = ns};
        const grv_kv_scan back = {.ns = ns, .prefix = keys[1], .start = keys[0], .reverse = true};
        grv_status want = there ? GRV_OK : GRV_NOT_FOUND;
        assert_grv_status(grv_kv_get(NULL, kv, ns, keys[0], &values[0], &error), want);
        grv_value_done(&values[0]);
        assert_grv_ok(grv_kv_multi_get(NULL, kv, ns, keys, 2, values, statuses, &error));
        assert_grv_status(statuses[0], want);
        assert_grv_status(statuses[1], GRV_NOT_FOUND);
        grv_value_done(&values[0]);
        assert_grv_ok(grv_kv_missing(NULL, kv, ns, keys, 2, missing, &error));
        assert_int_equal(missing[0], !there);
        assert_true(missing[1]);
        assert_grv_ok(grv_kv_open_scan(NULL, kv, &forward, &cursor, &error));
        assert_grv_status(grv_kv_cursor_next(NULL, cursor, &item, &error), want);
        assert_grv_status(grv_kv_cursor_next(NULL, cursor, &item, &error), GRV_NOT_FOUND);
        grv_kv_cursor_free(cursor);
        assert_grv_ok(grv_kv_open_scan(NULL, kv, &back, &cursor, &error));
        assert_grv_status(grv_kv_cursor_next(NULL, cursor, &item, &error), want);
        grv_kv_cursor_free(cursor);
        assert_grv_status(write_number(kv, 5, GRV_DURABLE, &error), GRV_UNSUPPORTED);
        const grv_kv_op op = {.kind = GRV_KV_PUT, .ns = ns, .key = keys[0]};
        const grv_kv_guard guard = {.kind = GRV_KV_ABSENT, .ns = ns, .key = keys[0]};
        grv_kv_batch batch = {.ops = &op, .op_count = 1, .guards = &guard, .guard_count = 1};
        assert_grv_status(grv_kv_write(NULL, kv, &batch, &error), GRV_UNSUPPORTED);
        batch.op_count = 0;
        assert_grv_status(grv_kv_write(NULL, kv, &batch, &error), GRV_UNSUPPORTED);
    }
    assert_grv_ok(grv_kv_flush(NULL, kv, &error));
    grv_kv_free(kv);
    names_of_files(directory, after);
    assert_string_equal(before, after);
    assert_grv_ok(open_store(directory, false, &kv, &error));
    assert_true(has_number(kv, 4));
    grv_kv_free(kv);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(int argc, char **argv)
{
    if (argc == 4) {
        return run_role(argv[1], argv[2], argv[3]);
    }
    const struct CMUnitTest tests[] = {
        TEST(a_second_process_is_refused_by_name),
        TEST(a_kill_loses_nothing_acknowledged),
        TEST(a_full_disk_stops_writing_and_loses_nothing),
        TEST(nothing_is_made_where_nothing_is),
        TEST(a_log_damaged_before_durable_writes_is_told),
        TEST(the_end_of_the_log_is_held_to_its_word),
        TEST(a_damaged_root_file_is_no_empty_store),
        TEST(directories_out_of_reach_are_told_apart),
        TEST(namespaces_come_and_go_without_loss),
        TEST(a_reader_finds_newer_namespaces_empty),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
