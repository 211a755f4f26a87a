/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which blocks are known to be there. Invariant: a key is in the set only if the service was seen
 * to have it after everything that may have been removed was: a stamp is taken before the question,
 * changes with every removal by this store and with the epoch (removals by others), and a part of
 * the set with another stamp than the present one is emptied first.
 *
 * The set is a hash table of buckets by the digests' own bytes. When it may grow no more a key
 * takes the place of another one of its bucket.
 */
#include "backend/s3/blocks.h"

#include <stdlib.h>
#include <string.h>

#define BUCKET    8u
#define SHARD_MIN 64u

/* The digest's last bytes choose, since its first ones are alike for keys that come sorted. */
static size_t key_number(const grv_block_key *key)
{
    size_t number;
    memcpy(&number, key->digest.bytes + GRV_DIGEST_SIZE - sizeof number, sizeof number);
    return number ^ key->size;
}

static grv_s3_shard *shard_of(grv_s3_present *present, size_t number)
{
    return &present->shards[number % GRV_S3_SHARDS];
}

static grv_block_key *bucket_of(const grv_s3_shard *shard, size_t number)
{
    size_t buckets = shard->capacity / BUCKET;
    return shard->slots + number / GRV_S3_SHARDS % buckets * BUCKET;
}

grv_status grv_s3_present_init(grv_s3_present *present, size_t max, grv_error *error)
{
    present->shard_max = SHARD_MIN;
    while (present->shard_max * 2 * GRV_S3_SHARDS <= max) {
        present->shard_max *= 2;
    }
    present->absent = calloc(GRV_S3_ABSENT_SLOTS, sizeof *present->absent);
    if (!present->absent) {
        return grv_error_set(error, GRV_LIMIT_EXCEEDED, "s3", "no memory for a block store");
    }
    pthread_mutex_init(&present->absent_lock, NULL);
    for (size_t i = 0; i < GRV_S3_SHARDS; i++) {
        pthread_mutex_init(&present->shards[i].lock, NULL);
    }
    return GRV_OK;
}

void grv_s3_present_done(grv_s3_present *present)
{
    if (!present->absent) {
        return;
    }
    for (size_t i = 0; i < GRV_S3_SHARDS; i++) {
        free(present->shards[i].slots);
        pthread_mutex_destroy(&present->shards[i].lock);
    }
    pthread_mutex_destroy(&present->absent_lock);
    free(present->absent);
}

uint64_t grv_s3_present_stamp(grv_s3_present *present)
{
    /* Both only grow, so that no two states have one sum. */
    uint64_t removals = __atomic_load_n(&present->removals, __ATOMIC_ACQUIRE);
    return removals + (present->epoch ? present->epoch(present->context) : 0);
}

void grv_s3_present_forget_all(grv_s3_present *present)
{
    __atomic_fetch_add(&present->removals, 1, __ATOMIC_ACQ_REL);
}

/* Empties a shard of an older stamp. False where the stamp is older than the shard. The lock is
 * held. */
static bool shard_at(grv_s3_shard *shard, uint64_t stamp)
{
    if (shard->stamp < stamp) {
        free(shard->slots);
        shard->slots = NULL;
        shard->capacity = 0;
        shard->stamp = stamp;
    }
    return shard->stamp == stamp;
}

/* A place for a key in its bucket: its own, or a free one; NULL where all are taken. */
static grv_block_key *bucket_find(grv_block_key *bucket, const grv_block_key *key)
{
    for (size_t i = 0; i < BUCKET; i++) {
        if (!bucket[i].digest.hash || grv_block_key_compare(&bucket[i], key) == 0) {
            return &bucket[i];
        }
    }
    return NULL;
}

/* Doubles a shard that may grow. Without memory it stays as it is. */
static bool shard_grow(grv_s3_shard *shard, size_t max)
{
    grv_s3_shard grown = {.capacity = shard->capacity ? 2 * shard->capacity : SHARD_MIN};
    if (grown.capacity > max) {
        return false;
    }
    grown.slots = calloc(grown.capacity, sizeof *grown.slots);
    if (!grown.slots) {
        return false;
    }
    for (size_t i = 0; i < shard->capacity; i++) {
        const grv_block_key *key = &shard->slots[i];
        if (key->digest.hash) {
            /* Each bucket is split into two, so there is room. */
            *bucket_find(bucket_of(&grown, key_number(key)), key) = *key;
        }
    }
    free(shard->slots);
    shard->slots = grown.slots;
    shard->capacity = grown.capacity;
    return true;
}

void grv_s3_present_add(grv_s3_present *present, uint64_t stamp, const grv_block_key *key)
{
    size_t number = key_number(key);
    grv_s3_shard *shard = shard_of(present, number);
    pthread_mutex_lock(&shard->lock);
    /* Removals of this store may be newer than the shard knows. */
    if (grv_s3_present_stamp(present) == stamp && shard_at(shard, stamp)) {
        grv_block_key *place = shard->capacity ? bucket_find(bucket_of(shard, number), key) : NULL;
        while (!place && shard_grow(shard, present->shard_max)) {
            place = bucket_find(bucket_of(shard, number), key);
        }
        if (!place && shard->capacity) {
            place = bucket_of(shard, number) + key->digest.bytes[0] % BUCKET;
        }
        if (place) {
            *place = *key;
        }
    }
    pthread_mutex_unlock(&shard->lock);
}

bool grv_s3_present_has(grv_s3_present *present, uint64_t stamp, const grv_block_key *key)
{
    size_t number = key_number(key);
    grv_s3_shard *shard = shard_of(present, number);
    bool has = false;
    pthread_mutex_lock(&shard->lock);
    if (shard_at(shard, stamp) && shard->capacity) {
        const grv_block_key *place = bucket_find(bucket_of(shard, number), key);
        has = place && place->digest.hash;
    }
    pthread_mutex_unlock(&shard->lock);
    return has;
}

/* ---- Absent a moment ago ---- */

void grv_s3_absent_note(grv_s3_present *present, const grv_block_key *key)
{
    pthread_mutex_lock(&present->absent_lock);
    present->absent[key_number(key) % GRV_S3_ABSENT_SLOTS] = *key;
    pthread_mutex_unlock(&present->absent_lock);
}

bool grv_s3_absent_take(grv_s3_present *present, const grv_block_key *key)
{
    pthread_mutex_lock(&present->absent_lock);
    grv_block_key *slot = &present->absent[key_number(key) % GRV_S3_ABSENT_SLOTS];
    bool was = grv_block_key_compare(slot, key) == 0;
    if (was) {
        *slot = (grv_block_key){0};
    }
    pthread_mutex_unlock(&present->absent_lock);
    return was;
}
