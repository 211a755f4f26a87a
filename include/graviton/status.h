/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The closed set of outcomes. Every function that can fail returns one of these; what went wrong
 * in detail travels beside it in a grv_error (see error.h). Callers branch on the status alone.
 */
#ifndef GRAVITON_STATUS_H
#define GRAVITON_STATUS_H

#include <stdbool.h>

#ifdef __cplusplus
extern "C" {
#endif
#pragma GCC visibility push(default)

/* Outcome of an operation. The numbers are stable: they may be logged and sent. */
typedef enum grv_status {
    GRV_OK = 0,
    GRV_NOT_FOUND = 1,        /* the named thing does not exist */
    GRV_ALREADY_EXISTS = 2,   /* it exists and the operation wanted it absent */
    GRV_INVALID_ARGUMENT = 3, /* the caller's words are wrong; the same call fails again */
    GRV_CORRUPT = 4,          /* stored bytes are not what was stored */
    GRV_UNAVAILABLE = 5,      /* a service or resource is not there now; retry may help */
    GRV_TIMEOUT = 6,          /* the call's deadline passed */
    GRV_PERMISSION = 7,       /* the system or a service refused access */
    GRV_OUT_OF_SPACE = 8,     /* a disk or quota is full */
    GRV_LIMIT_EXCEEDED = 9,   /* a documented bound was hit: size, memory, open files */
    GRV_CONFLICT = 10,        /* a guard failed, or the store is not the one expected */
    GRV_UNSUPPORTED = 11,     /* this backend or version cannot do it */
    GRV_CANCELLED = 12,       /* the caller raised the call's cancel flag */
    GRV_INTERNAL = 13         /* an invariant broke; a defect in graviton */
} grv_status;

/* Number of statuses, for tables indexed by status. */
#define GRV_STATUS_COUNT 14

/* Lower-case name such as "not_found"; static storage; "unknown" for a value out of range. */
const char *grv_status_name(grv_status status);

/*
 * True where the same call may succeed later without the caller changing anything: unavailable
 * and timeout. This is the only place where retryability is decided.
 */
bool grv_status_is_retryable(grv_status status);

#pragma GCC visibility pop
#ifdef __cplusplus
}
#endif

#endif
