/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Frames: the stored form of one thing. A fixed header, the payload, a checksum over both.
 * docs/format.md gives every byte. A frame says what it holds and how long it is, so that frames
 * laid one after another can be read back without an index.
 */
#ifndef GRV_CORE_FRAME_H
#define GRV_CORE_FRAME_H

#include <graviton/chunker.h>
#include <graviton/digest.h>

/* Bytes before the payload and after it. */
#define GRV_FRAME_HEADER_SIZE  88
#define GRV_FRAME_TRAILER_SIZE 8
#define GRV_FRAME_OVERHEAD     (GRV_FRAME_HEADER_SIZE + GRV_FRAME_TRAILER_SIZE)
/* Most bytes that one frame holds, before and after encoding. */
#define GRV_FRAME_RAW_MAX GRV_BLOCK_SIZE_MAX
/* Largest frame. */
#define GRV_FRAME_SIZE_MAX (GRV_FRAME_RAW_MAX + GRV_FRAME_OVERHEAD)
/* Less than this is stored plain without a try: zstd's own framing would eat what it saves. */
#define GRV_FRAME_COMPRESS_MIN 128u
/* zstd level for new frames. Any level reads back. */
#define GRV_FRAME_ZSTD_LEVEL 1

/* What a frame holds. The numbers are stored; never reuse one. */
typedef enum grv_frame_kind {
    GRV_FRAME_BLOCK = 1,
    GRV_FRAME_MANIFEST_PAGE = 2,
    GRV_FRAME_MANIFEST_ROOT = 3,
    GRV_FRAME_TOMBSTONE = 4
} grv_frame_kind;

/* How the payload stands for the raw bytes. The numbers are stored; never reuse one. */
typedef enum grv_frame_encoding {
    GRV_FRAME_PLAIN = 0, /* payload and raw bytes are the same */
    GRV_FRAME_ZSTD = 1,  /* zstd, and shorter than the raw bytes */
    /* Reserved, refused as GRV_UNSUPPORTED until they land: zstd with a dictionary, and either
     * encrypted after compression. */
    GRV_FRAME_ZSTD_DICTIONARY = 2,
    GRV_FRAME_SEALED_PLAIN = 3,
    GRV_FRAME_SEALED_ZSTD = 4
} grv_frame_encoding;

/* What a frame says of its content. */
typedef struct grv_frame_info {
    grv_frame_kind kind;
    grv_digest digest;        /* of the raw bytes */
    grv_chunker_kind chunker; /* that cut the block; 0: not said */
    bool follows;             /* in its stream this block comes right after the frame before it */
} grv_frame_info;

/* A decoded frame: a view into the bytes it was decoded from. */
typedef struct grv_frame {
    grv_frame_info info;
    grv_frame_encoding encoding;
    uint32_t raw_size;
    grv_bytes payload;
    size_t size; /* of the whole frame */
} grv_frame;

/*
 * The working memory of encoding and decoding, some hundred KiB kept between calls. Zero-initialise
 * it; one thread at a time.
 */
typedef struct grv_frame_coder {
    void *compressor;
    void *decompressor;
} grv_frame_coder;

/* Frees what the coder holds. Harmless on a zeroed one. */
void grv_frame_coder_done(grv_frame_coder *coder);

/*
 * Whether bytes are worth a try at compression: false for what is short or looks random in a sample
 * of 4 KiB. Cheap; a wrong answer costs time or space, never bytes.
 */
bool grv_frame_compressible(grv_bytes raw);

/*
 * Writes a frame of `raw` (at most GRV_FRAME_RAW_MAX bytes) to `out`, which has room for
 * raw.size + GRV_FRAME_OVERHEAD bytes, and its size to *ret_size. Payload is zstd where that is
 * shorter. Contents of `out` past the frame, or on failure, are unspecified. GRV_INVALID_ARGUMENT
 * for a kind, digest, chunker or size that a frame cannot say; GRV_LIMIT_EXCEEDED without memory.
 */
grv_status grv_frame_encode(grv_frame_coder *coder, const grv_frame_info *info, grv_bytes raw,
                            grv_span out, size_t *ret_size, grv_error *error);

/*
 * Reads the frame that `bytes` begins with; more may follow it. Checks every field and the
 * checksum. GRV_CORRUPT says what is wrong; GRV_UNSUPPORTED where the frame is sound and uses what
 * this version does not know. Allocates nothing.
 */
grv_status grv_frame_decode(grv_bytes bytes, grv_frame *ret_frame, grv_error *error);

/*
 * Writes the raw bytes of a decoded frame to `raw`, raw.size == frame->raw_size. Their digest is
 * not computed here. GRV_CORRUPT where the payload does not decode to exactly that many bytes, and
 * then `raw` holds nothing to rely on; GRV_LIMIT_EXCEEDED without memory.
 */
grv_status grv_frame_unpack(grv_frame_coder *coder, const grv_frame *frame, grv_span raw,
                            grv_error *error);

#endif
