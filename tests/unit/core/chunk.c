/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The cutter against the definition in docs/chunker.md, which is written out here a second time in
 * the plainest way, and against pinned cuts. Every scanner this CPU has must give the same.
 */
#include "test.h"

#include "core/cdc.h"
#include "core/chunk.h"
#include "temp.h"

#define MIB (1u << 20)

/* Where blocks end, counted from the stream's start. */
typedef struct cut_list {
    size_t count;
    size_t *ends;
} cut_list;

static void *must_alloc(size_t size)
{
    void *data = malloc(size ? size : 1);
    assert_non_null(data);
    return data;
}

static grv_chunker_spec spec_of(const char *text)
{
    grv_error error = GRV_ERROR_INIT;
    grv_chunker_spec spec;
    assert_grv_ok(grv_chunker_spec_parse(grv_bytes_of(text, strlen(text)), &spec, &error));
    return spec;
}

static grv_chunker_spec cdc_of(uint32_t size)
{
    return (grv_chunker_spec){.kind = GRV_CHUNKER_CDC, .size = size};
}

/* The byte values' constants, drawn as the definition says: the second draw of 18. */
static void reference_table(uint32_t ret_table[256])
{
    uint64_t state = UINT64_C(0x6772617669746f6e);
    uint32_t draw[18];
    bool good;
    do {
        good = true;
        for (size_t i = 0; i < 18; i++) {
            draw[i] = (uint32_t)(test_random(&state) >> 32);
        }
        for (uint32_t b = 0; b < 256; b++) {
            ret_table[b] = draw[b & 7] + draw[8 + (b >> 3 & 1)] + draw[10 + (b >> 4 & 3)] +
                           draw[14 + (b >> 6)];
            good = good && (uint32_t)(0 - ret_table[b]) >= 1u << 20;
        }
    } while (!good);
}

/* Hashes of all positions from 32 to size, each summed up by itself. */
static uint32_t *reference_hashes(const uint8_t *data, size_t size)
{
    uint32_t table[256];
    uint32_t *hashes = must_alloc((size + 1) * sizeof hashes[0]);
    reference_table(table);
    for (size_t q = 32; q <= size; q++) {
        uint32_t hash = 0;
        for (unsigned i = 1; i <= 32; i++) {
            hash += table[data[q - i]] << (i - 1);
        }
        hashes[q] = hash;
    }
    return hashes;
}

static size_t reference_cut(const uint32_t *hashes, size_t start, size_t size, uint32_t target)
{
    unsigned bits = 0;
    while (1u << bits != target) {
        bits++;
    }
    if (size - start <= target / 4) {
        return size;
    }
    for (size_t q = start + target / 4; q <= size && q <= start + 4 * (size_t)target; q++) {
        uint64_t threshold = UINT64_C(1) << (q - start < target ? 32 - bits - 2 : 32 - bits + 2);
        if (hashes[q] < threshold) {
            return q;
        }
    }
    return start + 4 * (size_t)target < size ? start + 4 * (size_t)target : size;
}

static cut_list reference_cuts(const uint32_t *hashes, size_t size, uint32_t target)
{
    cut_list list = {.ends = must_alloc((size / (target / 4) + 1) * sizeof(size_t))};
    for (size_t start = 0; start < size;) {
        start = reference_cut(hashes, start, size, target);
        list.ends[list.count++] = start;
    }
    return list;
}

/* How a test shows the stream to the cutter. */
typedef struct split {
    size_t piece;    /* bytes that each call adds; 0: a random number up to `most` */
    size_t most;     /* for random pieces */
    size_t capacity; /* of ret_sizes */
    bool copy;       /* into memory of exactly the shown size, so that ASan sees each misstep */
} split;

#define CAPACITY_MAX 4096

static size_t split_next(const split *how, uint64_t *random)
{
    return how->piece ? how->piece : (size_t)(test_random(random) % (how->most + 1));
}

