/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The block store on files: the port's table, the superblock, opening and closing. A file that is
 * not there, one that is not what it should be, and one that cannot be read are three different
 * answers here: only ENOENT of a block's own name means that there is no such block.
 */
#include "backend/fs/fs.h"

#include "layer/verify.h"
#include "os/file.h"
#include "os/random.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>

static grv_fs_store *fs_of(grv_block_store *store)
{
    return (grv_fs_store *)store;
}

static const grv_hash hashes[] = {GRV_HASH_BLAKE3, GRV_HASH_SHA256};

/* Makes the entries of the directories that `used` marks durable. */
static grv_status fs_settle(const grv_call *call, grv_fs_store *store, const bool used[2],
                            grv_error *error)
{
    for (size_t i = 0; i < 2; i++) {
        grv_status status = GRV_OK;
        if (used[i]) {
            status = grv_fs_directory_settle(call, grv_fs_directory_of(store, hashes[i]), error);
        }
        if (status) {
            return status;
        }
    }
    return GRV_OK;
}

/* ---- missing ---- */

static grv_status fs_look(grv_fs_store *store, const grv_block_key *key, bool *ret_present,
                          grv_error *error)
{
    int fd;
    grv_status status =
        grv_fs_directory_open(grv_fs_directory_of(store, key->digest.hash), false, &fd, error);
    if (!status && fd < 0) {
        *ret_present = false;
        return GRV_OK;
    }
    return status ? status : grv_fs_block_present(fd, key, ret_present, error);
}

/* A block that is said to be present is durable once a batch is committed after that, which
 * settles the directory; doing so here too would be one sync more a call. */
static grv_status fs_missing(const grv_call *call, grv_block_store *base,
                             const grv_block_key keys[], size_t count, bool ret_missing[],
                             grv_error *error)
{
    grv_fs_store *store = fs_of(base);
    bool *missing = malloc(count * sizeof *missing);
    if (!missing) {
        return grv_error_set(error, GRV_LIMIT_EXCEEDED, "fs", "no memory for %zu answers", count);
    }
    grv_status status = GRV_OK;
    for (size_t i = 0; i < count && !status; i++) {
        bool present = false;
        status = grv_call_check(call, "fs", error);
        if (!status) {
            status = fs_look(store, &keys[i], &present, error);
        }
        missing[i] = !present;
    }
    if (!status) {
        memcpy(ret_missing, missing, count * sizeof *missing);
    }
    free(missing);
    return status;
}

/* ---- get ---- */

/* Reads an open block file, which must be exactly as long as the block. */
static grv_status block_read(int fd, const char *name, grv_span buffer, grv_error *error)
{
    struct stat st;
    if (grv_file_calls()->fstat(fd, &st)) {
        return grv_error_set_errno(error, errno, "fs", "cannot look at %s", name);
    }
    if (!S_ISREG(st.st_mode)) {
        return grv_error_set(error, GRV_CORRUPT, "fs", "its file is not a regular file");
    }
    if (st.st_size != (off_t)buffer.size) {
        return grv_error_set(error, GRV_CORRUPT, "fs", "its file has %lld bytes instead of %zu",
                             (long long)st.st_size, buffer.size);
    }
    size_t got = 0;
    grv_status status = grv_file_read_all(fd, buffer, &got, name, error);
    if (!status && got != buffer.size) {
        status = grv_error_set(error, GRV_CORRUPT, "fs", "its file ends after %zu of %zu bytes",
                               got, buffer.size);
    }
    return status;
}

