/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A tripwire for acknowledged writes. RocksDB replays its log up to the first record that does not
 * check, which after a power loss is right: what was synced lies before it. But a record damaged
 * later would drop everything behind it, and nobody would be told. So each durable write notes, in
 * a small file beside the database, a sequence number that is durable by then; a database that
 * comes back with a smaller one has lost acknowledged writes.
 *
 * The file is never synced: an old number, or none, only makes the wire less tight, and never
 * gives a false alarm.
 */
#ifndef GRV_BACKEND_ROCKS_WATERMARK_H
#define GRV_BACKEND_ROCKS_WATERMARK_H

#include <graviton/error.h>
#include <stdint.h>

/* Name of the file in the database's directory. */
#define GRV_WATERMARK_FILE "durable"

typedef struct grv_watermark {
    int fd;
    uint64_t sequence; /* atomic: the greatest noted */
} grv_watermark;

/* Opens the file in `dir`, to be raised (it is made where it is missing) or only to be read. What
 * is no valid number counts as none. */
grv_status grv_watermark_open(int dir, bool read_only, grv_watermark *ret_watermark,
                              grv_error *error);

/* Notes that all up to `sequence` is durable. Where that fails the older number stays, which is as
 * true as before. Thread-safe. */
void grv_watermark_raise(grv_watermark *watermark, uint64_t sequence);

/* The greatest number that was noted: all up to it is durable. Thread-safe. */
uint64_t grv_watermark_noted(const grv_watermark *watermark);

void grv_watermark_close(grv_watermark *watermark);

#endif
