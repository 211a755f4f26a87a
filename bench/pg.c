/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Metadata in PostgreSQL, each figure beside the same bytes through raw libpq in the same run:
 * manifest puts beside bare single-row inserts that are committed one by one, a manifest's
 * references beside COPY of its pages, a multi-get beside its own query. Run through
 * tests/service/postgres.py, with the server's files on a disk: a commit without a sync would
 * measure something else.
 *
 *   pg [PUTS]     400 puts by each thread in a round unless told otherwise
 */
#include "bench.h"

#include <graviton/graviton.h>
#include <libpq-fe.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define THREADS_MAX   8u
#define ROOT_BYTES    760u /* of a manifest of 16 blocks */
#define STREAM_BLOCKS 500000u
#define GET_KEYS      1000u
#define GET_KEY_SIZE  41u
#define GET_SIZE      128u /* of a value */
#define GET_ROUNDS    50u
/* Rows beside those that are asked for: where there were none, the bare query would read the whole
 * table rather than look keys up, as no store's table is read. */
#define GET_OTHERS "200000"

typedef struct pg_bench {
    char conninfo[512];
    grv_pg *pg;
    grv_pg_session *session;
    grv_manifest_repo *repo;
    grv_kv *kv;
    uint8_t keys[GET_KEYS][GET_KEY_SIZE];
    grv_blob_key large;
    unsigned threads;
    unsigned puts; /* by each thread */
    uint64_t next; /* atomic; names what is put */
} pg_bench;

static void die(const char *what, const char *message)
{
    fprintf(stderr, "bench: %s: %s\n", what, message);
    exit(1);
}

/* ---- Raw libpq ---- */

static PGconn *raw_open(const pg_bench *bench)
{
    PGconn *native = PQconnectdb(bench->conninfo);
    if (PQstatus(native) != CONNECTION_OK) {
        die("connect", PQerrorMessage(native));
    }
    return native;
}

static void raw_done(PGconn *native, PGresult *result)
{
    ExecStatusType kind = PQresultStatus(result);
    if (kind != PGRES_COMMAND_OK && kind != PGRES_TUPLES_OK) {
        die("run SQL", PQerrorMessage(native));
    }
    PQclear(result);
}

static void raw_sql(const pg_bench *bench, const char *sql)
{
    PGconn *native = raw_open(bench);
    raw_done(native, PQexec(native, sql));
    PQfinish(native);
}

/* A key that was never used before. */
static void fresh_digest(pg_bench *bench, uint8_t ret_digest[GRV_DIGEST_SIZE])
{
    uint64_t number = __atomic_add_fetch(&bench->next, 1, __ATOMIC_RELAXED);
    bench_fill_random(number, ret_digest, GRV_DIGEST_SIZE);
}

static void *insert_some(void *context)
{
    pg_bench *bench = context;
    PGconn *native = raw_open(bench);
    raw_done(native, PQprepare(native, "bare", "INSERT INTO public.bare VALUES ($1, $2)", 0, NULL));
    uint8_t digest[GRV_DIGEST_SIZE];
    uint8_t bytes[ROOT_BYTES];
    bench_fill_random(1, bytes, sizeof bytes);
    const char *values[2] = {(const char *)digest, (const char *)bytes};
    const int lengths[2] = {sizeof digest, sizeof bytes};
    const int formats[2] = {1, 1};
    for (unsigned i = 0; i < bench->puts; i++) {
        fresh_digest(bench, digest);
        raw_done(native, PQexecPrepared(native, "bare", 2, values, lengths, formats, 1));
    }
    PQfinish(native);
    return NULL;
}

