/* SPDX-License-Identifier: Apache-2.0 */
/* What a seed says: the store's kind, the blobs there may be, and what is done with them. */
#include "core/chunk.h"
#include "model.h"

#define CONTENT_MAX ((size_t)3 << 20)
#define SEGMENTS    10u

const model_pair model_pairs[] = {
    {"memory", .blocks_aim = 1500},
    {"kv+memory", .framed = true, .blocks_aim = 1000},
    {"kv+rocks", .framed = true, .rocks = true, .lasts = true, .blocks_aim = 400},
    {"fs+rocks", .files = true, .rocks = true, .lasts = true, .blocks_aim = 40},
    {"fs+rocks+cache", .files = true, .rocks = true, .cached = true, .lasts = true,
     .blocks_aim = 40},
};
const size_t model_pair_count = sizeof model_pairs / sizeof model_pairs[0];

/* Names, and how often of 100 or so an operation is chosen. */
static const struct {
    const char *name;
    unsigned weight;
} op_table[MODEL_OP_KINDS] = {
    [MODEL_PUT] = {"put", 30},
    [MODEL_PUT_TWO] = {"put-two", 4},
    [MODEL_PUT_PARALLEL] = {"put-parallel", 3},
    [MODEL_GET] = {"get", 7},
    [MODEL_GET_RANGE] = {"get-range", 12},
    [MODEL_GET_HELD] = {"get-held", 4},
    [MODEL_STAT] = {"stat", 3},
    [MODEL_REFS] = {"refs", 4},
    [MODEL_LIST] = {"list", 8},
    [MODEL_ATTRIBUTES_GET] = {"attributes-get", 3},
    [MODEL_ATTRIBUTES_SET] = {"attributes-set", 5},
    [MODEL_REMOVE] = {"remove", 12},
    [MODEL_COUNT] = {"count", 4},
    [MODEL_COLLECT] = {"collect", 5},
    [MODEL_BACKUP] = {"backup", 2},
    [MODEL_SCRUB] = {"scrub", 3},
    [MODEL_REOPEN] = {"reopen", 3},
    [MODEL_REOPEN_READ_ONLY] = {"reopen-read-only", 1},
    [MODEL_REOPEN_OTHER] = {"reopen-other", 1},
    [MODEL_OPEN_TWICE] = {"open-twice", 1},
    [MODEL_CRASH] = {"crash", 4},
};

const char *model_op_name(model_op_kind kind)
{
    return op_table[kind].name;
}

static void *need(void *memory)
{
    if (!memory) {
        abort();
    }
    return memory;
}

/* ---- The store ---- */

static void pick_chunker(model_world *world, uint64_t *state)
{
    static const char *const texts[] = {
        "cdc:16K",    "cdc:16K",      "cdc:64K",          "fixed:64",
        "fixed:1000", "fixed:4096",   "fixed:65536",      "fixed:1048577",
        "fixed:1",    "delimiter:0a", "delimiter:0a,100", "delimiter:0d0a,5000",
        "fixed:7",
    };
    const char *text = texts[model_pick(state, sizeof texts / sizeof texts[0])];
    if (grv_chunker_spec_parse(grv_bytes_of(text, strlen(text)), &world->chunker, NULL)) {
        abort();
    }
}

/* Bytes of a block, as it goes. */
static size_t block_size_usual(const grv_chunker_spec *chunker)
{
    return chunker->kind == GRV_CHUNKER_DELIMITER ? 30 : chunker->size;
}

/* ---- Contents ---- */

/* A piece of content that several blobs share. */
typedef struct segment {
    uint8_t *data;
    size_t size;
} segment;

static void segment_fill(const segment *it, uint64_t *state)
{
    switch (model_pick(state, 4)) {
    case 0:
        memset(it->data, (int)model_pick(state, 3), it->size);
        return;
    case 1: {
        size_t period = 1 + model_pick(state, 3000);
        test_random_fill(state, it->data, period < it->size ? period : it->size);
        for (size_t i = period; i < it->size; i++) {
            it->data[i] = it->data[i - period];
        }
        return;
    }
    case 2:
        for (size_t i = 0; i < it->size; i++) {
            size_t dice = model_pick(state, 30);
            it->data[i] = dice == 0 ? '\n' : dice == 1 ? '\r' : (uint8_t)('a' + dice % 4);
        }
        return;
    default:
        test_random_fill(state, it->data, it->size);
    }
}

