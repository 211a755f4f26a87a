/* SPDX-License-Identifier: Apache-2.0 */
/* What a line is, for line.c, which keeps them, and transfer.c, which uses them. */
#ifndef GRV_BACKEND_REMOTE_LINE_H
#define GRV_BACKEND_REMOTE_LINE_H

#include "backend/remote/client.h"

struct grv_remote_line {
    grv_remote_line *next; /* among the spare ones */
    CURL *easy;
    CURLM *multi;
};

#endif
