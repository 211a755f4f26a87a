/* SPDX-License-Identifier: Apache-2.0 */
/* A walk over fts(3), which sorts each directory as it opens it. */
#include "cli/put_walk.h"

#include <errno.h>
#include <fts.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

/* A store has at most two directories of its own. */
#define WALK_PLACES 2

typedef struct walk_place {
    dev_t device;
    ino_t inode;
} walk_place;

struct cli_walk {
    FTS *fts;
    size_t place_count;
    walk_place places[WALK_PLACES];
};

/* The byte that follows a name in a path: so "a/x" sorts behind "a.txt", as in a list of paths. */
static int name_end(const FTSENT *entry)
{
    return entry->fts_info == FTS_D ? '/' : 0;
}

static int walk_compare(const FTSENT **a, const FTSENT **b)
{
    size_t a_size = (*a)->fts_namelen;
    size_t b_size = (*b)->fts_namelen;
    size_t common = a_size < b_size ? a_size : b_size;
    int order = memcmp((*a)->fts_name, (*b)->fts_name, common);
    if (order != 0) {
        return order;
    }
    int a_next = a_size > common ? (unsigned char)(*a)->fts_name[common] : name_end(*a);
    int b_next = b_size > common ? (unsigned char)(*b)->fts_name[common] : name_end(*b);
    return a_next - b_next;
}

static void walk_note_places(cli_walk *walk, const grv_place *place)
{
    const char *const directories[WALK_PLACES] = {place->blocks_path, place->meta_path};
    for (size_t i = 0; i < WALK_PLACES; i++) {
        struct stat info;
        if (*directories[i] && stat(directories[i], &info) == 0) {
            walk->places[walk->place_count++] = (walk_place){info.st_dev, info.st_ino};
        }
    }
}

grv_status cli_walk_open(const char *root, const grv_place *place, cli_walk **ret_walk,
                         grv_error *error)
{
    cli_walk *walk = calloc(1, sizeof *walk);
    char *path = strdup(root);
    char *paths[] = {path, NULL};
    if (walk && path) {
        walk->fts = fts_open(paths, FTS_PHYSICAL | FTS_COMFOLLOW | FTS_NOCHDIR, walk_compare);
    }
    int saved = errno;
    free(path);
    if (!walk || !walk->fts) {
        free(walk);
        return grv_error_set_errno(error, saved, "walk", "cannot look into %s", root);
    }
    walk_note_places(walk, place);
    *ret_walk = walk;
    return GRV_OK;
}

static bool walk_is_store(const cli_walk *walk, const FTSENT *entry)
{
    for (size_t i = 0; i < walk->place_count; i++) {
        if (entry->fts_statp->st_dev == walk->places[i].device &&
            entry->fts_statp->st_ino == walk->places[i].inode) {
            return true;
        }
    }
    return false;
}

/* What an entry means; false where there is nothing to tell of it. */
static bool walk_judge(cli_walk *walk, FTSENT *entry, cli_walk_item *item)
{
    *item = (cli_walk_item){.kind = CLI_WALK_SKIPPED, .path = entry->fts_path};
    switch (entry->fts_info) {
    case FTS_F:
        item->kind = CLI_WALK_FILE;
        item->size_bytes = (uint64_t)entry->fts_statp->st_size;
        return true;
    case FTS_D:
        item->why = "the store itself";
        return walk_is_store(walk, entry) && fts_set(walk->fts, entry, FTS_SKIP) == 0;
    case FTS_DP:
        return false;
    case FTS_SL:
    case FTS_SLNONE:
        item->why = "a symbolic link";
        return true;
    case FTS_DNR:
    case FTS_ERR:
    case FTS_NS:
        item->kind = CLI_WALK_FAILED;
        item->errno_value = entry->fts_errno;
        return true;
    case FTS_DC:
        item->kind = CLI_WALK_FAILED;
        item->errno_value = ELOOP;
        return true;
    default:
        item->why = "a special file";
        return true;
    }
}

grv_status cli_walk_next(cli_walk *walk, cli_walk_item *ret_item, grv_error *error)
{
    for (;;) {
        errno = 0;
        FTSENT *entry = fts_read(walk->fts);
        if (!entry && errno != 0) {
            return grv_error_set_errno(error, errno, "walk", "cannot read a directory");
        }
        if (!entry) {
            *ret_item = (cli_walk_item){.kind = CLI_WALK_END};
            return GRV_OK;
        }
        if (walk_judge(walk, entry, ret_item)) {
            return GRV_OK;
        }
    }
}

void cli_walk_close(cli_walk *walk)
{
    if (walk) {
        (void)fts_close(walk->fts); /* read only: there is nothing to lose */
        free(walk);
    }
}
