/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Names of the object store on files: a path is cut into pieces, and each piece has exactly one
 * name, so that a name read from a directory leads back to its path. Pure: no I/O.
 *
 * A piece is cut by its count of bytes and not by the length of its name: so all paths that begin
 * with the same GRV_FS_PIECE_MAX bytes of a segment are in the same directory, which keeps the
 * order of paths.
 */
#include "backend/fs/objects.h"

#include <assert.h>
#include <string.h>

#define MARK_EMPTY   '=' /* a file of no bytes */
#define MARK_SEGMENT '+'
#define MARK_PART    '~'

grv_fs_piece grv_fs_piece_next(const char *path, size_t *at)
{
    grv_fs_piece piece = {.kind = GRV_FS_PIECE_FILE};
    const char *from = path + *at;
    size_t size = strcspn(from, "/");
    if (size >= GRV_FS_PIECE_MAX) {
        piece.kind = GRV_FS_PIECE_PART;
        size = GRV_FS_PIECE_MAX;
    } else if (from[size] == '/') {
        piece.kind = GRV_FS_PIECE_SEGMENT;
        size++;
    }
    memcpy(piece.bytes, from, size);
    piece.size = (uint8_t)size;
    *at += size;
    return piece;
}

/* A name never begins with ".": no "." or "..", and nothing that others hide in a directory. */
static bool is_plain(uint8_t byte, bool first)
{
    return (byte >= 'a' && byte <= 'z') || (byte >= 'A' && byte <= 'Z') ||
           (byte >= '0' && byte <= '9') || byte == '_' || byte == '-' || (byte == '.' && !first);
}

void grv_fs_piece_print(const grv_fs_piece *piece, char ret_name[GRV_FS_PIECE_NAME_SIZE])
{
    static const char digits[] = "0123456789ABCDEF";
    size_t size = piece->size - (piece->kind == GRV_FS_PIECE_SEGMENT ? 1u : 0u);
    size_t used = 0;
    for (size_t i = 0; i < size; i++) {
        uint8_t byte = piece->bytes[i];
        if (is_plain(byte, i == 0)) {
            ret_name[used++] = (char)byte;
        } else {
            ret_name[used++] = '%';
            ret_name[used++] = digits[byte >> 4];
            ret_name[used++] = digits[byte & 15];
        }
    }
    if (piece->kind == GRV_FS_PIECE_SEGMENT) {
        ret_name[used++] = MARK_SEGMENT;
    } else if (piece->kind == GRV_FS_PIECE_PART) {
        ret_name[used++] = MARK_PART;
    } else if (size == 0) {
        ret_name[used++] = MARK_EMPTY;
    }
    assert(used < GRV_FS_PIECE_NAME_SIZE);
    ret_name[used] = '\0';
}

static int digit_value(char c)
{
    if (c >= '0' && c <= '9') {
        return c - '0';
    }
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* Decodes `size` characters; false where they are no piece's or too many. */
static bool decode(const char *name, size_t size, grv_fs_piece *piece)
{
    for (size_t i = 0; i < size; i++) {
        if (piece->size == GRV_FS_PIECE_MAX) {
            return false;
        }
        uint8_t byte = (uint8_t)name[i];
        if (byte == '%') {
            int high = size - i > 2 ? digit_value(name[i + 1]) : -1;
            int low = high < 0 ? -1 : digit_value(name[i + 2]);
            if (low < 0) {
                return false;
            }
            byte = (uint8_t)(high << 4 | low);
            i += 2;
        }
        if (byte == '\0' || byte == '/') {
            return false;
        }
        piece->bytes[piece->size++] = byte;
    }
    return true;
}

bool grv_fs_piece_parse(const char *name, grv_fs_piece *ret_piece)
{
    size_t size = strlen(name);
    if (size == 0) {
        return false;
    }
    grv_fs_piece piece = {.kind = GRV_FS_PIECE_FILE};
    char mark = name[size - 1];
    if (mark == MARK_SEGMENT || mark == MARK_PART) {
        piece.kind = mark == MARK_PART ? GRV_FS_PIECE_PART : GRV_FS_PIECE_SEGMENT;
        size--;
    } else if (mark == MARK_EMPTY) {
        size--;
    }
    if (!decode(name, size, &piece)) {
        return false;
    }
    if (piece.kind == GRV_FS_PIECE_PART ? piece.size != GRV_FS_PIECE_MAX
                                        : piece.size == GRV_FS_PIECE_MAX) {
        return false;
    }
    if (piece.kind == GRV_FS_PIECE_SEGMENT) {
        piece.bytes[piece.size++] = '/';
    }
    char only[GRV_FS_PIECE_NAME_SIZE]; /* whatever else reads as these bytes is not their name */
    grv_fs_piece_print(&piece, only);
    if (strcmp(only, name) != 0) {
        return false;
    }
    *ret_piece = piece;
    return true;
}
