/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The model test: what a seed says shall happen to a store, what must then be observed, and the
 * processes that do it. Everything random comes from the seed; an operation's own choices come from
 * its own number, so that leaving out other operations does not change it.
 *
 * Invariant: what was acknowledged is in the shared model before the next operation begins, so a
 * process that is killed at any moment leaves behind what it owes. What was under way then may have
 * happened or not, and nothing between.
 */
#ifndef GRV_TESTS_MODEL_MODEL_H
#define GRV_TESTS_MODEL_MODEL_H

#include "temp.h"

#include <graviton/store.h>
#include <pthread.h>
#include <stdatomic.h>

#define MODEL_SLOTS         14u
#define MODEL_OPS_MAX       96u
#define MODEL_BLOCKS_MAX    (1u << 17)
#define MODEL_ATTRIBUTES    3u
#define MODEL_NOTE_SIZE     120u
#define MODEL_PATH_SIZE     300u
#define MODEL_LOOP_SECONDS  60u /* after which a process counts as hung */
#define MODEL_EXIT_FAILED   99  /* exit codes of a process that ran operations */
#define MODEL_EXIT_UNCLOSED 77

/* ---- The world: what a seed says ---- */

/* Two backends of a store. */
typedef struct model_pair {
    const char *name;
    bool files; /* blocks are files */
    bool framed;
    bool rocks;
    bool cached;       /* read through the smallest cache, which evicts */
    bool lasts;        /* closed and opened again, all is there */
    size_t blocks_aim; /* blocks of a larger blob, for speed */
} model_pair;

extern const model_pair model_pairs[];
extern const size_t model_pair_count;

typedef enum model_op_kind {
    MODEL_PUT,
    MODEL_PUT_TWO,
    MODEL_PUT_PARALLEL,
    MODEL_GET,
    MODEL_GET_RANGE,
    MODEL_GET_HELD,
    MODEL_STAT,
    MODEL_REFS,
    MODEL_LIST,
    MODEL_ATTRIBUTES_GET,
    MODEL_ATTRIBUTES_SET,
    MODEL_REMOVE,
    MODEL_COUNT,
    MODEL_COLLECT,
    MODEL_BACKUP,
    MODEL_SCRUB,
    MODEL_REOPEN,
    MODEL_REOPEN_READ_ONLY,
    MODEL_REOPEN_OTHER,
    MODEL_OPEN_TWICE,
    MODEL_CRASH,
    MODEL_OP_KINDS
} model_op_kind;

typedef struct model_op {
    model_op_kind kind;
    unsigned slot;
    uint64_t seed;
} model_op;

/* One blob that operations may store; the blocks it must be cut into, as indices of the world's. */
typedef struct model_content {
    uint8_t *data;
    size_t size;
    grv_blob_key key;
    uint32_t *blocks;
    size_t block_count;
} model_content;

typedef struct model_world {
    uint64_t seed;
    const model_pair *pair;
    grv_hash hash;
    grv_chunker_spec chunker;
    unsigned threads;
    uint64_t reserve_bytes;
    bool apart;             /* the halves are named on their own, not by a directory */
    uint64_t first_kill_at; /* the making of the store is killed at this call; 0: not */
    model_content contents[MODEL_SLOTS];
    grv_block_key *blocks; /* distinct, sorted */
    size_t block_count;
    model_op ops[MODEL_OPS_MAX];
    size_t op_count;
    bool skipped[MODEL_OPS_MAX];
} model_world;

/* Makes the world of a seed; aborts without memory. */
void model_world_init(model_world *world, const model_pair *pair, uint64_t seed);
void model_world_done(model_world *world);
/* An operation's name, such as "put". */
const char *model_op_name(model_op_kind kind);

/* ---- The model: what must be observed ---- */

/* An attribute's value is made from its seed. */
typedef struct model_attribute {
    bool set;
    uint32_t size;
    uint64_t seed;
} model_attribute;

typedef struct model_blob {
    bool stored;
    uint64_t sequence;
    uint64_t created_ns;
    model_attribute attributes[MODEL_ATTRIBUTES];
} model_blob;

/* Whether a block is in the block store. */
typedef enum model_block_state { MODEL_ABSENT, MODEL_PRESENT, MODEL_MAYBE } model_block_state;

/* Memory that the processes of a run share. */
typedef struct model_shared {
    size_t next;           /* the next operation */
    size_t current;        /* the one that is under way, or was last */
    bool made;             /* the store was opened once */
    uint64_t kill_at_open; /* the next process is killed at this call from its opening on; 0: not */
    bool kill_planned;
    unsigned crashes;
    size_t backup;   /* 1 + the operation whose backup is under way; 0: none */
    bool collecting; /* a collection is under way */
    uint64_t last_sequence;
    model_blob blobs[MODEL_SLOTS];
    model_blob maybe[MODEL_SLOTS]; /* what a blob is if what is under way has happened */
    unsigned pending[MODEL_SLOTS]; /* operations under way on the blob */
    char notes[MODEL_OPS_MAX][MODEL_NOTE_SIZE];
    atomic_flag failing;
    char failure[1200];
    uint8_t block_states[MODEL_BLOCKS_MAX];
} model_shared;

