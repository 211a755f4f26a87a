/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Manifest repository over any key-value store: what concerns whole blobs, and the descriptor. A
 * blob appears and disappears with its root, in one guarded batch with its sequence and attributes.
 */
#include "backend/kv/manifest_repo.h"

#include "core/wire.h"

#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

static const grv_manifest_repo_ops manifest_repo_kv_ops;

static const grv_bytes descriptor_key = {(const uint8_t *)"descriptor", 10};
static const grv_bytes sequence_floor_key = {(const uint8_t *)"sequence", 8};

grv_manifest_repo_kv *grv_manifest_repo_kv_of(grv_manifest_repo *base)
{
    assert(base->ops == &manifest_repo_kv_ops);
    return (grv_manifest_repo_kv *)base;
}

void grv_page_key_encode(const uint8_t id[GRV_MANIFEST_ID_SIZE], unsigned level, uint64_t number,
                         uint8_t ret_bytes[GRV_PAGE_KEY_SIZE])
{
    assert(number <= UINT32_MAX);
    memcpy(ret_bytes, id, GRV_MANIFEST_ID_SIZE);
    ret_bytes[GRV_MANIFEST_ID_SIZE] = (uint8_t)level;
    grv_wire_put_u32be(ret_bytes + GRV_MANIFEST_ID_SIZE + 1, (uint32_t)number);
}

static grv_status no_such_blob(const grv_blob_key *key, grv_error *error)
{
    char text[GRV_KEY_TEXT_SIZE];
    grv_blob_key_print(key, text);
    return grv_error_set(error, GRV_NOT_FOUND, "manifests", "no blob %s", text);
}

static grv_status contended(const grv_blob_key *key, grv_error *error)
{
    char text[GRV_KEY_TEXT_SIZE];
    grv_blob_key_print(key, text);
    return grv_error_set(error, GRV_UNAVAILABLE, "manifests",
                         "blob %s: others change it all the time", text);
}

/* The bytes of a blob's root. */
static grv_status read_root(const grv_call *call, grv_manifest_repo_kv *repo,
                            const grv_blob_key *key, grv_value *ret_value, grv_error *error)
{
    uint8_t key_bytes[GRV_KEY_BYTES_SIZE];
    grv_blob_key_encode(key, key_bytes);
    grv_status status = grv_kv_get(call, repo->kv, GRV_NS_ROOT,
                                   grv_bytes_of(key_bytes, sizeof key_bytes), ret_value, error);
    if (status == GRV_NOT_FOUND) {
        return no_such_blob(key, error);
    }
    if (status) {
        grv_manifest_prefix_blob(key, error);
    }
    return status;
}

grv_status grv_manifest_repo_kv_root(const grv_call *call, grv_manifest_repo_kv *repo,
                                     const grv_blob_key *key, grv_value *ret_value,
                                     grv_manifest_root *ret_root, grv_error *error)
{
    grv_value value = {0};
    grv_status status = read_root(call, repo, key, &value, error);
    if (status) {
        return status;
    }
    status = grv_manifest_root_decode_of(key, value.bytes, ret_root, error);
    if (status) {
        grv_value_done(&value);
        return status;
    }
    *ret_value = value;
    return GRV_OK;
}

static grv_status manifest_repo_kv_stat(const grv_call *call, grv_manifest_repo *base,
                                        const grv_blob_key *key, grv_blob_info *ret_info,
                                        grv_error *error)
{
    grv_value value = {0};
    grv_manifest_root root;
    grv_status status =
        grv_manifest_repo_kv_root(call, grv_manifest_repo_kv_of(base), key, &value, &root, error);
    if (status) {
        return status;
    }
    *ret_info = root.info;
    grv_value_done(&value);
    return GRV_OK;
}

