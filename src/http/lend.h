/* SPDX-License-Identifier: Apache-2.0 */
/* Giving way to others who want the store to themselves: a collection in another process. */
#ifndef GRV_HTTP_LEND_H
#define GRV_HTTP_LEND_H

#include "http/http.h"

/* Starts the thread that looks, every second. `server` has its store, streams and log; they outlive
 * it. For stores that are one process's alone there is never anything to do. */
grv_status http_lend_new(http_server *server, http_lend **ret_lend, grv_error *error);

/* Ends it; a store that is lent by then stays so, and may be closed. NULL is allowed. */
void http_lend_free(http_lend *lend);

#endif
