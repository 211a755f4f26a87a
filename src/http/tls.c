/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Certificate and key. A reload puts a new pair in force; a handshake that has begun goes on with
 * the pair it was given, so an old pair is kept until no handshake can be that old.
 */
#include "http/tls.h"

#include "http/watch.h"

#include <pthread.h>
#include <stdlib.h>

#define TLS_CHAIN_MAX 16u
/* Longer than the watch lets any handshake last unless it was told so. */
#define TLS_RETIRED_NS (UINT64_C(3600) * 1000000000u)

typedef struct tls_pair {
    struct tls_pair *next;
    uint64_t retired_ns;
    gnutls_pcert_st certs[TLS_CHAIN_MAX];
    unsigned count;
    gnutls_privkey_t key;
} tls_pair;

struct http_tls {
    pthread_mutex_t lock;
    tls_pair *current;
    tls_pair *retired; /* the last retired first */
};

static void pair_free(tls_pair *pair)
{
    for (unsigned i = 0; i < pair->count; i++) {
        gnutls_pcert_deinit(&pair->certs[i]);
    }
    if (pair->key) {
        gnutls_privkey_deinit(pair->key);
    }
    free(pair);
}

static grv_status tls_fail(int code, const char *what, const char *path, grv_error *error)
{
    grv_status status = code == GNUTLS_E_FILE_ERROR ? GRV_NOT_FOUND : GRV_INVALID_ARGUMENT;
    return grv_error_set(error, status, "tls", "%s %s: %s", what, path, gnutls_strerror(code));
}

static grv_status chain_read(const char *path, tls_pair *pair, grv_error *error)
{
    gnutls_datum_t text = {0};
    int code = gnutls_load_file(path, &text);
    unsigned count = TLS_CHAIN_MAX;
    if (code >= 0) {
        code = gnutls_pcert_list_import_x509_raw(pair->certs, &count, &text, GNUTLS_X509_FMT_PEM,
                                                 GNUTLS_X509_CRT_LIST_FAIL_IF_UNSORTED);
        gnutls_free(text.data);
    }
    if (code < 0) {
        return tls_fail(code, "cannot use the certificate", path, error);
    }
    pair->count = count;
    return GRV_OK;
}

static grv_status key_read(const char *path, tls_pair *pair, grv_error *error)
{
    gnutls_datum_t text = {0};
    int code = gnutls_load_file(path, &text);
    if (code >= 0) {
        code = gnutls_privkey_init(&pair->key);
    }
    if (code >= 0) {
        code = gnutls_privkey_import_x509_raw(pair->key, &text, GNUTLS_X509_FMT_PEM, NULL, 0);
    }
    if (text.data) {
        gnutls_memset(text.data, 0, text.size);
        gnutls_free(text.data);
    }
    return code < 0 ? tls_fail(code, "cannot use the key", path, error) : GRV_OK;
}

/* Whether the key is the first certificate's. */
static grv_status pair_check(const tls_pair *pair, const char *cert_path, const char *key_path,
                             grv_error *error)
{
    unsigned char of_cert[64];
    unsigned char of_key[64];
    size_t cert_size = sizeof of_cert;
    size_t key_size = sizeof of_key;
    gnutls_pubkey_t public = NULL;
    int code = gnutls_pubkey_init(&public);
    if (code >= 0) {
        code = gnutls_pubkey_import_privkey(public, pair->key, 0, 0);
    }
    if (code >= 0) {
        code = gnutls_pubkey_get_key_id(public, GNUTLS_KEYID_USE_SHA256, of_key, &key_size);
    }
    if (code >= 0) {
        code = gnutls_pubkey_get_key_id(pair->certs[0].pubkey, GNUTLS_KEYID_USE_SHA256, of_cert,
                                        &cert_size);
    }
    if (public) {
        gnutls_pubkey_deinit(public);
    }
    if (code < 0) {
        return tls_fail(code, "cannot use the key", key_path, error);
    }
    if (cert_size != key_size ||
        grv_bytes_compare(grv_bytes_of(of_cert, cert_size), grv_bytes_of(of_key, key_size)) != 0) {
        return grv_error_set(error, GRV_INVALID_ARGUMENT, "tls",
                             "the key %s is not that of the certificate %s", key_path, cert_path);
    }
    return GRV_OK;
}

