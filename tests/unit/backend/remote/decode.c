/* SPDX-License-Identifier: Apache-2.0 */
/* What a server answers as values: what is right comes through, what is not is refused whole. */
#include "backend/remote/client.h"
#include "test.h"

#include <stdlib.h>

#define ID    "blake3:6437b3ac38465133ffb63b75273a8db548c558465d79db03fd359c6cd5bd9d85:3"
#define OTHER "blake3:af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262:0"
#define BLOB                                                                                       \
    "{\"id\":\"" ID "\",\"size_bytes\":3,\"blocks\":1,\"block_hash\":\"blake3\","                  \
    "\"chunker\":\"cdc:65536\",\"created\":\"2026-01-02T03:04:05.678901234Z\",\"sequence\":7}"
#define STORE                                                                                      \
    "\"program\":\"0.1.0\",\"id\":\"000102030405060708090a0b0c0d0e0f\",\"format_version\":1,"      \
    "\"hash\":\"blake3\",\"chunker\":\"cdc:65536\",\"created\":\"2026-01-02T03:04:05Z\","          \
    "\"read_only\":false,\"orders\":[\"key\",\"newest\"],\"references\":true}"

static json_t *json_of(const char *text)
{
    grv_error error = GRV_ERROR_INIT;
    json_t *json = NULL;
    assert_grv_ok(grv_remote_json_parse(grv_bytes_of(text, strlen(text)), &json, &error));
    return json;
}

static void test_json(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "", "{", "<html></html>", "{\"a\":1,\"a\":2}", "[1] x", "99999999999999999999"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        json_t *json = NULL;
        assert_grv_status(grv_remote_json_parse(grv_bytes_of(bad[i], strlen(bad[i])), &json, NULL),
                          GRV_UNAVAILABLE);
        assert_null(json);
    }
    json_decref(json_of("\"" ID "\""));
}

static void test_time(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        uint64_t time_ns;
    } good[] = {
        {"1970-01-01T00:00:00Z", 0},
        {"1970-01-01T00:00:00.000000001Z", 1},
        {"2000-02-29T23:59:59.5Z", UINT64_C(951868799500000000)},
        {"2026-01-02T03:04:05.678901234Z", UINT64_C(1767323045678901234)},
        {"2100-03-01T00:00:00Z", UINT64_C(4107542400000000000)},
    };
    static const char *const bad[] = {
        "",
        "2026-01-02",
        "2026-01-02T03:04:05",
        "2026-01-02T03:04:05+01:00",
        "2026-01-02 03:04:05Z",
        "2026-13-02T03:04:05Z",
        "2026-01-02T24:04:05Z",
        "2026-01-02T03:04:05.Z",
        "2026-01-02T03:04:05.0000000001Z",
        "1969-01-02T03:04:05Z",
        "9999-01-02T03:04:05Z",
        "2026-01-02T03:04:05Zx",
    };
    uint64_t time_ns = 1;
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        assert_true(grv_remote_time_parse(good[i].text, &time_ns));
        assert_int_equal(time_ns, good[i].time_ns);
    }
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        assert_false(grv_remote_time_parse(bad[i], &time_ns));
    }
}

static void test_store(void **state)
{
    (void)state;
    grv_error error = GRV_ERROR_INIT;
    grv_remote_info info;
    uint64_t capabilities;
    json_t *json = json_of("{\"version\":1," STORE);
    assert_grv_ok(grv_remote_decode_store(json, &info, &capabilities, &error));
    json_decref(json);
    assert_int_equal(info.store_id[15], 15);
    assert_int_equal(info.hash, GRV_HASH_BLAKE3);
    assert_int_equal(info.chunker.size, 65536);
    assert_string_equal(info.program, "0.1.0");
    assert_int_equal(capabilities, GRV_BLOB_CAP_NEWEST | GRV_BLOB_CAP_REFS | GRV_BLOB_CAP_DISTANT);
    json = json_of("{\"version\":2," STORE);
    assert_grv_status(grv_remote_decode_store(json, &info, &capabilities, &error), GRV_UNSUPPORTED);
    json_decref(json);
    static const char *const members[] = {"program", "id",      "format_version", "hash",
                                          "chunker", "created", "read_only"};
    for (size_t i = 0; i < sizeof members / sizeof members[0]; i++) {
        json = json_of("{\"version\":1," STORE);
        assert_int_equal(json_object_set_new(json, members[i], json_array()), 0);
        assert_grv_status(grv_remote_decode_store(json, &info, &capabilities, &error),
                          GRV_UNAVAILABLE);
        json_decref(json);
    }
    json = json_of("[\"hello\"]");
    assert_grv_status(grv_remote_decode_store(json, &info, &capabilities, &error), GRV_UNAVAILABLE);
    json_decref(json);
}

