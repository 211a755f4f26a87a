/* SPDX-License-Identifier: Apache-2.0 */
/* Views, owned values and the bounded growable buffer. */
#include <graviton/bytes.h>
#include <stdlib.h>
#include <string.h>

int grv_bytes_compare(grv_bytes a, grv_bytes b)
{
    size_t common = a.size < b.size ? a.size : b.size;
    int order = common ? memcmp(a.data, b.data, common) : 0;
    if (order != 0) {
        return order;
    }
    return (a.size > b.size) - (a.size < b.size);
}

void grv_value_done(grv_value *value)
{
    if (value->release) {
        value->release(value->owner);
    }
    *value = (grv_value){0};
}

grv_status grv_value_copy(grv_value *value, grv_bytes bytes, grv_error *error)
{
    uint8_t *copy = malloc(bytes.size ? bytes.size : 1);
    if (!copy) {
        return grv_error_set(error, GRV_LIMIT_EXCEEDED, "bytes", "no memory for %zu bytes",
                             bytes.size);
    }
    if (bytes.size) {
        memcpy(copy, bytes.data, bytes.size);
    }
    *value = (grv_value){.bytes = {copy, bytes.size}, .release = free, .owner = copy};
    return GRV_OK;
}

void grv_buffer_init(grv_buffer *buffer, size_t max)
{
    *buffer = (grv_buffer){.max = max};
}

void grv_buffer_done(grv_buffer *buffer)
{
    free(buffer->data);
    *buffer = (grv_buffer){.max = buffer->max};
}

grv_status grv_buffer_reserve(grv_buffer *buffer, size_t more, grv_error *error)
{
    if (more > buffer->max - buffer->size) {
        return grv_error_set(error, GRV_LIMIT_EXCEEDED, "bytes",
                             "%zu bytes more than the %zu there are pass the limit of %zu", more,
                             buffer->size, buffer->max);
    }
    size_t need = buffer->size + more;
    if (need <= buffer->capacity) {
        return GRV_OK;
    }
    size_t capacity = buffer->capacity ? buffer->capacity : 64;
    while (capacity < need) {
        capacity = capacity > buffer->max / 2 ? buffer->max : capacity * 2;
    }
    uint8_t *data = realloc(buffer->data, capacity);
    if (!data) {
        return grv_error_set(error, GRV_LIMIT_EXCEEDED, "bytes", "no memory for %zu bytes",
                             capacity);
    }
    buffer->data = data;
    buffer->capacity = capacity;
    return GRV_OK;
}

grv_status grv_buffer_append(grv_buffer *buffer, grv_bytes bytes, grv_error *error)
{
    grv_status status = grv_buffer_reserve(buffer, bytes.size, error);
    if (status) {
        return status;
    }
    if (bytes.size) {
        memcpy(buffer->data + buffer->size, bytes.data, bytes.size);
        buffer->size += bytes.size;
    }
    return GRV_OK;
}
