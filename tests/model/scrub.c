/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Scrubs: a sound store is found sound; a block that is damaged behind the store's back is never
 * given out, found, set aside, and whole again after the next put of its bytes.
 */
#include "model.h"

#include <fcntl.h>
#include <graviton/maintain.h>
#include <sys/stat.h>

/* What a scrub is to find. */
typedef struct expected {
    model_run *run;
    const grv_block_key *bad; /* NULL: nothing */
    size_t found;
} expected;

static grv_status on_found(void *context, const grv_scrub_finding *finding, grv_error *error)
{
    expected *it = context;
    (void)error;
    if (!it->bad || grv_block_key_compare(&finding->key, it->bad) != 0) {
        model_fail(it->run, "scrub: a sound block is found bad: %s", finding->message);
    }
    it->found++;
    return GRV_OK;
}

static grv_scrub_report scrub(model_run *run, const grv_block_key *bad, bool restart)
{
    expected want = {.run = run, .bad = bad};
    grv_error error = GRV_ERROR_INIT;
    grv_scrub_report report;
    const grv_scrub_config config = {.restart = restart, .found = on_found, .context = &want};
    grv_status status = grv_store_scrub(NULL, run->store, &config, &report, &error);
    model_expect(run, "scrub", status, GRV_OK, &error);
    if (!report.complete || want.found != (bad != NULL)) {
        model_fail(run, "scrub: complete is %d, %zu found", report.complete, want.found);
    }
    return report;
}

/* A round over a store without damage. An earlier run that was killed may have begun it. */
static void scrub_sound(model_run *run, bool restart)
{
    grv_error error = GRV_ERROR_INIT;
    grv_store_stats stats;
    grv_scrub_report report = scrub(run, NULL, restart);
    model_expect(run, "count", grv_store_count(NULL, run->store, &stats, &error), GRV_OK, &error);
    if (report.corrupt || report.missing || report.unreadable || report.set_aside ||
        (!report.resumed && report.blocks != stats.blocks) || report.total_blocks != stats.blocks) {
        model_fail(run, "scrub of a sound store: %llu of %llu blocks read, %llu bad, %llu missing",
                   (unsigned long long)report.blocks, (unsigned long long)stats.blocks,
                   (unsigned long long)report.corrupt, (unsigned long long)report.missing);
    }
}

/* Changes one byte of a block's file, or its length. */
static void damage(model_run *run, const grv_block_key *key, uint64_t *state)
{
    char hex[2 * GRV_DIGEST_SIZE + 1];
    char path[MODEL_PATH_SIZE + 120];
    grv_digest_hex(&key->digest, hex);
    snprintf(path, sizeof path, "%s/%s/%s/%s-%u", run->root,
             run->world->apart ? "blocks/other/place" : "store/cas/blocks",
             grv_hash_name(key->digest.hash), hex, key->size);
    off_t at = (off_t)model_pick(state, key->size);
    uint8_t byte;
    int fd = open(path, O_RDWR | O_CLOEXEC);
    if (fd < 0 || pread(fd, &byte, 1, at) != 1) {
        model_fail(run, "no block file %s", path);
    }
    byte ^= (uint8_t)(1u << model_pick(state, 8));
    if (model_pick(state, 3) ? pwrite(fd, &byte, 1, at) != 1 : ftruncate(fd, at) != 0) {
        model_fail(run, "cannot damage %s", path);
    }
    close(fd);
}

/* Reads a damaged blob in the background, so not from a cache: what comes is right, and its end
 * never does. */
static void expect_corrupt(model_run *run, unsigned slot)
{
    const model_content *content = &run->world->contents[slot];
    const grv_call call = {.priority = GRV_BACKGROUND};
    grv_error error = GRV_ERROR_INIT;
    grv_source *source;
    grv_bytes view;
    size_t at = 0;
    grv_status status =
        grv_blob_store_open_get(&call, run->blobs, &content->key, GRV_RANGE_ALL, &source, &error);
    model_expect(run, "open_get of a damaged blob", status, GRV_OK, &error);
    do {
        status = grv_source_next(&call, source, SIZE_MAX, &view, &error);
        if (!status && (view.size > content->size - at || view.size == 0 ||
                        memcmp(view.data, content->data + at, view.size) != 0)) {
            model_fail(run, "damaged blob %u: wrong bytes, or an end, at %zu", slot, at);
        }
        at += status ? 0 : view.size;
    } while (!status);
    model_expect(run, "reading a damaged blob", status, GRV_CORRUPT, &error);
    grv_source_free(source);
}

static void heal(model_run *run, unsigned slot)
{
    const model_content *content = &run->world->contents[slot];
    grv_error error = GRV_ERROR_INIT;
    const grv_put_plan plan = {0};
    grv_blob_sink *sink;
    grv_status status = grv_blob_store_open_put(NULL, run->blobs, &plan, &sink, &error);
    model_expect(run, "open_put", status, GRV_OK, &error);
    status = grv_sink_write(NULL, &sink->base, grv_bytes_of(content->data, content->size), &error);
    status = status ? status : grv_sink_commit(NULL, &sink->base, &error);
    model_expect(run, "put that heals", status, GRV_OK, &error);
    if (!sink->result.already_stored || sink->result.fresh_blocks != 1) {
        model_fail(run, "put that heals: %llu fresh blocks",
                   (unsigned long long)sink->result.fresh_blocks);
    }
    grv_sink_free(&sink->base);
}

void model_scrub(model_run *run, unsigned slot, uint64_t *state)
{
    const model_content *content = &run->world->contents[slot];
    bool stored = run->shared->blobs[slot].stored;
    bool hurt = run->world->pair->files && stored && content->size > 0 && model_pick(state, 2);
    if (!hurt) {
        scrub_sound(run, model_pick(state, 2));
        return;
    }
    model_kill_arm(run, 0, false); /* a kill would leave the damage to what comes after */
    const uint32_t block = content->blocks[model_pick(state, content->block_count)];
    model_note(run, " a block of %u damaged", slot);
    scrub_sound(run, true);
    damage(run, &run->world->blocks[block], state);
    expect_corrupt(run, slot);
    const grv_scrub_report report = scrub(run, &run->world->blocks[block], true);
    if (report.corrupt != 1 || report.set_aside != 1) {
        model_fail(run, "scrub: %llu corrupt, %llu set aside, want 1",
                   (unsigned long long)report.corrupt, (unsigned long long)report.set_aside);
    }
    expect_corrupt(run, slot);
    heal(run, slot);
    model_check_read(run, slot, GRV_RANGE_ALL, state);
    scrub_sound(run, true);
}
