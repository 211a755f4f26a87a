/* SPDX-License-Identifier: Apache-2.0 */
/* URLs of halves: `scheme:PATH?key=value`. */
#include "store/place.h"

#include "core/size.h"
#include "layer/cache.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

const char *grv_blocks_kind_name(grv_blocks_kind kind)
{
    switch (kind) {
    case GRV_BLOCKS_FS:
        return "fs";
    case GRV_BLOCKS_KV:
        return "kv";
    case GRV_BLOCKS_MEMORY:
        return "memory";
    case GRV_BLOCKS_S3:
        return "s3";
    case GRV_BLOCKS_REMOTE:
        return "remote";
    }
    return "unknown";
}

const char *grv_meta_kind_name(grv_meta_kind kind)
{
    switch (kind) {
    case GRV_META_ROCKS:
        return "rocks";
    case GRV_META_MEMORY:
        return "memory";
    case GRV_META_PG:
        return "postgresql";
    case GRV_META_SCALA:
        return "scala";
    case GRV_META_REMOTE:
        return "remote";
    }
    return "unknown";
}

/* Schemes of the design that this version does not have; naming one is no typing error. */
static bool scheme_is_planned(const char *scheme, size_t size)
{
    static const char *const planned[] = {"packs", "packs+s3"};
    for (size_t i = 0; i < sizeof planned / sizeof planned[0]; i++) {
        if (strlen(planned[i]) == size && strncasecmp(planned[i], scheme, size) == 0) {
            return true;
        }
    }
    return false;
}

/* Splits "scheme:rest"; *ret_size is 0 where there is no scheme. */
static const char *split_scheme(const char *url, size_t *ret_size)
{
    size_t size = strspn(url, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789+");
    if (size == 0 || url[size] != ':') {
        *ret_size = 0;
        return url;
    }
    *ret_size = size;
    return url + size + 1;
}

static bool scheme_is(const char *url, size_t size, const char *name)
{
    return strlen(name) == size && strncasecmp(url, name, size) == 0;
}

static grv_status url_refuse(const char *what, const char *url, size_t scheme_size,
                             const char *known, grv_error *error)
{
    if (scheme_size > 0 && scheme_is_planned(url, scheme_size)) {
        return grv_error_set(error, GRV_UNSUPPORTED, "store",
                             "%s \"%.*s:\" is not in this version of graviton; it has %s", what,
                             (int)scheme_size, url, known);
    }
    /* What may hold a password is not repeated. */
    bool secret = strchr(url, '@') != NULL;
    return grv_error_set(error, GRV_INVALID_ARGUMENT, "store", "%s \"%.*s%s\": use %s", what,
                         secret ? (int)scheme_size : 200, url, secret ? ":..." : "", known);
}

static grv_status copy_path(const char *what, const char *path, size_t size,
                            char ret_path[GRV_PLACE_PATH_SIZE], grv_error *error)
{
    if (size == 0 || size >= GRV_PLACE_PATH_SIZE) {
        return grv_error_set(error, GRV_INVALID_ARGUMENT, "store",
                             "%s: a path of %zu bytes, want 1 to %u", what, size,
                             GRV_PLACE_PATH_SIZE - 1);
    }
    memcpy(ret_path, path, size);
    ret_path[size] = '\0';
    return GRV_OK;
}

/* fs:DIR[?prefix=P] */
static grv_status parse_fs(const char *rest, grv_place *place, grv_error *error)
{
    const char *query = strchr(rest, '?');
    size_t size = query ? (size_t)(query - rest) : strlen(rest);
    place->blocks = GRV_BLOCKS_FS;
    if (query) {
        static const char name[] = "prefix=";
        const char *value = query + 1;
        if (strncmp(value, name, sizeof name - 1) != 0) {
            return grv_error_set(error, GRV_INVALID_ARGUMENT, "store",
                                 "fs: takes ?prefix=PATH, not \"%.100s\"", query);
        }
        value += sizeof name - 1;
        if (!*value || strlen(value) >= sizeof place->blocks_prefix) {
            return grv_error_set(error, GRV_INVALID_ARGUMENT, "store",
                                 "fs: a prefix of %zu bytes, want 1 to %zu", strlen(value),
                                 sizeof place->blocks_prefix - 1);
        }
        memcpy(place->blocks_prefix, value, strlen(value) + 1);
    }
    return copy_path("--blocks fs:", rest, size, place->blocks_path, error);
}

/* One KEY=VALUE of a bucket's address. */
static grv_status parse_s3_word(const char *word, size_t size, grv_place_s3 *s3, grv_error *error)
{
    const struct {
        const char *name;
        char *text;
        size_t size;
    } texts[] = {
        {"endpoint=", s3->endpoint, sizeof s3->endpoint},
        {"region=", s3->region, sizeof s3->region},
    };
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        size_t name = strlen(texts[i].name);
        if (size > name && strncmp(word, texts[i].name, name) == 0 && size - name < texts[i].size) {
            memcpy(texts[i].text, word + name, size - name);
            texts[i].text[size - name] = '\0';
            return GRV_OK;
        }
    }
    if (size == 10 && strncmp(word, "style=path", size) == 0) {
        s3->style = GRV_S3_STYLE_PATH;
        return GRV_OK;
    }
    if (size == 13 && strncmp(word, "style=virtual", size) == 0) {
        s3->style = GRV_S3_STYLE_VIRTUAL;
        return GRV_OK;
    }
    static const char connections[] = "connections=";
    if (size > sizeof connections - 1 && strncmp(word, connections, sizeof connections - 1) == 0) {
        unsigned number = 0;
        const char *digit = word + sizeof connections - 1;
        while (digit < word + size && *digit >= '0' && *digit <= '9' &&
               number <= GRV_S3_CONNECTIONS_MAX) {
            number = number * 10 + (unsigned)(*digit++ - '0');
        }
        if (digit == word + size && number > 0 && number <= GRV_S3_CONNECTIONS_MAX) {
            s3->connections = number;
            return GRV_OK;
        }
    }
    /* Its value may be a secret that has no place here. */
    size_t name_size = strcspn(word, "=&");
    name_size = name_size < 100 ? name_size : 100;
    return grv_error_set(error, GRV_INVALID_ARGUMENT, "store",
                         "s3: takes endpoint=URL, region=NAME, style=path or style=virtual, and "
                         "connections=1 to %u, not \"%.*s\"",
                         GRV_S3_CONNECTIONS_MAX, (int)name_size, word);
}

