/* SPDX-License-Identifier: Apache-2.0 */
/* Segments of a blob in memory. */
#include "backend/memory/blob_content.h"

#include <stdlib.h>
#include <string.h>

void grv_memory_content_done(grv_memory_content *content)
{
    for (size_t i = 0; i < content->count; i++) {
        free(content->segments[i]);
    }
    free(content->segments);
    memset(content, 0, sizeof *content);
}

grv_status grv_memory_content_grow(grv_memory_content *content, grv_error *error)
{
    if (content->count == content->capacity) {
        size_t capacity = content->capacity ? 2 * content->capacity : 4;
        uint8_t **segments = reallocarray(content->segments, capacity, sizeof *segments);
        if (!segments) {
            return grv_error_set(error, GRV_LIMIT_EXCEEDED, "memory",
                                 "no memory for a blob's segments");
        }
        content->segments = segments;
        content->capacity = capacity;
    }
    uint8_t *segment = malloc(GRV_MEMORY_SEGMENT_SIZE);
    if (!segment) {
        return grv_error_set(error, GRV_LIMIT_EXCEEDED, "memory", "no memory for a blob's bytes");
    }
    content->segments[content->count++] = segment;
    return GRV_OK;
}

grv_bytes grv_memory_content_view(const grv_memory_content *content, uint64_t at, uint64_t max)
{
    size_t inside = (size_t)(at % GRV_MEMORY_SEGMENT_SIZE);
    uint64_t size = GRV_MEMORY_SEGMENT_SIZE - inside;
    size = size < max ? size : max;
    return grv_bytes_of(content->segments[at / GRV_MEMORY_SEGMENT_SIZE] + inside, (size_t)size);
}

void grv_memory_content_trim(grv_memory_content *content)
{
    size_t used = (size_t)((content->size + GRV_MEMORY_SEGMENT_SIZE - 1) / GRV_MEMORY_SEGMENT_SIZE);
    while (content->count > used) {
        free(content->segments[--content->count]);
    }
    size_t tail = (size_t)(content->size % GRV_MEMORY_SEGMENT_SIZE);
    if (tail > 0) {
        uint8_t *cut = realloc(content->segments[used - 1], tail);
        if (cut) {
            content->segments[used - 1] = cut;
        }
    }
}
