/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The manifest codec: every shape round trips, seeks land on the right block, damage is found, and
 * the bytes are pinned. Pages live in a list here; what a manifest holds is told by a generator, so
 * that millions of blocks need no second copy.
 */
#include "core/manifest.h"
#include "core/wire.h"
#include "golden.h"
#include "temp.h"
#include "test.h"

#include <stdlib.h>
#include <xxhash.h>

static const uint8_t manifest_id[GRV_MANIFEST_ID_SIZE] = {0, 1, 2,  3,  4,  5,  6,  7,
                                                          8, 9, 10, 11, 12, 13, 14, 15};

/* Emitted pages by level and number. */
typedef struct page_list {
    grv_value *pages[2];
    uint64_t count[2];
} page_list;

static grv_status list_emit(void *context, unsigned level, uint64_t number, grv_bytes page,
                            grv_error *error)
{
    page_list *list = context;
    assert_int_equal(number, list->count[level]);
    list->count[level]++;
    list->pages[level] =
        realloc(list->pages[level], list->count[level] * sizeof *list->pages[level]);
    assert_non_null(list->pages[level]);
    return grv_value_copy(&list->pages[level][number], page, error);
}

static void list_done(page_list *list)
{
    for (unsigned level = 0; level < 2; level++) {
        for (uint64_t i = 0; i < list->count[level]; i++) {
            grv_value_done(&list->pages[level][i]);
        }
        free(list->pages[level]);
    }
}

/* The nth block of every manifest here, where block 0 begins at byte 0. */
static grv_block_key block(uint64_t n)
{
    grv_block_key key = {.digest = {.hash = GRV_HASH_SHA256}, .size = (uint32_t)(n % 7 + 1)};
    uint64_t seed = n;
    test_random_fill(&seed, key.digest.bytes, GRV_DIGEST_SIZE);
    return key;
}

/* Bytes of the first n blocks. */
static uint64_t offset_of(uint64_t n)
{
    return n / 7 * 28 + (n % 7) * (n % 7 + 1) / 2;
}

/* A manifest of n blocks in memory. */
typedef struct sample {
    page_list list;
    grv_buffer bytes;
    grv_manifest_root root;
} sample;

static void sample_make(sample *made, uint64_t count, const grv_manifest_limits *limits)
{
    grv_error error = GRV_ERROR_INIT;
    *made = (sample){0};
    grv_manifest_builder builder;
    grv_manifest_builder_init(&builder, limits, manifest_id, GRV_HASH_SHA256, list_emit,
                              &made->list);
    static grv_block_key keys[1000];
    size_t step = 1;
    for (uint64_t n = 0; n < count;) {
        size_t filled = 0;
        while (filled < step && n < count) {
            keys[filled++] = block(n++);
        }
        assert_grv_ok(grv_manifest_builder_append(&builder, keys, filled, &error));
        step = step * 3 % 1000 + 1;
    }
    assert_grv_ok(grv_manifest_builder_finish(&builder, &error));
    grv_blob_info info = {
        .key = {.digest = {.hash = GRV_HASH_BLAKE3}, .size = offset_of(count)},
        .block_count = count,
        .block_hash = GRV_HASH_SHA256,
        .chunker = {.kind = GRV_CHUNKER_DELIMITER,
                    .size = 1u << 20,
                    .delimiter_size = 3,
                    .delimiter = {'a', 0, 0xff}},
        .created_ns = UINT64_C(1700000000123456789),
        .sequence = 42,
    };
    memset(info.key.digest.bytes, 0xdd, GRV_DIGEST_SIZE);
    grv_buffer_init(&made->bytes, GRV_MANIFEST_ROOT_BYTES_MAX);
    assert_grv_ok(grv_manifest_builder_encode_root(&builder, &info, &made->bytes, &error));
    assert_int_equal(grv_manifest_builder_page_count(&builder),
                     made->list.count[0] + made->list.count[1]);
    grv_manifest_builder_done(&builder);
    assert_grv_ok(grv_manifest_root_decode(grv_buffer_bytes(&made->bytes), &made->root, &error));
    const grv_blob_info *back = &made->root.info;
    assert_int_equal(grv_blob_key_compare(&back->key, &info.key), 0);
    assert_int_equal(back->block_count, count);
    assert_int_equal(back->block_hash, GRV_HASH_SHA256);
    assert_int_equal(back->created_ns, info.created_ns);
    assert_int_equal(back->sequence, 42);
    assert_memory_equal(&back->chunker, &info.chunker, sizeof info.chunker);
    assert_memory_equal(made->root.id, manifest_id, sizeof manifest_id);
}