/* s3://BUCKET[/PREFIX][?KEY=VALUE[&KEY=VALUE]...] */
static grv_status parse_s3(const char *rest, grv_place *place, grv_error *error)
{
    size_t size = strcspn(rest, "?");
    const char *query = rest[size] ? rest + size + 1 : NULL;
    place->blocks = GRV_BLOCKS_S3;
    size_t slashes = strncmp(rest, "//", 2) == 0 ? 2 : 0;
    const char *bucket = rest + slashes;
    size_t bucket_size = strcspn(bucket, "/?");
    if (!slashes || bucket_size == 0 || bucket_size >= sizeof place->s3.bucket) {
        return grv_error_set(error, GRV_INVALID_ARGUMENT, "store",
                             "blocks \"s3:%.200s\": use s3://BUCKET or s3://BUCKET/PREFIX", rest);
    }
    memcpy(place->s3.bucket, bucket, bucket_size);
    place->s3.bucket[bucket_size] = '\0';
    const char *prefix = bucket + bucket_size + (bucket[bucket_size] == '/');
    size_t prefix_size = (size_t)(rest + size - prefix);
    /* A slash at the end is how people write folders. */
    prefix_size -= prefix_size > 0 && prefix[prefix_size - 1] == '/';
    if (prefix_size >= sizeof place->blocks_prefix) {
        return grv_error_set(error, GRV_INVALID_ARGUMENT, "store",
                             "s3: a prefix of %zu bytes, at most %zu", prefix_size,
                             sizeof place->blocks_prefix - 1);
    }
    memcpy(place->blocks_prefix, prefix, prefix_size);
    place->blocks_prefix[prefix_size] = '\0';
    while (query) {
        size_t word = strcspn(query, "&");
        grv_status status = parse_s3_word(query, word, &place->s3, error);
        if (status) {
            return status;
        }
        query = query[word] ? query + word + 1 : NULL;
    }
    int length =
        snprintf(place->blocks_path, sizeof place->blocks_path, "s3:%.*s", (int)size, rest);
    return length > 0 && (size_t)length < sizeof place->blocks_path
               ? GRV_OK
               : grv_error_set(error, GRV_INVALID_ARGUMENT, "store", "s3: the address is too long");
}

