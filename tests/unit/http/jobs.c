/* SPDX-License-Identifier: Apache-2.0 */
/* Jobs over a store in memory: what an order may say, one at a time, cancelled, kept, by itself. */
#include "http/admin.h"
#include "http/census.h"
#include "http/jobs_run.h"
#include "os/clock.h"

#include "test.h"

#include <stdio.h>
#include <stdlib.h>

#define MILLISECOND UINT64_C(1000000)

static const http_route *const fronts[] = {http_front_admin, NULL};

typedef struct jobs_rig {
    grv_store *store;
    http_server *server;
} jobs_rig;

static void rig_begin(jobs_rig *rig, const http_server_config *config)
{
    grv_error error = GRV_ERROR_INIT;
    const grv_chunker_spec chunker = {.kind = GRV_CHUNKER_FIXED, .size = 1024};
    const grv_store_config store = {.directory = "memory:", .create = true, .chunker = &chunker};
    assert_grv_ok(grv_store_open(NULL, &store, &rig->store, &error));
    http_server_config mine = config ? *config : (http_server_config){0};
    mine.store = rig->store;
    mine.fronts = fronts;
    mine.listen = "127.0.0.1:0";
    mine.event_threads = 1;
    mine.streams = 4;
    assert_grv_ok(http_server_start(&mine, &rig->server, &error));
}

static void rig_end(jobs_rig *rig)
{
    http_server_stop(rig->server, NULL);
    grv_store_close(rig->store);
}

static grv_blob_key put(const jobs_rig *rig, size_t size, unsigned seed)
{
    grv_error error = GRV_ERROR_INIT;
    const grv_put_plan plan = {0};
    grv_blob_sink *sink;
    assert_grv_ok(grv_blob_store_open_put(NULL, grv_store_blobs(rig->store), &plan, &sink, &error));
    uint32_t *words = malloc(size);
    assert_non_null(words);
    for (size_t i = 0; i < size / sizeof *words; i++) {
        words[i] = (uint32_t)i * 2654435761u + seed;
    }
    assert_grv_ok(grv_sink_write(NULL, &sink->base, grv_bytes_of(words, size), &error));
    assert_grv_ok(grv_sink_commit(NULL, &sink->base, &error));
    grv_blob_key key = sink->result.key;
    grv_sink_free(&sink->base);
    free(words);
    return key;
}

static json_t *show(const jobs_rig *rig, uint64_t number, uint64_t after)
{
    grv_error error = GRV_ERROR_INIT;
    json_t *object;
    assert_grv_ok(http_jobs_show(rig->server->jobs, number, after, &object, &error));
    return object;
}

static const char *text_of(const json_t *object, const char *name)
{
    const char *text = json_string_value(json_object_get(object, name));
    return text ? text : "";
}

static long long number_of(const json_t *object, const char *name)
{
    const json_t *value = json_object_get(object, name);
    assert_true(json_is_integer(value));
    return json_integer_value(value);
}

/* The job once it has ended; at most 20 s from now. */
static json_t *await(const jobs_rig *rig, uint64_t number)
{
    for (int i = 0; i < 4000; i++) {
        json_t *object = show(rig, number, 0);
        if (!json_is_null(json_object_get(object, "ended"))) {
            return object;
        }
        json_decref(object);
        grv_clock_sleep(5 * MILLISECOND);
    }
    fail_msg("job %d does not end", (int)number);
    return NULL;
}

static uint64_t begin(const jobs_rig *rig, http_job_order order)
{
    grv_error error = GRV_ERROR_INIT;
    uint64_t number = 0;
    assert_grv_ok(http_jobs_begin(rig->server->jobs, &order, &number, &error));
    return number;
}

static json_t *run(const jobs_rig *rig, http_job_order order)
{
    return await(rig, begin(rig, order));
}

/* ---- Orders ---- */

static grv_status parse(http_job_kind kind, const char *text, http_job_order *order, char **name,
                        grv_error *error)
{
    json_t *body = json_loads(text, 0, NULL);
    assert_non_null(body);
    grv_status status = http_job_order_parse(kind, body, order, name, error);
    json_decref(body);
    return status;
}

