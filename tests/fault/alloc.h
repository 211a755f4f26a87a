/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An allocator that runs out: the linker sends our own objects' malloc, calloc, realloc, strdup
 * and pthread_create here (--wrap). Other libraries' stay as they are: RocksDB and the JSON parser
 * abort where memory runs out inside them.
 */
#ifndef GRV_TESTS_FAULT_ALLOC_H
#define GRV_TESTS_FAULT_ALLOC_H

#include <stdbool.h>
#include <stdint.h>

/* The nth allocation from now on fails, and all after it where `persistent`. */
void alloc_faults_begin(uint64_t n, bool persistent);

/* Ends that; how many allocations failed. */
uint64_t alloc_faults_end(void);

#endif
