/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The manifest codec: how a blob's ordered list of blocks is stored. A root record names the blob
 * and holds a table; the table's entries are the blob's blocks (level 0, small blobs), leaf pages
 * (level 1) or index pages of leaf pages (level 2). Pages are tables too, one level down each.
 * Everything is immutable and of fixed-size entries, so any offset is found by binary search in
 * the root and at most two pages. Pure: what reads and writes pages is the caller's.
 *
 * Decoders take untrusted bytes and check all of a record before they lend views of it; the
 * accessors of a decoded table need no further checks. The bytes are in docs/format.md.
 */
#ifndef GRV_CORE_MANIFEST_H
#define GRV_CORE_MANIFEST_H

#include <graviton/blob.h>

#define GRV_MANIFEST_ID_SIZE    16u /* bytes of a manifest's random id */
#define GRV_MANIFEST_ENTRY_SIZE 40u /* offset (8), digest (32) */

/* A blob's sequence is 1 to this, so that the next one never wraps. */
#define GRV_SEQUENCE_MAX (UINT64_MAX >> 1)

/* Most entries of a page, of a root with blocks inline, and of a root with pages. */
#define GRV_MANIFEST_PAGE_MAX     1024u
#define GRV_MANIFEST_INLINE_MAX   256u
#define GRV_MANIFEST_CHILDREN_MAX 16384u
/* Largest encoded page and root, in bytes. */
#define GRV_MANIFEST_PAGE_BYTES_MAX (64u + GRV_MANIFEST_PAGE_MAX * GRV_MANIFEST_ENTRY_SIZE)
#define GRV_MANIFEST_ROOT_BYTES_MAX                                                                \
    (112u + GRV_DELIMITER_MAX + GRV_MANIFEST_CHILDREN_MAX * GRV_MANIFEST_ENTRY_SIZE + 8u)

/* A view of a decoded root's or page's entries. Borrows the record's bytes. */
typedef struct grv_manifest_table {
    const uint8_t *entries;
    uint32_t count;
    unsigned level;      /* 0: entries are blocks; 1: leaf pages; 2: index pages */
    grv_hash block_hash; /* of the blocks, at any level */
    uint64_t first;      /* bytes of the blob the table covers: first <= i < end */
    uint64_t end;
    uint64_t base; /* number, in its level, of what entry 0 names: of a block, or of a page */
} grv_manifest_table;

/* A page as the table above it names it. */
typedef struct grv_manifest_child {
    unsigned level;  /* 0: leaf page; 1: index page */
    uint64_t number; /* among the blob's pages of that level */
    uint64_t first;
    uint64_t end;
    uint8_t digest[GRV_DIGEST_SIZE]; /* BLAKE3 of the page's bytes */
} grv_manifest_child;

/* A decoded root. Borrows the record's bytes. */
typedef struct grv_manifest_root {
    uint8_t id[GRV_MANIFEST_ID_SIZE]; /* names the manifest's pages */
    grv_blob_info info;
    grv_manifest_table table; /* of level 0 to 2: the manifest's depth */
} grv_manifest_root;

/*
 * Decodes a root. GRV_CORRUPT for bytes that no version writes, GRV_UNSUPPORTED for a newer
 * version, a required feature or a chunker that is not known here. *ret_root is unchanged on
 * failure and borrows `bytes`.
 */
grv_status grv_manifest_root_decode(grv_bytes bytes, grv_manifest_root *ret_root, grv_error *error);

/* The same for bytes that are kept under `key`: a root of another blob, or with a sequence out of
 * bounds, is GRV_CORRUPT too. Every message names the blob. */
grv_status grv_manifest_root_decode_of(const grv_blob_key *key, grv_bytes bytes,
                                       grv_manifest_root *ret_root, grv_error *error);

/* Puts "blob KEY" before an error's message. */
void grv_manifest_prefix_blob(const grv_blob_key *key, grv_error *error);

/*
 * Decodes the page that `child` names, of the manifest of `root`. Its digest is checked first, so
 * GRV_CORRUPT is damage or another page's bytes. *ret_table is unchanged on failure and borrows
 * `bytes`.
 */
grv_status grv_manifest_page_decode(grv_bytes bytes, const grv_manifest_root *root,
                                    const grv_manifest_child *child, grv_manifest_table *ret_table,
                                    grv_error *error);

/* Index of the entry that holds byte `offset`, table->first <= offset < table->end. */
uint32_t grv_manifest_table_find(const grv_manifest_table *table, uint64_t offset);

