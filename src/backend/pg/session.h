/* SPDX-License-Identifier: Apache-2.0 */
/* What the manifest repository needs of a session: whose name a put goes by. */
#ifndef GRV_BACKEND_PG_SESSION_H
#define GRV_BACKEND_PG_SESSION_H

#include "backend/pg/pg.h"

#define GRV_PG_SESSION_ID_SIZE 16u

/*
 * The session's id, to be taken before a put looks anything up; its commit is guarded by it. Where
 * the session's connection is known to be gone it is made anew first, under a new id if somebody
 * had the store to himself meanwhile. GRV_UNAVAILABLE while somebody has, and while it is lent.
 */
grv_status grv_pg_session_current(const grv_call *call, grv_pg_session *session,
                                  uint8_t ret_id[GRV_PG_SESSION_ID_SIZE], grv_error *error);

/* Notes that a commit was refused because the session `id` is no more. */
void grv_pg_session_expire(grv_pg_session *session, const uint8_t id[GRV_PG_SESSION_ID_SIZE]);

#endif
