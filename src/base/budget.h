/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A number of bytes that many streams share. A stream takes its share before it allocates and
 * gives it back when it frees; whoever comes when all is taken waits.
 *
 * Buffers of one size may be left here for the next stream, which finds them warm: fresh memory
 * costs a page fault every 4 KiB. A spare buffer's share stays taken, but no take fails or waits
 * while there is a spare one: it is freed instead.
 */
#ifndef GRV_BASE_BUDGET_H
#define GRV_BASE_BUDGET_H

#include <graviton/call.h>
#include <pthread.h>
#include <stddef.h>

/* How long a call without deadline waits for a share before it gives up, in nanoseconds. */
#define GRV_BUDGET_PATIENCE_NS UINT64_C(30000000000)

/* The size of a spare buffer, and how many are kept at most. */
#define GRV_BUDGET_SPARE_SIZE ((size_t)1 << 20)
#define GRV_BUDGET_SPARES_MAX 32u

typedef struct grv_budget_spare grv_budget_spare; /* the budget's */

/* A budget in the caller's storage. Thread-safe. */
typedef struct grv_budget {
    pthread_mutex_t lock;
    pthread_cond_t freed;
    size_t total;
    size_t taken;
    unsigned waiting;         /* takes that wait */
    grv_budget_spare *spares; /* the one left last comes first */
    unsigned spare_count;
} grv_budget;

/* A budget of `total` bytes. */
void grv_budget_init(grv_budget *budget, size_t total);

/* Ends it and frees what is spare; everything has been given back. */
void grv_budget_done(grv_budget *budget);

/* Takes `size` bytes now, or not at all. */
bool grv_budget_try(grv_budget *budget, size_t size);

/*
 * Takes `size` bytes, waiting for others to give theirs back, until the call's deadline or for
 * GRV_BUDGET_PATIENCE_NS. GRV_LIMIT_EXCEEDED where nothing came free or `size` is more than the
 * whole; GRV_TIMEOUT and GRV_CANCELLED as grv_call_check.
 */
grv_status grv_budget_take(const grv_call *call, grv_budget *budget, size_t size, grv_error *error);

/* Gives bytes back. */
void grv_budget_give(grv_budget *budget, size_t size);

/* A buffer of GRV_BUDGET_SPARE_SIZE bytes together with its share, which is the caller's from then
 * on; NULL where none is left. */
void *grv_budget_spare_take(grv_budget *budget);

/* Leaves a buffer of that size, from malloc, and its share. Frees it, and gives the share back,
 * where enough are left or somebody waits. */
void grv_budget_spare_give(grv_budget *budget, void *buffer);

#endif