static void an_order_says_only_what_is_known(void **state)
{
    (void)state;
    static const struct {
        http_job_kind kind;
        const char *text;
    } wrong[] = {
        {HTTP_JOB_GC, "{\"dryrun\": true}"},
        {HTTP_JOB_GC, "{\"dry_run\": 1}"},
        {HTTP_JOB_GC, "{\"dry_run\": null}"},
        {HTTP_JOB_FLUSH, "{\"all\": true}"},
        {HTTP_JOB_SCRUB, "{\"rate_bytes\": -1}"},
        {HTTP_JOB_SCRUB, "{\"rate_bytes\": 1.5}"},
        {HTTP_JOB_SCRUB, "{\"rate_bytes\": \"1\"}"},
        {HTTP_JOB_SCRUB, "{\"restart\": \"no\"}"},
        {HTTP_JOB_VERIFY, "{}"},
        {HTTP_JOB_VERIFY, "{\"all\": false}"},
        {HTTP_JOB_VERIFY, "{\"ids\": []}"},
        {HTTP_JOB_VERIFY, "{\"ids\": \"x\"}"},
        {HTTP_JOB_VERIFY, "{\"ids\": [7]}"},
        {HTTP_JOB_VERIFY, "{\"ids\": [\"blake3:00:1\"]}"},
        {HTTP_JOB_VERIFY, "{\"ids\": [\"x\"], \"all\": true}"},
        {HTTP_JOB_BACKUP, "{}"},
        {HTTP_JOB_BACKUP, "{\"name\": 7}"},
        {HTTP_JOB_BACKUP, "{\"name\": \"\"}"},
        {HTTP_JOB_BACKUP, "{\"name\": \"..\"}"},
        {HTTP_JOB_BACKUP, "{\"name\": \".a\"}"},
        {HTTP_JOB_BACKUP, "{\"name\": \"a/b\"}"},
        {HTTP_JOB_BACKUP, "{\"name\": \"/a\"}"},
        {HTTP_JOB_BACKUP, "{\"name\": \"a b\"}"},
        {HTTP_JOB_BACKUP, "{\"name\": \"a\\u00e9\"}"},
        {HTTP_JOB_BACKUP, "{\"name\": \"a\", \"copy\": 1}"},
    };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        grv_error error = GRV_ERROR_INIT;
        http_job_order order = {0};
        char *name = NULL;
        if (parse(wrong[i].kind, wrong[i].text, &order, &name, &error) != GRV_INVALID_ARGUMENT) {
            fail_msg("%s was accepted", wrong[i].text);
        }
        assert_null(name);
        assert_true(strcmp(error.origin, "http") == 0 || strcmp(error.origin, "key") == 0);
    }
    grv_error error = GRV_ERROR_INIT;
    http_job_order order;
    char *name;
    assert_grv_ok(parse(HTTP_JOB_GC, "{\"dry_run\": true}", &order, &name, &error));
    assert_true(order.dry_run);
    assert_grv_ok(parse(HTTP_JOB_GC, "{}", &order, &name, &error));
    assert_false(order.dry_run);
    assert_grv_ok(
        parse(HTTP_JOB_SCRUB, "{\"rate_bytes\": 5, \"restart\": true}", &order, &name, &error));
    assert_int_equal(order.rate_bytes, 5);
    assert_true(order.restart);
    assert_grv_ok(
        parse(HTTP_JOB_BACKUP, "{\"name\": \"a.b-C_9\", \"copy\": true}", &order, &name, &error));
    assert_true(order.copy);
    assert_string_equal(name, "a.b-C_9");
    free(name);
    char longest[130];
    memset(longest, 'a', sizeof longest);
    longest[129] = '\0';
    assert_false(http_backup_name_is_good(longest));
    longest[128] = '\0';
    assert_true(http_backup_name_is_good(longest));
    /* A name that ends early only for C. */
    json_t *body = json_pack("{s:s%}", "name", "a\0/../b", (size_t)7);
    assert_non_null(body);
    assert_grv_status(http_job_order_parse(HTTP_JOB_BACKUP, body, &order, &name, &error),
                      GRV_INVALID_ARGUMENT);
    json_decref(body);
}

/* ---- Jobs ---- */

