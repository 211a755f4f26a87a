/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Routes are compared one after another, segment by segment: there are a few dozen, and most
 * differ in their number of segments. Paths are taken apart before they are decoded, so that an
 * escaped slash never becomes a border between segments.
 */
#include "http/router.h"

#include "http/fields.h"

#include <stdlib.h>
#include <string.h>

typedef struct router_entry {
    const http_route *route;
    size_t segment_count;
    const char *segments[HTTP_SEGMENTS_MAX]; /* into `pattern`; NULL: a parameter */
    char *pattern;
} router_entry;

struct http_router {
    size_t count;
    router_entry entries[];
};

/* ---- Making ---- */

static grv_status route_refuse(const http_route *route, const char *why, grv_error *error)
{
    return grv_error_set(error, GRV_INTERNAL, "router", "route %s %s: %s", route->method,
                         route->pattern ? route->pattern : "-", why);
}

static grv_status route_check(const http_route *route, grv_error *error)
{
    bool streams = route->body == HTTP_BODY_STREAM;
    if (!route->pattern || route->pattern[0] != '/' || !route->name) {
        return route_refuse(route, "it needs a name and a pattern that begins with /", error);
    }
    if (!route->run) {
        return route_refuse(route, "it has nothing to run", error);
    }
    if (streams && (!route->open || !route->is_stream)) {
        return route_refuse(route, "a body that streams needs a sink and a turn", error);
    }
    if (!streams && (route->begin || route->open || route->piece || route->expect)) {
        return route_refuse(route, "only a body that streams is looked at in pieces", error);
    }
    if (strcmp(route->method, "HEAD") == 0 || strcmp(route->method, "OPTIONS") == 0) {
        return route_refuse(route, "HEAD and OPTIONS are answered for it", error);
    }
    return GRV_OK;
}

static grv_status entry_split(router_entry *entry, grv_error *error)
{
    const http_route *route = entry->route;
    size_t params = 0;
    entry->pattern = strdup(route->pattern);
    if (!entry->pattern) {
        return grv_error_set(error, GRV_LIMIT_EXCEEDED, "router", "no memory for the routes");
    }
    char *at = entry->pattern;
    while (at) {
        *at++ = '\0';
        if (entry->segment_count == HTTP_SEGMENTS_MAX) {
            return route_refuse(route, "too many segments", error);
        }
        char *next = strchr(at, '/');
        size_t size = next ? (size_t)(next - at) : strlen(at);
        bool is_param = size == 2 && at[0] == '{' && at[1] == '}';
        params += is_param;
        if (size == 0 || params > HTTP_PARAMS_MAX) {
            return route_refuse(route, "an empty segment, or too many parameters", error);
        }
        entry->segments[entry->segment_count++] = is_param ? NULL : at;
        at = next;
    }
    return GRV_OK;
}

grv_status http_router_new(const http_route *const *fronts, http_router **ret_router,
                           grv_error *error)
{
    size_t count = 0;
    for (const http_route *const *front = fronts; *front; front++) {
        for (const http_route *route = *front; route->method; route++) {
            count++;
        }
    }
    http_router *router = calloc(1, sizeof *router + count * sizeof router->entries[0]);
    if (!router) {
        return grv_error_set(error, GRV_LIMIT_EXCEEDED, "router", "no memory for the routes");
    }
    grv_status status = GRV_OK;
    for (const http_route *const *front = fronts; !status && *front; front++) {
        for (const http_route *route = *front; !status && route->method; route++) {
            router_entry *entry = &router->entries[router->count++];
            entry->route = route;
            status = route_check(route, error);
            status = status ? status : entry_split(entry, error);
        }
    }
    if (status) {
        http_router_free(router);
        return status;
    }
    *ret_router = router;
    return GRV_OK;
}

void http_router_free(http_router *router)
{
    for (size_t i = 0; router && i < router->count; i++) {
        free(router->entries[i].pattern);
    }
    free(router);
}

size_t http_router_count(const http_router *router)
{
    return router->count;
}

const http_route *http_router_at(const http_router *router, size_t index)
{
    return router->entries[index].route;
}

/* ---- Paths ---- */

