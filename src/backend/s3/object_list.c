/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Lists of the object store over S3: pages by key, each a request of its own that begins behind the
 * last key shown, so that a failed one can be tried again.
 *
 * Keys are UTF-8, and a prefix or a place to begin behind need not be: the service is asked with as
 * much of it as is UTF-8, and what it answers too much is left out here.
 */
#include "backend/s3/objects.h"

#include <stdlib.h>
#include <string.h>

#define ORIGIN GRV_S3_OBJECTS_ORIGIN
/* Keys of a page, at most, and at least: a short list costs a short page. */
#define PAGE_MAX 1000u
#define PAGE_MIN 100u

typedef struct s3_cursor {
    grv_object_cursor base;
    grv_s3_objects *store;
    char bucket[GRV_LOCATOR_BUCKET_MAX + 1];
    size_t prefix_size;
    size_t after_size;
    uint8_t prefix[GRV_LOCATOR_PATH_MAX];
    uint8_t after[GRV_LOCATOR_PATH_MAX];
    char ask_prefix[GRV_LOCATOR_PATH_MAX + 1]; /* as much of them as is UTF-8 */
    char ask_after[GRV_LOCATOR_PATH_MAX + 1];
    bool ended; /* no page follows this one */
    grv_s3_page page;
    size_t next; /* of the page's entries */
} s3_cursor;

/* Keeps as much of `bytes` as is UTF-8. */
static void keep_utf8(grv_bytes bytes, char ret_text[GRV_LOCATOR_PATH_MAX + 1])
{
    size_t size = bytes.size;
    if (size > 0) {
        memcpy(ret_text, bytes.data, size);
    }
    ret_text[size] = '\0';
    while (size > 0 && grv_s3_key_check(ret_text, NULL)) {
        ret_text[--size] = '\0';
    }
}

/* True where the list shows this key. */
static bool is_wanted(const s3_cursor *cursor, const char *key)
{
    grv_bytes path = grv_bytes_of(key, strlen(key));
    return path.size > 0 && path.size <= GRV_LOCATOR_PATH_MAX && path.size >= cursor->prefix_size &&
           (cursor->prefix_size == 0 || memcmp(key, cursor->prefix, cursor->prefix_size) == 0) &&
           grv_bytes_compare(path, grv_bytes_of(cursor->after, cursor->after_size)) > 0;
}

/* Fetches the next page, which the caller finds behind the one there is. */
static grv_status cursor_fetch(const grv_call *call, s3_cursor *cursor, size_t capacity,
                               grv_error *error)
{
    grv_s3_page page = {0};
    const char *after = cursor->page.count > 0 ? cursor->page.entries[cursor->page.count - 1].key
                                               : cursor->ask_after;
    unsigned most = capacity < PAGE_MIN ? PAGE_MIN : PAGE_MAX;
    grv_status status = grv_s3_list(call, cursor->store->s3, cursor->bucket, cursor->ask_prefix,
                                    after, most, &page, error);
    if (status) {
        return status;
    }
    if (page.truncated && page.count == 0) {
        grv_s3_page_done(&page);
        return grv_error_set(error, GRV_CORRUPT, ORIGIN,
                             "list of %s://%s: an empty page says that others follow",
                             GRV_S3_OBJECTS_SCHEME, cursor->bucket);
    }
    grv_s3_page_done(&cursor->page);
    cursor->page = page;
    cursor->next = 0;
    cursor->ended = !page.truncated;
    return GRV_OK;
}

static grv_status s3_cursor_next(const grv_call *call, grv_object_cursor *base,
                                 grv_object_entry entries[], size_t capacity, size_t *ret_count,
                                 grv_error *error)
{
    s3_cursor *cursor = (s3_cursor *)base;
    size_t count = 0;
    grv_status status = grv_call_check(call, ORIGIN, error);
    while (!status && count == 0) {
        if (cursor->next == cursor->page.count) {
            if (cursor->ended) {
                break;
            }
            status = cursor_fetch(call, cursor, capacity, error);
            continue;
        }
        size_t next = cursor->next;
        while (!status && count < capacity && next < cursor->page.count) {
            const grv_s3_entry *entry = &cursor->page.entries[next++];
            if (is_wanted(cursor, entry->key)) {
                entries[count].path = entry->key;
                status = grv_s3_objects_info(entry->etag, entry->size, entry->modified_ns,
                                             &entries[count].info, error);
                count++;
            }
        }
        cursor->next = status ? cursor->next : next;
    }
    if (status) {
        return status;
    }
    *ret_count = count;
    return GRV_OK;
}

static void s3_cursor_free(grv_object_cursor *base)
{
    s3_cursor *cursor = (s3_cursor *)base;
    grv_s3_page_done(&cursor->page);
    free(cursor);
}

static const grv_object_cursor_ops s3_cursor_ops = {
    .name = "s3",
    .next = s3_cursor_next,
    .free = s3_cursor_free,
};

grv_status grv_s3_objects_open_list(const grv_call *call, grv_object_store *base,
                                    const grv_object_list *list, grv_object_cursor **ret_cursor,
                                    grv_error *error)
{
    grv_s3_objects *store = (grv_s3_objects *)base;
    grv_locator locator = {.scheme = GRV_S3_OBJECTS_SCHEME, .path = "x"};
    size_t size = strlen(list->bucket);
    if (size <= GRV_LOCATOR_BUCKET_MAX) {
        memcpy(locator.bucket, list->bucket, size);
    }
    grv_status status = grv_s3_objects_check(call, store, &locator, error);
    if (status) {
        return status;
    }
    s3_cursor *cursor = calloc(1, sizeof *cursor);
    if (!cursor) {
        return grv_error_set(error, GRV_LIMIT_EXCEEDED, ORIGIN, "no memory for a list");
    }
    cursor->base.ops = &s3_cursor_ops;
    cursor->store = store;
    memcpy(cursor->bucket, locator.bucket, sizeof cursor->bucket);
    cursor->prefix_size = list->prefix.size;
    cursor->after_size = list->after.size;
    if (list->prefix.size > 0) {
        memcpy(cursor->prefix, list->prefix.data, list->prefix.size);
    }
    if (list->after.size > 0) {
        memcpy(cursor->after, list->after.data, list->after.size);
    }
    keep_utf8(list->prefix, cursor->ask_prefix);
    keep_utf8(list->after, cursor->ask_after);
    *ret_cursor = &cursor->base;
    return GRV_OK;
}
