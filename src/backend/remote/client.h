/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of the remote backend share. */
#ifndef GRV_BACKEND_REMOTE_CLIENT_H
#define GRV_BACKEND_REMOTE_CLIENT_H

#include <curl/curl.h>
#include <graviton/backend/remote.h>
#include <jansson.h>
#include <pthread.h>

#define GRV_REMOTE_ORIGIN "remote"
/* Bytes of a put that are held here: what is no larger is asked for by its hash before it is sent,
 * and can be sent again. */
#define GRV_REMOTE_WINDOW ((size_t)1 << 20)
/* Most bytes of an answer in JSON. */
#define GRV_REMOTE_JSON_MAX ((size_t)16 << 20)
/* Most entries of a page of a list, of a manifest, and ids that are asked for at once. */
#define GRV_REMOTE_LIST_MAX    1000u
#define GRV_REMOTE_REFS_MAX    10000u
#define GRV_REMOTE_MISSING_MAX 10000u

/* ---- settings.c ---- */

/* What a configuration and the environment came to. */
typedef struct grv_remote_settings {
    char *where; /* "http[s]://HOST[:PORT][/PREFIX]", without a slash at its end */
    bool tls;
    bool is_local; /* the host is this machine */
    char *token;   /* NULL: none */
    char *ca_bundle;
    uint64_t patience_ns;
    bool read_only;
} grv_remote_settings;

/* Reads a configuration; errors as grv_remote_open. Ends with grv_remote_settings_done, which wipes
 * the token. */
grv_status grv_remote_settings_init(grv_remote_settings *settings, const grv_remote_config *config,
                                    grv_error *error);
void grv_remote_settings_done(grv_remote_settings *settings);

/* ---- head.c: the headers of an answer ---- */

typedef struct grv_remote_head {
    int http;      /* status; 0: none came yet */
    bool is_whole; /* the empty line after the last header has come */
    bool has_length;
    uint64_t length; /* of the body */
    bool has_range;  /* Content-Range: the place of the first byte, of the last, and the size */
    uint64_t range_first;
    uint64_t range_last;
    uint64_t range_total;
    bool is_json;           /* Content-Type */
    bool is_problem;        /* likewise */
    uint64_t retry_after_s; /* 0: not said */
    bool has_put;           /* Graviton-Put, without its key */
    grv_put_result put;
    char request_id[33];
} grv_remote_head;

/* Takes one header line, with or without its end; a status line begins anew. Lines that say nothing
 * of use, or nothing sensible, are passed over. */
void grv_remote_head_line(grv_remote_head *head, grv_bytes line);

/* Decimal digits and nothing else, at most 2^63 - 1. */
bool grv_remote_number_parse(const char *text, size_t size, uint64_t *ret_number);

/* ---- decode.c: bodies of answers; GRV_UNAVAILABLE for what no graviton server says ---- */

/* One entry of a page: a blob, or why its record cannot be read. */
typedef struct grv_remote_entry {
    grv_status status; /* GRV_OK: a blob */
    grv_blob_info info;
    char message[256];
} grv_remote_entry;

/* A page of a list. Zero-initialise; ends with grv_remote_page_done. */
typedef struct grv_remote_page {
    grv_remote_entry *entries;
    size_t count;
    char *cursor; /* NULL at the list's end */
} grv_remote_page;

/* A page of a manifest; likewise. */
typedef struct grv_remote_refs {
    grv_block_ref *refs;
    size_t count;
    bool has_next;
    uint64_t next_offset;
} grv_remote_refs;

/* A problem document. */
typedef struct grv_remote_problem {
    grv_status status;
    bool is_known; /* its type is one that this program knows */
    char type[40]; /* without "urn:graviton:problem:" */
    char detail[320];
} grv_remote_problem;

/* Parses a body as JSON, no value of it twice. Freed with json_decref. */
grv_status grv_remote_json_parse(grv_bytes body, json_t **ret_json, grv_error *error);

