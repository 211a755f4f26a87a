/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the blob_store suite cannot see from outside: damage below the blob store, the memory
 * budget, and streams given up in the middle.
 */
#include "store/cas.h"
#include "temp.h"
#include "test.h"

#include <graviton/backend/cas.h>
#include <graviton/backend/kv.h>
#include <graviton/backend/memory.h>
#include <stdatomic.h>
#include <unistd.h>

#define MIB ((size_t)1 << 20)

/* A cas store in memory, with its parts at hand. */
typedef struct cas_rig {
    grv_kv *kv;
    grv_block_store *blocks;
    grv_manifest_repo *manifests;
    grv_blob_store *blobs;
} cas_rig;

static grv_cas_config rig_config(const cas_rig *rig, const char *chunker, size_t budget_bytes)
{
    grv_error error = GRV_ERROR_INIT;
    grv_cas_config config = {
        .blocks = rig->blocks,
        .manifests = rig->manifests,
        .hash = GRV_HASH_BLAKE3,
        .threads = 3,
        .budget_bytes = budget_bytes,
    };
    assert_grv_ok(
        grv_chunker_spec_parse(grv_bytes_of(chunker, strlen(chunker)), &config.chunker, &error));
    return config;
}

static void rig_open(cas_rig *rig, const char *chunker, size_t budget_bytes)
{
    grv_error error = GRV_ERROR_INIT;
    assert_grv_ok(grv_kv_memory_new(GRV_NS_COUNT, &rig->kv, &error));
    assert_grv_ok(grv_block_store_memory_new(&rig->blocks, &error));
    assert_grv_ok(grv_manifest_repo_kv_new(rig->kv, &rig->manifests, &error));
    const grv_cas_config config = rig_config(rig, chunker, budget_bytes);
    assert_grv_ok(grv_blob_store_cas_new(&config, &rig->blobs, &error));
}

static void rig_close(cas_rig *rig)
{
    grv_blob_store_free(rig->blobs);
    grv_manifest_repo_free(rig->manifests);
    grv_block_store_free(rig->blocks);
    grv_kv_free(rig->kv);
}

static uint8_t *random_bytes(uint64_t seed, size_t size)
{
    uint8_t *data = malloc(size ? size : 1);
    assert_non_null(data);
    test_random_fill(&seed, data, size);
    return data;
}

static grv_blob_key put(cas_rig *rig, const uint8_t *data, size_t size, const grv_put_plan *plan)
{
    grv_error error = GRV_ERROR_INIT;
    grv_blob_sink *sink = NULL;
    assert_grv_ok(grv_blob_store_open_put(NULL, rig->blobs, plan, &sink, &error));
    assert_grv_ok(grv_sink_write(NULL, &sink->base, grv_bytes_of(data, size), &error));
    assert_grv_ok(grv_sink_commit(NULL, &sink->base, &error));
    grv_blob_key key = sink->result.key;
    assert_true(sink->result.fresh_bytes + sink->result.duplicate_bytes == size);
    grv_sink_free(&sink->base);
    return key;
}

/* Reads until the stream ends or fails; checks what comes against `data`. */
static grv_status drain(grv_source *source, const uint8_t *data, size_t *ret_size, grv_error *error)
{
    size_t size = 0;
    for (;;) {
        grv_bytes view;
        grv_status status = grv_source_next(NULL, source, 100000, &view, error);
        if (status || view.size == 0) {
            *ret_size = size;
            return status;
        }
        assert_memory_equal(view.data, data + size, view.size);
        size += view.size;
    }
}

static grv_status get(cas_rig *rig, const grv_blob_key *key, const uint8_t *data, size_t *ret_size,
                      grv_error *error)
{
    grv_source *source = NULL;
    grv_status status =
        grv_blob_store_open_get(NULL, rig->blobs, key, GRV_RANGE_ALL, &source, error);
    *ret_size = 0;
    if (!status) {
        status = drain(source, data, ret_size, error);
    }
    grv_source_free(source);
    return status;
}

