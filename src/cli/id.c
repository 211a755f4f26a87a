/* SPDX-License-Identifier: Apache-2.0 */
/* Ids typed in full or as a prefix; a prefix is looked up with one short scan in key order. */
#include "cli/id.h"

#include <stdio.h>
#include <string.h>

#define ID_ORIGIN     "id"
#define ID_CANDIDATES 4 /* listed for a prefix that fits several */

static int digit_value(char c)
{
    if (c >= '0' && c <= '9') {
        return c - '0';
    }
    if (c >= 'a' && c <= 'f') {
        return c - 'a' + 10;
    }
    if (c >= 'A' && c <= 'F') {
        return c - 'A' + 10;
    }
    return -1;
}

static grv_status id_refuse(const char *text, const char *why, grv_error *error)
{
    return grv_error_set(error, GRV_INVALID_ARGUMENT, ID_ORIGIN, "bad id \"%.120s\": %s", text,
                         why);
}

static grv_status prefix_parse(const char *text, const char *digits, cli_id *id, grv_error *error)
{
    size_t count = strlen(digits);
    for (size_t i = 0; i < count; i++) {
        int value = digit_value(digits[i]);
        if (value < 0) {
            return id_refuse(text, "want ALGORITHM:64 HEX DIGITS:SIZE, or the first hex digits",
                             error);
        }
        if (i < 2 * GRV_DIGEST_SIZE) {
            uint8_t *byte = &id->key.digest.bytes[i / 2];
            *byte = (uint8_t)(*byte | (i % 2 ? value : value << 4));
        }
    }
    if (count > 2 * GRV_DIGEST_SIZE) {
        return id_refuse(text, "a digest has 64 hex digits", error);
    }
    if (count < CLI_ID_DIGITS_MIN) {
        return id_refuse(text, "a prefix needs at least 8 hex digits", error);
    }
    id->digits = (unsigned)count;
    return GRV_OK;
}

grv_status cli_id_parse(const char *text, cli_id *ret_id, grv_error *error)
{
    cli_id id = {0};
    grv_status status;
    const char *colon = strchr(text, ':');
    if (colon && strchr(colon + 1, ':')) {
        status = grv_blob_key_parse(grv_bytes_of(text, strlen(text)), &id.key, error);
        if (status) {
            return status;
        }
        id.whole = true;
        *ret_id = id;
        return GRV_OK;
    }
    if (colon) {
        grv_bytes name = grv_bytes_of(text, (size_t)(colon - text));
        if (grv_hash_parse(name, &id.key.digest.hash, NULL)) {
            return id_refuse(text, "unknown algorithm, use blake3 or sha256", error);
        }
    }
    status = prefix_parse(text, colon ? colon + 1 : text, &id, error);
    if (status) {
        return status;
    }
    *ret_id = id;
    return GRV_OK;
}

static bool id_fits(const cli_id *id, const grv_blob_key *start, const grv_blob_key *key)
{
    size_t whole = id->digits / 2;
    if (key->digest.hash != start->digest.hash ||
        memcmp(key->digest.bytes, start->digest.bytes, whole) != 0) {
        return false;
    }
    return id->digits % 2 == 0 ||
           (key->digest.bytes[whole] & 0xf0) == (start->digest.bytes[whole] & 0xf0);
}

/* The first blobs with this algorithm that fit, at most ID_CANDIDATES + 1. A record among them that
 * cannot be read does not hide the others; where nothing else fits, it is what is told. */
