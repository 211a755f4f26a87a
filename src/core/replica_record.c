/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Stored forms of a replica index. A record has exactly one form: its locators in order, each as it
 * prints, so that equal sets are equal bytes.
 */
#include "core/replica_record.h"

#include "core/wire.h"

#include <assert.h>
#include <string.h>
#include <xxhash.h>

#define RECORD_VERSION       1u
#define RECORD_HEADER_SIZE   8u
#define RECORD_CHECKSUM_SIZE 8u

static const uint8_t record_magic[4] = {'G', 'R', 'V', 'L'};

_Static_assert(GRV_LOCATOR_SET_MAX <= UINT16_MAX, "the number of locators is stored in two bytes");

grv_status grv_replica_record_encode(const grv_locator_set *set, grv_buffer *out, grv_error *error)
{
    assert(set->count >= 1 && set->count <= GRV_LOCATOR_SET_MAX);
    char text[GRV_LOCATOR_TEXT_SIZE];
    size_t size = RECORD_HEADER_SIZE + RECORD_CHECKSUM_SIZE;
    for (size_t i = 0; i < set->count; i++) {
        grv_locator_print(&set->locators[i], text);
        assert(strlen(text) <= GRV_REPLICA_RECORD_LOCATOR_MAX);
        size += 2 + strlen(text);
    }
    grv_status status = grv_buffer_reserve(out, size, error);
    if (status) {
        return status;
    }
    uint8_t *start = out->data + out->size;
    uint8_t *at = start;
    memcpy(at, record_magic, sizeof record_magic);
    grv_wire_put_u16(at + 4, RECORD_VERSION);
    grv_wire_put_u16(at + 6, (uint16_t)set->count);
    at += RECORD_HEADER_SIZE;
    for (size_t i = 0; i < set->count; i++) {
        grv_locator_print(&set->locators[i], text);
        size_t text_size = strlen(text);
        grv_wire_put_u16(at, (uint16_t)text_size);
        memcpy(at + 2, text, text_size);
        at += 2 + text_size;
    }
    grv_wire_put_u64(at, XXH3_64bits(start, (size_t)(at - start)));
    out->size += size;
    return GRV_OK;
}

static grv_status corrupt(const char *what, grv_error *error)
{
    return grv_error_set(error, GRV_CORRUPT, "replica", "replica record: %s", what);
}

/* A locator as it was printed, or nothing: one thing has one stored form. */
static grv_status decode_text(grv_bytes text, grv_locator *ret_locator, grv_error *error)
{
    char again[GRV_LOCATOR_TEXT_SIZE];
    grv_locator locator;
    if (text.size > GRV_REPLICA_RECORD_LOCATOR_MAX || grv_locator_parse(text, &locator, NULL)) {
        return corrupt("a locator is none", error);
    }
    grv_locator_print(&locator, again);
    if (strlen(again) != text.size || memcmp(again, text.data, text.size) != 0) {
        return corrupt("a locator is not as it is printed", error);
    }
    *ret_locator = locator;
    return GRV_OK;
}

/* Decodes the locator at *at, which ends before `end`, into `set`. */
static grv_status decode_locator(const uint8_t **at, const uint8_t *end, grv_locator_set *set,
                                 grv_error *error)
{
    size_t left = (size_t)(end - *at);
    size_t size = left < 2 ? 0 : grv_wire_get_u16(*at);
    if (left < 2 || left - 2 < size) {
        return corrupt("it ends inside a locator", error);
    }
    grv_locator locator;
    grv_status status = decode_text(grv_bytes_of(*at + 2, size), &locator, error);
    if (status) {
        return status;
    }
    if (set->count > 0 && grv_locator_compare(&set->locators[set->count - 1], &locator) >= 0) {
        return corrupt("its locators are not in order", error);
    }
    *at += 2 + size;
    return grv_locator_set_add(set, &locator, error);
}

static grv_status check_envelope(grv_bytes bytes, size_t *ret_count, grv_error *error)
{
    if (bytes.size < RECORD_HEADER_SIZE + RECORD_CHECKSUM_SIZE ||
        bytes.size > GRV_REPLICA_RECORD_MAX) {
        return corrupt("its size is out of bounds", error);
    }
    size_t body = bytes.size - RECORD_CHECKSUM_SIZE;
    if (memcmp(bytes.data, record_magic, sizeof record_magic) != 0) {
        return corrupt("no magic number", error);
    }
    if (grv_wire_get_u64(bytes.data + body) != XXH3_64bits(bytes.data, body)) {
        return corrupt("the checksum does not match", error);
    }
    unsigned version = grv_wire_get_u16(bytes.data + 4);
    if (version > RECORD_VERSION) {
        return grv_error_set(error, GRV_UNSUPPORTED, "replica",
                             "replica record of version %u: this graviton reads up to %u", version,
                             RECORD_VERSION);
    }
    size_t count = grv_wire_get_u16(bytes.data + 6);
    if (version < 1 || count < 1 || count > GRV_LOCATOR_SET_MAX) {
        return corrupt("its version or number of locators is out of bounds", error);
    }
    *ret_count = count;
    return GRV_OK;
}

grv_status grv_replica_record_decode(grv_bytes bytes, grv_locator_set *set, grv_error *error)
{
    size_t count = 0;
    grv_status status = check_envelope(bytes, &count, error);
    if (status) {
        return status;
    }
    const uint8_t *at = bytes.data + RECORD_HEADER_SIZE;
    const uint8_t *end = bytes.data + bytes.size - RECORD_CHECKSUM_SIZE;
    grv_locator_set decoded;
    grv_locator_set_init(&decoded);
    for (size_t i = 0; i < count && !status; i++) {
        status = decode_locator(&at, end, &decoded, error);
    }
    if (!status && at != end) {
        status = corrupt("bytes follow its last locator", error);
    }
    if (status) {
        grv_locator_set_done(&decoded);
        return status;
    }
    grv_locator_set_done(set);
    *set = decoded;
    return GRV_OK;
}

size_t grv_replica_row_encode(const grv_locator *locator, const grv_replica_key *key,
                              uint8_t ret_bytes[GRV_REPLICA_ROW_MAX])
{
    char text[GRV_LOCATOR_TEXT_SIZE];
    grv_locator_print(locator, text);
    size_t size = strlen(text);
    assert(size <= GRV_REPLICA_RECORD_LOCATOR_MAX);
    memcpy(ret_bytes, text, size + 1);
    uint8_t key_bytes[GRV_REPLICA_KEY_BYTES_MAX];
    size_t key_size = grv_replica_key_encode(key, key_bytes);
    memcpy(ret_bytes + size + 1, key_bytes, key_size);
    return size + 1 + key_size;
}

grv_status grv_replica_row_decode(grv_bytes bytes, grv_locator *ret_locator,
                                  grv_replica_key *ret_key, grv_error *error)
{
    const uint8_t *nul = bytes.size ? memchr(bytes.data, '\0', bytes.size) : NULL;
    if (!nul) {
        return corrupt("a row does not say where its locator ends", error);
    }
    size_t size = (size_t)(nul - bytes.data);
    grv_locator locator;
    grv_status status = decode_text(grv_bytes_of(bytes.data, size), &locator, error);
    if (status) {
        return status;
    }
    grv_replica_key key;
    status = grv_replica_key_decode(grv_bytes_of(nul + 1, bytes.size - size - 1), &key, error);
    if (status) {
        return status;
    }
    *ret_locator = locator;
    *ret_key = key;
    return GRV_OK;
}