/* Removes the block that holds byte `offset` of a blob. */
static grv_block_key remove_block_at(cas_rig *rig, const grv_blob_key *key, uint64_t offset)
{
    grv_error error = GRV_ERROR_INIT;
    grv_ref_cursor *cursor = NULL;
    grv_block_ref ref;
    size_t count = 0;
    bool removed = false;
    assert_grv_ok(grv_blob_store_open_refs(NULL, rig->blobs, key, offset, &cursor, &error));
    assert_grv_ok(grv_ref_cursor_next(NULL, cursor, &ref, 1, &count, &error));
    grv_ref_cursor_free(cursor);
    assert_grv_ok(grv_block_store_remove(NULL, rig->blocks, &ref.key, 1, &removed, &error));
    assert_true(removed);
    return ref.key;
}

/* Puts `bytes` into the block store under `key`, whether they fit it or not. */
static void plant(cas_rig *rig, const grv_block_key *key, const uint8_t *bytes)
{
    grv_error error = GRV_ERROR_INIT;
    grv_block_batch *batch = NULL;
    grv_block block = {.key = *key, .bytes = {bytes, key->size}};
    grv_block_result result;
    assert_grv_ok(grv_block_store_open_batch(NULL, rig->blocks, &batch, &error));
    assert_grv_ok(grv_block_batch_put(NULL, batch, &block, 1, NULL, &error));
    assert_grv_ok(grv_block_batch_commit(NULL, batch, GRV_DURABLE, &result, 1, &error));
    grv_block_batch_free(batch);
}

static void a_missing_block_is_corrupt_and_named(void **state)
{
    (void)state;
    grv_error error = GRV_ERROR_INIT;
    cas_rig rig;
    rig_open(&rig, "fixed:64K", 0);
    uint8_t *data = random_bytes(1, 5 * MIB);
    grv_put_plan plan = {0};
    grv_blob_key key = put(&rig, data, 5 * MIB, &plan);
    grv_block_key lost = remove_block_at(&rig, &key, 3 * MIB);
    size_t size;
    char text[GRV_KEY_TEXT_SIZE];
    assert_grv_status(get(&rig, &key, data, &size, &error), GRV_CORRUPT);
    assert_true(size <= 3 * MIB);
    grv_block_key_print(&lost, text);
    assert_non_null(strstr(error.message, text));
    grv_blob_key_print(&key, text);
    assert_non_null(strstr(error.message, text));
    assert_int_equal(put(&rig, data, 5 * MIB, &plan).size, 5 * MIB);
    assert_grv_status(get(&rig, &key, data, &size, &error), GRV_OK);
    assert_int_equal(size, 5 * MIB);
    free(data);
    rig_close(&rig);
}

static void a_wrong_block_is_never_given_out(void **state)
{
    (void)state;
    grv_error error = GRV_ERROR_INIT;
    cas_rig rig;
    rig_open(&rig, "fixed:64K", 0);
    uint8_t *data = random_bytes(2, 3 * MIB);
    grv_put_plan plan = {0};
    grv_blob_key key = put(&rig, data, 3 * MIB, &plan);
    grv_block_key wrong = remove_block_at(&rig, &key, 3 * MIB - 1);
    plant(&rig, &wrong, data);
    size_t size;
    char text[GRV_KEY_TEXT_SIZE];
    assert_grv_status(get(&rig, &key, data, &size, &error), GRV_CORRUPT);
    assert_true(size <= 3 * MIB - 65536);
    grv_block_key_print(&wrong, text);
    assert_non_null(strstr(error.message, text));
    free(data);
    rig_close(&rig);
}

