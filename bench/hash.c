/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What hashing costs, and cutting beside it: one-thread BLAKE3 over the whole input is the
 * baseline; a put's work per byte is cutting, the hash of each block and the whole-blob hash.
 * Figures are per second of one core's time.
 */
#include "bench.h"
#include "core/chunk.h"

#include <graviton/digest.h>
#include <stdio.h>
#include <stdlib.h>

#define PIECE_BYTES (1u << 20)

typedef struct hash_run {
    const uint8_t *data;
    size_t size;
    grv_hash hash;
    bool blob_too;
    grv_hasher blob; /* in use during a run with blob_too */
} hash_run;

static void must(grv_status status, const grv_error *error)
{
    if (status) {
        fprintf(stderr, "bench: %s\n", error->message);
        exit(1);
    }
}

static void run_hash(void *context)
{
    hash_run *run = context;
    grv_error error = GRV_ERROR_INIT;
    grv_digest digest;
    must(grv_digest_of(run->hash, grv_bytes_of(run->data, run->size), &digest, &error), &error);
}

/* Hashes the blocks of data; with blob_too each is added to the whole-blob hash while in cache. */
static void hash_blocks(hash_run *run, const uint8_t *data, const uint32_t sizes[], size_t count)
{
    grv_error error = GRV_ERROR_INIT;
    grv_digest digest;
    for (size_t i = 0; i < count; i++) {
        must(grv_digest_of(run->hash, grv_bytes_of(data, sizes[i]), &digest, &error), &error);
        if (run->blob_too) {
            must(grv_hasher_update(&run->blob, grv_bytes_of(data, sizes[i]), &error), &error);
        }
        data += sizes[i];
    }
}

static void run_scan_and_hash(void *context)
{
    hash_run *run = context;
    grv_error error = GRV_ERROR_INIT;
    grv_chunker_spec spec = grv_chunker_default();
    grv_digest digest;
    uint32_t sizes[256];
    size_t start = 0;
    size_t shown = 0;
    grv_cutter cutter;
    grv_cutter_init(&cutter, &spec);
    must(grv_hasher_init(&run->blob, run->hash, &error), &error);
    while (start < run->size) {
        size_t left = run->size - shown;
        shown += left < PIECE_BYTES ? left : PIECE_BYTES;
        size_t count = 256;
        while (count == 256) {
            size_t used = grv_cutter_cut(&cutter, run->data + start, shown - start,
                                         shown == run->size, sizes, 256, &count);
            hash_blocks(run, run->data + start, sizes, count);
            start += used;
        }
    }
    must(grv_hasher_final(&run->blob, &digest, &error), &error);
    grv_hasher_done(&run->blob);
}

static double rate(hash_run *run, void (*work)(void *))
{
    return bench_rate(run->size, bench_median_cpu(work, run));
}

static void bench_input(const char *what, const uint8_t *data, size_t size)
{
    hash_run run = {.data = data, .size = size, .hash = GRV_HASH_BLAKE3};
    bench_baseline blake3 = {"one-thread BLAKE3", rate(&run, run_hash)};
    char name[96];
    snprintf(name, sizeof name, "blake3, %s", what);
    bench_line(name, blake3.figure, "GB/s", NULL, 0);
    snprintf(name, sizeof name, "scan + block hash, %s", what);
    bench_line(name, rate(&run, run_scan_and_hash), "GB/s", &blake3, 0.30);
    run.blob_too = true;
    snprintf(name, sizeof name, "scan + block hash + blob hash, %s", what);
    bench_line(name, rate(&run, run_scan_and_hash), "GB/s", &blake3, 0);
    run.blob_too = false;
    run.hash = GRV_HASH_SHA256;
    snprintf(name, sizeof name, "sha256, %s", what);
    bench_line(name, rate(&run, run_hash), "GB/s", &blake3, 0);
}

int main(int argc, char **argv)
{
    size_t size = bench_size_argument(argc, argv, 128);
    uint8_t *data = bench_alloc(size);
    bench_fill_random(1, data, size);
    bench_input("random", data, size);
    size_t real_size = bench_fill_real(data, size);
    if (real_size == 0) {
        fprintf(stderr, "bench: found no files under /usr\n");
        return 1;
    }
    bench_input("real", data, real_size);
    free(data);
    return 0;
}
