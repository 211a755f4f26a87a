/* SPDX-License-Identifier: Apache-2.0 */
/* The server's certificate and key, which can be changed while it runs. */
#ifndef GRV_HTTP_TLS_H
#define GRV_HTTP_TLS_H

#include "http/http.h"

#include <gnutls/abstract.h>
#include <gnutls/gnutls.h>

/* The protocol versions and ciphers, as GnuTLS names them. */
#define HTTP_TLS_PRIORITIES "NORMAL:-VERS-ALL:+VERS-TLS1.3:+VERS-TLS1.2"

/* Reads both PEM files and checks that they belong together. Errors name the file, and nothing of
 * what is in it. Free with http_tls_free. */
grv_status http_tls_new(const char *cert_path, const char *key_path, http_tls **ret_tls,
                        grv_error *error);

/* Reads them again; what was there stays in force where that fails. Thread-safe. */
grv_status http_tls_reload(http_tls *tls, const char *cert_path, const char *key_path,
                           grv_error *error);

/* Frees; no handshake runs any more. NULL is allowed. */
void http_tls_free(http_tls *tls);

/* For MHD_OPTION_HTTPS_CERT_CALLBACK2, on an event thread: the pair that is in force. */
int http_tls_retrieve(gnutls_session_t session, const struct gnutls_cert_retr_st *info,
                      gnutls_pcert_st **ret_certs, unsigned int *ret_count,
                      gnutls_ocsp_data_st **ret_ocsp, unsigned int *ret_ocsp_count,
                      gnutls_privkey_t *ret_key, unsigned int *ret_flags);

#endif