/* Sound blocks joined under a name that is not theirs: only the whole digest can tell. */
static void a_wrong_manifest_never_reads_to_its_end(void **state)
{
    (void)state;
    static const size_t sizes[] = {1, 65536, 65537, 1 * MIB, 9 * MIB + 5};
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        grv_error error = GRV_ERROR_INIT;
        cas_rig rig;
        rig_open(&rig, "fixed:64K", 0);
        uint8_t *data = random_bytes(3, sizes[i]);
        grv_put_plan none = {0};
        grv_blob_key key = put(&rig, data, sizes[i], &none);
        grv_manifest_plan plan = {.block_hash = GRV_HASH_BLAKE3,
                                  .chunker = {.kind = GRV_CHUNKER_FIXED, .size = 65536}};
        grv_manifest_put *manifest = NULL;
        grv_ref_cursor *refs = NULL;
        grv_block_ref ref;
        size_t count = 1;
        assert_grv_ok(grv_manifest_repo_open_put(NULL, rig.manifests, &plan, &manifest, &error));
        assert_grv_ok(grv_blob_store_open_refs(NULL, rig.blobs, &key, 0, &refs, &error));
        for (;;) {
            assert_grv_ok(grv_ref_cursor_next(NULL, refs, &ref, 1, &count, &error));
            if (count == 0) {
                break;
            }
            assert_grv_ok(grv_manifest_put_append(NULL, manifest, &ref.key, 1, &error));
        }
        grv_ref_cursor_free(refs);
        grv_manifest_commit commit;
        grv_blob_key liar = key;
        liar.digest.bytes[31] ^= 1;
        assert_grv_ok(grv_manifest_put_commit(NULL, manifest, &liar, NULL, &commit, &error));
        grv_manifest_put_free(manifest);
        size_t size;
        assert_grv_status(get(&rig, &liar, data, &size, &error), GRV_CORRUPT);
        assert_true(size < sizes[i]);
        free(data);
        rig_close(&rig);
    }
}

/* ---- Lists of blocks that are known ---- */

enum { KNOWN_BLOCKS = 5, KNOWN_SIZE = KNOWN_BLOCKS * 65536 };

/* The references of a blob of KNOWN_BLOCKS blocks. */
static void refs_of(cas_rig *rig, const grv_blob_key *key, grv_block_ref refs[KNOWN_BLOCKS])
{
    grv_error error = GRV_ERROR_INIT;
    grv_ref_cursor *cursor = NULL;
    size_t count = 0;
    assert_grv_ok(grv_blob_store_open_refs(NULL, rig->blobs, key, 0, &cursor, &error));
    assert_grv_ok(grv_ref_cursor_next(NULL, cursor, refs, KNOWN_BLOCKS, &count, &error));
    assert_int_equal(count, KNOWN_BLOCKS);
    grv_ref_cursor_free(cursor);
}

/* Puts another list of blocks in the place of the blob's own. */
static void replace_manifest(cas_rig *rig, const grv_blob_key *key,
                             const grv_block_ref refs[KNOWN_BLOCKS])
{
    grv_error error = GRV_ERROR_INIT;
    grv_manifest_plan plan = {.block_hash = GRV_HASH_BLAKE3,
                              .chunker = {.kind = GRV_CHUNKER_FIXED, .size = 65536}};
    grv_manifest_put *manifest = NULL;
    grv_manifest_commit commit;
    assert_grv_ok(grv_manifest_repo_remove(NULL, rig->manifests, key, &error));
    assert_grv_ok(grv_manifest_repo_open_put(NULL, rig->manifests, &plan, &manifest, &error));
    for (size_t i = 0; i < KNOWN_BLOCKS; i++) {
        assert_grv_ok(grv_manifest_put_append(NULL, manifest, &refs[i].key, 1, &error));
    }
    assert_grv_ok(grv_manifest_put_commit(NULL, manifest, key, NULL, &commit, &error));
    grv_manifest_put_free(manifest);
}