grv_status grv_manifest_repo_kv_floor(const grv_call *call, grv_manifest_repo_kv *repo,
                                      grv_value *ret_value, uint64_t *ret_floor, grv_error *error)
{
    grv_value value = {0};
    grv_status status = grv_kv_get(call, repo->kv, GRV_NS_META, sequence_floor_key, &value, error);
    if (status == GRV_NOT_FOUND) {
        *ret_value = value;
        *ret_floor = 0;
        return GRV_OK;
    }
    if (status) {
        return status;
    }
    uint64_t floor = 0;
    if (value.bytes.size == GRV_SEQUENCE_KEY_SIZE) {
        floor = grv_wire_get_u64be(value.bytes.data);
    }
    if (floor < 1 || floor > GRV_SEQUENCE_MAX) {
        grv_value_done(&value);
        return grv_error_set(error, GRV_CORRUPT, "manifests",
                             "the highest sequence of a removed blob is no sequence");
    }
    *ret_value = value;
    *ret_floor = floor;
    return GRV_OK;
}

void grv_manifest_repo_kv_raise(uint64_t floor, grv_bytes value, grv_bytes number,
                                grv_kv_op *ret_op, grv_kv_guard *ret_guard)
{
    *ret_op = (grv_kv_op){
        .kind = GRV_KV_PUT, .ns = GRV_NS_META, .key = sequence_floor_key, .value = number};
    *ret_guard = (grv_kv_guard){.kind = floor ? GRV_KV_EQUALS : GRV_KV_ABSENT,
                                .ns = GRV_NS_META,
                                .key = sequence_floor_key,
                                .value = value};
}

/* The highest sequence of a blob that is there, 0 for none. */
static grv_status read_last_sequence(const grv_call *call, grv_manifest_repo_kv *repo,
                                     uint64_t *ret_last, grv_error *error)
{
    const grv_kv_scan scan = {.ns = GRV_NS_SEQUENCE, .reverse = true, .keys_only = true};
    grv_kv_cursor *cursor = NULL;
    grv_status status = grv_kv_open_scan(call, repo->kv, &scan, &cursor, error);
    if (status) {
        return status;
    }
    grv_kv_item item;
    uint64_t last = 0;
    status = grv_kv_cursor_next(call, cursor, &item, error);
    if (status == GRV_NOT_FOUND) {
        status = GRV_OK;
    } else if (!status) {
        last = item.key.size == GRV_SEQUENCE_KEY_SIZE ? grv_wire_get_u64be(item.key.data) : 0;
        if (last < 1 || last > GRV_SEQUENCE_MAX) {
            status = grv_error_set(error, GRV_CORRUPT, "manifests",
                                   "the highest commit sequence is no sequence");
        }
    }
    grv_kv_cursor_free(cursor);
    if (!status) {
        *ret_last = last;
    }
    return status;
}

grv_status grv_manifest_repo_kv_load_sequence(const grv_call *call, grv_manifest_repo_kv *repo,
                                              grv_error *error)
{
    uint64_t last = 0;
    grv_status status = read_last_sequence(call, repo, &last, error);
    if (status) {
        return status;
    }
    grv_value value = {0};
    uint64_t floor = 0;
    status = grv_manifest_repo_kv_floor(call, repo, &value, &floor, error);
    if (status) {
        return status;
    }
    grv_value_done(&value);
    uint64_t next = (last > floor ? last : floor) + 1;
    uint64_t known = __atomic_load_n(&repo->next_sequence, __ATOMIC_RELAXED);
    while (known < next && !__atomic_compare_exchange_n(&repo->next_sequence, &known, next, false,
                                                        __ATOMIC_RELAXED, __ATOMIC_RELAXED)) {
    }
    return GRV_OK;
}

void grv_manifest_repo_kv_drop_pages(const grv_call *call, grv_manifest_repo_kv *repo,
                                     const uint8_t id[GRV_MANIFEST_ID_SIZE], bool frees)
{
    /* All page keys of an id begin with it and a level, which is less than 255. */
    uint8_t end[GRV_MANIFEST_ID_SIZE + 1];
    memcpy(end, id, GRV_MANIFEST_ID_SIZE);
    end[GRV_MANIFEST_ID_SIZE] = 0xff;
    const grv_kv_op op = {
        .kind = GRV_KV_DELETE_RANGE,
        .ns = GRV_NS_PAGE,
        .key = {id, GRV_MANIFEST_ID_SIZE},
        .end = {end, sizeof end},
    };
    const grv_kv_batch batch = {
        .ops = &op, .op_count = 1, .durability = GRV_ORDERED, .frees = frees};
    /* The status is dropped on purpose: the pages are garbage whether or not this succeeds. */
    (void)grv_kv_write(call, repo->kv, &batch, NULL);
}

