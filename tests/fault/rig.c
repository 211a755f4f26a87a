/* SPDX-License-Identifier: Apache-2.0 */
/* The store under fault tests: making it, using it, and knowing what must be in it. */
#include "rig.h"

#include "backend/kv/manifest_repo.h"
#include "layer/verify.h"
#include "store/cas.h"
#include "temp.h"
#include "test.h"

#include <dirent.h>
#include <graviton/backend/fs.h>
#include <graviton/backend/memory.h>

#define CHUNKER  "fixed:64K"
#define CHUNK    ((size_t)64 << 10)
#define DATA_MAX ((size_t)64 * CHUNK)

static const char *const titles[2] = {"the first title",
                                      "a new title, which is longer than the first one"};
static const char *const records[2] = {"{\"record\":\"first\"}", "{\"record\":\"the new one\"}"};

void rig_fail(const fault_rig *rig, const char *format, ...)
{
    char text[1024];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    fail_msg("%s, fault %llu: %s", rig->doing ? rig->doing : "setting up",
             (unsigned long long)rig->turn, text);
    abort();
}

/* ---- The blobs ---- */

/* All content, made once: random, so that no two blocks are equal by chance. */
static const uint8_t *content(void)
{
    static uint8_t data[DATA_MAX];
    static bool made;
    if (!made) {
        uint64_t seed = 42;
        test_random_fill(&seed, data, sizeof data);
        made = true;
    }
    return data;
}

/* RIG_MIXED: seven blocks of RIG_MEDIUM, fourteen new ones, the first of them again. */
static const uint8_t *mixed_content(void)
{
    static uint8_t data[22 * CHUNK];
    memcpy(data, content() + CHUNK, 7 * CHUNK);
    memcpy(data + 7 * CHUNK, content() + 46 * CHUNK, 14 * CHUNK);
    memcpy(data + 21 * CHUNK, data + 7 * CHUNK, CHUNK);
    return data;
}

/* The blobs, before any is stored; made once. */
static const rig_blob *blobs(void)
{
    static rig_blob all[RIG_BLOBS];
    if (all[0].data) {
        return all;
    }
    const uint8_t *data = content();
    all[RIG_SMALL] = (rig_blob){.data = data, .size = 300};
    all[RIG_MEDIUM] = (rig_blob){.data = data + CHUNK, .size = 10 * CHUNK + 77};
    all[RIG_TINY] = (rig_blob){.data = data + 60 * CHUNK, .size = 5000};
    all[RIG_LARGE] = (rig_blob){.data = data + 12 * CHUNK, .size = 33 * CHUNK + 1};
    all[RIG_GONE] = (rig_blob){.data = data + 61 * CHUNK, .size = 3 * CHUNK - 1};
    all[RIG_MIXED] = (rig_blob){.data = mixed_content(), .size = 22 * CHUNK};
    for (size_t i = 0; i < RIG_BLOBS; i++) {
        grv_error error = GRV_ERROR_INIT;
        all[i].key.size = all[i].size;
        assert_grv_ok(grv_digest_of(GRV_HASH_BLAKE3, grv_bytes_of(all[i].data, all[i].size),
                                    &all[i].key.digest, &error));
    }
    return all;
}

/* ---- Opening and closing ---- */

static bool is_in_memory(const fault_rig *rig)
{
    return rig->kind == RIG_MEMORY || rig->kind == RIG_CACHED;
}

static grv_status open_blocks(fault_rig *rig, grv_error *error)
{
    grv_block_store *plain = NULL;
    grv_status status = GRV_OK;
    if (is_in_memory(rig)) {
        status = grv_block_store_memory_new(&plain, error);
    } else if (rig->kind == RIG_KV) {
        status = grv_block_store_kv_new(rig->kv, &plain, error);
    } else {
        grv_fs_config config = {.root = rig->directory, .create = true};
        status = grv_block_store_fs_new(&config, &plain, error);
    }
    if (status) {
        return status;
    }
    grv_block_store *faulty = NULL;
    status = grv_block_store_fault_new(plain, &rig->plan, &faulty, error);
    return status ? status : grv_block_store_verify_new(faulty, &rig->blocks, error);
}