/* What a blob was read with before says nothing of another list of blocks. */
static void a_manifest_that_changes_between_reads_is_found(void **state)
{
    (void)state;
    grv_error error = GRV_ERROR_INIT;
    cas_rig rig;
    rig_open(&rig, "fixed:64K", 0);
    uint8_t *data = random_bytes(11, KNOWN_SIZE);
    grv_put_plan none = {0};
    grv_blob_key key = put(&rig, data, KNOWN_SIZE, &none);
    grv_block_ref refs[KNOWN_BLOCKS];
    grv_block_ref swapped[KNOWN_BLOCKS];
    refs_of(&rig, &key, refs);
    memcpy(swapped, refs, sizeof refs);
    swapped[1] = refs[3];
    swapped[3] = refs[1];
    size_t size;
    for (unsigned round = 0; round < 3; round++) {
        assert_grv_ok(get(&rig, &key, data, &size, &error));
        assert_int_equal(size, KNOWN_SIZE);
        assert_grv_ok(get(&rig, &key, data, &size, &error));
        replace_manifest(&rig, &key, swapped);
        grv_source *source = NULL;
        grv_bytes view;
        assert_grv_ok(
            grv_blob_store_open_get(NULL, rig.blobs, &key, GRV_RANGE_ALL, &source, &error));
        assert_grv_status(grv_source_next(NULL, source, KNOWN_SIZE, &view, &error), GRV_CORRUPT);
        grv_source_free(source);
        replace_manifest(&rig, &key, refs);
    }
    free(data);
    rig_close(&rig);
}

/* A list that is wrong is planted among the known ones: who reads in front believes it, which shows
 * that the blob's digest is left out there; who reads in the background does not, before or
 * after. */
static void the_background_hashes_what_is_known(void **state)
{
    (void)state;
    grv_error error = GRV_ERROR_INIT;
    const grv_call background = {.priority = GRV_BACKGROUND};
    cas_rig rig;
    rig_open(&rig, "fixed:64K", 0);
    uint8_t *data = random_bytes(12, KNOWN_SIZE);
    grv_put_plan none = {0};
    grv_blob_key key = put(&rig, data, KNOWN_SIZE, &none);
    grv_block_ref refs[KNOWN_BLOCKS];
    grv_known_print print;
    refs_of(&rig, &key, refs);
    refs[4] = refs[0];
    memcpy(data + (size_t)4 * 65536, data, 65536);
    replace_manifest(&rig, &key, refs);
    assert_grv_ok(grv_known_print_of(&key, refs, KNOWN_BLOCKS, &print, &error));
    grv_known_add(((grv_cas *)(void *)rig.blobs)->known, &print);
    for (unsigned round = 0; round < 2; round++) {
        size_t size;
        grv_source *source = NULL;
        assert_grv_ok(
            grv_blob_store_open_get(&background, rig.blobs, &key, GRV_RANGE_ALL, &source, &error));
        assert_grv_status(drain(source, data, &size, &error), GRV_CORRUPT);
        grv_source_free(source);
        assert_grv_ok(get(&rig, &key, data, &size, &error));
        assert_int_equal(size, KNOWN_SIZE);
    }
    free(data);
    rig_close(&rig);
}

/* A fingerprint covers the blob's key, every block and their order. */
static void fingerprints_tell_lists_apart(void **state)
{
    (void)state;
    grv_error error = GRV_ERROR_INIT;
    enum { COUNT = 70 };
    grv_blob_key key = {.digest = {.hash = GRV_HASH_BLAKE3, .bytes = {1}}, .size = COUNT};
    grv_block_ref refs[COUNT] = {0};
    for (unsigned i = 0; i < COUNT; i++) {
        refs[i].key.digest = (grv_digest){.hash = GRV_HASH_BLAKE3, .bytes = {(uint8_t)i, 7}};
        refs[i].key.size = 1;
    }
    grv_known *known = calloc(1, sizeof *known);
    assert_non_null(known);
    grv_known_print print;
    grv_known_print other;
    assert_grv_ok(grv_known_print_of(&key, refs, COUNT, &print, &error));
    assert_false(grv_known_has(known, &print));
    grv_known_add(known, &print);
    assert_true(grv_known_has(known, &print));
    for (unsigned i = 0; i < COUNT; i++) {
        refs[i].key.digest.bytes[31] ^= 1;
        assert_grv_ok(grv_known_print_of(&key, refs, COUNT, &other, &error));
        assert_false(grv_known_has(known, &other));
        refs[i].key.digest.bytes[31] ^= 1;
        refs[i].key.size ^= 2;
        assert_grv_ok(grv_known_print_of(&key, refs, COUNT, &other, &error));
        assert_false(grv_known_has(known, &other));
        refs[i].key.size ^= 2;
        assert_grv_ok(grv_known_print_of(&key, refs, i, &other, &error));
        assert_false(grv_known_has(known, &other));
    }
    key.size++;
    assert_grv_ok(grv_known_print_of(&key, refs, COUNT, &other, &error));
    assert_false(grv_known_has(known, &other));
    key.size--;
    assert_grv_ok(grv_known_print_of(&key, refs, COUNT, &other, &error));
    assert_true(grv_known_has(known, &other));
    free(known);
}

