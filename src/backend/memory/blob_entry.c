/* SPDX-License-Identifier: Apache-2.0 */
/* Entries of the memory blob store and binary search in arrays of them. */
#include "backend/memory/blob_entry.h"

#include <stdlib.h>
#include <string.h>

void grv_memory_entry_free(grv_memory_entry *entry)
{
    if (entry) {
        grv_memory_content_done(&entry->content);
        grv_buffer_done(&entry->attributes);
        free(entry);
    }
}

grv_status grv_memory_entries_reserve(grv_memory_entries *list, grv_error *error)
{
    if (list->count < list->capacity) {
        return GRV_OK;
    }
    size_t capacity = list->capacity ? 2 * list->capacity : 16;
    grv_memory_entry **entries = reallocarray(list->entries, capacity, sizeof *entries);
    if (!entries) {
        return grv_error_set(error, GRV_LIMIT_EXCEEDED, "memory",
                             "no memory for the list of blobs");
    }
    list->entries = entries;
    list->capacity = capacity;
    return GRV_OK;
}

void grv_memory_entries_insert(grv_memory_entries *list, size_t at, grv_memory_entry *entry)
{
    memmove(list->entries + at + 1, list->entries + at, (list->count - at) * sizeof *list->entries);
    list->entries[at] = entry;
    list->count++;
}

void grv_memory_entries_remove(grv_memory_entries *list, size_t at)
{
    list->count--;
    memmove(list->entries + at, list->entries + at + 1, (list->count - at) * sizeof *list->entries);
}

size_t grv_memory_entries_find_key(const grv_memory_entries *list, const grv_blob_key *key,
                                   bool after)
{
    size_t low = 0;
    size_t high = list->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        int order = grv_blob_key_compare(&list->entries[middle]->info.key, key);
        if (order < 0 || (after && order == 0)) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

size_t grv_memory_entries_find_sequence(const grv_memory_entries *list, uint64_t sequence)
{
    size_t low = 0;
    size_t high = list->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (list->entries[middle]->info.sequence < sequence) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}