/* As insert_some, with all that a manifest's row has, and its indexes. */
static void *insert_rows(void *context)
{
    pg_bench *bench = context;
    PGconn *native = raw_open(bench);
    raw_done(native, PQprepare(native, "row",
                               "INSERT INTO public.bare_row VALUES ($1, $2, $3, $4, $5, $6, $7, "
                               "$8, $9)",
                               0, NULL));
    uint8_t digest[GRV_DIGEST_SIZE];
    uint8_t bytes[ROOT_BYTES];
    static const uint8_t size[8] = {[5] = 0x10};
    static const uint8_t count[8] = {[7] = 16};
    static const uint8_t none[8];
    bench_fill_random(1, bytes, sizeof bytes);
    const char *values[9] = {"blake3",
                             (const char *)digest,
                             (const char *)size,
                             (const char *)digest,
                             (const char *)digest + 16,
                             (const char *)none,
                             (const char *)count,
                             (const char *)none,
                             (const char *)bytes};
    const int lengths[9] = {6, sizeof digest, 8, 16, 8, 2, 8, 8, sizeof bytes};
    const int formats[9] = {1, 1, 1, 1, 1, 1, 1, 1, 1};
    for (unsigned i = 0; i < bench->puts; i++) {
        fresh_digest(bench, digest);
        raw_done(native, PQexecPrepared(native, "row", 9, values, lengths, formats, 1));
    }
    PQfinish(native);
    return NULL;
}

#define COPY_SQL                                                                                   \
    "COPY (SELECT bytes FROM graviton.blob_manifest_page WHERE level = 0 "                         \
    "ORDER BY manifest_id, page_number) TO STDOUT"

/* COPY of the large blob's pages; returns how many bytes came. */
static size_t copy_pages(PGconn *native, bool binary)
{
    PGresult *result = PQexec(native, binary ? COPY_SQL " (FORMAT binary)" : COPY_SQL);
    if (PQresultStatus(result) != PGRES_COPY_OUT) {
        die("copy", PQerrorMessage(native));
    }
    PQclear(result);
    size_t bytes = 0;
    char *row = NULL;
    int size = 0;
    while ((size = PQgetCopyData(native, &row, 0)) > 0) {
        bytes += (size_t)size;
        PQfreemem(row);
    }
    raw_done(native, PQgetResult(native));
    PQclear(PQgetResult(native));
    return bytes;
}

/* ---- Through the port ---- */

static grv_blob_key put_manifest(pg_bench *bench, unsigned blocks)
{
    enum { STEP = 4096 };
    grv_error error = GRV_ERROR_INIT;
    const grv_manifest_plan plan = {.block_hash = GRV_HASH_BLAKE3,
                                    .chunker = grv_chunker_default()};
    grv_manifest_put *put = NULL;
    if (grv_manifest_repo_open_put(NULL, bench->repo, &plan, &put, &error)) {
        die("put", error.message);
    }
    grv_block_key *keys = calloc(STEP, sizeof *keys);
    if (!keys) {
        die("put", "no memory");
    }
    grv_blob_key key = {.digest.hash = GRV_HASH_BLAKE3};
    fresh_digest(bench, key.digest.bytes);
    for (unsigned done = 0; done < blocks;) {
        unsigned count = blocks - done < STEP ? blocks - done : STEP;
        for (unsigned i = 0; i < count; i++) {
            keys[i] = (grv_block_key){.digest = key.digest, .size = 65536};
            memcpy(keys[i].digest.bytes, &(unsigned){done + i}, sizeof(unsigned));
            key.size += keys[i].size;
        }
        if (grv_manifest_put_append(NULL, put, keys, count, &error)) {
            die("append", error.message);
        }
        done += count;
    }
    grv_manifest_commit commit;
    if (grv_manifest_put_commit(NULL, put, &key, NULL, &commit, &error)) {
        die("commit", error.message);
    }
    grv_manifest_put_free(put);
    free(keys);
    return key;
}

static void *put_some(void *context)
{
    pg_bench *bench = context;
    for (unsigned i = 0; i < bench->puts; i++) {
        put_manifest(bench, 16);
    }
    return NULL;
}

static size_t read_refs(pg_bench *bench)
{
    static grv_block_ref refs[1024];
    grv_error error = GRV_ERROR_INIT;
    grv_ref_cursor *cursor = NULL;
    if (grv_manifest_repo_open_refs(NULL, bench->repo, &bench->large, 0, &cursor, &error)) {
        die("references", error.message);
    }
    size_t total = 0;
    size_t count = 1;
    while (count > 0) {
        if (grv_ref_cursor_next(NULL, cursor, refs, 1024, &count, &error)) {
            die("references", error.message);
        }
        total += count;
    }
    grv_ref_cursor_free(cursor);
    return total;
}

