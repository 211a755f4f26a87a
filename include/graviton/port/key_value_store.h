/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Port key_value_store: an ordered map in namespaces, with guarded atomic batches. This header is
 * the contract; tests/conformance/key_value_store.c checks it over every implementation.
 *
 * All slots are thread-safe; cursors and values belong to one thread at a time. Keys are 1 to
 * 1024 bytes, values 0 to 32 MiB, order is bytewise. A namespace is a small number agreed on when
 * the store is constructed; naming another is GRV_INVALID_ARGUMENT.
 */
#ifndef GRAVITON_PORT_KEY_VALUE_STORE_H
#define GRAVITON_PORT_KEY_VALUE_STORE_H

#include <graviton/bytes.h>
#include <graviton/call.h>

#ifdef __cplusplus
extern "C" {
#endif
#pragma GCC visibility push(default)

#define GRV_KV_KEY_MAX       1024u       /* bytes of a key, at least 1 */
#define GRV_KV_VALUE_MAX     (32u << 20) /* bytes of a value */
#define GRV_KV_BATCH_MAX     65536u      /* operations in one batch */
#define GRV_KV_NAMESPACE_MAX 32u         /* namespaces of one store */

/* What a scan shows at least as of one moment: this many items, or, where values are long, as many
 * as have this many bytes in their values. */
#define GRV_KV_PAGE_ITEMS 512u
#define GRV_KV_PAGE_BYTES (1u << 20)

typedef struct grv_kv grv_kv;
typedef struct grv_kv_cursor grv_kv_cursor;

/* When a write is safe. */
typedef enum grv_durability {
    /* On OK it survives kill -9 and power loss, and so does every ordered write before it. */
    GRV_DURABLE = 0,
    /* Visible at once on OK; survives kill -9; becomes durable no later than any later durable
     * write of the same store, and never out of order with it. */
    GRV_ORDERED = 1
} grv_durability;

/* What one operation of a batch does. */
typedef enum grv_kv_op_kind {
    GRV_KV_PUT = 1,         /* key, value: insert or replace */
    GRV_KV_DELETE = 2,      /* key: remove; harmless where absent */
    GRV_KV_DELETE_RANGE = 3 /* key <= k < end: remove all; an empty end means to the last key */
} grv_kv_op_kind;

/* One operation of a batch. Bytes are borrowed for the call. Later operations see earlier ones. */
typedef struct grv_kv_op {
    grv_kv_op_kind kind;
    unsigned ns;
    grv_bytes key;
    grv_bytes value; /* GRV_KV_PUT */
    grv_bytes end;   /* GRV_KV_DELETE_RANGE: exclusive */
} grv_kv_op;

/* What a guard demands of its key. */
typedef enum grv_kv_guard_kind {
    GRV_KV_ABSENT = 1, /* the key has no value */
    GRV_KV_EQUALS = 2, /* the key has exactly this value */
    GRV_KV_PRESENT = 3 /* the key has some value */
} grv_kv_guard_kind;

/* A condition of a batch, evaluated atomically with its writes. */
typedef struct grv_kv_guard {
    grv_kv_guard_kind kind;
    unsigned ns;
    grv_bytes key;
    grv_bytes value; /* GRV_KV_EQUALS */
} grv_kv_guard;

/* What a batch is: all of it happens, or none. */
typedef struct grv_kv_batch {
    const grv_kv_op *ops;
    size_t op_count;
    const grv_kv_guard *guards;
    size_t guard_count;
    grv_durability durability;
    bool frees; /* it makes room: it may use space that is kept in reserve for a full disk */
} grv_kv_batch;

/* Where and how a scan goes. Bytes are borrowed for the call that opens it. */
typedef struct grv_kv_scan {
    unsigned ns;
    grv_bytes prefix; /* only keys that begin so; empty: all */
    grv_bytes start;  /* forward: first key >= this; reverse: first key <= this; empty: the end of
                         the prefix that the scan comes from */
    bool reverse;     /* from the last key down */
    bool keys_only;   /* values come back empty */
} grv_kv_scan;

/* A key and its value as a scan shows them; valid until the next call on the cursor. */
typedef struct grv_kv_item {
    grv_bytes key;
    grv_bytes value;
} grv_kv_item;

/* Operations of a store. No slot is NULL. */
typedef struct grv_kv_ops {
    const char *name;
    /*
     * The value of `key`, not copied where the backend can lend it. GRV_NOT_FOUND where the key is
     * absent. The caller ends the value with grv_value_done before the store is freed.
     */
    grv_status (*get)(const grv_call *call, grv_kv *kv, unsigned ns, grv_bytes key,
                      grv_value *ret_value, grv_error *error);
    /*
     * Values of `count` keys in one round, each as get would give it: ret_statuses[i] is GRV_OK or
     * GRV_NOT_FOUND, ret_values[i] filled for GRV_OK and empty otherwise. Any other failure fails
     * the call, and then no value is held. Not a snapshot over the keys.
     */
    grv_status (*multi_get)(const grv_call *call, grv_kv *kv, unsigned ns, const grv_bytes keys[],
                            size_t count, grv_value ret_values[], grv_status ret_statuses[],
                            grv_error *error);
    /* For each key whether it is absent; a failure fails the call. No value is read where the
     * backend can tell without. Not a snapshot over the keys. */
    grv_status (*missing)(const grv_call *call, grv_kv *kv, unsigned ns, const grv_bytes keys[],
                          size_t count, bool ret_missing[], grv_error *error);
    /*
     * Applies a batch atomically. GRV_CONFLICT where a guard does not hold: nothing is changed.
     * GRV_OUT_OF_SPACE, GRV_UNAVAILABLE: nothing is visible. The implementation resolves its own
     * write races by trying again; only a failed guard is a conflict. A batch without operations
     * changes nothing, and fails with GRV_OUT_OF_SPACE where one with operations would.
     */
    grv_status (*write)(const grv_call *call, grv_kv *kv, const grv_kv_batch *batch,
                        grv_error *error);
    /*
     * Opens a cursor. It goes in pages, each a snapshot: the first is taken now, so a scan that
     * fits a page (GRV_KV_PAGE_ITEMS, GRV_KV_PAGE_BYTES) shows this moment. A later page is taken
     * when the cursor comes to it. A key that stays as it is is shown exactly once; one that
     * changes behind the first page may be shown as before or as after. In a store with
     * `whole_scans` the first page is the whole scan. Must be freed before the store.
     */
    grv_status (*open_scan)(const grv_call *call, grv_kv *kv, const grv_kv_scan *scan,
                            grv_kv_cursor **ret_cursor, grv_error *error);
    /* Makes all ordered writes so far durable. */
    grv_status (*flush)(const grv_call *call, grv_kv *kv, grv_error *error);
    /* Closes. All values and cursors have been given back. Ordered writes are made durable. */
    void (*free)(grv_kv *kv);
} grv_kv_ops;

/* Base of every key-value store; embed it as the first member. */
struct grv_kv {
    const grv_kv_ops *ops;
    unsigned namespace_count;
    bool whole_scans; /* every scan shows one moment, however long it is; see open_scan. Set by
                         constructors after grv_kv_init */
};

/* Operations of a cursor. No slot is NULL. */
typedef struct grv_kv_cursor_ops {
    const char *name;
    /* The next item, in order; GRV_NOT_FOUND at the end, and again after it. */
    grv_status (*next)(const grv_call *call, grv_kv_cursor *cursor, grv_kv_item *ret_item,
                       grv_error *error);
    void (*free)(grv_kv_cursor *cursor);
} grv_kv_cursor_ops;

/* Base of every cursor; embed it as the first member. */
struct grv_kv_cursor {
    const grv_kv_cursor_ops *ops;
};

/* Constructors call this: sets the base up after checking that no slot is missing and that
 * 1 <= namespace_count <= GRV_KV_NAMESPACE_MAX, and no capability. GRV_INTERNAL otherwise. */
grv_status grv_kv_init(grv_kv *kv, const grv_kv_ops *ops, unsigned namespace_count,
                       grv_error *error);

/* Dispatchers: check the arguments against the bounds above, then the slot of the same name. */
grv_status grv_kv_get(const grv_call *call, grv_kv *kv, unsigned ns, grv_bytes key,
                      grv_value *ret_value, grv_error *error);
grv_status grv_kv_multi_get(const grv_call *call, grv_kv *kv, unsigned ns, const grv_bytes keys[],
                            size_t count, grv_value ret_values[], grv_status ret_statuses[],
                            grv_error *error);
grv_status grv_kv_missing(const grv_call *call, grv_kv *kv, unsigned ns, const grv_bytes keys[],
                          size_t count, bool ret_missing[], grv_error *error);
/* A batch with guards may not hold a range delete: GRV_INVALID_ARGUMENT. */
grv_status grv_kv_write(const grv_call *call, grv_kv *kv, const grv_kv_batch *batch,
                        grv_error *error);
grv_status grv_kv_open_scan(const grv_call *call, grv_kv *kv, const grv_kv_scan *scan,
                            grv_kv_cursor **ret_cursor, grv_error *error);
grv_status grv_kv_cursor_next(const grv_call *call, grv_kv_cursor *cursor, grv_kv_item *ret_item,
                              grv_error *error);
void grv_kv_cursor_free(grv_kv_cursor *cursor); /* NULL is allowed */
grv_status grv_kv_flush(const grv_call *call, grv_kv *kv, grv_error *error);
void grv_kv_free(grv_kv *kv); /* NULL is allowed */

#pragma GCC visibility pop
#ifdef __cplusplus
}
#endif

#endif
