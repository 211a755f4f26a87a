/* SPDX-License-Identifier: Apache-2.0 */
/* The operations that faults are tried on, each as a program would do it. */
#include "nth.h"
#include "store/handle.h"
#include "store/mark.h"

#include <graviton/maintain.h>
#include <stdlib.h>
#include <string.h>

static grv_status run_open(fault_rig *rig, grv_error *error)
{
    return rig_open(rig, error);
}

static grv_status put_tiny(fault_rig *rig, grv_error *error)
{
    return rig_put(rig, RIG_TINY, true, error);
}

static grv_status put_large(fault_rig *rig, grv_error *error)
{
    return rig_put(rig, RIG_LARGE, false, error);
}

static grv_status put_mixed(fault_rig *rig, grv_error *error)
{
    return rig_put(rig, RIG_MIXED, false, error);
}

/* A blob that is there already. */
static grv_status put_known(fault_rig *rig, grv_error *error)
{
    return rig_put(rig, RIG_MEDIUM, false, error);
}

/* A put with attributes, of bytes that are there: the attributes alone change. */
static grv_status put_titled(fault_rig *rig, grv_error *error)
{
    const rig_blob *blob = &rig->items[RIG_MEDIUM];
    grv_attributes attributes;
    grv_attributes_init(&attributes);
    grv_status status =
        grv_attributes_set(&attributes, GRV_ATTRIBUTE_FILE_NAME, grv_bytes_of("again", 5), error);
    grv_put_plan plan = {.attributes = &attributes};
    grv_blob_sink *sink = NULL;
    if (!status) {
        status = grv_blob_store_open_put(NULL, rig->blobs, &plan, &sink, error);
    }
    if (!status) {
        status = grv_sink_write(NULL, &sink->base, grv_bytes_of(blob->data, blob->size), error);
    }
    if (!status) {
        status = grv_sink_commit(NULL, &sink->base, error);
    }
    if (sink) {
        grv_sink_free(&sink->base);
    }
    grv_attributes_done(&attributes);
    return status;
}

/* Given up in the middle: nothing may be there afterwards. */
static grv_status put_abandoned(fault_rig *rig, grv_error *error)
{
    const rig_blob *blob = &rig->items[RIG_LARGE];
    grv_blob_sink *sink = NULL;
    grv_put_plan plan = {0};
    grv_status status = grv_blob_store_open_put(NULL, rig->blobs, &plan, &sink, error);
    if (!status) {
        status =
            grv_sink_write(NULL, &sink->base, grv_bytes_of(blob->data, blob->size - 100), error);
        grv_sink_free(&sink->base);
    }
    return status;
}

static grv_status get_full(fault_rig *rig, grv_error *error)
{
    grv_status status = rig_get(rig, RIG_MEDIUM, GRV_RANGE_ALL, error);
    return status ? status : rig_get(rig, RIG_SMALL, GRV_RANGE_ALL, error);
}

static grv_status get_range(fault_rig *rig, grv_error *error)
{
    grv_range range = {.first = 200000, .end = 350001};
    return rig_get(rig, RIG_MEDIUM, range, error);
}

static grv_status stat_blob(fault_rig *rig, grv_error *error)
{
    grv_blob_info info;
    grv_status status =
        grv_blob_store_stat(NULL, rig->blobs, &rig->items[RIG_MEDIUM].key, &info, error);
    if (!status && (info.block_count != 11 ||
                    grv_blob_key_compare(&info.key, &rig->items[RIG_MEDIUM].key) != 0)) {
        rig_fail(rig, "stat gives another blob's info");
    }
    return status;
}

static grv_status list_by_key(fault_rig *rig, grv_error *error)
{
    return rig_list(rig, GRV_ORDER_KEY, error);
}

static grv_status list_newest(fault_rig *rig, grv_error *error)
{
    return rig_list(rig, GRV_ORDER_NEWEST, error);
}

static grv_status list_refs(fault_rig *rig, grv_error *error)
{
    const rig_blob *blob = &rig->items[RIG_MEDIUM];
    grv_ref_cursor *cursor = NULL;
    grv_status status = grv_blob_store_open_refs(NULL, rig->blobs, &blob->key, 0, &cursor, error);
    uint64_t end = 0;
    size_t count = 1;
    while (!status && count > 0) {
        grv_block_ref refs[3];
        status = grv_ref_cursor_next(NULL, cursor, refs, 3, &count, error);
        for (size_t i = 0; i < count && !status; i++) {
            if (refs[i].offset != end) {
                rig_fail(rig, "the references do not join up");
            }
            end += refs[i].key.size;
        }
    }
    grv_ref_cursor_free(cursor);
    if (!status && end != blob->size) {
        rig_fail(rig, "the references end early");
    }
    return status;
}

