/* SPDX-License-Identifier: Apache-2.0 */
/* Groups of new files: gathering them, and putting them in place once they are durable. */
#include "backend/fs/fs.h"

#include "os/file.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

grv_status grv_fs_group_new(grv_fs_group **ret_group, grv_error *error)
{
    grv_fs_group *group = calloc(1, sizeof *group);
    if (!group) {
        return grv_error_set(error, GRV_LIMIT_EXCEEDED, "fs", "no memory for a group of blocks");
    }
    *ret_group = group;
    return GRV_OK;
}

static grv_status group_grow(grv_fs_group *group, grv_error *error)
{
    size_t capacity = group->capacity ? 2 * group->capacity : 4;
    grv_fs_member *members = realloc(group->members, capacity * sizeof *members);
    if (!members) {
        return grv_error_set(error, GRV_LIMIT_EXCEEDED, "fs", "no memory for a group of %zu blocks",
                             capacity);
    }
    group->members = members;
    group->capacity = capacity;
    return GRV_OK;
}

grv_status grv_fs_group_add(grv_fs_group *group, const grv_fs_member *member, int fd,
                            uint64_t failures, grv_error *error)
{
    assert(group->state == GRV_FS_OPEN);
    if (group->count == group->capacity) {
        grv_status status = group_grow(group, error);
        if (status) {
            return status;
        }
    }
    if (group->count == 0 || failures < group->failures) {
        group->failures = failures;
    }
    group->members[group->count++] = *member;
    group->bytes += member->key.size;
    if (fd >= 0) {
        assert(group->fd_count < GRV_FS_FEW);
        group->fds[group->fd_count++] = fd;
    }
    return GRV_OK;
}

grv_status grv_fs_group_close(grv_fs_store *store, grv_fs_group *group, grv_error *error)
{
    grv_status status = GRV_OK;
    while (group->fd_count > 0) {
        grv_status closed = grv_file_close(group->fds[--group->fd_count], "a new block file",
                                           status ? NULL : error);
        status = status ? status : closed;
        grv_fs_sync_unhold(store);
    }
    return status;
}

static grv_status member_place(grv_fs_store *store, int temp_fd, grv_fs_member *member,
                               grv_error *error)
{
    const grv_file_ops *calls = grv_file_calls();
    grv_fs_directory *directory = grv_fs_directory_of(store, member->key.digest.hash);
    int fd;
    grv_status status = grv_fs_directory_open(directory, true, &fd, error);
    if (!status) {
        status = grv_fs_block_present(fd, &member->key, &member->duplicate, error);
    }
    if (status) {
        return status;
    }
    char temp[GRV_FS_TEMP_SIZE];
    grv_fs_temp_print(store, member->temp, temp);
    if (member->duplicate) {
        if (calls->unlinkat(temp_fd, temp, 0)) {
            return grv_error_set_errno(error, errno, "fs", "cannot remove temporary file %s", temp);
        }
        return GRV_OK;
    }
    char name[GRV_BLOCK_NAME_SIZE];
    grv_block_name_print(&member->key, name);
    if (calls->renameat(temp_fd, temp, fd, name)) {
        return grv_error_set_errno(error, errno, "fs", "cannot rename %s to block file %s", temp,
                                   name);
    }
    grv_fs_directory_changed(directory);
    return GRV_OK;
}

grv_status grv_fs_group_place(grv_fs_store *store, grv_fs_group *group, grv_error *error)
{
    assert(group->state == GRV_FS_SYNCED);
    int temp_fd;
    grv_status status = grv_fs_temp_open(store, &temp_fd, error);
    while (!status && group->placed < group->count) {
        status = member_place(store, temp_fd, &group->members[group->placed], error);
        if (!status) {
            group->placed++;
        }
    }
    return status;
}

void grv_fs_group_free(grv_fs_store *store, grv_fs_group *group)
{
    assert(group->state != GRV_FS_QUEUED);
    /* What cannot be closed or removed here is garbage under `.tmp`, and nobody waits for word. */
    (void)grv_fs_group_close(store, group, NULL);
    int temp_fd;
    if (group->placed < group->count && grv_fs_temp_open(store, &temp_fd, NULL) == GRV_OK) {
        for (size_t i = group->placed; i < group->count; i++) {
            char temp[GRV_FS_TEMP_SIZE];
            grv_fs_temp_print(store, group->members[i].temp, temp);
            (void)grv_file_calls()->unlinkat(temp_fd, temp, 0);
        }
    }
    free(group->members);
    free(group);
}
