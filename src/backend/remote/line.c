/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Kept connections. A line is a curl handle with a multi handle of its own, whose one connection
 * stays open between two requests; a request takes a spare line, or a new one, and is alone on it.
 */
#include "backend/remote/line.h"

#include <stdlib.h>

/* Lines that are kept: more than that many requests at once are rare, and each is a connection at
 * the server. */
#define SPARE_MAX 64u

static void line_free(grv_remote_line *line)
{
    /* Even for what curl is told to forget it writes to the handle's buffers: those are set anew by
     * each transfer. */
    curl_easy_cleanup(line->easy);
    curl_multi_cleanup(line->multi);
    free(line);
}

grv_status grv_remote_line_take(grv_remote *remote, grv_remote_line **ret_line, grv_error *error)
{
    pthread_mutex_lock(&remote->lock);
    grv_remote_line *line = remote->spare;
    if (line) {
        remote->spare = line->next;
        remote->spare_count--;
    }
    pthread_mutex_unlock(&remote->lock);
    if (!line) {
        line = calloc(1, sizeof *line);
        if (line) {
            line->easy = curl_easy_init();
            line->multi = curl_multi_init();
        }
        if (line && (!line->easy || !line->multi ||
                     curl_multi_setopt(line->multi, CURLMOPT_MAXCONNECTS, 1L) != CURLM_OK)) {
            line_free(line);
            line = NULL;
        }
    }
    if (!line) {
        return grv_error_set(error, GRV_LIMIT_EXCEEDED, GRV_REMOTE_ORIGIN,
                             "no memory for a connection");
    }
    line->next = NULL;
    *ret_line = line;
    return GRV_OK;
}

void grv_remote_line_give(grv_remote *remote, grv_remote_line *line)
{
    pthread_mutex_lock(&remote->lock);
    bool kept = remote->spare_count < SPARE_MAX;
    if (kept) {
        line->next = remote->spare;
        remote->spare = line;
        remote->spare_count++;
    }
    pthread_mutex_unlock(&remote->lock);
    if (!kept) {
        line_free(line);
    }
}

void grv_remote_lines_free(grv_remote *remote)
{
    while (remote->spare) {
        grv_remote_line *line = remote->spare;
        remote->spare = line->next;
        line_free(line);
    }
    remote->spare_count = 0;
}
