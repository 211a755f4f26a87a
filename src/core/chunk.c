/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The cutter. Every kind answers one question, where the block in progress ends; the loop around
 * it and the memory of what has been searched are shared. Bytes are searched once whatever the
 * pieces: a block that did not end keeps how far it is known to go on.
 */
#include "core/chunk.h"

#include "core/cdc.h"
#include <string.h>

/* A stretch shorter than this isn't worth warming lanes for. */
#define LANES_WORTH 1024

void grv_cutter_init(grv_cutter *cutter, const grv_chunker_spec *spec)
{
    *cutter = (grv_cutter){
        .spec = *spec,
        .block_min = grv_chunker_block_min(spec),
        .block_max = grv_chunker_block_max(spec),
        .scanner = grv_cdc_scanner_default(),
    };
}

/*
 * One call's view of the data and what the last scanned stretch of it gave. Positions are counted
 * from data; position p lies after p bytes.
 */
typedef struct cdc_pass {
    const uint8_t *data;
    const grv_cdc_scanner *scanner;
    uint32_t target;
    uint32_t strict;
    uint32_t loose;
    size_t list_from; /* byte where the listed stretch begins: offset 0 */
    size_t list_to;   /* last position that the list covers */
    size_t list_next; /* first entry not passed yet */
    size_t dense_to;  /* up to this position the plain loop has to do */
    grv_cdc_list list;
} cdc_pass;

static void cdc_pass_init(cdc_pass *pass, const grv_cutter *cutter, const uint8_t *data)
{
    unsigned bits = (unsigned)__builtin_ctz(cutter->spec.size);
    pass->data = data;
    pass->scanner = cutter->scanner;
    pass->target = cutter->spec.size;
    pass->strict = 1u << (32 - bits - 2);
    pass->loose = 1u << (32 - bits + 2);
    pass->list.count = 0;
    pass->list_from = 0;
    pass->list_to = 0;
    pass->list_next = 0;
    pass->dense_to = 0;
}

/* The first cut in [from, to] of the block that begins at `start`, by the plain loop, or 0. */
static size_t cdc_find_plain(const cdc_pass *pass, size_t start, size_t from, size_t to)
{
    size_t change = start + pass->target; /* first position under the loose threshold */
    size_t strict_to = to < change ? to : change - 1;
    size_t cut = grv_cdc_find(pass->data, from, strict_to, pass->strict);
    if (cut == 0) {
        cut = grv_cdc_find(pass->data, from > change ? from : change, to, pass->loose);
    }
    return cut;
}

/* The same, from the list, of the positions it covers. */
static size_t cdc_find_listed(cdc_pass *pass, size_t start, size_t from, size_t to)
{
    for (; pass->list_next < pass->list.count; pass->list_next++) {
        grv_cdc_candidate candidate = pass->list.entries[pass->list_next];
        size_t position = pass->list_from + candidate.offset;
        if (position > to) {
            return 0;
        }
        uint32_t threshold = position - start < pass->target ? pass->strict : pass->loose;
        if (position >= from && candidate.hash < threshold) {
            return position;
        }
    }
    return 0;
}

/* Lists the candidates of a stretch that begins with position `from`; `to` is the last there is. */
static void cdc_scan_stretch(cdc_pass *pass, size_t from, size_t to)
{
    size_t last =
        to - from < pass->scanner->stretch_bytes ? to : from + pass->scanner->stretch_bytes - 1;
    pass->scanner->scan(pass->data + from - 1, last - from + 1, pass->loose, &pass->list);
    if (pass->list.dense) {
        pass->dense_to = last;
        return;
    }
    pass->list_from = from - 1;
    pass->list_to = last;
    pass->list_next = 0;
}

/* The first cut in [from, to] of the block that begins at `start`, or 0. */
static size_t cdc_find(cdc_pass *pass, size_t start, size_t from, size_t to)
{
    while (from <= to) {
        size_t last = to;
        size_t cut;
        if (from <= pass->list_to) {
            last = to < pass->list_to ? to : pass->list_to;
            cut = cdc_find_listed(pass, start, from, last);
        } else if (from <= pass->dense_to) {
            last = to < pass->dense_to ? to : pass->dense_to;
            cut = cdc_find_plain(pass, start, from, last);
        } else if (!pass->scanner->scan || to - from < LANES_WORTH) {
            cut = cdc_find_plain(pass, start, from, to);
        } else {
            cdc_scan_stretch(pass, from, to);
            continue;
        }
        if (cut != 0) {
            return cut;
        }
        from = last + 1;
    }
    return 0;
}

/* The end of the first occurrence in the block whose first `scanned` bytes hold none, or 0. */
static size_t delimiter_find(const grv_chunker_spec *spec, const uint8_t *data, size_t size,
                             size_t scanned)
{
    size_t overlap = spec->delimiter_size - 1;
    size_t from = scanned > overlap ? scanned - overlap : 0;
    const uint8_t *found =
        from < size ? memmem(data + from, size - from, spec->delimiter, spec->delimiter_size)
                    : NULL;
    return found ? (size_t)(found - data) + spec->delimiter_size : 0;
}

/* Where the block at `start` ends, at most at `to`, or 0 if no byte before `to` ends it. */
static size_t block_end(const grv_cutter *cutter, cdc_pass *pass, const uint8_t *data, size_t start,
                        size_t to)
{
    if (cutter->spec.kind == GRV_CHUNKER_CDC) {
        size_t least =
            cutter->scanned < cutter->block_min ? cutter->block_min : cutter->scanned + 1;
        return cdc_find(pass, start, start + least, to);
    }
    if (cutter->spec.kind == GRV_CHUNKER_DELIMITER) {
        size_t end = delimiter_find(&cutter->spec, data + start, to - start, cutter->scanned);
        return end ? start + end : 0;
    }
    return 0;
}

size_t grv_cutter_cut(grv_cutter *cutter, const uint8_t *data, size_t size, bool at_end,
                      uint32_t ret_sizes[], size_t capacity, size_t *ret_count)
{
    cdc_pass pass;
    if (cutter->spec.kind == GRV_CHUNKER_CDC) {
        cdc_pass_init(&pass, cutter, data);
    }
    size_t start = 0;
    size_t count = 0;
    while (start < size && count < capacity) {
        size_t left = size - start;
        size_t to = left < cutter->block_max ? size : start + cutter->block_max;
        size_t end = block_end(cutter, &pass, data, start, to);
        if (end == 0) {
            if (left < cutter->block_max && !at_end) {
                cutter->scanned = left;
                break;
            }
            end = to;
        }
        ret_sizes[count++] = (uint32_t)(end - start);
        start = end;
        cutter->scanned = 0;
    }
    *ret_count = count;
    return start;
}
