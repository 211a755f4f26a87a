/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Lists of the object store on files: a walk down the tree that keeps one level a directory on the
 * way to where it is. A directory comes in no order and may have any number of entries, so a level
 * keeps the smallest pieces past its place, up to a window of them, and reads the directory again
 * for the next window. Only the last level's directory is open: a tree may be deeper than a process
 * may have files.
 */
#include "backend/fs/objects.h"
#include "os/file.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#define ORIGIN GRV_FS_OBJECTS_ORIGIN

/* Pieces that a level keeps, near the bucket and far down: a thousand levels stay small. */
#define WINDOW_NEAR 1024u
#define WINDOW_FAR  32u
#define LEVELS_NEAR 16u
/* Most entries of one call: their paths are kept until the next. */
#define CURSOR_BATCH 64u
/* Names between two questions whether the call goes on. */
#define CHECK_EVERY 1024u

typedef struct list_level {
    size_t path_size; /* bytes of the cursor's path that lead here */
    bool loaded;
    bool overflowed;      /* the directory has pieces past the window */
    bool has_last;        /* `last` is set: all up to it are done */
    grv_fs_piece last;    /* the greatest piece of the window before */
    grv_fs_piece *pieces; /* while loading a heap with the greatest first, then sorted */
    size_t count;
    size_t capacity;
    size_t next;
} list_level;

typedef struct fs_cursor {
    grv_object_cursor base;
    grv_fs_objects_bucket *bucket;
    size_t prefix_size;
    size_t after_size;
    uint8_t prefix[GRV_LOCATOR_PATH_MAX];
    uint8_t after[GRV_LOCATOR_PATH_MAX];
    int fd; /* the last level's directory, -1 where it is not open */
    uint8_t path[GRV_LOCATOR_PATH_MAX + GRV_FS_PIECE_MAX];
    list_level *levels; /* from the bucket's directory down; empty: the list has ended */
    size_t level_count;
    size_t level_capacity;
    char paths[CURSOR_BATCH][GRV_LOCATOR_PATH_MAX + 1];
} fs_cursor;

/* ---- pieces ---- */

static int pieces_compare(const void *a, const void *b)
{
    const grv_fs_piece *left = a;
    const grv_fs_piece *right = b;
    return grv_bytes_compare(grv_bytes_of(left->bytes, left->size),
                             grv_bytes_of(right->bytes, right->size));
}

static void pieces_swap(grv_fs_piece *a, grv_fs_piece *b)
{
    grv_fs_piece kept = *a;
    *a = *b;
    *b = kept;
}

static void heap_up(grv_fs_piece pieces[], size_t at)
{
    while (at > 0 && pieces_compare(&pieces[(at - 1) / 2], &pieces[at]) < 0) {
        pieces_swap(&pieces[(at - 1) / 2], &pieces[at]);
        at = (at - 1) / 2;
    }
}

static void heap_down(grv_fs_piece pieces[], size_t count)
{
    size_t at = 0;
    for (;;) {
        size_t child = 2 * at + 1;
        if (child >= count) {
            return;
        }
        if (child + 1 < count && pieces_compare(&pieces[child], &pieces[child + 1]) < 0) {
            child++;
        }
        if (pieces_compare(&pieces[at], &pieces[child]) >= 0) {
            return;
        }
        pieces_swap(&pieces[at], &pieces[child]);
        at = child;
    }
}

/* ---- levels ---- */

static list_level *cursor_top(const fs_cursor *cursor)
{
    assert(cursor->level_count > 0);
    return &cursor->levels[cursor->level_count - 1];
}

static void cursor_close(fs_cursor *cursor)
{
    if (cursor->fd >= 0 && cursor->fd != cursor->bucket->fd) {
        (void)grv_file_close(cursor->fd, "of a list", NULL); /* it was open to read */
    }
    cursor->fd = -1;
}

/* Opens the last level's directory, from the bucket's down; it stays closed where it is gone. */
static grv_status cursor_open(fs_cursor *cursor, grv_error *error)
{
    if (cursor->fd >= 0) {
        return GRV_OK;
    }
    char path[GRV_LOCATOR_PATH_MAX + 1];
    size_t size = cursor_top(cursor)->path_size;
    size_t at = 0;
    int fd = cursor->bucket->fd;
    memcpy(path, cursor->path, size);
    path[size] = '\0';
    while (fd >= 0 && at < size) {
        char name[GRV_FS_PIECE_NAME_SIZE];
        grv_fs_piece piece = grv_fs_piece_next(path, &at);
        grv_fs_piece_print(&piece, name);
        int next = -1;
        grv_status status = grv_fs_objects_open_directory(fd, name, &next, error);
        cursor->fd = fd;
        cursor_close(cursor);
        if (status) {
            return status;
        }
        fd = next;
    }
    cursor->fd = fd;
    return GRV_OK;
}

