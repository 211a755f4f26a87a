/* SPDX-License-Identifier: Apache-2.0 */
/* What a server answers: the first byte says what as. Whatever it is, values stay within their
 * bounds, texts printable, and nothing is taken for a success that is none. */
#include "backend/remote/client.h"
#include "fuzz/fuzz.h"

#include <string.h>

static void check_text(const char *text, size_t max)
{
    fuzz_check(strlen(text) < max);
    for (; *text; text++) {
        fuzz_check(*text >= ' ' && *text <= '~');
    }
}

static void check_head(const uint8_t *data, size_t size)
{
    grv_remote_head head = {0};
    while (size > 0) {
        const uint8_t *end = memchr(data, '\n', size);
        size_t line = end ? (size_t)(end - data) + 1 : size;
        grv_remote_head_line(&head, grv_bytes_of(data, line));
        data += line;
        size -= line;
    }
    check_text(head.request_id, sizeof head.request_id);
    fuzz_check(head.http >= 0 && head.http <= 999);
    fuzz_check(!head.has_range ||
               (head.range_first <= head.range_last && head.range_last < head.range_total));
}

static void check_info(const grv_blob_info *info)
{
    fuzz_check(grv_blob_key_is_valid(&info->key));
    fuzz_check(!info->chunker.kind || !grv_chunker_spec_check(&info->chunker, NULL));
}

static void check_page(const json_t *json)
{
    grv_remote_page page;
    if (grv_remote_decode_page(json, 10, &page, NULL)) {
        return;
    }
    fuzz_check(page.count <= 10);
    for (size_t i = 0; i < page.count; i++) {
        if (page.entries[i].status) {
            check_text(page.entries[i].message, sizeof page.entries[i].message);
        } else {
            check_info(&page.entries[i].info);
        }
    }
    grv_remote_page_done(&page);
}

static void check_refs(const json_t *json)
{
    grv_remote_refs refs;
    if (grv_remote_decode_refs(json, &refs, NULL)) {
        return;
    }
    for (size_t i = 0; i < refs.count; i++) {
        fuzz_check(grv_block_key_is_valid(&refs.refs[i].key));
    }
    grv_remote_refs_done(&refs);
}

/* What was decoded comes back from what it is encoded as. */
static void check_attributes(const json_t *json)
{
    grv_attributes attributes;
    grv_attributes again;
    grv_attributes_init(&attributes);
    grv_attributes_init(&again);
    if (!grv_remote_decode_attributes(json, &attributes, NULL)) {
        json_t *encoded = grv_remote_encode_attributes(&attributes);
        fuzz_check(encoded);
        fuzz_check(!grv_remote_decode_attributes(encoded, &again, NULL));
        fuzz_check(again.count == attributes.count);
        json_decref(encoded);
    }
    grv_attributes_done(&attributes);
    grv_attributes_done(&again);
}

static void check_missing(const json_t *json)
{
    static const char id[] =
        "blake3:6437b3ac38465133ffb63b75273a8db548c558465d79db03fd359c6cd5bd9d85:3";
    grv_blob_key keys[2];
    bool present[2];
    fuzz_check(!grv_blob_key_parse(grv_bytes_of(id, sizeof id - 1), &keys[0], NULL));
    keys[1] = keys[0];
    keys[1].size = 4;
    (void)grv_remote_decode_missing(json, keys, 2, present, NULL);
}

static void check_job(const json_t *json)
{
    grv_remote_job_view view;
    grv_remote_finding finding;
    uint64_t number;
    if (grv_remote_decode_job(json, &view, NULL)) {
        return;
    }
    fuzz_check(view.figures.count <= GRV_REMOTE_FIGURES_MAX);
    fuzz_check(!view.is_done || view.has_ended);
    for (size_t i = 0; i < json_array_size(view.findings); i++) {
        if (!grv_remote_decode_finding(json_array_get(view.findings, i), &number, &finding, NULL)) {
            check_text(finding.message, sizeof finding.message);
            fuzz_check(!finding.has_blob || grv_blob_key_is_valid(&finding.blob));
            fuzz_check(!finding.has_block || grv_block_key_is_valid(&finding.block));
        }
    }
}

static void check_json(uint8_t kind, grv_bytes body)
{
    grv_remote_info store;
    uint64_t capabilities;
    grv_blob_info info;
    json_t *json;
    if (grv_remote_json_parse(body, &json, NULL)) {
        return;
    }
    switch (kind % 7) {
    case 0:
        if (!grv_remote_decode_store(json, &store, &capabilities, NULL)) {
            check_text(store.program, sizeof store.program);
            fuzz_check(capabilities & GRV_BLOB_CAP_DISTANT);
        }
        break;
    case 1:
        if (!grv_remote_decode_info(json, &info, NULL)) {
            check_info(&info);
        }
        break;
    case 2:
        check_page(json);
        break;
    case 3:
        check_refs(json);
        break;
    case 4:
        check_attributes(json);
        break;
    case 5:
        check_missing(json);
        break;
    default:
        check_job(json);
        break;
    }
    json_decref(json);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0) {
        return 0;
    }
    grv_bytes body = grv_bytes_of(data + 1, size - 1);
    grv_remote_problem problem;
    check_head(body.data, body.size);
    if (grv_remote_decode_problem(body, &problem)) {
        check_text(problem.type, sizeof problem.type);
        check_text(problem.detail, sizeof problem.detail);
    }
    check_json(data[0], body);
    return 0;
}
