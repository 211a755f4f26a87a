/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The superblock: one small object, written under a condition so that of two writers one wins. Each
 * write carries a number of its own (GRV_S3_PUT_ID_SIZE), by which a writer whose answer was lost
 * knows its own object again.
 */
#include "backend/s3/blocks.h"

#include <stdio.h>
#include <string.h>

/* Reads it into an empty buffer. */
static grv_status super_read(const grv_call *call, grv_s3_blocks *blocks, grv_buffer *out,
                             grv_s3_answer *ret_answer, grv_error *error)
{
    char name[GRV_S3_NAME_SIZE];
    grv_s3_super_name(blocks, name);
    grv_s3_request request = {
        .method = GRV_S3_GET,
        .bucket = blocks->bucket,
        .key = name,
        .out = out,
        .allow_missing = true,
    };
    grv_status status = grv_s3_run(call, blocks->s3, &request, 1, error);
    status = status ? status : request.status;
    if (status == GRV_NOT_FOUND) {
        return grv_error_set(error, status, "s3", "there is no superblock %s in bucket %s", name,
                             blocks->bucket);
    }
    bool too_long =
        status && request.answer.content_length > GRV_SUPERBLOCK_MAX && request.answer.http == 200;
    if (too_long || (!status && out->size == 0)) {
        return grv_error_set(error, GRV_CORRUPT, "s3",
                             "the superblock %s in bucket %s has %s, want 1 to %u bytes", name,
                             blocks->bucket, status ? "more" : "none", GRV_SUPERBLOCK_MAX);
    }
    if (!status) {
        *ret_answer = request.answer;
    }
    return status;
}

grv_status grv_s3_blocks_superblock_get(const grv_call *call, grv_block_store *store,
                                        grv_buffer *out, grv_error *error)
{
    grv_buffer text;
    grv_s3_answer answer;
    grv_buffer_init(&text, GRV_SUPERBLOCK_MAX);
    grv_status status = super_read(call, (grv_s3_blocks *)store, &text, &answer, error);
    if (!status) {
        status = grv_buffer_append(out, grv_buffer_bytes(&text), error);
    }
    grv_buffer_done(&text);
    return status;
}

/* Whether what is there now is what this put has written. */
static grv_status super_is_ours(const grv_call *call, grv_s3_blocks *blocks, const char *put_id,
                                bool *ret_ours, grv_error *error)
{
    grv_buffer text;
    grv_s3_answer answer = {0};
    grv_buffer_init(&text, GRV_SUPERBLOCK_MAX);
    grv_status status = super_read(call, blocks, &text, &answer, error);
    grv_buffer_done(&text);
    if (status == GRV_NOT_FOUND) {
        status = GRV_OK;
    }
    *ret_ours = !status && strcmp(answer.put_id, put_id) == 0;
    return status;
}

/* Writes it where the condition holds; *ret_written. */
static grv_status super_put(const grv_call *call, grv_s3_blocks *blocks, const char *condition,
                            const char *value, grv_bytes superblock, bool *ret_written,
                            grv_error *error)
{
    char name[GRV_S3_NAME_SIZE];
    char put_id[GRV_S3_PUT_ID_SIZE + 1];
    grv_status status = grv_s3_put_id_draw(put_id, error);
    if (status) {
        return status;
    }
    grv_s3_super_name(blocks, name);
    const grv_s3_pair headers[] = {
        {condition, value},
        {"content-type", "application/json"},
        {"x-amz-meta-graviton-put", put_id},
    };
    grv_s3_request request = {
        .method = GRV_S3_PUT,
        .bucket = blocks->bucket,
        .key = name,
        .headers = headers,
        .header_count = sizeof headers / sizeof headers[0],
        .body = superblock,
        .allow_precondition = true,
        .allow_missing = true, /* If-Match where there is none any more */
    };
    status = grv_s3_run(call, blocks->s3, &request, 1, error);
    if (status) {
        return status;
    }
    *ret_written = request.status == GRV_OK;
    if (!*ret_written && request.unsure) {
        status = super_is_ours(call, blocks, put_id, ret_written, error);
    }
    return status;
}

/* GRV_CONFLICT where the store has a block. */
static grv_status must_be_empty(const grv_call *call, grv_s3_blocks *blocks, grv_error *error)
{
    for (grv_hash hash = GRV_HASH_BLAKE3; hash <= GRV_HASH_SHA256; hash++) {
        char folder[GRV_S3_NAME_SIZE];
        grv_s3_page page = {0};
        grv_s3_folder_name(blocks, hash, false, folder);
        grv_status status =
            grv_s3_list(call, blocks->s3, blocks->bucket, folder, NULL, 1, &page, error);
        if (!status && page.count > 0) {
            status = grv_error_set(error, GRV_CONFLICT, "s3",
                                   "there are blocks below \"%s\" in bucket %s, but no superblock "
                                   "(%s%s)",
                                   folder, blocks->bucket, blocks->prefix, GRV_S3_SUPERBLOCK);
        }
        grv_s3_page_done(&page);
        if (status) {
            return status;
        }
    }
    return GRV_OK;
}

/* Makes the first one. */
static grv_status super_make(const grv_call *call, grv_s3_blocks *blocks, grv_bytes superblock,
                             grv_error *error)
{
    bool written = false;
    grv_status status = must_be_empty(call, blocks, error);
    if (!status) {
        status = super_put(call, blocks, "if-none-match", "*", superblock, &written, error);
    }
    if (!status && !written) {
        status = grv_error_set(error, GRV_CONFLICT, "s3", "bucket %s has a superblock %s%s already",
                               blocks->bucket, blocks->prefix, GRV_S3_SUPERBLOCK);
    }
    return status;
}

/* Replaces the one that was expected. Ceph compares the condition with its tag without the quotes
 * that belong to it, others with them. */
static grv_status super_replace(const grv_call *call, grv_s3_blocks *blocks,
                                const grv_s3_answer *answer, grv_bytes superblock, grv_error *error)
{
    char quoted[GRV_S3_ETAG_MAX + 3];
    bool written = false;
    snprintf(quoted, sizeof quoted, "\"%s\"", answer->etag);
    grv_status status = super_put(call, blocks, "if-match", quoted, superblock, &written, error);
    if (!status && !written) {
        status = super_put(call, blocks, "if-match", answer->etag, superblock, &written, error);
    }
    if (!status && !written) {
        status = grv_error_set(error, GRV_CONFLICT, "s3",
                               "the superblock %s%s in bucket %s was changed by somebody else",
                               blocks->prefix, GRV_S3_SUPERBLOCK, blocks->bucket);
    }
    return status;
}

grv_status grv_s3_blocks_superblock_set(const grv_call *call, grv_block_store *store,
                                        const grv_bytes *expected, grv_bytes superblock,
                                        grv_error *error)
{
    grv_s3_blocks *blocks = (grv_s3_blocks *)store;
    if (!expected) {
        return super_make(call, blocks, superblock, error);
    }
    grv_buffer text;
    grv_s3_answer answer;
    grv_buffer_init(&text, GRV_SUPERBLOCK_MAX);
    grv_status status = super_read(call, blocks, &text, &answer, error);
    if (status == GRV_NOT_FOUND ||
        (!status && grv_bytes_compare(grv_buffer_bytes(&text), *expected) != 0)) {
        status = grv_error_set(error, GRV_CONFLICT, "s3",
                               "the superblock %s%s in bucket %s is not the one expected",
                               blocks->prefix, GRV_S3_SUPERBLOCK, blocks->bucket);
    }
    grv_buffer_done(&text);
    return status ? status : super_replace(call, blocks, &answer, superblock, error);
}
