/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Blocks set aside, and what nobody needs any more. A block in quarantine is its own file under
 * `<prefix>/.quarantine/<algo>/`, moved there by a rename, so that it is in one place or the other
 * whatever happens. Leftovers of puts lie under `<prefix>/.tmp`, those of a superblock beside it.
 * What is neither a file nor a link is nobody's leftover and stays.
 */
#include "backend/fs/fs.h"

#include "os/file.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const grv_hash hashes[] = {GRV_HASH_BLAKE3, GRV_HASH_SHA256};
#define HASH_COUNT (sizeof hashes / sizeof hashes[0])

/* Room for the path of an algorithm's quarantine under the prefix. */
#define ASIDE_PATH_SIZE 32

static void aside_path(grv_hash hash, char ret_path[ASIDE_PATH_SIZE])
{
    snprintf(ret_path, ASIDE_PATH_SIZE, GRV_FS_QUARANTINE "/%s", grv_hash_name(hash));
}

/* ---- Quarantine ---- */

/* An algorithm's two directories. */
typedef struct aside_pair {
    int from; /* borrowed; -1: there is none, and so no block */
    int to;   /* -1 until the first block moves */
} aside_pair;

static grv_status aside_move(grv_fs_store *store, const grv_block_key *key, aside_pair *pair,
                             bool *ret_moved, grv_error *error)
{
    grv_fs_directory *directory = grv_fs_directory_of(store, key->digest.hash);
    grv_status status = grv_fs_directory_open(directory, false, &pair->from, error);
    if (status || pair->from < 0) {
        *ret_moved = false;
        return status;
    }
    if (pair->to < 0) {
        char path[ASIDE_PATH_SIZE];
        aside_path(key->digest.hash, path);
        status = grv_directory_open(store->prefix_fd, path, true, &pair->to, error);
        if (status) {
            return status;
        }
    }
    char name[GRV_BLOCK_NAME_SIZE];
    grv_block_name_print(key, name);
    if (grv_file_calls()->renameat(pair->from, name, pair->to, name) == 0) {
        grv_fs_directory_changed(directory);
        *ret_moved = true;
        return GRV_OK;
    }
    if (errno == ENOENT) {
        *ret_moved = false;
        return GRV_OK;
    }
    return grv_error_set_errno(error, errno, "fs", "cannot set block file %s aside", name);
}

/* Makes the moves of one algorithm durable: the new entries before the old ones are given up. */
static grv_status aside_settle(const grv_call *call, grv_fs_store *store, grv_hash hash,
                               const aside_pair *pair, grv_error *error)
{
    if (pair->to < 0) {
        return GRV_OK;
    }
    grv_status status = grv_directory_sync(pair->to, GRV_FS_QUARANTINE, error);
    return status ? status : grv_fs_directory_settle(call, grv_fs_directory_of(store, hash), error);
}

grv_status grv_fs_quarantine(const grv_call *call, grv_block_store *base,
                             const grv_block_key keys[], size_t count, bool ret_moved[],
                             grv_error *error)
{
    grv_fs_store *store = (grv_fs_store *)base;
    aside_pair pairs[HASH_COUNT] = {{-1, -1}, {-1, -1}};
    bool *moved = malloc(count * sizeof *moved);
    if (!moved) {
        return grv_error_set(error, GRV_LIMIT_EXCEEDED, "fs", "no memory for %zu answers", count);
    }
    grv_status status = GRV_OK;
    for (size_t i = 0; i < count && !status; i++) {
        status = grv_call_check(call, "fs", error);
        if (!status) {
            aside_pair *pair = &pairs[keys[i].digest.hash == GRV_HASH_SHA256];
            status = aside_move(store, &keys[i], pair, &moved[i], error);
        }
    }
    for (size_t i = 0; i < HASH_COUNT; i++) {
        if (!status) {
            status = aside_settle(call, store, hashes[i], &pairs[i], error);
        }
        if (pairs[i].to >= 0) {
            (void)grv_file_close(pairs[i].to, GRV_FS_QUARANTINE, NULL); /* open to read */
        }
    }
    if (!status) {
        memcpy(ret_moved, moved, count * sizeof *moved);
    }
    free(moved);
    return status;
}

/* ---- Sweep ---- */

/* One directory on its way through a sweep. */
typedef struct sweep_walk {
    grv_fs_store *store;
    int fd;
    const char *name; /* for messages */
    grv_hash hash;    /* of a quarantine: whose */
    bool dry_run;
    bool removed; /* something was */
    uint64_t files;
    uint64_t bytes;
} sweep_walk;

/* Whether a sweep is about the entry `name`. */
typedef grv_status sweep_choose(const sweep_walk *walk, const char *name, bool *ret_chosen,
                                grv_error *error);

