/* SPDX-License-Identifier: Apache-2.0 */
/*
 * spoil DIRECTORY NAMESPACE NUMBER: flips a bit in one stored value of a closed store's metadata,
 * counted from 0 in key order. The database takes it for a good write, so its own checksums agree:
 * what is found out is what graviton's records guard.
 */
#include <graviton/backend/kv.h>
#include <graviton/backend/rocks.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static unsigned namespace_of(const char *name)
{
    for (unsigned ns = 0; ns < GRV_NS_COUNT; ns++) {
        if (strcmp(grv_kv_namespace_names[ns], name) == 0) {
            return ns;
        }
    }
    fprintf(stderr, "spoil: no namespace %s\n", name);
    exit(2);
}

static grv_status spoil(grv_kv *kv, unsigned ns, unsigned long number, grv_error *error)
{
    grv_kv_cursor *cursor = NULL;
    grv_kv_scan scan = {.ns = ns};
    grv_kv_item item = {0};
    grv_status status = grv_kv_open_scan(NULL, kv, &scan, &cursor, error);
    for (unsigned long i = 0; !status && i <= number; i++) {
        status = grv_kv_cursor_next(NULL, cursor, &item, error);
    }
    uint8_t *value = status ? NULL : malloc(item.value.size + 1);
    if (value) {
        memcpy(value, item.value.data, item.value.size);
        value[item.value.size / 2] ^= 1;
        grv_kv_op op = {.kind = GRV_KV_PUT,
                        .ns = ns,
                        .key = item.key,
                        .value = grv_bytes_of(value, item.value.size)};
        grv_kv_batch batch = {.ops = &op, .op_count = 1, .durability = GRV_DURABLE};
        status = grv_kv_write(NULL, kv, &batch, error);
    }
    free(value);
    grv_kv_cursor_free(cursor);
    return status;
}

int main(int argc, char **argv)
{
    if (argc != 4) {
        fprintf(stderr, "usage: spoil DIRECTORY NAMESPACE NUMBER\n");
        return 2;
    }
    grv_error error = GRV_ERROR_INIT;
    grv_rocks_config config = {
        .directory = argv[1],
        .namespaces = grv_kv_namespace_names,
        .namespace_count = GRV_NS_COUNT,
    };
    grv_kv *kv = NULL;
    unsigned ns = namespace_of(argv[2]);
    grv_status status = grv_kv_rocks_new(&config, &kv, &error);
    if (!status) {
        status = spoil(kv, ns, strtoul(argv[3], NULL, 10), &error);
    }
    grv_kv_free(kv);
    if (status) {
        fprintf(stderr, "spoil: %s\n", error.message);
    }
    return status ? 1 : 0;
}
