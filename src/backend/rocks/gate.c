/* SPDX-License-Identifier: Apache-2.0 */
/* The gate: two counters under a lock that is held for no longer than it takes to count. */
#include "backend/rocks/gate.h"

#include "base/wait.h"

#include <assert.h>

/* How long to wait for what is lent. Who holds it may be waiting for us, so this has an end. */
#define LENT_WAIT_NS UINT64_C(200000000)

grv_status grv_gate_init(grv_gate *gate, grv_error *error)
{
    *gate = (grv_gate){0};
    int failed = pthread_mutex_init(&gate->lock, NULL);
    if (failed) {
        return grv_error_set_errno(error, failed, "rocks", "cannot make a lock");
    }
    grv_wait_init(&gate->changed);
    return GRV_OK;
}

void grv_gate_done(grv_gate *gate)
{
    assert(gate->inside == 0 && gate->lent == 0);
    pthread_cond_destroy(&gate->changed);
    pthread_mutex_destroy(&gate->lock);
}

void grv_gate_enter(grv_gate *gate)
{
    pthread_mutex_lock(&gate->lock);
    while (gate->shut) {
        pthread_cond_wait(&gate->changed, &gate->lock);
    }
    gate->inside++;
    pthread_mutex_unlock(&gate->lock);
}

bool grv_gate_try(grv_gate *gate)
{
    pthread_mutex_lock(&gate->lock);
    bool entered = !gate->shut;
    gate->inside += entered;
    pthread_mutex_unlock(&gate->lock);
    return entered;
}

void grv_gate_leave(grv_gate *gate, size_t lends)
{
    pthread_mutex_lock(&gate->lock);
    gate->inside--;
    gate->lent += lends;
    if (gate->shut) {
        pthread_cond_broadcast(&gate->changed);
    }
    pthread_mutex_unlock(&gate->lock);
}

void grv_gate_give_back(grv_gate *gate)
{
    pthread_mutex_lock(&gate->lock);
    assert(gate->lent > 0);
    gate->lent--;
    if (gate->shut) {
        pthread_cond_broadcast(&gate->changed);
    }
    pthread_mutex_unlock(&gate->lock);
}

/* Waits until nothing is lent, for a while. */
static bool wait_for_lent(grv_gate *gate)
{
    const grv_call call = {.deadline_ns = grv_now_ns() + LENT_WAIT_NS};
    while (gate->lent > 0 && grv_now_ns() < call.deadline_ns) {
        grv_wait(&call, &gate->changed, &gate->lock);
    }
    return gate->lent == 0;
}

bool grv_gate_shut(grv_gate *gate)
{
    pthread_mutex_lock(&gate->lock);
    bool alone = false;
    if (gate->shut) {
        /* Out of the other's way, or both would wait for ever. */
        gate->inside--;
        pthread_cond_broadcast(&gate->changed);
        while (gate->shut) {
            pthread_cond_wait(&gate->changed, &gate->lock);
        }
        gate->inside++;
    } else {
        gate->shut = true;
        while (gate->inside > 1) {
            pthread_cond_wait(&gate->changed, &gate->lock);
        }
        alone = wait_for_lent(gate);
        if (!alone) {
            gate->shut = false;
            pthread_cond_broadcast(&gate->changed);
        }
    }
    pthread_mutex_unlock(&gate->lock);
    return alone;
}

void grv_gate_open(grv_gate *gate)
{
    pthread_mutex_lock(&gate->lock);
    gate->shut = false;
    pthread_cond_broadcast(&gate->changed);
    pthread_mutex_unlock(&gate->lock);
}
