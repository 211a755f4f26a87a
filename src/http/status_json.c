/* SPDX-License-Identifier: Apache-2.0 */
/* Statistics as JSON: of the store as it was counted last, and of the server now. */
#include "http/jobs.h"
#include "http/metrics.h"
#include "http/process.h"
#include "http/status.h"
#include "http/streams.h"
#include "http/text.h"

typedef struct status_figure {
    const char *name;
    uint64_t value;
} status_figure;

/* An object of figures; NULL without memory. */
static json_t *figures_json(const status_figure figures[], size_t count)
{
    json_t *object = json_object();
    bool whole = object != NULL;
    for (size_t i = 0; i < count && whole; i++) {
        whole = http_json_set(object, figures[i].name, http_json_number(figures[i].value));
    }
    if (!whole) {
        json_decref(object);
        return NULL;
    }
    return object;
}

#define FIGURES_JSON(figures) figures_json(figures, sizeof(figures) / sizeof(figures)[0])

static json_t *ratio_json(uint64_t above, uint64_t below)
{
    return below == 0 ? json_null() : json_real((double)above / (double)below);
}

/* The figures of `graviton stats --json`. */
static json_t *stats_json(const grv_store_stats *stats)
{
    const status_figure figures[] = {
        {"blobs", stats->blobs},
        {"logical_bytes", stats->logical_bytes},
        {"references", stats->references},
        {"blocks", stats->blocks},
        {"unique_bytes", stats->unique_bytes},
        {"stored_bytes", stats->stored_bytes},
        {"unreferenced_blocks", stats->unreferenced_blocks},
        {"unreferenced_bytes", stats->unreferenced_bytes},
        {"missing_blocks", stats->missing_blocks},
    };
    json_t *object = FIGURES_JSON(figures);
    bool whole = object &&
                 http_json_set(object, "dedup_ratio",
                               ratio_json(stats->logical_bytes, stats->unique_bytes)) &&
                 http_json_set(object, "compression_ratio",
                               ratio_json(stats->unique_bytes, stats->stored_bytes));
    if (!whole) {
        json_decref(object);
        return NULL;
    }
    return object;
}

bool http_status_store(json_t *object, const http_count *count)
{
    bool known = count->is_known;
    return http_json_set(object, "store", known ? stats_json(&count->stats) : json_null()) &&
           http_json_set(object, "counted", http_json_time(known ? count->counted_ns : 0)) &&
           http_json_set(object, "age_seconds",
                         known ? json_real((double)count->age_ns / 1e9) : json_null()) &&
           http_json_set(object, "counting", json_boolean(count->is_running));
}

/* ---- The server ---- */

static json_t *requests_json(http_server *server, const http_metrics_totals *totals)
{
    const status_figure figures[] = {
        {"answered", totals->requests},
        {"client_errors", totals->client_errors},
        {"server_errors", totals->server_errors},
        {"in_flight", totals->in_flight},
        {"connections", http_server_connections(server)},
        {"bytes_in", totals->bytes_in},
        {"bytes_out", totals->bytes_out},
    };
    return FIGURES_JSON(figures);
}

static json_t *puts_json(const http_metrics_totals *totals)
{
    const status_figure figures[] = {
        {"blobs", totals->puts},
        {"already_stored", totals->puts_already_stored},
        {"fresh_bytes", totals->put_bytes_fresh},
        {"duplicate_bytes", totals->put_bytes_duplicate},
        {"stored_bytes", totals->put_bytes_stored},
    };
    return FIGURES_JSON(figures);
}

static json_t *outcomes_json(const http_metrics_totals *totals)
{
    status_figure figures[GRV_STATUS_COUNT];
    for (unsigned k = 0; k < GRV_STATUS_COUNT; k++) {
        figures[k] = (status_figure){grv_status_name((grv_status)k), totals->store[k]};
    }
    return FIGURES_JSON(figures);
}

static json_t *streams_json(http_server *server)
{
    struct http_streams_figures turns;
    http_streams_figures(server->streams, &turns);
    return json_pack("{s:i,s:i,s:i,s:i,s:b}", "gets", (int)turns.gets, "puts", (int)turns.puts, //
                     "waiting", (int)turns.waiting, "limit", (int)turns.limit,                  //
                     "puts_paused", turns.paused);
}

static json_t *process_json(void)
{
    http_process_figures figures;
    http_process_read(&figures);
    json_t *object = json_object();
    bool whole =
        http_json_set(object, "resident_bytes",
                      figures.has_memory ? http_json_number(figures.resident_bytes)
                                         : json_null()) &&
        http_json_set(object, "open_fds",
                      figures.has_fds ? http_json_number(figures.open_fds) : json_null()) &&
        http_json_set(object, "cpu_seconds", json_real((double)figures.cpu_ns / 1e9));
    if (!whole) {
        json_decref(object);
        return NULL;
    }
    return object;
}

/* null where there is no cache. */
static json_t *cache_json(http_server *server)
{
    grv_cache_figures cache;
    if (!grv_store_cache(server->store, &cache, NULL)) {
        return json_null();
    }
    const status_figure figures[] = {
        {"hits", cache.hits},
        {"hit_bytes", cache.hit_bytes},
        {"misses", cache.misses},
        {"miss_bytes", cache.miss_bytes},
        {"bypassed", cache.bypassed},
        {"kept_bytes", cache.kept_bytes},
        {"evicted_bytes", cache.evicted_bytes},
        {"corrupt", cache.corrupt},
        {"failures", cache.failures},
        {"disk_bytes", cache.disk_bytes},
        {"memory_bytes", cache.memory_bytes},
        {"size_bytes", cache.size_bytes},
    };
    return FIGURES_JSON(figures);
}

static json_t *jobs_json(http_server *server)
{
    http_jobs_counts counts;
    http_jobs_figures(server->jobs, &counts);
    const status_figure figures[] = {
        {"running", counts.running},     {"done", counts.done},         {"failed", counts.failed},
        {"cancelled", counts.cancelled}, {"findings", counts.findings},
    };
    return FIGURES_JSON(figures);
}

bool http_status_server(json_t *object, http_server *server)
{
    http_metrics_totals totals;
    http_metrics_total(server->metrics, &totals);
    return http_json_set(object, "version", json_string(GRV_VERSION)) &&
           http_json_set(object, "started", http_json_time(server->started_ns)) &&
           http_json_set(object, "draining", json_boolean(atomic_load(&server->is_draining))) &&
           http_json_set(object, "requests", requests_json(server, &totals)) &&
           http_json_set(object, "puts", puts_json(&totals)) &&
           http_json_set(object, "outcomes", outcomes_json(&totals)) &&
           http_json_set(object, "streams", streams_json(server)) &&
           http_json_set(object, "cache", cache_json(server)) &&
           http_json_set(object, "jobs", jobs_json(server)) &&
           http_json_set(object, "process", process_json());
}
