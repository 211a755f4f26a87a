/* SPDX-License-Identifier: Apache-2.0 */
/* Counting what the server does. */
#include "http/metrics.h"

#include <stdlib.h>

#define METRICS_PARTS 16u
#define METRICS_CODES 500u
#define METRICS_GONE  499u /* as others write it */
#define SECOND        UINT64_C(1000000000)

const uint64_t http_metrics_bounds_ns[HTTP_METRICS_BOUNDS] = {
    SECOND / 2000, SECOND / 1000, SECOND / 400, SECOND / 200, SECOND / 100, SECOND / 40,
    SECOND / 20,   SECOND / 10,   SECOND / 4,   SECOND / 2,   SECOND,       SECOND * 5 / 2,
    SECOND * 5,    SECOND * 10,   SECOND * 30,  SECOND * 60,
};

typedef _Atomic uint64_t counter;

/* A row of http_metrics_route, as it is counted. */
typedef struct metrics_row {
    counter codes[METRICS_CODES];
    counter bounds[HTTP_METRICS_BOUNDS + 1];
    counter duration_ns;
    counter bytes_in;
    counter bytes_out;
} metrics_row;

/* What one thread counts, apart from other threads' in whole cache lines. */
typedef struct metrics_part {
    _Alignas(128) counter begun;
    counter ended;
    counter puts;
    counter puts_already_stored;
    counter put_bytes_fresh;
    counter put_bytes_duplicate;
    counter put_bytes_stored;
    counter store[GRV_STATUS_COUNT];
    metrics_row *rows;
} metrics_part;

struct http_metrics {
    const http_route *const *fronts;
    size_t rows;
    metrics_row *memory; /* of all parts */
    metrics_part parts[METRICS_PARTS];
};

static void counter_add(counter *sum, uint64_t number)
{
    atomic_fetch_add_explicit(sum, number, memory_order_relaxed);
}

static uint64_t counter_get(const counter *sum)
{
    return atomic_load_explicit(sum, memory_order_relaxed);
}

static metrics_part *part_mine(http_metrics *metrics)
{
    static atomic_uint threads;
    static _Thread_local unsigned number; /* from 1 on */
    if (number == 0) {
        number = 1 + atomic_fetch_add_explicit(&threads, 1, memory_order_relaxed);
    }
    return &metrics->parts[number % METRICS_PARTS];
}

static size_t front_size(const http_route *front)
{
    size_t size = 0;
    while (front[size].method) {
        size++;
    }
    return size;
}

grv_status http_metrics_new(const http_route *const *fronts, http_metrics **ret_metrics,
                            grv_error *error)
{
    size_t rows = 1;
    for (size_t i = 0; fronts[i]; i++) {
        rows += front_size(fronts[i]);
    }
    http_metrics *metrics = aligned_alloc(_Alignof(http_metrics), sizeof *metrics);
    metrics_row *memory = calloc(METRICS_PARTS * rows, sizeof *memory);
    if (!metrics || !memory) {
        free(metrics);
        free(memory);
        return grv_error_set(error, GRV_LIMIT_EXCEEDED, "metrics", "no memory for metrics");
    }
    *metrics = (http_metrics){.fronts = fronts, .rows = rows, .memory = memory};
    for (size_t i = 0; i < METRICS_PARTS; i++) {
        metrics->parts[i].rows = memory + i * rows;
    }
    *ret_metrics = metrics;
    return GRV_OK;
}

void http_metrics_free(http_metrics *metrics)
{
    if (metrics) {
        free(metrics->memory);
        free(metrics);
    }
}

static size_t row_find(const http_metrics *metrics, const http_route *route)
{
    size_t row = 0;
    for (size_t i = 0; metrics->fronts[i]; i++) {
        for (const http_route *own = metrics->fronts[i]; own->method; own++, row++) {
            if (own == route) {
                return row;
            }
        }
    }
    return row;
}

void http_metrics_begin(http_metrics *metrics)
{
    counter_add(&part_mine(metrics)->begun, 1);
}

