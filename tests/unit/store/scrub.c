/* SPDX-License-Identifier: Apache-2.0 */
/* Scrubbing: what it finds, whom it names, how it goes on, and how what it set aside heals. */
#include "store/handle.h"
#include "store_rig.h"

#include <graviton/backend/kv.h>

enum { TOLD_MAX = 512 };

/* What a scrub told. */
typedef struct told {
    size_t found_count;
    grv_scrub_finding found[TOLD_MAX]; /* without messages */
    size_t named_count;
    grv_blob_key blobs[TOLD_MAX];
    grv_block_key blocks[TOLD_MAX];
    uint64_t offsets[TOLD_MAX];
    grv_cancel cancel;
    uint64_t cancel_at; /* blocks read; 0: never */
} told;

static grv_status on_found(void *context, const grv_scrub_finding *finding, grv_error *error)
{
    told *t = context;
    (void)error;
    assert_in_range(t->found_count, 0, TOLD_MAX - 1);
    assert_true(strlen(finding->message) > 0);
    t->found[t->found_count++] = *finding;
    return GRV_OK;
}

static grv_status on_named(void *context, const grv_blob_key *blob, const grv_block_key *block,
                           uint64_t offset, grv_error *error)
{
    told *t = context;
    (void)error;
    assert_in_range(t->named_count, 0, TOLD_MAX - 1);
    t->blobs[t->named_count] = *blob;
    t->blocks[t->named_count] = *block;
    t->offsets[t->named_count++] = offset;
    return GRV_OK;
}

static void on_progress(void *context, const grv_scrub_report *so_far)
{
    told *t = context;
    if (t->cancel_at > 0 && so_far->blocks >= t->cancel_at) {
        grv_cancel_raise(&t->cancel);
    }
}

static grv_status scrub(grv_store *store, told *t, bool restart, grv_scrub_report *ret_report)
{
    const grv_scrub_config config = {.restart = restart,
                                     .keys_max = 40,
                                     .found = on_found,
                                     .named = on_named,
                                     .progress = on_progress,
                                     .context = t};
    const grv_call call = {.cancel = &t->cancel};
    grv_error error = GRV_ERROR_INIT;
    t->found_count = 0;
    t->named_count = 0;
    t->cancel = (grv_cancel){0};
    return grv_store_scrub(&call, store, &config, ret_report, &error);
}

static const grv_scrub_finding *told_of(const told *t, const grv_block_key *key)
{
    const grv_scrub_finding *finding = NULL;
    for (size_t i = 0; i < t->found_count; i++) {
        if (grv_block_key_compare(&t->found[i].key, key) == 0) {
            assert_null(finding); /* once only */
            finding = &t->found[i];
        }
    }
    return finding;
}

static size_t naming(const told *t, const grv_blob_key *blob, const grv_block_key *block,
                     uint64_t offset)
{
    size_t count = 0;
    for (size_t i = 0; i < t->named_count; i++) {
        if (grv_blob_key_compare(&t->blobs[i], blob) == 0 &&
            grv_block_key_compare(&t->blocks[i], block) == 0) {
            assert_int_equal(t->offsets[i], offset);
            count++;
        }
    }
    return count;
}

static void a_well_store_is_read_once_and_nothing_is_told(void **state)
{
    (void)state;
    static told t;
    grv_store *store = rig_open("memory:");
    grv_scrub_report report;
    assert_grv_status(scrub(store, &t, false, &report), GRV_OK);
    assert_true(report.complete && report.blocks == 0);
    rig_put(store, 1, 12345);
    grv_sink_free(&rig_begin(store, 2, 0)->base);
    for (int again = 0; again < 2; again++) {
        assert_grv_status(scrub(store, &t, false, &report), GRV_OK);
        assert_true(report.complete && !report.resumed && report.started_ns > 0);
        assert_int_equal(report.blocks, 124);
        assert_int_equal(report.total_blocks, 124);
        assert_int_equal(report.bytes, 12345);
        assert_int_equal(report.total_bytes, 12345);
        assert_int_equal(report.corrupt + report.missing + report.unreadable, 0);
        assert_int_equal(t.found_count + t.named_count, 0);
    }
    grv_store_close(store);
}

