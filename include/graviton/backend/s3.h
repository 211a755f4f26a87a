/* SPDX-License-Identifier: Apache-2.0 */
/*
 * S3: any service that speaks it (AWS, Ceph, MinIO, Garage). A handle is a client with bounded
 * parallel connections and one set of credentials; the ports of this backend borrow it. Requests
 * are signed (AWS Signature Version 4) with a hash of their body, tried again where that is safe
 * and may help, and end within the deadline of the call.
 *
 * Handles are thread-safe.
 */
#ifndef GRAVITON_BACKEND_S3_H
#define GRAVITON_BACKEND_S3_H

#include <graviton/port/block_store.h>
#include <graviton/port/mutable_object_store.h>

#ifdef __cplusplus
extern "C" {
#endif
#pragma GCC visibility push(default)

/* Requests at once where no number is asked for, and at most. */
#define GRV_S3_CONNECTIONS_DEFAULT 32u
#define GRV_S3_CONNECTIONS_MAX     256u

/* How long work without a deadline waits for a service that does not answer, in nanoseconds. */
#define GRV_S3_PATIENCE_DEFAULT (UINT64_C(60) * 1000000000u)

/* The superblock's object, below the prefix. */
#define GRV_S3_SUPERBLOCK "graviton.json"

typedef struct grv_s3 grv_s3;

/* How a bucket is named in a request. */
typedef enum grv_s3_style {
    GRV_S3_STYLE_AUTO = 0,   /* path for an endpoint that was named, virtual for AWS itself */
    GRV_S3_STYLE_PATH = 1,   /* http://HOST/BUCKET/KEY */
    GRV_S3_STYLE_VIRTUAL = 2 /* http://BUCKET.HOST/KEY */
} grv_s3_style;

/* Configuration; strings are borrowed for the call. NULL or empty: the environment's, else the
 * default. Proxies are libcurl's: http_proxy, https_proxy, no_proxy. */
typedef struct grv_s3_config {
    const char *endpoint;  /* "http[s]://HOST[:PORT]"; AWS_ENDPOINT_URL_S3, AWS_ENDPOINT_URL; else
                              AWS in the region */
    const char *region;    /* AWS_REGION, AWS_DEFAULT_REGION; else us-east-1 */
    const char *key_id;    /* AWS_ACCESS_KEY_ID */
    const char *secret;    /* AWS_SECRET_ACCESS_KEY */
    const char *token;     /* AWS_SESSION_TOKEN, where the key id comes from the environment too */
    const char *ca_bundle; /* file of certificates to trust; AWS_CA_BUNDLE; else the system's */
    grv_s3_style style;
    unsigned connections; /* 0: GRV_S3_CONNECTIONS_DEFAULT */
    uint64_t patience_ns; /* for work without a deadline; 0: GRV_S3_PATIENCE_DEFAULT */
} grv_s3_config;

/*
 * Opens a handle; nothing is sent yet. GRV_PERMISSION where there are no credentials;
 * GRV_INVALID_ARGUMENT for a malformed endpoint, region or number. No message of this backend holds
 * a secret, a token or a signature. Free with grv_s3_close.
 */
grv_status grv_s3_open(const grv_s3_config *config, grv_s3 **ret_s3, grv_error *error);

/* The endpoint, "http://HOST:PORT", for messages; lives as long as the handle. */
const char *grv_s3_where(const grv_s3 *s3);

/*
 * Ports over a handle, which is borrowed and outlives them. Free with the port's own free. All
 * processes that share a bucket share what is in it. Constructors ask for the bucket: GRV_NOT_FOUND
 * where there is none, GRV_PERMISSION where the credentials are refused, GRV_UNAVAILABLE where
 * nobody answers.
 */

/*
 * Opens an object store `s3://NAME/` for each of the names. Paths are UTF-8; others are
 * GRV_UNSUPPORTED. A put of up to 16 MiB is one request, a larger one a multipart upload; it holds
 * 40 MiB, and more from 8 GB on, when parts grow from 8 to 64 MiB (with `if_absent` 64 MiB at
 * once). A get holds five ranges of 8 MiB. A tag is the ETag: it says which bytes, not which put,
 * so putting the same bytes anew may keep it. With `if_absent`, objects of more than 64 MiB are
 * GRV_UNSUPPORTED where the service's uploads replace regardless; the first such put finds out, by
 * an object `.graviton-probe-*` that it removes. Copies are the service's own, but for `if_absent`.
 *
 * A put that did not succeed aborts its upload when its sink is freed, and looks for those that it
 * may have made without hearing of them. Where the service does not answer within ten seconds, or
 * the process is killed, an upload stays open, invisible, until somebody aborts it: the bucket's
 * rule for unfinished uploads (AbortIncompleteMultipartUpload), if it has one.
 */
grv_status grv_object_store_s3_new(const grv_call *call, grv_s3 *s3, const char *const buckets[],
                                   size_t bucket_count, grv_mutable_object_store **ret_store,
                                   grv_error *error);

/* Bytes of blocks on their way that a block store has copied, at most: what its puts hold beyond
 * their callers' memory. */
#define GRV_S3_BLOCKS_HOLD ((size_t)40 << 20)

/* Configuration of a block store; strings are borrowed for the call. */
typedef struct grv_s3_blocks_config {
    const char *bucket;
    const char *prefix; /* "" or NULL: none. No "/" at either end, no empty, "." or ".." segment */
    /* A number that grows whenever others may have removed blocks: what is remembered about
     * which blocks are there dies then. Called from any thread. NULL: nobody else removes any. */
    uint64_t (*epoch)(void *context);
    void *context;
    size_t remember; /* keys remembered as present; 0: 1,000,000 (some 40 MB when full) */
} grv_s3_blocks_config;

/*
 * Opens a block store, verified, with one object a block, `<prefix>/<algo>/<hex>-<size>`, raw
 * bytes: the layout of the Scala system, so that its buckets can be read. Blocks set aside lie
 * below
 * `<prefix>/.quarantine/`.
 */
grv_status grv_block_store_s3_new(const grv_call *call, grv_s3 *s3,
                                  const grv_s3_blocks_config *config, grv_block_store **ret_store,
                                  grv_error *error);

/* Room for the name of a lifecycle rule, NUL included. */
#define GRV_S3_RULE_SIZE 128u

/*
 * Whether the bucket's lifecycle has an enabled rule that would remove objects below the prefix (""
 * for all): *ret_expires, and then the rule's name, printable, or its prefix where it has none. A
 * rule for objects with certain tags does not count, nor one about old versions or unfinished
 * uploads. Fails as the service does that has no such thing, or does not let one ask.
 */
grv_status grv_s3_lifecycle_check(const grv_call *call, grv_s3 *s3, const char *bucket,
                                  const char *prefix, bool *ret_expires,
                                  char ret_rule[GRV_S3_RULE_SIZE], grv_error *error);

/* Closes all connections. Every port over the handle has been freed. NULL is allowed. */
void grv_s3_close(grv_s3 *s3);

#pragma GCC visibility pop
#ifdef __cplusplus
}
#endif

#endif