/* Cuts the stream as `how` says; checks what the cutter promises of each call. */
static cut_list cutter_cuts(const grv_chunker_spec *spec, const grv_cdc_scanner *scanner,
                            const uint8_t *data, size_t size, const split *how)
{
    static uint32_t sizes[CAPACITY_MAX];
    cut_list list = {.ends = must_alloc((size + 1) * sizeof(size_t))};
    uint64_t random = 7;
    size_t start = 0;
    size_t shown = 0;
    grv_cutter cutter;
    grv_cutter_init(&cutter, spec);
    if (scanner) {
        cutter.scanner = scanner;
    }
    for (bool at_end = false; !at_end || start < size;) {
        size_t piece = split_next(how, &random);
        shown = size - shown <= piece ? size : shown + piece;
        at_end = at_end || (shown == size && test_random(&random) % 2);
        size_t count = SIZE_MAX;
        uint8_t *copy = NULL;
        if (how->copy) {
            copy = must_alloc(shown - start);
            memcpy(copy, data + start, shown - start);
        }
        size_t used = grv_cutter_cut(&cutter, copy ? copy : data + start, shown - start, at_end,
                                     sizes, how->capacity, &count);
        free(copy);
        assert_true(count <= how->capacity);
        size_t sum = 0;
        for (size_t i = 0; i < count; i++) {
            sum += sizes[i];
            assert_true(sizes[i] >= 1 && sizes[i] <= grv_chunker_block_max(spec));
            list.ends[list.count++] = start + sum;
        }
        assert_int_equal(sum, used);
        start += used;
        if (count < how->capacity) {
            assert_true(shown - start < grv_chunker_block_max(spec));
            assert_true(!at_end || start == size);
        }
    }
    return list;
}

static const split whole = {.piece = SIZE_MAX, .capacity = CAPACITY_MAX};

static void assert_same_cuts(const cut_list *got, const cut_list *want, const char *what)
{
    for (size_t i = 0; i < got->count && i < want->count; i++) {
        if (got->ends[i] != want->ends[i]) {
            fail_msg("%s: cut %zu is at %zu, want %zu", what, i, got->ends[i], want->ends[i]);
        }
    }
    if (got->count != want->count) {
        fail_msg("%s: %zu cuts, want %zu", what, got->count, want->count);
    }
}

/* Compares every scanner's cuts, and those of the given splits, with the definition. */
static void check_cdc(const uint8_t *data, size_t size, uint32_t target, const char *what)
{
    static const split splits[] = {
        {.piece = SIZE_MAX, .capacity = CAPACITY_MAX},
        {.piece = SIZE_MAX, .capacity = 1},
        {.most = 40000, .capacity = CAPACITY_MAX, .copy = true},
        {.most = 3000, .capacity = 2},
    };
    size_t scanner_count;
    const grv_cdc_scanner *scanners = grv_cdc_scanners(&scanner_count);
    grv_chunker_spec spec = cdc_of(target);
    uint32_t *hashes = reference_hashes(data, size);
    cut_list want = reference_cuts(hashes, size, target);
    for (size_t i = 0; i < scanner_count; i++) {
        for (size_t k = 0; k < sizeof splits / sizeof splits[0]; k++) {
            char text[128];
            cut_list got = cutter_cuts(&spec, &scanners[i], data, size, &splits[k]);
            snprintf(text, sizeof text, "%s, scanner %s, A = %u, split %zu", what, scanners[i].name,
                     target, k);
            assert_same_cuts(&got, &want, text);
            free(got.ends);
        }
    }
    free(want.ends);
    free(hashes);
}

static void check_cdc_sizes(const uint8_t *data, size_t size, const char *what)
{
    check_cdc(data, size, 16 << 10, what);
    check_cdc(data, size, 64 << 10, what);
}

static void table_follows_from_its_seed(void **state)
{
    (void)state;
    uint32_t table[256];
    reference_table(table);
    assert_memory_equal(table, grv_cdc_table, sizeof table);
}

