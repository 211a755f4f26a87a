/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A blob as the memory store keeps it, and sorted arrays of blobs. The same entries lie in two
 * arrays, one by key and one by sequence; the caller keeps them in step, under its lock.
 */
#ifndef GRV_BACKEND_MEMORY_BLOB_ENTRY_H
#define GRV_BACKEND_MEMORY_BLOB_ENTRY_H

#include "backend/memory/blob_content.h"

#include <graviton/blob.h>

/* A visible blob. All but its attributes and references is unchanging. */
typedef struct grv_memory_entry {
    grv_blob_info info;
    grv_memory_content content;
    grv_buffer attributes; /* encoded; empty where none were set */
    unsigned references;   /* the store's own and one a source */
} grv_memory_entry;

/* Entries in an order that the caller chose. Zeroed is empty; `entries` is freed by the caller. */
typedef struct grv_memory_entries {
    grv_memory_entry **entries;
    size_t count;
    size_t capacity;
} grv_memory_entries;

/* Frees an entry with all it holds. NULL is allowed. */
void grv_memory_entry_free(grv_memory_entry *entry);

/* Room for one more. GRV_LIMIT_EXCEEDED without memory. */
grv_status grv_memory_entries_reserve(grv_memory_entries *list, grv_error *error);

/* Puts `entry` at index `at`; room for it was reserved. */
void grv_memory_entries_insert(grv_memory_entries *list, size_t at, grv_memory_entry *entry);

/* Takes the entry at index `at` out. */
void grv_memory_entries_remove(grv_memory_entries *list, size_t at);

/* In an array by key: index of the first entry whose key is `key` or greater; with `after`,
 * greater. */
size_t grv_memory_entries_find_key(const grv_memory_entries *list, const grv_blob_key *key,
                                   bool after);

/* In an array by sequence: number of entries whose sequence is below `sequence`. */
size_t grv_memory_entries_find_sequence(const grv_memory_entries *list, uint64_t sequence);

#endif
