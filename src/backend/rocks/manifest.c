/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A look at the end of RocksDB's own manifest, the list of its files. RocksDB takes a last record
 * that is longer than the file for one that a crash has cut short, and leaves it out with all
 * behind it. Where its length is damaged instead, tables and what is in them are missed without a
 * word. The two are told apart by the record's checksum: after a crash there is no length at which
 * it agrees.
 *
 * The manifest is a row of blocks of 32 KiB. A block is a row of records: checksum of type and data
 * (4 bytes, CRC-32C, masked), length of the data (2), type (1), data; less than 7 bytes at a
 * block's end are padding. RocksDB tells of damage in all blocks but the last.
 */
#include "backend/rocks/handle.h"
#include "os/file.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#define BLOCK_SIZE    32768u
#define HEADER_SIZE   7u
#define NAME_MAX_SIZE 64u
#define CRC_MASK      UINT32_C(0xa282ead8)

static uint32_t crc_add(uint32_t crc, uint8_t byte)
{
    crc ^= byte;
    for (unsigned bit = 0; bit < 8; bit++) {
        crc = crc >> 1 ^ (crc & 1 ? UINT32_C(0x82f63b78) : 0);
    }
    return crc;
}

/* Whether the record would check at some length that fits. */
static bool fits_shorter(const uint8_t *record, size_t size)
{
    uint32_t stored = (uint32_t)record[0] | (uint32_t)record[1] << 8 | (uint32_t)record[2] << 16 |
                      (uint32_t)record[3] << 24;
    uint32_t rotated = stored - CRC_MASK;
    uint32_t want = rotated >> 17 | rotated << 15;
    uint32_t crc = crc_add(UINT32_MAX, record[6]);
    for (size_t i = HEADER_SIZE; i <= size; i++) {
        if (~crc == want) {
            return true;
        }
        if (i < size) {
            crc = crc_add(crc, record[i]);
        }
    }
    return false;
}

static bool length_is_damaged(const uint8_t *block, size_t size)
{
    for (size_t at = 0; size - at >= HEADER_SIZE;) {
        size_t length = block[at + 4] | (size_t)block[at + 5] << 8;
        if (length > size - at - HEADER_SIZE) {
            return fits_shorter(block + at, size - at);
        }
        at += HEADER_SIZE + length;
    }
    return false;
}

/* As grv_file_read_all, from an offset. */
static grv_status read_from(int fd, uint64_t offset, grv_span span, size_t *ret_size,
                            const char *name, grv_error *error)
{
    *ret_size = 0;
    while (*ret_size < span.size) {
        ssize_t got = grv_file_calls()->pread(fd, span.data + *ret_size, span.size - *ret_size,
                                              (off_t)(offset + *ret_size));
        if (got < 0 && errno != EINTR) {
            return grv_error_set_errno(error, errno, "rocks", "cannot read %s", name);
        }
        if (got == 0) {
            break;
        }
        *ret_size += got > 0 ? (size_t)got : 0;
    }
    return GRV_OK;
}

static grv_status check_manifest(int dir, const char *directory, const char *name, grv_error *error)
{
    int fd = -1;
    grv_status status = grv_file_open(dir, name, O_RDONLY | O_NOFOLLOW, 0, &fd, error);
    if (status) {
        return status == GRV_NOT_FOUND ? GRV_OK : status; /* RocksDB will tell */
    }
    struct stat info = {0};
    uint8_t block[BLOCK_SIZE];
    size_t size = 0;
    if (fstat(fd, &info) == 0 && info.st_size > 0) {
        uint64_t last = ((uint64_t)info.st_size - 1) / BLOCK_SIZE * BLOCK_SIZE;
        status = read_from(fd, last, (grv_span){block, sizeof block}, &size, name, error);
    }
    grv_status closed = grv_file_close(fd, name, status ? NULL : error);
    if (status || closed) {
        return status ? status : closed;
    }
    if (length_is_damaged(block, size)) {
        return grv_error_set(error, GRV_CORRUPT, "rocks",
                             "the database's manifest %s/%s is damaged: a record's length",
                             directory, name);
    }
    return GRV_OK;
}

grv_status grv_rocks_check_manifest(int dir, const char *directory, grv_error *error)
{
    int fd = -1;
    grv_status status = grv_file_open(dir, "CURRENT", O_RDONLY | O_NOFOLLOW, 0, &fd, error);
    if (status) {
        return status == GRV_NOT_FOUND ? GRV_OK : status;
    }
    char name[NAME_MAX_SIZE];
    size_t size = 0;
    status =
        read_from(fd, 0, (grv_span){(uint8_t *)name, sizeof name - 1}, &size, "CURRENT", error);
    grv_status closed = grv_file_close(fd, "CURRENT", status ? NULL : error);
    if (status || closed) {
        return status ? status : closed;
    }
    /* What is no manifest's name is RocksDB's to tell. */
    name[size] = '\0';
    name[strcspn(name, "\n/")] = '\0';
    return strncmp(name, "MANIFEST-", 9) == 0 ? check_manifest(dir, directory, name, error)
                                              : GRV_OK;
}
