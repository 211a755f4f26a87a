/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Writing one manifest. Pages go out as they fill, several a round trip, without waiting for the
 * disk: the log holds them before the root, whose commit is synced. The root is one statement,
 * which looks for the session, the blob and higher sequences by itself.
 */
#include "backend/pg/manifest_repo.h"

#include "os/clock.h"
#include "os/random.h"

#include <stdlib.h>
#include <string.h>

/* Most pages in one round trip. */
#define SEND_PAGES 16u
/* How often a commit that lost a race is tried again before it is GRV_UNAVAILABLE. */
#define ATTEMPTS 1000u
/* How long a put that is given up tries to remove its pages; a sweep takes what stays. */
#define DROP_NS UINT64_C(2000000000)
/* PostgreSQL counts microseconds since 2000. */
#define EPOCH_US INT64_C(946684800000000)

/* Pages that wait to be sent, as the columns of the table. */
typedef struct page_columns {
    bool open; /* the arrays are initialised */
    uint32_t count;
    grv_pg_array levels;
    grv_pg_array numbers;
    grv_pg_array firsts;
    grv_pg_array sizes;
    grv_pg_array bases;
    grv_pg_array counts;
    grv_pg_array bytes;
} page_columns;

typedef struct pg_put {
    grv_manifest_put base;
    grv_manifest_repo_pg *repo;
    uint8_t session_id[GRV_PG_SESSION_ID_SIZE];
    grv_manifest_builder builder;
    page_columns pages;
    const grv_call *call; /* of the slot that runs now, for the pages it sends */
    bool pages_sent;      /* some may be there */
    bool pages_named;     /* a root may name the pages: they must stay */
    grv_status failed;    /* of an append: blocks are missing, so no commit may follow */
} pg_put;

/* ---- Pages ---- */

static const grv_pg_statement insert_pages = {
    "page_insert",
    "INSERT INTO graviton.blob_manifest_page (manifest_id, level, page_number, first_byte, "
    "byte_length, first_entry, entry_count, bytes) SELECT $1::uuid, * FROM ROWS FROM ("
    "pg_catalog.unnest($2::int2[]), pg_catalog.unnest($3::int8[]), pg_catalog.unnest($4::int8[]), "
    "pg_catalog.unnest($5::int8[]), pg_catalog.unnest($6::int8[]), pg_catalog.unnest($7::int4[]), "
    "pg_catalog.unnest($8::bytea[])) page "
    "ON CONFLICT DO NOTHING"};
static const grv_pg_statement delete_pages = {
    "page_delete", "DELETE FROM graviton.blob_manifest_page WHERE manifest_id = $1"};
static const grv_pg_statement count_pages = {
    "page_count",
    "SELECT pg_catalog.count(*) FROM graviton.blob_manifest_page WHERE manifest_id = $1"};

static void columns_done(page_columns *columns)
{
    if (columns->open) {
        grv_pg_array *const arrays[] = {&columns->levels, &columns->numbers, &columns->firsts,
                                        &columns->sizes,  &columns->bases,   &columns->counts,
                                        &columns->bytes};
        for (size_t i = 0; i < sizeof arrays / sizeof arrays[0]; i++) {
            grv_pg_array_done(arrays[i]);
        }
    }
    *columns = (page_columns){.open = false};
}

static grv_status columns_init(page_columns *columns, grv_error *error)
{
    const struct {
        grv_pg_array *array;
        grv_pg_type type;
    } all[] = {
        {&columns->levels, GRV_PG_INT2}, {&columns->numbers, GRV_PG_INT8},
        {&columns->firsts, GRV_PG_INT8}, {&columns->sizes, GRV_PG_INT8},
        {&columns->bases, GRV_PG_INT8},  {&columns->counts, GRV_PG_INT4},
        {&columns->bytes, GRV_PG_BYTEA},
    };
    grv_status status = GRV_OK;
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
        grv_status each = grv_pg_array_init(all[i].array, all[i].type, status ? NULL : error);
        status = status ? status : each;
    }
    columns->open = true;
    return status;
}

