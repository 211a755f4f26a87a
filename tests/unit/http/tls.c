/* SPDX-License-Identifier: Apache-2.0 */
/* HTTPS with certificates that the test makes: a reload takes effect for new connections, and one
 * that fails changes nothing. */
#include "front.h"
#include "test.h"

#include "temp.h"

#include <gnutls/gnutls.h>
#include <gnutls/x509.h>
#include <time.h>

typedef struct pair {
    char cert[300];
    char key[300];
} pair;

static void text_write(const char *path, const gnutls_datum_t *text)
{
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    assert_int_equal(fwrite(text->data, 1, text->size, file), text->size);
    assert_int_equal(fclose(file), 0);
}

/* A self-signed certificate of that name. */
static void pair_make(const pair *files, const char *name)
{
    gnutls_x509_privkey_t key;
    gnutls_x509_crt_t cert;
    gnutls_datum_t text = {0};
    unsigned char serial = 1;
    assert_int_equal(gnutls_x509_privkey_init(&key), 0);
    assert_int_equal(gnutls_x509_privkey_generate(
                         key, GNUTLS_PK_ECDSA, GNUTLS_CURVE_TO_BITS(GNUTLS_ECC_CURVE_SECP256R1), 0),
                     0);
    assert_int_equal(gnutls_x509_crt_init(&cert), 0);
    assert_int_equal(gnutls_x509_crt_set_version(cert, 3), 0);
    assert_int_equal(gnutls_x509_crt_set_serial(cert, &serial, 1), 0);
    assert_int_equal(gnutls_x509_crt_set_key(cert, key), 0);
    assert_int_equal(gnutls_x509_crt_set_activation_time(cert, time(NULL) - 60), 0);
    assert_int_equal(gnutls_x509_crt_set_expiration_time(cert, time(NULL) + 3600), 0);
    assert_int_equal(gnutls_x509_crt_set_dn_by_oid(cert, GNUTLS_OID_X520_COMMON_NAME, 0, name,
                                                   (unsigned)strlen(name)),
                     0);
    assert_int_equal(gnutls_x509_crt_sign2(cert, cert, key, GNUTLS_DIG_SHA256, 0), 0);
    assert_int_equal(gnutls_x509_crt_export2(cert, GNUTLS_X509_FMT_PEM, &text), 0);
    text_write(files->cert, &text);
    gnutls_free(text.data);
    assert_int_equal(gnutls_x509_privkey_export2(key, GNUTLS_X509_FMT_PEM, &text), 0);
    text_write(files->key, &text);
    gnutls_free(text.data);
    gnutls_x509_crt_deinit(cert);
    gnutls_x509_privkey_deinit(key);
}

/* Asks for /bytes/3000000 over TLS; fills the name of the server's certificate. */
static void ask(const http_server *server, const char *priorities, char ret_name[64], int *ret_code)
{
    static const char request[] =
        "GET /bytes/3000000 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    gnutls_session_t session;
    gnutls_certificate_credentials_t credentials;
    int fd = front_connect(server);
    assert_int_equal(gnutls_init(&session, GNUTLS_CLIENT), 0);
    assert_int_equal(gnutls_certificate_allocate_credentials(&credentials), 0);
    assert_int_equal(gnutls_priority_set_direct(session, priorities, NULL), 0);
    assert_int_equal(gnutls_credentials_set(session, GNUTLS_CRD_CERTIFICATE, credentials), 0);
    gnutls_transport_set_int(session, fd);
    int code;
    do {
        code = gnutls_handshake(session);
    } while (code < 0 && !gnutls_error_is_fatal(code));
    if (code == 0) {
        unsigned count = 0;
        size_t size = 64;
        gnutls_x509_crt_t cert;
        const gnutls_datum_t *peers = gnutls_certificate_get_peers(session, &count);
        assert_true(count == 1);
        assert_int_equal(gnutls_x509_crt_init(&cert), 0);
        assert_int_equal(gnutls_x509_crt_import(cert, peers, GNUTLS_X509_FMT_DER), 0);
        assert_int_equal(
            gnutls_x509_crt_get_dn_by_oid(cert, GNUTLS_OID_X520_COMMON_NAME, 0, 0, ret_name, &size),
            0);
        gnutls_x509_crt_deinit(cert);
        assert_int_equal(gnutls_record_send(session, request, sizeof request - 1),
                         sizeof request - 1);
        size_t total = 0;
        char piece[16384];
        ssize_t got;
        while ((got = gnutls_record_recv(session, piece, sizeof piece)) > 0) {
            total += (size_t)got;
        }
        assert_true(total > 3000000);
    }
    *ret_code = code;
    gnutls_deinit(session);
    gnutls_certificate_free_credentials(credentials);
    close(fd);
}

static void certificates_are_reloaded(void **state)
{
    (void)state;
    grv_error error = GRV_ERROR_INIT;
    char directory[256];
    char name[64] = "";
    int code = 0;
    pair one;
    pair two;
    test_temp_make(directory);
    snprintf(one.cert, sizeof one.cert, "%s/cert", directory);
    snprintf(one.key, sizeof one.key, "%s/key", directory);
    snprintf(two.cert, sizeof two.cert, "%s/cert2", directory);
    snprintf(two.key, sizeof two.key, "%s/key2", directory);
    pair_make(&one, "first");
    pair_make(&two, "other");
    const http_server_config config = {.tls_cert = one.cert, .tls_key = one.key};
    http_server *server = front_start(&config);
    assert_memory_equal(http_server_where(server), "https://", 8);
    ask(server, "NORMAL", name, &code);
    assert_int_equal(code, 0);
    assert_string_equal(name, "first");
    ask(server, "NORMAL:-VERS-ALL:+VERS-TLS1.2", name, &code);
    assert_int_equal(code, 0);
    ask(server, "NORMAL:-VERS-ALL:+VERS-TLS1.1", name, &code);
    assert_true(code < 0);
    /* A key that is another certificate's. */
    assert_int_equal(rename(two.cert, one.cert), 0);
    http_server_reload(server);
    ask(server, "NORMAL", name, &code);
    assert_string_equal(name, "first");
    assert_int_equal(rename(two.key, one.key), 0);
    http_server_reload(server);
    ask(server, "NORMAL", name, &code);
    assert_int_equal(code, 0);
    assert_string_equal(name, "other");
    assert_int_equal(unlink(one.key), 0);
    http_server_reload(server);
    ask(server, "NORMAL", name, &code);
    assert_string_equal(name, "other");
    /* Plain HTTP gets nothing, and does no harm. */
    front_answer answer = front_ask(server, "GET /text HTTP/1.1\r\nHost: x\r\n\r\n");
    assert_int_equal(answer.status, 0);
    front_done(&answer);
    assert_int_equal(http_server_stop(server, NULL), 0);
    http_server_config wrong = {
        .fronts = front_routes, .listen = "127.0.0.1:0", .tls_cert = one.cert, .tls_key = one.key};
    assert_grv_status(http_server_start(&wrong, &server, &error), GRV_NOT_FOUND);
    wrong.tls_key = one.cert;
    assert_grv_status(http_server_start(&wrong, &server, &error), GRV_INVALID_ARGUMENT);
    test_temp_remove(directory);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(certificates_are_reloaded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
