/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Attributes of a blob: a small mutable record of name/value pairs (content type, file name, …),
 * apart from its identity; the last writer wins.
 */
#ifndef GRAVITON_ATTRIBUTES_H
#define GRAVITON_ATTRIBUTES_H

#include <graviton/bytes.h>

#ifdef __cplusplus
extern "C" {
#endif
#pragma GCC visibility push(default)

#define GRV_ATTRIBUTES_MAX       64u    /* pairs in a record */
#define GRV_ATTRIBUTE_NAME_MAX   255u   /* bytes of a name, at least 1 */
#define GRV_ATTRIBUTE_VALUE_MAX  8192u  /* bytes of a value, any bytes */
#define GRV_ATTRIBUTES_BYTES_MAX 65536u /* of the encoded record */

/* Names with a meaning of their own. */
#define GRV_ATTRIBUTE_CONTENT_TYPE "content-type"
#define GRV_ATTRIBUTE_FILE_NAME    "file-name"

/* One pair. name is [a-z0-9._-]+ and NUL-terminated. */
typedef struct grv_attribute {
    char *name;
    uint8_t *value;
    size_t value_size;
} grv_attribute;

/* A record, sorted by name, names distinct. In the caller's storage; not thread-safe. */
typedef struct grv_attributes {
    grv_attribute *pairs;
    size_t count;
} grv_attributes;

/* The empty record; allocates nothing. */
void grv_attributes_init(grv_attributes *attributes);
/* Frees the record's memory; it may be initialised again. */
void grv_attributes_done(grv_attributes *attributes);

/* Sets or replaces one pair with a copy of `value`. GRV_INVALID_ARGUMENT for a bad name,
 * GRV_LIMIT_EXCEEDED past a bound above or without memory; unchanged on failure. */
grv_status grv_attributes_set(grv_attributes *attributes, const char *name, grv_bytes value,
                              grv_error *error);

/* Removes a pair; harmless where there is none. */
void grv_attributes_unset(grv_attributes *attributes, const char *name);

/* The pair of that name, or NULL. Valid until the record changes. */
const grv_attribute *grv_attributes_get(const grv_attributes *attributes, const char *name);

/* Appends the stored form (docs/format.md) to `out`. */
grv_status grv_attributes_encode(const grv_attributes *attributes, grv_buffer *out,
                                 grv_error *error);

/* Replaces `attributes` (initialised) by the decoded record. GRV_CORRUPT for malformed bytes,
 * GRV_UNSUPPORTED for a newer version; unchanged on failure. */
grv_status grv_attributes_decode(grv_bytes bytes, grv_attributes *attributes, grv_error *error);

#pragma GCC visibility pop
#ifdef __cplusplus
}
#endif

#endif