static void check_bad(const char *blocks)
{
    static told t;
    grv_error error = GRV_ERROR_INIT;
    grv_store *store = rig_open(blocks);
    grv_blob_key whole = rig_put(store, 1, 20000);
    grv_blob_key part = rig_put(store, 1, 10000); /* the first half of the same bytes */
    grv_blob_key other = rig_put(store, 2, 5000);
    grv_blob_key gone = rig_put(store, 3, 300);
    grv_block_key both = rig_block(store, &whole, 7);
    grv_block_key one = rig_block(store, &whole, 150);
    grv_block_key lost = rig_block(store, &other, 3);
    grv_block_key loose = rig_block(store, &gone, 1);
    assert_grv_ok(grv_blob_store_remove(NULL, grv_store_blobs(store), &gone, &error));
    rig_spoil(store, &both);
    rig_spoil(store, &one);
    rig_spoil(store, &loose);
    rig_lose(store, &lost);
    grv_scrub_report report;
    assert_grv_status(scrub(store, &t, false, &report), GRV_OK);
    assert_true(report.complete);
    assert_int_equal(report.corrupt, 3);
    assert_int_equal(report.set_aside, 3);
    assert_int_equal(report.missing, 1);
    assert_int_equal(t.found_count, 4);
    assert_int_equal(told_of(&t, &both)->kind, GRV_SCRUB_CORRUPT);
    assert_true(told_of(&t, &both)->set_aside);
    assert_int_equal(told_of(&t, &one)->kind, GRV_SCRUB_CORRUPT);
    assert_int_equal(told_of(&t, &loose)->kind, GRV_SCRUB_CORRUPT);
    assert_int_equal(told_of(&t, &lost)->kind, GRV_SCRUB_MISSING);
    assert_int_equal(t.named_count, 4);
    assert_int_equal(naming(&t, &whole, &both, 700), 1);
    assert_int_equal(naming(&t, &part, &both, 700), 1);
    assert_int_equal(naming(&t, &whole, &one, 15000), 1);
    assert_int_equal(naming(&t, &other, &lost, 300), 1);
    assert_int_equal(rig_read(store, &whole, 1), GRV_CORRUPT);
    /* The next round finds them missing, those that are named. */
    assert_grv_status(scrub(store, &t, false, &report), GRV_OK);
    assert_int_equal(report.corrupt, 0);
    assert_int_equal(report.missing, 3);
    assert_int_equal(t.named_count, 4);
    /* A put of the same bytes heals. */
    rig_put(store, 1, 20000);
    rig_put(store, 2, 5000);
    assert_int_equal(rig_read(store, &whole, 1), GRV_OK);
    assert_int_equal(rig_read(store, &part, 1), GRV_OK);
    assert_int_equal(rig_read(store, &other, 2), GRV_OK);
    assert_grv_status(scrub(store, &t, false, &report), GRV_OK);
    assert_int_equal(t.found_count, 0);
    /* A collection takes the copies of what was healed. */
    const grv_collect_config config = {0};
    grv_collect_report collected;
    assert_grv_ok(grv_store_collect(NULL, store, &config, &collected, &error));
    assert_int_equal(collected.block_sweep.aside, 2);
    grv_store_close(store);
}

static void bad_blocks_are_told_with_their_blobs_and_heal(void **state)
{
    (void)state;
    check_bad("memory:");
    check_bad("kv:");
}

static void a_scrub_goes_on_where_it_stopped(void **state)
{
    (void)state;
    static told t;
    grv_store *store = rig_open("kv:");
    grv_blob_key blob = rig_put(store, 4, 100000);
    grv_block_key bad = rig_block(store, &blob, 500);
    rig_spoil(store, &bad);
    grv_scrub_report report;
    size_t corrupt_told = 0;
    uint64_t before = 0;
    unsigned runs = 0;
    grv_status status = GRV_CANCELLED;
    while (status == GRV_CANCELLED) {
        t.cancel_at = before + 1;
        if (runs >= 10) {
            t.cancel_at = 0;
        }
        status = scrub(store, &t, false, &report);
        assert_int_equal(report.resumed, runs > 0);
        assert_true(report.blocks > before || !status);
        assert_int_equal(report.complete, status == GRV_OK);
        const grv_scrub_finding *finding = told_of(&t, &bad);
        corrupt_told += finding && finding->kind == GRV_SCRUB_CORRUPT;
        before = report.blocks;
        runs++;
    }
    assert_int_equal(status, GRV_OK);
    assert_true(runs > 3);
    assert_int_equal(report.blocks, 1000); /* each once */
    assert_int_equal(report.bytes, 100000);
    assert_int_equal(report.corrupt, 1);
    assert_int_equal(corrupt_told, 1);
    assert_int_equal(told_of(&t, &bad)->kind, GRV_SCRUB_MISSING); /* told at the end */
    assert_int_equal(naming(&t, &blob, &bad, 50000), 1);
    /* And the next round begins anew. */
    t.cancel_at = 1;
    assert_grv_status(scrub(store, &t, false, &report), GRV_CANCELLED);
    assert_false(report.resumed);
    t.cancel_at = 0;
    assert_grv_status(scrub(store, &t, true, &report), GRV_OK);
    assert_false(report.resumed);
    assert_int_equal(report.blocks, 999);
    grv_store_close(store);
}

