/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Key-value stores against a naive model, in random batches, and in races. The model is a table of
 * all keys there can be: few and awkward ones, so that everything meets everything.
 */
#include "key_value_store_fixtures.h"

#include "temp.h"

#include <pthread.h>
#include <sched.h>

/* Keys of 1 to 4 bytes out of three: 3 + 9 + 27 + 81. */
#define KEY_COUNT 120
#define STEPS     600

typedef struct known_value {
    bool there;
    uint32_t size;
    uint64_t seed;
} known_value;

typedef struct known {
    known_value values[KV_NAMESPACES][KEY_COUNT];
} known;

static struct short_key {
    uint8_t bytes[4];
    size_t size;
} keys[KEY_COUNT]; /* in order */

static grv_bytes key_at(size_t i)
{
    return grv_bytes_of(keys[i].bytes, keys[i].size);
}

static void make_keys(void)
{
    static const uint8_t letters[3] = {0x00, 'a', 0xff};
    size_t used = 0;
    for (size_t size = 1, count = 3; size <= 4; size++, count *= 3) {
        for (size_t number = 0; number < count; number++, used++) {
            size_t rest = number;
            keys[used].size = size;
            for (size_t i = 0; i < size; i++, rest /= 3) {
                keys[used].bytes[i] = letters[rest % 3];
            }
        }
    }
    for (size_t i = 1; i < KEY_COUNT; i++) {
        for (size_t k = i; k > 0 && grv_bytes_compare(key_at(k - 1), key_at(k)) > 0; k--) {
            struct short_key swap = keys[k];
            keys[k] = keys[k - 1];
            keys[k - 1] = swap;
        }
    }
}

static size_t pick(uint64_t *seed, size_t count)
{
    return (size_t)(test_random(seed) % count);
}

/* Bytes of a value; mostly short, now and then long enough to be stored in another way. */
static grv_bytes value_bytes(const known_value *value, uint8_t *buffer)
{
    uint64_t seed = value->seed;
    test_random_fill(&seed, buffer, value->size);
    return grv_bytes_of(buffer, value->size);
}

#define VALUE_MAX 6000

static known_value random_value(uint64_t *seed)
{
    uint32_t size = (uint32_t)(pick(seed, 8) ? pick(seed, 30) : pick(seed, VALUE_MAX));
    return (known_value){true, size, test_random(seed)};
}

static bool key_has_prefix(size_t key, grv_bytes prefix)
{
    return keys[key].size >= prefix.size &&
           (prefix.size == 0 || memcmp(keys[key].bytes, prefix.data, prefix.size) == 0);
}

/* One batch, as the store gets it and as the model does. */
typedef struct draft {
    grv_kv_op ops[8];
    grv_kv_guard guards[3];
    grv_kv_batch batch;
    uint8_t values[11][VALUE_MAX];
} draft;

/* Adds a random operation to the plan, and its effect to `after`. */
static void plan_op(draft *plan, uint64_t *seed, bool guarded, known *after)
{
    size_t n = plan->batch.op_count++;
    grv_kv_op *op = &plan->ops[n];
    size_t key = pick(seed, KEY_COUNT);
    *op = (grv_kv_op){.ns = (unsigned)pick(seed, KV_NAMESPACES), .key = key_at(key)};
    known_value *slots = after->values[op->ns];
    size_t dice = pick(seed, 16);
    if (dice == 0 && !guarded) {
        size_t end = pick(seed, KEY_COUNT + 1); /* past the last: to the last */
        op->kind = GRV_KV_DELETE_RANGE;
        op->end = end < KEY_COUNT ? key_at(end) : grv_bytes_of(NULL, 0);
        for (size_t i = key; i < end; i++) {
            slots[i] = (known_value){0};
        }
    } else if (dice < 5) {
        op->kind = GRV_KV_DELETE;
        slots[key] = (known_value){0};
    } else {
        op->kind = GRV_KV_PUT;
        slots[key] = random_value(seed);
        op->value = value_bytes(&slots[key], plan->values[n]);
    }
}