grv_status grv_remote_decode_store(const json_t *json, grv_remote_info *ret_info,
                                   uint64_t *ret_capabilities, grv_error *error);
grv_status grv_remote_decode_info(const json_t *json, grv_blob_info *ret_info, grv_error *error);
grv_status grv_remote_decode_page(const json_t *json, size_t max, grv_remote_page *ret_page,
                                  grv_error *error);
void grv_remote_page_done(grv_remote_page *page);
grv_status grv_remote_decode_refs(const json_t *json, grv_remote_refs *ret_refs, grv_error *error);
void grv_remote_refs_done(grv_remote_refs *refs);
/* Replaces `attributes` (initialised). */
grv_status grv_remote_decode_attributes(const json_t *json, grv_attributes *attributes,
                                        grv_error *error);
/* Which of the keys are in {"missing": […]}; each of those must be one of them. */
grv_status grv_remote_decode_missing(const json_t *json, const grv_blob_key keys[], size_t count,
                                     bool ret_present[], grv_error *error);
/* An object of figures; null is none. */
grv_status grv_remote_decode_figures(const json_t *json, grv_remote_figures *ret_figures,
                                     grv_error *error);

/* What a job is at. */
typedef struct grv_remote_job_view {
    uint64_t number;
    bool has_ended;
    bool is_done; /* and well */
    bool was_cancelled;
    grv_remote_figures figures;
    const json_t *findings; /* of the document that was decoded */
    grv_remote_problem error;
} grv_remote_job_view;

grv_status grv_remote_decode_job(const json_t *json, grv_remote_job_view *ret_view,
                                 grv_error *error);
grv_status grv_remote_decode_finding(const json_t *json, uint64_t *ret_number,
                                     grv_remote_finding *ret_finding, grv_error *error);

/* False where the body is no problem document of graviton's. */
bool grv_remote_decode_problem(grv_bytes body, grv_remote_problem *ret_problem);

/* Members of an object; false where there is none of that kind. A string has no NUL in it, a number
 * is not negative, a key is a valid one. Borrowed from the object. */
bool grv_remote_text_of(const json_t *object, const char *name, grv_bytes *ret_text);
const char *grv_remote_string_of(const json_t *object, const char *name);
bool grv_remote_number_of(const json_t *object, const char *name, uint64_t *ret_number);

/* RFC 3339 in UTC, with up to nine digits after the point, as nanoseconds since 1970. */
bool grv_remote_time_parse(const char *text, uint64_t *ret_time_ns);

/* What `type` of a problem is as a status; false for one that is not known. */
bool grv_remote_problem_status(const char *type, grv_status *ret_status);

/* Copies text up to the size with its NUL; what is not printable ASCII becomes "?". */
void grv_remote_text_copy(char *ret_text, size_t size, const char *text, size_t length);

/* ---- encode.c: bodies of requests ---- */

/* {"attributes": […]}; NULL without memory. */
json_t *grv_remote_encode_attributes(const grv_attributes *attributes);

/* ---- line.c: connections ---- */

/* A kept connection and curl's handles for it; used by one thread at a time. */
typedef struct grv_remote_line grv_remote_line;

struct grv_remote {
    grv_remote_settings settings;
    grv_remote_info info;
    uint64_t capabilities;
    uint64_t random; /* atomic: what jitter is made of */
    pthread_mutex_t lock;
    grv_remote_line *spare; /* under the lock */
    unsigned spare_count;
};

grv_status grv_remote_line_take(grv_remote *remote, grv_remote_line **ret_line, grv_error *error);
void grv_remote_line_give(grv_remote *remote, grv_remote_line *line);
void grv_remote_lines_free(grv_remote *remote);

/* ---- transfer.c: one try of a request ---- */

