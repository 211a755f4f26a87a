/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The attributes record: pairs kept sorted by name, and their stored form. A record in memory
 * always fits its stored form's bounds, so encoding one fails for want of memory alone.
 */
#include "core/wire.h"

#include <assert.h>
#include <graviton/attributes.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#define ATTRIBUTES_VERSION       1u
#define ATTRIBUTES_HEADER_SIZE   8u
#define ATTRIBUTES_CHECKSUM_SIZE 8u
#define PAIR_HEADER_SIZE         3u /* name size (1), value size (2) */

static const uint8_t attributes_magic[4] = {'G', 'R', 'V', 'A'};

_Static_assert(GRV_ATTRIBUTE_NAME_MAX <= UINT8_MAX, "a name's size is stored in one byte");
_Static_assert(GRV_ATTRIBUTE_VALUE_MAX <= UINT16_MAX, "a value's size is stored in two bytes");

void grv_attributes_init(grv_attributes *attributes)
{
    *attributes = (grv_attributes){0};
}

void grv_attributes_done(grv_attributes *attributes)
{
    for (size_t i = 0; i < attributes->count; i++) {
        free(attributes->pairs[i].name);
        free(attributes->pairs[i].value);
    }
    free(attributes->pairs);
    *attributes = (grv_attributes){0};
}

/* Where `name` is, or where it would go. */
static size_t find_place(const grv_attributes *attributes, const char *name, bool *ret_found)
{
    size_t low = 0;
    size_t high = attributes->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        int order = strcmp(attributes->pairs[middle].name, name);
        if (order == 0) {
            *ret_found = true;
            return middle;
        }
        if (order < 0) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    *ret_found = false;
    return low;
}

static bool name_is_valid(const char *name, size_t size)
{
    if (size < 1 || size > GRV_ATTRIBUTE_NAME_MAX) {
        return false;
    }
    for (size_t i = 0; i < size; i++) {
        char c = name[i];
        bool letter = c >= 'a' && c <= 'z';
        bool digit = c >= '0' && c <= '9';
        if (!letter && !digit && c != '.' && c != '_' && c != '-') {
            return false;
        }
    }
    return true;
}

static size_t encoded_size(const grv_attributes *attributes)
{
    size_t size = ATTRIBUTES_HEADER_SIZE + ATTRIBUTES_CHECKSUM_SIZE;
    for (size_t i = 0; i < attributes->count; i++) {
        const grv_attribute *pair = &attributes->pairs[i];
        size += PAIR_HEADER_SIZE + strlen(pair->name) + pair->value_size;
    }
    return size;
}

static grv_status no_memory(grv_error *error)
{
    return grv_error_set(error, GRV_LIMIT_EXCEEDED, "attributes", "no memory for an attribute");
}

static uint8_t *copy_value(grv_bytes value)
{
    uint8_t *copy = malloc(value.size ? value.size : 1);
    if (copy && value.size) {
        memcpy(copy, value.data, value.size);
    }
    return copy;
}

/* Puts a new pair at `place`; takes `value` over. */
static grv_status insert_pair(grv_attributes *attributes, size_t place, const char *name,
                              uint8_t *value, size_t value_size, grv_error *error)
{
    size_t count = attributes->count;
    grv_attribute *pairs = realloc(attributes->pairs, (count + 1) * sizeof *pairs);
    if (!pairs) {
        return no_memory(error);
    }
    attributes->pairs = pairs;
    char *own_name = strdup(name);
    if (!own_name) {
        return no_memory(error);
    }
    memmove(pairs + place + 1, pairs + place, (count - place) * sizeof *pairs);
    pairs[place] = (grv_attribute){own_name, value, value_size};
    attributes->count = count + 1;
    return GRV_OK;
}

grv_status grv_attributes_set(grv_attributes *attributes, const char *name, grv_bytes value,
                              grv_error *error)
{
    size_t name_size = strnlen(name, GRV_ATTRIBUTE_NAME_MAX + 1);
    if (!name_is_valid(name, name_size)) {
        return grv_error_set(error, GRV_INVALID_ARGUMENT, "attributes",
                             "bad attribute name \"%.64s\": want 1 to %u of a-z 0-9 . _ -", name,
                             GRV_ATTRIBUTE_NAME_MAX);
    }
    if (value.size > GRV_ATTRIBUTE_VALUE_MAX) {
        return grv_error_set(error, GRV_LIMIT_EXCEEDED, "attributes",
                             "attribute \"%s\" has %zu bytes, at most %u", name, value.size,
                             GRV_ATTRIBUTE_VALUE_MAX);
    }
    bool found = false;
    size_t place = find_place(attributes, name, &found);
    if (!found && attributes->count == GRV_ATTRIBUTES_MAX) {
        return grv_error_set(error, GRV_LIMIT_EXCEEDED, "attributes",
                             "more than %u attributes of one blob", GRV_ATTRIBUTES_MAX);
    }
    size_t size = encoded_size(attributes) + value.size;
    size = found ? size - attributes->pairs[place].value_size : size + PAIR_HEADER_SIZE + name_size;
    if (size > GRV_ATTRIBUTES_BYTES_MAX) {
        return grv_error_set(error, GRV_LIMIT_EXCEEDED, "attributes",
                             "the attributes of one blob take %zu bytes, at most %u", size,
                             GRV_ATTRIBUTES_BYTES_MAX);
    }
    uint8_t *copy = copy_value(value);
    if (!copy) {
        return no_memory(error);
    }
    if (found) {
        free(attributes->pairs[place].value);
        attributes->pairs[place].value = copy;
        attributes->pairs[place].value_size = value.size;
        return GRV_OK;
    }
    grv_status status = insert_pair(attributes, place, name, copy, value.size, error);
    if (status) {
        free(copy);
    }
    return status;
}

