/* SPDX-License-Identifier: Apache-2.0 */
/* The mark: whatever memory it is given, it tells exactly which blocks manifests name. */
#include "store/mark.h"
#include "temp.h"
#include "test.h"

#include <graviton/backend/kv.h>
#include <graviton/backend/memory.h>

#define BLOBS    40u
#define PER_BLOB 50u
#define UNIVERSE 1500u

static grv_block_key universe[UNIVERSE];
static bool named[UNIVERSE];

static int by_key(const void *a, const void *b)
{
    return grv_block_key_compare(a, b);
}

static void make_universe(uint64_t *seed)
{
    for (size_t i = 0; i < UNIVERSE; i++) {
        universe[i].digest.hash = i % 3 ? GRV_HASH_BLAKE3 : GRV_HASH_SHA256;
        test_random_fill(seed, universe[i].digest.bytes, GRV_DIGEST_SIZE);
        universe[i].size = 1 + (uint32_t)(test_random(seed) % 1000);
    }
    qsort(universe, UNIVERSE, sizeof universe[0], by_key);
}

/* Writes blobs of random blocks of one algorithm each. */
static void make_blobs(grv_manifest_repo *repo, uint64_t *seed)
{
    grv_error error = GRV_ERROR_INIT;
    for (size_t b = 0; b < BLOBS; b++) {
        grv_hash hash = b % 4 ? GRV_HASH_BLAKE3 : GRV_HASH_SHA256;
        grv_manifest_plan plan = {.block_hash = hash, .chunker = grv_chunker_default()};
        grv_manifest_put *put = NULL;
        grv_manifest_commit commit;
        grv_blob_key key = {.digest.hash = GRV_HASH_BLAKE3};
        test_random_fill(seed, key.digest.bytes, GRV_DIGEST_SIZE);
        assert_grv_ok(grv_manifest_repo_open_put(NULL, repo, &plan, &put, &error));
        for (size_t i = 0; i < PER_BLOB; i++) {
            size_t at = (size_t)(test_random(seed) % UNIVERSE);
            if (universe[at].digest.hash == hash) {
                assert_grv_ok(grv_manifest_put_append(NULL, put, &universe[at], 1, &error));
                key.size += universe[at].size;
                named[at] = true;
            }
        }
        assert_grv_ok(grv_manifest_put_commit(NULL, put, &key, NULL, &commit, &error));
        grv_manifest_put_free(put);
    }
}

/* Walks the universe, leaving every seventh block out as if it were lost, and compares. */
static size_t check_mark(grv_manifest_repo *repo, size_t keys_max)
{
    grv_error error = GRV_ERROR_INIT;
    grv_mark *mark = NULL;
    size_t passes = 0;
    size_t at = 0;
    uint64_t lost = 0;
    uint64_t want_lost = 0;
    assert_grv_ok(grv_mark_new(repo, keys_max, &mark, &error));
    for (;;) {
        bool end = false;
        assert_grv_ok(grv_mark_pass(NULL, mark, &end, &error));
        if (end) {
            break;
        }
        passes++;
        for (; at < UNIVERSE && !grv_mark_is_past(mark, &universe[at]); at++) {
            if (at % 7 == 0) {
                want_lost += named[at];
            } else {
                assert_int_equal(grv_mark_test(mark, &universe[at]), named[at]);
            }
        }
        lost += grv_mark_unasked(mark);
    }
    assert_int_equal(at, UNIVERSE);
    assert_int_equal(lost, want_lost);
    assert_int_equal(grv_mark_get_totals(mark).blobs, BLOBS);
    grv_mark_free(mark);
    return passes;
}

static void memory_changes_the_passes_and_not_the_answer(void **state)
{
    (void)state;
    grv_error error = GRV_ERROR_INIT;
    grv_kv *kv = NULL;
    grv_manifest_repo *repo = NULL;
    uint64_t seed = 42;
    assert_grv_ok(grv_kv_memory_new(GRV_NS_COUNT, &kv, &error));
    assert_grv_ok(grv_manifest_repo_kv_new(kv, &repo, &error));
    make_universe(&seed);
    make_blobs(repo, &seed);
    assert_int_equal(check_mark(repo, 0), 1);
    assert_true(check_mark(repo, 200) > 4);
    assert_true(check_mark(repo, 8) > 100);
    assert_true(check_mark(repo, 1) > 400);
    grv_manifest_repo_free(repo);
    grv_kv_free(kv);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(memory_changes_the_passes_and_not_the_answer),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
