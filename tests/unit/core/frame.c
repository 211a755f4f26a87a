/* SPDX-License-Identifier: Apache-2.0 */
/* The frame codec: pinned bytes, damage of every kind, hostile frames, and what is compressed. */
#include "core/frame.h"
#include "golden.h"
#include "temp.h"
#include "test.h"

#include <xxhash.h>

#define GOLDEN_PLAIN "frame-plain-v1.hex" /* "abc", a block cut by cdc that follows another */
#define GOLDEN_ZSTD  "frame-zstd-v1.hex"  /* "graviton " for 300 bytes, a manifest page, sha256 */

typedef struct golden_bytes {
    uint8_t data[TEST_GOLDEN_MAX];
    size_t size;
} golden_bytes;

static golden_bytes golden_read(const char *name)
{
    golden_bytes out;
    out.size = test_golden_read(name, out.data);
    assert_in_range(out.size, GRV_FRAME_OVERHEAD, TEST_GOLDEN_MAX);
    return out;
}

static void fill_graviton(uint8_t *data, size_t size)
{
    for (size_t i = 0; i < size; i++) {
        data[i] = (uint8_t)("graviton "[i % 9]);
    }
}

static grv_frame_info info_of(grv_frame_kind kind, grv_hash hash, grv_bytes raw)
{
    grv_error error = GRV_ERROR_INIT;
    grv_frame_info info = {.kind = kind};
    assert_grv_ok(grv_digest_of(hash, raw, &info.digest, &error));
    return info;
}

static void the_golden_plain_frame_never_changes(void **state)
{
    (void)state;
    grv_error error = GRV_ERROR_INIT;
    grv_frame_coder coder = {0};
    golden_bytes golden = golden_read(GOLDEN_PLAIN);
    grv_frame_info info = info_of(GRV_FRAME_BLOCK, GRV_HASH_BLAKE3, grv_bytes_of("abc", 3));
    info.chunker = GRV_CHUNKER_CDC;
    info.follows = true;
    uint8_t out[3 + GRV_FRAME_OVERHEAD];
    size_t size = 0;
    assert_grv_ok(grv_frame_encode(&coder, &info, grv_bytes_of("abc", 3),
                                   (grv_span){out, sizeof out}, &size, &error));
    test_golden_check(GOLDEN_PLAIN, grv_bytes_of(out, size));

    grv_frame frame;
    assert_grv_ok(grv_frame_decode(grv_bytes_of(golden.data, golden.size), &frame, &error));
    assert_int_equal(frame.info.kind, GRV_FRAME_BLOCK);
    assert_int_equal(frame.info.chunker, GRV_CHUNKER_CDC);
    assert_true(frame.info.follows);
    assert_int_equal(grv_digest_compare(&frame.info.digest, &info.digest), 0);
    assert_int_equal(frame.encoding, GRV_FRAME_PLAIN);
    assert_int_equal(frame.raw_size, 3);
    assert_int_equal(frame.size, golden.size);
    uint8_t raw[3];
    assert_grv_ok(grv_frame_unpack(&coder, &frame, (grv_span){raw, 3}, &error));
    assert_memory_equal(raw, "abc", 3);
    grv_frame_coder_done(&coder);
}

static void the_golden_zstd_frame_reads_for_ever(void **state)
{
    (void)state;
    grv_error error = GRV_ERROR_INIT;
    grv_frame_coder coder = {0};
    golden_bytes golden = golden_read(GOLDEN_ZSTD);
    uint8_t want[300];
    uint8_t raw[300];
    fill_graviton(want, sizeof want);
    grv_frame frame;
    assert_grv_ok(grv_frame_decode(grv_bytes_of(golden.data, golden.size), &frame, &error));
    assert_int_equal(frame.info.kind, GRV_FRAME_MANIFEST_PAGE);
    assert_int_equal(frame.info.chunker, 0);
    assert_false(frame.info.follows);
    assert_int_equal(frame.encoding, GRV_FRAME_ZSTD);
    assert_int_equal(frame.raw_size, 300);
    assert_grv_ok(grv_frame_unpack(&coder, &frame, (grv_span){raw, 300}, &error));
    assert_memory_equal(raw, want, 300);
    grv_frame_info info = info_of(GRV_FRAME_MANIFEST_PAGE, GRV_HASH_SHA256, grv_bytes_of(raw, 300));
    assert_int_equal(grv_digest_compare(&frame.info.digest, &info.digest), 0);
    grv_frame_coder_done(&coder);
}

/* Decodes a copy of exactly `size` bytes, so that a read past them is caught. */
static grv_status decode_copy(const uint8_t *data, size_t size)
{
    grv_error error = GRV_ERROR_INIT;
    uint8_t *copy = malloc(size ? size : 1);
    assert_non_null(copy);
    memcpy(copy, data, size);
    grv_frame frame = {.size = 77};
    grv_status status = grv_frame_decode(grv_bytes_of(copy, size), &frame, &error);
    if (status) {
        assert_int_equal(frame.size, 77);
        assert_true(error.message[0] != '\0');
    }
    free(copy);
    return status;
}