static grv_status parse_blocks(const char *url, grv_place *place, grv_error *error)
{
    size_t scheme;
    const char *rest = split_scheme(url, &scheme);
    if (scheme_is(url, scheme, "fs")) {
        return parse_fs(rest, place, error);
    }
    if (scheme_is(url, scheme, "s3")) {
        return parse_s3(rest, place, error);
    }
    if (scheme_is(url, scheme, "kv") && !*rest) {
        place->blocks = GRV_BLOCKS_KV;
        return GRV_OK;
    }
    if (scheme_is(url, scheme, "memory") && !*rest) {
        place->blocks = GRV_BLOCKS_MEMORY;
        return GRV_OK;
    }
    return url_refuse("blocks", url, scheme, "fs:DIR, s3://BUCKET/PREFIX, kv: or memory:", error);
}

/* rocks:DIR[?reserve=SIZE] */
static grv_status parse_rocks(const char *rest, grv_place *place, grv_error *error)
{
    const char *query = strchr(rest, '?');
    size_t size = query ? (size_t)(query - rest) : strlen(rest);
    place->meta = GRV_META_ROCKS;
    if (query) {
        static const char name[] = "reserve=";
        if (strncmp(query + 1, name, sizeof name - 1) != 0) {
            return grv_error_set(error, GRV_INVALID_ARGUMENT, "store",
                                 "rocks: takes ?reserve=SIZE, not \"%.100s\"", query);
        }
        grv_status status = grv_size_parse(query + sizeof name, "reserve", GRV_PLACE_RESERVE_MAX,
                                           &place->reserve_bytes, error);
        if (status) {
            return status;
        }
        place->has_reserve = true;
    }
    return copy_path("--meta rocks:", rest, size, place->meta_path, error);
}

static bool is_postgresql(const char *url)
{
    size_t scheme;
    const char *rest = split_scheme(url, &scheme);
    return (scheme_is(url, scheme, "postgresql") || scheme_is(url, scheme, "postgres")) &&
           strncmp(rest, "//", 2) == 0;
}

/* scala:postgresql://HOST/DATABASE */
static grv_status parse_scala(const char *rest, grv_place *place, grv_error *error)
{
    if (!is_postgresql(rest)) {
        return grv_error_set(error, GRV_INVALID_ARGUMENT, "store",
                             "meta scala: wants scala:postgresql://HOST/DATABASE");
    }
    place->meta = GRV_META_SCALA;
    return copy_path("--meta scala:", rest, strlen(rest), place->meta_path, error);
}

static grv_status parse_meta(const char *url, grv_place *place, grv_error *error)
{
    size_t scheme;
    const char *rest = split_scheme(url, &scheme);
    if (scheme_is(url, scheme, "rocks")) {
        return parse_rocks(rest, place, error);
    }
    if (scheme_is(url, scheme, "memory") && !*rest) {
        place->meta = GRV_META_MEMORY;
        return GRV_OK;
    }
    if (scheme_is(url, scheme, "scala")) {
        return parse_scala(rest, place, error);
    }
    if (is_postgresql(url)) {
        place->meta = GRV_META_PG;
        return copy_path("--meta postgresql:", url, strlen(url), place->meta_path, error);
    }
    return url_refuse("meta", url, scheme,
                      "rocks:DIR, postgresql://HOST/DATABASE or memory:", error);
}

/* A server, or a directory: files in it, RocksDB in its "meta". */
static grv_status parse_directory(const char *directory, grv_place *place, grv_error *error)
{
    size_t scheme;
    const char *rest = split_scheme(directory, &scheme);
    if (scheme_is(directory, scheme, "memory") && !*rest) {
        place->blocks = GRV_BLOCKS_MEMORY;
        place->meta = GRV_META_MEMORY;
        return GRV_OK;
    }
    if (scheme_is(directory, scheme, "s3")) {
        return grv_error_set(error, GRV_INVALID_ARGUMENT, "store",
                             "store \"%.200s\": a bucket is one half of a store; name it with "
                             "--blocks, and its metadata with --meta",
                             directory);
    }
    if (scheme_is(directory, scheme, "http") || scheme_is(directory, scheme, "https")) {
        place->blocks = GRV_BLOCKS_REMOTE;
        place->meta = GRV_META_REMOTE;
        return copy_path("store", directory, strlen(directory), place->blocks_path, error);
    }
    if (scheme > 0 && scheme_is_planned(directory, scheme)) {
        return url_refuse("store", directory, scheme,
                          "a directory, http(s)://HOST or memory:", error);
    }
    place->blocks = GRV_BLOCKS_FS;
    place->meta = GRV_META_ROCKS;
    grv_status status = copy_path("store", directory, strlen(directory), place->blocks_path, error);
    if (status) {
        return status;
    }
    int size = snprintf(place->meta_path, sizeof place->meta_path, "%s/meta", directory);
    if (size < 0 || (size_t)size >= sizeof place->meta_path) {
        return grv_error_set(error, GRV_INVALID_ARGUMENT, "store",
                             "store: the path is too long: %.200s…", directory);
    }
    return GRV_OK;
}

