/* SPDX-License-Identifier: Apache-2.0 */
/* URLs of stores: what is taken, what is refused, and with which status. */
#include "store/place.h"
#include "test.h"

static grv_status parse(const char *directory, const char *blocks, const char *meta,
                        grv_place *ret_place)
{
    grv_error error = GRV_ERROR_INIT;
    grv_store_config config = {.directory = directory, .blocks = blocks, .meta = meta};
    return grv_place_parse(&config, ret_place, &error);
}

static void a_directory_is_files_and_rocksdb(void **state)
{
    (void)state;
    grv_place place;
    assert_grv_status(parse("data/here", NULL, NULL, &place), GRV_OK);
    assert_int_equal(place.blocks, GRV_BLOCKS_FS);
    assert_string_equal(place.blocks_path, "data/here");
    assert_int_equal(place.meta, GRV_META_ROCKS);
    assert_string_equal(place.meta_path, "data/here/meta");
}

static void urls_name_each_half(void **state)
{
    (void)state;
    grv_place place;
    assert_grv_status(parse(NULL, "fs:/a/b?prefix=x/y", "rocks:/m", &place), GRV_OK);
    assert_string_equal(place.blocks_path, "/a/b");
    assert_string_equal(place.blocks_prefix, "x/y");
    assert_string_equal(place.meta_path, "/m");
    assert_grv_status(parse(NULL, "kv:", "memory:", &place), GRV_OK);
    assert_int_equal(place.blocks, GRV_BLOCKS_KV);
    assert_int_equal(place.meta, GRV_META_MEMORY);
    assert_grv_status(parse("memory:", NULL, NULL, &place), GRV_OK);
    assert_int_equal(place.blocks, GRV_BLOCKS_MEMORY);
}

static grv_status parse_cache(const char *cache, grv_place *ret_place)
{
    grv_error error = GRV_ERROR_INIT;
    grv_store_config config = {.directory = "x", .cache = cache};
    return grv_place_parse(&config, ret_place, &error);
}

static void a_cache_is_a_directory_and_a_size(void **state)
{
    (void)state;
    grv_place place;
    assert_grv_status(parse("x", NULL, NULL, &place), GRV_OK);
    assert_string_equal(place.cache_path, "");
    assert_grv_status(parse_cache("/var/cache/g", &place), GRV_OK);
    assert_string_equal(place.cache_path, "/var/cache/g");
    assert_int_equal(place.cache_bytes, 0);
    assert_grv_status(parse_cache("c?size=10G", &place), GRV_OK);
    assert_string_equal(place.cache_path, "c");
    assert_int_equal(place.cache_bytes, UINT64_C(10) << 30);
    assert_grv_status(parse_cache("c?size=1M", &place), GRV_OK);
    static const char *const bad[] = {
        "",          "?size=1G", "c?",       "c?size=",      "c?size=1T",
        "c?size=-1", "c?sized",  "c?size=1", "c?size=1023K", "c?size=8193G"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        if (parse_cache(bad[i], &place) != GRV_INVALID_ARGUMENT) {
            fail_msg("\"%s\" was taken", bad[i]);
        }
    }
}

static void a_cache_may_be_in_memory(void **state)
{
    (void)state;
    grv_place place;
    assert_grv_status(parse_cache("memory:", &place), GRV_OK);
    assert_true(place.cache_in_memory);
    assert_int_equal(place.cache_bytes, GRV_PLACE_MEMORY_CACHE);
    assert_string_equal(place.cache_path, "");
    assert_grv_status(parse_cache("memory:?size=1M", &place), GRV_OK);
    assert_true(place.cache_in_memory);
    assert_int_equal(place.cache_bytes, UINT64_C(1) << 20);
    assert_string_equal(place.cache_path, "");
    assert_grv_status(parse_cache("Memory:?size=8192G", &place), GRV_OK);
    assert_true(place.cache_in_memory);
    assert_int_equal(place.cache_bytes, UINT64_C(8192) << 30);
    static const char *const bad[] = {
        "memory:?",         "memory:?size=",   "memory:?size=0",     "memory:?size=1K",
        "memory:?size=big", "memory:?sized",   "memory:?size=1023K", "memory:?size=8193G",
        "memory:?size=-1M", "memory:?size=1T", "memory:x",           "memory:x?size=1M",
        "memory:/var/c",    "memory://"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        if (parse_cache(bad[i], &place) != GRV_INVALID_ARGUMENT) {
            fail_msg("\"%s\" was taken", bad[i]);
        }
    }
    /* What only looks a little like it is a directory. */
    static const char *const directories[] = {"memory", "./memory:", "memory/c", "memoryx"};
    for (size_t i = 0; i < sizeof directories / sizeof directories[0]; i++) {
        assert_grv_status(parse_cache(directories[i], &place), GRV_OK);
        assert_false(place.cache_in_memory);
        assert_string_equal(place.cache_path, directories[i]);
        assert_int_equal(place.cache_bytes, 0);
    }
}

