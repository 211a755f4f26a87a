/* SPDX-License-Identifier: Apache-2.0 */
/* Deadlines, patience, cancels, and clocks that differ. */
#include "unit/backend/s3/scripted.h"

/* ---- Time ---- */

static uint64_t elapsed_ms(uint64_t since_ns)
{
    return (grv_now_ns() - since_ns) / MS;
}

static void test_deadline(void **state)
{
    (void)state;
    static const scripted_line stall[] = {{NULL, SCRIPTED_STALL, 0}};
    static const scripted_line part[] = {
        {"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhel", SCRIPTED_STALL, 0}};
    static const scripted_line slow[] = {{SLOW_DOWN, 0, 0}};
    const scripted_line *const scripts[] = {stall, part, slow};
    for (size_t i = 0; i < COUNT(scripts); i++) {
        fault_rig rig = rig_of(scripts[i], 1);
        grv_error error = GRV_ERROR_INIT;
        grv_s3_request request;
        uint64_t wait_ms = i < 2 ? 300 : 2000; /* the last has to be answered by then */
        uint64_t start_ns = grv_now_ns();
        grv_call call = {.deadline_ns = start_ns + wait_ms * MS};
        /* Nothing but the deadline ends so: the patience would be GRV_UNAVAILABLE. */
        assert_grv_status(get_hello(&call, &rig, &request, &error), GRV_TIMEOUT);
        assert_true(elapsed_ms(start_ns) >= wait_ms - 1);
        assert_non_null(strstr(error.message, i < 2 ? "deadline" : "SlowDown"));
        rig_done(&rig);
    }
}

static void test_patience(void **state)
{
    (void)state;
    static const scripted_line stall[] = {{NULL, SCRIPTED_STALL, 0}};
    static const scripted_line slow[] = {{SLOW_DOWN, 0, 0}};
    static const scripted_line gone[] = {{NULL, SCRIPTED_RESET, 0}};
    const scripted_line *const scripts[] = {stall, slow, gone};
    for (size_t i = 0; i < COUNT(scripts); i++) {
        fault_rig rig = rig_with(scripts[i], 1, (grv_s3_config){.patience_ns = 400 * MS});
        grv_error error = GRV_ERROR_INIT;
        grv_s3_request request;
        uint64_t start_ns = grv_now_ns();
        assert_grv_status(get_hello(NULL, &rig, &request, &error), GRV_UNAVAILABLE);
        assert_in_range(elapsed_ms(start_ns), 100, 30000);
        assert_non_null(strstr(error.message, "given up after"));
        rig_done(&rig);
    }
    /* Nobody there at all. */
    fault_rig rig = rig_with(
        slow, 1, (grv_s3_config){.patience_ns = 300 * MS, .endpoint = "http://127.0.0.1:1"});
    grv_error error = GRV_ERROR_INIT;
    grv_s3_request request;
    assert_grv_status(get_hello(NULL, &rig, &request, &error), GRV_UNAVAILABLE);
    assert_grv_status(grv_s3_bucket_check(NULL, rig.s3, "bucket", &error), GRV_UNAVAILABLE);
    rig_done(&rig);
}

/* As long as something moves, an answer may take longer than the patience. */
static void test_slow_is_not_dead(void **state)
{
    (void)state;
    static const scripted_line lines[] = {{OK_HELLO, 0, 25}};
    fault_rig rig = rig_with(lines, 1, (grv_s3_config){.patience_ns = 5500 * MS});
    grv_error error = GRV_ERROR_INIT;
    static grv_s3_request requests[240];
    static uint8_t into[COUNT(requests)][5];
    for (size_t i = 0; i < COUNT(requests); i++) {
        requests[i] =
            (grv_s3_request){.method = GRV_S3_GET, .bucket = "b", .key = "k", .into = {into[i], 5}};
    }
    /* Those that wait for a connection have not begun to be impatient. */
    rig.s3->settings.connections = 1;
    assert_grv_ok(grv_s3_run(NULL, rig.s3, requests, COUNT(requests), &error));
    assert_true(scripted_requests(rig.server) >= COUNT(requests));
    rig_done(&rig);
}

static void test_deadline_in_the_queue(void **state)
{
    (void)state;
    static const scripted_line stall[] = {{NULL, SCRIPTED_STALL, 0}};
    fault_rig rig = rig_with(stall, 1, (grv_s3_config){.connections = 1});
    grv_error error = GRV_ERROR_INIT;
    uint8_t into[5];
    grv_s3_request first = {
        .method = GRV_S3_GET, .bucket = "bucket", .key = "key", .into = {into, 5}};
    grv_s3_submit(NULL, rig.s3, &first);
    while (scripted_requests(rig.server) == 0) {
        usleep(1000);
    }
    grv_s3_request second;
    uint64_t start_ns = grv_now_ns();
    grv_call call = {.deadline_ns = start_ns + 200 * MS};
    assert_grv_status(get_hello(&call, &rig, &second, &error), GRV_TIMEOUT);
    assert_true(elapsed_ms(start_ns) >= 199);
    assert_false(second.unsure);
    grv_s3_cancel(rig.s3, &first);
    assert_grv_status(first.status, GRV_CANCELLED);
    assert_true(first.unsure);
    grv_s3_cancel(rig.s3, &first); /* ended is ended */
    rig_done(&rig);
}

static void *raise_later(void *argument)
{
    usleep(150000);
    grv_cancel_raise(argument);
    return NULL;
}