static grv_status block_get(grv_fs_store *store, const grv_block_key *key, grv_span buffer,
                            grv_error *error)
{
    int directory_fd;
    grv_status status = grv_fs_directory_open(grv_fs_directory_of(store, key->digest.hash), false,
                                              &directory_fd, error);
    if (!status && directory_fd < 0) {
        status = grv_error_set(error, GRV_NOT_FOUND, "fs", "not in the store");
    }
    if (status) {
        return status;
    }
    char name[GRV_BLOCK_NAME_SIZE];
    grv_block_name_print(key, name);
    int fd;
    do { /* O_NONBLOCK: a pipe in the file's place must not make us wait for a writer */
        fd = grv_file_calls()->openat(directory_fd, name,
                                      O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0);
    } while (fd < 0 && errno == EINTR);
    if (fd < 0 && errno == ENOENT) {
        return grv_error_set(error, GRV_NOT_FOUND, "fs", "not in the store");
    }
    if (fd < 0 && errno == ELOOP) {
        return grv_error_set(error, GRV_CORRUPT, "fs", "its file is a symbolic link");
    }
    if (fd < 0) {
        return grv_error_set_errno(error, errno, "fs", "cannot open %s", name);
    }
    status = block_read(fd, name, buffer, error);
    grv_status closed = grv_file_close(fd, name, status ? NULL : error);
    return status ? status : closed;
}

static grv_status fs_get(const grv_call *call, grv_block_store *store, const grv_block_key keys[],
                         const grv_span buffers[], size_t count, grv_status ret_statuses[],
                         grv_error *error)
{
    grv_status first = GRV_OK;
    for (size_t i = 0; i < count; i++) {
        grv_error *report = first ? NULL : error;
        grv_status status = grv_call_check(call, "fs", report);
        if (!status) {
            status = block_get(fs_of(store), &keys[i], buffers[i], report);
        }
        if (status && !first) {
            char text[GRV_KEY_TEXT_SIZE];
            grv_block_key_print(&keys[i], text);
            grv_error_prefix(error, "block %s", text);
            first = status;
        }
        ret_statuses[i] = status;
    }
    return first;
}

/* ---- remove ---- */

static grv_status block_remove(grv_fs_store *store, const grv_block_key *key, bool *ret_removed,
                               grv_error *error)
{
    grv_fs_directory *directory = grv_fs_directory_of(store, key->digest.hash);
    int fd;
    grv_status status = grv_fs_directory_open(directory, false, &fd, error);
    if (status || fd < 0) {
        *ret_removed = false;
        return status;
    }
    char name[GRV_BLOCK_NAME_SIZE];
    grv_block_name_print(key, name);
    if (grv_file_calls()->unlinkat(fd, name, 0) == 0) {
        grv_fs_directory_changed(directory);
        *ret_removed = true;
        return GRV_OK;
    }
    if (errno == ENOENT) {
        *ret_removed = false;
        return GRV_OK;
    }
    return grv_error_set_errno(error, errno, "fs", "cannot remove block file %s", name);
}

static grv_status fs_remove(const grv_call *call, grv_block_store *base, const grv_block_key keys[],
                            size_t count, bool ret_removed[], grv_error *error)
{
    grv_fs_store *store = fs_of(base);
    bool *removed = malloc(count * sizeof *removed);
    if (!removed) {
        return grv_error_set(error, GRV_LIMIT_EXCEEDED, "fs", "no memory for %zu answers", count);
    }
    bool used[2] = {false, false};
    grv_status status = GRV_OK;
    for (size_t i = 0; i < count && !status; i++) {
        status = grv_call_check(call, "fs", error);
        if (!status) {
            status = block_remove(store, &keys[i], &removed[i], error);
        }
        used[keys[i].digest.hash == GRV_HASH_SHA256] = true;
    }
    if (!status) {
        status = fs_settle(call, store, used, error);
    }
    if (!status) {
        memcpy(ret_removed, removed, count * sizeof *removed);
    }
    free(removed);
    return status;
}

static grv_status fs_flush(const grv_call *call, grv_block_store *store, grv_error *error)
{
    static const bool all[2] = {true, true};
    return fs_settle(call, fs_of(store), all, error);
}

/* ---- superblock ---- */

static grv_status superblock_read(grv_fs_store *store, grv_buffer *out, grv_error *error)
{
    grv_status status =
        grv_file_read_small(store->root_fd, GRV_FS_SUPERBLOCK, GRV_SUPERBLOCK_MAX, out, error);
    if (status == GRV_NOT_FOUND) {
        return grv_error_set(error, status, "fs", "the block store has no %s", GRV_FS_SUPERBLOCK);
    }
    return status;
}

