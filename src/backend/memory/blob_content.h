/* SPDX-License-Identifier: Apache-2.0 */
/* A blob's bytes in memory: segments of one size, so that growing copies nothing. */
#ifndef GRV_BACKEND_MEMORY_BLOB_CONTENT_H
#define GRV_BACKEND_MEMORY_BLOB_CONTENT_H

#include <graviton/bytes.h>

/* Small enough that a sink wastes little before it knows its size, large enough to hash well. */
#define GRV_MEMORY_SEGMENT_SIZE ((size_t)64 << 10)

/* Bytes in segments of GRV_MEMORY_SEGMENT_SIZE; the last may be cut to what it holds. Zeroed is
 * empty. Not thread-safe while it grows. */
typedef struct grv_memory_content {
    uint8_t **segments;
    size_t count;
    size_t capacity;
    uint64_t size;
} grv_memory_content;

/* Frees the bytes and empties it. */
void grv_memory_content_done(grv_memory_content *content);

/* Adds an empty segment. GRV_LIMIT_EXCEEDED without memory. */
grv_status grv_memory_content_grow(grv_memory_content *content, grv_error *error);

/* The bytes from `at` that lie side by side, at most `max` (> 0); `at` lies in a segment. */
grv_bytes grv_memory_content_view(const grv_memory_content *content, uint64_t at, uint64_t max);

/* Gives back what the last segment does not hold: many small blobs would else take one each. */
void grv_memory_content_trim(grv_memory_content *content);

#endif
