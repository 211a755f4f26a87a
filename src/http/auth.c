/* SPDX-License-Identifier: Apache-2.0 */
/* Bearer tokens: the file of their hashes, the check of a request, and making new ones. */
#include "http/auth.h"
#include "http/fields.h"
#include "os/file.h"
#include "os/random.h"

#include <assert.h>
#include <graviton/digest.h>
#include <openssl/crypto.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define AUTH_HASH_SIZE 32u
#define AUTH_TOKEN_MAX 512u /* bytes of one that a client sends */

static const struct {
    const char *name;
    http_scope scope;
} auth_scopes[] = {
    {"read", HTTP_SCOPE_READ},
    {"write", HTTP_SCOPE_WRITE},
    {"delete", HTTP_SCOPE_DELETE},
    {"admin", HTTP_SCOPE_ADMIN},
};

#define AUTH_SCOPES (sizeof auth_scopes / sizeof *auth_scopes)

typedef struct auth_entry {
    uint8_t hash[AUTH_HASH_SIZE];
    unsigned scopes;
    char *name;
} auth_entry;

/* Names are handed out to requests that outlive a reload, so they are kept, each once. */
typedef struct auth_name {
    struct auth_name *next;
    char text[HTTP_AUTH_NAME_MAX + 1];
} auth_name;

struct http_auth {
    pthread_rwlock_t lock; /* over what follows; written by a reload alone */
    auth_entry *entries;
    size_t count;
    auth_name *names;
};

/* ---- The file ---- */

static bool name_is_good(grv_bytes name)
{
    if (name.size == 0 || name.size > HTTP_AUTH_NAME_MAX) {
        return false;
    }
    for (size_t i = 0; i < name.size; i++) {
        uint8_t c = name.data[i];
        bool good = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                    c == '.' || c == '_' || c == '-';
        if (!good) {
            return false;
        }
    }
    return true;
}

static unsigned scope_find(grv_bytes word)
{
    for (size_t i = 0; i < AUTH_SCOPES; i++) {
        if (strlen(auth_scopes[i].name) == word.size &&
            memcmp(auth_scopes[i].name, word.data, word.size) == 0) {
            return auth_scopes[i].scope;
        }
    }
    return 0;
}

/* The bytes up to `separator` or the end; moves `rest` past both. */
static grv_bytes text_cut(grv_bytes *rest, char separator)
{
    const uint8_t *end = rest->size > 0 ? memchr(rest->data, separator, rest->size) : NULL;
    size_t size = end ? (size_t)(end - rest->data) : rest->size;
    grv_bytes piece = {rest->data, size};
    size_t skipped = end ? size + 1 : size;
    *rest = (grv_bytes){rest->data + skipped, rest->size - skipped};
    return piece;
}

grv_status http_scopes_parse(grv_bytes text, unsigned *ret_scopes, grv_error *error)
{
    unsigned scopes = 0;
    bool good = text.size > 0 && text.data[text.size - 1] != ',';
    while (good && text.size > 0) {
        unsigned scope = scope_find(text_cut(&text, ','));
        good = scope != 0;
        scopes |= scope;
    }
    if (!good) {
        return grv_error_set(error, GRV_INVALID_ARGUMENT, "auth",
                             "scopes are one or more of read, write, delete and admin, with commas "
                             "between them");
    }
    *ret_scopes = scopes;
    return GRV_OK;
}

static bool hash_parse(grv_bytes text, uint8_t ret_hash[AUTH_HASH_SIZE])
{
    static const char lead[] = "sha256:";
    const size_t lead_size = sizeof lead - 1;
    if (text.size != lead_size + 2 * AUTH_HASH_SIZE || memcmp(text.data, lead, lead_size) != 0) {
        return false;
    }
    for (size_t i = 0; i < AUTH_HASH_SIZE; i++) {
        int high = http_hex_value((char)text.data[lead_size + 2 * i]);
        int low = http_hex_value((char)text.data[lead_size + 2 * i + 1]);
        if (high < 0 || low < 0) {
            return false;
        }
        ret_hash[i] = (uint8_t)(high << 4 | low);
    }
    return true;
}