static grv_status fs_superblock_get(const grv_call *call, grv_block_store *base, grv_buffer *out,
                                    grv_error *error)
{
    grv_status status = grv_call_check(call, "fs", error);
    if (status) {
        return status;
    }
    grv_buffer text;
    grv_buffer_init(&text, GRV_SUPERBLOCK_MAX);
    status = superblock_read(fs_of(base), &text, error);
    if (!status) {
        status = grv_buffer_append(out, grv_buffer_bytes(&text), error);
    }
    grv_buffer_done(&text);
    return status;
}

/* GRV_OK if the superblock is as the caller expects it, GRV_CONFLICT if not. */
static grv_status superblock_compare(const grv_call *call, grv_fs_store *store,
                                     const grv_bytes *expected, grv_error *error)
{
    grv_buffer text;
    grv_buffer_init(&text, GRV_SUPERBLOCK_MAX);
    grv_status status = fs_superblock_get(call, &store->base, &text, error);
    bool equal = !status && expected && grv_bytes_compare(grv_buffer_bytes(&text), *expected) == 0;
    grv_buffer_done(&text);
    if (status == GRV_NOT_FOUND && expected) {
        return grv_error_set(error, GRV_CONFLICT, "fs", "there is no %s to replace",
                             GRV_FS_SUPERBLOCK);
    }
    if (status && status != GRV_NOT_FOUND) {
        return status;
    }
    if (!status && !equal) {
        return grv_error_set(error, GRV_CONFLICT, "fs",
                             expected ? "%s is not the one expected" : "there is a %s already",
                             GRV_FS_SUPERBLOCK);
    }
    bool any = false;
    status = expected ? GRV_OK : grv_fs_any(call, store, &any, error);
    if (any) {
        status = grv_error_set(error, GRV_CONFLICT, "fs", "there are blocks here, but no %s",
                               GRV_FS_SUPERBLOCK);
    }
    return status;
}

/* Compare and set are one step to other processes too: they hold a lock on the root directory. */
static grv_status fs_superblock_set(const grv_call *call, grv_block_store *base,
                                    const grv_bytes *expected, grv_bytes superblock,
                                    grv_error *error)
{
    grv_fs_store *store = fs_of(base);
    int lock_fd; /* a lock belongs to the open file: an own one keeps threads apart as well */
    grv_status status =
        grv_file_open(store->root_fd, ".", O_RDONLY | O_DIRECTORY, 0, &lock_fd, error);
    if (status) {
        return status;
    }
    int locked;
    do {
        locked = grv_file_calls()->flock(lock_fd, LOCK_EX);
    } while (locked && errno == EINTR);
    if (locked) {
        status = grv_error_set_errno(error, errno, "fs", "cannot lock the store's directory");
    }
    if (!status) {
        status = superblock_compare(call, store, expected, error);
    }
    if (!status) {
        status =
            grv_file_write_small(store->root_fd, GRV_FS_SUPERBLOCK, superblock, !expected, error);
        if (status == GRV_ALREADY_EXISTS) {
            status = grv_error_set(error, GRV_CONFLICT, "fs", "there is a %s already",
                                   GRV_FS_SUPERBLOCK);
        }
    }
    grv_status closed = grv_file_close(lock_fd, "the store's directory", status ? NULL : error);
    return status ? status : closed;
}

/* ---- opening and closing ---- */

grv_status grv_fs_temp_open(grv_fs_store *store, int *ret_fd, grv_error *error)
{
    grv_status status = GRV_OK;
    pthread_mutex_lock(&store->temp_lock);
    if (store->temp_fd < 0) {
        /* Not synced: what lies there is gone after a crash or garbage. */
        if (grv_file_calls()->mkdirat(store->prefix_fd, GRV_FS_TEMP, 0777) && errno != EEXIST) {
            status = grv_error_set_errno(error, errno, "fs",
                                         "cannot make directory %s in the "
                                         "block store",
                                         GRV_FS_TEMP);
        } else {
            status = grv_file_open(store->prefix_fd, GRV_FS_TEMP, O_RDONLY | O_DIRECTORY, 0,
                                   &store->temp_fd, error);
        }
    }
    *ret_fd = store->temp_fd;
    pthread_mutex_unlock(&store->temp_lock);
    return status;
}