static void each_kind_does_its_work(void **state)
{
    (void)state;
    grv_error error = GRV_ERROR_INIT;
    jobs_rig rig;
    rig_begin(&rig, NULL);
    grv_blob_key kept = put(&rig, 10240, 1);
    grv_blob_key gone = put(&rig, 20480, 2);
    assert_grv_ok(grv_blob_store_remove(NULL, grv_store_blobs(rig.store), &gone, &error));
    json_t *job = run(&rig, (http_job_order){.kind = HTTP_JOB_GC, .dry_run = true});
    assert_string_equal(text_of(job, "kind"), "gc");
    assert_string_equal(text_of(job, "state"), "done");
    assert_true(json_is_null(json_object_get(job, "error")));
    assert_int_equal(number_of(json_object_get(job, "figures"), "freed_blocks"), 20);
    json_decref(job);
    job = run(&rig, (http_job_order){.kind = HTTP_JOB_GC});
    assert_int_equal(number_of(json_object_get(job, "figures"), "freed_bytes"), 20480);
    assert_int_equal(number_of(json_object_get(job, "figures"), "kept_blocks"), 10);
    json_decref(job);
    job = run(&rig, (http_job_order){.kind = HTTP_JOB_GC});
    assert_int_equal(number_of(json_object_get(job, "figures"), "freed_blocks"), 0);
    json_decref(job);
    job = run(&rig, (http_job_order){.kind = HTTP_JOB_SCRUB});
    assert_int_equal(number_of(json_object_get(job, "figures"), "bytes"), 10240);
    assert_true(json_is_true(json_object_get(json_object_get(job, "figures"), "complete")));
    assert_int_equal(number_of(job, "findings_total"), 0);
    json_decref(job);
    job = run(&rig, (http_job_order){.kind = HTTP_JOB_VERIFY});
    assert_int_equal(number_of(json_object_get(job, "figures"), "blobs"), 1);
    assert_int_equal(number_of(json_object_get(job, "figures"), "bytes"), 10240);
    json_decref(job);
    grv_blob_key *ids = calloc(2, sizeof *ids);
    assert_non_null(ids);
    ids[0] = gone;
    ids[1] = kept;
    job = run(&rig, (http_job_order){.kind = HTTP_JOB_VERIFY, .ids = ids, .id_count = 2});
    assert_int_equal(number_of(json_object_get(job, "figures"), "blobs"), 1);
    assert_int_equal(number_of(json_object_get(job, "figures"), "missing"), 1);
    const json_t *finding = json_array_get(json_object_get(job, "findings"), 0);
    assert_string_equal(text_of(finding, "status"), "missing");
    assert_int_equal(number_of(finding, "number"), 1);
    json_decref(job);
    job = run(&rig, (http_job_order){.kind = HTTP_JOB_FLUSH});
    assert_string_equal(text_of(job, "state"), "done");
    assert_true(json_is_object(json_object_get(job, "figures")));
    json_decref(job);
    job = run(&rig, (http_job_order){.kind = HTTP_JOB_BACKUP, .directory = strdup("/nowhere/b")});
    assert_string_equal(text_of(job, "state"), "failed");
    assert_string_equal(text_of(json_object_get(job, "error"), "type"), "unsupported");
    assert_null(strstr(text_of(json_object_get(job, "error"), "detail"), "nowhere"));
    json_decref(job);
    http_jobs_counts counts;
    http_jobs_figures(rig.server->jobs, &counts);
    assert_int_equal(counts.failed, 1);
    assert_int_equal(counts.done, 7);
    assert_int_equal(counts.findings, 1);
    assert_int_equal(counts.running, 0);
    rig_end(&rig);
}

static void one_runs_at_a_time_and_can_be_cancelled(void **state)
{
    (void)state;
    grv_error error = GRV_ERROR_INIT;
    jobs_rig rig;
    uint64_t number;
    rig_begin(&rig, NULL);
    put(&rig, 102400, 1);
    uint64_t slow = begin(&rig, (http_job_order){.kind = HTTP_JOB_SCRUB, .rate_bytes = 1});
    http_job_order other = {.kind = HTTP_JOB_VERIFY, .ids = calloc(1, sizeof(grv_blob_key))};
    assert_grv_status(http_jobs_begin(rig.server->jobs, &other, &number, &error), GRV_CONFLICT);
    assert_string_equal(error.message, "job 1 (scrub) runs");
    assert_non_null(other.ids); /* still the caller's */
    http_job_order_done(&other);
    json_t *job = show(&rig, slow, 0);
    assert_string_equal(text_of(job, "state"), "running");
    assert_true(json_is_null(json_object_get(job, "ended")));
    json_decref(job);
    assert_grv_ok(http_jobs_cancel(rig.server->jobs, slow, &error));
    job = await(&rig, slow);
    assert_string_equal(text_of(job, "state"), "cancelled");
    assert_true(json_is_null(json_object_get(job, "error")));
    json_decref(job);
    assert_grv_ok(http_jobs_cancel(rig.server->jobs, slow, &error)); /* harmless */
    assert_grv_status(http_jobs_cancel(rig.server->jobs, 99, &error), GRV_NOT_FOUND);
    assert_string_equal(error.origin, "http");
    /* A stop cancels what runs. */
    begin(&rig, (http_job_order){.kind = HTTP_JOB_SCRUB, .rate_bytes = 1});
    uint64_t begun_ns = grv_now_ns();
    rig_end(&rig);
    assert_true(grv_now_ns() - begun_ns < UINT64_C(10000000000));
}

