/* SPDX-License-Identifier: Apache-2.0 */
/* Shared by the files of the object_store suite. */
#include "object_store_suite.h"

#include "temp.h"

#include <stdlib.h>

static grv_status case_open(object_case *self, grv_error *error)
{
    return self->fixture->open(self->directory, &self->context, &self->store, error);
}

int object_case_setup(void **state)
{
    object_case *self = *state;
    grv_error error = GRV_ERROR_INIT;
    test_temp_make(self->directory);
    if (case_open(self, &error)) {
        print_error("%s: %s\n", self->name, error.message);
        return -1;
    }
    return 0;
}

int object_case_teardown(void **state)
{
    object_case *self = *state;
    self->fixture->close(self->store, &self->context, true);
    self->store = NULL;
    test_temp_remove(self->directory);
    return 0;
}

void object_case_turn(object_case *self)
{
    grv_error error = GRV_ERROR_INIT;
    if (!self->reopen) {
        return;
    }
    self->fixture->close(self->store, &self->context, false);
    self->store = NULL;
    assert_grv_ok(case_open(self, &error));
}

grv_locator object_locator(const grv_mutable_object_store *store, const char *bucket,
                           const char *path)
{
    grv_locator locator = {0};
    snprintf(locator.scheme, sizeof locator.scheme, "%s", store->base.scheme);
    snprintf(locator.bucket, sizeof locator.bucket, "%s", bucket);
    snprintf(locator.path, sizeof locator.path, "%s", path);
    return locator;
}

/* Bytes of the UTF-8 character that begins here, 0 where none does. */
static size_t character_size(const uint8_t *text)
{
    size_t size = text[0] < 0x80 ? 1 : text[0] < 0xc2 ? 0 : text[0] < 0xe0 ? 2 : 0;
    size = text[0] >= 0xe0 && text[0] < 0xf0 ? 3 : text[0] >= 0xf0 && text[0] < 0xf5 ? 4 : size;
    for (size_t i = 1; i < size; i++) {
        if ((text[i] & 0xc0) != 0x80) {
            return 0;
        }
    }
    return size;
}

bool object_path_fits(const object_case *self, const char *path)
{
    const uint8_t *at = (const uint8_t *)path;
    if (self->store->capabilities & GRV_OBJECT_CAP_ANY_PATH) {
        return true;
    }
    while (*at) {
        size_t size = character_size(at);
        if (size == 0) {
            return false;
        }
        at += size;
    }
    return true;
}

uint8_t object_byte(uint64_t seed, uint64_t at)
{
    return (uint8_t)(seed * 37 + at + (at >> 8) * 11 + (at >> 16) * 5);
}

grv_status object_write(grv_sink *sink, uint64_t seed, uint64_t first, uint64_t end,
                        grv_error *error)
{
    while (first < end) {
        grv_span window;
        grv_status status = grv_sink_reserve(NULL, sink, &window, error);
        if (status) {
            return status;
        }
        size_t size = window.size < end - first ? window.size : (size_t)(end - first);
        for (size_t i = 0; i < size; i++) {
            window.data[i] = object_byte(seed, first + i);
        }
        status = grv_sink_advance(NULL, sink, size, error);
        if (status) {
            return status;
        }
        first += size;
    }
    return GRV_OK;
}

grv_status object_try_put(grv_mutable_object_store *store, const char *path, uint64_t seed,
                          uint64_t size, bool if_absent, grv_object_info *ret_info,
                          grv_error *error)
{
    grv_locator locator = object_locator(store, OBJECT_BUCKET, path);
    const grv_object_put put = {.if_absent = if_absent};
    grv_object_sink *sink = NULL;
    grv_status status =
        grv_mutable_object_store_open_put(NULL, store, &locator, &put, &sink, error);
    if (status) {
        return status;
    }
    status = object_write(&sink->base, seed, 0, size, error);
    if (!status) {
        status = grv_sink_commit(NULL, &sink->base, error);
    }
    if (!status && ret_info) {
        *ret_info = sink->info;
    }
    grv_sink_free(&sink->base);
    return status;
}

grv_object_info object_put(object_case *self, const char *path, uint64_t seed, uint64_t size)
{
    grv_error error = GRV_ERROR_INIT;
    grv_object_info info = {0};
    assert_grv_ok(object_try_put(self->store, path, seed, size, false, &info, &error));
    assert_int_equal(info.size_bytes, size);
    return info;
}