/*
 * One attempt to remove the blob whose root is `value`; GRV_CONFLICT where it or the floor changed
 * meanwhile. `root` is NULL for a root that is corrupt: then its sequence and pages are unknown
 * and stay as garbage, which no list shows.
 */
static grv_status remove_once(const grv_call *call, grv_manifest_repo_kv *repo,
                              const grv_blob_key *key, grv_bytes value,
                              const grv_manifest_root *root, grv_error *error)
{
    grv_value floor_value = {0};
    uint64_t floor = 0;
    grv_status status = grv_manifest_repo_kv_floor(call, repo, &floor_value, &floor, error);
    if (status) {
        return status;
    }
    uint8_t key_bytes[GRV_KEY_BYTES_SIZE];
    uint8_t sequence[GRV_SEQUENCE_KEY_SIZE];
    grv_blob_key_encode(key, key_bytes);
    const grv_bytes blob = {key_bytes, sizeof key_bytes};
    grv_kv_op ops[4] = {
        {.kind = GRV_KV_DELETE, .ns = GRV_NS_ROOT, .key = blob},
        {.kind = GRV_KV_DELETE, .ns = GRV_NS_ATTRIBUTES, .key = blob},
    };
    grv_kv_guard guards[2] = {
        {.kind = GRV_KV_EQUALS, .ns = GRV_NS_ROOT, .key = blob, .value = value},
    };
    grv_kv_batch batch = {.ops = ops, .op_count = 2, .guards = guards, .guard_count = 1};
    if (root) {
        const grv_bytes number = {sequence, sizeof sequence};
        grv_wire_put_u64be(sequence, root->info.sequence);
        ops[batch.op_count++] =
            (grv_kv_op){.kind = GRV_KV_DELETE, .ns = GRV_NS_SEQUENCE, .key = number};
        if (root->info.sequence > floor) {
            grv_manifest_repo_kv_raise(floor, floor_value.bytes, number, &ops[batch.op_count++],
                                       &guards[batch.guard_count++]);
        }
    }
    batch.durability = GRV_DURABLE;
    batch.frees = true;
    status = grv_kv_write(call, repo->kv, &batch, error);
    grv_value_done(&floor_value);
    return status;
}

static grv_status manifest_repo_kv_remove(const grv_call *call, grv_manifest_repo *base,
                                          const grv_blob_key *key, grv_error *error)
{
    grv_manifest_repo_kv *repo = grv_manifest_repo_kv_of(base);
    for (unsigned attempt = 0; attempt < GRV_MANIFEST_ATTEMPTS; attempt++) {
        grv_value value = {0};
        grv_status status = read_root(call, repo, key, &value, error);
        if (status) {
            return status;
        }
        /* A corrupt root can go: removing the blob and putting it again is how it is mended. */
        grv_manifest_root root;
        status = grv_manifest_root_decode_of(key, value.bytes, &root, error);
        bool decoded = !status;
        bool has_pages = decoded && root.table.level > 0;
        if (!status || status == GRV_CORRUPT) {
            status = remove_once(call, repo, key, value.bytes, decoded ? &root : NULL, error);
        }
        grv_value_done(&value);
        if (!status && has_pages) {
            grv_manifest_repo_kv_drop_pages(call, repo, root.id, true);
        }
        if (status != GRV_CONFLICT) {
            return status;
        }
    }
    return contended(key, error);
}

