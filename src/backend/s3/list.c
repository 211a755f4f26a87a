/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Pages of lists. A page begins after a key and not at the service's own token: so a list can be
 * taken up anywhere, and keys that XML cannot hold are sent in a form that it can.
 */
#include "backend/s3/client.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void grv_s3_page_done(grv_s3_page *page)
{
    for (size_t i = 0; i < page->count; i++) {
        free(page->entries[i].key);
    }
    free(page->entries);
    free(page->token);
    *page = (grv_s3_page){0};
}

/* A page that is being read. */
typedef struct reading {
    grv_s3_page page;
    size_t capacity;
    bool is_list;
    bool is_encoded;
    bool has_truncated;
    grv_s3_entry entry; /* the one that is open */
} reading;

static grv_status bad(const char *what, grv_error *error)
{
    return grv_error_set(error, GRV_CORRUPT, "s3", "the answer is no list of objects: %s", what);
}

static grv_status keep(const char *text, char **ret_text, grv_error *error)
{
    char *copy = strdup(text);
    if (!copy) {
        return grv_error_set(error, GRV_LIMIT_EXCEEDED, "s3", "no memory for a list");
    }
    free(*ret_text);
    *ret_text = copy;
    return GRV_OK;
}

static grv_status list_begin(void *context, const char *const names[], unsigned depth,
                             grv_error *error)
{
    reading *list = context;
    if (depth == 1) {
        list->is_list = strcmp(names[0], "ListBucketResult") == 0;
        return list->is_list ? GRV_OK : bad("it has another root", error);
    }
    if (depth == 2 && strcmp(names[1], "Contents") == 0) {
        free(list->entry.key);
        list->entry = (grv_s3_entry){.size = UINT64_MAX};
    }
    return GRV_OK;
}

static grv_status entry_add(reading *list, grv_error *error)
{
    grv_s3_page *page = &list->page;
    if (!list->entry.key || list->entry.size == UINT64_MAX) {
        return bad("an object without key or size", error);
    }
    if (page->count == GRV_S3_PAGE_MAX) {
        return bad("more objects than a page has", error);
    }
    if (page->count == list->capacity) {
        size_t capacity = list->capacity ? 4 * list->capacity : 16;
        grv_s3_entry *entries = realloc(page->entries, capacity * sizeof *entries);
        if (!entries) {
            return grv_error_set(error, GRV_LIMIT_EXCEEDED, "s3", "no memory for a list");
        }
        page->entries = entries;
        list->capacity = capacity;
    }
    page->entries[page->count++] = list->entry;
    list->entry = (grv_s3_entry){0};
    return GRV_OK;
}

static grv_status entry_text(reading *list, const char *name, char *text, grv_error *error)
{
    grv_s3_entry *entry = &list->entry;
    if (strcmp(name, "Key") == 0) {
        return keep(text, &entry->key, error);
    }
    if (strcmp(name, "ETag") == 0) {
        grv_s3_etag_copy(entry->etag, text, strlen(text));
    } else if (strcmp(name, "Size") == 0) {
        if (!grv_s3_number_parse(text, &entry->size) || entry->size > INT64_MAX) {
            return bad("a size that is none", error);
        }
    } else if (strcmp(name, "LastModified") == 0) {
        uint64_t seconds;
        if (!grv_s3_time_parse_iso(text, &seconds)) {
            return bad("a time that is none", error);
        }
        entry->modified_ns = seconds * UINT64_C(1000000000);
    }
    return GRV_OK;
}

static grv_status list_end(void *context, const char *const names[], unsigned depth, char *text,
                           grv_error *error)
{
    reading *list = context;
    if (depth == 3 && strcmp(names[1], "Contents") == 0) {
        return entry_text(list, names[2], text, error);
    }
    if (depth != 2) {
        return GRV_OK;
    }
    if (strcmp(names[1], "Contents") == 0) {
        return entry_add(list, error);
    }
    if (strcmp(names[1], "NextContinuationToken") == 0) {
        return keep(text, &list->page.token, error);
    }
    if (strcmp(names[1], "EncodingType") == 0) {
        list->is_encoded = strcmp(text, "url") == 0;
    } else if (strcmp(names[1], "IsTruncated") == 0) {
        list->has_truncated = true;
        list->page.truncated = strcmp(text, "true") == 0;
        if (!list->page.truncated && strcmp(text, "false") != 0) {
            return bad("it does not say whether there is more", error);
        }
    }
    return GRV_OK;
}

grv_status grv_s3_page_parse(grv_bytes xml, grv_s3_page *ret_page, grv_error *error)
{
    reading list = {0};
    grv_s3_xml_walk walk = {&list, list_begin, list_end};
    grv_status status = grv_s3_xml_walk_run(&walk, xml, error);
    free(list.entry.key);
    if (!status && !list.has_truncated) {
        status = bad("it does not say whether there is more", error);
    }
    for (size_t i = 0; i < list.page.count && !status; i++) {
        char *key = list.page.entries[i].key;
        if (list.is_encoded && !grv_s3_decode(key)) {
            status = bad("a key that is not encoded", error);
        } else if (!*key) {
            status = bad("an empty key", error);
        }
    }
    if (status) {
        grv_s3_page_done(&list.page);
        return status;
    }
    *ret_page = list.page;
    return GRV_OK;
}

/* The keys are those that were asked for, in order; so whoever goes on after the last one leaves
 * nothing out and comes to an end. */
static grv_status page_check(const grv_s3_page *page, const char *prefix, const char *after,
                             unsigned most, grv_error *error)
{
    size_t prefix_size = strlen(prefix);
    const char *before = after;
    if (page->count > most || (page->truncated && page->count == 0)) {
        return bad("more or fewer objects than were asked for", error);
    }
    for (size_t i = 0; i < page->count; i++) {
        const char *key = page->entries[i].key;
        if (strncmp(key, prefix, prefix_size) != 0) {
            return bad("a key that was not asked for", error);
        }
        if (strcmp(key, before) <= 0) {
            return bad("keys out of order", error);
        }
        before = key;
    }
    return GRV_OK;
}

grv_status grv_s3_list(const grv_call *call, grv_s3 *s3, const char *bucket, const char *prefix,
                       const char *after, unsigned most, grv_s3_page *ret_page, grv_error *error)
{
    char count[16];
    snprintf(count, sizeof count, "%u", most);
    prefix = prefix ? prefix : "";
    after = after ? after : "";
    grv_s3_pair query[5] = {{"list-type", "2"}, {"encoding-type", "url"}, {"max-keys", count}};
    size_t pairs = 3;
    if (*prefix) {
        query[pairs++] = (grv_s3_pair){"prefix", prefix};
    }
    if (*after) {
        query[pairs++] = (grv_s3_pair){"start-after", after};
    }
    grv_buffer body;
    grv_buffer_init(&body, GRV_S3_XML_MAX);
    grv_s3_request request = {
        .method = GRV_S3_GET, .bucket = bucket, .query = query, .query_count = pairs, .out = &body};
    grv_s3_page page = {0};
    grv_status status = grv_s3_run(call, s3, &request, 1, error);
    if (!status) {
        status = grv_s3_page_parse(grv_buffer_bytes(&body), &page, error);
        if (!status) {
            status = page_check(&page, prefix, after, most, error);
        }
        if (status) {
            grv_error_prefix(error, "cannot list s3://%.63s/%.120s at %.80s", bucket, prefix,
                             grv_s3_where(s3));
        }
    }
    grv_buffer_done(&body);
    if (status) {
        grv_s3_page_done(&page);
        return status;
    }
    *ret_page = page;
    return GRV_OK;
}
