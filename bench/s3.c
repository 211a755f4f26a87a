/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Presence of blocks in S3: `missing` of many keys beside one HEAD after another, on the gateway
 * that tests/service/ceph.py has started. Half of the keys asked for are there.
 *
 *   s3 [KEYS]     10,000 unless told otherwise
 */
#include "s3.h"
#include "bench.h"

#include <graviton/backend/s3.h>

/* Requests that stand for as many as there are keys. */
#define HEADS 1000u
/* Blocks put in one call. */
#define PUT 1000u

typedef struct s3_bench {
    grv_s3 *s3;
    const char *bucket;
    grv_block_key *keys;
    bool *missing;
    size_t count;
} s3_bench;

/* Blocks are numbers; every second one is put. */
static void put_half(const s3_bench *bench, grv_block_store *store)
{
    grv_error error = GRV_ERROR_INIT;
    uint64_t *contents = (uint64_t *)(void *)bench_alloc(bench->count * sizeof *contents);
    grv_block *blocks = (grv_block *)(void *)bench_alloc(PUT * sizeof *blocks);
    grv_block_result results[PUT];
    size_t gathered = 0;
    for (size_t i = 0; i < bench->count; i++) {
        contents[i] = i;
        grv_bytes bytes = grv_bytes_of(&contents[i], sizeof contents[i]);
        bench->keys[i].size = sizeof contents[i];
        test_s3_must(grv_digest_of(GRV_HASH_BLAKE3, bytes, &bench->keys[i].digest, &error), "hash",
                     &error);
        if (i % 2 == 0) {
            blocks[gathered++] = (grv_block){.key = bench->keys[i], .bytes = bytes};
        }
        if (gathered == PUT || (gathered > 0 && i + 1 == bench->count)) {
            grv_block_batch *batch = NULL;
            test_s3_must(grv_block_store_open_batch(NULL, store, &batch, &error), "batch", &error);
            test_s3_must(grv_block_batch_put(NULL, batch, blocks, gathered, NULL, &error), "put",
                         &error);
            test_s3_must(
                grv_block_batch_commit(NULL, batch, GRV_DURABLE, results, gathered, &error),
                "commit", &error);
            grv_block_batch_free(batch);
            gathered = 0;
        }
    }
    free(blocks);
    free(contents);
}

/* Asks a store that has not been asked before: one that remembers would not ask the service. */
static void ask_all(void *context)
{
    s3_bench *bench = context;
    grv_error error = GRV_ERROR_INIT;
    grv_s3_blocks_config config = {.bucket = bench->bucket, .prefix = "bench"};
    grv_block_store *store = NULL;
    test_s3_must(grv_block_store_s3_new(NULL, bench->s3, &config, &store, &error), "open", &error);
    test_s3_must(
        grv_block_store_missing(NULL, store, bench->keys, bench->count, bench->missing, &error),
        "missing", &error);
    for (size_t i = 0; i < bench->count; i++) {
        if (bench->missing[i] != (i % 2 == 1)) {
            fprintf(stderr, "bench: key %zu: a wrong answer\n", i);
            exit(1);
        }
    }
    grv_block_store_free(store);
}

/* One HEAD after another, for the first keys. */
static void head_some(void *context)
{
    const s3_bench *bench = context;
    for (size_t i = 0; i < HEADS; i++) {
        grv_error error = GRV_ERROR_INIT;
        char hex[2 * GRV_DIGEST_SIZE + 1];
        char path[128];
        grv_digest_hex(&bench->keys[i].digest, hex);
        (void)snprintf(path, sizeof path, "bench/blake3/%s-%u", hex, bench->keys[i].size);
        grv_s3_request request = {
            .method = GRV_S3_HEAD, .bucket = bench->bucket, .key = path, .allow_missing = true};
        test_s3_must(grv_s3_run(NULL, bench->s3, &request, 1, &error), "HEAD", &error);
        if ((request.status == GRV_NOT_FOUND) != (i % 2 == 1)) {
            fprintf(stderr, "bench: key %zu: a wrong answer\n", i);
            exit(1);
        }
    }
}

int main(int argc, char **argv)
{
    test_s3_need();
    char bucket[TEST_S3_BUCKET_SIZE];
    grv_error error = GRV_ERROR_INIT;
    s3_bench bench = {.s3 = test_s3_open(), .bucket = bucket};
    bench.count = argc > 1 ? strtoul(argv[1], NULL, 10) : 10000;
    if (bench.count < HEADS || bench.count > GRV_BLOCK_CALL_MAX) {
        fprintf(stderr, "usage: s3 [KEYS], from %u to %u\n", HEADS, GRV_BLOCK_CALL_MAX);
        return 2;
    }
    bench.keys = (grv_block_key *)(void *)bench_alloc(bench.count * sizeof *bench.keys);
    bench.missing = (bool *)(void *)bench_alloc(bench.count * sizeof *bench.missing);
    test_s3_make_bucket(bench.s3, bucket);
    grv_s3_blocks_config config = {.bucket = bucket, .prefix = "bench"};
    grv_block_store *store = NULL;
    test_s3_must(grv_block_store_s3_new(NULL, bench.s3, &config, &store, &error), "open", &error);
    put_half(&bench, store);

    double heads = HEADS / bench_median(head_some, &bench);
    double asked = (double)bench.count / bench_median(ask_all, &bench);
    bench_line("one HEAD after another", heads, "keys/s", NULL, 0);
    bench_line("missing", asked, "keys/s", &(bench_baseline){"one HEAD after another", heads}, 10);

    test_s3_must(
        grv_block_store_remove(NULL, store, bench.keys, bench.count, bench.missing, &error),
        "remove", &error);
    grv_block_store_free(store);
    test_s3_remove_bucket(bench.s3, bucket);
    grv_s3_close(bench.s3);
    free(bench.keys);
    free(bench.missing);
    return 0;
}