static grv_status open_manifests(fault_rig *rig, grv_error *error)
{
    /* Small pages, so that a blob of some blocks has pages of both levels. */
    static const grv_manifest_limits limits = {.page = 7, .inlined = 4, .children = 3};
    grv_manifest_repo *plain = NULL;
    grv_status status = grv_manifest_repo_kv_new_limited(rig->kv, &limits, &plain, error);
    return status ? status : grv_manifest_repo_fault_new(plain, &rig->plan, &rig->manifests, error);
}

static grv_status open_store(fault_rig *rig, grv_error *error)
{
    grv_chunker_spec chunker;
    grv_status status =
        grv_chunker_spec_parse(grv_bytes_of(CHUNKER, strlen(CHUNKER)), &chunker, error);
    if (status) {
        return status;
    }
    grv_store_config config = {
        .directory = rig->directory, .create = true, .chunker = &chunker, .threads = 2};
    status = grv_store_open(NULL, &config, &rig->store, error);
    if (!status) {
        rig->blobs = grv_store_blobs(rig->store);
    }
    return status;
}

grv_status rig_open(fault_rig *rig, grv_error *error)
{
    if (rig->kind == RIG_STORE) {
        return open_store(rig, error);
    }
    grv_status status = rig->blocks ? GRV_OK : open_blocks(rig, error);
    if (!status) {
        status = open_manifests(rig, error);
    }
    grv_cas_config config = {
        .blocks = rig->blocks,
        .manifests = rig->manifests,
        .hash = GRV_HASH_BLAKE3,
        .threads = 2,
        .budget_bytes = GRV_CAS_BUDGET_MIN,
        .memory_cache_bytes = rig->kind == RIG_CACHED ? GRV_MEMORY_CACHE_MIN : 0,
        .ordered_blocks = rig->kind == RIG_KV,
    };
    if (!status) {
        status =
            grv_chunker_spec_parse(grv_bytes_of(CHUNKER, strlen(CHUNKER)), &config.chunker, error);
    }
    if (!status) {
        status = grv_blob_store_cas_new(&config, &rig->blobs, error);
    }
    if (!status) {
        status = rig_ports_open(rig, error);
    }
    if (status) {
        rig_close(rig);
    }
    return status;
}

void rig_close(fault_rig *rig)
{
    if (rig->kind == RIG_STORE) {
        grv_store_close(rig->store);
        rig->store = NULL;
        rig->blobs = NULL;
        return;
    }
    rig_ports_close(rig);
    grv_blob_store_free(rig->blobs);
    rig->blobs = NULL;
    grv_manifest_repo_free(rig->manifests);
    rig->manifests = NULL;
    if (!is_in_memory(rig)) { /* blocks in memory live as long as the rig */
        grv_block_store_free(rig->blocks);
        rig->blocks = NULL;
    }
}

void rig_init_empty(fault_rig *rig, rig_kind kind)
{
    grv_error error = GRV_ERROR_INIT;
    *rig = (fault_rig){.kind = kind, .doing = rig->doing, .turn = rig->turn};
    memcpy(rig->items, blobs(), sizeof rig->items);
    if (kind == RIG_FS || kind == RIG_STORE) {
        /* Nothing here loses power, so files in memory do as well, and thousands of stores are made
         * and removed. */
        if (access("/dev/shm", W_OK) == 0) {
            setenv("TMPDIR", "/dev/shm", 0);
        }
        test_temp_make(rig->directory);
    }
    if (kind != RIG_STORE) {
        grv_kv *plain = NULL;
        assert_grv_ok(grv_kv_memory_new(GRV_NS_COUNT, &plain, &error));
        assert_grv_ok(grv_kv_fault_new(plain, &rig->plan, &rig->kv, &error));
    }
}

void rig_init(fault_rig *rig, rig_kind kind)
{
    grv_error error = GRV_ERROR_INIT;
    rig_init_empty(rig, kind);
    assert_grv_ok(rig_open(rig, &error));
    if (kind != RIG_STORE) {
        grv_bytes first = grv_bytes_of(records[0], strlen(records[0]));
        assert_grv_ok(grv_block_store_superblock_set(NULL, rig->blocks, NULL, first, &error));
        assert_grv_ok(grv_manifest_repo_descriptor_set(NULL, rig->manifests, NULL, first, &error));
    }
    assert_grv_ok(rig_put(rig, RIG_SMALL, true, &error));
    assert_grv_ok(rig_put(rig, RIG_MEDIUM, false, &error));
    assert_grv_ok(rig_set_title(rig, false, &error));
    assert_grv_ok(rig_put(rig, RIG_GONE, false, &error));
    assert_grv_ok(grv_blob_store_remove(NULL, rig->blobs, &rig->items[RIG_GONE].key, &error));
    rig->items[RIG_GONE].state = RIG_ABSENT;
    if (kind != RIG_STORE) {
        rig_ports_fill(rig);
    }
}

