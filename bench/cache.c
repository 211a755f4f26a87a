/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The read cache beside the block store on files that it would be pointless over: gets that hit, by
 * both, in the same run; and what a miss costs beyond the store below, which here is memory.
 *
 *   cache [MIB]     of blocks of each size, 128 unless told otherwise; in $TMPDIR or /tmp
 */
#include "layer/cache.h"
#include "bench.h"

#include <errno.h>
#include <ftw.h>
#include <graviton/backend/fs.h>
#include <graviton/backend/memory.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Blocks of one size, and a store that they are read from, some at a time as a get does. */
typedef struct cache_bench {
    grv_block_store *store;
    uint8_t *data;
    uint8_t *back;
    size_t count;
    uint32_t size;
    grv_block_key *keys;
} cache_bench;

static void die(const char *what, const grv_error *error)
{
    fprintf(stderr, "bench: %s: %s\n", what, error ? error->message : strerror(errno));
    exit(1);
}

static void put_all(const cache_bench *bench)
{
    grv_error error = GRV_ERROR_INIT;
    grv_block *blocks = calloc(bench->count, sizeof *blocks);
    grv_block_result *results = calloc(bench->count, sizeof *results);
    grv_block_batch *batch = NULL;
    if (!blocks || !results) {
        die("memory", NULL);
    }
    for (size_t i = 0; i < bench->count; i++) {
        blocks[i].key = bench->keys[i];
        blocks[i].bytes = grv_bytes_of(bench->data + i * bench->size, bench->size);
    }
    if (grv_block_store_open_batch(NULL, bench->store, &batch, &error) ||
        grv_block_batch_put(NULL, batch, blocks, bench->count, NULL, &error) ||
        grv_block_batch_commit(NULL, batch, GRV_DURABLE, results, bench->count, &error)) {
        die("put", &error);
    }
    grv_block_batch_free(batch);
    free(blocks);
    free(results);
}

/* Reads all blocks, about a megabyte a call. */
static void get_all(void *context)
{
    cache_bench *bench = context;
    grv_error error = GRV_ERROR_INIT;
    enum { MOST = 256 };
    size_t step = ((size_t)1 << 20) / bench->size;
    step = step > MOST ? MOST : step > 0 ? step : 1;
    for (size_t i = 0; i < bench->count; i += step) {
        grv_span spans[MOST];
        grv_status statuses[MOST];
        size_t count = bench->count - i < step ? bench->count - i : step;
        for (size_t k = 0; k < count; k++) {
            spans[k] = (grv_span){bench->back + k * bench->size, bench->size};
        }
        if (grv_block_store_get(NULL, bench->store, bench->keys + i, spans, count, statuses,
                                &error)) {
            die("get", &error);
        }
    }
}

static int remove_one(const char *path, const struct stat *info, int kind, struct FTW *walk)
{
    (void)info;
    (void)kind;
    (void)walk;
    return remove(path);
}

static void run_size(cache_bench *bench, size_t bytes)
{
    grv_error error = GRV_ERROR_INIT;
    char name[64];
    char dir[256];
    const char *base = getenv("TMPDIR");
    snprintf(dir, sizeof dir, "%s/graviton-bench-XXXXXX", base && *base ? base : "/tmp");
    if (!mkdtemp(dir)) {
        die(dir, NULL);
    }
    bench->count = bytes / bench->size;
    for (size_t i = 0; i < bench->count; i++) {
        grv_bytes block = grv_bytes_of(bench->data + i * bench->size, bench->size);
        bench->keys[i].size = bench->size;
        if (grv_digest_of(GRV_HASH_BLAKE3, block, &bench->keys[i].digest, &error)) {
            die("digest", &error);
        }
    }
    const grv_fs_config fs = {.root = dir, .create = true};
    if (grv_block_store_fs_new(&fs, &bench->store, &error)) {
        die("fs", &error);
    }
    put_all(bench);
    bench_baseline files = {"fs get", bench_rate(bytes, bench_median_cpu(get_all, bench))};
    grv_block_store_free(bench->store);

    if (grv_block_store_memory_new(&bench->store, &error)) {
        die("memory", &error);
    }
    put_all(bench);
    bench_baseline memory = {"memory get", bench_rate(bytes, bench_median_cpu(get_all, bench))};
    char cache_dir[300];
    snprintf(cache_dir, sizeof cache_dir, "%s/cache", dir);
    const grv_block_cache_config config = {.directory = cache_dir, .size_bytes = 2 * bytes};
    if (grv_block_store_cache_new(bench->store, &config, &bench->store, &error)) {
        die("cache", &error);
    }
    double start = bench_seconds();
    get_all(bench);
    double miss = bench_rate(bytes, bench_seconds() - start);
    double hit = bench_rate(bytes, bench_median_cpu(get_all, bench));
    grv_cache_figures figures;
    grv_block_store_cache_read(bench->store, &figures, &error);
    if (figures.failures > 0 || figures.misses > bench->count + bench->count / 50) {
        die("the cache does not work", &error);
    }
    grv_block_store_free(bench->store);
    snprintf(name, sizeof name, "fs get, blocks of %u KiB", bench->size >> 10);
    bench_line(name, files.figure, "GB/s", NULL, 0);
    snprintf(name, sizeof name, "cache hit, blocks of %u KiB", bench->size >> 10);
    bench_line(name, hit, "GB/s", &files, 0.85);
    snprintf(name, sizeof name, "cache miss, blocks of %u KiB", bench->size >> 10);
    bench_line(name, miss, "GB/s", &memory, 0);
    nftw(dir, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

int main(int argc, char **argv)
{
    static const uint32_t sizes[] = {4096, 65536, 1 << 20, 4 << 20};
    size_t bytes = bench_size_argument(argc, argv, 128);
    cache_bench bench = {.data = bench_alloc(bytes), .back = bench_alloc(4 << 20)};
    bench.keys = (grv_block_key *)(void *)bench_alloc(bytes / 4096 * sizeof *bench.keys);
    bench_fill_random(5, bench.data, bytes);
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        bench.size = sizes[i];
        run_size(&bench, bytes);
    }
    free(bench.data);
    free(bench.back);
    free(bench.keys);
    return 0;
}