static grv_status candidates_of(const grv_call *call, grv_store *store, const cli_id *id,
                                grv_hash hash, grv_blob_info infos[], size_t *ret_count,
                                grv_error *error)
{
    grv_blob_key start = id->key;
    start.digest.hash = hash;
    grv_blob_list list = {.order = GRV_ORDER_KEY, .start = &start};
    grv_blob_cursor *cursor;
    grv_status status =
        grv_blob_store_open_list(call, grv_store_blobs(store), &list, &cursor, error);
    if (status) {
        return status;
    }
    size_t count = 0;
    grv_error unread = GRV_ERROR_INIT;
    while (count <= ID_CANDIDATES) {
        size_t got = 0;
        status = grv_blob_cursor_next(call, cursor, infos + count, ID_CANDIDATES + 1 - count, &got,
                                      error);
        if (status == GRV_CORRUPT || status == GRV_UNSUPPORTED) {
            unread = *error;
            status = GRV_OK;
            continue;
        }
        if (status == GRV_INVALID_ARGUMENT && unread.status) {
            *error = unread; /* it ended the list: there may be more that fit */
            status = unread.status;
        }
        if (status || got == 0) {
            break;
        }
        size_t fitting = 0;
        while (fitting < got && id_fits(id, &start, &infos[count + fitting].key)) {
            fitting++;
        }
        count += fitting;
        if (fitting < got) {
            break;
        }
    }
    grv_blob_cursor_free(cursor);
    *ret_count = count;
    if (!status && count == 0 && unread.status) {
        *error = unread;
        status = unread.status;
    }
    return status;
}

/* The same with any algorithm that the id allows. */
static grv_status candidates_find(const grv_call *call, grv_store *store, const cli_id *id,
                                  grv_blob_info infos[], size_t *ret_count, grv_error *error)
{
    grv_hash hash = id->key.digest.hash;
    if (hash == GRV_HASH_NONE) {
        hash = grv_store_get_info(store)->hash;
    }
    if (hash != GRV_HASH_NONE) {
        return candidates_of(call, store, id, hash, infos, ret_count, error);
    }
    grv_blob_info others[ID_CANDIDATES + 1];
    size_t count = 0;
    size_t other_count = 0;
    grv_error unread = GRV_ERROR_INIT;
    grv_status status = candidates_of(call, store, id, GRV_HASH_BLAKE3, infos, &count, &unread);
    if (!status || status == GRV_CORRUPT || status == GRV_UNSUPPORTED) {
        status = candidates_of(call, store, id, GRV_HASH_SHA256, others, &other_count, error);
    }
    if (unread.status && other_count == 0) {
        *error = unread;
        status = unread.status;
    }
    for (size_t i = 0; !status && i < other_count && count <= ID_CANDIDATES; i++) {
        infos[count++] = others[i];
    }
    *ret_count = count;
    return status;
}

static grv_status ambiguous(const cli_id *id, const grv_blob_info infos[], size_t count,
                            grv_error *error)
{
    char hex[2 * GRV_DIGEST_SIZE + 1];
    char list[(ID_CANDIDATES + 1) * (GRV_KEY_TEXT_SIZE + 2)] = "";
    size_t used = 0;
    grv_digest_hex(&id->key.digest, hex);
    for (size_t i = 0; i < count && i < ID_CANDIDATES; i++) {
        char text[GRV_KEY_TEXT_SIZE];
        grv_blob_key_print(&infos[i].key, text);
        used += (size_t)snprintf(list + used, sizeof list - used, " %s", text);
    }
    return grv_error_set(error, GRV_INVALID_ARGUMENT, ID_ORIGIN, "ambiguous id %.*s, it fits%s%s",
                         (int)id->digits, hex, list, count > ID_CANDIDATES ? " and more" : "");
}

grv_status cli_id_resolve(const grv_call *call, grv_store *store, const cli_id *id,
                          grv_blob_key *ret_key, grv_error *error)
{
    if (id->whole) {
        *ret_key = id->key;
        return GRV_OK;
    }
    grv_blob_info infos[ID_CANDIDATES + 1];
    size_t count = 0;
    grv_status status = candidates_find(call, store, id, infos, &count, error);
    if (status) {
        return status;
    }
    if (count == 0) {
        char hex[2 * GRV_DIGEST_SIZE + 1];
        grv_digest_hex(&id->key.digest, hex);
        return grv_error_set(error, GRV_NOT_FOUND, ID_ORIGIN, "no blob here begins with %.*s",
                             (int)id->digits, hex);
    }
    if (count > 1) {
        return ambiguous(id, infos, count, error);
    }
    *ret_key = infos[0].key;
    return GRV_OK;
}
