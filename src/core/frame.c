/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The frame codec. What it guards: no field is believed before the checksum over the whole frame
 * agreed, no byte is read past the view, and decompression never writes past the raw length.
 */
#include "core/frame.h"

#include <assert.h>
#include <string.h>
#include <xxhash.h>
#include <zstd.h>
#include <zstd_errors.h>

#define FRAME_VERSION      1
#define FRAME_FLAG_FOLLOWS 1u

static const uint8_t frame_magic[4] = {'G', 'R', 'V', 'F'};

/* Offsets in the header; docs/format.md has the same table. */
enum {
    AT_MAGIC = 0,
    AT_VERSION = 4,
    AT_KIND = 5,
    AT_ENCODING = 6,
    AT_FLAGS = 7,
    AT_DIGEST_HASH = 8,
    AT_KEY_DOMAIN = 9,
    AT_CHUNKER = 10,
    AT_RESERVED = 11,
    AT_RAW_SIZE = 12,
    AT_STORED_SIZE = 16,
    AT_DICTIONARY_ID = 20,
    AT_KEY_ID = 24,
    AT_NONCE = 28,
    AT_TAG = 40,
    AT_DIGEST = 56,
    AT_PAYLOAD = 88
};
_Static_assert(AT_DIGEST + GRV_DIGEST_SIZE == AT_PAYLOAD, "the digest ends the header");
_Static_assert(AT_PAYLOAD == GRV_FRAME_HEADER_SIZE, "header size");

static void store_le(uint8_t *out, uint64_t value, unsigned bytes)
{
    for (unsigned i = 0; i < bytes; i++) {
        out[i] = (uint8_t)(value >> (8 * i));
    }
}

static uint64_t load_le(const uint8_t *in, unsigned bytes)
{
    uint64_t value = 0;
    for (unsigned i = 0; i < bytes; i++) {
        value |= (uint64_t)in[i] << (8 * i);
    }
    return value;
}

void grv_frame_coder_done(grv_frame_coder *coder)
{
    ZSTD_freeCCtx(coder->compressor);
    ZSTD_freeDCtx(coder->decompressor);
    *coder = (grv_frame_coder){0};
}

/*
 * Random bytes spread evenly over the 256 values, so the sum of the squared counts of a sample of n
 * is close to n + n^2 / 256. What compresses by more than a trifle lies well above that. The sample
 * is 64 stretches over the whole of the bytes, since headers rarely look like what they head.
 */
bool grv_frame_compressible(grv_bytes raw)
{
    enum { STRETCHES = 64, STRETCH = 64, SAMPLE = STRETCHES * STRETCH };
    if (raw.size < GRV_FRAME_COMPRESS_MIN) {
        return false;
    }
    if (raw.size < 2 * SAMPLE) {
        return true; /* zstd itself is as quick on so little, and a small sample tells little */
    }
    uint32_t counts[256] = {0};
    size_t step = (raw.size - STRETCH) / (STRETCHES - 1);
    for (size_t i = 0; i < STRETCHES; i++) {
        const uint8_t *stretch = raw.data + i * step;
        for (size_t k = 0; k < STRETCH; k++) {
            counts[stretch[k]]++;
        }
    }
    uint32_t squares = 0;
    for (size_t i = 0; i < 256; i++) {
        squares += counts[i] * counts[i];
    }
    const uint32_t random = SAMPLE + SAMPLE / 256 * SAMPLE;
    return squares > random + random / 20;
}

