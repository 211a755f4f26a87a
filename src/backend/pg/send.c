/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sending statements down one connection in a pipeline, and reading what comes back. The socket
 * never blocks: writing and reading take turns, so that neither side waits for the other however
 * large the parameters and results are.
 *
 * Invariant: a connection whose answers were not all read, or whose transaction could not be ended,
 * is marked broken, and nobody uses it again.
 */
#include "backend/pg/pool.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Where a command's answers go: nowhere, or to a result. */
#define NO_STEP SIZE_MAX

/* A command sent, in the order of the answers. */
typedef struct pg_sent {
    size_t step;                      /* or NO_STEP */
    const grv_pg_statement *prepares; /* what it prepares, or NULL */
    int64_t timeout_ms;               /* what it sets, or -1 */
} pg_sent;

typedef struct pg_exchange {
    const grv_call *call;
    grv_pg_conn *conn;
    uint64_t deadline_ns;
    const grv_pg_step *steps;
    size_t count;
    bool unlimited; /* the server is not told the deadline */
    pg_sent commands[2 * GRV_PG_STEPS_MAX + 1];
    size_t command_count;
    size_t answered;
    PGresult **results;
    PGresult *failure; /* of the first command that failed */
    size_t failed_step;
} pg_exchange;

static const grv_pg_statement set_timeout = {
    "set_timeout", "SELECT pg_catalog.set_config('statement_timeout', $1, false)"};

static grv_status lost(grv_pg_conn *conn, grv_error *error)
{
    conn->broken = true;
    grv_pg_lost(conn->pg, conn->generation);
    return grv_pg_conn_error(conn->native, "use the connection", error);
}

/* ---- Out ---- */

static bool is_prepared(const grv_pg_conn *conn, const grv_pg_statement *statement)
{
    for (size_t i = 0; i < conn->prepared_count; i++) {
        if (conn->prepared[i] == statement) {
            return true;
        }
    }
    return false;
}

static bool is_being_prepared(const pg_exchange *exchange, const grv_pg_statement *statement)
{
    for (size_t i = 0; i < exchange->command_count; i++) {
        if (exchange->commands[i].prepares == statement) {
            return true;
        }
    }
    return false;
}

/* Room to remember a statement before it is sent, so that remembering cannot fail. */
static bool reserve_prepared(grv_pg_conn *conn)
{
    size_t wanted = conn->prepared_count + GRV_PG_STEPS_MAX + 2;
    if (wanted <= conn->prepared_capacity) {
        return true;
    }
    const grv_pg_statement **more = realloc(conn->prepared, 2 * wanted * sizeof *more);
    if (!more) {
        return false;
    }
    conn->prepared = more;
    conn->prepared_capacity = 2 * wanted;
    return true;
}

/* Sends one statement, and before it its preparation where that is wanting. */
static bool send_statement(pg_exchange *exchange, const grv_pg_statement *statement,
                           const grv_pg_params *params, pg_sent command)
{
    static const int formats[GRV_PG_PARAMS_MAX] = {1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1};
    PGconn *native = exchange->conn->native;
    if (!is_prepared(exchange->conn, statement) && !is_being_prepared(exchange, statement)) {
        if (!PQsendPrepare(native, statement->name, statement->sql, 0, NULL)) {
            return false;
        }
        exchange->commands[exchange->command_count++] =
            (pg_sent){.step = NO_STEP, .prepares = statement, .timeout_ms = -1};
    }
    if (!PQsendQueryPrepared(native, statement->name, params ? params->count : 0,
                             params ? params->values : NULL, params ? params->lengths : NULL,
                             formats, 1)) {
        return false;
    }
    exchange->commands[exchange->command_count++] = command;
    return true;
}

/* The server gives up by itself soon after we have: a power of two milliseconds, so that it need
 * not be told with every call. */
static int64_t timeout_for(uint64_t deadline_ns)
{
    uint64_t now_ns = grv_now_ns();
    uint64_t left_ms = deadline_ns > now_ns ? (deadline_ns - now_ns) / 1000000 : 0;
    int64_t timeout_ms = 128;
    while ((uint64_t)timeout_ms < left_ms && timeout_ms < INT32_MAX / 2) {
        timeout_ms *= 2;
    }
    return timeout_ms;
}

