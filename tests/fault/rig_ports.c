/* SPDX-License-Identifier: Apache-2.0 */
/* The ports that no blob store needs, in a rig: objects, replicas, ranges. */
#include "rig.h"
#include "temp.h"
#include "test.h"

#include <graviton/backend/fs.h>
#include <graviton/backend/kv.h>
#include <graviton/backend/memory.h>

#define BUCKET      "box"
#define OBJECT_SIZE ((size_t)300000)

static const char *const paths[RIG_OBJECTS] = {"a/first", "a/copy", "new"};
static const grv_range first_range = {0, 100};
static const grv_range second_range = {200, 300};

/* Old bytes, then new ones. */
static const uint8_t *bytes_of(bool new_bytes)
{
    static uint8_t data[2][OBJECT_SIZE];
    if (!data[0][0]) {
        uint64_t seed = 77;
        test_random_fill(&seed, data[0], OBJECT_SIZE);
        test_random_fill(&seed, data[1], OBJECT_SIZE);
        data[0][0] = 1;
        data[1][0] = 2;
    }
    return data[new_bytes];
}

static grv_replica_key replica_key(void)
{
    return (grv_replica_key){.kind = GRV_REPLICA_PACK, .of.pack = {.session = {1}, .number = 7}};
}

grv_locator rig_locator(const fault_rig *rig, unsigned object)
{
    grv_locator locator = {.bucket = BUCKET};
    snprintf(locator.scheme, sizeof locator.scheme, "%s", rig->kind == RIG_FS ? "fs" : "memory");
    snprintf(locator.path, sizeof locator.path, "%s", paths[object]);
    return locator;
}

/* ---- Opening and closing ---- */

static grv_status open_objects(fault_rig *rig, grv_error *error)
{
    grv_mutable_object_store *plain = NULL;
    grv_status status = GRV_OK;
    if (rig->kind == RIG_FS) {
        char directory[300];
        snprintf(directory, sizeof directory, "%s/objects", rig->directory);
        const grv_fs_bucket bucket = {.name = BUCKET, .directory = directory};
        const grv_fs_objects_config config = {
            .buckets = &bucket, .bucket_count = 1, .create = true};
        status = grv_object_store_fs_new(&config, &plain, error);
    } else {
        static const char *const buckets[] = {BUCKET};
        status = grv_object_store_memory_new(buckets, 1, 64u << 20, &plain, error);
    }
    return status ? status : grv_object_store_fault_new(plain, &rig->plan, &rig->objects, error);
}

grv_status rig_ports_open(fault_rig *rig, grv_error *error)
{
    grv_replica_index *replicas = NULL;
    grv_range_tracker *ranges = NULL;
    grv_status status = rig->objects ? GRV_OK : open_objects(rig, error);
    if (!status) {
        status = grv_replica_index_kv_new(rig->kv, &replicas, error);
    }
    if (!status) {
        status = grv_replica_index_fault_new(replicas, &rig->plan, &rig->replicas, error);
    }
    if (!status) {
        status = grv_range_tracker_kv_new(rig->kv, &ranges, error);
    }
    if (!status) {
        status = grv_range_tracker_fault_new(ranges, &rig->plan, &rig->ranges, error);
    }
    return status;
}

void rig_ports_close(fault_rig *rig)
{
    grv_replica_index_free(rig->replicas);
    rig->replicas = NULL;
    grv_range_tracker_free(rig->ranges);
    rig->ranges = NULL;
    if (rig->kind == RIG_FS) { /* objects in memory live as long as the rig */
        grv_mutable_object_store_free(rig->objects);
        rig->objects = NULL;
    }
}

void rig_ports_fill(fault_rig *rig)
{
    grv_error error = GRV_ERROR_INIT;
    for (unsigned i = 0; i < RIG_OBJECTS; i++) {
        rig->contents[i] = RIG_NO_OBJECT;
    }
    assert_grv_ok(rig_put_object(rig, RIG_FIRST, false, false, &error));
    const grv_replica_key key = replica_key();
    const grv_locator locator = rig_locator(rig, RIG_FIRST);
    assert_grv_ok(grv_replica_index_add(NULL, rig->replicas, &key, &locator, &error));
    assert_grv_ok(
        grv_range_tracker_merge(NULL, rig->ranges, &locator, 1, first_range, NULL, NULL, &error));
}

/* ---- Objects ---- */

