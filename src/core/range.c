/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Range sets: a sorted array of disjoint ranges with a gap of at least one byte between any two.
 * Every change is prepared in full before the first byte of a set is touched, so a failure leaves
 * all sets as they were.
 */
#include <assert.h>
#include <graviton/range.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

void grv_range_set_init(grv_range_set *set)
{
    *set = (grv_range_set){0};
}

void grv_range_set_done(grv_range_set *set)
{
    free(set->ranges);
    *set = (grv_range_set){0};
}

static grv_status no_memory(size_t count, grv_error *error)
{
    return grv_error_set(error, GRV_LIMIT_EXCEEDED, "range", "no memory for %zu ranges", count);
}

static grv_status too_many(grv_error *error)
{
    return grv_error_set(error, GRV_LIMIT_EXCEEDED, "range", "more than %u ranges in a set",
                         GRV_RANGE_SET_MAX);
}

static grv_status check_order(grv_range range, grv_error *error)
{
    if (range.first > range.end) {
        return grv_error_set(error, GRV_INVALID_ARGUMENT, "range",
                             "a range from %" PRIu64 " to %" PRIu64, range.first, range.end);
    }
    return GRV_OK;
}

/* Index of the first range that ends at or after `offset`: that touches or follows it. */
static size_t find_end(const grv_range_set *set, uint64_t offset)
{
    size_t low = 0;
    size_t high = set->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (set->ranges[middle].end < offset) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

/* Index of the first range that begins after `offset`. */
static size_t find_first(const grv_range_set *set, uint64_t offset)
{
    size_t low = 0;
    size_t high = set->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (set->ranges[middle].first <= offset) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

static grv_status set_reserve(grv_range_set *set, size_t count, grv_error *error)
{
    if (count <= set->capacity) {
        return GRV_OK;
    }
    size_t capacity = set->capacity ? set->capacity : 4;
    while (capacity < count) {
        capacity *= 2;
    }
    grv_range *ranges = realloc(set->ranges, capacity * sizeof *ranges);
    if (!ranges) {
        return no_memory(capacity, error);
    }
    set->ranges = ranges;
    set->capacity = capacity;
    return GRV_OK;
}

/* A malloc'ed set of the parts of `within` (not empty) that `set` lacks. */
static grv_status list_gaps(const grv_range_set *set, grv_range within, grv_range_set *ret_gaps,
                            grv_error *error)
{
    size_t from = find_end(set, within.first);
    size_t to = find_first(set, within.end);
    assert(from <= to); /* what ends before `within` also begins before its end */
    size_t capacity = to - from + 1;
    grv_range_set gaps = {malloc(capacity * sizeof(grv_range)), 0, capacity};
    if (!gaps.ranges) {
        return no_memory(capacity, error);
    }
    uint64_t at = within.first;
    for (size_t i = from; i < to; i++) {
        if (set->ranges[i].first > at) {
            gaps.ranges[gaps.count++] = (grv_range){at, set->ranges[i].first};
        }
        at = set->ranges[i].end > at ? set->ranges[i].end : at;
    }
    if (at < within.end) {
        gaps.ranges[gaps.count++] = (grv_range){at, within.end};
    }
    *ret_gaps = gaps;
    return GRV_OK;
}

/* A malloc'ed union of two sets. */
static grv_status list_union(const grv_range_set *a, const grv_range_set *b,
                             grv_range_set *ret_union, grv_error *error)
{
    size_t capacity = a->count + b->count + 1;
    grv_range_set joined = {malloc(capacity * sizeof(grv_range)), 0, capacity};
    if (!joined.ranges) {
        return no_memory(capacity, error);
    }
    size_t i = 0;
    size_t k = 0;
    while (i < a->count || k < b->count) {
        bool from_a = k == b->count || (i < a->count && a->ranges[i].first <= b->ranges[k].first);
        grv_range next = from_a ? a->ranges[i++] : b->ranges[k++];
        grv_range *last = joined.count ? &joined.ranges[joined.count - 1] : NULL;
        if (last && next.first <= last->end) {
            last->end = next.end > last->end ? next.end : last->end;
        } else {
            joined.ranges[joined.count++] = next;
        }
    }
    if (joined.count > GRV_RANGE_SET_MAX) {
        free(joined.ranges);
        return too_many(error);
    }
    *ret_union = joined;
    return GRV_OK;
}

/* The union of `target` and the parts of `within` that `set` lacks. */
static grv_status gaps_union(const grv_range_set *set, grv_range within,
                             const grv_range_set *target, grv_range_set *ret_union,
                             grv_error *error)
{
    grv_range_set gaps;
    grv_status status = list_gaps(set, within, &gaps, error);
    if (status) {
        return status;
    }
    status = list_union(target, &gaps, ret_union, error);
    free(gaps.ranges);
    return status;
}

static void set_replace(grv_range_set *set, grv_range_set with)
{
    free(set->ranges);
    *set = with;
}

grv_status grv_range_set_merge(grv_range_set *set, grv_range range, grv_range_set *ret_new,
                               grv_error *error)
{
    assert(ret_new != set);
    grv_status status = check_order(range, error);
    if (status || range.first == range.end) {
        return status;
    }
    size_t from = find_end(set, range.first);
    size_t to = find_first(set, range.end); /* [from, to) touch or overlap the new range */
    size_t count = set->count - (to - from) + 1;
    if (count > GRV_RANGE_SET_MAX) {
        return too_many(error);
    }
    status = set_reserve(set, count, error);
    if (status) {
        return status;
    }
    if (ret_new) {
        grv_range_set joined;
        status = gaps_union(set, range, ret_new, &joined, error);
        if (status) {
            return status;
        }
        set_replace(ret_new, joined);
    }
    if (to > from) {
        grv_range first = set->ranges[from];
        grv_range last = set->ranges[to - 1];
        range.first = first.first < range.first ? first.first : range.first;
        range.end = last.end > range.end ? last.end : range.end;
    }
    memmove(set->ranges + from + 1, set->ranges + to, (set->count - to) * sizeof *set->ranges);
    set->ranges[from] = range;
    set->count = count;
    return GRV_OK;
}

bool grv_range_set_contains(const grv_range_set *set, grv_range range)
{
    if (range.first >= range.end) {
        return true;
    }
    size_t after = find_first(set, range.first);
    return after > 0 && set->ranges[after - 1].end >= range.end;
}

grv_status grv_range_set_gaps(const grv_range_set *set, grv_range within, grv_range_set *ret_gaps,
                              grv_error *error)
{
    grv_status status = check_order(within, error);
    if (status || within.first == within.end) {
        return status;
    }
    grv_range_set joined;
    status = gaps_union(set, within, ret_gaps, &joined, error);
    if (status) {
        return status;
    }
    set_replace(ret_gaps, joined);
    return GRV_OK;
}

uint64_t grv_range_set_size(const grv_range_set *set)
{
    /* Disjoint ranges of 64-bit offsets cannot have more bytes than there are offsets. */
    uint64_t size = 0;
    for (size_t i = 0; i < set->count; i++) {
        size += set->ranges[i].end - set->ranges[i].first;
    }
    return size;
}

static grv_status range_refuse(grv_bytes text, const char *why, grv_error *error)
{
    int shown = text.size < 64 ? (int)text.size : 64;
    return grv_error_set(error, GRV_INVALID_ARGUMENT, "range", "bad range \"%.*s\": %s", shown,
                         text.size ? (const char *)text.data : "", why);
}

/* A decimal number, saturating: no range distinguishes numbers past UINT64_MAX. */
static bool number_parse(grv_bytes text, uint64_t *ret_number)
{
    uint64_t number = 0;
    for (size_t i = 0; i < text.size; i++) {
        if (text.data[i] < '0' || text.data[i] > '9') {
            return false;
        }
        uint64_t digit = (uint64_t)(text.data[i] - '0');
        number = number > (UINT64_MAX - digit) / 10 ? UINT64_MAX : number * 10 + digit;
    }
    *ret_number = number;
    return text.size > 0;
}

grv_status grv_range_parse(grv_bytes text, uint64_t size, grv_range *ret_range, grv_error *error)
{
    const uint8_t *dash = text.size ? memchr(text.data, '-', text.size) : NULL;
    if (!dash) {
        return range_refuse(text, "want FIRST-LAST, FIRST- or -SUFFIX", error);
    }
    grv_bytes left = {text.data, (size_t)(dash - text.data)};
    grv_bytes right = {dash + 1, text.size - left.size - 1};
    uint64_t first = 0;
    uint64_t last = UINT64_MAX;
    if ((left.size && !number_parse(left, &first)) || (right.size && !number_parse(right, &last)) ||
        (!left.size && !right.size)) {
        return range_refuse(text, "want FIRST-LAST, FIRST- or -SUFFIX", error);
    }
    if (!left.size) {
        if (last == 0) {
            return range_refuse(text, "a suffix of no bytes", error);
        }
        *ret_range = (grv_range){last < size ? size - last : 0, size};
        return GRV_OK;
    }
    if (first > last) {
        return range_refuse(text, "it ends before it begins", error);
    }
    if (first >= size) {
        return range_refuse(text, "it begins at or past the end", error);
    }
    *ret_range = (grv_range){first, last < size ? last + 1 : size};
    return GRV_OK;
}
