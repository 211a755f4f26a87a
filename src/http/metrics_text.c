/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The page that Prometheus reads (text format 0.0.4). It guards that what is not known is left out:
 * there is no figure here that was not counted or asked for just now.
 */
#include "http/jobs.h"
#include "http/metrics.h"
#include "http/process.h"
#include "http/streams.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A page in the making; after a failure nothing more is written. */
typedef struct metrics_page {
    grv_buffer *text;
    grv_status status;
    grv_error *error;
} metrics_page;

__attribute__((format(printf, 2, 3))) static void page_print(metrics_page *page, const char *format,
                                                             ...)
{
    char line[512];
    va_list arguments;
    va_start(arguments, format);
    int size = vsnprintf(line, sizeof line, format, arguments);
    va_end(arguments);
    if (!page->status) {
        page->status = grv_buffer_append(page->text, grv_bytes_of(line, (size_t)size), page->error);
    }
}

static void page_head(metrics_page *page, const char *name, const char *type, const char *help)
{
    page_print(page, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

/* A metric that has one value. */
static void page_one(metrics_page *page, const char *name, const char *type, const char *help,
                     uint64_t value)
{
    page_head(page, name, type, help);
    page_print(page, "%s %" PRIu64 "\n", name, value);
}

/* A time in seconds, exactly. */
static void page_seconds(metrics_page *page, const char *name, const char *labels, uint64_t time_ns)
{
    page_print(page, "%s%s %" PRIu64 ".%09" PRIu64 "\n", name, labels, time_ns / 1000000000u,
               time_ns % 1000000000u);
}

/* ---- Requests ---- */

static void requests_codes(metrics_page *page, const char *label, const http_metrics_route *sums)
{
    for (unsigned k = 0; k < 500; k++) {
        if (sums->codes[k] > 0) {
            page_print(page, "graviton_http_requests_total{route=\"%s\",code=\"%u\"} %" PRIu64 "\n",
                       label, k + 100, sums->codes[k]);
        }
    }
}

static void requests_durations(metrics_page *page, const char *label,
                               const http_metrics_route *sums)
{
    char labels[128];
    uint64_t count = 0;
    for (unsigned k = 0; k < HTTP_METRICS_BOUNDS; k++) {
        count += sums->bounds[k];
        page_print(page,
                   "graviton_http_request_duration_seconds_bucket{route=\"%s\",le=\"%g\"} %" PRIu64
                   "\n",
                   label, (double)http_metrics_bounds_ns[k] / 1e9, count);
    }
    count += sums->bounds[HTTP_METRICS_BOUNDS];
    page_print(page,
               "graviton_http_request_duration_seconds_bucket{route=\"%s\",le=\"+Inf\"} %" PRIu64
               "\n",
               label, count);
    snprintf(labels, sizeof labels, "{route=\"%s\"}", label);
    page_seconds(page, "graviton_http_request_duration_seconds_sum", labels, sums->duration_ns);
    page_print(page, "graviton_http_request_duration_seconds_count%s %" PRIu64 "\n", labels, count);
}

static void requests_bytes(metrics_page *page, const char *label, const http_metrics_route *sums)
{
    page_print(page,
               "graviton_http_body_bytes_total{route=\"%s\",direction=\"in\"} %" PRIu64 "\n"
               "graviton_http_body_bytes_total{route=\"%s\",direction=\"out\"} %" PRIu64 "\n",
               label, sums->bytes_in, label, sums->bytes_out);
}

static bool is_used(const http_metrics_route *sums)
{
    for (unsigned k = 0; k <= HTTP_METRICS_BOUNDS; k++) {
        if (sums->bounds[k] > 0) {
            return true;
        }
    }
    return false;
}

/* One family after the other, as the format wants it: each is `print` over all routes in use. */
static void page_routes(metrics_page *page, const http_metrics *metrics,
                        void (*print)(metrics_page *, const char *, const http_metrics_route *))
{
    http_metrics_route *sums = malloc(sizeof *sums);
    if (!sums) {
        page->status = grv_error_set(page->error, GRV_LIMIT_EXCEEDED, "metrics",
                                     "no memory for a route's figures");
        return;
    }
    for (size_t row = 0; row < http_metrics_rows(metrics); row++) {
        http_metrics_sum(metrics, row, sums);
        if (is_used(sums)) {
            print(page, http_metrics_label(metrics, row), sums);
        }
    }
    free(sums);
}

static void page_requests(metrics_page *page, const http_metrics *metrics)
{
    page_head(page, "graviton_http_requests_total", "counter", "Requests answered.");
    page_routes(page, metrics, requests_codes);
    page_head(page, "graviton_http_request_duration_seconds", "histogram",
              "From a request's headers to the end of its answer.");
    page_routes(page, metrics, requests_durations);
    page_head(page, "graviton_http_body_bytes_total", "counter", "Bytes of bodies.");
    page_routes(page, metrics, requests_bytes);
}

/* ---- The server ---- */

static void page_server(metrics_page *page, http_server *server, const http_metrics_totals *totals)
{
    struct http_streams_figures turns;
    http_streams_figures(server->streams, &turns);
    page_head(page, "graviton_build_info", "gauge", "The program's version, in a label.");
    page_print(page, "graviton_build_info{version=\"%s\"} 1\n", GRV_VERSION);
    page_one(page, "graviton_http_connections", "gauge", "Connections that are open.",
             http_server_connections(server));
    page_one(page, "graviton_http_requests_in_flight", "gauge",
             "Requests whose answer is not complete.", totals->in_flight);
    page_head(page, "graviton_http_streams", "gauge", "Turns at the store's memory, held now.");
    page_print(page, "graviton_http_streams{kind=\"get\"} %u\n", turns.gets);
    page_print(page, "graviton_http_streams{kind=\"put\"} %u\n", turns.puts);
    page_one(page, "graviton_http_streams_limit", "gauge", "Turns that there are.", turns.limit);
    page_one(page, "graviton_http_streams_waiting", "gauge", "Requests that wait for a turn.",
             turns.waiting);
    page_one(page, "graviton_http_puts_paused", "gauge", "1 while puts wait for a collection.",
             turns.paused ? 1 : 0);
    page_one(page, "graviton_http_draining", "gauge", "1 while the server is stopping.",
             atomic_load(&server->is_draining) ? 1 : 0);
}

/* ---- The store ---- */

static void page_store(metrics_page *page, const http_metrics_totals *totals)
{
    page_head(page, "graviton_store_calls_total", "counter",
              "What requests came to at the store, by outcome.");
    for (unsigned k = 0; k < GRV_STATUS_COUNT; k++) {
        page_print(page, "graviton_store_calls_total{status=\"%s\"} %" PRIu64 "\n",
                   grv_status_name((grv_status)k), totals->store[k]);
    }
    page_one(page, "graviton_puts_total", "counter", "Blobs put.", totals->puts);
    page_one(page, "graviton_puts_already_stored_total", "counter",
             "Of those, blobs that were there.", totals->puts_already_stored);
    page_head(page, "graviton_put_bytes_total", "counter",
              "Bytes of the blobs put, by whether their blocks were there.");
    page_print(page, "graviton_put_bytes_total{kind=\"fresh\"} %" PRIu64 "\n",
               totals->put_bytes_fresh);
    page_print(page, "graviton_put_bytes_total{kind=\"duplicate\"} %" PRIu64 "\n",
               totals->put_bytes_duplicate);
    page_one(page, "graviton_put_stored_bytes_total", "counter",
             "What the fresh blocks take in the store.", totals->put_bytes_stored);
}

static void page_cache(metrics_page *page, http_server *server)
{
    grv_cache_figures figures;
    if (!grv_store_cache(server->store, &figures, NULL)) {
        return;
    }
    page_head(page, "graviton_cache_blocks_total", "counter",
              "Blocks read, by where they came from.");
    page_print(page, "graviton_cache_blocks_total{result=\"hit\"} %" PRIu64 "\n", figures.hits);
    page_print(page, "graviton_cache_blocks_total{result=\"miss\"} %" PRIu64 "\n", figures.misses);
    page_print(page, "graviton_cache_blocks_total{result=\"bypass\"} %" PRIu64 "\n",
               figures.bypassed);
    page_head(page, "graviton_cache_bytes_total", "counter",
              "Their bytes, and those written to and dropped from the cache.");
    page_print(page, "graviton_cache_bytes_total{result=\"hit\"} %" PRIu64 "\n", figures.hit_bytes);
    page_print(page, "graviton_cache_bytes_total{result=\"miss\"} %" PRIu64 "\n",
               figures.miss_bytes);
    page_print(page, "graviton_cache_bytes_total{result=\"kept\"} %" PRIu64 "\n",
               figures.kept_bytes);
    page_print(page, "graviton_cache_bytes_total{result=\"evicted\"} %" PRIu64 "\n",
               figures.evicted_bytes);
    page_one(page, "graviton_cache_corrupt_total", "counter",
             "Cached blocks that were wrong and read from below again.", figures.corrupt);
    page_one(page, "graviton_cache_failures_total", "counter",
             "Calls on the cache's files that failed.", figures.failures);
    page_one(page, "graviton_cache_disk_bytes", "gauge", "What the cache takes on its disk.",
             figures.disk_bytes);
    page_one(page, "graviton_cache_memory_bytes", "gauge", "What a cache in memory takes.",
             figures.memory_bytes);
    page_one(page, "graviton_cache_limit_bytes", "gauge", "What it may take.", figures.size_bytes);
}

/* ---- The jobs and the process ---- */

static void page_jobs(metrics_page *page, http_jobs *jobs)
{
    http_jobs_counts counts;
    http_jobs_figures(jobs, &counts);
    page_head(page, "graviton_jobs_total", "counter", "Jobs of maintenance that ended.");
    page_print(page, "graviton_jobs_total{state=\"done\"} %" PRIu64 "\n", counts.done);
    page_print(page, "graviton_jobs_total{state=\"failed\"} %" PRIu64 "\n", counts.failed);
    page_print(page, "graviton_jobs_total{state=\"cancelled\"} %" PRIu64 "\n", counts.cancelled);
    page_one(page, "graviton_jobs_running", "gauge", "1 while a job of maintenance runs.",
             counts.running);
    page_one(page, "graviton_jobs_findings_total", "counter",
             "Damage that scrubs and verifications told of.", counts.findings);
}

static void page_process(metrics_page *page, const http_server *server)
{
    http_process_figures figures;
    http_process_read(&figures);
    page_head(page, "process_start_time_seconds", "gauge",
              "When the server started, in seconds since 1970.");
    page_seconds(page, "process_start_time_seconds", "", server->started_ns);
    page_head(page, "process_cpu_seconds_total", "counter", "Processor time, user and system.");
    page_seconds(page, "process_cpu_seconds_total", "", figures.cpu_ns);
    if (figures.has_memory) {
        page_one(page, "process_resident_memory_bytes", "gauge", "Resident memory.",
                 figures.resident_bytes);
        page_one(page, "process_virtual_memory_bytes", "gauge", "Virtual memory.",
                 figures.virtual_bytes);
    }
    if (figures.has_fds) {
        page_one(page, "process_open_fds", "gauge", "Descriptors that are open.", figures.open_fds);
    }
    if (figures.max_fds > 0) {
        page_one(page, "process_max_fds", "gauge", "Descriptors that there may be.",
                 figures.max_fds);
    }
}

grv_status http_metrics_render(http_server *server, grv_buffer *ret_text, grv_error *error)
{
    metrics_page page = {.text = ret_text, .error = error};
    http_metrics_totals totals;
    http_metrics_total(server->metrics, &totals);
    page_requests(&page, server->metrics);
    page_server(&page, server, &totals);
    page_store(&page, &totals);
    page_cache(&page, server);
    page_jobs(&page, server->jobs);
    page_process(&page, server);
    return page.status;
}
