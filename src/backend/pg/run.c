/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Work on the database: a transaction, tried again where that is safe.
 *
 * Invariant: work is run again only where it is certain that it was not committed, or where a
 * second time does no harm. A COMMIT whose answer was lost is looked up by its transaction id
 * (pg_xact_status), which is asked for before the COMMIT is sent.
 */
#include "backend/pg/pool.h"

#include "os/clock.h"
#include "os/random.h"

#include <stdio.h>
#include <string.h>

#define WAIT_FIRST_NS UINT64_C(5000000)
#define WAIT_LAST_NS  UINT64_C(1000000000)

static const grv_pg_statement begin_write = {"begin", "BEGIN"};
static const grv_pg_statement begin_read = {"begin_read",
                                            "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"};
static const grv_pg_statement go_ordered = {"go_ordered", "SET LOCAL synchronous_commit = off"};
static const grv_pg_statement commit = {"commit", "COMMIT"};
static const grv_pg_statement transaction_id = {"transaction_id",
                                                "SELECT pg_catalog.pg_current_xact_id()"};
static const grv_pg_statement transaction_fate = {"transaction_fate",
                                                  "SELECT pg_catalog.pg_xact_status($1::xid8)"};

/* One try at a piece of work. */
typedef struct pg_attempt {
    const grv_call *call;
    grv_pg *pg;
    const grv_pg_work *work;
    PGresult **results;
    bool committing; /* its COMMIT was sent, apart */
    uint8_t id[8];   /* of its transaction, in binary form, where committing */
} pg_attempt;

/* What became of a transaction. */
typedef enum pg_fate { FATE_UNKNOWN, FATE_COMMITTED, FATE_ABORTED, FATE_RUNNING } pg_fate;

/* ---- One try ---- */

/* Sends the steps between others; their results go where the caller wants them. */
static grv_status send_wrapped(pg_attempt *attempt, grv_pg_conn *conn, const grv_pg_step *before,
                               size_t before_count, const grv_pg_step *after, PGresult **ret_after,
                               grv_error *error)
{
    const grv_pg_work *work = attempt->work;
    grv_pg_step steps[GRV_PG_STEPS_MAX + 3];
    PGresult *results[GRV_PG_STEPS_MAX + 3];
    memcpy(steps, before, before_count * sizeof *steps);
    memcpy(steps + before_count, work->steps, work->count * sizeof *steps);
    size_t count = before_count + work->count;
    if (after) {
        steps[count++] = *after;
    }
    grv_status status = grv_pg_send(attempt->call, conn, steps, count, results, error);
    if (status) {
        return status;
    }
    grv_pg_clear(results, before_count);
    memcpy(attempt->results, results + before_count, work->count * sizeof *results);
    if (after) {
        *ret_after = results[count - 1];
    }
    return GRV_OK;
}

/* COMMIT of a transaction that was rolled back succeeds, and says so in its tag alone. */
static grv_status check_commit(const PGresult *result, grv_error *error)
{
    if (result && strcmp(PQcmdStatus((PGresult *)(uintptr_t)result), "COMMIT") == 0) {
        return GRV_OK;
    }
    return grv_error_set(error, GRV_UNAVAILABLE, "pg", "PostgreSQL rolled a transaction back");
}

/* The transaction and its commit in one round trip. */
static grv_status run_together(pg_attempt *attempt, grv_pg_conn *conn, grv_error *error)
{
    const grv_pg_work *work = attempt->work;
    grv_pg_step before[2] = {{work->reads ? &begin_read : &begin_write, NULL}};
    size_t before_count = 1;
    if (work->ordered && !work->reads) {
        before[before_count++] = (grv_pg_step){&go_ordered, NULL};
    }
    grv_pg_step after = {&commit, NULL};
    PGresult *ended = NULL;
    grv_status status = send_wrapped(attempt, conn, before, before_count, &after, &ended, error);
    if (!status) {
        status = check_commit(ended, error);
        if (status) {
            grv_pg_clear(attempt->results, work->count);
        }
    }
    PQclear(ended);
    return status;
}

/* Steps one after another, as the work makes them. */
static grv_status send_more(pg_attempt *attempt, grv_pg_conn *conn, grv_error *error)
{
    const grv_pg_work *work = attempt->work;
    for (bool first = true;; first = false) {
        grv_pg_step step = {0};
        PGresult *result = NULL;
        grv_status status = work->more(work->context, first, &step, error);
        if (status || !step.statement) {
            return status;
        }
        status = grv_pg_send(attempt->call, conn, &step, 1, &result, error);
        if (status) {
            return status;
        }
        PQclear(result);
    }
}