/* Adds a guard that holds more often than not; returns whether it does. */
static bool plan_guard(draft *plan, uint64_t *seed, const known *before)
{
    size_t n = plan->batch.guard_count++;
    grv_kv_guard *guard = &plan->guards[n];
    size_t key = pick(seed, KEY_COUNT);
    *guard = (grv_kv_guard){.ns = (unsigned)pick(seed, KV_NAMESPACES), .key = key_at(key)};
    const known_value *value = &before->values[guard->ns][key];
    if (pick(seed, 5) == 0) {
        guard->kind = value->there ? GRV_KV_ABSENT : GRV_KV_PRESENT;
        return false;
    }
    if (!value->there) {
        guard->kind = GRV_KV_ABSENT;
        return true;
    }
    guard->kind = pick(seed, 2) ? GRV_KV_PRESENT : GRV_KV_EQUALS;
    guard->value = value_bytes(value, plan->values[8 + n]);
    if (guard->kind == GRV_KV_EQUALS && pick(seed, 4) == 0) {
        guard->value.size = guard->value.size ? guard->value.size - 1 : 1;
        return false;
    }
    return true;
}

static void random_write(grv_kv *kv, uint64_t *seed, known *model)
{
    static draft plan;
    static known after;
    grv_error error = GRV_ERROR_INIT;
    plan.batch = (grv_kv_batch){.ops = plan.ops, .guards = plan.guards};
    plan.batch.durability = pick(seed, 16) ? GRV_ORDERED : GRV_DURABLE;
    after = *model;
    bool holds = true;
    for (size_t left = pick(seed, 4); left > 0; left--) {
        holds = plan_guard(&plan, seed, model) && holds;
    }
    for (size_t left = pick(seed, 9); left > 0; left--) {
        plan_op(&plan, seed, plan.batch.guard_count > 0, &after);
    }
    assert_grv_status(grv_kv_write(NULL, kv, &plan.batch, &error), holds ? GRV_OK : GRV_CONFLICT);
    if (holds) {
        *model = after;
    }
}

static void assert_item(grv_bytes got, const known_value *want)
{
    static uint8_t buffer[VALUE_MAX];
    assert_true(want->there);
    assert_int_equal(grv_bytes_compare(got, value_bytes(want, buffer)), 0);
}

/* Asks for all keys of a namespace, in a random order, in both ways. */
static void check_keys(grv_kv *kv, uint64_t *seed, const known *model)
{
    grv_error error = GRV_ERROR_INIT;
    unsigned ns = (unsigned)pick(seed, KV_NAMESPACES);
    size_t order[KEY_COUNT];
    grv_bytes asked[KEY_COUNT];
    grv_value values[KEY_COUNT];
    grv_status statuses[KEY_COUNT];
    bool missing[KEY_COUNT];
    for (size_t i = 0; i < KEY_COUNT; i++) {
        order[i] = pick(seed, KEY_COUNT);
        asked[i] = key_at(order[i]);
    }
    assert_grv_ok(grv_kv_multi_get(NULL, kv, ns, asked, KEY_COUNT, values, statuses, &error));
    assert_grv_ok(grv_kv_missing(NULL, kv, ns, asked, KEY_COUNT, missing, &error));
    for (size_t i = 0; i < KEY_COUNT; i++) {
        const known_value *want = &model->values[ns][order[i]];
        assert_int_equal(statuses[i], want->there ? GRV_OK : GRV_NOT_FOUND);
        assert_int_equal(missing[i], !want->there);
        if (want->there) {
            assert_item(values[i].bytes, want);
        }
        grv_value_done(&values[i]);
    }
}

static grv_kv_scan random_scan(uint64_t *seed)
{
    grv_kv_scan scan = {.ns = (unsigned)pick(seed, KV_NAMESPACES), .reverse = pick(seed, 2)};
    if (pick(seed, 2)) {
        scan.prefix = key_at(pick(seed, KEY_COUNT));
        scan.prefix.size = 1 + pick(seed, scan.prefix.size);
    }
    if (pick(seed, 2)) {
        scan.start = key_at(pick(seed, KEY_COUNT));
    }
    return scan;
}

/* Runs a cursor to its end against the model of the moment it was opened. */
static void check_cursor(grv_kv_cursor *cursor, const grv_kv_scan *scan, const known *model)
{
    grv_error error = GRV_ERROR_INIT;
    grv_kv_item item;
    for (size_t n = 0; n < KEY_COUNT; n++) {
        size_t i = scan->reverse ? KEY_COUNT - 1 - n : n;
        int order = grv_bytes_compare(key_at(i), scan->start);
        bool outside = scan->start.size && (scan->reverse ? order > 0 : order < 0);
        if (outside || !key_has_prefix(i, scan->prefix) || !model->values[scan->ns][i].there) {
            continue;
        }
        assert_grv_ok(grv_kv_cursor_next(NULL, cursor, &item, &error));
        assert_int_equal(grv_bytes_compare(item.key, key_at(i)), 0);
        assert_item(item.value, &model->values[scan->ns][i]);
    }
    assert_grv_status(grv_kv_cursor_next(NULL, cursor, &item, &error), GRV_NOT_FOUND);
    grv_kv_cursor_free(cursor);
}

