/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The persistent treap. Invariants: keys are in symmetric order; no child has a higher priority
 * than its parent; a node reachable from a published version is never changed again but for its
 * count. Priorities are random, so the depth is logarithmic whatever the keys are.
 */
#include "backend/memory/tree.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

struct grv_tree_node {
    unsigned refs;
    uint64_t edit; /* the edit that made it */
    uint64_t priority;
    grv_tree_node *left;
    grv_tree_node *right;
    grv_tree_entry *entry;
};

static void count_up(unsigned *refs)
{
    __atomic_fetch_add(refs, 1, __ATOMIC_RELAXED);
}

/* True for the last reference: everything other holders did happened before. */
static bool count_down(unsigned *refs)
{
    return __atomic_fetch_sub(refs, 1, __ATOMIC_ACQ_REL) == 1;
}

static grv_status entry_new(grv_bytes key, grv_bytes value, grv_tree_entry **ret_entry,
                            grv_error *error)
{
    grv_tree_entry *entry = malloc(sizeof *entry + key.size + value.size);
    if (!entry) {
        return grv_error_set(error, GRV_LIMIT_EXCEEDED, "memory",
                             "no memory for a value of %zu bytes", value.size);
    }
    entry->refs = 1;
    entry->key_size = (uint32_t)key.size;
    entry->value_size = value.size;
    memcpy(entry->bytes, key.data, key.size);
    if (value.size) {
        memcpy(entry->bytes + key.size, value.data, value.size);
    }
    *ret_entry = entry;
    return GRV_OK;
}

grv_tree_entry *grv_tree_entry_ref(grv_tree_entry *entry)
{
    count_up(&entry->refs);
    return entry;
}

void grv_tree_entry_unref(grv_tree_entry *entry)
{
    if (count_down(&entry->refs)) {
        free(entry);
    }
}

grv_tree_node *grv_tree_ref(grv_tree_node *root)
{
    if (root) {
        count_up(&root->refs);
    }
    return root;
}

void grv_tree_unref(grv_tree_node *root)
{
    while (root && count_down(&root->refs)) {
        grv_tree_node *right = root->right;
        grv_tree_unref(root->left);
        grv_tree_entry_unref(root->entry);
        free(root);
        root = right;
    }
}

grv_tree_entry *grv_tree_find(const grv_tree_node *root, grv_bytes key)
{
    while (root) {
        int order = grv_bytes_compare(key, grv_tree_entry_key(root->entry));
        if (order == 0) {
            return root->entry;
        }
        root = order < 0 ? root->left : root->right;
    }
    return NULL;
}

grv_tree_entry *grv_tree_first(const grv_tree_node *root, grv_tree_test *test, const void *context)
{
    grv_tree_entry *found = NULL;
    while (root) {
        if (test(grv_tree_entry_key(root->entry), context)) {
            found = root->entry;
            root = root->left;
        } else {
            root = root->right;
        }
    }
    return found;
}

grv_tree_entry *grv_tree_last(const grv_tree_node *root, grv_tree_test *test, const void *context)
{
    grv_tree_entry *found = NULL;
    while (root) {
        if (test(grv_tree_entry_key(root->entry), context)) {
            found = root->entry;
            root = root->right;
        } else {
            root = root->left;
        }
    }
    return found;
}

/* splitmix64: the next number from *state. */
static uint64_t next_random(uint64_t *state)
{
    uint64_t z = (*state += UINT64_C(0x9e3779b97f4a7c15));
    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return z ^ z >> 31;
}

/* A node that takes over the references to its parts; it takes none on failure. */
static grv_status node_new(const grv_tree_edit *edit, uint64_t priority, grv_tree_entry *entry,
                           grv_tree_node **ret_node, grv_error *error)
{
    grv_tree_node *node = malloc(sizeof *node);
    if (!node) {
        return grv_error_set(error, GRV_LIMIT_EXCEEDED, "memory", "no memory for a map's node");
    }
    *node = (grv_tree_node){.refs = 1, .edit = edit->id, .priority = priority, .entry = entry};
    *ret_node = node;
    return GRV_OK;
}

/* Makes *slot a node that this edit may change: itself if the edit made it, else a copy. */
static grv_status own(const grv_tree_edit *edit, grv_tree_node **slot, grv_error *error)
{
    grv_tree_node *old = *slot;
    assert(old);
    if (old->edit == edit->id) {
        return GRV_OK;
    }
    grv_tree_node *copy = NULL;
    grv_status status = node_new(edit, old->priority, old->entry, &copy, error);
    if (status) {
        return status;
    }
    grv_tree_entry_ref(copy->entry);
    copy->left = grv_tree_ref(old->left);
    copy->right = grv_tree_ref(old->right);
    grv_tree_unref(old);
    *slot = copy;
    return GRV_OK;
}

/* Parts `node`, whose reference is taken over, into keys below `key` and the rest. On failure all
 * pieces still hang on one of the two, so that dropping them drops everything. */