static void fs_free(grv_block_store *base)
{
    grv_fs_store *store = fs_of(base);
    grv_fs_sync_done(&store->sync);
    for (size_t i = 0; i < 2; i++) {
        grv_fs_directory_done(&store->directories[i]);
    }
    const int fds[] = {store->temp_fd, store->prefix_fd, store->root_fd};
    for (size_t i = 0; i < sizeof fds / sizeof fds[0]; i++) {
        if (fds[i] >= 0) {
            (void)grv_file_close(fds[i], "directory", NULL); /* open to read: nothing to lose */
        }
    }
    pthread_mutex_destroy(&store->temp_lock);
    free(store);
}

static const grv_block_store_ops fs_ops = {
    .name = "fs",
    .missing = fs_missing,
    .open_batch = grv_fs_batch_open,
    .get = fs_get,
    .remove = fs_remove,
    .quarantine = grv_fs_quarantine,
    .sweep = grv_fs_sweep,
    .open_list = grv_fs_list_open,
    .flush = fs_flush,
    .stats = grv_fs_stats,
    .superblock_get = fs_superblock_get,
    .superblock_set = fs_superblock_set,
    .free = fs_free,
};

static grv_status fs_open(grv_fs_store *store, const grv_fs_config *config, const char *prefix,
                          grv_error *error)
{
    grv_status status = grv_block_store_init(&store->base, &fs_ops, 0, error);
    for (size_t i = 0; i < 2 && !status; i++) {
        status = grv_fs_directory_init(&store->directories[i], store, hashes[i], error);
    }
    if (!status) {
        status = grv_random_fill(&store->temp_id, sizeof store->temp_id, error);
    }
    if (!status) {
        status = grv_directory_open(AT_FDCWD, config->root, config->create, &store->root_fd, error);
    }
    if (!status) {
        status =
            grv_directory_open(store->root_fd, prefix, config->create, &store->prefix_fd, error);
        if (status) {
            grv_error_prefix(error, "in %s", config->root);
        }
    }
    return status;
}

grv_status grv_fs_new(const grv_fs_config *config, const grv_fs_tuning *tuning,
                      grv_block_store **ret_store, grv_error *error)
{
    static const grv_fs_tuning usual = {
        .group_bytes = UINT64_C(64) << 20, .group_files = 1024, .list_window = 262144};
    const char *prefix = config->prefix ? config->prefix : GRV_FS_PREFIX_DEFAULT;
    if (!config->root || !*config->root) {
        return grv_error_set(error, GRV_INVALID_ARGUMENT, "fs", "no directory given");
    }
    grv_status status = grv_fs_prefix_check(prefix, error);
    if (status) {
        return status;
    }
    grv_fs_store *store = calloc(1, sizeof *store);
    if (!store) {
        return grv_error_set(error, GRV_LIMIT_EXCEEDED, "fs", "no memory for a block store");
    }
    store->tuning = tuning ? *tuning : usual;
    store->root_fd = -1;
    store->prefix_fd = -1;
    store->temp_fd = -1;
    int failed = pthread_mutex_init(&store->temp_lock, NULL);
    if (failed) {
        free(store);
        return grv_error_set_errno(error, failed, "fs", "no mutex");
    }
    status = grv_fs_sync_init(&store->sync, error);
    if (status) {
        pthread_mutex_destroy(&store->temp_lock);
        free(store);
        return status;
    }
    status = fs_open(store, config, prefix, error);
    if (status) {
        fs_free(&store->base);
        return status;
    }
    *ret_store = &store->base;
    return GRV_OK;
}

grv_status grv_block_store_fs_new(const grv_fs_config *config, grv_block_store **ret_store,
                                  grv_error *error)
{
    grv_block_store *store = NULL;
    grv_status status = grv_fs_new(config, NULL, &store, error);
    if (status) {
        return status;
    }
    return grv_block_store_verify_new(store, ret_store, error);
}
