/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Writing one manifest: pages go out `ordered` as they fill, under a fresh id that nothing names
 * until the commit's one `durable` batch, which is why that batch makes them durable too.
 */
#include "backend/kv/manifest_repo.h"
#include "core/wire.h"
#include "os/clock.h"
#include "os/random.h"

#include <stdlib.h>
#include <string.h>

typedef struct kv_put {
    grv_manifest_put base;
    grv_manifest_repo_kv *repo;
    grv_manifest_builder builder;
    const grv_call *call; /* of the slot that runs now, for the pages it emits */
    bool pages_named;     /* a root may name the pages: they must stay */
    grv_status failed;    /* of an append: blocks are missing, so no commit may follow */
} kv_put;

static grv_status emit_page(void *context, unsigned level, uint64_t number, grv_bytes page,
                            grv_error *error)
{
    kv_put *put = context;
    if (number > UINT32_MAX) {
        return grv_error_set(error, GRV_LIMIT_EXCEEDED, "manifests",
                             "a manifest of more than 2^32 pages");
    }
    uint8_t key[GRV_PAGE_KEY_SIZE];
    grv_page_key_encode(put->builder.id, level, number, key);
    const grv_kv_op op = {
        .kind = GRV_KV_PUT, .ns = GRV_NS_PAGE, .key = {key, sizeof key}, .value = page};
    const grv_kv_batch batch = {.ops = &op, .op_count = 1, .durability = GRV_ORDERED};
    return grv_kv_write(put->call, put->repo->kv, &batch, error);
}

static grv_status check_failed(const kv_put *put, grv_error *error)
{
    if (put->failed) {
        return grv_error_set(error, put->failed, "manifests", "an append to the manifest failed");
    }
    return GRV_OK;
}

static grv_status kv_put_append(const grv_call *call, grv_manifest_put *base,
                                const grv_block_key keys[], size_t count, grv_error *error)
{
    kv_put *put = (kv_put *)base;
    grv_status status = check_failed(put, error);
    if (status) {
        return status;
    }
    put->call = call;
    put->failed = grv_manifest_builder_append(&put->builder, keys, count, error);
    return put->failed;
}

/* The batch of a commit: root, sequence and, where they are given, attributes. */
static grv_status write_root(const grv_call *call, kv_put *put, const grv_blob_info *info,
                             grv_bytes root, const grv_buffer *attributes, grv_error *error)
{
    uint8_t key_bytes[GRV_KEY_BYTES_SIZE];
    uint8_t sequence_bytes[GRV_SEQUENCE_KEY_SIZE];
    grv_blob_key_encode(&info->key, key_bytes);
    grv_wire_put_u64be(sequence_bytes, info->sequence);
    const grv_bytes blob = {key_bytes, sizeof key_bytes};
    const grv_bytes sequence = {sequence_bytes, sizeof sequence_bytes};
    const grv_kv_op ops[3] = {
        {.kind = GRV_KV_PUT, .ns = GRV_NS_ROOT, .key = blob, .value = root},
        {.kind = GRV_KV_PUT, .ns = GRV_NS_SEQUENCE, .key = sequence, .value = blob},
        {.kind = GRV_KV_PUT,
         .ns = GRV_NS_ATTRIBUTES,
         .key = blob,
         .value = grv_buffer_bytes(attributes)},
    };
    const grv_kv_guard guards[2] = {
        {.kind = GRV_KV_ABSENT, .ns = GRV_NS_ROOT, .key = blob},
        {.kind = GRV_KV_ABSENT, .ns = GRV_NS_SEQUENCE, .key = sequence},
    };
    const grv_kv_batch batch = {
        .ops = ops,
        .op_count = attributes->size ? 3 : 2,
        .guards = guards,
        .guard_count = 2,
        .durability = GRV_DURABLE,
    };
    grv_status status = grv_kv_write(call, put->repo->kv, &batch, error);
    if (status != GRV_CONFLICT) {
        /* After any other failure it may yet turn out to be written. */
        put->pages_named = true;
    }
    return status;
}

/*
 * After a conflict: where the blob is there, *ret_commit says so. GRV_CONFLICT where it is not, or
 * was removed just now: then the sequence was taken, and the commit is tried again.
 */
static grv_status adopt_stored(const grv_call *call, kv_put *put, const grv_blob_key *key,
                               const grv_attributes *attributes, grv_manifest_commit *ret_commit,
                               grv_error *error)
{
    grv_value value = {0};
    grv_manifest_root root;
    grv_status status = grv_manifest_repo_kv_root(call, put->repo, key, &value, &root, error);
    if (status == GRV_NOT_FOUND) {
        status = grv_manifest_repo_kv_load_sequence(call, put->repo, error);
        return status ? status : GRV_CONFLICT;
    }
    if (status) {
        return status;
    }
    grv_value_done(&value);
    if (memcmp(root.id, put->builder.id, GRV_MANIFEST_ID_SIZE) == 0) {
        /* Written by an earlier attempt of this very commit. */
        put->pages_named = true;
        *ret_commit = (grv_manifest_commit){.already_stored = false, .info = root.info};
        return GRV_OK;
    }
    if (attributes) {
        status =
            grv_manifest_repo_kv_attributes_set(call, &put->repo->base, key, attributes, error);
        if (status) {
            return status == GRV_NOT_FOUND ? GRV_CONFLICT : status;
        }
    }
    *ret_commit = (grv_manifest_commit){.already_stored = true, .info = root.info};
    return GRV_OK;
}

