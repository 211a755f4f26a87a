/* SPDX-License-Identifier: Apache-2.0 */
/* Parameters, arrays and result cells in PostgreSQL's binary form: big-endian numbers; an array is
 * dimensions, a flag for NULLs, the element type, and per dimension a size and a lower bound, then
 * each element behind its size. */
#include "backend/pg/pg.h"

#include <assert.h>
#include <limits.h>
#include <string.h>

#define ARRAY_HEADER_SIZE 20u
#define NULL_ELEMENT      UINT64_C(0xffffffff) /* in place of a size */

static void write_be(uint8_t *out, uint64_t number, size_t size)
{
    for (size_t i = 0; i < size; i++) {
        out[i] = (uint8_t)(number >> 8 * (size - 1 - i));
    }
}

static uint64_t read_be(const uint8_t *bytes, size_t size)
{
    uint64_t number = 0;
    for (size_t i = 0; i < size; i++) {
        number = number << 8 | bytes[i];
    }
    return number;
}

/* ---- Parameters ---- */

static void add(grv_pg_params *params, const void *data, size_t size)
{
    assert((unsigned)params->count < GRV_PG_PARAMS_MAX && size <= INT_MAX / 2);
    params->values[params->count] = data;
    params->lengths[params->count] = (int)size;
    params->count++;
}

static void add_number(grv_pg_params *params, uint64_t number, size_t size)
{
    assert((unsigned)params->count < GRV_PG_PARAMS_MAX);
    write_be(params->numbers[params->count], number, size);
    add(params, params->numbers[params->count], size);
}

void grv_pg_add_null(grv_pg_params *params)
{
    add(params, NULL, 0);
}

void grv_pg_add_bytes(grv_pg_params *params, grv_bytes bytes)
{
    /* A NULL pointer would be SQL's NULL. */
    add(params, bytes.data ? (const void *)bytes.data : "", bytes.size);
}

void grv_pg_add_text(grv_pg_params *params, const char *text)
{
    add(params, text, strlen(text));
}

void grv_pg_add_int64(grv_pg_params *params, int64_t number)
{
    add_number(params, (uint64_t)number, 8);
}

void grv_pg_add_int32(grv_pg_params *params, int32_t number)
{
    add_number(params, (uint32_t)number, 4);
}

void grv_pg_add_int16(grv_pg_params *params, int16_t number)
{
    add_number(params, (uint16_t)number, 2);
}

void grv_pg_add_bool(grv_pg_params *params, bool truth)
{
    add_number(params, truth, 1);
}

/* ---- Arrays ---- */

grv_status grv_pg_array_init(grv_pg_array *array, grv_pg_type type, grv_error *error)
{
    array->count = 0;
    grv_buffer_init(&array->buffer, GRV_PG_ARRAY_MAX);
    grv_status status = grv_buffer_reserve(&array->buffer, ARRAY_HEADER_SIZE, error);
    if (status) {
        return status;
    }
    uint8_t *header = array->buffer.data;
    write_be(header, 1, 4);     /* dimensions */
    write_be(header + 4, 0, 4); /* no NULLs */
    write_be(header + 8, (uint64_t)type, 4);
    write_be(header + 12, 0, 4); /* elements: see grv_pg_array_bytes */
    write_be(header + 16, 1, 4); /* lower bound */
    array->buffer.size = ARRAY_HEADER_SIZE;
    return GRV_OK;
}

void grv_pg_array_done(grv_pg_array *array)
{
    grv_buffer_done(&array->buffer);
}

grv_status grv_pg_array_add(grv_pg_array *array, grv_bytes element, grv_error *error)
{
    grv_buffer *buffer = &array->buffer;
    if (element.size > GRV_PG_ARRAY_MAX) {
        return grv_error_set(error, GRV_LIMIT_EXCEEDED, "pg", "a value of %zu bytes is too long",
                             element.size);
    }
    grv_status status = grv_buffer_reserve(buffer, 4 + element.size, error);
    if (status) {
        return status;
    }
    write_be(buffer->data + buffer->size, element.size, 4);
    if (element.size > 0) {
        memcpy(buffer->data + buffer->size + 4, element.data, element.size);
    }
    buffer->size += 4 + element.size;
    array->count++;
    return GRV_OK;
}