/* The transaction and its id, all but the commit: a round trip, and one for each of more steps. */
static grv_status run_open(pg_attempt *attempt, grv_pg_conn *conn, PGresult **ret_id,
                           grv_error *error)
{
    const grv_pg_work *work = attempt->work;
    grv_pg_step before[2] = {{&begin_write, NULL}, {&go_ordered, NULL}};
    grv_pg_step after = {&transaction_id, NULL};
    grv_status status = send_wrapped(attempt, conn, before, work->ordered ? 2 : 1,
                                     work->more ? NULL : &after, ret_id, error);
    if (status || !work->more) {
        return status;
    }
    status = send_more(attempt, conn, error);
    if (!status) {
        status = grv_pg_send(attempt->call, conn, &after, 1, ret_id, error);
    }
    if (status) {
        grv_pg_clear(attempt->results, work->count);
    }
    return status;
}

/* The transaction, its id, and then the commit: two round trips. */
static grv_status run_apart(pg_attempt *attempt, grv_pg_conn *conn, grv_error *error)
{
    const grv_pg_work *work = attempt->work;
    PGresult *answer = NULL;
    grv_status status = run_open(attempt, conn, &answer, error);
    if (status) {
        return status;
    }
    grv_bytes id = grv_pg_cell(answer, 0, 0);
    if (id.size != sizeof attempt->id) {
        status = grv_error_set(error, GRV_INTERNAL, "pg", "a transaction id of %zu bytes", id.size);
        conn->broken = true;
    } else {
        memcpy(attempt->id, id.data, sizeof attempt->id);
        attempt->committing = true;
    }
    PQclear(answer);
    PGresult *ended = NULL;
    grv_pg_step last = {&commit, NULL};
    if (!status) {
        status = grv_pg_send(attempt->call, conn, &last, 1, &ended, error);
    }
    if (!status) {
        status = check_commit(ended, error);
        attempt->committing = false;
    }
    /* An answer that came says that it was rolled back; only a lost one is in doubt. */
    if (status && attempt->committing && !conn->broken) {
        attempt->committing = false;
    }
    PQclear(ended);
    if (status && !attempt->committing) {
        grv_pg_clear(attempt->results, work->count);
    }
    return status;
}

static grv_status run_once(pg_attempt *attempt, grv_pg_conn *conn, grv_error *error)
{
    const grv_pg_work *work = attempt->work;
    if (work->more) {
        return run_apart(attempt, conn, error);
    }
    if (work->count == 1 && (work->reads || (work->repeatable && !work->ordered))) {
        return grv_pg_send(attempt->call, conn, work->steps, 1, attempt->results, error);
    }
    if (work->reads || work->repeatable) {
        return run_together(attempt, conn, error);
    }
    return run_apart(attempt, conn, error);
}

/* ---- Looking a commit up ---- */

static pg_fate read_fate(const PGresult *answer)
{
    static const struct {
        const char *name;
        pg_fate fate;
    } names[] = {
        {"committed", FATE_COMMITTED}, {"aborted", FATE_ABORTED}, {"in progress", FATE_RUNNING}};
    grv_bytes name = grv_pg_cell(answer, 0, 0);
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        if (name.size == strlen(names[i].name) && !memcmp(name.data, names[i].name, name.size)) {
            return names[i].fate;
        }
    }
    return FATE_UNKNOWN;
}

static pg_fate look_up(pg_attempt *attempt)
{
    grv_pg_conn *conn;
    if (grv_pg_take(attempt->call, attempt->pg, &conn, NULL)) {
        return FATE_UNKNOWN;
    }
    grv_pg_params params = {0};
    grv_pg_add_bytes(&params, grv_bytes_of(attempt->id, sizeof attempt->id));
    grv_pg_step step = {&transaction_fate, &params};
    PGresult *answer = NULL;
    grv_error error = GRV_ERROR_INIT;
    pg_fate fate = FATE_UNKNOWN;
    if (!grv_pg_send(attempt->call, conn, &step, 1, &answer, &error)) {
        fate = read_fate(answer);
    } else if (strcmp(error.native_text, "22023") == 0) {
        /* An id of the future: this server, a promoted standby, never saw it. */
        fate = FATE_ABORTED;
    }
    PQclear(answer);
    grv_pg_give(conn);
    return fate;
}