static void segment_init(segment *it, const model_world *world, uint64_t *state)
{
    size_t block = block_size_usual(&world->chunker);
    size_t most = world->pair->blocks_aim * block / 3;
    most = most > CONTENT_MAX / 3 ? CONTENT_MAX / 3 : most + 1;
    it->size = 1 + model_pick(state, 1 + most / (1 + model_pick(state, 20)));
    if (model_pick(state, 2) == 0 && it->size > block) {
        it->size -= it->size % block;
    }
    it->data = need(malloc(it->size));
    segment_fill(it, state);
}

static void content_append(model_content *it, const uint8_t *data, size_t size)
{
    if (it->size + size <= CONTENT_MAX) {
        memcpy(it->data + it->size, data, size);
        it->size += size;
    }
}

/* A blob of segments, of another blob's beginning, or of a few bytes. */
static void content_fill(model_world *world, unsigned slot, const segment segments[],
                         uint64_t *state)
{
    model_content *it = &world->contents[slot];
    uint8_t few[40];
    it->data = need(malloc(CONTENT_MAX + MODEL_SLOTS));
    test_random_fill(state, few, sizeof few);
    if (slot == 0) {
        return;
    }
    if (slot == 1 || model_pick(state, 8) == 0) {
        content_append(it, few, 1 + model_pick(state, sizeof few));
        return;
    }
    if (model_pick(state, 4) == 0) {
        const model_content *other = &world->contents[model_pick(state, slot)];
        content_append(it, other->data, model_pick(state, other->size + 1));
    }
    for (size_t count = 1 + model_pick(state, 5); count > 0; count--) {
        const segment *one = &segments[model_pick(state, SEGMENTS)];
        size_t from = model_pick(state, 5) ? 0 : model_pick(state, one->size);
        content_append(it, one->data + from, one->size - from);
        if (model_pick(state, 6) == 0) {
            content_append(it, few, model_pick(state, sizeof few));
        }
    }
}

static bool content_is_taken(const model_world *world, unsigned slot)
{
    const model_content *it = &world->contents[slot];
    for (unsigned i = 0; i < slot; i++) {
        const model_content *other = &world->contents[i];
        if (other->size == it->size && memcmp(other->data, it->data, it->size) == 0) {
            return true;
        }
    }
    return false;
}

/* Makes the blob another than those before, and names it. */
static void content_name(model_world *world, unsigned slot)
{
    model_content *it = &world->contents[slot];
    while (content_is_taken(world, slot)) {
        it->data[it->size++] = (uint8_t)slot;
    }
    it->key.size = it->size;
    if (grv_digest_of(world->hash, grv_bytes_of(it->data, it->size), &it->key.digest, NULL)) {
        abort();
    }
}

/* ---- Blocks ---- */

static int compare_blocks(const void *a, const void *b)
{
    return grv_block_key_compare(a, b);
}

/* Cuts a blob in one go; gives the keys of its blocks. */
static grv_block_key *cut(const model_world *world, const model_content *it, size_t *ret_count)
{
    size_t most = it->size / grv_chunker_block_min(&world->chunker) + 2;
    uint32_t *sizes = need(malloc(most * sizeof *sizes));
    grv_cutter cutter;
    grv_cutter_init(&cutter, &world->chunker);
    size_t used = grv_cutter_cut(&cutter, it->data, it->size, true, sizes, most, ret_count);
    if (used != it->size) {
        abort();
    }
    grv_block_key *keys = need(malloc((*ret_count + 1) * sizeof *keys));
    for (size_t i = 0, at = 0; i < *ret_count; at += sizes[i], i++) {
        keys[i] = (grv_block_key){.size = sizes[i]};
        if (grv_digest_of(world->hash, grv_bytes_of(it->data + at, sizes[i]), &keys[i].digest,
                          NULL)) {
            abort();
        }
    }
    free(sizes);
    return keys;
}

