/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Locators say where bytes lie: `scheme://bucket/path`. Never part of an identity.
 */
#ifndef GRAVITON_LOCATOR_H
#define GRAVITON_LOCATOR_H

#include <graviton/bytes.h>

#ifdef __cplusplus
extern "C" {
#endif
#pragma GCC visibility push(default)

#define GRV_LOCATOR_SCHEME_MAX 16u   /* bytes of scheme */
#define GRV_LOCATOR_BUCKET_MAX 255u  /* bytes of bucket */
#define GRV_LOCATOR_PATH_MAX   1024u /* bytes of path */
/* Room for any locator as text, NUL included. */
#define GRV_LOCATOR_TEXT_SIZE                                                                      \
    (GRV_LOCATOR_SCHEME_MAX + GRV_LOCATOR_BUCKET_MAX + GRV_LOCATOR_PATH_MAX + 8u)

/*
 * A locator, NUL-terminated parts in place. scheme: lower-case letter, then letters, digits, "+",
 * "-", "."; bucket: 1 or more bytes without "/", NUL or control characters; path: 1 or more bytes
 * without NUL, kept exactly ("//", ".." and "%" have no meaning here; a backend that maps paths to
 * files encodes them).
 */
typedef struct grv_locator {
    char scheme[GRV_LOCATOR_SCHEME_MAX + 1];
    char bucket[GRV_LOCATOR_BUCKET_MAX + 1];
    char path[GRV_LOCATOR_PATH_MAX + 1];
} grv_locator;

/* Parses; the scheme is folded to lower case. GRV_INVALID_ARGUMENT names the part at fault;
 * *ret_locator is unchanged then. */
grv_status grv_locator_parse(grv_bytes text, grv_locator *ret_locator, grv_error *error);

/* Prints what parse accepts; NUL-terminated. */
void grv_locator_print(const grv_locator *locator, char ret_text[GRV_LOCATOR_TEXT_SIZE]);

/* Order of the printed texts, bytewise; so all that begin alike stand together. Returns <0, 0 or
 * >0. */
int grv_locator_compare(const grv_locator *a, const grv_locator *b);

/* True for what parse could have given: what every port may assume of a locator. */
bool grv_locator_is_valid(const grv_locator *locator);

#pragma GCC visibility pop
#ifdef __cplusplus
}
#endif

#endif