void rig_done(fault_rig *rig)
{
    rig_close(rig);
    grv_block_store_free(rig->blocks);
    grv_mutable_object_store_free(rig->objects);
    grv_kv_free(rig->kv);
    if (rig->directory[0]) {
        test_temp_remove(rig->directory);
    }
}

/* ---- Using it ---- */

grv_status rig_put(fault_rig *rig, rig_name name, bool hint, grv_error *error)
{
    rig_blob *blob = &rig->items[name];
    grv_blob_sink *sink = NULL;
    grv_put_plan plan = {.has_size_hint = hint, .size_hint = blob->size};
    bool was_there = blob->state == RIG_PRESENT;
    blob->state = was_there ? RIG_PRESENT : RIG_EITHER;
    grv_status status = grv_blob_store_open_put(NULL, rig->blobs, &plan, &sink, error);
    if (status) {
        return status;
    }
    status = grv_sink_write(NULL, &sink->base, grv_bytes_of(blob->data, blob->size), error);
    if (!status) {
        status = grv_sink_commit(NULL, &sink->base, error);
    }
    if (status) {
        grv_error later = GRV_ERROR_INIT;
        if (grv_sink_commit(NULL, &sink->base, &later) != status) {
            rig_fail(rig, "a put that failed gives another status afterwards");
        }
    } else {
        const grv_put_result *result = &sink->result;
        if (grv_blob_key_compare(&result->key, &blob->key) != 0 ||
            result->fresh_bytes + result->duplicate_bytes != blob->size ||
            (was_there && !result->already_stored)) {
            rig_fail(rig, "the result of the put is wrong");
        }
        blob->state = RIG_PRESENT;
    }
    grv_sink_free(&sink->base);
    return status;
}

static grv_status read_source(fault_rig *rig, const rig_blob *blob, grv_source *source,
                              size_t first, size_t end, grv_error *error)
{
    for (size_t at = first;;) {
        grv_bytes view;
        grv_status status = grv_source_next(NULL, source, 50000, &view, error);
        if (status) {
            grv_error later = GRV_ERROR_INIT;
            if (grv_source_next(NULL, source, 1, &view, &later) != status) {
                rig_fail(rig, "a read that failed gives another status afterwards");
            }
            return status;
        }
        if (view.size == 0 && at == end) {
            return GRV_OK;
        }
        if (view.size == 0 || view.size > end - at) {
            rig_fail(rig, "a read of %zu bytes ended after %zu", end - first, at - first);
        }
        if (memcmp(view.data, blob->data + at, view.size) != 0) {
            rig_fail(rig, "a read gave wrong bytes");
        }
        at += view.size;
    }
}

grv_status rig_get(fault_rig *rig, rig_name name, grv_range range, grv_error *error)
{
    const rig_blob *blob = &rig->items[name];
    grv_source *source = NULL;
    grv_status status =
        grv_blob_store_open_get(NULL, rig->blobs, &blob->key, range, &source, error);
    if (!status) {
        size_t end = range.end < blob->size ? (size_t)range.end : blob->size;
        status = read_source(rig, blob, source, (size_t)range.first, end, error);
    }
    grv_source_free(source);
    return status;
}

/* Ticks a listed blob off. */
static void tick(const fault_rig *rig, const grv_blob_info *info, bool seen[RIG_BLOBS])
{
    for (size_t i = 0; i < RIG_BLOBS; i++) {
        const rig_blob *blob = &rig->items[i];
        if (grv_blob_key_compare(&info->key, &blob->key) == 0) {
            if (seen[i] || blob->state == RIG_ABSENT) {
                rig_fail(rig, "blob %zu is listed %s", i, seen[i] ? "twice" : "and is not there");
            }
            seen[i] = true;
            return;
        }
    }
    rig_fail(rig, "a blob is listed that nobody put");
}

