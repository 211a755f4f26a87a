/* SPDX-License-Identifier: Apache-2.0 */
/* Rows on stdout through one buffer, messages on stderr in one write each. */
#include "cli/output.h"

#include "cli/text.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define OUTPUT_NAME   "standard output"
#define MESSAGE_MAX   (16u << 10)
#define NAME_ROW_MAX  (1u << 20)
#define OUTPUT_ORIGIN "output"

grv_status cli_write_all(const grv_call *call, int fd, grv_bytes bytes, const char *name,
                         grv_error *error)
{
    while (bytes.size > 0) {
        ssize_t written = write(fd, bytes.data, bytes.size);
        if (written < 0 && errno != EINTR) {
            return grv_error_set_errno(error, errno, OUTPUT_ORIGIN, "cannot write to %s", name);
        }
        size_t size = written > 0 ? (size_t)written : 0;
        bytes = (grv_bytes){bytes.data + size, bytes.size - size};
        if (bytes.size > 0) { /* cut short, perhaps by a signal: the next write might never end */
            grv_status status = grv_call_check(call, OUTPUT_ORIGIN, error);
            if (status) {
                return status;
            }
        }
    }
    return GRV_OK;
}

static grv_status output_fail_again(const cli_output *output, grv_error *error)
{
    if (error) {
        *error = output->failed;
    }
    return output->failed.status;
}

grv_status cli_output_flush(cli_output *output, grv_error *error)
{
    if (output->failed.status) {
        return output_fail_again(output, error);
    }
    if (output->used == 0) {
        return GRV_OK;
    }
    cli_progress_clear(output->progress);
    grv_bytes bytes = {output->buffer, output->used};
    output->used = 0;
    if (cli_write_all(output->call, STDOUT_FILENO, bytes, OUTPUT_NAME, &output->failed)) {
        return output_fail_again(output, error);
    }
    return GRV_OK;
}

grv_status cli_output_write(cli_output *output, grv_bytes bytes, grv_error *error)
{
    while (bytes.size > 0) {
        if (output->used == sizeof output->buffer) {
            grv_status status = cli_output_flush(output, error);
            if (status) {
                return status;
            }
        }
        size_t room = sizeof output->buffer - output->used;
        size_t take = bytes.size < room ? bytes.size : room;
        memcpy(output->buffer + output->used, bytes.data, take);
        output->used += take;
        bytes = (grv_bytes){bytes.data + take, bytes.size - take};
    }
    return output->failed.status ? output_fail_again(output, error) : GRV_OK;
}

grv_status cli_output_text(cli_output *output, grv_error *error, const char *format, ...)
{
    char text[1024];
    va_list arguments;
    va_start(arguments, format);
    int size = vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    if (size < 0 || (size_t)size >= sizeof text) {
        return grv_error_set(error, GRV_INTERNAL, OUTPUT_ORIGIN, "a row is too long");
    }
    return cli_output_write(output, grv_bytes_of(text, (size_t)size), error);
}

grv_status cli_output_named_row(cli_output *output, const char *lead, grv_bytes name,
                                grv_error *error)
{
    grv_buffer row;
    grv_buffer_init(&row, NAME_ROW_MAX);
    grv_status status = GRV_OK;
    if (cli_name_needs_escape(name)) {
        status = grv_buffer_append(&row, grv_bytes_of("\\", 1), error);
    }
    if (!status) {
        status = grv_buffer_append(&row, grv_bytes_of(lead, strlen(lead)), error);
    }
    if (!status) {
        status = grv_buffer_append(&row, grv_bytes_of("\t", 1), error);
    }
    if (!status) {
        status = cli_name_escape(name, &row, error);
    }
    if (!status) {
        status = grv_buffer_append(&row, grv_bytes_of("\n", 1), error);
    }
    if (!status) {
        status = cli_output_write(output, grv_buffer_bytes(&row), error);
    }
    grv_buffer_done(&row);
    return status;
}

typedef struct output_dump {
    cli_output *output;
    grv_error *error;
    grv_status status;
} output_dump;

static int output_dump_piece(const char *data, size_t size, void *context)
{
    output_dump *dump = context;
    dump->status = cli_output_write(dump->output, grv_bytes_of(data, size), dump->error);
    return dump->status ? -1 : 0;
}

grv_status cli_output_json(cli_output *output, json_t *object, grv_error *error)
{
    output_dump dump = {.output = output, .error = error};
    if (!object || json_dump_callback(object, output_dump_piece, &dump,
                                      JSON_COMPACT | JSON_REAL_PRECISION(9)) < 0) {
        json_decref(object);
        if (dump.status) {
            return dump.status;
        }
        return grv_error_set(error, GRV_LIMIT_EXCEEDED, OUTPUT_ORIGIN,
                             "no memory for a row of output");
    }
    json_decref(object);
    return cli_output_write(output, grv_bytes_of("\n", 1), error);
}

bool cli_error_is_broken_pipe(const grv_error *error)
{
    return error->native_kind == GRV_NATIVE_ERRNO && error->native_code == EPIPE &&
           strcmp(error->origin, OUTPUT_ORIGIN) == 0;
}

/*
 * One line to stderr in one write, so that lines of several processes do not mix. Nothing can be
 * said about a stderr that fails; the exit code still tells.
 */
static void report_line(cli_output *output, const char *lead, const char *text)
{
    grv_buffer line;
    grv_buffer_init(&line, MESSAGE_MAX);
    cli_progress_clear(output->progress);
    grv_status status = grv_buffer_append(&line, grv_bytes_of(lead, strlen(lead)), NULL);
    if (!status) {
        status = cli_text_sanitise(grv_bytes_of(text, strlen(text)), &line, NULL);
    }
    if (!status) {
        status = grv_buffer_append(&line, grv_bytes_of("\n", 1), NULL);
    }
    if (!status) {
        status = cli_write_all(NULL, STDERR_FILENO, grv_buffer_bytes(&line), "stderr", NULL);
    }
    (void)status;
    grv_buffer_done(&line);
}

/* As report_line, for {"KIND":{…,"message":TEXT}}. Takes `detail`. */
static void report_json(cli_output *output, const char *kind, json_t *detail, const char *text)
{
    json_t *message = cli_json_text(grv_bytes_of(text, strlen(text)));
    json_t *object = json_object();
    json_object_set_new(detail, "message", message);
    json_object_set_new(object, kind, detail);
    char line[MESSAGE_MAX];
    size_t size = object ? json_dumpb(object, line, sizeof line - 1, JSON_COMPACT) : 0;
    json_decref(object);
    cli_progress_clear(output->progress);
    if (size > 0 && size < sizeof line) {
        line[size] = '\n';
        (void)cli_write_all(NULL, STDERR_FILENO, grv_bytes_of(line, size + 1), "stderr", NULL);
    }
}

void cli_report_error(cli_output *output, const grv_error *error)
{
    if (output->json) {
        json_t *detail = json_pack("{s:s}", "status", grv_status_name(error->status));
        report_json(output, "error", detail, error->message);
    } else {
        report_line(output, "graviton: ", error->message);
    }
}

void cli_report_warning(cli_output *output, const char *format, ...)
{
    char text[GRV_ERROR_MESSAGE_SIZE];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    if (output->json) {
        report_json(output, "warning", json_object(), text);
    } else {
        report_line(output, "graviton: warning: ", text);
    }
}

void cli_report_note(cli_output *output, const char *format, ...)
{
    char text[GRV_ERROR_MESSAGE_SIZE];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    if (!output->json) {
        report_line(output, "graviton: ", text);
    }
}
