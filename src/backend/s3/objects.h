/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the files of the object store over S3 share. A put or copy is one request where that will
 * do, else a multipart upload; a get is a number of ranged requests, tied together by the ETag,
 * which is the tag too.
 */
#ifndef GRV_BACKEND_S3_OBJECTS_H
#define GRV_BACKEND_S3_OBJECTS_H

#include "backend/s3/s3.h"
#include "port/buckets.h"

#define GRV_S3_OBJECTS_SCHEME "s3"
#define GRV_S3_OBJECTS_ORIGIN "s3"
/* Parts of one upload: what S3 allows. */
#define GRV_S3_PARTS_MAX 10000u
/* Most bytes of an upload's id. */
#define GRV_S3_UPLOAD_ID_MAX 1023u
/* The header of a put's name. */
#define GRV_S3_PUT_ID_HEADER "x-amz-meta-graviton-put"

/* Sizes in bytes and numbers at once; other ones than the defaults are for tests. */
typedef struct grv_s3_objects_tuning {
    size_t single_max;           /* put by one request; a multiple of part_size */
    size_t single_if_absent_max; /* the same with if_absent */
    size_t part_size;            /* of an upload's first parts */
    unsigned part_slots;         /* parts in memory: all but one of them on their way */
    size_t get_first;            /* asked for before the object's size is known */
    size_t get_size;             /* of each further range of a get */
    unsigned get_slots;          /* ranges in memory or on their way */
    uint64_t copy_single_max;    /* copied by one request */
    uint64_t copy_part_size;     /* else in parts of this, or more where there would be too many */
    unsigned copy_slots;         /* of them at once */
} grv_s3_objects_tuning;

extern const grv_s3_objects_tuning grv_s3_objects_defaults;

/* As grv_object_store_s3_new with other sizes. */
grv_status grv_object_store_s3_new_tuned(const grv_call *call, grv_s3 *s3,
                                         const char *const buckets[], size_t bucket_count,
                                         const grv_s3_objects_tuning *tuning,
                                         grv_mutable_object_store **ret_store, grv_error *error);

typedef struct grv_s3_objects {
    grv_mutable_object_store base;
    grv_s3 *s3;
    grv_s3_objects_tuning tuning;
    grv_buckets buckets;
    int upload_if_absent; /* whether the service's uploads honour it: a grv_s3_ability; atomic */
} grv_s3_objects;

typedef enum grv_s3_ability {
    GRV_S3_ABILITY_UNKNOWN = 0,
    GRV_S3_ABILITY_YES = 1,
    GRV_S3_ABILITY_NO = 2
} grv_s3_ability;

/* ---- object_store.c ---- */

/* Whether the call goes on, the locator's bucket is one of the store's (else GRV_INVALID_ARGUMENT
 * naming it) and its path can be a key (else GRV_UNSUPPORTED). */
grv_status grv_s3_objects_check(const grv_call *call, const grv_s3_objects *store,
                                const grv_locator *locator, grv_error *error);

/* Puts the locator before an error's message and gives `status` back. */
grv_status grv_s3_objects_prefix(const grv_locator *locator, grv_status status, grv_error *error);

/* GRV_NOT_FOUND, naming the object; GRV_ALREADY_EXISTS, naming it. */
grv_status grv_s3_objects_absent(const grv_locator *locator, grv_error *error);
grv_status grv_s3_objects_exists(const grv_locator *locator, grv_error *error);

/* What is known of an object: its info and the put that it comes from ("" where it is nobody's). */
typedef struct grv_s3_object_facts {
    grv_object_info info;
    char put_id[GRV_S3_PUT_ID_SIZE + 1];
} grv_s3_object_facts;

/* Asks for an object. GRV_NOT_FOUND, naming it, where there is none but the bucket is. */
grv_status grv_s3_objects_ask(const grv_call *call, grv_s3_objects *store,
                              const grv_locator *locator, grv_s3_object_facts *ret_facts,
                              grv_error *error);

/* Checks and takes an object's info from its ETag, size and time; the tag is the ETag. */
grv_status grv_s3_objects_info(const char *etag, uint64_t size, uint64_t modified_ns,
                               grv_object_info *ret_info, grv_error *error);

/*
 * The info of an object that a put or copy of the name `put_id` has just made, with `size` bytes
 * and this ETag ("" where the service did not say). Where others have replaced or removed it since,
 * it is what it would have been.
 */
grv_status grv_s3_objects_made(const grv_call *call, grv_s3_objects *store,
                               const grv_locator *locator, const char *put_id, uint64_t size,
                               const char *etag, grv_object_info *ret_info, grv_error *error);

/* A call of one's own for work that must be done although the caller's was given up: of this
 * length. */
grv_call grv_s3_objects_own_call(uint64_t length_ns);

/* Reads the text of element `name` below the root element `root` of an answer of success into
 * `ret_text` of `size` bytes. GRV_CORRUPT where it is no such answer. */