/* Reads one pinned cut a line and compares all scanners on a MiB of splitmix64 from state 1. */
static void check_golden(const char *text)
{
    uint8_t *data = must_alloc(MIB);
    uint64_t random = 1;
    test_random_fill(&random, data, MIB);
    char path[512];
    snprintf(path, sizeof path, "%s/cuts-cdc-%s.txt", GRV_GOLDEN_DIR, text + strlen("cdc:"));
    FILE *file = fopen(path, "r");
    assert_non_null(file);
    cut_list want = {.ends = must_alloc(1000 * sizeof(size_t))};
    while (want.count < 1000 && fscanf(file, "%zu", &want.ends[want.count]) == 1) {
        want.count++;
    }
    fclose(file);
    assert_true(want.count > 0 && want.ends[want.count - 1] == MIB);
    grv_chunker_spec spec = spec_of(text);
    size_t scanner_count;
    const grv_cdc_scanner *scanners = grv_cdc_scanners(&scanner_count);
    for (size_t i = 0; i < scanner_count; i++) {
        cut_list got = cutter_cuts(&spec, &scanners[i], data, MIB, &whole);
        assert_same_cuts(&got, &want, text);
        free(got.ends);
    }
    free(want.ends);
    free(data);
}

static void cuts_are_the_pinned_ones(void **state)
{
    (void)state;
    check_golden("cdc:16K");
    check_golden("cdc:64K");
    check_golden("cdc:256K");
}

static void every_scanner_cuts_random_bytes_alike(void **state)
{
    (void)state;
    size_t size = 2 * MIB + 12345;
    uint8_t *data = must_alloc(size);
    uint64_t random = 99;
    test_random_fill(&random, data, size);
    for (uint32_t target = GRV_CDC_SIZE_MIN; target <= MIB; target *= 2) {
        check_cdc(data, size, target, "random");
    }
    free(data);
}

static void runs_and_short_periods_cut_alike(void **state)
{
    (void)state;
    static const size_t periods[] = {1, 2, 3, 4, 7, 16, 31, 32, 33, 100, 1000};
    size_t size = 600000;
    uint8_t *data = must_alloc(size);
    uint64_t random = 5;
    for (size_t i = 0; i < sizeof periods / sizeof periods[0]; i++) {
        size_t period = periods[i];
        test_random_fill(&random, data, period);
        for (size_t k = period; k < size; k++) {
            data[k] = data[k - period];
        }
        check_cdc_sizes(data, size, "short period");
    }
    free(data);
}

static void runs_of_any_byte_give_the_largest_block(void **state)
{
    (void)state;
    grv_chunker_spec spec = cdc_of(GRV_CDC_SIZE_MIN);
    size_t size = 3 * 4 * GRV_CDC_SIZE_MIN;
    uint8_t *data = must_alloc(size);
    for (int byte = 0; byte < 256; byte++) {
        memset(data, byte, size);
        cut_list got = cutter_cuts(&spec, NULL, data, size, &whole);
        assert_int_equal(got.count, 3);
        assert_int_equal(got.ends[0], size / 3);
        assert_int_equal(got.ends[1], size / 3 * 2);
        free(got.ends);
    }
    free(data);
}

/* Four bytes that, repeated, have a hash within [least, limit) at each fourth position. */
static void dense_pattern(uint32_t least, uint32_t limit, uint8_t ret_pattern[4])
{
    uint64_t random = 3;
    uint32_t hash;
    do {
        uint64_t word = test_random(&random);
        hash = 0;
        for (unsigned i = 0; i < 4; i++) {
            ret_pattern[i] = (uint8_t)(word >> (8 * i));
        }
        for (unsigned i = 0; i < 32; i++) {
            hash = (hash << 1) + grv_cdc_table[ret_pattern[i % 4]];
        }
    } while (hash < least || hash >= limit);
}

static void fill_pattern(uint8_t *data, size_t size, const uint8_t pattern[4])
{
    for (size_t i = 0; i < size; i++) {
        data[i] = pattern[i % 4];
    }
}