static void random_batches_match_the_model(void **state)
{
    kv_case *self = *state;
    grv_error error = GRV_ERROR_INIT;
    uint64_t seed = kv_suite_seed();
    static known model;
    static known opened;
    memset(&model, 0, sizeof model);
    make_keys();
    for (int turn = 0; turn < 4; turn++) {
        grv_kv_cursor *cursor = NULL;
        grv_kv_scan scan = {0};
        for (int step = 0; step < STEPS / 4; step++) {
            random_write(self->kv, &seed, &model);
            if (pick(&seed, 8) == 0) {
                check_keys(self->kv, &seed, &model);
            }
            if (cursor && pick(&seed, 6) == 0) {
                check_cursor(cursor, &scan, &opened);
                cursor = NULL;
            }
            if (!cursor) {
                scan = random_scan(&seed);
                opened = model;
                assert_grv_ok(grv_kv_open_scan(NULL, self->kv, &scan, &cursor, &error));
            }
        }
        check_cursor(cursor, &scan, &opened);
        kv_case_turn(self);
    }
    for (unsigned ns = 0; ns < KV_NAMESPACES; ns++) {
        grv_kv_scan scan = {.ns = ns};
        grv_kv_cursor *cursor = NULL;
        assert_grv_ok(grv_kv_open_scan(NULL, self->kv, &scan, &cursor, &error));
        check_cursor(cursor, &scan, &model);
    }
}

/* Races. A thread counts what went wrong; the main one asserts that nothing did. */
#define THREADS 8

typedef struct racer {
    grv_kv *kv;
    unsigned number;
    unsigned won;
    unsigned wrong;
    const int *stop; /* atomic */
} racer;

static void run_racers(racer racers[], grv_kv *kv, const int *stop, void *(*run)(void *))
{
    pthread_t threads[THREADS];
    for (unsigned i = 0; i < THREADS; i++) {
        racers[i] = (racer){.kv = kv, .number = i, .stop = stop};
        assert_int_equal(pthread_create(&threads[i], NULL, run, &racers[i]), 0);
    }
    for (unsigned i = 0; i < THREADS; i++) {
        pthread_join(threads[i], NULL);
        assert_int_equal(racers[i].wrong, 0);
    }
}

#define INCREMENTS 40

static grv_status increment(grv_kv *kv, unsigned *ret_was)
{
    grv_value old = {0};
    grv_status status = grv_kv_get(NULL, kv, 0, text("counter"), &old, NULL);
    if (status) {
        return status;
    }
    unsigned was = 0;
    memcpy(&was, old.bytes.data, old.bytes.size < sizeof was ? old.bytes.size : sizeof was);
    unsigned now = was + 1;
    const grv_kv_op ops[] = {
        {.kind = GRV_KV_PUT, .key = text("counter"), .value = grv_bytes_of(&now, sizeof now)},
        {.kind = GRV_KV_PUT, .ns = 1, .key = grv_bytes_of(&now, sizeof now)}, /* a trace each */
    };
    const grv_kv_guard guard = {.kind = GRV_KV_EQUALS, .key = text("counter"), .value = old.bytes};
    const grv_kv_batch batch = {.ops = ops,
                                .op_count = 2,
                                .guards = &guard,
                                .guard_count = 1,
                                .durability = was % 16 ? GRV_ORDERED : GRV_DURABLE};
    status = grv_kv_write(NULL, kv, &batch, NULL);
    grv_value_done(&old);
    *ret_was = was;
    return status;
}

static void *count_up(void *argument)
{
    racer *self = argument;
    while (self->won < INCREMENTS && !self->wrong) {
        unsigned was = 0;
        grv_status status = increment(self->kv, &was);
        self->won += status == GRV_OK;
        self->wrong += status != GRV_OK && status != GRV_CONFLICT;
    }
    return NULL;
}

