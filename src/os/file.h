/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Files: the system calls graviton makes on them, behind one replaceable table, and the few steps
 * that everyone would otherwise write again: whole reads and writes, durable directories, small
 * files replaced atomically. A test puts its own table in to record calls or to make them fail.
 *
 * A name passed to a helper is for its message alone unless said otherwise.
 */
#ifndef GRV_OS_FILE_H
#define GRV_OS_FILE_H

#include <dirent.h>
#include <fcntl.h>
#include <graviton/bytes.h>
#include <stdbool.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/types.h>

/* The calls, each as the system call or libc function of its name: -1 (or NULL) and errno on
 * failure. start_writeback is sync_file_range over the whole file, without waiting. */
typedef struct grv_file_ops {
    int (*openat)(int dir, const char *path, int flags, mode_t mode);
    int (*close)(int fd);
    ssize_t (*read)(int fd, void *data, size_t size);
    ssize_t (*pread)(int fd, void *data, size_t size, off_t offset);
    ssize_t (*write)(int fd, const void *data, size_t size);
    ssize_t (*pwrite)(int fd, const void *data, size_t size, off_t offset);
    int (*start_writeback)(int fd);
    int (*futimens)(int fd, const struct timespec times[2]);
    int (*fdatasync)(int fd);
    int (*fsync)(int fd);
    int (*syncfs)(int fd);
    int (*renameat)(int old_dir, const char *old_path, int new_dir, const char *new_path);
    int (*linkat)(int old_dir, const char *old_path, int new_dir, const char *new_path, int flags);
    int (*unlinkat)(int dir, const char *path, int flags);
    int (*mkdirat)(int dir, const char *path, mode_t mode);
    int (*fstatat)(int dir, const char *path, struct stat *ret_stat, int flags);
    int (*fstat)(int fd, struct stat *ret_stat);
    int (*flock)(int fd, int operation);
    int (*fallocate)(int fd, int mode, off_t offset, off_t size);
    int (*ftruncate)(int fd, off_t size);
    int (*fstatvfs)(int fd, struct statvfs *ret_stat);
    DIR *(*fdopendir)(int fd);
    struct dirent *(*readdir)(DIR *dir);
    int (*closedir)(DIR *dir);
} grv_file_ops;

/* The system's own calls. */
extern const grv_file_ops grv_file_ops_system;

/* The table in use. Thread-safe. */
const grv_file_ops *grv_file_calls(void);

/* Puts a table in use for the whole process and returns the one before; NULL is the system's. For
 * tests: nothing may be using files at that moment, and the table outlives its use. */
const grv_file_ops *grv_file_calls_set(const grv_file_ops *ops);

/* Opens `path` (O_CLOEXEC is added), trying again when interrupted. errno's status on failure,
 * with ENOTDIR told apart from "not found". */
grv_status grv_file_open(int dir, const char *path, int flags, mode_t mode, int *ret_fd,
                         grv_error *error);

/* Closes; a failure means that bytes written may be lost. The descriptor is gone either way. */
grv_status grv_file_close(int fd, const char *name, grv_error *error);

/* Writes all bytes at the file's position. errno's status on failure; some may be written then. */
grv_status grv_file_write_all(int fd, grv_bytes bytes, const char *name, grv_error *error);

/* Reads from offset 0 until the span is full or the file ends; *ret_size is what was read. */
grv_status grv_file_read_all(int fd, grv_span span, size_t *ret_size, const char *name,
                             grv_error *error);

/*
 * Makes a file's data (and what is needed to read it back) durable. After a failure the system may
 * have dropped the data and forgotten that it did: the file is to be abandoned, never synced again.
 */
grv_status grv_file_sync(int fd, const char *name, grv_error *error);

/* Makes the entries of an open directory durable. As for grv_file_sync, a failure is final. */
grv_status grv_directory_sync(int fd, const char *name, grv_error *error);

/*
 * Opens directory `path` (of any depth, relative to `base` or absolute) for reading. With `create`
 * missing directories are made, each durable in its parent before the next; so are those that are
 * there, which a killed process may have made. GRV_NOT_FOUND where one is missing and `create` is
 * false.
 */
grv_status grv_directory_open(int base, const char *path, bool create, int *ret_fd,
                              grv_error *error);

/* Starts reading the entries of the directory open at `fd`, which stays open, from the first.
 * Ends with grv_directory_close. */
grv_status grv_directory_entries(int fd, const char *name, DIR **ret_entries, grv_error *error);

/* The next entry's name, valid until the next call, NULL after the last; "." and ".." are left
 * out. */
grv_status grv_directory_next(DIR *entries, const char *name, const char **ret_name,
                              grv_error *error);

/* Ends reading entries; NULL is allowed. */
void grv_directory_close(DIR *entries);

/* Appends the whole of file `name` in `dir` to `out`: GRV_NOT_FOUND where there is none,
 * GRV_CORRUPT where it has more than `max` bytes or than `out` may take. */
grv_status grv_file_read_small(int dir, const char *name, size_t max, grv_buffer *out,
                               grv_error *error);

/*
 * Makes `bytes` the contents of file `name` in `dir`, atomically and durably: a temporary file
 * beside it (`.NAME.<hex>.tmp`, which only a crash leaves), synced, put in place, the directory
 * synced. With `exclusive` there must be no such file yet, GRV_ALREADY_EXISTS otherwise, also
 * where several processes do so at once. On another failure the old contents or the new are there.
 */
grv_status grv_file_write_small(int dir, const char *name, grv_bytes bytes, bool exclusive,
                                grv_error *error);

#endif