static bool send_timeout(pg_exchange *exchange)
{
    int64_t timeout_ms = timeout_for(exchange->deadline_ns);
    if (exchange->unlimited || timeout_ms == exchange->conn->timeout_ms) {
        return true;
    }
    char text[24];
    grv_pg_params params = {0};
    snprintf(text, sizeof text, "%lld", (long long)timeout_ms);
    grv_pg_add_text(&params, text);
    return send_statement(exchange, &set_timeout, &params,
                          (pg_sent){.step = NO_STEP, .timeout_ms = timeout_ms});
}

/* A query before a BEGIN would already be part of its transaction, which can then have no isolation
 * level of its own; so of several steps the first goes before the time limit. */
static bool send_all(pg_exchange *exchange)
{
    size_t limited = exchange->count > 1 ? 1 : 0;
    for (size_t i = 0; i < exchange->count; i++) {
        const grv_pg_step *step = &exchange->steps[i];
        if ((i == limited && !send_timeout(exchange)) ||
            !send_statement(exchange, step->statement, step->params,
                            (pg_sent){.step = i, .timeout_ms = -1})) {
            return false;
        }
    }
    return PQpipelineSync(exchange->conn->native) == 1;
}

/* ---- Back ---- */

static void note_success(pg_exchange *exchange, const pg_sent *command)
{
    grv_pg_conn *conn = exchange->conn;
    if (command->prepares) {
        conn->prepared[conn->prepared_count++] = command->prepares;
    }
    if (command->timeout_ms >= 0) {
        conn->timeout_ms = command->timeout_ms;
    }
}

/* Takes one answer; its owner is this function. True once all have come. */
static bool take_answer(pg_exchange *exchange, PGresult *result)
{
    ExecStatusType kind = PQresultStatus(result);
    if (kind == PGRES_PIPELINE_SYNC) {
        PQclear(result);
        return true;
    }
    const pg_sent *command = exchange->answered < exchange->command_count
                                 ? &exchange->commands[exchange->answered]
                                 : NULL;
    if (kind == PGRES_COMMAND_OK || kind == PGRES_TUPLES_OK || kind == PGRES_EMPTY_QUERY) {
        if (command) {
            note_success(exchange, command);
        }
        if (command && command->step != NO_STEP && !exchange->results[command->step]) {
            exchange->results[command->step] = result;
            return false;
        }
    } else if (kind != PGRES_PIPELINE_ABORTED && !exchange->failure) {
        exchange->failure = result;
        exchange->failed_step = command ? command->step : NO_STEP;
        return false;
    }
    PQclear(result);
    return false;
}

/* Takes the answers that have arrived. */
static bool take_answers(pg_exchange *exchange)
{
    PGconn *native = exchange->conn->native;
    while (!PQisBusy(native)) {
        PGresult *result = PQgetResult(native);
        if (result) {
            if (take_answer(exchange, result)) {
                return true;
            }
        } else {
            /* The end of one command's answers. */
            exchange->answered++;
        }
        if (PQstatus(native) == CONNECTION_BAD || exchange->answered > exchange->command_count) {
            return false;
        }
    }
    return false;
}

static grv_status receive(pg_exchange *exchange, grv_error *error)
{
    grv_pg_conn *conn = exchange->conn;
    for (;;) {
        int unsent = PQflush(conn->native);
        if (unsent < 0) {
            /* The server's last words may still be there to be read. */
            PQconsumeInput(conn->native);
            take_answers(exchange);
            return lost(conn, error);
        }
        grv_status status = grv_pg_wait(exchange->call, conn->pg, conn->native, true, unsent > 0,
                                        exchange->deadline_ns, error);
        if (status) {
            conn->broken = true;
            return status;
        }
        bool read = PQconsumeInput(conn->native) == 1;
        if (take_answers(exchange)) {
            return GRV_OK;
        }
        if (!read || PQstatus(conn->native) == CONNECTION_BAD ||
            exchange->answered > exchange->command_count) {
            return lost(conn, error);
        }
    }
}

/* ---- A whole exchange ---- */

