/* SPDX-License-Identifier: Apache-2.0 */
/* The shared model: what was acknowledged, what is under way, and how a process fails. */
#include "model.h"

#include <stdarg.h>

static const char *const attribute_names[MODEL_ATTRIBUTES] = {
    GRV_ATTRIBUTE_FILE_NAME,
    GRV_ATTRIBUTE_CONTENT_TYPE,
    "x.test-1",
};

static pthread_mutex_t state_lock = PTHREAD_MUTEX_INITIALIZER;

void model_lock(void)
{
    pthread_mutex_lock(&state_lock);
}

void model_unlock(void)
{
    pthread_mutex_unlock(&state_lock);
}

/* ---- Failing ---- */

_Noreturn void model_fail(model_run *run, const char *format, ...)
{
    model_shared *shared = run->shared;
    va_list arguments;
    va_start(arguments, format);
    if (!atomic_flag_test_and_set(&shared->failing)) {
        vsnprintf(shared->failure, sizeof shared->failure, format, arguments);
    }
    va_end(arguments);
    _exit(MODEL_EXIT_FAILED);
}

void model_expect(model_run *run, const char *what, grv_status status, grv_status want,
                  const grv_error *error)
{
    if (status != want) {
        model_fail(run, "%s: %s, want %s%s%s", what, grv_status_name(status), grv_status_name(want),
                   status ? ": " : "", status ? error->message : "");
    }
}

void model_note(model_run *run, const char *format, ...)
{
    char *note = run->shared->notes[run->shared->current];
    size_t used = strnlen(note, MODEL_NOTE_SIZE - 1);
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(note + used, MODEL_NOTE_SIZE - used, format, arguments);
    va_end(arguments);
}

/* ---- What happens ---- */

void model_begin(model_run *run, unsigned slot, const model_blob *after)
{
    model_lock();
    run->shared->maybe[slot] = *after;
    run->shared->pending[slot]++;
    model_unlock();
}

void model_happened(model_run *run, unsigned slot, const model_blob *after)
{
    model_shared *shared = run->shared;
    model_lock();
    shared->blobs[slot] = *after;
    shared->pending[slot]--;
    if (after->sequence > shared->last_sequence) {
        shared->last_sequence = after->sequence;
    }
    model_unlock();
}

void model_given_up(model_run *run, unsigned slot)
{
    model_lock();
    run->shared->pending[slot]--;
    model_unlock();
}

void model_blocks_stored(model_run *run, unsigned slot)
{
    const model_content *content = &run->world->contents[slot];
    model_lock();
    for (size_t i = 0; i < content->block_count; i++) {
        run->shared->block_states[content->blocks[i]] = MODEL_PRESENT;
    }
    model_unlock();
}

void model_blocks_perhaps(model_run *run, unsigned slot)
{
    const model_content *content = &run->world->contents[slot];
    model_lock();
    for (size_t i = 0; i < content->block_count; i++) {
        uint8_t *state = &run->shared->block_states[content->blocks[i]];
        *state = *state == MODEL_ABSENT ? MODEL_MAYBE : *state;
    }
    model_unlock();
}

void model_forget(model_run *run)
{
    model_shared *shared = run->shared;
    shared->made = false;
    shared->last_sequence = 0;
    memset(shared->blobs, 0, sizeof shared->blobs);
    memset(shared->pending, 0, sizeof shared->pending);
    shared->collecting = false;
    shared->backup = 0;
    memset(shared->block_states, 0, run->world->block_count);
}

/* ---- After a crash ---- */

/* True if what is stored under the blob's key is `want`. */
static bool settle_is(model_run *run, unsigned slot, const model_blob *want,
                      const grv_blob_info *info)
{
    grv_error error = GRV_ERROR_INIT;
    grv_attributes found;
    if (!info || !want->stored) {
        return !info && !want->stored;
    }
    grv_attributes_init(&found);
    grv_status status = grv_blob_store_attributes_get(
        NULL, run->blobs, &run->world->contents[slot].key, &found, &error);
    model_expect(run, "attributes after a crash", status, GRV_OK, &error);
    bool same = model_attributes_match(want->attributes, &found);
    grv_attributes_done(&found);
    return same;
}

