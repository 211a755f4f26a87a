/* SPDX-License-Identifier: Apache-2.0 */
/* The store's descriptor: its text is pinned, and what is not one is refused with its own status.
 */
#include "store/descriptor.h"
#include "test.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>

/* What version 1 writes, to the byte. */
static const char golden[] = "{\n"
                             "  \"graviton\": \"bytes\",\n"
                             "  \"format_version\": 1,\n"
                             "  \"store_id\": \"000102030405060708090a0b0c0d0e0f\",\n"
                             "  \"hash\": \"blake3\",\n"
                             "  \"chunker\": \"cdc:64K\",\n"
                             "  \"blocks\": \"fs\",\n"
                             "  \"meta\": \"rocks\",\n"
                             "  \"created_ns\": 1700000000000000001,\n"
                             "  \"required_features\": [],\n"
                             "  \"state\": \"ready\"\n"
                             "}\n";

static grv_descriptor example(void)
{
    grv_descriptor descriptor = {
        .half = GRV_HALF_BYTES,
        .info = {.format_version = 1,
                 .hash = GRV_HASH_BLAKE3,
                 .chunker = grv_chunker_default(),
                 .created_ns = UINT64_C(1700000000000000001)},
        .blocks = "fs",
        .meta = "rocks",
    };
    for (unsigned i = 0; i < GRV_STORE_ID_SIZE; i++) {
        descriptor.info.id[i] = (uint8_t)i;
    }
    return descriptor;
}

static grv_status decode(const char *text, grv_half half, grv_descriptor *ret_descriptor)
{
    grv_error error = GRV_ERROR_INIT;
    return grv_descriptor_decode(grv_bytes_of(text, strlen(text)), half, ret_descriptor, &error);
}

static void text_is_pinned(void **state)
{
    (void)state;
    grv_error error = GRV_ERROR_INIT;
    grv_buffer out;
    grv_descriptor descriptor = example();
    grv_buffer_init(&out, GRV_DESCRIPTOR_TEXT_MAX);
    assert_grv_ok(grv_descriptor_encode(&descriptor, &out, &error));
    assert_int_equal(out.size, strlen(golden));
    assert_memory_equal(out.data, golden, out.size);
    grv_buffer_done(&out);
}

static void golden_text_reads_back(void **state)
{
    (void)state;
    grv_descriptor descriptor = {0};
    grv_descriptor want = example();
    assert_grv_status(decode(golden, GRV_HALF_BYTES, &descriptor), GRV_OK);
    assert_memory_equal(descriptor.info.id, want.info.id, GRV_STORE_ID_SIZE);
    assert_int_equal(descriptor.info.hash, GRV_HASH_BLAKE3);
    assert_true(grv_chunker_spec_equal(&descriptor.info.chunker, &want.info.chunker));
    assert_true(descriptor.info.created_ns == want.info.created_ns);
    assert_false(descriptor.creating);
    assert_string_equal(descriptor.blocks, "fs");
    assert_string_equal(descriptor.meta, "rocks");
}

/* The golden text with the first `from` replaced by `to`. */
static const char *edited(const char *from, const char *to)
{
    static char text[4096];
    const char *at = strstr(golden, from);
    assert_non_null(at);
    snprintf(text, sizeof text, "%.*s%s%s", (int)(at - golden), golden, to, at + strlen(from));
    return text;
}

static void each_kind_of_wrong_has_its_status(void **state)
{
    (void)state;
    grv_descriptor descriptor = {0};
    static const struct {
        const char *from;
        const char *to;
        grv_status status;
    } edits[] = {
        {"\"format_version\": 1", "\"format_version\": 2", GRV_UNSUPPORTED},
        {"[]", "[\"encryption\"]", GRV_UNSUPPORTED},
        {"\"format_version\": 1", "\"format_version\": 0", GRV_CORRUPT},
        {"\"format_version\": 1", "\"format_version\": \"1\"", GRV_CORRUPT},
        {"000102", "00010", GRV_CORRUPT},
        {"000102", "00010G", GRV_CORRUPT},
        {"blake3", "md5", GRV_CORRUPT},
        {"cdc:64K", "cdc:63K", GRV_CORRUPT},
        {"\"ready\"", "\"gone\"", GRV_CORRUPT},
        {"\"fs\"", "\"a name longer than any kind\"", GRV_CORRUPT},
        {"1700000000000000001", "-1", GRV_CORRUPT},
        {"{", "[", GRV_CORRUPT},
        {"\"hash\"", "\"store_id\"", GRV_CORRUPT},
    };
    for (size_t i = 0; i < sizeof edits / sizeof edits[0]; i++) {
        const char *text = edited(edits[i].from, edits[i].to);
        assert_grv_status(decode(text, GRV_HALF_BYTES, &descriptor), edits[i].status);
    }
    assert_grv_status(decode(golden, GRV_HALF_METADATA, &descriptor), GRV_CORRUPT);
    assert_grv_status(decode("", GRV_HALF_BYTES, &descriptor), GRV_CORRUPT);
    assert_int_equal(descriptor.info.format_version, 0);
}

static void every_truncation_is_refused(void **state)
{
    (void)state;
    grv_descriptor descriptor = {0};
    for (size_t size = 0; size + 2 < strlen(golden); size++) {
        grv_error error = GRV_ERROR_INIT;
        assert_grv_status(
            grv_descriptor_decode(grv_bytes_of(golden, size), GRV_HALF_BYTES, &descriptor, &error),
            GRV_CORRUPT);
    }
}

static void *no_memory(size_t size)
{
    (void)size;
    return NULL;
}

static void want_of_memory_is_not_damage(void **state)
{
    (void)state;
    grv_error error = GRV_ERROR_INIT;
    grv_descriptor descriptor = {0};
    json_malloc_t before_malloc;
    json_free_t before_free;
    json_get_alloc_funcs(&before_malloc, &before_free);
    json_set_alloc_funcs(no_memory, free);
    grv_status status = grv_descriptor_decode(grv_bytes_of(golden, strlen(golden)), GRV_HALF_BYTES,
                                              &descriptor, &error);
    json_set_alloc_funcs(before_malloc, before_free);
    assert_grv_status(status, GRV_LIMIT_EXCEEDED);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(text_is_pinned),
        cmocka_unit_test(golden_text_reads_back),
        cmocka_unit_test(each_kind_of_wrong_has_its_status),
        cmocka_unit_test(every_truncation_is_refused),
        cmocka_unit_test(want_of_memory_is_not_damage),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