static grv_status pair_read(const char *cert_path, const char *key_path, tls_pair **ret_pair,
                            grv_error *error)
{
    tls_pair *pair = calloc(1, sizeof *pair);
    if (!pair) {
        return grv_error_set(error, GRV_LIMIT_EXCEEDED, "tls", "no memory for a certificate");
    }
    grv_status status = chain_read(cert_path, pair, error);
    if (!status) {
        status = key_read(key_path, pair, error);
    }
    if (!status) {
        status = pair_check(pair, cert_path, key_path, error);
    }
    if (status) {
        pair_free(pair);
        return status;
    }
    *ret_pair = pair;
    return GRV_OK;
}

grv_status http_tls_new(const char *cert_path, const char *key_path, http_tls **ret_tls,
                        grv_error *error)
{
    http_tls *tls = calloc(1, sizeof *tls);
    if (!tls) {
        return grv_error_set(error, GRV_LIMIT_EXCEEDED, "tls", "no memory for a certificate");
    }
    grv_status status = pair_read(cert_path, key_path, &tls->current, error);
    if (status) {
        free(tls);
        return status;
    }
    pthread_mutex_init(&tls->lock, NULL);
    *ret_tls = tls;
    return GRV_OK;
}

grv_status http_tls_reload(http_tls *tls, const char *cert_path, const char *key_path,
                           grv_error *error)
{
    tls_pair *pair = NULL;
    tls_pair *old = NULL;
    uint64_t now = grv_now_ns();
    grv_status status = pair_read(cert_path, key_path, &pair, error);
    if (status) {
        return status;
    }
    pthread_mutex_lock(&tls->lock);
    tls->current->retired_ns = now;
    tls->current->next = tls->retired;
    tls->retired = tls->current;
    tls->current = pair;
    tls_pair **link = &tls->retired;
    while (*link && (*link)->retired_ns + TLS_RETIRED_NS > now) {
        link = &(*link)->next;
    }
    old = *link;
    *link = NULL;
    pthread_mutex_unlock(&tls->lock);
    while (old) {
        tls_pair *next = old->next;
        pair_free(old);
        old = next;
    }
    return GRV_OK;
}

void http_tls_free(http_tls *tls)
{
    if (!tls) {
        return;
    }
    while (tls->retired) {
        tls_pair *next = tls->retired->next;
        pair_free(tls->retired);
        tls->retired = next;
    }
    pair_free(tls->current);
    pthread_mutex_destroy(&tls->lock);
    free(tls);
}

int http_tls_retrieve(gnutls_session_t session, const struct gnutls_cert_retr_st *info,
                      gnutls_pcert_st **ret_certs, unsigned int *ret_count,
                      gnutls_ocsp_data_st **ret_ocsp, unsigned int *ret_ocsp_count,
                      gnutls_privkey_t *ret_key, unsigned int *ret_flags)
{
    (void)info;
    const union MHD_ConnectionInfo *context = MHD_get_connection_info(
        gnutls_session_get_ptr(session), MHD_CONNECTION_INFO_SOCKET_CONTEXT);
    const http_peer *peer = context ? context->socket_context : NULL;
    if (!peer) {
        return -1;
    }
    http_tls *tls = peer->server->tls;
    pthread_mutex_lock(&tls->lock);
    *ret_certs = tls->current->certs;
    *ret_count = tls->current->count;
    *ret_key = tls->current->key;
    pthread_mutex_unlock(&tls->lock);
    *ret_ocsp = NULL;
    *ret_ocsp_count = 0;
    *ret_flags = 0;
    return 0;
}
