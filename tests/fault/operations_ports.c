/* SPDX-License-Identifier: Apache-2.0 */
/* The operations of the ports beside the store's own. */
#include "nth.h"

static grv_status put_object(fault_rig *rig, grv_error *error)
{
    return rig_put_object(rig, RIG_FIRST, true, false, error);
}

/* Where an attempt before this one has put it, that is what it wanted. */
static grv_status put_object_if_absent(fault_rig *rig, grv_error *error)
{
    bool tried = rig->contents[RIG_NEW] != RIG_NO_OBJECT;
    grv_status status = rig_put_object(rig, RIG_NEW, false, true, error);
    if (status == GRV_ALREADY_EXISTS && tried) {
        rig->contents[RIG_NEW] = RIG_OLD_BYTES;
        return GRV_OK;
    }
    return status;
}

static grv_status get_object(fault_rig *rig, grv_error *error)
{
    unsigned has = 0;
    grv_object_info info;
    const grv_locator locator = rig_locator(rig, RIG_FIRST);
    grv_status status = grv_object_store_head(NULL, &rig->objects->base, &locator, &info, error);
    if (!status) {
        status = rig_get_object(rig, RIG_FIRST, &has, error);
    }
    if (!status && has != RIG_OLD_BYTES) {
        rig_fail(rig, "an object that is there is not found");
    }
    return status;
}

static grv_status remove_object(fault_rig *rig, grv_error *error)
{
    return rig_remove_object(rig, RIG_FIRST, error);
}

static grv_status change_replicas(fault_rig *rig, grv_error *error)
{
    grv_status status = rig_add_replica(rig, error);
    if (!status) {
        status = rig_get_replicas(rig, error);
    }
    return status ? status : rig_list_replicas(rig, error);
}

/* Both ways of taking a replica away, and of adding one. */
static grv_status replace_replicas(fault_rig *rig, grv_error *error)
{
    grv_status status = rig_set_replicas(rig, true, error);
    if (!status) {
        status = rig_remove_replica(rig, error);
    }
    if (!status) {
        status = rig_get_replicas(rig, error);
    }
    if (!status) {
        status = rig_add_replica(rig, error);
    }
    if (!status) {
        status = rig_set_replicas(rig, false, error);
    }
    return status ? status : rig_list_replicas(rig, error);
}

static grv_status change_ranges(fault_rig *rig, grv_error *error)
{
    grv_status status = rig_merge_range(rig, error);
    if (!status) {
        status = rig_get_ranges(rig, error);
    }
    return status ? status : rig_list_ranges(rig, error);
}

static grv_status forget_ranges(fault_rig *rig, grv_error *error)
{
    grv_status status = rig_track_other(rig, error);
    return status ? status : rig_list_ranges(rig, error);
}

const nth_operation nth_object_operations[] = {
    {.name = "put of an object", .run = put_object},
    {.name = "put of a new object", .run = put_object_if_absent},
    {.name = "copy of an object", .run = rig_copy_object},
    {.name = "get of an object", .run = get_object},
    {.name = "list of objects", .run = rig_list_objects},
    {.name = "removal of an object", .run = remove_object},
};
const size_t nth_object_operation_count =
    sizeof nth_object_operations / sizeof nth_object_operations[0];

const nth_operation nth_index_operations[] = {
    {.name = "replicas", .run = change_replicas},
    {.name = "replacing of replicas", .run = replace_replicas},
    {.name = "ranges", .run = change_ranges},
    {.name = "resetting of ranges", .run = forget_ranges},
};
const size_t nth_index_operation_count =
    sizeof nth_index_operations / sizeof nth_index_operations[0];
