/* SPDX-License-Identifier: Apache-2.0 */
/* Locators: text form and order. Paths are opaque bytes here; nothing is normalised. */
#include <graviton/locator.h>
#include <stdio.h>
#include <string.h>

static grv_status locator_refuse(grv_bytes text, const char *why, grv_error *error)
{
    int shown = text.size < 120 ? (int)text.size : 120;
    return grv_error_set(error, GRV_INVALID_ARGUMENT, "locator", "bad locator \"%.*s\": %s", shown,
                         text.size ? (const char *)text.data : "", why);
}

/* Copies a scheme in lower case; false where it has other characters or a wrong size. */
static bool scheme_fold(grv_bytes part, char ret_scheme[GRV_LOCATOR_SCHEME_MAX + 1])
{
    if (part.size < 1 || part.size > GRV_LOCATOR_SCHEME_MAX) {
        return false;
    }
    for (size_t i = 0; i < part.size; i++) {
        uint8_t c = part.data[i];
        if (c >= 'A' && c <= 'Z') {
            c = (uint8_t)(c - 'A' + 'a');
        }
        bool letter = c >= 'a' && c <= 'z';
        bool other = (c >= '0' && c <= '9') || c == '+' || c == '-' || c == '.';
        if (!letter && (i == 0 || !other)) {
            return false;
        }
        ret_scheme[i] = (char)c;
    }
    ret_scheme[part.size] = '\0';
    return true;
}

static bool bucket_is_valid(grv_bytes part)
{
    if (part.size < 1 || part.size > GRV_LOCATOR_BUCKET_MAX) {
        return false;
    }
    for (size_t i = 0; i < part.size; i++) {
        if (part.data[i] < 0x20 || part.data[i] == 0x7f) {
            return false;
        }
    }
    return true;
}

grv_status grv_locator_parse(grv_bytes text, grv_locator *ret_locator, grv_error *error)
{
    static const char separator[] = "://";
    const uint8_t *colon =
        text.size ? memmem(text.data, text.size, separator, strlen(separator)) : NULL;
    if (!colon) {
        return locator_refuse(text, "want scheme://bucket/path", error);
    }
    grv_locator locator = {0};
    if (!scheme_fold(grv_bytes_of(text.data, (size_t)(colon - text.data)), locator.scheme)) {
        return locator_refuse(text, "the scheme is a letter, then letters, digits, +, -, .", error);
    }
    const uint8_t *bucket = colon + strlen(separator);
    size_t rest = text.size - (size_t)(bucket - text.data);
    const uint8_t *slash = rest ? memchr(bucket, '/', rest) : NULL;
    size_t bucket_size = slash ? (size_t)(slash - bucket) : rest;
    if (!bucket_is_valid(grv_bytes_of(bucket, bucket_size))) {
        return locator_refuse(text, "the bucket is 1 to 255 bytes without control characters",
                              error);
    }
    memcpy(locator.bucket, bucket, bucket_size);
    size_t path_size = slash ? rest - bucket_size - 1 : 0;
    if (path_size < 1 || path_size > GRV_LOCATOR_PATH_MAX ||
        memchr(slash + 1, '\0', path_size) != NULL) {
        return locator_refuse(text, "the path is 1 to 1024 bytes without NUL", error);
    }
    memcpy(locator.path, slash + 1, path_size);
    *ret_locator = locator;
    return GRV_OK;
}

void grv_locator_print(const grv_locator *locator, char ret_text[GRV_LOCATOR_TEXT_SIZE])
{
    snprintf(ret_text, GRV_LOCATOR_TEXT_SIZE, "%s://%s/%s", locator->scheme, locator->bucket,
             locator->path);
}

/* Two parts of texts, each followed by `end`, which neither holds. */
static int compare_part(const char *a, const char *b, char end)
{
    size_t i = 0;
    while (a[i] != '\0' && a[i] == b[i]) {
        i++;
    }
    if (a[i] == b[i]) {
        return 0;
    }
    uint8_t from_a = (uint8_t)(a[i] ? a[i] : end);
    uint8_t from_b = (uint8_t)(b[i] ? b[i] : end);
    return from_a < from_b ? -1 : 1;
}

int grv_locator_compare(const grv_locator *a, const grv_locator *b)
{
    int order = compare_part(a->scheme, b->scheme, ':');
    if (order == 0) {
        order = compare_part(a->bucket, b->bucket, '/');
    }
    return order ? order : compare_part(a->path, b->path, '\0');
}

bool grv_locator_is_valid(const grv_locator *locator)
{
    if (!memchr(locator->scheme, '\0', sizeof locator->scheme) ||
        !memchr(locator->bucket, '\0', sizeof locator->bucket) ||
        !memchr(locator->path, '\0', sizeof locator->path)) {
        return false;
    }
    char text[GRV_LOCATOR_TEXT_SIZE];
    grv_locator again = {0};
    grv_locator_print(locator, text);
    return !grv_locator_parse(grv_bytes_of(text, strlen(text)), &again, NULL) &&
           grv_locator_compare(locator, &again) == 0;
}
