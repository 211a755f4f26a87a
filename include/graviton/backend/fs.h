/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Backends on files; several processes may use one directory. The block store has one file a block,
 * `<root>/<prefix>/<algo>/<hex>-<size>`, raw bytes: the layout of the Scala system, so that its
 * stores can be read. The object store has one file an object, raw bytes, below a directory a
 * bucket; docs/format.md says how it is named.
 */
#ifndef GRAVITON_BACKEND_FS_H
#define GRAVITON_BACKEND_FS_H

#include <graviton/port/block_store.h>
#include <graviton/port/mutable_object_store.h>

#ifdef __cplusplus
extern "C" {
#endif
#pragma GCC visibility push(default)

/* Where blocks go under the root, unless told otherwise. */
#define GRV_FS_PREFIX_DEFAULT "cas/blocks"
/* The superblock's file, in the root. */
#define GRV_FS_SUPERBLOCK "graviton.json"

/* Configuration; strings are borrowed for the call. */
typedef struct grv_fs_config {
    const char *root;   /* directory */
    const char *prefix; /* NULL: GRV_FS_PREFIX_DEFAULT. Relative, no ".." */
    bool create;        /* make the directories where they are missing; else GRV_NOT_FOUND */
} grv_fs_config;

/* Opens a block store on files, verified. Free with grv_block_store_free. GRV_NOT_FOUND where
 * there is no such directory and `create` is false; errno's statuses otherwise. */
grv_status grv_block_store_fs_new(const grv_fs_config *config, grv_block_store **ret_store,
                                  grv_error *error);

/* What was linked. */
typedef struct grv_fs_linked {
    uint64_t blocks;
    uint64_t bytes; /* the sum of their sizes */
} grv_fs_linked;

/* From which store to which; borrowed for the call. */
typedef struct grv_fs_link {
    const grv_fs_config *source;
    const grv_fs_config *target;
    void (*progress)(void *context, const grv_fs_linked *so_far); /* now and then; NULL: not */
    void *context;
} grv_fs_link;

/*
 * Gives every block file of one store a second name in another, durably: a hard link. Blocks that
 * come or go meanwhile may or may not be linked. GRV_UNSUPPORTED where the target cannot hold such
 * links, as on another file system; *ret_linked tells what was linked also then.
 */
grv_status grv_block_store_fs_link(const grv_call *call, const grv_fs_link *link,
                                   grv_fs_linked *ret_linked, grv_error *error);

/* A bucket and the directory that has its objects; strings are borrowed for the call. */
typedef struct grv_fs_bucket {
    const char *name;
    const char *directory;
} grv_fs_bucket;

/* Configuration of an object store. */
typedef struct grv_fs_objects_config {
    const grv_fs_bucket *buckets;
    size_t bucket_count;
    bool create; /* make the directories where they are missing; else GRV_NOT_FOUND */
} grv_fs_objects_config;

/*
 * Opens an object store `fs://NAME/` for each bucket. A link in a bucket's own path is followed;
 * below it none is, and what is no object's file is as if it were not there. Free with
 * grv_mutable_object_store_free. GRV_NOT_FOUND where a directory is missing and `create` is false;
 * errno's statuses otherwise.
 */
grv_status grv_object_store_fs_new(const grv_fs_objects_config *config,
                                   grv_mutable_object_store **ret_store, grv_error *error);

#pragma GCC visibility pop
#ifdef __cplusplus
}
#endif

#endif
