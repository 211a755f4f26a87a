/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The reserve: a file beside the database that holds nothing but disk space. RocksDB writes even
 * to remove, so on a disk that is full to the last byte a store could not be made smaller any
 * more. Then the reserve gives its space back, and only what frees space may use it; it is filled
 * again as soon as there is room.
 *
 * The file's length says how much it is to hold, and stays when the space is given back: the file
 * is sparse then. So the size needs no record of its own and survives a crash at any point.
 */
#ifndef GRV_BACKEND_ROCKS_RESERVE_H
#define GRV_BACKEND_ROCKS_RESERVE_H

#include <graviton/error.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

/* Name of the file in the database's directory. */
#define GRV_RESERVE_FILE "reserve"

typedef struct grv_reserve {
    int dir;              /* the database's directory, open: where space is asked for */
    uint64_t margin;      /* bytes that stay free on the file system: see grv_reserve_room */
    pthread_mutex_t lock; /* guards all below but `whole` */
    int fd;               /* -1: there is none */
    uint64_t size;        /* what it is to hold */
    int failed;           /* errno of the last attempt to fill it, for messages */
    bool whole;           /* atomic: it holds that */
} grv_reserve;

/*
 * Opens the reserve of the database in `dir`, which is borrowed until the end. `size_bytes` makes
 * it so large (0: removes it), but at most an eighth of the file system; NULL leaves it as it is.
 * It is not filled yet. Ends with grv_reserve_close, also after a failure.
 */
grv_status grv_reserve_open(int dir, const uint64_t *size_bytes, grv_reserve *ret_reserve,
                            grv_error *error);

/* Whether the file system has room for `need` bytes and the margin, which keeps writes that have
 * been begun from failing in RocksDB's middle. True where the system does not tell. Thread-safe. */
bool grv_reserve_room(grv_reserve *reserve, uint64_t need);

/* Whether it holds what it is to hold; always so where there is none. Thread-safe. */
bool grv_reserve_is_whole(const grv_reserve *reserve);

/* Fills it where the margin stays free beside it. Returns whether it is whole. Thread-safe. */
bool grv_reserve_fill(grv_reserve *reserve);

/* Fills it as far as the disk has room, so that nobody else takes the space before the next
 * removal. Thread-safe. */
void grv_reserve_fill_rest(grv_reserve *reserve);

/* Gives its space back. *ret_released tells whether there was any. Thread-safe. */
grv_status grv_reserve_release(grv_reserve *reserve, bool *ret_released, grv_error *error);

/* Sets GRV_OUT_OF_SPACE with what is missing, and what to do. */
grv_status grv_reserve_refuse(grv_reserve *reserve, grv_error *error);

void grv_reserve_close(grv_reserve *reserve);

#endif