static grv_status columns_add(page_columns *columns, grv_bytes page, grv_error *error)
{
    const grv_manifest_page_header header = grv_manifest_page_header_of(page);
    grv_status status = columns->open ? GRV_OK : columns_init(columns, error);
    if (!status) {
        status = grv_pg_array_add_int16(&columns->levels, (int16_t)header.level, error);
    }
    if (!status) {
        status = grv_pg_array_add_int64(&columns->numbers, (int64_t)header.number, error);
    }
    if (!status) {
        status = grv_pg_array_add_int64(&columns->firsts, (int64_t)header.first, error);
    }
    if (!status) {
        status = grv_pg_array_add_int64(&columns->sizes, (int64_t)header.size, error);
    }
    if (!status) {
        status = grv_pg_array_add_int64(&columns->bases, (int64_t)header.base, error);
    }
    if (!status) {
        status = grv_pg_array_add_int32(&columns->counts, (int32_t)header.count, error);
    }
    if (!status) {
        status = grv_pg_array_add(&columns->bytes, page, error);
    }
    columns->count += status ? 0 : 1;
    return status;
}

/* Sends the pages that wait. */
static grv_status send_pages(pg_put *put, grv_error *error)
{
    page_columns *columns = &put->pages;
    if (columns->count == 0) {
        return GRV_OK;
    }
    grv_pg_params params = {0};
    grv_pg_add_bytes(&params, grv_bytes_of(put->builder.id, GRV_MANIFEST_ID_SIZE));
    grv_pg_add_bytes(&params, grv_pg_array_bytes(&columns->levels));
    grv_pg_add_bytes(&params, grv_pg_array_bytes(&columns->numbers));
    grv_pg_add_bytes(&params, grv_pg_array_bytes(&columns->firsts));
    grv_pg_add_bytes(&params, grv_pg_array_bytes(&columns->sizes));
    grv_pg_add_bytes(&params, grv_pg_array_bytes(&columns->bases));
    grv_pg_add_bytes(&params, grv_pg_array_bytes(&columns->counts));
    grv_pg_add_bytes(&params, grv_pg_array_bytes(&columns->bytes));
    const grv_pg_step step = {&insert_pages, &params};
    const grv_pg_work work = {.steps = &step, .count = 1, .ordered = true, .repeatable = true};
    PGresult *result = NULL;
    put->pages_sent = true;
    grv_status status = grv_pg_run(put->call, put->repo->pg, &work, &result, error);
    PQclear(result);
    columns_done(columns);
    return status;
}

static grv_status emit_page(void *context, unsigned level, uint64_t number, grv_bytes page,
                            grv_error *error)
{
    pg_put *put = context;
    (void)level;
    if (number > UINT32_MAX) {
        return grv_error_set(error, GRV_LIMIT_EXCEEDED, "manifests",
                             "a manifest of more than 2^32 pages");
    }
    grv_status status = columns_add(&put->pages, page, error);
    if (!status && put->pages.count == SEND_PAGES) {
        status = send_pages(put, error);
    }
    return status;
}

/* Removes what an abandoned put sent. The status is dropped on purpose: the pages are garbage
 * whether or not this succeeds. */
static void drop_pages(pg_put *put)
{
    const grv_call call = {.deadline_ns = grv_now_ns() + DROP_NS};
    grv_pg_params params = {0};
    grv_pg_add_bytes(&params, grv_bytes_of(put->builder.id, GRV_MANIFEST_ID_SIZE));
    const grv_pg_step step = {&delete_pages, &params};
    const grv_pg_work work = {.steps = &step, .count = 1, .ordered = true, .repeatable = true};
    PGresult *result = NULL;
    (void)grv_pg_run(&call, put->repo->pg, &work, &result, NULL);
    PQclear(result);
}

/* ---- Append ---- */

static grv_status check_failed(const pg_put *put, grv_error *error)
{
    if (put->failed) {
        return grv_error_set(error, put->failed, "manifests", "an append to the manifest failed");
    }
    return GRV_OK;
}

static grv_status pg_put_append(const grv_call *call, grv_manifest_put *base,
                                const grv_block_key keys[], size_t count, grv_error *error)
{
    pg_put *put = (pg_put *)base;
    grv_status status = check_failed(put, error);
    if (status) {
        return status;
    }
    put->call = call;
    put->failed = grv_manifest_builder_append(&put->builder, keys, count, error);
    return put->failed;
}

/* ---- Commit ---- */

/* Stores the root or finds out what is in the way, and draws at least one number where this one is
 * too low. Parameters: those of grv_pg_add_root, and the attributes (15). Columns: see root_answer.
 */