grv_status rig_list(fault_rig *rig, grv_list_order order, grv_error *error)
{
    grv_blob_list list = {.order = order};
    grv_blob_cursor *cursor = NULL;
    grv_status status = grv_blob_store_open_list(NULL, rig->blobs, &list, &cursor, error);
    if (status) {
        return status;
    }
    bool seen[RIG_BLOBS] = {false};
    for (;;) {
        grv_blob_info infos[2];
        size_t count = 0;
        status = grv_blob_cursor_next(NULL, cursor, infos, 2, &count, error);
        if (status || count == 0) {
            break;
        }
        for (size_t i = 0; i < count; i++) {
            tick(rig, &infos[i], seen);
        }
    }
    grv_blob_cursor_free(cursor);
    for (size_t i = 0; i < RIG_BLOBS && !status; i++) {
        if (rig->items[i].state == RIG_PRESENT && !seen[i]) {
            rig_fail(rig, "blob %zu is missing from the list", i);
        }
    }
    return status;
}

grv_status rig_set_title(fault_rig *rig, bool new_title, grv_error *error)
{
    grv_attributes attributes;
    grv_attributes_init(&attributes);
    rig_state before = rig->new_title;
    rig_state after = new_title ? RIG_PRESENT : RIG_ABSENT;
    rig->new_title = before == after ? after : RIG_EITHER;
    const char *title = titles[new_title];
    grv_status status =
        grv_attributes_set(&attributes, "title", grv_bytes_of(title, strlen(title)), error);
    if (!status) {
        status = grv_attributes_set(&attributes, GRV_ATTRIBUTE_FILE_NAME,
                                    grv_bytes_of("small.bin", 9), error);
    }
    if (!status) {
        status = grv_blob_store_attributes_set(NULL, rig->blobs, &rig->items[RIG_SMALL].key,
                                               &attributes, error);
    }
    grv_attributes_done(&attributes);
    if (!status) {
        rig->new_title = after;
    }
    return status;
}

grv_status rig_get_title(fault_rig *rig, grv_error *error)
{
    grv_attributes attributes;
    grv_attributes_init(&attributes);
    grv_status status = grv_blob_store_attributes_get(NULL, rig->blobs, &rig->items[RIG_SMALL].key,
                                                      &attributes, error);
    if (!status) {
        const grv_attribute *title = grv_attributes_get(&attributes, "title");
        bool is[2] = {false, false};
        for (size_t i = 0; title && i < 2; i++) {
            is[i] = title->value_size == strlen(titles[i]) &&
                    memcmp(title->value, titles[i], title->value_size) == 0;
        }
        bool fits =
            rig->new_title == RIG_EITHER ? is[0] || is[1] : is[rig->new_title == RIG_PRESENT];
        if (!fits || attributes.count != 2) {
            rig_fail(rig, "the attributes are neither the old nor the new ones");
        }
    }
    grv_attributes_done(&attributes);
    return status;
}

/* Which of the two records this is: 0 or 1, or the rig fails. */
static size_t record_of(const fault_rig *rig, const grv_buffer *text)
{
    for (size_t i = 0; i < 2; i++) {
        if (text->size == strlen(records[i]) && memcmp(text->data, records[i], text->size) == 0) {
            return i;
        }
    }
    rig_fail(rig, "superblock or descriptor is neither the old nor the new one");
}

grv_status rig_get_records(fault_rig *rig, grv_error *error)
{
    grv_buffer text;
    grv_buffer_init(&text, GRV_DESCRIPTOR_MAX);
    grv_status status = grv_block_store_superblock_get(NULL, rig->blocks, &text, error);
    size_t superblock = status ? 0 : record_of(rig, &text);
    text.size = 0;
    if (!status) {
        status = grv_manifest_repo_descriptor_get(NULL, rig->manifests, &text, error);
    }
    size_t descriptor = status ? 0 : record_of(rig, &text);
    grv_buffer_done(&text);
    if (!status && rig->new_record != RIG_EITHER &&
        superblock + descriptor != (rig->new_record == RIG_PRESENT ? 2 : 0)) {
        rig_fail(rig, "superblock or descriptor is not the one that was written");
    }
    return status;
}

