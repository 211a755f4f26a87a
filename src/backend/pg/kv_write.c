/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Batches of the key-value store: one transaction, in one round trip unless it is large.
 *
 * Operations are first reduced to their effect: ranges to delete, then for each key at most one
 * value or deletion, in the order of namespaces and keys. Each batch takes all its locks before it
 * looks at any row (see graviton.kv_lock), in ascending order, and touches rows in ascending order:
 * so no two batches wait for each other, and nobody writes a key between the look at a guard and
 * the commit. Ranges are deleted in no such order, so such a batch keeps all others out.
 *
 * A large batch is sent in pieces, each built when the one before is done.
 */
#include "backend/pg/kv.h"

#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

/* Bytes of keys and values that one statement takes; more only where one value is longer. */
#define PIECE_BYTES (8u << 20)

/* Stripes of locks. A server has by default room for 64 locked things and 128 holders for each of
 * its connections, so that batches of all of them at once fit. Object 0 is the gate. */
#define STRIPES 96u

/* Most statements of a batch that is sent at once, one of each kind. */
#define KINDS 5u

static const grv_pg_statement lock_stripes = {"kv_lock",
                                              "SELECT graviton.kv_lock($1::int4[], $2::bool[])"};
static const grv_pg_statement check_guards = {
    "kv_guard", "SELECT graviton.kv_guard($1::int2[], $2::bytea[], $3::int2[], $4::bytea[])"};
static const grv_pg_statement delete_ranges = {
    "kv_delete_ranges",
    "DELETE FROM graviton.kv USING unnest($1::int2[], $2::bytea[], $3::bytea[]) "
    "AS range (ns, first, until) "
    "WHERE kv.ns = range.ns AND kv.key >= range.first AND kv.key < range.until"};
static const grv_pg_statement put_all = {
    "kv_put", "INSERT INTO graviton.kv (ns, key, value) "
              "SELECT ns, key, value FROM unnest($1::int2[], $2::bytea[], $3::bytea[]) "
              "AS put (ns, key, value) "
              "ON CONFLICT (ns, key) DO UPDATE SET value = excluded.value"};
static const grv_pg_statement apply_all = {
    "kv_apply", "SELECT graviton.kv_apply($1::int2[], $2::bytea[], $3::bytea[])"};

/* A statement's parameters and what they point to. */
typedef struct kv_piece {
    grv_pg_array arrays[4];
    grv_pg_params params;
} kv_piece;

/* Which kind of statement comes next. */
typedef enum kv_stage { LOCKS, GUARDS, RANGES, CHANGES, DURABLE, DONE } kv_stage;

typedef struct kv_plan {
    const grv_kv_batch *batch;
    const grv_kv_op **ranges; /* that delete anything */
    size_t range_count;
    const grv_kv_op **changes; /* one a key, sorted */
    size_t change_count;
    bool puts;
    kv_stage stage;
    size_t at; /* in the stage */
    kv_piece pieces[KINDS];
} kv_plan;

/* ---- Reducing a batch ---- */

static int compare_keys(unsigned ns, grv_bytes key, unsigned other_ns, grv_bytes other)
{
    if (ns != other_ns) {
        return ns < other_ns ? -1 : 1;
    }
    return grv_bytes_compare(key, other);
}

/* By namespace and key; of one key, the order of the batch. */
static int compare_changes(const void *a, const void *b)
{
    const grv_kv_op *x = *(const grv_kv_op *const *)a;
    const grv_kv_op *y = *(const grv_kv_op *const *)b;
    int order = compare_keys(x->ns, x->key, y->ns, y->key);
    return order ? order : (x > y) - (x < y);
}