static void dense_candidates_cut_alike(void **state)
{
    (void)state;
    size_t size = 1200000;
    uint8_t *data = must_alloc(size);
    uint8_t strict[4];
    uint8_t loose[4];
    dense_pattern(0, 1u << 14, strict);
    dense_pattern(1u << 16, 1u << 18, loose);
    fill_pattern(data, size, strict);
    check_cdc_sizes(data, size, "dense strict candidates");

    cut_list got = cutter_cuts(&(grv_chunker_spec){.kind = GRV_CHUNKER_CDC, .size = 65536}, NULL,
                               data, size, &whole);
    assert_true(got.count >= size / (16384 + 4)); /* the input does what it is made for */
    free(got.ends);

    fill_pattern(data, size, loose);
    check_cdc_sizes(data, size, "dense loose candidates");

    uint64_t random = 11;
    for (size_t at = 0; at < size;) {
        size_t run = (size_t)(test_random(&random) % 30000);
        run = run < size - at ? run : size - at;
        switch (test_random(&random) % 4) {
        case 0:
            fill_pattern(data + at, run, strict);
            break;
        case 1:
            fill_pattern(data + at, run, loose);
            break;
        case 2:
            memset(data + at, 0, run);
            break;
        default:
            test_random_fill(&random, data + at, run);
        }
        at += run;
    }
    check_cdc_sizes(data, size, "dense and ordinary stretches");
    free(data);
}

static void growth_by_one_byte_cuts_alike(void **state)
{
    (void)state;
    static const split growth = {.piece = 1, .capacity = 1};
    static const char *const texts[] = {"cdc:16K", "fixed:1000", "delimiter:0a", "delimiter:0a0b",
                                        "delimiter:0a,100"};
    size_t size = 150000;
    uint8_t *data = must_alloc(size);
    uint64_t random = 21;
    test_random_fill(&random, data, size);
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        grv_chunker_spec spec = spec_of(texts[i]);
        cut_list want = cutter_cuts(&spec, NULL, data, size, &whole);
        cut_list got = cutter_cuts(&spec, NULL, data, size, &growth);
        assert_true(want.count > 1);
        assert_same_cuts(&got, &want, texts[i]);
        free(want.ends);
        free(got.ends);
    }
    free(data);
}

static void edge_sizes_cut_as_defined(void **state)
{
    (void)state;
    uint32_t target = GRV_CDC_SIZE_MIN;
    size_t sizes[] = {0,
                      1,
                      31,
                      32,
                      33,
                      target / 4 - 1,
                      target / 4,
                      target / 4 + 1,
                      target - 1,
                      target,
                      target + 1,
                      4 * target - 1,
                      4 * target,
                      4 * target + 1,
                      17 * target / 4};
    uint8_t *zeros = calloc(1, 5 * target);
    uint8_t *random_bytes = must_alloc(5 * target);
    assert_non_null(zeros);
    uint64_t random = 77;
    test_random_fill(&random, random_bytes, 5 * target);
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        check_cdc(zeros, sizes[i], target, "zeros");
        check_cdc(random_bytes, sizes[i], target, "random");
    }
    grv_chunker_spec spec = cdc_of(target);
    cut_list got = cutter_cuts(&spec, NULL, zeros, 4 * target + 1, &whole);
    assert_int_equal(got.count, 2);
    assert_int_equal(got.ends[0], 4 * target);
    free(got.ends);
    free(zeros);
    free(random_bytes);
}

/* A cut is allowed at MIN, at the first position under the loose threshold, and not before. */
static void thresholds_change_at_their_positions(void **state)
{
    (void)state;
    uint32_t target = GRV_CDC_SIZE_MIN;
    uint8_t strict[4];
    uint8_t loose[4];
    dense_pattern(0, 1u << 16, strict);
    dense_pattern(1u << 16, 1u << 20, loose);
    size_t size = 8 * target;
    uint8_t *data = calloc(1, size);
    assert_non_null(data);
    static const int shifts[] = {-1, 0, 1};
    for (size_t i = 0; i < 3; i++) {
        for (unsigned k = 0; k < 2; k++) {
            size_t at = (k ? target : target / 4) + (size_t)shifts[i];
            memset(data, 0, size);
            fill_pattern(data + at - 32, 32, k ? loose : strict);
            check_cdc(data, size, target, "one candidate");
            grv_chunker_spec spec = cdc_of(target);
            cut_list got = cutter_cuts(&spec, NULL, data, size, &whole);
            assert_int_equal(got.ends[0] == at, shifts[i] >= 0);
            free(got.ends);
        }
    }
    free(data);
}

