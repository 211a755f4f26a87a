/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Roots that are committed at once by threads of one process: one statement stores them together.
 * Most of what a small commit costs its server is the same for one root as for many: the statement,
 * the guards, the check's expressions, which PL/pgSQL makes ready once a transaction, the flush.
 *
 * One such statement is under way at a time: two would share less, and each lock the session's row
 * beside the other, which costs the server more than it wins. Who finds none begins at once; who
 * does waits for its end, and whoever begins next takes all that wait by then. Nobody waits for
 * company; but where there was some the last time, those threads are let run that can.
 *
 * A joint statement only ever stores rows where nothing is in the way. For a row that it did not
 * store, or where it failed, the row's own thread finds out alone, within its own call. So what
 * befalls one put is no other's affair, and an answer that was lost is found as for any commit: by
 * the manifest's id.
 *
 * Invariant: a row belongs to its thread and is borrowed only until the joint's parameters are made
 * (JOIN_TAKEN): afterwards its thread may go, and take its name off the joint's list.
 */
#include "backend/pg/manifest_repo.h"
#include "base/wait.h"

#include <sched.h>
#include <string.h>

/* Most rows of a joint. */
#define JOIN_MAX         32u
#define UNIQUE_VIOLATION "23505"

typedef enum join_state {
    JOIN_WAITS, /* in the queue */
    JOIN_LEADS, /* its thread is to begin a joint */
    JOIN_TAKEN, /* borrowed by a joint's thread */
    JOIN_SENT,  /* in a statement under way */
    JOIN_DONE
} join_state;

/* One thread's row. */
struct grv_pg_joiner {
    const grv_pg_root_row *row;
    const grv_call *call;
    pthread_cond_t changed;
    struct grv_pg_joiner *next;
    struct joint *joint; /* where TAKEN or SENT */
    join_state state;
    bool stored;
    grv_status status;
    grv_error error;
};

typedef struct grv_pg_joiner joiner;

/* Rows that go in one statement; the first is its thread's own. */
typedef struct joint {
    grv_manifest_repo_pg *repo;
    unsigned count;
    joiner *members[JOIN_MAX]; /* NULL: has gone */
    uint8_t ids[JOIN_MAX][GRV_MANIFEST_ID_SIZE];
    bool stored[JOIN_MAX];
    uint8_t session_id[GRV_PG_SESSION_ID_SIZE];
} joint;

void grv_pg_joins_init(grv_pg_joins *joins)
{
    *joins = (grv_pg_joins){.first = NULL};
    joins->end = &joins->first;
    pthread_mutex_init(&joins->lock, NULL);
}

void grv_pg_joins_done(grv_pg_joins *joins)
{
    pthread_mutex_destroy(&joins->lock);
}

/* ---- One row by itself ---- */

/* Parameters: see grv_pg_add_root. It does nothing unless all is as it mostly is, and then brings
 * no more than one number. Numbers of other processes are looked for only where some were drawn. */
static const grv_pg_statement put_root_quick = {
    "root_put_quick",
    "INSERT INTO graviton.blob (alg, hash_bytes, byte_length, manifest_id, sequence, depth, "
    "block_count, created_at, root) SELECT $1::core.hash_alg, $2::bytea, $3::int8, $4::uuid, "
    "$5::int8, $6::int2, $7::int8, $8::timestamptz, $9::bytea "
    "WHERE ($10::uuid IS NULL OR EXISTS (SELECT FROM graviton.session WHERE session_id = "
    "$10::uuid FOR KEY SHARE)) AND (NOT $11::bool OR "
    "pg_catalog.pg_sequence_last_value('graviton.blob_sequence') <= $14::int8 OR (SELECT "
    "sequence FROM graviton.blob WHERE sequence <> ALL ($12::int8[]) ORDER BY sequence DESC "
    "LIMIT 1) <= $5::int8 IS NOT FALSE) "
    "AND NOT EXISTS (SELECT FROM graviton.blob WHERE alg = $1::core.hash_alg AND hash_bytes = "
    "$2::bytea AND byte_length = $3::int8) "
    "RETURNING CASE WHEN $13::int4 > 0 THEN pg_catalog.nextval('graviton.blob_sequence') END"};

