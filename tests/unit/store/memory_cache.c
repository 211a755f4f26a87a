/* SPDX-License-Identifier: Apache-2.0 */
/* The cache of blocks in memory: what is found, how much is kept, and what stays. */
#include "store/memory_cache.h"
#include "temp.h"
#include "test.h"

#include <pthread.h>
#include <stdlib.h>

enum { MIB = 1 << 20, SMALL = 4096 };

static grv_memory_cache *cache_of(uint64_t size_bytes)
{
    grv_error error = GRV_ERROR_INIT;
    grv_memory_cache *cache = NULL;
    assert_grv_ok(grv_memory_cache_new(size_bytes, &cache, &error));
    return cache;
}

static grv_cache_figures figures_of(grv_memory_cache *cache)
{
    grv_cache_figures figures;
    grv_memory_cache_read(cache, &figures);
    return figures;
}

/* The key of block `number`, which need not be a digest of anything. */
static grv_block_key key_of(uint64_t number, size_t size)
{
    grv_block_key key = {.digest.hash = GRV_HASH_BLAKE3, .size = (uint32_t)size};
    test_random_fill(&number, key.digest.bytes, sizeof key.digest.bytes);
    return key;
}

/* The seed of a block's bytes: another one for each key. */
static uint64_t seed_of(const grv_block_key *key)
{
    uint64_t seed = key->size;
    for (size_t i = 0; i < sizeof key->digest.bytes; i++) {
        seed = seed * 31 + key->digest.bytes[i];
    }
    return seed;
}

static grv_memory_block *block_of(const grv_block_key *key)
{
    grv_memory_block *block = grv_memory_block_new(key);
    assert_non_null(block);
    uint64_t seed = seed_of(key);
    test_random_fill(&seed, block->data, key->size);
    return block;
}

/* Whether a block has the key and the bytes that it was made with. */
static bool is_right(const grv_memory_block *block, const grv_block_key *key)
{
    uint64_t seed = seed_of(key);
    uint8_t *data = malloc(key->size);
    if (!data) {
        return false;
    }
    test_random_fill(&seed, data, key->size);
    bool right =
        grv_block_key_compare(&block->key, key) == 0 && memcmp(block->data, data, key->size) == 0;
    free(data);
    return right;
}

static void keep_key(grv_memory_cache *cache, const grv_block_key *key)
{
    grv_memory_block *block = block_of(key);
    grv_memory_cache_keep(cache, block);
    grv_memory_block_give(block);
}

static void keep(grv_memory_cache *cache, uint64_t number, size_t size)
{
    const grv_block_key key = key_of(number, size);
    keep_key(cache, &key);
}

static bool finds_key(grv_memory_cache *cache, const grv_block_key *key)
{
    grv_memory_block *block = grv_memory_cache_find(cache, key);
    if (!block) {
        return false;
    }
    assert_true(is_right(block, key));
    grv_memory_block_give(block);
    return true;
}

static bool finds(grv_memory_cache *cache, uint64_t number, size_t size)
{
    const grv_block_key key = key_of(number, size);
    return finds_key(cache, &key);
}

static size_t count_found(grv_memory_cache *cache, uint64_t first, size_t count)
{
    size_t found = 0;
    for (uint64_t i = 0; i < count; i++) {
        found += finds(cache, first + i, SMALL);
    }
    return found;
}

/* Keeps blocks that nobody wants again. */
static void scan(grv_memory_cache *cache, uint64_t first, size_t count)
{
    for (uint64_t i = 0; i < count; i++) {
        keep(cache, first + i, SMALL);
    }
}

/* Keeps blocks, each of which is wanted so often at once. */
static void keep_wanted(grv_memory_cache *cache, uint64_t first, size_t count, unsigned times)
{
    for (uint64_t i = first; i < first + count; i++) {
        keep(cache, i, SMALL);
        for (unsigned k = 0; k < times; k++) {
            assert_true(finds(cache, i, SMALL));
        }
    }
}

