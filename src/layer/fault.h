/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The layer that makes a port fail on purpose, for tests: one plan is shared by any number of
 * layers over any ports, and says which of all their calls fails, and how. Every slot is a call,
 * those of batches, puts and cursors too; only `free` never fails.
 */
#ifndef GRV_LAYER_FAULT_H
#define GRV_LAYER_FAULT_H

#include <graviton/port/block_store.h>
#include <graviton/port/key_value_store.h>
#include <graviton/port/manifest_repo.h>
#include <graviton/port/mutable_object_store.h>
#include <graviton/port/range_tracker.h>
#include <graviton/port/replica_index.h>

/* How a call fails. */
typedef enum grv_fault_kind {
    GRV_FAULT_REFUSE = 0, /* before it reaches the port below: nothing is done */
    GRV_FAULT_LOSE,       /* it is carried out below, and its answer is lost */
    GRV_FAULT_CUT         /* it succeeds, but a value that it reads is half as long, and a block's
                             second half is zeros; a call that reads none is left alone */
} grv_fault_kind;

/*
 * What fails when. Zero-initialised nothing does. Set it up while no call is under way; the layers
 * change countdown, calls and fired, atomically. It outlives the layers.
 */
typedef struct grv_fault_plan {
    uint64_t countdown; /* the call that fails, 1 = the next; 0: none */
    bool persistent;    /* and every call after it */
    grv_fault_kind kind;
    grv_status status; /* what a failing call gives; GRV_OK: it is only delayed */
    uint64_t delay_ns; /* how long a call that fails waits first, within its deadline */
    uint64_t calls;    /* calls so far */
    uint64_t fired;    /* of these, how many failed */
} grv_fault_plan;

/* How many calls failed so far. Thread-safe. */
uint64_t grv_fault_fired(const grv_fault_plan *plan);

/* What a layer is to do with the call it is in. */
typedef enum grv_fault_action {
    GRV_FAULT_PASS = 0, /* pass it on */
    GRV_FAULT_STOP,     /* return the status that grv_fault_begin set, without passing it on */
    GRV_FAULT_FORGET,   /* pass it on; where it succeeds, undo what it handed out and fail */
    GRV_FAULT_SPOIL     /* pass it on, then cut what it read */
} grv_fault_action;

/*
 * Counts one call, named `what`, and decides about it. With GRV_FAULT_STOP *ret_status is the
 * plan's status, or the call's own where it was given up during the delay, and `error` says so.
 * For the layers. Thread-safe.
 */
grv_fault_action grv_fault_begin(const grv_call *call, grv_fault_plan *plan, const char *what,
                                 grv_status *ret_status, grv_error *error);

/* Fails call `what` as the plan says: for GRV_FAULT_FORGET. */
grv_status grv_fault_fail(const grv_fault_plan *plan, const char *what, grv_error *error);

/* What call `what`, which was passed on and came to `status`, comes to: for calls that hand out
 * nothing that would have to be undone. */
grv_status grv_fault_end(const grv_fault_plan *plan, grv_fault_action action, const char *what,
                         grv_status status, grv_error *error);

/*
 * Each puts the layer on `inner`. Takes it over: it is freed with the layer, and at once where
 * this fails (GRV_LIMIT_EXCEEDED without memory). `plan` is borrowed. Thread-safe as the port is.
 */
grv_status grv_kv_fault_new(grv_kv *inner, grv_fault_plan *plan, grv_kv **ret_kv, grv_error *error);
/* Over a block store. Blocks that it spoils are for a verify layer above it to find. */
grv_status grv_block_store_fault_new(grv_block_store *inner, grv_fault_plan *plan,
                                     grv_block_store **ret_store, grv_error *error);
/* Over a manifest repository; its lists and references too. */
grv_status grv_manifest_repo_fault_new(grv_manifest_repo *inner, grv_fault_plan *plan,
                                       grv_manifest_repo **ret_repo, grv_error *error);
/* Over a mutable object store, and so over an immutable one; its sinks, sources and lists too. A
 * source that it cuts ends early: for whoever reads it to find. */
grv_status grv_object_store_fault_new(grv_mutable_object_store *inner, grv_fault_plan *plan,
                                      grv_mutable_object_store **ret_store, grv_error *error);
/* Over a replica index and its lists. */
grv_status grv_replica_index_fault_new(grv_replica_index *inner, grv_fault_plan *plan,
                                       grv_replica_index **ret_index, grv_error *error);
/* Over a range tracker and its lists. */
grv_status grv_range_tracker_fault_new(grv_range_tracker *inner, grv_fault_plan *plan,
                                       grv_range_tracker **ret_tracker, grv_error *error);

#endif
