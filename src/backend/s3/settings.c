/* SPDX-License-Identifier: Apache-2.0 */
/* Where the service is and as whom we come: from a configuration, else the environment. All of it
 * ends up in URLs and headers, so what could change their form is refused here. */
#include "backend/s3/client.h"

#include <ctype.h>
#include <openssl/crypto.h>
#include <stdlib.h>
#include <string.h>

#define REGION_DEFAULT "us-east-1"
#define HOST_MAX       253u
#define NAME_MAX_BYTES 256u
#define TOKEN_MAX      8192u

/* What was said, else the first of the variables that is set; NULL where none is. */
static const char *choose(const char *said, const char *first, const char *second)
{
    if (said && *said) {
        return said;
    }
    const char *names[] = {first, second};
    for (size_t i = 0; i < 2; i++) {
        const char *value = names[i] ? getenv(names[i]) : NULL;
        if (value && *value) {
            return value;
        }
    }
    return NULL;
}

static grv_status keep(const char *text, size_t size, char **ret_text, grv_error *error)
{
    *ret_text = strndup(text, size);
    return *ret_text ? GRV_OK : grv_error_set(error, GRV_LIMIT_EXCEEDED, "s3", "no memory");
}

/* Printable, without spaces, and short enough for a header. */
static bool is_word(const char *text, size_t max)
{
    size_t size = strlen(text);
    for (size_t i = 0; i < size; i++) {
        if (text[i] <= ' ' || text[i] > '~') {
            return false;
        }
    }
    return size > 0 && size <= max;
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

/* Decimal, 1 to 65535. */
static bool port_parse(const char *text, unsigned *ret_port)
{
    uint64_t port;
    if (!grv_s3_number_parse(text, &port) || port == 0 || port > 65535) {
        return false;
    }
    *ret_port = (unsigned)port;
    return true;
}

static grv_status endpoint_bad(const char *why, grv_error *error)
{
    return grv_error_set(error, GRV_INVALID_ARGUMENT, "s3",
                         "the endpoint is not http[s]://HOST[:PORT]: %s", why);
}

/* Splits an endpoint; the message never repeats it, since people put secrets before an "@". */
static grv_status set_endpoint(grv_s3_settings *settings, const char *endpoint, grv_error *error)
{
    const char *host;
    if (strncasecmp(endpoint, "https://", 8) == 0) {
        settings->tls = true;
        host = endpoint + 8;
    } else if (strncasecmp(endpoint, "http://", 7) == 0) {
        host = endpoint + 7;
    } else {
        return endpoint_bad("it does not begin with http:// or https://", error);
    }
    if (strchr(host, '@')) {
        return endpoint_bad("credentials are not part of it", error);
    }
    size_t size = strlen(host);
    size -= size > 0 && host[size - 1] == '/';
    if (memchr(host, '/', size) || memchr(host, '?', size) || memchr(host, '#', size)) {
        return endpoint_bad("a path is not part of it", error);
    }
    char text[HOST_MAX + 16] = "";
    if (size >= sizeof text) {
        return endpoint_bad("the host is too long", error);
    }
    for (size_t i = 0; i < size; i++) {
        text[i] = (char)tolower((unsigned char)host[i]);
    }
    text[size] = '\0';
    char *end = text[0] == '[' ? strchr(text, ']') : text;
    char *colon = end ? strchr(end, ':') : NULL;
    size_t host_size = colon ? (size_t)(colon - text) : size;
    unsigned port = settings->tls ? 443 : 80;
    if (!is_host(text, host_size)) {
        return endpoint_bad("the host has a form that no host has", error);
    }
    if (colon && !port_parse(colon + 1, &port)) {
        return endpoint_bad("the port is no number from 1 to 65535", error);
    }
    settings->is_name = text[0] != '[' && strspn(text, "0123456789.") != host_size;
    char place[HOST_MAX + 32];
    int scheme_size = settings->tls ? 8 : 7;
    snprintf(place, sizeof place, "%s%.*s", settings->tls ? "https://" : "http://", (int)host_size,
             text);
    if (port != (settings->tls ? 443u : 80u)) {
        size_t used = strlen(place);
        snprintf(place + used, sizeof place - used, ":%u", port);
    }
    grv_status status = keep(place, strlen(place), &settings->where, error);
    return status ? status
                  : keep(place + scheme_size, strlen(place + scheme_size), &settings->authority,
                         error);
}

static grv_status set_place(grv_s3_settings *settings, const grv_s3_config *config,
                            grv_error *error)
{
    const char *region = choose(config->region, "AWS_REGION", "AWS_DEFAULT_REGION");
    region = region ? region : REGION_DEFAULT;
    if (strlen(region) > 63 ||
        strspn(region, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_") !=
            strlen(region)) {
        return grv_error_set(error, GRV_INVALID_ARGUMENT, "s3",
                             "the region is not a short name of letters, digits, \"-\" and \"_\"");
    }
    const char *endpoint = choose(config->endpoint, "AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL");
    char aws[128];
    if (!endpoint) {
        snprintf(aws, sizeof aws, "https://s3.%s.amazonaws.com%s", region,
                 strncmp(region, "cn-", 3) == 0 ? ".cn" : "");
    }
    settings->style = config->style;
    if (settings->style == GRV_S3_STYLE_AUTO) {
        settings->style = endpoint ? GRV_S3_STYLE_PATH : GRV_S3_STYLE_VIRTUAL;
    }
    grv_status status = keep(region, 64, &settings->region, error);
    if (!status) {
        status = set_endpoint(settings, endpoint ? endpoint : aws, error);
    }
    if (!status && settings->style == GRV_S3_STYLE_VIRTUAL && !settings->is_name) {
        status = grv_error_set(error, GRV_INVALID_ARGUMENT, "s3",
                               "a bucket cannot stand before the address %s: use style=path",
                               settings->authority);
    }
    return status;
}

static grv_status set_credentials(grv_s3_settings *settings, const grv_s3_config *config,
                                  grv_error *error)
{
    bool own_id = config->key_id && *config->key_id;
    const char *key_id = choose(config->key_id, "AWS_ACCESS_KEY_ID", NULL);
    const char *secret = choose(config->secret, "AWS_SECRET_ACCESS_KEY", NULL);
    const char *token = choose(config->token, own_id ? NULL : "AWS_SESSION_TOKEN", NULL);
    if (!key_id || !secret) {
        return grv_error_set(error, GRV_PERMISSION, "s3",
                             "there are no credentials for S3: set AWS_ACCESS_KEY_ID and "
                             "AWS_SECRET_ACCESS_KEY");
    }
    if (!is_word(key_id, NAME_MAX_BYTES) || strpbrk(key_id, "/,;=")) {
        return grv_error_set(error, GRV_INVALID_ARGUMENT, "s3",
                             "the access key id has characters that no key id has");
    }
    if (strlen(secret) > NAME_MAX_BYTES || strpbrk(secret, "\r\n")) {
        return grv_error_set(error, GRV_INVALID_ARGUMENT, "s3",
                             "the secret access key is too long or has a line end in it");
    }
    if (token && !is_word(token, TOKEN_MAX)) {
        return grv_error_set(error, GRV_INVALID_ARGUMENT, "s3",
                             "the session token is too long or has spaces or line ends in it");
    }
    grv_status status = keep(key_id, NAME_MAX_BYTES, &settings->key_id, error);
    if (!status) {
        status = keep(secret, NAME_MAX_BYTES, &settings->secret, error);
    }
    if (!status && token) {
        status = keep(token, TOKEN_MAX, &settings->token, error);
    }
    return status;
}

static grv_status set_rest(grv_s3_settings *settings, const grv_s3_config *config, grv_error *error)
{
    if (config->connections > GRV_S3_CONNECTIONS_MAX) {
        return grv_error_set(error, GRV_INVALID_ARGUMENT, "s3",
                             "%u connections are too many: at most %u", config->connections,
                             GRV_S3_CONNECTIONS_MAX);
    }
    settings->connections = config->connections ? config->connections : GRV_S3_CONNECTIONS_DEFAULT;
    settings->patience_ns = config->patience_ns ? config->patience_ns : GRV_S3_PATIENCE_DEFAULT;
    const char *bundle = choose(config->ca_bundle, "AWS_CA_BUNDLE", NULL);
    return bundle ? keep(bundle, strlen(bundle), &settings->ca_bundle, error) : GRV_OK;
}

grv_status grv_s3_settings_init(grv_s3_settings *settings, const grv_s3_config *config,
                                grv_error *error)
{
    static const grv_s3_config nothing;
    config = config ? config : &nothing;
    *settings = (grv_s3_settings){0};
    if ((unsigned)config->style > GRV_S3_STYLE_VIRTUAL) {
        return grv_error_set(error, GRV_INVALID_ARGUMENT, "s3", "unknown style %u",
                             (unsigned)config->style);
    }
    grv_status status = set_place(settings, config, error);
    if (!status) {
        status = set_credentials(settings, config, error);
    }
    if (!status) {
        status = set_rest(settings, config, error);
    }
    if (status) {
        grv_s3_settings_done(settings);
    }
    return status;
}

static void wipe(char *text)
{
    if (text) {
        OPENSSL_cleanse(text, strlen(text));
        free(text);
    }
}

void grv_s3_settings_done(grv_s3_settings *settings)
{
    wipe(settings->secret);
    wipe(settings->token);
    free(settings->where);
    free(settings->authority);
    free(settings->region);
    free(settings->key_id);
    free(settings->ca_bundle);
    *settings = (grv_s3_settings){0};
}

bool grv_s3_is_virtual(const grv_s3_settings *settings, const char *bucket)
{
    if (settings->style != GRV_S3_STYLE_VIRTUAL || !settings->is_name) {
        return false;
    }
    size_t size = strlen(bucket);
    size_t plain = strspn(bucket, "abcdefghijklmnopqrstuvwxyz0123456789-.");
    return size >= 3 && size <= 63 && plain == size && !(settings->tls && strchr(bucket, '.'));
}
