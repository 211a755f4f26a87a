/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The `cdc` hash in plain C: its table, the plain loop that every other scanner must agree with,
 * four interleaved lanes, and the choice of a scanner for this CPU.
 */
#include "core/cdc.h"

#include <string.h>

/*
 * T[b] is the sum of one constant for each of four digits of b: bits 0-2, 3, 4-5 and 6-7. That
 * lets vector code look the digits up in registers. The macros spell the sums out in b's order.
 */
#define DIGIT_P(x)                                                                                 \
    0xc88a90dcu + (x), 0xc3b190d0u + (x), 0x557cd4dcu + (x), 0x9a982871u + (x), 0xf27196d2u + (x), \
        0xad3616dfu + (x), 0x30b2b099u + (x), 0x76106106u + (x)
#define DIGIT_Q(x) DIGIT_P(0x2c78f0f7u + (x)), DIGIT_P(0xec86af31u + (x))
#define DIGIT_R(x)                                                                                 \
    DIGIT_Q(0x778b690bu + (x)), DIGIT_Q(0x9ff558e3u + (x)), DIGIT_Q(0x116bde3cu + (x)),            \
        DIGIT_Q(0xf55cfe3cu + (x))

const uint32_t grv_cdc_table[256] = {DIGIT_R(0x1607ae8cu), DIGIT_R(0xb7d6bbbcu),
                                     DIGIT_R(0xc65e19a3u), DIGIT_R(0xac6a4547u)};

void grv_cdc_list_add(grv_cdc_list *list, size_t offset, uint32_t hash)
{
    if (list->count == GRV_CDC_LIST_MAX) {
        list->dense = true;
        return;
    }
    size_t at = list->count++;
    for (; at > 0 && list->entries[at - 1].offset > offset; at--) {
        list->entries[at] = list->entries[at - 1];
    }
    list->entries[at] = (grv_cdc_candidate){.offset = (uint32_t)offset, .hash = hash};
}

void grv_cdc_list_collect(grv_cdc_list *list, const uint8_t *bytes, size_t size, uint32_t hash,
                          size_t offset, uint32_t loose)
{
    for (size_t i = 0; i < size && !list->dense; i++) {
        hash = (hash << 1) + grv_cdc_table[bytes[i]];
        if (hash < loose) {
            grv_cdc_list_add(list, offset + i + 1, hash);
        }
    }
}

uint32_t grv_cdc_warm(const uint8_t *data, size_t at)
{
    uint32_t hash = 0;
    for (size_t i = at - (GRV_CDC_WINDOW - 1); i < at; i++) {
        hash = (hash << 1) + grv_cdc_table[data[i]];
    }
    return hash;
}

size_t grv_cdc_find(const uint8_t *data, size_t from, size_t to, uint32_t threshold)
{
    if (from > to) {
        return 0;
    }
    uint32_t hash = grv_cdc_warm(data, from - 1);
    for (size_t i = from - 1; i < to; i++) {
        hash = (hash << 1) + grv_cdc_table[data[i]];
        if (hash < threshold) {
            return i + 1;
        }
    }
    return 0;
}

/* Steps between looks at `dense`, which the inner loop is too short for. */
#define LANE_STEPS 256

void grv_cdc_scan_lanes(const uint8_t *bytes, size_t size, uint32_t loose, grv_cdc_list *list)
{
    list->count = 0;
    list->dense = false;
    size_t lane = size / 4;
    const uint8_t *p0 = bytes;
    const uint8_t *p1 = p0 + lane;
    const uint8_t *p2 = p1 + lane;
    const uint8_t *p3 = p2 + lane;
    uint32_t h0 = grv_cdc_warm(p0 - GRV_CDC_WINDOW, GRV_CDC_WINDOW);
    uint32_t h1 = grv_cdc_warm(p1 - GRV_CDC_WINDOW, GRV_CDC_WINDOW);
    uint32_t h2 = grv_cdc_warm(p2 - GRV_CDC_WINDOW, GRV_CDC_WINDOW);
    uint32_t h3 = grv_cdc_warm(p3 - GRV_CDC_WINDOW, GRV_CDC_WINDOW);
    for (size_t i = 0; i < lane && !list->dense;) {
        size_t end = lane - i < LANE_STEPS ? lane : i + LANE_STEPS;
        for (; i < end; i++) {
            h0 = (h0 << 1) + grv_cdc_table[p0[i]];
            if (__builtin_expect(h0 < loose, 0)) {
                grv_cdc_list_add(list, i + 1, h0);
            }
            h1 = (h1 << 1) + grv_cdc_table[p1[i]];
            if (__builtin_expect(h1 < loose, 0)) {
                grv_cdc_list_add(list, lane + i + 1, h1);
            }
            h2 = (h2 << 1) + grv_cdc_table[p2[i]];
            if (__builtin_expect(h2 < loose, 0)) {
                grv_cdc_list_add(list, 2 * lane + i + 1, h2);
            }
            h3 = (h3 << 1) + grv_cdc_table[p3[i]];
            if (__builtin_expect(h3 < loose, 0)) {
                grv_cdc_list_add(list, 3 * lane + i + 1, h3);
            }
        }
    }
    grv_cdc_list_collect(list, p3 + lane, size - 4 * lane, h3, 4 * lane, loose);
}

/*
 * Longer stretches cost less to start but run further past a cut, over bytes that the next block
 * skips. The odd KiB keeps lanes off multiples of 4 KiB, which would share one set of the cache.
 */
#define STRETCH_BYTES (65u << 10)

/* Filled before main and constant from then on. */
static grv_cdc_scanner scanners[4] = {
    {"plain", NULL, STRETCH_BYTES},
    {"lanes", grv_cdc_scan_lanes, STRETCH_BYTES},
};
static size_t scanner_count = 2;

__attribute__((constructor)) static void cdc_start(void)
{
#if defined(__x86_64__)
    __builtin_cpu_init();
    if (__builtin_cpu_supports("avx2")) {
        scanners[scanner_count++] = (grv_cdc_scanner){"avx2", grv_cdc_scan_avx2, STRETCH_BYTES};
    }
    if (__builtin_cpu_supports("avx512f")) {
        scanners[scanner_count++] = (grv_cdc_scanner){"avx512", grv_cdc_scan_avx512, STRETCH_BYTES};
    }
#endif
}

const grv_cdc_scanner *grv_cdc_scanners(size_t *ret_count)
{
    *ret_count = scanner_count;
    return scanners;
}

const grv_cdc_scanner *grv_cdc_scanner_default(void)
{
    return &scanners[scanner_count - 1];
}
