/* SPDX-License-Identifier: Apache-2.0 */
/* The blob store over a handle: what takes one request, and the table of all. */
#include "backend/remote/client.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void grv_remote_blob_path(const grv_blob_key *key, const char *rest,
                          char ret_path[GRV_REMOTE_PATH_SIZE])
{
    char id[GRV_KEY_TEXT_SIZE];
    grv_blob_key_print(key, id);
    snprintf(ret_path, GRV_REMOTE_PATH_SIZE, "/api/blobs/%s%s", id, rest);
}

/* "cannot VERB blob ID" */
static void doing_print(const char *verb, const grv_blob_key *key,
                        char ret_doing[GRV_REMOTE_DOING_SIZE])
{
    char id[GRV_KEY_TEXT_SIZE];
    grv_blob_key_print(key, id);
    snprintf(ret_doing, GRV_REMOTE_DOING_SIZE, "cannot %s blob %s", verb, id);
}

grv_status grv_remote_stat(const grv_call *call, grv_remote *remote, const grv_blob_key *key,
                           grv_blob_info *ret_info, grv_error *error)
{
    char path[GRV_REMOTE_PATH_SIZE];
    char doing[GRV_REMOTE_DOING_SIZE];
    grv_remote_blob_path(key, "/info", path);
    doing_print("look at", key, doing);
    const grv_remote_ask ask = {.doing = doing, .request = {.method = "GET", .path = path}};
    json_t *json;
    grv_status status = grv_remote_ask_json(call, remote, &ask, &json, error);
    if (status) {
        return status;
    }
    grv_blob_info info;
    status = grv_remote_decode_info(json, &info, error);
    json_decref(json);
    if (!status && grv_blob_key_compare(&info.key, key) != 0) {
        status = grv_remote_no_server(remote, doing, "it tells of another blob", error);
    }
    if (!status) {
        *ret_info = info;
    }
    return status;
}

static grv_status remote_stat(const grv_call *call, grv_blob_store *store, const grv_blob_key *key,
                              grv_blob_info *ret_info, grv_error *error)
{
    return grv_remote_stat(call, ((grv_remote_blobs *)(void *)store)->remote, key, ret_info, error);
}

static grv_status remote_attributes_get(const grv_call *call, grv_blob_store *store,
                                        const grv_blob_key *key, grv_attributes *attributes,
                                        grv_error *error)
{
    char path[GRV_REMOTE_PATH_SIZE];
    char doing[GRV_REMOTE_DOING_SIZE];
    grv_remote_blob_path(key, "/attributes", path);
    doing_print("read the attributes of", key, doing);
    const grv_remote_ask ask = {.doing = doing, .request = {.method = "GET", .path = path}};
    json_t *json;
    grv_remote *remote = ((grv_remote_blobs *)(void *)store)->remote;
    grv_status status = grv_remote_ask_json(call, remote, &ask, &json, error);
    if (!status) {
        status = grv_remote_decode_attributes(json, attributes, error);
        json_decref(json);
    }
    return status;
}

static grv_status refuse_read_only(const grv_remote *remote, grv_error *error)
{
    if (!remote->settings.read_only) {
        return GRV_OK;
    }
    return grv_error_set(error, GRV_UNSUPPORTED, GRV_REMOTE_ORIGIN,
                         "the store is open to read only");
}

/* Sends JSON for an answer without a body. */
static grv_status send_json(const grv_call *call, grv_remote *remote, grv_remote_ask *ask,
                            const json_t *json, grv_error *error)
{
    char *text = json ? json_dumps(json, JSON_COMPACT) : NULL;
    if (!text) {
        return grv_error_set(error, GRV_LIMIT_EXCEEDED, GRV_REMOTE_ORIGIN,
                             "no memory for a request");
    }
    grv_remote_answer answer = {0};
    ask->request.has_body = true;
    ask->request.body = grv_bytes_of(text, strlen(text));
    ask->request.type = "application/json";
    grv_status status = grv_remote_ask_for(call, remote, ask, &answer, error);
    grv_remote_answer_done(&answer);
    free(text);
    return status;
}

grv_status grv_remote_attributes_set(const grv_call *call, grv_remote *remote,
                                     const grv_blob_key *key, const grv_attributes *attributes,
                                     grv_error *error)
{
    char path[GRV_REMOTE_PATH_SIZE];
    char doing[GRV_REMOTE_DOING_SIZE];
    grv_remote_blob_path(key, "/attributes", path);
    doing_print("set the attributes of", key, doing);
    grv_remote_ask ask = {.doing = doing, .request = {.method = "PUT", .path = path}};
    grv_status status = refuse_read_only(remote, error);
    if (status) {
        return status;
    }
    json_t *json = grv_remote_encode_attributes(attributes);
    status = send_json(call, remote, &ask, json, error);
    json_decref(json);
    return status;
}

