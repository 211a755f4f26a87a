/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The `cdc` scanners for AVX2 (8 lanes) and AVX-512 (16 lanes). Each lane walks its own part of
 * the stretch, 16 bytes of every lane at a time, transposed so that one register holds the next
 * four bytes of all lanes. T comes from registers: a permutation looks up a digit of the byte, and
 * the digits' values are summed. The least hash of the 16 steps is kept per lane; only when one is
 * below the threshold are that lane's 16 bytes gone through again one by one.
 */
#include "core/cdc.h"

#if defined(__x86_64__)

#include <immintrin.h>

#define STEP 16

/*
 * Keeps a sum as it is written. A lane's hashes follow one from another, so the additions between
 * them bound the speed; compilers reorder sums and put a third addition into that chain.
 */
#define KEEP_SUM(x) __asm__("" : "+v"(x))

#define AVX2        __attribute__((target("avx2")))
#define AVX2_INLINE __attribute__((target("avx2"), always_inline)) static inline

/* Values of the digits of three, three and two bits; the last twice, as the index's third bit is
 * the next byte's first. */
typedef struct tables_avx2 {
    __m256i low;
    __m256i middle;
    __m256i high;
} tables_avx2;

AVX2_INLINE tables_avx2 tables_avx2_make(void)
{
    const uint32_t *t = grv_cdc_table;
    uint32_t middle[8];
    uint32_t high[8];
    for (unsigned i = 0; i < 8; i++) {
        middle[i] = t[i << 3] - t[0];
        high[i] = t[(i & 3) << 6] - t[0];
    }
    return (tables_avx2){
        .low = _mm256_loadu_si256((const __m256i *)t),
        .middle = _mm256_loadu_si256((const __m256i *)middle),
        .high = _mm256_loadu_si256((const __m256i *)high),
    };
}

/* 16 bytes of a lane and of the fourth after it. */
AVX2_INLINE __m256i pair_avx2(const uint8_t *bytes, size_t lane)
{
    __m128i first = _mm_loadu_si128((const __m128i *)bytes);
    __m128i second = _mm_loadu_si128((const __m128i *)(bytes + 4 * lane));
    return _mm256_inserti128_si256(_mm256_castsi128_si256(first), second, 1);
}

/* 16 bytes of eight lanes, `lane` bytes apart: register k gets bytes 4k to 4k+3 of each. */
AVX2_INLINE void load_avx2(const uint8_t *bytes, size_t lane, __m256i ret_words[4])
{
    __m256i y0 = pair_avx2(bytes, lane);
    __m256i y1 = pair_avx2(bytes + lane, lane);
    __m256i y2 = pair_avx2(bytes + 2 * lane, lane);
    __m256i y3 = pair_avx2(bytes + 3 * lane, lane);
    __m256i a = _mm256_unpacklo_epi32(y0, y1);
    __m256i b = _mm256_unpackhi_epi32(y0, y1);
    __m256i c = _mm256_unpacklo_epi32(y2, y3);
    __m256i d = _mm256_unpackhi_epi32(y2, y3);
    ret_words[0] = _mm256_unpacklo_epi64(a, c);
    ret_words[1] = _mm256_unpackhi_epi64(a, c);
    ret_words[2] = _mm256_unpacklo_epi64(b, d);
    ret_words[3] = _mm256_unpackhi_epi64(b, d);
}

/* Feeds the low byte of each word, whose digits are at bits 0, 3 and 6. */
AVX2_INLINE __m256i feed_avx2(__m256i hash, __m256i word, const tables_avx2 *t)
{
    __m256i low = _mm256_permutevar8x32_epi32(t->low, word);
    __m256i middle = _mm256_permutevar8x32_epi32(t->middle, _mm256_srli_epi32(word, 3));
    __m256i high = _mm256_permutevar8x32_epi32(t->high, _mm256_srli_epi32(word, 6));
    __m256i value = _mm256_add_epi32(_mm256_add_epi32(low, middle), high);
    KEEP_SUM(value);
    return _mm256_add_epi32(_mm256_add_epi32(hash, hash), value);
}