static void world_cut(model_world *world)
{
    grv_block_key *keys[MODEL_SLOTS];
    size_t total = 0;
    for (unsigned s = 0; s < MODEL_SLOTS; s++) {
        keys[s] = cut(world, &world->contents[s], &world->contents[s].block_count);
        total += world->contents[s].block_count;
    }
    world->blocks = need(malloc((total + 1) * sizeof *world->blocks));
    size_t count = 0;
    for (unsigned s = 0; s < MODEL_SLOTS; s++) {
        memcpy(world->blocks + count, keys[s],
               world->contents[s].block_count * sizeof *world->blocks);
        count += world->contents[s].block_count;
    }
    qsort(world->blocks, total, sizeof *world->blocks, compare_blocks);
    for (size_t i = 0; i < total; i++) {
        if (world->block_count == 0 ||
            compare_blocks(&world->blocks[world->block_count - 1], &world->blocks[i]) != 0) {
            world->blocks[world->block_count++] = world->blocks[i];
        }
    }
    if (world->block_count > MODEL_BLOCKS_MAX) {
        abort();
    }
    for (unsigned s = 0; s < MODEL_SLOTS; s++) {
        model_content *it = &world->contents[s];
        it->blocks = need(malloc((it->block_count + 1) * sizeof *it->blocks));
        for (size_t i = 0; i < it->block_count; i++) {
            const grv_block_key *found = bsearch(&keys[s][i], world->blocks, world->block_count,
                                                 sizeof *world->blocks, compare_blocks);
            it->blocks[i] = (uint32_t)(found - world->blocks);
        }
        free(keys[s]);
    }
}

/* ---- Operations ---- */

static void pick_ops(model_world *world, uint64_t *state)
{
    unsigned total = 0;
    for (unsigned k = 0; k < MODEL_OP_KINDS; k++) {
        total += op_table[k].weight;
    }
    world->op_count = 8 + model_pick(state, MODEL_OPS_MAX - 8);
    size_t slots = 3 + model_pick(state, MODEL_SLOTS - 2);
    for (size_t i = 0; i < world->op_count; i++) {
        size_t dice = model_pick(state, total);
        unsigned kind = 0;
        while (dice >= op_table[kind].weight) {
            dice -= op_table[kind++].weight;
        }
        world->ops[i] = (model_op){
            .kind = (model_op_kind)kind,
            .slot = (unsigned)(MODEL_SLOTS - 1 - model_pick(state, slots)),
            .seed = test_random(state),
        };
    }
}

/* ---- Public ---- */

void model_world_init(model_world *world, const model_pair *pair, uint64_t seed)
{
    uint64_t state = seed * UINT64_C(0x9e3779b97f4a7c15) + (uint64_t)(pair - model_pairs);
    segment segments[SEGMENTS];
    *world = (model_world){.seed = seed, .pair = pair};
    world->hash = model_pick(&state, 3) ? GRV_HASH_BLAKE3 : GRV_HASH_SHA256;
    world->threads = 1 + (unsigned)model_pick(&state, 3);
    world->reserve_bytes = model_pick(&state, 4) ? 0 : 1u << 20;
    world->apart = model_pick(&state, 3) == 0;
    world->first_kill_at = model_pick(&state, 8) ? 0 : 1 + model_pick(&state, 60);
    pick_chunker(world, &state);
    for (unsigned i = 0; i < SEGMENTS; i++) {
        segment_init(&segments[i], world, &state);
    }
    for (unsigned s = 0; s < MODEL_SLOTS; s++) {
        content_fill(world, s, segments, &state);
        content_name(world, s);
    }
    for (unsigned i = 0; i < SEGMENTS; i++) {
        free(segments[i].data);
    }
    world_cut(world);
    pick_ops(world, &state);
}

void model_world_done(model_world *world)
{
    for (unsigned s = 0; s < MODEL_SLOTS; s++) {
        free(world->contents[s].data);
        free(world->contents[s].blocks);
    }
    free(world->blocks);
}
