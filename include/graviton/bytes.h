/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Byte ranges in memory: views (grv_bytes to read, grv_span to fill), owned values handed out by a
 * backend (grv_value), and the growable buffer. Pointers travel with their lengths.
 */
#ifndef GRAVITON_BYTES_H
#define GRAVITON_BYTES_H

#include <graviton/error.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif
#pragma GCC visibility push(default)

/* Bytes to read. Borrowed: never freed through this. data may be NULL only when size is 0. */
typedef struct grv_bytes {
    const uint8_t *data;
    size_t size;
} grv_bytes;

/* Bytes to fill. Borrowed. data may be NULL only when size is 0. */
typedef struct grv_span {
    uint8_t *data;
    size_t size;
} grv_span;

/* A view of `size` bytes at `data`. */
static inline grv_bytes grv_bytes_of(const void *data, size_t size)
{
    return (grv_bytes){(const uint8_t *)data, size};
}

/* Order as memcmp gives it, a prefix first. Returns <0, 0 or >0. */
int grv_bytes_compare(grv_bytes a, grv_bytes b);

/*
 * Bytes that a backend hands out without copying them where it can. `bytes` stays valid until
 * grv_value_done. Zero-initialised is an empty value. Not thread-safe; move by plain assignment.
 */
typedef struct grv_value {
    grv_bytes bytes;
    void (*release)(void *owner); /* NULL: nothing to release */
    void *owner;
} grv_value;

/* Releases the value and empties it. Harmless on an empty one. */
void grv_value_done(grv_value *value);

/* Makes `value` own a malloc'ed copy of `bytes`. GRV_LIMIT_EXCEEDED when memory is short. */
grv_status grv_value_copy(grv_value *value, grv_bytes bytes, grv_error *error);

/*
 * A growable buffer in the caller's storage with a stated maximum: growth past `max` is
 * GRV_LIMIT_EXCEEDED, so no input can make it unbounded. `data` moves when it grows.
 */
typedef struct grv_buffer {
    uint8_t *data;
    size_t size;
    size_t capacity;
    size_t max;
} grv_buffer;

/* Empty buffer that may grow to `max` bytes. Allocates nothing yet. */
void grv_buffer_init(grv_buffer *buffer, size_t max);

/* Frees the memory; the buffer may be initialised again. */
void grv_buffer_done(grv_buffer *buffer);

/* Room for `more` bytes past size. GRV_LIMIT_EXCEEDED past max or without memory. */
grv_status grv_buffer_reserve(grv_buffer *buffer, size_t more, grv_error *error);

/* Appends a copy of `bytes`; unchanged on failure. Errors as grv_buffer_reserve. */
grv_status grv_buffer_append(grv_buffer *buffer, grv_bytes bytes, grv_error *error);

/* The filled part, valid until the buffer changes. */
static inline grv_bytes grv_buffer_bytes(const grv_buffer *buffer)
{
    return (grv_bytes){buffer->data, buffer->size};
}

#pragma GCC visibility pop
#ifdef __cplusplus
}
#endif

#endif
