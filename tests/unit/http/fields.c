/* SPDX-License-Identifier: Apache-2.0 */
/* Header fields: ranges, entity tags, digests, file names, media types, trace ids, base64. */
#include "http/fields.h"

#include "test.h"

#include <stdio.h>
#include <stdlib.h>

/* ---- Ranges ---- */

/* Prints what a field asks for: "none", "416", or ranges as FIRST-END. */
static void range_show(const char *field, uint64_t size, char *text, size_t capacity)
{
    http_ranges ranges;
    size_t used = 0;
    switch (http_range_parse(field, size, &ranges)) {
    case HTTP_RANGE_NONE:
        snprintf(text, capacity, "none");
        return;
    case HTTP_RANGE_UNSATISFIABLE:
        snprintf(text, capacity, "416");
        return;
    default:
        break;
    }
    for (unsigned i = 0; i < ranges.count; i++) {
        used += (size_t)snprintf(text + used, capacity - used, "%s%llu-%llu", i ? " " : "",
                                 (unsigned long long)ranges.ranges[i].first,
                                 (unsigned long long)ranges.ranges[i].end);
    }
}

static void ranges_are_read_joined_and_clamped(void **state)
{
    (void)state;
    static const struct {
        const char *field;
        uint64_t size;
        const char *want;
    } cases[] = {
        {"bytes=0-4", 10, "0-5"},
        {"BYTES=0-4", 10, "0-5"},
        {"bytes=5-", 10, "5-10"},
        {"bytes=-3", 10, "7-10"},
        {"bytes=-30", 10, "0-10"},
        {"bytes=9-99999999999999999999999", 10, "9-10"},
        {"bytes=0-18446744073709551615", 10, "0-10"},
        {"bytes=10-", 10, "416"},
        {"bytes=99999999999999999999999-", 10, "416"},
        {"bytes=-0", 10, "416"},
        {"bytes=0-0,9-9", 10, "0-1 9-10"},
        {"bytes= 9-9 ,\t0-0 ", 10, "9-10 0-1"},
        {"bytes=,0-0,,5-5,", 10, "0-1 5-6"},
        {"bytes=0-2,3-5", 10, "0-6"},
        {"bytes=0-2,4-5", 10, "0-3 4-6"},
        {"bytes=8-9,0-1,2-3", 10, "8-10 0-4"},
        {"bytes=0-0,4-4,8-8,1-7", 10, "0-9"},
        {"bytes=4-4,0-0,9-9,0-", 10, "0-10"},
        {"bytes=0-1,20-30", 10, "0-2"},
        {"bytes=20-30,40-", 10, "416"},
        {"bytes=0-0,2-2,4-4,6-6,8-8,10-10,12-12,14-14,16-16,18-18,20-20,22-22,24-24,26-26,28-28,"
         "30-30",
         99,
         "0-1 2-3 4-5 6-7 8-9 10-11 12-13 14-15 16-17 18-19 20-21 22-23 24-25 26-27 28-29 30-31"},
        {"bytes=0-0,0-0,0-0,0-0,0-0,0-0,0-0,0-0,0-0,0-0,0-0,0-0,0-0,0-0,0-0,0-0,0-0", 9, "none"},
        {"bytes=0-", 0, "416"},
        {"bytes=-1", 0, "none"},
        {"bytes=-0", 0, "416"},
        {"bytes=0-,-1", 0, "none"},
        {NULL, 10, "none"},
        {"", 10, "none"},
        {"bytes", 10, "none"},
        {"bytes=", 10, "none"},
        {"bytes=,", 10, "none"},
        {"bytes=-", 10, "none"},
        {"bytes=5-4", 10, "none"},
        {"bytes=a-b", 10, "none"},
        {"bytes=1-2x", 10, "none"},
        {"bytes=1-2 3-4", 10, "none"},
        {"bytes=1 -2", 10, "none"},
        {"bytes=--1", 10, "none"},
        {"bytes=+1-2", 10, "none"},
        {"bytes =1-2", 10, "none"},
        {"items=0-4", 10, "none"},
        {"bytes=0-9223372036854775806", INT64_MAX, "0-9223372036854775807"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char got[256];
        range_show(cases[i].field, cases[i].size, got, sizeof got);
        if (strcmp(got, cases[i].want) != 0) {
            fail_msg("%s of %llu: %s, want %s", cases[i].field, (unsigned long long)cases[i].size,
                     got, cases[i].want);
        }
    }
}

/* ---- Entity tags ---- */

static void entity_tags_compare_strong_and_weak(void **state)
{
    (void)state;
    static const struct {
        const char *field;
        bool strong;
        bool weak;
    } cases[] = {
        {"\"a\"", true, true},
        {"*", true, true},
        {" * ", true, true},
        {"W/\"a\"", false, true},
        {"\"b\", \"a\"", true, true},
        {"\"b\",,W/\"a\",", false, true},
        {"\"b\" , W/\"x\",\"a\"", true, true},
        {"\"x,\", \"a\"", true, true},
        {"\"x, \"a\"", false, false},
        {"\"b\"", false, false},
        {"a", false, false},
        {"", false, false},
        {"\"a", false, false},
        {"\"a\"b", true, true},
        {"\"b\" \"a\"", false, false},
        {"w/\"a\"", false, false},
        {"*, \"b\"", false, false},
        {"\"aa\"", false, false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        if (http_etag_listed(cases[i].field, "\"a\"", false) != cases[i].strong ||
            http_etag_listed(cases[i].field, "\"a\"", true) != cases[i].weak) {
            fail_msg("%s", cases[i].field);
        }
    }
}

/* ---- Digests ---- */

#define SHA256_EMPTY "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU="
#define SHA512_EMPTY                                                                               \
    "z4PhNX7vuL3xVChQ1m2AB9Yg5AULVxXcg/SpIdNs6c5H0NE8XYXysP+DGNKHfuwvY7kxvUdBeoGlODJ6+SfaPg=="

static void digests_are_read(void **state)
{
    (void)state;
    static const struct {
        const char *field;
        bool sha256;
        bool sha512;
        bool blake3;
    } cases[] = {
        {"sha-256=:" SHA256_EMPTY ":", true, false, false},
        {"sha-512=:" SHA512_EMPTY ":", false, true, false},
        {" sha-256=:" SHA256_EMPTY ":;a=1;b , blake3=:" SHA256_EMPTY ":", true, false, true},
        {"md5=:AAAA:, x=(\"a\" :AA==: 1.5;q), y, z;p=\"\\\"\", t=a/b:c, n=-12, b=?1,"
         "sha-512=:" SHA512_EMPTY ":",
         false, true, false},
        {"crc32c=:AAAAAA==:", false, false, false},
        {"blake3=:" SHA256_EMPTY ":\t,\tblake3=:" SHA256_EMPTY ":", false, false, true},
        {"", false, false, false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        grv_error error = GRV_ERROR_INIT;
        http_digests digests;
        assert_grv_ok(http_digests_parse("Repr-Digest", cases[i].field, &digests, &error));
        assert_int_equal(digests.has_sha256, cases[i].sha256);
        assert_int_equal(digests.has_sha512, cases[i].sha512);
        assert_int_equal(digests.has_blake3, cases[i].blake3);
    }
    grv_error error = GRV_ERROR_INIT;
    http_digests digests;
    assert_grv_ok(
        http_digests_parse("Repr-Digest", "sha-256=:" SHA256_EMPTY ":", &digests, &error));
    grv_digest empty;
    assert_grv_ok(grv_digest_of(GRV_HASH_SHA256, grv_bytes_of("", 0), &empty, &error));
    assert_memory_equal(digests.sha256, empty.bytes, sizeof empty.bytes);
    char text[HTTP_DIGEST_TEXT_SIZE];
    http_digest_print(&empty, text);
    assert_string_equal(text, "sha-256=:" SHA256_EMPTY ":");
}

static void malformed_digests_are_refused(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "sha-256",
        "sha-256=",
        "sha-256=" SHA256_EMPTY,
        "sha-256=:" SHA256_EMPTY,
        "sha-256=:AAAA:",
        "sha-256=:" SHA512_EMPTY ":",
        "sha-512=:" SHA256_EMPTY ":",
        "sha-256=\"" SHA256_EMPTY "\"",
        "sha-256=:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSu!U=:",
        "sha-256=:" SHA256_EMPTY ":,",
        "sha-256=:" SHA256_EMPTY ": blake3=:" SHA256_EMPTY ":",
        "SHA-256=:" SHA256_EMPTY ":",
        "x=(1",
        "x=(1 2",
        "x=\"a",
        "x=\"a\\n\"",
        "x=1.",
        "x=1234567890123456",
        "x=?2",
        "x=@1",
        ",x=1",
        "x=1,,y=1",
        "=1",
        "x;=1",
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        grv_error error = GRV_ERROR_INIT;
        http_digests digests = {.sha256 = {7}};
        grv_status status = http_digests_parse("Repr-Digest", bad[i], &digests, &error);
        if (status != GRV_INVALID_ARGUMENT) {
            fail_msg("%s: %s", bad[i], grv_status_name(status));
        }
        assert_int_equal(digests.sha256[0], 7);
        assert_non_null(strstr(error.message, "Repr-Digest"));
    }
}

/* ---- File names ---- */

static void file_names_come_in(void **state)
{
    (void)state;
    static const struct {
        const char *field;
        const char *want;
    } cases[] = {
        {"attachment; filename=a.txt", "a.txt"},
        {"inline;filename=\"a b.txt\"", "a b.txt"},
        {"attachment; FileName = \"a.txt\" ; size=3", "a.txt"},
        {"attachment; filename=\"say \\\"hi\\\".txt\"", "say \"hi\".txt"},
        {"attachment; filename=\"/etc/passwd\"", "passwd"},
        {"attachment; filename=\"..\\\\..\\\\boot.ini\"", "boot.ini"},
        {"attachment; filename=\"..\"", ""},
        {"attachment; filename=\"a/.\"", ""},
        {"attachment; filename=\"a/\"", ""},
        {"attachment; filename=\"\"", ""},
        {"attachment; filename=old; filename*=UTF-8''n%C3%A9w.txt", "n\xC3\xA9w.txt"},
        {"attachment; filename*=utf-8'en'%2e%2e%2fx; filename=old", "x"},
        {"attachment; filename*=iso-8859-1''%e9", "\xC3\xA9"},
        {"attachment; filename=\"\xE9\"", "\xC3\xA9"},
        {"attachment; filename=\"\xC3\xA9\"", "\xC3\xA9"},
        {"attachment; filename=one; filename=two", "one"},
        {"attachment;; foo=bar;", ""},
        {"form-data; name=f; filename=x", "x"},
        {"attachment", ""},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        grv_error error = GRV_ERROR_INIT;
        grv_buffer name;
        grv_buffer_init(&name, 1000);
        assert_grv_ok(http_disposition_parse(cases[i].field, &name, &error));
        assert_grv_ok(grv_buffer_append(&name, grv_bytes_of("", 1), &error));
        assert_string_equal((const char *)name.data, cases[i].want);
        grv_buffer_done(&name);
    }
}

static void malformed_dispositions_are_refused(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "",
        ";filename=a",
        "attachment filename=a",
        "attachment; filename",
        "attachment; filename=",
        "attachment; filename=a b",
        "attachment; filename=\"a",
        "attachment; filename=\"a\\",
        "attachment; filename*=a",
        "attachment; filename*=UTF-8'a",
        "attachment; filename*=KOI8-R''a",
        "attachment; filename*=UTF-8''%C3",
        "attachment; filename*=UTF-8''%4",
        "attachment; filename*=UTF-8''%zz",
        "attachment; filename*=UTF-8''a%00b",
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        grv_error error = GRV_ERROR_INIT;
        grv_buffer name;
        grv_buffer_init(&name, 1000);
        grv_status status = http_disposition_parse(bad[i], &name, &error);
        if (status != GRV_INVALID_ARGUMENT) {
            fail_msg("%s: %s", bad[i], grv_status_name(status));
        }
        grv_buffer_done(&name);
    }
}

static void file_names_go_out(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        const char *want;
    } cases[] = {
        {"", "attachment"},
        {"..", "attachment"},
        {"a/..", "attachment"},
        {"a b.txt", "attachment; filename=\"a b.txt\""},
        {"../../etc/passwd", "attachment; filename=\"passwd\""},
        {"c:\\x\\y.txt", "attachment; filename=\"y.txt\""},
        {"say \"hi\"", "attachment; filename=\"say \\\"hi\\\"\""},
        {"a\r\nX: y", "attachment; filename=\"a__X: y\""},
        {"caf\xC3\xA9\n", "attachment; filename=\"caf___\"; filename*=UTF-8''caf%C3%A9_"},
        {"50%41", "attachment; filename=\"50_41\"; filename*=UTF-8''50%2541"},
        {"bad\xFFname", "attachment; filename=\"bad_name\""},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char text[HTTP_DISPOSITION_SIZE];
        http_disposition_print(grv_bytes_of(cases[i].name, strlen(cases[i].name)), text);
        assert_string_equal(text, cases[i].want);
    }
}

