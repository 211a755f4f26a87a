/* SPDX-License-Identifier: Apache-2.0 */
/* What every key_value_store promises, one test a promise; races and random runs are in
 * key_value_store_random.c. */
#include "key_value_store_fixtures.h"

#include "temp.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static void keys_have_the_value_put_last(void **state)
{
    kv_case *self = *state;
    kv_put(self->kv, 0, text("a"), text("one"));
    kv_put(self->kv, 0, text("b"), text("two"));
    kv_put(self->kv, 0, text("a"), text("three"));
    kv_put(self->kv, 0, text("c"), text("gone"));
    kv_delete(self->kv, 0, text("c"));
    kv_delete(self->kv, 0, text("never there"));
    kv_case_turn(self);
    kv_assert_value(self->kv, 0, text("a"), text("three"));
    kv_assert_value(self->kv, 0, text("b"), text("two"));
    kv_assert_absent(self->kv, 0, text("c"));
    kv_assert_absent(self->kv, 0, text("ab"));
    kv_put(self->kv, 0, text("c"), text("again"));
    kv_assert_value(self->kv, 0, text("c"), text("again"));
}

static void namespaces_are_apart(void **state)
{
    kv_case *self = *state;
    grv_error error = GRV_ERROR_INIT;
    kv_put(self->kv, 0, text("k"), text("zero"));
    kv_put(self->kv, 2, text("k"), text("two"));
    kv_put(self->kv, 1, text("other"), text("x"));
    kv_delete_range(self->kv, 1, text("\x01"), grv_bytes_of(NULL, 0));
    kv_case_turn(self);
    kv_assert_value(self->kv, 0, text("k"), text("zero"));
    kv_assert_absent(self->kv, 1, text("k"));
    kv_assert_absent(self->kv, 1, text("other"));
    kv_assert_value(self->kv, 2, text("k"), text("two"));
    grv_value value = {0};
    assert_grv_status(grv_kv_get(NULL, self->kv, KV_NAMESPACES, text("k"), &value, &error),
                      GRV_INVALID_ARGUMENT);
}

static grv_status put_status(grv_kv *kv, grv_bytes key, grv_bytes value)
{
    const grv_kv_op op = {.kind = GRV_KV_PUT, .key = key, .value = value};
    const grv_kv_batch batch = {.ops = &op, .op_count = 1};
    return grv_kv_write(NULL, kv, &batch, NULL);
}

static void sizes_reach_their_limits(void **state)
{
    kv_case *self = *state;
    size_t size = GRV_KV_VALUE_MAX;
    uint8_t *big = malloc(size + 1);
    assert_non_null(big);
    uint64_t seed = 5;
    test_random_fill(&seed, big, size);
    uint8_t key[GRV_KV_KEY_MAX + 1];
    memset(key, 0xff, sizeof key);
    assert_int_equal(put_status(self->kv, grv_bytes_of(key, GRV_KV_KEY_MAX), text("long")), GRV_OK);
    assert_int_equal(put_status(self->kv, text("big"), grv_bytes_of(big, size)), GRV_OK);
    assert_int_equal(put_status(self->kv, text("empty"), grv_bytes_of(NULL, 0)), GRV_OK);
    assert_int_equal(put_status(self->kv, text("bigger"), grv_bytes_of(big, size + 1)),
                     GRV_INVALID_ARGUMENT);
    assert_int_equal(put_status(self->kv, grv_bytes_of(key, sizeof key), text("")),
                     GRV_INVALID_ARGUMENT);
    assert_int_equal(put_status(self->kv, text(""), text("no key")), GRV_INVALID_ARGUMENT);
    kv_case_turn(self);
    kv_assert_value(self->kv, 0, grv_bytes_of(key, GRV_KV_KEY_MAX), text("long"));
    kv_assert_value(self->kv, 0, text("big"), grv_bytes_of(big, size));
    kv_assert_value(self->kv, 0, text("empty"), grv_bytes_of(NULL, 0));
    kv_assert_absent(self->kv, 0, text("bigger"));
    free(big);
}