#define MINE                                                                                       \
    "WITH mine AS MATERIALIZED (SELECT $10::uuid IS NULL OR EXISTS (SELECT FROM "                  \
    "graviton.session WHERE session_id = $10::uuid FOR KEY SHARE) AS lives), "                     \
    "higher AS MATERIALIZED (SELECT $11::bool AND (SELECT sequence FROM graviton.blob WHERE "      \
    "sequence <> ALL ($12::int8[]) ORDER BY sequence DESC LIMIT 1) > $5::int8 IS TRUE AS "         \
    "passed), "
#define THERE                                                                                      \
    "there AS MATERIALIZED (SELECT " GRV_PG_ROOT_COLUMN " AS root FROM graviton.blob "             \
    "WHERE alg = $1::core.hash_alg AND hash_bytes = $2::bytea AND byte_length = $3::int8"
#define PUT                                                                                        \
    "put AS (INSERT INTO graviton.blob (alg, hash_bytes, byte_length, manifest_id, sequence, "     \
    "depth, block_count, created_at, root) SELECT $1::core.hash_alg, $2::bytea, $3::int8, "        \
    "$4::uuid, $5::int8, $6::int2, $7::int8, $8::timestamptz, $9::bytea FROM mine, higher "        \
    "WHERE lives AND NOT passed ON CONFLICT DO NOTHING RETURNING 1) "
#define ANSWER                                                                                     \
    "SELECT EXISTS (SELECT FROM put), lives, (SELECT root FROM there), (SELECT "                   \
    "pg_catalog.string_agg(pg_catalog.int8send(pg_catalog.nextval('graviton.blob_sequence')), "    \
    "''::bytea) FROM pg_catalog.generate_series(1, greatest($13::int4, (NOT (EXISTS (SELECT "      \
    "FROM put) OR EXISTS (SELECT FROM there)))::int4))), CASE WHEN passed THEN (SELECT "           \
    "pg_catalog.max(sequence) FROM graviton.blob) END FROM mine, higher WHERE $14::int8 IS NOT "   \
    "NULL"

static const grv_pg_statement put_root = {"root_put", MINE THERE "), " PUT ANSWER};
static const grv_pg_statement put_root_with_attributes = {
    "root_put_attributes",
    MINE THERE " FOR KEY SHARE), " PUT
               ", with_attributes AS (INSERT INTO graviton.blob_attributes (alg, hash_bytes, "
               "byte_length, attributes) SELECT $1::core.hash_alg, $2::bytea, $3::int8, "
               "$15::bytea FROM (SELECT 1 FROM put UNION ALL SELECT 1 FROM there, mine WHERE "
               "lives) any_of_both ON CONFLICT (alg, hash_bytes, byte_length) DO UPDATE SET "
               "attributes = excluded.attributes) " ANSWER};
static const grv_pg_statement draw_numbers = {
    "sequence_draw",
    "SELECT pg_catalog.string_agg(pg_catalog.int8send(pg_catalog.nextval("
    "'graviton.blob_sequence')), ''::bytea) FROM pg_catalog.generate_series(1, $1::int4)"};

/* What the statement answers. */
typedef struct root_answer {
    bool stored; /* by this very run of it */
    bool lives;  /* the session did */
    bool there;  /* the blob was there before */
    bool own;    /* ... by this manifest: an earlier run's answer was lost */
    grv_blob_info info;
} root_answer;

/* A commit under way. */
typedef struct root_commit {
    pg_put *put;
    grv_blob_info info;
    const grv_buffer *attributes; /* encoded; empty where there are none */
    grv_buffer root;
    grv_pg_ticket ticket;
    bool ahead;  /* the ticket's number was drawn before this commit began */
    bool passed; /* a higher one of this process came before it once already */
} root_commit;

/* Takes over what was drawn for the commit; its number is the first of that where the one it had is
 * too low, or it had none. */
static grv_status take_drawn(root_commit *commit, bool too_low, grv_bytes drawn, grv_error *error)
{
    grv_pg_ticket *ticket = &commit->ticket;
    grv_pg_numbers_add(&commit->put->repo->numbers, ticket, too_low, drawn);
    commit->ahead = commit->ahead && !too_low;
    if (ticket->number < 1) {
        return grv_error_set(error, GRV_CORRUPT, "manifests",
                             "graviton.blob_sequence gave no number above 0");
    }
    return GRV_OK;
}