/* ---- Trying again ---- */

/* Waits longer each time, and not as long as others do. False where there is no time left. */
static bool back_off(const grv_call *call, uint64_t deadline_ns, unsigned tries)
{
    uint64_t wait_ns = tries < 8 ? WAIT_FIRST_NS << tries : WAIT_LAST_NS;
    wait_ns = wait_ns < WAIT_LAST_NS ? wait_ns : WAIT_LAST_NS;
    uint64_t random = 0;
    if (grv_random_fill(&random, sizeof random, NULL) == GRV_OK) {
        wait_ns = wait_ns / 2 + random % (wait_ns / 2);
    }
    uint64_t now_ns = grv_now_ns();
    if (now_ns + wait_ns >= deadline_ns || grv_call_check(call, "pg", NULL)) {
        return false;
    }
    grv_clock_sleep(wait_ns);
    return !grv_call_check(call, "pg", NULL);
}

/* Finds out about a commit whose answer was lost: until it is known, or time is up. */
static pg_fate settle(pg_attempt *attempt, uint64_t deadline_ns)
{
    for (unsigned tries = 0;; tries++) {
        pg_fate fate = look_up(attempt);
        if (fate == FATE_COMMITTED || fate == FATE_ABORTED ||
            !back_off(attempt->call, deadline_ns, tries)) {
            return fate;
        }
    }
}

/* What to do after a failed try. */
static bool try_again(pg_attempt *attempt, bool was_lost, grv_status *status, uint64_t deadline_ns,
                      unsigned tries, grv_error *error)
{
    if (attempt->committing) {
        pg_fate fate = settle(attempt, deadline_ns);
        attempt->committing = false;
        if (fate == FATE_COMMITTED) {
            *status = GRV_OK;
            return false;
        }
        grv_pg_clear(attempt->results, attempt->work->count);
        return fate == FATE_ABORTED && back_off(attempt->call, deadline_ns, tries);
    }
    const char *state = error->native_kind == GRV_NATIVE_SQLSTATE ? error->native_text : "";
    bool transient = grv_pg_is_transient(state) || (was_lost && *status == GRV_UNAVAILABLE);
    if (!transient) {
        return false;
    }
    /* A connection that had died unnoticed is no sign that the server is in trouble. */
    return (tries == 0 && was_lost && grv_now_ns() < deadline_ns) ||
           back_off(attempt->call, deadline_ns, tries);
}

grv_status grv_pg_run(const grv_call *call, grv_pg *pg, const grv_pg_work *work,
                      PGresult *ret_results[], grv_error *error)
{
    uint64_t deadline_ns = grv_pg_deadline(call, pg);
    grv_error mine = GRV_ERROR_INIT;
    pg_attempt attempt = {.call = call, .pg = pg, .work = work, .results = ret_results};
    memset(ret_results, 0, work->count * sizeof *ret_results);
    for (unsigned tries = 0;; tries++) {
        grv_pg_conn *conn = NULL;
        bool was_lost = true;
        grv_status status = grv_pg_take(call, pg, &conn, &mine);
        if (!status) {
            status = run_once(&attempt, conn, &mine);
            was_lost = conn->broken;
            grv_pg_give(conn);
        }
        if (!status || !try_again(&attempt, was_lost, &status, deadline_ns, tries, &mine)) {
            if (status && was_lost && !work->reads) {
                grv_error_prefix(&mine, "it is not known whether this was committed");
            }
            if (status && error) {
                *error = mine;
            }
            return status;
        }
    }
}

grv_status grv_pg_read(const grv_call *call, grv_pg *pg, const grv_pg_statement *statement,
                       const grv_pg_params *params, PGresult **ret_result, grv_error *error)
{
    grv_pg_step step = {statement, params};
    grv_pg_work work = {.steps = &step, .count = 1, .reads = true};
    return grv_pg_run(call, pg, &work, ret_result, error);
}

grv_status grv_pg_write(const grv_call *call, grv_pg *pg, const grv_pg_statement *statement,
                        const grv_pg_params *params, PGresult **ret_result, grv_error *error)
{
    grv_pg_step step = {statement, params};
    grv_pg_work work = {.steps = &step, .count = 1, .repeatable = true};
    return grv_pg_run(call, pg, &work, ret_result, error);
}