/* What a block costs beside its bytes. */
static size_t overhead_of_a_block(void)
{
    grv_memory_cache *cache = cache_of(MIB);
    assert_int_equal(figures_of(cache).memory_bytes, 0);
    keep(cache, 1, 1000);
    size_t overhead = figures_of(cache).memory_bytes - 1000;
    grv_memory_cache_free(cache);
    assert_in_range(overhead, sizeof(grv_memory_block), sizeof(grv_memory_block) + 64);
    return overhead;
}

/* ---- What is found ---- */

static void a_block_is_found_under_its_key_alone(void **state)
{
    (void)state;
    grv_memory_cache *cache = cache_of(MIB);
    const grv_block_key key = key_of(1, 1000);
    assert_false(finds_key(cache, &key));
    keep_key(cache, &key);
    assert_true(finds_key(cache, &key));
    assert_true(finds_key(cache, &key));
    grv_block_key other = key;
    other.digest.hash = GRV_HASH_SHA256;
    assert_null(grv_memory_cache_find(cache, &other));
    other = key;
    other.size = 999;
    assert_null(grv_memory_cache_find(cache, &other));
    for (size_t i = 0; i < sizeof key.digest.bytes; i++) {
        other = key;
        other.digest.bytes[i] ^= 1;
        assert_null(grv_memory_cache_find(cache, &other));
    }
    grv_memory_cache_free(cache);
}

static void keys_that_begin_alike_are_kept_apart(void **state)
{
    (void)state;
    enum { COUNT = 1000 };
    grv_memory_cache *cache = cache_of(MIB);
    for (uint64_t i = 0; i < COUNT; i++) {
        grv_block_key key = key_of(i, SMALL);
        memset(key.digest.bytes, 7, 16);
        keep_key(cache, &key);
        assert_true(finds_key(cache, &key));
    }
    size_t found = 0;
    for (uint64_t i = 0; i < COUNT; i++) {
        grv_block_key key = key_of(i, SMALL);
        memset(key.digest.bytes, 7, 16);
        found += finds_key(cache, &key);
    }
    const grv_cache_figures figures = figures_of(cache);
    assert_in_range(figures.evictions, COUNT / 2, COUNT - 1);
    assert_int_equal(found, COUNT - figures.evictions);
    grv_memory_cache_free(cache);
}

static void the_first_of_two_blocks_of_a_key_stays(void **state)
{
    (void)state;
    grv_memory_cache *cache = cache_of(MIB);
    const grv_block_key key = key_of(1, 1000);
    grv_memory_block *first = block_of(&key);
    grv_memory_block *second = block_of(&key);
    grv_memory_cache_keep(cache, first);
    const uint64_t size = figures_of(cache).memory_bytes;
    grv_memory_cache_keep(cache, second);
    grv_memory_cache_keep(cache, first);
    assert_int_equal(figures_of(cache).memory_bytes, size);
    assert_int_equal(figures_of(cache).kept, 1);
    grv_memory_block *found = grv_memory_cache_find(cache, &key);
    assert_ptr_equal(found, first);
    assert_int_equal(atomic_load(&first->holders), 3);
    assert_int_equal(atomic_load(&second->holders), 1);
    grv_memory_block_give(found);
    grv_memory_block_give(first);
    grv_memory_block_give(second);
    grv_memory_block_give(NULL);
    assert_true(finds_key(cache, &key));
    grv_memory_cache_free(cache);
    grv_memory_cache_free(NULL);
}

static void a_block_that_is_held_outlives_the_cache(void **state)
{
    (void)state;
    grv_memory_cache *cache = cache_of(MIB);
    const grv_block_key gone_key = key_of(1, SMALL);
    const grv_block_key kept_key = key_of(2, SMALL);
    grv_memory_block *gone = block_of(&gone_key);
    grv_memory_cache_keep(cache, gone);
    assert_int_equal(atomic_load(&gone->holders), 2);
    scan(cache, 100, 1000);
    assert_null(grv_memory_cache_find(cache, &gone_key));
    assert_int_equal(atomic_load(&gone->holders), 1);
    assert_true(is_right(gone, &gone_key));
    keep_key(cache, &kept_key);
    grv_memory_block *kept = grv_memory_cache_find(cache, &kept_key);
    assert_non_null(kept);
    assert_int_equal(atomic_load(&kept->holders), 2);
    grv_memory_cache_free(cache);
    assert_int_equal(atomic_load(&kept->holders), 1);
    assert_true(is_right(kept, &kept_key));
    assert_true(is_right(gone, &gone_key));
    grv_memory_block_give(kept);
    grv_memory_block_give(gone);
}