/* ---- Figures ---- */

static double run_threads(pg_bench *bench, void *(*run)(void *context))
{
    pthread_t threads[THREADS_MAX];
    double start = bench_seconds();
    for (unsigned i = 0; i < bench->threads; i++) {
        if (pthread_create(&threads[i], NULL, run, bench)) {
            die("thread", "cannot start one");
        }
    }
    for (unsigned i = 0; i < bench->threads; i++) {
        pthread_join(threads[i], NULL);
    }
    return bench_seconds() - start;
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a;
    double y = *(const double *)b;
    return (x > y) - (x < y);
}

static double middle(double *figures)
{
    qsort(figures, BENCH_RUNS, sizeof *figures, by_value);
    return figures[BENCH_RUNS / 2];
}

/* They take turns, so that none has the quieter machine. */
static void bench_puts(pg_bench *bench, unsigned threads)
{
    double bare[BENCH_RUNS];
    double rows[BENCH_RUNS];
    double ours[BENCH_RUNS];
    char name[64];
    bench->threads = threads;
    run_threads(bench, insert_some);
    run_threads(bench, insert_rows);
    run_threads(bench, put_some);
    double count = (double)bench->puts * threads;
    for (unsigned i = 0; i < BENCH_RUNS; i++) {
        bare[i] = count / run_threads(bench, insert_some);
        rows[i] = count / run_threads(bench, insert_rows);
        ours[i] = count / run_threads(bench, put_some);
    }
    const bench_baseline baseline = {"bare insert", middle(bare)};
    snprintf(name, sizeof name, "bare insert, %u thread(s)", threads);
    bench_line(name, baseline.figure, "/s", NULL, 0);
    const bench_baseline row = {"bare insert of the whole row", middle(rows)};
    snprintf(name, sizeof name, "bare insert of the whole row, %u thread(s)", threads);
    bench_line(name, row.figure, "/s", NULL, 0);
    snprintf(name, sizeof name, "manifest put, %u thread(s)", threads);
    bench_line(name, middle(ours), "/s", &baseline, 0.7);
    bench_line(name, middle(ours), "/s", &row, 0);
}

static void bench_stream(pg_bench *bench)
{
    double texts[BENCH_RUNS];
    double copies[BENCH_RUNS];
    double ours[BENCH_RUNS];
    double start = bench_seconds();
    bench->large = put_manifest(bench, STREAM_BLOCKS);
    bench_line("put of a large manifest", STREAM_BLOCKS / (bench_seconds() - start) / 1e6,
               "M blocks/s", NULL, 0);
    PGconn *native = raw_open(bench);
    size_t bytes = copy_pages(native, true);
    read_refs(bench);
    for (unsigned i = 0; i < BENCH_RUNS; i++) {
        start = bench_seconds();
        copy_pages(native, false);
        texts[i] = bench_rate(bytes, bench_seconds() - start);
        start = bench_seconds();
        copy_pages(native, true);
        copies[i] = bench_rate(bytes, bench_seconds() - start);
        start = bench_seconds();
        if (read_refs(bench) != STREAM_BLOCKS) {
            die("references", "not as many as there are");
        }
        ours[i] = bench_rate(bytes, bench_seconds() - start);
    }
    PQfinish(native);
    const bench_baseline text = {"COPY", middle(texts)};
    const bench_baseline binary = {"COPY in binary", middle(copies)};
    bench_line("COPY of its pages", text.figure, "GB/s", NULL, 0);
    bench_line("COPY of its pages, in binary", binary.figure, "GB/s", NULL, 0);
    bench_line("references", middle(ours), "GB/s", &text, 0.7);
    bench_line("references", middle(ours), "GB/s", &binary, 0);
}

/* ---- Multi-get ---- */

