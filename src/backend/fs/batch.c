/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Batches: puts that write temporary files, at once from any number of threads, and the commit. No
 * lock is held while a file is looked for or written. A batch in which anything failed stays
 * failed: what it holds may be less than its caller believes.
 *
 * Files get their names at the commit alone, though groups are durable before: so a batch that is
 * given up, on a full disk above all, leaves nothing behind. Once named they could not be taken
 * back, for another writer may have found them.
 */
#include "backend/fs/fs.h"

#include "os/file.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* One block of the batch. */
typedef struct batch_entry {
    grv_block_key key;
    grv_block_outcome outcome; /* 0 until it is known */
} batch_entry;

typedef struct fs_batch {
    grv_block_batch base;
    grv_fs_store *store;
    pthread_mutex_t lock;
    /* Under the lock. */
    batch_entry *entries; /* by index; moves when it grows */
    size_t count;
    size_t capacity;
    uint32_t *slots; /* open addressing: index + 1 of the first block with a key, or 0 */
    size_t slot_count;
    grv_fs_group *gathering; /* takes new files; NULL between groups */
    grv_fs_group *first;     /* handed to the sync thread, oldest first */
    grv_fs_group *last;
    grv_error failure;
} fs_batch;

/* ---- the keys of a batch ---- */

/* The slot of a key: the one that has it, or the empty one where it belongs. A digest's own bytes
 * are as good as a hash of them. */
static uint32_t *batch_slot(const fs_batch *batch, const grv_block_key *key)
{
    size_t at;
    memcpy(&at, key->digest.bytes, sizeof at);
    for (;; at++) {
        uint32_t *slot = &batch->slots[at & (batch->slot_count - 1)];
        if (*slot == 0 || grv_block_key_compare(&batch->entries[*slot - 1].key, key) == 0) {
            return slot;
        }
    }
}

/* Room for `more` blocks, with the table of keys at most half full. */
static grv_status batch_grow(fs_batch *batch, size_t more, grv_error *error)
{
    size_t capacity = batch->capacity ? batch->capacity : 64;
    while (capacity - batch->count < more) {
        capacity *= 2;
    }
    if (capacity == batch->capacity) {
        return GRV_OK;
    }
    batch_entry *entries = realloc(batch->entries, capacity * sizeof *entries);
    if (entries) {
        batch->entries = entries;
    }
    uint32_t *slots = entries ? calloc(2 * capacity, sizeof *slots) : NULL;
    if (!slots) {
        return grv_error_set(error, GRV_LIMIT_EXCEEDED, "fs", "no memory for a batch of %zu blocks",
                             capacity);
    }
    free(batch->slots);
    batch->slots = slots;
    batch->slot_count = 2 * capacity;
    batch->capacity = capacity;
    for (size_t i = 0; i < batch->count; i++) {
        uint32_t *slot = batch_slot(batch, &batch->entries[i].key);
        if (*slot == 0) {
            *slot = (uint32_t)i + 1;
        }
    }
    return GRV_OK;
}

/* Gives the blocks their indices; those that the batch has already are duplicates at once. */
static grv_status batch_enter(fs_batch *batch, const grv_block blocks[], size_t count,
                              size_t *ret_first, grv_error *error)
{
    pthread_mutex_lock(&batch->lock);
    grv_status status = batch->failure.status;
    if (status && error) {
        *error = batch->failure;
        grv_error_prefix(error, "this batch has failed before");
    }
    if (!status) {
        status = batch_grow(batch, count, error);
    }
    if (!status) {
        *ret_first = batch->count;
        for (size_t i = 0; i < count; i++) {
            uint32_t *slot = batch_slot(batch, &blocks[i].key);
            bool known = *slot != 0;
            batch->entries[batch->count++] =
                (batch_entry){blocks[i].key, known ? GRV_BLOCK_DUPLICATE : 0};
            if (!known) {
                *slot = (uint32_t)batch->count;
            }
        }
    }
    pthread_mutex_unlock(&batch->lock);
    return status;
}

static bool batch_is_known(fs_batch *batch, size_t index)
{
    pthread_mutex_lock(&batch->lock);
    bool known = batch->entries[index].outcome != 0;
    pthread_mutex_unlock(&batch->lock);
    return known;
}

/* Keeps the batch's first failure, so that nothing commits it. */
static void batch_fail(fs_batch *batch, grv_status status, const grv_error *error)
{
    pthread_mutex_lock(&batch->lock);
    if (!batch->failure.status) {
        if (error) {
            batch->failure = *error;
        } else {
            grv_error_set(&batch->failure, status, "fs", "a put failed");
        }
        batch->failure.status = status;
    }
    pthread_mutex_unlock(&batch->lock);
}

/* ---- groups ---- */

/* Detaches the gathering group and lines it up. Called with the lock held; the caller submits. */
static grv_fs_group *batch_detach(fs_batch *batch)
{
    grv_fs_group *group = batch->gathering;
    batch->gathering = NULL;
    if (group) {
        group->state = GRV_FS_QUEUED;
        if (batch->last) {
            batch->last->next = group;
        } else {
            batch->first = group;
        }
        batch->last = group;
    }
    return group;
}