static void a_collection_fails_beside_puts_that_are_not_the_servers(void **state)
{
    (void)state;
    grv_error error = GRV_ERROR_INIT;
    jobs_rig rig;
    rig_begin(&rig, NULL);
    /* A put that is not the server's: the pause knows nothing of it, the store does. */
    const grv_put_plan plan = {0};
    grv_blob_sink *sink;
    assert_grv_ok(grv_blob_store_open_put(NULL, grv_store_blobs(rig.store), &plan, &sink, &error));
    json_t *job = run(&rig, (http_job_order){.kind = HTTP_JOB_GC});
    assert_string_equal(text_of(job, "state"), "failed");
    assert_string_equal(text_of(json_object_get(job, "error"), "type"), "unavailable");
    json_decref(job);
    grv_sink_free(&sink->base);
    job = run(&rig, (http_job_order){.kind = HTTP_JOB_GC});
    assert_string_equal(text_of(job, "state"), "done");
    json_decref(job);
    rig_end(&rig);
}

static void the_last_ones_are_kept(void **state)
{
    (void)state;
    grv_error error = GRV_ERROR_INIT;
    jobs_rig rig;
    json_t *object;
    rig_begin(&rig, NULL);
    for (unsigned i = 1; i <= HTTP_JOBS_KEPT + 3; i++) {
        json_decref(run(&rig, (http_job_order){.kind = HTTP_JOB_FLUSH}));
    }
    json_t *array;
    assert_grv_ok(http_jobs_list(rig.server->jobs, &array, &error));
    assert_int_equal(json_array_size(array), HTTP_JOBS_KEPT);
    assert_int_equal(number_of(json_array_get(array, 0), "job"), HTTP_JOBS_KEPT + 3);
    assert_int_equal(number_of(json_array_get(array, HTTP_JOBS_KEPT - 1), "job"), 4);
    json_decref(array);
    assert_grv_status(http_jobs_show(rig.server->jobs, 3, 0, &object, &error), GRV_NOT_FOUND);
    rig_end(&rig);
}

/* Gives a job findings as a run would. */
static void findings_add(http_job *job, size_t count)
{
    grv_error error = GRV_ERROR_INIT;
    const http_finding finding = {.kind = HTTP_FOUND_BLOCK, .status = "corrupt"};
    for (size_t i = 0; i < count; i++) {
        assert_grv_ok(http_job_found(job, &finding, i == 1 ? "in /srv/x" : "a\xff", &error));
    }
}

static void findings_are_paged_and_bounded(void **state)
{
    (void)state;
    jobs_rig rig;
    rig_begin(&rig, NULL);
    json_decref(run(&rig, (http_job_order){.kind = HTTP_JOB_FLUSH}));
    json_decref(run(&rig, (http_job_order){.kind = HTTP_JOB_FLUSH}));
    http_job *second = rig.server->jobs->newest;
    http_job *first = second->next;
    findings_add(first, HTTP_JOB_PAGE + 500);
    json_t *job = show(&rig, 1, 0);
    json_t *list = json_object_get(job, "findings");
    assert_int_equal(json_array_size(list), HTTP_JOB_PAGE);
    assert_int_equal(number_of(json_array_get(list, 0), "number"), 1);
    assert_string_equal(text_of(json_array_get(list, 0), "message"), "a?");
    assert_string_equal(text_of(json_array_get(list, 1), "message"), "the server's log tells");
    json_decref(job);
    job = show(&rig, 1, HTTP_JOB_PAGE);
    list = json_object_get(job, "findings");
    assert_int_equal(json_array_size(list), 500);
    assert_int_equal(number_of(json_array_get(list, 499), "number"), HTTP_JOB_PAGE + 500);
    json_decref(job);
    job = show(&rig, 1, HTTP_JOB_PAGE + 500);
    assert_int_equal(json_array_size(json_object_get(job, "findings")), 0);
    json_decref(job);
    /* The later job's push the earlier's out, and then there is an end. */
    findings_add(second, HTTP_JOB_FINDINGS_MAX + 10);
    job = show(&rig, 1, 0);
    assert_int_equal(json_array_size(json_object_get(job, "findings")), 0);
    assert_int_equal(number_of(job, "findings_total"), HTTP_JOB_PAGE + 500);
    json_decref(job);
    job = show(&rig, 2, HTTP_JOB_FINDINGS_MAX - 1);
    assert_int_equal(json_array_size(json_object_get(job, "findings")), 1);
    assert_int_equal(number_of(job, "findings_total"), HTTP_JOB_FINDINGS_MAX + 10);
    json_decref(job);
    rig_end(&rig);
}