static void a_blob_removed_under_a_reader_is_not_found(void **state)
{
    (void)state;
    grv_error error = GRV_ERROR_INIT;
    cas_rig rig;
    rig_open(&rig, "fixed:64K", 0);
    uint8_t *data = random_bytes(4, 40 * MIB);
    grv_put_plan plan = {0};
    grv_blob_key key = put(&rig, data, 40 * MIB, &plan);
    grv_source *source = NULL;
    grv_bytes view;
    assert_grv_ok(grv_blob_store_open_get(NULL, rig.blobs, &key, GRV_RANGE_ALL, &source, &error));
    assert_grv_ok(grv_source_next(NULL, source, 1000, &view, &error));
    remove_block_at(&rig, &key, 40 * MIB - 1);
    assert_grv_ok(grv_blob_store_remove(NULL, rig.blobs, &key, &error));
    size_t size;
    grv_status status = drain(source, data + 1000, &size, &error);
    assert_grv_status(status, GRV_NOT_FOUND);
    assert_grv_status(grv_source_next(NULL, source, 1000, &view, &error), GRV_NOT_FOUND);
    grv_source_free(source);
    free(data);
    rig_close(&rig);
}

static void tiny_blocks_go_in_and_out(void **state)
{
    (void)state;
    static const char *const chunkers[] = {"fixed:1", "fixed:64", "delimiter:00,16M"};
    for (size_t i = 0; i < 3; i++) {
        grv_error error = GRV_ERROR_INIT;
        cas_rig rig;
        rig_open(&rig, chunkers[i], 0);
        size_t size = i == 0 ? 20000 : 2 * MIB + 7;
        uint8_t *data = random_bytes(5 + i, size);
        grv_put_plan plan = {0};
        grv_blob_key key = put(&rig, data, size, &plan);
        size_t got;
        assert_grv_ok(get(&rig, &key, data, &got, &error));
        assert_int_equal(got, size);
        free(data);
        rig_close(&rig);
    }
}

static void a_wrong_size_hint_does_no_harm(void **state)
{
    (void)state;
    static const uint64_t hints[] = {0, 10, MIB, 100 * MIB, UINT64_MAX};
    grv_error error = GRV_ERROR_INIT;
    cas_rig rig;
    rig_open(&rig, "cdc:64K", 0);
    uint8_t *data = random_bytes(9, 20 * MIB);
    for (size_t i = 0; i < sizeof hints / sizeof hints[0]; i++) {
        grv_put_plan plan = {.has_size_hint = true, .size_hint = hints[i]};
        grv_blob_key key = put(&rig, data, 20 * MIB - i, &plan);
        size_t size;
        assert_grv_ok(get(&rig, &key, data, &size, &error));
        assert_int_equal(size, 20 * MIB - i);
    }
    free(data);
    rig_close(&rig);
}