grv_status rig_put_object(fault_rig *rig, unsigned object, bool new_bytes, bool if_absent,
                          grv_error *error)
{
    unsigned content = new_bytes ? RIG_NEW_BYTES : RIG_OLD_BYTES;
    const grv_locator locator = rig_locator(rig, object);
    const grv_object_put put = {.if_absent = if_absent};
    grv_object_sink *sink = NULL;
    rig->contents[object] |= content;
    grv_status status =
        grv_mutable_object_store_open_put(NULL, rig->objects, &locator, &put, &sink, error);
    if (!status) {
        status = grv_sink_write(NULL, &sink->base, grv_bytes_of(bytes_of(new_bytes), OBJECT_SIZE),
                                error);
    }
    if (!status) {
        status = grv_sink_commit(NULL, &sink->base, error);
    }
    if (!status) {
        rig->contents[object] = content;
        if (sink->info.size_bytes != OBJECT_SIZE || !sink->info.tag[0]) {
            rig_fail(rig, "the info of a put object is wrong");
        }
    }
    if (sink) {
        grv_sink_free(&sink->base);
    }
    return status;
}

grv_status rig_copy_object(fault_rig *rig, grv_error *error)
{
    const grv_locator from = rig_locator(rig, RIG_FIRST);
    const grv_locator to = rig_locator(rig, RIG_COPY);
    rig->contents[RIG_COPY] |= RIG_OLD_BYTES;
    grv_object_info info;
    grv_status status =
        grv_mutable_object_store_copy(NULL, rig->objects, &from, &to, false, &info, error);
    if (!status) {
        rig->contents[RIG_COPY] = RIG_OLD_BYTES;
        if (info.size_bytes != OBJECT_SIZE) {
            rig_fail(rig, "the info of a copy is wrong");
        }
    }
    return status;
}

grv_status rig_remove_object(fault_rig *rig, unsigned object, grv_error *error)
{
    const grv_locator locator = rig_locator(rig, object);
    rig->contents[object] |= RIG_NO_OBJECT;
    grv_status status = grv_mutable_object_store_remove(NULL, rig->objects, &locator, error);
    if (!status) {
        rig->contents[object] = RIG_NO_OBJECT;
    }
    return status;
}

/* Reads to the end; the first byte tells which content it must be. */
static grv_status read_object(const fault_rig *rig, grv_source *source, unsigned *ret_has,
                              grv_error *error)
{
    const uint8_t *wanted = NULL;
    for (size_t at = 0;;) {
        grv_bytes view;
        grv_status status = grv_source_next(NULL, source, 70000, &view, error);
        if (status) {
            return status;
        }
        if (view.size == 0 && at == OBJECT_SIZE) {
            *ret_has = wanted == bytes_of(true) ? RIG_NEW_BYTES : RIG_OLD_BYTES;
            return GRV_OK;
        }
        if (view.size == 0 || view.size > OBJECT_SIZE - at) {
            rig_fail(rig, "a read of an object ended after %zu bytes", at);
        }
        wanted = wanted ? wanted : bytes_of(view.data[0] == 2);
        if (memcmp(view.data, wanted + at, view.size) != 0) {
            rig_fail(rig, "a read of an object gave wrong bytes");
        }
        at += view.size;
    }
}

grv_status rig_get_object(fault_rig *rig, unsigned object, unsigned *ret_has, grv_error *error)
{
    const grv_locator locator = rig_locator(rig, object);
    grv_object_info info;
    grv_source *source = NULL;
    grv_status status = grv_object_store_open_get(NULL, &rig->objects->base, &locator,
                                                  GRV_RANGE_ALL, &info, &source, error);
    unsigned has = RIG_NO_OBJECT;
    if (!status) {
        status = read_object(rig, source, &has, error);
        grv_source_free(source);
    } else if (status == GRV_NOT_FOUND) {
        status = GRV_OK;
    }
    if (status) {
        return status;
    }
    if (!(rig->contents[object] & has)) {
        rig_fail(rig, "object %u has content %u, want one of %u", object, has,
                 rig->contents[object]);
    }
    *ret_has = has;
    return GRV_OK;
}

grv_status rig_list_objects(fault_rig *rig, grv_error *error)
{
    const grv_object_list list = {.bucket = BUCKET};
    grv_object_cursor *cursor = NULL;
    bool seen[RIG_OBJECTS] = {false};
    grv_status status =
        grv_object_store_open_list(NULL, &rig->objects->base, &list, &cursor, error);
    size_t count = 1;
    while (!status && count > 0) {
        grv_object_entry entries[2];
        status = grv_object_cursor_next(NULL, cursor, entries, 2, &count, error);
        for (size_t i = 0; i < count && !status; i++) {
            unsigned object = 0;
            while (object < RIG_OBJECTS && strcmp(entries[i].path, paths[object]) != 0) {
                object++;
            }
            if (object == RIG_OBJECTS || seen[object] || rig->contents[object] == RIG_NO_OBJECT ||
                entries[i].info.size_bytes != OBJECT_SIZE) {
                rig_fail(rig, "object %s is listed wrong", entries[i].path);
            }
            seen[object] = true;
        }
    }
    grv_object_cursor_free(cursor);
    for (size_t i = 0; i < RIG_OBJECTS && !status; i++) {
        if (!(rig->contents[i] & RIG_NO_OBJECT) && !seen[i]) {
            rig_fail(rig, "object %s is missing from the list", paths[i]);
        }
    }
    return status;
}