grv_status grv_s3_objects_xml(const grv_s3_request *request, const char *root, const char *name,
                              char *ret_text, size_t size, grv_error *error);

/* Runs a request with `out`, and reads its answer by grv_s3_objects_xml. */
grv_status grv_s3_objects_run_xml(const grv_call *call, grv_s3_objects *store,
                                  grv_s3_request *request, const char *root, const char *name,
                                  char *ret_text, size_t size, grv_error *error);

/* ---- object_upload.c ---- */

/* One multipart upload, in its owner's storage. Its strings outlive every request of it. */
typedef struct grv_s3_upload {
    grv_s3_objects *store;
    const grv_locator *locator;
    char put_id[GRV_S3_PUT_ID_SIZE + 1];
    bool lost;         /* an upload that we know nothing of may have been created: begun then */
    bool open;         /* `id` is an upload that was neither completed nor aborted */
    bool unsure;       /* a completion may have taken effect */
    uint64_t begun_ns; /* when its creation began and ended, on the monotonic clock */
    uint64_t made_ns;
    char *id;                           /* malloc'ed */
    char (*etags)[GRV_S3_ETAG_MAX + 1]; /* of parts 1, 2, …; malloc'ed */
    size_t part_count;
    size_t part_capacity;
} grv_s3_upload;

/* Creates the upload. A zero-initialised one can be ended, too. */
grv_status grv_s3_upload_begin(const grv_call *call, grv_s3_objects *store,
                               const grv_locator *locator, const char *put_id,
                               grv_s3_upload *upload, grv_error *error);

/* Memory of a part's request: what it refers to. */
typedef struct grv_s3_part {
    grv_s3_request request;
    grv_s3_pair query[2];
    char number_text[8];
    size_t number; /* from 1; 0: the slot is free */
} grv_s3_part;

/* Fills the request that puts part `number` in, without a body and further headers.
 * GRV_LIMIT_EXCEEDED where an upload has no such part. */
grv_status grv_s3_upload_part(grv_s3_upload *upload, size_t number, grv_s3_part *part,
                              grv_error *error);

/* Keeps the ETag of a part. */
grv_status grv_s3_upload_keep(grv_s3_upload *upload, size_t number, const char *etag,
                              grv_error *error);

/*
 * Makes the parts, all of which have been kept, the object. ret_etag: the object's, "" where the
 * service did not say. With `if_absent` GRV_ALREADY_EXISTS where an object is there, by services
 * that honour it. After GRV_OK the upload is no longer open.
 */
grv_status grv_s3_upload_complete(const grv_call *call, grv_s3_upload *upload, bool if_absent,
                                  char ret_etag[GRV_S3_ETAG_MAX + 1], grv_error *error);

/* GRV_CONFLICT: the upload was aborted by somebody else. */
grv_status grv_s3_upload_gone(const grv_s3_upload *upload, grv_error *error);

/* Aborts the upload `id` of the key of `upload`. Best effort. */
void grv_s3_upload_abort(const grv_call *call, const grv_s3_upload *upload, const char *id);

/*
 * Ends an upload in any state, aborting it where it is open, and those that lost answers left
 * behind. No part of it is under way any more. Takes a call of its own, of some seconds: what the
 * service does not do in that time stays open, see docs/operations.md.
 */
void grv_s3_upload_end(grv_s3_upload *upload);

/* GRV_OK where an upload that is completed with `if_absent` never replaces an object,
 * GRV_UNSUPPORTED where the service ignores that. Asked of it once, by an upload of one byte that
 * it must refuse. */
grv_status grv_s3_upload_if_absent_check(const grv_call *call, grv_s3_objects *store,
                                         const grv_locator *locator, grv_error *error);

/* ---- object_lost.c ---- */

/* Finds and aborts uploads that a creation of this one may have left behind. Best effort. */
void grv_s3_upload_find_lost(const grv_call *call, const grv_s3_upload *upload);

/* ---- slots of the ports: object_get.c, object_list.c, object_put.c, object_copy.c ---- */

grv_status grv_s3_objects_open_get(const grv_call *call, grv_object_store *base,
                                   const grv_locator *locator, grv_range range,
                                   grv_object_info *ret_info, grv_source **ret_source,
                                   grv_error *error);
grv_status grv_s3_objects_open_list(const grv_call *call, grv_object_store *base,
                                    const grv_object_list *list, grv_object_cursor **ret_cursor,
                                    grv_error *error);
grv_status grv_s3_objects_open_put(const grv_call *call, grv_mutable_object_store *base,
                                   const grv_locator *locator, const grv_object_put *put,
                                   grv_object_sink **ret_sink, grv_error *error);
grv_status grv_s3_objects_copy(const grv_call *call, grv_mutable_object_store *base,
                               const grv_locator *from, const grv_locator *to, bool if_absent,
                               grv_object_info *ret_info, grv_error *error);

#endif