static void the_budget_admits_what_fits(void **state)
{
    (void)state;
    grv_error error = GRV_ERROR_INIT;
    cas_rig rig;
    rig_open(&rig, "cdc:4M", GRV_CAS_BUDGET_MIN);
    grv_blob_sink *sinks[4] = {0};
    grv_put_plan plan = {0};
    enum { OPEN = 3 }; /* two tiles of 20 MiB each, 128 MiB in all */
    for (size_t i = 0; i < OPEN; i++) {
        assert_grv_ok(grv_blob_store_open_put(NULL, rig.blobs, &plan, &sinks[i], &error));
    }
    grv_call call = {.deadline_ns = grv_now_ns() + UINT64_C(30000000)};
    assert_grv_status(grv_blob_store_open_put(&call, rig.blobs, &plan, &sinks[OPEN], &error),
                      GRV_TIMEOUT);
    grv_sink_free(&sinks[0]->base);
    assert_grv_ok(grv_blob_store_open_put(NULL, rig.blobs, &plan, &sinks[0], &error));
    for (size_t i = 0; i < OPEN; i++) {
        grv_sink_free(&sinks[i]->base);
    }
    rig_close(&rig);
}

static void a_read_of_the_largest_blocks_stays_in_its_share(void **state)
{
    (void)state;
    grv_error error = GRV_ERROR_INIT;
    cas_rig rig;
    rig_open(&rig, "fixed:16M", 0);
    uint8_t *zeros = calloc(1, 16 * MIB);
    assert_non_null(zeros);
    grv_blob_sink *sink = NULL;
    grv_put_plan plan = {0};
    assert_grv_ok(grv_blob_store_open_put(NULL, rig.blobs, &plan, &sink, &error));
    for (int i = 0; i < 12; i++) {
        assert_grv_ok(grv_sink_write(NULL, &sink->base, grv_bytes_of(zeros, 16 * MIB), &error));
    }
    assert_grv_ok(grv_sink_commit(NULL, &sink->base, &error));
    grv_blob_key key = sink->result.key;
    grv_sink_free(&sink->base);
    grv_budget *budget = &((grv_cas *)(void *)rig.blobs)->budget;
    grv_source *source = NULL;
    size_t size = 0;
    assert_grv_ok(grv_blob_store_open_get(NULL, rig.blobs, &key, GRV_RANGE_ALL, &source, &error));
    for (;;) {
        grv_bytes view;
        assert_grv_ok(grv_source_next(NULL, source, 5 * MIB, &view, &error));
        assert_true(budget->taken <= GRV_STREAM_BYTES_MAX);
        if (view.size == 0) {
            break;
        }
        size += view.size;
    }
    assert_int_equal(size, 192 * MIB);
    grv_source_free(source);
    free(zeros);
    rig_close(&rig);
}

/* Readers that wait for a share while each holds one that the other could use wait for ever. */
static void a_reader_that_waits_holds_nothing(void **state)
{
    (void)state;
    grv_error error = GRV_ERROR_INIT;
    cas_rig rig;
    rig_open(&rig, "fixed:16M", GRV_CAS_BUDGET_MIN);
    uint8_t *data = random_bytes(23, 48 * MIB);
    grv_put_plan plan = {0};
    grv_blob_key key = put(&rig, data, 48 * MIB, &plan);
    grv_budget *budget = &((grv_cas *)(void *)rig.blobs)->budget;
    size_t others = GRV_CAS_BUDGET_MIN - 20 * MIB; /* leaves room for one fetch */
    assert_true(grv_budget_try(budget, others));
    for (int i = 0; i < 3; i++) {
        grv_call call = {.deadline_ns = grv_now_ns() + UINT64_C(120000000000)};
        grv_source *source = NULL;
        size_t size = 0;
        assert_grv_ok(
            grv_blob_store_open_get(NULL, rig.blobs, &key, GRV_RANGE_ALL, &source, &error));
        for (;;) {
            grv_bytes view;
            assert_grv_ok(grv_source_next(&call, source, 16 * MIB, &view, &error));
            if (view.size == 0) {
                break;
            }
            size += view.size;
        }
        assert_int_equal(size, 48 * MIB);
        grv_source_free(source);
    }
    grv_budget_give(budget, others);
    free(data);
    rig_close(&rig);
}

/* A block store that is slow with one block: the memory store's table with two slots before it. */
#define SLOW_US 100000u
static grv_block_store_ops slow_ops;
static const grv_block_store_ops *slow_inner;
static grv_block_key slow_key;   /* calls with this block take a while */
static atomic_uint slow_met;     /* how many there were */
static atomic_uint slow_limited; /* those of them that had a deadline */