static void sample_done(sample *made)
{
    list_done(&made->list);
    grv_buffer_done(&made->bytes);
}

static grv_manifest_table page_open(const sample *made, const grv_manifest_child *child)
{
    grv_error error = GRV_ERROR_INIT;
    grv_manifest_table table;
    assert_true(child->number < made->list.count[child->level]);
    assert_grv_ok(grv_manifest_page_decode(made->list.pages[child->level][child->number].bytes,
                                           &made->root, child, &table, &error));
    return table;
}

/* The block that holds byte `offset`, through the root and at most two pages. */
static void check_seek(const sample *made, uint64_t offset, uint64_t want)
{
    grv_manifest_table table = made->root.table;
    while (table.level > 0) {
        grv_manifest_child child =
            grv_manifest_table_child(&table, grv_manifest_table_find(&table, offset));
        table = page_open(made, &child);
    }
    uint32_t index = grv_manifest_table_find(&table, offset);
    assert_int_equal(table.base + index, want);
    grv_block_ref ref = grv_manifest_table_ref(&table, index);
    grv_block_key key = block(want);
    assert_int_equal(grv_block_key_compare(&ref.key, &key), 0);
    assert_int_equal(ref.offset, offset_of(want));
}

/* Walks all of a table in order; returns the number of the block after it. */
static uint64_t check_walk(const sample *made, const grv_manifest_table *table, uint64_t n)
{
    for (uint32_t i = 0; i < table->count; i++) {
        if (table->level > 0) {
            grv_manifest_child child = grv_manifest_table_child(table, i);
            grv_manifest_table page = page_open(made, &child);
            n = check_walk(made, &page, n);
            continue;
        }
        grv_block_ref ref = grv_manifest_table_ref(table, i);
        grv_block_key key = block(n);
        assert_int_equal(grv_block_key_compare(&ref.key, &key), 0);
        assert_int_equal(ref.offset, offset_of(n));
        n++;
    }
    return n;
}

static void check_shape(uint64_t count, const grv_manifest_limits *limits, unsigned depth)
{
    sample made;
    sample_make(&made, count, limits);
    assert_int_equal(made.root.table.level, depth);
    assert_int_equal(check_walk(&made, &made.root.table, 0), count);
    uint64_t step = count / 50 + 1;
    for (uint64_t n = 0; n < count; n += step) {
        check_seek(&made, offset_of(n), n);
        check_seek(&made, offset_of(n + 1) - 1, n);
    }
    if (count > 0) {
        check_seek(&made, offset_of(count) - 1, count - 1);
    }
    sample_done(&made);
}

static void every_shape_round_trips(void **state)
{
    (void)state;
    const grv_manifest_limits *usual = &grv_manifest_limits_default;
    check_shape(0, usual, 0);
    check_shape(1, usual, 0);
    check_shape(256, usual, 0);
    check_shape(257, usual, 1);
    check_shape(1024, usual, 1);
    check_shape(1025, usual, 1);
    check_shape(50000, usual, 1);
    static const grv_manifest_limits tiny = {.page = 4, .inlined = 2, .children = 6};
    for (uint64_t count = 0; count <= 6 * 4 * 4; count++) {
        check_shape(count, &tiny, count <= 2 ? 0 : count <= 24 ? 1 : 2);
    }
    static const grv_manifest_limits least = {.page = 1, .inlined = 1, .children = 3};
    for (uint64_t count = 0; count <= 3; count++) {
        check_shape(count, &least, count <= 1 ? 0 : 1);
    }
    static const grv_manifest_limits wide = {.page = 8, .inlined = 8, .children = 3};
    check_shape(100, &wide, 2);
}

static void millions_of_blocks_need_the_root_and_one_page(void **state)
{
    (void)state;
    const uint64_t count = 2000000;
    sample made;
    sample_make(&made, count, &grv_manifest_limits_default);
    assert_int_equal(made.root.table.level, 1);
    assert_int_equal(made.list.count[0], (count + 1023) / 1024);
    assert_int_equal(made.list.count[1], 0);
    uint64_t seed = 5;
    for (int i = 0; i < 500; i++) {
        uint64_t n = test_random(&seed) % count;
        check_seek(&made, offset_of(n) + test_random(&seed) % (n % 7 + 1), n);
    }
    sample_done(&made);
}