static void the_largest_blocks_cut_alike(void **state)
{
    (void)state;
    size_t size = (16u << 20) + 70000;
    uint8_t *data = calloc(1, size);
    assert_non_null(data);
    grv_chunker_spec spec = cdc_of(GRV_CDC_SIZE_MAX);
    static const split pieces = {.most = 3 * MIB, .capacity = 4};
    cut_list got = cutter_cuts(&spec, NULL, data, size, &pieces);
    assert_int_equal(got.count, 2);
    assert_int_equal(got.ends[0], 16u << 20);
    free(got.ends);
    uint64_t random = 1234;
    test_random_fill(&random, data, size);
    size_t scanner_count;
    const grv_cdc_scanner *scanners = grv_cdc_scanners(&scanner_count);
    cut_list want = cutter_cuts(&spec, &scanners[0], data, size, &whole);
    for (size_t i = 1; i < scanner_count; i++) {
        got = cutter_cuts(&spec, &scanners[i], data, size, &pieces);
        assert_same_cuts(&got, &want, scanners[i].name);
        free(got.ends);
    }
    free(want.ends);
    free(data);
}

/* The candidates of a stretch, or dense when the list can't hold them. */
static void check_list(const grv_cdc_scanner *scanner, const uint8_t *data, const uint32_t *hashes,
                       size_t from, size_t size, uint32_t loose)
{
    static grv_cdc_list list;
    memset(&list, 0xa5, sizeof list);
    scanner->scan(data + from, size, loose, &list);
    size_t want = 0;
    for (size_t i = 1; i <= size; i++) {
        if (hashes[from + i] < loose) {
            if (want < GRV_CDC_LIST_MAX && !list.dense) {
                assert_true(want < list.count);
                assert_int_equal(list.entries[want].offset, i);
                assert_int_equal(list.entries[want].hash, hashes[from + i]);
            }
            want++;
        }
    }
    assert_int_equal(list.dense, want > GRV_CDC_LIST_MAX);
    assert_true(list.dense || list.count == want);
}

static void scanners_list_every_candidate(void **state)
{
    (void)state;
    size_t size = 40000;
    uint8_t *data = must_alloc(size);
    uint64_t random = 8;
    test_random_fill(&random, data, size);
    uint32_t *hashes = reference_hashes(data, size);
    size_t scanner_count;
    const grv_cdc_scanner *scanners = grv_cdc_scanners(&scanner_count);
    for (size_t i = 0; i < scanner_count; i++) {
        if (!scanners[i].scan) {
            continue;
        }
        for (size_t k = 0; k < 600; k++) {
            size_t stretch = k < 300 ? k : (size_t)(test_random(&random) % 20000);
            size_t from = 32 + (size_t)(test_random(&random) % (size - 32 - stretch + 1));
            check_list(&scanners[i], data, hashes, from, stretch, 1u << 20);
            check_list(&scanners[i], data, hashes, from, stretch, 1u << 24);
            check_list(&scanners[i], data, hashes, from, stretch, 1u << 31);
        }
    }
    free(hashes);
    free(data);
}

static void fixed_cuts_are_arithmetic(void **state)
{
    (void)state;
    static const split pieces = {.most = 50, .capacity = 3, .copy = true};
    static const uint32_t sizes[] = {1, 7, 64, 1000};
    uint8_t *data = calloc(1, 1000);
    assert_non_null(data);
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        grv_chunker_spec spec = {.kind = GRV_CHUNKER_FIXED, .size = sizes[i]};
        for (size_t size = 0; size <= 1000; size += 125) {
            cut_list got = cutter_cuts(&spec, NULL, data, size, &pieces);
            assert_int_equal(got.count, (size + sizes[i] - 1) / sizes[i]);
            for (size_t k = 0; k < got.count; k++) {
                size_t end = (k + 1) * sizes[i];
                assert_int_equal(got.ends[k], end < size ? end : size);
            }
            free(got.ends);
        }
    }
    free(data);
}

