/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Jobs that look after a whole store: collection frees what no blob needs. One job at a time on a
 * store: another one is GRV_UNAVAILABLE meanwhile.
 *
 * They know of the puts that go through the store's blob store. Whoever writes to its other ports
 * directly keeps away from a store while a job runs.
 */
#ifndef GRAVITON_MAINTAIN_H
#define GRAVITON_MAINTAIN_H

#include <graviton/store.h>

#ifdef __cplusplus
extern "C" {
#endif
#pragma GCC visibility push(default)

/* What a collection frees, or would free, and what it looked at. */
typedef struct grv_collect_report {
    uint64_t blobs;      /* whose manifests were read */
    uint64_t references; /* blocks that they name, repeats counted */
    uint64_t kept_blocks;
    uint64_t kept_bytes;           /* raw */
    uint64_t freed_blocks;         /* that no blob names */
    uint64_t freed_bytes;          /* raw */
    uint64_t freed_stored_bytes;   /* what they took */
    uint64_t missing_blocks;       /* that a blob names and that are not there: damage */
    grv_block_sweep block_sweep;   /* leftovers among the bytes */
    grv_manifest_sweep meta_sweep; /* leftovers among the metadata */
} grv_collect_report;

/* How to collect. Zero-initialise, then set. Jobs run as background calls, whatever `call` says. */
typedef struct grv_collect_config {
    bool dry_run;    /* free nothing; the report tells exactly what a collection would free now */
    size_t keys_max; /* block keys held at once; 0: about 50 MiB of them. Fewer cost more passes
                        over the manifests */
    /* Called between steps with what was done so far; NULL: not. */
    void (*progress)(void *context, const grv_collect_report *so_far);
    void *context;
} grv_collect_config;

/*
 * Frees the blocks that no blob names, and what puts and removals that were cut short have left.
 *
 * Exclusive: GRV_UNAVAILABLE where a put is open on this store (its
 * sink not freed yet), or another job runs; puts that are
 * opened meanwhile wait. Blobs may be read and removed. Every manifest is read before anything is
 * freed: where one cannot be, GRV_CORRUPT or GRV_UNSUPPORTED names the blob and nothing is freed.
 * A collection that ends early, by kill -9 too, has freed some of what it would have; the next one
 * frees the rest. GRV_UNSUPPORTED on a store opened to read only, unless `dry_run`.
 */
grv_status grv_store_collect(const grv_call *call, grv_store *store,
                             const grv_collect_config *config, grv_collect_report *ret_report,
                             grv_error *error);

#pragma GCC visibility pop
#ifdef __cplusplus
}
#endif

#endif
