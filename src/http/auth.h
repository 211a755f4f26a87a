/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who may do what: bearer tokens (RFC 6750). The server has a file of their hashes; the tokens
 * themselves are nowhere but with their owners. A line of the file is
 *
 *   NAME SCOPE[,SCOPE...] sha256:HEX
 *
 * NAME is 1 to 64 of A-Z a-z 0-9 . _ - and for people and the log; scopes are read, write, delete
 * and admin. Empty lines and those that begin with # say nothing. Two lines may have one name, so
 * that a token can be replaced while the old one is still in use.
 */
#ifndef GRV_HTTP_AUTH_H
#define GRV_HTTP_AUTH_H

#include "http/http.h"

#define HTTP_AUTH_TOKENS_MAX 1000u /* each request's token is compared with all of them */
#define HTTP_AUTH_NAME_MAX   64u
#define HTTP_AUTH_FILE_MAX   ((size_t)1 << 20)
#define HTTP_TOKEN_SIZE      48u  /* "grv_", 43 characters of base64url, NUL */
#define HTTP_TOKEN_LINE_SIZE 256u /* a line of the file, "\n" and NUL included */

typedef enum http_auth_outcome {
    HTTP_AUTH_OK = 0,
    HTTP_AUTH_MISSING = 1,  /* no token was sent: 401 */
    HTTP_AUTH_UNKNOWN = 2,  /* one that is not in the file: 401 */
    HTTP_AUTH_FORBIDDEN = 3 /* one without the scope: 403 */
} http_auth_outcome;

/* Reads the file of tokens. GRV_INVALID_ARGUMENT names the line that is wrong, and shows nothing of
 * it: a token may have got there. Free with http_auth_free. */
grv_status http_auth_load(const char *path, http_auth **ret_auth, grv_error *error);

/* The same from the file's text; `what` names it in messages. */
grv_status http_auth_parse(grv_bytes text, const char *what, http_auth **ret_auth,
                           grv_error *error);

/* Reads the file again, and puts its tokens in force all at once; those that were stay where it
 * cannot be read. Thread-safe beside checks. */
grv_status http_auth_reload(http_auth *auth, const char *path, grv_error *error);

/*
 * Judges the value of an Authorization header (NULL: there was none) for a route that wants
 * `wanted`. Fills *ret_token_name with the token's name wherever one was recognised, NULL
 * otherwise; names live as long as `auth`. How long it takes says nothing of the tokens' hashes.
 * Thread-safe, waits for nothing.
 */
http_auth_outcome http_auth_check(http_auth *auth, const char *authorization, http_scope wanted,
                                  const char **ret_token_name);

/* Number of tokens in force. Thread-safe. */
size_t http_auth_count(http_auth *auth);

/* Frees. NULL is allowed. */
void http_auth_free(http_auth *auth);

/* Parses "read,write" into a set of http_scope bits. GRV_INVALID_ARGUMENT for anything else. */
grv_status http_scopes_parse(grv_bytes text, unsigned *ret_scopes, grv_error *error);

/* Makes a new token, and its line for the file. GRV_INVALID_ARGUMENT for a bad name. */
grv_status http_token_make(const char *name, unsigned scopes, char ret_token[HTTP_TOKEN_SIZE],
                           char ret_line[HTTP_TOKEN_LINE_SIZE], grv_error *error);

#endif