/* Draws numbers for a commit that found none, and for those that come with it. */
static grv_status draw(const grv_call *call, root_commit *commit, grv_error *error)
{
    grv_manifest_repo_pg *repo = commit->put->repo;
    PGresult *result = NULL;
    grv_pg_params params = {0};
    grv_pg_add_int32(&params, commit->ticket.wanted > 1 ? (int32_t)commit->ticket.wanted : 1);
    grv_status status = grv_pg_write(call, repo->pg, &draw_numbers, &params, &result, error);
    if (!status) {
        status = take_drawn(commit, true, grv_pg_cell(result, 0, 0), error);
    }
    PQclear(result);
    return status;
}

/* Takes over the numbers that came with the answer. Where the root was neither stored nor refused,
 * another commit came before that has a higher number or stored the same blob unseen. One of this
 * process had not returned when this began, and is named the next time; only once, since what was
 * drawn long ago is forgotten. */
static grv_status read_drawn(root_commit *commit, const root_answer *answer, const PGresult *result,
                             grv_error *error)
{
    bool again = !answer->stored && !answer->there && answer->lives;
    bool own = false;
    if (again && !commit->passed && !grv_pg_is_null(result, 0, 4)) {
        int64_t highest = 0;
        grv_status status = grv_pg_cell_int64(result, 0, 4, &highest, error);
        if (status) {
            return status;
        }
        own = grv_pg_numbers_own(&commit->put->repo->numbers, highest);
        commit->passed = own;
    }
    grv_bytes drawn = {0};
    if (!grv_pg_is_null(result, 0, 3)) {
        drawn = grv_pg_cell(result, 0, 3);
    }
    return take_drawn(commit, again && !own && drawn.size > 0, drawn, error);
}

static grv_status read_answer(root_commit *commit, const PGresult *result, root_answer *ret_answer,
                              grv_error *error)
{
    root_answer answer = {.info = commit->info};
    grv_status status = grv_pg_cell_bool(result, 0, 0, &answer.stored, error);
    if (!status) {
        status = grv_pg_cell_bool(result, 0, 1, &answer.lives, error);
    }
    if (!status && !grv_pg_is_null(result, 0, 2)) {
        grv_manifest_root root;
        status =
            grv_manifest_root_decode_of(&commit->info.key, grv_pg_cell(result, 0, 2), &root, error);
        if (!status) {
            answer.there = true;
            answer.own = memcmp(root.id, commit->put->builder.id, GRV_MANIFEST_ID_SIZE) == 0;
            answer.info = root.info;
        }
    }
    if (!status) {
        status = read_drawn(commit, &answer, result, error);
    }
    if (!status) {
        *ret_answer = answer;
    }
    return status;
}

int64_t grv_pg_timestamp_of(uint64_t time_ns)
{
    return (int64_t)(time_ns / 1000) - EPOCH_US;
}

grv_status grv_pg_add_root(grv_pg_params *params, grv_manifest_repo_pg *repo,
                           const grv_pg_root_row *row, grv_pg_array *others, grv_error *error)
{
    int64_t highest = 0;
    grv_status status = grv_pg_array_init(others, GRV_PG_INT8, error);
    if (!status) {
        status = grv_pg_numbers_higher(&repo->numbers, row->ticket, others, &highest, error);
    }
    if (status) {
        return status;
    }
    grv_pg_add_blob(params, &row->info->key);
    grv_pg_add_bytes(params, grv_bytes_of(row->id, GRV_MANIFEST_ID_SIZE));
    grv_pg_add_int64(params, (int64_t)row->info->sequence);
    grv_pg_add_int16(params, (int16_t)row->depth);
    grv_pg_add_int64(params, (int64_t)row->info->block_count);
    grv_pg_add_int64(params, grv_pg_timestamp_of(row->info->created_ns));
    grv_pg_add_bytes(params, row->root);
    if (row->session_id) {
        grv_pg_add_bytes(params, grv_bytes_of(row->session_id, GRV_PG_SESSION_ID_SIZE));
    } else {
        grv_pg_add_null(params);
    }
    grv_pg_add_bool(params, row->ahead);
    grv_pg_add_bytes(params, grv_pg_array_bytes(others));
    grv_pg_add_int32(params, (int32_t)row->ticket->wanted);
    grv_pg_add_int64(params, highest);
    return GRV_OK;
}

