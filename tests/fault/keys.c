/* SPDX-License-Identifier: Apache-2.0 */
/*
 * keys DIRECTORY NAMESPACE: prints the keys of one namespace of a closed store's metadata, in hex,
 * a line each. What lies there, whatever the layers above would say of it.
 */
#include <graviton/backend/kv.h>
#include <graviton/backend/rocks.h>
#include <stdio.h>
#include <string.h>

static grv_status print_keys(grv_kv *kv, unsigned ns, grv_error *error)
{
    grv_kv_cursor *cursor = NULL;
    const grv_kv_scan scan = {.ns = ns, .keys_only = true};
    grv_kv_item item = {0};
    grv_status status = grv_kv_open_scan(NULL, kv, &scan, &cursor, error);
    while (!status) {
        status = grv_kv_cursor_next(NULL, cursor, &item, error);
        for (size_t i = 0; i < item.key.size && !status; i++) {
            printf(i + 1 < item.key.size ? "%02x" : "%02x\n", item.key.data[i]);
        }
    }
    grv_kv_cursor_free(cursor);
    return status == GRV_NOT_FOUND ? GRV_OK : status;
}

int main(int argc, char **argv)
{
    unsigned ns = 0;
    while (argc == 3 && ns < GRV_NS_COUNT && strcmp(grv_kv_namespace_names[ns], argv[2]) != 0) {
        ns++;
    }
    if (argc != 3 || ns == GRV_NS_COUNT) {
        fprintf(stderr, "usage: keys DIRECTORY NAMESPACE\n");
        return 2;
    }
    grv_error error = GRV_ERROR_INIT;
    grv_rocks_config config = {
        .directory = argv[1],
        .namespaces = grv_kv_namespace_names,
        .namespace_count = GRV_NS_COUNT,
        .read_only = true,
    };
    grv_kv *kv = NULL;
    grv_status status = grv_kv_rocks_new(&config, &kv, &error);
    if (!status) {
        status = print_keys(kv, ns, &error);
    }
    grv_kv_free(kv);
    if (status) {
        fprintf(stderr, "keys: %s\n", error.message);
    }
    return status || fflush(stdout) ? 1 : 0;
}