static void batches_have_a_largest_size(void **state)
{
    kv_case *self = *state;
    grv_error error = GRV_ERROR_INIT;
    size_t count = GRV_KV_BATCH_MAX;
    grv_kv_op *ops = calloc(count + 1, sizeof *ops);
    uint8_t(*keys)[4] = calloc(count + 1, sizeof *keys);
    assert_non_null(ops);
    assert_non_null(keys);
    for (size_t i = 0; i <= count; i++) {
        memcpy(keys[i], (uint8_t[4]){1, (uint8_t)(i >> 16), (uint8_t)(i >> 8), (uint8_t)i}, 4);
        ops[i] = (grv_kv_op){.kind = GRV_KV_PUT, .key = {keys[i], 4}, .value = {keys[i], 4}};
    }
    grv_kv_batch batch = {.ops = ops, .op_count = count + 1};
    assert_grv_status(grv_kv_write(NULL, self->kv, &batch, &error), GRV_INVALID_ARGUMENT);
    kv_assert_absent(self->kv, 0, grv_bytes_of(keys[0], 4));
    batch.op_count = count;
    assert_grv_ok(grv_kv_write(NULL, self->kv, &batch, &error));
    kv_case_turn(self);
    kv_assert_value(self->kv, 0, grv_bytes_of(keys[count - 1], 4),
                    grv_bytes_of(keys[count - 1], 4));
    kv_assert_absent(self->kv, 0, grv_bytes_of(keys[count], 4));
    free(keys);
    free(ops);
}

/* Keys in byte order that differ where signedness, NULs, lengths and prefixes of 0xff matter. */
static const struct {
    const char *bytes;
    size_t size;
} ordered_keys[] = {
    {"\x00", 1},     {"\x00\x00", 2},  {"\x00\xff", 2},     {"\x01", 1},         {"a", 1},
    {"a\x00", 2},    {"a\x00\x00", 3}, {"aa", 2},           {"a\xff", 2},        {"a\xff\xff", 3},
    {"b", 1},        {"\x7f", 1},      {"\x80", 1},         {"\xfe\xff", 2},     {"\xff", 1},
    {"\xff\x00", 2}, {"\xff\xff", 2},  {"\xff\xff\x01", 3}, {"\xff\xff\xff", 3},
};

static grv_bytes ordered_key(size_t i)
{
    return grv_bytes_of(ordered_keys[i].bytes, ordered_keys[i].size);
}

static bool has_prefix(grv_bytes key, grv_bytes prefix)
{
    return key.size >= prefix.size &&
           (prefix.size == 0 || memcmp(key.data, prefix.data, prefix.size) == 0);
}

/* Whether the scan shows `key`, as the port's header defines it. */
static bool scan_shows(const grv_kv_scan *scan, grv_bytes key)
{
    if (!has_prefix(key, scan->prefix)) {
        return false;
    }
    if (scan->start.size == 0) {
        return true;
    }
    int order = grv_bytes_compare(key, scan->start);
    return scan->reverse ? order <= 0 : order >= 0;
}

/* Runs a scan over the ordered keys and compares it with the definition. */
static void check_scan(grv_kv *kv, const grv_kv_scan *scan)
{
    grv_error error = GRV_ERROR_INIT;
    grv_kv_cursor *cursor = NULL;
    grv_kv_item item;
    assert_grv_ok(grv_kv_open_scan(NULL, kv, scan, &cursor, &error));
    for (size_t n = 0; n < COUNT(ordered_keys); n++) {
        size_t i = scan->reverse ? COUNT(ordered_keys) - 1 - n : n;
        if (!scan_shows(scan, ordered_key(i))) {
            continue;
        }
        assert_grv_ok(grv_kv_cursor_next(NULL, cursor, &item, &error));
        assert_int_equal(grv_bytes_compare(item.key, ordered_key(i)), 0);
        grv_bytes value = scan->keys_only ? grv_bytes_of(NULL, 0) : ordered_key(i);
        assert_int_equal(grv_bytes_compare(item.value, value), 0);
    }
    assert_grv_status(grv_kv_cursor_next(NULL, cursor, &item, &error), GRV_NOT_FOUND);
    assert_grv_status(grv_kv_cursor_next(NULL, cursor, &item, &error), GRV_NOT_FOUND);
    grv_kv_cursor_free(cursor);
}