static void settle_slot(model_run *run, unsigned slot)
{
    model_shared *shared = run->shared;
    const model_content *content = &run->world->contents[slot];
    model_blob *old = &shared->blobs[slot];
    model_blob *maybe = &shared->maybe[slot];
    grv_error error = GRV_ERROR_INIT;
    grv_blob_info info;
    grv_status status = grv_blob_store_stat(NULL, run->blobs, &content->key, &info, &error);
    if (status != GRV_NOT_FOUND) {
        model_expect(run, "stat after a crash", status, GRV_OK, &error);
    }
    const grv_blob_info *there = status ? NULL : &info;
    bool was_stored = old->stored;
    if (!settle_is(run, slot, old, there)) {
        if (!settle_is(run, slot, maybe, there)) {
            model_fail(run, "after a crash blob %u is %s, and neither as before nor as after", slot,
                       there ? "there" : "gone");
        }
        *old = *maybe;
    }
    if (there && !was_stored) {
        old->sequence = info.sequence;
        old->created_ns = info.created_ns;
        if (info.sequence <= shared->last_sequence) {
            model_fail(run, "after a crash blob %u has sequence %llu; %llu was given out before",
                       slot, (unsigned long long)info.sequence,
                       (unsigned long long)shared->last_sequence);
        }
    }
    model_blocks_perhaps(run, slot);
    shared->pending[slot] = 0;
}

void model_settle(model_run *run)
{
    uint64_t last = run->shared->last_sequence;
    for (unsigned s = 0; s < MODEL_SLOTS; s++) {
        if (run->shared->pending[s]) {
            settle_slot(run, s);
            if (run->shared->blobs[s].stored) {
                model_blocks_stored(run, s);
                last =
                    run->shared->blobs[s].sequence > last ? run->shared->blobs[s].sequence : last;
            }
        }
    }
    run->shared->last_sequence = last;
    if (run->shared->collecting) {
        model_collected(run, false);
        run->shared->collecting = false;
    }
}

/* ---- Attributes ---- */

static void attribute_value(const model_attribute *attribute, uint8_t *value)
{
    uint64_t state = attribute->seed;
    test_random_fill(&state, value, attribute->size);
}

void model_attributes_make(model_run *run, const model_attribute attributes[MODEL_ATTRIBUTES],
                           grv_attributes *ret_attributes)
{
    uint8_t value[GRV_ATTRIBUTE_VALUE_MAX];
    grv_error error = GRV_ERROR_INIT;
    grv_attributes_init(ret_attributes);
    for (unsigned i = 0; i < MODEL_ATTRIBUTES; i++) {
        if (attributes[i].set) {
            attribute_value(&attributes[i], value);
            grv_status status = grv_attributes_set(ret_attributes, attribute_names[i],
                                                   grv_bytes_of(value, attributes[i].size), &error);
            model_expect(run, "attributes", status, GRV_OK, &error);
        }
    }
}

bool model_attributes_match(const model_attribute attributes[MODEL_ATTRIBUTES],
                            const grv_attributes *found)
{
    uint8_t value[GRV_ATTRIBUTE_VALUE_MAX];
    size_t count = 0;
    for (unsigned i = 0; i < MODEL_ATTRIBUTES; i++) {
        const grv_attribute *pair = grv_attributes_get(found, attribute_names[i]);
        if (!attributes[i].set) {
            continue;
        }
        attribute_value(&attributes[i], value);
        if (!pair || pair->value_size != attributes[i].size ||
            memcmp(pair->value, value, pair->value_size) != 0) {
            return false;
        }
        count++;
    }
    return count == found->count;
}

void model_attributes_pick(uint64_t *state, model_attribute attributes[MODEL_ATTRIBUTES])
{
    memset(attributes, 0, MODEL_ATTRIBUTES * sizeof *attributes);
    for (unsigned i = 0; i < MODEL_ATTRIBUTES; i++) {
        size_t most = model_pick(state, 20) ? 40 : GRV_ATTRIBUTE_VALUE_MAX;
        attributes[i].set = model_pick(state, 2) == 0;
        attributes[i].size = (uint32_t)model_pick(state, most + 1);
        attributes[i].seed = test_random(state);
    }
}
