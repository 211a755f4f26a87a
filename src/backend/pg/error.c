/* SPDX-License-Identifier: Apache-2.0 */
/* SQLSTATEs become statuses here, and nowhere else. The codes are those of PostgreSQL's Appendix A;
 * class GV is the schema's own. */
#include "backend/pg/pg.h"

#include <stdio.h>
#include <string.h>

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* By the first letters; the longest that fits comes first. */
static const struct {
    const char *prefix;
    grv_status status;
} states[] = {
    {"GV001", GRV_CONFLICT},       /* a guard did not hold */
    {"GV002", GRV_NOT_FOUND},      /* what was named is not there */
    {"GV003", GRV_ALREADY_EXISTS}, /* what was to be absent is there */
    {"GV004", GRV_UNAVAILABLE},    /* what came before is gone: from the start again */
    {"08P01", GRV_INTERNAL},       /* protocol violation */
    {"08", GRV_UNAVAILABLE},       /* connection exceptions */
    {"0A", GRV_UNSUPPORTED},       /* feature not supported */
    {"22", GRV_INVALID_ARGUMENT},  /* data exceptions */
    {"23505", GRV_ALREADY_EXISTS}, /* unique violation */
    {"23", GRV_INVALID_ARGUMENT},  /* other constraints */
    {"25006", GRV_PERMISSION},     /* read-only transaction */
    {"25P03", GRV_UNAVAILABLE},    /* idle in transaction for too long */
    {"28", GRV_PERMISSION},        /* invalid authorization, wrong password */
    {"3D000", GRV_NOT_FOUND},      /* no such database */
    {"3F000", GRV_CONFLICT},       /* no such schema */
    {"40003", GRV_UNAVAILABLE},    /* completion unknown */
    {"40", GRV_UNAVAILABLE},       /* serialization failure, deadlock */
    {"42501", GRV_PERMISSION},     /* insufficient privilege */
    {"42P01", GRV_CONFLICT},       /* no such table */
    {"42883", GRV_CONFLICT},       /* no such function */
    {"42704", GRV_CONFLICT},       /* no such type */
    {"42703", GRV_CONFLICT},       /* no such column */
    {"53100", GRV_OUT_OF_SPACE},   /* disk full */
    {"53200", GRV_LIMIT_EXCEEDED}, /* out of memory */
    {"53300", GRV_UNAVAILABLE},    /* too many connections */
    {"53", GRV_LIMIT_EXCEEDED},    /* other resources */
    {"54", GRV_LIMIT_EXCEEDED},    /* program limits */
    {"55P03", GRV_UNAVAILABLE},    /* a lock was not to be had */
    {"55", GRV_CONFLICT},          /* object not in the state wanted */
    {"57014", GRV_TIMEOUT},        /* statement_timeout */
    {"57", GRV_UNAVAILABLE},       /* shutdown, start, crash */
    {"58", GRV_UNAVAILABLE},       /* system errors outside PostgreSQL */
    {"F0", GRV_INTERNAL},          /* its configuration file */
    {"XX001", GRV_CORRUPT},        /* data corrupted */
    {"XX002", GRV_CORRUPT},        /* index corrupted */
};

/* What was rolled back and may succeed at once; a lost connection is another matter. */
static const char *const transients[] = {"40001", "40P01", "55P03", "53300",
                                         "57P01", "57P02", "57P03", "25P03"};

/* Words for messages that PostgreSQL's own leave in the dark. */
static const struct {
    const char *state;
    const char *advice;
} advices[] = {
    {"53300", "the server has no connection left: raise max_connections, or let graviton use fewer "
              "(GRAVITON_PG_CONNECTIONS)"},
    {"42P01", "the schema is missing or incomplete: run `graviton migrate`"},
    {"3F000", "the schema is missing: run `graviton migrate`"},
    {"53100", "the server's disk is full"},
};

