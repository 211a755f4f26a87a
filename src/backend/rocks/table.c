/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A look at tables before RocksDB sees them. RocksDB (7.8) reads a table's properties before it
 * looks at their checksum. One bit there says that a hash index follows, which properties never
 * have; where damage sets it, an assertion of Debian's build ends the process. So that bit is
 * looked up here, and nothing is told that RocksDB tells itself: a table need not be whole, as a
 * crash leaves some that the database does not name.
 *
 * A table ends with a footer: checksum kind, where the meta index lies (offset and size, both
 * varint), where the index lies, padding, version, magic. The meta index is a block of entries:
 * three varints (bytes shared with the key before, other bytes of the key, bytes of the value),
 * the key, the value; the value is where the thing of that name lies.
 *
 * A file of large values begins with a header. Where its compression is not that of the values'
 * keys, RocksDB has nothing to read when it is asked for values together, and asserts that it has.
 * Ours are never compressed.
 */
#include "backend/rocks/handle.h"
#include "os/file.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#define FOOTER_SIZE  53u
#define FOOTER_MAGIC UINT64_C(0x88e241b785f4cff7)
/* What a meta index takes is a few hundred bytes. */
#define META_INDEX_MAX 4096u
/* The last word of a block: how many restart points it has, and whether a hash index. */
#define BLOCK_END_SIZE 4u
#define HASH_INDEX_BIT 0x80u /* in its last byte */

/* Of a file of large values: where its header has the compression, 0 for none. */
#define VALUES_MAGIC       UINT32_C(2395959)
#define VALUES_HEADER_SIZE 30u
#define VALUES_COMPRESSION 13u

static const char properties_name[] = "rocksdb.properties";

typedef struct table_reader {
    const uint8_t *at;
    const uint8_t *end;
    bool failed;
} table_reader;

static uint64_t read_varint(table_reader *reader)
{
    uint64_t value = 0;
    for (unsigned shift = 0; shift < 64; shift += 7) {
        if (reader->at == reader->end) {
            break;
        }
        uint8_t byte = *reader->at++;
        value |= (uint64_t)(byte & 0x7f) << shift;
        if (!(byte & 0x80)) {
            return value;
        }
    }
    reader->failed = true;
    return 0;
}

static const uint8_t *read_bytes(table_reader *reader, uint64_t size)
{
    const uint8_t *bytes = reader->at;
    if (reader->failed || size > (uint64_t)(reader->end - reader->at)) {
        reader->failed = true;
        return NULL;
    }
    reader->at += size;
    return bytes;
}

/* Where a part of a table lies. */
typedef struct table_part {
    uint64_t offset;
    uint64_t size;
} table_part;

static bool read_part(table_reader *reader, uint64_t table_size, table_part *ret_part)
{
    ret_part->offset = read_varint(reader);
    ret_part->size = read_varint(reader);
    return !reader->failed && ret_part->offset <= table_size &&
           ret_part->size <= table_size - ret_part->offset && ret_part->size >= BLOCK_END_SIZE;
}

/* Reads all of the span; false where that fails for whatever reason. */
static bool read_at(int fd, grv_span span, uint64_t offset)
{
    while (span.size > 0) {
        ssize_t got = grv_file_calls()->pread(fd, span.data, span.size, (off_t)offset);
        if (got < 0 && errno == EINTR) {
            continue;
        }
        if (got <= 0) {
            return false;
        }
        span.data += got;
        span.size -= (size_t)got;
        offset += (uint64_t)got;
    }
    return true;
}

static bool find_meta_index(int fd, uint64_t table_size, table_part *ret_part)
{
    uint8_t footer[FOOTER_SIZE];
    if (table_size < sizeof footer ||
        !read_at(fd, (grv_span){footer, sizeof footer}, table_size - sizeof footer)) {
        return false;
    }
    uint64_t magic = 0;
    for (unsigned i = 0; i < 8; i++) {
        magic |= (uint64_t)footer[FOOTER_SIZE - 8 + i] << 8 * i;
    }
    table_reader reader = {footer + 1, footer + FOOTER_SIZE - 12, false};
    return magic == FOOTER_MAGIC && read_part(&reader, table_size, ret_part) &&
           ret_part->size <= META_INDEX_MAX;
}