static grv_status level_push(fs_cursor *cursor, size_t path_size, grv_error *error)
{
    if (cursor->level_count == cursor->level_capacity) {
        size_t capacity = cursor->level_capacity ? 2 * cursor->level_capacity : 8;
        list_level *levels = reallocarray(cursor->levels, capacity, sizeof *levels);
        if (!levels) {
            return grv_error_set(error, GRV_LIMIT_EXCEEDED, ORIGIN, "no memory for a list");
        }
        cursor->levels = levels;
        cursor->level_capacity = capacity;
    }
    cursor_close(cursor);
    cursor->levels[cursor->level_count++] = (list_level){.path_size = path_size};
    return GRV_OK;
}

static void level_pop(fs_cursor *cursor)
{
    cursor_close(cursor);
    free(cursor_top(cursor)->pieces);
    cursor->level_count--;
}

/* True where `bytes` begin with `start`. */
static bool begins(const uint8_t *bytes, size_t size, const uint8_t *start, size_t start_size)
{
    return start_size <= size && (start_size == 0 || memcmp(bytes, start, start_size) == 0);
}

/* True where a piece of the last level is, or may lead to, something that the list still shows. */
static bool piece_is_wanted(fs_cursor *cursor, const grv_fs_piece *piece)
{
    const list_level *level = cursor_top(cursor);
    size_t size = level->path_size + piece->size;
    bool leads = piece->kind != GRV_FS_PIECE_FILE;
    if (size > GRV_LOCATOR_PATH_MAX || size == 0 ||
        (level->has_last && pieces_compare(piece, &level->last) <= 0)) {
        return false;
    }
    memcpy(cursor->path + level->path_size, piece->bytes, piece->size);
    const uint8_t *path = cursor->path;
    if (!begins(path, size, cursor->prefix, cursor->prefix_size) &&
        !(leads && begins(cursor->prefix, cursor->prefix_size, path, size))) {
        return false;
    }
    grv_bytes after = grv_bytes_of(cursor->after, cursor->after_size);
    return grv_bytes_compare(grv_bytes_of(path, size), after) > 0 ||
           (leads && begins(cursor->after, cursor->after_size, path, size));
}

static grv_status level_keep(list_level *level, size_t window, const grv_fs_piece *piece,
                             grv_error *error)
{
    if (level->count == window) {
        level->overflowed = true;
        if (pieces_compare(piece, &level->pieces[0]) < 0) {
            level->pieces[0] = *piece;
            heap_down(level->pieces, level->count);
        }
        return GRV_OK;
    }
    if (level->count == level->capacity) {
        size_t capacity = level->capacity ? 2 * level->capacity : 16;
        grv_fs_piece *pieces = reallocarray(level->pieces, capacity, sizeof *pieces);
        if (!pieces) {
            return grv_error_set(error, GRV_LIMIT_EXCEEDED, ORIGIN, "no memory for a list");
        }
        level->pieces = pieces;
        level->capacity = capacity;
    }
    level->pieces[level->count] = *piece;
    heap_up(level->pieces, level->count++);
    return GRV_OK;
}

static grv_status level_scan(const grv_call *call, fs_cursor *cursor, DIR *entries,
                             grv_error *error)
{
    list_level *level = cursor_top(cursor);
    size_t window = cursor->level_count <= LEVELS_NEAR ? WINDOW_NEAR : WINDOW_FAR;
    for (size_t seen = 0;; seen++) {
        const char *name;
        grv_fs_piece piece;
        grv_status status = seen % CHECK_EVERY == 0 ? grv_call_check(call, ORIGIN, error) : GRV_OK;
        if (!status) {
            status = grv_directory_next(entries, "of a list", &name, error);
        }
        if (status || !name) {
            return status;
        }
        if (grv_fs_piece_parse(name, &piece) && piece_is_wanted(cursor, &piece)) {
            status = level_keep(level, window, &piece, error);
            if (status) {
                return status;
            }
        }
    }
}

/* Reads the last level's next window. A name that a changing directory shows twice is kept once. */
static grv_status level_load(const grv_call *call, fs_cursor *cursor, grv_error *error)
{
    list_level *level = cursor_top(cursor);
    level->count = 0;
    level->next = 0;
    level->loaded = false;
    level->overflowed = false;
    grv_status status = cursor_open(cursor, error);
    DIR *entries = NULL;
    if (!status && cursor->fd >= 0) {
        status = grv_directory_entries(cursor->fd, "of a list", &entries, error);
        if (!status) {
            status = level_scan(call, cursor, entries, error);
            grv_directory_close(entries);
        }
    }
    if (status) {
        level->count = 0;
        return status;
    }
    if (level->count > 0) {
        qsort(level->pieces, level->count, sizeof *level->pieces, pieces_compare);
    }
    size_t kept = 0;
    for (size_t i = 0; i < level->count; i++) {
        if (kept == 0 || pieces_compare(&level->pieces[kept - 1], &level->pieces[i]) != 0) {
            level->pieces[kept++] = level->pieces[i];
        }
    }
    level->count = kept;
    level->loaded = true;
    if (kept > 0) {
        level->last = level->pieces[kept - 1];
        level->has_last = true;
    }
    return GRV_OK;
}

