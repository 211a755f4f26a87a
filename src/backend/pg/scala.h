/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the files of the manifest repository over the Scala system's tables share. scala.c has what
 * concerns whole blobs, scala_refs.c reads one blob's rows, scala_list.c lists blobs.
 *
 * Nothing there was written by this program, so every cell is checked before it is believed. The
 * tables are graviton.blob and graviton.blob_block; of their columns the algorithms may be an enum
 * or text, and the numbers of any integer type: statements cast them, but never in a comparison
 * that an index has to serve.
 */
#ifndef GRV_BACKEND_PG_SCALA_H
#define GRV_BACKEND_PG_SCALA_H

#include "backend/pg/pg.h"

/* Most algorithms that the tables may name. */
#define GRV_SCALA_NAMES_MAX 16u
/* Most bytes of an algorithm's name, NUL included. */
#define GRV_SCALA_NAME_SIZE 64u

/* An algorithm as the tables spell it. */
typedef struct grv_scala_name {
    grv_hash hash; /* GRV_HASH_NONE: not known here */
    char text[GRV_SCALA_NAME_SIZE];
} grv_scala_name;

/* The repository; nothing in it changes once it is made. */
typedef struct grv_scala_repo {
    grv_manifest_repo base;
    grv_pg *pg;
    size_t name_count;
    /* In the order of keys: by hash, what is not known last. A known hash has one name at most. */
    grv_scala_name names[GRV_SCALA_NAMES_MAX];
} grv_scala_repo;

/*
 * Columns of a statement over `b`, rows of graviton.blob, and `last`, the last row of each one's
 * blocks: hash (at most 33 bytes), size, microseconds since 1970, number of blocks as the blob's
 * row says, and of the last block its ordinal, algorithm, offset and length. What only some
 * versions of the table have is NULL in others.
 */
#define GRV_SCALA_BLOB_COLUMNS                                                                     \
    "pg_catalog.substring(b.hash_bytes, 1, 33), b.byte_length::int8, "                             \
    "CASE WHEN pg_catalog.isfinite(b.created) THEN least(9000000000000000, greatest(0, "           \
    "extract(epoch FROM b.created) * 1000000))::int8 END, b.claimed, "                             \
    "last.ordinal, last.block_alg, last.block_offset, last.block_length"
/* What follows FROM: rows of graviton.blob where `which`, and their last blocks. $1 is the
 * algorithm and so is $2: the two tables may have types of their own for it. */
#define GRV_SCALA_BLOB_ROWS(which)                                                                 \
    "(SELECT hash_bytes, byte_length, "                                                            \
    "(pg_catalog.to_jsonb(r) ->> 'created_at')::timestamptz AS created, "                          \
    "(pg_catalog.to_jsonb(r) ->> 'block_count')::int8 AS claimed "                                 \
    "FROM graviton.blob r WHERE alg = $1 AND " which ") b LEFT JOIN LATERAL "                      \
    "(SELECT ordinal::int8, pg_catalog.substring(block_alg::text, 1, 63) AS block_alg, "           \
    "block_offset::int8, block_length::int8 FROM graviton.blob_block k "                           \
    "WHERE k.alg = $2 AND k.hash_bytes = b.hash_bytes AND k.byte_length = b.byte_length "          \
    "ORDER BY k.ordinal DESC LIMIT 1) last ON true"

/* The repository of a base; it must be one of these. */
grv_scala_repo *grv_scala_repo_of(grv_manifest_repo *base);

/* The name of a known hash; NULL where no blob had it when the repository was made. */
const grv_scala_name *grv_scala_name_of(const grv_scala_repo *repo, grv_hash hash);

/*
 * Decodes and checks a row of GRV_SCALA_BLOB_COLUMNS, of a blob with this algorithm. Every message
 * names the blob, as far as it has a name. GRV_UNSUPPORTED for an algorithm that is not known here.
 */
grv_status grv_scala_blob_read(const PGresult *rows, int row, const grv_scala_name *name,
                               grv_blob_info *ret_info, grv_error *error);

/* Looks a blob up. GRV_NOT_FOUND and any other failure names it. */
grv_status grv_scala_stat(const grv_call *call, grv_manifest_repo *base, const grv_blob_key *key,
                          grv_blob_info *ret_info, grv_error *error);

/* Adds the key of a blob that has this name as three parameters: $1 to $3. */
void grv_scala_add_key(grv_pg_params *params, const grv_scala_name *name, const grv_blob_key *key);

/* Slots that have files of their own. */
grv_status grv_scala_open_refs(const grv_call *call, grv_manifest_repo *base,
                               const grv_blob_key *key, uint64_t offset,
                               grv_ref_cursor **ret_cursor, grv_error *error);
grv_status grv_scala_open_list(const grv_call *call, grv_manifest_repo *base,
                               const grv_blob_list *wanted, grv_blob_cursor **ret_cursor,
                               grv_error *error);

#endif