/* Puts the ordered keys out of order, each its own value, into namespace 1. */
static void put_ordered_keys(grv_kv *kv)
{
    for (size_t n = 0; n < COUNT(ordered_keys); n++) {
        size_t i = n * 7 % COUNT(ordered_keys);
        kv_put(kv, 1, ordered_key(i), ordered_key(i));
    }
}

static void scans_go_in_byte_order_by_prefix_and_start(void **state)
{
    kv_case *self = *state;
    put_ordered_keys(self->kv);
    kv_put(self->kv, 0, text("aaa"), text("another namespace's"));
    kv_put(self->kv, 2, text("aaa"), text("another namespace's"));
    kv_case_turn(self);
    /* The last number is none: no prefix, no start. Starts that are no keys are tried as well. */
    for (size_t p = 0; p <= COUNT(ordered_keys); p++) {
        for (size_t s = 0; s <= COUNT(ordered_keys); s++) {
            for (unsigned flags = 0; flags < 8; flags++) {
                uint8_t start[8] = {0};
                grv_kv_scan scan = {.ns = 1, .reverse = flags & 1, .keys_only = flags & 2};
                if (p < COUNT(ordered_keys)) {
                    scan.prefix = ordered_key(p);
                }
                if (s < COUNT(ordered_keys)) {
                    scan.start = ordered_key(s);
                    memcpy(start, scan.start.data, scan.start.size);
                    start[scan.start.size] = 0x40;
                    if (flags & 4) {
                        scan.start = grv_bytes_of(start, scan.start.size + 1);
                    }
                }
                check_scan(self->kv, &scan);
            }
        }
    }
}

static void scans_of_nothing_end_at_once(void **state)
{
    kv_case *self = *state;
    grv_error error = GRV_ERROR_INIT;
    for (int reverse = 0; reverse < 2; reverse++) {
        grv_kv_scan scan = {.ns = 2, .reverse = reverse};
        grv_kv_cursor *cursor = NULL;
        grv_kv_item item = {.key = {NULL, 7}};
        assert_grv_ok(grv_kv_open_scan(NULL, self->kv, &scan, &cursor, &error));
        assert_grv_status(grv_kv_cursor_next(NULL, cursor, &item, &error), GRV_NOT_FOUND);
        assert_int_equal(item.key.size, 7);
        grv_kv_cursor_free(cursor);
    }
    grv_kv_cursor_free(NULL);
}

static void a_cursor_sees_the_moment_it_was_opened(void **state)
{
    kv_case *self = *state;
    grv_error error = GRV_ERROR_INIT;
    put_ordered_keys(self->kv);
    kv_case_turn(self);
    for (int reverse = 0; reverse < 2; reverse++) {
        grv_kv_scan scan = {.ns = 1, .reverse = reverse};
        grv_kv_cursor *cursor = NULL;
        grv_kv_item item;
        assert_grv_ok(grv_kv_open_scan(NULL, self->kv, &scan, &cursor, &error));
        assert_grv_ok(grv_kv_cursor_next(NULL, cursor, &item, &error));
        kv_put(self->kv, 1, text("aaaa"), text("new"));
        kv_put(self->kv, 1, text("b"), text("changed"));
        kv_delete(self->kv, 1, text("aa"));
        kv_delete_range(self->kv, 1, text("\x01"), text("a\xff"));
        size_t seen = 1;
        while (grv_kv_cursor_next(NULL, cursor, &item, &error) == GRV_OK) {
            size_t i = reverse ? COUNT(ordered_keys) - 1 - seen : seen;
            assert_int_equal(grv_bytes_compare(item.key, ordered_key(i)), 0);
            assert_int_equal(grv_bytes_compare(item.value, ordered_key(i)), 0);
            seen++;
        }
        assert_int_equal(seen, COUNT(ordered_keys));
        grv_kv_cursor_free(cursor);
        kv_assert_absent(self->kv, 1, text("aa"));
        kv_assert_value(self->kv, 1, text("b"), text("changed"));
        kv_delete(self->kv, 1, text("aaaa"));
        put_ordered_keys(self->kv);
    }
}