static grv_status manifest_repo_kv_attributes_get(const grv_call *call, grv_manifest_repo *base,
                                                  const grv_blob_key *key,
                                                  grv_attributes *attributes, grv_error *error)
{
    grv_manifest_repo_kv *repo = grv_manifest_repo_kv_of(base);
    uint8_t key_bytes[GRV_KEY_BYTES_SIZE];
    grv_blob_key_encode(key, key_bytes);
    const grv_bytes blob = {key_bytes, sizeof key_bytes};
    grv_value value = {0};
    grv_status status = grv_kv_get(call, repo->kv, GRV_NS_ATTRIBUTES, blob, &value, error);
    if (!status) {
        status = grv_attributes_decode(value.bytes, attributes, error);
        grv_value_done(&value);
    } else if (status == GRV_NOT_FOUND && call && call->has_opened) {
        grv_attributes_done(attributes);
        return GRV_OK;
    } else if (status == GRV_NOT_FOUND) {
        /* A blob without attributes, or no blob: the record never outlives the root. */
        bool missing = false;
        status = grv_kv_missing(call, repo->kv, GRV_NS_ROOT, &blob, 1, &missing, error);
        if (!status && missing) {
            return no_such_blob(key, error);
        }
        if (!status) {
            grv_attributes_done(attributes);
        }
    }
    if (status) {
        grv_manifest_prefix_blob(key, error);
    }
    return status;
}

grv_status grv_manifest_repo_kv_attributes_set(const grv_call *call, grv_manifest_repo *base,
                                               const grv_blob_key *key,
                                               const grv_attributes *attributes, grv_error *error)
{
    grv_manifest_repo_kv *repo = grv_manifest_repo_kv_of(base);
    grv_buffer record;
    grv_buffer_init(&record, GRV_ATTRIBUTES_BYTES_MAX);
    grv_status status = grv_attributes_encode(attributes, &record, error);
    if (status) {
        return status;
    }
    uint8_t key_bytes[GRV_KEY_BYTES_SIZE];
    grv_blob_key_encode(key, key_bytes);
    const grv_bytes blob = {key_bytes, sizeof key_bytes};
    const grv_kv_op op = {.kind = GRV_KV_PUT,
                          .ns = GRV_NS_ATTRIBUTES,
                          .key = blob,
                          .value = grv_buffer_bytes(&record)};
    const grv_kv_guard guard = {.kind = GRV_KV_PRESENT, .ns = GRV_NS_ROOT, .key = blob};
    const grv_kv_batch batch = {
        .ops = &op, .op_count = 1, .guards = &guard, .guard_count = 1, .durability = GRV_DURABLE};
    status = grv_kv_write(call, repo->kv, &batch, error);
    grv_buffer_done(&record);
    if (status == GRV_CONFLICT) {
        return no_such_blob(key, error);
    }
    if (status) {
        grv_manifest_prefix_blob(key, error);
    }
    return status;
}

static grv_status manifest_repo_kv_descriptor_get(const grv_call *call, grv_manifest_repo *base,
                                                  grv_buffer *out, grv_error *error)
{
    grv_value value = {0};
    grv_status status = grv_kv_get(call, grv_manifest_repo_kv_of(base)->kv, GRV_NS_META,
                                   descriptor_key, &value, error);
    if (status == GRV_NOT_FOUND) {
        return grv_error_set(error, GRV_NOT_FOUND, "manifests",
                             "the metadata store has no descriptor");
    }
    if (status) {
        return status;
    }
    if (value.bytes.size < 1 || value.bytes.size > GRV_DESCRIPTOR_MAX) {
        status = grv_error_set(error, GRV_CORRUPT, "manifests",
                               "the store's descriptor has %zu bytes, want 1 to %u",
                               value.bytes.size, GRV_DESCRIPTOR_MAX);
    } else {
        status = grv_buffer_append(out, value.bytes, error);
    }
    grv_value_done(&value);
    return status;
}

/* GRV_CONFLICT where there is a blob. */
static grv_status check_empty(const grv_call *call, grv_manifest_repo_kv *repo, grv_error *error)
{
    const grv_kv_scan scan = {.ns = GRV_NS_ROOT, .keys_only = true};
    grv_kv_cursor *cursor = NULL;
    grv_status status = grv_kv_open_scan(call, repo->kv, &scan, &cursor, error);
    if (status) {
        return status;
    }
    grv_kv_item item;
    status = grv_kv_cursor_next(call, cursor, &item, error);
    grv_kv_cursor_free(cursor);
    if (status == GRV_NOT_FOUND) {
        return GRV_OK;
    }
    if (status) {
        return status;
    }
    return grv_error_set(error, GRV_CONFLICT, "manifests",
                         "the metadata store has blobs but no descriptor");
}

