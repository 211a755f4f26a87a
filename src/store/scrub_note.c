/* SPDX-License-Identifier: Apache-2.0 */
/* Where a scrub is, as JSON in a named record of the metadata store. Strict to read. */
#include "store/scrub.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#define NOTE_VERSION 1

/* The numbers of a note, by name. */
typedef struct note_number {
    const char *name;
    uint64_t *value;
} note_number;

#define NOTE_NUMBERS 6

static void note_numbers(grv_scrub_report *report, note_number ret_numbers[NOTE_NUMBERS])
{
    const note_number numbers[NOTE_NUMBERS] = {
        {"started_ns", &report->started_ns}, {"blocks", &report->blocks},
        {"bytes", &report->bytes},           {"corrupt", &report->corrupt},
        {"set_aside", &report->set_aside},   {"unreadable", &report->unreadable},
    };
    memcpy(ret_numbers, numbers, sizeof numbers);
}

static grv_status note_damaged(const char *why, grv_error *error)
{
    return grv_error_set(error, GRV_CORRUPT, "scrub",
                         "the note about where the last scrub stopped is damaged (%s): begin "
                         "again from the first block",
                         why);
}

static grv_status note_decode(json_t *root, grv_scrub_run *run, grv_error *error)
{
    const json_t *version = json_object_get(root, "version");
    if (!json_is_integer(version) || json_integer_value(version) < 1) {
        return note_damaged("it has no version", error);
    }
    if (json_integer_value(version) > NOTE_VERSION) {
        return grv_error_set(error, GRV_UNSUPPORTED, "scrub",
                             "a newer graviton has begun a scrub here: use that one, or begin "
                             "again from the first block");
    }
    grv_scrub_report report = run->report;
    note_number numbers[NOTE_NUMBERS];
    note_numbers(&report, numbers);
    for (size_t i = 0; i < NOTE_NUMBERS; i++) {
        const json_t *number = json_object_get(root, numbers[i].name);
        if (!json_is_integer(number) || json_integer_value(number) < 0) {
            return note_damaged(numbers[i].name, error);
        }
        *numbers[i].value = (uint64_t)json_integer_value(number);
    }
    const json_t *read_all = json_object_get(root, "read_all");
    const char *after = json_string_value(json_object_get(root, "after"));
    grv_block_key key = {0};
    if (!json_is_boolean(read_all) || !after) {
        return note_damaged("its place is missing", error);
    }
    if (*after && grv_block_key_parse(grv_bytes_of(after, strlen(after)), &key, NULL)) {
        return note_damaged("its place is no block's", error);
    }
    report.resumed = true;
    run->report = report;
    run->read_all = json_is_true(read_all);
    run->has_after = *after != '\0';
    run->after = key;
    return GRV_OK;
}

grv_status grv_scrub_note_load(grv_scrub_run *run, grv_error *error)
{
    grv_status status = grv_manifest_repo_state_get(run->call, grv_store_manifests(run->store),
                                                    GRV_SCRUB_NOTE, &run->note, error);
    if (status == GRV_NOT_FOUND) {
        return GRV_OK;
    }
    if (status || run->config->restart) {
        return status;
    }
    json_t *root =
        json_loadb((const char *)run->note.data, run->note.size, JSON_REJECT_DUPLICATES, NULL);
    status = root ? note_decode(root, run, error) : note_damaged("it is not JSON", error);
    json_decref(root);
    return status;
}

/* The note as text; NULL without memory. */
static char *note_encode(grv_scrub_run *run)
{
    char after[GRV_KEY_TEXT_SIZE] = "";
    if (run->has_after) {
        grv_block_key_print(&run->after, after);
    }
    json_t *root = json_pack("{s:i,s:s,s:b}", "version", NOTE_VERSION, "after", after, "read_all",
                             run->read_all);
    note_number numbers[NOTE_NUMBERS];
    note_numbers(&run->report, numbers);
    bool whole = root != NULL;
    for (size_t i = 0; i < NOTE_NUMBERS && whole; i++) {
        whole = json_object_set_new(root, numbers[i].name,
                                    json_integer((json_int_t)*numbers[i].value)) == 0;
    }
    char *text = whole ? json_dumps(root, JSON_COMPACT) : NULL;
    json_decref(root);
    return text;
}

grv_status grv_scrub_note_save(grv_scrub_run *run, bool done, grv_error *error)
{
    if (done && run->note.size == 0) {
        return GRV_OK;
    }
    char *text = done ? NULL : note_encode(run);
    if (!done && !text) {
        return grv_error_set(error, GRV_LIMIT_EXCEEDED, "scrub", "no memory for a note");
    }
    const grv_bytes before = grv_buffer_bytes(&run->note);
    const grv_bytes after = grv_bytes_of(text, text ? strlen(text) : 0);
    grv_status status =
        grv_manifest_repo_state_set(NULL, grv_store_manifests(run->store), GRV_SCRUB_NOTE,
                                    before.size > 0 ? &before : NULL, after, error);
    if (!status) {
        run->note.size = 0;
        status = grv_buffer_append(&run->note, after, error);
    } else {
        grv_error_prefix(error, "cannot note where the scrub is");
    }
    free(text);
    return status;
}