/* ---- How much is kept ---- */

static void the_bound_holds(void **state)
{
    (void)state;
    enum { ROUNDS = 6000, NUMBERS = 600 };
    const size_t overhead = overhead_of_a_block();
    static size_t sizes[NUMBERS];
    uint64_t random = 11;
    for (size_t i = 0; i < NUMBERS; i++) {
        sizes[i] = 1 + test_random(&random) % (i % 8 == 0 ? 300000 : 9000);
    }
    grv_memory_cache *cache = cache_of(MIB + 12345);
    for (size_t round = 0; round < ROUNDS; round++) {
        /* Half of what is asked for is a tenth of all. */
        uint64_t number = test_random(&random) % (round % 2 ? NUMBERS / 10 : NUMBERS);
        const grv_block_key key = key_of(number, sizes[number]);
        grv_memory_block *block = grv_memory_cache_find(cache, &key);
        if (!block) {
            block = grv_memory_block_new(&key);
            assert_non_null(block);
            grv_memory_cache_keep(cache, block);
        }
        grv_memory_block_give(block);
        const grv_cache_figures figures = figures_of(cache);
        assert_true(figures.memory_bytes <= MIB + 12345);
        assert_int_equal(figures.memory_bytes, figures.kept_bytes - figures.evicted_bytes +
                                                   (figures.kept - figures.evictions) * overhead);
    }
    const grv_cache_figures figures = figures_of(cache);
    assert_true(figures.evictions > NUMBERS && figures.hits > ROUNDS / 10);
    assert_true(figures.memory_bytes > MIB / 2);
    uint64_t found_bytes = 0;
    for (uint64_t i = 0; i < NUMBERS; i++) {
        const grv_block_key key = key_of(i, sizes[i]);
        grv_memory_block *block = grv_memory_cache_find(cache, &key);
        found_bytes += block ? sizes[i] + overhead : 0;
        grv_memory_block_give(block);
    }
    assert_int_equal(found_bytes, figures.memory_bytes);
    grv_memory_cache_free(cache);
}

/* Large enough for several shards; the bytes of its blocks are never touched, so they take none. */
static void a_large_cache_is_used_evenly(void **state)
{
    (void)state;
    enum { SIZE = 1 << 20, COUNT = 2000 };
    const uint64_t size_bytes = (uint64_t)300 * MIB;
    grv_memory_cache *cache = cache_of(size_bytes);
    for (uint64_t i = 0; i < COUNT; i++) {
        const grv_block_key key = key_of(i, SIZE);
        grv_memory_block *block = grv_memory_block_new(&key);
        assert_non_null(block);
        grv_memory_cache_keep(cache, block);
        grv_memory_block_give(block);
        assert_true(figures_of(cache).memory_bytes <= size_bytes);
    }
    const grv_cache_figures figures = figures_of(cache);
    assert_in_range(figures.size_bytes, size_bytes - 16, size_bytes);
    assert_true(figures.memory_bytes > size_bytes - (uint64_t)16 * MIB);
    size_t found = 0;
    for (uint64_t i = 0; i < COUNT; i++) {
        const grv_block_key key = key_of(i, SIZE);
        grv_memory_block *block = grv_memory_cache_find(cache, &key);
        found += block != NULL;
        grv_memory_block_give(block);
    }
    assert_int_equal(found, figures.kept - figures.evictions);
    grv_memory_cache_free(cache);
}

