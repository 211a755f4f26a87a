/* SPDX-License-Identifier: Apache-2.0 */
/* A fixture of the blob_store suite: the remote backend and a server of its own. GRAVITON_PROGRAM
 * names the program that serves. */
#ifndef GRV_TESTS_CONFORMANCE_BLOB_STORE_SERVER_H
#define GRV_TESTS_CONFORMANCE_BLOB_STORE_SERVER_H

#include "blob_store_fixtures.h"

/* What the server serves: blocks and metadata as on its command line, or, where these are NULL, an
 * embedded store in the directory. */
typedef struct blob_store_served {
    const char *directory;
    const char *blocks;
    const char *meta;
} blob_store_served;

/* Starts a server and opens its store; ends with blob_store_server_close, which stops it. */
grv_status blob_store_server_open(const blob_store_fixture *fixture, const blob_store_served *what,
                                  void **ret_context, grv_blob_store **ret_store, grv_error *error);
void blob_store_server_close(void *context);

#endif
