/* SPDX-License-Identifier: Apache-2.0 */
/* Collections: what they say that they free, what they free, and what must be left. */
#include "model.h"

#include <graviton/maintain.h>

/* Marks the blocks that blobs name; the result is the caller's to free. */
static bool *named_blocks(const model_run *run)
{
    bool *named = calloc(run->world->block_count + 1, sizeof *named);
    for (unsigned s = 0; s < MODEL_SLOTS; s++) {
        const model_content *content = &run->world->contents[s];
        for (size_t i = 0; run->shared->blobs[s].stored && i < content->block_count; i++) {
            named[content->blocks[i]] = true;
        }
    }
    return named;
}

void model_collected(model_run *run, bool surely)
{
    bool *named = named_blocks(run);
    model_lock();
    for (size_t i = 0; i < run->world->block_count; i++) {
        uint8_t *state = &run->shared->block_states[i];
        if (!named[i] && *state != MODEL_ABSENT) {
            *state = surely ? MODEL_ABSENT : MODEL_MAYBE;
        }
    }
    model_unlock();
    free(named);
}

/* Compares what a collection tells with what the model has. */
static void check_report(model_run *run, const grv_collect_report *report)
{
    bool *named = named_blocks(run);
    uint64_t kept = 0;
    uint64_t freed = 0;
    uint64_t perhaps = 0;
    for (size_t i = 0; i < run->world->block_count; i++) {
        uint8_t state = run->shared->block_states[i];
        kept += named[i];
        freed += !named[i] && state == MODEL_PRESENT;
        perhaps += !named[i] && state == MODEL_MAYBE;
    }
    free(named);
    if (report->kept_blocks != kept || report->missing_blocks != 0 ||
        report->freed_blocks < freed || report->freed_blocks > freed + perhaps) {
        model_fail(run,
                   "collect: %llu blocks kept, %llu freed, %llu missing; want %llu, %llu to %llu, "
                   "0",
                   (unsigned long long)report->kept_blocks,
                   (unsigned long long)report->freed_blocks,
                   (unsigned long long)report->missing_blocks, (unsigned long long)kept,
                   (unsigned long long)freed, (unsigned long long)freed + perhaps);
    }
}

static grv_collect_report collect(model_run *run, const char *what, bool dry_run, size_t keys_max)
{
    grv_error error = GRV_ERROR_INIT;
    grv_collect_report report;
    const grv_collect_config config = {.dry_run = dry_run, .keys_max = keys_max};
    grv_status status = grv_store_collect(NULL, run->store, &config, &report, &error);
    model_expect(run, what, status, GRV_OK, &error);
    check_report(run, &report);
    return report;
}

static bool same_report(const grv_collect_report *a, const grv_collect_report *b)
{
    return a->blobs == b->blobs && a->references == b->references &&
           a->kept_blocks == b->kept_blocks && a->kept_bytes == b->kept_bytes &&
           a->freed_blocks == b->freed_blocks && a->freed_bytes == b->freed_bytes &&
           a->freed_stored_bytes == b->freed_stored_bytes &&
           a->block_sweep.temporary == b->block_sweep.temporary &&
           a->block_sweep.temporary_bytes == b->block_sweep.temporary_bytes &&
           a->block_sweep.aside == b->block_sweep.aside &&
           a->meta_sweep.pages == b->meta_sweep.pages &&
           a->meta_sweep.sequences == b->meta_sweep.sequences;
}

/* While a put is open, a collection must not begin. */
static void expect_busy(model_run *run)
{
    grv_error error = GRV_ERROR_INIT;
    const grv_put_plan plan = {0};
    const grv_collect_config config = {0};
    grv_collect_report report;
    grv_blob_sink *sink;
    grv_status status = grv_blob_store_open_put(NULL, run->blobs, &plan, &sink, &error);
    model_expect(run, "open_put", status, GRV_OK, &error);
    status = grv_store_collect(NULL, run->store, &config, &report, &error);
    model_expect(run, "collect beside a put", status, GRV_UNAVAILABLE, &error);
    grv_sink_free(&sink->base);
}

void model_collect(model_run *run, uint64_t *state)
{
    size_t keys_max = model_pick(state, 3) ? 0 : 1 + model_pick(state, 200);
    grv_collect_report dry;
    bool compare = model_pick(state, 2);
    if (model_pick(state, 6) == 0) {
        expect_busy(run);
    }
    if (compare) {
        dry = collect(run, "collect, dry", true, keys_max);
        model_check_count(run);
    }
    run->shared->collecting = true;
    const grv_collect_report wet = collect(run, "collect", false, keys_max);
    model_collected(run, true);
    run->shared->collecting = false;
    model_note(run, " freed %llu, %llu temporary, %llu pages", (unsigned long long)wet.freed_blocks,
               (unsigned long long)wet.block_sweep.temporary,
               (unsigned long long)wet.meta_sweep.pages);
    if (compare && !same_report(&dry, &wet)) {
        model_fail(run, "collect: the dry run told of %llu blocks, %llu were freed",
                   (unsigned long long)dry.freed_blocks, (unsigned long long)wet.freed_blocks);
    }
    const grv_collect_report again = collect(run, "collect again", model_pick(state, 2), 0);
    if (again.freed_blocks || again.block_sweep.temporary || again.block_sweep.aside ||
        again.meta_sweep.pages || again.meta_sweep.sequences) {
        model_fail(run, "collect: a second one still finds %llu blocks, %llu temporary, %llu pages",
                   (unsigned long long)again.freed_blocks,
                   (unsigned long long)again.block_sweep.temporary,
                   (unsigned long long)again.meta_sweep.pages);
    }
    model_check_count(run);
}

void model_collect_beside(model_run *run)
{
    grv_error error = GRV_ERROR_INIT;
    const grv_collect_config config = {0};
    grv_collect_report report;
    grv_status status = grv_store_collect(NULL, run->store, &config, &report, &error);
    if (status != GRV_UNAVAILABLE) {
        model_expect(run, "collect beside others", status, GRV_OK, &error);
    }
}
