/* SPDX-License-Identifier: Apache-2.0 */
/* What a fuzz target gives: libFuzzer's entry, which replay.c calls as well. */
#ifndef GRV_TESTS_FUZZ_FUZZ_H
#define GRV_TESTS_FUZZ_FUZZ_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

/* Feeds one input to the decoder; aborts where a promise is broken. Always returns 0. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Ends the process, with a message, unless `condition` holds: on in every build, unlike assert. */
#define fuzz_check(condition)                                                                      \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            fprintf(stderr, "%s:%d: broken: %s\n", __FILE__, __LINE__, #condition);                \
            abort();                                                                               \
        }                                                                                          \
    } while (0)

#endif