static void test_info(void **state)
{
    (void)state;
    grv_error error = GRV_ERROR_INIT;
    grv_blob_info info;
    json_t *json = json_of(BLOB);
    assert_grv_ok(grv_remote_decode_info(json, &info, &error));
    assert_int_equal(info.key.size, 3);
    assert_int_equal(info.block_count, 1);
    assert_int_equal(info.block_hash, GRV_HASH_BLAKE3);
    assert_int_equal(info.chunker.kind, GRV_CHUNKER_CDC);
    assert_int_equal(info.created_ns, UINT64_C(1767323045678901234));
    assert_int_equal(info.sequence, 7);
    json_decref(json);
    static const char *const members[] = {"id",      "size_bytes", "blocks",  "block_hash",
                                          "chunker", "created",    "sequence"};
    for (size_t i = 0; i < sizeof members / sizeof members[0]; i++) {
        static const char *const values[] = {"-1", "true", "\"x\"", "{}", "1.5"};
        for (size_t v = 0; v < sizeof values / sizeof values[0]; v++) {
            json = json_of(BLOB);
            assert_int_equal(json_object_set_new(json, members[i], json_of(values[v])), 0);
            assert_grv_status(grv_remote_decode_info(json, &info, &error), GRV_UNAVAILABLE);
            json_decref(json);
        }
    }
}

static void test_page(void **state)
{
    (void)state;
    grv_error error = GRV_ERROR_INIT;
    grv_remote_page page;
    json_t *json =
        json_of("{\"blobs\":[" BLOB ",{\"error\":{\"type\":\"corrupt\",\"detail\":\"a record\"}},"
                "{\"error\":{\"type\":\"urn:graviton:problem:unsupported\",\"detail\":\"new\"}}],"
                "\"cursor\":\"abc\"}");
    assert_grv_ok(grv_remote_decode_page(json, 3, &page, &error));
    assert_int_equal(page.count, 3);
    assert_int_equal(page.entries[0].status, GRV_OK);
    assert_int_equal(page.entries[1].status, GRV_CORRUPT);
    assert_string_equal(page.entries[1].message, "a record");
    assert_int_equal(page.entries[2].status, GRV_UNSUPPORTED);
    assert_string_equal(page.cursor, "abc");
    grv_remote_page_done(&page);
    assert_grv_status(grv_remote_decode_page(json, 2, &page, &error), GRV_UNAVAILABLE);
    json_decref(json);
    static const char *const bad[] = {"{}",
                                      "[]",
                                      "{\"blobs\":{}}",
                                      "{\"blobs\":[1]}",
                                      "{\"blobs\":[],\"cursor\":7}",
                                      "{\"blobs\":[],\"cursor\":\"\"}",
                                      "{\"blobs\":[{\"error\":{}}]}"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        json = json_of(bad[i]);
        assert_grv_status(grv_remote_decode_page(json, 9, &page, &error), GRV_UNAVAILABLE);
        json_decref(json);
    }
}