static void more_than_a_root_holds_is_refused(void **state)
{
    (void)state;
    grv_error error = GRV_ERROR_INIT;
    static const grv_manifest_limits tiny = {.page = 2, .inlined = 1, .children = 2};
    page_list list = {0};
    grv_manifest_builder builder;
    grv_manifest_builder_init(&builder, &tiny, manifest_id, GRV_HASH_SHA256, list_emit, &list);
    grv_status status = GRV_OK;
    for (uint64_t n = 0; n < 100 && !status; n++) {
        grv_block_key key = block(n);
        status = grv_manifest_builder_append(&builder, &key, 1, &error);
    }
    assert_grv_status(status, GRV_LIMIT_EXCEEDED);
    grv_manifest_builder_done(&builder);
    list_done(&list);
}

static grv_status decode_root(const uint8_t *data, size_t size)
{
    grv_error error = GRV_ERROR_INIT;
    /* A copy of its own size, so that a sanitizer sees a read past the end. */
    grv_value copy = {0};
    assert_grv_ok(grv_value_copy(&copy, grv_bytes_of(data, size), &error));
    grv_manifest_root root = {.info = {.sequence = 77}};
    grv_status status = grv_manifest_root_decode(copy.bytes, &root, &error);
    assert_true(!status || root.info.sequence == 77);
    grv_value_done(&copy);
    return status;
}

static void every_flipped_or_missing_byte_of_a_root_is_found(void **state)
{
    (void)state;
    for (uint64_t count = 0; count < 600; count += 299) {
        sample made;
        sample_make(&made, count, &grv_manifest_limits_default);
        for (size_t i = 0; i < made.bytes.size; i++) {
            uint8_t flip = (uint8_t)(1u << i % 8);
            made.bytes.data[i] ^= flip;
            assert_grv_status(decode_root(made.bytes.data, made.bytes.size), GRV_CORRUPT);
            made.bytes.data[i] ^= flip;
            assert_grv_status(decode_root(made.bytes.data, i), GRV_CORRUPT);
        }
        sample_done(&made);
    }
}

/* Overwrites `size` bytes at `at` of a root with `count` blocks, makes its checksum right again,
 * and decodes it. */
static grv_status decode_resealed(uint64_t count, const grv_manifest_limits *limits, size_t at,
                                  uint64_t value, size_t size)
{
    sample made;
    sample_make(&made, count, limits);
    for (size_t i = 0; i < size; i++) {
        made.bytes.data[at + i] = (uint8_t)(value >> (8 * i));
    }
    size_t body = made.bytes.size - 8;
    grv_wire_put_u64(made.bytes.data + body, XXH3_64bits(made.bytes.data, body));
    grv_status status = decode_root(made.bytes.data, made.bytes.size);
    sample_done(&made);
    return status;
}

