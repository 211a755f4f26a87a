/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of the S3 client share among themselves; the ports know backend/s3/s3.h alone. */
#ifndef GRV_BACKEND_S3_CLIENT_H
#define GRV_BACKEND_S3_CLIENT_H

#include "backend/s3/s3.h"

#include <curl/curl.h>
#include <openssl/sha.h>
#include <pthread.h>

/* Most pairs of a query, and most headers of a request, the client's own included. */
#define GRV_S3_QUERY_MAX   16u
#define GRV_S3_HEADERS_MAX 32u
/* Most objects of a page, and most keys of one DeleteObjects. */
#define GRV_S3_PAGE_MAX 1000u
/* Digits of a SHA-256. */
#define GRV_S3_HASH_DIGITS ((size_t)2 * SHA256_DIGEST_LENGTH)

/* ---- settings.c ---- */

/* Where and as whom: what a configuration and the environment came to. */
typedef struct grv_s3_settings {
    char *where;     /* "http://HOST[:PORT]", without a default port */
    char *authority; /* the part after "//": as a Host header has it */
    bool tls;
    bool is_name; /* the host is a name, not an address: a bucket can stand before it */
    char *region;
    char *key_id;
    char *secret;
    char *token;     /* NULL: none */
    char *ca_bundle; /* NULL: the system's */
    grv_s3_style style;
    unsigned connections;
    uint64_t patience_ns;
} grv_s3_settings;

/* Reads a configuration (NULL: all from the environment). Errors as grv_s3_open. Ends with
 * grv_s3_settings_done. */
grv_status grv_s3_settings_init(grv_s3_settings *settings, const grv_s3_config *config,
                                grv_error *error);
/* Frees, and wipes what is secret. */
void grv_s3_settings_done(grv_s3_settings *settings);

/* Whether this bucket is named before the host, not in the path: a name that DNS takes, and with
 * TLS one without dots, which no certificate of the service covers. */
bool grv_s3_is_virtual(const grv_s3_settings *settings, const char *bucket);

/* ---- encode.c ---- */

/* Appends `text` percent-encoded, all but A-Z a-z 0-9 - _ . ~, and "/" where it is kept. */
grv_status grv_s3_encode(const char *text, bool keep_slash, grv_buffer *out, grv_error *error);

/* Appends the query in its canonical form: encoded, sorted by name, "name=" for an empty value. */
grv_status grv_s3_encode_query(const grv_s3_pair query[], size_t count, grv_buffer *out,
                               grv_error *error);

/* Decodes %XX and "+" in place. False where a "%" has no two digits, or for an encoded NUL. */
bool grv_s3_decode(char *text);

/* ---- sign.c ---- */

/* What a signature is made of. Path and query are in canonical form, the headers' names in lower
 * case; their order does not matter. */
typedef struct grv_s3_signing {
    const char *method;
    const char *path;
    const char *query;
    const grv_s3_pair *headers;
    size_t header_count;
    const char *payload; /* digits of the body's hash, or GRV_S3_UNSIGNED */
    const char *time;    /* 20130524T000000Z */
    const char *region;
    const char *service; /* "s3" */
    const char *key_id;
} grv_s3_signing;

/* The key of a day (the first 8 digits of a time): HMACs of HMACs of the secret. */
grv_status grv_s3_signing_key(const char *secret, const char *time, const char *region,
                              const char *service, uint8_t ret_key[SHA256_DIGEST_LENGTH],
                              grv_error *error);

/* Appends the value of the Authorization header to `out`. */
grv_status grv_s3_sign(const grv_s3_signing *signing, const uint8_t key[SHA256_DIGEST_LENGTH],
                       grv_buffer *out, grv_error *error);

/* A time as signatures want it. */
void grv_s3_time_print(uint64_t seconds, char ret_text[17]);

/* ---- answer.c ---- */

/* The headers of an answer. */
typedef struct grv_s3_head {
    grv_s3_answer answer;
    uint64_t retry_after_s; /* 0: not said */
    uint64_t range_first;   /* the first byte's place, how many there are, */
    uint64_t range_size;
    uint64_t total; /* and the whole object's size, of Content-Range */
    bool is_whole;  /* the empty line after the last one has come */
    bool has_length;
    bool has_range;         /* all of them */
    char bucket_region[64]; /* where a redirect says that the bucket is */
} grv_s3_head;

/* Takes one header line, with or without its end; a status line begins anew. Lines that say
 * nothing of use, or nothing sensible, are passed over. */
void grv_s3_head_line(grv_s3_head *head, grv_bytes line);

/* "Sun, 06 Nov 1994 08:49:37 GMT" and "1994-11-06T08:49:37.000Z": seconds since 1970, false for
 * anything else. */
bool grv_s3_time_parse_http(const char *text, uint64_t *ret_seconds);
bool grv_s3_time_parse_iso(const char *text, uint64_t *ret_seconds);

/* Decimal digits and nothing else. */
bool grv_s3_number_parse(const char *text, uint64_t *ret_number);

/* Copies text up to the size with its NUL; what is not printable ASCII becomes "?". */
void grv_s3_text_copy(char *ret_text, size_t size, const char *text, size_t length);

/* An ETag without its quotes. */
void grv_s3_etag_copy(char ret_etag[GRV_S3_ETAG_MAX + 1], const char *text, size_t length);

/* Code, message and request id of a body that is an <Error>; false where it is none. `message` may
 * stay empty. */
bool grv_s3_refusal_parse(grv_bytes xml, grv_s3_answer *answer, char *ret_message, size_t size);

/* ---- transfer.c ---- */

typedef struct grv_s3_transfer grv_s3_transfer;

