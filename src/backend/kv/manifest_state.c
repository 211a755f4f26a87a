/* SPDX-License-Identifier: Apache-2.0 */
/* Small named records of the repository: `state/NAME` in the namespace `meta`. */
#include "backend/kv/manifest_repo.h"

#include <string.h>

static const char state_lead[] = "state/";
#define STATE_LEAD_SIZE (sizeof state_lead - 1)

/* A record's key. `size` counts all of it. */
typedef struct state_key {
    size_t size;
    uint8_t bytes[STATE_LEAD_SIZE + GRV_STATE_NAME_MAX];
} state_key;

static state_key state_key_of(const char *name)
{
    state_key key = {.size = STATE_LEAD_SIZE + strlen(name)};
    memcpy(key.bytes, state_lead, STATE_LEAD_SIZE);
    memcpy(key.bytes + STATE_LEAD_SIZE, name, strlen(name));
    return key;
}

grv_status grv_manifest_repo_kv_state_get(const grv_call *call, grv_manifest_repo *base,
                                          const char *name, grv_buffer *out, grv_error *error)
{
    const state_key key = state_key_of(name);
    grv_value value = {0};
    grv_status status = grv_kv_get(call, grv_manifest_repo_kv_of(base)->kv, GRV_NS_META,
                                   grv_bytes_of(key.bytes, key.size), &value, error);
    if (status == GRV_NOT_FOUND) {
        return grv_error_set(error, GRV_NOT_FOUND, "manifests", "no record \"%s\"", name);
    }
    if (status) {
        return status;
    }
    if (value.bytes.size < 1 || value.bytes.size > GRV_STATE_MAX) {
        status = grv_error_set(error, GRV_CORRUPT, "manifests",
                               "the record \"%s\" has %zu bytes, want 1 to %u", name,
                               value.bytes.size, GRV_STATE_MAX);
    } else {
        status = grv_buffer_append(out, value.bytes, error);
    }
    grv_value_done(&value);
    return status;
}

grv_status grv_manifest_repo_kv_state_set(const grv_call *call, grv_manifest_repo *base,
                                          const char *name, const grv_bytes *expected,
                                          grv_bytes state, grv_error *error)
{
    const state_key key = state_key_of(name);
    const grv_bytes key_bytes = {key.bytes, key.size};
    const grv_kv_op op = {
        .kind = state.size > 0 ? GRV_KV_PUT : GRV_KV_DELETE,
        .ns = GRV_NS_META,
        .key = key_bytes,
        .value = state,
    };
    grv_kv_guard guard = {.kind = GRV_KV_ABSENT, .ns = GRV_NS_META, .key = key_bytes};
    if (expected) {
        guard.kind = GRV_KV_EQUALS;
        guard.value = *expected;
    }
    const grv_kv_batch batch = {
        .ops = &op, .op_count = 1, .guards = &guard, .guard_count = 1, .durability = GRV_DURABLE};
    grv_status status = grv_kv_write(call, grv_manifest_repo_kv_of(base)->kv, &batch, error);
    if (status == GRV_CONFLICT) {
        return grv_error_set(error, GRV_CONFLICT, "manifests", "the record \"%s\" is %s", name,
                             expected ? "not the expected one" : "there already");
    }
    return status;
}