static void scala_is_postgresql_with_files(void **state)
{
    (void)state;
    grv_place place;
    const char *url = "Scala:postgres://u:p@h/db";
    assert_grv_status(parse(NULL, "fs:/a?prefix=p/q", url, &place), GRV_OK);
    assert_int_equal(place.meta, GRV_META_SCALA);
    assert_string_equal(place.meta_path, "postgres://u:p@h/db");
    assert_string_equal(place.blocks_prefix, "p/q");
    assert_string_equal(grv_meta_kind_name(place.meta), "scala");
    assert_grv_status(parse(NULL, "kv:", url, &place), GRV_INVALID_ARGUMENT);
    assert_grv_status(parse(NULL, "memory:", url, &place), GRV_INVALID_ARGUMENT);
    assert_grv_status(parse(NULL, "fs:/a", "scala:postgresql:db", &place), GRV_INVALID_ARGUMENT);
    assert_grv_status(parse(NULL, "fs:/a", "scala:rocks:/a", &place), GRV_INVALID_ARGUMENT);
    assert_grv_status(parse(NULL, "fs:/a", "scala:", &place), GRV_INVALID_ARGUMENT);
}

static void postgresql_is_named_by_its_url(void **state)
{
    (void)state;
    grv_place place;
    assert_grv_status(parse(NULL, "fs:/a", "postgresql://u:p@h/db?x=y", &place), GRV_OK);
    assert_int_equal(place.meta, GRV_META_PG);
    assert_string_equal(place.meta_path, "postgresql://u:p@h/db?x=y");
    assert_grv_status(parse(NULL, "kv:", "Postgres:///db", &place), GRV_OK);
    assert_int_equal(place.meta, GRV_META_PG);
    assert_grv_status(parse(NULL, "fs:/a", "postgresql:db", &place), GRV_INVALID_ARGUMENT);
    assert_grv_status(parse(NULL, "memory:", "postgresql://h/db", &place), GRV_INVALID_ARGUMENT);
    /* A password goes into no message. */
    static const char *const urls[] = {"postgresq://u:sesame@h/db", "rocky://u:sesame@h/db",
                                       "u:sesame@h"};
    for (size_t i = 0; i < sizeof urls / sizeof urls[0]; i++) {
        grv_error error = GRV_ERROR_INIT;
        grv_store_config config = {.blocks = "fs:/a", .meta = urls[i]};
        assert_grv_status(grv_place_parse(&config, &place, &error), GRV_INVALID_ARGUMENT);
        assert_null(strstr(error.message, "sesame"));
    }
}

static void wrong_ones_are_refused(void **state)
{
    (void)state;
    grv_place place;
    assert_grv_status(parse(NULL, NULL, NULL, &place), GRV_INVALID_ARGUMENT);
    assert_grv_status(parse(NULL, "fs:/a", NULL, &place), GRV_INVALID_ARGUMENT);
    assert_grv_status(parse(NULL, NULL, "rocks:/a", &place), GRV_INVALID_ARGUMENT);
    assert_grv_status(parse("d", "fs:/a", "rocks:/a", &place), GRV_INVALID_ARGUMENT);
    assert_grv_status(parse("", NULL, NULL, &place), GRV_INVALID_ARGUMENT);
    assert_grv_status(parse(NULL, "fs:", "memory:", &place), GRV_INVALID_ARGUMENT);
    assert_grv_status(parse(NULL, "fs:/a", "memory:", &place), GRV_INVALID_ARGUMENT);
    assert_grv_status(parse(NULL, "memory:", "rocks:/a", &place), GRV_INVALID_ARGUMENT);
    assert_grv_status(parse(NULL, "kv:x", "memory:", &place), GRV_INVALID_ARGUMENT);
    assert_grv_status(parse(NULL, "fs:/a?pre=x", "memory:", &place), GRV_INVALID_ARGUMENT);
    assert_grv_status(parse(NULL, "fs:/a?prefix=", "memory:", &place), GRV_INVALID_ARGUMENT);
    assert_grv_status(parse(NULL, "floppy:/a", "memory:", &place), GRV_INVALID_ARGUMENT);
    assert_grv_status(parse(NULL, "/plain/path", "memory:", &place), GRV_INVALID_ARGUMENT);
}

static void a_bucket_is_named_by_its_url(void **state)
{
    (void)state;
    grv_place place;
    static const char pg[] = "postgresql://h/db";
    assert_grv_status(parse(NULL, "s3://bucket/some/prefix", pg, &place), GRV_OK);
    assert_int_equal(place.blocks, GRV_BLOCKS_S3);
    assert_string_equal(place.s3.bucket, "bucket");
    assert_string_equal(place.blocks_prefix, "some/prefix");
    assert_string_equal(place.blocks_path, "s3://bucket/some/prefix");
    assert_string_equal(grv_blocks_kind_name(place.blocks), "s3");
    assert_int_equal(place.s3.style, GRV_S3_STYLE_AUTO);
    assert_grv_status(parse(NULL,
                            "S3://b/p/?region=eu-1&style=virtual&connections=256"
                            "&endpoint=https://h:1",
                            "rocks:/m", &place),
                      GRV_OK);
    assert_string_equal(place.blocks_prefix, "p");
    assert_string_equal(place.s3.region, "eu-1");
    assert_string_equal(place.s3.endpoint, "https://h:1");
    assert_int_equal(place.s3.style, GRV_S3_STYLE_VIRTUAL);
    assert_int_equal(place.s3.connections, 256);
    assert_grv_status(parse(NULL, "s3://b?style=path", pg, &place), GRV_OK);
    assert_string_equal(place.blocks_prefix, "");
    assert_int_equal(place.s3.style, GRV_S3_STYLE_PATH);
    assert_grv_status(parse(NULL, "s3://b/", pg, &place), GRV_OK);
    assert_string_equal(place.blocks_prefix, "");
    assert_grv_status(parse(NULL, "s3://b/p", "scala:postgresql://h/d", &place), GRV_OK);
}

