/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Our own names for BLAKE3's functions, put before each of its sources, assembly too, and before
 * whoever calls them. A program that links libgraviton.a and a BLAKE3 of its own then has two that
 * do not clash. Not grv_ but grvi_, because the shared library shows all that begins with grv_ and
 * visibility flags do not reach assembly. tests/install checks that none is left out.
 */
#ifndef GRV_CORE_BLAKE3_NAMES_H
#define GRV_CORE_BLAKE3_NAMES_H

#define blake3_version                    grvi_blake3_version
#define blake3_hasher_init                grvi_blake3_hasher_init
#define blake3_hasher_init_keyed          grvi_blake3_hasher_init_keyed
#define blake3_hasher_init_derive_key     grvi_blake3_hasher_init_derive_key
#define blake3_hasher_init_derive_key_raw grvi_blake3_hasher_init_derive_key_raw
#define blake3_hasher_update              grvi_blake3_hasher_update
#define blake3_hasher_finalize            grvi_blake3_hasher_finalize
#define blake3_hasher_finalize_seek       grvi_blake3_hasher_finalize_seek
#define blake3_hasher_reset               grvi_blake3_hasher_reset
#define blake3_compress_in_place          grvi_blake3_compress_in_place
#define blake3_compress_xof               grvi_blake3_compress_xof
#define blake3_compress_subtree_wide      grvi_blake3_compress_subtree_wide
#define blake3_hash_many                  grvi_blake3_hash_many
#define blake3_simd_degree                grvi_blake3_simd_degree
#define blake3_compress_in_place_portable grvi_blake3_compress_in_place_portable
#define blake3_compress_xof_portable      grvi_blake3_compress_xof_portable
#define blake3_hash_many_portable         grvi_blake3_hash_many_portable
#define blake3_compress_in_place_sse2     grvi_blake3_compress_in_place_sse2
#define blake3_compress_xof_sse2          grvi_blake3_compress_xof_sse2
#define blake3_hash_many_sse2             grvi_blake3_hash_many_sse2
#define _blake3_compress_in_place_sse2    grvi__blake3_compress_in_place_sse2
#define _blake3_compress_xof_sse2         grvi__blake3_compress_xof_sse2
#define _blake3_hash_many_sse2            grvi__blake3_hash_many_sse2
#define blake3_compress_in_place_sse41    grvi_blake3_compress_in_place_sse41
#define blake3_compress_xof_sse41         grvi_blake3_compress_xof_sse41
#define blake3_hash_many_sse41            grvi_blake3_hash_many_sse41
#define _blake3_compress_in_place_sse41   grvi__blake3_compress_in_place_sse41
#define _blake3_compress_xof_sse41        grvi__blake3_compress_xof_sse41
#define _blake3_hash_many_sse41           grvi__blake3_hash_many_sse41
#define blake3_hash_many_avx2             grvi_blake3_hash_many_avx2
#define _blake3_hash_many_avx2            grvi__blake3_hash_many_avx2
#define blake3_compress_in_place_avx512   grvi_blake3_compress_in_place_avx512
#define blake3_compress_xof_avx512        grvi_blake3_compress_xof_avx512
#define blake3_hash_many_avx512           grvi_blake3_hash_many_avx512
#define _blake3_compress_in_place_avx512  grvi__blake3_compress_in_place_avx512
#define _blake3_compress_xof_avx512       grvi__blake3_compress_xof_avx512
#define _blake3_hash_many_avx512          grvi__blake3_hash_many_avx512
#define blake3_hash4_neon                 grvi_blake3_hash4_neon
#define blake3_hash_many_neon             grvi_blake3_hash_many_neon

#endif
