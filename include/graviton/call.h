/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The context of one call: how long it may take, whether it was given up, who asked. It is the
 * first parameter of every port slot. NULL means no deadline, no cancel flag, foreground.
 */
#ifndef GRAVITON_CALL_H
#define GRAVITON_CALL_H

#include <graviton/error.h>
#include <stdbool.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif
#pragma GCC visibility push(default)

/* Foreground work answers a user; background work (collection, scrubbing, verifying) gives way to
 * it, and reads the store itself, past any cache. */
typedef enum grv_priority { GRV_FOREGROUND = 0, GRV_BACKGROUND = 1 } grv_priority;

/*
 * A flag by which a caller gives its own calls up. Zero-initialise it; raise it from any thread or
 * a signal handler; it outlives the calls that name it.
 */
typedef struct grv_cancel {
    int raised; /* through grv_cancel_raise alone */
} grv_cancel;

/* Raises the flag. Async-signal-safe. */
static inline void grv_cancel_raise(grv_cancel *cancel)
{
    __atomic_store_n(&cancel->raised, 1, __ATOMIC_RELEASE);
}

/*
 * A call context. Borrowed by the callee for the length of the call, or, where it opened a
 * stream, not beyond the call that opened it: each later read or write brings its own.
 */
typedef struct grv_call {
    uint64_t deadline_ns;     /* on CLOCK_MONOTONIC; 0 = none */
    const grv_cancel *cancel; /* raised = give up soon; NULL = never */
    uint8_t trace_id[16];     /* W3C trace id; all zero = none */
    grv_priority priority;
    /* The caller has the blob open that it asks about: a store need not look again whether it is
     * there, and may answer as for a blob of which nothing else is known. */
    bool has_opened;
    /* The answer, or GRV_UNAVAILABLE where that would have to wait for a disk or another machine,
     * or would keep a processor busy for long: for threads that have others to serve. Of stores
     * with GRV_BLOB_CAP_NO_WAIT; others do not heed it. */
    bool no_wait;
} grv_call;

/* Now on CLOCK_MONOTONIC, in nanoseconds. */
uint64_t grv_now_ns(void);

/*
 * GRV_OK, or GRV_CANCELLED or GRV_TIMEOUT where the call was given up or its deadline passed.
 * Long loops ask between steps. NULL `call` is always GRV_OK.
 */
grv_status grv_call_check(const grv_call *call, const char *origin, grv_error *error);

/* GRV_UNAVAILABLE: what a call with `no_wait` gets where it would have to wait. */
grv_status grv_call_would_wait(const char *origin, grv_error *error);

#pragma GCC visibility pop
#ifdef __cplusplus
}
#endif

#endif
