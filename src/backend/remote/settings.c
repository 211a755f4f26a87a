/* SPDX-License-Identifier: Apache-2.0 */
/* Where the server is and as whom we come. All of it ends up in URLs and headers, so what could
 * change their form is refused here; a message never repeats what may be a secret. */
#include "backend/remote/client.h"

#include <ctype.h>
#include <openssl/crypto.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define HOST_MAX   253u
#define PREFIX_MAX 1024u
#define TOKEN_MAX  4096u

/* What was said, else the variable; NULL where neither is. Words that are empty mean "none". */
static const char *choose(const char *said, const char *variable)
{
    const char *value = said ? said : getenv(variable);
    return value && *value ? value : NULL;
}

static grv_status keep(const char *text, char **ret_text, grv_error *error)
{
    *ret_text = strdup(text);
    return *ret_text ? GRV_OK
                     : grv_error_set(error, GRV_LIMIT_EXCEEDED, GRV_REMOTE_ORIGIN,
                                     "no memory for a server's address");
}

static grv_status bad_url(const char *why, grv_error *error)
{
    return grv_error_set(error, GRV_INVALID_ARGUMENT, GRV_REMOTE_ORIGIN,
                         "the server's address is not http[s]://HOST[:PORT][/PREFIX]: %s", why);
}

static bool is_host(const char *host, size_t size)
{
    bool address = host[0] == '[';
    if (size == 0 || size > HOST_MAX || (address && (size < 4 || host[size - 1] != ']'))) {
        return false;
    }
    for (size_t i = address; i < size - address; i++) {
        unsigned char c = (unsigned char)host[i];
        bool fits = address ? isxdigit(c) || c == ':' || c == '.'
                            : isalnum(c) || c == '-' || c == '.' || c == '_';
        if (!fits) {
            return false;
        }
    }
    return true;
}

/* 1 to 65535, and nothing else before `end`. */
static bool is_port(const char *text, const char *end)
{
    unsigned port = 0;
    if (text == end || end - text > 5) {
        return false;
    }
    for (; text < end; text++) {
        if (*text < '0' || *text > '9') {
            return false;
        }
        port = port * 10 + (unsigned)(*text - '0');
    }
    return port > 0 && port <= 65535;
}

/* Characters that a path may have as it is, and percent signs with their digits. */
static bool is_prefix(const char *text)
{
    static const char plain[] = "-._~!$&'()*+,;=:@/";
    for (; *text; text++) {
        if (*text == '%') {
            if (!isxdigit((unsigned char)text[1]) || !isxdigit((unsigned char)text[2])) {
                return false;
            }
        } else if (!isalnum((unsigned char)*text) && !strchr(plain, *text)) {
            return false;
        }
    }
    return true;
}

/* Whether what is sent there stays on this machine. */
static bool is_loopback(const char *host, size_t size)
{
    static const char name[] = "localhost";
    static const char ipv6[] = "[::1]";
    return (size == sizeof name - 1 && strncasecmp(host, name, size) == 0) ||
           (size == sizeof ipv6 - 1 && memcmp(host, ipv6, size) == 0) ||
           (size > 4 && memcmp(host, "127.", 4) == 0 && strspn(host, "0123456789.") >= size);
}

static grv_status set_where(grv_remote_settings *settings, const char *url, grv_error *error)
{
    const char *host = NULL;
    if (url && strncasecmp(url, "https://", 8) == 0) {
        settings->tls = true;
        host = url + 8;
    } else if (url && strncasecmp(url, "http://", 7) == 0) {
        host = url + 7;
    } else {
        return bad_url("it does not begin with http:// or https://", error);
    }
    if (strchr(host, '@')) {
        return bad_url("credentials are not part of it; a token is named by --token-file or "
                       "GRAVITON_TOKEN",
                       error);
    }
    size_t authority = strcspn(host, "/?#");
    const char *prefix = host + authority;
    const char *bracket = host[0] == '[' ? memchr(host, ']', authority) : host;
    const char *from = bracket ? bracket : host;
    const char *colon = memchr(from, ':', authority - (size_t)(from - host));
    size_t host_size = colon ? (size_t)(colon - host) : authority;
    if (!is_host(host, host_size)) {
        return bad_url("the host has a form that no host has", error);
    }
    if (colon && !is_port(colon + 1, host + authority)) {
        return bad_url("the port is no number from 1 to 65535", error);
    }
    if (strlen(prefix) > PREFIX_MAX || !is_prefix(prefix)) {
        return bad_url("after the host only a path may come", error);
    }
    settings->is_local = is_loopback(host, host_size);
    grv_status status = keep(url, &settings->where, error);
    if (status) {
        return status;
    }
    size_t size = strlen(settings->where);
    while (settings->where[size - 1] == '/') { /* as people end the names of folders */
        settings->where[--size] = '\0';
    }
    return GRV_OK;
}

static grv_status set_token(grv_remote_settings *settings, const char *token, grv_error *error)
{
    if (!token) {
        return GRV_OK;
    }
    size_t size = strlen(token);
    for (size_t i = 0; i < size; i++) {
        if (token[i] <= ' ' || token[i] > '~') {
            return grv_error_set(error, GRV_INVALID_ARGUMENT, GRV_REMOTE_ORIGIN,
                                 "the token has characters that no token has");
        }
    }
    if (size > TOKEN_MAX) {
        return grv_error_set(error, GRV_INVALID_ARGUMENT, GRV_REMOTE_ORIGIN,
                             "the token is longer than any token is");
    }
    return keep(token, &settings->token, error);
}

grv_status grv_remote_settings_init(grv_remote_settings *settings, const grv_remote_config *config,
                                    grv_error *error)
{
    *settings = (grv_remote_settings){.read_only = config->read_only};
    settings->patience_ns = config->patience_ns ? config->patience_ns : GRV_REMOTE_PATIENCE_DEFAULT;
    grv_status status = set_where(settings, config->url, error);
    if (!status) {
        status = set_token(settings, choose(config->token, "GRAVITON_TOKEN"), error);
    }
    const char *bundle = choose(config->ca_bundle, "GRAVITON_CA_BUNDLE");
    if (!status && bundle) {
        status = keep(bundle, &settings->ca_bundle, error);
    }
    if (status) {
        grv_remote_settings_done(settings);
    }
    return status;
}

void grv_remote_settings_done(grv_remote_settings *settings)
{
    if (settings->token) {
        OPENSSL_cleanse(settings->token, strlen(settings->token));
    }
    free(settings->token);
    free(settings->where);
    free(settings->ca_bundle);
    *settings = (grv_remote_settings){0};
}