static void test_cancel(void **state)
{
    (void)state;
    static const scripted_line stall[] = {{NULL, SCRIPTED_STALL, 0}};
    fault_rig rig = rig_of(stall, 1);
    grv_error error = GRV_ERROR_INIT;
    grv_cancel cancel = {0};
    grv_call call = {.cancel = &cancel};
    pthread_t thread;
    uint64_t start_ns = grv_now_ns();
    assert_int_equal(pthread_create(&thread, NULL, raise_later, &cancel), 0);
    grv_s3_request request;
    assert_grv_status(get_hello(&call, &rig, &request, &error), GRV_CANCELLED);
    assert_true(elapsed_ms(start_ns) >= 150);
    pthread_join(thread, NULL);
    rig_done(&rig);
}

/* Many are given up at once, in every state that a request can be in. */
static void test_cancel_many(void **state)
{
    (void)state;
    static const scripted_line lines[] = {
        {SLOW_DOWN, 0, 0}, {OK_HELLO, 0, 0}, {SLOW_DOWN, 0, 0}, {NULL, SCRIPTED_STALL, 0}};
    for (unsigned round = 0; round < 10; round++) {
        fault_rig rig = rig_with(lines, COUNT(lines), (grv_s3_config){.connections = 4});
        static grv_s3_request requests[40];
        static uint8_t into[COUNT(requests)][5];
        for (size_t i = 0; i < COUNT(requests); i++) {
            requests[i] = (grv_s3_request){
                .method = GRV_S3_GET, .bucket = "b", .key = "k", .into = {into[i], 5}};
            grv_s3_submit(NULL, rig.s3, &requests[i]);
        }
        usleep(round * 3000);
        for (size_t i = 0; i < COUNT(requests); i++) {
            grv_s3_cancel(rig.s3, &requests[(i * 7) % COUNT(requests)]);
        }
        for (size_t i = 0; i < COUNT(requests); i++) {
            assert_true(requests[i].ended);
            assert_true(requests[i].status == GRV_CANCELLED || requests[i].status == GRV_OK);
            memset(into[i], 0xee, 5); /* nobody writes there any more */
        }
        rig_done(&rig);
    }
}

static void test_retry_after(void **state)
{
    (void)state;
    static const scripted_line lines[] = {
        {"HTTP/1.1 503 Slow Down\r\nRetry-After: 1\r\nContent-Length: 0\r\n\r\n", 0, 0},
        {OK_HELLO, 0, 0}};
    fault_rig rig = rig_of(lines, COUNT(lines));
    grv_error error = GRV_ERROR_INIT;
    grv_s3_request request;
    uint64_t start_ns = grv_now_ns();
    assert_grv_ok(get_hello(NULL, &rig, &request, &error));
    assert_in_range(elapsed_ms(start_ns), 1000, 30000);
    rig_done(&rig);
}

/* ---- Clocks ---- */

static uint64_t hours_of(const char *head)
{
    const char *found = strstr(head, "x-amz-date: ");
    assert_non_null(found);
    char hours[11];
    snprintf(hours, sizeof hours, "%.8s%.2s", found + 12, found + 21);
    return strtoull(hours, NULL, 10);
}

/* The service's clock is ahead by years: the request is signed anew for its time, once, and those
 * that follow from the start. */
static void test_skew(void **state)
{
    (void)state;
    static const char *const refusals[] = {
        "HTTP/1.1 403 No\r\nDate: Tue, 05 May 2071 10:20:30 GMT\r\nContent-Length: 50\r\n\r\n"
        "<Error><Code>RequestTimeTooSkewed</Code></Error>\n\n",
        "HTTP/1.1 403 No\r\nDate: Tue, 05 May 2071 10:20:30 GMT\r\n\r\n"};
    for (size_t i = 0; i < COUNT(refusals); i++) {
        const scripted_line lines[] = {{refusals[i], 0, 0},
                                       {"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", 0, 0}};
        grv_error error = GRV_ERROR_INIT;
        grv_s3_request request = {
            .method = i == 0 ? GRV_S3_DELETE : GRV_S3_HEAD, .bucket = "bucket", .key = "key"};
        fault_rig rig = rig_of(lines, 2);
        assert_grv_ok(grv_s3_run(NULL, rig.s3, &request, 1, &error));
        assert_grv_ok(grv_s3_run(NULL, rig.s3, &request, 1, &error));
        assert_int_equal(scripted_requests(rig.server), 3);
        assert_int_not_equal(hours_of(rig.server->heads[0]), UINT64_C(2071050510));
        assert_int_equal(hours_of(rig.server->heads[1]), UINT64_C(2071050510));
        assert_int_equal(hours_of(rig.server->heads[2]), UINT64_C(2071050510));
        rig_done(&rig);
        rig = rig_of(lines, 1); /* and where that does not help, it is the failure */
        assert_grv_status(grv_s3_run(NULL, rig.s3, &request, 1, &error), GRV_PERMISSION);
        assert_int_equal(scripted_requests(rig.server), 2);
        rig_done(&rig);
    }
}

int main(void)
{
    scripted_environment();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_deadline),         cmocka_unit_test(test_patience),
        cmocka_unit_test(test_slow_is_not_dead), cmocka_unit_test(test_deadline_in_the_queue),
        cmocka_unit_test(test_cancel),           cmocka_unit_test(test_cancel_many),
        cmocka_unit_test(test_retry_after),      cmocka_unit_test(test_skew),
    };
    return cmocka_run_group_tests_name("s3 waiting", tests, NULL, NULL);
}