/* Tries to compress `raw` into fewer bytes at `out`; *ret_size 0 where that cannot be. */
static grv_status frame_compress(grv_frame_coder *coder, grv_bytes raw, uint8_t *out,
                                 size_t *ret_size, grv_error *error)
{
    *ret_size = 0;
    if (!grv_frame_compressible(raw)) {
        return GRV_OK;
    }
    if (!coder->compressor) {
        coder->compressor = ZSTD_createCCtx();
        if (!coder->compressor) {
            return grv_error_set(error, GRV_LIMIT_EXCEEDED, "frame", "no memory for a compressor");
        }
        /* The frame has both already. */
        size_t bad = ZSTD_CCtx_setParameter(coder->compressor, ZSTD_c_contentSizeFlag, 0);
        if (!ZSTD_isError(bad)) {
            bad = ZSTD_CCtx_setParameter(coder->compressor, ZSTD_c_checksumFlag, 0);
        }
        if (!ZSTD_isError(bad)) {
            bad = ZSTD_CCtx_setParameter(coder->compressor, ZSTD_c_compressionLevel,
                                         GRV_FRAME_ZSTD_LEVEL);
        }
        if (ZSTD_isError(bad)) {
            return grv_error_set(error, GRV_INTERNAL, "frame", "zstd: %s", ZSTD_getErrorName(bad));
        }
    }
    /* One byte less than raw: a result that isn't shorter has no room, which ends the try. */
    size_t size = ZSTD_compress2(coder->compressor, out, raw.size - 1, raw.data, raw.size);
    if (!ZSTD_isError(size)) {
        *ret_size = size;
        return GRV_OK;
    }
    if (ZSTD_getErrorCode(size) == ZSTD_error_dstSize_tooSmall) {
        return GRV_OK;
    }
    grv_status status =
        ZSTD_getErrorCode(size) == ZSTD_error_memory_allocation ? GRV_LIMIT_EXCEEDED : GRV_INTERNAL;
    return grv_error_set(error, status, "frame", "zstd: %s", ZSTD_getErrorName(size));
}

static bool kind_is_known(unsigned kind)
{
    return kind >= GRV_FRAME_BLOCK && kind <= GRV_FRAME_TOMBSTONE;
}

static bool hash_is_known(unsigned hash)
{
    return hash == GRV_HASH_BLAKE3 || hash == GRV_HASH_SHA256;
}

grv_status grv_frame_encode(grv_frame_coder *coder, const grv_frame_info *info, grv_bytes raw,
                            grv_span out, size_t *ret_size, grv_error *error)
{
    if (!kind_is_known(info->kind) || !hash_is_known(info->digest.hash) ||
        info->chunker > GRV_CHUNKER_DELIMITER || raw.size > GRV_FRAME_RAW_MAX ||
        (info->kind == GRV_FRAME_BLOCK && raw.size == 0)) {
        return grv_error_set(error, GRV_INVALID_ARGUMENT, "frame",
                             "no frame of kind %u, hash %u, chunker %u holds %zu bytes",
                             (unsigned)info->kind, (unsigned)info->digest.hash,
                             (unsigned)info->chunker, raw.size);
    }
    assert(out.size >= raw.size + GRV_FRAME_OVERHEAD);
    uint8_t *header = out.data;
    uint8_t *payload = out.data + AT_PAYLOAD;
    size_t stored = 0;
    grv_status status = frame_compress(coder, raw, payload, &stored, error);
    if (status) {
        return status;
    }
    grv_frame_encoding encoding = stored ? GRV_FRAME_ZSTD : GRV_FRAME_PLAIN;
    if (!stored && raw.size) {
        memcpy(payload, raw.data, raw.size);
        stored = raw.size;
    }
    memset(header, 0, GRV_FRAME_HEADER_SIZE);
    memcpy(header + AT_MAGIC, frame_magic, sizeof frame_magic);
    header[AT_VERSION] = FRAME_VERSION;
    header[AT_KIND] = (uint8_t)info->kind;
    header[AT_ENCODING] = (uint8_t)encoding;
    header[AT_FLAGS] = info->follows ? FRAME_FLAG_FOLLOWS : 0;
    header[AT_DIGEST_HASH] = (uint8_t)info->digest.hash;
    header[AT_CHUNKER] = (uint8_t)info->chunker;
    store_le(header + AT_RAW_SIZE, raw.size, 4);
    store_le(header + AT_STORED_SIZE, stored, 4);
    memcpy(header + AT_DIGEST, info->digest.bytes, GRV_DIGEST_SIZE);
    store_le(payload + stored, XXH3_64bits(out.data, AT_PAYLOAD + stored), 8);
    *ret_size = stored + GRV_FRAME_OVERHEAD;
    return GRV_OK;
}

static grv_status frame_corrupt(const char *what, grv_error *error)
{
    return grv_error_set(error, GRV_CORRUPT, "frame", "a bad frame: %s", what);
}

/* Whether the fields that wait for later versions are all zero. */
static bool reserved_is_zero(const uint8_t *header)
{
    uint8_t bits = header[AT_KEY_DOMAIN] | header[AT_RESERVED];
    for (size_t i = AT_DICTIONARY_ID; i < AT_DIGEST; i++) {
        bits |= header[i];
    }
    return bits == 0 && (header[AT_FLAGS] & ~FRAME_FLAG_FOLLOWS) == 0;
}

/* The checks that a frame whose checksum agrees must pass still: its writer may be newer, or
 * hostile. */