/* Entry `index` of a table of level 0: a block. */
grv_block_ref grv_manifest_table_ref(const grv_manifest_table *table, uint32_t index);

/* The `count` (> 0) entries from `index` on of a table of level 0, which has so many. */
void grv_manifest_table_refs(const grv_manifest_table *table, uint32_t index, size_t count,
                             grv_block_ref out[]);

/* Entry `index` of a table of level 1 or 2: a page. */
grv_manifest_child grv_manifest_table_child(const grv_manifest_table *table, uint32_t index);

/*
 * How many entries a writer puts in a page, inline in a root, and in a root of pages. Readers do
 * not depend on them. Tests take small ones, to have every shape of manifest from few blocks.
 */
typedef struct grv_manifest_limits {
    uint32_t page;     /* 1 to GRV_MANIFEST_PAGE_MAX */
    uint32_t inlined;  /* 1 to GRV_MANIFEST_INLINE_MAX and at most `page` */
    uint32_t children; /* 1 to GRV_MANIFEST_CHILDREN_MAX */
} grv_manifest_limits;

/* The limits that stores are written with. */
extern const grv_manifest_limits grv_manifest_limits_default;

/*
 * Takes a finished page: stores `page` as number `number` of `level`. The bytes are borrowed for
 * the call. Called in increasing order of numbers within a level.
 */
typedef grv_status (*grv_manifest_emit)(void *context, unsigned level, uint64_t number,
                                        grv_bytes page, grv_error *error);

/* What the header of a page says, for stores that keep it in columns too. */
typedef struct grv_manifest_page_header {
    unsigned level;
    uint64_t number;
    uint64_t first; /* byte of the blob */
    uint64_t size;  /* bytes of the blob */
    uint64_t base;  /* number of the first entry */
    uint32_t count; /* entries */
} grv_manifest_page_header;

/* The header of a page that a builder has emitted: it is not checked. */
grv_manifest_page_header grv_manifest_page_header_of(grv_bytes page);

/*
 * Builds one manifest as its blocks come, in memory bounded by one page and one root's entries.
 * In the caller's storage, one thread at a time: init, append…, finish, encode_root…, done. After
 * a failure only done is allowed.
 */
typedef struct grv_manifest_builder {
    grv_manifest_limits limits;
    uint8_t id[GRV_MANIFEST_ID_SIZE];
    grv_hash block_hash;
    grv_manifest_emit emit;
    void *context;
    grv_buffer leaf;     /* the leaf page in progress, room for its header before its entries */
    grv_buffer children; /* entries of leaf pages that no index page holds yet */
    grv_buffer indexes;  /* entries of the index pages */
    uint64_t size;       /* bytes and blocks so far */
    uint64_t block_count;
    uint64_t leaf_first; /* of the leaf page in progress */
    uint64_t leaf_count; /* leaf and index pages emitted so far */
    uint64_t index_count;
    uint64_t indexed_leaves; /* leaf pages that index pages hold */
    bool deep;               /* more leaf pages than a root holds: index pages hold them */
    bool finished;
} grv_manifest_builder;

/* Begins a manifest. Allocates nothing. `limits` and `id` are copied. */
void grv_manifest_builder_init(grv_manifest_builder *builder, const grv_manifest_limits *limits,
                               const uint8_t id[GRV_MANIFEST_ID_SIZE], grv_hash block_hash,
                               grv_manifest_emit emit, void *context);

/* Adds the next blocks; the keys are valid and of the builder's hash. Errors: emit's,
 * GRV_LIMIT_EXCEEDED without memory or when no root could hold the manifest. */
grv_status grv_manifest_builder_append(grv_manifest_builder *builder, const grv_block_key keys[],
                                       size_t count, grv_error *error);

/* Emits what pages are still to be written. Errors as append. */
grv_status grv_manifest_builder_finish(grv_manifest_builder *builder, grv_error *error);

/*
 * Appends the root to `out`, after finish; may be called again with another info. info->key.size,
 * block_count and block_hash are the builder's own.
 */
grv_status grv_manifest_builder_encode_root(const grv_manifest_builder *builder,
                                            const grv_blob_info *info, grv_buffer *out,
                                            grv_error *error);

/* Levels of pages under the root, 0 to 2, after finish. */
unsigned grv_manifest_builder_depth(const grv_manifest_builder *builder);

/* Pages emitted so far, of both levels. */
uint64_t grv_manifest_builder_page_count(const grv_manifest_builder *builder);

/* Frees the builder's memory. */
void grv_manifest_builder_done(grv_manifest_builder *builder);

#endif