/* ---- the cursor ---- */

/* Shows the file of a piece, unless it is gone or no regular file. */
static grv_status show(fs_cursor *cursor, const grv_fs_piece *piece, grv_object_entry *entry,
                       char *path, bool *ret_shown, grv_error *error)
{
    grv_fs_place place = {.fd = -1, .root = -1};
    size_t size = cursor_top(cursor)->path_size;
    *ret_shown = false;
    grv_status status = cursor_open(cursor, error);
    if (status) {
        return status;
    }
    place.fd = cursor->fd;
    grv_fs_piece_print(piece, place.name);
    status = grv_fs_place_look(&place, &entry->info, ret_shown, error);
    if (!status && *ret_shown) {
        memcpy(path, cursor->path, size);
        memcpy(path + size, piece->bytes, piece->size);
        path[size + piece->size] = '\0';
        entry->path = path;
    }
    return status;
}

/* One step of the walk: loads a window, goes a level down or up, or shows an object. */
static grv_status cursor_step(const grv_call *call, fs_cursor *cursor, grv_object_entry *entry,
                              char *path, bool *ret_shown, grv_error *error)
{
    list_level *level = cursor_top(cursor);
    *ret_shown = false;
    if (level->next == level->count) {
        if (!level->loaded || level->overflowed) {
            return level_load(call, cursor, error);
        }
        level_pop(cursor);
        return GRV_OK;
    }
    const grv_fs_piece *piece = &level->pieces[level->next];
    grv_status status;
    if (piece->kind == GRV_FS_PIECE_FILE) {
        status = show(cursor, piece, entry, path, ret_shown, error);
        level->next += status ? 0 : 1;
        return status;
    }
    size_t path_size = level->path_size + piece->size;
    memcpy(cursor->path + level->path_size, piece->bytes, piece->size);
    size_t at = cursor->level_count - 1;
    status = level_push(cursor, path_size, error);
    cursor->levels[at].next += status ? 0 : 1;
    return status;
}

static grv_status fs_cursor_next(const grv_call *call, grv_object_cursor *base,
                                 grv_object_entry entries[], size_t capacity, size_t *ret_count,
                                 grv_error *error)
{
    fs_cursor *cursor = (fs_cursor *)base;
    capacity = capacity < CURSOR_BATCH ? capacity : CURSOR_BATCH;
    size_t count = 0;
    grv_status status = grv_call_check(call, ORIGIN, error);
    while (!status && count < capacity && cursor->level_count > 0) {
        bool shown = false;
        status = cursor_step(call, cursor, &entries[count], cursor->paths[count], &shown, error);
        count += shown;
    }
    if (status && count == 0) {
        return status;
    }
    *ret_count = count; /* what came before a failure; the next call meets it again */
    return GRV_OK;
}

static void fs_cursor_free(grv_object_cursor *base)
{
    fs_cursor *cursor = (fs_cursor *)base;
    cursor_close(cursor);
    while (cursor->level_count > 0) {
        level_pop(cursor);
    }
    free(cursor->levels);
    free(cursor);
}

static const grv_object_cursor_ops fs_cursor_ops = {
    .name = "fs",
    .next = fs_cursor_next,
    .free = fs_cursor_free,
};

grv_status grv_fs_objects_open_list(const grv_call *call, grv_object_store *base,
                                    const grv_object_list *list, grv_object_cursor **ret_cursor,
                                    grv_error *error)
{
    grv_fs_objects_bucket *bucket;
    grv_status status = grv_call_check(call, ORIGIN, error);
    if (!status) {
        status = grv_fs_objects_find((grv_fs_objects *)base, list->bucket, &bucket, error);
    }
    if (status) {
        return status;
    }
    fs_cursor *cursor = calloc(1, sizeof *cursor);
    if (!cursor) {
        return grv_error_set(error, GRV_LIMIT_EXCEEDED, ORIGIN, "no memory for a list");
    }
    cursor->base.ops = &fs_cursor_ops;
    cursor->bucket = bucket;
    cursor->fd = -1;
    cursor->prefix_size = list->prefix.size;
    cursor->after_size = list->after.size;
    if (list->prefix.size > 0) {
        memcpy(cursor->prefix, list->prefix.data, list->prefix.size);
    }
    if (list->after.size > 0) {
        memcpy(cursor->after, list->after.data, list->after.size);
    }
    status = level_push(cursor, 0, error);
    if (status) {
        fs_cursor_free(&cursor->base);
        return status;
    }
    *ret_cursor = &cursor->base;
    return GRV_OK;
}
