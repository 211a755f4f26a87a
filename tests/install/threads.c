/* SPDX-License-Identifier: Apache-2.0 */
/*
 * threads DIRECTORY: two threads put into one store and read from it, each what it and the other
 * have put, and compare every byte. Includes what a user of the library would.
 */
#include <graviton/graviton.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ROUNDS        24
#define SIZE_MAX_EACH 300000

static grv_store *store;

/* The keys of a thread's blobs, for the other one to read. */
typedef struct worker {
    unsigned number;
    struct worker *other;
    pthread_mutex_t lock; /* guards the next two */
    unsigned count;
    grv_blob_key keys[ROUNDS];
    bool failed;
} worker;

/* Every third content is the same for both threads, so that they meet. */
static size_t fill(unsigned number, unsigned round, uint8_t *data)
{
    uint32_t state = (round % 3 == 0 ? 7 : number * 1000 + 11) + round * 7919;
    size_t size = round % 8 == 7 ? 0 : 1 + round * 12345 % SIZE_MAX_EACH;
    for (size_t i = 0; i < size; i++) {
        state = state * 1664525 + 1013904223;
        data[i] = (uint8_t)(state >> 24);
    }
    return size;
}

static bool put(worker *self, unsigned round, uint8_t *data, grv_error *error)
{
    grv_blob_sink *sink = NULL;
    size_t size = fill(self->number, round, data);
    bool failed =
        grv_blob_store_open_put(NULL, grv_store_blobs(store), &(grv_put_plan){0}, &sink, error) ||
        grv_sink_write(NULL, &sink->base, grv_bytes_of(data, size), error) ||
        grv_sink_commit(NULL, &sink->base, error);
    if (!failed) {
        pthread_mutex_lock(&self->lock);
        self->keys[self->count++] = sink->result.key;
        pthread_mutex_unlock(&self->lock);
    }
    grv_sink_free(sink ? &sink->base : NULL);
    return failed;
}

/* Reads the blob of a thread's round, if that is put by now, and compares it. */
static bool get(worker *from, unsigned round, uint8_t *data, grv_error *error)
{
    pthread_mutex_lock(&from->lock);
    bool there = round < from->count;
    grv_blob_key key = from->keys[round];
    pthread_mutex_unlock(&from->lock);
    if (!there) {
        return false;
    }
    grv_source *source = NULL;
    size_t want = fill(from->number, round, data);
    size_t done = 0;
    bool failed = grv_blob_store_open_get(NULL, grv_store_blobs(store), &key, GRV_RANGE_ALL,
                                          &source, error) != GRV_OK;
    for (grv_bytes view = {0}; !failed; done += view.size) {
        failed = grv_source_next(NULL, source, 1 << 16, &view, error) != GRV_OK;
        if (!failed && (view.size > want - done ||
                        (view.size && memcmp(view.data, data + done, view.size) != 0))) {
            failed = grv_error_set(error, GRV_INTERNAL, "threads", "other bytes") != GRV_OK;
        }
        if (failed || view.size == 0) {
            break;
        }
    }
    grv_source_free(source);
    if (!failed && done != want) {
        failed = grv_error_set(error, GRV_INTERNAL, "threads", "%zu bytes", done) != GRV_OK;
    }
    return failed;
}

static void *run(void *context)
{
    worker *self = context;
    uint8_t *data = malloc(SIZE_MAX_EACH + 1);
    grv_error error = GRV_ERROR_INIT;
    bool failed = !data;
    for (unsigned round = 0; round < ROUNDS && !failed; round++) {
        failed = put(self, round, data, &error) || get(self, round, data, &error) ||
                 get(self->other, round, data, &error) || get(self->other, round / 2, data, &error);
    }
    if (failed) {
        fprintf(stderr, "%s: %s\n", grv_status_name(error.status), error.message);
    }
    free(data);
    self->failed = failed;
    return NULL;
}

int main(int argc, char **argv)
{
    static worker workers[2] = {
        {.number = 1, .other = &workers[1], .lock = PTHREAD_MUTEX_INITIALIZER},
        {.number = 2, .other = &workers[0], .lock = PTHREAD_MUTEX_INITIALIZER},
    };
    grv_error error = GRV_ERROR_INIT;
    const uint64_t no_reserve = 0;
    grv_store_config config = {.create = true, .reserve_bytes = &no_reserve};
    config.directory = argc == 2 ? argv[1] : "memory:";
    if (grv_store_open(NULL, &config, &store, &error)) {
        fprintf(stderr, "%s: %s\n", grv_status_name(error.status), error.message);
        return 1;
    }
    pthread_t threads[2];
    for (unsigned i = 0; i < 2; i++) {
        if (pthread_create(&threads[i], NULL, run, &workers[i])) {
            perror("pthread_create");
            return 1;
        }
    }
    for (unsigned i = 0; i < 2; i++) {
        pthread_join(threads[i], NULL);
    }
    grv_store_stats stats = {0};
    bool failed = workers[0].failed || workers[1].failed ||
                  grv_store_count(NULL, store, &stats, &error) != GRV_OK;
    printf("%u and %u puts, %d blobs\n", workers[0].count, workers[1].count, (int)stats.blobs);
    grv_store_close(store);
    return failed;
}