/* Takes over what a statement drew for the ticket. */
static void take_drawn(grv_manifest_repo_pg *repo, grv_pg_ticket *ticket, const PGresult *result,
                       int column)
{
    grv_bytes drawn = {0};
    if (!grv_pg_is_null(result, 0, column)) {
        drawn = grv_pg_cell(result, 0, column);
    }
    grv_pg_numbers_add(&repo->numbers, ticket, false, drawn);
}

static grv_status store_alone(const grv_call *call, grv_manifest_repo_pg *repo,
                              const grv_pg_root_row *row, bool *ret_stored, grv_error *error)
{
    grv_pg_array others;
    grv_pg_params params = {0};
    grv_error mine = GRV_ERROR_INIT;
    PGresult *result = NULL;
    grv_status status = grv_pg_add_root(&params, repo, row, &others, &mine);
    if (!status) {
        status = grv_pg_write(call, repo->pg, &put_root_quick, &params, &result, &mine);
    }
    grv_pg_array_done(&others);
    if (status && mine.native_kind == GRV_NATIVE_SQLSTATE &&
        strcmp(mine.native_text, UNIQUE_VIOLATION) == 0) {
        *ret_stored = false; /* another came first */
        return GRV_OK;
    }
    if (status) {
        if (error) {
            *error = mine;
        }
        return status;
    }
    *ret_stored = PQntuples(result) > 0;
    if (*ret_stored) {
        take_drawn(repo, row->ticket, result, 0);
    }
    PQclear(result);
    return GRV_OK;
}

/* ---- Several in one statement ---- */

/* Parameters: the algorithm (1), the rows (2 to 8), the session (9), the highest number that was
 * drawn by this process (10), higher numbers that do not count (11), and how many to draw (12).
 * Columns: which was stored, and the numbers, the same in each row. A row whose key is there is
 * left out; where one comes at this very moment, the statement fails. */
static const grv_pg_statement put_roots = {
    "roots_put",
    "INSERT INTO graviton.blob (alg, hash_bytes, byte_length, manifest_id, sequence, depth, "
    "block_count, created_at, root) SELECT $1::core.hash_alg, mine.hash_bytes, mine.byte_length, "
    "mine.manifest_id, mine.sequence, 0, mine.block_count, mine.created_at, mine.root FROM "
    "ROWS FROM (pg_catalog.unnest($2::bytea[]), pg_catalog.unnest($3::int8[]), "
    "pg_catalog.unnest($4::uuid[]), pg_catalog.unnest($5::int8[]), pg_catalog.unnest($6::int8[]), "
    "pg_catalog.unnest($7::timestamptz[]), pg_catalog.unnest($8::bytea[])) mine (hash_bytes, "
    "byte_length, manifest_id, sequence, block_count, created_at, root) "
    "WHERE ($9::uuid IS NULL OR EXISTS (SELECT FROM graviton.session WHERE session_id = $9::uuid "
    "FOR KEY SHARE)) AND ((SELECT pg_catalog.pg_sequence_last_value('graviton.blob_sequence') <= "
    "$10::int8) OR (SELECT sequence FROM graviton.blob WHERE sequence <> ALL ($11::int8[]) ORDER "
    "BY sequence DESC LIMIT 1) <= mine.sequence IS NOT FALSE) "
    "AND (SELECT true FROM graviton.blob b WHERE b.alg = $1::core.hash_alg AND b.hash_bytes = "
    "mine.hash_bytes AND b.byte_length = mine.byte_length) IS NULL "
    "RETURNING manifest_id, CASE WHEN $12::int4 > 0 THEN (SELECT pg_catalog.string_agg("
    "pg_catalog.int8send(pg_catalog.nextval('graviton.blob_sequence')), ''::bytea) FROM "
    "pg_catalog.generate_series(1, $12::int4)) END"};

enum { KEYS, SIZES, IDS, SEQUENCES, COUNTS, TIMES, ROOTS, OTHERS, ARRAYS };

