/* SPDX-License-Identifier: Apache-2.0 */
/* Where each field of a stored manifest lies, for its encoder and its decoder alone. */
#ifndef GRV_CORE_MANIFEST_LAYOUT_H
#define GRV_CORE_MANIFEST_LAYOUT_H

#include "core/manifest.h"

#define MANIFEST_VERSION 1u

#define ROOT_MAGIC         "GRVM"
#define ROOT_VERSION       4u
#define ROOT_DEPTH         6u
#define ROOT_BLOCK_HASH    7u
#define ROOT_REQUIRED      8u  /* feature bits a reader must know */
#define ROOT_OPTIONAL      12u /* feature bits a reader may ignore */
#define ROOT_ID            16u
#define ROOT_KEY           32u
#define ROOT_ZERO          73u
#define ROOT_COUNT         76u
#define ROOT_BLOCK_COUNT   80u
#define ROOT_CREATED       88u
#define ROOT_SEQUENCE      96u
#define ROOT_CHUNKER       104u /* kind, version, delimiter's size, 0 */
#define ROOT_CHUNKER_SIZE  108u
#define ROOT_HEADER_SIZE   112u /* then the delimiter, the entries, the checksum */
#define ROOT_CHECKSUM_SIZE 8u

#define PAGE_MAGIC       "GRVP"
#define PAGE_VERSION     4u
#define PAGE_LEVEL       6u
#define PAGE_BLOCK_HASH  7u
#define PAGE_COUNT       8u
#define PAGE_ZERO        12u
#define PAGE_ID          16u
#define PAGE_NUMBER      32u
#define PAGE_FIRST       40u
#define PAGE_SPAN        48u
#define PAGE_BASE        56u
#define PAGE_HEADER_SIZE 64u /* then the entries */

_Static_assert(PAGE_HEADER_SIZE + GRV_MANIFEST_PAGE_MAX * GRV_MANIFEST_ENTRY_SIZE ==
                   GRV_MANIFEST_PAGE_BYTES_MAX,
               "largest page");
_Static_assert(ROOT_HEADER_SIZE + GRV_DELIMITER_MAX +
                       GRV_MANIFEST_CHILDREN_MAX * GRV_MANIFEST_ENTRY_SIZE + ROOT_CHECKSUM_SIZE ==
                   GRV_MANIFEST_ROOT_BYTES_MAX,
               "largest root");
_Static_assert(ROOT_KEY + GRV_KEY_BYTES_SIZE == ROOT_ZERO, "a key's bytes");

#endif