static void long_file_names_are_cut_and_fit(void **state)
{
    (void)state;
    char text[HTTP_DISPOSITION_SIZE];
    uint8_t name[1000];
    memset(name, '"', sizeof name);
    name[0] = 0xC3; /* non-ASCII too: both forms, the longest there is */
    name[1] = 0xA9;
    http_disposition_print(grv_bytes_of(name, sizeof name), text);
    assert_true(strlen(text) < HTTP_DISPOSITION_SIZE);
    for (size_t i = 0; i < sizeof name; i++) {
        name[i] = i % 2 ? 0xA9 : 0xC3;
    }
    http_disposition_print(grv_bytes_of(name, sizeof name), text);
    size_t encoded = 0;
    for (const char *at = text; (at = strstr(at, "%C3%A9")); at++) {
        encoded++;
    }
    assert_int_equal(encoded, 127); /* 254 bytes: no half of a character */
    assert_int_equal(text[strlen(text) - 1], '9');
}

/* ---- Others ---- */

static void media_types(void **state)
{
    (void)state;
    static const char *const good[] = {
        "text/plain",  "text/html; charset=utf-8", "a/b;c=\"d \\\" e\";f=g", "image/svg+xml",
        "text/plain;",
    };
    static const char *const bad[] = {
        "",
        "text",
        "text/",
        "/plain",
        "text/plain ",
        "text/ plain",
        "text/plain; x",
        "text/plain; x=",
        "a/b;c=\"d",
        "a/b\r\nX: y",
        "a/b;c=\"\n\"",
        "a/b, c/d",
        "a/b;c=\"\xC3\xA9\"",
        " text/plain",
    };
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        if (!http_media_type_is_valid(grv_bytes_of(good[i], strlen(good[i])))) {
            fail_msg("%s", good[i]);
        }
    }
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        if (http_media_type_is_valid(grv_bytes_of(bad[i], strlen(bad[i])))) {
            fail_msg("%s", bad[i]);
        }
    }
    assert_false(http_media_type_is_valid(grv_bytes_of("a/b\0", 4)));
    char longest[HTTP_MEDIA_TYPE_MAX + 1];
    memset(longest, 'a', sizeof longest);
    longest[1] = '/';
    assert_true(http_media_type_is_valid(grv_bytes_of(longest, HTTP_MEDIA_TYPE_MAX)));
    assert_false(http_media_type_is_valid(grv_bytes_of(longest, sizeof longest)));
    assert_true(http_media_type_is("Application/JSON ; charset=utf-8", "application/json"));
    assert_true(http_media_type_is("application/json", "application/json"));
    assert_false(http_media_type_is("application/json5", "application/json"));
    assert_false(http_media_type_is("application/js", "application/json"));
}