bool http_percent_decode(char *text, size_t size, size_t *ret_size)
{
    char *out = text;
    for (size_t i = 0; i < size; i++) {
        char byte = text[i];
        if (byte == '%') {
            int high = i + 2 < size ? http_hex_value(text[i + 1]) : -1;
            int low = i + 2 < size ? http_hex_value(text[i + 2]) : -1;
            if (high < 0 || low < 0) {
                return false;
            }
            byte = (char)(high << 4 | low);
            i += 2;
        }
        if (byte == '\0') {
            return false;
        }
        *out++ = byte;
    }
    *out = '\0';
    *ret_size = (size_t)(out - text);
    return true;
}

/* A segment that is sound on its own: decoded, not empty, neither "." nor "..", without "/". */
static bool segment_decode(char *segment, size_t size)
{
    size_t left = 0;
    if (!http_percent_decode(segment, size, &left) || left == 0 || memchr(segment, '/', left)) {
        return false;
    }
    return strcmp(segment, ".") != 0 && strcmp(segment, "..") != 0;
}

/* Takes a path apart. */
static http_found path_split(char *path, char *ret_segments[HTTP_SEGMENTS_MAX], size_t *ret_count)
{
    size_t count = 0;
    bool too_deep = false;
    if (*path != '/') {
        return HTTP_FOUND_BAD_PATH;
    }
    char *at = path;
    while (at) {
        at++;
        char *next = strchr(at, '/');
        size_t size = next ? (size_t)(next - at) : strlen(at);
        if (!segment_decode(at, size)) {
            return HTTP_FOUND_BAD_PATH;
        }
        too_deep = count == HTTP_SEGMENTS_MAX;
        if (!too_deep) {
            ret_segments[count++] = at;
        }
        at = next;
    }
    *ret_count = count;
    return too_deep ? HTTP_FOUND_TOO_DEEP : HTTP_FOUND;
}

static bool entry_matches(const router_entry *entry, char *const *segments, size_t count)
{
    if (entry->segment_count != count) {
        return false;
    }
    for (size_t i = 0; i < count; i++) {
        if (entry->segments[i] && strcmp(entry->segments[i], segments[i]) != 0) {
            return false;
        }
    }
    return true;
}

static void allow_add(char *allow, const char *method)
{
    size_t used = strlen(allow);
    size_t size = strlen(method);
    if (used + size + 3 <= HTTP_ALLOW_SIZE) {
        memcpy(allow + used, used > 0 ? ", " : "", used > 0 ? 3 : 1);
        memcpy(allow + strlen(allow), method, size + 1);
    }
}

/* The methods of a path that has none for the request. */
static http_found methods_allowed(const http_router *router, char *const *segments, size_t count,
                                  char ret_allow[HTTP_ALLOW_SIZE])
{
    bool is_known = false;
    ret_allow[0] = '\0';
    for (size_t i = 0; i < router->count; i++) {
        const router_entry *entry = &router->entries[i];
        if (!entry_matches(entry, segments, count)) {
            continue;
        }
        is_known = true;
        allow_add(ret_allow, entry->route->method);
        if (strcmp(entry->route->method, "GET") == 0) {
            allow_add(ret_allow, "HEAD");
        }
    }
    if (!is_known) {
        return HTTP_FOUND_NOTHING;
    }
    allow_add(ret_allow, "OPTIONS");
    return HTTP_FOUND_METHODS;
}

http_found http_router_find(const http_router *router, const char *method, char *path,
                            const http_route **ret_route, char *ret_params[HTTP_PARAMS_MAX],
                            char ret_allow[HTTP_ALLOW_SIZE])
{
    char *segments[HTTP_SEGMENTS_MAX];
    size_t count = 0;
    http_found found = path_split(path, segments, &count);
    if (found) {
        return found;
    }
    const char *wanted = strcmp(method, "HEAD") == 0 ? "GET" : method;
    const router_entry *match = NULL;
    for (size_t i = 0; i < router->count && !match; i++) {
        const router_entry *entry = &router->entries[i];
        if (entry_matches(entry, segments, count) && strcmp(entry->route->method, wanted) == 0) {
            match = entry;
        }
    }
    if (!match) {
        return methods_allowed(router, segments, count, ret_allow);
    }
    for (size_t i = 0, params = 0; i < count; i++) {
        if (!match->segments[i]) {
            ret_params[params++] = segments[i];
        }
    }
    *ret_route = match->route;
    return HTTP_FOUND;
}
