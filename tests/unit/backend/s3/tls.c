/* SPDX-License-Identifier: Apache-2.0 */
/* Whom the client trusts: a server with a certificate made here, and certificates of others. */
#include "backend/s3/client.h"
#include "temp.h"
#include "test.h"

#include <arpa/inet.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <pthread.h>
#include <signal.h>
#include <sys/socket.h>

#define HELLO "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"

/* A key and a certificate over it, signed with itself; the certificate also lies in a file. */
typedef struct tls_identity {
    EVP_PKEY *key;
    X509 *certificate;
    char path[300];
} tls_identity;

static char directory[256];
static tls_identity ours;
static tls_identity other;

/* Takes the failure of a call of OpenSSL's for one of the test. */
static void must(int done)
{
    if (done <= 0) {
        fail_msg("OpenSSL failed");
    }
}

/* `names` as "IP:127.0.0.1". */
static void identity_make(tls_identity *identity, const char *file, const char *names)
{
    identity->key = EVP_EC_gen("P-256");
    identity->certificate = X509_new();
    X509 *certificate = identity->certificate;
    must(identity->key && certificate);
    must(X509_set_version(certificate, X509_VERSION_3));
    must(ASN1_INTEGER_set(X509_get_serialNumber(certificate), 1));
    must(X509_gmtime_adj(X509_getm_notBefore(certificate), -3600) != NULL);
    must(X509_gmtime_adj(X509_getm_notAfter(certificate), 3600) != NULL);
    must(X509_set_pubkey(certificate, identity->key));
    X509_NAME *name = X509_get_subject_name(certificate);
    must(X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC, (const unsigned char *)file, -1, -1,
                                    0));
    must(X509_set_issuer_name(certificate, name));
    const struct {
        int kind;
        const char *value;
    } extensions[] = {{NID_subject_alt_name, names}, {NID_basic_constraints, "critical,CA:TRUE"}};
    for (size_t i = 0; i < 2; i++) {
        X509_EXTENSION *extension =
            X509V3_EXT_conf_nid(NULL, NULL, extensions[i].kind, extensions[i].value);
        must(extension && X509_add_ext(certificate, extension, -1));
        X509_EXTENSION_free(extension);
    }
    must(X509_sign(certificate, identity->key, EVP_sha256()));
    snprintf(identity->path, sizeof identity->path, "%s/%s", directory, file);
    FILE *out = fopen(identity->path, "w");
    assert_non_null(out);
    must(PEM_write_X509(out, certificate));
    assert_int_equal(fclose(out), 0);
}

/* A server that takes one connection after another. */
typedef struct tls_server {
    int listener;
    int port;
    SSL_CTX *context;
    pthread_t thread;
} tls_server;

/* Answers what comes until the other side ends. */
static void serve_one(SSL *ssl)
{
    char text[8192];
    size_t used = 0;
    while (used < sizeof text - 1) {
        int got = SSL_read(ssl, text + used, (int)(sizeof text - 1 - used));
        if (got <= 0) {
            return;
        }
        used += (size_t)got;
        text[used] = '\0';
        if (strstr(text, "\r\n\r\n")) {
            used = 0;
            if (SSL_write(ssl, HELLO, (int)strlen(HELLO)) <= 0) {
                return;
            }
        }
    }
}

static void *serve(void *argument)
{
    tls_server *server = argument;
    for (;;) {
        int socket = accept(server->listener, NULL, NULL);
        if (socket < 0) {
            return NULL;
        }
        SSL *ssl = SSL_new(server->context);
        if (ssl && SSL_set_fd(ssl, socket) == 1 && SSL_accept(ssl) == 1) {
            serve_one(ssl);
        }
        SSL_free(ssl);
        close(socket);
    }
}

static void server_start(tls_server *server, const tls_identity *identity)
{
    server->context = SSL_CTX_new(TLS_server_method());
    must(server->context != NULL);
    must(SSL_CTX_use_certificate(server->context, identity->certificate));
    must(SSL_CTX_use_PrivateKey(server->context, identity->key));
    server->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof address;
    assert_int_equal(bind(server->listener, (struct sockaddr *)&address, size), 0);
    assert_int_equal(listen(server->listener, 8), 0);
    assert_int_equal(getsockname(server->listener, (struct sockaddr *)&address, &size), 0);
    server->port = ntohs(address.sin_port);
    assert_int_equal(pthread_create(&server->thread, NULL, serve, server), 0);
}

