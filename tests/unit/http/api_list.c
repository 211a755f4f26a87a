/* SPDX-License-Identifier: Apache-2.0 */
/* Pages of a list in which records cannot be read, over a real socket and a store that is made up:
 * every blob and every such record is shown once, whatever the pages' size. */
#include "http/api.h"

#include "front.h"
#include "test.h"

#include <stdio.h>
#include <stdlib.h>

#define BLOBS_MAX 4096u

/* The store: blobs 0 to `count`, of which some are bad; and failures. */
static bool bad[BLOBS_MAX];
static unsigned count;
static unsigned ends_at = UINT32_MAX; /* the list breaks off there, for good */

typedef struct made_cursor {
    grv_blob_cursor base;
    unsigned at; /* order key: the next; order newest: one above it */
    bool is_newest;
    bool is_over;
} made_cursor;

static grv_blob_info made_info(unsigned i)
{
    grv_blob_info info = {
        .key = {.digest = {.hash = GRV_HASH_BLAKE3}, .size = 1},
        .block_count = 1,
        .block_hash = GRV_HASH_BLAKE3,
        .created_ns = 1,
        .sequence = i + 1,
    };
    info.key.digest.bytes[0] = (uint8_t)(i >> 8);
    info.key.digest.bytes[1] = (uint8_t)i;
    return info;
}

static grv_status made_next(const grv_call *call, grv_blob_cursor *base, grv_blob_info infos[],
                            size_t capacity, size_t *ret_count, grv_error *error)
{
    made_cursor *cursor = (made_cursor *)(void *)base;
    (void)call;
    size_t got = 0;
    while (got < capacity && (cursor->is_newest ? cursor->at > 0 : cursor->at < count)) {
        unsigned i = cursor->is_newest ? cursor->at - 1 : cursor->at;
        if (cursor->is_over) {
            return grv_error_set(error, GRV_INVALID_ARGUMENT, "made", "this list is over");
        }
        if ((bad[i] || i == ends_at) && got > 0) {
            break;
        }
        cursor->is_over = i == ends_at;
        cursor->at = cursor->is_newest ? cursor->at - 1 : cursor->at + 1;
        if (bad[i] || i == ends_at) {
            return grv_error_set(error, GRV_CORRUPT, "made", "the record in /secret/path is bad");
        }
        infos[got++] = made_info(i);
    }
    *ret_count = got;
    return GRV_OK;
}

static void made_free(grv_blob_cursor *base)
{
    free(base);
}

static grv_status made_open(const grv_call *call, grv_blob_store *store, const grv_blob_list *list,
                            grv_blob_cursor **ret_cursor, grv_error *error)
{
    static const grv_blob_cursor_ops ops = {"made", made_next, made_free};
    (void)call;
    (void)store;
    (void)error;
    made_cursor *cursor = calloc(1, sizeof *cursor);
    assert_non_null(cursor);
    cursor->base.ops = &ops;
    cursor->is_newest = list->order == GRV_ORDER_NEWEST;
    cursor->at = cursor->is_newest ? count : 0;
    if (cursor->is_newest && list->below_sequence) {
        cursor->at = (unsigned)list->below_sequence - 1;
    }
    if (list->start) {
        const uint8_t *bytes = list->start->digest.bytes;
        cursor->at = (unsigned)bytes[0] << 8 | bytes[1];
        cursor->at += list->after_start;
    }
    *ret_cursor = &cursor->base;
    return GRV_OK;
}

static const grv_blob_store_ops made_ops = {.name = "made", .open_list = made_open};
static grv_blob_store made_store = {&made_ops, GRV_BLOB_CAP_NEWEST};
static http_server *server;

static int start(void **state)
{
    (void)state;
    grv_error error = GRV_ERROR_INIT;
    static const http_route *const fronts[] = {http_front_api, NULL};
    const http_server_config config = {
        .fronts = fronts, .listen = "127.0.0.1:0", .event_threads = 1, .streams = 2};
    assert_grv_ok(http_server_start(&config, &server, &error));
    server->blobs = &made_store;
    memset(bad, 0, sizeof bad);
    ends_at = UINT32_MAX;
    return 0;
}

static int stop(void **state)
{
    (void)state;
    assert_int_equal(http_server_stop(server, NULL), 0);
    return 0;
}

