/* SPDX-License-Identifier: Apache-2.0 */
/* What the system says of this process. A failure to find out is an absent figure, not an error. */
#include "http/process.h"
#include "os/file.h"

#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

static bool memory_read(uint64_t *ret_resident_pages, uint64_t *ret_virtual_pages)
{
    char text[128] = "";
    int fd;
    size_t size = 0;
    if (grv_file_open(AT_FDCWD, "/proc/self/statm", O_RDONLY, 0, &fd, NULL)) {
        return false;
    }
    grv_span span = {(uint8_t *)text, sizeof text - 1};
    grv_status status = grv_file_read_all(fd, span, &size, "/proc/self/statm", NULL);
    grv_file_close(fd, "/proc/self/statm", NULL);
    char *end;
    *ret_virtual_pages = strtoull(text, &end, 10);
    if (status || end == text || *end != ' ') {
        return false;
    }
    char *second = end;
    *ret_resident_pages = strtoull(second, &end, 10);
    return end != second;
}

static bool fds_count(uint64_t *ret_count)
{
    int fd;
    DIR *entries;
    const char *name = NULL;
    uint64_t count = 0;
    if (grv_directory_open(AT_FDCWD, "/proc/self/fd", false, &fd, NULL)) {
        return false;
    }
    grv_status status = grv_directory_entries(fd, "/proc/self/fd", &entries, NULL);
    if (!status) {
        while (!(status = grv_directory_next(entries, "/proc/self/fd", &name, NULL)) && name) {
            count++;
        }
        grv_directory_close(entries);
    }
    grv_file_close(fd, "/proc/self/fd", NULL);
    /* Two of them were this count's own. */
    *ret_count = count > 2 ? count - 2 : 0;
    return !status;
}

void http_process_read(http_process_figures *ret_figures)
{
    *ret_figures = (http_process_figures){0};
    uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE);
    uint64_t resident = 0;
    uint64_t virtual = 0;
    struct rlimit limit;
    struct timespec cpu;
    if (memory_read(&resident, &virtual)) {
        ret_figures->has_memory = true;
        ret_figures->resident_bytes = resident * page;
        ret_figures->virtual_bytes = virtual * page;
    }
    ret_figures->has_fds = fds_count(&ret_figures->open_fds);
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY) {
        ret_figures->max_fds = limit.rlim_cur;
    }
    if (clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &cpu) == 0) {
        ret_figures->cpu_ns = (uint64_t)cpu.tv_sec * UINT64_C(1000000000) + (uint64_t)cpu.tv_nsec;
    }
}