static void test_refs(void **state)
{
    (void)state;
    grv_error error = GRV_ERROR_INIT;
    grv_remote_refs refs;
    json_t *json = json_of("{\"references\":[{\"block\":\"" ID "\",\"offset_bytes\":5}],"
                           "\"next_offset_bytes\":8}");
    assert_grv_ok(grv_remote_decode_refs(json, &refs, &error));
    assert_int_equal(refs.count, 1);
    assert_int_equal(refs.refs[0].offset, 5);
    assert_int_equal(refs.refs[0].key.size, 3);
    assert_true(refs.has_next && refs.next_offset == 8);
    grv_remote_refs_done(&refs);
    json_decref(json);
    static const char *const bad[] = {
        "{}", "{\"references\":[{}]}", "{\"references\":[],\"next_offset_bytes\":-1}",
        "{\"references\":[{\"block\":\"" OTHER "\",\"offset_bytes\":5}]}"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        json = json_of(bad[i]);
        assert_grv_status(grv_remote_decode_refs(json, &refs, &error), GRV_UNAVAILABLE);
        json_decref(json);
    }
}

static void test_attributes(void **state)
{
    (void)state;
    grv_error error = GRV_ERROR_INIT;
    grv_attributes attributes;
    grv_attributes back;
    grv_attributes_init(&attributes);
    grv_attributes_init(&back);
    static const uint8_t bytes[] = {0xff, 0, 1, 2};
    static uint8_t longest[GRV_ATTRIBUTE_VALUE_MAX];
    memset(longest, 0xfe, sizeof longest);
    assert_grv_ok(grv_attributes_set(&attributes, "binary", grv_bytes_of(bytes, 4), &error));
    assert_grv_ok(grv_attributes_set(&attributes, "empty", grv_bytes_of("", 0), &error));
    assert_grv_ok(grv_attributes_set(&attributes, "nul", grv_bytes_of("a\0b", 3), &error));
    assert_grv_ok(
        grv_attributes_set(&attributes, "long", grv_bytes_of(longest, sizeof longest), &error));
    json_t *json = grv_remote_encode_attributes(&attributes);
    assert_non_null(json);
    char *text = json_dumps(json, 0);
    json_decref(json);
    json = json_of(text);
    free(text);
    assert_grv_ok(grv_remote_decode_attributes(json, &back, &error));
    json_decref(json);
    assert_int_equal(back.count, attributes.count);
    for (size_t i = 0; i < back.count; i++) {
        assert_string_equal(back.pairs[i].name, attributes.pairs[i].name);
        assert_int_equal(back.pairs[i].value_size, attributes.pairs[i].value_size);
        assert_int_equal(
            grv_bytes_compare(
                grv_bytes_of(back.pairs[i].value, back.pairs[i].value_size),
                grv_bytes_of(attributes.pairs[i].value, attributes.pairs[i].value_size)),
            0);
    }
    static const char *const bad[] = {
        "{}",
        "{\"attributes\":[{}]}",
        "{\"attributes\":[{\"name\":\"x\"}]}",
        "{\"attributes\":[{\"name\":\"X y\",\"value\":\"\"}]}",
        "{\"attributes\":[{\"name\":\"x\",\"value_base64\":\"a\"}]}",
        "{\"attributes\":[{\"name\":\"x\",\"value_base64\":\"a===\"}]}",
        "{\"attributes\":[{\"name\":\"x\",\"value_base64\":\"aa*=\"}]}",
        "{\"attributes\":[{\"name\":\"x\",\"value\":\"\"},{\"name\":\"x\",\"value\":\"\"}]}",
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        json = json_of(bad[i]);
        assert_grv_status(grv_remote_decode_attributes(json, &back, &error), GRV_UNAVAILABLE);
        assert_int_equal(back.count, attributes.count);
        json_decref(json);
    }
    grv_attributes_done(&attributes);
    grv_attributes_done(&back);
}

