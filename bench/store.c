/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Put and get through a whole embedded store (files and RocksDB), from a file and to a file, each
 * beside what one would do without a store in the same run: cp and sync, cp, one-thread BLAKE3. And
 * the same job by restic, borg and casync where they are installed.
 *
 *   store [MIB]     256 MiB unless told otherwise; in $TMPDIR or /tmp
 */
#include "bench.h"

#include <errno.h>
#include <fcntl.h>
#include <graviton/graviton.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define SMALL_FILES 2000u
#define SMALL_BYTES 4096u

/* Files and directories of a run, under one temporary directory. */
typedef struct store_bench {
    char dir[256];
    size_t size;
    uint8_t *data;
    grv_store *store;
    grv_blob_key key; /* of the last put */
} store_bench;

static void die(const char *what, const grv_error *error)
{
    fprintf(stderr, "bench: %s: %s\n", what, error ? error->message : strerror(errno));
    exit(1);
}

/* Runs a shell command with the bench's directory as $D; its seconds, or -1 where it fails. */
static double shell(const store_bench *bench, const char *command)
{
    double start = bench_seconds();
    pid_t pid = fork();
    if (pid < 0) {
        die("fork", NULL);
    }
    if (pid == 0) {
        setenv("D", bench->dir, 1);
        execl("/bin/sh", "sh", "-c", command, (char *)NULL);
        _exit(127);
    }
    int status = 0;
    waitpid(pid, &status, 0);
    return WIFEXITED(status) && WEXITSTATUS(status) == 0 ? bench_seconds() - start : -1;
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a;
    double y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Median seconds of BENCH_RUNS runs of `command`, each after `before`, which isn't timed. */
static double shell_median(const store_bench *bench, const char *before, const char *command)
{
    double seconds[BENCH_RUNS];
    for (size_t i = 0; i < BENCH_RUNS; i++) {
        if (shell(bench, before) < 0) {
            return -1;
        }
        seconds[i] = shell(bench, command);
        if (seconds[i] < 0) {
            return -1;
        }
    }
    qsort(seconds, BENCH_RUNS, sizeof seconds[0], by_value);
    return seconds[BENCH_RUNS / 2];
}

static void open_store(store_bench *bench)
{
    grv_error error = GRV_ERROR_INIT;
    char path[300];
    snprintf(path, sizeof path, "%s/store", bench->dir);
    grv_store_config config = {.directory = path, .create = true};
    if (grv_store_open(NULL, &config, &bench->store, &error)) {
        die("open", &error);
    }
}

/* Puts what `fd` gives, straight into the sink's windows. */
static void put_fd(store_bench *bench, int fd)
{
    grv_error error = GRV_ERROR_INIT;
    grv_put_plan plan = {0};
    grv_blob_sink *sink = NULL;
    if (grv_blob_store_open_put(NULL, grv_store_blobs(bench->store), &plan, &sink, &error)) {
        die("put", &error);
    }
    for (;;) {
        grv_span window;
        if (grv_sink_reserve(NULL, &sink->base, &window, &error)) {
            die("put", &error);
        }
        ssize_t got = read(fd, window.data, window.size);
        if (got < 0) {
            die("read", NULL);
        }
        if (got == 0) {
            break;
        }
        if (grv_sink_advance(NULL, &sink->base, (size_t)got, &error)) {
            die("put", &error);
        }
    }
    if (grv_sink_commit(NULL, &sink->base, &error)) {
        die("commit", &error);
    }
    bench->key = sink->result.key;
    grv_sink_free(&sink->base);
}

static double put_file(store_bench *bench, const char *name)
{
    char path[300];
    snprintf(path, sizeof path, "%s/%s", bench->dir, name);
    double start = bench_seconds();
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        die(path, NULL);
    }
    put_fd(bench, fd);
    close(fd);
    return bench_seconds() - start;
}