/* As the port has it. */
#define GET_SQL                                                                                    \
    "SELECT n, CASE WHEN total <= $3::int8 OR total = size THEN value END FROM ("                  \
    "SELECT asked.n, kv.value, octet_length(kv.value) AS size, "                                   \
    "sum(octet_length(kv.value)) OVER (ROWS UNBOUNDED PRECEDING) AS total "                        \
    "FROM unnest($2::bytea[]) WITH ORDINALITY AS asked (key, n) "                                  \
    "JOIN graviton.kv ON kv.ns = $1 AND kv.key = asked.key) AS found"

static void put_values(pg_bench *bench)
{
    enum { STEP = 100 };
    grv_error error = GRV_ERROR_INIT;
    uint8_t value[GET_SIZE];
    bench_fill_random(2, value, sizeof value);
    bench_fill_random(3, bench->keys[0], sizeof bench->keys);
    for (unsigned at = 0; at < GET_KEYS; at += STEP) {
        grv_kv_op ops[STEP];
        for (unsigned i = 0; i < STEP; i++) {
            ops[i] = (grv_kv_op){.kind = GRV_KV_PUT,
                                 .ns = 1,
                                 .key = grv_bytes_of(bench->keys[at + i], GET_KEY_SIZE),
                                 .value = grv_bytes_of(value, sizeof value)};
        }
        const grv_kv_batch batch = {.ops = ops, .op_count = STEP, .durability = GRV_DURABLE};
        if (grv_kv_write(NULL, bench->kv, &batch, &error)) {
            die("write", error.message);
        }
    }
}

/* The keys as a parameter: a one-dimensional array of bytea in binary form. */
static size_t keys_array(const pg_bench *bench, uint8_t *array)
{
    static const uint8_t header[20] = {
        0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 17, 0, 0, GET_KEYS >> 8, GET_KEYS & 0xff, 0, 0, 0, 1};
    static const uint8_t length[4] = {0, 0, 0, GET_KEY_SIZE};
    memcpy(array, header, sizeof header);
    size_t size = sizeof header;
    for (unsigned i = 0; i < GET_KEYS; i++, size += sizeof length + GET_KEY_SIZE) {
        memcpy(array + size, length, sizeof length);
        memcpy(array + size + sizeof length, bench->keys[i], GET_KEY_SIZE);
    }
    return size;
}

static double get_raw(const pg_bench *bench, PGconn *native)
{
    static uint8_t array[20 + GET_KEYS * (4 + GET_KEY_SIZE)];
    static const uint8_t ns[2] = {0, 1};
    static const uint8_t limit[8] = {0, 0, 0, 0, 1, 0, 0, 0};
    const char *values[3] = {(const char *)ns, (const char *)array, (const char *)limit};
    const int lengths[3] = {sizeof ns, (int)keys_array(bench, array), sizeof limit};
    const int formats[3] = {1, 1, 1};
    double start = bench_seconds();
    for (unsigned i = 0; i < GET_ROUNDS; i++) {
        PGresult *result = PQexecPrepared(native, "get", 3, values, lengths, formats, 1);
        if (PQntuples(result) != GET_KEYS) {
            die("query", PQerrorMessage(native));
        }
        raw_done(native, result);
    }
    return GET_ROUNDS * (double)GET_KEYS / (bench_seconds() - start);
}

static double get_ours(const pg_bench *bench)
{
    static grv_bytes keys[GET_KEYS];
    static grv_value values[GET_KEYS];
    static grv_status statuses[GET_KEYS];
    grv_error error = GRV_ERROR_INIT;
    for (unsigned i = 0; i < GET_KEYS; i++) {
        keys[i] = grv_bytes_of(bench->keys[i], GET_KEY_SIZE);
    }
    double start = bench_seconds();
    for (unsigned i = 0; i < GET_ROUNDS; i++) {
        if (grv_kv_multi_get(NULL, bench->kv, 1, keys, GET_KEYS, values, statuses, &error)) {
            die("multi-get", error.message);
        }
        for (unsigned k = 0; k < GET_KEYS; k++) {
            if (statuses[k] || values[k].bytes.size != GET_SIZE) {
                die("multi-get", "a value is missing");
            }
            grv_value_done(&values[k]);
        }
    }
    return GET_ROUNDS * (double)GET_KEYS / (bench_seconds() - start);
}