/* Keys of a scan that does not fit a page, by number of items or by bytes of values. */
#define LONG_ITEMS (3 * GRV_KV_PAGE_ITEMS + 10)
#define LONG_BYTES (GRV_KV_PAGE_BYTES / 3)

static uint8_t long_value[LONG_BYTES];

/* Every third key is gone when the scan is past its first item, every third is new. */
static void change_long(grv_kv *kv, size_t count, bool after)
{
    for (size_t i = 0; i < count; i++) {
        const uint8_t key[3] = {'k', (uint8_t)(i >> 8), (uint8_t)i};
        if (i % 3 == 1 && after) {
            kv_delete(kv, 1, grv_bytes_of(key, 3));
        } else if (i % 3 == 2 ? after : !after) {
            kv_put(kv, 1, grv_bytes_of(key, 3),
                   grv_bytes_of(long_value, count < LONG_ITEMS ? LONG_BYTES : i % 50));
        }
    }
}

/* Runs a scan over all keys that are there before and after; returns how many others it shows. */
static size_t check_long(grv_kv *kv, size_t count, bool reverse)
{
    grv_error error = GRV_ERROR_INIT;
    const grv_kv_scan scan = {.ns = 1, .prefix = text("k"), .reverse = reverse};
    grv_kv_cursor *cursor = NULL;
    grv_kv_item item;
    size_t others = 0;
    size_t stay = 0;
    size_t last = reverse ? count : 0;
    assert_grv_ok(grv_kv_open_scan(NULL, kv, &scan, &cursor, &error));
    for (size_t seen = 0; grv_kv_cursor_next(NULL, cursor, &item, &error) == GRV_OK; seen++) {
        assert_int_equal(item.key.size, 3);
        size_t i = (size_t)item.key.data[1] << 8 | item.key.data[2];
        assert_true(seen == 0 || (reverse ? i < last : i > last));
        assert_int_equal(item.value.size, count < LONG_ITEMS ? LONG_BYTES : i % 50);
        last = i;
        stay += i % 3 == 0;
        others += i % 3 != 0;
        /* New ones within the first page are never shown, those that went always. */
        assert_true(seen >= (count < LONG_ITEMS ? 3 : GRV_KV_PAGE_ITEMS) || i % 3 < 2);
        if (seen == 0) {
            change_long(kv, count, true);
        }
    }
    assert_int_equal(stay, (count + 2) / 3);
    grv_kv_cursor_free(cursor);
    return others;
}

static void long_scans_show_what_stays_exactly_once(void **state)
{
    kv_case *self = *state;
    for (int way = 0; way < 4; way++) {
        size_t count = way < 2 ? LONG_ITEMS : 20;
        kv_delete_range(self->kv, 1, text("k"), text("l"));
        change_long(self->kv, count, false);
        kv_case_turn(self);
        size_t others = check_long(self->kv, count, way % 2);
        if (self->kv->whole_scans) {
            assert_int_equal(others, (count + 1) / 3);
        }
    }
}

static void later_operations_see_earlier_ones(void **state)
{
    kv_case *self = *state;
    grv_error error = GRV_ERROR_INIT;
    kv_put(self->kv, 0, text("b"), text("old"));
    kv_put(self->kv, 0, text("q"), text("old"));
    const grv_kv_op ops[] = {
        {.kind = GRV_KV_PUT, .key = text("a"), .value = text("1")},
        {.kind = GRV_KV_PUT, .key = text("a"), .value = text("2")},
        {.kind = GRV_KV_PUT, .key = text("c"), .value = text("3")},
        {.kind = GRV_KV_DELETE_RANGE, .key = text("b"), .end = text("d")},
        {.kind = GRV_KV_PUT, .key = text("ca"), .value = text("4")},
        {.kind = GRV_KV_PUT, .key = text("e"), .value = text("5")},
        {.kind = GRV_KV_DELETE, .key = text("e")},
        {.kind = GRV_KV_DELETE, .key = text("q")},
        {.kind = GRV_KV_PUT, .key = text("q"), .value = text("6")},
        {.kind = GRV_KV_PUT, .ns = 2, .key = text("a"), .value = text("7")},
    };
    const grv_kv_batch batch = {.ops = ops, .op_count = COUNT(ops)};
    assert_grv_ok(grv_kv_write(NULL, self->kv, &batch, &error));
    kv_case_turn(self);
    kv_assert_value(self->kv, 0, text("a"), text("2"));
    kv_assert_absent(self->kv, 0, text("b"));
    kv_assert_absent(self->kv, 0, text("c"));
    kv_assert_value(self->kv, 0, text("ca"), text("4"));
    kv_assert_absent(self->kv, 0, text("e"));
    kv_assert_value(self->kv, 0, text("q"), text("6"));
    kv_assert_value(self->kv, 2, text("a"), text("7"));
}