static void every_flipped_bit_and_every_cut_is_found(void **state)
{
    (void)state;
    const char *const goldens[] = {GOLDEN_PLAIN, GOLDEN_ZSTD};
    for (size_t g = 0; g < 2; g++) {
        golden_bytes golden = golden_read(goldens[g]);
        for (size_t bit = 0; bit < 8 * golden.size; bit++) {
            golden.data[bit / 8] ^= (uint8_t)(1u << bit % 8);
            assert_grv_status(decode_copy(golden.data, golden.size), GRV_CORRUPT);
            golden.data[bit / 8] ^= (uint8_t)(1u << bit % 8);
        }
        for (size_t size = 0; size < golden.size; size++) {
            assert_grv_status(decode_copy(golden.data, size), GRV_CORRUPT);
        }
        assert_grv_status(decode_copy(golden.data, golden.size), GRV_OK);
    }
}

static void a_frame_ends_where_it_says(void **state)
{
    (void)state;
    grv_error error = GRV_ERROR_INIT;
    golden_bytes first = golden_read(GOLDEN_PLAIN);
    golden_bytes second = golden_read(GOLDEN_ZSTD);
    uint8_t both[512];
    memcpy(both, first.data, first.size);
    memcpy(both + first.size, second.data, second.size);
    size_t total = first.size + second.size;
    grv_frame frame;
    assert_grv_ok(grv_frame_decode(grv_bytes_of(both, total), &frame, &error));
    assert_int_equal(frame.size, first.size);
    assert_grv_ok(
        grv_frame_decode(grv_bytes_of(both + frame.size, total - frame.size), &frame, &error));
    assert_int_equal(frame.size, second.size);
}

/* Sets header byte `at` and makes the checksum agree, as a hostile or newer writer would. */
static grv_status decode_forged(const char *name, size_t at, uint8_t value, grv_frame *ret_frame,
                                golden_bytes *forged)
{
    grv_error error = GRV_ERROR_INIT;
    *forged = golden_read(name);
    forged->data[at] = value;
    uint64_t sum = XXH3_64bits(forged->data, forged->size - 8);
    for (size_t i = 0; i < 8; i++) {
        forged->data[forged->size - 8 + i] = (uint8_t)(sum >> (8 * i));
    }
    return grv_frame_decode(grv_bytes_of(forged->data, forged->size), ret_frame, &error);
}

static void sound_frames_of_newer_versions_are_unsupported(void **state)
{
    (void)state;
    grv_frame frame;
    golden_bytes forged;
    static const struct {
        size_t at;
        uint8_t value;
    } newer[] = {{5, 0}, {5, 5}, {6, 2}, {6, 4}, {7, 2}, {8, 3}, {9, 1}, {10, 4}, {11, 1}};
    for (size_t i = 0; i < sizeof newer / sizeof newer[0]; i++) {
        assert_grv_status(decode_forged(GOLDEN_PLAIN, newer[i].at, newer[i].value, &frame, &forged),
                          GRV_UNSUPPORTED);
    }
    for (size_t at = 20; at < 56; at++) {
        assert_grv_status(decode_forged(GOLDEN_PLAIN, at, 1, &frame, &forged), GRV_UNSUPPORTED);
    }
}

static void forged_lengths_are_corrupt(void **state)
{
    (void)state;
    grv_frame frame;
    golden_bytes forged;
    assert_grv_status(decode_forged(GOLDEN_PLAIN, 12, 4, &frame, &forged), GRV_CORRUPT);
    assert_grv_status(decode_forged(GOLDEN_PLAIN, 12, 0, &frame, &forged), GRV_CORRUPT);
    assert_grv_status(decode_forged(GOLDEN_PLAIN, 15, 2, &frame, &forged), GRV_CORRUPT);
    assert_grv_status(decode_forged(GOLDEN_PLAIN, 19, 0xff, &frame, &forged), GRV_CORRUPT);
    assert_grv_status(decode_forged(GOLDEN_PLAIN, 6, 1, &frame, &forged), GRV_CORRUPT);
    assert_grv_status(decode_forged(GOLDEN_ZSTD, 6, 0, &frame, &forged), GRV_CORRUPT);
}

static void a_payload_must_decode_to_the_raw_length(void **state)
{
    (void)state;
    grv_error error = GRV_ERROR_INIT;
    grv_frame_coder coder = {0};
    golden_bytes forged;
    grv_frame frame;
    uint8_t raw[512];
    /* The raw length is 0x12c: one less, one more, far less, and a payload that isn't zstd at all.
     * The last changes what zstd decodes, which the digest finds: here it may only not overrun. */
    static const struct {
        size_t at;
        uint8_t value;
    } wrong[] = {{12, 0x2b}, {12, 0x2d}, {13, 0}, {88, 0}, {100, 0xff}};
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        assert_grv_status(decode_forged(GOLDEN_ZSTD, wrong[i].at, wrong[i].value, &frame, &forged),
                          GRV_OK);
        grv_span span = {raw, frame.raw_size};
        grv_status status = grv_frame_unpack(&coder, &frame, span, &error);
        if (wrong[i].at < 100) {
            assert_grv_status(status, GRV_CORRUPT);
        }
    }
    grv_frame_coder_done(&coder);
}

