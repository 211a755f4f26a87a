/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Making a failure small: operations are left out, first in large pieces, then one by one, as long
 * as what is left still fails. A failure that depends on threads comes and goes; so each try is
 * made as often as it took to see it again.
 */
#include "model.h"

#define TRIES_MAX 12u

/* True if the world as it is fails within `tries` runs. */
static bool still_fails(model_world *world, model_shared *shared, unsigned tries)
{
    for (unsigned i = 0; i < tries; i++) {
        if (!model_run_seed(world, shared)) {
            return true;
        }
    }
    return false;
}

/* How many runs it takes to see the failure again, with some to spare; 0: it was not seen. */
static unsigned tries_needed(model_world *world, model_shared *shared)
{
    unsigned seen = 0;
    for (unsigned i = 1; i <= TRIES_MAX; i++) {
        seen += !model_run_seed(world, shared);
        if (seen == 3) {
            return i == 3 ? 1 : i;
        }
    }
    return seen ? TRIES_MAX : 0;
}

/* Leaves `size` operations out at a time where it still fails without them; true if any was. */
static bool shrink_by(model_world *world, model_shared *shared, size_t size, unsigned tries)
{
    bool any = false;
    for (size_t at = 0; at < world->op_count; at += size) {
        bool before[MODEL_OPS_MAX];
        size_t left_out = 0;
        memcpy(before, world->skipped, sizeof before);
        for (size_t i = at; i < at + size && i < world->op_count; i++) {
            left_out += !world->skipped[i];
            world->skipped[i] = true;
        }
        if (left_out == 0) {
            continue;
        }
        if (still_fails(world, shared, tries)) {
            any = true;
        } else {
            memcpy(world->skipped, before, sizeof before);
        }
    }
    return any;
}

static void shrink(model_world *world, model_shared *shared)
{
    unsigned tries = tries_needed(world, shared);
    if (tries == 0) {
        printf("# in %u more runs it did not fail again; the list is as it was\n", TRIES_MAX);
        return;
    }
    for (size_t size = world->op_count / 2; size > 0; size /= 2) {
        while (shrink_by(world, shared, size, tries) && size == 1) {
        }
    }
    while (!still_fails(world, shared, tries)) {
    }
}

/* ---- Printing ---- */

static void print_command(const model_world *world)
{
    const char *comma = " --skip ";
    printf("# again: build/tests/model/model --seed %llu --pair %s",
           (unsigned long long)world->seed, world->pair->name);
    for (size_t i = 0; i < world->op_count; i++) {
        size_t first = i;
        while (i < world->op_count && world->skipped[i]) {
            i++;
        }
        if (i > first + 1) {
            printf("%s%zu-%zu", comma, first, i - 1);
        } else if (i > first) {
            printf("%s%zu", comma, first);
        }
        comma = i > first ? "," : comma;
    }
    printf("\n");
}

static void print_failure(const model_world *world, const model_shared *shared)
{
    char chunker[GRV_CHUNKER_TEXT_SIZE];
    grv_chunker_spec_print(&world->chunker, chunker);
    printf("# seed %llu, %s, %s, %s, %u threads: failed at operation %zu\n",
           (unsigned long long)world->seed, world->pair->name, grv_hash_name(world->hash), chunker,
           world->threads, shared->current);
    printf("# %s\n", shared->failure);
    if (world->first_kill_at && world->pair->lasts) {
        printf("#      the first opening is killed at call %llu\n",
               (unsigned long long)world->first_kill_at);
    }
    for (size_t i = 0; i < world->op_count && i < shared->next; i++) {
        if (!world->skipped[i]) {
            printf("# %4zu %s%s\n", i, model_op_name(world->ops[i].kind), shared->notes[i]);
        }
    }
}

void model_report(model_world *world, model_shared *shared, bool shorten)
{
    print_failure(world, shared);
    print_command(world);
    fflush(stdout);
    if (shorten) {
        printf("# leaving out operations\n");
        fflush(stdout);
        shrink(world, shared);
        print_failure(world, shared);
        print_command(world);
    }
    fflush(stdout);
}
