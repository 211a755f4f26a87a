/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The cache in memory: shards by the key, each with a lock, a table and two queues.
 *
 * Eviction is S3-FIFO (Yang, Zhang, Qiu, Yue, Vigfusson: "FIFO queues are all you need for cache
 * eviction", SOSP 2023). What comes goes into the small queue, a tenth of the shard, and from its
 * end into the main one if it was wanted again more than once, else out; of what went out so a
 * fingerprint stays, and what comes back while that is known goes into the main queue at once. What
 * reaches the end of the main queue and was wanted begins there again. So a scan passes through the
 * small queue and pushes nothing out that is in use.
 *
 * No lock is held over more than a lookup, or over an eviction's list work; memory is given back
 * after it.
 */
#include "store/memory_cache.h"

#include "core/wire.h"
#include "os/random.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#define ORIGIN "memory cache"

/* A shard has room for some of the largest blocks; there are this many at most. */
#define SHARD_SIZE_MIN ((size_t)64 << 20)
#define SHARDS_MAX     16u
/* One bucket, and one fingerprint, for so many bytes of a shard; so many of them at least. */
#define BUCKET_BYTES ((size_t)32 << 10)
#define BUCKETS_MIN  64u
/* What malloc adds to a block, about. */
#define MALLOC_BYTES 16u
/* The small queue's part of a shard. */
#define SMALL_PART 10u
#define WANTED_MAX 3u
/* Blocks of the main queue that one that comes may send round again: then the next goes, wanted or
 * not. */
#define ROUND_MAX 256u

/* Blocks in the order in which they came. */
typedef struct memory_queue {
    grv_memory_block *oldest;
    grv_memory_block *newest;
    size_t size; /* bytes with overhead */
} memory_queue;

typedef struct memory_shard {
    pthread_mutex_t lock; /* of all that follows */
    grv_memory_block **buckets;
    uint64_t *ghosts; /* fingerprints of what left the small queue */
    memory_queue small;
    memory_queue main;
    grv_cache_figures figures;
} memory_shard;

struct grv_memory_cache {
    size_t shard_size;
    size_t shard_count; /* a power of two, as is the next */
    size_t bucket_count;
    uint64_t seed; /* keeps whoever chooses blocks from choosing buckets */
    _Atomic uint64_t misses;
    _Atomic uint64_t miss_bytes;
    _Atomic uint64_t bypassed;
    memory_shard shards[];
};

static size_t block_cost(const grv_memory_block *block)
{
    return sizeof *block + block->key.size + MALLOC_BYTES;
}

/* ---- Construction ---- */

static size_t power_below(size_t number)
{
    size_t power = 1;
    while (power <= number / 2) {
        power *= 2;
    }
    return power;
}

grv_status grv_memory_cache_new(uint64_t size_bytes, grv_memory_cache **ret_cache, grv_error *error)
{
    if (size_bytes < GRV_MEMORY_CACHE_MIN || size_bytes > GRV_MEMORY_CACHE_MAX) {
        return grv_error_set(error, GRV_INVALID_ARGUMENT, ORIGIN,
                             "a cache in memory has 1 MiB to 8 TiB");
    }
    size_t shards = power_below((size_t)size_bytes / SHARD_SIZE_MIN);
    shards = shards > SHARDS_MAX ? SHARDS_MAX : shards;
    size_t shard_size = (size_t)size_bytes / shards;
    size_t buckets = power_below(shard_size / BUCKET_BYTES);
    buckets = buckets < BUCKETS_MIN ? BUCKETS_MIN : buckets;
    uint64_t seed;
    grv_status status = grv_random_fill(&seed, sizeof seed, error);
    if (status) {
        return status;
    }
    grv_memory_cache *cache = calloc(1, sizeof *cache + shards * sizeof cache->shards[0]);
    if (!cache) {
        return grv_error_set(error, GRV_LIMIT_EXCEEDED, ORIGIN, "no memory for a cache");
    }
    cache->shard_size = shard_size;
    cache->bucket_count = buckets;
    cache->seed = seed;
    for (; cache->shard_count < shards && !status; cache->shard_count++) {
        memory_shard *shard = &cache->shards[cache->shard_count];
        pthread_mutex_init(&shard->lock, NULL);
        shard->buckets = calloc(buckets, sizeof(grv_memory_block *));
        shard->ghosts = calloc(buckets, sizeof *shard->ghosts);
        if (!shard->buckets || !shard->ghosts) {
            status = grv_error_set(error, GRV_LIMIT_EXCEEDED, ORIGIN, "no memory for a cache");
        }
    }
    if (status) {
        grv_memory_cache_free(cache);
        return status;
    }
    *ret_cache = cache;
    return GRV_OK;
}

static void queue_give(memory_queue *queue)
{
    while (queue->oldest) {
        grv_memory_block *block = queue->oldest;
        queue->oldest = block->newer;
        grv_memory_block_give(block);
    }
}

void grv_memory_cache_free(grv_memory_cache *cache)
{
    if (!cache) {
        return;
    }
    for (size_t i = 0; i < cache->shard_count; i++) {
        memory_shard *shard = &cache->shards[i];
        queue_give(&shard->small);
        queue_give(&shard->main);
        free(shard->buckets);
        free(shard->ghosts);
        pthread_mutex_destroy(&shard->lock);
    }
    free(cache);
}

/* ---- Places ---- */

/* Where a key belongs. */
typedef struct memory_place {
    memory_shard *shard;
    size_t bucket;
    uint64_t print; /* never 0 */
} memory_place;

static memory_place place_of(grv_memory_cache *cache, const grv_block_key *key)
{
    uint64_t mixed = (grv_wire_get_u64(key->digest.bytes) ^ cache->seed) * 0x9e3779b97f4a7c15u;
    mixed = (mixed ^ (mixed >> 32)) * 0xd6e8feb86659fd93u;
    mixed ^= mixed >> 32;
    return (memory_place){
        .shard = &cache->shards[(mixed >> 48) & (cache->shard_count - 1)],
        .bucket = mixed & (cache->bucket_count - 1),
        .print = mixed | 1,
    };
}

static grv_memory_block *bucket_find(const memory_place *place, const grv_block_key *key)
{
    grv_memory_block *block = place->shard->buckets[place->bucket];
    while (block && grv_block_key_compare(&block->key, key) != 0) {
        block = block->chained;
    }
    return block;
}

static void bucket_remove(const memory_place *place, const grv_memory_block *block)
{
    grv_memory_block **link = &place->shard->buckets[place->bucket];
    while (*link != block) {
        link = &(*link)->chained;
    }
    *link = block->chained;
}

/* ---- Queues ---- */

static void queue_push(memory_queue *queue, grv_memory_block *block)
{
    block->newer = NULL;
    if (queue->newest) {
        queue->newest->newer = block;
    } else {
        queue->oldest = block;
    }
    queue->newest = block;
    queue->size += block_cost(block);
}

static grv_memory_block *queue_pop(memory_queue *queue)
{
    grv_memory_block *block = queue->oldest;
    queue->oldest = block->newer;
    if (!queue->oldest) {
        queue->newest = NULL;
    }
    queue->size -= block_cost(block);
    return block;
}

/* Takes out what has to go so that the shard has room for `room` bytes more, as a list by `newer`.
 * Before the block comes that needs them: where all others are wanted it would be the one to go.
 * The lock is held. */
static grv_memory_block *shard_evict(grv_memory_cache *cache, memory_shard *shard, size_t room)
{
    grv_memory_block *gone = NULL;
    unsigned rounds = 0;
    while (shard->small.size + shard->main.size + room > cache->shard_size) {
        bool from_small =
            shard->small.oldest &&
            (shard->small.size > cache->shard_size / SMALL_PART || !shard->main.oldest);
        grv_memory_block *block = queue_pop(from_small ? &shard->small : &shard->main);
        if (from_small ? block->wanted > 1 : block->wanted > 0 && rounds++ < ROUND_MAX) {
            block->wanted = from_small ? 0 : (uint8_t)(block->wanted - 1);
            queue_push(&shard->main, block);
            continue;
        }
        const memory_place place = place_of(cache, &block->key);
        if (from_small) {
            shard->ghosts[place.bucket] = place.print;
        }
        bucket_remove(&place, block);
        shard->figures.evictions++;
        shard->figures.evicted_bytes += block->key.size;
        block->newer = gone;
        gone = block;
    }
    return gone;
}

/* ---- Public ---- */

/* The lock of its shard is held. */
static void block_hit(memory_shard *shard, grv_memory_block *block)
{
    block->wanted = (uint8_t)(block->wanted + (block->wanted < WANTED_MAX));
    shard->figures.hits++;
    shard->figures.hit_bytes += block->key.size;
}

static grv_memory_block *bucket_take(const memory_place *place, const grv_block_key *key)
{
    grv_memory_block *block = bucket_find(place, key);
    if (block) {
        atomic_fetch_add_explicit(&block->holders, 1, memory_order_relaxed);
    }
    return block;
}

grv_memory_block *grv_memory_cache_find(grv_memory_cache *cache, const grv_block_key *key)
{
    const memory_place place = place_of(cache, key);
    pthread_mutex_lock(&place.shard->lock);
    grv_memory_block *block = bucket_take(&place, key);
    if (block) {
        block_hit(place.shard, block);
    }
    pthread_mutex_unlock(&place.shard->lock);
    return block;
}

grv_memory_block *grv_memory_cache_try(grv_memory_cache *cache, const grv_block_key *key)
{
    const memory_place place = place_of(cache, key);
    if (pthread_mutex_trylock(&place.shard->lock)) {
        return NULL;
    }
    grv_memory_block *block = bucket_take(&place, key);
    pthread_mutex_unlock(&place.shard->lock);
    return block;
}

void grv_memory_cache_hit(grv_memory_cache *cache, grv_memory_block *block)
{
    const memory_place place = place_of(cache, &block->key);
    pthread_mutex_lock(&place.shard->lock);
    block_hit(place.shard, block);
    pthread_mutex_unlock(&place.shard->lock);
}

grv_memory_block *grv_memory_block_new(const grv_block_key *key)
{
    grv_memory_block *block = malloc(sizeof *block + key->size);
    if (block) {
        block->key = *key;
        atomic_init(&block->holders, 1);
        block->wanted = 0;
        block->chained = NULL;
        block->newer = NULL;
    }
    return block;
}

void grv_memory_cache_keep(grv_memory_cache *cache, grv_memory_block *block)
{
    const memory_place place = place_of(cache, &block->key);
    memory_shard *shard = place.shard;
    grv_memory_block *gone = NULL;
    pthread_mutex_lock(&shard->lock);
    if (block_cost(block) > cache->shard_size / 2) {
        shard->figures.skipped++;
    } else if (!bucket_find(&place, &block->key)) {
        atomic_fetch_add_explicit(&block->holders, 1, memory_order_relaxed);
        bool came_back = shard->ghosts[place.bucket] == place.print;
        gone = shard_evict(cache, shard, block_cost(block));
        block->chained = shard->buckets[place.bucket];
        shard->buckets[place.bucket] = block;
        queue_push(came_back ? &shard->main : &shard->small, block);
        shard->figures.kept++;
        shard->figures.kept_bytes += block->key.size;
    }
    pthread_mutex_unlock(&shard->lock);
    while (gone) {
        grv_memory_block *next = gone->newer;
        grv_memory_block_give(gone);
        gone = next;
    }
}

void grv_memory_block_give(grv_memory_block *block)
{
    if (block && atomic_fetch_sub_explicit(&block->holders, 1, memory_order_acq_rel) == 1) {
        free(block);
    }
}

void grv_memory_cache_miss(grv_memory_cache *cache, const grv_block_key keys[], size_t count)
{
    uint64_t bytes = 0;
    for (size_t i = 0; i < count; i++) {
        bytes += keys[i].size;
    }
    atomic_fetch_add_explicit(&cache->misses, count, memory_order_relaxed);
    atomic_fetch_add_explicit(&cache->miss_bytes, bytes, memory_order_relaxed);
}

void grv_memory_cache_bypass(grv_memory_cache *cache, size_t count)
{
    atomic_fetch_add_explicit(&cache->bypassed, count, memory_order_relaxed);
}

void grv_memory_cache_read(grv_memory_cache *cache, grv_cache_figures *ret_figures)
{
    grv_cache_figures sum = {
        .misses = atomic_load_explicit(&cache->misses, memory_order_relaxed),
        .miss_bytes = atomic_load_explicit(&cache->miss_bytes, memory_order_relaxed),
        .bypassed = atomic_load_explicit(&cache->bypassed, memory_order_relaxed),
        .size_bytes = cache->shard_size * cache->shard_count,
    };
    for (size_t i = 0; i < cache->shard_count; i++) {
        memory_shard *shard = &cache->shards[i];
        pthread_mutex_lock(&shard->lock);
        sum.hits += shard->figures.hits;
        sum.hit_bytes += shard->figures.hit_bytes;
        sum.kept += shard->figures.kept;
        sum.kept_bytes += shard->figures.kept_bytes;
        sum.evictions += shard->figures.evictions;
        sum.evicted_bytes += shard->figures.evicted_bytes;
        sum.skipped += shard->figures.skipped;
        sum.memory_bytes += shard->small.size + shard->main.size;
        pthread_mutex_unlock(&shard->lock);
    }
    *ret_figures = sum;
}