static void blocks_too_large_are_skipped(void **state)
{
    (void)state;
    const size_t most = MIB / 2 - overhead_of_a_block();
    grv_memory_cache *cache = cache_of(MIB);
    keep(cache, 1, SMALL);
    keep(cache, 2, most + 1);
    keep(cache, 3, GRV_BLOCK_SIZE_MAX);
    assert_false(finds(cache, 2, most + 1));
    assert_false(finds(cache, 3, GRV_BLOCK_SIZE_MAX));
    assert_int_equal(figures_of(cache).skipped, 2);
    assert_int_equal(figures_of(cache).kept, 1);
    keep(cache, 4, most);
    assert_true(finds(cache, 4, most));
    assert_true(finds(cache, 1, SMALL));
    assert_int_equal(figures_of(cache).skipped, 2);
    assert_int_equal(figures_of(cache).evictions, 0);
    grv_memory_cache_free(cache);
}

static void sizes_out_of_bounds_are_refused(void **state)
{
    (void)state;
    static const uint64_t bad[] = {0, 1, GRV_MEMORY_CACHE_MIN - 1, GRV_MEMORY_CACHE_MAX + 1,
                                   UINT64_MAX};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        grv_error error = GRV_ERROR_INIT;
        grv_memory_cache *cache = NULL;
        assert_grv_status(grv_memory_cache_new(bad[i], &cache, &error), GRV_INVALID_ARGUMENT);
        assert_null(cache);
        assert_true(strlen(error.message) > 0);
    }
    grv_memory_cache_free(cache_of(GRV_MEMORY_CACHE_MIN));
}

static void figures_are_exact(void **state)
{
    (void)state;
    const size_t overhead = overhead_of_a_block();
    grv_memory_cache *cache = cache_of(MIB + 1);
    keep(cache, 1, 1000);
    keep(cache, 2, SMALL);
    keep(cache, 2, SMALL);
    for (int i = 0; i < 3; i++) {
        assert_true(finds(cache, 1, 1000));
    }
    assert_true(finds(cache, 2, SMALL));
    assert_false(finds(cache, 3, 70)); /* whoever does not ask the store for it missed nothing */
    const grv_block_key missed[] = {{.size = 70}, {.size = 70}};
    grv_memory_cache_miss(cache, missed, 2);
    keep(cache, 4, MIB);
    grv_memory_cache_bypass(cache, 5);
    grv_memory_cache_bypass(cache, 7);
    const grv_cache_figures wanted = {
        .hits = 4,
        .hit_bytes = 3000 + SMALL,
        .misses = 2,
        .miss_bytes = 140,
        .bypassed = 12,
        .kept = 2,
        .kept_bytes = 1000 + SMALL,
        .skipped = 1,
        .memory_bytes = 1000 + SMALL + 2 * overhead,
        .size_bytes = MIB + 1,
    };
    const grv_cache_figures got = figures_of(cache);
    assert_memory_equal(&got, &wanted, sizeof got);
    /* The block that was not wanted more than once goes for one of its size. */
    const size_t room = (size_t)(MIB + 1 - wanted.memory_bytes) / (SMALL + overhead);
    scan(cache, 100, room);
    assert_int_equal(figures_of(cache).evictions, 0);
    scan(cache, 100 + room, 1);
    const grv_cache_figures full = figures_of(cache);
    assert_int_equal(full.kept, 3 + room);
    assert_int_equal(full.evictions, 1);
    assert_int_equal(full.evicted_bytes, SMALL);
    assert_int_equal(full.memory_bytes, wanted.memory_bytes + room * (SMALL + overhead));
    assert_false(finds(cache, 2, SMALL));
    assert_true(finds(cache, 1, 1000));
    grv_memory_cache_free(cache);
}

/* ---- What stays ---- */

/* Beside what a tenth of the smallest cache holds, and what nine tenths do. */
enum { HOT = 150, FAR = 1000000, SCAN = 4000 };

static void a_scan_pushes_nothing_out_that_is_wanted(void **state)
{
    (void)state;
    grv_memory_cache *cache = cache_of(MIB);
    keep_wanted(cache, 0, HOT, 2);
    scan(cache, FAR, SCAN);
    assert_int_equal(count_found(cache, 0, HOT), HOT);
    scan(cache, 2 * (uint64_t)FAR, SCAN);
    assert_int_equal(count_found(cache, 0, HOT), HOT);
    grv_memory_cache_free(cache);
}

