/* SPDX-License-Identifier: Apache-2.0 */
/* Descriptor and superblock as JSON: strict to read, stable to write. */
#include "store/descriptor.h"
#include "base/digits.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

static const char *half_name(grv_half half)
{
    return half == GRV_HALF_BYTES ? "bytes" : "metadata";
}

void grv_store_id_print(const uint8_t id[GRV_STORE_ID_SIZE],
                        char ret_text[2 * GRV_STORE_ID_SIZE + 1])
{
    grv_hex_print(id, GRV_STORE_ID_SIZE, ret_text);
}

static bool id_parse(const char *text, uint8_t ret_id[GRV_STORE_ID_SIZE])
{
    if (strlen(text) != 2 * GRV_STORE_ID_SIZE ||
        strspn(text, "0123456789abcdef") != 2 * GRV_STORE_ID_SIZE) {
        return false;
    }
    for (size_t i = 0; i < GRV_STORE_ID_SIZE; i++) {
        char digits[3] = {text[2 * i], text[2 * i + 1], '\0'};
        ret_id[i] = (uint8_t)strtoul(digits, NULL, 16);
    }
    return true;
}

grv_status grv_descriptor_encode(const grv_descriptor *descriptor, grv_buffer *out,
                                 grv_error *error)
{
    char id[2 * GRV_STORE_ID_SIZE + 1];
    char chunker[GRV_CHUNKER_TEXT_SIZE];
    grv_store_id_print(descriptor->info.id, id);
    grv_chunker_spec_print(&descriptor->info.chunker, chunker);
    json_t *root = json_pack("{s:s, s:i, s:s, s:s, s:s, s:s, s:s, s:I, s:[], s:s}", "graviton",
                             half_name(descriptor->half), "format_version",
                             (int)descriptor->info.format_version, "store_id", id, "hash",
                             grv_hash_name(descriptor->info.hash), "chunker", chunker, "blocks",
                             descriptor->blocks, "meta", descriptor->meta, "created_ns",
                             (json_int_t)descriptor->info.created_ns, "required_features", "state",
                             descriptor->creating ? "creating" : "ready");
    char *text = root ? json_dumps(root, JSON_INDENT(2)) : NULL;
    json_decref(root);
    if (!text) {
        return grv_error_set(error, GRV_LIMIT_EXCEEDED, "store", "no memory for a descriptor");
    }
    grv_status status = grv_buffer_append(out, grv_bytes_of(text, strlen(text)), error);
    free(text);
    if (!status) {
        status = grv_buffer_append(out, grv_bytes_of("\n", 1), error);
    }
    return status;
}

static grv_status decode_corrupt(const char *why, grv_error *error)
{
    return grv_error_set(error, GRV_CORRUPT, "store", "it is damaged: %s", why);
}

static bool copy_kind(json_t *root, const char *name, char ret_kind[GRV_HALF_KIND_SIZE])
{
    const char *text = json_string_value(json_object_get(root, name));
    if (!text || !*text || strlen(text) >= GRV_HALF_KIND_SIZE) {
        return false;
    }
    memcpy(ret_kind, text, strlen(text) + 1);
    return true;
}

/* Version and features first: a newer record may be of another shape. */
static grv_status decode_version(json_t *root, grv_half half, grv_error *error)
{
    const json_t *version = json_object_get(root, "format_version");
    const char *kind = json_string_value(json_object_get(root, "graviton"));
    const json_t *features = json_object_get(root, "required_features");
    if (!json_is_integer(version) || !kind || !json_is_array(features)) {
        return decode_corrupt("version, kind or features are missing", error);
    }
    if (json_integer_value(version) > GRV_STORE_FORMAT) {
        return grv_error_set(error, GRV_UNSUPPORTED, "store",
                             "the store has format %lld, this version reads up to %u: use a newer "
                             "graviton",
                             (long long)json_integer_value(version), GRV_STORE_FORMAT);
    }
    if (json_integer_value(version) < 1 || strcmp(kind, half_name(half)) != 0) {
        return decode_corrupt("it is not a descriptor of this half", error);
    }
    if (json_array_size(features) > 0) {
        const char *feature = json_string_value(json_array_get(features, 0));
        return grv_error_set(error, GRV_UNSUPPORTED, "store",
                             "the store needs feature \"%s\", which this version does not have",
                             feature ? feature : "?");
    }
    return GRV_OK;
}

static grv_status decode_fields(json_t *root, grv_half half, grv_descriptor *ret_descriptor,
                                grv_error *error)
{
    grv_descriptor descriptor = {.half = half};
    grv_status status = decode_version(root, half, error);
    if (status) {
        return status;
    }
    const char *id = json_string_value(json_object_get(root, "store_id"));
    const char *hash = json_string_value(json_object_get(root, "hash"));
    const char *chunker = json_string_value(json_object_get(root, "chunker"));
    const char *state = json_string_value(json_object_get(root, "state"));
    const json_t *created = json_object_get(root, "created_ns");
    if (!id || !hash || !chunker || !state || !json_is_integer(created) ||
        json_integer_value(created) < 0) {
        return decode_corrupt("a field is missing", error);
    }
    if (!id_parse(id, descriptor.info.id) || !copy_kind(root, "blocks", descriptor.blocks) ||
        !copy_kind(root, "meta", descriptor.meta)) {
        return decode_corrupt("a field is malformed", error);
    }
    if (grv_hash_parse(grv_bytes_of(hash, strlen(hash)), &descriptor.info.hash, NULL) ||
        grv_chunker_spec_parse(grv_bytes_of(chunker, strlen(chunker)), &descriptor.info.chunker,
                               NULL)) {
        return decode_corrupt("unknown hash or chunker", error);
    }
    descriptor.info.format_version =
        (uint32_t)json_integer_value(json_object_get(root, "format_version"));
    descriptor.info.created_ns = (uint64_t)json_integer_value(created);
    descriptor.creating = strcmp(state, "creating") == 0;
    if (!descriptor.creating && strcmp(state, "ready") != 0) {
        return decode_corrupt("unknown state", error);
    }
    *ret_descriptor = descriptor;
    return GRV_OK;
}

/* Parses JSON. Want of memory is not damage: the parser gives no text for it. */
static grv_status parse(grv_bytes text, json_t **ret_root, grv_error *error)
{
    json_error_t why = {0};
    json_t *root = json_loadb((const char *)text.data, text.size, JSON_REJECT_DUPLICATES, &why);
    if (!root && (!why.text[0] || json_error_code(&why) == json_error_out_of_memory)) {
        return grv_error_set(error, GRV_LIMIT_EXCEEDED, "store", "no memory for a descriptor");
    }
    if (!root) {
        return decode_corrupt(why.text, error);
    }
    *ret_root = root;
    return GRV_OK;
}

grv_status grv_descriptor_decode(grv_bytes text, grv_half half, grv_descriptor *ret_descriptor,
                                 grv_error *error)
{
    if (text.size == 0 || text.size > GRV_DESCRIPTOR_TEXT_MAX) {
        return decode_corrupt(text.size ? "it is too large" : "it is empty", error);
    }
    json_t *root = NULL;
    grv_status status = parse(text, &root, error);
    if (status) {
        return status;
    }
    status = json_is_object(root) ? decode_fields(root, half, ret_descriptor, error)
                                  : decode_corrupt("it is not a JSON object", error);
    json_decref(root);
    return status;
}
