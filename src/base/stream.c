/* SPDX-License-Identifier: Apache-2.0 */
/* Dispatchers of sources and sinks, and the copying helpers over them. */
#include <assert.h>
#include <graviton/stream.h>
#include <string.h>

grv_status grv_source_next(const grv_call *call, grv_source *source, size_t max,
                           grv_bytes *ret_view, grv_error *error)
{
    assert(max > 0);
    grv_bytes view = {0};
    grv_status status = source->ops->next(call, source, max, &view, error);
    if (status) {
        return status;
    }
    assert(view.size <= max);
    *ret_view = view;
    return GRV_OK;
}

grv_status grv_source_gather(const grv_call *call, grv_source *source, size_t max,
                             grv_bytes ret_views[], size_t capacity, size_t *ret_count,
                             grv_error *error)
{
    assert(max > 0 && capacity > 0);
    size_t count = 0;
    grv_status status;
    if (source->ops->gather) {
        status = source->ops->gather(call, source, max, ret_views, capacity, &count, error);
    } else {
        status = grv_source_next(call, source, max, &ret_views[0], error);
        count = !status && ret_views[0].size > 0;
    }
    if (status) {
        return status;
    }
    assert(count <= capacity);
    *ret_count = count;
    return GRV_OK;
}

grv_status grv_source_read(const grv_call *call, grv_source *source, grv_span span,
                           size_t *ret_size, grv_error *error)
{
    size_t size = 0;
    while (size < span.size) {
        grv_bytes view;
        grv_status status = grv_source_next(call, source, span.size - size, &view, error);
        if (status) {
            return status;
        }
        if (view.size == 0) {
            break;
        }
        memcpy(span.data + size, view.data, view.size);
        size += view.size;
    }
    *ret_size = size;
    return GRV_OK;
}

void grv_source_free(grv_source *source)
{
    if (source) {
        source->ops->free(source);
    }
}

/* Refuses calls on a sink that failed or was committed. */
static grv_status sink_check(const grv_sink *sink, grv_error *error)
{
    if (sink->failed) {
        return grv_error_set(error, sink->failed, "sink", "this put failed earlier (%s)",
                             grv_status_name(sink->failed));
    }
    if (sink->committed) {
        return grv_error_set(error, GRV_INVALID_ARGUMENT, "sink", "this put is committed already");
    }
    return GRV_OK;
}

grv_status grv_sink_reserve(const grv_call *call, grv_sink *sink, grv_span *ret_window,
                            grv_error *error)
{
    grv_status status = sink_check(sink, error);
    if (status) {
        return status;
    }
    grv_span window = {0};
    status = sink->ops->reserve(call, sink, &window, error);
    if (status) {
        sink->failed = status;
        return status;
    }
    assert(window.size > 0);
    *ret_window = window;
    return GRV_OK;
}

grv_status grv_sink_advance(const grv_call *call, grv_sink *sink, size_t size, grv_error *error)
{
    grv_status status = sink_check(sink, error);
    if (status) {
        return status;
    }
    sink->failed = sink->ops->advance(call, sink, size, error);
    return sink->failed;
}

grv_status grv_sink_write(const grv_call *call, grv_sink *sink, grv_bytes bytes, grv_error *error)
{
    while (bytes.size > 0) {
        grv_span window;
        grv_status status = grv_sink_reserve(call, sink, &window, error);
        if (status) {
            return status;
        }
        size_t take = bytes.size < window.size ? bytes.size : window.size;
        memcpy(window.data, bytes.data, take);
        status = grv_sink_advance(call, sink, take, error);
        if (status) {
            return status;
        }
        bytes = (grv_bytes){bytes.data + take, bytes.size - take};
    }
    return sink_check(sink, error);
}

grv_status grv_sink_commit(const grv_call *call, grv_sink *sink, grv_error *error)
{
    grv_status status = sink_check(sink, error);
    if (status) {
        return status;
    }
    sink->failed = sink->ops->commit(call, sink, error);
    sink->committed = sink->failed == GRV_OK;
    return sink->failed;
}

void grv_sink_free(grv_sink *sink)
{
    if (sink) {
        sink->ops->free(sink);
    }
}