static void what_was_wanted_once_goes_with_a_scan(void **state)
{
    (void)state;
    grv_memory_cache *cache = cache_of(MIB);
    keep_wanted(cache, 0, HOT, 1);
    scan(cache, FAR, SCAN);
    assert_int_equal(count_found(cache, 0, HOT), 0);
    grv_memory_cache_free(cache);
}

static void what_is_wanted_very_often_stays_no_less(void **state)
{
    (void)state;
    grv_memory_cache *cache = cache_of(MIB);
    for (unsigned i = 0; i < 4; i++) {
        keep_wanted(cache, i, 1, 254 + i); /* around what a byte counts to */
    }
    scan(cache, FAR, SCAN);
    assert_int_equal(count_found(cache, 0, 4), 4);
    grv_memory_cache_free(cache);
}

static void what_comes_back_is_taken_for_wanted(void **state)
{
    (void)state;
    grv_memory_cache *cache = cache_of(MIB);
    keep(cache, 0, SMALL);
    uint64_t next = FAR;
    while (figures_of(cache).evictions == 0) {
        keep(cache, next++, SMALL);
        assert_in_range(next, FAR, FAR + SCAN);
    }
    /* It was the oldest, so it has left. It stays when it comes again, and one that never was there
     * does not. */
    assert_int_equal(figures_of(cache).evictions, 1);
    assert_false(finds(cache, 0, SMALL));
    keep(cache, 0, SMALL);
    keep(cache, 1, SMALL);
    scan(cache, next, SCAN);
    assert_true(finds(cache, 0, SMALL));
    assert_false(finds(cache, 1, SMALL));
    grv_memory_cache_free(cache);
}

static void what_is_wanted_no_longer_makes_room(void **state)
{
    (void)state;
    grv_memory_cache *cache = cache_of(MIB);
    keep_wanted(cache, 0, HOT, 2);
    scan(cache, FAR, SCAN); /* now all of them are in the main queue */
    for (unsigned i = 0; i < 3; i++) {
        assert_int_equal(count_found(cache, 0, HOT / 3), HOT / 3);
    }
    for (uint64_t round = 1; round <= 2; round++) { /* others that are wanted take their places */
        keep_wanted(cache, round * 10000, HOT / 2, 2);
        scan(cache, (round + 1) * FAR, SCAN);
    }
    assert_int_equal(count_found(cache, 0, HOT / 3), HOT / 3);
    assert_true(count_found(cache, HOT / 3, HOT - HOT / 3) < HOT / 3);
    assert_int_equal(count_found(cache, 20000, HOT / 2), HOT / 2);
    grv_memory_cache_free(cache);
}

static void what_was_kept_last_is_there(void **state)
{
    (void)state;
    grv_memory_cache *cache = cache_of(MIB);
    keep_wanted(cache, 0, 240, 2); /* nearly all there is room for, and in the main queue soon */
    scan(cache, FAR, SCAN);
    for (uint64_t i = 0; i < 240; i++) {
        (void)finds(cache, i, SMALL);
    }
    /* Larger than the small queue and smaller. */
    for (uint64_t i = 0; i < 50; i++) {
        const size_t size = i % 2 ? SMALL : 300000;
        keep(cache, 10000 + i, size);
        assert_true(finds(cache, 10000 + i, size));
    }
    grv_memory_cache_free(cache);
}

/* ---- Threads ---- */

enum { THREADS = 4, TURNS = 8000, KEYS = 400, HELD = 6 };

typedef struct racer {
    grv_memory_cache *cache;
    uint64_t random;
    uint64_t finds;
    uint64_t hits;
    uint64_t wrong; /* blocks that were not those of their key */
} racer;

static grv_block_key racer_key(uint64_t number)
{
    return key_of(number, 1 + number * 7919 % 12000);
}