static bool is_blank(uint8_t c)
{
    return c == ' ' || c == '\t' || c == '\r';
}

/* The next word of a line, empty at its end. */
static grv_bytes word_next(grv_bytes *line)
{
    size_t begin = 0;
    while (begin < line->size && is_blank(line->data[begin])) {
        begin++;
    }
    size_t end = begin;
    while (end < line->size && !is_blank(line->data[end])) {
        end++;
    }
    grv_bytes word = {line->data + begin, end - begin};
    *line = (grv_bytes){line->data + end, line->size - end};
    return word;
}

/* What is wrong with a line, NULL where nothing is; `entry` is filled but for its name. */
static const char *line_parse(grv_bytes line, auth_entry *entry, grv_bytes *ret_name)
{
    grv_bytes name = word_next(&line);
    grv_bytes scopes = word_next(&line);
    grv_bytes hash = word_next(&line);
    if (!name_is_good(name)) {
        return "a name is 1 to 64 of A-Z a-z 0-9 . _ -";
    }
    if (http_scopes_parse(scopes, &entry->scopes, NULL)) {
        return "scopes are one or more of read, write, delete and admin, with commas between them";
    }
    if (!hash_parse(hash, entry->hash)) {
        return "a hash is sha256: and 64 hex digits";
    }
    if (word_next(&line).size > 0) {
        return "there is something after the hash";
    }
    *ret_name = name;
    return NULL;
}

/* The kept name of that text, made where there is none; NULL without memory. */
static char *name_intern(http_auth *auth, grv_bytes text)
{
    for (auth_name *name = auth->names; name; name = name->next) {
        if (strlen(name->text) == text.size && memcmp(name->text, text.data, text.size) == 0) {
            return name->text;
        }
    }
    auth_name *name = calloc(1, sizeof *name);
    if (!name) {
        return NULL;
    }
    memcpy(name->text, text.data, text.size);
    name->next = auth->names;
    auth->names = name;
    return name->text;
}

static grv_status entry_add(http_auth *auth, const auth_entry *entry, grv_bytes name,
                            grv_error *error)
{
    if (auth->count == HTTP_AUTH_TOKENS_MAX) {
        return grv_error_set(error, GRV_LIMIT_EXCEEDED, "auth", "there are more than %u tokens",
                             HTTP_AUTH_TOKENS_MAX);
    }
    for (size_t i = 0; i < auth->count; i++) {
        if (memcmp(auth->entries[i].hash, entry->hash, AUTH_HASH_SIZE) == 0) {
            return grv_error_set(error, GRV_INVALID_ARGUMENT, "auth",
                                 "this token is in the file already");
        }
    }
    auth_entry *added = &auth->entries[auth->count];
    *added = *entry;
    added->name = name_intern(auth, name);
    if (!added->name) {
        return grv_error_set(error, GRV_LIMIT_EXCEEDED, "auth", "no memory for a token's name");
    }
    auth->count++;
    return GRV_OK;
}

static grv_status auth_fill(http_auth *auth, grv_bytes text, const char *what, grv_error *error)
{
    for (unsigned number = 1; text.size > 0; number++) {
        grv_bytes line = text_cut(&text, '\n');
        grv_bytes rest = line;
        grv_bytes first = word_next(&rest);
        if (first.size == 0 || first.data[0] == '#') {
            continue;
        }
        auth_entry entry = {0};
        grv_bytes name;
        const char *wrong = line_parse(line, &entry, &name);
        if (wrong) {
            return grv_error_set(error, GRV_INVALID_ARGUMENT, "auth", "%s, line %u: %s", what,
                                 number, wrong);
        }
        grv_status status = entry_add(auth, &entry, name, error);
        if (status) {
            grv_error_prefix(error, "%s, line %u", what, number);
            return status;
        }
    }
    return GRV_OK;
}