/* Transfers in order; each is in one chain at most. */
typedef struct grv_s3_chain {
    grv_s3_transfer *first;
    grv_s3_transfer *last;
    size_t count;
} grv_s3_chain;

/* What stopped curl from within. */
typedef enum grv_s3_stop {
    GRV_S3_STOP_NONE = 0,
    GRV_S3_STOP_LONG,   /* more bytes than `into` has room for */
    GRV_S3_STOP_BUFFER, /* `out` would not take more */
    GRV_S3_STOP_STALL,  /* nothing moved for long enough */
    GRV_S3_STOP_LOCAL   /* a call of this machine's failed: stop_errno */
} grv_s3_stop;

/* One request on its way. */
struct grv_s3_transfer {
    grv_s3_transfer *previous;
    grv_s3_transfer *next;
    grv_s3_chain *chain;
    grv_s3_transfer *cancel_next; /* under the client's lock */
    grv_status cancelled;         /* how it is to end; under the client's lock */
    grv_s3 *s3;
    grv_s3_request *request;
    uint64_t deadline_ns; /* of the call; 0: none, then the handle's patience counts */
    /* What all tries share. */
    const char *payload;
    bool is_ranged; /* a Range header asks for bytes from here on */
    uint64_t range_first;
    char payload_digits[GRV_S3_HASH_DIGITS + 1];
    char md5[25];
    char *host;  /* of the Host header */
    char *path;  /* canonical */
    char *query; /* canonical */
    size_t out_start;
    unsigned tries;
    unsigned few_tries;  /* those that failed in a way that few more will mend */
    bool corrected;      /* signed again after the clock was set right */
    uint64_t give_up_ns; /* without a deadline: when no other try begins */
    uint64_t due_ns;     /* of the next try */
    /* The try. */
    CURL *easy;
    struct curl_slist *lines;
    grv_s3_head head;
    grv_buffer refusal; /* the body of an answer that is no success */
    uint64_t received;
    uint64_t sent;
    bool went; /* the request may have reached the service */
    grv_s3_stop stop;
    int stop_errno;
    /* Whether it moves. */
    uint64_t moved;
    uint64_t moved_seen;
    int unsent_seen;
    uint64_t progress_ns;
    uint64_t stall_ns;
    char curl_text[CURL_ERROR_SIZE];
};

/* A transfer for the request, hashed and encoded, or the failure. Runs in the submitting thread. */
grv_status grv_s3_transfer_new(grv_s3 *s3, grv_s3_request *request, grv_s3_transfer **ret_transfer,
                               grv_error *error);
void grv_s3_transfer_free(grv_s3_transfer *transfer);

/* Makes `easy` ready for the next try. */
grv_status grv_s3_transfer_prepare(grv_s3_transfer *transfer, CURL *easy, grv_error *error);
/* Drops what only the try needed; `easy` is free again. */
void grv_s3_transfer_ended(grv_s3_transfer *transfer);

/* ---- outcome.c ---- */

/* What to do after a try. */
typedef enum grv_s3_verdict {
    GRV_S3_END = 0,     /* the request has its status */
    GRV_S3_AGAIN = 1,   /* try again, after a pause */
    GRV_S3_AT_ONCE = 2, /* try again now: the clock has been set right */
} grv_s3_verdict;

/* Judges the end of a try: the request has its answer, status and error, also where it is to be
 * tried again. Changes the handle's skew where that is the remedy. */
grv_s3_verdict grv_s3_judge(grv_s3_transfer *transfer, CURLcode result);

/* What an error's code means; `fallback` for one that is not known. */
grv_status grv_s3_status_of_code(const char *code, grv_status fallback);

/* What a request did, for messages: "cannot read s3://BUCKET/KEY at WHERE". */
#define GRV_S3_DOING_SIZE 320u
void grv_s3_doing(const grv_s3 *s3, const grv_s3_request *request,
                  char ret_text[GRV_S3_DOING_SIZE]);

/* ---- engine.c ---- */

/* Somebody who waits for a request to end. */
struct grv_s3_waiter {
    pthread_cond_t ended;
};

struct grv_s3 {
    grv_s3_settings settings;
    pthread_t thread;
    CURLM *multi;
    int epoll_fd;
    int wake_fd;
    pthread_mutex_t lock;
    /* Under the lock. */
    grv_s3_chain inbox;
    grv_s3_transfer *cancels;
    size_t pending; /* submitted, not ended */
    bool stopping;
    /* The engine's own. */
    bool *watched; /* by socket: curl wants to hear of it */
    size_t watched_count;
    grv_s3_chain queue;   /* ready for a connection */
    grv_s3_chain resting; /* waiting for their next try */
    grv_s3_chain active;
    CURL *idle[GRV_S3_CONNECTIONS_MAX];
    unsigned idle_count;
    uint64_t timer_ns; /* curl's; UINT64_MAX: none */
    uint64_t look_ns;  /* when some transfer is to be looked at */
    uint64_t random;
    int64_t skew_s; /* the service's clock less this machine's */
    char key_time[17];
    uint8_t key[SHA256_DIGEST_LENGTH]; /* of that day */
};

/* Starts the engine's thread over initialised settings; stops it, with nothing pending. */
grv_status grv_s3_engine_start(grv_s3 *s3, grv_error *error);
void grv_s3_engine_stop(grv_s3 *s3);

/* Hands a transfer over. The request ends in the engine. */
void grv_s3_engine_add(grv_s3 *s3, grv_s3_transfer *transfer);

/* Tells the engine that there are cancels. */
void grv_s3_engine_wake(grv_s3 *s3);

#endif