/* What is asked. Borrowed while the transfer lasts. */
typedef struct grv_remote_request {
    const char *method;
    const char *path; /* "/api/…", encoded, with its query */
    bool has_body;    /* `body`, or what the stream gives */
    grv_bytes body;   /* not of a stream */
    bool is_stream;   /* the body comes through grv_remote_transfer_feed */
    bool has_length;  /* of a stream: its length is known */
    uint64_t length;  /* likewise */
    const char *type; /* of the body; NULL: it says none, which for a blob would be kept with it */
    const char *lines[3]; /* further header lines; NULL ends them */
} grv_remote_request;

/* What stopped a transfer from within. */
typedef enum grv_remote_stop {
    GRV_REMOTE_STOP_NONE = 0,
    GRV_REMOTE_STOP_LONG,  /* an answer larger than there is room for */
    GRV_REMOTE_STOP_STALL, /* nothing moved for long enough */
    GRV_REMOTE_STOP_EARLY  /* a success before the body was sent: the answer is there */
} grv_remote_stop;

/* One try. Zero-initialise; ends with grv_remote_transfer_end. */
typedef struct grv_remote_transfer {
    grv_remote *remote;
    const grv_remote_request *request;
    grv_remote_line *line;
    struct curl_slist *lines;
    grv_remote_head head;
    /* The body out: the window, how much of it is sent, and whether more comes after it. */
    grv_bytes out;
    size_t out_sent;
    uint64_t out_total;
    bool out_ended;
    bool out_paused;
    /* The body in: of a success into `into`, which is a window of the caller's (take; it is paused
     * when full) or a buffer; of anything else into `refusal`. */
    grv_buffer *into;
    grv_span window;
    size_t window_used;
    bool in_paused;
    grv_buffer refusal;
    uint64_t refused; /* bytes of such a body, kept or not */
    bool went;        /* the request may have reached the server */
    bool unsure;      /* curl sent it twice by itself */
    bool done;
    CURLcode result;
    grv_remote_stop stop;
    uint64_t moved;
    uint64_t moved_seen;
    uint64_t progress_ns;
    uint64_t stall_ns; /* how long nothing may move */
    char curl_text[CURL_ERROR_SIZE];
} grv_remote_transfer;

/* Begins a try on a line of the handle; the call's trace id, if any, goes along. */
grv_status grv_remote_transfer_begin(const grv_call *call, grv_remote *remote,
                                     const grv_remote_request *request,
                                     grv_remote_transfer *transfer, grv_error *error);

/* Drives it until `enough` says so (NULL: never) or it is done. Fails for the call alone, by its
 * deadline or cancel flag, or for want of memory; what became of the request is in the transfer. */
grv_status grv_remote_transfer_drive(const grv_call *call, grv_remote_transfer *transfer,
                                     bool (*enough)(const grv_remote_transfer *transfer),
                                     grv_error *error);

/* Gives a stream its next bytes, all of the last ones being sent; they are borrowed until they are.
 * `ended`: no more come after them. */
void grv_remote_transfer_feed(grv_remote_transfer *transfer, grv_bytes bytes, bool ended);

/* Lets the next bytes of the answer come, the window being empty again. */
void grv_remote_transfer_drain(grv_remote_transfer *transfer);

/* Ends it, wherever it is: a request that is not done loses its connection. May be begun again. */
void grv_remote_transfer_end(grv_remote_transfer *transfer);

/* Whether the headers of the answer are there; whether all that was fed is sent. */
bool grv_remote_has_head(const grv_remote_transfer *transfer);
bool grv_remote_is_sent(const grv_remote_transfer *transfer);

/* ---- outcome.c: what a try means ---- */

/* Judges a transfer that is done, or whose refusal is. GRV_OK for a success (2xx); else the
 * failure, about what `doing` says ("cannot read the blob"), and in *ret_again whether another try
 * may help. */
grv_status grv_remote_judge(const grv_remote_transfer *transfer, const char *doing, bool *ret_again,
                            grv_error *error);

/* For an answer that no graviton server gives. */
grv_status grv_remote_no_server(const grv_remote *remote, const char *doing, const char *why,
                                grv_error *error);