static void what_is_due_begins_by_itself(void **state)
{
    (void)state;
    jobs_rig rig;
    const uint64_t hour = UINT64_C(3600) * 1000 * MILLISECOND;
    const http_server_config config = {.gc_period_ns = hour, .scrub_period_ns = 2 * hour};
    rig_begin(&rig, &config);
    http_jobs *jobs = rig.server->jobs;
    uint64_t now = grv_now_ns();
    http_jobs_tick(jobs, now);
    assert_int_equal(jobs->last_number, 0);
    http_jobs_tick(jobs, now + hour);
    json_t *job = await(&rig, 1);
    assert_string_equal(text_of(job, "kind"), "gc");
    assert_true(json_is_true(json_object_get(job, "automatic")));
    json_decref(job);
    http_jobs_tick(jobs, now + hour + 1);
    assert_int_equal(jobs->last_number, 1);
    /* Both are due: one after the other, and first the one that is so for longer. */
    http_jobs_tick(jobs, now + 2 * hour);
    job = await(&rig, 2);
    assert_string_equal(text_of(job, "kind"), "scrub");
    json_decref(job);
    http_jobs_tick(jobs, now + 2 * hour);
    job = await(&rig, 3);
    assert_string_equal(text_of(job, "kind"), "gc");
    json_decref(job);
    http_jobs_tick(jobs, now + 2 * hour);
    assert_int_equal(jobs->last_number, 3);
    rig_end(&rig);
}

/* ---- The census ---- */

static void a_count_is_made_when_somebody_asks(void **state)
{
    (void)state;
    grv_error error = GRV_ERROR_INIT;
    jobs_rig rig;
    http_count count;
    rig_begin(&rig, NULL);
    http_census *census = rig.server->census;
    put(&rig, 10240, 1);
    http_census_ask(census, &count);
    assert_false(count.is_known);
    assert_true(count.is_running);
    for (int i = 0; i < 2000 && !count.is_known; i++) {
        grv_clock_sleep(5 * MILLISECOND);
        http_census_ask(census, &count);
    }
    assert_true(count.is_known);
    assert_int_equal(count.stats.blobs, 1);
    /* It holds for a while. */
    put(&rig, 10240, 2);
    http_census_ask(census, &count);
    assert_int_equal(count.stats.blobs, 1);
    assert_false(count.is_running);
    assert_grv_ok(http_census_wait(NULL, census, &count, &error));
    assert_int_equal(count.stats.blobs, 2);
    assert_int_equal(count.stats.logical_bytes, 20480);
    const grv_call late = {.deadline_ns = 1};
    assert_grv_status(http_census_wait(&late, census, &count, &error), GRV_TIMEOUT);
    assert_grv_ok(http_census_ready(census, &error));
    assert_grv_ok(http_census_ready(census, &error));
    rig_end(&rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_order_says_only_what_is_known),
        cmocka_unit_test(each_kind_does_its_work),
        cmocka_unit_test(one_runs_at_a_time_and_can_be_cancelled),
        cmocka_unit_test(a_collection_fails_beside_puts_that_are_not_the_servers),
        cmocka_unit_test(the_last_ones_are_kept),
        cmocka_unit_test(findings_are_paged_and_bounded),
        cmocka_unit_test(what_is_due_begins_by_itself),
        cmocka_unit_test(a_count_is_made_when_somebody_asks),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
