/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Bytes that last, pinned as hex in tests/golden/. White space and lines that begin with "#" are
 * skipped. A test that finds another form prints what it has, so a new file is a copy away; an old
 * one is never changed.
 */
#ifndef GRV_TESTS_GOLDEN_H
#define GRV_TESTS_GOLDEN_H

#include "test.h"

#include <ctype.h>
#include <graviton/bytes.h>
#include <stdio.h>
#include <stdlib.h>

#define TEST_GOLDEN_MAX 65536u

/* Reads tests/golden/NAME into `bytes`; fails the test where it cannot. */
static inline size_t test_golden_read(const char *name, uint8_t bytes[TEST_GOLDEN_MAX])
{
    const char *directory = getenv("GRAVITON_TEST_GOLDEN");
    char path[1024];
    snprintf(path, sizeof path, "%s/%s", directory ? directory : "tests/golden", name);
    FILE *file = fopen(path, "re");
    if (!file) {
        fail_msg("cannot open %s", path);
        return 0;
    }
    size_t digits = 0;
    int c;
    while ((c = getc(file)) != EOF) {
        if (c == '#') {
            while (c != '\n' && c != EOF) {
                c = getc(file);
            }
        }
        if (!isxdigit(c) || digits == (size_t)TEST_GOLDEN_MAX * 2) {
            continue;
        }
        uint8_t value = (uint8_t)(isdigit(c) ? c - '0' : tolower(c) - 'a' + 10);
        bytes[digits / 2] = (uint8_t)(digits % 2 ? bytes[digits / 2] << 4 | value : value);
        digits++;
    }
    fclose(file);
    return digits / 2;
}

/* Fails, and prints `bytes` as a golden file, unless they are what tests/golden/NAME holds. */
static inline void test_golden_check(const char *name, grv_bytes bytes)
{
    static uint8_t want[TEST_GOLDEN_MAX];
    size_t size = test_golden_read(name, want);
    if (size == bytes.size && memcmp(want, bytes.data, size) == 0) {
        return;
    }
    for (size_t i = 0; i < bytes.size; i++) {
        fprintf(stderr, "%02x%s", bytes.data[i], i % 32 == 31 || i + 1 == bytes.size ? "\n" : "");
    }
    fail_msg("the bytes above are not those of tests/golden/%s", name);
}

#endif