/* Feeds the four bytes of each word. */
AVX2_INLINE __m256i feed_word_avx2(__m256i hash, __m256i word, const tables_avx2 *t, __m256i *least)
{
    hash = feed_avx2(hash, word, t);
    *least = _mm256_min_epu32(*least, hash);
    hash = feed_avx2(hash, _mm256_srli_epi32(word, 8), t);
    *least = _mm256_min_epu32(*least, hash);
    hash = feed_avx2(hash, _mm256_srli_epi32(word, 16), t);
    *least = _mm256_min_epu32(*least, hash);
    hash = feed_avx2(hash, _mm256_srli_epi32(word, 24), t);
    *least = _mm256_min_epu32(*least, hash);
    return hash;
}

/* Feeds 16 bytes of each lane; *least keeps each lane's least hash. */
AVX2_INLINE __m256i step_avx2(__m256i hash, const uint8_t *bytes, size_t lane, const tables_avx2 *t,
                              __m256i *least)
{
    __m256i words[4];
    __m256i min = _mm256_set1_epi32(-1);
    load_avx2(bytes, lane, words);
    hash = feed_word_avx2(hash, words[0], t, &min);
    hash = feed_word_avx2(hash, words[1], t, &min);
    hash = feed_word_avx2(hash, words[2], t, &min);
    hash = feed_word_avx2(hash, words[3], t, &min);
    *least = min;
    return hash;
}

/* Goes through 16 bytes again for each lane in `mask`; `before` holds the lanes' hashes. */
static void replay(grv_cdc_list *list, const uint8_t *bytes, size_t at, size_t lane, unsigned mask,
                   const uint32_t before[], uint32_t loose)
{
    for (; mask != 0; mask &= mask - 1) {
        size_t i = (size_t)__builtin_ctz(mask);
        size_t offset = i * lane + at;
        grv_cdc_list_collect(list, bytes + offset, STEP, before[i], offset, loose);
    }
}

/* What the lanes left over at the end of the stretch. */
static void finish(grv_cdc_list *list, const uint8_t *bytes, size_t done, size_t size,
                   uint32_t loose)
{
    uint32_t hash = grv_cdc_warm(bytes + done - GRV_CDC_WINDOW, GRV_CDC_WINDOW);
    grv_cdc_list_collect(list, bytes + done, size - done, hash, done, loose);
}

AVX2 void grv_cdc_scan_avx2(const uint8_t *bytes, size_t size, uint32_t loose, grv_cdc_list *list)
{
    list->count = 0;
    list->dense = false;
    size_t lane = size / 8 / STEP * STEP;
    tables_avx2 t = tables_avx2_make();
    __m256i limit = _mm256_set1_epi32((int)(loose - 1));
    __m256i hash = _mm256_setzero_si256();
    __m256i least;
    hash = step_avx2(hash, bytes - 2 * STEP, lane, &t, &least);
    hash = step_avx2(hash, bytes - STEP, lane, &t, &least);
    for (size_t i = 0; i < lane; i += STEP) {
        __m256i before = hash;
        hash = step_avx2(hash, bytes + i, lane, &t, &least);
        __m256i hit = _mm256_cmpeq_epi32(_mm256_min_epu32(least, limit), least);
        unsigned mask = (unsigned)_mm256_movemask_ps(_mm256_castsi256_ps(hit));
        if (__builtin_expect(mask != 0, 0)) {
            uint32_t hashes[8];
            _mm256_storeu_si256((__m256i *)hashes, before);
            replay(list, bytes, i, lane, mask, hashes, loose);
            if (list->dense) {
                return;
            }
        }
    }
    finish(list, bytes, 8 * lane, size, loose);
}

#define AVX512        __attribute__((target("avx512f")))
#define AVX512_INLINE __attribute__((target("avx512f"), always_inline)) static inline

/* Values of the two digits of four bits. */
typedef struct tables_avx512 {
    __m512i low;
    __m512i high;
} tables_avx512;

AVX512_INLINE tables_avx512 tables_avx512_make(void)
{
    const uint32_t *t = grv_cdc_table;
    uint32_t high[16];
    for (unsigned i = 0; i < 16; i++) {
        high[i] = t[i << 4] - t[0];
    }
    return (tables_avx512){.low = _mm512_loadu_si512(t), .high = _mm512_loadu_si512(high)};
}

/* 16 bytes of a lane and of each fourth after it. */
AVX512_INLINE __m512i four_avx512(const uint8_t *bytes, size_t lane)
{
    __m512i four = _mm512_castsi128_si512(_mm_loadu_si128((const __m128i *)bytes));
    four = _mm512_inserti32x4(four, _mm_loadu_si128((const __m128i *)(bytes + 4 * lane)), 1);
    four = _mm512_inserti32x4(four, _mm_loadu_si128((const __m128i *)(bytes + 8 * lane)), 2);
    return _mm512_inserti32x4(four, _mm_loadu_si128((const __m128i *)(bytes + 12 * lane)), 3);
}

