/* SPDX-License-Identifier: Apache-2.0 */
/*
 * PostgreSQL: one database holds the metadata of one store, for any number of processes. A handle
 * is a bounded pool of connections; the ports of this backend borrow it.
 *
 * The schema is made by grv_pg_migrate alone. Handles are thread-safe.
 */
#ifndef GRAVITON_BACKEND_PG_H
#define GRAVITON_BACKEND_PG_H

#include <graviton/port/key_value_store.h>
#include <graviton/port/manifest_repo.h>
#include <graviton/port/mutable_object_store.h>
#include <graviton/port/range_tracker.h>
#include <graviton/port/replica_index.h>

#ifdef __cplusplus
extern "C" {
#endif
#pragma GCC visibility push(default)

/* Connections of a handle where none are asked for, and at most. */
#define GRV_PG_CONNECTIONS_DEFAULT 8u
#define GRV_PG_CONNECTIONS_MAX     256u

/* How long work without a deadline waits for a database that does not answer, in nanoseconds. */
#define GRV_PG_PATIENCE_DEFAULT (UINT64_C(60) * 1000000000u)

typedef struct grv_pg grv_pg;

/* Configuration; strings are borrowed for the call. */
typedef struct grv_pg_config {
    /* What libpq takes: a postgresql:// URL, or "key=value" words. NULL or empty: PGHOST and so
     * on. Variables and defaults of libpq hold for what it does not say, TLS included. */
    const char *conninfo;
    unsigned connections; /* most at once; 0: GRV_PG_CONNECTIONS_DEFAULT */
    uint64_t patience_ns; /* for work without a deadline; 0: GRV_PG_PATIENCE_DEFAULT */
    bool allow_unsafe;    /* take a server whose fsync, full_page_writes or synchronous_commit is
                             off: it may lose what it acknowledged */
    bool read_only;       /* every transaction is read-only: a standby or a role that may only read
                             will do */
    bool any_schema;      /* do not look at the schema: to migrate */
} grv_pg_config;

/*
 * Opens a handle: connects once, looks at the server's settings and the schema's version. What a
 * handle loses later it connects anew by itself, within the deadline of the call that needs it.
 * GRV_INVALID_ARGUMENT for a malformed conninfo; GRV_UNAVAILABLE where nobody answers or all
 * connections are taken; GRV_PERMISSION for a wrong password or role; GRV_NOT_FOUND for a database
 * that is not there; GRV_CONFLICT for an unsafe server, a missing or an older schema (run
 * `graviton migrate`); GRV_UNSUPPORTED for a newer schema or a server older than 15. No message
 * holds a password. Free with grv_pg_close.
 */
grv_status grv_pg_open(const grv_call *call, const grv_pg_config *config, grv_pg **ret_pg,
                       grv_error *error);

/* "HOST:PORT/DATABASE", for messages; lives as long as the handle. */
const char *grv_pg_where(const grv_pg *pg);

/* What grv_pg_migrate does and tells. */
typedef struct grv_pg_migrate_config {
    bool dry_run; /* change nothing, tell only */
    /* Called for each migration, in order, once it is there: whether it was pending before, and its
     * SQL. NULL: nothing is told. */
    void (*report)(void *context, unsigned version, const char *name, const char *sql,
                   bool pending);
    void *context;
} grv_pg_migrate_config;

/*
 * Brings the schema to this program's version, under a lock that excludes other migrations, each
 * step in a transaction of its own. The handle was opened with `any_schema`. GRV_UNAVAILABLE where
 * another process migrates or has a session; GRV_UNSUPPORTED for a schema that is newer;
 * GRV_CONFLICT where the schema's name is taken by the Scala system or an unreleased version;
 * GRV_PERMISSION where the role may not.
 */
grv_status grv_pg_migrate(const grv_call *call, grv_pg *pg, const grv_pg_migrate_config *config,
                          grv_error *error);

/*
 * A session: this process's right to write to the store. It keeps a connection of its own, with a
 * shared advisory lock, and a row in graviton.session, without which no manifest is committed. So
 * work that needs the store to itself can tell whether somebody writes, and a writer whose
 * connection died unnoticed cannot commit after such work has begun.
 */
typedef struct grv_pg_session grv_pg_session;

/* Opens a session; `command` says who it is, for messages to others. GRV_UNAVAILABLE where another
 * process has the store to itself, or wants to. Thread-safe. Ends with grv_pg_session_close, before
 * the handle.
 */
grv_status grv_pg_session_open(const grv_call *call, grv_pg *pg, const char *command,
                               grv_pg_session **ret_session, grv_error *error);

/*
 * Has the store to itself: from then on no other session opens, and what those that died have not
 * committed they never will. It says that it wants to, so that no other session opens from the
 * first moment, and waits while all that are open give way (grv_pg_session_give_way): for
 * `patience_ns` at most. GRV_UNAVAILABLE, soon, where one does not, and after that time;
 * GRV_TIMEOUT and GRV_CANCELLED as the call says; each names one that is in the way. Ends with
 * grv_pg_session_admit. Where the process or its connection dies before, no put begins until
 * another such work has ended. grv_pg_session_holds asks, before a step that cannot be undone,
 * whether the connection still lives.
 */
grv_status grv_pg_session_exclude(const grv_call *call, grv_pg_session *session,
                                  uint64_t patience_ns, grv_error *error);
grv_status grv_pg_session_holds(const grv_call *call, grv_pg_session *session, grv_error *error);
void grv_pg_session_admit(grv_pg_session *session);

/* Ends it too, but as work that has not ended: no put begins, in any process, until another such
 * work has. For whoever cannot tell whether all that he has asked for is over. */
void grv_pg_session_abandon(grv_pg_session *session);

/* Whether whoever has the store to himself has taken over such work of another's. */
bool grv_pg_session_inherits(grv_pg_session *session);

/*
 * Giving way, for processes that have a session for long. Whoever calls grv_pg_session_give_way
 * with true promises to ask every second or so whether somebody wants the store to himself, and, if
 * so, to end its puts and lend the session; with false it promises nothing any more. A session
 * begins so. Where the database cannot be told, it is told when the session is taken up again.
 */
grv_status grv_pg_session_give_way(const grv_call *call, grv_pg_session *session, bool gives_way,
                                   grv_error *error);

/* Whether somebody else wants the store to himself, or has it. Not while the session is lent, or
 * wants that itself. One query. Thread-safe. */
grv_status grv_pg_session_is_wanted(const grv_call *call, grv_pg_session *session, bool *ret_wanted,
                                    grv_error *error);

/*
 * Lends the session: others may go on as if there were none. No put may be open: one that is open
 * all the same fails at its commit, and one that begins is GRV_UNAVAILABLE. GRV_UNAVAILABLE where
 * this session wants the store to itself. Otherwise it succeeds, also where the database does not
 * answer: then the connection is given up. Lending what is lent does nothing.
 */
grv_status grv_pg_session_lend(const grv_call *call, grv_pg_session *session, grv_error *error);

/* As grv_pg_session_open; but where another process has the store to itself or wants to, it
 * succeeds, and the session is lent from the beginning. */
grv_status grv_pg_session_open_lent(const grv_call *call, grv_pg *pg, const char *command,
                                    grv_pg_session **ret_session, grv_error *error);

/* Whether it is lent now. Thread-safe. */
bool grv_pg_session_is_lent(grv_pg_session *session);

/*
 * Takes a lent session again, as a new one: with another id, in a new epoch. GRV_UNAVAILABLE while
 * somebody has the store to himself or wants to, and while the database cannot be reached: it stays
 * lent. GRV_UNSUPPORTED where the schema is another one by now. GRV_OK says nothing of the work
 * that was done meanwhile: where that was left unended, puts say so. Does nothing where it is not
 * lent.
 */
grv_status grv_pg_session_reclaim(const grv_call *call, grv_pg_session *session, grv_error *error);

/* A number that grows whenever the session was lost and another one taken: others may have had the
 * store to themselves in between. Thread-safe. */
uint64_t grv_pg_session_epoch(const grv_pg_session *session);

/* Ends the session. NULL is allowed. */
void grv_pg_session_close(grv_pg_session *session);

/*
 * Ports over a handle, which is borrowed and outlives them. All processes that share a database
 * share what is in it. Free with the port's own free.
 */

/* A key-value store of `namespace_count` namespaces, numbered from 0. Its scans are snapshots page
 * by page (`whole_scans` is false). */
grv_status grv_kv_pg_new(grv_pg *pg, unsigned namespace_count, grv_kv **ret_kv, grv_error *error);

/* A replica index in tables of its own. */
grv_status grv_replica_index_pg_new(grv_pg *pg, grv_replica_index **ret_index, grv_error *error);

/* A range tracker in a table of its own. */
grv_status grv_range_tracker_pg_new(grv_pg *pg, grv_range_tracker **ret_tracker, grv_error *error);

/*
 * A manifest repository (capabilities: GRV_MANIFEST_CAP_NEWEST). Handle and session are borrowed. A
 * put goes by the session that is current when it begins, and its commit is GRV_CONFLICT where that
 * is no more: a collection ran meanwhile, and may have removed blocks that the put counts on.
 * `session` NULL: commits are not guarded, so no collection may run beside them; a handle that is
 * read-only needs none. Sequences follow the order of commits across all processes: a commit that
 * begins after another one has returned has the higher one.
 */
grv_status grv_manifest_repo_pg_new(grv_pg *pg, grv_pg_session *session,
                                    grv_manifest_repo **ret_repo, grv_error *error);

/*
 * The manifests of a deployment of the Scala system, for reading alone, so that they can be copied
 * from: its tables graviton.blob and graviton.blob_block. The handle was opened with `any_schema`,
 * is borrowed, and needs no more than the right to read. Which algorithms there are is looked at
 * here, once. A row that is wrong is GRV_CORRUPT, and names the blob; GRV_UNSUPPORTED what this
 * program has no word for: other algorithms than blake3 and sha256, blocks above
 * GRV_BLOCK_SIZE_MAX, references to a part of a block. Blobs have neither attributes nor a chunker,
 * and sequence 0; a reference from the middle of a blob believes the offsets before it.
 * GRV_CONFLICT where there are no such tables.
 */
grv_status grv_manifest_repo_scala_new(const grv_call *call, grv_pg *pg,
                                       grv_manifest_repo **ret_repo, grv_error *error);

/* The algorithm of all its blobs; GRV_HASH_NONE where both are in use, or there are no blobs. */
grv_hash grv_manifest_repo_scala_hash(grv_manifest_repo *repo);

/*
 * Opens an object store `pg://NAME/` for each of the names; a bucket is a name and no more, and one
 * that nothing was put into has no objects. A put or get holds a few MiB, and a connection only
 * within each call. What a put has sent goes when it is freed; what one that died has sent, at a
 * later put, once nothing came for a day. The handle is borrowed and outlives the store. Free with
 * grv_mutable_object_store_free.
 */
grv_status grv_object_store_pg_new(grv_pg *pg, const char *const buckets[], size_t bucket_count,
                                   grv_mutable_object_store **ret_store, grv_error *error);

/* Closes all connections. Every port over the handle has been freed. NULL is allowed. */
void grv_pg_close(grv_pg *pg);

#pragma GCC visibility pop
#ifdef __cplusplus
}
#endif

#endif
