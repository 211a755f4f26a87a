/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A store behind `graviton serve`, over HTTP (docs/http.md). A handle is a client with a pool of
 * kept connections; requests that change nothing, and those that may be made twice, are tried again
 * where that may help, until the deadline of the call.
 *
 * Handles are thread-safe.
 */
#ifndef GRAVITON_BACKEND_REMOTE_H
#define GRAVITON_BACKEND_REMOTE_H

#include <graviton/port/blob_store.h>

#ifdef __cplusplus
extern "C" {
#endif
#pragma GCC visibility push(default)

/* How long work without a deadline waits for a server that does not answer, in nanoseconds. */
#define GRV_REMOTE_PATIENCE_DEFAULT (UINT64_C(60) * 1000000000u)

typedef struct grv_remote grv_remote;

/* Configuration; strings are borrowed for the call. Proxies are libcurl's: http_proxy, … */
typedef struct grv_remote_config {
    const char *url;       /* "http[s]://HOST[:PORT][/PREFIX]", without credentials */
    const char *token;     /* bearer token; NULL: GRAVITON_TOKEN, else none */
    const char *ca_bundle; /* file of certificates to trust; NULL: GRAVITON_CA_BUNDLE, else the
                              system's */
    bool read_only;        /* refuse puts, removals and attributes: GRV_UNSUPPORTED */
    uint64_t patience_ns;  /* for work without a deadline; 0: GRV_REMOTE_PATIENCE_DEFAULT */
} grv_remote_config;

/* What the server says of its store. */
typedef struct grv_remote_info {
    uint8_t store_id[16];
    uint32_t format_version;
    grv_hash hash;
    grv_chunker_spec chunker;
    uint64_t created_ns; /* since 1970, UTC */
    bool read_only;
    char program[32]; /* its version */
} grv_remote_info;

/*
 * Opens a handle, and asks the server what its store is. GRV_INVALID_ARGUMENT for a malformed URL
 * or token, GRV_UNAVAILABLE where nobody answers or who answers is no graviton server,
 * GRV_PERMISSION where the token is refused, GRV_UNSUPPORTED for another version of the interface.
 * No message of this backend holds a token. Free with grv_remote_close.
 */
grv_status grv_remote_open(const grv_call *call, const grv_remote_config *config,
                           grv_remote **ret_remote, grv_error *error);

/* What was said when it was opened; lives as long as the handle. */
const grv_remote_info *grv_remote_get_info(const grv_remote *remote);

/* The address, for messages; lives as long as the handle. */
const char *grv_remote_where(const grv_remote *remote);

/* Whether a token goes to another machine over a connection that is not encrypted. */
bool grv_remote_shows_token(const grv_remote *remote);

/*
 * A blob store over a handle, which is borrowed and outlives it. Capabilities as the server's store
 * has, and GRV_BLOB_CAP_DISTANT. Bytes that are read are checked here once more: a full read
 * against the blob's own digest; the last bytes are withheld until it agrees. A put with
 * plan.expected asks first, and sends nothing where the server has the blob; one without sends as
 * it goes, but for those that fit in 1 MiB, which are asked for by their hash too. Free with
 * grv_blob_store_free.
 */
grv_status grv_blob_store_remote_new(grv_remote *remote, grv_blob_store **ret_store,
                                     grv_error *error);

/* Whether a blob store is one over a handle. */
bool grv_blob_store_is_remote(const grv_blob_store *store);

/* Tells which blobs such a store has, thousands in one request; see grv_blob_store_present. */
grv_status grv_blob_store_remote_present(const grv_call *call, grv_blob_store *store,
                                         const grv_blob_key keys[], size_t count,
                                         bool ret_present[], grv_error *error);

/* Figures by name, as the server gives them; what is yes or no is 1 or 0, a time nanoseconds since
 * 1970. */
#define GRV_REMOTE_FIGURES_MAX 32u
typedef struct grv_remote_figures {
    size_t count;
    struct grv_remote_figure {
        char name[32];
        uint64_t value;
    } items[GRV_REMOTE_FIGURES_MAX];
} grv_remote_figures;

/* The figure of that name, 0 where there is none. */
uint64_t grv_remote_figures_get(const grv_remote_figures *figures, const char *name);

/* The store's figures, counted anew by the server, which may take long. */
grv_status grv_remote_count(const grv_call *call, grv_remote *remote,
                            grv_remote_figures *ret_figures, grv_error *error);

/* What a job of the server's found. */
typedef struct grv_remote_finding {
    char status[24]; /* "corrupt", "missing", "unreadable", "damaged" */
    bool has_blob;
    bool has_block;
    bool set_aside;
    grv_blob_key blob;
    grv_block_key block;
    uint64_t offset; /* of the block in the blob, where it has both */
    char message[512];
} grv_remote_finding;

/* A job that looks after the server's store. Zero-initialise, then set; borrowed for the call. */
typedef struct grv_remote_job {
    const char *kind;  /* "gc", "scrub", "verify", "backup" */
    const char *order; /* what docs/http.md says that the kind takes, as JSON; NULL: {} */
    void (*progress)(void *context, const grv_remote_figures *so_far); /* NULL: not */
    /* Each finding once, in order; a failure ends the wait and asks the job to stop. NULL: not. */
    grv_status (*found)(void *context, const grv_remote_finding *finding, grv_error *error);
    void *context;
} grv_remote_job;

/*
 * Begins a job, waits until it has ended, and tells what it does meanwhile. GRV_UNAVAILABLE where
 * another job runs. A call that is given up asks the job to stop, and waits a little for that; a
 * client that dies leaves it running. *ret_figures is filled in on failure too.
 */
grv_status grv_remote_run_job(const grv_call *call, grv_remote *remote, const grv_remote_job *job,
                              grv_remote_figures *ret_figures, grv_error *error);

/* Closes. What was opened through it has been freed. NULL is allowed. */
void grv_remote_close(grv_remote *remote);

#pragma GCC visibility pop
#ifdef __cplusplus
}
#endif

#endif