/* Takes the oldest group off the line. Called with the lock held. */
static grv_fs_group *batch_pop(fs_batch *batch)
{
    grv_fs_group *group = batch->first;
    batch->first = group->next;
    if (!batch->first) {
        batch->last = NULL;
    }
    return group;
}

/* Puts an ended group's blocks in place, notes what became of them, and frees it. */
static grv_status batch_finish(fs_batch *batch, grv_fs_group *group, grv_error *error)
{
    grv_status status = grv_fs_sync_wait(NULL, batch->store, group, error);
    if (!status) {
        status = grv_fs_group_place(batch->store, group, error);
    }
    if (!status) {
        pthread_mutex_lock(&batch->lock);
        for (size_t i = 0; i < group->count; i++) {
            const grv_fs_member *member = &group->members[i];
            batch->entries[member->index].outcome =
                member->duplicate ? GRV_BLOCK_DUPLICATE : GRV_BLOCK_FRESH;
        }
        pthread_mutex_unlock(&batch->lock);
    }
    grv_fs_group_free(batch->store, group);
    return status;
}

/* ---- put ---- */

/* Adds a written file to the gathering group, and hands that over once it is full. *fd is -1
 * afterwards where the group keeps it. */
static grv_status batch_gather(fs_batch *batch, const grv_fs_member *member, int *fd,
                               uint64_t failures, grv_error *error)
{
    const grv_fs_tuning *tuning = &batch->store->tuning;
    grv_fs_group *full = NULL;
    grv_status status = GRV_OK;
    pthread_mutex_lock(&batch->lock);
    if (!batch->gathering) {
        status = grv_fs_group_new(&batch->gathering, error);
    }
    if (!status) {
        grv_fs_group *group = batch->gathering;
        /* A group with more files than that is for syncfs, which needs no descriptor. */
        bool hold = group->count < GRV_FS_FEW && group->fd_count == group->count &&
                    grv_fs_sync_hold(batch->store);
        status = grv_fs_group_add(group, member, hold ? *fd : -1, failures, error);
        if (status && hold) {
            grv_fs_sync_unhold(batch->store);
        } else if (hold) {
            *fd = -1;
        }
        if (!status &&
            (group->bytes >= tuning->group_bytes || group->count >= tuning->group_files)) {
            full = batch_detach(batch);
        }
    }
    pthread_mutex_unlock(&batch->lock);
    if (full) {
        grv_fs_sync_submit(batch->store, full);
    }
    return status;
}

/* Writes a block to temporary file `temp`, open at *ret_fd afterwards. */
static grv_status temp_write(int temp_fd, const char *temp, grv_bytes bytes, int *ret_fd,
                             grv_error *error)
{
    int fd;
    grv_status status = grv_file_open(temp_fd, temp, O_WRONLY | O_CREAT | O_EXCL, 0666, &fd, error);
    if (status) {
        return status;
    }
    status = grv_file_write_all(fd, bytes, temp, error);
    if (status) {
        (void)grv_file_close(fd, temp, NULL); /* the failure to tell is the first */
        (void)grv_file_calls()->unlinkat(temp_fd, temp, 0);
        return status;
    }
    *ret_fd = fd;
    return GRV_OK;
}

static grv_status batch_write(fs_batch *batch, size_t index, const grv_block *block,
                              grv_error *error)
{
    grv_fs_store *store = batch->store;
    grv_fs_member member = {.key = block->key, .index = (uint32_t)index};
    uint64_t failures = grv_fs_sync_failures(store);
    int temp_fd;
    grv_status status = grv_fs_temp_open(store, &temp_fd, error);
    if (status) {
        return status;
    }
    member.temp = __atomic_fetch_add(&store->temp_count, 1, __ATOMIC_RELAXED);
    char temp[GRV_FS_TEMP_SIZE];
    grv_fs_temp_print(store, member.temp, temp);
    int fd = -1;
    status = temp_write(temp_fd, temp, block->bytes, &fd, error);
    if (status) {
        return status;
    }
    status = batch_gather(batch, &member, &fd, failures, error);
    if (status) {
        (void)grv_file_calls()->unlinkat(temp_fd, temp, 0);
    }
    if (fd >= 0) {
        grv_status closed = grv_file_close(fd, temp, status ? NULL : error);
        status = status ? status : closed;
    }
    return status;
}

static grv_status batch_put_one(fs_batch *batch, size_t index, const grv_block *block,
                                grv_error *error)
{
    if (batch_is_known(batch, index)) {
        return GRV_OK;
    }
    grv_fs_directory *directory = grv_fs_directory_of(batch->store, block->key.digest.hash);
    int fd;
    grv_status status = grv_fs_directory_open(directory, true, &fd, error);
    bool present = false;
    if (!status) {
        status = grv_fs_block_present(fd, &block->key, &present, error);
    }
    if (!status && present) {
        pthread_mutex_lock(&batch->lock);
        batch->entries[index].outcome = GRV_BLOCK_DUPLICATE;
        pthread_mutex_unlock(&batch->lock);
        return GRV_OK;
    }
    return status ? status : batch_write(batch, index, block, error);
}

