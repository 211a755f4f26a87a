/* SPDX-License-Identifier: Apache-2.0 */
/* Shared by the files of the manifest_repo suite. */
#include "manifest_repo_suite.h"

#include "temp.h"

static grv_status case_open(manifest_case *self, grv_error *error)
{
    return self->fixture->open(self->directory, &self->context, &self->repo, error);
}

int manifest_case_setup(void **state)
{
    manifest_case *self = *state;
    grv_error error = GRV_ERROR_INIT;
    test_temp_make(self->directory);
    if (case_open(self, &error)) {
        print_error("%s: %s\n", self->name, error.message);
        return -1;
    }
    return 0;
}

int manifest_case_teardown(void **state)
{
    manifest_case *self = *state;
    self->fixture->close(self->repo, &self->context, true);
    self->repo = NULL;
    test_temp_remove(self->directory);
    return 0;
}

void manifest_case_turn(manifest_case *self)
{
    grv_error error = GRV_ERROR_INIT;
    if (!self->reopen) {
        return;
    }
    self->fixture->close(self->repo, &self->context, false);
    self->repo = NULL;
    assert_grv_ok(case_open(self, &error));
}

grv_manifest_plan test_plan(void)
{
    return (grv_manifest_plan){
        .block_hash = GRV_HASH_SHA256,
        .chunker = {.kind = GRV_CHUNKER_DELIMITER,
                    .size = 4096,
                    .delimiter_size = 2,
                    .delimiter = {'\r', '\n'}},
    };
}

grv_block_key test_block(uint64_t seed, uint64_t index)
{
    grv_block_key key = {
        .digest = {.hash = GRV_HASH_SHA256},
        .size = (uint32_t)((seed * 31 + index) % 50 + 1),
    };
    uint64_t random = seed << 32 ^ index;
    test_random_fill(&random, key.digest.bytes, GRV_DIGEST_SIZE);
    return key;
}

uint64_t test_blocks_size(uint64_t seed, uint64_t count)
{
    const uint64_t round = 50 * 51 / 2; /* any 50 blocks in a row have each size once */
    uint64_t size = count / 50 * round;
    for (uint64_t i = count / 50 * 50; i < count; i++) {
        size += (seed * 31 + i) % 50 + 1;
    }
    return size;
}

test_blob test_blob_make(uint64_t seed, uint64_t blocks)
{
    test_blob blob = {.seed = seed, .blocks = blocks};
    uint64_t random = ~seed;
    blob.key.digest.hash = GRV_HASH_BLAKE3;
    test_random_fill(&random, blob.key.digest.bytes, GRV_DIGEST_SIZE);
    blob.key.size = test_blocks_size(seed, blocks);
    return blob;
}

grv_status test_append(grv_manifest_put *put, const test_blob *blob, uint64_t first, uint64_t end,
                       grv_error *error)
{
    grv_block_key keys[600];
    size_t piece = 1;
    while (first < end) {
        size_t count = 0;
        while (count < piece && first < end) {
            keys[count++] = test_block(blob->seed, first++);
        }
        grv_status status = grv_manifest_put_append(NULL, put, keys, count, error);
        if (status) {
            return status;
        }
        piece = piece * 3 % 599 + 1;
    }
    return GRV_OK;
}

grv_status test_put(grv_manifest_repo *repo, const test_blob *blob,
                    const grv_attributes *attributes, grv_manifest_commit *ret_commit,
                    grv_error *error)
{
    grv_manifest_plan plan = test_plan();
    grv_manifest_put *put = NULL;
    grv_status status = grv_manifest_repo_open_put(NULL, repo, &plan, &put, error);
    if (status) {
        return status;
    }
    status = test_append(put, blob, 0, blob->blocks, error);
    if (!status) {
        status = grv_manifest_put_commit(NULL, put, &blob->key, attributes, ret_commit, error);
    }
    grv_manifest_put_free(put);
    return status;
}

grv_blob_info test_put_new(grv_manifest_repo *repo, const test_blob *blob)
{
    grv_error error = GRV_ERROR_INIT;
    grv_manifest_commit commit = {0};
    assert_grv_ok(test_put(repo, blob, NULL, &commit, &error));
    assert_false(commit.already_stored);
    return commit.info;
}

