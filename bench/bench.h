/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the benchmark programs share: timing, printed lines, and input. Every figure stands beside
 * a baseline measured in the same run, so that a ratio means the same on any machine.
 */
#ifndef GRV_BENCH_BENCH_H
#define GRV_BENCH_BENCH_H

#include <stddef.h>
#include <stdint.h>

/* Runs of which the median is taken, after one that warms up. */
#define BENCH_RUNS 5

/* Monotonic seconds. */
double bench_seconds(void);

/* Median seconds of BENCH_RUNS calls of run(context), after one call that isn't counted. */
double bench_median(void (*run)(void *context), void *context);

/* As bench_median, of this thread's CPU seconds: for work of one thread without I/O, which other
 * programs on the machine then don't disturb. */
double bench_median_cpu(void (*run)(void *context), void *context);

/* A baseline that later lines are compared with: its figure, in the lines' unit. */
typedef struct bench_baseline {
    const char *name;
    double figure;
} bench_baseline;

/*
 * Prints "NAME  FIGURE UNIT", and with a baseline "  RATIO of BASELINE". With a floor above 0 the
 * line also says whether the ratio reaches it.
 */
void bench_line(const char *name, double figure, const char *unit, const bench_baseline *baseline,
                double floor);

/* `size` bytes in GB/s (10^9). */
double bench_rate(size_t size, double seconds);

/* Memory of `size` bytes; ends the program if there is none. Freed by free. */
uint8_t *bench_alloc(size_t size);

/* Fills data with seeded random bytes, the same everywhere. */
void bench_fill_random(uint64_t seed, uint8_t *data, size_t size);

/*
 * Fills data with the regular files of /usr/bin, /usr/lib and /usr/share, in name order, one after
 * another. Returns how many bytes there were, at most `size`.
 */
size_t bench_fill_real(uint8_t *data, size_t size);

/* argv[1] as a size in MiB, or `fallback_mib` without; ends the program on anything else. */
size_t bench_size_argument(int argc, char **argv, size_t fallback_mib);

#endif
