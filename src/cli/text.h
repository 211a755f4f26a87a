/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Bytes that people named things with, made fit for a line of text, a terminal or JSON. Pure: no
 * I/O.
 */
#ifndef GRAVITON_CLI_TEXT_H
#define GRAVITON_CLI_TEXT_H

#include <graviton/bytes.h>
#include <jansson.h>
#include <stdbool.h>

/* True if a name holds a byte that sha256sum escapes: newline, carriage return, backslash. */
bool cli_name_needs_escape(grv_bytes name);

/* Appends the name, those bytes written as \n, \r and \\. */
grv_status cli_name_escape(grv_bytes name, grv_buffer *out, grv_error *error);

/*
 * Appends text for a message: control characters as \n, \r, \t or \xHH, so that no name can move a
 * terminal's cursor or forge a line.
 */
grv_status cli_text_sanitise(grv_bytes text, grv_buffer *out, grv_error *error);

/* A JSON string; bytes that are not UTF-8 become U+FFFD. NULL without memory. */
json_t *cli_json_text(grv_bytes text);

/*
 * Sets `key` to the name, and `key`_base64 to its exact bytes where it is not UTF-8. False without
 * memory, or where `object` is NULL.
 */
bool cli_json_set_name(json_t *object, const char *key, grv_bytes name);

/* An integer for JSON; jansson's are signed, so more than 2^63 - 1 becomes that. */
json_int_t cli_json_integer(uint64_t number);

/* Room for a time as text. */
#define CLI_TIME_TEXT_SIZE 40

/* Prints nanoseconds since 1970 as RFC 3339 in UTC, with milliseconds. */
void cli_time_print(uint64_t time_ns, char ret_text[CLI_TIME_TEXT_SIZE]);

#endif
