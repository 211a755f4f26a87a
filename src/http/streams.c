/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Turns: two lines that wait, one of puts and one of gets, since puts may be paused alone. The
 * lines are served in the order of arrival. One lock, held only to count and link.
 *
 * Invariant: gets + puts <= limit, and a put's turn is granted only while nobody pauses puts.
 */
#include "http/streams.h"

#include "base/wait.h"

#include <assert.h>
#include <stdlib.h>

typedef struct streams_line {
    http_turn *head;
    http_turn **tail;
} streams_line;

struct http_streams {
    pthread_mutex_t lock;
    pthread_cond_t quiet;  /* puts became 0 */
    streams_line lines[2]; /* gets, puts */
    unsigned held[2];
    unsigned waiting;
    unsigned limit;
    unsigned queue;
    unsigned pauses;
    grv_pool *pool;
};

grv_status http_streams_new(unsigned limit, unsigned queue, http_streams **ret_streams,
                            grv_error *error)
{
    http_streams *streams = calloc(1, sizeof *streams);
    if (!streams) {
        return grv_error_set(error, GRV_LIMIT_EXCEEDED, "streams", "no memory for the streams");
    }
    grv_status status = grv_pool_new(limit, &streams->pool, error);
    if (status) {
        free(streams);
        return status;
    }
    streams->limit = grv_pool_threads(streams->pool);
    streams->queue = queue;
    streams->lines[0].tail = &streams->lines[0].head;
    streams->lines[1].tail = &streams->lines[1].head;
    pthread_mutex_init(&streams->lock, NULL);
    grv_wait_init(&streams->quiet);
    *ret_streams = streams;
    return GRV_OK;
}

void http_streams_free(http_streams *streams)
{
    if (!streams) {
        return;
    }
    grv_pool_free(streams->pool);
    assert(streams->waiting == 0 && streams->held[0] == 0 && streams->held[1] == 0);
    pthread_cond_destroy(&streams->quiet);
    pthread_mutex_destroy(&streams->lock);
    free(streams);
}

static void line_add(streams_line *line, http_turn *turn)
{
    turn->next = NULL;
    *line->tail = turn;
    line->tail = &turn->next;
}

static http_turn *line_take(streams_line *line)
{
    http_turn *turn = line->head;
    if (turn) {
        line->head = turn->next;
        if (!line->head) {
            line->tail = &line->head;
        }
    }
    return turn;
}

/* Whether a turn of that kind may be granted. The lock is held. */
static bool streams_may(const http_streams *streams, bool is_put)
{
    return streams->held[0] + streams->held[1] < streams->limit && !(is_put && streams->pauses > 0);
}

static void streams_grant(http_streams *streams, http_turn *turn)
{
    streams->held[turn->is_put]++;
    turn->is_held = true;
    grv_pool_submit(streams->pool, &turn->task);
}

/* Grants what can be granted to those that wait. The lock is held. */
static void streams_advance(http_streams *streams)
{
    for (;;) {
        const http_turn *get = streams->lines[0].head;
        const http_turn *put = streams_may(streams, true) ? streams->lines[1].head : NULL;
        if (!streams_may(streams, false) || (!get && !put)) {
            return;
        }
        bool is_put = !get || (put && put->since_ns < get->since_ns);
        streams->waiting--;
        streams_grant(streams, line_take(&streams->lines[is_put]));
    }
}

bool http_streams_enter(http_streams *streams, http_turn *turn)
{
    bool accepted = true;
    pthread_mutex_lock(&streams->lock);
    if (!streams->lines[turn->is_put].head && streams_may(streams, turn->is_put)) {
        streams_grant(streams, turn);
    } else if (streams->waiting < streams->queue) {
        turn->since_ns = grv_now_ns();
        streams->waiting++;
        line_add(&streams->lines[turn->is_put], turn);
    } else {
        accepted = false;
    }
    pthread_mutex_unlock(&streams->lock);
    return accepted;
}

void http_streams_again(http_streams *streams, http_turn *turn)
{
    grv_pool_submit(streams->pool, &turn->task);
}

void http_streams_leave(http_streams *streams, http_turn *turn)
{
    if (!turn->is_held) {
        return;
    }
    turn->is_held = false;
    pthread_mutex_lock(&streams->lock);
    streams->held[turn->is_put]--;
    if (streams->waiting > 0) {
        streams_advance(streams);
    }
    if (streams->held[1] == 0 && streams->pauses > 0) {
        pthread_cond_broadcast(&streams->quiet);
    }
    pthread_mutex_unlock(&streams->lock);
}

void http_streams_tick(http_streams *streams, uint64_t now_ns, bool all)
{
    http_turn *late = NULL;
    http_turn **late_tail = &late;
    pthread_mutex_lock(&streams->lock);
    for (size_t i = 0; i < 2; i++) {
        streams_line *line = &streams->lines[i];
        while (line->head && (all || line->head->since_ns + HTTP_PAUSE_PATIENCE <= now_ns)) {
            http_turn *turn = line_take(line);
            streams->waiting--;
            turn->next = NULL;
            *late_tail = turn;
            late_tail = &turn->next;
        }
    }
    pthread_mutex_unlock(&streams->lock);
    while (late) {
        http_turn *turn = late;
        late = turn->next;
        turn->refuse(turn, all ? GRV_CANCELLED : GRV_LIMIT_EXCEEDED);
    }
}

void http_streams_figures(http_streams *streams, struct http_streams_figures *ret_figures)
{
    pthread_mutex_lock(&streams->lock);
    *ret_figures = (struct http_streams_figures){
        .gets = streams->held[0],
        .puts = streams->held[1],
        .waiting = streams->waiting,
        .limit = streams->limit,
        .paused = streams->pauses > 0,
    };
    pthread_mutex_unlock(&streams->lock);
}

grv_status http_puts_pause(const grv_call *call, http_server *server, grv_error *error)
{
    http_streams *streams = server->streams;
    grv_status status = GRV_OK;
    pthread_mutex_lock(&streams->lock);
    streams->pauses++;
    while (streams->held[1] > 0) {
        status = grv_call_check(call, "streams", error);
        if (status) {
            break;
        }
        grv_wait(call, &streams->quiet, &streams->lock);
    }
    pthread_mutex_unlock(&streams->lock);
    if (status) {
        http_puts_resume(server);
    }
    return status;
}

void http_puts_resume(http_server *server)
{
    http_streams *streams = server->streams;
    pthread_mutex_lock(&streams->lock);
    assert(streams->pauses > 0);
    streams->pauses--;
    streams_advance(streams);
    pthread_mutex_unlock(&streams->lock);
}