grv_status rig_set_records(fault_rig *rig, grv_error *error)
{
    rig->new_record = rig->new_record == RIG_PRESENT ? RIG_PRESENT : RIG_EITHER;
    grv_bytes old_one = grv_bytes_of(records[0], strlen(records[0]));
    grv_bytes new_one = grv_bytes_of(records[1], strlen(records[1]));
    grv_buffer text;
    grv_buffer_init(&text, GRV_DESCRIPTOR_MAX);
    grv_status status = grv_block_store_superblock_get(NULL, rig->blocks, &text, error);
    if (!status && record_of(rig, &text) == 0) {
        status = grv_block_store_superblock_set(NULL, rig->blocks, &old_one, new_one, error);
    }
    text.size = 0;
    if (!status) {
        status = grv_manifest_repo_descriptor_get(NULL, rig->manifests, &text, error);
    }
    if (!status && record_of(rig, &text) == 0) {
        status = grv_manifest_repo_descriptor_set(NULL, rig->manifests, &old_one, new_one, error);
    }
    grv_buffer_done(&text);
    if (!status) {
        rig->new_record = RIG_PRESENT;
    }
    return status;
}

/* ---- Checking it ---- */

static void must(const fault_rig *rig, grv_status status, const char *what, const grv_error *error)
{
    if (status) {
        rig_fail(rig, "%s afterwards: %s: %s", what, grv_status_name(status), error->message);
    }
}

/* A blob is there, whole, or not at all, in every way of asking. */
static void check_blob(fault_rig *rig, rig_name name)
{
    grv_error error = GRV_ERROR_INIT;
    rig_blob *blob = &rig->items[name];
    grv_blob_info info;
    grv_status status = grv_blob_store_stat(NULL, rig->blobs, &blob->key, &info, &error);
    if (status == GRV_NOT_FOUND) {
        if (blob->state == RIG_PRESENT) {
            rig_fail(rig, "blob %d was acknowledged and is gone", (int)name);
        }
        error = (grv_error)GRV_ERROR_INIT;
        if (rig_get(rig, name, GRV_RANGE_ALL, &error) != GRV_NOT_FOUND) {
            rig_fail(rig, "blob %d has no info and yet may be read", (int)name);
        }
        return;
    }
    must(rig, status, "stat", &error);
    if (blob->state == RIG_ABSENT) {
        rig_fail(rig, "blob %d is there and must not be", (int)name);
    }
    must(rig, rig_get(rig, name, GRV_RANGE_ALL, &error), "a full read", &error);
}

/* Files in one of the directories of temporary files. */
static size_t count_temporary(const fault_rig *rig, const char *where)
{
    char path[512];
    snprintf(path, sizeof path, "%s/%s/.tmp", rig->directory, where);
    DIR *entries = opendir(path);
    size_t count = 0;
    while (entries) {
        const struct dirent *entry = readdir(entries);
        if (!entry) {
            break;
        }
        count += strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0;
    }
    if (entries) {
        closedir(entries);
    }
    return count;
}

void rig_check(fault_rig *rig, bool tidy)
{
    grv_error error = GRV_ERROR_INIT;
    for (rig_name name = 0; name < RIG_BLOBS; name++) {
        check_blob(rig, name);
    }
    must(rig, rig_list(rig, GRV_ORDER_KEY, &error), "a list by key", &error);
    must(rig, rig_list(rig, GRV_ORDER_NEWEST, &error), "a list by newest", &error);
    if (rig->items[RIG_SMALL].state == RIG_PRESENT) {
        must(rig, rig_get_title(rig, &error), "reading attributes", &error);
    }
    if (rig->kind != RIG_STORE) {
        must(rig, rig_get_records(rig, &error), "reading the records", &error);
        rig_ports_check(rig);
    }
    grv_budget *budget = &((grv_cas *)(void *)rig->blobs)->budget;
    if (!grv_budget_try(budget, budget->total)) {
        rig_fail(rig, "the memory budget was not given back");
    }
    grv_budget_give(budget, budget->total);
    if (tidy && rig->kind == RIG_FS) {
        size_t left = count_temporary(rig, "cas/blocks") + count_temporary(rig, "objects");
        if (left > 0) {
            rig_fail(rig, "%zu temporary files are left", left);
        }
    }
}

size_t rig_descriptors(void)
{
    DIR *entries = opendir("/proc/self/fd");
    assert_non_null(entries);
    size_t count = 0;
    while (readdir(entries)) {
        count++;
    }
    closedir(entries);
    return count;
}
