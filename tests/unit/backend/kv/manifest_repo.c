/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the conformance suite cannot see of the manifest repository over a key-value store: how much
 * it reads and syncs, what it leaves behind, damage in its records, and what a failing store below
 * leads to.
 */
#include "backend/kv/manifest_repo.h"

#include "core/wire.h"
#include "temp.h"
#include "test.h"

#include <graviton/backend/memory.h>

/* A key-value store that counts what passes to the one in memory, and fails on demand. */
typedef struct spy_kv {
    grv_kv base;
    grv_kv *inner;
    size_t gets[GRV_NS_COUNT]; /* also those of multi_get */
    size_t get_bytes;
    size_t ordered_writes;
    size_t durable_writes;
    size_t fail_write;   /* fail this write, counted from 1; 0: none */
    bool lose_answer;    /* ... after it was done */
    grv_status fail_as;  /* ... with this status */
    size_t conflict_for; /* that many next guarded writes conflict, whatever their guards say */
} spy_kv;

static grv_status spy_get(const grv_call *call, grv_kv *kv, unsigned ns, grv_bytes key,
                          grv_value *ret_value, grv_error *error)
{
    spy_kv *spy = (spy_kv *)kv;
    grv_status status = grv_kv_get(call, spy->inner, ns, key, ret_value, error);
    spy->gets[ns]++;
    spy->get_bytes += status ? 0 : ret_value->bytes.size;
    return status;
}

static grv_status spy_multi_get(const grv_call *call, grv_kv *kv, unsigned ns,
                                const grv_bytes keys[], size_t count, grv_value ret_values[],
                                grv_status ret_statuses[], grv_error *error)
{
    spy_kv *spy = (spy_kv *)kv;
    spy->gets[ns] += count;
    return grv_kv_multi_get(call, spy->inner, ns, keys, count, ret_values, ret_statuses, error);
}

static grv_status spy_missing(const grv_call *call, grv_kv *kv, unsigned ns, const grv_bytes keys[],
                              size_t count, bool ret_missing[], grv_error *error)
{
    return grv_kv_missing(call, ((spy_kv *)kv)->inner, ns, keys, count, ret_missing, error);
}

static grv_status spy_write(const grv_call *call, grv_kv *kv, const grv_kv_batch *batch,
                            grv_error *error)
{
    spy_kv *spy = (spy_kv *)kv;
    if (batch->op_count == 0) {
        return grv_kv_write(call, spy->inner, batch, error); /* a question, and no write */
    }
    *(batch->durability == GRV_DURABLE ? &spy->durable_writes : &spy->ordered_writes) += 1;
    bool fails = spy->durable_writes + spy->ordered_writes == spy->fail_write;
    if (batch->guard_count > 0 && spy->conflict_for > 0) {
        spy->conflict_for--;
        return grv_error_set(error, GRV_CONFLICT, "spy", "a guard failed");
    }
    if (!fails || spy->lose_answer) {
        grv_status status = grv_kv_write(call, spy->inner, batch, error);
        if (status || !fails) {
            return status;
        }
    }
    return grv_error_set(error, spy->fail_as, "spy", "the disk is on fire");
}

static grv_status spy_open_scan(const grv_call *call, grv_kv *kv, const grv_kv_scan *scan,
                                grv_kv_cursor **ret_cursor, grv_error *error)
{
    return grv_kv_open_scan(call, ((spy_kv *)kv)->inner, scan, ret_cursor, error);
}

static grv_status spy_flush(const grv_call *call, grv_kv *kv, grv_error *error)
{
    return grv_kv_flush(call, ((spy_kv *)kv)->inner, error);
}

static void spy_free(grv_kv *kv)
{
    grv_kv_free(((spy_kv *)kv)->inner);
}

static const grv_kv_ops spy_ops = {
    .name = "spy",
    .get = spy_get,
    .multi_get = spy_multi_get,
    .missing = spy_missing,
    .write = spy_write,
    .open_scan = spy_open_scan,
    .flush = spy_flush,
    .free = spy_free,
};