/* Tries the commit's batch until it is in, the blob is found, or something else fails. */
static grv_status commit_root(const grv_call *call, kv_put *put, grv_blob_info *info,
                              const grv_attributes *attributes, const grv_buffer *record,
                              grv_manifest_commit *ret_commit, grv_error *error)
{
    grv_buffer root;
    grv_buffer_init(&root, GRV_MANIFEST_ROOT_BYTES_MAX);
    grv_status status = GRV_CONFLICT;
    for (unsigned i = 0; i < GRV_MANIFEST_ATTEMPTS && status == GRV_CONFLICT; i++) {
        info->sequence = __atomic_fetch_add(&put->repo->next_sequence, 1, __ATOMIC_RELAXED);
        root.size = 0;
        status = grv_manifest_builder_encode_root(&put->builder, info, &root, error);
        if (!status) {
            status = write_root(call, put, info, grv_buffer_bytes(&root), record, error);
        }
        if (!status) {
            *ret_commit = (grv_manifest_commit){.already_stored = false, .info = *info};
        } else if (status == GRV_CONFLICT) {
            status = adopt_stored(call, put, &info->key, attributes, ret_commit, error);
        }
    }
    grv_buffer_done(&root);
    if (status == GRV_CONFLICT) {
        return grv_error_set(error, GRV_UNAVAILABLE, "manifests",
                             "a commit lost every race for its sequence");
    }
    return status;
}

static grv_status kv_put_commit(const grv_call *call, grv_manifest_put *base,
                                const grv_blob_key *key, const grv_attributes *attributes,
                                grv_manifest_commit *ret_commit, grv_error *error)
{
    kv_put *put = (kv_put *)base;
    put->call = call;
    grv_status status = check_failed(put, error);
    if (!status) {
        status = grv_manifest_builder_finish(&put->builder, error);
    }
    if (status) {
        return status;
    }
    grv_buffer record;
    grv_buffer_init(&record, GRV_ATTRIBUTES_BYTES_MAX);
    if (attributes) {
        status = grv_attributes_encode(attributes, &record, error);
    }
    if (!status) {
        grv_blob_info info = {
            .key = *key,
            .block_count = base->block_count,
            .block_hash = base->plan.block_hash,
            .chunker = base->plan.chunker,
            .created_ns = grv_clock_realtime_ns(),
        };
        status = commit_root(call, put, &info, attributes, &record, ret_commit, error);
    }
    grv_buffer_done(&record);
    if (status) {
        char text[GRV_KEY_TEXT_SIZE];
        grv_blob_key_print(key, text);
        grv_error_prefix(error, "manifest of blob %s", text);
    }
    return status;
}

static void kv_put_free(grv_manifest_put *base)
{
    kv_put *put = (kv_put *)base;
    if (!put->pages_named && grv_manifest_builder_page_count(&put->builder) > 0) {
        /* A put must not use what is kept for removals. */
        grv_manifest_repo_kv_drop_pages(NULL, put->repo, put->builder.id, false);
    }
    grv_manifest_builder_done(&put->builder);
    free(put);
}

static const grv_manifest_put_ops kv_put_ops = {
    .name = "kv",
    .append = kv_put_append,
    .commit = kv_put_commit,
    .free = kv_put_free,
};

grv_status grv_manifest_repo_kv_open_put(const grv_call *call, grv_manifest_repo *base,
                                         const grv_manifest_plan *plan, grv_manifest_put **ret_put,
                                         grv_error *error)
{
    grv_status status = grv_call_check(call, "manifests", error);
    if (status) {
        return status;
    }
    /* Told now where the disk is full, and not once all blocks were written in vain. */
    const grv_kv_batch nothing = {.durability = GRV_ORDERED};
    status = grv_kv_write(call, grv_manifest_repo_kv_of(base)->kv, &nothing, error);
    if (status) {
        return status;
    }
    uint8_t id[GRV_MANIFEST_ID_SIZE];
    status = grv_random_fill(id, sizeof id, error);
    if (status) {
        return status;
    }
    kv_put *put = calloc(1, sizeof *put);
    if (!put) {
        return grv_error_set(error, GRV_LIMIT_EXCEEDED, "manifests",
                             "no memory for writing a manifest");
    }
    put->base.ops = &kv_put_ops;
    put->repo = grv_manifest_repo_kv_of(base);
    grv_manifest_builder_init(&put->builder, &put->repo->limits, id, plan->block_hash, emit_page,
                              put);
    *ret_put = &put->base;
    return GRV_OK;
}