static void guarded_increments_lose_none(void **state)
{
    kv_case *self = *state;
    grv_error error = GRV_ERROR_INIT;
    racer racers[THREADS];
    unsigned zero = 0;
    kv_put(self->kv, 0, text("counter"), grv_bytes_of(&zero, sizeof zero));
    run_racers(racers, self->kv, NULL, count_up);
    kv_case_turn(self);
    unsigned total = THREADS * INCREMENTS;
    kv_assert_value(self->kv, 0, text("counter"), grv_bytes_of(&total, sizeof total));
    grv_kv_scan scan = {.ns = 1, .keys_only = true};
    grv_kv_cursor *cursor = NULL;
    grv_kv_item item;
    unsigned steps = 0;
    assert_grv_ok(grv_kv_open_scan(NULL, self->kv, &scan, &cursor, &error));
    while (grv_kv_cursor_next(NULL, cursor, &item, &error) == GRV_OK) {
        steps++;
    }
    grv_kv_cursor_free(cursor);
    assert_int_equal(steps, total);
}

#define PRIZES 60

static void *claim_prizes(void *argument)
{
    racer *self = argument;
    for (uint8_t prize = 0; prize < PRIZES; prize++) {
        const uint8_t key[2] = {'p', prize};
        const grv_kv_op op = {.kind = GRV_KV_PUT,
                              .key = grv_bytes_of(key, 2),
                              .value = grv_bytes_of(&self->number, sizeof self->number)};
        const grv_kv_guard guard = {.kind = GRV_KV_ABSENT, .key = grv_bytes_of(key, 2)};
        const grv_kv_batch batch = {.ops = &op,
                                    .op_count = 1,
                                    .guards = &guard,
                                    .guard_count = 1,
                                    .durability = GRV_ORDERED};
        grv_status status = grv_kv_write(NULL, self->kv, &batch, NULL);
        self->won += status == GRV_OK;
        self->wrong += status != GRV_OK && status != GRV_CONFLICT;
    }
    return NULL;
}

static void of_many_inserts_one_wins(void **state)
{
    kv_case *self = *state;
    racer racers[THREADS];
    run_racers(racers, self->kv, NULL, claim_prizes);
    kv_case_turn(self);
    unsigned won = 0;
    for (unsigned i = 0; i < THREADS; i++) {
        won += racers[i].won;
    }
    assert_int_equal(won, PRIZES);
    unsigned owned[THREADS] = {0};
    for (uint8_t prize = 0; prize < PRIZES; prize++) {
        grv_error error = GRV_ERROR_INIT;
        grv_value value = {0};
        const uint8_t key[2] = {'p', prize};
        assert_grv_ok(grv_kv_get(NULL, self->kv, 0, grv_bytes_of(key, 2), &value, &error));
        unsigned owner = THREADS;
        assert_int_equal(value.bytes.size, sizeof owner);
        memcpy(&owner, value.bytes.data, sizeof owner);
        grv_value_done(&value);
        assert_true(owner < THREADS);
        owned[owner]++;
    }
    for (unsigned i = 0; i < THREADS; i++) {
        assert_int_equal(owned[i], racers[i].won);
    }
}

#define GROUP  10
#define ROUNDS 30

/* Replaces a group of keys as one, now and then by way of a range delete. */
static void replace_group(racer *self, unsigned round)
{
    uint8_t group[GROUP][2];
    grv_kv_op ops[GROUP + 1];
    const unsigned value = self->number * 1000 + round;
    size_t count = 0;
    if (round % 3 == 0) {
        ops[count++] =
            (grv_kv_op){.kind = GRV_KV_DELETE_RANGE, .ns = 2, .key = text("g"), .end = text("h")};
    }
    for (uint8_t i = 0; i < GROUP; i++) {
        group[i][0] = 'g';
        group[i][1] = i;
        ops[count++] = (grv_kv_op){.kind = GRV_KV_PUT,
                                   .ns = 2,
                                   .key = grv_bytes_of(group[i], 2),
                                   .value = grv_bytes_of(&value, sizeof value)};
    }
    const grv_kv_batch batch = {.ops = ops, .op_count = count, .durability = GRV_ORDERED};
    self->wrong += grv_kv_write(NULL, self->kv, &batch, NULL) != GRV_OK;
}