typedef struct fixture {
    spy_kv kv;
    grv_manifest_repo *repo; /* with the usual limits */
    grv_manifest_repo *tiny; /* over the same store */
} fixture;

static int setup(void **state)
{
    static const grv_manifest_limits tiny = {.page = 2, .inlined = 1, .children = 10};
    static fixture f;
    grv_error error = GRV_ERROR_INIT;
    f = (fixture){0};
    assert_grv_ok(grv_kv_memory_new(GRV_NS_COUNT, &f.kv.inner, &error));
    assert_grv_ok(grv_kv_init(&f.kv.base, &spy_ops, GRV_NS_COUNT, &error));
    assert_grv_ok(grv_manifest_repo_kv_new(&f.kv.base, &f.repo, &error));
    assert_grv_ok(grv_manifest_repo_kv_new_limited(&f.kv.base, &tiny, &f.tiny, &error));
    *state = &f;
    return 0;
}

static int teardown(void **state)
{
    fixture *f = *state;
    grv_manifest_repo_free(f->tiny);
    grv_manifest_repo_free(f->repo);
    grv_kv_free(&f->kv.base);
    return 0;
}

/* A blob of blocks of ten bytes each. */
static grv_blob_key blob_of(uint8_t name, uint64_t blocks)
{
    grv_blob_key key = {.digest = {.hash = GRV_HASH_BLAKE3}, .size = blocks * 10};
    memset(key.digest.bytes, name, GRV_DIGEST_SIZE);
    return key;
}

static grv_status put_blob(grv_manifest_repo *repo, uint8_t name, uint64_t blocks, bool commit,
                           grv_manifest_commit *ret_commit, grv_error *error)
{
    const grv_manifest_plan plan = {.block_hash = GRV_HASH_BLAKE3,
                                    .chunker = grv_chunker_default()};
    grv_manifest_put *put = NULL;
    grv_status status = grv_manifest_repo_open_put(NULL, repo, &plan, &put, error);
    if (status) {
        return status;
    }
    static grv_block_key keys[1000];
    for (size_t i = 0; i < 1000; i++) {
        keys[i] = (grv_block_key){.digest = {.hash = GRV_HASH_BLAKE3}, .size = 10};
    }
    for (uint64_t left = blocks; left > 0 && !status;) {
        size_t count = left < 1000 ? (size_t)left : 1000;
        status = grv_manifest_put_append(NULL, put, keys, count, error);
        left -= count;
    }
    grv_blob_key key = blob_of(name, blocks);
    grv_error ignored;
    if (commit) {
        grv_status committed =
            grv_manifest_put_commit(NULL, put, &key, NULL, ret_commit, status ? &ignored : error);
        status = status ? status : committed;
    }
    grv_manifest_put_free(put);
    return status;
}

static grv_blob_info put_new(grv_manifest_repo *repo, uint8_t name, uint64_t blocks)
{
    grv_error error = GRV_ERROR_INIT;
    grv_manifest_commit commit = {0};
    assert_grv_ok(put_blob(repo, name, blocks, true, &commit, &error));
    assert_false(commit.already_stored);
    return commit.info;
}

/* How many rows a namespace has. */
static size_t rows(fixture *f, unsigned ns)
{
    grv_error error = GRV_ERROR_INIT;
    grv_kv_cursor *cursor = NULL;
    const grv_kv_scan scan = {.ns = ns};
    assert_grv_ok(grv_kv_open_scan(NULL, f->kv.inner, &scan, &cursor, &error));
    grv_kv_item item;
    size_t count = 0;
    while (!grv_kv_cursor_next(NULL, cursor, &item, &error)) {
        count++;
    }
    grv_kv_cursor_free(cursor);
    return count;
}

static void write_row(fixture *f, const grv_kv_op *op)
{
    grv_error error = GRV_ERROR_INIT;
    const grv_kv_batch batch = {.ops = op, .op_count = 1, .durability = GRV_ORDERED};
    assert_grv_ok(grv_kv_write(NULL, f->kv.inner, &batch, &error));
}

