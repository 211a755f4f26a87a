/* SPDX-License-Identifier: Apache-2.0 */
/* Temporary directories and seeded random bytes for tests. */
#ifndef GRV_TESTS_TEMP_H
#define GRV_TESTS_TEMP_H

#include <ftw.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Makes a fresh directory under $TMPDIR (or /tmp) and writes its path to ret_path. Aborts if it
 * cannot: no test can go on without. */
static inline void test_temp_make(char ret_path[256])
{
    const char *base = getenv("TMPDIR");
    snprintf(ret_path, 256, "%s/graviton-test-XXXXXX", base && *base ? base : "/tmp");
    if (!mkdtemp(ret_path)) {
        perror(ret_path);
        abort();
    }
}

static inline int test_temp_remove_one(const char *path, const struct stat *st, int kind,
                                       struct FTW *walk)
{
    (void)st;
    (void)kind;
    (void)walk;
    return remove(path);
}

/* Removes a directory and all that is in it. */
static inline void test_temp_remove(const char *path)
{
    nftw(path, test_temp_remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

/* splitmix64: the next number from *state. */
static inline uint64_t test_random(uint64_t *state)
{
    uint64_t z = (*state += UINT64_C(0x9e3779b97f4a7c15));
    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return z ^ z >> 31;
}

/* Fills `size` bytes from *state: little-endian words, so the same everywhere. */
static inline void test_random_fill(uint64_t *state, uint8_t *data, size_t size)
{
    for (size_t i = 0; i < size; i += 8) {
        uint64_t word = test_random(state);
        for (size_t k = 0; k < 8 && i + k < size; k++) {
            data[i + k] = (uint8_t)(word >> (8 * k));
        }
    }
}

#endif