static grv_status add_row(grv_pg_array arrays[ARRAYS], const grv_pg_root_row *row, grv_error *error)
{
    const grv_blob_info *info = row->info;
    grv_status status = grv_pg_array_add(
        &arrays[KEYS], grv_bytes_of(info->key.digest.bytes, GRV_DIGEST_SIZE), error);
    if (!status) {
        status = grv_pg_array_add_int64(&arrays[SIZES], (int64_t)info->key.size, error);
    }
    if (!status) {
        status = grv_pg_array_add(&arrays[IDS], grv_bytes_of(row->id, GRV_MANIFEST_ID_SIZE), error);
    }
    if (!status) {
        status = grv_pg_array_add_int64(&arrays[SEQUENCES], (int64_t)info->sequence, error);
    }
    if (!status) {
        status = grv_pg_array_add_int64(&arrays[COUNTS], (int64_t)info->block_count, error);
    }
    if (!status) {
        status =
            grv_pg_array_add_int64(&arrays[TIMES], grv_pg_timestamp_of(info->created_ns), error);
    }
    if (!status) {
        status = grv_pg_array_add(&arrays[ROOTS], row->root, error);
    }
    return status;
}

/* The rows as arrays. They end with grv_pg_array_done each, also after a failure. */
static grv_status add_rows(const joint *self, grv_pg_array arrays[ARRAYS], grv_error *error)
{
    static const grv_pg_type types[ARRAYS] = {
        [KEYS] = GRV_PG_BYTEA,     [SIZES] = GRV_PG_INT8,  [IDS] = GRV_PG_UUID,
        [SEQUENCES] = GRV_PG_INT8, [COUNTS] = GRV_PG_INT8, [TIMES] = GRV_PG_TIMESTAMPTZ,
        [ROOTS] = GRV_PG_BYTEA,    [OTHERS] = GRV_PG_INT8,
    };
    grv_status status = GRV_OK;
    for (unsigned i = 0; i < ARRAYS; i++) {
        grv_status each = grv_pg_array_init(&arrays[i], types[i], status ? NULL : error);
        status = status ? status : each;
    }
    for (unsigned i = 0; i < self->count && !status; i++) {
        status = add_row(arrays, self->members[i]->row, error);
    }
    return status;
}

/* Everything the statement is told; from here on the members' rows are not looked at. */
static grv_status add_joint(joint *self, grv_pg_params *params, grv_pg_array arrays[ARRAYS],
                            grv_error *error)
{
    grv_manifest_repo_pg *repo = self->repo;
    const grv_pg_root_row *first = self->members[0]->row;
    grv_pg_ticket lowest = *first->ticket;
    uint32_t wanted = 0;
    int64_t highest = 0;
    for (unsigned i = 0; i < self->count; i++) {
        const grv_pg_ticket *ticket = self->members[i]->row->ticket;
        lowest.number = ticket->number < lowest.number ? ticket->number : lowest.number;
        wanted += ticket->wanted;
        memcpy(self->ids[i], self->members[i]->row->id, GRV_MANIFEST_ID_SIZE);
    }
    grv_status status = add_rows(self, arrays, error);
    if (!status) {
        status = grv_pg_numbers_higher(&repo->numbers, &lowest, &arrays[OTHERS], &highest, error);
    }
    if (status) {
        return status;
    }
    grv_pg_add_hash(params, first->info->key.digest.hash);
    for (unsigned i = KEYS; i <= ROOTS; i++) {
        grv_pg_add_bytes(params, grv_pg_array_bytes(&arrays[i]));
    }
    if (first->session_id) {
        memcpy(self->session_id, first->session_id, sizeof self->session_id);
        grv_pg_add_bytes(params, grv_bytes_of(self->session_id, sizeof self->session_id));
    } else {
        grv_pg_add_null(params);
    }
    grv_pg_add_int64(params, highest);
    grv_pg_add_bytes(params, grv_pg_array_bytes(&arrays[OTHERS]));
    grv_pg_add_int32(params, (int32_t)(wanted < GRV_PG_NUMBERS_MAX ? wanted : GRV_PG_NUMBERS_MAX));
    return GRV_OK;
}

static void note_stored(joint *self, const PGresult *result)
{
    for (int row = 0; row < PQntuples(result); row++) {
        grv_bytes id = grv_pg_cell(result, row, 0);
        for (unsigned i = 0; i < self->count; i++) {
            if (id.size == GRV_MANIFEST_ID_SIZE && memcmp(id.data, self->ids[i], id.size) == 0) {
                self->stored[i] = true;
            }
        }
    }
}