/* A scan must see all of one batch: the whole group, with one value. */
static void scan_group(racer *self, unsigned round)
{
    const grv_kv_scan scan = {.ns = 2, .prefix = text("g"), .reverse = round % 2};
    grv_kv_cursor *cursor = NULL;
    grv_kv_item item;
    unsigned first = 0;
    unsigned seen = 0;
    if (grv_kv_open_scan(NULL, self->kv, &scan, &cursor, NULL)) {
        self->wrong++;
        return;
    }
    while (grv_kv_cursor_next(NULL, cursor, &item, NULL) == GRV_OK) {
        unsigned value = 0;
        if (item.value.size == sizeof value) {
            memcpy(&value, item.value.data, sizeof value);
        }
        first = seen ? first : value;
        self->wrong += value != first;
        seen++;
    }
    grv_kv_cursor_free(cursor);
    self->wrong += seen != GROUP;
}

static void *replace_or_scan(void *argument)
{
    racer *self = argument;
    for (unsigned round = 0; round < ROUNDS; round++) {
        if (self->number % 2) {
            scan_group(self, round);
        } else {
            replace_group(self, round);
        }
    }
    return NULL;
}

static void scans_never_see_half_a_batch(void **state)
{
    kv_case *self = *state;
    racer racers[THREADS];
    racer first = {.kv = self->kv};
    replace_group(&first, 0);
    assert_int_equal(first.wrong, 0);
    run_racers(racers, self->kv, NULL, replace_or_scan);
    kv_case_turn(self);
    first.kv = self->kv;
    scan_group(&first, 0);
    assert_int_equal(first.wrong, 0);
}

static void *write_while_allowed(void *argument)
{
    racer *self = argument;
    for (unsigned round = 0; !__atomic_load_n(self->stop, __ATOMIC_ACQUIRE); round++) {
        const unsigned value = self->number * 1000000 + round;
        const grv_kv_op op = {.kind = GRV_KV_PUT,
                              .ns = 1,
                              .key = text("out"),
                              .value = grv_bytes_of(&value, sizeof value)};
        const grv_kv_guard guard = {.kind = GRV_KV_PRESENT, .key = text("token")};
        const grv_kv_batch batch = {.ops = &op,
                                    .op_count = 1,
                                    .guards = &guard,
                                    .guard_count = 1,
                                    .durability = GRV_ORDERED};
        grv_status status = grv_kv_write(NULL, self->kv, &batch, NULL);
        self->won += status == GRV_OK;
        self->wrong += status != GRV_OK && status != GRV_CONFLICT;
    }
    return NULL;
}

/* Once a plain delete or range delete has taken the token away, no guarded write lands. */
static void nothing_slips_past_a_guard(void **state)
{
    kv_case *self = *state;
    grv_error error = GRV_ERROR_INIT;
    int stop = 0;
    racer writer = {.kv = self->kv, .stop = &stop};
    pthread_t thread;
    kv_put(self->kv, 1, text("out"), text("----"));
    assert_int_equal(pthread_create(&thread, NULL, write_while_allowed, &writer), 0);
    bool slipped = false;
    for (int round = 0; round < 60; round++) {
        kv_put(self->kv, 0, text("token"), text(""));
        sched_yield();
        if (round % 2) {
            kv_delete(self->kv, 0, text("token"));
        } else {
            kv_delete_range(self->kv, 0, text("t"), text("u"));
        }
        grv_value before = {0};
        grv_value after = {0};
        assert_grv_ok(grv_kv_get(NULL, self->kv, 1, text("out"), &before, &error));
        for (int i = 0; i < 5; i++) {
            sched_yield();
        }
        assert_grv_ok(grv_kv_get(NULL, self->kv, 1, text("out"), &after, &error));
        slipped = slipped || grv_bytes_compare(before.bytes, after.bytes) != 0;
        grv_value_done(&before);
        grv_value_done(&after);
    }
    __atomic_store_n(&stop, 1, __ATOMIC_RELEASE);
    pthread_join(thread, NULL);
    assert_int_equal(writer.wrong, 0);
    assert_false(slipped);
}

int main(void)
{
    static const kv_test tests[] = {
        {"random batches match the model", random_batches_match_the_model},
        {"guarded increments lose none", guarded_increments_lose_none},
        {"of many inserts one wins", of_many_inserts_one_wins},
        {"scans never see half a batch", scans_never_see_half_a_batch},
        {"nothing slips past a guard", nothing_slips_past_a_guard},
    };
    return kv_suite_run("key_value_store_random", tests, sizeof tests / sizeof tests[0]);
}
