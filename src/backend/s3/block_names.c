/* SPDX-License-Identifier: Apache-2.0 */
/* Keys of objects: `<prefix>/<algo>/<hex>-<size>`. A name is read back only in the very form in
 * which it is written, so that no two names are one block's. */
#include "backend/s3/blocks.h"

#include <stdio.h>
#include <string.h>

#define ASIDE_FOLDER ".quarantine/"

void grv_s3_folder_name(const grv_s3_blocks *blocks, grv_hash hash, bool aside,
                        char ret_name[GRV_S3_NAME_SIZE])
{
    snprintf(ret_name, GRV_S3_NAME_SIZE, "%s%s%s/", blocks->prefix, aside ? ASIDE_FOLDER : "",
             grv_hash_name(hash));
}

static void name_print(const grv_s3_blocks *blocks, const grv_block_key *key, bool aside,
                       char ret_name[GRV_S3_NAME_SIZE])
{
    char hex[2 * GRV_DIGEST_SIZE + 1];
    grv_digest_hex(&key->digest, hex);
    snprintf(ret_name, GRV_S3_NAME_SIZE, "%s%s%s/%s-%u", blocks->prefix, aside ? ASIDE_FOLDER : "",
             grv_hash_name(key->digest.hash), hex, key->size);
}

void grv_s3_block_name(const grv_s3_blocks *blocks, const grv_block_key *key,
                       char ret_name[GRV_S3_NAME_SIZE])
{
    name_print(blocks, key, false, ret_name);
}

void grv_s3_aside_name(const grv_s3_blocks *blocks, const grv_block_key *key,
                       char ret_name[GRV_S3_NAME_SIZE])
{
    name_print(blocks, key, true, ret_name);
}

void grv_s3_super_name(const grv_s3_blocks *blocks, char ret_name[GRV_S3_NAME_SIZE])
{
    snprintf(ret_name, GRV_S3_NAME_SIZE, "%s%s", blocks->prefix, GRV_S3_SUPERBLOCK);
}

static int hex_value(char digit)
{
    if (digit >= '0' && digit <= '9') {
        return digit - '0';
    }
    return digit >= 'a' && digit <= 'f' ? digit - 'a' + 10 : -1;
}

bool grv_s3_block_parse(grv_hash hash, const char *name, grv_block_key *ret_key)
{
    grv_block_key key = {.digest.hash = hash};
    for (size_t i = 0; i < GRV_DIGEST_SIZE; i++) {
        int high = hex_value(name[2 * i]);
        int low = high < 0 ? -1 : hex_value(name[2 * i + 1]);
        if (low < 0) {
            return false;
        }
        key.digest.bytes[i] = (uint8_t)(high << 4 | low);
    }
    const char *size = name + 2 * GRV_DIGEST_SIZE;
    if (*size++ != '-' || *size < '1' || *size > '9') {
        return false;
    }
    for (; *size >= '0' && *size <= '9' && key.size <= GRV_BLOCK_SIZE_MAX; size++) {
        key.size = key.size * 10 + (uint32_t)(*size - '0');
    }
    if (*size || key.size > GRV_BLOCK_SIZE_MAX) {
        return false;
    }
    *ret_key = key;
    return true;
}

grv_status grv_s3_prefix_check(const char *prefix, grv_error *error)
{
    if (strlen(prefix) > GRV_S3_PREFIX_MAX) {
        return grv_error_set(error, GRV_INVALID_ARGUMENT, "s3", "a prefix of %zu bytes, at most %u",
                             strlen(prefix), GRV_S3_PREFIX_MAX);
    }
    for (const char *at = prefix; *prefix;) {
        size_t size = strcspn(at, "/");
        bool dots = (size == 1 && at[0] == '.') || (size == 2 && at[0] == '.' && at[1] == '.');
        if (size == 0 || dots) {
            return grv_error_set(error, GRV_INVALID_ARGUMENT, "s3",
                                 "prefix \"%.200s\" has an empty, \".\" or \"..\" part: write it "
                                 "as NAME or NAME/NAME",
                                 prefix);
        }
        if (!at[size]) {
            break;
        }
        at += size + 1;
    }
    return *prefix ? grv_s3_key_check(prefix, error) : GRV_OK;
}

uint64_t grv_s3_position(const grv_block_key *key)
{
    uint64_t position = 0;
    for (size_t i = 0; i < 8; i++) {
        position = position << 8 | key->digest.bytes[i];
    }
    return position;
}

grv_status grv_s3_blame(grv_status status, const grv_block_key *key, grv_error *error)
{
    char text[GRV_KEY_TEXT_SIZE];
    grv_block_key_print(key, text);
    grv_error_prefix(error, "block %s", text);
    return status;
}
