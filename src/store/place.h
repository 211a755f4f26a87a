/* SPDX-License-Identifier: Apache-2.0 */
/* Where a store's halves are: the URLs of a grv_store_config, taken apart. Opens nothing. */
#ifndef GRV_STORE_PLACE_H
#define GRV_STORE_PLACE_H

#include <graviton/backend/s3.h>
#include <graviton/store.h>

/* Longest path of a half, NUL included. */
#define GRV_PLACE_PATH_SIZE 4096u

/* Kinds of block stores and metadata stores there are. */
typedef enum grv_blocks_kind {
    GRV_BLOCKS_FS = 1,
    GRV_BLOCKS_KV = 2,
    GRV_BLOCKS_MEMORY = 3,
    GRV_BLOCKS_S3 = 4,
    GRV_BLOCKS_REMOTE = 5 /* both halves behind a server, whose URL is blocks_path */
} grv_blocks_kind;
typedef enum grv_meta_kind {
    GRV_META_ROCKS = 1,
    GRV_META_MEMORY = 2,
    GRV_META_PG = 3,
    GRV_META_SCALA = 4, /* only to read from */
    GRV_META_REMOTE = 5
} grv_meta_kind;

/* What the address of a bucket says of the service; empty or 0: nothing. */
typedef struct grv_place_s3 {
    char bucket[64];
    char endpoint[256];
    char region[64];
    grv_s3_style style;
    unsigned connections;
} grv_place_s3;

/* A store's place. Paths are empty where the kind has none. */
typedef struct grv_place {
    grv_blocks_kind blocks;
    char blocks_path[GRV_PLACE_PATH_SIZE]; /* in S3: its address as it was given, for messages; of
                                              a server: its URL */
    char blocks_prefix[256];               /* empty: the default of files, none in S3 */
    grv_place_s3 s3;
    grv_meta_kind meta;
    /* With PostgreSQL, the Scala system's too, its whole address, which may hold a password: for no
     * message. */
    char meta_path[GRV_PLACE_PATH_SIZE];
    char cache_path[GRV_PLACE_PATH_SIZE]; /* empty: no cache on a disk */
    bool cache_in_memory;
    uint64_t cache_bytes; /* of either; 0 of one on a disk: the default */
    bool has_reserve;
    uint64_t reserve_bytes; /* where it has */
} grv_place;

/* Names as descriptors keep them and URLs spell them. Static storage. */
const char *grv_blocks_kind_name(grv_blocks_kind kind);
const char *grv_meta_kind_name(grv_meta_kind kind);

/* The size of a cache in memory where nobody says. */
#define GRV_PLACE_MEMORY_CACHE (UINT64_C(256) << 20)

/* The largest reserve, 1 TiB. */
#define GRV_PLACE_RESERVE_MAX (UINT64_C(1) << 40)

/* Takes a configuration apart. GRV_INVALID_ARGUMENT for a malformed or incomplete one,
 * GRV_UNSUPPORTED for a scheme that is planned but not built. */
grv_status grv_place_parse(const grv_store_config *config, grv_place *ret_place, grv_error *error);

#endif