/* Whatever is in the way, this finds it out. */
static grv_status write_fully(const grv_call *call, root_commit *commit, const grv_pg_root_row *row,
                              root_answer *ret_answer, grv_error *error)
{
    grv_manifest_repo_pg *repo = commit->put->repo;
    grv_pg_array others;
    grv_pg_params params = {0};
    PGresult *result = NULL;
    bool attributes = commit->attributes->size > 0;
    grv_status status = grv_pg_add_root(&params, repo, row, &others, error);
    if (!status && attributes) {
        grv_pg_add_bytes(&params, grv_buffer_bytes(commit->attributes));
    }
    if (!status) {
        status = grv_pg_write(call, repo->pg, attributes ? &put_root_with_attributes : &put_root,
                              &params, &result, error);
    }
    grv_pg_array_done(&others);
    if (!status) {
        status = read_answer(commit, result, ret_answer, error);
    }
    PQclear(result);
    return status;
}

/* Tries to store the root with the number that the commit has. */
static grv_status write_root(const grv_call *call, root_commit *commit, bool quickly,
                             root_answer *ret_answer, grv_error *error)
{
    pg_put *put = commit->put;
    commit->root.size = 0;
    commit->info.sequence = (uint64_t)commit->ticket.number;
    grv_status status =
        grv_manifest_builder_encode_root(&put->builder, &commit->info, &commit->root, error);
    if (status) {
        return status;
    }
    const grv_pg_root_row row = {
        .info = &commit->info,
        .id = put->builder.id,
        .session_id = put->repo->session ? put->session_id : NULL,
        .root = grv_buffer_bytes(&commit->root),
        .depth = grv_manifest_builder_depth(&put->builder),
        .ticket = &commit->ticket,
        .ahead = commit->ahead,
    };
    root_answer answer = {.lives = true, .info = commit->info};
    put->pages_named = true; /* after a failure it may yet turn out to be written */
    if (quickly) {
        status = grv_pg_join(call, put->repo, &row, &answer.stored, error);
    }
    if (!status && !answer.stored) {
        status = write_fully(call, commit, &row, &answer, error);
    }
    if (!status) {
        *ret_answer = answer;
    }
    return status;
}

/* Tries until the root is in, the blob is found, or something else fails. */
static grv_status commit_root(const grv_call *call, root_commit *commit, root_answer *ret_answer,
                              grv_error *error)
{
    root_answer answer = {0};
    for (unsigned i = 0; i < ATTEMPTS; i++) {
        bool quickly = i == 0 && commit->attributes->size == 0;
        grv_status status = write_root(call, commit, quickly, &answer, error);
        if (status || answer.stored || answer.there || !answer.lives) {
            *ret_answer = answer;
            return status;
        }
    }
    return grv_error_set(error, GRV_UNAVAILABLE, "manifests", "a commit lost every race");
}

/* Draws a number or takes one, and commits with it. */
static grv_status commit_numbered(const grv_call *call, root_commit *commit,
                                  root_answer *ret_answer, grv_error *error)
{
    grv_pg_numbers *numbers = &commit->put->repo->numbers;
    commit->ticket = grv_pg_numbers_take(numbers);
    commit->ahead = commit->ticket.number != 0;
    grv_status status = commit->ahead ? GRV_OK : draw(call, commit, error);
    root_answer answer = {0};
    if (!status) {
        status = commit_root(call, commit, &answer, error);
    }
    bool visible = !status && (answer.stored || answer.there);
    grv_pg_numbers_return(numbers, &commit->ticket, visible ? (int64_t)answer.info.sequence : 0);
    if (!status) {
        *ret_answer = answer;
    }
    return status;
}

/* Says what a refusal of the schema means: pages that are gone went with a crash of the server,
 * which may forget what was not synced. */
static grv_status explain_refusal(const grv_call *call, pg_put *put, grv_status status,
                                  grv_error *error)
{
    uint64_t written = grv_manifest_builder_page_count(&put->builder);
    if (status != GRV_INVALID_ARGUMENT || written == 0) {
        return status;
    }
    grv_pg_params params = {0};
    PGresult *result = NULL;
    int64_t there = 0;
    grv_pg_add_bytes(&params, grv_bytes_of(put->builder.id, GRV_MANIFEST_ID_SIZE));
    grv_status counted = grv_pg_read(call, put->repo->pg, &count_pages, &params, &result, NULL);
    if (!counted) {
        counted = grv_pg_cell_int64(result, 0, 0, &there, NULL);
    }
    PQclear(result);
    put->pages_named = false; /* it was refused, so no root names them */
    if (counted || (uint64_t)there == written) {
        return status;
    }
    return grv_error_set(error, GRV_UNAVAILABLE, "manifests",
                         "PostgreSQL lost pages of the manifest when it was restarted: put it "
                         "again");
}

