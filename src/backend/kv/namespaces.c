/* SPDX-License-Identifier: Apache-2.0 */
/* Names of the namespaces, as backends that name theirs store them. */
#include <graviton/backend/kv.h>

const char *const grv_kv_namespace_names[GRV_NS_COUNT] = {
    [GRV_NS_META] = "meta",
    [GRV_NS_ROOT] = "root",
    [GRV_NS_PAGE] = "page",
    [GRV_NS_SEQUENCE] = "sequence",
    [GRV_NS_ATTRIBUTES] = "attributes",
    [GRV_NS_BLOCK] = "block",
    [GRV_NS_BLOCK_INFO] = "block_info",
    [GRV_NS_REPLICA] = "replica",
    [GRV_NS_LOCATED] = "located",
    [GRV_NS_RANGE] = "range",
};
