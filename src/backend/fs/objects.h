/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the files of the object store on files share. An object is a regular file below its bucket's
 * directory; docs/format.md says under which name. Rules that every part keeps: no link is
 * followed; a name that this store could not have written is as if it were not there; a file has
 * its object's name only with all of its bytes, already durable; directories are made durably, from
 * the bucket's down, and never removed.
 */
#ifndef GRV_BACKEND_FS_OBJECTS_H
#define GRV_BACKEND_FS_OBJECTS_H

#include "port/buckets.h"

#include <graviton/backend/fs.h>
#include <pthread.h>
#include <sys/stat.h>

#define GRV_FS_OBJECTS_ORIGIN "fs"
#define GRV_FS_OBJECTS_SCHEME "fs"
/* Files of puts under way, in the bucket's directory. */
#define GRV_FS_OBJECTS_TEMP ".tmp"
/* Bytes read or written at a time. */
#define GRV_FS_OBJECTS_BUFFER ((size_t)256 << 10)

/* ---- names: object_names.c ---- */

/* Bytes of a path segment that one name stands for; a longer segment takes several names. */
#define GRV_FS_PIECE_MAX 80u
/* Room for a name, NUL included: three characters a byte and a mark. */
#define GRV_FS_PIECE_NAME_SIZE (3 * GRV_FS_PIECE_MAX + 2)

typedef enum grv_fs_piece_kind {
    GRV_FS_PIECE_FILE = 1,    /* the rest of the path: an object's file */
    GRV_FS_PIECE_SEGMENT = 2, /* the rest of a segment and its "/": a directory */
    GRV_FS_PIECE_PART = 3     /* GRV_FS_PIECE_MAX bytes of a segment that goes on: a directory */
} grv_fs_piece_kind;

/*
 * What one name in the tree stands for: some bytes of a path, one after another from the bucket's
 * directory down. Their order as bytes is the order of the paths that begin so: within one
 * directory no piece's paths lie among another's.
 */
typedef struct grv_fs_piece {
    uint8_t kind; /* grv_fs_piece_kind */
    uint8_t size;
    uint8_t bytes[GRV_FS_PIECE_MAX]; /* a segment's "/" included */
} grv_fs_piece;

/* The piece at *at of a path, and moves *at behind it; the last is a GRV_FS_PIECE_FILE. */
grv_fs_piece grv_fs_piece_next(const char *path, size_t *at);

/* The piece's only name, NUL-terminated. */
void grv_fs_piece_print(const grv_fs_piece *piece, char ret_name[GRV_FS_PIECE_NAME_SIZE]);

/* What a name stands for; false where no piece has that name. */
bool grv_fs_piece_parse(const char *name, grv_fs_piece *ret_piece);

/* ---- buckets: object_store.c ---- */

/* Directories whose own entries this process knows to be durable: a cache, by inode. */
#define GRV_FS_SETTLED 1024u

typedef struct grv_fs_settled {
    dev_t device;
    ino_t inode;
} grv_fs_settled;

typedef struct grv_fs_objects_bucket {
    int fd;      /* the directory */
    int temp_fd; /* GRV_FS_OBJECTS_TEMP in it, -1 until the first put; atomic */
} grv_fs_objects_bucket;

typedef struct grv_fs_objects {
    grv_mutable_object_store base;
    grv_buckets names;
    grv_fs_objects_bucket *buckets; /* as many */
    uint64_t temp_id;               /* random: temporary names of two processes never meet */
    uint64_t temp_number;           /* atomic */
    uint64_t stamp_ns;              /* last time given to a file; atomic */
    int sync_failed;                /* a directory could not be synced; atomic */
    pthread_mutex_t lock;           /* guards settled */
    grv_fs_settled settled[GRV_FS_SETTLED];
} grv_fs_objects;

/* The bucket of that name; GRV_INVALID_ARGUMENT naming it where there is none. */
grv_status grv_fs_objects_find(const grv_fs_objects *store, const char *name,
                               grv_fs_objects_bucket **ret_bucket, grv_error *error);

/* ---- files: object_files.c ---- */

/* An object's place. */
typedef struct grv_fs_place {
    int fd; /* directory, -1: not there; `root` or the caller's to close with place_close */
    int root;
    char name[GRV_FS_PIECE_NAME_SIZE];
} grv_fs_place;

/* Opens directory `name` in `parent` for reading; *ret_fd is -1 where no directory is there. */
grv_status grv_fs_objects_open_directory(int parent, const char *name, int *ret_fd,
                                         grv_error *error);

/*
 * Opens the directory in which the object of `path` has its file. With `create` missing ones are
 * made, and all up to the bucket's are durable; GRV_CONFLICT where something else has a
 * directory's name.
 */
grv_status grv_fs_place_open(grv_fs_objects *store, const grv_fs_objects_bucket *bucket,
                             const char *path, bool create, grv_fs_place *ret_place,
                             grv_error *error);
void grv_fs_place_close(grv_fs_place *place);

/* Makes the entries of a place's directory durable. */
grv_status grv_fs_place_sync(grv_fs_objects *store, const grv_fs_place *place, grv_error *error);

/* Info of an object's file. */
grv_object_info grv_fs_object_info(const struct stat *st);

/* Info of the file in a place; *ret_there is false where there is no regular file. */
grv_status grv_fs_place_look(const grv_fs_place *place, grv_object_info *ret_info, bool *ret_there,
                             grv_error *error);

/* Opens the object's file for reading; GRV_NOT_FOUND where there is none. */
grv_status grv_fs_object_open(grv_fs_objects *store, const grv_locator *locator, int *ret_fd,
                              grv_object_info *ret_info, grv_error *error);

/* Up to span.size bytes at `offset`; *ret_size is 0 at the file's end. */
grv_status grv_fs_object_read(int fd, grv_span span, uint64_t offset, size_t *ret_size,
                              grv_error *error);

/* GRV_NOT_FOUND, naming the object. */
grv_status grv_fs_object_absent(const grv_locator *locator, grv_error *error);

/* ---- puts: object_put.c; slots of the port ---- */

grv_status grv_fs_objects_open_put(const grv_call *call, grv_mutable_object_store *base,
                                   const grv_locator *locator, const grv_object_put *put,
                                   grv_object_sink **ret_sink, grv_error *error);
grv_status grv_fs_objects_copy(const grv_call *call, grv_mutable_object_store *base,
                               const grv_locator *from, const grv_locator *to, bool if_absent,
                               grv_object_info *ret_info, grv_error *error);

/* ---- lists: object_list.c; a slot of the port ---- */

grv_status grv_fs_objects_open_list(const grv_call *call, grv_object_store *base,
                                    const grv_object_list *list, grv_object_cursor **ret_cursor,
                                    grv_error *error);

#endif