static grv_status frame_check(const uint8_t *header, uint32_t raw, uint32_t stored,
                              grv_error *error)
{
    if (!kind_is_known(header[AT_KIND]) || !hash_is_known(header[AT_DIGEST_HASH]) ||
        header[AT_ENCODING] > GRV_FRAME_ZSTD || header[AT_CHUNKER] > GRV_CHUNKER_DELIMITER ||
        !reserved_is_zero(header)) {
        return grv_error_set(
            error, GRV_UNSUPPORTED, "frame",
            "a frame of kind %u, hash %u, encoding %u, chunker %u or with reserved "
            "fields in use: written by a newer version",
            header[AT_KIND], header[AT_DIGEST_HASH], header[AT_ENCODING], header[AT_CHUNKER]);
    }
    if (raw == 0 && header[AT_KIND] == GRV_FRAME_BLOCK) {
        return frame_corrupt("a block of no bytes", error);
    }
    if (header[AT_ENCODING] == GRV_FRAME_PLAIN ? stored != raw : stored >= raw) {
        return frame_corrupt("its stored length does not go with its raw length", error);
    }
    return GRV_OK;
}

grv_status grv_frame_decode(grv_bytes bytes, grv_frame *ret_frame, grv_error *error)
{
    if (bytes.size < GRV_FRAME_OVERHEAD) {
        return frame_corrupt("shorter than a header", error);
    }
    const uint8_t *header = bytes.data;
    if (memcmp(header + AT_MAGIC, frame_magic, sizeof frame_magic) != 0) {
        return frame_corrupt("no frame begins here", error);
    }
    if (header[AT_VERSION] != FRAME_VERSION) {
        return frame_corrupt("unknown version", error);
    }
    uint32_t raw = (uint32_t)load_le(header + AT_RAW_SIZE, 4);
    uint32_t stored = (uint32_t)load_le(header + AT_STORED_SIZE, 4);
    if (raw > GRV_FRAME_RAW_MAX || stored > GRV_FRAME_RAW_MAX) {
        return frame_corrupt("a length past the limit", error);
    }
    if (stored > bytes.size - GRV_FRAME_OVERHEAD) {
        return frame_corrupt("cut off", error);
    }
    size_t summed = GRV_FRAME_HEADER_SIZE + (size_t)stored;
    if (load_le(bytes.data + summed, 8) != XXH3_64bits(bytes.data, summed)) {
        return frame_corrupt("the checksum does not agree", error);
    }
    grv_status status = frame_check(header, raw, stored, error);
    if (status) {
        return status;
    }
    grv_frame frame = {
        .info = {.kind = (grv_frame_kind)header[AT_KIND],
                 .digest.hash = (grv_hash)header[AT_DIGEST_HASH],
                 .chunker = (grv_chunker_kind)header[AT_CHUNKER],
                 .follows = header[AT_FLAGS] & FRAME_FLAG_FOLLOWS},
        .encoding = (grv_frame_encoding)header[AT_ENCODING],
        .raw_size = raw,
        .payload = {bytes.data + AT_PAYLOAD, stored},
        .size = summed + GRV_FRAME_TRAILER_SIZE,
    };
    memcpy(frame.info.digest.bytes, header + AT_DIGEST, GRV_DIGEST_SIZE);
    *ret_frame = frame;
    return GRV_OK;
}

grv_status grv_frame_unpack(grv_frame_coder *coder, const grv_frame *frame, grv_span raw,
                            grv_error *error)
{
    assert(raw.size == frame->raw_size);
    if (frame->encoding == GRV_FRAME_PLAIN) {
        if (raw.size) {
            memcpy(raw.data, frame->payload.data, raw.size);
        }
        return GRV_OK;
    }
    if (!coder->decompressor) {
        coder->decompressor = ZSTD_createDCtx();
        if (!coder->decompressor) {
            return grv_error_set(error, GRV_LIMIT_EXCEEDED, "frame",
                                 "no memory for a decompressor");
        }
    }
    size_t size = ZSTD_decompressDCtx(coder->decompressor, raw.data, raw.size, frame->payload.data,
                                      frame->payload.size);
    if (ZSTD_isError(size)) {
        return grv_error_set(error, GRV_CORRUPT, "frame", "a bad frame: zstd: %s",
                             ZSTD_getErrorName(size));
    }
    return size == raw.size ? GRV_OK : frame_corrupt("it decodes to too few bytes", error);
}
