/* SPDX-License-Identifier: Apache-2.0 */
/* Timing, printed lines and input for the benchmark programs. */
#include "bench.h"

#include <fcntl.h>
#include <fts.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static double clock_seconds(clockid_t clock)
{
    struct timespec now;
    if (clock_gettime(clock, &now)) {
        perror("bench: clock_gettime");
        exit(1);
    }
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

double bench_seconds(void)
{
    return clock_seconds(CLOCK_MONOTONIC);
}

static int double_compare(const void *a, const void *b)
{
    double x = *(const double *)a;
    double y = *(const double *)b;
    return (x > y) - (x < y);
}

static double median(clockid_t clock, void (*run)(void *context), void *context)
{
    double seconds[BENCH_RUNS];
    run(context);
    for (size_t i = 0; i < BENCH_RUNS; i++) {
        double start = clock_seconds(clock);
        run(context);
        seconds[i] = clock_seconds(clock) - start;
    }
    qsort(seconds, BENCH_RUNS, sizeof seconds[0], double_compare);
    return seconds[BENCH_RUNS / 2];
}

double bench_median(void (*run)(void *context), void *context)
{
    return median(CLOCK_MONOTONIC, run, context);
}

double bench_median_cpu(void (*run)(void *context), void *context)
{
    return median(CLOCK_THREAD_CPUTIME_ID, run, context);
}

void bench_line(const char *name, double figure, const char *unit, const bench_baseline *baseline,
                double floor)
{
    printf("%-40s %9.2f %s", name, figure, unit);
    if (baseline) {
        double ratio = figure / baseline->figure;
        printf("  %6.2f of %s", ratio, baseline->name);
        if (floor > 0) {
            printf(" (floor %.2f: %s)", floor, ratio >= floor ? "reached" : "MISSED");
        }
    }
    printf("\n");
    fflush(stdout);
}

double bench_rate(size_t size, double seconds)
{
    return (double)size / seconds / 1e9;
}

uint8_t *bench_alloc(size_t size)
{
    uint8_t *data = malloc(size ? size : 1);
    if (!data) {
        fprintf(stderr, "bench: no memory for %zu bytes\n", size);
        exit(1);
    }
    return data;
}

void bench_fill_random(uint64_t seed, uint8_t *data, size_t size)
{
    for (size_t i = 0; i < size; i += 8) {
        uint64_t z = (seed += UINT64_C(0x9e3779b97f4a7c15));
        z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
        z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
        z ^= z >> 31;
        for (size_t k = 0; k < 8 && i + k < size; k++) {
            data[i + k] = (uint8_t)(z >> (8 * k));
        }
    }
}

static int name_compare(const FTSENT **a, const FTSENT **b)
{
    return strcmp((*a)->fts_name, (*b)->fts_name);
}

/* Reads what fits of one file; a file that can't be read is left out, as `real` data has no
 * particular contents. */
static size_t read_file(const char *path, uint8_t *data, size_t size)
{
    int file = open(path, O_RDONLY | O_CLOEXEC);
    if (file < 0) {
        return 0;
    }
    size_t done = 0;
    ssize_t got = 1;
    while (done < size && got > 0) {
        got = read(file, data + done, size - done);
        done += got > 0 ? (size_t)got : 0;
    }
    close(file);
    return done;
}

size_t bench_fill_real(uint8_t *data, size_t size)
{
    char bin[] = "/usr/bin";
    char lib[] = "/usr/lib";
    char share[] = "/usr/share";
    char *const roots[] = {bin, lib, share, NULL};
    FTS *walk = fts_open(roots, FTS_PHYSICAL | FTS_NOCHDIR, name_compare);
    if (!walk) {
        perror("bench: /usr");
        exit(1);
    }
    size_t done = 0;
    for (FTSENT *entry = NULL; done < size && (entry = fts_read(walk)) != NULL;) {
        if (entry->fts_info == FTS_F) {
            done += read_file(entry->fts_path, data + done, size - done);
        }
    }
    fts_close(walk);
    return done;
}

size_t bench_size_argument(int argc, char **argv, size_t fallback_mib)
{
    size_t mib = fallback_mib;
    if (argc > 1) {
        char *end = NULL;
        mib = strtoul(argv[1], &end, 10);
        if (argc > 2 || *end != '\0' || mib < 1 || mib > 4096) {
            fprintf(stderr, "usage: %s [MIB]    (1 to 4096 MiB of input, default %zu)\n", argv[0],
                    fallback_mib);
            exit(2);
        }
    }
    return mib << 20;
}
