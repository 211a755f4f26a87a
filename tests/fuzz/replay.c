/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Runs a fuzz target over its corpus without libFuzzer: every file as it is, cut at each length,
 * and with seeded changes. Prints TAP. A crash or a failed check ends the process.
 */
#include "fuzz/fuzz.h"
#include "temp.h"

#include <dirent.h>

#define REPLAY_SIZE_MAX  65536u
#define REPLAY_MUTATIONS 300u

static void replay_cuts(const uint8_t *data, size_t size)
{
    size_t step = size / 512 + 1;
    for (size_t cut = 0; cut <= size; cut += step) {
        /* A copy of just that size, so that a sanitizer sees a read past its end. */
        uint8_t *copy = malloc(cut ? cut : 1);
        if (!copy) {
            abort();
        }
        memcpy(copy, data, cut);
        LLVMFuzzerTestOneInput(copy, cut);
        free(copy);
    }
}

static void replay_mutations(const uint8_t *data, size_t size, uint64_t seed)
{
    uint8_t *copy = malloc(size + 1);
    if (!copy) {
        abort();
    }
    for (unsigned i = 0; i < REPLAY_MUTATIONS && size > 0; i++) {
        memcpy(copy, data, size);
        for (uint64_t changes = 1 + test_random(&seed) % 4; changes > 0; changes--) {
            copy[test_random(&seed) % size] ^= (uint8_t)(1u << (test_random(&seed) % 8));
        }
        LLVMFuzzerTestOneInput(copy, size);
    }
    free(copy);
}

static void replay_file(const char *path, uint64_t seed)
{
    uint8_t *data = malloc(REPLAY_SIZE_MAX);
    FILE *file = fopen(path, "rb");
    if (!data || !file) {
        perror(path);
        abort();
    }
    size_t size = fread(data, 1, REPLAY_SIZE_MAX, file);
    fclose(file);
    replay_cuts(data, size);
    replay_mutations(data, size, seed);
    free(data);
}

int main(int argc, char *argv[])
{
    if (argc != 2) {
        fprintf(stderr, "usage: %s CORPUS\n", argv[0]);
        return 2;
    }
    DIR *corpus = opendir(argv[1]);
    unsigned files = 0;
    uint64_t seed = 1;
    LLVMFuzzerTestOneInput((const uint8_t *)"", 0);
    for (const struct dirent *entry; corpus && (entry = readdir(corpus));) {
        if (entry->d_name[0] != '.') {
            char path[4096];
            snprintf(path, sizeof path, "%s/%s", argv[1], entry->d_name);
            replay_file(path, seed++);
            files++;
        }
    }
    if (corpus) {
        closedir(corpus);
    }
    printf("1..1\n%sok 1 - %u corpus files replayed\n", files ? "" : "not ", files);
    return files ? 0 : 1;
}
