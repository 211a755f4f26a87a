/* SPDX-License-Identifier: Apache-2.0 */
/* A table of file calls that makes the nth call of chosen kinds fail, or do only part of its
 * work. */
#ifndef GRV_TESTS_FAULT_FILE_FAULTS_H
#define GRV_TESTS_FAULT_FILE_FAULTS_H

#include <stdbool.h>
#include <stdint.h>

/* Kinds of calls, to be combined. */
enum {
    FILE_OPENAT = 1 << 0,
    FILE_CLOSE = 1 << 1,   /* fails after it has closed, as the system's does */
    FILE_READ = 1 << 2,    /* read and pread */
    FILE_WRITE = 1 << 3,   /* write and pwrite */
    FILE_SYNC = 1 << 4,    /* fdatasync and syncfs */
    FILE_DIRSYNC = 1 << 5, /* fsync */
    FILE_RENAME = 1 << 6,
    FILE_LINK = 1 << 7,
    FILE_UNLINK = 1 << 8,
    FILE_MKDIR = 1 << 9,
    FILE_STAT = 1 << 10, /* fstat, fstatat and fstatvfs */
    FILE_FLOCK = 1 << 11,
    FILE_READDIR = 1 << 12, /* fdopendir, readdir, closedir */
    FILE_ROOM = 1 << 13,    /* fallocate, ftruncate, futimens */
    FILE_ALL = (1 << 14) - 1
};

/* What fails. */
typedef struct file_fault {
    unsigned kinds;
    int errno_value; /* 0: reads and writes do half of what they are asked for, at least a byte */
} file_fault;

/* Puts the table in use: the nth call of these kinds from now on fails, and all of them after it
 * where `persistent`. */
void file_faults_begin(const file_fault *fault, uint64_t n, bool persistent);

/* Puts the system's table back; how many calls failed. */
uint64_t file_faults_end(void);

#endif