static void bench_gets(pg_bench *bench)
{
    double raw[BENCH_RUNS];
    double ours[BENCH_RUNS];
    put_values(bench);
    raw_sql(bench,
            "INSERT INTO graviton.kv (ns, key, value) SELECT 1, pg_catalog.sha256("
            "pg_catalog.int4send(i)), pg_catalog.decode(pg_catalog.repeat('7f', 128), 'hex') "
            "FROM pg_catalog.generate_series(1, " GET_OTHERS ") i");
    raw_sql(bench, "ANALYZE graviton.kv");
    PGconn *native = raw_open(bench);
    raw_done(native, PQprepare(native, "get", GET_SQL, 0, NULL));
    get_raw(bench, native);
    get_ours(bench);
    for (unsigned i = 0; i < BENCH_RUNS; i++) {
        raw[i] = get_raw(bench, native);
        ours[i] = get_ours(bench);
    }
    PQfinish(native);
    const bench_baseline baseline = {"its bare query", middle(raw)};
    bench_line("bare query of 1000 keys", baseline.figure, "keys/s", NULL, 0);
    bench_line("multi-get of 1000 keys", middle(ours), "keys/s", &baseline, 0.8);
}

/* A database of this program's own; the server ends with it. */
static void make_database(pg_bench *bench, const char *server)
{
    snprintf(bench->conninfo, sizeof bench->conninfo, "%s", server);
    raw_sql(bench, "CREATE DATABASE bench");
    const char *slash = strrchr(server, '/');
    snprintf(bench->conninfo, sizeof bench->conninfo, "%.*s/bench", (int)(slash - server), server);
}

static void setup(pg_bench *bench)
{
    grv_error error = GRV_ERROR_INIT;
    grv_pg_config config = {.conninfo = bench->conninfo, .any_schema = true};
    const grv_pg_migrate_config all = {0};
    if (grv_pg_open(NULL, &config, &bench->pg, &error) ||
        grv_pg_migrate(NULL, bench->pg, &all, &error)) {
        die("migrate", error.message);
    }
    grv_pg_close(bench->pg);
    config.any_schema = false;
    config.connections = THREADS_MAX;
    if (grv_pg_open(NULL, &config, &bench->pg, &error) ||
        grv_pg_session_open(NULL, bench->pg, "bench", &bench->session, &error) ||
        grv_manifest_repo_pg_new(bench->pg, bench->session, &bench->repo, &error) ||
        grv_kv_pg_new(bench->pg, 2, &bench->kv, &error)) {
        die("open", error.message);
    }
    raw_sql(bench, "CREATE TABLE public.bare (key bytea PRIMARY KEY, bytes bytea)");
    raw_sql(bench, "CREATE TABLE public.bare_row (LIKE graviton.blob INCLUDING STORAGE, PRIMARY "
                   "KEY (alg, hash_bytes, byte_length), UNIQUE (manifest_id), UNIQUE (sequence))");
    raw_sql(bench, "ALTER TABLE public.bare ALTER COLUMN bytes SET STORAGE EXTERNAL");
}

int main(int argc, char **argv)
{
    const char *server = getenv("GRAVITON_TEST_POSTGRES");
    if (!server) {
        die("start", "no server: run this through tests/service/postgres.py");
    }
    pg_bench bench = {.puts = argc > 1 ? (unsigned)strtoul(argv[1], NULL, 10) : 400};
    if (bench.puts < 1 || bench.puts > 1000000) {
        die("arguments", "want 1 to 1000000 puts");
    }
    make_database(&bench, server);
    setup(&bench);
    bench_puts(&bench, 1);
    bench_puts(&bench, THREADS_MAX);
    bench_stream(&bench);
    bench_gets(&bench);
    grv_kv_free(bench.kv);
    grv_manifest_repo_free(bench.repo);
    grv_pg_session_close(bench.session);
    grv_pg_close(bench.pg);
    return 0;
}