/* ---- ask.c: requests that are tried again ---- */

/* How long somebody goes on trying. */
typedef struct grv_remote_tries {
    uint64_t begun_ns; /* of the first try, or of the last one that moved anything */
    unsigned count;    /* since then */
    unsigned max;      /* 0: as many as there is time for */
} grv_remote_tries;

void grv_remote_tries_begin(grv_remote_tries *tries);

/* Waits before the next try, at least `retry_after_s`. False where no other try is to be made: then
 * the failure stands. GRV_CANCELLED and GRV_TIMEOUT come as the status of the call. */
grv_status grv_remote_tries_wait(const grv_call *call, grv_remote *remote, grv_remote_tries *tries,
                                 uint64_t retry_after_s, bool *ret_goes_on, grv_error *error);

/* A request and how to make it. */
typedef struct grv_remote_ask {
    const char *doing; /* "cannot …", for messages */
    grv_remote_request request;
    size_t answer_max; /* bytes of the answer's body; 0: GRV_REMOTE_JSON_MAX */
    bool once;         /* not to be made again where it may have reached the server */
    bool is_long;      /* the server may take long to answer */
    bool is_first;     /* nobody knows yet that there is a server: few tries */
} grv_remote_ask;

/* Its answer. Zero-initialise; ends with grv_remote_answer_done. */
typedef struct grv_remote_answer {
    grv_remote_head head;
    grv_buffer body;
    bool unsure; /* an earlier try may have been served as well */
} grv_remote_answer;

/* Asks until there is an answer. GRV_OK for a success alone. On a failure too the answer's `head`
 * and `unsure` are those of the last try. */
grv_status grv_remote_ask_for(const grv_call *call, grv_remote *remote, const grv_remote_ask *ask,
                              grv_remote_answer *answer, grv_error *error);
void grv_remote_answer_done(grv_remote_answer *answer);

/* The same for an answer in JSON. Freed with json_decref. */
grv_status grv_remote_ask_json(const grv_call *call, grv_remote *remote, const grv_remote_ask *ask,
                               json_t **ret_json, grv_error *error);

/* ---- Ports ---- */

/* The blob store over a handle. */
typedef struct grv_remote_blobs {
    grv_blob_store base;
    grv_remote *remote;
} grv_remote_blobs;

/* Room for a path with a blob's id in it, and for what was to be done with it. */
#define GRV_REMOTE_PATH_SIZE  256u
#define GRV_REMOTE_DOING_SIZE 160u

/* "/api/blobs/ID" and `rest`, which may be "". */
void grv_remote_blob_path(const grv_blob_key *key, const char *rest,
                          char ret_path[GRV_REMOTE_PATH_SIZE]);

/* blob_store.c: stat and attributes_set, for sink.c as well. */
grv_status grv_remote_stat(const grv_call *call, grv_remote *remote, const grv_blob_key *key,
                           grv_blob_info *ret_info, grv_error *error);
grv_status grv_remote_attributes_set(const grv_call *call, grv_remote *remote,
                                     const grv_blob_key *key, const grv_attributes *attributes,
                                     grv_error *error);

/* The slots of the same name; see the port's header. */
grv_status grv_remote_open_put(const grv_call *call, grv_blob_store *store,
                               const grv_put_plan *plan, grv_blob_sink **ret_sink,
                               grv_error *error);
grv_status grv_remote_open_get(const grv_call *call, grv_blob_store *store, const grv_blob_key *key,
                               grv_range range, grv_source **ret_source, grv_error *error);
grv_status grv_remote_open_list(const grv_call *call, grv_blob_store *store,
                                const grv_blob_list *list, grv_blob_cursor **ret_cursor,
                                grv_error *error);
grv_status grv_remote_open_refs(const grv_call *call, grv_blob_store *store,
                                const grv_blob_key *key, uint64_t offset,
                                grv_ref_cursor **ret_cursor, grv_error *error);

#endif