static void test_missing(void **state)
{
    (void)state;
    grv_error error = GRV_ERROR_INIT;
    grv_blob_key keys[2];
    bool present[2];
    assert_grv_ok(grv_blob_key_parse(grv_bytes_of(ID, strlen(ID)), &keys[0], &error));
    assert_grv_ok(grv_blob_key_parse(grv_bytes_of(OTHER, strlen(OTHER)), &keys[1], &error));
    json_t *json = json_of("{\"missing\":[\"" OTHER "\"]}");
    assert_grv_ok(grv_remote_decode_missing(json, keys, 2, present, &error));
    assert_true(present[0] && !present[1]);
    json_decref(json);
    json = json_of("{\"missing\":[]}");
    assert_grv_ok(grv_remote_decode_missing(json, keys, 2, present, &error));
    assert_true(present[0] && present[1]);
    json_decref(json);
    /* Another order, one twice, one that nobody asked for. */
    static const char *const bad[] = {"{}", "{\"missing\":[\"" OTHER "\",\"" ID "\"]}",
                                      "{\"missing\":[\"" ID "\",\"" ID "\"]}", "{\"missing\":[7]}"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        json = json_of(bad[i]);
        assert_grv_status(grv_remote_decode_missing(json, keys, 2, present, &error),
                          GRV_UNAVAILABLE);
        json_decref(json);
    }
}

static void test_problem(void **state)
{
    (void)state;
    static const char text[] = "{\"type\":\"urn:graviton:problem:out-of-space\",\"title\":\"Full\","
                               "\"status\":507,\"detail\":\"no\\nroom\"}";
    grv_remote_problem problem;
    assert_true(grv_remote_decode_problem(grv_bytes_of(text, strlen(text)), &problem));
    assert_true(problem.is_known && problem.status == GRV_OUT_OF_SPACE);
    assert_string_equal(problem.detail, "no?room");
    static const char newer[] = "{\"type\":\"urn:graviton:problem:of-tomorrow\",\"title\":\"T\"}";
    assert_true(grv_remote_decode_problem(grv_bytes_of(newer, strlen(newer)), &problem));
    assert_false(problem.is_known);
    assert_string_equal(problem.detail, "T");
    static const char *const bad[] = {"", "<html>", "{}", "[]", "{\"type\":\"about:blank\"}"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        assert_false(grv_remote_decode_problem(grv_bytes_of(bad[i], strlen(bad[i])), &problem));
    }
}

static const char put_line[] =
    "Graviton-Put: blocks=2, fresh-blocks=1, fresh-bytes=11, duplicate-bytes=5, stored-bytes=9, "
    "already-stored=?1, later=3\r\n";

static void test_head(void **state)
{
    (void)state;
    static const char *const lines[] = {
        "HTTP/1.1 100 Continue\r\n",
        "\r\n",
        "HTTP/1.1 206 Partial Content\r\n",
        "Content-Length: 3\r\n",
        "content-range:bytes 2-4/10\r\n",
        "Content-Type: application/json; charset=utf-8\r\n",
        "Retry-After: 7\r\n",
        "Request-Id: 6b0f\r\n",
        put_line,
        "\r\n",
    };
    grv_remote_head head = {0};
    for (size_t i = 0; i < sizeof lines / sizeof lines[0]; i++) {
        assert_false(head.is_whole);
        grv_remote_head_line(&head, grv_bytes_of(lines[i], strlen(lines[i])));
    }
    assert_true(head.is_whole && head.http == 206 && head.has_length && head.length == 3);
    assert_true(head.has_range && head.range_first == 2 && head.range_last == 4 &&
                head.range_total == 10);
    assert_true(head.is_json && !head.is_problem && head.retry_after_s == 7);
    assert_string_equal(head.request_id, "6b0f");
    assert_true(head.has_put && head.put.blocks == 2 && head.put.fresh_blocks == 1 &&
                head.put.fresh_bytes == 11 && head.put.duplicate_bytes == 5 &&
                head.put.stored_bytes == 9 && head.put.already_stored);
    static const char *const odd[] = {"Content-Range: bytes 5-4/10",
                                      "Content-Range: bytes 5-10/10",
                                      "Content-Range: bytes */10",
                                      "Content-Range: bytes 1-2/*",
                                      "Content-Range: -",
                                      "Content-Range: bytes -/"};
    for (size_t i = 0; i < sizeof odd / sizeof odd[0]; i++) {
        grv_remote_head_line(&head, grv_bytes_of(odd[i], strlen(odd[i])));
        assert_false(head.has_range);
    }
    static const char *const lengths[] = {"Content-Length:", "Content-Length: -1",
                                          "Content-Length: 9223372036854775808",
                                          "Content-Length: 1 2"};
    for (size_t i = 0; i < sizeof lengths / sizeof lengths[0]; i++) {
        grv_remote_head_line(&head, grv_bytes_of(lengths[i], strlen(lengths[i])));
        assert_false(head.has_length);
    }
}

