/* SPDX-License-Identifier: Apache-2.0 */
/* Statuses and error records: names, the errno mapping, and bounded message text. */
#include <errno.h>
#include <graviton/error.h>
#include <stdio.h>
#include <string.h>

static const char *const status_names[GRV_STATUS_COUNT] = {
    [GRV_OK] = "ok",
    [GRV_NOT_FOUND] = "not_found",
    [GRV_ALREADY_EXISTS] = "already_exists",
    [GRV_INVALID_ARGUMENT] = "invalid_argument",
    [GRV_CORRUPT] = "corrupt",
    [GRV_UNAVAILABLE] = "unavailable",
    [GRV_TIMEOUT] = "timeout",
    [GRV_PERMISSION] = "permission",
    [GRV_OUT_OF_SPACE] = "out_of_space",
    [GRV_LIMIT_EXCEEDED] = "limit_exceeded",
    [GRV_CONFLICT] = "conflict",
    [GRV_UNSUPPORTED] = "unsupported",
    [GRV_CANCELLED] = "cancelled",
    [GRV_INTERNAL] = "internal",
};

const char *grv_status_name(grv_status status)
{
    if ((unsigned)status >= GRV_STATUS_COUNT) {
        return "unknown";
    }
    return status_names[status];
}

bool grv_status_is_retryable(grv_status status)
{
    return status == GRV_UNAVAILABLE || status == GRV_TIMEOUT;
}

grv_status grv_status_of_errno(int errno_value)
{
    switch (errno_value) {
    case ENOENT:
    case ENOTDIR:
        return GRV_NOT_FOUND;
    case EEXIST:
        return GRV_ALREADY_EXISTS;
    case EINVAL:
    case EISDIR:
    case ENAMETOOLONG:
    case ELOOP:
        return GRV_INVALID_ARGUMENT;
    case EACCES:
    case EPERM:
    case EROFS:
        return GRV_PERMISSION;
    case ENOSPC:
    case EDQUOT:
        return GRV_OUT_OF_SPACE;
    case ENOMEM:
    case EMFILE:
    case ENFILE:
    case EFBIG:
        return GRV_LIMIT_EXCEEDED;
    case EAGAIN:
    case EBUSY:
    case EIO:
    case EINTR:
    case EPIPE:
    case ENXIO:
    case ENODEV:
    case ESTALE:
    case ECONNREFUSED:
    case ECONNRESET:
    case EHOSTUNREACH:
    case ENETUNREACH:
        return GRV_UNAVAILABLE;
    case ETIMEDOUT:
        return GRV_TIMEOUT;
    case ECANCELED:
        return GRV_CANCELLED;
    case ENOSYS:
    case EOPNOTSUPP:
        return GRV_UNSUPPORTED;
    default:
        return GRV_INTERNAL;
    }
}

void grv_error_clear(grv_error *error)
{
    if (error) {
        memset(error, 0, sizeof *error);
    }
}

static void error_fill(grv_error *error, grv_status status, const char *origin, const char *format,
                       va_list arguments)
{
    grv_error_clear(error);
    error->status = status;
    snprintf(error->origin, sizeof error->origin, "%s", origin);
    vsnprintf(error->message, sizeof error->message, format, arguments);
}

grv_status grv_error_set(grv_error *error, grv_status status, const char *origin,
                         const char *format, ...)
{
    if (error) {
        va_list arguments;
        va_start(arguments, format);
        error_fill(error, status, origin, format, arguments);
        va_end(arguments);
    }
    return status;
}

grv_status grv_error_set_errno(grv_error *error, int errno_value, const char *origin,
                               const char *format, ...)
{
    grv_status status = grv_status_of_errno(errno_value);
    if (error) {
        va_list arguments;
        va_start(arguments, format);
        error_fill(error, status, origin, format, arguments);
        va_end(arguments);
        error->native_kind = GRV_NATIVE_ERRNO;
        error->native_code = errno_value;
        char text[128];
        size_t length = strlen(error->message);
        snprintf(error->message + length, sizeof error->message - length, ": %s",
                 strerror_r(errno_value, text, sizeof text));
    }
    return status;
}

void grv_error_prefix(grv_error *error, const char *format, ...)
{
    if (!error) {
        return;
    }
    char text[2 * GRV_ERROR_MESSAGE_SIZE];
    va_list arguments;
    va_start(arguments, format);
    int length = vsnprintf(text, GRV_ERROR_MESSAGE_SIZE, format, arguments);
    va_end(arguments);
    if (length < 0) {
        return;
    }
    size_t used = strlen(text);
    snprintf(text + used, sizeof text - used, ": %s", error->message);
    text[GRV_ERROR_MESSAGE_SIZE - 1] = '\0';
    memcpy(error->message, text, sizeof error->message);
}