/* The definition once more: a block ends where its last bytes are the delimiter, or at MAX. */
static cut_list delimiter_reference(const grv_chunker_spec *spec, const uint8_t *data, size_t size)
{
    cut_list list = {.ends = must_alloc((size + 1) * sizeof(size_t))};
    size_t start = 0;
    for (size_t q = 1; q <= size; q++) {
        size_t length = spec->delimiter_size;
        bool found = q - start >= length && memcmp(data + q - length, spec->delimiter, length) == 0;
        if (found || q - start == spec->size || q == size) {
            list.ends[list.count++] = q;
            start = q;
        }
    }
    return list;
}

static void delimiters_cut_as_defined(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "delimiter:00",          "delimiter:0001",
        "delimiter:000000",      "delimiter:000100",
        "delimiter:00,1",        "delimiter:0001,2",
        "delimiter:000100,3",    "delimiter:0000,5",
        "delimiter:00000000,64", "delimiter:00010001000100010001,17"};
    static const split splits[] = {
        {.piece = SIZE_MAX, .capacity = CAPACITY_MAX},
        {.piece = 1, .capacity = 1},
        {.most = 40, .capacity = 3, .copy = true},
    };
    size_t size = 3000;
    uint8_t *data = must_alloc(size);
    uint64_t random = 31;
    for (unsigned range = 2; range <= 8; range *= 2) {
        for (size_t i = 0; i < size; i++) {
            data[i] = (uint8_t)(test_random(&random) % range);
        }
        memset(data + size / 2, 0, 200);
        for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
            grv_chunker_spec spec = spec_of(texts[i]);
            cut_list want = delimiter_reference(&spec, data, size);
            for (size_t k = 0; k < sizeof splits / sizeof splits[0]; k++) {
                cut_list got = cutter_cuts(&spec, NULL, data, size, &splits[k]);
                assert_same_cuts(&got, &want, texts[i]);
                free(got.ends);
            }
            free(want.ends);
        }
    }
    free(data);
}

/* What the three small kinds of delimiter input give, by hand. */
static void delimiter_blocks_by_hand(void **state)
{
    (void)state;
    grv_chunker_spec spec = spec_of("delimiter:0a,4");
    const uint8_t *lines = (const uint8_t *)"a\n\nbcdefgh\nij";
    static const size_t ends[] = {2, 3, 7, 11, 13};
    cut_list want = {.count = 5, .ends = (size_t *)(uintptr_t)ends};
    cut_list got = cutter_cuts(&spec, NULL, lines, 13, &whole);
    assert_same_cuts(&got, &want, "lines");
    free(got.ends);
    /* In "aaaaaabcdeaaab" the pair at 10 would begin in one block and end in the next. */
    spec = spec_of("delimiter:6161,5");
    static const size_t pair_ends[] = {2, 4, 6, 11, 13, 14};
    want = (cut_list){.count = 6, .ends = (size_t *)(uintptr_t)pair_ends};
    got = cutter_cuts(&spec, NULL, (const uint8_t *)"aaaaaabcdeaaab", 14, &whole);
    assert_same_cuts(&got, &want, "pairs");
    free(got.ends);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(table_follows_from_its_seed),
        cmocka_unit_test(cuts_are_the_pinned_ones),
        cmocka_unit_test(every_scanner_cuts_random_bytes_alike),
        cmocka_unit_test(runs_and_short_periods_cut_alike),
        cmocka_unit_test(runs_of_any_byte_give_the_largest_block),
        cmocka_unit_test(dense_candidates_cut_alike),
        cmocka_unit_test(growth_by_one_byte_cuts_alike),
        cmocka_unit_test(edge_sizes_cut_as_defined),
        cmocka_unit_test(thresholds_change_at_their_positions),
        cmocka_unit_test(the_largest_blocks_cut_alike),
        cmocka_unit_test(scanners_list_every_candidate),
        cmocka_unit_test(fixed_cuts_are_arithmetic),
        cmocka_unit_test(delimiters_cut_as_defined),
        cmocka_unit_test(delimiter_blocks_by_hand),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