/* Counts one entry and removes it. */
static grv_status sweep_entry(sweep_walk *walk, const char *name, grv_error *error)
{
    struct stat st;
    if (grv_file_calls()->fstatat(walk->fd, name, &st, AT_SYMLINK_NOFOLLOW)) {
        return errno == ENOENT ? GRV_OK
                               : grv_error_set_errno(error, errno, "fs", "cannot look at %s/%s",
                                                     walk->name, name);
    }
    if (!S_ISREG(st.st_mode) && !S_ISLNK(st.st_mode)) {
        return GRV_OK;
    }
    if (!walk->dry_run && grv_file_calls()->unlinkat(walk->fd, name, 0)) {
        return grv_error_set_errno(error, errno, "fs", "cannot remove %s/%s", walk->name, name);
    }
    walk->removed = walk->removed || !walk->dry_run;
    walk->files++;
    walk->bytes += (uint64_t)st.st_size;
    return GRV_OK;
}

/* Sweeps the entries that `choose` picks out of the directory that is open at walk->fd. */
static grv_status sweep_entries(const grv_call *call, sweep_walk *walk, sweep_choose *choose,
                                grv_error *error)
{
    DIR *entries;
    grv_status status = grv_directory_entries(walk->fd, walk->name, &entries, error);
    if (status) {
        return status;
    }
    for (;;) {
        const char *name = NULL;
        bool take = false;
        status = grv_call_check(call, "fs", error);
        if (!status) {
            status = grv_directory_next(entries, walk->name, &name, error);
        }
        if (status || !name) {
            break;
        }
        status = choose(walk, name, &take, error);
        if (!status && take) {
            status = sweep_entry(walk, name, error);
        }
        if (status) {
            break;
        }
    }
    grv_directory_close(entries);
    if (!status && walk->removed) {
        status = grv_directory_sync(walk->fd, walk->name, error);
    }
    return status;
}

static grv_status choose_all(const sweep_walk *walk, const char *name, bool *ret_chosen,
                             grv_error *error)
{
    (void)walk;
    (void)name;
    (void)error;
    *ret_chosen = true;
    return GRV_OK;
}

/* What a superblock's writing leaves where it is cut short: `.NAME.<hex>.tmp`. */
static grv_status choose_superblock_temp(const sweep_walk *walk, const char *name, bool *ret_chosen,
                                         grv_error *error)
{
    static const char lead[] = "." GRV_FS_SUPERBLOCK ".";
    static const char tail[] = ".tmp";
    (void)walk;
    (void)error;
    size_t size = strlen(name);
    size_t hex = strncmp(name, lead, sizeof lead - 1) == 0
                     ? strspn(name + sizeof lead - 1, "0123456789abcdef")
                     : 0;
    *ret_chosen = hex == 16 && size == sizeof lead - 1 + hex + sizeof tail - 1 &&
                  strcmp(name + size - (sizeof tail - 1), tail) == 0;
    return GRV_OK;
}

/* Files in quarantine whose block is there again. */
static grv_status choose_present(const sweep_walk *walk, const char *name, bool *ret_chosen,
                                 grv_error *error)
{
    grv_block_key key;
    int fd;
    *ret_chosen = false;
    if (!grv_block_name_parse(walk->hash, name, &key)) {
        return GRV_OK;
    }
    grv_status status =
        grv_fs_directory_open(grv_fs_directory_of(walk->store, walk->hash), false, &fd, error);
    return status || fd < 0 ? status : grv_fs_block_present(fd, &key, ret_chosen, error);
}

/* Sweeps the directory walk->name under the prefix, which need not be there. */
static grv_status sweep_directory(const grv_call *call, sweep_walk *walk, sweep_choose *choose,
                                  grv_error *error)
{
    grv_status status =
        grv_directory_open(walk->store->prefix_fd, walk->name, false, &walk->fd, error);
    if (status) {
        return status == GRV_NOT_FOUND ? GRV_OK : status;
    }
    status = sweep_entries(call, walk, choose, error);
    (void)grv_file_close(walk->fd, walk->name, NULL); /* open to read */
    return status;
}

grv_status grv_fs_sweep(const grv_call *call, grv_block_store *base, bool dry_run,
                        grv_block_sweep *ret_sweep, grv_error *error)
{
    grv_fs_store *store = (grv_fs_store *)base;
    grv_block_sweep sweep = {0};
    sweep_walk temps = {.store = store, .name = GRV_FS_TEMP, .dry_run = dry_run};
    sweep_walk root = {
        .store = store, .fd = store->root_fd, .name = "the store", .dry_run = dry_run};
    grv_status status = sweep_directory(call, &temps, choose_all, error);
    if (!status) {
        status = sweep_entries(call, &root, choose_superblock_temp, error);
    }
    for (size_t i = 0; i < HASH_COUNT && !status; i++) {
        char path[ASIDE_PATH_SIZE];
        sweep_walk aside = {.store = store, .name = path, .hash = hashes[i], .dry_run = dry_run};
        aside_path(hashes[i], path);
        status = sweep_directory(call, &aside, choose_present, error);
        sweep.aside += aside.files;
        sweep.aside_bytes += aside.bytes;
    }
    if (status) {
        return status;
    }
    sweep.temporary = temps.files + root.files;
    sweep.temporary_bytes = temps.bytes + root.bytes;
    *ret_sweep = sweep;
    return GRV_OK;
}