static void test_settings(void **state)
{
    (void)state;
    grv_error error = GRV_ERROR_INIT;
    grv_remote_settings settings;
    unsetenv("GRAVITON_TOKEN");
    unsetenv("GRAVITON_CA_BUNDLE");
    static const struct {
        const char *url;
        const char *where;
        bool tls;
        bool is_local;
    } good[] = {
        {"http://h", "http://h", false, false},
        {"HTTP://h/", "HTTP://h", false, false},
        {"https://a.b-c_d:65535/x/y//", "https://a.b-c_d:65535/x/y", true, false},
        {"http://[::1]:80", "http://[::1]:80", false, true},
        {"http://127.0.0.1:1/a%2Fb", "http://127.0.0.1:1/a%2Fb", false, true},
        {"https://LOCALHOST", "https://LOCALHOST", true, true},
        {"http://127.evil.example", "http://127.evil.example", false, false},
    };
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        const grv_remote_config config = {.url = good[i].url};
        assert_grv_ok(grv_remote_settings_init(&settings, &config, &error));
        assert_string_equal(settings.where, good[i].where);
        assert_int_equal(settings.tls, good[i].tls);
        assert_int_equal(settings.is_local, good[i].is_local);
        assert_null(settings.token);
        grv_remote_settings_done(&settings);
    }
    static const char *const bad[] = {
        "",          "h",           "ftp://h",       "http://",        "http:///x",
        "http://:8", "http://h:0",  "http://h:x",    "http://h:99999", "http://h?x",
        "http://h#", "http://h/?x", "http://h/%zz",  "http://h/a b",   "http://u:secret@h",
        "http://[",  "http://[::1", "http://h\r\nX", "http://h/\x7f",  "http://h:",
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        const grv_remote_config config = {.url = bad[i]};
        assert_grv_status(grv_remote_settings_init(&settings, &config, &error),
                          GRV_INVALID_ARGUMENT);
        assert_null(strstr(error.message, "secret"));
    }
    static const char *const tokens[] = {"se cret", "secret\n", "secret\r\nX: y", "secr\xc3\xa9t"};
    for (size_t i = 0; i < sizeof tokens / sizeof tokens[0]; i++) {
        const grv_remote_config config = {.url = "http://h", .token = tokens[i]};
        assert_grv_status(grv_remote_settings_init(&settings, &config, &error),
                          GRV_INVALID_ARGUMENT);
        assert_null(strstr(error.message, "secr"));
    }
    setenv("GRAVITON_TOKEN", "of-the-environment", 1);
    const grv_remote_config named = {.url = "http://h"};
    assert_grv_ok(grv_remote_settings_init(&settings, &named, &error));
    assert_string_equal(settings.token, "of-the-environment");
    grv_remote_settings_done(&settings);
    const grv_remote_config none = {.url = "http://h", .token = ""};
    assert_grv_ok(grv_remote_settings_init(&settings, &none, &error));
    assert_null(settings.token);
    grv_remote_settings_done(&settings);
    unsetenv("GRAVITON_TOKEN");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_json),       cmocka_unit_test(test_time),
        cmocka_unit_test(test_store),      cmocka_unit_test(test_info),
        cmocka_unit_test(test_page),       cmocka_unit_test(test_refs),
        cmocka_unit_test(test_attributes), cmocka_unit_test(test_missing),
        cmocka_unit_test(test_problem),    cmocka_unit_test(test_head),
        cmocka_unit_test(test_settings),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