static grv_status remove_blob(fault_rig *rig, grv_error *error)
{
    rig_blob *blob = &rig->items[RIG_MEDIUM];
    bool known = blob->state == RIG_PRESENT;
    blob->state = RIG_EITHER;
    grv_status status = grv_blob_store_remove(NULL, rig->blobs, &blob->key, error);
    if (status == GRV_NOT_FOUND && !known) {
        status = GRV_OK; /* an attempt before this one has done it */
    }
    if (!status) {
        blob->state = RIG_ABSENT;
    }
    return status;
}

static grv_status set_attributes(fault_rig *rig, grv_error *error)
{
    return rig_set_title(rig, true, error);
}

static grv_status get_attributes(fault_rig *rig, grv_error *error)
{
    return rig_get_title(rig, error);
}

/* Lists and counts the blocks: as many either way, and those of both blobs at least. */
static grv_status list_blocks(fault_rig *rig, grv_error *error)
{
    grv_block_stats stats;
    grv_block_cursor *cursor = NULL;
    grv_status status = grv_block_store_stats(NULL, rig->blocks, &stats, error);
    if (!status) {
        status = grv_block_store_open_list(NULL, rig->blocks, NULL, &cursor, error);
    }
    uint64_t blocks = 0;
    size_t count = 1;
    while (!status && count > 0) {
        grv_block_entry entries[5];
        status = grv_block_cursor_next(NULL, cursor, entries, 5, &count, error);
        blocks += status ? 0 : count;
        grv_error later = GRV_ERROR_INIT;
        if (status && grv_block_cursor_next(NULL, cursor, entries, 5, &count, &later) != status) {
            rig_fail(rig, "a list that failed gives another status afterwards");
        }
    }
    grv_block_cursor_free(cursor);
    if (!status && (blocks != stats.blocks || blocks < RIG_FIRST_BLOCKS)) {
        rig_fail(rig, "%llu blocks are listed, %llu counted", (unsigned long long)blocks,
                 (unsigned long long)stats.blocks);
    }
    return status;
}

/* Stores a block that no blob names, and removes it: what a collector does. */
static grv_status collect_block(fault_rig *rig, grv_error *error)
{
    static const uint8_t bytes[] = "no blob has this block";
    grv_block block = {.bytes = {bytes, sizeof bytes}, .key.size = sizeof bytes};
    grv_block_batch *batch = NULL;
    grv_status status = grv_digest_of(GRV_HASH_BLAKE3, block.bytes, &block.key.digest, error);
    if (!status) {
        status = grv_block_store_open_batch(NULL, rig->blocks, &batch, error);
    }
    if (!status) {
        status = grv_block_batch_put(NULL, batch, &block, 1, NULL, error);
    }
    grv_block_result result;
    if (!status) {
        status = grv_block_batch_commit(NULL, batch, GRV_DURABLE, &result, 1, error);
    }
    grv_block_batch_free(batch);
    bool removed = false;
    if (!status) {
        status = grv_block_store_remove(NULL, rig->blocks, &block.key, 1, &removed, error);
    }
    if (!status && !removed) {
        rig_fail(rig, "a block that was committed is not there to be removed");
    }
    return status ? status : grv_block_store_flush(NULL, rig->blocks, error);
}

/* Reads which blocks are named, in many passes, as a collector does. */
static grv_status mark_blocks(fault_rig *rig, grv_error *error)
{
    grv_mark *mark = NULL;
    grv_status status = grv_mark_new(rig->manifests, 8, &mark, error);
    bool end = false;
    uint64_t keys = 0;
    while (!status && !end) {
        status = grv_mark_pass(NULL, mark, &end, error);
        keys += status || end ? 0 : grv_mark_unasked(mark);
    }
    if (!status &&
        (keys != RIG_FIRST_BLOCKS || grv_mark_get_totals(mark).references != RIG_FIRST_BLOCKS)) {
        rig_fail(rig, "%llu blocks are named, %u are", (unsigned long long)keys, RIG_FIRST_BLOCKS);
    }
    grv_mark_free(mark);
    return status;
}

/* A collection, in several passes: the blocks of the blob that is gone go, the others stay. */
static grv_status collect(fault_rig *rig, grv_error *error)
{
    grv_store store = {.blocks = rig->blocks, .manifests = rig->manifests, .blobs = rig->blobs};
    grv_collect_config config = {.keys_max = 8};
    grv_collect_report report = {0};
    grv_status status = grv_store_collect(NULL, &store, &config, &report, error);
    grv_block_stats stats = {0};
    if (!status) {
        status = grv_block_store_stats(NULL, rig->blocks, &stats, error);
    }
    if (!status && (stats.blocks != RIG_FIRST_BLOCKS || report.missing_blocks > 0)) {
        rig_fail(rig, "after a collection %llu blocks are left, want %u",
                 (unsigned long long)stats.blocks, RIG_FIRST_BLOCKS);
    }
    return status;
}