static void server_stop(tls_server *server)
{
    shutdown(server->listener, SHUT_RDWR);
    pthread_join(server->thread, NULL);
    close(server->listener);
    SSL_CTX_free(server->context);
}

/* A GET of a server with our certificate, trusting those of a file. */
static grv_status get(const char *host, const char *bundle, grv_error *error)
{
    tls_server server;
    server_start(&server, &ours);
    char endpoint[64];
    snprintf(endpoint, sizeof endpoint, "https://%s:%d", host, server.port);
    const grv_s3_config config = {
        .endpoint = endpoint, .key_id = "id", .secret = "secret", .ca_bundle = bundle};
    grv_s3 *s3;
    assert_grv_status(grv_s3_open(&config, &s3, error), GRV_OK);
    uint8_t into[5] = {0};
    grv_s3_request requests[2] = {
        {.method = GRV_S3_GET, .bucket = "bucket", .key = "key", .into = {into, 5}},
        {.method = GRV_S3_GET, .bucket = "bucket", .key = "key", .into = {into, 5}}};
    grv_status status = grv_s3_run(NULL, s3, &requests[0], 1, error);
    if (!status) {
        assert_memory_equal(into, "hello", 5);
        status = grv_s3_run(NULL, s3, &requests[1], 1, error); /* on the same connection */
    }
    grv_s3_close(s3);
    server_stop(&server);
    return status;
}

static void test_trusted(void **state)
{
    (void)state;
    grv_error error = GRV_ERROR_INIT;
    assert_grv_ok(get("127.0.0.1", ours.path, &error));
    setenv("AWS_CA_BUNDLE", ours.path, 1);
    assert_grv_ok(get("127.0.0.1", NULL, &error));
    unsetenv("AWS_CA_BUNDLE");
}

/* Nothing is sent to whom is not trusted, and it is no use to try again. */
static void test_not_trusted(void **state)
{
    (void)state;
    grv_error error = GRV_ERROR_INIT;
    uint64_t start_ns = grv_now_ns();
    assert_grv_status(get("127.0.0.1", NULL, &error), GRV_PERMISSION);
    assert_grv_status(get("127.0.0.1", other.path, &error), GRV_PERMISSION);
    assert_non_null(strstr(error.message, "certificate"));
    assert_grv_status(get("localhost", ours.path, &error), GRV_PERMISSION); /* another's name */
    assert_true(grv_now_ns() - start_ns < UINT64_C(45000000000));
}

static void test_no_bundle(void **state)
{
    (void)state;
    grv_error error = GRV_ERROR_INIT;
    char path[300];
    snprintf(path, sizeof path, "%s/not-there", directory);
    assert_grv_status(get("127.0.0.1", path, &error), GRV_INVALID_ARGUMENT);
    assert_non_null(strstr(error.message, "not-there"));
}

static int set_up(void **state)
{
    (void)state;
    signal(SIGPIPE, SIG_IGN); /* of the server's; the client's thread has its signals blocked */
    test_temp_make(directory);
    identity_make(&ours, "ours.pem", "IP:127.0.0.1");
    identity_make(&other, "other.pem", "IP:127.0.0.1");
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    EVP_PKEY_free(ours.key);
    EVP_PKEY_free(other.key);
    X509_free(ours.certificate);
    X509_free(other.certificate);
    test_temp_remove(directory);
    return 0;
}

int main(void)
{
    static const char *const names[] = {"http_proxy", "https_proxy", "HTTPS_PROXY",  "all_proxy",
                                        "ALL_PROXY",  "AWS_REGION",  "AWS_CA_BUNDLE"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        unsetenv(names[i]);
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_trusted),
        cmocka_unit_test(test_not_trusted),
        cmocka_unit_test(test_no_bundle),
    };
    return cmocka_run_group_tests_name("s3 tls", tests, set_up, tear_down);
}
