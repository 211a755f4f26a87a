/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Requests a second of one client. A token bucket needs one number: the time at which it will be
 * full again. A client whose time has passed is like one that was never seen, so its place may be
 * given away; that is what makes a table of fixed size do.
 */
#include "http/rate.h"
#include "os/random.h"

#include <pthread.h>
#include <stdlib.h>
#include <xxhash.h>

#define RATE_SHARDS 64u /* each with a lock; a power of two */
#define RATE_SETS   32u /* of a shard; a power of two */
#define RATE_WAYS   8u  /* places that a client may be in */
#define RATE_BURST  (HTTP_RATE_BURST_S * UINT64_C(1000000000))

typedef struct rate_entry {
    uint64_t client;  /* hash of its name */
    uint64_t full_ns; /* when its bucket will be full */
} rate_entry;

typedef struct rate_shard {
    pthread_mutex_t lock;
    rate_entry entries[RATE_SETS][RATE_WAYS];
} rate_shard;

struct http_rate {
    uint64_t seed; /* so that nobody can choose names that share a place with another's */
    uint64_t interval_ns;
    rate_shard shards[RATE_SHARDS];
};

grv_status http_rate_new(unsigned per_second, http_rate **ret_rate, grv_error *error)
{
    if (per_second == 0 || per_second > 1000000) {
        return grv_error_set(error, GRV_INVALID_ARGUMENT, "rate",
                             "a client's rate is 1 to 1000000 requests a second, not %u",
                             per_second);
    }
    http_rate *rate = calloc(1, sizeof *rate);
    if (!rate) {
        return grv_error_set(error, GRV_LIMIT_EXCEEDED, "rate", "no memory for clients' rates");
    }
    grv_status status = grv_random_fill(&rate->seed, sizeof rate->seed, error);
    if (status) {
        free(rate);
        return status;
    }
    rate->interval_ns = UINT64_C(1000000000) / per_second;
    for (size_t i = 0; i < RATE_SHARDS; i++) {
        pthread_mutex_init(&rate->shards[i].lock, NULL);
    }
    *ret_rate = rate;
    return GRV_OK;
}

/* The client's place, or the one that is given to it: of a client that is missed least. */
static rate_entry *rate_find(rate_entry set[RATE_WAYS], uint64_t client)
{
    rate_entry *oldest = &set[0];
    for (size_t i = 0; i < RATE_WAYS; i++) {
        if (set[i].client == client) {
            return &set[i];
        }
        if (set[i].full_ns < oldest->full_ns) {
            oldest = &set[i];
        }
    }
    *oldest = (rate_entry){.client = client};
    return oldest;
}

bool http_rate_take(http_rate *rate, grv_bytes client, uint64_t now_ns, unsigned *ret_retry_after_s)
{
    uint64_t hash = XXH3_64bits_withSeed(client.data, client.size, rate->seed);
    rate_shard *shard = &rate->shards[hash % RATE_SHARDS];
    uint64_t wait_ns = 0;
    pthread_mutex_lock(&shard->lock);
    rate_entry *entry = rate_find(shard->entries[hash / RATE_SHARDS % RATE_SETS], hash);
    uint64_t base_ns = entry->full_ns > now_ns ? entry->full_ns : now_ns;
    uint64_t full_ns = base_ns + rate->interval_ns;
    if (full_ns - now_ns > RATE_BURST) {
        wait_ns = full_ns - now_ns - RATE_BURST;
    } else {
        entry->full_ns = full_ns;
    }
    pthread_mutex_unlock(&shard->lock);
    if (wait_ns > 0) {
        *ret_retry_after_s = (unsigned)((wait_ns + 999999999u) / 1000000000u);
    }
    return wait_ns == 0;
}

void http_rate_free(http_rate *rate)
{
    if (!rate) {
        return;
    }
    for (size_t i = 0; i < RATE_SHARDS; i++) {
        pthread_mutex_destroy(&rate->shards[i].lock);
    }
    free(rate);
}