grv_status object_read(grv_source *source, uint64_t seed, uint64_t first, uint64_t end,
                       grv_error *error)
{
    for (;;) {
        grv_bytes view;
        grv_status status = grv_source_next(NULL, source, 1u << 20, &view, error);
        if (status) {
            return status;
        }
        if (view.size == 0) {
            return first == end ? GRV_OK
                                : grv_error_set(error, GRV_INTERNAL, "test", "a clean early end");
        }
        if (view.size > end - first) {
            return grv_error_set(error, GRV_INTERNAL, "test", "more bytes than there are");
        }
        for (size_t i = 0; i < view.size; i++) {
            if (view.data[i] != object_byte(seed, first + i)) {
                return grv_error_set(error, GRV_INTERNAL, "test", "a wrong byte at %zu",
                                     (size_t)first + i);
            }
        }
        first += view.size;
    }
}

void object_check_in(object_case *self, const char *bucket, const char *path, uint64_t seed,
                     uint64_t size)
{
    grv_error error = GRV_ERROR_INIT;
    grv_locator locator = object_locator(self->store, bucket, path);
    grv_object_info head;
    grv_object_info info;
    grv_source *source = NULL;
    assert_grv_ok(grv_object_store_head(NULL, &self->store->base, &locator, &head, &error));
    assert_int_equal(head.size_bytes, size);
    assert_grv_ok(grv_object_store_open_get(NULL, &self->store->base, &locator, GRV_RANGE_ALL,
                                            &info, &source, &error));
    object_check_info(&info, &head);
    assert_grv_ok(object_read(source, seed, 0, size, &error));
    grv_source_free(source);
}

void object_check(object_case *self, const char *path, uint64_t seed, uint64_t size)
{
    object_check_in(self, OBJECT_BUCKET, path, seed, size);
}

void object_check_absent(object_case *self, const char *path)
{
    grv_error error = GRV_ERROR_INIT;
    grv_locator locator = object_locator(self->store, OBJECT_BUCKET, path);
    grv_object_info info;
    grv_source *source = NULL;
    assert_grv_status(grv_object_store_head(NULL, &self->store->base, &locator, &info, &error),
                      GRV_NOT_FOUND);
    assert_grv_status(grv_object_store_open_get(NULL, &self->store->base, &locator, GRV_RANGE_ALL,
                                                NULL, &source, &error),
                      GRV_NOT_FOUND);
    assert_null(source);
}

void object_check_info(const grv_object_info *got, const grv_object_info *want)
{
    assert_int_equal(got->size_bytes, want->size_bytes);
    assert_int_equal(got->modified_ns, want->modified_ns);
    assert_string_equal(got->tag, want->tag);
}

static void paths_add(object_paths *list, const grv_object_entry *entry)
{
    if (list->count > 0) {
        assert_true(strcmp(list->paths[list->count - 1], entry->path) < 0);
    }
    char **paths = realloc(list->paths, (list->count + 1) * sizeof *paths);
    grv_object_info *infos = realloc(list->infos, (list->count + 1) * sizeof *infos);
    char *path = strdup(entry->path);
    if (!paths || !infos || !path) {
        abort();
    }
    list->paths = paths;
    list->infos = infos;
    list->paths[list->count] = path;
    list->infos[list->count++] = entry->info;
}

object_paths object_list_in(object_case *self, const char *bucket, grv_bytes prefix,
                            grv_bytes after, size_t capacity)
{
    grv_error error = GRV_ERROR_INIT;
    const grv_object_list plan = {.bucket = bucket, .prefix = prefix, .after = after};
    grv_object_cursor *cursor = NULL;
    object_paths list = {0};
    assert_grv_ok(grv_object_store_open_list(NULL, &self->store->base, &plan, &cursor, &error));
    grv_object_entry entries[100];
    size_t count = 1;
    while (count > 0) {
        assert_grv_ok(grv_object_cursor_next(NULL, cursor, entries, capacity, &count, &error));
        for (size_t i = 0; i < count; i++) {
            paths_add(&list, &entries[i]);
        }
    }
    assert_grv_ok(grv_object_cursor_next(NULL, cursor, entries, capacity, &count, &error));
    assert_int_equal(count, 0);
    grv_object_cursor_free(cursor);
    return list;
}

object_paths object_list_all(object_case *self)
{
    return object_list_in(self, OBJECT_BUCKET, (grv_bytes){0}, (grv_bytes){0}, 64);
}

void object_paths_free(object_paths *list)
{
    for (size_t i = 0; i < list->count; i++) {
        free(list->paths[i]);
    }
    free(list->paths);
    free(list->infos);
    *list = (object_paths){0};
}