/* DIR[?size=SIZE] or memory:[?size=SIZE] */
static grv_status parse_cache(const char *text, grv_place *place, grv_error *error)
{
    static const char name[] = "size=";
    const char *query = strchr(text, '?');
    size_t size = query ? (size_t)(query - text) : strlen(text);
    size_t scheme;
    (void)split_scheme(text, &scheme);
    place->cache_in_memory = scheme_is(text, scheme, "memory");
    place->cache_bytes = place->cache_in_memory ? GRV_PLACE_MEMORY_CACHE : 0;
    if (place->cache_in_memory && size != scheme + 1) {
        return grv_error_set(error, GRV_INVALID_ARGUMENT, "store",
                             "--cache memory: has no path; a directory of that name is ./%.100s",
                             text);
    }
    if (query && strncmp(query + 1, name, sizeof name - 1) != 0) {
        return grv_error_set(error, GRV_INVALID_ARGUMENT, "store",
                             "--cache takes DIR?size=SIZE or memory:?size=SIZE, not \"%.100s\"",
                             query);
    }
    if (query) {
        grv_status status = grv_size_parse(query + sizeof name, "the cache's size",
                                           GRV_CACHE_SIZE_MAX, &place->cache_bytes, error);
        if (status) {
            return status;
        }
        if (place->cache_bytes < GRV_CACHE_SIZE_MIN) {
            return grv_error_set(error, GRV_INVALID_ARGUMENT, "store",
                                 "a cache has at least 1M, not \"%.100s\"", query + sizeof name);
        }
    }
    return place->cache_in_memory ? GRV_OK
                                  : copy_path("--cache", text, size, place->cache_path, error);
}

static grv_status parse_halves(const grv_store_config *config, grv_place *ret_place,
                               grv_error *error)
{
    if (config->directory) {
        if (config->blocks || config->meta) {
            return grv_error_set(error, GRV_INVALID_ARGUMENT, "store",
                                 "name a store, or its blocks and meta, not both");
        }
        return parse_directory(config->directory, ret_place, error);
    }
    if (!config->blocks || !config->meta) {
        return grv_error_set(error, GRV_INVALID_ARGUMENT, "store",
                             "a store needs both its blocks and its meta: %s is not given",
                             config->blocks ? "meta" : "blocks");
    }
    grv_status status = parse_blocks(config->blocks, ret_place, error);
    if (!status) {
        status = parse_meta(config->meta, ret_place, error);
    }
    if (status) {
        return status;
    }
    if (ret_place->meta == GRV_META_SCALA && ret_place->blocks != GRV_BLOCKS_FS &&
        ret_place->blocks != GRV_BLOCKS_S3) {
        return grv_error_set(error, GRV_INVALID_ARGUMENT, "store",
                             "meta scala: wants the blocks of the Scala system, fs:DIR or "
                             "s3://BUCKET/PREFIX");
    }
    /* The half that stays would be of no use: names of bytes that are gone, or bytes without names,
     * which no store could be opened on again. */
    bool blocks_stay = ret_place->blocks == GRV_BLOCKS_FS || ret_place->blocks == GRV_BLOCKS_S3 ||
                       (ret_place->blocks == GRV_BLOCKS_KV && ret_place->meta != GRV_META_MEMORY);
    if (blocks_stay != (ret_place->meta != GRV_META_MEMORY)) {
        return grv_error_set(error, GRV_INVALID_ARGUMENT, "store",
                             "blocks %s: and meta %s: one half would be lost when the other "
                             "stays; use memory: for both or for none",
                             grv_blocks_kind_name(ret_place->blocks),
                             grv_meta_kind_name(ret_place->meta));
    }
    return GRV_OK;
}

grv_status grv_place_parse(const grv_store_config *config, grv_place *ret_place, grv_error *error)
{
    *ret_place = (grv_place){0};
    grv_status status = parse_halves(config, ret_place, error);
    if (!status && config->cache && ret_place->blocks == GRV_BLOCKS_REMOTE) {
        status = grv_error_set(error, GRV_UNSUPPORTED, "store",
                               "a cache is for blocks, and a server's blocks are not seen here: "
                               "give --cache to graviton serve");
    } else if (!status && config->cache) {
        status = parse_cache(config->cache, ret_place, error);
    }
    return status;
}