static grv_status manifest_repo_kv_descriptor_set(const grv_call *call, grv_manifest_repo *base,
                                                  const grv_bytes *expected, grv_bytes descriptor,
                                                  grv_error *error)
{
    grv_manifest_repo_kv *repo = grv_manifest_repo_kv_of(base);
    const grv_kv_op op = {
        .kind = GRV_KV_PUT, .ns = GRV_NS_META, .key = descriptor_key, .value = descriptor};
    grv_kv_guard guard = {.kind = GRV_KV_ABSENT, .ns = GRV_NS_META, .key = descriptor_key};
    const grv_kv_batch batch = {
        .ops = &op, .op_count = 1, .guards = &guard, .guard_count = 1, .durability = GRV_DURABLE};
    grv_status status = GRV_OK;
    if (expected) {
        guard.kind = GRV_KV_EQUALS;
        guard.value = *expected;
    } else {
        /* Blobs without a descriptor are damage, and giving them one would hide that. */
        status = check_empty(call, repo, error);
        if (status) {
            return status;
        }
    }
    status = grv_kv_write(call, repo->kv, &batch, error);
    if (status == GRV_CONFLICT) {
        return grv_error_set(error, GRV_CONFLICT, "manifests", "the store's descriptor is %s",
                             expected ? "not the expected one" : "there already");
    }
    return status;
}

static void manifest_repo_kv_free(grv_manifest_repo *base)
{
    free(grv_manifest_repo_kv_of(base));
}

static const grv_manifest_repo_ops manifest_repo_kv_ops = {
    .name = "kv",
    .open_put = grv_manifest_repo_kv_open_put,
    .stat = manifest_repo_kv_stat,
    .open_refs = grv_manifest_repo_kv_open_refs,
    .remove = manifest_repo_kv_remove,
    .open_list = grv_manifest_repo_kv_open_list,
    .attributes_get = manifest_repo_kv_attributes_get,
    .attributes_set = grv_manifest_repo_kv_attributes_set,
    .descriptor_get = manifest_repo_kv_descriptor_get,
    .descriptor_set = manifest_repo_kv_descriptor_set,
    .state_get = grv_manifest_repo_kv_state_get,
    .state_set = grv_manifest_repo_kv_state_set,
    .sweep = grv_manifest_repo_kv_sweep,
    .free = manifest_repo_kv_free,
};

grv_status grv_manifest_repo_kv_new_limited(grv_kv *kv, const grv_manifest_limits *limits,
                                            grv_manifest_repo **ret_repo, grv_error *error)
{
    if (kv->namespace_count < GRV_NS_COUNT) {
        return grv_error_set(error, GRV_INVALID_ARGUMENT, "manifests",
                             "a key-value store of %u namespaces, want %d", kv->namespace_count,
                             (int)GRV_NS_COUNT);
    }
    grv_manifest_repo_kv *repo = calloc(1, sizeof *repo);
    if (!repo) {
        return grv_error_set(error, GRV_LIMIT_EXCEEDED, "manifests",
                             "no memory for a manifest repository");
    }
    repo->kv = kv;
    repo->limits = *limits;
    grv_status status =
        grv_manifest_repo_init(&repo->base, &manifest_repo_kv_ops, GRV_MANIFEST_CAP_NEWEST, error);
    if (!status) {
        status = grv_manifest_repo_kv_load_sequence(NULL, repo, error);
    }
    if (status) {
        free(repo);
        return status;
    }
    *ret_repo = &repo->base;
    return GRV_OK;
}

grv_status grv_manifest_repo_kv_new(grv_kv *kv, grv_manifest_repo **ret_repo, grv_error *error)
{
    return grv_manifest_repo_kv_new_limited(kv, &grv_manifest_limits_default, ret_repo, error);
}