static grv_status store_joint(const grv_call *call, joint *self, grv_pg_ticket *ticket,
                              grv_error *error)
{
    grv_pg_array arrays[ARRAYS];
    grv_pg_params params = {0};
    PGresult *result = NULL;
    grv_status status = add_joint(self, &params, arrays, error);
    if (!status) {
        grv_pg_joins *joins = &self->repo->joins;
        pthread_mutex_lock(&joins->lock);
        for (unsigned i = 0; i < self->count; i++) {
            self->members[i]->state = JOIN_SENT;
        }
        pthread_mutex_unlock(&joins->lock);
        status = grv_pg_write(call, self->repo->pg, &put_roots, &params, &result, error);
    }
    for (unsigned i = 0; i < ARRAYS; i++) {
        grv_pg_array_done(&arrays[i]);
    }
    if (!status) {
        note_stored(self, result);
    }
    if (!status && PQntuples(result) > 0) {
        take_drawn(self->repo, ticket, result, 1);
    }
    PQclear(result);
    return status;
}

/* ---- Who goes with whom ---- */

static bool same_session(const grv_pg_root_row *a, const grv_pg_root_row *b)
{
    return !a->session_id || !b->session_id
               ? a->session_id == b->session_id
               : memcmp(a->session_id, b->session_id, GRV_PG_SESSION_ID_SIZE) == 0;
}

/* Puts a row in its place where it can go along: in the order of keys, in which all joints lock
 * them. One whose key is here already goes with the next. The lock is held. */
static bool take_along(joint *self, joiner *other)
{
    const grv_pg_root_row *first = self->members[0]->row;
    const grv_blob_key *key = &other->row->info->key;
    if (self->count == JOIN_MAX || key->digest.hash != first->info->key.digest.hash ||
        !same_session(first, other->row)) {
        return false;
    }
    unsigned at = self->count;
    while (at > 0 && grv_blob_key_compare(&self->members[at - 1]->row->info->key, key) > 0) {
        at--;
    }
    if (at > 0 && grv_blob_key_compare(&self->members[at - 1]->row->info->key, key) == 0) {
        return false;
    }
    memmove(self->members + at + 1, self->members + at, (self->count - at) * sizeof *self->members);
    self->members[at] = other;
    self->count++;
    other->state = JOIN_TAKEN;
    other->joint = self;
    return true;
}

/* The queue is taken apart: what does not go along stays in it, in order. The lock is held. */
static void take_queue(joint *self, grv_pg_joins *joins)
{
    joiner *waiting = joins->first;
    joiner **end = &joins->first;
    while (waiting) {
        joiner *next = waiting->next;
        if (!take_along(self, waiting)) {
            *end = waiting;
            end = &waiting->next;
        }
        waiting = next;
    }
    *end = NULL;
    joins->end = end;
    joins->waiting -= self->count - 1;
}

/* Takes all that wait. Where the last ones were several, those of them that are about to come again
 * need no more than a processor. */
static void gather(grv_pg_joins *joins, joint *self)
{
    pthread_mutex_lock(&joins->lock);
    while (joins->waiting + 1 < joins->last_count) {
        unsigned before = joins->waiting;
        pthread_mutex_unlock(&joins->lock);
        sched_yield();
        pthread_mutex_lock(&joins->lock);
        if (joins->waiting <= before) {
            break;
        }
    }
    take_queue(self, joins);
    joins->last_count = self->count;
    pthread_mutex_unlock(&joins->lock);
}

static void enqueue(grv_pg_joins *joins, joiner *self)
{
    self->next = NULL;
    *joins->end = self;
    joins->end = &self->next;
    joins->waiting++;
}

/* Its thread goes: nobody may look at it any more. The lock is held. */
static void leave(grv_pg_joins *joins, joiner *self)
{
    if (self->state == JOIN_SENT) {
        for (unsigned i = 0; i < self->joint->count; i++) {
            if (self->joint->members[i] == self) {
                self->joint->members[i] = NULL;
            }
        }
        return;
    }
    joiner **link = &joins->first;
    while (*link != self) {
        link = &(*link)->next;
    }
    *link = self->next;
    joins->waiting--;
    if (joins->end == &self->next) {
        joins->end = link;
    }
}

/* ---- The thread that runs a statement ---- */

static bool has_deadline(const grv_call *call)
{
    return call && call->deadline_ns;
}

