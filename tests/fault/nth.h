/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The nth fault: an operation runs again and again on a fresh store, and each time another of the
 * calls under it fails, the first, the second, and so on until none is left, once and for good.
 * After each run the store must be as it was or as the operation makes it, with nothing leaked,
 * and the operation must succeed when it is tried again.
 */
#ifndef GRV_TESTS_FAULT_NTH_H
#define GRV_TESTS_FAULT_NTH_H

#include "rig.h"

/* A way of making things fail. */
typedef struct nth_faults {
    const char *name;
    const void *config; /* for arm and allows */
    /* Makes the nth fault from now on happen, and all after it where `persistent`. */
    void (*arm)(const void *config, fault_rig *rig, uint64_t n, bool persistent);
    /* Ends that; how many faults happened. */
    uint64_t (*disarm)(fault_rig *rig);
    /* Whether an operation under these faults may end so. */
    bool (*allows)(const void *config, grv_status status);
    bool reopens; /* a failure may be final for the open store: it is opened anew to try again */
    bool tidy;    /* no failure of these may leave temporary files */
} nth_faults;

/* An operation: it returns its status and keeps the rig's knowledge true. */
typedef struct nth_operation {
    const char *name;
    grv_status (*run)(fault_rig *rig, grv_error *error);
    bool on_closed; /* opens the store itself */
    bool on_empty;  /* and makes it: the rig has no blobs */
} nth_operation;

/* The operations on a store, in operations.c: on any rig but RIG_STORE. */
extern const nth_operation nth_operations[];
extern const size_t nth_operation_count;
/* Those on objects, in operations_ports.c; the first three put. */
extern const nth_operation nth_object_operations[];
extern const size_t nth_object_operation_count;
/* Those on replicas and ranges: in a key-value store on any rig. */
extern const nth_operation nth_index_operations[];
extern const size_t nth_index_operation_count;
/* Opening a store. */
extern const nth_operation nth_open;
/* Scrubbing one. It believes what it reads twice: no fault that spoils for good may be tried. */
extern const nth_operation nth_scrub;

/* Runs all of it for one operation. Fails the test where anything is wrong. */
void nth_run(const nth_faults *faults, rig_kind kind, const nth_operation *operation);
/* As nth_run, with faults that happen once only. */
void nth_run_once(const nth_faults *faults, rig_kind kind, const nth_operation *operation);
/* As nth_run over all operations, opening included; those on objects where the rig's kind has its
 * own, those on replicas and ranges on RIG_KV. */
void nth_run_all(const nth_faults *faults, rig_kind kind);
/* As nth_run_all, with faults that happen once only: for those that are tried again for ever. */
void nth_run_all_once(const nth_faults *faults, rig_kind kind);

#endif
