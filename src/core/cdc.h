/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The rolling hash of the `cdc` chunker and the scanners that look for places where it is small.
 * docs/chunker.md defines it. All scanners find the same places: the hash at a position depends on
 * the 32 bytes before it alone, so any stretch may be scanned by itself, by any number of lanes.
 */
#ifndef GRV_CORE_CDC_H
#define GRV_CORE_CDC_H

#include <graviton/chunker.h>

/* Bytes the hash at a position depends on: the last ones before it. */
#define GRV_CDC_WINDOW 32

/* The hash's value for each byte. */
extern const uint32_t grv_cdc_table[256];

/* A place whose hash is below the loose threshold: after `offset` bytes of the stretch. */
typedef struct grv_cdc_candidate {
    uint32_t offset;
    uint32_t hash;
} grv_cdc_candidate;

/*
 * The candidates of one stretch, by rising offset. Ordinary bytes give a few; input made to give
 * many sets `dense`, the scan stops there, and the caller has to do without the list.
 */
#define GRV_CDC_LIST_MAX 64
typedef struct grv_cdc_list {
    size_t count;
    bool dense;
    grv_cdc_candidate entries[GRV_CDC_LIST_MAX];
} grv_cdc_list;

/*
 * Adds a candidate, keeping the order; sets `dense` when the list is full. Lanes find candidates
 * nearly in order, and few of them.
 */
void grv_cdc_list_add(grv_cdc_list *list, size_t offset, uint32_t hash);

/*
 * Feeds bytes[0, size) to the hash state `hash` and adds each candidate, its offset counted from
 * `bytes` plus `offset`. Stops when the list is dense.
 */
void grv_cdc_list_collect(grv_cdc_list *list, const uint8_t *bytes, size_t size, uint32_t hash,
                          size_t offset, uint32_t loose);

/*
 * Replaces `list` by the candidates of bytes[0, size): offsets 1 to size. The GRV_CDC_WINDOW bytes
 * before `bytes` are readable and belong to the stream. size < 2^31.
 */
typedef void grv_cdc_scan(const uint8_t *bytes, size_t size, uint32_t loose, grv_cdc_list *list);

/* One way to scan; `scan` is NULL for the plain loop, which makes no list. Immutable. */
typedef struct grv_cdc_scanner {
    const char *name;
    grv_cdc_scan *scan;
    size_t stretch_bytes; /* what it is best given at a time */
} grv_cdc_scanner;

/* The scanners this CPU can run, slowest first; *ret_count of them, at least two. Thread-safe. */
const grv_cdc_scanner *grv_cdc_scanners(size_t *ret_count);

/* The fastest of them. Thread-safe. */
const grv_cdc_scanner *grv_cdc_scanner_default(void);

/* The hash state before data[at] is fed: of the 31 bytes before it. at >= GRV_CDC_WINDOW. */
uint32_t grv_cdc_warm(const uint8_t *data, size_t at);

/*
 * The plain loop: the least position in [from, to] whose hash is below `threshold`, or 0.
 * Position p lies after p bytes of data. from >= GRV_CDC_WINDOW.
 */
size_t grv_cdc_find(const uint8_t *data, size_t from, size_t to, uint32_t threshold);

/* Four interleaved lanes in plain C. */
grv_cdc_scan grv_cdc_scan_lanes;

#if defined(__x86_64__)
/* Eight and sixteen lanes; call only where the CPU has the instructions. */
grv_cdc_scan grv_cdc_scan_avx2;
grv_cdc_scan grv_cdc_scan_avx512;
#endif

#endif
