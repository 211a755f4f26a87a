/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How fast blocks are cut: each scanner on random bytes, on real files, and on bytes made to be
 * hard, beside memcpy of the same bytes. The input is shown in pieces of 1 MiB with the tail
 * carried over in place, as ingest does.
 */
#include "core/chunk.h"
#include "bench.h"
#include "core/cdc.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PIECE_BYTES (1u << 20)

typedef struct input {
    const char *name;
    uint8_t *data;
    size_t size;
} input;

typedef struct cut_run {
    const input *from;
    grv_chunker_spec spec;
    const grv_cdc_scanner *scanner;
    size_t blocks;
    uint8_t *copy;
} cut_run;

static void run_cut(void *context)
{
    cut_run *run = context;
    uint32_t sizes[256];
    size_t start = 0;
    size_t shown = 0;
    grv_cutter cutter;
    grv_cutter_init(&cutter, &run->spec);
    cutter.scanner = run->scanner;
    run->blocks = 0;
    while (start < run->from->size) {
        size_t left = run->from->size - shown;
        shown += left < PIECE_BYTES ? left : PIECE_BYTES;
        size_t count = 256;
        while (count == 256) {
            start += grv_cutter_cut(&cutter, run->from->data + start, shown - start,
                                    shown == run->from->size, sizes, 256, &count);
            run->blocks += count;
        }
    }
}

static void run_copy(void *context)
{
    cut_run *run = context;
    memcpy(run->copy, run->from->data, run->from->size);
    __asm__ volatile("" ::"r"(run->copy) : "memory");
}

static void bench_cdc(const input *from, uint32_t target, const bench_baseline *copy)
{
    size_t scanner_count;
    const grv_cdc_scanner *scanners = grv_cdc_scanners(&scanner_count);
    cut_run run = {.from = from, .spec = {.kind = GRV_CHUNKER_CDC, .size = target}};
    for (size_t i = 0; i < scanner_count; i++) {
        char name[96];
        run.scanner = &scanners[i];
        double seconds = bench_median_cpu(run_cut, &run);
        snprintf(name, sizeof name, "cdc:%uK %s, %s", target >> 10, from->name, scanners[i].name);
        bench_line(name, bench_rate(from->size, seconds), "GB/s", copy, 0);
    }
    printf("%-40s %9zu bytes a block\n", "", from->size / (run.blocks ? run.blocks : 1));
}

static void bench_text(const input *from, const char *text, const bench_baseline *copy)
{
    cut_run run = {.from = from, .scanner = grv_cdc_scanner_default()};
    char name[96];
    if (grv_chunker_spec_parse(grv_bytes_of(text, strlen(text)), &run.spec, NULL)) {
        abort();
    }
    double seconds = bench_median_cpu(run_cut, &run);
    snprintf(name, sizeof name, "%s %s", text, from->name);
    bench_line(name, bench_rate(from->size, seconds), "GB/s", copy, 0);
}

/* Repeats four bytes whose hash is below the loose but not the strict threshold of 64 KiB: the
 * most candidates, and the fewest cuts, that an adversary can ask for. */
static void fill_dense(uint8_t *data, size_t size)
{
    uint32_t hash;
    uint32_t word = 0;
    do {
        word += 0x9e3779b9u;
        hash = 0;
        for (unsigned i = 0; i < GRV_CDC_WINDOW; i++) {
            hash = (hash << 1) + grv_cdc_table[word >> (8 * (i % 4)) & 255];
        }
    } while (hash < 1u << 14 || hash >= 1u << 18);
    for (size_t i = 0; i < size; i++) {
        data[i] = (uint8_t)(word >> (8 * (i % 4)));
    }
}

int main(int argc, char **argv)
{
    size_t size = bench_size_argument(argc, argv, 128);
    input random = {"random", bench_alloc(size), size};
    input real = {"real", bench_alloc(size), size};
    input dense = {"dense", bench_alloc(size), size};
    bench_fill_random(1, random.data, size);
    real.size = bench_fill_real(real.data, size);
    fill_dense(dense.data, size);
    if (real.size == 0) {
        fprintf(stderr, "bench: found no files under /usr\n");
        return 1;
    }
    cut_run copying = {.from = &random, .copy = bench_alloc(size)};
    bench_baseline copy = {"memcpy", bench_rate(size, bench_median_cpu(run_copy, &copying))};
    bench_line("memcpy", copy.figure, "GB/s", NULL, 0);
    bench_cdc(&random, 64 << 10, &copy);
    bench_cdc(&real, 64 << 10, &copy);
    bench_cdc(&dense, 64 << 10, &copy);
    bench_cdc(&real, 16 << 10, &copy);
    bench_cdc(&real, 1 << 20, &copy);
    bench_text(&real, "delimiter:0a", &copy);
    bench_text(&real, "delimiter:0d0a", &copy);
    free(copying.copy);
    free(dense.data);
    free(real.data);
    free(random.data);
    return 0;
}
