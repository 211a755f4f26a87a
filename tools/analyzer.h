/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Put before each file when clang-tidy reads it, never when it is compiled. Tells the analyzer what
 * error.h promises and no attribute can say: whoever sets an error returns a failure.
 */
#ifndef GRV_TOOLS_ANALYZER_H
#define GRV_TOOLS_ANALYZER_H

#include <graviton/error.h>

#define grv_error_set(...)       (grv_error_set(__VA_ARGS__) ?: GRV_INTERNAL)
#define grv_error_set_errno(...) (grv_error_set_errno(__VA_ARGS__) ?: GRV_INTERNAL)

#endif
