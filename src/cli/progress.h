/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The one line on a terminal that tells how far a command is: bytes, rate, time left where the
 * size is known, share of bytes that were stored before. Only where stderr is a terminal.
 */
#ifndef GRAVITON_CLI_PROGRESS_H
#define GRAVITON_CLI_PROGRESS_H

#include <stdbool.h>
#include <stdint.h>

/*
 * A progress line. add and settle are for any thread; the rest is the main thread's alone. Zero is
 * a line that is never shown.
 */
typedef struct cli_progress {
    bool enabled;
    int shown; /* columns on the screen now */
    uint64_t started_ns;
    uint64_t drawn_ns;
    uint64_t bytes;           /* atomic */
    uint64_t total_bytes;     /* 0: not known */
    uint64_t settled_bytes;   /* atomic: bytes of which it is known whether they were stored */
    uint64_t duplicate_bytes; /* atomic: those that were */
    uint64_t things;          /* files or blobs done */
    const char *noun;
} cli_progress;

/* Begins a line about `noun`s ("file", "blob"; static), unless `quiet` or stderr is no terminal. */
void cli_progress_start(cli_progress *progress, const char *noun, bool quiet);

/* More bytes went by. Any thread. */
void cli_progress_add(cli_progress *progress, uint64_t bytes);

/* Of so many bytes it is known now that so many were stored before. Any thread. */
void cli_progress_settle(cli_progress *progress, uint64_t bytes, uint64_t duplicate_bytes);

/* One thing is done. */
void cli_progress_done(cli_progress *progress);

/* Draws the line if the last drawing is 200 ms old. */
void cli_progress_tick(cli_progress *progress);

/* Wipes the line, before anything else is printed and at the end. */
void cli_progress_clear(cli_progress *progress);

/* Room for a size as people read it. */
#define CLI_SIZE_TEXT_SIZE 24

/* Prints a size as "512 B", "1.4 MiB" and so on. */
void cli_size_print(uint64_t size_bytes, char ret_text[CLI_SIZE_TEXT_SIZE]);

#endif