static grv_status batch_put(const grv_call *call, grv_block_batch *base, const grv_block blocks[],
                            size_t count, size_t *ret_first, grv_error *error)
{
    fs_batch *batch = (fs_batch *)base;
    size_t first;
    grv_status status = batch_enter(batch, blocks, count, &first, error);
    if (status) {
        return status;
    }
    for (size_t i = 0; i < count && !status; i++) {
        status = grv_call_check(call, "fs", error);
        if (!status) {
            status = batch_put_one(batch, first + i, &blocks[i], error);
        }
        if (status) {
            char text[GRV_KEY_TEXT_SIZE];
            grv_block_key_print(&blocks[i].key, text);
            grv_error_prefix(error, "block %s", text);
        }
    }
    if (status) {
        batch_fail(batch, status, error);
        return status;
    }
    *ret_first = first;
    return GRV_OK;
}

static grv_status batch_note(const grv_call *call, grv_block_batch *base, grv_bytes record,
                             grv_error *error)
{
    (void)call;
    (void)base;
    (void)record;
    return grv_error_set(error, GRV_UNSUPPORTED, "fs", "files keep no recovery records");
}

/* ---- commit and free ---- */

/* Waits for every group, oldest first, and puts it in place. */
static grv_status batch_drain(const grv_call *call, fs_batch *batch, grv_error *error)
{
    pthread_mutex_lock(&batch->lock);
    grv_fs_group *rest = batch_detach(batch);
    pthread_mutex_unlock(&batch->lock);
    if (rest) {
        grv_fs_sync_submit(batch->store, rest);
    }
    grv_status status = GRV_OK;
    while (!status && batch->first) {
        status = grv_fs_sync_wait(call, batch->store, batch->first, error);
        if (!status) {
            status = batch_finish(batch, batch_pop(batch), error);
        }
    }
    return status;
}

/* No put is under way during a commit, so it needs no lock of its own. */
static grv_status batch_commit(const grv_call *call, grv_block_batch *base,
                               grv_durability durability, grv_block_result ret_results[],
                               size_t count, grv_error *error)
{
    (void)durability; /* always durable */
    fs_batch *batch = (fs_batch *)base;
    size_t first;
    grv_status status = batch_enter(batch, NULL, 0, &first, error);
    if (!status && batch->count != count) {
        status = grv_error_set(error, GRV_INTERNAL, "fs", "%zu blocks in a batch, %zu counted",
                               batch->count, count);
    }
    if (!status) {
        status = grv_call_check(call, "fs", error);
    }
    if (!status) {
        status = batch_drain(call, batch, error);
    }
    /* Whatever was put: a caller may rely on blocks that `missing` told it were there, and whoever
     * put those may not have synced the directory. */
    for (size_t i = 0; i < 2 && !status; i++) {
        status = grv_fs_directory_settle(call, &batch->store->directories[i], error);
    }
    if (status) {
        return status;
    }
    for (size_t i = 0; i < count; i++) {
        const batch_entry *entry = &batch->entries[i];
        ret_results[i] = (grv_block_result){
            .outcome = entry->outcome,
            .stored_size = entry->outcome == GRV_BLOCK_FRESH ? entry->key.size : 0,
        };
    }
    return GRV_OK;
}

static void batch_free(grv_block_batch *base)
{
    fs_batch *batch = (fs_batch *)base;
    if (batch->gathering) {
        grv_fs_group_free(batch->store, batch->gathering);
    }
    while (batch->first) {
        grv_fs_group *group = batch_pop(batch);
        grv_fs_sync_abandon(batch->store, group);
        grv_fs_group_free(batch->store, group);
    }
    pthread_mutex_destroy(&batch->lock);
    free(batch->entries);
    free(batch->slots);
    free(batch);
}

static const grv_block_batch_ops batch_ops = {
    .name = "fs",
    .put = batch_put,
    .note = batch_note,
    .commit = batch_commit,
    .free = batch_free,
};

grv_status grv_fs_batch_open(const grv_call *call, grv_block_store *base,
                             grv_block_batch **ret_batch, grv_error *error)
{
    (void)call;
    grv_fs_store *store = (grv_fs_store *)base;
    int temp_fd;
    grv_status status = grv_fs_temp_open(store, &temp_fd, error);
    if (!status) {
        status = grv_fs_sync_start(store, error);
    }
    if (status) {
        return status;
    }
    fs_batch *batch = calloc(1, sizeof *batch);
    if (!batch) {
        return grv_error_set(error, GRV_LIMIT_EXCEEDED, "fs", "no memory for a batch");
    }
    int failed = pthread_mutex_init(&batch->lock, NULL);
    if (failed) {
        free(batch);
        return grv_error_set_errno(error, failed, "fs", "no mutex");
    }
    batch->base.ops = &batch_ops;
    batch->store = store;
    *ret_batch = &batch->base;
    return GRV_OK;
}