/* Flips a bit of the value under `key`. */
static void damage(fixture *f, unsigned ns, grv_bytes key, size_t at)
{
    grv_error error = GRV_ERROR_INIT;
    grv_value value = {0};
    assert_grv_ok(grv_kv_get(NULL, f->kv.inner, ns, key, &value, &error));
    grv_buffer copy;
    grv_buffer_init(&copy, value.bytes.size);
    assert_grv_ok(grv_buffer_append(&copy, value.bytes, &error));
    grv_value_done(&value);
    copy.data[at] ^= 1;
    write_row(f, &(grv_kv_op){
                     .kind = GRV_KV_PUT, .ns = ns, .key = key, .value = grv_buffer_bytes(&copy)});
    grv_buffer_done(&copy);
}

static void damage_root(fixture *f, const grv_blob_key *key)
{
    uint8_t bytes[GRV_KEY_BYTES_SIZE];
    grv_blob_key_encode(key, bytes);
    damage(f, GRV_NS_ROOT, grv_bytes_of(bytes, sizeof bytes), 90);
}

/* Reads all references; the number of blocks read goes to *ret_blocks. */
static grv_status read_all(grv_manifest_repo *repo, const grv_blob_key *key, uint64_t *ret_blocks,
                           grv_error *error)
{
    grv_ref_cursor *cursor = NULL;
    *ret_blocks = 0;
    grv_status status = grv_manifest_repo_open_refs(NULL, repo, key, 0, &cursor, error);
    size_t count = 1;
    while (!status && count > 0) {
        grv_block_ref refs[8];
        status = grv_ref_cursor_next(NULL, cursor, refs, 8, &count, error);
        *ret_blocks += status ? 0 : count;
    }
    grv_ref_cursor_free(cursor);
    return status;
}

static void assert_names(const grv_error *error, const grv_blob_key *key)
{
    char text[GRV_KEY_TEXT_SIZE];
    grv_blob_key_print(key, text);
    if (!strstr(error->message, text)) {
        fail_msg("\"%s\" does not name %s", error->message, text);
    }
}

static void reads_and_syncs_are_few(void **state)
{
    fixture *f = *state;
    grv_error error = GRV_ERROR_INIT;
    put_new(f->repo, 1, 1);
    assert_int_equal(f->kv.durable_writes, 1);
    assert_int_equal(f->kv.ordered_writes, 0);
    /* 100,000 blocks: 98 pages, one sync. */
    grv_blob_info info = put_new(f->repo, 2, 100000);
    assert_int_equal(f->kv.durable_writes, 2);
    assert_int_equal(f->kv.ordered_writes, 98);

    memset(f->kv.gets, 0, sizeof f->kv.gets);
    f->kv.get_bytes = 0;
    grv_blob_info got;
    assert_grv_ok(grv_manifest_repo_stat(NULL, f->repo, &info.key, &got, &error));
    assert_int_equal(f->kv.gets[GRV_NS_ROOT], 1);
    assert_int_equal(f->kv.gets[GRV_NS_PAGE], 0);
    grv_ref_cursor *cursor = NULL;
    grv_block_ref ref;
    size_t count = 0;
    assert_grv_ok(grv_manifest_repo_open_refs(NULL, f->repo, &info.key, 999999, &cursor, &error));
    assert_grv_ok(grv_ref_cursor_next(NULL, cursor, &ref, 1, &count, &error));
    assert_int_equal(ref.offset, 999990);
    grv_ref_cursor_free(cursor);
    assert_int_equal(f->kv.gets[GRV_NS_ROOT], 2);
    assert_int_equal(f->kv.gets[GRV_NS_PAGE], 1);
    assert_true(f->kv.get_bytes < 60000);
}