static grv_status split(const grv_tree_edit *edit, grv_tree_node *node, grv_bytes key,
                        grv_tree_node **ret_below, grv_tree_node **ret_rest, grv_error *error)
{
    grv_tree_node **below = ret_below;
    grv_tree_node **rest = ret_rest;
    grv_status status = GRV_OK;
    while (node) {
        status = own(edit, &node, error);
        if (status) {
            break;
        }
        if (grv_bytes_compare(grv_tree_entry_key(node->entry), key) < 0) {
            *below = node;
            below = &node->right;
            node = node->right;
        } else {
            *rest = node;
            rest = &node->left;
            node = node->left;
        }
    }
    *below = node; /* NULL but on failure */
    *rest = NULL;
    return status;
}

/* Joins two trees, every key of `a` below every key of `b`; takes over both references, and on
 * failure too, when *ret_root holds all that is left. */
static grv_status join(const grv_tree_edit *edit, grv_tree_node *a, grv_tree_node *b,
                       grv_tree_node **ret_root, grv_error *error)
{
    grv_tree_node **slot = ret_root;
    while (a && b) {
        bool a_above = a->priority >= b->priority;
        grv_status status = own(edit, a_above ? &a : &b, error);
        if (status) {
            *slot = a;
            grv_tree_unref(b);
            return status;
        }
        if (a_above) {
            *slot = a;
            slot = &a->right;
            a = a->right;
        } else {
            *slot = b;
            slot = &b->left;
            b = b->left;
        }
    }
    *slot = a ? a : b;
    return GRV_OK;
}

/* The slot of the node that holds `key`, which is there, on a path this edit owns. */
static grv_status own_path(const grv_tree_edit *edit, grv_tree_node **root, grv_bytes key,
                           grv_tree_node ***ret_slot, grv_error *error)
{
    grv_tree_node **slot = root;
    for (;;) {
        grv_status status = own(edit, slot, error);
        if (status) {
            return status;
        }
        int order = grv_bytes_compare(key, grv_tree_entry_key((*slot)->entry));
        if (order == 0) {
            *ret_slot = slot;
            return GRV_OK;
        }
        slot = order < 0 ? &(*slot)->left : &(*slot)->right;
    }
}

static grv_status replace(const grv_tree_edit *edit, grv_tree_node **root, grv_tree_entry *entry,
                          grv_error *error)
{
    grv_tree_node **slot = NULL;
    grv_status status = own_path(edit, root, grv_tree_entry_key(entry), &slot, error);
    if (status) {
        return status;
    }
    grv_tree_entry_unref((*slot)->entry);
    (*slot)->entry = entry;
    return GRV_OK;
}

static grv_status insert(grv_tree_edit *edit, grv_tree_node **root, grv_tree_entry *entry,
                         grv_error *error)
{
    grv_bytes key = grv_tree_entry_key(entry);
    uint64_t priority = next_random(edit->random);
    grv_tree_node **slot = root;
    while (*slot && (*slot)->priority >= priority) {
        grv_status status = own(edit, slot, error);
        if (status) {
            return status;
        }
        int order = grv_bytes_compare(key, grv_tree_entry_key((*slot)->entry));
        slot = order < 0 ? &(*slot)->left : &(*slot)->right;
    }
    grv_tree_node *node = NULL;
    grv_status status = node_new(edit, priority, entry, &node, error);
    if (status) {
        return status;
    }
    grv_tree_node *below_here = *slot;
    *slot = node;
    status = split(edit, below_here, key, &node->left, &node->right, error);
    if (status) {
        grv_tree_entry_ref(entry); /* the node's; the caller gives its own back */
    }
    return status;
}

grv_status grv_tree_put(grv_tree_edit *edit, grv_tree_node **root, grv_bytes key, grv_bytes value,
                        grv_error *error)
{
    grv_tree_entry *entry = NULL;
    grv_status status = entry_new(key, value, &entry, error);
    if (status) {
        return status;
    }
    status = grv_tree_find(*root, key) ? replace(edit, root, entry, error)
                                       : insert(edit, root, entry, error);
    if (status) {
        grv_tree_entry_unref(entry);
    }
    return status;
}

grv_status grv_tree_remove(grv_tree_edit *edit, grv_tree_node **root, grv_bytes key,
                           grv_error *error)
{
    if (!grv_tree_find(*root, key)) {
        return GRV_OK;
    }
    grv_tree_node **slot = NULL;
    grv_status status = own_path(edit, root, key, &slot, error);
    if (status) {
        return status;
    }
    grv_tree_node *node = *slot;
    grv_tree_node *left = node->left;
    grv_tree_node *right = node->right;
    node->left = NULL;
    node->right = NULL;
    grv_tree_unref(node);
    return join(edit, left, right, slot, error);
}

grv_status grv_tree_remove_range(grv_tree_edit *edit, grv_tree_node **root, grv_bytes start,
                                 grv_bytes end, grv_error *error)
{
    grv_tree_node *below = NULL;
    grv_tree_node *inside = NULL;
    grv_tree_node *above = NULL;
    grv_tree_node *all = *root;
    *root = NULL;
    if (end.size && grv_bytes_compare(start, end) >= 0) {
        *root = all;
        return GRV_OK;
    }
    grv_status status = split(edit, all, start, &below, &inside, error);
    if (!status && end.size) {
        grv_tree_node *rest = inside;
        inside = NULL;
        status = split(edit, rest, end, &inside, &above, error);
    }
    grv_tree_unref(inside);
    if (status) {
        grv_tree_unref(below);
        grv_tree_unref(above);
        return status;
    }
    return join(edit, below, above, root, error);
}