static grv_status remote_attributes_set(const grv_call *call, grv_blob_store *store,
                                        const grv_blob_key *key, const grv_attributes *attributes,
                                        grv_error *error)
{
    grv_remote *remote = ((grv_remote_blobs *)(void *)store)->remote;
    return grv_remote_attributes_set(call, remote, key, attributes, error);
}

/* Where an earlier try may have removed it, a blob that is absent was removed by that. */
static grv_status remote_remove(const grv_call *call, grv_blob_store *store,
                                const grv_blob_key *key, grv_error *error)
{
    grv_remote *remote = ((grv_remote_blobs *)(void *)store)->remote;
    char path[GRV_REMOTE_PATH_SIZE];
    char doing[GRV_REMOTE_DOING_SIZE];
    grv_remote_blob_path(key, "", path);
    doing_print("remove", key, doing);
    const grv_remote_ask ask = {.doing = doing, .request = {.method = "DELETE", .path = path}};
    grv_status status = refuse_read_only(remote, error);
    if (status) {
        return status;
    }
    grv_remote_answer answer = {0};
    status = grv_remote_ask_for(call, remote, &ask, &answer, error);
    grv_remote_answer_done(&answer);
    return status == GRV_NOT_FOUND && answer.unsure ? GRV_OK : status;
}

static grv_status remote_open_put(const grv_call *call, grv_blob_store *store,
                                  const grv_put_plan *plan, grv_blob_sink **ret_sink,
                                  grv_error *error)
{
    grv_status status = refuse_read_only(((grv_remote_blobs *)(void *)store)->remote, error);
    return status ? status : grv_remote_open_put(call, store, plan, ret_sink, error);
}

static void remote_free(grv_blob_store *store)
{
    free(store);
}

static const grv_blob_store_ops remote_ops = {
    .name = "remote",
    .open_put = remote_open_put,
    .open_get = grv_remote_open_get,
    .stat = remote_stat,
    .attributes_get = remote_attributes_get,
    .attributes_set = remote_attributes_set,
    .remove = remote_remove,
    .open_list = grv_remote_open_list,
    .open_refs = grv_remote_open_refs,
    .free = remote_free,
};

grv_status grv_blob_store_remote_new(grv_remote *remote, grv_blob_store **ret_store,
                                     grv_error *error)
{
    grv_remote_blobs *blobs = calloc(1, sizeof *blobs);
    if (!blobs) {
        return grv_error_set(error, GRV_LIMIT_EXCEEDED, GRV_REMOTE_ORIGIN, "no memory for a store");
    }
    blobs->remote = remote;
    grv_status status = grv_blob_store_init(&blobs->base, &remote_ops, remote->capabilities, error);
    if (status) {
        free(blobs);
        return status;
    }
    *ret_store = &blobs->base;
    return GRV_OK;
}

/* ---- Which of many are there ---- */

bool grv_blob_store_is_remote(const grv_blob_store *store)
{
    return store->ops == &remote_ops;
}

static json_t *missing_question(const grv_blob_key keys[], size_t count)
{
    json_t *ids = json_array();
    for (size_t i = 0; i < count; i++) {
        char id[GRV_KEY_TEXT_SIZE];
        grv_blob_key_print(&keys[i], id);
        if (json_array_append_new(ids, json_string(id)) < 0) {
            json_decref(ids);
            return NULL;
        }
    }
    return ids ? json_pack("{s:o}", "ids", ids) : NULL;
}

static grv_status present_page(const grv_call *call, grv_remote *remote, const grv_blob_key keys[],
                               size_t count, bool ret_present[], grv_error *error)
{
    json_t *question = missing_question(keys, count);
    char *text = question ? json_dumps(question, JSON_COMPACT) : NULL;
    json_decref(question);
    if (!text) {
        return grv_error_set(error, GRV_LIMIT_EXCEEDED, GRV_REMOTE_ORIGIN, "no memory for %zu keys",
                             count);
    }
    const grv_remote_ask ask = {
        .doing = "cannot ask which blobs there are",
        .request = {.method = "POST",
                    .path = "/api/blobs:missing",
                    .has_body = true,
                    .body = grv_bytes_of(text, strlen(text)),
                    .type = "application/json"},
    };
    json_t *json;
    grv_status status = grv_remote_ask_json(call, remote, &ask, &json, error);
    if (!status) {
        status = grv_remote_decode_missing(json, keys, count, ret_present, error);
        json_decref(json);
    }
    free(text);
    return status;
}

grv_status grv_blob_store_remote_present(const grv_call *call, grv_blob_store *store,
                                         const grv_blob_key keys[], size_t count,
                                         bool ret_present[], grv_error *error)
{
    grv_remote *remote = ((grv_remote_blobs *)(void *)store)->remote;
    for (size_t at = 0; at < count;) {
        size_t page = count - at < GRV_REMOTE_MISSING_MAX ? count - at : GRV_REMOTE_MISSING_MAX;
        grv_status status = present_page(call, remote, keys + at, page, ret_present + at, error);
        if (status) {
            return status;
        }
        at += page;
    }
    return GRV_OK;
}