grv_status grv_pg_array_add_null(grv_pg_array *array, grv_error *error)
{
    grv_buffer *buffer = &array->buffer;
    grv_status status = grv_buffer_reserve(buffer, 4, error);
    if (status) {
        return status;
    }
    write_be(buffer->data + 4, 1, 4);
    write_be(buffer->data + buffer->size, NULL_ELEMENT, 4);
    buffer->size += 4;
    array->count++;
    return GRV_OK;
}

static grv_status array_add_number(grv_pg_array *array, uint64_t number, size_t size,
                                   grv_error *error)
{
    uint8_t bytes[8];
    write_be(bytes, number, size);
    return grv_pg_array_add(array, grv_bytes_of(bytes, size), error);
}

grv_status grv_pg_array_add_int64(grv_pg_array *array, int64_t number, grv_error *error)
{
    return array_add_number(array, (uint64_t)number, 8, error);
}

grv_status grv_pg_array_add_int32(grv_pg_array *array, int32_t number, grv_error *error)
{
    return array_add_number(array, (uint32_t)number, 4, error);
}

grv_status grv_pg_array_add_int16(grv_pg_array *array, int16_t number, grv_error *error)
{
    return array_add_number(array, (uint16_t)number, 2, error);
}

grv_status grv_pg_array_add_bool(grv_pg_array *array, bool truth, grv_error *error)
{
    return array_add_number(array, truth, 1, error);
}

grv_bytes grv_pg_array_bytes(grv_pg_array *array)
{
    write_be(array->buffer.data + 12, array->count, 4);
    return grv_buffer_bytes(&array->buffer);
}

size_t grv_pg_prefix_end(grv_bytes prefix, uint8_t *ret_end, size_t max)
{
    assert(prefix.size < max);
    size_t size = prefix.size;
    while (size > 0 && prefix.data[size - 1] == 0xff) {
        size--;
    }
    if (size == 0) {
        memset(ret_end, 0xff, max);
        return max;
    }
    memcpy(ret_end, prefix.data, size);
    ret_end[size - 1]++;
    return size;
}

/* ---- Results ---- */

bool grv_pg_is_null(const PGresult *result, int row, int column)
{
    return PQgetisnull(result, row, column) != 0;
}

grv_bytes grv_pg_cell(const PGresult *result, int row, int column)
{
    return grv_bytes_of(PQgetvalue(result, row, column), (size_t)PQgetlength(result, row, column));
}

static grv_status cell_number(const PGresult *result, int row, int column, size_t size,
                              uint64_t *ret_number, grv_error *error)
{
    grv_bytes cell = grv_pg_cell(result, row, column);
    if (PQgetisnull(result, row, column) || cell.size != size) {
        return grv_error_set(error, GRV_CORRUPT, "pg",
                             "PostgreSQL gave %zu bytes for column \"%s\", not %zu", cell.size,
                             PQfname(result, column) ? PQfname(result, column) : "", size);
    }
    *ret_number = read_be(cell.data, size);
    return GRV_OK;
}

grv_status grv_pg_cell_int64(const PGresult *result, int row, int column, int64_t *ret_number,
                             grv_error *error)
{
    uint64_t number = 0;
    grv_status status = cell_number(result, row, column, 8, &number, error);
    if (!status) {
        *ret_number = (int64_t)number;
    }
    return status;
}

grv_status grv_pg_cell_int32(const PGresult *result, int row, int column, int32_t *ret_number,
                             grv_error *error)
{
    uint64_t number = 0;
    grv_status status = cell_number(result, row, column, 4, &number, error);
    if (!status) {
        *ret_number = (int32_t)(uint32_t)number;
    }
    return status;
}

grv_status grv_pg_cell_int16(const PGresult *result, int row, int column, int16_t *ret_number,
                             grv_error *error)
{
    uint64_t number = 0;
    grv_status status = cell_number(result, row, column, 2, &number, error);
    if (!status) {
        *ret_number = (int16_t)(uint16_t)number;
    }
    return status;
}

grv_status grv_pg_cell_bool(const PGresult *result, int row, int column, bool *ret_truth,
                            grv_error *error)
{
    uint64_t number = 0;
    grv_status status = cell_number(result, row, column, 1, &number, error);
    if (!status) {
        *ret_truth = number != 0;
    }
    return status;
}

void grv_pg_clear(PGresult *results[], size_t count)
{
    for (size_t i = 0; i < count; i++) {
        PQclear(results[i]);
        results[i] = NULL;
    }
}