static double get_file(store_bench *bench, const char *name)
{
    grv_error error = GRV_ERROR_INIT;
    char path[300];
    snprintf(path, sizeof path, "%s/%s", bench->dir, name);
    unlink(path);
    double start = bench_seconds();
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    grv_source *source = NULL;
    if (fd < 0) {
        die(path, NULL);
    }
    if (grv_blob_store_open_get(NULL, grv_store_blobs(bench->store), &bench->key, GRV_RANGE_ALL,
                                &source, &error)) {
        die("get", &error);
    }
    for (;;) {
        grv_bytes view;
        if (grv_source_next(NULL, source, (size_t)1 << 20, &view, &error)) {
            die("get", &error);
        }
        if (view.size == 0) {
            break;
        }
        if (write(fd, view.data, view.size) != (ssize_t)view.size) {
            die("write", NULL);
        }
    }
    grv_source_free(source);
    close(fd);
    return bench_seconds() - start;
}

static double median(double seconds[BENCH_RUNS])
{
    qsort(seconds, BENCH_RUNS, sizeof seconds[0], by_value);
    return seconds[BENCH_RUNS / 2];
}

/* Writes seed's random bytes as the input file, durable and in the page cache. */
static void write_input(store_bench *bench, uint64_t seed)
{
    char path[300];
    snprintf(path, sizeof path, "%s/input", bench->dir);
    bench_fill_random(seed, bench->data, bench->size);
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    if (fd < 0) {
        die(path, NULL);
    }
    for (size_t at = 0; at < bench->size;) {
        ssize_t put = write(fd, bench->data + at, bench->size - at);
        if (put < 0) {
            die(path, NULL);
        }
        at += (size_t)put;
    }
    if (fsync(fd)) {
        die(path, NULL);
    }
    close(fd);
}

static void run_blake3(void *context)
{
    store_bench *bench = context;
    grv_digest digest;
    if (grv_digest_of(GRV_HASH_BLAKE3, grv_bytes_of(bench->data, bench->size), &digest, NULL)) {
        die("blake3", NULL);
    }
}

/* Unique data and cp by turns, so that both see the same disk. */
static void bench_unique(store_bench *bench)
{
    double put[BENCH_RUNS];
    double copy[BENCH_RUNS];
    for (size_t i = 0; i < BENCH_RUNS; i++) {
        write_input(bench, 100 + i);
        copy[i] = shell(bench, "cp --reflink=never $D/input $D/copy && sync $D/copy");
        shell(bench, "rm $D/copy && sync");
        put[i] = put_file(bench, "input");
    }
    bench_baseline cp = {"cp + sync", bench_rate(bench->size, median(copy))};
    bench_line("cp + sync", cp.figure, "GB/s", NULL, 0);
    bench_line("put unique", bench_rate(bench->size, median(put)), "GB/s", &cp, 0.25);
}

static void bench_duplicate(store_bench *bench)
{
    double put[BENCH_RUNS];
    bench_baseline blake3 = {"one-thread BLAKE3",
                             bench_rate(bench->size, bench_median(run_blake3, bench))};
    put_file(bench, "input");
    for (size_t i = 0; i < BENCH_RUNS; i++) {
        put[i] = put_file(bench, "input");
    }
    bench_line("one-thread BLAKE3", blake3.figure, "GB/s", NULL, 0);
    bench_line("put duplicate", bench_rate(bench->size, median(put)), "GB/s", &blake3, 0.35);
}

static void bench_get(store_bench *bench)
{
    double get[BENCH_RUNS];
    double copy[BENCH_RUNS];
    get_file(bench, "output");
    for (size_t i = 0; i < BENCH_RUNS; i++) {
        copy[i] = shell(bench, "rm -f $D/copy; cp --reflink=never $D/input $D/copy");
        get[i] = get_file(bench, "output");
    }
    if (shell(bench, "cmp $D/input $D/output && rm $D/copy $D/output") < 0) {
        die("what came back differs", NULL);
    }
    bench_baseline cp = {"cp", bench_rate(bench->size, median(copy))};
    bench_line("cp", cp.figure, "GB/s", NULL, 0);
    bench_line("get to a file", bench_rate(bench->size, median(get)), "GB/s", &cp, 0.4);
}

