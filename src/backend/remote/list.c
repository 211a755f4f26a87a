/* SPDX-License-Identifier: Apache-2.0 */
/* Lists of blobs, and of one blob's blocks, a page at a time. */
#include "backend/remote/client.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LIST_DOING "cannot list the blobs"

/* ---- Blobs ---- */

typedef struct remote_list {
    grv_blob_cursor base;
    grv_remote *remote;
    grv_list_order order;
    bool has_start;
    bool after_start;
    grv_blob_key start;
    uint64_t below; /* order newest */
    bool begun;
    grv_status ended; /* by a failure */
    bool at_end;
    size_t limit; /* of the next page */
    size_t at;
    grv_remote_page page;
} remote_list;

/* Appends text as part of a query. */
static grv_status append_escaped(grv_buffer *out, const char *text, grv_error *error)
{
    static const char digits[] = "0123456789ABCDEF";
    grv_status status = GRV_OK;
    for (; *text && !status; text++) {
        unsigned char c = (unsigned char)*text;
        bool plain = (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') ||
                     strchr("-._~", c);
        const char escaped[3] = {'%', digits[c >> 4], digits[c & 15]};
        status = plain ? grv_buffer_append(out, grv_bytes_of(text, 1), error)
                       : grv_buffer_append(out, grv_bytes_of(escaped, 3), error);
    }
    return status;
}

/* The path of the next page, with its NUL. */
static grv_status list_path(const remote_list *list, size_t limit, grv_buffer *path,
                            grv_error *error)
{
    char text[96];
    int size = snprintf(text, sizeof text, "/api/blobs?limit=%zu&order=%s", limit,
                        list->order == GRV_ORDER_NEWEST ? "newest" : "key");
    grv_status status = grv_buffer_append(path, grv_bytes_of(text, (size_t)size), error);
    if (!status && list->page.cursor) {
        status = grv_buffer_append(path, grv_bytes_of("&cursor=", 8), error);
        if (!status) {
            status = append_escaped(path, list->page.cursor, error);
        }
    } else if (!status && list->has_start) {
        char id[GRV_KEY_TEXT_SIZE];
        grv_blob_key_print(&list->start, id);
        status = grv_buffer_append(path, grv_bytes_of("&from=", 6), error);
        if (!status) {
            status = append_escaped(path, id, error);
        }
    } else if (!status && list->below > 0) {
        size = snprintf(text, sizeof text, "&below=%" PRIu64, list->below);
        status = grv_buffer_append(path, grv_bytes_of(text, (size_t)size), error);
    }
    return status ? status : grv_buffer_append(path, grv_bytes_of("", 1), error);
}

static grv_status list_load(const grv_call *call, remote_list *list, size_t limit, grv_error *error)
{
    grv_buffer path;
    grv_remote_page page;
    json_t *json;
    grv_buffer_init(&path, 8192);
    grv_status status = list_path(list, limit, &path, error);
    if (!status) {
        const grv_remote_ask ask = {
            .doing = LIST_DOING,
            .request = {.method = "GET", .path = (const char *)path.data},
        };
        status = grv_remote_ask_json(call, list->remote, &ask, &json, error);
    }
    grv_buffer_done(&path);
    if (status) {
        return status;
    }
    status = grv_remote_decode_page(json, limit, &page, error);
    json_decref(json);
    if (!status) {
        grv_remote_page_done(&list->page);
        list->page = page;
        list->at = 0;
        list->begun = true;
    }
    return status;
}

/* Whether an entry is wanted: a server may not know the wish. */
static bool list_wants(const remote_list *list, const grv_remote_entry *entry)
{
    if (entry->status) {
        return true;
    }
    if (list->order == GRV_ORDER_NEWEST) {
        return list->below == 0 || entry->info.sequence < list->below;
    }
    if (!list->has_start) {
        return true;
    }
    int order = grv_blob_key_compare(&entry->info.key, &list->start);
    return list->after_start ? order > 0 : order >= 0;
}

/* Takes entries of the page up to one that cannot be read, which fails where it is the first. */
static grv_status list_take(remote_list *list, grv_blob_info infos[], size_t capacity,
                            size_t *ret_count, grv_error *error)
{
    size_t count = 0;
    while (count < capacity && list->at < list->page.count) {
        const grv_remote_entry *entry = &list->page.entries[list->at];
        if (entry->status && count > 0) {
            break;
        }
        list->at++;
        if (entry->status) {
            return grv_error_set(error, entry->status, GRV_REMOTE_ORIGIN, "%s", entry->message);
        }
        if (list_wants(list, entry)) {
            infos[count++] = entry->info;
        }
    }
    *ret_count = count;
    return GRV_OK;
}

static grv_status list_go_on(const grv_call *call, remote_list *list, grv_blob_info infos[],
                             size_t capacity, size_t *ret_count, grv_error *error)
{
    size_t count = 0;
    while (count == 0 && !list->at_end) {
        if (list->at == list->page.count) {
            if (list->begun && !list->page.cursor) {
                list->at_end = true;
                break;
            }
            size_t limit = capacity > list->limit ? capacity : list->limit;
            limit = limit < GRV_REMOTE_LIST_MAX ? limit : GRV_REMOTE_LIST_MAX;
            grv_status status = list_load(call, list, limit, error);
            if (status) {
                list->ended = status;
                return status;
            }
            list->limit = 2 * limit; /* whoever reads on wants more */
        }
        grv_status status = list_take(list, infos, capacity, &count, error);
        if (status) {
            return status;
        }
    }
    *ret_count = count;
    return GRV_OK;
}

static grv_status list_next(const grv_call *call, grv_blob_cursor *cursor, grv_blob_info infos[],
                            size_t capacity, size_t *ret_count, grv_error *error)
{
    remote_list *list = (remote_list *)(void *)cursor;
    if (list->ended) {
        return grv_error_set(error, GRV_INVALID_ARGUMENT, GRV_REMOTE_ORIGIN,
                             "this list has failed");
    }
    grv_status status = grv_call_check(call, GRV_REMOTE_ORIGIN, error);
    if (status) {
        list->ended = status;
        return status;
    }
    return list_go_on(call, list, infos, capacity, ret_count, error);
}

static void list_free(grv_blob_cursor *cursor)
{
    remote_list *list = (remote_list *)(void *)cursor;
    grv_remote_page_done(&list->page);
    free(list);
}

static const grv_blob_cursor_ops list_ops = {
    .name = "remote",
    .next = list_next,
    .free = list_free,
};

grv_status grv_remote_open_list(const grv_call *call, grv_blob_store *store,
                                const grv_blob_list *list, grv_blob_cursor **ret_cursor,
                                grv_error *error)
{
    grv_status status = grv_call_check(call, GRV_REMOTE_ORIGIN, error);
    if (status) {
        return status;
    }
    remote_list *cursor = calloc(1, sizeof *cursor);
    if (!cursor) {
        return grv_error_set(error, GRV_LIMIT_EXCEEDED, GRV_REMOTE_ORIGIN, "no memory for a list");
    }
    cursor->base.ops = &list_ops;
    cursor->remote = ((grv_remote_blobs *)(void *)store)->remote;
    cursor->order = list->order;
    if (list->order == GRV_ORDER_NEWEST) {
        cursor->below = list->below_sequence;
    } else if (list->start) {
        cursor->has_start = true;
        cursor->after_start = list->after_start;
        cursor->start = *list->start;
    }
    *ret_cursor = &cursor->base;
    return GRV_OK;
}

/* ---- A blob's blocks ---- */

typedef struct remote_refs {
    grv_ref_cursor base;
    grv_remote *remote;
    grv_blob_key key;
    char id[GRV_KEY_TEXT_SIZE];
    uint64_t offset;  /* the next block holds it */
    bool is_joined;   /* the next block begins there, too */
    grv_status ended; /* by a failure */
    size_t at;
    grv_remote_refs page;
} remote_refs;

static grv_status refs_bad(const remote_refs *refs, const char *why, grv_error *error)
{
    return grv_error_set(error, GRV_CORRUPT, GRV_REMOTE_ORIGIN, "the manifest of %s at %s %s",
                         refs->id, refs->remote->settings.where, why);
}

static grv_status refs_load(const grv_call *call, remote_refs *refs, grv_error *error)
{
    char path[GRV_REMOTE_PATH_SIZE];
    char rest[96];
    char doing[GRV_REMOTE_DOING_SIZE];
    json_t *json;
    snprintf(rest, sizeof rest, "/manifest?offset=%" PRIu64 "&limit=%u", refs->offset,
             GRV_REMOTE_REFS_MAX);
    grv_remote_blob_path(&refs->key, rest, path);
    snprintf(doing, sizeof doing, "cannot read the manifest of %s", refs->id);
    const grv_remote_ask ask = {.doing = doing, .request = {.method = "GET", .path = path}};
    grv_status status = grv_remote_ask_json(call, refs->remote, &ask, &json, error);
    if (status) {
        return status;
    }
    grv_remote_refs page;
    status = grv_remote_decode_refs(json, &page, error);
    json_decref(json);
    if (!status) {
        grv_remote_refs_done(&refs->page);
        refs->page = page;
        refs->at = 0;
    }
    return status;
}

/* The next block must begin where the last one ended; the first, hold the byte asked for. */
static grv_status refs_check(remote_refs *refs, const grv_block_ref *ref, grv_error *error)
{
    uint64_t end;
    if (ref->offset > refs->offset || (refs->is_joined && ref->offset != refs->offset) ||
        __builtin_add_overflow(ref->offset, ref->key.size, &end) || end <= refs->offset ||
        end > refs->key.size) {
        return refs_bad(refs, "does not join up", error);
    }
    refs->is_joined = true;
    refs->offset = end;
    return GRV_OK;
}

static grv_status refs_go_on(const grv_call *call, remote_refs *refs, grv_block_ref ret_refs[],
                             size_t capacity, size_t *ret_count, grv_error *error)
{
    size_t count = 0;
    if (refs->at == refs->page.count && refs->offset < refs->key.size) {
        grv_status status = refs_load(call, refs, error);
        if (!status && refs->page.count == 0) {
            status = refs_bad(refs, "ends early", error);
        }
        if (status) {
            return status;
        }
    }
    while (count < capacity && refs->at < refs->page.count) {
        ret_refs[count] = refs->page.refs[refs->at];
        grv_status status = refs_check(refs, &ret_refs[count], error);
        if (status) {
            return status;
        }
        refs->at++;
        count++;
    }
    *ret_count = count;
    return GRV_OK;
}

static grv_status refs_next(const grv_call *call, grv_ref_cursor *cursor, grv_block_ref ret_refs[],
                            size_t capacity, size_t *ret_count, grv_error *error)
{
    remote_refs *refs = (remote_refs *)(void *)cursor;
    if (refs->ended) {
        return grv_error_set(error, refs->ended, GRV_REMOTE_ORIGIN, "this cursor failed earlier");
    }
    grv_status status = grv_call_check(call, GRV_REMOTE_ORIGIN, error);
    if (!status) {
        status = refs_go_on(call, refs, ret_refs, capacity, ret_count, error);
    }
    refs->ended = status;
    return status;
}

static void refs_free(grv_ref_cursor *cursor)
{
    remote_refs *refs = (remote_refs *)(void *)cursor;
    grv_remote_refs_done(&refs->page);
    free(refs);
}

static const grv_ref_cursor_ops refs_ops = {
    .name = "remote",
    .next = refs_next,
    .free = refs_free,
};

grv_status grv_remote_open_refs(const grv_call *call, grv_blob_store *store,
                                const grv_blob_key *key, uint64_t offset,
                                grv_ref_cursor **ret_cursor, grv_error *error)
{
    remote_refs *refs = calloc(1, sizeof *refs);
    if (!refs) {
        return grv_error_set(error, GRV_LIMIT_EXCEEDED, GRV_REMOTE_ORIGIN,
                             "no memory for a manifest");
    }
    refs->base.ops = &refs_ops;
    refs->remote = ((grv_remote_blobs *)(void *)store)->remote;
    refs->key = *key;
    refs->offset = offset;
    grv_blob_key_print(key, refs->id);
    /* The first page now: an unknown blob is told at once. */
    grv_blob_info info;
    grv_status status = offset < key->size ? refs_load(call, refs, error)
                                           : grv_remote_stat(call, refs->remote, key, &info, error);
    if (!status && offset < key->size && refs->page.count == 0) {
        status = refs_bad(refs, "ends early", error);
    }
    if (status) {
        refs_free(&refs->base);
        return status;
    }
    *ret_cursor = &refs->base;
    return GRV_OK;
}