/* Where the properties lie, by the meta index; its keys share nothing with one another. */
static bool find_properties(const uint8_t *index, size_t size, uint64_t table_size,
                            table_part *ret_part)
{
    table_reader reader = {index, index + size - BLOCK_END_SIZE, false};
    while (!reader.failed && reader.at < reader.end) {
        uint64_t shared = read_varint(&reader);
        uint64_t key_size = read_varint(&reader);
        uint64_t value_size = read_varint(&reader);
        const uint8_t *key = read_bytes(&reader, key_size);
        const uint8_t *value = read_bytes(&reader, value_size);
        if (reader.failed || shared > 0) {
            return false;
        }
        if (key_size == sizeof properties_name - 1 &&
            memcmp(key, properties_name, sizeof properties_name - 1) == 0) {
            table_reader part = {value, value + value_size, false};
            return read_part(&part, table_size, ret_part);
        }
    }
    return false;
}

static bool values_would_abort(int fd)
{
    uint8_t header[VALUES_HEADER_SIZE];
    if (!read_at(fd, (grv_span){header, sizeof header}, 0)) {
        return false;
    }
    uint32_t magic = (uint32_t)header[0] | (uint32_t)header[1] << 8 | (uint32_t)header[2] << 16 |
                     (uint32_t)header[3] << 24;
    return magic == VALUES_MAGIC && header[VALUES_COMPRESSION] != 0;
}

static bool table_would_abort(int fd, uint64_t table_size)
{
    uint8_t index[META_INDEX_MAX];
    uint8_t last[BLOCK_END_SIZE];
    table_part part;
    return find_meta_index(fd, table_size, &part) &&
           read_at(fd, (grv_span){index, part.size}, part.offset) &&
           find_properties(index, part.size, table_size, &part) &&
           read_at(fd, (grv_span){last, sizeof last}, part.offset + part.size - sizeof last) &&
           (last[BLOCK_END_SIZE - 1] & HASH_INDEX_BIT);
}

static bool has_suffix(const char *name, const char *suffix)
{
    size_t size = strlen(name);
    size_t need = strlen(suffix);
    return size > need && strcmp(name + size - need, suffix) == 0;
}

static grv_status check_file(int dir, const char *directory, const char *name, grv_error *error)
{
    int fd = -1;
    grv_status status = grv_file_open(dir, name, O_RDONLY | O_NOFOLLOW, 0, &fd, error);
    if (status) {
        return status;
    }
    struct stat info;
    bool table = has_suffix(name, ".sst");
    bool bad = table ? fstat(fd, &info) == 0 && info.st_size > 0 &&
                           table_would_abort(fd, (uint64_t)info.st_size)
                     : values_would_abort(fd);
    status = grv_file_close(fd, name, error);
    if (status || !bad) {
        return status;
    }
    return grv_error_set(
        error, GRV_CORRUPT, "rocks", "the database's file %s/%s is damaged: %s", directory, name,
        table ? "its properties have a hash index" : "it says that values are compressed");
}

grv_status grv_rocks_check_tables(int dir, const char *directory, grv_error *error)
{
    DIR *entries = NULL;
    grv_status status = grv_directory_entries(dir, directory, &entries, error);
    const char *name = NULL;
    while (!status) {
        status = grv_directory_next(entries, directory, &name, error);
        if (status || !name) {
            break;
        }
        if (has_suffix(name, ".sst") || has_suffix(name, ".blob")) {
            status = check_file(dir, directory, name, error);
        }
    }
    grv_directory_close(entries);
    return status;
}
