/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the server knows of its store by asking now and then: whether it answers, and how much is in
 * it. Counting reads every manifest and the whole index of blocks, so it is done by a thread of its
 * own in the background, only after somebody asked, and for at most a twentieth of the time.
 */
#ifndef GRV_HTTP_CENSUS_H
#define GRV_HTTP_CENSUS_H

#include "http/http.h"

/* A count is not made again for so long, or for twenty times as long as it took. */
#define HTTP_CENSUS_PERIOD (UINT64_C(900) * 1000000000u)
/* How long an answer about readiness holds, and how long the store has to give it. */
#define HTTP_READY_PERIOD   UINT64_C(1000000000)
#define HTTP_READY_PATIENCE (UINT64_C(2) * 1000000000u)

/* Starts. `server` has its store and log, which outlive it. */
grv_status http_census_new(http_server *server, http_census **ret_census, grv_error *error);

/* Gives a count up, and frees. NULL is allowed. */
void http_census_free(http_census *census);

/* The last count. */
typedef struct http_count {
    bool is_known;
    bool is_running; /* another one is being made */
    grv_store_stats stats;
    uint64_t counted_ns; /* when it began, since 1970 */
    uint64_t age_ns;
    uint64_t duration_ns; /* of making it */
} http_count;

/* Tells the last count, and has another one made where it is old enough. Waits for nothing. */
void http_census_ask(http_census *census, http_count *ret_count);

/* Makes a count that begins now, and waits for it. GRV_TIMEOUT and GRV_CANCELLED of `call`: the
 * count goes on. What the store says where it cannot be counted. */
grv_status http_census_wait(const grv_call *call, http_census *census, http_count *ret_count,
                            grv_error *error);

/*
 * Whether both halves of the store answer. Reads a little of both where the last answer is older
 * than HTTP_READY_PERIOD; of several that ask at once one does, and the others get the last answer.
 * GRV_UNAVAILABLE where none was got yet.
 */
grv_status http_census_ready(http_census *census, grv_error *error);

#endif