/* As load_avx2, of sixteen lanes. */
AVX512_INLINE void load_avx512(const uint8_t *bytes, size_t lane, __m512i ret_words[4])
{
    __m512i z0 = four_avx512(bytes, lane);
    __m512i z1 = four_avx512(bytes + lane, lane);
    __m512i z2 = four_avx512(bytes + 2 * lane, lane);
    __m512i z3 = four_avx512(bytes + 3 * lane, lane);
    __m512i a = _mm512_unpacklo_epi32(z0, z1);
    __m512i b = _mm512_unpackhi_epi32(z0, z1);
    __m512i c = _mm512_unpacklo_epi32(z2, z3);
    __m512i d = _mm512_unpackhi_epi32(z2, z3);
    ret_words[0] = _mm512_unpacklo_epi64(a, c);
    ret_words[1] = _mm512_unpackhi_epi64(a, c);
    ret_words[2] = _mm512_unpacklo_epi64(b, d);
    ret_words[3] = _mm512_unpackhi_epi64(b, d);
}

AVX512_INLINE __m512i feed_avx512(__m512i hash, __m512i word, const tables_avx512 *t)
{
    __m512i low = _mm512_permutexvar_epi32(word, t->low);
    __m512i high = _mm512_permutexvar_epi32(_mm512_srli_epi32(word, 4), t->high);
    __m512i value = _mm512_add_epi32(low, high);
    KEEP_SUM(value);
    return _mm512_add_epi32(_mm512_add_epi32(hash, hash), value);
}

/* Feeds the four bytes of each word. */
AVX512_INLINE __m512i feed_word_avx512(__m512i hash, __m512i word, const tables_avx512 *t,
                                       __m512i *least)
{
    hash = feed_avx512(hash, word, t);
    *least = _mm512_min_epu32(*least, hash);
    hash = feed_avx512(hash, _mm512_srli_epi32(word, 8), t);
    *least = _mm512_min_epu32(*least, hash);
    hash = feed_avx512(hash, _mm512_srli_epi32(word, 16), t);
    *least = _mm512_min_epu32(*least, hash);
    hash = feed_avx512(hash, _mm512_srli_epi32(word, 24), t);
    *least = _mm512_min_epu32(*least, hash);
    return hash;
}

AVX512_INLINE __m512i step_avx512(__m512i hash, const uint8_t *bytes, size_t lane,
                                  const tables_avx512 *t, __m512i *least)
{
    __m512i words[4];
    __m512i min = _mm512_set1_epi32(-1);
    load_avx512(bytes, lane, words);
    hash = feed_word_avx512(hash, words[0], t, &min);
    hash = feed_word_avx512(hash, words[1], t, &min);
    hash = feed_word_avx512(hash, words[2], t, &min);
    hash = feed_word_avx512(hash, words[3], t, &min);
    *least = min;
    return hash;
}

AVX512 void grv_cdc_scan_avx512(const uint8_t *bytes, size_t size, uint32_t loose,
                                grv_cdc_list *list)
{
    list->count = 0;
    list->dense = false;
    size_t lane = size / 16 / STEP * STEP;
    tables_avx512 t = tables_avx512_make();
    __m512i limit = _mm512_set1_epi32((int)loose);
    __m512i hash = _mm512_setzero_si512();
    __m512i least;
    hash = step_avx512(hash, bytes - 2 * STEP, lane, &t, &least);
    hash = step_avx512(hash, bytes - STEP, lane, &t, &least);
    for (size_t i = 0; i < lane; i += STEP) {
        __m512i before = hash;
        hash = step_avx512(hash, bytes + i, lane, &t, &least);
        unsigned mask = _mm512_cmplt_epu32_mask(least, limit);
        if (__builtin_expect(mask != 0, 0)) {
            uint32_t hashes[16];
            _mm512_storeu_si512(hashes, before);
            replay(list, bytes, i, lane, mask, hashes, loose);
            if (list->dense) {
                return;
            }
        }
    }
    finish(list, bytes, 16 * lane, size, loose);
}

#else

/* ISO C wants a declaration in every file. */
typedef int cdc_x86_is_empty;

#endif