static grv_status conclude(pg_put *put, const root_answer *answer, grv_manifest_commit *ret_commit,
                           grv_error *error)
{
    bool own = answer->stored || answer->own;
    put->pages_named = own;
    if (!own && !answer->lives) {
        grv_pg_session_expire(put->repo->session, put->session_id);
        return grv_error_set(error, GRV_CONFLICT, "manifests",
                             "a collection ran since the put began, because the connection of its "
                             "session was lost: it may have removed blocks that the put counts on, "
                             "so put it again");
    }
    *ret_commit = (grv_manifest_commit){.already_stored = !own, .info = answer->info};
    return GRV_OK;
}

static grv_status pg_put_commit(const grv_call *call, grv_manifest_put *base,
                                const grv_blob_key *key, const grv_attributes *attributes,
                                grv_manifest_commit *ret_commit, grv_error *error)
{
    pg_put *put = (pg_put *)base;
    put->call = call;
    grv_buffer record;
    grv_buffer_init(&record, GRV_ATTRIBUTES_BYTES_MAX);
    root_commit commit = {
        .put = put,
        .info = {.key = *key,
                 .block_count = base->block_count,
                 .block_hash = base->plan.block_hash,
                 .chunker = base->plan.chunker,
                 .created_ns = grv_clock_realtime_ns()},
        .attributes = &record,
    };
    grv_buffer_init(&commit.root, GRV_MANIFEST_ROOT_BYTES_MAX);
    root_answer answer = {0};
    grv_status status = check_failed(put, error);
    if (!status) {
        status = grv_manifest_builder_finish(&put->builder, error);
    }
    if (!status) {
        status = send_pages(put, error);
    }
    if (!status && attributes) {
        status = grv_attributes_encode(attributes, &record, error);
    }
    if (!status) {
        status = commit_numbered(call, &commit, &answer, error);
        status = status ? explain_refusal(call, put, status, error)
                        : conclude(put, &answer, ret_commit, error);
    }
    grv_buffer_done(&record);
    grv_buffer_done(&commit.root);
    if (status) {
        grv_manifest_prefix_blob(key, error);
        grv_error_prefix(error, "manifest");
    }
    return status;
}

/* ---- A put as a whole ---- */

static void pg_put_free(grv_manifest_put *base)
{
    pg_put *put = (pg_put *)base;
    if (put->pages_sent && !put->pages_named) {
        drop_pages(put);
    }
    columns_done(&put->pages);
    grv_manifest_builder_done(&put->builder);
    free(put);
}

static const grv_manifest_put_ops pg_put_ops = {
    .name = "pg",
    .append = pg_put_append,
    .commit = pg_put_commit,
    .free = pg_put_free,
};

grv_status grv_manifest_repo_pg_open_put(const grv_call *call, grv_manifest_repo *base,
                                         const grv_manifest_plan *plan, grv_manifest_put **ret_put,
                                         grv_error *error)
{
    grv_manifest_repo_pg *repo = grv_manifest_repo_pg_of(base);
    grv_status status = grv_call_check(call, "manifests", error);
    if (status) {
        return status;
    }
    uint8_t id[GRV_MANIFEST_ID_SIZE];
    status = grv_random_fill(id, sizeof id, error);
    if (status) {
        return status;
    }
    pg_put *put = calloc(1, sizeof *put);
    if (!put) {
        return grv_error_set(error, GRV_LIMIT_EXCEEDED, "manifests",
                             "no memory for writing a manifest");
    }
    if (repo->session) {
        status = grv_pg_session_current(call, repo->session, put->session_id, error);
    }
    if (status) {
        free(put);
        return status;
    }
    put->base.ops = &pg_put_ops;
    put->repo = repo;
    grv_manifest_builder_init(&put->builder, &repo->limits, id, plan->block_hash, emit_page, put);
    *ret_put = &put->base;
    return GRV_OK;
}
