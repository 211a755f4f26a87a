/* SPDX-License-Identifier: Apache-2.0 */
/* Key locks: a queue of claims, as many as there are threads writing, so it is simply walked. */
#include "backend/rocks/stripes.h"

#include <string.h>
#include <xxhash.h>

grv_status grv_stripes_init(grv_stripes *stripes, unsigned namespace_count, grv_error *error)
{
    *stripes = (grv_stripes){.count = namespace_count};
    int failed = pthread_mutex_init(&stripes->mutex, NULL);
    if (failed) {
        return grv_error_set_errno(error, failed, "rocks", "cannot make a lock");
    }
    failed = pthread_cond_init(&stripes->changed, NULL);
    if (failed) {
        pthread_mutex_destroy(&stripes->mutex);
        return grv_error_set_errno(error, failed, "rocks", "cannot make a lock");
    }
    return GRV_OK;
}

void grv_stripes_done(grv_stripes *stripes)
{
    pthread_cond_destroy(&stripes->changed);
    pthread_mutex_destroy(&stripes->mutex);
}

static uint64_t stripe_of(grv_bytes key)
{
    return UINT64_C(1) << (XXH3_64bits(key.data, key.size) & 63);
}

static void claim_fill(grv_stripes_claim *claim, const grv_kv_batch *batch)
{
    memset(claim, 0, sizeof *claim);
    for (size_t i = 0; i < batch->op_count; i++) {
        const grv_kv_op *op = &batch->ops[i];
        if (op->kind == GRV_KV_DELETE_RANGE) {
            claim->alone[op->ns] = UINT64_MAX;
        } else {
            claim->shared[op->ns] |= stripe_of(op->key);
        }
    }
    for (size_t i = 0; i < batch->guard_count; i++) {
        claim->alone[batch->guards[i].ns] |= stripe_of(batch->guards[i].key);
    }
}

static bool must_wait(const grv_stripes *stripes, const grv_stripes_claim *claim)
{
    for (const grv_stripes_claim *other = claim->before; other; other = other->before) {
        for (unsigned ns = 0; ns < stripes->count; ns++) {
            if ((claim->alone[ns] & (other->alone[ns] | other->shared[ns])) ||
                (claim->shared[ns] & other->alone[ns])) {
                return true;
            }
        }
    }
    return false;
}

void grv_stripes_lock(grv_stripes *stripes, const grv_kv_batch *batch, grv_stripes_claim *ret_claim)
{
    claim_fill(ret_claim, batch);
    pthread_mutex_lock(&stripes->mutex);
    ret_claim->before = stripes->last;
    if (stripes->last) {
        stripes->last->after = ret_claim;
    }
    stripes->last = ret_claim;
    while (must_wait(stripes, ret_claim)) {
        pthread_cond_wait(&stripes->changed, &stripes->mutex);
    }
    pthread_mutex_unlock(&stripes->mutex);
}

void grv_stripes_unlock(grv_stripes *stripes, grv_stripes_claim *claim)
{
    pthread_mutex_lock(&stripes->mutex);
    if (claim->before) {
        claim->before->after = claim->after;
    }
    if (claim->after) {
        claim->after->before = claim->before;
    } else {
        stripes->last = claim->before;
    }
    pthread_cond_broadcast(&stripes->changed);
    pthread_mutex_unlock(&stripes->mutex);
}