static void slow_wait(const grv_call *call, const grv_block_key keys[], size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (grv_block_key_compare(&keys[i], &slow_key) == 0) {
            atomic_fetch_add(&slow_met, 1);
            atomic_fetch_add(&slow_limited, call && call->deadline_ns != 0);
            usleep(SLOW_US);
        }
    }
}

static grv_status slow_get(const grv_call *call, grv_block_store *store, const grv_block_key keys[],
                           const grv_span buffers[], size_t count, grv_status ret_statuses[],
                           grv_error *error)
{
    slow_wait(call, keys, count);
    grv_status status = grv_call_check(call, "slow", error);
    for (size_t i = 0; status && i < count; i++) {
        ret_statuses[i] = status;
    }
    return status ? status
                  : slow_inner->get(call, store, keys, buffers, count, ret_statuses, error);
}

static grv_status slow_missing(const grv_call *call, grv_block_store *store,
                               const grv_block_key keys[], size_t count, bool ret_missing[],
                               grv_error *error)
{
    slow_wait(call, keys, count);
    grv_status status = grv_call_check(call, "slow", error);
    return status ? status : slow_inner->missing(call, store, keys, count, ret_missing, error);
}

/* What runs ahead of the caller is no part of the call that began it: its deadline is not passed
 * on to what a later call finds. */
static void a_deadline_ends_with_its_call(void **state)
{
    (void)state;
    grv_error error = GRV_ERROR_INIT;
    cas_rig rig;
    rig_open(&rig, "fixed:1M", 0);
    slow_inner = rig.blocks->ops;
    slow_ops = *slow_inner;
    slow_ops.get = slow_get;
    slow_ops.missing = slow_missing;
    rig.blocks->ops = &slow_ops;
    uint8_t *data = random_bytes(21, 12 * MIB);
    grv_blob_sink *sink = NULL;
    grv_put_plan plan = {0};
    slow_key.size = MIB; /* the second block's: what comes first is quick */
    assert_grv_ok(
        grv_digest_of(GRV_HASH_BLAKE3, grv_bytes_of(data + MIB, MIB), &slow_key.digest, &error));
    assert_grv_ok(grv_blob_store_open_put(NULL, rig.blobs, &plan, &sink, &error));
    grv_call call = {.deadline_ns = grv_now_ns() + UINT64_C(60000000000)};
    assert_grv_ok(grv_sink_write(&call, &sink->base, grv_bytes_of(data, 3 * MIB), &error));
    assert_grv_ok(grv_sink_write(NULL, &sink->base, grv_bytes_of(data + 3 * MIB, 9 * MIB), &error));
    assert_grv_ok(grv_sink_commit(NULL, &sink->base, &error));
    grv_blob_key key = sink->result.key;
    grv_sink_free(&sink->base);
    assert_true(atomic_exchange(&slow_met, 0) > 0);

    grv_source *source = NULL;
    grv_bytes view;
    assert_grv_ok(grv_blob_store_open_get(NULL, rig.blobs, &key, GRV_RANGE_ALL, &source, &error));
    call.deadline_ns = grv_now_ns() + UINT64_C(60000000000);
    assert_grv_ok(grv_source_next(&call, source, 1000, &view, &error));
    for (int i = 0; i < 6000 && atomic_load(&slow_met) == 0; i++) {
        usleep(10000);
    }
    assert_true(atomic_load(&slow_met) > 0); /* read ahead, while that call's deadline is known */
    size_t size = 0;
    assert_grv_ok(drain(source, data + 1000, &size, &error));
    assert_int_equal(size, 12 * MIB - 1000);
    assert_int_equal(atomic_load(&slow_limited), 0);
    grv_source_free(source);
    free(data);
    rig_close(&rig);
}

