/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The S3 client, as the ports of this backend use it:
 *
 *   settings.c  endpoint, region and credentials, from a configuration and the environment
 *   encode.c    percent-encoding of keys and queries
 *   sign.c      Signature Version 4: pure
 *   answer.c    headers of answers, and the error in a body, into values
 *   xml.c       a walk through a bounded XML document
 *   list.c      pages of lists
 *   delete.c    many deletes in one request
 *   transfer.c  one request on its way: a try, as curl is told it
 *   outcome.c   what the end of a try means: done, failed, or again
 *   engine.c    one thread that drives all transfers (curl's multi interface), retries them, keeps
 *               to the limit of connections
 *   client.c    opening, closing, submitting and waiting
 *
 * A request is memory: its body lies in the caller's memory until it has ended, and so may be sent
 * again; its answer's body goes to the caller's memory, of a size known before. So nothing streams
 * through the client, and every request can be tried again by itself.
 */
#ifndef GRV_BACKEND_S3_S3_H
#define GRV_BACKEND_S3_S3_H

#include <graviton/backend/s3.h>

/* Most bytes of parts of an answer, NUL not included. */
#define GRV_S3_ETAG_MAX 127u
#define GRV_S3_CODE_MAX 63u
#define GRV_S3_ID_MAX   127u
/* Most bytes of an answer's body that is XML. */
#define GRV_S3_XML_MAX ((size_t)4 << 20)
/* Hex digits that name one put, kept with the object as `x-amz-meta-graviton-put`: so a writer
 * whose answer was lost can tell whether the object is his. */
#define GRV_S3_PUT_ID_SIZE 32u
/* Instead of a body's hash: the request is signed without its body. */
#define GRV_S3_UNSIGNED "UNSIGNED-PAYLOAD"

typedef enum grv_s3_method {
    GRV_S3_GET = 1,
    GRV_S3_HEAD,
    GRV_S3_PUT,
    GRV_S3_POST,
    GRV_S3_DELETE
} grv_s3_method;

/* A name and a value as they are, not encoded. A header's name is lower case; a value of a header
 * is printable ASCII. */
typedef struct grv_s3_pair {
    const char *name;
    const char *value;
} grv_s3_pair;

/* What came back. Text is NUL-terminated, of the service's choosing, cut to printable bytes. */
typedef struct grv_s3_answer {
    int http;                       /* 0: none came */
    char etag[GRV_S3_ETAG_MAX + 1]; /* without quotes; empty: none */
    char code[GRV_S3_CODE_MAX + 1]; /* of an error: "NoSuchKey"; empty: none */
    char request_id[GRV_S3_ID_MAX + 1];
    char put_id[GRV_S3_PUT_ID_SIZE + 1]; /* x-amz-meta-graviton-put; empty: none */
    uint64_t content_length;             /* of a HEAD's object, or of the body */
    uint64_t object_size;                /* the whole object's, also of a range */
    uint64_t date_ns;     /* the service's clock, since 1970, whole seconds; 0: not said */
    uint64_t modified_ns; /* Last-Modified, since 1970, whole seconds */
} grv_s3_answer;

/* One request, in the caller's memory, zero-initialised. What is set before must stay until it has
 * ended; what the client sets may be read from then on. */
typedef struct grv_s3_request grv_s3_request;
struct grv_s3_request {
    grv_s3_method method;
    const char *bucket;
    const char *key; /* NULL: the bucket itself */
    const grv_s3_pair *query;
    size_t query_count;
    const grv_s3_pair *headers;
    size_t header_count;
    grv_bytes body;
    /* SHA-256 of the body in lower-case hex, where the caller knows it already; or
     * GRV_S3_UNSIGNED, for a body nobody is to vouch for. NULL: computed by grv_s3_submit. */
    const char *body_sha256;
    bool md5; /* send Content-MD5 too (DeleteObjects wants it) */
    /* Where the body of an answer of success goes: `into`, which it must fill to the last byte, or
     * `out`, up to its limit; where neither is set there must be none, or it is dropped unread. A
     * body that ends early is no success. */
    grv_span into;
    grv_buffer *out;
    /* A failure that is an answer here and no error, so that it is not tried again: 404, 412. */
    bool allow_missing;
    bool allow_precondition;
    /* GRV_OK for 2xx with a whole body; GRV_NOT_FOUND and GRV_ALREADY_EXISTS for the two above
     * (with `allow_missing`: a 404 whose code says that it is the key, upload or setting that is
     * not there, or of a HEAD, which has no code; never NoSuchBucket); else the failure, described
     * by `error`. A PUT or POST with `out` whose answer of success holds an error has failed. */
    grv_status status;
    grv_error error;
    grv_s3_answer answer;
    /* An earlier try of this request may have taken effect: its answer was lost. */
    bool unsure;
    /* The client's own. */
    struct grv_s3_transfer *transfer; /* this and the next two under the client's lock */
    struct grv_s3_waiter *waiter;
    bool ended;
};

/*
 * Starts a request; it runs when a connection is free, in order of submission. It ends by itself,
 * at the latest at the call's deadline, or where the call has none once the handle's patience is
 * over. Never fails: what goes wrong is the request's own failure. Thread-safe.
 */
void grv_s3_submit(const grv_call *call, grv_s3 *s3, grv_s3_request *request);

/*
 * Waits until the request has ended and returns its status, with `error` a copy of its own. Where
 * the call is given up (GRV_CANCELLED, GRV_TIMEOUT) the request is ended first: its memory is the
 * caller's again at any return. A write that was given up may yet take effect.
 */
grv_status grv_s3_wait(const grv_call *call, grv_s3 *s3, grv_s3_request *request, grv_error *error);

/* Ends a request without waiting for its answer. Its memory is the caller's again at the return. */
void grv_s3_cancel(grv_s3 *s3, grv_s3_request *request);

/* Submits all and waits for all, those after a failed one too: GRV_OK, or the first failure in
 * order. `allow_missing` and `allow_precondition` answers are no failures here: see each status. */
grv_status grv_s3_run(const grv_call *call, grv_s3 *s3, grv_s3_request requests[], size_t count,
                      grv_error *error);

/* The handle's limit of requests at once. */
unsigned grv_s3_connections(const grv_s3 *s3);

/* Asks for the bucket: GRV_NOT_FOUND where there is none. */
grv_status grv_s3_bucket_check(const grv_call *call, grv_s3 *s3, const char *bucket,
                               grv_error *error);

/* GRV_UNSUPPORTED unless `path` can be a key: UTF-8 of at most 1024 bytes. */
grv_status grv_s3_key_check(const char *path, grv_error *error);

/* Most bytes of a key. */
#define GRV_S3_KEY_MAX 1024u

/* Writes "BUCKET/KEY" percent-encoded, as x-amz-copy-source wants it, and a NUL;
 * GRV_S3_SOURCE_SIZE is room enough for any. GRV_INTERNAL where `size` is too little. */
#define GRV_S3_SOURCE_SIZE ((size_t)3 * (64 + GRV_S3_KEY_MAX) + 2)
grv_status grv_s3_encode_source(const char *bucket, const char *key, char *ret_text, size_t size,
                                grv_error *error);

/* Draws the name of one put. */
grv_status grv_s3_put_id_draw(char ret_id[GRV_S3_PUT_ID_SIZE + 1], grv_error *error);

/* ---- XML of answers: xml.c, answer.c, list.c ---- */

/* Most levels of a document, and most bytes of the text of one element. */
#define GRV_S3_XML_DEPTH_MAX 16u
#define GRV_S3_XML_TEXT_MAX  ((size_t)16 << 10)

/* What a walk tells: the names of the open elements from the root on, without namespaces. */
typedef struct grv_s3_xml_walk {
    void *context;
    /* An element begins; names[depth - 1] is its own. NULL is allowed. */
    grv_status (*begin)(void *context, const char *const names[], unsigned depth, grv_error *error);
    /* An element ends; `text` is what it had since its last child, NUL-terminated, and may be
     * written to; it is empty where characters were in it that XML cannot hold. */
    grv_status (*end)(void *context, const char *const names[], unsigned depth, char *text,
                      grv_error *error);
} grv_s3_xml_walk;

/* Walks through a document. Document types, and so entities of one's own, are refused. GRV_CORRUPT
 * for what is no XML or passes a limit; else what a function of the walk failed with. */
grv_status grv_s3_xml_walk_run(const grv_s3_xml_walk *walk, grv_bytes xml, grv_error *error);

/* One object of a list. */
typedef struct grv_s3_entry {
    char *key; /* the list's memory */
    char etag[GRV_S3_ETAG_MAX + 1];
    uint64_t size;
    uint64_t modified_ns;
} grv_s3_entry;

/* A page of a list, ListObjectsV2. */
typedef struct grv_s3_page {
    grv_s3_entry *entries;
    size_t count;
    bool truncated;
    char *token; /* of the next page where it is truncated */
} grv_s3_page;

void grv_s3_page_done(grv_s3_page *page);

/*
 * Lists one page: keys that begin with `prefix`, greater than `after` ("" or NULL: from the first),
 * in byte order, at most `most` (1 to 1000) of them. An answer out of order, or with keys that were
 * not asked for, is GRV_CORRUPT. Free with grv_s3_page_done.
 */
grv_status grv_s3_list(const grv_call *call, grv_s3 *s3, const char *bucket, const char *prefix,
                       const char *after, unsigned most, grv_s3_page *ret_page, grv_error *error);

/* Reads the answer of a list (ListObjectsV2 with encoding-type=url). GRV_CORRUPT where it is none.
 */
grv_status grv_s3_page_parse(grv_bytes xml, grv_s3_page *ret_page, grv_error *error);

/* Reads the text of element `name` below the root element `root` into `ret_text`, up to `size`
 * bytes with the NUL. GRV_NOT_FOUND where the root is another one or there is no such element;
 * GRV_CORRUPT for what is no XML. Entities of one's own are not expanded. */
grv_status grv_s3_xml_text(grv_bytes xml, const char *root, const char *name, char *ret_text,
                           size_t size, grv_error *error);

/*
 * Deletes keys, up to 1000 with one request (DeleteObjects), some requests at once. Keys that were
 * not there are no failure. GRV_OK means that the service has confirmed every key; else the first
 * one that it could not delete is the failure.
 */
grv_status grv_s3_delete_many(const grv_call *call, grv_s3 *s3, const char *bucket,
                              const char *const keys[], size_t count, grv_error *error);

#endif