static void all_sizes_come_back(void **state)
{
    (void)state;
    static const size_t sizes[] = {0, 1, 127, 128, 129, 4096, 8191, 8192, 65536, 1u << 20};
    grv_error error = GRV_ERROR_INIT;
    grv_frame_coder coder = {0};
    for (size_t i = 0; i < 3 * sizeof sizes / sizeof sizes[0]; i++) {
        size_t size = sizes[i / 3];
        uint8_t *raw = calloc(1, size + 1);
        uint8_t *out = malloc(size + GRV_FRAME_OVERHEAD);
        uint8_t *back = malloc(size + 1);
        assert_true(raw && out && back);
        uint64_t random = i + 1;
        if (i % 3 == 0) {
            test_random_fill(&random, raw, size);
        } else if (i % 3 == 1) {
            fill_graviton(raw, size);
        }
        grv_frame_kind kind = size ? GRV_FRAME_BLOCK : GRV_FRAME_TOMBSTONE;
        grv_frame_info info = info_of(kind, GRV_HASH_BLAKE3, grv_bytes_of(raw, size));
        size_t stored = 0;
        grv_frame frame;
        assert_grv_ok(grv_frame_encode(&coder, &info, grv_bytes_of(raw, size),
                                       (grv_span){out, size + GRV_FRAME_OVERHEAD}, &stored,
                                       &error));
        assert_grv_ok(grv_frame_decode(grv_bytes_of(out, stored), &frame, &error));
        assert_int_equal(frame.size, stored);
        assert_int_equal(frame.raw_size, size);
        assert_int_equal(frame.encoding == GRV_FRAME_ZSTD, i % 3 != 0 && size >= 128);
        assert_grv_ok(grv_frame_unpack(&coder, &frame, (grv_span){back, size}, &error));
        assert_memory_equal(back, raw, size);
        free(raw);
        free(out);
        free(back);
    }
    grv_frame_coder_done(&coder);
}

static void what_a_frame_cannot_say_is_refused(void **state)
{
    (void)state;
    grv_error error = GRV_ERROR_INIT;
    grv_frame_coder coder = {0};
    uint8_t out[200];
    size_t size = 77;
    grv_frame_info good = info_of(GRV_FRAME_BLOCK, GRV_HASH_BLAKE3, grv_bytes_of("abc", 3));
    grv_frame_info bad[3] = {good, good, good};
    bad[0].kind = (grv_frame_kind)9;
    bad[1].digest.hash = GRV_HASH_NONE;
    bad[2].chunker = (grv_chunker_kind)9;
    for (size_t i = 0; i < 3; i++) {
        assert_grv_status(grv_frame_encode(&coder, &bad[i], grv_bytes_of("abc", 3),
                                           (grv_span){out, sizeof out}, &size, &error),
                          GRV_INVALID_ARGUMENT);
    }
    assert_grv_status(grv_frame_encode(&coder, &good, grv_bytes_of("", 0),
                                       (grv_span){out, sizeof out}, &size, &error),
                      GRV_INVALID_ARGUMENT);
    assert_grv_status(grv_frame_encode(&coder, &good, grv_bytes_of("abc", GRV_FRAME_RAW_MAX + 1),
                                       (grv_span){out, sizeof out}, &size, &error),
                      GRV_INVALID_ARGUMENT);
    assert_int_equal(size, 77);
    grv_frame_coder_done(&coder);
}

static void the_probe_tells_random_from_the_rest(void **state)
{
    (void)state;
    enum { SIZE = 65536 };
    uint8_t *data = malloc(SIZE);
    assert_non_null(data);
    for (uint64_t seed = 1; seed <= 50; seed++) {
        uint64_t random = seed;
        test_random_fill(&random, data, SIZE);
        assert_false(grv_frame_compressible(grv_bytes_of(data, SIZE)));
        for (size_t i = 0; i < SIZE; i++) {
            data[i] &= 0x7f;
        }
        assert_true(grv_frame_compressible(grv_bytes_of(data, SIZE)));
    }
    fill_graviton(data, SIZE);
    assert_true(grv_frame_compressible(grv_bytes_of(data, SIZE)));
    assert_false(grv_frame_compressible(grv_bytes_of(data, GRV_FRAME_COMPRESS_MIN - 1)));
    free(data);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_golden_plain_frame_never_changes),
        cmocka_unit_test(the_golden_zstd_frame_reads_for_ever),
        cmocka_unit_test(every_flipped_bit_and_every_cut_is_found),
        cmocka_unit_test(a_frame_ends_where_it_says),
        cmocka_unit_test(sound_frames_of_newer_versions_are_unsupported),
        cmocka_unit_test(forged_lengths_are_corrupt),
        cmocka_unit_test(a_payload_must_decode_to_the_raw_length),
        cmocka_unit_test(all_sizes_come_back),
        cmocka_unit_test(what_a_frame_cannot_say_is_refused),
        cmocka_unit_test(the_probe_tells_random_from_the_rest),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
