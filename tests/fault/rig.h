/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A store for fault tests, with what it must hold at any moment: blobs that are there, that are
 * not, and that may be, because an operation on them failed. rig_check compares, byte by byte.
 */
#ifndef GRV_TESTS_FAULT_RIG_H
#define GRV_TESTS_FAULT_RIG_H

#include "layer/fault.h"

#include <graviton/port/blob_store.h>
#include <graviton/store.h>

/* What a rig is made of. All metadata are in a key-value store in memory, but for RIG_STORE. */
typedef enum rig_kind {
    RIG_MEMORY, /* blocks in memory */
    RIG_CACHED, /* the same, and those that were read are kept in a cache in memory */
    RIG_KV,     /* blocks in the metadata's key-value store */
    RIG_FS,     /* blocks in files */
    RIG_STORE   /* a whole store in a directory: files and RocksDB, no fault layers */
} rig_kind;

/* The objects that tests speak of, and what one may have; of the last two kinds of content none is
 * the other's prefix. */
enum { RIG_FIRST, RIG_COPY, RIG_NEW, RIG_OBJECTS };
enum { RIG_NO_OBJECT = 1, RIG_OLD_BYTES = 2, RIG_NEW_BYTES = 4 };

/* What is known of a thing that operations change. */
typedef enum rig_state { RIG_ABSENT, RIG_PRESENT, RIG_EITHER } rig_state;

/* The blobs that tests speak of. */
typedef enum rig_name {
    RIG_SMALL,  /* a few hundred bytes, with attributes; there from the start */
    RIG_MEDIUM, /* some blocks; there from the start */
    RIG_TINY,   /* one block that is new */
    RIG_LARGE,  /* several tiles, and pages of its manifest */
    RIG_MIXED,  /* RIG_MEDIUM's blocks, new ones, and one repeated */
    RIG_GONE,   /* put and removed at the start: its RIG_GONE_BLOCKS blocks are garbage */
    RIG_BLOBS
} rig_name;

/* Blocks of RIG_GONE, and of the blobs that are there from the start. */
#define RIG_GONE_BLOCKS  3u
#define RIG_FIRST_BLOCKS 12u

typedef struct rig_blob {
    const uint8_t *data;
    size_t size;
    grv_blob_key key;
    rig_state state;
} rig_blob;

typedef struct fault_rig {
    rig_kind kind;
    grv_fault_plan plan; /* of the layers over every port */
    char directory[256]; /* empty where there is none */
    grv_kv *kv;
    grv_store *store;
    grv_block_store *blocks;
    grv_manifest_repo *manifests;
    grv_blob_store *blobs;
    grv_mutable_object_store *objects;
    grv_replica_index *replicas;
    grv_range_tracker *ranges;
    rig_blob items[RIG_BLOBS];
    unsigned contents[RIG_OBJECTS]; /* what each object may have: any of these */
    rig_state second_replica;       /* the key has a second locator */
    rig_state second_range;         /* the locator has a second range */
    rig_state other_ranges;         /* RIG_NEW's locator is tracked too */
    rig_state new_title;            /* RIG_SMALL's attributes are the new ones */
    rig_state new_record; /* superblock and descriptor: PRESENT both new, ABSENT both old */
    const char *doing;    /* for messages: which operation, which fault */
    uint64_t turn;
} fault_rig;

/* Fails the test with what the rig was doing. */
void rig_fail(const fault_rig *rig, const char *format, ...)
    __attribute__((format(printf, 2, 3), noreturn));

/* Makes an empty store, open, then gives it its first blobs. */
void rig_init(fault_rig *rig, rig_kind kind);
/* Makes the directory or key-value store alone: nothing is in it, nothing is open. */
void rig_init_empty(fault_rig *rig, rig_kind kind);
/* Closes and removes everything. */
void rig_done(fault_rig *rig);

/* Opens what lies over the key-value store; a failure leaves the rig closed. */
grv_status rig_open(fault_rig *rig, grv_error *error);
void rig_close(fault_rig *rig);

/* Puts a blob and says what a commit that is GRV_OK must say; `hint` tells its size beforehand. */
grv_status rig_put(fault_rig *rig, rig_name name, bool hint, grv_error *error);
/* Reads a range of a blob and compares it. What comes before a failure must be right as well. */
grv_status rig_get(fault_rig *rig, rig_name name, grv_range range, grv_error *error);
/* Lists the blobs: all that are there, none that is not. */
grv_status rig_list(fault_rig *rig, grv_list_order order, grv_error *error);
/* Writes RIG_SMALL's attributes, the first or the new ones. */
grv_status rig_set_title(fault_rig *rig, bool new_title, grv_error *error);
/* Reads them and compares. */
grv_status rig_get_title(fault_rig *rig, grv_error *error);
/* Replaces superblock and descriptor by the new ones, if they are not that yet. */
grv_status rig_set_records(fault_rig *rig, grv_error *error);
/* Reads and compares them. */
grv_status rig_get_records(fault_rig *rig, grv_error *error);

/*
 * The ports beside the store's own, in rig_ports.c: objects, replicas and ranges. Not of RIG_STORE.
 * The first four are steps of those of the whole rig.
 */
grv_status rig_ports_open(fault_rig *rig, grv_error *error);
void rig_ports_close(fault_rig *rig);
void rig_ports_fill(fault_rig *rig);
void rig_ports_check(fault_rig *rig);

/* The locator of one of the objects. */
grv_locator rig_locator(const fault_rig *rig, unsigned object);
/* Puts the old or the new bytes. */
grv_status rig_put_object(fault_rig *rig, unsigned object, bool new_bytes, bool if_absent,
                          grv_error *error);
/* Copies RIG_FIRST to RIG_COPY; removes an object. */
grv_status rig_copy_object(fault_rig *rig, grv_error *error);
grv_status rig_remove_object(fault_rig *rig, unsigned object, grv_error *error);
/* Reads an object and compares; *ret_has is the content it has. */
grv_status rig_get_object(fault_rig *rig, unsigned object, unsigned *ret_has, grv_error *error);
/* Lists the objects; none may be missing. */
grv_status rig_list_objects(fault_rig *rig, grv_error *error);
/* Adds the second locator; takes it away; makes the first one or both the key's locators. */
grv_status rig_add_replica(fault_rig *rig, grv_error *error);
grv_status rig_remove_replica(fault_rig *rig, grv_error *error);
grv_status rig_set_replicas(fault_rig *rig, bool second, grv_error *error);
/* Reads and lists the key's locators and compares. */
grv_status rig_get_replicas(fault_rig *rig, grv_error *error);
grv_status rig_list_replicas(fault_rig *rig, grv_error *error);
/* Merges the second range; begins, resets and forgets ranges at RIG_NEW's locator. */
grv_status rig_merge_range(fault_rig *rig, grv_error *error);
grv_status rig_track_other(fault_rig *rig, grv_error *error);
/* Reads and lists the locators' ranges and compares. */
grv_status rig_get_ranges(fault_rig *rig, grv_error *error);
grv_status rig_list_ranges(fault_rig *rig, grv_error *error);

/* Checks everything, with no faults: contents, lists, attributes, records, the memory budget, and
 * that no temporary file is left where `tidy`. */
void rig_check(fault_rig *rig, bool tidy);

/* Open descriptors of this process. */
size_t rig_descriptors(void);

#endif