grv_status grv_pg_status_of(const char *sqlstate)
{
    if (!sqlstate || !*sqlstate) {
        return GRV_UNAVAILABLE;
    }
    for (size_t i = 0; i < COUNT(states); i++) {
        if (strncmp(sqlstate, states[i].prefix, strlen(states[i].prefix)) == 0) {
            return states[i].status;
        }
    }
    return GRV_INTERNAL;
}

bool grv_pg_is_transient(const char *sqlstate)
{
    for (size_t i = 0; sqlstate && i < COUNT(transients); i++) {
        if (strcmp(sqlstate, transients[i]) == 0) {
            return true;
        }
    }
    return false;
}

/* Length of a message's first line without white space at its end: libpq's run over several. */
static int first_line(const char *text)
{
    size_t size = strcspn(text, "\n");
    while (size > 0 && (text[size - 1] == ' ' || text[size - 1] == '\r')) {
        size--;
    }
    return size < GRV_ERROR_MESSAGE_SIZE ? (int)size : GRV_ERROR_MESSAGE_SIZE;
}

static void note_state(grv_error *error, const char *sqlstate)
{
    if (error && sqlstate && *sqlstate) {
        error->native_kind = GRV_NATIVE_SQLSTATE;
        snprintf(error->native_text, sizeof error->native_text, "%s", sqlstate);
    }
}

grv_status grv_pg_result_error(const PGresult *result, const char *doing, grv_error *error)
{
    const char *state = PQresultErrorField(result, PG_DIAG_SQLSTATE);
    const char *text = PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY);
    if (!text) {
        text = PQresultErrorMessage(result);
    }
    const char *advice = NULL;
    for (size_t i = 0; state && i < COUNT(advices); i++) {
        if (strcmp(state, advices[i].state) == 0) {
            advice = advices[i].advice;
        }
    }
    grv_status status = grv_pg_status_of(state);
    /* The schema's own words need no introduction. */
    if (state && strncmp(state, "GV", 2) == 0) {
        grv_error_set(error, status, "pg", "%.*s", first_line(text), text);
    } else {
        grv_error_set(error, status, "pg", "cannot %s: PostgreSQL: %.*s%s%s", doing,
                      first_line(text), text, advice ? "; " : "", advice ? advice : "");
    }
    note_state(error, state);
    return status;
}

/* libpq has no SQLSTATE for a connection that was refused, only words. */
static const struct {
    const char *words;
    grv_status status;
    const char *state;
} refusals[] = {
    {"password authentication failed", GRV_PERMISSION, "28P01"},
    {"no password supplied", GRV_PERMISSION, "28P01"},
    {"authentication failed", GRV_PERMISSION, "28000"},
    {"no pg_hba.conf entry", GRV_PERMISSION, "28000"},
    {"is not permitted to log in", GRV_PERMISSION, "28000"},
    {"permission denied for database", GRV_PERMISSION, "42501"},
    {"certificate verify failed", GRV_PERMISSION, ""},
    {"role \"", GRV_PERMISSION, "28000"},
    {"database \"", GRV_NOT_FOUND, "3D000"},
    {"too many clients", GRV_UNAVAILABLE, "53300"},
    {"too many connections", GRV_UNAVAILABLE, "53300"},
    {"remaining connection slots", GRV_UNAVAILABLE, "53300"},
};

grv_status grv_pg_conn_error(const PGconn *native, const char *doing, grv_error *error)
{
    const char *text = PQerrorMessage(native);
    grv_status status = GRV_UNAVAILABLE;
    const char *state = "";
    for (size_t i = 0; i < COUNT(refusals); i++) {
        if (strstr(text, refusals[i].words)) {
            status = refusals[i].status;
            state = refusals[i].state;
            break;
        }
    }
    const char *fatal = strstr(text, "FATAL:");
    if (fatal) {
        text = fatal + strlen("FATAL:");
        text += strspn(text, " ");
    }
    grv_error_set(error, status, "pg", "cannot %s: PostgreSQL: %.*s", doing,
                  *text ? first_line(text) : 19, *text ? text : "the connection died");
    note_state(error, state);
    return status;
}