static void range_deletes_take_start_and_leave_end(void **state)
{
    kv_case *self = *state;
    put_ordered_keys(self->kv);
    kv_delete_range(self->kv, 1, text("z"), text("b"));
    kv_delete_range(self->kv, 1, text("a"), text("a"));
    kv_assert_value(self->kv, 1, text("a"), text("a"));
    kv_delete_range(self->kv, 1, text("aa"), text("b"));
    kv_delete_range(self->kv, 1, text("\xff\xff"), grv_bytes_of(NULL, 0));
    kv_case_turn(self);
    kv_assert_value(self->kv, 1, grv_bytes_of("a\x00\x00", 3), grv_bytes_of("a\x00\x00", 3));
    kv_assert_absent(self->kv, 1, text("aa"));
    kv_assert_absent(self->kv, 1, text("a\xff\xff"));
    kv_assert_value(self->kv, 1, text("b"), text("b"));
    kv_assert_value(self->kv, 1, grv_bytes_of("\xff\x00", 2), grv_bytes_of("\xff\x00", 2));
    kv_assert_absent(self->kv, 1, text("\xff\xff"));
    kv_assert_absent(self->kv, 1, text("\xff\xff\xff"));
    /* The greatest key there can be lies within "to the last". */
    uint8_t greatest[GRV_KV_KEY_MAX];
    memset(greatest, 0xff, sizeof greatest);
    kv_put(self->kv, 1, grv_bytes_of(greatest, sizeof greatest), text("x"));
    kv_delete_range(self->kv, 1, grv_bytes_of("\x00", 1), grv_bytes_of(NULL, 0));
    kv_case_turn(self);
    kv_assert_absent(self->kv, 1, grv_bytes_of(greatest, sizeof greatest));
    kv_assert_absent(self->kv, 1, grv_bytes_of("\x00", 1));
    grv_kv_scan scan = {.ns = 1};
    grv_kv_cursor *cursor = NULL;
    grv_kv_item item;
    grv_error error = GRV_ERROR_INIT;
    assert_grv_ok(grv_kv_open_scan(NULL, self->kv, &scan, &cursor, &error));
    assert_grv_status(grv_kv_cursor_next(NULL, cursor, &item, &error), GRV_NOT_FOUND);
    grv_kv_cursor_free(cursor);
}

/* Writes key "out" = `value` under one guard on "k". */
static grv_status write_guarded(grv_kv *kv, grv_kv_guard_kind kind, const char *key,
                                const char *value, const char *out)
{
    const grv_kv_op ops[] = {
        {.kind = GRV_KV_PUT, .ns = 1, .key = text("out"), .value = text(out)},
        {.kind = GRV_KV_PUT, .ns = 2, .key = text("out"), .value = text(out)},
    };
    const grv_kv_guard guards[] = {
        {.kind = GRV_KV_PRESENT, .key = text("anchor")},
        {.kind = kind, .key = text(key), .value = text(value)},
    };
    const grv_kv_batch batch = {
        .ops = ops, .op_count = COUNT(ops), .guards = guards, .guard_count = COUNT(guards)};
    return grv_kv_write(NULL, kv, &batch, NULL);
}

