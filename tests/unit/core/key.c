/* SPDX-License-Identifier: Apache-2.0 */
/* Keys and digests: text forms, byte forms, order, and known answers. */
#include "test.h"

#include <graviton/key.h>

/* blake3 of nothing and of "abc", sha256 of "abc": published test vectors. */
#define BLAKE3_EMPTY "af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262"
#define BLAKE3_ABC   "6437b3ac38465133ffb63b75273a8db548c558465d79db03fd359c6cd5bd9d85"
#define SHA256_ABC   "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"

static void check_digest(grv_hash hash, const char *text, const char *want)
{
    grv_error error = GRV_ERROR_INIT;
    grv_digest digest;
    char hex[2 * GRV_DIGEST_SIZE + 1];
    assert_grv_ok(grv_digest_of(hash, grv_bytes_of(text, strlen(text)), &digest, &error));
    grv_digest_hex(&digest, hex);
    assert_string_equal(hex, want);

    grv_hasher hasher;
    assert_grv_ok(grv_hasher_init(&hasher, hash, &error));
    for (size_t i = 0; i < strlen(text); i++) {
        assert_grv_ok(grv_hasher_update(&hasher, grv_bytes_of(text + i, 1), &error));
    }
    grv_digest again;
    assert_grv_ok(grv_hasher_final(&hasher, &again, &error));
    grv_hasher_done(&hasher);
    assert_int_equal(grv_digest_compare(&digest, &again), 0);
}

static void digests_match_published_vectors(void **state)
{
    (void)state;
    check_digest(GRV_HASH_BLAKE3, "", BLAKE3_EMPTY);
    check_digest(GRV_HASH_BLAKE3, "abc", BLAKE3_ABC);
    check_digest(GRV_HASH_SHA256, "abc", SHA256_ABC);
}

static grv_status parse_blob(const char *text, grv_blob_key *ret_key)
{
    grv_error error = GRV_ERROR_INIT;
    return grv_blob_key_parse(grv_bytes_of(text, strlen(text)), ret_key, &error);
}

static void keys_print_what_they_parse(void **state)
{
    (void)state;
    grv_blob_key key;
    char text[GRV_KEY_TEXT_SIZE];
    assert_grv_status(parse_blob("blake3:" BLAKE3_ABC ":3", &key), GRV_OK);
    grv_blob_key_print(&key, text);
    assert_string_equal(text, "blake3:" BLAKE3_ABC ":3");
    assert_grv_status(parse_blob("SHA-256:" SHA256_ABC ":9223372036854775807", &key), GRV_OK);
    grv_blob_key_print(&key, text);
    assert_string_equal(text, "sha256:" SHA256_ABC ":9223372036854775807");
    assert_int_equal(key.size, INT64_MAX);
}

static void malformed_keys_are_refused(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "",
        "blake3",
        "blake3:",
        "blake3:" BLAKE3_ABC,
        "blake3:" BLAKE3_ABC ":",
        "blake3:" BLAKE3_ABC ":-1",
        "blake3:" BLAKE3_ABC ":+1",
        "blake3:" BLAKE3_ABC ":01",
        "blake3:" BLAKE3_ABC ":1 ",
        "blake3:" BLAKE3_ABC ":9223372036854775808",
        "blake3:" BLAKE3_ABC ":99999999999999999999",
        "blake3:" BLAKE3_ABC "0:1",
        "blake3:zz37b3ac38465133ffb63b75273a8db548c558465d79db03fd359c6cd5bd9d85:3",
        "md5:" BLAKE3_ABC ":3",
        ":" BLAKE3_ABC ":3",
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        grv_blob_key key = {.size = 77};
        assert_grv_status(parse_blob(bad[i], &key), GRV_INVALID_ARGUMENT);
        assert_int_equal(key.size, 77);
    }
}

static void block_keys_bound_their_size(void **state)
{
    (void)state;
    grv_error error = GRV_ERROR_INIT;
    grv_block_key key;
    const char *empty = "blake3:" BLAKE3_EMPTY ":0";
    const char *largest = "blake3:" BLAKE3_EMPTY ":16777216";
    const char *larger = "blake3:" BLAKE3_EMPTY ":16777217";
    assert_grv_status(grv_block_key_parse(grv_bytes_of(empty, strlen(empty)), &key, &error),
                      GRV_INVALID_ARGUMENT);
    assert_grv_status(grv_block_key_parse(grv_bytes_of(largest, strlen(largest)), &key, &error),
                      GRV_OK);
    assert_grv_status(grv_block_key_parse(grv_bytes_of(larger, strlen(larger)), &key, &error),
                      GRV_INVALID_ARGUMENT);
}

static void byte_forms_sort_as_keys_do(void **state)
{
    (void)state;
    grv_error error = GRV_ERROR_INIT;
    grv_blob_key a;
    grv_blob_key b;
    uint8_t a_bytes[GRV_KEY_BYTES_SIZE];
    uint8_t b_bytes[GRV_KEY_BYTES_SIZE];
    parse_blob("blake3:" BLAKE3_ABC ":255", &a);
    parse_blob("blake3:" BLAKE3_ABC ":256", &b);
    grv_blob_key_encode(&a, a_bytes);
    grv_blob_key_encode(&b, b_bytes);
    assert_true(memcmp(a_bytes, b_bytes, sizeof a_bytes) < 0);
    assert_true(grv_blob_key_compare(&a, &b) < 0);
    grv_blob_key back;
    assert_grv_ok(grv_blob_key_decode(grv_bytes_of(b_bytes, sizeof b_bytes), &back, &error));
    assert_int_equal(grv_blob_key_compare(&back, &b), 0);
    b_bytes[0] = 9;
    assert_grv_status(grv_blob_key_decode(grv_bytes_of(b_bytes, sizeof b_bytes), &back, &error),
                      GRV_CORRUPT);
    assert_grv_status(grv_blob_key_decode(grv_bytes_of(a_bytes, 40), &back, &error), GRV_CORRUPT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(digests_match_published_vectors),
        cmocka_unit_test(keys_print_what_they_parse),
        cmocka_unit_test(malformed_keys_are_refused),
        cmocka_unit_test(block_keys_bound_their_size),
        cmocka_unit_test(byte_forms_sort_as_keys_do),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
