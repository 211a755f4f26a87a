/* SPDX-License-Identifier: Apache-2.0 */
/* What every test file includes: cmocka and what it wants before it, and checks on statuses. */
#ifndef GRV_TESTS_TEST_H
#define GRV_TESTS_TEST_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>
#include <graviton/error.h>

/* Fails the test with the error's message unless `expression` is GRV_OK. The expression uses a
 * variable `error` of type grv_error. */
#define assert_grv_ok(expression)                                                                  \
    do {                                                                                           \
        grv_status grv_ok_status = (expression);                                                   \
        if (grv_ok_status) {                                                                       \
            fail_msg("%s: %s: %s", #expression, grv_status_name(grv_ok_status), error.message);    \
        }                                                                                          \
    } while (0)

/* Fails the test unless `expression` is `expected`, showing both by name. */
#define assert_grv_status(expression, expected)                                                    \
    do {                                                                                           \
        grv_status grv_got = (expression);                                                         \
        if (grv_got != (expected)) {                                                               \
            fail_msg("%s: %s, want %s", #expression, grv_status_name(grv_got),                     \
                     grv_status_name(expected));                                                   \
        }                                                                                          \
    } while (0)

#endif