void http_metrics_end(http_metrics *metrics, const http_route *route, unsigned status,
                      uint64_t duration_ns, uint64_t bytes_in, uint64_t bytes_out)
{
    metrics_part *part = part_mine(metrics);
    metrics_row *row = &part->rows[row_find(metrics, route)];
    size_t bound = 0;
    status = status == 0 ? METRICS_GONE : status;
    while (bound < HTTP_METRICS_BOUNDS && duration_ns > http_metrics_bounds_ns[bound]) {
        bound++;
    }
    bool known = status >= 100 && status - 100 < METRICS_CODES;
    counter_add(&row->codes[known ? status - 100 : METRICS_CODES - 1], 1);
    counter_add(&row->bounds[bound], 1);
    counter_add(&row->duration_ns, duration_ns);
    counter_add(&row->bytes_in, bytes_in);
    counter_add(&row->bytes_out, bytes_out);
    counter_add(&part->ended, 1);
}

void http_metrics_store(http_metrics *metrics, grv_status status)
{
    unsigned index = (unsigned)status < GRV_STATUS_COUNT ? (unsigned)status : GRV_INTERNAL;
    counter_add(&part_mine(metrics)->store[index], 1);
}

void http_metrics_put(http_metrics *metrics, const grv_put_result *result)
{
    metrics_part *part = part_mine(metrics);
    counter_add(&part->puts, 1);
    counter_add(&part->puts_already_stored, result->already_stored ? 1 : 0);
    counter_add(&part->put_bytes_fresh, result->fresh_bytes);
    counter_add(&part->put_bytes_duplicate, result->duplicate_bytes);
    counter_add(&part->put_bytes_stored, result->stored_bytes);
}

size_t http_metrics_rows(const http_metrics *metrics)
{
    return metrics->rows;
}

const char *http_metrics_label(const http_metrics *metrics, size_t row)
{
    for (size_t i = 0; metrics->fronts[i]; i++) {
        size_t size = front_size(metrics->fronts[i]);
        if (row < size) {
            return metrics->fronts[i][row].name;
        }
        row -= size;
    }
    return "none";
}

void http_metrics_sum(const http_metrics *metrics, size_t row, http_metrics_route *ret_sums)
{
    *ret_sums = (http_metrics_route){0};
    for (size_t i = 0; i < METRICS_PARTS; i++) {
        const metrics_row *from = &metrics->parts[i].rows[row];
        for (size_t k = 0; k < METRICS_CODES; k++) {
            ret_sums->codes[k] += counter_get(&from->codes[k]);
        }
        for (size_t k = 0; k <= HTTP_METRICS_BOUNDS; k++) {
            ret_sums->bounds[k] += counter_get(&from->bounds[k]);
        }
        ret_sums->duration_ns += counter_get(&from->duration_ns);
        ret_sums->bytes_in += counter_get(&from->bytes_in);
        ret_sums->bytes_out += counter_get(&from->bytes_out);
    }
}

static void total_rows(const http_metrics *metrics, http_metrics_totals *totals)
{
    http_metrics_route sums;
    for (size_t row = 0; row < metrics->rows; row++) {
        http_metrics_sum(metrics, row, &sums);
        for (size_t k = 0; k < METRICS_CODES; k++) {
            totals->requests += sums.codes[k];
            totals->client_errors += k >= 300 && k < 400 ? sums.codes[k] : 0;
            totals->server_errors += k >= 400 ? sums.codes[k] : 0;
        }
        totals->bytes_in += sums.bytes_in;
        totals->bytes_out += sums.bytes_out;
    }
}

void http_metrics_total(const http_metrics *metrics, http_metrics_totals *ret_totals)
{
    uint64_t begun = 0;
    uint64_t ended = 0;
    *ret_totals = (http_metrics_totals){0};
    /* What ended is read before what began, so that their difference is never below 0. */
    for (size_t i = 0; i < METRICS_PARTS; i++) {
        ended += atomic_load_explicit(&metrics->parts[i].ended, memory_order_acquire);
    }
    for (size_t i = 0; i < METRICS_PARTS; i++) {
        const metrics_part *part = &metrics->parts[i];
        begun += counter_get(&part->begun);
        ret_totals->puts += counter_get(&part->puts);
        ret_totals->puts_already_stored += counter_get(&part->puts_already_stored);
        ret_totals->put_bytes_fresh += counter_get(&part->put_bytes_fresh);
        ret_totals->put_bytes_duplicate += counter_get(&part->put_bytes_duplicate);
        ret_totals->put_bytes_stored += counter_get(&part->put_bytes_stored);
        for (size_t k = 0; k < GRV_STATUS_COUNT; k++) {
            ret_totals->store[k] += counter_get(&part->store[k]);
        }
    }
    ret_totals->in_flight = begun > ended ? begun - ended : 0;
    total_rows(metrics, ret_totals);
}