static void pages_go_with_what_named_them(void **state)
{
    fixture *f = *state;
    grv_error error = GRV_ERROR_INIT;
    grv_manifest_commit commit;
    /* Given up: with two levels of pages written. */
    assert_grv_ok(put_blob(f->tiny, 1, 30, false, NULL, &error));
    assert_true(f->kv.ordered_writes > 16);
    assert_int_equal(rows(f, GRV_NS_PAGE), 0);
    put_new(f->tiny, 2, 30);
    size_t pages = rows(f, GRV_NS_PAGE);
    assert_int_equal(pages, 15 + 8);
    /* Already stored: only the first manifest's pages stay. */
    assert_grv_ok(put_blob(f->tiny, 2, 30, true, &commit, &error));
    assert_true(commit.already_stored);
    assert_int_equal(rows(f, GRV_NS_PAGE), pages);
    put_new(f->tiny, 3, 30);
    grv_blob_key key = blob_of(2, 30);
    assert_grv_ok(grv_manifest_repo_remove(NULL, f->tiny, &key, &error));
    assert_int_equal(rows(f, GRV_NS_PAGE), pages);
    key = blob_of(3, 30);
    uint64_t blocks = 0;
    assert_grv_ok(read_all(f->tiny, &key, &blocks, &error));
    assert_grv_ok(grv_manifest_repo_remove(NULL, f->tiny, &key, &error));
    for (unsigned ns = GRV_NS_ROOT; ns < GRV_NS_COUNT; ns++) {
        assert_int_equal(rows(f, ns), 0);
    }
}

static void damage_is_corrupt_and_names_the_blob(void **state)
{
    fixture *f = *state;
    grv_error error = GRV_ERROR_INIT;
    uint64_t blocks = 0;
    grv_blob_key key = blob_of(1, 30);
    put_new(f->tiny, 1, 30);
    /* Each page in turn: flipped, then gone; then whole again. */
    grv_kv_cursor *cursor = NULL;
    const grv_kv_scan scan = {.ns = GRV_NS_PAGE};
    assert_grv_ok(grv_kv_open_scan(NULL, f->kv.inner, &scan, &cursor, &error));
    grv_kv_item item;
    size_t pages = 0;
    while (!grv_kv_cursor_next(NULL, cursor, &item, &error)) {
        damage(f, GRV_NS_PAGE, item.key, item.value.size - 1);
        assert_grv_status(read_all(f->tiny, &key, &blocks, &error), GRV_CORRUPT);
        assert_names(&error, &key);
        write_row(f, &(grv_kv_op){.kind = GRV_KV_DELETE, .ns = GRV_NS_PAGE, .key = item.key});
        assert_grv_status(read_all(f->tiny, &key, &blocks, &error), GRV_CORRUPT);
        assert_true(blocks < 30);
        assert_names(&error, &key);
        write_row(f,
                  &(grv_kv_op){
                      .kind = GRV_KV_PUT, .ns = GRV_NS_PAGE, .key = item.key, .value = item.value});
        pages++;
    }
    grv_kv_cursor_free(cursor);
    assert_int_equal(pages, 15 + 8);
    assert_grv_ok(read_all(f->tiny, &key, &blocks, &error));
    assert_int_equal(blocks, 30);

    grv_blob_info info;
    damage_root(f, &key);
    assert_grv_status(grv_manifest_repo_stat(NULL, f->tiny, &key, &info, &error), GRV_CORRUPT);
    assert_names(&error, &key);
    assert_grv_status(read_all(f->tiny, &key, &blocks, &error), GRV_CORRUPT);
}

static void a_root_of_another_blob_is_corrupt(void **state)
{
    fixture *f = *state;
    grv_error error = GRV_ERROR_INIT;
    put_new(f->repo, 1, 3);
    put_new(f->repo, 2, 3);
    uint8_t keys[2][GRV_KEY_BYTES_SIZE];
    grv_blob_key one = blob_of(1, 3);
    grv_blob_key two = blob_of(2, 3);
    grv_blob_key_encode(&one, keys[0]);
    grv_blob_key_encode(&two, keys[1]);
    grv_value value = {0};
    assert_grv_ok(grv_kv_get(NULL, f->kv.inner, GRV_NS_ROOT, grv_bytes_of(keys[0], sizeof keys[0]),
                             &value, &error));
    write_row(f, &(grv_kv_op){.kind = GRV_KV_PUT,
                              .ns = GRV_NS_ROOT,
                              .key = {keys[1], sizeof keys[1]},
                              .value = value.bytes});
    grv_value_done(&value);
    grv_blob_info info;
    assert_grv_status(grv_manifest_repo_stat(NULL, f->repo, &two, &info, &error), GRV_CORRUPT);
    assert_names(&error, &two);
}