/* ---- Replicas ---- */

grv_status rig_add_replica(fault_rig *rig, grv_error *error)
{
    const grv_replica_key key = replica_key();
    const grv_locator locator = rig_locator(rig, RIG_COPY);
    rig->second_replica = rig->second_replica == RIG_PRESENT ? RIG_PRESENT : RIG_EITHER;
    grv_status status = grv_replica_index_add(NULL, rig->replicas, &key, &locator, error);
    if (!status) {
        rig->second_replica = RIG_PRESENT;
    }
    return status;
}

grv_status rig_remove_replica(fault_rig *rig, grv_error *error)
{
    const grv_replica_key key = replica_key();
    const grv_locator locator = rig_locator(rig, RIG_COPY);
    rig->second_replica = rig->second_replica == RIG_ABSENT ? RIG_ABSENT : RIG_EITHER;
    grv_status status = grv_replica_index_remove(NULL, rig->replicas, &key, &locator, error);
    if (!status) {
        rig->second_replica = RIG_ABSENT;
    }
    return status;
}

grv_status rig_set_replicas(fault_rig *rig, bool second, grv_error *error)
{
    const grv_replica_key key = replica_key();
    const grv_locator locators[2] = {rig_locator(rig, RIG_FIRST), rig_locator(rig, RIG_COPY)};
    rig_state wanted = second ? RIG_PRESENT : RIG_ABSENT;
    grv_locator_set set;
    grv_locator_set_init(&set);
    grv_status status = grv_locator_set_add(&set, &locators[0], error);
    if (!status && second) {
        status = grv_locator_set_add(&set, &locators[1], error);
    }
    if (!status) {
        rig->second_replica = rig->second_replica == wanted ? wanted : RIG_EITHER;
        status = grv_replica_index_update(NULL, rig->replicas, &key, &set, error);
    }
    if (!status) {
        rig->second_replica = wanted;
    }
    grv_locator_set_done(&set);
    return status;
}

/* Whether there may be `count` things, where there is one and perhaps another. */
static bool count_fits(rig_state second, size_t count)
{
    return second == RIG_EITHER ? count == 1 || count == 2 : count == (second == RIG_PRESENT) + 1u;
}

grv_status rig_get_replicas(fault_rig *rig, grv_error *error)
{
    const grv_replica_key key = replica_key();
    const grv_locator first = rig_locator(rig, RIG_FIRST);
    grv_locator_set set;
    grv_locator_set_init(&set);
    grv_status status = grv_replica_index_replicas(NULL, rig->replicas, &key, &set, error);
    if (!status &&
        (!count_fits(rig->second_replica, set.count) || !grv_locator_set_contains(&set, &first))) {
        rig_fail(rig, "the replicas are wrong: %zu locators", set.count);
    }
    grv_locator_set_done(&set);
    return status;
}

grv_status rig_list_replicas(fault_rig *rig, grv_error *error)
{
    const grv_replica_list list = {0};
    grv_replica_cursor *cursor = NULL;
    grv_status status = grv_replica_index_open_list(NULL, rig->replicas, &list, &cursor, error);
    size_t total = 0;
    size_t count = 1;
    while (!status && count > 0) {
        grv_replica items[1];
        status = grv_replica_cursor_next(NULL, cursor, items, 1, &count, error);
        total += status ? 0 : count;
    }
    grv_replica_cursor_free(cursor);
    if (!status && !count_fits(rig->second_replica, total)) {
        rig_fail(rig, "%zu replicas are listed", total);
    }
    return status;
}

/* ---- Ranges ---- */

grv_status rig_merge_range(fault_rig *rig, grv_error *error)
{
    const grv_locator locator = rig_locator(rig, RIG_FIRST);
    bool was_there = rig->second_range == RIG_PRESENT;
    bool was_not = rig->second_range == RIG_ABSENT;
    grv_range_set whole;
    grv_range_set fresh;
    grv_range_set_init(&whole);
    grv_range_set_init(&fresh);
    rig->second_range = was_there ? RIG_PRESENT : RIG_EITHER;
    grv_status status = grv_range_tracker_merge(NULL, rig->ranges, &locator, 1, second_range,
                                                &whole, &fresh, error);
    if (!status) {
        rig->second_range = RIG_PRESENT;
        if (whole.count != 2 || (was_not && fresh.count != 1) || (was_there && fresh.count != 0)) {
            rig_fail(rig, "a merge gave %zu ranges, %zu new", whole.count, fresh.count);
        }
    } else if (whole.count + fresh.count > 0) {
        rig_fail(rig, "a merge that failed changed its caller's sets");
    }
    grv_range_set_done(&whole);
    grv_range_set_done(&fresh);
    return status;
}