grv_status http_auth_parse(grv_bytes text, const char *what, http_auth **ret_auth, grv_error *error)
{
    http_auth *auth = calloc(1, sizeof *auth);
    auth_entry *entries = calloc(HTTP_AUTH_TOKENS_MAX, sizeof *entries);
    if (!auth || !entries) {
        free(auth);
        free(entries);
        return grv_error_set(error, GRV_LIMIT_EXCEEDED, "auth", "no memory for tokens");
    }
    pthread_rwlock_init(&auth->lock, NULL);
    auth->entries = entries;
    grv_status status = auth_fill(auth, text, what, error);
    if (status) {
        http_auth_free(auth);
        return status;
    }
    *ret_auth = auth;
    return GRV_OK;
}

grv_status http_auth_load(const char *path, http_auth **ret_auth, grv_error *error)
{
    grv_buffer text;
    grv_buffer_init(&text, HTTP_AUTH_FILE_MAX);
    grv_status status = grv_file_read_small(AT_FDCWD, path, HTTP_AUTH_FILE_MAX, &text, error);
    if (status) {
        grv_error_prefix(error, "cannot read the tokens");
    } else {
        status = http_auth_parse(grv_buffer_bytes(&text), path, ret_auth, error);
    }
    grv_buffer_done(&text);
    return status;
}

/* Puts names of `fresh` beside those of `auth`: both lists are small, and reloads are rare. */
static grv_status names_take_over(http_auth *auth, http_auth *fresh, grv_error *error)
{
    for (size_t i = 0; i < fresh->count; i++) {
        const char *text = fresh->entries[i].name;
        assert(text);
        fresh->entries[i].name = name_intern(auth, grv_bytes_of(text, strlen(text)));
        if (!fresh->entries[i].name) {
            return grv_error_set(error, GRV_LIMIT_EXCEEDED, "auth", "no memory for a token's name");
        }
    }
    return GRV_OK;
}

grv_status http_auth_reload(http_auth *auth, const char *path, grv_error *error)
{
    http_auth *fresh = NULL;
    grv_status status = http_auth_load(path, &fresh, error);
    if (status) {
        return status;
    }
    assert(fresh);
    pthread_rwlock_wrlock(&auth->lock);
    status = names_take_over(auth, fresh, error);
    if (!status) {
        auth_entry *entries = auth->entries;
        auth->entries = fresh->entries;
        auth->count = fresh->count;
        fresh->entries = entries;
    }
    pthread_rwlock_unlock(&auth->lock);
    http_auth_free(fresh);
    return status;
}

size_t http_auth_count(http_auth *auth)
{
    pthread_rwlock_rdlock(&auth->lock);
    size_t count = auth->count;
    pthread_rwlock_unlock(&auth->lock);
    return count;
}

void http_auth_free(http_auth *auth)
{
    if (!auth) {
        return;
    }
    while (auth->names) {
        auth_name *name = auth->names;
        auth->names = name->next;
        free(name);
    }
    free(auth->entries);
    pthread_rwlock_destroy(&auth->lock);
    free(auth);
}

/* ---- Checking ---- */

/* The token of "Bearer TOKEN"; false where the value is something else. */
static bool bearer_parse(const char *authorization, grv_bytes *ret_token)
{
    static const char scheme[] = "bearer";
    const size_t scheme_size = sizeof scheme - 1;
    if (strncasecmp(authorization, scheme, scheme_size) != 0 || authorization[scheme_size] != ' ') {
        return false;
    }
    const char *token = authorization + scheme_size;
    token += strspn(token, " ");
    size_t size = strcspn(token, " \t");
    if (size == 0 || size > AUTH_TOKEN_MAX || token[size + strspn(token + size, " \t")] != '\0') {
        return false;
    }
    *ret_token = grv_bytes_of(token, size);
    return true;
}