static void check_list_goes_on(fixture *f, grv_list_order order)
{
    grv_error error = GRV_ERROR_INIT;
    for (size_t capacity = 1; capacity < 40; capacity += 19) {
        grv_blob_cursor *cursor = NULL;
        const grv_blob_list list = {.order = order};
        assert_grv_ok(grv_manifest_repo_open_list(NULL, f->repo, &list, &cursor, &error));
        size_t seen = 0;
        size_t corrupt = 0;
        size_t count = 1;
        while (count > 0) {
            grv_blob_info infos[40];
            grv_status status = grv_blob_cursor_next(NULL, cursor, infos, capacity, &count, &error);
            if (status) {
                assert_grv_status(status, GRV_CORRUPT);
                grv_blob_key damaged = blob_of(20, 1);
                assert_names(&error, &damaged);
                corrupt++;
            } else {
                seen += count;
            }
        }
        grv_blob_cursor_free(cursor);
        assert_int_equal(corrupt, 1);
        assert_int_equal(seen, 39);
    }
}

static void lists_go_on_after_a_damaged_blob_which_can_be_mended(void **state)
{
    fixture *f = *state;
    grv_error error = GRV_ERROR_INIT;
    for (uint8_t i = 0; i < 40; i++) {
        put_new(f->repo, i, 1);
    }
    grv_blob_key damaged = blob_of(20, 1);
    damage_root(f, &damaged);
    check_list_goes_on(f, GRV_ORDER_KEY);
    check_list_goes_on(f, GRV_ORDER_NEWEST);
    /* Putting it again says so; removing it first mends it, and lists show it once. */
    grv_manifest_commit commit;
    assert_grv_status(put_blob(f->repo, 20, 1, true, &commit, &error), GRV_CORRUPT);
    assert_grv_ok(grv_manifest_repo_remove(NULL, f->repo, &damaged, &error));
    put_new(f->repo, 20, 1);
    grv_blob_cursor *cursor = NULL;
    const grv_blob_list list = {.order = GRV_ORDER_NEWEST};
    assert_grv_ok(grv_manifest_repo_open_list(NULL, f->repo, &list, &cursor, &error));
    size_t total = 0;
    size_t count = 1;
    while (count > 0) {
        grv_blob_info infos[40];
        assert_grv_ok(grv_blob_cursor_next(NULL, cursor, infos, 40, &count, &error));
        assert_true(total > 0 || grv_blob_key_compare(&infos[0].key, &damaged) == 0);
        total += count;
    }
    grv_blob_cursor_free(cursor);
    assert_int_equal(total, 40);
}

/* Fails every write of a put in turn: the error comes up, nothing shows, and a retry succeeds. */
static void any_failed_write_fails_the_put_alone(void **state)
{
    fixture *f = *state;
    grv_error error = GRV_ERROR_INIT;
    grv_blob_key key = blob_of(1, 30);
    grv_manifest_commit commit;
    f->kv.fail_as = GRV_OUT_OF_SPACE;
    grv_status status = GRV_OUT_OF_SPACE;
    for (size_t n = 1; status; n++) {
        f->kv.fail_write = f->kv.ordered_writes + f->kv.durable_writes + n;
        status = put_blob(f->tiny, 1, 30, true, &commit, &error);
        f->kv.fail_write = 0;
        if (status) {
            assert_grv_status(status, GRV_OUT_OF_SPACE);
            assert_non_null(strstr(error.message, "the disk is on fire"));
            grv_blob_info info;
            assert_grv_status(grv_manifest_repo_stat(NULL, f->tiny, &key, &info, &error),
                              GRV_NOT_FOUND);
        } else {
            assert_int_equal(n, 15 + 8 + 2); /* pages, then the root */
        }
    }
    uint64_t blocks = 0;
    assert_grv_ok(read_all(f->tiny, &key, &blocks, &error));
    assert_int_equal(blocks, 30);
}