static void a_put_given_up_anywhere_leaves_nothing(void **state)
{
    (void)state;
    grv_error error = GRV_ERROR_INIT;
    cas_rig rig;
    rig_open(&rig, "cdc:16K", 0);
    uint8_t *data = random_bytes(11, 12 * MIB);
    for (size_t size = 0; size <= 12 * MIB; size += 700001) {
        grv_blob_sink *sink = NULL;
        grv_put_plan plan = {0};
        assert_grv_ok(grv_blob_store_open_put(NULL, rig.blobs, &plan, &sink, &error));
        assert_grv_ok(grv_sink_write(NULL, &sink->base, grv_bytes_of(data, size), &error));
        grv_sink_free(&sink->base);
    }
    grv_blob_list list = {0};
    grv_blob_cursor *cursor = NULL;
    grv_blob_info info;
    size_t count = 1;
    assert_grv_ok(grv_blob_store_open_list(NULL, rig.blobs, &list, &cursor, &error));
    assert_grv_ok(grv_blob_cursor_next(NULL, cursor, &info, 1, &count, &error));
    assert_int_equal(count, 0);
    grv_blob_cursor_free(cursor);
    grv_block_stats stats;
    assert_grv_ok(grv_block_store_stats(NULL, rig.blocks, &stats, &error));
    assert_int_equal(stats.blocks, 0);
    free(data);
    rig_close(&rig);
}

/* The halves could be written, and a blob that is there could be put without writing any. */
static void a_read_only_store_refuses_every_change(void **state)
{
    (void)state;
    grv_error error = GRV_ERROR_INIT;
    const grv_put_plan plan = {0};
    grv_attributes attributes;
    grv_blob_sink *sink = NULL;
    cas_rig rig;
    rig_open(&rig, "fixed:64", 0);
    uint8_t *data = random_bytes(12, 1000);
    grv_blob_key key = put(&rig, data, 1000, &plan);
    grv_blob_store_free(rig.blobs);
    grv_cas_config config = rig_config(&rig, "fixed:64", 0);
    config.read_only = true;
    assert_grv_ok(grv_blob_store_cas_new(&config, &rig.blobs, &error));

    assert_grv_status(grv_blob_store_open_put(NULL, rig.blobs, &plan, &sink, &error),
                      GRV_UNSUPPORTED);
    grv_attributes_init(&attributes);
    assert_grv_status(grv_blob_store_attributes_set(NULL, rig.blobs, &key, &attributes, &error),
                      GRV_UNSUPPORTED);
    assert_grv_status(grv_blob_store_remove(NULL, rig.blobs, &key, &error), GRV_UNSUPPORTED);
    key.size++;
    assert_grv_status(grv_blob_store_remove(NULL, rig.blobs, &key, &error), GRV_UNSUPPORTED);
    key.size--;
    grv_source *source = NULL;
    size_t size = 0;
    assert_grv_ok(grv_blob_store_open_get(NULL, rig.blobs, &key, GRV_RANGE_ALL, &source, &error));
    assert_grv_ok(drain(source, data, &size, &error));
    assert_int_equal(size, 1000);
    grv_source_free(source);
    free(data);
    rig_close(&rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_missing_block_is_corrupt_and_named),
        cmocka_unit_test(a_wrong_block_is_never_given_out),
        cmocka_unit_test(a_wrong_manifest_never_reads_to_its_end),
        cmocka_unit_test(a_manifest_that_changes_between_reads_is_found),
        cmocka_unit_test(the_background_hashes_what_is_known),
        cmocka_unit_test(fingerprints_tell_lists_apart),
        cmocka_unit_test(a_blob_removed_under_a_reader_is_not_found),
        cmocka_unit_test(tiny_blocks_go_in_and_out),
        cmocka_unit_test(a_wrong_size_hint_does_no_harm),
        cmocka_unit_test(the_budget_admits_what_fits),
        cmocka_unit_test(a_read_of_the_largest_blocks_stays_in_its_share),
        cmocka_unit_test(a_reader_that_waits_holds_nothing),
        cmocka_unit_test(a_deadline_ends_with_its_call),
        cmocka_unit_test(a_put_given_up_anywhere_leaves_nothing),
        cmocka_unit_test(a_read_only_store_refuses_every_change),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