static void guards_decide_over_the_whole_batch(void **state)
{
    kv_case *self = *state;
    kv_put(self->kv, 0, text("anchor"), text(""));
    kv_put(self->kv, 0, text("k"), text("v"));
    kv_put(self->kv, 0, text("empty"), text(""));
    kv_put(self->kv, 0, text("deleted"), text("v"));
    kv_delete(self->kv, 0, text("deleted"));
    kv_case_turn(self);
    static const struct {
        grv_kv_guard_kind kind;
        const char *key;
        const char *value;
        bool holds;
    } rows[] = {
        {GRV_KV_ABSENT, "none", "", true},    {GRV_KV_ABSENT, "deleted", "", true},
        {GRV_KV_ABSENT, "k", "", false},      {GRV_KV_ABSENT, "empty", "", false},
        {GRV_KV_PRESENT, "k", "", true},      {GRV_KV_PRESENT, "empty", "", true},
        {GRV_KV_PRESENT, "none", "", false},  {GRV_KV_PRESENT, "deleted", "", false},
        {GRV_KV_EQUALS, "k", "v", true},      {GRV_KV_EQUALS, "empty", "", true},
        {GRV_KV_EQUALS, "k", "", false},      {GRV_KV_EQUALS, "k", "w", false},
        {GRV_KV_EQUALS, "k", "vv", false},    {GRV_KV_EQUALS, "none", "", false},
        {GRV_KV_EQUALS, "empty", "e", false}, {GRV_KV_EQUALS, "deleted", "v", false},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        kv_delete(self->kv, 1, text("out"));
        kv_delete(self->kv, 2, text("out"));
        grv_status status =
            write_guarded(self->kv, rows[i].kind, rows[i].key, rows[i].value, "written");
        assert_int_equal(status, rows[i].holds ? GRV_OK : GRV_CONFLICT);
        for (unsigned ns = 1; ns <= 2; ns++) {
            if (rows[i].holds) {
                kv_assert_value(self->kv, ns, text("out"), text("written"));
            } else {
                kv_assert_absent(self->kv, ns, text("out"));
            }
        }
    }
}

static void guards_see_what_was_before_the_batch(void **state)
{
    kv_case *self = *state;
    grv_error error = GRV_ERROR_INIT;
    const grv_kv_op op = {.kind = GRV_KV_PUT, .key = text("k"), .value = text("v")};
    const grv_kv_guard absent = {.kind = GRV_KV_ABSENT, .key = text("k")};
    const grv_kv_batch insert = {.ops = &op, .op_count = 1, .guards = &absent, .guard_count = 1};
    assert_grv_ok(grv_kv_write(NULL, self->kv, &insert, &error));
    kv_case_turn(self);
    assert_grv_status(grv_kv_write(NULL, self->kv, &insert, &error), GRV_CONFLICT);
    assert_int_equal(error.status, GRV_CONFLICT);
    /* Guards alone are a question; nothing at all is a batch too. */
    const grv_kv_batch question = {.guards = &absent, .guard_count = 1};
    assert_grv_status(grv_kv_write(NULL, self->kv, &question, &error), GRV_CONFLICT);
    const grv_kv_guard present = {.kind = GRV_KV_PRESENT, .key = text("k")};
    const grv_kv_batch answer = {.guards = &present, .guard_count = 1};
    assert_grv_ok(grv_kv_write(NULL, self->kv, &answer, &error));
    const grv_kv_batch nothing = {.durability = GRV_DURABLE};
    assert_grv_ok(grv_kv_write(NULL, self->kv, &nothing, &error));
    /* A guarded range delete is not to be had. */
    const grv_kv_op range = {.kind = GRV_KV_DELETE_RANGE, .key = text("a"), .end = text("z")};
    const grv_kv_batch refused = {
        .ops = &range, .op_count = 1, .guards = &present, .guard_count = 1};
    assert_grv_status(grv_kv_write(NULL, self->kv, &refused, &error), GRV_INVALID_ARGUMENT);
    kv_assert_value(self->kv, 0, text("k"), text("v"));
}

/* Three in four keys are put: i has value i times, so that lengths differ. */
#define MANY 400
static void many_key(size_t i, uint8_t ret_key[3])
{
    memcpy(ret_key, (uint8_t[3]){(uint8_t)(i * 151), (uint8_t)(i >> 8), (uint8_t)i}, 3);
}