/* Tells the others what came of it, and lets the next begin. A failure is theirs only where there
 * is nothing that they could still try: nobody's deadline cut the time short. */
static void conclude(joint *ended, const joiner *self, grv_status status, const grv_error *error)
{
    grv_pg_joins *joins = &ended->repo->joins;
    pthread_mutex_lock(&joins->lock);
    joiner *next = joins->first;
    if (next) {
        joins->first = next->next;
        joins->end = joins->first ? joins->end : &joins->first;
        joins->waiting--;
        next->state = JOIN_LEADS;
        pthread_cond_signal(&next->changed);
    } else {
        joins->busy = false;
    }
    for (unsigned i = 0; i < ended->count; i++) {
        joiner *member = ended->members[i];
        if (!member || member == self) {
            continue;
        }
        member->stored = ended->stored[i];
        if (status == GRV_UNAVAILABLE && !has_deadline(self->call) && !has_deadline(member->call)) {
            member->status = status;
            member->error = *error;
        }
        member->state = JOIN_DONE;
        pthread_cond_signal(&member->changed);
    }
    pthread_mutex_unlock(&joins->lock);
}

static grv_status lead(const grv_call *call, grv_manifest_repo_pg *repo, joiner *self,
                       grv_error *error)
{
    joint mine = {.repo = repo, .count = 1, .members = {self}};
    grv_error failure = GRV_ERROR_INIT;
    gather(&repo->joins, &mine);
    unsigned at = 0;
    while (mine.members[at] != self) {
        at++;
    }
    bool alone = mine.count == 1;
    grv_status status = alone ? store_alone(call, repo, self->row, &mine.stored[at], &failure)
                              : store_joint(call, &mine, self->row->ticket, &failure);
    self->stored = mine.stored[at];
    conclude(&mine, self, status, &failure);
    if (status && !alone && status != GRV_UNAVAILABLE && status != GRV_TIMEOUT &&
        status != GRV_CANCELLED) {
        return GRV_OK; /* it may be another row's fault: alone will show */
    }
    if (status && error) {
        *error = failure;
    }
    return status;
}

/* Waits until it is to lead, or is done, or its call is over. The lock is held. */
static grv_status await(const grv_call *call, grv_manifest_repo_pg *repo, joiner *self,
                        grv_error *error)
{
    const grv_call patience = {.deadline_ns = grv_pg_deadline(call, repo->pg),
                               .cancel = call ? call->cancel : NULL};
    while (self->state != JOIN_LEADS && self->state != JOIN_DONE) {
        grv_status status = GRV_OK;
        if (self->state != JOIN_TAKEN) {
            status = grv_call_check(call, "manifests", error);
        }
        if (!status && self->state != JOIN_TAKEN && grv_now_ns() >= patience.deadline_ns) {
            status = grv_error_set(error, GRV_UNAVAILABLE, "manifests",
                                   "the commits before this one got no answer");
        }
        if (status) {
            if (self->state == JOIN_SENT) {
                grv_error_prefix(error, "it is not known whether this was committed");
            }
            leave(&repo->joins, self);
            return status;
        }
        grv_wait(&patience, &self->changed, &repo->joins.lock);
    }
    return GRV_OK;
}

grv_status grv_pg_join(const grv_call *call, grv_manifest_repo_pg *repo, const grv_pg_root_row *row,
                       bool *ret_stored, grv_error *error)
{
    if (row->depth > 0) {
        return store_alone(call, repo, row, ret_stored, error);
    }
    grv_pg_joins *joins = &repo->joins;
    joiner self = {.row = row, .call = call, .state = JOIN_LEADS};
    grv_wait_init(&self.changed);
    pthread_mutex_lock(&joins->lock);
    if (!joins->busy) {
        joins->busy = true;
    } else {
        self.state = JOIN_WAITS;
        enqueue(joins, &self);
    }
    grv_status status = await(call, repo, &self, error);
    pthread_mutex_unlock(&joins->lock);
    if (!status && self.state == JOIN_LEADS) {
        status = lead(call, repo, &self, error);
    } else if (!status && self.status) {
        status = self.status;
        if (error) {
            *error = self.error;
        }
    }
    pthread_cond_destroy(&self.changed);
    if (!status) {
        *ret_stored = self.stored;
    }
    return status;
}