/* Compares with every entry, whichever it is, so that time tells nothing. */
static const auth_entry *entry_find(const http_auth *auth, const uint8_t hash[AUTH_HASH_SIZE])
{
    const auth_entry *found = NULL;
    for (size_t i = 0; i < auth->count; i++) {
        bool same = CRYPTO_memcmp(auth->entries[i].hash, hash, AUTH_HASH_SIZE) == 0;
        found = same ? &auth->entries[i] : found;
    }
    return found;
}

http_auth_outcome http_auth_check(http_auth *auth, const char *authorization, http_scope wanted,
                                  const char **ret_token_name)
{
    grv_bytes token;
    grv_digest digest;
    const auth_entry *entry = NULL;
    unsigned scopes = 0;
    *ret_token_name = NULL;
    if (!authorization) {
        return wanted == HTTP_SCOPE_NONE ? HTTP_AUTH_OK : HTTP_AUTH_MISSING;
    }
    if (bearer_parse(authorization, &token) &&
        !grv_digest_of(GRV_HASH_SHA256, token, &digest, NULL)) {
        pthread_rwlock_rdlock(&auth->lock);
        entry = entry_find(auth, digest.bytes);
        if (entry) {
            *ret_token_name = entry->name;
            scopes = entry->scopes;
        }
        pthread_rwlock_unlock(&auth->lock);
    }
    if ((scopes & (unsigned)wanted) == (unsigned)wanted) {
        return HTTP_AUTH_OK;
    }
    return entry ? HTTP_AUTH_FORBIDDEN : HTTP_AUTH_UNKNOWN;
}

/* ---- Making ---- */

/* "grv_" and the secret in base64url. */
static grv_status token_print(grv_bytes secret, char ret_token[HTTP_TOKEN_SIZE], grv_error *error)
{
    grv_buffer text;
    grv_buffer_init(&text, HTTP_TOKEN_SIZE);
    grv_status status = http_base64_encode(secret, true, &text, error);
    if (!status) {
        snprintf(ret_token, HTTP_TOKEN_SIZE, "grv_%.*s", (int)text.size, (const char *)text.data);
        OPENSSL_cleanse(text.data, text.size);
    }
    grv_buffer_done(&text);
    return status;
}

grv_status http_token_make(const char *name, unsigned scopes, char ret_token[HTTP_TOKEN_SIZE],
                           char ret_line[HTTP_TOKEN_LINE_SIZE], grv_error *error)
{
    uint8_t secret[32];
    char token[HTTP_TOKEN_SIZE];
    grv_digest digest;
    char hex[2 * GRV_DIGEST_SIZE + 1];
    if (!name_is_good(grv_bytes_of(name, strlen(name)))) {
        return grv_error_set(error, GRV_INVALID_ARGUMENT, "auth",
                             "a token's name is 1 to 64 of A-Z a-z 0-9 . _ -");
    }
    grv_status status = grv_random_fill(secret, sizeof secret, error);
    if (!status) {
        status = token_print(grv_bytes_of(secret, sizeof secret), token, error);
        OPENSSL_cleanse(secret, sizeof secret);
    }
    if (!status) {
        status = grv_digest_of(GRV_HASH_SHA256, grv_bytes_of(token, strlen(token)), &digest, error);
    }
    if (status) {
        return status;
    }
    grv_digest_hex(&digest, hex);
    char list[64] = "";
    size_t used = 0;
    for (size_t i = 0; i < AUTH_SCOPES; i++) {
        if (scopes & auth_scopes[i].scope) {
            used += (size_t)snprintf(list + used, sizeof list - used, "%s%s", used > 0 ? "," : "",
                                     auth_scopes[i].name);
        }
    }
    snprintf(ret_line, HTTP_TOKEN_LINE_SIZE, "%s %s sha256:%s\n", name, list, hex);
    memcpy(ret_token, token, sizeof token);
    return GRV_OK;
}
