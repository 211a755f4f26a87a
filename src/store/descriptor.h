/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The record that names a store. Each half keeps one: the metadata store its descriptor, the bytes
 * their superblock. Both are JSON of the same shape (docs/format.md), so that a person can read
 * them; opening compares them.
 */
#ifndef GRV_STORE_DESCRIPTOR_H
#define GRV_STORE_DESCRIPTOR_H

#include <graviton/store.h>

/* The format version this library writes, and the newest it reads. */
#define GRV_STORE_FORMAT 1u
/* Largest record, in bytes. */
#define GRV_DESCRIPTOR_TEXT_MAX 4096u
/* Room for a kind of half, such as "rocks", NUL included. */
#define GRV_HALF_KIND_SIZE 16u

/* Which half a record lies in. */
typedef enum grv_half { GRV_HALF_BYTES = 1, GRV_HALF_METADATA = 2 } grv_half;

/* What a record says. */
typedef struct grv_descriptor {
    grv_half half;
    grv_store_info info;
    bool creating; /* the store's making has not ended: no blob can be in it yet */
    char blocks[GRV_HALF_KIND_SIZE]; /* kind of block store: "fs", "kv", "memory" */
    char meta[GRV_HALF_KIND_SIZE];   /* kind of metadata store: "rocks", "memory" */
} grv_descriptor;

/* Appends the JSON text, with a newline at its end, to `out`. */
grv_status grv_descriptor_encode(const grv_descriptor *descriptor, grv_buffer *out,
                                 grv_error *error);

/*
 * Reads a record of the given half. GRV_CORRUPT for text that is not one, GRV_UNSUPPORTED for a
 * newer format or a required feature this version does not know; *ret_descriptor is unchanged then.
 */
grv_status grv_descriptor_decode(grv_bytes text, grv_half half, grv_descriptor *ret_descriptor,
                                 grv_error *error);

/* Prints a store id as 32 hex digits and a NUL. */
void grv_store_id_print(const uint8_t id[GRV_STORE_ID_SIZE],
                        char ret_text[2 * GRV_STORE_ID_SIZE + 1]);

#endif
