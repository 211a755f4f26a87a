/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The names that blocks have in files and in S3, `<hex>-<size>`, in a folder of their algorithm. A
 * key has exactly one name, so that a name that is read can be trusted to lead back.
 */
#ifndef GRV_CORE_BLOCK_NAME_H
#define GRV_CORE_BLOCK_NAME_H

#include <graviton/key.h>

/* Room for a name: 64 hex digits, "-", at most 8 digits, NUL. */
#define GRV_BLOCK_NAME_SIZE 80

/* The block's name. */
void grv_block_name_print(const grv_block_key *key, char ret_name[GRV_BLOCK_NAME_SIZE]);

/* The key that a name in `hash`'s folder stands for; false for a name that no block has, other
 * spellings of a block's name included. */
bool grv_block_name_parse(grv_hash hash, const char *name, grv_block_key *ret_key);

#endif