static grv_status exchange_run(pg_exchange *exchange, grv_error *error)
{
    grv_pg_conn *conn = exchange->conn;
    if (!reserve_prepared(conn)) {
        return grv_error_set(error, GRV_LIMIT_EXCEEDED, "pg", "no memory for statements");
    }
    if (!send_all(exchange)) {
        return lost(conn, error);
    }
    grv_status status = receive(exchange, error);
    if (exchange->failure) {
        /* What the server said comes before what became of the connection. */
        const char *doing = exchange->failed_step == NO_STEP
                                ? "prepare a statement"
                                : exchange->steps[exchange->failed_step].statement->name;
        char text[96];
        snprintf(text, sizeof text, "run %s", doing);
        status = grv_pg_result_error(exchange->failure, text, error);
        const char *state = PQresultErrorField(exchange->failure, PG_DIAG_SQLSTATE);
        /* A plan that no longer fits the schema is made anew on another connection. */
        if (!state || strcmp(state, "0A000") == 0 || strcmp(state, "26000") == 0) {
            conn->broken = true;
        }
        if (PQstatus(conn->native) == CONNECTION_BAD) {
            conn->broken = true;
            grv_pg_lost(conn->pg, conn->generation);
        }
    }
    return status;
}

static const grv_pg_statement rollback = {"rollback", "ROLLBACK"};

/* Ends a transaction that a failure has left open. */
static void roll_back(grv_pg_conn *conn)
{
    PGTransactionStatusType state = PQtransactionStatus(conn->native);
    if (conn->broken || state == PQTRANS_IDLE) {
        return;
    }
    if (state != PQTRANS_INTRANS && state != PQTRANS_INERROR) {
        conn->broken = true;
        return;
    }
    static const grv_pg_step step = {&rollback, NULL};
    PGresult *result = NULL;
    pg_exchange exchange = {
        .conn = conn,
        .deadline_ns = grv_now_ns() + UINT64_C(5000000000),
        .steps = &step,
        .count = 1,
        .unlimited = true, /* a failed transaction takes no other command */
        .results = &result,
    };
    conn->broken = exchange_run(&exchange, NULL) != GRV_OK;
    PQclear(exchange.failure);
    PQclear(result);
}

grv_status grv_pg_send(const grv_call *call, grv_pg_conn *conn, const grv_pg_step *steps,
                       size_t count, PGresult *ret_results[], grv_error *error)
{
    pg_exchange exchange = {
        .call = call,
        .conn = conn,
        .deadline_ns = grv_pg_deadline(call, conn->pg),
        .steps = steps,
        .count = count,
        .results = ret_results,
    };
    for (size_t i = 0; i < count; i++) {
        ret_results[i] = NULL;
    }
    grv_status status = exchange_run(&exchange, error);
    PQclear(exchange.failure);
    if (status) {
        grv_pg_clear(ret_results, count);
        /* A setting made in what was rolled back is undone. */
        conn->timeout_ms = -1;
        roll_back(conn);
    }
    return status;
}

/* ---- Plain SQL ---- */

static grv_status execute_answers(const grv_call *call, grv_pg_conn *conn, uint64_t deadline_ns,
                                  grv_error *error)
{
    PGconn *native = conn->native;
    grv_status failed = GRV_OK;
    for (;;) {
        int unsent = PQflush(native);
        if (unsent < 0) {
            return lost(conn, error);
        }
        while (unsent == 0 && !PQisBusy(native)) {
            PGresult *result = PQgetResult(native);
            if (!result) {
                return failed;
            }
            ExecStatusType kind = PQresultStatus(result);
            if (kind != PGRES_COMMAND_OK && kind != PGRES_TUPLES_OK && !failed) {
                failed = grv_pg_result_error(result, "run SQL", error);
            }
            PQclear(result);
            if (PQstatus(native) == CONNECTION_BAD) {
                return failed ? failed : lost(conn, error);
            }
        }
        grv_status status =
            grv_pg_wait(call, conn->pg, native, true, unsent > 0, deadline_ns, error);
        if (status) {
            conn->broken = true;
            return status;
        }
        if (!PQconsumeInput(native)) {
            return failed ? failed : lost(conn, error);
        }
    }
}

grv_status grv_pg_execute(const grv_call *call, grv_pg_conn *conn, const char *sql,
                          grv_error *error)
{
    PGconn *native = conn->native;
    if (PQpipelineStatus(native) != PQ_PIPELINE_OFF && !PQexitPipelineMode(native)) {
        conn->broken = true;
        return grv_pg_conn_error(native, "leave pipeline mode", error);
    }
    if (!PQsendQuery(native, sql)) {
        return lost(conn, error);
    }
    grv_status status = execute_answers(call, conn, grv_pg_deadline(call, conn->pg), error);
    if (conn->broken || PQstatus(native) == CONNECTION_BAD) {
        conn->broken = true;
        return status;
    }
    if (!PQenterPipelineMode(native)) {
        conn->broken = true;
        return status ? status : grv_pg_conn_error(native, "enter pipeline mode", error);
    }
    return status;
}