static void a_note_that_makes_no_sense_is_told(void **state)
{
    (void)state;
    static told t;
    static const char *const notes[] = {
        "x",
        "{}",
        "[1]",
        "{\"version\":1}",
        "{\"version\":0}",
        "{\"version\":1,\"after\":\"\",\"read_all\":false,\"started_ns\":-1,\"blocks\":0,"
        "\"bytes\":0,\"corrupt\":0,\"set_aside\":0,\"unreadable\":0}",
        "{\"version\":1,\"after\":\"blake3:00\",\"read_all\":false,\"started_ns\":1,\"blocks\":0,"
        "\"bytes\":0,\"corrupt\":0,\"set_aside\":0,\"unreadable\":0}",
    };
    grv_store *store = rig_open("memory:");
    grv_manifest_repo *manifests = grv_store_manifests(store);
    grv_scrub_report report;
    rig_put(store, 5, 1000);
    for (size_t i = 0; i < sizeof notes / sizeof notes[0]; i++) {
        grv_error error = GRV_ERROR_INIT;
        const grv_bytes note = grv_bytes_of(notes[i], strlen(notes[i]));
        assert_grv_ok(grv_manifest_repo_state_set(NULL, manifests, "scrub", NULL, note, &error));
        assert_grv_status(scrub(store, &t, false, &report), GRV_CORRUPT);
        assert_grv_status(scrub(store, &t, true, &report), GRV_OK);
        assert_int_equal(report.blocks, 10);
        assert_grv_status(scrub(store, &t, false, &report), GRV_OK); /* the note is gone */
    }
    grv_error error = GRV_ERROR_INIT;
    assert_grv_ok(grv_manifest_repo_state_set(NULL, manifests, "scrub", NULL,
                                              grv_bytes_of("{\"version\":2}", 13), &error));
    assert_grv_status(scrub(store, &t, false, &report), GRV_UNSUPPORTED);
    grv_store_close(store);
}

static void nothing_is_set_aside_while_a_put_is_open(void **state)
{
    (void)state;
    static told t;
    grv_store *store = rig_open("memory:");
    grv_blob_key blob = rig_put(store, 6, 1000);
    grv_block_key bad = rig_block(store, &blob, 2);
    rig_spoil(store, &bad);
    grv_blob_sink *sink = rig_begin(store, 7, 100);
    grv_scrub_report report;
    assert_grv_status(scrub(store, &t, false, &report), GRV_OK);
    assert_int_equal(report.corrupt, 1);
    assert_int_equal(report.set_aside, 0);
    assert_false(told_of(&t, &bad)->set_aside);
    assert_int_equal(naming(&t, &blob, &bad, 200), 1);
    grv_sink_free(&sink->base);
    assert_grv_status(scrub(store, &t, false, &report), GRV_OK);
    assert_int_equal(report.set_aside, 1);
    grv_store_close(store);
}

/* A block whose small row is there and whose frame is not would never be put again. */
static void a_listed_block_without_bytes_is_corrupt_and_heals(void **state)
{
    (void)state;
    static told t;
    grv_error error = GRV_ERROR_INIT;
    grv_store *store = rig_open("kv:");
    grv_blob_key blob = rig_put(store, 8, 1000);
    grv_block_key bad = rig_block(store, &blob, 9);
    uint8_t bytes[GRV_KEY_BYTES_SIZE];
    grv_block_key_encode(&bad, bytes);
    const grv_kv_op op = {
        .kind = GRV_KV_DELETE, .ns = GRV_NS_BLOCK, .key = grv_bytes_of(bytes, sizeof bytes)};
    const grv_kv_batch batch = {.ops = &op, .op_count = 1};
    assert_grv_ok(grv_kv_write(NULL, store->kv, &batch, &error));
    grv_scrub_report report;
    assert_grv_status(scrub(store, &t, false, &report), GRV_OK);
    assert_int_equal(report.set_aside, 1);
    assert_int_equal(told_of(&t, &bad)->kind, GRV_SCRUB_CORRUPT);
    rig_put(store, 8, 1000);
    assert_int_equal(rig_read(store, &blob, 8), GRV_OK);
    grv_store_close(store);
}

static void a_rate_is_kept(void **state)
{
    (void)state;
    grv_error error = GRV_ERROR_INIT;
    grv_store *store = rig_open("memory:");
    rig_put(store, 10, 400000);
    const grv_scrub_config config = {.rate_bytes = 1u << 20};
    grv_scrub_report report;
    uint64_t begun = grv_now_ns();
    assert_grv_ok(grv_store_scrub(NULL, store, &config, &report, &error));
    assert_true(grv_now_ns() - begun >= 380000000u); /* 400000 bytes at 1 MiB/s */
    /* A deadline ends the waiting. */
    const grv_call call = {.deadline_ns = grv_now_ns() + 30000000};
    const grv_scrub_config slow = {.rate_bytes = 1};
    begun = grv_now_ns();
    assert_grv_status(grv_store_scrub(&call, store, &slow, &report, &error), GRV_TIMEOUT);
    assert_true(grv_now_ns() - begun < UINT64_C(5000000000));
    grv_store_close(store);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_well_store_is_read_once_and_nothing_is_told),
        cmocka_unit_test(bad_blocks_are_told_with_their_blobs_and_heal),
        cmocka_unit_test(a_scrub_goes_on_where_it_stopped),
        cmocka_unit_test(a_note_that_makes_no_sense_is_told),
        cmocka_unit_test(nothing_is_set_aside_while_a_put_is_open),
        cmocka_unit_test(a_listed_block_without_bytes_is_corrupt_and_heals),
        cmocka_unit_test(a_rate_is_kept),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