/* The first change at or behind a key. */
static size_t find_change(const kv_plan *plan, unsigned ns, grv_bytes key)
{
    size_t low = 0;
    size_t high = plan->change_count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        const grv_kv_op *op = plan->changes[middle];
        if (compare_keys(op->ns, op->key, ns, key) < 0) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

static bool range_is_empty(const grv_kv_op *range)
{
    return range->end.size > 0 && grv_bytes_compare(range->key, range->end) >= 0;
}

/* Takes out the changes that `gone` marks. */
static void drop_changes(kv_plan *plan, const bool gone[])
{
    size_t kept = 0;
    for (size_t i = 0; i < plan->change_count; i++) {
        if (!gone[i]) {
            plan->changes[kept++] = plan->changes[i];
        }
    }
    plan->change_count = kept;
}

/* All ranges are deleted first: so a change that a later range covers must not be made at all. */
static grv_status drop_covered(kv_plan *plan, grv_error *error)
{
    bool *gone = calloc(plan->change_count + 1, sizeof *gone);
    if (!gone) {
        return grv_error_set(error, GRV_LIMIT_EXCEEDED, "pg", "no memory for a batch");
    }
    for (size_t r = 0; r < plan->range_count; r++) {
        const grv_kv_op *range = plan->ranges[r];
        size_t end = range->end.size > 0 ? find_change(plan, range->ns, range->end)
                                         : find_change(plan, range->ns + 1, (grv_bytes){0});
        for (size_t i = find_change(plan, range->ns, range->key); i < end; i++) {
            gone[i] = gone[i] || plan->changes[i] < range;
        }
    }
    drop_changes(plan, gone);
    free(gone);
    return GRV_OK;
}

static grv_status plan_init(kv_plan *plan, const grv_kv_batch *batch, grv_error *error)
{
    *plan = (kv_plan){.batch = batch};
    plan->ranges = malloc((batch->op_count + 1) * sizeof *plan->ranges);
    plan->changes = malloc((batch->op_count + 1) * sizeof *plan->changes);
    if (!plan->ranges || !plan->changes) {
        return grv_error_set(error, GRV_LIMIT_EXCEEDED, "pg", "no memory for a batch");
    }
    for (size_t i = 0; i < batch->op_count; i++) {
        const grv_kv_op *op = &batch->ops[i];
        if (op->kind != GRV_KV_DELETE_RANGE) {
            plan->changes[plan->change_count++] = op;
        } else if (!range_is_empty(op)) {
            plan->ranges[plan->range_count++] = op;
        }
    }
    qsort(plan->changes, plan->change_count, sizeof *plan->changes, compare_changes);
    size_t kept = 0;
    for (size_t i = 0; i < plan->change_count; i++) {
        const grv_kv_op *op = plan->changes[i];
        /* Of one key the last counts. */
        bool again = kept > 0 && compare_keys(plan->changes[kept - 1]->ns,
                                              plan->changes[kept - 1]->key, op->ns, op->key) == 0;
        kept -= again;
        plan->changes[kept++] = op;
    }
    plan->change_count = kept;
    grv_status status = plan->range_count > 0 ? drop_covered(plan, error) : GRV_OK;
    for (size_t i = 0; i < plan->change_count; i++) {
        plan->puts = plan->puts || plan->changes[i]->kind == GRV_KV_PUT;
    }
    return status;
}

/* ---- Pieces ---- */

static void piece_done(kv_piece *piece)
{
    for (size_t i = 0; i < sizeof piece->arrays / sizeof piece->arrays[0]; i++) {
        grv_pg_array_done(&piece->arrays[i]);
    }
    *piece = (kv_piece){0};
}

static grv_status piece_begin(kv_piece *piece, const grv_pg_type types[], size_t count,
                              grv_error *error)
{
    piece_done(piece);
    grv_status status = GRV_OK;
    for (size_t i = 0; i < count && !status; i++) {
        status = grv_pg_array_init(&piece->arrays[i], types[i], error);
    }
    return status;
}

static void piece_end(kv_piece *piece, size_t count, const grv_pg_statement *statement,
                      grv_pg_step *ret_step)
{
    for (size_t i = 0; i < count; i++) {
        grv_pg_add_bytes(&piece->params, grv_pg_array_bytes(&piece->arrays[i]));
    }
    *ret_step = (grv_pg_step){statement, count > 0 ? &piece->params : NULL};
}

static unsigned stripe_of(unsigned ns, grv_bytes key)
{
    return 1 + (unsigned)(XXH3_64bits_withSeed(key.data, key.size, ns) % STRIPES);
}

static grv_status piece_locks(kv_plan *plan, kv_piece *piece, grv_pg_step *ret_step,
                              grv_error *error)
{
    static const grv_pg_type types[] = {GRV_PG_INT4, GRV_PG_BOOL};
    enum { NOT, SHARED, EXCLUSIVE } how[STRIPES + 1] = {SHARED};
    if (plan->range_count > 0) {
        how[0] = EXCLUSIVE;
    } else {
        for (size_t i = 0; i < plan->change_count; i++) {
            how[stripe_of(plan->changes[i]->ns, plan->changes[i]->key)] = SHARED;
        }
    }
    for (size_t i = 0; i < plan->batch->guard_count; i++) {
        how[stripe_of(plan->batch->guards[i].ns, plan->batch->guards[i].key)] = EXCLUSIVE;
    }
    grv_status status = piece_begin(piece, types, 2, error);
    for (size_t i = 0; i <= STRIPES && !status; i++) {
        if (how[i] == NOT) {
            continue;
        }
        status = grv_pg_array_add_int32(&piece->arrays[0], (int32_t)i, error);
        if (!status) {
            status = grv_pg_array_add_bool(&piece->arrays[1], how[i] == EXCLUSIVE, error);
        }
    }
    if (!status) {
        piece_end(piece, 2, &lock_stripes, ret_step);
    }
    return status;
}

static grv_status add_guard(kv_piece *piece, const grv_kv_guard *guard, grv_error *error)
{
    grv_status status = grv_pg_array_add_int16(&piece->arrays[0], (int16_t)guard->ns, error);
    if (!status) {
        status = grv_pg_array_add(&piece->arrays[1], guard->key, error);
    }
    if (!status) {
        status = grv_pg_array_add_int16(&piece->arrays[2], (int16_t)guard->kind, error);
    }
    if (!status) {
        status = guard->kind == GRV_KV_EQUALS
                     ? grv_pg_array_add(&piece->arrays[3], guard->value, error)
                     : grv_pg_array_add_null(&piece->arrays[3], error);
    }
    return status;
}

static grv_status piece_guards(kv_plan *plan, kv_piece *piece, grv_pg_step *ret_step,
                               grv_error *error)
{
    static const grv_pg_type types[] = {GRV_PG_INT2, GRV_PG_BYTEA, GRV_PG_INT2, GRV_PG_BYTEA};
    grv_status status = piece_begin(piece, types, 4, error);
    size_t bytes = 0;
    while (!status && plan->at < plan->batch->guard_count && bytes < PIECE_BYTES) {
        const grv_kv_guard *guard = &plan->batch->guards[plan->at++];
        status = add_guard(piece, guard, error);
        bytes += guard->key.size + guard->value.size;
    }
    if (!status) {
        piece_end(piece, 4, &check_guards, ret_step);
    }
    return status;
}

static grv_status piece_ranges(kv_plan *plan, kv_piece *piece, grv_pg_step *ret_step,
                               grv_error *error)
{
    static const grv_pg_type types[] = {GRV_PG_INT2, GRV_PG_BYTEA, GRV_PG_BYTEA};
    uint8_t bound[GRV_KV_PG_BOUND_SIZE];
    grv_status status = piece_begin(piece, types, 3, error);
    size_t bytes = 0;
    while (!status && plan->at < plan->range_count && bytes < PIECE_BYTES) {
        const grv_kv_op *range = plan->ranges[plan->at++];
        grv_bytes end = range->end;
        if (end.size == 0) {
            end = grv_bytes_of(bound, grv_pg_prefix_end(end, bound, sizeof bound));
        }
        status = grv_pg_array_add_int16(&piece->arrays[0], (int16_t)range->ns, error);
        if (!status) {
            status = grv_pg_array_add(&piece->arrays[1], range->key, error);
        }
        if (!status) {
            status = grv_pg_array_add(&piece->arrays[2], end, error);
        }
        bytes += range->key.size + end.size;
    }
    if (!status) {
        piece_end(piece, 3, &delete_ranges, ret_step);
    }
    return status;
}

static grv_status piece_changes(kv_plan *plan, kv_piece *piece, grv_pg_step *ret_step,
                                grv_error *error)
{
    static const grv_pg_type types[] = {GRV_PG_INT2, GRV_PG_BYTEA, GRV_PG_BYTEA};
    grv_status status = piece_begin(piece, types, 3, error);
    size_t bytes = 0;
    bool deletes = false;
    while (!status && plan->at < plan->change_count && bytes < PIECE_BYTES) {
        const grv_kv_op *op = plan->changes[plan->at++];
        status = grv_pg_array_add_int16(&piece->arrays[0], (int16_t)op->ns, error);
        if (!status) {
            status = grv_pg_array_add(&piece->arrays[1], op->key, error);
        }
        if (!status && op->kind == GRV_KV_PUT) {
            status = grv_pg_array_add(&piece->arrays[2], op->value, error);
        } else if (!status) {
            status = grv_pg_array_add_null(&piece->arrays[2], error);
            deletes = true;
        }
        bytes += op->key.size + op->value.size;
    }
    if (!status) {
        piece_end(piece, 3, deletes ? &apply_all : &put_all, ret_step);
    }
    return status;
}

/* How many things the stage has to do. */
static size_t stage_count(const kv_plan *plan, kv_stage stage)
{
    switch (stage) {
    case LOCKS:
        return 1;
    case GUARDS:
        return plan->batch->guard_count;
    case RANGES:
        return plan->range_count;
    case CHANGES:
        return plan->change_count;
    case DURABLE:
        /* A transaction that has changed nothing would not wait for what was written before. */
        return plan->batch->durability == GRV_DURABLE && !plan->puts;
    case DONE:
        break;
    }
    return 0;
}

/* The next step, its statement NULL after the last. */
static grv_status next_piece(kv_plan *plan, kv_piece *piece, grv_pg_step *ret_step,
                             grv_error *error)
{
    while (plan->stage != DONE && plan->at >= stage_count(plan, plan->stage)) {
        plan->stage++;
        plan->at = 0;
    }
    switch (plan->stage) {
    case LOCKS:
        plan->at++;
        return piece_locks(plan, piece, ret_step, error);
    case GUARDS:
        return piece_guards(plan, piece, ret_step, error);
    case RANGES:
        return piece_ranges(plan, piece, ret_step, error);
    case CHANGES:
        return piece_changes(plan, piece, ret_step, error);
    case DURABLE:
        plan->at++;
        piece_end(piece, 0, &grv_kv_pg_durable, ret_step);
        return GRV_OK;
    case DONE:
        break;
    }
    *ret_step = (grv_pg_step){0};
    return GRV_OK;
}

/* ---- Sending ---- */

/* grv_pg_work.more: whatever comes after the locks. */
static grv_status more_pieces(void *context, bool first, grv_pg_step *ret_step, grv_error *error)
{
    kv_plan *plan = context;
    if (first) {
        plan->stage = LOCKS + 1;
        plan->at = 0;
    }
    return next_piece(plan, &plan->pieces[1], ret_step, error);
}

/* Whether all of it fits statements that are sent at once. */
static bool is_small(const kv_plan *plan)
{
    uint64_t bytes = 0;
    for (size_t i = 0; i < plan->batch->guard_count; i++) {
        bytes += plan->batch->guards[i].key.size + plan->batch->guards[i].value.size;
    }
    for (size_t i = 0; i < plan->range_count; i++) {
        bytes += plan->ranges[i]->key.size + GRV_KV_PG_BOUND_SIZE;
    }
    for (size_t i = 0; i < plan->change_count; i++) {
        bytes += plan->changes[i]->key.size + plan->changes[i]->value.size;
    }
    return bytes < PIECE_BYTES;
}

static grv_status send_plan(const grv_call *call, grv_kv_pg *kv, kv_plan *plan, grv_error *error)
{
    grv_pg_step steps[KINDS + 1];
    PGresult *results[KINDS];
    bool small = is_small(plan);
    size_t count = 0;
    grv_status status = next_piece(plan, &plan->pieces[0], &steps[count], error);
    while (!status && steps[count].statement) {
        count++;
        if (!small) {
            break;
        }
        steps[count] = (grv_pg_step){0};
        status =
            count < KINDS ? next_piece(plan, &plan->pieces[count], &steps[count], error) : GRV_OK;
    }
    if (status) {
        return status;
    }
    const grv_pg_work work = {
        .steps = steps,
        .count = count,
        .ordered = plan->batch->durability == GRV_ORDERED,
        /* Guards that held once do not hold for what they have let in. */
        .repeatable = plan->batch->guard_count == 0,
        .more = small ? NULL : more_pieces,
        .context = plan,
    };
    status = grv_pg_run(call, kv->pg, &work, results, error);
    if (!status) {
        grv_pg_clear(results, count);
    }
    return status;
}

grv_status grv_kv_pg_write(const grv_call *call, grv_kv *kv, const grv_kv_batch *batch,
                           grv_error *error)
{
    grv_kv_pg *self = grv_kv_pg_of(kv);
    grv_status status = grv_call_check(call, "pg", error);
    if (status) {
        return status;
    }
    kv_plan *plan = malloc(sizeof *plan);
    if (!plan) {
        return grv_error_set(error, GRV_LIMIT_EXCEEDED, "pg", "no memory for a batch");
    }
    status = plan_init(plan, batch, error);
    if (!status) {
        status = send_plan(call, self, plan, error);
    }
    if (!status && batch->durability == GRV_ORDERED) {
        __atomic_store_n(&self->ordered, 1, __ATOMIC_RELEASE);
    }
    for (size_t i = 0; i < KINDS; i++) {
        piece_done(&plan->pieces[i]);
    }
    free(plan->ranges);
    free(plan->changes);
    free(plan);
    return status;
}