/* Reads RIG_NEW's ranges: there must be `count`, of `generation`. */
static grv_status check_other(fault_rig *rig, size_t count, uint64_t generation, grv_error *error)
{
    const grv_locator locator = rig_locator(rig, RIG_NEW);
    uint64_t there = 0;
    grv_range_set set;
    grv_range_set_init(&set);
    grv_status status = grv_range_tracker_current(NULL, rig->ranges, &locator, &there, &set, error);
    if (!status && (set.count != count || there != generation)) {
        rig_fail(rig, "the other locator has %zu ranges, want %zu", set.count, count);
    }
    grv_range_set_done(&set);
    return status;
}

grv_status rig_track_other(fault_rig *rig, grv_error *error)
{
    const grv_locator locator = rig_locator(rig, RIG_NEW);
    /* An attempt before this one may have come as far as the second generation. */
    grv_status status = grv_range_tracker_remove(NULL, rig->ranges, &locator, error);
    if (!status) {
        rig->other_ranges = RIG_EITHER;
        status =
            grv_range_tracker_merge(NULL, rig->ranges, &locator, 1, first_range, NULL, NULL, error);
    }
    if (!status) {
        rig->other_ranges = RIG_PRESENT;
        status = check_other(rig, 1, 1, error);
    }
    if (!status) {
        status = grv_range_tracker_reset(NULL, rig->ranges, &locator, 2, error);
    }
    if (!status) {
        status = check_other(rig, 0, 2, error);
    }
    if (!status) {
        rig->other_ranges = RIG_EITHER;
        status = grv_range_tracker_remove(NULL, rig->ranges, &locator, error);
    }
    if (!status) {
        rig->other_ranges = RIG_ABSENT;
        status = check_other(rig, 0, 0, error);
    }
    return status;
}

grv_status rig_get_ranges(fault_rig *rig, grv_error *error)
{
    const grv_locator locator = rig_locator(rig, RIG_FIRST);
    uint64_t generation = 0;
    grv_range_set set;
    grv_range_set_init(&set);
    grv_status status =
        grv_range_tracker_current(NULL, rig->ranges, &locator, &generation, &set, error);
    if (!status && (!count_fits(rig->second_range, set.count) || generation != 1 ||
                    !grv_range_set_contains(&set, first_range))) {
        rig_fail(rig, "the ranges are wrong: %zu", set.count);
    }
    grv_range_set_done(&set);
    return status;
}

grv_status rig_list_ranges(fault_rig *rig, grv_error *error)
{
    const grv_locator locators[2] = {rig_locator(rig, RIG_FIRST), rig_locator(rig, RIG_NEW)};
    const grv_tracked_list list = {0};
    grv_tracked_cursor *cursor = NULL;
    grv_status status = grv_range_tracker_open_list(NULL, rig->ranges, &list, &cursor, error);
    size_t seen[2] = {0};
    size_t count = 1;
    while (!status && count > 0) {
        grv_tracked items[1];
        status = grv_tracked_cursor_next(NULL, cursor, items, 1, &count, error);
        if (status || count == 0) {
            break;
        }
        bool other = grv_locator_compare(&items[0].locator, &locators[1]) == 0;
        if (!other && (grv_locator_compare(&items[0].locator, &locators[0]) != 0 ||
                       !count_fits(rig->second_range, items[0].range_count))) {
            rig_fail(rig, "a list gives %u ranges", items[0].range_count);
        }
        seen[other]++;
    }
    grv_tracked_cursor_free(cursor);
    if (!status && (seen[0] != 1 || !count_fits(rig->other_ranges, seen[1] + 1))) {
        rig_fail(rig, "%zu and %zu locators are listed", seen[0], seen[1]);
    }
    return status;
}

/* ---- Checking ---- */

void rig_ports_check(fault_rig *rig)
{
    grv_error error = GRV_ERROR_INIT;
    for (unsigned i = 0; i < RIG_OBJECTS; i++) {
        unsigned has = 0;
        assert_grv_ok(rig_get_object(rig, i, &has, &error));
    }
    assert_grv_ok(rig_list_objects(rig, &error));
    assert_grv_ok(rig_get_replicas(rig, &error));
    assert_grv_ok(rig_list_replicas(rig, &error));
    assert_grv_ok(rig_get_ranges(rig, &error));
    assert_grv_ok(rig_list_ranges(rig, &error));
}
