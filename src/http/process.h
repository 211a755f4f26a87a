/* SPDX-License-Identifier: Apache-2.0 */
/* What the system says of this process, for metrics and statistics. */
#ifndef GRV_HTTP_PROCESS_H
#define GRV_HTTP_PROCESS_H

#include <graviton/error.h>
#include <stdbool.h>
#include <stdint.h>

/* Figures of the process; what the system does not tell (no /proc) has its flag false. */
typedef struct http_process_figures {
    bool has_memory;
    uint64_t resident_bytes;
    uint64_t virtual_bytes;
    bool has_fds;
    uint64_t open_fds;
    uint64_t max_fds; /* 0: no limit */
    uint64_t cpu_ns;  /* user and system */
} http_process_figures;

/* Reads them now. Thread-safe; some tens of microseconds. */
void http_process_read(http_process_figures *ret_figures);

#endif