static void bench_small(store_bench *bench)
{
    uint8_t data[SMALL_BYTES];
    double start = bench_seconds();
    for (uint32_t i = 0; i < SMALL_FILES; i++) {
        grv_error error = GRV_ERROR_INIT;
        grv_put_plan plan = {.has_size_hint = true, .size_hint = sizeof data};
        grv_blob_sink *sink = NULL;
        bench_fill_random(1000 + i, data, sizeof data);
        if (grv_blob_store_open_put(NULL, grv_store_blobs(bench->store), &plan, &sink, &error) ||
            grv_sink_write(NULL, &sink->base, grv_bytes_of(data, sizeof data), &error) ||
            grv_sink_commit(NULL, &sink->base, &error)) {
            die("put small", &error);
        }
        grv_sink_free(&sink->base);
    }
    double put = bench_seconds() - start;
    start = bench_seconds();
    for (uint32_t i = 0; i < SMALL_FILES; i++) {
        /* A new file each: cutting an old one short makes some file systems wait for the disk. */
        char path[300];
        snprintf(path, sizeof path, "%s/small-%" PRIu32, bench->dir, i);
        int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
        bench_fill_random(1000 + i, data, sizeof data);
        if (fd < 0 || write(fd, data, sizeof data) != (ssize_t)sizeof data || fdatasync(fd)) {
            die(path, NULL);
        }
        close(fd);
    }
    bench_baseline file = {"write + fdatasync", SMALL_FILES / (bench_seconds() - start)};
    bench_line("write + fdatasync, 4 KiB, one by one", file.figure, "ops/s", NULL, 0);
    bench_line("put of 4 KiB, one by one", SMALL_FILES / put, "ops/s", &file, 0);
}

/* The same unique put by other programs, where they are. */
static void bench_peers(store_bench *bench)
{
    static const struct {
        const char *name;
        const char *before;
        const char *put;
    } peers[] = {
        {"restic backup",
         "command -v restic >/dev/null && rm -rf $D/r && RESTIC_PASSWORD=x restic -q -r $D/r init "
         "--repository-version 2 >/dev/null",
         "RESTIC_PASSWORD=x restic -q --no-cache -r $D/r backup --compression off $D/input"},
        {"borg create",
         "command -v borg >/dev/null && rm -rf $D/b && BORG_BASE_DIR=$D borg init -e none $D/b",
         "BORG_BASE_DIR=$D borg create -C none $D/b::x $D/input"},
        {"casync make", "command -v casync >/dev/null && rm -rf $D/c && mkdir $D/c",
         "casync make --store=$D/c/s.castr $D/c/i.caibx $D/input >/dev/null"},
    };
    write_input(bench, 77);
    double own = put_file(bench, "input");
    bench_baseline put = {"put unique", bench_rate(bench->size, own)};
    for (size_t i = 0; i < sizeof peers / sizeof peers[0]; i++) {
        double seconds = shell_median(bench, peers[i].before, peers[i].put);
        if (seconds < 0) {
            printf("%s: not installed\n", peers[i].name);
        } else {
            bench_line(peers[i].name, bench_rate(bench->size, seconds), "GB/s", &put, 0);
        }
    }
}

int main(int argc, char **argv)
{
    store_bench bench = {.size = bench_size_argument(argc, argv, 256)};
    const char *base = getenv("TMPDIR");
    snprintf(bench.dir, sizeof bench.dir, "%s/graviton-bench-XXXXXX",
             base && *base ? base : "/tmp");
    if (!mkdtemp(bench.dir)) {
        die(bench.dir, NULL);
    }
    bench.data = bench_alloc(bench.size);
    open_store(&bench);
    bench_unique(&bench);
    bench_duplicate(&bench);
    bench_get(&bench);
    bench_small(&bench);
    bench_peers(&bench);
    grv_store_close(bench.store);
    free(bench.data);
    shell(&bench, "rm -rf $D");
    return 0;
}