/* One process's hold of a run. */
typedef struct model_run {
    const model_world *world;
    model_shared *shared;
    char root[256]; /* the run's directory */
    grv_store *store;
    grv_blob_store *blobs;
} model_run;

/* The next number of *state below `bound` (> 0). */
static inline size_t model_pick(uint64_t *state, size_t bound)
{
    return (size_t)(test_random(state) % bound);
}

/* Ends the process as failed, with what was wrong; from any thread. */
_Noreturn void model_fail(model_run *run, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
/* model_fail unless `status` is `want`. */
void model_expect(model_run *run, const char *what, grv_status status, grv_status want,
                  const grv_error *error);
/* Adds to what is printed beside the current operation. */
void model_note(model_run *run, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Something begins that may make the blob `after`; it has happened, or it never will. Whoever
 * kills the process holds the model's lock, so no half change stays behind. */
void model_begin(model_run *run, unsigned slot, const model_blob *after);
void model_happened(model_run *run, unsigned slot, const model_blob *after);
void model_given_up(model_run *run, unsigned slot);
/* The blob's blocks are in the store from now on. */
void model_blocks_stored(model_run *run, unsigned slot);
/* Those that were not may be there from now on. */
void model_blocks_perhaps(model_run *run, unsigned slot);
/* After a crash: finds out what became of that which was under way. */
void model_settle(model_run *run);
/* Forgets every blob: another store begins. */
void model_forget(model_run *run);
/* Takes and gives the model's lock, for the killer. */
void model_lock(void);
void model_unlock(void);

/* The record that an attribute list stands for; free with grv_attributes_done. */
void model_attributes_make(model_run *run, const model_attribute attributes[MODEL_ATTRIBUTES],
                           grv_attributes *ret_attributes);
/* True if the record is that which the list stands for. */
bool model_attributes_match(const model_attribute attributes[MODEL_ATTRIBUTES],
                            const grv_attributes *found);
/* A random list; sometimes empty. */
void model_attributes_pick(uint64_t *state, model_attribute attributes[MODEL_ATTRIBUTES]);

/* ---- Checks: each fails the process where store and model differ ---- */

void model_check_read(model_run *run, unsigned slot, grv_range range, uint64_t *state);
void model_check_absent(model_run *run, unsigned slot);
void model_check_info(model_run *run, unsigned slot, const grv_blob_info *info);
void model_check_stat(model_run *run, unsigned slot);
void model_check_refs(model_run *run, unsigned slot, uint64_t *state);
void model_check_attributes(model_run *run, unsigned slot);
/* `meanwhile` (or NULL) is done once, in the middle of the list. */
void model_check_list(model_run *run, grv_list_order order, uint64_t *state,
                      void (*meanwhile)(model_run *run, uint64_t *state));
void model_check_count(model_run *run);
/* All of the above on every blob. */
void model_check_all(model_run *run, uint64_t *state);

/* ---- Operations ---- */

void model_put_one(model_run *run, unsigned slot, uint64_t *state);
void model_put_two(model_run *run, unsigned slot, uint64_t *state);
void model_put_parallel(model_run *run, unsigned slot, uint64_t *state);
/* Collects, and compares what is told of it. */
void model_collect(model_run *run, uint64_t *state);
/* Collects if nothing is in its way, while threads read and put. */
void model_collect_beside(model_run *run);
/* The blocks that no blob names are gone; or, not `surely`, some of them. */
void model_collected(model_run *run, bool surely);
/* Makes a copy of the store, and compares it. */
void model_backup(model_run *run, uint64_t *state);
/* After a crash: a copy that was being made does not open, or is whole. */
void model_backup_settle(model_run *run, uint64_t *state);
/* Scrubs; sometimes damages a block of the blob first, and heals it after. */
void model_scrub(model_run *run, unsigned slot, uint64_t *state);
/* Does one operation, with its checks. */
void model_step(model_run *run, const model_op *op);
/* Opens the run's store; `create` where there may be none. Fails the process where it cannot. */
void model_open(model_run *run, bool create);
/* What grv_store_open is to be told. Paths are written to `paths`. */
grv_store_config model_config(const model_run *run, char paths[2][MODEL_PATH_SIZE]);
void model_close(model_run *run);

/* ---- Killing ---- */

/* Kills this process with SIGKILL at the nth call from now (1: the next) that changes files; a
 * write that is hit may be `torn`: only its beginning is done. 0: never. */
void model_kill_arm(model_run *run, uint64_t nth, bool torn);

/* ---- Runs ---- */

/* Runs a seed's operations; true where nothing was found. Else shared->failure says what. */
bool model_run_seed(model_world *world, model_shared *shared);
/* After a failure: prints what failed and how to run it again; with `shorten`, then leaves out
 * operations as long as it still fails, and prints what is left. */
void model_report(model_world *world, model_shared *shared, bool shorten);

#endif
