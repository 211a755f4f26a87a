/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Turns of the exchanges that hold memory of the store, and the workers that run them. There are
 * as many turns as workers, so that one that waits for memory never keeps a worker from one that
 * would give some back.
 */
#ifndef GRV_HTTP_STREAMS_H
#define GRV_HTTP_STREAMS_H

#include "http/http.h"

/* One exchange's turn, embedded in it. Zero-initialise, then set the first three. */
typedef struct http_turn {
    grv_task task; /* submitted while it is held, and once when it is granted */
    void (*refuse)(struct http_turn *turn, grv_status why); /* on the watch: nothing came free */
    bool is_put;
    bool is_held;
    uint64_t since_ns; /* it waits from then on */
    struct http_turn *next;
} http_turn;

/* What runs and what waits, at one moment. */
struct http_streams_figures {
    unsigned gets; /* turns held */
    unsigned puts;
    unsigned waiting;
    unsigned limit; /* of gets and puts together */
    bool paused;    /* no put begins */
};

/* Makes `limit` turns and workers; at most `queue` wait. Errors of grv_pool_new. */
grv_status http_streams_new(unsigned limit, unsigned queue, http_streams **ret_streams,
                            grv_error *error);

/* Runs what was submitted, and ends the workers. No turn is held or waited for. NULL is allowed. */
void http_streams_free(http_streams *streams);

/* Asks for a turn: `turn->task` runs on a worker when it is there. False where too many wait
 * already; then nothing happens. */
bool http_streams_enter(http_streams *streams, http_turn *turn);

/* Runs `turn->task` on a worker again, while the turn is held. */
void http_streams_again(http_streams *streams, http_turn *turn);

/* Gives the turn back, if it is held, and the next in line has it. */
void http_streams_leave(http_streams *streams, http_turn *turn);

/* Refuses those that have waited too long, or, with `all`, all that wait. */
void http_streams_tick(http_streams *streams, uint64_t now_ns, bool all);

/* The figures of now. */
void http_streams_figures(http_streams *streams, struct http_streams_figures *ret_figures);

#endif