static void a_bucket_named_wrongly_is_refused(void **state)
{
    (void)state;
    grv_place place;
    static const char *const urls[] = {
        "s3:",
        "s3:b/p",
        "s3:///p",
        "s3://?region=x",
        "s3://b/p?",
        "s3://b/p?region=",
        "s3://b/p?region=x&",
        "s3://b/p?style=x",
        "s3://b/p?style=pathological",
        "s3://b/p?connections=0",
        "s3://b/p?connections=257",
        "s3://b/p?connections=1x",
        "s3://b/p?connections=99999999999999999999",
        "s3://b/p?key=sesame",
    };
    for (size_t i = 0; i < sizeof urls / sizeof urls[0]; i++) {
        grv_error error = GRV_ERROR_INIT;
        grv_store_config config = {.blocks = urls[i], .meta = "rocks:/a"};
        assert_grv_status(grv_place_parse(&config, &place, &error), GRV_INVALID_ARGUMENT);
        assert_null(strstr(error.message, "sesame"));
    }
    assert_grv_status(parse(NULL, "s3://b/p", "memory:", &place), GRV_INVALID_ARGUMENT);
    assert_grv_status(parse("s3://b/p", NULL, NULL, &place), GRV_INVALID_ARGUMENT);
}

static void planned_schemes_are_unsupported(void **state)
{
    (void)state;
    grv_place place;
    assert_grv_status(parse("packs:d", NULL, NULL, &place), GRV_UNSUPPORTED);
    assert_grv_status(parse(NULL, "packs+s3://b/p", "memory:", &place), GRV_UNSUPPORTED);
}

static void servers_are_whole_stores(void **state)
{
    (void)state;
    grv_error error = GRV_ERROR_INIT;
    grv_place place;
    static const char *const urls[] = {"http://host:1", "HTTPS://host/prefix"};
    for (size_t i = 0; i < sizeof urls / sizeof urls[0]; i++) {
        assert_grv_ok(parse(urls[i], NULL, NULL, &place));
        assert_int_equal(place.blocks, GRV_BLOCKS_REMOTE);
        assert_int_equal(place.meta, GRV_META_REMOTE);
        assert_string_equal(place.blocks_path, urls[i]);
        assert_string_equal(place.meta_path, "");
    }
    assert_grv_status(parse(NULL, "http://host", "rocks:a", &place), GRV_INVALID_ARGUMENT);
    static const char *const caches[] = {"somewhere", "memory:", "memory:?size=1M"};
    for (size_t i = 0; i < sizeof caches / sizeof caches[0]; i++) {
        const grv_store_config cached = {.directory = urls[0], .cache = caches[i]};
        assert_grv_status(grv_place_parse(&cached, &place, &error), GRV_UNSUPPORTED);
    }
}

static void long_paths_are_refused_whole(void **state)
{
    (void)state;
    static char path[GRV_PLACE_PATH_SIZE + 1];
    grv_place place;
    memset(path, 'a', sizeof path - 1);
    assert_grv_status(parse(path, NULL, NULL, &place), GRV_INVALID_ARGUMENT);
    path[GRV_PLACE_PATH_SIZE - 3] = '\0';
    assert_grv_status(parse(path, NULL, NULL, &place), GRV_INVALID_ARGUMENT);
    path[GRV_PLACE_PATH_SIZE - 6] = '\0';
    assert_grv_status(parse(path, NULL, NULL, &place), GRV_OK);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_directory_is_files_and_rocksdb),
        cmocka_unit_test(urls_name_each_half),
        cmocka_unit_test(a_cache_is_a_directory_and_a_size),
        cmocka_unit_test(a_cache_may_be_in_memory),
        cmocka_unit_test(postgresql_is_named_by_its_url),
        cmocka_unit_test(a_bucket_is_named_by_its_url),
        cmocka_unit_test(a_bucket_named_wrongly_is_refused),
        cmocka_unit_test(scala_is_postgresql_with_files),
        cmocka_unit_test(wrong_ones_are_refused),
        cmocka_unit_test(planned_schemes_are_unsupported),
        cmocka_unit_test(servers_are_whole_stores),
        cmocka_unit_test(long_paths_are_refused_whole),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