/* Finds or keeps a block; the caller holds it. */
static grv_memory_block *racer_block(racer *it)
{
    /* The lower numbers are wanted more often. */
    uint64_t number = test_random(&it->random) % KEYS * (test_random(&it->random) % KEYS) / KEYS;
    const grv_block_key key = racer_key(number);
    grv_memory_block *block = grv_memory_cache_find(it->cache, &key);
    it->finds++;
    it->hits += block != NULL;
    if (block) {
        return block;
    }
    grv_memory_cache_miss(it->cache, &key, 1);
    block = grv_memory_block_new(&key);
    if (block) {
        uint64_t seed = seed_of(&key);
        test_random_fill(&seed, block->data, key.size);
        grv_memory_cache_keep(it->cache, block);
    }
    return block;
}

static void *racer_run(void *context)
{
    racer *it = context;
    grv_memory_block *held[HELD] = {0};
    for (unsigned i = 0; i < TURNS; i++) {
        grv_memory_block **place = &held[test_random(&it->random) % HELD];
        if (*place) {
            const grv_block_key key = (*place)->key;
            it->wrong += !is_right(*place, &key);
        }
        grv_memory_block_give(*place);
        *place = racer_block(it);
        it->wrong += *place == NULL;
        if (i % 64 == 0) {
            grv_cache_figures figures;
            grv_memory_cache_read(it->cache, &figures);
            it->wrong += figures.memory_bytes > MIB;
        }
    }
    for (unsigned i = 0; i < HELD; i++) {
        grv_memory_block_give(held[i]);
    }
    return NULL;
}

static void threads_find_only_what_is_right(void **state)
{
    (void)state;
    grv_memory_cache *cache = cache_of(MIB);
    racer racers[THREADS];
    pthread_t threads[THREADS];
    for (unsigned i = 0; i < THREADS; i++) {
        racers[i] = (racer){.cache = cache, .random = i + 1};
        assert_int_equal(pthread_create(&threads[i], NULL, racer_run, &racers[i]), 0);
    }
    uint64_t hits = 0;
    uint64_t all = 0;
    for (unsigned i = 0; i < THREADS; i++) {
        assert_int_equal(pthread_join(threads[i], NULL), 0);
        assert_int_equal(racers[i].wrong, 0);
        hits += racers[i].hits;
        all += racers[i].finds;
    }
    const grv_cache_figures figures = figures_of(cache);
    assert_int_equal(figures.hits, hits);
    assert_int_equal(figures.misses, all - hits);
    assert_true(figures.hits > 0 && figures.evictions > 0);
    size_t found = 0;
    for (uint64_t i = 0; i < KEYS; i++) {
        const grv_block_key key = racer_key(i);
        grv_memory_block *block = grv_memory_cache_find(cache, &key);
        if (block) {
            assert_true(is_right(block, &key));
            assert_int_equal(atomic_load(&block->holders), 2);
            found++;
        }
        grv_memory_block_give(block);
    }
    assert_int_equal(found, figures.kept - figures.evictions);
    grv_memory_cache_free(cache);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_block_is_found_under_its_key_alone),
        cmocka_unit_test(keys_that_begin_alike_are_kept_apart),
        cmocka_unit_test(the_first_of_two_blocks_of_a_key_stays),
        cmocka_unit_test(a_block_that_is_held_outlives_the_cache),
        cmocka_unit_test(the_bound_holds),
        cmocka_unit_test(a_large_cache_is_used_evenly),
        cmocka_unit_test(blocks_too_large_are_skipped),
        cmocka_unit_test(sizes_out_of_bounds_are_refused),
        cmocka_unit_test(figures_are_exact),
        cmocka_unit_test(a_scan_pushes_nothing_out_that_is_wanted),
        cmocka_unit_test(what_was_wanted_once_goes_with_a_scan),
        cmocka_unit_test(what_is_wanted_very_often_stays_no_less),
        cmocka_unit_test(what_comes_back_is_taken_for_wanted),
        cmocka_unit_test(what_is_wanted_no_longer_makes_room),
        cmocka_unit_test(what_was_kept_last_is_there),
        cmocka_unit_test(threads_find_only_what_is_right),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
