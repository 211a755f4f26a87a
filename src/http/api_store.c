/* SPDX-License-Identifier: Apache-2.0 */
/* GET /api/store: what a client asks first; and the front end's table. */
#include "base/digits.h"
#include "http/api.h"
#include "http/text.h"

#define INTERFACE_VERSION 1

static json_t *orders_json(const grv_blob_store *blobs)
{
    return blobs->capabilities & GRV_BLOB_CAP_NEWEST ? json_pack("[s,s]", "key", "newest")
                                                     : json_pack("[s]", "key");
}

static grv_status store_run(http_exchange *exchange, grv_error *error)
{
    const http_server *server = exchange->server;
    const grv_store_info *info = grv_store_get_info(server->store);
    char id[2 * GRV_STORE_ID_SIZE + 1];
    char chunker[GRV_CHUNKER_TEXT_SIZE];
    grv_hex_print(info->id, GRV_STORE_ID_SIZE, id);
    grv_chunker_spec_print(&info->chunker, chunker);
    bool has_hash = info->hash != GRV_HASH_NONE;
    bool has_references = (server->blobs->capabilities & GRV_BLOB_CAP_REFS) != 0;
    json_t *object = json_object();
    bool whole =
        http_json_set(object, "version", http_json_number(INTERFACE_VERSION)) &&
        http_json_set(object, "program", json_string(GRV_VERSION)) &&
        http_json_set(object, "id", json_string(id)) &&
        http_json_set(object, "format_version", http_json_number(info->format_version)) &&
        http_json_set(object, "hash",
                      has_hash ? json_string(grv_hash_name(info->hash)) : json_null()) &&
        http_json_set(object, "chunker", json_string(chunker)) &&
        http_json_set(object, "created", http_json_time(info->created_ns)) &&
        http_json_set(object, "read_only", json_boolean(grv_store_is_read_only(server->store))) &&
        http_json_set(object, "orders", orders_json(server->blobs)) &&
        http_json_set(object, "references", json_boolean(has_references));
    if (!whole) {
        json_decref(object);
        object = NULL;
    }
    return http_reply_json(exchange, 200, object, error);
}

const http_route http_front_api[] = {
    {
        .method = "POST",
        .pattern = "/api/blobs",
        .name = "blob_post",
        .scope = HTTP_SCOPE_WRITE,
        .body = HTTP_BODY_STREAM,
        .is_stream = true,
        .begin = http_api_post_begin,
        .open = http_api_put_open,
        .piece = http_api_put_piece,
        .run = http_api_put_run,
        .done = http_api_put_done,
    },
    {
        .method = "PUT",
        .pattern = "/api/blobs/{}",
        .name = "blob_put",
        .scope = HTTP_SCOPE_WRITE,
        .body = HTTP_BODY_STREAM,
        .is_stream = true,
        .begin = http_api_put_begin,
        .expect = http_api_put_expect,
        .open = http_api_put_open,
        .piece = http_api_put_piece,
        .run = http_api_put_run,
        .done = http_api_put_done,
    },
    {
        .method = "GET",
        .pattern = "/api/blobs/{}",
        .name = "blob_get",
        .scope = HTTP_SCOPE_READ,
        .is_stream = true,
        .may_be_quick = true,
        .run = http_api_get_run,
    },
    {
        .method = "DELETE",
        .pattern = "/api/blobs/{}",
        .name = "blob_delete",
        .scope = HTTP_SCOPE_DELETE,
        .run = http_api_delete_run,
    },
    {
        .method = "GET",
        .pattern = "/api/blobs",
        .name = "blob_list",
        .scope = HTTP_SCOPE_READ,
        .run = http_api_list_run,
    },
    {
        .method = "POST",
        .pattern = "/api/blobs:missing",
        .name = "blob_missing",
        .scope = HTTP_SCOPE_READ,
        .body = HTTP_BODY_SMALL,
        .run = http_api_missing_run,
    },
    {
        .method = "GET",
        .pattern = "/api/blobs/{}/info",
        .name = "blob_info",
        .scope = HTTP_SCOPE_READ,
        .run = http_api_info_run,
    },
    {
        .method = "GET",
        .pattern = "/api/blobs/{}/manifest",
        .name = "blob_manifest",
        .scope = HTTP_SCOPE_READ,
        .run = http_api_manifest_run,
    },
    {
        .method = "GET",
        .pattern = "/api/blobs/{}/attributes",
        .name = "attributes_get",
        .scope = HTTP_SCOPE_READ,
        .run = http_api_attributes_get_run,
    },
    {
        .method = "PUT",
        .pattern = "/api/blobs/{}/attributes",
        .name = "attributes_put",
        .scope = HTTP_SCOPE_WRITE,
        .body = HTTP_BODY_SMALL,
        .run = http_api_attributes_put_run,
    },
    {
        .method = "GET",
        .pattern = "/api/store",
        .name = "store",
        .scope = HTTP_SCOPE_READ,
        .run = store_run,
    },
    {.method = NULL},
};
