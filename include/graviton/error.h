/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What went wrong, for people: a fixed-size record owned by the caller. Whoever detects a failure
 * fills it in; callers on the way up may prefix context and never replace the cause. Nothing is
 * allocated, nothing is thread-local, and the library never prints it.
 */
#ifndef GRAVITON_ERROR_H
#define GRAVITON_ERROR_H

#include <graviton/status.h>
#include <stdarg.h>

#ifdef __cplusplus
extern "C" {
#endif
#pragma GCC visibility push(default)

/* Bytes of message text a grv_error holds, the final NUL included. Longer text is cut. */
#define GRV_ERROR_MESSAGE_SIZE 512

/* What the native code of an error is. */
typedef enum grv_native_kind {
    GRV_NATIVE_NONE = 0,
    GRV_NATIVE_ERRNO = 1,    /* code is an errno value */
    GRV_NATIVE_SQLSTATE = 2, /* text holds the five-character SQLSTATE */
    GRV_NATIVE_HTTP = 3      /* code is an HTTP status */
} grv_native_kind;

/*
 * An error record. Zero-initialise it (GRV_ERROR_INIT) and pass its address as the last argument;
 * NULL is accepted everywhere by a caller that only wants the status. After GRV_OK its contents
 * are unspecified but safe to read.
 */
typedef struct grv_error {
    grv_status status;
    grv_native_kind native_kind;
    int native_code;
    char native_text[8];
    char origin[24]; /* component that detected it, such as "fs" or "rocks" */
    char message[GRV_ERROR_MESSAGE_SIZE];
} grv_error;

/* Initialiser of an empty grv_error. */
#define GRV_ERROR_INIT                                                                             \
    {                                                                                              \
        0                                                                                          \
    }

/* Empties the record. NULL is allowed. */
void grv_error_clear(grv_error *error);

/*
 * Records a failure and returns `status`, so that `return grv_error_set(...)` reads well. `status`
 * must not be GRV_OK. The message says what happened, to what, and where it helps what to do; no
 * final full stop or newline; no secrets. NULL `error` is allowed.
 */
grv_status grv_error_set(grv_error *error, grv_status status, const char *origin,
                         const char *format, ...) __attribute__((format(printf, 4, 5)));

/*
 * As grv_error_set, for a failed system call: maps `errno_value` to a status (see
 * grv_status_of_errno), stores it as the native code, and appends ": " and its text.
 */
grv_status grv_error_set_errno(grv_error *error, int errno_value, const char *origin,
                               const char *format, ...) __attribute__((format(printf, 4, 5)));

/* Puts "text: " before the message; the cause stays. Cut at the message's end if need be. */
void grv_error_prefix(grv_error *error, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* The status that an errno value stands for; GRV_INTERNAL for one without a better match. */
grv_status grv_status_of_errno(int errno_value);

#pragma GCC visibility pop
#ifdef __cplusplus
}
#endif

#endif