static void many_keys_are_asked_at_once(void **state)
{
    kv_case *self = *state;
    grv_error error = GRV_ERROR_INIT;
    static uint8_t filler[MANY];
    static uint8_t bytes[2 * MANY][3];
    static grv_bytes keys[2 * MANY];
    static grv_value values[2 * MANY];
    static grv_status statuses[2 * MANY];
    static bool missing[2 * MANY];
    for (size_t i = 0; i < 2 * MANY; i++) { /* each key twice, in no order */
        many_key(i % MANY, bytes[i]);
        keys[i] = grv_bytes_of(bytes[i], 3);
        if (i < MANY && i % 4) {
            kv_put(self->kv, 2, keys[i], grv_bytes_of(filler, i));
        }
    }
    kv_case_turn(self);
    assert_grv_ok(grv_kv_multi_get(NULL, self->kv, 2, keys, 2 * MANY, values, statuses, &error));
    assert_grv_ok(grv_kv_missing(NULL, self->kv, 2, keys, 2 * MANY, missing, &error));
    for (size_t i = 0; i < 2 * MANY; i++) {
        bool there = i % MANY % 4;
        assert_int_equal(statuses[i], there ? GRV_OK : GRV_NOT_FOUND);
        assert_int_equal(missing[i], !there);
        assert_int_equal(values[i].bytes.size, there ? i % MANY : 0);
        grv_value_done(&values[i]);
    }
    assert_grv_ok(grv_kv_multi_get(NULL, self->kv, 2, NULL, 0, NULL, NULL, &error));
    assert_grv_ok(grv_kv_missing(NULL, self->kv, 2, NULL, 0, NULL, &error));
    keys[3].size = 0;
    assert_grv_status(grv_kv_missing(NULL, self->kv, 2, keys, 9, missing, &error),
                      GRV_INVALID_ARGUMENT);
    assert_grv_status(grv_kv_multi_get(NULL, self->kv, 2, keys, 9, values, statuses, &error),
                      GRV_INVALID_ARGUMENT);
}

static void a_lent_value_outlives_its_key(void **state)
{
    kv_case *self = *state;
    grv_error error = GRV_ERROR_INIT;
    static uint8_t large[100000];
    memset(large, 'x', sizeof large);
    kv_put(self->kv, 2, text("large"), grv_bytes_of(large, sizeof large));
    kv_put(self->kv, 0, text("small"), text("small"));
    kv_case_turn(self);
    grv_value values[2] = {0};
    assert_grv_ok(grv_kv_get(NULL, self->kv, 2, text("large"), &values[0], &error));
    assert_grv_ok(grv_kv_get(NULL, self->kv, 0, text("small"), &values[1], &error));
    kv_delete(self->kv, 2, text("large"));
    kv_put(self->kv, 0, text("small"), text("other"));
    assert_grv_ok(grv_kv_flush(NULL, self->kv, &error));
    assert_int_equal(grv_bytes_compare(values[0].bytes, grv_bytes_of(large, sizeof large)), 0);
    assert_int_equal(grv_bytes_compare(values[1].bytes, text("small")), 0);
    grv_value_done(&values[0]);
    grv_value_done(&values[1]);
    assert_null(values[0].bytes.data);
}

static void both_kinds_of_write_are_there_after_it(void **state)
{
    kv_case *self = *state;
    grv_error error = GRV_ERROR_INIT;
    for (int round = 0; round < 4; round++) {
        const char *key = (const char *[]){"o1", "d1", "o2", "o3"}[round];
        const grv_kv_op op = {.kind = GRV_KV_PUT, .key = text(key), .value = text(key)};
        const grv_kv_batch batch = {
            .ops = &op, .op_count = 1, .durability = round == 1 ? GRV_DURABLE : GRV_ORDERED};
        assert_grv_ok(grv_kv_write(NULL, self->kv, &batch, &error));
        kv_assert_value(self->kv, 0, text(key), text(key));
        if (round == 2) {
            assert_grv_ok(grv_kv_flush(NULL, self->kv, &error));
        }
    }
    kv_case_turn(self);
    kv_assert_value(self->kv, 0, text("o1"), text("o1"));
    kv_assert_value(self->kv, 0, text("d1"), text("d1"));
    kv_assert_value(self->kv, 0, text("o2"), text("o2"));
    kv_assert_value(self->kv, 0, text("o3"), text("o3"));
}