/* Reads and checks every block, in one run or in two: none is damaged, so none may be set aside. */
static grv_status scrub(fault_rig *rig, grv_error *error)
{
    grv_store store = {.blocks = rig->blocks, .manifests = rig->manifests, .blobs = rig->blobs};
    grv_scrub_config config = {.keys_max = 8};
    grv_scrub_report report = {0};
    grv_status status = grv_store_scrub(NULL, &store, &config, &report, error);
    if (report.corrupt > 0 || report.missing > 0 || report.set_aside > 0) {
        rig_fail(rig, "a scrub finds damage that is not there");
    }
    if (!status && (!report.complete || report.blocks != RIG_FIRST_BLOCKS + RIG_GONE_BLOCKS)) {
        rig_fail(rig, "a scrub ended well after %llu blocks", (unsigned long long)report.blocks);
    }
    return status;
}

/* Sets a block aside, as a scrubber does, and sweeps. */
static grv_status set_aside(fault_rig *rig, grv_error *error)
{
    const rig_blob *gone = &rig->items[RIG_GONE];
    grv_block_key key = {.size = 64u << 10};
    bool moved = false;
    bool missing = false;
    grv_block_sweep sweep;
    grv_status status =
        grv_digest_of(GRV_HASH_BLAKE3, grv_bytes_of(gone->data, key.size), &key.digest, error);
    if (!status) {
        status = grv_block_store_quarantine(NULL, rig->blocks, &key, 1, &moved, error);
    }
    if (!status) {
        status = grv_block_store_missing(NULL, rig->blocks, &key, 1, &missing, error);
    }
    if (!status && !missing) {
        rig_fail(rig, "a block in quarantine is said to be there");
    }
    return status ? status : grv_block_store_sweep(NULL, rig->blocks, false, &sweep, error);
}

/* Writes a record, and another over it. */
static grv_status set_state(fault_rig *rig, grv_error *error)
{
    static const char *const texts[2] = {"at the start", "further on"};
    grv_buffer text;
    grv_buffer_init(&text, 1000);
    grv_status status = GRV_OK;
    for (size_t i = 0; i < 2 && !status; i++) {
        text.size = 0;
        status = grv_manifest_repo_state_get(NULL, rig->manifests, "fault", &text, error);
        bool there = status == GRV_OK;
        if (there || status == GRV_NOT_FOUND) {
            grv_bytes before = grv_buffer_bytes(&text);
            status =
                grv_manifest_repo_state_set(NULL, rig->manifests, "fault", there ? &before : NULL,
                                            grv_bytes_of(texts[i], strlen(texts[i])), error);
        }
    }
    text.size = 0;
    if (!status) {
        status = grv_manifest_repo_state_get(NULL, rig->manifests, "fault", &text, error);
    }
    if (!status && (text.size != strlen(texts[1]) || memcmp(text.data, texts[1], text.size) != 0)) {
        rig_fail(rig, "a record is not what was written");
    }
    grv_buffer_done(&text);
    return status;
}

static grv_status set_records(fault_rig *rig, grv_error *error)
{
    return rig_set_records(rig, error);
}

const nth_operation nth_open = {.name = "open", .run = run_open, .on_closed = true};

const nth_operation nth_scrub = {.name = "scrub", .run = scrub};

const nth_operation nth_operations[] = {
    {.name = "put of one block", .run = put_tiny},
    {.name = "put of several tiles", .run = put_large},
    {.name = "put of old and new blocks", .run = put_mixed},
    {.name = "put of a known blob", .run = put_known},
    {.name = "put with attributes", .run = put_titled},
    {.name = "put given up", .run = put_abandoned},
    {.name = "get", .run = get_full},
    {.name = "get of a range", .run = get_range},
    {.name = "stat", .run = stat_blob},
    {.name = "list by key", .run = list_by_key},
    {.name = "list by newest", .run = list_newest},
    {.name = "references", .run = list_refs},
    {.name = "remove", .run = remove_blob},
    {.name = "set attributes", .run = set_attributes},
    {.name = "get attributes", .run = get_attributes},
    {.name = "list of blocks", .run = list_blocks},
    {.name = "removal of a block", .run = collect_block},
    {.name = "mark", .run = mark_blocks},
    {.name = "collection", .run = collect},
    {.name = "quarantine", .run = set_aside},
    {.name = "record", .run = set_state},
    {.name = "superblock and descriptor", .run = set_records},
};
const size_t nth_operation_count = sizeof nth_operations / sizeof nth_operations[0];