static void trace_ids(void **state)
{
    (void)state;
#define TRACE "0af7651916cd43dd8448eb211c80319c"
#define SPAN  "b7ad6b7169203331"
    static const struct {
        const char *field;
        bool good;
    } cases[] = {
        {"00-" TRACE "-" SPAN "-01", true},
        {"00-" TRACE "-" SPAN "-00", true},
        {"cc-" TRACE "-" SPAN "-01-what-comes", true},
        {"cc-" TRACE "-" SPAN "-01", true},
        {"cc-" TRACE "-" SPAN "-01x", false},
        {"00-" TRACE "-" SPAN "-01-", false},
        {"ff-" TRACE "-" SPAN "-01", false},
        {"00-00000000000000000000000000000000-" SPAN "-01", false},
        {"00-" TRACE "-0000000000000000-01", false},
        {"00-0AF7651916CD43DD8448EB211C80319C-" SPAN "-01", false},
        {"00-" TRACE "-" SPAN "-0", false},
        {"00-" TRACE "-" SPAN "-0g", false},
        {"0-" TRACE "-" SPAN "-01", false},
        {"", false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        uint8_t id[16] = {9};
        assert_int_equal(http_traceparent_parse(cases[i].field, id), cases[i].good);
        assert_int_equal(id[0], cases[i].good ? 0x0a : 9);
        assert_int_equal(id[15], cases[i].good ? 0x9c : 0);
    }
}

static void base64_of_every_length(void **state)
{
    (void)state;
    grv_error error = GRV_ERROR_INIT;
    uint8_t bytes[70];
    for (size_t i = 0; i < sizeof bytes; i++) {
        bytes[i] = (uint8_t)(251 - 37 * i);
    }
    for (size_t size = 0; size <= sizeof bytes; size++) {
        for (int url = 0; url < 2; url++) {
            grv_buffer text;
            grv_buffer back;
            grv_buffer_init(&text, 1000);
            grv_buffer_init(&back, 1000);
            assert_grv_ok(http_base64_encode(grv_bytes_of(bytes, size), url, &text, &error));
            assert_int_equal(text.size, url ? (4 * size + 2) / 3 : (size + 2) / 3 * 4);
            assert_grv_ok(http_base64_decode(grv_buffer_bytes(&text), url, &back, &error));
            assert_int_equal(back.size, size);
            assert_memory_equal(back.data, bytes, size);
            grv_buffer_done(&text);
            grv_buffer_done(&back);
        }
    }
    static const char *const bad[] = {
        "A", "AAAAA", "A===", "AA=", "AAAA=", "AA=A", "AA\n=", "_-=="};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        grv_buffer back;
        grv_buffer_init(&back, 1000);
        assert_grv_status(
            http_base64_decode(grv_bytes_of(bad[i], strlen(bad[i])), false, &back, &error),
            GRV_INVALID_ARGUMENT);
        grv_buffer_done(&back);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ranges_are_read_joined_and_clamped),
        cmocka_unit_test(entity_tags_compare_strong_and_weak),
        cmocka_unit_test(digests_are_read),
        cmocka_unit_test(malformed_digests_are_refused),
        cmocka_unit_test(file_names_come_in),
        cmocka_unit_test(malformed_dispositions_are_refused),
        cmocka_unit_test(file_names_go_out),
        cmocka_unit_test(long_file_names_are_cut_and_fit),
        cmocka_unit_test(media_types),
        cmocka_unit_test(trace_ids),
        cmocka_unit_test(base64_of_every_length),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
