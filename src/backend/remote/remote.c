/* SPDX-License-Identifier: Apache-2.0 */
/* The handle: opening, which asks the server what its store is, and closing. */
#include "backend/remote/client.h"
#include "os/random.h"

#include <stdlib.h>

static pthread_once_t library_once = PTHREAD_ONCE_INIT;
static bool library_ready;

/* Once a process, and never undone: others may use it too. */
static void library_start(void)
{
    library_ready = curl_global_init(CURL_GLOBAL_DEFAULT) == CURLE_OK;
}

static grv_status ask_store(const grv_call *call, grv_remote *remote, grv_error *error)
{
    const grv_remote_ask ask = {
        .doing = "cannot open the store",
        .request = {.method = "GET", .path = "/api/store"},
        .is_first = true,
    };
    json_t *json;
    grv_status status = grv_remote_ask_json(call, remote, &ask, &json, error);
    if (status == GRV_NOT_FOUND) {
        return grv_remote_no_server(remote, ask.doing, "it knows no /api/store", error);
    }
    if (!status) {
        status = grv_remote_decode_store(json, &remote->info, &remote->capabilities, error);
        if (status) {
            grv_error_prefix(error, "%s", remote->settings.where);
        }
        json_decref(json);
    }
    return status;
}

grv_status grv_remote_open(const grv_call *call, const grv_remote_config *config,
                           grv_remote **ret_remote, grv_error *error)
{
    pthread_once(&library_once, library_start);
    if (!library_ready) {
        return grv_error_set(error, GRV_INTERNAL, GRV_REMOTE_ORIGIN, "libcurl does not start");
    }
    grv_remote *remote = calloc(1, sizeof *remote);
    if (!remote) {
        return grv_error_set(error, GRV_LIMIT_EXCEEDED, GRV_REMOTE_ORIGIN,
                             "no memory for a client");
    }
    pthread_mutex_init(&remote->lock, NULL);
    grv_status status = grv_remote_settings_init(&remote->settings, config, error);
    if (!status) {
        status = grv_random_fill(&remote->random, sizeof remote->random, error);
    }
    if (!status) {
        status = ask_store(call, remote, error);
    }
    if (status) {
        grv_remote_close(remote);
        return status;
    }
    *ret_remote = remote;
    return GRV_OK;
}

const grv_remote_info *grv_remote_get_info(const grv_remote *remote)
{
    return &remote->info;
}

const char *grv_remote_where(const grv_remote *remote)
{
    return remote->settings.where;
}

bool grv_remote_shows_token(const grv_remote *remote)
{
    return remote->settings.token && !remote->settings.tls && !remote->settings.is_local;
}

void grv_remote_close(grv_remote *remote)
{
    if (remote) {
        grv_remote_lines_free(remote);
        pthread_mutex_destroy(&remote->lock);
        grv_remote_settings_done(&remote->settings);
        free(remote);
    }
}
