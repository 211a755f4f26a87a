/* SPDX-License-Identifier: Apache-2.0 */
/* A session's state, for session.c and session_alone.c. */
#ifndef GRV_BACKEND_PG_SESSION_STATE_H
#define GRV_BACKEND_PG_SESSION_STATE_H

#include "backend/pg/session.h"

#include <pthread.h>

struct grv_pg_session {
    grv_pg *pg;
    char *command;
    pthread_mutex_t lock; /* guards what follows; held over I/O: there is one connection */
    grv_pg_conn *conn;    /* NULL: lost */
    uint8_t id[GRV_PG_SESSION_ID_SIZE];
    bool gives_way; /* what its row says */
    bool expired;   /* its row is gone */
    bool lent;      /* it has neither row nor lock, so that another may have the store to himself */
    bool blocked;   /* somebody's exclusive work has not ended */
    bool wants;     /* it stands in the turnstile; */
    bool exclusive; /* it has the lock exclusively, too, */
    bool inherits;  /* and the mark was another's, who has not ended his work */
    uint64_t epoch; /* atomic: ids that it has had */
};

/* Hangs up, if there is a connection: its locks go with it. The lock is held. */
void grv_pg_session_drop(grv_pg_session *session);

#endif
