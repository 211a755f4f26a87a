/* SPDX-License-Identifier: Apache-2.0 */
/* Bodies of requests. */
#include "backend/remote/client.h"

#include <openssl/evp.h>
#include <stdlib.h>

static json_t *encode_attribute(const grv_attribute *pair)
{
    json_t *json = json_pack("{s:s}", "name", pair->name);
    /* A value that is no UTF-8 makes no string. */
    const char *value = pair->value_size > 0 ? (const char *)pair->value : "";
    json_t *text = json_stringn(value, pair->value_size);
    if (text) {
        if (json_object_set_new(json, "value", text) < 0) {
            json_decref(json);
            return NULL;
        }
        return json;
    }
    unsigned char *base64 = malloc((pair->value_size + 2) / 3 * 4 + 1);
    int size = base64 ? EVP_EncodeBlock(base64, pair->value, (int)pair->value_size) : -1;
    if (size < 0 || json_object_set_new(json, "value_base64",
                                        json_stringn((const char *)base64, (size_t)size)) < 0) {
        json_decref(json);
        json = NULL;
    }
    free(base64);
    return json;
}

json_t *grv_remote_encode_attributes(const grv_attributes *attributes)
{
    json_t *list = json_array();
    for (size_t i = 0; i < attributes->count; i++) {
        if (json_array_append_new(list, encode_attribute(&attributes->pairs[i])) < 0) {
            json_decref(list);
            return NULL;
        }
    }
    return list ? json_pack("{s:o}", "attributes", list) : NULL;
}