/* Asks every slot with a call that was given up; each must say so and change nothing. */
static void refuse_all(grv_kv *kv, const grv_call *call, grv_status want)
{
    grv_error error = GRV_ERROR_INIT;
    grv_value value = {0};
    grv_status status_of_key = GRV_INTERNAL;
    bool missing = false;
    const grv_bytes key = text("k");
    const grv_kv_op op = {.kind = GRV_KV_PUT, .key = key, .value = text("changed")};
    const grv_kv_guard guard = {.kind = GRV_KV_PRESENT, .key = key};
    const grv_kv_batch plain = {.ops = &op, .op_count = 1};
    const grv_kv_batch guarded = {.ops = &op, .op_count = 1, .guards = &guard, .guard_count = 1};
    const grv_kv_scan scan = {.ns = 0};
    grv_kv_cursor *cursor = NULL;
    grv_kv_item item;
    assert_grv_status(grv_kv_get(call, kv, 0, key, &value, &error), want);
    assert_grv_status(grv_kv_multi_get(call, kv, 0, &key, 1, &value, &status_of_key, &error), want);
    assert_grv_status(grv_kv_missing(call, kv, 0, &key, 1, &missing, &error), want);
    assert_grv_status(grv_kv_write(call, kv, &plain, &error), want);
    assert_grv_status(grv_kv_write(call, kv, &guarded, &error), want);
    assert_grv_status(grv_kv_open_scan(call, kv, &scan, &cursor, &error), want);
    assert_null(cursor);
    assert_grv_status(grv_kv_flush(call, kv, &error), want);
    assert_null(value.release);
    assert_int_equal(status_of_key, GRV_INTERNAL);
    assert_grv_ok(grv_kv_open_scan(NULL, kv, &scan, &cursor, &error));
    assert_grv_status(grv_kv_cursor_next(call, cursor, &item, &error), want);
    assert_grv_ok(grv_kv_cursor_next(NULL, cursor, &item, &error));
    assert_int_equal(grv_bytes_compare(item.value, text("v")), 0);
    grv_kv_cursor_free(cursor);
}

static void calls_given_up_do_nothing(void **state)
{
    kv_case *self = *state;
    kv_put(self->kv, 0, text("k"), text("v"));
    kv_case_turn(self);
    grv_cancel cancel = {0};
    grv_cancel_raise(&cancel);
    const grv_call cancelled = {.cancel = &cancel};
    const grv_call late = {.deadline_ns = 1};
    refuse_all(self->kv, &cancelled, GRV_CANCELLED);
    refuse_all(self->kv, &late, GRV_TIMEOUT);
    kv_assert_value(self->kv, 0, text("k"), text("v"));
}

int main(void)
{
    static const kv_test tests[] = {
        {"keys have the value put last", keys_have_the_value_put_last},
        {"namespaces are apart", namespaces_are_apart},
        {"sizes reach their limits", sizes_reach_their_limits},
        {"batches have a largest size", batches_have_a_largest_size},
        {"scans go in byte order by prefix and start", scans_go_in_byte_order_by_prefix_and_start},
        {"scans of nothing end at once", scans_of_nothing_end_at_once},
        {"a cursor sees the moment it was opened", a_cursor_sees_the_moment_it_was_opened},
        {"long scans show what stays exactly once", long_scans_show_what_stays_exactly_once},
        {"later operations see earlier ones", later_operations_see_earlier_ones},
        {"range deletes take start and leave end", range_deletes_take_start_and_leave_end},
        {"guards decide over the whole batch", guards_decide_over_the_whole_batch},
        {"guards see what was before the batch", guards_see_what_was_before_the_batch},
        {"many keys are asked at once", many_keys_are_asked_at_once},
        {"a lent value outlives its key", a_lent_value_outlives_its_key},
        {"both kinds of write are there after it", both_kinds_of_write_are_there_after_it},
        {"calls given up do nothing", calls_given_up_do_nothing},
    };
    return kv_suite_run("key_value_store", tests, COUNT(tests));
}
