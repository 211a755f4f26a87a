/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Stored integers, one byte at a time: little-endian inside records, big-endian inside keys, whose
 * byte order is their sort order. No stored byte is ever read through a struct.
 */
#ifndef GRV_CORE_WIRE_H
#define GRV_CORE_WIRE_H

#include <stdint.h>

/* Reads a little-endian number. `data` holds at least its width; any alignment. */
static inline uint16_t grv_wire_get_u16(const uint8_t *data)
{
    return (uint16_t)(data[0] | data[1] << 8);
}

static inline uint32_t grv_wire_get_u32(const uint8_t *data)
{
    return (uint32_t)data[0] | (uint32_t)data[1] << 8 | (uint32_t)data[2] << 16 |
           (uint32_t)data[3] << 24;
}

static inline uint64_t grv_wire_get_u64(const uint8_t *data)
{
    return (uint64_t)grv_wire_get_u32(data) | (uint64_t)grv_wire_get_u32(data + 4) << 32;
}

/* Writes a little-endian number. */
static inline void grv_wire_put_u16(uint8_t *data, uint16_t value)
{
    data[0] = (uint8_t)value;
    data[1] = (uint8_t)(value >> 8);
}

static inline void grv_wire_put_u32(uint8_t *data, uint32_t value)
{
    grv_wire_put_u16(data, (uint16_t)value);
    grv_wire_put_u16(data + 2, (uint16_t)(value >> 16));
}

static inline void grv_wire_put_u64(uint8_t *data, uint64_t value)
{
    grv_wire_put_u32(data, (uint32_t)value);
    grv_wire_put_u32(data + 4, (uint32_t)(value >> 32));
}

/* Reads and writes a big-endian number, for keys. */
static inline uint64_t grv_wire_get_u64be(const uint8_t *data)
{
    uint64_t value = 0;
    for (unsigned i = 0; i < 8; i++) {
        value = value << 8 | data[i];
    }
    return value;
}

static inline void grv_wire_put_u64be(uint8_t *data, uint64_t value)
{
    for (unsigned i = 0; i < 8; i++) {
        data[i] = (uint8_t)(value >> (56 - 8 * i));
    }
}

static inline void grv_wire_put_u32be(uint8_t *data, uint32_t value)
{
    for (unsigned i = 0; i < 4; i++) {
        data[i] = (uint8_t)(value >> (24 - 8 * i));
    }
}

#endif