grv_status test_read_refs(grv_manifest_repo *repo, const test_blob *blob, uint64_t offset,
                          uint64_t want, size_t capacity, grv_error *error)
{
    grv_ref_cursor *cursor = NULL;
    grv_status status = grv_manifest_repo_open_refs(NULL, repo, &blob->key, offset, &cursor, error);
    if (status) {
        return status;
    }
    uint64_t at = test_blocks_size(blob->seed, want);
    size_t count = 1;
    bool right = true;
    while (count > 0 && right) {
        grv_block_ref refs[512];
        status = grv_ref_cursor_next(NULL, cursor, refs, capacity, &count, error);
        if (status) {
            break;
        }
        for (size_t i = 0; i < count && right; i++) {
            grv_block_key key = test_block(blob->seed, want++);
            right = refs[i].offset == at && grv_block_key_compare(&refs[i].key, &key) == 0;
            at += key.size;
        }
    }
    if (!status && right) { /* the end is the end again */
        grv_block_ref ref;
        status = grv_ref_cursor_next(NULL, cursor, &ref, 1, &count, error);
        right = count == 0;
    }
    grv_ref_cursor_free(cursor);
    if (!status && (!right || want != blob->blocks)) {
        return grv_error_set(error, GRV_INTERNAL, "test", "wrong reference about block %u",
                             (unsigned)want);
    }
    return status;
}

void test_check_whole(grv_manifest_repo *repo, const test_blob *blob)
{
    grv_error error = GRV_ERROR_INIT;
    assert_grv_ok(test_read_refs(repo, blob, 0, 0, 500, &error));
}

void test_check_info(const grv_blob_info *got, const grv_blob_info *want)
{
    assert_int_equal(grv_blob_key_compare(&got->key, &want->key), 0);
    assert_int_equal(got->block_count, want->block_count);
    assert_int_equal(got->block_hash, want->block_hash);
    assert_true(grv_chunker_spec_equal(&got->chunker, &want->chunker));
    assert_int_equal(got->created_ns, want->created_ns);
    assert_int_equal(got->sequence, want->sequence);
}

void test_check_absent(grv_manifest_repo *repo, const grv_blob_key *key)
{
    grv_error error = GRV_ERROR_INIT;
    grv_blob_info info = {.sequence = 77};
    assert_grv_status(grv_manifest_repo_stat(NULL, repo, key, &info, &error), GRV_NOT_FOUND);
    assert_int_equal(info.sequence, 77);
    char text[GRV_KEY_TEXT_SIZE];
    grv_blob_key_print(key, text);
    assert_non_null(strstr(error.message, text));
    grv_ref_cursor *cursor = NULL;
    assert_grv_status(grv_manifest_repo_open_refs(NULL, repo, key, 0, &cursor, &error),
                      GRV_NOT_FOUND);
    assert_null(cursor);
    grv_attributes attributes;
    grv_attributes_init(&attributes);
    assert_grv_ok(grv_attributes_set(&attributes, "a", grv_bytes_of("x", 1), &error));
    assert_grv_status(grv_manifest_repo_attributes_get(NULL, repo, key, &attributes, &error),
                      GRV_NOT_FOUND);
    assert_int_equal(attributes.count, 1);
    assert_grv_status(grv_manifest_repo_attributes_set(NULL, repo, key, &attributes, &error),
                      GRV_NOT_FOUND);
    grv_attributes_done(&attributes);
}

size_t test_list(grv_manifest_repo *repo, const grv_blob_list *list, size_t capacity,
                 grv_blob_info infos[], size_t max)
{
    grv_error error = GRV_ERROR_INIT;
    grv_blob_cursor *cursor = NULL;
    assert_grv_ok(grv_manifest_repo_open_list(NULL, repo, list, &cursor, &error));
    size_t total = 0;
    size_t count = 1;
    while (count > 0) {
        grv_blob_info some[64];
        assert_in_range(capacity, 1, 64);
        assert_grv_ok(grv_blob_cursor_next(NULL, cursor, some, capacity, &count, &error));
        assert_true(count <= capacity && total + count <= max);
        for (size_t i = 0; i < count; i++) {
            infos[total++] = some[i];
        }
    }
    assert_grv_ok(grv_blob_cursor_next(NULL, cursor, infos, 1, &count, &error));
    assert_int_equal(count, 0);
    grv_blob_cursor_free(cursor);
    return total;
}