static void a_right_checksum_does_not_excuse_a_wrong_root(void **state)
{
    (void)state;
    const grv_manifest_limits *usual = &grv_manifest_limits_default;
    static const struct {
        size_t at;
        uint64_t value;
        size_t size;
        grv_status want;
    } edits[] = {
        {4, 1, 2, GRV_OK},
        {4, 2, 2, GRV_UNSUPPORTED},
        {4, 0, 2, GRV_CORRUPT},
        {6, 1, 1, GRV_CORRUPT},
        {6, 3, 1, GRV_CORRUPT},
        {7, 0, 1, GRV_CORRUPT},
        {7, 9, 1, GRV_CORRUPT},
        {8, 1, 4, GRV_UNSUPPORTED},
        {12, 1, 4, GRV_OK},
        {32, 9, 1, GRV_CORRUPT},
        {65, UINT64_MAX, 8, GRV_CORRUPT},
        {72, 200, 1, GRV_CORRUPT},
        {73, 1, 1, GRV_CORRUPT},
        {75, 1, 1, GRV_CORRUPT},
        {76, 3, 4, GRV_CORRUPT},
        {76, 5, 4, GRV_CORRUPT},
        {76, UINT32_MAX, 4, GRV_CORRUPT},
        {80, 5, 8, GRV_CORRUPT},
        {80, 0, 8, GRV_CORRUPT},
        {80, UINT64_MAX, 8, GRV_CORRUPT},
        {104, 0, 1, GRV_UNSUPPORTED},
        {104, 4, 1, GRV_UNSUPPORTED},
        {105, 2, 1, GRV_UNSUPPORTED},
        {106, 0, 1, GRV_CORRUPT},
        {106, 65, 1, GRV_CORRUPT},
        {106, 255, 1, GRV_CORRUPT},
        {107, 1, 1, GRV_CORRUPT},
        {108, 0, 4, GRV_CORRUPT},
        {108, UINT32_MAX, 4, GRV_CORRUPT},
        /* The first block's end: 0, past the second's, and far away. */
        {115, 0, 8, GRV_CORRUPT},
        {115, 3, 8, GRV_CORRUPT},
        {115, UINT64_MAX, 8, GRV_CORRUPT},
        {115, 2, 8, GRV_OK},
    };
    for (size_t i = 0; i < sizeof edits / sizeof edits[0]; i++) {
        grv_status got = decode_resealed(4, usual, edits[i].at, edits[i].value, edits[i].size);
        if (got != edits[i].want) {
            fail_msg("edit %zu at byte %zu: %s", i, edits[i].at, grv_status_name(got));
        }
    }
    /* A root of pages: their offsets. */
    static const grv_manifest_limits tiny = {.page = 2, .inlined = 1, .children = 9};
    assert_grv_status(decode_resealed(6, &tiny, 115, 0, 8), GRV_OK);
    assert_grv_status(decode_resealed(6, &tiny, 115, 1, 8), GRV_CORRUPT);
    assert_grv_status(decode_resealed(6, &tiny, 155, 0, 8), GRV_CORRUPT);
    assert_grv_status(decode_resealed(6, &tiny, 195, 21, 8), GRV_CORRUPT);
    assert_grv_status(decode_resealed(6, &tiny, 195, UINT64_MAX, 8), GRV_CORRUPT);
    assert_grv_status(decode_resealed(6, &tiny, 80, 2, 8), GRV_CORRUPT);
}

static grv_status decode_page(const sample *made, const grv_manifest_child *child,
                              const uint8_t *data, size_t size)
{
    grv_error error = GRV_ERROR_INIT;
    grv_value copy = {0};
    assert_grv_ok(grv_value_copy(&copy, grv_bytes_of(data, size), &error));
    grv_manifest_table table;
    grv_status status = grv_manifest_page_decode(copy.bytes, &made->root, child, &table, &error);
    grv_value_done(&copy);
    return status;
}

static void every_flipped_or_missing_byte_of_a_page_is_found(void **state)
{
    (void)state;
    sample made;
    sample_make(&made, 300, &grv_manifest_limits_default);
    grv_manifest_child child = grv_manifest_table_child(&made.root.table, 0);
    grv_value *page = &made.list.pages[0][0];
    uint8_t *data = page->owner;
    size_t size = page->bytes.size;
    for (size_t i = 0; i < size; i += i < 128 ? 1 : 37) {
        data[i] ^= 4;
        assert_grv_status(decode_page(&made, &child, data, size), GRV_CORRUPT);
        data[i] ^= 4;
        assert_grv_status(decode_page(&made, &child, data, i), GRV_CORRUPT);
    }
    assert_grv_status(decode_page(&made, &child, data, size), GRV_OK);
    sample_done(&made);
}

/* As decode_resealed, for page `number` of `level` of a two-level manifest. */
static grv_status decode_page_resealed(unsigned level, uint64_t number, size_t at, uint64_t value,
                                       size_t size)
{
    static const grv_manifest_limits tiny = {.page = 3, .inlined = 1, .children = 3};
    grv_error error = GRV_ERROR_INIT;
    sample made;
    sample_make(&made, 20, &tiny); /* 7 leaf pages in 3 index pages */
    assert_int_equal(made.root.table.level, 2);
    assert_int_equal(made.list.count[1], 3);
    grv_manifest_child child =
        grv_manifest_table_child(&made.root.table, (uint32_t)(level ? number : number / 3));
    if (level == 0) {
        grv_manifest_table index = page_open(&made, &child);
        child = grv_manifest_table_child(&index, (uint32_t)(number % 3));
    }
    uint8_t *data = made.list.pages[level][number].owner;
    size_t data_size = made.list.pages[level][number].bytes.size;
    for (size_t i = 0; i < size; i++) {
        data[at + i] = (uint8_t)(value >> (8 * i));
    }
    grv_digest digest;
    assert_grv_ok(grv_digest_of(GRV_HASH_BLAKE3, grv_bytes_of(data, data_size), &digest, &error));
    memcpy(child.digest, digest.bytes, GRV_DIGEST_SIZE);
    grv_status status = decode_page(&made, &child, data, data_size);
    sample_done(&made);
    return status;
}

