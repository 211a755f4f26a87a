/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Byte streams. A source is pulled; a sink is a transaction: write, then commit, then free, and
 * free without commit leaves no trace. Both are used by one thread at a time and belong to
 * whoever opened them. They must be freed before the store they came from.
 */
#ifndef GRAVITON_STREAM_H
#define GRAVITON_STREAM_H

#include <graviton/bytes.h>
#include <graviton/call.h>

#ifdef __cplusplus
extern "C" {
#endif
#pragma GCC visibility push(default)

typedef struct grv_source grv_source;
typedef struct grv_sink grv_sink;

/* Operations of a source. No slot is NULL but `gather`. */
typedef struct grv_source_ops {
    const char *name;
    /*
     * Gives the next bytes, at most `max` (> 0), as a view that stays valid until the next call on
     * this source. An empty view is the end, again at every further call, and only a checked,
     * complete stream ends so. After an error every further call gives the same status.
     */
    grv_status (*next)(const grv_call *call, grv_source *source, size_t max, grv_bytes *ret_view,
                       grv_error *error);
    /*
     * The same as several views, 1 to `capacity` (> 0) of them and `max` bytes together at most,
     * all valid until the next call: for sources whose bytes lie in several places. None,
     * *ret_count 0, is the end. NULL: there is never more than one.
     */
    grv_status (*gather)(const grv_call *call, grv_source *source, size_t max,
                         grv_bytes ret_views[], size_t capacity, size_t *ret_count,
                         grv_error *error);
    void (*free)(grv_source *source);
} grv_source_ops;

/* Base of every source; embed it as the first member. */
struct grv_source {
    const grv_source_ops *ops;
};

/* Operations of a sink. No slot is NULL. */
typedef struct grv_sink_ops {
    const char *name;
    /*
     * Lends a window of at least 1 byte of the sink's own memory, to fill from its start without a
     * copy. May wait for room. The window is valid until the next call on this sink.
     */
    grv_status (*reserve)(const grv_call *call, grv_sink *sink, grv_span *ret_window,
                          grv_error *error);
    /* Takes the first `size` bytes of the last window as written. */
    grv_status (*advance)(const grv_call *call, grv_sink *sink, size_t size, grv_error *error);
    /* Makes everything written durable and visible, all or nothing. Once only. */
    grv_status (*commit)(const grv_call *call, grv_sink *sink, grv_error *error);
    void (*free)(grv_sink *sink);
} grv_sink_ops;

/* Base of every sink; embed it as the first member. After an error only free is allowed, and every
 * other call gives that status again. */
struct grv_sink {
    const grv_sink_ops *ops;
    grv_status failed; /* kept by the dispatchers: first failure, GRV_OK while all is well */
    bool committed;
};

/* Next view of a source; see grv_source_ops.next. */
grv_status grv_source_next(const grv_call *call, grv_source *source, size_t max,
                           grv_bytes *ret_view, grv_error *error);

/* Next views of a source, by grv_source_next where it has no more; see grv_source_ops.gather. */
grv_status grv_source_gather(const grv_call *call, grv_source *source, size_t max,
                             grv_bytes ret_views[], size_t capacity, size_t *ret_count,
                             grv_error *error);

/* Fills `span` as far as the stream goes; *ret_size < span.size only at its end. */
grv_status grv_source_read(const grv_call *call, grv_source *source, grv_span span,
                           size_t *ret_size, grv_error *error);

/* Frees a source. NULL is allowed. */
void grv_source_free(grv_source *source);

/* Window to fill; see grv_sink_ops.reserve. */
grv_status grv_sink_reserve(const grv_call *call, grv_sink *sink, grv_span *ret_window,
                            grv_error *error);

/* Accepts the first `size` bytes of the last window; see grv_sink_ops.advance. */
grv_status grv_sink_advance(const grv_call *call, grv_sink *sink, size_t size, grv_error *error);

/* Writes a copy of all of `bytes`, or fails. */
grv_status grv_sink_write(const grv_call *call, grv_sink *sink, grv_bytes bytes, grv_error *error);

/* Commits; GRV_OK means durable and visible. A second commit is GRV_INVALID_ARGUMENT. */
grv_status grv_sink_commit(const grv_call *call, grv_sink *sink, grv_error *error);

/* Frees a sink; without a commit nothing of it stays. NULL is allowed. */
void grv_sink_free(grv_sink *sink);

#pragma GCC visibility pop
#ifdef __cplusplus
}
#endif

#endif