/* A commit whose answer was lost may have happened: its pages must not be taken for garbage. */
static void a_commit_without_an_answer_keeps_its_pages(void **state)
{
    fixture *f = *state;
    grv_error error = GRV_ERROR_INIT;
    grv_manifest_commit commit;
    f->kv.fail_as = GRV_UNAVAILABLE;
    f->kv.lose_answer = true;
    f->kv.fail_write = 15 + 8 + 1;
    assert_grv_status(put_blob(f->tiny, 1, 30, true, &commit, &error), GRV_UNAVAILABLE);
    grv_blob_key key = blob_of(1, 30);
    uint64_t blocks = 0;
    assert_grv_ok(read_all(f->tiny, &key, &blocks, &error));
    assert_int_equal(blocks, 30);
}

static void lost_races_are_run_again(void **state)
{
    fixture *f = *state;
    grv_error error = GRV_ERROR_INIT;
    /* Both repositories would give out the same numbers if the guard did not stop them. */
    uint64_t last = 0;
    for (uint8_t i = 0; i < 10; i++) {
        grv_blob_info info = put_new(i % 3 ? f->tiny : f->repo, i, 1);
        assert_true(info.sequence > last);
        last = info.sequence;
    }
    f->kv.conflict_for = 20;
    grv_blob_info info = put_new(f->repo, 77, 2);
    assert_true(info.sequence > last);
    f->kv.conflict_for = 20;
    assert_grv_ok(grv_manifest_repo_remove(NULL, f->repo, &info.key, &error));
    /* Without end it is given up. */
    grv_manifest_commit commit;
    f->kv.conflict_for = SIZE_MAX;
    assert_grv_status(put_blob(f->repo, 78, 2, true, &commit, &error), GRV_UNAVAILABLE);
    f->kv.conflict_for = 0;
    put_new(f->repo, 78, 2);
}

static void wrong_sequences_are_refused_when_opened(void **state)
{
    fixture *f = *state;
    grv_error error = GRV_ERROR_INIT;
    static const uint64_t numbers[] = {0, UINT64_MAX};
    uint8_t key[8];
    const grv_bytes sequence = {key, sizeof key};
    const grv_bytes floor = {(const uint8_t *)"sequence", 8};
    grv_manifest_repo *repo = NULL;
    for (size_t i = 0; i < 2; i++) {
        grv_wire_put_u64be(key, numbers[i]);
        write_row(f, &(grv_kv_op){.kind = GRV_KV_PUT, .ns = GRV_NS_SEQUENCE, .key = sequence});
        assert_grv_status(grv_manifest_repo_kv_new(&f->kv.base, &repo, &error), GRV_CORRUPT);
        write_row(f, &(grv_kv_op){.kind = GRV_KV_DELETE, .ns = GRV_NS_SEQUENCE, .key = sequence});
        write_row(f, &(grv_kv_op){
                         .kind = GRV_KV_PUT, .ns = GRV_NS_META, .key = floor, .value = sequence});
        assert_grv_status(grv_manifest_repo_kv_new(&f->kv.base, &repo, &error), GRV_CORRUPT);
        write_row(f, &(grv_kv_op){.kind = GRV_KV_DELETE, .ns = GRV_NS_META, .key = floor});
    }
    assert_null(repo);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(reads_and_syncs_are_few, setup, teardown),
        cmocka_unit_test_setup_teardown(pages_go_with_what_named_them, setup, teardown),
        cmocka_unit_test_setup_teardown(damage_is_corrupt_and_names_the_blob, setup, teardown),
        cmocka_unit_test_setup_teardown(a_root_of_another_blob_is_corrupt, setup, teardown),
        cmocka_unit_test_setup_teardown(lists_go_on_after_a_damaged_blob_which_can_be_mended, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(any_failed_write_fails_the_put_alone, setup, teardown),
        cmocka_unit_test_setup_teardown(a_commit_without_an_answer_keeps_its_pages, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(lost_races_are_run_again, setup, teardown),
        cmocka_unit_test_setup_teardown(wrong_sequences_are_refused_when_opened, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