static void a_right_digest_does_not_excuse_a_wrong_page(void **state)
{
    (void)state;
    static const struct {
        unsigned level;
        uint64_t number;
        size_t at;
        uint64_t value;
        size_t size;
        grv_status want;
    } edits[] = {
        {0, 0, 0, 'G', 1, GRV_OK},
        {0, 0, 0, 'X', 1, GRV_CORRUPT},
        {0, 0, 4, 0, 2, GRV_CORRUPT},
        {0, 0, 4, 2, 2, GRV_UNSUPPORTED},
        {0, 0, 6, 1, 1, GRV_CORRUPT},
        {0, 0, 7, 1, 1, GRV_CORRUPT},
        {0, 0, 8, 2, 4, GRV_CORRUPT},
        {0, 0, 8, 0, 4, GRV_CORRUPT},
        {0, 0, 8, UINT32_MAX, 4, GRV_CORRUPT},
        {0, 0, 12, 1, 4, GRV_CORRUPT},
        {0, 0, 16, 9, 1, GRV_CORRUPT},
        {0, 0, 32, 1, 8, GRV_CORRUPT},
        {0, 0, 40, 1, 8, GRV_CORRUPT},
        {0, 0, 48, 7, 8, GRV_CORRUPT},
        {0, 0, 56, 1, 8, GRV_CORRUPT},
        {0, 1, 56, 0, 8, GRV_CORRUPT},          /* fewer blocks than pages before it */
        {0, 1, 56, UINT64_MAX, 8, GRV_CORRUPT}, /* more than there are */
        {0, 6, 56, 17, 8, GRV_CORRUPT},         /* the last page ends at the last block */
        {0, 6, 56, 18, 8, GRV_OK},
        {0, 0, 64, 0, 8, GRV_CORRUPT},
        {0, 0, 64, 3, 8, GRV_CORRUPT},
        {0, 0, 144, 7, 8, GRV_CORRUPT}, /* the last block's end is the page's */
        {0, 0, 144, UINT64_MAX, 8, GRV_CORRUPT},
        {1, 0, 64, 0, 8, GRV_OK},
        {1, 0, 64, 1, 8, GRV_CORRUPT},
        {1, 0, 104, 0, 8, GRV_CORRUPT},
        {1, 0, 144, UINT64_MAX, 8, GRV_CORRUPT},
        {1, 1, 56, 3, 8, GRV_OK},
        {1, 1, 56, 0, 8, GRV_CORRUPT},
    };
    for (size_t i = 0; i < sizeof edits / sizeof edits[0]; i++) {
        grv_status got = decode_page_resealed(edits[i].level, edits[i].number, edits[i].at,
                                              edits[i].value, edits[i].size);
        if (got != edits[i].want) {
            fail_msg("edit %zu at byte %zu: %s", i, edits[i].at, grv_status_name(got));
        }
    }
}

static void the_stored_forms_are_pinned(void **state)
{
    (void)state;
    sample made;
    sample_make(&made, 3, &grv_manifest_limits_default);
    test_golden_check("manifest-root-v1.hex", grv_buffer_bytes(&made.bytes));
    sample_done(&made);
    static const grv_manifest_limits tiny = {.page = 2, .inlined = 1, .children = 2};
    sample_make(&made, 7, &tiny); /* pages of 2, 2, 2, 1 blocks in 2 index pages */
    test_golden_check("manifest-root-depth2-v1.hex", grv_buffer_bytes(&made.bytes));
    test_golden_check("manifest-page-v1.hex", made.list.pages[0][1].bytes);
    test_golden_check("manifest-index-v1.hex", made.list.pages[1][1].bytes);
    sample_done(&made);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_shape_round_trips),
        cmocka_unit_test(millions_of_blocks_need_the_root_and_one_page),
        cmocka_unit_test(more_than_a_root_holds_is_refused),
        cmocka_unit_test(every_flipped_or_missing_byte_of_a_root_is_found),
        cmocka_unit_test(a_right_checksum_does_not_excuse_a_wrong_root),
        cmocka_unit_test(every_flipped_or_missing_byte_of_a_page_is_found),
        cmocka_unit_test(a_right_digest_does_not_excuse_a_wrong_page),
        cmocka_unit_test(the_stored_forms_are_pinned),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
