/* SPDX-License-Identifier: Apache-2.0 */
/* Keys of objects: `<prefix>/<algo>/<hex>-<size>`. */
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
    char name[GRV_BLOCK_NAME_SIZE];
    grv_block_name_print(key, name);
    snprintf(ret_name, GRV_S3_NAME_SIZE, "%s%s%s/%s", blocks->prefix, aside ? ASIDE_FOLDER : "",
             grv_hash_name(key->digest.hash), name);
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
