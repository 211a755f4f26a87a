/* SPDX-License-Identifier: Apache-2.0 */
#include "http/origin.h"

#include <stdbool.h>
#include <stddef.h>
#include <string.h>
#include <strings.h>

#define NAME_LOCAL "localhost"

/* Of "name:port" or "[address]:port" the part before the port. */
static size_t host_size(const char *host)
{
    return host[0] == '[' ? strcspn(host, "]") : strcspn(host, ":");
}

/* Addresses end with a number; public names never do (RFC 3696, 2). */
static bool is_harmless(const char *host)
{
    size_t size = host_size(host);
    size_t local = strlen(NAME_LOCAL);
    if (host[0] == '[' || !memchr(host, '.', size)) {
        return true;
    }
    if (size > local && host[size - local - 1] == '.' &&
        strncasecmp(host + size - local, NAME_LOCAL, local) == 0) {
        return true;
    }
    return strspn(host, "0123456789.") == size;
}

const char *http_origin_fault(const char *host, const char *site, const char *origin)
{
    if (host && !is_harmless(host)) {
        return "this server asks for no tokens, so it answers only under its address, "
               "\"localhost\" "
               "or a name without a dot; --tokens and --insecure change that";
    }
    if (site) {
        return strcasecmp(site, "same-origin") == 0 || strcasecmp(site, "none") == 0
                   ? NULL
                   : "a web page of another site asks, and this server asks for no tokens";
    }
    const char *authority = origin ? strstr(origin, "://") : NULL;
    if (origin && (!host || !authority || strcasecmp(authority + 3, host) != 0)) {
        return "a web page of another site asks, and this server asks for no tokens";
    }
    return NULL;
}