/* Asks for a page; NULL where it is no 200. */
static json_t *page_ask(const char *query, const char *cursor, unsigned *ret_status)
{
    char request[512];
    snprintf(request, sizeof request, "GET /api/blobs?%s%s%s HTTP/1.1\r\nHost: x\r\n\r\n", query,
             cursor ? "&cursor=" : "", cursor ? cursor : "");
    front_answer answer = front_ask(server, request);
    *ret_status = answer.status;
    assert_true(answer.whole);
    json_t *page = answer.status == 200
                       ? json_loadb((const char *)answer.body, answer.body_size, 0, NULL)
                       : NULL;
    front_done(&answer);
    return page;
}

/* Reads the whole list in pages of `limit`, and checks it. */
static void list_check(const char *order, unsigned limit)
{
    bool seen[BLOBS_MAX] = {false};
    unsigned good_seen = 0;
    unsigned bad_seen = 0;
    unsigned bad_wanted = 0;
    char query[64];
    char *cursor = NULL;
    snprintf(query, sizeof query, "order=%s&limit=%u", order, limit);
    do {
        unsigned status = 0;
        json_t *page = page_ask(query, cursor, &status);
        assert_int_equal(status, 200);
        unsigned on_page = 0;
        size_t index;
        const json_t *entry;
        json_array_foreach(json_object_get(page, "blobs"), index, entry)
        {
            const json_t *failure = json_object_get(entry, "error");
            if (failure) {
                const char *detail = json_string_value(json_object_get(failure, "detail"));
                assert_string_equal(json_string_value(json_object_get(failure, "type")), "corrupt");
                assert_null(strstr(detail, "secret"));
                bad_seen++;
                continue;
            }
            json_int_t i = json_integer_value(json_object_get(entry, "sequence")) - 1;
            assert_in_range(i, 0, count - 1);
            assert_false(bad[i] || seen[i]);
            seen[i] = true;
            on_page++;
        }
        good_seen += on_page;
        assert_true(on_page <= limit);
        free(cursor);
        const char *next = json_string_value(json_object_get(page, "cursor"));
        assert_true(!next || on_page == limit);
        cursor = next ? strdup(next) : NULL;
        json_decref(page);
    } while (cursor);
    for (unsigned i = 0; i < count; i++) {
        bad_wanted += bad[i];
    }
    assert_int_equal(good_seen, count - bad_wanted);
    assert_int_equal(bad_seen, bad_wanted);
}

static void every_record_is_shown_once(void **state)
{
    (void)state;
    static const unsigned patterns[][8] = {
        /* how many blobs, then the bad ones, ended by 99 */
        {0, 99},
        {10, 99},
        {1, 0, 99},
        {10, 0, 9, 99},
        {10, 4, 5, 6, 99},
        {5, 0, 1, 2, 3, 4, 99},
        {10, 1, 3, 5, 7, 9, 99},
        {10, 0, 2, 4, 6, 8, 99},
    };
    static const unsigned limits[] = {1, 2, 3, 5, 9, 10, 11, 1000};
    for (size_t p = 0; p < sizeof patterns / sizeof patterns[0]; p++) {
        memset(bad, 0, sizeof bad);
        count = patterns[p][0];
        for (const unsigned *i = patterns[p] + 1; *i != 99; i++) {
            bad[*i] = true;
        }
        for (size_t i = 0; i < sizeof limits / sizeof limits[0]; i++) {
            list_check("key", limits[i]);
            list_check("newest", limits[i]);
        }
    }
    count = 3000;
    for (unsigned i = 0; i < count; i++) {
        bad[i] = i % 3 == 0;
    }
    list_check("key", 1000);
    list_check("newest", 999);
}

static void a_thousand_bad_records_are_shown_and_more_are_told(void **state)
{
    (void)state;
    unsigned status = 0;
    count = 1010;
    for (unsigned i = 5; i < 1005; i++) {
        bad[i] = true;
    }
    list_check("key", 10);
    bad[1005] = true;
    assert_null(page_ask("limit=10", NULL, &status));
    assert_int_equal(status, 500);
}

static void a_list_that_breaks_off_is_no_end(void **state)
{
    (void)state;
    unsigned status = 0;
    count = 10;
    ends_at = 6;
    assert_null(page_ask("limit=10", NULL, &status));
    assert_int_equal(status, 500);
    json_t *page = page_ask("limit=6", NULL, &status);
    assert_int_equal(status, 200);
    assert_true(json_is_string(json_object_get(page, "cursor")));
    json_decref(page);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(every_record_is_shown_once, start, stop),
        cmocka_unit_test_setup_teardown(a_thousand_bad_records_are_shown_and_more_are_told, start,
                                        stop),
        cmocka_unit_test_setup_teardown(a_list_that_breaks_off_is_no_end, start, stop),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
