/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How a stream is cut into blocks. The specification is stored with the store and with every
 * manifest; the cuts it gives are pinned by golden vectors and never change.
 */
#ifndef GRAVITON_CHUNKER_H
#define GRAVITON_CHUNKER_H

#include <graviton/key.h>

#ifdef __cplusplus
extern "C" {
#endif
#pragma GCC visibility push(default)

/* Chunker kinds. The numbers are stored; never reuse one. */
typedef enum grv_chunker_kind {
    GRV_CHUNKER_CDC = 1,      /* Gear-based, in the manner of FastCDC; docs/chunker.md */
    GRV_CHUNKER_FIXED = 2,    /* every SIZE bytes */
    GRV_CHUNKER_DELIMITER = 3 /* after each occurrence of a byte string */
} grv_chunker_kind;

/* Version of every kind's algorithm, stored beside its parameters. */
#define GRV_CHUNKER_VERSION 1u

/* Limits and defaults of the parameters, in bytes. */
#define GRV_CDC_SIZE_MIN            (16u << 10)
#define GRV_CDC_SIZE_MAX            (4u << 20)
#define GRV_CDC_SIZE_DEFAULT        (64u << 10)
#define GRV_DELIMITER_MAX           64u /* bytes of a delimiter, at least 1 */
#define GRV_DELIMITER_BLOCK_DEFAULT (1u << 20)
/* Room for any specification as text, NUL included. */
#define GRV_CHUNKER_TEXT_SIZE 168

/*
 * A chunker and its parameters. size: cdc: the target A, a power of two from 16 KiB to 4 MiB
 * (blocks are A/4 to 4A); fixed: the block size, 1 to 16 MiB; delimiter: the largest block, at
 * least the delimiter's size and at most 16 MiB. delimiter is for that kind alone, zero elsewhere.
 */
typedef struct grv_chunker_spec {
    grv_chunker_kind kind;
    uint32_t size;
    uint32_t delimiter_size;
    uint8_t delimiter[GRV_DELIMITER_MAX];
} grv_chunker_spec;

/* The default: cdc with GRV_CDC_SIZE_DEFAULT. */
grv_chunker_spec grv_chunker_default(void);

/*
 * Parses "cdc", "cdc:SIZE", "fixed:SIZE" or "delimiter:HEX[,MAX]"; sizes take K, M, G (binary), in
 * any case. GRV_INVALID_ARGUMENT says what is wrong; *ret_spec is unchanged then.
 */
grv_status grv_chunker_spec_parse(grv_bytes text, grv_chunker_spec *ret_spec, grv_error *error);

/* Prints what parse accepts, canonically ("cdc:64K", "fixed:64", "delimiter:0a,1M"). */
void grv_chunker_spec_print(const grv_chunker_spec *spec, char ret_text[GRV_CHUNKER_TEXT_SIZE]);

/* GRV_OK, or GRV_INVALID_ARGUMENT where a parameter is out of its bounds. */
grv_status grv_chunker_spec_check(const grv_chunker_spec *spec, grv_error *error);

/* True if the two give the same cuts for every input. */
bool grv_chunker_spec_equal(const grv_chunker_spec *a, const grv_chunker_spec *b);

/* Smallest and largest block the chunker makes, in bytes (the last of a stream may be smaller). */
uint32_t grv_chunker_block_min(const grv_chunker_spec *spec);
uint32_t grv_chunker_block_max(const grv_chunker_spec *spec);

#pragma GCC visibility pop
#ifdef __cplusplus
}
#endif

#endif
