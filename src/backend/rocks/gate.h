/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who is inside the database. After a full disk RocksDB takes no write until it is closed and
 * opened again, which nobody may be inside for: neither a call under way nor a value or cursor
 * that was lent and not given back. The gate counts both, and lets one caller in alone where that
 * can be had without waiting long for what is lent.
 */
#ifndef GRV_BACKEND_ROCKS_GATE_H
#define GRV_BACKEND_ROCKS_GATE_H

#include <graviton/error.h>
#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>

typedef struct grv_gate {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    size_t inside; /* calls under way */
    size_t lent;   /* values and cursors not given back */
    bool shut;     /* one of those inside is, or waits to be, alone */
} grv_gate;

grv_status grv_gate_init(grv_gate *gate, grv_error *error);
void grv_gate_done(grv_gate *gate);

/* A call begins; waits while another is alone. */
void grv_gate_enter(grv_gate *gate);
/* The same without waiting; false where that would be needed. */
bool grv_gate_try(grv_gate *gate);
/* A call ends. `lends` of what it gave out keep the database open until grv_gate_give_back. */
void grv_gate_leave(grv_gate *gate, size_t lends);
/* One of what was lent is back. */
void grv_gate_give_back(grv_gate *gate);

/* Waits until the caller, which is inside, is alone there. False, and then it is not, where
 * something stays lent, or where another was alone meanwhile and may have done the work. */
bool grv_gate_shut(grv_gate *gate);
/* Lets the others in again. */
void grv_gate_open(grv_gate *gate);

#endif
