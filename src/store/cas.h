/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The inside of the cas blob store, shared by its parts: ingest.c (put), read.c (get) and cas.c
 * (the rest and the constructor).
 */
#ifndef GRV_STORE_CAS_H
#define GRV_STORE_CAS_H

#include "base/budget.h"
#include "base/pool.h"
#include "store/known.h"
#include "store/memory_cache.h"

#include <graviton/backend/cas.h>
#include <pthread.h>

/* New bytes a tile takes, unless the chunker makes it more or less. */
#define GRV_TILE_FRESH ((size_t)1 << 20)
/* The same, and bytes that a get asks for in one call, where the blocks are distant. */
#define GRV_TILE_FRESH_DISTANT  ((size_t)2 << 20)
#define GRV_FETCH_BYTES         ((size_t)1 << 20)
#define GRV_FETCH_BYTES_DISTANT ((size_t)4 << 20)
/* Tiles one put has in flight at most, and at least. */
#define GRV_TILES_MAX 8u
#define GRV_TILES_MIN 2u
/* Bytes one stream holds at most. */
#define GRV_STREAM_BYTES_MAX ((size_t)64 << 20)
/* Blocks that go through the put's steps together at most. */
#define GRV_RUN_BLOCKS_MAX 4096u

/* How streams are cut up in memory; follows from the chunker, and from how far the blocks are. */
typedef struct grv_tile_shape {
    size_t headroom; /* room for the unfinished block of the tile before */
    size_t fresh;    /* room for new bytes */
    unsigned tiles;  /* tiles one put may hold */
    size_t run_blocks;
    size_t fetch; /* bytes that a get asks for in one call */
} grv_tile_shape;

/* The store. */
typedef struct grv_cas {
    grv_blob_store base;
    grv_cas_config config;
    grv_pool *pool;
    grv_budget budget;
    grv_tile_shape shape;
    grv_known *known;           /* lists of blocks that full reads have hashed */
    grv_memory_cache *memory;   /* blocks that were read; NULL: none are kept */
    pthread_mutex_t cache_lock; /* guards the spare tiles below */
    uint8_t *spare[GRV_TILES_MAX];
    unsigned spare_count;
    pthread_mutex_t puts_lock; /* guards what is below */
    pthread_cond_t puts_admitted;
    unsigned open_puts;
    bool puts_excluded;
    bool puts_forbidden;
    bool maintained; /* a job of maintain.h runs */
} grv_cas;

/* The figures of the blocks it keeps in memory; false where it keeps none. Thread-safe. */
bool grv_cas_memory_read(grv_blob_store *store, grv_cache_figures *ret_figures);

/* Counts a put in, after waiting while puts are excluded: GRV_CANCELLED or GRV_TIMEOUT where `call`
 * says so. Counts it out again. Thread-safe. */
grv_status grv_cas_put_begin(const grv_call *call, grv_cas *cas, grv_error *error);
void grv_cas_put_end(grv_cas *cas);

/* Begins the one job that may look after the store at a time: GRV_UNAVAILABLE while there is
 * another. `store` must be a cas store. Thread-safe. */
grv_status grv_cas_maintenance_begin(grv_blob_store *store, grv_error *error);
void grv_cas_maintenance_end(grv_blob_store *store);
bool grv_cas_is_maintained(grv_blob_store *store);

/* Keeps puts out until they are admitted again; GRV_UNAVAILABLE where one is open. For the job that
 * looks after the store. */
grv_status grv_cas_puts_exclude(grv_blob_store *store, grv_error *error);
void grv_cas_puts_admit(grv_blob_store *store);

/* Whether puts fail, GRV_UNAVAILABLE, instead of waiting: until a collection has ended well. */
void grv_cas_puts_forbid(grv_blob_store *store, bool forbidden);

/* Memory of one tile, from the spares or new; NULL without memory. Thread-safe. */
uint8_t *grv_cas_tile_new(grv_cas *cas);
/* Gives a tile's memory back. */
void grv_cas_tile_free(grv_cas *cas, uint8_t *memory);

/* Slots open_put and open_get of the blob store; see the port's header. */
grv_status grv_cas_open_put(const grv_call *call, grv_blob_store *store, const grv_put_plan *plan,
                            grv_blob_sink **ret_sink, grv_error *error);
grv_status grv_cas_open_get(const grv_call *call, grv_blob_store *store, const grv_blob_key *key,
                            grv_range range, grv_source **ret_source, grv_error *error);

#endif