void grv_attributes_unset(grv_attributes *attributes, const char *name)
{
    bool found = false;
    size_t place = find_place(attributes, name, &found);
    if (!found) {
        return;
    }
    grv_attribute *pair = &attributes->pairs[place];
    free(pair->name);
    free(pair->value);
    attributes->count--;
    memmove(pair, pair + 1, (attributes->count - place) * sizeof *pair);
}

const grv_attribute *grv_attributes_get(const grv_attributes *attributes, const char *name)
{
    bool found = false;
    size_t place = find_place(attributes, name, &found);
    return found ? &attributes->pairs[place] : NULL;
}

grv_status grv_attributes_encode(const grv_attributes *attributes, grv_buffer *out,
                                 grv_error *error)
{
    size_t size = encoded_size(attributes);
    assert(attributes->count <= GRV_ATTRIBUTES_MAX && size <= GRV_ATTRIBUTES_BYTES_MAX);
    grv_status status = grv_buffer_reserve(out, size, error);
    if (status) {
        return status;
    }
    uint8_t *start = out->data + out->size;
    uint8_t *at = start;
    memcpy(at, attributes_magic, sizeof attributes_magic);
    grv_wire_put_u16(at + 4, ATTRIBUTES_VERSION);
    grv_wire_put_u16(at + 6, (uint16_t)attributes->count);
    at += ATTRIBUTES_HEADER_SIZE;
    for (size_t i = 0; i < attributes->count; i++) {
        const grv_attribute *pair = &attributes->pairs[i];
        size_t name_size = strlen(pair->name);
        at[0] = (uint8_t)name_size;
        grv_wire_put_u16(at + 1, (uint16_t)pair->value_size);
        memcpy(at + PAIR_HEADER_SIZE, pair->name, name_size);
        memcpy(at + PAIR_HEADER_SIZE + name_size, pair->value, pair->value_size);
        at += PAIR_HEADER_SIZE + name_size + pair->value_size;
    }
    grv_wire_put_u64(at, XXH3_64bits(start, (size_t)(at - start)));
    out->size += size;
    return GRV_OK;
}

static grv_status corrupt(const char *what, grv_error *error)
{
    return grv_error_set(error, GRV_CORRUPT, "attributes", "attributes record: %s", what);
}

/* Decodes the pair at *at, which ends before `end`, into `attributes`. */
static grv_status decode_pair(const uint8_t **at, const uint8_t *end, grv_attributes *attributes,
                              grv_error *error)
{
    size_t left = (size_t)(end - *at);
    if (left < PAIR_HEADER_SIZE) {
        return corrupt("it ends inside a pair", error);
    }
    size_t name_size = (*at)[0];
    size_t value_size = grv_wire_get_u16(*at + 1);
    if (left - PAIR_HEADER_SIZE < name_size + value_size) {
        return corrupt("it ends inside a pair", error);
    }
    const uint8_t *bytes = *at + PAIR_HEADER_SIZE;
    char name[GRV_ATTRIBUTE_NAME_MAX + 1];
    memcpy(name, bytes, name_size);
    name[name_size] = '\0';
    if (!name_is_valid(name, name_size) || value_size > GRV_ATTRIBUTE_VALUE_MAX) {
        return corrupt("a name or value is out of bounds", error);
    }
    if (attributes->count > 0 && strcmp(attributes->pairs[attributes->count - 1].name, name) >= 0) {
        return corrupt("its names are not in order", error);
    }
    *at = bytes + name_size + value_size;
    return grv_attributes_set(attributes, name, grv_bytes_of(bytes + name_size, value_size), error);
}

grv_status grv_attributes_decode(grv_bytes bytes, grv_attributes *attributes, grv_error *error)
{
    if (bytes.size < ATTRIBUTES_HEADER_SIZE + ATTRIBUTES_CHECKSUM_SIZE ||
        bytes.size > GRV_ATTRIBUTES_BYTES_MAX) {
        return corrupt("its size is out of bounds", error);
    }
    size_t body = bytes.size - ATTRIBUTES_CHECKSUM_SIZE;
    if (memcmp(bytes.data, attributes_magic, sizeof attributes_magic) != 0) {
        return corrupt("no magic number", error);
    }
    if (grv_wire_get_u64(bytes.data + body) != XXH3_64bits(bytes.data, body)) {
        return corrupt("the checksum does not match", error);
    }
    unsigned version = grv_wire_get_u16(bytes.data + 4);
    if (version > ATTRIBUTES_VERSION) {
        return grv_error_set(error, GRV_UNSUPPORTED, "attributes",
                             "attributes record of version %u: this graviton reads up to %u",
                             version, ATTRIBUTES_VERSION);
    }
    size_t count = grv_wire_get_u16(bytes.data + 6);
    if (version < 1 || count > GRV_ATTRIBUTES_MAX) {
        return corrupt("its version or number of pairs is out of bounds", error);
    }
    const uint8_t *at = bytes.data + ATTRIBUTES_HEADER_SIZE;
    const uint8_t *end = bytes.data + body;
    grv_attributes decoded;
    grv_attributes_init(&decoded);
    grv_status status = GRV_OK;
    for (size_t i = 0; i < count && !status; i++) {
        status = decode_pair(&at, end, &decoded, error);
    }
    if (!status && at != end) {
        status = corrupt("bytes follow its last pair", error);
    }
    if (status) {
        grv_attributes_done(&decoded);
        return status;
    }
    grv_attributes_done(attributes);
    *attributes = decoded;
    return GRV_OK;
}
